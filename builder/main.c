/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two processes. The one that the user started only waits; its child does the work. So whatever ends the work (an
 * error, Ctrl-C, a crash), somebody is left to remove the temporary folder, and no clean-up has to run inside a signal
 * handler. */

#include <dirent.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "io.h"
#include "json.h"
#include "log.h"
#include "verbs.h"

static void report(const Error *e) {
        if (verbs_want_json()) {
                _cleanup_json_ json_t *o =
                        json_pack("{s:s, s:s}", "error", refusal_name(e->id), "message", e->message ?: "");
                _cleanup_free_ char *line = NULL;

                if (e->hint)
                        json_object_set_new(o, "hint", json_string(e->hint));
                line = json_format_line(o);
                puts(line);
                return;
        }
        log_error("%s", e->message ?: "failed");
        if (e->hint)
                fprintf(stderr, "%s\n", e->hint);
}

static int work(const VerbSpec *verb, char *const *arguments) {
        _cleanup_error_ Error e = {};
        int r;

        r = verb->run(arguments, &e);
        if (r < 0) {
                report(&e);
                return refusal_exit_status(e.id) ?: 1;
        }
        return r;
}

static pid_t start_worker(const VerbSpec *verb, char *const *arguments, const sigset_t *old_mask) {
        pid_t parent = getpid(), pid;

        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                int status;

                (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
                (void) sigprocmask(SIG_SETMASK, old_mask, NULL);
                if (getppid() != parent)
                        _exit(1);
                status = work(verb, arguments);
                fflush(NULL);
                _exit(status);
        }
        return pid;
}

/* Waits for the worker and hands signals on to it; returns the exit status that the user should see. */
static int wait_for_worker(pid_t pid, const sigset_t *waited) {
        int status, signal_seen = 0;

        for (;;) {
                siginfo_t info;
                int sig = sigwaitinfo(waited, &info);

                if (sig == SIGCHLD && waitpid(pid, &status, WNOHANG) == pid)
                        break;
                if (sig == SIGINT || sig == SIGTERM || sig == SIGHUP) {
                        signal_seen = sig;
                        /* From a terminal the worker has it already; a second one does no harm. */
                        (void) kill(pid, sig);
                }
        }
        if (WIFEXITED(status))
                return WEXITSTATUS(status);
        if (signal_seen)
                return 128 + signal_seen;
        log_error("stopped by signal %d", WTERMSIG(status));
        return 128 + WTERMSIG(status);
}

/* ---- the temporary folder -------------------------------------------------------------------------------- */

/* Younger ones may belong to a process that has not locked its folder yet. */
#define ABANDONED_AGE 60

static bool is_abandoned(int parent_fd, const char *name) {
        _cleanup_close_ int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        return fd >= 0 && fstat(fd, &st) >= 0 && st.st_uid == geteuid() && st.st_mtime + ABANDONED_AGE < time(NULL) &&
               flock(fd, LOCK_EX | LOCK_NB) >= 0;
}

/* Whoever kills the supervisor as well leaves its folder behind, with files of an ESP's size. The lock on the folder
 * went with the last of its processes. */
static void remove_abandoned(const char *temporary) {
        _cleanup_free_ char *parent = path_dirname(temporary);
        DIR *d = opendir(parent);
        struct dirent *entry;

        while (d && (entry = readdir(d)))
                if (startswith(entry->d_name, "sealab-run-") && !streq(entry->d_name, path_basename(temporary)) &&
                    is_abandoned(dirfd(d), entry->d_name))
                        (void) io_remove_tree(dirfd(d), entry->d_name, NULL);
        if (d)
                closedir(d);
}

static int make_temporary(char **ret_path, int *ret_lock, Error *reterr) {
        int r;

        r = io_temporary_folder("run", ret_path, reterr);
        if (r < 0)
                return r;
        /* Inherited by the worker: held until the last of the two is gone. */
        *ret_lock = open(*ret_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*ret_lock >= 0)
                (void) flock(*ret_lock, LOCK_EX | LOCK_NB);
        remove_abandoned(*ret_path);
        return 0;
}

static int supervise(const VerbSpec *verb, char *const *arguments) {
        _cleanup_free_ char *temporary = NULL;
        _cleanup_close_ int lock = -EBADF;
        _cleanup_error_ Error e = {};
        sigset_t waited, old_mask;
        int status;
        pid_t pid;

        if (make_temporary(&temporary, &lock, &e) < 0) {
                report(&e);
                return refusal_exit_status(e.id);
        }
        (void) setenv("TMPDIR", temporary, 1);
        sigemptyset(&waited);
        sigaddset(&waited, SIGCHLD);
        sigaddset(&waited, SIGINT);
        sigaddset(&waited, SIGTERM);
        sigaddset(&waited, SIGHUP);
        (void) sigprocmask(SIG_BLOCK, &waited, &old_mask);

        pid = start_worker(verb, arguments, &old_mask);
        if (pid < 0) {
                log_error("cannot start a process: %m");
                status = 1;
        } else
                status = wait_for_worker(pid, &waited);
        verbs_clean_up();
        (void) io_remove_tree(AT_FDCWD, temporary, NULL);
        return status;
}

int main(int argc, char **argv) {
        _cleanup_error_ Error e = {};
        _cleanup_strv_free_ char **arguments = NULL;
        const VerbSpec *verb = NULL;
        int r;

        r = options_parse(verbs_table(), argc, argv, &verb, &arguments, &e);
        if (r > 0)
                return 0;
        if (verbs_want_debug())
                log_set_level(LOG_LEVEL_DEBUG);
        else if (verbs_want_quiet())
                log_set_level(LOG_LEVEL_QUIET);
        if (r < 0) {
                report(&e);
                return refusal_exit_status(e.id);
        }
        return supervise(verb, arguments);
}
