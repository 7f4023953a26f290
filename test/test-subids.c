/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <pwd.h>

#include "subids.h"

static void ranges_are_found_by_name_and_by_number(void **state) {
        static const struct {
                const char *text, *name;
                uint64_t start, count; /* 0: none */
        } cases[] = {
                { "ann:100000:65536\nbob:165536:65536\n", "bob", 165536, 65536 },
                { "ann:100000:65536\n1000:300000:70000\n", "bob", 300000, 70000 },
                { "1000:300000:65536\n", NULL, 300000, 65536 },
                { "bob:100000:1000\nbob:200000:65536\n", "bob", 200000, 65536 }, /* the first is too small */
                { "bob:200000:65536", "bob", 200000, 65536 },                    /* no newline at the end */
                { "bob:4294901759:65536\n", "bob", 4294901759, 65536 },
                { "", "bob", 0, 0 },
                { "bobby:100000:65536\nbo:100000:65536\n", "bob", 0, 0 },
                { "10000:100000:65536\n", "bob", 0, 0 },
                { "bob:100000:65535\n", "bob", 0, 0 },
                { "bob:4294901760:65536\n", "bob", 0, 0 }, /* beyond 32 bits */
                { "bob:18446744073709551615:65536\n", "bob", 0, 0 },
                { "bob:0:65536\n", "bob", 0, 0 }, /* root's own ids */
                { "#bob:100000:65536\n", "bob", 0, 0 },
                { "bob:100000\nbob:x:65536\nbob:100000:65536:more\nbob:-1:65536\n", "bob", 0, 0 },
                { "bob: 100000:65536\n", "bob", 0, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                SubIds ids = {};
                int r = subids_parse(cases[i].text, cases[i].name, 1000, &ids);

                assert_int_equal(r, cases[i].count ? 0 : -ENOENT);
                assert_int_equal(ids.start, cases[i].start);
                assert_int_equal(ids.count, cases[i].count);
        }
}

static void file_without_a_range_is_refused_with_the_remedy(void **state) {
        static const char *const names[] = { "subuid", "subgid" };
        const struct passwd *me = getpwuid(getuid());

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = path_join(*state, names[i]),
                                    *good = xasprintf("%u:100000:65536\n", (unsigned) getuid());
                _cleanup_error_ Error e = {}, absent = {};
                SubIds ids;

                assert_refused(subids_for_user(path, &ids, &absent), &absent, REFUSAL_MACHINE);
                put_host(*state, names[i], "somebody-else:100000:65536\n");
                assert_refused(subids_for_user(path, &ids, &e), &e, REFUSAL_MACHINE);
                assert_non_null(strstr(e.message, path));
                assert_non_null(strstr(e.hint, i == 0 ? "--add-subuids" : "--add-subgids"));
                if (me)
                        assert_non_null(strstr(e.hint, me->pw_name));
                put_host(*state, names[i], good);
                assert_int_equal(subids_for_user(path, &ids, NULL), 0);
                assert_int_equal(ids.start, 100000);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ranges_are_found_by_name_and_by_number),
                cmocka_unit_test(file_without_a_range_is_refused_with_the_remedy),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
