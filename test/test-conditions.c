/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Power from a folder like /sys, and everything that is asked of others, who are scripted at the other end of a
 * connection without a bus between. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "conditions.h"
#include "folder-fixture.h"

#define NM "org.freedesktop.NetworkManager"
#define UPOWER "org.freedesktop.UPower"
#define LOGIND "org.freedesktop.login1"

typedef struct Property {
        const char *name;
        char type;
        double value;
} Property;

typedef struct Others {
        const char *what;
        const char *owned[4];
        Property properties[8];
        const char *inhibitor[4]; /* what, who, why, mode; none: ListInhibitors fails */
        Conditions before, after;
} Others;

/* ---- the others ---- */

static int answer_property(sd_bus_message *m, const Others *o) {
        const char *interface, *name;

        if (sd_bus_message_read(m, "ss", &interface, &name) < 0)
                return -EINVAL;
        for (const Property *p = o->properties; p->name; p++)
                if (streq(p->name, name))
                        return p->type == 'b'   ? sd_bus_reply_method_return(m, "v", "b", (int) p->value)
                               : p->type == 'u' ? sd_bus_reply_method_return(m, "v", "u", (uint32_t) p->value)
                                                : sd_bus_reply_method_return(m, "v", "d", p->value);
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_PROPERTY, "no %s", name);
}

static int answer_owner(sd_bus_message *m, const Others *o) {
        const char *name;
        int owned = 0;

        if (sd_bus_message_read(m, "s", &name) < 0)
                return -EINVAL;
        for (const char *const *n = o->owned; *n; n++)
                owned = owned || streq(*n, name);
        return sd_bus_reply_method_return(m, "b", owned);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Others *o = userdata;
        const char *const *i = o->inhibitor;

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus", "NameHasOwner"))
                return answer_owner(m, o);
        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get"))
                return answer_property(m, o);
        if (sd_bus_message_is_method_call(m, LOGIND ".Manager", "ListInhibitors") && i[0])
                return sd_bus_reply_method_return(m, "a(ssssuu)", 1, i[0], i[1], i[2], i[3], 1000U, 1U);
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "not scripted");
}

_noreturn_ static void be_others(int fd, const Others *o) {
        sd_bus *bus = NULL;
        sd_id128_t id = {};

        if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 || sd_bus_set_server(bus, 1, id) < 0 ||
            sd_bus_add_filter(bus, NULL, on_message, (void *) o) < 0 || sd_bus_start(bus) < 0)
                _exit(1);
        for (;;) {
                int r = sd_bus_process(bus, NULL);

                if (r < 0 || (r == 0 && sd_bus_wait(bus, UINT64_MAX) < 0))
                        _exit(0);
        }
}

static void ask(const Others *o, Conditions *c) {
        sd_bus *bus = NULL;
        int fds[2];
        pid_t pid;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                close(fds[0]);
                be_others(fds[1], o);
        }
        close(fds[1]);
        assert_true(sd_bus_new(&bus) >= 0);
        assert_true(sd_bus_set_fd(bus, fds[0], fds[0]) >= 0);
        assert_true(sd_bus_start(bus) >= 0);
        *c = o->before;
        conditions_ask(bus, c);
        sd_bus_flush_close_unref(bus);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static const Others scripts[] = {
        { .what = "nobody there", .before = { .on_mains = true }, .after = { .on_mains = true, .idle = true } },
        { .what = "a laptop on battery",
          .owned = { UPOWER },
          .properties = { { "OnBattery", 'b', 1 }, { "IsPresent", 'b', 1 }, { "Percentage", 'd', 62.7 } },
          .before = { .on_mains = true },
          .after = { .has_battery = true, .battery_percent = 62, .idle = true } },
        { .what = "charging, and the kernel sees only the battery",
          .owned = { UPOWER },
          .properties = { { "OnBattery", 'b', 0 }, { "IsPresent", 'b', 1 }, { "Percentage", 'd', 100 } },
          .before = { .has_battery = true, .battery_percent = 80 },
          .after = { .on_mains = true, .has_battery = true, .battery_percent = 100, .idle = true } },
        { .what = "no battery at all",
          .owned = { UPOWER },
          .properties = { { "OnBattery", 'b', 0 }, { "IsPresent", 'b', 0 }, { "Percentage", 'd', 0 } },
          .before = { .on_mains = true },
          .after = { .on_mains = true, .idle = true } },
        { .what = "UPower does not say",
          .owned = { UPOWER },
          .before = { .has_battery = true, .battery_percent = 30 },
          .after = { .has_battery = true, .battery_percent = 30, .idle = true } },
        { .what = "no number",
          .owned = { UPOWER },
          .properties = { { "OnBattery", 'b', 1 }, { "IsPresent", 'b', 1 }, { "Percentage", 'd', -1 } },
          .before = { .has_battery = true, .battery_percent = 30 },
          .after = { .has_battery = true, .battery_percent = 30, .idle = true } },
        { .what = "metered",
          .owned = { NM },
          .properties = { { "Metered", 'u', 1 } },
          .after = { .metered = true, .idle = true } },
        { .what = "not metered", .owned = { NM }, .properties = { { "Metered", 'u', 2 } }, .after = { .idle = true } },
        { .what = "perhaps metered",
          .owned = { NM },
          .properties = { { "Metered", 'u', 3 } },
          .after = { .metered = true, .idle = true } },
        { .what = "NetworkManager does not say", .owned = { NM }, .after = { .metered = true, .idle = true } },
        { .what = "somebody is at work",
          .owned = { LOGIND },
          .properties = { { "IdleHint", 'b', 0 } },
          .inhibitor = { "sleep", "a player", "plays", "delay" },
          .after = {} },
        { .what = "nobody is",
          .owned = { LOGIND },
          .properties = { { "IdleHint", 'b', 1 } },
          .inhibitor = { "handle-lid-switch", "the desktop", "it has two screens", "block" },
          .after = { .idle = true } },
        { .what = "somebody presents",
          .owned = { LOGIND },
          .properties = { { "IdleHint", 'b', 0 } },
          .inhibitor = { "idle:sleep", "slides", "a talk", "block" },
          .after = { .inhibited = true, .inhibited_by = (char *) "slides (a talk)" } },
        { .what = "logind does not say",
          .owned = { LOGIND },
          .properties = { { "IdleHint", 'b', 1 } },
          .after = { .inhibited = true,
                     .inhibited_by = (char *) "a program that logind does not name",
                     .idle = true } },
};

