/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io.h"
#include "lock.h"

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SIGNER "0123456789ABCDEF0123456789ABCDEF01234567"

static const char head[] = "{\n  \"format\": 1,\n  \"image-id\": \"tiny\",\n  \"architecture\": \"amd64\",\n"
                           "  \"request\": \"" HASH_A "\",\n  \"suites\": [\n";
static const char suites[] =
        "    {\"suite\": \"trixie\", \"origin\": \"Debian\", \"codename\": \"trixie\", \"date\": "
        "\"2026-09-12T07:55:41Z\", \"inrelease\": \"" HASH_A "\", \"signed-by\": [\"" SIGNER "\"], "
        "\"indexes\": [{\"name\": \"main/binary-amd64/Packages\", \"size\": 100, \"sha256\": \"" HASH_B "\"}]},\n"
        "    {\"suite\": \"trixie-security\", \"origin\": \"Debian\", \"codename\": \"trixie-security\", \"date\": "
        "\"2026-09-20T00:00:00Z\", \"valid-until\": \"2026-09-27T00:00:00Z\", \"inrelease\": \"" HASH_B "\", "
        "\"signed-by\": [\"" SIGNER "\"], \"indexes\": []}\n  ],\n  \"packages\": [\n";
static const char package_a[] =
        "    {\"name\": \"aaa\", \"version\": \"1:2.0-1+b1\", \"architecture\": \"amd64\", \"source\": \"src-a\", "
        "\"source-version\": \"1:2.0-1\", \"suite\": \"trixie\", \"path\": \"pool/main/a/aaa/aaa_2.0-1+b1_amd64.deb\", "
        "\"size\": 1000, \"sha256\": \"" HASH_A "\", \"for\": [\"image\", \"tools\"], \"essential\": true}";
static const char package_b[] =
        "    {\"name\": \"bbb\", \"version\": \"3~rc1\", \"architecture\": \"all\", \"path\": \"bbb.deb\", "
        "\"size\": 20, \"sha256\": \"" HASH_B "\", \"for\": [\"initrd\"]}";
static const char tail[] = "\n  ]\n}\n";

static char *lock_text(void) {
        return xasprintf("%s%s%s,\n%s%s", head, suites, package_a, package_b, tail);
}

static Lock *parse(const char *text) {
        _cleanup_error_ Error e = {};
        Lock *l = NULL;

        if (lock_parse(text, strlen(text), "recipe.lock", &l, &e) < 0)
                fail_msg("%s", e.message);
        return l;
}

/* The text with its first "from" replaced. */
static char *replaced(const char *text, const char *from, const char *to) {
        const char *p = strstr(text, from);

        if (!p)
                fail_msg("the example has no %s", from);
        return xasprintf("%.*s%s%s", (int) (p - text), text, to, p + strlen(from));
}

static void what_is_written_is_read_back_byte_for_byte(void **state) {
        _cleanup_free_ char *text = lock_text(), *again = NULL;
        _cleanup_(lock_freep) Lock *l = parse(text);

        again = lock_format(l);
        assert_string_equal(text, again);
        assert_int_equal(l->n_packages, 2);
        assert_string_equal(l->packages[0].source, "src-a");
        assert_string_equal(l->packages[1].source, "bbb");
        assert_string_equal(l->packages[1].source_version, "3~rc1");
        assert_null(l->packages[1].suite);
        assert_true(l->packages[0].essential);
        assert_false(l->packages[1].essential);
        assert_int_equal(l->packages[0].purpose, LOCK_FOR_IMAGE | LOCK_FOR_TOOLS);
        assert_int_equal(lock_epoch(l), l->suites[1].date);
        assert_int_equal(l->suites[1].date, 1789862400);
        assert_ptr_equal(lock_find(l, "bbb"), &l->packages[1]);
        assert_null(lock_find(l, "bb"));
        assert_null(lock_find(l, "bbbb"));
}

static void order_of_packages_does_not_matter(void **state) {
        _cleanup_free_ char *text = lock_text(),
                            *turned = xasprintf("%s%s%s,\n%s%s", head, suites, package_b, package_a, tail);
        _cleanup_(lock_freep) Lock *a = parse(text), *b = parse(turned);
        Sha256 x, y;

        lock_digest(a, &x);
        lock_digest(b, &y);
        assert_true(sha256_equal(&x, &y));
}

