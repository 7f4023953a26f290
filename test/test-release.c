/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/sysmacros.h>

#include "release-fixture.h"

/* --- contents --- */

static Contents *fixture_contents(Tree *t) {
        _cleanup_error_ Error e = {};
        Contents *c = NULL;

        assert_ok(contents_from_tree(t, "/usr", "mine", "1", &c, &e), &e);
        return c;
}

static void contents_say_what_the_tree_holds(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(contents_freep) Contents *c = fixture_contents(t);
        const ContentsEntry *e;
        Sha256 digest;

        assert_string_equal(c->entries[0].path, "/usr");
        e = contents_find(c, "/usr/bin/bash");
        assert_non_null(e);
        sha256_buffer("a shell", 7, &digest);
        assert_true(sha256_equal(&e->digest, &digest));
        assert_int_equal(e->size, 7);
        assert_int_equal(e->mode, S_IFREG | 0755);
        assert_string_equal(e->package, "bash");
        assert_null(e->hard_link);
        e = contents_find(c, "/usr/bin/rbash");
        assert_string_equal(e->hard_link, "/usr/bin/bash");
        assert_int_equal(contents_entry_bytes(e), 0);
        assert_int_equal(contents_find(c, "/usr/bin/chage")->gid, 42);
        assert_non_null(contents_xattr(contents_find(c, "/usr/bin/ping"), "security.capability"));
        assert_string_equal(contents_find(c, FIXTURE_UNITS "apt-daily.timer")->target, "/dev/null");
        assert_null(contents_find(c, "/usr/bin/bas"));
        assert_null(contents_find(c, "/usr/bin/bash/x"));
        assert_int_equal(c->n_users, 2);
        assert_string_equal(c->users[0].name, "man");
        assert_int_equal(c->users[0].gid, 12);
        assert_int_equal(c->n_groups, 3);
        assert_string_equal(c->groups[0].members, "root");
}

static void a_folder_precedes_its_content_and_that_its_longer_neighbour(void **state) {
        assert_true(contents_path_compare("/usr/lib", "/usr/lib/a") < 0);
        assert_true(contents_path_compare("/usr/lib/a", "/usr/lib-other") < 0);
        assert_true(contents_path_compare("/usr/lib/a", "/usr/lib64") < 0);
        assert_true(contents_path_compare("/usr/\xff", "/usr/a") > 0);
        assert_int_equal(contents_path_compare("/usr/lib", "/usr/lib"), 0);
}

static void contents_survive_writing_and_reading(void **state) {
        _cleanup_free_ char *path = path_join(*state, "contents");
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(contents_freep) Contents *c = NULL, *back = NULL;
        _cleanup_buffer_ Buffer a = {}, b = {};
        _cleanup_error_ Error e = {};
        NodeAttributes device = { .mode = 0600 };

        fixture_file(t, "/usr/share/not-utf8-\xff", 0644, 0, NULL, "x");
        fixture_symlink(t, "/usr/share/to-not-utf8", "\xfe\xff");
        assert_ok(tree_add_device(t, "/usr/share/null", &device, S_IFCHR, makedev(1, 3), NULL, &e), &e);
        c = fixture_contents(t);
        assert_ok(contents_write(c, AT_FDCWD, path, &e), &e);
        assert_ok(contents_read(AT_FDCWD, path, &back, &e), &e);
        contents_format(c, &a);
        contents_format(back, &b);
        assert_string_equal(a.data, b.data);
        assert_int_equal(contents_check_equal(c, back, &e), 0);
        assert_non_null(contents_find(back, "/usr/share/not-utf8-\xff"));
        assert_string_equal(contents_find(back, "/usr/share/to-not-utf8")->target, "\xfe\xff");
        assert_int_equal(contents_find(back, "/usr/share/null")->rdev, makedev(1, 3));
        assert_int_equal(back->n_users, 2);
}

#define HEADER(n) "{\"format\":1,\"imageId\":\"a\",\"version\":\"1\",\"entries\":" #n ",\"users\":[],\"groups\":[]}\n"
#define FOLDER(p) "{\"path\":\"" p "\",\"type\":\"folder\",\"mode\":\"0755\",\"uid\":0,\"gid\":0}\n"

