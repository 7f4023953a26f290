/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* OpenPGP signatures by gpg, which has the keys, their agents and their smart cards. */

#include "error.h"

#define OPENPGP_SIGNATURE_SIZE_MAX ((size_t) 64 << 10)

/* A detached binary signature over the text. key: the path of a file with a secret key (it must exist; it is used in a
 * private folder that is gone afterwards), or else what gpg's --local-user takes, out of the user's own keyring.
 * REFUSAL_MACHINE: there is no gpg; REFUSAL_KEY: the key cannot be used. */
int openpgp_sign(const char *key, const void *text, size_t size, Buffer *ret, Error *reterr);
/* Whether openpgp_sign() could sign, without asking anybody for a passphrase or a card: to be told before long work. */
int openpgp_check(const char *key, Error *reterr);
