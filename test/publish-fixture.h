/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small release that can be published (root hash, hash tree, UKI and their digests are real) and a repository in a
 * folder, for tests. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "change-keys.h"
#include "io.h"
#include "pe.h"
#include "publish.h"
#include "synthetic-pe.h"
#include "uki.h"
#include "verity.h"

#define PUBLISH_NOW INT64_C(1795255200) /* 2026-11-21 10:00 UTC */
#if !defined(PUBLISH_USR_SIZE)
#define PUBLISH_USR_SIZE ((size_t) 1 << 20 | 8192)
/* What stands at byte i of an image of that content. */
#define PUBLISH_BYTE(content, i) ((content) + ((i) / 97 ^ (i) % 31))
#endif

static inline void publish_ok(int r, const Error *e) {
        if (r < 0)
                print_error("%s\n", e->message);
        assert_true(r >= 0);
}

static inline void publish_write(Release *r, ReleasePart part, const void *data, size_t size) {
        _cleanup_free_ char *path = release_file_path(r, part);
        _cleanup_error_ Error e = {};

        publish_ok(io_write_file(AT_FDCWD, path, data, size, 0644, &e), &e);
}

/* A test may have its own: it makes the file and returns its size. */
#if !defined(PUBLISH_MAKE_IMAGE)
#define PUBLISH_MAKE_IMAGE publish_make_image
static inline size_t publish_make_image(Release *r, char content) {
        _cleanup_free_ char *image = xcalloc(1, PUBLISH_USR_SIZE);

        for (size_t i = 0; i < PUBLISH_USR_SIZE; i++)
                image[i] = (char) PUBLISH_BYTE(content, i);
        publish_write(r, RELEASE_USR, image, PUBLISH_USR_SIZE);
        return PUBLISH_USR_SIZE;
}
#endif

static inline void publish_write_image(Release *r, char content) {
        _cleanup_free_ char *data = release_file_path(r, RELEASE_USR), *hash = release_file_path(r, RELEASE_VERITY),
                            *hex = NULL, *line = NULL;
        const VerityOptions o = { .salt = "thirty-two bytes that are fixed.", .uuid = "sixteen of them." };
        size_t size = PUBLISH_MAKE_IMAGE(r, content);
        _cleanup_error_ Error e = {};

        publish_ok(verity_format(data, size, hash, &o, &r->root_hash, &e), &e);
        hex = sha256_hex(&r->root_hash);
        line = xasprintf("%s\n", hex);
        publish_write(r, RELEASE_ROOT_HASH, line, strlen(line));
}

#if !defined(PUBLISH_INITRD_SIZE)
#define PUBLISH_INITRD_SIZE 6
/* What stands at byte i of the initrd of a release. */
#define PUBLISH_INITRD_BYTE(release, i) "initrd"[i]
#endif

/* The UKI with a signature container that nobody's key made. */
static inline void publish_write_uki(Release *r) {
        size_t stub_size, size, signed_size;
        _cleanup_free_ void *stub = synthetic_pe(&stub_size), *image = NULL, *with_signature = NULL;
        _cleanup_free_ char *hex = sha256_hex(&r->root_hash), *line = xasprintf("usrhash=%s quiet", hex),
                            *os = xasprintf("ID=debian\nIMAGE_ID=%s\nIMAGE_VERSION=%s\n", r->image_id, r->version),
                            *initrd = xmalloc(PUBLISH_INITRD_SIZE);
        _cleanup_error_ Error e = {};

        for (size_t i = 0; i < PUBLISH_INITRD_SIZE; i++)
                initrd[i] = (char) PUBLISH_INITRD_BYTE(r, i);
        publish_ok(uki_assemble(&(UkiOptions){ .stub = stub,
                                               .stub_size = stub_size,
                                               .kernel = stub,
                                               .kernel_size = stub_size,
                                               .initrd = initrd,
                                               .initrd_size = PUBLISH_INITRD_SIZE,
                                               .command_line = line,
                                               .os_release = os,
                                               .uname = "6.12.48+deb13-amd64" },
                                &image, &size, &e),
                   &e);
        publish_write(r, RELEASE_UNSIGNED_UKI, image, size);
        publish_ok(pe_attach_signature(image, size, "0\nsignature!", 12, &with_signature, &signed_size, &e), &e);
        publish_write(r, RELEASE_UKI, with_signature, signed_size);
        r->command_line = TAKE_PTR(line);
}

/* Writes FOLDER/PRODUCT_VERSION with an image made from content; returns its path. */
static inline char *publish_release(const char *folder, const char *product, const char *version, char content,
                                    bool development) {
        static const ReleasePart plain[] = { RELEASE_VERITY_SIG, RELEASE_INITRD,   RELEASE_BOOT_LOADER,
                                             RELEASE_SBOM,       RELEASE_PACKAGES, RELEASE_CONTENTS };
        _cleanup_free_ char *name = release_name(product, version), *path = path_join(folder, name);
        _cleanup_(release_freep) Release *r = release_new(path, product, version);
        const Sha256 fingerprint = { { 7 } };
        _cleanup_error_ Error e = {};

        publish_ok(io_mkdir_parents(AT_FDCWD, path, 0755, &e), &e);
        r->architecture = xstrdup("amd64");
        r->recipe = xstrdup(product);
        r->epoch = PUBLISH_NOW - 86400;
        r->kernel_version = xstrdup("6.12.48+deb13-amd64");
        r->layout = USR_LAYOUT_PLAIN;
        publish_write_image(r, content);
        publish_write_uki(r);
        for (size_t i = 0; i < ELEMENTSOF(plain); i++)
                publish_write(r, plain[i], "content", 7);
        release_set_certificate(r, "usr", "CN=root hash", &fingerprint, PUBLISH_NOW + 86400, development);
        release_set_certificate(r, "uki", "CN=Secure Boot", &fingerprint, PUBLISH_NOW + 86400, development);
        release_set_tool(r, "sealab", SEALAB_VERSION);
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++)
                if (i != RELEASE_DISK)
                        publish_ok(release_add_file(r, (ReleasePart) i, &e), &e);
        publish_ok(release_write(r, &e), &e);
        return TAKE_PTR(path);
}

