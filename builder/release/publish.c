/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "block-map.h"
#include "io.h"
#include "publish-older.h"
#include "version.h"

/* ---- rules ---- */

bool publish_same_content(const ReleaseDescription *a, const ReleaseDescription *b) {
        if (!sha256_equal(&a->root_hash, &b->root_hash))
                return false;
        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++) {
                const Artifact *x = &a->artifacts[k], *y = &b->artifacts[k];

                /* A release that was not packed yet has neither index nor maps. */
                if (k == ARTIFACT_USR_INDEX || k == ARTIFACT_USR_MAP || k == ARTIFACT_UKI_MAP)
                        continue;
                if (x->present != y->present || (x->present && !sha256_equal(&x->sha256, &y->sha256)))
                        return false;
        }
        return true;
}

/* A version means the same in all channels, and for ever: devices and their owners speak of it by name. */
static int check_elsewhere(const Repository *r, const ReleaseDescription *d, Error *reterr) {
        for (size_t i = 0; i < r->n_channels; i++) {
                const char *name = r->targets->delegations[i].name;
                _cleanup_channel_list_ ChannelList l = {};
                const PublishedRelease *other;
                int result;

                result = channel_list_read(r, name, &l, reterr);
                if (result < 0)
                        return result;
                other = channel_list_find(&l, d->product, d->version);
                if (!other)
                        continue;
                if (other->description->withdrawn) {
                        error_set(reterr, EEXIST, REFUSAL_WITHDRAWN, "%s %s was withdrawn from channel %s: %s",
                                  d->product, d->version, name, other->description->withdrawn);
                        return error_hint(reterr, "Publish what replaces it under a newer version: devices remember "
                                                  "this one.");
                }
                if (!publish_same_content(other->description, d)) {
                        error_set(reterr, EEXIST, REFUSAL_EXISTS, "channel %s has a %s %s with other content", name,
                                  d->product, d->version);
                        return error_hint(reterr, "A published version never changes: build this one with a newer "
                                                  "version (sealab build --version V).");
                }
        }
        return 0;
}

static int check_newer(const ChannelList *l, const ReleaseDescription *d, const PublishOptions *opt, Error *reterr) {
        for (size_t i = 0; i < l->n_items; i++) {
                const ReleaseDescription *other = l->items[i].description;

                if (opt->allow_older || !streq(other->product, d->product) ||
                    version_compare(d->version, other->version) >= 0)
                        continue;
                error_set(reterr, EINVAL, REFUSAL_ROLLBACK, "%s %s is older than %s, which channel %s has%s",
                          d->product, d->version, other->version, l->name, other->withdrawn ? " (withdrawn)" : "");
                return error_hint(reterr,
                                  "Devices take the newest: build it with a newer version, or, for devices that "
                                  "will not get that one, say --allow-older.");
        }
        return 0;
}

int publish_check_rules(const Repository *r, const ChannelList *l, const ReleaseDescription *d,
                        const PublishOptions *opt, Error *reterr) {
        const TufDelegation *delegation = tuf_find_delegation(r->targets, l->name);
        _cleanup_free_ char *path = description_target_path(d->product, d->version, DESCRIPTION_TARGET_FILE);
        int result;

        result = check_elsewhere(r, d, reterr);
        if (result < 0)
                return result;
        if (channel_list_find(l, d->product, d->version))
                return 1;
        if (!tuf_delegation_matches(delegation, path))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "channel %s may not hold %s (its delegation does "
                                 "not cover the path)",
                                 l->name, path);
        return check_newer(l, d, opt, reterr);
}

/* ---- what people decide ---- */

/* From what the release is and where it goes, so that publishing again leaves every machine its place. */
static void rollout_salt(const ReleaseDescription *d, const char *channel, uint8_t ret[static 16]) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Sha256 digest;

        hasher_update_string(h, "sealab rollout 1");
        hasher_update_string(h, d->product);
        hasher_update_string(h, d->version);
        hasher_update(h, &d->root_hash, sizeof(d->root_hash));
        hasher_update_string(h, channel);
        hasher_final(h, &digest);
        memcpy(ret, digest.bytes, 16);
}

