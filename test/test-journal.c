/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io.h"
#include "journal.h"

static const struct {
        HistoryEntry entry;
        const char *id, *words;
} cases[] = {
        { { .action = (char *) "update", .result = (char *) "done", .from = (char *) "1", .to = (char *) "2" },
          JOURNAL_INSTALLED,
          "2 is installed beside 1" },
        { { .action = (char *) "update",
            .result = (char *) "no-space",
            .to = (char *) "2",
            .message = (char *) "full" },
          JOURNAL_FAILED,
          "2 could not be installed: full" },
        { { .action = (char *) "boot", .result = (char *) "blessed", .from = (char *) "1", .to = (char *) "2" },
          JOURNAL_BLESSED,
          "2 came up well" },
        { { .action = (char *) "boot", .result = (char *) "fell-back", .from = (char *) "1", .to = (char *) "2" },
          JOURNAL_FELL_BACK,
          "1 runs again" },
        { { .action = (char *) "revert", .result = (char *) "done", .from = (char *) "2", .to = (char *) "1" },
          JOURNAL_REVERTED,
          "from 2 to 1" },
        { { .action = (char *) "pin", .result = (char *) "done", .to = (char *) "1" }, JOURNAL_PINNED, "stays on 1" },
        { { .action = (char *) "unpin", .result = (char *) "done" }, JOURNAL_PINNED, "takes updates again" },
};

static void each_kind_has_its_id_and_sentence(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *sentence = journal_sentence(&cases[i].entry);

                assert_string_equal(journal_message_id(&cases[i].entry), cases[i].id);
                if (!strstr(sentence, cases[i].words))
                        fail_msg("%s", sentence);
        }
}

static void the_catalog_explains_each_id_once(void **state) {
        _cleanup_free_ char *path = path_join(getenv("SEALAB_TEST_SOURCE"), "updater/units/sealab.catalog"),
                            *text = NULL;
        size_t size;

        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &text, &size, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *line = xasprintf("\n-- %s\nSubject: ", cases[i].id);
                const char *first = strstr(text, line);

                assert_non_null(first);
                assert_null(strstr(first + 1, line));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_kind_has_its_id_and_sentence),
                cmocka_unit_test(the_catalog_explains_each_id_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
