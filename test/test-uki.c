/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Unified kernel images from a synthetic stub, or from a real one named by $SEALAB_TEST_STUB. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io.h"
#include "pe.h"
#include "process.h"
#include "synthetic-pe.h"
#include "uki.h"

#define USRHASH "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210"
#define OS_RELEASE "ID=debian\nIMAGE_ID=minimal\nIMAGE_VERSION=\"2026.11.1\"\n"

typedef struct Fixture {
        char *folder;
        PrivateKey *key;
        Certificate *certificate, *other_certificate;
        void *stub, *kernel;
        size_t stub_size, kernel_size;
        UkiOptions options;
} Fixture;

static int set_up(void **state) {
        const char *stub = getenv("SEALAB_TEST_STUB");
        _cleanup_free_ char *key = NULL, *certificate = NULL, *other = NULL;
        Fixture *f = xnew(Fixture, 1);

        assert_int_equal(io_temporary_folder("test-uki", &f->folder, NULL), 0);
        assert_int_equal(crypto_generate_pair(f->folder, "one", "one", true, 2048, 30, NULL), 0);
        assert_int_equal(crypto_generate_pair(f->folder, "two", "two", true, 2048, 30, NULL), 0);
        key = path_join(f->folder, "one.key");
        certificate = path_join(f->folder, "one.crt");
        other = path_join(f->folder, "two.crt");
        assert_int_equal(private_key_load(key, &f->key, NULL), 0);
        assert_int_equal(certificate_load(certificate, &f->certificate, NULL), 0);
        assert_int_equal(certificate_load(other, &f->other_certificate, NULL), 0);
        if (isempty(stub))
                f->stub = synthetic_pe(&f->stub_size);
        else
                assert_int_equal(
                        io_read_file(AT_FDCWD, stub, (size_t) 1 << 20, (char **) &f->stub, &f->stub_size, NULL), 0);
        f->kernel = synthetic_pe(&f->kernel_size);
        f->options = (UkiOptions){
                .stub = f->stub,
                .stub_size = f->stub_size,
                .kernel = f->kernel,
                .kernel_size = f->kernel_size,
                .initrd = "not really an initrd",
                .initrd_size = 20,
                .command_line = "usrhash=" USRHASH " quiet",
                .os_release = OS_RELEASE,
                .uname = "6.12.48+deb13-amd64",
        };
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->folder, NULL);
        private_key_free(f->key);
        certificate_free(f->certificate);
        certificate_free(f->other_certificate);
        free(f->stub);
        free(f->kernel);
        free(f->folder);
        free(f);
        return 0;
}

static void assemble(const Fixture *f, void **ret, size_t *ret_size) {
        _cleanup_error_ Error e = {};

        if (uki_assemble(&f->options, ret, ret_size, &e) < 0)
                fail_msg("%s", e.message);
}

static void what_goes_in_comes_out(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *image = NULL;
        _cleanup_uki_ Uki u = {};
        Sha256 kernel;
        char *hex;
        size_t size;

        assemble(f, &image, &size);
        assert_int_equal(uki_read(image, size, &u, NULL), 0);
        assert_string_equal(u.command_line, f->options.command_line);
        assert_string_equal(u.os_release, OS_RELEASE);
        assert_string_equal(u.uname, f->options.uname);
        assert_string_equal(u.image_id, "minimal");
        assert_string_equal(u.image_version, "2026.11.1");
        assert_true(u.has_usrhash);
        hex = sha256_hex(&u.usrhash);
        assert_string_equal(hex, USRHASH);
        free(hex);
        sha256_buffer(f->kernel, f->kernel_size, &kernel);
        assert_true(sha256_equal(&u.kernel, &kernel));
        assert_int_equal(u.initrd_size, 20);
        assert_false(u.is_signed);
}

static void assembling_twice_gives_the_same_bytes(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *first = NULL, *second = NULL;
        size_t first_size, second_size;

        assemble(f, &first, &first_size);
        assemble(f, &second, &second_size);
        assert_int_equal(first_size, second_size);
        assert_memory_equal(first, second, first_size);
}

