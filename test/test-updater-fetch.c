/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "publish-fixture.h"

#include <sys/stat.h>

#include "pack.h"

#define COPIES 5 /* as many as attempts: then nothing is waited for */

typedef struct Fixture {
        PublishFixture *publisher;
        char *state, *anchor, *good; /* good: what was published at first */
} Fixture;

static void publish_version(PublishFixture *f, const char *version, char content) {
        _cleanup_free_ char *folder = publish_release(f->folder, "desk", version, content, false);
        PublishOptions o = { .channel = "stable", .scratch = f->folder, .now = f->now };
        _cleanup_(release_freep) Release *release = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};

        publish_ok(release_open(folder, &release, &e), &e);
        publish_ok(change_begin(f->storage, f->now, &c, &e), &e);
        publish_ok(publish_add(c, release, &o, &e), &e);
        publish_ok(change_sign(c, f->keys, &e), &e);
        publish_ok(change_commit(c, NULL, &e), &e);
        f->now += 60;
}

static char *copy_repository(const Fixture *f, const char *name) {
        _cleanup_free_ char *from = path_join(f->publisher->folder, "repo"),
                            *to = path_join(f->publisher->folder, name),
                            *command = xasprintf("cp -a %s %s && chmod -R a+rX %s", from, to, to);

        assert_int_equal(system(command), 0);
        return xasprintf("file://%s", to);
}

static int setup(void **state) {
        Fixture *f = xnew(Fixture, 1);
        void *publisher = NULL;

        assert_int_equal(publish_fixture_setup(&publisher), 0);
        f->publisher = publisher;
        /* The workers are somebody else. */
        assert_int_equal(chmod(f->publisher->folder, 0755), 0);
        f->state = path_join(f->publisher->folder, "state");
        f->anchor = path_join(f->publisher->folder, "repo/metadata/1.root.json");
        publish_version(f->publisher, "1", 'a');
        f->good = copy_repository(f, "good");
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;
        void *publisher = f->publisher;

        publish_fixture_teardown(&publisher);
        free(f->state);
        free(f->anchor);
        free(f->good);
        free(f);
        return 0;
}

static FetchOptions options(const Fixture *f, char *const *repositories) {
        return (FetchOptions){ .repositories = repositories,
                               .state_folder = f->state,
                               .trust_anchor = f->anchor,
                               .channel = "stable",
                               .now = f->publisher->now };
}

static Catalogue *poll_good(const Fixture *f) {
        char *repositories[] = { f->good, NULL };
        FetchOptions o = options(f, repositories);
        Catalogue *c = NULL;
        _cleanup_error_ Error e = {};

        publish_ok(fetch_catalogue(&o, &c, &e), &e);
        return c;
}

/* ---- what is on offer ---- */

static void offers_are_read_and_stay_readable_offline(void **state) {
        const Fixture *f = *state;
        _cleanup_(catalogue_freep) Catalogue *c = poll_good(f), *stored = NULL;
        FetchOptions o = options(f, NULL);

        assert_int_equal(c->n_offers, 1);
        assert_true(c->changed);
        assert_string_equal(c->offers[0].description->version, "1");
        assert_true(c->offers[0].download[ARTIFACT_USR] > 0 && c->offers[0].download[ARTIFACT_UKI] > 0);
        assert_int_equal(fetch_catalogue_stored(&o, &stored, NULL), 0);
        assert_int_equal(stored->n_offers, 1);
        assert_true(sha256_equal(&stored->offers[0].description->root_hash, &c->offers[0].description->root_hash));
}

static void mirrors_are_asked_in_order(void **state) {
        const Fixture *f = *state;
        char *repositories[] = { (char *) "file:///nowhere", (char *) "http://127.0.0.1:1", f->good, f->good, NULL };
        static const struct { size_t first, wanted; } cases[] = { { 0, 2 }, { 2, 2 }, { 3, 3 }, { 4, 2 } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                FetchOptions o = options(f, repositories);
                _cleanup_(catalogue_freep) Catalogue *c = NULL;

                o.first = cases[i].first;
                assert_int_equal(fetch_catalogue(&o, &c, NULL), 0);
                assert_int_equal(c->repository, cases[i].wanted);
        }
}

