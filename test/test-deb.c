/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "deb.h"
#include "folder-fixture.h"
#include "io.h"
#include "process.h"

#define TAR_SIZE_MAX ((size_t) 8 * 1024 * 1024)
#define CONTROL_TEXT                                                                                                   \
        "Package: hello\nVersion: 1:2.0-1~x+b1\nArchitecture: amd64\nEssential: yes\n"                                 \
        "Description: a greeting\n and its\n other lines\n"

/* One entry of an archive; type is that of archive_entry, 0 for a hard link. */
typedef struct Member {
        const char *path;
        mode_t type;
        const char *target, *data;
        mode_t mode;
} Member;

#define FILE_(p, d)                                                                                                    \
        { .path = (p), .type = AE_IFREG, .data = (d), .mode = 0644 }
#define FOLDER(p)                                                                                                      \
        { .path = (p), .type = AE_IFDIR, .mode = 0755 }
#define LINK(p, t)                                                                                                     \
        { .path = (p), .type = AE_IFLNK, .target = (t), .mode = 0777 }
#define HARD(p, t)                                                                                                     \
        { .path = (p), .target = (t), .mode = 0644 }
#define DEVICE(p, k)                                                                                                   \
        { .path = (p), .type = (k), .mode = 0644 }

static int make_folder_for_all(void **state) {
        if (make_folder(state) < 0)
                return -1;
        /* The package reader's own temporary files go there too, so that the test sees what is left over. */
        return setenv("TMPDIR", *state, 1);
}

static Tree *new_tree(void **state) {
        Tree *t = NULL;

        assert_int_equal(tree_new(*state, &t, NULL), 0);
        return t;
}

static void write_member(struct archive *a, const Member *m) {
        struct archive_entry *e = archive_entry_new();
        size_t size = m->data ? strlen(m->data) : 0;

        archive_entry_set_pathname(e, m->path);
        archive_entry_set_filetype(e, m->type ?: AE_IFREG);
        archive_entry_set_perm(e, m->mode);
        archive_entry_set_mtime(e, 1700000000, 0);
        archive_entry_set_size(e, (la_int64_t) size);
        if (m->type == AE_IFLNK)
                archive_entry_set_symlink(e, m->target);
        else if (m->target)
                archive_entry_set_hardlink(e, m->target);
        if (m->type == AE_IFCHR || m->type == AE_IFBLK)
                archive_entry_set_rdev(e, 0x103);
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        if (size > 0)
                assert_int_equal(archive_write_data(a, m->data, size), size);
        archive_entry_free(e);
}

static struct archive *start_tar(Buffer *b, const char *compression) {
        struct archive *a = archive_write_new();

