/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "bus.h"
#include "client.h"

/* Questions read the disk; the system may be busy with a job. */
#define ANSWER_USEC UINT64_C(120000000)
/* A password is typed in between. */
#define START_USEC UINT64_C(300000000)

typedef struct Wait {
        uint64_t id;
        bool known; /* the number of the job we wait for */
        bool done;
        void (*progress)(const char *, uint64_t, uint64_t, void *);
        void *userdata;
        ClientResult *result;
} Wait;

struct Client {
        sd_bus *bus;
        Wait *wait; /* borrowed; while client_run() is at work */
        bool changed;
};

void client_result_done(ClientResult *r) {
        free(r->result);
        free(r->message);
        free(r->hint);
        json_decref(r->data);
        *r = (ClientResult){};
}

/* ---- errors ---- */

int client_result_error(const ClientResult *r, Error *reterr) {
        if (streq(r->result, "done") || streq(r->result, "nothing"))
                return 0;
        error_set(reterr, EIO, refusal_from_name(r->result), "%s", r->message ?: r->result);
        return r->hint ? error_hint(reterr, "%s", r->hint) : -EIO;
}

/* "io.sealab.Updater1.Error.NoSpace" -> no-space */
static Refusal refusal_of_error(const char *name) {
        const char *suffix = startswith(name ?: "", UPDATER_BUS_ERROR);

        for (Refusal id = 0; suffix && id < _REFUSAL_MAX; id++) {
                _cleanup_free_ char *s = bus_error_suffix(refusal_name(id));

                if (streq(s, suffix))
                        return id;
        }
        return REFUSAL_SYSTEM;
}

static int take_error(int r, sd_bus_error *e, Error *reterr) {
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
                error_set(reterr, ENOENT, REFUSAL_MACHINE,
                          "sealabd is not installed on that machine, or does not start");
                error_hint(reterr, "\"systemctl status sealabd\" says more.");
        } else if (sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED) ||
                   sd_bus_error_has_name(e, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED)) {
                error_set(reterr, EACCES, REFUSAL_KEY, "not allowed: %s", e->message ?: "polkit says no");
                error_hint(reterr, "As root, or as a user whom polkit knows as an administrator, it is.");
        } else if (sd_bus_error_is_set(e))
                error_set(reterr, EIO, refusal_of_error(e->name), "%s", e->message ?: e->name);
        else
                error_errno(reterr, r, "the bus");
        sd_bus_error_free(e);
        return reterr ? -reterr->code : -EIO;
}

/* ---- signals of the daemon ---- */

static int on_progress(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Client *c = userdata;
        const char *kind, *step;
        uint64_t id, done, total;

        if (!c->wait || sd_bus_message_read(m, "tsstt", &id, &kind, &step, &done, &total) < 0)
                return 0;
        if (c->wait->known && id == c->wait->id && c->wait->progress)
                c->wait->progress(step, done, total, c->wait->userdata);
        return 0;
}

static void take_result(ClientResult *ret, const char *result, const char *message, const char *hint,
                        const char *data) {
        client_result_done(ret);
        ret->result = xstrdup(result);
        ret->message = isempty(message) ? NULL : xstrdup(message);
        ret->hint = isempty(hint) ? NULL : xstrdup(hint);
        if (!isempty(data))
                (void) json_parse(data, strlen(data), "answer", &ret->data, NULL);
}

static int on_finished(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Client *c = userdata;
        const char *kind, *result, *message, *hint, *data;
        uint64_t id;

        c->changed = true;
        if (!c->wait || sd_bus_message_read(m, "tsssss", &id, &kind, &result, &message, &hint, &data) < 0)
                return 0;
        /* sd_bus_call() queues what comes before its answer: signals are seen when the number is known. */
        if (c->wait->known && id == c->wait->id) {
                take_result(c->wait->result, result, message, hint, data);
                c->wait->done = true;
        }
        return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Client *c = userdata;
        const char *name, *before, *after;

        if (!c->wait || sd_bus_message_read(m, "sss", &name, &before, &after) < 0)
                return 0;
        /* It died with our job: nobody will tell us how that ended. */
        if (!isempty(before) && c->wait->known && !c->wait->done) {
                take_result(c->wait->result, refusal_name(REFUSAL_SYSTEM), "sealabd went away while it was at work",
                            "Its journal says why: journalctl -u sealabd", NULL);
                c->wait->done = true;
        }
        return 0;
}

/* ---- connecting ---- */

static int listen_to_daemon(Client *c) {
        int r = sd_bus_match_signal(c->bus, NULL, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE,
                                    "JobProgress", on_progress, c);

        if (r >= 0)
                r = sd_bus_match_signal(c->bus, NULL, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE,
                                        "JobFinished", on_finished, c);
        if (r >= 0)
                r = sd_bus_add_match(
                        c->bus, NULL,
                        "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" UPDATER_BUS_NAME
                        "'",
                        on_owner_changed, c);
        return r;
}

int client_new(const char *host, bool user_bus, Client **ret, Error *reterr) {
        _cleanup_(client_freep) Client *c = xnew(Client, 1);
        int r;

        r = host       ? sd_bus_open_system_remote(&c->bus, host)
            : user_bus ? sd_bus_open_user(&c->bus)
                       : sd_bus_open_system(&c->bus);
        /* ssh that fails is only seen when something is asked. */
        if (r >= 0)
                r = listen_to_daemon(c);
        if (r < 0) {
                error_errno(reterr, r, "cannot connect to the system bus%s%s", host ? " of " : "", host ?: "");
                return error_hint(reterr,
                                  host ? "\"ssh %s true\" must work, and systemd-stdio-bridge must be there."
                                       : "Is dbus running?",
                                  host);
        }
        (void) sd_bus_set_allow_interactive_authorization(c->bus, isatty(STDIN_FILENO));
        *ret = TAKE_PTR(c);
        return 0;
}

