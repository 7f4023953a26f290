/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For the children that read an image with liberofs (liberofs.h): the image behind bounds, and its folders. What is
 * wrong with an image ends the child. */

#include "liberofs.h"

#include "erofs/internal.h"

/* "path: what"; path may be NULL. REFUSAL_BAD_FORMAT and REFUSAL_TOO_LARGE. */
_noreturn_ void erofs_source_bad(const char *path, const char *fmt, ...) _printf_(2, 3);
_noreturn_ void erofs_source_too_large(const char *path, const char *what);

/* Reads the superblock of a file or a block device into zeroed memory. Nothing behind the end of the image can be read
 * from then on (to liberofs it would pass for zeros). */
int erofs_source_open(int fd, struct erofs_sb_info *super, Error *reterr);

typedef struct ErofsSourceEntry {
        char *name; /* owned */
        erofs_nid_t nid;
        unsigned type; /* EROFS_FT_* */
} ErofsSourceEntry;

typedef struct ErofsSourceListing {
        ErofsSourceEntry *entries;
        size_t n_entries;
} ErofsSourceListing;

/* What is in a folder, in the order of the names, without "." and "..". */
void erofs_source_list(struct erofs_inode *folder, erofs_nid_t parent_nid, const char *path, unsigned depth,
                       ErofsSourceListing *ret);
void erofs_source_listing_done(ErofsSourceListing *listing);
