/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A repository and its changes: whatever is done to it, clients follow after every single call to the storage, and
 * whoever is killed after any of them gets there by doing the same again. */

#include "repository-fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "storage-backend.h"
#include "tuf-client.h"

/* ---- a storage that counts what changes it ---- */

typedef struct Counting {
        Storage base;
        Storage *inner;
        unsigned n_calls, kill_after; /* 0: never */
        void (*after)(void *userdata, const char *name);
        void *userdata;
} Counting;

static Counting *counting(Storage *s) {
        return (Counting *) s;
}

static int counted(Storage *s, const char *name, int r) {
        Counting *c = counting(s);

        if (r < 0)
                return r;
        c->n_calls++;
        if (c->kill_after == c->n_calls)
                (void) kill(getpid(), SIGKILL);
        if (c->after)
                c->after(c->userdata, name);
        return r;
}

static void counting_free(Storage *s) {
        storage_free(counting(s)->inner);
        free(s);
}
static int counting_read(Storage *s, const char *name, size_t max_size, Buffer *ret, Error *reterr) {
        return storage_read(counting(s)->inner, name, max_size, ret, reterr);
}
static int counting_size(Storage *s, const char *name, uint64_t *ret, Error *reterr) {
        return storage_size(counting(s)->inner, name, ret, reterr);
}
static int counting_write(Storage *s, const char *name, const void *data, size_t size, StorageCaching caching,
                          Error *reterr) {
        assert_int_equal(caching, endswith(name, "/timestamp.json") ? STORAGE_SHORT : STORAGE_IMMUTABLE);
        return counted(s, name, storage_write(counting(s)->inner, name, data, size, caching, reterr));
}
static int counting_upload(Storage *s, const char *name, int fd, uint64_t size, Progress *progress, Error *reterr) {
        return counted(s, name, storage_upload(counting(s)->inner, name, fd, size, progress, reterr));
}
static int counting_remove(Storage *s, const char *name, Error *reterr) {
        return counted(s, name, storage_remove(counting(s)->inner, name, reterr));
}
static int counting_list(Storage *s, const char *prefix, StorageEntry **ret, size_t *ret_n, Error *reterr) {
        return storage_list(counting(s)->inner, prefix, ret, ret_n, reterr);
}
static int counting_lock(Storage *s, Error *reterr) {
        return storage_lock(counting(s)->inner, reterr);
}
static void counting_unlock(Storage *s) {
        storage_unlock(counting(s)->inner);
}

static const StorageBackend counting_backend = {
        .free = counting_free,
        .read = counting_read,
        .size = counting_size,
        .write = counting_write,
        .upload = counting_upload,
        .remove = counting_remove,
        .list = counting_list,
        .lock = counting_lock,
        .unlock = counting_unlock,
};

static Counting *open_counting(const char *place) {
        Counting *c = xnew(Counting, 1);

        c->base = (Storage){ .backend = &counting_backend, .name = xstrdup(place) };
        assert_int_equal(storage_open(place, true, &c->inner, NULL), 0);
        return c;
}

/* ---- clients ---- */

static int fetch(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret, Error *reterr) {
        _cleanup_free_ char *path = xasprintf(REPOSITORY_METADATA "/%s", name);

        return storage_read(userdata, path, (size_t) max_size, ret, reterr);
}

static int fetch_target(Storage *s, TufClient *client, const TufTarget *t, Error *reterr) {
        _cleanup_free_ char *where = tuf_client_target_location(client, t),
                            *path = xasprintf(REPOSITORY_TARGETS "/%s", where);
        _cleanup_buffer_ Buffer b = {};
        int r;

        r = storage_read(s, path, 1 << 20, &b, reterr);
        if (r > 0)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is not there", path);
        return r < 0 ? r : tuf_check_hashes(&t->hashes, b.data, b.size, t->path, reterr);
}

