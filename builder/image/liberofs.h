/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A child process for liberofs to run in. It keeps state for the whole process (a second image would come out
 * different), prints its errors instead of returning them, and asserts what it ought to check. In a child all of that
 * becomes an Error here. The child dies with this process. */

#include "error.h"

/* Longest time without a sign of life (liberofs_alive) before the child is given up: it can wait for ever for a worker
 * thread that failed. Far beyond what one file takes on a slow disk. */
#define LIBEROFS_STALL_SEC 600

typedef struct LiberofsChild LiberofsChild;

/* Runs in the child, on a copy of the caller's memory; results go to the stream. Returns 0, or a negative errno with
 * reterr filled in. What liberofs itself complains about ends the child without f having to do anything. */
typedef int (*LiberofsFunc)(FILE *to_parent, void *userdata, Error *reterr);

/* refusal is the id under which complaints of liberofs, and its crashes, are reported; what begins the sentence. */
int liberofs_start(const char *what, Refusal refusal, LiberofsFunc f, void *userdata, LiberofsChild **ret,
                   Error *reterr);
/* Reads what the child writes; borrowed. Ends early if the child fails. */
FILE *liberofs_stream(LiberofsChild *c);
/* Waits for the child. r and reterr are what reading its stream came to; if the child failed, its reason replaces them,
 * because it is the cause. */
int liberofs_finish(LiberofsChild *c, int r, Error *reterr);
/* Kills a child that still runs. */
LiberofsChild *liberofs_free(LiberofsChild *c);
DEFINE_CLEANUP(LiberofsChild *, liberofs_free)

/* For the child, from any of its threads: ends it, *e being the reason. */
_noreturn_ void liberofs_fail(Error *e);
/* For the child: another LIBEROFS_STALL_SEC seconds. */
void liberofs_alive(void);
