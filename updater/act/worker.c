/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "io.h"
#include "log.h"
#include "worker.h"

#define USER_DEFAULT "sealab-fetch"
#define USER_FALLBACK "nobody"
#define MEMORY_DEFAULT (UINT64_C(512) << 20)
#define FILES_MAX 64
#define MESSAGE_END 'Z'
#define MESSAGE_ERROR 'E'

struct Worker {
        pid_t pid;
        int fd;
};

/* ---- messages ---- */

/* 1: the other side has closed, at the start of a message. */
static int read_all(int fd, void *data, size_t size, Error *reterr) {
        uint8_t *p = data;
        size_t done = 0;

        while (done < size) {
                ssize_t n = read(fd, p + done, size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot read from the worker");
                if (n == 0)
                        return done == 0 ? 1 : error_set(reterr, EPROTO, REFUSAL_SYSTEM, "a message breaks off");
                done += (size_t) n;
        }
        return 0;
}

/* To one that has died this is an error, not a signal that would end the job without a word. */
static int send_all(int fd, const void *data, size_t size, Error *reterr) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t n = send(fd, p, size, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot write to the worker");
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

int message_send(int fd, char type, const void *data, size_t size, Error *reterr) {
        uint8_t header[5];
        uint32_t length;
        int r;

        if (size > WORKER_MESSAGE_MAX)
                return error_set(reterr, EMSGSIZE, REFUSAL_TOO_LARGE, "a message of %zu bytes is too long", size);
        length = htole32((uint32_t) size);
        memcpy(header, &length, 4);
        header[4] = (uint8_t) type;
        r = send_all(fd, header, sizeof header, reterr);
        if (r >= 0 && size > 0)
                r = send_all(fd, data, size, reterr);
        return r;
}

int message_receive(int fd, char *ret_type, Buffer *ret, Error *reterr) {
        uint8_t header[5];
        uint32_t length;
        int r;

        r = read_all(fd, header, sizeof header, reterr);
        if (r != 0)
                return r;
        memcpy(&length, header, 4);
        length = le32toh(length);
        if (length > WORKER_MESSAGE_MAX)
                return error_set(reterr, EMSGSIZE, REFUSAL_TOO_LARGE, "a message of %" PRIu32 " bytes is too long",
                                 length);
        ret->size = 0;
        if (ret->allocated < (size_t) length + 1) {
                ret->allocated = (size_t) length + 1;
                ret->data = xrealloc(ret->data, ret->allocated, 1);
        }
        r = read_all(fd, ret->data, length, reterr);
        if (r > 0 && length > 0)
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "a message breaks off");
        if (r < 0)
                return r;
        ret->size = length;
        ret->data[length] = 0;
        *ret_type = (char) header[4];
        return 0;
}

/* ---- the child's walls ---- */

static int drop_user(const WorkerOptions *opt, Error *reterr) {
        const struct passwd *p;

        if (geteuid() != 0)
                return 0;
        p = opt->user ? getpwnam(opt->user) : getpwnam(USER_DEFAULT);
        if (!p && !opt->user)
                p = getpwnam(USER_FALLBACK);
        if (!p || p->pw_uid == 0)
                return error_set(reterr, ENOENT, REFUSAL_MACHINE, "there is no user %s for the worker",
                                 opt->user ?: USER_DEFAULT);
        if (setgroups(0, NULL) < 0 || setresgid(p->pw_gid, p->pw_gid, p->pw_gid) < 0 ||
            setresuid(p->pw_uid, p->pw_uid, p->pw_uid) < 0)
                return error_errno(reterr, errno, "cannot become the user %s", p->pw_name);
        return 0;
}

static void limit(int resource, uint64_t value) {
        struct rlimit l = { .rlim_cur = value, .rlim_max = value };

        (void) setrlimit(resource, &l);
}

static void limit_resources(const WorkerOptions *opt) {
        limit(RLIMIT_CORE, 0);
        limit(RLIMIT_FSIZE, 0);
        limit(RLIMIT_NOFILE, FILES_MAX);
#if !defined(__SANITIZE_ADDRESS__)
        /* Its shadow memory is a multiple of any sensible limit. */
        limit(RLIMIT_AS, opt->memory_max > 0 ? opt->memory_max : MEMORY_DEFAULT);
#endif
}

static void allow_reading(int ruleset, const char *path) {
        _cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr rule = { .allowed_access =
                                                           LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
                                                   .parent_fd = fd };
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return;
        /* Rights that only folders have are an error for anything else. */
        if (!S_ISDIR(st.st_mode))
                rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
        (void) syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* landlock(7). A kernel without it leaves the other walls standing: the user owns nothing and the file size limit is 0.
 */
static int restrict_files(const WorkerOptions *opt, Error *reterr) {
        static const char *const readable[] = { "/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve" };
        struct landlock_ruleset_attr attr = { .handled_access_fs =
                                                      LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                                      LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                                                      LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                                                      LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                                      LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                                                      LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                                                      LANDLOCK_ACCESS_FS_MAKE_SYM };
        _cleanup_close_ int ruleset = (int) syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);

        if (ruleset < 0) {
                log_debug("no Landlock in this kernel: %s", strerror(errno));
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(readable); i++)
                allow_reading(ruleset, readable[i]);
        STRV_FOREACH (path, opt->readable)
                allow_reading(ruleset, *path);
        if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
                return error_errno(reterr, errno, "cannot restrict the worker's files");
        return 0;
}

static void seccomp_releasep(scmp_filter_ctx *c) {
        if (*c)
                seccomp_release(*c);
}

/* What neither curl nor a resolver nor a parser needs and an intruder would. Allowing by list would break with each C
 * library. */
static int restrict_calls(const WorkerOptions *opt, Error *reterr) {
        static const int denied[] = {
                SCMP_SYS(execve),
                SCMP_SYS(execveat),
                SCMP_SYS(fork),
                SCMP_SYS(vfork),
                SCMP_SYS(ptrace),
                SCMP_SYS(process_vm_readv),
                SCMP_SYS(process_vm_writev),
                SCMP_SYS(kcmp),
                SCMP_SYS(mount),
                SCMP_SYS(umount2),
                SCMP_SYS(pivot_root),
                SCMP_SYS(chroot),
                SCMP_SYS(move_mount),
                SCMP_SYS(open_tree),
                SCMP_SYS(fsopen),
                SCMP_SYS(fsmount),
                SCMP_SYS(unshare),
                SCMP_SYS(setns),
                SCMP_SYS(bpf),
                SCMP_SYS(perf_event_open),
                SCMP_SYS(keyctl),
                SCMP_SYS(add_key),
                SCMP_SYS(request_key),
                SCMP_SYS(userfaultfd),
                SCMP_SYS(init_module),
                SCMP_SYS(finit_module),
                SCMP_SYS(delete_module),
                SCMP_SYS(kexec_load),
                SCMP_SYS(kexec_file_load),
                SCMP_SYS(reboot),
                SCMP_SYS(swapon),
                SCMP_SYS(swapoff),
                SCMP_SYS(io_uring_setup),
                SCMP_SYS(io_uring_enter),
                SCMP_SYS(io_uring_register),
                SCMP_SYS(personality),
                SCMP_SYS(setuid),
                SCMP_SYS(setresuid),
                SCMP_SYS(setgid),
                SCMP_SYS(setresgid),
                SCMP_SYS(setgroups),
                SCMP_SYS(capset),
                SCMP_SYS(open_by_handle_at),
                SCMP_SYS(quotactl),
                SCMP_SYS(bind),
                SCMP_SYS(listen),
                SCMP_SYS(accept),
                SCMP_SYS(accept4),
                SCMP_SYS(shmget),
                SCMP_SYS(msgget),
                SCMP_SYS(semget),
                SCMP_SYS(syslog),
                SCMP_SYS(settimeofday),
                SCMP_SYS(clock_settime),
                SCMP_SYS(clock_adjtime),
                SCMP_SYS(adjtimex),
        };
        static const int network[] = { SCMP_SYS(socket), SCMP_SYS(connect) };
        _cleanup_(seccomp_releasep) scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);
        int r = c ? 0 : -ENOMEM;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(denied); i++) {
                /* The resolver binds netlink and datagram sockets of its own. */
                if (opt->network && denied[i] == SCMP_SYS(bind))
                        continue;
                r = seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
                if (r == -EDOM || r == -EFAULT)
                        r = 0; /* not a call of this architecture */
        }
        for (size_t i = 0; r >= 0 && !opt->network && i < ELEMENTSOF(network); i++)
                r = seccomp_rule_add(c, SCMP_ACT_ERRNO(EACCES), network[i], 0);
        if (r >= 0)
                r = seccomp_load(c);
        if (r < 0)
                return error_errno(reterr, r, "cannot restrict the worker's system calls");
        return 0;
}

