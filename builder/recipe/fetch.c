/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/file.h>

#include "fetch.h"
#include "io.h"
#include "log.h"
#include "transfer.h"

#define POLL_MSEC 1000

typedef struct Fetch {
        const Lock *lock;
        Store *store;
        const FetchOptions *opt;
        LockMirrors *own_mirrors;
        const LockPackage **missing;
        size_t n_missing;
        Transfer *transfers;
        size_t n_transfers;
        size_t n_running, n_finished;
        CURLM *multi;
        FetchResult result;
} Fetch;

static void fetch_done(Fetch *f) {
        for (size_t i = 0; i < f->n_transfers; i++) {
                if (f->multi && f->transfers[i].easy)
                        curl_multi_remove_handle(f->multi, f->transfers[i].easy);
                transfer_done(&f->transfers[i]);
        }
        free(f->transfers);
        free(f->missing);
        if (f->multi)
                curl_multi_cleanup(f->multi);
        lock_mirrors_free(f->own_mirrors);
}

static void find_missing(Fetch *f) {
        free(f->missing);
        f->missing = xnew(const LockPackage *, f->lock->n_packages);
        f->n_missing = 0;
        for (size_t i = 0; i < f->lock->n_packages; i++)
                if (!store_has(f->store, &f->lock->packages[i].sha256, f->lock->packages[i].size))
                        f->missing[f->n_missing++] = &f->lock->packages[i];
}

size_t fetch_count_missing(const Lock *lock, const Store *store, uint64_t *ret_bytes) {
        uint64_t bytes = 0;
        size_t n = 0;

        for (size_t i = 0; i < lock->n_packages; i++)
                if (!store_has(store, &lock->packages[i].sha256, lock->packages[i].size)) {
                        bytes += lock->packages[i].size;
                        n++;
                }
        if (ret_bytes)
                *ret_bytes = bytes;
        return n;
}

/* ---- from folders ---------------------------------------------------------------------------------------- */

/* 1: the folder does not have it. */
static int copy_from(Fetch *f, const LockPackage *p, const char *path, Error *reterr) {
        uint64_t size;
        Sha256 digest;
        int r;

        if (!io_exists(AT_FDCWD, path))
                return 1;
        r = sha256_file(AT_FDCWD, path, &digest, &size, reterr);
        if (r < 0)
                return r;
        if (size != p->size || !sha256_equal(&digest, &p->sha256)) {
                error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not the %s %s that the lock names", path,
                          p->name, p->version);
                return error_hint(reterr, "Remove or mend that file; nothing of it was taken.");
        }
        r = store_add_file(f->store, path, &digest, &size, reterr);
        if (r < 0)
                return r;
        f->result.n_copied++;
        progress_advance(f->opt->progress, size);
        return 0;
}

static int copy_package(Fetch *f, const LockPackage *p, Error *reterr) {
        int r = 1;

        if (f->opt->store_from) {
                _cleanup_free_ char *object = store_object_path(&p->sha256),
                                    *in_store = path_join(f->opt->store_from, object),
                                    *in_pool = path_join(f->opt->store_from, p->path),
                                    *in_folder = path_join(f->opt->store_from, path_basename(p->path));
                const char *const places[] = { in_store, in_pool, in_folder };

                for (size_t i = 0; r == 1 && i < ELEMENTSOF(places); i++)
                        r = copy_from(f, p, places[i], reterr);
        }
        if (r != 1 || p->suite || !f->opt->recipe)
                return r;
        STRV_FOREACH (path, f->opt->recipe->local_debs)
                if (r == 1 && streq(path_basename(*path), p->path))
                        r = copy_from(f, p, *path, reterr);
        return r;
}

/* Leaves in missing what no folder has. */
static int copy_all(Fetch *f, Error *reterr) {
        size_t left = 0;

        for (size_t i = 0; i < f->n_missing; i++) {
                const LockPackage *p = f->missing[i];
                int r = copy_package(f, p, reterr);

                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                if (!p->suite) {
                        error_set(
                                reterr, ENOENT, REFUSAL_NOT_IN_STORE,
                                "%s %s is a local package (%s) and is neither in the store nor where LocalDebs= looks",
                                p->name, p->version, p->path);
                        return error_hint(reterr, "Put the file back, or name the store of a machine that has it with "
                                                  "--store-from DIR.");
                }
                f->missing[left++] = p;
        }
        f->n_missing = left;
        return 0;
}

/* ---- from mirrors ---------------------------------------------------------------------------------------- */

static int prepare_transfers(Fetch *f, Error *reterr) {
        const LockMirrors *mirrors = f->opt->mirrors;
        int r;

        if (!mirrors) {
                r = lock_mirrors_find(f->opt->recipe, f->opt->snapshot_uri, &f->own_mirrors, reterr);
                if (r < 0)
                        return r;
                mirrors = f->own_mirrors;
        }
        f->transfers = xnew(Transfer, f->n_missing);
        for (size_t i = 0; i < f->n_missing; i++) {
                const LockPackage *p = f->missing[i];
                char *const *uris = lock_mirrors_get(mirrors, p->suite);

                if (!uris || !*uris) {
                        error_set(reterr, ENOENT, REFUSAL_LOCK_STALE,
                                  "%s comes from suite %s, which the recipe no longer names", p->name, p->suite);
                        return error_hint(reterr, "Run \"sealab lock --update\".");
                }
                f->transfers[f->n_transfers++] = (Transfer){ .package = p,
                                                             .uris = uris,
                                                             .settings = mirrors->settings,
                                                             .opt = f->opt,
                                                             .store = f->store,
                                                             .progress = f->opt->progress,
                                                             .fd = -EBADF };
        }
        return 0;
}

