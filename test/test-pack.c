/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Packs: how they are made, how their frames are read again, and what of them is refused. Where frames begin is in
 * test-pack-layout.c. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <zstd.h>

#include <cmocka.h>

#include "frame-decode.h"
#include "io.h"
#include "pack-layout.h"
#include "process.h"
#include "publish.h"

#define MIB ((size_t) 1 << 20)
#define FRAME ((size_t) PACK_FRAME_SIZE)

static void ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

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

        ok(io_tmpfile("/tmp", &fd, &e), &e);
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

/* Frames of 32 KiB, and behind the first MiB, where mixed, one of LZMA after each of zstd. */
static FrameIndex *make_frames(size_t size, bool mixed) {
        FrameIndex *index = frame_index_new();

        frame_index_add_even(index, size, PACK_FRAME_SIZE, FRAME_ZSTD);
        for (size_t i = MIB / FRAME; mixed && i < index->n_frames; i += 2)
                index->frames[i].codec = FRAME_LZMA;
        return index;
}

static Packed pack(const char *image, FrameIndex *index, unsigned workers) {
        _cleanup_close_ int image_fd = open_temporary(), pack_fd = open_temporary();
        _cleanup_error_ Error e = {};
        Packed p = { .index = index };

        ok(io_write_all(image_fd, image, index->image_size, &e), &e);
        ok(pack_write(image_fd, index, pack_fd, workers, NULL, &p.sha256, &e), &e);
        assert_int_equal(lseek(pack_fd, 0, SEEK_SET), 0);
        ok(io_read_fd(pack_fd, 64 * MIB, &p.data, &p.size, &e), &e);
        assert_int_equal(p.size, index->packed_size);
        return p;
}

static const size_t sizes[] = { 1, FRAME - 1, FRAME, FRAME + 1, MIB, 5 * MIB + 4096 };

static void it_has_the_same_bytes_whatever_the_workers(void **state) {
        static const unsigned workers[] = { 2, 5, 0 };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *image = make_image(sizes[i]);
                _cleanup_(packed_done) Packed one = pack(image, make_frames(sizes[i], true), 1);
                Sha256 digest;

                sha256_buffer(one.data, one.size, &digest);
                assert_true(sha256_equal(&digest, &one.sha256));
                for (size_t k = 0; k < ELEMENTSOF(workers); k++) {
                        _cleanup_(packed_done) Packed other = pack(image, make_frames(sizes[i], true), workers[k]);

                        assert_int_equal(one.size, other.size);
                        assert_memory_equal(one.data, other.data, one.size);
                        for (size_t n = 0; n < one.index->n_frames; n++) {
                                const Frame *x = &one.index->frames[n], *y = &other.index->frames[n];

                                assert_int_equal(x->packed_size, y->packed_size);
                                assert_int_equal(x->codec, y->codec);
                                assert_true(sha256_equal(&x->sha256, &y->sha256));
                        }
                }
        }
}

static void zstd_reads_one_that_has_no_other_frames(void **state) {
        static char *const command[] = { (char *) "zstd", (char *) "-dcq", NULL };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *image = make_image(sizes[i]), *output = NULL;
                _cleanup_(packed_done) Packed p = pack(image, make_frames(sizes[i], false), 2);
                const ProcessOptions o = { .input = p.data, .input_size = p.size };
                _cleanup_error_ Error e = {};
                size_t size;

                ok(process_run(command, &o, &output, &size, &e), &e);
                assert_int_equal(size, sizes[i]);
                assert_memory_equal(output, image, size);
        }
}

static void each_frame_stands_alone(void **state) {
        const size_t size = 3 * MIB + 4096;
        _cleanup_free_ char *image = make_image(size), *content = xmalloc(FRAME);
        _cleanup_(packed_done) Packed p = pack(image, make_frames(size, true), 2);
        _cleanup_(frame_decoder_freep) FrameDecoder *decoder = frame_decoder_new();
        _cleanup_(frame_index_freep) FrameIndex *again = NULL;
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error e = {};
        size_t n_lzma = 0;

        frame_index_format(p.index, &b);
        ok(frame_index_parse(b.data, b.size, "index", &again, &e), &e);
        assert_int_equal(again->n_frames, size / FRAME + 1);
        /* The last one first: none needs another. */
        for (size_t i = again->n_frames; i-- > 0;) {
                const Frame *f = &again->frames[i];
                const char *packed = p.data + f->packed_offset;
                Sha256 digest;

                ok(frame_decode(decoder, f, packed, content, &e), &e);
                assert_memory_equal(content, image + f->offset, f->size);
                sha256_buffer(content, f->size, &digest);
                assert_true(sha256_equal(&digest, &f->sha256));
                n_lzma += f->codec == FRAME_LZMA;
                if (f->codec == FRAME_LZMA)
                        continue;
                assert_int_equal(ZSTD_findFrameCompressedSize(packed, f->packed_size), f->packed_size);
                assert_int_equal(ZSTD_getFrameContentSize(packed, f->packed_size), f->size);
                assert_true(packed[4] & 1 << 2); /* the frame header's checksum flag (RFC 8878) */
        }
        assert_int_equal(n_lzma, 33);
}

