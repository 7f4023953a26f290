/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Images come back as the tree they were made of, pass the independent checker, and have the same bytes however they
 * were made; what cannot work, and what is damaged, ends in an Error. FSCK_EROFS names the checker. */

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "erofs.h"
#include "io.h"
#include "liberofs.h"
#include "process.h"

#define BUILD_TIME 1700000000
#define ROOT_MTIME 1750000000
#include "erofs-fixture.h"

/* --- images ------------------------------------------------------------------------------------------------------ */

static const ErofsOptions plain = {
        .layout = EROFS_LAYOUT_PLAIN,
        .uuid = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
        .build_time = BUILD_TIME,
        .root_mtime = ROOT_MTIME,
        .n_workers = 1,
};

static ErofsOptions lz4hc(void) {
        ErofsOptions o = plain;

        o.layout = EROFS_LAYOUT_LZ4HC;
        return o;
}

static Sha256 hash_image(const Tree *t, const ErofsOptions *opt) {
        uint64_t size;
        _cleanup_close_ int fd = write_image(t, opt, &size);
        Sha256 h;

        assert_int_equal(sha256_fd(fd, 0, size, &h, NULL), 0);
        return h;
}

static void check_image(int fd) {
        _cleanup_free_ char *path = xasprintf("/proc/%d/fd/%d", (int) getpid(), fd), *output = NULL;
        const char *fsck = getenv("FSCK_EROFS");
        char *const argv[] = { (char *) fsck, (char *) "--extract", path, NULL };
        _cleanup_error_ Error e = {};

        if (isempty(fsck))
                fail_msg("FSCK_EROFS is not set");
        if (process_run(argv, &(ProcessOptions){ .merge_stderr = true }, &output, NULL, &e) < 0)
                fail_msg("%s", e.message);
}

static int print_difference(const char *path, TreeDifference what, const Node *a, const Node *b, void *userdata) {
        print_error("%s differs: 0x%x\n", path, (unsigned) what);
        ++*(int *) userdata;
        return 0;
}

/* Only what is below /usr, and links only among themselves, as in the image. */
static Tree *usr_only(const Tree *from) {
        _cleanup_error_ Error e = {};
        Tree *t;

        assert_int_equal(tree_new(NULL, &t, &e), 0);
        if (tree_copy(t, "/usr", from, tree_lookup(from, "/usr"), &e) < 0)
                fail_msg("%s", e.message);
        return t;
}

static int count_wrong_mtime(Tree *t, Node *n, const char *path, void *userdata) {
        int64_t wanted = streq(path, "/usr") ? ROOT_MTIME : BUILD_TIME;

        if (!streq(path, "/") && n->inode->mtime != wanted)
                ++*(int *) userdata;
        return 0;
}

static int clear_mtime(Tree *t, Node *n, const char *path, void *userdata) {
        n->inode->mtime = 0;
        return 0;
}

