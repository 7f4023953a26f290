/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Deltas between published releases: small EROFS images, a repository in a folder. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "delta.h"
#include "erofs.h"
#include "release.h"
#include "repo-check.h"

static size_t make_image(Release *r, char content);
#define PUBLISH_MAKE_IMAGE make_image
#include "publish-fixture.h"

#define KIB ((size_t) 1 << 10)

/* ---- images ---- */

static char *noise(size_t size, uint32_t seed) {
        char *data = xmalloc(size + 1);

        for (size_t i = 0; i < size; i++) {
                seed = seed * 1664525 + 1013904223;
                data[i] = (char) (seed >> 24);
        }
        return data;
}

static void put(Tree *t, const char *path, size_t size, uint32_t seed) {
        const NodeAttributes a = { .mode = 0644, .mtime = PUBLISH_NOW };
        _cleanup_free_ char *data = noise(size, seed);
        _cleanup_error_ Error e = {};
        Node *n = NULL;

        publish_ok(tree_add_file(t, path, &a, data, size, &n, &e), &e);
}

/* Digits: much in common, and 20 KiB of their own in the middle of a larger file. Letters: nothing in common. */
static size_t make_image(Release *r, char content) {
        const ErofsOptions o = { .layout = EROFS_LAYOUT_PLAIN, .uuid = "an image of them", .build_time = PUBLISH_NOW };
        const uint32_t shared = content >= '0' && content <= '9' ? 1 : (uint32_t) content;
        _cleanup_free_ char *path = release_file_path(r, RELEASE_USR);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_error_ Error e = {};
        uint64_t size = 0;

        assert_true(fd >= 0);
        publish_ok(tree_new(NULL, &t, &e), &e);
        put(t, "/usr/bin/shell", 150 * KIB, shared);
        put(t, "/usr/lib/library.so.1", 90 * KIB, shared + 1);
        put(t, "/usr/lib/own", 20 * KIB, (uint32_t) content * 1000);
        put(t, "/usr/share/data", 300 * KIB, shared + 2);
        publish_ok(erofs_write(t, "/usr", &o, fd, &size, &e), &e);
        return (size_t) size;
}

/* ---- changes ---- */

static Result publish_with_budget(PublishFixture *f, const char *version, uint64_t budget, PublishOptions o) {
        _cleanup_free_ char *folder = publish_release(f->folder, "desk", version, version[strlen(version) - 1], false);
        _cleanup_(release_freep) Release *release = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        o.now = f->now;
        o.scratch = f->folder;
        publish_ok(release_open(folder, &release, &e), &e);
        release->download_budget = budget;
        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        return finish(f, c, publish_add(c, release, &o, &e), &e);
}

static Result publish(PublishFixture *f, const char *version, PublishOptions o) {
        return publish_with_budget(f, version, 0, o);
}

static Result later(PublishFixture *f, const char *version, PublishOptions o) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};
        int r;

        o.now = f->now;
        o.scratch = f->folder;
        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        r = publish_deltas(c, "desk", version, &o, &e);
        /* What does nothing leaves nothing to sign. */
        assert_true(r == 0 || change_is_empty(c));
        return finish(f, c, r, &e);
}

static Result promote(PublishFixture *f, const char *version, const char *channel) {
        const PublishOptions o = { .now = f->now };
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        return finish(f, c, publish_promote(c, "desk", version, channel, &o, &e), &e);
}

static Result withdraw(PublishFixture *f, const char *version) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        return finish(f, c, publish_withdraw(c, "desk", version, NULL, "bad", &e), &e);
}

static char *expire(PublishFixture *f, size_t keep) {
        _cleanup_strv_free_ char **removed = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        publish_ok(publish_expire_deltas(c, keep, &removed, &e), &e);
        (void) finish(f, c, 0, &e);
        return removed ? strv_join(removed, "; ") : NULL;
}

/* ---- what is public ---- */

static const ReleaseDescription *release_of(const View *v, const char *version) {
        for (size_t i = 0; i < v->n_items; i++)
                if (streq(v->items[i].description->version, version))
                        return v->items[i].description;
        fail_msg("%s is not there", version);
        return NULL;
}

