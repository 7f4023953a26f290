/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <sys/stat.h>

#include "archive-cleanup.h"
#include "kernel.h"

#define RELEASE "6.12.1-amd64"
#define FOLDER "/usr/lib/modules/" RELEASE

/* The text as xz, zstd or gzip would pack it. */
static size_t pack(const char *text, int (*filter)(struct archive *), uint8_t *packed, size_t size) {
        _cleanup_(archive_write_freep) struct archive *a = archive_write_new();
        _cleanup_(archive_entry_freep) struct archive_entry *e = archive_entry_new();
        size_t used = 0;

        assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
        assert_int_equal(filter(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_memory(a, packed, size, &used), ARCHIVE_OK);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_pathname(e, "x");
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        assert_int_equal(archive_write_data(a, text, strlen(text)), strlen(text));
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
        return used;
}

static void put_module(Tree *t, const char *path, const char *text) {
        static const struct {
                const char *suffix;
                int (*filter)(struct archive *);
        } kinds[] = { { ".xz", archive_write_add_filter_xz },
                      { ".zst", archive_write_add_filter_zstd },
                      { ".gz", archive_write_add_filter_gzip } };
        NodeAttributes a = { .mode = 0640, .gid = 3, .mtime = FIXTURE_TIME, .package = "linux-image" };
        _cleanup_free_ char *full = path_join(FOLDER, path);
        uint8_t packed[4096];
        const void *data = text;
        size_t size = strlen(text);

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (endswith(path, kinds[i].suffix)) {
                        size = pack(text, kinds[i].filter, packed, sizeof(packed));
                        data = packed;
                }
        assert_int_equal(tree_add_file(t, full, &a, data, size, NULL, NULL), 0);
}

static Tree *tree_with_kernel(void) {
        Tree *t = fixture_tree();

        put(t, "/boot/vmlinuz-" RELEASE, "kernel");
        put(t, "/boot/config-" RELEASE, "x");
        put_link(t, "/vmlinuz", "boot/vmlinuz-" RELEASE);
        put_link(t, "/initrd.img.old", "boot/initrd");
        put_module(t, "kernel/fs/ext4/ext4.ko.xz", "ext4");
        put_module(t, "kernel/fs/jbd2/jbd2.ko.zst", "jbd2");
        put_module(t, "kernel/lib/crc16.ko.gz", "crc16");
        put_module(t, "kernel/fs/xfs/xfs.ko", "xfs");
        put_module(t, "kernel/drivers/net/e1000.ko.xz", "e1000");
        put_module(t, "updates/dkms/own.ko.xz", "own");
        put(t, FOLDER "/modules.dep",
            "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.zst kernel/lib/crc16.ko.gz\n"
            "kernel/fs/jbd2/jbd2.ko.zst:\nkernel/lib/crc16.ko.gz:\nkernel/fs/xfs/xfs.ko:\n"
            "kernel/drivers/net/e1000.ko.xz: kernel/lib/crc16.ko.gz\nupdates/dkms/own.ko.xz: kernel/fs/xfs/xfs.ko\n");
        put(t, FOLDER "/modules.dep.bin", "x");
        put(t, FOLDER "/modules.symbols", "x");
        put(t, FOLDER "/modules.order", "kernel/fs/ext4/ext4.ko\n");
        put(t, FOLDER "/modules.builtin", "x");
        put(t, FOLDER "/modules.builtin.modinfo", "x");
        put(t, FOLDER "/modules.builtin.bin", "x");
        return t;
}

static void arrange(Tree *t, char **modules) {
        Recipe recipe = { .modules = modules };
        _cleanup_free_ char *release = NULL;
        _cleanup_error_ Error e = {};

        assert_done(kernel_arrange(t, &recipe, &release, &e), &e);
        assert_string_equal(release, RELEASE);
}

static void kernel_moves_into_usr_and_boot_goes(void **state) {
        _cleanup_(tree_freep) Tree *t = tree_with_kernel();

        arrange(t, NULL);
        assert_content(t, FOLDER "/vmlinuz", "kernel");
        assert_gone(t, "/boot");
        assert_gone(t, "/vmlinuz");
        assert_gone(t, "/initrd.img.old");
        assert_there(t, FOLDER "/modules.order");
        assert_there(t, FOLDER "/modules.builtin");
        assert_there(t, FOLDER "/modules.builtin.modinfo");
        assert_gone(t, FOLDER "/modules.dep");
        assert_gone(t, FOLDER "/modules.dep.bin");
        assert_gone(t, FOLDER "/modules.builtin.bin");
        assert_gone(t, FOLDER "/modules.symbols");
}

static void modules_are_unpacked_and_keep_their_attributes(void **state) {
        static const struct {
                const char *packed, *plain, *text;
        } cases[] = {
                { FOLDER "/kernel/fs/ext4/ext4.ko.xz", FOLDER "/kernel/fs/ext4/ext4.ko", "ext4" },
                { FOLDER "/kernel/fs/jbd2/jbd2.ko.zst", FOLDER "/kernel/fs/jbd2/jbd2.ko", "jbd2" },
                { FOLDER "/kernel/lib/crc16.ko.gz", FOLDER "/kernel/lib/crc16.ko", "crc16" },
                { NULL, FOLDER "/kernel/fs/xfs/xfs.ko", "xfs" },
                { FOLDER "/updates/dkms/own.ko.xz", FOLDER "/updates/dkms/own.ko", "own" },
        };
        _cleanup_(tree_freep) Tree *t = tree_with_kernel();

        arrange(t, NULL);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const Inode *inode;

                if (cases[i].packed)
                        assert_gone(t, cases[i].packed);
                assert_content(t, cases[i].plain, cases[i].text);
                inode = tree_lookup(t, cases[i].plain)->inode;
                assert_int_equal(inode->mode, S_IFREG | 0640);
                assert_int_equal(inode->gid, 3);
                assert_int_equal(inode->mtime, FIXTURE_TIME);
                assert_string_equal(inode->package, "linux-image");
        }
}

