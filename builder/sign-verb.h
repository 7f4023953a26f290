/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "error.h"
#include "progress.h"

typedef struct SignVerbOptions {
        const char *keys;
        const char *export_path, *sign_path, *out_path, *import_path;
        bool release_build;
        Progress *progress;
} SignVerbOptions;

/* sealab sign: signs a release with keys at hand, or does one of the three steps of the offline ceremony. release is
 * NULL with sign_path. */
int sign_verb(const char *release, const SignVerbOptions *opt, Error *reterr);
