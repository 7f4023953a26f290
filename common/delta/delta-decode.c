/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <lzma.h>

#include "delta-decode.h"
#include "recompress.h"
#include "segment.h"

/* Of LZMA's dictionary, which holds window and output: the same for every operation, so that it is made once. Only what
 * is used of it takes memory. */
#define DICTIONARY_SIZE (DELTA_WINDOW_MAX + DELTA_CONTENT_MAX)

struct DeltaDecoder {
        const Delta *delta;
        lzma_stream lzma;
        Recompress *lz4; /* NULL: the delta needs none. That of zstd is there only while it works: it is large. */
        char *content;   /* of a RECOMPRESS: of its old clusters, then of its new ones */
        size_t content_size;
};

DeltaDecoder *delta_decoder_free(DeltaDecoder *c) {
        if (!c)
                return NULL;
        lzma_end(&c->lzma);
        recompress_free(c->lz4);
        free(c->content);
        free(c);
        return NULL;
}

static int damaged(Error *reterr, const DeltaOp *op, const char *what) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "delta: bytes %" PRIu64 " to %" PRIu64 ": %s", op->offset,
                         op->offset + op->size, what);
}

int delta_check_encoder(const Delta *d, Error *reterr) {
        DeltaCoding coding = delta_coding(d);
        const char *ours = coding == DELTA_CODING_ZSTD ? SEGMENT_ENCODER : RECOMPRESS_ENCODER;

        if (coding == DELTA_CODING_NONE)
                return 0;
        if (!streq(d->encoder, ours))
                return error_set(reterr, ENOTSUP, REFUSAL_MACHINE, "the delta needs the encoder %s, this one is %s",
                                 d->encoder, ours);
        return coding == DELTA_CODING_ZSTD ? segment_self_test(d->level, reterr)
                                           : recompress_self_test(d->level, reterr);
}

int delta_decoder_new(const Delta *d, DeltaDecoder **ret, Error *reterr) {
        _cleanup_(delta_decoder_freep) DeltaDecoder *c = xnew(DeltaDecoder, 1);
        const RecompressOptions options = { .level = d->level, .cluster_size = d->cluster_size };
        int r;

        *c = (DeltaDecoder){ .delta = d, .lzma = LZMA_STREAM_INIT };
        r = delta_check_encoder(d, reterr);
        if (r >= 0 && delta_coding(d) == DELTA_CODING_LZ4)
                r = recompress_new(&options, &c->lz4, reterr);
        if (r < 0)
                return r;
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

static void reserve_content(DeltaDecoder *c, size_t size) {
        if (size <= c->content_size)
                return;
        free(c->content);
        c->content = xmalloc(size);
        c->content_size = size;
}

int delta_unpack_old(const Delta *d, const DeltaOp *op, const void *old, void *ret_window, Error *reterr) {
        bool lz4 = delta_coding(d) == DELTA_CODING_LZ4;
        const char *stored = old;
        char *window = ret_window;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < op->n_old; i++) {
                const DeltaCluster *k = &d->clusters[op->first_old + i];

                if (k->plain)
                        memcpy(window, stored, k->content);
                else if (lz4)
                        r = recompress_unpack(stored, k->stored, window, k->content, reterr);
                else
                        r = segment_unpack(stored, k->stored, window, k->content, reterr);
                stored += k->stored;
                window += k->content;
        }
        return r;
}

static int pack_segment(SegmentEncoder *zstd, const DeltaCluster *k, const char *content, char *stored, char *buffer,
                        Error *reterr) {
        size_t n = 0;
        int r;

        r = segment_pack(zstd, content, k->content, k->place, buffer, &n, reterr);
        if (r < 0)
                return r;
        if (n > k->stored)
                return error_set(reterr, ESTALE, REFUSAL_DIFFERENT,
                                 "the encoder made a segment of %zu instead of %" PRIu32 " bytes", n, k->stored);
        memcpy(stored, buffer, n);
        memset(stored + n, 0, k->stored - n);
        return 0;
}

static void pack_plain(const DeltaCluster *k, const char *content, char *stored) {
        memcpy(stored, content, k->content);
        memset(stored + k->content, 0, k->stored - k->content);
}

static int pack_segments(DeltaDecoder *c, const DeltaOp *op, const char *content, char *output, Error *reterr) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *zstd = NULL;
        _cleanup_free_ char *buffer = xmalloc(SEGMENT_STORED_MAX);
        int r;

        /* LZMA's dictionary and zstd's tables are not needed at once. */
        lzma_end(&c->lzma);
        r = segment_encoder_new(c->delta->level, &zstd, reterr);
        for (size_t i = 0; r >= 0 && i < op->n_new; i++) {
                const DeltaCluster *k = &c->delta->clusters[op->first_new + i];

                if (k->plain)
                        pack_plain(k, content, output);
                else
                        r = pack_segment(zstd, k, content, output, buffer, reterr);
                content += (size_t) k->content + k->skip;
                output += k->stored;
        }
        return r;
}

static int pack_clusters(DeltaDecoder *c, const DeltaOp *op, const char *content, char *output, Error *reterr) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < op->n_new; i++) {
                const DeltaCluster *k = &c->delta->clusters[op->first_new + i];

                if (k->plain)
                        pack_plain(k, content, output);
                else
                        r = recompress_cluster(c->lz4, content, (size_t) k->content + k->lookahead, k->content, output,
                                               k->stored, reterr);
                content += (size_t) k->content + k->skip;
                output += k->stored;
        }
        return r;
}

int delta_pack_new(DeltaDecoder *c, const DeltaOp *op, const void *content, void *ret_output, Error *reterr) {
        if (delta_coding(c->delta) == DELTA_CODING_ZSTD)
                return pack_segments(c, op, content, ret_output, reterr);
        return pack_clusters(c, op, content, ret_output, reterr);
}

int delta_decode(DeltaDecoder *c, const DeltaOp *op, const void *old, const void *payload, void *ret_output,
                 Error *reterr) {
        int r;

        if (op->kind == DELTA_PATCH)
                return unpack_payload(c, op, old, payload, ret_output, reterr);
        if (op->kind != DELTA_RECOMPRESS)
                return error_set(reterr, EINVAL, REFUSAL_SYSTEM, "there is nothing to unpack");
        reserve_content(c, MAX(op->window, op->content));
        r = delta_unpack_old(c->delta, op, old, c->content, reterr);
        if (r >= 0)
                r = unpack_payload(c, op, c->content, payload, c->content, reterr);
        return r < 0 ? r : delta_pack_new(c, op, c->content, ret_output, reterr);
}
