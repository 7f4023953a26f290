/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a publisher says that a device fetches; how blocks are found is in test-reuse.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "block-finder.h"
#include "io.h"

#define BLOCK BLOCK_MAP_BLOCK_SIZE
#define FRAME_BLOCKS 8
#define PACKED 100 /* bytes of each frame */

static void ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

/* Each number is a block of its own content. */
static int make_image(const uint32_t *numbers, size_t n) {
        uint32_t block[BLOCK / sizeof(uint32_t)];
        _cleanup_error_ Error e = {};
        int fd;

        ok(io_tmpfile("/tmp", &fd, &e), &e);
        for (size_t i = 0; i < n; i++) {
                for (size_t k = 0; k < ELEMENTSOF(block); k++)
                        block[k] = numbers[i];
                ok(io_write_all(fd, block, sizeof block, &e), &e);
        }
        return fd;
}

/* Frames of the new image that a device with the old one fetches. */
static uint64_t missing(const uint32_t *old, size_t n_old, const uint32_t *new, size_t n_new) {
        _cleanup_close_ int old_fd = make_image(old, n_old), new_fd = make_image(new, n_new);
        _cleanup_(block_finder_freep) BlockFinder *f = block_finder_new(old_fd);
        _cleanup_(frame_index_freep) FrameIndex *index = frame_index_new();
        const Sha256 salt = { { 9 } };
        _cleanup_error_ Error e = {};
        BlockMap *map = NULL;

        frame_index_add_even(index, n_new * BLOCK, FRAME_BLOCKS * BLOCK, FRAME_ZSTD);
        for (size_t i = 0; i < index->n_frames; i++) {
                Frame *frame = &index->frames[i];

                frame->packed_size = PACKED;
                ok(sha256_fd(new_fd, frame->offset, frame->size, &frame->sha256, &e), &e);
        }
        ok(block_finder_add_image(f, old_fd, n_old * BLOCK, &salt, &e), &e);
        assert_true(block_finder_sort(f));
        assert_int_equal(block_finder_missing(f, index), index->n_frames * PACKED); /* no map yet */
        ok(block_map_build(new_fd, n_new * BLOCK, salt.bytes, 2, &map, &e), &e);
        block_finder_set_map(f, map);
        return block_finder_missing(f, index) / PACKED;
}

static void frames_with_a_new_block_are_fetched_whole(void **state) {
        uint32_t old[64], new[64];

        for (uint32_t i = 0; i < 64; i++)
                old[i] = new[i] = i + 1;
        assert_int_equal(missing(old, 64, new, 64), 0);
        new[20] = 1000;
        assert_int_equal(missing(old, 64, new, 64), 1);
        new[23] = 1001; /* the same frame */
        assert_int_equal(missing(old, 64, new, 64), 1);
        new[63] = 1002;
        assert_int_equal(missing(old, 64, new, 64), 2);
        assert_int_equal(missing(old, 56, new, 64), 2);
        assert_int_equal(missing(old, 16, new, 64), 6);
}

static void blocks_that_moved_are_not_fetched(void **state) {
        uint32_t old[64], new[61];

        for (uint32_t i = 0; i < 64; i++)
                old[i] = i + 1;
        for (uint32_t i = 0; i < 61; i++)
                new[i] = (i + 17) % 64 + 1;
        assert_int_equal(missing(old, 64, new, 61), 0);
}

static void images_without_anything_in_common_are_fetched_whole(void **state) {
        uint32_t old[40], new[20];

        for (uint32_t i = 0; i < 40; i++)
                old[i] = i + 1;
        for (uint32_t i = 0; i < 20; i++)
                new[i] = i + 1000;
        assert_int_equal(missing(old, 40, new, 20), 3);
}

static void without_old_blocks_there_is_nothing_to_look_in(void **state) {
        _cleanup_(block_finder_freep) BlockFinder *f = block_finder_new(-EBADF);
        const Sha256 digest = {};

        assert_false(block_finder_sort(f));
        assert_null(block_finder_find(f, 0, BLOCK, &digest));
        assert_null(block_finder_room(f, BLOCK_FINDER_BLOCKS_MAX + 1));
        assert_null(block_finder_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames_with_a_new_block_are_fetched_whole),
                cmocka_unit_test(blocks_that_moved_are_not_fetched),
                cmocka_unit_test(images_without_anything_in_common_are_fetched_whole),
                cmocka_unit_test(without_old_blocks_there_is_nothing_to_look_in),
        };

        return cmocka_run_group_tests_name("block-finder", tests, NULL, NULL);
}
