/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* EROFS images: one written from the tree, one read back into a tree. Both run liberofs in a child process and start no
 * program. */

#include "tree.h"

#define EROFS_BLOCK_BYTES 4096

typedef enum ErofsLayout {
        EROFS_LAYOUT_PLAIN, /* contents stored as they are */
        EROFS_LAYOUT_LZ4HC,
} ErofsLayout;

typedef struct ErofsOptions {
        ErofsLayout layout;
        unsigned level;        /* lz4hc: 1 to 12; 0: 9 */
        uint32_t cluster_size; /* lz4hc: bytes of a compressed cluster, a multiple of 4096 up to 1 MiB; 0: 16 KiB */
        bool modules_plain;    /* kernel modules (*.ko) stored as they are, also with lz4hc */
        uint8_t uuid[16];
        int64_t build_time; /* mtime of every inode but the root, seconds since the epoch */
        int64_t root_mtime; /* mtime of the root */
        unsigned n_workers; /* compressing threads; 0: one for each processor. Does not change the image */
        void (*progress)(uint64_t done, uint64_t total, void *userdata); /* bytes of content stored; may be NULL */
        void *userdata;
} ErofsOptions;

/* Writes the folder root_path of the tree, as the root of an image, into fd: an empty regular file open for reading and
 * writing. Same tree and options, same bytes: whatever the order in which the tree was filled, the number of workers,
 * the host. Contents are block-aligned and never shared between files, so that a change of one file leaves the blocks
 * of all others alone. The file is not synced; after a failure it holds garbage. */
int erofs_write(const Tree *tree, const char *root_path, const ErofsOptions *opt, int fd, uint64_t *ret_size,
                Error *reterr);

/* Of one inode, names and values; what Linux itself allows. The other limits are those of tree.h. */
#define EROFS_XATTRS_MAX ((size_t) 64 << 10)

typedef enum ErofsContents {
        EROFS_CONTENTS_STORE,  /* into the tree's spool */
        EROFS_CONTENTS_DIGEST, /* read and hashed, but not kept: size and digest are set, the content cannot be read */
        EROFS_CONTENTS_SKIP,   /* size is set, digest is zero, the content cannot be read */
} ErofsContents;

typedef struct ErofsReadOptions {
        const char *root_path; /* where in the new tree the image's root goes; NULL: its root */
        ErofsContents contents;
        uint64_t contents_max; /* bytes of all contents together; 0: TREE_BYTES_MAX */
} ErofsReadOptions;

/* Reads a whole image (a file or a block device; the position of fd does not move) into a new tree. Nothing in the
 * image is trusted: what is malformed is REFUSAL_BAD_FORMAT, what exceeds a limit REFUSAL_TOO_LARGE. opt may be NULL.
 */
int erofs_read(int fd, const ErofsReadOptions *opt, Tree **ret, Error *reterr);
