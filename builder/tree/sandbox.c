/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The namespaces. Order matters and is dictated by the kernel: the user namespace first (everything after it is done
 * with the powers it gives), its ids written from outside, then mounts and the rest, then a second fork so that the
 * worker is process 1 of its pid namespace: when it ends, the kernel ends every daemon a maintainer script may have
 * left behind.
 *
 * The workspace is a tmpfs that becomes the root of the mount namespace; the host's tree moves to /host, read-only as a
 * whole. No folder is created on the host for this, so nothing can be left behind. */

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "io.h"
#include "log.h"
#include "process.h"
#include "sandbox.h"
#include "subids.h"

#define WORKSPACE "/work"
#define HOST "/host"
#define SANDBOX_SIGNALLED 128

const char *sandbox_mode_name(SandboxMode mode) {
        switch (mode) {
        case SANDBOX_ROOT:
                return "root";
        case SANDBOX_SUBIDS:
                return "subordinate ids";
        }
        return "unknown";
}

/* ---- can this machine do it? ----------------------------------------------------------------------------- */

/* Tries namespaces in a child, so that the caller's own stay as they are. Returns 0 or the errno of what failed. */
static int try_unshare(int flags) {
        pid_t pid = fork();
        int status;

        if (pid < 0)
                return errno;
        if (pid == 0)
                _exit(unshare(flags) < 0 ? errno & 0x7f : 0);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return errno;
        return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static int detect_user(Error *reterr) {
        _cleanup_free_ char *restricted = NULL;
        SubIds uids, gids;
        int e, r;

        e = try_unshare(CLONE_NEWUSER);
        if (e != 0) {
                error_set(reterr, e, REFUSAL_MACHINE,
                          "this machine does not let ordinary users make user namespaces: %s", strerror(e));
                if (io_read_file(AT_FDCWD, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 16, &restricted,
                                 NULL, NULL) >= 0 &&
                    *restricted == '1')
                        return error_hint(reterr,
                                          "AppArmor forbids it: as root run \"sysctl "
                                          "kernel.apparmor_restrict_unprivileged_userns=0\", or build as root.");
                return error_hint(reterr,
                                  "As root run \"sysctl kernel.unprivileged_userns_clone=1\" and \"sysctl "
                                  "user.max_user_namespaces=10000\"; in a container allow unshare(2); or build as "
                                  "root.");
        }
        r = subids_for_user("/etc/subuid", &uids, reterr);
        if (r >= 0)
                r = subids_for_user("/etc/subgid", &gids, reterr);
        if (r < 0)
                return r;
        if (access("/usr/bin/newuidmap", X_OK) < 0 || access("/usr/bin/newgidmap", X_OK) < 0) {
                error_set(reterr, ENOENT, REFUSAL_MACHINE, "newuidmap and newgidmap are missing");
                return error_hint(reterr, "Install the package uidmap.");
        }
        return 0;
}

int sandbox_detect(SandboxMode *ret, Error *reterr) {
        int e, r;

        if (geteuid() != 0) {
                r = detect_user(reterr);
                if (r < 0)
                        return r;
                *ret = SANDBOX_SUBIDS;
                return 0;
        }
        e = try_unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET);
        if (e != 0) {
                error_set(reterr, e, REFUSAL_MACHINE, "root cannot make namespaces here: %s", strerror(e));
                return error_hint(reterr,
                                  "Inside a container start it with CAP_SYS_ADMIN and without a seccomp profile that "
                                  "forbids unshare(2) and mount(2), or build as an ordinary user.");
        }
        *ret = SANDBOX_ROOT;
        return 0;
}

/* ---- becoming the sandbox -------------------------------------------------------------------------------- */

static int mount_here(const char *what, const char *where, const char *type, unsigned long flags, const char *data,
                      Error *reterr) {
        if (mount(what, where, type, flags, data) < 0) {
                int e = errno;

                error_errno(reterr, e, "cannot mount %s on %s", type ?: what, where);
                if (e == EPERM || e == EACCES)
                        error_hint(reterr, "\"sealab doctor\" tells what this machine forbids.");
                return -e;
        }
        return 0;
}

