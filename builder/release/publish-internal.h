/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What publish.c, publish-list.c and publish-describe.c share. */

#include "publish.h"

/* The releases that a channel has now. */
typedef struct ChannelList {
        const char *name;           /* borrowed */
        const TufMetadata *channel; /* borrowed */
        PublishedRelease *items;
        size_t n_items;
} ChannelList;

void channel_list_done(ChannelList *l);
#define _cleanup_channel_list_ _cleanup_(channel_list_done)
/* REFUSAL_NOT_FOUND with the names of those that there are. */
int channel_list_read(const Repository *r, const char *channel, ChannelList *ret, Error *reterr);
/* NULL: not there. */
const PublishedRelease *channel_list_find(const ChannelList *l, const char *product, const char *version);
/* The newest one of the product that is on offer, this version aside. NULL: none. */
const PublishedRelease *channel_list_newest(const ChannelList *l, const char *product, const char *but_version);

/* True if any channel lists the release. */
bool channel_list_any(const Repository *r, const char *product, const char *version);

/* Everything a release says about itself, after checking that its parts belong together and are signed; rollout, epoch
 * and what people decide are left empty. */
int publish_describe(const Release *release, const PublishOptions *opt, ReleaseDescription **ret, Error *reterr);

/* The rules that a release must fulfil to enter the channel. 1: it is there already. */
int publish_check_rules(const Repository *r, const ChannelList *l, const ReleaseDescription *d,
                        const PublishOptions *opt, Error *reterr);
/* What people decide, from the options; what they leave out stays as it is. published: some channel has the release, so
 * that only what a channel decides can still be set. before: the rollout that this channel has for it; NULL: it is new
 * there. */
int publish_set_terms(ReleaseDescription *d, const ChannelList *l, bool published, const Rollout *before,
                      const PublishOptions *opt, Error *reterr);
bool publish_same_content(const ReleaseDescription *a, const ReleaseDescription *b);

/* Into the signed part of a channel's metadata: a target; all targets of a release as another channel has them; the
 * description of a release whose own target is there (what else the target's custom object holds stays). */
void publish_set_target(json_t *signed_part, const char *path, uint64_t length, const Sha256 *sha256);
void publish_copy_targets(json_t *signed_part, const TufMetadata *from, const ReleaseDescription *d);
int publish_set_description(json_t *signed_part, const ReleaseDescription *d, Error *reterr);
