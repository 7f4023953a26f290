/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "decode.h"
#include "delta-apply.h"
#include "delta-fixture.h"
#include "io.h"
#include "verity.h"

#define BLOCK ((size_t) 4096)
#define TREE_OFFSET ((uint64_t) 64 << 20)
#define COPIES 5 /* as many as attempts: then nothing is waited for */

/* A disk with one slot that holds the old image, a repository with the delta, and a target in memory. */
typedef struct World {
        char *folder, *disk, *state, *repository, *path; /* path: of the delta on the server */
        int disk_fd;
        Slot slot;
        Buffer old, new, file; /* file: the delta */
        Delta *delta;
        ReleaseDescription *description;
        Offer offer;
        FetchOptions options;
        char *repositories[COPIES + 1];
        char *target;
        bool uki; /* a kernel image: a file and not a slot, and nothing says what of it is damaged */
        uint64_t written, fail_after; /* bytes; the write that goes beyond fails */
} World;

static void ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

static void make_slot(World *w) {
        VerityOptions options = { .salt = { 7 } };
        _cleanup_error_ Error e = {};

        w->slot = (Slot){ .usr = { .offset = 0, .size = TREE_OFFSET },
                          .verity = { .offset = TREE_OFFSET, .size = 4 << 20 },
                          .has_root_hash = true };
        ok(io_pwrite_all(w->disk_fd, w->old.data, w->old.size, 0, &e), &e);
        ok(verity_write_tree(w->disk_fd, 0, w->old.size, w->disk_fd, TREE_OFFSET, &options, &w->slot.root_hash, &e),
           &e);
}

static void publish(World *w) {
        _cleanup_free_ char *hex = NULL, *folder = path_join(w->folder, "repo/targets/desk/2");
        ArtifactDelta *a = w->description->deltas;
        _cleanup_error_ Error e = {};

        free(w->path);
        sha256_buffer(w->file.data, w->file.size, &w->offer.delta_sha256[0]);
        hex = sha256_hex(&w->offer.delta_sha256[0]);
        w->path = xasprintf("%s/%s.1.usr.delta", folder, hex);
        ok(io_mkdir_parents(AT_FDCWD, folder, 0755, &e), &e);
        ok(io_write_file(AT_FDCWD, w->path, w->file.data, w->file.size, 0644, &e), &e);
        w->offer.delta_download[0] = w->file.size;
        sha256_buffer(w->file.data, a->head_size, &a->head_sha256);
}

static void make_old(World *w) {
        if (!w->uki) {
                make_slot(w);
                w->delta->old_id = w->slot.root_hash;
                return;
        }
        ok(io_pwrite_all(w->disk_fd, w->old.data, w->old.size, 0, NULL), NULL);
        sha256_buffer(w->old.data, w->old.size, &w->delta->old_id);
}

/* From what a fixture made, or what a test changed of it. */
static void finish(World *w, const Buffer *payload) {
        ReleaseDescription *d = w->description;
        Artifact *artifact = &d->artifacts[w->uki ? ARTIFACT_UKI : ARTIFACT_USR];
        _cleanup_buffer_ Buffer head = {};
        _cleanup_error_ Error e = {};

        make_old(w);
        sha256_buffer(w->new.data, w->new.size, &w->delta->new_id);
        ok(delta_format(w->delta, &head, &e), &e);
        artifact->size = w->new.size;
        if (w->uki)
                artifact->sha256 = w->delta->new_id;
        else
                d->root_hash = w->delta->new_id;
        d->deltas[0].artifact = w->uki ? ARTIFACT_UKI : ARTIFACT_USR;
        d->deltas[0].from_id = w->delta->old_id;
        d->deltas[0].head_size = head.size;
        buffer_append(&w->file, head.data, head.size);
        buffer_append(&w->file, payload->data, payload->size);
        w->offer.description = d;
        publish(w);
        w->target = xcalloc(1, w->new.size);
        w->fail_after = UINT64_MAX;
}

