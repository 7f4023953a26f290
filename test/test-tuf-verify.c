/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which signatures of a document of The Update Framework count, and which content is the one announced. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io.h"
#include "tuf-metadata.h"

#define CONTENT                                                                                                        \
        "{\"_type\":\"targets\",\"spec_version\":\"1.0.34\",\"version\":7,\"expires\":\"2030-01-01T00:00:00Z\","       \
        "\"targets\":{}}"

/* ---- signatures ---------------------------------------------------------------------------------------------- */

#define SIGNERS 5

typedef struct Signers {
        char *folder;
        PrivateKey *private[SIGNERS];
        TufKey *public[SIGNERS];
        json_t *signature[SIGNERS]; /* over the document below */
        TufMetadata *document;
} Signers;

static json_t *signature_of(const Signers *s, size_t i, const char *key_id, const Buffer *canonical) {
        _cleanup_free_ void *signature = NULL;
        _cleanup_free_ char *hex = NULL;
        size_t size;

        assert_int_equal(
                tuf_sign(s->private[i], s -> public[i], canonical -> data, canonical -> size, &signature, &size, NULL),
                0);
        hex = hex_encode(signature, size);
        return json_pack("{s:s, s:s}", "keyid", key_id, "sig", hex);
}

static TufMetadata *unsigned_document(void) {
        static const char text[] = "{\"signatures\":[],\"signed\":" CONTENT "}";
        TufMetadata *m = NULL;

        assert_int_equal(tuf_metadata_parse(TUF_TARGETS, text, strlen(text), "test", &m, NULL), 0);
        return m;
}

static int set_up(void **state) {
        static const char *const types[SIGNERS] = { "ed25519", "ecdsa", "ed25519", "rsa", "ecdsa" };
        Signers *s = xnew(Signers, 1);

        assert_int_equal(io_temporary_folder("test-tuf-metadata", &s->folder, NULL), 0);
        s->document = unsigned_document();
        for (size_t i = 0; i < SIGNERS; i++) {
                _cleanup_free_ char *path = xasprintf("%s/%zu.key", s->folder, i);

                assert_int_equal(tuf_generate_key(types[i], path, NULL), 0);
                assert_int_equal(tuf_signer_load(path, &s->private[i], NULL), 0);
                assert_int_equal(tuf_key_from_private(s->private[i], &s -> public[i], NULL), 0);
                s->signature[i] = signature_of(s, i, tuf_key_id(s->public[i]), &s->document->canonical);
        }
        *state = s;
        return 0;
}

static int tear_down(void **state) {
        Signers *s = *state;

        io_remove_tree(AT_FDCWD, s->folder, NULL);
        for (size_t i = 0; i < SIGNERS; i++) {
                private_key_free(s->private[i]);
                tuf_key_free(s->public[i]);
                json_decref(s->signature[i]);
        }
        tuf_metadata_free(s->document);
        free(s->folder);
        free(s);
        return 0;
}

static int compare_ids(const void *a, const void *b) {
        return strcmp(tuf_key_id(*(TufKey *const *) a), tuf_key_id(*(TufKey *const *) b));
}

static TufMetadata *signed_by(const Signers *s, unsigned mask) {
        _cleanup_json_ json_t *document =
                json_pack("{s:[], s:O}", "signatures", "signed", json_object_get(s->document->document, "signed"));
        _cleanup_free_ char *text = NULL;
        TufMetadata *m = NULL;

        for (size_t i = 0; i < SIGNERS; i++)
                if (mask & 1U << i)
                        json_array_append(json_object_get(document, "signatures"), s->signature[i]);
        text = json_dumps(document, JSON_INDENT(1));
        assert_int_equal(tuf_metadata_parse(TUF_TARGETS, text, strlen(text), "test", &m, NULL), 0);
        return m;
}

