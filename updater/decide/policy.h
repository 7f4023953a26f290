/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* May it happen now, and if not, when? Pure: the clock, the time zone's offset and what the machine is doing are
 * arguments. */

#include "settings.h"

typedef struct Conditions {
        bool on_mains, has_battery;
        unsigned battery_percent;
        bool metered; /* the default route's connection */
        bool online;
        bool inhibited;     /* somebody holds a block inhibitor for shutdown or sleep, or presents */
        char *inhibited_by; /* owned; may be NULL */
        bool idle;          /* no active session, or all idle */
} Conditions;

typedef enum PolicyAnswer { POLICY_NOW, POLICY_LATER, POLICY_NEVER } PolicyAnswer;

typedef struct PolicyDecision {
        PolicyAnswer answer;
        const char *id; /* "window", "battery", "metered", "inhibited", "offline", "automatic-off", "delay" */
        char *reason;   /* a sentence */
        int64_t until;  /* POLICY_LATER: look again then; 0: when conditions change */
} PolicyDecision;
void policy_decision_done(PolicyDecision *d);

/* utc_offset: seconds east of UTC in the window's time zone at now. machine_id spreads machines over random_delay_sec.
 * critical releases need no window.
 *
 * Inside a window a machine waits until its own moment, begin + delay modulo the window's length ("delay"): those that
 * look when it opens do not all download at once. */
PolicyDecision policy_may_download(const UpdaterSettings *s, const Conditions *c, int64_t now, int32_t utc_offset,
                                   const char *machine_id, bool critical);
PolicyDecision policy_may_install(const UpdaterSettings *s, const Conditions *c, int64_t now, int32_t utc_offset,
                                  const char *machine_id, bool critical);
PolicyDecision policy_may_reboot(const UpdaterSettings *s, const Conditions *c, int64_t now, int32_t utc_offset,
                                 bool critical);
/* Seconds of this machine's own delay within [0, random_delay_sec). */
uint64_t policy_delay(const UpdaterSettings *s, const char *machine_id);
/* 0: in a window now; else seconds until the next one begins. */
int64_t policy_next_window(const UpdaterSettings *s, int64_t now, int32_t utc_offset);
