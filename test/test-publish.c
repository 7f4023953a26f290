/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "block-map.h"
#include "frame-decode.h"
#include "publish-fixture.h"

#define MIB ((size_t) 1 << 20)

/* ---- releases ---- */

static Result publish_folder(PublishFixture *f, const char *folder, PublishOptions o) {
        _cleanup_(release_freep) Release *release = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        o.now = f->now;
        o.scratch = f->folder;
        publish_ok(release_open(folder, &release, &e), &e);
        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        return finish(f, c, publish_add(c, release, &o, &e), &e);
}

/* The content follows from the version, so that a version published twice is the same release. */
static Result publish(PublishFixture *f, const char *product, const char *version, PublishOptions o) {
        _cleanup_free_ char *folder = publish_release(f->folder, product, version, version[strlen(version) - 1], false);

        return publish_folder(f, folder, o);
}

static Result promote(PublishFixture *f, const char *product, const char *version, const char *channel,
                      PublishOptions o) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        o.now = f->now;
        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        return finish(f, c, publish_promote(c, product, version, channel, &o, &e), &e);
}

static Result withdraw(PublishFixture *f, const char *product, const char *version, const char *channel,
                       const char *reason) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        return finish(f, c, publish_withdraw(c, product, version, channel, reason, &e), &e);
}

static Result expire(PublishFixture *f, size_t keep, char ***ret_removed) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        return finish(f, c, publish_expire(c, keep, ret_removed, &e), &e);
}

static void published_release_is_described_and_its_files_are_there(void **state) {
        static const char *const files[] = { "release.json",          "desk_2.efi",
                                             "desk_2.usr.pack",       "desk_2.usr.index",
                                             "desk_2.usr.verity-sig", "desk_2.spdx.json",
                                             "desk_2.packages.json",  "desk_2.contents.jsonl.zst",
                                             "desk_2.usr.map",        "desk_2.efi.map" };
        static char *const supersedes[] = { (char *) "1", NULL };
        PublishFixture *f = *state;
        _cleanup_view_ View v = {};
        const ReleaseDescription *d;
        Sha256 digest;

        assert_done(publish(f, "desk", "2",
                            (PublishOptions){ .notes = "better",
                                              .epoch = 3,
                                              .epoch_set = true,
                                              .critical = true,
                                              .rollout = "10%/day",
                                              .supersedes = supersedes }));
        v = look(f, "stable");
        assert_int_equal(v.n_items, 1);
        assert_int_equal(v.channel->n_targets, ELEMENTSOF(files));
        d = v.items[0].description;
        assert_string_equal(d->product, "desk");
        assert_string_equal(d->version, "2");
        assert_string_equal(d->architecture, "x86-64");
        assert_string_equal(d->minimum_updater, "0.1.0");
        assert_string_equal(d->kernel_version, "6.12.48+deb13-amd64");
        assert_string_equal(d->notes, "better");
        assert_string_equal(d->supersedes[0], "1");
        assert_int_equal(d->epoch, 3);
        assert_true(d->critical);
        assert_null(d->withdrawn);
        assert_int_equal(d->rollout.start, f->now);
        assert_int_equal(d->rollout.initial, 0);
        assert_int_equal(d->rollout.per_day, 1000);
        assert_int_equal(d->verity_size, verity_hash_size(PUBLISH_USR_SIZE));
        assert_memory_equal(d->verity_salt.bytes, "thirty-two bytes that are fixed.", 32);
        assert_memory_equal(d->verity_uuid, "sixteen of them.", 16);
        _cleanup_free_ char *hex = sha256_hex(&d->root_hash), *line = xasprintf("usrhash=%s quiet", hex);
        sha256_buffer(line, strlen(line), &digest);
        assert_true(sha256_equal(&digest, &d->command_line));
        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_free_ char *path = description_target_path("desk", "2", files[i]);
                _cleanup_buffer_ Buffer b = stored(f, &v, path);

                for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                        if (d->artifacts[k].encoding == ENCODING_NONE && streq(d->artifacts[k].target, path)) {
                                sha256_buffer(b.data, b.size, &digest);
                                assert_int_equal(b.size, d->artifacts[k].size);
                                assert_true(sha256_equal(&digest, &d->artifacts[k].sha256));
                        }
        }
}

