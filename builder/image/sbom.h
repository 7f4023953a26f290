/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The software bill of materials: SPDX 2.3 in JSON. A pure function of lock, recipe, version and the copyright files of
 * the tree: its time is the lock's, its namespace is made of digests, nothing of the build machine enters it. It
 * travels inside /usr, so it cannot name the root hash; release.json names both. */

#include "lock.h"
#include "tree.h"

/* The tree holds /usr at /usr. Copyright files are read for licence names where they are in the machine-readable
 * form (Debian's copyright-format 1.0); a package without one gets none. */
int sbom_write(const Lock *lock, const Recipe *recipe, const char *image_id, const char *version, Tree *usr_tree,
               Buffer *ret, Error *reterr);

/* "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=trixie": a package URL. Local packages, which are not
 * Debian's, become pkg:generic. */
char *sbom_package_url(const Lock *lock, const LockPackage *p);
/* Names in the License: fields of a machine-readable copyright file, sorted, without repetition; NULL: not in that form
 * or none. */
char **sbom_copyright_licences(const char *text);
