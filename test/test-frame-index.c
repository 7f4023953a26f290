/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "frame-index.h"

#define FRAME UINT32_C(65536)

/* Two and a half frames. */
static FrameIndex *example(void) {
        FrameIndex *index = frame_index_new(5 * FRAME / 2, FRAME);

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

        frame_index_format(index, &text);
        assert_int_equal(text.size, FRAME_INDEX_HEADER_SIZE + 3 * FRAME_INDEX_ENTRY_SIZE);
        assert_int_equal(frame_index_parse(text.data, text.size, "index", &read, NULL), 0);
        assert_int_equal(read->n_frames, 3);
        assert_int_equal(read->frames[2].packed_offset, 2001);
        assert_int_equal(read->packed_size, 3003);
        assert_int_equal(frame_index_size(read, 1), FRAME);
        assert_int_equal(frame_index_size(read, 2), FRAME / 2);
        frame_index_format(read, &again);
        assert_int_equal(again.size, text.size);
        assert_memory_equal(again.data, text.data, text.size);
}

typedef struct Change {
        const char *name;
        size_t offset;
        uint8_t bytes[8];
        size_t n_bytes;
        Refusal expected;
} Change;

static void each_change_is_refused(void **state) {
        static const Change changes[] = {
                { "another magic", 7, "2", 1, REFUSAL_BAD_FORMAT },
                { "no image", 8, { 0 }, 8, REFUSAL_BAD_FORMAT },
                { "a larger image", 10, { 9 }, 1, REFUSAL_BAD_FORMAT },
                { "an image of 2^64-1 bytes", 8, { 255, 255, 255, 255, 255, 255, 255, 255 }, 8, REFUSAL_BAD_FORMAT },
                { "frames of nothing", 16, { 0, 0, 0, 0 }, 4, REFUSAL_BAD_FORMAT },
                { "frames that are no blocks", 16, { 1, 0, 1, 0 }, 4, REFUSAL_BAD_FORMAT },
                { "frames larger than memory", 16, { 0, 0, 0x80, 0 }, 4, REFUSAL_BAD_FORMAT },
                { "a frame less", 20, { 2 }, 1, REFUSAL_BAD_FORMAT },
                { "a frame more", 20, { 4 }, 1, REFUSAL_BAD_FORMAT },
                { "four thousand million frames", 20, { 255, 255, 255, 255 }, 4, REFUSAL_TOO_LARGE },
                { "an empty frame", 24, { 0, 0 }, 2, REFUSAL_BAD_FORMAT },
                { "a packed frame that cannot be", 26, { 2 }, 1, REFUSAL_BAD_FORMAT },
        };
        _cleanup_(frame_index_freep) FrameIndex *index = example();
        _cleanup_buffer_ Buffer text = {};

        frame_index_format(index, &text);
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_(frame_index_freep) FrameIndex *read = NULL;
                _cleanup_free_ char *copy = xmemdup(text.data, text.size);
                _cleanup_error_ Error e = {};

                memcpy(copy + changes[i].offset, changes[i].bytes, changes[i].n_bytes);
                assert_true(frame_index_parse(copy, text.size, changes[i].name, &read, &e) < 0);
                if (e.id != changes[i].expected)
                        fail_msg("%s: %s", changes[i].name, e.message);
        }
}

static void every_other_length_is_refused(void **state) {
        _cleanup_(frame_index_freep) FrameIndex *index = example();
        _cleanup_buffer_ Buffer text = {};

        frame_index_format(index, &text);
        buffer_append(&text, "", 1);
        for (size_t size = 0; size <= text.size; size++) {
                _cleanup_(frame_index_freep) FrameIndex *read = NULL;

                if (size != text.size - 1)
                        assert_int_equal(frame_index_parse(text.data, size, "index", &read, NULL), -EBADMSG);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_written_is_read_again),
                cmocka_unit_test(each_change_is_refused),
                cmocka_unit_test(every_other_length_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
