/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "block-map.h"
#include "io.h"
#include "verity.h"

#define BLOCKS 300
#define SIZE (BLOCKS * (uint64_t) BLOCK_MAP_BLOCK_SIZE)

/* Blocks 100 to 149 are alike, and 200 to 205, which are too few for a group. */
static BlockMap *example(unsigned digest_size) {
        BlockMap *map = block_map_new(SIZE, digest_size);

        for (size_t i = 0; i < BLOCKS; i++) {
                size_t content = i >= 100 && i < 150 ? 100 : i >= 200 && i < 206 ? 200 : i;
                Sha256 digest;

                sha256_buffer(&content, sizeof content, &digest);
                memcpy(map->digests + i * digest_size, digest.bytes, digest_size);
        }
        return map;
}

static int parse(const Buffer *text, uint64_t size, BlockMap **ret, Error *reterr) {
        return block_map_parse(text->data, text->size, size, "map", ret, reterr);
}

static void what_was_written_is_read_again(void **state) {
        for (unsigned k = 1; k <= BLOCK_MAP_DIGEST_MAX; k++) {
                _cleanup_(block_map_freep) BlockMap *map = example(k), *read = NULL;
                _cleanup_buffer_ Buffer text = {};

                block_map_format(map, &text);
                assert_int_equal(parse(&text, SIZE, &read, NULL), 0);
                assert_int_equal(read->n_blocks, BLOCKS);
                assert_int_equal(read->digest_size, k);
                assert_memory_equal(read->digests, map->digests, BLOCKS * k);
                assert_int_equal(block_map_key_at(read, 120), block_map_key_at(map, 100));
                /* With one byte there may be runs that nobody planned. */
                if (k > 1)
                        assert_int_equal(text.size,
                                         BLOCK_MAP_HEADER_SIZE + 2 * BLOCK_MAP_GROUP_SIZE + (BLOCKS - 49) * k);
        }
}

static void blocks_that_are_alike_cost_next_to_nothing(void **state) {
        _cleanup_(block_map_freep) BlockMap *map = block_map_new(SIZE, 4), *read = NULL;
        _cleanup_buffer_ Buffer text = {};

        block_map_format(map, &text);
        assert_int_equal(text.size, BLOCK_MAP_HEADER_SIZE + BLOCK_MAP_GROUP_SIZE + 4);
        assert_int_equal(parse(&text, SIZE, &read, NULL), 0);
        assert_memory_equal(read->digests, map->digests, BLOCKS * 4);
}

static void digests_are_those_of_the_hash_tree(void **state) {
        _cleanup_free_ char *folder = NULL, *data = NULL;
        VerityOptions options = { .salt = { 1, 2, 3 }, .uuid = { 4 } };
        _cleanup_(block_map_freep) BlockMap *map = NULL;
        _cleanup_close_ int image = -EBADF, tree = -EBADF;
        Sha256 root, leaf;

        assert_int_equal(io_temporary_folder("test-block-map", &folder, NULL), 0);
        assert_int_equal(io_tmpfile(folder, &image, NULL), 0);
        assert_int_equal(io_tmpfile(folder, &tree, NULL), 0);
        data = xcalloc(BLOCKS, BLOCK_MAP_BLOCK_SIZE);
        for (size_t i = 0; i < SIZE; i++)
                data[i] = (char) (i / 4096 * 7 + i % 251);
        assert_int_equal(io_pwrite_all(image, data, SIZE, 0, NULL), 0);
        assert_int_equal(verity_write_tree(image, 0, SIZE, tree, 0, &options, &root, NULL), 0);
        assert_int_equal(block_map_build(image, SIZE, options.salt, 4, &map, NULL), 0);
        for (size_t i = 0; i < BLOCKS; i++) {
                assert_int_equal(
                        io_pread_all(tree, &leaf, sizeof leaf, verity_leaf_offset(SIZE) + i * SHA256_SIZE, NULL), 0);
                assert_int_equal(block_map_key_at(map, i), block_map_key(leaf.bytes, 4));
        }
        /* The last of the leaves is the last thing in the tree. */
        assert_int_equal(verity_leaf_offset(SIZE) + (BLOCKS + 127) / 128 * 4096, verity_hash_size(SIZE));
        assert_int_equal(block_map_build(image, SIZE + 1, options.salt, 4, &map, NULL), -EINVAL);
        io_remove_tree(AT_FDCWD, folder, NULL);
}

static void set_number(char *p, uint64_t value, size_t bytes) {
        for (size_t i = 0; i < bytes; i++)
                p[i] = (char) (value >> 8 * i);
}

