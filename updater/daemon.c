/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sealabd: started by the bus when somebody asks something, gone when there is nothing left to do. */

#include <malloc.h>
#include <signal.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "bus.h"
#include "job.h"
#include "log.h"
#include "manager.h"

#define IDLE_SEC 30

static const char help[] =
        "sealabd\n"
        "        keeps a machine's /usr up to date. Started by the system bus; sealabctl talks to it.\n"
        "\n"
        "sealabd job KIND [ARGUMENT] [OPTION...]\n"
        "        one piece of work, without the bus: for rescue and tests; see sealabd(8).\n"
        "        KIND: check update auto revert pin unpin verify settle status history config drift\n"
        "              reset-drift factory-reset\n"
        "\n"
        "  --user          offers itself on the user's bus (for tests)\n"
        "  --stay          does not leave when idle\n"
        "  --job-option O  one more option for every job (for tests)\n"
        "  --help --version\n";

typedef struct Daemon {
        sd_event *event;
        sd_bus *bus;
        sd_event_source *idle;
        BusFace *face;
        Manager *manager;
        char **extra; /* for every job */
        bool stay, user;
} Daemon;

static void daemon_done(Daemon *d) {
        manager_free(d->manager);
        bus_face_free(d->face);
        sd_event_source_disable_unref(d->idle);
        sd_bus_flush_close_unref(d->bus);
        sd_event_unref(d->event);
        strv_free(d->extra);
}

/* ---- leaving ---- */

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *d = userdata;

        /* Whoever asks from now on starts the next one: the name goes first, then the queue is emptied. */
        (void) sd_notify(0, "STOPPING=1");
        (void) sd_bus_release_name(d->bus, UPDATER_BUS_NAME);
        return sd_event_exit(d->event, 0);
}

static void set_idle(bool idle, void *userdata) {
        Daemon *d = userdata;

        if (d->stay || !d->idle)
                return;
        if (idle)
                (void) sd_event_source_set_time_relative(d->idle, IDLE_SEC * UINT64_C(1000000));
        (void) sd_event_source_set_enabled(d->idle, idle ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        (void) sd_notify(0, idle ? "STATUS=Idle" : "STATUS=Working");
}

static void on_last_job(bool idle, void *userdata) {
        /* What a crowd of callers or a long answer took is not kept while nobody asks. */
        if (idle)
                (void) malloc_trim(0);
        set_idle(idle, userdata);
}

static void on_progress(uint64_t id, JobKind kind, const char *step, uint64_t done, uint64_t total, void *userdata) {
        const Daemon *d = userdata;

        bus_face_progress(id, kind, step, done, total, d->face);
        if (total > 0)
                (void) sd_notifyf(0, "STATUS=%s: %s %u%%", job_kind_name(kind), step, (unsigned) (done * 100 / total));
}

static void on_finished(const JobOutcome *o, void *userdata) {
        const Daemon *d = userdata;

        bus_face_finished(o, d->face);
        if (!job_kind_only_reads(o->kind))
                log_info("%s: %s%s%s", job_kind_name(o->kind), o->result, o->message ? ": " : "", o->message ?: "");
}

/* Any message keeps it here a while longer. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Daemon *d = userdata;
        uint64_t id, done, total;
        const char *step;
        JobKind kind;

        if (!manager_working(d->manager, &id, &kind, &step, &done, &total))
                set_idle(true, d);
        return 0;
}

/* ---- starting ---- */

static int set_up_loop(Daemon *d, Error *reterr) {
        sigset_t signals;
        int r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &signals, NULL);
        r = sd_event_default(&d->event);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_set_watchdog(d->event, true);
        if (r >= 0)
                r = sd_event_add_time_relative(d->event, &d->idle, CLOCK_MONOTONIC, IDLE_SEC * UINT64_C(1000000),
                                               1000000, on_idle, d);
        if (r >= 0 && d->stay)
                r = sd_event_source_set_enabled(d->idle, SD_EVENT_OFF);
        return r < 0 ? error_errno(reterr, r, "cannot set up the event loop") : 0;
}

static int set_up_bus(Daemon *d, Error *reterr) {
        ManagerObserver observer = {
                .progress = on_progress, .finished = on_finished, .idle = on_last_job, .userdata = d
        };
        _cleanup_free_ char *program = job_program();
        int r;

        r = d->user ? sd_bus_open_user(&d->bus) : sd_bus_open_system(&d->bus);
        if (r < 0)
                return error_errno(reterr, r, "cannot connect to the bus");
        r = sd_bus_add_filter(d->bus, NULL, on_message, d);
        if (r < 0)
                return error_errno(reterr, r, "cannot watch the bus");
        r = manager_new(d->event, program, d->extra, &observer, &d->manager, reterr);
        if (r >= 0)
                r = bus_face_new(d->bus, &d->face, reterr);
        if (r < 0)
                return r;
        bus_face_set_manager(d->face, d->manager);
        r = sd_bus_attach_event(d->bus, d->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_request_name(d->bus, UPDATER_BUS_NAME, 0);
        return r < 0 ? error_errno(reterr, r, "cannot have the name " UPDATER_BUS_NAME) : 0;
}

static int run(Daemon *d, Error *reterr) {
        int r = set_up_loop(d, reterr);

        if (r >= 0)
                r = set_up_bus(d, reterr);
        if (r < 0)
                return r;
        (void) sd_notify(0, "READY=1\nSTATUS=Idle");
        r = sd_event_loop(d->event);
        return r < 0 ? error_errno(reterr, r, "the event loop failed") : 0;
}

static int become_job(char **argv) {
        _cleanup_free_ char *program = job_program();

        (void) execv(program, argv);
        log_error("sealabd: cannot run %s: %s", program, strerror(errno));
        return refusal_exit_status(REFUSAL_SYSTEM);
}

int main(int argc, char **argv) {
        _cleanup_(daemon_done) Daemon d = {};
        _cleanup_error_ Error e = {};

        if (argc > 2 && streq(argv[1], "job"))
                return become_job(argv + 1);
        for (int i = 1; i < argc; i++)
                if (streq(argv[i], "--help")) {
                        fputs(help, stdout);
                        return 0;
                } else if (streq(argv[i], "--version")) {
                        puts("sealabd " SEALAB_VERSION);
                        return 0;
                } else if (streq(argv[i], "--user"))
                        d.user = true;
                else if (streq(argv[i], "--stay"))
                        d.stay = true;
                else if (streq(argv[i], "--job-option") && i + 1 < argc)
                        strv_extend(&d.extra, argv[++i]);
                else {
                        log_error("sealabd: \"%s\" is not understood; sealabd --help", argv[i]);
                        return refusal_exit_status(REFUSAL_USAGE);
                }
        if (run(&d, &e) < 0) {
                log_error("%s", e.message);
                return refusal_exit_status(e.id);
        }
        return 0;
}
