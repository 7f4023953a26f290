/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The clusters that liberofs wrote come out of their content again, bit for bit; sizes that cannot be and damaged
 * clusters are refused, and nothing is written elsewhere. */

#include "erofs-extents.h"
#include "hash.h"
#include "recompress.h"

#define BUILD_TIME 1700000000
#include "erofs-fixture.h"

/* An image in memory, with the content of its files one after the other. */
typedef struct Image {
        ErofsExtents *extents;
        char *data;
        char *content;
        uint64_t *starts; /* of each file in content */
} Image;

static void image_done(Image *i) {
        erofs_extents_free(i->extents);
        free(i->data);
        free(i->content);
        free(i->starts);
}

static void unpack_image(Image *i) {
        const ErofsExtents *x = i->extents;
        uint64_t total = 0;

        i->starts = xnew(uint64_t, x->n_files + 1);
        for (size_t k = 0; k < x->n_files; total += x->files[k++].size)
                i->starts[k] = total;
        i->content = xmalloc(total + 1);
        for (size_t k = 0; k < x->n_files; k++)
                for (size_t n = 0; n < x->files[k].n_extents; n++) {
                        const ErofsExtent *e = x->extents + x->files[k].first + n;
                        char *to = i->content + i->starts[k] + e->offset;

                        if (e->kind == EROFS_EXTENT_LZ4)
                                assert_int_equal(recompress_unpack(i->data + e->physical, e->stored, to, e->size, NULL),
                                                 0);
                        else
                                memcpy(to, i->data + e->physical, e->size);
                }
}

static void make_image(const Tree *t, unsigned level, size_t cluster_size, Image *ret) {
        const ErofsOptions o = {
                .layout = EROFS_LAYOUT_LZ4HC,
                .level = level,
                .cluster_size = (uint32_t) cluster_size,
                .build_time = BUILD_TIME,
        };
        _cleanup_close_ int fd = write_image(t, &o, NULL);
        _cleanup_error_ Error e = {};
        size_t size;

        if (erofs_extents_read(fd, &ret->extents, &e) < 0)
                fail_msg("%s", e.message);
        ret->data = read_file(fd, &size);
        unpack_image(ret);
}

static Recompress *new_context(unsigned level, size_t cluster_size) {
        const RecompressOptions o = { .level = level, .cluster_size = cluster_size };
        _cleanup_error_ Error e = {};
        Recompress *c = NULL;

        if (recompress_new(&o, &c, &e) < 0)
                fail_msg("%s", e.message);
        return c;
}

/* Whether cluster n of file k comes out. Both buffers have the very sizes, for the sanitizer. */
static bool comes_out(const Image *i, size_t k, size_t n, Recompress *c, size_t lookahead) {
        const ErofsFile *f = i->extents->files + k;
        const ErofsExtent *x = i->extents->extents + f->first + n;
        size_t available = recompress_available(f->size, x->offset, x->size, lookahead);
        _cleanup_free_ char *content = NULL, *stored = xmalloc(x->stored);
        _cleanup_error_ Error e = {};

        assert_true(available >= x->size && available <= x->size + lookahead);
        content = xmemdup(i->content + i->starts[k] + x->offset, available);
        if (recompress_cluster(c, content, available, x->size, stored, x->stored, &e) < 0) {
                assert_int_equal(e.id, REFUSAL_DIFFERENT);
                return false;
        }
        return memcmp(stored, i->data + x->physical, x->stored) == 0;
}

static size_t count_clusters(const Image *i, Recompress *c, size_t lookahead, size_t *ret_missing) {
        size_t n_clusters = 0;

        *ret_missing = 0;
        for (size_t k = 0; k < i->extents->n_files; k++)
                for (size_t n = 0; n < i->extents->files[k].n_extents; n++)
                        if (i->extents->extents[i->extents->files[k].first + n].kind == EROFS_EXTENT_LZ4) {
                                n_clusters++;
                                if (!comes_out(i, k, n, c, lookahead))
                                        ++*ret_missing;
                        }
        return n_clusters;
}

static void all_clusters_come_out_again(void **state) {
        static const struct {
                unsigned level;
                size_t cluster_size;
        } cases[] = { { 9, 16384 }, { 9, 4096 }, { 1, 16384 }, { 3, 65536 }, { 12, 16384 } };
        const State *s = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(recompress_freep) Recompress *c = new_context(cases[i].level, cases[i].cluster_size);
                _cleanup_(image_done) Image image = {};
                size_t n, n_missing;

                make_image(s->tree, cases[i].level, cases[i].cluster_size, &image);
                n = count_clusters(&image, c, RECOMPRESS_LOOKAHEAD, &n_missing);
                if (n < 100 || n_missing > 0)
                        fail_msg("level %u, cluster %zu: %zu of %zu clusters do not come out", cases[i].level,
                                 cases[i].cluster_size, n_missing, n);
        }
}

