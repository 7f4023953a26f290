/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How TUF's client finds targets through delegations, and which delegated roles it does not believe. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tuf-expect.h"

/* ---- delegations ----------------------------------------------------------------------------------------- */

typedef struct Graph {
        const char *name;
        SimDelegation edges[8];
        const char *visited; /* in search of "missing.txt" */
} Graph;

static const Graph graphs[] = {
        { "one", { { "targets", "A" } }, "A" },
        { "two", { { "targets", "A" }, { "targets", "B" } }, "A B" },
        { "order of the document", { { "targets", "B" }, { "targets", "A" } }, "B A" },
        { "two levels", { { "targets", "A" }, { "targets", "B" }, { "B", "C" } }, "A B C" },
        { "depth first", { { "targets", "A" }, { "targets", "B" }, { "A", "C" }, { "A", "D" } }, "A C D B" },
        { "three levels", { { "targets", "A" }, { "targets", "B" }, { "A", "C" }, { "C", "D" } }, "A C D B" },
        { "terminating leaf",
          { { "targets", "A" }, { "targets", "B" }, { "A", "C", .terminating = true }, { "A", "D" } },
          "A C" },
        { "terminating branch",
          { { "targets", "A" }, { "targets", "B" }, { "A", "C", .terminating = true }, { "C", "D" } },
          "A C D" },
        { "terminating after others",
          { { "targets", "A" }, { "targets", "B", .terminating = true }, { "targets", "C" } },
          "A B" },
        { "terminating for other paths",
          { { "targets", "A", .paths = "*.zip", .terminating = true }, { "targets", "B" } },
          "B" },
        { "paths", { { "targets", "A", .paths = "*.py" }, { "targets", "B" }, { "A", "C" } }, "B" },
        { "paths below",
          { { "targets", "A" }, { "targets", "B" }, { "A", "C", .paths = "*.py" }, { "C", "D" } },
          "A B" },
        { "second path", { { "targets", "A", .paths = "*.py *.txt" } }, "A" },
        { "question mark",
          { { "targets", "A", .paths = "missing.tx?" }, { "targets", "B", .paths = "missing.?" } },
          "A" },
        { "component too many", { { "targets", "A", .paths = "*/*" }, { "targets", "B" } }, "B" },
        { "circle", { { "targets", "A" }, { "targets", "B" }, { "B", "C" }, { "C", "D" }, { "D", "B" } }, "A B C D" },
        { "itself", { { "targets", "A" }, { "A", "A" }, { "targets", "B" } }, "A B" },
        { "two to a third", { { "targets", "A" }, { "targets", "B" }, { "B", "C" }, { "A", "C" } }, "A C B" },
        { "two to a third, one by path",
          { { "targets", "A" }, { "targets", "B" }, { "B", "C" }, { "A", "C", .paths = "*.py" } },
          "A B C" },
        /* SHA-256 of "missing.txt" begins with f6cbb32d. */
        { "hash prefix",
          { { "targets", "A", .hash_prefixes = "5c 00" }, { "targets", "B", .hash_prefixes = "0 f6cb" } },
          "B" },
};

static void publish_graph(Sim *s, const SimDelegation *edges) {
        _cleanup_strv_free_ char **roles = NULL;

        for (const SimDelegation *e = edges; e->from; e++) {
                sim_delegate(s, e);
                if (!strv_contains(roles, e->to))
                        strv_extend(&roles, e->to);
        }
        STRV_FOREACH (role, roles)
                sim_publish(s, *role);
        sim_publish(s, "targets snapshot timestamp");
}

static void delegations_are_searched_in_preorder(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(graphs); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();
                _cleanup_strv_free_ char **roles = strv_split(graphs[i].visited, " ");
                _cleanup_free_ char *expected = NULL, *asked = NULL;
                _cleanup_strv_free_ char **files = NULL;

                publish_graph(s, graphs[i].edges);
                must_refresh(s);
                if (find(s, "missing.txt") != 1)
                        fail_msg("%s: %s", graphs[i].name, s->error.message ?: "found");
                STRV_FOREACH (role, roles)
                        strv_extendf(&files, "1.%s.json", *role);
                expected = strv_join(files, " ");
                asked = strv_join(s->requests, " ");
                if (!streq(asked, expected))
                        fail_msg("%s: asked for %s", graphs[i].name, asked);
                /* What was fetched once is not asked for again. */
                assert_int_equal(find(s, "missing.txt"), 1);
                must_have_asked(s, "");
        }
}

