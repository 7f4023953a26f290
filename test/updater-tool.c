/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For test/integration/updater.sh and reuse.sh:
 *
 *     updater-tool release FOLDER VERSION SEED    FOLDER/desk_VERSION, as "sealab build" leaves it, of some MiB
 *     updater-tool machine FOLDER RELEASE         a disk image with two slots, an ESP and a root, on which RELEASE runs
 *
 * Two images share the bytes of their first half; those of a small letter and its capital all but one block. */

#define PUBLISH_USR_SIZE ((size_t) 3 << 20 | 8192)
#define PUBLISH_BYTE(content, i) noise(seed_at((unsigned) (content), (i)), (i))

#include <stddef.h>

static unsigned seed_at(unsigned content, size_t i) {
        if (i < PUBLISH_USR_SIZE / 2)
                return 0;
        return content >= 'A' && content <= 'Z' && i / 4096 != 600 ? content - 'A' + 'a' : content;
}

/* Nothing that could be packed. */
static unsigned noise(unsigned seed, size_t i) {
        unsigned x = (unsigned) i * 2654435761U ^ seed * 2246822519U;

        x ^= x >> 15;
        x *= 2246822519U;
        x ^= x >> 13;
        x *= 3266489917U;
        return (x ^ x >> 16) & 0xff;
}

#include "publish-fixture.h"
#include "updater-fixture.h"

static void make_machine(const char *folder, const Release *r) {
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
        fixture_slot(p + 1, 1, label, &r->root_hash, 4 * FIXTURE_MIB);
        fixture_slot(p + 4, 2, "_empty", NULL, 4 * FIXTURE_MIB);
        machine_fixture_disk(&f, p, ELEMENTSOF(p), 20 * FIXTURE_MIB);
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

        if (argc == 5 && streq(argv[1], "release")) {
                _cleanup_free_ char *path = publish_release(argv[2], "desk", argv[3], argv[4][0], true);

                puts(path);
                return 0;
        }
        if (argc == 4 && streq(argv[1], "machine")) {
                if (release_open(argv[3], &r, &e) < 0) {
                        fprintf(stderr, "%s\n", e.message);
                        return 1;
                }
                make_machine(argv[2], r);
                return 0;
        }
        fprintf(stderr, "updater-tool release FOLDER VERSION SEED | machine FOLDER RELEASE\n");
        return 2;
}