static void what_lzma_does_not_make_smaller_is_zstd(void **state) {
        _cleanup_free_ char *image = xmalloc(2 * FRAME);
        FrameIndex *index = frame_index_new();
        uint64_t x = 88172645463325252;

        for (size_t i = 0; i < FRAME; i++) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                image[i] = (char) (x >> 32);
        }
        memset(image + FRAME, 7, FRAME);
        frame_index_add_even(index, 2 * FRAME, PACK_FRAME_SIZE, FRAME_LZMA);
        _cleanup_(packed_done) Packed p = pack(image, index, 1);
        assert_int_equal(index->frames[0].codec, FRAME_ZSTD);
        assert_int_equal(index->frames[1].codec, FRAME_LZMA);
}

static void an_image_shorter_than_it_should_be_is_refused(void **state) {
        _cleanup_close_ int image_fd = open_temporary(), pack_fd = open_temporary();
        _cleanup_(frame_index_freep) FrameIndex *index = make_frames(3 * MIB, false);
        _cleanup_error_ Error e = {};
        Sha256 digest;

        ok(io_write_all(image_fd, "short", 5, &e), &e);
        assert_true(pack_write(image_fd, index, pack_fd, 2, NULL, &digest, &e) < 0);
        assert_true(e.id != REFUSAL_NONE);
}

/* ---- what is refused ---- */

typedef struct Mutation {
        const char *name;
        FrameCodec codec;
        int32_t at; /* of the packed frame; below zero: from its end */
        uint8_t flip;
        int32_t size, packed_size; /* what the index says more or less than there is */
        bool other_codec;
} Mutation;

/* One frame of 32 KiB. A flipped bit inside of LZMA's data is the digest's to find, where LZMA itself does not. */
static const Mutation mutations[] = {
        { "zstd: another magic", FRAME_ZSTD, 0, 1, 0, 0, false },
        { "zstd: a skippable frame", FRAME_ZSTD, 0, 0x78, 0, 0, false },
        { "zstd: a reserved bit of the header", FRAME_ZSTD, 4, 8, 0, 0, false },
        { "zstd: a dictionary is wanted", FRAME_ZSTD, 4, 1, 0, 0, false },
        { "zstd: no checksum", FRAME_ZSTD, 4, 4, 0, 0, false },
        { "zstd: another size of the content's size", FRAME_ZSTD, 4, 0x80, 0, 0, false },
        { "zstd: another size in the header", FRAME_ZSTD, 5, 1, 0, 0, false },
        { "zstd: a huge size in the header", FRAME_ZSTD, 6, 0x80, 0, 0, false },
        { "zstd: another kind of block", FRAME_ZSTD, 7, 6, 0, 0, false },
        { "zstd: a block of another size", FRAME_ZSTD, 8, 1, 0, 0, false },
        { "zstd: a block that is too large", FRAME_ZSTD, 9, 0x40, 0, 0, false },
        { "zstd: another literal", FRAME_ZSTD, 40, 1, 0, 0, false },
        { "zstd: another sequence", FRAME_ZSTD, -20, 1, 0, 0, false },
        { "zstd: another checksum", FRAME_ZSTD, -1, 1, 0, 0, false },
        { "zstd: the first byte of the checksum", FRAME_ZSTD, -4, 0x80, 0, 0, false },
        { "zstd: cut", FRAME_ZSTD, 0, 0, 0, -1, false },
        { "zstd: only a header", FRAME_ZSTD, 0, 0, 0, -30000, false },
        { "zstd: more behind it", FRAME_ZSTD, 0, 0, 0, 1, false },
        { "zstd: more content than the index says", FRAME_ZSTD, 0, 0, -1, 0, false },
        { "zstd: much more content than the index says", FRAME_ZSTD, 0, 0, -4096, 0, false },
        { "zstd: less content than the index says", FRAME_ZSTD, 0, 0, 1, 0, false },
        { "zstd: said to be LZMA", FRAME_ZSTD, 0, 0, 0, 0, true },
        { "LZMA: a first byte that is not zero", FRAME_LZMA, 0, 1, 0, 0, false },
        { "LZMA: cut", FRAME_LZMA, 0, 0, 0, -1, false },
        { "LZMA: cut in half", FRAME_LZMA, 0, 0, 0, -7000, false },
        { "LZMA: only its first bytes", FRAME_LZMA, 0, 0, 0, -30000, false },
        { "LZMA: more behind it", FRAME_LZMA, 0, 0, 0, 1, false },
        { "LZMA: more content than the index says", FRAME_LZMA, 0, 0, -4096, 0, false },
        { "LZMA: less content than the index says", FRAME_LZMA, 0, 0, 4096, 0, false },
        { "LZMA: said to be zstd", FRAME_LZMA, 0, 0, 0, 0, true },
};

