/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>
#include <malloc.h>
#include <poll.h>
#include <sys/mman.h>

#include "decode.h"
#include "delta-decode.h"
#include "worker.h"

#define ALIGNMENT ((size_t) 64)
/* Address space: the program with its libraries, what delta_decode() needs, the shared memory. */
#define MEMORY_MAX (UINT64_C(256) << 20)
/* One operation takes a second or two on a slow machine. */
#define PATIENCE_MSEC 300000
/* Larger blocks than this are given back when they are freed, whatever was freed before. */
#define MAPPED_MIN (256 << 10)
/* A worker that dies is replaced, but not for ever. */
#define DEATHS_MAX 3

struct Decode {
        const Delta *delta;
        uint8_t *shared;
        size_t shared_size;
        uint8_t *output;
        size_t output_size;
        Worker *worker;
        unsigned deaths;
};

static size_t aligned(size_t n) {
        return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t payload_offset(const Delta *d, const DeltaOp *op) {
        return aligned(delta_op_old_size(d, op));
}

static size_t output_offset(const Delta *d, const DeltaOp *op) {
        return payload_offset(d, op) + aligned(op->payload_size);
}

/* ---- the worker's side ---- */

static int decode_one(DeltaDecoder *decoder, const Decode *c, const Buffer *message, Error *reterr) {
        const Delta *d = c->delta;
        const DeltaOp *op;
        uint32_t number;

        if (message->size != sizeof number)
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the updater asks for what a worker cannot do");
        memcpy(&number, message->data, sizeof number);
        number = le32toh(number);
        if (number >= d->n_ops || d->ops[number].kind == DELTA_COPY)
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the delta has no such operation");
        op = &d->ops[number];
        return delta_decode(decoder, op, c->shared, c->shared + payload_offset(d, op), c->shared + output_offset(d, op),
                            reterr);
}

static int decode_body(int fd, void *userdata, Error *reterr) {
        _cleanup_(delta_decoder_freep) DeltaDecoder *decoder = NULL;
        _cleanup_buffer_ Buffer message = {};
        const Decode *c = userdata;
        char type = 0;
        int r;

        (void) mallopt(M_MMAP_THRESHOLD, MAPPED_MIN);
        r = delta_decoder_new(c->delta, &decoder, reterr);
        if (r < 0)
                return r;
        while ((r = message_receive(fd, &type, &message, reterr)) == 0) {
                _cleanup_error_ Error e = {};
                _cleanup_free_ char *line = NULL;

                r = decode_one(decoder, c, &message, &e);
                line = r < 0 ? error_to_line(&e) : xstrdup("");
                r = message_send(fd, r < 0 ? 'N' : 'K', line, strlen(line), reterr);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : 0;
}

/* ---- the updater's side ---- */

int decode_new(const Delta *d, Decode **ret, Error *reterr) {
        _cleanup_(decode_freep) Decode *c = xnew(Decode, 1);
        void *shared;

        c->delta = d;
        c->shared_size = ALIGNMENT;
        for (size_t i = 0; i < d->n_ops; i++) {
                const DeltaOp *op = &d->ops[i];

                if (op->kind == DELTA_COPY)
                        continue;
                /* Each is far below SIZE_MAX: delta_parse() has seen to that. */
                c->shared_size = MAX(c->shared_size, output_offset(d, op) + aligned((size_t) op->size));
                c->output_size = MAX(c->output_size, (size_t) op->size);
        }
        shared = mmap(NULL, c->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
                return error_errno(reterr, errno, "cannot share memory with a worker");
        c->shared = shared;
        (void) madvise(shared, c->shared_size, MADV_DONTFORK);
        c->output = xmalloc(MAX(c->output_size, 1U));
        *ret = TAKE_PTR(c);
        return 0;
}

Decode *decode_free(Decode *c) {
        if (!c)
                return NULL;
        worker_free(c->worker);
        if (c->shared)
                (void) munmap(c->shared, c->shared_size);
        free(c->output);
        free(c);
        return NULL;
}

void *decode_old(Decode *c, const DeltaOp *op) {
        return c->shared;
}

void *decode_payload(Decode *c, const DeltaOp *op) {
        return c->shared + payload_offset(c->delta, op);
}

static int ask(Decode *c, const DeltaOp *op, char *ret_type, Buffer *ret, Error *reterr) {
        uint32_t number = htole32((uint32_t) (op - c->delta->ops));
        int r;

        r = worker_send(c->worker, 'D', &number, sizeof number, reterr);
        if (r >= 0) {
                struct pollfd p = { .fd = worker_fd(c->worker), .events = POLLIN };

                do
                        r = poll(&p, 1, PATIENCE_MSEC);
                while (r < 0 && errno == EINTR);
                if (r <= 0)
                        return error_set(reterr, ETIMEDOUT, REFUSAL_SYSTEM, "the worker does not come to an end");
        }
        /* Why it has gone stands in what it said last. */
        r = worker_receive(c->worker, ret_type, ret, r < 0 ? NULL : reterr);
        return r > 0 ? error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker ended early") : r;
}

/* Of all workers, only this one gets the shared memory. */
static int start_worker(Decode *c, Error *reterr) {
        const WorkerOptions options = { .memory_max = MEMORY_MAX };
        int r;

        (void) madvise(c->shared, c->shared_size, MADV_DOFORK);
        r = worker_start(&options, decode_body, c, &c->worker, reterr);
        (void) madvise(c->shared, c->shared_size, MADV_DONTFORK);
        return r;
}

static int run_in_worker(Decode *c, const DeltaOp *op, Error *reterr) {
        _cleanup_buffer_ Buffer message = {};
        char type = 0;
        int r = 0;

        if (!c->worker && c->deaths >= DEATHS_MAX)
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "workers die of this delta");
        if (!c->worker)
                r = start_worker(c, reterr);
        if (r < 0)
                return r;
        r = ask(c, op, &type, &message, reterr);
        if (r < 0) {
                c->deaths++;
                c->worker = worker_free(c->worker);
                return r;
        }
        return type == 'K' ? 0 : error_from_line(message.data, reterr);
}

int decode_run(Decode *c, const DeltaOp *op, const void **ret_output, Error *reterr) {
        _cleanup_error_ Error e = {};
        int r;

        r = run_in_worker(c, op, &e);
        if (r < 0 && (e.id == REFUSAL_MACHINE || e.id == REFUSAL_SYSTEM))
                return error_move(reterr, &e);
        if (r < 0)
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s", e.message);
        memcpy(c->output, c->shared + output_offset(c->delta, op), (size_t) op->size);
        if (!delta_op_digest_is(op, c->output))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "bytes %" PRIu64 " to %" PRIu64 " of the delta's output are not what they should be",
                                 op->offset, op->offset + op->size);
        *ret_output = c->output;
        return 0;
}
