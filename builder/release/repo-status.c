/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "repo-status.h"
#include "io.h"
#include "publish.h"

#define DAY INT64_C(86400)
#define HOUR INT64_C(3600)

/* ---- gathering ---- */

/* All roles in the order in which people think of them. */
static char **role_names(const Repository *r) {
        char **names = NULL;

        for (TufType t = 0; t < _TUF_TYPE_MAX; t++)
                strv_extend(&names, (const char *const[]){ "root", "targets", "snapshot", "timestamp" }[t]);
        for (size_t i = 0; i < r->n_channels; i++)
                strv_extend(&names, r->targets->delegations[i].name);
        return names;
}

static json_t *role_keys(const Repository *r, const RepoKeys *keys, const char *name, size_t *ret_here) {
        json_t *list = json_array();
        const TufKeys *known;
        const TufRole *role;
        size_t n_here = 0;

        if (repository_role_keys(r, name, &known, &role) != 0)
                return list;
        STRV_FOREACH (id, role->key_ids) {
                const TufKey *key = tuf_keys_find(known, *id);
                const RepoKey *own = key ? repo_keys_find_same(keys, key) : NULL;
                bool here = own && own->private_source;
                json_t *o = json_pack("{s:s, s:s, s:b}", "id", *id, "scheme",
                                      key ? tuf_key_scheme_name(tuf_key_scheme(key)) : "unknown", "private", here);

                if (own)
                        json_object_set_new(o, "file", json_string(own->file));
                json_array_append_new(list, o);
                n_here += here;
        }
        *ret_here = n_here;
        return list;
}

static json_t *role_object(const Repository *r, const RepoKeys *keys, const char *name) {
        const TufKeys *known;
        const TufRole *role;
        size_t here = 0;
        json_t *list = role_keys(r, keys, name, &here), *o;

        o = json_pack("{s:s, s:I, s:o}", "role", name, "version", (json_int_t) repository_role(r, name)->version,
                      "keys", list);
        if (repository_role_keys(r, name, &known, &role) == 0) {
                json_object_set_new(o, "threshold", json_integer((json_int_t) role->threshold));
                json_object_set_new(o, "canSign", json_boolean(here >= role->threshold));
        }
        return o;
}

json_t *repo_status_keys(const Repository *r, const RepoKeys *keys) {
        _cleanup_strv_free_ char **names = role_names(r);
        json_t *list = json_array();

        STRV_FOREACH (name, names)
                json_array_append_new(list, role_object(r, keys, *name));
        return list;
}

/* A quarter of a role's time before its end: late enough not to cry wolf, early enough for a ceremony. */
static const char *expiry_state(int64_t left, uint64_t validity) {
        if (left <= 0)
                return "expired";
        return left < (int64_t) (validity / 4) ? "soon" : "ok";
}

static void add_expiry(const Repository *r, json_t *roles, int64_t now) {
        RepositoryExpiry expiry = repository_expiry(r);
        json_t *o;
        size_t i;

        json_array_foreach (roles, i, o) {
                const char *name = json_string_value(json_object_get(o, "role"));
                int64_t expires = repository_role(r, name)->expires;
                _cleanup_free_ char *time = tuf_format_time(expires);

                json_object_set_new(o, "expires", json_string(time));
                json_object_set_new(o, "secondsLeft", json_integer(expires - now));
                json_object_set_new(o, "state",
                                    json_string(expiry_state(expires - now, *repository_expiry_member(&expiry, name))));
        }
}

/* The older versions, each once. */
static json_t *deltas_from(const ReleaseDescription *d) {
        json_t *list = json_array();

        for (size_t i = 0; i < d->n_deltas; i++)
                if (i == 0 || !streq(d->deltas[i].from, d->deltas[i - 1].from))
                        json_array_append_new(list, json_string(d->deltas[i].from));
        return list;
}

