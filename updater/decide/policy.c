/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "policy.h"
#include "hash.h"

#define DAY 86400
#define WEEK ((int64_t) 7 * DAY)
/* A laptop that has just been opened is not always idle or on mains: look again soon, but not often. */
#define CONDITIONS_RETRY 1800

static PolicyDecision decide(PolicyAnswer answer, const char *id, int64_t until, char *reason) {
        return (PolicyDecision){ .answer = answer, .id = id, .reason = reason, .until = until };
}

void policy_decision_done(PolicyDecision *d) {
        free(d->reason);
        *d = (PolicyDecision){};
}

uint64_t policy_delay(const UpdaterSettings *s, const char *machine_id) {
        _cleanup_(hasher_freep) Hasher *h = NULL;
        uint64_t n = 0;
        Sha256 digest;

        if (s->random_delay_sec == 0)
                return 0;
        h = hasher_new();
        hasher_update_string(h, "sealab-delay");
        hasher_update_string(h, machine_id);
        hasher_final(h, &digest);
        for (size_t i = 0; i < 8; i++)
                n = n << 8 | digest.bytes[i];
        return n % s->random_delay_sec;
}

/* Days since Monday, 5 January 1970, and the second of the day, in local time. */
static void local_time(int64_t now, int32_t utc_offset, int *ret_weekday, int64_t *ret_second) {
        int64_t local = now + utc_offset, day = local / DAY, second = local % DAY;

        if (second < 0) {
                second += DAY;
                day--;
        }
        *ret_weekday = (int) (((day + 3) % 7 + 7) % 7); /* 1 January 1970 was a Thursday */
        *ret_second = second;
}

/* In seconds. Over midnight it belongs to the day on which it begins. */
static int64_t window_length(const MaintenanceWindow *w) {
        int64_t minutes = (int64_t) w->end - w->begin;

        return (minutes > 0 ? minutes : minutes + INT64_C(24) * 60) * 60;
}

/* Seconds from now until the window is next open; 0: it is. */
static int64_t until_window(const MaintenanceWindow *w, int weekday, int64_t second) {
        int64_t length = window_length(w), best = WEEK;

        for (int ago = -1; ago <= 7; ago++) {
                int64_t begin = ago * (int64_t) DAY + w->begin * INT64_C(60) - second;

                if (!(w->days & 1U << ((weekday + ago + 7) % 7)))
                        continue;
                if (begin <= 0 && begin + length > 0)
                        return 0;
                if (begin > 0)
                        best = MIN(best, begin);
        }
        return best;
}

int64_t policy_next_window(const UpdaterSettings *s, int64_t now, int32_t utc_offset) {
        int64_t best = WEEK, second;
        int weekday;

        if (s->n_windows == 0)
                return 0;
        local_time(now, utc_offset, &weekday, &second);
        for (size_t i = 0; i < s->n_windows; i++)
                best = MIN(best, until_window(&s->windows[i], weekday, second));
        return best;
}

/* Seconds until this machine's own moment in one of the windows that are open; 0: it has come. */
static int64_t until_moment(const UpdaterSettings *s, int64_t now, int32_t utc_offset, uint64_t delay) {
        int64_t best = WEEK, second;
        int weekday;

        local_time(now, utc_offset, &weekday, &second);
        for (size_t i = 0; i < s->n_windows; i++) {
                const MaintenanceWindow *w = &s->windows[i];
                int64_t length = window_length(w);

                for (int ago = -1; ago <= 0; ago++) {
                        int64_t begin = ago * (int64_t) DAY + w->begin * INT64_C(60) - second;

                        if (!(w->days & 1U << ((weekday + ago + 7) % 7)) || begin > 0 || begin + length <= 0)
                                continue;
                        best = MIN(best, MAX(begin + (int64_t) (delay % (uint64_t) length), 0));
                }
        }
        return best;
}

static PolicyDecision window(const UpdaterSettings *s, int64_t now, int32_t utc_offset) {
        int64_t wait = policy_next_window(s, now, utc_offset);

        if (wait == 0)
                return (PolicyDecision){};
        return decide(POLICY_LATER, "window", now + wait, xstrdup("outside the maintenance window"));
}

