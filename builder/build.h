/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The pipeline: recipe and lock -> tree -> image -> sealed, signed release folder. Offline. Everything is made in a
 * hidden folder beside the result and appears by one rename. */

#include "error.h"
#include "hash.h"
#include "progress.h"

/* Hidden folders in the output folder in which releases are made: this and the number of the process that will remove
 * them. */
#define BUILD_SCRATCH_PREFIX ".building-"

/* Derived files in the store beyond this are removed after a build, those unused longest first: room for about ten
 * recipes of the size of a desktop. */
#define BUILD_CACHE_MAX (UINT64_C(16) << 30)

typedef struct BuildOptions {
        const char *recipe;  /* folder */
        const char *output;  /* folder for releases; created */
        const char *version; /* NULL: the recipe's, else from the lock's date and a counter */
        const char
                *keys; /* folder with the roles' keys; NULL: the recipe's, else keys/dev if it exists, else unsigned */
        const char *store;   /* NULL: default */
        const char *scratch; /* hidden folder in which the release is made: its name inside output; NULL: made up */
        bool release;        /* refuse development keys, unsigned results and changes of ids.lock */
        bool frozen_ids;     /* refuse changes of ids.lock */
        bool no_disk;        /* leave out the disk image */
        bool no_cache;       /* do every step anew */
        uint64_t workers;    /* compressing threads; 0: one for each processor */
        Progress *progress;
} BuildOptions;

/* *ret_folder is the release's folder. */
int build_run(const BuildOptions *opt, char **ret_folder, Error *reterr);

/* What build_run() would do: a table of steps, keys and reasons, or JSON. */
int build_plan(const BuildOptions *opt, bool json, char **ret_text, Error *reterr);

/* sealab verify --reproducible: builds the release's version again from the recipe and compares. */
int build_compare(const BuildOptions *opt, const char *release_folder, Error *reterr);
