/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "folder-fixture.h"
#include "io.h"
#include "tree.h"

static const NodeAttributes plain = { .mode = 0644, .mtime = 1700000000 };
static const NodeAttributes folder = { .mode = 0755, .mtime = 1600000000 };

static Tree *new_tree(void **state) {
        Tree *t = NULL;

        assert_int_equal(tree_new(*state, &t, NULL), 0);
        return t;
}

static void add_text(Tree *t, const char *path, const char *text) {
        assert_int_equal(tree_add_file(t, path, &plain, text, strlen(text), NULL, NULL), 0);
}

/* One of everything that a tree can hold, except sockets. */
static void fill(Tree *t) {
        const uint8_t capability[20] = { 1, 0, 0, 2, 0, 0x20 };
        _cleanup_free_ char *big = xmalloc(3 * 1024 * 1024 + 17);
        NodeAttributes a = { .mode = 04755, .uid = 3000000, .gid = 7, .mtime = 1234567890, .package = "login" };
        Node *n;

        memset(big, 'x', 3 * 1024 * 1024 + 17);
        assert_int_equal(tree_add_folder(t, "/usr", &folder, NULL, NULL), 0);
        assert_int_equal(tree_add_file(t, "/usr/bin/su", &a, "\0bin\n", 5, &n, NULL), 0);
        assert_int_equal(tree_set_xattr(n->inode, "security.capability", capability, sizeof(capability)), 0);
        assert_int_equal(tree_set_xattr(n->inode, "user.a", "x\n=\0y", 5), 0);
        assert_int_equal(tree_set_xattr(n->inode, "trusted.overlay.opaque", "y", 1), 0);
        assert_int_equal(tree_set_xattr(n->inode, "user.empty", "", 0), 0);
        assert_int_equal(tree_add_hardlink(t, "/usr/bin/again", "/usr/bin/su", NULL, NULL), 0);
        assert_int_equal(tree_add_file(t, "/usr/share/big", &plain, big, 3 * 1024 * 1024 + 17, NULL, NULL), 0);
        add_text(t, "/usr/share/na\xc3\xafve-\xff-name", "text");
        add_text(t, "/usr/share/empty", "");
        a.package = "base-files";
        assert_int_equal(tree_add_symlink(t, "/bin", &a, "usr/bin", NULL, NULL), 0);
        assert_int_equal(tree_add_device(t, "/dev/null", &a, S_IFCHR, makedev(1, 3), NULL, NULL), 0);
        assert_int_equal(tree_add_device(t, "/dev/sda", &a, S_IFBLK, makedev(8, 0), NULL, NULL), 0);
        assert_int_equal(tree_add_device(t, "/run/pipe", &a, S_IFIFO, 0, NULL, NULL), 0);
        a.mode = 01777;
        a.mtime = -5;
        assert_int_equal(tree_add_folder(t, "/tmp", &a, NULL, NULL), 0);
}

static void children_are_sorted_whatever_the_order_they_come_in(void **state) {
        static const char *const names[] = { "/b", "/a", "/\xc3\xa4", "/c", "/B", "/a.b", "/a-b", "/ab", "/a0" };
        _cleanup_(tree_freep) Tree *t = new_tree(state);

        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                add_text(t, names[k], "x");
        assert_int_equal(t->root->n_children, ELEMENTSOF(names));
        for (size_t k = 1; k < t->root->n_children; k++)
                assert_true(strcmp(t->root->children[k - 1]->name, t->root->children[k]->name) < 0);
        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                assert_string_equal(tree_lookup(t, names[k])->name, names[k] + 1);
        assert_null(tree_lookup(t, "/a1"));
}

static void content_is_hashed_when_it_enters(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_free_ char *data = NULL;
        Sha256 digest;
        size_t size;
        Node *n;

        fill(t);
        n = tree_lookup(t, "/usr/share/big");
        assert_int_equal(tree_read_file(t, n, SIZE_MAX - 1, &data, &size, NULL), 0);
        assert_int_equal(size, 3 * 1024 * 1024 + 17);
        sha256_buffer(data, size, &digest);
        assert_true(sha256_equal(&digest, &n->inode->digest));
        assert_int_equal(tree_replace_content(t, n, "new", 3, NULL), 0);
        sha256_buffer("new", 3, &digest);
        assert_true(sha256_equal(&digest, &n->inode->digest));
        assert_int_equal(n->inode->size, 3);
}

