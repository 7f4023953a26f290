/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree.h"

/* Everything below is hashed as fixed-width little-endian numbers and terminated strings, so that no two trees can give
 * the same bytes. */
static void hash_number(Hasher *h, uint64_t value) {
        uint8_t bytes[8];

        for (unsigned k = 0; k < sizeof(bytes); k++)
                bytes[k] = (uint8_t) (value >> (8 * k));
        hasher_update(h, bytes, sizeof(bytes));
}

typedef struct Digester {
        Hasher *h;
        bool with_mtime;
        uint64_t n_groups; /* hard-link groups met so far */
} Digester;

static int digest_node(Tree *t, Node *n, const char *path, void *userdata) {
        Digester *d = userdata;
        Inode *i = n->inode;

        hasher_update_string(d->h, path);
        if (i->mark > 0) {
                hash_number(d->h, 1);
                hash_number(d->h, i->mark);
                return 0;
        }
        hash_number(d->h, 0);
        if (i->n_links > 1)
                i->mark = ++d->n_groups;
        hash_number(d->h, i->mark);
        hash_number(d->h, i->mode);
        hash_number(d->h, i->uid);
        hash_number(d->h, i->gid);
        hash_number(d->h, d->with_mtime ? (uint64_t) i->mtime : 0);
        hash_number(d->h, i->rdev);
        hasher_update_string(d->h, i->target ?: "");
        if (S_ISREG(i->mode)) {
                hash_number(d->h, i->size);
                hasher_update(d->h, &i->digest, sizeof(i->digest));
        }
        hash_number(d->h, i->n_xattrs);
        for (size_t k = 0; k < i->n_xattrs; k++) {
                hasher_update_string(d->h, i->xattrs[k].name);
                hash_number(d->h, i->xattrs[k].size);
                hasher_update(d->h, i->xattrs[k].value, i->xattrs[k].size);
        }
        return 0;
}

void tree_digest(Tree *t, bool with_mtime, Sha256 *ret) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Digester d = { .h = h, .with_mtime = with_mtime };

        tree_clear_marks(t, t->root);
        (void) tree_walk(t, t->root, digest_node, &d);
        hasher_final(h, ret);
}

static bool xattrs_equal(const Inode *a, const Inode *b) {
        if (a->n_xattrs != b->n_xattrs)
                return false;
        for (size_t k = 0; k < a->n_xattrs; k++)
                if (!streq(a->xattrs[k].name, b->xattrs[k].name) || a->xattrs[k].size != b->xattrs[k].size ||
                    memcmp(a->xattrs[k].value, b->xattrs[k].value, a->xattrs[k].size) != 0)
                        return false;
        return true;
}

static bool contents_equal(const Inode *a, const Inode *b) {
        if (S_ISREG(a->mode))
                return a->size == b->size && sha256_equal(&a->digest, &b->digest);
        return a->rdev == b->rdev && streq_ptr(a->target, b->target);
}

static unsigned compare_inodes(const Inode *a, const Inode *b) {
        unsigned what = 0;

        if ((a->mode & S_IFMT) != (b->mode & S_IFMT))
                what |= TREE_TYPE;
        else if (!contents_equal(a, b))
                what |= TREE_CONTENT;
        if ((a->mode & 07777) != (b->mode & 07777))
                what |= TREE_MODE;
        if (a->uid != b->uid || a->gid != b->gid)
                what |= TREE_OWNER;
        if (a->mtime != b->mtime)
                what |= TREE_MTIME;
        if (!xattrs_equal(a, b))
                what |= TREE_XATTRS;
        if (a->n_links != b->n_links)
                what |= TREE_LINKS;
        return what;
}

typedef struct Differ {
        Buffer path;
        TreeDiffFunc f;
        void *userdata;
} Differ;

/* a or b may be NULL, not both. */
static int diff_nodes(Differ *d, const Node *a, const Node *b) {
        size_t length = d->path.size, i = 0, j = 0;
        size_t n_a = a ? a->n_children : 0, n_b = b ? b->n_children : 0;
        unsigned what = !b ? TREE_ONLY_IN_A : !a ? TREE_ONLY_IN_B : compare_inodes(a->inode, b->inode);

        if (what != 0) {
                int r = d->f(length > 0 ? d->path.data : "/", (TreeDifference) what, a, b, d->userdata);

                if (r < 0)
                        return r;
        }
        while (i < n_a || j < n_b) {
                int c = i == n_a ? 1 : j == n_b ? -1 : strcmp(a->children[i]->name, b->children[j]->name);
                const Node *x = c <= 0 ? a->children[i++] : NULL, *y = c >= 0 ? b->children[j++] : NULL;
                int r;

                buffer_puts(&d->path, "/");
                buffer_puts(&d->path, x ? x->name : y->name);
                r = diff_nodes(d, x, y);
                d->path.size = length;
                d->path.data[length] = 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

int tree_diff(Tree *a, Tree *b, TreeDiffFunc f, void *userdata) {
        _cleanup_buffer_ Buffer path = {};
        Differ d = { .f = f, .userdata = userdata };
        int r = diff_nodes(&d, a->root, b->root);

        path = d.path;
        return r < 0 ? r : 0;
}