static void published_pack_and_index_give_the_image_back(void **state) {
        PublishFixture *f = *state;
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        _cleanup_buffer_ Buffer pack = {}, bytes = {};
        _cleanup_free_ char *image = xmalloc(2 * MIB);
        _cleanup_error_ Error e = {};
        _cleanup_view_ View v = {};
        _cleanup_(frame_decoder_freep) FrameDecoder *decoder = frame_decoder_new();
        const ReleaseDescription *d;
        Sha256 digest;

        assert_done(publish(f, "desk", "2", (PublishOptions){}));
        v = look(f, "stable");
        d = v.items[0].description;
        pack = stored(f, &v, d->artifacts[ARTIFACT_USR].target);
        bytes = stored(f, &v, d->artifacts[ARTIFACT_USR_INDEX].target);
        publish_ok(frame_index_parse(bytes.data, bytes.size, "index", &index, &e), &e);
        assert_int_equal(index->image_size, PUBLISH_USR_SIZE);
        assert_int_equal(index->packed_size, pack.size);
        for (size_t i = 0; i < index->n_frames; i++)
                publish_ok(frame_decode(decoder, &index->frames[i], pack.data + index->frames[i].packed_offset,
                                        image + index->frames[i].offset, &e),
                           &e);
        sha256_buffer(image, d->artifacts[ARTIFACT_USR].size, &digest);
        assert_true(sha256_equal(&digest, &d->artifacts[ARTIFACT_USR].sha256));
}

/* "33 of zstd": of the newest release of the product. */
static char *frames_of(PublishFixture *f, const char *channel, const char *product) {
        _cleanup_view_ View v = look(f, channel);
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        _cleanup_buffer_ Buffer bytes = {};
        _cleanup_error_ Error e = {};
        size_t i = 0, n_lzma = 0;

        while (!streq(v.items[i].description->product, product))
                i++;
        bytes = stored(f, &v, v.items[i].description->artifacts[ARTIFACT_USR_INDEX].target);
        publish_ok(frame_index_parse(bytes.data, bytes.size, "index", &index, &e), &e);
        for (size_t k = 0; k < index->n_frames; k++)
                n_lzma += index->frames[k].codec == FRAME_LZMA;
        assert_true(n_lzma == 0 || n_lzma == index->n_frames);
        return xasprintf("%zu of %s", index->n_frames, n_lzma > 0 ? "LZMA" : "zstd");
}

/* The last letter of a version is what the image consists of. */
static void frames_follow_the_releases_before(void **state) {
        static const struct {
                const char *channel, *product, *version, *frames;
        } releases[] = {
                { "stable", "desk", "1", "33 of zstd" }, { "stable", "desk", "11", "9 of zstd" },
                { "beta", "desk", "21", "9 of zstd" }, /* whichever channel has them */
                { "beta", "desk", "22", "3 of LZMA" },   { "beta", "desk", "32", "3 of LZMA" }, /* it came with 22 */
                { "beta", "desk", "41", "3 of LZMA" }, /* what older ones than 32 had */
                { "stable", "lap", "1", "33 of zstd" },
        };
        PublishFixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(releases); i++) {
                _cleanup_free_ char *frames = NULL;

                assert_done(publish(f, releases[i].product, releases[i].version,
                                    (PublishOptions){ .channel = releases[i].channel }));
                frames = frames_of(f, releases[i].channel, releases[i].product);
                assert_string_equal(frames, releases[i].frames);
        }
}

