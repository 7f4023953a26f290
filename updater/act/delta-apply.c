/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>

#include "decode.h"
#include "delta-apply.h"
#include "delta-decode.h"
#include "io.h"
#include "log.h"

#define COPY_PIECE ((size_t) 256 << 10)
/* The least that can be damaged by itself. */
#define BLOCK ((size_t) 4096)
/* Payloads of operations that do not become what they should, from two repositories each: then the delta itself is
 * wrong, and the others are not worth their bytes. */
#define BAD_PAYLOADS_MAX 3
/* Of a smaller payload nothing is kept beyond this process. */
#define KEEP_MIN ((uint32_t) 32 << 10)
/* Less than this is not getting on. */
#define PROGRESS_MIN ((uint64_t) 64 << 10)
#define KEPT_SUFFIX ".payload"
#define KEPT_HEADER 16

typedef enum OpState { OP_WANTED, OP_DONE, OP_FAILED } OpState;

typedef struct Run {
        const DeltaApply *a;
        Delta *delta;
        Decode *decode;
        char *piece, *there; /* COPY_PIECE each */
        Hasher *hasher;
        bool fresh;      /* the target does not hold what an earlier attempt wrote */
        uint8_t *states; /* OpState of each operation */
        uint8_t *tries;
        unsigned bad_payloads;
        int kept_fd;     /* the payload that is coming in, for the next attempt of another process */
        uint32_t have;   /* bytes of it */
        uint64_t unsure; /* bytes that came since an operation was done */
        DeltaOutcome result;
} Run;

static void run_done(Run *run) {
        delta_free(run->delta);
        decode_free(run->decode);
        free(run->piece);
        free(run->there);
        hasher_free(run->hasher);
        free(run->states);
        free(run->tries);
        safe_close(run->kept_fd);
}

static const ArtifactDelta *named(const DeltaApply *a) {
        return &a->offer->description->deltas[a->delta];
}

static void report(const Run *run, const char *step, uint64_t done, uint64_t total) {
        if (run->a->progress)
                run->a->progress(step, done, total, run->a->userdata);
}

/* ---- the head ---- */

static int check_head(const Run *run, Error *reterr) {
        const DeltaApply *a = run->a;
        const ArtifactDelta *n = named(a);
        const Artifact *artifact = &a->offer->description->artifacts[n->artifact];
        const Sha256 *new_id = n->artifact == ARTIFACT_USR ? &a->offer->description->root_hash : &artifact->sha256;
        const Delta *d = run->delta;

        if (d->unit != a->unit || d->new_size != artifact->size || d->old_size != delta_old_size(a->old) ||
            !sha256_equal(&d->old_id, &n->from_id) || !sha256_equal(&d->new_id, new_id) ||
            d->payload_size != a->offer->delta_download[a->delta] - n->head_size)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s is a delta of something else", n->target);
        return 0;
}

static int load_head(Run *run, Error *reterr) {
        const DeltaApply *a = run->a;
        const ArtifactDelta *n = named(a);
        const Document head = { .file = remote_delta(a->offer, a->delta),
                                .size = n->head_size,
                                .sha256 = n->head_sha256,
                                .what = n->target };
        _cleanup_buffer_ Buffer text = {};
        int r;

        if (n->head_size > head.file.size)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s is shorter than its head", n->target);
        r = download_document(a->options, &head, DELTA_HEAD_MAX, &text, &run->result.downloaded, reterr);
        if (r >= 0)
                r = delta_parse(text.data, text.size, n->target, &run->delta, reterr);
        if (r >= 0)
                r = check_head(run, reterr);
        /* Before anything is fetched for it. */
        return r < 0 ? r : delta_check_encoder(run->delta, reterr);
}

/* ---- without a network ---- */

/* What an attempt before this one has written need not be written again; one look tells whether there was one. */
static int write_copy(Run *run, uint64_t offset, size_t size, Error *reterr) {
        const DeltaApply *a = run->a;

        if (!run->fresh) {
                if (a->read(offset, run->there, size, a->userdata, NULL) >= 0 &&
                    memcmp(run->there, run->piece, size) == 0)
                        return 0;
                run->fresh = true;
        }
        return a->write(offset, run->piece, size, a->userdata, reterr);
}

