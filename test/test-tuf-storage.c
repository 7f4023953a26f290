/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What TUF's client keeps: damaged, forged, out of date, cut off by a power failure at every write. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io.h"
#include "tuf-expect.h"

/* ---- what is stored -------------------------------------------------------------------------------------- */

static void damaged_stored_documents_are_fetched_again(void **state) {
        static const char *const files[] = { "timestamp.json", "snapshot.json", "targets.json" };
        static const char *const damages[] = { "", "{", "{}", "not json", NULL };

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                for (size_t j = 0; j < ELEMENTSOF(damages); j++) {
                        _cleanup_(sim_freep) Sim *s = sim_new();

                        must_refresh(s);
                        if (damages[j])
                                sim_put_text(&s->storage, files[i], damages[j]);
                        else
                                sim_remove(&s->storage, files[i]);
                        must_refresh(s);
                        must_store(s, "root 1, snapshot 1, targets 1, timestamp 1");
                }
}

static void forged_stored_documents_are_fetched_again(void **state) {
        static const char *const files[] = { "timestamp", "snapshot", "targets" };

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();
                _cleanup_free_ char *name = xasprintf("%s.json", files[i]), *forged = NULL;
                unsigned wrong = 9;

                must_refresh(s);
                json_object_set_new(sim_signed(s, files[i]), "version", json_integer(7));
                forged = sim_document(sim_signed(s, files[i]), &wrong, 1);
                sim_put_text(&s->storage, name, forged);
                must_refresh(s);
                must_store(s, "root 1, snapshot 1, targets 1, timestamp 1");
        }
}

static void stored_document_of_another_hash_is_fetched_again(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        SimFile *f;

        s->with_hashes = true;
        sim_publish(s, "targets snapshot timestamp");
        must_refresh(s);
        f = sim_find(&s->storage, "targets.json");
        f->data.data[f->data.size - 1] = ' ';
        must_refresh(s);
        must_have_asked(s, "2.root.json timestamp.json 2.targets.json");
}

static void damaged_root_is_not_replaced_by_itself(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();

        must_refresh(s);
        sim_put_text(&s->storage, "root.json", "{");
        must_refuse(s, REFUSAL_BAD_FORMAT);
        must_have_asked(s, "");
}

/* A state with everything that writes: two roots of which the first rotates keys, and new versions of all. */
static Sim *repository_with_news(void) {
        Sim *s = sim_new();

        sim_rotate(s, "timestamp", "1 4", 1);
        sim_publish(s, "root timestamp");
        must_refresh(s);
        sim_rotate(s, "timestamp", "1 5", 1);
        sim_publish(s, "root");
        sim_rotate(s, "snapshot", "6", 1);
        sim_publish(s, "root targets snapshot timestamp");
        return s;
}

static void power_cut_at_every_write(void **state) {
        unsigned n;

        {
                _cleanup_(sim_freep) Sim *s = repository_with_news();

                must_refresh(s);
                n = s->n_writes;
                assert_int_equal(n, 2 * 3 + 3); /* two roots with two removals each, three documents */
        }
        for (unsigned i = 1; i <= n; i++)
                for (int after = 0; after < 2; after++) {
                        _cleanup_(sim_freep) Sim *s = repository_with_news();

                        s->fail_write = i;
                        s->fail_after = after;
                        must_refuse(s, REFUSAL_SYSTEM);
                        s->fail_write = 0;
                        must_refresh(s);
                        must_store(s, "root 4, snapshot 2, targets 2, timestamp 3");
                }
}

/* A raised timestamp, the key that signed it revoked, another one kept: whenever the power goes, the machine gets out
 * of it. */
static void power_cut_does_not_keep_a_raised_version(void **state) {
        for (unsigned i = 1; i <= 6; i++)
                for (int after = 0; after < 2; after++) {
                        _cleanup_(sim_freep) Sim *s = sim_new();

                        sim_rotate(s, "timestamp", "1 4", 1);
                        sim_set_version(s, "timestamp", 99999);
                        sim_publish(s, "root timestamp");
                        must_refresh(s);
                        sim_rotate(s, "timestamp", "1 5", 1);
                        sim_set_version(s, "timestamp", 2);
                        sim_publish(s, "root timestamp");
                        s->fail_write = i;
                        s->fail_after = after;
                        (void) sim_refresh(s);
                        s->fail_write = 0;
                        must_refresh(s);
                        must_store(s, "root 3, snapshot 1, targets 1, timestamp 2");
                }
}

