/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Section 4.2: public keys and what they verify. */

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "tuf-internal.h"
#include "tuf-json.h"

static const struct {
        TufScheme scheme;
        const char *type, *name;
} schemes[] = {
        /* The first of a scheme is the one that we write. */
        { TUF_ED25519, "ed25519", "ed25519" },
        { TUF_ECDSA_P256, "ecdsa", "ecdsa-sha2-nistp256" },
        { TUF_ECDSA_P256, "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256" },
        { TUF_RSA_PSS_SHA256, "rsa", "rsassa-pss-sha256" },
        { TUF_RSA_PKCS1_SHA256, "rsa", "rsa-pkcs1v15-sha256" },
};

int tuf_key_check(const EVP_PKEY *pkey, const char *what, Error *reterr) {
        char curve[32] = "";
        int explicit_curve = 0;

        switch (EVP_PKEY_get_base_id(pkey)) {
        case EVP_PKEY_ED25519:
                return 0;
        case EVP_PKEY_RSA:
                return crypto_check_rsa(pkey, what, reterr);
        case EVP_PKEY_EC:
                (void) EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL);
                /* A curve spelled out in numbers may look like P-256 and have another generator. A key in a token
                 * cannot be asked; its public part is, once it is written down. */
                (void) EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit_curve);
                ERR_clear_error();
                if (streq(curve, SN_X9_62_prime256v1) && !explicit_curve)
                        return 0;
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "%s: an ECDSA key, but not on the curve P-256", what);
                break;
        default:
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "%s: neither Ed25519 nor ECDSA nor RSA", what);
        }
        return error_hint(reterr, "use Ed25519, ECDSA on P-256, or RSA from 2048 bits");
}

static TufScheme find_scheme(const char *type, const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
                if (streq(schemes[i].type, type) && streq(schemes[i].name, name))
                        return schemes[i].scheme;
        return TUF_SCHEME_UNKNOWN;
}

static const char *type_name(TufScheme scheme) {
        for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
                if (schemes[i].scheme == scheme)
                        return schemes[i].type;
        return "unknown";
}

static EVP_PKEY *decode_ed25519(const char *hex) {
        uint8_t raw[32];

        return hex_decode(hex, raw, sizeof(raw)) ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, sizeof(raw))
                                                 : NULL;
}

/* One block and nothing but white space around it, so that nobody can hide a second key in the text. */
static EVP_PKEY *decode_pem(const char *text) {
        _cleanup_(BIO_free_allp) BIO *bio = NULL;
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *pkey = NULL;
        char *rest;
        long n;

        text += strspn(text, " \t\r\n");
        if (!startswith(text, "-----BEGIN PUBLIC KEY-----"))
                return NULL;
        bio = BIO_new_mem_buf(text, (int) strlen(text));
        crypto_must(bio);
        pkey = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
        n = BIO_get_mem_data(bio, &rest);
        for (long i = 0; i < n; i++)
                if (!strchr(" \t\r\n", rest[i]))
                        return NULL;
        return TAKE_PTR(pkey);
}

static bool kind_fits(const EVP_PKEY *pkey, TufScheme scheme) {
        int id = EVP_PKEY_get_base_id(pkey);

        return id == (scheme == TUF_ED25519 ? EVP_PKEY_ED25519 : scheme == TUF_ECDSA_P256 ? EVP_PKEY_EC : EVP_PKEY_RSA);
}

static int decode_public(TufKey *k, const char *text, Error *reterr) {
        _cleanup_error_ Error reason = {};

        if (strlen(text) > TUF_KEY_PUBLIC_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "key %.80s: the public part has more than %zu bytes",
                                 k->id, TUF_KEY_PUBLIC_MAX);
        ERR_clear_error();
        k->pkey = k->scheme == TUF_ED25519 ? decode_ed25519(text) : decode_pem(text);
        ERR_clear_error();
        if (!k->pkey || !kind_fits(k->pkey, k->scheme))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "key %.80s: the public part is not %s", k->id,
                                 k->scheme == TUF_ED25519 ? "64 hexadecimal digits"
                                                          : "a public key of its type in PEM form");
        if (tuf_key_check(k->pkey, "public part", &reason) < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "key %.80s: %s", k->id, reason.message);
        return 0;
}

