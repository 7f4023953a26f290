/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One suite of an archive as apt has fetched it, checked once more by us: the signature over its InRelease, its age,
 * and the digests of its package indexes. */

#include "apt.h"
#include "archive-index.h"
#include "lock.h"

typedef struct ArchiveSuiteOptions {
        const AptIndexes *indexes; /* of all suites */
        char *const *components;
        const char *architecture;
        const char *keyring;    /* binary file */
        const char *folder;     /* for temporary files */
        int64_t now;            /* for Valid-Until:; 0: do not look at it */
        const LockSuite *older; /* what the previous lock saw; NULL: anything goes */
} ArchiveSuiteOptions;

typedef struct ArchiveSuite {
        LockSuite lock;
        ArchiveIndex index; /* sorted */
} ArchiveSuite;

void archive_suite_done(ArchiveSuite *s);
int archive_suite_read(const char *suite, const ArchiveSuiteOptions *opt, ArchiveSuite *ret, Error *reterr);