static void published_map_is_that_of_the_image(void **state) {
        PublishFixture *f = *state;
        _cleanup_(block_map_freep) BlockMap *map = NULL, *built = NULL;
        _cleanup_free_ char *path = path_join(f->folder, "desk_2/desk_2.usr.erofs");
        _cleanup_close_ int image = -EBADF;
        _cleanup_buffer_ Buffer bytes = {};
        _cleanup_error_ Error e = {};
        _cleanup_view_ View v = {};
        const ReleaseDescription *d;

        assert_done(publish(f, "desk", "2", (PublishOptions){}));
        v = look(f, "stable");
        d = v.items[0].description;
        bytes = stored(f, &v, d->artifacts[ARTIFACT_USR_MAP].target);
        publish_ok(block_map_parse(bytes.data, bytes.size, PUBLISH_USR_SIZE, "map", &map, &e), &e);
        image = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(image >= 0);
        publish_ok(block_map_build(image, PUBLISH_USR_SIZE, d->verity_salt.bytes, map->digest_size, &built, &e), &e);
        assert_memory_equal(map->digests, built->digests, map->n_blocks * map->digest_size);
}

static void same_release_again_changes_nothing(void **state) {
        PublishFixture *f = *state;
        uint64_t version;

        assert_done(publish(f, "desk", "1", (PublishOptions){}));
        {
                _cleanup_view_ View v = look(f, "stable");
                version = v.channel->version;
        }
        assert_nothing(publish(f, "desk", "1", (PublishOptions){ .notes = "other" }));
        _cleanup_view_ View v = look(f, "stable");
        assert_int_equal(v.channel->version, version);
}

static void version_never_gets_other_content(void **state) {
        PublishFixture *f = *state;
        _cleanup_free_ char *other = NULL;

        assert_done(publish(f, "desk", "1", (PublishOptions){ .channel = "beta" }));
        other = publish_release(f->folder, "desk", "1", 'x', false);
        assert_refused(publish_folder(f, other, (PublishOptions){ .channel = "beta" }), REFUSAL_EXISTS);
        assert_refused(publish_folder(f, other, (PublishOptions){}), REFUSAL_EXISTS);
        assert_refused(publish_folder(f, other, (PublishOptions){ .allow_older = true }), REFUSAL_EXISTS);
}

static void older_versions_and_epochs_are_refused_unless_allowed(void **state) {
        PublishFixture *f = *state;

        assert_done(publish(f, "desk", "2026.11.9", (PublishOptions){ .epoch = 4, .epoch_set = true }));
        assert_refused(publish(f, "desk", "2026.11.8", (PublishOptions){}), REFUSAL_ROLLBACK);
        assert_refused(publish(f, "desk", "2026.11.10", (PublishOptions){ .epoch = 3, .epoch_set = true }),
                       REFUSAL_ROLLBACK);
        assert_done(publish(f, "desk", "2026.11.8", (PublishOptions){ .allow_older = true }));
        assert_done(publish(f, "desk", "2026.11.10", (PublishOptions){}));
        assert_done(publish(f, "lap", "1", (PublishOptions){}));
        _cleanup_view_ View v = look(f, "stable");
        assert_int_equal(v.n_items, 4);
        assert_string_equal(v.items[0].description->version, "2026.11.10");
        assert_int_equal(v.items[0].description->epoch, 4);
        assert_string_equal(v.items[2].description->version, "2026.11.8");
        assert_string_equal(v.items[3].description->product, "lap");
        assert_int_equal(v.items[3].description->epoch, 0);
}

/* Each spoils one thing of a good release. */
static void without_uki(Release *r) {
        release_remove_file(r, RELEASE_UKI);
}
static void unsigned_uki(Release *r) {
        _cleanup_free_ char *from = release_file_path(r, RELEASE_UNSIGNED_UKI), *data = NULL;
        size_t size;

        assert_int_equal(io_read_file(AT_FDCWD, from, MIB, &data, &size, NULL), 0);
        publish_write(r, RELEASE_UKI, data, size);
        assert_int_equal(release_add_file(r, RELEASE_UKI, NULL), 0);
}
static void other_root_hash_in_uki(Release *r) {
        Sha256 kept = r->root_hash;

        r->root_hash.bytes[5] ^= 1;
        free(r->command_line);
        publish_write_uki(r);
        r->root_hash = kept;
        assert_int_equal(release_add_file(r, RELEASE_UKI, NULL), 0);
        assert_int_equal(release_add_file(r, RELEASE_UNSIGNED_UKI, NULL), 0);
}
static void other_version_in_uki(Release *r) {
        char *kept = r->version;
        _cleanup_free_ char *to = release_file_path(r, RELEASE_UKI), *from = NULL;

        r->version = (char *) "4";
        free(r->command_line);
        publish_write_uki(r);
        from = release_file_path(r, RELEASE_UKI);
        r->version = kept;
        assert_int_equal(io_rename_replace(AT_FDCWD, from, to, NULL), 0);
        assert_int_equal(release_add_file(r, RELEASE_UKI, NULL), 0);
}
static void changed_image(Release *r) {
        _cleanup_free_ char *path = release_file_path(r, RELEASE_USR);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

        assert_int_equal(io_pwrite_all(fd, "!", 1, 70000, NULL), 0);
}
static void changed_image_and_record(Release *r) {
        changed_image(r);
        assert_int_equal(release_add_file(r, RELEASE_USR, NULL), 0);
}
static void unknown_architecture(Release *r) {
        free(r->architecture);
        r->architecture = xstrdup("riscv64");
}

