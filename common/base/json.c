/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "json.h"
#include "io.h"

#define JSON_DEPTH_MAX 64

static bool depth_within(const json_t *value, unsigned left) {
        const char *key;
        json_t *child;
        size_t i;

        if (left == 0)
                return false;
        json_array_foreach ((json_t *) value, i, child)
                if (!depth_within(child, left - 1))
                        return false;
        json_object_foreach ((json_t *) value, key, child)
                if (!depth_within(child, left - 1))
                        return false;
        return true;
}

int json_parse(const char *text, size_t size, const char *what, json_t **ret, Error *reterr) {
        _cleanup_json_ json_t *value = NULL;
        json_error_t e;

        value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
        if (!value)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s:%d:%d: not valid JSON: %s", what, e.line,
                                 e.column, e.text);
        if (!depth_within(value, JSON_DEPTH_MAX))
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: nested deeper than %d levels", what,
                                 JSON_DEPTH_MAX);
        *ret = TAKE_PTR(value);
        return 0;
}

int json_read_file(int dir_fd, const char *path, size_t max_size, json_t **ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = io_read_file(dir_fd, path, max_size, &text, &size, reterr);
        if (r < 0)
                return r;
        return json_parse(text, size, path, ret, reterr);
}

static char *dump(const json_t *value, size_t flags) {
        char *text = json_dumps(value, flags | JSON_ENCODE_ANY);

        if (!text) {
                fputs("cannot encode JSON\n", stderr);
                abort();
        }
        return text;
}

char *json_format(const json_t *value, bool sorted) {
        _cleanup_free_ char *text = dump(value, JSON_INDENT(2) | (sorted ? JSON_SORT_KEYS : 0));

        return xasprintf("%s\n", text);
}

char *json_format_line(const json_t *value) {
        return dump(value, JSON_COMPACT | JSON_SORT_KEYS);
}

JsonReader json_reader(const json_t *object, const char *what, Error *reterr) {
        JsonReader r = { .object = object, .what = what, .reterr = reterr };

        if (!json_is_object(object))
                r.result = error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: an object was expected", what);
        return r;
}

static const json_t *take(JsonReader *r, const char *key, bool optional) {
        const json_t *value;

        if (r->result < 0)
                return NULL;
        strv_extend(&r->seen, key);
        value = json_object_get(r->object, key);
        if (!value && !optional)
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"%s\" is missing", r->what, key);
        return value;
}

static void wrong_type(JsonReader *r, const char *key, const char *wanted) {
        r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"%s\" must be %s", r->what, key, wanted);
}

void json_take_string(JsonReader *r, const char *key, bool optional, char **ret) {
        const json_t *v = take(r, key, optional);

        if (!v)
                return;
        if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
                return wrong_type(r, key, "a string");
        free(*ret);
        *ret = xstrdup(json_string_value(v));
}

void json_take_u64(JsonReader *r, const char *key, bool optional, uint64_t max, uint64_t *ret) {
        const json_t *v = take(r, key, optional);

        if (!v)
                return;
        if (!json_is_integer(v) || json_integer_value(v) < 0)
                return wrong_type(r, key, "a whole number of 0 or more");
        if ((uint64_t) json_integer_value(v) > max) {
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: \"%s\" is over the limit of %" PRIu64,
                                      r->what, key, max);
                return;
        }
        *ret = (uint64_t) json_integer_value(v);
}

void json_take_bool(JsonReader *r, const char *key, bool optional, bool *ret) {
        const json_t *v = take(r, key, optional);

        if (!v)
                return;
        if (!json_is_boolean(v))
                return wrong_type(r, key, "true or false");
        *ret = json_is_true(v);
}

void json_take_strv(JsonReader *r, const char *key, bool optional, char ***ret) {
        _cleanup_strv_free_ char **l = NULL;
        const json_t *v = take(r, key, optional), *item;
        size_t i;

        if (!v)
                return;
        if (!json_is_array(v))
                return wrong_type(r, key, "a list of strings");
        json_array_foreach ((json_t *) v, i, item) {
                if (!json_is_string(item))
                        return wrong_type(r, key, "a list of strings");
                strv_extend(&l, json_string_value(item));
        }
        strv_free(*ret);
        *ret = TAKE_PTR(l);
}

void json_take_array(JsonReader *r, const char *key, bool optional, size_t max, const json_t **ret) {
        const json_t *v = take(r, key, optional);

        if (!v)
                return;
        if (!json_is_array(v))
                return wrong_type(r, key, "a list");
        if (json_array_size(v) > max) {
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: \"%s\" has more than %zu entries",
                                      r->what, key, max);
                return;
        }
        *ret = v;
}

void json_take_object(JsonReader *r, const char *key, bool optional, const json_t **ret) {
        const json_t *v = take(r, key, optional);

        if (!v)
                return;
        if (!json_is_object(v))
                return wrong_type(r, key, "an object");
        *ret = v;
}

int json_reader_end(JsonReader *r) {
        _cleanup_strv_free_ char **seen = TAKE_PTR(r->seen);
        const char *key;
        json_t *value;

        if (r->result < 0)
                return r->result;
        json_object_foreach ((json_t *) r->object, key, value)
                if (!strv_contains(seen, key))
                        return error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: unknown member \"%s\"", r->what,
                                         key);
        return 0;
}

int json_reader_end_open(JsonReader *r) {
        r->seen = strv_free(r->seen);
        return r->result;
}

json_t *json_from_strv(char *const *l) {
        json_t *array = json_array();

        STRV_FOREACH (s, l)
                json_array_append_new(array, json_string(*s));
        return array;
}

json_t *json_text(const char *s) {
        return s ? json_string(s) ?: json_string("(not text)") : json_null();
}
