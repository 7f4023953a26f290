/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>

#include "io.h"
#include "settings.h"

#define TRIES_MAX 9
#define DELAY_MAX UINT64_C(604800) /* a week */
#define DROP_INS_MAX 256

typedef struct Reader {
        UpdaterSettings *settings;
        ConfDiagnostics *diagnostics;
} Reader;

/* Sets the value; false: it makes no sense, and nothing was changed. "" means the default again, also for lists. */
typedef bool (*Setter)(UpdaterSettings *s, const char *value);

/* ---- values ---- */

static bool set_text(char **target, const char *value) {
        free(*target);
        *target = isempty(value) ? NULL : xstrdup(value);
        return true;
}

static bool url_is_known(const char *url) {
        return (startswith(url, "https://") || startswith(url, "http://") || startswith(url, "file:///")) &&
               !strpbrk(url, " \t");
}

static bool set_url(UpdaterSettings *s, const char *value) {
        _cleanup_strv_free_ char **urls = NULL;

        if (isempty(value)) {
                s->repositories = strv_free(s->repositories);
                return true;
        }
        urls = strv_split(value, " \t");
        STRV_FOREACH (url, urls)
                if (!url_is_known(*url))
                        return false;
        if (strv_length(s->repositories) + strv_length(urls) > SETTINGS_REPOSITORIES_MAX)
                return false;
        strv_extend_strv(&s->repositories, urls);
        return true;
}

static bool name_is_valid(const char *value) {
        return strlen(value) <= 32 &&
               strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == strlen(value);
}

static bool set_channel(UpdaterSettings *s, const char *value) {
        if (!name_is_valid(value))
                return false;
        return set_text(&s->channel, isempty(value) ? "stable" : value);
}

static bool set_product(UpdaterSettings *s, const char *value) {
        return name_is_valid(value) && set_text(&s->product, value);
}

static bool set_proxy(UpdaterSettings *s, const char *value) {
        return set_text(&s->proxy, value);
}

static bool set_path(char **target, const char *value) {
        return (isempty(value) || *value == '/') && set_text(target, value);
}

static bool set_ca(UpdaterSettings *s, const char *value) {
        return set_path(&s->ca_certificate, value);
}

static bool set_certificate(UpdaterSettings *s, const char *value) {
        return set_path(&s->client_certificate, value);
}

static bool set_key(UpdaterSettings *s, const char *value) {
        return set_path(&s->client_key, value);
}

static bool set_rate(UpdaterSettings *s, const char *value) {
        uint64_t rate = 0;

        if (!isempty(value) && !parse_size(value, &rate))
                return false;
        s->rate_limit = rate;
        return true;
}

static bool set_flag(bool *target, const char *value, bool by_default) {
        bool b = by_default;

        if (!isempty(value) && !parse_bool(value, &b))
                return false;
        *target = b;
        return true;
}

static bool set_automatic(UpdaterSettings *s, const char *value) {
        return set_flag(&s->automatic, value, true);
}

static bool set_metered(UpdaterSettings *s, const char *value) {
        return set_flag(&s->metered, value, false);
}

static bool set_wake(UpdaterSettings *s, const char *value) {
        return set_flag(&s->wake, value, false);
}

static const char *const day_names[7] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };

static int parse_day(const char *s, size_t n) {
        for (int i = 0; i < 7; i++)
                if (n == 3 && strncasecmp(s, day_names[i], 3) == 0)
                        return i;
        return -1;
}

/* "Mon", "Mon..Fri", "Sat..Mon", joined by commas. */
static bool parse_days(const char *s, uint8_t *ret) {
        _cleanup_strv_free_ char **parts = strv_split(s, ",");
        uint8_t days = 0;

        STRV_FOREACH (part, parts) {
                const char *dots = strstr(*part, "..");
                int first = parse_day(*part, dots ? (size_t) (dots - *part) : strlen(*part));
                int last = dots ? parse_day(dots + 2, strlen(dots + 2)) : first;

                if (first < 0 || last < 0)
                        return false;
                for (int d = first;; d = (d + 1) % 7) {
                        days |= (uint8_t) (1U << d);
                        if (d == last)
                                break;
                }
        }
        *ret = days;
        return days != 0;
}

static bool parse_minutes(const char *s, size_t n, uint16_t *ret) {
        _cleanup_free_ char *text = xstrndup(s, n);
        uint64_t hours, minutes;
        char *colon = strchr(text, ':');

        if (!colon || strlen(colon + 1) != 2)
                return false;
        *colon = 0;
        if (!parse_u64(text, &hours) || !parse_u64(colon + 1, &minutes) || hours > 24 || minutes > 59 ||
            (hours == 24 && minutes > 0))
                return false;
        *ret = (uint16_t) (hours * 60 + minutes);
        return true;
}

