/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From the tree that packages left to the tree that is sealed: everything the system ships is below /usr, /etc is a
 * factory copy inside it, /var is described by tmpfiles lines, nothing in it belongs to one machine or one build.
 *
 * Two halves. The base depends on packages and on what the recipe leaves out: kernel, removals, alternatives, and
 * documents. It is the same from build to build and kept in the store. The finish depends on everything else: overlay,
 * settings, accounts and presets (by the locked tools), numbers of users and groups, state. Each step is a file of this
 * folder and can be read on its own. */

#include "ids.h"
#include "lock.h"
#include "progress.h"
#include "recipe.h"
#include "sandbox.h"
#include "store.h"
#include "tools.h"
#include "tree.h"

/* Rises when the same input would come out as another tree. */
#define HERMETIC_METHOD_VERSION 3

/* Works on the tree in place. *ret_kernel is the kernel's release ("6.12.107+deb13-amd64"), NULL if there is no kernel.
 * On failure the tree is in between and must be thrown away; the same holds for the finish. */
int hermetic_base(Tree *t, const Recipe *recipe, char **ret_kernel, Error *reterr);
/* Digest of what the recipe says about the base, for its cache key. */
void hermetic_base_key(const Recipe *recipe, Hasher *h);
/* The kernel's release in a tree that is based already, NULL if none. Owned. */
char *hermetic_kernel_release(const Tree *t);

typedef struct HermeticOptions {
        const Recipe *recipe;
        const Lock *lock;
        Store *store;
        SandboxMode mode;
        Tools *tools;
        Ids *ids;            /* extended by names that are new */
        const char *version; /* of the image */
        const char *kernel;  /* release, NULL if none */
        int64_t epoch;       /* the time every file gets */
        int64_t usr_epoch;   /* /usr's own: rises with every release, so that ConditionNeedsUpdate= fires */
        bool use_cache;
} HermeticOptions;

int hermetic_finish(const HermeticOptions *opt, Tree *t, Error *reterr);
