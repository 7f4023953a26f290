/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "cpio.h"
#include "elf-deps.h"
#include "folder-fixture.h"
#include "initrd-list.h"
#include "initrd-modules.h"
#include "initrd.h"
#include "io.h"
#include "segment.h"

#define RELEASE "6.1-test"
#define MODULES "/usr/lib/modules/" RELEASE
#define LIBRARIES "/usr/lib/x86_64-linux-gnu"
#define SECTIONS_MAX 3

static const NodeAttributes plain = { .mode = 0644, .mtime = 12345, .package = "pool" };

static Tree *new_tree(void **state) {
        Tree *t = NULL;

        assert_int_equal(tree_new(*state, &t, NULL), 0);
        return t;
}

static void add_bytes(Tree *t, const char *path, const void *data, size_t size) {
        assert_int_equal(tree_add_file(t, path, &plain, data, size, NULL, NULL), 0);
}

static void add_text(Tree *t, const char *path, const char *text) {
        add_bytes(t, path, text, strlen(text));
}

static void add_link(Tree *t, const char *path, const char *target) {
        assert_int_equal(tree_add_symlink(t, path, &plain, target, NULL, NULL), 0);
}

/* --- ELF files, made with libelf --- */

typedef struct Section {
        const char *name;
        Elf64_Word type;
        const void *data;
        size_t size;
        Elf64_Word link;
} Section;

static void add_section(Elf *e, const Section *s, size_t name_offset) {
        Elf_Scn *scn = elf_newscn(e);
        Elf_Data *d = elf_newdata(scn);
        Elf64_Shdr *h = elf64_getshdr(scn);

        d->d_buf = (void *) (uintptr_t) s->data;
        d->d_size = s->size;
        d->d_align = s->type == SHT_NOTE ? 4 : s->type == SHT_DYNAMIC ? 8 : 1;
        d->d_type = s->type == SHT_DYNAMIC ? ELF_T_DYN : ELF_T_BYTE;
        h->sh_name = (Elf64_Word) name_offset;
        h->sh_type = s->type;
        h->sh_link = s->link;
        if (s->type == SHT_DYNAMIC)
                h->sh_entsize = sizeof(Elf64_Dyn);
}

/* An object with the given sections, and the program headers that a loader would look at. */
static void add_elf(void **state, Tree *t, const char *path, bool dynamic, const Section *sections, size_t n) {
        char names[256] = "";
        size_t used = 1;
        int fd = -1;
        Elf *e;
        Elf64_Ehdr *h;
        Elf64_Phdr *p;
        _cleanup_free_ char *bytes = NULL;
        size_t size;

        assert_int_not_equal(elf_version(EV_CURRENT), EV_NONE);
        assert_int_equal(io_tmpfile(*state, &fd, NULL), 0);
        e = elf_begin(fd, ELF_C_WRITE, NULL);
        h = elf64_newehdr(e);
        h->e_ident[EI_DATA] = ELFDATA2LSB;
        h->e_machine = EM_X86_64;
        h->e_type = dynamic ? ET_DYN : ET_REL;
        if (dynamic) {
                p = elf64_newphdr(e, 1);
                p->p_type = PT_DYNAMIC;
        }
        for (size_t k = 0; k < n; k++) {
                add_section(e, sections + k, used);
                strcpy(names + used, sections[k].name);
                used += strlen(sections[k].name) + 1;
        }
        strcpy(names + used, ".shstrtab");
        add_section(e, &(Section){ .type = SHT_STRTAB, .data = names, .size = used + 10 }, used);
        h->e_shstrndx = (Elf64_Half) (n + 1);
        assert_true(elf_update(e, ELF_C_WRITE) > 0);
        elf_end(e);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(io_read_fd(fd, 1 << 20, &bytes, &size, NULL), 0);
        safe_close(fd);
        add_bytes(t, path, bytes, size);
}

