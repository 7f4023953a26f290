/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <zstd.h>

#include "delta-fixture.h"
#include "wire.h"

typedef enum Which { LZ4, ZSTD, _WHICH_MAX } Which;

static void make_fixture(Which w, DeltaFixture *ret) {
        if (w == LZ4)
                delta_fixture(ret);
        else
                delta_segments_fixture(ret);
}

/* Each of the tests below is about both. */
#define FOREACH_FIXTURE(w) for (Which w = 0; w < _WHICH_MAX; w++)

static int parse(const Buffer *head, Delta **ret, Error *reterr) {
        return delta_parse(head->data, head->size, "delta", ret, reterr);
}

static int run(const Delta *d, DeltaDecoder *c, const DeltaOp *op, const char *old, const char *payload, void *output,
               Error *reterr) {
        _cleanup_free_ char *window = xmalloc(MAX(delta_op_old_size(d, op), 1U));
        size_t at = 0;

        for (size_t i = 0; i < op->n_ranges; i++) {
                const DeltaRange *range = &d->ranges[op->first_range + i];

                memcpy(window + at, old + range->offset, (size_t) range->size);
                at += (size_t) range->size;
        }
        return delta_decode(c, op, window, payload + op->payload_offset, output, reterr);
}

static void try_operations_make_the_new_image(Which w) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_freep) Delta *d = NULL;
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_free_ char *image = NULL;

        make_fixture(w, &f);
        assert_int_equal(parse(&f.head, &d, NULL), 0);
        assert_int_equal(delta_decoder_new(d, &c, NULL), 0);
        image = xcalloc(d->new_size, 1);
        for (const DeltaOp *op = d->ops; op < d->ops + d->n_ops; op++)
                if (op->kind == DELTA_COPY)
                        memcpy(image + op->offset, f.old.data + op->source, (size_t) op->size);
                else {
                        assert_int_equal(run(d, c, op, f.old.data, f.payload.data, image + op->offset, NULL), 0);
                        assert_true(delta_op_digest_is(op, image + op->offset));
                }
        assert_memory_equal(image, f.new.data, f.new.size);
        /* The decoder does not remember the operation before. */
        for (size_t i = 0; i < 8; i++)
                assert_int_equal(run(d, c, &d->ops[1 + i % 3], f.old.data, f.payload.data, image, NULL), 0);
}

static void operations_make_the_new_image(void **state) {
        FOREACH_FIXTURE(w)
        try_operations_make_the_new_image(w);
}

static void try_what_was_written_is_read_again(Which w) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_freep) Delta *d = NULL;
        _cleanup_buffer_ Buffer again = {};

        make_fixture(w, &f);
        assert_int_equal(parse(&f.head, &d, NULL), 0);
        assert_int_equal(delta_format(d, &again, NULL), 0);
        assert_int_equal(again.size, f.head.size);
        assert_memory_equal(again.data, f.head.data, again.size);
        assert_int_equal(d->n_ops, 4);
        assert_string_equal(delta_kind_name(d->ops[2].kind), "recompress");
        assert_int_equal(d->ops[2].content, w == LZ4 ? 60000 : 300000);
        assert_memory_equal(d->ops, f.delta->ops, 4 * sizeof(DeltaOp));
}

static void what_was_written_is_read_again(void **state) {
        FOREACH_FIXTURE(w)
        try_what_was_written_is_read_again(w);
}

static void an_image_may_be_copied_whole_or_be_empty(void **state) {
        for (uint64_t size = 0; size <= 4096; size += 4096) {
                DeltaOp op = { .kind = DELTA_COPY, .size = size };
                Delta d = { .unit = 1, .old_size = 5000, .new_size = size, .ops = &op, .n_ops = size > 0 };
                _cleanup_(delta_freep) Delta *read = NULL;
                _cleanup_buffer_ Buffer head = {};

                assert_int_equal(delta_format(&d, &head, NULL), 0);
                assert_true(head.size < DELTA_HEADER_SIZE + 32);
                assert_int_equal(parse(&head, &read, NULL), 0);
                assert_int_equal(read->payload_size, 0);
        }
}

