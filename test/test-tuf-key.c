/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Canonical JSON, keys and signatures of The Update Framework. Known answers come from the Python implementation of its
 * authors and from the specification's examples; OpenSSL's own command is the second opinion, SoftHSM the token. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "io.h"
#include "process.h"
#include "tuf-json.h"
#include "tuf-key.h"

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define MESSAGE "{\"_type\":\"timestamp\"}"

typedef struct Fixture {
        char *folder;
} Fixture;

/* What cryptography signed over MESSAGE, and the ids that securesystemslib computes. PSS once with 32 bytes of salt,
 * once with as many as fit. */
static const struct {
        TufScheme scheme;
        const char *type, *name, *public, *id, *signature;
} vectors[] = {
        { TUF_ED25519, "ed25519", "ed25519", "9564b7435a316ad36c1efc64ff2558d61083592ac0ea59ad12039154696427ee",
          "72eab682deccefc047ebdc3a45a0f1739842165dd724fb723abe993c74986d07",
          "7083d0354c6f47799ba3c2fb83483d75532da00a6ca866f5cc3286e9cec6d6376500cbd0d6b3c1f1fbe6d1e10f8f93a3"
          "b7d162a00d3a3baa83f96e6a0ae18a09" },
        { TUF_ECDSA_P256, "ecdsa", "ecdsa-sha2-nistp256",
          "-----BEGIN PUBLIC KEY-----\n"
          "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERyr8rL0GYT8LEHyavYtZC83ipiDK\n"
          "2jwkkpib/g+qOlY6SLpBo31JxCstpg2JznEBnFBLX0csIFAa4tSB83Zv4g==\n"
          "-----END PUBLIC KEY-----\n",
          "ff6e14ee35106354e28971d405623312e80f33ce5c7729b82b9a5128e366fd16",
          "3045022100df1d8ef034fce41a17fa584fef15690a9dfc2650b544c14ec269ea770fb24b0802201e7f9928c392194ed3"
          "51dbc6c3163ab61f8c41a2d3b753c0f88447f06e3b3353" },
        { TUF_ECDSA_P256, "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256",
          "-----BEGIN PUBLIC KEY-----\n"
          "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERyr8rL0GYT8LEHyavYtZC83ipiDK\n"
          "2jwkkpib/g+qOlY6SLpBo31JxCstpg2JznEBnFBLX0csIFAa4tSB83Zv4g==\n"
          "-----END PUBLIC KEY-----",
          "ec0763b9574b789f30774ae17c1190bea28771270f844accd2cf45bac0814eaf",
          "3044022034b2b21739b7b03313985b3aecf071a00257ad8d647c4a8729dbd06d8d67b46f022061587f3e8c63cd06a13d"
          "d8990b1d8ddf2fcd266c5ffe7791d7d7f1a5ee05ed71" },
        { TUF_RSA_PSS_SHA256, "rsa", "rsassa-pss-sha256",
          "-----BEGIN PUBLIC KEY-----\n"
          "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvxM/fSgoBvU4KP/dXH9C\n"
          "2T3WRaMnGd8Kv+7iYa2rl1zn8s4a70cRZsBimZxSJlUt8fwBZW7aar77SR5VpY+9\n"
          "0nolbMFqMi5XNXNWv1oqmbYaFdtuz0QDt5nuO6K48bYTakrCQPrMaBiwDGMdjZw2\n"
          "u4HrgBDE6yfhf+HWawPRIh1cd2zHVlJeIuCAWn2KumWHFJZ57g8xqx9f+Ci6FEh0\n"
          "xih1BQpW6NtPLfb8zrEo7brOMUSdWUqwSpCzVfpSQnJq9gTkxMw++YMd3qHvx6js\n"
          "PNuOBvCpjCFQwQiK0SYnQVgljbEPJDUXy583+9CSYEtLs4z1oJ2pyohHPAz2OqiE\n"
          "UQIDAQAB\n"
          "-----END PUBLIC KEY-----",
          "c800d52aa2eb2f0b2633e90bab54d1aeafdefabdebb455179776676a21cf3489",
          "32624fdecea44001e6977018f18c3128a7942e1a196835b3f2cf8705cb07b53bfe8ad0e081dad222ac2a3f5b059fb7b0"
          "34f9fbe645d6a86d88e3c17a855cbd55a323078e2f52c7d65ce8d355e7cd99b1ea7f03980eeb1c85313b93ed391b5df6"
          "9874d7f8fa45af48198f67670e2dadb77445c449b80e5189536759b621bca1b413a24b76857cb1f34887e4e71f1f8d1d"
          "8779cdba7451675162260053e1f46fc449327482906935ce249917068e61cbf4578e56b6ab3e521f76067dfcc6341caa"
          "eb6e559f1ebdc7b279cae8ba344602078116cbf79ff5070801ffc710328c687b51021ae8f4d31e5a77e604e2413e31fc"
          "1b610bb6d95e60381e721411125d57a2" },
        { TUF_RSA_PSS_SHA256, "rsa", "rsassa-pss-sha256",
          "-----BEGIN PUBLIC KEY-----\n"
          "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvxM/fSgoBvU4KP/dXH9C\n"
          "2T3WRaMnGd8Kv+7iYa2rl1zn8s4a70cRZsBimZxSJlUt8fwBZW7aar77SR5VpY+9\n"
          "0nolbMFqMi5XNXNWv1oqmbYaFdtuz0QDt5nuO6K48bYTakrCQPrMaBiwDGMdjZw2\n"
          "u4HrgBDE6yfhf+HWawPRIh1cd2zHVlJeIuCAWn2KumWHFJZ57g8xqx9f+Ci6FEh0\n"
          "xih1BQpW6NtPLfb8zrEo7brOMUSdWUqwSpCzVfpSQnJq9gTkxMw++YMd3qHvx6js\n"
          "PNuOBvCpjCFQwQiK0SYnQVgljbEPJDUXy583+9CSYEtLs4z1oJ2pyohHPAz2OqiE\n"
          "UQIDAQAB\n"
          "-----END PUBLIC KEY-----",
          "c800d52aa2eb2f0b2633e90bab54d1aeafdefabdebb455179776676a21cf3489",
          "53c5004e94b5a1775c7e601a970006d23763c883f6acb9f8a0e1bfdf8ee352a08f9ea37cde37f8572f16a53657f8a7a2"
          "eda287c483795841a227b693f38033d92da8a95a70277b5c9a36ca118b8814770ea69f947c57ffa4164d1a95c27ba238"
          "8a54abf1e5e6f2f9fb233f2656e43b92e40297b0b9b2dd8d5c39580dda6ffdec73680381636b8c3f28d3b3c4e2d715d3"
          "fba5c6a92580c3e82243466a945811a500eab0a7787ddd9a99880f51d8560f4228e76bcf9827ca698c5a60c850be0ad5"
          "50bf84994a95262ed36ea26a5f0d7ea74c70cd68abccfe74595c761b72c0130afc038de980ff7c8833b35791683fa7a7"
          "910bda3fd9af199175d70adf483c574b" },
        { TUF_RSA_PKCS1_SHA256, "rsa", "rsa-pkcs1v15-sha256",
          "-----BEGIN PUBLIC KEY-----\n"
          "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvxM/fSgoBvU4KP/dXH9C\n"
          "2T3WRaMnGd8Kv+7iYa2rl1zn8s4a70cRZsBimZxSJlUt8fwBZW7aar77SR5VpY+9\n"
          "0nolbMFqMi5XNXNWv1oqmbYaFdtuz0QDt5nuO6K48bYTakrCQPrMaBiwDGMdjZw2\n"
          "u4HrgBDE6yfhf+HWawPRIh1cd2zHVlJeIuCAWn2KumWHFJZ57g8xqx9f+Ci6FEh0\n"
          "xih1BQpW6NtPLfb8zrEo7brOMUSdWUqwSpCzVfpSQnJq9gTkxMw++YMd3qHvx6js\n"
          "PNuOBvCpjCFQwQiK0SYnQVgljbEPJDUXy583+9CSYEtLs4z1oJ2pyohHPAz2OqiE\n"
          "UQIDAQAB\n"
          "-----END PUBLIC KEY-----\n",
          "0f6e333a18121f5abbdb826e3e36a22b4d737b90ee31e450e788bb5d17aa7743",
          "7645b186cda1c42acaf685384109a91b8f9bb02a99724eb8375aa5dc69f0a9fed9abe2ada9124ed7f3e959d16447f0f9"
          "74d6bea50da0f1e91c41668ec86b10d828c4e638f0ae344963e5512997a6bc4a564cea0e2a6839bbfc81222a242a2eeb"
          "673c2c5c5f331f3afb468109cbfe60fa9f090cd01512045851ceeda822d008556d81ae4f43c1be10a2c915fe839eb21e"
          "e998e854592ec76bb885548c70fb322c49da70bdb07eb6d302cd90d9b6615dc8c4db53136a13eca8a945050836efe283"
          "4872ad17a6c7247274a646e61a667cecde304ef29159bf12fa4263064790cde1a5f4d73735c5ef3eeb5df4e510d36e5b"
          "abd8687a02bd6da71d636dbd02bd6be5" },
};

