/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every byte of a repository against its metadata, and what it holds beyond that. */

#include "repository.h"

/* Named by metadata: by what is current, or by an older document that a client may still be reading. */
typedef struct RepoFiles {
        StorageEntry *entries; /* everything below metadata/ and targets/; sorted by name */
        size_t n_entries;
        bool *referenced; /* one for each entry */
} RepoFiles;
void repo_files_done(RepoFiles *f);

/* How long a client that has read old metadata may go on fetching by it, and how long files may wait for the import of
 * the ceremony's document. */
#define REPO_GRACE_SECONDS (INT64_C(24) * 3600)
/* Documents below the current one that stay in any case. */
#define REPO_KEEP_VERSIONS 2

/* now INT64_MAX: no grace, only what is current counts. */
int repo_files_list(const Repository *r, int64_t now, RepoFiles *ret, Error *reterr);

/* {"repository", "targets": N, "bytes": N, "damaged": [...], "unreferenced": [...]} ; place: as storage_open() got it.
 * 1: something is damaged. A place that cannot list its files (a plain web server) has "unreferenced": null. */
int repo_verify(const Repository *r, const char *place, int64_t now, Progress *progress, json_t **ret, Error *reterr);

/* Removes what is not referenced. *ret: {"removed": [...], "bytes": N}. */
int repo_gc(const Repository *r, int64_t now, bool dry_run, json_t **ret, Error *reterr);
