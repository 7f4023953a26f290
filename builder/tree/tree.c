/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Nodes, their folders and their contents. Children are arrays sorted by name: look-ups are binary searches, and input
 * that comes sorted (archives written by this project) is appended without moving anything. Contents are appended to
 * the spool with one write per small file; replaced contents stay there unused, because a tree lives for one build. */

#include "tree.h"
#include "io.h"

/* Contents up to this size take one read and one write; larger ones go through a buffer of this size. */
#define SPOOL_CHUNK_SIZE ((size_t) 1024 * 1024)
#define SYMLINKS_MAX 40
#define XATTR_VALUE_MAX ((size_t) 64 * 1024)
#define XATTR_NAME_LENGTH_MAX 255
/* As PATH_MAX allows on the target, with its terminator. */
#define TARGET_LENGTH_MAX 4095

Inode *inode_free(Inode *i) {
        if (!i || (i->n_links > 0 && --i->n_links > 0))
                return NULL;
        for (size_t k = 0; k < i->n_xattrs; k++) {
                free(i->xattrs[k].name);
                free(i->xattrs[k].value);
        }
        free(i->xattrs);
        free(i->target);
        free(i->package);
        free(i);
        return NULL;
}

Inode *inode_new(mode_t mode, const NodeAttributes *a) {
        Inode *i = xnew(Inode, 1);

        i->mode = (mode & (mode_t) S_IFMT) | (a->mode & 07777);
        i->uid = a->uid;
        i->gid = a->gid;
        i->mtime = a->mtime;
        i->package = xstrdup(a->package);
        return i;
}

static Node *node_new(const char *name, size_t length, Inode *inode) {
        Node *n = xnew(Node, 1);

        n->name = xstrndup(name, length);
        n->inode = inode;
        inode->n_links++;
        return n;
}

/* Frees the node with all below it; it must be detached from its parent. */
static void node_free(Tree *t, Node *n) {
        for (size_t k = 0; k < n->n_children; k++)
                node_free(t, n->children[k]);
        inode_free(n->inode);
        free(n->children);
        free(n->name);
        free(n);
        t->n_nodes--;
}

static int compare_name(const char *name, size_t length, const char *other) {
        int c = strncmp(name, other, length);

        return c != 0 ? c : other[length] ? -1 : 0;
}

static void insert_child(Node *folder, size_t position, Node *child) {
        GROW(folder->children, folder->n_children, folder->n_allocated);
        memmove(folder->children + position + 1, folder->children + position,
                (folder->n_children - position) * sizeof(Node *));
        folder->children[position] = child;
        folder->n_children++;
        child->parent = folder;
}

static void detach_child(Node *child) {
        Node *folder = child->parent;
        size_t position;

        if (!node_child_position(folder, child->name, strlen(child->name), &position))
                return;
        folder->n_children--;
        memmove(folder->children + position, folder->children + position + 1,
                (folder->n_children - position) * sizeof(Node *));
        child->parent = NULL;
}

/* All of the path, before anything is made for it. */
static int check_path(const char *path, Error *reterr) {
        const char *p = path + (*path == '/');

        for (unsigned depth = 1;; depth++) {
                size_t length = strcspn(p, "/");

                if (length == 0 || (length == 1 && p[0] == '.') || (length == 2 && p[0] == '.' && p[1] == '.'))
                        return error_set(reterr, EINVAL, REFUSAL_PATH_ESCAPE,
                                         "the path \"%.200s\" has an empty, \".\" or \"..\" component", path);
                if (length > TREE_NAME_MAX)
                        return error_set(reterr, ENAMETOOLONG, REFUSAL_TOO_LARGE,
                                         "a name in \"%.200s\" is longer than %d bytes", path, TREE_NAME_MAX);
                if (depth > TREE_DEPTH_MAX)
                        return error_set(reterr, ENAMETOOLONG, REFUSAL_TOO_LARGE,
                                         "\"%.200s\" is nested deeper than %d folders", path, TREE_DEPTH_MAX);
                if (!p[length])
                        return 0;
                p += length + 1;
        }
}

