/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "show.h"

static const char *text_of(const json_t *o, const char *key) {
        return json_string_value(json_object_get(o, key)) ?: "";
}

static int64_t number_of(const json_t *o, const char *key) {
        return json_integer_value(json_object_get(o, key));
}

static bool flag_of(const json_t *o, const char *key) {
        return json_is_true(json_object_get(o, key));
}

static char *format_when(int64_t when) {
        time_t t = (time_t) when;
        struct tm tm;
        char text[64];

        if (when == 0)
                return xstrdup("never");
        if (!localtime_r(&t, &tm) || strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm) == 0)
                return xstrdup("?");
        return xstrdup(text);
}

/* ---- status ---- */

static void show_slot(Buffer *b, const json_t *slot) {
        const char *name = text_of(slot, "slot"), *version = text_of(slot, "version");

        if (flag_of(slot, "empty")) {
                buffer_printf(b, "  Slot %s:       empty\n", name);
                return;
        }
        buffer_printf(b, "  Slot %s:       %s", name, isempty(version) ? text_of(slot, "label") : version);
        if (flag_of(slot, "running"))
                buffer_puts(b, ", running");
        if (isempty(text_of(slot, "entry")))
                buffer_puts(b, ", cannot be started (no entry in the boot menu)");
        else if (flag_of(slot, "blessed"))
                buffer_puts(b, ", known to start");
        else if (number_of(slot, "triesLeft") > 0)
                buffer_printf(b, ", on trial, %" PRIi64 " tries left", number_of(slot, "triesLeft"));
        else
                buffer_puts(b, ", failed to start");
        buffer_puts(b, "\n");
}

static void show_state(Buffer *b, const json_t *status) {
        const json_t *state = json_object_get(status, "state"), *bad = json_object_get(state, "bad"), *item;
        _cleanup_free_ char *checked = format_when(number_of(state, "lastCheck"));
        size_t i;

        if (flag_of(state, "pinned"))
                buffer_printf(b, "  Pinned:       to %s%s; \"sealabctl unpin\" lifts that\n", text_of(state, "pin"),
                              flag_of(state, "reverted") ? ", by going back" : "");
        json_array_foreach ((json_t *) bad, i, item)
                buffer_printf(b, "  Known bad:    %s: %s\n", text_of(item, "version"), text_of(item, "reason"));
        if (!isempty(text_of(state, "available"))) {
                _cleanup_free_ char *size = format_bytes((uint64_t) number_of(state, "availableBytes"));

                buffer_printf(b, "  Available:    %s, %s%s to download\n", text_of(state, "available"),
                              flag_of(state, "availableAtMost") ? "at most " : "", size);
        }
        buffer_printf(b, "  Last check:   %s", checked);
        if (!isempty(text_of(state, "lastResult")))
                buffer_printf(b, ": %s (%s)", text_of(state, "lastMessage"), text_of(state, "lastResult"));
        buffer_puts(b, "\n");
}

char *show_status(const json_t *status) {
        const json_t *slots = json_object_get(status, "slots"), *repositories = json_object_get(status, "repositories"),
                     *item;
        _cleanup_buffer_ Buffer b = {};
        size_t i;

        buffer_printf(&b, "%s %s (%s)%s\n", text_of(status, "product"), text_of(status, "version"),
                      text_of(status, "architecture"),
                      flag_of(status, "blessed") ? "" : ", on trial: it has not been found good yet");
        if (flag_of(status, "restartNeeded"))
                buffer_printf(&b, "  Restart to finish the update to %s.\n",
                              text_of(json_object_get(json_object_get(status, "state"), "trial"), "version"));
        if (flag_of(status, "factoryReset"))
                buffer_puts(&b,
                            "  The next restart wipes this machine; \"sealabctl factory-reset --cancel\" calls that "
                            "off.\n");
        json_array_foreach ((json_t *) slots, i, item)
                show_slot(&b, item);
        buffer_printf(&b, "  Channel:      %s, %s\n", text_of(status, "channel"),
                      flag_of(status, "automatic") ? "updates by itself" : "updates only when told to");
        if (json_array_size(repositories) == 0)
                buffer_puts(&b, "  Repository:   none is configured (sealab-updater.conf(5))\n");
        json_array_foreach ((json_t *) repositories, i, item)
                buffer_printf(&b, "  Repository:   %s\n", json_string_value(item));
        show_state(&b, status);
        return buffer_steal(&b);
}

