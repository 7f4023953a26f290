/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: content of the new atoms (with what the encoder of clusters looks at behind them), compressed behind the
 * window. Which length of looking ahead gives the exact cluster is found by trying. A cluster that does not come out
 * goes as it is stored, as if it were plain: so does everything if that is smaller, or the only way. */

#include <lzma.h>

#include "delta-internal.h"
#include "segment.h"

#define PROPERTIES(lc, lp, pb) ((uint8_t) (((pb) *5 + (lp)) * 9 + (lc)))
#define DICTIONARY_MIN ((uint32_t) 1 << 16)

struct DeltaEncoder {
        const DeltaPlan *plan;
        Delta delta; /* of one operation, to decode it */
        DeltaDecoder *decoder;
        Recompress *recompress;   /* NULL: not for images with lz4 */
        SegmentEncoder *segments; /* NULL: not for kernel images with segments */
        char *old, *window, *content, *packed, *output;
        lzma_stream lzma;
        /* Of the step at hand. */
        const DeltaStep *step;
        DeltaCluster *clusters;
        size_t n_clusters_allocated;
        size_t content_size;
};

DeltaEncoder *delta_encoder_free(DeltaEncoder *e) {
        if (!e)
                return NULL;
        delta_decoder_free(e->decoder);
        recompress_free(e->recompress);
        segment_encoder_free(e->segments);
        lzma_end(&e->lzma);
        free(e->old);
        free(e->window);
        free(e->content);
        free(e->packed);
        free(e->output);
        free(e->clusters);
        free(e->delta.clusters);
        free(e);
        return NULL;
}

int delta_encoder_new(const DeltaPlan *p, const Delta *d, DeltaEncoder **ret, Error *reterr) {
        _cleanup_(delta_encoder_freep) DeltaEncoder *e = xnew(DeltaEncoder, 1);
        const RecompressOptions options = { .level = d->level, .cluster_size = d->cluster_size };
        int r;

        e->plan = p;
        e->delta = *d;
        e->delta.clusters = NULL;
        e->lzma = (lzma_stream) LZMA_STREAM_INIT;
        r = delta_decoder_new(&e->delta, &e->decoder, reterr);
        if (r >= 0 && delta_coding(d) == DELTA_CODING_LZ4)
                r = recompress_new(&options, &e->recompress, reterr);
        if (r >= 0 && delta_coding(d) == DELTA_CODING_ZSTD)
                r = segment_encoder_new(d->level, &e->segments, reterr);
        if (r < 0)
                return r;
        e->old = xmalloc(DELTA_WINDOW_MAX);
        e->window = xmalloc(DELTA_WINDOW_MAX);
        e->content = xmalloc(DELTA_CONTENT_MAX);
        e->packed = xmalloc(DELTA_CONTENT_MAX * 2);
        e->output = xmalloc(DELTA_PIECE_MAX);
        *ret = TAKE_PTR(e);
        return 0;
}

/* ---- content -------------------------------------------------------------------------------------------------- */

static const DeltaAtom *atom(const DeltaEncoder *e, size_t i) {
        return &e->plan->atoms[e->step->first_atom + i];
}

static void set_raw(DeltaEncoder *e, size_t i) {
        e->clusters[i] = (DeltaCluster){ .stored = (uint32_t) atom(e, i)->stored,
                                         .content = (uint32_t) atom(e, i)->stored,
                                         .plain = true };
}

/* What is plain, and ends with nothing but zeros, as the device writes it. */
static void set_plain(DeltaEncoder *e, size_t i) {
        const DeltaAtom *a = atom(e, i);
        const uint8_t *data = e->plan->new->data + a->physical;

        set_raw(e, i);
        for (uint64_t k = a->size; k < a->stored; k++)
                if (data[k] != 0)
                        return;
        e->clusters[i].content = (uint32_t) a->size;
}

static bool is_raw(const DeltaEncoder *e, size_t i) {
        return e->clusters[i].plain && (atom(e, i)->packed || e->clusters[i].content != atom(e, i)->size);
}

