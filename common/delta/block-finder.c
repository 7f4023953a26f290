/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "block-finder.h"
#include "io.h"

#define KEY_SIZE BLOCK_MAP_DIGEST_MAX
#define FRAME_BLOCKS_MAX (FRAME_SIZE_MAX / BLOCK_MAP_BLOCK_SIZE)
/* Ways to read a frame whose digests fit several blocks. Each costs reading and hashing a frame. */
#define TRIES_MAX 16
#define NONE UINT32_MAX

/* One old image: its blocks are numbered behind those of the ones before it. */
typedef struct Source {
        uint64_t offset;
        uint32_t first, n_blocks;
} Source;

struct BlockFinder {
        int fd;
        Source *sources;
        size_t n_sources, n_allocated;
        uint32_t *keys;  /* of each block: the first KEY_SIZE bytes of its digest */
        uint32_t *order; /* block numbers by key, then by number */
        uint32_t n_blocks;
        BlockMap *map;
        uint32_t next; /* the block behind the last one that was used; NONE */
        uint32_t blocks[FRAME_BLOCKS_MAX];
        char *buffer;
        size_t buffer_size;
};

/* ---- old blocks ---- */

static int compare_blocks(const void *a, const void *b, void *userdata) {
        const uint32_t *keys = userdata, x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        if (keys[x] != keys[y])
                return keys[x] < keys[y] ? -1 : 1;
        return x < y ? -1 : x > y;
}

BlockFinder *block_finder_new(int fd) {
        BlockFinder *f = xnew(BlockFinder, 1);

        f->fd = fd;
        f->next = NONE;
        return f;
}

BlockFinder *block_finder_free(BlockFinder *f) {
        if (!f)
                return NULL;
        free(f->sources);
        free(f->keys);
        free(f->order);
        block_map_free(f->map);
        free(f->buffer);
        free(f);
        return NULL;
}

uint32_t *block_finder_room(BlockFinder *f, uint64_t n_blocks) {
        if (n_blocks > BLOCK_FINDER_BLOCKS_MAX - f->n_blocks)
                return NULL;
        f->keys = xrealloc(f->keys, f->n_blocks + n_blocks, sizeof *f->keys);
        return f->keys + f->n_blocks;
}

void block_finder_add(BlockFinder *f, uint64_t offset, uint64_t n_blocks) {
        GROW(f->sources, f->n_sources, f->n_allocated);
        f->sources[f->n_sources++] =
                (Source){ .offset = offset, .first = f->n_blocks, .n_blocks = (uint32_t) n_blocks };
        f->n_blocks += (uint32_t) n_blocks;
}

bool block_finder_sort(BlockFinder *f) {
        if (f->n_blocks == 0)
                return false;
        free(f->order);
        f->order = xcalloc(f->n_blocks, sizeof *f->order);
        for (uint32_t i = 0; i < f->n_blocks; i++)
                f->order[i] = i;
        qsort_r(f->order, f->n_blocks, sizeof *f->order, compare_blocks, f->keys);
        return true;
}

void block_finder_set_map(BlockFinder *f, BlockMap *map) {
        block_map_free(f->map);
        f->map = map;
}

/* ---- finding blocks ---- */

/* The wanted digest, in as many bytes as the map has of it. */
static uint32_t shorten(const BlockFinder *f, uint32_t key) {
        return key >> 8 * (KEY_SIZE - f->map->digest_size);
}

