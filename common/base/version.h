/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Versions of images: their order (UAPI.10, the Version Format Specification that boot loader and systemd use), which
 * ones we accept, which comes next, and a number that rises with them. Pure functions. */

#include "util.h"

#define VERSION_LENGTH_MAX 32

/* Below zero, zero or above zero as a is older than, as old as, or newer than b. */
int version_compare(const char *a, const char *b);

/* What an image's version may look like: it becomes part of file names, partition labels and boot entries. 1 to 32 of
 * letters, digits and . + ~ ^ -, beginning with a letter or digit; no digit behind a '+', for the boot loader would
 * take that for its counter of tries (NAME_1.0+3.efi). */
bool version_is_valid(const char *version);

/* "2026.11.3": year and month (UTC) of the time given, and a counter. Higher than each of the existing versions of this
 * shape (NULL-terminated, may be NULL; others are ignored): if one of them belongs to a later month, counting goes on
 * there. */
char *version_next(int64_t epoch, char *const *existing);

/* A small number of seconds that rises with the version, below VERSION_ORDINAL_MAX. Added to a build's time it makes
 * /usr's own time rise with each release even where the packages did not change. It rises strictly between versions of
 * the same shape whose parts stay below these limits, and never falls between versions of the same shape:
 *
 *     YYYY.M.N          YYYY 2020-2999, N below 1000: ((YYYY - 2020) * 12 + M) * 1000 + N
 *     YYYYMMDD[.N]      N below 500
 *     A                 A below 300,000,000
 *     A.B               A below 30,000, B below 10,000
 *     A.B.C             A below 300, B and C below 1000
 *     A.B.C.D[...]      A below 300, B, C and D below 100; what follows does not count
 *
 * Leading letters ("v1.2") and everything from the first other character on ("1.2-3", "1.2~rc1") do not count. */
#define VERSION_ORDINAL_MAX INT64_C(315000000) /* ten years */
int64_t version_ordinal(const char *version);
