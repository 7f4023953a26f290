/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A delta (common/delta/delta.h) put to work: first whatever needs no network (copies, and a look at what is there and
 * what the old image still has), then the payloads of the operations that remain, each decoded by a process of its own
 * (decode.h).
 *
 * What an earlier attempt got done is found in the target itself. Nothing that comes out is trusted: operations have
 * digests of their own, and whoever asked compares the whole. */

#include "delta-old.h"
#include "download.h"

typedef struct DeltaApply {
        const FetchOptions *options;
        const Offer *offer;
        size_t delta; /* of the offer's description */
        DeltaOld *old;
        uint64_t unit; /* that the delta must have */
        /* The target, of the new image's size. read fails where nothing is. */
        int (*read)(uint64_t offset, void *data, size_t size, void *userdata, Error *reterr);
        int (*write)(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr);
        /* "reuse" or "download"; may be NULL. */
        void (*progress)(const char *step, uint64_t done, uint64_t total, void *userdata);
        void *userdata;
} DeltaApply;

typedef struct DeltaOutcome {
        uint64_t downloaded; /* also after a failure */
        uint64_t missing;    /* bytes of the target that could not be made */
        uint64_t made;       /* bytes of it that were made, now or earlier */
} DeltaOutcome;

/* 0: all of it was made; 1: not all of it, but it has come to an end: the old image or the payload is damaged. */
int delta_apply(const DeltaApply *a, DeltaOutcome *ret, Error *reterr);
