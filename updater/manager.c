/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "log.h"
#include "manager.h"

/* A line of a job: history of 200 attempts, offers of a channel. */
#define LINE_MAX_SIZE ((size_t) 16 << 20)

typedef struct Job Job;
struct Job {
        Manager *manager;
        Job *next;
        uint64_t id;
        JobKind kind;
        pid_t pid;
        int fd;
        sd_event_source *io, *child;
        Buffer output;
        json_t *last; /* the result's line */
        bool cancelled, reaped, closed;
        char *step;
        uint64_t done, total;
        void (*waiter)(const JobOutcome *, void *);
        void *userdata;
};

struct Manager {
        sd_event *event;
        char *program;
        char **extra;
        ManagerObserver observer;
        Job *jobs;
        uint64_t last_id;
};

static void job_free(Job *j) {
        if (j->pid > 0 && !j->reaped) {
                (void) kill(j->pid, SIGKILL);
                (void) waitpid(j->pid, NULL, 0);
        }
        sd_event_source_disable_unref(j->io);
        sd_event_source_disable_unref(j->child);
        safe_close(j->fd);
        buffer_done(&j->output);
        json_decref(j->last);
        free(j->step);
        free(j);
}

static void unlink_job(Manager *m, Job *j) {
        for (Job **p = &m->jobs; *p; p = &(*p)->next)
                if (*p == j) {
                        *p = j->next;
                        return;
                }
}

/* ---- ends ---- */

static void finish(Job *j) {
        Manager *m = j->manager;
        const json_t *o = j->last;
        JobOutcome outcome = { .kind = j->kind, .id = j->id };

        if (j->cancelled) {
                outcome.result = refusal_name(REFUSAL_CANCELLED);
                outcome.message = "it was stopped; what was done so far is kept";
        } else if (json_is_string(json_object_get(o, "result"))) {
                outcome.result = json_string_value(json_object_get(o, "result"));
                outcome.message = json_string_value(json_object_get(o, "message"));
                outcome.hint = json_string_value(json_object_get(o, "hint"));
                outcome.data = json_object_get(o, "data");
        } else {
                outcome.result = refusal_name(REFUSAL_SYSTEM);
                outcome.message = "the job ended without a result; the journal says more";
        }
        unlink_job(m, j);
        if (j->waiter)
                j->waiter(&outcome, j->userdata);
        if (m->observer.finished)
                m->observer.finished(&outcome, m->observer.userdata);
        if (!m->jobs && m->observer.idle)
                m->observer.idle(true, m->observer.userdata);
        job_free(j);
}

/* Output and process end in either order; the job is over when both have. */
static void maybe_finish(Job *j) {
        if (j->reaped && j->closed)
                finish(j);
}

/* ---- output ---- */

static void take_line(Job *j, const char *line, size_t size) {
        const ManagerObserver *o = &j->manager->observer;
        _cleanup_json_ json_t *v = NULL;
        const char *step;

        if (json_parse(line, size, "job", &v, NULL) < 0)
                return;
        step = json_string_value(json_object_get(v, "step"));
        if (!step) {
                json_decref(j->last);
                j->last = json_incref(v);
                return;
        }
        free(j->step);
        j->step = xstrdup(step);
        j->done = (uint64_t) json_integer_value(json_object_get(v, "done"));
        j->total = (uint64_t) json_integer_value(json_object_get(v, "total"));
        if (o->progress)
                o->progress(j->id, j->kind, j->step, j->done, j->total, o->userdata);
}

static void take_lines(Job *j) {
        size_t begin = 0;

        for (;;) {
                char *end = memchr(j->output.data + begin, '\n', j->output.size - begin);

                if (!end)
                        break;
                take_line(j, j->output.data + begin, (size_t) (end - j->output.data) - begin);
                begin = (size_t) (end - j->output.data) + 1;
        }
        memmove(j->output.data, j->output.data + begin, j->output.size - begin);
        j->output.size -= begin;
}

/* False: there is nothing more to read, for now or for ever. */
static bool read_piece(Job *j) {
        char piece[65536];
        ssize_t n;

        do
                n = read(j->fd, piece, sizeof piece);
        while (n < 0 && errno == EINTR);
        if (n > 0 && j->output.size + (size_t) n <= LINE_MAX_SIZE) {
                buffer_append(&j->output, piece, (size_t) n);
                take_lines(j);
                return true;
        }
        if (n < 0 && errno == EAGAIN)
                return false;
        if (n > 0)
                log_warning("a job says more than it may; the rest is not read");
        j->closed = true;
        return false;
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Job *j = userdata;

        (void) read_piece(j);
        if (j->closed)
                (void) sd_event_source_set_enabled(j->io, SD_EVENT_OFF);
        maybe_finish(j);
        return 0;
}