static void bad_places_are_refused(void **state) {
        static const struct {
                const char *path;
                Refusal id;
        } cases[] = {
                { "/usr/../etc", REFUSAL_PATH_ESCAPE }, { "/usr//x", REFUSAL_PATH_ESCAPE },
                { "/./x", REFUSAL_PATH_ESCAPE },        { "", REFUSAL_PATH_ESCAPE },
                { "/usr/x/", REFUSAL_PATH_ESCAPE },     { "/bin/x", REFUSAL_PATH_ESCAPE },
                { "/usr/bin/su/x", REFUSAL_EXISTS },    { "/usr", REFUSAL_EXISTS },
                { "/..", REFUSAL_PATH_ESCAPE },
        };
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        Sha256 before, after;

        fill(t);
        tree_digest(t, true, &before);
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                _cleanup_error_ Error e1 = {}, e2 = {}, e3 = {};

                assert_true(tree_add_file(t, cases[k].path, &plain, "x", 1, NULL, &e1) < 0);
                assert_int_equal(e1.id, cases[k].id);
                assert_true(tree_add_symlink(t, cases[k].path, &plain, "x", NULL, &e2) < 0);
                assert_int_equal(e2.id, cases[k].id);
                assert_true(tree_add_hardlink(t, cases[k].path, "/usr/bin/su", NULL, &e3) < 0);
                assert_int_equal(e3.id, cases[k].id);
        }
        tree_digest(t, true, &after);
        assert_true(sha256_equal(&before, &after));
}

static void too_deep_and_too_long_names_are_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_error_ Error e1 = {}, e2 = {};
        _cleanup_buffer_ Buffer deep = {}, wide = {};

        for (unsigned k = 0; k <= TREE_DEPTH_MAX; k++)
                buffer_puts(&deep, "/d");
        assert_true(tree_add_file(t, deep.data, &plain, "x", 1, NULL, &e1) < 0);
        assert_int_equal(e1.id, REFUSAL_TOO_LARGE);
        buffer_puts(&wide, "/");
        for (unsigned k = 0; k <= TREE_NAME_MAX; k++)
                buffer_puts(&wide, "n");
        assert_true(tree_add_file(t, wide.data, &plain, "x", 1, NULL, &e2) < 0);
        assert_int_equal(e2.id, REFUSAL_TOO_LARGE);
        wide.data[TREE_NAME_MAX + 1] = 0;
        add_text(t, wide.data, "fits");
}

static void replacing_one_name_of_a_hard_link_keeps_the_other(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        Node *a, *b;

        add_text(t, "/a", "one");
        assert_int_equal(tree_add_hardlink(t, "/b", "/a", NULL, NULL), 0);
        assert_int_equal(tree_add_hardlink(t, "/b", "/b", NULL, NULL), 0);
        a = tree_lookup(t, "/a");
        b = tree_lookup(t, "/b");
        assert_ptr_equal(a->inode, b->inode);
        assert_int_equal(a->inode->n_links, 2);
        add_text(t, "/a", "two!");
        assert_int_equal(b->inode->n_links, 1);
        assert_int_equal(b->inode->size, 3);
        assert_int_equal(a->inode->size, 4);
        assert_int_equal(tree_remove(t, "/b"), 0);
        assert_int_equal(tree_remove(t, "/b"), 1);
        assert_int_equal(t->n_nodes, 2);
}

