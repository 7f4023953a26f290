/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What devices download of a release: all of it, and what remains of that where they have an older one. The numbers are
 * bytes as they are stored on the server. */

#include "json.h"

typedef struct DownloadBytes {
        uint64_t usr, uki;
        uint64_t metadata; /* index of the pack, map of the image, signature of the root hash */
} DownloadBytes;

/* From one older version. */
typedef struct DownloadFrom {
        char *version;
        DownloadBytes reuse; /* blocks that the device has are not fetched; of the UKI: with its map */
        /* Deltas that were made; 0: none. */
        uint64_t usr_delta, uki_delta;
        bool usr_offered, uki_offered; /* they are among the release's files: else they would save nothing */
        char **notes;                  /* why one was not made, or is not offered */
} DownloadFrom;

typedef struct Downloads {
        DownloadBytes full;
        uint64_t signature; /* of metadata, the part that every way needs */
        DownloadFrom *from; /* newest first */
        size_t n_from;
} Downloads;

void downloads_done(Downloads *d);
#define _cleanup_downloads_ _cleanup_(downloads_done)

uint64_t download_total(const DownloadBytes *b);
/* What a device fetches: a delta where one is offered, else what it does not find in its slots. */
DownloadBytes download_cheapest(const Downloads *d, const DownloadFrom *from);
/* NULL: that version was not looked at. */
const DownloadFrom *downloads_find(const Downloads *d, const char *version);

/* A table for people, with a line for each way; lines end with a newline. */
char *downloads_format(const Downloads *d);
/* {"full": {"usr", "uki", "metadata", "total"}, "from": [{"version", "reuse": {...}, "delta": {"usr", "uki"},
 * "offered":
 * ["usr", "uki"], "cheapest": {...}, "notes"}]} */
json_t *downloads_to_json(const Downloads *d);