static void malformed_contents_are_refused(void **state) {
        static const struct {
                const char *text;
                Refusal id;
        } cases[] = {
                { "", REFUSAL_BAD_FORMAT },
                { "{}\n", REFUSAL_BAD_FORMAT },
                { "[]\n", REFUSAL_BAD_FORMAT },
                { "{\"format\":2,\"imageId\":\"a\",\"version\":\"1\",\"entries\":0,\"users\":[],\"groups\":[]}\n",
                  REFUSAL_BAD_FORMAT },
                { HEADER(99999999), REFUSAL_TOO_LARGE },
                { HEADER(1), REFUSAL_BAD_FORMAT },
                { HEADER(1) FOLDER("/etc"), REFUSAL_BAD_FORMAT },
                { HEADER(2) FOLDER("/usr") FOLDER("/usrx"), REFUSAL_BAD_FORMAT },
                { HEADER(3) FOLDER("/usr") FOLDER("/usr/b") FOLDER("/usr/a"), REFUSAL_BAD_FORMAT },
                { HEADER(3) FOLDER("/usr") FOLDER("/usr/b") FOLDER("/usr/b"), REFUSAL_BAD_FORMAT },
                { HEADER(1) FOLDER("/usr") FOLDER("/usr/b"), REFUSAL_BAD_FORMAT },
                { HEADER(1) "{\"path\":\"/usr\",\"type\":\"folder\",\"mode\":\"755\",\"uid\":0,\"gid\":0}\n",
                  REFUSAL_BAD_FORMAT },
                { HEADER(1) "{\"path\":\"/usr\",\"type\":\"folder\",\"mode\":\"+755\",\"uid\":0,\"gid\":0}\n",
                  REFUSAL_BAD_FORMAT },
                { HEADER(1) "{\"path\":\"/usr\",\"type\":\"file\",\"mode\":\"0755\",\"uid\":0,\"gid\":0}\n",
                  REFUSAL_BAD_FORMAT },
                { HEADER(1) "{\"path\":\"/usr\",\"type\":\"symlink\",\"mode\":\"0777\",\"uid\":0,\"gid\":0}\n",
                  REFUSAL_BAD_FORMAT },
                { HEADER(1) "{\"path\":\"/usr\",\"type\":\"fifo\",\"mode\":\"0644\",\"uid\":4294967296,\"gid\":0}\n",
                  REFUSAL_TOO_LARGE },
                { HEADER(1) "{\"path\":\"/usr\",\"type\":\"folder\",\"mode\":\"0755\",\"uid\":0,\"gid\":0,\"x\":1}\n",
                  REFUSAL_BAD_FORMAT },
                { HEADER(1) "{\"pathHex\":\"2f00\",\"type\":\"folder\",\"mode\":\"0755\",\"uid\":0,\"gid\":0}\n",
                  REFUSAL_BAD_FORMAT },
                { HEADER(1) "{\"path\":\"/usr\",\"type\":\"folder\",\"mode\":\"0755\",\"uid\":0,\"gid\":0}",
                  REFUSAL_BAD_FORMAT },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(contents_freep) Contents *c = NULL;
                _cleanup_error_ Error e = {};

                assert_true(contents_parse(cases[i].text, strlen(cases[i].text), "contents", &c, &e) < 0);
                if (e.id != cases[i].id)
                        print_error("case %zu: %s\n", i, e.message);
                assert_int_equal(e.id, cases[i].id);
                assert_null(c);
        }
}

