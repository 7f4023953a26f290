/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "io.h"
#include "store.h"

#define OBJECTS "sha256"
#define PARTIAL "partial"
#define CACHE "cache"

static char *default_path(void) {
        const char *s;

        if (!isempty(s = getenv("SEALAB_STORE")))
                return xstrdup(s);
        if (!isempty(s = getenv("XDG_CACHE_HOME")))
                return path_join(s, "sealab");
        if (!isempty(s = getenv("HOME")))
                return path_join(s, ".cache/sealab");
        return xstrdup("/var/cache/sealab");
}

int store_open(const char *path_or_null, Store **ret, Error *reterr) {
        static const char *const folders[] = { OBJECTS, PARTIAL, CACHE };
        _cleanup_(store_freep) Store *s = xnew(Store, 1);
        _cleanup_free_ char *wanted = isempty(path_or_null) ? default_path() : xstrdup(path_or_null);
        int r;

        s->fd = -EBADF;
        r = io_mkdir_parents(AT_FDCWD, wanted, 0755, reterr);
        if (r < 0) {
                error_prefix(reterr, "store");
                return error_hint(reterr, "Name another place with --store DIR or SEALAB_STORE.");
        }
        /* Absolute, because sandboxes are entered from elsewhere. */
        s->path = realpath(wanted, NULL);
        if (!s->path)
                return error_errno(reterr, errno, "cannot find %s", wanted);
        s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->fd < 0)
                return error_errno(reterr, errno, "cannot open the store %s", s->path);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                r = io_mkdir_parents(s->fd, folders[i], 0755, reterr);
                if (r < 0)
                        return error_prefix(reterr, "store %s", s->path);
        }
        *ret = TAKE_PTR(s);
        return 0;
}

Store *store_free(Store *s) {
        if (s) {
                safe_close(s->fd);
                free(s->path);
                free(s);
        }
        return NULL;
}

char *store_object_path(const Sha256 *digest) {
        _cleanup_free_ char *hex = sha256_hex(digest);

        return xasprintf(OBJECTS "/%.2s/%s", hex, hex);
}

char *store_object_full_path(const Store *s, const Sha256 *digest) {
        _cleanup_free_ char *path = store_object_path(digest);

        return path_join(s->path, path);
}

static char *partial_path(const Sha256 *digest) {
        _cleanup_free_ char *hex = sha256_hex(digest);

        return xasprintf(PARTIAL "/%s", hex);
}

bool store_has(const Store *s, const Sha256 *digest, uint64_t size) {
        _cleanup_free_ char *path = store_object_path(digest);
        struct stat st;

        return fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) >= 0 && S_ISREG(st.st_mode) &&
               (uint64_t) st.st_size == size;
}

/* A damaged object is moved aside rather than deleted: it may be the only trace of a failing disk or of a poisoned
 * store. */
static int object_damaged(const Store *s, const char *path, const char *what, Error *reterr) {
        _cleanup_free_ char *aside = xasprintf("%s.damaged", path);

        (void) io_rename_replace(s->fd, path, aside, NULL);
        error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s/%s %s (moved aside to %s)", s->path, path, what,
                  path_basename(aside));
        return error_hint(reterr, "Run \"sealab lock RECIPE\" with the network to fetch it again.");
}

