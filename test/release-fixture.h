/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small release made by the same functions as a real one, for the tests of the release folder and its reports. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io.h"
#include "manifest.h"
#include "release.h"

#define FIXTURE_EPOCH INT64_C(1762000000)

/* The structs own their strings; these literals are never freed. */
#define OWNED(literal) ((char *) (literal))
static LockPackage fixture_packages[] = {
        { .name = OWNED("bash"),
          .version = OWNED("5.2.15-2"),
          .architecture = OWNED("amd64"),
          .source = OWNED("bash"),
          .source_version = OWNED("5.2.15-2"),
          .path = OWNED("pool/main/b/bash/bash_5.2.15-2_amd64.deb"),
          .suite = OWNED("trixie"),
          .size = 1000,
          .sha256 = { { 1 } },
          .purpose = LOCK_FOR_IMAGE | LOCK_FOR_INITRD },
        { .name = OWNED("erofs-utils"),
          .version = OWNED("1.8.6-1"),
          .architecture = OWNED("amd64"),
          .source = OWNED("erofs-utils"),
          .source_version = OWNED("1.8.6-1"),
          .path = OWNED("pool/main/e/erofs-utils/erofs-utils_1.8.6-1_amd64.deb"),
          .suite = OWNED("trixie"),
          .size = 2000,
          .sha256 = { { 2 } },
          .purpose = LOCK_FOR_TOOLS },
        { .name = OWNED("libstdc++6"),
          .version = OWNED("14.2.0-19"),
          .architecture = OWNED("amd64"),
          .source = OWNED("gcc-14"),
          .source_version = OWNED("14.2.0-19"),
          .path = OWNED("pool/main/g/gcc-14/libstdc++6_14.2.0-19_amd64.deb"),
          .suite = OWNED("trixie"),
          .size = 3000,
          .sha256 = { { 3 } },
          .purpose = LOCK_FOR_IMAGE },
        { .name = OWNED("local-tool"),
          .version = OWNED("1:1.0~rc1+x"),
          .architecture = OWNED("all"),
          .source = OWNED("local-tool"),
          .source_version = OWNED("1:1.0~rc1+x"),
          .path = OWNED("local-tool.deb"),
          .size = 4000,
          .sha256 = { { 4 } },
          .purpose = LOCK_FOR_IMAGE },
};

static LockSuite fixture_suite = {
        .suite = OWNED("trixie"), .origin = OWNED("Debian"), .codename = OWNED("trixie"), .date = FIXTURE_EPOCH
};

static Lock fixture_lock = {
        .image_id = OWNED("mine"),
        .architecture = OWNED("amd64"),
        .suites = &fixture_suite,
        .n_suites = 1,
        .packages = fixture_packages,
        .n_packages = ELEMENTSOF(fixture_packages),
};

static inline void assert_ok(int r, Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

static inline void fixture_file(Tree *t, const char *path, mode_t mode, gid_t gid, const char *package,
                                const char *text) {
        NodeAttributes a = { .mode = mode, .gid = gid, .package = package };
        _cleanup_error_ Error e = {};

        assert_ok(tree_add_file(t, path, &a, text, strlen(text), NULL, &e), &e);
}

static inline void fixture_symlink(Tree *t, const char *path, const char *target) {
        NodeAttributes a = { .mode = 0777 };
        _cleanup_error_ Error e = {};

        assert_ok(tree_add_symlink(t, path, &a, target, NULL, &e), &e);
}

#define FIXTURE_UNITS "/usr/share/factory/etc/systemd/system/"

static inline Tree *fixture_tree(void) {
        /* cap_net_raw=ep, revision 2 */
        static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 0x20 };
        _cleanup_error_ Error e = {};
        Tree *t = NULL;

        assert_ok(tree_new(NULL, &t, &e), &e);
        fixture_file(t, "/usr/bin/bash", 0755, 0, "bash", "a shell");
        assert_ok(tree_add_hardlink(t, "/usr/bin/rbash", "/usr/bin/bash", NULL, &e), &e);
        fixture_file(t, "/usr/bin/chage", 02755, 42, "local-tool", "sets ages");
        fixture_file(t, "/usr/bin/ping", 0755, 0, "local-tool", "echo");
        assert_int_equal(tree_set_xattr(tree_lookup(t, "/usr/bin/ping")->inode, "security.capability", capability,
                                        sizeof(capability)),
                         0);
        fixture_file(t, "/usr/lib/libstdc++.so.6", 0644, 0, "libstdc++6", "a library of many bytes ..................");
        fixture_file(t, "/usr/lib-other/x", 0644, 0, NULL, "");
        fixture_file(
                t, "/usr/share/doc/bash/copyright", 0644, 0, "bash",
                "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n"
                "License: GPL-3+\n text\n\nFiles: doc/*\nLicense: GFDL-1.3-no-invariants\n\nLicense: GPL-3+\n more\n");
        fixture_file(t, "/usr/share/factory/etc/passwd", 0644, 0, NULL,
                     "root:x:0:0:root:/root:/bin/bash\nman:x:6:12::/var/cache/man:/usr/sbin/nologin\n");
        fixture_file(t, "/usr/share/factory/etc/group", 0644, 0, NULL, "root:x:0:\nshadow:x:42:\nman:x:12:root\n");
        fixture_symlink(t, FIXTURE_UNITS "multi-user.target.wants/ssh.service", "/usr/lib/systemd/system/ssh.service");
        fixture_symlink(t, FIXTURE_UNITS "apt-daily.timer", "/dev/null");
        fixture_symlink(t, FIXTURE_UNITS "default.target", "/usr/lib/systemd/system/multi-user.target");
        return t;
}

