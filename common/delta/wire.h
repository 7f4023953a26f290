/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Numbers in files: little endian, or LEB128 in its shortest form (7 bits a byte, lowest first; the highest bit says
 * that more follow). */

#include "util.h"

#define VARINT_SIZE_MAX 10

static inline uint32_t wire_get_u32(const uint8_t *p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static inline uint64_t wire_get_u64(const uint8_t *p) {
        return (uint64_t) wire_get_u32(p) | (uint64_t) wire_get_u32(p + 4) << 32;
}

static inline void wire_put_u32(uint8_t *p, uint32_t value) {
        for (int i = 0; i < 4; i++)
                p[i] = (uint8_t) (value >> 8 * i);
}

static inline void wire_put_u64(uint8_t *p, uint64_t value) {
        for (int i = 0; i < 8; i++)
                p[i] = (uint8_t) (value >> 8 * i);
}

static inline void wire_append_u32(Buffer *b, uint32_t value) {
        uint8_t bytes[4];

        wire_put_u32(bytes, value);
        buffer_append(b, bytes, sizeof bytes);
}

static inline void wire_append_u64(Buffer *b, uint64_t value) {
        uint8_t bytes[8];

        wire_put_u64(bytes, value);
        buffer_append(b, bytes, sizeof bytes);
}

static inline void wire_append_varint(Buffer *b, uint64_t value) {
        uint8_t bytes[VARINT_SIZE_MAX];
        size_t n = 0;

        for (; value >= 0x80; value >>= 7)
                bytes[n++] = (uint8_t) (value | 0x80);
        bytes[n++] = (uint8_t) value;
        buffer_append(b, bytes, n);
}

/* Signed numbers near zero as small unsigned ones. */
static inline uint64_t wire_zigzag(int64_t value) {
        return ((uint64_t) value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

static inline int64_t wire_unzigzag(uint64_t value) {
        return (int64_t) ((value >> 1) ^ (value & 1 ? UINT64_MAX : 0));
}

/* What is left to be read. A read beyond the end, or of a number that is not in its shortest form, gives zeros from
 * there on and is remembered. */
typedef struct WireReader {
        const uint8_t *at, *end;
        bool failed;
} WireReader;

static inline const uint8_t *wire_read_bytes(WireReader *r, size_t n) {
        const uint8_t *p = r->at;

        if (r->failed || n > (size_t) (r->end - r->at)) {
                r->failed = true;
                return NULL;
        }
        r->at += n;
        return p;
}

static inline uint8_t wire_read_u8(WireReader *r) {
        const uint8_t *p = wire_read_bytes(r, 1);

        return p ? *p : 0;
}

static inline uint64_t wire_read_varint(WireReader *r) {
        uint64_t value = 0;

        for (unsigned shift = 0;; shift += 7) {
                uint8_t byte = wire_read_u8(r);

                if (r->failed)
                        return 0;
                /* The tenth byte has room for one bit; a last byte of zero would be a longer form. */
                if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0)) {
                        r->failed = true;
                        return 0;
                }
                value |= (uint64_t) (byte & 0x7f) << shift;
                if (!(byte & 0x80))
                        return value;
        }
}
