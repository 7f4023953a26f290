/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What test/integration/bus.sh does to a bus that a shell cannot:
 *
 *     bus-tool storm COUNT SEED   random messages to sealabd, valid and not; it must still answer afterwards
 *     bus-tool error METHOD [TEXT]  the name of the error that sealabd answers
 *     bus-tool rights [ask]       on the system's bus: each method, and what the caller may: "yes", "password" (an
 *                                 administrator's is wanted) or "no"; ask: an agent may be asked for it
 *     bus-tool vanish COUNT       calls and is gone before the answer
 *     bus-tool pretend FILE       is an updater whose GetStatus answers what the file holds; its method Emit makes it
 *                                 send JobFinished
 *     bus-tool receive FILE       is org.freedesktop.Notifications and writes what it is sent into FILE
 */

#include <systemd/sd-bus.h>

#include "bus.h"
#include "io.h"

#define ROUND 64 /* messages between two questions whether it is still there */

static const char *const methods[] = { "Check",      "Update",       "UpdateAutomatically",
                                       "Cancel",     "Pin",          "Unpin",
                                       "Revert",     "Verify",       "GetStatus",
                                       "GetHistory", "GetConfig",    "GetDrift",
                                       "ResetDrift", "FactoryReset", "CancelFactoryReset",
                                       "Get",        "GetAll",       "Set",
                                       "Introspect", "Ping",         "check",
                                       "Update2",    "JobFinished",  "X" };
static const char *const interfaces[] = {
        UPDATER_BUS_INTERFACE,       "org.freedesktop.DBus.Properties",    "org.freedesktop.DBus.Introspectable",
        "org.freedesktop.DBus.Peer", "org.freedesktop.DBus.ObjectManager", "io.sealab.Updater2"
};
static const char *const paths[] = { UPDATER_BUS_PATH, "/", "/io", "/io/sealab", UPDATER_BUS_PATH "/x" };

/* xorshift64*: the same messages for the same seed, everywhere */
static uint64_t next(uint64_t *seed) {
        *seed ^= *seed >> 12;
        *seed ^= *seed << 25;
        *seed ^= *seed >> 27;
        return *seed * UINT64_C(2685821657736338717);
}

static uint64_t below(uint64_t *seed, uint64_t limit) {
        return next(seed) % limit;
}

static char *random_text(uint64_t *seed) {
        static const char *const some[] = { "",          "2",        "2026.11.1", "../../etc/passwd",   "/etc/passwd",
                                            "--all",     "--",       "-",         "0123456789ab",       "%s%n",
                                            "a+3-0.efi", "\xc3\xa9", "v1\nv2",    UPDATER_BUS_INTERFACE };
        size_t n = below(seed, 4) == 0 ? below(seed, 4096) : below(seed, 40);
        char *s;

        if (below(seed, 2) == 0)
                return xstrdup(some[below(seed, ELEMENTSOF(some))]);
        s = xmalloc(n + 1);
        for (size_t i = 0; i < n; i++)
                s[i] = (char) (1 + below(seed, 126));
        s[n] = 0;
        return s;
}

static int append_random(sd_bus_message *m, uint64_t *seed, unsigned depth) {
        _cleanup_free_ char *text = random_text(seed);
        int r;

        switch (below(seed, depth < 3 ? 9 : 6)) {
        case 0:
        case 1:
                return sd_bus_message_append(m, "s", text);
        case 2:
                return sd_bus_message_append(m, "b", (int) below(seed, 2));
        case 3:
                return sd_bus_message_append(m, "t", next(seed));
        case 4:
                return sd_bus_message_append(m, "o", paths[below(seed, ELEMENTSOF(paths))]);
        case 5:
                return sd_bus_message_append(m, "d", (double) next(seed));
        case 6:
                return sd_bus_message_append(m, "as", 2, text, "x");
        case 7:
                return sd_bus_message_append(m, "(sv)", text, "u", (uint32_t) next(seed));
        default:
                r = sd_bus_message_open_container(m, 'a', "{sv}");
                for (uint64_t i = below(seed, 20); r >= 0 && i > 0; i--)
                        r = sd_bus_message_append(m, "{sv}", "key", "s", text);
                return r < 0 ? r : sd_bus_message_close_container(m);
        }
}

/* What a method wants, so that some calls get past the reading of arguments. */
static int append_fitting(sd_bus_message *m, const char *method, uint64_t *seed) {
        _cleanup_free_ char *text = random_text(seed);

        if (streq(method, "Update") || streq(method, "Pin") || streq(method, "ResetDrift"))
                return sd_bus_message_append(m, "s", text);
        if (streq(method, "Verify"))
                return sd_bus_message_append(m, "b", (int) below(seed, 2));
        if (streq(method, "Get"))
                return sd_bus_message_append(m, "ss", UPDATER_BUS_INTERFACE, below(seed, 2) ? "Job" : text);
        return streq(method, "GetAll") ? sd_bus_message_append(m, "s", UPDATER_BUS_INTERFACE) : 0;
}

