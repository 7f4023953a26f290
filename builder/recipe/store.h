/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The content-addressed store: the only place the builder reads packages from. Objects are files named by their
 * SHA-256, read-only, verified when they enter and, for packages, again when they are used. Beside them a cache of
 * derived things, named by the key of their inputs, that may be deleted at any time.
 *
 *     STORE/sha256/ab/abcdef...       objects
 *     STORE/partial/abcdef...         downloads under way, resumable
 *     STORE/cache/KIND/abcdef...      derived: unpacked packages, configured trees, initrds, plans
 *
 * Default place: --store, then $SEALAB_STORE, then $XDG_CACHE_HOME/sealab, then ~/.cache/sealab. */

#include "hash.h"

typedef struct Store {
        char *path;
        int fd;
} Store;

int store_open(const char *path_or_null, Store **ret, Error *reterr); /* creates it */
Store *store_free(Store *s);
DEFINE_CLEANUP(Store *, store_free)

bool store_has(const Store *s, const Sha256 *digest, uint64_t size); /* by name and size */
/* Relative to the store's folder; owned. */
char *store_object_path(const Sha256 *digest);
/* Absolute; owned. */
char *store_object_full_path(const Store *s, const Sha256 *digest);
/* Opens an object after hashing it: REFUSAL_HASH_MISMATCH names the file and says how to fetch it again, and moves the
 * bad file away; REFUSAL_NOT_IN_STORE if it is absent. */
int store_open_verified(const Store *s, const Sha256 *digest, uint64_t size, int *ret_fd, Error *reterr);
/* Adds a file's content; the digest is computed. Existing objects are left. */
int store_add_file(Store *s, const char *path, Sha256 *ret_digest, uint64_t *ret_size, Error *reterr);
/* A file in partial/ for a download: opened for appending, *ret_size what is there already. */
int store_partial_open(Store *s, const Sha256 *digest, int *ret_fd, uint64_t *ret_size, Error *reterr);
/* Forgets what is there; the next opening begins anew. */
int store_partial_remove(Store *s, const Sha256 *digest, Error *reterr);
/* Hashes the partial file and moves it to its place, durably; on mismatch the partial is removed. */
int store_partial_commit(Store *s, const Sha256 *digest, uint64_t size, Error *reterr);

/* Derived things. get: opens read-only, 1 if absent. begin: creates a file under a temporary name; it gets its key's
 * name by commit. _cleanup_store_temporary_ for the name removes what was not committed. */
void store_temporary_freep(char **path);
#define _cleanup_store_temporary_ _cleanup_(store_temporary_freep)
int store_cache_get(const Store *s, const char *kind, const Sha256 *key, int *ret_fd, Error *reterr);
char *store_cache_path(const Store *s, const char *kind, const Sha256 *key);
int store_cache_begin(Store *s, const char *kind, const Sha256 *key, int *ret_fd, char **ret_temporary, Error *reterr);
int store_cache_commit(Store *s, const char *kind, const Sha256 *key, const char *temporary, Error *reterr);
/* Removes derived things, those unused longest first, until all together take at most max_bytes. */
int store_cache_trim(Store *s, uint64_t max_bytes, uint64_t *ret_freed, Error *reterr);
