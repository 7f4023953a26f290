/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* sealab diff: what changed between two releases. */

#include "changes.h"

typedef struct DiffOptions {
        bool json; /* one JSON object on standard output instead of text; always complete */
        bool all;  /* text: every file, not only the first ones of each package */
} DiffOptions;

/* 1: they differ (exit status of REFUSAL_DIFFERENT); 0: they are the same in everything that reaches a device. */
int diff_releases(const char *a, const char *b, const DiffOptions *opt, Error *reterr);

char *diff_format_text(const Changes *c, bool all);
json_t *diff_to_json(const Changes *c);