static void targets_are_found_where_they_were_delegated_to(void **state) {
        static const struct {
                const char *path;
                int found;
                const char *asked;
        } cases[] = {
                { "top", 0, "" },
                { "README.md", 0, "1.A.json" },
                { "releases/x/v1", 0, "1.B.json 1.C.json" },
                { "releases/y/v1.zip", 0, "1.B.json 1.D.json" },
                { "releases/z/v1.zip", 1, "1.B.json" }, /* D has it, but B does not give D that path */
                { "elsewhere", 1, "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_add_target(s, "targets", "top", "t");
                sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A", .paths = "*.doc *.md" });
                sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "B", .paths = "releases/*/*" });
                sim_delegate(s, &(SimDelegation){ .from = "B", .to = "C", .paths = "releases/x/*" });
                sim_delegate(s, &(SimDelegation){ .from = "B", .to = "D", .paths = "releases/y/*.zip" });
                sim_add_target(s, "A", "README.md", "r");
                sim_add_target(s, "C", "releases/x/v1", "x");
                sim_add_target(s, "D", "releases/y/v1.zip", "y");
                sim_add_target(s, "D", "releases/z/v1.zip", "z");
                sim_publish(s, "A B C D targets snapshot timestamp");
                must_refresh(s);
                assert_int_equal(find(s, cases[i].path), cases[i].found);
                must_have_asked(s, cases[i].asked);
        }
}

static void first_delegation_wins(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        const TufTarget *t;

        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A" });
        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "B" });
        sim_add_target(s, "A", "x", "short");
        sim_add_target(s, "B", "x", "a longer one");
        sim_publish(s, "A B targets snapshot timestamp");
        must_refresh(s);
        assert_int_equal(tuf_client_find_target(s->client, "x", &t, NULL), 0);
        assert_int_equal(t->length, strlen("short"));
}

static void search_gives_up_after_many_roles(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        _cleanup_free_ char *before = NULL;

        for (unsigned i = 0; i < TUF_VISITED_ROLES_MAX + 3; i++) {
                _cleanup_free_ char *name = xasprintf("role%u", i);

                sim_delegate(s, &(SimDelegation){ .from = before ?: "targets", .to = name });
                free(before);
                before = TAKE_PTR(name);
        }
        sim_add_target(s, before, "deep", "d");
        sim_add_target(s, "role31", "edge", "e");
        for (unsigned i = 0; i < TUF_VISITED_ROLES_MAX + 3; i++) {
                _cleanup_free_ char *name = xasprintf("role%u", i);

                sim_publish(s, name);
        }
        sim_publish(s, "targets snapshot timestamp");
        must_refresh(s);
        assert_int_equal(find(s, "edge"), 0);
        assert_int_equal(find(s, "deep"), 1);
        assert_null(sim_find(&s->storage, "role32.json"));
}

static void unusual_role_names_stay_in_their_folder(void **state) {
        static const char *const names[] = { "?",   "#",    "/role",  "../role",  ".",    "..",         "a b",
                                             "%2F", "ROOT", "1.root", "\xc3\xa4", "a\\b", "stable:beta" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();
                _cleanup_free_ char *file = tuf_role_file_name(names[i]), *wanted = xasprintf("1.%s", file);

                assert_null(strchr(file, '/'));
                sim_delegate(s, &(SimDelegation){ .from = "targets", .to = names[i] });
                sim_add_target(s, names[i], "x", "x");
                {
                        SimRole *r = sim_role(s, names[i]);
                        _cleanup_free_ char *document = sim_document(r->content, r->signers, r->n_signers);

                        sim_serve(s, names[i], 1, document);
                        sim_list(s, names[i], document);
                }
                sim_publish(s, "targets snapshot timestamp");
                must_refresh(s);
                if (find(s, "x") != 0)
                        fail_msg("\"%s\": %s", names[i], s->error.message ?: "not found");
                must_have_asked(s, wanted);
                assert_non_null(sim_find(&s->storage, file));
                assert_int_equal(s->storage.n_items, 5);
        }
}