static void a_stale_mirror_is_passed_over(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *newer = NULL;
        _cleanup_(catalogue_freep) Catalogue *first = NULL, *c = NULL, *none = NULL;
        _cleanup_error_ Error e = {};

        publish_version(f->publisher, "2", 'b');
        newer = copy_repository(f, "newer");
        {
                char *repositories[] = { newer, NULL }, *both[] = { f->good, newer, NULL }, *old[] = { f->good, NULL };
                FetchOptions o = options(f, repositories), p = options(f, both), q = options(f, old);

                assert_int_equal(fetch_catalogue(&o, &first, NULL), 0);
                assert_int_equal(first->n_offers, 2);
                assert_string_equal(first->offers[0].description->version, "2");
                assert_int_equal(fetch_catalogue(&p, &c, NULL), 0);
                assert_int_equal(c->repository, 1);
                assert_int_equal(c->n_offers, 2);
                assert_true(fetch_catalogue(&q, &none, &e) < 0);
                assert_int_equal(e.id, REFUSAL_ROLLBACK);
                assert_null(none);
        }
}

static void what_cannot_be_trusted_is_told(void **state) {
        Fixture *f = *state;
        char *repositories[] = { f->good, NULL };
        FetchOptions none = options(f, NULL), late = options(f, repositories), unknown = options(f, repositories),
                     anchorless = options(f, repositories);
        static const Refusal ids[] = { REFUSAL_NOT_FOUND, REFUSAL_EXPIRED, REFUSAL_NOT_FOUND, REFUSAL_NOT_FOUND };
        const FetchOptions *cases[] = { &none, &late, &unknown, &anchorless };

        late.now += 1000 * INT64_C(86400);
        unknown.channel = "nightly";
        anchorless.trust_anchor = "/nowhere/root.json";
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Catalogue *c = NULL;
                _cleanup_error_ Error e = {};

                assert_true(fetch_catalogue(cases[i], &c, &e) < 0);
                assert_null(c);
                print_message("%zu: %s\n", i, refusal_name(e.id));
                assert_true(e.id == ids[i] || i == 2);
        }
}

/* ---- files ---- */

typedef struct Sink {
        char *data;
        uint64_t written;
        unsigned frames;
        bool all_but_first;
} Sink;

static bool sink_want(uint64_t offset, size_t size, const Sha256 *sha256, void *userdata) {
        const Sink *s = userdata;

        return !s->all_but_first || offset > 0;
}

static int sink_write(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr) {
        Sink *s = userdata;

        assert_true(offset + size <= PUBLISH_USR_SIZE);
        memcpy(s->data + offset, data, size);
        s->written += size;
        s->frames++;
        return 0;
}

static int fetch_frames(const FetchOptions *o, const Offer *offer, const FetchSink *sink, uint64_t *downloaded,
                        Error *e) {
        _cleanup_(pack_freep) Pack *p = NULL;
        int r = pack_open(o, offer, &p, downloaded, e);

        if (r < 0)
                return r;
        pack_mark(p, sink_want, sink->userdata);
        return pack_fetch(p, sink, downloaded, e);
}

/* Nothing is left from the one before. */
static int fetch(const Fixture *f, char *const *repositories, const Offer *offer, ArtifactKind kind, Sink *s,
                 uint64_t *downloaded, Error *e) {
        FetchOptions o = options(f, repositories);
        const FetchSink sink = { .write = sink_write, .userdata = s };
        const Document doc = document_of_artifact(offer, kind);
        _cleanup_buffer_ Buffer text = {};
        uint64_t n = 0;
        int r;

        s->data = s->data ?: xcalloc(1, PUBLISH_USR_SIZE);
        download_cache_keep(f->state, NULL, 0);
        r = kind == ARTIFACT_USR ? fetch_frames(&o, offer, &sink, &n, e)
                                 : download_document(&o, &doc, 1 << 20, &text, &n, e);
        if (downloaded)
                *downloaded = n;
        return r;
}

