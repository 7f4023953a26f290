/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The locked tools: programs of the image's own suite that do what only they do right, and the boot loader's files.
 * Unpacked when somebody first wants them: a build that finds everything in the cache wants very little. */

#include "lock.h"
#include "store.h"
#include "tree.h"

typedef struct Tools Tools;
/* Both are borrowed. */
Tools *tools_new(Store *store, const Lock *lock);
Tools *tools_free(Tools *t);
DEFINE_CLEANUP(Tools *, tools_free)

/* All of them in one tree, in which they run. Borrowed from t. */
int tools_tree(Tools *t, Tree **ret, Error *reterr);
/* One file of one package, which alone is unpacked for it. REFUSAL_NOT_FOUND if the lock has no such package for the
 * tools, or the package no such file. */
int tools_read_file(Tools *t, const char *package, const char *path, size_t max_size, char **ret, size_t *ret_size,
                    Error *reterr);
