/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What devices with older releases download, and the deltas that make it less. */

#include "block-finder.h"
#include "delta-make.h"
#include "io.h"
#include "log.h"
#include "publish-older.h"

/* ---- one delta ---- */

typedef struct Making {
        Change *change;
        const DeltaTarget *target;
        const PublishOptions *options;
        const char *version; /* the older one */
        const ReleaseFiles *older;
        DownloadFrom *row;
} Making;

/* It is of no use, or cannot be made: no reason not to publish. */
static bool is_without_delta(Refusal id) {
        return id == REFUSAL_BAD_FORMAT || id == REFUSAL_TOO_LARGE || id == REFUSAL_BAD_VALUE ||
               id == REFUSAL_DIFFERENT;
}

typedef struct Shown {
        Progress *progress;
        const char *what;
} Shown;

static void show(uint64_t done, uint64_t total, void *userdata) {
        const Shown *s = userdata;

        progress_detail(s->progress, "%s, %u %%", s->what, (unsigned) (done * 100 / MAX(total, UINT64_C(1))));
}

static int make(const Making *m, ArtifactKind artifact, int fd, DeltaResult *ret, Error *reterr) {
        const ReleaseFiles *new = m->target->files, *old = m->older;
        const bool usr = artifact == ARTIFACT_USR;
        const ReleaseDescription *d = m->target->description;
        const DeltaInput from = { .fd = usr ? old->image : old->uki,
                                  .id = usr ? old->root_hash : old->uki_sha256,
                                  .name = m->version },
                         to = { .fd = usr ? new->image : new->uki,
                                .id = usr ? new->root_hash : new->uki_sha256,
                                .name = d->version };
        Shown shown = { .progress = m->options->progress, .what = usr ? "/usr" : "UKI" };
        const DeltaOptions o = { .usr = usr,
                                 .level = m->target->level,
                                 .cluster_size = m->target->cluster_size,
                                 .n_workers = m->options->workers,
                                 .progress = show,
                                 .userdata = &shown };

        progress_detail(shown.progress, "%s", shown.what);
        return delta_make(&from, &to, &o, fd, ret, reterr);
}

static int add_delta(const Making *m, ArtifactKind artifact, int *fd, const DeltaResult *result, Error *reterr) {
        ReleaseDescription *d = m->target->description;
        _cleanup_free_ char *file = xasprintf("%s.%s" PUBLISH_DELTA_SUFFIX, m->version, artifact_kind_name(artifact));
        const uint64_t size = result->head_size + result->payload_size;
        _cleanup_free_ char *path = description_target_path(d->product, d->version, file);
        const ArtifactDelta delta = {
                .artifact = artifact,
                .from = (char *) m->version,
                .from_id = artifact == ARTIFACT_USR ? m->older->root_hash : m->older->uki_sha256,
                .target = path,
                .head_size = result->head_size,
                .head_sha256 = result->head_sha256,
        };
        Sha256 digest;
        int r;

        r = sha256_fd(*fd, 0, size, &digest, reterr);
        if (r < 0)
                return r;
        description_add_delta(d, &delta);
        publish_set_target(m->target->signed_part, path, size, &digest);
        change_add_file(m->change, path, &digest, TAKE_FD(*fd), size);
        return 0;
}

/* instead: what a device fetches without it. */
static int try_delta(const Making *m, ArtifactKind artifact, uint64_t instead, uint64_t *ret_size, bool *ret_offered,
                     Error *reterr) {
        const char *name = artifact == ARTIFACT_USR ? "/usr" : "the UKI";
        const ArtifactDelta *there = description_find_delta(m->target->description, m->version, artifact);
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error e = {};
        DeltaResult result = {};
        int r;

        /* Taken from another channel. */
        if (there) {
                const TufTarget *t = repository_find_target(change_repository(m->change), there->target);

                *ret_size = t ? t->length : 0;
                *ret_offered = true;
                return 0;
        }
        r = io_tmpfile(publish_scratch(m->options), &fd, reterr);
        if (r < 0)
                return r;
        r = make(m, artifact, fd, &result, &e);
        if (r < 0 && !is_without_delta(e.id))
                return error_move(reterr, &e);
        if (r < 0) {
                strv_extendf(&m->row->notes, "no delta of %s: %s", name, e.message);
                return 0;
        }
        *ret_size = result.head_size + result.payload_size;
        if (*ret_size >= instead) {
                _cleanup_free_ char *size = format_bytes(*ret_size), *other = format_bytes(instead);

                strv_extendf(&m->row->notes, "the delta of %s, %s, is not offered: without it there are %s to fetch",
                             name, size, other);
                return 0;
        }
        *ret_offered = true;
        return add_delta(m, artifact, &fd, &result, reterr);
}

/* ---- from one older release ---- */

/* As a device does that has it in a slot. */
static int measure_reuse(const DeltaTarget *t, const ReleaseFiles *older, const DownloadBytes *full, DownloadBytes *ret,
                         Error *reterr) {
        _cleanup_(block_finder_freep) BlockFinder *finder = block_finder_new(older->image);
        BlockMap *map = NULL;
        int r;

        *ret = *full;
        /* A hash tree of another salt says nothing, and that of a single block has no leaves. */
        if (t->map->size == 0 || !sha256_equal(&older->verity_salt, &t->files->verity_salt) ||
            older->image_size <= BLOCK_MAP_BLOCK_SIZE ||
            older->image_size / BLOCK_MAP_BLOCK_SIZE > BLOCK_FINDER_BLOCKS_MAX)
                return 0;
        r = block_finder_add_image(finder, older->image, older->image_size, &older->verity_salt, reterr);
        if (r >= 0)
                r = block_map_parse(t->map->data, t->map->size, t->files->image_size, "map of the image", &map, reterr);
        if (r < 0)
                return r;
        block_finder_set_map(finder, map);
        (void) block_finder_sort(finder);
        ret->usr = block_finder_missing(finder, t->index);
        ret->metadata += t->map->size;
        return 0;
}

