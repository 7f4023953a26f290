/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a packed frame to its bytes of the image (sealab-repository(5)). For a process that has nothing to lose: it
 * reads foreign bytes with zstd and LZMA. */

#include "frame-index.h"

/* Of raw LZMA, whose dictionary is as large as the largest frame. */
#define FRAME_LZMA_LC 3
#define FRAME_LZMA_LP 0
#define FRAME_LZMA_PB 2

typedef struct FrameDecoder FrameDecoder;

FrameDecoder *frame_decoder_new(void);
FrameDecoder *frame_decoder_free(FrameDecoder *d);
DEFINE_CLEANUP(FrameDecoder *, frame_decoder_free)
/* From f->packed_size bytes to f->size; their digest is the caller's to compare. REFUSAL_BAD_FORMAT unless exactly that
 * many are used and come out. Takes FRAME_SIZE_MAX and some 200 KiB. */
int frame_decode(FrameDecoder *d, const Frame *f, const void *packed, void *ret_content, Error *reterr);
