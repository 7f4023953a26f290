/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree.h"

static int walk(Tree *t, Node *n, Buffer *path, TreeWalkFunc f, void *userdata) {
        size_t length = path->size, i = 0;
        int r = f(t, n, length > 0 ? path->data : "/", userdata);

        if (r != 0 || !node_is_folder(n))
                return r;
        while (i < n->n_children) {
                Node *child = n->children[i];
                _cleanup_free_ char *name = xstrdup(child->name);

                buffer_puts(path, "/");
                buffer_puts(path, name);
                r = walk(t, child, path, f, userdata);
                path->size = length;
                path->data[length] = 0;
                if (r < 0)
                        return r;
                if (r == TREE_WALK_REMOVE)
                        node_remove(t, child);
                /* The callback may have added siblings: find the place again. */
                if (node_child_position(n, name, strlen(name), &i))
                        i++;
        }
        return 0;
}

int tree_walk(Tree *t, Node *start, TreeWalkFunc f, void *userdata) {
        _cleanup_buffer_ Buffer path = {};
        int r;

        if (start->parent) {
                _cleanup_free_ char *p = node_path(start);

                buffer_puts(&path, p);
        }
        r = walk(t, start, &path, f, userdata);
        if (r == TREE_WALK_REMOVE)
                node_remove(t, start);
        return r < 0 ? r : 0;
}

void tree_clear_marks(Tree *t, Node *start) {
        start->inode->mark = 0;
        for (size_t k = 0; k < start->n_children; k++)
                tree_clear_marks(t, start->children[k]);
}

static void count_below(Node *n, uint64_t *entries, uint64_t *bytes) {
        for (size_t k = 0; k < n->n_children; k++) {
                Node *c = n->children[k];

                ++*entries;
                if (node_is_file(c) && c->inode->mark == 0)
                        *bytes += c->inode->size;
                c->inode->mark = 1;
                count_below(c, entries, bytes);
        }
}

void tree_count(Tree *t, Node *start, uint64_t *ret_entries, uint64_t *ret_bytes) {
        uint64_t entries = 0, bytes = 0;

        tree_clear_marks(t, start);
        count_below(start, &entries, &bytes);
        if (ret_entries)
                *ret_entries = entries;
        if (ret_bytes)
                *ret_bytes = bytes;
}
