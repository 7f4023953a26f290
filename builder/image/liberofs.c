/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: three channels lead from the child to the parent. The stream is for results. The report is a pipe that holds
 * at most one line, the reason of the failure; it is separate so that a failure in the middle of a record needs no
 * framing. What assertions and the C library print goes to a memory file, of which the end is quoted after a crash.
 *
 * The message hook is erofs_msg() itself, replaced by the linker (--wrap=erofs_msg), since liberofs has no other. */

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "io.h"
#include "liberofs.h"
#include "log.h"
#include "process.h"

#include "erofs/print.h"

/* One line of at most this size is written at once, so the child never waits for the parent to read it. */
#define REPORT_MAX 4096
#define SAID_MAX ((size_t) 16 << 10)
#define STREAM_BUFFER_SIZE ((size_t) 1 << 20)

struct LiberofsChild {
        pid_t pid;
        FILE *stream;  /* owned */
        int report_fd; /* owned */
        int said_fd;   /* owned */
        Refusal refusal;
        const char *what; /* borrowed */
};

/* Set in the child only: the hook below and the file operations get no pointer of ours from liberofs. */
static struct {
        int report_fd;
        Refusal refusal;
        bool failing;
} self = { .report_fd = -EBADF };

void __wrap_erofs_msg(int level, const char *fmt, ...) _printf_(2, 3);

LiberofsChild *liberofs_free(LiberofsChild *c) {
        if (!c)
                return NULL;
        if (c->pid > 0) {
                (void) kill(c->pid, SIGKILL);
                while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        if (c->stream)
                fclose(c->stream);
        safe_close(c->report_fd);
        safe_close(c->said_fd);
        free(c);
        return NULL;
}

void liberofs_alive(void) {
        (void) alarm(LIBEROFS_STALL_SEC);
}

void liberofs_fail(Error *e) {
        _cleanup_free_ char *line = NULL;
        size_t size;

        /* The first thread that fails has the reason; the others are cut off by its exit. */
        while (__atomic_test_and_set(&self.failing, __ATOMIC_SEQ_CST))
                (void) pause();
        line = error_to_line(e);
        size = strlen(line);
        if (size >= REPORT_MAX) {
                error_set(e, e->code, e->id, "%.*s...", REPORT_MAX / 4, e->message);
                free(line);
                line = error_to_line(e);
                size = MIN(strlen(line), (size_t) REPORT_MAX);
        }
        (void) io_write_all(self.report_fd, line, size, NULL);
        _exit(EXIT_FAILURE);
}

void __wrap_erofs_msg(int level, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        const char *message;
        int saved = errno;
        va_list ap;
        Error e = {};

        va_start(ap, fmt);
        text = xvasprintf(fmt, ap);
        va_end(ap);
        message = strstrip(text);
        if (level > EROFS_ERR) {
                fprintf(stderr, "%s\n", message);
                /* Callers return -errno after having printed. */
                errno = saved;
                return;
        }

        /* "<E> erofs: function() Line[12] what happened" */
        if (startswith(message, "<E> ")) {
                const char *line = strstr(message, " Line[");

                if (line && (line = strstr(line, "] ")))
                        message = line + 2;
        }
        error_set(&e, EIO, self.refusal, "liberofs: %s", message);
        liberofs_fail(&e);
}

/* Results are many small records. */
static FILE *open_stream(int fd, const char *mode) {
        FILE *f = fdopen(fd, mode);

        if (f)
                (void) setvbuf(f, NULL, _IOFBF, STREAM_BUFFER_SIZE);
        return f;
}

_noreturn_ static void child_main(LiberofsFunc f, void *userdata, int stream_fd, int said_fd, pid_t parent) {
        _cleanup_error_ Error e = {};
        sigset_t none;
        FILE *stream;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_FAILURE);
        for (int sig = 1; sig < NSIG; sig++)
                (void) signal(sig, SIG_DFL);
        /* A limit on file sizes shall be an error with a message, too. */
        (void) signal(SIGXFSZ, SIG_IGN);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        /* An assertion of liberofs is an error of ours, not a crash to be collected. */
        (void) setrlimit(RLIMIT_CORE, &(struct rlimit){});
        liberofs_alive();

        stream = open_stream(stream_fd, "w");
        if (dup2(said_fd, STDOUT_FILENO) < 0 || dup2(said_fd, STDERR_FILENO) < 0 || !stream) {
                error_errno(&e, errno, "cannot set up a child process");
                liberofs_fail(&e);
        }
        if (f(stream, userdata, &e) < 0)
                liberofs_fail(&e);
        if (fflush(stream) != 0) {
                error_errno(&e, errno, "cannot write to the parent process");
                liberofs_fail(&e);
        }
        _exit(EXIT_SUCCESS);
}

