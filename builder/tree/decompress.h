/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Content of a compressed file in memory. */

#include "error.h"

typedef enum Compression {
        COMPRESSION_GZIP = 1 << 0,
        COMPRESSION_XZ = 1 << 1,
        COMPRESSION_ZSTD = 1 << 2,
} Compression;

/* Appends to *ret what a file unpacks to that is compressed in one of the ways in mask (Compression). Nothing else is
 * accepted: neither plain bytes nor another compression. REFUSAL_BAD_FORMAT; REFUSAL_TOO_LARGE above max bytes; in both
 * cases *ret may hold a part. */
int decompress(const char *data, size_t size, unsigned mask, size_t max, Buffer *ret, Error *reterr);
