/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "folder-fixture.h"
#include "state.h"

static Sha256 hash_of(const char *text) {
        Sha256 h;

        sha256_buffer(text, strlen(text), &h);
        return h;
}

static UpdaterState *full_state(void) {
        UpdaterState *s = xnew(UpdaterState, 1);
        Sha256 bad = hash_of("bad"), worse = hash_of("worse");
        Trial t = { .version = (char *) "3",
                    .from_version = (char *) "2",
                    .root_hash = hash_of("3"),
                    .from_root_hash = hash_of("2"),
                    .epoch = 5,
                    .when = 1000 };

        s->epoch = 4;
        s->pinned = true;
        s->pin = xstrdup("2");
        s->reverted = true;
        state_set_trial(s, &t);
        state_add_bad(s, "2.5", &bad, "did not come up: \"x\" \\ \xc3\xa4", 900);
        state_add_bad(s, "2.6", &worse, "", 901);
        s->last_check = 1100;
        s->last_success = 1090;
        s->last_result = xstrdup("download");
        s->last_message = xstrdup("cannot reach it");
        s->available = xstrdup("4");
        s->available_bytes = UINT64_C(1) << 40;
        s->available_at_most = true;
        s->mirror = 2;
        s->timestamp_etag = xstrdup("\"abc\"");
        return s;
}

static char *as_text(const UpdaterState *s) {
        _cleanup_json_ json_t *o = state_to_json(s);

        return json_format(o, true);
}

static char *state_path(void **state) {
        return path_join(*state, "state.json");
}

static bool aside_exists(void **state, const char *name) {
        _cleanup_free_ char *file = xasprintf("%s.damaged", name), *path = path_join(*state, file);

        return io_exists(AT_FDCWD, path);
}

/* ---- round trips ---- */

static void what_is_saved_is_loaded(void **state) {
        _cleanup_(state_freep) UpdaterState *s = full_state(), *again = NULL;
        _cleanup_free_ char *before = as_text(s), *after = NULL;
        bool damaged = true;

        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_int_equal(state_load(*state, &again, &damaged, NULL), 0);
        assert_false(damaged);
        after = as_text(again);
        assert_string_equal(before, after);
        assert_int_equal(again->trial->epoch, 5);
        assert_true(sha256_equal(&again->trial->from_root_hash, &s->trial->from_root_hash));
        assert_int_equal(again->n_bad, 2);
        assert_string_equal(again->bad[0].reason, s->bad[0].reason);
}

static void nothing_saved_is_a_fresh_machine(void **state) {
        _cleanup_(state_freep) UpdaterState *s = NULL;
        bool damaged = true;

        assert_int_equal(state_load(*state, &s, &damaged, NULL), 0);
        assert_false(damaged);
        assert_int_equal(s->epoch, 0);
        assert_false(s->pinned);
        assert_null(s->trial);
        assert_int_equal(s->n_bad, 0);
}

static void an_empty_state_survives(void **state) {
        _cleanup_(state_freep) UpdaterState *s = xnew(UpdaterState, 1), *again = NULL;
        bool damaged = true;

        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_int_equal(state_load(*state, &again, &damaged, NULL), 0);
        assert_false(damaged);
}

static void a_trial_leaves_its_mark(void **state) {
        _cleanup_(state_freep) UpdaterState *s = full_state();
        _cleanup_free_ char *mark = path_join(*state, "trial");

        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_true(io_exists(AT_FDCWD, mark));
        state_set_trial(s, NULL);
        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_false(io_exists(AT_FDCWD, mark));
}

/* ---- damage ---- */

static void save_text(void **state, const char *name, const void *text, size_t size) {
        _cleanup_free_ char *path = path_join(*state, name);

        assert_int_equal(io_write_file(AT_FDCWD, path, text, size, 0600, NULL), 0);
}

