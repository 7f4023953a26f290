/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where the frames of a pack begin and end, from the maps of the releases before: a device fetches a frame whole when
 * one block of it is new to it, so a frame should hold blocks that came together. Measured in test/README.md. */

#include "block-map.h"
#include "frame-index.h"

/* Without anything to go by: larger ones would be fetched for one block in them, smaller ones make the index and what
 * is packed larger than what they save. */
#define PACK_FRAME_SIZE ((uint32_t) 32 << 10)
/* Of blocks that came in one of the releases that are known: whoever has none of them fetches them all. */
#define PACK_NEW_FRAME_SIZE ((uint32_t) 512 << 10)
/* Of those that all of these releases have: for full downloads, and for devices that come from before. */
#define PACK_OLD_FRAME_SIZE ((uint32_t) 128 << 10)
/* So few blocks that are older than their neighbours on both sides do not make a frame of their own: it would cost an
 * entry of the index, a request, and what the neighbours have in common. */
#define PACK_GAP_MAX 4
/* Releases that are looked at. */
#define PACK_HISTORY_MAX 8

typedef struct PackLayout PackLayout;

/* The map of the new image, with BLOCK_MAP_DIGEST_MAX bytes of each digest; borrowed. */
PackLayout *pack_layout_new(const BlockMap *map);
PackLayout *pack_layout_free(PackLayout *l);
DEFINE_CLEANUP(PackLayout *, pack_layout_free)
/* The newest release comes first. */
void pack_layout_add(PackLayout *l, const BlockMap *older);
/* The frames, with sizes of their content only: LZMA for what is new since one of the releases, zstd, which is faster
 * to unpack, for what all of them have. */
FrameIndex *pack_layout_frames(PackLayout *l);
