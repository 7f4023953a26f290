/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* PE images: what is accepted, what is refused, and that a signature covers every byte that it should. sbsigntool and
 * binutils judge our images where they are installed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypto.h"
#include "io.h"
#include "pe.h"
#include "process.h"
#include "synthetic-pe.h"

typedef struct Fixture {
        char *folder;
        PrivateKey *key, *other_key;
        Certificate *certificate, *other_certificate;
        void *stub, *signed_image;
        size_t stub_size, signed_size;
} Fixture;

static char *in_folder(const Fixture *f, const char *name) {
        return xasprintf("%s/%s", f->folder, name);
}

static void load_pair(Fixture *f, const char *name, PrivateKey **key, Certificate **certificate) {
        _cleanup_free_ char *key_path = xasprintf("%s/%s.key", f->folder, name);
        _cleanup_free_ char *certificate_path = xasprintf("%s/%s.crt", f->folder, name);
        Error e = {};

        assert_int_equal(crypto_generate_pair(f->folder, name, name, true, 2048, 30, &e), 0);
        assert_int_equal(private_key_load(key_path, key, &e), 0);
        assert_int_equal(certificate_load(certificate_path, certificate, &e), 0);
}

static void sign(const Fixture *f, const void *image, size_t size, void **ret, size_t *ret_size) {
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ void *sig = NULL;
        size_t sig_size;
        Sha256 digest;
        Error e = {};

        assert_int_equal(pe_parse(image, size, &p, &e), 0);
        assert_int_equal(pe_authenticode_digest(&p, &digest, &e), 0);
        assert_int_equal(authenticode_sign(f->key, f->certificate, &digest, &sig, &sig_size, &e), 0);
        assert_int_equal(pe_attach_signature(image, size, sig, sig_size, ret, ret_size, &e), 0);
}

static int verify(const void *image, size_t size, Certificate *const *trusted, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        Sha256 vouched, digest;
        const void *sig;
        size_t sig_size;
        int r;

        r = pe_parse(image, size, &p, reterr);
        if (r >= 0)
                r = pe_signature(&p, &sig, &sig_size, reterr);
        if (r >= 0)
                r = authenticode_verify(sig, sig_size, trusted, 1, &vouched, reterr);
        if (r >= 0)
                r = pe_authenticode_digest(&p, &digest, reterr);
        if (r < 0)
                return r;
        return sha256_equal(&digest, &vouched) ? 0 : error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "digest");
}

static int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);

        assert_int_equal(io_temporary_folder("test-pe", &f->folder, NULL), 0);
        load_pair(f, "one", &f->key, &f->certificate);
        load_pair(f, "two", &f->other_key, &f->other_certificate);
        f->stub = synthetic_pe(&f->stub_size);
        sign(f, f->stub, f->stub_size, &f->signed_image, &f->signed_size);
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
        free(f->stub);
        free(f->signed_image);
        free(f->folder);
        free(f);
        return 0;
}

static void a_small_image_is_read(void **state) {
        Fixture *f = *state;
        _cleanup_(pe_done) PeImage p = {};
        const PeSection *s;
        size_t n;

        assert_int_equal(pe_parse(f->stub, f->stub_size, &p, NULL), 0);
        assert_int_equal(p.machine, 0x8664);
        assert_int_equal(p.n_sections, 2);
        s = pe_find(&p, ".sdmagic");
        assert_non_null(s);
        assert_memory_equal(pe_section_data(&p, s, &n), SYNTHETIC_MAGIC, strlen(SYNTHETIC_MAGIC));
        assert_int_equal(n, strlen(SYNTHETIC_MAGIC));
        assert_null(pe_find(&p, ".linux"));
}

static void images_cut_short_anywhere_are_refused_or_read_safely(void **state) {
        Fixture *f = *state;

        for (size_t size = 0; size < f->signed_size; size++) {
                /* An allocation of its own, so that the sanitizer sees one byte too far. */
                _cleanup_free_ void *copy = xmemdup(f->signed_image, size);
                _cleanup_error_ Error e = {};

                assert_true(verify(copy, size, &f->certificate, &e) < 0);
                assert_true(e.id == REFUSAL_BAD_FORMAT || e.id == REFUSAL_BAD_SIGNATURE);
        }
}

