/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "hash.h"
#include "io.h"
#include "s3.h"
#include "storage.h"

typedef struct Fixture {
        char *folder, *repository;
        Storage *storage;
} Fixture;

static int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);
        _cleanup_error_ Error e = {};

        /* Results must not depend on it. */
        umask(0077);
        if (io_temporary_folder("test", &f->folder, &e) < 0)
                return -1;
        f->repository = path_join(f->folder, "new/repository");
        if (storage_open(f->repository, true, &f->storage, &e) < 0)
                return -1;
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        storage_free(f->storage);
        (void) io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f->repository);
        free(f);
        return 0;
}

static void write_text(Storage *s, const char *name, const char *text) {
        _cleanup_error_ Error e = {};

        assert_int_equal(storage_write(s, name, text, strlen(text), STORAGE_IMMUTABLE, &e), 0);
}

static void assert_text(Storage *s, const char *name, const char *text) {
        _cleanup_error_ Error e = {};
        _cleanup_buffer_ Buffer b = {};

        assert_int_equal(storage_read(s, name, 4096, &b, &e), 0);
        assert_int_equal(b.size, strlen(text));
        assert_string_equal(b.data, text);
}

static mode_t mode_of(Fixture *f, const char *name) {
        _cleanup_free_ char *path = path_join(f->repository, name);
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return st.st_mode & 07777;
}

/* A file of that size whose content differs everywhere, without a name. */
static int make_source(Fixture *f, uint64_t size, unsigned seed) {
        _cleanup_error_ Error e = {};
        _cleanup_free_ uint32_t *words = xnew(uint32_t, 65536);
        int fd;

        assert_int_equal(io_tmpfile(f->folder, &fd, &e), 0);
        for (uint64_t offset = 0; offset < size; offset += 262144) {
                for (uint32_t i = 0; i < 65536; i++)
                        words[i] = (uint32_t) (offset / 4) * 2654435761U + i + seed;
                assert_int_equal(io_pwrite_all(fd, words, (size_t) MIN(size - offset, 262144U), offset, &e), 0);
        }
        return fd;
}

static void assert_same_content(Fixture *f, const char *name, int fd, uint64_t size) {
        _cleanup_free_ char *path = path_join(f->repository, name);
        _cleanup_error_ Error e = {};
        uint64_t found;
        Sha256 a, b;

        assert_int_equal(sha256_fd(fd, 0, size, &a, &e), 0);
        assert_int_equal(sha256_file(AT_FDCWD, path, &b, &found, &e), 0);
        assert_int_equal(found, size);
        assert_true(sha256_equal(&a, &b));
}

/* ---- small files --------------------------------------------------------------------------------------------------
 */

static void what_is_written_comes_back_and_can_be_replaced(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_buffer_ Buffer b = {};
        uint64_t size;

        write_text(f->storage, "metadata/1.root.json", "one");
        assert_text(f->storage, "metadata/1.root.json", "one");
        write_text(f->storage, "metadata/1.root.json", "another");
        assert_text(f->storage, "metadata/1.root.json", "another");
        assert_int_equal(storage_size(f->storage, "metadata/1.root.json", &size, &e), 0);
        assert_int_equal(size, 7);
        write_text(f->storage, "empty", "");
        assert_text(f->storage, "empty", "");
        assert_int_equal(storage_read(f->storage, "metadata/1.root.json", 6, &b, &e), -EFBIG);
        assert_int_equal(e.id, REFUSAL_TOO_LARGE);
}

static int collect(const void *data, size_t size, void *userdata, Error *reterr) {
        buffer_append(userdata, data, size);
        return 0;
}

static int refuse(const void *data, size_t size, void *userdata, Error *reterr) {
        return error_set(reterr, ECANCELED, REFUSAL_CANCELLED, "enough");
}

