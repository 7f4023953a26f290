/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Strict JSON over jansson, for machine-made documents only. Repeated keys, trailing bytes and deep nesting are
 * refused. Readers take members out of an object and then call json_reader_end(), which refuses what nobody asked for.
 */

#include <jansson.h>

#include "error.h"

#define _cleanup_json_ _cleanup_(json_decrefp)

/* Limits: size is the caller's; depth is 64. what names the document in messages. */
int json_parse(const char *text, size_t size, const char *what, json_t **ret, Error *reterr);
int json_read_file(int dir_fd, const char *path, size_t max_size, json_t **ret, Error *reterr);
/* Stable text: keys in insertion order unless sorted, two-space indent, one final newline. */
char *json_format(const json_t *value, bool sorted);
/* One line, sorted keys. */
char *json_format_line(const json_t *value);

/* Consume-then-refuse. The object is borrowed; the first failure is kept in reterr and all further calls do nothing, so
 * that a decoder is a flat list of calls followed by one check of json_reader_end(). */
typedef struct JsonReader {
        const json_t *object;
        const char *what;
        char **seen;
        Error *reterr;
        int result;
} JsonReader;

JsonReader json_reader(const json_t *object, const char *what, Error *reterr);
/* Owned copies; required unless optional. Missing optional members leave *ret alone. */
void json_take_string(JsonReader *r, const char *key, bool optional, char **ret);
void json_take_u64(JsonReader *r, const char *key, bool optional, uint64_t max, uint64_t *ret);
void json_take_bool(JsonReader *r, const char *key, bool optional, bool *ret);
void json_take_strv(JsonReader *r, const char *key, bool optional, char ***ret);
/* Borrowed from the object. */
void json_take_array(JsonReader *r, const char *key, bool optional, size_t max, const json_t **ret);
void json_take_object(JsonReader *r, const char *key, bool optional, const json_t **ret);
/* Members nobody took are refused; frees the reader's state; returns its result. */
int json_reader_end(JsonReader *r);
/* The same for formats that promise to let unknown members pass. */
int json_reader_end_open(JsonReader *r);

json_t *json_from_strv(char *const *l);
/* null for NULL; what is no text (UTF-8) becomes "(not text)". Never NULL. */
json_t *json_text(const char *s);
