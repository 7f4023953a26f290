/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Locked packages -> a tree of their files, without running any script. Each package is checked against the lock;
 * they are decompressed by all processors. */

#include "lock.h"
#include "store.h"
#include "tree.h"

/* Adds to the tree, in the order given. */
int unpack_packages(const Store *store, const LockPackage *const *packages, size_t n_packages, Tree *into,
                    Error *reterr);
/* All packages of one purpose in a tree of their own, with the links of a merged /usr, so that programs run in it. */
int unpack_purpose(const Store *store, const Lock *lock, LockPurpose purpose, Tree **ret, Error *reterr);
