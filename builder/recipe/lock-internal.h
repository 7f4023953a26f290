/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files that make and read locks share. Private to builder/recipe. */

#include "json.h"
#include "lock.h"

#define LOCK_FORMAT 1
#define LOCK_NAME_MAX 255 /* names, versions, suites: what file names of packages can hold */
#define LOCK_PACKAGE_SIZE_MAX ((uint64_t) 64 << 30)
#define LOCK_SUITES_MAX 64
#define LOCK_INDEXES_MAX 1000 /* of one suite */
#define LOCK_SIGNERS_MAX 64   /* of one suite */

void lock_package_done(LockPackage *p);
void lock_suite_done(LockSuite *s);

/* By name, then architecture. */
void lock_sort(Lock *l);
/* Whether every field is one that lock_parse() takes; what names the document in messages. */
int lock_check_package(const LockPackage *p, const char *what, Error *reterr);
int lock_check_suite(const LockSuite *s, const char *what, Error *reterr);
/* No package twice. Wants a sorted lock. */
int lock_check_unique(const Lock *l, const char *what, Error *reterr);

/* "2026-09-12T07:55:41Z"; the reader takes nothing else. */
char *lock_time_format(int64_t seconds);
bool lock_time_parse(const char *text, int64_t *ret);

/* 0: no such purpose. */
LockPurpose lock_purpose_from_name(const char *name);
json_t *lock_purpose_to_json(LockPurpose purpose);
