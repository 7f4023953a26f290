/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Does what was planned, one step after the other, each durable before the next begins (DESIGN section 7). Runs in a
 * process of its own ("sealabd job"), so that the daemon stays responsive and killing it at any instruction is
 * harmless. */

#include "fetch.h"
#include "plan.h"
#include "settings.h"

typedef struct UpdateContext {
        MachinePaths paths;
        const char *state_folder; /* /var/lib/sealab */
        const char *trust_anchor;
        const UpdaterSettings *settings;
        char *const *repositories; /* in place of the settings': an offline stick; NULL: the settings' */
        int64_t now;
        bool metered;           /* the connection is to count as metered, whatever it is */
        unsigned stall_seconds; /* after which a server has stalled; 0: 20 */
        /* step: step_kind_name() or "poll", "download"; done/total in bytes, total 0: unknown. May be NULL. */
        void (*progress)(const char *step, uint64_t done, uint64_t total, void *userdata);
        void *userdata;
} UpdateContext;

/* One job at a time changes the state: REFUSAL_BUSY. Closing the descriptor ends it. */
int update_lock(const UpdateContext *c, int *ret_fd, Error *reterr);
/* Polls and says what could be done; records it in the state. */
int update_check(const UpdateContext *c, const PlanRequest *request, Catalogue **ret_catalogue, Plan **ret_plan,
                 Machine **ret_machine, Error *reterr);
/* Check, plan, do, record. 1: nothing to do (*ret_message says why). */
int update_run(const UpdateContext *c, const PlanRequest *request, char **ret_message, Error *reterr);
/* The other slot becomes the default and is pinned. */
int update_revert(const UpdateContext *c, char **ret_version, Error *reterr);
/* version NULL: the running one. *ret_called_off (may be NULL): a version whose trial waited, and that does not start
 * now; NULL: none did. */
int update_pin(const UpdateContext *c, const char *version, char **ret_called_off, Error *reterr);
int update_unpin(const UpdateContext *c, Error *reterr);
/* Re-reads slots: the running one, or all. */
int update_verify(const UpdateContext *c, bool all, json_t **ret, Error *reterr);
/* After each boot: judges a trial, raises the floor, remembers a bad version, writes history. *ret_message (may be
 * NULL): what to tell people, or NULL. */
int update_settle(const UpdateContext *c, char **ret_message, Error *reterr);
/* Everything sealabctl status shows. */
int update_status(const UpdateContext *c, json_t **ret, Error *reterr);
