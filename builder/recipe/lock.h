/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* recipe.lock: every input of image, initrd and build tools by name, version, size and SHA-256 (from the signed package
 * index). A JSON document, one package a line so that a diff reads well. It names no mirror. */

#include "hash.h"
#include "json.h"
#include "recipe.h"

#define LOCK_FILE_NAME "recipe.lock"
#define LOCK_SIZE_MAX ((size_t) 32 << 20)
#define LOCK_PACKAGES_MAX 20000

typedef enum LockPurpose {
        LOCK_FOR_IMAGE = 1 << 0,
        LOCK_FOR_INITRD = 1 << 1,
        LOCK_FOR_TOOLS = 1 << 2,
} LockPurpose;

typedef struct LockPackage {
        char *name, *version, *architecture;
        char *source; /* "systemd" */
        char *source_version;
        char *path;  /* pool path "pool/main/s/systemd/..."; local packages: file name */
        char *suite; /* suite it was taken from; NULL: a local .deb */
        uint64_t size;
        Sha256 sha256;
        LockPurpose purpose;
        bool essential;
} LockPackage;

typedef struct LockSuite {
        char *suite; /* "trixie-security" */
        char *origin, *codename;
        int64_t date;        /* Date: of InRelease, seconds since the epoch */
        int64_t valid_until; /* 0: none */
        Sha256 inrelease;
        char **signed_by; /* fingerprints that made a good signature, upper-case hex */
        struct LockIndex {
                char *name; /* "main/binary-amd64/Packages" */
                Sha256 sha256;
                uint64_t size;
        } * indexes;
        size_t n_indexes;
} LockSuite;

typedef struct Lock {
        char *image_id;
        char *architecture;
        Sha256 request; /* recipe_request_digest() when it was made */
        LockSuite *suites;
        size_t n_suites;
        LockPackage *packages; /* sorted by name, then architecture */
        size_t n_packages;
} Lock;

int lock_read(const char *recipe_folder, Lock **ret, Error *reterr); /* REFUSAL_NO_LOCK with a hint if there is none */
int lock_parse(const char *text, size_t size, const char *what, Lock **ret, Error *reterr);
char *lock_format(const Lock *l);
int lock_write(const char *recipe_folder, const Lock *l, Error *reterr);
Lock *lock_free(Lock *l);
DEFINE_CLEANUP(Lock *, lock_free)

/* REFUSAL_LOCK_STALE, naming what differs, unless the lock was made for the recipe as it is now. */
int lock_check_recipe(const Lock *l, const Recipe *r, Error *reterr);
const LockPackage *lock_find(const Lock *l, const char *name);
/* Newest Date: of the suites: the time that everything built from this lock carries. */
int64_t lock_epoch(const Lock *l);
/* Of the whole content (its formatted text). */
void lock_digest(const Lock *l, Sha256 *ret);
/* Of the packages with this purpose only. */
void lock_digest_purpose(const Lock *l, LockPurpose purpose, Sha256 *ret);

/* What lock --update changed, sorted by name. */
typedef struct LockChange {
        const char *name;             /* borrowed from a lock */
        const LockPackage *from, *to; /* NULL: added / removed */
} LockChange;
/* from may be NULL: all is new. A package whose use alone changed counts too. */
size_t lock_compare(const Lock *from, const Lock *to, LockChange **ret);
/* A table with totals, for people; and the same as one JSON object. */
char *lock_changes_format(const LockChange *changes, size_t n);
json_t *lock_changes_to_json(const LockChange *changes, size_t n);
