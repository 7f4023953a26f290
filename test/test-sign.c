/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Key sets, the signatures of a release, the ceremony between two machines, and the files that enrol the keys. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "ceremony.h"
#include "efivar.h"
#include "io.h"
#include "keys.h"
#include "pe.h"
#include "process.h"
#include "synthetic-pe.h"

#define SOFTHSM_MODULE "/usr/lib/softhsm/libsofthsm2.so"

typedef struct Fixture {
        char *folder, *keys, *other, *production;
        KeySet *set, *other_set, *certificates;
        void *image;
        size_t size;
        Sha256 root;
} Fixture;

static void generate(const char *folder, bool production) {
        const KeysOptions opt = { .folder = folder, .production = production };
        Error e = {};

        if (keys_generate(&opt, &e) < 0)
                fail_msg("%s", e.message);
}

static int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);

        assert_int_equal(io_temporary_folder("test-sign", &f->folder, NULL), 0);
        f->keys = path_join(f->folder, "keys/dev");
        f->other = path_join(f->folder, "keys/other");
        f->production = path_join(f->folder, "keys/production");
        generate(f->keys, false);
        generate(f->other, false);
        generate(f->production, true);
        assert_int_equal(key_set_load(f->keys, KEY_ROLES_RELEASE, 0, &f->set, NULL), 0);
        assert_int_equal(key_set_load(f->other, KEY_ROLES_RELEASE, 0, &f->other_set, NULL), 0);
        assert_int_equal(key_set_load(f->keys, KEY_ROLES_RELEASE, KEY_SET_CERTIFICATES_ONLY, &f->certificates, NULL),
                         0);
        f->image = synthetic_pe(&f->size);
        sha256_buffer("usr", 3, &f->root);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        key_set_free(f->set);
        key_set_free(f->other_set);
        key_set_free(f->certificates);
        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->image);
        free(f->folder);
        free(f->keys);
        free(f->other);
        free(f->production);
        free(f);
        return 0;
}

static void run_ok(const char *const *argv) {
        const ProcessOptions opt = { .merge_stderr = true };
        _cleanup_free_ char *output = NULL;
        _cleanup_error_ Error e = {};

        if (process_run((char *const *) argv, &opt, &output, NULL, &e) < 0)
                fail_msg("%s", e.message);
}

/* A copy of the development keys that a test may spoil. */
static char *copy_keys(const Fixture *f, const char *name) {
        char *folder = path_join(f->folder, name);

        run_ok((const char *[]){ "rm", "-rf", folder, NULL });
        run_ok((const char *[]){ "cp", "-a", f->keys, folder, NULL });
        return folder;
}

