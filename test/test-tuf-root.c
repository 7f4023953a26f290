/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* TUF's client and the chain of roots: rotation, thresholds, whose signatures the other roles need. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tuf-expect.h"

/* ---- root ------------------------------------------------------------------------------------------------ */

static void client_without_a_root_asks_for_nothing(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_files_done(&s->storage);
        must_refuse(s, REFUSAL_NOT_FOUND);
        must_have_asked(s, "");
        assert_non_null(s->error.hint);
        sim_put_text(&s->storage, "root.json", "{}");
        must_refuse(s, REFUSAL_BAD_FORMAT);
        must_have_asked(s, "");
}

static void init_takes_only_a_root_that_signs_itself(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        unsigned wrong = SIM_KEY_TARGETS;
        _cleanup_free_ char *document = sim_document(sim_signed(s, "root"), &wrong, 1);

        sim_files_done(&s->storage);
        assert_true(tuf_client_init(sim_client(s), document, strlen(document), &s->error) < 0);
        assert_int_equal(s->error.id, REFUSAL_BAD_SIGNATURE);
        assert_int_equal(s->storage.n_items, 0);
}

static void init_does_not_replace_a_root(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        const SimFile *first = sim_find(&s->server, "1.root.json");

        sim_publish(s, "root");
        must_refresh(s);
        assert_int_equal(tuf_client_init(sim_client(s), first->data.data, first->data.size, NULL), 0);
        must_store(s, "root 2, snapshot 1, targets 1, timestamp 1");
}

static void init_takes_an_expired_root(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_expire(s, "root", SIM_NOW - SIM_DAY);
        sim_publish(s, "root");
        assert_int_equal(sim_init(s, 2), 0);
        must_refuse(s, REFUSAL_EXPIRED);
        sim_expire(s, "root", SIM_NOW + SIM_DAY);
        sim_publish(s, "root");
        must_refresh(s);
        assert_int_equal(tuf_client_root(s->client)->version, 3);
}

static void fifty_roots_in_a_row(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        for (unsigned i = 1; i <= 50; i++) {
                _cleanup_free_ char *new = xasprintf("%u", i % SIM_KEYS), *both = NULL;

                both = xasprintf("%u %u", (i - 1) % SIM_KEYS, i % SIM_KEYS);
                /* All but the last one have expired, which does not matter. */
                sim_expire(s, "root", i < 50 ? SIM_NOW - SIM_DAY : SIM_NOW + SIM_DAY);
                sim_set_keys(s, "root", new, 1);
                sim_sign_with(s, "root", both);
                sim_publish(s, "root");
        }
        must_refresh(s);
        assert_int_equal(tuf_client_root(s->client)->version, 51);
        assert_int_equal(strv_length(s->requests), 50 + 1 + 3);
}

static void more_roots_than_one_refresh_takes_come_with_the_next(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        for (unsigned i = 0; i < TUF_ROOT_ROTATIONS_MAX + 10; i++)
                sim_publish(s, "root");
        must_refresh(s);
        assert_int_equal(tuf_client_root(s->client)->version, 1 + TUF_ROOT_ROTATIONS_MAX);
        must_refresh(s);
        assert_int_equal(tuf_client_root(s->client)->version, 1 + TUF_ROOT_ROTATIONS_MAX + 10);
}

/* A chain of roots: who may sign from then on, how many must, who did. The last one is good or not. */
typedef struct RootStep {
        const char *keys;
        int threshold;
        const char *signers;
} RootStep;

