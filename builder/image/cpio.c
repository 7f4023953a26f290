/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <archive.h>
#include <archive_entry.h>

#include "cpio.h"
#include "io.h"

#define FILE_SIZE_MAX ((size_t) 1 << 30)

typedef struct Writer {
        struct archive *a;
        struct archive_entry *e;
} Writer;

static void writer_done(Writer *w) {
        if (w->e)
                archive_entry_free(w->e);
        if (w->a)
                archive_write_free(w->a);
}

static la_ssize_t append(struct archive *a, void *userdata, const void *data, size_t size) {
        buffer_append(userdata, data, size);
        return (la_ssize_t) size;
}

static int write_failed(struct archive *a, const char *path, Error *reterr) {
        return error_set(reterr, EIO, REFUSAL_BAD_VALUE, "%s cannot be put into a cpio archive: %s", path,
                         archive_error_string(a) ?: "unknown reason");
}

static int write_node(Writer *w, const Tree *t, const Node *n, int64_t mtime, uint32_t inode, Error *reterr) {
        _cleanup_free_ char *path = node_path(n), *data = NULL;
        const Inode *i = n->inode;
        size_t size = 0;
        int r;

        if (i->n_xattrs > 0)
                return error_set(reterr, EOPNOTSUPP, REFUSAL_BAD_VALUE,
                                 "%s has the attribute %s, which a cpio archive cannot hold", path, i->xattrs[0].name);
        if (node_is_file(n)) {
                r = tree_read_file(t, n, FILE_SIZE_MAX, &data, &size, reterr);
                if (r < 0)
                        return r;
        }
        archive_entry_clear(w->e);
        archive_entry_set_pathname(w->e, path[1] ? path + 1 : ".");
        archive_entry_set_mode(w->e, i->mode);
        archive_entry_set_uid(w->e, i->uid);
        archive_entry_set_gid(w->e, i->gid);
        archive_entry_set_mtime(w->e, mtime, 0);
        archive_entry_set_ino64(w->e, inode);
        archive_entry_set_nlink(w->e, node_is_folder(n) ? 2 : 1);
        archive_entry_set_rdev(w->e, i->rdev);
        archive_entry_set_size(w->e, (la_int64_t) size);
        if (node_is_symlink(n))
                archive_entry_set_symlink(w->e, i->target);
        if (archive_write_header(w->a, w->e) != ARCHIVE_OK ||
            (size > 0 && archive_write_data(w->a, data, size) != (la_ssize_t) size))
                return write_failed(w->a, path, reterr);
        return 0;
}

int cpio_write(const Tree *t, const Node *const *nodes, size_t n_nodes, int64_t mtime, Buffer *ret, Error *reterr) {
        _cleanup_(writer_done) Writer w = { .a = archive_write_new(), .e = archive_entry_new() };

        if (!w.a || !w.e)
                abort();
        if (archive_write_set_format_cpio_newc(w.a) != ARCHIVE_OK ||
            archive_write_set_bytes_per_block(w.a, 0) != ARCHIVE_OK ||
            archive_write_open(w.a, ret, NULL, append, NULL) != ARCHIVE_OK)
                return write_failed(w.a, "the first file", reterr);
        for (size_t k = 0; k < n_nodes; k++) {
                int r = write_node(&w, t, nodes[k], mtime, (uint32_t) k + 1, reterr);

                if (r < 0)
                        return r;
        }
        if (archive_write_close(w.a) != ARCHIVE_OK)
                return write_failed(w.a, "the last file", reterr);
        return 0;
}
