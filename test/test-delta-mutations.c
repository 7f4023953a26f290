/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Heads that cannot be: one number of a good one is another, and writer and reader say the same. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "delta-fixture.h"
#include "wire.h"

typedef enum Which { LZ4, ZSTD } Which;
typedef enum Where { HEADER, ENCODER, OPERATION, RANGE, CLUSTER } Where;
enum { OLD, NEW }; /* the first of the clusters */

typedef struct Mutation {
        const char *name;
        Which which;
        Where where;
        size_t index, offset, size;
        const char *encoder;
        uint64_t value;
        Refusal wanted;
} Mutation;

static const Mutation mutations[] = {
#define FIELD(type, field) offsetof(type, field), sizeof(((type *) NULL)->field)
#define H(field) HEADER, 0, FIELD(Delta, field), NULL
#define E(name) ENCODER, 0, 0, 0, name
#define O(i, field) OPERATION, i, FIELD(DeltaOp, field), NULL
#define R(i, field) RANGE, i, FIELD(DeltaRange, field), NULL
#define C(i, field) CLUSTER, i, FIELD(DeltaCluster, field), NULL
#define BAD REFUSAL_BAD_FORMAT
#define LARGE REFUSAL_TOO_LARGE
#define MACHINE REFUSAL_MACHINE
        { "old size: zero", LZ4, H(old_size), 0, BAD },
        { "old size: smaller than what is copied", LZ4, H(old_size), 4096, BAD },
        { "old size: without the clusters", LZ4, H(old_size), 32768, BAD },
        { "old size: not in blocks", LZ4, H(old_size), 4097, BAD },
        { "old size: above what fits into a file", LZ4, H(old_size), UINT64_MAX - 4095, BAD },
        { "old size: a byte", LZ4, H(old_size), 1, BAD },
        { "new size: zero", LZ4, H(new_size), 0, BAD },
        { "new size: a block less than is made", LZ4, H(new_size), 8192, BAD },
        { "new size: not in blocks", LZ4, H(new_size), 4095, BAD },
        { "new size: above what fits into a file", LZ4, H(new_size), UINT64_MAX - 4095, BAD },
        { "new size: more than is made", LZ4, H(new_size), 1 << 30, BAD },
        { "unit: 2", LZ4, H(unit), 2, BAD },
        { "unit: a sector", LZ4, H(unit), 512, BAD },
        { "unit: 16", LZ4, H(unit), 16, BAD },
        { "unit: not quite a block", LZ4, H(unit), 4095, BAD },
        { "unit: a block and a byte", LZ4, H(unit), 4097, BAD },
        { "unit: two blocks", LZ4, H(unit), 8192, BAD },
        { "unit: the largest number", LZ4, H(unit), UINT32_MAX, BAD },
        { "unit: a byte, for clusters of lz4", LZ4, H(unit), 1, BAD },
        { "level of lz4: none, though there is an encoder", LZ4, H(level), 0, BAD },
        { "level of lz4: 13", LZ4, H(level), 13, BAD },
        { "level of lz4: 256", LZ4, H(level), 256, BAD },
        { "level of lz4: the largest number", LZ4, H(level), UINT32_MAX, BAD },
        { "largest cluster: none", LZ4, H(cluster_size), 0, BAD },
        { "largest cluster: a byte", LZ4, H(cluster_size), 1, BAD },
        { "largest cluster: not in blocks", LZ4, H(cluster_size), 4097, BAD },
        { "largest cluster: smaller than a cluster", LZ4, H(cluster_size), 4096, BAD },
        { "largest cluster: 2 MiB", LZ4, H(cluster_size), 2 << 20, BAD },
        { "largest cluster: the largest number", LZ4, H(cluster_size), UINT32_MAX, BAD },
        { "encoder: none, though there is a level", LZ4, E(""), 0, BAD },
        { "encoder: with a space", LZ4, E("lz4hc 1.10.0"), 0, BAD },
        { "encoder: with a byte above ASCII", LZ4, E("lz4hc-\xff"), 0, BAD },
        { "encoder: without an end", LZ4, E("lz4hc-1.10.0-0123456789abcdefghij"), 0, BAD },
        { "encoder: of a kind that nobody knows", LZ4, E("brotli-1.1.0"), 0, MACHINE },
        { "encoder: of a kind that nobody knows, for segments", ZSTD, E("xz-5.4"), 0, MACHINE },
        { "encoder: zstd for clusters of lz4", LZ4, E("zstd-1.5.7"), 0, BAD },
        { "encoder: lz4 for segments of zstd", ZSTD, E("lz4hc-1.10.0"), 0, BAD },
        { "copy of nothing", LZ4, O(0, size), 0, BAD },
        { "copy of less than is left for it", LZ4, O(0, size), 4096, BAD },
        { "copy of more than is left for it", LZ4, O(0, size), 40960, BAD },
        { "copy of more than there is", LZ4, O(0, size), 1 << 24, BAD },
        { "copy of far more than there is", LZ4, O(0, size), (uint64_t) 1 << 40, BAD },
        { "copy from behind the end", LZ4, O(0, source), 1 << 20, BAD },
        { "copy from far behind the end", LZ4, O(0, source), (uint64_t) 1 << 40, BAD },
        { "copy from beyond all numbers", LZ4, O(0, source), (uint64_t) 1 << 62, BAD },
        { "patch of nothing", LZ4, O(1, size), 0, BAD },
        { "patch of less than its content", LZ4, O(1, size), 8192, BAD },
        { "patch of more than its content", LZ4, O(1, size), 16384, BAD },
        { "patch of as much as a piece may be", LZ4, O(1, size), 1 << 20, BAD },
        { "patch of more than a piece may be", LZ4, O(1, size), 2 << 20, BAD },
        { "patch of more than there is", LZ4, O(1, size), (uint64_t) 1 << 40, BAD },
        { "patch with a payload of no bytes", LZ4, O(1, payload_size), 0, BAD },
        { "patch with a payload of more bytes than LZMA would need", LZ4, O(1, payload_size), 14081, BAD },
        { "patch with a payload of a MiB", LZ4, O(1, payload_size), 1 << 20, BAD },
        { "patch with a payload of the largest number", LZ4, O(1, payload_size), UINT32_MAX, BAD },
        { "properties: lc + lp above 4", LZ4, O(1, properties), 5, BAD },
        { "properties: lc of 8", LZ4, O(1, properties), 8, BAD },
        { "properties: lp of 4 and lc of 1", LZ4, O(1, properties), 37, BAD },
        { "properties: lp of 4 and lc of 8", LZ4, O(1, properties), 44, BAD },
        { "properties: pb of 5", LZ4, O(1, properties), 225, BAD },
        { "properties: the largest number", LZ4, O(1, properties), 255, BAD },
        { "kind: the next unused one", LZ4, O(1, kind), 3, BAD },
        { "kind: a negative one", LZ4, O(1, kind), 255, BAD },
        { "kind of clusters: the next unused one", LZ4, O(2, kind), 3, BAD },
        { "recompress of nothing", LZ4, O(2, size), 0, BAD },
        { "recompress of less than its clusters", LZ4, O(2, size), 4096, BAD },
        { "recompress of more than its clusters", LZ4, O(2, size), 1 << 20, BAD },
        { "recompress of more than a piece may be", LZ4, O(2, size), 2 << 20, BAD },
        { "recompress of more than there is", LZ4, O(2, size), (uint64_t) 1 << 40, BAD },
        { "recompress with a payload of no bytes", LZ4, O(2, payload_size), 0, BAD },
        { "recompress with a payload of more bytes than LZMA would need", LZ4, O(2, payload_size), 64775, BAD },
        { "recompress with a payload of the largest number", LZ4, O(2, payload_size), UINT32_MAX, BAD },
        { "old clusters: none", LZ4, O(2, n_old), 0, BAD },
        { "new clusters: none", LZ4, O(2, n_new), 0, BAD },
        { "old clusters: one", LZ4, O(2, n_old), 1, BAD },
        { "new clusters: one", LZ4, O(2, n_new), 1, BAD },
        { "old clusters: 200", LZ4, O(2, n_old), 200, BAD },
        { "new clusters: 200", LZ4, O(2, n_new), 200, BAD },
        { "old clusters: more than there are", LZ4, O(2, n_old), 1 << 20, BAD },
        { "new clusters: more than there are", LZ4, O(2, n_new), 1 << 20, BAD },
        { "old clusters: the largest number", LZ4, O(2, n_old), UINT32_MAX, BAD },
        { "new clusters: the largest number", LZ4, O(2, n_new), UINT32_MAX, BAD },
        { "recompress: properties that cannot be", LZ4, O(2, properties), 225, BAD },
        { "range from behind the end", LZ4, R(0, offset), 1 << 20, BAD },
        { "range from far behind the end", LZ4, R(0, offset), (uint64_t) 1 << 40, BAD },
        { "range from beyond all numbers", LZ4, R(0, offset), (uint64_t) 1 << 62, BAD },
        { "range of nothing", LZ4, R(0, size), 0, BAD },
        { "range of more than a window", LZ4, R(0, size), (4 << 20) + 4096, BAD },
        { "range of a whole window", LZ4, R(0, size), 4 << 20, BAD },
        { "range of more than there is", LZ4, R(0, size), (uint64_t) 1 << 40, BAD },
        { "clusters from behind the end", LZ4, R(2, offset), 1 << 20, BAD },
        { "clusters from far behind the end", LZ4, R(2, offset), (uint64_t) 1 << 40, BAD },
        { "clusters in a range of nothing", LZ4, R(2, size), 0, BAD },
        { "clusters in a range of less than they are", LZ4, R(2, size), 8192, BAD },
        { "clusters in a range of more than they are", LZ4, R(2, size), 1 << 20, BAD },
        { "clusters in a range of more than a window", LZ4, R(2, size), 8 << 20, BAD },
        { "old cluster of no blocks", LZ4, C(OLD, stored), 0, BAD },
        { "old cluster of a block", LZ4, C(OLD, stored), 4096, BAD },
        { "old cluster of more than the largest", LZ4, C(OLD, stored), 20480, BAD },
        { "old cluster of a MiB", LZ4, C(OLD, stored), 1 << 20, BAD },
        { "old cluster of nearly all numbers", LZ4, C(OLD, stored), UINT32_MAX - 4095, BAD },
        { "old cluster with nothing", LZ4, C(OLD, content), 0, BAD },
        { "old cluster with a whole window", LZ4, C(OLD, content), 4 << 20, BAD },
        { "old cluster with nearly all numbers", LZ4, C(OLD, content), INT32_MAX, BAD },
        { "new cluster of no blocks", LZ4, C(NEW, stored), 0, BAD },
        { "new cluster of more than the largest", LZ4, C(NEW, stored), 20480, BAD },
        { "new cluster of nearly all numbers", LZ4, C(NEW, stored), UINT32_MAX - 4095, BAD },
        { "new cluster with nothing", LZ4, C(NEW, content), 0, BAD },
        { "new cluster with more than its operation", LZ4, C(NEW, content), 4 << 20, BAD },
        { "new cluster with nearly all numbers", LZ4, C(NEW, content), INT32_MAX, BAD },
        { "lookahead beyond the end", LZ4, C(NEW, lookahead), 60000, BAD },
        { "lookahead beyond a MiB", LZ4, C(NEW, lookahead), 1 << 20, BAD },
        { "lookahead beyond all numbers", LZ4, C(NEW, lookahead), UINT32_MAX, BAD },
        { "skipping beyond the end", LZ4, C(NEW, skip), 2 << 20, BAD },
        { "skipping beyond all numbers", LZ4, C(NEW, skip), UINT32_MAX, BAD },
        { "old size of segments: zero", ZSTD, H(old_size), 0, BAD },
        { "new size of segments: a byte more", ZSTD, H(new_size), 1 << 20, BAD },
        { "unit: a block, for segments of zstd", ZSTD, H(unit), 4096, BAD },
        { "level of zstd: none", ZSTD, H(level), 0, BAD },
        { "level of zstd: below those that repeat themselves", ZSTD, H(level), 12, BAD },
        { "level of zstd: above those with an answer", ZSTD, H(level), 20, BAD },
        { "level of zstd: the largest number", ZSTD, H(level), UINT32_MAX, BAD },
        { "segments: none", ZSTD, H(cluster_size), 0, BAD },
        { "segments: smaller than they are", ZSTD, H(cluster_size), 131072, BAD },
        { "segments: larger than they are", ZSTD, H(cluster_size), 524288, BAD },
        { "segments: the largest number", ZSTD, H(cluster_size), UINT32_MAX, BAD },
        { "old segment of no bytes", ZSTD, C(OLD, stored), 0, BAD },
        { "old segment of a byte", ZSTD, C(OLD, stored), 1, BAD },
        { "old segment of more than a segment takes", ZSTD, C(OLD, stored), 300000, BAD },
        { "old segment of all numbers", ZSTD, C(OLD, stored), UINT32_MAX, BAD },
        { "old segment with nothing", ZSTD, C(OLD, content), 0, BAD },
        { "old segment with a byte more than a segment has", ZSTD, C(OLD, content), 262145, BAD },
        { "old segment with a whole window", ZSTD, C(OLD, content), 4 << 20, BAD },
        { "new segment of no bytes", ZSTD, C(NEW, stored), 0, BAD },
        { "new segment of a byte", ZSTD, C(NEW, stored), 1, BAD },
        { "new segment of more than a segment takes", ZSTD, C(NEW, stored), 300000, BAD },
        { "new segment of all numbers", ZSTD, C(NEW, stored), UINT32_MAX, BAD },
        { "new segment with nothing", ZSTD, C(NEW, content), 0, BAD },
        { "new segment with a byte more than a segment has", ZSTD, C(NEW, content), 262145, BAD },
        { "place of a segment: with a bit too many", ZSTD, C(NEW, place), 4, BAD },
        { "place of a segment: with all bits", ZSTD, C(NEW, place), 255, BAD },
        { "place of what is stored plain", ZSTD, C(NEW, plain), 1, BAD },
        { "new segments: none", ZSTD, O(2, n_new), 0, BAD },
        { "new segments: one", ZSTD, O(2, n_new), 1, BAD },
        { "new segments: three", ZSTD, O(2, n_new), 3, BAD },
        { "old segments: none", ZSTD, O(2, n_old), 0, BAD },
        { "old segments: one", ZSTD, O(2, n_old), 1, BAD },
        { "segments from a byte further", ZSTD, R(2, offset), 10001, BAD },
        { "segments in a range of a byte less", ZSTD, R(2, size), 1000, BAD },
        { "recompress of segments: a byte less", ZSTD, O(2, size), 5000, BAD },
};

