/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "io.h"
#include "store.h"

typedef struct Fixture {
        char *folder;
        Store *store;
} Fixture;

static int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *path = NULL;

        if (io_temporary_folder("test", &f->folder, &e) < 0)
                return -1;
        path = path_join(f->folder, "new/store");
        if (store_open(path, &f->store, &e) < 0)
                return -1;
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        store_free(f->store);
        (void) io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f);
        return 0;
}

static void add(Fixture *f, const char *content, Sha256 *ret_digest) {
        _cleanup_free_ char *path = path_join(f->folder, "file");
        _cleanup_error_ Error e = {};
        uint64_t size;

        assert_int_equal(io_write_file(AT_FDCWD, path, content, strlen(content), 0600, &e), 0);
        assert_int_equal(store_add_file(f->store, path, ret_digest, &size, &e), 0);
        assert_int_equal(size, strlen(content));
}

static void what_is_added_comes_back_verified_and_read_only(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL, *path = NULL, *hex = NULL;
        Sha256 digest, again;
        struct stat st;

        add(f, "content", &digest);
        add(f, "content", &again);
        assert_true(sha256_equal(&digest, &again));
        hex = sha256_hex(&digest);
        path = store_object_full_path(f->store, &digest);
        assert_string_equal(path_basename(path), hex);
        assert_true(store_has(f->store, &digest, 7));
        assert_false(store_has(f->store, &digest, 8));
        assert_int_equal(store_open_verified(f->store, &digest, 7, &fd, &e), 0);
        assert_int_equal(io_read_fd(fd, 100, &text, NULL, &e), 0);
        assert_string_equal(text, "content");
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0444);
}

static void absent_objects_are_refused_with_a_remedy(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        Sha256 digest;
        int fd;

        sha256_buffer("x", 1, &digest);
        assert_int_equal(store_open_verified(f->store, &digest, 1, &fd, &e), -ENOENT);
        assert_int_equal(e.id, REFUSAL_NOT_IN_STORE);
        assert_non_null(strstr(e.hint, "sealab lock"));
}

static void changed_objects_are_refused_and_moved_aside(void **state) {
        static const char *const contents[] = { "Content", "content and more", "" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(contents); i++) {
                _cleanup_error_ Error e = {};
                _cleanup_free_ char *path = NULL;
                Sha256 digest;
                int fd;

                add(f, "content", &digest);
                path = store_object_full_path(f->store, &digest);
                assert_int_equal(io_write_file(AT_FDCWD, path, contents[i], strlen(contents[i]), 0644, &e), 0);
                assert_true(store_open_verified(f->store, &digest, 7, &fd, &e) < 0);
                assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
                assert_non_null(strstr(e.message, path));
                assert_non_null(e.hint);
                assert_false(store_has(f->store, &digest, 7));
                assert_false(io_exists(AT_FDCWD, path));
        }
}

static void links_are_no_objects(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *path = NULL, *other = path_join(f->folder, "file");
        Sha256 digest;
        int fd;

        add(f, "content", &digest);
        path = store_object_full_path(f->store, &digest);
        assert_int_equal(io_unlink(AT_FDCWD, path, &e), 0);
        assert_int_equal(symlink(other, path), 0);
        assert_false(store_has(f->store, &digest, 7));
        assert_true(store_open_verified(f->store, &digest, 7, &fd, &e) < 0);
}

static void append(Fixture *f, const Sha256 *digest, const char *text, uint64_t expected_before) {
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = -EBADF;
        uint64_t size;

        assert_int_equal(store_partial_open(f->store, digest, &fd, &size, &e), 0);
        assert_int_equal(size, expected_before);
        assert_int_equal(io_write_all(fd, text, strlen(text), &e), 0);
}

static void partial_files_grow_and_are_taken_when_right(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        Sha256 digest;

        sha256_buffer("one two", 7, &digest);
        append(f, &digest, "one", 0);
        append(f, &digest, " two", 3);
        assert_false(store_has(f->store, &digest, 7));
        assert_int_equal(store_partial_commit(f->store, &digest, 7, &e), 0);
        assert_true(store_has(f->store, &digest, 7));
        append(f, &digest, "again", 0);
        assert_int_equal(store_partial_remove(f->store, &digest, &e), 0);
        assert_int_equal(store_partial_remove(f->store, &digest, &e), 0);
        append(f, &digest, "", 0);
}