static json_t *release_object(const ReleaseDescription *d, int64_t now) {
        _cleanup_free_ char *rollout = rollout_format(&d->rollout);
        json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:s, s:f, s:b}", "product", d->product, "version", d->version,
                              "architecture", d->architecture, "epoch", (json_int_t) d->epoch, "rollout", rollout,
                              "sharePercent", (double) rollout_share(&d->rollout, now) / 100, "critical",
                              (int) d->critical);

        if (d->n_deltas > 0)
                json_object_set_new(o, "deltasFrom", deltas_from(d));
        if (d->withdrawn)
                json_object_set_new(o, "withdrawn", json_string(d->withdrawn));
        if (d->notes)
                json_object_set_new(o, "notes", json_string(d->notes));
        return o;
}

static int channel_object(const Repository *r, size_t i, int64_t now, json_t **ret, Error *reterr) {
        const char *name = r->targets->delegations[i].name;
        _cleanup_json_ json_t *list = json_array();
        PublishedRelease *releases = NULL;
        size_t n;
        int e;

        e = published_releases(r->channels[i], name, &releases, &n, reterr);
        if (e < 0)
                return e;
        for (size_t j = 0; j < n; j++)
                json_array_append_new(list, release_object(releases[j].description, now));
        published_releases_free(releases, n);
        *ret = json_pack("{s:s, s:O}", "channel", name, "releases", list);
        return 0;
}

/* ---- what next ---- */

static void add_next(json_t *next, const char *fmt, ...) _printf_(2, 3);
static void add_next(json_t *next, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        text = xvasprintf(fmt, ap);
        va_end(ap);
        json_array_append_new(next, json_string(text));
}

static json_t *what_next(const Repository *r, const json_t *roles) {
        const char *place = storage_name(r->storage);
        json_t *next = json_array();
        const json_t *o;
        bool online = false;
        size_t i;

        if (r->interrupted)
                add_next(next,
                         "a change of keys was interrupted, clients cannot follow: sealab repo refresh %s --keys "
                         "KEYS, at once",
                         place);
        json_array_foreach (roles, i, o) {
                const char *name = json_string_value(json_object_get(o, "role")),
                           *state = json_string_value(json_object_get(o, "state"));

                if (streq(state, "ok"))
                        continue;
                if (streq(name, "timestamp") || streq(name, "snapshot")) {
                        if (!online)
                                add_next(next, "%s %s: sealab repo refresh %s --keys KEYS (a cron job should do that)",
                                         name, streq(state, "soon") ? "expires soon" : "has expired", place);
                        online = true;
                        continue;
                }
                add_next(next, "%s %s: sealab repo refresh %s %s --keys KEYS, or with --export FILE for its holders",
                         name, streq(state, "soon") ? "expires soon" : "has expired", place, name);
        }
        return next;
}

int repo_status(const Repository *r, const RepoKeys *keys, int64_t now, json_t **ret, Error *reterr) {
        _cleanup_json_ json_t *roles = repo_status_keys(r, keys), *channels = json_array(), *next = NULL;

        add_expiry(r, roles, now);
        for (size_t i = 0; i < r->n_channels; i++) {
                json_t *channel = NULL;
                int e = channel_object(r, i, now, &channel, reterr);

                if (e < 0)
                        return e;
                json_array_append_new(channels, channel);
        }
        next = what_next(r, roles);
        *ret = json_pack("{s:s, s:b, s:O, s:O, s:O}", "repository", storage_name(r->storage), "interrupted",
                         (int) r->interrupted, "roles", roles, "channels", channels, "next", next);
        return 0;
}

/* ---- words ---- */

static char *time_in_words(int64_t seconds) {
        int64_t n = seconds < 0 ? -seconds : seconds;
        const char *unit = "minute";

        if (n >= 2 * DAY) {
                n /= DAY;
                unit = "day";
        } else if (n >= 2 * HOUR) {
                n /= HOUR;
                unit = "hour";
        } else
                n /= 60;
        return xasprintf("%" PRIi64 " %s%s", n, unit, n == 1 ? "" : "s");
}

static const char *text_of(const json_t *o, const char *key) {
        return json_string_value(json_object_get(o, key)) ?: "";
}

