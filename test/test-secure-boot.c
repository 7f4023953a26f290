/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "updater-fixture.h"

#include "boot.h"
#include "crypto.h"
#include "secure-boot.h"

#define EFIVARS "sys/firmware/efi/efivars/"

/* EFI_CERT_X509_GUID and EFI_CERT_SHA256_GUID. */
static const char x509[] = "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72";
static const char sha256[] = "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28";

static void make_pair(const MachineFixture *f, const char *name) {
        _cleanup_error_ Error e = {};

        updater_ok(crypto_generate_pair(f->folder, name, name, true, 2048, 30, &e), &e);
}

static Certificate *certificate(const MachineFixture *f, const char *name) {
        _cleanup_free_ char *path = xasprintf("%s/%s.crt", f->folder, name);
        _cleanup_error_ Error e = {};
        Certificate *c = NULL;

        updater_ok(certificate_load(path, &c, &e), &e);
        return c;
}

/* A UKI for that root hash with the signature of that key; owned. */
static void *signed_uki(const MachineFixture *f, const Sha256 *root_hash, const char *key, size_t *ret_size) {
        _cleanup_free_ char *path = xasprintf("%s/%s.key", f->folder, key), *hex = sha256_hex(root_hash),
                            *line = xasprintf("usrhash=%s", hex);
        _cleanup_(certificate_freep) Certificate *c = certificate(f, key);
        _cleanup_(private_key_freep) PrivateKey *k = NULL;
        _cleanup_free_ void *fake = NULL, *bare = NULL, *signature = NULL;
        _cleanup_(pe_done) PeImage image = {};
        size_t fake_size, bare_size, signature_size;
        _cleanup_error_ Error e = {};
        void *ret = NULL;
        Sha256 digest;
        int r;

        fake = fixture_uki(line, &fake_size);
        r = private_key_load(path, &k, &e);
        if (r >= 0)
                r = pe_strip_signature(fake, fake_size, &bare, &bare_size, &e);
        if (r >= 0)
                r = pe_parse(bare, bare_size, &image, &e);
        if (r >= 0)
                r = pe_authenticode_digest(&image, &digest, &e);
        if (r >= 0)
                r = authenticode_sign(k, c, &digest, &signature, &signature_size, &e);
        if (r >= 0)
                r = pe_attach_signature(bare, bare_size, signature, signature_size, &ret, ret_size, &e);
        updater_ok(r, &e);
        return ret;
}

static void append32(Buffer *b, size_t n) {
        const uint8_t bytes[4] = { (uint8_t) n, (uint8_t) (n >> 8), (uint8_t) (n >> 16), (uint8_t) (n >> 24) };

        buffer_append(b, bytes, sizeof bytes);
}

static void append_list(Buffer *b, const char *type, const void *data, size_t size) {
        buffer_append(b, type, 16);
        append32(b, 28 + 16 + size);
        append32(b, 0);
        append32(b, 16 + size);
        buffer_append(b, "owner of the key", 16);
        buffer_append(b, data, size);
}

static void write_db(const MachineFixture *f, const char *const *keys) {
        _cleanup_buffer_ Buffer b = {};

        buffer_append(&b, "\7\0\0\0", 4);
        /* Other things that firmware has there. */
        append_list(&b, sha256, "0123456789abcdef0123456789abcdef", 32);
        for (; *keys; keys++) {
                _cleanup_(certificate_freep) Certificate *c = certificate(f, *keys);
                _cleanup_free_ void *der = NULL;
                size_t size;

                assert_int_equal(certificate_to_der(c, &der, &size, NULL), 0);
                append_list(&b, x509, der, size);
        }
        append_list(&b, x509, "no certificate", 14);
        machine_fixture_write(f->root, EFIVARS "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f", b.data, b.size);
}