int liberofs_start(const char *what, Refusal refusal, LiberofsFunc f, void *userdata, LiberofsChild **ret,
                   Error *reterr) {
        _cleanup_(liberofs_freep) LiberofsChild *c = xnew(LiberofsChild, 1);
        _cleanup_close_ int stream_w = -EBADF, report_w = -EBADF;
        pid_t parent = getpid();
        int p[2];

        *c = (LiberofsChild){ .report_fd = -EBADF, .said_fd = -EBADF, .refusal = refusal, .what = what };
        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(reterr, errno, "%s: cannot make a pipe", what);
        stream_w = p[1];
        c->stream = open_stream(p[0], "r");
        if (!c->stream) {
                safe_close(p[0]);
                return error_errno(reterr, errno, "%s: cannot make a pipe", what);
        }
        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(reterr, errno, "%s: cannot make a pipe", what);
        c->report_fd = p[0], report_w = p[1];
        c->said_fd = memfd_create("liberofs", MFD_CLOEXEC);
        if (c->said_fd < 0)
                return error_errno(reterr, errno, "%s: cannot make a memory file", what);

        fflush(NULL);
        c->pid = fork();
        if (c->pid < 0)
                return error_errno(reterr, errno, "%s: cannot start a child process", what);
        if (c->pid == 0) {
                self.report_fd = report_w;
                self.refusal = refusal;
                /* Or SIGPIPE would never come. */
                close(fileno(c->stream));
                close(c->report_fd);
                child_main(f, userdata, stream_w, c->said_fd, parent);
        }
        *ret = TAKE_PTR(c);
        return 0;
}

FILE *liberofs_stream(LiberofsChild *c) {
        return c->stream;
}

static char *read_end(int fd, size_t max_size) {
        char *text = xnew(char, max_size + 1);
        off_t size = lseek(fd, 0, SEEK_END);
        ssize_t n;

        n = pread(fd, text, max_size, size > (off_t) max_size ? size - (off_t) max_size : 0);
        text[MAX(n, (ssize_t) 0)] = 0;
        return text;
}

static int describe_death(const LiberofsChild *c, int status, const char *said, Error *reterr) {
        _cleanup_free_ char *tail = last_lines(said, 3);
        int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

        if (sig == SIGINT || sig == SIGTERM || sig == SIGHUP)
                return error_set(reterr, ECANCELED, REFUSAL_CANCELLED, "%s: stopped", c->what);
        if (sig == SIGALRM)
                return error_set(reterr, ETIMEDOUT, c->refusal, "%s: no progress for %d seconds, given up", c->what,
                                 LIBEROFS_STALL_SEC);
        if (sig == SIGKILL) {
                error_set(reterr, ENOMEM, REFUSAL_SYSTEM, "%s: the child process was killed", c->what);
                return error_hint(reterr, "The kernel does that when memory runs out; see its log.");
        }
        return error_set(reterr, EIO, c->refusal, "%s: liberofs crashed (%s %d)%s%s", c->what,
                         sig ? "signal" : "exit status", sig ?: WEXITSTATUS(status), *tail ? ":\n" : "", tail);
}

int liberofs_finish(LiberofsChild *c, int r, Error *reterr) {
        _cleanup_free_ char *report = NULL, *said = NULL;
        int status;

        /* A child that still writes, although nobody wants to read on, is ended by SIGPIPE. */
        fclose(TAKE_PTR(c->stream));
        while (waitpid(c->pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_errno(reterr, errno, "%s: cannot wait for the child process", c->what);
        c->pid = 0;

        said = read_end(c->said_fd, SAID_MAX);
        if (*said)
                log_debug("%s: liberofs said:\n%s", c->what, strstrip(said));
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
                return r;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE && r < 0)
                return r;

        if (io_read_fd(c->report_fd, REPORT_MAX, &report, NULL, NULL) >= 0 && !isempty(report)) {
                r = error_from_line(report, reterr);
                error_prefix(reterr, "%s", c->what);
                return r;
        }
        return describe_death(c, status, said, reterr);
}