static const struct {
        const char *name;
        RootStep steps[5];
        bool good;
} chains[] = {
        { "new key, both sign", { { "4", 1, "4" }, { "5", 1, "4 5" } }, true },
        { "new key, then it signs alone", { { "4", 1, "4" }, { "5", 1, "5 4" }, { "5", 1, "5" } }, true },
        { "strangers' signatures do no harm", { { "4", 1, "6 4 7" }, { "5", 1, "6 5 4 7" }, { "5", 1, "5 6" } }, true },
        { "changing subsets of five",
          { { "4 5 6 7 8", 3, "4 6 8" }, { "4 5 6 7 8", 3, "4 8 5" }, { "4 5 6 7 8", 3, "5 6 7" } },
          true },
        { "one of five replaced", { { "4 5 6 7 8", 3, "4 6 8" }, { "4 5 7 8 9", 3, "4 5 8" } }, true },
        { "one of five replaced, old and new signers",
          { { "4 5 6 7 8", 3, "4 6 8" }, { "4 5 7 8 9", 3, "4 6 8 9" } },
          true },
        { "all five replaced",
          { { "4 5 6 7 8", 3, "4 6 8" }, { "9 10 11 12 13", 3, "4 6 8 9 10 11" }, { "9 10 11 12 13", 3, "9 10 11" } },
          true },
        { "threshold raised", { { "4 5 6", 1, "4" }, { "4 5 6", 2, "4 5" } }, true },
        { "threshold lowered", { { "4 5 6", 2, "4 5" }, { "4 5 6", 1, "4 5" }, { "4 5 6", 1, "6" } }, true },
        { "key and threshold added", { { "4", 1, "4" }, { "4 5", 2, "4 5" } }, true },
        { "old key did not sign", { { "4", 1, "4" }, { "5", 1, "5 6 7" } }, false },
        { "new key did not sign", { { "4", 1, "4" }, { "5", 1, "4 6 7" } }, false },
        { "too few new ones", { { "4 5 6 7 8", 3, "4 6 8" }, { "4 5 7 8 9", 3, "4 6 8" } }, false },
        { "too few old ones", { { "4 5 6 7 8", 3, "4 6 8" }, { "4 5 7 8 9", 3, "4 8 9" } }, false },
        { "raised threshold not reached", { { "4 5 6", 1, "4" }, { "4 5 6", 2, "5" } }, false },
        { "lowered threshold not signed by the old", { { "4 5 6", 2, "4 5" }, { "4 5 6", 1, "4" } }, false },
        { "one key twice", { { "4 5", 2, "4 5" }, { "4 5", 2, "4" } }, false },
};

static void root_chains(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(chains); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();
                uint64_t last = 1;

                for (const RootStep *step = chains[i].steps; step->keys; step++) {
                        sim_set_keys(s, "root", step->keys, step->threshold);
                        sim_sign_with(s, "root", step->signers);
                        sim_publish(s, "root");
                        last++;
                }
                if (sim_init(s, 2) < 0)
                        fail_msg("%s: %s", chains[i].name, s->error.message);
                if ((sim_refresh(s) >= 0) != chains[i].good)
                        fail_msg("%s: %s", chains[i].name, s->error.message ?: "not refused");
                if (!chains[i].good)
                        assert_int_equal(s->error.id, REFUSAL_BAD_SIGNATURE);
                assert_int_equal(tuf_client_root(s->client)->version, chains[i].good ? last : last - 1);
                if (!chains[i].good)
                        must_have_asked(s, last == 3 ? "3.root.json" : "3.root.json 4.root.json");
        }
}

/* Every set of signers of up to five keys, for every threshold. */
static void every_subset_of_signers(void **state) {
        for (int threshold = 1; threshold <= 5; threshold++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_set_keys(s, "root", "4 5 6 7 8", threshold);
                sim_sign_with(s, "root", "0 4 5 6 7 8");
                sim_publish(s, "root");
                must_refresh(s);
                for (unsigned set = 0; set < 32; set++) {
                        _cleanup_free_ char *document = NULL;
                        unsigned keys[5];
                        size_t n = 0;

                        for (unsigned bit = 0; bit < 5; bit++)
                                if (set & (1U << bit))
                                        keys[n++] = 4 + bit;
                        json_object_set_new(sim_signed(s, "root"), "version", json_integer(3));
                        document = sim_document(sim_signed(s, "root"), keys, n);
                        sim_put_text(&s->server, "3.root.json", document);
                        assert_int_equal(sim_init(s, 2), 0);
                        assert_int_equal(sim_refresh(s) >= 0, (int) n >= threshold);
                }
        }
}

static void root_of_another_version_is_refused(void **state) {
        static const struct {
                int version;
                Refusal id;
        } cases[] = { { 1, REFUSAL_ROLLBACK }, { 2, REFUSAL_ROLLBACK }, { 4, REFUSAL_MIXED }, { 99, REFUSAL_MIXED } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_publish(s, "root");
                must_refresh(s);
                json_object_set_new(sim_signed(s, "root"), "version", json_integer(cases[i].version));
                serve_instead(s, "3.root.json", sim_signed(s, "root"), "0");
                must_refuse(s, cases[i].id);
                must_store(s, "root 2, snapshot 1, targets 1, timestamp 1");
        }
}

/* A thief of the first root's key goes on from there; who followed the true chain is not led away. */
static void forked_root_is_refused_by_who_followed_the_chain(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_set_keys(s, "root", "4", 1);
        sim_sign_with(s, "root", "0 4");
        sim_publish(s, "root");
        must_refresh(s);
        sim_set_keys(s, "root", "5", 1);
        sim_sign_with(s, "root", "0 5");
        sim_publish(s, "root");
        must_refuse(s, REFUSAL_BAD_SIGNATURE);
        assert_int_equal(tuf_client_root(s->client)->version, 2);
}

