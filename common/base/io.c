/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "io.h"

#define COPY_BUFFER_SIZE (1024 * 1024)
/* Deeper folders than this are not made by anything in the project; the limit keeps recursion bounded. */
#define REMOVE_DEPTH_MAX 256

int io_read_fd(int fd, size_t max_size, char **ret, size_t *ret_size, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};
        _cleanup_free_ char *chunk = xmalloc(64 * 1024);

        for (;;) {
                ssize_t n = read(fd, chunk, 64 * 1024);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot read");
                if (n == 0)
                        break;
                if ((size_t) n > max_size - b.size)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more than the %zu bytes allowed", max_size);
                buffer_append(&b, chunk, (size_t) n);
        }
        if (ret_size)
                *ret_size = b.size;
        *ret = buffer_steal(&b);
        return 0;
}

int io_read_file(int dir_fd, const char *path, size_t max_size, char **ret, size_t *ret_size, Error *reterr) {
        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        if (S_ISDIR(st.st_mode))
                return error_errno(reterr, EISDIR, "cannot read %s", path);
        r = io_read_fd(fd, max_size, ret, ret_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        return 0;
}

int io_write_all(int fd, const void *data, size_t size, Error *reterr) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot write");
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

int io_pwrite_all(int fd, const void *data, size_t size, uint64_t offset, Error *reterr) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t n = pwrite(fd, p, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot write");
                p += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }
        return 0;
}