static void delegated_role_cannot_take_a_top_level_name(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(all_roles); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();
                _cleanup_free_ char *file = xasprintf("%s.json", all_roles[i]), *before = NULL;
                int r;

                must_refresh(s);
                sim_delegate(s, &(SimDelegation){ .from = "targets", .to = all_roles[i], .keys = "3" });
                json_object_set_new(json_object_get(sim_signed(s, "snapshot"), "meta"), file,
                                    json_pack("{s:i}", "version", 2));
                sim_publish(s, "targets snapshot timestamp");
                r = sim_refresh(s);
                before = xstrdup(sim_find(&s->storage, file)->data.data);
                if (r >= 0)
                        r = find(s, "missing");
                assert_true(r < 0);
                assert_int_equal(s->error.id, REFUSAL_BAD_FORMAT);
                assert_string_equal(sim_find(&s->storage, file)->data.data, before);
        }
}

typedef struct Fault {
        const char *name;
        Refusal id;
        void (*make)(Sim *s);
} Fault;

static void unsign(Sim *s) {
        serve_instead(s, "1.A.json", sim_signed(s, "A"), "");
}

static void sign_by_delegator(Sim *s) {
        serve_instead(s, "1.A.json", sim_signed(s, "A"), "3");
}

static void raise_version(Sim *s) {
        json_object_set_new(sim_signed(s, "A"), "version", json_integer(2));
        serve_instead(s, "1.A.json", sim_signed(s, "A"), "4");
}

static void let_expire(Sim *s) {
        sim_expire(s, "A", SIM_NOW - 1);
        serve_instead(s, "1.A.json", sim_signed(s, "A"), "4");
}

static void take_away(Sim *s) {
        sim_remove(&s->server, "1.A.json");
}

static void swap(Sim *s) {
        serve_instead(s, "1.A.json", sim_signed(s, "snapshot"), "4");
}

static void unlist(Sim *s) {
        json_object_del(json_object_get(sim_signed(s, "snapshot"), "meta"), "A.json");
        sim_publish(s, "snapshot timestamp");
}

static const Fault faults[] = {
        { "not signed", REFUSAL_BAD_SIGNATURE, unsign },
        { "signed by who delegates", REFUSAL_BAD_SIGNATURE, sign_by_delegator },
        { "another version", REFUSAL_MIXED, raise_version },
        { "expired", REFUSAL_EXPIRED, let_expire },
        { "missing", REFUSAL_DOWNLOAD, take_away },
        { "a snapshot", REFUSAL_BAD_FORMAT, swap },
        { "not listed", REFUSAL_MIXED, unlist },
};

static void bad_delegated_role_ends_the_search(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(faults); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A" });
                sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "B" });
                sim_add_target(s, "A", "x", "a");
                sim_add_target(s, "B", "x", "b");
                sim_publish(s, "A B targets snapshot timestamp");
                faults[i].make(s);
                must_refresh(s);
                if (find(s, "x") >= 0 || s->error.id != faults[i].id)
                        fail_msg("%s: %s", faults[i].name, s->error.message ?: "accepted");
                assert_null(sim_find(&s->storage, "A.json"));
        }
}

static void stored_delegated_role_expires_and_is_replaced(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A" });
        sim_add_target(s, "A", "x", "x");
        sim_expire(s, "A", SIM_NOW + 7 * SIM_DAY);
        sim_publish(s, "A targets snapshot timestamp");
        must_refresh(s);
        assert_int_equal(find(s, "x"), 0);
        s->now = SIM_NOW + 18 * SIM_DAY;
        must_refresh(s);
        assert_true(find(s, "x") < 0);
        assert_int_equal(s->error.id, REFUSAL_EXPIRED);
        sim_expire(s, "A", SIM_NOW + 21 * SIM_DAY);
        sim_publish(s, "A snapshot timestamp");
        must_refresh(s);
        assert_int_equal(find(s, "x"), 0);
        must_refresh(s);
        assert_int_equal(find(s, "x"), 0);
        must_have_asked(s, "");
}

