/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "frame-index.h"
#include "wire.h"

#define BLOCK FRAME_BLOCK_SIZE

/* Frames of 16, 200 (LZMA) and one and a half blocks. */
static FrameIndex *example(void) {
        FrameIndex *index = frame_index_new();

        frame_index_add(index, 16 * BLOCK, FRAME_ZSTD);
        frame_index_add(index, 200 * BLOCK, FRAME_LZMA);
        frame_index_add(index, BLOCK + BLOCK / 2, FRAME_ZSTD);
        for (size_t i = 0; i < index->n_frames; i++) {
                index->frames[i].packed_size = (uint32_t) (1000 + i);
                sha256_buffer(&i, sizeof i, &index->frames[i].sha256);
        }
        assert_int_equal(frame_index_sum(index, NULL), 0);
        return index;
}

static void what_was_written_is_read_again(void **state) {
        _cleanup_(frame_index_freep) FrameIndex *index = example(), *read = NULL;
        _cleanup_buffer_ Buffer text = {}, again = {};
        size_t largest, largest_packed;

        frame_index_format(index, &text);
        assert_int_equal(text.size, 8 + 3 + 1 + 3 * (1 + 2 + SHA256_SIZE) + 1);
        assert_int_equal(frame_index_parse(text.data, text.size, "index", &read, NULL), 0);
        assert_int_equal(read->n_frames, 3);
        assert_int_equal(read->image_size, 217 * BLOCK + BLOCK / 2);
        assert_int_equal(read->frames[2].packed_offset, 2001);
        assert_int_equal(read->packed_size, 3003);
        assert_int_equal(read->frames[1].offset, 16 * BLOCK);
        assert_int_equal(read->frames[1].size, 200 * BLOCK);
        assert_int_equal(read->frames[1].codec, FRAME_LZMA);
        assert_int_equal(read->frames[2].offset, 216 * BLOCK);
        assert_int_equal(read->frames[2].size, BLOCK + BLOCK / 2);
        assert_int_equal(read->frames[2].codec, FRAME_ZSTD);
        frame_index_largest(read, &largest, &largest_packed);
        assert_int_equal(largest, 200 * BLOCK);
        assert_int_equal(largest_packed, 1002);
        frame_index_format(read, &again);
        assert_int_equal(again.size, text.size);
        assert_memory_equal(again.data, text.data, text.size);
}

static void frames_of_one_size_end_where_the_image_does(void **state) {
        for (uint64_t size = 1; size < 20 * BLOCK; size += 1000) {
                _cleanup_(frame_index_freep) FrameIndex *index = frame_index_new();

                frame_index_add_even(index, size, 8 * BLOCK, FRAME_ZSTD);
                assert_int_equal(index->image_size, size);
                assert_int_equal(index->n_frames, (size + 8 * BLOCK - 1) / (8 * BLOCK));
        }
}

/* ---- what is refused ---- */

/* An index as numbers: what a writer gone wrong, or an attacker, would write. */
typedef struct Entry {
        uint64_t blocks, packed; /* as they are written */
} Entry;

typedef struct Mutation {
        const char *name;
        const char *magic; /* NULL: the right one */
        uint64_t image_size, n_frames;
        Entry entries[3];
        size_t n_entries;
        size_t cut;         /* bytes that are missing at the end */
        const char *behind; /* what stands there besides */
        Refusal expected;
} Mutation;

#define PACKED(n) ((uint64_t) (n) << 1)
#define MIB_BLOCKS (FRAME_SIZE_MAX / BLOCK)
/* An image of 12 blocks in three frames. */
#define SIZE (12 * (uint64_t) BLOCK)
#define THREE { { 2, PACKED(100) }, { 6, PACKED(200) | 1 }, { 4, PACKED(300) } }, .n_entries = 3

