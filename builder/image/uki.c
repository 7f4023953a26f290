/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "uki.h"
#include "pe.h"

#define UNAME_MAX 64 /* of struct utsname, without its terminator */
#define SECTIONS_MAX 6

static bool is_one_line(const char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 0x7f)
                        return false;
        return true;
}

static int check_options(const UkiOptions *opt, Error *reterr) {
        if (isempty(opt->command_line) || strlen(opt->command_line) >= UKI_COMMAND_LINE_MAX ||
            !is_one_line(opt->command_line)) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                          "a kernel command line must be one line of 1 to %d bytes, this one has %zu",
                          UKI_COMMAND_LINE_MAX - 1, strlen(opt->command_line ?: ""));
                return error_hint(reterr, "shorten CommandLine= in the recipe");
        }
        if (isempty(opt->uname) || strlen(opt->uname) > UNAME_MAX || !is_one_line(opt->uname))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" is not a kernel release", opt->uname ?: "");
        if (isempty(opt->os_release) || strlen(opt->os_release) > UKI_OS_RELEASE_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "os-release has %zu bytes",
                                 strlen(opt->os_release ?: ""));
        if (opt->kernel_size == 0 || opt->initrd_size == 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the %s is empty",
                                 opt->kernel_size == 0 ? "kernel" : "initrd");
        return 0;
}

/* The stub starts the kernel through its EFI entry, so the kernel must be a PE image of the same machine. */
static int check_kernel(const UkiOptions *opt, Error *reterr) {
        _cleanup_(pe_done) PeImage stub = {}, kernel = {};
        int r;

        r = pe_parse(opt->stub, opt->stub_size, &stub, reterr);
        if (r < 0)
                return error_prefix(reterr, "stub");
        if (!pe_find(&stub, ".sdmagic")) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the stub is not systemd's");
                return error_hint(reterr, "it is linux*.efi.stub of the package systemd-boot-efi");
        }
        r = pe_parse(opt->kernel, opt->kernel_size, &kernel, reterr);
        if (r < 0) {
                error_prefix(reterr, "kernel");
                return error_hint(reterr, "the kernel must be built with CONFIG_EFI_STUB");
        }
        if (kernel.machine != stub.machine)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "stub and kernel are for different machines (PE types %04x and %04x)", stub.machine,
                                 kernel.machine);
        return 0;
}

static char *section_text(const PeImage *p, const char *name) {
        const PeSection *s = pe_find(p, name);
        const char *data;
        size_t size;

        if (!s)
                return NULL;
        data = pe_section_data(p, s, &size);
        return xstrndup(data, strnlen(data, size));
}

static void section_digest(const PeImage *p, const char *name, uint64_t *ret_size, Sha256 *ret) {
        const PeSection *s = pe_find(p, name);
        size_t size = 0;

        if (s) {
                const void *data = pe_section_data(p, s, &size);

                sha256_buffer(data, size, ret);
        }
        *ret_size = size;
}

int uki_assemble(const UkiOptions *opt, void **ret, size_t *ret_size, Error *reterr) {
        PeAddition additions[SECTIONS_MAX] = {};
        size_t n = 0;
        int r;

        r = check_options(opt, reterr);
        if (r >= 0)
                r = check_kernel(opt, reterr);
        if (r < 0)
                return error_prefix(reterr, "UKI");
        additions[n++] = (PeAddition){ ".osrel", opt->os_release, strlen(opt->os_release) };
        additions[n++] = (PeAddition){ ".cmdline", opt->command_line, strlen(opt->command_line) };
        additions[n++] = (PeAddition){ ".uname", opt->uname, strlen(opt->uname) };
        if (!isempty(opt->sbat))
                additions[n++] = (PeAddition){ ".sbat", opt->sbat, strlen(opt->sbat) };
        additions[n++] = (PeAddition){ ".initrd", opt->initrd, opt->initrd_size };
        /* Last, because old kernels unpack themselves beyond the end of their section. */
        additions[n++] = (PeAddition){ ".linux", opt->kernel, opt->kernel_size, .executable = true };
        r = pe_add_sections(opt->stub, opt->stub_size, additions, n, ret, ret_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "UKI");
        return 0;
}