static int on_child(sd_event_source *source, const siginfo_t *si, void *userdata) {
        Job *j = userdata;

        j->reaped = true;
        if (si->si_code != CLD_EXITED)
                log_warning("job %s was ended by signal %d", job_kind_name(j->kind), si->si_status);
        /* All it had to say is in the pipe. Something that it started may still hold the other end. */
        while (!j->closed && read_piece(j))
                ;
        j->closed = true;
        maybe_finish(j);
        return 0;
}

/* ---- start ---- */

_noreturn_ static void child_main(const Manager *m, JobKind kind, char *const *arguments, int output, pid_t parent) {
        _cleanup_strv_free_ char **argv = NULL;
        sigset_t none;

        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(1);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(output, STDOUT_FILENO) < 0)
                _exit(1);
        (void) syscall(SYS_close_range, 3U, ~0U, 0);
        strv_extend(&argv, m->program);
        strv_extend(&argv, job_kind_name(kind));
        strv_extend_strv(&argv, m->extra);
        strv_extend_strv(&argv, arguments);
        execv(m->program, argv);
        _exit(1);
}

static bool is_busy(const Manager *m, JobKind kind) {
        size_t working = 0, reading = 0;

        for (const Job *j = m->jobs; j; j = j->next)
                if (job_kind_only_reads(j->kind))
                        reading++;
                else
                        working++;
        return job_kind_only_reads(kind) ? reading >= MANAGER_READERS_MAX : working > 0;
}

static int watch(Job *j, Error *reterr) {
        int r = sd_event_add_io(j->manager->event, &j->io, j->fd, EPOLLIN, on_output, j);

        if (r >= 0)
                r = sd_event_add_child(j->manager->event, &j->child, j->pid, WEXITED, on_child, j);
        return r < 0 ? error_errno(reterr, r, "cannot watch the job") : 0;
}

int manager_start(Manager *m, JobKind kind, char *const *arguments,
                  void (*waiter)(const JobOutcome *outcome, void *userdata), void *userdata, uint64_t *ret_id,
                  Error *reterr) {
        bool was_idle = !m->jobs;
        pid_t parent = getpid();
        int fds[2], r;
        Job *j;

        if (is_busy(m, kind))
                return error_set(reterr, EBUSY, REFUSAL_BUSY, "the updater is at work on something else");
        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return error_errno(reterr, errno, "cannot make a pipe");
        j = xnew(Job, 1);
        *j = (Job){
                .manager = m, .id = ++m->last_id, .kind = kind, .fd = fds[0], .waiter = waiter, .userdata = userdata
        };
        j->pid = fork();
        if (j->pid == 0)
                child_main(m, kind, arguments, fds[1], parent);
        safe_close(fds[1]);
        r = j->pid < 0 ? error_errno(reterr, errno, "cannot start a job") : watch(j, reterr);
        if (r < 0) {
                job_free(j);
                return r;
        }
        j->next = m->jobs;
        m->jobs = j;
        if (was_idle && m->observer.idle)
                m->observer.idle(false, m->observer.userdata);
        if (ret_id)
                *ret_id = j->id;
        return 0;
}

static Job *working_job(const Manager *m) {
        for (Job *j = m->jobs; j; j = j->next)
                if (!job_kind_only_reads(j->kind))
                        return j;
        return NULL;
}

int manager_cancel(Manager *m, Error *reterr) {
        Job *j = working_job(m);

        if (!j)
                return error_set(reterr, ESRCH, REFUSAL_NOT_FOUND, "the updater is not at work");
        j->cancelled = true;
        (void) kill(j->pid, SIGTERM);
        return 0;
}

bool manager_working(const Manager *m, uint64_t *ret_id, JobKind *ret_kind, const char **ret_step, uint64_t *ret_done,
                     uint64_t *ret_total) {
        const Job *j = working_job(m);

        if (!j)
                return false;
        *ret_id = j->id;
        *ret_kind = j->kind;
        *ret_step = j->step ?: "";
        *ret_done = j->done;
        *ret_total = j->total;
        return true;
}

int manager_new(sd_event *event, const char *program, char *const *extra, const ManagerObserver *observer,
                Manager **ret, Error *reterr) {
        Manager *m;
        sigset_t child;

        /* What sd-event wants before it watches processes. */
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &child, NULL) < 0)
                return error_errno(reterr, errno, "cannot block SIGCHLD");
        m = xnew(Manager, 1);
        *m = (Manager){ .event = sd_event_ref(event), .program = xstrdup(program), .extra = strv_copy(extra) };
        if (observer)
                m->observer = *observer;
        *ret = m;
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        while (m->jobs) {
                Job *j = m->jobs;

                m->jobs = j->next;
                job_free(j);
        }
        sd_event_unref(m->event);
        free(m->program);
        strv_free(m->extra);
        free(m);
        return NULL;
}
