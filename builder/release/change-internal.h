/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of a change share: change.c (editing), change-sign.c (signatures), change-commit.c (publishing),
 * change-text.c (the ceremony's documents). */

#include "repository.h"

#define SPEC_VERSION "1.0.34"

typedef struct ChangeRole {
        char *name;
        json_t *signed_part;
        json_t *signatures; /* array */
} ChangeRole;

typedef struct ChangeFile {
        char *path; /* below the storage's root */
        int fd;
        uint64_t size;
} ChangeFile;

struct Change {
        Storage *storage; /* borrowed, locked */
        int64_t now;
        Repository *repository; /* NULL: a new one */
        ChangeRole **roles;
        size_t n_roles, n_roles_allocated;
        ChangeFile *files;
        size_t n_files, n_files_allocated;

        /* What change_sign() has made of it. */
        bool settled;
        TufMetadata *new_root, *new_targets; /* NULL: not part of the change */
        bool can_finish;                     /* the keys given reach the thresholds of snapshot and timestamp */
        json_t *key_names;                   /* id -> "root-2", for messages */
};

/* Keys that count for a role: after the change and before it. */
typedef struct SignerGroup {
        const TufKeys *keys;
        const TufRole *role;
        bool before;
        bool required; /* else a signature is of use, but not needed */
} SignerGroup;
#define SIGNER_GROUPS_MAX 2

ChangeRole *change_find(const Change *c, const char *name); /* NULL: not part of the change */
/* The document as it is going to be stored. */
char *change_role_text(const ChangeRole *role);
int change_role_parse(const ChangeRole *role, TufMetadata **ret, Error *reterr);
/* After this change; never NULL once settled. */
const TufMetadata *change_root(const Change *c);
const TufMetadata *change_targets(const Change *c);
/* Keys of a role after this change; 1: no such role. */
int change_role_keys(const Change *c, const char *name, const TufKeys **ret_keys, const TufRole **ret_role);
/* Decides which roles are part of the change because of what was edited. */
int change_settle(Change *c, Error *reterr);
/* True if the document (as far as it is signed) counts for its role. root: by the old and the new root. */
bool change_role_complete(const Change *c, const ChangeRole *role);
size_t change_signers(const Change *c, const char *name, SignerGroup ret[static SIGNER_GROUPS_MAX]);
/* Adds the signatures that these keys can make and that are not there yet. names: see Change; ret_able: how many of the
 * keys count for the role (NULL: not asked). */
int change_role_sign(ChangeRole *role, const SignerGroup *groups, size_t n_groups, const RepoKeys *keys, json_t *names,
                     size_t *ret_able, Error *reterr);
/* "1 of 2 signatures, wanted: ..." for each group that is not satisfied. */
void change_role_missing(const ChangeRole *role, const SignerGroup *groups, size_t n_groups, const json_t *names,
                         char ***missing);
/* Adds a role with this content (both are referenced). */
void change_put(Change *c, const char *name, json_t *signed_part, json_t *signatures);
ChangeRole *change_role_free(ChangeRole *role);
DEFINE_CLEANUP(ChangeRole *, change_role_free)
/* Target files, before any metadata that names them. */
int change_bring_files(const Change *c, Progress *progress, Error *reterr);
