/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What was where is found by content alone: under another name, as a part of what was larger, far from where it stood
 * in a large file. Images are real, of both layouts; the content cannot be compressed, so that what is not found
 * costs what it has. */

#include "delta-similar.h"

#define BUILD_TIME 1700000000
#include "erofs-fixture.h"

#define CLUSTER_SIZE 16384
#define LEVEL 9

typedef struct Content {
        const char *path;
        unsigned seed; /* what it is made of */
        size_t skip, size;
        size_t before; /* bytes of something else before it */
} Content;

/* Unlike next_random() without a period. */
static unsigned random_byte(uint64_t n) {
        n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
        return (unsigned) (n >> 40) & 0xff;
}

/* A byte in about a hundred differs from one version to the next, so that no block stays the same. */
static char *make_bytes(const Content *c, unsigned version) {
        char *all = xmalloc(c->skip + c->size + 8), *bytes = xmalloc(c->before + c->size + 1);
        uint64_t seed = (uint64_t) c->seed << 32, other = seed + (UINT64_C(1) << 31) + version;

        for (size_t i = 0; i < c->skip + c->size; i++)
                all[i] = (char) random_byte(seed++);
        for (size_t i = 0; i < c->before; i++)
                bytes[i] = (char) random_byte(other++);
        memcpy(bytes + c->before, all + c->skip, c->size);
        for (size_t i = c->before; version > 0 && i < c->before + c->size; i += 50 + random_byte(other++) % 100)
                bytes[i] ^= 0x55;
        free(all);
        return bytes;
}

