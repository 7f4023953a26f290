/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <lzma.h>

#include "delta-decode.h"
#include "recompress.h"

/* Of LZMA's dictionary, which holds window and output: the same for every operation, so that it is made once. Only what
 * is used of it takes memory. */
#define DICTIONARY_SIZE (DELTA_WINDOW_MAX + DELTA_CONTENT_MAX)

struct DeltaDecoder {
        const Delta *delta;
        lzma_stream lzma;
        Recompress *encoder; /* NULL: the delta needs none */
        char *content;       /* of a RECOMPRESS: of its old clusters, then of its new ones */
        size_t content_size;
};

DeltaDecoder *delta_decoder_free(DeltaDecoder *c) {
        if (!c)
                return NULL;
        lzma_end(&c->lzma);
        recompress_free(c->encoder);
        free(c->content);
        free(c);
        return NULL;
}

static int damaged(Error *reterr, const DeltaOp *op, const char *what) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "delta: bytes %" PRIu64 " to %" PRIu64 ": %s", op->offset,
                         op->offset + op->size, what);
}

int delta_decoder_new(const Delta *d, DeltaDecoder **ret, Error *reterr) {
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = xnew(DeltaDecoder, 1);
        int r;

        *c = (DeltaDecoder){ .delta = d, .lzma = LZMA_STREAM_INIT };
        if (!isempty(d->encoder)) {
                RecompressOptions options = { .level = d->level, .cluster_size = d->cluster_size };

                if (!streq(d->encoder, RECOMPRESS_ENCODER))
                        return error_set(reterr, ENOTSUP, REFUSAL_MACHINE,
                                         "the delta was made with encoder %s, and this is %s", d->encoder,
                                         RECOMPRESS_ENCODER);
                r = recompress_self_test(d->level, reterr);
                if (r >= 0)
                        r = recompress_new(&options, &c->encoder, reterr);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(c);
        return 0;
}

/* The window is copied into LZMA's dictionary before anything comes out: ret_content may be the window. */
static int unpack_payload(DeltaDecoder *c, const DeltaOp *op, const void *window, const void *payload,
                          void *ret_content, Error *reterr) {
        lzma_options_lzma options = {
                .dict_size = DICTIONARY_SIZE,
                .preset_dict = window,
                .preset_dict_size = op->window,
                .lc = op->properties % 9,
                .lp = op->properties / 9 % 5,
                .pb = op->properties / 45,
        };
        const lzma_filter filters[] = { { LZMA_FILTER_LZMA1EXT, &options }, { LZMA_VLI_UNKNOWN, NULL } };
        lzma_ret status;

        lzma_set_ext_size(options, op->content);
        status = lzma_raw_decoder(&c->lzma, filters);
        if (status == LZMA_MEM_ERROR)
                abort(); /* as every allocation */
        if (status != LZMA_OK)
                return damaged(reterr, op, "LZMA does not take its properties");
        c->lzma.next_in = payload;
        c->lzma.avail_in = op->payload_size;
        c->lzma.next_out = ret_content;
        c->lzma.avail_out = op->content;
        status = lzma_code(&c->lzma, LZMA_FINISH);
        if (status != LZMA_STREAM_END || c->lzma.avail_in > 0 || c->lzma.avail_out > 0)
                return damaged(reterr, op, "cannot be unpacked");
        return 0;
}

static char *grow(char **buffer, size_t *size, size_t wanted) {
        if (wanted > *size) {
                free(*buffer);
                *buffer = xmalloc(wanted);
                *size = wanted;
        }
        return *buffer;
}

int delta_unpack_old(const Delta *d, const DeltaOp *op, const void *old, void *ret_window, Error *reterr) {
        const char *stored = old;
        char *window = ret_window;

        for (size_t i = 0; i < op->n_old; i++) {
                const DeltaCluster *k = &d->clusters[op->first_old + i];

                if (k->plain)
                        memcpy(window, stored, k->content);
                else {
                        int r = recompress_unpack(stored, k->stored, window, k->content, reterr);

                        if (r < 0)
                                return r;
                }
                stored += k->stored;
                window += k->content;
        }
        return 0;
}

int delta_pack_new(DeltaDecoder *c, const DeltaOp *op, const void *content, void *ret_output, Error *reterr) {
        const char *from = content;
        char *to = ret_output;

        for (size_t i = 0; i < op->n_new; i++) {
                const DeltaCluster *k = &c->delta->clusters[op->first_new + i];

                if (k->plain) {
                        memcpy(to, from, k->content);
                        memset(to + k->content, 0, k->stored - k->content);
                } else {
                        int r = recompress_cluster(c->encoder, from, (size_t) k->content + k->lookahead, k->content, to,
                                                   k->stored, reterr);

                        if (r < 0)
                                return r;
                }
                from += (size_t) k->content + k->skip;
                to += k->stored;
        }
        return 0;
}

int delta_decode(DeltaDecoder *c, const DeltaOp *op, const void *old, const void *payload, void *ret_output,
                 Error *reterr) {
        char *content;
        int r;

        if (op->kind == DELTA_PATCH)
                return unpack_payload(c, op, old, payload, ret_output, reterr);
        if (op->kind != DELTA_RECOMPRESS)
                return error_set(reterr, EINVAL, REFUSAL_SYSTEM, "there is nothing to unpack");
        content = grow(&c->content, &c->content_size, MAX(op->window, op->content));
        r = delta_unpack_old(c->delta, op, old, content, reterr);
        if (r >= 0)
                r = unpack_payload(c, op, content, payload, content, reterr);
        return r < 0 ? r : delta_pack_new(c, op, content, ret_output, reterr);
}
