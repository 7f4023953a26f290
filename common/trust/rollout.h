/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Staged rollout, decided on the device: a machine's place in the queue is a number from a hash of its machine id and
 * the release's salt; the share of machines that may take the release grows with time. Pure. */

#include "json.h"

#define ROLLOUT_WHOLE 10000 /* shares are in hundredths of a percent */

typedef struct Rollout {
        int64_t start;    /* seconds since 1970; before it nobody takes the release. 0: at once */
        uint64_t initial; /* share at start */
        uint64_t per_day; /* added per day, continuously */
        uint8_t salt[16];
} Rollout;

/* Everybody at once. */
#define ROLLOUT_EVERYBODY ((Rollout){ .initial = ROLLOUT_WHOLE })

/* 0..ROLLOUT_WHOLE */
uint64_t rollout_share(const Rollout *r, int64_t now);
/* 0..ROLLOUT_WHOLE-1: the machine's place. machine_id: 32 hexadecimal digits. */
uint64_t rollout_place(const Rollout *r, const char *machine_id);
bool rollout_includes(const Rollout *r, const char *machine_id, int64_t now);
/* When this machine's turn comes; INT64_MAX: never as things are. */
int64_t rollout_turn(const Rollout *r, const char *machine_id);

/* "100%", "10%", "10%/day", "1%+10%/day"; salt and start are the caller's. REFUSAL_USAGE. */
int rollout_parse(const char *text, Rollout *ret, Error *reterr);
char *rollout_format(const Rollout *r); /* "10%/day since 2026-11-21 10:00 UTC" */
/* The member "rollout" of a release description. */
int rollout_from_json(const json_t *object, const char *what, Rollout *ret, Error *reterr);
json_t *rollout_to_json(const Rollout *r);
