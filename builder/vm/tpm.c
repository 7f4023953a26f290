/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tpm.h"
#include "util.h"

#define CHANNEL_FD 3

int tpm_pass_channel(int channel, int as) {
        /* dup2() to the same number would leave it closed on exec. */
        return channel == as ? fcntl(channel, F_SETFD, 0) : dup2(channel, as);
}

_noreturn_ static void run_tpm(int folder_fd, const char *name, int channel, pid_t parent) {
        _cleanup_free_ char *state = xasprintf("dir=%s", name), *log = xasprintf("file=%s.log,truncate", name),
                            *control = xasprintf("type=unixio,clientfd=%d", CHANNEL_FD);
        char *argv[] = { (char *) TPM_PROGRAM,
                         (char *) "socket",
                         (char *) "--tpm2",
                         (char *) "--tpmstate",
                         state,
                         (char *) "--ctrl",
                         control,
                         (char *) "--log",
                         log,
                         NULL };
        sigset_t none;

        /* Kernels wait less than a second for most answers, in a time that does not stop while this one waits for its
         * turn. */
        (void) setpriority(PRIO_PROCESS, 0, -10);
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(127);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        if (fchdir(folder_fd) < 0 || tpm_pass_channel(channel, CHANNEL_FD) < 0)
                _exit(127);
        execvp(argv[0], argv);
        _exit(127);
}

int tpm_start(int folder_fd, const char *name, pid_t *ret, int *ret_channel, Error *reterr) {
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
        pid_t parent = getpid(), pid;
        int pair[2];

        if (mkdirat(folder_fd, name, 0700) < 0 && errno != EEXIST)
                return error_errno(reterr, errno, "cannot make the folder %s for the TPM", name);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return error_errno(reterr, errno, "cannot make a channel to " TPM_PROGRAM);
        ours = pair[0], theirs = pair[1];
        fflush(NULL);
        pid = fork();
        if (pid < 0)
                return error_errno(reterr, errno, "cannot start " TPM_PROGRAM);
        if (pid == 0)
                run_tpm(folder_fd, name, theirs, parent);
        *ret = pid;
        *ret_channel = TAKE_FD(ours);
        return 0;
}

void tpm_stop(pid_t pid) {
        (void) kill(pid, SIGTERM);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}
