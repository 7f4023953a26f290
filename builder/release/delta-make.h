/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Makes deltas (common/delta/delta.h). What is there already is copied; what changed is compressed with its old version
 * as what came before. Old versions are found through the names of files, which only the builder knows: a device reads
 * places of its old image. Every operation is done once before it is promised, and in the end the whole delta. */

#include "delta.h"

typedef struct DeltaInput {
        int fd;           /* a regular file: borrowed, its position does not move */
        Sha256 id;        /* the caller knows it: the root hash of a /usr, else the file's SHA-256 */
        const char *name; /* for messages */
} DeltaInput;

typedef struct DeltaOptions {
        bool usr; /* EROFS images in whole blocks; otherwise files of any kind, and kernel images by their sections */
        /* How the new image was made, if that was with lz4hc (release.h); otherwise 0. */
        unsigned level;
        size_t cluster_size;
        size_t n_workers; /* 0: one for each processor; the bytes do not depend on it */
        void (*progress)(uint64_t done, uint64_t total, void *userdata); /* bytes that are not copied; may be NULL */
        void *userdata;
} DeltaOptions;

typedef enum DeltaArea {
        DELTA_AREA_METADATA, /* what an image needs besides contents; headers of a kernel image */
        DELTA_AREA_FILES,
        DELTA_AREA_MODULES, /* of the kernel; in a kernel image the kernel itself */
        _DELTA_AREA_MAX,
} DeltaArea;
const char *delta_area_name(DeltaArea a); /* "metadata", "files", "modules" */

typedef struct DeltaCost {
        size_t n_ops;
        uint64_t size;    /* of the new image, bytes */
        uint64_t payload; /* of it in the delta */
} DeltaCost;

typedef struct DeltaResult {
        uint64_t head_size, payload_size; /* of the delta: the head, then the payload */
        Sha256 head_sha256;
        DeltaCost kinds[_DELTA_KIND_MAX];
        DeltaCost areas[_DELTA_AREA_MAX]; /* without what is copied */
} DeltaResult;

/* Writes the delta from the start of fd, which is empty. REFUSAL_BAD_FORMAT if an image cannot be read;
 * REFUSAL_TOO_LARGE if it takes more than a delta may have; REFUSAL_DIFFERENT if what was made does not make the new
 * image. */
int delta_make(const DeltaInput *old, const DeltaInput *new, const DeltaOptions *opt, int fd, DeltaResult *ret,
               Error *reterr);
