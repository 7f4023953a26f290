/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <signal.h>

#include "local.h"
#include "manager.h"

typedef struct Local {
        sd_event *event;
        Manager *manager;
        void (*progress)(const char *, uint64_t, uint64_t, void *);
        void *userdata;
        ClientResult *result;
        bool asked;
} Local;

static void local_done(Local *l) {
        manager_free(l->manager);
        sd_event_unref(l->event);
}

static char *copy(const char *s) {
        return s ? xstrdup(s) : NULL;
}

static void on_end(const JobOutcome *o, void *userdata) {
        Local *l = userdata;

        *l->result = (ClientResult){ .result = xstrdup(o->result),
                                     .message = copy(o->message),
                                     .hint = copy(o->hint),
                                     .data = json_incref((json_t *) o->data) };
        (void) sd_event_exit(l->event, 0);
}

static void on_progress(uint64_t id, JobKind kind, const char *step, uint64_t done, uint64_t total, void *userdata) {
        const Local *l = userdata;

        if (l->progress)
                l->progress(step, done, total, l->userdata);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Local *l = userdata;

        /* The second one does not wait. */
        if (l->asked || manager_cancel(l->manager, NULL) < 0)
                return sd_event_exit(l->event, 1);
        l->asked = true;
        return 0;
}

static int watch_signals(Local *l, Error *reterr) {
        sigset_t signals;
        int r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &signals, NULL);
        r = sd_event_default(&l->event);
        if (r >= 0)
                r = sd_event_add_signal(l->event, NULL, SIGINT, on_signal, l);
        if (r >= 0)
                r = sd_event_add_signal(l->event, NULL, SIGTERM, on_signal, l);
        return r < 0 ? error_errno(reterr, r, "cannot watch signals") : 0;
}

int local_run(JobKind kind, char *const *arguments, char *const *extra,
              void (*progress)(const char *step, uint64_t done, uint64_t total, void *userdata), void *userdata,
              ClientResult *ret, Error *reterr) {
        _cleanup_(local_done) Local l = { .progress = progress, .userdata = userdata, .result = ret };
        ManagerObserver observer = { .progress = on_progress, .userdata = &l };
        _cleanup_free_ char *program = job_program();
        int r;

        if (geteuid() != 0) {
                error_set(reterr, EACCES, REFUSAL_KEY, "not allowed: only root may name a folder");
                return error_hint(reterr, "Put \"sudo\" before it.");
        }
        r = watch_signals(&l, reterr);
        if (r >= 0)
                r = manager_new(l.event, program, extra, &observer, &l.manager, reterr);
        if (r >= 0)
                r = manager_start(l.manager, kind, arguments, on_end, &l, NULL, reterr);
        if (r < 0)
                return r;
        r = sd_event_loop(l.event);
        if (r != 0)
                return error_set(reterr, ECANCELED, REFUSAL_CANCELLED, "not waiting any longer");
        return client_result_error(ret, reterr);
}
