/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "pack-layout.h"

struct PackLayout {
        const BlockMap *map;
        uint8_t *ages; /* of each block: how many of the newest releases have it, without a gap */
        unsigned n_older;
};

PackLayout *pack_layout_new(const BlockMap *map) {
        PackLayout *l = xnew(PackLayout, 1);

        *l = (PackLayout){ .map = map, .ages = xcalloc(map->n_blocks, 1) };
        return l;
}

PackLayout *pack_layout_free(PackLayout *l) {
        if (!l)
                return NULL;
        free(l->ages);
        free(l);
        return NULL;
}

/* ---- what the releases before have ---- */

static int compare_pairs(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

static uint64_t pair_at(const BlockMap *map, size_t block, unsigned digest_size) {
        unsigned shift = 8 * (map->digest_size - digest_size);

        return (uint64_t) (block_map_key_at(map, block) >> shift) << 32 | block_map_key_at(map, block + 1) >> shift;
}

static bool has_pair(const uint64_t *pairs, size_t n, uint64_t pair) {
        return bsearch(&pair, pairs, n, sizeof pair, compare_pairs) != NULL;
}

/* A block counts as known where it has one of its neighbours there too: the map's short digests say of many a new block
 * that it is known, but hardly ever of two in a row, and a known block alone is a gap anyhow. */
void pack_layout_add(PackLayout *l, const BlockMap *older) {
        const size_t n = l->map->n_blocks, n_pairs = older->n_blocks - (older->n_blocks > 0);
        _cleanup_free_ uint64_t *pairs = xcalloc(MAX(n_pairs, (size_t) 1), sizeof *pairs);
        bool before = false;

        if (l->n_older == PACK_HISTORY_MAX)
                return;
        for (size_t i = 0; i < n_pairs; i++)
                pairs[i] = pair_at(older, i, older->digest_size);
        qsort(pairs, n_pairs, sizeof *pairs, compare_pairs);
        for (size_t i = 0; i < n; i++) {
                bool after = i + 1 < n && has_pair(pairs, n_pairs, pair_at(l->map, i, older->digest_size));

                if ((before || after) && l->ages[i] == l->n_older)
                        l->ages[i]++;
                before = after;
        }
        l->n_older++;
}

/* ---- frames ---- */

/* Few blocks between younger ones take the age of the older neighbour, for every age, beginning with new blocks. */
static void close_gaps(PackLayout *l) {
        const size_t n = l->map->n_blocks;

        for (unsigned age = 0; age < l->n_older; age++)
                for (size_t i = 0, end; i < n; i = MAX(end, i + 1)) {
                        for (end = i; end < n && l->ages[end] > age;)
                                end++;
                        if (end > i && i > 0 && end < n && end - i <= PACK_GAP_MAX)
                                memset(l->ages + i, MAX(l->ages[i - 1], l->ages[end]), end - i);
                }
}

FrameIndex *pack_layout_frames(PackLayout *l) {
        const size_t n = l->map->n_blocks;
        FrameIndex *index = frame_index_new();

        if (l->n_older == 0) {
                frame_index_add_even(index, l->map->image_size, PACK_FRAME_SIZE, FRAME_ZSTD);
                return index;
        }
        close_gaps(l);
        for (size_t i = 0, end; i < n; i = end) {
                bool old = l->ages[i] == l->n_older;

                for (end = i + 1; end < n && l->ages[end] == l->ages[i];)
                        end++;
                frame_index_add_even(index, (uint64_t) (end - i) * BLOCK_MAP_BLOCK_SIZE,
                                     old ? PACK_OLD_FRAME_SIZE : PACK_NEW_FRAME_SIZE, old ? FRAME_ZSTD : FRAME_LZMA);
        }
        return index;
}
