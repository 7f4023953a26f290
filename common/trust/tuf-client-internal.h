/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What tuf-client.c, tuf-load.c and tuf-search.c share and nobody else sees. */

#include "tuf-client.h"

/* The document of a delegated role, as it was fetched or loaded last. */
typedef struct TufDelegated {
        char *role;
        TufMetadata *metadata;
} TufDelegated;

struct TufClient {
        TufTransport transport;
        TufStorage storage;
        int64_t now; /* section 5.1 */
        /* tuf_client_load(): nothing is fetched; whether expiry counts. */
        bool offline, ignore_expiry;
        TufMetadata *root, *timestamp, *snapshot, *targets;
        TufDelegated *delegated;
        size_t n_delegated, allocated_delegated;
};

/* Whose signatures a document needs. */
typedef struct TufTrust {
        const TufKeys *keys;
        const TufRole *role;
} TufTrust;
TufTrust tuf_trust_of_root(const TufMetadata *root, TufType type);

/* Parses, verifies, and only then decodes. */
int tuf_document_open(TufType type, const Buffer *data, const char *what, TufTrust trust, TufMetadata **ret,
                      Error *reterr);
/* REFUSAL_EXPIRED unless the document is good beyond the fixed start time. */
int tuf_document_check_expiry(const TufClient *c, const TufMetadata *m, const char *what, Error *reterr);

/* Fetches a document that must be there. */
int tuf_client_fetch(TufClient *c, const char *name, size_t max_size, bool conditional, Buffer *ret, Error *reterr);
int tuf_client_save(TufClient *c, const char *name, const Buffer *data, Error *reterr);
/* A stored document as far as it can be trusted: 1 if it is missing, damaged, or not signed by who signs now. *ret_data
 * may be NULL. */
int tuf_client_load_stored(TufClient *c, TufType type, const char *name, TufTrust trust, TufMetadata **ret,
                           Buffer *ret_data);
/* The trusted root (section 5.2), which alone cannot be fetched again. */
int tuf_client_load_root(TufClient *c, Error *reterr);

/* Sections 5.5 and 5.6, and the same for a delegated role: the document that meta describes, from the storage if it is
 * there and good, else fetched, checked and stored. check (may be NULL) looks at a fetched document before it is
 * believed. */
typedef struct TufWanted {
        TufType type;
        const char *file; /* in the storage: "snapshot.json" */
        const TufMeta *meta;
        TufTrust trust;
        int (*check)(TufClient *c, const TufMetadata *m, Error *reterr);
} TufWanted;
int tuf_client_obtain(TufClient *c, const TufWanted *w, TufMetadata **ret, Error *reterr);
void tuf_client_forget_delegated(TufClient *c);
