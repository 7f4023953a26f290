/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "drift-reset.h"
#include "hash.h"
#include "io.h"

#define ATTRIBUTE_MAX 65536

/* One of these alone cannot go back without tearing accounts apart. */
static const char *const account_files[] = { "passwd", "group", "shadow", "gshadow", "subuid", "subgid", NULL };

/* ---- the way to a file, without following links ---- */

/* The folder of a path below top, and its last name (borrowed from path). */
static int open_parent(int top, const char *path, int *ret, const char **ret_name, Error *reterr) {
        _cleanup_close_ int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const char *name = path, *slash;

        while (fd >= 0 && (slash = strchr(name, '/'))) {
                _cleanup_free_ char *part = xstrndup(name, (size_t) (slash - name));
                int next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

                if (next < 0)
                        return error_errno(reterr, errno, "cannot open the folder of /etc/%s", path);
                safe_close(fd);
                fd = next;
                name = slash + 1;
        }
        if (fd < 0)
                return error_errno(reterr, errno, "cannot open /etc");
        *ret = TAKE_FD(fd);
        *ret_name = name;
        return 0;
}

/* ---- copying ---- */

static int copy_node(int from, const char *name, int to, const char *as, unsigned depth, Error *reterr);

static int copy_attributes(int from_fd, int to_fd, const struct stat *st, Error *reterr) {
        _cleanup_free_ char *value = xmalloc(ATTRIBUTE_MAX);

        /* Owner first: changing it takes capabilities and special bits away. */
        if (fchown(to_fd, st->st_uid, st->st_gid) < 0 || fchmod(to_fd, st->st_mode & 07777) < 0)
                return error_errno(reterr, errno, "cannot set owner and mode");
        STRV_FOREACH (name, drift_attributes) {
                ssize_t n = fgetxattr(from_fd, *name, value, ATTRIBUTE_MAX);

                if (n >= 0 && fsetxattr(to_fd, *name, value, (size_t) n, 0) < 0)
                        return error_errno(reterr, errno, "cannot set %s", *name);
                if (n < 0 && fremovexattr(to_fd, *name) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
                        return error_errno(reterr, errno, "cannot take %s away", *name);
        }
        return 0;
}

static int mark(int fd, uint64_t size, Error *reterr) {
        _cleanup_free_ char *hex = NULL;
        Sha256 h;
        int r = sha256_fd(fd, 0, size, &h, reterr);

        if (r < 0)
                return r;
        hex = sha256_hex(&h);
        /* Without a mark the copy stays as it is when the default changes, and is listed then. */
        (void) fsetxattr(fd, DRIFT_MARK, hex, strlen(hex), 0);
        return 0;
}

static int copy_file(int from, const char *name, const struct stat *st, int to, const char *as, Error *reterr) {
        _cleanup_close_ int source = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), target = -EBADF;
        int r;

        if (source < 0)
                return error_errno(reterr, errno, "cannot open the image's %s", name);
        target = openat(to, as, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (target < 0)
                return error_errno(reterr, errno, "cannot write into /etc");
        r = io_copy_range(source, 0, target, 0, (uint64_t) st->st_size, reterr);
        if (r >= 0)
                r = copy_attributes(source, target, st, reterr);
        if (r >= 0)
                r = mark(target, (uint64_t) st->st_size, reterr);
        return r < 0 ? r : io_sync_fd(target, reterr);
}

static int copy_link(int from, const char *name, const struct stat *st, int to, const char *as, Error *reterr) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(from, name, target, sizeof target - 1);

        if (n < 0)
                return error_errno(reterr, errno, "cannot read the image's link %s", name);
        target[n] = 0;
        if (symlinkat(target, to, as) < 0 || fchownat(to, as, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(reterr, errno, "cannot write into /etc");
        return 0;
}

static int copy_folder(int from, const char *name, const struct stat *st, int to, const char *as, unsigned depth,
                       Error *reterr) {
        _cleanup_close_ int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW),
                            target = -EBADF;
        const struct dirent *e;
        int fd, r = 0;
        DIR *d;

        if (depth == DRIFT_DEPTH_MAX)
                return error_set(reterr, ELOOP, REFUSAL_TOO_LARGE, "folders lie too deep at %s", name);
        fd = source < 0 ? -1 : openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                r = error_errno(reterr, errno, "cannot read the image's folder %s", name);
                safe_close(fd);
                return r;
        }
        if (mkdirat(to, as, 0700) < 0 || (target = openat(to, as, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0)
                r = error_errno(reterr, errno, "cannot make a folder in /etc");
        while (r >= 0 && (e = readdir(d)))
                if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                        r = copy_node(source, e->d_name, target, e->d_name, depth + 1, reterr);
        closedir(d);
        if (r >= 0)
                r = copy_attributes(source, target, st, reterr);
        return r < 0 ? r : io_sync_folder(target, ".", reterr);
}

static int copy_node(int from, const char *name, int to, const char *as, unsigned depth, Error *reterr) {
        struct stat st;

        if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(reterr, errno, "cannot look at the image's %s", name);
        switch (st.st_mode & S_IFMT) {
        case S_IFREG:
                return copy_file(from, name, &st, to, as, reterr);
        case S_IFLNK:
                return copy_link(from, name, &st, to, as, reterr);
        case S_IFDIR:
                return copy_folder(from, name, &st, to, as, depth, reterr);
        default:
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the image's %s is no file, link or folder", name);
        }
}

/* ---- putting in place ---- */

/* ORDER: the copy is complete and on the disk before it gets the name. Where a folder is in the way, or comes, the old
 * thing has to go first; cut there, the file counts as removed, and the same reset goes on. */
static int put_back(int from, const char *name, int to, Error *reterr) {
        struct stat now, st;
        bool there;
        int r;

        r = io_remove_tree(to, DRIFT_TEMPORARY, reterr);
        if (r >= 0)
                r = copy_node(from, name, to, DRIFT_TEMPORARY, 0, reterr);
        if (r < 0)
                return r;
        there = fstatat(to, name, &now, AT_SYMLINK_NOFOLLOW) == 0;
        if (fstatat(to, DRIFT_TEMPORARY, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(reterr, errno, "cannot look at the copy of %s", name);
        if (there && (S_ISDIR(now.st_mode) || S_ISDIR(st.st_mode)))
                r = io_remove_tree(to, name, reterr);
        if (r >= 0)
                r = io_rename_replace(to, DRIFT_TEMPORARY, name, reterr);
        return r < 0 ? r : io_sync_folder(to, ".", reterr);
}

static int put_folder_attributes_back(int from, const char *name, int to, Error *reterr) {
        _cleanup_close_ int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW),
                            target = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        int r;

        if (source < 0 || target < 0 || fstat(source, &st) < 0)
                return error_errno(reterr, errno, "cannot open the folder %s", name);
        r = copy_attributes(source, target, &st, reterr);
        return r < 0 ? r : io_sync_folder(target, ".", reterr);
}

static int take_away(int to, const char *name, Error *reterr) {
        int r = io_remove_tree(to, name, reterr);

        return r < 0 ? r : io_sync_folder(to, ".", reterr);
}

static int reset_entry(const DriftFolders *f, const DriftEntry *e, Error *reterr) {
        _cleanup_close_ int from = -EBADF, to = -EBADF;
        const char *name;
        int r = open_parent(f->merged, e->path, &to, &name, reterr);

        if (r >= 0 && e->kind == DRIFT_ADDED)
                return take_away(to, name, reterr);
        if (r >= 0)
                r = open_parent(f->lower, e->path, &from, &name, reterr);
        if (r < 0)
                return r;
        return e->kind == DRIFT_ATTRIBUTES && e->folder ? put_folder_attributes_back(from, name, to, reterr)
                                                        : put_back(from, name, to, reterr);
}

static int check_entry(const DriftEntry *e, Error *reterr) {
        if (e->own) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the machine makes /etc/%s for itself: %s", e->path,
                          e->own);
                return error_hint(reterr, "There is no default that it could go back to.");
        }
        if (strv_contains((char *const *) account_files, e->path)) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "/etc/%s holds this machine's accounts", e->path);
                return error_hint(reterr,
                                  "userdel and groupdel remove accounts; \"sealabctl factory-reset\" removes all.");
        }
        return 0;
}

