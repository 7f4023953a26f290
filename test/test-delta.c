/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <zstd.h>

#include "delta-fixture.h"
#include "wire.h"

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

static void operations_make_the_new_image(void **state) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_freep) Delta *d = NULL;
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_free_ char *image = NULL;

        delta_fixture(&f);
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

static void what_was_written_is_read_again(void **state) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_freep) Delta *d = NULL;
        _cleanup_buffer_ Buffer again = {};

        delta_fixture(&f);
        assert_int_equal(parse(&f.head, &d, NULL), 0);
        assert_int_equal(delta_format(d, &again, NULL), 0);
        assert_int_equal(again.size, f.head.size);
        assert_memory_equal(again.data, f.head.data, again.size);
        assert_int_equal(d->n_ops, 4);
        assert_string_equal(delta_kind_name(d->ops[2].kind), "recompress");
        assert_int_equal(d->ops[2].content, 60000);
        assert_memory_equal(d->ops, f.delta->ops, 4 * sizeof(DeltaOp));
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

#define OP_FIELD(field) offsetof(DeltaOp, field), sizeof(((DeltaOp *) NULL)->field)

/* One number of the example, and what is not possible for it. */
static const struct Mutation {
        const char *name;
        enum { HEADER, OP, RANGE, CLUSTER } where;
        size_t index, offset, size;
        uint64_t bad[12]; /* up to the first zero; zero itself: in refuses_zero */
        bool refuses_zero;
} mutations[] = {
#define H(field) HEADER, 0, offsetof(Delta, field), sizeof(((Delta *) NULL)->field)
#define O(i, field) OP, i, offsetof(DeltaOp, field), sizeof(((DeltaOp *) NULL)->field)
#define R(i, field) RANGE, i, offsetof(DeltaRange, field), sizeof(((DeltaRange *) NULL)->field)
#define C(i, field) CLUSTER, i, offsetof(DeltaCluster, field), sizeof(((DeltaCluster *) NULL)->field)
        { "old-size", H(old_size), { 4096, 8192, 4095, 4097, 32768, UINT64_MAX - 4095, INT64_MAX, 1 }, true },
        { "new-size", H(new_size), { 4096, 8192, 4095, 4097, UINT64_MAX - 4095, INT64_MAX, 1, 1 << 30 }, true },
        { "unit", H(unit), { 2, 512, 4095, 4097, 8192, 65536, UINT32_MAX, 16, 1024, 2048 }, true },
        { "level", H(level), { 13, 14, 100, 255, 256, UINT32_MAX }, true },
        { "cluster-size", H(cluster_size), { 1, 4095, 4097, 4096, 2 << 20, UINT32_MAX, 1 << 31 }, true },
        { "copy.size", O(0, size), { 4096, 8192, 20480, 40960, 1 << 20, 1 << 24, (uint64_t) 1 << 40 }, true },
        { "copy.source", O(0, source), { 1 << 20, 1 << 24, (uint64_t) 1 << 40, (uint64_t) 1 << 62 }, false },
        { "patch.size", O(1, size), { 4096, 8192, 16384, 1 << 20, 2 << 20, (uint64_t) 1 << 40 }, true },
        { "patch.payload", O(1, payload_size), { 14081, 1 << 20, UINT32_MAX, 1 << 31 }, true },
        { "patch.properties", O(1, properties), { 5, 6, 7, 8, 29, 37, 44, 225, 226, 255 }, false },
        { "patch.kind", O(1, kind), { 3, 4, 127, 128, 255 }, false },
        { "recompress.kind", O(2, kind), { 3, 200, 255 }, false },
        { "recompress.size", O(2, size), { 4096, 8192, 1 << 20, 2 << 20, (uint64_t) 1 << 40 }, true },
        { "recompress.payload", O(2, payload_size), { 64775, 1 << 20, UINT32_MAX }, true },
        { "recompress.n-old", O(2, n_old), { 1, 2, 60, 200, 1 << 20, UINT32_MAX }, true },
        { "recompress.n-new", O(2, n_new), { 1, 2, 60, 200, 1 << 20, UINT32_MAX }, true },
        { "recompress.properties", O(2, properties), { 225, 255, 44, 8 }, false },
        { "range.offset", R(0, offset), { 1 << 20, 1 << 24, (uint64_t) 1 << 40, (uint64_t) 1 << 62 }, false },
        { "range.size", R(0, size), { (4 << 20) + 4096, 4 << 20, 1 << 24, (uint64_t) 1 << 40 }, true },
        { "range-of-clusters.offset", R(2, offset), { 1 << 20, 1 << 24, (uint64_t) 1 << 40, 1 << 17 }, false },
        { "range-of-clusters.size", R(2, size), { 4096, 8192, 1 << 20, 8 << 20, (uint64_t) 1 << 40 }, true },
        { "old-cluster.stored", C(0, stored), { 4096, 20480, 1 << 20, UINT32_MAX - 4095 }, true },
        { "old-cluster.content", C(0, content), { 4 << 20, 8 << 20, INT32_MAX }, true },
        { "new-cluster.stored", C(9, stored), { 20480, 1 << 20, UINT32_MAX - 4095 }, true },
        { "new-cluster.content", C(9, content), { 4 << 20, 8 << 20, INT32_MAX }, true },
        { "new-cluster.lookahead", C(9, lookahead), { 60000, 1 << 20, 1 << 24, UINT32_MAX, UINT32_MAX - 1 }, false },
        { "new-cluster.skip", C(9, skip), { 2 << 20, 1 << 24, UINT32_MAX, UINT32_MAX - 1 }, false },
};