static void spoilt_releases_are_refused(void **state) {
        static const struct {
                void (*spoil)(Release *r);
                Refusal id;
        } cases[] = {
                { without_uki, REFUSAL_BAD_SIGNATURE },
                { unsigned_uki, REFUSAL_BAD_SIGNATURE },
                { other_root_hash_in_uki, REFUSAL_HASH_MISMATCH },
                { other_version_in_uki, REFUSAL_MIXED },
                { changed_image, REFUSAL_HASH_MISMATCH },
                { changed_image_and_record, REFUSAL_HASH_MISMATCH },
                { unknown_architecture, REFUSAL_BAD_VALUE },
        };
        PublishFixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *folder = publish_release(f->folder, "desk", "3", '3', false);
                _cleanup_(release_freep) Release *r = NULL;
                _cleanup_error_ Error e = {};

                publish_ok(release_open(folder, &r, &e), &e);
                cases[i].spoil(r);
                publish_ok(release_write(r, &e), &e);
                assert_refused(publish_folder(f, folder, (PublishOptions){}), cases[i].id);
        }
        assert_done(publish(f, "desk", "3", (PublishOptions){}));
}

static void development_releases_need_permission(void **state) {
        PublishFixture *f = *state;
        _cleanup_free_ char *folder = publish_release(f->folder, "desk", "1", '1', true);

        assert_refused(publish_folder(f, folder, (PublishOptions){}), REFUSAL_KEY);
        assert_done(publish_folder(f, folder, (PublishOptions){ .allow_development = true }));
}

static void unknown_channel_and_bad_options_are_refused(void **state) {
        PublishFixture *f = *state;
        static char *const own[] = { (char *) "1", NULL };

        assert_refused(publish(f, "desk", "1", (PublishOptions){ .channel = "nightly" }), REFUSAL_NOT_FOUND);
        assert_refused(publish(f, "desk", "1", (PublishOptions){ .channel = "targets" }), REFUSAL_NOT_FOUND);
        assert_refused(publish(f, "desk", "1", (PublishOptions){ .rollout = "much" }), REFUSAL_USAGE);
        assert_refused(publish(f, "desk", "1", (PublishOptions){ .notes = "two\nlines" }), REFUSAL_BAD_VALUE);
        assert_refused(publish(f, "desk", "1", (PublishOptions){ .supersedes = own }), REFUSAL_BAD_VALUE);
        _cleanup_view_ View v = look(f, "stable");
        assert_int_equal(v.n_items, 0);
        assert_int_equal(v.channel->version, 1);
}

