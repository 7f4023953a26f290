/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the reports say about one release, computed once: sizes by folder and by package, files with special rights,
 * units. Everything comes from release.json and the two manifests beside the image. */

#include "contents.h"
#include "manifest.h"
#include "release.h"

/* The name under which entries without a package are summed up. */
#define FACTS_NO_PACKAGE "(made by the build)"
#define FACTS_UNITS_FOLDER "/usr/share/factory/etc/systemd/system/"
#define FACTS_ETC_FOLDER "/usr/share/factory/etc"

typedef struct SizeNode SizeNode;
struct SizeNode {
        char *name;       /* "lib"; "/usr" for the root */
        SizeNode *parent; /* borrowed */
        bool file;        /* one of the large files, which stand beside the folders of their folder */
        uint64_t bytes;   /* of files at and below */
        uint64_t n_files;
        SizeNode **children; /* folders and large files; largest first */
        size_t n_children, n_allocated;
};
/* "/usr/lib"; owned by the caller. */
char *size_node_path(const SizeNode *n);

typedef struct PackageSize {
        const char *name;               /* borrowed */
        const ManifestPackage *package; /* NULL: FACTS_NO_PACKAGE, or the manifest does not know it */
        uint64_t bytes, n_files;
} PackageSize;

typedef enum UnitState { UNIT_ENABLED, UNIT_MASKED, UNIT_ALIAS } UnitState;

typedef struct UnitLink {
        UnitState state;
        char *name;         /* "ssh.service" */
        char *by;           /* enabled: "multi-user.target"; alias: the unit it stands for; NULL otherwise */
        const char *target; /* borrowed: of the link */
} UnitLink;

typedef struct Facts {
        Release *release;
        Manifest *manifest;
        Contents *contents;
        uint64_t n_files, n_folders, n_symlinks, bytes;
        size_t n_image_packages, n_initrd_packages;
        SizeNode *folders;
        PackageSize *packages; /* of the image, largest first; also those without files */
        size_t n_packages;
        const ContentsEntry **setid; /* set-user-id and set-group-id files */
        size_t n_setid, n_setid_allocated;
        const ContentsEntry **capable; /* files with capabilities */
        size_t n_capable, n_capable_allocated;
        UnitLink *units;
        size_t n_units, n_units_allocated;
} Facts;

int facts_load(const char *folder, Facts **ret, Error *reterr);
/* From parts already in memory; takes them. */
Facts *facts_new(Release *release, Manifest *manifest, Contents *contents);
Facts *facts_free(Facts *f);
DEFINE_CLEANUP(Facts *, facts_free)

/* Every folder, largest first, without those whose parent is nearly all them: what a list of large folders should show.
 * *ret is owned, its elements are borrowed. */
size_t facts_largest_folders(const Facts *f, SizeNode ***ret);

/* "cap_net_raw=ep" from the entry's security.capability; NULL: has none. */
char *facts_capabilities(const ContentsEntry *e);
/* "root:shadow", numbers where the image has no name. */
char *facts_owner(const Contents *c, const ContentsEntry *e);
/* "2026-11-01 12:00 UTC" */
char *facts_time(int64_t epoch);
/* "file", "folder" ... */
const char *facts_type(mode_t mode);
