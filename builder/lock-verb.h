/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "progress.h"
#include "recipe.h"

typedef struct LockVerbOptions {
        bool update, allow_older, json;
        const char *snapshot;   /* base URI of a dated archive */
        const char *store_from; /* another store's folder */
        const char *store;
        Progress *progress;
} LockVerbOptions;

/* sealab lock: makes, completes or updates recipe.lock and fetches what it names. */
int lock_verb(const Recipe *recipe, const LockVerbOptions *opt, Error *reterr);