static void promotion_takes_the_same_files_with_a_rollout_of_its_own(void **state) {
        PublishFixture *f = *state;

        assert_done(publish(f, "desk", "1", (PublishOptions){ .channel = "beta", .rollout = "50%", .notes = "new" }));
        assert_done(promote(f, "desk", "1", "stable", (PublishOptions){ .rollout = "10%/day" }));
        _cleanup_view_ View beta = look(f, "beta"), stable = look(f, "stable");
        assert_int_equal(beta.channel->n_targets, stable.channel->n_targets);
        for (size_t i = 0; i < beta.channel->n_targets; i++) {
                assert_string_equal(beta.channel->targets[i].path, stable.channel->targets[i].path);
                assert_int_equal(beta.channel->targets[i].length, stable.channel->targets[i].length);
                assert_true(sha256_equal(&beta.channel->targets[i].hashes.sha256,
                                         &stable.channel->targets[i].hashes.sha256));
        }
        assert_int_equal(beta.items[0].description->rollout.initial, 5000);
        assert_int_equal(stable.items[0].description->rollout.initial, 0);
        assert_int_equal(stable.items[0].description->rollout.per_day, 1000);
        assert_string_equal(stable.items[0].description->notes, "new");
        assert_memory_not_equal(beta.items[0].description->rollout.salt, stable.items[0].description->rollout.salt, 16);
}

static void publishing_what_another_channel_has_takes_it_from_there(void **state) {
        PublishFixture *f = *state;
        PublishOptions o = { .rollout = "20%" };

        assert_done(publish(f, "desk", "1", (PublishOptions){ .channel = "beta", .epoch = 2, .epoch_set = true }));
        assert_refused(publish(f, "desk", "1", (PublishOptions){ .epoch = 5, .epoch_set = true }), REFUSAL_EXISTS);
        assert_done(publish(f, "desk", "1", o));
        _cleanup_view_ View stable = look(f, "stable");
        assert_int_equal(stable.items[0].description->rollout.initial, 2000);
        assert_int_equal(stable.items[0].description->epoch, 2);
}

static void promoting_again_changes_the_rollout_and_takes_nothing_back(void **state) {
        PublishFixture *f = *state;
        uint8_t salt[16];

        assert_done(publish(f, "desk", "1", (PublishOptions){ .rollout = "10%/day" }));
        {
                _cleanup_view_ View v = look(f, "stable");
                memcpy(salt, v.items[0].description->rollout.salt, 16);
        }
        f->now += 2 * 86400;
        assert_nothing(promote(f, "desk", "1", "stable", (PublishOptions){}));
        assert_done(promote(f, "desk", "1", "stable", (PublishOptions){ .rollout = "30%/day" }));
        {
                _cleanup_view_ View v = look(f, "stable");
                const Rollout *r = &v.items[0].description->rollout;

                assert_int_equal(r->initial, 2000);
                assert_int_equal(r->per_day, 3000);
                assert_int_equal(r->start, f->now);
                assert_memory_equal(r->salt, salt, 16);
        }
        assert_done(promote(f, "desk", "1", "stable", (PublishOptions){ .rollout = "100%" }));
        assert_nothing(promote(f, "desk", "1", "stable", (PublishOptions){ .rollout = "100%" }));
        _cleanup_view_ View v = look(f, "stable");
        assert_int_equal(rollout_share(&v.items[0].description->rollout, f->now), ROLLOUT_WHOLE);
}

static void promotion_follows_the_rules_of_the_channel(void **state) {
        PublishFixture *f = *state;

        assert_done(publish(f, "desk", "1", (PublishOptions){ .channel = "beta" }));
        assert_done(publish(f, "desk", "2", (PublishOptions){ .epoch = 1, .epoch_set = true }));
        assert_done(publish(f, "desk", "3", (PublishOptions){ .channel = "beta" }));
        assert_refused(promote(f, "desk", "1", "stable", (PublishOptions){}), REFUSAL_ROLLBACK);
        assert_refused(promote(f, "desk", "3", "stable", (PublishOptions){}), REFUSAL_ROLLBACK); /* its epoch is 0 */
        assert_refused(promote(f, "desk", "9", "stable", (PublishOptions){}), REFUSAL_NOT_FOUND);
        assert_refused(promote(f, "desk", "3", "nightly", (PublishOptions){}), REFUSAL_NOT_FOUND);
        assert_done(promote(f, "desk", "3", "stable", (PublishOptions){ .allow_older = true }));
}

