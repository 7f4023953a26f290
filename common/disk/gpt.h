/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* GPT through libfdisk (which writes backup before primary and syncs between), partition types of the Discoverable
 * Partitions Specification (UAPI.2). Sizes and offsets in bytes. */

#include "hash.h"

typedef enum PartitionType {
        PARTITION_ESP,
        PARTITION_USR,
        PARTITION_USR_VERITY,
        PARTITION_USR_VERITY_SIG,
        PARTITION_ROOT,
        PARTITION_OTHER,
        _PARTITION_TYPE_MAX,
} PartitionType;

/* NULL for PARTITION_OTHER and for an architecture without types. architecture is Debian's word ("amd64"). */
const char *partition_type_uuid(PartitionType type, const char *architecture);

#define GPT_FLAG_READ_ONLY (UINT64_C(1) << 60)
#define GPT_FLAG_NO_AUTO (UINT64_C(1) << 63)
#define GPT_FLAG_GROW_FILE_SYSTEM (UINT64_C(1) << 59)

#define GPT_LABEL_MAX 36

typedef struct GptPartition {
        PartitionType type;
        char type_uuid[37];
        char uuid[37]; /* "" in gpt_create(): random is refused, every id is given */
        char label[GPT_LABEL_MAX + 1];
        unsigned number;       /* place in the table, from 1; ignored by gpt_create(), which numbers in order */
        uint64_t offset, size; /* offset 0 in gpt_create(): next free, 1 MiB aligned */
        uint64_t flags;
} GptPartition;

/* Writes a new table to a file that is already as large as the disk shall be; fills in the offsets. sector_size 512 or
 * 4096. */
int gpt_create(const char *path, unsigned sector_size, const char *disk_uuid, const char *architecture,
               GptPartition *partitions, size_t n, Error *reterr);
/* Reads a table; anything inconsistent is refused. */
int gpt_read(const char *path, const char *architecture, GptPartition **ret, size_t *ret_n, Error *reterr);

/* The same where one of the table's two copies is damaged, as a power cut may leave it: by the other one. */
int gpt_read_usable(const char *path, const char *architecture, GptPartition **ret, size_t *ret_n, bool *ret_damaged,
                    Error *reterr);
/* 1: one of the copies was damaged, and has been written anew from the other. */
int gpt_repair(const char *path, const char *architecture, Error *reterr);

/* Other names, ids and flags for partitions that are there (told by number; type, offset and size must be what the
 * table says, or nothing is written: REFUSAL_STALE), all of them by one write of the backup table and then one of the
 * primary, synced. A damaged copy is whole afterwards. */
int gpt_retag(const char *path, const char *architecture, const GptPartition *partitions, size_t n, Error *reterr);
