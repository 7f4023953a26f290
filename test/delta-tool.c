/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For test/integration/delta.sh:
 *
 *     delta-tool release FOLDER VERSION SEED
 *             as updater-tool, of 12 MiB: every eighth row of 16 KiB has the seed's own content, and in an initrd of
 *             half a MiB, the version's
 *     delta-tool publish REPOSITORY KEYS OLD NEW [bad|large]
 *             adds deltas from one release folder to another, which was published, to channel stable. bad: the image's
 *             makes another one; large: it needs as much memory as it may */

#define PUBLISH_USR_SIZE ((size_t) 12 << 20 | 8192)
/* Half of it can be packed. */
#define PUBLISH_BYTE(content, i) (noise(seed_at((unsigned) (content), (i)), (i)) & 0x0f)
#define PUBLISH_INITRD_SIZE ((size_t) 512 << 10)
#define PUBLISH_INITRD_BYTE(release, i) noise(seed_at((unsigned) (release)->version[0], (i)), (i))

#include <stddef.h>
#include <time.h>

#include "noise.h"

static unsigned seed_at(unsigned content, size_t i) {
        return i / 16384 % 8 == 3 ? content : 0;
}

#include "publish-fixture.h"
#include "simple-delta.h"

typedef struct Sides {
        const Release *old, *new;
        Buffer from, to;
        Sha256 from_id, to_id;
} Sides;

static void sides_done(Sides *s) {
        buffer_done(&s->from);
        buffer_done(&s->to);
}

static void load(const Release *r, ReleasePart part, Buffer *ret) {
        _cleanup_free_ char *path = release_file_path(r, part);
        _cleanup_error_ Error e = {};

        publish_ok(io_read_file(AT_FDCWD, path, 1 << 30, &ret->data, &ret->size, &e), &e);
}

static void add_target(json_t *signed_part, const char *target, const Buffer *file, Change *c) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *hex = NULL;
        _cleanup_error_ Error e = {};
        Sha256 digest;

        sha256_buffer(file->data, file->size, &digest);
        hex = sha256_hex(&digest);
        publish_ok(io_tmpfile("/var/tmp", &fd, &e), &e);
        publish_ok(io_write_all(fd, file->data, file->size, &e), &e);
        json_object_set_new(json_object_get(signed_part, "targets"), target,
                            json_pack("{s:I, s:{s:s}}", "length", (json_int_t) file->size, "hashes", "sha256", hex));
        change_add_file(c, target, &digest, TAKE_FD(fd), file->size);
}

static void add_delta(const Sides *s, ArtifactKind artifact, SimpleKind kind, ReleaseDescription *d,
                      json_t *signed_part, Change *c) {
        _cleanup_free_ char *file = xasprintf("%s.%s.delta", s->old->version, artifact_kind_name(artifact)),
                            *target = description_target_path(s->new->image_id, s->new->version, file);
        ArtifactDelta delta = {
                .artifact = artifact, .from = s->old->version, .from_id = s->from_id, .target = target
        };
        _cleanup_buffer_ Buffer bytes = {};

        delta.head_size = simple_delta(&s->from, &s->to, artifact == ARTIFACT_USR ? 4096 : 1, &s->from_id, &s->to_id,
                                       kind, &bytes);
        sha256_buffer(bytes.data, delta.head_size, &delta.head_sha256);
        description_add_delta(d, &delta);
        add_target(signed_part, target, &bytes, c);
}

static void add_deltas(Sides *s, bool bad, SimpleKind kind, Change *c) {
        json_t *signed_part = change_edit(c, "stable"), *target;
        _cleanup_free_ char *path = description_target_path(s->new->image_id, s->new->version, DESCRIPTION_TARGET_FILE);
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_error_ Error e = {};

        target = json_object_get(json_object_get(signed_part, "targets"), path);
        publish_ok(description_parse(json_object_get(target, "custom"), path, &d, &e), &e);
        load(s->old, RELEASE_USR, &s->from);
        load(s->new, RELEASE_USR, &s->to);
        s->from_id = s->old->root_hash;
        s->to_id = s->new->root_hash;
        if (bad)
                s->to.data[3 * 16384 + 5] ^= 1;
        add_delta(s, ARTIFACT_USR, kind, d, signed_part, c);
        sides_done(s);
        s->from = s->to = (Buffer){};
        load(s->old, RELEASE_UKI, &s->from);
        load(s->new, RELEASE_UKI, &s->to);
        sha256_buffer(s->from.data, s->from.size, &s->from_id);
        sha256_buffer(s->to.data, s->to.size, &s->to_id);
        add_delta(s, ARTIFACT_UKI, SIMPLE_SMALL, d, signed_part, c);
        json_object_set_new(target, "custom", description_to_json(d));
}

static void publish(const char *place, const char *keys_folder, const char *old, const char *new, const char *how) {
        _cleanup_(release_freep) Release *a = NULL, *b = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_(sides_done) Sides s = {};
        _cleanup_error_ Error e = {};

        publish_ok(release_open(old, &a, &e), &e);
        publish_ok(release_open(new, &b, &e), &e);
        publish_ok(storage_open(place, false, &storage, &e), &e);
        publish_ok(repo_keys_load(keys_folder, &keys, &e), &e);
        publish_ok(change_begin(storage, time(NULL), &c, &e), &e);
        s.old = a;
        s.new = b;
        add_deltas(&s, streq_ptr(how, "bad"), streq_ptr(how, "large") ? SIMPLE_LARGE : SIMPLE_SMALL, c);
        publish_ok(change_sign(c, keys, &e), &e);
        publish_ok(change_commit(c, NULL, &e), &e);
}

int main(int argc, char **argv) {
        if (argc == 5 && streq(argv[1], "release")) {
                _cleanup_free_ char *path = publish_release(argv[2], "desk", argv[3], argv[4][0], true);

                puts(path);
                return 0;
        }
        if ((argc == 6 || argc == 7) && streq(argv[1], "publish")) {
                publish(argv[2], argv[3], argv[4], argv[5], argv[6]);
                return 0;
        }
        fprintf(stderr, "delta-tool release FOLDER VERSION SEED | publish REPOSITORY KEYS OLD NEW [bad|large]\n");
        return 2;
}