static void wrong_partial_files_are_thrown_away(void **state) {
        static const char *const contents[] = { "one owt", "one", "one two three" };
        Fixture *f = *state;
        Sha256 digest;

        sha256_buffer("one two", 7, &digest);
        for (size_t i = 0; i < ELEMENTSOF(contents); i++) {
                _cleanup_error_ Error e = {};

                append(f, &digest, contents[i], 0);
                assert_true(store_partial_commit(f->store, &digest, 7, &e) < 0);
                assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
                assert_false(store_has(f->store, &digest, 7));
        }
        append(f, &digest, "", 0);
}

static void put(Fixture *f, const char *kind, const Sha256 *key, const char *content) {
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *temporary = NULL;
        _cleanup_close_ int fd = -EBADF;
        int none;

        assert_int_equal(store_cache_begin(f->store, kind, key, &fd, &temporary, &e), 0);
        assert_int_equal(io_write_all(fd, content, strlen(content), &e), 0);
        assert_int_equal(store_cache_get(f->store, kind, key, &none, &e), 1);
        assert_int_equal(store_cache_commit(f->store, kind, key, temporary, &e), 0);
}

static void derived_things_appear_by_commit_only(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        Sha256 key;
        int none;

        sha256_buffer("key", 3, &key);
        put(f, "tree", &key, "derived");
        assert_int_equal(store_cache_get(f->store, "initrd", &key, &none, &e), 1);
        assert_int_equal(store_cache_get(f->store, "tree", &key, &fd, &e), 0);
        assert_int_equal(io_read_fd(fd, 100, &text, NULL, &e), 0);
        assert_string_equal(text, "derived");
}

static void trimming_removes_the_longest_unused_first(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        Sha256 keys[3];
        uint64_t freed;
        int fd;

        for (int i = 0; i < 3; i++) {
                const struct timespec times[2] = { { .tv_sec = 1000 + i }, { .tv_sec = 1000 + i } };
                _cleanup_free_ char *path = NULL;

                sha256_buffer(&i, sizeof(i), &keys[i]);
                put(f, i == 1 ? "tree" : "plan", &keys[i], "0123456789");
                path = store_cache_path(f->store, i == 1 ? "tree" : "plan", &keys[i]);
                assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
        }
        /* Being used makes it young. */
        assert_int_equal(store_cache_get(f->store, "plan", &keys[0], &fd, &e), 0);
        safe_close(fd);
        assert_int_equal(store_cache_trim(f->store, 15, &freed, &e), 0);
        assert_int_equal(freed, 20);
        assert_int_equal(store_cache_get(f->store, "tree", &keys[1], &fd, &e), 1);
        assert_int_equal(store_cache_get(f->store, "plan", &keys[2], &fd, &e), 1);
        assert_int_equal(store_cache_get(f->store, "plan", &keys[0], &fd, &e), 0);
        safe_close(fd);
        assert_int_equal(store_cache_trim(f->store, 15, &freed, &e), 0);
        assert_int_equal(freed, 0);
}

static void a_store_that_cannot_be_made_is_refused(void **state) {
        _cleanup_error_ Error e = {};
        Store *s = NULL;

        assert_true(store_open("/dev/null/store", &s, &e) < 0);
        assert_non_null(strstr(e.hint, "--store"));
}

static void the_environment_says_where_the_store_is(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_(store_freep) Store *s = NULL;
        _cleanup_free_ char *path = path_join(f->folder, "elsewhere"), *real = NULL;

        assert_int_equal(setenv("SEALAB_STORE", path, 1), 0);
        assert_int_equal(store_open(NULL, &s, &e), 0);
        assert_int_equal(unsetenv("SEALAB_STORE"), 0);
        real = realpath(path, NULL);
        assert_string_equal(s->path, real);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(what_is_added_comes_back_verified_and_read_only),
                TEST(absent_objects_are_refused_with_a_remedy),
                TEST(changed_objects_are_refused_and_moved_aside),
                TEST(links_are_no_objects),
                TEST(partial_files_grow_and_are_taken_when_right),
                TEST(wrong_partial_files_are_thrown_away),
                TEST(derived_things_appear_by_commit_only),
                TEST(trimming_removes_the_longest_unused_first),
                TEST(a_store_that_cannot_be_made_is_refused),
                TEST(the_environment_says_where_the_store_is),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
