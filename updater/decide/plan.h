/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is to be done: a pure function of the machine, what the repository offers, what the updater remembers, the
 * request and the clock. No read, no write, no clock, no network. */

#include "description.h"
#include "machine.h"
#include "state.h"

typedef struct Offer {
        ReleaseDescription *description;       /* borrowed */
        uint64_t download[_ARTIFACT_KIND_MAX]; /* bytes of each target as stored on the server */
        Sha256 target_sha256[_ARTIFACT_KIND_MAX];
        /* Of each of the description's deltas. */
        uint64_t delta_download[DESCRIPTION_DELTAS_MAX];
        Sha256 delta_sha256[DESCRIPTION_DELTAS_MAX];
} Offer;

typedef struct PlanRequest {
        const char *version; /* a person asked for this one; NULL: the best */
        bool by_person; /* shares of a rollout and known-bad versions do not hold a person back who names the version;
                           a pin from earlier counts for the former only */
        bool revert;    /* to the other slot */
} PlanRequest;

typedef enum StepKind {
        STEP_RETIRE_ENTRY, /* the target slot's entries leave the ESP */
        STEP_MARK_EMPTY, /* the target slot is relabelled _empty: nothing may take it for a version while it is written
                          */
        STEP_WRITE,      /* usr, hash tree and signature into the slot */
        STEP_VERIFY,     /* re-read from the device against the root hash */
        STEP_RETAG,      /* ids and label of the slot */
        STEP_SWITCH,     /* the UKI appears on the ESP */
        STEP_STAMPS,     /* /etc/.updated, /var/.updated go; listeners are told */
        STEP_DEFAULT_ENTRY, /* back to an older version: its entry becomes the boot loader's default, and it is pinned
                             */
        _STEP_KIND_MAX,
} StepKind;
const char *step_kind_name(StepKind k);

/* How an artifact gets here; each falls through to the next. */
typedef enum UpdateWay {
        WAY_FULL,
        WAY_REUSE, /* blocks that are here, and frames of the pack: how many of each is seen when the map is there */
        WAY_DELTA, /* from what is here to what is wanted */
        _UPDATE_WAY_MAX,
} UpdateWay;
const char *way_name(UpdateWay w); /* "delta", "reuse", "full" */

typedef enum PlanOutcome { PLAN_UPDATE, PLAN_NOTHING, PLAN_WAIT, PLAN_REFUSED } PlanOutcome;

typedef struct Plan {
        PlanOutcome outcome;
        bool restart_pending; /* PLAN_NOTHING: what is wanted waits in the other slot */
        Refusal refusal;      /* PLAN_REFUSED */
        char *reason;         /* sentence for people; also for PLAN_NOTHING and PLAN_WAIT */
        int64_t until;        /* PLAN_WAIT: this machine's turn in the rollout */
        const Offer *offer;   /* borrowed; PLAN_UPDATE */
        size_t slot;          /* index into machine->slots */
        StepKind steps[_STEP_KIND_MAX];
        size_t n_steps;
        uint64_t download, write; /* bytes */
        bool at_most;             /* download is what it costs if nothing that is here can be used */
        UpdateWay usr_way, uki_way;
        size_t usr_delta, uki_delta; /* WAY_DELTA: index into the description's deltas */
        size_t usr_from;             /* WAY_DELTA: index into machine->slots */
        size_t uki_from;             /* WAY_DELTA: index into machine->entries */
        uint64_t uki_download;       /* of download */
        char **notes;                /* "2026.11.2 is skipped: its trial failed on ..." */
} Plan;

Plan *plan_free(Plan *p);
DEFINE_CLEANUP(Plan *, plan_free)
/* Always gives a plan; a refusal is one. Offers of other products and architectures are passed over with a note. Order
 * of rules: pin, withdrawn, minimum updater, epoch floor, older than running (refused unless asked for by name), known
 * bad, rollout, space in slot and on the ESP. */
Plan *plan_make(const Machine *m, const Offer *offers, size_t n_offers, const UpdaterState *s,
                const PlanRequest *request, const char *updater_version, int64_t now);
/* Chooses the ways anew. plan_make() has done it; once more when digests of boot entries are known
 * (machine_read_digests()), because only then a delta for the kernel image can be seen to fit. */
void plan_choose_ways(Plan *p, const Machine *m);
json_t *plan_to_json(const Plan *p, const Machine *m);
char *plan_describe(const Plan *p, const Machine *m); /* for update --dry-run */
