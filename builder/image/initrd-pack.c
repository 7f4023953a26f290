/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <zstd.h>

#include "cpio.h"
#include "initrd.h"
#include "io.h"

/* Files from this size on get a frame of their own; smaller ones share. */
#define OWN_FRAME_SIZE ((uint64_t) 256 * 1024)
/* One name in so many ends a shared frame: about half a MiB each. Names, not sizes, decide, so that a file that grows
 * moves no boundary behind it. */
#define NAMES_PER_FRAME 32
#define FRAME_ALIGNMENT 4096

typedef struct Packer {
        const InitrdPackOptions *o;
        Tree *t;
        const Node **group;
        size_t n_group, n_allocated;
        ZSTD_CCtx *zstd; /* NULL: not compressed */
        Buffer plain, packed;
        int out_fd;
        uint64_t n_written;
        Error *reterr;
} Packer;

static void packer_done(Packer *p) {
        free(p->group);
        buffer_done(&p->plain);
        buffer_done(&p->packed);
        ZSTD_freeCCtx(p->zstd);
}

static int write_aligned(Packer *p, const void *data, size_t size) {
        static const uint8_t zeros[FRAME_ALIGNMENT] = {};
        size_t padding = -size % FRAME_ALIGNMENT;
        int r = io_write_all(p->out_fd, data, size, p->reterr);

        /* The kernel skips zero bytes between archives. */
        if (r >= 0)
                r = io_write_all(p->out_fd, zeros, padding, p->reterr);
        p->n_written += size + padding;
        return r;
}

static int flush_group(Packer *p) {
        size_t n;
        int r;

        if (p->n_group == 0)
                return 0;
        p->plain.size = 0;
        r = cpio_write(p->t, p->group, p->n_group, p->o->epoch, &p->plain, p->reterr);
        p->n_group = 0;
        if (r < 0)
                return r;
        if (!p->zstd)
                return write_aligned(p, p->plain.data, p->plain.size);
        n = ZSTD_compressBound(p->plain.size);
        if (n > p->packed.allocated) {
                buffer_done(&p->packed);
                p->packed = (Buffer){ .data = xmalloc(n), .allocated = n };
        }
        n = ZSTD_compress2(p->zstd, p->packed.data, n, p->plain.data, p->plain.size);
        if (ZSTD_isError(n))
                return error_set(p->reterr, EIO, REFUSAL_SYSTEM, "zstd: %s", ZSTD_getErrorName(n));
        return write_aligned(p, p->packed.data, n);
}

static bool ends_frame(const char *path) {
        Sha256 h;

        sha256_buffer(path, strlen(path), &h);
        return h.bytes[0] % NAMES_PER_FRAME == 0;
}

static int pack_node(Tree *t, Node *n, const char *path, void *userdata) {
        Packer *p = userdata;
        bool large = node_is_file(n) && n->inode->size >= OWN_FRAME_SIZE;
        int r = large ? flush_group(p) : 0;

        if (r < 0)
                return r;
        GROW(p->group, p->n_group, p->n_allocated);
        p->group[p->n_group++] = n;
        return large || ends_frame(path) ? flush_group(p) : 0;
}

/* What depmod and the kernel package write for people or for depmod itself; libkmod reads the .bin files. */
static int prune_module_lists(Tree *t, Error *reterr) {
        static const char *const useless[] = { "modules.alias",          "modules.dep",   "modules.symbols",
                                               "modules.symbols.bin",    "modules.order", "modules.builtin",
                                               "modules.builtin.modinfo" };
        Node *folder = tree_lookup(t, "/usr/lib/modules");

        for (size_t k = 0; folder && k < folder->n_children; k++) {
                Node *release = folder->children[k];

                if (!node_is_folder(release))
                        continue;
                if (!node_child(release, "modules.dep.bin"))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "initrd: depmod has not run for the modules of %s", release->name);
                for (size_t i = 0; i < ELEMENTSOF(useless); i++) {
                        Node *n = node_child(release, useless[i]);

                        if (n)
                                node_remove(t, n);
                }
        }
        return 0;
}

int initrd_pack(Tree *t, const InitrdPackOptions *o, int out_fd, uint64_t *ret_size, Error *reterr) {
        _cleanup_(packer_done) Packer p = { .o = o, .t = t, .out_fd = out_fd, .reterr = reterr };
        int r = prune_module_lists(t, reterr);

        if (r < 0)
                return r;
        if (o->level != 0) {
                p.zstd = ZSTD_createCCtx();
                if (!p.zstd)
                        abort();
                if (ZSTD_isError(ZSTD_CCtx_setParameter(p.zstd, ZSTD_c_compressionLevel, o->level)))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "zstd has no level %d", o->level);
        }
        r = tree_walk(t, t->root, pack_node, &p);
        if (r >= 0)
                r = flush_group(&p);
        if (r < 0)
                return r;
        if (ret_size)
                *ret_size = p.n_written;
        return 0;
}
