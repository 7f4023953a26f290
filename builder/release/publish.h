/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a signed release folder to targets of a repository. */

#include "description.h"
#include "frame-index.h"
#include "release.h"
#include "repository.h"

#define PUBLISH_FRAME_SIZE ((size_t) 1 << 20)

/* The /usr image as a pack: independent zstd frames, each of PUBLISH_FRAME_SIZE bytes of the image (the last one: the
 * rest), with content size and checksum, one after the other, so that "zstd -d" reads the whole and a device can begin
 * at any frame. An empty image is one empty frame. Same image, same bytes, whatever the number of workers (0: one for
 * each processor). ret_index may be NULL. */
int pack_write(int image_fd, uint64_t image_size, int pack_fd, unsigned workers, Progress *progress,
               FrameIndex **ret_index, uint64_t *ret_size, Sha256 *ret_sha256, Error *reterr);

typedef struct PublishOptions {
        const char *channel; /* NULL: "stable" */
        const char *rollout; /* rollout_parse(); NULL: everybody */
        const char *notes;   /* NULL: none */
        uint64_t epoch;
        bool epoch_set; /* else the newest one of the channel */
        bool critical;
        char *const *supersedes;
        const char *minimum_updater; /* NULL: "0.1.0" */
        const char *scratch;         /* folder for the pack; NULL: a temporary one */
        unsigned workers;            /* 0: all cores */
        int64_t now;
        Progress *progress;
} PublishOptions;

/* Adds the release's files and its targets to the change. Refused: an unsigned release (REFUSAL_BAD_SIGNATURE),
 * development keys unless the repository's own are (allow_development), a version that the channel has with another
 * root hash (REFUSAL_EXISTS), one that is older than the channel's newest (REFUSAL_ROLLBACK; force with allow_older).
 * The same release again is no error: 1, nothing to do. */
int publish_add(Change *c, const Release *release, const PublishOptions *opt, Error *reterr);
/* From one channel to another: the same targets and files, a rollout of its own. */
int publish_promote(Change *c, const char *product, const char *version, const char *to_channel,
                    const PublishOptions *opt, Error *reterr);
/* In every channel that has it, or only in one. */
int publish_withdraw(Change *c, const char *product, const char *version, const char *channel, const char *reason,
                     Error *reterr);
/* Takes releases out of the metadata: all but the newest keep of each product and channel, and withdrawn ones older
 * than the newest. *ret_removed: "stable laptop 2026.10.1". */
int publish_expire(Change *c, size_t keep, char ***ret_removed, Error *reterr);

/* What a channel offers, newest first; borrowed targets, owned descriptions. */
typedef struct PublishedRelease {
        const TufTarget *target;
        ReleaseDescription *description;
} PublishedRelease;
int published_releases(const TufMetadata *channel, const char *what, PublishedRelease **ret, size_t *ret_n,
                       Error *reterr);
void published_releases_free(PublishedRelease *releases, size_t n);