/* "[DAYS ]HH:MM-HH:MM" */
static bool parse_window(const char *value, MaintenanceWindow *ret) {
        _cleanup_strv_free_ char **words = strv_split(value, " \t");
        size_t n = strv_length(words);
        MaintenanceWindow w = { .days = 0x7f };
        const char *times, *dash;

        if (n < 1 || n > 2 || (n == 2 && !parse_days(words[0], &w.days)))
                return false;
        times = words[n - 1];
        dash = strchr(times, '-');
        if (!dash || !parse_minutes(times, (size_t) (dash - times), &w.begin) ||
            !parse_minutes(dash + 1, strlen(dash + 1), &w.end) || w.begin == w.end || w.begin == 24 * 60)
                return false;
        *ret = w;
        return true;
}

static bool set_window(UpdaterSettings *s, const char *value) {
        if (isempty(value)) {
                s->n_windows = 0;
                return true;
        }
        if (s->n_windows == SETTINGS_WINDOWS_MAX || !parse_window(value, &s->windows[s->n_windows]))
                return false;
        s->n_windows++;
        return true;
}

/* A name of the time zone database: the path of a file, so nothing that could leave that folder. */
static bool set_time_zone(UpdaterSettings *s, const char *value) {
        if (!isempty(value) &&
            (!path_is_clean_relative(value) ||
             strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/") != strlen(value)))
                return false;
        return set_text(&s->time_zone, value);
}

/* "4h", "90min", "1d", "600s", "600" */
static bool parse_span(const char *value, uint64_t *ret) {
        static const struct {
                const char *suffix;
                uint64_t seconds;
        } units[] = { { "min", 60 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 }, { "s", 1 }, { "", 1 } };
        size_t digits = strspn(value, "0123456789");
        _cleanup_free_ char *number = xstrndup(value, digits);
        uint64_t n;

        if (!parse_u64(number, &n))
                return false;
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (streq(value + digits, units[i].suffix))
                        return !__builtin_mul_overflow(n, units[i].seconds, ret);
        return false;
}

static bool set_delay(UpdaterSettings *s, const char *value) {
        uint64_t seconds = 4 * 3600;

        if (!isempty(value) && (!parse_span(value, &seconds) || seconds > DELAY_MAX))
                return false;
        s->random_delay_sec = seconds;
        return true;
}

static bool set_battery(UpdaterSettings *s, const char *value) {
        _cleanup_free_ char *text = xstrdup(value);
        size_t n = strlen(text);
        uint64_t percent = 50;

        if (n > 0 && text[n - 1] == '%')
                text[n - 1] = 0;
        if (!isempty(value) && (!parse_u64(text, &percent) || percent > 100))
                return false;
        s->battery_min = percent;
        return true;
}

static bool set_reboot(UpdaterSettings *s, const char *value) {
        static const char *const names[_REBOOT_POLICY_MAX] = { "never", "idle", "window" };

        if (isempty(value)) {
                s->reboot = REBOOT_NEVER;
                return true;
        }
        for (RebootPolicy p = 0; p < _REBOOT_POLICY_MAX; p++)
                if (streq(value, names[p])) {
                        s->reboot = p;
                        return true;
                }
        return false;
}

static bool set_tries(UpdaterSettings *s, const char *value) {
        uint64_t tries = 3;

        if (!isempty(value) && (!parse_u64(value, &tries) || tries < 1 || tries > TRIES_MAX))
                return false;
        s->tries = tries;
        return true;
}

/* ---- the table ---- */

static const struct Key {
        const char *section, *key;
        bool list;
        Setter set;
        const char *by_default, *wanted;
} keys[] = {
        { "Repository", "Url", true, set_url, "", "https://, http:// or file:/// addresses, 16 at most" },
        { "Repository", "Channel", false, set_channel, "stable", "at most 32 letters, digits, '.' and '-'" },
        { "Repository", "Product", false, set_product, "", "at most 32 letters, digits, '.' and '-'" },
        { "Repository", "Proxy", false, set_proxy, "", "an address" },
        { "Repository", "CACertificate", false, set_ca, "", "an absolute path" },
        { "Repository", "ClientCertificate", false, set_certificate, "", "an absolute path" },
        { "Repository", "ClientKey", false, set_key, "", "an absolute path" },
        { "Repository", "RateLimit", false, set_rate, "", "bytes a second, with K, M or G" },
        { "Policy", "Automatic", false, set_automatic, "yes", "yes or no" },
        { "Policy", "Window", true, set_window, "", "like \"Mon..Fri 02:00-05:30\", 32 at most" },
        { "Policy", "TimeZone", false, set_time_zone, "", "a time zone like Europe/Berlin" },
        { "Policy", "RandomDelay", false, set_delay, "4h", "a time of at most 7d, like 4h or 30min" },
        { "Policy", "BatteryMin", false, set_battery, "50", "a percentage" },
        { "Policy", "Metered", false, set_metered, "no", "yes or no" },
        { "Policy", "Wake", false, set_wake, "no", "yes or no" },
        { "Policy", "Reboot", false, set_reboot, "never", "never, idle or window" },
        { "Policy", "Tries", false, set_tries, "3", "a number from 1 to 9" },
};

/* ---- files ---- */

static void record(UpdaterSettings *s, size_t key, const char *value, const char *source) {
        SettingsEntry *e = &s->entries[key];

        if (keys[key].list && !isempty(e->value) && !isempty(value)) {
                char *both = xasprintf("%s\n%s", e->value, value), *sources = xasprintf("%s, %s", e->source, source);

                free(e->value);
                free(e->source);
                e->value = both;
                e->source = sources;
                return;
        }
        free(e->value);
        free(e->source);
        e->value = xstrdup(isempty(value) ? keys[key].by_default : value);
        e->source = xstrdup(source);
}

static void apply_item(Reader *r, const char *path, const ConfItem *item) {
        const char *names[ELEMENTSOF(keys) + 1] = {};
        const char *near;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                _cleanup_free_ char *source = NULL;

                names[i] = keys[i].key;
                if (!streq(item->section, keys[i].section) || !streq(item->key, keys[i].key))
                        continue;
                if (!keys[i].set(r->settings, item->value)) {
                        conf_diagnose(r->diagnostics, path, item->line, item->column, NULL,
                                      "%s=%s is ignored: %s was expected", item->key, item->value, keys[i].wanted);
                        return;
                }
                source = xasprintf("%s:%u", path, item->line);
                record(r->settings, i, item->value, source);
                return;
        }
        near = conf_suggest(item->key, names);
        {
                _cleanup_free_ char *suggestion = near ? xasprintf("did you mean '%s'?", near) : NULL;

                conf_diagnose(r->diagnostics, path, item->line, item->column, suggestion,
                              "[%s] %s= is ignored: there is no such setting", item->section, item->key);
        }
}

static void apply_file(Reader *r, const char *path, const char *shown) {
        _cleanup_(conf_freep) ConfFile *file = NULL;
        _cleanup_error_ Error e = {};

        if (conf_read(AT_FDCWD, path, r->diagnostics, &file, &e) < 0) {
                if (e.id != REFUSAL_NOT_FOUND)
                        conf_diagnose(r->diagnostics, shown, 0, 0, NULL, "is ignored: %s", e.message);
                return;
        }
        for (size_t i = 0; i < file->n_items; i++)
                apply_item(r, shown, &file->items[i]);
}

static void collect_drop_ins(const char *folder, char ***names) {
        DIR *d = opendir(folder);
        const struct dirent *entry;

        if (!d)
                return;
        while ((entry = readdir(d)) && strv_length(*names) < DROP_INS_MAX)
                if (endswith(entry->d_name, ".conf") && entry->d_name[0] != '.')
                        strv_extend(names, entry->d_name);
        closedir(d);
}

static void apply_drop_ins(Reader *r, const char *root) {
        _cleanup_free_ char *etc = path_join(root, "etc/sealab/updater.conf.d"),
                            *usr = path_join(root, "usr/lib/sealab/updater.conf.d");
        _cleanup_strv_free_ char **names = NULL;

        collect_drop_ins(etc, &names);
        collect_drop_ins(usr, &names);
        if (names)
                strv_sort_unique(names);
        STRV_FOREACH (name, names) {
                _cleanup_free_ char *in_etc = path_join(etc, *name), *in_usr = path_join(usr, *name);
                bool mine = io_exists(AT_FDCWD, in_etc);
                _cleanup_free_ char *shown =
                        xasprintf("%s/sealab/updater.conf.d/%s", mine ? "/etc" : "/usr/lib", *name);

                apply_file(r, mine ? in_etc : in_usr, shown);
        }
}

int settings_load(const char *root, ConfDiagnostics *diagnostics, UpdaterSettings **ret, Error *reterr) {
        _cleanup_free_ char *usr = path_join(root, "usr/lib/sealab/updater.conf"),
                            *etc = path_join(root, "etc/sealab/updater.conf");
        UpdaterSettings *s = xnew(UpdaterSettings, 1);
        Reader r = { .settings = s, .diagnostics = diagnostics };

        s->entries = xnew(SettingsEntry, ELEMENTSOF(keys));
        s->n_entries = ELEMENTSOF(keys);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                s->entries[i].section = keys[i].section;
                s->entries[i].key = keys[i].key;
                keys[i].set(s, "");
                record(s, i, "", "default");
        }
        apply_file(&r, usr, "/usr/lib/sealab/updater.conf");
        apply_file(&r, etc, "/etc/sealab/updater.conf");
        apply_drop_ins(&r, root);
        *ret = s;
        return 0;
}

UpdaterSettings *settings_free(UpdaterSettings *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_entries; i++) {
                free(s->entries[i].value);
                free(s->entries[i].source);
        }
        free(s->entries);
        strv_free(s->repositories);
        free(s->channel);
        free(s->product);
        free(s->proxy);
        free(s->ca_certificate);
        free(s->client_certificate);
        free(s->client_key);
        free(s->time_zone);
        free(s);
        return NULL;
}
