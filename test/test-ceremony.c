/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Changes that are signed on other machines, and what is read of a repository: its state, damage, leftovers. */

#include "repository-fixture.h"

#include <time.h>

#include "repo-status.h"

static void renew_root(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = NULL;

        OK(change_begin(s, NOW, &c, e));
        OK(change_key_threshold(c, "root", 1, e));
        sign_and_commit(c, f->keys);
}

static void take_out(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = NULL;

        OK(change_begin(s, NOW, &c, e));
        json_object_del(json_object_get(change_edit(c, "stable"), "targets"), "laptop/1/file");
        sign_and_commit(c, f->keys);
}

/* ---- ceremonies ---- */

typedef struct Ceremony {
        char *request, *one, *two;
        Storage *storage;
        RepoKeys *keys, *first, *second;
} Ceremony;

static RepoKeys *only_root(const Fixture *f, unsigned number) {
        _cleanup_free_ char *folder = xasprintf("%s/holder-%u", f->folder, number),
                            *from = xasprintf("%s/root-%u.key", f->keys, number), *to = path_join(folder, "root.key"),
                            *text = NULL;
        size_t size;

        OK(io_mkdir_parents(AT_FDCWD, folder, 0700, e));
        OK(io_read_file(AT_FDCWD, from, 4096, &text, &size, e));
        OK(io_write_file(AT_FDCWD, to, text, size, 0600, e));
        return load_keys(folder);
}

/* A change that needs two root keys, which are on two machines. */
static Ceremony begin_ceremony(const Fixture *f) {
        Ceremony y = { .request = path_join(f->folder, "tosign.json"),
                       .one = path_join(f->folder, "one.json"),
                       .two = path_join(f->folder, "two.json") };
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_(repo_keys_freep) RepoKeys *none = load_keys(NULL);

        restart(f);
        OK(io_unlink(AT_FDCWD, y.one, e));
        OK(io_unlink(AT_FDCWD, y.two, e));
        OK(storage_open(f->place, false, &y.storage, e));
        y.keys = load_keys(f->keys);
        y.first = only_root(f, 1);
        y.second = only_root(f, 2);
        OK(change_begin(y.storage, NOW, &c, e));
        (void) change_edit(c, "root");
        OK(change_sign(c, none, e));
        OK(change_export(c, y.request, NULL, e));
        return y;
}

static void ceremony_done(Ceremony *y) {
        free(y->request);
        free(y->one);
        free(y->two);
        repo_keys_free(y->keys);
        repo_keys_free(y->first);
        repo_keys_free(y->second);
        storage_free(y->storage);
}

static void sign_one(const char *from, const RepoKeys *keys, const char *to) {
        _cleanup_free_ char *words = NULL;

        OK(repo_sign_file(from, keys, to, &words, e));
        assert_non_null(strstr(words, "root, version 2"));
}

static int import(const Ceremony *y, char *const *files, int64_t now, Error *reterr) {
        _cleanup_(repo_keys_freep) RepoKeys *none = load_keys(NULL);
        _cleanup_(change_freep) Change *c = NULL;
        int r;

        r = change_import(y->storage, files, now, &c, reterr);
        if (r >= 0)
                r = change_sign(c, none, reterr);
        return r < 0 ? r : change_commit(c, NULL, reterr);
}

static void holders_sign_side_by_side_or_one_after_the_other(void **state) {
        for (int chain = 0; chain < 2; chain++) {
                _cleanup_(ceremony_done) Ceremony y = begin_ceremony(*state);
                char *both[] = { y.one, y.two, NULL }, *last[] = { y.two, NULL }, *first[] = { y.one, NULL };

                sign_one(y.request, y.first, y.one);
                sign_one(chain ? y.one : y.request, y.second, y.two);
                REFUSED(import(&y, first, NOW, e), REFUSAL_KEY);
                OK(import(&y, chain ? last : both, NOW, e));
                OK(import(&y, chain ? last : both, NOW, e)); /* once more: nothing to do */
                assert_sound(*state, "ceremony", 0);
        }
}