static void links_are_resolved_inside_the_tree(void **state) {
        static const struct {
                const char *path, *expected;
        } cases[] = {
                { "/bin/su", "/usr/bin/su" },
                { "/l/absolute/su", "/usr/bin/su" },
                { "/l/up", "/usr" },
                { "/l/loop", NULL },
                { "/l/nowhere", NULL },
                { "/l/above", "/usr/bin/su" },
                { "/", "/" },
                { "/usr/bin/su/x", NULL },
                { "/l/../bin/./su", "/usr/bin/su" },
        };
        _cleanup_(tree_freep) Tree *t = new_tree(state);

        fill(t);
        assert_int_equal(tree_add_symlink(t, "/l/absolute", &plain, "/bin", NULL, NULL), 0);
        assert_int_equal(tree_add_symlink(t, "/l/up", &plain, "../usr", NULL, NULL), 0);
        assert_int_equal(tree_add_symlink(t, "/l/loop", &plain, "loop", NULL, NULL), 0);
        assert_int_equal(tree_add_symlink(t, "/l/nowhere", &plain, "nothing", NULL, NULL), 0);
        assert_int_equal(tree_add_symlink(t, "/l/above", &plain, "../../../../usr/bin/su", NULL, NULL), 0);
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                Node *n = tree_resolve(t, cases[k].path);
                _cleanup_free_ char *path = n ? node_path(n) : NULL;

                if (cases[k].expected)
                        assert_string_equal(path, cases[k].expected);
                else
                        assert_null(n);
        }
}

static int write_archive(void **state, Tree *t, Error *reterr) {
        int fd = -1;

        assert_int_equal(io_tmpfile(*state, &fd, NULL), 0);
        if (tree_export_archive(t, fd, reterr) < 0) {
                safe_close(fd);
                return -1;
        }
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        return fd;
}

static int read_archive(Tree *t, int fd, TreeImportFlags flags, const char *package, Error *reterr) {
        struct archive *a = archive_read_new();
        int r;

        assert_int_equal(archive_read_support_format_tar(a), ARCHIVE_OK);
        assert_int_equal(archive_read_open_fd(a, fd, 65536), ARCHIVE_OK);
        r = tree_import_archive(t, "", a, flags, package, reterr);
        archive_read_free(a);
        return r;
}

static void archive_gives_back_an_equal_tree(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state), *copy = new_tree(state);
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = -1, again = -1;
        _cleanup_free_ char *x = NULL, *y = NULL;
        size_t n_x, n_y;
        Sha256 a, b;

        fill(t);
        fd = write_archive(state, t, NULL);
        if (read_archive(copy, fd, TREE_IMPORT_DEVICES, NULL, &e) < 0)
                fail_msg("%s", e.message);
        tree_digest(t, true, &a);
        tree_digest(copy, true, &b);
        assert_true(sha256_equal(&a, &b));
        assert_string_equal(tree_lookup(copy, "/usr/bin/su")->inode->package, "login");
        assert_string_equal(tree_lookup(copy, "/bin")->inode->package, "base-files");
        assert_null(tree_lookup(copy, "/usr/share/big")->inode->package);
        assert_int_equal(tree_lookup(copy, "/bin")->inode->mtime, 1234567890);

        again = write_archive(state, copy, NULL);
        lseek(fd, 0, SEEK_SET);
        assert_int_equal(io_read_fd(fd, 1 << 30, &x, &n_x, NULL), 0);
        assert_int_equal(io_read_fd(again, 1 << 30, &y, &n_y, NULL), 0);
        assert_int_equal(n_x, n_y);
        assert_memory_equal(x, y, n_x);
}

