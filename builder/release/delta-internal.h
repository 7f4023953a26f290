/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of delta-make.h share: an image as files with places, and the plan, which says for each stretch of the
 * new image where it comes from. */

#include "delta-decode.h"
#include "delta-make.h"
#include "erofs-extents.h"
#include "pe.h"
#include "recompress.h"

#define DELTA_BLOCK_SIZE ((uint64_t) 4096)
#define DELTA_NONE UINT32_MAX

/* --- images (delta-image.c) ------------------------------------------------------------------------------------ */

/* A stretch of an image and the content it holds. Packed: one cluster of lz4, or one segment of zstd. */
typedef struct DeltaExtent {
        uint64_t physical, stored;
        uint64_t offset, size; /* in the file */
        uint32_t file;
        bool packed;
        uint8_t place; /* of a segment */
} DeltaExtent;

typedef struct DeltaFile {
        const char *path; /* borrowed; "" for what belongs to no file */
        uint64_t size;
        uint32_t first, n_extents; /* in DeltaImage.extents, by offset; holes have none */
        DeltaArea area;
} DeltaFile;

typedef struct DeltaImage {
        const uint8_t *data; /* mapped */
        uint64_t size;
        ErofsExtents *erofs; /* of these two the one that it is, if any */
        PeImage pe;
        struct DeltaInitrd *initrd; /* of a kernel image; each of its frames is a file of the image. NULL: none */
        DeltaFile *files;           /* the first one is all that belongs to no file */
        uint32_t n_files;
        DeltaExtent *extents; /* file after file */
        uint32_t n_extents;
        uint32_t *places; /* the extents by physical place; together they are the image */
} DeltaImage;

DeltaImage *delta_image_free(DeltaImage *m);
DEFINE_CLEANUP(DeltaImage *, delta_image_free)
int delta_image_open(const DeltaInput *in, bool usr, DeltaImage **ret, Error *reterr);
/* Content of a file, of which size bytes from offset must be there. Holes are zeros. */
int delta_image_read(const DeltaImage *m, uint32_t file, uint64_t offset, size_t size, void *ret, Error *reterr);
/* The first extent of a file that ends behind offset; f->first + f->n_extents if none. */
uint32_t delta_image_find(const DeltaImage *m, uint32_t file, uint64_t offset);

/* --- pairs (delta-pair.c) -------------------------------------------------------------------------------------- */

/* For each file of the new image the one of the old image that it was, or DELTA_NONE. Owned. */
uint32_t *delta_pair_files(const DeltaImage *old, const DeltaImage *new);

/* --- copies (delta-copy.c) ------------------------------------------------------------------------------------- */

#define DELTA_NO_COPY UINT64_MAX

/* For each block of the new image the offset of the same block in the old image, or DELTA_NO_COPY; runs are kept
 * together. Owned. */
uint64_t *delta_find_copies(const DeltaImage *old, const DeltaImage *new);

typedef struct DeltaRun {
        uint64_t offset, size, source;
} DeltaRun;

typedef struct DeltaRuns {
        DeltaRun *items; /* by offset, without overlap */
        size_t n, n_allocated;
} DeltaRuns;
void delta_runs_done(DeltaRuns *l);
/* The same for bytes at any offset: long stretches only. */
void delta_find_runs(const DeltaImage *old, const DeltaImage *new, DeltaRuns *ret);

/* --- the plan (delta-plan.c) --------------------------------------------------------------------- */

/* A stretch of the new image that is treated alike: part of an extent that is stored plain, or one cluster or segment.
 */
typedef struct DeltaAtom {
        uint64_t physical, stored;
        uint64_t offset, size; /* in the file */
        uint64_t source;       /* DELTA_NO_COPY: it is new */
        uint32_t file;
        bool packed;
        uint8_t place; /* of a segment */
} DeltaAtom;

/* An operation in the making. */
typedef struct DeltaStep {
        DeltaKind kind;
        uint64_t offset, size;
        uint64_t source;                /* COPY */
        uint32_t first_atom, n_atoms;   /* the others: what it makes */
        uint32_t first_range, n_ranges; /* and with what before it */
        uint32_t first_old, n_old;      /* clusters of the ranges, if any is packed */
        DeltaArea area;
} DeltaStep;

typedef struct DeltaPlan {
        const DeltaImage *old, *new; /* borrowed */
        uint32_t unit;
        uint64_t cluster_size; /* the largest that may be made and unpacked; 0: none at all */
        DeltaAtom *atoms;
        size_t n_atoms, n_atoms_allocated;
        DeltaStep *steps;
        size_t n_steps, n_steps_allocated;
        DeltaRange *ranges;
        size_t n_ranges, n_ranges_allocated;
        DeltaCluster *clusters; /* of the old image */
        size_t n_clusters, n_clusters_allocated;
} DeltaPlan;

DeltaPlan *delta_plan_free(DeltaPlan *p);
DEFINE_CLEANUP(DeltaPlan *, delta_plan_free)
DeltaPlan *delta_plan_make(const DeltaImage *old, const DeltaImage *new, const DeltaOptions *opt);

/* --- operations (delta-encode.c) ------------------------------------------------------------------------------- */

typedef struct DeltaEncoder DeltaEncoder;

int delta_encoder_new(const DeltaPlan *p, const Delta *d, DeltaEncoder **ret, Error *reterr);
DeltaEncoder *delta_encoder_free(DeltaEncoder *e);
DEFINE_CLEANUP(DeltaEncoder *, delta_encoder_free)

/* One step as bytes, for a parallel worker: an EncodedOp, its new clusters, its payload. It was decoded again. */
typedef struct EncodedOp {
        DeltaKind kind;
        uint32_t payload_size, n_new, content;
        uint8_t properties;
        uint8_t digest[DELTA_DIGEST_SIZE];
} EncodedOp;
int delta_encode(DeltaEncoder *e, const DeltaStep *s, Buffer *ret, Error *reterr);