static void maps_that_say_nonsense_are_refused(void **state) {
        /* A head, one group of 100 digests and 49 repetitions, one of the 150 that are left. */
        const size_t first = BLOCK_MAP_HEADER_SIZE, second = first + BLOCK_MAP_GROUP_SIZE + 101 * 2;
        const struct {
                const char *name;
                size_t at, bytes;
                uint64_t value;
                Refusal id;
        } cases[] = {
                { "another first letter", 0, 1, 's', REFUSAL_BAD_FORMAT },
                { "a newer magic", 7, 1, '2', REFUSAL_BAD_FORMAT },
                { "no image", 8, 8, 0, REFUSAL_BAD_FORMAT },
                { "an image that is no blocks", 8, 8, SIZE + 1, REFUSAL_BAD_FORMAT },
                { "another image", 8, 8, SIZE + 4096, REFUSAL_MIXED },
                { "more blocks than there may be", 8, 8, (BLOCK_MAP_BLOCKS_MAX + 1) * 4096, REFUSAL_TOO_LARGE },
                { "an image of nearly 2^64 bytes", 8, 8, UINT64_MAX - 4095, REFUSAL_TOO_LARGE },
                { "digests of no bytes", 16, 4, 0, REFUSAL_BAD_FORMAT },
                { "digests of one byte, where there are two", 16, 4, 1, REFUSAL_BAD_FORMAT },
                { "digests of three bytes", 16, 4, 3, REFUSAL_BAD_FORMAT },
                { "digests of five bytes", 16, 4, 5, REFUSAL_BAD_FORMAT },
                { "digests of 2^32-1 bytes", 16, 4, UINT32_MAX, REFUSAL_BAD_FORMAT },
                { "a group of no digests", first, 4, 0, REFUSAL_BAD_FORMAT },
                { "a digest less", first, 4, 100, REFUSAL_BAD_FORMAT },
                { "as many digests as there are blocks", first, 4, BLOCKS, REFUSAL_BAD_FORMAT },
                { "2^32-1 digests", first, 4, UINT32_MAX, REFUSAL_BAD_FORMAT },
                { "a repetition less", first + 4, 4, 48, REFUSAL_BAD_FORMAT },
                { "a repetition more", first + 4, 4, 50, REFUSAL_BAD_FORMAT },
                { "more repetitions than blocks that are left", first + 4, 4, 200, REFUSAL_BAD_FORMAT },
                { "2^32-1 repetitions", first + 4, 4, UINT32_MAX, REFUSAL_BAD_FORMAT },
                { "a last group with a digest less", second, 4, 149, REFUSAL_BAD_FORMAT },
                { "a last group with a digest more", second, 4, 151, REFUSAL_BAD_FORMAT },
                { "a repetition behind the last block", second + 4, 4, 1, REFUSAL_BAD_FORMAT },
        };
        _cleanup_(block_map_freep) BlockMap *map = example(2);
        _cleanup_buffer_ Buffer text = {};

        block_map_format(map, &text);
        assert_int_equal(text.data[first], 101);
        assert_int_equal((uint8_t) text.data[second], 150);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *copy = xmemdup(text.data, text.size);
                _cleanup_error_ Error e = {};
                BlockMap *read = NULL;

                set_number(copy + cases[i].at, cases[i].value, cases[i].bytes);
                if (block_map_parse(copy, text.size, SIZE, "map", &read, &e) >= 0 || e.id != cases[i].id)
                        fail_msg("%s: %s, not %s", cases[i].name, refusal_name(e.id), refusal_name(cases[i].id));
        }
}

static void each_length_but_the_right_one_is_refused(void **state) {
        _cleanup_(block_map_freep) BlockMap *map = example(3);
        _cleanup_buffer_ Buffer text = {};
        size_t whole;

        block_map_format(map, &text);
        whole = text.size;
        buffer_append(&text, "", 1);
        for (size_t n = 0; n <= text.size; n++) {
                _cleanup_(block_map_freep) BlockMap *read = NULL;
                _cleanup_free_ char *copy = xmemdup(text.data, MAX(n, (size_t) 1));
                _cleanup_error_ Error e = {};
                int r = block_map_parse(copy, n, SIZE, "map", &read, &e);

                assert_int_equal(r, n == whole ? 0 : -EBADMSG);
                assert_int_equal(e.id, n == whole ? REFUSAL_NONE : REFUSAL_BAD_FORMAT);
        }
}

static void no_flipped_bit_leads_outside(void **state) {
        _cleanup_(block_map_freep) BlockMap *map = example(1);
        _cleanup_buffer_ Buffer text = {};

        block_map_format(map, &text);
        for (size_t bit = 0; bit < text.size * 8; bit++) {
                _cleanup_(block_map_freep) BlockMap *read = NULL;
                _cleanup_free_ char *copy = xmemdup(text.data, text.size);

                copy[bit / 8] ^= (char) (1 << bit % 8);
                if (block_map_parse(copy, text.size, SIZE, "map", &read, NULL) >= 0)
                        assert_int_equal(read->n_blocks, BLOCKS);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_written_is_read_again),
                cmocka_unit_test(blocks_that_are_alike_cost_next_to_nothing),
                cmocka_unit_test(digests_are_those_of_the_hash_tree),
                cmocka_unit_test(maps_that_say_nonsense_are_refused),
                cmocka_unit_test(each_length_but_the_right_one_is_refused),
                cmocka_unit_test(no_flipped_bit_leads_outside),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
