/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From what a recipe asks for to exact packages: the one step that looks at the network for versions. The machine's apt
 * solves in a private folder; every digest in the result comes from an index that we checked against the archive's
 * signature ourselves. */

#include "lock.h"
#include "mirrors.h"
#include "progress.h"
#include "store.h"

typedef struct LockResolveOptions {
        const char *snapshot_uri; /* a dated archive; NULL: the recipe's or the machine's mirrors */
        const Lock *previous;     /* no suite may be older than here; NULL: anything goes */
        bool allow_older;         /* ... or may be all the same */
} LockResolveOptions;

/* image: the suites' essential packages, the recipe's list, its kernel and its local packages; initrd and tools: the
 * lists of recipe_initrd_packages() and recipe_tools_packages() and the recipe's own; each with its dependencies,
 * solved by itself. Recommended packages come along for the image only, and only if the recipe says so.
 *
 * Local packages enter the store; the others are not downloaded. *ret_mirrors (may be NULL) is where they are to be
 * had. progress and opt may be NULL. */
int lock_resolve(const Recipe *recipe, Store *store, Progress *progress, const LockResolveOptions *opt, Lock **ret,
                 LockMirrors **ret_mirrors, Error *reterr);

/* Says what a failed "apt-get update" means, from its output: which suite, which refusal, what to do. */
int resolve_explain_update(const char *output, char *const *suites, Error *reterr);
