/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "sealab repo ...": what the maintainers of a repository do with it (sealab-repo(1)). place: a folder, file:// URL or
 * bucket (storage.h). All changes go through one Change, and either become public or, with export_path, leave as a
 * document that others sign. */

#include "progress.h"
#include "repository.h"

#define REPO_NOT_GIVEN UINT64_MAX

typedef struct RepoVerbOptions {
        const char *keys, *channel, *from, *rollout, *reason, *export_path, *out, *type, *replace;
        char **channels, **expire;                           /* "ROLE=DAYS" */
        char **olders;                                       /* versions or folders of releases */
        uint64_t root_threshold, threshold, root_keys, keep; /* 0: not given */
        uint64_t deltas, keep_deltas;                        /* REPO_NOT_GIVEN: not given */
        uint64_t workers;
        bool dry_run, at_once, json;
        Progress *progress;
} RepoVerbOptions;

int repo_verb_init(const char *place, const RepoVerbOptions *opt, Error *reterr);
int repo_verb_channel(const char *place, const char *name, const RepoVerbOptions *opt, Error *reterr);
/* A new timestamp, a new snapshot when half of its time is over, and new versions of these roles. */
int repo_verb_refresh(const char *place, char *const *roles, const RepoVerbOptions *opt, Error *reterr);
int repo_verb_promote(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                      Error *reterr);
int repo_verb_rollout(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                      Error *reterr);
int repo_verb_withdraw(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                       Error *reterr);
/* Deltas for a release that is public; prints what devices download. */
int repo_verb_delta(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                    Error *reterr);
int repo_verb_sign(const char *request, const RepoVerbOptions *opt, Error *reterr);
int repo_verb_import(const char *place, char *const *files, const RepoVerbOptions *opt, Error *reterr);
int repo_verb_status(const char *place, const RepoVerbOptions *opt, Error *reterr);
int repo_verb_verify(const char *place, const RepoVerbOptions *opt, Error *reterr);
int repo_verb_gc(const char *place, const RepoVerbOptions *opt, Error *reterr);

int repo_verb_keys_show(const char *place, const RepoVerbOptions *opt, Error *reterr);
int repo_verb_keys_generate(const char *folder, const RepoVerbOptions *opt, Error *reterr);
/* new_key: a public key's file; NULL: one is made in the key folder. */
int repo_verb_keys_rotate(const char *place, const char *role, const char *new_key, const RepoVerbOptions *opt,
                          Error *reterr);
/* key: a public key's file; NULL: only the threshold changes. */
int repo_verb_keys_add(const char *place, const char *role, const char *key, const RepoVerbOptions *opt, Error *reterr);
/* key: a public key's file, or the beginning of a key's id. */
int repo_verb_keys_remove(const char *place, const char *role, const char *key, const RepoVerbOptions *opt,
                          Error *reterr);

/* For verbs that change a repository: signs with the keys of opt->keys and publishes, or exports with opt->export_path.
 * said: what is done now, for people ("laptop 2026.11.1 is in stable"). Also for "publish". */
int repo_verb_finish(Change *c, const RepoVerbOptions *opt, const char *said, Error *reterr);
/* The time of signing. $SOURCE_DATE_EPOCH has no say here: old timestamps expire. */
int64_t repo_verb_now(void);
