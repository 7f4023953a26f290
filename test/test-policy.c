/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "policy.h"

#define MONDAY INT64_C(1795392000) /* 2026-11-23 00:00 UTC */
#define HOUR INT64_C(3600)
#define DAY (24 * HOUR)
#define AT(day, hour, minute) (MONDAY + (day) *DAY + (hour) *HOUR + (minute) *INT64_C(60))
#define MACHINE "0123456789abcdef0123456789abcdef"
#define WORKDAYS 0x1f
#define ALL_DAYS 0x7f

static char *repositories[] = { (char *) "https://updates.example", NULL };

static UpdaterSettings plain_settings(void) {
        return (UpdaterSettings){ .repositories = repositories, .automatic = true, .battery_min = 50, .tries = 3 };
}

static Conditions plain_conditions(void) {
        return (Conditions){ .on_mains = true, .online = true, .idle = true };
}

static MaintenanceWindow window(uint8_t days, unsigned begin, unsigned end) {
        return (MaintenanceWindow){ .days = days, .begin = (uint16_t) begin, .end = (uint16_t) end };
}

static void assert_decision(PolicyDecision d, PolicyAnswer answer, const char *id, int64_t until) {
        _cleanup_(policy_decision_done) PolicyDecision mine = d;

        assert_int_equal(mine.answer, answer);
        if (id)
                assert_string_equal(mine.id, id);
        if (answer == POLICY_LATER)
                assert_int_equal(mine.until, until);
        assert_true(answer == POLICY_NOW || !isempty(mine.reason));
}

/* ---- windows ---- */

