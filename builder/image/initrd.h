/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The initrd: systemd with just what it takes to open the slot that the signed command line names, make or grow the
 * root partition, lay /etc over its factory copy, and switch over. Made from locked packages, of which no script ever
 * runs.
 *
 *     unpack_purpose()   packages -> one tree, the pool
 *     initrd_collect()   pool + kernel -> the initrd's tree
 *     depmod on it       by the caller, with the locked kmod (libkmod reads only the binary indexes)
 *     initrd_pack()      tree -> bytes
 *
 * Same input, same bytes, on every machine with the same libzstd. */

#include "tree.h"

typedef struct InitrdOptions {
        Tree *kernel;               /* holds /usr/lib/modules/RELEASE of the kernel package, depmod or not */
        const char *kernel_release; /* "6.12.107+deb13-amd64" */
        const char *os_release;     /* text; becomes /etc/initrd-release */
        const char *group;       /* text of the image's /etc/group, so that device nodes get the image's numbers; NULL:
                                    the numbers that Debian fixes */
        const char *root_format; /* "ext4", "btrfs", "xfs": its module is added; NULL: only ext4 is there */
        char *const *modules;    /* beyond the built-in list: names or globs, as in the recipe's InitrdModules= */
        char *const *packages;   /* of these packages everything goes in, except documentation */
        const char *spool_folder;
        /* The root partition must be encrypted; no other one is mounted. At most one of the two. */
        bool tpm;             /* its key is sealed to the TPM; needs libtss2 in the pool */
        bool passphrase;      /* somebody types it */
        bool emergency_shell; /* a root shell on the console if something fails. Without: the reason is shown, then the
                                 machine restarts, so that the boot loader can fall back to the other version */
} InitrdOptions;

/* Copies what is needed from the pool. REFUSAL_NOT_FOUND says which package is missing from the lock. */
int initrd_collect(const InitrdOptions *o, Tree *pool, Tree **ret, Error *reterr);

typedef struct InitrdPackOptions {
        unsigned level; /* of segment.h; 0: not compressed */
        int64_t epoch;  /* time of every entry */
} InitrdPackOptions;

/* Writes the finished tree to out_fd as cpio archives (newc), each in a zstd frame of its own that starts at a multiple
 * of 4 KiB: the kernel reads them one after the other, and where one file changed, only its own frame changes. Frames
 * are made of segments (segment.h), so that a delta says what changed in the file and not in what zstd made of it.
 * Removes from the tree what depmod wrote only for people. REFUSAL_BAD_VALUE if depmod was forgotten. */
int initrd_pack(Tree *t, const InitrdPackOptions *o, int out_fd, uint64_t *ret_size, Error *reterr);
