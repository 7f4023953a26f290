/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "predepends.h"

#define PACKAGES_MAX 40

typedef struct Expected {
        const char *name, *pre_depends, *depends, *provides;
        bool essential;
        unsigned round; /* for the rounds */
        bool marked;    /* for the closure */
} Expected;

static size_t relations(const Expected *expected, PackageRelations *ret, bool *ret_essential) {
        size_t n = 0;

        for (; expected[n].name; n++) {
                ret[n] = (PackageRelations){ .name = expected[n].name,
                                             .pre_depends = expected[n].pre_depends ?: "",
                                             .depends = expected[n].depends ?: "",
                                             .provides = expected[n].provides ?: "" };
                ret_essential[n] = expected[n].essential;
        }
        return n;
}

static void check_rounds(const Expected *expected, unsigned n_rounds) {
        PackageRelations packages[PACKAGES_MAX];
        bool essential[PACKAGES_MAX];
        unsigned rounds[PACKAGES_MAX];
        size_t n = relations(expected, packages, essential);

        assert_int_equal(predepends_rounds(packages, n, essential, rounds), n_rounds);
        for (size_t i = 0; i < n; i++)
                if (rounds[i] != expected[i].round)
                        fail_msg("%s is in round %u, not %u", expected[i].name, rounds[i], expected[i].round);
}

static void check_closure(const Expected *expected) {
        PackageRelations packages[PACKAGES_MAX];
        bool marked[PACKAGES_MAX];
        size_t n = relations(expected, packages, marked);

        predepends_close(packages, n, marked);
        for (size_t i = 0; i < n; i++)
                if (marked[i] != expected[i].marked)
                        fail_msg("%s is %smarked", expected[i].name, marked[i] ? "" : "not ");
}

static void essential_packages_come_first_and_everything_else_follows(void **state) {
        static const Expected some[] = { { "bash", .essential = true }, { "nano", .round = 1 }, {} };
        static const Expected only_essential[] = { { "bash", .essential = true }, {} };
        static const Expected none[] = { {} };

        check_rounds(some, 2);
        check_rounds(only_essential, 1);
        check_rounds(none, 1);
}

static void pre_dependency_is_configured_in_an_earlier_round(void **state) {
        static const Expected chain[] = {
                { "c", .pre_depends = "b (>= 2)", .round = 3 },
                { "b", .pre_depends = "a:any", .round = 2 },
                { "a", .pre_depends = "base", .round = 1 },
                { "base", .essential = true },
                { "d", .depends = "c", .round = 1 }, /* only Pre-Depends count */
                {},
        };

        check_rounds(chain, 4);
}

static void one_field_names_several_packages(void **state) {
        static const Expected several[] = {
                { "top", .pre_depends = "absent, deep (>= 1) , low|other,\n low", .round = 3 },
                { "deep", .pre_depends = "low", .round = 2 },
                { "low", .round = 1 },
                { "other", .round = 1 },
                { "lower", .pre_depends = "lo, lowe, lowerr", .round = 1 }, /* parts of names are not names */
                { "self", .pre_depends = "self", .round = 1 },
                {},
        };

        check_rounds(several, 4);
}

static void whichever_alternative_is_present_counts(void **state) {
        static const Expected alternatives[] = {
                { "a", .pre_depends = "absent | b", .round = 2 },
                { "b", .round = 1 },
                { "c", .pre_depends = "absent | missing", .round = 1 },
                {},
        };

        check_rounds(alternatives, 3);
}

static void cycle_ends_in_one_round(void **state) {
        static const Expected cycle[] = {
                { "a", .pre_depends = "b", .round = 2 },      { "b", .pre_depends = "c", .round = 2 },
                { "c", .pre_depends = "a, low", .round = 2 }, { "low", .round = 1 },
                { "after", .pre_depends = "b", .round = 3 },  {},
        };
        static const Expected pair[] = { { "x", .pre_depends = "y", .round = 1 },
                                         { "y", .pre_depends = "x", .round = 1 },
                                         {} };

        check_rounds(cycle, 4);
        check_rounds(pair, 2);
}

static void no_round_is_empty(void **state) {
        static const char *const fields[] = { "", "p1", "p2, p0", "p3 | p9", "p5, p7", "p6", "p4", "p1 | p2" };
        PackageRelations packages[8];
        bool essential[8] = { true }, used[PACKAGES_MAX] = {};
        unsigned rounds[8], n;
        char names[8][4];

        for (size_t i = 0; i < 8; i++) {
                snprintf(names[i], sizeof(names[i]), "p%zu", i);
                packages[i] = (PackageRelations){ names[i], fields[i], "", "" };
        }
        n = predepends_rounds(packages, 8, essential, rounds);
        for (size_t i = 0; i < 8; i++)
                used[rounds[i]] = true;
        for (unsigned i = 0; i < n; i++)
                assert_true(used[i]);
        assert_false(used[n]);
}

static void closure_follows_both_fields_through_provides(void **state) {
        static const Expected all[] = {
                { "base", .depends = "libc (>= 2), awk, shell | other-shell", .pre_depends = "early", .essential = true,
                  .marked = true },
                { "early", .marked = true },
                { "libc", .depends = "gcc-base", .marked = true },
                { "gcc-base", .marked = true },
                { "mawk", .provides = "awk", .marked = true },
                { "gawk", .provides = "awk (= 1)" }, /* one that provides it is enough */
                { "other-shell", .marked = true },
                { "unrelated", .depends = "base", .provides = "libc" }, /* the name itself is there */
                { "awkward", .provides = "not-awk, awkish" },
                {},
        };

        check_closure(all);
}

static void first_present_alternative_is_enough(void **state) {
        static const Expected all[] = {
                { "base", .depends = "absent | one | two, three", .essential = true, .marked = true },
                { "two" },
                { "one", .marked = true },
                { "three", .marked = true },
                {},
        };

        check_closure(all);
}

static void closure_of_a_cycle_ends(void **state) {
        static const Expected all[] = { { "a", .depends = "b", .essential = true, .marked = true },
                                        { "b", .depends = "a, c", .marked = true },
                                        { "c", .pre_depends = "b", .marked = true },
                                        { "d", .depends = "a" },
                                        {} };

        check_closure(all);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(essential_packages_come_first_and_everything_else_follows),
                cmocka_unit_test(pre_dependency_is_configured_in_an_earlier_round),
                cmocka_unit_test(one_field_names_several_packages),
                cmocka_unit_test(whichever_alternative_is_present_counts),
                cmocka_unit_test(cycle_ends_in_one_round),
                cmocka_unit_test(no_round_is_empty),
                cmocka_unit_test(closure_follows_both_fields_through_provides),
                cmocka_unit_test(first_present_alternative_is_enough),
                cmocka_unit_test(closure_of_a_cycle_ends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