static int set_rollout(ReleaseDescription *d, const char *channel, const Rollout *before, const PublishOptions *opt,
                       Error *reterr) {
        Rollout rollout = ROLLOUT_EVERYBODY;
        int r;

        if (before && !opt->rollout)
                return 0;
        if (opt->rollout) {
                r = rollout_parse(opt->rollout, &rollout, reterr);
                if (r < 0)
                        return r;
        }
        /* What grows goes on growing from where it was: machines that may take the release keep that. */
        if (rollout.per_day > 0 && before)
                rollout.initial = MAX(rollout.initial, rollout_share(before, opt->now));
        if (rollout.initial >= ROLLOUT_WHOLE)
                rollout = ROLLOUT_EVERYBODY;
        else
                rollout_salt(d, channel, rollout.salt);
        if (rollout.per_day > 0)
                rollout.start = opt->now;
        d->rollout = rollout;
        return 0;
}

/* The floor never sinks within a channel. d has its epoch already where another channel has the release: what a release
 * is, is the same in all of them (sealab-repository(5)). */
static int set_epoch(ReleaseDescription *d, const ChannelList *l, bool published, const PublishOptions *opt,
                     Error *reterr) {
        const ReleaseDescription *highest = NULL;

        for (size_t i = 0; i < l->n_items; i++) {
                const ReleaseDescription *other = l->items[i].description;

                if (streq(other->product, d->product) && !streq(other->version, d->version) &&
                    (!highest || other->epoch > highest->epoch))
                        highest = other;
        }
        if (published && opt->epoch_set && opt->epoch != d->epoch)
                return error_set(reterr, EEXIST, REFUSAL_EXISTS,
                                 "%s %s is published with epoch %" PRIu64 ", which cannot change", d->product,
                                 d->version, d->epoch);
        if (!published)
                d->epoch = opt->epoch_set ? opt->epoch : highest ? highest->epoch : 0;
        if (highest && d->epoch < highest->epoch && !opt->allow_older) {
                error_set(reterr, EINVAL, REFUSAL_ROLLBACK,
                          "epoch %" PRIu64 " is below %" PRIu64 ", that of %s %s in channel %s", d->epoch,
                          highest->epoch, highest->product, highest->version, l->name);
                return error_hint(reterr, "Devices that have run that one refuse this one. Publish a newer version; "
                                          "without --epoch it has the channel's.");
        }
        return 0;
}

int publish_set_terms(ReleaseDescription *d, const ChannelList *l, bool published, const Rollout *before,
                      const PublishOptions *opt, Error *reterr) {
        int r;

        r = set_epoch(d, l, published, opt, reterr);
        if (r >= 0)
                r = set_rollout(d, l->name, before, opt, reterr);
        if (r < 0)
                return r;
        d->critical = d->critical || opt->critical;
        if (opt->notes) {
                free(d->notes);
                d->notes = xstrdup(opt->notes);
        }
        if (opt->minimum_updater && !published) {
                free(d->minimum_updater);
                d->minimum_updater = xstrdup(opt->minimum_updater);
        }
        STRV_FOREACH (version, opt->supersedes)
                if (!strv_contains(d->supersedes, *version))
                        strv_extend(&d->supersedes, *version);
        return 0;
}

/* ---- metadata ---- */

void publish_set_target(json_t *signed_part, const char *path, uint64_t length, const Sha256 *sha256) {
        _cleanup_free_ char *hex = sha256_hex(sha256);

        json_object_set_new(json_object_get(signed_part, "targets"), path,
                            json_pack("{s:I, s:{s:s}}", "length", (json_int_t) length, "hashes", "sha256", hex));
}

void publish_copy_targets(json_t *signed_part, const TufMetadata *from, const ReleaseDescription *d) {
        _cleanup_free_ char *folder = description_target_path(d->product, d->version, "");
        json_t *source = json_object_get(json_object_get(from->document, "signed"), "targets"), *value;
        const char *path;

        json_object_foreach (source, path, value)
                if (startswith(path, folder))
                        json_object_set_new(json_object_get(signed_part, "targets"), path, json_deep_copy(value));
}

