/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The image as frames that are fetched one by one (frame-index.h): those that are wanted, in ranges as long as they can
 * be. */

#include "download.h"

typedef struct Pack Pack;

/* Gets the index. All downloaded bytes, here and below, are added to *downloaded, also after a failure. */
int pack_open(const FetchOptions *opt, const Offer *offer, Pack **ret, uint64_t *downloaded, Error *reterr);
Pack *pack_free(Pack *p);
DEFINE_CLEANUP(Pack *, pack_free)
/* Asks about each frame that is still wanted; false: it is not, any more. */
void pack_mark(Pack *p, bool (*want)(uint64_t offset, size_t size, const Sha256 *sha256, void *userdata),
               void *userdata);
/* Packed bytes of the frames that are wanted. */
uint64_t pack_missing(const Pack *p);
/* Each frame reaches the sink only if it is right; what came is not wanted any more. */
int pack_fetch(Pack *p, const FetchSink *sink, uint64_t *downloaded, Error *reterr);
