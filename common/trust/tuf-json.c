/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Section 4.1: the bytes that are hashed and signed. */

#include "tuf-json.h"

typedef struct Member {
        const char *key;
        const json_t *value;
} Member;

static int encode(const json_t *value, Buffer *ret, Error *reterr);

/* Control characters stay raw: the form is not JSON's, it only looks like it. */
static void encode_string(const char *s, Buffer *ret) {
        buffer_append(ret, "\"", 1);
        while (*s) {
                size_t n = strcspn(s, "\\\"");

                buffer_append(ret, s, n);
                s += n;
                if (*s) {
                        buffer_append(ret, (const char[]){ '\\', *s }, 2);
                        s++;
                }
        }
        buffer_append(ret, "\"", 1);
}

/* The order of UTF-8's bytes is that of the code points. */
static int compare_members(const void *a, const void *b) {
        return strcmp(((const Member *) a)->key, ((const Member *) b)->key);
}

static int encode_object(const json_t *object, Buffer *ret, Error *reterr) {
        size_t n = 0;
        _cleanup_free_ Member *members = xnew(Member, json_object_size(object) + 1);
        const char *key;
        json_t *value;
        int r;

        json_object_foreach ((json_t *) object, key, value)
                members[n++] = (Member){ key, value };
        qsort(members, n, sizeof(Member), compare_members);
        buffer_append(ret, "{", 1);
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        buffer_append(ret, ",", 1);
                encode_string(members[i].key, ret);
                buffer_append(ret, ":", 1);
                r = encode(members[i].value, ret, reterr);
                if (r < 0)
                        return r;
        }
        buffer_append(ret, "}", 1);
        return 0;
}

static int encode_array(const json_t *array, Buffer *ret, Error *reterr) {
        size_t i;
        json_t *value;
        int r;

        buffer_append(ret, "[", 1);
        json_array_foreach ((json_t *) array, i, value) {
                if (i > 0)
                        buffer_append(ret, ",", 1);
                r = encode(value, ret, reterr);
                if (r < 0)
                        return r;
        }
        buffer_append(ret, "]", 1);
        return 0;
}

static int encode(const json_t *value, Buffer *ret, Error *reterr) {
        switch (json_typeof(value)) {
        case JSON_OBJECT:
                return encode_object(value, ret, reterr);
        case JSON_ARRAY:
                return encode_array(value, ret, reterr);
        case JSON_STRING:
                encode_string(json_string_value(value), ret);
                return 0;
        case JSON_INTEGER:
                buffer_printf(ret, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
                return 0;
        case JSON_TRUE:
                buffer_puts(ret, "true");
                return 0;
        case JSON_FALSE:
                buffer_puts(ret, "false");
                return 0;
        case JSON_NULL:
                buffer_puts(ret, "null");
                return 0;
        case JSON_REAL:
                break;
        }
        error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%g is not an integer, and canonical JSON has no other numbers",
                  json_real_value(value));
        return error_hint(reterr, "write it as text, or in a smaller unit");
}

int tuf_canonical_encode(const json_t *value, Buffer *ret, Error *reterr) {
        size_t before = ret->size;
        int r = encode(value, ret, reterr);

        if (r < 0 && ret->data) {
                ret->size = before;
                ret->data[before] = 0;
        }
        return r;
}