/* What would go wrong if the content behind a cluster did not matter. */
static void another_level_or_no_lookahead_is_not_the_same(void **state) {
        const State *s = *state;
        _cleanup_(recompress_freep) Recompress *right = new_context(9, 16384), *wrong = new_context(4, 16384);
        _cleanup_(image_done) Image image = {};
        size_t n_missing;

        make_image(s->tree, 9, 16384, &image);
        (void) count_clusters(&image, right, 0, &n_missing);
        assert_true(n_missing > 0);
        (void) count_clusters(&image, wrong, RECOMPRESS_LOOKAHEAD, &n_missing);
        assert_true(n_missing > 100);
}

/* Runs and long repetitions: clusters with megabytes of content, segments that end in the middle of them. Some depend
 * on what is far behind; none may come out wrong without being refused when all of it is offered. */
static void clusters_with_much_content(void **state) {
        static const NodeAttributes folder = { .mode = 0755 }, file = { .mode = 0644 };
        const size_t size = (size_t) 18 << 20;
        _cleanup_(recompress_freep) Recompress *c = new_context(9, 16384);
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_free_ char *content = xcalloc(size, 1);
        _cleanup_(image_done) Image image = {};
        _cleanup_error_ Error e = {};
        size_t n, n_missing, largest = 0;

        assert_int_equal(tree_new(NULL, &t, &e), 0);
        assert_int_equal(tree_add_folder(t, "/usr", &folder, NULL, &e), 0);
        assert_int_equal(tree_add_file(t, "/usr/zeros", &file, content, size, NULL, &e), 0);
        for (size_t i = 0; i < size; i++)
                content[i] = "abcde"[i % 5];
        assert_int_equal(tree_add_file(t, "/usr/period", &file, content, size, NULL, &e), 0);
        for (size_t i = 0; i < size; i++)
                content[i] = i % 4096 < 64 ? (char) (i / 4096 * 7 >> i % 4) : 'x';
        assert_int_equal(tree_add_file(t, "/usr/table", &file, content, size, NULL, &e), 0);
        make_image(t, 9, 16384, &image);
        for (size_t i = 0; i < image.extents->n_extents; i++)
                largest = MAX(largest, image.extents->extents[i].size);
        assert_true(largest > (size_t) 3 << 20 && largest <= RECOMPRESS_CONTENT_MAX);
        n = count_clusters(&image, c, RECOMPRESS_LOOKAHEAD, &n_missing);
        assert_true(n > 10);
        print_message("%zu clusters, %zu do not come out\n", n, n_missing);
        assert_true(n_missing * 4 < n);
}

/* A full cluster of the largest file, and its content with what follows. */
typedef struct Sample {
        const char *content, *stored;
        size_t size, available;
} Sample;

static Sample take_sample(const Image *i, size_t n) {
        for (size_t k = 0; k < i->extents->n_files; k++) {
                const ErofsFile *f = i->extents->files + k;
                const ErofsExtent *x = i->extents->extents + f->first + n;

                if (streq(f->path, "/lib/large") && x->kind == EROFS_EXTENT_LZ4 && x->stored == 16384)
                        return (Sample){
                                .content = i->content + i->starts[k] + x->offset,
                                .stored = i->data + x->physical,
                                .size = x->size,
                                .available = recompress_available(f->size, x->offset, x->size, RECOMPRESS_LOOKAHEAD),
                        };
        }
        fail_msg("there is no such cluster");
        return (Sample){};
}

/* Nothing of one cluster remains for the next. */
static void order_does_not_matter(void **state) {
        static const size_t order[] = { 4, 2, 0, 3, 0, 1, 4, 4 };
        const State *s = *state;
        _cleanup_(recompress_freep) Recompress *c = new_context(9, 16384);
        _cleanup_(image_done) Image image = {};
        char stored[16384];

        make_image(s->tree, 9, 16384, &image);
        for (size_t i = 0; i < ELEMENTSOF(order); i++) {
                Sample x = take_sample(&image, order[i]);

                assert_int_equal(recompress_cluster(c, x.content, x.available, x.size, stored, sizeof(stored), NULL),
                                 0);
                assert_memory_equal(stored, x.stored, sizeof(stored));
                assert_true(recompress_cluster(c, x.content, x.available, x.size - 1, stored, sizeof(stored), NULL) <
                            0);
        }
}

static void impossible_sizes_are_refused(void **state) {
        static const struct {
                size_t available, content, stored;
                Refusal wanted;
        } cases[] = {
                { 0, 0, 4096, REFUSAL_BAD_VALUE },
                { 100, 101, 4096, REFUSAL_BAD_VALUE },
                { 10000, 10000, 0, REFUSAL_BAD_VALUE },
                { 10000, 10000, 4095, REFUSAL_BAD_VALUE },
                { 10000, 10000, 20480, REFUSAL_BAD_VALUE },
                { RECOMPRESS_CONTENT_MAX + 1, 10000, 4096, REFUSAL_BAD_VALUE },
                /* Possible, but not what comes out. */
                { 10000, 9999, 4096, REFUSAL_DIFFERENT },
                { 10000, 10000, 16384, REFUSAL_DIFFERENT },
        };
        _cleanup_(recompress_freep) Recompress *c = new_context(9, 16384);
        _cleanup_free_ char *content = xcalloc(10000, 1);
        char stored[16384];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                assert_true(recompress_cluster(c, content, cases[i].available, cases[i].content, stored,
                                               cases[i].stored, &e) < 0);
                assert_int_equal(e.id, cases[i].wanted);
        }
        assert_int_equal(recompress_cluster(c, content, 10000, 10000, stored, 4096, NULL), 0);
}

