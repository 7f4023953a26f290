/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Archives in and out. Nothing is ever written to a disk from an archive: entries become nodes, and a node can only be
 * put below a real folder of the tree, so that there is one path policy for all archives and none to switch off. */

#include <limits.h>
#include <sys/sysmacros.h>

#include "archive-cleanup.h"
#include "io.h"
#include "tree.h"

/* The name under which a pax archive carries the package of an entry, as an attribute in no kernel's name space. */
#define PACKAGE_ATTRIBUTE "SEALAB.package"
#define PACKAGE_LENGTH_MAX 255
#define COPY_BUFFER_SIZE ((size_t) 1024 * 1024)
#define STREAM_BLOCK ((size_t) 1 << 20) /* of reads from a pipe */

typedef struct Importer {
        Tree *t;
        struct archive *a;
        const char *prefix; /* "" or "/some/folder" */
        const char *package;
        TreeImportFlags flags;
        uint64_t n_entries;
} Importer;

static int archive_failed(struct archive *a, const char *what, Error *reterr) {
        const char *text = archive_error_string(a);

        if (archive_errno(a) == ENOSPC)
                return error_errno(reterr, ENOSPC, "%s", what);
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %s", what,
                         isempty(text) ? "the archive is damaged" : text);
}

/* bin/x -> usr/bin/x, for the folders that are links on a merged system. The links themselves keep their place. */
static bool is_merged_folder(const char *path, size_t *ret_length) {
        static const char *const names[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };
        size_t length = strcspn(path, "/");

        for (size_t k = 0; k < ELEMENTSOF(names); k++)
                if (strlen(names[k]) == length && memcmp(path, names[k], length) == 0) {
                        *ret_length = length;
                        return true;
                }
        return false;
}

/* The place in the tree for a name in the archive; "" for the root of the prefix. */
static int map_path(Importer *im, const char *name, bool is_symlink, char **ret, Error *reterr) {
        _cleanup_free_ char *copy = NULL;
        const char *merged = "";
        size_t length;

        if (*name == '/')
                return error_set(reterr, EINVAL, REFUSAL_PATH_ESCAPE, "the archive has the absolute path \"%.200s\"",
                                 name);
        if (strlen(name) >= PATH_MAX)
                return error_set(reterr, ENAMETOOLONG, REFUSAL_TOO_LARGE, "the archive has a path longer than %d bytes",
                                 PATH_MAX);
        while (startswith(name, "./"))
                name += 2 + strspn(name + 2, "/");
        if (streq(name, "."))
                name = "";
        copy = xstrdup(name);
        for (size_t n = strlen(copy); n > 0 && copy[n - 1] == '/'; n--)
                copy[n - 1] = 0;
        if (*copy && !path_is_clean_relative(copy))
                return error_set(reterr, EINVAL, REFUSAL_PATH_ESCAPE,
                                 "the archive has the path \"%.200s\", with an empty, \".\" or \"..\" component", name);
        if ((im->flags & TREE_IMPORT_MERGE_USR) && is_merged_folder(copy, &length) && (copy[length] || !is_symlink))
                merged = "/usr";
        *ret = *copy ? xasprintf("%s%s/%s", im->prefix, merged, copy) : xstrdup(im->prefix);
        return 0;
}

typedef struct DataReader {
        struct archive *a;
        bool failed;
} DataReader;

static ssize_t read_data(void *userdata, void *buffer, size_t size) {
        DataReader *d = userdata;
        la_ssize_t n = archive_read_data(d->a, buffer, size);

        if (n < 0) {
                d->failed = true;
                return -EBADMSG;
        }
        return n;
}

