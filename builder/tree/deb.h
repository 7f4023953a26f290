/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Debian binary packages, read without dpkg: deb(5) is an ar archive of debian-binary, control.tar and data.tar, each
 * tar compressed or not. Maintainer scripts are data here; nothing runs. */

#include "tree.h"

/* What one package may unpack to: the ar format's own limit for a member. */
#define DEB_DATA_SIZE_MAX UINT64_C(9999999999)
/* Control files; the largest in Debian 13 are lists of symbols and checksums of a few MiB. */
#define DEB_CONTROL_SIZE_MAX ((uint64_t) 64 * 1024 * 1024)
#define DEB_CONTROL_FILES_MAX 1000

typedef struct DebFile {
        char *name; /* "conffiles", "md5sums", "preinst", ... */
        char *data; /* NUL-terminated behind size */
        size_t size;
        mode_t mode; /* permission bits */
} DebFile;

typedef struct DebControl {
        char *package, *version, *architecture; /* owned */
        bool essential;
        DebFile *files; /* sorted by name, with "control" itself */
        size_t n_files;
} DebControl;
void deb_control_done(DebControl *c);
#define _cleanup_deb_control_ _cleanup_(deb_control_done)
const DebFile *deb_control_file(const DebControl *c, const char *name); /* NULL: it has none of that name */
/* The value of a field of a control file (continuation lines joined as they are), owned; NULL if absent. */
char *deb_field(const char *control_text, const char *name);

typedef enum DebFlags {
        DEB_MERGE_USR = 1 << 0, /* see TREE_IMPORT_MERGE_USR: Debian 12 has packages with files in /bin and /lib */
} DebFlags;

/* Reads a package from the start of fd (a file; its position does not matter and does not move) and puts its files
 * below prefix into the tree. package: the name it must have, noted in every inode; NULL: the name it says. into and
 * ret_control may be NULL. Damaged or hostile packages are REFUSAL_BAD_FORMAT, REFUSAL_TOO_LARGE, REFUSAL_PATH_ESCAPE
 * or REFUSAL_EXISTS; another name than asked for REFUSAL_DIFFERENT. The tree may hold a part of the package after a
 * failure. */
int deb_read(int fd, const char *package, Tree *into, const char *prefix, DebFlags flags, DebControl *ret_control,
             Error *reterr);

/* Writes the same package with control.tar and data.tar uncompressed to the start of out_fd (an empty file), so that
 * dpkg unpacks it without spending its time on xz. Same input, same bytes. */
int deb_repack_uncompressed(int fd, int out_fd, Error *reterr);
