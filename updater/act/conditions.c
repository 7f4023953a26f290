/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "conditions.h"
#include "io.h"
#include "log.h"
#include "process.h"

#define SMALL_FILE_MAX ((size_t) 64 << 10)
#define LOGIND "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
#define BUS_PATIENCE_USEC UINT64_C(5000000)

static void bus_freep(sd_bus **bus) {
        sd_bus_flush_close_unref(*bus);
}

static char *read_text(const char *root, const char *path) {
        _cleanup_free_ char *full = path_join(root, path), *text = NULL;
        size_t size;

        if (io_read_file(AT_FDCWD, full, SMALL_FILE_MAX, &text, &size, NULL) < 0)
                return NULL;
        return xstrdup(strstrip(text));
}

/* ---- power: Documentation/ABI/testing/sysfs-class-power ---- */

static void read_supply(const char *root, const char *name, Conditions *c) {
        _cleanup_free_ char *type_path = xasprintf("sys/class/power_supply/%s/type", name),
                            *online_path = xasprintf("sys/class/power_supply/%s/online", name),
                            *capacity_path = xasprintf("sys/class/power_supply/%s/capacity", name),
                            *scope_path = xasprintf("sys/class/power_supply/%s/scope", name);
        _cleanup_free_ char *type = read_text(root, type_path), *online = read_text(root, online_path),
                            *capacity = read_text(root, capacity_path), *scope = read_text(root, scope_path);
        uint64_t percent;

        if (!type || streq_ptr(scope, "Device")) /* a mouse's */
                return;
        if (streq(type, "Battery")) {
                if (capacity && parse_u64(capacity, &percent) && percent <= 100) {
                        /* Of several, the fullest: the machine lives as long as that one. */
                        c->battery_percent =
                                c->has_battery ? MAX(c->battery_percent, (unsigned) percent) : (unsigned) percent;
                        c->has_battery = true;
                }
        } else if (streq_ptr(online, "1"))
                c->on_mains = true;
}

static void read_power(const char *root, Conditions *c) {
        _cleanup_free_ char *path = path_join(root, "sys/class/power_supply");
        const struct dirent *e;
        DIR *d = opendir(path);

        if (d) {
                while ((e = readdir(d)))
                        if (e->d_name[0] != '.')
                                read_supply(root, e->d_name, c);
                closedir(d);
        }
        if (!c->has_battery)
                c->on_mains = true;
}

/* ---- network ---- */

