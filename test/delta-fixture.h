/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small deltas with an operation of each kind, and the two images they are about. */

#include <lzma.h>

#include "delta-decode.h"
#include "delta.h"
#include "recompress.h"
#include "segment.h"

#define FIXTURE_LEVEL 9
#define FIXTURE_CLUSTER 16384

/* LZMA's content with what came before; the payload of an operation. */
static inline void fixture_payload(const void *window, size_t window_size, const void *content, size_t size,
                                   uint8_t properties, Buffer *ret) {
        lzma_options_lzma options;
        lzma_filter filters[] = { { LZMA_FILTER_LZMA1EXT, &options }, { LZMA_VLI_UNKNOWN, NULL } };
        size_t bound = size + size / 16 + 1024, n = 0;
        _cleanup_free_ uint8_t *packed = xmalloc(bound);

        assert_false(lzma_lzma_preset(&options, 6));
        options.preset_dict = window;
        options.preset_dict_size = (uint32_t) window_size;
        options.dict_size = (uint32_t) MAX(window_size + size, (size_t) LZMA_DICT_SIZE_MIN);
        options.lc = properties % 9;
        options.lp = properties / 9 % 5;
        options.pb = properties / 45;
        options.ext_flags = 0;
        lzma_set_ext_size(options, size);
        assert_int_equal(lzma_raw_buffer_encode(filters, NULL, content, size, packed, &n, bound), LZMA_OK);
        buffer_append(ret, packed, n);
}

/* Words of few kinds: what lz4 and LZMA have something to do with. */
static inline void fixture_text(char *p, size_t size, uint32_t seed) {
        for (size_t i = 0; i < size; i++) {
                if (i % 8 == 0)
                        seed = seed * 1103515245 + 12345;
                p[i] = (char) ('a' + (seed >> (16 + i % 8)) % 7);
        }
}

typedef struct DeltaFixture {
        Buffer old, new, payload, head;
        Delta *delta;
} DeltaFixture;

static inline void delta_fixture_done(DeltaFixture *f) {
        buffer_done(&f->old);
        buffer_done(&f->new);
        buffer_done(&f->payload);
        buffer_done(&f->head);
        delta_free(f->delta);
}
#define _cleanup_delta_fixture_ _cleanup_(delta_fixture_done)

/* Clusters of a file's content, behind what the buffer has. */
static inline void fixture_clusters(const char *content, size_t size, Buffer *image, DeltaCluster *ret,
                                    uint32_t *ret_n) {
        RecompressOptions options = { .level = FIXTURE_LEVEL, .cluster_size = FIXTURE_CLUSTER };
        _cleanup_(recompress_freep) Recompress *c = NULL;
        char stored[FIXTURE_CLUSTER];

        assert_int_equal(recompress_new(&options, &c, NULL), 0);
        for (size_t at = 0; at < size; (*ret_n)++) {
                size_t n = MIN(size - at, (size_t) 20000);

                /* Not what liberofs would choose; the encoder takes any length that fits into whole blocks. */
                for (; n > 0; n--)
                        for (uint32_t blocks = 1; blocks <= 4; blocks++)
                                if (recompress_cluster(c, content + at, n, n, stored, blocks * 4096, NULL) >= 0) {
                                        buffer_append(image, stored, blocks * 4096);
                                        ret[*ret_n] =
                                                (DeltaCluster){ .stored = blocks * 4096, .content = (uint32_t) n };
                                        at += n;
                                        goto next;
                                }
                fail_msg("no cluster can be made");
        next:;
        }
}

/* old: 8 blocks, then clusters of 60,000 bytes. new: blocks 4 to 7 of old, a patch of 3 blocks, clusters of the changed
 * content, 1 block without a window. */