static void each_mutation_of_a_frame_is_refused(void **state) {
        _cleanup_free_ char *image = make_image(FRAME);
        _cleanup_(frame_decoder_freep) FrameDecoder *decoder = frame_decoder_new();

        for (size_t i = 0; i < ELEMENTSOF(mutations); i++) {
                const Mutation *m = &mutations[i];
                FrameIndex *index = frame_index_new();
                _cleanup_free_ char *packed = NULL, *content = NULL;
                _cleanup_error_ Error e = {};
                size_t size;
                Frame f;

                frame_index_add(index, PACK_FRAME_SIZE, m->codec);
                _cleanup_(packed_done) Packed p = pack(image, index, 1);
                f = index->frames[0];
                assert_int_equal(f.codec, m->codec);
                size = (size_t) MAX((int64_t) f.packed_size + m->packed_size, INT64_C(6));
                f.packed_size = (uint32_t) size;
                f.size = (uint32_t) ((int32_t) f.size + m->size);
                f.codec = m->other_codec ? FRAME_ZSTD + FRAME_LZMA - f.codec : f.codec;
                /* Of exactly those sizes, so that a byte too far is seen. */
                packed = xcalloc(size, 1);
                memcpy(packed, p.data, MIN(size, p.size));
                packed[m->at < 0 ? (size_t) ((int64_t) size + m->at) : (size_t) m->at] ^= (char) m->flip;
                content = xmalloc(f.size);
                if (frame_decode(decoder, &f, packed, content, &e) >= 0)
                        fail_msg("%s: taken", m->name);
                if (e.id != REFUSAL_BAD_FORMAT)
                        fail_msg("%s: %s", m->name, e.message);
        }
}

/* Some bits mean nothing; what else comes out has another digest. */
static void flipped_bits_stay_inside(void **state) {
        _cleanup_free_ char *image = make_image(FRAME), *content = xmalloc(FRAME);
        _cleanup_(frame_decoder_freep) FrameDecoder *decoder = frame_decoder_new();

        for (FrameCodec codec = FRAME_ZSTD; codec <= FRAME_LZMA; codec++) {
                FrameIndex *index = frame_index_new();
                size_t n_same = 0;

                frame_index_add(index, PACK_FRAME_SIZE, codec);
                _cleanup_(packed_done) Packed p = pack(image, index, 1);
                for (size_t bit = 0; bit < p.size * 8; bit += 41) {
                        p.data[bit / 8] ^= (char) (1 << bit % 8);
                        if (frame_decode(decoder, &index->frames[0], p.data, content, NULL) >= 0)
                                n_same += memcmp(content, image, FRAME) == 0;
                        p.data[bit / 8] ^= (char) (1 << bit % 8);
                }
                assert_true(n_same <= 4);
                ok(frame_decode(decoder, &index->frames[0], p.data, content, NULL), NULL);
                assert_memory_equal(content, image, FRAME);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(it_has_the_same_bytes_whatever_the_workers),
                cmocka_unit_test(zstd_reads_one_that_has_no_other_frames),
                cmocka_unit_test(each_frame_stands_alone),
                cmocka_unit_test(what_lzma_does_not_make_smaller_is_zstd),
                cmocka_unit_test(an_image_shorter_than_it_should_be_is_refused),
                cmocka_unit_test(each_mutation_of_a_frame_is_refused),
                cmocka_unit_test(flipped_bits_stay_inside),
        };

        return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