static void every_subset_of_signers_counts_as_what_it_is(void **state) {
        Signers *s = *state;

        for (size_t n = 1; n <= SIGNERS; n++) {
                TufKey *sorted[SIGNERS];
                const TufKeys keys = { sorted, SIGNERS };
                _cleanup_strv_free_ char **ids = NULL;

                memcpy(sorted, s->public, sizeof(sorted));
                qsort(sorted, SIGNERS, sizeof(TufKey *), compare_ids);
                for (size_t i = 0; i < n; i++)
                        strv_extend(&ids, tuf_key_id(s->public[i]));
                for (unsigned mask = 0; mask < 1U << SIGNERS; mask++) {
                        _cleanup_(tuf_metadata_freep) TufMetadata *m = signed_by(s, mask);
                        /* Signatures of keys that are not the role's do not count. */
                        size_t expected = (size_t) __builtin_popcount(mask & ((1U << n) - 1));

                        for (size_t threshold = 1; threshold <= SIGNERS; threshold++) {
                                const TufRole role = { ids, threshold };
                                _cleanup_error_ Error e = {};

                                assert_int_equal(tuf_count_signatures(m, &keys, &role), expected);
                                assert_int_equal(tuf_verify(m, &keys, &role, "test", &e) == 0, expected >= threshold);
                                assert_int_equal(e.id, expected >= threshold ? REFUSAL_NONE : REFUSAL_BAD_SIGNATURE);
                        }
                }
        }
}

static void one_key_with_several_ids_counts_once(void **state) {
        Signers *s = *state;

        for (size_t i = 0; i < SIGNERS; i++) {
                _cleanup_json_ json_t *document = json_pack("{s:[], s:O}", "signatures", "signed",
                                                            json_object_get(s->document->document, "signed"));
                _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
                const TufRole role = { (char *[]){ (char *) "0", (char *) "1", (char *) "2", (char *) "gone", NULL },
                                       2 };
                TufKey *items[3];
                const TufKeys keys = { items, 3 };
                _cleanup_free_ char *text = NULL;

                for (size_t j = 0; j < 3; j++) {
                        const char id[] = { (char) ('0' + j), 0 };

                        assert_int_equal(tuf_key_parse(id, tuf_key_object(s->public[i]), &items[j], NULL), 0);
                        json_array_append_new(json_object_get(document, "signatures"),
                                              signature_of(s, i, id, &s->document->canonical));
                }
                text = json_dumps(document, 0);
                assert_int_equal(tuf_metadata_parse(TUF_TARGETS, text, strlen(text), "test", &m, NULL), 0);
                assert_int_equal(tuf_count_signatures(m, &keys, &role), 1);
                assert_true(tuf_verify(m, &keys, &role, "test", NULL) < 0);
                for (size_t j = 0; j < 3; j++)
                        tuf_key_free(items[j]);
        }
}