int uki_sign(const void *image, size_t size, const PrivateKey *key, const Certificate *certificate, void **ret,
             size_t *ret_size, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ void *sig = NULL;
        size_t sig_size;
        Sha256 digest;
        int r;

        r = pe_parse(image, size, &p, reterr);
        if (r >= 0)
                r = pe_authenticode_digest(&p, &digest, reterr);
        if (r >= 0)
                r = authenticode_sign(key, certificate, &digest, &sig, &sig_size, reterr);
        if (r < 0)
                return r;
        return pe_attach_signature(image, size, sig, sig_size, ret, ret_size, reterr);
}

int uki_verify(const void *image, size_t size, Certificate *const *trusted, size_t n_trusted, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        Sha256 vouched, digest;
        const void *sig;
        size_t sig_size;
        int r;

        r = pe_parse(image, size, &p, reterr);
        if (r >= 0)
                r = pe_signature(&p, &sig, &sig_size, reterr);
        if (r >= 0)
                r = authenticode_verify(sig, sig_size, trusted, n_trusted, &vouched, reterr);
        if (r >= 0)
                r = pe_authenticode_digest(&p, &digest, reterr);
        if (r < 0)
                return r;
        /* TRUST: from here on the image's bytes are the signer's. */
        if (!sha256_equal(&vouched, &digest))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "the image was changed after it had been signed");
        return 0;
}

void uki_done(Uki *u) {
        free(u->command_line);
        free(u->os_release);
        free(u->uname);
        free(u->image_id);
        free(u->image_version);
        *u = (Uki){};
}

int uki_read(const void *image, size_t size, Uki *ret, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ char *usrhash = NULL;
        _cleanup_uki_ Uki u = {};
        int r;

        r = pe_parse(image, size, &p, reterr);
        if (r < 0)
                return error_prefix(reterr, "UKI");
        u.command_line = section_text(&p, ".cmdline");
        u.os_release = section_text(&p, ".osrel");
        u.uname = section_text(&p, ".uname");
        section_digest(&p, ".linux", &u.kernel_size, &u.kernel);
        section_digest(&p, ".initrd", &u.initrd_size, &u.initrd);
        if (!u.command_line || !u.os_release || !u.uname || u.kernel_size == 0 || u.initrd_size == 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "not a unified kernel image: one of .cmdline .osrel .uname .initrd .linux is missing");
        usrhash = uki_command_line_value(u.command_line, "usrhash");
        if (usrhash && !sha256_from_hex(usrhash, &u.usrhash))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "the usrhash= on the UKI's command line is not a SHA-256 root hash");
        u.has_usrhash = usrhash != NULL;
        u.image_id = uki_os_release_value(u.os_release, "IMAGE_ID");
        u.image_version = uki_os_release_value(u.os_release, "IMAGE_VERSION");
        u.is_signed = p.certificate_offset != 0;
        *ret = u;
        u = (Uki){};
        return 0;
}

char *uki_os_release_value(const char *os_release, const char *key) {
        _cleanup_strv_free_ char **lines = strv_split(os_release, "\n");
        size_t key_size = strlen(key);
        char *value = NULL;

        STRV_FOREACH (line, lines) {
                char *v;
                size_t n;

                if (strncmp(*line, key, key_size) != 0 || (*line)[key_size] != '=')
                        continue;
                v = strstrip(*line + key_size + 1);
                n = strlen(v);
                if (n >= 2 && (v[0] == '"' || v[0] == '\'') && v[n - 1] == v[0]) {
                        v[n - 1] = 0;
                        v++;
                }
                /* As in a shell, the last assignment counts. */
                free(value);
                value = xstrdup(v);
        }
        return value;
}

char *uki_command_line_value(const char *command_line, const char *key) {
        _cleanup_strv_free_ char **words = strv_split(command_line, " \t");
        size_t key_size = strlen(key);
        char *value = NULL;

        STRV_FOREACH (word, words)
                if (strncmp(*word, key, key_size) == 0 && (*word)[key_size] == '=') {
                        free(value);
                        value = xstrdup(*word + key_size + 1);
                }
        return value;
}