static inline void delta_fixture(DeltaFixture *f) {
        const uint8_t code = (2 * 5 + 2) * 9, text = 3;
        enum { CONTENT = 60000 };
        _cleanup_free_ char *a = xmalloc(CONTENT), *b = NULL, *page = xmalloc(8 * 4096);
        uint32_t n_old = 0, n_new = 0;
        Delta *d = xnew(Delta, 1);
        DeltaOp *op;

        *f = (DeltaFixture){ .delta = d };
        *d = (Delta){
                .unit = 4096, .level = FIXTURE_LEVEL, .cluster_size = FIXTURE_CLUSTER, .n_ops = 4, .n_ranges = 3
        };
        d->ops = xnew(DeltaOp, 4);
        d->ranges = xnew(DeltaRange, 3);
        d->clusters = xnew(DeltaCluster, 64);
        strcpy(d->encoder, RECOMPRESS_ENCODER);
        memset(d->old_id.bytes, 1, SHA256_SIZE);
        memset(d->new_id.bytes, 2, SHA256_SIZE);

        fixture_text(page, (size_t) 8 * 4096, 1);
        fixture_text(a, CONTENT, 2);
        b = xmemdup(a, CONTENT);
        memcpy(b + 30000, "changed", 7);
        buffer_append(&f->old, page, (size_t) 8 * 4096);
        fixture_clusters(a, CONTENT, &f->old, d->clusters, &n_old);
        d->old_size = f->old.size;

        op = &d->ops[0];
        *op = (DeltaOp){ .kind = DELTA_COPY, .size = (size_t) 4 * 4096, .source = (size_t) 4 * 4096 };
        buffer_append(&f->new, page + (size_t) 4 * 4096, (size_t) 4 * 4096);

        op = &d->ops[1];
        *op = (DeltaOp){
                .kind = DELTA_PATCH, .size = (size_t) 3 * 4096, .content = 3 * 4096, .n_ranges = 2, .properties = text
        };
        d->ranges[0] = (DeltaRange){ .offset = (size_t) 2 * 4096, .size = (size_t) 2 * 4096 };
        d->ranges[1] = (DeltaRange){ .offset = 0, .size = 4096 };
        {
                _cleanup_free_ char *window = xmalloc((size_t) 3 * 4096), *output = xmalloc((size_t) 3 * 4096);

                memcpy(window, page + (size_t) 2 * 4096, (size_t) 2 * 4096);
                memcpy(window + (size_t) 2 * 4096, page, 4096);
                memcpy(output, page, (size_t) 3 * 4096);
                output[5000] = '!';
                fixture_payload(window, (size_t) 3 * 4096, output, (size_t) 3 * 4096, text, &f->payload);
                op->payload_size = (uint32_t) f->payload.size;
                delta_digest(output, (size_t) op->size, op->digest);
                buffer_append(&f->new, output, (size_t) op->size);
        }

        op = &d->ops[2];
        *op = (DeltaOp){ .kind = DELTA_RECOMPRESS,
                         .content = CONTENT,
                         .first_range = 2,
                         .n_ranges = 1,
                         .n_old = n_old,
                         .first_new = n_old,
                         .properties = code };
        d->ranges[2] = (DeltaRange){ .offset = (size_t) 8 * 4096, .size = f->old.size - (size_t) 8 * 4096 };
        {
                size_t at = f->new.size, before = f->payload.size;

                fixture_clusters(b, CONTENT, &f->new, d->clusters + n_old, &n_new);
                op->n_new = n_new;
                op->size = f->new.size - at;
                delta_digest(f->new.data + at, (size_t) op->size, op->digest);
                fixture_payload(a, CONTENT, b, CONTENT, code, &f->payload);
                op->payload_size = (uint32_t) (f->payload.size - before);
        }
        d->n_clusters = (size_t) n_old + n_new;

        op = &d->ops[3];
        *op = (DeltaOp){ .kind = DELTA_PATCH, .size = 4096, .content = 4096, .first_range = 3, .properties = text };
        {
                size_t before = f->payload.size;
                char block[4096];

                fixture_text(block, sizeof block, 3);
                fixture_payload(NULL, 0, block, sizeof block, text, &f->payload);
                op->payload_size = (uint32_t) (f->payload.size - before);
                delta_digest(block, sizeof block, op->digest);
                buffer_append(&f->new, block, sizeof block);
        }
        d->new_size = f->new.size;
        assert_int_equal(delta_format(d, &f->head, NULL), 0);
        assert_int_equal(d->payload_size, f->payload.size);
}

/* A frame of content, behind what the buffer has. */
static inline void fixture_segments(const char *content, size_t size, Buffer *image, DeltaCluster *ret,
                                    uint32_t *ret_n) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = NULL;
        _cleanup_free_ char *stored = xmalloc(SEGMENT_STORED_MAX);

        assert_int_equal(segment_encoder_new(SEGMENT_LEVEL_MIN, &c, NULL), 0);
        for (size_t at = 0; at < size; ++*ret_n) {
                size_t n = MIN(size - at, SEGMENT_CONTENT_MAX), stored_size = 0;
                unsigned place = (at == 0 ? SEGMENT_FIRST : 0U) | (at + n == size ? SEGMENT_LAST : 0U);

                memset(stored, 0, SEGMENT_STORED_MAX);
                assert_int_equal(segment_pack(c, content + at, n, place, stored, &stored_size, NULL), 0);
                if (place & SEGMENT_LAST)
                        stored_size += 100;
                buffer_append(image, stored, stored_size);
                ret[*ret_n] = (DeltaCluster){ .stored = (uint32_t) stored_size,
                                              .content = (uint32_t) n,
                                              .place = (uint8_t) place };
                at += n;
        }
}