static void skipped_root_stops_the_chain(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_publish(s, "root");
        sim_publish(s, "root");
        sim_remove(&s->server, "2.root.json");
        must_refresh(s);
        assert_int_equal(tuf_client_root(s->client)->version, 1);
}

static void other_document_as_root_is_refused(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_set_keys(s, "root", "3", 1); /* the same key as targets */
        sim_sign_with(s, "root", "0 3");
        sim_publish(s, "root");
        json_object_set_new(sim_signed(s, "targets"), "version", json_integer(3));
        serve_instead(s, "3.root.json", sim_signed(s, "targets"), "3");
        must_refuse(s, REFUSAL_BAD_FORMAT);
}

/* ---- keys of the others ---------------------------------------------------------------------------------- */

static const char *const others[] = { "timestamp", "snapshot", "targets" };

static void unsigned_documents_stop_the_refresh(void **state) {
        static const char *const stored[] = { "root 1", "root 2", "root 2, timestamp 2",
                                              "root 2, snapshot 2, timestamp 2" };

        for (size_t i = 0; i < ELEMENTSOF(all_roles); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_sign_with(s, all_roles[i], "");
                sim_publish(s, "root targets snapshot timestamp");
                must_refuse(s, REFUSAL_BAD_SIGNATURE);
                must_store(s, stored[i]);
        }
}

static void keys_of_roles_do_not_sign_for_each_other(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(all_roles); i++)
                for (unsigned key = 0; key < 4; key++) {
                        _cleanup_(sim_freep) Sim *s = sim_new();
                        _cleanup_free_ char *text = xasprintf("%u", key);

                        sim_sign_with(s, all_roles[i], text);
                        sim_publish(s, "root targets snapshot timestamp");
                        if (key == i)
                                must_refresh(s);
                        else
                                must_refuse(s, REFUSAL_BAD_SIGNATURE);
                }
}

static const struct {
        const char *name, *keys;
        int threshold;
        const char *signers;
        bool good;
} thresholds[] = {
        { "rotated", "4", 1, "4", true },
        { "strangers too", "4", 1, "5 4 6", true },
        { "old key only", "4", 1, "1 2 3", false },
        { "three of five", "4 5 6 7 8", 3, "4 6 8", true },
        { "other three", "4 5 6 7 8", 3, "8 7 5", true },
        { "two of them", "4 5 6 7 8", 3, "4 8", false },
        { "two and a stranger", "4 5 6 7 8", 3, "4 8 9", false },
        { "more wanted than there are", "4 5", 3, "4 5", false },
};

static void thresholds_of_the_other_roles(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(thresholds); i++)
                for (size_t j = 0; j < ELEMENTSOF(others); j++) {
                        _cleanup_(sim_freep) Sim *s = sim_new();

                        must_refresh(s);
                        sim_set_keys(s, others[j], thresholds[i].keys, thresholds[i].threshold);
                        sim_sign_with(s, others[j], thresholds[i].signers);
                        sim_publish(s, "root targets snapshot timestamp");
                        if ((sim_refresh(s) >= 0) != thresholds[i].good)
                                fail_msg("%s: %s: %s", others[j], thresholds[i].name, s->error.message ?: "accepted");
                }
}

static void revoked_key_makes_stored_documents_useless(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        must_refresh(s);
        /* Targets stays as it was, but its key is no longer good. */
        sim_set_keys(s, "targets", "4", 1);
        sim_publish(s, "root timestamp");
        must_refuse(s, REFUSAL_BAD_SIGNATURE);
        sim_sign_with(s, "targets", "4");
        sim_publish(s, "targets snapshot timestamp");
        must_refresh(s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(client_without_a_root_asks_for_nothing),
                cmocka_unit_test(init_takes_only_a_root_that_signs_itself),
                cmocka_unit_test(init_does_not_replace_a_root),
                cmocka_unit_test(init_takes_an_expired_root),
                cmocka_unit_test(fifty_roots_in_a_row),
                cmocka_unit_test(more_roots_than_one_refresh_takes_come_with_the_next),
                cmocka_unit_test(root_chains),
                cmocka_unit_test(every_subset_of_signers),
                cmocka_unit_test(root_of_another_version_is_refused),
                cmocka_unit_test(forked_root_is_refused_by_who_followed_the_chain),
                cmocka_unit_test(skipped_root_stops_the_chain),
                cmocka_unit_test(other_document_as_root_is_refused),
                cmocka_unit_test(unsigned_documents_stop_the_refresh),
                cmocka_unit_test(keys_of_roles_do_not_sign_for_each_other),
                cmocka_unit_test(thresholds_of_the_other_roles),
                cmocka_unit_test(revoked_key_makes_stored_documents_useless),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
