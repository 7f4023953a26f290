/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client workflow of The Update Framework against repositories that are honest, careless, or stolen: requests,
 * versions, expiry. What test-tuf-key and test-tuf-metadata say about single documents is not said again. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tuf-expect.h"

/* ---- the ordinary case ----------------------------------------------------------------------------------- */

static void first_refresh_asks_for_each_document_once(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        must_refresh(s);
        must_have_asked(s, "2.root.json timestamp.json 1.snapshot.json 1.targets.json");
        must_store(s, "root 1, snapshot 1, targets 1, timestamp 1");
        assert_true(s->changed);
        assert_int_equal(tuf_client_targets(s->client)->version, 1);
}

static void documents_are_stored_byte_for_byte(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        SimFile *f = sim_find(&s->server, "timestamp.json");

        buffer_puts(&f->data, " \n ");
        must_refresh(s);
        assert_string_equal(sim_find(&s->storage, "timestamp.json")->data.data, f->data.data);
}

static void nothing_new_costs_two_requests(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        must_refresh(s);
        must_refresh(s);
        must_have_asked(s, "2.root.json timestamp.json");
        assert_false(s->changed);
        s->not_modified = true;
        must_refresh(s);
        must_have_asked(s, "2.root.json timestamp.json");
        assert_int_equal(tuf_client_targets(s->client)->version, 1);
        assert_false(s->changed);
}

static void not_modified_is_no_excuse_for_what_was_never_accepted(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        must_refresh(s);
        s->not_modified = true;
        sim_remove(&s->storage, "timestamp.json");
        must_refresh(s); /* without a condition */
        must_store(s, "root 1, snapshot 1, targets 1, timestamp 1");
}

static void new_versions_are_fetched_and_old_ones_kept(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        must_refresh(s);
        sim_publish(s, "snapshot timestamp");
        must_refresh(s);
        must_have_asked(s, "2.root.json timestamp.json 2.snapshot.json");
        assert_true(s->changed);
        must_store(s, "root 1, snapshot 2, targets 1, timestamp 2");
}

static void repository_without_consistent_snapshots(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        const TufTarget *t;

        json_object_set_new(sim_signed(s, "root"), "consistent_snapshot", json_false());
        sim_add_target(s, "targets", "a/b", "text");
        sim_publish(s, "root targets snapshot timestamp");
        must_refresh(s);
        must_have_asked(s, "2.root.json 3.root.json timestamp.json snapshot.json targets.json");
        assert_int_equal(tuf_client_find_target(s->client, "a/b", &t, NULL), 0);
        {
                _cleanup_free_ char *location = tuf_client_target_location(s->client, t);

                assert_string_equal(location, "a/b");
        }
}

static void target_location_has_the_hash_in_its_last_component(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        _cleanup_free_ char *location = NULL;
        const TufTarget *t;

        sim_add_target(s, "targets", "a/b/c.txt", "hello");
        sim_publish(s, "targets snapshot timestamp");
        must_refresh(s);
        assert_int_equal(tuf_client_find_target(s->client, "a/b/c.txt", &t, NULL), 0);
        location = tuf_client_target_location(s->client, t);
        assert_string_equal(location, "a/b/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.c.txt");
}

static void lengths_and_hashes_are_checked(void **state) {
        static const char *const files[] = { "2.snapshot.json", "2.targets.json" };

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();
                SimFile *f;

                s->with_hashes = true;
                sim_publish(s, "targets snapshot timestamp");
                f = sim_find(&s->server, files[i]);
                buffer_puts(&f->data, " ");
                must_refuse(s, REFUSAL_TOO_LARGE);
                s->ignore_limits = true;
                must_refuse(s, REFUSAL_TOO_LARGE);
                f->data.data[--f->data.size] = 0;
                f->data.data[f->data.size - 1] = ' '; /* for the newline: the same to every parser */
                must_refuse(s, REFUSAL_HASH_MISMATCH);
                f->data.data[f->data.size - 1] = '\n';
                must_refresh(s);
        }
}