static void large_files_come_in_pieces(void **state) {
        static const uint64_t sizes[] = { 0, 1, 5000, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 20 << 20 };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *name = xasprintf("targets/%zu", i), *content = NULL;
                _cleanup_close_ int fd = make_source(f, sizes[i], (unsigned) i);
                _cleanup_buffer_ Buffer b = {};
                _cleanup_error_ Error e = {};
                size_t size;

                assert_true(storage_upload(f->storage, name, fd, sizes[i], NULL, &e) >= 0);
                assert_int_equal(storage_stream(f->storage, name, sizes[i], collect, &b, &e), 0);
                assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
                assert_int_equal(io_read_fd(fd, (size_t) 32 << 20, &content, &size, &e), 0);
                assert_int_equal(b.size, sizes[i]);
                assert_memory_equal(b.data ?: "", content, size);
                assert_true(storage_stream(f->storage, name, sizes[i] + 1, collect, &b, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
                if (sizes[i] == 0)
                        continue;
                assert_true(storage_stream(f->storage, name, sizes[i] - 1, collect, &b, &e) < 0);
                assert_int_equal(e.id, REFUSAL_TOO_LARGE);
                assert_true(storage_stream(f->storage, name, sizes[i], refuse, NULL, &e) < 0);
                assert_int_equal(e.id, REFUSAL_CANCELLED);
        }
        assert_int_equal(storage_stream(f->storage, "targets/none", 1, collect, NULL, NULL), 1);
}

/* A web server's ETag is made of size and second. */
static void each_timestamp_is_a_second_younger_than_the_one_before(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *path = path_join(f->repository, "metadata/timestamp.json");
        struct timespec last = {};

        for (int i = 0; i < 5; i++) {
                struct stat st;

                assert_int_equal(storage_write(f->storage, "metadata/timestamp.json", "{}", 2, STORAGE_SHORT, NULL), 0);
                assert_int_equal(stat(path, &st), 0);
                assert_true(st.st_mtim.tv_sec > last.tv_sec);
                last = st.st_mtim;
        }
}

static void modes_do_not_depend_on_the_umask(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = make_source(f, 1000, 0);

        write_text(f->storage, "metadata/deep/file.json", "x");
        assert_int_equal(storage_upload(f->storage, "targets/laptop/1/file", fd, 1000, NULL, &e), 0);
        assert_int_equal(mode_of(f, ""), 0755);
        assert_int_equal(mode_of(f, "metadata"), 0755);
        assert_int_equal(mode_of(f, "metadata/deep"), 0755);
        assert_int_equal(mode_of(f, "metadata/deep/file.json"), 0644);
        assert_int_equal(mode_of(f, "targets/laptop/1"), 0755);
        assert_int_equal(mode_of(f, "targets/laptop/1/file"), 0644);
}

static void what_is_not_there_is_said_to_be_so(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_buffer_ Buffer b = {};
        uint64_t size;

        write_text(f->storage, "file", "x");
        assert_int_equal(storage_read(f->storage, "none", 10, &b, &e), 1);
        assert_int_equal(storage_read(f->storage, "no/such/folder", 10, &b, &e), 1);
        assert_int_equal(storage_read(f->storage, "file/below", 10, &b, &e), 1);
        assert_int_equal(storage_size(f->storage, "none", &size, &e), 1);
        assert_int_equal(storage_remove(f->storage, "none", &e), 1);
        assert_int_equal(storage_remove(f->storage, "file/below", &e), 1);
        assert_int_equal(storage_remove(f->storage, "file", &e), 0);
        assert_int_equal(storage_remove(f->storage, "file", &e), 1);
}

static void names_that_lead_out_or_hide_are_refused(void **state) {
        static const struct {
                const char *name;
                Refusal id;
        } names[] = {
                { "", REFUSAL_PATH_ESCAPE },        { "/etc/passwd", REFUSAL_PATH_ESCAPE },
                { "../file", REFUSAL_PATH_ESCAPE }, { "a/../../file", REFUSAL_PATH_ESCAPE },
                { "a//b", REFUSAL_PATH_ESCAPE },    { "a/", REFUSAL_PATH_ESCAPE },
                { "./a", REFUSAL_PATH_ESCAPE },     { ".lock", REFUSAL_BAD_VALUE },
                { "a/.b", REFUSAL_BAD_VALUE },      { "a\nb", REFUSAL_BAD_VALUE },
        };
        Fixture *f = *state;
        _cleanup_close_ int fd = make_source(f, 10, 0);

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_error_ Error a = {}, b = {}, c = {}, d = {}, g = {};
                _cleanup_buffer_ Buffer buffer = {};
                uint64_t size;

                assert_true(storage_read(f->storage, names[i].name, 10, &buffer, &a) < 0);
                assert_int_equal(a.id, names[i].id);
                assert_true(storage_write(f->storage, names[i].name, "x", 1, STORAGE_SHORT, &b) < 0);
                assert_int_equal(b.id, names[i].id);
                assert_true(storage_upload(f->storage, names[i].name, fd, 10, NULL, &c) < 0);
                assert_int_equal(c.id, names[i].id);
                assert_true(storage_remove(f->storage, names[i].name, &d) < 0);
                assert_int_equal(d.id, names[i].id);
                assert_true(storage_size(f->storage, names[i].name, &size, &g) < 0);
                assert_int_equal(g.id, names[i].id);
        }
}

