/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "delta-similar.h"

/* One of so many places is kept, as a power of two: sixteen in a block. */
#define SIMILAR_BITS 8
/* Each byte moves the hash by so much: 64 / 2 bytes until it is out of it. Code that moved has an address that changed
 * every few dozen bytes. */
#define SIMILAR_SHIFT 2
#define SIMILAR_WINDOW (64 / SIMILAR_SHIFT)
/* In more places than this it says nothing. */
#define PLACES_MAX 8
/* So many of all that is looked up, in percent, and never fewer than this, must be in one file. */
#define VOTES_PERCENT 4
#define VOTES_MIN 3
#define PIECE_SIZE ((size_t) 1 << 20)

typedef struct Place {
        uint64_t hash;
        uint64_t offset; /* in the file */
        uint32_t file;
} Place;

typedef struct Places {
        Place *items;
        size_t n, n_allocated;
} Places;

struct DeltaSimilar {
        Places places; /* by hash, file, offset */
};

/* What a found place says: that the content's beginning stood there (modulo 2^64, if it is before the file's). */
typedef struct Vote {
        uint64_t begin;
        uint32_t file;
} Vote;

static uint64_t mix(uint64_t x) {
        x = (x ^ (x >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
        return x ^ (x >> 29);
}

static void add_places(const uint8_t *data, size_t size, uint32_t file, uint64_t offset, Places *ret) {
        uint64_t gears[256], h = 0;

        for (size_t i = 0; i < ELEMENTSOF(gears); i++)
                gears[i] = mix(i + 1) ^ mix(i + 257) << 7;
        for (size_t i = 0; i < size; i++) {
                h = (h << SIMILAR_SHIFT) + gears[data[i]];
                if (h >> (64 - SIMILAR_BITS) != 0 || i + 1 < SIMILAR_WINDOW)
                        continue;
                GROW(ret->items, ret->n, ret->n_allocated);
                ret->items[ret->n++] =
                        (Place){ .hash = mix(h), .offset = offset + i + 1 - SIMILAR_WINDOW, .file = file };
        }
}

static void add_content(const DeltaImage *m, uint32_t file, uint64_t offset, uint64_t size, Places *ret) {
        _cleanup_free_ uint8_t *piece = xmalloc(MIN(size, PIECE_SIZE));

        while (size > 0) {
                size_t n = MIN(size, PIECE_SIZE);

                if (delta_image_read(m, file, offset, n, piece, NULL) < 0)
                        return;
                add_places(piece, n, file, offset, ret);
                offset += n;
                size -= n;
        }
}

static int compare_places(const void *a, const void *b) {
        const Place *x = a, *y = b;

        if (x->hash != y->hash)
                return x->hash < y->hash ? -1 : 1;
        if (x->file != y->file)
                return x->file < y->file ? -1 : 1;
        return x->offset < y->offset ? -1 : x->offset > y->offset;
}

DeltaSimilar *delta_similar_new(const DeltaImage *old, const bool *wanted) {
        DeltaSimilar *s = xnew(DeltaSimilar, 1);

        for (uint32_t i = 0; i < old->n_files; i++)
                if (wanted[i])
                        add_content(old, i, 0, old->files[i].size, &s->places);
        if (s->places.n > 0)
                qsort(s->places.items, s->places.n, sizeof(*s->places.items), compare_places);
        return s;
}

DeltaSimilar *delta_similar_free(DeltaSimilar *s) {
        if (!s)
                return NULL;
        free(s->places.items);
        free(s);
        return NULL;
}

static size_t first_of(const DeltaSimilar *s, uint64_t hash) {
        size_t low = 0, high = s->places.n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (s->places.items[middle].hash < hash)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static int compare_votes(const void *a, const void *b) {
        const Vote *x = a, *y = b;

        if (x->file != y->file)
                return x->file < y->file ? -1 : 1;
        return x->begin < y->begin ? -1 : x->begin > y->begin;
}

uint32_t delta_similar_find(const DeltaSimilar *s, const DeltaImage *new, uint32_t file, uint64_t offset, size_t size,
                            uint32_t among, uint64_t *ret_middle) {
        Places looked_up = {};
        _cleanup_free_ Vote *votes = NULL;
        size_t n = 0, n_allocated = 0, best = 0, n_best = 0;

        add_content(new, file, offset, size, &looked_up);
        for (size_t i = 0; i < looked_up.n; i++) {
                const Place *p = &looked_up.items[i];
                size_t first = first_of(s, p->hash), end = first;

                while (end < s->places.n && s->places.items[end].hash == p->hash && end - first <= PLACES_MAX)
                        end++;
                if (end - first > PLACES_MAX)
                        continue;
                for (size_t k = first; k < end; k++) {
                        if (among != DELTA_NONE && s->places.items[k].file != among)
                                continue;
                        GROW(votes, n, n_allocated);
                        votes[n++] = (Vote){ .begin = s->places.items[k].offset - (p->offset - offset),
                                             .file = s->places.items[k].file };
                }
        }
        if (n > 0)
                qsort(votes, n, sizeof(*votes), compare_votes);
        for (size_t i = 0, end; i < n; i = end) {
                for (end = i; end < n && votes[end].file == votes[i].file;)
                        end++;
                if (end - i > n_best) {
                        best = i;
                        n_best = end - i;
                }
        }
        free(looked_up.items);
        if (n_best < VOTES_MIN || n_best < looked_up.n * VOTES_PERCENT / 100)
                return DELTA_NONE;
        *ret_middle = votes[best + n_best / 2].begin + size / 2;
        return votes[best].file;
}
