/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PE32+ images as UEFI and systemd-stub use them (Microsoft PE format; UAPI.5 Unified Kernel Image): read sections, add
 * sections to a stub, compute the Authenticode digest, attach and find the signature. Every offset and size read from a
 * file is checked against its length; files are at most 1 GiB. */

#include "hash.h"

typedef struct PeSection {
        char name[9];
        uint32_t virtual_size, virtual_address, raw_size, raw_offset;
} PeSection;

typedef struct PeImage {
        const uint8_t *data; /* borrowed */
        size_t size;
        PeSection *sections; /* owned */
        size_t n_sections;
        uint32_t headers_size, section_alignment, file_alignment;
        size_t checksum_offset, certificate_directory_offset, section_table_offset;
        uint32_t certificate_offset, certificate_size; /* 0: unsigned */
        uint16_t machine;
} PeImage;

int pe_parse(const void *data, size_t size, PeImage *ret, Error *reterr);
void pe_done(PeImage *p);
const PeSection *pe_find(const PeImage *p, const char *name);
/* The section's bytes as they are in memory: virtual_size of them at most, borrowed from the image. */
const void *pe_section_data(const PeImage *p, const PeSection *s, size_t *ret_size);
/* Authenticode digest, SHA-256 (Windows Authenticode Portable Executable Signature Format, "calculating the PE image
 * hash"). An image with bytes that the rules leave out (between sections) is refused: they would be signed by nobody.
 * The digest is that of the image as pe_attach_signature() pads it. */
int pe_authenticode_digest(const PeImage *p, Sha256 *ret, Error *reterr);

typedef struct PeAddition {
        const char *name; /* ".linux" */
        const void *data;
        size_t size;
        bool executable; /* .linux: old kernels run where the section was loaded */
} PeAddition;
/* A new image: the stub plus sections in the given order, page-aligned addresses, no timestamps, checksum set. The stub
 * must be unsigned or is stripped; its symbol table, if any, is left out. A name that the stub has already is refused.
 */
int pe_add_sections(const void *stub, size_t stub_size, const PeAddition *additions, size_t n, void **ret,
                    size_t *ret_size, Error *reterr);
/* Replaces any signature by this one (WIN_CERTIFICATE, revision 2.0, PKCS#7 type). */
int pe_attach_signature(const void *image, size_t size, const void *sig, size_t sig_size, void **ret, size_t *ret_size,
                        Error *reterr);
int pe_strip_signature(const void *image, size_t size, void **ret, size_t *ret_size, Error *reterr);
/* Borrowed from the image's bytes; REFUSAL_BAD_SIGNATURE if there is none. */
int pe_signature(const PeImage *p, const void **ret, size_t *ret_size, Error *reterr);
