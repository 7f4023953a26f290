/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* zstd frames that can be made again piece by piece. The initrd of a kernel image is a row of cpio archives, each in a
 * frame of its own, because the kernel wants an archive to end where a frame does; and some are far larger than what a
 * device can work on at once. So a frame is cut into segments, each of which is packed as if nothing came before it:
 *
 *     segment   blocks that hold SEGMENT_CONTENT_MAX bytes of content, the frame's last one fewer
 *     first     has the frame's header before its blocks: always the same six bytes
 *     last      its last block ends the frame; zeros behind it count as its own
 *
 * A segment's bytes are decided by its content, by its place in the frame, by the encoder and by the level. */

#include "error.h"

/* Decides the bytes, so a delta names it. The level does, too, and varies. */
#define SEGMENT_ENCODER "zstd-1.5.7"

#define SEGMENT_CONTENT_MAX ((size_t) 256 << 10)
/* What cannot be packed becomes a little larger; zeros fill the block of 4096 bytes that the last segment ends in. */
#define SEGMENT_STORED_MAX (SEGMENT_CONTENT_MAX + 8192)
/* Of the initrds that are built. 16 would make them 1.3 percent smaller, and take 1 MiB more and a third more time on
 * the device as well. */
#define SEGMENT_LEVEL 14

/* The first bytes of a frame: no checksum, no size of the content, a window of SEGMENT_CONTENT_MAX. */
#define SEGMENT_HEADER "\x28\xb5\x2f\xfd\x00\x40"
#define SEGMENT_HEADER_SIZE 6
/* Lower levels of this zstd find matches by a hash that depends on what the encoder did before. */
#define SEGMENT_LEVEL_MIN 13
#define SEGMENT_LEVEL_MAX 19

typedef enum SegmentPlace { SEGMENT_INSIDE = 0, SEGMENT_FIRST = 1, SEGMENT_LAST = 2 } SegmentPlace; /* or both */

typedef struct SegmentEncoder SegmentEncoder;

/* Takes 4.3 MiB at level 14. REFUSAL_BAD_VALUE for another level. */
int segment_encoder_new(unsigned level, SegmentEncoder **ret, Error *reterr);
SegmentEncoder *segment_encoder_free(SegmentEncoder *c);
DEFINE_CLEANUP(SegmentEncoder *, segment_encoder_free)

/* Packs 1 to SEGMENT_CONTENT_MAX bytes into ret, which has room for SEGMENT_STORED_MAX; *ret_size without zeros. */
int segment_pack(SegmentEncoder *c, const void *content, size_t size, unsigned place, void *ret, size_t *ret_size,
                 Error *reterr);

/* The opposite, with nothing trusted: REFUSAL_BAD_FORMAT unless what is stored begins with a segment of exactly that
 * content; what stands behind it is ignored. */
int segment_unpack(const void *stored, size_t stored_size, void *ret_content, size_t content_size, Error *reterr);

/* Whether this program's encoder is SEGMENT_ENCODER at this level, by a known answer; some 50 milliseconds.
 * REFUSAL_MACHINE if not: there are other ways to update. */
int segment_self_test(unsigned level, Error *reterr);
