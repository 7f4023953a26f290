/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "sealabd job KIND [ARGUMENT] [OPTION...]": one piece of work, in a process and program (sealabd-job) of its own.
 * Standard output carries one JSON object a line:
 *
 *     {"step": "download", "done": 1234, "total": 5678}        how far it is; at most ten a second
 *     {"result": "done", "message": "...", "data": ...}        the last line, of success: "done" or "nothing"
 *     {"result": "REFUSAL", "message": "...", "hint": "..."}   the last line, of failure
 *
 * and the exit status is that of the refusal (sealabctl(1)). SIGTERM ends it at once: every step can be begun again. */

#include "error.h"

typedef enum JobKind {
        JOB_CHECK,  /* what is on offer; with the plan as data */
        JOB_UPDATE, /* [VERSION] */
        JOB_AUTO,   /* what the timer asks for: check, and what policy allows */
        JOB_REVERT,
        JOB_PIN, /* [VERSION] */
        JOB_UNPIN,
        JOB_VERIFY, /* --all */
        JOB_SETTLE,
        JOB_STATUS,
        JOB_HISTORY,
        JOB_LIST,
        JOB_CONFIG,
        JOB_DRIFT,
        JOB_RESET,         /* ID: of what drift lists */
        JOB_FACTORY_RESET, /* --cancel */
        _JOB_KIND_MAX,
} JobKind;
const char *job_kind_name(JobKind kind);
/* _JOB_KIND_MAX for an unknown name. */
JobKind job_kind_from_name(const char *name);
/* Several of these may run beside one that works. */
bool job_kind_only_reads(JobKind kind);

/* argv[0] is the kind. Returns the exit status. */
int job_main(int argc, char **argv);

/* sealabd-job, beside the calling program where that is not installed; owned. */
char *job_program(void);
