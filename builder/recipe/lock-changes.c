/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The report of "sealab lock --update". */

#include "lock-internal.h"

typedef struct Totals {
        size_t added, removed, changed;
        int64_t bytes; /* difference */
} Totals;

static int64_t size_delta(const LockChange *c) {
        return (c->to ? (int64_t) c->to->size : 0) - (c->from ? (int64_t) c->from->size : 0);
}

static Totals count(const LockChange *changes, size_t n) {
        Totals t = {};

        for (size_t i = 0; i < n; i++) {
                t.added += !changes[i].from;
                t.removed += !changes[i].to;
                t.changed += changes[i].from && changes[i].to;
                t.bytes += size_delta(&changes[i]);
        }
        return t;
}

static char *format_delta(int64_t bytes) {
        _cleanup_free_ char *size = format_bytes((uint64_t) (bytes < 0 ? -bytes : bytes));

        return xasprintf("%s%s", bytes < 0 ? "-" : "+", size);
}

static char *format_purpose(LockPurpose purpose) {
        _cleanup_json_ json_t *l = lock_purpose_to_json(purpose);
        _cleanup_strv_free_ char **names = NULL;
        const json_t *item;
        size_t i;

        json_array_foreach (l, i, item)
                strv_extend(&names, json_string_value(item));
        return strv_join(names, "+");
}

/* Versions, unless only the use of the package changed, or its bytes under the same version. */
static void describe(const LockChange *c, char **ret_from, char **ret_to) {
        if (c->from && c->to && streq(c->from->version, c->to->version)) {
                bool rebuilt = !sha256_equal(&c->from->sha256, &c->to->sha256);
                _cleanup_free_ char *was = format_purpose(c->from->purpose), *is = format_purpose(c->to->purpose);

                *ret_from = rebuilt ? xstrdup(c->from->version) : xasprintf("%s (%s)", c->from->version, was);
                *ret_to = rebuilt ? xasprintf("%s (other bytes)", c->to->version)
                                  : xasprintf("%s (%s)", c->to->version, is);
                return;
        }
        *ret_from = xstrdup(c->from ? c->from->version : "-");
        *ret_to = xstrdup(c->to ? c->to->version : "-");
}

char *lock_changes_format(const LockChange *changes, size_t n) {
        _cleanup_strv_free_ char **cells = NULL;
        size_t width[4] = {};
        Totals t = count(changes, n);
        _cleanup_free_ char *total = format_delta(t.bytes);
        _cleanup_buffer_ Buffer b = {};

        if (n == 0)
                return xstrdup("No package changed.\n");
        cells = strv_split("PACKAGE WAS IS SIZE", " ");
        for (size_t i = 0; i < n; i++) {
                char *from, *to;

                describe(&changes[i], &from, &to);
                strv_extend(&cells, changes[i].name);
                strv_push(&cells, from);
                strv_push(&cells, to);
                strv_push(&cells, format_delta(size_delta(&changes[i])));
        }
        for (size_t i = 0; cells[i]; i++)
                width[i % 4] = MAX(width[i % 4], strlen(cells[i]));
        for (size_t i = 0; cells[i]; i += 4)
                buffer_printf(&b, "%-*s  %-*s  %-*s  %*s\n", (int) width[0], cells[i], (int) width[1], cells[i + 1],
                              (int) width[2], cells[i + 2], (int) width[3], cells[i + 3]);
        buffer_printf(&b, "%zu changed, %zu new, %zu gone; %s of packages.\n", t.changed, t.added, t.removed, total);
        return buffer_steal(&b);
}

static json_t *side_to_json(const LockPackage *p) {
        _cleanup_free_ char *digest = p ? sha256_hex(&p->sha256) : NULL;
        json_t *o;

        if (!p)
                return json_null();
        o = json_object();
        json_object_set_new(o, "version", json_string(p->version));
        json_object_set_new(o, "size", json_integer((json_int_t) p->size));
        json_object_set_new(o, "sha256", json_string(digest));
        json_object_set_new(o, "for", lock_purpose_to_json(p->purpose));
        return o;
}

json_t *lock_changes_to_json(const LockChange *changes, size_t n) {
        json_t *document = json_object(), *list = json_array();
        Totals t = count(changes, n);

        for (size_t i = 0; i < n; i++) {
                json_t *o = json_object();

                json_object_set_new(o, "name", json_string(changes[i].name));
                json_object_set_new(o, "from", side_to_json(changes[i].from));
                json_object_set_new(o, "to", side_to_json(changes[i].to));
                json_object_set_new(o, "size-delta", json_integer(size_delta(&changes[i])));
                json_array_append_new(list, o);
        }
        json_object_set_new(document, "changed", json_integer((json_int_t) t.changed));
        json_object_set_new(document, "added", json_integer((json_int_t) t.added));
        json_object_set_new(document, "removed", json_integer((json_int_t) t.removed));
        json_object_set_new(document, "size-delta", json_integer(t.bytes));
        json_object_set_new(document, "packages", list);
        return document;
}
