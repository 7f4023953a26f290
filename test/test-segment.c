/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Segments come out of their content again, whatever was packed before them, and together they are a frame that any
 * zstd reads; what is damaged is refused, and nothing is written elsewhere. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <zstd.h>

#include "known-content.h"
#include "segment.h"

#define LEVEL SEGMENT_LEVEL

static SegmentEncoder *new_encoder(unsigned level) {
        _cleanup_error_ Error e = {};
        SegmentEncoder *c = NULL;

        if (segment_encoder_new(level, &c, &e) < 0)
                fail_msg("%s", e.message);
        return c;
}

static uint8_t *make_content(size_t size) {
        uint8_t *content = xmalloc(size);

        known_content(content, size);
        return content;
}

static size_t pack(SegmentEncoder *c, const uint8_t *content, size_t size, unsigned place, uint8_t *ret) {
        _cleanup_error_ Error e = {};
        size_t n = 0;

        if (segment_pack(c, content, size, place, ret, &n, &e) < 0)
                fail_msg("%s", e.message);
        return n;
}

/* The segments of content, one after the other. */
static void pack_frame(SegmentEncoder *c, const uint8_t *content, size_t size, Buffer *ret) {
        _cleanup_free_ uint8_t *stored = xmalloc(SEGMENT_STORED_MAX);

        for (size_t at = 0; at < size; at += SEGMENT_CONTENT_MAX) {
                size_t n = MIN(size - at, SEGMENT_CONTENT_MAX);
                unsigned place = (at == 0 ? SEGMENT_FIRST : 0U) | (at + n == size ? SEGMENT_LAST : 0U);

                buffer_append(ret, stored, pack(c, content + at, n, place, stored));
        }
}

static void segments_are_a_frame(void **state) {
        static const size_t sizes[] = { 1,      100,    4096,    131072, 131073, SEGMENT_CONTENT_MAX,
                                        262145, 524288, 1000000, 3000000 };
        _cleanup_free_ uint8_t *content = make_content(3000000), *back = xmalloc(3000000);

        for (unsigned level = SEGMENT_LEVEL_MIN; level <= SEGMENT_LEVEL_MAX; level += 2) {
                _cleanup_(segment_encoder_freep) SegmentEncoder *c = new_encoder(level);

                for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                        _cleanup_buffer_ Buffer frame = {};

                        pack_frame(c, content, sizes[i], &frame);
                        assert_int_equal(ZSTD_findFrameCompressedSize(frame.data, frame.size), frame.size);
                        assert_int_equal(ZSTD_decompress(back, sizes[i], frame.data, frame.size), sizes[i]);
                        assert_memory_equal(back, content, sizes[i]);
                }
        }
}

/* Repetitions across the border of two segments are not used. */
static void a_segment_depends_on_nothing_before_it(void **state) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = new_encoder(LEVEL), *other = new_encoder(LEVEL);
        _cleanup_free_ uint8_t *content = make_content(2 * SEGMENT_CONTENT_MAX), *first = xmalloc(SEGMENT_STORED_MAX),
                               *again = xmalloc(SEGMENT_STORED_MAX);

        for (unsigned place = 0; place < 4; place++) {
                size_t n = pack(c, content + 1000, 200000, place, first);

                for (size_t i = 0; i < 4; i++) {
                        (void) pack(other, content + 70000 * i, 262144 - 50000 * i, (unsigned) i, again);
                        assert_int_equal(pack(other, content + 1000, 200000, place, again), n);
                        assert_memory_equal(first, again, n);
                }
        }
}

static void what_was_packed_is_unpacked(void **state) {
        static const size_t sizes[] = { 1, 5000, 131072, 131073, SEGMENT_CONTENT_MAX };
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = new_encoder(LEVEL);
        _cleanup_free_ uint8_t *content = make_content(SEGMENT_CONTENT_MAX), *stored = xmalloc(SEGMENT_STORED_MAX);

        for (unsigned place = 0; place < 4; place++)
                for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                        size_t n = pack(c, content, sizes[i], place, stored);
                        /* Of the very sizes, for the sanitizer. */
                        _cleanup_free_ uint8_t *exact = xmalloc(n + 100), *back = xmalloc(sizes[i]);

                        memcpy(exact, stored, n);
                        memset(exact + n, 0, 100);
                        assert_int_equal(segment_unpack(exact, n + 100, back, sizes[i], NULL), 0);
                        assert_memory_equal(back, content, sizes[i]);
                        exact = xrealloc(exact, n, 1);
                        assert_int_equal(segment_unpack(exact, n, back, sizes[i], NULL), 0);
                        assert_memory_equal(back, content, sizes[i]);
                }
}

