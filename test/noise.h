/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Numbers without a pattern, each by its place, always the same ones. For content of test images. */

#include <stddef.h>
#include <stdint.h>

static inline uint32_t noise(uint32_t seed, size_t i) {
        uint32_t x = (uint32_t) i * 2654435761U ^ seed * 2246822519U;

        x ^= x >> 15;
        x *= 2246822519U;
        x ^= x >> 13;
        x *= 3266489917U;
        return x ^ x >> 16;
}
