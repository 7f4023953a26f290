/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What channels hold, and the changes that need no release folder: promote, withdraw, expire. */

#include "publish-internal.h"
#include "version.h"

/* ---- reading ---- */

static int compare_releases(const void *a, const void *b) {
        const ReleaseDescription *x = ((const PublishedRelease *) a)->description,
                                 *y = ((const PublishedRelease *) b)->description;
        int r = strcmp(x->product, y->product);

        return r != 0 ? r : version_compare(y->version, x->version);
}

void published_releases_free(PublishedRelease *releases, size_t n) {
        for (size_t i = 0; i < n; i++)
                description_free(releases[i].description);
        free(releases);
}

typedef struct Releases {
        PublishedRelease *items;
        size_t n_items, n_allocated;
} Releases;

static void releases_done(Releases *l) {
        published_releases_free(l->items, l->n_items);
}

int published_releases(const TufMetadata *channel, const char *what, PublishedRelease **ret, size_t *ret_n,
                       Error *reterr) {
        _cleanup_(releases_done) Releases l = {};

        for (size_t i = 0; i < channel->n_targets; i++) {
                const TufTarget *target = channel->targets + i;
                _cleanup_free_ char *inside = xasprintf("%s: %s", what, target->path), *wanted = NULL;
                ReleaseDescription *d = NULL;
                int r;

                if (!endswith(target->path, "/" DESCRIPTION_TARGET_FILE) || !json_object_get(target->custom, "sealab"))
                        continue;
                r = description_parse(target->custom, inside, &d, reterr);
                if (r < 0)
                        return r;
                GROW(l.items, l.n_items, l.n_allocated);
                l.items[l.n_items++] = (PublishedRelease){ .target = target, .description = d };
                wanted = description_target_path(d->product, d->version, DESCRIPTION_TARGET_FILE);
                if (!streq(target->path, wanted))
                        return error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s describes %s %s", inside, d->product,
                                         d->version);
        }
        if (l.n_items > 0)
                qsort(l.items, l.n_items, sizeof(*l.items), compare_releases);
        *ret = TAKE_PTR(l.items);
        *ret_n = l.n_items;
        l.n_items = 0;
        return 0;
}

void channel_list_done(ChannelList *l) {
        published_releases_free(l->items, l->n_items);
        *l = (ChannelList){};
}

int channel_list_read(const Repository *r, const char *channel, ChannelList *ret, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;
        _cleanup_free_ char *joined = NULL, *what = xasprintf("channel %s", channel);
        ChannelList l = {};
        int result;

        for (size_t i = 0; i < r->targets->n_delegations; i++) {
                strv_extend(&names, r->targets->delegations[i].name);
                if (streq(r->targets->delegations[i].name, channel)) {
                        l.name = r->targets->delegations[i].name;
                        l.channel = repository_role(r, channel);
                }
        }
        joined = names ? strv_join(names, ", ") : xstrdup("none");
        if (!l.channel) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no channel \"%s\"", storage_name(r->storage),
                          channel);
                return error_hint(reterr, "It has: %s. \"sealab repo channel %s NAME\" makes another.", joined,
                                  storage_name(r->storage));
        }
        result = published_releases(l.channel, what, &l.items, &l.n_items, reterr);
        if (result < 0)
                return result;
        *ret = l;
        return 0;
}

const PublishedRelease *channel_list_find(const ChannelList *l, const char *product, const char *version) {
        for (size_t i = 0; i < l->n_items; i++)
                if (streq(l->items[i].description->product, product) &&
                    streq(l->items[i].description->version, version))
                        return l->items + i;
        return NULL;
}

const PublishedRelease *channel_list_newest(const ChannelList *l, const char *product, const char *but_version) {
        for (size_t i = 0; i < l->n_items; i++) {
                const ReleaseDescription *d = l->items[i].description;

                if (streq(d->product, product) && !d->withdrawn && !streq_ptr(d->version, but_version))
                        return l->items + i;
        }
        return NULL;
}

bool channel_list_any(const Repository *r, const char *product, const char *version) {
        _cleanup_free_ char *path = description_target_path(product, version, DESCRIPTION_TARGET_FILE);

        for (size_t i = 0; i < r->n_channels; i++)
                if (tuf_find_target(r->channels[i], path))
                        return true;
        return false;
}

static int not_published(const Repository *r, const char *product, const char *version, const char *channel,
                         Error *reterr) {
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s%s has %s%s %s", channel ? "channel " : "no channel of ",
                  channel ?: storage_name(r->storage), channel ? "no " : "", product, version);
        return error_hint(reterr, "\"sealab repo status %s\" lists what there is.", storage_name(r->storage));
}

/* ---- promote ---- */

/* Another channel's rather than the target's own. */
static int find_source(const Repository *r, const ChannelList *to, const char *product, const char *version,
                       ChannelList *ret, const PublishedRelease **ret_release, Error *reterr) {
        for (size_t i = 0; i < r->n_channels; i++) {
                _cleanup_channel_list_ ChannelList l = {};
                int result;

                if (streq(r->targets->delegations[i].name, to->name))
                        continue;
                result = channel_list_read(r, r->targets->delegations[i].name, &l, reterr);
                if (result < 0)
                        return result;
                *ret_release = channel_list_find(&l, product, version);
                if (!*ret_release)
                        continue;
                *ret = l;
                l = (ChannelList){};
                return 0;
        }
        *ret_release = channel_list_find(to, product, version);
        return *ret_release ? 0 : not_published(r, product, version, NULL, reterr);
}

