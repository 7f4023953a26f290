/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The order that Pre-Depends (Debian policy 7.2) asks for, as rounds: all packages of a round may be unpacked together
 * once every earlier round is configured. Pure. */

#include "util.h"

/* What a package says about others; all borrowed, "" where it says nothing. */
typedef struct PackageRelations {
        const char *name, *pre_depends, *depends, *provides;
} PackageRelations;

/* Marks, beside those marked already (Essential: yes), everything they need to run: dependencies of dependencies,
 * through Provides where nothing has the name itself. */
void predepends_close(const PackageRelations *packages, size_t n, bool *marked);

/* Essential packages make round 0. Alternatives ("a | b") are met by whichever of them is present; versions are the
 * lock's business. Names that are not present are passed over. Cycles end in one round. Returns the number of rounds.
 */
unsigned predepends_rounds(const PackageRelations *packages, size_t n, const bool *essential, unsigned *ret_rounds);
