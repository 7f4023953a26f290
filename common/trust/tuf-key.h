/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Keys of The Update Framework (specification 1.0.34, section 4.2) and their signatures over OpenSSL. */

#include "crypto.h"
#include "json.h"

#define TUF_KEY_PUBLIC_MAX ((size_t) 8 << 10) /* an RSA-16384 key in PEM is 3 KiB */
#define TUF_SIGNATURE_MAX ((size_t) 2 << 10)  /* RSA-16384 */

typedef enum TufScheme {
        TUF_ED25519,    /* keytype "ed25519", scheme "ed25519"; public: 64 hex digits */
        TUF_ECDSA_P256, /* keytype "ecdsa" (also the older "ecdsa-sha2-nistp256"), scheme "ecdsa-sha2-nistp256"; PEM */
        TUF_RSA_PSS_SHA256,   /* keytype "rsa", scheme "rsassa-pss-sha256"; PEM */
        TUF_RSA_PKCS1_SHA256, /* keytype "rsa", scheme "rsa-pkcs1v15-sha256"; PEM */
        TUF_SCHEME_UNKNOWN,   /* kept, counts as a key, never verifies anything */
} TufScheme;

typedef struct TufKey TufKey;
TufKey *tuf_key_free(TufKey *k);
DEFINE_CLEANUP(TufKey *, tuf_key_free)

/* id: the member name that it stands under. The object is kept (referenced), with members we do not know. An unknown
 * type or scheme is no error; known ones with a malformed public part are REFUSAL_BAD_FORMAT, also wrong curves and RSA
 * below 2048 bits. */
int tuf_key_parse(const char *id, const json_t *object, TufKey **ret, Error *reterr);
const char *tuf_key_id(const TufKey *k);
TufScheme tuf_key_scheme(const TufKey *k);
const char *tuf_key_scheme_name(TufScheme scheme);
/* Borrowed: as it stands in metadata. */
const json_t *tuf_key_object(const TufKey *k);
/* The id that a new key gets: SHA-256 of the canonical form, hexadecimal. NULL if it has none. */
char *tuf_key_compute_id(const json_t *object);
/* True if this key made this signature over these bytes. */
bool tuf_key_verify(const TufKey *k, const void *data, size_t size, const void *signature, size_t signature_size);
/* True if both are the same public key, whatever their ids. */
bool tuf_key_same(const TufKey *a, const TufKey *b);

/* The signing side. Loads an Ed25519, ECDSA P-256 or RSA (>= 2048) private key from a PEM file (mode checked as
 * private_key_load() does) or a "pkcs11:" URI. */
int tuf_signer_load(const char *path_or_uri, PrivateKey **ret, Error *reterr);
/* The key's public part as a key object with its computed id; RSA keys get rsassa-pss-sha256. */
int tuf_key_from_private(const PrivateKey *k, TufKey **ret, Error *reterr);
/* A public key from a PEM file (SubjectPublicKeyInfo, or a certificate). */
int tuf_key_from_pem_file(const char *path, TufKey **ret, Error *reterr);
/* Signs by the scheme of public, which must belong to the private key. */
int tuf_sign(const PrivateKey *k, const TufKey *public_key, const void *data, size_t size, void **ret, size_t *ret_size,
             Error *reterr);
/* type: "ed25519", "ecdsa" or "rsa" (3072). Writes the private key (PKCS#8 PEM, 0600) and, beside it with ".pub" in
 * place of ".key", the public one (0644); refuses to overwrite. */
int tuf_generate_key(const char *type, const char *path, Error *reterr);