static void kept_modules_bring_all_they_depend_on(void **state) {
        static const struct {
                char *globs[3];
                const char *kept; /* by name, in the order below */
        } cases[] = {
                { { OWNED("fs/ext4/*") }, "ext4 jbd2 crc16" },
                { { OWNED("drivers/net/e1000.ko") }, "crc16 e1000" },
                { { OWNED("fs/jbd2/**") }, "jbd2" },
                { { OWNED("fs/**"), OWNED("!fs/xfs/*") }, "ext4 jbd2 crc16" },
                /* Taken out by name, but ext4 does not work without it. */
                { { OWNED("fs/**"), OWNED("!fs/jbd2/*") }, "ext4 jbd2 crc16 xfs" },
                { { OWNED("updates/**") }, "xfs own" },
        };
        static const char *const paths[] = { "kernel/fs/ext4/ext4.ko",      "kernel/fs/jbd2/jbd2.ko",
                                             "kernel/lib/crc16.ko",         "kernel/fs/xfs/xfs.ko",
                                             "kernel/drivers/net/e1000.ko", "updates/dkms/own.ko" };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(tree_freep) Tree *t = tree_with_kernel();
                _cleanup_strv_free_ char **wanted = strv_split(cases[i].kept, " ");

                arrange(t, (char **) cases[i].globs);
                for (size_t k = 0; k < ELEMENTSOF(paths); k++) {
                        const char *base = path_basename(paths[k]);
                        _cleanup_free_ char *name = xstrndup(base, strlen(base) - 3),
                                            *path = path_join(FOLDER, paths[k]);

                        if (strv_contains(wanted, name))
                                assert_there(t, path);
                        else
                                assert_gone(t, path);
                }
                assert_there(t, FOLDER "/modules.builtin"); /* no module, whatever its name begins with */
        }
}

static void system_without_a_kernel_has_no_release(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *release = NULL;
        _cleanup_error_ Error e = {};

        put(t, "/boot/grub/grub.cfg", "x");
        put(t, "/usr/bin/x", "x");
        assert_done(kernel_arrange(t, &(Recipe){}, &release, &e), &e);
        assert_null(release);
        assert_gone(t, "/boot");
        assert_there(t, "/usr/bin/x");
}

/* The file's first half, as a full disk leaves it. */
static void cut_module(Tree *t, const char *path) {
        Node *n = tree_lookup(t, path);
        _cleanup_free_ char *packed = NULL;
        size_t size;

        assert_int_equal(tree_read_file(t, n, 4096, &packed, &size, NULL), 0);
        assert_int_equal(tree_replace_content(t, n, packed, size / 2, NULL), 0);
}

static void impossible_kernels_are_refused(void **state) {
        for (unsigned i = 0; i < 6; i++) {
                static char *no_match[] = { OWNED("fs/absent/*"), NULL }, *all[] = { OWNED("**"), NULL };
                static const Refusal ids[] = { REFUSAL_BAD_VALUE,  REFUSAL_BAD_FORMAT, REFUSAL_BAD_VALUE,
                                               REFUSAL_BAD_FORMAT, REFUSAL_BAD_FORMAT, REFUSAL_BAD_FORMAT };
                Recipe recipe = { .modules = i == 2 ? no_match : i == 3 ? all : NULL };
                _cleanup_(tree_freep) Tree *t = tree_with_kernel();
                _cleanup_free_ char *release = NULL;
                _cleanup_error_ Error e = {};

                if (i == 0)
                        put(t, "/boot/vmlinuz-6.1.0-cloud-amd64", "another kernel");
                else if (i == 1)
                        tree_remove(t, FOLDER);
                else if (i == 3)
                        tree_remove(t, FOLDER "/modules.dep");
                else if (i == 4)
                        put(t, FOLDER "/kernel/broken.ko.xz", "not xz at all");
                else if (i == 5)
                        cut_module(t, FOLDER "/kernel/fs/ext4/ext4.ko.xz");
                assert_refused(kernel_arrange(t, &recipe, &release, &e), &e, ids[i]);
                assert_null(release);
                if (i == 0 || i == 2)
                        assert_non_null(e.hint);
                if (i == 4)
                        assert_non_null(strstr(e.message, FOLDER "/kernel/broken.ko.xz"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(kernel_moves_into_usr_and_boot_goes),
                cmocka_unit_test(modules_are_unpacked_and_keep_their_attributes),
                cmocka_unit_test(kept_modules_bring_all_they_depend_on),
                cmocka_unit_test(system_without_a_kernel_has_no_release),
                cmocka_unit_test(impossible_kernels_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