int drift_reset(const DriftFolders *f, const char *id, char **ret_path, Error *reterr) {
        _cleanup_(drift_freep) Drift *d = NULL;
        const DriftEntry *found = NULL;
        int r = drift_read(f, &d, reterr);

        if (r < 0)
                return r;
        for (size_t i = 0; i < d->n_entries; i++)
                if (streq(d->entries[i].id, id))
                        found = &d->entries[i];
        if (!found) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "nothing that differs from the image has the id \"%s\"",
                          id);
                return error_hint(reterr, "\"sealabctl drift\" lists what differs.");
        }
        r = check_entry(found, reterr);
        if (r >= 0)
                r = reset_entry(f, found, reterr);
        if (r < 0)
                return r;
        *ret_path = path_join("/etc", found->path);
        return 0;
}

int drift_refresh(const DriftFolders *f, size_t *ret_refreshed, Error *reterr) {
        _cleanup_(drift_freep) Drift *d = NULL;
        size_t n = 0;
        int r = drift_read(f, &d, reterr);

        for (size_t i = 0; r >= 0 && i < d->n_entries; i++)
                if (d->entries[i].earlier_default) {
                        r = reset_entry(f, &d->entries[i], reterr);
                        n++;
                }
        if (r < 0)
                return r;
        *ret_refreshed = n;
        return 0;
}