TufKey *tuf_key_free(TufKey *k) {
        if (k) {
                EVP_PKEY_free(k->pkey);
                json_decref(k->object);
                free(k->id);
                free(k);
        }
        return NULL;
}

/* section 4.3, KEYID: it is not computed again. The signed document binds it to the key, nobody trusts it beyond that
 * document, and one key under two ids is found out by tuf_key_same(). Repositories have changed how they compute it. */
int tuf_key_parse(const char *id, const json_t *object, TufKey **ret, Error *reterr) {
        _cleanup_(tuf_key_freep) TufKey *k = xnew(TufKey, 1);
        _cleanup_free_ char *type = NULL, *scheme = NULL, *text = NULL;
        JsonReader reader = json_reader(object, "key", reterr), value_reader;
        const json_t *value = NULL;
        int r;

        if (isempty(id))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "a key has an empty id");
        json_take_string(&reader, "keytype", false, &type);
        json_take_string(&reader, "scheme", false, &scheme);
        json_take_object(&reader, "keyval", false, &value);
        r = json_reader_end_open(&reader);
        if (r < 0)
                return error_prefix(reterr, "key %.80s", id);
        k->id = xstrdup(id);
        k->object = json_incref((json_t *) object);
        k->scheme = find_scheme(type, scheme);
        if (k->scheme != TUF_SCHEME_UNKNOWN) {
                value_reader = json_reader(value, "keyval", reterr);
                json_take_string(&value_reader, "public", false, &text);
                r = json_reader_end_open(&value_reader);
                if (r < 0)
                        return error_prefix(reterr, "key %.80s", id);
                r = decode_public(k, text, reterr);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(k);
        return 0;
}

const char *tuf_key_id(const TufKey *k) {
        return k->id;
}

TufScheme tuf_key_scheme(const TufKey *k) {
        return k->scheme;
}

const char *tuf_key_scheme_name(TufScheme scheme) {
        for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
                if (schemes[i].scheme == scheme)
                        return schemes[i].name;
        return "unknown";
}

const json_t *tuf_key_object(const TufKey *k) {
        return k->object;
}

char *tuf_key_compute_id(const json_t *object) {
        _cleanup_buffer_ Buffer canonical = {};
        Sha256 hash;

        /* Only a number that is no integer has no canonical form; such an object has no id either. */
        if (tuf_canonical_encode(object, &canonical, NULL) < 0)
                return NULL;
        sha256_buffer(canonical.data, canonical.size, &hash);
        return sha256_hex(&hash);
}

bool tuf_scheme_set_padding(TufScheme scheme, EVP_PKEY_CTX *ctx, int salt_size) {
        if (scheme == TUF_RSA_PKCS1_SHA256)
                return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
        if (scheme == TUF_RSA_PSS_SHA256)
                return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                       EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
                       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt_size) == 1;
        return true;
}

bool tuf_key_verify(const TufKey *k, const void *data, size_t size, const void *signature, size_t signature_size) {
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = NULL;
        EVP_PKEY_CTX *key_ctx = NULL;
        bool good;

        if (!k->pkey)
                return false;
        ctx = EVP_MD_CTX_new();
        crypto_must(ctx);
        /* Others salt PSS with as many bytes as fit, or with the digest's 32: the signature says which. */
        good = EVP_DigestVerifyInit(ctx, &key_ctx, k->scheme == TUF_ED25519 ? NULL : EVP_sha256(), NULL, k->pkey) ==
                       1 &&
               tuf_scheme_set_padding(k->scheme, key_ctx, RSA_PSS_SALTLEN_AUTO) &&
               EVP_DigestVerify(ctx, signature, signature_size, data, size) == 1;
        ERR_clear_error();
        return good;
}

bool tuf_key_same(const TufKey *a, const TufKey *b) {
        bool same;

        if (a->pkey && b->pkey) {
                same = EVP_PKEY_eq(a->pkey, b->pkey) == 1;
                ERR_clear_error();
                return same;
        }
        return !a->pkey && !b->pkey &&
               json_equal(json_object_get(a->object, "keyval"), json_object_get(b->object, "keyval"));
}

json_t *tuf_key_object_new(TufScheme scheme, const char *public_text) {
        json_t *object = json_pack("{s:s, s:{s:s}, s:s}", "keytype", type_name(scheme), "keyval", "public", public_text,
                                   "scheme", tuf_key_scheme_name(scheme));

        crypto_must(object);
        return object;
}
