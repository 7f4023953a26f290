/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the updater remembers, in its StateDirectory (/var/lib/sealab): metadata/ (TUF's trusted files), state.json and
 * history.json. Each file is replaced as a whole; one that is damaged is set aside as NAME.damaged and what can be
 * known without it (the running image's own facts) takes its place: never a reason not to update. The file "trial" is
 * there while there is a trial. */

#include "hash.h"
#include "json.h"

#define STATE_BAD_VERSIONS_MAX 64
#define STATE_HISTORY_MAX 200

typedef struct BadVersion {
        char *version;
        Sha256 root_hash; /* a version is bad by its content: the same number with another content may be tried */
        char *reason;
        int64_t when;
} BadVersion;

/* An update that was switched to and not yet judged. */
typedef struct Trial {
        char *version, *from_version;
        Sha256 root_hash, from_root_hash;
        uint64_t epoch;
        int64_t when;
} Trial;

typedef struct UpdaterState {
        uint64_t epoch; /* security floor: rises when a version was blessed */
        bool pinned;
        char *pin;     /* version; NULL with pinned: the running one */
        bool reverted; /* stay on the pinned version because a person went back */
        Trial *trial;  /* NULL: none */
        BadVersion *bad;
        size_t n_bad;
        int64_t last_check, last_success;
        char *last_result; /* refusal id of the last check or update; NULL: fine */
        char *last_message;
        char *available;          /* newest version that this machine may take, as of last_check; NULL: none */
        uint64_t available_bytes; /* what it would download */
        bool available_at_most;   /* ... if nothing that is here could be used */
        size_t mirror;            /* which repository answered last */
        char *timestamp_etag;
} UpdaterState;

/* *ret_damaged (may be NULL): 1 if the file had to be set aside. */
int state_load(const char *folder, UpdaterState **ret, bool *ret_damaged, Error *reterr);
int state_save(const char *folder, const UpdaterState *s, Error *reterr);
UpdaterState *state_free(UpdaterState *s);
DEFINE_CLEANUP(UpdaterState *, state_free)
/* A copy; NULL: none. */
void state_set_trial(UpdaterState *s, const Trial *trial);
bool state_is_bad(const UpdaterState *s, const Sha256 *root_hash);
void state_add_bad(UpdaterState *s, const char *version, const Sha256 *root_hash, const char *reason, int64_t when);
/* For people: every member is always there, null where nothing is known. */
json_t *state_to_json(const UpdaterState *s);

typedef struct HistoryEntry {
        int64_t when;
        uint64_t duration_sec, bytes;
        uint64_t planned_bytes;
        char *usr_way, *uki_way; /* "delta", "reuse", "full", or several with "+"; may be NULL */
        char *action;            /* "update", "boot", "revert", "pin", "unpin", "verify", "factory-reset" */
        char *from, *to;         /* versions; may be NULL */
        char *result;            /* "done", "blessed", "fell-back", or a refusal id */
        char *message;           /* may be NULL */
        char *boot;              /* id of the boot in which it happened: for "boot", the one that judged; may be NULL */
} HistoryEntry;
void history_entry_done(HistoryEntry *e);
int history_append(const char *folder, const HistoryEntry *e, Error *reterr);
/* Newest last; JSON array as stored. */
int history_load(const char *folder, json_t **ret, Error *reterr);
