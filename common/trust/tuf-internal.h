/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What tuf-key.c, tuf-signer.c, tuf-metadata.c, tuf-decode.c and tuf-delegation.c share and nobody else sees. */

#include "crypto-internal.h"
#include "tuf-metadata.h"

struct TufKey {
        char *id;
        TufScheme scheme;
        json_t *object;
        EVP_PKEY *pkey; /* NULL: of an unknown scheme */
};

/* Ed25519, ECDSA on P-256, RSA: a KeyCheck. */
int tuf_key_check(const EVP_PKEY *pkey, const char *what, Error *reterr);
bool tuf_scheme_set_padding(TufScheme scheme, EVP_PKEY_CTX *ctx, int salt_size);
json_t *tuf_key_object_new(TufScheme scheme, const char *public_text);

/* True if two of the n strings are equal. */
bool tuf_has_duplicates(char *const *l, size_t n);
int tuf_decode_keys(const json_t *object, TufKeys *ret, Error *reterr);
/* "keyids" and "threshold" of an object that may hold more. */
int tuf_decode_role(const json_t *object, TufRole *ret, Error *reterr);
/* The "delegations" member of a targets document. */
int tuf_decode_delegations(const json_t *object, TufMetadata *m, Error *reterr);
void tuf_delegation_done(TufDelegation *d);
/* Forgets what tuf_metadata_decode() found. */
void tuf_metadata_forget(TufMetadata *m);