static int import_file(Importer *im, struct archive_entry *e, const char *path, const NodeAttributes *a, Node **ret,
                       Error *reterr) {
        _cleanup_error_ Error error = {};
        DataReader d = { .a = im->a };
        int r;

        if (archive_entry_size(e) < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s has a negative size", path);
        r = tree_add_file_stream(im->t, path, a, (uint64_t) archive_entry_size(e), read_data, &d, ret, &error);
        if (r < 0 && d.failed)
                return archive_failed(im->a, path, reterr);
        if (r < 0)
                error_move(reterr, &error);
        return r;
}

static int import_device(Importer *im, struct archive_entry *e, const char *path, const NodeAttributes *a, Node **ret,
                         Error *reterr) {
        mode_t type = archive_entry_filetype(e);

        if (!S_ISCHR(type) && !S_ISBLK(type) && !S_ISFIFO(type))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s has an unknown type", path);
        if (!(im->flags & TREE_IMPORT_DEVICES))
                return error_set(reterr, EPERM, REFUSAL_BAD_VALUE, "%s is a device node, which is not allowed here",
                                 path);
        return tree_add_device(im->t, path, a, type, archive_entry_rdev(e), ret, reterr);
}

static int import_folder(Importer *im, const char *path, const NodeAttributes *a, Node **ret, Error *reterr) {
        Node *existing = tree_lookup(im->t, path);

        if (existing && node_is_symlink(existing))
                return error_set(reterr, ELOOP, REFUSAL_PATH_ESCAPE, "the folder %s would replace a symbolic link",
                                 path);
        return tree_add_folder(im->t, path, a, ret, reterr);
}

static int import_xattrs(struct archive_entry *e, const char *path, Inode *i, Error *reterr) {
        const char *name;
        const void *value;
        size_t size;

        if (archive_entry_acl_types(e) != 0)
                return error_set(reterr, EOPNOTSUPP, REFUSAL_BAD_VALUE,
                                 "%s has an access control list, which is not supported", path);
        archive_entry_xattr_reset(e);
        while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK) {
                if (streq(name, PACKAGE_ATTRIBUTE))
                        continue;
                if (tree_set_xattr(i, name, value, size) < 0)
                        return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "%s: the attribute %.80s is too large", path,
                                         name);
        }
        return 0;
}

static char *find_package(struct archive_entry *e) {
        const char *name;
        const void *value;
        size_t size;

        archive_entry_xattr_reset(e);
        while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK)
                if (streq(name, PACKAGE_ATTRIBUTE) && size > 0 && size <= PACKAGE_LENGTH_MAX && !memchr(value, 0, size))
                        return xstrndup(value, size);
        return NULL;
}

static int import_typed(Importer *im, struct archive_entry *e, const char *path, const NodeAttributes *a, Node **ret,
                        Error *reterr) {
        switch (archive_entry_filetype(e)) {
        case AE_IFREG:
                return import_file(im, e, path, a, ret, reterr);
        case AE_IFDIR:
                return import_folder(im, path, a, ret, reterr);
        case AE_IFLNK: {
                const char *target = archive_entry_symlink(e) ?: archive_entry_symlink_utf8(e);

                return tree_add_symlink(im->t, path, a, target ?: "", ret, reterr);
        }
        default:
                return import_device(im, e, path, a, ret, reterr);
        }
}

static int import_entry(Importer *im, struct archive_entry *e, Error *reterr) {
        const char *name = archive_entry_pathname(e) ?: archive_entry_pathname_utf8(e);
        const char *link = archive_entry_hardlink(e) ?: archive_entry_hardlink_utf8(e);
        _cleanup_free_ char *path = NULL, *existing = NULL, *package = NULL;
        int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);
        NodeAttributes a;
        Node *n;
        int r;

        if (isempty(name))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the archive has an entry without a usable name");
        r = map_path(im, name, archive_entry_filetype(e) == AE_IFLNK, &path, reterr);
        if (r < 0)
                return r;
        if (link) {
                r = map_path(im, link, false, &existing, reterr);
                return r < 0 ? r : tree_add_hardlink(im->t, path, existing, NULL, reterr);
        }
        if (streq(path, im->prefix) && archive_entry_filetype(e) != AE_IFDIR)
                return error_set(reterr, EISDIR, REFUSAL_EXISTS, "the archive's root is not a folder");
        if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
                return error_set(reterr, ERANGE, REFUSAL_BAD_FORMAT, "%s has an impossible owner", path);
        package = im->package ? NULL : find_package(e);
        a = (NodeAttributes){
                .mode = archive_entry_perm(e),
                .uid = (uid_t) uid,
                .gid = (gid_t) gid,
                .mtime = archive_entry_mtime(e),
                .package = im->package ?: package,
        };
        r = import_typed(im, e, path, &a, &n, reterr);
        return r < 0 ? r : import_xattrs(e, path, n->inode, reterr);
}