static int add_node(Tree *t, Node *folder, size_t position, const char *name, size_t length, Inode *inode, Node **ret,
                    Error *reterr) {
        Node *n;

        if (t->n_nodes > TREE_ENTRIES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more than %d entries", TREE_ENTRIES_MAX);
        n = node_new(name, length, inode);
        insert_child(folder, position, n);
        t->n_nodes++;
        if (ret)
                *ret = n;
        return 0;
}

/* The folder that the last component of path belongs in, made if need be. *ret_name points into path. */
static int make_parent(Tree *t, const char *path, Node **ret_folder, const char **ret_name, Error *reterr) {
        const NodeAttributes attributes = { .mode = 0755 };
        Node *folder = t->root;
        const char *p = path + (*path == '/');
        int r = check_path(path, reterr);

        if (r < 0)
                return r;
        for (;;) {
                size_t length = strcspn(p, "/"), position;

                if (!p[length])
                        break;
                if (!node_child_position(folder, p, length, &position)) {
                        Inode *i = inode_new(S_IFDIR, &attributes);

                        r = add_node(t, folder, position, p, length, i, NULL, reterr);
                        if (r < 0) {
                                inode_free(i);
                                return r;
                        }
                }
                folder = folder->children[position];
                if (node_is_symlink(folder))
                        return error_set(reterr, ELOOP, REFUSAL_PATH_ESCAPE,
                                         "%s would be written through the symbolic link %.*s", path,
                                         (int) (p + length - path), path);
                if (!node_is_folder(folder))
                        return error_set(reterr, ENOTDIR, REFUSAL_EXISTS, "%s cannot exist: %.*s is not a folder", path,
                                         (int) (p + length - path), path);
                p += length + 1;
        }
        *ret_folder = folder;
        *ret_name = p;
        return 0;
}

/* make_parent(), and a refusal if a folder of that name is in the way. */
static int make_place(Tree *t, const char *path, Node **ret_folder, const char **ret_name, Error *reterr) {
        size_t position;
        int r = make_parent(t, path, ret_folder, ret_name, reterr);

        if (r < 0)
                return r;
        if (node_child_position(*ret_folder, *ret_name, strlen(*ret_name), &position) &&
            node_is_folder((*ret_folder)->children[position]))
                return error_set(reterr, EISDIR, REFUSAL_EXISTS, "the folder %s would be replaced by something else",
                                 path);
        return 0;
}

/* Takes over inode, also on failure. The place must have been made by make_place(). */
static int put_node(Tree *t, Node *folder, const char *name, Inode *inode, Node **ret_node, Error *reterr) {
        _cleanup_(inode_freep) Inode *owned = inode;
        size_t position;
        int r;

        if (node_child_position(folder, name, strlen(name), &position)) {
                Node *n = folder->children[position];

                /* Up before down: the new inode may be the old one (a hard link onto itself). */
                inode->n_links++;
                inode_free(n->inode);
                n->inode = TAKE_PTR(owned);
                if (ret_node)
                        *ret_node = n;
                return 0;
        }
        r = add_node(t, folder, position, name, strlen(name), inode, ret_node, reterr);
        if (r >= 0)
                TAKE_PTR(owned);
        return r;
}

int tree_new(const char *spool_folder, Tree **ret, Error *reterr) {
        const NodeAttributes attributes = { .mode = 0755 };
        const char *environment = getenv("TMPDIR");
        int fd = -EBADF, r;
        Tree *t;

        if (!spool_folder)
                spool_folder = isempty(environment) ? "/var/tmp" : environment;
        r = io_tmpfile(spool_folder, &fd, reterr);
        if (r < 0)
                return r;
        t = xnew(Tree, 1);
        t->spool_fd = fd;
        t->root = node_new("", 0, inode_new(S_IFDIR, &attributes));
        t->n_nodes = 1;
        *ret = t;
        return 0;
}

Tree *tree_free(Tree *t) {
        if (!t)
                return NULL;
        node_free(t, t->root);
        safe_close(t->spool_fd);
        free(t);
        return NULL;
}

bool node_child_position(const Node *folder, const char *name, size_t length, size_t *ret_position) {
        size_t low = 0, high = folder->n_children;

        if (high > 0 && compare_name(name, length, folder->children[high - 1]->name) > 0)
                low = high;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int c = compare_name(name, length, folder->children[middle]->name);

                if (c == 0) {
                        *ret_position = middle;
                        return true;
                }
                if (c < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        *ret_position = low;
        return false;
}

Node *node_child(const Node *folder, const char *name) {
        size_t position;

        return node_child_position(folder, name, strlen(name), &position) ? folder->children[position] : NULL;
}

Node *tree_lookup(const Tree *t, const char *path) {
        Node *n = t->root;
        const char *p = path + (*path == '/');

        while (*p) {
                size_t length = strcspn(p, "/"), position;

                if (!node_child_position(n, p, length, &position))
                        return NULL;
                n = n->children[position];
                p += length;
                if (*p == '/' && !*++p)
                        return node_is_folder(n) ? n : NULL;
        }
        return n;
}

Node *tree_resolve(const Tree *t, const char *path) {
        _cleanup_free_ char *rest = xstrdup(path);
        unsigned n_followed = 0;
        Node *n = t->root;
        char *p = rest;

        while (*(p += strspn(p, "/"))) {
                size_t length = strcspn(p, "/"), position;
                char *joined;

                if (!node_is_folder(n))
                        return NULL;
                if (length == 1 && p[0] == '.') {
                        p += length;
                        continue;
                }
                if (length == 2 && p[0] == '.' && p[1] == '.') {
                        n = n->parent ?: n;
                        p += length;
                        continue;
                }
                if (!node_child_position(n, p, length, &position))
                        return NULL;
                n = n->children[position];
                p += length;
                if (!node_is_symlink(n))
                        continue;
                if (++n_followed > SYMLINKS_MAX)
                        return NULL;
                joined = xasprintf("%s%s", n->inode->target, p);
                n = n->inode->target[0] == '/' ? t->root : n->parent;
                free(rest);
                p = rest = joined;
        }
        return n;
}

char *node_path(const Node *n) {
        size_t size = 1;
        char *path, *p;

        if (!n->parent)
                return xstrdup("/");
        for (const Node *i = n; i->parent; i = i->parent)
                size += strlen(i->name) + 1;
        path = xmalloc(size);
        p = path + size - 1;
        *p = 0;
        for (const Node *i = n; i->parent; i = i->parent) {
                size_t length = strlen(i->name);

                p -= length;
                memcpy(p, i->name, length);
                *--p = '/';
        }
        return path;
}

static void set_attributes(Inode *i, const NodeAttributes *a) {
        i->mode = (i->mode & (mode_t) S_IFMT) | (a->mode & 07777);
        i->uid = a->uid;
        i->gid = a->gid;
        i->mtime = a->mtime;
        free(i->package);
        i->package = xstrdup(a->package);
}

int tree_add_folder(Tree *t, const char *path, const NodeAttributes *a, Node **ret_node, Error *reterr) {
        const char *name;
        Node *folder, *n;
        int r;

        if (streq(path, "") || streq(path, "/")) {
                set_attributes(t->root->inode, a);
                if (ret_node)
                        *ret_node = t->root;
                return 0;
        }
        r = make_parent(t, path, &folder, &name, reterr);
        if (r < 0)
                return r;
        n = node_child(folder, name);
        if (!n || !node_is_folder(n))
                return put_node(t, folder, name, inode_new(S_IFDIR, a), ret_node, reterr);
        set_attributes(n->inode, a);
        if (ret_node)
                *ret_node = n;
        return 0;
}

typedef struct MemoryReader {
        const uint8_t *data;
        size_t size;
} MemoryReader;

static ssize_t read_memory(void *userdata, void *buffer, size_t size) {
        MemoryReader *m = userdata;
        size_t n = MIN(size, m->size);

        if (n > 0)
                memcpy(buffer, m->data, n);
        m->data += n;
        m->size -= n;
        return (ssize_t) n;
}

static int fill_buffer(TreeReadFunc read, void *userdata, uint8_t *buffer, size_t size, Error *reterr) {
        for (size_t done = 0; done < size;) {
                ssize_t n = read(userdata, buffer + done, size - done);

                if (n < 0)
                        return error_errno(reterr, (int) n, "cannot read the content");
                if (n == 0)
                        return error_set(reterr, EIO, REFUSAL_BAD_FORMAT, "the content ends early");
                done += (size_t) n;
        }
        return 0;
}

/* Appends size bytes to the spool and fills in offset, size and digest of the inode; nothing changes on failure. */
static int spool_content(Tree *t, Inode *inode, uint64_t size, TreeReadFunc read, void *userdata, Error *reterr) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_free_ uint8_t *buffer = xmalloc(MAX(1, MIN(size, SPOOL_CHUNK_SIZE)));
        uint64_t end;

        if (__builtin_add_overflow(t->spool_size, size, &end) || end > TREE_BYTES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "the tree's contents are more than %llu bytes",
                                 (unsigned long long) TREE_BYTES_MAX);
        for (uint64_t done = 0; done < size;) {
                size_t n = MIN(size - done, SPOOL_CHUNK_SIZE);
                int r = fill_buffer(read, userdata, buffer, n, reterr);

                if (r < 0)
                        return r;
                hasher_update(hasher, buffer, n);
                r = io_pwrite_all(t->spool_fd, buffer, n, t->spool_size + done, reterr);
                if (r < 0)
                        return error_prefix(reterr, "temporary file for contents");
                done += n;
        }
        inode->offset = t->spool_size;
        inode->size = size;
        hasher_final(hasher, &inode->digest);
        t->spool_size = end;
        return 0;
}

int tree_add_file_stream(Tree *t, const char *path, const NodeAttributes *a, uint64_t size, TreeReadFunc read,
                         void *userdata, Node **ret_node, Error *reterr) {
        _cleanup_(inode_freep) Inode *inode = NULL;
        const char *name;
        Node *folder;
        int r = make_place(t, path, &folder, &name, reterr);

        if (r < 0)
                return r;
        inode = inode_new(S_IFREG, a);
        r = spool_content(t, inode, size, read, userdata, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        return put_node(t, folder, name, TAKE_PTR(inode), ret_node, reterr);
}

int tree_add_file(Tree *t, const char *path, const NodeAttributes *a, const void *data, size_t size, Node **ret_node,
                  Error *reterr) {
        MemoryReader m = { data, size };

        return tree_add_file_stream(t, path, a, size, read_memory, &m, ret_node, reterr);
}

int tree_add_symlink(Tree *t, const char *path, const NodeAttributes *a, const char *target, Node **ret_node,
                     Error *reterr) {
        const char *name;
        Inode *inode;
        Node *folder;
        int r = make_place(t, path, &folder, &name, reterr);

        if (r < 0)
                return r;
        if (isempty(target) || strlen(target) > TARGET_LENGTH_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: the target of the link is empty or too long",
                                 path);
        inode = inode_new(S_IFLNK, a);
        /* The kernel shows every link as 0777; another mode would only be a difference that nobody can see. */
        inode->mode = S_IFLNK | 0777;
        inode->target = xstrdup(target);
        inode->size = strlen(target);
        return put_node(t, folder, name, inode, ret_node, reterr);
}

int tree_add_device(Tree *t, const char *path, const NodeAttributes *a, mode_t type, dev_t rdev, Node **ret_node,
                    Error *reterr) {
        const char *name;
        Inode *inode;
        Node *folder;
        int r;

        if (!S_ISCHR(type) && !S_ISBLK(type) && !S_ISFIFO(type) && !S_ISSOCK(type))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: not a type of device", path);
        r = make_place(t, path, &folder, &name, reterr);
        if (r < 0)
                return r;
        inode = inode_new(type & (mode_t) S_IFMT, a);
        if (S_ISCHR(type) || S_ISBLK(type))
                inode->rdev = rdev;
        return put_node(t, folder, name, inode, ret_node, reterr);
}

int tree_add_hardlink(Tree *t, const char *path, const char *existing_path, Node **ret_node, Error *reterr) {
        Node *existing = tree_lookup(t, existing_path), *folder, *n;
        const char *name;
        int r;

        if (!existing)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is a hard link to %s, which does not exist",
                                 path, existing_path);
        if (node_is_folder(existing))
                return error_set(reterr, EPERM, REFUSAL_BAD_VALUE, "%s is a hard link to the folder %s", path,
                                 existing_path);
        r = make_place(t, path, &folder, &name, reterr);
        if (r < 0)
                return r;
        n = node_child(folder, name);
        if (n) {
                existing->inode->n_links++;
                inode_free(n->inode);
                n->inode = existing->inode;
        } else {
                size_t position;

                (void) node_child_position(folder, name, strlen(name), &position);
                r = add_node(t, folder, position, name, strlen(name), existing->inode, &n, reterr);
                if (r < 0)
                        return r;
        }
        if (ret_node)
                *ret_node = n;
        return 0;
}

int tree_add_inode(Tree *t, const char *path, Inode *inode, Node **ret_node, Error *reterr) {
        _cleanup_(inode_freep) Inode *owned = inode;
        const char *name;
        Node *folder;
        int r;

        if (S_ISDIR(inode->mode))
                r = make_parent(t, path, &folder, &name, reterr);
        else
                r = make_place(t, path, &folder, &name, reterr);
        if (r < 0)
                return r;
        if (S_ISDIR(inode->mode) && node_child(folder, name) && node_is_folder(node_child(folder, name)))
                return error_set(reterr, EEXIST, REFUSAL_EXISTS, "the folder %s exists already", path);
        return put_node(t, folder, name, TAKE_PTR(owned), ret_node, reterr);
}

int tree_set_xattr(Inode *inode, const char *name, const void *value, size_t size) {
        size_t k = 0;

        if (size > XATTR_VALUE_MAX || isempty(name) || strlen(name) > XATTR_NAME_LENGTH_MAX)
                return -E2BIG;
        while (k < inode->n_xattrs && strcmp(inode->xattrs[k].name, name) < 0)
                k++;
        if (k == inode->n_xattrs || !streq(inode->xattrs[k].name, name)) {
                inode->xattrs = xrealloc(inode->xattrs, inode->n_xattrs + 1, sizeof(Xattr));
                memmove(inode->xattrs + k + 1, inode->xattrs + k, (inode->n_xattrs - k) * sizeof(Xattr));
                inode->xattrs[k] = (Xattr){ .name = xstrdup(name) };
                inode->n_xattrs++;
        }
        free(inode->xattrs[k].value);
        inode->xattrs[k].value = size > 0 ? xmemdup(value, size) : xmalloc(1);
        inode->xattrs[k].size = size;
        return 0;
}

const Xattr *inode_xattr(const Inode *inode, const char *name) {
        for (size_t k = 0; k < inode->n_xattrs; k++)
                if (streq(inode->xattrs[k].name, name))
                        return &inode->xattrs[k];
        return NULL;
}

void node_remove(Tree *t, Node *n) {
        if (n->parent) {
                detach_child(n);
                node_free(t, n);
                return;
        }
        /* The root itself stays. */
        while (n->n_children > 0)
                node_remove(t, n->children[n->n_children - 1]);
}

int tree_remove(Tree *t, const char *path) {
        Node *n = tree_lookup(t, path);

        if (!n)
                return 1;
        node_remove(t, n);
        return 0;
}

int tree_move(Tree *t, const char *from, const char *to, Error *reterr) {
        Node *n = tree_lookup(t, from), *folder;
        const char *name;
        size_t position;
        int r;

        if (!n || !n->parent)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s cannot be moved: it does not exist", from);
        r = make_parent(t, to, &folder, &name, reterr);
        if (r < 0)
                return r;
        for (Node *i = folder; i; i = i->parent)
                if (i == n)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s cannot be moved into itself (%s)", from,
                                         to);
        if (node_child_position(folder, name, strlen(name), &position))
                return error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s cannot be moved: %s exists already", from, to);
        detach_child(n);
        free(n->name);
        n->name = xstrdup(name);
        (void) node_child_position(folder, name, strlen(name), &position);
        insert_child(folder, position, n);
        return 0;
}

int tree_read_file(const Tree *t, const Node *n, size_t max_size, char **ret, size_t *ret_size, Error *reterr) {
        _cleanup_free_ char *path = NULL, *data = NULL;
        int r;

        if (!node_is_file(n) || n->inode->size > max_size) {
                path = node_path(n);
                if (!node_is_file(n))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s is not a regular file", path);
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is larger than %zu bytes", path, max_size);
        }
        data = xmalloc((size_t) n->inode->size + 1);
        r = io_pread_all(t->spool_fd, data, (size_t) n->inode->size, n->inode->offset, reterr);
        if (r < 0)
                return error_prefix(reterr, "temporary file for contents");
        data[n->inode->size] = 0;
        if (ret_size)
                *ret_size = (size_t) n->inode->size;
        *ret = TAKE_PTR(data);
        return 0;
}

int tree_replace_content(Tree *t, Node *n, const void *data, size_t size, Error *reterr) {
        MemoryReader m = { data, size };

        if (!node_is_file(n)) {
                _cleanup_free_ char *path = node_path(n);

                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s is not a regular file", path);
        }
        return spool_content(t, n->inode, size, read_memory, &m, reterr);
}