/* The kernel image likewise, block by block. */
static int measure_uki(const DeltaTarget *t, const ReleaseFiles *older, uint64_t *ret, Error *reterr) {
        const Artifact *uki_map = &t->description->artifacts[ARTIFACT_UKI_MAP];
        const uint8_t *salt = t->description->verity_salt.bytes;
        uint64_t size = t->files->uki_size, old_blocks = older->uki_size / BLOCK_MAP_BLOCK_SIZE;
        _cleanup_(block_finder_freep) BlockFinder *finder = block_finder_new(older->uki);
        BlockMap *map = NULL;
        int r;

        *ret = size;
        if (!uki_map->present || old_blocks == 0 || old_blocks > BLOCK_FINDER_BLOCKS_MAX)
                return 0;
        r = block_finder_add_image(finder, older->uki, old_blocks * BLOCK_MAP_BLOCK_SIZE, &t->description->verity_salt,
                                   reterr);
        if (r >= 0)
                r = block_map_build(t->files->uki, size - size % BLOCK_MAP_BLOCK_SIZE, salt, BLOCK_MAP_DIGEST_MAX, &map,
                                    reterr);
        if (r < 0)
                return r;
        block_finder_set_map(finder, map);
        (void) block_finder_sort(finder);
        for (size_t i = 0; i < map->n_blocks; i++) {
                uint64_t offset;

                if (block_finder_seek(finder, i, &offset))
                        *ret -= BLOCK_MAP_BLOCK_SIZE;
        }
        *ret += uki_map->size;
        return 0;
}

static int add_from(Change *c, const DeltaTarget *t, const Older *o, const PublishOptions *opt, Downloads *downloads,
                    Error *reterr) {
        _cleanup_release_files_ ReleaseFiles files = RELEASE_FILES_NONE;
        DownloadFrom *row = &downloads->from[downloads->n_from++];
        const Making m = {
                .change = c, .target = t, .options = opt, .version = o->version, .older = &files, .row = row
        };
        _cleanup_free_ char *title = xasprintf("%s %s", o->deltas ? "Making deltas from" : "Looking at", o->version),
                            *shown = NULL;
        const DownloadBytes *full = &downloads->full;
        DownloadBytes cheapest;
        int r;

        *row = (DownloadFrom){ .version = xstrdup(o->version) };
        r = older_files(change_repository(c), o, opt, &files, reterr);
        progress_begin(opt->progress, "delta", title);
        if (r >= 0)
                r = measure_reuse(t, &files, full, &row->reuse, reterr);
        if (r >= 0)
                r = measure_uki(t, &files, &row->reuse.uki, reterr);
        cheapest = download_cheapest(downloads, row);
        if (r >= 0 && o->deltas)
                r = try_delta(&m, ARTIFACT_USR, cheapest.usr + cheapest.metadata - downloads->signature,
                              &row->usr_delta, &row->usr_offered, reterr);
        if (r >= 0 && o->deltas)
                r = try_delta(&m, ARTIFACT_UKI, row->reuse.uki, &row->uki_delta, &row->uki_offered, reterr);
        if (r < 0)
                return r;
        cheapest = download_cheapest(downloads, row);
        shown = format_bytes(download_total(&cheapest));
        progress_end(opt->progress, "%s", shown);
        return 0;
}

int publish_add_deltas(Change *c, const DeltaTarget *t, const Olders *olders, const PublishOptions *opt, Downloads *ret,
                       Error *reterr) {
        int r = 0;

        downloads_done(ret);
        *ret = (Downloads){ .full = { .usr = t->pack_size,
                                      .uki = t->files->uki_size,
                                      .metadata = t->index_size + t->signature_size },
                            .signature = t->signature_size };
        ret->from = xnew(DownloadFrom, MAX(olders->n_items, (size_t) 1));
        for (size_t i = 0; r >= 0 && i < olders->n_items; i++)
                r = add_from(c, t, &olders->items[i], opt, ret, reterr);
        return r;
}

int publish_check_budget(const ChannelList *l, const ReleaseDescription *d, const Downloads *downloads, uint64_t budget,
                         const PublishOptions *opt, Error *reterr) {
        const PublishedRelease *previous = channel_list_newest(l, d->product, d->version);
        const DownloadFrom *from = previous ? downloads_find(downloads, previous->description->version) : NULL;
        _cleanup_free_ char *bytes = NULL, *allowed = format_bytes(budget);
        DownloadBytes cheapest;

        if (budget == 0 || !from)
                return 0;
        cheapest = download_cheapest(downloads, from);
        if (download_total(&cheapest) <= budget)
                return 0;
        bytes = format_bytes(download_total(&cheapest));
        if (opt->allow_over_budget) {
                log_warning("From %s a device downloads %s, more than the %s of the recipe (DownloadBudget=).",
                            from->version, bytes, allowed);
                return 0;
        }
        error_set(reterr, EFBIG, REFUSAL_BUDGET, "from %s a device would download %s; the recipe allows %s",
                  from->version, bytes, allowed);
        return error_hint(reterr, "\"sealab diff\" shows what has changed. If it must be: --allow-over-budget, or a "
                                  "higher DownloadBudget= for the next build.");
}