static void the_image_arrives_whole(void **state) {
        const Fixture *f = *state;
        _cleanup_(catalogue_freep) Catalogue *c = poll_good(f);
        char *repositories[] = { f->good, NULL };
        uint64_t whole = 0, rest = 0;
        Sink all = {}, part = { .all_but_first = true };
        _cleanup_error_ Error e = {};

        publish_ok(fetch(f, repositories, &c->offers[0], ARTIFACT_USR, &all, &whole, &e), &e);
        assert_int_equal(all.written, PUBLISH_USR_SIZE);
        for (size_t i = 0; i < PUBLISH_USR_SIZE; i++)
                if (all.data[i] != (char) PUBLISH_BYTE('a', i))
                        fail_msg("byte %zu differs", i);
        /* What is there is not asked for. */
        publish_ok(fetch(f, repositories, &c->offers[0], ARTIFACT_USR, &part, &rest, &e), &e);
        assert_int_equal(part.frames, all.frames - 1);
        assert_true(rest < whole);
        free(all.data);
        free(part.data);
}

/* What came with a release that is not the first of its line. */
static void frames_of_lzma_arrive_as_well(void **state) {
        Fixture *f = *state;
        _cleanup_(catalogue_freep) Catalogue *c = NULL;
        _cleanup_free_ char *newer = NULL;
        _cleanup_error_ Error e = {};
        Sink all = {};

        publish_version(f->publisher, "2", 'b');
        newer = copy_repository(f, "newer");
        {
                char *repositories[] = { newer, NULL };
                FetchOptions o = options(f, repositories);

                publish_ok(fetch_catalogue(&o, &c, &e), &e);
                publish_ok(fetch(f, repositories, &c->offers[0], ARTIFACT_USR, &all, NULL, &e), &e);
        }
        assert_int_equal(all.frames, 3); /* of up to 512 KiB */
        for (size_t i = 0; i < PUBLISH_USR_SIZE; i++)
                if (all.data[i] != (char) PUBLISH_BYTE('b', i))
                        fail_msg("byte %zu differs", i);
        free(all.data);
}

static void what_came_before_a_cut_is_not_fetched_again(void **state) {
        const Fixture *f = *state;
        _cleanup_(catalogue_freep) Catalogue *c = poll_good(f);
        char *repositories[] = { f->good, NULL };
        FetchOptions o = options(f, repositories);
        const Document doc = document_of_artifact(&c->offers[0], ARTIFACT_UKI);
        _cleanup_buffer_ Buffer whole = {}, again = {};
        uint64_t n = 0;

        assert_int_equal(download_document(&o, &doc, 1 << 20, &whole, &n, NULL), 0);
        assert_int_equal(n, doc.size);
        assert_int_equal(download_document(&o, &doc, 1 << 20, &again, &n, NULL), 0);
        assert_int_equal(n, 0);
        for (unsigned i = 0; i < 3; i++) {
                _cleanup_close_ int fd = -EBADF;
                _cleanup_error_ Error e = {};

                /* The first half; a half that is damaged; more than there is. */
                download_cache_keep(f->state, NULL, 0);
                publish_ok(download_cache_open(&o, &doc.sha256, "", &fd, &e), &e);
                if (i == 1)
                        whole.data[100] ^= 1;
                publish_ok(io_write_all(fd, whole.data, doc.size / 2, &e), &e);
                if (i == 2)
                        publish_ok(io_pwrite_all(fd, whole.data, doc.size, 100, &e), &e);
                publish_ok(download_document(&o, &doc, 1 << 20, &again, &n, &e), &e);
                assert_int_equal(again.size, doc.size);
                assert_int_equal(n, i == 0   ? doc.size - doc.size / 2
                                    : i == 1 ? doc.size - doc.size / 2 + doc.size
                                             : doc.size);
        }
}

