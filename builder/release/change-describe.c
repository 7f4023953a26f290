/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is to be signed, in words: made from the very bytes that are signed, never from texts beside them. The version
 * before, which only the request itself vouches for, serves to show what is different. */

#include "change-text.h"
#include "description.h"
#include "tuf-json.h"

static const char *text_of(const json_t *o, const char *key) {
        return json_string_value(json_object_get(o, key)) ?: "?";
}

/* Printed on a terminal for somebody to trust: no escapes, no line breaks, no marks that turn the direction. */
static char *plain(const char *s) {
        char *out = xstrdup(s);

        for (char *p = out; *p; p++)
                if (*p < ' ' || *p > '~')
                        *p = '?';
        return out;
}

static void line(Buffer *b, char sign, const char *fmt, ...) _printf_(3, 4);
static void line(Buffer *b, char sign, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL, *clean = NULL;
        va_list ap;

        va_start(ap, fmt);
        text = xvasprintf(fmt, ap);
        va_end(ap);
        clean = plain(text);
        buffer_printf(b, "  %c %s\n", sign, clean);
}

/* ---- keys ---- */

static bool has_id(const json_t *role, const char *id) {
        const json_t *item;
        size_t i;

        json_array_foreach (json_object_get(role, "keyids"), i, item)
                if (streq_ptr(json_string_value(item), id))
                        return true;
        return false;
}

static void describe_signers(Buffer *b, const char *name, const json_t *role, const json_t *before) {
        const json_t *item, *keys = json_object_get(role, "keyids"), *old_keys = json_object_get(before, "keyids");
        json_int_t threshold = json_integer_value(json_object_get(role, "threshold")),
                   old = json_integer_value(json_object_get(before, "threshold"));
        size_t i;

        line(b, before ? ' ' : '+', "%s: %" JSON_INTEGER_FORMAT " of %zu keys", name, threshold, json_array_size(keys));
        if (before && old != threshold)
                line(b, '!', "%s: until now %" JSON_INTEGER_FORMAT " signatures were needed", name, old);
        json_array_foreach ((json_t *) keys, i, item) {
                const char *id = json_string_value(item) ?: "?";

                line(b, before && has_id(before, id) ? ' ' : '+', "  key %s", id);
        }
        json_array_foreach ((json_t *) old_keys, i, item)
                if (!has_id(role, json_string_value(item) ?: "?"))
                        line(b, '-', "  key %s", json_string_value(item) ?: "?");
}

static void describe_root(Buffer *b, const json_t *part, const json_t *previous) {
        const json_t *roles = json_object_get(part, "roles"), *old = json_object_get(previous, "roles");

        for (TufType t = 0; t < _TUF_TYPE_MAX; t++)
                describe_signers(b, tuf_type_name(t), json_object_get(roles, tuf_type_name(t)),
                                 json_object_get(old, tuf_type_name(t)));
}

/* ---- targets ---- */

static const json_t *delegation_named(const json_t *part, const char *name) {
        const json_t *item;
        size_t i;

        json_array_foreach (json_object_get(json_object_get(part, "delegations"), "roles"), i, item)
                if (streq_ptr(json_string_value(json_object_get(item, "name")), name))
                        return item;
        return NULL;
}

static void describe_delegations(Buffer *b, const json_t *part, const json_t *previous) {
        const json_t *item;
        size_t i;

        json_array_foreach (json_object_get(json_object_get(part, "delegations"), "roles"), i, item) {
                _cleanup_free_ char *name = xasprintf("channel %s", text_of(item, "name"));

                describe_signers(b, name, item, delegation_named(previous, text_of(item, "name")));
        }
        json_array_foreach (json_object_get(json_object_get(previous, "delegations"), "roles"), i, item)
                if (!delegation_named(part, text_of(item, "name")))
                        line(b, '-', "channel %s", text_of(item, "name"));
}

