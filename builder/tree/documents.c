/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: first what is to be done is found out, with all names as they were: the files, and the links whose end is
 * such a file. Then contents are replaced, and names last, so that nothing that stays leads to a name that went. */

#include "documents.h"
#include "decompress.h"
#include "parallel.h"

#define SUFFIX ".gz"

/* Of an inode, while this runs: how many of its names are known to be documents, and then whether it is unpacked. */
#define MARK_NONE 0
#define MARK_UNPACKED UINT64_MAX

typedef struct Documents {
        Tree *t;
        Inode **files; /* each once; borrowed from the tree */
        size_t n_files, n_files_allocated;
        Node **names; /* of files and links whose own name changes */
        size_t n_names, n_names_allocated;
        Inode **links; /* whose target changes */
        Inode **ends;  /* of each link the file it leads to */
        size_t n_links, n_links_allocated, n_ends_allocated;
        Inode **name_ends; /* of each name the file that it is or leads to */
        size_t n_name_ends_allocated;
} Documents;

static void documents_done(Documents *d) {
        free(d->files);
        free(d->names);
        free(d->links);
        free(d->ends);
        free(d->name_ends);
}

static bool is_document(const char *path) {
        static const char *const folders[] = { "/usr/share/doc/", "/usr/share/man/", "/usr/share/info/" };

        if (!endswith(path, SUFFIX) || endswith(path, "/" SUFFIX) || endswith(path, ".tar" SUFFIX))
                return false;
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                if (startswith(path, folders[i]))
                        return true;
        return false;
}

static bool name_is_free(const Node *n) {
        size_t position;

        return !node_child_position(n->parent, n->name, strlen(n->name) - strlen(SUFFIX), &position);
}

static int clear_mark(Tree *t, Node *n, const char *path, void *userdata) {
        n->inode->mark = MARK_NONE;
        return 0;
}

static void add_name(Documents *d, Node *n, Inode *end) {
        GROW(d->names, d->n_names, d->n_names_allocated);
        GROW(d->name_ends, d->n_names, d->n_name_ends_allocated);
        d->names[d->n_names] = n;
        d->name_ends[d->n_names++] = end;
}

static int find_file(Tree *t, Node *n, const char *path, void *userdata) {
        Documents *d = userdata;

        if (!node_is_file(n) || n->inode->size > DOCUMENT_SIZE_MAX || !is_document(path) || !name_is_free(n))
                return 0;
        if (n->inode->mark++ == MARK_NONE) {
                GROW(d->files, d->n_files, d->n_files_allocated);
                d->files[d->n_files++] = n->inode;
        }
        add_name(d, n, n->inode);
        return 0;
}

/* Also links to links: each on the way is met by itself. */
static int find_link(Tree *t, Node *n, const char *path, void *userdata) {
        Documents *d = userdata;
        Inode *i = n->inode;
        Node *end;

        if (!node_is_symlink(n))
                return 0;
        end = tree_resolve(t, path);
        if (!end || !node_is_file(end) || end->inode->mark == MARK_NONE)
                return 0;
        if (endswith(n->name, SUFFIX)) {
                /* Then the file keeps its name, and all others on the way as well. */
                if (!name_is_free(n))
                        end->inode->mark = MARK_NONE;
                add_name(d, n, end->inode);
        }
        if (endswith(i->target, SUFFIX) && i->mark++ == MARK_NONE) {
                GROW(d->links, d->n_links, d->n_links_allocated);
                GROW(d->ends, d->n_links, d->n_ends_allocated);
                d->links[d->n_links] = i;
                d->ends[d->n_links++] = end->inode;
        }
        return 0;
}

/* An empty result means that the file stays as it is. */
static int unpack_file(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        const Documents *d = userdata;
        _cleanup_free_ char *data = NULL;
        Node n = { .inode = d->files[item] };
        size_t size;
        int r;

        /* Names that are no documents share it. */
        if (n.inode->mark != n.inode->n_links)
                return 0;
        r = tree_read_file(d->t, &n, DOCUMENT_SIZE_MAX, &data, &size, reterr);
        if (r < 0)
                return r;
        if (decompress(data, size, COMPRESSION_GZIP, DOCUMENT_SIZE_MAX, ret, NULL) < 0)
                ret->size = 0;
        return 0;
}

static int take_file(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        Documents *d = userdata;
        Node n = { .inode = d->files[item] };
        int r;

        if (size == 0)
                return 0;
        r = tree_replace_content(d->t, &n, data, size, reterr);
        if (r >= 0)
                n.inode->mark = MARK_UNPACKED;
        return r;
}

static void cut_target(Inode *link) {
        link->size -= strlen(SUFFIX);
        link->target[link->size] = 0;
}

int documents_unpack(Tree *t, Error *reterr) {
        _cleanup_(documents_done) Documents d = { .t = t };
        int r;

        tree_walk(t, t->root, clear_mark, NULL);
        tree_walk(t, t->root, find_file, &d);
        tree_walk(t, t->root, find_link, &d);
        r = parallel_run(d.n_files, unpack_file, take_file, &d, reterr);
        for (size_t i = 0; r >= 0 && i < d.n_links; i++)
                if (d.ends[i]->mark == MARK_UNPACKED)
                        cut_target(d.links[i]);
        for (size_t i = 0; r >= 0 && i < d.n_names; i++)
                if (d.name_ends[i]->mark == MARK_UNPACKED) {
                        _cleanup_free_ char *from = node_path(d.names[i]),
                                            *to = xstrndup(from, strlen(from) - strlen(SUFFIX));

                        r = tree_move(t, from, to, reterr);
                }
        return r < 0 ? error_prefix(reterr, "cannot unpack documents") : 0;
}
