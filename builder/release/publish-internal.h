/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of publish share: publish.c (a new release), -describe.c (what it is), -list.c (channels and what
 * changes them), -older.c and -delta.c (what devices download), -later.c (deltas of what is public). */

#include "pack-layout.h"
#include "publish.h"
#include "release-files.h"

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
/* The frames of a new release's pack, from its map (pack-layout.h) and those of the releases before. */
int publish_layout(const Repository *r, const ReleaseDescription *d, const BlockMap *map, FrameIndex **ret,
                   Error *reterr);
/* Folder for unnamed files. */
const char *publish_scratch(const PublishOptions *opt);
bool publish_same_content(const ReleaseDescription *a, const ReleaseDescription *b);

/* Into the signed part of a channel's metadata: a target; all targets of a release as another channel has them; the
 * description of a release whose own target is there (what else the target's custom object holds stays). */
void publish_set_target(json_t *signed_part, const char *path, uint64_t length, const Sha256 *sha256);
void publish_copy_targets(json_t *signed_part, const TufMetadata *from, const ReleaseDescription *d);
int publish_set_description(json_t *signed_part, const ReleaseDescription *d, Error *reterr);

/* Takes the deltas of all but the newest keep releases of the product that are on offer out of the channel. newest: a
 * version that this change adds; NULL: none. removed may be NULL. */
int publish_remove_deltas(Change *c, const ChannelList *l, const char *product, const char *newest, size_t keep,
                          char ***removed, Error *reterr);
/* From a description, and from the targets beside it. */
void publish_remove_delta(json_t *signed_part, ReleaseDescription *d, size_t i);
/* The deltas of a release whose targets were just copied into the channel: those that other releases of the channel can
 * make use of stay. */
void publish_keep_useful_deltas(json_t *signed_part, const ChannelList *l, ReleaseDescription *d);
/* publish_deltas() for a release that this change brings into the channel from another one. */
int publish_deltas_of_new(Change *c, const ChannelList *l, const char *product, const char *version, uint64_t budget,
                          const PublishOptions *opt, Error *reterr);
