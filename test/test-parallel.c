/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "parallel.h"

#define ITEMS 41
#define LARGE ((size_t) 3 << 20) /* more than a pipe holds */

typedef struct Expected {
        size_t next, fails_at, dies_at, refused_at;
} Expected;

static int work(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        const Expected *x = userdata;

        if (item == x->fails_at)
                return error_set(reterr, ERANGE, REFUSAL_BAD_VALUE, "item %zu", item);
        if (item == x->dies_at)
                _exit(0);
        if (item % 10 == 3) {
                ret->data = xmalloc(LARGE + 1);
                memset(ret->data, 'x', LARGE);
                ret->size = ret->allocated = LARGE;
                ret->data[LARGE] = 0;
        } else if (item % 10 != 4)
                buffer_printf(ret, "%zu", item);
        return 0;
}

static int take(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        _cleanup_free_ char *number = xasprintf("%zu", item);
        Expected *x = userdata;

        assert_int_equal(item, x->next++);
        if (item == x->refused_at)
                return error_set(reterr, EPERM, REFUSAL_EXISTS, "not this one");
        if (item % 10 == 3)
                assert_int_equal(size, LARGE);
        else
                assert_string_equal(data, item % 10 == 4 ? "" : number);
        return 0;
}

static void results_come_in_the_order_of_the_items(void **state) {
        static const size_t counts[] = { 0, 1, 2, 7, ITEMS };

        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                Expected x = { .fails_at = SIZE_MAX, .dies_at = SIZE_MAX, .refused_at = SIZE_MAX };
                _cleanup_error_ Error e = {};

                assert_int_equal(parallel_run(counts[i], work, take, &x, &e), 0);
                assert_int_equal(x.next, counts[i]);
        }
}

static void first_failure_is_the_one_reported(void **state) {
        Expected x = { .fails_at = 17, .dies_at = SIZE_MAX, .refused_at = SIZE_MAX };
        _cleanup_error_ Error e = {};

        assert_int_equal(parallel_run(ITEMS, work, take, &x, &e), -ERANGE);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        assert_string_equal(e.message, "item 17");
        assert_int_equal(x.next, 17);
}

static void refused_result_ends_the_work(void **state) {
        Expected x = { .fails_at = SIZE_MAX, .dies_at = SIZE_MAX, .refused_at = 5 };
        _cleanup_error_ Error e = {};

        assert_int_equal(parallel_run(ITEMS, work, take, &x, &e), -EPERM);
        assert_int_equal(e.id, REFUSAL_EXISTS);
        assert_int_equal(x.next, 6);
}

static void child_that_disappears_is_an_error(void **state) {
        Expected x = { .fails_at = SIZE_MAX, .dies_at = 8, .refused_at = SIZE_MAX };
        _cleanup_error_ Error e = {};
        cpu_set_t set;

        if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 2)
                skip(); /* the work is done in this process */
        assert_int_equal(parallel_run(ITEMS, work, take, &x, &e), -EIO);
        assert_int_equal(e.id, REFUSAL_SYSTEM);
        assert_int_equal(x.next, 8);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(results_come_in_the_order_of_the_items),
                cmocka_unit_test(first_failure_is_the_one_reported),
                cmocka_unit_test(refused_result_ends_the_work),
                cmocka_unit_test(child_that_disappears_is_an_error),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
