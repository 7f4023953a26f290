/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Copies of a tree: into another tree, and onto a real folder. */

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "io.h"
#include "tree.h"

#define COPY_BUFFER_SIZE ((size_t) 1024 * 1024)

/* --- into a tree --- */

typedef struct Copier {
        Tree *to;
        const Tree *from;
        char **first_paths; /* where the first node of a hard-linked inode went; the inode's mark is its index + 1 */
        size_t n_first_paths, n_allocated;
        uint8_t *buffer;
        bool path_is_named; /* the error says already where it happened */
        Error *reterr;
} Copier;

static void copier_done(Copier *c) {
        for (size_t k = 0; k < c->n_first_paths; k++)
                free(c->first_paths[k]);
        free(c->first_paths);
        free(c->buffer);
}

static NodeAttributes attributes_of(const Inode *i) {
        return (NodeAttributes){
                .mode = i->mode & 07777, .uid = i->uid, .gid = i->gid, .mtime = i->mtime, .package = i->package
        };
}

/* Contents are neither hashed again nor read through a mapping: the digest travels with the inode. */
static int copy_bytes(Copier *c, int from_fd, uint64_t from, int to_fd, uint64_t to, uint64_t size) {
        if (!c->buffer)
                c->buffer = xmalloc(COPY_BUFFER_SIZE);
        for (uint64_t done = 0; done < size;) {
                size_t n = MIN(size - done, COPY_BUFFER_SIZE);
                int r = io_pread_all(from_fd, c->buffer, n, from + done, c->reterr);

                if (r >= 0)
                        r = io_pwrite_all(to_fd, c->buffer, n, to + done, c->reterr);
                if (r < 0)
                        return r;
                done += n;
        }
        return 0;
}

static int copy_content(Copier *c, const Inode *from, Inode *to) {
        uint64_t end;
        int r;

        to->size = from->size;
        to->digest = from->digest;
        to->offset = from->offset;
        if (c->to == c->from || !S_ISREG(from->mode))
                return 0;
        if (__builtin_add_overflow(c->to->spool_size, from->size, &end) || end > TREE_BYTES_MAX)
                return error_set(c->reterr, EFBIG, REFUSAL_TOO_LARGE, "the tree's contents are too large");
        r = copy_bytes(c, c->from->spool_fd, from->offset, c->to->spool_fd, c->to->spool_size, from->size);
        if (r < 0)
                return r;
        to->offset = c->to->spool_size;
        c->to->spool_size = end;
        return 0;
}

static void copy_xattrs(const Inode *from, Inode *to) {
        for (size_t k = 0; k < from->n_xattrs; k++)
                (void) tree_set_xattr(to, from->xattrs[k].name, from->xattrs[k].value, from->xattrs[k].size);
}

static int copy_leaf(Copier *c, const char *path, const Node *n) {
        NodeAttributes a = attributes_of(n->inode);
        Inode *i;
        int r;

        if (n->inode->mark > 0)
                return tree_add_hardlink(c->to, path, c->first_paths[n->inode->mark - 1], NULL, c->reterr);
        i = inode_new(n->inode->mode, &a);
        i->target = xstrdup(n->inode->target);
        i->rdev = n->inode->rdev;
        copy_xattrs(n->inode, i);
        r = copy_content(c, n->inode, i);
        if (r < 0) {
                inode_free(i);
                return r;
        }
        if (n->inode->n_links > 1) {
                GROW(c->first_paths, c->n_first_paths, c->n_allocated);
                c->first_paths[c->n_first_paths++] = xstrdup(path);
                n->inode->mark = c->n_first_paths;
        }
        return tree_add_inode(c->to, path, i, NULL, c->reterr);
}