typedef struct PublishFixture {
        char *folder;
        Storage *storage; /* FOLDER/repo, with channels beta and stable */
        RepoKeys *keys;
        int64_t now; /* of the next change */
} PublishFixture;

static inline int publish_fixture_setup(void **state) {
        static const char *const roles[] = { "root", "targets", "snapshot", "timestamp" };
        PublishFixture *f = xnew(PublishFixture, 1);
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_free_ char *place = NULL, *keys = NULL;
        _cleanup_error_ Error e = {};

        f->now = PUBLISH_NOW;
        publish_ok(io_temporary_folder("test-publish", &f->folder, &e), &e);
        place = path_join(f->folder, "repo");
        keys = path_join(f->folder, "keys");
        publish_ok(storage_open(place, true, &f->storage, &e), &e);
        publish_ok(repo_keys_generate(keys, "ed25519", 1, &e), &e);
        publish_ok(repo_keys_load(keys, &f->keys, &e), &e);
        publish_ok(change_begin_new(f->storage, f->now, &c, &e), &e);
        (void) change_edit(c, "root");
        for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
                _cleanup_free_ const RepoKey **of_role = NULL;

                assert_int_equal(repo_keys_of_role(f->keys, roles[i], &of_role), 1);
                publish_ok(change_key_add(c, roles[i], of_role[0]->public_key, &e), &e);
        }
        publish_ok(change_add_channel(c, "beta", f->keys, 1, &e), &e);
        publish_ok(change_add_channel(c, "stable", f->keys, 1, &e), &e);
        publish_ok(change_sign(c, f->keys, &e), &e);
        publish_ok(change_commit(c, NULL, &e), &e);
        *state = f;
        return 0;
}

static inline int publish_fixture_teardown(void **state) {
        PublishFixture *f = *state;

        storage_free(f->storage);
        repo_keys_free(f->keys);
        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f);
        return 0;
}

/* ---- changes ---- */

/* What a change makes of the repository: the error's id, or REFUSAL_NONE; r tells 0 from 1. */
typedef struct Result {
        int r;
        Refusal id;
} Result;

/* Signs and stores it if there is something to. */
static inline Result finish(PublishFixture *f, Change *c, int r, Error *e) {
        Result result = { .r = r, .id = e->id };

        if (r == 0) {
                publish_ok(change_sign(c, f->keys, e), e);
                publish_ok(change_commit(c, NULL, e), e);
        }
        return result;
}

#define assert_result(call, wanted_r, wanted_id)                                                                       \
        do {                                                                                                           \
                Result _result = call;                                                                                 \
                assert_string_equal(refusal_name(_result.id), refusal_name(wanted_id));                                \
                if (_result.id == REFUSAL_NONE)                                                                        \
                        assert_int_equal(_result.r, wanted_r);                                                         \
        } while (0)
#define assert_done(call) assert_result(call, 0, REFUSAL_NONE)
#define assert_nothing(call) assert_result(call, 1, REFUSAL_NONE)
#define assert_refused(call, id) assert_result(call, 0, id)

/* ---- what is public ---- */

typedef struct View {
        Repository *repository;
        PublishedRelease *items;
        size_t n_items;
        const TufMetadata *channel;
} View;

static inline void view_done(View *v) {
        published_releases_free(v->items, v->n_items);
        repository_free(v->repository);
}
#define _cleanup_view_ _cleanup_(view_done)

static inline View look(PublishFixture *f, const char *channel) {
        _cleanup_error_ Error e = {};
        View v = {};

        publish_ok(repository_open(f->storage, NULL, 0, &v.repository, &e), &e);
        v.channel = repository_role(v.repository, channel);
        publish_ok(published_releases(v.channel, channel, &v.items, &v.n_items, &e), &e);
        return v;
}

/* A target's file, which has the length and the digest that metadata says. */
static inline Buffer stored(PublishFixture *f, const View *v, const char *path) {
        const TufTarget *t = tuf_find_target(v->channel, path);
        _cleanup_free_ char *name = NULL;
        _cleanup_error_ Error e = {};
        Buffer b = {};

        assert_non_null(t);
        name = repository_target_path(path, &t->hashes);
        publish_ok(storage_read(f->storage, name, (size_t) 16 << 20, &b, &e), &e);
        assert_int_equal(b.size, t->length);
        publish_ok(tuf_check_hashes(&t->hashes, b.data, b.size, path, &e), &e);
        return b;
}