/* The same with bytes of the head that no number stands behind. */
static const struct {
        const char *name;
        size_t offset, size;
        uint64_t value;
        Refusal wanted;
} bytes[] = {
        { "magic: of the version before", 7, 1, '1', BAD },
        { "magic: of the version behind", 7, 1, '3', BAD },
        { "magic: zeros", 0, 8, 0, BAD },
        { "operations: none", 28, 4, 0, BAD },
        { "operations: one less", 28, 4, 3, BAD },
        { "operations: one more", 28, 4, 5, BAD },
        { "operations: above the limit", 28, 4, DELTA_OPS_MAX + 1, LARGE },
        { "operations: the largest number", 28, 4, UINT32_MAX, LARGE },
        { "ranges: one less", 32, 4, 2, BAD },
        { "ranges: one more", 32, 4, 4, BAD },
        { "ranges: above the limit", 32, 4, DELTA_RANGES_MAX + 1, LARGE },
        { "clusters: none", 36, 4, 0, BAD },
        { "clusters: above the limit", 36, 4, DELTA_CLUSTERS_MAX + 1, LARGE },
        { "clusters: as many as may be", 36, 4, DELTA_CLUSTERS_MAX, BAD },
        { "payload: none", 40, 8, 0, BAD },
        { "payload: the largest number", 40, 8, UINT64_MAX, BAD },
        { "table: none", 56, 4, 0, BAD },
        { "table: above the limit", 56, 4, DELTA_TABLE_MAX + 1, LARGE },
        { "table: as large as may be", 56, 4, DELTA_TABLE_MAX, BAD },
        { "table: the largest number", 56, 4, UINT32_MAX, LARGE },
        { "what is zero: one", 60, 4, 1, BAD },
        { "what is zero: the highest bit", 60, 4, UINT32_C(1) << 31, BAD },
        { "table: not zstd", 160, 4, 0, BAD },
        { "encoder: a byte behind its end", 159, 1, 'x', BAD },
        { "encoder: nothing and then something", 128, 1, 0, BAD },
};