/* A default route: proc(5), net/route and net/ipv6_route. */
static bool has_default_route(const char *root) {
        _cleanup_free_ char *v4 = read_text(root, "proc/net/route"), *v6 = read_text(root, "proc/net/ipv6_route");
        char *save = NULL;

        for (char *line = v4 ? strtok_r(v4, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_strv_free_ char **f = strv_split(line, " \t");

                if (strv_length(f) > 7 && streq(f[1], "00000000") && streq(f[7], "00000000"))
                        return true;
        }
        save = NULL;
        for (char *line = v6 ? strtok_r(v6, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_strv_free_ char **f = strv_split(line, " \t");

                if (strv_length(f) > 9 && strspn(f[0], "0") == 32 && streq(f[1], "00") && !streq(f[9], "lo"))
                        return true;
        }
        return false;
}

static bool name_has_owner(sd_bus *bus, const char *name) {
        sd_bus_message *reply = NULL;
        int owned = 0, r;

        r = sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                               "NameHasOwner", NULL, &reply, "s", name);
        if (r >= 0)
                r = sd_bus_message_read(reply, "b", &owned);
        sd_bus_message_unref(reply);
        return r >= 0 && owned;
}

/* NMMetered: 1 yes, 2 no, 3 guessed yes, 4 guessed no. */
static void read_metered(sd_bus *bus, Conditions *c) {
        uint32_t metered = 0;

        if (!name_has_owner(bus, "org.freedesktop.NetworkManager"))
                return;
        if (sd_bus_get_property_trivial(bus, "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager",
                                        "org.freedesktop.NetworkManager", "Metered", NULL, 'u', &metered) < 0)
                c->metered = true; /* it is there and does not say: somebody may be paying */
        else
                c->metered = metered == 1 || metered == 3;
}

/* ---- power, as UPower has it: it knows of supplies that the kernel does not, such as those on a serial line ---- */

#define UPOWER "org.freedesktop.UPower"
#define UPOWER_DISPLAY UPOWER, "/org/freedesktop/UPower/devices/DisplayDevice", "org.freedesktop.UPower.Device"

static void read_upower(sd_bus *bus, Conditions *c) {
        int on_battery = 0, present = 0;
        double percent = 0;

        /* Where it does not run or does not say, the kernel's figures stand. */
        if (!name_has_owner(bus, UPOWER) || sd_bus_get_property_trivial(bus, UPOWER, "/org/freedesktop/UPower", UPOWER,
                                                                        "OnBattery", NULL, 'b', &on_battery) < 0)
                return;
        c->on_mains = !on_battery;
        if (sd_bus_get_property_trivial(bus, UPOWER_DISPLAY, "IsPresent", NULL, 'b', &present) < 0 || !present ||
            sd_bus_get_property_trivial(bus, UPOWER_DISPLAY, "Percentage", NULL, 'd', &percent) < 0 ||
            !(percent >= 0 && percent <= 100))
                return;
        c->has_battery = true;
        c->battery_percent = (unsigned) percent;
}

/* ---- who must not be interrupted ---- */

static int read_inhibitors(sd_bus_message *reply, Conditions *c) {
        const char *what, *who, *why, *mode;
        uint32_t uid, pid;
        int r = sd_bus_message_enter_container(reply, 'a', "(ssssuu)");

        while (r >= 0 && (r = sd_bus_message_read(reply, "(ssssuu)", &what, &who, &why, &mode, &uid, &pid)) > 0) {
                _cleanup_strv_free_ char **kinds = strv_split(what, ":");

                if (!streq(mode, "block") || !(strv_contains(kinds, "shutdown") || strv_contains(kinds, "idle")) ||
                    c->inhibited)
                        continue;
                c->inhibited = true;
                c->inhibited_by = xasprintf("%s (%s)", who, why);
        }
        return r;
}

static void read_sessions(sd_bus *bus, Conditions *c) {
        sd_bus_message *reply = NULL;
        int idle = 0;

        if (!name_has_owner(bus, "org.freedesktop.login1")) {
                c->idle = true;
                return;
        }
        if (sd_bus_get_property_trivial(bus, LOGIND, "IdleHint", NULL, 'b', &idle) >= 0)
                c->idle = idle;
        if (sd_bus_call_method(bus, LOGIND, "ListInhibitors", NULL, &reply, NULL) < 0 ||
            read_inhibitors(reply, c) < 0) {
                c->inhibited = true;
                c->inhibited_by = c->inhibited_by ?: xstrdup("a program that logind does not name");
        }
        sd_bus_message_unref(reply);
}

int conditions_read(const char *root, Conditions *ret, Error *reterr) {
        _cleanup_(bus_freep) sd_bus *bus = NULL;
        Conditions c = {};

        read_power(root, &c);
        c.online = has_default_route(root);
        if (!streq(root, "/") || sd_bus_open_system(&bus) < 0) {
                c.idle = true;
                *ret = c;
                return 0;
        }
        (void) sd_bus_set_method_call_timeout(bus, BUS_PATIENCE_USEC);
        conditions_ask(bus, &c);
        *ret = c;
        return 0;
}

void conditions_ask(sd_bus *bus, Conditions *c) {
        read_upower(bus, c);
        read_metered(bus, c);
        read_sessions(bus, c);
}

void conditions_done(Conditions *c) {
        free(c->inhibited_by);
        *c = (Conditions){};
}

int conditions_inhibit(const char *why, int *ret_fd, Error *reterr) {
        _cleanup_(bus_freep) sd_bus *bus = NULL;
        sd_bus_message *reply = NULL;
        int fd = -EBADF, r;

        *ret_fd = -EBADF;
        if (sd_bus_open_system(&bus) < 0 || !name_has_owner(bus, "org.freedesktop.login1"))
                return 0;
        r = sd_bus_call_method(bus, LOGIND, "Inhibit", NULL, &reply, "ssss", "sleep:shutdown:handle-lid-switch",
                               "sealabd", why, "block");
        if (r >= 0)
                r = sd_bus_message_read(reply, "h", &fd);
        if (r >= 0) {
                fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
                r = fd < 0 ? -errno : 0;
        }
        sd_bus_message_unref(reply);
        if (r < 0)
                return error_errno(reterr, r, "logind does not keep the machine awake");
        *ret_fd = fd;
        return 0;
}

int conditions_reboot(Error *reterr) {
        _cleanup_(bus_freep) sd_bus *bus = NULL;
        int r = sd_bus_open_system(&bus);

        if (r >= 0)
                r = sd_bus_call_method(bus, LOGIND, "Reboot", NULL, NULL, "b", 0);
        return r < 0 ? error_errno(reterr, r, "cannot restart the machine") : 0;
}

int conditions_look_again(int64_t seconds, Error *reterr) {
        _cleanup_free_ char *after = xasprintf("--on-active=%" PRIi64, seconds);
        char *stop[] = { (char *) "systemctl", (char *) "stop", (char *) "--quiet", (char *) "sealab-later.timer",
                         NULL };
        char *argv[] = { (char *) "systemd-run",
                         (char *) "--quiet",
                         (char *) "--unit=sealab-later",
                         after,
                         (char *) "--timer-property=AccuracySec=1min",
                         (char *) "systemctl",
                         (char *) "start",
                         (char *) "--no-block",
                         (char *) "sealab-update.service",
                         NULL };

        (void) process_run(stop, NULL, NULL, NULL, NULL);
        return process_run(argv, NULL, NULL, NULL, reterr);
}

/* Documentation/admin-guide/rtc.rst: seconds since 1970 as the clock has them; a new alarm is taken only where there is
 * none. */
int conditions_wake_at(const char *root, int64_t when, Error *reterr) {
        _cleanup_free_ char *path = path_join(root, "sys/class/rtc/rtc0/wakealarm"),
                            *text = xasprintf("%" PRIi64 "\n", when);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        int r;

        if (fd < 0)
                return errno == ENOENT ? 1 : error_errno(reterr, errno, "cannot open %s", path);
        r = io_pwrite_all(fd, "0\n", 2, 0, reterr);
        if (r >= 0)
                r = io_pwrite_all(fd, text, strlen(text), 0, reterr);
        return r;
}

/* tzset(3) reads a file by name: the process is a job, short-lived and alone. */
int32_t conditions_utc_offset(const char *root, const char *time_zone, int64_t now) {
        time_t t = (time_t) now;
        struct tm tm = {};

        if (time_zone) {
                _cleanup_free_ char *value = xasprintf(":%s", time_zone);

                (void) setenv("TZ", value, 1);
        }
        tzset();
        return localtime_r(&t, &tm) ? (int32_t) tm.tm_gmtoff : 0;
}
