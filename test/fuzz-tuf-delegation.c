/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Patterns and paths of delegations: the first line is the pattern, the second the path. Where the C library's
 * fnmatch() means the same, it must agree. */

#include <fnmatch.h>

#include "io.h"
#include "tuf-metadata.h"

/* fnmatch() may take exponential time. */
#define LENGTH_MAX 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
        if (!ok)
                abort();
}

static bool is_ascii(const char *s) {
        for (; *s; s++)
                if (*s & 0x80)
                        return false;
        return true;
}

/* Sets differ in details, and without a locale a "?" is one byte. */
static bool comparable(const char *pattern, const char *path) {
        return strlen(pattern) <= LENGTH_MAX && strlen(path) <= LENGTH_MAX && !strchr(pattern, '[') &&
               is_ascii(pattern) && is_ascii(path);
}

static void check_pattern(const char *pattern, const char *path) {
        const TufDelegation d = { .paths = (char *[]){ (char *) pattern, NULL } };
        bool matches = tuf_delegation_matches(&d, path);

        if (!tuf_target_path_is_valid(path))
                must(!matches);
        else if (comparable(pattern, path))
                must(matches == (fnmatch(pattern, path, FNM_PATHNAME | FNM_NOESCAPE) == 0));
}

static void check_prefix(const char *prefix, const char *path) {
        const TufDelegation d = { .hash_prefixes = (char *[]){ (char *) prefix, NULL } };
        _cleanup_free_ char *hex = NULL;
        Sha256 hash;

        sha256_buffer(path, strlen(path), &hash);
        hex = sha256_hex(&hash);
        must(tuf_delegation_matches(&d, path) ==
             (tuf_target_path_is_valid(path) && strncmp(hex, prefix, strlen(prefix)) == 0));
}

static void check_role(const char *name) {
        _cleanup_free_ char *file = tuf_role_file_name(name);

        must(!strchr(file, '/') && endswith(file, ".json") && !streq(file, ".") && !streq(file, ".."));
        for (const char *s = file; *s; s++)
                must(*s > ' ' && *s < 0x7f);
}

static void check_time(const char *text) {
        _cleanup_free_ char *again = NULL;
        int64_t seconds;

        if (!tuf_parse_time(text, &seconds))
                return;
        again = tuf_format_time(seconds);
        must(streq(text, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = xstrndup((const char *) data, size), *path = NULL;
        char *line = strchr(text, '\n');

        if (line)
                *line = 0;
        path = xstrdup(line ? line + 1 : "");
        check_pattern(text, path);
        check_prefix(text, path);
        check_role(text);
        check_time(text);
        if (tuf_target_path_is_valid(path))
                must(path_is_clean_relative(path));
        return 0;
}
