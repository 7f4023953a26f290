/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The keys of a repository, in the folder that also has the keys of images (keys/README.md). Files ROLE.key, ROLE-N.key
 * (PEM, 0600), ROLE.uri, ROLE-N.uri (one line, a pkcs11: URI) and ROLE.pub, ROLE-N.pub (public parts of keys that are
 * elsewhere), ROLE being root, targets, snapshot, timestamp, or channel-NAME (channel: for all channels that have none
 * of their own). The names matter only to "repo init" and to new channels; afterwards metadata says which key id has
 * which role and a private key is found by its id, whatever its file is called. */

#include "tuf-metadata.h"

typedef struct RepoKey {
        char *file; /* path, for messages */
        char *role; /* from its name: "root", "channel-stable" */
        TufKey *public_key;
        PrivateKey *private_key; /* NULL: only the public part is here */
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
/* All whose name gives them this role; owned array of borrowed. */
size_t repo_keys_of_role(const RepoKeys *k, const char *role, const RepoKey ***ret);
/* Makes root-1..N, targets, snapshot, timestamp, channel keys of that type in an existing or new folder (0700); never
 * overwrites: a role that has a key already is left. */
int repo_keys_generate(const char *folder, const char *type, unsigned n_root, Error *reterr);
