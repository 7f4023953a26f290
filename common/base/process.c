/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "io.h"
#include "process.h"

#define OUTPUT_MAX_DEFAULT ((size_t) 64 << 20)
#define STDERR_KEPT ((size_t) 64 << 10)

char *last_lines(const char *text, size_t n) {
        size_t size = strlen(text);
        const char *p;

        while (size > 0 && text[size - 1] == '\n')
                size--;
        for (p = text + size; p > text; p--)
                if (p[-1] == '\n' && n-- <= 1)
                        break;
        return xstrndup(p, (size_t) (text + size - p));
}

static void kill_and_waitp(pid_t *pid) {
        if (*pid > 0) {
                (void) kill(*pid, SIGKILL);
                while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
}

_noreturn_ static void child_main(char *const *argv, const ProcessOptions *opt, int in, int out, int err,
                                  pid_t parent) {
        sigset_t none;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(127);
        for (int sig = 1; sig < NSIG; sig++)
                (void) signal(sig, SIG_DFL);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
                _exit(127);
        /* What this process was started with (a make's job server, a terminal's log) is not the child's business. At
         * exec, so that before_exec() may still use what its caller opened. */
        (void) syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
        if (opt->cwd && chdir(opt->cwd) < 0) {
                fprintf(stderr, "cannot enter %s: %m\n", opt->cwd);
                _exit(127);
        }
        if (opt->before_exec && opt->before_exec(opt->userdata) != 0)
                _exit(127);
        if (opt->env)
                execvpe(argv[0], argv, opt->env);
        else {
                (void) setenv("LC_ALL", "C.UTF-8", 1);
                execvp(argv[0], argv);
        }
        fprintf(stderr, "cannot run %s: %m\n", argv[0]);
        _exit(127);
}

static int open_input(const ProcessOptions *opt, int *ret_fd, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (!opt->input) {
                fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return error_errno(reterr, errno, "cannot open /dev/null");
        } else {
                /* A file, not a pipe: the child may read it at its own pace without us having to feed it. */
                const char *base = getenv("TMPDIR");

                r = io_tmpfile(isempty(base) ? "/tmp" : base, &fd, reterr);
                if (r >= 0)
                        r = io_pwrite_all(fd, opt->input, opt->input_size, 0, reterr);
                if (r < 0)
                        return r;
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int process_run(char *const *argv, const ProcessOptions *opt, char **ret_output, size_t *ret_size, Error *reterr) {
        _cleanup_(kill_and_waitp) pid_t pid = 0;
        _cleanup_close_ int in = -EBADF, out_r = -EBADF, out_w = -EBADF, err_r = -EBADF, err_w = -EBADF;
        _cleanup_buffer_ Buffer out = {}, err = {};
        const ProcessOptions none = {};
        size_t output_max;
        pid_t parent = getpid();
        int r, status, p[2];

        opt = opt ?: &none;
        output_max = opt->output_max ?: OUTPUT_MAX_DEFAULT;
        r = open_input(opt, &in, reterr);
        if (r < 0)
                return r;
        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(reterr, errno, "cannot make a pipe");
        out_r = p[0], out_w = p[1];
        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(reterr, errno, "cannot make a pipe");
        err_r = p[0], err_w = p[1];

        fflush(NULL);
        pid = fork();
        if (pid < 0)
                return error_errno(reterr, errno, "cannot start %s", argv[0]);
        if (pid == 0)
                child_main(argv, opt, in, out_w, opt->merge_stderr ? out_w : err_w, parent);
        out_w = safe_close(out_w);
        err_w = safe_close(err_w);

        while (out_r >= 0 || err_r >= 0) {
                struct pollfd fds[2] = { { .fd = out_r, .events = POLLIN }, { .fd = err_r, .events = POLLIN } };
                char chunk[16384];

                if (poll(fds, 2, -1) < 0 && errno != EINTR)
                        return error_errno(reterr, errno, "cannot wait for %s", argv[0]);
                for (int i = 0; i < 2; i++) {
                        ssize_t n;

                        if (fds[i].fd < 0 || !fds[i].revents)
                                continue;
                        n = read(fds[i].fd, chunk, sizeof(chunk));
                        if (n < 0 && errno == EINTR)
                                continue;
                        if (n <= 0) {
                                if (i == 0)
                                        out_r = safe_close(out_r);
                                else
                                        err_r = safe_close(err_r);
                        } else if (i == 0) {
                                if (out.size + (size_t) n > output_max)
                                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE,
                                                         "%s printed more than %zu bytes", argv[0], output_max);
                                buffer_append(&out, chunk, (size_t) n);
                        } else {
                                buffer_append(&err, chunk, (size_t) n);
                                /* Only the end is ever shown. */
                                if (err.size > 2 * STDERR_KEPT) {
                                        memmove(err.data, err.data + err.size - STDERR_KEPT, STDERR_KEPT + 1);
                                        err.size = STDERR_KEPT;
                                }
                        }
                }
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_errno(reterr, errno, "cannot wait for %s", argv[0]);
        pid = 0;

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                const Buffer *said = opt->merge_stderr || err.size == 0 ? &out : &err;
                _cleanup_free_ char *tail = last_lines(said->data ?: "", 12);

                if (WIFSIGNALED(status))
                        error_set(reterr, EIO, REFUSAL_TOOL_FAILED, "%s was killed by signal %d%s%s",
                                  path_basename(argv[0]), WTERMSIG(status), *tail ? ":\n" : "", tail);
                else
                        error_set(reterr, EIO, REFUSAL_TOOL_FAILED, "%s failed with exit status %d%s%s",
                                  path_basename(argv[0]), WEXITSTATUS(status), *tail ? ":\n" : "", tail);
                if (ret_output && opt->merge_stderr) {
                        *ret_output = buffer_steal(&out);
                        if (ret_size)
                                *ret_size = strlen(*ret_output);
                }
                return -EIO;
        }
        if (ret_size)
                *ret_size = out.size;
        if (ret_output)
                *ret_output = buffer_steal(&out);
        return 0;
}
