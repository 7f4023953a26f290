/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The layout of a PE file, as read here: DOS header with the position of the PE header at 0x3c; signature, COFF header
 * (20 bytes), optional header (PE32+), section table (40 bytes each); sections; at the very end the certificate table.
 * What the firmware's loader would tolerate but no linker makes (overlapping sections, a certificate table in the
 * middle, data in gaps) is refused, because each is a way to have bytes that look signed and are not. */

#include <endian.h>

#include "pe.h"

#define PE_SIZE_MAX ((size_t) 1 << 30)
#define PE_SECTIONS_MAX 96 /* the limit of the Windows loader */
#define COFF_HEADER_SIZE 20
#define SECTION_HEADER_SIZE 40
#define OPTIONAL_HEADER_SIZE_MIN 152 /* PE32+ up to and with the certificate table's directory entry */
#define PE32PLUS_MAGIC 0x20b

/* Offsets within the COFF and the optional header. */
enum {
        COFF_MACHINE = 0,
        COFF_N_SECTIONS = 2,
        COFF_TIMESTAMP = 4,
        COFF_SYMBOLS = 8,
        COFF_N_SYMBOLS = 12,
        COFF_OPTIONAL_SIZE = 16,
        OPTIONAL_INITIALIZED_SIZE = 8,
        OPTIONAL_SECTION_ALIGNMENT = 32,
        OPTIONAL_FILE_ALIGNMENT = 36,
        OPTIONAL_IMAGE_SIZE = 56,
        OPTIONAL_HEADERS_SIZE = 60,
        OPTIONAL_CHECKSUM = 64,
        OPTIONAL_N_DIRECTORIES = 108,
        OPTIONAL_CERTIFICATES = 112 + 4 * 8,
};

#define CERTIFICATE_HEADER_SIZE 8
#define CERTIFICATE_REVISION 0x0200
#define CERTIFICATE_TYPE_PKCS7 0x0002
#define CERTIFICATE_ALIGNMENT 8

#define SECTION_CODE 0x00000020
#define SECTION_DATA 0x00000040
#define SECTION_EXECUTE 0x20000000
#define SECTION_READ 0x40000000
/* Loaders protect memory by page, whatever smaller alignment the stub's header claims. */
#define PAGE_ALIGNMENT 4096

static uint16_t get16(const void *p) {
        uint16_t v;

        memcpy(&v, p, sizeof(v));
        return le16toh(v);
}

static uint32_t get32(const void *p) {
        uint32_t v;

        memcpy(&v, p, sizeof(v));
        return le32toh(v);
}

static void put16(void *p, uint16_t v) {
        v = htole16(v);
        memcpy(p, &v, sizeof(v));
}

static void put32(void *p, uint32_t v) {
        v = htole32(v);
        memcpy(p, &v, sizeof(v));
}

static uint64_t align_up(uint64_t v, uint64_t alignment) {
        return (v + alignment - 1) / alignment * alignment;
}

static bool is_power_of_two(uint32_t v) {
        return v != 0 && (v & (v - 1)) == 0;
}

_printf_(2, 3) static int malformed(Error *reterr, const char *fmt, ...) {
        _cleanup_free_ char *message = NULL;
        va_list ap;

        va_start(ap, fmt);
        message = xvasprintf(fmt, ap);
        va_end(ap);
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "not a usable PE image: %s", message);
}

static uint8_t *coff_header(const PeImage *p) {
        /* pe_parse() made sure that all of it is inside the data. */
        return (uint8_t *) p->data + get32(p->data + 0x3c) + 4;
}

static uint8_t *optional_header(const PeImage *p) {
        return coff_header(p) + COFF_HEADER_SIZE;
}

