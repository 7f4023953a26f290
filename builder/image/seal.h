/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The finished tree -> the files of a release: EROFS image, hash tree, root hash and its signature, initrd, UKI
 * (unsigned and signed), disk image. Each file is noted in the release record as it is made. */

#include "lock.h"
#include "progress.h"
#include "recipe.h"
#include "release.h"
#include "sandbox.h"
#include "sign.h"
#include "store.h"
#include "tools.h"
#include "tree.h"

typedef struct SealContext {
        const Recipe *recipe;
        const Lock *lock;
        Store *store;
        SandboxMode mode;
        Tools *tools;
        const KeySet *keys; /* NULL: unsigned */
        const char *version;
        int64_t epoch, usr_epoch;
        unsigned workers;
        const Sha256 *initrd_key;
        bool initrd_cached, use_cache, disk;
        Progress *progress;
} SealContext;

int seal_tree(const SealContext *c, Tree *t, const char *kernel, Release *release, Error *reterr);

/* What a signer gave for a release: the detached signature of the root hash, UKI and boot loader with theirs inside. */
typedef struct SealSignatures {
        void *root_hash, *uki, *loader; /* owned */
        size_t root_hash_size, uki_size, loader_size;
} SealSignatures;
void seal_signatures_done(SealSignatures *s);

/* Signs the unsigned parts in the folder with keys at hand. */
int seal_make_signatures(const KeySet *keys, const Release *release, SealSignatures *ret, Error *reterr);

typedef struct SealDisk {
        uint64_t esp_size, usr_size, root_size; /* usr_size 0: by the image */
} SealDisk;

/* Puts signatures (NULL: none) into the release and lays out the disk image (NULL: none) with them. Each file is
 * replaced as a whole, so that an interrupted run can be repeated. The certificates say who signed. */
int seal_attach(const KeySet *certificates, const SealSignatures *s, const SealDisk *disk, Progress *progress,
                Release *release, Error *reterr);

/* A number derived from names, for every id that must be fixed: first 16 bytes of SHA-256 over purpose, image id and
 * version, shaped as a version 8 UUID (RFC 9562). version may be "". */
void seal_uuid(const char *purpose, const char *image_id, const char *version, uint8_t ret[static 16]);
