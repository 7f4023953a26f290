/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The initrd of a kernel image as what it contains: frames made of segments (segment.h), each an archive (cpio) of
 * files. A frame of the new image looks at those old frames that have its files. */

#include "delta-internal.h"

typedef struct DeltaSegment {
        uint64_t physical, stored; /* in the section; zeros behind a frame count as its last segment's */
        uint64_t offset, size;     /* in the frame's content */
        uint32_t frame;
        uint8_t place; /* SegmentPlace */
} DeltaSegment;

typedef struct DeltaInitrd {
        Buffer bytes;       /* the content of all frames, one after the other */
        DeltaImage content; /* the same; its files are the archives' entries with their headers, in order */
        uint64_t *frames;   /* where each begins in it, and where the last one ends */
        uint32_t n_frames;
        DeltaSegment *segments; /* in order */
        uint32_t n_segments;
        uint64_t size;       /* of the section: what the frames take, from its beginning */
        uint32_t first_file; /* of the image: that of the first frame */
} DeltaInitrd;

/* NULL if the section does not begin with such a frame. What comes behind the last one is left to others. */
DeltaInitrd *delta_initrd_read(const void *data, size_t size);
DeltaInitrd *delta_initrd_free(DeltaInitrd *i);
DEFINE_CLEANUP(DeltaInitrd *, delta_initrd_free)

/* Calls found for each part of an old frame (a file of the old image) that holds what size bytes from offset on of a
 * new one were made of. pairs: of the entries of both. margin: how far around it to look in entries that are large. */
typedef struct DeltaInitrdRange {
        uint32_t file; /* of the new image */
        uint64_t offset, size, margin;
} DeltaInitrdRange;
void delta_initrd_look(const DeltaInitrd *old, const DeltaInitrd *new, const uint32_t *pairs,
                       const DeltaInitrdRange *of,
                       void (*found)(uint32_t file, uint64_t begin, uint64_t end, void *userdata), void *userdata);