/* ---- lists --------------------------------------------------------------------------------------------------------
 */

static void lists_are_sorted_complete_and_without_hidden_files(void **state) {
        static const char *const wanted[] = { "targets/a.b", "targets/a/1/x", "targets/b" };
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *left = path_join(f->repository, "targets/.left.1.tmp");
        StorageEntry *entries = NULL;
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
                write_text(f->storage, wanted[i], wanted[i]);
        write_text(f->storage, "other/z", "z");
        assert_int_equal(storage_lock(f->storage, &e), 0);
        assert_int_equal(io_write_file(AT_FDCWD, left, "x", 1, 0600, &e), 0);

        assert_int_equal(storage_list(f->storage, "targets/", &entries, &n, &e), 0);
        assert_int_equal(n, 3);
        for (size_t i = 0; i < n; i++) {
                assert_string_equal(entries[i].name, wanted[i]);
                assert_int_equal(entries[i].size, strlen(wanted[i]));
                assert_true(entries[i].modified > 1600000000);
        }
        storage_entries_free(entries, n);
        assert_int_equal(storage_list(f->storage, "", &entries, &n, &e), 0);
        assert_int_equal(n, 4);
        assert_string_equal(entries[0].name, "other/z");
        storage_entries_free(entries, n);
        assert_int_equal(storage_list(f->storage, "nothing/", &entries, &n, &e), 0);
        assert_int_equal(n, 0);
        storage_entries_free(entries, n);
        assert_int_equal(storage_list(f->storage, "../", &entries, &n, &e), -EINVAL);
        assert_int_equal(e.id, REFUSAL_PATH_ESCAPE);
        assert_int_equal(storage_list(f->storage, "targets", &entries, &n, &e), -EINVAL);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

/* ---- large files --------------------------------------------------------------------------------------------------
 */

#define LARGE (9U * 1024 * 1024 + 17)

static void a_large_file_arrives_whole_and_is_left_the_second_time(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = make_source(f, LARGE, 1), other = make_source(f, LARGE, 2);

        assert_int_equal(storage_upload(f->storage, "targets/x/hash.pack", fd, LARGE, NULL, &e), 0);
        assert_same_content(f, "targets/x/hash.pack", fd, LARGE);
        assert_int_equal(storage_upload(f->storage, "targets/x/hash.pack", other, LARGE, NULL, &e), 1);
        assert_same_content(f, "targets/x/hash.pack", fd, LARGE);
        /* Another size cannot be the content of that name: it is brought again. */
        assert_int_equal(storage_upload(f->storage, "targets/x/hash.pack", other, LARGE - 1, NULL, &e), 0);
        assert_same_content(f, "targets/x/hash.pack", other, LARGE - 1);
}

static void a_source_that_is_too_short_leaves_no_file_of_that_name(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = make_source(f, LARGE, 1);
        uint64_t size;

        assert_true(storage_upload(f->storage, "targets/hash.pack", fd, LARGE + 1, NULL, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_int_equal(storage_size(f->storage, "targets/hash.pack", &size, &e), 1);
}

static void holes_are_content(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = -EBADF;

        assert_int_equal(io_tmpfile(f->folder, &fd, &e), 0);
        assert_int_equal(io_pwrite_all(fd, "middle", 6, 5000000, &e), 0);
        assert_int_equal(ftruncate(fd, LARGE), 0);
        assert_int_equal(storage_upload(f->storage, "targets/holes", fd, LARGE, NULL, &e), 0);
        assert_same_content(f, "targets/holes", fd, LARGE);
}

/* Leaves what a copy that was killed after that many bytes leaves; damaged: with one byte that is wrong. */
static void leave_unfinished(Fixture *f, const char *temporary, int fd, uint64_t size, bool damaged) {
        _cleanup_free_ char *path = path_join(f->repository, temporary), *parent = path_dirname(path);
        _cleanup_close_ int to_fd = -EBADF;
        _cleanup_error_ Error e = {};

        assert_int_equal(io_mkdir_parents(AT_FDCWD, parent, 0755, &e), 0);
        to_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(to_fd >= 0);
        assert_int_equal(io_copy_range(fd, 0, to_fd, 0, size, &e), 0);
        if (damaged)
                assert_int_equal(io_pwrite_all(to_fd, "\xff\xfe", 2, size / 2, &e), 0);
}

static ino_t inode_of(Fixture *f, const char *name) {
        _cleanup_free_ char *path = path_join(f->repository, name);
        struct stat st;

        return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static void a_broken_attempt_is_continued_if_it_is_right(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = make_source(f, LARGE, 3);
        ino_t unfinished;

        leave_unfinished(f, "targets/.hash.pack.upload.tmp", fd, LARGE / 2, false);
        unfinished = inode_of(f, "targets/.hash.pack.upload.tmp");
        assert_int_equal(storage_upload(f->storage, "targets/hash.pack", fd, LARGE, NULL, &e), 0);
        assert_int_equal(inode_of(f, "targets/hash.pack"), unfinished);
        assert_same_content(f, "targets/hash.pack", fd, LARGE);
        assert_int_equal(inode_of(f, "targets/.hash.pack.upload.tmp"), 0);
}

static void a_broken_attempt_with_other_content_is_begun_anew(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = make_source(f, LARGE, 3);

        leave_unfinished(f, "targets/.hash.pack.upload.tmp", fd, LARGE / 2, true);
        assert_int_equal(storage_upload(f->storage, "targets/hash.pack", fd, LARGE, NULL, &e), 0);
        assert_same_content(f, "targets/hash.pack", fd, LARGE);
        /* Longer than the file can be. */
        leave_unfinished(f, "targets/.short.upload.tmp", fd, LARGE, false);
        assert_int_equal(storage_upload(f->storage, "targets/short", fd, LARGE / 2, NULL, &e), 0);
        assert_same_content(f, "targets/short", fd, LARGE / 2);
}

static void age(Fixture *f, const char *name, int64_t seconds) {
        _cleanup_free_ char *path = path_join(f->repository, name);
        struct timespec times[2] = { { .tv_sec = time(NULL) - seconds }, { .tv_sec = time(NULL) - seconds } };

        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void the_lock_clears_away_what_was_abandoned(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = make_source(f, 1000, 3);

        leave_unfinished(f, "targets/a/.old.upload.tmp", fd, 500, false);
        leave_unfinished(f, "metadata/.old.json.77.tmp", fd, 500, false);
        leave_unfinished(f, "targets/a/.young.upload.tmp", fd, 500, false);
        write_text(f->storage, "targets/a/old.tmp", "a published file");
        age(f, "targets/a/.old.upload.tmp", 90000);
        age(f, "metadata/.old.json.77.tmp", 90000);
        age(f, "targets/a/old.tmp", 90000);
        assert_int_equal(storage_lock(f->storage, &e), 0);
        assert_int_equal(inode_of(f, "targets/a/.old.upload.tmp"), 0);
        assert_int_equal(inode_of(f, "metadata/.old.json.77.tmp"), 0);
        assert_int_not_equal(inode_of(f, "targets/a/.young.upload.tmp"), 0);
        assert_int_not_equal(inode_of(f, "targets/a/old.tmp"), 0);
}

/* ---- the lock -----------------------------------------------------------------------------------------------------
 */

static void there_is_one_publisher_at_a_time(void **state) {
        Fixture *f = *state;
        _cleanup_(storage_freep) Storage *second = NULL;
        _cleanup_free_ char *process = xasprintf("process %d on ", (int) getpid());
        _cleanup_error_ Error e = {};

        assert_int_equal(storage_open(f->repository, false, &second, &e), 0);
        assert_int_equal(storage_lock(f->storage, &e), 0);
        assert_int_equal(storage_lock(f->storage, &e), 0);
        assert_int_equal(storage_lock(second, &e), -EBUSY);
        assert_int_equal(e.id, REFUSAL_BUSY);
        assert_non_null(strstr(e.message, process));
        storage_unlock(f->storage);
        storage_unlock(f->storage);
        assert_int_equal(storage_lock(second, &e), 0);
        assert_int_equal(storage_lock(f->storage, &e), -EBUSY);
        second = storage_free(second);
        assert_int_equal(storage_lock(f->storage, &e), 0);
}

static void the_lock_of_a_killed_publisher_is_gone(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        int ready[2], status;
        char byte;
        pid_t child;

        assert_int_equal(pipe(ready), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                _cleanup_(storage_freep) Storage *s = NULL;

                if (storage_open(f->repository, false, &s, NULL) < 0 || storage_lock(s, NULL) < 0 ||
                    write(ready[1], "x", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        assert_int_equal(storage_lock(f->storage, &e), -EBUSY);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(storage_lock(f->storage, &e), 0);
}

/* ---- places -------------------------------------------------------------------------------------------------------
 */

static void a_folder_has_a_url(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *url = xasprintf("file://%s/new/rep%%6fsitory", f->folder);
        _cleanup_free_ char *local = xasprintf("file://localhost%s/", f->repository);
        _cleanup_(storage_freep) Storage *a = NULL, *b = NULL;
        _cleanup_error_ Error e = {};

        write_text(f->storage, "file", "content");
        assert_int_equal(storage_open(url, false, &a, &e), 0);
        assert_text(a, "file", "content");
        assert_string_equal(storage_name(a), f->repository);
        assert_int_equal(storage_open(local, false, &b, &e), 0);
        assert_text(b, "file", "content");
}

static void wrong_places_are_refused(void **state) {
        static const struct {
                const char *place;
                Refusal id;
        } places[] = {
                { "", REFUSAL_USAGE },
                { "file://elsewhere/folder", REFUSAL_BAD_VALUE },
                { "file:///bad%zz", REFUSAL_BAD_VALUE },
                { "file:///cut%4", REFUSAL_BAD_VALUE },
                { "file:///nul%00", REFUSAL_BAD_VALUE },
                { "ftp://host/folder", REFUSAL_BAD_VALUE },
                { "/no/such/folder", REFUSAL_NOT_FOUND },
                { "/dev/null", REFUSAL_SYSTEM },
        };

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                _cleanup_(storage_freep) Storage *s = NULL;
                _cleanup_error_ Error e = {};

                assert_true(storage_open(places[i].place, false, &s, &e) < 0);
                assert_int_equal(e.id, places[i].id);
        }
}

/* ---- buckets: what needs no server --------------------------------------------------------------------------------
 */

static void wrong_buckets_are_refused(void **state) {
        static const struct {
                const char *place;
                Refusal id;
        } places[] = {
                { "s3://", REFUSAL_BAD_VALUE },
                { "s3:///prefix", REFUSAL_BAD_VALUE },
                { "s3://bucket/../other", REFUSAL_BAD_VALUE },
                { "s3://bucket//other", REFUSAL_BAD_VALUE },
                { "s3://bucket/a?versions", REFUSAL_BAD_VALUE },
                { "https:///bucket/prefix", REFUSAL_BAD_VALUE },
                { "https://name:password@host/bucket", REFUSAL_BAD_VALUE },
                { "https://host/bucket/%2e%2e", REFUSAL_BAD_VALUE },
                { "https://host/bucket\r\nx-amz-acl: public", REFUSAL_BAD_VALUE },
        };

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                _cleanup_(storage_freep) Storage *s = NULL;
                _cleanup_error_ Error e = {};

                assert_true(storage_open(places[i].place, false, &s, &e) < 0);
                assert_int_equal(e.id, places[i].id);
        }
}

static void without_credentials_nothing_is_sent(void **state) {
        Fixture *f = *state;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_close_ int fd = make_source(f, 10, 0);
        _cleanup_error_ Error e = {};

        unsetenv("AWS_ACCESS_KEY_ID");
        unsetenv("AWS_SECRET_ACCESS_KEY");
        assert_int_equal(storage_open("https://127.0.0.1:1/bucket/prefix", false, &s, &e), 0);
        assert_int_equal(storage_write(s, "name", "x", 1, STORAGE_SHORT, &e), -EACCES);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_int_equal(storage_upload(s, "name", fd, 10, NULL, &e), -EACCES);
        assert_int_equal(storage_remove(s, "name", &e), -EACCES);
        assert_int_equal(storage_lock(s, &e), -EACCES);
        assert_int_equal(e.id, REFUSAL_KEY);
}

static void one_half_of_the_credentials_is_refused(void **state) {
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_error_ Error e = {};

        setenv("AWS_ACCESS_KEY_ID", "id", 1);
        unsetenv("AWS_SECRET_ACCESS_KEY");
        assert_int_equal(storage_open("s3://bucket", false, &s, &e), -EINVAL);
        assert_int_equal(e.id, REFUSAL_KEY);
        setenv("AWS_SECRET_ACCESS_KEY", "se\ncret", 1);
        assert_int_equal(storage_open("s3://bucket", false, &s, &e), -EINVAL);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_null(strstr(e.message, "cret"));
        unsetenv("AWS_ACCESS_KEY_ID");
        unsetenv("AWS_SECRET_ACCESS_KEY");
}

static void note_element(const char *path, const char *text, void *userdata) {
        buffer_printf(userdata, "%s=%s;", path, text);
}

static void answers_are_read_with_limits(void **state) {
        static const char *const bad[] = {
                "",
                "no xml",
                "<a><b></a></b>",
                "<a>",
                "<!DOCTYPE a [<!ENTITY b \"bb\">]><a>&b;</a>",
                "<!DOCTYPE a><a/>",
                "<a>&unknown;</a>",
                "<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>",
        };
        _cleanup_buffer_ Buffer b = {}, large = {};
        _cleanup_error_ Error e = {};
        const char *good = "<?xml version=\"1.0\"?><a xmlns=\"http://x/\"><b>1 &amp; 2</b><c><d>&#252;</d></c><e/></a>";

        assert_int_equal(s3_xml_parse(good, strlen(good), note_element, &b, &e), 0);
        assert_non_null(startswith(b.data, "a/b=1 & 2;a/c/d=\xc3\xbc;a/c="));
        assert_non_null(strstr(b.data, ";a/e=;a="));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                error_done(&e);
                assert_true(s3_xml_parse(bad[i], strlen(bad[i]), note_element, &b, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
        buffer_puts(&large, "<a>");
        for (size_t i = 0; i < 70000; i++)
                buffer_puts(&large, "x");
        buffer_puts(&large, "</a>");
        assert_true(s3_xml_parse(large.data, large.size, note_element, &b, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

static void names_are_encoded_as_signers_do(void **state) {
        _cleanup_free_ char *path = s3_encode("a/B-9._~+ %\xc3\xbc=", true), *value = s3_encode("a/b", false);

        assert_string_equal(path, "a/B-9._~%2B%20%25%C3%BC%3D");
        assert_string_equal(value, "a%2Fb");
}

/* The example of Amazon's documentation of the signature ("GET Bucket (List Objects)"). */
static void our_own_signature_is_that_of_the_specification(void **state) {
        static const char *const headers[] = {
                "Host: examplebucket.s3.amazonaws.com",
                "x-amz-date: 20130524T000000Z",
                "X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                NULL,
        };
        const S3 s3 = { .access_key = (char *) "AKIAIOSFODNN7EXAMPLE",
                        .secret_key = (char *) "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                        .region = (char *) "us-east-1" };
        _cleanup_free_ char *line =
                s3_sign(&s3, "GET", "/", "max-keys=2&prefix=J", headers,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "20130524T000000Z");

        assert_string_equal(line, "Authorization: AWS4-HMAC-SHA256 "
                                  "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                                  "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
                                  "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(what_is_written_comes_back_and_can_be_replaced),
                TEST(each_timestamp_is_a_second_younger_than_the_one_before),
                TEST(large_files_come_in_pieces),
                TEST(modes_do_not_depend_on_the_umask),
                TEST(what_is_not_there_is_said_to_be_so),
                TEST(names_that_lead_out_or_hide_are_refused),
                TEST(lists_are_sorted_complete_and_without_hidden_files),
                TEST(a_large_file_arrives_whole_and_is_left_the_second_time),
                TEST(a_source_that_is_too_short_leaves_no_file_of_that_name),
                TEST(holes_are_content),
                TEST(a_broken_attempt_is_continued_if_it_is_right),
                TEST(a_broken_attempt_with_other_content_is_begun_anew),
                TEST(the_lock_clears_away_what_was_abandoned),
                TEST(there_is_one_publisher_at_a_time),
                TEST(the_lock_of_a_killed_publisher_is_gone),
                TEST(a_folder_has_a_url),
                TEST(wrong_places_are_refused),
                TEST(wrong_buckets_are_refused),
                TEST(without_credentials_nothing_is_sent),
                TEST(one_half_of_the_credentials_is_refused),
                TEST(answers_are_read_with_limits),
                TEST(names_are_encoded_as_signers_do),
                TEST(our_own_signature_is_that_of_the_specification),
        };

        return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
