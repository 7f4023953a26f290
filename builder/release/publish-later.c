/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Deltas of releases that are public already: made later, taken over from another channel, taken out. */

#include "block-map.h"
#include "io.h"
#include "publish-older.h"
#include "version.h"

/* ---- what is needed of the release ---- */

typedef struct Parts {
        ReleaseFiles files;
        FrameIndex *index;
        Buffer map;
        Release *record;
} Parts;

static void parts_done(Parts *p) {
        release_files_done(&p->files);
        frame_index_free(p->index);
        buffer_done(&p->map);
        release_free(p->record);
}

static uint64_t target_length(const Repository *r, const Artifact *a) {
        const TufTarget *t = a->present ? repository_find_target(r, a->target) : NULL;

        return t ? t->length : 0;
}

static int read_artifact(const Repository *r, const ReleaseDescription *d, ArtifactKind kind, size_t max_size,
                         Buffer *ret, Error *reterr) {
        const Artifact *a = &d->artifacts[kind];
        Sha256 digest;
        int e;

        if (!a->present)
                return 1;
        e = repository_read_target(r, a->target, max_size, ret, reterr);
        if (e < 0)
                return e;
        sha256_buffer(ret->data, ret->size, &digest);
        if (!sha256_equal(&digest, &a->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not what its description says",
                                 a->target);
        return 0;
}

static int read_record(const Repository *r, const ReleaseDescription *d, Release **ret, Error *reterr) {
        _cleanup_free_ char *path = description_target_path(d->product, d->version, DESCRIPTION_TARGET_FILE);
        _cleanup_buffer_ Buffer b = {};
        int e;

        e = repository_read_target(r, path, RELEASE_RECORD_SIZE_MAX, &b, reterr);
        return e < 0 ? e : release_parse(b.data, b.size, path, ret, reterr);
}

static int read_parts(const Repository *r, const ReleaseDescription *d, const PublishOptions *opt, Parts *p,
                      Error *reterr) {
        _cleanup_buffer_ Buffer index = {};
        int e;

        progress_begin(opt->progress, "fetch", "Reading the release");
        e = read_artifact(r, d, ARTIFACT_USR_INDEX, FRAME_INDEX_SIZE_MAX, &index, reterr);
        if (e > 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s %s has no index of its pack", d->product,
                                 d->version);
        if (e >= 0)
                e = frame_index_parse(index.data, index.size, "index of the pack", &p->index, reterr);
        if (e >= 0)
                e = read_artifact(r, d, ARTIFACT_USR_MAP, BLOCK_MAP_SIZE_MAX, &p->map, reterr);
        if (e >= 0)
                e = read_record(r, d, &p->record, reterr);
        if (e >= 0)
                e = release_files_fetch(r, d, publish_scratch(opt), opt->progress, &p->files, reterr);
        if (e >= 0)
                progress_end(opt->progress, NULL);
        return e < 0 ? e : 0;
}

/* ---- taking over ---- */

/* What another channel has of this release is the same file: a target has one content in all channels. */
static int take_over(const Repository *r, const char *from, json_t *signed_part, ReleaseDescription *d, Error *reterr) {
        for (size_t i = 0; i < r->n_channels; i++) {
                _cleanup_channel_list_ ChannelList other = {};
                const PublishedRelease *release;
                int e;

                e = channel_list_read(r, r->targets->delegations[i].name, &other, reterr);
                if (e < 0)
                        return e;
                release = channel_list_find(&other, d->product, d->version);
                for (ArtifactKind k = 0; release && k < _ARTIFACT_KIND_MAX; k++) {
                        const ArtifactDelta *delta = description_find_delta(release->description, from, k);
                        const TufTarget *t = delta ? tuf_find_target(other.channel, delta->target) : NULL;

                        if (!t || !t->hashes.has_sha256 || description_find_delta(d, from, k))
                                continue;
                        description_add_delta(d, delta);
                        publish_set_target(signed_part, t->path, t->length, &t->hashes.sha256);
                }
        }
        return 0;
}

static bool has_both(const ReleaseDescription *d, const char *from) {
        return description_find_delta(d, from, ARTIFACT_USR) && description_find_delta(d, from, ARTIFACT_UKI);
}

static void olders_remove(Olders *o, size_t i) {
        free(o->items[i].version);
        description_free(o->items[i].described);
        release_free(o->items[i].folder);
        o->n_items--;
        memmove(&o->items[i], &o->items[i + 1], (o->n_items - i) * sizeof *o->items);
}

/* ---- making ---- */

static int make(Change *c, json_t *signed_part, ReleaseDescription *d, const Olders *olders, const PublishOptions *opt,
                Downloads *downloads, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_(parts_done) Parts p = { .files = RELEASE_FILES_NONE };
        DeltaTarget t = {
                .description = d,
                .signed_part = signed_part,
                .files = &p.files,
                .map = &p.map,
                .pack_size = target_length(repository, &d->artifacts[ARTIFACT_USR]),
                .index_size = target_length(repository, &d->artifacts[ARTIFACT_USR_INDEX]),
                .signature_size = target_length(repository, &d->artifacts[ARTIFACT_VERITY_SIG]),
        };
        int r;

        r = read_parts(repository, d, opt, &p, reterr);
        if (r < 0)
                return r;
        t.index = p.index;
        t.level = (unsigned) p.record->level;
        t.cluster_size = (size_t) p.record->cluster;
        return publish_add_deltas(c, &t, olders, opt, downloads, reterr);
}

int publish_deltas_of_new(Change *c, const ChannelList *l, const char *product, const char *version, uint64_t budget,
                          const PublishOptions *opt, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_free_ char *path = description_target_path(product, version, DESCRIPTION_TARGET_FILE);
        json_t *signed_part = change_edit(c, l->name);
        const json_t *target = json_object_get(json_object_get(signed_part, "targets"), path);
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_downloads_ Downloads own = {};
        _cleanup_olders_ Olders olders = {};
        Downloads *downloads = opt->downloads ?: &own;
        int r;

        r = description_parse(json_object_get(target, "custom"), path, &d, reterr);
        if (r >= 0)
                r = olders_find(repository, l, d, budget, opt, &olders, reterr);
        for (size_t i = 0; r >= 0 && i < olders.n_items; i++)
                if (olders.items[i].deltas)
                        r = take_over(repository, olders.items[i].version, signed_part, d, reterr);
        if (r >= 0)
                r = make(c, signed_part, d, &olders, opt, downloads, reterr);
        if (r >= 0)
                r = publish_check_budget(l, d, downloads, budget, opt, reterr);
        return r < 0 ? r : publish_set_description(signed_part, d, reterr);
}

static int find_release(const Repository *r, const ChannelList *l, const char *product, const char *version,
                        const PublishedRelease **ret, Error *reterr) {
        *ret = channel_list_find(l, product, version);
        if (!*ret) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "channel %s has no %s %s", l->name, product, version);
                return error_hint(reterr, "\"sealab repo status %s\" lists what there is.", storage_name(r->storage));
        }
        if ((*ret)->description->withdrawn)
                return error_set(reterr, EEXIST, REFUSAL_WITHDRAWN, "%s %s was withdrawn from channel %s: %s", product,
                                 version, l->name, (*ret)->description->withdrawn);
        return 0;
}

