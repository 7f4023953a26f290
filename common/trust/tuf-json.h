/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Canonical JSON as The Update Framework uses it (specification 1.0.34, section 4.2, which points to OLPC's): members
 * sorted by code point, no white space, strings escape nothing but backslash and quote, integers only. */

#include "json.h"

/* Appends. REFUSAL_BAD_FORMAT for a number that is not an integer: the canonical form has no other. */
int tuf_canonical_encode(const json_t *value, Buffer *ret, Error *reterr);