/* tmpfs over /tmp, then pivot: the tmpfs is the new root, the host (its own /tmp uncovered again) is below /host. */
static int enter_workspace(Error *reterr) {
        struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
        int r;

        r = mount_here(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL, reterr);
        if (r >= 0)
                r = mount_here("tmpfs", "/tmp", "tmpfs", MS_NODEV, "mode=0755,size=100%,nr_inodes=0", reterr);
        if (r < 0)
                return r;
        if (mkdir("/tmp/host", 0755) < 0 || mkdir("/tmp/work", 0755) < 0 || mkdir("/tmp/tmp", 01777) < 0)
                return error_errno(reterr, errno, "cannot prepare the workspace");
        if (syscall(SYS_pivot_root, "/tmp", "/tmp/host") < 0 || chdir("/") < 0)
                return error_errno(reterr, errno, "cannot enter the workspace");
        if (mount_setattr(AT_FDCWD, HOST, AT_RECURSIVE, &read_only, sizeof(read_only)) < 0)
                return error_errno(reterr, errno, "cannot make the host read-only inside the sandbox");
        return 0;
}

static int take_ids(SandboxMode mode, Error *reterr) {
        if (mode != SANDBOX_ROOT && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
                return error_errno(reterr, errno, "cannot become root of the user namespace");
        if (setgroups(0, NULL) < 0)
                return error_errno(reterr, errno, "cannot drop the supplementary groups");
        return 0;
}

static void close_above(int first) {
        (void) syscall(SYS_close_range, (unsigned) first, ~0U, 0U);
}

/* Process 1 of the sandbox. */
_noreturn_ static void worker_main(SandboxMode mode, SandboxFunc inside, void *userdata, int output_fd, int error_fd) {
        _cleanup_error_ Error e = {};
        Sandbox s = { .workspace = WORKSPACE, .output_fd = output_fd, .mode = mode };
        int r;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) umask(0);
        r = enter_workspace(&e);
        (void) umask(022);
        if (r >= 0) {
                s.workspace_fd = open(WORKSPACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = s.workspace_fd < 0 ? error_errno(&e, errno, "cannot open the workspace") : inside(&s, userdata, &e);
        }
        if (r < 0) {
                _cleanup_free_ char *line = error_to_line(&e);

                /* The parent reads the stream to its end before it looks for errors; a long one would fill the pipe. */
                safe_close(output_fd);
                (void) io_write_all(error_fd, line, strlen(line), NULL);
                _exit(1);
        }
        _exit(0);
}

/* A handler of the parent's would run in the children with their copy of its memory. */
static void reset_signals(void) {
        sigset_t none;

        for (int sig = 1; sig < NSIG; sig++)
                (void) signal(sig, SIG_DFL);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The first child: takes the user namespace, waits until its ids are written, then starts the worker and waits for it.
 */
_noreturn_ static void outer_main(SandboxMode mode, SandboxFunc inside, void *userdata, int ready_fd, int go_fd,
                                  int output_fd, int error_fd, pid_t parent) {
        _cleanup_error_ Error e = {};
        char byte;
        pid_t pid;
        int status, r = 0;

        reset_signals();
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        if (mode != SANDBOX_ROOT) {
                if (unshare(CLONE_NEWUSER) < 0)
                        r = error_errno(&e, errno, "cannot make a user namespace");
                if (r >= 0 && (write(ready_fd, "x", 1) != 1 || read(go_fd, &byte, 1) != 1))
                        _exit(1); /* the parent says why */
        }
        if (r >= 0)
                r = take_ids(mode, &e);
        /* Changing ids clears the death signal. */
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (r >= 0 && unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) < 0)
                r = error_errno(&e, errno, "cannot make namespaces");
        if (r >= 0) {
                pid = fork();
                if (pid == 0)
                        worker_main(mode, inside, userdata, output_fd, error_fd);
                if (pid < 0)
                        r = error_errno(&e, errno, "cannot start the sandbox");
        }
        if (r < 0) {
                _cleanup_free_ char *line = error_to_line(&e);

                (void) io_write_all(error_fd, line, strlen(line), NULL);
                _exit(1);
        }
        close_above(3);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        _exit(1);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : SANDBOX_SIGNALLED + WTERMSIG(status));
}

