/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The clusters of an EROFS image with lz4hc, made again on the device. What liberofs writes into one is decided by the
 * content of the file from there on, by the encoder and its level, and by the largest size of a cluster. A delta
 * therefore changes the content and names the lengths only; the same encoder makes the same bytes of it.
 *
 * (Making the whole image again from the old one with liberofs gives the same bytes, too, but takes 13.5 CPU seconds
 * and 56 MB for a /usr of 677 MB, where a device has 16 MiB to spend and few files have changed.)
 *
 * Whoever makes a delta tries each cluster before it promises it: some depend on content far behind their own, which
 * the device shall not have to have. A context takes 262 KiB and a cluster. */

#include "error.h"

/* Decides the bytes, so a delta names it. The level and the size of a cluster do, too, and vary. */
#define RECOMPRESS_ENCODER "lz4hc-1.10.0"

#define RECOMPRESS_LEVEL_MAX 12
#define RECOMPRESS_BLOCK_SIZE 4096
#define RECOMPRESS_CLUSTER_MAX ((size_t) 1 << 20)
/* liberofs never offers the encoder more content than this, so that no cluster has more. */
#define RECOMPRESS_CONTENT_MAX ((size_t) 8000 << 10)
/* Content behind the cluster's own that should be offered with it: the encoder looks for the longest of several matches
 * and does not see that the cluster ends. With a block more all 19,515 clusters of a /usr came out, with 16 bytes all
 * but 102, with none 880 did not. */
#define RECOMPRESS_LOOKAHEAD ((size_t) RECOMPRESS_BLOCK_SIZE)

typedef struct RecompressOptions {
        unsigned level;      /* 1 to 12 */
        size_t cluster_size; /* the largest of the image: a multiple of RECOMPRESS_BLOCK_SIZE, up to _CLUSTER_MAX */
} RecompressOptions;

typedef struct Recompress Recompress;

/* REFUSAL_BAD_VALUE for other options. */
int recompress_new(const RecompressOptions *opt, Recompress **ret, Error *reterr);
Recompress *recompress_free(Recompress *c);
DEFINE_CLEANUP(Recompress *, recompress_free)

/* How much content to offer for the cluster with content_size bytes at offset of a file: up to lookahead bytes more,
 * but never beyond the end of the segment, of which liberofs makes clusters without looking at the next. 0 if there is
 * no such cluster. Both sides count with this function. */
size_t recompress_available(uint64_t file_size, uint64_t offset, size_t content_size, size_t lookahead);

/* Makes one cluster of the first content_size of available bytes. ret_stored has stored_size bytes: zeros, then LZ4.
 * REFUSAL_DIFFERENT if another number of bytes of content, or of blocks, comes out; REFUSAL_BAD_VALUE if the sizes are
 * impossible. Nothing is written behind ret_stored; after a failure, it holds garbage. */
int recompress_cluster(Recompress *c, const void *content, size_t available, size_t content_size, void *ret_stored,
                       size_t stored_size, Error *reterr);

/* The opposite, with nothing trusted: REFUSAL_BAD_FORMAT unless the cluster has exactly content_size bytes of content.
 */
int recompress_unpack(const void *stored, size_t stored_size, void *ret_content, size_t content_size, Error *reterr);

/* Whether this program's encoder is RECOMPRESS_ENCODER at this level, by a known answer; 10 to 50 milliseconds.
 * REFUSAL_MACHINE if not: there are other ways to update. */
int recompress_self_test(unsigned level, Error *reterr);