static int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);

        assert_int_equal(io_temporary_folder("test-tuf-key", &f->folder, NULL), 0);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f);
        return 0;
}

static void run_ok(const char *const *argv) {
        const ProcessOptions opt = { .merge_stderr = true };
        _cleanup_free_ char *output = NULL;
        Error e = {};

        if (process_run((char *const *) argv, &opt, &output, NULL, &e) < 0)
                fail_msg("%s: %s", e.message, output);
}

static json_t *key_object(const char *type, const char *scheme, const char *public) {
        return json_pack("{s:s, s:s, s:{s:s}}", "keytype", type, "scheme", scheme, "keyval", "public", public);
}

/* ---- canonical JSON ------------------------------------------------------------------------------------------ */

static void canonical_forms_are_those_of_the_reference(void **state) {
        static const struct {
                const char *text, *canonical;
        } cases[] = {
                { "{}", "{}" },
                { " [ 1 ,2,\t3 ]\n", "[1,2,3]" },
                { "\"\"", "\"\"" },
                { "{\"x\":3,\"y\":2}", "{\"x\":3,\"y\":2}" },
                { "{\"a\":{\"c\":1,\"b\":[true,false,null]},\"A\":-5}",
                  "{\"A\":-5,\"a\":{\"b\":[true,false,null],\"c\":1}}" },
                { "\"\\u0001\\t\\n\\u007f\"", "\"\001\t\n\177\"" },
                { "\"a\\\"b\\\\c\\/d\"", "\"a\\\"b\\\\c/d\"" },
                { "{\"\\u00e9\":1,\"z\":2,\"\\uffff\":3,\"\\ud83d\\ude00\":4,\"e\":5}",
                  "{\"e\":5,\"z\":2,\"\303\251\":1,\"\357\277\277\":3,\"\360\237\230\200\":4}" },
                { "{\"\\\"\":1,\"\\\\\":2,\"\":3,\" \":4}", "{\"\":3,\" \":4,\"\\\"\":1,\"\\\\\":2}" },
                { "[-0,0,9223372036854775807,-9223372036854775808]", "[0,0,9223372036854775807,-9223372036854775808]" },
                { "\"\\u2028\\u00df\"", "\"\342\200\250\303\237\"" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *value = json_loads(cases[i].text, JSON_DECODE_ANY, NULL);
                _cleanup_buffer_ Buffer b = {};

                assert_non_null(value);
                buffer_puts(&b, "before");
                assert_int_equal(tuf_canonical_encode(value, &b, NULL), 0);
                assert_memory_equal(b.data, "before", 6);
                assert_string_equal(b.data + 6, cases[i].canonical);
        }
}

static void numbers_that_are_not_integers_have_no_canonical_form(void **state) {
        static const char *const cases[] = { "1.0", "1e3", "-0.5", "[1,{\"a\":[0.0]}]" };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *value = json_loads(cases[i], JSON_DECODE_ANY, NULL);
                _cleanup_buffer_ Buffer b = {};
                _cleanup_error_ Error e = {};

                buffer_puts(&b, "before");
                assert_true(tuf_canonical_encode(value, &b, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
                assert_string_equal(b.data, "before");
                assert_int_equal(b.size, 6);
                assert_null(tuf_key_compute_id(value));
        }
}

/* ---- known answers ------------------------------------------------------------------------------------------- */

static void ids_are_those_of_the_specifications_examples(void **state) {
        static const char *const cases[][2] = {
                { "1bf1c6e3cdd3d3a8420b19199e27511999850f4b376c4547b2f32fba7e80fca3",
                  "72378e5bc588793e58f81c8533da64a2e8f1565c1fcc7f253496394ffc52542c" },
                { "135c2f50e57ff11e744d234a62cebad8c38daf399604a7655661cc9199c69164",
                  "68ead6e54a43f8f36f9717b10669d1ef0ebb38cee6b05317669341309f1069cb" },
                { "cb3fbd83df4ba2471a736b065650878280964a98843ec13b457a99b2a21cc3b4",
                  "66dd78c5c2a78abc6fc6b267ff1a8017ba0e8bfc853dd97af351949bba021275" },
                { "66676daa73bdfb4804b56070c8927ae491e2a6c2314f05b854dea94de8ff6bfc",
                  "01c61f8dc7d77fcef973f4267927541e355e8ceda757e2c402818dad850f856e" },
                { "f761033eb880143c52358d941d987ca5577675090e2215e856ba0099bc0ce4f6",
                  "b6e40fb71a6041212a3d84331336ecaa1f48a0c523f80ccc762a034c727606fa" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *object = key_object("ed25519", "ed25519", cases[i][1]);
                _cleanup_free_ char *id = tuf_key_compute_id(object);

                assert_string_equal(id, cases[i][0]);
        }
}

static void signatures_of_another_implementation_hold(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(vectors); i++) {
                _cleanup_json_ json_t *object = key_object(vectors[i].type, vectors[i].name, vectors[i].public);
                size_t size = strlen(vectors[i].signature) / 2;
                _cleanup_free_ uint8_t *signature = xmalloc(size + 1);
                _cleanup_free_ char *id = tuf_key_compute_id(object);
                _cleanup_(tuf_key_freep) TufKey *k = NULL;
                char message[] = MESSAGE;

                assert_string_equal(id, vectors[i].id);
                assert_int_equal(tuf_key_parse(id, object, &k, NULL), 0);
                assert_int_equal(tuf_key_scheme(k), vectors[i].scheme);
                assert_string_equal(tuf_key_scheme_name(vectors[i].scheme), vectors[i].name);
                assert_ptr_equal(tuf_key_object(k), object);
                assert_true(hex_decode(vectors[i].signature, signature, size));
                assert_true(tuf_key_verify(k, message, strlen(message), signature, size));
                assert_false(tuf_key_verify(k, message, strlen(message) - 1, signature, size));
                assert_false(tuf_key_verify(k, message, strlen(message), signature, size - 1));
                assert_false(tuf_key_verify(k, message, strlen(message), signature, 0));
                signature[size] = 0;
                assert_false(tuf_key_verify(k, message, strlen(message), signature, size + 1));
                message[3] ^= 1;
                assert_false(tuf_key_verify(k, message, strlen(message), signature, size));
                message[3] ^= 1;
                for (size_t bit = 0; bit < 8 * size; bit++) {
                        signature[bit / 8] ^= (uint8_t) (1 << bit % 8);
                        assert_false(tuf_key_verify(k, message, strlen(message), signature, size));
                        signature[bit / 8] ^= (uint8_t) (1 << bit % 8);
                }
        }
}

static void a_signature_holds_only_for_its_own_scheme(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(vectors); i++)
                for (size_t j = 0; j < ELEMENTSOF(vectors); j++) {
                        _cleanup_json_ json_t *object = key_object(vectors[j].type, vectors[j].name, vectors[j].public);
                        size_t size = strlen(vectors[i].signature) / 2;
                        _cleanup_free_ uint8_t *signature = xmalloc(size);
                        _cleanup_(tuf_key_freep) TufKey *k = NULL;

                        assert_int_equal(tuf_key_parse("k", object, &k, NULL), 0);
                        assert_true(hex_decode(vectors[i].signature, signature, size));
                        assert_int_equal(tuf_key_verify(k, MESSAGE, strlen(MESSAGE), signature, size),
                                         vectors[i].scheme == vectors[j].scheme);
                }
}

static void the_same_key_is_known_by_any_name(void **state) {
        TufKey *keys[ELEMENTSOF(vectors)];

        for (size_t i = 0; i < ELEMENTSOF(vectors); i++) {
                _cleanup_json_ json_t *object = key_object(vectors[i].type, vectors[i].name, vectors[i].public);
                _cleanup_free_ char *id = xasprintf("k%zu", i);

                assert_int_equal(tuf_key_parse(id, object, &keys[i], NULL), 0);
                assert_string_equal(tuf_key_id(keys[i]), id);
        }
        for (size_t i = 0; i < ELEMENTSOF(vectors); i++)
                for (size_t j = 0; j < ELEMENTSOF(vectors); j++) {
                        bool both_rsa = streq(vectors[i].type, "rsa") && streq(vectors[j].type, "rsa");

                        assert_int_equal(tuf_key_same(keys[i], keys[j]),
                                         both_rsa || vectors[i].scheme == vectors[j].scheme);
                }
        for (size_t i = 0; i < ELEMENTSOF(vectors); i++)
                tuf_key_free(keys[i]);
}

/* ---- reading keys -------------------------------------------------------------------------------------------- */

static void unknown_kinds_of_keys_are_kept_and_verify_nothing(void **state) {
        static const char *const cases[][2] = {
                { "ecdsa", "ecdsa-sha2-nistp384" },  { "rsa", "rsassa-pss-sha512" }, { "ed25519", "rsassa-pss-sha256" },
                { "sphincs", "sphincs-shake-128s" }, { "ED25519", "ed25519" },       { "", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *object = key_object(cases[i][0], cases[i][1], "whatever"),
                                      *other = key_object(cases[i][0], cases[i][1], "else");
                _cleanup_(tuf_key_freep) TufKey *k = NULL, *same = NULL, *different = NULL;
                uint8_t zeros[64] = {};

                json_object_set_new(object, "x-note", json_string("kept"));
                assert_int_equal(tuf_key_parse("k", object, &k, NULL), 0);
                assert_int_equal(tuf_key_scheme(k), TUF_SCHEME_UNKNOWN);
                assert_false(tuf_key_verify(k, MESSAGE, strlen(MESSAGE), zeros, sizeof(zeros)));
                assert_non_null(json_object_get(tuf_key_object(k), "x-note"));
                assert_int_equal(tuf_key_parse("other id", object, &same, NULL), 0);
                assert_int_equal(tuf_key_parse("k", other, &different, NULL), 0);
                assert_true(tuf_key_same(k, same));
                assert_false(tuf_key_same(k, different));
        }
}

static char *public_pem(const Fixture *f, const char *const *options) {
        _cleanup_free_ char *private = path_join(f->folder, "made.key"), *public = path_join(f->folder, "made.pem");
        _cleanup_strv_free_ char **argv = NULL;
        char *text = NULL;

        strv_extend(&argv, "openssl");
        strv_extend(&argv, "genpkey");
        strv_extend_strv(&argv, (char *const *) options);
        strv_extend(&argv, "-out");
        strv_extend(&argv, private);
        run_ok((const char *const *) argv);
        run_ok((const char *[]){ "openssl", "pkey", "-in", private, "-pubout", "-out", public, NULL });
        assert_int_equal(io_read_file(AT_FDCWD, public, 1 << 16, &text, NULL, NULL), 0);
        return text;
}

static void malformed_public_parts_are_refused(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *p384 = public_pem(f, (const char *[]){ "-algorithm", "EC", "-pkeyopt",
                                                                    "ec_paramgen_curve:P-384", NULL }),
                            *explicit = public_pem(f, (const char *[]){ "-algorithm", "EC", "-pkeyopt",
                                                                        "ec_paramgen_curve:P-256", "-pkeyopt",
                                                                        "ec_param_enc:explicit", NULL }),
                            *small = public_pem(f, (const char *[]){ "-algorithm", "RSA", "-pkeyopt",
                                                                     "rsa_keygen_bits:1024", NULL }),
                            *pss = public_pem(f, (const char *[]){ "-algorithm", "RSA-PSS", "-pkeyopt",
                                                                   "rsa_keygen_bits:2048", NULL }),
                            *two = xasprintf("%s%s", vectors[1].public, vectors[1].public),
                            *garbage = xasprintf("garbage\n%s", vectors[1].public),
                            *cut = xstrndup(vectors[1].public, 100),
                            *large = xasprintf("%s%*s", vectors[1].public, (int) TUF_KEY_PUBLIC_MAX, "");
        const char *const hex = vectors[0].public;
        _cleanup_free_ char *short_hex = xstrndup(hex, 62), *long_hex = xasprintf("%s00", hex),
                            *not_hex = xasprintf("g%s", hex + 1);
        const struct {
                const char *type, *scheme, *public;
                Refusal refusal;
        } cases[] = {
                { "ed25519", "ed25519", short_hex, REFUSAL_BAD_FORMAT },
                { "ed25519", "ed25519", long_hex, REFUSAL_BAD_FORMAT },
                { "ed25519", "ed25519", not_hex, REFUSAL_BAD_FORMAT },
                { "ed25519", "ed25519", "", REFUSAL_BAD_FORMAT },
                { "ed25519", "ed25519", vectors[1].public, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", hex, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", p384, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", explicit, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", vectors[3].public, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", two, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", garbage, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", cut, REFUSAL_BAD_FORMAT },
                { "ecdsa", "ecdsa-sha2-nistp256", large, REFUSAL_TOO_LARGE },
                { "rsa", "rsassa-pss-sha256", small, REFUSAL_BAD_FORMAT },
                { "rsa", "rsassa-pss-sha256", pss, REFUSAL_BAD_FORMAT },
                { "rsa", "rsassa-pss-sha256", vectors[1].public, REFUSAL_BAD_FORMAT },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *object = key_object(cases[i].type, cases[i].scheme, cases[i].public);
                _cleanup_error_ Error e = {};
                TufKey *k = NULL;

                assert_true(tuf_key_parse("k", object, &k, &e) < 0);
                assert_int_equal(e.id, cases[i].refusal);
        }
}

static void key_objects_of_another_shape_are_refused(void **state) {
        static const char *const cases[] = {
                "[]",
                "\"key\"",
                "{}",
                "{\"keytype\":\"x\",\"scheme\":\"x\"}",
                "{\"keytype\":\"x\",\"keyval\":{}}",
                "{\"scheme\":\"x\",\"keyval\":{}}",
                "{\"keytype\":1,\"scheme\":\"x\",\"keyval\":{}}",
                "{\"keytype\":\"x\",\"scheme\":null,\"keyval\":{}}",
                "{\"keytype\":\"x\",\"scheme\":\"x\",\"keyval\":\"text\"}",
                "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{}}",
                "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{\"public\":7}}",
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *object = json_loads(cases[i], JSON_DECODE_ANY, NULL);
                _cleanup_error_ Error e = {};
                TufKey *k = NULL;

                assert_true(tuf_key_parse("k", object, &k, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
        _cleanup_json_ json_t *object = key_object(vectors[0].type, vectors[0].name, vectors[0].public);
        assert_true(tuf_key_parse("", object, &(TufKey *){ NULL }, NULL) < 0);
}

/* ---- signing ------------------------------------------------------------------------------------------------- */

static char *new_key(const Fixture *f, const char *type) {
        _cleanup_free_ char *path = xasprintf("%s/%s.key", f->folder, type);
        _cleanup_error_ Error e = {};

        if (!io_exists(AT_FDCWD, path) && tuf_generate_key(type, path, &e) < 0)
                fail_msg("%s", e.message);
        return TAKE_PTR(path);
}

static void openssl_checks(const Fixture *f, const char *type, TufScheme scheme, const void *signature, size_t size) {
        _cleanup_free_ char *public = xasprintf("%s/%s.pub", f->folder, type), *data = path_join(f->folder, "data"),
                            *path = path_join(f->folder, "signature");

        assert_int_equal(io_write_file(AT_FDCWD, data, MESSAGE, strlen(MESSAGE), 0644, NULL), 0);
        assert_int_equal(io_write_file(AT_FDCWD, path, signature, size, 0644, NULL), 0);
        if (scheme == TUF_ED25519)
                run_ok((const char *[]){ "openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in",
                                         data, "-sigfile", path, NULL });
        else if (scheme == TUF_RSA_PSS_SHA256)
                run_ok((const char *[]){ "openssl", "dgst", "-sha256", "-verify", public, "-sigopt",
                                         "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", "-signature", path,
                                         data, NULL });
        else
                run_ok((const char *[]){ "openssl", "dgst", "-sha256", "-verify", public, "-signature", path, data,
                                         NULL });
}

static void openssl_signs(const Fixture *f, const char *type, const TufKey *k) {
        _cleanup_free_ char *key = new_key(f, type), *data = path_join(f->folder, "data"),
                            *path = path_join(f->folder, "signature"), *signature = NULL;
        size_t size;

        if (tuf_key_scheme(k) == TUF_ED25519)
                run_ok((const char *[]){ "openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", data, "-out",
                                         path, NULL });
        else if (tuf_key_scheme(k) == TUF_RSA_PSS_SHA256)
                run_ok((const char *[]){ "openssl", "dgst", "-sha256", "-sign", key, "-sigopt", "rsa_padding_mode:pss",
                                         "-out", path, data, NULL });
        else
                run_ok((const char *[]){ "openssl", "dgst", "-sha256", "-sign", key, "-out", path, data, NULL });
        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 16, &signature, &size, NULL), 0);
        assert_true(tuf_key_verify(k, MESSAGE, strlen(MESSAGE), signature, size));
}

static void openssl_agrees_with_every_scheme_both_ways(void **state) {
        static const struct {
                const char *type;
                TufScheme scheme;
        } cases[] = { { "ed25519", TUF_ED25519 },
                      { "ecdsa", TUF_ECDSA_P256 },
                      { "rsa", TUF_RSA_PSS_SHA256 },
                      { "rsa", TUF_RSA_PKCS1_SHA256 } };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *path = new_key(f, cases[i].type), *id = NULL;
                _cleanup_(private_key_freep) PrivateKey *private = NULL;
                _cleanup_(tuf_key_freep) TufKey *k = NULL;
                _cleanup_free_ void *signature = NULL;
                _cleanup_json_ json_t *object = NULL;
                size_t size;

                assert_int_equal(tuf_signer_load(path, &private, NULL), 0);
                assert_int_equal(tuf_key_from_private(private, &k, NULL), 0);
                id = tuf_key_compute_id(tuf_key_object(k));
                assert_string_equal(id, tuf_key_id(k));
                if (cases[i].scheme == TUF_RSA_PKCS1_SHA256) {
                        object = json_deep_copy(tuf_key_object(k));
                        json_object_set_new(object, "scheme", json_string("rsa-pkcs1v15-sha256"));
                        tuf_key_free(k);
                        assert_int_equal(tuf_key_parse("pkcs1", object, &k, NULL), 0);
                }
                assert_int_equal(tuf_key_scheme(k), cases[i].scheme);
                assert_int_equal(tuf_sign(private, k, MESSAGE, strlen(MESSAGE), &signature, &size, NULL), 0);
                assert_true(tuf_key_verify(k, MESSAGE, strlen(MESSAGE), signature, size));
                openssl_checks(f, cases[i].type, cases[i].scheme, signature, size);
                openssl_signs(f, cases[i].type, k);
        }
}

static void new_keys_are_written_once_and_for_the_owner_only(void **state) {
        static const char *const types[] = { "ed25519", "ecdsa", "rsa" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                _cleanup_free_ char *key = new_key(f, types[i]), *public = xasprintf("%s/%s.pub", f->folder, types[i]);
                _cleanup_(private_key_freep) PrivateKey *private = NULL;
                _cleanup_(tuf_key_freep) TufKey *a = NULL, *b = NULL;
                _cleanup_error_ Error e = {};
                struct stat st;

                assert_int_equal(stat(key, &st), 0);
                assert_int_equal(st.st_mode & 07777, 0600);
                assert_int_equal(stat(public, &st), 0);
                assert_int_equal(st.st_mode & 07777, 0644);
                assert_int_equal(tuf_signer_load(key, &private, NULL), 0);
                assert_int_equal(tuf_key_from_private(private, &a, NULL), 0);
                assert_int_equal(tuf_key_from_pem_file(public, &b, NULL), 0);
                assert_string_equal(tuf_key_id(a), tuf_key_id(b));
                assert_true(tuf_key_same(a, b));
                assert_true(tuf_generate_key(types[i], key, &e) < 0);
                assert_int_equal(e.id, REFUSAL_EXISTS);
        }
        _cleanup_free_ char *path = path_join(f->folder, "x.key"), *other = path_join(f->folder, "x.pem"),
                            *hidden = path_join(f->folder, ".key");
        _cleanup_error_ Error e = {};
        assert_true(tuf_generate_key("dsa", path, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        assert_true(tuf_generate_key("ed25519", other, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        assert_true(tuf_generate_key("ed25519", hidden, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void unsuitable_signers_are_refused(void **state) {
        static const char *const cases[][2] = {
                { "EC", "ec_paramgen_curve:P-384" },
                { "RSA", "rsa_keygen_bits:1024" },
                { "RSA-PSS", "rsa_keygen_bits:2048" },
                { "X25519", NULL },
        };
        Fixture *f = *state;
        _cleanup_free_ char *path = path_join(f->folder, "unsuitable.key"), *good = new_key(f, "ed25519");
        PrivateKey *k = NULL;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                run_ok((const char *[]){ "openssl", "genpkey", "-algorithm", cases[i][0], "-out", path,
                                         cases[i][1] ? "-pkeyopt" : NULL, cases[i][1], NULL });
                assert_int_equal(chmod(path, 0600), 0);
                assert_true(tuf_signer_load(path, &k, &e) < 0);
                assert_int_equal(e.id, REFUSAL_KEY);
        }
        _cleanup_error_ Error e = {};
        /* Keys of images stay RSA. */
        assert_true(private_key_load(good, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_int_equal(chmod(good, 0644), 0);
        assert_true(tuf_signer_load(good, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_int_equal(chmod(good, 0600), 0);
        assert_true(tuf_key_from_pem_file(good, &(TufKey *){ NULL }, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_true(tuf_key_from_pem_file("/nowhere", &(TufKey *){ NULL }, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
}

static void a_private_key_signs_only_as_itself(void **state) {
        static const char *const types[] = { "ed25519", "ecdsa", "rsa" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                for (size_t j = 0; j < ELEMENTSOF(vectors); j++) {
                        _cleanup_json_ json_t *object = key_object(vectors[j].type, vectors[j].name, vectors[j].public);
                        _cleanup_free_ char *path = new_key(f, types[i]);
                        _cleanup_(private_key_freep) PrivateKey *private = NULL;
                        _cleanup_(tuf_key_freep) TufKey *k = NULL;
                        _cleanup_error_ Error e = {};
                        void *signature = NULL;
                        size_t size;

                        assert_int_equal(tuf_key_parse("k", object, &k, NULL), 0);
                        assert_int_equal(tuf_signer_load(path, &private, NULL), 0);
                        assert_true(tuf_sign(private, k, "x", 1, &signature, &size, &e) < 0);
                        assert_int_equal(e.id, REFUSAL_KEY);
                }
}

static void certificates_give_their_public_key(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *key = new_key(f, "ecdsa"), *certificate = path_join(f->folder, "ecdsa.crt"),
                            *public = path_join(f->folder, "ecdsa.pub");
        _cleanup_(tuf_key_freep) TufKey *a = NULL, *b = NULL;

        run_ok((const char *[]){ "openssl", "req", "-x509", "-key", key, "-subj", "/CN=x", "-out", certificate, NULL });
        assert_int_equal(tuf_key_from_pem_file(certificate, &a, NULL), 0);
        assert_int_equal(tuf_key_from_pem_file(public, &b, NULL), 0);
        assert_string_equal(tuf_key_id(a), tuf_key_id(b));
}

/* ---- tokens -------------------------------------------------------------------------------------------------- */

static void token_import(const Fixture *f, const char *type, const char *id) {
        _cleanup_free_ char *key = new_key(f, type);

        run_ok((const char *[]){ "softhsm2-util", "--import", key, "--token", "sealab", "--label", type, "--id", id,
                                 "--pin", "1234", NULL });
}

static void keys_in_a_token_sign_metadata(void **state) {
        if (!io_exists(AT_FDCWD, SOFTHSM_MODULE) || !io_exists(AT_FDCWD, "/usr/bin/softhsm2-util"))
                skip();

        static const char *const types[] = { "ecdsa", "rsa" };
        Fixture *f = *state;
        _cleanup_free_ char *tokens = path_join(f->folder, "tokens"), *conf = path_join(f->folder, "softhsm2.conf"),
                            *text = NULL;

        assert_int_equal(io_mkdir_parents(AT_FDCWD, tokens, 0700, NULL), 0);
        text = xasprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens);
        assert_int_equal(io_write_file(AT_FDCWD, conf, text, strlen(text), 0600, NULL), 0);
        assert_int_equal(setenv("SOFTHSM2_CONF", conf, 1), 0);
        run_ok((const char *[]){ "softhsm2-util", "--init-token", "--free", "--label", "sealab", "--pin", "1234",
                                 "--so-pin", "5678", NULL });
        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                _cleanup_free_ char *uri = xasprintf("pkcs11:token=sealab;object=%s?pin-value=1234&module-path=%s",
                                                     types[i], SOFTHSM_MODULE),
                                    *public = xasprintf("%s/%s.pub", f->folder, types[i]);
                _cleanup_(private_key_freep) PrivateKey *token = NULL;
                _cleanup_(tuf_key_freep) TufKey *k = NULL, *from_file = NULL;
                _cleanup_free_ void *signature = NULL;
                _cleanup_error_ Error e = {};
                size_t size;

                token_import(f, types[i], i == 0 ? "b1" : "b2");
                if (tuf_signer_load(uri, &token, &e) < 0 || tuf_key_from_private(token, &k, &e) < 0)
                        fail_msg("%s", e.message);
                assert_int_equal(tuf_key_from_pem_file(public, &from_file, NULL), 0);
                assert_string_equal(tuf_key_id(k), tuf_key_id(from_file));
                if (tuf_sign(token, from_file, MESSAGE, strlen(MESSAGE), &signature, &size, &e) < 0)
                        fail_msg("%s", e.message);
                assert_true(tuf_key_verify(from_file, MESSAGE, strlen(MESSAGE), signature, size));
                openssl_checks(f, types[i], tuf_key_scheme(k), signature, size);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(canonical_forms_are_those_of_the_reference),
                cmocka_unit_test(numbers_that_are_not_integers_have_no_canonical_form),
                cmocka_unit_test(ids_are_those_of_the_specifications_examples),
                cmocka_unit_test(signatures_of_another_implementation_hold),
                cmocka_unit_test(a_signature_holds_only_for_its_own_scheme),
                cmocka_unit_test(the_same_key_is_known_by_any_name),
                cmocka_unit_test(unknown_kinds_of_keys_are_kept_and_verify_nothing),
                cmocka_unit_test(malformed_public_parts_are_refused),
                cmocka_unit_test(key_objects_of_another_shape_are_refused),
                cmocka_unit_test(openssl_agrees_with_every_scheme_both_ways),
                cmocka_unit_test(new_keys_are_written_once_and_for_the_owner_only),
                cmocka_unit_test(unsuitable_signers_are_refused),
                cmocka_unit_test(a_private_key_signs_only_as_itself),
                cmocka_unit_test(certificates_give_their_public_key),
                cmocka_unit_test(keys_in_a_token_sign_metadata),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
