/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Hash trees of dm-verity: SHA-256 over salt and block, digests packed 128 to a hash block, level on level until one
 * digest is left. On disk a superblock comes first, then the levels, the top one first. */

#include <endian.h>

#include "io.h"
#include "verity.h"

#define DIGESTS_PER_BLOCK (VERITY_BLOCK_SIZE / SHA256_SIZE)
/* 128^8 blocks are more than 2^64 bytes can hold. */
#define LEVELS_MAX 8
#define READ_SIZE ((size_t) 256 * VERITY_BLOCK_SIZE)

typedef struct Level {
        uint8_t block[VERITY_BLOCK_SIZE];
        size_t used;
        uint64_t position; /* of its next block, when the tree is written */
} Level;

typedef struct HashTree {
        Hasher *hasher;
        const uint8_t *salt;
        Level levels[LEVELS_MAX + 1];
        size_t n_levels;
        int write_fd; /* below zero: only the root hash is wanted */
        int write_error;
        Error *reterr;
} HashTree;

/* cryptsetup's struct verity_sb, as in its on-disk format version 1. */
typedef struct Superblock {
        uint8_t signature[8];
        uint32_t version, hash_type;
        uint8_t uuid[16];
        char algorithm[32];
        uint32_t data_block_size, hash_block_size;
        uint64_t data_blocks;
        uint16_t salt_size;
        uint8_t unused_1[6];
        uint8_t salt[256];
        uint8_t unused_2[168];
} Superblock;
_Static_assert(sizeof(Superblock) == 512, "the superblock has a sector");

static const uint8_t superblock_signature[8] = { 'v', 'e', 'r', 'i', 't', 'y' };

int verity_check_size(uint64_t size, Error *reterr) {
        if (size == 0 || size % VERITY_BLOCK_SIZE != 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "a dm-verity image must be a multiple of %d bytes and not empty, not %" PRIu64
                                 " bytes",
                                 VERITY_BLOCK_SIZE, size);
        return 0;
}

static void add_digest(HashTree *t, size_t level, const Sha256 *digest);

void verity_block_digest(Hasher *hasher, const uint8_t salt[static VERITY_SALT_SIZE], const void *block, Sha256 *ret) {
        hasher_update(hasher, salt, VERITY_SALT_SIZE);
        hasher_update(hasher, block, VERITY_BLOCK_SIZE);
        hasher_final(hasher, ret);
}

/* A full block goes up when the next digest comes and not before, so that the single top digest stays where it is. */
static void flush_level(HashTree *t, size_t level) {
        Level *l = t->levels + level;
        Sha256 digest;

        memset(l->block + l->used, 0, sizeof(l->block) - l->used);
        l->used = 0;
        if (t->write_fd >= 0 && t->write_error >= 0) {
                t->write_error = io_pwrite_all(t->write_fd, l->block, sizeof(l->block), l->position, t->reterr);
                l->position += VERITY_BLOCK_SIZE;
        }
        verity_block_digest(t->hasher, t->salt, l->block, &digest);
        add_digest(t, level + 1, &digest);
}

static void add_digest(HashTree *t, size_t level, const Sha256 *digest) {
        Level *l = t->levels + level;

        if (l->used == sizeof(l->block))
                flush_level(t, level);
        memcpy(l->block + l->used, digest->bytes, SHA256_SIZE);
        l->used += SHA256_SIZE;
        t->n_levels = MAX(t->n_levels, level + 1);
}

static void hash_tree_freep(HashTree **t) {
        if (*t)
                hasher_free((*t)->hasher);
        free(*t);
}

static HashTree *hash_tree_new(const uint8_t *salt, int write_fd, Error *reterr) {
        HashTree *t = xnew(HashTree, 1);

        t->hasher = hasher_new();
        t->salt = salt;
        t->write_fd = write_fd;
        t->reterr = reterr;
        return t;
}

static int hash_data(HashTree *t, int fd, uint64_t offset, uint64_t size, Sha256 *ret, Error *reterr) {
        _cleanup_free_ uint8_t *buffer = xmalloc(READ_SIZE);
        int r;

        while (size > 0) {
                size_t n = (size_t) MIN(size, (uint64_t) READ_SIZE);

                r = io_pread_all(fd, buffer, n, offset, reterr);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < n; i += VERITY_BLOCK_SIZE) {
                        Sha256 digest;

                        verity_block_digest(t->hasher, t->salt, buffer + i, &digest);
                        add_digest(t, 0, &digest);
                }
                if (t->write_error < 0)
                        return t->write_error;
                offset += n;
                size -= n;
        }
        /* Each level that holds more than one digest, the lowest first, becomes a block of the level above. */
        for (size_t level = 0; level + 1 < t->n_levels || t->levels[level].used > SHA256_SIZE; level++)
                flush_level(t, level);
        if (t->write_error < 0)
                return t->write_error;
        memcpy(ret->bytes, t->levels[t->n_levels - 1].block, SHA256_SIZE);
        return 0;
}