int publish_set_description(json_t *signed_part, const ReleaseDescription *d, Error *reterr) {
        _cleanup_free_ char *path = description_target_path(d->product, d->version, DESCRIPTION_TARGET_FILE);
        json_t *target = json_object_get(json_object_get(signed_part, "targets"), path), *custom;
        _cleanup_(description_freep) ReleaseDescription *again = NULL;
        _cleanup_json_ json_t *described = description_to_json(d);
        int r;

        /* What devices would refuse is not written. */
        r = description_parse(described, path, &again, reterr);
        if (r < 0)
                return r;
        custom = json_object_get(target, "custom");
        if (!json_is_object(custom)) {
                custom = json_object();
                json_object_set_new(target, "custom", custom);
        }
        json_object_update(custom, described);
        return 0;
}

/* ---- files ---- */

/* expected: what was checked (NULL: nothing was); a file that was replaced since then is not published. */
static int add_file(Change *c, json_t *signed_part, const char *target, int *fd, const Sha256 *expected,
                    Error *reterr) {
        off_t size = lseek(*fd, 0, SEEK_END);
        Sha256 digest;
        int r;

        if (size < 0 || lseek(*fd, 0, SEEK_SET) < 0)
                return error_errno(reterr, errno, "%s", target);
        r = sha256_fd(*fd, 0, (uint64_t) size, &digest, reterr);
        if (r < 0)
                return r;
        if (expected && !sha256_equal(&digest, expected))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s has changed since it was checked; nothing was published", path_basename(target));
        publish_set_target(signed_part, target, (uint64_t) size, &digest);
        change_add_file(c, target, &digest, TAKE_FD(*fd), (uint64_t) size);
        return 0;
}

static int add_path(Change *c, json_t *signed_part, const ReleaseDescription *d, const char *path,
                    const Sha256 *expected, Error *reterr) {
        _cleanup_free_ char *target = description_target_path(d->product, d->version, path_basename(path));
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0)
                return error_errno(reterr, errno, "%s", path);
        return add_file(c, signed_part, target, &fd, expected, reterr);
}

static int add_files(Change *c, json_t *signed_part, const Release *release, const ReleaseDescription *d,
                     Error *reterr) {
        static const ReleasePart parts[] = { RELEASE_UKI, RELEASE_VERITY_SIG, RELEASE_SBOM, RELEASE_PACKAGES,
                                             RELEASE_CONTENTS };
        _cleanup_free_ char *record = path_join(release->folder, RELEASE_RECORD);
        int r;

        r = add_path(c, signed_part, d, record, NULL, reterr);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(parts); i++) {
                _cleanup_free_ char *path = release_file_path(release, parts[i]);

                if (release->files[parts[i]].present)
                        r = add_path(c, signed_part, d, path, &release->files[parts[i]].sha256, reterr);
        }
        return r;
}

const char *publish_scratch(const PublishOptions *opt) {
        return opt->scratch ?: getenv("TMPDIR") ?: "/var/tmp";
}

/* What is made of an image: unnamed files, and their content as far as deltas need it. */
typedef struct Packed {
        int pack, index, map, uki_map; /* maps below zero: there are none, for that it is too large or too small */
        uint64_t pack_size, index_size;
        Sha256 pack_sha256;
        FrameIndex *frames;
        Buffer map_text;
} Packed;

static void packed_done(Packed *p) {
        safe_close(p->pack);
        safe_close(p->index);
        safe_close(p->map);
        safe_close(p->uki_map);
        frame_index_free(p->frames);
        buffer_done(&p->map_text);
}

