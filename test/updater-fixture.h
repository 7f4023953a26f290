/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A machine that is a folder: a disk image file with two slots, a folder as its ESP, a root with what is read of it.
 * The first slot holds and runs version 1 of "desk", known by its root hash only (what is in the partitions is up to
 * the test). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "boot.h"
#include "gpt.h"
#include "io.h"
#include "machine.h"
#include "pe.h"
#include "slot.h"
#include "synthetic-pe.h"
#include "verity.h"

#define FIXTURE_MIB (UINT64_C(1) << 20)
#define FIXTURE_MACHINE_ID "0123456789abcdef0123456789abcdef"

typedef struct MachineFixture {
        char *folder, *root, *disk, *boot, *state;
        Sha256 running;
        MachinePaths paths;
} MachineFixture;

static inline void updater_ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

static inline Sha256 fixture_hash(const char *text) {
        Sha256 h;

        sha256_buffer(text, strlen(text), &h);
        return h;
}

static inline void machine_fixture_write(const char *folder, const char *name, const void *data, size_t size) {
        _cleanup_free_ char *path = path_join(folder, name), *parent = path_dirname(path);
        _cleanup_error_ Error e = {};
        int r;

        r = io_mkdir_parents(AT_FDCWD, parent, 0755, &e);
        if (r >= 0)
                r = io_write_file(AT_FDCWD, path, data, size, 0644, &e);
        updater_ok(r, &e);
}

static inline void machine_fixture_text(const char *folder, const char *name, const char *text) {
        machine_fixture_write(folder, name, text, strlen(text));
}

/* A UKI of a synthetic stub with that command line, all other sections but one, and a signature that nobody's key made;
 * owned. */
static inline void *fixture_uki_without(const char *missing, const char *command_line, size_t *ret_size) {
        size_t stub_size, size, signed_size, n = 0;
        _cleanup_free_ void *stub = synthetic_pe(&stub_size), *image = NULL;
        const PeAddition all[] = {
                { .name = ".osrel", .data = "ID=desk", .size = 7 },
                { .name = ".cmdline", .data = command_line, .size = command_line ? strlen(command_line) : 0 },
                { .name = ".initrd", .data = "initrd", .size = 6 },
                { .name = ".linux", .data = "kernel", .size = 6 },
        };
        PeAddition sections[ELEMENTSOF(all)];
        void *with_signature = NULL;
        _cleanup_error_ Error e = {};
        int r;

        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                if (all[i].data && !streq_ptr(missing, all[i].name))
                        sections[n++] = all[i];
        r = pe_add_sections(stub, stub_size, sections, n, &image, &size, &e);
        if (r >= 0)
                r = pe_attach_signature(image, size, "0\nsignature!", 12, &with_signature, &signed_size, &e);
        updater_ok(r, &e);
        *ret_size = signed_size;
        return with_signature;
}

/* Without a command line: has no such section. */
static inline void *fixture_uki(const char *command_line, size_t *ret_size) {
        return fixture_uki_without(NULL, command_line, ret_size);
}

static inline void machine_fixture_entry(const MachineFixture *f, const char *file, const Sha256 *root_hash) {
        _cleanup_free_ char *hex = sha256_hex(root_hash), *line = xasprintf("quiet usrhash=%s rw", hex),
                            *name = xasprintf("EFI/Linux/%s", file);
        size_t size;
        _cleanup_free_ void *uki = fixture_uki(line, &size);

        machine_fixture_write(f->boot, name, uki, size);
}

static inline void fixture_slot(GptPartition *p, unsigned seed, const char *label, const Sha256 *root_hash,
                                uint64_t usr_size) {
        p[0] = (GptPartition){ .type = PARTITION_USR, .size = usr_size, .flags = GPT_FLAG_READ_ONLY };
        p[1] = (GptPartition){ .type = PARTITION_USR_VERITY, .size = FIXTURE_MIB, .flags = GPT_FLAG_READ_ONLY };
        p[2] = (GptPartition){ .type = PARTITION_USR_VERITY_SIG, .size = FIXTURE_MIB, .flags = GPT_FLAG_READ_ONLY };
        for (unsigned i = 0; i < 3; i++) {
                snprintf(p[i].uuid, sizeof p[i].uuid, "%08x-0000-4000-8000-000000000000", seed * 16 + i + 1);
                snprintf(p[i].label, sizeof p[i].label, "%s%s", label,
                         streq(label, "_empty") || i == 0 ? ""
                         : i == 1                         ? "_verity"
                                                          : "_verity_sig");
        }
        if (root_hash)
                verity_partition_ids(root_hash, p[0].uuid, p[1].uuid);
}

static inline void machine_fixture_disk(const MachineFixture *f, GptPartition *p, size_t n, uint64_t size) {
        int fd = open(f->disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        _cleanup_error_ Error e = {};
        int r;

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t) size), 0);
        safe_close(fd);
        r = gpt_create(f->disk, 512, "11111111-2222-4333-8444-555555555555", "amd64", p, n, &e);
        updater_ok(r, &e);
}

static inline int machine_fixture_setup(void **state) {
        MachineFixture *f = xnew(MachineFixture, 1);
        GptPartition p[7] = { { .type = PARTITION_ESP,
                                .uuid = "aaaaaaaa-0000-4000-8000-000000000000",
                                .label = "esp",
                                .size = FIXTURE_MIB } };
        _cleanup_error_ Error e = {};

        updater_ok(io_temporary_folder("test-updater", &f->folder, &e), &e);
        f->root = path_join(f->folder, "root");
        f->disk = path_join(f->folder, "disk");
        f->boot = path_join(f->folder, "esp");
        f->state = path_join(f->folder, "state");
        f->running = fixture_hash("version 1");
        f->paths = (MachinePaths){
                .root = f->root, .disk = f->disk, .boot = f->boot, .running = &f->running, .architecture = "amd64"
        };
        fixture_slot(p + 1, 1, "desk_1", &f->running, 2 * FIXTURE_MIB);
        fixture_slot(p + 4, 2, "_empty", NULL, 2 * FIXTURE_MIB);
        machine_fixture_disk(f, p, ELEMENTSOF(p), 16 * FIXTURE_MIB);
        machine_fixture_text(f->root, "usr/lib/os-release", "ID=debian\nIMAGE_ID=desk\nIMAGE_VERSION=\"1\"\n");
        machine_fixture_text(f->root, "etc/machine-id", FIXTURE_MACHINE_ID "\n");
        machine_fixture_entry(f, "desk_1.efi", &f->running);
        *state = f;
        return 0;
}

static inline int machine_fixture_teardown(void **state) {
        MachineFixture *f = *state;

        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f->root);
        free(f->disk);
        free(f->boot);
        free(f->state);
        free(f);
        return 0;
}

static inline Machine *machine_fixture_read(const MachineFixture *f) {
        Machine *m = NULL;
        _cleanup_error_ Error e = {};
        int r = machine_read(&f->paths, &m, &e);

        updater_ok(r, &e);
        return m;
}
