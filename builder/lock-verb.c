/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lock-verb.h"
#include "fetch.h"
#include "io.h"
#include "log.h"
#include "resolve.h"

typedef struct Locking {
        const Recipe *recipe;
        const LockVerbOptions *opt;
        Store *store;
        Lock *old, *new; /* new NULL: nothing was resolved */
        LockMirrors *mirrors;
        LockChange *changes;
        size_t n_changes;
        FetchResult fetched;
} Locking;

static void locking_done(Locking *l) {
        free(l->changes);
        store_free(l->store);
        lock_free(l->old);
        lock_free(l->new);
        lock_mirrors_free(l->mirrors);
}

/* Without a lock there is nothing to be older than; a lock that cannot be read must not be overwritten silently. */
static int read_old(Locking *l, Error *reterr) {
        _cleanup_free_ char *path = path_join(l->recipe->path, LOCK_FILE_NAME);

        if (!io_exists(AT_FDCWD, path))
                return 0;
        return lock_read(l->recipe->path, &l->old, reterr);
}

static int resolve(Locking *l, Error *reterr) {
        const LockResolveOptions o = { .snapshot_uri = l->opt->snapshot,
                                       .previous = l->old,
                                       .allow_older = l->opt->allow_older };
        int r;

        r = lock_resolve(l->recipe, l->store, l->opt->progress, &o, &l->new, &l->mirrors, reterr);
        if (r >= 0 && l->old)
                l->n_changes = lock_compare(l->old, l->new, &l->changes);
        return r;
}

static int fetch(Locking *l, Error *reterr) {
        const FetchOptions o = { .recipe = l->recipe,
                                 .snapshot_uri = l->opt->snapshot,
                                 .store_from = l->opt->store_from,
                                 .mirrors = l->mirrors,
                                 .progress = l->opt->progress };

        return fetch_missing(l->new ?: l->old, l->store, &o, &l->fetched, reterr);
}

static void say_json(const Locking *l) {
        const Lock *lock = l->new ?: l->old;
        _cleanup_json_ json_t *o =
                json_pack("{s:s, s:b, s:I, s:I, s:I, s:I}", "recipe", l->recipe->path, "written", !!l->new, "packages",
                          (json_int_t) lock->n_packages, "downloaded", (json_int_t) l->fetched.n_downloaded, "copied",
                          (json_int_t) l->fetched.n_copied, "bytes", (json_int_t) l->fetched.bytes);
        _cleanup_free_ char *text = NULL;

        if (l->new && l->old)
                json_object_set_new(o, "changes", lock_changes_to_json(l->changes, l->n_changes));
        text = json_format(o, false);
        fputs(text, stdout);
}

static void say(const Locking *l) {
        const Lock *lock = l->new ?: l->old;
        _cleanup_free_ char *bytes = format_bytes(l->fetched.bytes);

        if (l->opt->json)
                return say_json(l);
        if (l->new && l->old) {
                _cleanup_free_ char *table = lock_changes_format(l->changes, l->n_changes);

                fputs(table, stdout);
        }
        if (l->new)
                log_info("%s/" LOCK_FILE_NAME " pins %zu packages: commit it with the recipe.", l->recipe->path,
                         lock->n_packages);
        else
                log_info("%s/" LOCK_FILE_NAME " is complete and unchanged (%zu packages).", l->recipe->path,
                         lock->n_packages);
        if (l->fetched.n_missing == 0)
                log_info("All packages are in the store already.");
        else
                log_info("Fetched %zu packages (%s), copied %zu.", l->fetched.n_downloaded, bytes, l->fetched.n_copied);
}

int lock_verb(const Recipe *recipe, const LockVerbOptions *opt, Error *reterr) {
        _cleanup_(locking_done) Locking l = { .recipe = recipe, .opt = opt };
        int r;

        r = store_open(opt->store, &l.store, reterr);
        if (r >= 0)
                r = read_old(&l, reterr);
        if (r < 0)
                return r;
        if (l.old && !opt->update)
                r = lock_check_recipe(l.old, recipe, reterr);
        else
                r = resolve(&l, reterr);
        if (r >= 0)
                r = fetch(&l, reterr);
        /* ORDER: the packages are in the store, synced, before a lock says that they can be had. */
        if (r >= 0 && l.new)
                r = lock_write(recipe->path, l.new, reterr);
        if (r < 0)
                return r;
        say(&l);
        return 0;
}
