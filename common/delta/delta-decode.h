/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The work of one operation of a delta, on bytes in memory. For a process that has nothing to lose: it reads foreign
 * bytes with LZMA, lz4 and zstd. */

#include "delta.h"

typedef struct DeltaDecoder DeltaDecoder;

/* Whether this program is the encoder that the delta needs, if it needs one, by a known answer. REFUSAL_MACHINE if not.
 */
int delta_check_encoder(const Delta *d, Error *reterr);
/* d is borrowed. REFUSAL_MACHINE if the delta needs an encoder that this program is not. */
int delta_decoder_new(const Delta *d, DeltaDecoder **ret, Error *reterr);
DeltaDecoder *delta_decoder_free(DeltaDecoder *c);
DEFINE_CLEANUP(DeltaDecoder *, delta_decoder_free)

/* PATCH and RECOMPRESS: from the old image's bytes (the operation's ranges one after the other, delta_op_old_size())
 * and its payload (payload_size bytes) to its output, size bytes. REFUSAL_BAD_FORMAT or REFUSAL_DIFFERENT if that
 * cannot be: whatever is wrong, old bytes or payload. The digest is the caller's to compare. Needs at most
 * DELTA_WINDOW_MAX + DELTA_CONTENT_MAX and some 100 KiB, and for RECOMPRESS the larger of the two more, which is freed
 * between two calls only if it grows; zstd takes what a SegmentEncoder does, when LZMA needs nothing any more. */
int delta_decode(DeltaDecoder *c, const DeltaOp *op, const void *old, const void *payload, void *ret_output,
                 Error *reterr);

/* The parts of it, which the builder needs as well. */

/* The window of a RECOMPRESS: content of the old clusters, op->window bytes. */
int delta_unpack_old(const Delta *d, const DeltaOp *op, const void *old, void *ret_window, Error *reterr);
/* The output of a RECOMPRESS from its content, op->content bytes. */
int delta_pack_new(DeltaDecoder *c, const DeltaOp *op, const void *content, void *ret_output, Error *reterr);