static PolicyDecision window_and_delay(const UpdaterSettings *s, int64_t now, int32_t utc_offset,
                                       const char *machine_id) {
        PolicyDecision d = window(s, now, utc_offset);
        int64_t wait;

        if (d.reason || s->n_windows == 0)
                return d;
        wait = until_moment(s, now, utc_offset, policy_delay(s, machine_id));
        if (wait == 0)
                return d;
        return decide(POLICY_LATER, "delay", now + wait,
                      xstrdup("this machine's own time in the window is yet to come"));
}

static PolicyDecision power(const UpdaterSettings *s, const Conditions *c, int64_t now) {
        if (!c->has_battery || c->on_mains || c->battery_percent >= s->battery_min)
                return (PolicyDecision){};
        if (s->battery_min >= 100)
                return decide(POLICY_LATER, "battery", now + CONDITIONS_RETRY, xstrdup("running on battery"));
        return decide(
                POLICY_LATER, "battery", now + CONDITIONS_RETRY,
                xasprintf("the battery is at %u %%, %" PRIu64 " %% are wanted", c->battery_percent, s->battery_min));
}

static PolicyDecision inhibition(const Conditions *c, int64_t now) {
        if (!c->inhibited)
                return (PolicyDecision){};
        return decide(POLICY_LATER, "inhibited", now + CONDITIONS_RETRY,
                      xasprintf("%s asked not to be interrupted", c->inhibited_by ?: "a program"));
}

PolicyDecision policy_may_download(const UpdaterSettings *s, const Conditions *c, int64_t now, int32_t utc_offset,
                                   const char *machine_id, bool critical) {
        PolicyDecision d;

        if (!s->automatic)
                return decide(POLICY_NEVER, "automatic-off", 0,
                              xstrdup("automatic updates are switched off (Automatic=no)"));
        if (strv_length(s->repositories) == 0)
                return decide(POLICY_NEVER, "no-repository", 0, xstrdup("no repository is configured (Url=)"));
        if (!c->online)
                return decide(POLICY_LATER, "offline", now + CONDITIONS_RETRY, xstrdup("there is no network"));
        if (c->metered && !s->metered)
                return decide(POLICY_LATER, "metered", now + CONDITIONS_RETRY, xstrdup("the connection is metered"));
        d = power(s, c, now);
        if (d.reason || critical)
                return d.reason ? d : decide(POLICY_NOW, "now", now, NULL);
        d = window_and_delay(s, now, utc_offset, machine_id);
        return d.reason ? d : decide(POLICY_NOW, "now", now, NULL);
}

PolicyDecision policy_may_install(const UpdaterSettings *s, const Conditions *c, int64_t now, int32_t utc_offset,
                                  const char *machine_id, bool critical) {
        PolicyDecision d;

        if (!s->automatic)
                return decide(POLICY_NEVER, "automatic-off", 0,
                              xstrdup("automatic updates are switched off (Automatic=no)"));
        d = power(s, c, now);
        if (d.reason)
                return d;
        d = inhibition(c, now);
        if (d.reason)
                return d;
        if (!critical) {
                d = window_and_delay(s, now, utc_offset, machine_id);
                if (d.reason)
                        return d;
        }
        return decide(POLICY_NOW, "now", now, NULL);
}

PolicyDecision policy_may_reboot(const UpdaterSettings *s, const Conditions *c, int64_t now, int32_t utc_offset,
                                 bool critical) {
        PolicyDecision d;

        if (s->reboot == REBOOT_NEVER)
                return decide(POLICY_NEVER, "reboot-never", 0,
                              xstrdup("restarting is left to the user (Reboot=never)"));
        d = inhibition(c, now);
        if (d.reason)
                return d;
        if (!c->idle)
                return decide(POLICY_LATER, "in-use", now + CONDITIONS_RETRY, xstrdup("somebody is using the machine"));
        if (s->reboot == REBOOT_WINDOW && !critical) {
                d = window(s, now, utc_offset);
                if (d.reason)
                        return d;
        }
        return decide(POLICY_NOW, "now", now, NULL);
}