/* ---- what is not a delta ---- */

static void try_a_head_that_is_cut_or_longer_is_refused(Which w) {
        _cleanup_delta_fixture_ DeltaFixture f = {};

        make_fixture(w, &f);
        for (size_t size = 0; size < f.head.size; size++) {
                Buffer cut = { .data = f.head.data, .size = size };
                _cleanup_(delta_freep) Delta *d = NULL;
                _cleanup_error_ Error e = {};

                assert_true(parse(&cut, &d, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
        for (size_t more = 1; more < 8; more++) {
                _cleanup_(delta_freep) Delta *d = NULL;
                _cleanup_error_ Error e = {};

                buffer_append(&f.head, "x", 1);
                assert_true(parse(&f.head, &d, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

static void a_head_that_is_cut_or_longer_is_refused(void **state) {
        FOREACH_FIXTURE(w)
        try_a_head_that_is_cut_or_longer_is_refused(w);
}

/* Each byte of the table, unpacked, changed in three ways: refused, or another delta that holds; never anything else.
 */
static void try_each_byte_of_the_table_is_judged(Which w) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_free_ uint8_t *table = NULL;
        size_t size, refused = 0, tried = 0;

        make_fixture(w, &f);
        size = wire_get_u32((const uint8_t *) f.head.data + 56);
        table = xmalloc(size);
        assert_int_equal(ZSTD_decompress(table, size, f.head.data + DELTA_HEADER_SIZE, f.head.size - DELTA_HEADER_SIZE),
                         size);
        for (size_t i = 0; i < size; i++)
                for (unsigned j = 0; j < 3; j++) {
                        static const uint8_t changes[] = { 0x01, 0x80, 0xff };
                        _cleanup_(delta_freep) Delta *d = NULL;
                        _cleanup_buffer_ Buffer head = {}, again = {};
                        _cleanup_error_ Error e = {};
                        char packed[4096];
                        size_t n;

                        table[i] ^= changes[j];
                        n = ZSTD_compress(packed, sizeof packed, table, size, 1);
                        assert_false(ZSTD_isError(n));
                        buffer_append(&head, f.head.data, DELTA_HEADER_SIZE);
                        buffer_append(&head, packed, n);
                        tried++;
                        if (parse(&head, &d, &e) < 0) {
                                assert_true(e.id == REFUSAL_BAD_FORMAT || e.id == REFUSAL_TOO_LARGE);
                                refused++;
                        } else
                                assert_int_equal(delta_format(d, &again, NULL), 0);
                        table[i] ^= changes[j];
                }
        assert_true(refused > tried / 4);
}

static void each_byte_of_the_table_is_judged(void **state) {
        FOREACH_FIXTURE(w)
        try_each_byte_of_the_table_is_judged(w);
}

/* ---- foreign bytes ---- */

static void try_a_damaged_payload_gives_another_digest_or_an_error(Which w) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_free_ char *output = xmalloc(DELTA_PIECE_MAX);
        size_t step;

        make_fixture(w, &f);
        step = MAX(f.payload.size / (w == LZ4 ? 300 : 60), 1U);
        assert_int_equal(delta_decoder_new(f.delta, &c, NULL), 0);
        for (size_t i = 0; i < f.payload.size; i += step)
                for (const DeltaOp *op = f.delta->ops + 1; op < f.delta->ops + 4; op++) {
                        if (i < op->payload_offset || i >= op->payload_offset + op->payload_size)
                                continue;
                        f.payload.data[i] ^= 0x55;
                        /* What LZMA takes but the encoder does not is another error. */
                        if (run(f.delta, c, op, f.old.data, f.payload.data, output, NULL) >= 0 &&
                            delta_op_digest_is(op, output))
                                fail_msg("byte %zu does not matter", i);
                        f.payload.data[i] ^= 0x55;
                        assert_int_equal(run(f.delta, c, op, f.old.data, f.payload.data, output, NULL), 0);
                        assert_true(delta_op_digest_is(op, output));
                }
}

static void a_damaged_payload_gives_another_digest_or_an_error(void **state) {
        FOREACH_FIXTURE(w)
        try_a_damaged_payload_gives_another_digest_or_an_error(w);
}

static void try_a_damaged_old_image_is_noticed(Which w) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_free_ char *output = xmalloc(DELTA_PIECE_MAX);
        size_t noticed = 0;

        make_fixture(w, &f);
        assert_int_equal(delta_decoder_new(f.delta, &c, NULL), 0);
        for (size_t i = 0; i < f.old.size; i += w == LZ4 ? 37 : 997) {
                f.old.data[i] ^= 0xff;
                for (const DeltaOp *op = f.delta->ops + 1; op < f.delta->ops + 3; op++)
                        if (run(f.delta, c, op, f.old.data, f.payload.data, output, NULL) < 0 ||
                            !delta_op_digest_is(op, output))
                                noticed++;
                f.old.data[i] ^= 0xff;
        }
        assert_true(noticed > 40);
}

static void a_damaged_old_image_is_noticed(void **state) {
        FOREACH_FIXTURE(w)
        try_a_damaged_old_image_is_noticed(w);
}

static void try_another_encoder_is_not_used(Which w) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_error_ Error e = {};

        make_fixture(w, &f);
        strcpy(f.delta->encoder, w == LZ4 ? "lz4hc-9.9.9" : "zstd-1.5.8");
        assert_true(delta_decoder_new(f.delta, &c, &e) < 0);
        assert_int_equal(e.id, REFUSAL_MACHINE);
}

static void another_encoder_is_not_used(void **state) {
        FOREACH_FIXTURE(w)
        try_another_encoder_is_not_used(w);
}

/* ---- numbers ---- */

static void varints_have_one_form(void **state) {
        static const uint64_t values[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX, (uint64_t) 1 << 63, UINT64_MAX };
        static const struct {
                const char *bytes;
                size_t size;
        } bad[] = {
                { "", 0 },
                { "\x80", 1 },
                { "\x80\x00", 2 },
                { "\xff\x00", 2 },
                { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 },
                { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11 },
        };

        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                _cleanup_buffer_ Buffer b = {};
                WireReader r;

                wire_append_varint(&b, values[i]);
                r = (WireReader){ .at = (uint8_t *) b.data, .end = (uint8_t *) b.data + b.size };
                assert_true(wire_read_varint(&r) == values[i]);
                assert_false(r.failed);
                assert_ptr_equal(r.at, r.end);
                assert_true(wire_zigzag(wire_unzigzag(values[i])) == values[i]);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                WireReader r = { .at = (const uint8_t *) bad[i].bytes,
                                 .end = (const uint8_t *) bad[i].bytes + bad[i].size };

                assert_true(wire_read_varint(&r) == 0 && r.failed);
        }
        assert_true(wire_unzigzag(wire_zigzag(-1)) == -1 && wire_zigzag(-1) == 1 && wire_zigzag(1) == 2);
        assert_true(wire_unzigzag(wire_zigzag(INT64_MIN)) == INT64_MIN);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(operations_make_the_new_image),
                cmocka_unit_test(what_was_written_is_read_again),
                cmocka_unit_test(an_image_may_be_copied_whole_or_be_empty),
                cmocka_unit_test(a_head_that_is_cut_or_longer_is_refused),
                cmocka_unit_test(each_byte_of_the_table_is_judged),
                cmocka_unit_test(a_damaged_payload_gives_another_digest_or_an_error),
                cmocka_unit_test(a_damaged_old_image_is_noticed),
                cmocka_unit_test(another_encoder_is_not_used),
                cmocka_unit_test(varints_have_one_form),
        };

        return cmocka_run_group_tests_name("delta", tests, NULL, NULL);
}
