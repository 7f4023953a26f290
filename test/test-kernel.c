/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <elf.h>
#include <sys/stat.h>

#include "archive-cleanup.h"
#include "kernel.h"

#define RELEASE "6.12.1-amd64"
#define FOLDER "/usr/lib/modules/" RELEASE

/* The least that is a module: one section .modinfo and the names of sections. */
typedef struct ModuleImage {
        Elf64_Ehdr header;
        Elf64_Shdr sections[3];
        char names[24], modinfo[64];
} ModuleImage;

static ModuleImage module_image(const char *depends) {
        ModuleImage m = { .names = "\0.modinfo\0.shstrtab" };

        memcpy(m.header.e_ident, ELFMAG "\2\1\1", 7);
        m.header.e_type = ET_REL;
        m.header.e_machine = EM_X86_64;
        m.header.e_version = EV_CURRENT;
        m.header.e_ehsize = sizeof(m.header);
        m.header.e_shoff = offsetof(ModuleImage, sections);
        m.header.e_shentsize = sizeof(Elf64_Shdr);
        m.header.e_shnum = 3;
        m.header.e_shstrndx = 2;
        m.sections[1] = (Elf64_Shdr){ .sh_name = 1,
                                      .sh_type = SHT_PROGBITS,
                                      .sh_offset = offsetof(ModuleImage, modinfo),
                                      .sh_size = sizeof(m.modinfo) };
        m.sections[2] = (Elf64_Shdr){ .sh_name = 10,
                                      .sh_type = SHT_STRTAB,
                                      .sh_offset = offsetof(ModuleImage, names),
                                      .sh_size = sizeof(m.names) };
        snprintf(m.modinfo, sizeof(m.modinfo), "license=GPL%cdepends=%s", 0, depends);
        return m;
}

/* As xz, zstd or gzip would pack it. */
static size_t pack(const void *data, size_t data_size, int (*filter)(struct archive *), uint8_t *packed, size_t size) {
        _cleanup_(archive_write_freep) struct archive *a = archive_write_new();
        _cleanup_(archive_entry_freep) struct archive_entry *e = archive_entry_new();
        size_t used = 0;

        assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
        assert_int_equal(filter(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_memory(a, packed, size, &used), ARCHIVE_OK);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_pathname(e, "x");
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        assert_int_equal(archive_write_data(a, data, data_size), data_size);
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
        return used;
}

static void put_module(Tree *t, const char *path, const char *depends) {
        static const struct {
                const char *suffix;
                int (*filter)(struct archive *);
        } kinds[] = { { ".xz", archive_write_add_filter_xz },
                      { ".zst", archive_write_add_filter_zstd },
                      { ".gz", archive_write_add_filter_gzip } };
        NodeAttributes a = { .mode = 0640, .gid = 3, .mtime = FIXTURE_TIME, .package = "linux-image" };
        _cleanup_free_ char *full = path_join(FOLDER, path);
        ModuleImage image = module_image(depends);
        uint8_t packed[4096];
        const void *data = &image;
        size_t size = sizeof(image);

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (endswith(path, kinds[i].suffix)) {
                        size = pack(&image, sizeof(image), kinds[i].filter, packed, sizeof(packed));
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
        put_module(t, "kernel/fs/ext4/ext4.ko.xz", "crc-16,jbd2");
        put_module(t, "kernel/fs/jbd2/jbd2.ko.zst", "");
        put_module(t, "kernel/lib/crc-16.ko.gz", "");
        put_module(t, "kernel/fs/xfs/xfs.ko", "");
        put_module(t, "kernel/drivers/net/e1000.ko.xz", "mii");
        put_module(t, "kernel/drivers/net/mii.ko.xz", "crc_16");
        put_module(t, "updates/dkms/own.ko.xz", "xfs");
        put(t, FOLDER "/modules.dep", "kernel/fs/xfs/xfs.ko:\n");
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

static void finished_tree_has_the_kernel_beside_usr(void **state) {
        _cleanup_(tree_freep) Tree *t = tree_with_kernel();
        _cleanup_error_ Error e = {};

        arrange(t, NULL);
        assert_done(kernel_leave_usr(t, RELEASE, &e), &e);
        assert_content(t, KERNEL_IMAGE_PATH, "kernel");
        assert_gone(t, FOLDER "/vmlinuz");
        assert_there(t, FOLDER "/kernel/fs/xfs/xfs.ko");
}

static void modules_are_unpacked_and_keep_their_attributes(void **state) {
        static const struct {
                const char *packed, *plain, *depends;
        } cases[] = {
                { FOLDER "/kernel/fs/ext4/ext4.ko.xz", FOLDER "/kernel/fs/ext4/ext4.ko", "crc-16,jbd2" },
                { FOLDER "/kernel/fs/jbd2/jbd2.ko.zst", FOLDER "/kernel/fs/jbd2/jbd2.ko", "" },
                { FOLDER "/kernel/lib/crc-16.ko.gz", FOLDER "/kernel/lib/crc-16.ko", "" },
                { NULL, FOLDER "/kernel/fs/xfs/xfs.ko", "" },
                { FOLDER "/updates/dkms/own.ko.xz", FOLDER "/updates/dkms/own.ko", "xfs" },
        };
        _cleanup_(tree_freep) Tree *t = tree_with_kernel();

        arrange(t, NULL);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const ModuleImage wanted = module_image(cases[i].depends);
                _cleanup_free_ char *found = NULL;
                const Inode *inode;
                size_t size;

                if (cases[i].packed)
                        assert_gone(t, cases[i].packed);
                assert_there(t, cases[i].plain);
                assert_int_equal(tree_read_file(t, tree_lookup(t, cases[i].plain), 4096, &found, &size, NULL), 0);
                assert_int_equal(size, sizeof(wanted));
                assert_memory_equal(found, &wanted, sizeof(wanted));
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
                { { OWNED("fs/ext4/*") }, "ext4 jbd2 crc-16" },
                { { OWNED("drivers/net/e1000.ko") }, "crc-16 e1000 mii" },
                { { OWNED("fs/jbd2/**") }, "jbd2" },
                { { OWNED("fs/**"), OWNED("!fs/xfs/*") }, "ext4 jbd2 crc-16" },
                /* Taken out by name, but ext4 does not work without it. */
                { { OWNED("fs/**"), OWNED("!fs/jbd2/*") }, "ext4 jbd2 crc-16 xfs" },
                { { OWNED("updates/**") }, "xfs own" },
        };
        static const char *const paths[] = { "kernel/fs/ext4/ext4.ko",      "kernel/fs/jbd2/jbd2.ko",
                                             "kernel/lib/crc-16.ko",        "kernel/fs/xfs/xfs.ko",
                                             "kernel/drivers/net/e1000.ko", "kernel/drivers/net/mii.ko",
                                             "updates/dkms/own.ko" };

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
                        tree_remove(t, FOLDER "/kernel/drivers/net/mii.ko.xz");
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
                cmocka_unit_test(finished_tree_has_the_kernel_beside_usr),
                cmocka_unit_test(modules_are_unpacked_and_keep_their_attributes),
                cmocka_unit_test(kept_modules_bring_all_they_depend_on),
                cmocka_unit_test(system_without_a_kernel_has_no_release),
                cmocka_unit_test(impossible_kernels_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
