/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "patience.h"

#define STALL 20
#define MIB (UINT64_C(1) << 20)

/* A server that sends bytes each second. -> the second in which patience ended, 0: the file came. */
static unsigned lasts(Patience *p, uint64_t size, uint64_t bytes, uint64_t began) {
        _cleanup_error_ Error e = {};

        patience_attempt(p, (int64_t) began * 1000);
        for (uint64_t s = 1, came = bytes; came < size; s++, came += bytes)
                if (patience_check(p, bytes, (int64_t) (began + s) * 1000, &e) < 0) {
                        assert_int_equal(e.id, REFUSAL_DOWNLOAD);
                        assert_int_equal(e.code, ETIMEDOUT);
                        return (unsigned) s;
                }
        return 0;
}

static void a_file_that_only_just_comes_ends(void **state) {
        static const struct {
                uint64_t size, bytes, rate_limit;
                unsigned ends;
        } cases[] = {
                { 100 * MIB, 1100, 0, 17180 }, /* 2 minutes, and 853 times 20 s */
                { 100 * MIB, 5000, 0, 17180 },
                { 100 * MIB, 8000, 0, 0 }, /* 64 kbit/s */
                { 16 << 10, 100, 0, 120 },
                { 100 * MIB, 1100, 2048, 0 }, /* it is we who want it so */
                { 100 * MIB, 900, 2048, 102520 },
                { 100 * MIB, 8000, 1 << 30, 0 },
                { UINT64_C(1) << 60, 8000, 0, 7 * 86400 },
                { UINT64_MAX, 1, 1, 7 * 86400 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Patience p = patience_new(cases[i].size, STALL, cases[i].rate_limit, 1, 0);

                assert_int_equal(lasts(&p, cases[i].size, cases[i].bytes, 0), cases[i].ends);
                assert_int_equal(p.over, cases[i].ends > 0);
        }
}

static void each_slow_server_but_one_is_left_once(void **state) {
        Patience p = patience_new(100 * MIB, STALL, 0, 3, 0);

        assert_int_equal(lasts(&p, 100 * MIB, 5000, 0), 60);
        assert_false(p.over);
        assert_int_equal(lasts(&p, 100 * MIB, 5000, 60), 60);
        assert_false(p.over);
        assert_int_equal(lasts(&p, 100 * MIB, 5000, 120), 17180 - 120);
        assert_true(p.over);
}

static void a_server_that_is_fast_enough_is_not_left(void **state) {
        Patience p = patience_new(100 * MIB, STALL, 0, 2, 0);

        assert_int_equal(lasts(&p, 100 * MIB, 8000, 0), 0);
        /* Nor one that begins slowly. */
        p = patience_new(100 * MIB, STALL, 0, 2, 0);
        assert_int_equal(patience_check(&p, 0, 59 * 1000, NULL), 0);
        assert_int_equal(patience_check(&p, MIB, 61 * 1000, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_file_that_only_just_comes_ends),
                cmocka_unit_test(each_slow_server_but_one_is_left_once),
                cmocka_unit_test(a_server_that_is_fast_enough_is_not_left),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
