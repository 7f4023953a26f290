/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The smallest PE32+ image that firmware, tools and we agree to be one, so that tests need no real stub. */

#include "util.h"

#define SYNTHETIC_PE_OFFSET 0x40
#define SYNTHETIC_OPTIONAL (SYNTHETIC_PE_OFFSET + 24)
#define SYNTHETIC_TABLE (SYNTHETIC_OPTIONAL + 240)
#define SYNTHETIC_SIZE 0x800
#define SYNTHETIC_MAGIC "#### LoaderInfo: systemd-stub 0 ####"

static inline void synthetic_put(uint8_t *data, size_t offset, size_t width, uint64_t value) {
        for (size_t i = 0; i < width; i++)
                data[offset + i] = (uint8_t) (value >> (8 * i));
}

static inline void synthetic_section(uint8_t *data, size_t index, const char *name, uint32_t size, uint32_t address,
                                     uint32_t raw_size, uint32_t raw_offset, uint32_t flags) {
        size_t h = SYNTHETIC_TABLE + 40 * index;

        memcpy(data + h, name, strlen(name));
        synthetic_put(data, h + 8, 4, size);
        synthetic_put(data, h + 12, 4, address);
        synthetic_put(data, h + 16, 4, raw_size);
        synthetic_put(data, h + 20, 4, raw_offset);
        synthetic_put(data, h + 36, 4, flags);
}

static inline void *synthetic_pe(size_t *ret_size) {
        uint8_t *data = xcalloc(1, SYNTHETIC_SIZE);
        uint32_t sum = 0;

        memcpy(data, "MZ", 2);
        synthetic_put(data, 0x3c, 4, SYNTHETIC_PE_OFFSET);
        memcpy(data + SYNTHETIC_PE_OFFSET, "PE\0\0", 4);
        synthetic_put(data, SYNTHETIC_PE_OFFSET + 4, 2, 0x8664);
        synthetic_put(data, SYNTHETIC_PE_OFFSET + 6, 2, 2);
        synthetic_put(data, SYNTHETIC_PE_OFFSET + 20, 2, 240);
        synthetic_put(data, SYNTHETIC_PE_OFFSET + 22, 2, 0x22e);
        synthetic_put(data, SYNTHETIC_OPTIONAL, 2, 0x20b);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 4, 4, 0x200);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 8, 4, 0x200);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 16, 4, 0x1000);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 20, 4, 0x1000);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 32, 4, 0x1000);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 36, 4, 0x200);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 56, 4, 0x3000);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 60, 4, 0x400);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 68, 2, 10); /* an EFI application */
        synthetic_put(data, SYNTHETIC_OPTIONAL + 108, 4, 16);
        synthetic_section(data, 0, ".text", 3, 0x1000, 0x200, 0x400, 0x60000020);
        synthetic_section(data, 1, ".sdmagic", (uint32_t) strlen(SYNTHETIC_MAGIC), 0x2000, 0x200, 0x600, 0x40000040);
        memcpy(data + 0x400, "\x31\xc0\xc3", 3); /* xor eax, eax; ret */
        memcpy(data + 0x600, SYNTHETIC_MAGIC, strlen(SYNTHETIC_MAGIC));
        for (size_t i = 0; i < SYNTHETIC_SIZE; i += 2)
                sum += (uint32_t) (data[i] | data[i + 1] << 8);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        synthetic_put(data, SYNTHETIC_OPTIONAL + 64, 4, sum + SYNTHETIC_SIZE);
        *ret_size = SYNTHETIC_SIZE;
        return data;
}
