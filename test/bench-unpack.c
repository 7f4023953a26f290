/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* bench-unpack INDEX PACK: all of a pack, frame by frame, as a device does that downloads the whole of it: decoded and
 * compared with its digest. For ./dev bench delta, which looks at the time and memory that it takes. */

#include "frame-decode.h"
#include "io.h"

static void check(int r, const Error *e) {
        if (r >= 0)
                return;
        fprintf(stderr, "bench-unpack: %s\n", e->message);
        exit(1);
}

int main(int argc, char **argv) {
        _cleanup_(frame_decoder_freep) FrameDecoder *d = frame_decoder_new();
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        _cleanup_free_ char *data = NULL, *packed = NULL, *content = NULL;
        size_t size, largest, largest_packed;
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error e = {};

        if (argc != 3) {
                fprintf(stderr, "usage: bench-unpack INDEX PACK\n");
                return 2;
        }
        check(io_read_file(AT_FDCWD, argv[1], FRAME_INDEX_SIZE_MAX, &data, &size, &e), &e);
        check(frame_index_parse(data, size, argv[1], &index, &e), &e);
        fd = open(argv[2], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
                fprintf(stderr, "bench-unpack: %s: %m\n", argv[2]);
                return 1;
        }
        frame_index_largest(index, &largest, &largest_packed);
        content = xmalloc(largest);
        packed = xmalloc(largest_packed);
        for (size_t i = 0; i < index->n_frames; i++) {
                const Frame *f = index->frames + i;
                Sha256 digest;

                check(io_pread_all(fd, packed, f->packed_size, f->packed_offset, &e), &e);
                check(frame_decode(d, f, packed, content, &e), &e);
                sha256_buffer(content, f->size, &digest);
                if (!sha256_equal(&digest, &f->sha256)) {
                        fprintf(stderr, "bench-unpack: frame %zu is another one\n", i);
                        return 1;
                }
        }
        return 0;
}