static const Mutation mutations[] = {
        { "as it should be", NULL, SIZE, 3, THREE, .expected = REFUSAL_NONE },
        { "a last block that is not whole", NULL, SIZE - 4095, 3, THREE, .expected = REFUSAL_NONE },
        { "an older magic", "SEALABF1", SIZE, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "a newer magic", "SEALABF3", SIZE, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "the map's magic", "SEALABM1", SIZE, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "no image", NULL, 0, 0, {}, .expected = REFUSAL_BAD_FORMAT },
        { "no image in three frames", NULL, 0, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "no frames", NULL, SIZE, 0, {}, .expected = REFUSAL_BAD_FORMAT },
        { "a larger image", NULL, SIZE + 1, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "an image larger by a block", NULL, SIZE + BLOCK, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "an image that ends before the last block", NULL, SIZE - BLOCK, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "an image of one byte", NULL, 1, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "an image of 2^64-1 bytes", NULL, UINT64_MAX, 3, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "a frame less", NULL, SIZE, 2, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "a frame more", NULL, SIZE, 4, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "as many frames as there may be", NULL, SIZE, FRAME_INDEX_FRAMES_MAX, THREE, .expected = REFUSAL_BAD_FORMAT },
        { "one more than that", NULL, SIZE, FRAME_INDEX_FRAMES_MAX + 1, THREE, .expected = REFUSAL_TOO_LARGE },
        { "2^64-1 frames", NULL, SIZE, UINT64_MAX, THREE, .expected = REFUSAL_TOO_LARGE },
        { "a frame of no blocks",
          NULL,
          SIZE,
          3,
          { { 0, PACKED(100) }, { 6, PACKED(1) }, { 6, PACKED(1) } },
          .n_entries = 3,
          .expected = REFUSAL_BAD_FORMAT },
        { "a last frame of no blocks",
          NULL,
          SIZE,
          3,
          { { 6, PACKED(100) }, { 6, PACKED(1) }, { 0, PACKED(1) } },
          .n_entries = 3,
          .expected = REFUSAL_BAD_FORMAT },
        { "a frame that goes beyond the image",
          NULL,
          SIZE,
          3,
          { { 2, PACKED(100) }, { 6, PACKED(1) }, { 5, PACKED(1) } },
          .n_entries = 3,
          .expected = REFUSAL_BAD_FORMAT },
        { "a first frame that does",
          NULL,
          SIZE,
          1,
          { { 13, PACKED(100) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "a frame with the most blocks",
          NULL,
          MIB_BLOCKS *(uint64_t) BLOCK,
          1,
          { { MIB_BLOCKS, PACKED(100) } },
          .n_entries = 1,
          .expected = REFUSAL_NONE },
        { "a frame with one more",
          NULL,
          (MIB_BLOCKS + 1) * (uint64_t) BLOCK,
          1,
          { { MIB_BLOCKS + 1, PACKED(100) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "2^52 blocks, which are no bytes",
          NULL,
          SIZE,
          1,
          { { UINT64_C(1) << 52, PACKED(100) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "2^64-1 blocks",
          NULL,
          SIZE,
          1,
          { { UINT64_MAX, PACKED(100) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "2^64-1 blocks for 2^64-1 bytes",
          NULL,
          UINT64_MAX,
          1,
          { { UINT64_MAX, PACKED(100) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "nothing packed", NULL, SIZE, 1, { { 12, PACKED(0) } }, .n_entries = 1, .expected = REFUSAL_BAD_FORMAT },
        { "nothing packed by LZMA",
          NULL,
          SIZE,
          1,
          { { 12, PACKED(0) | 1 } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "as much as can be packed",
          NULL,
          SIZE,
          1,
          { { 12, PACKED(SIZE + SIZE / 256 + 1024) } },
          .n_entries = 1,
          .expected = REFUSAL_NONE },
        { "a byte more",
          NULL,
          SIZE,
          1,
          { { 12, PACKED(SIZE + SIZE / 256 + 1025) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "a byte more of LZMA",
          NULL,
          SIZE,
          1,
          { { 12, PACKED(SIZE + SIZE / 256 + 1025) | 1 } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "too much for a block that is not whole",
          NULL,
          1,
          1,
          { { 1, PACKED(1026) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "2^32 packed bytes",
          NULL,
          SIZE,
          1,
          { { 12, PACKED(UINT64_C(1) << 32) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "2^32 and 100 packed bytes",
          NULL,
          SIZE,
          1,
          { { 12, PACKED((UINT64_C(1) << 32) + 100) } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "2^63-1 packed bytes",
          NULL,
          SIZE,
          1,
          { { 12, UINT64_MAX } },
          .n_entries = 1,
          .expected = REFUSAL_BAD_FORMAT },
        { "a digest without its last byte", NULL, SIZE, 3, THREE, .cut = 1, .expected = REFUSAL_BAD_FORMAT },
        { "no last digest", NULL, SIZE, 3, THREE, .cut = 32, .expected = REFUSAL_BAD_FORMAT },
        { "half of a number", NULL, SIZE, 3, THREE, .cut = 33, .expected = REFUSAL_BAD_FORMAT },
        { "a byte behind the end", NULL, SIZE, 3, THREE, .behind = "x", .expected = REFUSAL_BAD_FORMAT },
        { "a frame behind the end", NULL, SIZE, 3, THREE, .behind = "\1\2................................",
          .expected = REFUSAL_BAD_FORMAT },
};

static void format_mutation(const Mutation *m, Buffer *ret) {
        buffer_append(ret, m->magic ?: FRAME_INDEX_MAGIC, 8);
        wire_append_varint(ret, m->image_size);
        wire_append_varint(ret, m->n_frames);
        for (size_t i = 0; i < m->n_entries; i++) {
                wire_append_varint(ret, m->entries[i].blocks);
                wire_append_varint(ret, m->entries[i].packed);
                buffer_append(ret, "................................", SHA256_SIZE);
        }
        ret->size -= m->cut;
        if (m->behind)
                buffer_append(ret, m->behind, strlen(m->behind));
}

static Refusal refusal_of(const Buffer *text) {
        _cleanup_(frame_index_freep) FrameIndex *read = NULL;
        /* Of exactly that size, so that a byte too far is seen. */
        _cleanup_free_ char *copy = xmemdup(text->data, text->size);
        _cleanup_error_ Error e = {};

        return frame_index_parse(copy, text->size, "index", &read, &e) < 0 ? e.id : REFUSAL_NONE;
}

static void each_mutation_is_refused(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(mutations); i++) {
                _cleanup_buffer_ Buffer text = {};
                Refusal is;

                format_mutation(&mutations[i], &text);
                is = refusal_of(&text);
                if (is != mutations[i].expected)
                        fail_msg("%s: %s, not %s", mutations[i].name, refusal_name(is),
                                 refusal_name(mutations[i].expected));
        }
}

/* There is one way to write each number. */
static void numbers_in_longer_forms_are_refused(void **state) {
        static const char *const numbers[] = { "\x8c\x00", "\x8c\x80\x00", "\x8c\x80\x80\x80\x80\x80\x80\x80\x80\x00",
                                               "\x8c\x80\x80\x80\x80\x80\x80\x80\x80\x02",
                                               "\x8c\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01" };
        static const size_t sizes[] = { 2, 3, 10, 10, 11 };

        for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
                _cleanup_buffer_ Buffer text = {};

                buffer_append(&text, FRAME_INDEX_MAGIC, 8);
                wire_append_varint(&text, SIZE);
                wire_append_varint(&text, 1);
                buffer_append(&text, numbers[i], sizes[i]); /* 12 blocks */
                wire_append_varint(&text, PACKED(100));
                buffer_append(&text, "................................", SHA256_SIZE);
                assert_int_equal(refusal_of(&text), REFUSAL_BAD_FORMAT);
        }
}

static void every_other_length_is_refused(void **state) {
        _cleanup_(frame_index_freep) FrameIndex *index = example();
        _cleanup_buffer_ Buffer text = {};
        size_t whole;

        frame_index_format(index, &text);
        whole = text.size;
        buffer_append(&text, "", 1);
        for (size_t size = 1; size <= whole + 1; size++) {
                text.size = size;
                assert_int_equal(refusal_of(&text), size == whole ? REFUSAL_NONE : REFUSAL_BAD_FORMAT);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_written_is_read_again),
                cmocka_unit_test(frames_of_one_size_end_where_the_image_does),
                cmocka_unit_test(each_mutation_is_refused),
                cmocka_unit_test(numbers_in_longer_forms_are_refused),
                cmocka_unit_test(every_other_length_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
