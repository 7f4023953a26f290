/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every single bit of every document, and every place where one can end: none of them may go unnoticed. The documents
 * are listed without lengths and hashes here, so that nothing but the signatures can notice; they have as many of these
 * as they need and not one more. */

#include "tuf-forge.h"

/* One key for each role: more of them would only take more time. */
static void leave_one_key(Forge *f, Doc doc, const char *role, Signer kept, Signer other) {
        _cleanup_free_ char *ids = xasprintf("[\"%s\"]", sim_key_id(kept)), *where = xasprintf("roles>%s>keyids", role),
                            *threshold = xasprintf("roles>%s>threshold", role),
                            *key = xasprintf("keys>%s", sim_key_id(other));

        forge_put(f, DOC_ROOT, where, ids);
        forge_put(f, DOC_ROOT, threshold, "1");
        forge_put(f, DOC_ROOT, key, NULL);
        f->signers[doc] = BY(kept);
        f->dirty[doc] = true;
}

static Forge *new_unlisted(void) {
        static const char *const lists[] = { "meta>targets.json>length", "meta>targets.json>hashes",
                                             "meta>stable.json>length", "meta>stable.json>hashes" };
        Forge *f = forge_new();

        f->unlisted = true;
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                forge_put(f, DOC_SNAPSHOT, lists[i], NULL);
        forge_put(f, DOC_TIMESTAMP, "meta>snapshot.json>length", NULL);
        forge_put(f, DOC_TIMESTAMP, "meta>snapshot.json>hashes", NULL);
        leave_one_key(f, DOC_ROOT, "root", SIGNER_ROOT_A, SIGNER_ROOT_B);
        leave_one_key(f, DOC_TARGETS, "targets", SIGNER_TARGETS_A, SIGNER_TARGETS_B);
        forge_put(f, DOC_ROOT, "version", "1");
        forge_publish(f);
        forge_trust(f);
        forge_put(f, DOC_ROOT, "version", "2");
        forge_publish(f);
        assert_int_equal(forge_refresh(f, "stable/x"), 0);
        return f;
}

static void is_refused(Forge *f, Doc doc, int r, const char *what, size_t where) {
        if (r >= 0)
                fail_msg("%s: accepted with %s %zu: ...%.40s", forge_doc_names[doc], what, where,
                         f->served[doc].data + (where / 8 > 20 ? where / 8 - 20 : 0));
        /* What is refused for another reason (a lack of something else) was not looked at. */
        if (f->sim->error.id != REFUSAL_BAD_FORMAT && f->sim->error.id != REFUSAL_BAD_SIGNATURE)
                fail_msg("%s: %s %zu: %s", forge_doc_names[doc], what, where, f->sim->error.message);
}

static int look_for_target(Sim *s) {
        const TufTarget *found = NULL;

        return tuf_client_find_target(s->client, "stable/x", &found, &s->error);
}

static int refresh_all(Forge *f) {
        int r = sim_refresh(f->sim);

        return r < 0 ? r : look_for_target(f->sim);
}

/* Forgets a document and those below it. What is above it was taken before. */
static void forget(Forge *f, Doc doc) {
        if (doc == DOC_ROOT) {
                sim_files_done(&f->sim->storage);
                sim_put(&f->sim->storage, "root.json", f->first_root.data, f->first_root.size);
        }
        for (; doc < _DOC_MAX; doc++)
                if (doc != DOC_ROOT)
                        sim_remove(&f->sim->storage, forge_files[doc]);
}

/* Served with one bit changed, to a client that lacks this document. */
static void flip_served(Doc doc) {
        _cleanup_(forge_freep) Forge *f = new_unlisted();
        Buffer *b = &f->served[doc];

        assert_int_equal(sim_refresh(f->sim), 0);
        for (size_t bit = 0; bit < b->size * 8; bit++) {
                b->data[bit / 8] ^= (char) (1 << bit % 8);
                forge_serve(f);
                forget(f, doc);
                /* A delegated role is fetched only when it is asked for, and asked for again if it was refused. */
                is_refused(f, doc, doc == DOC_STABLE ? look_for_target(f->sim) : refresh_all(f), "bit", bit);
                assert_null(sim_find(&f->sim->storage, doc == DOC_ROOT ? "timestamp.json" : forge_files[doc]));
                b->data[bit / 8] ^= (char) (1 << bit % 8);
        }
        forge_serve(f);
        assert_int_equal(refresh_all(f), 0);
        print_message("           %s: %zu bits\n", forge_doc_names[doc], b->size * 8);
}

static void every_flipped_bit_of_a_root_is_refused(void **state) {
        flip_served(DOC_ROOT);
}

static void every_flipped_bit_of_a_timestamp_is_refused(void **state) {
        flip_served(DOC_TIMESTAMP);
}

static void every_flipped_bit_of_a_snapshot_is_refused(void **state) {
        flip_served(DOC_SNAPSHOT);
}

static void every_flipped_bit_of_targets_is_refused(void **state) {
        flip_served(DOC_TARGETS);
}

static void every_flipped_bit_of_a_delegated_role_is_refused(void **state) {
        flip_served(DOC_STABLE);
}

