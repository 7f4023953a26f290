/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Image and UKI of a release as files that can be read at any place, whether it lies in a folder of this machine or
 * only in a repository: what deltas are made from. Nothing is parsed before its digest was checked. */

#include "description.h"
#include "release.h"
#include "repository.h"

typedef struct ReleaseFiles {
        int image, uki; /* -EBADF: not there */
        uint64_t image_size, uki_size;
        Sha256 root_hash, verity_salt, uki_sha256;
} ReleaseFiles;

#define RELEASE_FILES_NONE ((ReleaseFiles){ .image = -EBADF, .uki = -EBADF })
void release_files_done(ReleaseFiles *f);
#define _cleanup_release_files_ _cleanup_(release_files_done)

/* From a release's folder. described: what a repository says about the same version, with which it must agree
 * (REFUSAL_MIXED); NULL: it says nothing. */
int release_files_open(const Release *release, const ReleaseDescription *described, ReleaseFiles *ret, Error *reterr);
/* From the repository: the pack is fetched and decoded, the UKI fetched, into unnamed files in the folder.
 * REFUSAL_NOT_FOUND, REFUSAL_HASH_MISMATCH. */
int release_files_fetch(const Repository *r, const ReleaseDescription *d, const char *folder, Progress *progress,
                        ReleaseFiles *ret, Error *reterr);

/* A target that any channel has, into an unnamed file; small ones into memory. */
int repository_fetch_target(const Repository *r, const char *path, const char *folder, Progress *progress, int *ret_fd,
                            uint64_t *ret_size, Error *reterr);
int repository_read_target(const Repository *r, const char *path, size_t max_size, Buffer *ret, Error *reterr);
/* NULL: no channel lists it. */
const TufTarget *repository_find_target(const Repository *r, const char *path);
