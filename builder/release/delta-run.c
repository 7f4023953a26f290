/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What of a file is in another, at any offset. As in rsync: pieces of the old one at multiples of their size are looked
 * for at every offset of the new one by a hash that rolls; a find is extended in both directions. */

#include "delta-internal.h"

#define PIECE_SIZE ((size_t) 512)
#define MULTIPLIER UINT64_C(0x9e3779b97f4a7c15)

typedef struct Index {
        const DeltaImage *old;
        uint32_t *pieces; /* open addressing: piece + 1 */
        size_t mask;
        uint64_t leaving; /* MULTIPLIER to the power of PIECE_SIZE */
} Index;

static void index_done(Index *x) {
        free(x->pieces);
}

static uint64_t hash_piece(const uint8_t *p) {
        uint64_t h = 0;

        for (size_t i = 0; i < PIECE_SIZE; i++)
                h = h * MULTIPLIER + p[i] + 1;
        return h;
}

static size_t slot_of(const Index *x, uint64_t h) {
        return (size_t) (h ^ h >> 32) & x->mask;
}

/* Of equal pieces the first one counts: what follows it decides nothing, and zeros are many. */
static void make_index(const DeltaImage *old, Index *ret) {
        size_t n = old->size / PIECE_SIZE, n_slots = 1024;

        while (n_slots < n * 2)
                n_slots *= 2;
        *ret = (Index){ .old = old, .pieces = xnew(uint32_t, n_slots), .mask = n_slots - 1, .leaving = 1 };
        for (size_t i = 0; i < PIECE_SIZE; i++)
                ret->leaving *= MULTIPLIER;
        for (size_t i = 0; i < n; i++) {
                const uint8_t *piece = old->data + i * PIECE_SIZE;
                size_t slot = slot_of(ret, hash_piece(piece));

                while (ret->pieces[slot] > 0 &&
                       memcmp(old->data + (ret->pieces[slot] - 1) * PIECE_SIZE, piece, PIECE_SIZE) != 0)
                        slot = (slot + 1) & ret->mask;
                if (ret->pieces[slot] == 0)
                        ret->pieces[slot] = (uint32_t) i + 1;
        }
}

static uint64_t find(const Index *x, uint64_t h, const uint8_t *p) {
        for (size_t slot = slot_of(x, h); x->pieces[slot] > 0; slot = (slot + 1) & x->mask) {
                uint64_t source = (x->pieces[slot] - 1) * PIECE_SIZE;

                if (memcmp(x->old->data + source, p, PIECE_SIZE) == 0)
                        return source;
        }
        return DELTA_NO_COPY;
}

static size_t same_behind(const DeltaImage *old, uint64_t source, const DeltaImage *new, uint64_t offset) {
        size_t n = 0, max = (size_t) MIN(old->size - source, new->size - offset);

        while (n < max && old->data[source + n] == new->data[offset + n])
                n++;
        return n;
}

static void add_run(DeltaRuns *l, const DeltaImage *old, uint64_t source, const DeltaImage *new, uint64_t offset) {
        uint64_t begin = l->n > 0 ? l->items[l->n - 1].offset + l->items[l->n - 1].size : 0;
        size_t n = same_behind(old, source, new, offset);

        while (offset > begin && source > 0 && old->data[source - 1] == new->data[offset - 1]) {
                offset--;
                source--;
                n++;
        }
        GROW(l->items, l->n, l->n_allocated);
        l->items[l->n++] = (DeltaRun){ .offset = offset, .size = n, .source = source };
}

void delta_runs_done(DeltaRuns *l) {
        free(l->items);
}

void delta_find_runs(const DeltaImage *old, const DeltaImage *new, DeltaRuns *ret) {
        _cleanup_(index_done) Index x = {};
        DeltaRuns l = {};
        uint64_t h = 0, at = 0;
        bool fresh = true;

        make_index(old, &x);
        while (at + PIECE_SIZE <= new->size) {
                uint64_t source;

                h = fresh ? hash_piece(new->data + at)
                          : h * MULTIPLIER + new->data[at + PIECE_SIZE - 1] + 1 -
                                    x.leaving *(new->data[at - 1] + UINT64_C(1));
                source = find(&x, h, new->data + at);
                fresh = source != DELTA_NO_COPY;
                if (!fresh) {
                        at++;
                        continue;
                }
                add_run(&l, old, source, new, at);
                at = l.items[l.n - 1].offset + l.items[l.n - 1].size;
        }
        *ret = l;
}
