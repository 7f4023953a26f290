/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* New RSA keys with self-signed certificates. */

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "crypto-internal.h"
#include "io.h"

/* A name is found again only by its issuer and serial number in a PKCS#7, so two certificates must never share both:
 * 127 random bits. */
#define SERIAL_BITS 127
#define DAYS_MAX (100 * 366)

DEFINE_CLEANUP(BIGNUM *, BN_free)
DEFINE_CLEANUP(X509_EXTENSION *, X509_EXTENSION_free)

static void add_name(X509_NAME *name, const char *field, const char *value) {
        crypto_must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *) value, -1, -1, 0) ==
                    1);
}

static void add_extension(X509 *x, int nid, const char *value) {
        _cleanup_(X509_EXTENSION_freep) X509_EXTENSION *extension = NULL;
        X509V3_CTX ctx;

        X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        crypto_must(extension && X509_add_ext(x, extension, -1) == 1);
}

static X509 *make_certificate(EVP_PKEY *pkey, const char *common_name, bool development, unsigned days) {
        _cleanup_(BN_freep) BIGNUM *serial = BN_new();
        X509 *x = X509_new();
        X509_NAME *name;

        crypto_must(x && serial);
        crypto_must(BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                    BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)));
        crypto_must(X509_set_version(x, X509_VERSION_3) == 1 && X509_set_pubkey(x, pkey) == 1);
        crypto_must(X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
                    X509_time_adj_ex(X509_getm_notAfter(x), (int) days, 0, NULL));
        name = X509_get_subject_name(x);
        add_name(name, "CN", common_name);
        if (development)
                add_name(name, "OU", CRYPTO_DEVELOPMENT_UNIT);
        crypto_must(X509_set_issuer_name(x, name) == 1);
        add_extension(x, NID_basic_constraints, "critical,CA:FALSE");
        add_extension(x, NID_key_usage, "critical,digitalSignature");
        add_extension(x, NID_subject_key_identifier, "hash");
        crypto_must(X509_sign(x, pkey, EVP_sha256()) > 0);
        return x;
}

/* A name that never existed with other content: written beside, then renamed without replacing. */
int crypto_write_new(const char *path, BIO *bio, mode_t mode, Error *reterr) {
        _cleanup_free_ char *folder = path_dirname(path), *temporary = NULL;
        char *data;
        long n = BIO_get_mem_data(bio, &data);
        int r;

        temporary = xasprintf("%s/.%s.new", folder, path_basename(path));
        r = io_replace_file(AT_FDCWD, temporary, data, (size_t) n, mode, reterr);
        if (r < 0)
                return r;
        r = io_rename_new(AT_FDCWD, temporary, path, reterr);
        if (r < 0) {
                (void) io_unlink(AT_FDCWD, temporary, NULL);
                return error_hint(reterr,
                                  "keys are never overwritten; choose another folder or move the old file away");
        }
        return 0;
}

int crypto_refuse_existing(const char *path, const char *other_path, Error *reterr) {
        const char *existing = io_exists(AT_FDCWD, path) ? path : io_exists(AT_FDCWD, other_path) ? other_path : NULL;

        if (!existing)
                return 0;
        error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s exists already", existing);
        return error_hint(reterr, "keys are never overwritten; choose another folder or move the old file away");
}

int crypto_generate_pair(const char *folder, const char *name, const char *common_name, bool development, unsigned bits,
                         unsigned days, Error *reterr) {
        _cleanup_free_ char *key_path = xasprintf("%s/%s.key", folder, name);
        _cleanup_free_ char *certificate_path = xasprintf("%s/%s.crt", folder, name);
        _cleanup_(BIO_free_allp) BIO *key_bio = BIO_new(BIO_s_secmem()), *certificate_bio = BIO_new(BIO_s_mem());
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *pkey = NULL;
        _cleanup_(X509_freep) X509 *x = NULL;
        int r;

        if (bits < CRYPTO_RSA_BITS_MIN || bits > CRYPTO_RSA_BITS_MAX || days == 0 || days > DAYS_MAX ||
            strlen(common_name) > 64)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "cannot make an RSA-%u key named \"%s\" for %u days", bits, common_name, days);
        r = crypto_refuse_existing(key_path, certificate_path, reterr);
        if (r < 0)
                return r;
        crypto_must(key_bio && certificate_bio);
        ERR_clear_error();
        pkey = EVP_RSA_gen(bits);
        if (!pkey)
                return crypto_error(reterr, EIO, REFUSAL_SYSTEM, "cannot make an RSA-%u key", bits);
        x = make_certificate(pkey, common_name, development, days);
        crypto_must(PEM_write_bio_PKCS8PrivateKey(key_bio, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
                    PEM_write_bio_X509(certificate_bio, x) == 1);
        r = crypto_write_new(key_path, key_bio, 0600, reterr);
        if (r < 0)
                return r;
        return crypto_write_new(certificate_path, certificate_bio, 0644, reterr);
}
