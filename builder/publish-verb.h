/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "error.h"
#include "progress.h"

#define PUBLISH_NO_EPOCH UINT64_MAX

typedef struct PublishVerbOptions {
        const char *keys, *channel, *rollout, *notes, *export_path;
        uint64_t epoch;  /* PUBLISH_NO_EPOCH: the channel's */
        uint64_t deltas; /* from so many releases */
        uint64_t workers;
        char **supersedes, **from;
        bool critical, dry_run, allow_development, allow_older, allow_over_budget;
        bool json;
        Progress *progress;
} PublishVerbOptions;

/* sealab publish: a release into a repository; prints what devices will see. */
int publish_verb(const char *release, const char *place, const PublishVerbOptions *opt, Error *reterr);