/* needed: one library; runpath, wishes (JSON): may be NULL */
static void add_program(void **state, Tree *t, const char *path, const char *needed, const char *runpath,
                        const char *wishes) {
        char strings[256] = "", note[512] = "";
        Elf64_Dyn dynamic[3] = {};
        size_t used = 1, n_dynamic = 0;
        Section sections[SECTIONS_MAX] = {};

        if (needed) {
                dynamic[n_dynamic++] = (Elf64_Dyn){ .d_tag = DT_NEEDED, .d_un.d_val = used };
                strcpy(strings + used, needed);
                used += strlen(needed) + 1;
        }
        if (runpath) {
                dynamic[n_dynamic++] = (Elf64_Dyn){ .d_tag = DT_RUNPATH, .d_un.d_val = used };
                strcpy(strings + used, runpath);
                used += strlen(runpath) + 1;
        }
        sections[0] = (Section){ ".dynstr", SHT_STRTAB, strings, used, 0 };
        sections[1] = (Section){ ".dynamic", SHT_DYNAMIC, dynamic, sizeof(dynamic), 1 };
        if (wishes) {
                Elf64_Nhdr h = { .n_namesz = 4, .n_descsz = (Elf64_Word) strlen(wishes) + 1, .n_type = 0x407c0c0a };

                memcpy(note, &h, sizeof(h));
                memcpy(note + sizeof(h), "FDO", 4);
                strcpy(note + sizeof(h) + 4, wishes);
                sections[2] = (Section){ ".note.dlopen", SHT_NOTE, note,
                                         sizeof(h) + 4 + ((strlen(wishes) + 4) & ~(size_t) 3), 0 };
        }
        add_elf(state, t, path, true, sections, wishes ? 3 : 2);
}

static void add_module(void **state, Tree *t, const char *path, const char *modinfo, size_t size) {
        const Section s = { ".modinfo", SHT_PROGBITS, modinfo, size, 0 };

        add_elf(state, t, path, false, &s, 1);
}
#define ADD_MODULE(t, path, modinfo) add_module(state, (t), MODULES "/kernel/" path, modinfo, sizeof(modinfo))

static void program_brings_its_libraries(void **state) {
        _cleanup_(tree_freep) Tree *pool = new_tree(state), *t = new_tree(state);
        _cleanup_(elf_copier_freep) ElfCopier *c = NULL;
        _cleanup_error_ Error e = {};

        add_link(pool, "/lib", "usr/lib");
        add_program(state, pool, "/usr/bin/tool", "liba.so.1", "$ORIGIN/../lib/private",
                    "[{\"priority\":\"suggested\",\"soname\":[\"libnot.so.1\"]},"
                    "{\"priority\":\"recommended\",\"soname\":[\"libnew.so.2\",\"libold.so.1\"]},"
                    "{\"priority\":\"required\",\"soname\":[\"libabsent.so.1\"]}]");
        add_program(state, pool, LIBRARIES "/liba.so.1.0", "libp.so", NULL, NULL);
        add_link(pool, LIBRARIES "/liba.so.1", "liba.so.1.0");
        add_program(state, pool, "/usr/lib/private/libp.so", NULL, NULL, NULL);
        add_program(state, pool, LIBRARIES "/libnot.so.1", NULL, NULL, NULL);
        add_program(state, pool, LIBRARIES "/libold.so.1", NULL, NULL, NULL);
        add_link(pool, "/usr/sbin/alias", "/lib/../bin/tool");
        c = elf_copier_new(t, pool);
        if (elf_copy(c, "/usr/sbin/alias", &e) < 0)
                fail_msg("%s", e.message);
        assert_non_null(tree_lookup(t, "/usr/bin/tool"));
        assert_non_null(tree_lookup(t, LIBRARIES "/liba.so.1"));
        assert_non_null(tree_lookup(t, LIBRARIES "/liba.so.1.0"));
        assert_non_null(tree_lookup(t, "/usr/lib/private/libp.so"));
        assert_non_null(tree_lookup(t, LIBRARIES "/libold.so.1"));
        assert_null(tree_lookup(t, LIBRARIES "/libnot.so.1"));
        assert_int_equal(elf_copy_library(c, "libnot.so.1", NULL), 0);
        assert_non_null(tree_lookup(t, LIBRARIES "/libnot.so.1"));
        assert_int_equal(elf_copy_library(c, "libabsent.so.1", NULL), 1);
        assert_int_equal(elf_copy(c, "/usr/bin/absent", NULL), 1);
}

