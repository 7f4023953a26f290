/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The files that describe a Debian archive: Packages (what there is) and Release (digests of the Packages files, and
 * the archive's own date). Both are lists of stanzas of "Field: value" lines. Readers have limits and take nothing that
 * the format does not allow; what they return means something only once the digest or the signature over the same bytes
 * was checked. */

#include "hash.h"

#define ARCHIVE_INDEX_SIZE_MAX ((uint64_t) 1 << 30)
#define ARCHIVE_STANZA_SIZE_MAX ((size_t) 4 << 20) /* a whole Release file is one stanza */
#define ARCHIVE_FIELDS_MAX 256                     /* of one stanza */
#define ARCHIVE_PACKAGES_MAX 500000                /* Debian has 70,000 */
#define ARCHIVE_RELEASE_FILES_MAX 200000

typedef struct ArchiveStanza {
        struct ArchiveField {
                const char *name, *value; /* continuation lines keep their newline and their leading space */
                size_t name_size;
        } fields[ARCHIVE_FIELDS_MAX];
        size_t n_fields;
        uint64_t line; /* of the first field, from 1 */
} ArchiveStanza;

/* NULL if absent. Field names know no case. */
const char *archive_stanza_get(const ArchiveStanza *s, const char *name);

/* Called for each stanza, whose text lasts until it returns. A negative result ends the reading. */
typedef int (*ArchiveStanzaFunction)(const ArchiveStanza *s, void *userdata, Error *reterr);

/* what names the file in messages. The digest and size are those of the bytes read; both may be NULL. */
int archive_read_fd(int fd, const char *what, ArchiveStanzaFunction function, void *userdata, Sha256 *ret_digest,
                    uint64_t *ret_size, Error *reterr);
int archive_read_text(const char *text, size_t size, const char *what, ArchiveStanzaFunction function, void *userdata,
                      Error *reterr);

typedef struct ArchivePackage {
        char *name, *version, *architecture;
        char *source, *source_version; /* the package's own where the index says nothing */
        char *path;                    /* Filename: */
        uint64_t size;
        Sha256 sha256;
        bool essential;
} ArchivePackage;

typedef struct ArchiveIndex {
        ArchivePackage *packages; /* after archive_index_sort(): by name, then version (byte order), architecture */
        size_t n_packages, n_allocated;
} ArchiveIndex;

void archive_index_done(ArchiveIndex *index);
/* Adds a stanza of a Packages file; for ArchiveStanzaFunction, userdata is the ArchiveIndex. */
int archive_index_add(const ArchiveStanza *s, void *userdata, Error *reterr);
void archive_index_sort(ArchiveIndex *index);
/* The first package of that name (others follow), or NULL. Wants a sorted index. */
const ArchivePackage *archive_index_find(const ArchiveIndex *index, const char *name);

typedef struct ArchiveRelease {
        char *origin, *suite, *codename;
        int64_t date;        /* seconds since the epoch */
        int64_t valid_until; /* 0: none */
        struct ArchiveReleaseFile {
                char *name; /* relative to the Release file: "main/binary-amd64/Packages" */
                Sha256 sha256;
                uint64_t size;
        } * files; /* by name */
        size_t n_files, n_allocated;
} ArchiveRelease;

void archive_release_done(ArchiveRelease *release);
int archive_release_parse(const char *text, size_t size, const char *what, ArchiveRelease *ret, Error *reterr);
const struct ArchiveReleaseFile *archive_release_find(const ArchiveRelease *release, const char *name);

/* "Sat, 12 Sep 2026 07:55:41 UTC" */
bool archive_date_parse(const char *text, int64_t *ret);