static int parse_headers(PeImage *p, Error *reterr) {
        uint64_t pe_offset, optional_offset;
        const uint8_t *coff, *optional;
        uint16_t optional_size;

        if (p->size > PE_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "a PE image of %zu bytes is over the limit of %zu",
                                 p->size, PE_SIZE_MAX);
        if (p->size < 0x40 || memcmp(p->data, "MZ", 2) != 0)
                return malformed(reterr, "it does not begin with MZ");
        pe_offset = get32(p->data + 0x3c);
        optional_offset = pe_offset + 4 + COFF_HEADER_SIZE;
        if (pe_offset < 0x40 || optional_offset + OPTIONAL_HEADER_SIZE_MIN > p->size ||
            memcmp(p->data + pe_offset, "PE\0\0", 4) != 0)
                return malformed(reterr, "it has no PE header");
        coff = p->data + pe_offset + 4;
        optional = p->data + optional_offset;
        p->machine = get16(coff + COFF_MACHINE);
        p->n_sections = get16(coff + COFF_N_SECTIONS);
        optional_size = get16(coff + COFF_OPTIONAL_SIZE);
        if (get16(optional) != PE32PLUS_MAGIC)
                return malformed(reterr, "only 64-bit images (PE32+) are known");
        if (optional_size < OPTIONAL_HEADER_SIZE_MIN || get32(optional + OPTIONAL_N_DIRECTORIES) < 5)
                return malformed(reterr, "its header has no room for a signature");
        if (p->n_sections == 0 || p->n_sections > PE_SECTIONS_MAX)
                return malformed(reterr, "it has %zu sections", p->n_sections);
        p->section_alignment = get32(optional + OPTIONAL_SECTION_ALIGNMENT);
        p->file_alignment = get32(optional + OPTIONAL_FILE_ALIGNMENT);
        p->headers_size = get32(optional + OPTIONAL_HEADERS_SIZE);
        p->checksum_offset = optional_offset + OPTIONAL_CHECKSUM;
        p->certificate_directory_offset = optional_offset + OPTIONAL_CERTIFICATES;
        p->section_table_offset = optional_offset + optional_size;
        if (!is_power_of_two(p->section_alignment) || !is_power_of_two(p->file_alignment) ||
            p->section_alignment > (1U << 24) || p->file_alignment > (1U << 16))
                return malformed(reterr, "its alignments are not sensible");
        if (p->headers_size > p->size ||
            p->section_table_offset + p->n_sections * SECTION_HEADER_SIZE > p->headers_size)
                return malformed(reterr, "its section table is not inside the headers");
        return 0;
}

/* Ends behind the headers and all sections' raw data. Raw data must come in the order of the table, as every linker
 * writes it: then overlaps and gaps can be seen by looking at neighbours. */
static int parse_sections(PeImage *p, uint64_t *ret_end, Error *reterr) {
        uint64_t end = p->headers_size;

        p->sections = xnew(PeSection, p->n_sections);
        for (size_t i = 0; i < p->n_sections; i++) {
                const uint8_t *h = p->data + p->section_table_offset + i * SECTION_HEADER_SIZE;
                PeSection *s = p->sections + i;

                memcpy(s->name, h, 8);
                s->virtual_size = get32(h + 8);
                s->virtual_address = get32(h + 12);
                s->raw_size = get32(h + 16);
                s->raw_offset = get32(h + 20);
                if ((uint64_t) s->virtual_address + s->virtual_size > UINT32_MAX)
                        return malformed(reterr, "section %zu reaches beyond 4 GiB", i + 1);
                if (s->raw_size == 0)
                        continue;
                if ((uint64_t) s->raw_offset + s->raw_size > p->size)
                        return malformed(reterr, "section %zu reaches beyond the end of the file", i + 1);
                if (s->raw_offset < end)
                        return malformed(reterr, "section %zu overlaps what is before it", i + 1);
                end = (uint64_t) s->raw_offset + s->raw_size;
        }
        *ret_end = end;
        return 0;
}

static int parse_certificates(PeImage *p, uint64_t sections_end, Error *reterr) {
        p->certificate_offset = get32(p->data + p->certificate_directory_offset);
        p->certificate_size = get32(p->data + p->certificate_directory_offset + 4);
        if (p->certificate_size == 0 && p->certificate_offset == 0)
                return 0;
        if (p->certificate_offset < sections_end || p->certificate_offset % CERTIFICATE_ALIGNMENT != 0 ||
            p->certificate_size < CERTIFICATE_HEADER_SIZE ||
            (uint64_t) p->certificate_offset + p->certificate_size != p->size)
                return malformed(reterr, "its certificate table is not at the end of the file");
        return 0;
}

/* Where raw data ends. */
static uint64_t sections_end(const PeImage *p) {
        uint64_t end = p->headers_size;

        for (size_t i = 0; i < p->n_sections; i++)
                if (p->sections[i].raw_size > 0)
                        end = (uint64_t) p->sections[i].raw_offset + p->sections[i].raw_size;
        return end;
}

/* The end of what a signature covers. */
static size_t image_end(const PeImage *p) {
        return p->certificate_offset ? p->certificate_offset : p->size;
}

/* The sum that Windows drivers are checked with: 16-bit words added with carry, plus the file's size. Firmware ignores
 * it, but tools complain about a wrong one. */