static void impossible_options_are_refused(void **state) {
        static const RecompressOptions cases[] = {
                { 0, 16384 }, { 13, 16384 }, { 9, 0 }, { 9, 5000 }, { 9, RECOMPRESS_CLUSTER_MAX + 4096 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};
                Recompress *c = NULL;

                assert_true(recompress_new(cases + i, &c, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_VALUE);
                assert_null(c);
        }
}

static void content_is_offered_up_to_the_end_of_its_segment(void **state) {
        static const uint64_t segment = 16 << 20;
        static const struct {
                uint64_t file, offset;
                size_t content, lookahead, wanted;
        } cases[] = {
                { 100000, 0, 40000, 4096, 44096 },
                { 100000, 60000, 40000, 4096, 40000 },
                { 100000, 60000, 39000, 4096, 40000 },
                { 100000, 60000, 40001, 4096, 0 },
                { 100000, 100000, 1, 4096, 0 },
                { 100000, 0, 0, 4096, 0 },
                { 3 * segment, segment - 5000, 4000, 4096, 5000 },
                { 3 * segment, segment - 5000, 5001, 4096, 0 },
                { 3 * segment, segment, 5001, 4096, 9097 },
                { 3 * segment, 0, RECOMPRESS_CONTENT_MAX, 4096, RECOMPRESS_CONTENT_MAX },
                { 3 * segment, 0, RECOMPRESS_CONTENT_MAX + 1, 4096, 0 },
                { 3 * segment, 0, 100, SIZE_MAX, RECOMPRESS_CONTENT_MAX },
                { UINT64_MAX, UINT64_MAX - segment / 2, 100, 100, 200 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(
                        recompress_available(cases[i].file, cases[i].offset, cases[i].content, cases[i].lookahead),
                        cases[i].wanted);
}

static void damaged_clusters_are_refused_or_unpacked(void **state) {
        const State *s = *state;
        _cleanup_(image_done) Image image = {};
        _cleanup_free_ char *got = NULL;
        size_t n_refused = 0;
        unsigned seed = 1;
        Sample x;

        make_image(s->tree, 9, 16384, &image);
        x = take_sample(&image, 1);
        got = xmalloc(x.size);
        for (int i = 0; i < 3000; i++) {
                _cleanup_free_ char *changed = xmemdup(x.stored, 16384);
                _cleanup_error_ Error e = {};

                for (unsigned k = next_random(&seed) % 8; k != UINT32_MAX; k--)
                        changed[next_random(&seed) % 16384] = (char) next_random(&seed);
                if (recompress_unpack(changed, 16384, got, x.size, &e) < 0) {
                        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
                        n_refused++;
                }
        }
        assert_true(n_refused > 1000);
}

static void wrong_lengths_do_not_unpack(void **state) {
        _cleanup_(recompress_freep) Recompress *c = new_context(9, 16384);
        _cleanup_free_ char *content = xcalloc(10000, 1), *got = xmalloc(20000);
        static const struct {
                size_t stored, content;
        } cases[] = { { 4096, 9999 }, { 4096, 10001 }, { 4095, 10000 }, { 0, 10000 }, { 4096, 0 } };
        char stored[4096];

        assert_int_equal(recompress_cluster(c, content, 10000, 10000, stored, 4096, NULL), 0);
        assert_int_equal(recompress_unpack(stored, 4096, got, 10000, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                assert_true(recompress_unpack(stored, cases[i].stored, got, cases[i].content, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
        memset(stored, 0, sizeof(stored));
        assert_true(recompress_unpack(stored, 4096, got, 10000, NULL) < 0);
}

static void the_encoder_is_the_one_it_says(void **state) {
        for (unsigned level = 1; level <= 12; level++) {
                _cleanup_error_ Error e = {};

                if (recompress_self_test(level, &e) < 0)
                        fail_msg("level %u: %s", level, e.message);
        }
        assert_true(recompress_self_test(0, NULL) < 0);
        assert_true(recompress_self_test(13, NULL) < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(all_clusters_come_out_again),
                cmocka_unit_test(another_level_or_no_lookahead_is_not_the_same),
                cmocka_unit_test(clusters_with_much_content),
                cmocka_unit_test(order_does_not_matter),
                cmocka_unit_test(impossible_sizes_are_refused),
                cmocka_unit_test(impossible_options_are_refused),
                cmocka_unit_test(content_is_offered_up_to_the_end_of_its_segment),
                cmocka_unit_test(damaged_clusters_are_refused_or_unpacked),
                cmocka_unit_test(wrong_lengths_do_not_unpack),
                cmocka_unit_test(the_encoder_is_the_one_it_says),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