static void every_deviation_is_refused(void **state) {
        static const struct {
                const char *from, *to;
                Refusal id;
        } changes[] = {
                { "\"format\": 1,", "", REFUSAL_BAD_FORMAT },
                { "\"format\": 1,", "\"format\": \"1\",", REFUSAL_BAD_FORMAT },
                { "\"format\": 1,", "\"format\": 1, \"format\": 1,", REFUSAL_BAD_FORMAT },
                { "\"format\": 1,", "\"format\": 1, \"mirror\": \"http://x\",", REFUSAL_BAD_FORMAT },
                { "\"image-id\": \"tiny\",", "", REFUSAL_BAD_FORMAT },
                { "\"tiny\"", "\"ti\\\"ny\"", REFUSAL_BAD_FORMAT },
                { "\"tiny\"", "\"\"", REFUSAL_BAD_FORMAT },
                { "\"amd64\"", "\"AMD 64\"", REFUSAL_BAD_FORMAT },
                { "\"request\": \"aaaa", "\"request\": \"aaa", REFUSAL_BAD_FORMAT },
                { "\"request\": \"aaaa", "\"request\": \"AAAA", REFUSAL_BAD_FORMAT },
                { "\"2026-09-12T07:55:41Z\"", "\"2026-02-31T07:55:41Z\"", REFUSAL_BAD_FORMAT },
                { "\"2026-09-12T07:55:41Z\"", "\"2026-09-12 07:55:41Z\"", REFUSAL_BAD_FORMAT },
                { "\"2026-09-12T07:55:41Z\"", "\"1969-09-12T07:55:41Z\"", REFUSAL_BAD_FORMAT },
                { "\"2026-09-12T07:55:41Z\"", "1789862400", REFUSAL_BAD_FORMAT },
                { "[\"" SIGNER "\"]", "[]", REFUSAL_BAD_SIGNATURE },
                { "[\"" SIGNER "\"]", "[\"someone\"]", REFUSAL_BAD_FORMAT },
                { "\"suite\": \"trixie-security\"", "\"suite\": \"trixie\"", REFUSAL_BAD_FORMAT },
                { "\"suite\": \"trixie-security\"", "\"suite\": \"../trixie\"", REFUSAL_BAD_FORMAT },
                { "\"suite\": \"trixie-security\"", "\"suite\": \"trixie evil\"", REFUSAL_BAD_FORMAT },
                { "\"suite\": \"trixie\", \"path\"", "\"suite\": \"sid\", \"path\"", REFUSAL_BAD_FORMAT },
                { "main/binary-amd64/Packages", "../Packages", REFUSAL_BAD_FORMAT },
                { "\"name\": \"aaa\"", "\"name\": \"bbb\"", REFUSAL_BAD_FORMAT },
                { "\"name\": \"aaa\"", "\"name\": \"-o\"", REFUSAL_BAD_FORMAT },
                { "\"name\": \"aaa\"", "\"name\": \"A\"", REFUSAL_BAD_FORMAT },
                { "\"name\": \"aaa\"", "\"name\": \"a\\u0000\"", REFUSAL_BAD_FORMAT },
                { "\"name\": \"aaa\"", "\"nom\": \"aaa\"", REFUSAL_BAD_FORMAT },
                { "\"version\": \"1:2.0-1+b1\"", "\"version\": \"one\"", REFUSAL_BAD_FORMAT },
                { "\"version\": \"1:2.0-1+b1\"", "\"version\": \"1/2\"", REFUSAL_BAD_FORMAT },
                { "pool/main", "/pool/main", REFUSAL_PATH_ESCAPE },
                { "pool/main", "pool/../../main", REFUSAL_PATH_ESCAPE },
                { "pool/main", "pool//main", REFUSAL_PATH_ESCAPE },
                { "pool/main", "pool main", REFUSAL_BAD_FORMAT },
                { "pool/main", "pool?main", REFUSAL_BAD_FORMAT },
                { "bbb.deb", "folder/bbb.deb", REFUSAL_BAD_FORMAT },
                { "\"size\": 1000", "\"size\": 0", REFUSAL_TOO_LARGE },
                { "\"size\": 1000", "\"size\": -1", REFUSAL_BAD_FORMAT },
                { "\"size\": 1000", "\"size\": 1e3", REFUSAL_BAD_FORMAT },
                { "\"size\": 1000", "\"size\": 99999999999999", REFUSAL_TOO_LARGE },
                { "[\"image\", \"tools\"]", "[]", REFUSAL_BAD_FORMAT },
                { "[\"image\", \"tools\"]", "[\"image\", \"image\"]", REFUSAL_BAD_FORMAT },
                { "[\"image\", \"tools\"]", "[\"disk\"]", REFUSAL_BAD_FORMAT },
                { "\"essential\": true", "\"essential\": \"yes\"", REFUSAL_BAD_FORMAT },
                { "\"essential\": true", "\"essential\": true, \"trusted\": true", REFUSAL_BAD_FORMAT },
                { "\n}\n", "\n}\n{}", REFUSAL_BAD_FORMAT },
                { "\n}\n", "\n", REFUSAL_BAD_FORMAT },
        };
        _cleanup_free_ char *text = lock_text();

        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_free_ char *changed = replaced(text, changes[i].from, changes[i].to);
                _cleanup_error_ Error e = {};
                Lock *l = NULL;

                if (lock_parse(changed, strlen(changed), "recipe.lock", &l, &e) >= 0)
                        fail_msg("accepted: %s", changes[i].to);
                if (e.id != changes[i].id)
                        fail_msg("%s: %s: %s", changes[i].to, refusal_name(e.id), e.message);
        }
}

