/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "frame-index.h"
#include "wire.h"

/* zstd's own bound for what cannot be compressed (ZSTD_COMPRESSBOUND), with room for header and checksum. */
static uint64_t packed_size_max(uint32_t size) {
        return (uint64_t) size + (size >> 8) + 1024;
}

FrameIndex *frame_index_free(FrameIndex *index) {
        if (!index)
                return NULL;
        free(index->frames);
        free(index);
        return NULL;
}

FrameIndex *frame_index_new(void) {
        return xnew(FrameIndex, 1);
}

Frame *frame_index_add(FrameIndex *index, uint32_t size, FrameCodec codec) {
        Frame *f;

        GROW(index->frames, index->n_frames, index->n_allocated);
        f = &index->frames[index->n_frames++];
        *f = (Frame){ .offset = index->image_size, .size = size, .codec = codec };
        index->image_size += size;
        return f;
}

void frame_index_add_even(FrameIndex *index, uint64_t image_size, uint32_t frame_size, FrameCodec codec) {
        for (uint64_t left = image_size, n; left > 0; left -= n) {
                n = MIN(left, (uint64_t) frame_size);
                frame_index_add(index, (uint32_t) n, codec);
        }
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

void frame_index_largest(const FrameIndex *index, size_t *ret_size, size_t *ret_packed_size) {
        size_t size = 1, packed = 1;

        for (size_t i = 0; i < index->n_frames; i++) {
                size = MAX(size, (size_t) index->frames[i].size);
                packed = MAX(packed, (size_t) index->frames[i].packed_size);
        }
        *ret_size = size;
        *ret_packed_size = packed;
}

/* The image's size stands in front: only its last block may be one that is not whole. */
static int read_frame(WireReader *r, FrameIndex *index, uint64_t image_size, const char *what, Error *reterr) {
        uint64_t blocks = wire_read_varint(r), packed = wire_read_varint(r), left = image_size - index->image_size;
        const uint8_t *digest = wire_read_bytes(r, SHA256_SIZE);
        uint32_t size;
        Frame *f;

        if (r->failed)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: ends early", what);
        if (blocks == 0 || blocks > FRAME_SIZE_MAX / FRAME_BLOCK_SIZE || (blocks - 1) * FRAME_BLOCK_SIZE >= left)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: frame %zu has %" PRIu64 " blocks", what,
                                 index->n_frames, blocks);
        size = (uint32_t) MIN(blocks * FRAME_BLOCK_SIZE, left);
        if (packed >> 1 == 0 || packed >> 1 > packed_size_max(size))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: frame %zu has %" PRIu64 " packed bytes",
                                 what, index->n_frames, packed >> 1);
        f = frame_index_add(index, size, packed & 1 ? FRAME_LZMA : FRAME_ZSTD);
        f->packed_size = (uint32_t) (packed >> 1);
        memcpy(f->sha256.bytes, digest, SHA256_SIZE);
        return 0;
}

int frame_index_parse(const void *data, size_t size, const char *what, FrameIndex **ret, Error *reterr) {
        _cleanup_(frame_index_freep) FrameIndex *index = frame_index_new();
        WireReader reader = { .at = data, .end = (const uint8_t *) data + size };
        const uint8_t *magic = wire_read_bytes(&reader, strlen(FRAME_INDEX_MAGIC));
        uint64_t image_size = wire_read_varint(&reader), n = wire_read_varint(&reader);
        int r;

        if (!magic || memcmp(magic, FRAME_INDEX_MAGIC, strlen(FRAME_INDEX_MAGIC)) != 0 || reader.failed)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: not an index of frames", what);
        if (n > FRAME_INDEX_FRAMES_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: more than %" PRIu32 " frames", what,
                                 FRAME_INDEX_FRAMES_MAX);
        for (uint64_t i = 0; i < n; i++) {
                r = read_frame(&reader, index, image_size, what, reterr);
                if (r < 0)
                        return r;
        }
        if (reader.at != reader.end)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: goes on behind its end", what);
        if (image_size == 0 || index->image_size != image_size)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: frames of %" PRIu64 " bytes for an image of %" PRIu64, what, index->image_size,
                                 image_size);
        r = frame_index_sum(index, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(index);
        return 0;
}

void frame_index_format(const FrameIndex *index, Buffer *ret) {
        buffer_append(ret, FRAME_INDEX_MAGIC, strlen(FRAME_INDEX_MAGIC));
        wire_append_varint(ret, index->image_size);
        wire_append_varint(ret, index->n_frames);
        for (size_t i = 0; i < index->n_frames; i++) {
                const Frame *f = &index->frames[i];

                wire_append_varint(ret, (f->size + FRAME_BLOCK_SIZE - 1) / FRAME_BLOCK_SIZE);
                wire_append_varint(ret, (uint64_t) f->packed_size << 1 | (f->codec == FRAME_LZMA));
                buffer_append(ret, f->sha256.bytes, SHA256_SIZE);
        }
}
