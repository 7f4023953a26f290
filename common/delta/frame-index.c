/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "frame-index.h"
#include "wire.h"

/* zstd's own bound for what cannot be compressed (ZSTD_COMPRESSBOUND), with room for header and checksum. */
static uint64_t packed_size_max(uint32_t size) {
        return (uint64_t) size + (size >> 8) + 1024;
}

static uint64_t frames_needed(uint64_t image_size, uint32_t frame_size) {
        return image_size / frame_size + (image_size % frame_size != 0);
}

FrameIndex *frame_index_free(FrameIndex *index) {
        if (!index)
                return NULL;
        free(index->frames);
        free(index);
        return NULL;
}

FrameIndex *frame_index_new(uint64_t image_size, uint32_t frame_size) {
        FrameIndex *index = xnew(FrameIndex, 1);

        *index = (FrameIndex){ .image_size = image_size,
                               .frame_size = frame_size,
                               .n_frames = (size_t) frames_needed(image_size, frame_size) };
        index->frames = xnew(Frame, MAX(index->n_frames, 1U));
        return index;
}

uint32_t frame_index_size(const FrameIndex *index, size_t i) {
        uint64_t begin = (uint64_t) i * index->frame_size;

        return (uint32_t) MIN((uint64_t) index->frame_size, index->image_size - begin);
}

int frame_index_sum(FrameIndex *index, Error *reterr) {
        uint64_t at = 0;

        for (size_t i = 0; i < index->n_frames; i++) {
                index->frames[i].packed_offset = at;
                if (__builtin_add_overflow(at, index->frames[i].packed_size, &at))
                        return error_set(reterr, EOVERFLOW, REFUSAL_TOO_LARGE, "the pack is larger than any file");
        }
        index->packed_size = at;
        return 0;
}

int frame_index_parse(const void *data, size_t size, const char *what, FrameIndex **ret, Error *reterr) {
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        const uint8_t *p = data;
        uint64_t image_size, wanted;
        uint32_t frame_size, n;
        int r;

        if (size < FRAME_INDEX_HEADER_SIZE || memcmp(p, FRAME_INDEX_MAGIC, 8) != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: not an index of frames", what);
        image_size = wire_get_u64(p + 8);
        frame_size = wire_get_u32(p + 16);
        n = wire_get_u32(p + 20);
        if (frame_size < FRAME_SIZE_MIN || frame_size > FRAME_SIZE_MAX || frame_size % FRAME_SIZE_MIN != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: a frame size of %" PRIu32 " bytes", what,
                                 frame_size);
        if (n > FRAME_INDEX_FRAMES_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: more than %" PRIu32 " frames", what,
                                 FRAME_INDEX_FRAMES_MAX);
        wanted = FRAME_INDEX_HEADER_SIZE + (uint64_t) n * FRAME_INDEX_ENTRY_SIZE;
        if (image_size == 0 || frames_needed(image_size, frame_size) != n || size != wanted)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: %" PRIu32 " frames of %" PRIu32 " bytes, an image of %" PRIu64
                                 " and an index of %zu "
                                 "bytes do not belong together",
                                 what, n, frame_size, image_size, size);
        index = frame_index_new(image_size, frame_size);
        p += FRAME_INDEX_HEADER_SIZE;
        for (size_t i = 0; i < n; i++, p += FRAME_INDEX_ENTRY_SIZE) {
                index->frames[i].packed_size = wire_get_u32(p);
                memcpy(index->frames[i].sha256.bytes, p + 4, SHA256_SIZE);
                if (index->frames[i].packed_size == 0 ||
                    index->frames[i].packed_size > packed_size_max(frame_index_size(index, i)))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "%s: frame %zu has %" PRIu32 " packed bytes", what, i,
                                         index->frames[i].packed_size);
        }
        r = frame_index_sum(index, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(index);
        return 0;
}

void frame_index_format(const FrameIndex *index, Buffer *ret) {
        buffer_append(ret, FRAME_INDEX_MAGIC, 8);
        wire_append_u64(ret, index->image_size);
        wire_append_u32(ret, index->frame_size);
        wire_append_u32(ret, (uint32_t) index->n_frames);
        for (size_t i = 0; i < index->n_frames; i++) {
                wire_append_u32(ret, index->frames[i].packed_size);
                buffer_append(ret, index->frames[i].sha256.bytes, SHA256_SIZE);
        }
}
