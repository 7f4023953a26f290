/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A FAT32 file system inside a larger file, made by dosfstools and filled by mtools, the same bytes at every run. */

#include "disk.h"

typedef struct EspOptions {
        const char *image; /* the disk image */
        uint64_t offset, size;
        unsigned sector_size;
        uint32_t volume_id;
        int64_t epoch; /* time of every file; FAT counts from 1980 */
        const DiskFile *files;
        size_t n_files;
} EspOptions;

/* Folders are made as the paths need them. REFUSAL_NO_SPACE with the size that is needed. */
int esp_build(const EspOptions *opt, Error *reterr);
/* Sectors in a cluster so that the size gives a FAT32 and not a FAT16; 0: too small or too large. */
unsigned esp_cluster_sectors(uint64_t size, unsigned sector_size);
/* What the files take on it, folders and tables included: an upper bound. */
int esp_needed_size(const EspOptions *opt, uint64_t *ret, Error *reterr);