static void noise_fits(void **state) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = new_encoder(LEVEL);
        _cleanup_free_ uint8_t *content = xmalloc(SEGMENT_CONTENT_MAX), *stored = xmalloc(SEGMENT_STORED_MAX),
                               *back = xmalloc(SEGMENT_CONTENT_MAX);
        uint64_t x = 1;
        size_t n;

        for (size_t i = 0; i < SEGMENT_CONTENT_MAX; i++) {
                x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
                content[i] = (uint8_t) (x >> 56);
        }
        n = pack(c, content, SEGMENT_CONTENT_MAX, SEGMENT_FIRST | SEGMENT_LAST, stored);
        assert_true(n > SEGMENT_CONTENT_MAX && n + 4096 < SEGMENT_STORED_MAX);
        assert_int_equal(segment_unpack(stored, n, back, SEGMENT_CONTENT_MAX, NULL), 0);
        assert_memory_equal(back, content, SEGMENT_CONTENT_MAX);
}

static void other_sizes_are_refused(void **state) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = new_encoder(LEVEL);
        _cleanup_free_ uint8_t *content = make_content(300000), *stored = xmalloc(SEGMENT_STORED_MAX),
                               *back = xmalloc(300000);
        static const struct {
                size_t stored, content;
        } cases[] = { { 0, 100000 },       { 5, 100000 },        { 6, 100000 },   { 9, 100000 },       { 100, 100000 },
                      { SIZE_MAX, 99999 }, { SIZE_MAX, 100001 }, { SIZE_MAX, 0 }, { SIZE_MAX, 262145 } };
        size_t n = 0;

        assert_true(segment_pack(c, content, 0, 0, stored, &n, NULL) < 0);
        assert_true(segment_pack(c, content, SEGMENT_CONTENT_MAX + 1, 0, stored, &n, NULL) < 0);
        assert_true(segment_pack(c, content, 1, 4, stored, &n, NULL) < 0);
        n = pack(c, content, 100000, SEGMENT_FIRST | SEGMENT_LAST, stored);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                assert_true(segment_unpack(stored, MIN(cases[i].stored, n), back, cases[i].content, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

static void damaged_segments_are_refused_or_unpacked(void **state) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = new_encoder(LEVEL);
        _cleanup_free_ uint8_t *content = make_content(50000), *stored = xmalloc(SEGMENT_STORED_MAX), *changed = NULL,
                               *back = xmalloc(50000);
        size_t n = pack(c, content, 50000, SEGMENT_LAST, stored), n_refused = 0;
        uint32_t x = 1;

        changed = xmemdup(stored, n);
        for (int i = 0; i < 2000; i++) {
                _cleanup_error_ Error e = {};

                memcpy(changed, stored, n);
                for (unsigned k = 0; k <= (unsigned) i % 8; k++) {
                        x = x * 1664525u + 1013904223u;
                        changed[(x >> 8) % n] ^= (uint8_t) (1U << (x >> 29));
                }
                if (segment_unpack(changed, n, back, 50000, &e) < 0) {
                        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
                        n_refused++;
                }
        }
        assert_true(n_refused > 100);
}

static void the_encoder_is_the_one_it_says(void **state) {
        for (unsigned level = SEGMENT_LEVEL_MIN; level <= SEGMENT_LEVEL_MAX; level++) {
                _cleanup_error_ Error e = {};

                if (segment_self_test(level, &e) < 0)
                        fail_msg("level %u: %s", level, e.message);
        }
        for (unsigned level = 0; level < 30; level += level == SEGMENT_LEVEL_MIN - 1 ? 8 : 1) {
                _cleanup_error_ Error e = {};

                assert_true(segment_self_test(level, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(segments_are_a_frame),
                cmocka_unit_test(a_segment_depends_on_nothing_before_it),
                cmocka_unit_test(what_was_packed_is_unpacked),
                cmocka_unit_test(noise_fits),
                cmocka_unit_test(other_sizes_are_refused),
                cmocka_unit_test(damaged_segments_are_refused_or_unpacked),
                cmocka_unit_test(the_encoder_is_the_one_it_says),
        };

        return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
