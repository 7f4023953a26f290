/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ids.h"
#include "io.h"

static Ids *parse(const char *text) {
        _cleanup_error_ Error e = {};
        Ids *ids = NULL;

        if (ids_parse(text, "ids.lock", &ids, &e) < 0)
                fail_msg("%s", e.message);
        return ids;
}

static uint32_t assign(Ids *ids, IdKind kind, const char *name, uint32_t preferred) {
        _cleanup_error_ Error e = {};
        uint32_t id = UINT32_MAX;

        if (ids_assign(ids, kind, name, preferred, &id, &e) < 0)
                fail_msg("%s", e.message);
        return id;
}

static void what_is_written_is_read_back(void **state) {
        _cleanup_(ids_freep)
                Ids *ids = parse("# a comment\n\nuser  root 0\n\tgroup adm 4 \nuser man 6\ngroup man 12\n"),
                    *again = NULL;
        _cleanup_free_ char *text = ids_format(ids), *second = NULL;

        assert_string_equal(strchr(text, '\n') + 1, "group adm 4\ngroup man 12\nuser  man 6\nuser  root 0\n");
        again = parse(text);
        second = ids_format(again);
        assert_string_equal(text, second);
        assert_null(ids_changes(again));
        assert_true(ids_has_uid(again, 6));
        assert_false(ids_has_uid(again, 12));
        assert_true(ids_has_gid(again, 12));
}

static void malformed_lists_are_refused(void **state) {
        static const struct {
                const char *text;
                const char *place;
        } bad[] = {
                { "user\n", ":1:" },
                { "user a\n", ":1:" },
                { "user a 1 2\n", ":1:" },
                { "person a 1\n", ":1:" },
                { "user 1a 1\n", ":1:" },
                { "user ../a 1\n", ":1:" },
                { "user a -1\n", ":1:" },
                { "user a 65535\n", ":1:" },
                { "user a 4294967296\n", ":1:" },
                { "user a 0x10\n", ":1:" },
                { "user a 7\nuser a 8\n", ":2:" },
                { "user a 7\n# x\nuser b 7\n", ":3:" },
                { "user toor 0\n", ":1:" },
                { "user root 1\n", ":1:" },
                { "group wheel 0\n", ":1:" },
                { "group nogroup 7\n", ":1:" },
                { "user somebody 65534\n", ":1:" },
                { "user a234567890123456789012345678901234 7\n", ":1:" },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_error_ Error e = {};
                Ids *ids = NULL;

                assert_true(ids_parse(bad[i].text, "ids.lock", &ids, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_SYNTAX);
                assert_non_null(strstr(e.message, bad[i].place));
                assert_non_null(e.hint);
        }
}

static void a_known_name_keeps_its_number_whatever_is_preferred(void **state) {
        _cleanup_(ids_freep) Ids *ids = parse("user messagebus 997\n");

        assert_int_equal(assign(ids, ID_USER, "messagebus", 993), 997);
        assert_int_equal(assign(ids, ID_USER, "messagebus", 0), 997);
        assert_null(ids_changes(ids));
}

static void new_names_get_the_right_number(void **state) {
        static const struct {
                IdKind kind;
                const char *name;
                uint32_t preferred, expected;
        } steps[] = {
                { ID_GROUP, "messagebus", 993, 993 }, /* preferred and free */
                { ID_USER, "messagebus", 990, 993 },  /* as its group */
                { ID_GROUP, "man", 12, 12 },
                { ID_USER, "man", 6, 6 }, /* static numbers are not moved by the group's */
                { ID_GROUP, "polkitd", 993, 999 },
                { ID_USER, "polkitd", 5, 5 },
                { ID_USER, "aaa", 0, 998 }, /* nobody but root is 0 */
                { ID_USER, "root", 0, 0 },
                { ID_GROUP, "root", 500, 0 },
                { ID_USER, "nobody", 65534, 65534 },
                { ID_GROUP, "nogroup", 65534, 65534 },
                { ID_USER, "other", 65534, 997 },
                { ID_USER, "big", 4000000, 996 },
                { ID_USER, "person", 1000, 1000 },
                { ID_USER, "_apt", 42, 42 },
                { ID_GROUP, "shadow", 42, 42 }, /* users and groups are counted apart */
        };
        _cleanup_(ids_freep) Ids *ids = parse("");

        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                uint32_t got = assign(ids, steps[i].kind, steps[i].name, steps[i].preferred);

                if (got != steps[i].expected)
                        fail_msg("%s got %u instead of %u", steps[i].name, got, steps[i].expected);
        }
}

