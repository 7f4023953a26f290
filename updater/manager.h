/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's core: starts jobs as child processes, one that works at a time and some that only read beside it, and
 * tells its observer what becomes of them. Knows no bus: faces stand on top of it. */

#include <systemd/sd-event.h>

#include "job.h"
#include "json.h"

#define MANAGER_READERS_MAX 8

typedef struct JobOutcome {
        JobKind kind;
        uint64_t id;
        const char *result;  /* "done", "nothing" or a refusal's name */
        const char *message; /* may be NULL */
        const char *hint;    /* may be NULL */
        const json_t *data;  /* may be NULL */
} JobOutcome;

typedef struct ManagerObserver {
        void (*progress)(uint64_t id, JobKind kind, const char *step, uint64_t done, uint64_t total, void *userdata);
        void (*finished)(const JobOutcome *outcome, void *userdata); /* after the waiter of the job */
        void (*idle)(bool idle, void *userdata);                     /* no job is left; one has begun */
        void *userdata;
} ManagerObserver;

typedef struct Manager Manager;
/* program: what is run as "PROGRAM KIND ...", job_program(); extra (may be NULL) are arguments for every job, for
 * tests. */
int manager_new(sd_event *event, const char *program, char *const *extra, const ManagerObserver *observer,
                Manager **ret, Error *reterr);
Manager *manager_free(Manager *m); /* ends what runs */
DEFINE_CLEANUP(Manager *, manager_free)

/* arguments may be NULL or begin with "--". waiter (may be NULL) is called once when the job has ended. REFUSAL_BUSY if
 * a working job is under way (or too many readers are). */
int manager_start(Manager *m, JobKind kind, char *const *arguments,
                  void (*waiter)(const JobOutcome *outcome, void *userdata), void *userdata, uint64_t *ret_id,
                  Error *reterr);
/* Ends the working job; REFUSAL_NOT_FOUND if there is none. */
int manager_cancel(Manager *m, Error *reterr);
/* The working job and how far it is; false: none. */
bool manager_working(const Manager *m, uint64_t *ret_id, JobKind *ret_kind, const char **ret_step, uint64_t *ret_done,
                     uint64_t *ret_total);