/* Flips a bit in the middle of each target of that suffix. */
static void damage(const Fixture *f, const char *name, const char *suffix) {
        _cleanup_free_ char *command = xasprintf(
                "set -e; for f in %s/%s/targets/desk/1/*%s; do python3 -c 'import sys; p = sys.argv[1]; "
                "b = bytearray(open(p, \"rb\").read()); b[len(b) // 2] ^= 1; open(p, \"wb\").write(b)' \"$f\"; done",
                f->publisher->folder, name, suffix);

        assert_int_equal(system(command), 0);
}

static void damaged_files_are_refused_and_another_mirror_helps(void **state) {
        static const struct {
                ArtifactKind kind;
                const char *name, *suffix;
        } cases[] = {
                { ARTIFACT_USR, "bad-pack", PUBLISH_PACK_SUFFIX },
                { ARTIFACT_USR, "bad-index", PUBLISH_INDEX_SUFFIX },
                { ARTIFACT_UKI, "bad-uki", ".efi" },
                { ARTIFACT_VERITY_SIG, "bad-sig", ".usr.verity-sig" },
        };
        const Fixture *f = *state;
        _cleanup_(catalogue_freep) Catalogue *c = poll_good(f);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *bad = copy_repository(f, cases[i].name);
                char *only[COPIES + 1] = { bad, bad, bad, bad, bad }, *both[] = { bad, f->good, NULL };
                Sink s = {}, t = {};
                _cleanup_error_ Error e = {};

                damage(f, cases[i].name, cases[i].suffix);
                assert_true(fetch(f, only, &c->offers[0], cases[i].kind, &s, NULL, &e) < 0);
                assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
                assert_int_equal(fetch(f, both, &c->offers[0], cases[i].kind, &t, NULL, NULL), 0);
                free(s.data);
                free(t.data);
        }
}

static int no_room(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr) {
        unsigned *n = userdata;

        (*n)++;
        return error_set(reterr, ENOSPC, REFUSAL_NO_SPACE, "full");
}

static void what_this_machine_cannot_do_is_not_tried_elsewhere(void **state) {
        const Fixture *f = *state;
        _cleanup_(catalogue_freep) Catalogue *c = poll_good(f);
        char *repositories[] = { f->good, f->good, NULL };
        FetchOptions o = options(f, repositories);
        unsigned n = 0;
        FetchSink sink = { .write = no_room, .userdata = &n };
        _cleanup_(pack_freep) Pack *p = NULL;
        uint64_t downloaded = 0;
        _cleanup_error_ Error e = {};

        publish_ok(pack_open(&o, &c->offers[0], &p, &downloaded, &e), &e);
        assert_true(pack_fetch(p, &sink, &downloaded, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NO_SPACE);
        assert_int_equal(n, 1);
}

int main(void) {
#define with_repository(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
        const struct CMUnitTest tests[] = {
                with_repository(offers_are_read_and_stay_readable_offline),
                with_repository(mirrors_are_asked_in_order),
                with_repository(a_stale_mirror_is_passed_over),
                with_repository(what_cannot_be_trusted_is_told),
                with_repository(the_image_arrives_whole),
                with_repository(frames_of_lzma_arrive_as_well),
                with_repository(what_came_before_a_cut_is_not_fetched_again),
                with_repository(damaged_files_are_refused_and_another_mirror_helps),
                with_repository(what_this_machine_cannot_do_is_not_tried_elsewhere),
        };

        return cmocka_run_group_tests_name("updater-fetch", tests, NULL, NULL);
}
