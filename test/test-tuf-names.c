/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Paths of targets, names of roles, patterns and hash prefixes of delegations, times. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tuf-metadata.h"

/* ---- delegations --------------------------------------------------------------------------------------------- */

/* The answers are those of the Python implementation, but for paths that are none for us. */
static void patterns_cover_what_the_reference_says(void **state) {
        static const struct {
                const char *pattern, *path;
                bool matches;
        } cases[] = {
                { "targets/*.tgz", "targets/foo.tgz", true },
                { "targets/*.tgz", "targets/bar.tgz", true },
                { "targets/*.tgz", "targets/foo.txt", false },
                { "foo-version-?.tgz", "foo-version-2.tgz", true },
                { "foo-version-?.tgz", "foo-version-a.tgz", true },
                { "foo-version-?.tgz", "foo-version-alpha.tgz", false },
                { "*.tgz", "foo.tgz", true },
                { "*.tgz", "targets/foo.tgz", false },
                { "foo.tgz", "foo.tgz", true },
                { "foo.tgz", "foo.tgz2", false },
                { "foo.tgz", "oo.tgz", false },
                { "*", "a", true },
                { "*", "a/b", false },
                { "*/*", "a/b", true },
                { "*/*", "a", false },
                { "*/*", "a/b/c", false },
                { "**", "a", true },
                { "**", "a/b", false },
                { "a/**", "a/b/c", false },
                { "a*b*c", "abc", true },
                { "a*b*c", "aXbYc", true },
                { "a*b*c", "aXbY", false },
                { "a*b*c", "abcbc", true },
                { "*a*a*b", "aaaaaaaaaaaaab", true },
                { "*a*a*b", "aaaaaaaaaaaaa", false },
                { "?", "a", true },
                { "?", "ab", false },
                { "?\?", "ab", true },
                { "?", "é", true },
                { "?\?", "é", false },
                { "?", "😀", true },
                { "a?", "a", false },
                { "*?", "a", true },
                { "?*?", "a", false },
                { "?*?", "ab", true },
                { ".*", ".hidden", true },
                { "*", ".hidden", true },
                { "A", "a", false },
                { "a", "A", false },
                { "/a", "a", false },
                { "a/", "a", false },
                { "a//b", "a/b", false },
                { "[abc]", "b", true },
                { "[abc]", "d", false },
                { "[!abc]", "d", true },
                { "[!abc]", "a", false },
                { "[^a]", "^", true },
                { "[^a]", "b", false },
                { "[a-c]", "b", true },
                { "[a-c]", "d", false },
                { "[a-c]", "-", false },
                { "[a-]", "-", true },
                { "[-a]", "-", true },
                { "[z-a]", "m", false },
                { "[!z-a]", "m", true },
                { "[]]", "]", true },
                { "[]a]", "a", true },
                { "[!]]", "a", true },
                { "[!]]", "]", false },
                { "[]", "[]", true },
                { "[!]", "[!]", true },
                { "[!]", "a", false },
                { "[", "[", true },
                { "a[", "a[", true },
                { "[a", "[a", true },
                { "[a/b]", "[a/b]", true },
                { "[a/b]", "a", false },
                { "[a-c-e]", "-", true },
                { "[a-c-e]", "d", false },
                { "[--0]x", ".x", true },
                { "[*]", "*", true },
                { "[*]", "a", false },
                { "[?]", "?", true },
                { "[\\\\]", "\\\\", false },
                { "[à-é]", "ç", true },
                { "[à-é]", "z", false },
                { "*[0-9].img", "disk7.img", true },
                { "*[0-9].img", "disk.img", false },
                { "\\\\*", "\\\\x", true },
                { "\\\\*", "*", false },
                { "a[b]c*", "abcdef", true },
                { "[a]*[z]", "a/z", false },
                { "[a]*[z]", "az", true },
                { "channel/*/*.img", "channel/x/y.img", true },
                { "channel/*/*.img", "channel//y.img", false },
                { "..", "x", false },
                { "?\??\??\??", "stable/", false },
                { "*.*", "a.b", true },
                { "*.*", "ab", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const TufDelegation d = { .paths = (char *[]){ (char *) "never", (char *) cases[i].pattern, NULL } },
                                    nothing = { .paths = (char *[]){ NULL } };

                if (tuf_delegation_matches(&d, cases[i].path) != cases[i].matches)
                        fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].path);
                assert_false(tuf_delegation_matches(&nothing, cases[i].path));
        }
}