/* Whether what follows an atom in its file is the next one's. */
static bool continues(const DeltaEncoder *e, size_t i) {
        const DeltaAtom *a = atom(e, i);

        return i + 1 < e->step->n_atoms && !is_raw(e, i) && !is_raw(e, i + 1) && a[1].file == a->file &&
               a[1].offset == a->offset + a->size;
}

/* How much must be looked ahead at for the right bytes, or SIZE_MAX. run: content of the file from the cluster on. */
static size_t find_lookahead(DeltaEncoder *e, const DeltaAtom *a, const char *run, size_t run_size) {
        static const size_t lengths[] = { 4096, 16384, RECOMPRESS_LOOKAHEAD };
        uint64_t file_size = e->plan->new->files[a->file].size;
        size_t last = 0;

        for (size_t k = 0; k < ELEMENTSOF(lengths); k++) {
                size_t n = recompress_available(file_size, a->offset, (size_t) a->size, lengths[k]);

                if (n == 0 || n == last || n > run_size)
                        break;
                last = n;
                if (recompress_cluster(e->recompress, run, n, (size_t) a->size, e->output, (size_t) a->stored, NULL) >=
                            0 &&
                    memcmp(e->output, e->plan->new->data + a->physical, a->stored) == 0)
                        return n - (size_t) a->size;
        }
        return SIZE_MAX;
}

/* Whether a segment comes out as it is stored. */
static bool comes_out(DeltaEncoder *e, const DeltaAtom *a, const char *content) {
        const uint8_t *stored = e->plan->new->data + a->physical;
        size_t n = 0;

        if (segment_pack(e->segments, content, (size_t) a->size, a->place, e->output, &n, NULL) < 0 || n > a->stored ||
            memcmp(e->output, stored, n) != 0)
                return false;
        for (; n < a->stored; n++)
                if (stored[n] != 0)
                        return false;
        return true;
}

/* The atoms from first to last, which follow each other in a file, and what lies behind them as far as anybody looks
 * at it. Returns 1 if a cluster did not come out, and was set raw. */
static int fill_run(DeltaEncoder *e, size_t first, size_t last, Error *reterr) {
        const DeltaAtom *a = atom(e, first), *b = atom(e, last);
        uint64_t file_size = e->plan->new->files[a->file].size, size = b->offset + b->size - a->offset;
        uint64_t behind = e->segments ? 0 : MIN(file_size - (b->offset + b->size), (uint64_t) RECOMPRESS_LOOKAHEAD);
        uint64_t tail = 0;
        char *content = e->content + e->content_size;
        int r;

        if (size + behind > DELTA_CONTENT_MAX - e->content_size)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "content");
        r = delta_image_read(e->plan->new, a->file, a->offset, (size_t) (size + behind), content, reterr);
        for (size_t i = first; r >= 0 && i <= last; i++) {
                uint64_t at = atom(e, i)->offset - a->offset, left = size - at - atom(e, i)->size;
                size_t lookahead;

                if (e->clusters[i].plain)
                        continue;
                if (e->segments)
                        lookahead = comes_out(e, atom(e, i), content + at) ? 0 : SIZE_MAX;
                else
                        lookahead = find_lookahead(e, atom(e, i), content + at, (size_t) (size + behind - at));
                if (lookahead == SIZE_MAX) {
                        set_raw(e, i);
                        return 1;
                }
                e->clusters[i].lookahead = (uint32_t) lookahead;
                tail = MAX(tail, lookahead > left ? lookahead - left : 0);
        }
        e->clusters[last].skip = (uint32_t) tail;
        e->content_size += size + tail;
        return r;
}

static int fill_raw(DeltaEncoder *e, size_t i, Error *reterr) {
        size_t n = e->clusters[i].content;

        if (n > DELTA_CONTENT_MAX - e->content_size)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "content");
        memcpy(e->content + e->content_size, e->plan->new->data + atom(e, i)->physical, n);
        e->content_size += n;
        return 0;
}

