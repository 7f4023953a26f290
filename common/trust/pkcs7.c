/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* PKCS#7 SignedData (RFC 2315), assembled around a raw RSA signature. One road for keys in files, in tokens and on
 * machines far away: whoever holds the key only ever computes the raw signature, and the container is made here. */

#include <openssl/err.h>

#include "crypto-internal.h"

static PKCS7_SIGNER_INFO *make_signer(const Certificate *c, STACK_OF(X509_ATTRIBUTE) * attributes, const void *raw,
                                      size_t raw_size) {
        PKCS7_SIGNER_INFO *si = PKCS7_SIGNER_INFO_new();
        ASN1_INTEGER *serial = ASN1_INTEGER_dup(X509_get0_serialNumber(c->x509));

        crypto_must(si && serial && raw_size <= INT_MAX);
        crypto_must(ASN1_INTEGER_set(si->version, 1) == 1 &&
                    X509_NAME_set(&si->issuer_and_serial->issuer, X509_get_issuer_name(c->x509)) == 1);
        ASN1_INTEGER_free(si->issuer_and_serial->serial);
        si->issuer_and_serial->serial = serial;
        crypto_must(X509_ALGOR_set0(si->digest_alg, OBJ_nid2obj(NID_sha256), V_ASN1_NULL, NULL) == 1 &&
                    X509_ALGOR_set0(si->digest_enc_alg, OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL, NULL) == 1 &&
                    ASN1_OCTET_STRING_set(si->enc_digest, raw, (int) raw_size) == 1);
        si->auth_attr = attributes;
        return si;
}

PKCS7 *pkcs7_build(const Certificate *c, PKCS7 *content, STACK_OF(X509_ATTRIBUTE) * attributes, const void *raw,
                   size_t raw_size, bool with_certificate) {
        PKCS7 *p7 = PKCS7_new();

        crypto_must(p7 && PKCS7_set_type(p7, NID_pkcs7_signed) == 1);
        crypto_must(PKCS7_add_signer(p7, make_signer(c, attributes, raw, raw_size)) == 1);
        if (with_certificate)
                crypto_must(PKCS7_add_certificate(p7, c->x509) == 1);
        if (content)
                crypto_must(PKCS7_set_content(p7, content) == 1);
        else
                crypto_must(PKCS7_content_new(p7, NID_pkcs7_data) == 1 && PKCS7_set_detached(p7, 1) == 1);
        return p7;
}

int pkcs7_parse(const void *sig, size_t sig_size, PKCS7 **ret, PKCS7_SIGNER_INFO **ret_signer, Error *reterr) {
        _cleanup_(PKCS7_freep) PKCS7 *p7 = NULL;
        STACK_OF(PKCS7_SIGNER_INFO) * signers;
        const unsigned char *p = sig;
        PKCS7_SIGNER_INFO *si;

        if (sig_size == 0 || sig_size > CRYPTO_CONTAINER_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "a signature of %zu bytes is not accepted",
                                 sig_size);
        ERR_clear_error();
        p7 = d2i_PKCS7(NULL, &p, (long) sig_size);
        if (!p7)
                return crypto_error(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the signature is not a PKCS#7 container");
        if (p != (const unsigned char *) sig + sig_size)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "bytes follow the PKCS#7 signature");
        if (!PKCS7_type_is_signed(p7) || !p7->d.sign || !p7->d.sign->contents)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the PKCS#7 container is not SignedData");
        signers = PKCS7_get_signer_info(p7);
        if (sk_PKCS7_SIGNER_INFO_num(signers) != 1)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                 "the PKCS#7 container has %d signers instead of one",
                                 MAX(sk_PKCS7_SIGNER_INFO_num(signers), 0));
        si = sk_PKCS7_SIGNER_INFO_value(signers, 0);
        /* PKCS7_verify() would take whatever digest the container names, MD5 too. */
        if (OBJ_obj2nid(si->digest_alg->algorithm) != NID_sha256)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the signature does not use SHA-256");
        *ret = TAKE_PTR(p7);
        *ret_signer = si;
        return 0;
}