/* A child writes the archive and then padding, as much as a tape's last block may have. */
static pid_t start_writer(Tree *t, size_t padding, int *ret_fd) {
        int p[2];
        pid_t pid;

        assert_int_equal(pipe2(p, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                _cleanup_free_ char *zeros = xcalloc(padding + 1, 1);

                close(p[0]); /* or nobody would ever notice that the reader has gone */
                bool good = (!t || tree_export_archive(t, p[1], NULL) >= 0) &&
                            io_write_all(p[1], zeros, padding, NULL) >= 0;

                _exit(good ? 0 : 1);
        }
        close(p[1]);
        *ret_fd = p[0];
        return pid;
}

static int wait_for(pid_t pid) {
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

static void stream_is_read_to_its_very_end(void **state) {
        static const size_t paddings[] = { 0, 512, 5 * 1024 * 1024 };

        for (size_t k = 0; k < ELEMENTSOF(paddings); k++) {
                _cleanup_(tree_freep) Tree *t = new_tree(state), *copy = new_tree(state);
                _cleanup_close_ int fd = -1;
                Sha256 a, b;
                pid_t pid;

                fill(t);
                pid = start_writer(t, paddings[k], &fd);
                assert_int_equal(tree_import_stream(copy, fd, TREE_IMPORT_DEVICES, NULL), 0);
                fd = safe_close(fd);
                assert_int_equal(wait_for(pid), 0); /* not killed by SIGPIPE */
                tree_digest(t, true, &a);
                tree_digest(copy, true, &b);
                assert_true(sha256_equal(&a, &b));
        }
}

static void stream_that_is_no_archive_is_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state), *copy = new_tree(state);
        _cleanup_error_ Error empty = {}, device = {}, garbage = {}, closed = {};
        _cleanup_close_ int nothing = -1, devices = -1, text = -1;
        pid_t pid = start_writer(NULL, 0, &nothing);

        assert_true(tree_import_stream(copy, nothing, 0, &empty) < 0);
        assert_int_equal(empty.id, REFUSAL_BAD_FORMAT);
        assert_int_equal(wait_for(pid), 0);

        fill(t);
        devices = write_archive(state, t, NULL);
        lseek(devices, 0, SEEK_SET);
        assert_true(tree_import_stream(copy, devices, 0, &device) < 0);
        assert_int_equal(device.id, REFUSAL_BAD_VALUE);

        assert_int_equal(io_tmpfile(*state, &text, NULL), 0);
        assert_int_equal(io_pwrite_all(text, "not an archive", 14, 0, NULL), 0);
        assert_true(tree_import_stream(copy, text, 0, &garbage) < 0);
        assert_int_equal(garbage.id, REFUSAL_BAD_FORMAT);
        assert_true(tree_import_stream(copy, -1, 0, &closed) < 0);
        assert_int_not_equal(closed.id, REFUSAL_NONE);
}