static int copy_node(Copier *c, Buffer *path, const Node *n) {
        NodeAttributes a = attributes_of(n->inode);
        size_t length = path->size;
        Node *folder;
        int r;

        if (!node_is_folder(n))
                return copy_leaf(c, path->data, n);
        r = tree_add_folder(c->to, length > 0 ? path->data : "/", &a, &folder, c->reterr);
        if (r < 0)
                return r;
        copy_xattrs(n->inode, folder->inode);
        for (size_t k = 0; k < n->n_children; k++) {
                buffer_puts(path, "/");
                buffer_puts(path, n->children[k]->name);
                r = copy_node(c, path, n->children[k]);
                path->size = length;
                path->data[length] = 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

int tree_copy(Tree *to, const char *to_path, const Tree *from, const Node *node, Error *reterr) {
        _cleanup_(copier_done) Copier c = { .to = to, .from = from, .reterr = reterr };
        _cleanup_buffer_ Buffer path = {};

        buffer_puts(&path, streq(to_path, "/") ? "" : to_path);
        if (to == from) {
                _cleanup_free_ char *own = node_path(node);
                const char *rest = startswith(to_path, own);

                if (node_is_folder(node) && (!node->parent || (rest && (*rest == '/' || !*rest))))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s cannot be copied into itself (%s)", own,
                                         to_path);
        }
        tree_clear_marks((Tree *) from, (Node *) node);
        return copy_node(&c, &path, node);
}

/* --- onto a folder --- */

static int set_real_xattrs(int dir_fd, const char *name, const Inode *i, Error *reterr) {
        _cleanup_free_ char *path = NULL;

        if (i->n_xattrs == 0)
                return 0;
        /* There is no setxattrat() yet; the way through /proc works for every type without following links. */
        path = xasprintf("/proc/self/fd/%d/%s", dir_fd, name);
        for (size_t k = 0; k < i->n_xattrs; k++)
                if (lsetxattr(path, i->xattrs[k].name, i->xattrs[k].value, i->xattrs[k].size, 0) < 0)
                        return error_errno(reterr, errno, "cannot set the attribute %s", i->xattrs[k].name);
        return 0;
}

/* Owner first (it clears set-id bits and file capabilities), then mode, attributes, time. */
static int set_real_attributes(int dir_fd, const char *name, const Inode *i, Error *reterr) {
        const struct timespec times[2] = { { .tv_sec = i->mtime }, { .tv_sec = i->mtime } };
        int r;

        if (fchownat(dir_fd, name, i->uid, i->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(reterr, errno, "cannot set the owner to %u:%u", i->uid, i->gid);
        if (!S_ISLNK(i->mode) && fchmodat(dir_fd, name, i->mode & 07777, 0) < 0)
                return error_errno(reterr, errno, "cannot set the mode");
        r = set_real_xattrs(dir_fd, name, i, reterr);
        if (r < 0)
                return r;
        if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(reterr, errno, "cannot set the time");
        return 0;
}

static int make_real_leaf(Copier *c, int dir_fd, const char *name, const Inode *i) {
        switch (i->mode & S_IFMT) {
        case S_IFREG: {
                _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

                if (fd < 0)
                        return error_errno(c->reterr, errno, "cannot create the file");
                return copy_bytes(c, c->from->spool_fd, i->offset, fd, 0, i->size);
        }
        case S_IFLNK:
                if (symlinkat(i->target, dir_fd, name) < 0)
                        return error_errno(c->reterr, errno, "cannot create the symbolic link");
                return 0;
        default:
                if (mknodat(dir_fd, name, (i->mode & (mode_t) S_IFMT) | 0600, i->rdev) < 0)
                        return error_errno(c->reterr, errno, "cannot create the device node");
                return 0;
        }
}

static int make_real_folder(Copier *c, int root_fd, int dir_fd, Buffer *path, const Node *n);

static int make_real_node(Copier *c, int root_fd, int dir_fd, Buffer *path, const Node *n) {
        Inode *i = n->inode;
        int r;

        if (node_is_folder(n)) {
                _cleanup_close_ int fd = -EBADF;

                if (mkdirat(dir_fd, n->name, 0700) < 0 ||
                    (fd = openat(dir_fd, n->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
                        return error_errno(c->reterr, errno, "cannot create the folder");
                r = make_real_folder(c, root_fd, fd, path, n);
                return r < 0 ? r : set_real_attributes(dir_fd, n->name, i, c->reterr);
        }
        if (i->mark > 0) {
                if (linkat(root_fd, c->first_paths[i->mark - 1] + 1, dir_fd, n->name, 0) < 0)
                        return error_errno(c->reterr, errno, "cannot create the hard link");
                return 0;
        }
        if (i->n_links > 1) {
                GROW(c->first_paths, c->n_first_paths, c->n_allocated);
                c->first_paths[c->n_first_paths++] = xstrdup(path->data);
                i->mark = c->n_first_paths;
        }
        r = make_real_leaf(c, dir_fd, n->name, i);
        return r < 0 ? r : set_real_attributes(dir_fd, n->name, i, c->reterr);
}

static int make_real_folder(Copier *c, int root_fd, int dir_fd, Buffer *path, const Node *n) {
        size_t length = path->size;

        for (size_t k = 0; k < n->n_children; k++) {
                int r;

                buffer_puts(path, "/");
                buffer_puts(path, n->children[k]->name);
                r = make_real_node(c, root_fd, dir_fd, path, n->children[k]);
                if (r < 0 && !c->path_is_named)
                        (void) error_prefix(c->reterr, "%s", path->data);
                c->path_is_named = r < 0;
                if (r < 0)
                        return r;
                path->size = length;
                path->data[length] = 0;
        }
        return 0;
}

int tree_materialise(Tree *t, int dir_fd, Error *reterr) {
        _cleanup_(copier_done) Copier c = { .from = t, .reterr = reterr };
        _cleanup_buffer_ Buffer path = {};
        int r;

        tree_clear_marks(t, t->root);
        r = make_real_folder(&c, dir_fd, dir_fd, &path, t->root);
        return r < 0 ? r : set_real_attributes(dir_fd, ".", t->root->inode, reterr);
}