/* "1.usr 1.uki 2.usr", in the description's order; each listed as a target and there with its digest. */
static char *deltas_of(PublishFixture *f, const char *channel, const char *version) {
        _cleanup_view_ View v = look(f, channel);
        const ReleaseDescription *d = release_of(&v, version);
        _cleanup_buffer_ Buffer list = {};
        size_t n_targets = 0;

        buffer_puts(&list, "");
        for (size_t i = 0; i < d->n_deltas; i++) {
                _cleanup_buffer_ Buffer b = stored(f, &v, d->deltas[i].target);

                buffer_printf(&list, "%s%s.%s", i > 0 ? " " : "", d->deltas[i].from,
                              artifact_kind_name(d->deltas[i].artifact));
        }
        /* No target without its entry. */
        for (size_t i = 0; i < v.channel->n_targets; i++) {
                _cleanup_free_ char *folder = description_target_path("desk", version, "");

                n_targets += startswith(v.channel->targets[i].path, folder) &&
                             endswith(v.channel->targets[i].path, PUBLISH_DELTA_SUFFIX);
        }
        assert_int_equal(n_targets, d->n_deltas);
        return buffer_steal(&list);
}

#define assert_deltas(f, channel, version, wanted)                                                                     \
        do {                                                                                                           \
                _cleanup_free_ char *_list = deltas_of(f, channel, version);                                           \
                assert_string_equal(_list, wanted);                                                                    \
        } while (0)

static void publish_all(PublishFixture *f, const char *versions, PublishOptions o) {
        for (const char *v = versions; *v; v++)
                assert_done(publish(f, (char[]){ *v, 0 }, o));
}

/* ---- at publish ---- */

static void deltas_lead_from_the_newest_releases(void **state) {
        PublishFixture *f = *state;

        publish_all(f, "1", (PublishOptions){ .deltas = 3 });
        assert_deltas(f, "stable", "1", "");
        publish_all(f, "2345", (PublishOptions){ .deltas = 3 });
        assert_deltas(f, "stable", "5", "2.usr 2.uki 3.usr 3.uki 4.usr 4.uki");
        publish_all(f, "6", (PublishOptions){});
        assert_deltas(f, "stable", "6", "");
}

static void a_delta_says_between_which_releases_it_is(void **state) {
        PublishFixture *f = *state;

        publish_all(f, "12", (PublishOptions){ .deltas = 1 });
        _cleanup_view_ View v = look(f, "stable");
        const ReleaseDescription *d = release_of(&v, "2"), *old = release_of(&v, "1");

        assert_int_equal(d->n_deltas, 2);
        for (size_t i = 0; i < 2; i++) {
                const ArtifactDelta *a = &d->deltas[i];
                const Artifact *uki = d->artifacts + ARTIFACT_UKI, *old_uki = old->artifacts + ARTIFACT_UKI;
                const bool usr = a->artifact == ARTIFACT_USR;
                _cleanup_buffer_ Buffer b = stored(f, &v, a->target);
                _cleanup_(delta_freep) Delta *delta = NULL;
                _cleanup_error_ Error e = {};
                Sha256 digest;

                assert_true(a->head_size < b.size);
                sha256_buffer(b.data, (size_t) a->head_size, &digest);
                assert_true(sha256_equal(&digest, &a->head_sha256));
                publish_ok(delta_parse(b.data, (size_t) a->head_size, "delta", &delta, &e), &e);
                assert_int_equal(delta->payload_size, b.size - a->head_size);
                assert_true(sha256_equal(&a->from_id, &delta->old_id));
                assert_true(sha256_equal(&a->from_id, usr ? &old->root_hash : &old_uki->sha256));
                assert_true(sha256_equal(&delta->new_id, usr ? &d->root_hash : &uki->sha256));
                assert_int_equal(delta->old_size, usr ? old->artifacts[ARTIFACT_USR].size : old_uki->size);
        }
}

static void only_the_newest_releases_keep_their_deltas(void **state) {
        PublishFixture *f = *state;

        publish_all(f, "1234", (PublishOptions){ .deltas = 2 });
        assert_deltas(f, "stable", "4", "2.usr 2.uki 3.usr 3.uki");
        assert_deltas(f, "stable", "3", "1.usr 1.uki 2.usr 2.uki");
        assert_deltas(f, "stable", "2", "");
        assert_done(withdraw(f, "4"));
        assert_deltas(f, "stable", "4", "");
        /* 4 is not on offer: 5 and 3 are the newest. */
        publish_all(f, "5", (PublishOptions){ .deltas = 1 });
        assert_deltas(f, "stable", "5", "4.usr 4.uki");
        assert_deltas(f, "stable", "3", "1.usr 1.uki 2.usr 2.uki");
        publish_all(f, "6", (PublishOptions){});
        assert_deltas(f, "stable", "3", "");
        assert_deltas(f, "stable", "5", "4.usr 4.uki");
}