static void missing_library_is_refused_by_name(void **state) {
        _cleanup_(tree_freep) Tree *pool = new_tree(state), *t = new_tree(state);
        _cleanup_(elf_copier_freep) ElfCopier *c = elf_copier_new(t, pool);
        _cleanup_error_ Error e = {};

        add_program(state, pool, "/usr/bin/tool", "libgone.so.7", NULL, NULL);
        assert_true(elf_copy(c, "/usr/bin/tool", &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_non_null(strstr(e.message, "libgone.so.7"));
}

static void damaged_elf_files_are_refused_and_scripts_are_not(void **state) {
        _cleanup_(tree_freep) Tree *pool = new_tree(state);
        _cleanup_free_ char *data = NULL;
        unsigned n_refused = 0;
        ElfDeps d;
        size_t size;

        assert_int_equal(elf_deps_read("#!/bin/sh\n", 10, &d, NULL), 1);
        assert_int_equal(elf_deps_read("", 0, &d, NULL), 1);
        add_program(state, pool, "/x", "liba.so.1", "/usr/lib/y", "[{\"soname\":[\"z\"]}]");
        assert_int_equal(tree_read_file(pool, tree_lookup(pool, "/x"), 1 << 20, &data, &size, NULL), 0);
        /* Every byte wrong once, and every length: an answer or a refusal, nothing else (the sanitizers watch). */
        for (size_t k = 0; k < size; k++) {
                data[k] ^= (char) 0xff;
                n_refused += elf_deps_read(data, size, &d, NULL) < 0;
                elf_deps_done(&d);
                data[k] ^= (char) 0xff;
                n_refused += elf_deps_read(data, k, &d, NULL) < 0;
                elf_deps_done(&d);
        }
        assert_true(n_refused > 20);
}

static void modules_bring_what_they_depend_on(void **state) {
        _cleanup_(tree_freep) Tree *kernel = new_tree(state), *t = new_tree(state);
        _cleanup_(initrd_modules_freep) InitrdModules *m = NULL;
        _cleanup_error_ Error e1 = {}, e2 = {};

        ADD_MODULE(kernel, "fs/top.ko",
                   "name=top\0depends=mid-one,built-in\0softdep=pre: soft crypto-xyz post: late\0");
        ADD_MODULE(kernel, "lib/mid_one.ko", "depends=bottom\0alias=x\0");
        ADD_MODULE(kernel, "lib/bottom.ko", "depends=\0");
        ADD_MODULE(kernel, "lib/soft.ko", "license=GPL\0");
        ADD_MODULE(kernel, "lib/late.ko", "license=GPL\0");
        ADD_MODULE(kernel, "drivers/nvme/a.ko", "license=GPL\0");
        ADD_MODULE(kernel, "drivers/nvme/b.ko", "license=GPL\0");
        ADD_MODULE(kernel, "drivers/broken.ko", "depends=nowhere\0");
        add_text(kernel, MODULES "/modules.builtin", "kernel/fs/built-in.ko\n");
        assert_int_equal(initrd_modules_new(t, kernel, RELEASE, &m, NULL), 0);
        if (initrd_modules_add(m, "top", &e1) < 0)
                fail_msg("%s", e1.message);
        assert_non_null(tree_lookup(t, MODULES "/kernel/fs/top.ko"));
        assert_non_null(tree_lookup(t, MODULES "/kernel/lib/mid_one.ko"));
        assert_non_null(tree_lookup(t, MODULES "/kernel/lib/bottom.ko"));
        assert_non_null(tree_lookup(t, MODULES "/kernel/lib/soft.ko"));
        assert_non_null(tree_lookup(t, MODULES "/kernel/lib/late.ko"));
        assert_null(tree_lookup(t, MODULES "/kernel/drivers"));
        assert_int_equal(initrd_modules_add(m, "drivers/nvme", NULL), 0);
        assert_non_null(tree_lookup(t, MODULES "/kernel/drivers/nvme/b.ko"));
        assert_int_equal(initrd_modules_add(m, "built-in", NULL), 0);
        assert_int_equal(initrd_modules_add(m, "absent", NULL), 1);
        assert_true(initrd_modules_add(m, "broken", &e2) < 0);
        assert_int_equal(e2.id, REFUSAL_NOT_FOUND);
}

static void *compress_xz(const char *data, size_t size, size_t *ret_size) {
        struct archive *a = archive_write_new();
        struct archive_entry *e = archive_entry_new();
        char *out = xmalloc(1 << 20);

        assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
        assert_int_equal(archive_write_add_filter_xz(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_memory(a, out, 1 << 20, ret_size), ARCHIVE_OK);
        archive_entry_set_pathname(e, "x");
        archive_entry_set_filetype(e, AE_IFREG);
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        assert_int_equal(archive_write_data(a, data, size), size);
        archive_write_close(a);
        archive_write_free(a);
        archive_entry_free(e);
        return out;
}

static void compressed_modules_are_stored_plain(void **state) {
        _cleanup_(tree_freep) Tree *kernel = new_tree(state), *t = new_tree(state), *damaged = new_tree(state);
        _cleanup_(initrd_modules_freep) InitrdModules *m = NULL, *n = NULL;
        _cleanup_free_ char *data = NULL, *packed = NULL;
        _cleanup_error_ Error e = {};
        size_t size, packed_size;

        ADD_MODULE(kernel, "a.ko", "license=GPL\0");
        assert_int_equal(
                tree_read_file(kernel, tree_lookup(kernel, MODULES "/kernel/a.ko"), 1 << 20, &data, &size, NULL), 0);
        packed = compress_xz(data, size, &packed_size);
        assert_int_equal(tree_remove(kernel, MODULES "/kernel/a.ko"), 0);
        add_bytes(kernel, MODULES "/kernel/a.ko.xz", packed, packed_size);
        assert_int_equal(initrd_modules_new(t, kernel, RELEASE, &m, NULL), 0);
        assert_int_equal(initrd_modules_add(m, "a", NULL), 0);
        assert_int_equal(tree_lookup(t, MODULES "/kernel/a.ko")->inode->size, size);
        add_bytes(damaged, MODULES "/kernel/a.ko.xz", packed, packed_size / 2);
        assert_int_equal(initrd_modules_new(t, damaged, RELEASE, &n, NULL), 0);
        assert_true(initrd_modules_add(n, "a", &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

/* A pool that has an empty stand-in for everything on the lists. */
static Tree *make_pool(void **state) {
        Tree *pool = new_tree(state);

        for (const InitrdItem *i = initrd_files; i->path; i++)
                add_text(pool, i->path, "stand-in\n");
        for (const InitrdItem *i = initrd_libraries; i->path; i++) {
                _cleanup_free_ char *path = path_join(LIBRARIES, i->path);

                add_text(pool, path, "stand-in\n");
        }
        for (const InitrdItem *i = initrd_units; i->path; i++) {
                _cleanup_free_ char *path = path_join("/usr/lib/systemd/system", i->path);

                add_text(pool, path, "[Unit]\n");
        }
        add_link(pool, "/usr/lib/systemd/system/sysinit.target.wants/systemd-udevd.service",
                 "../systemd-udevd.service");
        add_link(pool, "/usr/lib/systemd/system/sysinit.target.wants/ldconfig.service", "../ldconfig.service");
        add_link(pool, "/usr/lib/systemd/system/multi-user.target.wants/systemd-udevd.service", "../x");
        add_link(pool, "/usr/lib/systemd/system/sockets.target.wants/systemd-growfs@x.service", "../x");
        add_text(pool, "/usr/lib/systemd/system/systemd-udevd.service.d/more.conf", "[Service]\n");
        add_text(pool, "/usr/share/unwanted", "x");
        return pool;
}

static Tree *make_kernel(void **state) {
        Tree *kernel = new_tree(state);

        ADD_MODULE(kernel, "fs/erofs.ko", "depends=\0");
        ADD_MODULE(kernel, "fs/overlay.ko", "depends=\0");
        ADD_MODULE(kernel, "drivers/md/dm-mod.ko", "depends=\0");
        ADD_MODULE(kernel, "drivers/md/dm-verity.ko", "depends=dm-mod\0");
        ADD_MODULE(kernel, "fs/btrfs.ko", "depends=\0");
        ADD_MODULE(kernel, "drivers/gpu/unwanted.ko", "depends=\0");
        add_text(kernel, MODULES "/modules.order", "kernel/fs/erofs.ko\n");
        return kernel;
}

static void collects_what_the_lists_say(void **state) {
        _cleanup_(tree_freep) Tree *pool = make_pool(state), *kernel = make_kernel(state), *t = NULL;
        _cleanup_error_ Error e = {};
        const InitrdOptions o = { .kernel = kernel,
                                  .kernel_release = RELEASE,
                                  .os_release = "ID=x\n",
                                  .root_format = "btrfs",
                                  .spool_folder = *state };
        const char *const there[] = { "/init",
                                      "/bin",
                                      "/lib",
                                      "/sysroot",
                                      "/etc/initrd-release",
                                      "/etc/passwd",
                                      "/etc/group",
                                      "/usr/lib/systemd/systemd",
                                      LIBRARIES "/libkmod.so.2",
                                      "/usr/lib/systemd/system/sysroot-etc.mount",
                                      "/usr/lib/systemd/system/initrd-fs.target.requires/sysroot-etc.mount",
                                      "/usr/lib/systemd/system/sysinit.target.wants/systemd-udevd.service",
                                      "/usr/lib/systemd/system/sockets.target.wants/systemd-growfs@x.service",
                                      "/usr/lib/systemd/system/systemd-udevd.service.d/more.conf",
                                      "/usr/lib/systemd/system/emergency.service.d/50-restart.conf",
                                      MODULES "/kernel/drivers/md/dm-verity.ko",
                                      MODULES "/kernel/fs/btrfs.ko",
                                      MODULES "/modules.order" };
        const char *const absent[] = { "/usr/share/unwanted",
                                       "/usr/sbin/sulogin",
                                       LIBRARIES "/libtss2-esys.so.0",
                                       "/usr/lib/systemd/system/sysinit.target.wants/ldconfig.service",
                                       "/usr/lib/systemd/system/multi-user.target.wants",
                                       "/usr/lib/systemd/system/emergency.service.d/50-no-password.conf",
                                       MODULES "/kernel/drivers/gpu/unwanted.ko" };

        if (initrd_collect(&o, pool, &t, &e) < 0)
                fail_msg("%s", e.message);
        for (size_t k = 0; k < ELEMENTSOF(there); k++)
                if (!tree_lookup(t, there[k]))
                        fail_msg("%s is missing", there[k]);
        for (size_t k = 0; k < ELEMENTSOF(absent); k++)
                if (tree_lookup(t, absent[k]))
                        fail_msg("%s should not be there", absent[k]);
        assert_string_equal(tree_lookup(t, "/usr/lib/systemd/system/default.target")->inode->target, "initrd.target");
}

static void options_add_a_shell_and_the_tpm(void **state) {
        _cleanup_(tree_freep) Tree *pool = make_pool(state), *kernel = make_kernel(state), *t = NULL;
        char *const packages[] = { (char *) "extra", NULL };
        const InitrdOptions o = { .kernel = kernel,
                                  .kernel_release = RELEASE,
                                  .os_release = "ID=x\n",
                                  .tpm = true,
                                  .emergency_shell = true,
                                  .packages = packages,
                                  .spool_folder = *state };
        NodeAttributes a = plain;

        a.package = "extra";
        assert_int_equal(tree_add_file(pool, "/usr/share/extra/data", &a, "x", 1, NULL, NULL), 0);
        assert_int_equal(tree_add_file(pool, "/usr/share/doc/extra/changelog", &a, "x", 1, NULL, NULL), 0);
        assert_int_equal(initrd_collect(&o, pool, &t, NULL), 0);
        assert_non_null(tree_lookup(t, "/usr/sbin/sulogin"));
        assert_non_null(tree_lookup(t, LIBRARIES "/libtss2-esys.so.0"));
        assert_non_null(tree_lookup(t, "/usr/lib/systemd/system/emergency.service.d/50-no-password.conf"));
        assert_null(tree_lookup(t, "/usr/lib/systemd/system/emergency.service.d/50-restart.conf"));
        assert_non_null(tree_lookup(t, "/usr/share/extra/data"));
        assert_null(tree_lookup(t, "/usr/share/doc"));
}

static char *initrd_text(Tree *t, const char *path) {
        Node *n = tree_lookup(t, path);
        char *text;

        if (!n)
                fail_msg("%s is missing", path);
        assert_int_equal(tree_read_file(t, n, 1 << 20, &text, NULL, NULL), 0);
        return text;
}

/* The parts that only make sense together: who makes the partition, who opens it, and that no other is mounted. */
static void encrypted_root_partition_brings_all_of_its_parts(void **state) {
        static const char *const parts[] = {
                "/usr/lib/sealab/root-key.conf",
                "/usr/lib/systemd/system/sealab-root-key.service",
                "/usr/lib/systemd/system/initrd-fs.target.d/50-sealab.conf",
                "/usr/lib/systemd/system/systemd-repart.service.d/50-sealab.conf",
                "/usr/lib/systemd/system/systemd-cryptsetup@root.service.d/50-sealab.conf",
                "/usr/lib/systemd/system/sysroot.mount.d/50-sealab.conf",
                "/usr/bin/mkdir",
                "/usr/bin/rm",
                "/usr/bin/sync",
        };

        for (int way = 0; way < 3; way++) {
                _cleanup_(tree_freep) Tree *pool = make_pool(state), *kernel = make_kernel(state), *t = NULL;
                const InitrdOptions o = { .kernel = kernel,
                                          .kernel_release = RELEASE,
                                          .os_release = "ID=x\n",
                                          .tpm = way == 1,
                                          .passphrase = way == 2,
                                          .spool_folder = *state };
                _cleanup_free_ char *script = NULL;

                assert_int_equal(initrd_collect(&o, pool, &t, NULL), 0);
                for (size_t k = 0; k < ELEMENTSOF(parts); k++)
                        if ((tree_lookup(t, parts[k]) != NULL) != (way > 0))
                                fail_msg("%s in an initrd of kind %d", parts[k], way);
                if (way == 0)
                        continue;
                script = initrd_text(t, "/usr/lib/sealab/make-root");
                assert_int_equal(strstr(script, "--tpm2-pcrs=7+15") != NULL, way == 1);
                assert_int_equal(strstr(script, "systemd-ask-password") != NULL, way == 2);
        }
}

static void what_is_missing_is_named(void **state) {
        char *const nonsense[] = { (char *) "no_such_module", NULL };
        const struct {
                const char *from_pool, *from_kernel, *word;
                char *const *modules;
        } cases[] = {
                { "/usr/bin/systemd-repart", NULL, "systemd-repart", NULL },
                { "/usr/lib/systemd/system/veritysetup.target", NULL, "veritysetup.target", NULL },
                { LIBRARIES "/libcryptsetup.so.12", NULL, "libcryptsetup.so.12", NULL },
                { NULL, MODULES "/kernel/fs/erofs.ko", "erofs", NULL },
                { NULL, MODULES, MODULES, NULL },
                { NULL, NULL, "no_such_module", nonsense },
        };

        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                _cleanup_(tree_freep) Tree *pool = make_pool(state), *kernel = make_kernel(state), *t = NULL;
                const InitrdOptions o = { .kernel = kernel,
                                          .kernel_release = RELEASE,
                                          .os_release = "ID=x\n",
                                          .modules = cases[k].modules,
                                          .spool_folder = *state };
                _cleanup_error_ Error e = {};

                if (cases[k].from_pool)
                        assert_int_equal(tree_remove(pool, cases[k].from_pool), 0);
                if (cases[k].from_kernel)
                        assert_int_equal(tree_remove(kernel, cases[k].from_kernel), 0);
                assert_true(initrd_collect(&o, pool, &t, &e) < 0);
                assert_int_equal(e.id, REFUSAL_NOT_FOUND);
                assert_non_null(strstr(e.message, cases[k].word));
        }
}

/* --- packing --- */

static void fill(Tree *t) {
        _cleanup_free_ char *big = xmalloc(600000);

        for (unsigned k = 0; k < 600000; k++)
                big[k] = (char) (k * k % 251);
        for (unsigned k = 0; k < 300; k++) {
                char path[64];

                snprintf(path, sizeof(path), "/usr/share/%u/file%u", k % 7, k);
                add_bytes(t, path, big, 1000 + k);
        }
        add_bytes(t, "/usr/lib/big", big, 600000);
        add_link(t, "/init", "usr/lib/systemd/systemd");
        add_text(t, MODULES "/modules.dep.bin", "x");
        add_text(t, MODULES "/modules.softdep", "x");
        add_text(t, MODULES "/modules.dep", "x");
        assert_int_equal(tree_add_folder(t, "/tmp", &(NodeAttributes){ .mode = 01777 }, NULL, NULL), 0);
}

static char *pack(void **state, Tree *t, unsigned level, size_t *ret_size) {
        const InitrdPackOptions o = { .level = level, .epoch = 1700000000 };
        _cleanup_close_ int fd = -1;
        char *bytes = NULL;
        uint64_t size;

        assert_int_equal(io_tmpfile(*state, &fd, NULL), 0);
        assert_int_equal(initrd_pack(t, &o, fd, &size, NULL), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(io_read_fd(fd, 1 << 30, &bytes, ret_size, NULL), 0);
        assert_int_equal(*ret_size, size);
        return bytes;
}

/* One archive as the kernel would take it; returns how far it reached. */
static void import_cpio(Tree *t, const char *data, size_t size) {
        struct archive *a = archive_read_new();

        assert_int_equal(archive_read_support_format_cpio(a), ARCHIVE_OK);
        assert_int_equal(archive_read_open_memory(a, data, size), ARCHIVE_OK);
        assert_int_equal(tree_import_archive(t, "", a, 0, NULL, NULL), 0);
        archive_read_free(a);
}

/* Frame by frame, each at a multiple of 4096, zeros between them: the kernel's rules. */
static void unpack(Tree *t, const char *bytes, size_t size, unsigned *ret_frames) {
        *ret_frames = 0;
        for (size_t k = 0; k < size; k = (k + 4095) & ~(size_t) 4095) {
                size_t n = ZSTD_findFrameCompressedSize(bytes + k, size - k);
                unsigned long long bound = ZSTD_isError(n) ? 0 : ZSTD_decompressBound(bytes + k, n);
                _cleanup_free_ char *data = NULL;
                size_t plain_size;

                assert_false(ZSTD_isError(n));
                assert_true(bound < 1 << 30);
                data = xmalloc((size_t) bound);
                plain_size = ZSTD_decompress(data, (size_t) bound, bytes + k, n);
                assert_false(ZSTD_isError(plain_size));
                import_cpio(t, data, plain_size);
                for (k += n; k % 4096 != 0; k++)
                        assert_int_equal(bytes[k], 0);
                ++*ret_frames;
        }
}

static int forget_package(Tree *t, Node *n, const char *path, void *userdata) {
        free(n->inode->package);
        n->inode->package = NULL;
        return 0;
}

static void packed_initrd_holds_the_tree(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state), *copy = new_tree(state);
        _cleanup_free_ char *bytes = NULL;
        Sha256 a, b;
        size_t size;
        unsigned n;

        fill(t);
        bytes = pack(state, t, SEGMENT_LEVEL, &size);
        assert_null(tree_lookup(t, MODULES "/modules.dep"));
        assert_non_null(tree_lookup(t, MODULES "/modules.softdep"));
        unpack(copy, bytes, size, &n);
        assert_true(n > 3 && n < 100);
        assert_int_equal(tree_walk(t, t->root, forget_package, NULL), 0);
        tree_digest(t, false, &a);
        tree_digest(copy, false, &b);
        assert_true(sha256_equal(&a, &b));
        assert_int_equal(tree_lookup(copy, "/init")->inode->mtime, 1700000000);
}

static void same_tree_gives_the_same_bytes(void **state) {
        for (unsigned level = 0; level <= SEGMENT_LEVEL; level += SEGMENT_LEVEL) {
                _cleanup_(tree_freep) Tree *x = new_tree(state), *y = new_tree(state);
                _cleanup_free_ char *a = NULL, *b = NULL;
                size_t n_a, n_b;

                fill(x);
                /* Another order of making, other times: only content counts. */
                add_text(y, "/usr/share/zzz", "");
                fill(y);
                assert_int_equal(tree_remove(y, "/usr/share/zzz"), 0);
                tree_lookup(y, "/usr/lib/big")->inode->mtime = 1;
                a = pack(state, x, level, &n_a);
                b = pack(state, y, level, &n_b);
                assert_int_equal(n_a, n_b);
                assert_memory_equal(a, b, n_a);
        }
}

static size_t count_new_blocks(const char *a, size_t n_a, const char *b, size_t n_b) {
        size_t n = 0;

        for (size_t k = 0; k < n_b; k += 4096) {
                bool found = false;

                for (size_t i = 0; i < n_a && !found; i += 4096)
                        found = memcmp(a + i, b + k, 4096) == 0;
                n += !found;
        }
        return n;
}

static void changed_file_changes_little_else(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_free_ char *a = NULL, *b = NULL;
        size_t n_a, n_b;

        fill(t);
        a = pack(state, t, SEGMENT_LEVEL, &n_a);
        add_text(t, "/usr/share/3/file10", "something else, and of another length");
        b = pack(state, t, SEGMENT_LEVEL, &n_b);
        /* Only the frame with the file: inode numbers must not run on into the frames behind it. */
        assert_true(count_new_blocks(a, n_a, b, n_b) <= n_a / 4096 / 3);
        add_text(t, "/usr/share/0/another", "one more entry");
        free(a);
        a = pack(state, t, SEGMENT_LEVEL, &n_a);
        assert_true(count_new_blocks(b, n_b, a, n_a) <= n_a / 4096 / 3);
}

static void forgotten_depmod_is_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        const InitrdPackOptions o = { .level = SEGMENT_LEVEL };
        _cleanup_close_ int fd = -1;
        _cleanup_error_ Error e = {};

        fill(t);
        assert_int_equal(tree_remove(t, MODULES "/modules.dep.bin"), 0);
        assert_int_equal(io_tmpfile(*state, &fd, NULL), 0);
        assert_true(initrd_pack(t, &o, fd, NULL, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void attribute_is_refused_by_cpio(void **state) {
        _cleanup_(tree_freep) Tree *t = new_tree(state);
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error e = {};
        const Node *n;

        add_text(t, "/x", "y");
        n = tree_lookup(t, "/x");
        assert_int_equal(cpio_write(t, &n, 1, 0, &b, NULL), 0);
        assert_memory_equal(b.data, "070701", 6);
        assert_int_equal(tree_set_xattr(n->inode, "security.capability", "x", 1), 0);
        assert_true(cpio_write(t, &n, 1, 0, &b, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(program_brings_its_libraries),
                cmocka_unit_test(missing_library_is_refused_by_name),
                cmocka_unit_test(damaged_elf_files_are_refused_and_scripts_are_not),
                cmocka_unit_test(modules_bring_what_they_depend_on),
                cmocka_unit_test(compressed_modules_are_stored_plain),
                cmocka_unit_test(collects_what_the_lists_say),
                cmocka_unit_test(options_add_a_shell_and_the_tpm),
                cmocka_unit_test(encrypted_root_partition_brings_all_of_its_parts),
                cmocka_unit_test(what_is_missing_is_named),
                cmocka_unit_test(packed_initrd_holds_the_tree),
                cmocka_unit_test(same_tree_gives_the_same_bytes),
                cmocka_unit_test(changed_file_changes_little_else),
                cmocka_unit_test(forgotten_depmod_is_refused),
                cmocka_unit_test(attribute_is_refused_by_cpio),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