/* Where everything but root and targets is at hand, two documents leave and six come into being. */
static void a_repository_begins_by_ceremony(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *online = path_join(f->folder, "online"), *request = path_join(f->folder, "begin.json"),
                            *response = path_join(f->folder, "begun.json"), *words = NULL;
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL, *all = NULL;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(change_freep) Change *c = NULL, *again = NULL, *once_more = NULL;
        char *files[] = { response, NULL };

        restart(f);
        OK(io_remove_tree(AT_FDCWD, f->place, e));
        copy_folder(f->keys, online);
        for (unsigned i = 1; i <= 3; i++) {
                _cleanup_free_ char *path = xasprintf("%s/root-%u.key", online, i);

                OK(io_unlink(AT_FDCWD, path, e));
        }
        keys = load_keys(online);
        all = load_keys(f->keys);
        OK(storage_open(f->place, true, &s, e));
        c = new_repository(s, online);
        OK(change_sign(c, keys, e));
        REFUSED(change_commit(c, NULL, e), REFUSAL_KEY);
        OK(change_export(c, request, NULL, e));
        c = change_free(c);
        assert_int_equal(storage_size(s, "metadata/timestamp.json", &(uint64_t){ 0 }, NULL), 1);
        OK(repo_sign_file(request, all, response, &words, e));
        OK(change_import(s, files, NOW, &again, e));
        OK(change_sign(again, keys, e));
        OK(change_commit(again, NULL, e));
        again = change_free(again);
        assert_sound(f, "begun", 0);
        OK(change_import(s, files, NOW, &once_more, e));
        assert_true(change_is_empty(once_more));
}

static void a_refresh_in_between_does_not_spoil_a_ceremony(void **state) {
        Fixture *f = *state;
        _cleanup_(ceremony_done) Ceremony y = begin_ceremony(f);
        char *both[] = { y.one, y.two, NULL };

        refresh(f, y.storage);
        publish(f, y.storage);
        sign_one(y.request, y.first, y.one);
        sign_one(y.request, y.second, y.two);
        OK(import(&y, both, NOW, e));
        assert_sound(f, "refresh in between", 0);
}

static void what_moved_on_is_stale(void **state) {
        Fixture *f = *state;
        _cleanup_(ceremony_done) Ceremony y = begin_ceremony(f);
        char *both[] = { y.one, y.two, NULL };

        sign_one(y.request, y.first, y.one);
        sign_one(y.request, y.second, y.two);
        renew_root(f, y.storage);
        REFUSED(import(&y, both, NOW, e), REFUSAL_STALE);
}

static void edit_file(const char *path, const char *from, const char *to) {
        _cleanup_free_ char *text = NULL;
        _cleanup_buffer_ Buffer b = {};
        char *at;
        size_t size;

        OK(io_read_file(AT_FDCWD, path, 1 << 20, &text, &size, e));
        at = strstr(text, from);
        assert_non_null(at);
        buffer_append(&b, text, (size_t) (at - text));
        buffer_puts(&b, to);
        buffer_puts(&b, at + strlen(from));
        OK(io_write_file(AT_FDCWD, path, b.data, b.size, 0644, e));
}

