/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A disk with three slots as test files make it: old images, their hash trees, and what of a new image is found in
 * them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io.h"
#include "reuse.h"
#include "verity.h"

#define BLOCK BLOCK_MAP_BLOCK_SIZE
#define FRAME ((size_t) 8 * BLOCK)
#define SLOT_SIZE ((uint64_t) 8 << 20)
#define TREE_SIZE ((uint64_t) 1 << 20)

typedef struct Disk {
        char *folder, *path;
        int fd;
        Machine machine;
        Sha256 salt;
} Disk;

static void ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

static int setup(void **state) {
        Disk *d = xnew(Disk, 1);
        _cleanup_error_ Error e = {};

        ok(io_temporary_folder("test-reuse", &d->folder, &e), &e);
        d->path = path_join(d->folder, "disk");
        d->fd = open(d->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_true(d->fd >= 0);
        d->machine = (Machine){ .disk = d->path, .n_slots = 3 };
        for (size_t i = 0; i < 3; i++) {
                uint64_t begin = i * (SLOT_SIZE + TREE_SIZE);

                d->machine.slots[i] = (Slot){ .usr = { .offset = begin, .size = SLOT_SIZE },
                                              .verity = { .offset = begin + SLOT_SIZE, .size = TREE_SIZE },
                                              .empty = true };
        }
        d->machine.slots[0].running = true;
        memset(&d->salt, 5, sizeof d->salt);
        *state = d;
        return 0;
}

static int teardown(void **state) {
        Disk *d = *state;

        safe_close(d->fd);
        io_remove_tree(AT_FDCWD, d->folder, NULL);
        free(d->folder);
        free(d->path);
        free(d);
        return 0;
}

/* Each number is a block of its own content. */
static char *make_image(const uint32_t *numbers, size_t n) {
        char *image = xcalloc(n, BLOCK);

        for (size_t i = 0; i < n; i++)
                for (size_t at = 0; at < BLOCK; at += sizeof *numbers)
                        memcpy(image + i * BLOCK + at, &numbers[i], sizeof *numbers);
        return image;
}

static uint32_t *count_from(uint32_t first, size_t n) {
        uint32_t *numbers = xcalloc(n, sizeof *numbers);

        for (size_t i = 0; i < n; i++)
                numbers[i] = first + (uint32_t) i;
        return numbers;
}

static void fill(Disk *d, size_t slot, const uint32_t *numbers, size_t n) {
        _cleanup_free_ char *image = make_image(numbers, n);
        Slot *s = &d->machine.slots[slot];
        VerityOptions options = {};
        _cleanup_error_ Error e = {};

        memcpy(options.salt, d->salt.bytes, sizeof options.salt);
        ok(io_pwrite_all(d->fd, image, n * BLOCK, s->usr.offset, &e), &e);
        ok(verity_write_tree(d->fd, s->usr.offset, n * BLOCK, d->fd, s->verity.offset, &options, &s->root_hash, &e),
           &e);
        s->has_root_hash = true;
        s->empty = false;
}

static Reuse *open_reuse(const Disk *d) {
        _cleanup_error_ Error e = {};
        Reuse *r = NULL;

        ok(reuse_open(&d->machine, &d->machine.slots[2], &d->salt, &r, &e), &e);
        return r;
}

/* How many of the frames of the new image are found; each must be right. */
static size_t find_all(const Disk *d, Reuse *r, const uint32_t *numbers, size_t n, unsigned digest_size) {
        _cleanup_free_ char *image = make_image(numbers, n);
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error e = {};
        BlockMap *map = NULL;
        size_t found = 0;

        ok(io_tmpfile(d->folder, &fd, &e), &e);
        ok(io_write_all(fd, image, n * BLOCK, &e), &e);
        ok(block_map_build(fd, n * BLOCK, d->salt.bytes, digest_size, &map, &e), &e);
        reuse_set_map(r, map);
        for (size_t at = 0; at < n * BLOCK; at += FRAME) {
                size_t size = MIN(FRAME, n * BLOCK - at);
                const void *bytes;
                Sha256 digest;

                sha256_buffer(image + at, size, &digest);
                bytes = reuse_find(r, at, size, &digest);
                if (!bytes)
                        continue;
                assert_memory_equal(bytes, image + at, size);
                found++;
        }
        return found;
}

static void an_image_that_is_there_is_found_as_a_whole(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 1000);
        _cleanup_(reuse_freep) Reuse *r = NULL;

        fill(d, 0, numbers, 1000);
        r = open_reuse(d);
        for (unsigned k = 2; k <= BLOCK_MAP_DIGEST_MAX; k++)
                assert_int_equal(find_all(d, r, numbers, 1000, k), 125);
}