static void assert_same(Tree *wanted, Tree *got) {
        int n = 0;

        assert_int_equal(tree_walk(got, got->root, count_wrong_mtime, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(tree_walk(got, got->root, clear_mtime, NULL), 0);
        assert_int_equal(tree_walk(wanted, wanted->root, clear_mtime, NULL), 0);
        assert_true(tree_diff(wanted, got, print_difference, &n) >= 0);
        assert_int_equal(n, 0);
}

static void check_round_trip(State *s, const ErofsOptions *opt) {
        _cleanup_close_ int fd = write_image(s->tree, opt, NULL);
        _cleanup_(tree_freep) Tree *wanted = usr_only(s->tree), *got = NULL;
        _cleanup_error_ Error e = {};

        check_image(fd);
        if (erofs_read(fd, &(ErofsReadOptions){ .root_path = "/usr" }, &got, &e) < 0)
                fail_msg("%s", e.message);
        assert_same(wanted, got);
}

static void test_round_trip_plain(void **state) {
        check_round_trip(*state, &plain);
}

static void test_round_trip_lz4hc(void **state) {
        ErofsOptions o = lz4hc();

        check_round_trip(*state, &o);
}

static void test_round_trip_settings(void **state) {
        ErofsOptions o = lz4hc();

        o.level = 1;
        o.cluster_size = 4096;
        check_round_trip(*state, &o);
        o.cluster_size = 65536;
        o.modules_plain = true;
        o.n_workers = 0;
        check_round_trip(*state, &o);
}

static void test_empty(void **state) {
        _cleanup_(tree_freep) Tree *t = NULL, *got = NULL;
        _cleanup_close_ int fd = -EBADF;
        const NodeAttributes a = { .mode = 0755 };

        assert_int_equal(tree_new(NULL, &t, NULL), 0);
        assert_int_equal(tree_add_folder(t, "/usr", &a, NULL, NULL), 0);
        fd = write_image(t, &plain, NULL);
        check_image(fd);
        assert_int_equal(erofs_read(fd, NULL, &got, NULL), 0);
        assert_int_equal(got->root->n_children, 0);
        assert_int_equal(got->root->inode->mtime, ROOT_MTIME);
}

static void test_identity(void **state) {
        State *s = *state;
        _cleanup_close_ int fd = write_image(s->tree, &plain, NULL);
        uint8_t uuid[16];

        assert_int_equal(io_pread_all(fd, uuid, sizeof(uuid), 1024 + 48, NULL), 0);
        assert_memory_equal(uuid, plain.uuid, sizeof(uuid));
}

/* The contents are read and hashed, or not even that, but not kept. */
static void test_without_contents(void **state) {
        State *s = *state;
        ErofsOptions o = lz4hc();
        _cleanup_close_ int fd = write_image(s->tree, &o, NULL);
        _cleanup_(tree_freep) Tree *wanted = usr_only(s->tree), *got = NULL, *skipped = NULL;
        _cleanup_free_ char *content = NULL;
        Node *n;

        assert_int_equal(erofs_read(fd, &(ErofsReadOptions){ .root_path = "/usr/", .contents = EROFS_CONTENTS_DIGEST },
                                    &got, NULL),
                         0);
        assert_int_equal(got->spool_size, 0);
        n = tree_lookup(got, "/usr/size-4097");
        assert_true(tree_read_file(got, n, 1 << 20, &content, NULL, NULL) < 0);
        assert_same(wanted, got);

        assert_int_equal(erofs_read(fd, &(ErofsReadOptions){ .contents = EROFS_CONTENTS_SKIP }, &skipped, NULL), 0);
        assert_int_equal(skipped->spool_size, 0);
        n = tree_lookup(skipped, "/size-4097");
        assert_non_null(n);
        assert_int_equal(n->inode->size, 4097);
}

/* --- same input, same bytes -------------------------------------------------------------------------------------- */

static void check_reproducible(State *s, ErofsOptions o) {
        Items shuffled = { xmemdup(s->items.items, s->items.n * sizeof(Item)), s->items.n, s->items.n };
        _cleanup_(tree_freep) Tree *other = NULL;
        Sha256 first, again;

        shuffle(&shuffled, 4711);
        other = make_tree(&shuffled);
        free(shuffled.items);

        first = hash_image(s->tree, &o);
        again = hash_image(s->tree, &o);
        assert_true(sha256_equal(&first, &again));
        again = hash_image(other, &o);
        assert_true(sha256_equal(&first, &again));
        o.n_workers = 2;
        again = hash_image(s->tree, &o);
        assert_true(sha256_equal(&first, &again));
        o.n_workers = 7;
        again = hash_image(other, &o);
        assert_true(sha256_equal(&first, &again));

        o.uuid[0]++;
        again = hash_image(s->tree, &o);
        assert_false(sha256_equal(&first, &again));
}

static void test_reproducible_plain(void **state) {
        check_reproducible(*state, plain);
}

static void test_reproducible_lz4hc(void **state) {
        check_reproducible(*state, lz4hc());
}

/* The bytes themselves, so that another encoder, compiler or host does not go unnoticed. They may change with the
 * version of liberofs or LZ4 only, and then every image changes. */
static void check_bytes(const ErofsOptions *opt, const char *wanted) {
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_free_ char *hex = NULL;
        const NodeAttributes a = { .mode = 0644 };
        Sha256 h;

        assert_int_equal(tree_new(NULL, &t, NULL), 0);
        for (unsigned i = 0; i < 20; i++) {
                _cleanup_free_ char *path = xasprintf("/usr/file%u", i), *content = make_content(i * i * 2000, i);

                assert_int_equal(tree_add_file(t, path, &a, content, i * i * 2000, NULL, NULL), 0);
        }
        h = hash_image(t, opt);
        hex = sha256_hex(&h);
        assert_string_equal(hex, wanted);
}

static void test_known_bytes(void **state) {
        ErofsOptions o = lz4hc();

        check_bytes(&plain, "cd15c9bc23b64758e85e9f030819414aa9a87276ea78920d36b94760d4c3fcb1");
        check_bytes(&o, "5860b875e9518b613a48ecd5b2ab871a2af21ff52d9d150a21bb4046a525365c");
}

/* A file whose content changes must leave the blocks of the others alone: small updates live on that. */
static void test_change_stays_local(void **state) {
        uint64_t size[2], n_changed = 0;
        int fd[2];

        for (int i = 0; i < 2; i++) {
                _cleanup_(tree_freep) Tree *t = NULL;
                const NodeAttributes a = { .mode = 0644 };

                assert_int_equal(tree_new(NULL, &t, NULL), 0);
                for (unsigned k = 0; k < 100; k++) {
                        _cleanup_free_ char *path = xasprintf("/usr/file%u", k), *content = make_content(30001, k);

                        if (i == 1 && k == 50)
                                content[12345] ^= 1;
                        assert_int_equal(tree_add_file(t, path, &a, content, 30001, NULL, NULL), 0);
                }
                fd[i] = write_image(t, &plain, &size[i]);
        }
        assert_int_equal(size[0], size[1]);
        for (uint64_t offset = 0; offset < size[0]; offset += EROFS_BLOCK_BYTES) {
                uint8_t block[2][EROFS_BLOCK_BYTES];

                for (int i = 0; i < 2; i++)
                        assert_int_equal(io_pread_all(fd[i], block[i], sizeof(block[i]), offset, NULL), 0);
                n_changed += memcmp(block[0], block[1], sizeof(block[0])) != 0;
        }
        assert_int_equal(n_changed, 1);
        close(fd[0]);
        close(fd[1]);
}

static bool contains(int fd, uint64_t size, const void *content, size_t content_size) {
        _cleanup_free_ char *image = xmalloc(size);

        assert_int_equal(io_pread_all(fd, image, size, 0, NULL), 0);
        return memmem(image, size, content, content_size) != NULL;
}

static void test_modules(void **state) {
        State *s = *state;
        const char *path = "/usr/lib/modules/6.12/kernel/some.ko";
        _cleanup_free_ char *content = NULL;
        ErofsOptions o = lz4hc();
        uint64_t size;
        size_t n;
        int fd;

        assert_int_equal(tree_read_file(s->tree, tree_lookup(s->tree, path), 1 << 20, &content, &n, NULL), 0);
        fd = write_image(s->tree, &o, &size);
        assert_false(contains(fd, size, content, n));
        close(fd);
        o.modules_plain = true;
        fd = write_image(s->tree, &o, &size);
        assert_true(contains(fd, size, content, n));
        close(fd);
}

typedef struct Watched {
        uint64_t done, total;
        unsigned n;
} Watched;

static void watch(uint64_t done, uint64_t total, void *userdata) {
        Watched *w = userdata;

        assert_true(done >= w->done && done <= total);
        *w = (Watched){ done, total, w->n + 1 };
}

static void test_progress(void **state) {
        State *s = *state;
        Watched w = {};
        ErofsOptions o = plain;

        o.progress = watch;
        o.userdata = &w;
        close(write_image(s->tree, &o, NULL));
        assert_true(w.n > 5);
        assert_true(w.total > 22u << 20);
        assert_int_equal(w.done, w.total);
}

/* --- what cannot work -------------------------------------------------------------------------------------------- */

static void refuse(const Tree *t, const char *root, const ErofsOptions *opt, int fd, Refusal id) {
        _cleanup_error_ Error e = {};
        uint64_t size;

        assert_true(erofs_write(t, root, opt, fd, &size, &e) < 0);
        if (e.id != id)
                fail_msg("%s instead of %s: %s", refusal_name(e.id), refusal_name(id), e.message);
        assert_non_null(e.message);
}

static void test_refusals(void **state) {
        State *s = *state;
        _cleanup_(tree_freep) Tree *t = usr_only(s->tree);
        _cleanup_close_ int fd = new_file(), used = new_file();
        Inode *inode = tree_lookup(t, "/usr/size-1")->inode;
        ErofsOptions o = lz4hc();

        refuse(t, "/nowhere", &plain, fd, REFUSAL_NOT_FOUND);
        refuse(t, "/usr/size-1", &plain, fd, REFUSAL_NOT_FOUND);
        o.level = 13;
        refuse(t, "/usr", &o, fd, REFUSAL_BAD_VALUE);
        o.level = 0;
        o.cluster_size = 5000;
        refuse(t, "/usr", &o, fd, REFUSAL_BAD_VALUE);
        o = plain;
        o.build_time = -1;
        refuse(t, "/usr", &o, fd, REFUSAL_BAD_VALUE);
        assert_int_equal(io_pwrite_all(used, "x", 1, 0, NULL), 0);
        refuse(t, "/usr", &plain, used, REFUSAL_BAD_VALUE);

        inode->offset = t->spool_size;
        refuse(t, "/usr", &plain, fd, REFUSAL_BAD_VALUE);
        inode->offset = 0;
        assert_int_equal(tree_set_xattr(inode, "btrfs.compression", "x", 1), 0);
        refuse(t, "/usr", &plain, fd, REFUSAL_BAD_VALUE);
}

static void test_read_only(void **state) {
        State *s = *state;
        _cleanup_close_ int fd = new_file(), read_only = -EBADF;
        _cleanup_free_ char *path = xasprintf("/proc/self/fd/%d", fd);

        read_only = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(read_only >= 0);
        refuse(s->tree, "/usr", &plain, read_only, REFUSAL_SYSTEM);
}

/* On a file system of its own that is too small, in a child because that takes a mount namespace. */
static void test_no_space(void **state) {
        State *s = *state;
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                _cleanup_error_ Error e = {};
                uint64_t size;
                int fd;

                if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) < 0 ||
                    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                    mount("small", "/tmp", "tmpfs", 0, "size=8m") < 0 || io_tmpfile("/tmp", &fd, NULL) < 0)
                        _exit(77);
                if (erofs_write(s->tree, "/usr", &plain, fd, &size, &e) >= 0 || e.id != REFUSAL_NO_SPACE)
                        _exit(1);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        /* A machine that gives no namespaces cannot run sealab either, but can compile it. */
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

static int crash(FILE *to_parent, void *userdata, Error *reterr) {
        fprintf(stderr, "first\nthe reason\n");
        raise(*(int *) userdata);
        return 0;
}

static int break_off(FILE *to_parent, void *userdata, Error *reterr) {
        fputs("some", to_parent);
        fflush(to_parent);
        return error_set(reterr, EINVAL, REFUSAL_KEY, "the cause");
}

static int flood(FILE *to_parent, void *userdata, Error *reterr) {
        while (fputs("more than a pipe holds", to_parent) >= 0)
                ;
        return 0;
}

static void test_child_fails(void **state) {
        static const struct {
                int sig;
                Refusal id;
        } deaths[] = {
                { SIGABRT, REFUSAL_BAD_FORMAT }, { SIGSEGV, REFUSAL_BAD_FORMAT }, { SIGALRM, REFUSAL_BAD_FORMAT },
                { SIGTERM, REFUSAL_CANCELLED },  { SIGKILL, REFUSAL_SYSTEM },
        };
        LiberofsChild *c;

        for (size_t i = 0; i < ELEMENTSOF(deaths); i++) {
                _cleanup_error_ Error e = {};
                int sig = deaths[i].sig;

                assert_int_equal(liberofs_start("try", REFUSAL_BAD_FORMAT, crash, &sig, &c, &e), 0);
                assert_int_equal(fgetc(liberofs_stream(c)), EOF);
                assert_true(liberofs_finish(c, 0, &e) < 0);
                assert_int_equal(e.id, deaths[i].id);
                if (sig == SIGABRT)
                        assert_non_null(strstr(e.message, "the reason"));
                liberofs_free(c);
        }

        /* The child's reason wins over what the parent made of the broken stream. */
        for (int r = 0; r >= -EPROTO; r -= EPROTO) {
                _cleanup_error_ Error e = {};

                assert_int_equal(liberofs_start("try", REFUSAL_BAD_FORMAT, break_off, NULL, &c, &e), 0);
                while (fgetc(liberofs_stream(c)) != EOF)
                        ;
                if (r < 0)
                        error_set(&e, EPROTO, REFUSAL_BAD_FORMAT, "broken");
                assert_true(liberofs_finish(c, r, &e) < 0);
                assert_int_equal(e.id, REFUSAL_KEY);
                liberofs_free(c);
        }

        /* The parent's reason, if the child only died of it. */
        {
                _cleanup_error_ Error e = {};

                assert_int_equal(liberofs_start("try", REFUSAL_BAD_FORMAT, flood, NULL, &c, &e), 0);
                error_set(&e, ENOSPC, REFUSAL_NO_SPACE, "full");
                assert_true(liberofs_finish(c, -ENOSPC, &e) < 0);
                assert_int_equal(e.id, REFUSAL_NO_SPACE);
                liberofs_free(c);
        }
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static int tell_and_wait(FILE *to_parent, void *userdata, Error *reterr) {
        pid_t pid = getpid();

        fwrite(&pid, sizeof(pid), 1, to_parent);
        fflush(to_parent);
        return pause();
}

static void test_child_dies_with_parent(void **state) {
        pid_t middle, child = 0;
        int p[2];

        assert_int_equal(pipe(p), 0);
        middle = fork();
        if (middle == 0) {
                LiberofsChild *c;
                pid_t pid = 0;

                if (liberofs_start("try", REFUSAL_BAD_FORMAT, tell_and_wait, NULL, &c, NULL) < 0 ||
                    fread(&pid, sizeof(pid), 1, liberofs_stream(c)) != 1)
                        _exit(1);
                (void) io_write_all(p[1], &pid, sizeof(pid), NULL);
                _exit(0);
        }
        assert_int_equal(read(p[0], &child, sizeof(child)), sizeof(child));
        assert_int_equal(waitpid(middle, NULL, 0), middle);
        for (int i = 0; kill(child, 0) == 0; i++) {
                _cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int) child), *text = NULL;

                /* Nobody may be there to collect it. */
                if (io_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) >= 0 && strstr(text, ") Z "))
                        break;
                if (i > 500)
                        fail_msg("the child outlived its parent");
                usleep(10000);
        }
        close(p[0]);
        close(p[1]);
}