/* Refreshes and fetches everything in "stable". memory: what this device remembers, in a folder. */
static int client_follows(Storage *s, const char *memory, Error *reterr) {
        TufTransport transport = { .fetch = fetch, .userdata = s };
        _cleanup_(tuf_client_freep) TufClient *client = NULL;
        _cleanup_close_ int fd = -EBADF;
        _cleanup_buffer_ Buffer root = {};
        const TufMetadata *stable;
        TufFolder folder;
        int r;

        OK(io_mkdir_parents(AT_FDCWD, memory, 0700, e));
        fd = open(memory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        folder.dir_fd = fd;
        client = tuf_client_new(transport, tuf_storage_folder(&folder), NOW + 60);
        assert_int_equal(storage_read(s, REPOSITORY_METADATA "/1.root.json", 1 << 20, &root, NULL), 0);
        r = tuf_client_init(client, root.data, root.size, reterr);
        if (r >= 0)
                r = tuf_client_refresh(client, NULL, reterr);
        if (r >= 0)
                r = tuf_client_role(client, "stable", &stable, reterr);
        for (size_t i = 0; r >= 0 && i < stable->n_targets; i++)
                r = fetch_target(s, client, &stable->targets[i], reterr);
        return r;
}

typedef struct Watcher {
        Fixture *f;
        Storage *inner;
        unsigned n_failed;
        const char *last_failed; /* borrowed: the name written before the failure */
        char *failed_name, *message;
} Watcher;

/* A device that comes for the first time, and one that was there after every call so far. */
static void watch(void *userdata, const char *name) {
        Watcher *w = userdata;
        _cleanup_free_ char *fresh = path_join(w->f->folder, "device-fresh"),
                            *old = path_join(w->f->folder, "device-old");
        const char *const memories[] = { fresh, old };

        OK(io_remove_tree(AT_FDCWD, fresh, e));
        for (size_t i = 0; i < ELEMENTSOF(memories); i++) {
                _cleanup_error_ Error e = {};

                if (client_follows(w->inner, memories[i], &e) >= 0)
                        continue;
                w->n_failed++;
                free(w->failed_name);
                w->failed_name = xstrdup(name);
                free(w->message);
                w->message = xstrdup(e.message);
        }
}

static void watcher_done(Watcher *w) {
        free(w->failed_name);
        free(w->message);
}

/* ---- operations ---- */

typedef void (*Operation)(const Fixture *f, Storage *s);

static void take_out(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = NULL;

        OK(change_begin(s, NOW, &c, e));
        json_object_del(json_object_get(change_edit(c, "stable"), "targets"), "laptop/1/file");
        sign_and_commit(c, f->keys);
}

static void renew_all(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = NULL;

        OK(change_begin(s, NOW, &c, e));
        (void) change_edit(c, "root");
        (void) change_edit(c, "targets");
        (void) change_edit(c, "stable");
        sign_and_commit(c, f->keys);
}

static void new_channel(const Fixture *f, Storage *s) {
        _cleanup_(repo_keys_freep) RepoKeys *keys = load_keys(f->keys);
        _cleanup_(change_freep) Change *c = NULL;

        OK(change_begin(s, NOW, &c, e));
        if (!repository_role(change_repository(c), "beta"))
                OK(change_add_channel(c, "beta", keys, 1, e));
        sign_and_commit(c, f->keys);
}

static bool is_in_role(const TufKey *key, void *data) {
        const TufRole *role = data;

        return strv_contains(role->key_ids, tuf_key_id(key));
}

/* lost: the old private key is not here any more. */
static void rotate(const Fixture *f, Storage *s, const char *role, const char *file_role, bool lost) {
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_(tuf_key_freep) TufKey *key = NULL;
        const TufKeys *keys;
        const TufRole *of_role;

        OK(change_begin(s, NOW, &c, e));
        assert_int_equal(repository_role_keys(change_repository(c), role, &keys, &of_role), 0);
        OK(repo_keys_next(f->keys, file_role, "ed25519", is_in_role, (void *) of_role, &key, e));
        OK(change_key_replace(c, role, of_role->key_ids[0], key, e));
        if (lost) {
                _cleanup_free_ char *name = xasprintf("%s.key", file_role), *path = path_join(f->keys, name);

                (void) io_unlink(AT_FDCWD, path, NULL);
        }
        sign_and_commit(c, f->keys);
}

static void rotate_root(const Fixture *f, Storage *s) {
        rotate(f, s, "root", "root", false);
}
static void rotate_targets(const Fixture *f, Storage *s) {
        rotate(f, s, "targets", "targets", false);
}
static void rotate_snapshot(const Fixture *f, Storage *s) {
        rotate(f, s, "snapshot", "snapshot", false);
}
static void rotate_timestamp(const Fixture *f, Storage *s) {
        rotate(f, s, "timestamp", "timestamp", false);
}
static void rotate_channel(const Fixture *f, Storage *s) {
        rotate(f, s, "stable", "channel", false);
}
static void replace_lost_targets(const Fixture *f, Storage *s) {
        rotate(f, s, "targets", "targets", true);
}
static void replace_lost_snapshot(const Fixture *f, Storage *s) {
        rotate(f, s, "snapshot", "snapshot", true);
}
static void replace_lost_timestamp(const Fixture *f, Storage *s) {
        rotate(f, s, "timestamp", "timestamp", true);
}
static void replace_lost_channel(const Fixture *f, Storage *s) {
        rotate(f, s, "stable", "channel", true);
}

static void ceremony(const Fixture *f, Storage *s) {
        _cleanup_(repo_keys_freep) RepoKeys *keys = load_keys(f->keys), *none = load_keys(NULL);
        _cleanup_free_ char *request = path_join(f->folder, "request.json"),
                            *response = path_join(f->folder, "response.json"), *words = NULL;
        _cleanup_(change_freep) Change *c = NULL, *again = NULL;
        char *files[] = { response, NULL };

        OK(change_begin(s, NOW, &c, e));
        if (!tuf_find_target(repository_role(change_repository(c), "stable"), "laptop/3/file")) {
                (void) change_edit(c, "root");
                (void) change_edit(c, "targets");
                add_target(c, "stable", "laptop/3/file", CONTENT " ceremony");
                OK(change_sign(c, none, e));
                OK(change_export(c, request, NULL, e));
                OK(repo_sign_file(request, keys, response, &words, e));
        }
        c = change_free(c);
        OK(change_import(s, files, NOW, &again, e));
        OK(change_sign(again, keys, e));
        OK(change_commit(again, NULL, e));
}

static const struct {
        const char *name;
        Operation run;
        unsigned failures; /* client checks that fail in the window that a lost key leaves: two devices, one moment */
        unsigned min_calls;
} operations[] = {
        { "publish", publish, 0, 5 },
        { "take out", take_out, 0, 3 },
        { "refresh", refresh, 0, 2 },
        { "renew all", renew_all, 0, 5 },
        { "new channel", new_channel, 0, 4 },
        { "rotate root", rotate_root, 0, 1 },
        { "rotate targets", rotate_targets, 0, 4 },
        { "rotate snapshot", rotate_snapshot, 0, 3 },
        { "rotate timestamp", rotate_timestamp, 0, 2 },
        { "rotate channel", rotate_channel, 0, 4 },
        { "replace lost targets", replace_lost_targets, 2, 4 },
        { "replace lost snapshot", replace_lost_snapshot, 2, 3 },
        { "replace lost timestamp", replace_lost_timestamp, 2, 2 },
        { "replace lost channel", replace_lost_channel, 0, 4 },
        { "ceremony", ceremony, 0, 6 },
};

static void clients_follow_after_every_call(void **state) {
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(operations); i++) {
                _cleanup_free_ char *old = path_join(f->folder, "device-old");
                _cleanup_(watcher_done) Watcher w = { .f = f };
                _cleanup_(storage_freep) Storage *s = NULL;
                Counting *c;

                restart(f);
                OK(io_remove_tree(AT_FDCWD, old, e));
                c = open_counting(f->place);
                s = &c->base;
                w.inner = c->inner;
                watch(&w, "start");
                c->after = watch;
                c->userdata = &w;
                operations[i].run(f, s);
                if (w.n_failed != operations[i].failures)
                        fail_msg("%s: %u failures, the last after %s: %s", operations[i].name, w.n_failed,
                                 w.failed_name, w.message);
                if (w.n_failed > 0)
                        assert_non_null(endswith(w.failed_name, "2.root.json"));
                assert_true(c->n_calls >= operations[i].min_calls);
                watch(&w, "end");
                assert_int_equal(w.n_failed, operations[i].failures);
                /* And what is left over can go while the same clients are there. */
                tidy_up(f, s);
                assert_int_equal(w.n_failed, operations[i].failures);
        }
}

