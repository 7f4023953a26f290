/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Authenticode signatures of PE images (Windows Authenticode Portable Executable Signature Format, 2008): SignedData
 * over an SpcIndirectDataContent that holds the image's digest. Two attributes are signed, the content's type and its
 * digest, and no time, so that signing twice gives the same bytes. */

#include <openssl/asn1t.h>
#include <openssl/err.h>

#include "crypto-internal.h"

#define OID_SPC_INDIRECT_DATA "1.3.6.1.4.1.311.2.1.4"
#define OID_SPC_PE_IMAGE_DATA "1.3.6.1.4.1.311.2.1.15"

/* SpcIndirectDataContent in DER up to the 32 bytes of the digest: nothing in it ever varies. */
static const uint8_t indirect_data_prefix[] = {
        0x30, 0x4c,                                                                    /* SpcIndirectDataContent */
        0x30, 0x17,                                                                    /*  data */
        0x06, 0x0a, 0x2b, 6,    1,    4,    1,    0x82, 0x37, 2, 1, 15,                /*   type: SPC_PE_IMAGE_DATA */
        0x30, 0x09,                                                                    /*   SpcPeImageData */
        0x03, 0x01, 0x00,                                                              /*    flags: none */
        0xa0, 0x04, 0xa2, 0x02, 0x80, 0x00,                                            /*    file: an empty name */
        0x30, 0x31,                                                                    /*  messageDigest: DigestInfo */
        0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 1,    0x65, 3, 4, 2,  1, 0x05, 0x00, /*   sha256, NULL */
        0x04, 0x20,                                                                    /*   digest */
};
/* Outer tag and length: the digest of a content leaves them out (RFC 2315, section 9.3). */
#define INDIRECT_DATA_HEADER_SIZE 2

typedef struct IndirectData {
        uint8_t bytes[sizeof(indirect_data_prefix) + SHA256_SIZE];
} IndirectData;

typedef STACK_OF(ASN1_TYPE) AnySequence;
typedef STACK_OF(X509_ATTRIBUTE) Attributes;

static void any_sequence_freep(AnySequence **s) {
        sk_ASN1_TYPE_pop_free(*s, ASN1_TYPE_free);
}
static void attributes_freep(Attributes **a) {
        sk_X509_ATTRIBUTE_pop_free(*a, X509_ATTRIBUTE_free);
}
DEFINE_CLEANUP(X509_SIG *, X509_SIG_free)
DEFINE_CLEANUP(ASN1_OBJECT *, ASN1_OBJECT_free)

static ASN1_OBJECT *object_of(const char *oid) {
        ASN1_OBJECT *object = OBJ_txt2obj(oid, /* no_name= */ 1);

        crypto_must(object);
        return object;
}

static bool object_is(const ASN1_OBJECT *object, const char *oid) {
        _cleanup_(ASN1_OBJECT_freep) ASN1_OBJECT *wanted = object_of(oid);

        return object && OBJ_cmp(object, wanted) == 0;
}

static IndirectData indirect_data(const Sha256 *image_digest) {
        IndirectData d;

        memcpy(d.bytes, indirect_data_prefix, sizeof(indirect_data_prefix));
        memcpy(d.bytes + sizeof(indirect_data_prefix), image_digest->bytes, SHA256_SIZE);
        return d;
}

/* The order is DER's order for a SET OF: the shorter attribute first. */
static Attributes *signed_attributes(const IndirectData *d) {
        Attributes *l = sk_X509_ATTRIBUTE_new_null();
        ASN1_OCTET_STRING *digest = ASN1_OCTET_STRING_new();
        X509_ATTRIBUTE *type, *message;
        Sha256 hash;

        sha256_buffer(d->bytes + INDIRECT_DATA_HEADER_SIZE, sizeof(d->bytes) - INDIRECT_DATA_HEADER_SIZE, &hash);
        crypto_must(l && digest && ASN1_OCTET_STRING_set(digest, hash.bytes, SHA256_SIZE) == 1);
        type = X509_ATTRIBUTE_create(NID_pkcs9_contentType, V_ASN1_OBJECT, object_of(OID_SPC_INDIRECT_DATA));
        message = X509_ATTRIBUTE_create(NID_pkcs9_messageDigest, V_ASN1_OCTET_STRING, digest);
        crypto_must(type && message && sk_X509_ATTRIBUTE_push(l, type) > 0 && sk_X509_ATTRIBUTE_push(l, message) > 0);
        return l;
}

