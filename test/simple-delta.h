/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A delta between two buffers of one length, without any wit: equal units are copied, the rest is packed in pieces with
 * the same place of the old one before them. */

#include "delta-fixture.h"

#define SIMPLE_PIECE ((size_t) 32 << 10)

/* LARGE begins with what a device needs most memory for: pieces and what came before them are as large as they may be.
 */
typedef enum SimpleKind { SIMPLE_SMALL, SIMPLE_LARGE } SimpleKind;

/* Where the rows of equal and of different units end. */
static inline size_t simple_row(const Buffer *old, const Buffer *new, size_t at, size_t step, bool *ret_equal) {
        size_t end = at;

        *ret_equal = memcmp(old->data + at, new->data + at, MIN(step, new->size - at)) == 0;
        while (end < new->size) {
                size_t n = MIN(step, new->size - end);

                if ((memcmp(old->data + end, new->data + end, n) == 0) != *ret_equal ||
                    (!*ret_equal && end - at >= SIMPLE_PIECE))
                        break;
                end += n;
        }
        return end;
}

/* Of the old one, around what stands at the same place. */
static inline DeltaRange simple_window(const Buffer *old, size_t at, size_t size, SimpleKind kind) {
        size_t wanted = kind == SIMPLE_LARGE ? MIN(DELTA_WINDOW_MAX, old->size) : size;

        return (DeltaRange){ .offset = MIN(at, old->size - wanted), .size = wanted };
}

/* The head, then the payload. Both buffers have the same size, with unit 4096 a multiple of it. */
static inline size_t simple_delta(const Buffer *old, const Buffer *new, uint32_t unit, const Sha256 *old_id,
                                  const Sha256 *new_id, SimpleKind kind, Buffer *ret) {
        size_t step = MAX(unit, 64U), n = new->size / step + 1;
        _cleanup_(delta_freep) Delta *d = xnew(Delta, 1);
        _cleanup_buffer_ Buffer head = {}, payload = {};

        assert_int_equal(old->size, new->size);
        d->unit = unit;
        d->old_size = old->size;
        d->new_size = new->size;
        d->old_id = *old_id;
        d->new_id = *new_id;
        d->ops = xnew(DeltaOp, n);
        d->ranges = xnew(DeltaRange, n);
        for (size_t at = 0, end; at < new->size; at = end) {
                DeltaOp *op = &d->ops[d->n_ops++];
                size_t before = payload.size;
                DeltaRange window;
                bool equal;

                end = simple_row(old, new, at, step, &equal);
                if (kind == SIMPLE_LARGE && at < 2 * DELTA_PIECE_MAX) {
                        end = MIN(at + DELTA_PIECE_MAX, new->size);
                        equal = false;
                }
                op->size = end - at;
                if (equal) {
                        op->kind = DELTA_COPY;
                        op->source = at;
                        continue;
                }
                op->kind = DELTA_PATCH;
                op->content = (uint32_t) op->size;
                op->properties = 3;
                op->first_range = (uint32_t) d->n_ranges;
                op->n_ranges = 1;
                window = simple_window(old, at, end - at, end - at == DELTA_PIECE_MAX ? SIMPLE_LARGE : SIMPLE_SMALL);
                d->ranges[d->n_ranges++] = window;
                fixture_payload(old->data + window.offset, (size_t) window.size, new->data + at, (size_t) op->size, 3,
                                &payload);
                op->payload_size = (uint32_t) (payload.size - before);
                delta_digest(new->data + at, (size_t) op->size, op->digest);
        }
        assert_int_equal(delta_format(d, &head, NULL), 0);
        buffer_append(ret, head.data, head.size);
        buffer_append(ret, payload.data, payload.size);
        return head.size;
}
