/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hash.h"
#include "io.h"
#include "rollout.h"

#define START INT64_C(1795255200) /* 2026-11-21 10:00 UTC */
#define HOUR INT64_C(3600)
#define DAY (24 * HOUR)
#define N_MACHINES 10000

static const char *machine(size_t i) {
        static char ids[N_MACHINES][33];

        if (!ids[i][0]) {
                _cleanup_free_ char *text = xasprintf("machine %zu", i), *hex = NULL;
                Sha256 digest;

                sha256_buffer(text, strlen(text), &digest);
                hex = sha256_hex(&digest);
                memcpy(ids[i], hex, 32);
        }
        return ids[i];
}

static Rollout rollout(uint64_t initial, uint64_t per_day, unsigned salt) {
        Rollout r = { .start = START, .initial = initial, .per_day = per_day };
        Sha256 digest;

        sha256_buffer(&salt, sizeof salt, &digest);
        memcpy(r.salt, digest.bytes, sizeof r.salt);
        return r;
}

static size_t count(const Rollout *r, int64_t now) {
        size_t n = 0;

        for (size_t i = 0; i < N_MACHINES; i++)
                n += rollout_includes(r, machine(i), now);
        return n;
}

/* ---- the queue ---- */

static void places_are_those_of_the_specification(void **state) {
        static const struct {
                const char *machine_id, *salt;
                uint64_t place;
                int64_t turn; /* with 1%+10%/day */
        } known[] = {
                /* The first two stand in sealab-repository(5). */
                { "0123456789abcdef0123456789abcdef", "00112233445566778899aabbccddeeff", 1102, START + 86660 },
                { "b08dfa6083e7567a1921a715000001fb", "5f1c2d3e4a5b6c7d8e9fa0b1c2d3e4f5", 7042, START + 599876 },
                { "b08dfa6083e7567a1921a715000001fb", "00112233445566778899aabbccddeeff", 8264 },
                { "ffffffffffffffffffffffffffffffff", "ffffffffffffffffffffffffffffffff", 3473 },
                { "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "ffffffffffffffffffffffffffffffff", 3473 },
        };
        const char *source = getenv("SEALAB_TEST_SOURCE");
        _cleanup_free_ char *path = xasprintf("%s/docs/sealab-repository.5", source ?: "."), *page = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(io_read_file(AT_FDCWD, path, (size_t) 1 << 20, &page, NULL, &e), 0);
        for (size_t i = 0; i < ELEMENTSOF(known); i++) {
                Rollout r = {};

                assert_true(hex_decode(known[i].salt, r.salt, sizeof r.salt));
                assert_int_equal(rollout_place(&r, known[i].machine_id), known[i].place);
                if (i < 2) {
                        _cleanup_free_ char *line = xasprintf("\n%s  %s  %" PRIu64 "\n", known[i].machine_id,
                                                              known[i].salt, known[i].place);

                        assert_non_null(strstr(page, line));
                        r = (Rollout){ .start = START, .initial = 100, .per_day = 1000 };
                        hex_decode(known[i].salt, r.salt, sizeof r.salt);
                        assert_int_equal(rollout_turn(&r, known[i].machine_id), known[i].turn);
                }
        }
}

static void share_grows_continuously_from_the_start(void **state) {
        static const struct {
                int64_t start, now;
                uint64_t initial, per_day, share;
        } cases[] = {
                { START, START - 1, 10000, 0, 0 },
                { START, START, 10000, 0, 10000 },
                { START, START - 1, 100, 1000, 0 },
                { START, START, 100, 1000, 100 },
                { START, START + 86, 100, 1000, 100 },
                { START, START + 87, 100, 1000, 101 },
                { START, START + DAY / 2, 100, 1000, 600 },
                { START, START + DAY, 100, 1000, 1100 },
                { START, START + 9 * DAY, 100, 1000, 9100 },
                { START, START + 10 * DAY, 100, 1000, 10000 },
                { START, START + 1000 * DAY, 100, 0, 100 },
                { START, START + 9999 * DAY, 0, 1, 9999 },
                { START, START + 10000 * DAY, 0, 1, 10000 },
                { START, INT64_MAX, 0, 1, 10000 },
                { START, INT64_MAX, 0, 0, 0 },
                { START, START + 1, 0, UINT64_MAX, 0 },
                { START, START + DAY, 0, UINT64_MAX, 10000 },
                { START, START, UINT64_MAX, 0, 10000 },
                { 0, 0, 10000, 0, 10000 },
                { 0, START, 10000, 0, 10000 },
                { 0, START, 500, 0, 500 },
                { INT64_MAX, INT64_MAX, 5, 10000, 5 },
                { INT64_MIN, INT64_MAX, 5, 1, 10000 },
                { INT64_MAX, INT64_MIN, 5, 1, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Rollout r = { .start = cases[i].start, .initial = cases[i].initial, .per_day = cases[i].per_day };

                assert_int_equal(rollout_share(&r, cases[i].now), cases[i].share);
        }
}

static void ten_thousand_machines_divide_as_the_share_says(void **state) {
        /* Four standard deviations of the binomial distribution. */
        static const struct {
                uint64_t share;
                size_t low, high;
        } cases[] = {
                { 0, 0, 0 },
                { 1, 0, 5 },
                { 100, 60, 140 },
                { 1000, 880, 1120 },
                { 5000, 4800, 5200 },
                { 9900, 9860, 9940 },
                { 9999, 9995, N_MACHINES },
                { 10000, N_MACHINES, N_MACHINES },
        };

        for (unsigned salt = 0; salt < 8; salt++)
                for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                        Rollout r = rollout(cases[i].share, 0, salt);

                        assert_in_range(count(&r, START), cases[i].low, cases[i].high);
                        assert_int_equal(count(&r, START - 1), 0);
                }
}

static void every_place_is_as_likely_as_any_other(void **state) {
        size_t buckets[100] = {};
        double chi = 0;

        for (unsigned salt = 0; salt < 10; salt++) {
                Rollout r = rollout(0, 0, salt);

                for (size_t i = 0; i < N_MACHINES; i++) {
                        uint64_t place = rollout_place(&r, machine(i));

                        assert_true(place < ROLLOUT_WHOLE);
                        buckets[place / 100]++;
                }
        }
        for (size_t i = 0; i < 100; i++)
                chi += ((double) buckets[i] - 1000) * ((double) buckets[i] - 1000) / 1000;
        /* 99 degrees of freedom: both ends have a probability below one in a thousand. */
        assert_true(chi > 60 && chi < 149);
}

static void who_is_in_stays_in(void **state) {
        Rollout r = rollout(100, 1000, 3);
        size_t before = 0;

        for (size_t i = 0; i < N_MACHINES; i++) {
                bool in = false;

                for (int64_t now = START - HOUR; now < START + 11 * DAY; now += 8 * HOUR) {
                        bool is = rollout_includes(&r, machine(i), now);

                        assert_true(is || !in);
                        in = is;
                }
                assert_true(in);
        }
        for (int day = 0; day <= 10; day++) {
                size_t n = count(&r, START + day * DAY), expected = MIN((size_t) 100 + (size_t) day * 1000, N_MACHINES);

                assert_true(n >= before);
                assert_in_range(n, expected < 200 ? 0 : expected - 200, MIN(expected + 200, N_MACHINES));
                before = n;
        }
        assert_int_equal(before, N_MACHINES);
}

static void a_machine_is_not_always_among_the_first(void **state) {
        for (unsigned salt = 0; salt < 20; salt += 2) {
                Rollout a = rollout(1000, 0, salt), b = rollout(1000, 0, salt + 1);
                double xy = 0, xx = 0, yy = 0;
                size_t both = 0;

                for (size_t i = 0; i < N_MACHINES; i++) {
                        double x = (double) rollout_place(&a, machine(i)) - 4999.5,
                               y = (double) rollout_place(&b, machine(i)) - 4999.5;

                        xy += x * y;
                        xx += x * x;
                        yy += y * y;
                        both += rollout_includes(&a, machine(i), START) && rollout_includes(&b, machine(i), START);
                }
                assert_true(xy * xy < 0.04 * 0.04 * xx * yy); /* Pearson's coefficient */
                assert_in_range(both, 60, 140);
        }
}

static void turn_is_the_first_second_that_includes(void **state) {
        static const uint64_t rates[][2] = { { 0, 1 },    { 0, 7 },       { 100, 1000 }, { 1, 3333 },
                                             { 9999, 1 }, { 5000, 9999 }, { 0, 10000 },  { 10000, 0 } };

        for (size_t k = 0; k < ELEMENTSOF(rates); k++) {
                Rollout r = rollout(rates[k][0], rates[k][1], (unsigned) k);

                for (size_t i = 0; i < N_MACHINES; i += 7) {
                        int64_t turn = rollout_turn(&r, machine(i));

                        assert_true(turn >= START && turn < INT64_MAX);
                        assert_true(rollout_includes(&r, machine(i), turn));
                        assert_false(rollout_includes(&r, machine(i), turn - 1));
                        assert_true(rollout_includes(&r, machine(i), INT64_MAX));
                }
        }
}

static void a_share_that_does_not_grow_never_comes_to_the_others(void **state) {
        Rollout held = rollout(2500, 0, 1), late = rollout(0, 1, 1), now = ROLLOUT_EVERYBODY;
        size_t never = 0;

        late.start = INT64_MAX - 10;
        for (size_t i = 0; i < N_MACHINES; i++) {
                int64_t turn = rollout_turn(&held, machine(i));

                assert_int_equal(turn, rollout_includes(&held, machine(i), INT64_MAX) ? START : INT64_MAX);
                never += turn == INT64_MAX;
                assert_int_equal(rollout_turn(&late, machine(i)), INT64_MAX);
                assert_int_equal(rollout_turn(&now, machine(i)), 0);
                assert_true(rollout_includes(&now, machine(i), 0));
        }
        assert_int_equal(never, N_MACHINES - count(&held, START));
}

/* ---- text ---- */

static void texts_mean_what_they_say_and_come_back(void **state) {
        static const struct {
                const char *text;
                uint64_t initial, per_day;
                const char *again; /* NULL: the same */
        } good[] = {
                { "100%", 10000, 0, NULL },
                { "10%", 1000, 0, NULL },
                { "0%", 0, 0, NULL },
                { "0.5%", 50, 0, NULL },
                { "0.05%", 5, 0, NULL },
                { "12.25%", 1225, 0, NULL },
                { "99.99%", 9999, 0, NULL },
                { "1.50%", 150, 0, "1.5%" },
                { "007%", 700, 0, "7%" },
                { "100.00%", 10000, 0, "100%" },
                { "10%/day", 0, 1000, NULL },
                { "0.01%/day", 0, 1, NULL },
                { "100%/day", 0, 10000, NULL },
                { "1%+10%/day", 100, 1000, NULL },
                { "0%+10%/day", 0, 1000, "10%/day" },
                { "0.25%+12.5%/day", 25, 1250, NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                _cleanup_free_ char *plain = NULL, *dated = NULL, *expected = NULL;
                const char *again = good[i].again ?: good[i].text;
                Rollout r;

                assert_int_equal(rollout_parse(good[i].text, &r, NULL), 0);
                assert_int_equal(r.initial, good[i].initial);
                assert_int_equal(r.per_day, good[i].per_day);
                assert_int_equal(r.start, 0);
                plain = rollout_format(&r);
                assert_string_equal(plain, again);
                r.start = START + 59;
                dated = rollout_format(&r);
                expected = xasprintf("%s since 2026-11-21 10:00 UTC", again);
                assert_string_equal(dated, expected);
        }
}

static void other_texts_are_refused(void **state) {
        static const char *const bad[] = {
                "",
                "%",
                "10",
                "10 %",
                " 10%",
                "10% ",
                "-1%",
                "+1%",
                "101%",
                "100.01%",
                "1.%",
                ".5%",
                "1.005%",
                "1,5%",
                "1e1%",
                "0x1%",
                "10%day",
                "10%/",
                "10%/days",
                "10%/hour",
                "10%/Day",
                "0%/day",
                "10%+",
                "10%+5%",
                "10%+0%/day",
                "10%/day+5%",
                "1%+2%+3%/day",
                "1%+2%/day ",
                "1% +2%/day",
                "everybody",
                "100%%",
                "1%\n",
                "99999999999999999999999999%",
                "18446744073709551617%",
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_error_ Error e = {};
                Rollout r = { .initial = 77 };

                assert_int_equal(rollout_parse(bad[i], &r, &e), -EINVAL);
                assert_int_equal(e.id, REFUSAL_USAGE);
                assert_non_null(e.hint);
                assert_int_equal(r.initial, 77);
        }
}

/* ---- JSON ---- */

#define SALT "\"salt\":\"00112233445566778899aabbccddeeff\""

static void json_comes_back_the_same(void **state) {
        static const char *const texts[] = {
                "{\"initial\":10000}",
                "{\"initial\":10000,\"start\":\"2026-11-21T10:00:00Z\"}",
                "{\"initial\":0," SALT "}",
                "{\"initial\":0,\"salt\":\"00000000000000000000000000000000\"}",
                "{\"initial\":100,\"perDay\":1000," SALT ",\"start\":\"2026-11-21T10:00:00Z\"}",
                "{\"initial\":10000,\"perDay\":1," SALT ",\"start\":\"1970-01-01T00:00:01Z\"}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_json_ json_t *object = NULL, *again = NULL;
                _cleanup_free_ char *text = NULL;
                _cleanup_error_ Error e = {};
                Rollout r;

                assert_int_equal(json_parse(texts[i], strlen(texts[i]), "text", &object, &e), 0);
                assert_int_equal(rollout_from_json(object, "text", &r, &e), 0);
                again = rollout_to_json(&r);
                text = json_format_line(again);
                assert_string_equal(text, texts[i]);
        }
}

static void malformed_json_is_refused(void **state) {
        static const struct {
                const char *text;
                Refusal id;
        } bad[] = {
                { "[]", REFUSAL_BAD_FORMAT },
                { "{}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":\"100\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000.0}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":-1," SALT "}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10001}", REFUSAL_TOO_LARGE },
                { "{\"initial\":9223372036854775807}", REFUSAL_TOO_LARGE },
                { "{\"initial\":10000,\"perDay\":10001,\"start\":\"2026-11-21T10:00:00Z\"}", REFUSAL_TOO_LARGE },
                { "{\"initial\":10000,\"perDay\":null}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"start\":1795255200}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"start\":\"\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"start\":\"2026-11-21\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"start\":\"2026-11-21T10:00:00\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"start\":\"2026-11-21T10:00:00+01:00\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"start\":\"2026-13-21T10:00:00Z\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"start\":\"1970-01-01T00:00:00Z\"}", REFUSAL_BAD_VALUE },
                { "{\"initial\":0}", REFUSAL_BAD_VALUE },
                { "{\"initial\":9999}", REFUSAL_BAD_VALUE },
                { "{\"initial\":10000,\"perDay\":1}", REFUSAL_BAD_VALUE },
                { "{\"initial\":0,\"salt\":\"\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":0,\"salt\":\"00112233445566778899aabbccddeef\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":0,\"salt\":\"00112233445566778899aabbccddeeff00\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":0,\"salt\":\"00112233445566778899AABBCCDDEEFF\"}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":0,\"salt\":17}", REFUSAL_BAD_FORMAT },
                { "{\"initial\":10000,\"perHour\":1}", REFUSAL_BAD_FORMAT },
        };

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_json_ json_t *object = NULL;
                _cleanup_error_ Error e = {};
                Rollout r = { .initial = 77 };

                assert_int_equal(json_parse(bad[i].text, strlen(bad[i].text), "text", &object, &e), 0);
                assert_int_equal(rollout_from_json(object, "text", &r, &e), -EBADMSG);
                assert_string_equal(refusal_name(e.id), refusal_name(bad[i].id));
                assert_int_equal(r.initial, 77);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(places_are_those_of_the_specification),
                cmocka_unit_test(share_grows_continuously_from_the_start),
                cmocka_unit_test(ten_thousand_machines_divide_as_the_share_says),
                cmocka_unit_test(every_place_is_as_likely_as_any_other),
                cmocka_unit_test(who_is_in_stays_in),
                cmocka_unit_test(a_machine_is_not_always_among_the_first),
                cmocka_unit_test(turn_is_the_first_second_that_includes),
                cmocka_unit_test(a_share_that_does_not_grow_never_comes_to_the_others),
                cmocka_unit_test(texts_mean_what_they_say_and_come_back),
                cmocka_unit_test(other_texts_are_refused),
                cmocka_unit_test(json_comes_back_the_same),
                cmocka_unit_test(malformed_json_is_refused),
        };

        return cmocka_run_group_tests_name("rollout", tests, NULL, NULL);
}