/* Ids 0-65535 inside are the subordinate ones; 65536 inside is the user, so that the user's own files (a store below a
 * private home folder) stay reachable. */
static int write_id_map(const char *tool, pid_t pid, const SubIds *ids, uid_t own, Error *reterr) {
        _cleanup_free_ char *p = xasprintf("%d", (int) pid), *start = xasprintf("%" PRIu64, ids->start),
                            *self = xasprintf("%u", (unsigned) own);
        char *argv[] = { (char *) tool,    p,    (char *) "0", start, (char *) "65536",
                         (char *) "65536", self, (char *) "1", NULL };
        int r;

        r = process_run(argv, NULL, NULL, NULL, reterr);
        if (r < 0) {
                if (reterr)
                        reterr->id = REFUSAL_MACHINE;
                error_prefix(reterr, "cannot map the subordinate ids");
                return error_hint(reterr,
                                  "Check that %s is setuid root (package uidmap) and that the lines in /etc/subuid and "
                                  "/etc/subgid are for this user.",
                                  tool);
        }
        return 0;
}

static int map_ids(pid_t pid, int ready_fd, int go_fd, Error *reterr) {
        SubIds uids, gids;
        char byte;
        int r;

        if (read(ready_fd, &byte, 1) != 1)
                return error_set(reterr, EIO, REFUSAL_MACHINE, "the sandbox did not start");
        r = subids_for_user("/etc/subuid", &uids, reterr);
        if (r >= 0)
                r = subids_for_user("/etc/subgid", &gids, reterr);
        if (r >= 0)
                r = write_id_map("newuidmap", pid, &uids, getuid(), reterr);
        if (r >= 0)
                r = write_id_map("newgidmap", pid, &gids, getgid(), reterr);
        if (r >= 0 && write(go_fd, "x", 1) != 1)
                r = error_errno(reterr, errno, "cannot start the sandbox");
        return r;
}

static void kill_and_waitp(pid_t *pid) {
        if (*pid > 0) {
                (void) kill(*pid, SIGKILL);
                while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
}

static int drain(int fd, void *userdata, Error *reterr) {
        char buffer[4096];
        ssize_t n;

        do
                n = read(fd, buffer, sizeof(buffer));
        while (n > 0 || (n < 0 && errno == EINTR));
        return 0;
}

static int make_pipe(int *ret_read, int *ret_write, Error *reterr) {
        int p[2];

        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(reterr, errno, "cannot make a pipe");
        *ret_read = p[0];
        *ret_write = p[1];
        return 0;
}

int sandbox_run(SandboxMode mode, SandboxFunc inside, SandboxReadFunc reader, void *userdata, Error *reterr) {
        _cleanup_(kill_and_waitp) pid_t pid = 0;
        _cleanup_close_ int ready_r = -EBADF, ready_w = -EBADF, go_r = -EBADF, go_w = -EBADF, out_r = -EBADF,
                            out_w = -EBADF, err_r = -EBADF, err_w = -EBADF;
        _cleanup_free_ char *line = NULL;
        _cleanup_error_ Error read_error = {};
        pid_t parent = getpid();
        int r, read_result, status;

        r = make_pipe(&ready_r, &ready_w, reterr);
        if (r >= 0)
                r = make_pipe(&go_r, &go_w, reterr);
        if (r >= 0)
                r = make_pipe(&out_r, &out_w, reterr);
        if (r >= 0)
                r = make_pipe(&err_r, &err_w, reterr);
        if (r < 0)
                return r;
        (void) fcntl(out_r, F_SETPIPE_SZ, 1 << 20); /* fewer switches for a stream of hundreds of megabytes */

        fflush(NULL);
        pid = fork();
        if (pid < 0)
                return error_errno(reterr, errno, "cannot start the sandbox");
        if (pid == 0) {
                /* The parent's ends must close here, or neither side would ever see the end of a stream. */
                safe_close(ready_r), safe_close(go_w), safe_close(out_r), safe_close(err_r);
                outer_main(mode, inside, userdata, ready_w, go_r, out_w, err_w, parent);
        }
        ready_w = safe_close(ready_w), go_r = safe_close(go_r), out_w = safe_close(out_w), err_w = safe_close(err_w);

        if (mode != SANDBOX_ROOT) {
                r = map_ids(pid, ready_r, go_w, reterr);
                if (r < 0)
                        return r;
        }
        read_result = (reader ?: drain)(out_r, userdata, &read_error);
        out_r = safe_close(out_r);
        r = io_read_fd(err_r, 1 << 20, &line, NULL, reterr);
        if (r < 0)
                return r;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_errno(reterr, errno, "cannot wait for the sandbox");
        pid = 0;
        /* What went wrong inside comes first: a reader that fails then fails because of it. But a broken pipe inside
         * only means that the reader gave up before. */
        if (*line) {
                r = error_from_line(line, reterr);
                return r == -EPIPE && read_result < 0 ? error_move(reterr, &read_error) : r;
        }
        /* SANDBOX_SIGNALLED + n: the worker died of signal n. */
        if (WIFEXITED(status) && WEXITSTATUS(status) > SANDBOX_SIGNALLED)
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "the sandbox was stopped by signal %d (%s)",
                                 WEXITSTATUS(status) - SANDBOX_SIGNALLED,
                                 strsignal(WEXITSTATUS(status) - SANDBOX_SIGNALLED));
        if (read_result < 0)
                return error_move(reterr, &read_error);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return error_set(reterr, EIO, REFUSAL_SYSTEM,
                                 "the sandbox ended without a result (killed, or out of memory)");
        return 0;
}