static void socket_is_refused_by_the_archive(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_error_ Error e = {};

        assert_int_equal(tree_add_device(t, "/run/socket", &plain, S_IFSOCK, 0, NULL, NULL), 0);
        assert_int_equal(write_archive(state, t, &e), -1);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void device_needs_the_flag(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state), *copy = new_tree(state);
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = -1;

        fill(t);
        fd = write_archive(state, t, NULL);
        assert_true(read_archive(copy, fd, 0, NULL, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void copy_into_another_tree_is_equal(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state), *copy = new_tree(state);
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *data = NULL;
        Sha256 a, b;

        fill(t);
        add_text(copy, "/bin", "is replaced");
        assert_int_equal(tree_copy(copy, "/", t, t->root, NULL), 0);
        tree_digest(t, true, &a);
        tree_digest(copy, true, &b);
        assert_true(sha256_equal(&a, &b));
        assert_int_equal(tree_read_file(copy, tree_lookup(copy, "/usr/share/big"), 4 << 20, &data, NULL, NULL), 0);
        assert_int_equal(data[3 * 1024 * 1024 + 16], 'x');
        assert_int_equal(tree_copy(t, "/usr/share/factory/usr/bin", t, tree_lookup(t, "/usr/bin"), NULL), 0);
        assert_int_equal(tree_lookup(t, "/usr/share/factory/usr/bin/su")->inode->n_links, 2);
        assert_true(tree_copy(t, "/usr/share/x", t, tree_lookup(t, "/usr"), &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void move_keeps_the_order_and_refuses_to_replace(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_error_ Error e1 = {}, e2 = {}, e3 = {};

        fill(t);
        assert_int_equal(tree_move(t, "/usr/bin", "/opt/x/bin", NULL), 0);
        assert_null(tree_lookup(t, "/usr/bin"));
        assert_non_null(tree_lookup(t, "/opt/x/bin/su"));
        assert_true(tree_move(t, "/usr", "/opt", &e1) < 0);
        assert_int_equal(e1.id, REFUSAL_EXISTS);
        assert_true(tree_move(t, "/opt", "/opt/x/y", &e2) < 0);
        assert_int_equal(e2.id, REFUSAL_BAD_VALUE);
        assert_true(tree_move(t, "/nothing", "/y", &e3) < 0);
        assert_int_equal(e3.id, REFUSAL_NOT_FOUND);
}

static int remove_and_add(Tree *t, Node *n, const char *path, void *userdata) {
        strv_extend(userdata, path);
        if (streq(path, "/b")) {
                add_text(t, "/a2", "behind the walk");
                add_text(t, "/z", "before the walk");
                return TREE_WALK_REMOVE;
        }
        return streq(path, "/skipped") ? 1 : streq(path, "/stop") ? -ECANCELED : 0;
}

static void walk_survives_changes_of_its_callback(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_strv_free_ char **seen = NULL;
        _cleanup_free_ char *joined = NULL;

        add_text(t, "/a", "");
        add_text(t, "/b", "");
        add_text(t, "/c/d", "");
        add_text(t, "/skipped/x", "");
        assert_int_equal(tree_walk(t, t->root, remove_and_add, &seen), 0);
        joined = strv_join(seen, " ");
        assert_string_equal(joined, "/ /a /b /c /c/d /skipped /z");
        assert_null(tree_lookup(t, "/b"));
        add_text(t, "/stop", "");
        assert_int_equal(tree_walk(t, t->root, remove_and_add, &seen), -ECANCELED);
}

static void hard_links_are_counted_once(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        uint64_t entries, bytes;

        add_text(t, "/a/one", "12345");
        assert_int_equal(tree_add_hardlink(t, "/a/two", "/a/one", NULL, NULL), 0);
        for (unsigned k = 0; k < 2; k++) {
                tree_count(t, t->root, &entries, &bytes);
                assert_int_equal(entries, 3);
                assert_int_equal(bytes, 5);
        }
}

static void digest_sees_every_attribute(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        Sha256 seen[9];
        Inode *i;

        fill(t);
        i = tree_lookup(t, "/usr/share/empty")->inode;
        tree_digest(t, true, &seen[0]);
        i->mode ^= 1;
        tree_digest(t, true, &seen[1]);
        i->uid++;
        tree_digest(t, true, &seen[2]);
        i->gid++;
        tree_digest(t, true, &seen[3]);
        i->mtime++;
        tree_digest(t, true, &seen[4]);
        assert_int_equal(tree_set_xattr(i, "user.x", "", 0), 0);
        tree_digest(t, true, &seen[5]);
        assert_int_equal(tree_set_xattr(i, "user.x", "1", 1), 0);
        tree_digest(t, true, &seen[6]);
        assert_int_equal(tree_add_hardlink(t, "/usr/share/empty2", "/usr/share/empty", NULL, NULL), 0);
        tree_digest(t, true, &seen[7]);
        add_text(t, "/usr/share/empty2", "");
        tree_digest(t, true, &seen[8]);
        for (size_t x = 0; x < ELEMENTSOF(seen); x++)
                for (size_t y = 0; y < x; y++)
                        assert_false(sha256_equal(&seen[x], &seen[y]));
        tree_digest(t, false, &seen[0]);
        i->mtime++;
        tree_digest(t, false, &seen[1]);
        assert_true(sha256_equal(&seen[0], &seen[1]));
}

static int note_difference(const char *path, TreeDifference what, const Node *a, const Node *b, void *userdata) {
        strv_extendf(userdata, "%s=%x", path, what);
        return 0;
}

static void differences_are_named(void **state) {
        _cleanup_(tree_freep) Tree *a = new_tree(state), *b = new_tree(state);
        _cleanup_strv_free_ char **seen = NULL;
        _cleanup_free_ char *joined = NULL;

        fill(a);
        fill(b);
        assert_int_equal(tree_diff(a, b, note_difference, &seen), 0);
        assert_null(seen);
        add_text(a, "/only/in-a", "");
        add_text(b, "/usr/share/empty", "changed");
        tree_lookup(b, "/tmp")->inode->mtime++;
        assert_int_equal(tree_remove(b, "/bin"), 0);
        assert_int_equal(tree_add_folder(b, "/bin", &folder, NULL, NULL), 0);
        add_text(b, "/bin/new", "");
        assert_int_equal(tree_diff(a, b, note_difference, &seen), 0);
        joined = strv_join(seen, " ");
        assert_string_equal(joined, "/bin=3c /bin/new=2 /only=1 /only/in-a=1 /tmp=20 /usr/share/empty=40");
}

static void real_folder_is_equal(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *path = path_join(*state, "real"), *name = NULL;
        _cleanup_error_ Error e = {};
        struct stat su, again, link;
        char value[32];

        if (geteuid() != 0)
                skip();
        fill(t);
        assert_int_equal(mkdir(path, 0700), 0);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (tree_materialise(t, fd, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(fstatat(fd, "usr/bin/su", &su, 0), 0);
        assert_int_equal(fstatat(fd, "usr/bin/again", &again, 0), 0);
        assert_int_equal(fstatat(fd, "bin", &link, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(su.st_ino, again.st_ino);
        assert_int_equal(su.st_mode, S_IFREG | 04755);
        assert_int_equal(su.st_uid, 3000000);
        assert_int_equal(su.st_mtime, 1234567890);
        assert_int_equal(link.st_mtime, 1234567890);
        name = path_join(path, "usr/bin/su");
        assert_int_equal(getxattr(name, "security.capability", value, sizeof(value)), 20);
        assert_true(tree_materialise(t, fd, &e) < 0);
        assert_non_null(strstr(e.message, "/bin"));
}

static void quarter_of_a_million_entries_take_little_time(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state), *copy = new_tree(state);
        _cleanup_close_ int fd = -1;
        uint64_t entries;
        time_t start = time(NULL);

        for (unsigned k = 0; k < 250000; k++) {
                char path[64];

                /* Neither sorted nor in the worst order. */
                snprintf(path, sizeof(path), "/usr/share/%u/%u", (k * 7919) % 500, k);
                add_text(t, path, "x");
        }
        fd = write_archive(state, t, NULL);
        assert_int_equal(read_archive(copy, fd, 0, NULL, NULL), 0);
        tree_count(copy, copy->root, &entries, NULL);
        assert_int_equal(entries, 250000 + 500 + 2);
        /* 3 s where this was written, with sanitizers; a quadratic look-up would take minutes. */
        assert_true(time(NULL) - start < 60);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(children_are_sorted_whatever_the_order_they_come_in),
                cmocka_unit_test(content_is_hashed_when_it_enters),
                cmocka_unit_test(bad_places_are_refused),
                cmocka_unit_test(too_deep_and_too_long_names_are_refused),
                cmocka_unit_test(replacing_one_name_of_a_hard_link_keeps_the_other),
                cmocka_unit_test(links_are_resolved_inside_the_tree),
                cmocka_unit_test(archive_gives_back_an_equal_tree),
                cmocka_unit_test(stream_is_read_to_its_very_end),
                cmocka_unit_test(stream_that_is_no_archive_is_refused),
                cmocka_unit_test(socket_is_refused_by_the_archive),
                cmocka_unit_test(device_needs_the_flag),
                cmocka_unit_test(copy_into_another_tree_is_equal),
                cmocka_unit_test(move_keeps_the_order_and_refuses_to_replace),
                cmocka_unit_test(walk_survives_changes_of_its_callback),
                cmocka_unit_test(hard_links_are_counted_once),
                cmocka_unit_test(digest_sees_every_attribute),
                cmocka_unit_test(differences_are_named),
                cmocka_unit_test(real_folder_is_equal),
                cmocka_unit_test(quarter_of_a_million_entries_take_little_time),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
