/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cpio.h"
#include "initrd.h"
#include "io.h"
#include "parallel.h"
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
        const Node **nodes; /* in their order */
        size_t n_nodes, n_nodes_allocated;
        size_t *frames; /* how many of them there are at the end of each frame */
        size_t n_frames, n_frames_allocated;
        SegmentEncoder *encoder; /* of one worker */
        int out_fd;
        uint64_t n_written;
} Packer;

static void packer_done(Packer *p) {
        free(p->nodes);
        free(p->frames);
        segment_encoder_free(p->encoder);
}

/* ---- which files share a frame ---- */

static void end_frame(Packer *p) {
        if (p->n_nodes == (p->n_frames > 0 ? p->frames[p->n_frames - 1] : 0))
                return;
        GROW(p->frames, p->n_frames, p->n_frames_allocated);
        p->frames[p->n_frames++] = p->n_nodes;
}

static bool ends_frame(const char *path) {
        Sha256 h;

        sha256_buffer(path, strlen(path), &h);
        return h.bytes[0] % NAMES_PER_FRAME == 0;
}

static int add_node(Tree *t, Node *n, const char *path, void *userdata) {
        Packer *p = userdata;
        bool large = node_is_file(n) && n->inode->size >= OWN_FRAME_SIZE;

        if (large)
                end_frame(p);
        GROW(p->nodes, p->n_nodes, p->n_nodes_allocated);
        p->nodes[p->n_nodes++] = n;
        if (large || ends_frame(path))
                end_frame(p);
        return 0;
}

/* ---- frames ---- */

static int append_segments(Packer *p, const Buffer *archive, Buffer *ret, Error *reterr) {
        _cleanup_free_ uint8_t *packed = xmalloc(SEGMENT_STORED_MAX);
        int r = p->encoder ? 0 : segment_encoder_new(p->o->level, &p->encoder, reterr);

        for (size_t at = 0; r >= 0 && at < archive->size; at += SEGMENT_CONTENT_MAX) {
                size_t left = archive->size - at, n = 0;
                unsigned place = (at == 0 ? SEGMENT_FIRST : 0U) | (left <= SEGMENT_CONTENT_MAX ? SEGMENT_LAST : 0U);

                r = segment_pack(p->encoder, archive->data + at, MIN(left, SEGMENT_CONTENT_MAX), place, packed, &n,
                                 reterr);
                buffer_append(ret, packed, n);
        }
        return r;
}

/* In a worker: one archive as it is written. The kernel skips zero bytes between archives. */
static int pack_frame(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        static const uint8_t zeros[FRAME_ALIGNMENT] = {};
        Packer *p = userdata;
        size_t first = item > 0 ? p->frames[item - 1] : 0;
        _cleanup_buffer_ Buffer archive = {};
        int r;

        r = cpio_write(p->t, p->nodes + first, p->frames[item] - first, p->o->epoch, &archive, reterr);
        if (r >= 0 && p->o->level > 0)
                r = append_segments(p, &archive, ret, reterr);
        else if (r >= 0)
                buffer_append(ret, archive.data, archive.size);
        buffer_append(ret, zeros, -ret->size % FRAME_ALIGNMENT);
        return r;
}

static int write_frame(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        Packer *p = userdata;

        p->n_written += size;
        return io_write_all(p->out_fd, data, size, reterr);
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
        _cleanup_(packer_done) Packer p = { .o = o, .t = t, .out_fd = out_fd };
        int r = prune_module_lists(t, reterr);

        if (r >= 0)
                r = tree_walk(t, t->root, add_node, &p);
        if (r < 0)
                return r;
        end_frame(&p);
        r = parallel_run(p.n_frames, pack_frame, write_frame, &p, reterr);
        if (r < 0)
                return r;
        if (ret_size)
                *ret_size = p.n_written;
        return 0;
}
