/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The keys of a repository, in the folder that also has the keys of images (keys/README.md). Files ROLE.key, ROLE-N.key
 * (PEM, 0600), ROLE.uri, ROLE-N.uri (one line, a pkcs11: URI) and ROLE.pub, ROLE-N.pub (public parts of keys that are
 * elsewhere), ROLE being root, targets, snapshot, timestamp, or channel-NAME (channel: for all channels that have none
 * of their own). The names matter only to "repo init" and to new channels; afterwards metadata says which key id has
 * which role and a private key is found by its id, whatever its file is called. */

#include "tuf-metadata.h"

typedef struct RepoKey {
        char *file;      /* path, for messages */
        char *role;      /* from its name: "root", "channel-stable" */
        unsigned number; /* root-2.key: 2; targets.key: 1 */
        TufKey *public_key;
        char *private_source;    /* a file's path or a pkcs11: URI; NULL: only the public part is here */
        PrivateKey *private_key; /* NULL until repo_key_open() */
} RepoKey;

typedef struct RepoKeys {
        char *folder;
        RepoKey *items;
        size_t n_items;
} RepoKeys;

/* folder NULL: an empty set. Certificates and keys of images (verity.key ...) are passed over. A token is opened when
 * it first signs. */
int repo_keys_load(const char *folder, RepoKeys **ret, Error *reterr);
RepoKeys *repo_keys_free(RepoKeys *k);
DEFINE_CLEANUP(RepoKeys *, repo_keys_free)
const RepoKey *repo_keys_find(const RepoKeys *k, const char *key_id); /* NULL: none */
/* By the key itself: metadata of other tools may give it another id. Prefers an entry with a private part. */
const RepoKey *repo_keys_find_same(const RepoKeys *k, const TufKey *key);
/* The private part of a key that has one; borrowed. */
int repo_key_open(const RepoKeys *k, const RepoKey *key, const PrivateKey **ret, Error *reterr);
/* All whose name gives them this role; owned array of borrowed. */
size_t repo_keys_of_role(const RepoKeys *k, const char *role, const RepoKey ***ret);
/* Makes root-1..N, targets, snapshot, timestamp, channel keys of that type in an existing or new folder (0700); never
 * overwrites: a role that has a key already is left. 1: nothing was missing. */
int repo_keys_generate(const char *folder, const char *type, unsigned n_root, Error *reterr);
/* The key that is to follow the ones in use: the file of the role with the highest number, if it has a private part and
 * an earlier one is in use; else a new one under the next free number. So a rotation that was interrupted goes on with
 * the key that it has made, and a key that was rotated out never comes back. */
int repo_keys_next(const char *folder, const char *role, const char *type, bool (*used)(const TufKey *key, void *data),
                   void *data, TufKey **ret, Error *reterr);
/* Letters, digits, hyphens; begins with a letter, does not end in a hyphen and digits (that is how a second key's file
 * is told from another channel's), at most 32; not a top-level role's name. REFUSAL_BAD_VALUE. */
int repo_channel_name_check(const char *name, Error *reterr);
#define REPO_CHANNEL_NAME_MAX 32
