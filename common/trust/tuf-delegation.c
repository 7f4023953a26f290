/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delegations: their part of a targets document, and which paths they cover. */

#include "tuf-internal.h"

#define HASH_DIGITS 64

/* ---- patterns -------------------------------------------------------------------------------------------- */

/* One code point; both sides are valid UTF-8. */
static const char *next_character(const char *s) {
        for (s++; (*s & 0xc0) == 0x80; s++)
                ;
        return s;
}

/* UTF-8's bytes sort like the code points, so that ranges need no decoding, and no character begins another. */
static int compare_characters(const char *a, const char *b) {
        size_t n = (size_t) (next_character(a) - a), m = (size_t) (next_character(b) - b);

        return memcmp(a, b, MIN(n, m));
}

/* The bracket that closes the set at p, or NULL: then the opening one stands for itself. One in the first place is a
 * member. */
static const char *find_set_end(const char *p, const char *end) {
        p += p[1] == '!' ? 2 : 1;
        for (const char *q = p < end ? p + 1 : end; q < end; q++)
                if (*q == ']')
                        return q;
        return NULL;
}

static bool set_matches(const char *p, const char *set_end, const char *character) {
        bool negated = p[1] == '!', found = false;

        for (p += negated ? 2 : 1; p < set_end;) {
                const char *low = p, *high = p;

                p = next_character(p);
                if (*p == '-' && p + 1 < set_end) {
                        high = p + 1;
                        p = next_character(high);
                }
                found |= compare_characters(low, character) <= 0 && compare_characters(character, high) <= 0;
        }
        return found != negated;
}

/* Matches one character of a component and returns the pattern behind it, or NULL. */
static const char *match_one(const char *p, const char *p_end, const char *s) {
        const char *set_end = p < p_end && *p == '[' ? find_set_end(p, p_end) : NULL;

        if (p >= p_end)
                return NULL;
        if (set_end)
                return set_matches(p, set_end, s) ? set_end + 1 : NULL;
        if (*p == '?' || compare_characters(p, s) == 0)
                return next_character(p);
        return NULL;
}

/* Goes back to the last star only: an earlier one could not do better. So hostile patterns cost no more than the
 * product of the lengths. */
static bool component_matches(const char *p, const char *p_end, const char *s, const char *s_end) {
        const char *star = NULL, *star_s = NULL, *next;

        while (s < s_end) {
                if (p < p_end && *p == '*') {
                        star = ++p;
                        star_s = s;
                        continue;
                }
                next = match_one(p, p_end, s);
                if (next) {
                        p = next;
                        s = next_character(s);
                } else if (star) {
                        p = star;
                        s = star_s = next_character(star_s);
                } else
                        return false;
        }
        while (p < p_end && *p == '*')
                p++;
        return p == p_end;
}

/* section 4.5, PATHPATTERN: a wildcard does not match a separator, so both sides have as many components */
static bool pattern_matches(const char *pattern, const char *path) {
        for (;;) {
                const char *p_end = pattern + strcspn(pattern, "/"), *s_end = path + strcspn(path, "/");

                if (!component_matches(pattern, p_end, path, s_end))
                        return false;
                if (!*p_end || !*s_end)
                        return *p_end == *s_end;
                pattern = p_end + 1;
                path = s_end + 1;
        }
}

/* ---- decoding -------------------------------------------------------------------------------------------- */

static int check_pattern(const char *s, Error *reterr) {
        if (!*s)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"paths\" has an empty pattern");
        if (strlen(s) > TUF_TARGET_PATH_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "\"paths\": a pattern is longer than %d bytes",
                                 TUF_TARGET_PATH_MAX);
        return 0;
}

static int check_prefix(const char *s, Error *reterr) {
        size_t n = strspn(s, "0123456789abcdef");

        if (n == 0 || s[n] || n > HASH_DIGITS)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "\"path_hash_prefixes\": \"%.80s\" is not the beginning of a hexadecimal SHA-256", s);
        return 0;
}

static int decode_strings(const json_t *array, const char *name, int (*check)(const char *, Error *), char ***ret,
                          Error *reterr) {
        _cleanup_strv_free_ char **l = xnew(char *, json_array_size(array) + 1);
        const json_t *item;
        size_t i;
        int r;

        json_array_foreach ((json_t *) array, i, item) {
                if (!json_is_string(item))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"%s\" must be a list of strings", name);
                r = check(json_string_value(item), reterr);
                if (r < 0)
                        return r;
                l[i] = xstrdup(json_string_value(item));
        }
        *ret = TAKE_PTR(l);
        return 0;
}