static int send_random(sd_bus *bus, uint64_t *seed) {
        bool sane = below(seed, 3) == 0;
        const char *method = methods[below(seed, ELEMENTSOF(methods))],
                   *path = paths[sane ? 0 : below(seed, ELEMENTSOF(paths))],
                   *interface = interfaces[sane ? 0 : below(seed, ELEMENTSOF(interfaces))];
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, UPDATER_BUS_NAME, path, below(seed, 16) ? interface : NULL, method);
        if (r >= 0 && sane)
                r = append_fitting(m, method, seed);
        for (uint64_t i = sane ? 0 : below(seed, 4); r >= 0 && i > 0; i--)
                r = append_random(m, seed, 0);
        /* Answers to half of them find nobody who waits. */
        if (r >= 0 && below(seed, 2))
                r = sd_bus_message_set_expect_reply(m, 0);
        if (r >= 0)
                r = sd_bus_send(bus, m, NULL);
        sd_bus_message_unref(m);
        return r;
}

static int still_there(sd_bus *bus) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        int r = sd_bus_call_method(bus, UPDATER_BUS_NAME, UPDATER_BUS_PATH, "org.freedesktop.DBus.Peer", "Ping", &e,
                                   NULL, NULL);

        if (r < 0)
                fprintf(stderr, "it does not answer any more: %s\n", e.message ?: strerror(-r));
        sd_bus_error_free(&e);
        /* What came before that answer, and nobody asked for. */
        while (r >= 0 && (r = sd_bus_process(bus, NULL)) > 0)
                ;
        return r;
}

static int storm(uint64_t count, uint64_t seed) {
        sd_bus *bus = NULL;
        int r = sd_bus_open_user(&bus);

        for (uint64_t i = 0; r >= 0 && i < count; i++) {
                r = send_random(bus, &seed);
                if (r >= 0 && i % ROUND == ROUND - 1)
                        r = still_there(bus);
        }
        if (r >= 0)
                r = still_there(bus);
        sd_bus_flush_close_unref(bus);
        return r;
}

static int print_error_name(const char *method, const char *text) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus *bus = NULL;
        int r = sd_bus_open_user(&bus);

        if (r >= 0)
                r = sd_bus_call_method(bus, UPDATER_BUS_NAME, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE, method, &e, NULL,
                                       text ? "s" : NULL, text);
        puts(r >= 0 ? "no error" : e.name ?: strerror(-r));
        sd_bus_error_free(&e);
        sd_bus_flush_close_unref(bus);
        return 0;
}

static int vanish(uint64_t count) {
        static const char *const asked[] = { "GetStatus", "GetHistory", "GetDrift", "Check", "Unpin", "Cancel" };
        int r = 0;

        for (uint64_t i = 0; r >= 0 && i < count; i++) {
                sd_bus_message *m = NULL;
                sd_bus *bus = NULL;

                r = sd_bus_open_user(&bus);
                if (r >= 0)
                        r = sd_bus_message_new_method_call(bus, &m, UPDATER_BUS_NAME, UPDATER_BUS_PATH,
                                                           UPDATER_BUS_INTERFACE, asked[i % ELEMENTSOF(asked)]);
                if (r >= 0)
                        r = sd_bus_call_async(bus, NULL, m, NULL, NULL, 0);
                if (r >= 0)
                        r = sd_bus_flush(bus);
                sd_bus_message_unref(m);
                sd_bus_close_unref(bus);
        }
        return r;
}

/* ---- rights ---- */

typedef struct Call {
        const char *shown, *interface, *method, *types, *text;
} Call;

#define OURS UPDATER_BUS_INTERFACE
#define PROPERTIES "org.freedesktop.DBus.Properties"
static const Call calls[] = {
        { "Check", OURS, "Check" },
        { "Update", OURS, "Update", "s", "" },
        { "Update-to-version", OURS, "Update", "s", "2.0" },
        { "UpdateAutomatically", OURS, "UpdateAutomatically" },
        { "Pin", OURS, "Pin", "s", "" },
        { "Pin-version", OURS, "Pin", "s", "2.0" },
        { "Unpin", OURS, "Unpin" },
        { "Revert", OURS, "Revert" },
        { "Verify", OURS, "Verify", "b" },
        { "Cancel", OURS, "Cancel" },
        { "GetDrift", OURS, "GetDrift" },
        { "ResetDrift", OURS, "ResetDrift", "s", "0123456789ab" },
        { "FactoryReset", OURS, "FactoryReset" },
        { "CancelFactoryReset", OURS, "CancelFactoryReset" },
        { "GetStatus", OURS, "GetStatus" },
        { "GetHistory", OURS, "GetHistory" },
        { "GetConfig", OURS, "GetConfig" },
        { "Properties", PROPERTIES, "GetAll", "s", OURS },
        { "Introspect", "org.freedesktop.DBus.Introspectable", "Introspect" },
};