static void nothing_is_found_in_an_image_of_other_blocks(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *old = count_from(1, 1000), *new = count_from(5000, 1000);
        _cleanup_(reuse_freep) Reuse *r = NULL;

        fill(d, 0, old, 1000);
        r = open_reuse(d);
        for (unsigned k = 1; k <= BLOCK_MAP_DIGEST_MAX; k++)
                assert_int_equal(find_all(d, r, new, 1000, k), 0);
}

static void blocks_are_found_wherever_they_went(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 1003);
        _cleanup_(reuse_freep) Reuse *r = NULL;

        fill(d, 0, numbers, 1003);
        r = open_reuse(d);
        for (uint32_t i = 0; i < 1003; i++)
                numbers[i] = 1 + i * 619 % 1003;
        assert_int_equal(find_all(d, r, numbers, 1003, 4), 126);
        assert_int_equal(find_all(d, r, numbers, 1003, 3), 126);
        /* The last frame is a short one; a new block in the one before it. */
        numbers[999] = 70000;
        assert_int_equal(find_all(d, r, numbers, 1003, 4), 125);
}

static void larger_and_smaller_images_find_what_they_share(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 2000);
        _cleanup_(reuse_freep) Reuse *small = NULL, *large = NULL;

        fill(d, 0, numbers, 80);
        small = open_reuse(d);
        assert_int_equal(find_all(d, small, numbers, 2000, 3), 10);
        fill(d, 0, numbers, 2000);
        large = open_reuse(d);
        assert_int_equal(find_all(d, large, numbers, 80, 3), 10);
        /* Two blocks are the least that has leaves on the disk. */
        fill(d, 0, numbers, 2);
        reuse_free(TAKE_PTR(small));
        small = open_reuse(d);
        assert_int_equal(find_all(d, small, numbers, 2, 3), 1);
        fill(d, 0, numbers, 1);
        reuse_free(TAKE_PTR(small));
        small = open_reuse(d);
        assert_null(small);
}

/* With one byte of each digest every block fits four on average. */
static void short_digests_cost_tries_but_never_bytes_that_are_wrong(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 1000);
        _cleanup_(reuse_freep) Reuse *r = NULL;
        size_t found;

        fill(d, 0, numbers, 1000);
        r = open_reuse(d);
        /* Rows are followed, once their first frame was found. */
        assert_true(find_all(d, r, numbers, 1000, 1) >= 1);
        /* Where nothing follows on anything, hardly anything is found; what is must be right. */
        for (uint32_t i = 0; i < 1000; i++)
                numbers[i] = 1 + i * 619 % 1000;
        found = find_all(d, r, numbers, 1000, 1);
        assert_true(found < 20);
        assert_int_equal(find_all(d, r, numbers, 1000, 4), 125);
}

static void blocks_that_are_alike_are_no_choice(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 1000);
        _cleanup_(reuse_freep) Reuse *r = NULL;

        for (size_t i = 0; i < 1000; i += 3)
                numbers[i] = 0;
        fill(d, 0, numbers, 1000);
        r = open_reuse(d);
        for (uint32_t i = 0; i < 1000; i++)
                numbers[i] = i % 2 ? 0 : 2 + i % 999 / 3 * 3;
        assert_int_equal(find_all(d, r, numbers, 1000, 3), 125);
}