static void each_damage_is_set_aside(void **state) {
        static const char *const texts[] = {
                "",
                "\n",
                "null",
                "[]",
                "{}",
                "{\"format\": 2}",
                "{\"format\": \"1\"}",
                "{\"format\": 1, \"unknown\": 1}",
                "{\"format\": 1, \"epoch\": -1}",
                "{\"format\": 1, \"epoch\": 1.5}",
                "{\"format\": 1, \"epoch\": 99999999999999999999}",
                "{\"format\": 1, \"pinned\": \"yes\"}",
                "{\"format\": 1, \"pin\": 2}",
                "{\"format\": 1, \"trial\": {}}",
                "{\"format\": 1, \"trial\": []}",
                "{\"format\": 1, \"bad\": {}}",
                "{\"format\": 1, \"bad\": [1]}",
                "{\"format\": 1, \"bad\": [{\"version\": \"1\", \"rootHash\": \"00\", \"reason\": \"\"}]}",
                "{\"format\": 1, \"mirror\": 5000}",
                "{\"format\": 1} x",
                "{\"format\": 1, \"format\": 1}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(state_freep) UpdaterState *s = NULL, *again = NULL;
                _cleanup_free_ char *path = state_path(state), *aside = xasprintf("%s.damaged", path), *kept = NULL;
                bool damaged = false;
                size_t size;

                save_text(state, "state.json", texts[i], strlen(texts[i]));
                assert_int_equal(state_load(*state, &s, &damaged, NULL), 0);
                if (!damaged)
                        print_error("taken: %s\n", texts[i]);
                assert_true(damaged);
                assert_int_equal(s->epoch, 0);
                assert_null(s->pin);
                assert_false(io_exists(AT_FDCWD, path));
                assert_int_equal(io_read_file(AT_FDCWD, aside, 4096, &kept, &size, NULL), 0);
                assert_string_equal(kept, texts[i]);
                /* And that is all: it works again from here. */
                s->epoch = 7;
                assert_int_equal(state_save(*state, s, NULL), 0);
                assert_int_equal(state_load(*state, &again, &damaged, NULL), 0);
                assert_false(damaged);
                assert_int_equal(again->epoch, 7);
        }
}

static void every_truncation_is_set_aside(void **state) {
        _cleanup_(state_freep) UpdaterState *s = full_state();
        _cleanup_free_ char *path = state_path(state), *whole = NULL;
        size_t size;

        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &whole, &size, NULL), 0);
        assert_true(size > 500);
        for (size_t n = 0; n < size; n++) {
                _cleanup_(state_freep) UpdaterState *again = NULL;
                bool damaged = false;

                /* The last byte is a line's end. */
                if (n == size - 1 && whole[n] == '\n')
                        continue;
                save_text(state, "state.json", whole, n);
                assert_int_equal(state_load(*state, &again, &damaged, NULL), 0);
                assert_true(damaged);
                assert_null(again->trial);
        }
        assert_true(aside_exists(state, "state.json"));
}

static void flipped_bits_never_crash(void **state) {
        _cleanup_(state_freep) UpdaterState *s = full_state();
        _cleanup_free_ char *path = state_path(state), *whole = NULL;
        size_t size;

        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &whole, &size, NULL), 0);
        for (size_t n = 0; n < size; n++) {
                _cleanup_(state_freep) UpdaterState *again = NULL;

                whole[n] ^= (char) (1 << n % 8);
                save_text(state, "state.json", whole, size);
                assert_int_equal(state_load(*state, &again, NULL, NULL), 0);
                whole[n] ^= (char) (1 << n % 8);
        }
}

static void a_file_too_large_is_set_aside(void **state) {
        _cleanup_free_ char *text = xmalloc(1 << 20);
        _cleanup_(state_freep) UpdaterState *s = NULL;
        bool damaged = false;

        memset(text, ' ', 1 << 20);
        save_text(state, "state.json", text, 1 << 20);
        assert_int_equal(state_load(*state, &s, &damaged, NULL), 0);
        assert_true(damaged);
}

static void what_cannot_be_read_is_an_error(void **state) {
        _cleanup_free_ char *path = state_path(state);
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(io_mkdir_parents(AT_FDCWD, path, 0755, NULL), 0);
        assert_true(state_load(*state, &s, NULL, &e) < 0);
        assert_null(s);
        assert_int_equal(e.id, REFUSAL_SYSTEM);
}

/* ---- limits ---- */

static void bad_versions_are_told_by_content_and_have_a_limit(void **state) {
        _cleanup_(state_freep) UpdaterState *s = xnew(UpdaterState, 1), *again = NULL;
        _cleanup_free_ char *long_reason = xmalloc(100001);
        bool damaged = true;
        Sha256 first = hash_of("0"), last;

        memset(long_reason, '\\', 100000);
        long_reason[100000] = 0;
        for (unsigned i = 0; i < STATE_BAD_VERSIONS_MAX + 6; i++) {
                _cleanup_free_ char *version = xasprintf("%u", i);

                last = hash_of(version);
                state_add_bad(s, version, &last, long_reason, i);
                state_add_bad(s, version, &last, "again", i);
        }
        assert_int_equal(s->n_bad, STATE_BAD_VERSIONS_MAX);
        assert_false(state_is_bad(s, &first));
        assert_true(state_is_bad(s, &last));
        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_int_equal(state_load(*state, &again, &damaged, NULL), 0);
        assert_false(damaged);
        assert_int_equal(again->n_bad, STATE_BAD_VERSIONS_MAX);
        assert_true(strlen(again->bad[0].reason) <= 1024);
}

