/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every frame is made by one call of a pinned library from the same bytes, and frames are joined in their order: the
 * pack does not depend on how many processes made it.
 *
 * zstd's level: images are lz4 already, so 9, 12 and 15 differ by less than a tenth of a percent (72 % of a minimal
 * image, 75 % of a server's); 19 takes another 3 to 4 % off every full download, for 0.1 s of processor per MiB and
 * release. LZMA takes another 10 % off, in the same time here; a device unpacks 100 MB/s of it instead of 400. */

#include <lzma.h>
#include <zstd.h>

#include "frame-decode.h"
#include "io.h"
#include "parallel.h"
#include "publish.h"

#define LEVEL 19
#define LZMA_LEVEL (9 | LZMA_PRESET_EXTREME)
/* Before each frame of what a worker makes: its codec, and the digest of its content. */
#define HEAD_SIZE (1 + SHA256_SIZE)

typedef struct Pack {
        int image_fd, pack_fd;
        /* The worker's own: made at its first frame. */
        ZSTD_CCtx *zstd;
        lzma_stream lzma;
        char *content;

        FrameIndex *index; /* borrowed */
        Hasher *hasher;
        Progress *progress;
} Pack;

static void pack_done(Pack *p) {
        ZSTD_freeCCtx(p->zstd);
        lzma_end(&p->lzma);
        free(p->content);
        hasher_free(p->hasher);
}

static int zstd_error(size_t code, Error *reterr) {
        return error_set(reterr, EIO, REFUSAL_SYSTEM, "zstd: %s", ZSTD_getErrorName(code));
}

static int prepare(Pack *p, Error *reterr) {
        static const struct {
                ZSTD_cParameter parameter;
                int value;
        } wanted[] = {
                { ZSTD_c_compressionLevel, LEVEL },
                { ZSTD_c_contentSizeFlag, 1 },
                { ZSTD_c_checksumFlag, 1 },
        };

        if (p->zstd)
                return 0;
        p->zstd = ZSTD_createCCtx();
        if (!p->zstd)
                abort(); /* as every allocation */
        p->content = xmalloc(FRAME_SIZE_MAX);
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
                size_t n = ZSTD_CCtx_setParameter(p->zstd, wanted[i].parameter, wanted[i].value);

                if (ZSTD_isError(n))
                        return zstd_error(n, reterr);
        }
        return 0;
}

/* 1: does not become smaller. */
static int compress_lzma(Pack *p, size_t size, void *ret, size_t *ret_size, Error *reterr) {
        lzma_options_lzma options;
        const lzma_filter filters[] = { { LZMA_FILTER_LZMA1EXT, &options }, { LZMA_VLI_UNKNOWN, NULL } };
        lzma_ret status;

        lzma_lzma_preset(&options, LZMA_LEVEL);
        options.dict_size = FRAME_SIZE_MAX;
        options.lc = FRAME_LZMA_LC;
        options.lp = FRAME_LZMA_LP;
        options.pb = FRAME_LZMA_PB;
        options.ext_flags = 0;
        lzma_set_ext_size(options, size);
        status = lzma_raw_encoder(&p->lzma, filters);
        if (status == LZMA_MEM_ERROR)
                abort(); /* as every allocation */
        if (status == LZMA_OK) {
                p->lzma.next_in = (const uint8_t *) p->content;
                p->lzma.avail_in = size;
                p->lzma.next_out = ret;
                p->lzma.avail_out = size;
                status = lzma_code(&p->lzma, LZMA_FINISH);
        }
        if (status == LZMA_OK)
                return 1;
        if (status != LZMA_STREAM_END)
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "LZMA: error %u", (unsigned) status);
        *ret_size = size - p->lzma.avail_out;
        return 0;
}

static int compress_frame(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        Pack *p = userdata;
        const Frame *f = &p->index->frames[item];
        size_t bound = ZSTD_compressBound(f->size), n = 0;
        FrameCodec codec = f->codec;
        _cleanup_buffer_ Buffer b = {};
        Sha256 digest;
        char *packed;
        int r;

        r = prepare(p, reterr);
        if (r >= 0)
                r = io_pread_all(p->image_fd, p->content, f->size, f->offset, reterr);
        if (r < 0)
                return error_prefix(reterr, "image");
        sha256_buffer(p->content, f->size, &digest);
        b.allocated = HEAD_SIZE + bound + 1;
        b.data = xmalloc(b.allocated);
        packed = b.data + HEAD_SIZE;
        if (codec == FRAME_LZMA) {
                r = compress_lzma(p, f->size, packed, &n, reterr);
                if (r < 0)
                        return r;
                codec = r > 0 ? FRAME_ZSTD : FRAME_LZMA;
        }
        if (codec == FRAME_ZSTD)
                n = ZSTD_compress2(p->zstd, packed, bound, p->content, f->size);
        if (ZSTD_isError(n))
                return zstd_error(n, reterr);
        b.data[0] = (char) codec;
        memcpy(b.data + 1, &digest, sizeof digest);
        b.size = HEAD_SIZE + n;
        b.data[b.size] = 0;
        *ret = b;
        b = (Buffer){};
        return 0;
}

static int append_frame(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        Pack *p = userdata;
        Frame *f = &p->index->frames[item];
        int r;

        f->codec = data[0] == FRAME_LZMA ? FRAME_LZMA : FRAME_ZSTD;
        memcpy(f->sha256.bytes, data + 1, SHA256_SIZE);
        f->packed_size = (uint32_t) (size - HEAD_SIZE);
        progress_advance(p->progress, f->size);
        r = io_write_all(p->pack_fd, data + HEAD_SIZE, f->packed_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "pack");
        hasher_update(p->hasher, data + HEAD_SIZE, f->packed_size);
        return 0;
}

int pack_write(int image_fd, FrameIndex *index, int pack_fd, unsigned workers, Progress *progress, Sha256 *ret_sha256,
               Error *reterr) {
        _cleanup_(pack_done) Pack p = { .image_fd = image_fd,
                                        .pack_fd = pack_fd,
                                        .lzma = LZMA_STREAM_INIT,
                                        .index = index,
                                        .hasher = hasher_new(),
                                        .progress = progress };
        int r;

        if (index->image_size > DESCRIPTION_IMAGE_SIZE_MAX || index->n_frames > FRAME_INDEX_FRAMES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "an image of %" PRIu64 " bytes", index->image_size);
        progress_total(progress, index->image_size);
        r = parallel_run_workers(workers, index->n_frames, compress_frame, append_frame, &p, reterr);
        if (r >= 0)
                r = frame_index_sum(index, reterr);
        if (r < 0)
                return r;
        hasher_final(p.hasher, ret_sha256);
        return 0;
}
