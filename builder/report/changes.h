/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What changed from one release to another: the model that `sealab diff` prints and `inspect --html` shows. */

#include "facts.h"

typedef struct PackageChange {
        const char *name;                 /* borrowed */
        const ManifestPackage *from, *to; /* NULL: added / removed */
} PackageChange;

typedef struct FileChange {
        const ContentsEntry *from, *to; /* NULL: added / removed */
        unsigned what;                  /* TreeDifference bits */
} FileChange;

typedef struct SizeChange {
        const char *name; /* borrowed */
        uint64_t from, to;
} SizeChange;

typedef struct AccountChange {
        bool user;                /* false: a group */
        const Account *from, *to; /* NULL: added / removed */
} AccountChange;

typedef struct UnitChange {
        const UnitLink *from, *to; /* NULL: added / removed */
} UnitChange;

/* A single value of the build record that differs. */
typedef struct ValueChange {
        const char *name; /* static: "kernel", "command line", "initrd" ... */
        char *from, *to;
        bool note; /* says how it was built, and does not make the releases different: tool versions */
} ValueChange;

typedef struct Changes {
        const Facts *from, *to; /* borrowed */
        ValueChange *values;
        size_t n_values, n_values_allocated;
        PackageChange *packages; /* by name */
        size_t n_packages, n_packages_allocated;
        FileChange *files; /* by path */
        size_t n_files, n_files_allocated;
        SizeChange *sizes; /* packages whose installed size changed, largest change first */
        size_t n_sizes, n_sizes_allocated;
        AccountChange *accounts; /* users, then groups, by name */
        size_t n_accounts, n_accounts_allocated;
        UnitChange *units;
        size_t n_units, n_units_allocated;

        /* Blocks of 4 KiB of the new /usr image, and those whose content the old one has nowhere: what an update that
         * reuses blocks has to fetch of /usr, before compression and without the UKI. */
        bool blocks_known;
        uint64_t n_blocks, n_new_blocks;
} Changes;

/* blocks: read both images for the block counts. */
int changes_find(const Facts *from, const Facts *to, bool blocks, Changes **ret, Error *reterr);
Changes *changes_free(Changes *c);
DEFINE_CLEANUP(Changes *, changes_free)

bool changes_is_different(const Changes *c);
/* Set-user-id, set-group-id or capabilities came, went or changed. */
bool file_change_is_rights(const FileChange *f);
/* Below the sealed copy of /etc. */
bool file_change_is_etc(const FileChange *f);
const char *file_change_path(const FileChange *f);
const char *file_change_package(const FileChange *f); /* FACTS_NO_PACKAGE where there is none */
/* "added", "removed", "content, mode 0755 -> 0700" */
char *file_change_describe(const Changes *c, const FileChange *f);
/* "image", "initrd", "image, initrd" */
const char *package_place(const ManifestPackage *p);
/* "+1.2 MiB", "-17 B" */
char *format_size_change(uint64_t from, uint64_t to);
/* The changes sorted by package, then path; *ret is owned. */
void changes_by_package(const Changes *c, const FileChange ***ret);

/* Of all blocks of file b, how many file a has nowhere. A short last block counts as a block. */
int changes_count_blocks(const char *a, const char *b, uint64_t *ret_blocks, uint64_t *ret_new, Error *reterr);
