/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sealab-notify: tells whoever sits at the desktop what they should know about updates, once for each event. Runs as
 * that person, in their session (sealab-notify.service of the user's systemd); has no rights of its own. */

#include <signal.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "bus.h"
#include "io.h"
#include "log.h"
#include "notice.h"

#define ANSWER_USEC UINT64_C(120000000)
#define TOLD_FILE "sealab/told"
#define TOLD_MAX 4096

typedef struct Notifier {
        sd_event *event;
        sd_bus *system, *session;
        char *told_path, *told;
        uint32_t shown; /* number of the notification on the screen; 0: none of ours */
        bool asking, again, once;
} Notifier;

static void notifier_done(Notifier *n) {
        sd_bus_flush_close_unref(n->session);
        sd_bus_flush_close_unref(n->system);
        sd_event_unref(n->event);
        free(n->told_path);
        free(n->told);
}

/* ---- what was told ---- */

static char *state_path(void) {
        const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

        if (state && *state == '/')
                return path_join(state, TOLD_FILE);
        return home && *home == '/' ? xasprintf("%s/.local/state/" TOLD_FILE, home) : NULL;
}

static void load_told(Notifier *n) {
        size_t size;

        n->told_path = state_path();
        if (n->told_path)
                (void) io_read_file(AT_FDCWD, n->told_path, TOLD_MAX, &n->told, &size, NULL);
}

static void remember(Notifier *n, const char *id) {
        _cleanup_free_ char *folder = n->told_path ? path_dirname(n->told_path) : NULL;
        _cleanup_error_ Error e = {};

        free(n->told);
        n->told = xstrdup(id);
        if (folder && (io_mkdir_parents(AT_FDCWD, folder, 0700, &e) < 0 ||
                       io_write_file(AT_FDCWD, n->told_path, id, strlen(id), 0600, &e) < 0))
                log_warning("%s; it may be told again", e.message);
}

/* ---- telling ---- */

static int append_hints(sd_bus_message *m, bool urgent) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "urgency", "y", urgent ? 2 : 1);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "category", "s", "device");
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int send_notification(Notifier *n, const Notice *notice) {
        sd_bus_message *call = NULL, *reply = NULL;
        sd_bus_error e = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_message_new_method_call(n->session, &call, "org.freedesktop.Notifications",
                                           "/org/freedesktop/Notifications", "org.freedesktop.Notifications", "Notify");
        if (r >= 0)
                r = sd_bus_message_append(call, "susssas", "sealab", n->shown, "system-software-update", notice->title,
                                          notice->text, 0);
        if (r >= 0)
                r = append_hints(call, notice->urgent);
        /* Until it is closed: an update waits longer than five seconds. */
        if (r >= 0)
                r = sd_bus_message_append(call, "i", 0);
        if (r >= 0)
                r = sd_bus_call(n->session, call, 0, &e, &reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "u", &n->shown);
        if (r < 0)
                log_warning("\"%s\" could not be shown: %s", notice->title, e.message ?: strerror(-r));
        sd_bus_error_free(&e);
        sd_bus_message_unref(call);
        sd_bus_message_unref(reply);
        return r;
}

/* Markup is the receiver's to read: what a reason says must stay text. */
static void escape_markup(char **text) {
        _cleanup_buffer_ Buffer b = {};

        for (const char *p = *text; *p; p++)
                if (*p == '<')
                        buffer_puts(&b, "&lt;");
                else if (*p == '&')
                        buffer_puts(&b, "&amp;");
                else
                        buffer_append(&b, p, 1);
        free(*text);
        *text = b.data ? buffer_steal(&b) : xstrdup("");
}

static void tell(Notifier *n, const json_t *status) {
        _cleanup_notice_ Notice notice = {};

        if (!notice_from_status(status, &notice) || streq_ptr(n->told, notice.id))
                return;
        escape_markup(&notice.text);
        if (send_notification(n, &notice) >= 0)
                remember(n, notice.id);
}

/* ---- asking ---- */

static int ask(Notifier *n);

static int on_status(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Notifier *n = userdata;
        _cleanup_json_ json_t *status = NULL;
        const char *text = NULL;

        n->asking = false;
        if (sd_bus_message_is_method_error(m, NULL))
                log_debug("the updater does not answer: %s", sd_bus_message_get_error(m)->message);
        else if (sd_bus_message_read(m, "s", &text) >= 0 &&
                 json_parse(text, strlen(text), "status", &status, NULL) >= 0)
                tell(n, status);
        if (n->again) {
                n->again = false;
                return ask(n);
        }
        return n->once ? sd_event_exit(n->event, 0) : 0;
}

static int ask(Notifier *n) {
        sd_bus_message *call = NULL;
        int r;

        if (n->asking) {
                n->again = true;
                return 0;
        }
        r = sd_bus_message_new_method_call(n->system, &call, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE,
                                           "GetStatus");
        if (r >= 0)
                r = sd_bus_call_async(n->system, NULL, call, on_status, n, ANSWER_USEC);
        sd_bus_message_unref(call);
        n->asking = r >= 0;
        return r;
}

static int on_finished(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return ask(userdata);
}

/* ---- life ---- */

static int set_up(Notifier *n, bool user) {
        sigset_t signals;
        int r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        (void) sigprocmask(SIG_BLOCK, &signals, NULL);
        r = sd_event_default(&n->event);
        if (r >= 0)
                r = sd_event_add_signal(n->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(n->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_bus_open_user(&n->session);
        if (r >= 0)
                r = user ? sd_bus_open_user(&n->system) : sd_bus_open_system(&n->system);
        if (r >= 0)
                r = sd_bus_attach_event(n->session, n->event, 0);
        if (r >= 0)
                r = sd_bus_attach_event(n->system, n->event, 0);
        if (r >= 0)
                r = sd_bus_match_signal(n->system, NULL, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE,
                                        "JobFinished", on_finished, n);
        return r < 0 ? r : ask(n);
}

int main(int argc, char **argv) {
        _cleanup_(notifier_done) Notifier n = {};
        bool user = false;
        int r;

        for (int i = 1; i < argc; i++)
                if (streq(argv[i], "--user"))
                        user = true;
                else if (streq(argv[i], "--once"))
                        n.once = true;
                else {
                        puts("sealab-notify [--once] [--user]\n"
                             "        shows desktop notifications about updates; started by sealab-notify.service.\n\n"
                             "  --once   leaves after the first answer of the updater\n"
                             "  --user   finds the updater on the user's bus (for tests)");
                        return streq(argv[i], "--help") ? 0 : refusal_exit_status(REFUSAL_USAGE);
                }
        load_told(&n);
        r = set_up(&n, user);
        if (r >= 0)
                r = sd_event_loop(n.event);
        if (r < 0)
                log_error("sealab-notify: %s", strerror(-r));
        return r < 0 ? 1 : 0;
}