static void a_cut_contents_file_is_refused(void **state) {
        _cleanup_free_ char *path = path_join(*state, "contents"), *data = NULL;
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(contents_freep) Contents *c = fixture_contents(t);
        _cleanup_error_ Error e = {};
        size_t size;

        assert_ok(contents_write(c, AT_FDCWD, path, &e), &e);
        assert_ok(io_read_file(AT_FDCWD, path, 1 << 20, &data, &size, &e), &e);
        for (size_t n = 0; n < size; n += 7) {
                _cleanup_(contents_freep) Contents *back = NULL;

                fixture_write(path, data, n);
                assert_true(contents_read(AT_FDCWD, path, &back, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

static void a_changed_image_is_told_from_its_contents(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(contents_freep) Contents *before = fixture_contents(t), *after = NULL;
        _cleanup_error_ Error e = {};

        tree_lookup(t, "/usr/bin/chage")->inode->mode = S_IFREG | 0755;
        after = fixture_contents(t);
        assert_true(contents_check_equal(before, after, &e) < 0);
        assert_int_equal(e.id, REFUSAL_DIFFERENT);
        assert_non_null(strstr(e.message, "/usr/bin/chage"));
}

/* --- package manifest --- */

static void the_manifest_counts_what_is_there(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(contents_freep) Contents *c = fixture_contents(t);
        _cleanup_(manifest_freep) Manifest *m = manifest_new(&fixture_lock, c), *back = NULL;
        _cleanup_free_ char *text = manifest_format(m), *again = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(m->n_packages, 3);
        assert_null(manifest_find(m, "erofs-utils")); /* a tool */
        assert_int_equal(manifest_find(m, "bash")->n_files, 3);
        assert_int_equal(manifest_find(m, "local-tool")->installed_bytes, strlen("sets ages") + strlen("echo"));
        assert_ok(manifest_parse(text, strlen(text), "manifest", &back, &e), &e);
        again = manifest_format(back);
        assert_string_equal(text, again);
        assert_int_equal(manifest_find(back, "bash")->purpose, LOCK_FOR_IMAGE | LOCK_FOR_INITRD);
}

/* --- release --- */

static void a_release_opens_as_it_was_written(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *path = fixture_release(*state, "2026.10.1", &fixture_lock, t), *a = NULL, *b = NULL;
        _cleanup_free_ char *record = path_join(path, RELEASE_RECORD);
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};
        size_t size;

        assert_ok(release_open(path, &r, &e), &e);
        assert_true(release_is_signed(r));
        assert_true(r->development_keys);
        assert_false(r->files[RELEASE_DISK].present);
        assert_string_equal(release_certificate(r, "uki")->subject, "CN=Secure Boot");
        assert_null(release_certificate(r, "other"));
        assert_ok(release_check_files(r, NULL, NULL, &e), &e);
        assert_ok(io_read_file(AT_FDCWD, record, 1 << 20, &a, &size, &e), &e);
        b = release_format(r);
        assert_string_equal(a, b);
}

static void a_budget_stands_in_the_record_and_none_does_not(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *path = fixture_release(*state, "2026.10.1", &fixture_lock, t), *text = NULL;
        _cleanup_(release_freep) Release *r = NULL, *again = NULL;
        _cleanup_error_ Error e = {};

        assert_ok(release_open(path, &r, &e), &e);
        assert_int_equal(r->download_budget, 0);
        text = release_format(r);
        assert_null(strstr(text, "downloadBudget"));
        r->download_budget = 12 << 20;
        assert_ok(release_write(r, &e), &e);
        assert_ok(release_open(path, &again, &e), &e);
        assert_int_equal(again->download_budget, 12 << 20);
}

static void a_missing_or_short_file_is_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *path = fixture_release(*state, "2026.10.1", &fixture_lock, t), *file = NULL;
        _cleanup_(release_freep) Release *r = NULL, *again = NULL;
        _cleanup_error_ Error e = {};

        assert_ok(release_open(path, &r, &e), &e);
        file = release_file_path(r, RELEASE_INITRD);
        fixture_write(file, "conten", 6);
        assert_true(release_open(path, &again, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
        assert_ok(io_unlink(AT_FDCWD, file, &e), &e);
        assert_true(release_open(path, &again, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_non_null(e.hint);
}

static void a_changed_byte_is_found_by_checking(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *path = fixture_release(*state, "2026.10.1", &fixture_lock, t), *file = NULL;
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};

        assert_ok(release_open(path, &r, &e), &e);
        file = release_file_path(r, RELEASE_UKI);
        fixture_write(file, "c0ntent", 7);
        assert_true(release_check_files(r, NULL, NULL, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
        assert_non_null(strstr(e.message, ".efi"));
}

static void a_root_hash_file_that_disagrees_is_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *path = fixture_release(*state, "2026.10.1", &fixture_lock, t), *file = NULL;
        _cleanup_(release_freep) Release *r = NULL, *again = NULL;
        _cleanup_error_ Error e = {};
        char zeros[65];

        assert_ok(release_open(path, &r, &e), &e);
        file = release_file_path(r, RELEASE_ROOT_HASH);
        memset(zeros, '0', 64);
        zeros[64] = '\n';
        fixture_write(file, zeros, sizeof(zeros));
        assert_true(release_open(path, &again, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
}

static void what_is_not_a_release_is_said_to_be_none(void **state) {
        _cleanup_free_ char *nowhere = path_join(*state, "nowhere"), *file = path_join(*state, "file");
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};

        fixture_write(file, "x", 1);
        assert_true(release_open(nowhere, &r, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_true(release_open(*state, &r, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_non_null(e.hint);
        assert_true(release_open(file, &r, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

/* Each edit of a good record by one member must be noticed. */
static void malformed_records_are_refused(void **state) {
        static const struct {
                const char *key, *value; /* JSON; NULL: removed */
        } edits[] = {
                { "format", "2" },
                { "format", NULL },
                { "surprise", "1" },
                { "imageId", "\"../x\"" },
                { "imageId", "\"a_b\"" },
                { "version", "\"1/2\"" },
                { "version", "\"\"" },
                { "rootHash", "\"12\"" },
                { "epoch", "-1" },
                { "downloadBudget", "-1" },
                { "downloadBudget", "\"12M\"" },
                { "developmentKeys", "false" },
                { "files", "{\"x\":{}}" },
                { "files", "[]" },
                { "certificates", "[{}]" },
                { "tools", "{\"a\":1}" },
                { "usr", "{\"layout\":\"zip\",\"level\":1,\"cluster\":4096}" },
        };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *path = fixture_release(*state, "2026.10.1", &fixture_lock, t);
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *good = NULL;

        assert_ok(release_open(path, &r, &e), &e);
        good = release_format(r);
        for (size_t i = 0; i < ELEMENTSOF(edits); i++) {
                _cleanup_(release_freep) Release *bad = NULL;
                _cleanup_json_ json_t *o = json_loads(good, 0, NULL);
                _cleanup_free_ char *text = NULL;

                if (edits[i].value)
                        json_object_set_new(o, edits[i].key, json_loads(edits[i].value, JSON_DECODE_ANY, NULL));
                else
                        json_object_del(o, edits[i].key);
                text = json_format(o, false);
                error_done(&e);
                if (release_parse(text, strlen(text), "record", &bad, &e) >= 0)
                        fail_msg("accepted: %s = %s", edits[i].key, edits[i].value ?: "(removed)");
                assert_true(e.id == REFUSAL_BAD_FORMAT || e.id == REFUSAL_BAD_VALUE);
        }
}

static void a_record_without_required_files_is_not_written(void **state) {
        _cleanup_(release_freep) Release *r = release_new(*state, "mine", "1");
        _cleanup_free_ char *record = path_join(*state, RELEASE_RECORD);
        _cleanup_error_ Error e = {};

        assert_true(release_write(r, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_false(io_exists(AT_FDCWD, record));
}

static void names_are_checked(void **state) {
        static const struct {
                const char *id, *version;
                bool good;
        } cases[] = {
                { "minimal", "2026.11.1", true },
                { "my-image.2", "1~rc1", true },
                { "", "1", false },
                { "a", "", false },
                { "a_b", "1", false },
                { "a", "1_2", false },
                { ".a", "1", false },
                { "-a", "1", false },
                { "a/b", "1", false },
                { "a b", "1", false },
                { "an-id-that-is-far-too-long-for-gpt", "2026.11.1", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};
                int r = release_check_name(cases[i].id, cases[i].version, &e);

                if ((r >= 0) != cases[i].good)
                        fail_msg("%s_%s", cases[i].id, cases[i].version);
                assert_int_equal(e.id, cases[i].good ? REFUSAL_NONE : REFUSAL_BAD_VALUE);
        }
}

static void the_previous_release_is_the_newest_older_one(void **state) {
        static const char *const versions[] = { "2026.9.5", "2026.10.2", "2026.10.10", "2026.12.1" };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *current = fixture_release(*state, "2026.11.1", &fixture_lock, t), *found = NULL;
        _cleanup_free_ char *half_made = path_join(*state, "mine_2026.10.20"), *none = NULL;
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};

        assert_ok(release_open(current, &r, &e), &e);
        none = release_find_previous(r);
        assert_null(none);
        for (size_t i = 0; i < ELEMENTSOF(versions); i++)
                free(fixture_release(*state, versions[i], &fixture_lock, t));
        assert_ok(io_mkdir_parents(AT_FDCWD, half_made, 0755, &e), &e);
        found = release_find_previous(r);
        assert_non_null(found);
        assert_string_equal(path_basename(found), "mine_2026.10.10");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(contents_say_what_the_tree_holds),
                cmocka_unit_test(a_folder_precedes_its_content_and_that_its_longer_neighbour),
                TEST(contents_survive_writing_and_reading),
                cmocka_unit_test(malformed_contents_are_refused),
                TEST(a_cut_contents_file_is_refused),
                cmocka_unit_test(a_changed_image_is_told_from_its_contents),
                cmocka_unit_test(the_manifest_counts_what_is_there),
                TEST(a_release_opens_as_it_was_written),
                TEST(a_budget_stands_in_the_record_and_none_does_not),
                TEST(a_missing_or_short_file_is_refused),
                TEST(a_changed_byte_is_found_by_checking),
                TEST(a_root_hash_file_that_disagrees_is_refused),
                TEST(what_is_not_a_release_is_said_to_be_none),
                TEST(malformed_records_are_refused),
                TEST(a_record_without_required_files_is_not_written),
                cmocka_unit_test(names_are_checked),
                TEST(the_previous_release_is_the_newest_older_one),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
