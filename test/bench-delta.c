/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a delta between two releases costs: bench-delta [--apply] OLD NEW, both folders of releases. One line of JSON.
 * Encoding and applying are processes of their own, so that time and memory are theirs. Memory includes what is in use
 * of the images, which encoding maps. */

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "delta-decode.h"
#include "delta-make.h"
#include "io.h"
#include "json.h"
#include "release.h"

typedef struct Part {
        int old_fd, new_fd, delta_fd;
        uint64_t old_size, new_size;
        DeltaInput old, new;
        DeltaOptions options;
} Part;

typedef struct Shared {
        DeltaResult result;
} Shared;

typedef struct Cost {
        double cpu_seconds, seconds;
        uint64_t memory;
} Cost;

static void check(int r, const Error *e) {
        if (r >= 0)
                return;
        fprintf(stderr, "bench-delta: %s\n", e->message);
        exit(1);
}

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static double seconds(const struct timeval *t) {
        return (double) t->tv_sec + (double) t->tv_usec / 1e6;
}

static int open_part(const Release *r, ReleasePart part, uint64_t *ret_size) {
        _cleanup_free_ char *path = release_file_path(r, part);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                fprintf(stderr, "bench-delta: %s: %m\n", path);
                exit(1);
        }
        *ret_size = (uint64_t) st.st_size;
        return fd;
}

static void open_both(const Release *old, const Release *new, bool usr, Part *ret) {
        ReleasePart part = usr ? RELEASE_USR : release_is_signed(new) ? RELEASE_UKI : RELEASE_UNSIGNED_UKI;
        _cleanup_error_ Error e = {};

        ret->old_fd = open_part(old, part, &ret->old_size);
        ret->new_fd = open_part(new, part, &ret->new_size);
        check(io_tmpfile("/var/tmp", &ret->delta_fd, &e), &e);
        ret->old =
                (DeltaInput){ .fd = ret->old_fd, .id = usr ? old->root_hash : old->files[part].sha256, .name = "old" };
        ret->new =
                (DeltaInput){ .fd = ret->new_fd, .id = usr ? new->root_hash : new->files[part].sha256, .name = "new" };
        ret->options.usr = usr;
        if (usr && new->level > 0) {
                ret->options.level = (unsigned) new->level;
                ret->options.cluster_size = new->cluster;
        }
}

static void encode(Part *p, Shared *shared) {
        _cleanup_error_ Error e = {};

        check(delta_make(&p->old, &p->new, &p->options, p->delta_fd, &shared->result, &e), &e);
}

static void copy(const Part *p, const DeltaOp *op, int out, char *buffer) {
        _cleanup_error_ Error e = {};

        for (uint64_t done = 0; done < op->size;) {
                size_t n = (size_t) MIN(op->size - done, (uint64_t) DELTA_PIECE_MAX);

                check(io_pread_all(p->old_fd, buffer, n, op->source + done, &e), &e);
                check(io_pwrite_all(out, buffer, n, op->offset + done, &e), &e);
                done += n;
        }
}

/* As a device does it. */
static void apply(Part *p, Shared *shared) {
        _cleanup_free_ char *window = xmalloc(DELTA_WINDOW_MAX), *output = xmalloc(DELTA_PIECE_MAX), *head = NULL;
        uint64_t head_size = shared->result.head_size;
        _cleanup_(delta_decoder_freep) DeltaDecoder *decoder = NULL;
        _cleanup_(delta_freep) Delta *d = NULL;
        _cleanup_close_ int out = -EBADF;
        _cleanup_error_ Error e = {};
        Sha256 a, b;

        head = xmalloc((size_t) head_size);
        check(io_pread_all(p->delta_fd, head, (size_t) head_size, 0, &e), &e);
        check(delta_parse(head, (size_t) head_size, "delta", &d, &e), &e);
        check(delta_decoder_new(d, &decoder, &e), &e);
        check(io_tmpfile("/var/tmp", &out, &e), &e);
        for (size_t i = 0; i < d->n_ops; i++) {
                const DeltaOp *op = &d->ops[i];
                _cleanup_free_ char *payload = NULL;
                size_t at = 0;

                if (op->kind == DELTA_COPY) {
                        copy(p, op, out, output);
                        continue;
                }
                for (size_t k = 0; k < op->n_ranges; k++) {
                        const DeltaRange *range = &d->ranges[op->first_range + k];

                        check(io_pread_all(p->old_fd, window + at, range->size, range->offset, &e), &e);
                        at += range->size;
                }
                payload = xmalloc(op->payload_size);
                check(io_pread_all(p->delta_fd, payload, op->payload_size, head_size + op->payload_offset, &e), &e);
                check(delta_decode(decoder, op, window, payload, output, &e), &e);
                if (!delta_op_digest_is(op, output))
                        check(error_set(&e, EIO, REFUSAL_HASH_MISMATCH, "wrong digest"), &e);
                check(io_pwrite_all(out, output, op->size, op->offset, &e), &e);
        }
        check(sha256_fd(out, 0, p->new_size, &a, &e), &e);
        check(sha256_fd(p->new_fd, 0, p->new_size, &b, &e), &e);
        if (!sha256_equal(&a, &b))
                check(error_set(&e, EIO, REFUSAL_DIFFERENT, "the result is another image"), &e);
}