static void run_killed(const Fixture *f, Operation run, unsigned kill_after, bool *ret_died) {
        int status;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                Counting *c = open_counting(f->place);

                c->kill_after = kill_after;
                run(f, &c->base);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        *ret_died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        assert_true(*ret_died || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

static void killed_after_any_call_the_same_again_gets_there(void **state) {
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(operations); i++) {
                bool died = true;

                for (unsigned n = 1; died; n++) {
                        _cleanup_free_ char *old = path_join(f->folder, "device-old");
                        _cleanup_(watcher_done) Watcher w = { .f = f };
                        _cleanup_(storage_freep) Storage *s = NULL;

                        restart(f);
                        OK(io_remove_tree(AT_FDCWD, old, e));
                        OK(storage_open(f->place, false, &s, e));
                        w.inner = s;
                        watch(&w, "start");
                        run_killed(f, operations[i].run, n, &died);
                        if (died)
                                operations[i].run(f, s);
                        watch(&w, operations[i].name);
                        if (w.n_failed > 0)
                                fail_msg("%s, killed after call %u: %s", operations[i].name, n, w.message);
                        assert_sound(f, operations[i].name, n);
                        if (!died)
                                assert_true(n > operations[i].min_calls);
                }
        }
}

/* Killed again and again, each time a little later. */
static void killed_many_times_it_still_gets_there(void **state) {
        Fixture *f = *state;
        bool died = true;

        restart(f);
        for (unsigned n = 1; died && n < 40; n++)
                run_killed(f, replace_lost_timestamp, n, &died);
        assert_false(died);
        assert_sound(f, "replace lost timestamp", 0);
        restart(f);
        died = true;
        for (unsigned n = 1; died && n < 40; n++)
                run_killed(f, rotate_targets, n, &died);
        assert_false(died);
        assert_sound(f, "rotate targets", 0);
}

static void init(const Fixture *f, Storage *s) {
        _cleanup_(change_freep) Change *c = new_repository(s, f->keys);

        sign_and_commit(c, f->keys);
}

static void an_interrupted_init_begins_again(void **state) {
        Fixture *f = *state;
        bool died = true;

        for (unsigned n = 1; died; n++) {
                _cleanup_(storage_freep) Storage *s = NULL;
                _cleanup_(change_freep) Change *c = NULL;

                OK(io_remove_tree(AT_FDCWD, f->place, e));
                run_killed(f, init, n, &died);
                OK(storage_open(f->place, false, &s, e));
                if (died && change_begin_new(s, NOW, &c, NULL) >= 0) {
                        c = change_free(c);
                        init(f, s);
                }
                assert_sound(f, "init", n);
                REFUSED(change_begin_new(s, NOW, &c, e), REFUSAL_EXISTS);
        }
}

/* ---- versions, locks ---- */

static void versions_only_rise_over_what_was_left_behind(void **state) {
        Fixture *f = *state;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(repository_freep) Repository *r = NULL;

        restart(f);
        OK(storage_open(f->place, false, &s, e));
        OK(storage_write(s, "metadata/2.snapshot.json", "{}", 2, STORAGE_IMMUTABLE, e));
        OK(storage_write(s, "metadata/2.stable.json", "nonsense", 8, STORAGE_IMMUTABLE, e));
        publish(f, s);
        OK(repository_open(s, NULL, 0, &r, e));
        assert_int_equal(r->snapshot->version, 2);
        assert_int_equal(r->timestamp->version, 2);
        assert_int_equal(repository_role(r, "stable")->version, 2);
        assert_int_equal(r->targets->version, 1);
        assert_int_equal(r->root->version, 1);
}

static void two_publishers_exclude_each_other(void **state) {
        Fixture *f = *state;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        int ready[2], go[2], status;
        char byte;
        pid_t pid;

        restart(f);
        assert_int_equal(pipe(ready), 0);
        assert_int_equal(pipe(go), 0);
        fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                Storage *own = NULL;
                Change *held = NULL;

                close(go[1]);
                if (storage_open(f->place, false, &own, NULL) < 0 || change_begin(own, NOW, &held, NULL) < 0)
                        _exit(1);
                if (write(ready[1], "x", 1) != 1 || read(go[0], &byte, 1) < 0)
                        _exit(2);
                sign_and_commit(held, f->keys);
                _exit(0);
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        OK(storage_open(f->place, false, &s, e));
        REFUSED(change_begin(s, NOW, &c, e), REFUSAL_BUSY);
        close(go[1]);
        close(go[0]);
        close(ready[0]);
        close(ready[1]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        OK(change_begin(s, NOW, &c, e));
}

/* ---- keys ---- */

static void thresholds_are_bounded_by_keys(void **state) {
        Fixture *f = *state;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_strv_free_ char **ids = NULL;
        const TufKeys *keys;
        const TufRole *role;

        restart(f);
        OK(storage_open(f->place, false, &s, e));
        OK(change_begin(s, NOW, &c, e));
        assert_int_equal(repository_role_keys(change_repository(c), "root", &keys, &role), 0);
        ids = strv_copy(role->key_ids);
        assert_int_equal(strv_length(ids), 3);
        REFUSED(change_key_threshold(c, "root", 0, e), REFUSAL_BAD_VALUE);
        REFUSED(change_key_threshold(c, "root", 4, e), REFUSAL_BAD_VALUE);
        REFUSED(change_key_threshold(c, "nothing", 1, e), REFUSAL_NOT_FOUND);
        REFUSED(change_key_remove(c, "root", "00", e), REFUSAL_NOT_FOUND);
        REFUSED(change_key_add(c, "root", keys->items[0] == NULL ? NULL : tuf_keys_find(keys, ids[1]), e),
                REFUSAL_EXISTS);
        OK(change_key_remove(c, "root", ids[0], e));
        REFUSED(change_key_remove(c, "root", ids[1], e), REFUSAL_BAD_VALUE);
        OK(change_key_threshold(c, "root", 1, e));
        OK(change_key_remove(c, "root", ids[1], e));
        REFUSED(change_key_remove(c, "root", ids[2], e), REFUSAL_BAD_VALUE);
        REFUSED(change_key_remove(c, "stable", ids[2], e), REFUSAL_NOT_FOUND);
        sign_and_commit(c, f->keys);
        assert_sound(f, "thresholds", 0);
}

static void a_root_needs_both_thresholds(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *few = path_join(f->folder, "few"), *path = NULL;
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL, *all = NULL;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_strv_free_ char **missing = NULL;

        restart(f);
        copy_folder(f->keys, few);
        for (unsigned i = 2; i <= 3; i++) {
                free(path);
                path = xasprintf("%s/root-%u.key", few, i);
                OK(io_unlink(AT_FDCWD, path, e));
        }
        keys = load_keys(few);
        OK(storage_open(f->place, false, &s, e));
        OK(change_begin(s, NOW, &c, e));
        OK(change_key_threshold(c, "root", 1, e));
        /* One of three is enough for the new root alone, not for the one that it follows. */
        OK(change_sign(c, keys, e));
        missing = change_missing(c);
        assert_int_equal(strv_length(missing), 1);
        assert_non_null(strstr(missing[0], "root: 1 of 2"));
        REFUSED(change_commit(c, NULL, e), REFUSAL_KEY);
        all = load_keys(f->keys);
        OK(change_sign(c, all, e));
        OK(change_commit(c, NULL, e));
        assert_sound(f, "both thresholds", 0);
}

static void key_folders_are_read_with_care(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *folder = path_join(f->folder, "care"), *uri = path_join(folder, "targets.uri"),
                            *key = path_join(folder, "targets.key"), *foreign = path_join(folder, "verity.key");
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_free_ const RepoKey **roots = NULL;

        restart(f);
        copy_folder(f->keys, folder);
        OK(io_write_file(AT_FDCWD, foreign, "not a key of ours", 17, 0644, e));
        keys = load_keys(folder);
        assert_int_equal(keys->n_items, 7);
        assert_int_equal(repo_keys_of_role(keys, "root", &roots), 3);
        assert_non_null(endswith(roots[0]->file, "/root-1.key"));
        assert_non_null(endswith(roots[2]->file, "/root-3.key"));
        assert_int_equal(repo_keys_generate(folder, "rsa", 5, NULL), 1);
        OK(io_write_file(AT_FDCWD, uri, "pkcs11:token=x;object=y\n", 24, 0644, e));
        keys = repo_keys_free(keys);
        REFUSED(repo_keys_load(folder, &keys, e), REFUSAL_KEY); /* twice */
        OK(io_unlink(AT_FDCWD, key, e));
        keys = load_keys(folder); /* targets.pub is there: the token is not asked */
        OK(io_write_file(AT_FDCWD, uri, "https://example.com/\n", 21, 0644, e));
        keys = repo_keys_free(keys);
        REFUSED(repo_keys_load(folder, &keys, e), REFUSAL_KEY);
        OK(io_unlink(AT_FDCWD, uri, e));
        copy_folder(f->keys, folder);
        assert_int_equal(chmod(key, 0644), 0);
        REFUSED(repo_keys_load(folder, &keys, e), REFUSAL_KEY);
}

static void names_of_channels_are_bounded(void **state) {
        static const struct {
                const char *name;
                bool good;
        } cases[] = {
                { "stable", true },
                { "beta", true },
                { "customer-a", true },
                { "Edge", true },
                { "v2", true },
                { "a", true },
                { "abcdefghijklmnopqrstuvwxyz012345", true },
                { "abcdefghijklmnopqrstuvwxyz0123456", false },
                { "", false },
                { "root", false },
                { "targets", false },
                { "snapshot", false },
                { "timestamp", false },
                { "stable-2", false },
                { "2", false },
                { "-a", false },
                { "a/b", false },
                { "a.b", false },
                { "../a", false },
                { "a b", false },
                { "\xc3\xa4", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                if ((repo_channel_name_check(cases[i].name, &e) >= 0) != cases[i].good)
                        fail_msg("\"%s\"", cases[i].name);
                assert_int_equal(e.id, cases[i].good ? REFUSAL_NONE : REFUSAL_BAD_VALUE);
        }
}

static void every_kind_of_key_can_sign(void **state) {
        static const char *const types[] = { "ed25519", "ecdsa", "rsa" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                _cleanup_free_ char *keys = xasprintf("%s/keys-%s", f->folder, types[i]);
                _cleanup_(storage_freep) Storage *s = NULL;
                _cleanup_(change_freep) Change *c = NULL;

                OK(repo_keys_generate(keys, types[i], 2, e));
                OK(io_remove_tree(AT_FDCWD, f->place, e));
                OK(storage_open(f->place, true, &s, e));
                c = new_repository(s, keys);
                sign_and_commit(c, keys);
                assert_sound(f, types[i], 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(clients_follow_after_every_call),
                cmocka_unit_test(killed_after_any_call_the_same_again_gets_there),
                cmocka_unit_test(killed_many_times_it_still_gets_there),
                cmocka_unit_test(an_interrupted_init_begins_again),
                cmocka_unit_test(versions_only_rise_over_what_was_left_behind),
                cmocka_unit_test(two_publishers_exclude_each_other),
                cmocka_unit_test(thresholds_are_bounded_by_keys),
                cmocka_unit_test(a_root_needs_both_thresholds),
                cmocka_unit_test(key_folders_are_read_with_care),
                cmocka_unit_test(names_of_channels_are_bounded),
                cmocka_unit_test(every_kind_of_key_can_sign),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