static void write_in(const char *folder, const char *name, const char *text) {
        _cleanup_free_ char *path = path_join(folder, name);

        assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

static void remove_in(const char *folder, const char *name) {
        _cleanup_free_ char *path = path_join(folder, name);

        assert_int_equal(io_unlink(AT_FDCWD, path, NULL), 0);
}

static void key_folders_appear_whole_and_private_and_once(void **state) {
        Fixture *f = *state;
        const KeysOptions again = { .folder = f->keys };
        _cleanup_error_ Error e = {};
        struct stat st;

        assert_int_equal(stat(f->keys, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_true(keys_generate(&again, &e) < 0);
        assert_int_equal(e.id, REFUSAL_EXISTS);
}

static void releases_refuse_development_keys(void **state) {
        Fixture *f = *state;
        _cleanup_(key_set_freep) KeySet *production = NULL;
        _cleanup_error_ Error e = {};
        KeySet *s = NULL;

        assert_true(key_set_is_development(f->set));
        assert_true(key_set_load(f->keys, KEY_ROLES_RELEASE, KEY_SET_RELEASE_BUILD, &s, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        assert_int_equal(key_set_load(f->production, KEY_ROLES_RELEASE, KEY_SET_RELEASE_BUILD, &production, &e), 0);
        assert_false(key_set_is_development(production));
}

static void spoil_key(const char *folder) {
        remove_in(folder, "verity.key");
}
static void spoil_certificate(const char *folder) {
        remove_in(folder, "verity.crt");
}
static void spoil_mode(const char *folder) {
        _cleanup_free_ char *path = path_join(folder, "secureboot.key");

        assert_int_equal(chmod(path, 0640), 0);
}
static void spoil_match(const char *folder) {
        _cleanup_free_ char *from = path_join(folder, "PK.key"), *to = path_join(folder, "verity.key");

        assert_int_equal(io_rename_replace(AT_FDCWD, from, to, NULL), 0);
}
static void spoil_twice(const char *folder) {
        write_in(folder, "verity.uri", "pkcs11:token=x;object=y\n");
}
static void spoil_twice_conf(const char *folder) {
        write_in(folder, "pkcs11.conf", "[Keys]\nverity=pkcs11:token=x\n");
}
static void spoil_uri(const char *folder) {
        remove_in(folder, "verity.key");
        write_in(folder, "verity.uri", "http://example.com\n");
}
static void spoil_conf(const char *folder) {
        write_in(folder, "pkcs11.conf", "[Token]\nColour=red\n");
}
static void spoil_garbage(const char *folder) {
        write_in(folder, "verity.key", "not a key\n");
}

static void unusable_key_folders_are_refused_with_a_remedy(void **state) {
        Fixture *f = *state;
        static const struct {
                const char *name;
                void (*spoil)(const char *folder);
                Refusal refusal;
                bool has_hint;
        } cases[] = {
                { "key missing", spoil_key, REFUSAL_KEY, true },
                { "certificate missing", spoil_certificate, REFUSAL_KEY, true },
                { "mode", spoil_mode, REFUSAL_KEY, true },
                { "key of another certificate", spoil_match, REFUSAL_KEY, true },
                { "two places", spoil_twice, REFUSAL_KEY, true },
                { "two places with conf", spoil_twice_conf, REFUSAL_KEY, true },
                { "not a URI", spoil_uri, REFUSAL_BAD_SYNTAX, false },
                { "unknown setting", spoil_conf, REFUSAL_BAD_SYNTAX, false },
                { "not a key", spoil_garbage, REFUSAL_KEY, true },
        };
        _cleanup_error_ Error missing = {};
        KeySet *s = NULL;

        assert_true(key_set_load("/nowhere", KEY_ROLES_RELEASE, 0, &s, &missing) < 0);
        assert_int_equal(missing.id, REFUSAL_KEY);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *folder = copy_keys(f, "spoiled");
                _cleanup_error_ Error e = {};

                cases[i].spoil(folder);
                if (key_set_load(folder, KEY_ROLES_RELEASE, 0, &s, &e) >= 0)
                        fail_msg("accepted: %s", cases[i].name);
                if (e.id != cases[i].refusal || (cases[i].has_hint && !e.hint))
                        fail_msg("%s: %s %s", cases[i].name, refusal_name(e.id), e.message);
        }
}

static void token_keys_work_through_uri_file_and_conf(void **state) {
        if (!io_exists(AT_FDCWD, SOFTHSM_MODULE) || !io_exists(AT_FDCWD, "/usr/bin/softhsm2-util"))
                skip();

        Fixture *f = *state;
        static const char module[] = SOFTHSM_MODULE;
        _cleanup_free_ char *folder = NULL, *tokens = path_join(f->folder, "tokens"),
                            *conf = path_join(f->folder, "softhsm2.conf"), *text = NULL, *key = NULL, *db_key = NULL,
                            *pin = path_join(f->folder, "pin"), *uri = NULL, *token_conf = NULL;
        _cleanup_(key_set_freep) KeySet *s = NULL;
        _cleanup_free_ void *by_token = NULL, *by_file = NULL;
        size_t token_size, file_size;
        _cleanup_error_ Error e = {};

        folder = copy_keys(f, "token-keys");
        key = path_join(folder, "verity.key");
        db_key = path_join(folder, "secureboot.key");
        text = xasprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens);
        assert_int_equal(io_mkdir_parents(AT_FDCWD, tokens, 0700, NULL), 0);
        assert_int_equal(io_write_file(AT_FDCWD, conf, text, strlen(text), 0600, NULL), 0);
        assert_int_equal(io_write_file(AT_FDCWD, pin, "1234\n", 5, 0600, NULL), 0);
        assert_int_equal(setenv("SOFTHSM2_CONF", conf, 1), 0);
        run_ok((const char *[]){ "softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", "1234",
                                 "--so-pin", "5678", NULL });
        run_ok((const char *[]){ "softhsm2-util", "--import", key, "--token", "release", "--label", "verity", "--id",
                                 "01", "--pin", "1234", NULL });
        run_ok((const char *[]){ "softhsm2-util", "--import", db_key, "--token", "release", "--label", "secureboot",
                                 "--id", "02", "--pin", "1234", NULL });
        remove_in(folder, "verity.key");
        remove_in(folder, "secureboot.key");
        uri = xasprintf("pkcs11:token=release;object=verity?module-path=%s&pin-source=file:%s\n", module, pin);
        write_in(folder, "verity.uri", uri);
        token_conf =
                xasprintf("[Token]\nModule=%s\nPinFile=%s\n[Keys]\nsecureboot=pkcs11:token=release;object=secureboot\n",
                          module, pin);
        write_in(folder, "pkcs11.conf", token_conf);
        if (key_set_load(folder, KEY_ROLES_RELEASE, 0, &s, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(sign_efi(s, f->image, f->size, &by_token, &token_size, NULL), 0);
        assert_int_equal(sign_efi(f->set, f->image, f->size, &by_file, &file_size, NULL), 0);
        assert_int_equal(token_size, file_size);
        assert_memory_equal(by_token, by_file, file_size);
}

static void what_is_signed_here_is_checked_here(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *sig = NULL, *image = NULL;
        _cleanup_error_ Error e = {};
        Sha256 other = f->root;
        size_t sig_size, size;

        assert_int_equal(sign_roothash(f->set, &f->root, &sig, &sig_size, NULL), 0);
        assert_int_equal(sign_check_roothash(f->certificates, &f->root, sig, sig_size, NULL), 0);
        other.bytes[0] ^= 1;
        assert_true(sign_check_roothash(f->certificates, &other, sig, sig_size, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        assert_true(sign_check_roothash(f->other_set, &f->root, sig, sig_size, &e) < 0);
        assert_int_equal(sign_efi(f->set, f->image, f->size, &image, &size, NULL), 0);
        assert_int_equal(sign_check_efi(f->certificates, image, size, NULL), 0);
        assert_true(sign_check_efi(f->other_set, image, size, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
}

static SignRequest *make_request(const Fixture *f) {
        SignRequest *r = sign_request_new("minimal", "2026.11.1", &f->root);

        assert_int_equal(sign_request_add_roothash(r, f->certificates, NULL), 0);
        assert_int_equal(sign_request_add_efi(r, f->certificates, "uki", "UKI", f->image, f->size, NULL), 0);
        return r;
}

static void write_text(const char *path, const char *text) {
        assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

static void the_ceremony_gives_what_signing_here_gives(void **state) {
        Fixture *f = *state;
        _cleanup_(sign_request_freep) SignRequest *request = make_request(f), *again = make_request(f);
        _cleanup_free_ char *request_path = path_join(f->folder, "tosign.json"),
                            *response_path = path_join(f->folder, "signed.json"), *text = NULL, *answer = NULL,
                            *words = NULL, *root_hex = sha256_hex(&f->root);
        _cleanup_free_ void *far_sig = NULL, *here_sig = NULL, *far_image = NULL, *here_image = NULL;
        size_t a, b, answer_size;
        _cleanup_error_ Error e = {};

        text = sign_request_format(request);
        write_text(request_path, text);
        if (ceremony_sign_file(request_path, f->keys, response_path, &words, &e) < 0)
                fail_msg("%s", e.message);
        assert_non_null(strstr(words, root_hex));
        assert_int_equal(io_read_file(AT_FDCWD, response_path, 1 << 20, &answer, &answer_size, NULL), 0);
        if (sign_response_apply(again, answer, answer_size, "signed.json", f->certificates, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(
                sign_item_finish_roothash(sign_request_find(again, "usr"), f->certificates, &far_sig, &a, NULL), 0);
        assert_int_equal(sign_roothash(f->set, &f->root, &here_sig, &b, NULL), 0);
        assert_int_equal(a, b);
        assert_memory_equal(far_sig, here_sig, a);
        assert_int_equal(sign_item_finish_efi(sign_request_find(again, "uki"), f->certificates, f->image, f->size,
                                              &far_image, &a, NULL),
                         0);
        assert_int_equal(sign_efi(f->set, f->image, f->size, &here_image, &b, NULL), 0);
        assert_int_equal(a, b);
        assert_memory_equal(far_image, here_image, a);
}

/* OpenSSL alone can stand in for the signing machine: base64 -d, dgst -sign, base64. */
static void the_bytes_can_be_signed_by_openssl_alone(void **state) {
        Fixture *f = *state;
        _cleanup_(sign_request_freep) SignRequest *request = make_request(f);
        _cleanup_free_ char *bytes = path_join(f->folder, "bytes"), *raw = path_join(f->folder, "raw"),
                            *response = NULL;

        for (size_t i = 0; i < request->n_items; i++) {
                SignItem *item = request->items + i;
                _cleanup_free_ char *key =
                        path_join(f->keys, item->type == SIGN_AUTHENTICODE ? "secureboot.key" : "verity.key");

                assert_int_equal(io_write_file(AT_FDCWD, bytes, item->bytes, item->size, 0644, NULL), 0);
                run_ok((const char *[]){ "openssl", "dgst", "-sha256", "-sign", key, "-out", raw, bytes, NULL });
                assert_int_equal(
                        io_read_file(AT_FDCWD, raw, 4096, (char **) &item->signature, &item->signature_size, NULL), 0);
        }
        response = sign_response_format(request);
        assert_int_equal(sign_response_apply(request, response, strlen(response), "signed.json", f->certificates, NULL),
                         0);
}

/* Replaces the first occurrence; fails the test if there is none. */
static char *replace(const char *text, const char *from, const char *to) {
        const char *p = strstr(text, from);

        assert_non_null(p);
        return xasprintf("%.*s%s%s", (int) (p - text), text, to, p + strlen(from));
}

static void tampered_requests_are_not_signed(void **state) {
        Fixture *f = *state;
        _cleanup_(sign_request_freep) SignRequest *request = make_request(f);
        _cleanup_free_ char *text = sign_request_format(request), *path = path_join(f->folder, "bad.json"),
                            *out = path_join(f->folder, "bad-signed.json");
        const struct {
                const char *name, *from, *to;
                Refusal refusal;
        } cases[] = {
                { "other format", "sealab-tosign-1", "sealab-tosign-2", REFUSAL_BAD_FORMAT },
                { "unknown member", "\"format\"", "\"extra\": 1, \"format\"", REFUSAL_BAD_FORMAT },
                { "repeated member", "\"format\"", "\"format\": \"x\", \"format\"", REFUSAL_BAD_FORMAT },
                { "other type", "verity-roothash", "authenticode", REFUSAL_BAD_FORMAT },
                { "unknown type", "verity-roothash", "anything", REFUSAL_BAD_FORMAT },
                { "role of another type", "\"role\": \"verity\"", "\"role\": \"secureboot\"", REFUSAL_BAD_FORMAT },
                { "changed bytes", "\"bytes\": \"", "\"bytes\": \"AAAA", REFUSAL_HASH_MISMATCH },
                { "bytes that are no base64", "\"bytes\": \"", "\"bytes\": \"!", REFUSAL_BAD_FORMAT },
                { "escape in the description", "root hash of", "\\u001b[2J", REFUSAL_BAD_FORMAT },
                { "changed subject", "\"subject\": \"", "\"subject\": \"00", REFUSAL_BAD_FORMAT },
                { "same id twice", "\"id\": \"uki\"", "\"id\": \"usr\"", REFUSAL_BAD_FORMAT },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *changed = replace(text, cases[i].from, cases[i].to);
                _cleanup_error_ Error e = {};

                write_text(path, changed);
                if (ceremony_sign_file(path, f->keys, out, NULL, &e) >= 0)
                        fail_msg("signed: %s", cases[i].name);
                if (e.id != cases[i].refusal)
                        fail_msg("%s: %s %s", cases[i].name, refusal_name(e.id), e.message);
                assert_false(io_exists(AT_FDCWD, out));
        }
}

/* The digest is right, the shape is not: somebody wants a signature over bytes of their own. */
static void bytes_of_another_shape_are_not_signed(void **state) {
        Fixture *f = *state;
        _cleanup_(sign_request_freep) SignRequest *request = make_request(f), *parsed = NULL, *root = make_request(f);
        _cleanup_free_ char *text = NULL;
        _cleanup_error_ Error e = {};

        ((uint8_t *) request->items[1].bytes)[request->items[1].size - 1] ^= 1;
        text = sign_request_format(request);
        assert_int_equal(sign_request_parse(text, strlen(text), "tosign.json", &parsed, NULL), 0);
        assert_true(sign_request_sign(parsed, f->set, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_null(parsed->items[0].signature);
        root->root_hash.bytes[0] ^= 1; /* the heading names another root hash than the item */
        assert_true(sign_request_sign(root, f->set, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_true(sign_request_sign(root, f->other_set, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
}

static void bad_answers_change_nothing(void **state) {
        Fixture *f = *state;
        _cleanup_(sign_request_freep) SignRequest *signer = make_request(f), *builder = make_request(f);
        _cleanup_free_ char *text = NULL, *fingerprint = NULL;
        Sha256 other;

        assert_int_equal(sign_request_sign(signer, f->set, NULL), 0);
        text = sign_response_format(signer);
        fingerprint = sha256_hex(&signer->items[0].certificate);
        certificate_fingerprint(f->other_set->certificates[KEY_ROLE_VERITY], &other);
        _cleanup_free_ char *other_hex = sha256_hex(&other);
        const struct {
                const char *name, *from, *to;
                Refusal refusal;
        } cases[] = {
                { "another release", "2026.11.1", "2026.11.2", REFUSAL_DIFFERENT },
                { "missing item", "\"id\": \"uki\"", "\"id\": \"uki2\"", REFUSAL_BAD_SIGNATURE },
                { "item twice", "\"id\": \"uki\"", "\"id\": \"usr\"", REFUSAL_BAD_FORMAT },
                { "another certificate", fingerprint, other_hex, REFUSAL_KEY },
                { "not base64", "\"signature\": \"", "\"signature\": \"*", REFUSAL_BAD_FORMAT },
                { "longer signature", "\"signature\": \"", "\"signature\": \"AAAA", REFUSAL_BAD_SIGNATURE },
                { "unknown member", "\"format\"", "\"extra\": 1, \"format\"", REFUSAL_BAD_FORMAT },
                { "request in its place", "sealab-signed-1", "sealab-tosign-1", REFUSAL_BAD_FORMAT },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *changed = replace(text, cases[i].from, cases[i].to);
                _cleanup_error_ Error e = {};

                if (sign_response_apply(builder, changed, strlen(changed), "signed.json", f->certificates, &e) >= 0)
                        fail_msg("accepted: %s", cases[i].name);
                if (e.id != cases[i].refusal)
                        fail_msg("%s: %s %s", cases[i].name, refusal_name(e.id), e.message);
                assert_null(builder->items[0].signature);
                assert_null(builder->items[1].signature);
        }
        for (size_t n = 0; n < strlen(text) - 1; n += 7)
                assert_true(sign_response_apply(builder, text, n, "signed.json", f->certificates, NULL) < 0);
}

static void a_signature_for_another_image_is_not_attached(void **state) {
        Fixture *f = *state;
        _cleanup_(sign_request_freep) SignRequest *request = make_request(f);
        _cleanup_free_ uint8_t *changed = xmemdup(f->image, f->size);
        _cleanup_error_ Error e = {};
        void *image = NULL;
        size_t size;

        assert_int_equal(sign_request_sign(request, f->set, NULL), 0);
        changed[f->size - 1] ^= 1;
        assert_true(sign_item_finish_efi(sign_request_find(request, "uki"), f->certificates, changed, f->size, &image,
                                         &size, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
}

static void enrolment_files_are_stable_and_hold_the_certificates(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *der = NULL;
        KeysEnrolmentFile *before, *after;
        size_t n_before, n_after, size;

        assert_int_equal(keys_read_enrolment(f->keys, &before, &n_before, NULL), 0);
        assert_int_equal(keys_write_enrolment(f->keys, NULL), 0);
        assert_int_equal(keys_read_enrolment(f->keys, &after, &n_after, NULL), 0);
        assert_int_equal(n_before, 3);
        assert_int_equal(n_after, 3);
        for (size_t i = 0; i < 3; i++) {
                assert_string_equal(before[i].name, after[i].name);
                assert_int_equal(before[i].size, after[i].size);
                assert_memory_equal(before[i].data, after[i].data, before[i].size);
        }
        assert_int_equal(certificate_to_der(f->set->certificates[KEY_ROLE_SECUREBOOT], &der, &size, NULL), 0);
        assert_string_equal(after[2].name, "db.auth");
        assert_memory_equal((uint8_t *) after[2].data + after[2].size - size, der, size);
        keys_enrolment_free(before, n_before);
        keys_enrolment_free(after, n_after);
        assert_int_equal(keys_read_enrolment(f->folder, &before, &n_before, NULL), 1);
        assert_int_equal(n_before, 0);
}

/* efitools is the reference for both formats where it is installed. */
static void efitools_agrees_with_the_enrolment_files(void **state) {
        const char *to_list = getenv("SEALAB_TEST_SIG_LIST") ?: "/usr/bin/cert-to-efi-sig-list";

        if (!io_exists(AT_FDCWD, to_list))
                skip();

        Fixture *f = *state;
        _cleanup_free_ char *certificate = path_join(f->keys, "secureboot.crt"),
                            *ours = path_join(f->keys, "enroll/db.esl"), *theirs = path_join(f->folder, "db.esl"),
                            *a = NULL, *b = NULL;
        size_t a_size, b_size;

        assert_int_equal(io_read_file(AT_FDCWD, ours, 1 << 16, &a, &a_size, NULL), 0);
        /* Bytes 28 to 43 are the owner. */
        _cleanup_free_ char *owner =
                xasprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", (uint8_t) a[31],
                          (uint8_t) a[30], (uint8_t) a[29], (uint8_t) a[28], (uint8_t) a[33], (uint8_t) a[32],
                          (uint8_t) a[35], (uint8_t) a[34], (uint8_t) a[36], (uint8_t) a[37], (uint8_t) a[38],
                          (uint8_t) a[39], (uint8_t) a[40], (uint8_t) a[41], (uint8_t) a[42], (uint8_t) a[43]);
        run_ok((const char *[]){ to_list, "-g", owner, certificate, theirs, NULL });
        assert_int_equal(io_read_file(AT_FDCWD, theirs, 1 << 16, &b, &b_size, NULL), 0);
        assert_int_equal(a_size, b_size);
        assert_memory_equal(a, b, a_size);
}

/* The signed bytes are rebuilt here from the specification, and OpenSSL checks the signature over them. */
static void variable_signatures_hold(void **state) {
        Fixture *f = *state;
        static const struct {
                const char *name, *file, *signer;
                uint8_t vendor[16];
        } cases[] = {
                { "PK",
                  "PK.auth",
                  "PK.crt",
                  { 0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c } },
                { "KEK",
                  "KEK.auth",
                  "PK.crt",
                  { 0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c } },
                { "db",
                  "db.auth",
                  "KEK.crt",
                  { 0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f } },
        };
        static const uint8_t content_info[] = { 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2 };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *path = xasprintf("%s/enroll/%s", f->keys, cases[i].file), *auth = NULL,
                                    *certificate = path_join(f->keys, cases[i].signer),
                                    *p7 = path_join(f->folder, "variable.p7"),
                                    *content = path_join(f->folder, "variable.bin");
                _cleanup_buffer_ Buffer data = {}, wrapped = {};
                uint32_t certificate_size, attributes = 0x27;
                size_t size, sig_size;

                assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 16, &auth, &size, NULL), 0);
                memcpy(&certificate_size, auth + 16, 4);
                sig_size = certificate_size - 24;
                for (const char *p = cases[i].name; *p; p++)
                        buffer_append(&data, (char[]){ *p, 0 }, 2);
                buffer_append(&data, cases[i].vendor, 16);
                buffer_append(&data, &attributes, 4);
                buffer_append(&data, auth, 16);
                buffer_append(&data, auth + 16 + certificate_size, size - 16 - certificate_size);
                assert_int_equal(io_write_file(AT_FDCWD, content, data.data, data.size, 0644, NULL), 0);
                /* OpenSSL wants the ContentInfo that firmware does not. */
                const uint8_t head[] = { 0x30, 0x82, (uint8_t) ((sig_size + 15) >> 8), (uint8_t) (sig_size + 15) };
                const uint8_t explicit[] = { 0xa0, 0x82, (uint8_t) (sig_size >> 8), (uint8_t) sig_size };
                buffer_append(&wrapped, head, 4);
                buffer_append(&wrapped, content_info, sizeof(content_info));
                buffer_append(&wrapped, explicit, 4);
                buffer_append(&wrapped, auth + 40, sig_size);
                assert_int_equal(io_write_file(AT_FDCWD, p7, wrapped.data, wrapped.size, 0644, NULL), 0);
                run_ok((const char *[]){ "openssl", "smime", "-verify", "-binary", "-inform", "DER", "-in", p7,
                                         "-content", content, "-certfile", certificate, "-nointern", "-noverify",
                                         "-out", "/dev/null", NULL });
        }
}

static void what_is_in_a_folder_is_shown(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *folder = copy_keys(f, "shown"), *text = NULL, *path = path_join(folder, "PK.key");
        _cleanup_json_ json_t *shown = NULL;

        remove_in(folder, "KEK.key");
        assert_int_equal(chmod(path, 0644), 0);
        remove_in(folder, "verity.key");
        write_in(folder, "verity.uri", "pkcs11:token=x;object=y?pin-value=4321\n");
        assert_int_equal(keys_show(folder, &shown, NULL), 0);
        assert_int_equal(json_array_size(shown), 4);
        text = keys_format(shown);
        assert_null(strstr(text, "4321"));
        assert_non_null(strstr(text, "key: token, pkcs11:token=x;object=y\n"));
        assert_non_null(strstr(text, "key: missing"));
        assert_non_null(strstr(text, "can be read by others"));
        assert_string_equal(json_string_value(json_object_get(json_array_get(shown, 1), "place")), "file");
        assert_true(json_is_null(json_object_get(json_array_get(shown, 1), "problem")));
        assert_true(json_is_true(json_object_get(json_array_get(shown, 1), "development")));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(key_folders_appear_whole_and_private_and_once),
                cmocka_unit_test(releases_refuse_development_keys),
                cmocka_unit_test(unusable_key_folders_are_refused_with_a_remedy),
                cmocka_unit_test(token_keys_work_through_uri_file_and_conf),
                cmocka_unit_test(what_is_signed_here_is_checked_here),
                cmocka_unit_test(the_ceremony_gives_what_signing_here_gives),
                cmocka_unit_test(the_bytes_can_be_signed_by_openssl_alone),
                cmocka_unit_test(tampered_requests_are_not_signed),
                cmocka_unit_test(bytes_of_another_shape_are_not_signed),
                cmocka_unit_test(bad_answers_change_nothing),
                cmocka_unit_test(a_signature_for_another_image_is_not_attached),
                cmocka_unit_test(enrolment_files_are_stable_and_hold_the_certificates),
                cmocka_unit_test(efitools_agrees_with_the_enrolment_files),
                cmocka_unit_test(variable_signatures_hold),
                cmocka_unit_test(what_is_in_a_folder_is_shown),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
