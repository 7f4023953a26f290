/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A job of sealabctl's own, without sealabd: for what no method of the bus takes. */

#include "client.h"
#include "job.h"

/* As client_run(), for root only. extra (may be NULL) are options for the job. */
int local_run(JobKind kind, char *const *arguments, char *const *extra,
              void (*progress)(const char *step, uint64_t done, uint64_t total, void *userdata), void *userdata,
              ClientResult *ret, Error *reterr);
