/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where an image says its contents are, they are; every block belongs to one extent or to the metadata; damage ends in
 * an Error. */

#include "erofs-extents.h"
#include "hash.h"
#include "recompress.h"

#define BUILD_TIME 1700000000
#include "erofs-fixture.h"

static ErofsExtents *read_extents(int fd) {
        _cleanup_error_ Error e = {};
        ErofsExtents *x = NULL;

        if (erofs_extents_read(fd, &x, &e) < 0)
                fail_msg("%s", e.message);
        return x;
}

/* Each block is somebody's, and only one's; nothing is outside of the image. */
static void check_owners(const ErofsExtents *x) {
        _cleanup_free_ uint8_t *owners = xcalloc(x->size / EROFS_BLOCK_BYTES, 1);

        assert_int_equal(x->size % EROFS_BLOCK_BYTES, 0);
        for (size_t i = 0; i < x->n_extents + x->n_metadata; i++) {
                const ErofsExtent *e = i < x->n_extents ? x->extents + i : NULL;
                ErofsArea a;

                if (e && e->kind != EROFS_EXTENT_PLAIN && e->kind != EROFS_EXTENT_LZ4)
                        continue;
                a = e ? (ErofsArea){ e->physical, e->stored } : x->metadata[i - x->n_extents];
                assert_true(a.size > 0);
                assert_int_equal((a.offset | a.size) % EROFS_BLOCK_BYTES, 0);
                assert_true(a.offset <= x->size && a.size <= x->size - a.offset);
                for (uint64_t b = a.offset / EROFS_BLOCK_BYTES; b < (a.offset + a.size) / EROFS_BLOCK_BYTES; b++)
                        assert_int_equal(owners[b]++, 0);
        }
        for (uint64_t b = 0; b < x->size / EROFS_BLOCK_BYTES; b++)
                assert_int_equal(owners[b], 1);
}

static void check_order(const ErofsExtents *x) {
        uint64_t last = 0;
        size_t n = 0;
        bool ended = false;

        for (size_t i = 0; i < x->n_files; i++) {
                const ErofsFile *f = x->files + i;
                uint64_t offset = 0, first = UINT64_MAX;

                assert_int_equal(f->first, n);
                n += f->n_extents;
                for (size_t k = f->first; k < n; k++) {
                        const ErofsExtent *e = x->extents + k;

                        assert_int_equal(e->offset, offset);
                        assert_true(e->size > 0);
                        offset += e->size;
                        if (e->kind == EROFS_EXTENT_PLAIN || e->kind == EROFS_EXTENT_LZ4)
                                first = MIN(first, e->physical);
                }
                assert_int_equal(offset, f->size);
                if (first == UINT64_MAX)
                        ended = true;
                else {
                        assert_false(ended);
                        assert_true(first > last);
                        last = first;
                }
        }
        assert_int_equal(n, x->n_extents);
        for (size_t i = 1; i < x->n_metadata; i++)
                assert_true(x->metadata[i].offset > x->metadata[i - 1].offset + x->metadata[i - 1].size);
        assert_true(x->n_metadata > 0);
        assert_int_equal(x->metadata[0].offset, 0);
}

static void fill_content(const char *image, const ErofsExtents *x, const ErofsFile *f, char *content) {
        for (size_t k = f->first; k < f->first + f->n_extents; k++) {
                const ErofsExtent *e = x->extents + k;
                _cleanup_error_ Error error = {};

                if (e->kind == EROFS_EXTENT_LZ4) {
                        if (recompress_unpack(image + e->physical, e->stored, content + e->offset, e->size, &error) < 0)
                                fail_msg("%s: %s", f->path, error.message);
                } else if (e->kind == EROFS_EXTENT_HOLE)
                        memset(content + e->offset, 0, e->size);
                else
                        memcpy(content + e->offset, image + e->physical, e->size);
        }
}

static int clear_mark(Tree *t, Node *n, const char *path, void *userdata) {
        n->inode->mark = 0;
        return 0;
}

static int count_file(Tree *t, Node *n, const char *path, void *userdata) {
        if (S_ISREG(n->inode->mode) && n->inode->mark++ == 0)
                ++*(size_t *) userdata;
        return 0;
}