/* A signature that does not hold may not hide one of the same key under another id, either. */
static void damaged_signatures_do_not_count_and_are_no_error(void **state) {
        Signers *s = *state;
        const char *hex = json_string_value(json_object_get(s->signature[0], "sig"));
        _cleanup_free_ char *capitals = xstrdup(hex), *cut = xstrndup(hex, 126), *odd = xstrndup(hex, 127),
                            *longer = xasprintf("%s00", hex),
                            *huge = xasprintf("%0*d", (int) (2 * TUF_SIGNATURE_MAX + 2), 0),
                            *spaced = xasprintf(" %s", hex);
        const char *const cases[] = { "", "zz", cut, odd, longer, huge, spaced, capitals };
        const TufRole role = { (char *[]){ (char *) "a", (char *) "b", NULL }, 1 };
        TufKey *items[2];
        const TufKeys keys = { items, 2 };

        for (char *p = capitals; *p; p++)
                *p = *p >= 'a' ? (char) (*p - 'a' + 'A') : *p;
        assert_int_equal(tuf_key_parse("a", tuf_key_object(s->public[0]), &items[0], NULL), 0);
        assert_int_equal(tuf_key_parse("b", tuf_key_object(s->public[0]), &items[1], NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                for (size_t good_ones = 0; good_ones < 2; good_ones++) {
                        _cleanup_json_ json_t *document =
                                json_pack("{s:[{s:s, s:s}], s:O}", "signatures", "keyid", "a", "sig", cases[i],
                                          "signed", json_object_get(s->document->document, "signed"));
                        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
                        _cleanup_free_ char *text = NULL;

                        if (good_ones)
                                json_array_append_new(json_object_get(document, "signatures"),
                                                      signature_of(s, 0, "b", &s->document->canonical));
                        text = json_dumps(document, 0);
                        assert_int_equal(tuf_metadata_parse(TUF_TARGETS, text, strlen(text), "test", &m, NULL), 0);
                        assert_int_equal(tuf_count_signatures(m, &keys, &role), good_ones);
                }
        tuf_key_free(items[0]);
        tuf_key_free(items[1]);
}

static void no_bit_of_a_signed_document_can_change(void **state) {
        Signers *s = *state;
        TufKey *items[] = { s->public[0] };
        const TufKeys keys = { items, 1 };
        const TufRole role = { (char *[]){ (char *) tuf_key_id(s->public[0]), NULL }, 1 };
        _cleanup_(tuf_metadata_freep) TufMetadata *whole = signed_by(s, 1);
        _cleanup_free_ char *text = json_dumps(whole->document, JSON_COMPACT);
        size_t size = strlen(text);

        assert_int_equal(tuf_verify(whole, &keys, &role, "test", NULL), 0);
        for (size_t bit = 0; bit < 8 * size; bit++) {
                _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;

                text[bit / 8] = (char) (text[bit / 8] ^ 1 << bit % 8);
                if (tuf_metadata_parse(TUF_TARGETS, text, size, "test", &m, NULL) >= 0 &&
                    tuf_verify(m, &keys, &role, "test", NULL) >= 0)
                        fail_msg("bit %zu changes nothing: %s", bit, text);
                text[bit / 8] = (char) (text[bit / 8] ^ 1 << bit % 8);
        }
        for (size_t n = 0; n < size; n++) {
                TufMetadata *m = NULL;

                assert_true(tuf_metadata_parse(TUF_TARGETS, text, n, "test", &m, NULL) < 0);
        }
}

/* ---- hashes -------------------------------------------------------------------------------------------------- */

static void length_and_every_hash_must_fit(void **state) {
        TufMeta meta = { .name = (char *) "x.json", .version = 1 };
        Error e = {};

        assert_int_equal(tuf_check_meta(&meta, "abc", 3, NULL), 0);
        meta.has_length = true;
        meta.length = 3;
        assert_int_equal(tuf_check_meta(&meta, "abc", 3, NULL), 0);
        assert_true(tuf_check_meta(&meta, "abc", 2, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
        meta.hashes.has_sha256 = meta.hashes.has_sha512 = true;
        /* FIPS 180-4's examples */
        assert_true(sha256_from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                                    &meta.hashes.sha256));
        assert_true(hex_decode("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                               "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                               meta.hashes.sha512, 64));
        assert_int_equal(tuf_check_meta(&meta, "abc", 3, NULL), 0);
        assert_true(tuf_check_meta(&meta, "abd", 3, NULL) < 0);
        meta.hashes.sha512[63] ^= 1;
        assert_true(tuf_check_meta(&meta, "abc", 3, NULL) < 0);
        meta.hashes.sha512[63] ^= 1;
        meta.hashes.sha256.bytes[0] ^= 1;
        assert_true(tuf_check_hashes(&meta.hashes, "abc", 3, "x", &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
        error_done(&e);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_subset_of_signers_counts_as_what_it_is),
                cmocka_unit_test(one_key_with_several_ids_counts_once),
                cmocka_unit_test(damaged_signatures_do_not_count_and_are_no_error),
                cmocka_unit_test(no_bit_of_a_signed_document_can_change),
                cmocka_unit_test(length_and_every_hash_must_fit),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
