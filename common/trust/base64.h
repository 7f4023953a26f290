/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Base64 (RFC 4648, section 4) over OpenSSL, strict: padded, no line breaks, one spelling for each content. */

#include "util.h"

char *base64_encode(const void *data, size_t size);
/* False for anything that base64_encode() would not have written, and for more than max_size bytes. */
bool base64_decode(const char *text, size_t max_size, void **ret, size_t *ret_size);
