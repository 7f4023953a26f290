/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <zstd.h>

#include <cmocka.h>

#include "io.h"
#include "process.h"
#include "publish.h"

#define MIB ((size_t) 1 << 20)

static void assert_ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

/* ---- packs ---- */

/* Compressible in places, different in each frame. */
static char *make_image(size_t size) {
        char *image = xmalloc(size + 1);
        uint32_t x = 1;

        for (size_t i = 0; i < size; i++) {
                x = x * 1664525 + 1013904223;
                image[i] = (char) (i / 5000 % 3 == 0 ? x >> 24 : (i / 300) ^ (i >> 19));
        }
        return image;
}

static int open_temporary(void) {
        _cleanup_error_ Error e = {};
        int fd = -EBADF;

        assert_ok(io_tmpfile("/tmp", &fd, &e), &e);
        return fd;
}

typedef struct Packed {
        char *data;
        size_t size;
        Sha256 sha256;
        FrameIndex *index;
} Packed;

static void packed_done(Packed *p) {
        free(p->data);
        frame_index_free(p->index);
}

static Packed pack(const char *image, size_t size, unsigned workers) {
        _cleanup_close_ int image_fd = open_temporary(), pack_fd = open_temporary();
        _cleanup_error_ Error e = {};
        uint64_t pack_size = 0;
        Packed p = {};

        assert_ok(io_write_all(image_fd, image, size, &e), &e);
        assert_ok(pack_write(image_fd, size, pack_fd, workers, NULL, &p.index, &pack_size, &p.sha256, &e), &e);
        assert_int_equal(lseek(pack_fd, 0, SEEK_SET), 0);
        assert_ok(io_read_fd(pack_fd, 64 * MIB, &p.data, &p.size, &e), &e);
        assert_int_equal(p.size, pack_size);
        return p;
}

static const size_t sizes[] = { 0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 4096 };

static void pack_has_the_same_bytes_whatever_the_workers(void **state) {
        static const unsigned workers[] = { 2, 5, 0 };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *image = make_image(sizes[i]);
                _cleanup_(packed_done) Packed one = pack(image, sizes[i], 1);
                Sha256 digest;

                sha256_buffer(one.data, one.size, &digest);
                assert_true(sha256_equal(&digest, &one.sha256));
                for (size_t k = 0; k < ELEMENTSOF(workers); k++) {
                        _cleanup_(packed_done) Packed other = pack(image, sizes[i], workers[k]);

                        assert_int_equal(one.size, other.size);
                        assert_memory_equal(one.data, other.data, one.size);
                        assert_memory_equal(one.index->frames, other.index->frames,
                                            one.index->n_frames * sizeof(Frame));
                }
        }
}

static void zstd_reads_a_whole_pack(void **state) {
        static char *const command[] = { (char *) "zstd", (char *) "-dcq", NULL };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *image = make_image(sizes[i]), *output = NULL;
                _cleanup_(packed_done) Packed p = pack(image, sizes[i], 2);
                const ProcessOptions o = { .input = p.data, .input_size = p.size };
                _cleanup_error_ Error e = {};
                size_t size;

                assert_ok(process_run(command, &o, &output, &size, &e), &e);
                assert_int_equal(size, sizes[i]);
                assert_memory_equal(output, image, size);
        }
}

static void each_frame_stands_alone_with_size_and_checksum(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *image = make_image(sizes[i]), *frame = xmalloc(MIB);
                _cleanup_(packed_done) Packed p = pack(image, sizes[i], 2);
                size_t at = 0, done = 0, n = 0;

                while (at < p.size) {
                        size_t wanted = MIN(MIB, sizes[i] - done), packed;

                        packed = ZSTD_findFrameCompressedSize(p.data + at, p.size - at);
                        assert_false(ZSTD_isError(packed));
                        assert_int_equal(ZSTD_getFrameContentSize(p.data + at, packed), wanted);
                        assert_true(p.data[at + 4] & 1 << 2); /* the frame header's checksum flag (RFC 8878) */
                        assert_int_equal(ZSTD_decompress(frame, MIB, p.data + at, packed), wanted);
                        assert_memory_equal(frame, image + done, wanted);
                        at += packed;
                        done += wanted;
                        n++;
                }
                assert_int_equal(done, sizes[i]);
                assert_int_equal(n, MAX((sizes[i] + MIB - 1) / MIB, (size_t) 1));
        }
}

static void index_names_each_frames_place_and_content(void **state) {
        const size_t size = 3 * MIB + 4096;
        _cleanup_free_ char *image = make_image(size), *frame = xmalloc(MIB);
        _cleanup_(packed_done) Packed p = pack(image, size, 2);
        _cleanup_(frame_index_freep) FrameIndex *again = NULL;
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error e = {};

        frame_index_format(p.index, &b);
        assert_ok(frame_index_parse(b.data, b.size, "index", &again, &e), &e);
        assert_int_equal(again->n_frames, 4);
        assert_int_equal(again->packed_size, p.size);
        for (size_t i = 0; i < again->n_frames; i++) {
                const Frame *f = again->frames + i;
                Sha256 digest;

                assert_int_equal(ZSTD_decompress(frame, MIB, p.data + f->packed_offset, f->packed_size),
                                 frame_index_size(again, i));
                sha256_buffer(frame, frame_index_size(again, i), &digest);
                assert_true(sha256_equal(&digest, &f->sha256));
        }
}

static void image_shorter_than_it_should_be_is_refused(void **state) {
        _cleanup_close_ int image_fd = open_temporary(), pack_fd = open_temporary();
        _cleanup_error_ Error e = {};
        uint64_t size;
        Sha256 digest;

        assert_ok(io_write_all(image_fd, "short", 5, &e), &e);
        assert_true(pack_write(image_fd, 3 * MIB, pack_fd, 2, NULL, NULL, &size, &digest, &e) < 0);
        assert_true(e.id != REFUSAL_NONE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pack_has_the_same_bytes_whatever_the_workers),
                cmocka_unit_test(zstd_reads_a_whole_pack),
                cmocka_unit_test(each_frame_stands_alone_with_size_and_checksum),
                cmocka_unit_test(index_names_each_frames_place_and_content),
                cmocka_unit_test(image_shorter_than_it_should_be_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
