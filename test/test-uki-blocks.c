/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "block-map.h"
#include "io.h"
#include "uki-blocks.h"

#define BLOCK ((size_t) 4096)
#define N 40      /* whole blocks of each image */
#define REST 1000 /* bytes behind the last one */
#define SIZE (N * BLOCK + REST)
#define COPIES 5 /* as many as attempts: then nothing is waited for */

/* An old image, a repository with a new one and its map, and a file for the result. */
typedef struct World {
        char *folder, *old_path, *state, *repository, *uki_path, *map_path;
        char old[SIZE], new[SIZE];
        int fd;
        ReleaseDescription description;
        Offer offer;
        FetchOptions options;
        char *repositories[COPIES + 1];
} World;

static void ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

/* Each number is a block of its own content. */
static void fill(char *image, size_t block, unsigned number) {
        size_t at = block * BLOCK;

        for (size_t i = at; i < MIN(at + BLOCK, SIZE); i++)
                image[i] = (char) (number * 31 + i % BLOCK * 7 + (i % BLOCK) / 251 * number);
}

static char *serve(const World *w, const char *target, const void *data, size_t size, Sha256 *ret) {
        _cleanup_free_ char *hex = NULL, *folder = path_join(w->folder, "repo/targets/desk/2");
        _cleanup_error_ Error e = {};
        char *path;

        sha256_buffer(data, size, ret);
        hex = sha256_hex(ret);
        path = xasprintf("%s/%s.%s", folder, hex, path_basename(target));
        ok(io_mkdir_parents(AT_FDCWD, folder, 0755, &e), &e);
        ok(io_write_file(AT_FDCWD, path, data, size, 0644, &e), &e);
        return path;
}

/* As sealab publish does. */
static void publish(World *w, unsigned digest_size) {
        Artifact *uki = &w->description.artifacts[ARTIFACT_UKI], *map = &w->description.artifacts[ARTIFACT_UKI_MAP];
        _cleanup_(block_map_freep) BlockMap *m = NULL;
        _cleanup_close_ int fd = -EBADF;
        _cleanup_buffer_ Buffer text = {};
        _cleanup_error_ Error e = {};

        *uki = (Artifact){ .present = true, .target = (char *) "desk/2/desk_2.efi", .size = SIZE };
        *map = (Artifact){ .present = true, .target = (char *) "desk/2/desk_2.efi.map" };
        free(w->uki_path);
        free(w->map_path);
        w->uki_path = serve(w, uki->target, w->new, SIZE, &uki->sha256);
        fd = open(w->uki_path, O_RDONLY | O_CLOEXEC);
        ok(block_map_build(fd, N * BLOCK, w->description.verity_salt.bytes, digest_size, &m, &e), &e);
        block_map_format(m, &text);
        w->map_path = serve(w, map->target, text.data, text.size, &map->sha256);
        map->size = text.size;
        w->offer = (Offer){ .description = &w->description };
        w->offer.download[ARTIFACT_UKI] = SIZE;
        w->offer.download[ARTIFACT_UKI_MAP] = text.size;
        w->offer.target_sha256[ARTIFACT_UKI] = uki->sha256;
        w->offer.target_sha256[ARTIFACT_UKI_MAP] = map->sha256;
}

static void write_old(const World *w, size_t size) {
        _cleanup_error_ Error e = {};

        ok(io_write_file(AT_FDCWD, w->old_path, w->old, size, 0644, &e), &e);
}

static int setup(void **state) {
        World *w = xnew(World, 1);
        _cleanup_error_ Error e = {};

        ok(io_temporary_folder("test-uki-blocks", &w->folder, &e), &e);
        /* The workers are somebody else. */
        assert_int_equal(chmod(w->folder, 0755), 0);
        w->old_path = path_join(w->folder, "old.efi");
        w->state = path_join(w->folder, "state");
        w->repository = xasprintf("file://%s/repo", w->folder);
        for (size_t i = 0; i < COPIES; i++)
                w->repositories[i] = w->repository;
        w->options = (FetchOptions){ .repositories = w->repositories, .state_folder = w->state };
        w->description.version = (char *) "2";
        w->description.verity_salt = (Sha256){ { 7 } };
        for (size_t i = 0; i <= N; i++) {
                fill(w->old, i, 100 + (unsigned) i);
                fill(w->new, i, 100 + (unsigned) i);
        }
        ok(io_tmpfile("/var/tmp", &w->fd, &e), &e);
        *state = w;
        return 0;
}

