/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What encoders are tried with: the bytes that come out tell one version from another. */

#include "util.h"

/* The same for ever. */
void known_content(uint8_t *ret, size_t size);
