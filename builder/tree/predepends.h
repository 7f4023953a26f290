/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The order that Pre-Depends (Debian policy 7.2) asks for, as rounds: all packages of a round may be unpacked together
 * once every earlier round is configured. Pure. */

#include "util.h"

/* names and fields are parallel; the first n_essential packages make round 0. Alternatives ("a | b") are met by
 * whichever of them is present; versions are the lock's business. Names that are not present are passed over
 * (essential, or virtual). Cycles end in one round. Returns the number of rounds. */
unsigned predepends_rounds(const char *const *names, const char *const *fields, size_t n, size_t n_essential,
                           unsigned *ret_rounds);