static int write_part(const Buffer *b, const char *suffix, const char *folder, ReleaseDescription *d, ArtifactKind kind,
                      int *ret_fd, Error *reterr) {
        _cleanup_free_ char *name = release_name(d->product, d->version), *file = xasprintf("%s%s", name, suffix);
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = io_tmpfile(folder, &fd, reterr);
        if (r >= 0)
                r = io_write_all(fd, b->data, b->size, reterr);
        if (r < 0)
                return r;
        d->artifacts[kind] = (Artifact){ .present = true,
                                         .target = description_target_path(d->product, d->version, file),
                                         .size = b->size };
        sha256_buffer(b->data, b->size, &d->artifacts[kind].sha256);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Two bytes fit one other block on average in a slot of 256 MiB. Measured on real pairs, they lose nothing against four
 * with images of 100 and 300 MiB and 20 to 100 kB with 700 MiB, where a third byte would take 180 kB: images that are
 * alike have long rows in common (./dev bench reuse). In larger ones a row's first block would fit too many. */
static unsigned map_digest_size(uint64_t image_size) {
        return image_size <= (uint64_t) 1 << 30 ? 2 : 3;
}

/* Map and frames, which follow from it. */
static int write_map(const Repository *repository, int image, const char *folder, ReleaseDescription *d, Packed *p,
                     Error *reterr) {
        const uint64_t size = d->artifacts[ARTIFACT_USR].size;
        _cleanup_(block_map_freep) BlockMap *map = NULL, *shorter = NULL;
        int r;

        if (size / BLOCK_MAP_BLOCK_SIZE > BLOCK_MAP_BLOCKS_MAX) {
                p->frames = frame_index_new();
                frame_index_add_even(p->frames, size, PACK_FRAME_SIZE, FRAME_ZSTD);
                return 0;
        }
        r = block_map_build(image, size, d->verity_salt.bytes, BLOCK_MAP_DIGEST_MAX, &map, reterr);
        if (r >= 0)
                r = publish_layout(repository, d, map, &p->frames, reterr);
        if (r < 0)
                return r;
        shorter = block_map_shorten(map, map_digest_size(size));
        block_map_format(shorter, &p->map_text);
        return write_part(&p->map_text, PUBLISH_MAP_SUFFIX, folder, d, ARTIFACT_USR_MAP, &p->map, reterr);
}

/* Nothing else tells a device whether it put the right blocks together before it has all of them: the chance that a
 * new one of some thousands seems to be an old one must be small. */
#define UKI_DIGEST_SIZE BLOCK_MAP_DIGEST_MAX

static int write_uki_map(const Release *release, const char *folder, ReleaseDescription *d, Packed *p, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, RELEASE_UKI);
        _cleanup_close_ int uki = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        uint64_t n_blocks = d->artifacts[ARTIFACT_UKI].size / BLOCK_MAP_BLOCK_SIZE;
        _cleanup_(block_map_freep) BlockMap *map = NULL;
        _cleanup_buffer_ Buffer text = {};
        int r;

        if (uki < 0)
                return error_errno(reterr, errno, "%s", path);
        if (n_blocks == 0 || n_blocks > BLOCK_MAP_BLOCKS_MAX)
                return 0;
        r = block_map_build(uki, n_blocks * BLOCK_MAP_BLOCK_SIZE, d->verity_salt.bytes, UKI_DIGEST_SIZE, &map, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        block_map_format(map, &text);
        return write_part(&text, PUBLISH_UKI_MAP_SUFFIX, folder, d, ARTIFACT_UKI_MAP, &p->uki_map, reterr);
}

static int pack_image(const Repository *repository, const Release *release, const PublishOptions *opt,
                      ReleaseDescription *d, Packed *p, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, RELEASE_USR), *shown = NULL;
        const char *folder = publish_scratch(opt);
        _cleanup_close_ int image = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        _cleanup_buffer_ Buffer b = {};
        int r;

        if (image < 0)
                return error_errno(reterr, errno, "%s", path);
        progress_begin(opt->progress, "pack", "Packing the image");
        r = io_tmpfile(folder, &p->pack, reterr);
        if (r >= 0)
                r = write_map(repository, image, folder, d, p, reterr);
        if (r >= 0)
                r = pack_write(image, p->frames, p->pack, opt->workers, opt->progress, &p->pack_sha256, reterr);
        if (r < 0)
                return r;
        p->pack_size = p->frames->packed_size;
        frame_index_format(p->frames, &b);
        p->index_size = b.size;
        r = write_part(&b, PUBLISH_INDEX_SUFFIX, folder, d, ARTIFACT_USR_INDEX, &p->index, reterr);
        if (r >= 0)
                r = write_uki_map(release, folder, d, p, reterr);
        if (r < 0)
                return r;
        shown = format_bytes(p->pack_size);
        progress_end(opt->progress, "%s", shown);
        return 0;
}