/* Made once: encoding takes its time. */
static DeltaFixture examples[2];

static int make_examples(void **state) {
        delta_fixture(&examples[LZ4]);
        delta_segments_fixture(&examples[ZSTD]);
        return 0;
}

static int free_examples(void **state) {
        delta_fixture_done(&examples[LZ4]);
        delta_fixture_done(&examples[ZSTD]);
        return 0;
}

/* With room for clusters that are not there. */
static Delta *copy_delta(const Delta *from) {
        Delta *d = xmemdup(from, sizeof(*from));

        d->ops = xmemdup(from->ops, from->n_ops * sizeof(DeltaOp));
        d->ranges = xmemdup(from->ranges, from->n_ranges * sizeof(DeltaRange));
        d->clusters = xnew(DeltaCluster, (size_t) 1 << 11);
        memcpy(d->clusters, from->clusters, from->n_clusters * sizeof(DeltaCluster));
        return d;
}

static void change(Delta *d, const Mutation *m) {
        char *p = (char *) d;

        switch (m->where) {
        case ENCODER:
                memset(d->encoder, 0, DELTA_ENCODER_SIZE);
                memcpy(d->encoder, m->encoder, MIN(strlen(m->encoder), (size_t) DELTA_ENCODER_SIZE));
                return;
        case OPERATION:
                p = (char *) &d->ops[m->index];
                break;
        case RANGE:
                p = (char *) &d->ranges[m->index];
                break;
        case CLUSTER:
                p = (char *) &d->clusters[m->index == OLD ? 0 : d->ops[2].first_new];
                break;
        default:
                break;
        }
        memcpy(p + m->offset, &m->value, m->size);
}

