/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The side that signs: keys from files and tokens, new keys, signatures. */

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "io.h"
#include "tuf-internal.h"

#define NEW_RSA_BITS 3072

static int key_from_pkey(EVP_PKEY *pkey, TufKey **ret, Error *reterr) {
        int kind = EVP_PKEY_get_base_id(pkey);
        TufScheme scheme = kind == EVP_PKEY_ED25519 ? TUF_ED25519
                           : kind == EVP_PKEY_EC    ? TUF_ECDSA_P256
                                                    : TUF_RSA_PSS_SHA256;
        _cleanup_free_ char *text = NULL, *id = NULL;
        _cleanup_json_ json_t *object = NULL;

        if (scheme == TUF_ED25519) {
                uint8_t raw[32];
                size_t n = sizeof(raw);

                crypto_must(EVP_PKEY_get_raw_public_key(pkey, raw, &n) == 1 && n == sizeof(raw));
                text = hex_encode(raw, sizeof(raw));
        } else {
                _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
                char *data;
                long n;

                crypto_must(bio);
                ERR_clear_error();
                if (PEM_write_bio_PUBKEY(bio, pkey) != 1)
                        return crypto_error(reterr, EIO, REFUSAL_KEY, "cannot write down the public key");
                n = BIO_get_mem_data(bio, &data);
                text = xstrndup(data, (size_t) n);
        }
        object = tuf_key_object_new(scheme, text);
        id = tuf_key_compute_id(object);
        return tuf_key_parse(id, object, ret, reterr);
}

static EVP_PKEY *read_public(const char *text, size_t size) {
        _cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(text, (int) size);
        _cleanup_(X509_freep) X509 *x = NULL;

        crypto_must(bio);
        if (!strstr(text, "-----BEGIN CERTIFICATE-----"))
                return PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
        x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        return x ? X509_get_pubkey(x) : NULL;
}

static EVP_PKEY *generate(const char *type) {
        if (streq(type, "ed25519"))
                return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        if (streq(type, "ecdsa"))
                return EVP_EC_gen(SN_X9_62_prime256v1);
        return EVP_RSA_gen(NEW_RSA_BITS);
}

int tuf_signer_load(const char *path_or_uri, PrivateKey **ret, Error *reterr) {
        return private_key_load_for(path_or_uri, tuf_key_check, ret, reterr);
}

int tuf_key_from_private(const PrivateKey *k, TufKey **ret, Error *reterr) {
        int r = key_from_pkey(k->pkey, ret, reterr);

        return r < 0 ? error_prefix(reterr, "%s", k->name) : 0;
}

int tuf_key_from_pem_file(const char *path, TufKey **ret, Error *reterr) {
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *pkey = NULL;
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, path, CRYPTO_KEY_FILE_MAX, &text, &size, reterr);
        if (r == -ENOENT)
                return error_set(reterr, ENOENT, REFUSAL_KEY, "there is no public key %s", path);
        if (r < 0)
                return error_prefix(reterr, "public key");
        ERR_clear_error();
        pkey = read_public(text, size);
        if (!pkey) {
                crypto_error(reterr, EKEYREJECTED, REFUSAL_KEY,
                             "%s is neither a public key nor a certificate in PEM form", path);
                return error_hint(reterr, strstr(text, "PRIVATE KEY-----")
                                                  ? "it is a private key; openssl pkey -pubout writes its public part"
                                                  : "it should begin with -----BEGIN PUBLIC KEY-----");
        }
        r = tuf_key_check(pkey, path, reterr);
        return r < 0 ? r : key_from_pkey(pkey, ret, reterr);
}

int tuf_sign(const PrivateKey *k, const TufKey *public_key, const void *data, size_t size, void **ret, size_t *ret_size,
             Error *reterr) {
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_free_ void *signature = NULL;
        EVP_PKEY_CTX *key_ctx = NULL;
        size_t n = 0;

        crypto_must(ctx);
        ERR_clear_error();
        if (!public_key->pkey || EVP_PKEY_eq(k->pkey, public_key->pkey) != 1) {
                ERR_clear_error();
                return error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "the private key %s does not belong to key %s",
                                 k->name, public_key->id);
        }
        if (EVP_DigestSignInit(ctx, &key_ctx, public_key->scheme == TUF_ED25519 ? NULL : EVP_sha256(), NULL, k->pkey) !=
                    1 ||
            !tuf_scheme_set_padding(public_key->scheme, key_ctx, RSA_PSS_SALTLEN_DIGEST) ||
            EVP_DigestSign(ctx, NULL, &n, data, size) != 1)
                return crypto_error(reterr, EIO, REFUSAL_KEY, "the key %s cannot sign", k->name);
        signature = xmalloc(n);
        if (EVP_DigestSign(ctx, signature, &n, data, size) != 1)
                return crypto_error(reterr, EIO, REFUSAL_KEY, "the key %s cannot sign", k->name);
        /* A token that errs must be noticed here and not on a thousand machines. */
        if (!tuf_key_verify(public_key, data, size, signature, n))
                return error_set(reterr, EIO, REFUSAL_KEY, "the key %s made a signature that does not hold", k->name);
        *ret = TAKE_PTR(signature);
        *ret_size = n;
        return 0;
}

int tuf_generate_key(const char *type, const char *path, Error *reterr) {
        _cleanup_(BIO_free_allp) BIO *key_bio = BIO_new(BIO_s_secmem()), *public_bio = BIO_new(BIO_s_mem());
        _cleanup_(EVP_PKEY_freep) EVP_PKEY *pkey = NULL;
        _cleanup_free_ char *public_path = NULL;
        int r;

        if (!streq(type, "ed25519") && !streq(type, "ecdsa") && !streq(type, "rsa")) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" is no type of key", type);
                return error_hint(reterr, "use ed25519, ecdsa or rsa");
        }
        if (!endswith(path, ".key") || streq(path_basename(path), ".key"))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the new key's file %s must end in .key", path);
        public_path = xasprintf("%.*s.pub", (int) (strlen(path) - strlen(".key")), path);
        r = crypto_refuse_existing(path, public_path, reterr);
        if (r < 0)
                return r;
        crypto_must(key_bio && public_bio);
        ERR_clear_error();
        pkey = generate(type);
        if (!pkey)
                return crypto_error(reterr, EIO, REFUSAL_SYSTEM, "cannot make a key of type %s", type);
        crypto_must(PEM_write_bio_PKCS8PrivateKey(key_bio, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
                    PEM_write_bio_PUBKEY(public_bio, pkey) == 1);
        r = crypto_write_new(path, key_bio, 0600, reterr);
        return r < 0 ? r : crypto_write_new(public_path, public_bio, 0644, reterr);
}