static World *new_world(void) {
        World *w = xnew(World, 1);
        _cleanup_error_ Error e = {};

        ok(io_temporary_folder("test-delta-apply", &w->folder, &e), &e);
        /* The workers are somebody else. */
        assert_int_equal(chmod(w->folder, 0755), 0);
        w->disk = path_join(w->folder, "disk");
        w->state = path_join(w->folder, "state");
        w->repository = xasprintf("file://%s/repo", w->folder);
        for (size_t i = 0; i < COPIES; i++)
                w->repositories[i] = w->repository;
        w->disk_fd = open(w->disk, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        assert_true(w->disk_fd >= 0);
        w->options = (FetchOptions){ .repositories = w->repositories, .state_folder = w->state };
        w->description = xnew(ReleaseDescription, 1);
        w->description->version = xstrdup("2");
        w->description->deltas = xnew(ArtifactDelta, 1);
        w->description->n_deltas = 1;
        w->description->deltas[0] = (ArtifactDelta){ .artifact = ARTIFACT_USR,
                                                     .from = xstrdup("1"),
                                                     .target = xstrdup("desk/2/1.usr.delta") };
        return w;
}

static int setup_world(void **state, bool uki) {
        _cleanup_delta_fixture_ DeltaFixture f = {};
        World *w = new_world();

        w->uki = uki;
        if (uki)
                delta_segments_fixture(&f);
        else
                delta_fixture(&f);
        w->old = f.old;
        w->new = f.new;
        w->delta = TAKE_PTR(f.delta);
        f.old = f.new = (Buffer){};
        finish(w, &f.payload);
        *state = w;
        return 0;
}

static int setup(void **state) {
        return setup_world(state, false);
}

static int setup_uki(void **state) {
        return setup_world(state, true);
}

static int teardown(void **state) {
        World *w = *state;

        safe_close(w->disk_fd);
        io_remove_tree(AT_FDCWD, w->folder, NULL);
        buffer_done(&w->old);
        buffer_done(&w->new);
        buffer_done(&w->file);
        delta_free(w->delta);
        description_free(w->description);
        free(w->folder);
        free(w->disk);
        free(w->state);
        free(w->repository);
        free(w->path);
        free(w->target);
        free(w);
        return 0;
}

static int target_read(uint64_t offset, void *data, size_t size, void *userdata, Error *reterr) {
        World *w = userdata;

        assert_true(offset + size <= w->new.size);
        memcpy(data, w->target + offset, size);
        return 0;
}

static int target_write(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr) {
        World *w = userdata;

        assert_true(offset + size <= w->new.size);
        if (w->written + size > w->fail_after)
                return error_set(reterr, EIO, REFUSAL_CANCELLED, "cut");
        memcpy(w->target + offset, data, size);
        w->written += size;
        return 0;
}

static int apply(World *w, DeltaOutcome *result, Error *e) {
        _cleanup_(delta_old_freep) DeltaOld *old = NULL;
        DeltaApply a = { .options = &w->options,
                         .offer = &w->offer,
                         .unit = w->uki ? 1 : 4096,
                         .read = target_read,
                         .write = target_write,
                         .userdata = w };

        w->written = 0;
        if (w->uki)
                ok(delta_old_open_file(w->disk, w->old.size, &old, e), e);
        else
                ok(delta_old_open_slot(w->disk, &w->slot, &old, e), e);
        a.old = old;
        return delta_apply(&a, result, e);
}

static void flip(const World *w, uint64_t offset) {
        uint8_t byte = 0;

        ok(io_pread_all(w->disk_fd, &byte, 1, offset, NULL), NULL);
        byte ^= 1;
        ok(io_pwrite_all(w->disk_fd, &byte, 1, offset, NULL), NULL);
}

static void flip_on_server(const World *w, uint64_t offset) {
        _cleanup_buffer_ Buffer changed = {};

        buffer_append(&changed, w->file.data, w->file.size);
        changed.data[offset] ^= 1;
        ok(io_write_file(AT_FDCWD, w->path, changed.data, changed.size, 0644, NULL), NULL);
}

static void heal_server(const World *w) {
        ok(io_write_file(AT_FDCWD, w->path, w->file.data, w->file.size, 0644, NULL), NULL);
}

/* ---- a delta that is good ---- */

static void a_delta_makes_the_new_image(void **state) {
        World *w = *state;
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {};

        ok(apply(w, &result, &e), &e);
        assert_memory_equal(w->target, w->new.data, w->new.size);
        assert_int_equal(result.missing, 0);
        assert_int_equal(result.made, w->new.size);
        assert_int_equal(result.downloaded, w->file.size);
}

static void what_is_there_is_neither_fetched_nor_written(void **state) {
        World *w = *state;
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {};

        ok(apply(w, &result, &e), &e);
        ok(apply(w, &result, &e), &e);
        assert_int_equal(result.downloaded, 0);
        assert_int_equal(w->written, 0);
        /* One operation's output is lost. */
        w->target[5 * BLOCK + 17] ^= 1;
        ok(apply(w, &result, &e), &e);
        assert_memory_equal(w->target, w->new.data, w->new.size);
        assert_int_equal(result.downloaded, w->delta->ops[1].payload_size);
        assert_int_equal(w->written, w->delta->ops[1].size);
}

/* What is lost is what was on its way: here, the payload comes in one piece. */
static void an_attempt_goes_on_where_the_last_one_was_cut(void **state) {
        World *w = *state;

        for (uint64_t cut = 0; cut < w->new.size; cut += BLOCK) {
                DeltaOutcome first = {}, second = {};
                _cleanup_error_ Error e = {};

                memset(w->target, 0, w->new.size);
                download_cache_keep(w->state, NULL, 0);
                w->fail_after = cut;
                assert_int_equal(apply(w, &first, &e), -EIO);
                assert_int_equal(e.id, REFUSAL_CANCELLED);
                w->fail_after = UINT64_MAX;
                ok(apply(w, &second, &e), &e);
                assert_memory_equal(w->target, w->new.data, w->new.size);
                assert_true(first.downloaded + second.downloaded <= w->file.size + w->delta->payload_size);
        }
}

/* ---- an old image that rots ---- */

static void a_copy_goes_around_what_is_damaged(void **state) {
        World *w = *state;
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {};

        flip(w, 5 * BLOCK + 99);
        assert_int_equal(apply(w, &result, &e), 1);
        assert_int_equal(result.missing, BLOCK);
        assert_memory_equal(w->target, w->new.data, BLOCK);
        assert_memory_equal(w->target + 2 * BLOCK, w->new.data + 2 * BLOCK, w->new.size - 2 * BLOCK);
        assert_int_equal(result.downloaded, w->file.size);
}

static void what_a_damaged_window_would_need_is_not_fetched(void **state) {
        World *w = *state;
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {};

        flip(w, 2 * BLOCK);
        assert_int_equal(apply(w, &result, &e), 1);
        assert_int_equal(result.missing, w->delta->ops[1].size);
        assert_int_equal(result.downloaded, w->file.size - w->delta->ops[1].payload_size);
        assert_memory_equal(w->target + 7 * BLOCK, w->new.data + 7 * BLOCK, w->new.size - 7 * BLOCK);
}

static void a_damaged_hash_tree_counts_as_damage(void **state) {
        World *w = *state;
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {};

        flip(w, TREE_OFFSET + verity_leaf_offset(w->old.size) + 6 * SHA256_SIZE);
        assert_int_equal(apply(w, &result, &e), 1);
        assert_int_equal(result.missing, BLOCK);
}

/* ---- a delta that is not good ---- */

static void a_damaged_payload_costs_its_operation(void **state) {
        World *w = *state;

        for (size_t op = 1; op < 4; op++) {
                const DeltaOp *o = &w->delta->ops[op];
                DeltaOutcome result = {};
                _cleanup_error_ Error e = {};

                memset(w->target, 0, w->new.size);
                download_cache_keep(w->state, NULL, 0);
                flip_on_server(w, w->description->deltas[0].head_size + o->payload_offset + o->payload_size / 2);
                assert_int_equal(apply(w, &result, &e), 1);
                assert_int_equal(result.missing, o->size);
                assert_true(result.downloaded <= 2 * w->file.size);
                heal_server(w);
                ok(apply(w, &result, &e), &e);
                assert_memory_equal(w->target, w->new.data, w->new.size);
        }
}

static void each_byte_that_is_changed_is_noticed(void **state) {
        World *w = *state;

        for (size_t at = 0; at < w->file.size; at += 1 + w->file.size / 150) {
                DeltaOutcome result = {};
                _cleanup_error_ Error e = {};
                int r;

                memset(w->target, 0, w->new.size);
                download_cache_keep(w->state, NULL, 0);
                flip_on_server(w, at);
                r = apply(w, &result, &e);
                if (at < w->description->deltas[0].head_size) {
                        assert_true(r < 0);
                        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
                } else if (r == 0)
                        assert_memory_equal(w->target, w->new.data, w->new.size);
                else
                        assert_int_equal(r, 1);
                heal_server(w);
        }
}

static void a_delta_that_is_not_there_or_too_short_is_an_error(void **state) {
        World *w = *state;
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {}, f = {};

        ok(io_write_file(AT_FDCWD, w->path, w->file.data, w->file.size - 100, 0644, NULL), NULL);
        assert_true(apply(w, &result, &e) < 0);
        assert_int_equal(e.id, REFUSAL_DOWNLOAD);
        ok(io_unlink(AT_FDCWD, w->path, NULL), NULL);
        memset(w->target, 0, w->new.size);
        download_cache_keep(w->state, NULL, 0);
        assert_true(apply(w, &result, &f) < 0);
        assert_int_equal(f.id, REFUSAL_DOWNLOAD);
}

static void a_delta_of_something_else_is_refused(void **state) {
        World *w = *state;

        for (unsigned i = 0; i < 4; i++) {
                ReleaseDescription *d = w->description;
                DeltaOutcome result = {};
                _cleanup_error_ Error e = {};

                d->deltas[0].from_id.bytes[0] ^= i == 0;
                d->root_hash.bytes[0] ^= i == 1;
                d->artifacts[ARTIFACT_USR].size += i == 2 ? BLOCK : 0;
                w->offer.delta_download[0] += i == 3;
                assert_true(apply(w, &result, &e) < 0);
                assert_int_equal(e.id, REFUSAL_MIXED);
                d->deltas[0].from_id.bytes[0] ^= i == 0;
                d->root_hash.bytes[0] ^= i == 1;
                d->artifacts[ARTIFACT_USR].size -= i == 2 ? BLOCK : 0;
                w->offer.delta_download[0] -= i == 3;
        }
}

/* Other versions of what we know, and what nobody knows. */
static void another_encoder_is_no_reason_to_fetch_payloads(void **state) {
        World *w = *state;
        const char *const others[] = { w->uki ? "zstd-1.5.8" : "lz4hc-9.9.9", "xz-5.4.1" };
        size_t head_size = w->description->deltas[0].head_size;
        _cleanup_buffer_ Buffer payload = {};

        buffer_append(&payload, w->file.data + head_size, w->file.size - head_size);
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                _cleanup_buffer_ Buffer head = {};
                DeltaOutcome result = {};
                _cleanup_error_ Error e = {};

                memset(w->delta->encoder, 0, DELTA_ENCODER_SIZE);
                strcpy(w->delta->encoder, others[i]);
                ok(delta_write(w->delta, &head, &e), &e);
                w->file.size = 0;
                buffer_append(&w->file, head.data, head.size);
                buffer_append(&w->file, payload.data, payload.size);
                w->description->deltas[0].head_size = head.size;
                publish(w);
                assert_true(apply(w, &result, &e) < 0);
                assert_int_equal(e.id, REFUSAL_MACHINE);
                assert_int_equal(result.downloaded, head.size);
        }
}