int io_pread_all(int fd, void *data, size_t size, uint64_t offset, Error *reterr) {
        uint8_t *p = data;

        while (size > 0) {
                ssize_t n = pread(fd, p, size, (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot read");
                if (n == 0)
                        return error_set(reterr, EIO, REFUSAL_BAD_FORMAT, "the file ends %zu bytes too early", size);
                p += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }
        return 0;
}

static int copy_data(int from_fd, uint64_t from, int to_fd, uint64_t to, uint64_t size, Error *reterr) {
        _cleanup_free_ char *buffer = NULL;

        while (size > 0) {
                loff_t in = (loff_t) from, out = (loff_t) to;
                ssize_t n = buffer ? -1 : copy_file_range(from_fd, &in, to_fd, &out, MIN(size, (uint64_t) 1 << 30), 0);

                if (n <= 0) {
                        if (!buffer)
                                buffer = xmalloc(COPY_BUFFER_SIZE);
                        n = (ssize_t) MIN(size, (uint64_t) COPY_BUFFER_SIZE);
                        int r = io_pread_all(from_fd, buffer, (size_t) n, from, reterr);
                        if (r >= 0)
                                r = io_pwrite_all(to_fd, buffer, (size_t) n, to, reterr);
                        if (r < 0)
                                return r;
                }
                from += (uint64_t) n;
                to += (uint64_t) n;
                size -= (uint64_t) n;
        }
        return 0;
}

int io_copy_range(int from_fd, uint64_t from_offset, int to_fd, uint64_t to_offset, uint64_t size, Error *reterr) {
        uint64_t end, position = from_offset;
        struct stat st;

        if (fstat(from_fd, &st) < 0)
                return error_errno(reterr, errno, "cannot read");
        if (__builtin_add_overflow(from_offset, size, &end))
                return error_errno(reterr, EOVERFLOW, "cannot read");
        /* What lies behind the end of a file looks like a hole to lseek(). */
        if (S_ISREG(st.st_mode) && end > (uint64_t) st.st_size)
                return error_set(reterr, EIO, REFUSAL_BAD_FORMAT, "the file ends %" PRIu64 " bytes too early",
                                 end - (uint64_t) st.st_size);
        while (position < end) {
                off_t data = lseek(from_fd, (off_t) position, SEEK_DATA), hole;
                int r;

                if (data < 0 && errno == ENXIO)
                        break; /* nothing but a hole up to the end */
                if (data < 0)
                        return copy_data(from_fd, position, to_fd, to_offset + (position - from_offset), end - position,
                                         reterr);
                if ((uint64_t) data >= end)
                        break;
                hole = lseek(from_fd, data, SEEK_HOLE);
                if (hole < 0 || (uint64_t) hole > end)
                        hole = (off_t) end;
                r = copy_data(from_fd, (uint64_t) data, to_fd, to_offset + ((uint64_t) data - from_offset),
                              (uint64_t) (hole - data), reterr);
                if (r < 0)
                        return r;
                position = (uint64_t) hole;
        }
        return 0;
}

int io_copy_stream(int from_fd, int to_fd, uint64_t size, Error *reterr) {
        _cleanup_free_ char *buffer = xmalloc(COPY_BUFFER_SIZE);

        for (uint64_t offset = 0; offset < size;) {
                size_t n = (size_t) MIN(size - offset, (uint64_t) COPY_BUFFER_SIZE);
                int r;

                r = io_pread_all(from_fd, buffer, n, offset, reterr);
                if (r >= 0)
                        r = io_write_all(to_fd, buffer, n, reterr);
                if (r < 0)
                        return r;
                offset += n;
        }
        return 0;
}

int io_sync_fd(int fd, Error *reterr) {
        if (fsync(fd) < 0)
                return error_errno(reterr, errno, "cannot sync");
        return 0;
}

int io_sync_folder(int dir_fd, const char *path, Error *reterr) {
        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        return io_sync_fd(fd, reterr);
}

static int write_beside(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, bool durable,
                        Error *reterr) {
        _cleanup_free_ char *folder = path_dirname(path);
        _cleanup_free_ char *temporary = xasprintf("%s/.%s.%d.tmp", folder, path_basename(path), (int) getpid());
        _cleanup_close_ int fd = -EBADF;
        int r = 0;

        /* A leftover of a killed process with our number is ours to replace. */
        (void) unlinkat(dir_fd, temporary, 0);
        fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot create %s", temporary);
        /* The creation mode is cut by the umask; the result must not depend on it. */
        if (fchmod(fd, mode) < 0)
                r = error_errno(reterr, errno, "cannot set the mode of %s", temporary);
        if (r >= 0)
                r = io_write_all(fd, data, size, reterr);
        if (r >= 0 && durable)
                r = io_sync_fd(fd, reterr);
        if (r >= 0)
                r = io_rename_replace(dir_fd, temporary, path, reterr);
        if (r < 0) {
                (void) unlinkat(dir_fd, temporary, 0);
                return error_prefix(reterr, "%s", path);
        }
        return durable ? io_sync_folder(dir_fd, folder, reterr) : 0;
}

int io_replace_file(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, Error *reterr) {
        return write_beside(dir_fd, path, data, size, mode, true, reterr);
}

int io_write_file(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, Error *reterr) {
        return write_beside(dir_fd, path, data, size, mode, false, reterr);
}

int io_rename_new(int dir_fd, const char *from, const char *to, Error *reterr) {
        if (syscall(SYS_renameat2, dir_fd, from, dir_fd, to, RENAME_NOREPLACE) < 0) {
                if (errno == EEXIST || errno == ENOTEMPTY)
                        return error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s exists already", to);
                if (errno != EINVAL && errno != ENOSYS)
                        return error_errno(reterr, errno, "cannot rename %s to %s", from, to);
                /* The file system knows no such rename; the window between look and rename is the best left. */
                if (io_exists(dir_fd, to))
                        return error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s exists already", to);
                return io_rename_replace(dir_fd, from, to, reterr);
        }
        return 0;
}

int io_rename_replace(int dir_fd, const char *from, const char *to, Error *reterr) {
        if (renameat(dir_fd, from, dir_fd, to) < 0)
                return error_errno(reterr, errno, "cannot rename %s to %s", from, to);
        return 0;
}

int io_unlink(int dir_fd, const char *path, Error *reterr) {
        if (unlinkat(dir_fd, path, 0) < 0) {
                if (errno == ENOENT)
                        return 1;
                return error_errno(reterr, errno, "cannot remove %s", path);
        }
        return 0;
}

static void closedirp(DIR **d) {
        if (*d)
                closedir(*d);
}

static int remove_children(int fd, unsigned depth, Error *reterr) {
        _cleanup_(closedirp) DIR *d = NULL;
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        struct dirent *entry;

        if (copy < 0 || !(d = fdopendir(copy))) {
                int saved = errno;
                safe_close(copy);
                return error_errno(reterr, saved, "cannot list a folder");
        }
        if (depth == 0)
                return error_set(reterr, ELOOP, REFUSAL_TOO_LARGE, "folders are nested too deeply");
        while ((errno = 0, entry = readdir(d))) {
                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                if (unlinkat(fd, entry->d_name, 0) >= 0)
                        continue;
                if (errno == EISDIR || errno == EPERM) {
                        _cleanup_close_ int child =
                                openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                        /* A folder that its owner may not enter (0555, 0000) can still be opened up by its owner. */
                        if (child < 0 && errno == EACCES && fchmodat(fd, entry->d_name, 0700, 0) >= 0)
                                child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                        if (child >= 0) {
                                int r;

                                (void) fchmod(child, 0700);
                                r = remove_children(child, depth - 1, reterr);
                                if (r < 0)
                                        return r;
                                if (unlinkat(fd, entry->d_name, AT_REMOVEDIR) >= 0)
                                        continue;
                        }
                }
                return error_errno(reterr, errno, "cannot remove %s", entry->d_name);
        }
        return 0;
}

int io_remove_tree(int dir_fd, const char *path, Error *reterr) {
        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r;

        if (fd < 0) {
                if (errno == ENOENT)
                        return 1;
                return io_unlink(dir_fd, path, reterr);
        }
        (void) fchmod(fd, 0700);
        r = remove_children(fd, REMOVE_DEPTH_MAX, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        if (unlinkat(dir_fd, path, AT_REMOVEDIR) < 0)
                return error_errno(reterr, errno, "cannot remove %s", path);
        return 0;
}

int io_mkdir_parents(int dir_fd, const char *path, mode_t mode, Error *reterr) {
        _cleanup_free_ char *copy = xstrdup(path);

        for (char *p = copy + 1; *p; p++)
                if (*p == '/') {
                        *p = 0;
                        if (mkdirat(dir_fd, copy, mode) < 0 && errno != EEXIST)
                                return error_errno(reterr, errno, "cannot create folder %s", copy);
                        *p = '/';
                }
        if (mkdirat(dir_fd, copy, mode) < 0 && errno != EEXIST)
                return error_errno(reterr, errno, "cannot create folder %s", copy);
        return 0;
}

int io_tmpfile(const char *folder, int *ret_fd, Error *reterr) {
        int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

        if (fd < 0) {
                _cleanup_free_ char *name = xasprintf("%s/.sealab-XXXXXX", folder);

                fd = mkostemp(name, O_CLOEXEC);
                if (fd < 0)
                        return error_errno(reterr, errno, "cannot create a temporary file in %s", folder);
                (void) unlink(name);
        }
        *ret_fd = fd;
        return 0;
}

int io_temporary_folder(const char *purpose, char **ret_path, Error *reterr) {
        const char *base = getenv("TMPDIR");
        _cleanup_free_ char *path = xasprintf("%s/sealab-%s-XXXXXX", isempty(base) ? "/var/tmp" : base, purpose);

        if (!mkdtemp(path))
                return error_errno(reterr, errno, "cannot create a temporary folder under %s",
                                   isempty(base) ? "/var/tmp" : base);
        *ret_path = TAKE_PTR(path);
        return 0;
}

bool io_exists(int dir_fd, const char *path) {
        struct stat st;

        return fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) >= 0;
}

char *path_join(const char *a, const char *b) {
        if (*b == '/' || isempty(a))
                return xstrdup(b);
        return xasprintf("%s%s%s", a, endswith(a, "/") ? "" : "/", b);
}

const char *path_basename(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

char *path_dirname(const char *path) {
        const char *slash = strrchr(path, '/');

        if (!slash)
                return xstrdup(".");
        if (slash == path)
                return xstrdup("/");
        return xstrndup(path, (size_t) (slash - path));
}

bool path_is_clean_relative(const char *path) {
        if (isempty(path) || *path == '/' || strlen(path) >= PATH_MAX)
                return false;
        for (const char *p = path;;) {
                size_t n = strcspn(p, "/");

                if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
                        return false;
                if (!p[n])
                        return true;
                p += n + 1;
        }
}
