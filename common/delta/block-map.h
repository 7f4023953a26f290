/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an image's blocks of 4096 bytes are (sealab-repository(5)): of each the first bytes of its digest in the
 * dm-verity hash tree, SHA-256 over salt and block. The salt is that of the whole image line, so that a device finds in
 * the tree of a slot it has which blocks of the new image it holds already, without hashing anything.
 *
 *     "SEALABM1"                      8 bytes
 *     image size                      8 bytes, little endian, as all numbers; a multiple of 4096
 *     bytes of each digest            4 bytes: K, 1 to 4
 *     then groups until every block of the image has its digest:
 *         number of digests           4 bytes: N, 1 or more
 *         repetitions                 4 bytes: R
 *         digests                     N * K bytes; after them the last one counts R times more
 *
 * How long must a digest be? A device takes a frame only if its SHA-256 is right, so a short digest that fits another
 * block costs bytes, never correctness: what cannot be put together is fetched. In a slot of B blocks a digest finds
 * B / 256^K wrong ones. A block that is new and seems known costs nothing, because its frame must be fetched anyway;
 * one that is known but ambiguous costs a frame only if the right one of its places is not found (reuse.h), which
 * neighbours nearly always tell. */

#include "verity.h"

#define BLOCK_MAP_MAGIC "SEALABM1"
#define BLOCK_MAP_HEADER_SIZE 20
#define BLOCK_MAP_GROUP_SIZE 8
#define BLOCK_MAP_BLOCK_SIZE VERITY_BLOCK_SIZE
#define BLOCK_MAP_DIGEST_MAX 4
#define BLOCK_MAP_BLOCKS_MAX ((uint64_t) 1 << 23) /* an image of 32 GiB: at most 32 MiB in memory */
/* One digest and a group's head for each block is more than any writer needs. */
#define BLOCK_MAP_SIZE_MAX                                                                                             \
        (BLOCK_MAP_HEADER_SIZE + BLOCK_MAP_BLOCKS_MAX * (BLOCK_MAP_GROUP_SIZE + BLOCK_MAP_DIGEST_MAX))

typedef struct BlockMap {
        uint64_t image_size;
        unsigned digest_size; /* K */
        uint8_t *digests;     /* K bytes for each block */
        size_t n_blocks;
} BlockMap;

/* With room for the digests of an image. */
BlockMap *block_map_new(uint64_t image_size, unsigned digest_size);
BlockMap *block_map_free(BlockMap *map);
DEFINE_CLEANUP(BlockMap *, block_map_free)
/* REFUSAL_BAD_FORMAT, REFUSAL_TOO_LARGE; REFUSAL_MIXED if it is not about an image of that size, which is asked before
 * memory is taken. */
int block_map_parse(const void *data, size_t size, uint64_t image_size, const char *what, BlockMap **ret,
                    Error *reterr);
void block_map_format(const BlockMap *map, Buffer *ret);
/* From the image itself. */
int block_map_build(int fd, uint64_t image_size, const uint8_t salt[static VERITY_SALT_SIZE], unsigned digest_size,
                    BlockMap **ret, Error *reterr);
/* The same with less of each digest. */
BlockMap *block_map_shorten(const BlockMap *map, unsigned digest_size);
/* The first bytes of a digest as a number, most significant byte first; of a block of the map. */
uint32_t block_map_key(const uint8_t *digest, unsigned digest_size);
uint32_t block_map_key_at(const BlockMap *map, size_t block);