static int build_walls(const WorkerOptions *opt, Error *reterr) {
        int r;

        /* Names of users are looked up before files are out of reach. */
        r = drop_user(opt, reterr);
        if (r < 0)
                return r;
        (void) prctl(PR_SET_DUMPABLE, 0);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_errno(reterr, errno, "cannot give up new privileges");
        limit_resources(opt);
        r = restrict_files(opt, reterr);
        if (r >= 0)
                r = restrict_calls(opt, reterr);
        return r;
}

/* The kernel forgets it when the user changes. */
static void die_with(pid_t parent) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
}

_noreturn_ static void child_main(const WorkerOptions *opt, int (*body)(int, void *, Error *), void *userdata, int fd,
                                  pid_t parent) {
        _cleanup_error_ Error e = {};
        sigset_t none;
        int r;

        die_with(parent);
        for (int sig = 1; sig < NSIG; sig++)
                (void) signal(sig, SIG_DFL);
        (void) signal(SIGPIPE, SIG_IGN);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        if (fd != 3 && (dup2(fd, 3) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) < 0))
                _exit(1);
        (void) syscall(SYS_close_range, 4U, ~0U, 0);
        r = build_walls(opt, &e);
        die_with(parent);
        if (r >= 0)
                r = body(3, userdata, &e);
        if (r < 0) {
                _cleanup_free_ char *line = error_to_line(&e);

                (void) message_send(3, MESSAGE_ERROR, line, strlen(line), NULL);
                _exit(1);
        }
        (void) message_send(3, MESSAGE_END, NULL, 0, NULL);
        _exit(0);
}

