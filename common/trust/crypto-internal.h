/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crypto.c, token.c, generate.c, pkcs7.c and authenticode.c share and nobody else sees. */

#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#include "crypto.h"

#define CRYPTO_KEY_FILE_MAX ((size_t) 64 << 10)
/* A signature with a handful of certificates is 3 KiB; timestamps of other signers add some. */
#define CRYPTO_CONTAINER_MAX ((size_t) 256 << 10)
#define CRYPTO_DEVELOPMENT_UNIT "sealab development, do not ship"
#define CRYPTO_RSA_BITS_MIN 2048
#define CRYPTO_RSA_BITS_MAX 16384

struct PrivateKey {
        EVP_PKEY *pkey;
        void *engine; /* ENGINE of a token key, released by token_release() */
        char *name;   /* path, or the URI without its PIN, for messages */
};

struct Certificate {
        X509 *x509;
};

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(PKCS7 *, PKCS7_free)
DEFINE_CLEANUP(X509 *, X509_free)

/* For OpenSSL calls that fail only for lack of memory or a broken installation. */
void crypto_must(bool ok);
/* Appends OpenSSL's own reason to the message and empties its error queue. */
int crypto_error(Error *reterr, int code, Refusal id, const char *fmt, ...) _printf_(4, 5);
/* Copies what OpenSSL allocated into memory of ours, and frees it. */
void crypto_take(unsigned char *der, int size, void **ret, size_t *ret_size);

/* RSA of a size that firmware and kernel know; what: for the message. */
int crypto_check_rsa(const EVP_PKEY *pkey, const char *what, Error *reterr);
/* Whether a key is fit for what the caller wants to do with it. */
typedef int (*KeyCheck)(const EVP_PKEY *pkey, const char *what, Error *reterr);
int private_key_load_for(const char *path_or_uri, KeyCheck check, PrivateKey **ret, Error *reterr);
/* Checks a raw RSA PKCS#1 v1.5 SHA-256 signature. */
int crypto_verify_raw(const Certificate *c, const void *data, size_t size, const void *sig, size_t sig_size,
                      Error *reterr);

/* Two new files that belong together: neither may exist yet. */
int crypto_refuse_existing(const char *path, const char *other_path, Error *reterr);
int crypto_write_new(const char *path, BIO *bio, mode_t mode, Error *reterr);

int token_load_key(const char *uri, KeyCheck check, PrivateKey **ret, Error *reterr);
void token_release(void *engine);

/* SignedData with one signer around content (taken; a detached pkcs7-data if NULL); attributes are taken, NULL: none.
 */
PKCS7 *pkcs7_build(const Certificate *c, PKCS7 *content, STACK_OF(X509_ATTRIBUTE) * attributes, const void *raw,
                   size_t raw_size, bool with_certificate);
/* Exactly one DER PKCS#7 SignedData with exactly one SHA-256 RSA signer; *ret_signer is borrowed from *ret. */
int pkcs7_parse(const void *sig, size_t sig_size, PKCS7 **ret, PKCS7_SIGNER_INFO **ret_signer, Error *reterr);
/* The trusted certificate that the signer names, borrowed; NULL: none. */
const Certificate *pkcs7_find_signer(const PKCS7_SIGNER_INFO *si, Certificate *const *trusted, size_t n_trusted);