static void sections_come_in_the_order_of_the_specification(void **state) {
        Fixture *f = *state;
        static const char *const order[] = { ".osrel", ".cmdline", ".uname", ".initrd", ".linux" };
        _cleanup_(pe_done) PeImage stub = {}, p = {};
        _cleanup_free_ void *image = NULL;
        uint64_t address = 0;
        size_t size;

        assemble(f, &image, &size);
        assert_int_equal(pe_parse(f->stub, f->stub_size, &stub, NULL), 0);
        assert_int_equal(pe_parse(image, size, &p, NULL), 0);
        assert_int_equal(p.n_sections, stub.n_sections + ELEMENTSOF(order));
        for (size_t i = 0; i < ELEMENTSOF(order); i++) {
                const PeSection *s = p.sections + stub.n_sections + i;

                assert_string_equal(s->name, order[i]);
                assert_true(s->virtual_address >= address);
                address = (uint64_t) s->virtual_address + s->virtual_size;
        }
        for (size_t i = 0; i < stub.n_sections; i++) {
                size_t a, b;
                const void *before = pe_section_data(&stub, stub.sections + i, &a);
                const void *after = pe_section_data(&p, p.sections + i, &b);

                assert_int_equal(a, b);
                assert_memory_equal(before, after, a);
        }
}

