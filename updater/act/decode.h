/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The operations of a delta, worked on by a process without network and files (worker.h): LZMA, lz4 and zstd see
 * foreign bytes only there. Both sides share one piece of memory, as large as the largest operation needs; nothing else
 * passes between them, and the output is copied out of it before anybody looks at it. */

#include "delta.h"

typedef struct Decode Decode;

/* d is borrowed. The process is started when it is needed. */
int decode_new(const Delta *d, Decode **ret, Error *reterr);
Decode *decode_free(Decode *c);
DEFINE_CLEANUP(Decode *, decode_free)

/* Where the old bytes of an operation go (delta_op_old_size()), and its payload. The places are those of this operation
 * only. */
void *decode_old(Decode *c, const DeltaOp *op);
void *decode_payload(Decode *c, const DeltaOp *op);
/* The output, borrowed until the next call; it has the operation's digest. REFUSAL_HASH_MISMATCH: these bytes do not
 * give it. REFUSAL_MACHINE: this program cannot do what this delta needs. */
int decode_run(Decode *c, const DeltaOp *op, const void **ret_output, Error *reterr);
