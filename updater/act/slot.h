/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Filling a slot. Nothing here touches the running slot: every function refuses a slot that is marked running. */

#include "description.h"
#include "machine.h"
#include "verity.h"

typedef struct SlotWriter SlotWriter;

/* Opens the target partitions of the disk (through the whole-disk device at the partitions' offsets, or a file). The
 * hash tree is built while data comes. */
int slot_writer_open(const char *disk, const Slot *slot, const ReleaseDescription *d, SlotWriter **ret, Error *reterr);
SlotWriter *slot_writer_free(SlotWriter *w);
DEFINE_CLEANUP(SlotWriter *, slot_writer_free)
/* True if the slot already holds these bytes there (read back from the disk): how an interrupted update goes on. */
bool slot_writer_has(SlotWriter *w, uint64_t offset, size_t size, const Sha256 *sha256);
int slot_writer_read(SlotWriter *w, uint64_t offset, void *data, size_t size, Error *reterr);
/* At any order of offsets, multiples of 4096. */
int slot_writer_write(SlotWriter *w, uint64_t offset, const void *data, size_t size, Error *reterr);
/* Builds the hash tree from the device's data, writes it and the signature, syncs. REFUSAL_HASH_MISMATCH if the tree's
 * root is not the release's. */
int slot_writer_finish(SlotWriter *w, const void *verity_sig, size_t verity_sig_size, Error *reterr);

/* Drops caches, re-reads data and tree from the device and recomputes the root hash, by our own code and by
 * libcryptsetup. progress may be NULL. */
int slot_verify(const char *disk, const Slot *slot, const Sha256 *root_hash, uint64_t data_size,
                void (*progress)(uint64_t done, uint64_t total, void *userdata), void *userdata, Error *reterr);
/* Label and ids of the three partitions, one table write through libfdisk. root_hash NULL: marks the slot _empty with
 * ids of no meaning (flag no-auto). */
int slot_retag(const char *disk, const Slot *slot, const char *architecture, const char *product, const char *version,
               const Sha256 *root_hash, Error *reterr);
/* The data size that a verity superblock in the slot's hash partition names; for verifying a slot that was filled
 * earlier. */
int slot_data_size(const char *disk, const Slot *slot, uint64_t *ret, Error *reterr);

/* What the slot's own hash tree says about the blocks of its image. Not trusted: whoever uses it compares more. */
typedef struct SlotTree {
        uint64_t data_size;
        uint64_t leaves; /* on the disk: a digest for each block, one behind the other */
        uint8_t salt[VERITY_SALT_SIZE];
} SlotTree;
/* REFUSAL_NOT_FOUND if the slot has no such tree, or one that does not fit into it. */
int slot_read_tree(int disk_fd, const Slot *slot, SlotTree *ret, Error *reterr);
