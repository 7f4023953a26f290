/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "error.h"
#include "progress.h"

typedef struct SysupdateVerbOptions {
        const char *gpg_key;
        uint64_t best_before; /* days; 0: none */
        uint64_t workers;
        bool allow_development, json;
        Progress *progress;
} SysupdateVerbOptions;

/* sealab publish --sysupdate-layout: a release into a folder for systemd-sysupdate; prints what it did. */
int sysupdate_verb(const char *release, const char *place, const SysupdateVerbOptions *opt, Error *reterr);
