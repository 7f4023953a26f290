/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From one file to another: the operations that make a new image out of an old one, sealab-delta(5). A delta is a head
 * and a payload behind it. The head, which is signed by itself, says everything that is to be done; the payload is the
 * compressed bytes of those operations that bring something new, in their order, so that a device that has some of the
 * output already asks for the rest only.
 *
 *     COPY         bytes of the old image
 *     PATCH        LZMA, with ranges of the old image as what came before: its window
 *     RECOMPRESS   the same for what packed clusters contain; the device unpacks the old ones for the window and packs
 *                  the new ones: clusters of lz4 in an EROFS image (recompress.h), or segments of zstd in the initrd of
 *                  a kernel image (segment.h)
 *
 * Neither head nor payload is trusted beyond its signature: every number has a limit that follows from the sizes of the
 * two images and from the device's memory. Whether the result is right is said by the operations' digests, and in the
 * end by the digest of the whole (the root hash, or that of the file). */

#include "hash.h"

#define DELTA_MAGIC "SEALABD2"
#define DELTA_HEADER_SIZE 160
/* What an operation may need in memory on the device: window and output together make its peak. */
#define DELTA_WINDOW_MAX ((size_t) 4 << 20)
#define DELTA_PIECE_MAX ((size_t) 1 << 20)
/* Content of the clusters of one operation: with what follows them, which the encoder looks at. */
#define DELTA_CONTENT_MAX ((size_t) 2 << 20)
#define DELTA_OPS_MAX ((size_t) 1 << 16)
#define DELTA_RANGES_MAX ((size_t) 1 << 17)
#define DELTA_CLUSTERS_MAX ((size_t) 1 << 18)
#define DELTA_HEAD_MAX ((size_t) 8 << 20)
#define DELTA_TABLE_MAX ((size_t) 16 << 20)
#define DELTA_UNIT_MAX ((uint32_t) 4096)
#define DELTA_DIGEST_SIZE 8
#define DELTA_ENCODER_SIZE 32

typedef enum DeltaKind {
        DELTA_COPY,
        DELTA_PATCH,
        DELTA_RECOMPRESS,
        _DELTA_KIND_MAX,
} DeltaKind;
const char *delta_kind_name(DeltaKind k); /* "copy", "patch", "recompress" */

typedef struct DeltaRange {
        uint64_t offset, size; /* of the old image, bytes */
} DeltaRange;

/* A cluster of lz4 or a segment of zstd, in the old image or the new one. */
typedef struct DeltaCluster {
        uint32_t stored;  /* bytes in the image, a multiple of its unit */
        uint32_t content; /* bytes of the file; plain: at most stored, and the rest of stored is zeros */
        bool plain;       /* stored as it is */
        /* New ones of lz4 only. */
        uint32_t lookahead; /* bytes behind its own content that the encoder is shown */
        uint32_t skip;      /* bytes between its content and that of the next one: they were for looking at only */
        /* New ones of zstd only. */
        uint8_t place; /* SegmentPlace */
} DeltaCluster;

typedef struct DeltaOp {
        DeltaKind kind;
        uint64_t offset, size; /* of the new image, bytes; the operations cover it in order and without gaps */
        uint64_t source;       /* COPY: offset in the old image */
        /* The others: */
        uint64_t payload_offset; /* behind the head */
        uint32_t payload_size;
        uint32_t first_range, n_ranges;    /* of the old image, one after the other; none: nothing came before */
        uint32_t first_old, n_old;         /* RECOMPRESS: clusters that the ranges consist of */
        uint32_t first_new, n_new;         /* RECOMPRESS: clusters that the output consists of */
        uint32_t window;                   /* bytes that came before: of the ranges, or of the old clusters' content */
        uint32_t content;                  /* bytes that the payload unpacks to: size, or what the new clusters need */
        uint8_t properties;                /* of LZMA: (pb * 5 + lp) * 9 + lc */
        uint8_t digest[DELTA_DIGEST_SIZE]; /* the first bytes of the SHA-256 of the output */
} DeltaOp;

typedef struct Delta {
        uint64_t old_size, new_size;
        uint32_t unit;         /* offsets and sizes are multiples of it, but for the images' ends: 1 or 4096 */
        Sha256 old_id, new_id; /* of /usr: the root hash; of another file: its SHA-256 */
        char encoder[DELTA_ENCODER_SIZE]; /* RECOMPRESS_ENCODER or SEGMENT_ENCODER; empty: no RECOMPRESS in it */
        uint32_t level, cluster_size;     /* of the encoder; of segments: SEGMENT_CONTENT_MAX */
        uint64_t payload_size;
        DeltaOp *ops;
        size_t n_ops;
        DeltaRange *ranges;
        size_t n_ranges;
        DeltaCluster *clusters; /* old and new ones */
        size_t n_clusters;
} Delta;

Delta *delta_free(Delta *d);
DEFINE_CLEANUP(Delta *, delta_free)

/* What its clusters are made by. Of other versions of these encoders the head can be read as well. */
typedef enum DeltaCoding { DELTA_CODING_NONE, DELTA_CODING_LZ4, DELTA_CODING_ZSTD, _DELTA_CODING_MAX } DeltaCoding;
DeltaCoding delta_coding(const Delta *d); /* _DELTA_CODING_MAX: an encoder that nobody here has heard of */

/* The head. REFUSAL_BAD_FORMAT; REFUSAL_TOO_LARGE; REFUSAL_MACHINE: an encoder of another kind. Sets what follows from
 * other numbers: offset, payload_offset, window. */
int delta_parse(const void *data, size_t size, const char *what, Delta **ret, Error *reterr);
/* What parse would refuse is refused here, too. Sets offset, payload_offset, window and payload_size, which
 * follow; content must be right. Ranges and clusters may be shared between operations, or unused. */
int delta_format(Delta *d, Buffer *ret, Error *reterr);
/* The same without looking whether it holds, so that tests have something that does not. */
int delta_write(Delta *d, Buffer *ret, Error *reterr);

/* Bytes of the old image that an operation reads for its window: the sum of its ranges. */
size_t delta_op_old_size(const Delta *d, const DeltaOp *op);
bool delta_op_digest_is(const DeltaOp *op, const void *output);
/* The first bytes of the SHA-256. */
void delta_digest(const void *output, size_t size, uint8_t ret[DELTA_DIGEST_SIZE]);
