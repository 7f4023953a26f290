/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A kernel image from blocks of an older one, and from ranges of the file on the server for the rest. It is packed
 * inside already, so there are no frames: a block is fetched as it is. The map (block-map.h) says what the blocks are;
 * its short digests decide what is asked for and notice a server that sends something else, and nothing more: whoever
 * asked compares the SHA-256 of the whole. */

#include "download.h"

typedef struct UkiBlocks UkiBlocks;

/* Downloads the map, looks through the older image, and puts what is known into the file, which may hold parts of the
 * image already. REFUSAL_NOT_FOUND: there is no map. *downloaded: what came is added, also after a failure, here and
 * below. */
int uki_blocks_open(const FetchOptions *opt, const Offer *offer, const char *old_path, int fd, UkiBlocks **ret,
                    uint64_t *downloaded, Error *reterr);
UkiBlocks *uki_blocks_free(UkiBlocks *u);
DEFINE_CLEANUP(UkiBlocks *, uki_blocks_free)
/* Bytes that are to be fetched, and those that were in the older image. */
uint64_t uki_blocks_missing(const UkiBlocks *u);
uint64_t uki_blocks_found(const UkiBlocks *u);
/* What came is in the file and is not fetched again by another attempt. */
int uki_blocks_fetch(UkiBlocks *u, const FetchSink *sink, uint64_t *downloaded, Error *reterr);