static void expect(const char *name, const char *who, int r, const Error *e, Refusal wanted) {
        if (r >= 0)
                fail_msg("%s: %s", name, who);
        if (e->id != wanted)
                fail_msg("%s, %s: %s (%s)", name, who, refusal_name(e->id), e->message);
}

static void try_mutation(const Mutation *m) {
        _cleanup_error_ Error e = {}, e2 = {};
        _cleanup_(delta_freep) Delta *changed = copy_delta(examples[m->which].delta), *d = NULL;
        _cleanup_buffer_ Buffer head = {};

        change(changed, m);
        expect(m->name, "it is written", delta_format(changed, &head, &e), &e, m->wanted);
        if (changed->ops[2].n_old > 1000 || changed->ops[2].n_new > 1000)
                return; /* cannot even be put down */
        assert_int_equal(delta_write(changed, &head, NULL), 0);
        expect(m->name, "it is read", delta_parse(head.data, head.size, "delta", &d, &e2), &e2, m->wanted);
}

static void numbers_that_cannot_be_are_refused(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(mutations); i++)
                try_mutation(&mutations[i]);
        assert_true(ELEMENTSOF(mutations) >= 100);
}

static void bytes_that_cannot_be_are_refused(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(bytes); i++) {
                const Buffer *good = &examples[LZ4].head;
                _cleanup_free_ char *head = xmemdup(good->data, good->size);
                _cleanup_(delta_freep) Delta *d = NULL;
                _cleanup_error_ Error e = {};
                uint8_t number[8];

                wire_put_u64(number, bytes[i].value);
                memcpy(head + bytes[i].offset, number, bytes[i].size);
                expect(bytes[i].name, "it is read", delta_parse(head, good->size, "delta", &d, &e), &e,
                       bytes[i].wanted);
        }
}

/* Each name once, so that a failure says which. */
static void names_are_different(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(mutations); i++)
                for (size_t k = 0; k < i; k++)
                        assert_string_not_equal(mutations[i].name, mutations[k].name);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(numbers_that_cannot_be_are_refused),
                cmocka_unit_test(bytes_that_cannot_be_are_refused),
                cmocka_unit_test(names_are_different),
        };

        return cmocka_run_group_tests_name("delta-mutations", tests, make_examples, free_examples);
}
