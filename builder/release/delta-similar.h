/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where in the old image something like given content stood, found by the content alone.
 *
 * Of every stretch of 32 bytes a hash is computed; those whose hash has SIMILAR_BITS zeros on top are kept, whatever
 * their place: the same content keeps the same ones wherever it stands. What is rare tells; what is in many places
 * (padding, licences) does not, and is left out. */

#include "delta-internal.h"

typedef struct DeltaSimilar DeltaSimilar;

/* Reads the files of the old image that are wanted (one bool for each). What cannot be read is not there: whoever needs
 * it will say so. */
DeltaSimilar *delta_similar_new(const DeltaImage *old, const bool *wanted);
DeltaSimilar *delta_similar_free(DeltaSimilar *s);
DEFINE_CLEANUP(DeltaSimilar *, delta_similar_free)
/* The old file that most of size bytes of a new file from offset on was part of, and where in it their middle stood;
 * DELTA_NONE if nothing says so. among: only this file of the old image; DELTA_NONE: any. */
uint32_t delta_similar_find(const DeltaSimilar *s, const DeltaImage *new, uint32_t file, uint64_t offset, size_t size,
                            uint32_t among, uint64_t *ret_middle);