static void files_of_deltas_that_are_out_go_with_the_rest(void **state) {
        PublishFixture *f = *state;
        _cleanup_free_ char *place = path_join(f->folder, "repo"), *first = NULL, *second = NULL;
        _cleanup_json_ json_t *removed = NULL, *found = NULL;
        _cleanup_error_ Error e = {};
        size_t n = 0, i;
        json_t *name;

        publish_all(f, "123", (PublishOptions){ .deltas = 2 });
        first = expire(f, 2);
        assert_null(first);
        second = expire(f, 1);
        assert_string_equal(second, "stable desk 2, from 1");
        assert_deltas(f, "stable", "2", "");
        assert_deltas(f, "stable", "3", "1.usr 1.uki 2.usr 2.uki");
        _cleanup_view_ View v = look(f, "stable");
        publish_ok(repo_gc(v.repository, INT64_MAX, false, &removed, &e), &e);
        json_array_foreach (json_object_get(removed, "removed"), i, name)
                n += endswith(json_string_value(name), PUBLISH_DELTA_SUFFIX) != NULL;
        assert_int_equal(n, 2);
        assert_int_equal(repo_verify(v.repository, place, f->now, NULL, &found, &e), 0);
        free(second);
        second = expire(f, 0);
        assert_string_equal(second, "stable desk 3, from 1; stable desk 3, from 2");
}

static void what_saves_nothing_is_not_offered(void **state) {
        PublishFixture *f = *state;
        _cleanup_downloads_ Downloads downloads = {};

        publish_all(f, "1", (PublishOptions){});
        assert_done(publish(f, "2.x", (PublishOptions){ .deltas = 3, .downloads = &downloads }));
        assert_deltas(f, "stable", "2.x", "1.uki");
        assert_int_equal(downloads.n_from, 1);
        assert_false(downloads.from[0].usr_offered);
        assert_true(downloads.from[0].uki_offered);
        assert_int_equal(strv_length(downloads.from[0].notes), 1);
        assert_non_null(strstr(downloads.from[0].notes[0], "is not offered"));
}

/* ---- numbers ---- */

static void numbers_are_those_of_the_files(void **state) {
        PublishFixture *f = *state;
        _cleanup_downloads_ Downloads downloads = {};
        const DownloadFrom *from;
        DownloadBytes cheapest;

        publish_all(f, "1", (PublishOptions){ .deltas = 1, .downloads = &downloads });
        assert_int_equal(downloads.n_from, 0);
        publish_all(f, "2", (PublishOptions){ .deltas = 1, .downloads = &downloads });
        _cleanup_view_ View v = look(f, "stable");
        const ReleaseDescription *d = release_of(&v, "2");
        uint64_t length[_ARTIFACT_KIND_MAX];

        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                length[k] = tuf_find_target(v.channel, d->artifacts[k].target)->length;
        assert_int_equal(downloads.full.usr, length[ARTIFACT_USR]);
        assert_int_equal(downloads.full.uki, length[ARTIFACT_UKI]);
        assert_int_equal(downloads.full.metadata, length[ARTIFACT_USR_INDEX] + length[ARTIFACT_VERITY_SIG]);
        from = downloads_find(&downloads, "1");
        assert_null(downloads_find(&downloads, "2"));
        assert_int_equal(from->reuse.metadata, downloads.full.metadata + length[ARTIFACT_USR_MAP]);
        /* It has one block, which is new. */
        assert_int_equal(from->reuse.uki, length[ARTIFACT_UKI] + length[ARTIFACT_UKI_MAP]);
        /* Of 560 KiB of noise 20 are new, and what describes them. */
        assert_in_range(from->reuse.usr, 20 * KIB, 150 * KIB);
        assert_in_range(from->usr_delta, 20 * KIB, 30 * KIB);
        assert_int_equal(from->usr_delta, tuf_find_target(v.channel, d->deltas[0].target)->length);
        assert_int_equal(from->uki_delta, tuf_find_target(v.channel, d->deltas[1].target)->length);
        cheapest = download_cheapest(&downloads, from);
        assert_int_equal(download_total(&cheapest), from->usr_delta + from->uki_delta + length[ARTIFACT_VERITY_SIG]);
}