/* A text is not lost because its end falls into a character of several bytes. */
static void long_texts_are_cut_between_characters(void **state) {
        for (unsigned shift = 0; shift < 4; shift++) {
                _cleanup_(state_freep) UpdaterState *s = xnew(UpdaterState, 1), *again = NULL;
                _cleanup_buffer_ Buffer b = {};
                Sha256 h = hash_of("x");

                for (unsigned i = 0; i < shift; i++)
                        buffer_puts(&b, "x");
                for (unsigned i = 0; i < 500; i++)
                        buffer_puts(&b, "\xe2\x82\xac");
                state_add_bad(s, "1", &h, b.data, 1);
                assert_int_equal(state_save(*state, s, NULL), 0);
                assert_int_equal(state_load(*state, &again, NULL, NULL), 0);
                assert_true(strlen(again->bad[0].reason) > 1000);
        }
}

static void messages_that_are_no_text_do_no_harm(void **state) {
        _cleanup_(state_freep) UpdaterState *s = xnew(UpdaterState, 1), *again = NULL;
        _cleanup_free_ char *endless = xmalloc(400001);
        bool damaged = true;

        s->last_message = xstrdup("\xff\xfe");
        assert_int_equal(state_save(*state, s, NULL), 0);
        assert_int_equal(state_load(*state, &again, &damaged, NULL), 0);
        assert_false(damaged);
        /* Nor does one that is longer than the file may be. */
        memset(endless, 'x', 400000);
        endless[400000] = 0;
        free(s->last_message);
        s->last_message = TAKE_PTR(endless);
        s->epoch = 3;
        assert_int_equal(state_save(*state, s, NULL), 0);
        state_free(TAKE_PTR(again));
        assert_int_equal(state_load(*state, &again, &damaged, NULL), 0);
        assert_false(damaged);
        assert_int_equal(again->epoch, 3);
}

/* ---- history ---- */

static void history_grows_and_is_capped(void **state) {
        _cleanup_json_ json_t *list = NULL;

        for (unsigned i = 0; i < STATE_HISTORY_MAX + 10; i++) {
                _cleanup_free_ char *to = xasprintf("%u", i);
                HistoryEntry e = { .when = i,
                                   .action = (char *) "update",
                                   .from = (char *) "0",
                                   .to = to,
                                   .result = (char *) "done",
                                   .bytes = i };

                assert_int_equal(history_append(*state, &e, NULL), 0);
        }
        assert_int_equal(history_load(*state, &list, NULL), 0);
        assert_int_equal(json_array_size(list), STATE_HISTORY_MAX);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "when")), 10);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(list, STATE_HISTORY_MAX - 1), "bytes")),
                         209);
}

static void history_of_the_longest_messages_is_still_read(void **state) {
        _cleanup_json_ json_t *list = NULL;
        _cleanup_free_ char *message = xmalloc(5001);

        memset(message, '"', 5000);
        message[5000] = 0;
        for (unsigned i = 0; i < STATE_HISTORY_MAX + 1; i++) {
                HistoryEntry e = {
                        .when = i, .action = (char *) "update", .result = (char *) "download", .message = message
                };

                assert_int_equal(history_append(*state, &e, NULL), 0);
        }
        assert_int_equal(history_load(*state, &list, NULL), 0);
        assert_int_equal(json_array_size(list), STATE_HISTORY_MAX);
        assert_false(aside_exists(state, "history.json"));
}

static void a_damaged_history_is_set_aside(void **state) {
        static const char *const texts[] = { "", "{}", "[", "[1,", "7" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_json_ json_t *list = NULL;
                HistoryEntry e = { .when = 5, .action = (char *) "boot", .result = (char *) "blessed" };

                save_text(state, "history.json", texts[i], strlen(texts[i]));
                assert_int_equal(history_append(*state, &e, NULL), 0);
                assert_int_equal(history_load(*state, &list, NULL), 0);
                assert_int_equal(json_array_size(list), 1);
                assert_true(aside_exists(state, "history.json"));
        }
}

int main(void) {
#define in_folder(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
        const struct CMUnitTest tests[] = {
                in_folder(what_is_saved_is_loaded),
                in_folder(nothing_saved_is_a_fresh_machine),
                in_folder(an_empty_state_survives),
                in_folder(a_trial_leaves_its_mark),
                in_folder(each_damage_is_set_aside),
                in_folder(every_truncation_is_set_aside),
                in_folder(flipped_bits_never_crash),
                in_folder(a_file_too_large_is_set_aside),
                in_folder(what_cannot_be_read_is_an_error),
                in_folder(bad_versions_are_told_by_content_and_have_a_limit),
                in_folder(long_texts_are_cut_between_characters),
                in_folder(messages_that_are_no_text_do_no_harm),
                in_folder(history_grows_and_is_capped),
                in_folder(history_of_the_longest_messages_is_still_read),
                in_folder(a_damaged_history_is_set_aside),
        };

        return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