static void hostile_patterns_cost_little(void **state) {
        char pattern[TUF_TARGET_PATH_MAX + 1] = "", path[TUF_TARGET_PATH_MAX + 1] = "";
        const TufDelegation d = { .paths = (char *[]){ pattern, NULL } };

        for (size_t i = 0; i + 2 < TUF_TARGET_PATH_MAX; i += 2)
                memcpy(pattern + i, "*a", 3);
        strcat(pattern, "b");
        memset(path, 'a', TUF_TARGET_PATH_MAX);
        assert_false(tuf_delegation_matches(&d, path));
        path[TUF_TARGET_PATH_MAX - 1] = 'b';
        assert_true(tuf_delegation_matches(&d, path));
}

static void paths_that_are_no_targets_are_covered_by_nothing(void **state) {
        static const char *const paths[] = { "", "/", "a/", "/a", "../a", "a//b", "a/./b", "." };
        static const char *const all[] = { "*", "*/*", "*/*/*", "/a", "a//b", "..", "../*", "", NULL };
        const TufDelegation by_path = { .paths = (char **) all },
                            by_hash = { .hash_prefixes = (char *[]){ (char *) "", NULL } };

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                assert_false(tuf_delegation_matches(&by_path, paths[i]));
                assert_false(tuf_delegation_matches(&by_hash, paths[i]));
        }
}