static void numbers_are_shown(void **state) {
        DownloadFrom from[] = {
                { .version = (char *) "2026.10.1",
                  .reuse = { 20 << 20, 30 << 20, 1 << 20 },
                  .usr_delta = 5 << 20,
                  .uki_delta = 2 << 20,
                  .usr_offered = true },
                { .version = (char *) "1", .reuse = { 80 << 20, 30 << 20, 50 << 20 } },
        };
        const Downloads d = {
                .full = { 100 << 20, 30 << 20, 512 << 10 }, .signature = 1024, .from = from, .n_from = 2
        };
        _cleanup_free_ char *text = downloads_format(&d);
        _cleanup_json_ json_t *o = downloads_to_json(&d);
        DownloadBytes first = download_cheapest(&d, &from[0]), second = download_cheapest(&d, &from[1]);

        assert_int_equal(download_total(&first), (35 << 20) + 1024);
        assert_int_equal(download_total(&second), 160 << 20);
        assert_string_equal(text, "  A device downloads              /usr        UKI   metadata   together\n"
                                  "  all of it                    100 MiB     30 MiB    512 KiB    130 MiB\n"
                                  "  from 2026.10.1, by blocks     20 MiB     30 MiB    1.0 MiB     51 MiB\n"
                                  "  from 2026.10.1, by delta     5.0 MiB     30 MiB    1.0 KiB     35 MiB\n"
                                  "  from 1, by blocks             80 MiB     30 MiB     50 MiB    160 MiB\n");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "full"), "total")),
                         (130 << 20) + (512 << 10));
        json_t *item = json_array_get(json_object_get(o, "from"), 0);
        assert_string_equal(json_string_value(json_object_get(item, "version")), "2026.10.1");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(item, "delta"), "uki")), 2 << 20);
        assert_int_equal(json_array_size(json_object_get(item, "offered")), 1);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(item, "cheapest"), "total")),
                         (35 << 20) + 1024);
}

static void a_budget_is_about_the_release_before(void **state) {
        PublishFixture *f = *state;
        _cleanup_downloads_ Downloads downloads = {};
        PublishOptions o = { .deltas = 3, .downloads = &downloads };

        assert_done(publish_with_budget(f, "1", 4096, o)); /* there is none before */
        assert_refused(publish_with_budget(f, "2", 4096, o), REFUSAL_BUDGET);
        assert_int_equal(downloads.n_from, 1); /* for the table */
        assert_done(publish_with_budget(f, "2", 40 * KIB, o));
        /* Without deltas it is blocks that count, and they are looked at only then. */
        assert_refused(publish_with_budget(f, "3", 8 * KIB, (PublishOptions){}), REFUSAL_BUDGET);
        o.allow_over_budget = true;
        assert_done(publish_with_budget(f, "3", 4096, o));
        /* A withdrawn one is not what devices come from. */
        assert_done(withdraw(f, "3"));
        o.allow_over_budget = false;
        assert_done(publish_with_budget(f, "4", 40 * KIB, (PublishOptions){ .deltas = 2 }));
}

/* ---- where old releases come from ---- */

static void break_file(PublishFixture *f, const char *version, ArtifactKind kind, bool remove) {
        _cleanup_view_ View v = look(f, "stable");
        const TufTarget *t = tuf_find_target(v.channel, release_of(&v, version)->artifacts[kind].target);
        _cleanup_free_ char *name = repository_target_path(t->path, &t->hashes), *repo = path_join(f->folder, "repo"),
                            *path = path_join(repo, name);
        _cleanup_close_ int fd = -EBADF;

        if (remove) {
                assert_int_equal(storage_remove(f->storage, name, NULL), 0);
                return;
        }
        fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(io_pwrite_all(fd, "!", 1, t->length / 2, NULL), 0);
}

static void a_folder_replaces_what_the_repository_has_lost(void **state) {
        PublishFixture *f = *state;
        _cleanup_free_ char *folder = path_join(f->folder, "desk_1");
        char *const from[] = { folder, NULL };

        publish_all(f, "1", (PublishOptions){});
        break_file(f, "1", ARTIFACT_USR, true);
        assert_refused(publish(f, "2", (PublishOptions){ .deltas = 1 }), REFUSAL_NOT_FOUND);
        assert_done(publish(f, "2", (PublishOptions){ .deltas = 1, .from = from }));
        assert_deltas(f, "stable", "2", "1.usr 1.uki");
}

