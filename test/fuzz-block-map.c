/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A map of blocks, read for an image of the size that it names itself. What is accepted must come back the same from
 * what is written of it. */

#include "block-map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool x) {
        if (!x)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(block_map_freep) BlockMap *map = NULL, *again = NULL;
        _cleanup_buffer_ Buffer text = {}, second = {};
        uint64_t image_size = 0;

        for (size_t i = 0; size >= 16 && i < 8; i++)
                image_size |= (uint64_t) data[8 + i] << 8 * i;
        /* Larger ones differ in nothing but the time they take. */
        if (image_size > (uint64_t) 1 << 30 || block_map_parse(data, size, image_size, "input", &map, NULL) < 0)
                return 0;
        require(map->n_blocks == image_size / BLOCK_MAP_BLOCK_SIZE && map->n_blocks > 0);
        (void) block_map_key_at(map, map->n_blocks - 1);
        block_map_format(map, &text);
        require(text.size <= BLOCK_MAP_SIZE_MAX);
        require(block_map_parse(text.data, text.size, image_size, "again", &again, NULL) == 0);
        require(memcmp(map->digests, again->digests, map->n_blocks * map->digest_size) == 0);
        block_map_format(again, &second);
        require(text.size == second.size && memcmp(text.data, second.data, text.size) == 0);
        return 0;
}
