/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the daemon answers, in words. Pure: JSON in, text out; owned. */

#include "json.h"

char *show_status(const json_t *status);
char *show_history(const json_t *history);
char *show_config(const json_t *config);
char *show_check(const json_t *check); /* data of a check */
char *show_offers(const json_t *check, const json_t *status);
/* Of what GetDrift answers, what lies at path ("/etc/..."; NULL: all); own: also what every machine has. */
char *show_drift(const json_t *drift, const char *path, bool own);
/* Is the path of an entry that one, or below it? */
bool drift_path_matches(const char *entry, const char *path);
char *show_verify(const json_t *slots);
/* "12 MiB of 104 MiB, 3.1 MiB/s, 0:29 left" */
char *show_progress(const char *step, uint64_t done, uint64_t total, double seconds);