const Certificate *pkcs7_find_signer(const PKCS7_SIGNER_INFO *si, Certificate *const *trusted, size_t n_trusted) {
        for (size_t i = 0; i < n_trusted; i++) {
                const X509 *x = trusted[i]->x509;

                if (X509_NAME_cmp(X509_get_issuer_name(x), si->issuer_and_serial->issuer) == 0 &&
                    ASN1_INTEGER_cmp(X509_get0_serialNumber(x), si->issuer_and_serial->serial) == 0)
                        return trusted[i];
        }
        return NULL;
}

int pkcs7_sign_detached(const PrivateKey *k, const Certificate *c, const void *data, size_t size, void **ret,
                        size_t *ret_size, Error *reterr) {
        _cleanup_free_ void *raw = NULL;
        size_t raw_size;
        int r;

        r = crypto_sign_raw(k, data, size, &raw, &raw_size, reterr);
        /* Catches a certificate of another key, which would otherwise be noticed by the kernel at boot. */
        if (r >= 0)
                r = crypto_verify_raw(c, data, size, raw, raw_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", k->name);
        return pkcs7_assemble_detached(c, raw, raw_size, ret, ret_size, reterr);
}

int pkcs7_verify_detached(const void *sig, size_t sig_size, const void *data, size_t size, Certificate *const *trusted,
                          size_t n_trusted, Error *reterr) {
        _cleanup_(PKCS7_freep) PKCS7 *p7 = NULL;
        const Certificate *signer;
        PKCS7_SIGNER_INFO *si;
        int r;

        r = pkcs7_parse(sig, sig_size, &p7, &si, reterr);
        if (r < 0)
                return r;
        if (!PKCS7_type_is_data(p7->d.sign->contents) || p7->d.sign->contents->d.data)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the PKCS#7 signature is not a detached one");
        /* With attributes the signature is over them and not over the data: another message altogether. */
        if (sk_X509_ATTRIBUTE_num(si->auth_attr) > 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the PKCS#7 signature has signed attributes");
        signer = pkcs7_find_signer(si, trusted, n_trusted);
        if (!signer)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                 "the signature was made by none of the %zu trusted certificates", n_trusted);
        return crypto_verify_raw(signer, data, size, ASN1_STRING_get0_data(si->enc_digest),
                                 (size_t) ASN1_STRING_length(si->enc_digest), reterr);
}

int pkcs7_sign_variable(const PrivateKey *k, const Certificate *c, const void *data, size_t size, void **ret,
                        size_t *ret_size, Error *reterr) {
        _cleanup_(PKCS7_freep) PKCS7 *p7 = NULL;
        _cleanup_free_ void *raw = NULL;
        unsigned char *der = NULL;
        size_t raw_size;
        int r, n;

        r = crypto_sign_raw(k, data, size, &raw, &raw_size, reterr);
        if (r >= 0)
                r = crypto_verify_raw(c, data, size, raw, raw_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", k->name);
        p7 = pkcs7_build(c, /* content= */ NULL, /* attributes= */ NULL, raw, raw_size, /* with_certificate= */ true);
        n = i2d_PKCS7_SIGNED(p7->d.sign, &der);
        crypto_take(der, n, ret, ret_size);
        return 0;
}

int pkcs7_assemble_detached(const Certificate *c, const void *raw_signature, size_t raw_size, void **ret,
                            size_t *ret_size, Error *reterr) {
        _cleanup_(PKCS7_freep) PKCS7 *p7 = NULL;
        unsigned char *der = NULL;
        int n;

        if (raw_size == 0 || raw_size > CRYPTO_RSA_BITS_MAX / 8)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "a raw signature of %zu bytes is not accepted",
                                 raw_size);
        p7 = pkcs7_build(c, /* content= */ NULL, /* attributes= */ NULL, raw_signature, raw_size,
                         /* with_certificate= */ false);
        n = i2d_PKCS7(p7, &der);
        crypto_take(der, n, ret, ret_size);
        return 0;
}