Client *client_free(Client *c) {
        if (!c)
                return NULL;
        sd_bus_flush_close_unref(c->bus);
        free(c);
        return NULL;
}

/* ---- questions ---- */

int client_ask(Client *c, const char *method, json_t **ret, Error *reterr) {
        sd_bus_message *call = NULL, *reply = NULL;
        sd_bus_error e = SD_BUS_ERROR_NULL;
        const char *text = NULL;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &call, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE,
                                           method);
        if (r >= 0)
                r = sd_bus_call(c->bus, call, ANSWER_USEC, &e, &reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &text);
        if (r < 0)
                r = take_error(r, &e, reterr);
        else
                r = json_parse(text, strlen(text), method, ret, reterr);
        sd_bus_message_unref(call);
        sd_bus_message_unref(reply);
        return r;
}

/* ---- jobs ---- */

static int start(Client *c, const char *method, uint64_t *ret_id, Error *reterr, const char *types, va_list ap) {
        sd_bus_message *call = NULL, *reply = NULL;
        sd_bus_error e = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &call, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE,
                                           method);
        if (r >= 0 && types)
                r = sd_bus_message_appendv(call, types, ap);
        if (r >= 0)
                r = sd_bus_call(c->bus, call, START_USEC, &e, &reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "t", ret_id);
        if (r < 0)
                r = take_error(r, &e, reterr);
        sd_bus_message_unref(call);
        sd_bus_message_unref(reply);
        return r < 0 ? r : 0;
}

static int open_signals(int *ret_fd, Error *reterr) {
        sigset_t set;
        int fd;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return error_errno(reterr, errno, "cannot block signals");
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot watch signals");
        *ret_fd = fd;
        return 0;
}

/* Until there is something to read from the bus, or a signal came: then 1. */
static int wait_for_news(Client *c, int signal_fd, Error *reterr) {
        uint64_t until = 0;
        int r;

        for (;;) {
                struct pollfd fds[2] = { { .fd = sd_bus_get_fd(c->bus) }, { .fd = signal_fd, .events = POLLIN } };
                struct signalfd_siginfo info;

                r = sd_bus_process(c->bus, NULL);
                if (r < 0)
                        return error_errno(reterr, r, "the bus");
                if (r > 0)
                        return 0;
                fds[0].events = (short) sd_bus_get_events(c->bus);
                if (sd_bus_get_timeout(c->bus, &until) < 0)
                        until = UINT64_MAX;
                if (poll(fds, 2, until == UINT64_MAX ? -1 : 1000) < 0 && errno != EINTR)
                        return error_errno(reterr, errno, "cannot wait");
                if (fds[1].revents & POLLIN && read(signal_fd, &info, sizeof info) == sizeof info)
                        return 1;
        }
}

static void cancel(Client *c) {
        (void) sd_bus_call_method_async(c->bus, NULL, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE,
                                        "Cancel", NULL, NULL, NULL);
}

static int wait_for_job(Client *c, Wait *w, Error *reterr) {
        _cleanup_close_ int signal_fd = -EBADF;
        bool asked = false;
        int r;

        r = open_signals(&signal_fd, reterr);
        while (r >= 0 && !w->done) {
                r = wait_for_news(c, signal_fd, reterr);
                if (r <= 0)
                        continue;
                /* The second one goes without waiting for an answer. */
                if (asked)
                        return error_set(reterr, ECANCELED, REFUSAL_CANCELLED, "not waiting any longer");
                cancel(c);
                asked = true;
        }
        return r < 0 ? r : 0;
}

int client_run(Client *c, const char *method,
               void (*progress)(const char *step, uint64_t done, uint64_t total, void *userdata), void *userdata,
               ClientResult *ret, Error *reterr, const char *types, ...) {
        Wait w = { .progress = progress, .userdata = userdata, .result = ret };
        va_list ap;
        int r;

        c->wait = &w;
        va_start(ap, types);
        r = start(c, method, &w.id, reterr, types, ap);
        va_end(ap);
        if (r >= 0) {
                w.known = true;
                r = wait_for_job(c, &w, reterr);
        }
        c->wait = NULL;
        return r < 0 ? r : client_result_error(ret, reterr);
}

int client_watch(Client *c, int (*show)(Client *c, void *userdata, Error *reterr), void *userdata, Error *reterr) {
        _cleanup_close_ int signal_fd = -EBADF;
        int r = open_signals(&signal_fd, reterr);

        if (r >= 0)
                r = show(c, userdata, reterr);
        while (r >= 0) {
                r = wait_for_news(c, signal_fd, reterr);
                if (r > 0)
                        return 0;
                if (r < 0 || !c->changed)
                        continue;
                c->changed = false;
                r = show(c, userdata, reterr);
        }
        return r;
}

int client_reboot(Client *c, Error *reterr) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        int r = sd_bus_call_method(c->bus, "org.freedesktop.login1", "/org/freedesktop/login1",
                                   "org.freedesktop.login1.Manager", "Reboot", &e, NULL, "b", 1);

        return r < 0 ? take_error(r, &e, reterr) : 0;
}
