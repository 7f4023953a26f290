/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "drift.h"
#include "hash.h"
#include "io.h"

#define UPPER_FOLDER ".etc/upper"
#define LOWER_FOLDER "usr/share/factory/etc"
#define MERGED_FOLDER "etc"
#define OPAQUE_ATTRIBUTE "trusted.overlay.opaque"
#define ATTRIBUTE_MAX 65536 /* the kernel's own limit */
#define DIGEST_LENGTH (2 * SHA256_SIZE)

static const char *const kind_names[_DRIFT_KIND_MAX] = {
        [DRIFT_ADDED] = "added",
        [DRIFT_CHANGED] = "changed",
        [DRIFT_REMOVED] = "removed",
        [DRIFT_ATTRIBUTES] = "attributes",
};

const char *const drift_attributes[] = { "system.posix_acl_access", "system.posix_acl_default", "security.capability",
                                         NULL };

/* What a machine makes by itself, whoever it belongs to. '*' does not match a slash. */
static const struct {
        const char *pattern, *reason;
} own_files[] = {
        { "machine-id", "this machine's id" },
        { ".updated", "systemd's note of the last update" },
        { "adjtime", "the hardware clock's drift" },
        { "fake-hwclock.data", "the time, where there is no hardware clock" },
        { "hostid", "this machine's id" },
        { "resolv.conf", "made by the network" },
        { "resolvconf/run", "made by the network" },
        { "mtab", "a link to what is mounted" },
        { "ld.so.cache", "made from the libraries" },
        { ".pwd.lock", "a lock" },
        { ".resolv.conf.systemd-resolved.bak", "made by the network" },
        { "passwd-", "the file before its last change" },
        { "group-", "the file before its last change" },
        { "shadow-", "the file before its last change" },
        { "gshadow-", "the file before its last change" },
        { "subuid-", "the file before its last change" },
        { "subgid-", "the file before its last change" },
        { "ssh/ssh_host_*_key", "this machine's ssh key" },
        { "ssh/ssh_host_*_key.pub", "this machine's ssh key" },
        { "ssl/private/ssl-cert-snakeoil.key", "this machine's key" },
        { "ssl/certs/ssl-cert-snakeoil.pem", "this machine's key" },
        { "ssl/certs/????????.[0-9]", "made from the certificates" },
        { "ssl/certs/ca-certificates.crt", "made from the certificates" },
        { "iscsi/initiatorname.iscsi", "this machine's id" },
        { "nvme/hostid", "this machine's id" },
        { "nvme/hostnqn", "this machine's id" },
        { "udev/hwdb.bin", "made from hwdb.d" },
        { "cups/subscriptions.conf*", "kept by the print service" },
        { "cups/printers.conf.O", "kept by the print service" },
        { "console-setup/cached_*", "made from the keyboard's settings" },
        { "NetworkManager/NetworkManager-intern.conf", "kept by NetworkManager" },
        { "lvm/archive", "kept by lvm" },
        { "lvm/backup", "kept by lvm" },
        { "lvm/archive/*", "kept by lvm" },
        { "lvm/backup/*", "kept by lvm" },
};

static const char *own_reason(const char *path) {
        if (streq(path_basename(path), DRIFT_TEMPORARY))
                return "left by a reset that was cut short";
        for (size_t i = 0; i < ELEMENTSOF(own_files); i++)
                if (fnmatch(own_files[i].pattern, path, FNM_PATHNAME | FNM_PERIOD) == 0)
                        return own_files[i].reason;
        return NULL;
}

const char *drift_kind_name(DriftKind kind) {
        return kind < _DRIFT_KIND_MAX ? kind_names[kind] : "unknown";
}

void drift_id(const char *path, char ret[DRIFT_ID_LENGTH + 1]) {
        Sha256 h;

        sha256_buffer(path, strlen(path), &h);
        {
                _cleanup_free_ char *hex = sha256_hex(&h);

                snprintf(ret, DRIFT_ID_LENGTH + 1, "%.*s", DRIFT_ID_LENGTH, hex);
        }
}

/* ---- folders ---- */

void drift_folders_done(DriftFolders *f) {
        safe_close(f->upper);
        safe_close(f->lower);
        safe_close(f->merged);
        *f = (DriftFolders){ -EBADF, -EBADF, -EBADF };
}

static int open_folder(const char *root, const char *name, int *ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(root, name);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
                error_set(reterr, ENOENT, REFUSAL_MACHINE,
                          "/etc is no overlay over the image's own copy: there is no %s", path);
                return error_hint(reterr, "Images made by sealab have it; see \"What the image is\" in its README.");
        }
        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        *ret = fd;
        return 0;
}