/* --- damaged images ---------------------------------------------------------------------------------------------- */

static Tree *small_tree(void) {
        const NodeAttributes a = { .mode = 0644 };
        Tree *t;

        assert_int_equal(tree_new(NULL, &t, NULL), 0);
        for (unsigned i = 0; i < 40; i++) {
                _cleanup_free_ char *path = xasprintf("/usr/d%u/file%u", i % 4, i), *content = make_content(i * 997, i);

                assert_int_equal(tree_add_file(t, path, &a, content, i * 997, NULL, NULL), 0);
        }
        assert_int_equal(tree_add_symlink(t, "/usr/link", &a, "target", NULL, NULL), 0);
        link_names(t, "/usr/hard", "/usr/d3/file7");
        set_xattr(t, "/usr/hard", "user.x", "y", 1);
        return t;
}

static void refuse_image(const void *image, size_t size, const ErofsReadOptions *opt, Refusal id) {
        _cleanup_close_ int fd = new_file();
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(io_pwrite_all(fd, image, size, 0, NULL), 0);
        assert_true(erofs_read(fd, opt, &t, &e) < 0);
        if (e.id != id)
                fail_msg("%s instead of %s: %s", refusal_name(e.id), refusal_name(id), e.message);
        assert_null(t);
}

static void test_damage(void **state) {
        _cleanup_(tree_freep) Tree *t = small_tree();
        ErofsOptions o = lz4hc();
        uint64_t size;
        _cleanup_close_ int fd = write_image(t, &o, &size);
        _cleanup_free_ char *image = xmalloc(size), *changed = xmalloc(size);
        unsigned seed = 1, n_refused = 0;

        assert_int_equal(io_pread_all(fd, image, size, 0, NULL), 0);
        refuse_image("", 0, NULL, REFUSAL_BAD_FORMAT);
        refuse_image("no image", 8, NULL, REFUSAL_BAD_FORMAT);
        refuse_image(image, 4095, NULL, REFUSAL_BAD_FORMAT);
        refuse_image(image, 4096, NULL, REFUSAL_BAD_FORMAT);
        refuse_image(image, size - 1, NULL, REFUSAL_BAD_FORMAT);
        refuse_image(image, size / 2, NULL, REFUSAL_BAD_FORMAT);
        refuse_image(image, size, &(ErofsReadOptions){ .contents_max = 1000 }, REFUSAL_TOO_LARGE);
        memcpy(changed, image, size);
        changed[1024 + 20] ^= 1;
        refuse_image(changed, size, NULL, REFUSAL_BAD_FORMAT);

        /* Every outcome is allowed but a crash or a hang; the checksum of the superblock is made useless, not the
         * target. */
        for (int i = 0; i < 300; i++) {
                _cleanup_(tree_freep) Tree *got = NULL;
                _cleanup_close_ int copy = new_file();
                _cleanup_error_ Error e = {};

                memcpy(changed, image, size);
                changed[1024 + 8] &= ~1;
                for (unsigned k = next_random(&seed) % 4; k != UINT32_MAX; k--)
                        changed[next_random(&seed) % size] ^= (char) (1 << next_random(&seed) % 8);
                /* Most of what can go wrong is in the first blocks. */
                changed[1024 + 128 + next_random(&seed) % 8000] = (char) next_random(&seed);
                assert_int_equal(io_pwrite_all(copy, changed, size, 0, NULL), 0);
                if (erofs_read(copy, NULL, &got, &e) < 0) {
                        assert_non_null(e.message);
                        assert_true(e.id == REFUSAL_BAD_FORMAT || e.id == REFUSAL_TOO_LARGE ||
                                    e.id == REFUSAL_PATH_ESCAPE || e.id == REFUSAL_BAD_VALUE || e.id == REFUSAL_EXISTS);
                        n_refused++;
                }
        }
        assert_true(n_refused > 30);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip_plain),
                cmocka_unit_test(test_round_trip_lz4hc),
                cmocka_unit_test(test_round_trip_settings),
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_identity),
                cmocka_unit_test(test_without_contents),
                cmocka_unit_test(test_reproducible_plain),
                cmocka_unit_test(test_reproducible_lz4hc),
                cmocka_unit_test(test_known_bytes),
                cmocka_unit_test(test_change_stays_local),
                cmocka_unit_test(test_modules),
                cmocka_unit_test(test_progress),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_read_only),
                cmocka_unit_test(test_no_space),
                cmocka_unit_test(test_child_fails),
                cmocka_unit_test(test_child_dies_with_parent),
                cmocka_unit_test(test_damage),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
