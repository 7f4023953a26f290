/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "error.h"
#include "progress.h"

typedef struct VerifyOptions {
        const char
                *keys; /* folder with the certificates to trust; NULL: keys/dev if it exists, else only consistency */
        bool json;
        Progress *progress;
} VerifyOptions;

/* Recomputes everything a release claims: the digest of every file, the hash tree over the image, the root hash in
 * command line and signature, both signatures, the contents manifest against the image read back, and the disk image's
 * partitions against the files. Prints a line for each check. The first that fails is the error. */
int verify_release(const char *folder, const VerifyOptions *opt, Error *reterr);

/* Compares the reproducible files of two releases (image, hash tree, root hash, initrd, unsigned UKI, SBOM, manifests):
 * REFUSAL_DIFFERENT names the file, and for the image the first paths inside. */
int verify_same(const char *a, const char *b, Error *reterr);
