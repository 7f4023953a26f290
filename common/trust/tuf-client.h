/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The client workflow of The Update Framework, specification 1.0.34, section 5, in full. It fetches through one
 * callback and keeps its trusted metadata through another pair, so that the rules can be tested without a network and
 * run in a process without files. Each step in the implementation carries its section number. */

#include "tuf-metadata.h"

#define TUF_ROOT_ROTATIONS_MAX 256 /* in one refresh */
#define TUF_VISITED_ROLES_MAX 32   /* in one search for a target */

typedef enum TufFetchOutcome { TUF_FETCHED = 0, TUF_NOT_THERE = 1, TUF_NOT_MODIFIED = 2 } TufFetchOutcome;

typedef struct TufTransport {
        /* Reads METADATA_URL/NAME, at most max_size bytes. conditional: may answer TUF_NOT_MODIFIED if the document is
         * the one that it delivered when this client last called remember(); asked only for timestamp.json. */
        int (*fetch)(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret, Error *reterr);
        /* The timestamp just fetched was accepted. May be NULL. */
        void (*remember)(void *userdata);
        void *userdata;
} TufTransport;

typedef struct TufStorage {
        /* name: "root.json", "timestamp.json", "snapshot.json", "targets.json", "ROLE.json" (percent-encoded). 0, 1:
         * not there, or negative. */
        int (*load)(void *userdata, const char *name, size_t max_size, Buffer *ret, Error *reterr);
        /* Durable and atomic: after a power cut the old or the new is there. */
        int (*save)(void *userdata, const char *name, const void *data, size_t size, Error *reterr);
        int (*remove)(void *userdata, const char *name, Error *reterr); /* not being there is success */
        void *userdata;
} TufStorage;

/* Files in a folder (borrowed descriptor). */
typedef struct TufFolder {
        int dir_fd;
} TufFolder;
TufStorage tuf_storage_folder(TufFolder *folder);

typedef struct TufClient TufClient;
/* now: the fixed time of section 5.1, by which all expiry is judged. */
TufClient *tuf_client_new(TufTransport transport, TufStorage storage, int64_t now);
TufClient *tuf_client_free(TufClient *c);
DEFINE_CLEANUP(TufClient *, tuf_client_free)

/* Makes these bytes the trusted root (section 5.2) if the storage has none yet; one that is there already stays, for it
 * is at least as new. The root must be signed by itself; it may have expired. */
int tuf_client_init(TufClient *c, const void *root, size_t size, Error *reterr);

/* Sections 5.3 to 5.6: root, timestamp, snapshot, targets. REFUSAL_EXPIRED, REFUSAL_ROLLBACK, REFUSAL_BAD_SIGNATURE,
 * REFUSAL_HASH_MISMATCH, REFUSAL_BAD_FORMAT, REFUSAL_TOO_LARGE, REFUSAL_DOWNLOAD, REFUSAL_MIXED (a version other than
 * the one that the document above it names). What was accepted before the failing step stays stored. *ret_changed (may
 * be NULL): whether a new timestamp was accepted. */
int tuf_client_refresh(TufClient *c, bool *ret_changed, Error *reterr);
/* The same from the stored metadata alone, for a machine without network: every check but freshness of what a server
 * would have; expiry is judged unless ignore_expiry. */
int tuf_client_load(TufClient *c, bool ignore_expiry, Error *reterr);

const TufMetadata *tuf_client_root(const TufClient *c);
const TufMetadata *tuf_client_timestamp(const TufClient *c); /* NULL before refresh */
const TufMetadata *tuf_client_snapshot(const TufClient *c);
const TufMetadata *tuf_client_targets(const TufClient *c);

/* Section 5.6.7: searches targets and delegations in pre-order, depth first. Borrowed until the client is freed or
 * refreshed. 1: there is none. */
int tuf_client_find_target(TufClient *c, const char *path, const TufTarget **ret, Error *reterr);
/* The document of a role to which the top-level targets role delegates directly, fetched if needed. REFUSAL_NOT_FOUND
 * if there is no such delegation. */
int tuf_client_role(TufClient *c, const char *name, const TufMetadata **ret, Error *reterr);
/* Where a target is, below the base of targets: "a/b/HASH.file" with consistent snapshots, else its path. */
char *tuf_client_target_location(const TufClient *c, const TufTarget *target);
