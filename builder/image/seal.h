/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The finished tree -> the files of a release: EROFS image, hash tree, root hash and its signature, initrd, UKI (unsigned and
 * signed), disk image. Each file is noted in the release record as it is made. */

#include "lock.h"
#include "progress.h"
#include "recipe.h"
#include "release.h"
#include "sandbox.h"
#include "sign.h"
#include "store.h"
#include "tree.h"

typedef struct SealContext {
        const Recipe *recipe;
        const Lock *lock;
        Store *store;
        SandboxMode mode;
        Tree *tools;
        const KeySet *keys; /* NULL: unsigned */
        const char *version;
        int64_t epoch, usr_epoch;
        unsigned workers;
        const Sha256 *initrd_key;
        bool initrd_cached, use_cache, disk;
        Progress *progress;
} SealContext;

int seal_tree(const SealContext *c, Tree *t, const char *kernel, Release *release, Error *reterr);

/* Signatures and what depends on them (signed UKI, disk image), from the unsigned parts in the folder: the second half of the above,
 * for "sealab sign". boot_loader is systemd-boot's unsigned binary. */
int seal_sign(const SealContext *c, const void *boot_loader, size_t boot_loader_size, Release *release, Error *reterr);

/* A number derived from names, for every id that must be fixed: first 16 bytes of SHA-256 over purpose, image id and version,
 * shaped as a version 8 UUID (RFC 9562). version may be "". */
void seal_uuid(const char *purpose, const char *image_id, const char *version, uint8_t ret[static 16]);