static inline void fixture_write(const char *path, const void *data, size_t size) {
        _cleanup_error_ Error e = {};

        assert_ok(io_write_file(AT_FDCWD, path, data, size, 0644, &e), &e);
}

static inline void fixture_parts(Release *r, const char *usr_text) {
        static const ReleasePart plain[] = { RELEASE_VERITY,      RELEASE_INITRD, RELEASE_UNSIGNED_UKI,
                                             RELEASE_BOOT_LOADER, RELEASE_SBOM,   RELEASE_VERITY_SIG,
                                             RELEASE_UKI };
        _cleanup_free_ char *usr = release_file_path(r, RELEASE_USR), *hash = release_file_path(r, RELEASE_ROOT_HASH);
        _cleanup_free_ char *hex = NULL, *line = NULL, *blocks = xcalloc(3, 4096);

        strcpy(blocks + 4096, usr_text);
        blocks[0] = 'A';
        fixture_write(usr, blocks, 3 * 4096);
        sha256_buffer(usr_text, strlen(usr_text), &r->root_hash);
        hex = sha256_hex(&r->root_hash);
        line = xasprintf("%s\n", hex);
        fixture_write(hash, line, strlen(line));
        for (size_t i = 0; i < ELEMENTSOF(plain); i++) {
                _cleanup_free_ char *path = release_file_path(r, plain[i]);

                fixture_write(path, "content", 7);
        }
}

/* Writes FOLDER/mine_VERSION; returns its path. */
static inline char *fixture_release(const char *folder, const char *version, const Lock *lock, Tree *t) {
        _cleanup_free_ char *name = release_name("mine", version), *path = path_join(folder, name);
        _cleanup_free_ char *manifest_path = NULL, *contents_path = NULL;
        _cleanup_(contents_freep) Contents *contents = NULL;
        _cleanup_(manifest_freep) Manifest *manifest = NULL;
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};
        Sha256 fingerprint = { { 7 } };

        assert_ok(io_mkdir_parents(AT_FDCWD, path, 0755, &e), &e);
        r = release_new(path, "mine", version);
        assert_ok(contents_from_tree(t, "/usr", "mine", version, &contents, &e), &e);
        contents_path = release_file_path(r, RELEASE_CONTENTS);
        assert_ok(contents_write(contents, AT_FDCWD, contents_path, &e), &e);
        manifest = manifest_new(lock, contents);
        manifest_path = release_file_path(r, RELEASE_PACKAGES);
        assert_ok(manifest_write(manifest, AT_FDCWD, manifest_path, &e), &e);
        r->architecture = xstrdup("amd64");
        r->recipe = xstrdup("mine");
        r->epoch = FIXTURE_EPOCH;
        r->kernel_version = xstrdup("6.12.107-amd64");
        r->command_line = xstrdup("quiet usrhash=00");
        r->layout = USR_LAYOUT_LZ4HC;
        r->level = 9;
        r->cluster = 16384;
        fixture_parts(r, "usr");
        release_set_certificate(r, "usr", "CN=root hash", &fingerprint, FIXTURE_EPOCH, true);
        release_set_certificate(r, "uki", "CN=Secure Boot", &fingerprint, FIXTURE_EPOCH, false);
        release_set_tool(r, "sealab", SEALAB_VERSION);
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++)
                if (i != RELEASE_DISK)
                        assert_ok(release_add_file(r, (ReleasePart) i, &e), &e);
        assert_ok(release_write(r, &e), &e);
        return TAKE_PTR(path);
}

static inline int fixture_setup(void **state) {
        _cleanup_error_ Error e = {};
        char *folder = NULL;

        assert_ok(io_temporary_folder("test-release-folder", &folder, &e), &e);
        *state = folder;
        return 0;
}

static inline int fixture_teardown(void **state) {
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *folder = *state;

        assert_ok(io_remove_tree(AT_FDCWD, folder, &e), &e);
        return 0;
}
