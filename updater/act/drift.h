/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What this machine changed in /etc: the overlay's upper folder (/.etc/upper) against the image's own copy
 * (/usr/share/factory/etc). Names, kinds, modes and owners only; nothing of what files hold is told. Entries are known
 * by an id made from the path, because no method of the bus takes a path. */

#include "json.h"

#define DRIFT_ENTRIES_MAX 5000 /* more is no list that anybody reads */
#define DRIFT_DEPTH_MAX 64
#define DRIFT_ID_LENGTH 12

typedef enum DriftKind {
        DRIFT_ADDED,
        DRIFT_CHANGED, /* what it holds, or what it is */
        DRIFT_REMOVED,
        DRIFT_ATTRIBUTES, /* only mode, owner, access list or capabilities */
        _DRIFT_KIND_MAX,
} DriftKind;
const char *drift_kind_name(DriftKind kind);

typedef struct DriftEntry {
        DriftKind kind;
        char *path; /* below /etc, without it: "ssh/sshd_config" */
        char id[DRIFT_ID_LENGTH + 1];
        bool folder;
        bool earlier_default;      /* a reset put it here, and the image's default has changed since */
        const char *own;           /* why every machine has this; NULL: somebody's change */
        mode_t mode, mode_default; /* type and permissions; 0 where there is none */
        uid_t uid, uid_default;
        gid_t gid, gid_default;
} DriftEntry;

typedef struct Drift {
        DriftEntry *entries; /* by path */
        size_t n_entries, n_allocated;
        bool truncated; /* there are more than DRIFT_ENTRIES_MAX */
} Drift;

/* Opened folders of a machine below root ("/" or one that stands for it). */
typedef struct DriftFolders {
        int upper, lower, merged;
} DriftFolders;
void drift_folders_done(DriftFolders *f);
/* REFUSAL_MACHINE where /etc is no such overlay. */
int drift_open(const char *root, DriftFolders *ret, Error *reterr);

int drift_read(const DriftFolders *f, Drift **ret, Error *reterr);
Drift *drift_free(Drift *d);
DEFINE_CLEANUP(Drift *, drift_free)
void drift_id(const char *path, char ret[DRIFT_ID_LENGTH + 1]);
json_t *drift_to_json(const Drift *d);

/* Same type, content, mode, owner, access lists and capabilities? Folders are compared without what is in them. fds and
 * names are of the two places. 1: the same; 0: content or type differ; 2: only attributes do. */
int drift_compare(int a_fd, const char *a, int b_fd, const char *b, Error *reterr);

/* On what a reset puts in place: the digest of its content, so that a copy nobody has touched since is known. */
#define DRIFT_MARK "trusted.sealab.default"
/* 1: marked, and still what was put there. */
int drift_is_untouched_default(int fd, const char *name, Error *reterr);

/* A default on its way to its place. */
#define DRIFT_TEMPORARY ".sealab-reset"

/* The names of what drift looks at besides mode and owner, NULL-terminated. */
extern const char *const drift_attributes[];
