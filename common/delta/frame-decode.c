/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <lzma.h>
#include <zstd.h>

#include "frame-decode.h"

struct FrameDecoder {
        ZSTD_DCtx *zstd;
        lzma_stream lzma;
};

FrameDecoder *frame_decoder_new(void) {
        FrameDecoder *d = xnew(FrameDecoder, 1);

        *d = (FrameDecoder){ .zstd = ZSTD_createDCtx(), .lzma = LZMA_STREAM_INIT };
        if (!d->zstd)
                abort(); /* as every allocation */
        return d;
}

FrameDecoder *frame_decoder_free(FrameDecoder *d) {
        if (!d)
                return NULL;
        ZSTD_freeDCtx(d->zstd);
        lzma_end(&d->lzma);
        free(d);
        return NULL;
}

static int damaged(const Frame *f, const char *why, Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                         "the frame at byte %" PRIu64 " of the image cannot be unpacked: %s", f->offset, why);
}

/* The same dictionary for every frame, so that it is made once; only what is used of it takes memory. */
static int decode_lzma(FrameDecoder *d, const Frame *f, const void *packed, void *ret_content, Error *reterr) {
        lzma_options_lzma options = {
                .dict_size = FRAME_SIZE_MAX, .lc = FRAME_LZMA_LC, .lp = FRAME_LZMA_LP, .pb = FRAME_LZMA_PB
        };
        const lzma_filter filters[] = { { LZMA_FILTER_LZMA1EXT, &options }, { LZMA_VLI_UNKNOWN, NULL } };
        lzma_ret status;

        lzma_set_ext_size(options, f->size);
        status = lzma_raw_decoder(&d->lzma, filters);
        if (status != LZMA_OK)
                abort(); /* the options are ours: it is memory that is missing */
        d->lzma.next_in = packed;
        d->lzma.avail_in = f->packed_size;
        d->lzma.next_out = ret_content;
        d->lzma.avail_out = f->size;
        status = lzma_code(&d->lzma, LZMA_FINISH);
        if (status != LZMA_STREAM_END || d->lzma.avail_in > 0 || d->lzma.avail_out > 0)
                return damaged(f, "LZMA", reterr);
        return 0;
}

int frame_decode(FrameDecoder *d, const Frame *f, const void *packed, void *ret_content, Error *reterr) {
        size_t n;

        if (f->codec == FRAME_LZMA)
                return decode_lzma(d, f, packed, ret_content, reterr);
        n = ZSTD_decompressDCtx(d->zstd, ret_content, f->size, packed, f->packed_size);
        if (ZSTD_isError(n))
                return damaged(f, ZSTD_getErrorName(n), reterr);
        return n == f->size ? 0 : damaged(f, "another size", reterr);
}