static json_int_t number_of(const json_t *o, const char *key) {
        return json_integer_value(json_object_get(o, key));
}

static void format_role(Buffer *b, const json_t *o) {
        int64_t left = number_of(o, "secondsLeft");
        _cleanup_free_ char *words = time_in_words(left);
        const char *state = text_of(o, "state");

        buffer_printf(b, "  %-12s version %-5" JSON_INTEGER_FORMAT " %s%s%s%s\n", text_of(o, "role"),
                      number_of(o, "version"), left > 0 ? "expires in " : "EXPIRED ", words, left > 0 ? "" : " ago",
                      streq(state, "soon") ? "  <- soon" : "");
}

char *repo_status_format_keys(const json_t *roles) {
        _cleanup_buffer_ Buffer b = {};
        const json_t *o, *key;
        size_t i, j;

        json_array_foreach ((json_t *) roles, i, o) {
                const json_t *keys = json_object_get(o, "keys");

                buffer_printf(&b, "  %-12s %" JSON_INTEGER_FORMAT " of %zu\n", text_of(o, "role"),
                              number_of(o, "threshold"), json_array_size(keys));
                json_array_foreach ((json_t *) keys, j, key) {
                        const char *file = text_of(key, "file");

                        buffer_printf(&b, "    %.16s  %-20s %s%s%s\n", text_of(key, "id"), text_of(key, "scheme"),
                                      json_is_true(json_object_get(key, "private")) ? "here"
                                      : *file                                       ? "elsewhere, public part here"
                                                                                    : "elsewhere",
                                      *file ? ": " : "", *file ? path_basename(file) : "");
                }
        }
        return b.data ? buffer_steal(&b) : xstrdup("");
}

static void format_release(Buffer *b, const json_t *o) {
        const char *withdrawn = text_of(o, "withdrawn");
        const json_t *deltas = json_object_get(o, "deltasFrom"), *from;
        size_t i;

        buffer_printf(b, "    %s %s  epoch %" JSON_INTEGER_FORMAT, text_of(o, "product"), text_of(o, "version"),
                      number_of(o, "epoch"));
        if (*withdrawn)
                buffer_printf(b, "  WITHDRAWN: %s", withdrawn);
        else
                buffer_printf(b, "  %s (%.1f%% of machines now)", text_of(o, "rollout"),
                              json_real_value(json_object_get(o, "sharePercent")));
        buffer_puts(b, json_is_true(json_object_get(o, "critical")) ? "  critical" : "");
        json_array_foreach ((json_t *) deltas, i, from)
                buffer_printf(b, "%s%s", i > 0 ? ", " : "  deltas from ", json_string_value(from));
        buffer_puts(b, "\n");
}

char *repo_status_format(const json_t *status) {
        const json_t *roles = json_object_get(status, "roles"), *next = json_object_get(status, "next"), *o, *release;
        _cleanup_free_ char *keys = repo_status_format_keys(roles);
        _cleanup_buffer_ Buffer b = {};
        size_t i, j;

        buffer_printf(&b, "%s\n\nMetadata\n", text_of(status, "repository"));
        json_array_foreach ((json_t *) roles, i, o)
                format_role(&b, o);
        buffer_printf(&b, "\nKeys (signatures needed of keys)\n%s\nChannels\n", keys);
        json_array_foreach (json_object_get(status, "channels"), i, o) {
                const json_t *releases = json_object_get(o, "releases");

                buffer_printf(&b, "  %s%s\n", text_of(o, "channel"), json_array_size(releases) == 0 ? ": empty" : "");
                json_array_foreach ((json_t *) releases, j, release)
                        format_release(&b, release);
        }
        if (json_array_size(json_object_get(status, "channels")) == 0)
                buffer_puts(&b, "  none\n");
        buffer_puts(&b, json_array_size(next) > 0 ? "\nNext\n" : "\nNext: nothing is due.\n");
        json_array_foreach ((json_t *) next, i, o)
                buffer_printf(&b, "  %s\n", json_string_value(o));
        return buffer_steal(&b);
}
