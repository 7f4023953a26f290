/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>
#include <time.h>

#include "io.h"
#include "keys.h"

static void set_new(json_t *object, const char *key, json_t *value) {
        if (!value || json_object_set_new(object, key, value) < 0)
                abort();
}

static void set_string(json_t *object, const char *key, const char *value) {
        set_new(object, key, value ? json_string(value) : json_null());
}

static void show_certificate(json_t *object, const Certificate *c) {
        _cleanup_free_ char *subject = certificate_subject(c), *hex = NULL;
        time_t t = (time_t) certificate_not_after(c);
        char text[sizeof("2026-11-21T00:00:00Z") + 16] = "";
        Sha256 fingerprint;
        struct tm tm;

        certificate_fingerprint(c, &fingerprint);
        hex = sha256_hex(&fingerprint);
        if (gmtime_r(&t, &tm))
                (void) strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        set_string(object, "subject", subject);
        set_string(object, "fingerprint", hex);
        set_string(object, "notAfter", text);
        set_new(object, "development", json_boolean(certificate_is_development(c)));
}

/* A key in a file is opened, so that a wrong mode or a key of another certificate shows here and not in a build. */
static int check_key_file(const char *path, const Certificate *c, Error *reterr) {
        _cleanup_(private_key_freep) PrivateKey *k = NULL;
        int r;

        r = private_key_load(path, &k, reterr);
        if (r < 0)
                return r;
        if (!certificate_matches_key(c, k))
                return error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "key and certificate do not belong together");
        return 0;
}

static json_t *show_role(const char *folder, KeyRole role) {
        static const char *const places[] = {
                [KEY_PLACE_NONE] = "missing",
                [KEY_PLACE_FILE] = "file",
                [KEY_PLACE_TOKEN] = "token",
        };
        _cleanup_free_ char *path = xasprintf("%s/%s.crt", folder, key_role_name(role)), *where = NULL;
        _cleanup_(certificate_freep) Certificate *c = NULL;
        json_t *object = json_object();
        KeyPlace place = KEY_PLACE_NONE;
        _cleanup_error_ Error e = {};
        int r;

        set_string(object, "role", key_role_name(role));
        r = key_set_find_key(folder, role, &place, &where, &e);
        if (r >= 0 && place == KEY_PLACE_TOKEN)
                where[strcspn(where, "?")] = 0; /* the query may hold a PIN */
        set_string(object, "place", places[place]);
        set_string(object, "key", where);
        if (r >= 0)
                r = certificate_load(path, &c, &e);
        if (r >= 0 && place == KEY_PLACE_FILE)
                r = check_key_file(where, c, &e);
        if (c)
                show_certificate(object, c);
        set_string(object, "problem", r < 0 ? e.message : NULL);
        return object;
}

int keys_show(const char *folder, json_t **ret, Error *reterr) {
        _cleanup_json_ json_t *roles = json_array();
        struct stat st;

        if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
                error_set(reterr, ENOENT, REFUSAL_KEY, "there is no key folder %s", folder);
                return error_hint(reterr, "make throw-away keys: sealab keys generate %s", folder);
        }
        for (KeyRole role = 0; role < _KEY_ROLE_MAX; role++)
                if (json_array_append_new(roles, show_role(folder, role)) < 0)
                        abort();
        *ret = TAKE_PTR(roles);
        return 0;
}

char *keys_format(const json_t *shown) {
        _cleanup_buffer_ Buffer b = {};
        const json_t *object;
        size_t i;

        json_array_foreach ((json_t *) shown, i, object) {
                const char *key = json_string_value(json_object_get(object, "key"));
                const char *subject = json_string_value(json_object_get(object, "subject"));
                const char *problem = json_string_value(json_object_get(object, "problem"));

                buffer_printf(&b, "%s%-11s key: %s%s%s\n", i > 0 ? "\n" : "",
                              json_string_value(json_object_get(object, "role")),
                              json_string_value(json_object_get(object, "place")), key ? ", " : "", key ?: "");
                if (subject)
                        buffer_printf(&b, "            %s%s\n            valid until %s\n            SHA-256 %s\n",
                                      subject,
                                      json_is_true(json_object_get(object, "development"))
                                              ? "  (development: releases refuse it)"
                                              : "",
                                      json_string_value(json_object_get(object, "notAfter")),
                                      json_string_value(json_object_get(object, "fingerprint")));
                if (problem)
                        buffer_printf(&b, "            problem: %s\n", problem);
        }
        return b.data ? buffer_steal(&b) : xstrdup("");
}
