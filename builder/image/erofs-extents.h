/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where an EROFS image keeps the contents of its files: what a delta between two images pairs up. */

#include "error.h"

/* Extents of one image. A limit on memory (one takes 40 bytes), far above what a /usr has. */
#define EROFS_EXTENTS_MAX ((size_t) 4 << 20)

typedef enum ErofsExtentKind {
        EROFS_EXTENT_PLAIN,  /* stored as it is; the rest of its last block is whatever the writer left there: zeros */
        EROFS_EXTENT_LZ4,    /* one physical cluster: zeros, then LZ4 up to its end */
        EROFS_EXTENT_INLINE, /* stored as it is, inside the metadata */
        EROFS_EXTENT_HOLE,   /* zeros that take no place */
} ErofsExtentKind;

typedef struct ErofsExtent {
        uint64_t offset, size;     /* in the file */
        uint64_t physical, stored; /* in the image: whole blocks; but the very bytes if inline, and 0, 0 for a hole */
        ErofsExtentKind kind;
} ErofsExtent;

/* A regular file, under the first of its names in the order of the folders. Its extents follow each other without gaps;
 * neighbours of kind PLAIN that are neighbours in the image are one extent. */
typedef struct ErofsFile {
        char *path; /* owned; from the image's root, with a leading slash */
        uint64_t size;
        size_t first, n_extents; /* in ErofsExtents.extents */
} ErofsFile;

typedef struct ErofsArea {
        uint64_t offset, size; /* whole blocks */
} ErofsArea;

typedef struct ErofsExtents {
        uint64_t size;    /* of the image */
        ErofsFile *files; /* in the order of their first PLAIN or LZ4 extent in the image; then those without one */
        size_t n_files;
        ErofsExtent *extents; /* file after file, in the order of the files */
        size_t n_extents;
        ErofsArea *metadata; /* all that is no PLAIN or LZ4 extent: superblock, inodes, folders, symbolic links */
        size_t n_metadata;
} ErofsExtents;

ErofsExtents *erofs_extents_free(ErofsExtents *x);
DEFINE_CLEANUP(ErofsExtents *, erofs_extents_free)

/* Walks the image (a file or a block device, whose position does not move) without reading contents. Every block of the
 * image belongs to exactly one PLAIN or LZ4 extent or to one metadata area. Nothing in the image is trusted: what is
 * malformed is REFUSAL_BAD_FORMAT, also other encodings than LZ4 and files that share blocks, which our images do not
 * have; what exceeds a limit is REFUSAL_TOO_LARGE. */
int erofs_extents_read(int fd, ErofsExtents **ret, Error *reterr);