static int fill_content(DeltaEncoder *e, Error *reterr) {
        int r = 0;

        e->content_size = 0;
        for (size_t i = 0, last; r >= 0 && i < e->step->n_atoms; i = last + 1) {
                size_t before = e->content_size;

                last = i;
                if (is_raw(e, i)) {
                        r = fill_raw(e, i, reterr);
                        continue;
                }
                while (continues(e, last))
                        last++;
                r = fill_run(e, i, last, reterr);
                if (r > 0) {
                        /* The same run again, now in parts. */
                        e->content_size = before;
                        last = i - 1;
                }
        }
        return r;
}

/* The content of a step: as that of clusters, or as it is stored (DELTA_PATCH). */
static int set_content(DeltaEncoder *e, Error *reterr) {
        _cleanup_error_ Error too_large = {};
        int r;

        if (e->step->kind == DELTA_PATCH) {
                memcpy(e->content, e->plan->new->data + e->step->offset, e->step->size);
                e->content_size = e->step->size;
                return 0;
        }
        if (e->step->n_atoms > e->n_clusters_allocated) {
                e->n_clusters_allocated = e->step->n_atoms;
                e->clusters = xrealloc(e->clusters, e->n_clusters_allocated, sizeof(*e->clusters));
        }
        for (size_t i = 0; i < e->step->n_atoms; i++)
                if (!atom(e, i)->packed)
                        set_plain(e, i);
                else if ((!e->recompress && !e->segments) || atom(e, i)->size > DELTA_PIECE_MAX ||
                         atom(e, i)->stored > e->delta.cluster_size)
                        set_raw(e, i);
                else
                        e->clusters[i] = (DeltaCluster){ .stored = (uint32_t) atom(e, i)->stored,
                                                         .content = (uint32_t) atom(e, i)->size,
                                                         .place = atom(e, i)->place };
        r = fill_content(e, &too_large);
        if (r != -EFBIG)
                return r < 0 ? error_move(reterr, &too_large) : 0;
        for (size_t i = 0; i < e->step->n_atoms; i++)
                set_raw(e, i);
        return fill_content(e, reterr);
}

/* ---- the operation -------------------------------------------------------------------------------------------- */

/* What it is decoded with: a delta of this one. */
static void make_op(DeltaEncoder *e, DeltaOp *ret) {
        const DeltaStep *s = e->step;
        const DeltaPlan *p = e->plan;

        *ret = (DeltaOp){ .kind = s->kind,
                          .offset = s->offset,
                          .size = s->size,
                          .n_ranges = s->n_ranges,
                          .n_old = s->n_old,
                          .first_new = s->n_old,
                          .n_new = s->kind == DELTA_RECOMPRESS ? s->n_atoms : 0,
                          .content = (uint32_t) e->content_size };
        e->delta.ranges = p->ranges + s->first_range;
        e->delta.n_ranges = s->n_ranges;
        e->delta.n_clusters = (size_t) ret->n_old + ret->n_new;
        e->delta.clusters = xrealloc(e->delta.clusters, MAX(e->delta.n_clusters, 1U), sizeof(DeltaCluster));
        if (s->n_old > 0)
                memcpy(e->delta.clusters, p->clusters + s->first_old, s->n_old * sizeof(DeltaCluster));
        if (ret->n_new > 0)
                memcpy(e->delta.clusters + s->n_old, e->clusters, ret->n_new * sizeof(DeltaCluster));
        for (size_t i = 0; i < ret->n_old; i++)
                ret->window += e->delta.clusters[i].content;
        if (s->kind == DELTA_PATCH)
                ret->window = (uint32_t) delta_op_old_size(&e->delta, ret);
        delta_digest(p->new->data + s->offset, s->size, ret->digest);
}

