/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Signing on a machine that has the keys and nothing else. tosign.json leaves the builder with the exact bytes to be
 * signed, a few hundred in all; signed.json comes back with raw signatures. The signing machine never sees the image,
 * the builder never sees a key, and neither believes the other: the signer signs nothing but bytes of the two known
 * shapes, the builder checks every signature before it changes anything. */

#include "sign.h"

#define CEREMONY_FILE_SIZE_MAX ((size_t) 1 << 20)
#define CEREMONY_ITEMS_MAX 16
#define CEREMONY_BYTES_MAX 4096

typedef enum SignType {
        SIGN_VERITY_ROOTHASH, /* "verity-roothash": 64 hexadecimal digits */
        SIGN_AUTHENTICODE,    /* "authenticode": signed attributes about a PE image's digest */
        _SIGN_TYPE_MAX,
} SignType;

typedef struct SignItem {
        char *id;          /* "usr", "uki", "boot-loader" */
        SignType type;     /* which also says the role */
        char *description; /* for the person who signs */
        Sha256 subject;    /* the root hash, or the image's Authenticode digest */
        Sha256 certificate;
        void *bytes; /* to be signed */
        size_t size;
        void *signature; /* raw RSA PKCS#1 v1.5 SHA-256; NULL until signed */
        size_t signature_size;
} SignItem;

typedef struct SignRequest {
        char *image_id, *version;
        Sha256 root_hash;
        SignItem *items;
        size_t n_items, n_allocated;
} SignRequest;

SignRequest *sign_request_new(const char *image_id, const char *version, const Sha256 *root_hash);
SignRequest *sign_request_free(SignRequest *r);
DEFINE_CLEANUP(SignRequest *, sign_request_free)

/* The key set needs certificates only. */
int sign_request_add_roothash(SignRequest *r, const KeySet *s, Error *reterr);
/* id: see above; what: "UKI minimal_2026.11.1". */
int sign_request_add_efi(SignRequest *r, const KeySet *s, const char *id, const char *what, const void *image,
                         size_t size, Error *reterr);
const SignItem *sign_request_find(const SignRequest *r, const char *id);

/* tosign.json */
char *sign_request_format(const SignRequest *r);
int sign_request_parse(const char *text, size_t size, const char *what, SignRequest **ret, Error *reterr);
/* What is to be signed, in words, one item a line and a block for the image: to be read before signing. */
char *sign_request_describe(const SignRequest *r);

/* On the signing machine: refuses items whose bytes are not what their type and subject say, and other certificates
 * than the key set's. */
int sign_request_sign(SignRequest *r, const KeySet *s, Error *reterr);
/* signed.json */
char *sign_response_format(const SignRequest *r);
/* Back at the builder. r is made anew from the release, not read from tosign.json. Every item must be answered once,
 * for this image, with a signature that holds; only then are all signatures taken over into r. */
int sign_response_apply(SignRequest *r, const char *text, size_t size, const char *what, const KeySet *s,
                        Error *reterr);

/* The containers from signed items: what sign_roothash() and sign_efi() would have given. */
int sign_item_finish_roothash(const SignItem *i, const KeySet *s, void **ret, size_t *ret_size, Error *reterr);
/* REFUSAL_HASH_MISMATCH if this is not the image that was exported. */
int sign_item_finish_efi(const SignItem *i, const KeySet *s, const void *image, size_t size, void **ret,
                         size_t *ret_size, Error *reterr);

/* sealab sign --sign-file REQUEST --keys FOLDER -o RESPONSE: parse, sign, write. *ret_description (may be NULL) is what
 * was signed, in words. */
int ceremony_sign_file(const char *request_path, const char *key_folder, const char *response_path,
                       char **ret_description, Error *reterr);
