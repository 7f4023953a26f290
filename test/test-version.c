/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "version.h"

static int sign(int x) {
        return (x > 0) - (x < 0);
}

/* The examples of UAPI.10, version 1.0, in its order. */
static const struct {
        const char *a;
        int order;
        const char *b;
} examples[] = {
        { "11", 0, "11" },
        { "systemd-123", 0, "systemd-123" },
        { "bar-123", -1, "foo-123" },
        { "123a", 1, "123" },
        { "123.a", 1, "123" },
        { "123.a", -1, "123.b" },
        { "123a", 1, "123.a" },
        { "11\xce\xb1", 0, "11\xce\xb2" },
        { "B", -1, "a" },
        { "", -1, "0" },
        { "0.", 1, "0" },
        { "0.0", 1, "0" },
        { "0", 1, "~" },
        { "", 1, "~" },
        { "1_", 0, "1" },
        { "_1", 0, "1" },
        { "1_", -1, "1.2" },
        { "1_2_3", 1, "1.3.3" },
        { "1+", 0, "1" },
        { "+1", 0, "1" },
        { "1+", -1, "1.2" },
        { "1+2+3", 1, "1.3.3" },
        /* Ours: long numbers, zeroes in front, what the boot loader makes of a zero beside nothing. */
        { "99999999999999999999999", -1, "100000000000000000000000" },
        { "2026.09.1", 0, "2026.9.1" },
        { "2026.9.1", -1, "2026.10.1" },
        { "1.0", 1, "1.a" },
        { "~~", 1, "~" },
        { "1-~", -1, "1-" },
        { "1^-", 1, "1^." },
};

static void examples_of_the_specification_hold_both_ways(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(examples); i++) {
                assert_int_equal(sign(version_compare(examples[i].a, examples[i].b)), examples[i].order);
                assert_int_equal(sign(version_compare(examples[i].b, examples[i].a)), -examples[i].order);
        }
}

static void chain_of_the_specification_is_a_total_order(void **state) {
        static const char *const chain[] = { "122.1",   "123~rc1-1", "123",     "123-a",   "123-a.1", "123-1",
                                             "123-1.1", "123^post1", "123.a-1", "123.1-1", "123a-1",  "124-1" };

        for (size_t i = 0; i < ELEMENTSOF(chain); i++)
                for (size_t j = 0; j < ELEMENTSOF(chain); j++)
                        assert_int_equal(sign(version_compare(chain[i], chain[j])), (i > j) - (i < j));
}

static void versions_that_files_and_labels_can_carry_are_accepted(void **state) {
        static const char *const good[] = { "1",   "2026.11.3", "257~rc1", "1.2^post",
                                            "1-2", "v1",        "1.0+git", "12345678901234567890123456789012" };
        static const char *const bad[] = {
                "",    "1_2", "1/2", "..",       "-1",  ".1",      "~1",
                "1 2", "1\n", "1:2", "\xc3\xa4", "1+3", "1.0+3-1", "123456789012345678901234567890123"
        };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_true(version_is_valid(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_false(version_is_valid(bad[i]));
}

static void next_version_counts_within_the_month_and_never_goes_back(void **state) {
        /* 2026-11-21 00:00 UTC, and one second before November. */
        const int64_t november = 1795219200, october_end = 1793491199;
        char *const none[] = { NULL };
        char *const some[] = { (char *) "2026.11.2", (char *) "2026.11.10",   (char *) "2026.10.40",
                               (char *) "1.2",       (char *) "2026.11.99.1", NULL };
        char *const later[] = { (char *) "2027.1.4", (char *) "2026.12.9", (char *) "2027.1.3", NULL };
        const struct {
                int64_t epoch;
                char *const *existing;
                const char *expected;
        } cases[] = {
                { november, NULL, "2026.11.1" },    { november, none, "2026.11.1" },
                { november, some, "2026.11.11" },   { october_end, some, "2026.11.11" },
                { october_end, none, "2026.10.1" }, { november, later, "2027.1.5" },
                { -5, none, "1970.1.1" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *v = version_next(cases[i].epoch, cases[i].existing);

                assert_string_equal(v, cases[i].expected);
                assert_true(version_is_valid(v));
                STRV_FOREACH (e, cases[i].existing)
                        if (!streq(*e, "2026.11.99.1"))
                                assert_true(version_compare(v, *e) > 0);
        }
}

static void ordinal_rises_with_versions_of_one_shape(void **state) {
        static const char *const shapes[][8] = {
                { "2020.1.1", "2020.1.2", "2020.12.999", "2021.1.0", "2026.9.1", "2026.10.1", "2026.11.3",
                  "2999.12.5" },
                { "20200101", "20200102", "20200201", "20201231", "20210101", "20261121", "20261122", "29991231" },
                { "20200101.1", "20200101.2", "20200101.499", "20200102.0", "20261121.3", "20261121.30", "20261122.1",
                  "29991231.499" },
                { "0", "1", "2", "10", "99", "257", "100000", "299999999" },
                { "0.1", "0.2", "0.10", "1.0", "1.9999", "2.0", "257.13", "29999.9999" },
                { "0.0.1", "0.1.0", "1.0.0", "1.0.999", "1.1.0", "1.999.999", "2.0.0", "299.999.999" },
                { "0.0.0.1", "0.0.1.0", "0.1.0.0", "1.0.0.0", "1.2.3.4", "1.2.3.5", "1.2.4.0", "299.99.99.99" },
                { "v1.0", "v1.1", "v1.2", "v1.10", "v2.0", "v2.1", "v3.0", "v10.0" },
        };

        for (size_t i = 0; i < ELEMENTSOF(shapes); i++)
                for (size_t j = 0; j < 8; j++) {
                        int64_t x = version_ordinal(shapes[i][j]);

                        assert_true(x >= 0 && x < VERSION_ORDINAL_MAX);
                        if (j > 0)
                                assert_true(x > version_ordinal(shapes[i][j - 1]));
                }
        assert_int_equal(version_ordinal("2026.11.3"), ((2026 - 2020) * 12 + 11) * 1000 + 3);
}

static void ordinal_beyond_its_limits_stops_rising_but_does_not_fall(void **state) {
        static const char *const rising[][2] = {
                { "1.5000.1", "1.6000.0" },
                { "1.999.5000", "2.0.0" },
                { "999999999999", "99999999999999999999999999" },
                { "2026.11.1000", "2026.12.0" },
                { "400.1", "40000.2" },
                { "1.2.3.4.5", "1.2.3.4.6" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rising); i++) {
                assert_true(version_ordinal(rising[i][0]) <= version_ordinal(rising[i][1]));
                assert_true(version_ordinal(rising[i][1]) < VERSION_ORDINAL_MAX);
        }
        assert_int_equal(version_ordinal(""), 0);
        assert_int_equal(version_ordinal("rolling"), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(examples_of_the_specification_hold_both_ways),
                cmocka_unit_test(chain_of_the_specification_is_a_total_order),
                cmocka_unit_test(versions_that_files_and_labels_can_carry_are_accepted),
                cmocka_unit_test(next_version_counts_within_the_month_and_never_goes_back),
                cmocka_unit_test(ordinal_rises_with_versions_of_one_shape),
                cmocka_unit_test(ordinal_beyond_its_limits_stops_rising_but_does_not_fall),
        };

        return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
