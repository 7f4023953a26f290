/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a pack is made of (sealab-repository(5)): the image in pieces, each of them packed by itself. With the signed
 * index a device begins at any frame, knows each one's place in the pack, and checks each before it reaches the disk.
 *
 *     "SEALABF2"                      8 bytes
 *     image size                      a number (wire.h: LEB128), as all that follow
 *     number of frames
 *     for each: blocks of the image   of 4096 bytes; the image's last one may be a part of one
 *               packed size * 2, and 1 more if it is LZMA, not zstd
 *               SHA-256 of its bytes of the image    32 bytes */

#include "hash.h"

#define FRAME_INDEX_MAGIC "SEALABF2"
/* At most. */
#define FRAME_INDEX_HEADER_SIZE 32
#define FRAME_INDEX_ENTRY_SIZE 40
#define FRAME_BLOCK_SIZE ((uint32_t) 4096)
#define FRAME_SIZE_MAX ((uint32_t) 1 << 20) /* a device holds one decoded frame and its packed form in memory */
#define FRAME_INDEX_FRAMES_MAX ((uint32_t) 1 << 20)
#define FRAME_INDEX_SIZE_MAX (FRAME_INDEX_HEADER_SIZE + (size_t) FRAME_INDEX_FRAMES_MAX * FRAME_INDEX_ENTRY_SIZE)

typedef enum FrameCodec { FRAME_ZSTD, FRAME_LZMA } FrameCodec;

typedef struct Frame {
        uint64_t offset;        /* in the image: a multiple of FRAME_BLOCK_SIZE */
        uint64_t packed_offset; /* in the pack */
        uint32_t size, packed_size;
        FrameCodec codec;
        Sha256 sha256;
} Frame;

typedef struct FrameIndex {
        uint64_t image_size; /* that of all frames */
        Frame *frames;
        size_t n_frames, n_allocated;
        uint64_t packed_size; /* of the whole pack */
} FrameIndex;

/* REFUSAL_BAD_FORMAT, REFUSAL_TOO_LARGE. A packed frame may be larger than its content only by what zstd's bound
 * allows. */
int frame_index_parse(const void *data, size_t size, const char *what, FrameIndex **ret, Error *reterr);
void frame_index_format(const FrameIndex *index, Buffer *ret);
FrameIndex *frame_index_free(FrameIndex *index);
DEFINE_CLEANUP(FrameIndex *, frame_index_free)
/* Of an image without frames; each that is added begins where the one before it ends. */
FrameIndex *frame_index_new(void);
Frame *frame_index_add(FrameIndex *index, uint32_t size, FrameCodec codec);
/* All of a size, but for the last one. */
void frame_index_add_even(FrameIndex *index, uint64_t image_size, uint32_t frame_size, FrameCodec codec);
/* Sets packed_offset of each frame and packed_size from the frames' sizes. REFUSAL_TOO_LARGE if the sum does not fit.
 */
int frame_index_sum(FrameIndex *index, Error *reterr);
/* Sizes of the largest frame, at least 1: what a decoder needs room for. */
void frame_index_largest(const FrameIndex *index, size_t *ret_size, size_t *ret_packed_size);