static void *place(Delta *d, const struct Mutation *m) {
        size_t i = m->index;

        switch (m->where) {
        case HEADER:
                return (char *) d + m->offset;
        case OP:
                return (char *) &d->ops[i] + m->offset;
        case RANGE:
                return (char *) &d->ranges[i] + m->offset;
        default:
                /* 0: the first old one; 9: the first new one. */
                return (char *) &d->clusters[i == 0 ? 0 : d->ops[2].first_new] + m->offset;
        }
}

static void try_mutation(const struct Mutation *m, uint64_t value) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_freep) Delta *d = NULL;
        _cleanup_buffer_ Buffer head = {};
        _cleanup_error_ Error e = {};

        delta_fixture(&f);
        /* Room for what is not there. */
        f.delta->clusters = xrealloc(f.delta->clusters, (size_t) 1 << 11, sizeof(DeltaCluster));
        memset(f.delta->clusters + 64, 0, (((size_t) 1 << 11) - 64) * sizeof(DeltaCluster));
        memcpy(place(f.delta, m), &value, m->size);
        /* As a writer would refuse it. */
        if (delta_format(f.delta, &head, &e) >= 0)
                fail_msg("%s=%" PRIu64 " is written", m->name, value);
        if (f.delta->ops[2].n_old > 1000 || f.delta->ops[2].n_new > 1000 || f.delta->unit == 0)
                return; /* cannot even be put down */
        error_done(&e);
        assert_int_equal(delta_write(f.delta, &head, NULL), 0);
        if (parse(&head, &d, &e) >= 0)
                fail_msg("%s=%" PRIu64 " is read", m->name, value);
        if (e.id != REFUSAL_BAD_FORMAT && e.id != REFUSAL_TOO_LARGE)
                fail_msg("%s=%" PRIu64 ": %s", m->name, value, refusal_name(e.id));
}

static void numbers_that_cannot_be_are_refused(void **state) {
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(mutations); i++) {
                if (mutations[i].refuses_zero) {
                        try_mutation(&mutations[i], 0);
                        n++;
                }
                for (size_t j = 0; j < ELEMENTSOF(mutations[i].bad) && mutations[i].bad[j] > 0; j++, n++)
                        try_mutation(&mutations[i], mutations[i].bad[j]);
        }
        assert_true(n > 140);
}

static void a_head_that_is_cut_or_longer_is_refused(void **state) {
        _cleanup_delta_fixture_ DeltaFixture f = {};

        delta_fixture(&f);
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

/* Each byte of the table, unpacked, changed in three ways: refused, or another delta that holds; never anything else.
 */
static void each_byte_of_the_table_is_judged(void **state) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_free_ uint8_t *table = NULL;
        size_t size, refused = 0, tried = 0;

        delta_fixture(&f);
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

/* ---- foreign bytes ---- */

static void a_damaged_payload_gives_another_digest_or_an_error(void **state) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_free_ char *output = xmalloc(DELTA_PIECE_MAX);
        size_t step;

        delta_fixture(&f);
        step = MAX(f.payload.size / 300, 1U);
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

static void a_damaged_old_image_is_noticed(void **state) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_free_ char *output = xmalloc(DELTA_PIECE_MAX);
        size_t noticed = 0;

        delta_fixture(&f);
        assert_int_equal(delta_decoder_new(f.delta, &c, NULL), 0);
        for (size_t i = 0; i < f.old.size; i += 37) {
                f.old.data[i] ^= 0xff;
                for (const DeltaOp *op = f.delta->ops + 1; op < f.delta->ops + 3; op++)
                        if (run(f.delta, c, op, f.old.data, f.payload.data, output, NULL) < 0 ||
                            !delta_op_digest_is(op, output))
                                noticed++;
                f.old.data[i] ^= 0xff;
        }
        assert_true(noticed > 100);
}

static void another_encoder_is_not_used(void **state) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        _cleanup_error_ Error e = {};

        delta_fixture(&f);
        strcpy(f.delta->encoder, "lz4hc-9.9.9");
        assert_true(delta_decoder_new(f.delta, &c, &e) < 0);
        assert_int_equal(e.id, REFUSAL_MACHINE);
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
                cmocka_unit_test(numbers_that_cannot_be_are_refused),
                cmocka_unit_test(a_head_that_is_cut_or_longer_is_refused),
                cmocka_unit_test(each_byte_of_the_table_is_judged),
                cmocka_unit_test(a_damaged_payload_gives_another_digest_or_an_error),
                cmocka_unit_test(a_damaged_old_image_is_noticed),
                cmocka_unit_test(another_encoder_is_not_used),
                cmocka_unit_test(varints_have_one_form),
        };

        return cmocka_run_group_tests_name("delta", tests, NULL, NULL);
}