static void set_secure_boot(const MachineFixture *f, bool on) {
        machine_fixture_write(f->root, EFIVARS "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                              on ? "\6\0\0\0\1" : "\6\0\0\0\0", 5);
}

static int check(const MachineFixture *f, const char *running, const char *new, Error *e) {
        _cleanup_free_ void *old = NULL, *uki = NULL;
        Sha256 root_hash = fixture_hash("2");
        _cleanup_(machine_freep) Machine *m = NULL;
        size_t size;

        old = signed_uki(f, &f->running, running, &size);
        machine_fixture_write(f->boot, "EFI/Linux/desk_1.efi", old, size);
        m = machine_fixture_read(f);
        uki = signed_uki(f, &root_hash, new, &size);
        return secure_boot_check(m, uki, size, e);
}

static void a_key_that_the_firmware_does_not_have_is_refused(void **state) {
        const MachineFixture *f = *state;
        const struct {
                bool on;
                const char *const db[3];
                const char *running, *new;
                Refusal id;
        } cases[] = {
                { true, { "ours" }, "ours", "ours", REFUSAL_NONE },
                { true, { "ours" }, "ours", "theirs", REFUSAL_KEY },
                { true, { "theirs", "ours" }, "ours", "theirs", REFUSAL_NONE },
                { false, { "ours" }, "ours", "theirs", REFUSAL_NONE },
                /* What let the running one start is not known here: so nothing is known of the new one. */
                { true, { "ours" }, "theirs", "theirs", REFUSAL_NONE },
                { true, { NULL }, "ours", "theirs", REFUSAL_NONE },
        };

        make_pair(f, "ours");
        make_pair(f, "theirs");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                print_message("case %zu\n", i);
                set_secure_boot(f, cases[i].on);
                write_db(f, cases[i].db);
                assert_int_equal(check(f, cases[i].running, cases[i].new, &e) < 0, cases[i].id != REFUSAL_NONE);
                assert_int_equal(e.id, cases[i].id);
        }
}

static void without_variables_nothing_is_refused(void **state) {
        const MachineFixture *f = *state;
        _cleanup_error_ Error e = {};

        make_pair(f, "ours");
        make_pair(f, "theirs");
        updater_ok(check(f, "ours", "theirs", &e), &e);
        set_secure_boot(f, true);
        updater_ok(check(f, "ours", "theirs", &e), &e);
}

/* Firmware has been seen to have anything in its variables: no length in them leads beyond their end. */
static void broken_variables_are_read_as_far_as_they_go(void **state) {
        static const char *const db[] = { "ours", NULL };
        const MachineFixture *f = *state;
        _cleanup_free_ char *data = NULL, *path = path_join(f->root, EFIVARS "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f");
        size_t size;

        make_pair(f, "ours");
        make_pair(f, "theirs");
        set_secure_boot(f, true);
        write_db(f, db);
        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &data, &size, NULL), 0);
        for (size_t n = 0; n < size; n += n < 120 ? 7 : 211) {
                _cleanup_error_ Error e = {};

                machine_fixture_write(f->root, EFIVARS "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f", data, n);
                (void) check(f, "ours", "theirs", &e);
        }
        for (size_t at = 4 + 16; at < 4 + 28; at++) {
                char old = data[at];

                for (int value = 0; value < 256; value += 51) {
                        _cleanup_error_ Error e = {};

                        data[at] = (char) value;
                        machine_fixture_write(f->root, EFIVARS "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f", data, size);
                        (void) check(f, "ours", "theirs", &e);
                }
                data[at] = old;
        }
}

static void such_an_image_never_becomes_an_entry(void **state) {
        static const char *const db[] = { "ours", NULL };
        const MachineFixture *f = *state;
        ReleaseDescription d = { .product = (char *) "desk", .version = (char *) "2", .root_hash = fixture_hash("2") };
        _cleanup_free_ char *hex = sha256_hex(&d.root_hash), *line = xasprintf("usrhash=%s", hex);
        _cleanup_free_ void *old = NULL, *uki = NULL;
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error e = {};
        size_t size;

        make_pair(f, "ours");
        make_pair(f, "theirs");
        set_secure_boot(f, true);
        write_db(f, db);
        old = signed_uki(f, &f->running, "ours", &size);
        machine_fixture_write(f->boot, "EFI/Linux/desk_1.efi", old, size);
        m = machine_fixture_read(f);
        uki = signed_uki(f, &d.root_hash, "theirs", &size);
        sha256_buffer(line, strlen(line), &d.command_line);
        d.artifacts[ARTIFACT_UKI] = (Artifact){ .present = true, .size = size };
        updater_ok(boot_create_temporary(m, &d, &fd, &e), &e);
        assert_int_equal(io_pwrite_all(fd, uki, size, 0, NULL), 0);
        assert_true(boot_install(m, &d, fd, size, 3, &e) < 0);
        assert_int_equal(e.id, REFUSAL_KEY);
        {
                _cleanup_free_ char *entry = path_join(f->boot, "EFI/Linux/desk_2+3-0.efi");

                assert_false(io_exists(AT_FDCWD, entry));
        }
}

int main(void) {
#define with_machine(f) cmocka_unit_test_setup_teardown(f, machine_fixture_setup, machine_fixture_teardown)
        const struct CMUnitTest tests[] = {
                with_machine(a_key_that_the_firmware_does_not_have_is_refused),
                with_machine(without_variables_nothing_is_refused),
                with_machine(broken_variables_are_read_as_far_as_they_go),
                with_machine(such_an_image_never_becomes_an_entry),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
