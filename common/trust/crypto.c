/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Keys and certificates: loading, naming, and the one raw signature that everything else is built around. Only RSA is
 * accepted (but by private_key_load_for()), because firmware's Secure Boot and the kernel's root-hash check both know
 * it and because its PKCS#1 v1.5 signatures are the same at every signing, which keeps releases reproducible. */

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <time.h>

#include "crypto-internal.h"
#include "io.h"

void crypto_must(bool ok) {
        if (!ok) {
                fputs("OpenSSL is out of memory or broken\n", stderr);
                abort();
        }
}

int crypto_error(Error *reterr, int code, Refusal id, const char *fmt, ...) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        _cleanup_free_ char *message = NULL;
        va_list ap;

        va_start(ap, fmt);
        message = xvasprintf(fmt, ap);
        va_end(ap);
        ERR_clear_error();
        return error_set(reterr, code, id, "%s%s%s%s", message, reason ? " (OpenSSL: " : "", reason ?: "",
                         reason ? ")" : "");
}

void crypto_take(unsigned char *der, int size, void **ret, size_t *ret_size) {
        crypto_must(size > 0);
        *ret = xmemdup(der, (size_t) size);
        *ret_size = (size_t) size;
        OPENSSL_free(der);
}

int crypto_check_rsa(const EVP_PKEY *pkey, const char *what, Error *reterr) {
        if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA) {
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "%s: not an RSA key", what);
                return error_hint(reterr, "firmware and kernel are only sure to know RSA: use RSA-2048 or RSA-3072");
        }
        if (EVP_PKEY_get_bits(pkey) < CRYPTO_RSA_BITS_MIN || EVP_PKEY_get_bits(pkey) > CRYPTO_RSA_BITS_MAX) {
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "%s: an RSA key of %d bits is not accepted", what,
                          EVP_PKEY_get_bits(pkey));
                return error_hint(reterr, "use RSA-2048 or RSA-3072");
        }
        return 0;
}

