/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "io.h"
#include "overlay.h"

/* Overlays are kept in version control beside the recipe; what is larger than this belongs into a package. */
#define OVERLAY_DEPTH_MAX 64

static void closedirp(DIR **d) {
        if (*d)
                closedir(*d);
}

static ssize_t read_host_file(void *userdata, void *buffer, size_t size) {
        ssize_t n;

        do
                n = read(*(int *) userdata, buffer, size);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

static int import_folder_fd(Tree *t, const char *prefix, int fd, const char *shown, unsigned depth, int64_t epoch,
                            Error *reterr);

static int import_file(Tree *t, const char *path, int dir_fd, const char *name, const struct stat *st, int64_t epoch,
                       Error *reterr) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        NodeAttributes a = { .mode = st->st_mode & 0111 ? 0755 : 0644, .mtime = epoch };

        if (fd < 0)
                return error_errno(reterr, errno, "cannot read it");
        return tree_add_file_stream(t, path, &a, (uint64_t) st->st_size, read_host_file, &fd, NULL, reterr);
}

static int import_symlink(Tree *t, const char *path, int dir_fd, const char *name, int64_t epoch, Error *reterr) {
        NodeAttributes a = { .mode = 0777, .mtime = epoch };
        char target[PATH_MAX];
        ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);

        if (n < 0)
                return error_errno(reterr, errno, "cannot read the link");
        target[n] = 0;
        return tree_add_symlink(t, path, &a, target, NULL, reterr);
}

static int import_one(Tree *t, const char *path, int dir_fd, const char *name, const char *shown, unsigned depth,
                      int64_t epoch, Error *reterr) {
        NodeAttributes a = { .mode = 0755, .mtime = epoch };
        Node *there = tree_lookup(t, path);
        struct stat st;
        int r;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(reterr, errno, "cannot look at %s", shown);
        if (S_ISREG(st.st_mode))
                r = import_file(t, path, dir_fd, name, &st, epoch, reterr);
        else if (S_ISLNK(st.st_mode))
                r = import_symlink(t, path, dir_fd, name, epoch, reterr);
        else if (S_ISDIR(st.st_mode)) {
                _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                if (fd < 0)
                        return error_errno(reterr, errno, "cannot open %s", shown);
                /* A folder that a package made keeps its owner and mode. */
                r = there && node_is_folder(there) ? 0 : tree_add_folder(t, path, &a, NULL, reterr);
                return r < 0 ? error_prefix(reterr, "%s", shown)
                             : import_folder_fd(t, path, fd, shown, depth - 1, epoch, reterr);
        } else
                r = error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "only files, folders and links can be in an overlay");
        return r < 0 ? error_prefix(reterr, "%s", shown) : 0;
}

static int import_folder_fd(Tree *t, const char *prefix, int fd, const char *shown, unsigned depth, int64_t epoch,
                            Error *reterr) {
        _cleanup_(closedirp) DIR *d = NULL;
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3), r = 0;
        struct dirent *entry;

        if (depth == 0)
                return error_set(reterr, ELOOP, REFUSAL_TOO_LARGE, "%s: folders are nested too deeply", shown);
        if (copy < 0 || !(d = fdopendir(copy))) {
                r = error_errno(reterr, errno, "cannot list %s", shown);
                safe_close(copy);
                return r;
        }
        while (r >= 0 && (entry = readdir(d))) {
                _cleanup_free_ char *path = NULL, *name = NULL;

                if (streq(entry->d_name, ".") || streq(entry->d_name, "..") || streq(entry->d_name, ".gitkeep"))
                        continue;
                path = xasprintf("%s/%s", prefix, entry->d_name);
                name = path_join(shown, entry->d_name);
                r = import_one(t, path, fd, entry->d_name, name, depth, epoch, reterr);
        }
        return r;
}

int overlay_import_folder(Tree *t, const char *prefix, const char *folder, int64_t epoch, Error *reterr) {
        _cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", folder);
        return import_folder_fd(t, prefix, fd, folder, OVERLAY_DEPTH_MAX, epoch, reterr);
}

static int check_top(const char *folder, Error *reterr) {
        static const char *const allowed[] = { "usr", "etc", "var", "root", "srv", "opt", ".", "..", ".gitkeep" };
        _cleanup_(closedirp) DIR *d = opendir(folder);
        struct dirent *entry;

        if (!d)
                return error_errno(reterr, errno, "cannot open %s", folder);
        while ((entry = readdir(d))) {
                bool found = false;

                for (size_t i = 0; i < ELEMENTSOF(allowed); i++)
                        found = found || streq(entry->d_name, allowed[i]);
                if (!found) {
                        error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s/%s: not a place an image can carry", folder,
                                  entry->d_name);
                        return error_hint(reterr,
                                          "Put it below usr/ or etc/ (/bin, /lib and /sbin are links into /usr).");
                }
        }
        return 0;
}

static int add_files(Tree *t, char *const *files, const char *place, int64_t epoch, Error *reterr) {
        NodeAttributes a = { .mode = 0644, .mtime = epoch };

        STRV_FOREACH (f, files) {
                _cleanup_free_ char *text = NULL, *path = path_join(place, path_basename(*f));
                size_t size;
                int r;

                r = io_read_file(AT_FDCWD, *f, 1 << 20, &text, &size, reterr);
                if (r >= 0)
                        r = tree_add_file(t, path, &a, text, size, NULL, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", *f);
        }
        return 0;
}

int overlay_apply(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        int r = 0;

        STRV_FOREACH (folder, recipe->files) {
                r = check_top(*folder, reterr);
                if (r >= 0)
                        r = overlay_import_folder(t, "", *folder, epoch, reterr);
                if (r < 0)
                        return r;
        }
        r = add_files(t, recipe->sysusers, "/usr/lib/sysusers.d", epoch, reterr);
        if (r >= 0)
                r = add_files(t, recipe->tmpfiles, "/usr/lib/tmpfiles.d", epoch, reterr);
        if (r >= 0)
                r = add_files(t, recipe->presets, "/usr/lib/systemd/system-preset", epoch, reterr);
        if (r >= 0)
                r = add_files(t, recipe->repart, "/usr/lib/repart.d", epoch, reterr);
        return r;
}
