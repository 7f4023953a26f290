/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* dm-verity hash trees (kernel Documentation/admin-guide/device-mapper/verity.rst; on-disk format of cryptsetup,
 * version 1, SHA-256, 4096-byte data and hash blocks), made and checked through libcryptsetup on plain files, without
 * device-mapper. */

#include "hash.h"

#define VERITY_BLOCK_SIZE 4096
#define VERITY_SALT_SIZE 32

typedef struct VerityOptions {
        uint8_t salt[VERITY_SALT_SIZE];
        uint8_t uuid[16];
} VerityOptions;

/* data_size must be a multiple of 4096. The hash file is created or replaced. */
int verity_format(const char *data_path, uint64_t data_size, const char *hash_path, const VerityOptions *opt,
                  Sha256 *ret_root, Error *reterr);
/* REFUSAL_HASH_MISMATCH with the position of the first bad block. */
int verity_verify(const char *data_path, const char *hash_path, const Sha256 *root, Error *reterr);
/* The same tree by our own code, for streaming use and as a cross-check: root hash of size bytes at offset of fd. */
int verity_root_hash(int fd, uint64_t offset, uint64_t size, const uint8_t salt[static VERITY_SALT_SIZE], Sha256 *ret,
                     Error *reterr);
/* The same, and superblock and tree are written at hash_offset of hash_fd, the bytes that verity_format() would write.
 * Not synced. */
int verity_write_tree(int data_fd, uint64_t data_offset, uint64_t data_size, int hash_fd, uint64_t hash_offset,
                      const VerityOptions *opt, Sha256 *ret, Error *reterr);
/* What the superblock at offset says; REFUSAL_BAD_FORMAT if there is none of our kind (version 1, SHA-256, blocks of
 * 4096 bytes, a salt of 32). */
int verity_read_superblock(int fd, uint64_t offset, uint64_t *ret_data_size, VerityOptions *ret_options, Error *reterr);
/* The digest of one data block, and of one of the tree: SHA-256 over salt and block. The hasher is left as it was. */
void verity_block_digest(Hasher *hasher, const uint8_t salt[static VERITY_SALT_SIZE], const void *block, Sha256 *ret);
/* REFUSAL_BAD_VALUE for what is empty or no multiple of the block size. */
int verity_check_size(uint64_t size, Error *reterr);
/* Bytes that superblock and tree take for a data size. */
uint64_t verity_hash_size(uint64_t data_size);
/* Where, from the superblock, the digests of the data's blocks begin: SHA-256 over salt and block, one behind the
 * other. Only for more than one block: the digest of a single one is the root hash, and stands nowhere. */
uint64_t verity_leaf_offset(uint64_t data_size);
/* Discoverable Partitions Specification: partition ids from the root hash, first and second half, as 36-character text.
 */
void verity_partition_ids(const Sha256 *root, char ret_data[static 37], char ret_hash[static 37]);