static void damaged_headers_are_refused(void **state) {
        Fixture *f = *state;
        static const struct {
                const char *name;
                size_t offset, width;
                uint32_t value;
        } cases[] = {
                { "no MZ", 0, 2, 0 },
                { "PE header beyond the file", 0x3c, 4, 0xfffffff0 },
                { "PE header inside the DOS header", 0x3c, 4, 4 },
                { "no PE signature", SYNTHETIC_PE_OFFSET, 4, 0 },
                { "no sections", SYNTHETIC_PE_OFFSET + 6, 2, 0 },
                { "too many sections", SYNTHETIC_PE_OFFSET + 6, 2, 0xffff },
                { "section table beyond the headers", SYNTHETIC_PE_OFFSET + 6, 2, 90 },
                { "optional header too small", SYNTHETIC_PE_OFFSET + 20, 2, 100 },
                { "optional header too large", SYNTHETIC_PE_OFFSET + 20, 2, 0xffff },
                { "PE32", SYNTHETIC_OPTIONAL, 2, 0x10b },
                { "section alignment 0", SYNTHETIC_OPTIONAL + 32, 4, 0 },
                { "section alignment 3", SYNTHETIC_OPTIONAL + 32, 4, 3 },
                { "file alignment 0", SYNTHETIC_OPTIONAL + 36, 4, 0 },
                { "headers larger than the file", SYNTHETIC_OPTIONAL + 60, 4, 0x100000 },
                { "no certificate directory", SYNTHETIC_OPTIONAL + 108, 4, 4 },
                { "certificates in the middle", SYNTHETIC_OPTIONAL + 144, 4, 0x400 },
                { "certificates of no size", SYNTHETIC_OPTIONAL + 148, 4, 0 },
                { "certificates larger than the file", SYNTHETIC_OPTIONAL + 148, 4, 0x7fffffff },
                { "raw data over the headers", SYNTHETIC_TABLE + 20, 4, 0x100 },
                { "raw data beyond the file", SYNTHETIC_TABLE + 16, 4, 0x7fffffff },
                { "raw data overlapping", SYNTHETIC_TABLE + 40 + 20, 4, 0x400 },
                { "address beyond 4 GiB", SYNTHETIC_TABLE + 12, 4, 0xffffffff },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ uint8_t *copy = xmemdup(f->signed_image, f->signed_size);
                _cleanup_(pe_done) PeImage p = {};
                _cleanup_error_ Error e = {};

                for (size_t k = 0; k < cases[i].width; k++)
                        copy[cases[i].offset + k] = (uint8_t) (cases[i].value >> (8 * k));
                if (pe_parse(copy, f->signed_size, &p, &e) >= 0)
                        fail_msg("accepted: %s", cases[i].name);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

static void every_single_bit_flip_is_refused(void **state) {
        Fixture *f = *state;
        _cleanup_free_ uint8_t *copy = xmemdup(f->signed_image, f->signed_size);
        _cleanup_(pe_done) PeImage p = {};
        size_t n_tried = 0;

        assert_int_equal(verify(copy, f->signed_size, &f->certificate, NULL), 0);
        assert_int_equal(pe_parse(f->signed_image, f->signed_size, &p, NULL), 0);
        for (size_t i = 0; i < p.certificate_offset; i++) {
                if (i >= p.checksum_offset && i < p.checksum_offset + 4)
                        continue; /* by definition not covered */
                for (int bit = 0; bit < 8; bit++) {
                        copy[i] ^= (uint8_t) (1 << bit);
                        if (verify(copy, f->signed_size, &f->certificate, NULL) >= 0)
                                fail_msg("bit %d of byte %zu can be changed", bit, i);
                        copy[i] ^= (uint8_t) (1 << bit);
                        n_tried++;
                }
        }
        assert_int_equal(n_tried, (p.certificate_offset - 4) * 8);
}

static void bytes_in_a_gap_are_refused(void **state) {
        Fixture *f = *state;
        _cleanup_free_ uint8_t *copy = xmemdup(f->stub, f->stub_size);
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_error_ Error e = {};
        Sha256 digest;

        /* The first section ends 256 bytes earlier, so that nothing covers these. */
        copy[SYNTHETIC_TABLE + 17] -= 1;
        assert_int_equal(pe_parse(copy, f->stub_size, &p, NULL), 0);
        assert_true(pe_authenticode_digest(&p, &digest, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

static void a_foreign_or_missing_signature_is_refused(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};

        assert_true(verify(f->signed_image, f->signed_size, &f->other_certificate, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        assert_true(verify(f->stub, f->stub_size, &f->certificate, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
}

static void a_second_signature_is_refused(void **state) {
        Fixture *f = *state;
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ uint8_t *twice = NULL;
        _cleanup_error_ Error e = {};
        uint32_t size, total;

        assert_int_equal(pe_parse(f->signed_image, f->signed_size, &p, NULL), 0);
        size = p.certificate_size;
        total = 2 * size;
        twice = xmalloc(f->signed_size + size);
        memcpy(twice, f->signed_image, f->signed_size);
        memcpy(twice + f->signed_size, twice + p.certificate_offset, size);
        memcpy(twice + p.certificate_directory_offset + 4, &total, 4);
        assert_true(verify(twice, f->signed_size + size, &f->certificate, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
}

static void signing_twice_gives_the_same_bytes_and_stripping_the_old_ones(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *again = NULL, *stripped = NULL, *resigned = NULL;
        size_t again_size, stripped_size, resigned_size;

        sign(f, f->stub, f->stub_size, &again, &again_size);
        assert_int_equal(again_size, f->signed_size);
        assert_memory_equal(again, f->signed_image, again_size);
        sign(f, f->signed_image, f->signed_size, &resigned, &resigned_size);
        assert_int_equal(resigned_size, f->signed_size);
        assert_memory_equal(resigned, f->signed_image, resigned_size);
        assert_int_equal(pe_strip_signature(f->signed_image, f->signed_size, &stripped, &stripped_size, NULL), 0);
        assert_int_equal(stripped_size, f->stub_size);
        assert_memory_equal(stripped, f->stub, stripped_size);
}

static void images_of_odd_size_are_padded_before_the_signature(void **state) {
        Fixture *f = *state;
        _cleanup_free_ uint8_t *odd = xcalloc(1, f->stub_size + 3);
        _cleanup_free_ void *image = NULL;
        size_t size;

        memcpy(odd, f->stub, f->stub_size);
        memcpy(odd + f->stub_size, "abc", 3);
        sign(f, odd, f->stub_size + 3, &image, &size);
        assert_int_equal(verify(image, size, &f->certificate, NULL), 0);
        ((uint8_t *) image)[f->stub_size + 4] ^= 1; /* a byte of the padding */
        assert_true(verify(image, size, &f->certificate, NULL) < 0);
}

static void sections_are_added_in_order(void **state) {
        Fixture *f = *state;
        static const PeAddition additions[] = {
                { .name = ".osrel", .data = "ID=x\n", .size = 5 },
                { .name = ".cmdline", .data = "quiet", .size = 5 },
                { .name = ".linux", .data = NULL, .size = 1000, .executable = true },
        };
        _cleanup_free_ PeAddition *copy = xmemdup(additions, sizeof(additions));
        _cleanup_free_ void *image = NULL;
        _cleanup_(pe_done) PeImage p = {};
        size_t size, n;

        copy[2].data = f->stub;
        assert_int_equal(pe_add_sections(f->stub, f->stub_size, copy, 3, &image, &size, NULL), 0);
        assert_int_equal(pe_parse(image, size, &p, NULL), 0);
        assert_int_equal(p.n_sections, 5);
        for (size_t i = 0; i < 3; i++) {
                const PeSection *s = p.sections + 2 + i;

                assert_string_equal(s->name, copy[i].name);
                assert_int_equal(s->virtual_address % 4096, 0);
                assert_memory_equal(pe_section_data(&p, s, &n), copy[i].data, copy[i].size);
                assert_int_equal(n, copy[i].size);
        }
}

static void impossible_sections_are_refused(void **state) {
        Fixture *f = *state;
        static const struct {
                PeAddition additions[2];
                Refusal refusal;
        } cases[] = {
                { { { .name = "", .data = "x", .size = 1 }, { .name = ".a", .data = "x", .size = 1 } },
                  REFUSAL_BAD_VALUE },
                { { { .name = ".toolongname", .data = "x", .size = 1 }, { .name = ".a", .data = "x", .size = 1 } },
                  REFUSAL_BAD_VALUE },
                { { { .name = ".a", .data = "x", .size = 1 }, { .name = ".a", .data = "x", .size = 1 } },
                  REFUSAL_BAD_VALUE },
                { { { .name = ".sdmagic", .data = "x", .size = 1 }, { .name = ".a", .data = "x", .size = 1 } },
                  REFUSAL_BAD_VALUE },
                { { { .name = ".a", .data = "x", .size = 0 }, { .name = ".b", .data = "x", .size = 1 } },
                  REFUSAL_BAD_VALUE },
        };
        PeAddition many[40];
        char names[40][9];
        _cleanup_error_ Error e = {};
        void *image = NULL;
        size_t size;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_true(pe_add_sections(f->stub, f->stub_size, cases[i].additions, 2, &image, &size, &e) < 0);
                assert_int_equal(e.id, cases[i].refusal);
        }
        for (size_t i = 0; i < ELEMENTSOF(many); i++) {
                snprintf(names[i], sizeof(names[i]), ".s%zu", i);
                many[i] = (PeAddition){ .name = names[i], .data = "x", .size = 1 };
        }
        assert_true(pe_add_sections(f->stub, f->stub_size, many, ELEMENTSOF(many), &image, &size, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

static int run(const char *const *argv, Error *reterr) {
        return process_run((char *const *) argv, NULL, NULL, NULL, reterr);
}

static void sbverify_accepts_our_signature_and_we_accept_sbsign(void **state) {
        if (!io_exists(AT_FDCWD, "/usr/bin/sbverify"))
                skip();

        Fixture *f = *state;
        _cleanup_free_ char *image = in_folder(f, "signed.efi"), *certificate = in_folder(f, "one.crt"),
                            *other = in_folder(f, "two.crt"), *key = in_folder(f, "one.key"),
                            *plain = in_folder(f, "plain.efi"), *theirs = in_folder(f, "theirs.efi"), *data = NULL;
        size_t size;
        Error e = {};

        assert_int_equal(io_write_file(AT_FDCWD, image, f->signed_image, f->signed_size, 0644, &e), 0);
        assert_int_equal(io_write_file(AT_FDCWD, plain, f->stub, f->stub_size, 0644, &e), 0);
        if (run((const char *[]){ "sbverify", "--cert", certificate, image, NULL }, &e) < 0)
                fail_msg("%s", e.message);
        assert_true(run((const char *[]){ "sbverify", "--cert", other, image, NULL }, NULL) < 0);
        if (run((const char *[]){ "sbsign", "--key", key, "--cert", certificate, "--output", theirs, plain, NULL },
                &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(io_read_file(AT_FDCWD, theirs, 1 << 20, &data, &size, &e), 0);
        if (verify(data, size, &f->certificate, &e) < 0)
                fail_msg("%s", e.message);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_small_image_is_read),
                cmocka_unit_test(images_cut_short_anywhere_are_refused_or_read_safely),
                cmocka_unit_test(damaged_headers_are_refused),
                cmocka_unit_test(every_single_bit_flip_is_refused),
                cmocka_unit_test(bytes_in_a_gap_are_refused),
                cmocka_unit_test(a_foreign_or_missing_signature_is_refused),
                cmocka_unit_test(a_second_signature_is_refused),
                cmocka_unit_test(signing_twice_gives_the_same_bytes_and_stripping_the_old_ones),
                cmocka_unit_test(images_of_odd_size_are_padded_before_the_signature),
                cmocka_unit_test(sections_are_added_in_order),
                cmocka_unit_test(impossible_sections_are_refused),
                cmocka_unit_test(sbverify_accepts_our_signature_and_we_accept_sbsign),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