static PKCS7 *content_of(const IndirectData *d) {
        PKCS7 *content = PKCS7_new();
        ASN1_STRING *sequence = ASN1_STRING_type_new(V_ASN1_SEQUENCE);

        crypto_must(content && sequence && ASN1_STRING_set(sequence, d->bytes, sizeof(d->bytes)) == 1);
        content->type = object_of(OID_SPC_INDIRECT_DATA);
        content->d.other = ASN1_TYPE_new();
        crypto_must(content->d.other);
        ASN1_TYPE_set(content->d.other, V_ASN1_SEQUENCE, sequence);
        return content;
}

static AnySequence *parse_sequence(const ASN1_TYPE *t, int n_wanted) {
        AnySequence *l = NULL;
        const unsigned char *p;

        if (!t || t->type != V_ASN1_SEQUENCE)
                return NULL;
        p = t->value.sequence->data;
        l = d2i_ASN1_SEQUENCE_ANY(NULL, &p, t->value.sequence->length);
        if (l && (sk_ASN1_TYPE_num(l) != n_wanted || p != t->value.sequence->data + t->value.sequence->length)) {
                sk_ASN1_TYPE_pop_free(l, ASN1_TYPE_free);
                return NULL;
        }
        return l;
}

/* Other signers fill SpcPeImageData differently, so what they made is parsed and not compared with our prefix. */
static int parse_indirect_data(const ASN1_TYPE *content, Sha256 *ret, Error *reterr) {
        _cleanup_(any_sequence_freep) AnySequence *outer = parse_sequence(content, 2), *data = NULL;
        _cleanup_(X509_SIG_freep) X509_SIG *info = NULL;
        const ASN1_OCTET_STRING *digest = NULL;
        const X509_ALGOR *algorithm = NULL;

        if (outer) {
                const ASN1_TYPE *second = sk_ASN1_TYPE_value(outer, 1);

                data = parse_sequence(sk_ASN1_TYPE_value(outer, 0), 2);
                if (second->type == V_ASN1_SEQUENCE) {
                        const unsigned char *p = second->value.sequence->data;

                        info = d2i_X509_SIG(NULL, &p, second->value.sequence->length);
                }
        }
        ERR_clear_error();
        if (!data || !info || sk_ASN1_TYPE_value(data, 0)->type != V_ASN1_OBJECT ||
            !object_is(sk_ASN1_TYPE_value(data, 0)->value.object, OID_SPC_PE_IMAGE_DATA))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the signature is not about a PE image");
        X509_SIG_get0(info, &algorithm, &digest);
        if (OBJ_obj2nid(algorithm->algorithm) != NID_sha256 || ASN1_STRING_length(digest) != SHA256_SIZE)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                 "the signature does not name the image by SHA-256");
        memcpy(ret->bytes, ASN1_STRING_get0_data(digest), SHA256_SIZE);
        return 0;
}

