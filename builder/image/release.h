/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A release as a folder: OUT/ID_VERSION/ with the files below, each named ID_VERSION plus its suffix, and release.json,
 * the build record. The record is written last; a folder without it is not a release. Everything else in the folder is
 * named in the record with size and SHA-256. */

#include "recipe.h"
#include "tree.h"

#define RELEASE_FORMAT 1
#define RELEASE_RECORD "release.json"
#define RELEASE_RECORD_SIZE_MAX ((size_t) 1 << 20)
#define RELEASE_FILE_MAX ((size_t) 512 << 20) /* of what is read as a whole: a UKI is as large as the ESP, at most */

typedef enum ReleasePart {
        RELEASE_USR,          /* .usr.erofs */
        RELEASE_VERITY,       /* .usr.verity */
        RELEASE_ROOT_HASH,    /* .usr.roothash: 64 digits and a newline */
        RELEASE_VERITY_SIG,   /* .usr.verity-sig: JSON of the signature partition; signed releases only */
        RELEASE_INITRD,       /* .initrd */
        RELEASE_UNSIGNED_UKI, /* .unsigned.efi */
        RELEASE_UKI,          /* .efi; signed releases only */
        RELEASE_BOOT_LOADER,  /* .boot.unsigned.efi: systemd-boot, for the disk image that sealab sign makes */
        RELEASE_DISK,         /* .disk.raw; not with build --no-disk */
        RELEASE_SBOM,         /* .spdx.json */
        RELEASE_PACKAGES,     /* .packages.json: manifest.h */
        RELEASE_CONTENTS,     /* .contents.jsonl.zst: contents.h */
        _RELEASE_PART_MAX,
} ReleasePart;

typedef struct ReleaseFile {
        bool present;
        uint64_t size;
        Sha256 sha256;
} ReleaseFile;

typedef struct ReleaseCertificate {
        char *role; /* "usr" (root hash), "uki" (Secure Boot) */
        char *subject;
        Sha256 fingerprint; /* of the DER */
        int64_t not_after;
        bool development;
} ReleaseCertificate;

typedef struct Release {
        char *folder; /* as given to release_open(); where release_write() writes */

        char *image_id, *version, *architecture;
        int64_t epoch; /* lock_epoch(): the time that everything carries */
        char *recipe;  /* the recipe's name */
        Sha256 lock, request, ids;
        Sha256 root_hash;
        char *kernel_version, *command_line;
        UsrLayout layout;
        uint64_t level, cluster;  /* 0 for plain */
        uint64_t download_budget; /* of an update from the release before, bytes; 0: none */
        ReleaseFile files[_RELEASE_PART_MAX];
        ReleaseCertificate *certificates;
        size_t n_certificates;
        bool development_keys; /* one of them is a development certificate */
        NameValue *tools;      /* what built it: sealab, liberofs, lz4, zstd, openssl, libcryptsetup ... */
        size_t n_tools;
} Release;

/* An empty record for a folder that is being filled. */
Release *release_new(const char *folder, const char *image_id, const char *version);
Release *release_free(Release *r);
DEFINE_CLEANUP(Release *, release_free)

/* "minimal_2026.11.1" */
char *release_name(const char *image_id, const char *version);
/* The id from letters, digits, "." and "-"; the version as version_is_valid() has it; both together with the "_"
 * between them short enough for a partition label (36 characters). */
int release_check_name(const char *image_id, const char *version, Error *reterr);
const char *release_part_suffix(ReleasePart part);
/* "minimal_2026.11.1.usr.erofs", relative to the folder. */
char *release_file_name(const Release *r, ReleasePart part);
char *release_file_path(const Release *r, ReleasePart part); /* with the folder */
/* A part as a whole, up to RELEASE_FILE_MAX: kernel images, signatures, not the file systems. */
int release_read_file(const Release *r, ReleasePart part, char **ret, size_t *ret_size, Error *reterr);
bool release_is_signed(const Release *r);
const ReleaseCertificate *release_certificate(const Release *r, const char *role); /* NULL: none */

/* Measures a finished file of the folder (size, SHA-256) into the record. */
int release_add_file(Release *r, ReleasePart part, Error *reterr);
/* Forgets a file that is no longer there (signature taken off). */
void release_remove_file(Release *r, ReleasePart part);
/* Replaces the certificate of that role. */
void release_set_certificate(Release *r, const char *role, const char *subject, const Sha256 *fingerprint,
                             int64_t not_after, bool development);
void release_set_tool(Release *r, const char *name, const char *version);

char *release_format(const Release *r);
int release_parse(const char *text, size_t size, const char *what, Release **ret, Error *reterr);
/* Writes release.json into the folder: the last step. Refuses a record without its required files. */
int release_write(const Release *r, Error *reterr);

/* Reads the record and checks that every file is there with its size. Digests are left to release_check_files(). */
int release_open(const char *path, Release **ret, Error *reterr);
/* Hashes every file: REFUSAL_HASH_MISMATCH with its name. The callback gets the bytes done; may be NULL. */
int release_check_files(const Release *r, void (*progress)(uint64_t bytes, void *userdata), void *userdata,
                        Error *reterr);

/* The newest other release of the same image beside this one (by version, older than it), or NULL. Owned. */
char *release_find_previous(const Release *r);