static void windows_open_and_close(void **state) {
        static const struct {
                uint8_t days;
                unsigned begin, end; /* minutes */
                int64_t now;
                int32_t utc_offset;
                int64_t wait;
        } cases[] = {
                /* On one day. */
                { ALL_DAYS, 120, 330, AT(0, 1, 59), 0, 60 },
                { ALL_DAYS, 120, 330, AT(0, 2, 0), 0, 0 },
                { ALL_DAYS, 120, 330, AT(0, 5, 29) + 59, 0, 0 },
                { ALL_DAYS, 120, 330, AT(0, 5, 30), 0, 20 * HOUR + 1800 },
                { ALL_DAYS, 0, 1440, AT(3, 17, 0), 0, 0 },
                { ALL_DAYS, 0, 1440, AT(3, 0, 0), 0, 0 },
                /* Over midnight: it belongs to the day of its beginning. */
                { ALL_DAYS, 1380, 60, AT(0, 23, 0), 0, 0 },
                { ALL_DAYS, 1380, 60, AT(1, 0, 59), 0, 0 },
                { ALL_DAYS, 1380, 60, AT(1, 1, 0), 0, 22 * HOUR },
                { 0x01, 1380, 60, AT(0, 22, 0), 0, HOUR },
                { 0x01, 1380, 60, AT(1, 0, 30), 0, 0 },
                { 0x01, 1380, 60, AT(0, 0, 30), 0, 22 * HOUR + 1800 },
                { 0x40, 1380, 60, AT(0, 0, 30), 0, 0 }, /* Sunday's goes into Monday */
                { 0x40, 1380, 60, AT(6, 23, 30), 0, 0 },
                /* Weekdays. */
                { WORKDAYS, 120, 330, AT(4, 3, 0), 0, 0 },
                { WORKDAYS, 120, 330, AT(5, 3, 0), 0, 2 * DAY - HOUR },
                { WORKDAYS, 120, 330, AT(6, 3, 0), 0, DAY - HOUR },
                { 0x01, 120, 330, AT(0, 6, 0), 0, 7 * DAY - 4 * HOUR },
                { 0x60, 600, 660, AT(0, 10, 30), 0, 5 * DAY - 1800 },
                /* Zones. */
                { ALL_DAYS, 120, 330, AT(0, 1, 0), 3600, 0 },
                { ALL_DAYS, 120, 330, AT(0, 2, 0), -3600, HOUR },
                { 0x01, 120, 330, AT(6, 13, 0), 14 * 3600, 0 }, /* it is Monday 03:00 there */
                { 0x40, 1080, 1200, AT(0, 6, 0), -12 * 3600, 0 },
                { 0x01, 0, 60, AT(0, 0, 0) - 19800, 19800, 0 },
                { 0x01, 0, 60, AT(0, 0, 0) - 19801, 19800, 1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                UpdaterSettings s = plain_settings();
                Conditions c = plain_conditions();
                int64_t wait;

                s.windows[0] = window(cases[i].days, cases[i].begin, cases[i].end);
                s.n_windows = 1;
                wait = policy_next_window(&s, cases[i].now, cases[i].utc_offset);
                if (wait != cases[i].wait)
                        print_error("case %zu: %" PRId64 " instead of %" PRId64 "\n", i, wait, cases[i].wait);
                assert_int_equal(wait, cases[i].wait);
                assert_decision(policy_may_install(&s, &c, cases[i].now, cases[i].utc_offset, MACHINE, false),
                                wait == 0 ? POLICY_NOW : POLICY_LATER, wait == 0 ? NULL : "window",
                                cases[i].now + wait);
        }
}

static void no_window_is_always_open(void **state) {
        UpdaterSettings s = plain_settings();

        assert_int_equal(policy_next_window(&s, AT(2, 14, 0), 0), 0);
}

static void the_nearest_of_several_windows_counts(void **state) {
        UpdaterSettings s = plain_settings();

        s.windows[0] = window(0x20, 600, 700); /* Saturday */
        s.windows[1] = window(0x02, 600, 700); /* Tuesday */
        s.windows[2] = window(0x08, 600, 700); /* Thursday */
        s.n_windows = 3;
        assert_int_equal(policy_next_window(&s, AT(0, 10, 0), 0), DAY);
        assert_int_equal(policy_next_window(&s, AT(1, 12, 0), 0), 2 * DAY - 2 * HOUR);
        assert_int_equal(policy_next_window(&s, AT(5, 10, 30), 0), 0);
}

/* Also before 1970, where a machine without a clock is. */
static void a_clock_that_is_not_set_does_no_harm(void **state) {
        UpdaterSettings s = plain_settings();

        s.windows[0] = window(0x08, 0, 60); /* 1 January 1970 was a Thursday */
        s.n_windows = 1;
        assert_int_equal(policy_next_window(&s, 0, 0), 0);
        assert_int_equal(policy_next_window(&s, 0, -3600), HOUR);
        assert_int_equal(policy_next_window(&s, -1800, 0), 1800);
}

static void once_open_it_has_been_waited_for(void **state) {
        static const MaintenanceWindow some[] = { { 0x15, 1400, 30 }, { 0x2a, 300, 301 }, { 0x40, 0, 1440 } };

        for (size_t i = 0; i < ELEMENTSOF(some); i++)
                for (int64_t now = MONDAY; now < MONDAY + 14 * DAY; now += 1777) {
                        UpdaterSettings s = plain_settings();
                        int64_t wait;

                        s.windows[0] = some[i];
                        s.n_windows = 1;
                        wait = policy_next_window(&s, now, 0);
                        assert_true(wait >= 0 && wait <= 7 * DAY);
                        assert_int_equal(policy_next_window(&s, now + wait, 0), 0);
                        if (wait > 0)
                                assert_int_equal(policy_next_window(&s, now + wait - 1, 0), 1);
                }
}

/* ---- the machine's own moment ---- */

static void the_delay_is_the_machine_s_own_and_stable(void **state) {
        UpdaterSettings s = plain_settings();
        unsigned quarters[4] = {};

        s.random_delay_sec = 4 * HOUR;
        for (unsigned i = 0; i < 1000; i++) {
                _cleanup_free_ char *id = xasprintf("%032x", i);
                uint64_t delay = policy_delay(&s, id);

                assert_true(delay < 4 * HOUR);
                assert_int_equal(delay, policy_delay(&s, id));
                quarters[delay / HOUR]++;
        }
        for (size_t i = 0; i < 4; i++)
                assert_in_range(quarters[i], 180, 320);
        s.random_delay_sec = 0;
        assert_int_equal(policy_delay(&s, MACHINE), 0);
}

static void machines_are_spread_inside_a_window(void **state) {
        UpdaterSettings s = plain_settings();
        Conditions c = plain_conditions();
        unsigned now = 0, later = 0;

        s.random_delay_sec = 4 * HOUR;
        s.windows[0] = window(ALL_DAYS, 120, 180);
        s.n_windows = 1;
        for (unsigned i = 0; i < 200; i++) {
                _cleanup_free_ char *id = xasprintf("%032x", i);
                int64_t moment = AT(0, 2, 0) + (int64_t) (policy_delay(&s, id) % (uint64_t) HOUR);

                if (moment > AT(0, 2, 0)) {
                        assert_decision(policy_may_download(&s, &c, AT(0, 2, 0), 0, id, false), POLICY_LATER, "delay",
                                        moment);
                        assert_decision(policy_may_install(&s, &c, moment - 1, 0, id, false), POLICY_LATER, "delay",
                                        moment);
                }
                assert_decision(policy_may_download(&s, &c, moment, 0, id, false), POLICY_NOW, NULL, 0);
                assert_decision(policy_may_install(&s, &c, AT(0, 2, 59) + 59, 0, id, false), POLICY_NOW, NULL, 0);
                assert_decision(policy_may_install(&s, &c, AT(0, 3, 0), 0, id, false), POLICY_LATER, "window",
                                AT(1, 2, 0));
                if (moment < AT(0, 2, 30))
                        now++;
                else
                        later++;
        }
        assert_true(now > 60 && later > 60);
}

static void the_delay_counts_from_the_beginning_over_midnight(void **state) {
        UpdaterSettings s = plain_settings();
        Conditions c = plain_conditions();
        int64_t moment;

        s.random_delay_sec = 7 * 86400;
        s.windows[0] = window(0x01, 1380, 60);
        s.n_windows = 1;
        moment = AT(0, 23, 0) + (int64_t) (policy_delay(&s, MACHINE) % (uint64_t) (2 * HOUR));
        for (int64_t t = AT(0, 23, 0); t < AT(1, 1, 0); t += 61)
                assert_decision(policy_may_install(&s, &c, t, 0, MACHINE, false),
                                t < moment ? POLICY_LATER : POLICY_NOW, NULL, moment);
}

static void nothing_is_delayed_without_windows_or_when_critical(void **state) {
        UpdaterSettings s = plain_settings();
        Conditions c = plain_conditions();

        s.random_delay_sec = 4 * HOUR;
        assert_decision(policy_may_install(&s, &c, AT(0, 2, 0), 0, MACHINE, false), POLICY_NOW, NULL, 0);
        s.windows[0] = window(ALL_DAYS, 120, 180);
        s.n_windows = 1;
        assert_decision(policy_may_install(&s, &c, AT(0, 2, 0), 0, MACHINE, true), POLICY_NOW, NULL, 0);
        assert_decision(policy_may_download(&s, &c, AT(0, 12, 0), 0, MACHINE, true), POLICY_NOW, NULL, 0);
}

/* ---- power, network, people ---- */

typedef struct Case {
        const char *name;
        UpdaterSettings settings;
        Conditions conditions;
        bool critical;
        PolicyAnswer download, install, reboot;
        const char *download_id, *install_id, *reboot_id;
} Case;

#define SETTINGS(...)                                                                                                  \
        { .repositories = repositories, .automatic = true, .battery_min = 50, __VA_ARGS__ }
#define CONDITIONS(...)                                                                                                \
        { .on_mains = true, .online = true, .idle = true, __VA_ARGS__ }

static const Case cases[] = {
        { "all well", SETTINGS(.reboot = REBOOT_IDLE), CONDITIONS(.has_battery = false) },
        { "automatic off",
          { .repositories = repositories, .reboot = REBOOT_IDLE },
          CONDITIONS(.has_battery = false),
          .download = POLICY_NEVER,
          .install = POLICY_NEVER,
          .download_id = "automatic-off",
          .install_id = "automatic-off" },
        { "automatic off, critical",
          { .repositories = repositories, .reboot = REBOOT_IDLE },
          CONDITIONS(.has_battery = false),
          .critical = true,
          .download = POLICY_NEVER,
          .install = POLICY_NEVER },
        { "no repository",
          { .automatic = true, .reboot = REBOOT_IDLE },
          CONDITIONS(.has_battery = false),
          .download = POLICY_NEVER,
          .download_id = "no-repository" },
        { "offline",
          SETTINGS(.reboot = REBOOT_IDLE),
          { .on_mains = true, .idle = true },
          .download = POLICY_LATER,
          .download_id = "offline" },
        { "metered", SETTINGS(.reboot = REBOOT_IDLE), CONDITIONS(.metered = true), .download = POLICY_LATER,
          .download_id = "metered" },
        { "metered, critical", SETTINGS(.reboot = REBOOT_IDLE), CONDITIONS(.metered = true), .critical = true,
          .download = POLICY_LATER, .download_id = "metered" },
        { "metered and allowed", SETTINGS(.metered = true, .reboot = REBOOT_IDLE), CONDITIONS(.metered = true) },
        { "battery low",
          SETTINGS(.reboot = REBOOT_IDLE),
          { .online = true, .idle = true, .has_battery = true, .battery_percent = 49 },
          .download = POLICY_LATER,
          .install = POLICY_LATER,
          .download_id = "battery",
          .install_id = "battery" },
        { "battery low, critical",
          SETTINGS(.reboot = REBOOT_IDLE),
          { .online = true, .idle = true, .has_battery = true, .battery_percent = 49 },
          .critical = true,
          .download = POLICY_LATER,
          .install = POLICY_LATER },
        { "battery just enough",
          SETTINGS(.reboot = REBOOT_IDLE),
          { .online = true, .idle = true, .has_battery = true, .battery_percent = 50 } },
        { "battery low but on mains", SETTINGS(.reboot = REBOOT_IDLE),
          CONDITIONS(.has_battery = true, .battery_percent = 1) },
        { "no battery at all", SETTINGS(.reboot = REBOOT_IDLE), { .online = true, .idle = true } },
        { "mains only",
          { .repositories = repositories, .automatic = true, .battery_min = 100, .reboot = REBOOT_IDLE },
          { .online = true, .idle = true, .has_battery = true, .battery_percent = 99 },
          .download = POLICY_LATER,
          .install = POLICY_LATER },
        { "inhibited", SETTINGS(.reboot = REBOOT_IDLE), CONDITIONS(.inhibited = true), .install = POLICY_LATER,
          .reboot = POLICY_LATER, .install_id = "inhibited", .reboot_id = "inhibited" },
        { "in use",
          SETTINGS(.reboot = REBOOT_IDLE),
          { .on_mains = true, .online = true },
          .reboot = POLICY_LATER,
          .reboot_id = "in-use" },
        { "in use, critical",
          SETTINGS(.reboot = REBOOT_IDLE),
          { .on_mains = true, .online = true },
          .critical = true,
          .reboot = POLICY_LATER },
        { "no restart by itself", SETTINGS(.metered = true), CONDITIONS(.has_battery = false), .reboot = POLICY_NEVER,
          .reboot_id = "reboot-never" },
        { "no restart by itself, critical", SETTINGS(.metered = true), CONDITIONS(.has_battery = false),
          .critical = true, .reboot = POLICY_NEVER },
};

static void conditions_hold_it_back(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const Case *k = &cases[i];

                print_message("%s\n", k->name);
                assert_decision(policy_may_download(&k->settings, &k->conditions, MONDAY, 0, MACHINE, k->critical),
                                k->download, k->download_id, MONDAY + 1800);
                assert_decision(policy_may_install(&k->settings, &k->conditions, MONDAY, 0, MACHINE, k->critical),
                                k->install, k->install_id, MONDAY + 1800);
                assert_decision(policy_may_reboot(&k->settings, &k->conditions, MONDAY, 0, k->critical), k->reboot,
                                k->reboot_id, MONDAY + 1800);
        }
}