static void signatures_hold_until_a_byte_changes(void **state) {
        Fixture *f = *state;
        _cleanup_free_ void *image = NULL, *signed_image = NULL;
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_error_ Error e = {};
        size_t size, signed_size, n;
        char *command_line;

        assemble(f, &image, &size);
        assert_int_equal(uki_sign(image, size, f->key, f->certificate, &signed_image, &signed_size, NULL), 0);
        assert_int_equal(uki_verify(signed_image, signed_size, &f->certificate, 1, NULL), 0);
        assert_true(uki_verify(signed_image, signed_size, &f->other_certificate, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        assert_true(uki_verify(image, size, &f->certificate, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        assert_int_equal(pe_parse(signed_image, signed_size, &p, NULL), 0);
        command_line = (char *) pe_section_data(&p, pe_find(&p, ".cmdline"), &n);
        command_line[10] ^= 1;
        assert_true(uki_verify(signed_image, signed_size, &f->certificate, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
}

static void other_tools_agree(void **state) {
        if (!io_exists(AT_FDCWD, "/usr/bin/sbverify") || !io_exists(AT_FDCWD, "/usr/bin/objdump"))
                skip();

        Fixture *f = *state;
        _cleanup_free_ char *path = path_join(f->folder, "uki.efi"), *certificate = path_join(f->folder, "one.crt"),
                            *unsigned_path = path_join(f->folder, "unsigned.efi"), *headers = NULL, *stripped = NULL;
        _cleanup_free_ void *image = NULL, *signed_image = NULL;
        size_t size, signed_size, stripped_size;
        _cleanup_error_ Error e = {};

        assemble(f, &image, &size);
        assert_int_equal(uki_sign(image, size, f->key, f->certificate, &signed_image, &signed_size, NULL), 0);
        assert_int_equal(io_write_file(AT_FDCWD, path, signed_image, signed_size, 0644, NULL), 0);
        assert_int_equal(io_write_file(AT_FDCWD, unsigned_path, signed_image, signed_size, 0644, NULL), 0);
        char *sbverify[] = { (char *) "sbverify", (char *) "--cert", certificate, path, NULL };
        if (process_run(sbverify, NULL, NULL, NULL, &e) < 0)
                fail_msg("%s", e.message);
        char *objdump[] = { (char *) "objdump", (char *) "-h", path, NULL };
        if (process_run(objdump, NULL, &headers, NULL, &e) < 0)
                fail_msg("%s", e.message);
        static const char *const names[] = { ".osrel", ".cmdline", ".uname", ".initrd", ".linux", ".sdmagic" };
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                assert_non_null(strstr(headers, names[i]));
        /* sbattach takes the signature off and leaves what was signed. */
        char *sbattach[] = { (char *) "sbattach", (char *) "--remove", unsigned_path, NULL };
        if (process_run(sbattach, NULL, NULL, NULL, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(io_read_file(AT_FDCWD, unsigned_path, (size_t) 1 << 28, &stripped, &stripped_size, NULL), 0);
        assert_int_equal(stripped_size, size);
        _cleanup_(pe_done) PeImage ours = {}, theirs = {};
        Sha256 our_digest, their_digest;
        assert_int_equal(pe_parse(image, size, &ours, NULL), 0);
        assert_int_equal(pe_parse(stripped, stripped_size, &theirs, NULL), 0);
        assert_int_equal(pe_authenticode_digest(&ours, &our_digest, NULL), 0);
        assert_int_equal(pe_authenticode_digest(&theirs, &their_digest, NULL), 0);
        assert_true(sha256_equal(&our_digest, &their_digest));
}

static void unsuitable_parts_are_refused(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *long_line = xmalloc(UKI_COMMAND_LINE_MAX + 1);
        _cleanup_free_ uint8_t *arm = xmemdup(f->kernel, f->kernel_size), *plain = xmemdup(f->kernel, f->kernel_size);
        _cleanup_error_ Error e = {};

        memset(long_line, 'a', UKI_COMMAND_LINE_MAX);
        long_line[UKI_COMMAND_LINE_MAX] = 0;
        synthetic_put(arm, SYNTHETIC_PE_OFFSET + 4, 2, 0xaa64);
        memcpy(plain + SYNTHETIC_TABLE + 40, ".other\0\0", 8);
        const struct {
                const char *name;
                UkiOptions change;
                Refusal refusal;
        } cases[] = {
                { "two lines", { .command_line = "quiet\nsplash" }, REFUSAL_BAD_VALUE },
                { "no command line", { .command_line = "" }, REFUSAL_BAD_VALUE },
                { "long command line", { .command_line = long_line }, REFUSAL_BAD_VALUE },
                { "no os-release", { .os_release = "" }, REFUSAL_BAD_VALUE },
                { "no kernel release", { .uname = "" }, REFUSAL_BAD_VALUE },
                { "kernel of another machine", { .kernel = arm, .kernel_size = f->kernel_size }, REFUSAL_BAD_VALUE },
                { "kernel that is none", { .kernel = "kernel", .kernel_size = 6 }, REFUSAL_BAD_FORMAT },
                { "stub that is none", { .stub = "stub", .stub_size = 4 }, REFUSAL_BAD_FORMAT },
                { "another program as stub", { .stub = plain, .stub_size = f->kernel_size }, REFUSAL_BAD_VALUE },
        };
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const UkiOptions *c = &cases[i].change;
                UkiOptions o = f->options;
                void *image = NULL;
                size_t size;

                o.command_line = c->command_line ?: o.command_line;
                o.os_release = c->os_release ?: o.os_release;
                o.uname = c->uname ?: o.uname;
                if (c->kernel)
                        o.kernel = c->kernel, o.kernel_size = c->kernel_size;
                if (c->stub)
                        o.stub = c->stub, o.stub_size = c->stub_size;
                if (uki_assemble(&o, &image, &size, &e) >= 0)
                        fail_msg("accepted: %s", cases[i].name);
                if (e.id != cases[i].refusal)
                        fail_msg("%s: %s", cases[i].name, e.message);
        }
}

static void images_that_are_no_uki_are_refused(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        Uki u;

        assert_true(uki_read(f->stub, f->stub_size, &u, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_true(uki_read("MZ", 2, &u, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

static void values_are_found(void **state) {
        static const struct {
                const char *text, *key, *value;
        } lines[] = {
                { "quiet usrhash=1 usrhash=2", "usrhash", "2" },
                { "xusrhash=1", "usrhash", NULL },
                { "usrhash", "usrhash", NULL },
                { "usrhash=", "usrhash", "" },
                { "", "usrhash", NULL },
        }, os_releases[] = {
                { "A=1\nB=2\n", "B", "2" },     { "A=\"x y\"", "A", "x y" }, { "A='x'\n", "A", "x" },
                { "AB=1\n", "A", NULL },        { "A=1\nA=2", "A", "2" },    { "A=\"", "A", "\"" },
        };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                _cleanup_free_ char *v = uki_command_line_value(lines[i].text, lines[i].key);

                if (lines[i].value)
                        assert_string_equal(v, lines[i].value);
                else
                        assert_null(v);
        }
        for (size_t i = 0; i < ELEMENTSOF(os_releases); i++) {
                _cleanup_free_ char *v = uki_os_release_value(os_releases[i].text, os_releases[i].key);

                if (os_releases[i].value)
                        assert_string_equal(v, os_releases[i].value);
                else
                        assert_null(v);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_goes_in_comes_out),
                cmocka_unit_test(assembling_twice_gives_the_same_bytes),
                cmocka_unit_test(sections_come_in_the_order_of_the_specification),
                cmocka_unit_test(signatures_hold_until_a_byte_changes),
                cmocka_unit_test(other_tools_agree),
                cmocka_unit_test(unsuitable_parts_are_refused),
                cmocka_unit_test(images_that_are_no_uki_are_refused),
                cmocka_unit_test(values_are_found),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
