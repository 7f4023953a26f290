/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The head of a delta. Its table is written column by column, because numbers of one kind are alike and zstd sees that:
 * the order of the columns is that of the reading functions below and of sealab-delta(5). */

#include <zstd.h>

#include "delta.h"
#include "recompress.h"
#include "segment.h"
#include "wire.h"

#define HEAD_LEVEL 19
/* LZMA makes what it cannot compress larger by less than this. */
#define PAYLOAD_MAX(content) ((uint64_t) (content) + (content) / 16 + 1024)

const char *delta_kind_name(DeltaKind k) {
        static const char *const names[] = { "copy", "patch", "recompress" };

        return k >= 0 && k < _DELTA_KIND_MAX ? names[k] : NULL;
}

DeltaCoding delta_coding(const Delta *d) {
        if (isempty(d->encoder))
                return DELTA_CODING_NONE;
        return startswith(d->encoder, "lz4hc-")  ? DELTA_CODING_LZ4
               : startswith(d->encoder, "zstd-") ? DELTA_CODING_ZSTD
                                                 : _DELTA_CODING_MAX;
}

Delta *delta_free(Delta *d) {
        if (!d)
                return NULL;
        free(d->ops);
        free(d->ranges);
        free(d->clusters);
        free(d);
        return NULL;
}

size_t delta_op_old_size(const Delta *d, const DeltaOp *op) {
        size_t sum = 0;

        for (size_t i = 0; i < op->n_ranges; i++)
                sum += (size_t) d->ranges[op->first_range + i].size;
        return sum;
}

void delta_digest(const void *output, size_t size, uint8_t ret[DELTA_DIGEST_SIZE]) {
        Sha256 digest;

        sha256_buffer(output, size, &digest);
        memcpy(ret, digest.bytes, DELTA_DIGEST_SIZE);
}

bool delta_op_digest_is(const DeltaOp *op, const void *output) {
        uint8_t digest[DELTA_DIGEST_SIZE];

        delta_digest(output, (size_t) op->size, digest);
        return memcmp(digest, op->digest, DELTA_DIGEST_SIZE) == 0;
}

/* ---- what holds for every delta ---- */

typedef struct Check {
        const char *what;
        Error *reterr;
} Check;

