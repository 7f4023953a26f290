/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From the repository: metadata that holds, and the bytes of a release (download.h, pack.h, delta-apply.h). Network,
 * TLS, JSON and zstd happen in a worker (worker.h). What comes out of the network's worker is checked again: metadata
 * by a second worker that has no network, bytes by their signed digests here. */

#include "http.h"
#include "plan.h"
#include "tuf-client.h"

typedef struct FetchOptions {
        char *const *repositories; /* base URLs (http, https, file), in order; the first that works is used, later ones
                                      after failures */
        size_t first;              /* which to try first */
        size_t *answered;          /* may be NULL: which of them a file came from; may point to first */
        HttpOptions http;
        const char *state_folder; /* metadata/ below it */
        const char *trust_anchor; /* path of the built-in root.json (/usr/lib/sealab/root.json) */
        const char *channel;
        const char *etag; /* of the timestamp as it was last; NULL: none */
        int64_t now;
} FetchOptions;

typedef struct Catalogue {
        Offer *offers; /* newest version first */
        size_t n_offers;
        bool changed;
        size_t repository; /* which one answered */
        uint64_t requests, bytes;
        char *etag; /* of the timestamp; NULL: none */
} Catalogue;
Catalogue *catalogue_free(Catalogue *c);
DEFINE_CLEANUP(Catalogue *, catalogue_free)

/* Polls. */
int fetch_catalogue(const FetchOptions *opt, Catalogue **ret, Error *reterr);
/* The same from what is stored, without a network. */
int fetch_catalogue_stored(const FetchOptions *opt, Catalogue **ret, Error *reterr);

/* Where bytes of a release go (download.h, pack.h). */
typedef struct FetchSink {
        int (*write)(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr);
        void (*progress)(uint64_t downloaded, uint64_t total, void *userdata); /* may be NULL */
        void *userdata;
} FetchSink;