/* ---- history ---- */

static char *format_seconds(int64_t seconds) {
        if (seconds >= 3600)
                return xasprintf("%" PRIi64 ":%02" PRIi64 ":%02" PRIi64, seconds / 3600, seconds / 60 % 60,
                                 seconds % 60);
        return xasprintf("%" PRIi64 ":%02" PRIi64, seconds / 60, seconds % 60);
}

char *show_history(const json_t *history) {
        _cleanup_buffer_ Buffer b = {};
        const json_t *e;
        size_t i;

        if (json_array_size(history) == 0)
                return xstrdup("nothing has happened yet");
        json_array_foreach ((json_t *) history, i, e) {
                _cleanup_free_ char *when = format_when(number_of(e, "when")),
                                    *took = format_seconds(number_of(e, "durationSeconds")),
                                    *size = format_bytes((uint64_t) number_of(e, "bytes"));

                buffer_printf(&b, "%s  %-8s %s%s%s  %s", when, text_of(e, "action"), text_of(e, "from"),
                              isempty(text_of(e, "to")) ? "" : " -> ", text_of(e, "to"), text_of(e, "result"));
                if (number_of(e, "bytes") > 0)
                        buffer_printf(&b, ", %s in %s", size, took);
                if (!isempty(text_of(e, "usrWay")))
                        buffer_printf(&b, " (%s%s%s)", text_of(e, "usrWay"),
                                      isempty(text_of(e, "ukiWay")) ? "" : ", kernel image ", text_of(e, "ukiWay"));
                if (!isempty(text_of(e, "message")))
                        buffer_printf(&b, "\n                  %s", text_of(e, "message"));
                /* The one that failed is before it: journalctl takes ID-1, too. */
                if (streq(text_of(e, "action"), "boot") && !isempty(text_of(e, "boot")))
                        buffer_printf(&b, "\n                  judged in boot %s", text_of(e, "boot"));
                buffer_puts(&b, "\n");
        }
        return buffer_steal(&b);
}

/* ---- settings ---- */

char *show_config(const json_t *config) {
        _cleanup_buffer_ Buffer b = {};
        const char *section = "";
        const json_t *e;
        size_t i;

        json_array_foreach ((json_t *) config, i, e) {
                _cleanup_strv_free_ char **values = strv_split(text_of(e, "value"), "\n");

                if (!streq(section, text_of(e, "section"))) {
                        section = text_of(e, "section");
                        buffer_printf(&b, "%s[%s]\n", i > 0 ? "\n" : "", section);
                }
                if (!values)
                        buffer_printf(&b, "%s=%*s # %s\n", text_of(e, "key"),
                                      (int) MAX(30 - (int) strlen(text_of(e, "key")), 1), "", text_of(e, "source"));
                STRV_FOREACH (v, values)
                        buffer_printf(&b, "%s=%s%*s # %s\n", text_of(e, "key"), *v,
                                      (int) MAX(30 - (int) (strlen(text_of(e, "key")) + strlen(*v)), 1), "",
                                      text_of(e, "source"));
        }
        return buffer_steal(&b);
}

/* ---- what is on offer ---- */

char *show_check(const json_t *check) {
        const char *text = text_of(check, "text");

        return xstrdup(isempty(text) ? "nothing is known yet" : text);
}

static const char *place_of(const json_t *status, const char *version) {
        const json_t *slots = json_object_get(status, "slots"), *slot;
        size_t i;

        json_array_foreach ((json_t *) slots, i, slot)
                if (streq(text_of(slot, "version"), version))
                        return flag_of(slot, "running") ? "running" : "in the other slot";
        return "";
}