static int open_key_file(const char *path, int *ret_fd, Error *reterr) {
        /* Without O_NONBLOCK a FIFO would hang us before we can see that it is one. */
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                error_set(reterr, errno, REFUSAL_KEY, "cannot open the private key %s: %m", path);
                return error_hint(reterr,
                                  "make throw-away keys with 'sealab keys generate', or name the right folder with "
                                  "--keys");
        }
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, EINVAL, REFUSAL_KEY, "the private key %s is not a regular file", path);
        if (st.st_mode & 077) {
                error_set(reterr, EPERM, REFUSAL_KEY, "the private key %s can be read by others (mode %04o)", path,
                          (unsigned) st.st_mode & 07777);
                return error_hint(reterr, "run: chmod 600 %s", path);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* OpenSSL would ask on the terminal; a build must never wait for that. */
static int no_passphrase(char *buffer, int size, int writing, void *userdata) {
        bool *asked = userdata;

        *asked = true;
        return -1;
}

static int load_key_file(const char *path, KeyCheck check, PrivateKey **ret, Error *reterr) {
        _cleanup_(private_key_freep) PrivateKey *k = xnew(PrivateKey, 1);
        _cleanup_(BIO_free_allp) BIO *bio = NULL;
        _cleanup_close_ int fd = -EBADF;
        bool asked = false;
        char *text = NULL;
        size_t size;
        int r;

        r = open_key_file(path, &fd, reterr);
        if (r < 0)
                return r;
        r = io_read_fd(fd, CRYPTO_KEY_FILE_MAX, &text, &size, reterr);
        if (r < 0)
                return error_prefix(reterr, "the private key %s", path);
        bio = BIO_new_mem_buf(text, (int) size);
        crypto_must(bio);
        ERR_clear_error();
        k->name = xstrdup(path);
        k->pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
        OPENSSL_cleanse(text, size);
        free(text);
        if (asked) {
                ERR_clear_error();
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "the private key %s is protected by a passphrase", path);
                return error_hint(reterr, "keep such a key in a PKCS#11 token; its PIN can come from $SEALAB_PIN");
        }
        if (!k->pkey) {
                crypto_error(reterr, EKEYREJECTED, REFUSAL_KEY, "%s is not a private key in PEM form", path);
                return error_hint(reterr, "it should begin with -----BEGIN PRIVATE KEY-----");
        }
        r = check(k->pkey, path, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(k);
        return 0;
}

PrivateKey *private_key_free(PrivateKey *k) {
        if (k) {
                EVP_PKEY_free(k->pkey);
                if (k->engine)
                        token_release(k->engine);
                free(k->name);
                free(k);
        }
        return NULL;
}

Certificate *certificate_free(Certificate *c) {
        if (c) {
                X509_free(c->x509);
                free(c);
        }
        return NULL;
}

int private_key_load(const char *path_or_uri, PrivateKey **ret, Error *reterr) {
        return private_key_load_for(path_or_uri, crypto_check_rsa, ret, reterr);
}

int certificate_load(const char *path, Certificate **ret, Error *reterr) {
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, path, CRYPTO_KEY_FILE_MAX, &data, &size, reterr);
        if (r == -ENOENT) {
                error_set(reterr, ENOENT, REFUSAL_KEY, "there is no certificate %s", path);
                return error_hint(reterr,
                                  "make throw-away keys with 'sealab keys generate', or name the right folder with "
                                  "--keys");
        }
        if (r < 0)
                return error_prefix(reterr, "certificate");
        r = certificate_load_buffer(data, size, ret, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        return 0;
}

int certificate_load_buffer(const void *data, size_t size, Certificate **ret, Error *reterr) {
        _cleanup_(certificate_freep) Certificate *c = xnew(Certificate, 1);
        const unsigned char *p = data;
        int r;

        if (size == 0 || size > CRYPTO_KEY_FILE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "a certificate of %zu bytes is not accepted", size);
        ERR_clear_error();
        if (p[0] == 0x30) { /* a DER sequence; PEM is text */
                c->x509 = d2i_X509(NULL, &p, (long) size);
                if (c->x509 && p != (const unsigned char *) data + size)
                        return error_set(reterr, EBADMSG, REFUSAL_KEY, "bytes follow the certificate");
        } else {
                _cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(data, (int) size);

                crypto_must(bio);
                c->x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        }
        if (!c->x509 || !X509_get0_pubkey(c->x509))
                return crypto_error(reterr, EBADMSG, REFUSAL_KEY, "not an X.509 certificate in PEM or DER form");
        r = crypto_check_rsa(X509_get0_pubkey(c->x509), "certificate", reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

void certificate_fingerprint(const Certificate *c, Sha256 *ret) {
        unsigned size = SHA256_SIZE;

        crypto_must(X509_digest(c->x509, EVP_sha256(), ret->bytes, &size) == 1);
}

int certificate_to_der(const Certificate *c, void **ret, size_t *ret_size, Error *reterr) {
        unsigned char *der = NULL;
        int n = i2d_X509(c->x509, &der);

        if (n <= 0)
                return crypto_error(reterr, EIO, REFUSAL_KEY, "cannot encode a certificate");
        crypto_take(der, n, ret, ret_size);
        return 0;
}

char *certificate_subject(const Certificate *c) {
        _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
        char *data;
        long n;

        crypto_must(bio && X509_NAME_print_ex(bio, X509_get_subject_name(c->x509), 0,
                                              XN_FLAG_RFC2253 & ~(unsigned long) ASN1_STRFLGS_ESC_MSB) >= 0);
        n = BIO_get_mem_data(bio, &data);
        return xstrndup(n > 0 ? data : "", n > 0 ? (size_t) n : 0);
}

int64_t certificate_not_after(const Certificate *c) {
        struct tm tm = {};

        if (ASN1_TIME_to_tm(X509_get0_notAfter(c->x509), &tm) != 1)
                return 0;
        return (int64_t) timegm(&tm);
}

int64_t certificate_not_before(const Certificate *c) {
        struct tm tm = {};

        if (ASN1_TIME_to_tm(X509_get0_notBefore(c->x509), &tm) != 1)
                return 0;
        return (int64_t) timegm(&tm);
}

bool certificate_is_development(const Certificate *c) {
        const X509_NAME *name = X509_get_subject_name(c->x509);

        for (int i = -1; (i = X509_NAME_get_index_by_NID(name, NID_organizationalUnitName, i)) >= 0;) {
                const ASN1_STRING *s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));

                if ((size_t) ASN1_STRING_length(s) == strlen(CRYPTO_DEVELOPMENT_UNIT) &&
                    memcmp(ASN1_STRING_get0_data(s), CRYPTO_DEVELOPMENT_UNIT, strlen(CRYPTO_DEVELOPMENT_UNIT)) == 0)
                        return true;
        }
        return false;
}

bool certificate_matches_key(const Certificate *c, const PrivateKey *k) {
        bool same = X509_check_private_key(c->x509, k->pkey) == 1;

        ERR_clear_error();
        return same;
}

int private_key_load_for(const char *path_or_uri, KeyCheck check, PrivateKey **ret, Error *reterr) {
        if (startswith(path_or_uri, "pkcs11:"))
                return token_load_key(path_or_uri, check, ret, reterr);
        return load_key_file(path_or_uri, check, ret, reterr);
}

int crypto_verify_raw(const Certificate *c, const void *data, size_t size, const void *sig, size_t sig_size,
                      Error *reterr) {
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

        crypto_must(ctx);
        ERR_clear_error();
        if (EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, X509_get0_pubkey(c->x509)) != 1 ||
            EVP_DigestVerify(ctx, sig, sig_size, data, size) != 1) {
                ERR_clear_error();
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                 "the signature was not made by the certificate's key over these bytes");
        }
        return 0;
}

int crypto_sign_raw(const PrivateKey *k, const void *data, size_t size, void **ret, size_t *ret_size, Error *reterr) {
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_free_ void *sig = NULL;
        size_t n = 0;

        crypto_must(ctx);
        ERR_clear_error();
        if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->pkey) != 1 ||
            EVP_DigestSign(ctx, NULL, &n, data, size) != 1)
                return crypto_error(reterr, EIO, REFUSAL_KEY, "the key %s cannot sign", k->name);
        sig = xmalloc(n);
        if (EVP_DigestSign(ctx, sig, &n, data, size) != 1)
                return crypto_error(reterr, EIO, REFUSAL_KEY, "the key %s cannot sign", k->name);
        *ret = TAKE_PTR(sig);
        *ret_size = n;
        return 0;
}
