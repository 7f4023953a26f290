/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "delta-internal.h"
#include "io.h"
#include "parallel.h"
#include "segment.h"

typedef struct Maker {
        const DeltaOptions *opt;
        const DeltaImage *old, *new;
        DeltaPlan *plan;
        Delta *delta;
        uint32_t *work; /* the steps that are no copies */
        size_t n_work;
        uint64_t done, total;  /* bytes of their output */
        DeltaEncoder *encoder; /* of this worker */
        DeltaDecoder *decoder;
        char *window, *output;
        int payload_fd;
        size_t n_clusters_allocated;
        DeltaResult result;
} Maker;

static void maker_done(Maker *m) {
        delta_encoder_free(m->encoder);
        delta_decoder_free(m->decoder);
        delta_plan_free(m->plan);
        delta_free(m->delta);
        free(m->work);
        free(m->window);
        free(m->output);
        safe_close(m->payload_fd);
}

const char *delta_area_name(DeltaArea a) {
        static const char *const names[] = { "metadata", "files", "modules" };

        return a >= 0 && a < _DELTA_AREA_MAX ? names[a] : NULL;
}

/* ---- the operations ------------------------------------------------------------------------------------------- */

static bool has_clusters(const DeltaPlan *p) {
        for (size_t i = 0; i < p->n_steps; i++)
                if (p->steps[i].kind == DELTA_RECOMPRESS)
                        return true;
        return false;
}

static Delta *new_delta(const DeltaPlan *p, const DeltaInput *old, const DeltaInput *new, const DeltaOptions *opt) {
        Delta *d = xnew(Delta, 1);

        *d = (Delta){ .old_size = p->old->size,
                      .new_size = p->new->size,
                      .unit = p->unit,
                      .old_id = old->id,
                      .new_id = new->id,
                      .ops = xnew(DeltaOp, p->n_steps + 1),
                      .n_ops = p->n_steps,
                      .ranges = xnew(DeltaRange, p->n_ranges + 1),
                      .n_ranges = p->n_ranges };
        if (p->n_ranges > 0)
                memcpy(d->ranges, p->ranges, p->n_ranges * sizeof(*d->ranges));
        if (has_clusters(p) && p->new->initrd) {
                snprintf(d->encoder, sizeof(d->encoder), "%s", SEGMENT_ENCODER);
                d->level = SEGMENT_LEVEL;
                d->cluster_size = SEGMENT_CONTENT_MAX;
        } else if (has_clusters(p)) {
                snprintf(d->encoder, sizeof(d->encoder), "%s", RECOMPRESS_ENCODER);
                d->level = opt->level;
                d->cluster_size = (uint32_t) opt->cluster_size;
        }
        return d;
}

static int encode(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        Maker *m = userdata;
        int r = 0;

        if (!m->encoder)
                r = delta_encoder_new(m->plan, m->delta, &m->encoder, reterr);
        return r < 0 ? r : delta_encode(m->encoder, &m->plan->steps[m->work[item]], ret, reterr);
}

static uint32_t add_clusters(Maker *m, const void *clusters, size_t n) {
        Delta *d = m->delta;
        size_t first = d->n_clusters;

        for (size_t i = 0; i < n; i++) {
                GROW(d->clusters, d->n_clusters, m->n_clusters_allocated);
                memcpy(&d->clusters[d->n_clusters++], (const char *) clusters + i * sizeof(DeltaCluster),
                       sizeof(DeltaCluster));
        }
        return (uint32_t) first;
}

static void count(DeltaCost *c, uint64_t size, uint64_t payload) {
        c->n_ops++;
        c->size += size;
        c->payload += payload;
}

static void add_op(Maker *m, const DeltaStep *s, const EncodedOp *encoded, const void *new_clusters) {
        DeltaOp *op = &m->delta->ops[s - m->plan->steps];

        *op = (DeltaOp){ .kind = s->kind, .offset = s->offset, .size = s->size, .source = s->source };
        if (encoded) {
                op->kind = encoded->kind;
                op->payload_size = encoded->payload_size;
                op->first_range = s->first_range;
                op->n_ranges = s->n_ranges;
                op->content = encoded->content;
                op->properties = encoded->properties;
                memcpy(op->digest, encoded->digest, DELTA_DIGEST_SIZE);
                count(&m->result.areas[s->area], s->size, encoded->payload_size);
        }
        if (op->kind == DELTA_RECOMPRESS) {
                op->n_old = s->n_old;
                op->first_old = add_clusters(m, m->plan->clusters + s->first_old, s->n_old);
                op->n_new = encoded->n_new;
                op->first_new = add_clusters(m, new_clusters, encoded->n_new);
        }
        count(&m->result.kinds[op->kind], s->size, op->payload_size);
}

static int take(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        Maker *m = userdata;
        EncodedOp encoded;
        size_t clusters_size;

        memcpy(&encoded, data, sizeof(encoded));
        clusters_size = encoded.n_new * sizeof(DeltaCluster);
        add_op(m, &m->plan->steps[m->work[item]], &encoded, data + sizeof(encoded));
        m->done += m->plan->steps[m->work[item]].size;
        if (m->opt->progress)
                m->opt->progress(m->done, m->total, m->opt->userdata);
        return io_write_all(m->payload_fd, data + sizeof(encoded) + clusters_size,
                            size - sizeof(encoded) - clusters_size, reterr);
}

