/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames of images that are rows of letters: each letter is a block of its own content, in its own place. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pack-layout.h"

/* Of a letter all blocks differ: they are numbered by their place in the row of that letter. */
static BlockMap *make_map(const char *row, unsigned digest_size) {
        BlockMap *map = block_map_new(strlen(row) * BLOCK_MAP_BLOCK_SIZE, digest_size);
        unsigned counts[256] = {};

        for (size_t i = 0; i < map->n_blocks; i++) {
                unsigned content[2] = { (unsigned char) row[i], counts[(unsigned char) row[i]]++ };
                Sha256 digest;

                sha256_buffer(content, sizeof content, &digest);
                memcpy(map->digests + i * digest_size, digest.bytes, digest_size);
        }
        return map;
}

static char *repeat(char letter, size_t n) {
        char *s = xmalloc(n + 1);

        memset(s, letter, n);
        s[n] = 0;
        return s;
}

/* "3z 5l": blocks of each frame, and its codec. */
static char *layout(const char *row, unsigned digest_size, const char *const *older) {
        _cleanup_(block_map_freep) BlockMap *map = make_map(row, BLOCK_MAP_DIGEST_MAX);
        _cleanup_(pack_layout_freep) PackLayout *l = pack_layout_new(map);
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        Buffer b = {};

        for (; *older; older++) {
                _cleanup_(block_map_freep) BlockMap *old = make_map(*older, digest_size);

                pack_layout_add(l, old);
        }
        index = pack_layout_frames(l);
        assert_int_equal(index->image_size, strlen(row) * BLOCK_MAP_BLOCK_SIZE);
        for (size_t i = 0; i < index->n_frames; i++)
                buffer_printf(&b, "%s%" PRIu32 "%c", i > 0 ? " " : "", index->frames[i].size / BLOCK_MAP_BLOCK_SIZE,
                              index->frames[i].codec == FRAME_LZMA ? 'l' : 'z');
        return buffer_steal(&b);
}

static void check(const char *row, const char *const *older, const char *expected) {
        for (unsigned k = 2; k <= BLOCK_MAP_DIGEST_MAX; k++) {
                _cleanup_free_ char *is = layout(row, k, older);

                assert_string_equal(is, expected);
        }
}

#define OLDER(...)                                                                                                     \
        (const char *const[]) {                                                                                        \
                __VA_ARGS__, NULL                                                                                      \
        }

static void the_first_release_has_frames_of_one_size(void **state) {
        check("aaaaaaaaaaaaaaaaaaaaa", (const char *const[]){ NULL }, "8z 8z 5z");
}

static void frames_begin_where_blocks_turn_from_known_to_new(void **state) {
        check("aaaaaaaaaaXXXaaaaaaaa", OLDER("aaaaaaaaaaaaaaaaaaaa"), "10z 3l 8z");
        check("XXXaaaaaaaaaa", OLDER("aaaaaaaaaa"), "3l 10z");
        check("aaaaaaaaaaX", OLDER("aaaaaaaaaa"), "10z 1l");
        check("XXXXX", OLDER("aaaaaaaaaa"), "5l");
        check("aaaaaaaaaa", OLDER("aaaaaaaaaa"), "10z");
}

static void blocks_may_have_moved(void **state) {
        check("bbbbbbbbaaaaaaaa", OLDER("aaaaaaaabbbbbbbb"), "16z");
        check("bbbbbbbbXaaaaaaaa", OLDER("aaaaaaaabbbbbbbb"), "8z 1l 8z");
}

static void a_few_known_blocks_between_new_ones_are_packed_with_them(void **state) {
        check("XXaaaaYYbbbbbZZ", OLDER("aaaabbbbb"), "8l 5z 2l");
        /* Not at the ends, where there is nothing to join. */
        check("aaXX", OLDER("aa"), "2z 2l");
}

static void large_rows_are_cut(void **state) {
        _cleanup_free_ char *a = repeat('a', 70), *x = repeat('X', 300), *row = xasprintf("%s%s", a, x);

        check(row, OLDER(a), "32z 32z 6z 128l 128l 44l");
}

/* In what order: the newest first. */
static void what_came_with_one_release_is_together(void **state) {
        check("aaaaaaaaBBBBBBBBCCCCCCCC", OLDER("aaaaaaaaBBBBBBBB", "aaaaaaaa"), "8z 8l 8l");
        check("aaaaaaaaBBBBBBBBCCCCCCCCdddddddd", OLDER("aaaaaaaaBBBBBBBBdddddddd", "aaaaaaaadddddddd"), "8z 8l 8l 8z");
        /* Between blocks that came later than itself. */
        check("BBBBBBBBaaaCCCCCCCC", OLDER("aaaBBBBBBBB", "aaa"), "11l 8l");
        /* What the newest does not have is new, whoever had it before. */
        check("aaaaaaaaBBBBBBBB", OLDER("aaaaaaaa", "aaaaaaaaBBBBBBBB"), "8z 8l");
}

static void only_so_many_releases_are_looked_at(void **state) {
        check("aaaaaaaaBBBBBBBB",
              OLDER("aaaaaaaaBBBBBBBB", "aaaaaaaaBBBBBBBB", "aaaaaaaaBBBBBBBB", "aaaaaaaaBBBBBBBB", "aaaaaaaaBBBBBBBB",
                    "aaaaaaaaBBBBBBBB", "aaaaaaaaBBBBBBBB", "aaaaaaaaBBBBBBBB", "aaaaaaaa"),
              "16z");
}

/* With two bytes of each digest one new block in three seems to be one of so many. */
static void short_digests_do_not_make_new_blocks_known(void **state) {
        _cleanup_free_ char *a = repeat('a', 30000), *x = repeat('X', 100), *row = xasprintf("%s%s", a, x);
        _cleanup_free_ char *is = layout(row, 2, OLDER(a));

        assert_non_null(strstr(is, "z 16z 100l"));
}

static void tiny_images_have_frames(void **state) {
        check("X", OLDER("a"), "1l");
        check("a", OLDER("a"), "1l");
        check("aa", OLDER("aa"), "2z");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_first_release_has_frames_of_one_size),
                cmocka_unit_test(frames_begin_where_blocks_turn_from_known_to_new),
                cmocka_unit_test(blocks_may_have_moved),
                cmocka_unit_test(a_few_known_blocks_between_new_ones_are_packed_with_them),
                cmocka_unit_test(large_rows_are_cut),
                cmocka_unit_test(what_came_with_one_release_is_together),
                cmocka_unit_test(only_so_many_releases_are_looked_at),
                cmocka_unit_test(short_digests_do_not_make_new_blocks_known),
                cmocka_unit_test(tiny_images_have_frames),
        };

        return cmocka_run_group_tests_name("pack-layout", tests, NULL, NULL);
}