static void a_spoiled_document_is_refused(void **state) {
        static const struct {
                const char *from, *to;
                Refusal id;
        } cases[] = {
                { "sealab-repo-tosign-1", "sealab-repo-tosign-2", REFUSAL_BAD_FORMAT },
                { "\"documents\"", "\"papers\"", REFUSAL_BAD_FORMAT },
                { "\"role\": \"root\"", "\"role\": \"../root\"", REFUSAL_BAD_FORMAT },
                { "\"role\": \"root\"", "\"role\": \"timestamp\"", REFUSAL_BAD_FORMAT },
                { "\"version\": 2", "\"version\": 3", REFUSAL_STALE },
                { "\"sig\": \"", "\"sig\": \"00", REFUSAL_BAD_SIGNATURE },
                { "\"threshold\": 2", "\"threshold\": 0", REFUSAL_BAD_FORMAT },
                { "\"keyid\": \"", "\"keyid\": \"ff", REFUSAL_BAD_SIGNATURE },
                { "\"repository\": \"", "\"repository\": \"00", REFUSAL_MIXED },
                { "\"expires\": \"2", "\"expires\": \"3", REFUSAL_BAD_SIGNATURE },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(ceremony_done) Ceremony y = begin_ceremony(*state);
                _cleanup_error_ Error e = {};
                char *files[] = { y.two, NULL };

                sign_one(y.request, y.first, y.one);
                sign_one(y.one, y.second, y.two);
                edit_file(y.two, cases[i].from, cases[i].to);
                if (import(&y, files, NOW, &e) >= 0)
                        fail_msg("%s was accepted", cases[i].to);
                if (e.id != cases[i].id)
                        fail_msg("%s: %s (%s)", cases[i].to, refusal_name(e.id), e.message);
        }
}

static void a_ceremony_that_took_too_long_is_refused(void **state) {
        _cleanup_(ceremony_done) Ceremony y = begin_ceremony(*state);
        char *files[] = { y.two, NULL };

        sign_one(y.request, y.first, y.one);
        sign_one(y.one, y.second, y.two);
        REFUSED(import(&y, files, NOW + INT64_C(366) * 86400, e), REFUSAL_EXPIRED);
}

static void keys_without_a_say_sign_nothing(void **state) {
        Fixture *f = *state;
        _cleanup_(ceremony_done) Ceremony y = begin_ceremony(f);
        _cleanup_free_ char *folder = path_join(f->folder, "strangers"), *words = NULL;
        _cleanup_(repo_keys_freep) RepoKeys *strangers = NULL;

        OK(repo_keys_generate(folder, "ed25519", 1, e));
        strangers = load_keys(folder);
        REFUSED(repo_sign_file(y.request, strangers, y.one, &words, e), REFUSAL_KEY);
        assert_false(io_exists(AT_FDCWD, y.one));
}

/* A request that lies about what was there before, so that a target seems to be an old one. */
static void forge_previous(const char *path, const char *target, bool with_signatures) {
        _cleanup_json_ json_t *o = NULL;
        json_t *document, *previous;
        _cleanup_free_ char *text = NULL;

        OK(json_read_file(AT_FDCWD, path, 1 << 20, &o, e));
        document = json_array_get(json_object_get(o, "documents"), 0);
        previous = json_object_get(document, "previous");
        json_object_set(
                json_object_get(json_object_get(previous, "signed"), "targets"), target,
                json_object_get(
                        json_object_get(json_object_get(json_object_get(document, "metadata"), "signed"), "targets"),
                        target));
        if (!with_signatures)
                json_object_set_new(previous, "signatures", json_array());
        text = json_format(o, false);
        OK(io_write_file(AT_FDCWD, path, text, strlen(text), 0644, e));
}