/* The same role under two delegations with different keys: what one vouches for is nothing to the other. */
static void each_delegation_asks_for_its_own_keys(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A", .keys = "4", .paths = "*" });
        sim_delegate(s, &(SimDelegation){ .from = "A", .to = "C", .keys = "5", .paths = "a.*" });
        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "B", .keys = "6", .paths = "b.*" });
        sim_delegate(s, &(SimDelegation){ .from = "B", .to = "C", .keys = "7", .paths = "b.*" });
        sim_add_target(s, "C", "a.txt", "a");
        sim_add_target(s, "C", "b.txt", "b");
        sim_publish(s, "A B C targets snapshot timestamp"); /* C is signed by key 5 only */
        must_refresh(s);
        assert_int_equal(find(s, "a.txt"), 0);
        assert_true(find(s, "b.txt") < 0);
        assert_int_equal(s->error.id, REFUSAL_BAD_SIGNATURE);
}

static void threshold_of_a_delegation(void **state) {
        for (int both = 0; both < 2; both++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A", .keys = "4 5", .threshold = 2 });
                sim_add_target(s, "A", "x", "x");
                sim_sign_with(s, "A", both ? "4 5" : "4");
                sim_publish(s, "A targets snapshot timestamp");
                must_refresh(s);
                assert_int_equal(find(s, "x") == 0, both);
        }
}

static void roles_can_be_asked_for_by_name(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        const TufMetadata *m;

        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "stable", .paths = "laptop/*" });
        sim_delegate(s, &(SimDelegation){ .from = "stable", .to = "below" });
        sim_publish(s, "below stable targets snapshot timestamp");
        must_refresh(s);
        assert_int_equal(tuf_client_role(s->client, "stable", &m, &s->error), 0);
        assert_int_equal(m->version, 1);
        assert_true(tuf_client_role(s->client, "below", &m, &s->error) < 0);
        assert_int_equal(s->error.id, REFUSAL_NOT_FOUND);
        error_done(&s->error);
        s->error = (Error){};
        assert_true(tuf_client_role(s->client, "beta", &m, &s->error) < 0);
        assert_int_equal(s->error.id, REFUSAL_NOT_FOUND);
}

static void nothing_is_found_before_a_refresh(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        const TufMetadata *m;

        sim_client(s);
        assert_true(find(s, "x") < 0);
        assert_true(tuf_client_role(s->client, "A", &m, NULL) < 0);
        assert_null(tuf_client_timestamp(s->client));
        assert_null(tuf_client_snapshot(s->client));
}

static void unusual_target_paths(void **state) {
        static const char *const paths[] = { "a b", "a?b", "a*b", "\xc3\xa4/\xe2\x82\xac", "a#b/c%2Fd", "[x]", "a\\b" };
        _cleanup_(sim_freep) Sim *s = sim_new();

        for (size_t i = 0; i < ELEMENTSOF(paths); i++)
                sim_add_target(s, "targets", paths[i], "x");
        sim_publish(s, "targets snapshot timestamp");
        must_refresh(s);
        for (size_t i = 0; i < ELEMENTSOF(paths); i++)
                assert_int_equal(find(s, paths[i]), 0);
        assert_int_equal(find(s, "aXb"), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(delegations_are_searched_in_preorder),
                cmocka_unit_test(targets_are_found_where_they_were_delegated_to),
                cmocka_unit_test(first_delegation_wins),
                cmocka_unit_test(search_gives_up_after_many_roles),
                cmocka_unit_test(unusual_role_names_stay_in_their_folder),
                cmocka_unit_test(delegated_role_cannot_take_a_top_level_name),
                cmocka_unit_test(bad_delegated_role_ends_the_search),
                cmocka_unit_test(stored_delegated_role_expires_and_is_replaced),
                cmocka_unit_test(each_delegation_asks_for_its_own_keys),
                cmocka_unit_test(threshold_of_a_delegation),
                cmocka_unit_test(roles_can_be_asked_for_by_name),
                cmocka_unit_test(nothing_is_found_before_a_refresh),
                cmocka_unit_test(unusual_target_paths),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