/* old: 10,000 bytes, then a frame of two segments. new: 7,000 bytes from 1,000 on, a patch of 2,500 bytes, a frame of
 * the changed content, 999 bytes without a window. */
static inline void delta_segments_fixture(DeltaFixture *f) {
        const uint8_t code = (2 * 5 + 2) * 9, text = 3;
        enum { CONTENT = 300000, PAGE = 10000 };
        _cleanup_free_ char *a = xmalloc(CONTENT), *b = NULL, *page = xmalloc(PAGE), *changed = xmalloc(PAGE);
        uint32_t n_old = 0, n_new = 0;
        Delta *d = xnew(Delta, 1);
        size_t at;
        DeltaOp *op;

        *f = (DeltaFixture){ .delta = d };
        *d = (Delta){
                .unit = 1, .level = SEGMENT_LEVEL_MIN, .cluster_size = SEGMENT_CONTENT_MAX, .n_ops = 4, .n_ranges = 3
        };
        d->ops = xnew(DeltaOp, 4);
        d->ranges = xnew(DeltaRange, 3);
        d->clusters = xnew(DeltaCluster, 64);
        strcpy(d->encoder, SEGMENT_ENCODER);
        memset(d->old_id.bytes, 3, SHA256_SIZE);
        memset(d->new_id.bytes, 4, SHA256_SIZE);

        fixture_text(page, PAGE, 5);
        fixture_text(a, CONTENT, 6);
        b = xmemdup(a, CONTENT);
        memcpy(b + 270000, "changed", 7);
        buffer_append(&f->old, page, PAGE);
        fixture_segments(a, CONTENT, &f->old, d->clusters, &n_old);
        for (uint32_t i = 0; i < n_old; i++)
                d->clusters[i].place = 0;
        d->old_size = f->old.size;

        op = &d->ops[0];
        *op = (DeltaOp){ .kind = DELTA_COPY, .size = 7000, .source = 1000 };
        buffer_append(&f->new, page + 1000, 7000);

        op = &d->ops[1];
        *op = (DeltaOp){ .kind = DELTA_PATCH, .size = 2500, .content = 2500, .n_ranges = 2, .properties = text };
        d->ranges[0] = (DeltaRange){ .offset = 5001, .size = 2000 };
        d->ranges[1] = (DeltaRange){ .offset = 0, .size = 999 };
        memcpy(changed, page + 5001, 2000);
        memcpy(changed + 2000, page, 999);
        changed[700] = '!';
        {
                _cleanup_free_ char *window = xmalloc(2999);

                memcpy(window, page + 5001, 2000);
                memcpy(window + 2000, page, 999);
                fixture_payload(window, 2999, changed, 2500, text, &f->payload);
        }
        op->payload_size = (uint32_t) f->payload.size;
        delta_digest(changed, 2500, op->digest);
        buffer_append(&f->new, changed, 2500);

        op = &d->ops[2];
        *op = (DeltaOp){ .kind = DELTA_RECOMPRESS,
                         .content = CONTENT,
                         .first_range = 2,
                         .n_ranges = 1,
                         .n_old = n_old,
                         .first_new = n_old,
                         .properties = code };
        d->ranges[2] = (DeltaRange){ .offset = PAGE, .size = f->old.size - PAGE };
        at = f->new.size;
        fixture_segments(b, CONTENT, &f->new, d->clusters + n_old, &n_new);
        op->n_new = n_new;
        op->size = f->new.size - at;
        delta_digest(f->new.data + at, (size_t) op->size, op->digest);
        at = f->payload.size;
        fixture_payload(a, CONTENT, b, CONTENT, code, &f->payload);
        op->payload_size = (uint32_t) (f->payload.size - at);
        d->n_clusters = (size_t) n_old + n_new;

        op = &d->ops[3];
        *op = (DeltaOp){ .kind = DELTA_PATCH, .size = 999, .content = 999, .first_range = 3, .properties = text };
        at = f->payload.size;
        fixture_text(changed, 999, 7);
        fixture_payload(NULL, 0, changed, 999, text, &f->payload);
        op->payload_size = (uint32_t) (f->payload.size - at);
        delta_digest(changed, 999, op->digest);
        buffer_append(&f->new, changed, 999);

        d->new_size = f->new.size;
        assert_int_equal(delta_format(d, &f->head, NULL), 0);
        assert_int_equal(d->payload_size, f->payload.size);
}
