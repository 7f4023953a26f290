/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The last look before the tree is sealed. Rules about what no image may carry; each has a name that an exception in
 * the recipe (Allow=NAME:PATH-GLOB: reason, section [Gate]) can use.
 *
 *     private-key     a private key in PEM or OpenSSH form
 *     password-hash   an account with a usable or an empty password
 *     machine-id      a machine id that is not empty
 *     seed            random seeds and credential secrets
 *     setgid-root     a file that is setgid with group root, or setuid for somebody else than root
 *     unowned-id      a user or group id that ids.lock does not name
 *     dangling-link   a link in /usr that leads to nothing on the running system
 *     world-writable  anybody may write it (sticky folders excepted)
 *     device-node     devices, pipes and sockets
 */

#include "ids.h"
#include "recipe.h"
#include "tree.h"

typedef struct GateFinding {
        const char *check; /* static */
        char *path;        /* as on the running system: factory files by their /etc path too */
        char *package;     /* NULL: no package's file */
        char *detail;      /* what exactly; NULL: the check's own sentence says it */
        bool allowed;
        const char *reason; /* of the exception; borrowed from the recipe */
} GateFinding;

typedef struct GateReport {
        GateFinding *findings;
        size_t n_findings, n_allocated, n_refused;
} GateReport;
void gate_report_done(GateReport *r);

/* Fills in the report. Returns 0, or REFUSAL_GATE with every refused finding and its remedy in one message. Exceptions
 * that matched nothing are refused too: they would hide the next problem. */
int gate_check(Tree *t, const Recipe *recipe, const Ids *ids, GateReport *ret, Error *reterr);
