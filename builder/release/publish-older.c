/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "publish-older.h"
#include "io.h"
#include "version.h"

void olders_done(Olders *o) {
        for (size_t i = 0; i < o->n_items; i++) {
                free(o->items[i].version);
                description_free(o->items[i].described);
                release_free(o->items[i].folder);
        }
        free(o->items);
        *o = (Olders){};
}

static Older *find(Olders *o, const char *version) {
        for (size_t i = 0; i < o->n_items; i++)
                if (streq(o->items[i].version, version))
                        return &o->items[i];
        return NULL;
}

static Older *add(Olders *o, const char *version) {
        Older *older = find(o, version);

        if (older)
                return older;
        GROW(o->items, o->n_items, o->n_allocated);
        older = &o->items[o->n_items++];
        *older = (Older){ .version = xstrdup(version) };
        return older;
}

static int add_published(Olders *o, const PublishedRelease *release, bool deltas, Error *reterr) {
        Older *older = add(o, release->description->version);

        older->deltas |= deltas;
        if (older->described)
                return 0;
        return description_parse(release->target->custom, release->target->path, &older->described, reterr);
}

static int check_older(const ReleaseDescription *d, const char *product, const char *version, Error *reterr) {
        if (!streq(product, d->product))
                return error_set(reterr, EINVAL, REFUSAL_MIXED, "%s %s is no release of %s", product, version,
                                 d->product);
        if (version_compare(version, d->version) >= 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s %s is not older than %s", product, version,
                                 d->version);
        return 0;
}

/* A withdrawn one too: who has it shall leave it. */
static int add_newest(Olders *o, const ChannelList *l, const ReleaseDescription *d, size_t n, Error *reterr) {
        for (size_t i = 0; i < l->n_items && n > 0; i++) {
                const ReleaseDescription *other = l->items[i].description;
                int r;

                if (!streq(other->product, d->product) || !streq(other->architecture, d->architecture) ||
                    version_compare(other->version, d->version) >= 0)
                        continue;
                r = add_published(o, &l->items[i], true, reterr);
                if (r < 0)
                        return r;
                n--;
        }
        return 0;
}

static int add_budgeted(Olders *o, const ChannelList *l, const ReleaseDescription *d, Error *reterr) {
        const PublishedRelease *previous = channel_list_newest(l, d->product, d->version);

        if (!previous || version_compare(previous->description->version, d->version) >= 0)
                return 0;
        return add_published(o, previous, false, reterr);
}

/* In the channel itself, or in another one. 1: in none. */
static int add_version(Olders *o, const Repository *r, const ChannelList *l, const ReleaseDescription *d,
                       const char *version, Error *reterr) {
        const PublishedRelease *release = channel_list_find(l, d->product, version);
        int result;

        if (release)
                return add_published(o, release, true, reterr);
        for (size_t i = 0; i < r->n_channels; i++) {
                _cleanup_channel_list_ ChannelList other = {};

                result = channel_list_read(r, r->targets->delegations[i].name, &other, reterr);
                if (result < 0)
                        return result;
                release = channel_list_find(&other, d->product, version);
                if (release)
                        return add_published(o, release, true, reterr);
        }
        return 1;
}

static int add_folder(Olders *o, const Repository *r, const ChannelList *l, const ReleaseDescription *d,
                      const char *path, Error *reterr) {
        _cleanup_(release_freep) Release *release = NULL;
        Older *older;
        int result;

        result = release_open(path, &release, reterr);
        if (result >= 0)
                result = check_older(d, release->image_id, release->version, reterr);
        if (result >= 0)
                result = add_version(o, r, l, d, release->version, reterr);
        if (result < 0)
                return result;
        older = add(o, release->version);
        older->deltas = true;
        release_free(older->folder);
        older->folder = TAKE_PTR(release);
        return 0;
}

static int add_named(Olders *o, const Repository *r, const ChannelList *l, const ReleaseDescription *d,
                     const char *name, Error *reterr) {
        _cleanup_free_ char *record = path_join(name, RELEASE_RECORD);
        int result;

        if (io_exists(AT_FDCWD, record))
                return add_folder(o, r, l, d, name, reterr);
        if (!version_is_valid(name)) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is neither a release's folder nor a version", name);
                return error_hint(reterr, "\"sealab repo status %s\" lists the versions that there are.",
                                  storage_name(r->storage));
        }
        result = check_older(d, d->product, name, reterr);
        if (result >= 0)
                result = add_version(o, r, l, d, name, reterr);
        if (result <= 0)
                return result;
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no channel of %s has %s %s", storage_name(r->storage), d->product,
                  name);
        return error_hint(reterr, "If you have its folder, name that.");
}

static int compare(const void *a, const void *b) {
        const Older *x = a, *y = b;
        int r = version_compare(y->version, x->version);

        return r != 0 ? r : strcmp(y->version, x->version);
}

int olders_find(const Repository *r, const ChannelList *l, const ReleaseDescription *d, uint64_t budget,
                const PublishOptions *opt, Olders *ret, Error *reterr) {
        _cleanup_olders_ Olders o = {};
        int result;

        result = add_newest(&o, l, d, opt->deltas, reterr);
        if (result >= 0 && budget > 0)
                result = add_budgeted(&o, l, d, reterr);
        STRV_FOREACH (name, opt->from)
                if (result >= 0)
                        result = add_named(&o, r, l, d, *name, reterr);
        if (result < 0)
                return result;
        if (o.n_items > PUBLISH_DELTAS_MAX)
                return error_set(reterr, E2BIG, REFUSAL_USAGE, "deltas from %zu releases; at most %d", o.n_items,
                                 PUBLISH_DELTAS_MAX);
        if (o.n_items > 0)
                qsort(o.items, o.n_items, sizeof *o.items, compare);
        *ret = o;
        o = (Olders){};
        return 0;
}

int older_files(const Repository *r, const Older *o, const PublishOptions *opt, ReleaseFiles *ret, Error *reterr) {
        _cleanup_free_ char *title = xasprintf("Reading %s", o->version);
        int result;

        if (o->folder)
                return release_files_open(o->folder, o->described, ret, reterr);
        progress_begin(opt->progress, "read", title);
        result = release_files_fetch(r, o->described, publish_scratch(opt), opt->progress, ret, reterr);
        if (result < 0)
                return error_prefix(reterr, "%s", o->version);
        progress_end(opt->progress, NULL);
        return result;
}
