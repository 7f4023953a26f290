/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a pack is made of (sealab-repository(5)): the image in pieces of one size, each of them an independent zstd
 * frame. With the signed index a device begins at any frame, knows each one's place in the pack, and checks each before
 * it reaches the disk.
 *
 *     "SEALABF1"                      8 bytes
 *     image size                      8 bytes, little endian, as all numbers
 *     frame size                      4 bytes: bytes of the image in each frame but the last, a multiple of 4096
 *     number of frames                4 bytes: image size / frame size, rounded up
 *     for each: packed size           4 bytes
 *               SHA-256 of its bytes of the image    32 bytes */

#include "hash.h"

#define FRAME_INDEX_MAGIC "SEALABF1"
#define FRAME_INDEX_HEADER_SIZE 24
#define FRAME_INDEX_ENTRY_SIZE 36
#define FRAME_SIZE_MIN ((uint32_t) 4096)
#define FRAME_SIZE_MAX ((uint32_t) 4 << 20) /* a device holds one decoded frame and its packed form in memory */
#define FRAME_INDEX_FRAMES_MAX ((uint32_t) 1 << 20)

typedef struct Frame {
        uint64_t packed_offset; /* in the pack */
        uint32_t packed_size;
        Sha256 sha256;
} Frame;

typedef struct FrameIndex {
        uint64_t image_size;
        uint32_t frame_size;
        Frame *frames;
        size_t n_frames;
        uint64_t packed_size; /* of the whole pack */
} FrameIndex;

/* REFUSAL_BAD_FORMAT, REFUSAL_TOO_LARGE. A packed frame may be larger than its content only by what zstd's bound
 * allows. */
int frame_index_parse(const void *data, size_t size, const char *what, FrameIndex **ret, Error *reterr);
void frame_index_format(const FrameIndex *index, Buffer *ret);
FrameIndex *frame_index_free(FrameIndex *index);
DEFINE_CLEANUP(FrameIndex *, frame_index_free)
/* An empty one with room for the frames of an image. */
FrameIndex *frame_index_new(uint64_t image_size, uint32_t frame_size);
/* Bytes of the image that frame i holds. */
uint32_t frame_index_size(const FrameIndex *index, size_t i);
/* Sets packed_offset of each frame and packed_size from the frames' sizes. REFUSAL_TOO_LARGE if the sum does not fit.
 */
int frame_index_sum(FrameIndex *index, Error *reterr);