static int make_image(const Content *l, size_t n, unsigned version, ErofsLayout layout) {
        static const char *const folders[] = { "/usr", "/usr/bin", "/usr/lib" };
        const NodeAttributes folder = { .mode = 0755, .mtime = 1600000000 },
                             file = { .mode = 0644, .mtime = 1600000000 };
        Tree *t = NULL;
        int fd;

        assert_int_equal(tree_new(NULL, &t, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                assert_int_equal(tree_add_folder(t, folders[i], &folder, NULL, NULL), 0);
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *bytes = make_bytes(&l[i], version);

                assert_int_equal(tree_add_file(t, l[i].path, &file, bytes, l[i].before + l[i].size, NULL, NULL), 0);
        }
        fd = write_layout(t, layout);
        tree_free(t);
        return fd;
}

/* Bytes of payload from one to the other. */
static uint64_t cost(const Content *old, size_t n_old, const Content *new, size_t n_new, ErofsLayout layout) {
        _cleanup_close_ int old_fd = make_image(old, n_old, 0, layout), new_fd = make_image(new, n_new, 1, layout),
                            fd = new_file();
        const DeltaInput from = { .fd = old_fd, .name = "old" }, to = { .fd = new_fd, .name = "new" };
        const DeltaOptions opt = { .usr = true,
                                   .level = layout == EROFS_LAYOUT_PLAIN ? 0 : LEVEL,
                                   .cluster_size = layout == EROFS_LAYOUT_PLAIN ? 0 : CLUSTER_SIZE };
        _cleanup_error_ Error e = {};
        DeltaResult result;

        if (delta_make(&from, &to, &opt, fd, &result, &e) < 0)
                fail_msg("%s", e.message);
        return result.payload_size;
}

/* 1 in 100 bytes changed costs about 3 of 100; nothing to compare with, all of it. */
static void assert_cheap(const Content *old, size_t n_old, const Content *new, size_t n_new) {
        uint64_t size = 0;

        for (size_t i = 0; i < n_new; i++)
                size += new[i].size / 10 + new[i].before;
        assert_in_range(cost(old, n_old, new, n_new, EROFS_LAYOUT_PLAIN), 1, size);
        assert_in_range(cost(old, n_old, new, n_new, EROFS_LAYOUT_LZ4HC), 1, size);
}

static void another_name_is_found(void **state) {
        static const Content old[] = { { "/usr/bin/alpha", 1, 0, 300000, 0 }, { "/usr/lib/gamma", 2, 0, 300000, 0 } },
                             new[] = { { "/usr/lib/omega", 1, 0, 300000, 100 } };

        assert_cheap(old, 2, new, 1);
}

/* What lies between is more than one operation makes, or they would share its window. */
static void a_part_of_a_file_that_stays_is_found(void **state) {
        static const Content old[] = { { "/usr/bin/alpha", 1, 0, 400000, 0 }, { "/usr/bin/beta", 2, 0, 2 << 20, 0 } },
                             new[] = { { "/usr/bin/alpha", 1, 0, 400000, 0 },
                                       { "/usr/bin/beta", 2, 0, 2 << 20, 0 },
                                       { "/usr/lib/half", 1, 0, 400000, 0 } };
        static const uint64_t known = 400000 + (2 << 20);
        const uint64_t plain = cost(old, 2, new, 2, EROFS_LAYOUT_PLAIN),
                       packed = cost(old, 2, new, 2, EROFS_LAYOUT_LZ4HC);

        assert_in_range(plain, 1, known / 10);
        assert_in_range(cost(old, 2, new, 3, EROFS_LAYOUT_PLAIN), plain, plain + 40000);
        assert_in_range(cost(old, 2, new, 3, EROFS_LAYOUT_LZ4HC), packed, packed + 40000);
}

static void what_moved_far_in_a_large_file_is_found(void **state) {
        static const Content old[] = { { "/usr/lib/large", 1, 0, 6 << 20, 0 } },
                             new[] = { { "/usr/lib/large", 1, 4 << 20, 2 << 20, 0 } };

        assert_cheap(old, 1, new, 1);
}

static void what_is_new_is_not_likened_to_anything(void **state) {
        static const Content old[] = { { "/usr/bin/alpha", 1, 0, 300000, 0 } },
                             new[] = { { "/usr/lib/omega", 2, 0, 300000, 0 } };
        _cleanup_close_ int old_fd = make_image(old, 1, 0, EROFS_LAYOUT_PLAIN),
                            new_fd = make_image(new, 1, 1, EROFS_LAYOUT_PLAIN);
        const DeltaInput from = { .fd = old_fd, .name = "old" }, to = { .fd = new_fd, .name = "new" };
        _cleanup_(delta_image_freep) DeltaImage *a = NULL, *b = NULL;
        _cleanup_(delta_similar_freep) DeltaSimilar *s = NULL;
        _cleanup_free_ bool *wanted = NULL;
        uint64_t middle;

        assert_int_equal(delta_image_open(&from, true, &a, NULL), 0);
        assert_int_equal(delta_image_open(&to, true, &b, NULL), 0);
        wanted = xnew(bool, a->n_files);
        memset(wanted, true, a->n_files);
        s = delta_similar_new(a, wanted);
        for (uint32_t i = 1; i < b->n_files; i++)
                assert_int_equal(delta_similar_find(s, b, i, 0, b->files[i].size, DELTA_NONE, &middle), DELTA_NONE);
}

/* What many files have says nothing about which of them it was. */
static void what_many_have_says_nothing(void **state) {
        Content old[12], new = { "/usr/lib/omega", 1, 0, 40000, 0 };
        _cleanup_close_ int old_fd = -EBADF, new_fd = make_image(&new, 1, 0, EROFS_LAYOUT_PLAIN);
        const DeltaInput to = { .fd = new_fd, .name = "new" };
        DeltaInput from = { .name = "old" };
        _cleanup_(delta_image_freep) DeltaImage *a = NULL, *b = NULL;
        bool wanted[16];
        uint64_t middle;
        uint32_t file;

        memset(wanted, true, sizeof(wanted));
        for (size_t i = 0; i < ELEMENTSOF(old); i++)
                old[i] = (Content){ xasprintf("/usr/bin/alpha%zu", i), 1, 0, 40000, i };
        old_fd = make_image(old, ELEMENTSOF(old), 0, EROFS_LAYOUT_PLAIN);
        from.fd = old_fd;
        assert_int_equal(delta_image_open(&from, true, &a, NULL), 0);
        assert_int_equal(delta_image_open(&to, true, &b, NULL), 0);
        assert_in_range(a->n_files, 1 + ELEMENTSOF(old), ELEMENTSOF(wanted));
        for (file = 1; file < b->n_files && b->files[file].n_extents == 0;)
                file++;
        for (size_t n_wanted = 1; n_wanted <= ELEMENTSOF(old); n_wanted += ELEMENTSOF(old) - 1) {
                _cleanup_(delta_similar_freep) DeltaSimilar *s = NULL;

                memset(wanted, false, sizeof(wanted));
                for (uint32_t i = 1, n = 0; i < a->n_files && n < n_wanted; i++)
                        if (a->files[i].n_extents > 0) {
                                wanted[i] = true;
                                n++;
                        }
                s = delta_similar_new(a, wanted);
                assert_int_equal(delta_similar_find(s, b, file, 0, new.size, DELTA_NONE, &middle) == DELTA_NONE,
                                 n_wanted > 1);
        }
        for (size_t i = 0; i < ELEMENTSOF(old); i++)
                free((char *) old[i].path);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(another_name_is_found),
                cmocka_unit_test(a_part_of_a_file_that_stays_is_found),
                cmocka_unit_test(what_moved_far_in_a_large_file_is_found),
                cmocka_unit_test(what_is_new_is_not_likened_to_anything),
                cmocka_unit_test(what_many_have_says_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
