/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a long verb shows that it works: one line that rewrites itself on a terminal (phase, share done, bytes, time
 * left), plain lines elsewhere (a line when a phase starts and one when it ends with its time), nothing with --quiet,
 * one JSON object a line on standard output with --json. */

#include "util.h"

typedef struct Progress Progress;

typedef enum ProgressStyle { PROGRESS_AUTO, PROGRESS_PLAIN, PROGRESS_QUIET, PROGRESS_JSON } ProgressStyle;

Progress *progress_new(ProgressStyle style);
Progress *progress_free(Progress *p); /* clears the line */
DEFINE_CLEANUP(Progress *, progress_free)

/* All of these accept NULL as "show nothing". */
void progress_begin(Progress *p, const char *id, const char *title); /* ends the phase before */
void progress_total(Progress *p, uint64_t total_bytes);
void progress_advance(Progress *p, uint64_t bytes);                     /* adds */
void progress_detail(Progress *p, const char *fmt, ...) _printf_(2, 3); /* "systemd 257.13 (37 of 163)" */
void progress_end(Progress *p, const char *fmt, ...)
        _printf_(2, 3); /* closes the phase with a result line; fmt NULL: none */

/* Phases so far, for the closing summary and --json: id, title, seconds. Borrowed. */
typedef struct ProgressPhase {
        char *id, *title, *result;
        double seconds;
} ProgressPhase;
size_t progress_phases(const Progress *p, const ProgressPhase **ret);