_printf_(2, 3) static int bad(const Check *c, const char *fmt, ...) {
        _cleanup_free_ char *message = NULL;
        va_list ap;

        va_start(ap, fmt);
        message = xvasprintf(fmt, ap);
        va_end(ap);
        return error_set(c->reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %s", c->what, message);
}

static bool properties_are_valid(uint8_t properties) {
        unsigned lc = properties % 9, lp = properties / 9 % 5, pb = properties / 45;

        return pb <= 4 && lc + lp <= 4;
}

static int check_ranges(const Check *c, const Delta *d, const DeltaOp *op, uint64_t *ret_size) {
        uint64_t sum = 0;

        if (op->first_range > d->n_ranges || op->n_ranges > d->n_ranges - op->first_range)
                return bad(c, "ranges that are not there");
        for (size_t i = 0; i < op->n_ranges; i++) {
                const DeltaRange *range = &d->ranges[op->first_range + i];

                if (range->size == 0 || range->size > DELTA_WINDOW_MAX - sum)
                        return bad(c, "an operation that looks at more than %zu bytes", DELTA_WINDOW_MAX);
                if (range->offset > d->old_size || range->size > d->old_size - range->offset ||
                    range->offset % d->unit != 0 || range->size % d->unit != 0)
                        return bad(c, "an operation looks at what the old image does not have");
                sum += range->size;
        }
        *ret_size = sum;
        return 0;
}

static bool cluster_is_valid(const Delta *d, const DeltaCluster *k) {
        if (k->stored == 0 || k->stored % d->unit != 0 || k->content == 0)
                return false;
        if (k->plain)
                return k->content <= k->stored && k->lookahead == 0 && k->place == 0;
        if (delta_coding(d) == DELTA_CODING_LZ4)
                return k->stored <= d->cluster_size && k->place == 0;
        return k->stored <= SEGMENT_STORED_MAX && k->content <= d->cluster_size && k->lookahead == 0 && k->skip == 0 &&
               k->place <= (SEGMENT_FIRST | SEGMENT_LAST);
}

static int check_old_clusters(const Check *c, const Delta *d, DeltaOp *op, uint64_t old_size) {
        uint64_t stored = 0, content = 0;

        for (size_t i = 0; i < op->n_old; i++) {
                const DeltaCluster *k = &d->clusters[op->first_old + i];

                if (!cluster_is_valid(d, k) || k->lookahead > 0 || k->skip > 0 || k->place > 0)
                        return bad(c, "an old cluster that cannot be");
                stored += k->stored;
                content += k->content;
        }
        if (stored != old_size)
                return bad(c, "old clusters that are not what is looked at");
        if (content > DELTA_WINDOW_MAX)
                return bad(c, "an operation that unpacks more than %zu bytes", DELTA_WINDOW_MAX);
        op->window = (uint32_t) content;
        return 0;
}

static int check_new_clusters(const Check *c, const Delta *d, const DeltaOp *op) {
        uint64_t stored = 0, content = 0;

        for (size_t i = 0; i < op->n_new; i++) {
                const DeltaCluster *k = &d->clusters[op->first_new + i];

                if (!cluster_is_valid(d, k))
                        return bad(c, "a new cluster that cannot be");
                stored += k->stored;
                content += k->content;
                if (content + k->lookahead > op->content || content + k->skip > op->content)
                        return bad(c, "a new cluster that looks behind the end");
                content += k->skip;
        }
        if (stored != op->size || content != op->content)
                return bad(c, "new clusters that are not what is made");
        return 0;
}

static int check_recompress(const Check *c, const Delta *d, DeltaOp *op, uint64_t old_size) {
        int r;

        if (isempty(d->encoder))
                return bad(c, "clusters without an encoder");
        if (op->first_old > d->n_clusters || op->n_old > d->n_clusters - op->first_old ||
            op->first_new > d->n_clusters || op->n_new > d->n_clusters - op->first_new)
                return bad(c, "clusters that are not there");
        r = check_old_clusters(c, d, op, old_size);
        return r < 0 ? r : check_new_clusters(c, d, op);
}

/* Sets what follows: offset, payload_offset, window. at and payload: of the operations before, and then with this one.
 */
static int check_op(const Check *c, const Delta *d, DeltaOp *op, uint64_t *at, uint64_t *payload) {
        uint64_t old_size = 0;
        int r;

        if (op->kind < 0 || op->kind >= _DELTA_KIND_MAX)
                return bad(c, "an operation that this version does not know");
        if (op->size == 0 || op->size % d->unit != 0 || op->size > d->new_size - *at)
                return bad(c, "operations that do not make an image of %" PRIu64 " bytes", d->new_size);
        op->offset = *at;
        *at += op->size;
        if (op->kind == DELTA_COPY) {
                if (op->source > d->old_size || op->size > d->old_size - op->source || op->source % d->unit != 0)
                        return bad(c, "an operation copies what the old image does not have");
                return 0;
        }
        if (op->size > DELTA_PIECE_MAX || op->content == 0 || op->content > DELTA_CONTENT_MAX)
                return bad(c, "an operation makes too much at once");
        if (op->payload_size == 0 || op->payload_size > PAYLOAD_MAX(op->content))
                return bad(c, "an operation of %" PRIu32 " bytes", op->payload_size);
        if (!properties_are_valid(op->properties))
                return bad(c, "LZMA has no such properties");
        op->payload_offset = *payload;
        *payload += op->payload_size;
        r = check_ranges(c, d, op, &old_size);
        if (r < 0)
                return r;
        if (op->kind == DELTA_RECOMPRESS)
                return check_recompress(c, d, op, old_size);
        op->window = (uint32_t) old_size;
        return op->content == op->size ? 0 : bad(c, "a patch that makes more than its output");
}

static bool numbers_of_encoder_are_valid(const Delta *d) {
        switch (delta_coding(d)) {
        case DELTA_CODING_NONE:
                return d->level == 0 && d->cluster_size == 0;
        case DELTA_CODING_LZ4:
                return d->level >= 1 && d->level <= RECOMPRESS_LEVEL_MAX && d->cluster_size > 0 &&
                       d->cluster_size % RECOMPRESS_BLOCK_SIZE == 0 && d->cluster_size <= RECOMPRESS_CLUSTER_MAX &&
                       d->unit == RECOMPRESS_BLOCK_SIZE;
        case DELTA_CODING_ZSTD:
                return d->level >= SEGMENT_LEVEL_MIN && d->level <= SEGMENT_LEVEL_MAX &&
                       d->cluster_size == SEGMENT_CONTENT_MAX && d->unit == 1;
        default:
                return true;
        }
}

static int check_encoder(const Check *c, const Delta *d) {
        size_t n = strnlen(d->encoder, DELTA_ENCODER_SIZE);

        if (n == DELTA_ENCODER_SIZE)
                return bad(c, "an encoder without an end");
        for (size_t i = 0; i < DELTA_ENCODER_SIZE; i++)
                if (i < n ? d->encoder[i] <= ' ' || d->encoder[i] > '~' : d->encoder[i] != 0)
                        return bad(c, "an encoder of other characters");
        if (!numbers_of_encoder_are_valid(d))
                return bad(c, "an encoder of level %" PRIu32 " with clusters of %" PRIu32 " bytes in units of %" PRIu32,
                           d->level, d->cluster_size, d->unit);
        if (delta_coding(d) == _DELTA_CODING_MAX)
                return error_set(c->reterr, ENOTSUP, REFUSAL_MACHINE, "%s needs the encoder %s", c->what, d->encoder);
        return 0;
}

static int check_header(const Check *c, const Delta *d) {
        if (d->unit != 1 && d->unit != DELTA_UNIT_MAX)
                return bad(c, "a unit of %" PRIu32 " bytes", d->unit);
        if (d->old_size % d->unit != 0 || d->new_size % d->unit != 0 || d->old_size > INT64_MAX ||
            d->new_size > INT64_MAX)
                return bad(c, "images of %" PRIu64 " and %" PRIu64 " bytes", d->old_size, d->new_size);
        if (d->n_ops > DELTA_OPS_MAX || d->n_ranges > DELTA_RANGES_MAX || d->n_clusters > DELTA_CLUSTERS_MAX)
                return error_set(c->reterr, EFBIG, REFUSAL_TOO_LARGE,
                                 "%s: %zu operations, %zu ranges, %zu clusters are too many", c->what, d->n_ops,
                                 d->n_ranges, d->n_clusters);
        return check_encoder(c, d);
}

static int check_ops(const Check *c, Delta *d) {
        uint64_t at = 0, payload = 0;

        for (size_t i = 0; i < d->n_ops; i++) {
                int r = check_op(c, d, &d->ops[i], &at, &payload);

                if (r < 0)
                        return r;
        }
        if (at != d->new_size)
                return bad(c, "operations that do not make an image of %" PRIu64 " bytes", d->new_size);
        d->payload_size = payload;
        return 0;
}

/* ---- reading ---- */

static void read_header(Delta *d, const uint8_t *p) {
        d->old_size = wire_get_u64(p + 8);
        d->new_size = wire_get_u64(p + 16);
        d->unit = wire_get_u32(p + 24);
        d->n_ops = wire_get_u32(p + 28);
        d->n_ranges = wire_get_u32(p + 32);
        d->n_clusters = wire_get_u32(p + 36);
        d->payload_size = wire_get_u64(p + 40);
        d->level = wire_get_u32(p + 48);
        d->cluster_size = wire_get_u32(p + 52);
        memcpy(d->old_id.bytes, p + 64, SHA256_SIZE);
        memcpy(d->new_id.bytes, p + 96, SHA256_SIZE);
        memcpy(d->encoder, p + 128, DELTA_ENCODER_SIZE);
}

static int unpack_table(const Check *c, const uint8_t *p, size_t size, uint8_t **ret, size_t *ret_size) {
        uint32_t wanted = wire_get_u32(p + 56);
        _cleanup_free_ uint8_t *table = NULL;
        size_t n;

        if (wire_get_u32(p + 60) != 0)
                return bad(c, "a head of another version");
        if (wanted > DELTA_TABLE_MAX)
                return error_set(c->reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: a table of %" PRIu32 " bytes", c->what,
                                 wanted);
        table = xmalloc(MAX(wanted, 1U));
        n = ZSTD_decompress(table, wanted, p + DELTA_HEADER_SIZE, size - DELTA_HEADER_SIZE);
        if (ZSTD_isError(n) || n != wanted)
                return bad(c, "its table cannot be unpacked: %s",
                           ZSTD_isError(n) ? ZSTD_getErrorName(n) : "another size");
        *ret = TAKE_PTR(table);
        *ret_size = wanted;
        return 0;
}

/* A number of bytes, of that many units; too large a one is the largest there is, which no check lets pass. */
static uint64_t read_size(WireReader *r, uint32_t unit) {
        uint64_t n = wire_read_varint(r), size;

        return __builtin_mul_overflow(n, (uint64_t) unit, &size) ? UINT64_MAX : size;
}

static uint32_t read_u32(WireReader *r, uint32_t unit) {
        uint64_t size = read_size(r, unit);

        return (uint32_t) MIN(size, (uint64_t) UINT32_MAX);
}

/* Places are told by their distance from the end of the one before. */
static uint64_t read_place(WireReader *r, uint32_t unit, uint64_t before) {
        int64_t distance = wire_unzigzag(wire_read_varint(r)), place;

        if (__builtin_mul_overflow(distance, (int64_t) unit, &distance) ||
            __builtin_add_overflow((int64_t) before, distance, &place) || place < 0)
                return UINT64_MAX;
        return (uint64_t) place;
}

/* Calls the body for each operation that is of this kind. */
#define FOREACH_OP(op, d, condition)                                                                                   \
        for (DeltaOp *op = (d)->ops; op < (d)->ops + (d)->n_ops; op++)                                                 \
                if (condition)

static void read_ops(Delta *d, WireReader *r) {
        uint64_t end = 0;

        FOREACH_OP (op, d, true)
                op->kind = (DeltaKind) wire_read_u8(r);
        FOREACH_OP (op, d, true)
                op->size = read_size(r, d->unit);
        FOREACH_OP (op, d, op->kind == DELTA_COPY) {
                op->source = read_place(r, d->unit, end);
                if (__builtin_add_overflow(op->source, op->size, &end) || end > INT64_MAX)
                        r->failed = true;
                if (r->failed)
                        return;
        }
        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                op->payload_size = read_u32(r, 1);
        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                op->properties = wire_read_u8(r);
}

static void read_ranges(Delta *d, WireReader *r) {
        uint64_t end = 0, first = 0;

        FOREACH_OP (op, d, op->kind != DELTA_COPY) {
                op->n_ranges = read_u32(r, 1);
                op->first_range = (uint32_t) first;
                first += op->n_ranges;
                if (first > d->n_ranges)
                        r->failed = true;
                if (r->failed)
                        return;
        }
        if (first != d->n_ranges)
                r->failed = true;
        for (size_t i = 0; !r->failed && i < d->n_ranges; i++)
                d->ranges[i].size = read_size(r, d->unit);
        for (size_t i = 0; !r->failed && i < d->n_ranges; i++) {
                d->ranges[i].offset = read_place(r, d->unit, end);
                if (__builtin_add_overflow(d->ranges[i].offset, d->ranges[i].size, &end) || end > INT64_MAX)
                        r->failed = true;
        }
}

static void read_cluster_content(DeltaCluster *k, WireReader *r) {
        uint32_t n = read_u32(r, 1);

        k->content = n >> 1;
        k->plain = n & 1;
}

static void read_clusters(Delta *d, WireReader *r) {
        uint64_t first = 0;

        FOREACH_OP (op, d, op->kind == DELTA_RECOMPRESS) {
                op->n_old = read_u32(r, 1);
                op->n_new = read_u32(r, 1);
                op->first_old = (uint32_t) first;
                op->first_new = (uint32_t) first + op->n_old;
                first += (uint64_t) op->n_old + op->n_new;
                if (first > d->n_clusters)
                        r->failed = true;
                if (r->failed)
                        return;
        }
        if (first != d->n_clusters)
                r->failed = true;
        for (size_t i = 0; !r->failed && i < d->n_clusters; i++)
                d->clusters[i].stored = read_u32(r, d->unit);
        for (size_t i = 0; !r->failed && i < d->n_clusters; i++)
                read_cluster_content(&d->clusters[i], r);
        FOREACH_OP (op, d, op->kind == DELTA_RECOMPRESS)
                for (size_t i = 0; !r->failed && i < op->n_new; i++) {
                        DeltaCluster *k = &d->clusters[op->first_new + i];

                        if (delta_coding(d) == DELTA_CODING_ZSTD) {
                                k->place = wire_read_u8(r);
                                continue;
                        }
                        k->lookahead = read_u32(r, 1);
                        k->skip = read_u32(r, 1);
                }
}

/* What an operation unpacks to follows from its output, or from its clusters. */
static void set_contents(Delta *d) {
        FOREACH_OP (op, d, op->kind == DELTA_PATCH)
                op->content = (uint32_t) MIN(op->size, (uint64_t) UINT32_MAX);
        FOREACH_OP (op, d, op->kind == DELTA_RECOMPRESS) {
                uint64_t sum = 0;

                for (size_t i = 0; i < op->n_new; i++)
                        sum += (uint64_t) d->clusters[op->first_new + i].content + d->clusters[op->first_new + i].skip;
                op->content = (uint32_t) MIN(sum, (uint64_t) UINT32_MAX);
        }
}

static void read_digests(Delta *d, WireReader *r) {
        FOREACH_OP (op, d, op->kind != DELTA_COPY) {
                const uint8_t *digest = wire_read_bytes(r, DELTA_DIGEST_SIZE);

                if (!digest)
                        return;
                memcpy(op->digest, digest, DELTA_DIGEST_SIZE);
        }
}

int delta_parse(const void *data, size_t size, const char *what, Delta **ret, Error *reterr) {
        const Check c = { .what = what, .reterr = reterr };
        _cleanup_(delta_freep) Delta *d = NULL;
        _cleanup_free_ uint8_t *table = NULL;
        WireReader reader;
        uint64_t payload;
        size_t n = 0;
        int r;

        if (size < DELTA_HEADER_SIZE || memcmp(data, DELTA_MAGIC, 8) != 0)
                return bad(&c, "not a delta");
        if (size > DELTA_HEAD_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: a head of %zu bytes", what, size);
        d = xnew(Delta, 1);
        read_header(d, data);
        payload = d->payload_size;
        r = check_header(&c, d);
        if (r >= 0)
                r = unpack_table(&c, data, size, &table, &n);
        if (r < 0)
                return r;
        d->ops = xnew(DeltaOp, MAX(d->n_ops, 1U));
        d->ranges = xnew(DeltaRange, MAX(d->n_ranges, 1U));
        d->clusters = xnew(DeltaCluster, MAX(d->n_clusters, 1U));
        reader = (WireReader){ .at = table, .end = table + n };
        read_ops(d, &reader);
        read_ranges(d, &reader);
        read_clusters(d, &reader);
        read_digests(d, &reader);
        if (reader.failed || reader.at != reader.end)
                return bad(&c, "a table that does not say what its head says");
        set_contents(d);
        r = check_ops(&c, d);
        if (r < 0)
                return r;
        if (d->payload_size != payload)
                return bad(&c, "operations that do not take what its head says");
        *ret = TAKE_PTR(d);
        return 0;
}

/* ---- writing ---- */

static void append_place(Buffer *b, uint32_t unit, uint64_t place, uint64_t before) {
        wire_append_varint(b, wire_zigzag((int64_t) (place / unit) - (int64_t) (before / unit)));
}

static void append_byte(Buffer *b, uint8_t byte) {
        buffer_append(b, &byte, 1);
}

static void write_ops(const Delta *d, Buffer *b) {
        uint64_t end = 0;

        FOREACH_OP (op, d, true)
                append_byte(b, (uint8_t) op->kind);
        FOREACH_OP (op, d, true)
                wire_append_varint(b, op->size / d->unit);
        FOREACH_OP (op, d, op->kind == DELTA_COPY) {
                append_place(b, d->unit, op->source, end);
                end = op->source + op->size;
        }
        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                wire_append_varint(b, op->payload_size);
        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                append_byte(b, op->properties);
}

static void write_ranges(const Delta *d, Buffer *b) {
        uint64_t end = 0;

        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                wire_append_varint(b, op->n_ranges);
        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                for (size_t i = 0; i < op->n_ranges; i++)
                        wire_append_varint(b, d->ranges[op->first_range + i].size / d->unit);
        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                for (size_t i = 0; i < op->n_ranges; i++) {
                        const DeltaRange *range = &d->ranges[op->first_range + i];

                        append_place(b, d->unit, range->offset, end);
                        end = range->offset + range->size;
                }
}

/* Calls the body for each cluster, in the order in which they are written. */
#define FOREACH_CLUSTER(k, d)                                                                                          \
        FOREACH_OP (_op, d, _op->kind == DELTA_RECOMPRESS)                                                             \
                for (size_t _i = 0; _i < (size_t) _op->n_old + _op->n_new; _i++)                                       \
                        for (const DeltaCluster *k = _i < _op->n_old                                                   \
                                                             ? &(d)->clusters[_op->first_old + _i]                     \
                                                             : &(d)->clusters[_op->first_new + _i - _op->n_old];       \
                             k; k = NULL)

static void write_clusters(const Delta *d, Buffer *b) {
        FOREACH_OP (op, d, op->kind == DELTA_RECOMPRESS) {
                wire_append_varint(b, op->n_old);
                wire_append_varint(b, op->n_new);
        }
        FOREACH_CLUSTER (k, d)
                wire_append_varint(b, k->stored / d->unit);
        FOREACH_CLUSTER (k, d)
                wire_append_varint(b, (uint64_t) k->content << 1 | k->plain);
        FOREACH_OP (op, d, op->kind == DELTA_RECOMPRESS)
                for (size_t i = 0; i < op->n_new; i++) {
                        const DeltaCluster *k = &d->clusters[op->first_new + i];

                        if (delta_coding(d) == DELTA_CODING_ZSTD) {
                                append_byte(b, k->place);
                                continue;
                        }
                        wire_append_varint(b, k->lookahead);
                        wire_append_varint(b, k->skip);
                }
}

static void write_header(const Delta *d, size_t n_ranges, size_t n_clusters, uint32_t table_size, uint8_t *p) {
        memset(p, 0, DELTA_HEADER_SIZE);
        memcpy(p, DELTA_MAGIC, 8);
        wire_put_u64(p + 8, d->old_size);
        wire_put_u64(p + 16, d->new_size);
        wire_put_u32(p + 24, d->unit);
        wire_put_u32(p + 28, (uint32_t) d->n_ops);
        wire_put_u32(p + 32, (uint32_t) n_ranges);
        wire_put_u32(p + 36, (uint32_t) n_clusters);
        wire_put_u64(p + 40, d->payload_size);
        wire_put_u32(p + 48, d->level);
        wire_put_u32(p + 52, d->cluster_size);
        wire_put_u32(p + 56, table_size);
        memcpy(p + 64, d->old_id.bytes, SHA256_SIZE);
        memcpy(p + 96, d->new_id.bytes, SHA256_SIZE);
        memcpy(p + 128, d->encoder, DELTA_ENCODER_SIZE);
}

int delta_write(Delta *d, Buffer *ret, Error *reterr) {
        _cleanup_buffer_ Buffer table = {};
        size_t n_ranges = 0, n_clusters = 0, bound, n;
        _cleanup_free_ char *packed = NULL;
        uint8_t header[DELTA_HEADER_SIZE];

        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                n_ranges += op->n_ranges;
        FOREACH_OP (op, d, op->kind == DELTA_RECOMPRESS)
                n_clusters += (size_t) op->n_old + op->n_new;
        write_ops(d, &table);
        write_ranges(d, &table);
        write_clusters(d, &table);
        FOREACH_OP (op, d, op->kind != DELTA_COPY)
                buffer_append(&table, op->digest, DELTA_DIGEST_SIZE);
        bound = ZSTD_compressBound(table.size);
        packed = xmalloc(bound);
        n = ZSTD_compress(packed, bound, table.size > 0 ? table.data : "", table.size, HEAD_LEVEL);
        if (ZSTD_isError(n))
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "zstd: %s", ZSTD_getErrorName(n));
        if (n_ranges > DELTA_RANGES_MAX || n_clusters > DELTA_CLUSTERS_MAX || table.size > DELTA_TABLE_MAX ||
            n > DELTA_HEAD_MAX - DELTA_HEADER_SIZE)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "delta: a head of %zu bytes", n);
        write_header(d, n_ranges, n_clusters, (uint32_t) table.size, header);
        buffer_append(ret, header, sizeof header);
        buffer_append(ret, packed, n);
        return 0;
}

int delta_format(Delta *d, Buffer *ret, Error *reterr) {
        const Check c = { .what = "delta", .reterr = reterr };
        int r;

        r = check_header(&c, d);
        if (r >= 0)
                r = check_ops(&c, d);
        return r < 0 ? r : delta_write(d, ret, reterr);
}
