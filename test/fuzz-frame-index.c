/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An index of frames. What is accepted must come back the same from what is written of it; then its first frames are
 * unpacked, with the input as what is packed. */

#include "frame-decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool x) {
        if (!x)
                abort();
}

static void unpack(const FrameIndex *index, const uint8_t *data, size_t size) {
        _cleanup_(frame_decoder_freep) FrameDecoder *decoder = frame_decoder_new();

        for (size_t i = 0; i < MIN(index->n_frames, (size_t) 4); i++) {
                const Frame *f = &index->frames[i];
                /* Of exactly those sizes, so that a byte too far is seen. */
                _cleanup_free_ char *packed = xcalloc(f->packed_size, 1), *content = xmalloc(f->size);

                memcpy(packed, data, MIN(size, (size_t) f->packed_size));
                (void) frame_decode(decoder, f, packed, content, NULL);
                /* LZMA begins with a zero. */
                packed[0] = 0;
                (void) frame_decode(decoder, f, packed, content, NULL);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        _cleanup_buffer_ Buffer text = {};
        uint64_t at = 0, packed = 0;

        if (frame_index_parse(data, size, "input", &index, NULL) < 0)
                return 0;
        require(index->n_frames > 0 && size <= FRAME_INDEX_SIZE_MAX);
        for (size_t i = 0; i < index->n_frames; i++) {
                const Frame *f = &index->frames[i];

                require(f->offset == at && f->size > 0 && f->size <= FRAME_SIZE_MAX);
                require(f->packed_offset == packed && f->packed_size > 0);
                at += f->size;
                packed += f->packed_size;
        }
        require(at == index->image_size && packed == index->packed_size);
        frame_index_format(index, &text);
        require(text.size == size && memcmp(text.data, data, size) == 0);
        unpack(index, data, size);
        return 0;
}