int verity_root_hash(int fd, uint64_t offset, uint64_t size, const uint8_t salt[static VERITY_SALT_SIZE], Sha256 *ret,
                     Error *reterr) {
        _cleanup_(hash_tree_freep) HashTree *t = hash_tree_new(salt, -1, reterr);
        int r;

        r = verity_check_size(size, reterr);
        if (r < 0)
                return r;
        return hash_data(t, fd, offset, size, ret, reterr);
}

/* The top level lies first, behind the superblock; each level has one block for 128 of the level below it. */
static void place_levels(HashTree *t, uint64_t data_blocks, uint64_t offset) {
        uint64_t blocks[LEVELS_MAX + 1] = {};
        uint64_t n = data_blocks;
        size_t levels = 0;

        while (n > 1) {
                n = n / DIGESTS_PER_BLOCK + (n % DIGESTS_PER_BLOCK != 0);
                blocks[levels++] = n;
        }
        while (levels > 0) {
                levels--;
                t->levels[levels].position = offset;
                offset += blocks[levels] * VERITY_BLOCK_SIZE;
        }
}

uint64_t verity_leaf_offset(uint64_t data_size) {
        uint64_t n = data_size / VERITY_BLOCK_SIZE;

        n = n / DIGESTS_PER_BLOCK + (n % DIGESTS_PER_BLOCK != 0);
        return verity_hash_size(data_size) - n * VERITY_BLOCK_SIZE;
}

static int write_superblock(int fd, uint64_t offset, uint64_t data_size, const VerityOptions *opt, Error *reterr) {
        _cleanup_free_ uint8_t *block = xcalloc(1, VERITY_BLOCK_SIZE);
        Superblock s = { .version = htole32(1),
                         .hash_type = htole32(1),
                         .algorithm = "sha256",
                         .data_block_size = htole32(VERITY_BLOCK_SIZE),
                         .hash_block_size = htole32(VERITY_BLOCK_SIZE),
                         .data_blocks = htole64(data_size / VERITY_BLOCK_SIZE),
                         .salt_size = htole16(VERITY_SALT_SIZE) };

        memcpy(s.signature, superblock_signature, sizeof(s.signature));
        memcpy(s.uuid, opt->uuid, sizeof(s.uuid));
        memcpy(s.salt, opt->salt, VERITY_SALT_SIZE);
        memcpy(block, &s, sizeof s);
        return io_pwrite_all(fd, block, VERITY_BLOCK_SIZE, offset, reterr);
}

int verity_write_tree(int data_fd, uint64_t data_offset, uint64_t data_size, int hash_fd, uint64_t hash_offset,
                      const VerityOptions *opt, Sha256 *ret, Error *reterr) {
        _cleanup_(hash_tree_freep) HashTree *t = hash_tree_new(opt->salt, hash_fd, reterr);
        int r;

        r = verity_check_size(data_size, reterr);
        if (r < 0)
                return r;
        place_levels(t, data_size / VERITY_BLOCK_SIZE, hash_offset + VERITY_BLOCK_SIZE);
        r = hash_data(t, data_fd, data_offset, data_size, ret, reterr);
        if (r < 0)
                return r;
        return write_superblock(hash_fd, hash_offset, data_size, opt, reterr);
}

int verity_read_superblock(int fd, uint64_t offset, uint64_t *ret_data_size, VerityOptions *ret_options,
                           Error *reterr) {
        VerityOptions options = {};
        uint64_t size;
        Superblock s;
        int r;

        r = io_pread_all(fd, &s, sizeof s, offset, reterr);
        if (r < 0)
                return r;
        if (memcmp(s.signature, superblock_signature, sizeof s.signature) != 0 || le32toh(s.version) != 1 ||
            le32toh(s.hash_type) != 1 || strncmp(s.algorithm, "sha256", sizeof s.algorithm) != 0 ||
            le32toh(s.data_block_size) != VERITY_BLOCK_SIZE || le32toh(s.hash_block_size) != VERITY_BLOCK_SIZE ||
            le16toh(s.salt_size) != VERITY_SALT_SIZE || le64toh(s.data_blocks) == 0 ||
            __builtin_mul_overflow(le64toh(s.data_blocks), (uint64_t) VERITY_BLOCK_SIZE, &size))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "there is no hash tree of a kind that is known");
        memcpy(options.salt, s.salt, VERITY_SALT_SIZE);
        memcpy(options.uuid, s.uuid, sizeof options.uuid);
        *ret_data_size = size;
        *ret_options = options;
        return 0;
}