static int add_packed(Change *c, json_t *signed_part, const ReleaseDescription *d, Packed *p, Error *reterr) {
        const Artifact *a = d->artifacts;
        int r;

        r = add_file(c, signed_part, a[ARTIFACT_USR].target, &p->pack, &p->pack_sha256, reterr);
        if (r >= 0)
                r = add_file(c, signed_part, a[ARTIFACT_USR_INDEX].target, &p->index, &a[ARTIFACT_USR_INDEX].sha256,
                             reterr);
        if (r >= 0 && p->map >= 0)
                r = add_file(c, signed_part, a[ARTIFACT_USR_MAP].target, &p->map, &a[ARTIFACT_USR_MAP].sha256, reterr);
        if (r >= 0 && p->uki_map >= 0)
                r = add_file(c, signed_part, a[ARTIFACT_UKI_MAP].target, &p->uki_map, &a[ARTIFACT_UKI_MAP].sha256,
                             reterr);
        return r;
}

static int add_deltas(Change *c, const ChannelList *l, json_t *signed_part, const Release *release, const Packed *p,
                      const PublishOptions *opt, ReleaseDescription *d, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_release_files_ ReleaseFiles files = RELEASE_FILES_NONE;
        _cleanup_downloads_ Downloads own = {};
        _cleanup_olders_ Olders olders = {};
        Downloads *downloads = opt->downloads ?: &own;
        const DeltaTarget t = { .description = d,
                                .signed_part = signed_part,
                                .files = &files,
                                .index = p->frames,
                                .map = &p->map_text,
                                .pack_size = p->pack_size,
                                .index_size = p->index_size,
                                .signature_size = release->files[RELEASE_VERITY_SIG].size,
                                .level = (unsigned) release->level,
                                .cluster_size = (size_t) release->cluster };
        int r;

        r = olders_find(repository, l, d, release->download_budget, opt, &olders, reterr);
        if (r >= 0)
                r = release_files_open(release, NULL, &files, reterr);
        if (r >= 0)
                r = publish_add_deltas(c, &t, &olders, opt, downloads, reterr);
        return r < 0 ? r : publish_check_budget(l, d, downloads, release->download_budget, opt, reterr);
}

static int add_new(Change *c, const ChannelList *l, const Release *release, const PublishOptions *opt,
                   ReleaseDescription *d, Error *reterr) {
        _cleanup_(packed_done) Packed p = { .pack = -EBADF, .index = -EBADF, .map = -EBADF, .uki_map = -EBADF };
        json_t *signed_part;
        int r;

        r = pack_image(change_repository(c), release, opt, d, &p, reterr);
        if (r < 0)
                return r;
        signed_part = change_edit(c, l->name);
        r = add_packed(c, signed_part, d, &p, reterr);
        if (r >= 0)
                r = add_files(c, signed_part, release, d, reterr);
        if (r >= 0)
                r = add_deltas(c, l, signed_part, release, &p, opt, d, reterr);
        return r < 0 ? r : publish_set_description(signed_part, d, reterr);
}

/* ---- publish ---- */

static int add_from_elsewhere(Change *c, const ChannelList *l, const Release *release, const PublishOptions *opt,
                              Error *reterr) {
        int r;

        r = publish_promote(c, release->image_id, release->version, l->name, opt, reterr);
        if (r != 0)
                return r;
        return publish_deltas_of_new(c, l, release->image_id, release->version, release->download_budget, opt, reterr);
}

int publish_add(Change *c, const Release *release, const PublishOptions *opt, Error *reterr) {
        const Repository *repository = change_repository(c);
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_channel_list_ ChannelList l = {};
        int r;

        r = channel_list_read(repository, opt->channel ?: "stable", &l, reterr);
        if (r >= 0)
                r = publish_describe(release, opt, &d, reterr);
        if (r >= 0)
                r = publish_check_rules(repository, &l, d, opt, reterr);
        if (r != 0)
                return r;
        if (channel_list_any(repository, d->product, d->version))
                return add_from_elsewhere(c, &l, release, opt, reterr);
        r = publish_set_terms(d, &l, false, NULL, opt, reterr);
        if (r >= 0)
                r = add_new(c, &l, release, opt, d, reterr);
        if (r < 0)
                return r;
        return publish_remove_deltas(c, &l, d->product, d->version, PUBLISH_DELTA_RELEASES, NULL, reterr);
}