static int teardown(void **state) {
        World *w = *state;

        (void) io_remove_tree(AT_FDCWD, w->folder, NULL);
        free(w->folder);
        free(w->old_path);
        free(w->state);
        free(w->repository);
        free(w->uki_path);
        free(w->map_path);
        safe_close(w->fd);
        free(w);
        return 0;
}

/* Both steps; bytes that came but for the map. */
static int get(World *w, uint64_t *ret_missing, uint64_t *ret_fetched, Error *reterr) {
        _cleanup_(uki_blocks_freep) UkiBlocks *u = NULL;
        const FetchSink sink = {};
        uint64_t map = 0, fetched = 0;
        int r;

        r = uki_blocks_open(&w->options, &w->offer, w->old_path, w->fd, &u, &map, reterr);
        if (r < 0)
                return r;
        *ret_missing = uki_blocks_missing(u);
        r = uki_blocks_fetch(u, &sink, &fetched, reterr);
        *ret_fetched = fetched;
        return r;
}

static void assert_result(const World *w) {
        _cleanup_free_ char *there = xmalloc(SIZE);
        _cleanup_error_ Error e = {};

        ok(io_pread_all(w->fd, there, SIZE, 0, &e), &e);
        assert_memory_equal(there, w->new, SIZE);
}

static void what_the_old_one_has_is_not_fetched(void **state) {
        World *w = *state;
        _cleanup_error_ Error e = {};
        uint64_t missing = 0, fetched = 0;

        /* Moved, in another order, and two that are new. */
        for (unsigned i = 0; i < 10; i++)
                fill(w->new, i, 120 + i);
        fill(w->new, 20, 1);
        fill(w->new, 21, 2);
        publish(w, 4);
        write_old(w, SIZE);
        ok(get(w, &missing, &fetched, &e), &e);
        assert_int_equal(missing, 2 * BLOCK + REST);
        assert_int_equal(fetched, missing);
        assert_result(w);
}

static void images_of_other_sizes_serve_as_well(void **state) {
        static const size_t sizes[] = { 3 * BLOCK, 3 * BLOCK + 1, BLOCK };
        World *w = *state;

        publish(w, 4);
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_error_ Error e = {};
                uint64_t missing = 0, fetched = 0;

                write_old(w, sizes[i]);
                assert_int_equal(ftruncate(w->fd, 0), 0);
                ok(get(w, &missing, &fetched, &e), &e);
                assert_int_equal(missing, SIZE - sizes[i] / BLOCK * BLOCK);
                assert_int_equal(fetched, missing);
                assert_result(w);
        }
}

static void what_is_in_the_file_is_not_fetched_again(void **state) {
        World *w = *state;
        _cleanup_error_ Error e = {};
        uint64_t missing = 0, fetched = 0;

        publish(w, 4);
        write_old(w, 5 * BLOCK);
        /* From an attempt that was killed: some in their places, one that is wrong, a hole. */
        ok(io_pwrite_all(w->fd, w->new + 10 * BLOCK, 4 * BLOCK, 10 * BLOCK, &e), &e);
        ok(io_pwrite_all(w->fd, w->new + 3 * BLOCK, BLOCK, 20 * BLOCK, &e), &e);
        ok(get(w, &missing, &fetched, &e), &e);
        assert_int_equal(missing, SIZE - 9 * BLOCK);
        assert_int_equal(fetched, missing);
        assert_result(w);
        ok(get(w, &missing, &fetched, &e), &e);
        assert_int_equal(missing, REST);
        assert_result(w);
}

static void without_a_block_in_common_all_of_it_is_missing(void **state) {
        World *w = *state;
        _cleanup_error_ Error e = {};
        uint64_t missing = 0, fetched = 0;

        for (unsigned i = 0; i <= N; i++)
                fill(w->new, i, 200 + i);
        publish(w, 4);
        write_old(w, SIZE);
        ok(get(w, &missing, &fetched, &e), &e);
        assert_int_equal(missing, SIZE);
        assert_result(w);
}

