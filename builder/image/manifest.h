/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The package manifest of a release: what the lock put into the image and its initrd, and how much of each package is
 * really there. Reading it needs neither lock nor recipe. Build tools are not in it: the SBOM and the lock name them.
 */

#include "contents.h"
#include "lock.h"

#define MANIFEST_FORMAT 1
#define MANIFEST_SIZE_MAX ((size_t) 32 << 20)

typedef struct ManifestPackage {
        char *name, *version, *architecture;
        char *source, *source_version;
        Sha256 sha256; /* of the .deb */
        uint64_t size; /* of the .deb */
        LockPurpose purpose;
        uint64_t n_files;         /* entries of /usr that it shipped, folders aside */
        uint64_t installed_bytes; /* of their content, hard links counted once */
} ManifestPackage;

typedef struct Manifest {
        char *image_id, *version, *architecture;
        ManifestPackage *packages; /* sorted by name, then architecture */
        size_t n_packages;
} Manifest;

Manifest *manifest_free(Manifest *m);
DEFINE_CLEANUP(Manifest *, manifest_free)

Manifest *manifest_new(const Lock *lock, const Contents *contents);
char *manifest_format(const Manifest *m);
int manifest_parse(const char *text, size_t size, const char *what, Manifest **ret, Error *reterr);
int manifest_write(const Manifest *m, int dir_fd, const char *path, Error *reterr);
int manifest_read(int dir_fd, const char *path, Manifest **ret, Error *reterr);
/* The first of that name; NULL: none. */
const ManifestPackage *manifest_find(const Manifest *m, const char *name);
