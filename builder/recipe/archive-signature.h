/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who signed an archive. apt checks this too; we check again, with the verifier alone and on exactly the bytes that are
 * read afterwards, because the lock vouches for what it says, and to write the signers down. */

#include "error.h"

#define ARCHIVE_RELEASE_SIZE_MAX ((size_t) 64 << 20)
#define ARCHIVE_KEYRING_SIZE_MAX ((size_t) 16 << 20)

/* Reads OpenPGP keys, in binary or in ASCII armour, as binary. REFUSAL_KEY if there are none. */
int openpgp_keys_read(const char *path, Buffer *ret, Error *reterr);
/* Copies the archive's keyring to a new binary file. */
int archive_keyring_import(const char *path, const char *to, Error *reterr);

/* Splits a clear-signed text (RFC 9580, 7): *ret_message is what the signature is over (no white space at line ends, no
 * last newline), *ret_signature its armour. Nothing may stand before, between or behind. */
int archive_signature_split(const char *text, size_t size, const char *what, char **ret_message, char **ret_signature,
                            Error *reterr);

/* Verifies an InRelease with sqv or gpgv, whichever apt of this machine came with. keyring: binary file; folder: a
 * private one for temporary files. *ret_signed_by: the fingerprints of the keys (primary ones) with good signatures. At
 * least one must be good, none bad; signatures by keys that are not in the keyring do not count. REFUSAL_BAD_SIGNATURE.
 */
int archive_signature_verify(const char *text, size_t size, const char *what, const char *keyring, const char *folder,
                             char **ret_message, char ***ret_signed_by, Error *reterr);

/* What gpgv says on --status-fd: the fingerprints, or the refusal. */
int archive_signature_read_status(const char *status, const char *what, char ***ret_signed_by, Error *reterr);