/* ---- of a kernel image ---- */

/* Nothing says beforehand that it is damaged: the operation's digest does. */
static void a_damaged_segment_costs_its_operation(void **state) {
        World *w = *state;
        const DeltaOp *o = &w->delta->ops[2];

        for (uint64_t at = w->delta->ranges[2].offset; at < w->old.size - 200; at += 20011) {
                DeltaOutcome result = {};
                _cleanup_error_ Error e = {};

                flip(w, at);
                memset(w->target, 0, w->new.size);
                assert_int_equal(apply(w, &result, &e), 1);
                assert_int_equal(result.missing, o->size);
                assert_memory_equal(w->target, w->new.data, o->offset);
                flip(w, at);
        }
}

int main(void) {
#define with_world(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
#define with_uki(t)                                                                                                    \
        { #t "_of_a_kernel_image", t, setup_uki, teardown, NULL }
        const struct CMUnitTest tests[] = {
                with_world(a_delta_makes_the_new_image),
                with_world(what_is_there_is_neither_fetched_nor_written),
                with_world(an_attempt_goes_on_where_the_last_one_was_cut),
                with_world(a_copy_goes_around_what_is_damaged),
                with_world(what_a_damaged_window_would_need_is_not_fetched),
                with_world(a_damaged_hash_tree_counts_as_damage),
                with_world(a_damaged_payload_costs_its_operation),
                with_world(each_byte_that_is_changed_is_noticed),
                with_world(a_delta_that_is_not_there_or_too_short_is_an_error),
                with_world(a_delta_of_something_else_is_refused),
                with_world(another_encoder_is_no_reason_to_fetch_payloads),
                with_uki(a_delta_makes_the_new_image),
                with_uki(an_attempt_goes_on_where_the_last_one_was_cut),
                with_uki(a_damaged_segment_costs_its_operation),
                with_uki(another_encoder_is_no_reason_to_fetch_payloads),
        };

        return cmocka_run_group_tests_name("delta-apply", tests, NULL, NULL);
}
