/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One publisher at a time in a bucket: an object that only one can have made. */

#include "s3.h"

typedef struct S3Lock S3Lock;

int s3_lock_take(S3 *s, S3Lock **ret, Error *reterr);
/* Removes it if it is still ours. */
S3Lock *s3_lock_free(S3Lock *l);
/* To be called before everything that is written: says so if another publisher has broken the lock meanwhile
 * (REFUSAL_BUSY), and keeps it young. l may be NULL. Costs a request every ten minutes only. */
int s3_lock_keep(S3Lock *l, Error *reterr);

#define S3_LOCK_NAME "lock"
