/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The same work on many items, by one forked child for each processor. Results come back as bytes and are taken in the
 * order of the items, so that what is made of them does not depend on how many processors there were. */

#include "error.h"

/* In a child (or here, where there is only one processor): fills ret. */
typedef int (*ParallelWork)(size_t item, Buffer *ret, void *userdata, Error *reterr);
/* Here: data is borrowed and NUL-terminated behind size. */
typedef int (*ParallelTake)(size_t item, const char *data, size_t size, void *userdata, Error *reterr);

/* The first failure by order of items is the one that is reported; no child is left. */
int parallel_run(size_t n_items, ParallelWork work, ParallelTake take, void *userdata, Error *reterr);
/* With that many children at most (0: one for each processor). */
int parallel_run_workers(size_t n_workers, size_t n_items, ParallelWork work, ParallelTake take, void *userdata,
                         Error *reterr);
