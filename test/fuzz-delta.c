/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A delta: the head as it stands in the input, or, if that does not begin as one, with the rest of the input as its
 * unpacked table; then each operation with the input as old image and as payload. */

#include <zstd.h>

#include "delta-decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool x) {
        if (!x)
                abort();
}

/* zstd would keep the fuzzer from the table's numbers. */
static void make_head(const uint8_t *data, size_t size, Buffer *ret) {
        size_t table_size = size - DELTA_HEADER_SIZE, bound = ZSTD_compressBound(table_size), n;
        _cleanup_free_ char *packed = xmalloc(bound);

        n = ZSTD_compress(packed, bound, data + DELTA_HEADER_SIZE, table_size, 1);
        buffer_append(ret, data, DELTA_HEADER_SIZE);
        memcpy(ret->data, DELTA_MAGIC, 8);
        for (size_t i = 0; i < 4; i++)
                ret->data[56 + i] = (char) (table_size >> 8 * i);
        memset(ret->data + 60, 0, 4);
        buffer_append(ret, packed, n);
}

static void run_ops(const Delta *d, const uint8_t *data, size_t size) {
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = NULL;
        size_t ran = 0;

        if (delta_decoder_new(d, &c, NULL) < 0)
                return;
        for (size_t i = 0; i < d->n_ops && ran < 4; i++) {
                const DeltaOp *op = &d->ops[i];
                _cleanup_free_ char *old = NULL, *payload = NULL, *output = NULL;
                size_t old_size = delta_op_old_size(d, op);

                if (op->kind == DELTA_COPY)
                        continue;
                /* Of exactly those sizes, so that a byte too far is seen. */
                old = xcalloc(MAX(old_size, 1U), 1);
                payload = xcalloc(op->payload_size, 1);
                output = xmalloc((size_t) op->size);
                memcpy(old, data, MIN(size, old_size));
                memcpy(payload, data, MIN(size, (size_t) op->payload_size));
                (void) delta_decode(c, op, old, payload, output, NULL);
                ran++;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(delta_freep) Delta *d = NULL, *again = NULL;
        _cleanup_buffer_ Buffer head = {}, second = {};

        if (size > DELTA_HEADER_SIZE && data[0] != DELTA_MAGIC[0])
                make_head(data, size, &head);
        else if (size > 0)
                buffer_append(&head, data, size);
        if (delta_parse(head.data ?: "", head.size, "input", &d, NULL) < 0)
                return 0;
        require(delta_format(d, &second, NULL) == 0);
        require(delta_parse(second.data, second.size, "again", &again, NULL) == 0);
        require(again->n_ops == d->n_ops && memcmp(again->ops, d->ops, d->n_ops * sizeof(DeltaOp)) == 0);
        run_ops(d, data, size);
        return 0;
}