/* It is not what decides: whoever asked compares the whole. */
static void digests_that_are_too_short_give_something_of_the_right_size(void **state) {
        World *w = *state;
        _cleanup_free_ char *there = xmalloc(SIZE);
        _cleanup_error_ Error e = {};
        uint64_t missing = 0, fetched = 0;
        struct stat st;

        for (unsigned i = 0; i <= N; i++)
                fill(w->new, i, 300 + i);
        publish(w, 1);
        write_old(w, SIZE);
        ok(get(w, &missing, &fetched, &e), &e);
        assert_true(missing < SIZE);
        assert_int_equal(fstat(w->fd, &st), 0);
        assert_int_equal(st.st_size, SIZE);
        ok(io_pread_all(w->fd, there, SIZE, 0, &e), &e);
        assert_memory_not_equal(there, w->new, SIZE);
}

static void a_server_that_has_something_else_is_noticed(void **state) {
        World *w = *state;
        _cleanup_free_ char *there = xmalloc(BLOCK);
        _cleanup_buffer_ Buffer changed = {};
        _cleanup_error_ Error e = {};
        uint64_t missing = 0, fetched = 0;

        fill(w->new, 5, 1);
        fill(w->new, 30, 2);
        publish(w, 4);
        write_old(w, SIZE);
        buffer_append(&changed, w->new, SIZE);
        changed.data[30 * BLOCK + 17] ^= 1;
        ok(io_write_file(AT_FDCWD, w->uki_path, changed.data, changed.size, 0644, &e), &e);
        assert_true(get(w, &missing, &fetched, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
        /* What was right stays, and is not asked for again. */
        ok(io_pread_all(w->fd, there, BLOCK, 5 * BLOCK, NULL), NULL);
        assert_memory_equal(there, w->new + 5 * BLOCK, BLOCK);
        error_done(&e);
        e = (Error){};
        ok(io_write_file(AT_FDCWD, w->uki_path, w->new, SIZE, 0644, &e), &e);
        ok(get(w, &missing, &fetched, &e), &e);
        assert_int_equal(missing, BLOCK + REST);
        assert_result(w);
}

static void a_file_that_ends_early_is_noticed(void **state) {
        World *w = *state;
        _cleanup_error_ Error e = {};
        uint64_t missing = 0, fetched = 0;

        fill(w->new, 30, 2);
        publish(w, 4);
        write_old(w, SIZE);
        ok(io_write_file(AT_FDCWD, w->uki_path, w->new, 30 * BLOCK + 9, 0644, &e), &e);
        assert_true(get(w, &missing, &fetched, &e) < 0);
        assert_int_equal(e.id, REFUSAL_DOWNLOAD);
}

static void maps_that_are_none_are_refused(void **state) {
        World *w = *state;
        _cleanup_error_ Error first = {}, second = {}, third = {};
        uint64_t missing = 0, fetched = 0;

        publish(w, 4);
        write_old(w, SIZE);
        /* Of another size. */
        w->offer.download[ARTIFACT_UKI] = SIZE + BLOCK;
        assert_true(get(w, &missing, &fetched, &first) < 0);
        assert_int_equal(first.id, REFUSAL_MIXED);
        w->offer.download[ARTIFACT_UKI] = SIZE;
        w->description.artifacts[ARTIFACT_UKI_MAP].present = false;
        assert_true(get(w, &missing, &fetched, &second) < 0);
        assert_int_equal(second.id, REFUSAL_NOT_FOUND);
        /* No old image. */
        w->description.artifacts[ARTIFACT_UKI_MAP].present = true;
        write_old(w, 100);
        assert_true(get(w, &missing, &fetched, &third) < 0);
        assert_int_equal(third.id, REFUSAL_NOT_FOUND);
}

int main(void) {
#define with_world(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                with_world(what_the_old_one_has_is_not_fetched),
                with_world(images_of_other_sizes_serve_as_well),
                with_world(what_is_in_the_file_is_not_fetched_again),
                with_world(without_a_block_in_common_all_of_it_is_missing),
                with_world(digests_that_are_too_short_give_something_of_the_right_size),
                with_world(a_server_that_has_something_else_is_noticed),
                with_world(a_file_that_ends_early_is_noticed),
                with_world(maps_that_are_none_are_refused),
        };

        return cmocka_run_group_tests_name("uki-blocks", tests, NULL, NULL);
}