int store_open_verified(const Store *s, const Sha256 *digest, uint64_t size, int *ret_fd, Error *reterr) {
        _cleanup_free_ char *path = store_object_path(digest);
        _cleanup_close_ int fd = openat(s->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        Sha256 found;
        int r;

        if (fd < 0 && errno == ENOENT) {
                error_set(reterr, ENOENT, REFUSAL_NOT_IN_STORE, "%s/%s is not in the store", s->path, path);
                return error_hint(
                        reterr, "Run \"sealab lock RECIPE\" with the network: it fetches exactly what the lock names.");
        }
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s/%s", s->path, path);
        if ((uint64_t) st.st_size != size)
                return object_damaged(s, path, "has another size than its lock says", reterr);
        r = sha256_fd(fd, 0, size, &found, reterr);
        if (r < 0)
                return r;
        if (!sha256_equal(&found, digest))
                return object_damaged(s, path, "is not what its name says", reterr);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Makes the object's folder and moves a finished file there, durably: a lock may be committed on the strength of it. */
static int place_object(Store *s, const char *from, const Sha256 *digest, Error *reterr) {
        _cleanup_free_ char *path = store_object_path(digest), *folder = path_dirname(path);
        int r;

        r = io_mkdir_parents(s->fd, folder, 0755, reterr);
        if (r >= 0)
                r = io_sync_folder(s->fd, OBJECTS, reterr);
        if (r >= 0)
                r = io_rename_replace(s->fd, from, path, reterr);
        if (r >= 0)
                r = io_sync_folder(s->fd, folder, reterr);
        return r;
}

int store_partial_open(Store *s, const Sha256 *digest, int *ret_fd, uint64_t *ret_size, Error *reterr) {
        _cleanup_free_ char *path = partial_path(digest);
        _cleanup_close_ int fd = openat(s->fd, path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s/%s", s->path, path);
        *ret_size = (uint64_t) st.st_size;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int store_partial_remove(Store *s, const Sha256 *digest, Error *reterr) {
        _cleanup_free_ char *path = partial_path(digest);
        int r;

        r = io_unlink(s->fd, path, reterr);
        return r < 0 ? r : 0;
}

int store_partial_commit(Store *s, const Sha256 *digest, uint64_t size, Error *reterr) {
        _cleanup_free_ char *path = partial_path(digest);
        _cleanup_close_ int fd = openat(s->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        Sha256 found;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s/%s", s->path, path);
        r = sha256_fd(fd, 0, (uint64_t) st.st_size, &found, reterr);
        if (r < 0)
                return r;
        if ((uint64_t) st.st_size != size || !sha256_equal(&found, digest)) {
                _cleanup_free_ char *want = sha256_hex(digest), *got = sha256_hex(&found);

                (void) io_unlink(s->fd, path, NULL);
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "downloaded bytes are not what the lock says: SHA-256 %s, %" PRIu64
                                 " bytes; wanted %s, %" PRIu64 " bytes",
                                 got, (uint64_t) st.st_size, want, size);
        }
        if (fchmod(fd, 0444) < 0)
                return error_errno(reterr, errno, "cannot protect %s/%s", s->path, path);
        r = io_sync_fd(fd, reterr);
        return r < 0 ? r : place_object(s, path, digest, reterr);
}

int store_add_file(Store *s, const char *path, Sha256 *ret_digest, uint64_t *ret_size, Error *reterr) {
        _cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC), to = -EBADF;
        struct stat st;
        uint64_t there;
        Sha256 digest;
        int r;

        if (from < 0 || fstat(from, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        r = sha256_fd(from, 0, (uint64_t) st.st_size, &digest, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        if (!store_has(s, &digest, (uint64_t) st.st_size)) {
                r = store_partial_remove(s, &digest, reterr);
                if (r >= 0)
                        r = store_partial_open(s, &digest, &to, &there, reterr);
                if (r >= 0)
                        r = io_copy_stream(from, to, (uint64_t) st.st_size, reterr);
                if (r >= 0)
                        r = store_partial_commit(s, &digest, (uint64_t) st.st_size, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", path);
        }
        *ret_digest = digest;
        *ret_size = (uint64_t) st.st_size;
        return 0;
}

/* ---- derived things
 * ---------------------------------------------------------------------------------------------------- */

static char *cache_path(const char *kind, const Sha256 *key) {
        _cleanup_free_ char *hex = sha256_hex(key);

        return xasprintf(CACHE "/%s/%s", kind, hex);
}

char *store_cache_path(const Store *s, const char *kind, const Sha256 *key) {
        _cleanup_free_ char *path = cache_path(kind, key);

        return path_join(s->path, path);
}

int store_cache_get(const Store *s, const char *kind, const Sha256 *key, int *ret_fd, Error *reterr) {
        _cleanup_free_ char *path = cache_path(kind, key);
        _cleanup_close_ int fd = openat(s->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };

        if (fd < 0 && errno == ENOENT)
                return 1;
        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s/%s", s->path, path);
        /* The time says when it was last useful; store_cache_trim() goes by it. */
        (void) futimens(fd, now);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* What builds left that were killed: "KEY.PID.tmp" of a process that is no more. */
static void remove_abandoned(const Store *s, const char *folder) {
        int fd = openat(s->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;

        while (d && (entry = readdir(d))) {
                const char *dot = strchr(entry->d_name, '.'), *end = endswith(entry->d_name, ".tmp");
                _cleanup_free_ char *number =
                        dot && end && end > dot ? xstrndup(dot + 1, (size_t) (end - dot - 1)) : NULL;
                uint64_t pid;

                if (number && parse_u64(number, &pid) && pid > 0 && pid <= INT32_MAX && kill((pid_t) pid, 0) < 0 &&
                    errno == ESRCH)
                        (void) io_unlink(fd, entry->d_name, NULL);
        }
        if (d)
                closedir(d);
        else
                safe_close(fd);
}

void store_temporary_freep(char **path) {
        if (*path)
                (void) io_unlink(AT_FDCWD, *path, NULL);
        free(*path);
}

int store_cache_begin(Store *s, const char *kind, const Sha256 *key, int *ret_fd, char **ret_temporary, Error *reterr) {
        _cleanup_free_ char *path = cache_path(kind, key), *folder = path_dirname(path),
                            *full = path_join(s->path, path), *temporary = xasprintf("%s.%d.tmp", full, (int) getpid());
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = io_mkdir_parents(s->fd, folder, 0755, reterr);
        if (r < 0)
                return r;
        remove_abandoned(s, folder);
        fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot create %s", temporary);
        *ret_fd = TAKE_FD(fd);
        *ret_temporary = TAKE_PTR(temporary);
        return 0;
}

/* Synced before it gets its name: after a power cut a torn file would pass for a whole one. (To tar, a file whose end
 * is zeros is a shorter archive.) */
int store_cache_commit(Store *s, const char *kind, const Sha256 *key, const char *temporary, Error *reterr) {
        _cleanup_free_ char *path = cache_path(kind, key), *full = path_join(s->path, path);
        _cleanup_close_ int fd = open(temporary, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        int r;

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", temporary);
        r = io_sync_fd(fd, reterr);
        return r < 0 ? r : io_rename_replace(AT_FDCWD, temporary, full, reterr);
}

typedef struct CacheFile {
        char *path;
        uint64_t size;
        int64_t used;
} CacheFile;

static int compare_used(const void *a, const void *b) {
        const CacheFile *x = a, *y = b;

        return x->used < y->used ? -1 : x->used > y->used;
}

static void list_kind(const Store *s, const char *kind, CacheFile **files, size_t *n, size_t *allocated) {
        _cleanup_free_ char *folder = path_join(CACHE, kind);
        int fd = openat(s->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *entry;
        struct stat st;

        while (d && (entry = readdir(d)))
                if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) >= 0 && S_ISREG(st.st_mode)) {
                        GROW(*files, *n, *allocated);
                        (*files)[(*n)++] =
                                (CacheFile){ path_join(folder, entry->d_name), (uint64_t) st.st_size, st.st_mtime };
                }
        if (d)
                closedir(d);
        else
                safe_close(fd);
}

int store_cache_trim(Store *s, uint64_t max_bytes, uint64_t *ret_freed, Error *reterr) {
        int fd = openat(s->fd, CACHE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        CacheFile *files = NULL;
        size_t n = 0, allocated = 0;
        uint64_t total = 0, freed = 0;
        struct dirent *entry;

        while (d && (entry = readdir(d)))
                if (entry->d_name[0] != '.')
                        list_kind(s, entry->d_name, &files, &n, &allocated);
        if (d)
                closedir(d);
        else
                safe_close(fd);
        if (n > 0)
                qsort(files, n, sizeof(files[0]), compare_used);
        for (size_t i = 0; i < n; i++)
                total += files[i].size;
        for (size_t i = 0; i < n; i++) {
                if (total - freed > max_bytes && io_unlink(s->fd, files[i].path, NULL) == 0)
                        freed += files[i].size;
                free(files[i].path);
        }
        free(files);
        *ret_freed = freed;
        return 0;
}