static uint32_t pe_checksum(const uint8_t *data, size_t size, size_t checksum_offset) {
        uint64_t sum = 0;

        for (size_t i = 0; i < size; i += 2) {
                if (i == checksum_offset || i == checksum_offset + 2)
                        continue;
                sum += i + 1 < size ? get16(data + i) : data[i];
        }
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint32_t) (sum + size);
}

static void set_checksum(uint8_t *data, size_t size, size_t checksum_offset) {
        put32(data + checksum_offset, pe_checksum(data, size, checksum_offset));
}

int pe_parse(const void *data, size_t size, PeImage *ret, Error *reterr) {
        _cleanup_(pe_done) PeImage p = { .data = data, .size = size };
        uint64_t end = 0;
        int r;

        r = parse_headers(&p, reterr);
        if (r >= 0)
                r = parse_sections(&p, &end, reterr);
        if (r >= 0)
                r = parse_certificates(&p, end, reterr);
        if (r < 0)
                return r;
        *ret = p;
        p = (PeImage){};
        return 0;
}

void pe_done(PeImage *p) {
        free(p->sections);
        *p = (PeImage){};
}

const PeSection *pe_find(const PeImage *p, const char *name) {
        for (size_t i = 0; i < p->n_sections; i++)
                if (streq(p->sections[i].name, name))
                        return p->sections + i;
        return NULL;
}

const void *pe_section_data(const PeImage *p, const PeSection *s, size_t *ret_size) {
        *ret_size = MIN(s->virtual_size, s->raw_size);
        /* Without raw data nobody checked the offset. */
        return *ret_size > 0 ? p->data + s->raw_offset : p->data;
}

int pe_authenticode_digest(const PeImage *p, Sha256 *ret, Error *reterr) {
        static const uint8_t zeros[CERTIFICATE_ALIGNMENT] = {};
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        size_t checksum = p->checksum_offset, directory = p->certificate_directory_offset, end = image_end(p);
        uint64_t position = p->headers_size;

        for (size_t i = 0; i < p->n_sections; i++) {
                const PeSection *s = p->sections + i;

                if (s->raw_size == 0)
                        continue;
                if (s->raw_offset != position)
                        return malformed(reterr,
                                         "there are %" PRIu64 " bytes before section %zu that no signature covers",
                                         s->raw_offset - position, i + 1);
                position += s->raw_size;
        }
        /* Headers, sections and what follows them now lie without gaps in the order in which they are to be hashed, so
         * it is one run with two holes. */
        hasher_update(h, p->data, checksum);
        hasher_update(h, p->data + checksum + 4, directory - checksum - 4);
        hasher_update(h, p->data + directory + 8, end - directory - 8);
        hasher_update(h, zeros, (size_t) (align_up(end, CERTIFICATE_ALIGNMENT) - end));
        hasher_final(h, ret);
        return 0;
}

static int check_additions(const PeImage *stub, const PeAddition *additions, size_t n, Error *reterr) {
        uint64_t table_end = stub->section_table_offset + (stub->n_sections + n) * SECTION_HEADER_SIZE;
        uint64_t total = sections_end(stub);

        for (size_t i = 0; i < n; i++) {
                if (isempty(additions[i].name) || strlen(additions[i].name) > 8)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "\"%s\" cannot be a section name: it needs 1 to 8 bytes", additions[i].name);
                if (pe_find(stub, additions[i].name))
                        return error_set(reterr, EEXIST, REFUSAL_BAD_VALUE, "the stub has a section %s already",
                                         additions[i].name);
                for (size_t k = 0; k < i; k++)
                        if (streq(additions[i].name, additions[k].name))
                                return error_set(reterr, EEXIST, REFUSAL_BAD_VALUE, "section %s is given twice",
                                                 additions[i].name);
                if (additions[i].size == 0 || additions[i].size > PE_SIZE_MAX)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "section %s cannot have %zu bytes",
                                         additions[i].name, additions[i].size);
                total += additions[i].size + stub->file_alignment;
        }
        if (total > PE_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE,
                                 "the image would have %" PRIu64 " bytes, over the limit of %zu", total, PE_SIZE_MAX);
        if (table_end > stub->headers_size || stub->n_sections + n > PE_SECTIONS_MAX)
                return malformed(reterr, "the stub's header has no room for %zu more sections", n);
        return 0;
}