/* Around what is damaged. */
static int copy_what_is_left(Run *run, const DeltaOp *op, uint64_t at, size_t size, Error *reterr) {
        for (size_t done = 0; done < size;) {
                size_t n = MIN(size - done, BLOCK);
                int r = 0;

                if (delta_old_read(run->a->old, op->source + at + done, run->piece, n, NULL) >= 0)
                        r = run->a->write(op->offset + at + done, run->piece, n, run->a->userdata, reterr);
                else
                        run->result.missing += n;
                if (r < 0)
                        return r;
                done += n;
        }
        return 0;
}

static int copy(Run *run, const DeltaOp *op, Error *reterr) {
        for (uint64_t at = 0; at < op->size;) {
                size_t n = (size_t) MIN(op->size - at, (uint64_t) COPY_PIECE);
                _cleanup_error_ Error e = {};
                int r = delta_old_read(run->a->old, op->source + at, run->piece, n, &e);

                if (r >= 0)
                        r = write_copy(run, op->offset + at, n, reterr);
                else {
                        log_warning("%s", e.message);
                        r = copy_what_is_left(run, op, at, n, reterr);
                }
                if (r < 0)
                        return r;
                at += n;
                report(run, "reuse", op->offset + at, run->delta->new_size);
        }
        return 0;
}

static bool is_there(Run *run, const DeltaOp *op) {
        Sha256 digest;

        for (uint64_t at = 0; at < op->size;) {
                size_t n = (size_t) MIN(op->size - at, (uint64_t) COPY_PIECE);

                if (run->a->read(op->offset + at, run->there, n, run->a->userdata, NULL) < 0)
                        memset(run->there, 0, n);
                hasher_update(run->hasher, run->there, n);
                at += n;
        }
        hasher_final(run->hasher, &digest);
        return memcmp(digest.bytes, op->digest, DELTA_DIGEST_SIZE) == 0;
}

static int read_old(Run *run, const DeltaOp *op, Error *reterr) {
        char *to = decode_old(run->decode, op);

        for (size_t i = 0; i < op->n_ranges; i++) {
                const DeltaRange *range = &run->delta->ranges[op->first_range + i];
                int r = delta_old_read(run->a->old, range->offset, to, (size_t) range->size, reterr);

                if (r < 0)
                        return r;
                to += range->size;
        }
        return 0;
}

/* Whether what an operation looks at is still what it was is found out before its payload is fetched. */
static OpState look_at(Run *run, const DeltaOp *op) {
        _cleanup_error_ Error e = {};

        if (is_there(run, op))
                return OP_DONE;
        if (read_old(run, op, &e) >= 0)
                return OP_WANTED;
        log_warning("%s", e.message);
        run->result.missing += op->size;
        return OP_FAILED;
}

static int do_what_is_here(Run *run, Error *reterr) {
        for (size_t i = 0; i < run->delta->n_ops; i++) {
                const DeltaOp *op = &run->delta->ops[i];
                int r = 0;

                if (op->kind == DELTA_COPY) {
                        run->states[i] = OP_DONE;
                        r = copy(run, op, reterr);
                } else
                        run->states[i] = (uint8_t) look_at(run, op);
                if (r < 0)
                        return r;
                report(run, "reuse", op->offset + op->size, run->delta->new_size);
        }
        return 0;
}

/* ---- a payload that is coming in ---- */

/* Bytes that are not what the header says lead to another download, not to a wrong output. */
static void keep_piece(Run *run, const DeltaOp *op, const void *data, size_t size) {
        uint64_t header[2] = { htole64(op->payload_offset + 1), htole64(run->have + size) };

        if (run->kept_fd < 0 || op->payload_size < KEEP_MIN)
                return;
        if (io_pwrite_all(run->kept_fd, data, size, KEPT_HEADER + run->have, NULL) < 0 ||
            io_pwrite_all(run->kept_fd, header, sizeof header, 0, NULL) < 0)
                run->kept_fd = safe_close(run->kept_fd);
}