static void damaged_files_make_no_deltas(void **state) {
        static const ArtifactKind kinds[] = { ARTIFACT_USR, ARTIFACT_UKI };

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                void *own = NULL;
                PublishFixture *f;

                publish_fixture_setup(&own);
                f = own;
                publish_all(f, "1", (PublishOptions){});
                break_file(f, "1", kinds[i], false);
                assert_refused(publish(f, "2", (PublishOptions){ .deltas = 1 }), REFUSAL_HASH_MISMATCH);
                publish_fixture_teardown(&own);
        }
}

static void older_releases_are_named_by_version_or_folder(void **state) {
        PublishFixture *f = *state;
        _cleanup_free_ char *other = publish_release(f->folder, "lap", "1", '1', false),
                            *unknown = publish_release(f->folder, "desk", "0", '0', false), *changed = NULL;
        const struct {
                const char *name;
                Refusal id;
        } cases[] = {
                { "0", REFUSAL_NOT_FOUND },                               /* only its folder is known */
                { "9", REFUSAL_BAD_VALUE },   { "3", REFUSAL_BAD_VALUE }, /* itself */
                { "a/b", REFUSAL_NOT_FOUND }, { other, REFUSAL_MIXED },
        };

        publish_all(f, "12", (PublishOptions){});
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_refused(publish(f, "3", (PublishOptions){ .from = (char *[]){ (char *) cases[i].name, NULL } }),
                               cases[i].id);
        assert_done(
                publish(f, "3", (PublishOptions){ .from = (char *[]){ (char *) "1", unknown, (char *) "1", NULL } }));
        assert_deltas(f, "stable", "3", "0.usr 0.uki 1.usr 1.uki");
        /* A folder whose content is not what was published under that version. */
        changed = publish_release(f->folder, "desk", "2", 'z', false);
        assert_refused(publish(f, "4", (PublishOptions){ .from = (char *[]){ changed, NULL } }), REFUSAL_MIXED);
}

/* ---- later ---- */

static void deltas_can_be_made_later(void **state) {
        PublishFixture *f = *state;
        _cleanup_downloads_ Downloads downloads = {};
        char *const from[] = { (char *) "1", NULL };

        publish_all(f, "123", (PublishOptions){});
        assert_nothing(later(f, "1", (PublishOptions){ .deltas = 3 }));
        assert_done(later(f, "3", (PublishOptions){ .deltas = 1 }));
        assert_deltas(f, "stable", "3", "2.usr 2.uki");
        assert_nothing(later(f, "3", (PublishOptions){ .deltas = 1 }));
        assert_done(later(f, "3", (PublishOptions){ .from = from, .downloads = &downloads }));
        assert_deltas(f, "stable", "3", "1.usr 1.uki 2.usr 2.uki");
        assert_int_equal(downloads.n_from, 1);
        assert_string_equal(downloads.from[0].version, "1");
        assert_refused(later(f, "4", (PublishOptions){ .deltas = 1 }), REFUSAL_NOT_FOUND);
        assert_refused(later(f, "3", (PublishOptions){ .deltas = 1, .channel = "none" }), REFUSAL_NOT_FOUND);
        assert_done(withdraw(f, "3"));
        assert_refused(later(f, "3", (PublishOptions){ .deltas = 1 }), REFUSAL_WITHDRAWN);
}

static void deltas_made_later_are_those_made_at_once(void **state) {
        PublishFixture *f = *state;
        Sha256 at_once[2];

        publish_all(f, "12", (PublishOptions){ .deltas = 1 });
        {
                _cleanup_view_ View v = look(f, "stable");
                const ReleaseDescription *d = release_of(&v, "2");

                for (size_t i = 0; i < 2; i++)
                        at_once[i] = tuf_find_target(v.channel, d->deltas[i].target)->hashes.sha256;
        }
        free(expire(f, 0));
        assert_done(later(f, "2", (PublishOptions){ .deltas = 1 }));
        _cleanup_view_ View v = look(f, "stable");
        const ReleaseDescription *d = release_of(&v, "2");

        for (size_t i = 0; i < 2; i++)
                assert_true(sha256_equal(&tuf_find_target(v.channel, d->deltas[i].target)->hashes.sha256, &at_once[i]));
}

/* ---- channels ---- */