static void a_number_is_never_given_twice(void **state) {
        _cleanup_(ids_freep) Ids *ids = parse("user gone 999\ngroup gone 998\n");
        bool seen[65535] = { false };

        /* "gone" has left the image, but files on devices may still be its. */
        seen[999] = true;
        for (int i = 0; i < 700; i++) {
                _cleanup_free_ char *name = xasprintf("a%d", i);
                uint32_t id = assign(ids, ID_USER, name, i % 2 ? 999 : 998);

                assert_false(seen[id]);
                seen[id] = true;
        }
}

static void running_out_of_numbers_is_refused(void **state) {
        _cleanup_(ids_freep) Ids *ids = parse("");
        _cleanup_error_ Error e = {};
        uint32_t id;

        for (int i = 100; i < 1000; i++) {
                _cleanup_free_ char *name = xasprintf("a%d", i);

                assert_int_equal(assign(ids, ID_USER, name, (uint32_t) i), i);
        }
        assert_true(ids_assign(ids, ID_USER, "last", 100, &id, &e) < 0);
        assert_int_equal(e.id, REFUSAL_IDS);
        error_done(&e);
        assert_true(ids_assign(ids, ID_USER, "bad name", 5, &id, &e) < 0);
        assert_int_equal(e.id, REFUSAL_IDS);
}

static void changes_name_only_what_was_added(void **state) {
        _cleanup_(ids_freep) Ids *ids = parse("user root 0\n");
        _cleanup_free_ char *changes = NULL;

        assign(ids, ID_USER, "b", 200);
        assign(ids, ID_GROUP, "a", 201);
        changes = ids_changes(ids);
        assert_string_equal(changes, "group a 201\nuser  b 200");
}

static void the_file_is_optional_and_survives_a_round_trip(void **state) {
        _cleanup_(ids_freep) Ids *none = NULL, *ids = parse("user root 0\n"), *again = NULL;
        _cleanup_free_ char *folder = NULL, *a = ids_format(ids), *b = NULL, *path = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(io_temporary_folder("test", &folder, &e), 0);
        assert_int_equal(ids_read(folder, &none, &e), 0);
        assert_int_equal(none->n_entries, 0);
        assert_int_equal(ids_write(ids, folder, &e), 0);
        assert_int_equal(ids_read(folder, &again, &e), 0);
        b = ids_format(again);
        assert_string_equal(a, b);
        path = path_join(folder, IDS_FILE_NAME);
        assert_int_equal(io_write_file(AT_FDCWD, path, "user a 5\0user", 13, 0644, &e), 0);
        again = ids_free(again);
        assert_true(ids_read(folder, &again, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SYNTAX);
        assert_int_equal(io_remove_tree(AT_FDCWD, folder, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_written_is_read_back),
                cmocka_unit_test(malformed_lists_are_refused),
                cmocka_unit_test(a_known_name_keeps_its_number_whatever_is_preferred),
                cmocka_unit_test(new_names_get_the_right_number),
                cmocka_unit_test(a_number_is_never_given_twice),
                cmocka_unit_test(running_out_of_numbers_is_refused),
                cmocka_unit_test(changes_name_only_what_was_added),
                cmocka_unit_test(the_file_is_optional_and_survives_a_round_trip),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