static void check_image(Tree *t, ErofsLayout layout, size_t ret_kinds[4]) {
        _cleanup_close_ int fd = write_layout(t, layout);
        _cleanup_(erofs_extents_freep) ErofsExtents *x = read_extents(fd);
        _cleanup_free_ char *image = NULL;
        size_t size;
        size_t n = 0;

        image = read_file(fd, &size);
        assert_int_equal(x->size, size);
        check_owners(x);
        check_order(x);
        assert_int_equal(tree_walk(t, tree_lookup(t, "/usr"), clear_mark, NULL), 0);
        assert_int_equal(tree_walk(t, tree_lookup(t, "/usr"), count_file, &n), 0);
        assert_int_equal(x->n_files, n);
        for (size_t i = 0; i < x->n_files; i++) {
                const ErofsFile *f = x->files + i;
                _cleanup_free_ char *path = xasprintf("/usr%s", f->path), *content = xmalloc(f->size + 1);
                const Node *node = tree_lookup(t, path);
                Sha256 digest;

                assert_non_null(node);
                assert_int_equal(node->inode->size, f->size);
                fill_content(image, x, f, content);
                sha256_buffer(content, f->size, &digest);
                assert_true(sha256_equal(&digest, &node->inode->digest));
        }
        for (size_t i = 0; i < x->n_extents; i++)
                ret_kinds[x->extents[i].kind]++;
}

static const ErofsFile *find(const ErofsExtents *x, const char *path) {
        for (size_t i = 0; i < x->n_files; i++)
                if (streq(x->files[i].path, path))
                        return x->files + i;
        return NULL;
}

static void contents_of_a_plain_image_are_where_it_says(void **state) {
        const State *s = *state;
        size_t kinds[4] = {};

        check_image(s->tree, EROFS_LAYOUT_PLAIN, kinds);
        assert_true(kinds[EROFS_EXTENT_PLAIN] > 300);
        assert_int_equal(kinds[EROFS_EXTENT_LZ4] + kinds[EROFS_EXTENT_INLINE] + kinds[EROFS_EXTENT_HOLE], 0);
}

static void contents_of_a_compressed_image_are_where_it_says(void **state) {
        const State *s = *state;
        size_t kinds[4] = {};

        check_image(s->tree, EROFS_LAYOUT_LZ4HC, kinds);
        assert_true(kinds[EROFS_EXTENT_PLAIN] > 100);
        assert_true(kinds[EROFS_EXTENT_LZ4] > 300);
}

static void a_file_stored_as_it_is_has_one_extent(void **state) {
        const State *s = *state;
        _cleanup_close_ int fd = write_layout(s->tree, EROFS_LAYOUT_LZ4HC);
        _cleanup_(erofs_extents_freep) ErofsExtents *x = read_extents(fd);
        const ErofsFile *module = find(x, "/lib/modules/6.12/kernel/some.ko");

        assert_non_null(module);
        assert_int_equal(module->n_extents, 1);
        assert_int_equal(x->extents[module->first].kind, EROFS_EXTENT_PLAIN);
        assert_int_equal(x->extents[module->first].size, 300000);
        assert_int_equal(x->extents[module->first].stored, 74 * EROFS_BLOCK_BYTES);
}

static void hard_links_are_one_file(void **state) {
        const State *s = *state;
        _cleanup_close_ int fd = write_layout(s->tree, EROFS_LAYOUT_PLAIN);
        _cleanup_(erofs_extents_freep) ErofsExtents *x = read_extents(fd);

        assert_non_null(find(x, "/aaa-first-name"));
        assert_null(find(x, "/bin/sudo"));
        assert_null(find(x, "/bin/sudoedit"));
}

static void refuse(const void *image, size_t size, Refusal wanted) {
        _cleanup_(erofs_extents_freep) ErofsExtents *x = NULL;
        _cleanup_close_ int fd = new_file();
        _cleanup_error_ Error e = {};

        assert_int_equal(io_pwrite_all(fd, image, size, 0, NULL), 0);
        assert_true(erofs_extents_read(fd, &x, &e) < 0);
        assert_null(x);
        assert_int_equal(e.id, wanted);
}

static void what_is_no_image_is_refused(void **state) {
        const State *s = *state;
        _cleanup_close_ int fd = write_layout(s->tree, EROFS_LAYOUT_PLAIN);
        _cleanup_free_ char *image = NULL;
        size_t size;

        image = read_file(fd, &size);
        refuse("", 0, REFUSAL_BAD_FORMAT);
        refuse("no image", 8, REFUSAL_BAD_FORMAT);
        refuse(image, EROFS_BLOCK_BYTES, REFUSAL_BAD_FORMAT);
        refuse(image, size - 1, REFUSAL_BAD_FORMAT);
}

