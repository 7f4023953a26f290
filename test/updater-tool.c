/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For test/integration/updater.sh and reuse.sh, and test/bench/install:
 *
 *     updater-tool release FOLDER VERSION SEED [MIB]    FOLDER/desk_VERSION, as "sealab build" leaves it, of some MiB
 *     updater-tool machine FOLDER RELEASE [MIB]         a disk image with two slots (of 4 MiB, or of a MiB more), an
 * ESP and a root, on which RELEASE runs
 *
 * Two images share the bytes of their first half; those of a small letter and its capital all but one block. Two kernel
 * images share most of theirs. */

#define PUBLISH_USR_SIZE image_size
#define PUBLISH_BYTE(content, i) byte_at((unsigned) (content), (i))
#define PUBLISH_INITRD_SIZE ((size_t) 64 << 10)
#define PUBLISH_INITRD_BYTE(release, i) noise((i) / 8192 == 3 ? (unsigned) (release)->version[0] : 0, (i))

#include <stddef.h>

#include "noise.h"

#define SMALL_SIZE ((size_t) 3 << 20 | 8192)

static size_t image_size = SMALL_SIZE;

static unsigned seed_at(unsigned content, size_t i) {
        if (i < PUBLISH_USR_SIZE / 2)
                return 0;
        return content >= 'A' && content <= 'Z' && i / 4096 != 600 ? content - 'A' + 'a' : content;
}

/* Nothing that could be packed; but large ones are to be packed in a bearable time. */
static unsigned byte_at(unsigned content, size_t i) {
        return 0xff & (image_size > SMALL_SIZE ? noise(content, i / 4096) : noise(seed_at(content, i), i));
}

#include "publish-fixture.h"
#include "updater-fixture.h"

static void make_machine(const char *folder, const Release *r, uint64_t slot_size) {
        MachineFixture f = { .root = path_join(folder, "root"),
                             .disk = path_join(folder, "disk"),
                             .boot = path_join(folder, "esp") };
        _cleanup_free_ char *usr = release_file_path(r, RELEASE_USR), *tree = release_file_path(r, RELEASE_VERITY),
                            *uki = release_file_path(r, RELEASE_UKI), *data = NULL, *hash = NULL, *kernel = NULL,
                            *label = release_name(r->image_id, r->version), *entry = NULL, *os = NULL;
        _cleanup_close_ int fd = -EBADF;
        size_t size, hash_size, kernel_size;
        GptPartition p[7] = { { .type = PARTITION_ESP,
                                .uuid = "aaaaaaaa-0000-4000-8000-000000000000",
                                .label = "esp",
                                .size = FIXTURE_MIB } };
        _cleanup_error_ Error e = {};

        updater_ok(io_mkdir_parents(AT_FDCWD, folder, 0755, &e), &e);
        updater_ok(io_read_file(AT_FDCWD, usr, 1 << 30, &data, &size, &e), &e);
        updater_ok(io_read_file(AT_FDCWD, tree, 1 << 30, &hash, &hash_size, &e), &e);
        updater_ok(io_read_file(AT_FDCWD, uki, 1 << 30, &kernel, &kernel_size, &e), &e);
        fixture_slot(p + 1, 1, label, &r->root_hash, slot_size);
        fixture_slot(p + 4, 2, "_empty", NULL, slot_size);
        p[2].size = p[5].size = MAX(slot_size / 100, FIXTURE_MIB) & ~(FIXTURE_MIB - 1);
        machine_fixture_disk(&f, p, ELEMENTSOF(p), 2 * (slot_size + p[2].size) + 10 * FIXTURE_MIB);
        fd = open(f.disk, O_RDWR | O_CLOEXEC);
        updater_ok(io_pwrite_all(fd, data, size, p[1].offset, &e), &e);
        updater_ok(io_pwrite_all(fd, hash, hash_size, p[2].offset, &e), &e);
        updater_ok(io_pwrite_all(fd, "content", 7, p[3].offset, &e), &e);
        os = xasprintf("ID=debian\nIMAGE_ID=%s\nIMAGE_VERSION=%s\n", r->image_id, r->version);
        machine_fixture_text(f.root, "usr/lib/os-release", os);
        machine_fixture_text(f.root, "etc/machine-id", FIXTURE_MACHINE_ID "\n");
        entry = xasprintf("EFI/Linux/%s.efi", label);
        machine_fixture_write(f.boot, entry, kernel, kernel_size);
        free(f.root);
        free(f.disk);
        free(f.boot);
}

int main(int argc, char **argv) {
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};
        uint64_t mib = 0;

        if (argc == 6 && streq(argv[1], "release") && parse_u64(argv[5], &mib) && mib > 0 && mib <= 4096)
                image_size = (size_t) mib << 20;
        if ((argc == 5 || mib > 0) && streq(argv[1], "release")) {
                _cleanup_free_ char *path = publish_release(argv[2], "desk", argv[3], argv[4][0], true);

                puts(path);
                return 0;
        }
        if ((argc == 4 || (argc == 5 && parse_u64(argv[4], &mib) && mib > 0 && mib <= 4096)) &&
            streq(argv[1], "machine")) {
                if (release_open(argv[3], &r, &e) < 0) {
                        fprintf(stderr, "%s\n", e.message);
                        return 1;
                }
                make_machine(argv[2], r, mib > 0 ? (mib + 1) * FIXTURE_MIB : 4 * FIXTURE_MIB);
                return 0;
        }
        fprintf(stderr, "updater-tool release FOLDER VERSION SEED [MIB] | machine FOLDER RELEASE [MIB]\n");
        return 2;
}