static void a_slot_that_rots_gives_what_is_left_of_it(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 1000);
        _cleanup_(reuse_freep) Reuse *r = NULL;
        uint8_t byte = 0xff;

        fill(d, 0, numbers, 1000);
        /* Data: two frames; tree: one digest, so that its block is not found any more. */
        ok(io_pwrite_all(d->fd, &byte, 1, 100 * BLOCK + 17, NULL), NULL);
        ok(io_pwrite_all(d->fd, &byte, 1, 500 * BLOCK + 4095, NULL), NULL);
        ok(io_pwrite_all(d->fd, &byte, 1,
                         d->machine.slots[0].verity.offset + verity_leaf_offset(1000 * BLOCK) + 800 * SHA256_SIZE,
                         NULL),
           NULL);
        r = open_reuse(d);
        assert_int_equal(find_all(d, r, numbers, 1000, 4), 122);
}

static void another_salt_means_that_nothing_is_known(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 100);

        fill(d, 0, numbers, 100);
        d->salt.bytes[31] ^= 1;
        assert_null(open_reuse(d));
}

static void only_other_slots_that_hold_something_are_asked(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 800);
        _cleanup_(reuse_freep) Reuse *r = NULL;

        assert_null(open_reuse(d));
        /* The one that is to be written does not count, nor does one that is marked empty. */
        fill(d, 2, numbers, 800);
        assert_null(open_reuse(d));
        fill(d, 1, numbers, 800);
        d->machine.slots[1].empty = true;
        assert_null(open_reuse(d));
        /* Half of it here, half of it there. */
        fill(d, 0, numbers, 400);
        fill(d, 1, numbers + 400, 400);
        r = open_reuse(d);
        assert_int_equal(find_all(d, r, numbers, 800, 3), 100);
}

static void trees_that_lie_about_themselves_are_passed_over(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 100);
        /* data_blocks in the superblock */
        static const uint64_t lies[] = { 0, 1, SLOT_SIZE / BLOCK + 1, UINT64_MAX / BLOCK, UINT64_MAX };

        for (size_t i = 0; i < ELEMENTSOF(lies); i++) {
                fill(d, 0, numbers, 100);
                ok(io_pwrite_all(d->fd, &lies[i], 8, d->machine.slots[0].verity.offset + 72, NULL), NULL);
                assert_null(open_reuse(d));
        }
}

static void what_is_beyond_the_map_is_not_found(void **state) {
        Disk *d = *state;
        _cleanup_free_ uint32_t *numbers = count_from(1, 64);
        _cleanup_(reuse_freep) Reuse *r = NULL;
        Sha256 digest = {};

        fill(d, 0, numbers, 64);
        r = open_reuse(d);
        assert_null(reuse_find(r, 0, FRAME, &digest));
        assert_int_equal(find_all(d, r, numbers, 64, 3), 8);
        assert_null(reuse_find(r, 0, FRAME, &digest));
        assert_null(reuse_find(r, 64 * BLOCK, BLOCK, &digest));
        assert_null(reuse_find(r, 63 * BLOCK, 2 * BLOCK, &digest));
        assert_null(reuse_find(r, UINT64_MAX - 4095, BLOCK, &digest));
        assert_null(reuse_find(r, 1, BLOCK, &digest));
        assert_null(reuse_find(r, 0, 0, &digest));
        assert_null(reuse_find(r, 0, BLOCK - 1, &digest));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(an_image_that_is_there_is_found_as_a_whole, setup, teardown),
                cmocka_unit_test_setup_teardown(nothing_is_found_in_an_image_of_other_blocks, setup, teardown),
                cmocka_unit_test_setup_teardown(blocks_are_found_wherever_they_went, setup, teardown),
                cmocka_unit_test_setup_teardown(larger_and_smaller_images_find_what_they_share, setup, teardown),
                cmocka_unit_test_setup_teardown(short_digests_cost_tries_but_never_bytes_that_are_wrong, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(blocks_that_are_alike_are_no_choice, setup, teardown),
                cmocka_unit_test_setup_teardown(a_slot_that_rots_gives_what_is_left_of_it, setup, teardown),
                cmocka_unit_test_setup_teardown(another_salt_means_that_nothing_is_known, setup, teardown),
                cmocka_unit_test_setup_teardown(only_other_slots_that_hold_something_are_asked, setup, teardown),
                cmocka_unit_test_setup_teardown(trees_that_lie_about_themselves_are_passed_over, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_beyond_the_map_is_not_found, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