static void every_flipped_bit_of_the_first_root_is_refused(void **state) {
        _cleanup_(forge_freep) Forge *f = new_unlisted();
        Buffer *b = &f->first_root;

        for (size_t bit = 0; bit < b->size * 8; bit++) {
                b->data[bit / 8] ^= (char) (1 << bit % 8);
                sim_files_done(&f->sim->storage);
                is_refused(f, DOC_ROOT, tuf_client_init(sim_client(f->sim), b->data, b->size, &f->sim->error), "bit",
                           bit);
                assert_int_equal(f->sim->storage.n_items, 0);
                b->data[bit / 8] ^= (char) (1 << bit % 8);
        }
        print_message("           first root: %zu bits\n", b->size * 8);
}

/* A disk that errs: what was stored is not believed either. */
static void every_flipped_bit_of_what_is_stored_is_refused(void **state) {
        _cleanup_(forge_freep) Forge *f = new_unlisted();
        Sim *s = f->sim;

        for (size_t i = 0; i < s->storage.n_items; i++) {
                Buffer *b = &s->storage.items[i].data;
                bool is_delegated = streq(s->storage.items[i].name, "stable.json");

                assert_int_equal(tuf_client_load(sim_client(s), false, &s->error), 0);
                for (size_t bit = 0; bit < b->size * 8; bit++) {
                        int r;

                        b->data[bit / 8] ^= (char) (1 << bit % 8);
                        r = is_delegated ? look_for_target(s) : tuf_client_load(sim_client(s), false, &s->error);
                        if (r >= 0)
                                fail_msg("%s: bit %zu was not noticed", s->storage.items[i].name, bit);
                        b->data[bit / 8] ^= (char) (1 << bit % 8);
                }
        }
        assert_int_equal(tuf_client_load(sim_client(s), false, &s->error), 0);
}

static void every_cut_document_is_refused(void **state) {
        _cleanup_(forge_freep) Forge *f = new_unlisted();

        for (Doc doc = 0; doc < _DOC_MAX; doc++) {
                Buffer *b = &f->served[doc];
                size_t size = b->size;

                for (b->size = 0; b->size < size; b->size++) {
                        forge_serve(f);
                        forget(f, doc);
                        is_refused(f, doc, refresh_all(f), "size", b->size);
                }
                forge_serve(f);
                assert_int_equal(refresh_all(f), 0);
        }
}

/* ---- the other kinds of signatures --------------------------------------------------------------------------- */

static void flip_document(EVP_PKEY *pkey, const char *name) {
        PrivateKey private = { .pkey = pkey, .name = (char *) name };
        _cleanup_(tuf_key_freep) TufKey *public = NULL;
        _cleanup_free_ char *hex = NULL, *text = NULL;
        _cleanup_free_ void *signature = NULL;
        _cleanup_error_ Error e = {};
        const char *content = "{\"_type\":\"timestamp\",\"expires\":\"" FORGE_EXPIRES
                              "\",\"meta\":{\"snapshot.json\":{\"version\":1}},\"spec_version\":\"1.0.34\","
                              "\"version\":1}";
        size_t size, n;

        assert_int_equal(tuf_key_from_private(&private, &public, &e), 0);
        assert_int_equal(tuf_sign(&private, public, content, strlen(content), &signature, &size, &e), 0);
        hex = hex_encode(signature, size);
        text = xasprintf("{\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"%s\"}],\"signed\":%s}", tuf_key_id(public), hex,
                         content);
        n = strlen(text);
        for (size_t bit = 0; bit <= n * 8; bit++) {
                TufKey *items[] = { public };
                char *ids[] = { (char *) tuf_key_id(public), NULL };
                _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
                const TufKeys keys = { .items = items, .n_items = 1 };
                const TufRole role = { .key_ids = ids, .threshold = 1 };
                int r;

                if (bit < n * 8)
                        text[bit / 8] ^= (char) (1 << bit % 8);
                r = tuf_metadata_parse(TUF_TIMESTAMP, text, n, name, &m, NULL);
                if (r >= 0)
                        r = tuf_verify(m, &keys, &role, name, NULL);
                if (r >= 0)
                        r = tuf_metadata_decode(m, name, NULL);
                /* The last round is the one without a change. */
                if ((r >= 0) != (bit == n * 8))
                        fail_msg("%s: bit %zu of %zu", name, bit, n * 8);
                if (bit < n * 8)
                        text[bit / 8] ^= (char) (1 << bit % 8);
        }
        EVP_PKEY_free(pkey);
}

static void every_flipped_bit_is_refused_with_other_kinds_of_keys(void **state) {
        flip_document(EVP_EC_gen("P-256"), "ECDSA");
        flip_document(EVP_RSA_gen(2048), "RSA");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_flipped_bit_of_a_root_is_refused),
                cmocka_unit_test(every_flipped_bit_of_a_timestamp_is_refused),
                cmocka_unit_test(every_flipped_bit_of_a_snapshot_is_refused),
                cmocka_unit_test(every_flipped_bit_of_targets_is_refused),
                cmocka_unit_test(every_flipped_bit_of_a_delegated_role_is_refused),
                cmocka_unit_test(every_flipped_bit_of_the_first_root_is_refused),
                cmocka_unit_test(every_flipped_bit_of_what_is_stored_is_refused),
                cmocka_unit_test(every_cut_document_is_refused),
                cmocka_unit_test(every_flipped_bit_is_refused_with_other_kinds_of_keys),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