static int make_ops(Maker *m, Error *reterr) {
        const DeltaPlan *p = m->plan;

        m->work = xnew(uint32_t, p->n_steps + 1);
        for (uint32_t i = 0; i < p->n_steps; i++)
                if (p->steps[i].kind == DELTA_COPY)
                        add_op(m, &p->steps[i], NULL, NULL);
                else {
                        m->work[m->n_work++] = i;
                        m->total += p->steps[i].size;
                }
        return parallel_run_workers(m->opt->n_workers, m->n_work, encode, take, m, reterr);
}

/* ---- the proof ------------------------------------------------------------------------------------------------ */

static int compare(const Maker *m, const DeltaOp *op, const void *output, Error *reterr) {
        if (memcmp(output, m->new->data + op->offset, op->size) == 0)
                return 0;
        return error_set(reterr, EIO, REFUSAL_DIFFERENT, "delta: bytes %" PRIu64 " to %" PRIu64 " do not come out",
                         op->offset, op->offset + op->size);
}

static int prove(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        Maker *m = userdata;
        const DeltaOp *op = &m->delta->ops[m->work[item]];
        _cleanup_free_ char *payload = xmalloc(op->payload_size);
        char *p;
        int r = 0;

        if (!m->decoder) {
                m->window = xmalloc(DELTA_WINDOW_MAX);
                m->output = xmalloc(DELTA_PIECE_MAX);
                r = delta_decoder_new(m->delta, &m->decoder, reterr);
        }
        if (r >= 0)
                r = io_pread_all(m->payload_fd, payload, op->payload_size, op->payload_offset, reterr);
        if (r < 0)
                return r;
        p = m->window;
        for (size_t i = 0; i < op->n_ranges; i++) {
                const DeltaRange *range = &m->delta->ranges[op->first_range + i];

                memcpy(p, m->old->data + range->offset, range->size);
                p += range->size;
        }
        r = delta_decode(m->decoder, op, m->window, payload, m->output, reterr);
        return r < 0 ? r : compare(m, op, m->output, reterr);
}

static int take_nothing(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        return 0;
}

/* The delta as a device will read it makes the new image. */
static int prove_all(Maker *m, const Buffer *head, Error *reterr) {
        uint64_t end = 0;
        int r;

        delta_free(m->delta);
        m->delta = NULL;
        r = delta_parse(head->data, head->size, "delta", &m->delta, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < m->delta->n_ops; i++) {
                const DeltaOp *op = &m->delta->ops[i];

                if (op->kind == DELTA_COPY)
                        r = compare(m, op, m->old->data + op->source, reterr);
                end = op->offset + op->size;
        }
        if (r >= 0 && end != m->new->size)
                return error_set(reterr, EIO, REFUSAL_DIFFERENT, "delta: it ends early");
        delta_encoder_free(TAKE_PTR(m->encoder));
        return r < 0 ? r : parallel_run_workers(m->opt->n_workers, m->n_work, prove, take_nothing, m, reterr);
}

/* --------------------------------------------------------------------------------------------------------------- */

static int write_delta(Maker *m, const Buffer *head, int fd, Error *reterr) {
        int r;

        if (lseek(m->payload_fd, 0, SEEK_SET) < 0)
                return error_errno(reterr, errno, "delta: cannot read its payload again");
        r = io_write_all(fd, head->data, head->size, reterr);
        if (r >= 0)
                r = io_copy_stream(m->payload_fd, fd, m->delta->payload_size, reterr);
        m->result.head_size = head->size;
        m->result.payload_size = m->delta->payload_size;
        sha256_buffer(head->data, head->size, &m->result.head_sha256);
        return r;
}

static int make(Maker *m, const DeltaInput *old, const DeltaInput *new, int fd, Error *reterr) {
        _cleanup_buffer_ Buffer head = {};
        const char *folder = getenv("TMPDIR");
        int r;

        r = io_tmpfile(isempty(folder) ? "/var/tmp" : folder, &m->payload_fd, reterr);
        if (r < 0)
                return r;
        m->delta = new_delta(m->plan, old, new, m->opt);
        r = make_ops(m, reterr);
        if (r >= 0)
                r = delta_format(m->delta, &head, reterr);
        if (r >= 0)
                r = prove_all(m, &head, reterr);
        return r < 0 ? r : write_delta(m, &head, fd, reterr);
}

int delta_make(const DeltaInput *old, const DeltaInput *new, const DeltaOptions *opt, int fd, DeltaResult *ret,
               Error *reterr) {
        _cleanup_(delta_image_freep) DeltaImage *from = NULL, *to = NULL;
        _cleanup_(maker_done) Maker m = { .opt = opt, .payload_fd = -EBADF };
        int r;

        r = delta_image_open(old, opt->usr, &from, reterr);
        if (r >= 0)
                r = delta_image_open(new, opt->usr, &to, reterr);
        if (r < 0)
                return r;
        m.old = from;
        m.new = to;
        m.plan = delta_plan_make(from, to, opt);
        r = make(&m, old, new, fd, reterr);
        if (r < 0)
                return r;
        *ret = m.result;
        return 0;
}