int publish_deltas(Change *c, const char *product, const char *version, const PublishOptions *opt, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_json_ json_t *additions = json_pack("{s:{}}", "targets");
        _cleanup_channel_list_ ChannelList l = {};
        _cleanup_downloads_ Downloads own = {};
        _cleanup_olders_ Olders olders = {};
        const PublishedRelease *release;
        json_t *signed_part;
        size_t before;
        int r;

        r = channel_list_read(repository, opt->channel ?: "stable", &l, reterr);
        if (r >= 0)
                r = find_release(repository, &l, product, version, &release, reterr);
        if (r >= 0)
                r = description_parse(release->target->custom, release->target->path, &d, reterr);
        if (r >= 0)
                r = olders_find(repository, &l, d, 0, opt, &olders, reterr);
        if (r < 0)
                return r;
        before = d->n_deltas;
        for (size_t i = olders.n_items; r >= 0 && i-- > 0;) {
                r = take_over(repository, olders.items[i].version, additions, d, reterr);
                if (has_both(d, olders.items[i].version))
                        olders_remove(&olders, i);
        }
        if (r >= 0 && olders.n_items > 0)
                r = make(c, additions, d, &olders, opt, opt->downloads ?: &own, reterr);
        if (r < 0)
                return r;
        if (d->n_deltas == before)
                return 1;
        signed_part = change_edit(c, l.name);
        json_object_update(json_object_get(signed_part, "targets"), json_object_get(additions, "targets"));
        return publish_set_description(signed_part, d, reterr);
}

