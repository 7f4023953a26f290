/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The clusters of an EROFS image with lz4hc, made again on the device: what liberofs wrote into each is decided by the
 * file's content from there on, by the encoder, and by the size of a cluster. A delta therefore changes the content and
 * names only the lengths; the bytes come out the same, if the encoder is the same (RECOMPRESS_ENCODER, self-test).
 *
 * Needs about 300 KiB besides the caller's buffers. Whoever makes a delta tries each cluster before it promises it: a
 * cluster may depend on content far behind its end, which the device shall not have to have. */

#include "error.h"

/* What the bytes depend on: part of the delta's format. Another encoder, another name. */
#define RECOMPRESS_ENCODER "lz4hc-1.10.0"

/* As in liberofs, a cluster's content offered to the encoder is never larger. */
#define RECOMPRESS_AVAILABLE_MAX ((size_t) 8000 << 10)
/* Blocks of EROFS; a cluster that is stored has a multiple of it, up to the size of a cluster. */
#define RECOMPRESS_BLOCK_SIZE 4096
#define RECOMPRESS_CLUSTER_MAX ((size_t) 1 << 20)
/* Content behind a cluster that its bytes may depend on: offered with it, it makes all but a few in 10,000. */
#define RECOMPRESS_LOOKAHEAD ((size_t) 64 << 10)

typedef struct RecompressOptions {
        unsigned level;      /* 1 to 12 */
        size_t cluster_size; /* of the image: a multiple of RECOMPRESS_BLOCK_SIZE, up to RECOMPRESS_CLUSTER_MAX */
} RecompressOptions;

typedef struct Recompress Recompress;

/* REFUSAL_BAD_VALUE for other options. */
int recompress_new(const RecompressOptions *opt, Recompress **ret, Error *reterr);
Recompress *recompress_free(Recompress *c);
DEFINE_CLEANUP(Recompress *, recompress_free)

/* Makes one cluster: the first content_size bytes of content, of which available bytes are known (cluster and what
 * follows it in the file, but not beyond the file's segment, see recompress_available), into stored_size bytes.
 * REFUSAL_DAMAGED if that does not come out: another number of bytes of content, or of blocks. */
int recompress_cluster(Recompress *c, const void *content, size_t available, size_t content_size, void *ret_stored,
                       size_t stored_size, Error *reterr);

/* What of the file's content from offset on the encoder may be shown: it works in segments, and at most lookahead bytes
 * behind the cluster's own. Both sides count with the same function. */
size_t recompress_available(uint64_t file_size, uint64_t offset, size_t content_size, size_t lookahead);

/* The opposite: content_size bytes out of one stored cluster. Neither is trusted: REFUSAL_DAMAGED if it is not exactly
 * that. */
int recompress_unpack(const void *stored, size_t stored_size, void *ret_content, size_t content_size, Error *reterr);

/* Whether this program's encoder is RECOMPRESS_ENCODER, by known answers; some milliseconds. REFUSAL_MACHINE if not:
 * who asked falls through to another way. */
int recompress_self_test(Error *reterr);
