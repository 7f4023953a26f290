/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The installable disk image: a sparse file with a GPT after the Discoverable Partitions Specification.
 *
 *     ESP            FAT32: systemd-boot, its configuration, the UKI
 *     slot A         usr, usr-verity, usr-verity-sig: filled; ids from the root hash
 *     slot B         the same sizes, label _empty, zeros
 *     room           for the root partition, which the machine makes at its first boot
 *
 * The same options give the same bytes. Ids of what has no root hash (disk, ESP, empty slots) are the first half of
 * SHA-256 over "sealab disk 1", image id, version and the partition's name ("disk", "esp", "usr-verity-sig-a", "usr-b",
 * "usr-verity-b", "usr-verity-sig-b"), each with its NUL terminator, marked as a UUID of version 8 (RFC 9562). */

#include "gpt.h"

#define DISK_ALIGNMENT (UINT64_C(1) << 20)
/* FAT32 has at least 65525 clusters, 512 bytes each at the smallest, and two tables beside them. */
#define DISK_ESP_SIZE_MIN (UINT64_C(36) << 20)
#define DISK_ESP_SIZE_MAX (UINT64_C(64) << 30)
#define DISK_SIG_SIZE (UINT64_C(1) << 20)
#define DISK_LABEL_EMPTY "_empty"
#define DISK_EXTRA_FILES_MAX 1000

/* A file on the ESP: bytes, or the path of a file to copy (data NULL). All borrowed. */
typedef struct DiskFile {
        const char *path; /* "loader/keys/auto/PK.auth" */
        const void *data;
        size_t size;
        const char *source;
} DiskFile;

typedef struct DiskOptions {
        const char *output; /* the image file; must not exist */
        const char *image_id, *version, *architecture;
        int64_t epoch;        /* time of every file on the ESP */
        unsigned sector_size; /* 0: 512 */
        uint64_t esp_size, usr_size, root_size;

        DiskFile boot_loader;    /* path is ignored: it goes to EFI/systemd and, as fallback loader, to EFI/BOOT */
        const char *loader_conf; /* text of loader/loader.conf */
        DiskFile uki;            /* path: its name in EFI/Linux, "minimal_2026.11.1+3-0.efi" */
        const DiskFile *extra_files;
        size_t n_extra_files;

        const char *usr_path, *verity_path; /* the images */
        Sha256 root_hash;
        const void *verity_sig; /* JSON of the signature partition; NULL: unsigned, the partition is left empty */
        size_t verity_sig_size;
} DiskOptions;

/* Writes the image. On failure nothing is left. REFUSAL_NO_SPACE names the key of the recipe (UsrSize=, EspSize=) and
 * the least value that would do. */
int disk_build(const DiskOptions *opt, Error *reterr);

/* Bytes that the hash partition of a slot gets for a given usr_size. */
uint64_t disk_verity_size(uint64_t usr_size);
/* UsrSize= where the recipe does not give it: twice the first image, in steps of 64 MiB. */
uint64_t disk_default_usr_size(uint64_t image_size);
/* Whether the labels made of both fit a GPT: call it early. */
int disk_check_labels(const char *image_id, const char *version, Error *reterr);
/* See above; name as listed there. */
void disk_partition_id(const char *image_id, const char *version, const char *name, char ret[static 37]);

typedef struct DiskSlot {
        const GptPartition *usr, *verity, *sig; /* borrowed from the layout */
        bool is_empty;
        char *version; /* from the label; NULL if empty */
} DiskSlot;

typedef struct DiskLayout {
        GptPartition *partitions;
        size_t n_partitions;
        const GptPartition *esp;
        DiskSlot slots[2];
} DiskLayout;

void disk_layout_done(DiskLayout *l);
#define _cleanup_disk_layout_ _cleanup_(disk_layout_done)
/* Reads the table of a disk image or device: an ESP and two whole slots, or REFUSAL_BAD_FORMAT. */
int disk_read_slots(const char *path, const char *architecture, DiskLayout *ret, Error *reterr);

/* JSON of the signature partition (Discoverable Partitions Specification): root hash, certificate fingerprint and
 * detached PKCS#7. Owned. */
char *disk_verity_sig_format(const Sha256 *root_hash, const Sha256 *fingerprint, const void *sig, size_t sig_size);
/* The way back; trailing NUL bytes of the partition are allowed. */
int disk_verity_sig_parse(const void *data, size_t size, Sha256 *ret_root_hash, Sha256 *ret_fingerprint, void **ret_sig,
                          size_t *ret_sig_size, Error *reterr);
