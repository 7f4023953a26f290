/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "io.h"
#include "log.h"
#include "storage-backend.h"

#define LOCK_NAME ".lock"
#define LOCK_SIZE_MAX 4096
#define UPLOAD_SUFFIX ".upload.tmp"
#define TEMPORARY_SUFFIX ".tmp"
/* An upload that nobody continued for so long is not going to be. */
#define TEMPORARY_SECONDS 86400
/* Copied or compared between two steps of the progress. */
#define COPY_STEP (4U * 1024 * 1024)
/* Deeper than any name of a repository; keeps recursion bounded. */
#define FOLDER_DEPTH_MAX 32

typedef struct FolderStorage {
        Storage base;
        int fd;
        int lock_fd;
} FolderStorage;

static FolderStorage *of(Storage *s) {
        return (FolderStorage *) s;
}

static bool is_missing(int error) {
        return error == ENOENT || error == ENOTDIR;
}

static int failed(const Storage *s, Error *reterr) {
        return error_prefix(reterr, "%s", s->name);
}

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

/* 1: no such file. */
static int open_file(Storage *s, const char *name, int *ret_fd, struct stat *ret_st, Error *reterr) {
        _cleanup_close_ int fd = openat(of(s)->fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd < 0 && is_missing(errno))
                return 1;
        if (fd < 0 || fstat(fd, ret_st) < 0)
                return error_errno(reterr, errno, "cannot open %s/%s", s->name, name);
        if (!S_ISREG(ret_st->st_mode))
                return error_set(reterr, EINVAL, REFUSAL_BAD_FORMAT, "%s/%s is not a regular file", s->name, name);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int folder_read(Storage *s, const char *name, size_t max_size, Buffer *ret, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *data = NULL;
        struct stat st;
        size_t size;
        int r;

        r = open_file(s, name, &fd, &st, reterr);
        if (r != 0)
                return r;
        r = io_read_fd(fd, max_size, &data, &size, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s/%s", s->name, name);
        buffer_done(ret);
        *ret = (Buffer){ .data = TAKE_PTR(data), .size = size, .allocated = size + 1 };
        return 0;
}

static int folder_read_at(Storage *s, const char *name, uint64_t offset, size_t size, Buffer *ret, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_buffer_ Buffer b = {};
        struct stat st;
        int r;

        r = open_file(s, name, &fd, &st, reterr);
        if (r != 0)
                return r;
        b = (Buffer){ .data = xmalloc(size + 1), .size = size, .allocated = size + 1 };
        b.data[size] = 0;
        r = io_pread_all(fd, b.data, size, offset, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s/%s", s->name, name);
        buffer_done(ret);
        *ret = b;
        b = (Buffer){};
        return 0;
}

static int folder_size(Storage *s, const char *name, uint64_t *ret, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        r = open_file(s, name, &fd, &st, reterr);
        if (r != 0)
                return r;
        *ret = (uint64_t) st.st_size;
        return 0;
}

/* ---- walking ------------------------------------------------------------------------------------------------------
 */

typedef struct Walk {
        /* path: relative to the storage. */
        int (*file)(struct Walk *w, const char *path, bool hidden, const struct stat *st, Error *reterr);
        Storage *storage;
        StorageEntry *entries;
        size_t n_entries, n_allocated;
        int64_t now;
} Walk;

static void walk_done(Walk *w) {
        storage_entries_free(w->entries, w->n_entries);
}

static void safe_closedirp(DIR **d) {
        if (*d)
                closedir(*d);
}

static int walk(Walk *w, const char *folder, unsigned depth, Error *reterr);

static int walk_entry(Walk *w, DIR *d, const char *folder, const char *name, unsigned depth, Error *reterr) {
        _cleanup_free_ char *path = streq(folder, ".") ? xstrdup(name) : path_join(folder, name);
        bool hidden = *name == '.';
        struct stat st;

        if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                /* Gone since: a file of another publisher that has been put in place. */
                return is_missing(errno) ? 0 : error_errno(reterr, errno, "cannot look at %s", path);
        if (S_ISDIR(st.st_mode) && !hidden)
                return walk(w, path, depth + 1, reterr);
        if (S_ISREG(st.st_mode))
                return w->file(w, path, hidden, &st, reterr);
        return 0;
}

static int walk(Walk *w, const char *folder, unsigned depth, Error *reterr) {
        int fd = openat(of(w->storage)->fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_(safe_closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        int r;

        if (!d) {
                int saved = errno;

                safe_close(fd);
                return is_missing(saved) ? 0 : error_errno(reterr, saved, "cannot list %s", folder);
        }
        if (depth > FOLDER_DEPTH_MAX)
                return error_set(reterr, ELOOP, REFUSAL_TOO_LARGE, "folders are nested too deeply at %s", folder);
        while ((errno = 0, entry = readdir(d))) {
                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                r = walk_entry(w, d, folder, entry->d_name, depth, reterr);
                if (r < 0)
                        return r;
        }
        if (errno > 0)
                return error_errno(reterr, errno, "cannot list %s", folder);
        return 0;
}

static int add_to_list(Walk *w, const char *path, bool hidden, const struct stat *st, Error *reterr) {
        if (hidden)
                return 0;
        if (w->n_entries >= STORAGE_ENTRIES_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "more than %u files", STORAGE_ENTRIES_MAX);
        GROW(w->entries, w->n_entries, w->n_allocated);
        w->entries[w->n_entries++] =
                (StorageEntry){ .name = xstrdup(path), .size = (uint64_t) st->st_size, .modified = st->st_mtim.tv_sec };
        return 0;
}

static int folder_list(Storage *s, const char *prefix, StorageEntry **ret, size_t *ret_n, Error *reterr) {
        _cleanup_(walk_done) Walk w = { .file = add_to_list, .storage = s };
        _cleanup_free_ char *folder = isempty(prefix) ? xstrdup(".") : xstrndup(prefix, strlen(prefix) - 1);
        int r;

        r = walk(&w, folder, 0, reterr);
        if (r < 0)
                return failed(s, reterr);
        *ret = TAKE_PTR(w.entries);
        *ret_n = w.n_entries;
        w.n_entries = 0;
        return 0;
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

/* Makes the folders that a file needs, each durably and readable for the web server whatever the umask. */
static int make_parents(Storage *s, const char *name, Error *reterr) {
        _cleanup_free_ char *path = xstrdup(name);

        for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
                _cleanup_free_ char *parent = NULL;
                int r;

                *slash = 0;
                if (mkdirat(of(s)->fd, path, 0755) < 0) {
                        if (errno != EEXIST)
                                return error_errno(reterr, errno, "cannot create folder %s", path);
                } else {
                        if (fchmodat(of(s)->fd, path, 0755, 0) < 0)
                                return error_errno(reterr, errno, "cannot set the mode of %s", path);
                        parent = path_dirname(path);
                        r = io_sync_folder(of(s)->fd, parent, reterr);
                        if (r < 0)
                                return r;
                }
                *slash = '/';
        }
        return 0;
}

/* Web servers make a file's ETag of its size and the second of its change: two timestamps of one second would look the
 * same to a client that asks whether there is a new one. */
static void change_later(int folder_fd, const char *name, const struct stat *before) {
        struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = before->st_mtim.tv_sec + 1 } };
        struct stat now;

        if (fstatat(folder_fd, name, &now, 0) == 0 && now.st_mtim.tv_sec <= before->st_mtim.tv_sec)
                (void) utimensat(folder_fd, name, times, 0);
}

static int folder_write(Storage *s, const char *name, const void *data, size_t size, StorageCaching caching,
                        Error *reterr) {
        struct stat before;
        bool there;
        int r;

        r = make_parents(s, name, reterr);
        if (r < 0)
                return failed(s, reterr);
        there = fstatat(of(s)->fd, name, &before, 0) == 0;
        r = io_replace_file(of(s)->fd, name, data, size, 0644, reterr);
        if (r < 0)
                return failed(s, reterr);
        if (there && caching == STORAGE_SHORT)
                change_later(of(s)->fd, name, &before);
        return 0;
}

static int folder_remove(Storage *s, const char *name, Error *reterr) {
        _cleanup_free_ char *parent = path_dirname(name);
        int r;

        r = io_unlink(of(s)->fd, name, reterr);
        if (r == -ENOTDIR)
                return 1;
        if (r == 0)
                r = io_sync_folder(of(s)->fd, parent, reterr);
        if (r < 0)
                return failed(s, reterr);
        return r;
}

/* ---- large files --------------------------------------------------------------------------------------------------
 */

/* How much of the unfinished file is what it has to be: all of its size, or nothing. */
static int compare_start(int partial_fd, int fd, uint64_t size, uint64_t *ret_same, Error *reterr) {
        _cleanup_free_ char *mine = NULL, *theirs = NULL;
        struct stat st;

        *ret_same = 0;
        if (fstat(partial_fd, &st) < 0)
                return error_errno(reterr, errno, "cannot read an unfinished file");
        if ((uint64_t) st.st_size > size)
                return 0;
        mine = xmalloc(COPY_STEP);
        theirs = xmalloc(COPY_STEP);
        for (uint64_t offset = 0, n; offset < (uint64_t) st.st_size; offset += n) {
                int r;

                n = MIN((uint64_t) st.st_size - offset, (uint64_t) COPY_STEP);
                r = io_pread_all(partial_fd, theirs, (size_t) n, offset, reterr);
                if (r >= 0)
                        r = io_pread_all(fd, mine, (size_t) n, offset, reterr);
                if (r < 0)
                        return r;
                if (memcmp(mine, theirs, (size_t) n) != 0)
                        return 0;
        }
        *ret_same = (uint64_t) st.st_size;
        return 0;
}

/* The lock is on the unfinished file itself: it goes with the process, and holds without storage_lock(), too. */
static int open_unfinished(Storage *s, const char *temporary, int *ret_fd, Error *reterr) {
        _cleanup_close_ int fd = openat(of(s)->fd, temporary, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot create %s", temporary);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK)
                        return error_errno(reterr, errno, "cannot lock %s", temporary);
                return error_set(reterr, EBUSY, REFUSAL_BUSY, "%s is being written by another process", temporary);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int copy_rest(int fd, int to_fd, uint64_t offset, uint64_t size, Progress *progress, Error *reterr) {
        struct stat st;

        progress_advance(progress, offset);
        while (offset < size) {
                uint64_t n = MIN(size - offset, (uint64_t) COPY_STEP);
                int r;

                r = io_copy_range(fd, offset, to_fd, offset, n, reterr);
                if (r < 0)
                        return r;
                offset += n;
                progress_advance(progress, n);
        }
        if (fstat(to_fd, &st) < 0)
                return error_errno(reterr, errno, "cannot read");
        /* Holes are not written, also not the one at the end. */
        if ((uint64_t) st.st_size < size)
                return io_pwrite_all(to_fd, "", 1, size - 1, reterr);
        return 0;
}

static int upload_beside(Storage *s, const char *name, const char *temporary, int fd, uint64_t size, Progress *progress,
                         Error *reterr) {
        _cleanup_close_ int to_fd = -EBADF;
        _cleanup_free_ char *parent = path_dirname(name);
        uint64_t same;
        int r;

        r = open_unfinished(s, temporary, &to_fd, reterr);
        if (r >= 0)
                r = compare_start(to_fd, fd, size, &same, reterr);
        if (r >= 0 && same == 0) {
                /* Something else, or nothing: begin with a new file, because holes would not overwrite. */
                r = io_unlink(of(s)->fd, temporary, reterr);
                if (r >= 0) {
                        to_fd = safe_close(to_fd);
                        r = open_unfinished(s, temporary, &to_fd, reterr);
                }
        }
        if (r >= 0)
                r = copy_rest(fd, to_fd, same, size, progress, reterr);
        if (r >= 0 && fchmod(to_fd, 0644) < 0)
                r = error_errno(reterr, errno, "cannot set the mode of %s", temporary);
        /* ORDER: content, then name, then the folder that holds the name. */
        if (r >= 0)
                r = io_sync_fd(to_fd, reterr);
        if (r >= 0)
                r = io_rename_replace(of(s)->fd, temporary, name, reterr);
        if (r >= 0)
                r = io_sync_folder(of(s)->fd, parent, reterr);
        return r;
}

static int folder_upload(Storage *s, const char *name, int fd, uint64_t size, Progress *progress, Error *reterr) {
        _cleanup_free_ char *parent = path_dirname(name), *temporary = NULL;
        uint64_t there;
        int r;

        r = folder_size(s, name, &there, reterr);
        if (r < 0)
                return r;
        if (r == 0 && there == size) {
                progress_advance(progress, size);
                return 1;
        }
        temporary = xasprintf("%s/.%s" UPLOAD_SUFFIX, parent, path_basename(name));
        r = make_parents(s, name, reterr);
        if (r >= 0)
                r = upload_beside(s, name, temporary, fd, size, progress, reterr);
        if (r < 0) {
                error_prefix(reterr, "%s", name);
                return failed(s, reterr);
        }
        return 0;
}

/* ---- the lock -----------------------------------------------------------------------------------------------------
 */

static int remove_if_abandoned(Walk *w, const char *path, bool hidden, const struct stat *st, Error *reterr) {
        int r;

        if (!hidden || !endswith(path, TEMPORARY_SUFFIX) || w->now - st->st_mtim.tv_sec < TEMPORARY_SECONDS)
                return 0;
        log_debug("%s: %s is abandoned", w->storage->name, path);
        r = io_unlink(of(w->storage)->fd, path, reterr);
        return r < 0 ? r : 0;
}

/* Who has it: the first line; behind it there may be the rest of a longer one. */
static int busy(Storage *s, int fd, Error *reterr) {
        _cleanup_free_ char *text = NULL;

        (void) io_read_fd(fd, LOCK_SIZE_MAX, &text, NULL, NULL);
        if (text)
                text[strcspn(text, "\n")] = 0;
        error_set(reterr, EBUSY, REFUSAL_BUSY, "%s is being changed by %s", s->name,
                  isempty(text) ? "another process" : text);
        return error_hint(reterr, "Wait until it is done, then run the command again.");
}

static int write_holder(int fd, Error *reterr) {
        _cleanup_free_ char *line = NULL;
        char host[256] = "", when[64] = "";
        time_t now = time(NULL);
        struct tm tm;

        (void) gethostname(host, sizeof(host) - 1);
        if (gmtime_r(&now, &tm))
                strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        line = xasprintf("process %d on %s since %s\n", (int) getpid(), host, when);
        return io_pwrite_all(fd, line, strlen(line), 0, reterr);
}

static int folder_lock(Storage *s, Error *reterr) {
        _cleanup_(walk_done) Walk w = { .file = remove_if_abandoned, .storage = s, .now = time(NULL) };
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (of(s)->lock_fd >= 0)
                return 0;
        fd = openat(of(s)->fd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0) {
                error_errno(reterr, errno, "cannot create %s/" LOCK_NAME, s->name);
                return error_hint(reterr, "Whoever publishes needs the right to write into this folder.");
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return busy(s, fd, reterr);
                return error_errno(reterr, errno, "cannot lock %s/" LOCK_NAME, s->name);
        }
        r = write_holder(fd, reterr);
        if (r >= 0)
                r = walk(&w, ".", 0, reterr);
        if (r < 0)
                return failed(s, reterr);
        of(s)->lock_fd = TAKE_FD(fd);
        return 0;
}

static void folder_unlock(Storage *s) {
        of(s)->lock_fd = safe_close(of(s)->lock_fd);
}

/* ---- opening ------------------------------------------------------------------------------------------------------
 */

static void folder_free(Storage *s) {
        folder_unlock(s);
        safe_close(of(s)->fd);
        free(of(s));
}

static const StorageBackend folder_backend = {
        .free = folder_free,
        .read = folder_read,
        .read_at = folder_read_at,
        .size = folder_size,
        .write = folder_write,
        .upload = folder_upload,
        .remove = folder_remove,
        .list = folder_list,
        .lock = folder_lock,
        .unlock = folder_unlock,
};

static int make_root(const char *path, Error *reterr) {
        _cleanup_free_ char *parent = path_dirname(path);
        int r;

        if (io_exists(AT_FDCWD, path))
                return 0;
        r = io_mkdir_parents(AT_FDCWD, path, 0755, reterr);
        if (r >= 0 && chmod(path, 0755) < 0)
                r = error_errno(reterr, errno, "cannot set the mode of %s", path);
        if (r >= 0)
                r = io_sync_folder(AT_FDCWD, parent, reterr);
        return r;
}

int storage_open_folder(const char *path, bool create, Storage **ret, Error *reterr) {
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_free_ char *clean = xstrdup(path);
        FolderStorage *f;
        int r;

        for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
                clean[n - 1] = 0;
        if (create) {
                r = make_root(clean, reterr);
                if (r < 0)
                        return error_prefix(reterr, "repository");
        }
        f = xnew(FolderStorage, 1);
        *f = (FolderStorage){ .base = { .backend = &folder_backend, .name = TAKE_PTR(clean) }, .lock_fd = -EBADF };
        s = &f->base;
        f->fd = open(s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (f->fd < 0) {
                r = error_errno(reterr, errno, "cannot open the repository %s", s->name);
                if (r == -ENOENT)
                        error_hint(reterr, "A new repository is made with: sealab repo init %s", s->name);
                return r;
        }
        *ret = TAKE_PTR(s);
        return 0;
}
