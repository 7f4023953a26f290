/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unified kernel images (UAPI.5): systemd's stub plus os-release, command line, kernel release, initrd and kernel as
 * sections of one PE file. The command line holds usrhash=, so one signature covers firmware's whole view of the
 * system. The same input gives the same bytes. */

#include "crypto.h"
#include "hash.h"

#define UKI_COMMAND_LINE_MAX 4096 /* what x86's kernel takes, with its terminator */
#define UKI_OS_RELEASE_MAX ((size_t) 64 << 10)

typedef struct UkiOptions {
        const void *stub; /* linuxx64.efi.stub */
        size_t stub_size;
        const void *kernel; /* a bzImage or arm64 Image with EFI stub */
        size_t kernel_size;
        const void *initrd;
        size_t initrd_size;
        const char *command_line; /* one line, no newline */
        const char *os_release;   /* text of the image's os-release */
        const char *uname;        /* kernel release: "6.12.48+deb13-amd64" */
        const char *sbat;         /* NULL: what the stub brings; refused if the stub has a section of its own */
} UkiOptions;

/* Unsigned; owned by the caller. */
int uki_assemble(const UkiOptions *opt, void **ret, size_t *ret_size, Error *reterr);
/* Takes off any signature, signs for Secure Boot. Works for every PE image (systemd-boot too). */
int uki_sign(const void *image, size_t size, const PrivateKey *key, const Certificate *certificate, void **ret,
             size_t *ret_size, Error *reterr);
/* REFUSAL_BAD_SIGNATURE or REFUSAL_HASH_MISMATCH unless one of the certificates signed exactly these bytes. */
int uki_verify(const void *image, size_t size, Certificate *const *trusted, size_t n_trusted, Error *reterr);

typedef struct Uki {
        char *command_line, *os_release, *uname; /* owned */
        char *image_id, *image_version;          /* IMAGE_ID=, IMAGE_VERSION= of os-release; NULL: not there */
        bool has_usrhash;
        Sha256 usrhash;
        uint64_t kernel_size, initrd_size;
        Sha256 kernel, initrd; /* digests of the sections */
        bool is_signed;        /* there is a signature; whether it holds is for uki_verify() */
} Uki;

void uki_done(Uki *u);
#define _cleanup_uki_ _cleanup_(uki_done)
int uki_read(const void *image, size_t size, Uki *ret, Error *reterr);

/* The value of KEY= in an os-release text, unquoted; NULL if absent. Owned. */
char *uki_os_release_value(const char *os_release, const char *key);
/* The last word KEY=... on a kernel command line, without "KEY="; NULL if absent. Owned. */
char *uki_command_line_value(const char *command_line, const char *key);
