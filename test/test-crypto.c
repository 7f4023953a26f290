/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Keys, certificates and signature containers. OpenSSL's own command is the second opinion, SoftHSM the token. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "crypto.h"
#include "io.h"
#include "process.h"

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define ROOT_HASH "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210"

typedef struct Fixture {
        char *folder;
        PrivateKey *key, *other_key;
        Certificate *certificate, *other_certificate;
} Fixture;

static char *in_folder(const Fixture *f, const char *name) {
        return xasprintf("%s/%s", f->folder, name);
}

static void load_pair(Fixture *f, const char *name, bool development, PrivateKey **key, Certificate **certificate) {
        _cleanup_free_ char *key_path = xasprintf("%s/%s.key", f->folder, name);
        _cleanup_free_ char *certificate_path = xasprintf("%s/%s.crt", f->folder, name);
        Error e = {};

        assert_int_equal(crypto_generate_pair(f->folder, name, name, development, 2048, 30, &e), 0);
        assert_int_equal(private_key_load(key_path, key, &e), 0);
        assert_int_equal(certificate_load(certificate_path, certificate, &e), 0);
}

static int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);

        assert_int_equal(io_temporary_folder("test-crypto", &f->folder, NULL), 0);
        load_pair(f, "one", true, &f->key, &f->certificate);
        load_pair(f, "two", false, &f->other_key, &f->other_certificate);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->folder, NULL);
        private_key_free(f->key);
        private_key_free(f->other_key);
        certificate_free(f->certificate);
        certificate_free(f->other_certificate);
        free(f->folder);
        free(f);
        return 0;
}

static int run(const char *const *argv, char **ret_output, Error *reterr) {
        const ProcessOptions opt = { .merge_stderr = true };

        return process_run((char *const *) argv, &opt, ret_output, NULL, reterr);
}

static void run_ok(const char *const *argv) {
        _cleanup_free_ char *output = NULL;
        Error e = {};

        if (run(argv, &output, &e) < 0)
                fail_msg("%s: %s", e.message, output);
}