static void the_inhibitor_is_named(void **state) {
        UpdaterSettings s = plain_settings();
        Conditions c = plain_conditions();
        _cleanup_(policy_decision_done) PolicyDecision d = {};

        c.inhibited = true;
        c.inhibited_by = (char *) "Presenter";
        d = policy_may_install(&s, &c, MONDAY, 0, MACHINE, false);
        assert_non_null(strstr(d.reason, "Presenter"));
}

static void restarts_keep_to_the_window_only_where_asked(void **state) {
        UpdaterSettings s = plain_settings();
        Conditions c = plain_conditions();

        s.windows[0] = window(ALL_DAYS, 120, 180);
        s.n_windows = 1;
        s.random_delay_sec = 4 * HOUR;
        s.reboot = REBOOT_WINDOW;
        assert_decision(policy_may_reboot(&s, &c, AT(0, 12, 0), 0, false), POLICY_LATER, "window", AT(1, 2, 0));
        assert_decision(policy_may_reboot(&s, &c, AT(0, 12, 0), 0, true), POLICY_NOW, NULL, 0);
        assert_decision(policy_may_reboot(&s, &c, AT(0, 2, 0), 0, false), POLICY_NOW, NULL, 0);
        s.reboot = REBOOT_IDLE;
        assert_decision(policy_may_reboot(&s, &c, AT(0, 12, 0), 0, false), POLICY_NOW, NULL, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(windows_open_and_close),
                cmocka_unit_test(no_window_is_always_open),
                cmocka_unit_test(the_nearest_of_several_windows_counts),
                cmocka_unit_test(a_clock_that_is_not_set_does_no_harm),
                cmocka_unit_test(once_open_it_has_been_waited_for),
                cmocka_unit_test(the_delay_is_the_machine_s_own_and_stable),
                cmocka_unit_test(machines_are_spread_inside_a_window),
                cmocka_unit_test(the_delay_counts_from_the_beginning_over_midnight),
                cmocka_unit_test(nothing_is_delayed_without_windows_or_when_critical),
                cmocka_unit_test(conditions_hold_it_back),
                cmocka_unit_test(the_inhibitor_is_named),
                cmocka_unit_test(restarts_keep_to_the_window_only_where_asked),
        };

        return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
