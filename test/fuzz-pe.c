/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A PE image as an attacker would hand it over: parsed, hashed, its signature looked for and checked, read as a UKI,
 * and used as a stub. What is accepted must survive a round trip. */

#include "crypto.h"
#include "pe.h"
#include "uki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

static void check_round_trip(const uint8_t *data, size_t size, const Sha256 *digest) {
        _cleanup_free_ void *with = NULL, *without = NULL;
        _cleanup_(pe_done) PeImage p = {};
        size_t with_size, without_size, sig_size;
        const void *sig;
        Sha256 again;

        check(pe_attach_signature(data, size, "\x30\x01x", 3, &with, &with_size, NULL) == 0);
        check(pe_parse(with, with_size, &p, NULL) == 0);
        check(pe_signature(&p, &sig, &sig_size, NULL) == 0 && sig_size == 3);
        check(pe_authenticode_digest(&p, &again, NULL) == 0 && sha256_equal(digest, &again));
        check(pe_strip_signature(with, with_size, &without, &without_size, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const PeAddition additions[] = { { ".fuzz", "x", 1, false }, { ".fuzz2", "yy", 2, true } };
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ void *image = NULL;
        _cleanup_uki_ Uki u = {};
        size_t sig_size, image_size;
        const void *sig;
        Sha256 digest;

        if (pe_parse(data, size, &p, NULL) < 0)
                return 0;
        for (size_t i = 0; i < p.n_sections; i++) {
                size_t n;
                const void *section = pe_section_data(&p, p.sections + i, &n);

                sha256_buffer(section, n, &digest);
        }
        if (pe_signature(&p, &sig, &sig_size, NULL) >= 0)
                (void) authenticode_verify(sig, sig_size, NULL, 0, &digest, NULL);
        if (pe_authenticode_digest(&p, &digest, NULL) >= 0)
                check_round_trip(data, size, &digest);
        (void) uki_read(data, size, &u, NULL);
        if (pe_add_sections(data, size, additions, ELEMENTSOF(additions), &image, &image_size, NULL) >= 0) {
                _cleanup_(pe_done) PeImage added = {};

                check(pe_parse(image, image_size, &added, NULL) == 0);
                check(added.n_sections == p.n_sections + ELEMENTSOF(additions));
        }
        return 0;
}
