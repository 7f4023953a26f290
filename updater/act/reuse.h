/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Parts of a new image from what a slot already holds (block-finder.h): the slot's hash tree says what its blocks are,
 * so that nothing of the slot is hashed to find them. */

#include "block-map.h"
#include "fetch.h"
#include "slot.h"

typedef struct Reuse Reuse;

/* Reads the hash trees of the slots that hold something, but for the one that is to be written. NULL in *ret: none of
 * them has this salt. What is above BLOCK_FINDER_BLOCKS_MAX is not looked at. */
int reuse_open(const Machine *m, const Slot *target, const Sha256 *salt, Reuse **ret, Error *reterr);
Reuse *reuse_free(Reuse *r);
DEFINE_CLEANUP(Reuse *, reuse_free)
/* The map of the new image; taken over. Before it nothing is found. */
void reuse_set_map(Reuse *r, BlockMap *map);
/* The bytes of the new image at the offset, a multiple of 4096, if they can be had from here; NULL: not. Borrowed until
 * the next call. Cheapest in ascending order. */
const void *reuse_find(Reuse *r, uint64_t offset, size_t size, const Sha256 *sha256);

/* All of the above for an offer: looks at the slots, and only if something is there downloads the map. NULL in *ret:
 * everything is to be fetched, because the release has no map, nothing can be taken from any slot, or the map cannot be
 * had; the latter is logged. Only what would stop every other download too is an error. *ret_downloaded: bytes, in any
 * case. */
int reuse_prepare(const FetchOptions *opt, const Offer *offer, const Machine *m, const Slot *target, Reuse **ret,
                  uint64_t *ret_downloaded, Error *reterr);