/* The first place in the order that is not below the wanted digest. */
static uint32_t lower_bound(const BlockFinder *f, uint32_t wanted) {
        uint32_t low = 0, high = f->n_blocks;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2;

                if (shorten(f, f->keys[f->order[middle]]) < wanted)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* Of the blocks that fit, the one that has choice others of other content before it; NONE: there is none. */
static uint32_t candidate(const BlockFinder *f, uint32_t wanted, unsigned choice) {
        uint32_t at = lower_bound(f, wanted);

        for (;; at++) {
                if (at >= f->n_blocks || shorten(f, f->keys[f->order[at]]) != wanted)
                        return NONE;
                if (choice == 0)
                        return f->order[at];
                while (at + 1 < f->n_blocks && f->keys[f->order[at + 1]] == f->keys[f->order[at]])
                        at++;
                choice--;
        }
}

/* Images that are alike have long rows in common: what follows on what was used last is preferred. Elsewhere there may
 * be several blocks that fit. choice says which one of them is taken, in mixed radix: its digits, one for each such
 * place. False: a block is not there at all, or no such combination is left. */
static bool choose(BlockFinder *f, size_t first, size_t count, unsigned choice) {
        uint32_t next = f->next;

        for (size_t i = 0; i < count; i++) {
                uint32_t wanted = block_map_key_at(f->map, first + i);

                if (next < f->n_blocks && shorten(f, f->keys[next]) == wanted) {
                        f->blocks[i] = next++;
                        continue;
                }
                f->blocks[i] = candidate(f, wanted, 0);
                if (f->blocks[i] == NONE)
                        return false;
                if (choice > 0) {
                        unsigned n = 1;

                        while (n <= choice && candidate(f, wanted, n) != NONE)
                                n++;
                        f->blocks[i] = candidate(f, wanted, choice % n);
                        choice /= n;
                }
                next = f->blocks[i] + 1;
        }
        return choice == 0;
}

static const Source *source_of(const BlockFinder *f, uint32_t block) {
        size_t i = 0;

        while (block - f->sources[i].first >= f->sources[i].n_blocks)
                i++;
        return &f->sources[i];
}

static bool read_blocks(BlockFinder *f, size_t count) {
        for (size_t i = 0, n; i < count; i += n) {
                const Source *s = source_of(f, f->blocks[i]);
                uint64_t offset = s->offset + (uint64_t) (f->blocks[i] - s->first) * BLOCK_MAP_BLOCK_SIZE;

                for (n = 1;
                     i + n < count && f->blocks[i + n] == f->blocks[i] + n && source_of(f, f->blocks[i + n]) == s;)
                        n++;
                if (io_pread_all(f->fd, f->buffer + i * BLOCK_MAP_BLOCK_SIZE, n * BLOCK_MAP_BLOCK_SIZE, offset, NULL) <
                    0)
                        return false;
        }
        return true;
}

const void *block_finder_find(BlockFinder *f, uint64_t offset, size_t size, const Sha256 *sha256) {
        size_t first = (size_t) (offset / BLOCK_MAP_BLOCK_SIZE), count = size / BLOCK_MAP_BLOCK_SIZE;
        uint64_t end;

        if (!f->map || !f->order || offset % BLOCK_MAP_BLOCK_SIZE != 0 || size % BLOCK_MAP_BLOCK_SIZE != 0 ||
            count == 0 || count > FRAME_BLOCKS_MAX || __builtin_add_overflow(offset, size, &end) ||
            end > f->map->image_size)
                return NULL;
        if (f->buffer_size < size) {
                f->buffer = xrealloc(f->buffer, size, 1);
                f->buffer_size = size;
        }
        for (unsigned choice = 0; choice < TRIES_MAX && choose(f, first, count, choice); choice++) {
                Sha256 digest;

                if (!read_blocks(f, count))
                        break;
                sha256_buffer(f->buffer, size, &digest);
                if (sha256_equal(&digest, sha256)) {
                        f->next = f->blocks[count - 1] + 1;
                        return f->buffer;
                }
        }
        /* The new image goes on beside what it was before: behind as much as is new. */
        f->next = f->next < f->n_blocks - MIN(count, f->n_blocks) ? f->next + (uint32_t) count : NONE;
        return NULL;
}

bool block_finder_seek(BlockFinder *f, size_t n, uint64_t *ret_offset) {
        const Source *s;

        if (!f->map || !f->order || n >= f->map->n_blocks)
                return false;
        if (!choose(f, n, 1, 0)) {
                f->next = f->next < f->n_blocks - 1 ? f->next + 1 : NONE;
                return false;
        }
        s = source_of(f, f->blocks[0]);
        f->next = f->blocks[0] + 1;
        *ret_offset = s->offset + (uint64_t) (f->blocks[0] - s->first) * BLOCK_MAP_BLOCK_SIZE;
        return true;
}

int block_finder_add_image(BlockFinder *f, int fd, uint64_t size, const Sha256 *salt, Error *reterr) {
        _cleanup_(block_map_freep) BlockMap *map = NULL;
        uint32_t *keys;
        int r;

        r = block_map_build(fd, size, salt->bytes, KEY_SIZE, &map, reterr);
        if (r < 0)
                return r;
        keys = block_finder_room(f, map->n_blocks);
        if (!keys)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "an image of %" PRIu64 " bytes", size);
        for (size_t i = 0; i < map->n_blocks; i++)
                keys[i] = block_map_key_at(map, i);
        block_finder_add(f, 0, map->n_blocks);
        return 0;
}

uint64_t block_finder_missing(BlockFinder *f, const FrameIndex *index) {
        uint64_t bytes = 0;

        for (size_t i = 0; i < index->n_frames; i++)
                if (!block_finder_find(f, index->frames[i].offset, index->frames[i].size, &index->frames[i].sha256))
                        bytes += index->frames[i].packed_size;
        return bytes;
}
