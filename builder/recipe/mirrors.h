/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where the suites of a recipe are to be had. A lock names no mirror; this is found anew on each machine:
 *
 *   1. the dated archive that the user names with --snapshot,
 *   2. Mirror=SUITE=URI, else Mirror=URI of the recipe,
 *   3. what this machine's apt is set up for: the address that serves Debian's own main component; for suites named
 *      *-security the one that serves such a suite, else the first one's sibling ".../debian-security". */

#include "apt.h"
#include "lock.h"

typedef struct LockMirrors {
        struct LockMirror {
                char *suite;
                char **uris; /* base URIs without a slash at the end, in order of preference */
        } * items;
        size_t n_items;
        AptSettings *settings; /* owned; the machine's, for its proxies */
        bool snapshot;         /* a dated archive: expired by nature */
} LockMirrors;

/* For all suites of the recipe. snapshot_uri may be NULL. REFUSAL_BAD_VALUE says how to name a mirror if none is known.
 */
int lock_mirrors_find(const Recipe *recipe, const char *snapshot_uri, LockMirrors **ret, Error *reterr);
LockMirrors *lock_mirrors_free(LockMirrors *m);
DEFINE_CLEANUP(LockMirrors *, lock_mirrors_free)
/* NULL if the suite is not there. */
char *const *lock_mirrors_get(const LockMirrors *m, const char *suite);

/* The parts, for tests. The text is that of "apt-get indextargets" with one URI|SUITE|COMPONENT|ORIGIN a line; an
 * origin that is empty or "$(ORIGIN)" is not known. NULL if there is none. */
char *mirror_from_targets(const char *targets, bool security);
/* "https://host/debian/2026" -> "https://host/debian-security/2026"; NULL if no part of the path is called "debian". */
char *mirror_security_sibling(const char *uri);
bool mirror_is_security(const char *suite);