static int new_call(sd_bus *bus, const Call *c, sd_bus_message **ret) {
        int r = sd_bus_message_new_method_call(bus, ret, UPDATER_BUS_NAME, UPDATER_BUS_PATH, c->interface, c->method);

        if (r < 0 || !c->types)
                return r;
        return *c->types == 'b' ? sd_bus_message_append(*ret, "b", 1) : sd_bus_message_append(*ret, "s", c->text);
}

/* Whatever else goes wrong has come past the rights. */
static const char *verdict(int r, const sd_bus_error *e) {
        if (r >= 0 || !sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED))
                return r >= 0 || startswith(e->name ?: "", UPDATER_BUS_ERROR) ? "yes" : e->name ?: strerror(-r);
        return strstr(e->message, "password is needed") ? "password" : "no";
}

/* One job at a time: whoever may is let in when the one before is over. */
static int call_when_free(sd_bus *bus, const Call *c, sd_bus_error *e) {
        for (unsigned i = 0;; i++) {
                sd_bus_message *m = NULL;
                int r = new_call(bus, c, &m);

                if (r >= 0)
                        r = sd_bus_call(bus, m, 0, e, NULL);
                sd_bus_message_unref(m);
                if (i == 500 || !sd_bus_error_has_name(e, UPDATER_BUS_ERROR "Busy"))
                        return r;
                sd_bus_error_free(e);
                (void) usleep(10000);
        }
}

static int print_rights(bool ask) {
        sd_bus *bus = NULL;
        int r = sd_bus_open_system(&bus);

        if (r >= 0)
                (void) sd_bus_set_allow_interactive_authorization(bus, ask);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(calls); i++) {
                sd_bus_error e = SD_BUS_ERROR_NULL;
                int q = call_when_free(bus, &calls[i], &e);

                printf("%s %s\n", calls[i].shown, verdict(q, &e));
                sd_bus_error_free(&e);
        }
        sd_bus_flush_close_unref(bus);
        return r;
}

/* ---- notifications ---- */

static int on_notify(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *program, *icon, *title, *text;
        FILE *f = userdata;
        uint32_t replaces;
        int r = sd_bus_message_read(m, "susss", &program, &replaces, &icon, &title, &text);

        if (r < 0)
                return r;
        fprintf(f, "%s|%u|%s|%s\n", program, replaces, title, text);
        fflush(f);
        return sd_bus_reply_method_return(m, "u", 42);
}

static const sd_bus_vtable notifications[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Notify", "susssasa{sv}i", "u", on_notify, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int on_get_status(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        if (io_read_file(AT_FDCWD, userdata, 65536, &text, &size, NULL) < 0)
                return sd_bus_reply_method_errorf(m, UPDATER_BUS_ERROR "Machine", "no sealed system");
        return sd_bus_reply_method_return(m, "s", text);
}

static int on_emit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        int r = sd_bus_emit_signal(sd_bus_message_get_bus(m), UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE, "JobFinished",
                                   "tsssss", UINT64_C(1), "update", "done", "", "", "");

        return r < 0 ? r : sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable updater[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("GetStatus", NULL, "s", on_get_status, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Emit", NULL, NULL, on_emit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int serve(const char *name, const char *path, const sd_bus_vtable *vtable, void *userdata) {
        sd_bus *bus = NULL;
        int r = sd_bus_open_user(&bus);

        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, path, name, vtable, userdata);
        if (r >= 0)
                r = sd_bus_request_name(bus, name, 0);
        while (r >= 0) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
        }
        sd_bus_flush_close_unref(bus);
        return r;
}

static int receive(const char *path) {
        _cleanup_fclose_ FILE *f = fopen(path, "we");

        return f ? serve("org.freedesktop.Notifications", "/org/freedesktop/Notifications", notifications, f) : -errno;
}

int main(int argc, char **argv) {
        uint64_t count = 0, seed = 0;
        int r = -EINVAL;

        if (argc == 4 && streq(argv[1], "storm") && parse_u64(argv[2], &count) && parse_u64(argv[3], &seed) && seed > 0)
                r = storm(count, seed);
        else if ((argc == 3 || argc == 4) && streq(argv[1], "error"))
                r = print_error_name(argv[2], argv[3]);
        else if (argc >= 2 && streq(argv[1], "rights"))
                r = print_rights(argc == 3 && streq(argv[2], "ask"));
        else if (argc == 3 && streq(argv[1], "vanish") && parse_u64(argv[2], &count))
                r = vanish(count);
        else if (argc == 3 && streq(argv[1], "receive"))
                r = receive(argv[2]);
        else if (argc == 3 && streq(argv[1], "pretend"))
                r = serve(UPDATER_BUS_NAME, UPDATER_BUS_PATH, updater, argv[2]);
        if (r < 0)
                fprintf(stderr, "bus-tool: %s\n", strerror(-r));
        return r < 0 ? 1 : 0;
}