int tree_import_archive(Tree *t, const char *prefix, struct archive *a, TreeImportFlags flags, const char *package,
                        Error *reterr) {
        Importer im = {
                .t = t, .a = a, .prefix = streq(prefix, "/") ? "" : prefix, .package = package, .flags = flags
        };

        for (;;) {
                struct archive_entry *e;
                int r = archive_read_next_header(a, &e);

                if (r == ARCHIVE_EOF)
                        return 0;
                /* A warning is about a name that the locale cannot show; import_entry() takes the bytes as they are. */
                if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
                        return archive_failed(a, "cannot read the archive", reterr);
                /* Entries that replace one another would pass the tree's own limit for ever. */
                if (++im.n_entries > TREE_ENTRIES_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "the archive has more than %d entries",
                                         TREE_ENTRIES_MAX);
                r = import_entry(&im, e, reterr);
                if (r < 0)
                        return r;
        }
}

int tree_import_stream(Tree *t, int fd, TreeImportFlags flags, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *a = archive_read_new();
        char rest[65536];
        ssize_t n;
        int r;

        if (!a)
                abort();
        if (archive_read_support_format_tar(a) != ARCHIVE_OK || archive_read_open_fd(a, fd, STREAM_BLOCK) != ARCHIVE_OK)
                return archive_failed(a, "cannot read the stream", reterr);
        r = tree_import_archive(t, "", a, flags, NULL, reterr);
        /* What pads the archive behind its end is read as well, or its writer would die of SIGPIPE. */
        do
                n = r < 0 ? 0 : read(fd, rest, sizeof(rest));
        while (n > 0 || (n < 0 && errno == EINTR));
        if (n < 0)
                return error_errno(reterr, errno, "cannot read the stream");
        return r;
}

/* --- out --- */

typedef struct Exporter {
        Tree *t;
        struct archive *a;
        struct archive_entry *e;
        char **first_paths; /* of hard-linked inodes; the inode's mark is the index + 1 */
        size_t n_first_paths, n_allocated;
        uint8_t *buffer;
        Error *reterr;
} Exporter;

static void exporter_done(Exporter *x) {
        for (size_t k = 0; k < x->n_first_paths; k++)
                free(x->first_paths[k]);
        free(x->first_paths);
        free(x->buffer);
        if (x->e)
                archive_entry_free(x->e);
        if (x->a)
                archive_write_free(x->a);
}

static int export_content(Exporter *x, const Inode *i) {
        for (uint64_t done = 0; done < i->size;) {
                size_t n = MIN(i->size - done, COPY_BUFFER_SIZE);
                int r = io_pread_all(x->t->spool_fd, x->buffer, n, i->offset + done, x->reterr);

                if (r < 0)
                        return r;
                if (archive_write_data(x->a, x->buffer, n) != (la_ssize_t) n)
                        return archive_failed(x->a, "cannot write the archive", x->reterr);
                done += n;
        }
        return 0;
}