/* SHA-256 of "abc" is ba7816bf... (FIPS 180-4). */
static void hash_prefixes_cover_paths_by_their_digest(void **state) {
        static const struct {
                const char *prefix;
                bool matches;
        } cases[] = {
                { "b", true },
                { "ba", true },
                { "ba7816bf", true },
                { "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", true },
                { "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae", false },
                { "a", false },
                { "ba7817", false },
                { "BA", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const TufDelegation alone = { .hash_prefixes = (char *[]){ (char *) cases[i].prefix, NULL } },
                                    second = { .hash_prefixes =
                                                       (char *[]){ (char *) "0000", (char *) cases[i].prefix, NULL } },
                                    nothing = { .hash_prefixes = (char *[]){ NULL } };

                assert_int_equal(tuf_delegation_matches(&alone, "abc"), cases[i].matches);
                assert_int_equal(tuf_delegation_matches(&second, "abc"), cases[i].matches);
                assert_false(tuf_delegation_matches(&nothing, "abc"));
        }
}

/* ---- names --------------------------------------------------------------------------------------------------- */

static void paths_of_targets_stay_below_their_base(void **state) {
        static const struct {
                const char *path;
                bool valid;
        } cases[] = {
                { "a", true },
                { "a/b/c.img", true },
                { "...", true },
                { ".a/..b/c..", true },
                { "a b", true },
                { "a\\b", true },
                { "%2e%2e/a", true },
                { "\303\251/\360\237\230\200", true },
                { "", false },
                { "/", false },
                { "/a", false },
                { "a/", false },
                { "a//b", false },
                { ".", false },
                { "..", false },
                { "./a", false },
                { "a/.", false },
                { "a/..", false },
                { "a/../b", false },
                { "../a", false },
                { "a\nb", false },
                { "a\tb", false },
                { "a\177", false },
                { "a\033[2J", false },
                { "a\302\205", false },        /* C1 */
                { "a\302\240", true },         /* no-break space */
                { "\300\257", false },         /* overlong "/" */
                { "\340\200\257", false },     /* the same in three bytes */
                { "\360\200\200\257", false }, /* in four */
                { "\355\240\200", false },     /* a surrogate */
                { "\364\220\200\200", false }, /* behind the last code point */
                { "\364\217\277\277", true },  /* the last */
                { "\303", false },             /* cut */
                { "\303/", false },            /* cut */
                { "\251", false },             /* the middle of something */
                { "\377", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (tuf_target_path_is_valid(cases[i].path) != cases[i].valid)
                        fail_msg("\"%s\"", cases[i].path);
        for (int more = -1; more <= 1; more++) {
                _cleanup_free_ char *path = xasprintf("%0*d", TUF_TARGET_PATH_MAX + more, 0);

                assert_int_equal(tuf_target_path_is_valid(path), more <= 0);
        }
}

static void names_of_roles_cannot_leave_their_folder(void **state) {
        static const char *const cases[][2] = {
                { "stable", "stable.json" },        { "a/b", "a%2Fb.json" },
                { "../root", "..%2Froot.json" },    { "..", "...json" },
                { "A-Z_0.9~", "A-Z_0.9~.json" },    { "a b%c?#", "a%20b%25c%3F%23.json" },
                { "\303\251\n", "%C3%A9%0A.json" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *file = tuf_role_file_name(cases[i][0]);

                assert_string_equal(file, cases[i][1]);
        }
}

/* ---- times --------------------------------------------------------------------------------------------------- */

static void times_are_read_and_written(void **state) {
        static const struct {
                const char *text;
                int64_t seconds;
        } cases[] = {
                { "1970-01-01T00:00:00Z", 0 },
                { "1969-12-31T23:59:59Z", -1 },
                { "1985-10-21T01:21:00Z", 498705660 },
                { "2000-02-29T12:00:00Z", 951825600 },
                { "2030-01-01T00:00:00Z", 1893456000 },
                { "2038-01-19T03:14:08Z", INT64_C(2147483648) },
                { "0001-01-01T00:00:00Z", INT64_C(-62135596800) },
                { "9999-12-31T23:59:59Z", INT64_C(253402300799) },
        };
        _cleanup_free_ char *before = tuf_format_time(INT64_MIN), *behind = tuf_format_time(INT64_MAX);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *text = tuf_format_time(cases[i].seconds);
                int64_t seconds = 7;

                assert_string_equal(text, cases[i].text);
                assert_true(tuf_parse_time(cases[i].text, &seconds));
                assert_int_equal(seconds, cases[i].seconds);
        }
        assert_string_equal(before, "0001-01-01T00:00:00Z");
        assert_string_equal(behind, "9999-12-31T23:59:59Z");
}

static void other_times_are_refused(void **state) {
        static const char *const cases[] = {
                "",
                "2030-01-01",
                "2030-01-01T00:00:00",
                "2030-01-01T00:00:00z",
                "2030-01-01t00:00:00Z",
                "2030-01-01 00:00:00Z",
                "2030-01-01T00:00:00ZZ",
                " 2030-01-01T00:00:00Z",
                "2030-01-01T00:00:00+00:00",
                "2030-01-01T00:00:00.000Z",
                "2030-1-01T00:00:00Z",
                "2030-01-01T0:000:00Z",
                "2030-00-01T00:00:00Z",
                "2030-13-01T00:00:00Z",
                "2030-01-00T00:00:00Z",
                "2030-01-32T00:00:00Z",
                "2030-02-29T00:00:00Z",
                "1900-02-29T00:00:00Z",
                "2030-04-31T00:00:00Z",
                "2030-01-01T24:00:00Z",
                "2030-01-01T00:60:00Z",
                "2030-01-01T00:00:60Z",
                "0000-01-01T00:00:00Z",
                "-001-01-01T00:00:00Z",
                "+030-01-01T00:00:00Z",
                "203x-01-01T00:00:00Z",
                "2030/01/01T00:00:00Z",
        };
        int64_t seconds = 7;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (tuf_parse_time(cases[i], &seconds))
                        fail_msg("%s", cases[i]);
        assert_int_equal(seconds, 7);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(patterns_cover_what_the_reference_says),
                cmocka_unit_test(hostile_patterns_cost_little),
                cmocka_unit_test(paths_that_are_no_targets_are_covered_by_nothing),
                cmocka_unit_test(hash_prefixes_cover_paths_by_their_digest),
                cmocka_unit_test(paths_of_targets_stay_below_their_base),
                cmocka_unit_test(names_of_roles_cannot_leave_their_folder),
                cmocka_unit_test(times_are_read_and_written),
                cmocka_unit_test(other_times_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
