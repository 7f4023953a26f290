/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Child k of n does the items k, k + n, k + 2n and so on, and writes each result into its pipe: a header, then the
 * bytes or, for a failure, the error as a line. A child is at most one item and a pipe's content ahead. */

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "io.h"
#include "parallel.h"

#define WORKERS_MAX 16
#define RESULT_MAX (UINT64_C(1) << 32)

typedef struct Header {
        uint64_t size;
        bool failed;
} Header;

typedef struct Worker {
        pid_t pid;
        int fd;
} Worker;

typedef struct Workers {
        Worker items[WORKERS_MAX];
        size_t n;
} Workers;

static void workers_done(Workers *w) {
        for (size_t k = 0; k < w->n; k++) {
                safe_close(w->items[k].fd);
                (void) kill(w->items[k].pid, SIGKILL);
                while (waitpid(w->items[k].pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
}

static size_t processors(void) {
        cpu_set_t set;

        if (sched_getaffinity(0, sizeof(set), &set) < 0)
                return 1;
        return MAX(MIN((size_t) CPU_COUNT(&set), (size_t) WORKERS_MAX), (size_t) 1);
}

static int send(int fd, const Header *h, const char *data) {
        int r = io_write_all(fd, h, sizeof(*h), NULL);

        return r < 0 ? r : io_write_all(fd, data, h->size, NULL);
}

_noreturn_ static void worker_main(size_t first, size_t step, size_t n_items, ParallelWork work, void *userdata, int fd,
                                   pid_t parent) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        for (size_t i = first; i < n_items; i += step) {
                _cleanup_buffer_ Buffer result = {};
                _cleanup_error_ Error e = {};
                _cleanup_free_ char *line = NULL;
                int r = work(i, &result, userdata, &e);

                if (r < 0)
                        line = error_to_line(&e);
                if (send(fd, &(Header){ .size = line ? strlen(line) : result.size, .failed = line },
                         line ?: result.data) < 0 ||
                    line)
                        _exit(1);
        }
        _exit(0);
}

static int start(Workers *w, size_t n_workers, size_t n_items, ParallelWork work, void *userdata, Error *reterr) {
        pid_t parent = getpid();

        fflush(NULL);
        while (w->n < n_workers) {
                Worker *worker = &w->items[w->n];
                _cleanup_close_ int read_end = -EBADF, write_end = -EBADF;
                int p[2];

                if (pipe2(p, O_CLOEXEC) < 0)
                        return error_errno(reterr, errno, "cannot make a pipe");
                read_end = p[0], write_end = p[1];
                (void) fcntl(read_end, F_SETPIPE_SZ, 1 << 20);
                worker->pid = fork();
                if (worker->pid < 0)
                        return error_errno(reterr, errno, "cannot start a child process");
                if (worker->pid == 0)
                        worker_main(w->n, n_workers, n_items, work, userdata, write_end, parent);
                worker->fd = TAKE_FD(read_end);
                w->n++;
        }
        return 0;
}

static int read_exactly(int fd, void *data, size_t size, Error *reterr) {
        for (size_t done = 0; done < size;) {
                ssize_t n = read(fd, (char *) data + done, size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot read from a child process");
                if (n == 0)
                        return error_set(reterr, EIO, REFUSAL_SYSTEM,
                                         "a child process ended without a result (killed, or out of memory)");
                done += (size_t) n;
        }
        return 0;
}

static int receive(int fd, char **ret, size_t *ret_size, Error *reterr) {
        _cleanup_free_ char *data = NULL;
        Header h;
        int r;

        r = read_exactly(fd, &h, sizeof(h), reterr);
        if (r < 0)
                return r;
        if (h.size > RESULT_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "a result of %" PRIu64 " bytes", h.size);
        data = xmalloc((size_t) h.size + 1);
        data[h.size] = 0;
        r = read_exactly(fd, data, (size_t) h.size, reterr);
        if (r < 0)
                return r;
        if (h.failed)
                return error_from_line(data, reterr);
        *ret = TAKE_PTR(data);
        *ret_size = (size_t) h.size;
        return 0;
}

static int run_here(size_t item, ParallelWork work, ParallelTake take, void *userdata, Error *reterr) {
        _cleanup_buffer_ Buffer result = {};
        int r = work(item, &result, userdata, reterr);

        return r < 0 ? r : take(item, result.data ?: "", result.size, userdata, reterr);
}

int parallel_run(size_t n_items, ParallelWork work, ParallelTake take, void *userdata, Error *reterr) {
        return parallel_run_workers(0, n_items, work, take, userdata, reterr);
}

int parallel_run_workers(size_t n_workers, size_t n_items, ParallelWork work, ParallelTake take, void *userdata,
                         Error *reterr) {
        _cleanup_(workers_done) Workers w = {};
        int r = 0;

        n_workers = MIN(n_workers > 0 ? MIN(n_workers, (size_t) WORKERS_MAX) : processors(), n_items);
        if (n_workers > 1)
                r = start(&w, n_workers, n_items, work, userdata, reterr);
        for (size_t i = 0; r >= 0 && i < n_items; i++) {
                _cleanup_free_ char *data = NULL;
                size_t size = 0;

                if (n_workers <= 1) {
                        r = run_here(i, work, take, userdata, reterr);
                        continue;
                }
                r = receive(w.items[i % n_workers].fd, &data, &size, reterr);
                if (r >= 0)
                        r = take(i, data, size, userdata, reterr);
        }
        return r;
}