int drift_open(const char *root, DriftFolders *ret, Error *reterr) {
        _cleanup_(drift_folders_done) DriftFolders f = { -EBADF, -EBADF, -EBADF };
        int r;

        r = open_folder(root, LOWER_FOLDER, &f.lower, reterr);
        if (r >= 0)
                r = open_folder(root, UPPER_FOLDER, &f.upper, reterr);
        if (r >= 0)
                r = open_folder(root, MERGED_FOLDER, &f.merged, reterr);
        if (r < 0)
                return r;
        *ret = f;
        f = (DriftFolders){ -EBADF, -EBADF, -EBADF };
        return 0;
}

/* ---- comparing ---- */

/* -errno, or the size; a file system without such attributes has none. */
static ssize_t get_attribute(int dir_fd, const char *name, const char *attribute, void *value, size_t size) {
        _cleanup_free_ char *path = xasprintf("/proc/self/fd/%d/%s", dir_fd, name);
        ssize_t n = lgetxattr(path, attribute, value, size);

        if (n < 0)
                return errno == ENODATA || errno == EOPNOTSUPP || errno == EPERM ? 0 : -errno;
        return n;
}

static bool same_attributes(int a_fd, const char *a, int b_fd, const char *b) {
        _cleanup_free_ char *x = xmalloc(ATTRIBUTE_MAX), *y = xmalloc(ATTRIBUTE_MAX);

        STRV_FOREACH (name, drift_attributes) {
                ssize_t n = get_attribute(a_fd, a, *name, x, ATTRIBUTE_MAX),
                        m = get_attribute(b_fd, b, *name, y, ATTRIBUTE_MAX);

                if (n != m || (n > 0 && memcmp(x, y, (size_t) n) != 0))
                        return false;
        }
        return true;
}

static int read_link(int dir_fd, const char *name, char **ret, Error *reterr) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(dir_fd, name, target, sizeof target);

        if (n < 0 || n == (ssize_t) sizeof target)
                return error_errno(reterr, n < 0 ? errno : ENAMETOOLONG, "cannot read the link %s", name);
        *ret = xstrndup(target, (size_t) n);
        return 0;
}

static int open_file(int dir_fd, const char *name, int *ret, Error *reterr) {
        int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", name);
        *ret = fd;
        return 0;
}

/* Of equal size; 1: the same bytes. */
static int same_content(int a_fd, const char *a, int b_fd, const char *b, uint64_t size, Error *reterr) {
        _cleanup_close_ int x = -EBADF, y = -EBADF;
        char one[16384], other[16384];
        int r;

        r = open_file(a_fd, a, &x, reterr);
        if (r >= 0)
                r = open_file(b_fd, b, &y, reterr);
        for (uint64_t at = 0; r >= 0 && at < size; at += sizeof one) {
                size_t n = (size_t) MIN(size - at, sizeof one);

                r = io_pread_all(x, one, n, at, reterr);
                if (r >= 0)
                        r = io_pread_all(y, other, n, at, reterr);
                if (r >= 0 && memcmp(one, other, n) != 0)
                        return 0;
        }
        return r < 0 ? r : 1;
}

static int stat_at(int dir_fd, const char *name, struct stat *ret, Error *reterr) {
        return fstatat(dir_fd, name, ret, AT_SYMLINK_NOFOLLOW) < 0
                       ? error_errno(reterr, errno, "cannot look at %s", name)
                       : 0;
}

static int same_inside(int a_fd, const char *a, const struct stat *s, int b_fd, const char *b, const struct stat *t,
                       Error *reterr) {
        if (S_ISREG(s->st_mode))
                return s->st_size != t->st_size ? 0 : same_content(a_fd, a, b_fd, b, (uint64_t) s->st_size, reterr);
        if (S_ISLNK(s->st_mode)) {
                _cleanup_free_ char *x = NULL, *y = NULL;
                int r = read_link(a_fd, a, &x, reterr);

                if (r >= 0)
                        r = read_link(b_fd, b, &y, reterr);
                return r < 0 ? r : streq(x, y);
        }
        return S_ISCHR(s->st_mode) || S_ISBLK(s->st_mode) ? s->st_rdev == t->st_rdev : 1;
}

int drift_compare(int a_fd, const char *a, int b_fd, const char *b, Error *reterr) {
        struct stat s, t;
        int r;

        r = stat_at(a_fd, a, &s, reterr);
        if (r >= 0)
                r = stat_at(b_fd, b, &t, reterr);
        if (r < 0)
                return r;
        if ((s.st_mode & S_IFMT) != (t.st_mode & S_IFMT))
                return 0;
        r = same_inside(a_fd, a, &s, b_fd, b, &t, reterr);
        if (r <= 0)
                return r;
        if (s.st_uid != t.st_uid || s.st_gid != t.st_gid || (!S_ISLNK(s.st_mode) && s.st_mode != t.st_mode))
                return 2;
        return same_attributes(a_fd, a, b_fd, b) ? 1 : 2;
}