static void write_section_header(uint8_t *h, const PeAddition *a, const PeSection *s) {
        memset(h, 0, SECTION_HEADER_SIZE);
        memcpy(h, a->name, strlen(a->name));
        put32(h + 8, s->virtual_size);
        put32(h + 12, s->virtual_address);
        put32(h + 16, s->raw_size);
        put32(h + 20, s->raw_offset);
        put32(h + 36, SECTION_READ | (a->executable ? SECTION_CODE | SECTION_EXECUTE : SECTION_DATA));
}

/* Gives every addition its place behind the stub; refuses what does not fit 32 bits. */
static int place_additions(const PeImage *stub, const PeAddition *additions, size_t n, PeSection *places,
                           Error *reterr) {
        uint64_t raw = align_up(sections_end(stub), stub->file_alignment), address = 0;

        for (size_t i = 0; i < stub->n_sections; i++)
                address = MAX(address, (uint64_t) stub->sections[i].virtual_address + stub->sections[i].virtual_size);
        for (size_t i = 0; i < n; i++) {
                uint64_t raw_size = align_up(additions[i].size, stub->file_alignment);

                address = align_up(address, MAX(stub->section_alignment, (uint32_t) PAGE_ALIGNMENT));
                if (address + additions[i].size > INT32_MAX)
                        return malformed(reterr, "the sections reach beyond 2 GiB of memory");
                places[i] = (PeSection){
                        .virtual_size = (uint32_t) additions[i].size,
                        .virtual_address = (uint32_t) address,
                        .raw_size = (uint32_t) raw_size,
                        .raw_offset = (uint32_t) raw,
                };
                address += additions[i].size;
                raw += raw_size;
        }
        return 0;
}

/* Makes the last section's raw size a multiple of the alignment, so that no gap opens before the first addition. */
static void close_gap(uint8_t *image, const PeImage *stub) {
        for (size_t i = stub->n_sections; i-- > 0;) {
                uint8_t *h = image + stub->section_table_offset + i * SECTION_HEADER_SIZE;
                uint64_t end = (uint64_t) stub->sections[i].raw_offset + stub->sections[i].raw_size;

                if (stub->sections[i].raw_size == 0)
                        continue;
                put32(h + 16, (uint32_t) (align_up(end, stub->file_alignment) - stub->sections[i].raw_offset));
                return;
        }
}

static void update_headers(uint8_t *image, const PeImage *stub, const PeSection *places, size_t n) {
        uint8_t *coff = image + (coff_header(stub) - stub->data);
        uint8_t *optional = image + (optional_header(stub) - stub->data);
        uint32_t alignment = MAX(stub->section_alignment, (uint32_t) PAGE_ALIGNMENT);
        uint32_t initialized = get32(optional + OPTIONAL_INITIALIZED_SIZE);
        const PeSection *last = places + n - 1;

        for (size_t i = 0; i < n; i++)
                initialized += places[i].raw_size;
        put16(coff + COFF_N_SECTIONS, (uint16_t) (stub->n_sections + n));
        put32(coff + COFF_TIMESTAMP, 0);
        put32(coff + COFF_SYMBOLS, 0);
        put32(coff + COFF_N_SYMBOLS, 0);
        put32(optional + OPTIONAL_INITIALIZED_SIZE, initialized);
        put32(optional + OPTIONAL_IMAGE_SIZE,
              (uint32_t) align_up(last->virtual_address + last->virtual_size, alignment));
        memset(image + stub->certificate_directory_offset, 0, 8);
}

int pe_add_sections(const void *stub, size_t stub_size, const PeAddition *additions, size_t n, void **ret,
                    size_t *ret_size, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ PeSection *places = xnew(PeSection, n + 1);
        _cleanup_free_ uint8_t *image = NULL;
        size_t size;
        int r;

        r = pe_parse(stub, stub_size, &p, reterr);
        if (r >= 0 && n == 0)
                r = error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "there are no sections to add");
        if (r >= 0)
                r = check_additions(&p, additions, n, reterr);
        if (r >= 0)
                r = place_additions(&p, additions, n, places, reterr);
        if (r < 0)
                return error_prefix(reterr, "stub");
        size = (size_t) align_up((uint64_t) places[n - 1].raw_offset + places[n - 1].raw_size, CERTIFICATE_ALIGNMENT);
        image = xcalloc(1, size);
        memcpy(image, stub, sections_end(&p));
        close_gap(image, &p);
        for (size_t i = 0; i < n; i++) {
                write_section_header(image + p.section_table_offset + (p.n_sections + i) * SECTION_HEADER_SIZE,
                                     additions + i, places + i);
                memcpy(image + places[i].raw_offset, additions[i].data, additions[i].size);
        }
        update_headers(image, &p, places, n);
        set_checksum(image, size, p.checksum_offset);
        *ret = TAKE_PTR(image);
        *ret_size = size;
        return 0;
}

