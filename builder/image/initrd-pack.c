/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cpio.h"
#include "initrd.h"
#include "io.h"
#include "segment.h"

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
        SegmentEncoder *encoder; /* NULL: not compressed */
        Buffer plain;
        uint8_t *packed; /* a segment */
        int out_fd;
        uint64_t n_written;
        Error *reterr;
} Packer;

static void packer_done(Packer *p) {
        free(p->group);
        buffer_done(&p->plain);
        free(p->packed);
        segment_encoder_free(p->encoder);
}

static int write_bytes(Packer *p, const void *data, size_t size) {
        int r = io_write_all(p->out_fd, data, size, p->reterr);

        p->n_written += size;
        return r;
}

/* The kernel skips zero bytes between archives. */
static int write_padding(Packer *p) {
        static const uint8_t zeros[FRAME_ALIGNMENT] = {};

        return write_bytes(p, zeros, (size_t) (-p->n_written % FRAME_ALIGNMENT));
}

/* The archive as a frame. */
static int write_segments(Packer *p) {
        for (size_t at = 0; at < p->plain.size; at += SEGMENT_CONTENT_MAX) {
                size_t left = p->plain.size - at, n = 0;
                unsigned place = (at == 0 ? SEGMENT_FIRST : 0U) | (left <= SEGMENT_CONTENT_MAX ? SEGMENT_LAST : 0U);
                int r = segment_pack(p->encoder, p->plain.data + at, MIN(left, SEGMENT_CONTENT_MAX), place, p->packed,
                                     &n, p->reterr);

                if (r >= 0)
                        r = write_bytes(p, p->packed, n);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int flush_group(Packer *p) {
        int r;

        if (p->n_group == 0)
                return 0;
        p->plain.size = 0;
        r = cpio_write(p->t, p->group, p->n_group, p->o->epoch, &p->plain, p->reterr);
        p->n_group = 0;
        if (r < 0)
                return r;
        r = p->encoder ? write_segments(p) : write_bytes(p, p->plain.data, p->plain.size);
        return r < 0 ? r : write_padding(p);
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
                r = segment_encoder_new(o->level, &p.encoder, reterr);
                if (r < 0)
                        return r;
                p.packed = xmalloc(SEGMENT_STORED_MAX);
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