static int read_window(DeltaEncoder *e, const DeltaOp *op, Error *reterr) {
        char *p = e->old;

        for (size_t i = 0; i < op->n_ranges; i++) {
                memcpy(p, e->plan->old->data + e->delta.ranges[i].offset, e->delta.ranges[i].size);
                p += e->delta.ranges[i].size;
        }
        if (op->kind == DELTA_RECOMPRESS)
                return delta_unpack_old(&e->delta, op, e->old, e->window, reterr);
        memcpy(e->window, e->old, op->window);
        return 0;
}

static int compress(DeltaEncoder *e, const DeltaOp *op, uint8_t properties, char *ret, size_t size, uint32_t *ret_size,
                    Error *reterr) {
        lzma_options_lzma options;
        const lzma_filter filters[] = { { LZMA_FILTER_LZMA1EXT, &options }, { LZMA_VLI_UNKNOWN, NULL } };
        lzma_ret status;

        lzma_lzma_preset(&options, 9 | LZMA_PRESET_EXTREME);
        options.dict_size = DICTIONARY_MIN;
        while (options.dict_size < op->window + op->content)
                options.dict_size *= 2;
        options.preset_dict = (const uint8_t *) e->window;
        options.preset_dict_size = op->window;
        options.lc = properties % 9;
        options.lp = properties / 9 % 5;
        options.pb = properties / 45;
        options.nice_len = 273;
        options.ext_flags = 0;
        lzma_set_ext_size(options, op->content);
        status = lzma_raw_encoder(&e->lzma, filters);
        if (status == LZMA_MEM_ERROR)
                abort(); /* as every allocation */
        if (status == LZMA_OK) {
                e->lzma.next_in = (const uint8_t *) e->content;
                e->lzma.avail_in = op->content;
                e->lzma.next_out = (uint8_t *) ret;
                e->lzma.avail_out = size;
                status = lzma_code(&e->lzma, LZMA_FINISH);
        }
        if (status != LZMA_STREAM_END)
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "LZMA: error %u", (unsigned) status);
        *ret_size = (uint32_t) (size - e->lzma.avail_out);
        return 0;
}

/* Numbers are in words of four bytes; text is not. */
static uint8_t choose_properties(const DeltaEncoder *e) {
        size_t zeros = 0;

        for (size_t i = 0; i < e->content_size; i++)
                zeros += e->content[i] == 0;
        return zeros * 32 > e->content_size ? PROPERTIES(0, 2, 2) : PROPERTIES(3, 0, 0);
}

static int prove(DeltaEncoder *e, const DeltaOp *op, Error *reterr) {
        int r = delta_decode(e->decoder, op, e->old, e->packed, e->output, reterr);

        if (r < 0)
                return r;
        if (memcmp(e->output, e->plan->new->data + op->offset, op->size) != 0)
                return error_set(reterr, EIO, REFUSAL_DIFFERENT,
                                 "delta: bytes %" PRIu64 " to %" PRIu64 " do not come out", op->offset,
                                 op->offset + op->size);
        return 0;
}

int delta_encode(DeltaEncoder *e, const DeltaStep *s, Buffer *ret, Error *reterr) {
        DeltaOp op;
        EncodedOp encoded;
        int r;

        e->step = s;
        r = set_content(e, reterr);
        if (r < 0)
                return r;
        make_op(e, &op);
        r = read_window(e, &op, reterr);
        if (r < 0)
                return r;
        op.properties = choose_properties(e);
        r = compress(e, &op, op.properties, e->packed, DELTA_CONTENT_MAX * 2, &op.payload_size, reterr);
        if (r >= 0)
                r = prove(e, &op, reterr);
        if (r < 0)
                return r;
        encoded = (EncodedOp){ .kind = op.kind,
                               .payload_size = op.payload_size,
                               .n_new = op.n_new,
                               .content = op.content,
                               .properties = op.properties };
        memcpy(encoded.digest, op.digest, DELTA_DIGEST_SIZE);
        buffer_append(ret, &encoded, sizeof(encoded));
        buffer_append(ret, e->delta.clusters + op.first_new, op.n_new * sizeof(DeltaCluster));
        buffer_append(ret, e->packed, op.payload_size);
        return 0;
}
