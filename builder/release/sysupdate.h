/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Releases as systemd-sysupdate follows them: flat names, a manifest, its signature. The files lie at the storage's
 * root, beside metadata/ and targets/ where the same place is a repository too:
 *
 *     ID_VERSION_UUID.usr.raw.xz             the partition's id: first half of the root hash
 *     ID_VERSION_UUID.usr-verity.raw.xz      the second half
 *     ID_VERSION_UUID.usr-verity-sig.raw.xz  disk_partition_id()
 *     ID_VERSION.efi
 *     SHA256SUMS                              all releases, sorted by name
 *     SHA256SUMS.gpg                          detached OpenPGP signature of it
 *
 * The transfer files that fit are written into images by transfers_apply() (builder/tree/transfers.h). */

#include "release.h"
#include "storage.h"

#define SYSUPDATE_SUMS "SHA256SUMS"
#define SYSUPDATE_SIGNATURE "SHA256SUMS.gpg"
#define SYSUPDATE_SUMS_SIZE_MAX ((size_t) 16 << 20)
#define SYSUPDATE_BEST_BEFORE_DAYS_MAX 3650

typedef struct SysupdateOptions {
        const char *gpg_key;    /* a file with a secret key, else what gpg's --local-user takes; NULL: no signature */
        uint64_t best_before;   /* days from now, for systemd 260 and newer; 0: none */
        unsigned workers;       /* 0: all cores */
        bool allow_development; /* a release signed with development keys */
        int64_t now;            /* seconds since 1970 */
        Progress *progress;     /* may be NULL */
} SysupdateOptions;

/* Adds a release, or, where it is there already, writes the manifest and its signature anew: 1 (that is how a
 * best-before date is moved on). Takes and releases the storage's lock. Refused: an unsigned release
 * (REFUSAL_BAD_SIGNATURE), development keys (REFUSAL_KEY), one that the manifest has with other content
 * (REFUSAL_EXISTS), a version that systemd-sysupdate would pass over (REFUSAL_BAD_VALUE), a manifest that is none
 * (REFUSAL_BAD_FORMAT), no signature where there was one (REFUSAL_KEY). */
int sysupdate_publish(Storage *s, const Release *release, const SysupdateOptions *opt, Error *reterr);