/* How much of the payload is here from the attempt of a process that is gone. */
static uint32_t load_kept(Run *run, const DeltaOp *op) {
        uint64_t header[2];

        if (run->kept_fd < 0 || op->payload_size < KEEP_MIN ||
            io_pread_all(run->kept_fd, header, sizeof header, 0, NULL) < 0 ||
            le64toh(header[0]) != op->payload_offset + 1 || le64toh(header[1]) > op->payload_size ||
            io_pread_all(run->kept_fd, decode_payload(run->decode, op), (size_t) le64toh(header[1]), KEPT_HEADER,
                         NULL) < 0)
                return 0;
        return (uint32_t) le64toh(header[1]);
}

/* ---- with a network ---- */

/* The next operation that is to be done, from i on. */
static size_t next_wanted(const Run *run, size_t i) {
        while (i < run->delta->n_ops && run->states[i] != OP_WANTED)
                i++;
        return i;
}

/* Payload bytes from operation i on that one request can bring. */
static uint64_t length_of_range(const Run *run, size_t i) {
        uint64_t n = 0;

        for (; i < run->delta->n_ops; i++)
                if (run->states[i] == OP_WANTED)
                        n += run->delta->ops[i].payload_size;
                else if (run->delta->ops[i].kind != DELTA_COPY)
                        break;
        return n;
}

/* The payload is complete. What does not come out right once is fetched from somebody else. */
static int finish_op(Download *d, Run *run, size_t i, Error *reterr) {
        const DeltaOp *op = &run->delta->ops[i];
        _cleanup_error_ Error e = {};
        const void *output = NULL;
        int r;

        run->have = 0;
        r = read_old(run, op, &e);
        if (r >= 0)
                r = decode_run(run->decode, op, &output, &e);
        if (r >= 0) {
                r = run->a->write(op->offset, output, (size_t) op->size, run->a->userdata, reterr);
                d->machine_failed = r < 0;
                if (r >= 0)
                        run->states[i] = OP_DONE;
                return r;
        }
        if (e.id == REFUSAL_MACHINE)
                run->bad_payloads = BAD_PAYLOADS_MAX;
        else if (++run->tries[i] < 2)
                return error_move(reterr, &e);
        log_warning("%s", e.message);
        run->states[i] = OP_FAILED;
        run->bad_payloads++;
        run->result.missing += op->size;
        return 0;
}

/* Bytes that are here to stay. What comes a second time is no progress. */
static void count_progress(Download *d, Run *run, size_t i, bool complete) {
        if (run->tries[i] > 0 || (!complete && run->unsure < PROGRESS_MIN))
                return;
        d->kept += run->unsure;
        d->moved = download_clock();
        run->unsure = 0;
}

/* Bytes of payloads, from operation *i on. */
static int take_payload(Download *d, Run *run, size_t *i, const Buffer *message, Error *reterr) {
        const char *bytes = message->data;
        size_t size = message->size;

        while (size > 0) {
                const DeltaOp *op = *i < run->delta->n_ops ? &run->delta->ops[*i] : NULL;
                size_t n = op ? MIN(size, (size_t) (op->payload_size - run->have)) : 0;
                int r;

                if (!op)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker sends more than was asked for");
                memcpy((char *) decode_payload(run->decode, op) + run->have, bytes, n);
                keep_piece(run, op, bytes, n);
                run->have += (uint32_t) n;
                run->unsure += n;
                bytes += n;
                size -= n;
                if (run->have < op->payload_size) {
                        count_progress(d, run, *i, false);
                        continue;
                }
                r = finish_op(d, run, *i, reterr);
                if (r < 0)
                        return r;
                count_progress(d, run, *i, true);
                *i = next_wanted(run, *i + 1);
        }
        return 0;
}

