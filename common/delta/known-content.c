/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "known-content.h"

static uint32_t next_random(uint32_t *state) {
        *state = *state * 1664525u + 1013904223u;
        return *state >> 8;
}

/* What an encoder's choices depend on: words, of which more are within reach than it looks at; longer repetitions,
 * near, far and too far; runs of few values, numbers that count up, noise. */
void known_content(uint8_t *ret, size_t size) {
        static const char words[8][8] = { "the ", "and ", "return ", "0x00", "struct ", "\n\t", "size_t ", "_" };
        uint32_t state = 1;

        for (size_t done = 0; done < size;) {
                uint32_t kind = next_random(&state) % 32, value = next_random(&state);
                size_t n = kind < 3 ? 1 + value % 400 : 3 + value % 30, back = 1 + value % 90000;

                for (n = MIN(n, size - done); n > 0; n--, done++)
                        if (kind == 0)
                                ret[done] = (uint8_t) next_random(&state);
                        else if (kind <= 2)
                                ret[done] = (uint8_t) (value >> 22);
                        else if (kind == 3)
                                ret[done] = (uint8_t) (done / 4 >> 8 * (done % 4));
                        else if (kind <= 8 && back <= done)
                                ret[done] = ret[done - back];
                        else
                                ret[done] = (uint8_t) words[(value >> n / 8 * 3) % 8][n % 8];
        }
}