int pe_attach_signature(const void *image, size_t size, const void *sig, size_t sig_size, void **ret, size_t *ret_size,
                        Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ uint8_t *data = NULL;
        size_t table_offset, table_size, total;
        int r;

        r = pe_parse(image, size, &p, reterr);
        if (r < 0)
                return r;
        if (sig_size == 0 || sig_size > PE_SIZE_MAX / 2)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "a signature of %zu bytes cannot be attached",
                                 sig_size);
        table_offset = (size_t) align_up(image_end(&p), CERTIFICATE_ALIGNMENT);
        table_size = (size_t) align_up(CERTIFICATE_HEADER_SIZE + sig_size, CERTIFICATE_ALIGNMENT);
        total = table_offset + table_size;
        if (total > PE_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE,
                                 "the signed image would be over the limit of %zu bytes", PE_SIZE_MAX);
        data = xcalloc(1, total);
        memcpy(data, image, image_end(&p));
        put32(data + table_offset, (uint32_t) table_size);
        put16(data + table_offset + 4, CERTIFICATE_REVISION);
        put16(data + table_offset + 6, CERTIFICATE_TYPE_PKCS7);
        memcpy(data + table_offset + CERTIFICATE_HEADER_SIZE, sig, sig_size);
        put32(data + p.certificate_directory_offset, (uint32_t) table_offset);
        put32(data + p.certificate_directory_offset + 4, (uint32_t) table_size);
        set_checksum(data, total, p.checksum_offset);
        *ret = TAKE_PTR(data);
        *ret_size = total;
        return 0;
}

int pe_strip_signature(const void *image, size_t size, void **ret, size_t *ret_size, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        uint8_t *data;
        int r;

        r = pe_parse(image, size, &p, reterr);
        if (r < 0)
                return r;
        data = xmemdup(image, image_end(&p));
        memset(data + p.certificate_directory_offset, 0, 8);
        set_checksum(data, image_end(&p), p.checksum_offset);
        *ret = data;
        *ret_size = image_end(&p);
        return 0;
}

/* The length of the DER sequence at data, 0 if there is none that fits. */
static size_t der_size(const uint8_t *data, size_t size) {
        size_t header = 2, length = 0, n;

        if (size < 2 || data[0] != 0x30)
                return 0;
        if (data[1] < 0x80)
                length = data[1];
        else {
                n = data[1] & 0x7f;
                if (n == 0 || n > 4 || size < 2 + n)
                        return 0;
                for (size_t i = 0; i < n; i++)
                        length = length << 8 | data[2 + i];
                header += n;
        }
        return length <= size - header ? header + length : 0;
}

int pe_signature(const PeImage *p, const void **ret, size_t *ret_size, Error *reterr) {
        const uint8_t *table = p->data + p->certificate_offset;
        size_t length, sig_size;

        if (p->certificate_offset == 0) {
                error_set(reterr, ENODATA, REFUSAL_BAD_SIGNATURE, "the image is not signed");
                return error_hint(reterr, "sign the release with 'sealab sign'");
        }
        length = get32(table);
        if (length < CERTIFICATE_HEADER_SIZE || length > p->certificate_size ||
            align_up(length, CERTIFICATE_ALIGNMENT) != align_up(p->certificate_size, CERTIFICATE_ALIGNMENT))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                 "the image does not hold exactly one signature");
        if (get16(table + 4) != CERTIFICATE_REVISION || get16(table + 6) != CERTIFICATE_TYPE_PKCS7)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the image's signature is of an unknown kind");
        /* Some signers count the padding in the length; it must then be padding and nothing else. */
        sig_size = der_size(table + CERTIFICATE_HEADER_SIZE, length - CERTIFICATE_HEADER_SIZE);
        if (sig_size == 0 || align_up(CERTIFICATE_HEADER_SIZE + sig_size, CERTIFICATE_ALIGNMENT) <
                                     align_up(length, CERTIFICATE_ALIGNMENT))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "the image's signature is malformed");
        for (size_t i = CERTIFICATE_HEADER_SIZE + sig_size; i < p->certificate_size; i++)
                if (table[i] != 0)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "bytes follow the image's signature");
        *ret = table + CERTIFICATE_HEADER_SIZE;
        *ret_size = sig_size;
        return 0;
}
