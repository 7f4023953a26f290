/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Brings what a lock names into the store: from another store's folder, then from the mirrors, several downloads at a
 * time, each resumable, its size a hard limit and its SHA-256 the entrance ticket. With nothing missing nothing is
 * opened, no network and no apt. Interrupted, it goes on where it stopped. */

#include "mirrors.h"
#include "progress.h"
#include "store.h"

#define FETCH_PARALLEL 6
#define FETCH_TRIES 3 /* for each mirror, without progress worth mentioning */

typedef struct FetchOptions {
        const Recipe *recipe;       /* borrowed; its mirrors, and its local packages if the store lost them */
        const char *snapshot_uri;   /* a dated archive to take packages from; NULL: the recipe's or machine's mirrors */
        const char *store_from;     /* another machine's store, or any folder with the packages' files; NULL: none */
        const LockMirrors *mirrors; /* borrowed; NULL: found when they are needed */
        Progress *progress;         /* borrowed; may be NULL */
        unsigned backoff_msec;      /* before the second try, then double; 0: one second */
        unsigned stall_seconds;     /* a download slower than 1 KiB/s for so long is given up; 0: 30 */
} FetchOptions;

typedef struct FetchResult {
        size_t n_missing; /* before */
        size_t n_copied;  /* from store_from or the recipe's local packages */
        size_t n_downloaded;
        uint64_t bytes; /* received from the network */
} FetchResult;

/* What of a lock is not in the store. */
size_t fetch_count_missing(const Lock *lock, const Store *store, uint64_t *ret_bytes);
/* ret may be NULL. REFUSAL_DOWNLOAD, REFUSAL_HASH_MISMATCH, REFUSAL_NOT_IN_STORE (a local package that is gone). */
int fetch_missing(const Lock *lock, Store *store, const FetchOptions *opt, FetchResult *ret, Error *reterr);