static void assert_conditions(const Conditions *c, const Conditions *expected, const char *what) {
        if (c->on_mains != expected->on_mains || c->has_battery != expected->has_battery ||
            c->battery_percent != expected->battery_percent || c->metered != expected->metered ||
            c->online != expected->online || c->inhibited != expected->inhibited || c->idle != expected->idle ||
            !streq_ptr(c->inhibited_by, expected->inhibited_by))
                fail_msg("%s: mains %d battery %d %u%% metered %d online %d inhibited %d by %s idle %d", what,
                         c->on_mains, c->has_battery, c->battery_percent, c->metered, c->online, c->inhibited,
                         c->inhibited_by ?: "nobody", c->idle);
}

static void others_are_believed_as_far_as_they_say(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(scripts); i++) {
                Conditions c = {};

                ask(&scripts[i], &c);
                assert_conditions(&c, &scripts[i].after, scripts[i].what);
                conditions_done(&c);
        }
}

/* ---- the kernel's files ---- */

static void put(void **state, const char *path, const char *text) {
        _cleanup_free_ char *full = path_join(*state, path), *folder = path_dirname(full);

        assert_true(io_mkdir_parents(AT_FDCWD, folder, 0755, NULL) >= 0);
        assert_true(io_write_file(AT_FDCWD, full, text, strlen(text), 0644, NULL) >= 0);
}

static void supply(void **state, const char *name, const char *type, const char *key, const char *value) {
        _cleanup_free_ char *t = xasprintf("sys/class/power_supply/%s/type", name),
                            *k = xasprintf("sys/class/power_supply/%s/%s", name, key);

        put(state, t, type);
        put(state, k, value);
}

static void assert_read(void **state, const Conditions *expected, const char *what) {
        Conditions c = {};

        assert_int_equal(conditions_read(*state, &c, NULL), 0);
        assert_conditions(&c, expected, what);
        conditions_done(&c);
}

static void power_and_routes_are_read_from_the_kernel(void **state) {
        assert_read(state, &(Conditions){ .on_mains = true, .idle = true }, "a machine without anything");
        supply(state, "hidpp_battery_0", "Battery\n", "scope", "Device\n");
        put(state, "sys/class/power_supply/hidpp_battery_0/capacity", "5\n");
        assert_read(state, &(Conditions){ .on_mains = true, .idle = true }, "a mouse's battery");
        supply(state, "BAT0", "Battery\n", "capacity", "41\n");
        assert_read(state, &(Conditions){ .has_battery = true, .battery_percent = 41, .idle = true }, "on battery");
        supply(state, "BAT1", "Battery\n", "capacity", "77\n");
        supply(state, "AC", "Mains\n", "online", "0\n");
        assert_read(state, &(Conditions){ .has_battery = true, .battery_percent = 77, .idle = true }, "the fuller one");
        put(state, "sys/class/power_supply/AC/online", "1\n");
        put(state, "proc/net/route",
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
            "eth0\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n");
        assert_read(state, &(Conditions){ .on_mains = true, .has_battery = true, .battery_percent = 77, .idle = true },
                    "plugged in; a network without a way out");
        put(state, "proc/net/route",
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
            "eth0\t00000000\t0202000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
        assert_read(
                state,
                &(Conditions){
                        .on_mains = true, .has_battery = true, .battery_percent = 77, .online = true, .idle = true },
                "a way out");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(others_are_believed_as_far_as_they_say),
                cmocka_unit_test_setup_teardown(power_and_routes_are_read_from_the_kernel, make_folder, remove_folder),
        };

        return cmocka_run_group_tests_name("conditions", tests, NULL, NULL);
}
