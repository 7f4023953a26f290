/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "recipe.h"
#include "tree.h"

/* With SysupdateSource= and SysupdateKeyring= in [Update]: the transfer files by which systemd-sysupdate follows what
 * "sealab publish --sysupdate-layout" writes (builder/release/sysupdate.h), and the keys it believes. Refused: a
 * keyring with a secret key in it, or without a public one (REFUSAL_KEY). Nothing otherwise. */
int transfers_apply(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr);

/* An OpenPGP keyring in binary: whole packets, at least one public key, no secret one. Exposed for tests. */
int transfers_check_keyring(const void *keys, size_t size, Error *reterr);