static void promotion_takes_the_deltas_that_are_of_use_there(void **state) {
        PublishFixture *f = *state;

        publish_all(f, "1", (PublishOptions){ .channel = "beta" });
        assert_done(promote(f, "1", "stable"));
        publish_all(f, "23", (PublishOptions){ .channel = "beta", .deltas = 3 });
        assert_done(promote(f, "3", "stable"));
        assert_deltas(f, "beta", "3", "1.usr 1.uki 2.usr 2.uki");
        assert_deltas(f, "stable", "3", "1.usr 1.uki");
        publish_all(f, "45", (PublishOptions){ .channel = "beta", .deltas = 1 });
        assert_done(promote(f, "5", "stable"));
        assert_deltas(f, "stable", "5", "");
        assert_done(later(f, "5", (PublishOptions){ .deltas = 1 }));
        assert_deltas(f, "stable", "5", "3.usr 3.uki");
}

static void what_another_channel_has_is_taken_from_there(void **state) {
        PublishFixture *f = *state;

        publish_all(f, "1", (PublishOptions){ .channel = "beta" });
        publish_all(f, "2", (PublishOptions){ .channel = "beta", .deltas = 1 });
        publish_all(f, "1", (PublishOptions){});
        free(expire(f, 2));
        /* The old image cannot be had: nothing is made. */
        assert_done(promote(f, "2", "stable"));
        assert_deltas(f, "stable", "2", "1.usr 1.uki");
        assert_nothing(later(f, "2", (PublishOptions){ .deltas = 3 }));
        _cleanup_view_ View beta = look(f, "beta"), stable = look(f, "stable");
        const char *path = release_of(&beta, "2")->deltas[0].target;

        assert_true(sha256_equal(&tuf_find_target(beta.channel, path)->hashes.sha256,
                                 &tuf_find_target(stable.channel, path)->hashes.sha256));
}

static void publishing_what_another_channel_has_makes_what_is_missing(void **state) {
        PublishFixture *f = *state;
        _cleanup_downloads_ Downloads downloads = {};

        publish_all(f, "1", (PublishOptions){});
        publish_all(f, "23", (PublishOptions){ .channel = "beta", .deltas = 1 });
        assert_refused(publish_with_budget(f, "3", 4096, (PublishOptions){ .deltas = 3, .downloads = &downloads }),
                       REFUSAL_BUDGET);
        assert_done(publish(f, "3", (PublishOptions){ .deltas = 3, .downloads = &downloads }));
        assert_deltas(f, "stable", "3", "1.usr 1.uki");
        assert_int_equal(downloads.n_from, 1);
        assert_string_equal(downloads.from[0].version, "1");
        /* From there on beta may have it too. */
        assert_done(later(f, "3", (PublishOptions){ .channel = "beta", .from = (char *[]){ (char *) "1", NULL } }));
        assert_deltas(f, "beta", "3", "1.usr 1.uki 2.usr 2.uki");
}

#define WITH_REPOSITORY(test) cmocka_unit_test_setup_teardown(test, publish_fixture_setup, publish_fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_REPOSITORY(deltas_lead_from_the_newest_releases),
                WITH_REPOSITORY(a_delta_says_between_which_releases_it_is),
                WITH_REPOSITORY(only_the_newest_releases_keep_their_deltas),
                WITH_REPOSITORY(files_of_deltas_that_are_out_go_with_the_rest),
                WITH_REPOSITORY(what_saves_nothing_is_not_offered),
                WITH_REPOSITORY(numbers_are_those_of_the_files),
                cmocka_unit_test(numbers_are_shown),
                WITH_REPOSITORY(a_budget_is_about_the_release_before),
                WITH_REPOSITORY(a_folder_replaces_what_the_repository_has_lost),
                cmocka_unit_test(damaged_files_make_no_deltas),
                WITH_REPOSITORY(older_releases_are_named_by_version_or_folder),
                WITH_REPOSITORY(deltas_can_be_made_later),
                WITH_REPOSITORY(deltas_made_later_are_those_made_at_once),
                WITH_REPOSITORY(promotion_takes_the_deltas_that_are_of_use_there),
                WITH_REPOSITORY(what_another_channel_has_is_taken_from_there),
                WITH_REPOSITORY(publishing_what_another_channel_has_makes_what_is_missing),
        };

        return cmocka_run_group_tests_name("publish-delta", tests, NULL, NULL);
}