static void what_a_holder_sees_does_not_depend_on_what_others_say_was_there(void **state) {
        for (unsigned i = 0; i < 4; i++) {
                Fixture *f = *state;
                _cleanup_(repo_keys_freep) RepoKeys *none = load_keys(NULL);
                _cleanup_(ceremony_done) Ceremony y = begin_ceremony(f);
                _cleanup_free_ char *words = NULL;
                _cleanup_(change_freep) Change *c = NULL;

                OK(change_begin(y.storage, NOW, &c, e));
                add_target(c, "stable", "laptop/4/file", CONTENT " 4");
                OK(change_sign(c, none, e));
                OK(change_export(c, y.request, NULL, e));
                if (i == 1 || i == 2)
                        forge_previous(y.request, "laptop/4/file", i == 1);
                if (i == 3)
                        edit_file(y.request, "\"previous\"", "\"previous\": {}, \"other\"");
                if (i == 3) {
                        REFUSED(repo_sign_file(y.request, y.keys, y.one, &words, e), REFUSAL_BAD_FORMAT);
                        continue;
                }
                OK(repo_sign_file(y.request, y.keys, y.one, &words, e));
                assert_non_null(strstr(words, "+ laptop/4/file"));
                /* The other target is an old one, if that can be known. */
                assert_int_equal(strstr(words, "1 targets as before") != NULL, i == 0);
                assert_int_equal(strstr(words, "+ laptop/1/file") != NULL, i > 0);
                assert_int_equal(strstr(words, "no key that is here has signed the version before") != NULL, i > 0);
        }
}

static void files_that_went_before_the_import_are_missed(void **state) {
        Fixture *f = *state;
        _cleanup_(repo_keys_freep) RepoKeys *none = load_keys(NULL);
        _cleanup_(ceremony_done) Ceremony y = begin_ceremony(f);
        _cleanup_(change_freep) Change *c = NULL, *again = NULL;
        _cleanup_free_ char *words = NULL;
        char *files[] = { y.one, NULL };

        OK(change_begin(y.storage, NOW, &c, e));
        add_target(c, "stable", "laptop/4/file", CONTENT " 4");
        OK(change_sign(c, none, e));
        OK(change_export(c, y.request, NULL, e));
        c = change_free(c);
        tidy_up(f, y.storage);
        OK(repo_sign_file(y.request, y.keys, y.one, &words, e));
        OK(change_import(y.storage, files, NOW, &again, e));
        OK(change_sign(again, y.keys, e));
        REFUSED(change_commit(again, NULL, e), REFUSAL_NOT_FOUND);
        assert_sound(f, "missing files", 0);
}

/* ---- looking ---- */

static void damage_is_found(void **state) {
        Fixture *f = *state;
        StorageEntry *entries = NULL;
        size_t n = 0;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(repository_freep) Repository *r = NULL;
        _cleanup_json_ json_t *found = NULL;

        restart(f);
        OK(storage_open(f->place, false, &s, e));
        OK(repository_open(s, NULL, 0, &r, e));
        OK(storage_list(s, "targets/", &entries, &n, e));
        assert_int_equal(n, 1);
        OK(storage_write(s, entries[0].name, CONTENT " x", strlen(CONTENT " x"), STORAGE_IMMUTABLE, e));
        assert_int_equal(repo_verify(r, f->place, NOW, NULL, &found, NULL), 1);
        assert_int_equal(json_array_size(json_object_get(found, "damaged")), 1);
        json_decref(found);
        OK(storage_remove(s, entries[0].name, e));
        assert_int_equal(repo_verify(r, f->place, NOW, NULL, &found, NULL), 1);
        storage_entries_free(entries, n);
}

static void every_document_is_checked_when_it_is_read(void **state) {
        static const struct {
                const char *name, *from, *to;
                Refusal id;
        } cases[] = {
                { "1.root.json", "\"threshold\":2", "\"threshold\":1", REFUSAL_BAD_SIGNATURE },
                { "timestamp.json", "\"version\":1}}", "\"version\":2}}", REFUSAL_BAD_SIGNATURE },
                { "1.snapshot.json", "{", " {", REFUSAL_HASH_MISMATCH },
                { "1.targets.json", "stable", "stablf", REFUSAL_HASH_MISMATCH },
                { "1.stable.json", "laptop", "laptoq", REFUSAL_HASH_MISMATCH },
        };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *path = xasprintf("%s/metadata/%s", f->place, cases[i].name);
                _cleanup_(storage_freep) Storage *s = NULL;
                _cleanup_(repository_freep) Repository *r = NULL;
                _cleanup_error_ Error refused = {};

                restart(f);
                edit_file(path, cases[i].from, cases[i].to);
                assert_int_equal(storage_open(f->place, false, &s, NULL), 0);
                if (repository_open(s, NULL, 0, &r, &refused) >= 0)
                        fail_msg("%s with %s was accepted", cases[i].name, cases[i].to);
                if (refused.id != cases[i].id && refused.id != REFUSAL_BAD_SIGNATURE)
                        fail_msg("%s: %s (%s)", cases[i].name, refusal_name(refused.id), refused.message);
                OK(io_unlink(AT_FDCWD, path, e));
                REFUSED(repository_open(s, NULL, 0, &r, e), REFUSAL_NOT_FOUND);
        }
}