static void generated_pairs_are_what_they_say(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *key = in_folder(f, "one.key"), *certificate = in_folder(f, "one.crt"),
                            *subject = certificate_subject(f->certificate), *output = NULL;
        int64_t seconds = certificate_not_after(f->certificate) - certificate_not_before(f->certificate);
        struct stat st;

        assert_int_equal(stat(key, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(stat(certificate, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        assert_int_equal(seconds, 30 * 86400);
        assert_non_null(strstr(subject, "CN=one"));
        assert_true(certificate_is_development(f->certificate));
        assert_false(certificate_is_development(f->other_certificate));
        assert_true(certificate_matches_key(f->certificate, f->key));
        assert_false(certificate_matches_key(f->certificate, f->other_key));
        run_ok((const char *[]){ "openssl", "verify", "-CAfile", certificate, certificate, NULL });
        run_ok((const char *[]){ "openssl", "pkey", "-in", key, "-check", "-noout", NULL });
}

static void fingerprints_are_those_of_openssl(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *certificate = in_folder(f, "one.crt"), *output = NULL, *hex = NULL, *theirs = NULL;
        Sha256 fingerprint;

        certificate_fingerprint(f->certificate, &fingerprint);
        hex = sha256_hex(&fingerprint);
        assert_int_equal(run((const char *[]){ "openssl", "x509", "-in", certificate, "-noout", "-fingerprint",
                                               "-sha256", NULL },
                             &output, NULL),
                         0);
        theirs = xcalloc(1, strlen(output) + 1);
        for (char *p = strchr(output, '='), *q = theirs; p && *p; p++)
                if (strchr("0123456789ABCDEF", *p))
                        *q++ = *p >= 'A' ? (char) (*p - 'A' + 'a') : *p;
        assert_string_equal(theirs, hex);
}

static void certificates_are_read_in_both_forms(void **state) {
        Fixture *f = *state;
        _cleanup_(certificate_freep) Certificate *copy = NULL;
        _cleanup_free_ void *der = NULL;
        _cleanup_free_ uint8_t *longer = NULL;
        _cleanup_error_ Error e = {};
        Sha256 a, b;
        size_t size;

        assert_int_equal(certificate_to_der(f->certificate, &der, &size, NULL), 0);
        assert_int_equal(certificate_load_buffer(der, size, &copy, NULL), 0);
        certificate_fingerprint(f->certificate, &a);
        certificate_fingerprint(copy, &b);
        assert_true(sha256_equal(&a, &b));
        longer = xcalloc(1, size + 1);
        memcpy(longer, der, size);
        assert_true(certificate_load_buffer(longer, size + 1, &copy, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        for (size_t n = 0; n < size; n++)
                assert_true(certificate_load_buffer(der, n, &(Certificate *){ NULL }, NULL) < 0);
}

static void keys_are_never_overwritten(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};

        assert_true(crypto_generate_pair(f->folder, "one", "again", true, 2048, 30, &e) < 0);
        assert_int_equal(e.id, REFUSAL_EXISTS);
        assert_true(crypto_generate_pair(f->folder, "small", "small", true, 1024, 30, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void unsuitable_key_files_are_refused(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *path = in_folder(f, "bad.key"), *one = in_folder(f, "one.key"), *text = NULL,
                            *fifo = in_folder(f, "fifo.key"), *large = xcalloc(1, 70000);
        _cleanup_error_ Error e = {};
        PrivateKey *k = NULL;
        size_t size;

        assert_true(private_key_load(path, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_true(private_key_load(f->folder, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_int_equal(mkfifo(fifo, 0600), 0);
        assert_true(private_key_load(fifo, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);

        assert_int_equal(io_read_file(AT_FDCWD, one, 1 << 16, &text, &size, NULL), 0);
        for (mode_t bit = 040; bit > 0; bit >>= 1) {
                assert_int_equal(io_write_file(AT_FDCWD, path, text, size, 0600 | bit, NULL), 0);
                assert_true(private_key_load(path, &k, &e) < 0);
                assert_int_equal(e.id, REFUSAL_KEY);
                assert_non_null(strstr(e.hint, "chmod 600"));
        }
        assert_int_equal(io_write_file(AT_FDCWD, path, text, size / 2, 0600, NULL), 0);
        assert_true(private_key_load(path, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_int_equal(io_write_file(AT_FDCWD, path, large, 70000, 0600, NULL), 0);
        assert_true(private_key_load(path, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_TOO_LARGE);
}

static void other_kinds_of_keys_are_refused(void **state) {
        Fixture *f = *state;
        static const struct {
                const char *algorithm, *option;
        } cases[] = {
                { "EC", "ec_paramgen_curve:P-256" },
                { "RSA", "rsa_keygen_bits:1024" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *path = xasprintf("%s/kind%zu.key", f->folder, i);
                _cleanup_error_ Error e = {};
                PrivateKey *k = NULL;

                run_ok((const char *[]){ "openssl", "genpkey", "-algorithm", cases[i].algorithm, "-pkeyopt",
                                         cases[i].option, "-out", path, NULL });
                assert_int_equal(chmod(path, 0600), 0);
                assert_true(private_key_load(path, &k, &e) < 0);
                assert_int_equal(e.id, REFUSAL_KEY);
        }
}

static void a_passphrase_is_refused_and_not_asked_for(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *key = in_folder(f, "one.key"), *path = in_folder(f, "protected.key");
        _cleanup_error_ Error e = {};
        PrivateKey *k = NULL;

        run_ok((const char *[]){ "openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", path,
                                 NULL });
        assert_int_equal(chmod(path, 0600), 0);
        assert_true(private_key_load(path, &k, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
}

static void root_hash_signatures_equal_those_of_openssl(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *key = in_folder(f, "one.key"), *certificate = in_folder(f, "one.crt"),
                            *data = in_folder(f, "root"), *theirs = in_folder(f, "theirs.p7s"),
                            *ours = in_folder(f, "ours.p7s"), *their_bytes = NULL;
        _cleanup_free_ void *sig = NULL;
        size_t size, their_size;

        assert_int_equal(io_write_file(AT_FDCWD, data, ROOT_HASH, 64, 0644, NULL), 0);
        assert_int_equal(pkcs7_sign_detached(f->key, f->certificate, ROOT_HASH, 64, &sig, &size, NULL), 0);
        run_ok((const char *[]){ "openssl", "smime", "-sign", "-binary", "-noattr", "-nocerts", "-md", "sha256",
                                 "-outform", "DER", "-in", data, "-inkey", key, "-signer", certificate, "-out", theirs,
                                 NULL });
        assert_int_equal(io_read_file(AT_FDCWD, theirs, 1 << 16, &their_bytes, &their_size, NULL), 0);
        assert_int_equal(size, their_size);
        assert_memory_equal(sig, their_bytes, size);

        assert_int_equal(io_write_file(AT_FDCWD, ours, sig, size, 0644, NULL), 0);
        static const char *const verifiers[] = { "smime", "cms" };
        for (size_t i = 0; i < ELEMENTSOF(verifiers); i++)
                run_ok((const char *[]){ "openssl", verifiers[i], "-verify", "-binary", "-inform", "DER", "-in", ours,
                                         "-content", data, "-certfile", certificate, "-nointern", "-noverify", "-out",
                                         "/dev/null", NULL });
        assert_int_equal(pkcs7_verify_detached(sig, size, ROOT_HASH, 64, &f->certificate, 1, NULL), 0);
}

static void wrong_root_hash_signatures_are_refused(void **state) {
        Fixture *f = *state;
        Certificate *both[] = { f->other_certificate, f->certificate };
        _cleanup_free_ void *sig = NULL;
        _cleanup_free_ uint8_t *copy = NULL;
        _cleanup_error_ Error e = {};
        char data[] = ROOT_HASH;
        size_t size;

        assert_int_equal(pkcs7_sign_detached(f->key, f->certificate, data, 64, &sig, &size, NULL), 0);
        assert_int_equal(pkcs7_verify_detached(sig, size, data, 64, both, 2, NULL), 0);
        assert_true(pkcs7_verify_detached(sig, size, data, 64, both, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        assert_true(pkcs7_verify_detached(sig, size, data, 64, both, 0, &e) < 0);
        assert_true(pkcs7_verify_detached(sig, size, data, 63, both, 2, &e) < 0);
        data[10] ^= 1;
        assert_true(pkcs7_verify_detached(sig, size, data, 64, both, 2, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        data[10] ^= 1;
        copy = xcalloc(1, size + 1);
        memcpy(copy, sig, size);
        assert_true(pkcs7_verify_detached(copy, size + 1, data, 64, both, 2, &e) < 0);
        for (size_t n = 0; n < size; n++) {
                _cleanup_free_ void *cut = xmemdup(sig, n);

                assert_true(pkcs7_verify_detached(cut, n, data, 64, both, 2, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        }
}

static void signatures_with_attributes_or_old_digests_are_refused(void **state) {
        Fixture *f = *state;
        static const char *const variants[][2] = { { "-nocerts", "sha256" }, { "-noattr", "sha1" } };
        _cleanup_free_ char *key = in_folder(f, "one.key"), *certificate = in_folder(f, "one.crt"),
                            *data = in_folder(f, "root"), *path = in_folder(f, "variant.p7s");

        assert_int_equal(io_write_file(AT_FDCWD, data, ROOT_HASH, 64, 0644, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(variants); i++) {
                _cleanup_free_ char *sig = NULL;
                _cleanup_error_ Error e = {};
                size_t size;

                run_ok((const char *[]){ "openssl", "smime", "-sign", "-binary", variants[i][0], "-md", variants[i][1],
                                         "-outform", "DER", "-in", data, "-inkey", key, "-signer", certificate, "-out",
                                         path, NULL });
                assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 16, &sig, &size, NULL), 0);
                assert_true(pkcs7_verify_detached(sig, size, ROOT_HASH, 64, &f->certificate, 1, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        }
}

static void a_certificate_of_another_key_cannot_sign(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        Sha256 digest = {};
        void *sig = NULL;
        size_t size;

        assert_true(pkcs7_sign_detached(f->key, f->other_certificate, "x", 1, &sig, &size, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        assert_true(authenticode_sign(f->key, f->other_certificate, &digest, &sig, &size, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
}

static void authenticode_vouches_for_one_digest_and_no_bit_of_it_can_change(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *sig = NULL;
        _cleanup_free_ uint8_t *copy = NULL;
        _cleanup_error_ Error e = {};
        Sha256 digest, vouched;
        size_t size;

        sha256_buffer("image", 5, &digest);
        assert_int_equal(authenticode_sign(f->key, f->certificate, &digest, &sig, &size, NULL), 0);
        assert_int_equal(authenticode_verify(sig, size, &f->certificate, 1, &vouched, NULL), 0);
        assert_true(sha256_equal(&digest, &vouched));
        assert_true(authenticode_verify(sig, size, &f->other_certificate, 1, &vouched, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        /* A detached signature of the same key is no Authenticode signature, and the other way round. */
        assert_true(pkcs7_verify_detached(sig, size, digest.bytes, 32, &f->certificate, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        copy = xmemdup(sig, size);
        for (size_t i = 0; i < size; i++)
                for (int bit = 0; bit < 8; bit++) {
                        copy[i] ^= (uint8_t) (1 << bit);
                        /* The certificate inside is not trusted for anything, so its bits do not matter; whatever is
                         * accepted must vouch for the same image. */
                        if (authenticode_verify(copy, size, &f->certificate, 1, &vouched, NULL) >= 0)
                                assert_true(sha256_equal(&digest, &vouched));
                        copy[i] ^= (uint8_t) (1 << bit);
                }
        for (size_t n = 0; n < size; n++) {
                _cleanup_free_ void *cut = xmemdup(sig, n);

                assert_true(authenticode_verify(cut, n, &f->certificate, 1, &vouched, NULL) < 0);
        }
}

static void far_away_signers_give_the_same_bytes(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *tbs = NULL, *raw = NULL, *here = NULL, *far = NULL, *root_raw = NULL, *root_here = NULL,
                            *root_far = NULL;
        size_t tbs_size, raw_size, here_size, far_size;
        _cleanup_error_ Error e = {};
        Sha256 digest;

        sha256_buffer("image", 5, &digest);
        assert_int_equal(authenticode_prepare(f->certificate, &digest, &tbs, &tbs_size, NULL), 0);
        assert_int_equal(crypto_sign_raw(f->key, tbs, tbs_size, &raw, &raw_size, NULL), 0);
        assert_int_equal(authenticode_assemble(f->certificate, &digest, raw, raw_size, &far, &far_size, NULL), 0);
        assert_int_equal(authenticode_sign(f->key, f->certificate, &digest, &here, &here_size, NULL), 0);
        assert_int_equal(here_size, far_size);
        assert_memory_equal(here, far, far_size);

        assert_int_equal(crypto_sign_raw(f->key, ROOT_HASH, 64, &root_raw, &raw_size, NULL), 0);
        assert_int_equal(pkcs7_assemble_detached(f->certificate, root_raw, raw_size, &root_far, &far_size, NULL), 0);
        assert_int_equal(pkcs7_sign_detached(f->key, f->certificate, ROOT_HASH, 64, &root_here, &here_size, NULL), 0);
        assert_int_equal(here_size, far_size);
        assert_memory_equal(root_here, root_far, far_size);

        ((uint8_t *) raw)[7] ^= 1;
        assert_true(authenticode_assemble(f->certificate, &digest, raw, 256, &far, &far_size, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
}

/* The token lives in the test's folder; SoftHSM reads its place from the environment of our own process. */
static void make_token(const Fixture *f) {
        _cleanup_free_ char *tokens = in_folder(f, "tokens"), *conf = in_folder(f, "softhsm2.conf"),
                            *key = in_folder(f, "one.key"), *text = NULL;

        assert_int_equal(io_mkdir_parents(AT_FDCWD, tokens, 0700, NULL), 0);
        text = xasprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens);
        assert_int_equal(io_write_file(AT_FDCWD, conf, text, strlen(text), 0600, NULL), 0);
        assert_int_equal(setenv("SOFTHSM2_CONF", conf, 1), 0);
        run_ok((const char *[]){ "softhsm2-util", "--init-token", "--free", "--label", "sealab", "--pin", "1234",
                                 "--so-pin", "5678", NULL });
        run_ok((const char *[]){ "softhsm2-util", "--import", key, "--token", "sealab", "--label", "signer", "--id",
                                 "a1", "--pin", "1234", NULL });
}

static void keys_in_a_token_sign_like_keys_in_a_file(void **state) {
        if (!io_exists(AT_FDCWD, SOFTHSM_MODULE) || !io_exists(AT_FDCWD, "/usr/bin/softhsm2-util"))
                skip();

        Fixture *f = *state;
        _cleanup_(private_key_freep) PrivateKey *token = NULL;
        _cleanup_free_ char *pin_path = in_folder(f, "pin"), *with_source = NULL;
        _cleanup_free_ void *file_sig = NULL, *token_sig = NULL;
        size_t file_size, token_size;
        _cleanup_error_ Error e = {};

        make_token(f);
        assert_int_equal(io_write_file(AT_FDCWD, pin_path, "1234\n", 5, 0600, NULL), 0);
        with_source = xasprintf("pkcs11:token=sealab;object=signer?pin-source=file:%s&module-path=%s", pin_path,
                                SOFTHSM_MODULE);
        if (private_key_load(with_source, &token, &e) < 0)
                fail_msg("%s", e.message);
        assert_true(certificate_matches_key(f->certificate, token));
        assert_false(certificate_matches_key(f->other_certificate, token));
        assert_int_equal(pkcs7_sign_detached(token, f->certificate, ROOT_HASH, 64, &token_sig, &token_size, NULL), 0);
        assert_int_equal(pkcs7_sign_detached(f->key, f->certificate, ROOT_HASH, 64, &file_sig, &file_size, NULL), 0);
        assert_int_equal(token_size, file_size);
        assert_memory_equal(token_sig, file_sig, file_size);
}

static void token_keys_that_cannot_be_used_are_refused(void **state) {
        if (!io_exists(AT_FDCWD, SOFTHSM_MODULE) || !io_exists(AT_FDCWD, "/usr/bin/softhsm2-util"))
                skip();

        static const struct {
                const char *uri;
                Refusal refusal;
        } cases[] = {
                { "pkcs11:token=sealab;object=nobody?pin-value=1234&module-path=" SOFTHSM_MODULE, REFUSAL_KEY },
                { "pkcs11:token=other;object=signer?pin-value=1234&module-path=" SOFTHSM_MODULE, REFUSAL_KEY },
                { "pkcs11:token=sealab;object=signer?pin-value=12%3", REFUSAL_BAD_SYNTAX },
                { "pkcs11:token=sealab;object=signer?pin-value", REFUSAL_BAD_SYNTAX },
                { "pkcs11:token=sealab;object=signer?colour=red", REFUSAL_BAD_SYNTAX },
                { "pkcs11:token=sealab;object=signer?pin-value=1&pin-value=2", REFUSAL_BAD_SYNTAX },
                { "pkcs11:token=sealab;object=signer;pin-value=1234", REFUSAL_BAD_SYNTAX },
                { "pkcs11:token=sealab;object=signer?pin-source=pin.txt", REFUSAL_BAD_VALUE },
                { "pkcs11:token=sealab;object=signer?pin-source=/nowhere/pin", REFUSAL_NOT_FOUND },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};
                PrivateKey *k = NULL;

                assert_true(private_key_load(cases[i].uri, &k, &e) < 0);
                if (e.id != cases[i].refusal)
                        fail_msg("%s: %s %s", cases[i].uri, refusal_name(e.id), e.message);
                assert_null(strstr(e.message, "1234")); /* no PIN in messages */
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(generated_pairs_are_what_they_say),
                cmocka_unit_test(fingerprints_are_those_of_openssl),
                cmocka_unit_test(certificates_are_read_in_both_forms),
                cmocka_unit_test(keys_are_never_overwritten),
                cmocka_unit_test(unsuitable_key_files_are_refused),
                cmocka_unit_test(other_kinds_of_keys_are_refused),
                cmocka_unit_test(a_passphrase_is_refused_and_not_asked_for),
                cmocka_unit_test(root_hash_signatures_equal_those_of_openssl),
                cmocka_unit_test(wrong_root_hash_signatures_are_refused),
                cmocka_unit_test(signatures_with_attributes_or_old_digests_are_refused),
                cmocka_unit_test(a_certificate_of_another_key_cannot_sign),
                cmocka_unit_test(authenticode_vouches_for_one_digest_and_no_bit_of_it_can_change),
                cmocka_unit_test(far_away_signers_give_the_same_bytes),
                cmocka_unit_test(keys_in_a_token_sign_like_keys_in_a_file),
                cmocka_unit_test(token_keys_that_cannot_be_used_are_refused),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
