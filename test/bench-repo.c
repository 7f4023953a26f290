/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* test/bench/repo: what a repository costs whoever publishes and whoever polls, by the number of releases in it. Every
 * release is in each of five channels, which is the most that metadata can grow; what is measured is one release more,
 * with a real image of 1 MiB, on top of those. Prints one line of JSON for each number given. */

#include <fcntl.h>
#include <time.h>

#include "publish-fixture.h"
#include "publish-internal.h"
#include "tuf-client.h"

#define ROUNDS 3

static const char *const channels[] = { "edge", "beta", "candidate", "stable", "slow" };
static const char *const artifact_suffixes[_ARTIFACT_KIND_MAX] = {
        [ARTIFACT_USR] = PUBLISH_PACK_SUFFIX,
        [ARTIFACT_USR_INDEX] = PUBLISH_INDEX_SUFFIX,
        [ARTIFACT_UKI] = ".efi",
        [ARTIFACT_VERITY_SIG] = ".usr.verity-sig",
        [ARTIFACT_USR_MAP] = PUBLISH_MAP_SUFFIX,
        [ARTIFACT_UKI_MAP] = PUBLISH_UKI_MAP_SUFFIX,
};
static const char *const other_suffixes[] = { ".spdx.json", ".packages.json", ".contents.jsonl.zst" };

typedef struct Bench {
        char *folder, *place;
        Storage *storage;
        RepoKeys *keys;
        int64_t now;
} Bench;

typedef struct Transfer {
        const Bench *bench;
        unsigned requests;
        uint64_t bytes;
        Buffer last, known; /* timestamp */
} Transfer;

static double seconds(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* ---- the publisher ---- */

static void commit(Bench *b, Change *c) {
        _cleanup_error_ Error e = {};

        publish_ok(change_sign(c, b->keys, &e), &e);
        publish_ok(change_commit(c, NULL, &e), &e);
        b->now += 60;
}

static void set_up(Bench *b) {
        static const char *const roles[] = { "root", "targets", "snapshot", "timestamp" };
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_free_ char *keys = NULL;
        _cleanup_error_ Error e = {};

        b->now = PUBLISH_NOW;
        publish_ok(io_temporary_folder("bench-repo", &b->folder, &e), &e);
        b->place = path_join(b->folder, "repo");
        keys = path_join(b->folder, "keys");
        publish_ok(storage_open(b->place, true, &b->storage, &e), &e);
        publish_ok(repo_keys_generate(keys, "ed25519", 1, &e), &e);
        publish_ok(repo_keys_load(keys, &b->keys, &e), &e);
        publish_ok(change_begin_new(b->storage, b->now, &c, &e), &e);
        (void) change_edit(c, "root");
        for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
                _cleanup_free_ const RepoKey **of_role = NULL;

                assert_int_equal(repo_keys_of_role(b->keys, roles[i], &of_role), 1);
                publish_ok(change_key_add(c, roles[i], of_role[0]->public_key, &e), &e);
        }
        for (size_t i = 0; i < ELEMENTSOF(channels); i++)
                publish_ok(change_add_channel(c, channels[i], b->keys, 1, &e), &e);
        commit(b, c);
}

static void done(Bench *b) {
        storage_free(b->storage);
        repo_keys_free(b->keys);
        io_remove_tree(AT_FDCWD, b->folder, NULL);
        free(b->folder);
        free(b->place);
}

/* A file whose content is its own path: small, and another digest for each. */
static void add_target(const Bench *b, json_t *signed_part, const char *path) {
        TufHashes hashes = { .has_sha256 = true };
        _cleanup_free_ char *stored = NULL, *full = NULL, *parent = NULL;
        _cleanup_error_ Error e = {};

        sha256_buffer(path, strlen(path), &hashes.sha256);
        stored = repository_target_path(path, &hashes);
        full = path_join(b->place, stored);
        parent = xstrndup(full, (size_t) (strrchr(full, '/') - full));
        publish_ok(io_mkdir_parents(AT_FDCWD, parent, 0755, &e), &e);
        publish_ok(io_write_file(AT_FDCWD, full, path, strlen(path), 0644, &e), &e);
        publish_set_target(signed_part, path, strlen(path), &hashes.sha256);
}