/* ---- for use inside -------------------------------------------------------------------------------------- */

int sandbox_bind_read_only(Sandbox *s, const char *host_path, const char *inside_path, Error *reterr) {
        _cleanup_free_ char *from = xasprintf(HOST "%s", host_path);
        struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
        int r;

        if (mkdir(inside_path, 0755) < 0 && errno != EEXIST)
                return error_errno(reterr, errno, "cannot create %s", inside_path);
        r = mount_here(from, inside_path, NULL, MS_BIND | MS_REC, NULL, reterr);
        if (r < 0)
                return r;
        if (mount_setattr(AT_FDCWD, inside_path, AT_RECURSIVE, &read_only, sizeof(read_only)) < 0)
                return error_errno(reterr, errno, "cannot make %s read-only", inside_path);
        return 0;
}

static int make_devices(const char *dev, Error *reterr) {
        static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty" };
        static const struct {
                const char *name, *target;
        } links[] = {
                { "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
                { "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
        };
        int r;

        r = mount_here("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=0755,size=1M", reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(devices); i++) {
                _cleanup_free_ char *from = path_join(HOST "/dev", devices[i]), *to = path_join(dev, devices[i]);
                _cleanup_close_ int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

                if (fd < 0)
                        return error_errno(reterr, errno, "cannot create %s", to);
                r = mount_here(from, to, NULL, MS_BIND, NULL, reterr);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTSOF(links); i++) {
                _cleanup_free_ char *to = path_join(dev, links[i].name);

                if (symlink(links[i].target, to) < 0)
                        return error_errno(reterr, errno, "cannot create %s", to);
        }
        _cleanup_free_ char *pts = path_join(dev, "pts"), *shm = path_join(dev, "shm");
        if (mkdir(pts, 0755) < 0 || mkdir(shm, 0755) < 0 || chmod(shm, 01777) < 0)
                return error_errno(reterr, errno, "cannot prepare %s", dev);
        return mount_here("devpts", pts, "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620",
                          reterr);
}

int sandbox_prepare_root(Sandbox *s, const char *root, Error *reterr) {
        static const char *const folders[] = { "proc", "dev", "sys", "tmp", "run" };
        _cleanup_free_ char *proc = path_join(root, "proc"), *dev = path_join(root, "dev"),
                            *run = path_join(root, "run"), *tmp = path_join(root, "tmp");
        int r;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = path_join(root, folders[i]);

                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return error_errno(reterr, errno, "cannot create %s", path);
        }
        r = make_devices(dev, reterr);
        if (r < 0)
                return r;
        /* A container that hides parts of its own /proc may not mount a fresh one; the visible one serves as well. */
        if (mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
                r = mount_here(HOST "/proc", proc, NULL, MS_BIND | MS_REC, NULL, reterr);
                if (r < 0)
                        return r;
        }
        r = mount_here("tmpfs", run, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755", reterr);
        if (r >= 0)
                r = mount_here("tmpfs", tmp, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777", reterr);
        return r;
}

/* A mount namespace of its own, with the host cut off, so that a script that climbs out of its root finds nothing
 * there. */
static int enter_root(const char *root) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(root) < 0 ||
            syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return -1;
        return 0;
}

_noreturn_ static void command_main(const SandboxCommand *c, int in, int out) {
        _cleanup_free_ char *epoch = xasprintf("SOURCE_DATE_EPOCH=%" PRIi64, c->epoch);
        char **env = NULL;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (enter_root(c->root) < 0 || (c->cwd && chdir(c->cwd) < 0) || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
            dup2(out, 2) < 0) {
                dprintf(out, "cannot enter %s: %m\n", c->root);
                _exit(127);
        }
        close_above(3);
        strv_extend(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        strv_extend(&env, "HOME=/root");
        strv_extend(&env, "TERM=dumb");
        strv_extend(&env, "LC_ALL=C.UTF-8");
        strv_extend(&env, "TZ=UTC");
        strv_extend(&env, "DEBIAN_FRONTEND=noninteractive");
        strv_extend(&env, "DEBCONF_NONINTERACTIVE_SEEN=true");
        strv_extend(&env, epoch);
        strv_extend_strv(&env, c->extra_env);
        (void) umask(022);
        execvpe(c->argv[0], c->argv, env);
        dprintf(1, "cannot run %s: %m\n", c->argv[0]);
        _exit(127);
}

static void give_lines(const SandboxCommand *c, Buffer *pending, const char *data, size_t size) {
        if (!c->line)
                return;
        for (size_t i = 0; i < size; i++)
                if (data[i] == '\n') {
                        c->line(pending->data ?: "", c->userdata);
                        pending->size = 0;
                        if (pending->data)
                                *pending->data = 0;
                } else
                        buffer_append(pending, data + i, 1);
}

#define COMMAND_OUTPUT_MAX ((size_t) 32 << 20)

int sandbox_command(Sandbox *s, const SandboxCommand *c, char **ret_output, Error *reterr) {
        _cleanup_(kill_and_waitp) pid_t pid = 0;
        _cleanup_close_ int in = -EBADF, out_r = -EBADF, out_w = -EBADF;
        _cleanup_buffer_ Buffer output = {}, pending = {};
        int r, status;

        if (c->input) {
                r = io_tmpfile("/tmp", &in, reterr);
                if (r >= 0)
                        r = io_pwrite_all(in, c->input, strlen(c->input), 0, reterr);
                if (r < 0)
                        return r;
        } else if ((in = open(HOST "/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
                return error_errno(reterr, errno, "cannot open /dev/null");
        r = make_pipe(&out_r, &out_w, reterr);
        if (r < 0)
                return r;

        pid = fork();
        if (pid < 0)
                return error_errno(reterr, errno, "cannot start %s", c->argv[0]);
        if (pid == 0)
                command_main(c, in, out_w);
        out_w = safe_close(out_w);
        for (;;) {
                char chunk[16384];
                ssize_t n = read(out_r, chunk, sizeof(chunk));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        break;
                give_lines(c, &pending, chunk, (size_t) n);
                if (output.size + (size_t) n > COMMAND_OUTPUT_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOOL_FAILED, "%s printed more than %zu bytes",
                                         c->argv[0], COMMAND_OUTPUT_MAX);
                buffer_append(&output, chunk, (size_t) n);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_errno(reterr, errno, "cannot wait for %s", c->argv[0]);
        pid = 0;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                _cleanup_free_ char *tail = last_lines(output.data ?: "", 20);

                error_set(reterr, EIO, REFUSAL_TOOL_FAILED, "%s failed in the sandbox (%s %d)%s%s",
                          path_basename(c->argv[0]), WIFEXITED(status) ? "exit status" : "signal",
                          WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), *tail ? ":\n" : "", tail);
                if (ret_output)
                        *ret_output = buffer_steal(&output);
                return -EIO;
        }
        if (ret_output)
                *ret_output = buffer_steal(&output);
        return 0;
}
