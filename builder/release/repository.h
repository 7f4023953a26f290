/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A repository of The Update Framework as its maintainers see it: all current metadata, and a change to it. Layout
 * below the storage's root: metadata/{N.root,N.snapshot,N.targets,N.CHANNEL,timestamp}.json and targets/PATH/HASH.NAME;
 * consistent snapshots always.
 *
 * A change collects new versions of some roles' metadata, gets signatures (from keys here, or from other machines by
 * export and import), and becomes public in one order that keeps readers consistent at every moment (change.c: ORDER).
 */

#include "repo-keys.h"
#include "storage.h"

#define REPOSITORY_METADATA "metadata"
#define REPOSITORY_TARGETS "targets"

typedef struct Repository {
        Storage *storage; /* borrowed */
        TufMetadata *root, *timestamp, *snapshot, *targets;
        TufMetadata **channels; /* in the order of targets' delegations */
        size_t n_channels;
        /* The snapshot document as it is stored, for the timestamp that will name it. */
        uint64_t snapshot_size;
        Sha256 snapshot_sha256;
        /* A change of keys stopped after its root and before its timestamp: clients see an error until the next change
         * (any; refresh is enough) has written a new one. */
        bool interrupted;
} Repository;

/* Reads and checks everything that is current: signatures, versions, hashes, lengths. Expiry is no error here (that is
 * what refresh and status are for). The newest root is found by counting up; trust starts from metadata/1.root.json
 * unless trusted_root gives the bytes of another. */
int repository_open(Storage *storage, const char *trusted_root, size_t trusted_root_size, Repository **ret,
                    Error *reterr);
Repository *repository_free(Repository *r);
DEFINE_CLEANUP(Repository *, repository_free)
/* "root", "timestamp", "snapshot", "targets" or a channel; NULL: none. */
const TufMetadata *repository_role(const Repository *r, const char *name);
/* "metadata/3.snapshot.json", "metadata/timestamp.json" */
char *repository_metadata_path(const char *role, uint64_t version);
size_t repository_role_size_max(const char *role);
/* Keys and threshold by which a role is judged. 1: there is no such role. */
int repository_role_keys(const Repository *r, const char *name, const TufKeys **ret_keys, const TufRole **ret_role);
/* TUF_TARGETS for channels. */
TufType repository_role_type(const char *name);

/* How long each role's metadata is valid from its signing on, in seconds; kept in root's signed part as member
 * "sealab-expiry" so that every publisher uses the same. */
typedef struct RepositoryExpiry {
        uint64_t root, targets, channel, snapshot, timestamp;
} RepositoryExpiry;
#define REPOSITORY_EXPIRY_MAX (INT64_C(10) * 365 * 86400) /* more is a typing error */
#define REPOSITORY_EXPIRY_DEFAULT                                                                                      \
        ((RepositoryExpiry){ .root = 365 * 86400,                                                                      \
                             .targets = 365 * 86400,                                                                   \
                             .channel = 180 * 86400,                                                                   \
                             .snapshot = 14 * 86400,                                                                   \
                             .timestamp = 7 * 86400 })
RepositoryExpiry repository_expiry(const Repository *r);
RepositoryExpiry repository_expiry_of(const json_t *signed_root);
json_t *repository_expiry_to_json(const RepositoryExpiry *e);
/* Any name that is not a top-level role's gives that of channels. */
uint64_t *repository_expiry_member(RepositoryExpiry *e, const char *role);

/* Below the storage's root: "targets/laptop/2026.11.1/HASH.release.json" (section 6.2). */
char *repository_target_path(const char *target_path, const TufHashes *hashes);

typedef struct Change Change;

/* For a repository that is there (locks the storage and opens it), or, with repository NULL results, for a new one.
 * now: time of signing and base of expiry. */
int change_begin(Storage *storage, int64_t now, Change **ret, Error *reterr);
int change_begin_new(Storage *storage, int64_t now, Change **ret, Error *reterr);
Change *change_free(Change *c); /* unlocks */
DEFINE_CLEANUP(Change *, change_free)
const Repository *change_repository(const Change *c); /* NULL for a new one */

/* The signed part of a role's next version: version one higher, expiry set; to be edited by the caller (borrowed).
 * Asked twice it gives the same object. For a channel that does not exist yet: an empty targets document (its
 * delegation is to be added to "targets" by change_add_channel()). Snapshot and timestamp follow by themselves. */
json_t *change_edit(Change *c, const char *role);
/* True if nothing was edited (or imported). */
bool change_is_empty(const Change *c);
int change_add_channel(Change *c, const char *name, const RepoKeys *keys, size_t threshold, Error *reterr);
/* A file that the change's targets need: brought over before any metadata. fd is owned by the change from now on. */
void change_add_file(Change *c, const char *target_path, const Sha256 *sha256, int fd, uint64_t size);

/* Signs what can be signed with these keys (also with keys of the role before this change, so that a rotated role's
 * metadata holds under the old and the new root). */
int change_sign(Change *c, const RepoKeys *keys, Error *reterr);
/* Roles whose threshold is not reached, as "targets: 1 of 2 signatures, wanted: KEYID (name), ..."; NULL: none. */
char **change_missing(const Change *c);
/* Everything that is to be signed elsewhere: one JSON document, repo-tosign (sealab-repo(1)). Brings the change's files
 * over first, so that the import needs nothing but the document. */
int change_export(Change *c, const char *path, Progress *progress, Error *reterr);
/* Takes one or more signed documents of the same export. REFUSAL_STALE if the repository has moved on since. */
int change_import(Storage *storage, char *const *paths, int64_t now, Change **ret, Error *reterr);
/* Refuses if anything is missing (REFUSAL_KEY with the list). Idempotent: after an interruption the same command does
 * the rest. */
int change_commit(Change *c, Progress *progress, Error *reterr);

/* On the signing machine: shows (ret_description), signs what its keys can, writes. */
int repo_sign_file(const char *request_path, const RepoKeys *keys, const char *response_path, char **ret_description,
                   Error *reterr);
