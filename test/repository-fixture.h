/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small repository with keys, for tests: two of three root keys, one channel, one target. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "change-keys.h"
#include "io.h"
#include "process.h"
#include "repo-check.h"

#define NOW INT64_C(1800000000)
#define CONTENT "content of a release"

typedef struct Fixture {
        char *folder, *keys, *pristine, *place;
} Fixture;

/* ---- helpers ---- */

#define OK(call)                                                                                                       \
        do {                                                                                                           \
                _cleanup_error_ Error ok_error = {};                                                                   \
                Error *e = &ok_error;                                                                                  \
                if ((call) < 0)                                                                                        \
                        fail_msg("%s:%d: %s", __FILE__, __LINE__, ok_error.message);                                   \
        } while (0)

#define REFUSED(call, refusal)                                                                                         \
        do {                                                                                                           \
                _cleanup_error_ Error refused_error = {};                                                              \
                Error *e = &refused_error;                                                                             \
                assert_true((call) < 0);                                                                               \
                if (refused_error.id != (refusal))                                                                     \
                        fail_msg("%s:%d: %s (%s)", __FILE__, __LINE__, refusal_name(refused_error.id),                 \
                                 refused_error.message);                                                               \
        } while (0)

static inline void copy_folder(const char *from, const char *to) {
        const char *const argv[] = { "cp", "-a", "--", from, to, NULL };
        const ProcessOptions opt = {};

        OK(io_remove_tree(AT_FDCWD, to, e));
        OK(process_run((char *const *) argv, &opt, NULL, NULL, e));
}

static inline RepoKeys *load_keys(const char *folder) {
        RepoKeys *keys = NULL;

        OK(repo_keys_load(folder, &keys, e));
        return keys;
}

static inline void sign_and_commit(Change *c, const char *keys_folder) {
        _cleanup_(repo_keys_freep) RepoKeys *keys = load_keys(keys_folder);

        OK(change_sign(c, keys, e));
        OK(change_commit(c, NULL, e));
}

static inline void add_top_level(Change *c, const RepoKeys *keys, const char *role, size_t threshold) {
        _cleanup_free_ const RepoKey **of_role = NULL;
        size_t n = repo_keys_of_role(keys, role, &of_role);

        for (size_t i = 0; i < n; i++)
                OK(change_key_add(c, role, of_role[i]->public_key, e));
        OK(change_key_threshold(c, role, threshold, e));
}

static inline Change *new_repository(Storage *s, const char *keys_folder) {
        _cleanup_(repo_keys_freep) RepoKeys *keys = load_keys(keys_folder);
        Change *c = NULL;

        OK(change_begin_new(s, NOW, &c, e));
        (void) change_edit(c, "root");
        add_top_level(c, keys, "root", 2);
        add_top_level(c, keys, "targets", 1);
        add_top_level(c, keys, "snapshot", 1);
        add_top_level(c, keys, "timestamp", 1);
        (void) change_edit(c, "targets");
        OK(change_add_channel(c, "stable", keys, 1, e));
        return c;
}

/* A target as "publish" would make it. */
static inline void add_target(Change *c, const char *channel, const char *path, const char *content) {
        json_t *targets = json_object_get(change_edit(c, channel), "targets");
        _cleanup_free_ char *hex = NULL;
        int fd = -EBADF;
        Sha256 hash;

        sha256_buffer(content, strlen(content), &hash);
        hex = sha256_hex(&hash);
        OK(io_tmpfile("/tmp", &fd, e));
        OK(io_write_all(fd, content, strlen(content), e));
        json_object_set_new(
                targets, path,
                json_pack("{s:I, s:{s:s}}", "length", (json_int_t) strlen(content), "hashes", "sha256", hex));
        change_add_file(c, path, &hash, fd, strlen(content));
}

static inline int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(change_freep) Change *c = NULL;

        OK(io_temporary_folder("test-repository", &f->folder, e));
        f->keys = path_join(f->folder, "keys");
        f->pristine = path_join(f->folder, "pristine");
        f->place = path_join(f->folder, "repo");
        OK(repo_keys_generate(f->keys, "ed25519", 3, e));
        OK(storage_open(f->pristine, true, &s, e));
        c = new_repository(s, f->keys);
        add_target(c, "stable", "laptop/1/file", CONTENT " 1");
        sign_and_commit(c, f->keys);
        *state = f;
        return 0;
}

static inline int tear_down(void **state) {
        Fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f->keys);
        free(f->pristine);
        free(f->place);
        free(f);
        return 0;
}

/* A fresh copy of the repository, and of the keys. */
static inline void restart(const Fixture *f) {
        _cleanup_free_ char *saved = path_join(f->folder, "keys.saved");

        copy_folder(f->pristine, f->place);
        if (!io_exists(AT_FDCWD, saved))
                copy_folder(f->keys, saved);
        copy_folder(saved, f->keys);
}

static inline void publish(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = NULL;

        OK(change_begin(s, NOW, &c, e));
        add_target(c, "stable", "laptop/2/file", CONTENT " 2");
        add_target(c, "stable", "laptop/2/other", CONTENT " 3");
        sign_and_commit(c, f->keys);
}

static inline void refresh(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = NULL;

        OK(change_begin(s, NOW, &c, e));
        (void) change_edit(c, "snapshot");
        sign_and_commit(c, f->keys);
}

static inline void tidy_up(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_json_ json_t *removed = NULL;

        OK(change_begin(s, NOW, &c, e));
        OK(repo_gc(change_repository(c), INT64_MAX, false, &removed, e));
}

static inline void assert_sound(const Fixture *f, const char *what, unsigned n) {
        _cleanup_(repository_freep) Repository *r = NULL;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_json_ json_t *found = NULL;

        OK(storage_open(f->place, false, &s, e));
        OK(repository_open(s, NULL, 0, &r, e));
        if (r->interrupted)
                fail_msg("%s: still interrupted after %u and once more", what, n);
        assert_int_equal(repo_verify(r, f->place, NOW, NULL, &found, NULL), 0);
}
