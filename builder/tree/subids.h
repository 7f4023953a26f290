/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Subordinate ids of the calling user: subuid(5), subgid(5). */

#include "error.h"

/* A target's ids are 0-65535 (65534 is nobody). */
#define SUBIDS_NEEDED 65536

typedef struct SubIds {
        uint64_t start, count;
} SubIds;

/* The first range of at least SUBIDS_NEEDED ids that the file gives the calling user, by name or by number.
 * REFUSAL_MACHINE with the line to add if there is none. */
int subids_for_user(const char *path, SubIds *ret, Error *reterr);
/* The same from text, for a user of this name and number; 0 or -ENOENT. Malformed lines are passed over, as shadow
 * does. */
int subids_parse(const char *text, const char *name, uid_t uid, SubIds *ret);
