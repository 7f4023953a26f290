/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a signed release folder to targets of a repository. */

#include "description.h"
#include "downloads.h"
#include "frame-index.h"
#include "release.h"
#include "repository.h"

/* The /usr image as a pack: the index's frames, each packed by itself, one after the other, so that a device can begin
 * at any of them. What they have become is filled in; what LZMA does not make smaller is zstd. Same image and frames,
 * same bytes, whatever the number of workers (0: one for each processor). */
int pack_write(int image_fd, FrameIndex *index, int pack_fd, unsigned workers, Progress *progress, Sha256 *ret_sha256,
               Error *reterr);

typedef struct PublishOptions {
        const char *channel; /* NULL: "stable" */
        const char *rollout; /* rollout_parse(); NULL: everybody */
        const char *notes;   /* NULL: none */
        uint64_t epoch;
        bool epoch_set; /* else the newest one of the channel */
        bool critical;
        char *const *supersedes;
        const char *minimum_updater; /* NULL: "0.1.0" */
        const char *scratch;         /* folder for the pack's unnamed file; NULL: $TMPDIR or /var/tmp */
        unsigned workers;            /* 0: all cores */
        bool allow_development;      /* a release signed with development keys */
        bool allow_older;            /* than the newest one of the channel, in version or epoch */
        size_t deltas;               /* from so many of the channel's newest older releases; 0: none */
        char *const *from;           /* older releases besides: versions that a channel has, or folders */
        bool allow_over_budget;      /* of what a device with the release before may have to download */
        Downloads *downloads;        /* filled in, also when the budget is exceeded; NULL: not asked for */
        int64_t now;
        Progress *progress;
} PublishOptions;

/* Releases of a channel that keep their deltas: nobody goes to others any more. */
#define PUBLISH_DELTA_RELEASES 2
#define PUBLISH_DELTAS_DEFAULT 3
#define PUBLISH_DELTAS_MAX (DESCRIPTION_DELTAS_MAX / 2)

/* Adds the release's files and its targets to the change, once every file, the root hash over the image and the UKI's
 * command line were checked. Refused: an unsigned release (REFUSAL_BAD_SIGNATURE), development keys unless allowed
 * (REFUSAL_KEY), a version that any channel has with other content (REFUSAL_EXISTS) or that was withdrawn
 * (REFUSAL_WITHDRAWN), one that is older than the channel's newest or has a lower epoch (REFUSAL_ROLLBACK). A release
 * that another channel has already is taken from there as it is, without being packed again. The same release again is
 * no error: 1, nothing to do. All rules are about what is public when the change begins.
 * Deltas (opt->deltas, from) are made unless they would save nothing; those to older releases of the channel but the
 * newest PUBLISH_DELTA_RELEASES leave the metadata. REFUSAL_BUDGET: see opt->allow_over_budget; the budget is the
 * release's own. */
int publish_add(Change *c, const Release *release, const PublishOptions *opt, Error *reterr);
/* Into another channel: the same targets and files, a rollout of its own; notes, critical and supersedes stay unless
 * given, epoch and oldest updater always do. Where the channel has the release already, what is given (at least a
 * rollout) replaces what it had; a share that was reached is not taken back unless the new rollout has no growth. 1:
 * nothing to do. */
int publish_promote(Change *c, const char *product, const char *version, const char *to_channel,
                    const PublishOptions *opt, Error *reterr);
/* Deltas for a release that the channel has, from older ones that it does not have deltas from yet. What another
 * channel has is taken from there. 1: nothing to do. */
int publish_deltas(Change *c, const char *product, const char *version, const PublishOptions *opt, Error *reterr);
/* Takes deltas out of the metadata: all but those of the newest keep releases (0 or more) of each product and channel.
 * *ret_removed: "stable laptop 2026.10.1, from 2026.9.3"; NULL: none. */
int publish_expire_deltas(Change *c, size_t keep, char ***ret_removed, Error *reterr);
/* In every channel that has it, or only in one (channel not NULL). 1: it was withdrawn already. */
int publish_withdraw(Change *c, const char *product, const char *version, const char *channel, const char *reason,
                     Error *reterr);
/* Takes releases out of the metadata: all but the newest keep (1 or more) that are on offer of each product and
 * channel, and withdrawn ones older than the newest on offer. *ret_removed: "stable laptop 2026.10.1"; NULL: none.
 * Files are left for garbage collection. */
int publish_expire(Change *c, size_t keep, char ***ret_removed, Error *reterr);

/* What a channel lists, withdrawn ones too: by product, newest version first; borrowed targets, owned descriptions. */
typedef struct PublishedRelease {
        const TufTarget *target;
        ReleaseDescription *description;
} PublishedRelease;
int published_releases(const TufMetadata *channel, const char *what, PublishedRelease **ret, size_t *ret_n,
                       Error *reterr);
void published_releases_free(PublishedRelease *releases, size_t n);
/* Names of the files, below PRODUCT/VERSION/, that are not files of the release's folder. */
#define PUBLISH_PACK_SUFFIX ".usr.pack"
#define PUBLISH_INDEX_SUFFIX ".usr.index" /* frame-index.h */
#define PUBLISH_MAP_SUFFIX ".usr.map"     /* block-map.h */
#define PUBLISH_UKI_MAP_SUFFIX ".efi.map" /* the same of the UKI */
#define PUBLISH_DELTA_SUFFIX ".delta"     /* delta.h; "2026.10.1.usr.delta" makes /usr out of that version's */