static void endless_documents_are_refused(void **state) {
        static const struct {
                const char *file;
                size_t max;
        } cases[] = { { "2.root.json", TUF_ROOT_MAX },
                      { "timestamp.json", TUF_TIMESTAMP_MAX },
                      { "1.snapshot.json", TUF_SNAPSHOT_MAX },
                      { "1.targets.json", TUF_TARGETS_MAX } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                for (int ignore = 0; ignore < 2; ignore++) {
                        _cleanup_(sim_freep) Sim *s = sim_new();
                        _cleanup_free_ char *junk = xmalloc(cases[i].max + 1);

                        memset(junk, ' ', cases[i].max + 1);
                        sim_put(&s->server, cases[i].file, junk, cases[i].max + 1);
                        s->ignore_limits = ignore;
                        must_refuse(s, REFUSAL_TOO_LARGE);
                }
}

static void missing_or_unreachable_documents_keep_what_there_is(void **state) {
        static const struct {
                const char *file, *stored;
        } cases[] = { { "timestamp.json", "root 1, snapshot 1, targets 1, timestamp 1" },
                      { "2.snapshot.json", "root 1, snapshot 1, targets 1, timestamp 2" },
                      { "2.targets.json", "root 1, snapshot 2, targets 1, timestamp 2" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                for (int away = 0; away < 2; away++) {
                        _cleanup_(sim_freep) Sim *s = sim_new();

                        must_refresh(s);
                        sim_publish(s, "targets snapshot timestamp");
                        if (away)
                                s->unreachable = cases[i].file;
                        else
                                sim_remove(&s->server, cases[i].file);
                        must_refuse(s, REFUSAL_DOWNLOAD);
                        must_store(s, cases[i].stored);
                }
}

static void unreachable_server_is_not_an_absent_root(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        s->unreachable = "2.root.json";
        must_refuse(s, REFUSAL_DOWNLOAD);
        must_have_asked(s, "2.root.json");
}

/* ---- versions -------------------------------------------------------------------------------------------- */

static void timestamp_never_goes_back(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_publish(s, "timestamp");
        must_refresh(s);
        sim_set_version(s, "timestamp", 1);
        sim_publish(s, "timestamp");
        must_refuse(s, REFUSAL_ROLLBACK);
        must_store(s, "root 1, snapshot 1, targets 1, timestamp 2");
        must_have_asked(s, "2.root.json timestamp.json");
}

static void timestamp_with_the_same_version_changes_nothing(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        _cleanup_free_ char *before = NULL;

        must_refresh(s);
        before = xstrdup(sim_find(&s->storage, "timestamp.json")->data.data);
        sim_publish(s, "snapshot");
        sim_set_version(s, "timestamp", 1);
        sim_publish(s, "timestamp"); /* lists snapshot 2 */
        must_refresh(s);
        must_have_asked(s, "2.root.json timestamp.json");
        assert_false(s->changed);
        assert_string_equal(sim_find(&s->storage, "timestamp.json")->data.data, before);
}

static void snapshot_never_goes_back(void **state) {
        for (int hashes = 0; hashes < 2; hashes++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                s->with_hashes = hashes;
                sim_publish(s, "snapshot timestamp");
                must_refresh(s);
                sim_set_version(s, "snapshot", 1);
                sim_publish(s, "snapshot timestamp");
                must_refuse(s, REFUSAL_ROLLBACK);
                must_store(s, "root 1, snapshot 2, targets 1, timestamp 2");
                must_have_asked(s, "2.root.json timestamp.json");
        }
}

/* The timestamp that would have told is lost, the snapshot itself is not. */
static void snapshot_never_goes_back_without_the_old_timestamp(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_publish(s, "snapshot timestamp");
        must_refresh(s);
        sim_put_text(&s->storage, "timestamp.json", "damaged");
        sim_set_version(s, "snapshot", 1);
        sim_publish(s, "snapshot timestamp");
        must_refuse(s, REFUSAL_ROLLBACK);
        must_have_asked(s, "2.root.json timestamp.json 1.snapshot.json");
}

static void targets_never_go_back(void **state) {
        for (int hashes = 0; hashes < 2; hashes++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                s->with_hashes = hashes;
                sim_publish(s, "targets snapshot timestamp");
                must_refresh(s);
                sim_set_version(s, "targets", 1);
                sim_publish(s, "targets snapshot timestamp");
                must_refuse(s, REFUSAL_ROLLBACK);
                must_store(s, "root 1, snapshot 2, targets 2, timestamp 3");
        }
}

static void delegated_roles_never_go_back_and_never_vanish(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A" });
        sim_publish(s, "A A targets snapshot timestamp");
        must_refresh(s); /* A itself was never fetched, only listed */
        sim_set_version(s, "A", 1);
        sim_publish(s, "A snapshot timestamp");
        must_refuse(s, REFUSAL_ROLLBACK);
        sim_set_version(s, "A", 3);
        sim_publish(s, "A");
        json_object_del(json_object_get(sim_signed(s, "snapshot"), "meta"), "A.json");
        sim_publish(s, "snapshot timestamp");
        must_refuse(s, REFUSAL_ROLLBACK);
        sim_publish(s, "A snapshot timestamp");
        must_refresh(s);
}

static void documents_with_another_version_than_listed_are_mixed(void **state) {
        static const struct {
                const char *role, *file, *key, *stored;
        } cases[] = { { "snapshot", "2.snapshot.json", "2", "root 1, timestamp 2" },
                      { "targets", "2.targets.json", "3", "root 1, snapshot 2, timestamp 2" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                for (int version = 1; version <= 3; version += 2) {
                        _cleanup_(sim_freep) Sim *s = sim_new();

                        sim_publish(s, "targets snapshot timestamp");
                        json_object_set_new(sim_signed(s, cases[i].role), "version", json_integer(version));
                        serve_instead(s, cases[i].file, sim_signed(s, cases[i].role), cases[i].key);
                        must_refuse(s, REFUSAL_MIXED);
                        must_store(s, cases[i].stored);
                }
}

static void snapshot_must_list_targets(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        json_object_del(json_object_get(sim_signed(s, "snapshot"), "meta"), "targets.json");
        sim_publish(s, "snapshot timestamp");
        must_refuse(s, REFUSAL_BAD_FORMAT);
}

static void swapped_documents_are_refused(void **state) {
        static const struct {
                const char *to, *from;
        } cases[] = { { "timestamp.json", "1.snapshot.json" }, { "timestamp.json", "1.root.json" },
                      { "1.snapshot.json", "timestamp.json" }, { "1.snapshot.json", "1.targets.json" },
                      { "1.targets.json", "1.snapshot.json" }, { "1.targets.json", "1.root.json" },
                      { "2.root.json", "1.targets.json" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();
                _cleanup_buffer_ Buffer copy = {};
                const SimFile *f = sim_find(&s->server, cases[i].from);

                buffer_append(&copy, f->data.data, f->data.size);
                sim_put(&s->server, cases[i].to, copy.data, copy.size);
                must_refuse(s, REFUSAL_BAD_FORMAT);
        }
}

/* ---- fast-forward attacks -------------------------------------------------------------------------------- */

static void raised_timestamp_is_recovered_by_new_keys(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_set_version(s, "timestamp", 99999);
        sim_publish(s, "timestamp");
        must_refresh(s);
        sim_set_version(s, "timestamp", 2);
        sim_publish(s, "timestamp");
        must_refuse(s, REFUSAL_ROLLBACK);
        sim_rotate(s, "timestamp", "4", 1);
        sim_set_version(s, "timestamp", 2);
        sim_publish(s, "root timestamp");
        must_refresh(s);
        must_store(s, "root 2, snapshot 1, targets 1, timestamp 2");
}

static void raised_snapshot_is_recovered_by_new_keys(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_set_version(s, "snapshot", 99999);
        sim_publish(s, "snapshot timestamp");
        must_refresh(s);
        sim_rotate(s, "snapshot", "4", 1);
        sim_rotate(s, "timestamp", "5", 1);
        sim_set_version(s, "snapshot", 2);
        sim_publish(s, "root snapshot timestamp");
        must_refresh(s);
        must_store(s, "root 2, snapshot 2, targets 1, timestamp 3");
}

static void raised_targets_are_recovered_by_a_new_snapshot_key(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_set_version(s, "targets", 99999);
        sim_publish(s, "targets snapshot timestamp");
        must_refresh(s);
        sim_rotate(s, "snapshot", "4", 1);
        sim_set_version(s, "targets", 2);
        sim_publish(s, "root targets snapshot timestamp");
        must_refresh(s);
        must_store(s, "root 2, snapshot 3, targets 2, timestamp 3");
}

/* One of two keys was stolen and goes; documents signed by the other would still hold. */
static void losing_one_of_two_keys_is_enough_for_recovery(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_rotate(s, "timestamp", "1 4", 1);
        sim_set_version(s, "timestamp", 99999);
        sim_publish(s, "root timestamp");
        must_refresh(s);
        sim_rotate(s, "timestamp", "1 5", 1);
        sim_set_version(s, "timestamp", 2);
        sim_publish(s, "root timestamp");
        must_refresh(s);
        must_store(s, "root 3, snapshot 1, targets 1, timestamp 2");
}

static void added_key_does_not_forget_versions(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_publish(s, "timestamp");
        must_refresh(s);
        sim_rotate(s, "timestamp", "1 4", 2);
        sim_set_version(s, "timestamp", 1);
        sim_publish(s, "root timestamp");
        /* The stored one has too few signatures now, so only what the snapshot knows is left. */
        must_refresh(s);
        sim_set_keys(s, "timestamp", "1 4 5", 2);
        sim_publish(s, "root timestamp");
        must_refresh(s);
        sim_set_version(s, "timestamp", 1);
        sim_publish(s, "timestamp");
        must_refuse(s, REFUSAL_ROLLBACK);
}

/* ---- expiry ---------------------------------------------------------------------------------------------- */

static void expired_documents_are_not_accepted(void **state) {
        static const char *const stored[] = { "root 2, snapshot 1, targets 1, timestamp 1",
                                              "root 2, snapshot 1, targets 1, timestamp 1",
                                              "root 2, snapshot 1, targets 1, timestamp 2",
                                              "root 2, snapshot 2, targets 1, timestamp 2" };

        for (size_t i = 0; i < ELEMENTSOF(all_roles); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                must_refresh(s);
                sim_expire(s, all_roles[i], SIM_NOW); /* to the second: no longer good */
                sim_publish(s, "root targets snapshot timestamp");
                must_refuse(s, REFUSAL_EXPIRED);
                must_store(s, stored[i]);
                s->now--;
                must_refresh(s);
        }
}

static void stored_documents_expire_too(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(all_roles); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_expire(s, all_roles[i], SIM_NOW + SIM_DAY);
                sim_publish(s, "root targets snapshot timestamp");
                must_refresh(s);
                s->now += SIM_DAY;
                must_refuse(s, REFUSAL_EXPIRED);
                sim_expire(s, all_roles[i], SIM_NOW + 2 * SIM_DAY);
                sim_publish(s, "root targets snapshot timestamp");
                must_refresh(s);
        }
}

static void expired_timestamp_still_knows_its_version(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_expire(s, "timestamp", SIM_NOW + SIM_DAY);
        sim_publish(s, "timestamp");
        must_refresh(s);
        s->now += 2 * SIM_DAY;
        sim_expire(s, "timestamp", SIM_NOW + 5 * SIM_DAY);
        sim_set_version(s, "timestamp", 1);
        sim_publish(s, "timestamp");
        must_refuse(s, REFUSAL_ROLLBACK);
}

/* ---- the same client again ------------------------------------------------------------------------------- */

static void client_can_refresh_many_times(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A" });
        sim_publish(s, "A targets snapshot timestamp");
        must_refresh(s);
        assert_int_equal(find(s, "x"), 1);
        sim_add_target(s, "A", "x", "x");
        sim_publish(s, "A snapshot timestamp");
        assert_int_equal(tuf_client_refresh(s->client, &s->changed, &s->error), 0);
        assert_true(s->changed);
        assert_int_equal(find(s, "x"), 0);
        sim_expire(s, "timestamp", SIM_NOW);
        sim_publish(s, "timestamp");
        assert_true(tuf_client_refresh(s->client, &s->changed, &s->error) < 0);
        assert_null(tuf_client_targets(s->client));
        assert_true(find(s, "x") < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(first_refresh_asks_for_each_document_once),
                cmocka_unit_test(documents_are_stored_byte_for_byte),
                cmocka_unit_test(nothing_new_costs_two_requests),
                cmocka_unit_test(not_modified_is_no_excuse_for_what_was_never_accepted),
                cmocka_unit_test(new_versions_are_fetched_and_old_ones_kept),
                cmocka_unit_test(repository_without_consistent_snapshots),
                cmocka_unit_test(target_location_has_the_hash_in_its_last_component),
                cmocka_unit_test(lengths_and_hashes_are_checked),
                cmocka_unit_test(endless_documents_are_refused),
                cmocka_unit_test(missing_or_unreachable_documents_keep_what_there_is),
                cmocka_unit_test(unreachable_server_is_not_an_absent_root),
                cmocka_unit_test(timestamp_never_goes_back),
                cmocka_unit_test(timestamp_with_the_same_version_changes_nothing),
                cmocka_unit_test(snapshot_never_goes_back),
                cmocka_unit_test(snapshot_never_goes_back_without_the_old_timestamp),
                cmocka_unit_test(targets_never_go_back),
                cmocka_unit_test(delegated_roles_never_go_back_and_never_vanish),
                cmocka_unit_test(documents_with_another_version_than_listed_are_mixed),
                cmocka_unit_test(snapshot_must_list_targets),
                cmocka_unit_test(swapped_documents_are_refused),
                cmocka_unit_test(raised_timestamp_is_recovered_by_new_keys),
                cmocka_unit_test(raised_snapshot_is_recovered_by_new_keys),
                cmocka_unit_test(raised_targets_are_recovered_by_a_new_snapshot_key),
                cmocka_unit_test(losing_one_of_two_keys_is_enough_for_recovery),
                cmocka_unit_test(added_key_does_not_forget_versions),
                cmocka_unit_test(expired_documents_are_not_accepted),
                cmocka_unit_test(stored_documents_expire_too),
                cmocka_unit_test(expired_timestamp_still_knows_its_version),
                cmocka_unit_test(client_can_refresh_many_times),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