int drift_is_untouched_default(int fd, const char *name, Error *reterr) {
        _cleanup_close_ int file = -EBADF;
        char mark[DIGEST_LENGTH + 1] = {};
        Sha256 now, then;
        struct stat st;
        int r;

        r = stat_at(fd, name, &st, reterr);
        if (r < 0 || !S_ISREG(st.st_mode) ||
            get_attribute(fd, name, DRIFT_MARK, mark, sizeof mark - 1) != DIGEST_LENGTH ||
            !sha256_from_hex(mark, &then))
                return r < 0 ? r : 0;
        r = open_file(fd, name, &file, reterr);
        if (r >= 0)
                r = sha256_fd(file, 0, (uint64_t) st.st_size, &now, reterr);
        return r < 0 ? r : sha256_equal(&now, &then);
}

/* ---- reading ---- */

typedef struct Walk {
        Drift *drift;
        unsigned depth;
} Walk;

static int walk_folder(Walk *w, int upper, int lower, const char *path, bool opaque, Error *reterr);

static DriftEntry *add(Walk *w, DriftKind kind, const char *path, const struct stat *upper, const struct stat *lower) {
        Drift *d = w->drift;
        DriftEntry *e;

        if (d->n_entries == DRIFT_ENTRIES_MAX) {
                d->truncated = true;
                return NULL;
        }
        GROW(d->entries, d->n_entries, d->n_allocated);
        e = &d->entries[d->n_entries++];
        *e = (DriftEntry){ .kind = kind, .path = xstrdup(path), .own = own_reason(path) };
        drift_id(path, e->id);
        e->folder = S_ISDIR((upper ?: lower)->st_mode);
        if (upper) {
                e->mode = upper->st_mode;
                e->uid = upper->st_uid;
                e->gid = upper->st_gid;
        }
        if (lower) {
                e->mode_default = lower->st_mode;
                e->uid_default = lower->st_uid;
                e->gid_default = lower->st_gid;
        }
        return e;
}

