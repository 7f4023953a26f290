/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "block-map.h"
#include "io.h"
#include "verity.h"
#include "wire.h"

#define READ_SIZE ((size_t) 256 * BLOCK_MAP_BLOCK_SIZE)
/* Fewer alike are not worth the head of another group. */
#define RUN_MIN 8

BlockMap *block_map_free(BlockMap *map) {
        if (!map)
                return NULL;
        free(map->digests);
        free(map);
        return NULL;
}

BlockMap *block_map_new(uint64_t image_size, unsigned digest_size) {
        BlockMap *map = xnew(BlockMap, 1);

        *map = (BlockMap){ .image_size = image_size,
                           .digest_size = digest_size,
                           .n_blocks = (size_t) (image_size / BLOCK_MAP_BLOCK_SIZE) };
        map->digests = xcalloc(MAX(map->n_blocks, (size_t) 1), digest_size);
        return map;
}

/* ---- reading ---- */

static int read_header(const uint8_t *p, size_t size, uint64_t wanted_size, const char *what, BlockMap **ret,
                       Error *reterr) {
        uint64_t image_size, digest_size;

        if (size < BLOCK_MAP_HEADER_SIZE || memcmp(p, BLOCK_MAP_MAGIC, 8) != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: not a map of blocks", what);
        image_size = wire_get_u64(p + 8);
        digest_size = wire_get_u32(p + 16);
        if (digest_size < 1 || digest_size > BLOCK_MAP_DIGEST_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: digests of %" PRIu64 " bytes", what,
                                 digest_size);
        if (image_size == 0 || image_size % BLOCK_MAP_BLOCK_SIZE != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: an image of %" PRIu64 " bytes", what,
                                 image_size);
        if (image_size / BLOCK_MAP_BLOCK_SIZE > BLOCK_MAP_BLOCKS_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: more than %" PRIu64 " blocks", what,
                                 BLOCK_MAP_BLOCKS_MAX);
        if (image_size != wanted_size)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED,
                                 "%s: is about an image of %" PRIu64 " bytes, not of %" PRIu64, what, image_size,
                                 wanted_size);
        *ret = block_map_new(image_size, (unsigned) digest_size);
        return 0;
}

int block_map_parse(const void *data, size_t size, uint64_t image_size, const char *what, BlockMap **ret,
                    Error *reterr) {
        _cleanup_(block_map_freep) BlockMap *map = NULL;
        const uint8_t *p = data, *end = p + size;
        uint64_t at = 0;
        int r;

        r = read_header(p, size, image_size, what, &map, reterr);
        if (r < 0)
                return r;
        p += BLOCK_MAP_HEADER_SIZE;
        while (at < map->n_blocks) {
                uint64_t left = map->n_blocks - at, n, repeated;
                uint8_t *to = map->digests + at * map->digest_size;

                if (end - p < BLOCK_MAP_GROUP_SIZE)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: ends early", what);
                n = wire_get_u32(p);
                repeated = wire_get_u32(p + 4);
                p += BLOCK_MAP_GROUP_SIZE;
                if (n == 0 || n > left || repeated > left - n || n * map->digest_size > (uint64_t) (end - p))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "%s: %" PRIu64 " and %" PRIu64 " digests at block %" PRIu64
                                         " are more than there can be",
                                         what, n, repeated, at);
                memcpy(to, p, n * map->digest_size);
                p += n * map->digest_size;
                to += n * map->digest_size;
                for (uint64_t i = 0; i < repeated; i++, to += map->digest_size)
                        memcpy(to, p - map->digest_size, map->digest_size);
                at += n + repeated;
        }
        if (p != end)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: goes on behind its end", what);
        *ret = TAKE_PTR(map);
        return 0;
}

/* ---- writing ---- */

static const uint8_t *digest_at(const BlockMap *map, size_t block) {
        return map->digests + block * map->digest_size;
}

/* How many blocks from this one on have the same digest. */
static size_t alike(const BlockMap *map, size_t block) {
        size_t n = 1;

        while (block + n < map->n_blocks &&
               memcmp(digest_at(map, block), digest_at(map, block + n), map->digest_size) == 0)
                n++;
        return n;
}

void block_map_format(const BlockMap *map, Buffer *ret) {
        buffer_append(ret, BLOCK_MAP_MAGIC, 8);
        wire_append_u64(ret, map->image_size);
        wire_append_u32(ret, map->digest_size);
        for (size_t begin = 0; begin < map->n_blocks;) {
                size_t end = begin, run = 1;

                while (end < map->n_blocks) {
                        run = alike(map, end);
                        if (run >= RUN_MIN)
                                break;
                        end += run;
                }
                /* The first of those that are alike stands with the ones before it. */
                run = end < map->n_blocks ? run : 0;
                wire_append_u32(ret, (uint32_t) (end - begin + (run > 0)));
                wire_append_u32(ret, (uint32_t) (run > 0 ? run - 1 : 0));
                buffer_append(ret, digest_at(map, begin), (end - begin + (run > 0)) * map->digest_size);
                begin = end + run;
        }
}

int block_map_build(int fd, uint64_t image_size, const uint8_t salt[static VERITY_SALT_SIZE], unsigned digest_size,
                    BlockMap **ret, Error *reterr) {
        _cleanup_(block_map_freep) BlockMap *map = NULL;
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_free_ uint8_t *buffer = xmalloc(READ_SIZE);

        if (image_size == 0 || image_size % BLOCK_MAP_BLOCK_SIZE != 0 ||
            image_size / BLOCK_MAP_BLOCK_SIZE > BLOCK_MAP_BLOCKS_MAX)
                return error_set(reterr, EINVAL, REFUSAL_TOO_LARGE, "an image of %" PRIu64 " bytes has no map",
                                 image_size);
        map = block_map_new(image_size, digest_size);
        for (uint64_t at = 0; at < image_size;) {
                size_t n = (size_t) MIN(image_size - at, (uint64_t) READ_SIZE);
                int r = io_pread_all(fd, buffer, n, at, reterr);

                if (r < 0)
                        return r;
                for (size_t i = 0; i < n; i += BLOCK_MAP_BLOCK_SIZE) {
                        Sha256 digest;

                        verity_block_digest(hasher, salt, buffer + i, &digest);
                        memcpy(map->digests + (at + i) / BLOCK_MAP_BLOCK_SIZE * digest_size, digest.bytes, digest_size);
                }
                at += n;
        }
        *ret = TAKE_PTR(map);
        return 0;
}

BlockMap *block_map_shorten(const BlockMap *map, unsigned digest_size) {
        BlockMap *shorter = block_map_new(map->image_size, digest_size);

        for (size_t i = 0; i < map->n_blocks; i++)
                memcpy(shorter->digests + i * digest_size, digest_at(map, i), digest_size);
        return shorter;
}

uint32_t block_map_key(const uint8_t *digest, unsigned digest_size) {
        uint32_t key = 0;

        for (unsigned i = 0; i < digest_size; i++)
                key = key << 8 | digest[i];
        return key;
}

uint32_t block_map_key_at(const BlockMap *map, size_t block) {
        return block_map_key(digest_at(map, block), map->digest_size);
}