/* One request, for as many operations as follow each other. Ends early when the delta has turned out to be bad. */
static int receive_range(Download *d, Run *run, Worker *w, size_t i, Error *reterr) {
        const DeltaOp *op = &run->delta->ops[i];
        uint64_t head_size = named(run->a)->head_size, length = length_of_range(run, i) - run->have, came = 0;
        _cleanup_buffer_ Buffer message = {};
        char type = 0;
        int r;

        r = download_ask(w, head_size + op->payload_offset + run->have, length, reterr);
        while (r >= 0 && run->bad_payloads < BAD_PAYLOADS_MAX) {
                r = worker_receive(w, &type, &message, reterr);
                if (r > 0)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker ended early");
                if (r < 0 || (type == 'Y' && came == length))
                        return r;
                if (type != 'B' || message.size > length - came)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker sent something else than bytes");
                came += message.size;
                r = take_payload(d, run, &i, &message, reterr);
                if (r >= 0)
                        r = download_count(d, message.size, false, reterr);
                else
                        d->downloaded += message.size;
        }
        return r;
}

static int attempt(Download *d, void *userdata, Error *reterr) {
        Run *run = userdata;
        _cleanup_(worker_freep) Worker *w = NULL;
        int r;

        r = download_start(d, NULL, &w, reterr);
        for (size_t i = next_wanted(run, 0); r >= 0 && i < run->delta->n_ops && run->bad_payloads < BAD_PAYLOADS_MAX;
             i = next_wanted(run, i)) {
                if (run->have == run->delta->ops[i].payload_size)
                        r = finish_op(d, run, i, reterr);
                else
                        r = receive_range(d, run, w, i, reterr);
        }
        return r;
}

static uint64_t wanted_payload(const Run *run) {
        uint64_t sum = 0;

        for (size_t i = 0; i < run->delta->n_ops; i++)
                if (run->states[i] == OP_WANTED)
                        sum += run->delta->ops[i].payload_size;
        return sum;
}

static void payload_progress(uint64_t downloaded, uint64_t total, void *userdata) {
        report(userdata, "download", downloaded, total);
}

static int fetch_payloads(Run *run, Error *reterr) {
        const RemoteFile file = remote_delta(run->a->offer, run->a->delta);
        size_t first = next_wanted(run, 0);
        Download d;
        int r;

        if (first == run->delta->n_ops)
                return 0;
        if (download_cache_open(run->a->options, &file.sha256, KEPT_SUFFIX, &run->kept_fd, NULL) >= 0)
                run->have = load_kept(run, &run->delta->ops[first]);
        r = download_new(run->a->options, &file, wanted_payload(run) - run->have, &d, reterr);
        if (r < 0)
                return r;
        d.progress = payload_progress;
        d.userdata = run;
        r = download_persist(&d, attempt, run, reterr);
        run->result.downloaded += d.downloaded;
        return r;
}

/* What was left undone when the delta was given up. */
static void count_result(Run *run) {
        for (size_t i = 0; i < run->delta->n_ops; i++)
                if (run->states[i] == OP_WANTED)
                        run->result.missing += run->delta->ops[i].size;
        run->result.made = run->delta->new_size - run->result.missing;
}

int delta_apply(const DeltaApply *a, DeltaOutcome *ret, Error *reterr) {
        _cleanup_(run_done) Run run = { .a = a, .kept_fd = -EBADF };
        int r;

        r = load_head(&run, reterr);
        if (r >= 0)
                r = decode_new(run.delta, &run.decode, reterr);
        if (r >= 0) {
                run.piece = xmalloc(COPY_PIECE);
                run.there = xmalloc(COPY_PIECE);
                run.hasher = hasher_new();
                run.states = xcalloc(MAX(run.delta->n_ops, 1U), 1);
                run.tries = xcalloc(MAX(run.delta->n_ops, 1U), 1);
                r = do_what_is_here(&run, reterr);
        }
        if (r >= 0)
                r = fetch_payloads(&run, reterr);
        if (r >= 0)
                count_result(&run);
        *ret = run.result;
        return r < 0 ? r : run.result.missing > 0;
}