static void status_says_what_is_due(void **state) {
        static const struct {
                int64_t days;
                size_t due;
        } cases[] = { { 0, 0 }, { 4, 0 }, { 6, 1 }, { 8, 1 }, { 160, 2 }, { 300, 4 } };
        Fixture *f = *state;
        _cleanup_(repo_keys_freep) RepoKeys *keys = load_keys(f->keys);
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(repository_freep) Repository *r = NULL;

        restart(f);
        OK(storage_open(f->place, false, &s, e));
        /* Opened with a new timestamp: everything began now. */
        OK(repository_open(s, NULL, 0, &r, e));
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *status = NULL;
                _cleanup_free_ char *text = NULL;

                OK(repo_status(r, keys, NOW + cases[i].days * 86400, &status, e));
                text = repo_status_format(status);
                if (json_array_size(json_object_get(status, "next")) != cases[i].due)
                        fail_msg("after %" PRIi64 " days: %s", cases[i].days, text);
                assert_non_null(strstr(text, "stable"));
        }
}

static void gc_leaves_what_clients_may_be_reading(void **state) {
        Fixture *f = *state;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(repository_freep) Repository *r = NULL;
        _cleanup_json_ json_t *young = NULL, *old = NULL, *at_once = NULL;
        int64_t now = (int64_t) time(NULL);

        restart(f);
        OK(storage_open(f->place, false, &s, e));
        take_out(f, s);
        for (int i = 0; i < 4; i++)
                refresh(f, s);
        OK(repository_open(s, NULL, 0, &r, e));
        OK(repo_gc(r, now, true, &young, e));
        assert_int_equal(json_array_size(json_object_get(young, "removed")), 0);
        /* Snapshots 1 to 3 of 6 and the file that was taken out; the channel's version 1 is one of the last. */
        OK(repo_gc(r, now + 2 * REPO_GRACE_SECONDS, true, &old, e));
        assert_int_equal(json_array_size(json_object_get(old, "removed")), 4);
        OK(repo_gc(r, INT64_MAX, false, &at_once, e));
        assert_int_equal(json_array_size(json_object_get(at_once, "removed")), 7);
        assert_sound(f, "gc", 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(holders_sign_side_by_side_or_one_after_the_other),
                cmocka_unit_test(a_repository_begins_by_ceremony),
                cmocka_unit_test(a_refresh_in_between_does_not_spoil_a_ceremony),
                cmocka_unit_test(what_moved_on_is_stale),
                cmocka_unit_test(a_spoiled_document_is_refused),
                cmocka_unit_test(a_ceremony_that_took_too_long_is_refused),
                cmocka_unit_test(keys_without_a_say_sign_nothing),
                cmocka_unit_test(what_a_holder_sees_does_not_depend_on_what_others_say_was_there),
                cmocka_unit_test(files_that_went_before_the_import_are_missed),
                cmocka_unit_test(damage_is_found),
                cmocka_unit_test(every_document_is_checked_when_it_is_read),
                cmocka_unit_test(status_says_what_is_due),
                cmocka_unit_test(gc_leaves_what_clients_may_be_reading),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
