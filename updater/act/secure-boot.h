/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether this machine's firmware would start a kernel image. One that it refuses ends in the firmware's own menu,
 * where no counter helps: so this is known before the image becomes an entry. */

#include "machine.h"

/* More keys than any firmware has room for. */
#define SECURE_BOOT_VARIABLE_MAX ((size_t) 1 << 20)
#define SECURE_BOOT_CERTIFICATES_MAX ((size_t) 256)

/* REFUSAL_KEY if Secure Boot is on, and a certificate of the firmware's made the signature of the running entry, but
 * none made this one. In all other cases nothing is known against it (0): keys of a shim's, chains of certificates, and
 * digests are for the firmware to judge. */
int secure_boot_check(const Machine *m, const void *uki, size_t size, Error *reterr);