static void add_small(const Bench *b, json_t *signed_part, const char *product, const char *version) {
        _cleanup_free_ char *record = description_target_path(product, version, DESCRIPTION_TARGET_FILE),
                            *name = release_name(product, version);
        _cleanup_(description_freep) ReleaseDescription *d = xnew(ReleaseDescription, 1);
        _cleanup_error_ Error e = {};

        d->product = xstrdup(product);
        d->architecture = xstrdup("x86-64");
        d->version = xstrdup(version);
        d->kernel_version = xstrdup("6.12.57+deb13-amd64");
        d->minimum_updater = xstrdup("0.1.0");
        d->notes = xstrdup("Security updates of the kernel and the browser.");
        d->rollout = (Rollout){ .start = b->now, .initial = 100, .per_day = 1000 };
        sha256_buffer(version, strlen(version), &d->root_hash);
        d->verity_salt = d->command_line = d->root_hash;
        memcpy(d->verity_uuid, d->root_hash.bytes, sizeof d->verity_uuid);
        memcpy(d->rollout.salt, d->root_hash.bytes, sizeof d->rollout.salt);
        d->verity_size = 4825088;
        add_target(b, signed_part, record);
        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++) {
                _cleanup_free_ char *file = xasprintf("%s%s", name, artifact_suffixes[k]);
                Artifact *a = &d->artifacts[k];

                *a = (Artifact){ .present = true,
                                 .target = description_target_path(product, version, file),
                                 .encoding = k == ARTIFACT_USR ? ENCODING_FRAMES : ENCODING_NONE,
                                 .size = k == ARTIFACT_USR ? 611319808 : 36864,
                                 .sha256 = d->root_hash };
                add_target(b, signed_part, a->target);
        }
        for (size_t i = 0; i < ELEMENTSOF(other_suffixes); i++) {
                _cleanup_free_ char *file = xasprintf("%s%s", name, other_suffixes[i]),
                                    *path = description_target_path(product, version, file);

                add_target(b, signed_part, path);
        }
        publish_ok(publish_set_description(signed_part, d, &e), &e);
}

static void fill(Bench *b, unsigned n) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};
        json_t *first;

        publish_ok(change_begin(b->storage, b->now, &c, &e), &e);
        first = change_edit(c, channels[0]);
        for (unsigned i = 0; i < n; i++) {
                _cleanup_free_ char *version = xasprintf("%u.%u.%u", 2020 + i / 240, i / 20 % 12 + 1, i % 20 + 1);

                add_small(b, first, "desk", version);
        }
        for (size_t i = 1; i < ELEMENTSOF(channels); i++)
                json_object_set_new(change_edit(c, channels[i]), "targets",
                                    json_deep_copy(json_object_get(first, "targets")));
        commit(b, c);
}

static double time_publish(Bench *b, const char *version) {
        _cleanup_free_ char *folder = publish_release(b->folder, "desk", version, 'a', false);
        PublishOptions o = { .channel = "stable", .rollout = "1%+10%/day", .scratch = b->folder, .now = b->now };
        _cleanup_(release_freep) Release *release = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};
        double begin = seconds();

        publish_ok(release_open(folder, &release, &e), &e);
        publish_ok(change_begin(b->storage, b->now, &c, &e), &e);
        publish_ok(publish_add(c, release, &o, &e), &e);
        commit(b, c);
        return seconds() - begin;
}

static double time_refresh(Bench *b) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_error_ Error e = {};
        double begin = seconds();

        publish_ok(change_begin(b->storage, b->now, &c, &e), &e);
        (void) change_edit(c, "timestamp");
        commit(b, c);
        return seconds() - begin;
}

static double time_verify(const Bench *b) {
        _cleanup_(repository_freep) Repository *r = NULL;
        _cleanup_error_ Error e = {};
        double begin = seconds();

        publish_ok(repository_open(b->storage, NULL, 0, &r, &e), &e);
        return seconds() - begin;
}

/* ---- the device ---- */

static int fetch(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret, Error *reterr) {
        Transfer *t = userdata;
        _cleanup_free_ char *path = xasprintf("%s/%s/%s", t->bench->place, REPOSITORY_METADATA, name), *data = NULL;
        _cleanup_error_ Error e = {};
        size_t size;

        t->requests++;
        if (io_read_file(AT_FDCWD, path, (size_t) max_size, &data, &size, &e) < 0)
                return e.id == REFUSAL_NOT_FOUND ? TUF_NOT_THERE : error_move(reterr, &e);
        if (conditional && size == t->known.size && memcmp(data, t->known.data, size) == 0)
                return TUF_NOT_MODIFIED;
        t->bytes += size;
        if (streq(name, "timestamp.json")) {
                t->last.size = 0;
                buffer_append(&t->last, data, size);
        }
        buffer_append(ret, data, size);
        return TUF_FETCHED;
}

static void remember(void *userdata) {
        Transfer *t = userdata;

        if (t->last.size == 0)
                return;
        t->known.size = 0;
        buffer_append(&t->known, t->last.data, t->last.size);
}