/* Digest attribute and signature; PKCS7_signatureVerify() wants the content to have run through a digest BIO. */
static int verify_signer(PKCS7 *p7, PKCS7_SIGNER_INFO *si, const ASN1_STRING *content, const Certificate *signer,
                         Error *reterr) {
        _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_f_md());
        const ASN1_TYPE *type = PKCS7_get_signed_attribute(si, NID_pkcs9_contentType);
        const unsigned char *p = content->data;
        int tag, class, n;
        long size;

        if (!type || type->type != V_ASN1_OBJECT || !object_is(type->value.object, OID_SPC_INDIRECT_DATA))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                 "the signature's attributes do not name its content type");
        if (ASN1_get_object(&p, &size, &tag, &class, content->length) & 0x80)
                return crypto_error(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the signature's content is malformed");
        crypto_must(bio && BIO_set_md(bio, EVP_sha256()) == 1 && BIO_push(bio, BIO_new(BIO_s_null())));
        n = BIO_write(bio, p, (int) size);
        crypto_must(n == (int) size);
        if (PKCS7_signatureVerify(bio, p7, si, signer->x509) != 1)
                return crypto_error(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the signature does not hold");
        return 0;
}

int authenticode_sign(const PrivateKey *k, const Certificate *c, const Sha256 *image_digest, void **ret,
                      size_t *ret_size, Error *reterr) {
        _cleanup_free_ void *tbs = NULL, *raw = NULL;
        size_t tbs_size, raw_size;
        int r;

        r = authenticode_prepare(c, image_digest, &tbs, &tbs_size, reterr);
        if (r >= 0)
                r = crypto_sign_raw(k, tbs, tbs_size, &raw, &raw_size, reterr);
        if (r < 0)
                return r;
        return authenticode_assemble(c, image_digest, raw, raw_size, ret, ret_size, reterr);
}

int authenticode_verify(const void *sig, size_t sig_size, Certificate *const *trusted, size_t n_trusted,
                        Sha256 *ret_digest, Error *reterr) {
        _cleanup_(PKCS7_freep) PKCS7 *p7 = NULL;
        const Certificate *signer;
        PKCS7_SIGNER_INFO *si;
        const PKCS7 *content;
        Sha256 digest;
        int r;

        r = pkcs7_parse(sig, sig_size, &p7, &si, reterr);
        if (r < 0)
                return r;
        content = p7->d.sign->contents;
        if (!object_is(content->type, OID_SPC_INDIRECT_DATA))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the signature is not an Authenticode one");
        r = parse_indirect_data(content->d.other, &digest, reterr);
        if (r < 0)
                return r;
        signer = pkcs7_find_signer(si, trusted, n_trusted);
        if (!signer)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                 "the signature was made by none of the %zu trusted certificates", n_trusted);
        r = verify_signer(p7, si, content->d.other->value.sequence, signer, reterr);
        if (r < 0)
                return r;
        *ret_digest = digest;
        return 0;
}

int authenticode_prepare(const Certificate *c, const Sha256 *image_digest, void **ret_tbs, size_t *ret_size,
                         Error *reterr) {
        IndirectData d = indirect_data(image_digest);
        _cleanup_(attributes_freep) Attributes *attributes = signed_attributes(&d);
        unsigned char *der = NULL;
        int n;

        n = ASN1_item_i2d((const ASN1_VALUE *) attributes, &der, ASN1_ITEM_rptr(PKCS7_ATTR_SIGN));
        crypto_take(der, n, ret_tbs, ret_size);
        return 0;
}

int authenticode_assemble(const Certificate *c, const Sha256 *image_digest, const void *raw_signature, size_t raw_size,
                          void **ret, size_t *ret_size, Error *reterr) {
        IndirectData d = indirect_data(image_digest);
        _cleanup_(PKCS7_freep) PKCS7 *p7 = NULL;
        _cleanup_free_ void *tbs = NULL;
        unsigned char *der = NULL;
        size_t tbs_size;
        int r;

        r = authenticode_prepare(c, image_digest, &tbs, &tbs_size, reterr);
        if (r >= 0)
                r = crypto_verify_raw(c, tbs, tbs_size, raw_signature, raw_size, reterr);
        if (r < 0)
                return r;
        p7 = pkcs7_build(c, content_of(&d), signed_attributes(&d), raw_signature, raw_size,
                         /* with_certificate= */ true);
        r = i2d_PKCS7(p7, &der);
        crypto_take(der, r, ret, ret_size);
        return 0;
}