/* The place of one file's content, wherever it stands among the inodes, is replaced by another's. */
static void files_that_share_blocks_are_refused(void **state) {
        const State *s = *state;
        _cleanup_close_ int fd = write_layout(s->tree, EROFS_LAYOUT_PLAIN);
        _cleanup_(erofs_extents_freep) ErofsExtents *x = read_extents(fd);
        _cleanup_free_ char *image = NULL;
        uint32_t from, to;
        size_t size;
        unsigned n = 0;

        image = read_file(fd, &size);
        from = (uint32_t) (x->extents[find(x, "/size-65536")->first].physical / EROFS_BLOCK_BYTES);
        to = (uint32_t) (x->extents[find(x, "/lib/large")->first].physical / EROFS_BLOCK_BYTES) + 3;
        for (size_t i = 0; i < x->n_metadata; i++) {
                const ErofsArea *a = x->metadata + i;

                for (uint64_t at = a->offset; at < a->offset + a->size; at += 4)
                        if (memcmp(image + at, &from, 4) == 0) {
                                memcpy(image + at, &to, 4);
                                n++;
                        }
        }
        assert_true(n > 0);
        refuse(image, size, REFUSAL_BAD_FORMAT);
}

static Tree *small_tree(void) {
        static const NodeAttributes folder = { .mode = 0755 }, file = { .mode = 0644 };
        _cleanup_error_ Error e = {};
        Tree *t;

        assert_int_equal(tree_new(NULL, &t, &e), 0);
        assert_int_equal(tree_add_folder(t, "/usr", &folder, NULL, &e), 0);
        for (unsigned i = 0; i < 40; i++) {
                _cleanup_free_ char *path = xasprintf("/usr/folder%u/file%u", i % 5, i);
                _cleanup_free_ char *content = make_content(i * 3000, i);

                assert_int_equal(tree_add_file(t, path, &file, content, i * 3000, NULL, &e), 0);
        }
        return t;
}

/* Whatever comes back still keeps its promises; most damage is among the inodes. */
static void damage_is_refused_or_harmless(void **state) {
        _cleanup_(tree_freep) Tree *t = small_tree();
        _cleanup_close_ int fd = write_layout(t, EROFS_LAYOUT_LZ4HC);
        _cleanup_(erofs_extents_freep) ErofsExtents *whole = read_extents(fd);
        _cleanup_free_ char *image = NULL, *changed = NULL;
        unsigned seed = 1, n_refused = 0, n_read = 0;
        size_t size;

        image = read_file(fd, &size);
        changed = xmalloc(size);
        for (int i = 0; i < 400; i++) {
                _cleanup_(erofs_extents_freep) ErofsExtents *x = NULL;
                _cleanup_close_ int copy = new_file();
                _cleanup_error_ Error e = {};

                memcpy(changed, image, size);
                /* The checksum of the superblock is not what is tested. */
                changed[1024 + 8] &= ~1;
                for (unsigned k = next_random(&seed) % 4; k != UINT32_MAX; k--) {
                        const ErofsArea *a = whole->metadata + next_random(&seed) % whole->n_metadata;

                        changed[a->offset + next_random(&seed) % a->size] ^= (char) (1 << next_random(&seed) % 8);
                }
                changed[1024 + 128 + next_random(&seed) % 8000] = (char) next_random(&seed);
                assert_int_equal(io_pwrite_all(copy, changed, size, 0, NULL), 0);
                if (erofs_extents_read(copy, &x, &e) < 0) {
                        assert_non_null(e.message);
                        assert_true(e.id == REFUSAL_BAD_FORMAT || e.id == REFUSAL_TOO_LARGE);
                        n_refused++;
                } else {
                        check_owners(x);
                        n_read++;
                }
        }
        assert_true(n_refused > 30);
        assert_true(n_read > 30);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(contents_of_a_plain_image_are_where_it_says),
                cmocka_unit_test(contents_of_a_compressed_image_are_where_it_says),
                cmocka_unit_test(a_file_stored_as_it_is_has_one_extent),
                cmocka_unit_test(hard_links_are_one_file),
                cmocka_unit_test(what_is_no_image_is_refused),
                cmocka_unit_test(files_that_share_blocks_are_refused),
                cmocka_unit_test(damage_is_refused_or_harmless),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
