/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A manifest as sha256sum(1) writes it in binary mode: 64 digits, " *", a name. Sorted by name. */

#include "hash.h"

typedef struct SumsLine {
        char *name;
        Sha256 sha256;
} SumsLine;

typedef struct Sums {
        SumsLine *lines;
        size_t n_lines, n_allocated;
} Sums;

void sums_done(Sums *s);
#define _cleanup_sums_ _cleanup_(sums_done)

/* Text mode ("  ") is read too. Refused (REFUSAL_BAD_FORMAT): anything else, a name twice, and names that are not those
 * of files in the manifest's own folder or below. */
int sums_parse(const char *text, size_t size, const char *what, Sums *ret, Error *reterr);
char *sums_format(const Sums *s);
const SumsLine *sums_find(const Sums *s, const char *name); /* NULL: none */
void sums_set(Sums *s, const char *name, const Sha256 *sha256);
void sums_remove(Sums *s, const char *name);
