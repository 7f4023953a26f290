/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "notice.h"
#include "show.h"

static const struct Case {
        const char *status, *id, *begin; /* id NULL: nothing to say */
        bool urgent;
} cases[] = {
        { "{}", NULL, NULL, false },
        { "{\"version\": \"1\", \"state\": {}}", NULL, NULL, false },
        { "{\"version\": \"1\", \"restartNeeded\": true, \"state\": {\"trial\": {\"version\": \"2\", \"when\": 7}}}",
          "restart 2 7", "sealab: Restart to finish the update to 2. It is installed beside 1", false },
        { "{\"version\": \"1\", \"restartNeeded\": false, \"state\": {\"bad\": [{\"version\": \"2\", \"when\": 7, "
          "\"reason\": \"it hung\"}]}}",
          "failed 2 7",
          "sealab: The update to 2 failed, you are back on 1. It will not be tried again. What happened: it "
          "hung",
          true },
        /* the last failure, not the first */
        { "{\"version\": \"1\", \"state\": {\"bad\": [{\"version\": \"2\", \"when\": 7}, {\"version\": \"3\", "
          "\"when\": "
          "9}, {\"version\": \"1.5\", \"when\": 8}]}}",
          "failed 3 9", NULL, true },
        /* got past it */
        { "{\"version\": \"4\", \"state\": {\"bad\": [{\"version\": \"3\", \"when\": 9}]}}", NULL, NULL, false },
        { "{\"version\": \"2026.10.1\", \"state\": {\"bad\": [{\"version\": \"2026.9.1\", \"when\": 9}]}}", NULL, NULL,
          false },
        /* the next one waits for a restart */
        { "{\"version\": \"1\", \"restartNeeded\": true, \"state\": {\"trial\": {\"version\": \"3\", \"when\": 8}, "
          "\"bad\": [{\"version\": \"2\", \"when\": 7}]}}",
          "restart 3 8", NULL, false },
        { "{\"version\": \"1\", \"factoryReset\": true, \"restartNeeded\": true, \"state\": {\"trial\": {\"version\": "
          "\"3\", \"when\": 8}}}",
          "factory-reset", NULL, true },
        /* shapes that nobody promised */
        { "{\"version\": 1, \"state\": {\"bad\": 7}}", NULL, NULL, false },
        { "{\"state\": [], \"restartNeeded\": \"yes\"}", NULL, NULL, false },
};

static void people_are_told_what_is_most_urgent(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *status = NULL;
                _cleanup_notice_ Notice n = {};
                _cleanup_free_ char *line = NULL;

                assert_int_equal(json_parse(cases[i].status, strlen(cases[i].status), "case", &status, NULL), 0);
                assert_int_equal(notice_from_status(status, &n), cases[i].id != NULL);
                if (!cases[i].id)
                        continue;
                assert_string_equal(n.id, cases[i].id);
                assert_int_equal(n.urgent, cases[i].urgent);
                line = notice_login_line(&n);
                assert_int_equal(line[strlen(line) - 1], '\n');
                if (cases[i].begin)
                        assert_memory_equal(line, cases[i].begin, strlen(cases[i].begin));
        }
}

static void a_path_is_that_file_or_what_lies_below(void **state) {
        assert_true(drift_path_matches("/etc/ssh", "/etc/ssh"));
        assert_true(drift_path_matches("/etc/ssh/sshd_config", "/etc/ssh"));
        assert_true(drift_path_matches("/etc/ssh/sshd_config", "/etc/ssh/"));
        assert_true(drift_path_matches("/etc/ssh", "/etc"));
        assert_false(drift_path_matches("/etc/sshd", "/etc/ssh"));
        assert_false(drift_path_matches("/etc/ssh", "/etc/ssh/sshd_config"));
}

static void drift_is_told_in_words(void **state) {
        static const char text[] =
                "{\"entries\": [{\"id\": \"0\", \"kind\": \"changed\", \"path\": \"/etc/issue\"}, {\"id\": \"1\", "
                "\"kind\": \"added\", \"path\": \"/etc/machine-id\", \"own\": \"this machine's id\"}, {\"id\": \"2\", "
                "\"kind\": \"attributes\", \"path\": \"/etc/ssh\", \"folder\": true, \"mode\": \"0700\", "
                "\"defaultMode\": \"0755\"}], \"truncated\": false}";
        _cleanup_json_ json_t *drift = NULL;
        _cleanup_free_ char *some = NULL, *all = NULL, *none = NULL;

        assert_int_equal(json_parse(text, strlen(text), "drift", &drift, NULL), 0);
        some = show_drift(drift, NULL, false);
        assert_string_equal(some, "changed    /etc/issue\nmode/owner /etc/ssh/  mode 0700 instead of 0755\n"
                                  "(1 that every machine makes for itself are not shown; --all)\n");
        all = show_drift(drift, "/etc/machine-id", true);
        assert_string_equal(all, "added      /etc/machine-id  (this machine's id)\n");
        none = show_drift(drift, "/etc/passwd", false);
        assert_string_equal(none, "/etc/passwd is as the image has it\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(people_are_told_what_is_most_urgent),
                cmocka_unit_test(a_path_is_that_file_or_what_lies_below),
                cmocka_unit_test(drift_is_told_in_words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