static void withdrawn_release_stays_listed_and_never_comes_back(void **state) {
        PublishFixture *f = *state;

        assert_done(publish(f, "desk", "1", (PublishOptions){ .channel = "beta" }));
        assert_done(promote(f, "desk", "1", "stable", (PublishOptions){}));
        assert_refused(withdraw(f, "desk", "1", NULL, ""), REFUSAL_USAGE);
        assert_refused(withdraw(f, "desk", "2", NULL, "bad"), REFUSAL_NOT_FOUND);
        assert_refused(withdraw(f, "desk", "1", "nightly", "bad"), REFUSAL_NOT_FOUND);
        assert_done(withdraw(f, "desk", "1", "stable", "eats disks"));
        {
                _cleanup_view_ View beta = look(f, "beta"), stable = look(f, "stable");

                assert_null(beta.items[0].description->withdrawn);
                assert_string_equal(stable.items[0].description->withdrawn, "eats disks");
        }
        assert_done(withdraw(f, "desk", "1", NULL, "really"));
        assert_nothing(withdraw(f, "desk", "1", NULL, "again"));
        _cleanup_view_ View beta = look(f, "beta"), stable = look(f, "stable");
        assert_string_equal(beta.items[0].description->withdrawn, "really");
        assert_string_equal(stable.items[0].description->withdrawn, "eats disks");
        assert_refused(publish(f, "desk", "1", (PublishOptions){}), REFUSAL_WITHDRAWN);
        assert_refused(promote(f, "desk", "1", "stable", (PublishOptions){ .rollout = "100%" }), REFUSAL_WITHDRAWN);
}

static void expiry_keeps_the_newest_on_offer(void **state) {
        static const char *const versions[] = { "1", "2", "3", "4", "5" };
        PublishFixture *f = *state;
        _cleanup_strv_free_ char **removed = NULL, **nothing = NULL;
        _cleanup_free_ char *joined = NULL;

        for (size_t i = 0; i < ELEMENTSOF(versions); i++)
                assert_done(publish(f, "desk", versions[i], (PublishOptions){}));
        assert_done(publish(f, "lap", "1", (PublishOptions){}));
        assert_done(withdraw(f, "desk", "5", NULL, "bad"));
        assert_done(withdraw(f, "desk", "3", NULL, "bad"));
        assert_refused(expire(f, 0, &nothing), REFUSAL_USAGE);
        assert_done(expire(f, 2, &removed));
        joined = strv_join(removed, ", ");
        assert_string_equal(joined, "stable desk 3, stable desk 1");
        _cleanup_view_ View v = look(f, "stable");
        assert_int_equal(v.n_items, 4);
        assert_string_equal(v.items[0].description->version, "5"); /* withdrawn, but nothing newer is on offer */
        assert_string_equal(v.items[1].description->version, "4");
        assert_string_equal(v.items[2].description->version, "2");
        assert_int_equal(v.channel->n_targets, 4 * 10);
}

#define WITH_REPOSITORY(test) cmocka_unit_test_setup_teardown(test, publish_fixture_setup, publish_fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_REPOSITORY(published_release_is_described_and_its_files_are_there),
                WITH_REPOSITORY(published_pack_and_index_give_the_image_back),
                WITH_REPOSITORY(frames_follow_the_releases_before),
                WITH_REPOSITORY(published_map_is_that_of_the_image),
                WITH_REPOSITORY(same_release_again_changes_nothing),
                WITH_REPOSITORY(version_never_gets_other_content),
                WITH_REPOSITORY(older_versions_and_epochs_are_refused_unless_allowed),
                WITH_REPOSITORY(spoilt_releases_are_refused),
                WITH_REPOSITORY(development_releases_need_permission),
                WITH_REPOSITORY(unknown_channel_and_bad_options_are_refused),
                WITH_REPOSITORY(promotion_takes_the_same_files_with_a_rollout_of_its_own),
                WITH_REPOSITORY(publishing_what_another_channel_has_takes_it_from_there),
                WITH_REPOSITORY(promoting_again_changes_the_rollout_and_takes_nothing_back),
                WITH_REPOSITORY(promotion_follows_the_rules_of_the_channel),
                WITH_REPOSITORY(withdrawn_release_stays_listed_and_never_comes_back),
                WITH_REPOSITORY(expiry_keeps_the_newest_on_offer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