static int describe_inode(Exporter *x, const Inode *i, const char *path) {
        archive_entry_set_mode(x->e, i->mode);
        archive_entry_set_uid(x->e, i->uid);
        archive_entry_set_gid(x->e, i->gid);
        archive_entry_set_mtime(x->e, i->mtime, 0);
        archive_entry_set_size(x->e, S_ISREG(i->mode) ? (la_int64_t) i->size : 0);
        if (S_ISLNK(i->mode))
                archive_entry_set_symlink(x->e, i->target);
        if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
                archive_entry_set_rdevmajor(x->e, major(i->rdev));
                archive_entry_set_rdevminor(x->e, minor(i->rdev));
        }
        if (S_ISSOCK(i->mode))
                return error_set(x->reterr, EOPNOTSUPP, REFUSAL_BAD_VALUE, "%s is a socket, which no archive can hold",
                                 path);
        for (size_t k = 0; k < i->n_xattrs; k++) {
                if (strchr(i->xattrs[k].name, '='))
                        return error_set(x->reterr, EOPNOTSUPP, REFUSAL_BAD_VALUE,
                                         "%s: the name of the attribute %s cannot be put into an archive", path,
                                         i->xattrs[k].name);
                archive_entry_xattr_add_entry(x->e, i->xattrs[k].name, i->xattrs[k].value, i->xattrs[k].size);
        }
        if (i->package)
                archive_entry_xattr_add_entry(x->e, PACKAGE_ATTRIBUTE, i->package, strlen(i->package));
        return 0;
}

static int export_node(Tree *t, Node *n, const char *path, void *userdata) {
        const char *name = path[1] ? path + 1 : ".";
        Exporter *x = userdata;
        Inode *i = n->inode;
        bool linked = i->mark > 0;
        int r;

        archive_entry_clear(x->e);
        archive_entry_set_pathname(x->e, name);
        if (linked) {
                archive_entry_set_filetype(x->e, AE_IFREG);
                archive_entry_set_hardlink(x->e, x->first_paths[i->mark - 1]);
        } else {
                r = describe_inode(x, i, path);
                if (r < 0)
                        return r;
                if (i->n_links > 1) {
                        GROW(x->first_paths, x->n_first_paths, x->n_allocated);
                        x->first_paths[x->n_first_paths++] = xstrdup(name);
                        i->mark = x->n_first_paths;
                }
        }
        if (archive_write_header(x->a, x->e) != ARCHIVE_OK)
                return archive_failed(x->a, path, x->reterr);
        return linked || !S_ISREG(i->mode) ? 0 : export_content(x, i);
}

int tree_export_archive(Tree *t, int fd, Error *reterr) {
        _cleanup_(exporter_done) Exporter x = { .t = t, .buffer = xmalloc(COPY_BUFFER_SIZE), .reterr = reterr };
        int r;

        x.a = archive_write_new();
        x.e = archive_entry_new();
        if (!x.a || !x.e)
                abort();
        /* Names are bytes, not text in some locale. One form of attributes is enough: the one that GNU tar reads too.
         */
        if (archive_write_set_format_pax(x.a) != ARCHIVE_OK ||
            archive_write_set_options(x.a, "pax:hdrcharset=BINARY,pax:xattrheader=SCHILY") != ARCHIVE_OK ||
            archive_write_set_bytes_per_block(x.a, 256 * 1024) != ARCHIVE_OK ||
            archive_write_set_bytes_in_last_block(x.a, 1) != ARCHIVE_OK || archive_write_open_fd(x.a, fd) != ARCHIVE_OK)
                return archive_failed(x.a, "cannot start the archive", reterr);
        tree_clear_marks(t, t->root);
        r = tree_walk(t, t->root, export_node, &x);
        if (r < 0)
                return r;
        if (archive_write_close(x.a) != ARCHIVE_OK)
                return archive_failed(x.a, "cannot finish the archive", reterr);
        return 0;
}

int tree_add_merged_links(Tree *t, Error *reterr) {
        static const char *const links[] = { "bin", "sbin", "lib", "lib64" };

        for (size_t i = 0; i < ELEMENTSOF(links); i++) {
                _cleanup_free_ char *path = xasprintf("/%s", links[i]), *target = xasprintf("usr/%s", links[i]);
                int r;

                if (tree_lookup(t, path))
                        continue;
                r = tree_add_symlink(t, path, &(NodeAttributes){ .mode = 0777 }, target, NULL, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}
