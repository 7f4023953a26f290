/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every frame is made by one call of the pinned library from the same bytes, and frames are joined in their order: the
 * pack does not depend on how many processes made it.
 *
 * The level: images are lz4 already, so 9, 12 and 15 differ by less than a tenth of a percent (72 % of a minimal image,
 * 75 % of a server's); 19 takes another 3 to 4 % off every full download, for 0.1 s of processor per MiB and release. A
 * device reads all at the same speed, with a window of one frame. */

#include <zstd.h>

#include "io.h"
#include "parallel.h"
#include "publish.h"

#define LEVEL 19

typedef struct Pack {
        int image_fd, pack_fd;
        uint64_t image_size, pack_size;
        /* The worker's own: made at its first frame. */
        ZSTD_CCtx *context;
        char *frame;

        FrameIndex *index;
        Hasher *hasher;
        Progress *progress;
} Pack;

static void pack_done(Pack *p) {
        ZSTD_freeCCtx(p->context);
        free(p->frame);
        frame_index_free(p->index);
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

        if (p->context)
                return 0;
        p->context = ZSTD_createCCtx();
        if (!p->context)
                abort(); /* as every allocation */
        p->frame = xmalloc(PUBLISH_FRAME_SIZE);
        for (size_t i = 0; i < ELEMENTSOF(wanted); i++) {
                size_t n = ZSTD_CCtx_setParameter(p->context, wanted[i].parameter, wanted[i].value);

                if (ZSTD_isError(n))
                        return zstd_error(n, reterr);
        }
        return 0;
}

/* The digest of the content, then the frame. */
static int compress_frame(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        Pack *p = userdata;
        uint64_t offset = (uint64_t) item * PUBLISH_FRAME_SIZE;
        size_t size = (size_t) MIN(p->image_size - offset, (uint64_t) PUBLISH_FRAME_SIZE),
               bound = ZSTD_compressBound(size), n;
        _cleanup_buffer_ Buffer b = {};
        Sha256 digest;
        int r;

        r = prepare(p, reterr);
        if (r >= 0)
                r = io_pread_all(p->image_fd, p->frame, size, offset, reterr);
        if (r < 0)
                return error_prefix(reterr, "image");
        sha256_buffer(p->frame, size, &digest);
        b.allocated = sizeof(digest) + bound + 1;
        b.data = xmalloc(b.allocated);
        memcpy(b.data, &digest, sizeof(digest));
        n = ZSTD_compress2(p->context, b.data + sizeof(digest), bound, p->frame, size);
        if (ZSTD_isError(n))
                return zstd_error(n, reterr);
        b.size = sizeof(digest) + n;
        b.data[b.size] = 0;
        *ret = b;
        b = (Buffer){};
        return 0;
}

static int append_frame(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        Pack *p = userdata;
        size_t packed = size - SHA256_SIZE;
        int r;

        if (item < p->index->n_frames) {
                Frame *f = p->index->frames + item;

                memcpy(f->sha256.bytes, data, SHA256_SIZE);
                f->packed_size = (uint32_t) packed;
                progress_advance(p->progress, frame_index_size(p->index, item));
        }
        data += SHA256_SIZE;
        r = io_write_all(p->pack_fd, data, packed, reterr);
        if (r < 0)
                return error_prefix(reterr, "pack");
        hasher_update(p->hasher, data, packed);
        p->pack_size += packed;
        return 0;
}

int pack_write(int image_fd, uint64_t image_size, int pack_fd, unsigned workers, Progress *progress,
               FrameIndex **ret_index, uint64_t *ret_size, Sha256 *ret_sha256, Error *reterr) {
        _cleanup_(pack_done) Pack p = { .image_fd = image_fd,
                                        .pack_fd = pack_fd,
                                        .image_size = image_size,
                                        .hasher = hasher_new(),
                                        .progress = progress };
        int r;

        if (image_size > DESCRIPTION_IMAGE_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "an image of %" PRIu64 " bytes", image_size);
        p.index = frame_index_new(image_size, (uint32_t) PUBLISH_FRAME_SIZE);
        progress_total(progress, image_size);
        /* zstd takes a file without any frame for one that was cut off: an empty image is one empty frame. */
        r = parallel_run_workers(workers, MAX(p.index->n_frames, (size_t) 1), compress_frame, append_frame, &p, reterr);
        if (r >= 0)
                r = frame_index_sum(p.index, reterr);
        if (r < 0)
                return r;
        *ret_size = p.pack_size;
        hasher_final(p.hasher, ret_sha256);
        if (ret_index)
                *ret_index = TAKE_PTR(p.index);
        return 0;
}