/* ---- taking out ---- */

void publish_remove_delta(json_t *signed_part, ReleaseDescription *d, size_t i) {
        json_object_del(json_object_get(signed_part, "targets"), d->deltas[i].target);
        description_remove_delta(d, i);
}

void publish_keep_useful_deltas(json_t *signed_part, const ChannelList *l, ReleaseDescription *d) {
        for (size_t i = d->n_deltas; i-- > 0;)
                if (!channel_list_find(l, d->product, d->deltas[i].from))
                        publish_remove_delta(signed_part, d, i);
}

static int remove_all(Change *c, const ChannelList *l, const PublishedRelease *release, char ***removed,
                      Error *reterr) {
        json_t *signed_part = change_edit(c, l->name);
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        int r;

        /* This very change may take out the release itself. */
        if (!json_object_get(json_object_get(signed_part, "targets"), release->target->path))
                return 0;
        r = description_parse(release->target->custom, release->target->path, &d, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; removed && i < d->n_deltas; i++)
                if (i == 0 || !streq(d->deltas[i].from, d->deltas[i - 1].from))
                        strv_extendf(removed, "%s %s %s, from %s", l->name, d->product, d->version, d->deltas[i].from);
        while (d->n_deltas > 0)
                publish_remove_delta(signed_part, d, d->n_deltas - 1);
        return publish_set_description(signed_part, d, reterr);
}

int publish_remove_deltas(Change *c, const ChannelList *l, const char *product, const char *newest, size_t keep,
                          char ***removed, Error *reterr) {
        size_t n_newer = 0;

        for (size_t i = 0; i < l->n_items; i++) {
                const ReleaseDescription *d = l->items[i].description;
                bool newer_comes = newest && version_compare(newest, d->version) > 0;
                int r = 0;

                if (!streq(d->product, product) || streq_ptr(d->version, newest))
                        continue;
                if (d->n_deltas > 0 && (d->withdrawn || n_newer + newer_comes >= keep))
                        r = remove_all(c, l, &l->items[i], removed, reterr);
                if (r < 0)
                        return r;
                n_newer += !d->withdrawn;
        }
        return 0;
}

int publish_expire_deltas(Change *c, size_t keep, char ***ret_removed, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_strv_free_ char **removed = NULL;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < repository->n_channels; i++) {
                _cleanup_channel_list_ ChannelList l = {};

                r = channel_list_read(repository, repository->targets->delegations[i].name, &l, reterr);
                for (size_t k = 0; r >= 0 && k < l.n_items; k++)
                        if (k == 0 || !streq(l.items[k].description->product, l.items[k - 1].description->product))
                                r = publish_remove_deltas(c, &l, l.items[k].description->product, NULL, keep, &removed,
                                                          reterr);
        }
        if (r < 0)
                return r;
        *ret_removed = TAKE_PTR(removed);
        return 0;
}