static bool terms_given(const PublishOptions *opt) {
        return opt->rollout || opt->notes || opt->epoch_set || opt->critical || opt->supersedes;
}

int publish_promote(Change *c, const char *product, const char *version, const char *to_channel,
                    const PublishOptions *opt, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_channel_list_ ChannelList to = {}, from = {};
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_json_ json_t *described = NULL, *described_before = NULL;
        const PublishedRelease *source, *existing;
        json_t *signed_part;
        int r;

        r = channel_list_read(repository, to_channel, &to, reterr);
        if (r >= 0)
                r = find_source(repository, &to, product, version, &from, &source, reterr);
        if (r >= 0)
                r = publish_check_rules(repository, &to, source->description, opt, reterr);
        if (r < 0)
                return r;
        existing = channel_list_find(&to, product, version);
        if (existing && !terms_given(opt))
                return 1;
        source = existing ?: source;
        r = description_parse(source->target->custom, source->target->path, &d, reterr);
        if (r >= 0)
                r = publish_set_terms(d, &to, true, existing ? &existing->description->rollout : NULL, opt, reterr);
        if (r < 0)
                return r;
        described = description_to_json(d);
        described_before = description_to_json(source->description);
        if (existing && json_equal(described, described_before))
                return 1;
        signed_part = change_edit(c, to.name);
        if (!existing) {
                publish_copy_targets(signed_part, from.channel, d);
                publish_keep_useful_deltas(signed_part, &to, d);
        }
        r = publish_set_description(signed_part, d, reterr);
        if (r < 0 || existing)
                return r;
        return publish_remove_deltas(c, &to, product, version, PUBLISH_DELTA_RELEASES, NULL, reterr);
}

/* ---- withdraw ---- */

static int withdraw_from(Change *c, const ChannelList *l, const PublishedRelease *release, const char *reason,
                         Error *reterr) {
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        json_t *signed_part;
        int r;

        r = description_parse(release->target->custom, release->target->path, &d, reterr);
        if (r < 0)
                return r;
        d->withdrawn = xstrdup(reason);
        signed_part = change_edit(c, l->name);
        /* Nobody goes there any more. */
        while (d->n_deltas > 0)
                publish_remove_delta(signed_part, d, d->n_deltas - 1);
        return publish_set_description(signed_part, d, reterr);
}

int publish_withdraw(Change *c, const char *product, const char *version, const char *channel, const char *reason,
                     Error *reterr) {
        const Repository *repository = change_repository(c);
        size_t n_found = 0, n_withdrawn = 0;
        int r;

        if (isempty(reason)) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "withdrawing a release needs a reason");
                return error_hint(reterr, "Owners of devices read it: --reason \"...\"");
        }
        for (size_t i = 0; i < repository->n_channels; i++) {
                const char *name = repository->targets->delegations[i].name;
                _cleanup_channel_list_ ChannelList l = {};
                const PublishedRelease *release;

                if (channel && !streq(channel, name))
                        continue;
                r = channel_list_read(repository, name, &l, reterr);
                if (r < 0)
                        return r;
                release = channel_list_find(&l, product, version);
                if (!release)
                        continue;
                n_found++;
                if (release->description->withdrawn)
                        continue;
                r = withdraw_from(c, &l, release, reason, reterr);
                if (r < 0)
                        return r;
                n_withdrawn++;
        }
        if (channel && n_found == 0) {
                _cleanup_channel_list_ ChannelList l = {};

                r = channel_list_read(repository, channel, &l, reterr);
                if (r < 0)
                        return r;
        }
        if (n_found == 0)
                return not_published(repository, product, version, channel, reterr);
        return n_withdrawn == 0;
}

/* ---- expire ---- */

static void remove_release(json_t *signed_part, const ReleaseDescription *d) {
        _cleanup_free_ char *folder = description_target_path(d->product, d->version, "");
        json_t *targets = json_object_get(signed_part, "targets"), *value;
        const char *path;
        void *next;

        json_object_foreach_safe(targets, next, path, value) if (startswith(path, folder))
                json_object_del(targets, path);
}

static int expire_channel(Change *c, const char *channel, size_t keep, char ***removed, Error *reterr) {
        _cleanup_channel_list_ ChannelList l = {};
        const char *product = NULL;
        size_t n_offered = 0;
        int r;

        r = channel_list_read(change_repository(c), channel, &l, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < l.n_items; i++) {
                const ReleaseDescription *d = l.items[i].description;

                if (!streq_ptr(product, d->product))
                        n_offered = 0;
                product = d->product;
                /* The newest stays even if it was withdrawn: its devices read so here. */
                if (d->withdrawn ? n_offered == 0 : n_offered++ < keep)
                        continue;
                remove_release(change_edit(c, channel), d);
                strv_extendf(removed, "%s %s %s", channel, d->product, d->version);
        }
        return 0;
}

int publish_expire(Change *c, size_t keep, char ***ret_removed, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_strv_free_ char **removed = NULL;

        if (keep == 0)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "at least one release of each product must stay");
        for (size_t i = 0; i < repository->n_channels; i++) {
                int r = expire_channel(c, repository->targets->delegations[i].name, keep, &removed, reterr);

                if (r < 0)
                        return r;
        }
        *ret_removed = TAKE_PTR(removed);
        return 0;
}