static void show(Fetch *f, const Transfer *t) {
        progress_detail(f->opt->progress, "%s %s (%zu of %zu)", t->package->name, t->package->version,
                        f->n_finished + f->n_running, f->n_transfers);
}

static int settle(Fetch *f, Transfer *t, Error *reterr) {
        if (t->state == TRANSFER_FAILED)
                return error_move(reterr, &t->error);
        if (t->state == TRANSFER_DONE) {
                f->n_finished++;
                f->result.n_downloaded++;
        }
        return 0;
}

/* Starts what may start; *ret_wait: milliseconds until the next may, at most POLL_MSEC. */
static int start_waiting(Fetch *f, int *ret_wait, Error *reterr) {
        int64_t now = monotonic_msec(), wait = POLL_MSEC;
        int r;

        for (size_t i = 0; i < f->n_transfers && f->n_running < FETCH_PARALLEL; i++) {
                Transfer *t = &f->transfers[i];

                if (t->state != TRANSFER_WAITING)
                        continue;
                if (t->not_before > now) {
                        wait = MIN(wait, t->not_before - now);
                        continue;
                }
                r = transfer_start(t, reterr);
                if (r < 0)
                        return r;
                if (r > 0) {
                        /* An earlier run was stopped between the last byte and the check. */
                        r = transfer_finish(t, CURLE_OK, reterr);
                        if (r >= 0)
                                r = settle(f, t, reterr);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (curl_multi_add_handle(f->multi, t->easy) != CURLM_OK)
                        abort(); /* out of memory */
                f->n_running++;
                show(f, t);
        }
        *ret_wait = (int) wait;
        return 0;
}

static int collect(Fetch *f, Error *reterr) {
        CURLMsg *m;
        int left, r;

        while ((m = curl_multi_info_read(f->multi, &left))) {
                CURLcode code = m->data.result;
                curl_off_t bytes = 0;
                char *private = NULL;
                Transfer *t;

                if (m->msg != CURLMSG_DONE)
                        continue;
                curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
                curl_easy_getinfo(m->easy_handle, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
                t = (Transfer *) private;
                f->result.bytes += (uint64_t) bytes;
                curl_multi_remove_handle(f->multi, t->easy);
                f->n_running--;
                r = transfer_finish(t, code, reterr);
                if (r >= 0)
                        r = settle(f, t, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int run_transfers(Fetch *f, Error *reterr) {
        int running, wait = 0, r;

        f->multi = curl_multi_init();
        if (!f->multi)
                abort(); /* out of memory */
        while (f->n_finished < f->n_transfers) {
                CURLMcode code;

                r = start_waiting(f, &wait, reterr);
                if (r < 0)
                        return r;
                code = curl_multi_perform(f->multi, &running);
                if (code == CURLM_OK)
                        r = collect(f, reterr);
                if (r < 0)
                        return r;
                if (f->n_finished < f->n_transfers && code == CURLM_OK)
                        code = curl_multi_poll(f->multi, NULL, 0, wait, NULL);
                if (code != CURLM_OK)
                        return error_set(reterr, EIO, REFUSAL_SYSTEM, "libcurl: %s", curl_multi_strerror(code));
        }
        return 0;
}

/* Two runs on one store would write into the same partial files. The second waits, and then finds nothing missing. */
static int lock_store(Fetch *f, int *ret_fd, Error *reterr) {
        _cleanup_close_ int fd = openat(f->store->fd, "partial", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s/partial", f->store->path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        log_info("Waiting for another sealab that fetches into %s", f->store->path);
                while (flock(fd, LOCK_EX) < 0)
                        if (errno != EINTR)
                                return error_errno(reterr, errno, "cannot lock %s/partial", f->store->path);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int fetch_all(Fetch *f, Error *reterr) {
        uint64_t bytes = 0;
        int r;

        for (size_t i = 0; i < f->n_missing; i++)
                bytes += f->missing[i]->size;
        progress_begin(f->opt->progress, "fetch", "Fetching packages");
        progress_total(f->opt->progress, bytes);
        r = copy_all(f, reterr);
        if (r < 0 || f->n_missing == 0)
                return r;
        r = prepare_transfers(f, reterr);
        if (r < 0)
                return r;
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "libcurl cannot be used");
        return run_transfers(f, reterr);
}

int fetch_missing(const Lock *lock, Store *store, const FetchOptions *opt, FetchResult *ret, Error *reterr) {
        _cleanup_(fetch_done) Fetch f = { .lock = lock, .store = store, .opt = opt };
        _cleanup_close_ int locked = -EBADF;
        int r;

        if (opt->store_from && !io_exists(AT_FDCWD, opt->store_from))
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "--store-from: there is no folder %s",
                                 opt->store_from);
        find_missing(&f);
        if (f.n_missing > 0) {
                r = lock_store(&f, &locked, reterr);
                if (r < 0)
                        return r;
                find_missing(&f);
                f.result.n_missing = f.n_missing;
                r = fetch_all(&f, reterr);
                if (r < 0)
                        return r;
                progress_end(opt->progress, "%zu packages", f.result.n_missing);
        }
        if (ret)
                *ret = f.result;
        return 0;
}
