/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The older releases that devices may have when they go to a new one, what they download then, and the deltas that make
 * it less. */

#include "publish-internal.h"

typedef struct Older {
        char *version;
        ReleaseDescription *described; /* NULL: no channel lists it any more */
        Release *folder;               /* NULL: its files are only in the repository */
        bool deltas;                   /* else it is only looked at */
} Older;

typedef struct Olders {
        Older *items; /* newest first */
        size_t n_items, n_allocated;
} Olders;

void olders_done(Olders *o);
#define _cleanup_olders_ _cleanup_(olders_done)

/* Those that the options name, and the one that the budget is about. REFUSAL_NOT_FOUND; REFUSAL_BAD_VALUE for what is
 * not older; REFUSAL_USAGE for too many. */
int olders_find(const Repository *r, const ChannelList *l, const ReleaseDescription *d, uint64_t budget,
                const PublishOptions *opt, Olders *ret, Error *reterr);
int older_files(const Repository *r, const Older *o, const PublishOptions *opt, ReleaseFiles *ret, Error *reterr);

/* ---- publish-delta.c ---- */

/* A release that gets deltas. */
typedef struct DeltaTarget {
        ReleaseDescription *description; /* they are added there */
        json_t *signed_part;             /* and as targets here */
        const ReleaseFiles *files;
        const FrameIndex *index;
        const Buffer *map; /* as it is stored; empty: there is none */
        uint64_t pack_size, index_size, signature_size;
        unsigned level; /* how the image was made; 0: plain */
        size_t cluster_size;
} DeltaTarget;

/* Says what devices with these releases download, and adds the deltas that save something. */
int publish_add_deltas(Change *c, const DeltaTarget *t, const Olders *olders, const PublishOptions *opt, Downloads *ret,
                       Error *reterr);
/* REFUSAL_BUDGET if what a device with the channel's newest release downloads is too much. 0: no budget. */
int publish_check_budget(const ChannelList *l, const ReleaseDescription *d, const Downloads *downloads, uint64_t budget,
                         const PublishOptions *opt, Error *reterr);