static void describe_target(Buffer *b, char sign, const char *path, const json_t *target) {
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_free_ char *rollout = NULL, *root = NULL;

        line(b, sign, "%s  %s", path, text_of(json_object_get(target, "hashes"), "sha256"));
        if (!json_object_get(json_object_get(target, "custom"), "sealab") ||
            description_parse(json_object_get(target, "custom"), path, &d, NULL) < 0)
                return;
        rollout = rollout_format(&d->rollout);
        root = sha256_hex(&d->root_hash);
        line(b, sign, "  root hash %s", root);
        line(b, sign, "  epoch %" PRIu64 ", rollout %s%s", d->epoch, rollout, d->critical ? ", critical" : "");
        if (d->withdrawn)
                line(b, sign, "  WITHDRAWN: %s", d->withdrawn);
}

static void describe_targets(Buffer *b, const json_t *part, const json_t *previous) {
        json_t *now = json_object_get(part, "targets"), *old = json_object_get(previous, "targets"), *target;
        const char *path;
        size_t same = 0;

        describe_delegations(b, part, previous);
        json_object_foreach (now, path, target) {
                const json_t *before = json_object_get(old, path);

                if (before && json_equal((json_t *) before, target))
                        same++;
                else
                        describe_target(b, before ? '!' : '+', path, target);
        }
        json_object_foreach (old, path, target)
                if (!json_object_get(now, path))
                        line(b, '-', "%s", path);
        if (same > 0)
                line(b, ' ', "%zu targets as before", same);
}

static void describe_meta(Buffer *b, const json_t *part, const json_t *previous) {
        json_t *entry;
        const char *file;

        json_object_foreach (json_object_get(part, "meta"), file, entry) {
                json_int_t version = json_integer_value(json_object_get(entry, "version")),
                           old = json_integer_value(json_object_get(
                                   json_object_get(json_object_get(previous, "meta"), file), "version"));

                if (version != old)
                        line(b, old ? '!' : '+', "%s version %" JSON_INTEGER_FORMAT, file, version);
        }
}

/* ---- documents ---- */

static void describe_document(Buffer *b, const RequestDocument *d) {
        const json_t *part = d->role->signed_part;
        _cleanup_free_ char *expires = plain(text_of(part, "expires")), *digest = NULL;
        _cleanup_strv_free_ char **missing = NULL;
        _cleanup_buffer_ Buffer canonical = {};
        _cleanup_json_ json_t *names = json_object();
        Sha256 hash;

        buffer_printf(b, "%s, version %" JSON_INTEGER_FORMAT ", valid until %s\n", d->role->name,
                      json_integer_value(json_object_get(part, "version")), expires);
        if (d->before && !d->previous)
                line(b, ' ', "all of it: no key that is here has signed the version before");
        switch (repository_role_type(d->role->name)) {
        case TUF_ROOT:
                describe_root(b, part, d->previous);
                break;
        case TUF_TARGETS:
                describe_targets(b, part, d->previous);
                break;
        default:
                describe_meta(b, part, d->previous);
                break;
        }
        if (tuf_canonical_encode(part, &canonical, NULL) >= 0) {
                sha256_buffer(canonical.data, canonical.size, &hash);
                digest = sha256_hex(&hash);
                buffer_printf(b, "  to sign: %zu bytes, SHA-256 %s\n", canonical.size, digest);
        }
        change_role_missing(d->role, d->groups, d->n_groups, names, &missing);
        STRV_FOREACH (m, missing)
                line(b, ' ', "still missing: %s", *m);
        buffer_puts(b, "\n");
}

char *request_describe(const Request *r) {
        _cleanup_free_ char *place = plain(r->place);
        _cleanup_buffer_ Buffer b = {};

        if (r->repository) {
                _cleanup_free_ char *id = plain(r->repository);

                buffer_printf(&b, "A change of the repository %s (first root: %.16s)\n\n", place, id);
        } else
                buffer_printf(&b, "A new repository, %s\n\n", place);
        for (size_t i = 0; i < r->n_documents; i++)
                describe_document(&b, &r->documents[i]);
        return buffer_steal(&b);
}