static void a_lock_cut_anywhere_is_refused(void **state) {
        _cleanup_free_ char *text = lock_text();

        for (size_t n = 0; n + 1 < strlen(text); n++) {
                _cleanup_error_ Error e = {};
                Lock *l = NULL;

                assert_true(lock_parse(text, n, "recipe.lock", &l, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

static void a_newer_format_says_what_to_do(void **state) {
        _cleanup_free_ char *text = lock_text(), *newer = replaced(text, "\"format\": 1", "\"new\": [], \"format\": 2");
        _cleanup_error_ Error e = {};
        Lock *l = NULL;

        assert_true(lock_parse(newer, strlen(newer), "recipe.lock", &l, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_non_null(strstr(e.message, "format 2"));
        assert_non_null(strstr(e.hint, "sealab lock"));
}

static void a_missing_lock_says_what_to_do(void **state) {
        _cleanup_error_ Error e = {};
        Lock *l = NULL;

        assert_true(lock_read("/nonexistent", &l, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NO_LOCK);
        assert_non_null(strstr(e.hint, "sealab lock /nonexistent"));
}

static void the_file_survives_a_round_trip(void **state) {
        _cleanup_free_ char *text = lock_text(), *folder = NULL, *again = NULL;
        _cleanup_(lock_freep) Lock *l = parse(text), *read = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(io_temporary_folder("test", &folder, &e), 0);
        assert_int_equal(lock_write(folder, l, &e), 0);
        assert_int_equal(lock_read(folder, &read, &e), 0);
        again = lock_format(read);
        assert_string_equal(text, again);
        assert_int_equal(io_remove_tree(AT_FDCWD, folder, NULL), 0);
}

static void digests_of_a_purpose_know_only_its_packages(void **state) {
        _cleanup_free_ char *text = lock_text(), *other = replaced(text, "\"3~rc1\"", "\"3~rc2\""),
                            *later = replaced(text, "2026-09-20T00:00:00Z", "2026-09-21T00:00:00Z");
        _cleanup_(lock_freep) Lock *a = parse(text), *b = parse(other), *c = parse(later);
        static const LockPurpose all[] = { LOCK_FOR_IMAGE, LOCK_FOR_INITRD, LOCK_FOR_TOOLS };
        Sha256 x, y, z;

        for (size_t i = 0; i < ELEMENTSOF(all); i++) {
                lock_digest_purpose(a, all[i], &x);
                lock_digest_purpose(b, all[i], &y);
                lock_digest_purpose(c, all[i], &z);
                assert_int_equal(sha256_equal(&x, &y), all[i] != LOCK_FOR_INITRD);
                assert_true(sha256_equal(&x, &z));
        }
        lock_digest(a, &x);
        lock_digest(c, &z);
        assert_false(sha256_equal(&x, &z));
}

static void changes_are_found_and_shown(void **state) {
        static const char package_c[] = ",\n    {\"name\": \"ccc\", \"version\": \"1\", \"architecture\": \"all\", "
                                        "\"path\": \"c.deb\", \"size\": 5, \"sha256\": \"" HASH_B "\", \"for\": "
                                        "[\"image\"]}\n  ]";
        _cleanup_free_ char *text = lock_text(), *one = replaced(text, "1:2.0-1+b1", "1:2.1"), *three = NULL,
                            *table = NULL;
        _cleanup_free_ LockChange *changes = NULL;
        _cleanup_json_ json_t *json = NULL;

        three = xasprintf("%.*s%s\n}\n", (int) (strlen(one) - strlen(tail)), one, package_c);
        _cleanup_(lock_freep) Lock *from = parse(text), *to = parse(three);

        assert_int_equal(lock_compare(from, from, &changes), 0);
        table = lock_changes_format(changes, 0);
        assert_string_equal(table, "No package changed.\n");
        free(TAKE_PTR(changes));
        free(TAKE_PTR(table));

        assert_int_equal(lock_compare(from, to, &changes), 2);
        assert_string_equal(changes[0].name, "aaa");
        assert_string_equal(changes[0].to->version, "1:2.1");
        assert_string_equal(changes[1].name, "ccc");
        assert_null(changes[1].from);
        table = lock_changes_format(changes, 2);
        assert_string_equal(table, "PACKAGE  WAS         IS     SIZE\n"
                                   "aaa      1:2.0-1+b1  1:2.1  +0 B\n"
                                   "ccc      -           1      +5 B\n"
                                   "1 changed, 1 new, 0 gone; +5 B of packages.\n");
        json = lock_changes_to_json(changes, 2);
        assert_int_equal(json_array_size(json_object_get(json, "packages")), 2);
        assert_int_equal(json_integer_value(json_object_get(json, "size-delta")), 5);
        free(TAKE_PTR(changes));
        assert_int_equal(lock_compare(to, from, &changes), 2);
        assert_null(changes[1].to);
        free(TAKE_PTR(changes));
        assert_int_equal(lock_compare(NULL, to, &changes), 3);
}

static void a_lock_of_another_recipe_is_stale(void **state) {
        _cleanup_free_ char *text = lock_text(), *folder = NULL, *path = NULL;
        static const char recipe_text[] = "[Image]\nId=tiny\n[Archive]\nSuites=trixie\nComponents=main\n"
                                          "[Packages]\nInstall=aaa zzz\n";
        _cleanup_(conf_diagnostics_done) ConfDiagnostics d = {};
        _cleanup_(recipe_freep) Recipe *recipe = NULL;
        _cleanup_(lock_freep) Lock *l = parse(text);
        _cleanup_error_ Error e = {};

        assert_int_equal(io_temporary_folder("test", &folder, &e), 0);
        path = path_join(folder, "recipe.conf");
        assert_int_equal(io_write_file(AT_FDCWD, path, recipe_text, strlen(recipe_text), 0644, &e), 0);
        if (recipe_load(folder, &d, &recipe, &e) < 0)
                fail_msg("%s", e.message);
        assert_true(lock_check_recipe(l, recipe, &e) < 0);
        assert_int_equal(e.id, REFUSAL_LOCK_STALE);
        assert_non_null(strstr(e.message, "zzz"));
        assert_null(strstr(e.message, "aaa"));
        assert_non_null(strstr(e.message, "trixie-security"));
        assert_int_equal(recipe_request_digest(recipe, &l->request, &e), 0);
        assert_int_equal(lock_check_recipe(l, recipe, &e), 0);
        assert_int_equal(io_remove_tree(AT_FDCWD, folder, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_written_is_read_back_byte_for_byte),
                cmocka_unit_test(order_of_packages_does_not_matter),
                cmocka_unit_test(every_deviation_is_refused),
                cmocka_unit_test(a_lock_cut_anywhere_is_refused),
                cmocka_unit_test(a_newer_format_says_what_to_do),
                cmocka_unit_test(a_missing_lock_says_what_to_do),
                cmocka_unit_test(the_file_survives_a_round_trip),
                cmocka_unit_test(digests_of_a_purpose_know_only_its_packages),
                cmocka_unit_test(changes_are_found_and_shown),
                cmocka_unit_test(a_lock_of_another_recipe_is_stale),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