static void run(void (*f)(Part *, Shared *), Part *p, Shared *shared, Cost *ret) {
        double began = now();
        struct rusage usage;
        int status;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                f(p, shared);
                _exit(0);
        }
        if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || status != 0)
                exit(1);
        *ret = (Cost){ .cpu_seconds = seconds(&usage.ru_utime) + seconds(&usage.ru_stime),
                       .seconds = now() - began,
                       .memory = (uint64_t) usage.ru_maxrss * 1024 };
}

static json_t *cost_json(const Cost *c) {
        return json_pack("{s:f, s:f, s:I}", "cpuSeconds", c->cpu_seconds, "seconds", c->seconds, "memory",
                         (json_int_t) c->memory);
}

static json_t *measure(const Release *old, const Release *new, bool usr, bool want_apply) {
        Shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        json_t *kinds = json_object(), *areas = json_object(), *o;
        const DeltaResult *result = &shared->result;
        Part p = {};
        Cost c;

        if (shared == MAP_FAILED)
                abort();
        open_both(old, new, usr, &p);
        run(encode, &p, shared, &c);
        for (DeltaKind k = 0; k < _DELTA_KIND_MAX; k++)
                json_object_set_new(kinds, delta_kind_name(k),
                                    json_pack("{s:I, s:I, s:I}", "operations", (json_int_t) result->kinds[k].n_ops,
                                              "size", (json_int_t) result->kinds[k].size, "payload",
                                              (json_int_t) result->kinds[k].payload));
        for (DeltaArea k = 0; k < _DELTA_AREA_MAX; k++)
                json_object_set_new(areas, delta_area_name(k),
                                    json_pack("{s:I, s:I, s:I}", "operations", (json_int_t) result->areas[k].n_ops,
                                              "size", (json_int_t) result->areas[k].size, "payload",
                                              (json_int_t) result->areas[k].payload));
        o = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "size", (json_int_t) p.new_size, "bytes",
                      (json_int_t) (result->head_size + result->payload_size), "head", (json_int_t) result->head_size,
                      "payload", (json_int_t) result->payload_size, "kinds", kinds, "areas", areas, "encode",
                      cost_json(&c));
        if (want_apply) {
                run(apply, &p, shared, &c);
                json_object_set_new(o, "apply", cost_json(&c));
        }
        safe_close(p.old_fd);
        safe_close(p.new_fd);
        safe_close(p.delta_fd);
        (void) munmap(shared, sizeof(*shared));
        return o;
}

int main(int argc, char **argv) {
        bool want_apply = argc > 1 && streq(argv[1], "--apply");
        _cleanup_(release_freep) Release *old = NULL, *new = NULL;
        _cleanup_json_ json_t *o = NULL;
        _cleanup_free_ char *line = NULL;
        _cleanup_error_ Error e = {};

        if (argc != 3 + want_apply) {
                fprintf(stderr, "usage: bench-delta [--apply] OLD-RELEASE NEW-RELEASE\n");
                return 2;
        }
        check(release_open(argv[1 + want_apply], &old, &e), &e);
        check(release_open(argv[2 + want_apply], &new, &e), &e);
        o = json_object();
        json_object_set_new(o, "usr", measure(old, new, true, want_apply));
        json_object_set_new(o, "uki", measure(old, new, false, want_apply));
        line = json_format_line(o);
        puts(line);
        return 0;
}