static void load_works_without_a_server(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        const TufMetadata *m;

        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "A", .paths = "a/*" });
        sim_delegate(s, &(SimDelegation){ .from = "targets", .to = "B", .paths = "b/*" });
        sim_add_target(s, "A", "a/x", "x");
        sim_publish(s, "A B targets snapshot timestamp");
        must_refresh(s);
        assert_int_equal(find(s, "a/x"), 0);
        assert_int_equal(tuf_client_load(sim_client(s), false, &s->error), 0);
        assert_int_equal(find(s, "a/x"), 0);
        assert_int_equal(tuf_client_role(s->client, "A", &m, &s->error), 0);
        assert_true(find(s, "b/x") < 0); /* B was never fetched */
        assert_int_equal(s->error.id, REFUSAL_NOT_FOUND);
        must_have_asked(s, "");
}

static void load_judges_expiry_unless_told_not_to(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(all_roles); i++) {
                _cleanup_(sim_freep) Sim *s = sim_new();

                sim_expire(s, all_roles[i], SIM_NOW + SIM_DAY);
                sim_publish(s, "root targets snapshot timestamp");
                must_refresh(s);
                s->now += 2 * SIM_DAY;
                assert_true(tuf_client_load(sim_client(s), false, &s->error) < 0);
                assert_int_equal(s->error.id, REFUSAL_EXPIRED);
                assert_null(tuf_client_targets(s->client));
                assert_int_equal(tuf_client_load(sim_client(s), true, NULL), 0);
                /* ...but a refresh by the same client does not forgive. */
                assert_true(tuf_client_refresh(s->client, NULL, &s->error) < 0);
                assert_int_equal(s->error.id, REFUSAL_EXPIRED);
        }
}

static void load_refuses_a_storage_that_does_not_fit_together(void **state) {
        static const struct {
                const char *file;
                Refusal id;
        } cases[] = { { "timestamp.json", REFUSAL_NOT_FOUND },
                      { "snapshot.json", REFUSAL_NOT_FOUND },
                      { "targets.json", REFUSAL_NOT_FOUND },
                      { "root.json", REFUSAL_NOT_FOUND } };
        _cleanup_(sim_freep) Sim *s = sim_new();
        _cleanup_buffer_ Buffer old = {};
        const SimFile *f;

        must_refresh(s);
        f = sim_find(&s->storage, "targets.json");
        buffer_append(&old, f->data.data, f->data.size);
        sim_publish(s, "targets snapshot timestamp");
        must_refresh(s);
        sim_put(&s->storage, "targets.json", old.data, old.size);
        assert_true(tuf_client_load(sim_client(s), true, &s->error) < 0);
        assert_int_equal(s->error.id, REFUSAL_MIXED);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                must_refresh(s);
                sim_remove(&s->storage, cases[i].file);
                assert_true(tuf_client_load(sim_client(s), true, &s->error) < 0);
                assert_int_equal(s->error.id, cases[i].id);
                if (!streq(cases[i].file, "root.json"))
                        must_refresh(s);
        }
}

static void folder_storage_reads_what_it_wrote(void **state) {
        _cleanup_(sim_freep) Sim *s = sim_new();
        _cleanup_(tuf_client_freep) TufClient *c = NULL;
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *path = NULL;
        const SimFile *root = sim_find(&s->server, "1.root.json");
        TufFolder folder;
        TufStorage storage;
        Buffer data = {};

        assert_int_equal(io_temporary_folder("tuf", &path, NULL), 0);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        folder = (TufFolder){ .dir_fd = fd };
        storage = tuf_storage_folder(&folder);
        c = tuf_client_new((TufTransport){ .fetch = sim_fetch, .userdata = s }, storage, SIM_NOW);
        assert_int_equal(tuf_client_init(c, root->data.data, root->data.size, NULL), 0);
        assert_int_equal(tuf_client_refresh(c, NULL, NULL), 0);
        assert_int_equal(tuf_client_load(c, false, NULL), 0);
        assert_true(io_exists(fd, "snapshot.json"));
        assert_int_equal(storage.remove(storage.userdata, "snapshot.json", NULL), 0);
        assert_int_equal(storage.remove(storage.userdata, "snapshot.json", NULL), 0);
        assert_int_equal(storage.load(storage.userdata, "snapshot.json", 100, &data, NULL), 1);
        assert_true(storage.load(storage.userdata, "root.json", 10, &data, &s->error) < 0);
        assert_int_equal(s->error.id, REFUSAL_TOO_LARGE);
        assert_int_equal(io_remove_tree(AT_FDCWD, path, NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(damaged_stored_documents_are_fetched_again),
                cmocka_unit_test(forged_stored_documents_are_fetched_again),
                cmocka_unit_test(stored_document_of_another_hash_is_fetched_again),
                cmocka_unit_test(damaged_root_is_not_replaced_by_itself),
                cmocka_unit_test(power_cut_at_every_write),
                cmocka_unit_test(power_cut_does_not_keep_a_raised_version),
                cmocka_unit_test(load_works_without_a_server),
                cmocka_unit_test(load_judges_expiry_unless_told_not_to),
                cmocka_unit_test(load_refuses_a_storage_that_does_not_fit_together),
                cmocka_unit_test(folder_storage_reads_what_it_wrote),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