static int enter(Walk *w, int upper, int lower, const char *name, const char *path, Error *reterr) {
        _cleanup_close_ int u = -EBADF, l = -EBADF;
        bool opaque;
        char value[2];

        if (w->depth == DRIFT_DEPTH_MAX)
                return error_set(reterr, ELOOP, REFUSAL_TOO_LARGE, "/etc/%s lies too deep", path);
        u = openat(upper, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (u < 0)
                return error_errno(reterr, errno, "cannot open /etc/%s", path);
        opaque = get_attribute(upper, name, OPAQUE_ATTRIBUTE, value, sizeof value) == 1 && value[0] == 'y';
        if (lower >= 0)
                l = openat(lower, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return walk_folder(w, u, l, path, opaque, reterr);
}

static bool is_whiteout(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int add_file(Walk *w, DriftKind kind, int upper, const char *name, const char *path, const struct stat *u,
                    const struct stat *l, Error *reterr) {
        DriftEntry *e = add(w, kind, path, u, l);
        int r = e ? drift_is_untouched_default(upper, name, reterr) : 0;

        if (e && r > 0)
                e->earlier_default = true;
        return r < 0 ? r : 0;
}

static int look_at_both(Walk *w, int upper, int lower, const char *name, const char *path, const struct stat *u,
                        const struct stat *l, Error *reterr) {
        int r = drift_compare(upper, name, lower, name, reterr);

        if (r < 0 || r == 1)
                return r < 0 ? r : 0;
        if (r == 2) {
                add(w, DRIFT_ATTRIBUTES, path, u, l);
                return 0;
        }
        return add_file(w, DRIFT_CHANGED, upper, name, path, u, l, reterr);
}

static int look_at(Walk *w, int upper, int lower, const char *name, const char *path, Error *reterr) {
        bool in_lower;
        struct stat u, l;
        int r = 0;

        /* It may go while we look: then it is not there. */
        if (fstatat(upper, name, &u, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : error_errno(reterr, errno, "cannot look at /etc/%s", path);
        in_lower = lower >= 0 && fstatat(lower, name, &l, AT_SYMLINK_NOFOLLOW) == 0;
        if (is_whiteout(&u)) {
                if (in_lower)
                        add(w, DRIFT_REMOVED, path, NULL, &l);
                return 0;
        }
        if (!in_lower)
                r = add_file(w, DRIFT_ADDED, upper, name, path, &u, NULL, reterr);
        else
                r = look_at_both(w, upper, lower, name, path, &u, &l, reterr);
        /* Where the default was a file and is a folder now, all that is in it is part of that one change. */
        if (r < 0 || !S_ISDIR(u.st_mode) || (in_lower && !S_ISDIR(l.st_mode)))
                return r;
        w->depth++;
        r = enter(w, upper, in_lower ? lower : -EBADF, name, path, reterr);
        w->depth--;
        return r;
}

/* Sorted, so that the list is; owned. */
static int read_names(int folder, char ***ret, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;
        size_t n = 0, allocated = 0;
        const struct dirent *e;
        int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        if (!d) {
                int r = error_errno(reterr, errno, "cannot read a folder of /etc");

                safe_close(fd);
                return r;
        }
        while ((e = readdir(d))) {
                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                GROW(names, n + 1, allocated);
                names[n++] = xstrdup(e->d_name);
                names[n] = NULL;
        }
        closedir(d);
        if (names)
                strv_sort(names);
        *ret = TAKE_PTR(names);
        return 0;
}

static char *below(const char *path, const char *name) {
        return *path ? path_join(path, name) : xstrdup(name);
}

/* A folder that hides the image's: whatever of that is not here was removed. */
static int find_hidden(Walk *w, int upper, int lower, const char *path, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;
        int r = read_names(lower, &names, reterr);

        STRV_FOREACH (name, names) {
                _cleanup_free_ char *p = below(path, *name);
                struct stat st;

                if (r < 0 || fstatat(upper, *name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        continue;
                r = stat_at(lower, *name, &st, reterr);
                if (r >= 0)
                        add(w, DRIFT_REMOVED, p, NULL, &st);
        }
        return r;
}

static int walk_folder(Walk *w, int upper, int lower, const char *path, bool opaque, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;
        int r = read_names(upper, &names, reterr);

        STRV_FOREACH (name, names) {
                _cleanup_free_ char *p = below(path, *name);

                if (r >= 0)
                        r = look_at(w, upper, lower, *name, p, reterr);
        }
        return r >= 0 && opaque && lower >= 0 ? find_hidden(w, upper, lower, path, reterr) : r;
}

static int by_path(const void *a, const void *b) {
        return strcmp(((const DriftEntry *) a)->path, ((const DriftEntry *) b)->path);
}

int drift_read(const DriftFolders *f, Drift **ret, Error *reterr) {
        _cleanup_(drift_freep) Drift *d = xnew(Drift, 1);
        Walk w = { .drift = d };
        int r = walk_folder(&w, f->upper, f->lower, "", false, reterr);

        if (r < 0)
                return r;
        if (d->n_entries > 0)
                qsort(d->entries, d->n_entries, sizeof d->entries[0], by_path);
        *ret = TAKE_PTR(d);
        return 0;
}

Drift *drift_free(Drift *d) {
        if (!d)
                return NULL;
        for (size_t i = 0; i < d->n_entries; i++)
                free(d->entries[i].path);
        free(d->entries);
        free(d);
        return NULL;
}

/* ---- telling ---- */

/* Names are bytes; what is no text, or would play with a terminal, is written in hexadecimal. */
static json_t *path_to_json(const char *path) {
        _cleanup_buffer_ Buffer b = {};
        bool text;
        json_t *s;

        s = json_string(path);
        text = s != NULL;
        json_decref(s);
        buffer_puts(&b, "/etc/");
        for (const char *p = path; *p; p++) {
                unsigned char c = (unsigned char) *p;

                if (c < 0x20 || c == 0x7f || c == '\\' || (!text && c >= 0x80))
                        buffer_printf(&b, "\\x%02x", c);
                else
                        buffer_append(&b, p, 1);
        }
        return json_string(b.data);
}

/* Modes and owners are told where they differ. */
static json_t *entry_to_json(const DriftEntry *e) {
        bool both = e->mode && e->mode_default, mode = both && ((e->mode ^ e->mode_default) & 07777),
             owner = both && (e->uid != e->uid_default || e->gid != e->gid_default);
        _cleanup_free_ char *m = xasprintf("%04o", (unsigned) (e->mode & 07777)),
                            *m_default = xasprintf("%04o", (unsigned) (e->mode_default & 07777)),
                            *o = xasprintf("%u:%u", e->uid, e->gid),
                            *o_default = xasprintf("%u:%u", e->uid_default, e->gid_default);

        return json_pack("{s:s, s:s, s:o, s:b, s:b, s:s?, s:s?, s:s?, s:s?, s:s?}", "id", e->id, "kind",
                         drift_kind_name(e->kind), "path", path_to_json(e->path), "folder", e->folder, "earlierDefault",
                         e->earlier_default, "own", e->own, "mode", mode ? m : NULL, "defaultMode",
                         mode ? m_default : NULL, "owner", owner ? o : NULL, "defaultOwner", owner ? o_default : NULL);
}

json_t *drift_to_json(const Drift *d) {
        json_t *list = json_array();

        for (size_t i = 0; i < d->n_entries; i++)
                json_array_append_new(list, entry_to_json(&d->entries[i]));
        return json_pack("{s:o, s:b}", "entries", list, "truncated", d->truncated);
}