/* ---- the parent's side ---- */

int worker_start(const WorkerOptions *opt, int (*body)(int socket_fd, void *userdata, Error *reterr), void *userdata,
                 Worker **ret, Error *reterr) {
        static const WorkerOptions defaults = {};
        pid_t parent = getpid();
        Worker *w;
        int fds[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return error_errno(reterr, errno, "cannot make a socket");
        fflush(NULL);
        pid = fork();
        if (pid < 0) {
                int code = errno;

                safe_close(fds[0]);
                safe_close(fds[1]);
                return error_errno(reterr, code, "cannot start a worker");
        }
        if (pid == 0)
                child_main(opt ?: &defaults, body, userdata, fds[1], parent);
        safe_close(fds[1]);
        w = xnew(Worker, 1);
        *w = (Worker){ .pid = pid, .fd = fds[0] };
        *ret = w;
        return 0;
}

int worker_fd(const Worker *w) {
        return w->fd;
}

static int reap(Worker *w) {
        int status = 0;

        while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
                ;
        w->pid = 0;
        return status;
}

int worker_receive(Worker *w, char *ret_type, Buffer *ret, Error *reterr) {
        char type = 0;
        int r, status;

        r = message_receive(w->fd, &type, ret, reterr);
        if (r < 0)
                return r;
        if (r > 0) {
                status = reap(w);
                if (WIFSIGNALED(status))
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker was ended by signal %d (%s)",
                                         WTERMSIG(status), strsignal(WTERMSIG(status)));
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker went away without a word");
        }
        if (type == MESSAGE_ERROR)
                return error_from_line(ret->data, reterr);
        if (type == MESSAGE_END)
                return 1;
        *ret_type = type;
        return 0;
}

int worker_send(Worker *w, char type, const void *data, size_t size, Error *reterr) {
        return message_send(w->fd, type, data, size, reterr);
}

Worker *worker_free(Worker *w) {
        if (!w)
                return NULL;
        safe_close(w->fd);
        if (w->pid > 0) {
                (void) kill(w->pid, SIGKILL);
                (void) reap(w);
        }
        free(w);
        return NULL;
}