/* A process of its own each time, as on a device; everything that it does before it looks for artifacts. */
static double time_poll(const Bench *b, Transfer *t, int dir_fd, size_t *ret_releases) {
        TufFolder folder = { .dir_fd = dir_fd };
        _cleanup_(tuf_client_freep) TufClient *client = NULL;
        _cleanup_free_ char *root_path = path_join(b->place, REPOSITORY_METADATA "/1.root.json"), *root = NULL;
        PublishedRelease *releases = NULL;
        const TufMetadata *channel;
        _cleanup_error_ Error e = {};
        double begin = seconds();
        size_t size;

        t->requests = 0;
        t->bytes = 0;
        client = tuf_client_new((TufTransport){ .fetch = fetch, .remember = remember, .userdata = t },
                                tuf_storage_folder(&folder), b->now);
        publish_ok(io_read_file(AT_FDCWD, root_path, TUF_ROOT_MAX, &root, &size, &e), &e);
        publish_ok(tuf_client_init(client, root, size, &e), &e);
        publish_ok(tuf_client_refresh(client, NULL, &e), &e);
        publish_ok(tuf_client_role(client, "stable", &channel, &e), &e);
        publish_ok(published_releases(channel, "stable", &releases, ret_releases, &e), &e);
        published_releases_free(releases, *ret_releases);
        return seconds() - begin;
}

/* ---- figures ---- */

static uint64_t document_size(const Bench *b, const char *role) {
        _cleanup_(repository_freep) Repository *r = NULL;
        _cleanup_free_ char *path = NULL;
        _cleanup_error_ Error e = {};
        uint64_t size = 0;

        publish_ok(repository_open(b->storage, NULL, 0, &r, &e), &e);
        path = repository_metadata_path(role, repository_role(r, role)->version);
        publish_ok(storage_size(b->storage, path, &size, &e), &e);
        return size;
}

static int compare(const void *a, const void *b) {
        const double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static void set_median(json_t *o, const char *name, double values[static ROUNDS]) {
        qsort(values, ROUNDS, sizeof(*values), compare);
        json_object_set_new(o, name, json_real(values[ROUNDS / 2]));
}

static void set_poll(json_t *o, const char *name, const Transfer *t) {
        json_object_set_new(
                o, name, json_pack("{s:I, s:I}", "requests", (json_int_t) t->requests, "bytes", (json_int_t) t->bytes));
}

static void set_sizes(const Bench *b, json_t *o) {
        static const char *const roles[] = { "timestamp", "snapshot", "targets", "stable" };

        for (size_t i = 0; i < ELEMENTSOF(roles); i++)
                json_object_set_new(o, roles[i], json_integer((json_int_t) document_size(b, roles[i])));
}

/* Publishes one release more, polls for it, and polls again, some times over. */
static void measure_rounds(Bench *b, unsigned n, int device, json_t *o) {
        double publish[ROUNDS], refresh[ROUNDS], verify[ROUNDS], update[ROUNDS], idle[ROUNDS];
        Transfer t = { .bench = b };
        size_t releases;

        (void) time_poll(b, &t, device, &releases);
        assert_int_equal(releases, n);
        set_poll(o, "firstPoll", &t);
        for (unsigned i = 0; i < ROUNDS; i++) {
                _cleanup_free_ char *version = xasprintf("2099.1.%u", i + 1);

                publish[i] = time_publish(b, version);
                update[i] = time_poll(b, &t, device, &releases);
                assert_int_equal(releases, n + i + 1);
                set_poll(o, "releasePoll", &t);
                idle[i] = time_poll(b, &t, device, &releases);
                set_poll(o, "idlePoll", &t);
                refresh[i] = time_refresh(b);
                (void) time_poll(b, &t, device, &releases);
                set_poll(o, "refreshPoll", &t);
                verify[i] = time_verify(b);
        }
        set_median(o, "publishSeconds", publish);
        set_median(o, "refreshSeconds", refresh);
        set_median(o, "openSeconds", verify);
        set_median(o, "releasePollSeconds", update);
        set_median(o, "idlePollSeconds", idle);
        buffer_done(&t.last);
        buffer_done(&t.known);
}

static void measure(unsigned n) {
        Bench b = {};
        _cleanup_close_ int device = -EBADF;
        _cleanup_free_ char *trusted = NULL, *line = NULL;
        _cleanup_json_ json_t *o = json_object();
        _cleanup_error_ Error e = {};

        set_up(&b);
        fill(&b, n);
        trusted = path_join(b.folder, "device");
        publish_ok(io_mkdir_parents(AT_FDCWD, trusted, 0700, &e), &e);
        device = open(trusted, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(device >= 0);
        json_object_set_new(o, "releases", json_integer(n));
        json_object_set_new(o, "channels", json_integer(ELEMENTSOF(channels)));
        measure_rounds(&b, n, device, o);
        set_sizes(&b, o);
        line = json_format_line(o);
        puts(line);
        done(&b);
}

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++) {
                uint64_t n;

                if (!parse_u64(argv[i], &n) || n < 1 || n > 4000) {
                        fprintf(stderr, "bench-repo: \"%s\" is not a number of releases (1 to 4000)\n", argv[i]);
                        return 2;
                }
                measure((unsigned) n);
                fflush(stdout);
        }
        return 0;
}
