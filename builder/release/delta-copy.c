/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which blocks are there already. Equal means compared: a hash only says where to look. */

#include "delta-internal.h"

/* Of several places the one from where most follows is taken, but not all are tried: blocks of one kind (zeros) are in
 * many. */
#define PLACES_TRIED 8
#define RUN_TRIED 256

typedef struct Index {
        const DeltaImage *old;
        uint32_t *heads; /* by hash: block + 1 */
        uint32_t *next;  /* by block: the next one of the same bucket + 1 */
        size_t mask;
} Index;

static void index_done(Index *x) {
        free(x->heads);
        free(x->next);
}

static uint64_t hash_block(const uint8_t *p) {
        uint64_t h = 0;

        for (size_t i = 0; i < DELTA_BLOCK_SIZE; i += 8) {
                uint64_t word;

                memcpy(&word, p + i, 8);
                h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
                h ^= h >> 29;
        }
        return h;
}

static void make_index(const DeltaImage *old, Index *ret) {
        size_t n = old->size / DELTA_BLOCK_SIZE, n_heads = 1024;

        while (n_heads < n)
                n_heads *= 2;
        *ret = (Index){
                .old = old, .heads = xnew(uint32_t, n_heads), .next = xnew(uint32_t, n + 1), .mask = n_heads - 1
        };
        /* Backwards, so that the first place comes first. */
        for (size_t i = n; i > 0; i--) {
                uint32_t *head = &ret->heads[hash_block(old->data + (i - 1) * DELTA_BLOCK_SIZE) & ret->mask];

                ret->next[i - 1] = *head;
                *head = (uint32_t) i;
        }
}

static bool equal(const DeltaImage *old, uint64_t source, const DeltaImage *new, uint64_t offset) {
        if (source + DELTA_BLOCK_SIZE > old->size || offset + DELTA_BLOCK_SIZE > new->size)
                return false;
        return memcmp(old->data + source, new->data + offset, DELTA_BLOCK_SIZE) == 0;
}

static size_t run_length(const DeltaImage *old, uint64_t source, const DeltaImage *new, uint64_t offset) {
        size_t n = 0;

        while (n < RUN_TRIED && equal(old, source + n * DELTA_BLOCK_SIZE, new, offset + n * DELTA_BLOCK_SIZE))
                n++;
        return n;
}

static uint64_t find(const Index *x, const DeltaImage *new, uint64_t offset) {
        uint64_t best = DELTA_NO_COPY;
        size_t best_run = 0, tried = 0;

        for (uint32_t i = x->heads[hash_block(new->data + offset) & x->mask]; i > 0 && tried < PLACES_TRIED;
             i = x->next[i - 1]) {
                uint64_t source = (i - 1) * DELTA_BLOCK_SIZE;
                size_t run = run_length(x->old, source, new, offset);

                tried += run > 0;
                if (run > best_run) {
                        best_run = run;
                        best = source;
                }
        }
        return best;
}

uint64_t *delta_find_copies(const DeltaImage *old, const DeltaImage *new) {
        size_t n = new->size / DELTA_BLOCK_SIZE;
        uint64_t *copies = xnew(uint64_t, n + 1), next = DELTA_NO_COPY;
        _cleanup_(index_done) Index x = {};

        make_index(old, &x);
        for (size_t i = 0; i < n; i++) {
                uint64_t offset = i * DELTA_BLOCK_SIZE;

                copies[i] = next != DELTA_NO_COPY && equal(old, next, new, offset) ? next : find(&x, new, offset);
                next = copies[i] == DELTA_NO_COPY ? DELTA_NO_COPY : copies[i] + DELTA_BLOCK_SIZE;
        }
        return copies;
}