static int check_role_name(const char *name, Error *reterr) {
        _cleanup_free_ char *file = tuf_role_file_name(name);

        if (!*name)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "a delegation has an empty name");
        if (strlen(file) > TUF_NAME_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "\"%.40s...\" is too long for the name of a role",
                                 name);
        /* Its file would be taken for the top-level one. */
        for (TufType type = 0; type < _TUF_TYPE_MAX; type++)
                if (streq(name, tuf_type_name(type)))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "a delegation has the name of the top-level role \"%s\"", name);
        return 0;
}

static int decode_scope(const json_t *paths, const json_t *prefixes, TufDelegation *ret, Error *reterr) {
        if (!paths == !prefixes)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "exactly one of \"paths\" and \"path_hash_prefixes\" must be there");
        return paths ? decode_strings(paths, "paths", check_pattern, &ret->paths, reterr)
                     : decode_strings(prefixes, "path_hash_prefixes", check_prefix, &ret->hash_prefixes, reterr);
}

static int decode_delegation(const json_t *object, TufDelegation *ret, Error *reterr) {
        JsonReader reader = json_reader(object, "delegation", reterr);
        const json_t *paths = NULL, *prefixes = NULL;
        int r;

        json_take_string(&reader, "name", false, &ret->name);
        json_take_bool(&reader, "terminating", false, &ret->terminating);
        json_take_array(&reader, "paths", true, TUF_PATTERNS_MAX, &paths);
        json_take_array(&reader, "path_hash_prefixes", true, TUF_PATTERNS_MAX, &prefixes);
        r = json_reader_end_open(&reader);
        if (r >= 0)
                r = check_role_name(ret->name, reterr);
        if (r >= 0)
                r = decode_scope(paths, prefixes, ret, reterr);
        if (r >= 0)
                r = tuf_decode_role(object, &ret->role, reterr);
        return r < 0 && ret->name ? error_prefix(reterr, "delegation %.80s", ret->name) : r;
}

static int check_unique_names(const TufMetadata *m, Error *reterr) {
        _cleanup_free_ char **names = xnew(char *, m->n_delegations + 1);

        for (size_t i = 0; i < m->n_delegations; i++)
                names[i] = m->delegations[i].name;
        if (tuf_has_duplicates(names, m->n_delegations))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "two delegations have the same name");
        return 0;
}

void tuf_delegation_done(TufDelegation *d) {
        free(d->name);
        strv_free(d->role.key_ids);
        strv_free(d->paths);
        strv_free(d->hash_prefixes);
}

/* section 4.5, DELEGATIONS */
int tuf_decode_delegations(const json_t *object, TufMetadata *m, Error *reterr) {
        JsonReader reader = json_reader(object, "delegations", reterr);
        const json_t *keys = NULL, *roles = NULL, *role;
        size_t i;
        int r;

        if (json_object_get(object, "succinct_roles"))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "\"succinct_roles\" (TAP 15) is not part of the specification and not known");
        json_take_object(&reader, "keys", false, &keys);
        json_take_array(&reader, "roles", false, TUF_DELEGATIONS_MAX, &roles);
        r = json_reader_end_open(&reader);
        if (r >= 0)
                r = tuf_decode_keys(keys, &m->keys, reterr);
        if (r < 0)
                return error_prefix(reterr, "delegations");
        m->delegations = xnew(TufDelegation, json_array_size(roles) + 1);
        json_array_foreach ((json_t *) roles, i, role) {
                r = decode_delegation(role, &m->delegations[m->n_delegations++], reterr);
                if (r < 0)
                        return r;
        }
        return check_unique_names(m, reterr);
}

/* ---- public ---------------------------------------------------------------------------------------------- */

/* section 4.5 */
bool tuf_delegation_matches(const TufDelegation *d, const char *target_path) {
        _cleanup_free_ char *hex = NULL;
        Sha256 hash;

        if (!tuf_target_path_is_valid(target_path))
                return false;
        STRV_FOREACH (pattern, d->paths)
                if (pattern_matches(*pattern, target_path))
                        return true;
        if (!d->hash_prefixes)
                return false;
        sha256_buffer(target_path, strlen(target_path), &hash);
        hex = sha256_hex(&hash);
        STRV_FOREACH (prefix, d->hash_prefixes)
                if (startswith(hex, *prefix))
                        return true;
        return false;
}
