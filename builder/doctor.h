/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Can this machine build, lock and boot? Every check really tries the thing where that is possible, and every finding
 * that is not fine comes with what to do about it. */

#include "json.h"

typedef enum DoctorStatus {
        DOCTOR_OK,
        DOCTOR_WARNING, /* something is worse than it could be, or one verb will not work */
        DOCTOR_FAILED,  /* no build is possible */
} DoctorStatus;

typedef struct DoctorFinding {
        const char *id; /* stable, for --json */
        const char *title;
        DoctorStatus status;
        char *found;  /* what is the case */
        char *remedy; /* what to do; NULL: nothing */
} DoctorFinding;

typedef struct DoctorReport {
        DoctorFinding *findings;
        size_t n_findings, n_allocated;
} DoctorReport;

void doctor_report_done(DoctorReport *r);
#define _cleanup_doctor_report_ _cleanup_(doctor_report_done)

typedef struct DoctorOptions {
        bool json;
        const char *store;  /* NULL: the default place */
        const char *output; /* NULL: the current folder */
} DoctorOptions;

void doctor_examine(const DoctorOptions *o, DoctorReport *ret);
DoctorStatus doctor_report_worst(const DoctorReport *r);
char *doctor_report_format(const DoctorReport *r);
json_t *doctor_report_to_json(const DoctorReport *r);

/* Examines and prints to standard output; REFUSAL_MACHINE if no build is possible. */
int doctor_run(const DoctorOptions *o, Error *reterr);

/* Parts without side effects, for tests. */

/* By how much there is and how much is wanted. */
DoctorStatus doctor_judge_amount(uint64_t available, uint64_t needed, uint64_t comfortable);
/* Bytes of the line "KEY:  N kB" of /proc/meminfo; 0: no such line. */
uint64_t doctor_meminfo_value(const char *text, const char *key);