        assert_int_equal(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
        if (*compression)
                assert_int_equal(archive_write_add_filter_by_name(a, compression), ARCHIVE_OK);
        assert_int_equal(archive_write_set_bytes_in_last_block(a, 1), ARCHIVE_OK);
        b->data = xmalloc(TAR_SIZE_MAX);
        assert_int_equal(archive_write_open_memory(a, b->data, TAR_SIZE_MAX, &b->size), ARCHIVE_OK);
        return a;
}

static void finish_tar(struct archive *a) {
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
        archive_write_free(a);
}

static void make_tar(Buffer *b, const char *compression, const Member *members, size_t n) {
        struct archive *a = start_tar(b, compression);

        for (size_t k = 0; k < n; k++)
                write_member(a, members + k);
        finish_tar(a);
}

typedef struct Part {
        const char *name;
        const void *data;
        size_t size;
} Part;

static int write_ar(void **state, const Part *parts, size_t n) {
        struct archive *a = archive_write_new();
        int fd = -1;

        assert_int_equal(io_tmpfile(*state, &fd, NULL), 0);
        assert_int_equal(archive_write_set_format_ar_svr4(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
        for (size_t k = 0; k < n; k++) {
                struct archive_entry *e = archive_entry_new();

                archive_entry_set_pathname(e, parts[k].name);
                archive_entry_set_mode(e, S_IFREG | 0644);
                archive_entry_set_size(e, (la_int64_t) parts[k].size);
                assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
                assert_int_equal(archive_write_data(a, parts[k].data, parts[k].size), parts[k].size);
                archive_entry_free(e);
        }
        finish_tar(a);
        return fd;
}

/* A package around a finished data.tar. */
static int wrap_data(void **state, const char *data_name, const Buffer *data) {
        const Member control[] = { FOLDER("./"),
                                   FILE_("./control", CONTROL_TEXT),
                                   FILE_("./conffiles", "/etc/hello\n"),
                                   { .path = "./postinst", .type = AE_IFREG, .data = "#!/bin/sh\n", .mode = 0755 } };
        _cleanup_buffer_ Buffer c = {};
        int fd;

        make_tar(&c, "xz", control, ELEMENTSOF(control));
        fd = write_ar(state,
                      (const Part[]){ { "debian-binary", "2.0\n", 4 },
                                      { "control.tar.xz", c.data, c.size },
                                      { data_name, data->data, data->size } },
                      3);
        return fd;
}

static int make_deb(void **state, const char *suffix, const char *compression, const Member *members, size_t n) {
        _cleanup_free_ char *name = xasprintf("data.tar%s", suffix);
        _cleanup_buffer_ Buffer data = {};

        make_tar(&data, compression, members, n);
        return wrap_data(state, name, &data);
}

static const Member ordinary[] = {
        FOLDER("./"),
        FOLDER("./bin/"),
        FILE_("./bin/hello", "#!/bin/sh\necho hello\n"),
        HARD("./bin/hi", "./bin/hello"),
        FOLDER("./usr/"),
        FOLDER("./usr/share/"),
        LINK("./usr/share/link", "../../etc/hello"),
        FILE_("./etc/hello", "greeting=1\n"),
};

static void every_compression_is_read(void **state) {
        static const struct {
                const char *suffix, *filter;
        } cases[] = { { "", "" }, { ".gz", "gzip" }, { ".xz", "xz" }, { ".zst", "zstd" }, { ".bz2", "bzip2" } };

        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                _cleanup_close_ int fd =
                        make_deb(state, cases[k].suffix, cases[k].filter, ordinary, ELEMENTSOF(ordinary));
                _cleanup_(tree_freep) Tree *t = new_tree(state);
                _cleanup_deb_control_ DebControl c = {};
                _cleanup_error_ Error e = {};
                _cleanup_free_ char *description = NULL;

                if (deb_read(fd, "hello", t, "/sub", 0, &c, &e) < 0)
                        fail_msg("%s: %s", cases[k].suffix, e.message);
                assert_string_equal(c.package, "hello");
                assert_string_equal(c.version, "1:2.0-1~x+b1");
                assert_string_equal(c.architecture, "amd64");
                assert_true(c.essential);
                assert_int_equal(c.n_files, 3);
                assert_string_equal(deb_control_file(&c, "conffiles")->data, "/etc/hello\n");
                assert_int_equal(deb_control_file(&c, "postinst")->mode, 0755);
                assert_null(deb_control_file(&c, "prerm"));
                description = deb_field(deb_control_file(&c, "control")->data, "description");
                assert_string_equal(description, "a greeting\n and its\n other lines");
                assert_string_equal(tree_lookup(t, "/sub/bin/hello")->inode->package, "hello");
                assert_int_equal(tree_lookup(t, "/sub/bin/hi")->inode->n_links, 2);
                assert_int_equal(tree_lookup(t, "/sub/etc/hello")->inode->mtime, 1700000000);
        }
}

static void merged_usr_moves_files_and_keeps_links(void **state) {
        const Member members[] = {
                FOLDER("./"),
                FOLDER("./bin"),
                FILE_("./bin/x", "1"),
                HARD("./sbin/y", "./bin/x"),
                LINK("./lib", "usr/lib"),
                FILE_("./lib64/z.so", "2"),
                FILE_("./libexec/q", "3"),
                FILE_("./usr/bin/w", "4"),
        };
        _cleanup_close_ int fd = make_deb(state, ".xz", "xz", members, ELEMENTSOF(members));
        _cleanup_(tree_freep) Tree *t = new_tree(state);

        assert_int_equal(deb_read(fd, NULL, t, "", DEB_MERGE_USR, NULL, NULL), 0);
        assert_non_null(tree_lookup(t, "/usr/bin/x"));
        assert_non_null(tree_lookup(t, "/usr/bin/w"));
        assert_ptr_equal(tree_lookup(t, "/usr/sbin/y")->inode, tree_lookup(t, "/usr/bin/x")->inode);
        assert_non_null(tree_lookup(t, "/usr/lib64/z.so"));
        assert_non_null(tree_lookup(t, "/libexec/q"));
        assert_true(node_is_symlink(tree_lookup(t, "/lib")));
        assert_null(tree_lookup(t, "/bin"));
}

static char long_name[300], long_path[5000], deep_path[2 * 4096 + 1];

static void fill_long_names(void) {
        memset(long_name, 'n', sizeof(long_name) - 1);
        for (size_t k = 0; k + 1 < sizeof(long_path); k++)
                long_path[k] = k % 100 == 99 ? '/' : 'p';
        for (size_t k = 0; k + 2 < sizeof(deep_path); k += 2)
                memcpy(deep_path + k, "d/", 2);
        deep_path[sizeof(deep_path) - 2] = 0;
}

/* Every attack stands behind a harmless file and before one that must not be reached. */
static void hostile_members_are_refused(void **state) {
        static const struct {
                Refusal id;
                Member members[3];
        } attacks[] = {
                { REFUSAL_PATH_ESCAPE, { FILE_("../evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("./../evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("./usr/../../evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("./usr/..", "x") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("..", "x") } },
                { REFUSAL_PATH_ESCAPE, { FOLDER("../evil") } },
                { REFUSAL_PATH_ESCAPE, { FOLDER("./usr/../../evil/") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("/etc/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("//etc/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { FOLDER("/evil") } },
                { REFUSAL_PATH_ESCAPE, { LINK("/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { LINK("../evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("./usr//evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { FILE_("./usr/./evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "/etc"), FILE_("./l/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "../../.."), FILE_("./l/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "."), FILE_("./l/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "usr"), FOLDER("./l/evil") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "usr"), LINK("./l/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "usr"), HARD("./l/evil", "./first") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "usr"), FOLDER("./l") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./a", "usr"), LINK("./b", "a"), FILE_("./b/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { LINK("./l", "l"), FILE_("./l/evil", "x") } },
                { REFUSAL_PATH_ESCAPE, { HARD("./evil", "../../etc/passwd") } },
                { REFUSAL_PATH_ESCAPE, { HARD("./evil", "/etc/passwd") } },
                { REFUSAL_NOT_FOUND, { HARD("./evil", "./etc/passwd") } },
                { REFUSAL_NOT_FOUND, { HARD("./evil", "./evil") } },
                { REFUSAL_NOT_FOUND, { LINK("./l", "/etc"), HARD("./evil", "./l/passwd") } },
                { REFUSAL_BAD_VALUE, { FOLDER("./d"), HARD("./evil", "./d") } },
                { REFUSAL_EXISTS, { FOLDER("./d"), LINK("./d", "/etc"), FILE_("./d/evil", "x") } },
                { REFUSAL_EXISTS, { FOLDER("./d"), FILE_("./d", "x") } },
                { REFUSAL_EXISTS, { FOLDER("./d"), HARD("./d", "./first") } },
                { REFUSAL_EXISTS, { FILE_("./f", "x"), FILE_("./f/evil", "x") } },
                { REFUSAL_EXISTS, { LINK("./", "/etc") } },
                { REFUSAL_EXISTS, { FILE_(".", "x") } },
                { REFUSAL_BAD_VALUE, { DEVICE("./dev/evil", AE_IFCHR) } },
                { REFUSAL_BAD_VALUE, { DEVICE("./dev/evil", AE_IFBLK) } },
                { REFUSAL_BAD_VALUE, { DEVICE("./dev/evil", AE_IFIFO) } },
                { REFUSAL_TOO_LARGE, { FILE_(long_name, "x") } },
                { REFUSAL_TOO_LARGE, { FILE_(long_path, "x") } },
                { REFUSAL_TOO_LARGE, { FOLDER(deep_path) } },
                { REFUSAL_BAD_VALUE, { LINK("./evil", "") } },
        };

        fill_long_names();
        assert_true(ELEMENTSOF(attacks) >= 30);
        for (size_t k = 0; k < ELEMENTSOF(attacks); k++) {
                Member members[ELEMENTSOF(attacks[k].members) + 2] = { FILE_("./first", "1") };
                size_t n = 1;
                _cleanup_close_ int fd = -1;
                _cleanup_(tree_freep) Tree *t = new_tree(state);
                _cleanup_error_ Error e = {};

                for (size_t i = 0; i < ELEMENTSOF(attacks[k].members) && attacks[k].members[i].path; i++)
                        members[n++] = attacks[k].members[i];
                members[n++] = (Member) FILE_("./reached", "x");
                fd = make_deb(state, ".gz", "gzip", members, n);
                if (deb_read(fd, NULL, t, "/sub", 0, NULL, &e) == 0)
                        fail_msg("attack %zu (%s) was not refused", k, attacks[k].members[0].path);
                if (e.id != attacks[k].id)
                        fail_msg("attack %zu (%s): %s: %s", k, attacks[k].members[0].path, refusal_name(e.id),
                                 e.message);
                assert_null(tree_lookup(t, "/sub/reached"));
                assert_null(tree_lookup(t, "/evil"));
                assert_null(tree_lookup(t, "/etc"));
                assert_int_equal(t->root->n_children, 1);
        }
}

/* libarchive's writer makes no such names, so the tar header is patched: name up to a NUL, rest behind it. */
static void name_with_nul_stays_where_it_seems_to_be(void **state) {
        const Member members[] = { FILE_("./usr/aXX/../../../evil", "x") };
        _cleanup_buffer_ Buffer data = {};
        _cleanup_close_ int fd = -1;
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        uint8_t *h;
        unsigned sum = 0;

        make_tar(&data, "", members, 1);
        h = (uint8_t *) data.data;
        h[7] = h[8] = 0;
        memset(h + 148, ' ', 8);
        for (unsigned k = 0; k < 512; k++)
                sum += h[k];
        snprintf((char *) h + 148, 8, "%06o", sum);
        fd = wrap_data(state, "data.tar", &data);
        assert_int_equal(deb_read(fd, NULL, t, "/sub", 0, NULL, NULL), 0);
        assert_int_equal(t->root->n_children, 1);
        assert_non_null(tree_lookup(t, "/sub/usr/a"));
}

static void later_duplicate_of_a_file_wins(void **state) {
        const Member members[] = { FILE_("./f", "one"), HARD("./g", "./f"), FILE_("./f", "second"), LINK("./g", "x") };
        _cleanup_close_ int fd = make_deb(state, "", "", members, ELEMENTSOF(members));
        _cleanup_(tree_freep) Tree *t = new_tree(state);

        assert_int_equal(deb_read(fd, NULL, t, "", 0, NULL, NULL), 0);
        assert_int_equal(tree_lookup(t, "/f")->inode->size, 6);
        assert_int_equal(tree_lookup(t, "/f")->inode->n_links, 1);
        assert_true(node_is_symlink(tree_lookup(t, "/g")));
}

static void misplaced_members_are_refused(void **state) {
        const Member data_members[] = { FILE_("./f", "x") }, control_members[] = { FILE_("./control", CONTROL_TEXT) };
        const Member no_control[] = { FILE_("./md5sums", "") }, bad_name[] = { FILE_("./control", "Package: ../x\n") };
        const Member link_control[] = { LINK("./control", "/etc/passwd") };
        _cleanup_buffer_ Buffer d = {}, c = {}, n = {}, b = {}, l = {};
        make_tar(&d, "gzip", data_members, 1);
        make_tar(&c, "gzip", control_members, 1);
        make_tar(&n, "gzip", no_control, 1);
        make_tar(&b, "gzip", bad_name, 1);
        make_tar(&l, "gzip", link_control, 1);
        const Part version = { "debian-binary", "2.0\n", 4 }, newer = { "debian-binary", "3.0\n", 4 };
        const Part control = { "control.tar.gz", c.data, c.size }, data = { "data.tar.gz", d.data, d.size };
        const Part extra = { "_gpgorigin", "x", 1 }, odd = { "evil", "x", 1 };
        const struct {
                bool good;
                Part parts[5];
        } cases[] = {
                { true, { version, control, data } },
                { true, { version, extra, control, extra, data } },
                { true, { version, control, data, control, odd } },
                { false, { control, data } },
                { false, { newer, control, data } },
                { false, { version, data, control } },
                { false, { version, data } },
                { false, { version, control } },
                { false, { version, control, control, data } },
                { false, { version, odd, control, data } },
                { false, { extra, version, control, data } },
                { false, { version, version, control, data } },
                { false, { version, { "control.tar.xz", c.data, c.size }, data } },
                { false, { version, { "control.tar", c.data, c.size }, data } },
                { false, { version, { "control.tar.rar", c.data, c.size }, data } },
                { false, { version, control, { "data.tar.gz", "", 0 } } },
                { false, { version, control, { "data.tar.gz", d.data, d.size / 2 } } },
                { false, { version, control, { "data.tar", "not a tar at all", 16 } } },
                { false, { version, { "control.tar.gz", n.data, n.size }, data } },
                { false, { version, { "control.tar.gz", b.data, b.size }, data } },
                { false, { version, { "control.tar.gz", l.data, l.size }, data } },
        };

        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                _cleanup_close_ int fd = -1;
                _cleanup_(tree_freep) Tree *t = new_tree(state);
                _cleanup_error_ Error e = {};
                size_t count = 0;
                int r;

                while (count < ELEMENTSOF(cases[k].parts) && cases[k].parts[count].name)
                        count++;
                fd = write_ar(state, cases[k].parts, count);
                r = deb_read(fd, NULL, t, "", 0, NULL, &e);
                if ((r == 0) != cases[k].good)
                        fail_msg("case %zu: %d %s", k, r, e.message ?: "");
                if (r < 0)
                        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

static void other_package_than_asked_for_is_refused(void **state) {
        _cleanup_close_ int fd = make_deb(state, ".xz", "xz", ordinary, ELEMENTSOF(ordinary));
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_error_ Error e = {};

        assert_true(deb_read(fd, "goodbye", t, "", 0, NULL, &e) < 0);
        assert_int_equal(e.id, REFUSAL_DIFFERENT);
        assert_int_equal(t->n_nodes, 1);
}

static void truncated_and_foreign_files_are_refused(void **state) {
        _cleanup_close_ int fd = make_deb(state, ".xz", "xz", ordinary, ELEMENTSOF(ordinary));
        _cleanup_free_ char *bytes = NULL;
        size_t size;

        lseek(fd, 0, SEEK_SET);
        assert_int_equal(io_read_fd(fd, TAR_SIZE_MAX, &bytes, &size, NULL), 0);
        for (size_t n = 0; n + 8 < size; n += 37) {
                _cleanup_(tree_freep) Tree *t = new_tree(state);
                _cleanup_close_ int cut = -1;
                _cleanup_error_ Error e = {};

                assert_int_equal(io_tmpfile(*state, &cut, NULL), 0);
                assert_int_equal(io_write_all(cut, bytes, n, NULL), 0);
                if (deb_read(cut, NULL, t, "", 0, NULL, &e) == 0)
                        fail_msg("the first %zu of %zu bytes were taken for a package", n, size);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

/* 16 GiB of zeros in 16 KiB or so: refused at once by what the header says. */
static void file_beyond_the_limit_is_refused_before_it_is_read(void **state) {
        _cleanup_buffer_ Buffer data = {};
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_close_ int fd = -1;
        _cleanup_error_ Error e = {};
        const Member members[] = { FILE_("./f", "x") };
        uint8_t *h;
        unsigned sum = 0;

        make_tar(&data, "", members, 1);
        h = (uint8_t *) data.data;
        memcpy(h + 124, "\x80\0\0\0\0\0\0\x7f\0\0\0\0", 12);
        memset(h + 148, ' ', 8);
        for (unsigned k = 0; k < 512; k++)
                sum += h[k];
        snprintf((char *) h + 148, 8, "%06o", sum);
        fd = wrap_data(state, "data.tar", &data);
        assert_true(deb_read(fd, NULL, t, "", 0, NULL, &e) < 0);
        assert_int_equal(e.id, REFUSAL_TOO_LARGE);
        assert_int_equal(t->spool_size, 0);
}

/* A control file of 128 MiB of zeros, a thousandth of that when packed. */
static void bomb_is_stopped_at_the_limit(void **state) {
        _cleanup_free_ char *zeros = xcalloc(1, 1 << 20);
        _cleanup_buffer_ Buffer control = {};
        struct archive *a = start_tar(&control, "zstd");
        struct archive_entry *entry = archive_entry_new();
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_close_ int fd = -1;
        _cleanup_error_ Error e1 = {}, e2 = {};
        _cleanup_close_ int out = -1;
        time_t start = time(NULL);

        archive_entry_set_pathname(entry, "./control");
        archive_entry_set_mode(entry, S_IFREG | 0644);
        archive_entry_set_size(entry, 128 << 20);
        assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
        for (unsigned k = 0; k < 128; k++)
                assert_int_equal(archive_write_data(a, zeros, 1 << 20), 1 << 20);
        archive_entry_free(entry);
        finish_tar(a);
        assert_true(control.size < 128 * 1024);
        fd = write_ar(
                state,
                (const Part[]){ { "debian-binary", "2.0\n", 4 }, { "control.tar.zst", control.data, control.size } },
                2);
        assert_true(deb_read(fd, NULL, t, "", 0, NULL, &e1) < 0);
        assert_int_equal(e1.id, REFUSAL_TOO_LARGE);
        assert_int_equal(io_tmpfile(*state, &out, NULL), 0);
        assert_true(deb_repack_uncompressed(fd, out, &e2) < 0);
        assert_int_equal(e2.id, REFUSAL_TOO_LARGE);
        assert_true(time(NULL) - start < 30);
}

static void repacked_package_is_the_same_without_compression(void **state) {
        _cleanup_close_ int fd = make_deb(state, ".xz", "xz", ordinary, ELEMENTSOF(ordinary)), out = -1, again = -1;
        _cleanup_(tree_freep) Tree *a = new_tree(state), *b = new_tree(state);
        _cleanup_deb_control_ DebControl ca = {}, cb = {};
        _cleanup_error_ Error e = {};
        Sha256 x, y;
        struct stat st, st2;

        assert_int_equal(io_tmpfile(*state, &out, NULL), 0);
        assert_int_equal(io_tmpfile(*state, &again, NULL), 0);
        if (deb_repack_uncompressed(fd, out, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(deb_read(fd, NULL, a, "", 0, &ca, NULL), 0);
        if (deb_read(out, "hello", b, "", 0, &cb, &e) < 0)
                fail_msg("%s", e.message);
        tree_digest(a, true, &x);
        tree_digest(b, true, &y);
        assert_true(sha256_equal(&x, &y));
        assert_int_equal(ca.n_files, cb.n_files);
        /* Repacking what is repacked changes nothing. */
        assert_int_equal(deb_repack_uncompressed(out, again, NULL), 0);
        assert_int_equal(fstat(out, &st), 0);
        assert_int_equal(fstat(again, &st2), 0);
        assert_int_equal(st.st_size, st2.st_size);
        assert_int_equal(sha256_fd(out, 0, (uint64_t) st.st_size, &x, NULL), 0);
        assert_int_equal(sha256_fd(again, 0, (uint64_t) st.st_size, &y, NULL), 0);
        assert_true(sha256_equal(&x, &y));
}

/* The second opinion: dpkg's own reader gets the same tar out of both. */
static void repacked_package_is_accepted_by_dpkg(void **state) {
        _cleanup_close_ int fd = make_deb(state, ".zst", "zstd", ordinary, ELEMENTSOF(ordinary)), out = -1;
        _cleanup_free_ char *path = path_join(*state, "repacked.deb"), *fields = NULL, *list = NULL;
        _cleanup_error_ Error e = {};

        if (!io_exists(AT_FDCWD, "/usr/bin/dpkg-deb"))
                skip();
        out = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_int_equal(deb_repack_uncompressed(fd, out, NULL), 0);
        if (process_run((char *[]){ (char *) "dpkg-deb", (char *) "--field", path, NULL }, NULL, &fields, NULL, &e) < 0)
                fail_msg("%s", e.message);
        assert_string_equal(fields, CONTROL_TEXT);
        if (process_run((char *[]){ (char *) "dpkg-deb", (char *) "--contents", path, NULL }, NULL, &list, NULL, &e) <
            0)
                fail_msg("%s", e.message);
        assert_non_null(strstr(list, "./bin/hi link to ./bin/hello"));
}

static void nothing_is_left_in_the_temporary_folder(void **state) {
        DIR *d = opendir(*state);
        struct dirent *entry;

        while ((entry = readdir(d)))
                if (entry->d_name[0] != '.' && !streq(entry->d_name, "repacked.deb"))
                        fail_msg("%s is left over", entry->d_name);
        closedir(d);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_compression_is_read),
                cmocka_unit_test(merged_usr_moves_files_and_keeps_links),
                cmocka_unit_test(hostile_members_are_refused),
                cmocka_unit_test(name_with_nul_stays_where_it_seems_to_be),
                cmocka_unit_test(later_duplicate_of_a_file_wins),
                cmocka_unit_test(misplaced_members_are_refused),
                cmocka_unit_test(other_package_than_asked_for_is_refused),
                cmocka_unit_test(truncated_and_foreign_files_are_refused),
                cmocka_unit_test(file_beyond_the_limit_is_refused_before_it_is_read),
                cmocka_unit_test(bomb_is_stopped_at_the_limit),
                cmocka_unit_test(repacked_package_is_the_same_without_compression),
                cmocka_unit_test(repacked_package_is_accepted_by_dpkg),
                cmocka_unit_test(nothing_is_left_in_the_temporary_folder),
        };

        return cmocka_run_group_tests(tests, make_folder_for_all, remove_folder);
}
