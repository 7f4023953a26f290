/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What of a new image can be put together from the blocks of old ones. The device asks this before it downloads, and
 * the publisher asks it to say how much that will be: the answer must be the same.
 *
 * The release's map (block-map.h) says which blocks the new image is made of, and the digests of the old ones' hash
 * trees where they are. Neither is trusted: a frame that was put together counts only with its signed digest, so that
 * old blocks that rot, or a short digest that fits another block, cost a download and no more. Memory: 8 bytes for each
 * old block (12 while it is made), 2 MiB for 1 GiB. */

#include "block-map.h"
#include "frame-index.h"

#define BLOCK_FINDER_BLOCKS_MAX ((uint64_t) 1 << 23) /* old ones */

typedef struct BlockFinder BlockFinder;

/* fd: what the old blocks are read from; borrowed. */
BlockFinder *block_finder_new(int fd);
BlockFinder *block_finder_free(BlockFinder *f);
DEFINE_CLEANUP(BlockFinder *, block_finder_free)
/* Room for the keys of so many old blocks, behind those that were added: block_map_key() of each one's digest, with
 * BLOCK_MAP_DIGEST_MAX bytes. NULL: that would be more than BLOCK_FINDER_BLOCKS_MAX. */
uint32_t *block_finder_room(BlockFinder *f, uint64_t n_blocks);
/* The keys in the room are those of the image that begins there. Of blocks that are in several images the first one's
 * is used. */
void block_finder_add(BlockFinder *f, uint64_t offset, uint64_t n_blocks);
/* Once all are added. False: there are none. */
bool block_finder_sort(BlockFinder *f);
/* The map of the new image; taken over. Before it nothing is found. */
void block_finder_set_map(BlockFinder *f, BlockMap *map);
/* The bytes of the new image at the offset, a multiple of 4096, if they can be had from here; NULL: not. Borrowed until
 * the next call. The answer depends on the calls before: ask in ascending order. */
const void *block_finder_find(BlockFinder *f, uint64_t offset, size_t size, const Sha256 *sha256);

/* Where an old block stands that is the new image's n-th one by what the map says; nothing is read or compared. False:
 * there is none. The answer depends on the calls before: ask in ascending order. */
bool block_finder_seek(BlockFinder *f, size_t n, uint64_t *ret_offset);

/* From the image itself what a device reads in its hash tree: adds the image of so many bytes at the start of fd. */
int block_finder_add_image(BlockFinder *f, int fd, uint64_t size, const Sha256 *salt, Error *reterr);
/* Bytes of the frames that cannot be had from old blocks: what has to be downloaded of the pack. */
uint64_t block_finder_missing(BlockFinder *f, const FrameIndex *index);