char *show_offers(const json_t *check, const json_t *status) {
        const json_t *offers = json_object_get(check, "offers"), *o;
        _cleanup_buffer_ Buffer b = {};
        size_t i;

        if (json_array_size(offers) == 0)
                buffer_puts(&b, "the channel has no release for this machine\n");
        json_array_foreach ((json_t *) offers, i, o) {
                _cleanup_free_ char *size = format_bytes((uint64_t) number_of(o, "downloadBytes"));

                buffer_printf(&b, "%-16s %10s  %s%s%s%s\n", text_of(o, "version"), size,
                              place_of(status, text_of(o, "version")), flag_of(o, "critical") ? " critical" : "",
                              isempty(text_of(o, "withdrawn")) ? "" : " withdrawn: ", text_of(o, "withdrawn"));
                if (!isempty(text_of(o, "notes")))
                        buffer_printf(&b, "                 %s\n", text_of(o, "notes"));
        }
        return buffer_steal(&b);
}

char *show_verify(const json_t *slots) {
        _cleanup_buffer_ Buffer b = {};
        const json_t *s;
        size_t i;

        json_array_foreach ((json_t *) slots, i, s)
                buffer_printf(&b, "%s%s: %s\n", text_of(s, "version"), flag_of(s, "running") ? " (running)" : "",
                              flag_of(s, "good") ? "every block is what was signed" : text_of(s, "message"));
        return buffer_steal(&b);
}

/* ---- drift ---- */

bool drift_path_matches(const char *entry, const char *path) {
        size_t n = strlen(path);

        while (n > 1 && path[n - 1] == '/')
                n--;
        return strncmp(entry, path, n) == 0 && (entry[n] == 0 || entry[n] == '/');
}

static void show_drift_entry(Buffer *b, const json_t *e) {
        bool attributes = streq(text_of(e, "kind"), "attributes");

        buffer_printf(b, "%-10s %s%s", attributes ? "mode/owner" : text_of(e, "kind"), text_of(e, "path"),
                      flag_of(e, "folder") ? "/" : "");
        if (!isempty(text_of(e, "mode")))
                buffer_printf(b, "  mode %s instead of %s", text_of(e, "mode"), text_of(e, "defaultMode"));
        if (!isempty(text_of(e, "owner")))
                buffer_printf(b, "  owner %s instead of %s", text_of(e, "owner"), text_of(e, "defaultOwner"));
        if (attributes && isempty(text_of(e, "mode")) && isempty(text_of(e, "owner")))
                buffer_puts(b, "  access list or capabilities");
        if (flag_of(e, "earlierDefault"))
                buffer_puts(b, "  (the default of an earlier image)");
        if (!isempty(text_of(e, "own")))
                buffer_printf(b, "  (%s)", text_of(e, "own"));
        buffer_puts(b, "\n");
}

char *show_drift(const json_t *drift, const char *path, bool own) {
        const json_t *entries = json_object_get(drift, "entries"), *e;
        _cleanup_buffer_ Buffer b = {};
        size_t i, hidden = 0;

        json_array_foreach ((json_t *) entries, i, e) {
                if (path && !drift_path_matches(text_of(e, "path"), path))
                        continue;
                if (!isempty(text_of(e, "own")) && !own)
                        hidden++;
                else
                        show_drift_entry(&b, e);
        }
        if (b.size == 0)
                buffer_printf(&b, "%s is as the image has it\n", path ?: "/etc");
        if (flag_of(drift, "truncated"))
                buffer_puts(&b, "... and more\n");
        if (hidden > 0)
                buffer_printf(&b, "(%zu that every machine makes for itself are not shown; --all)\n", hidden);
        return buffer_steal(&b);
}

/* ---- progress ---- */

char *show_progress(const char *step, uint64_t done, uint64_t total, double seconds) {
        _cleanup_free_ char *d = format_bytes(done), *t = format_bytes(total), *speed = NULL, *left = NULL;

        if (total == 0)
                return xstrdup(step);
        if (seconds < 1 || done == 0)
                return xasprintf("%s: %s of %s", step, d, t);
        speed = format_bytes((uint64_t) ((double) done / seconds));
        left = format_seconds((int64_t) ((double) (total - MIN(done, total)) / ((double) done / seconds)));
        return xasprintf("%s: %s of %s, %s/s, %s left", step, d, t, speed, left);
}
