/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A lock comes with a recipe, perhaps from a stranger: its paths become URLs and file names, its names arguments of
 * programs. Hence each field has its own alphabet, and nothing unknown is passed over. */

#include <time.h>

#include "io.h"
#include "lock-internal.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define PATH_MAX_IN_POOL 1024

static bool is_made_of(const char *s, const char *letters, size_t max) {
        return !isempty(s) && strlen(s) <= max && s[strspn(s, letters)] == 0;
}

static bool is_package_name(const char *s) {
        return is_made_of(s, LOWER DIGITS "+-.", LOCK_NAME_MAX) && s[0] != '-' && s[0] != '+' && s[0] != '.';
}

static bool is_version(const char *s) {
        return is_made_of(s, LOWER UPPER DIGITS ".+~:-", LOCK_NAME_MAX) && s[0] >= '0' && s[0] <= '9';
}

/* What Suites= takes too; used in URLs, so no way up. */
static bool is_suite(const char *s) {
        return is_made_of(s, LOWER UPPER DIGITS ".+~_/-", LOCK_NAME_MAX) && path_is_clean_relative(s) && s[0] != '-';
}

static bool is_pool_path(const char *s) {
        if (isempty(s) || strlen(s) > PATH_MAX_IN_POOL || !path_is_clean_relative(s) || s[0] == '-')
                return false;
        for (const char *p = s; *p; p++)
                if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7f || strchr("\"'\\?#*<>|", *p))
                        return false;
        return true;
}

static bool is_plain_text(const char *s, size_t max) {
        if (!s || strlen(s) > max)
                return false;
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 0x7f)
                        return false;
        return true;
}

static int bad(const char *what, const char *field, const char *value, Error *reterr) {
        _cleanup_free_ char *shown = xstrndup(value ?: "", 60);

        for (char *p = shown; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = '?';
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"%s\" is not allowed as %s", what, shown, field);
}

int lock_check_package(const LockPackage *p, const char *what, Error *reterr) {
        _cleanup_free_ char *place = NULL;

        if (!is_package_name(p->name))
                return bad(what, "name of a package", p->name, reterr);
        place = xasprintf("%s: package %s", what, p->name);
        if (!is_version(p->version))
                return bad(place, "version", p->version, reterr);
        if (!is_made_of(p->architecture, LOWER DIGITS "-", LOCK_NAME_MAX))
                return bad(place, "architecture", p->architecture, reterr);
        if (!is_package_name(p->source))
                return bad(place, "source", p->source, reterr);
        if (!is_version(p->source_version))
                return bad(place, "source version", p->source_version, reterr);
        if (p->suite && !is_suite(p->suite))
                return bad(place, "suite", p->suite, reterr);
        if (!is_pool_path(p->path) || (!p->suite && strchr(p->path, '/'))) {
                if (p->path && !path_is_clean_relative(p->path))
                        return error_set(reterr, EBADMSG, REFUSAL_PATH_ESCAPE,
                                         "%s: its path is not a clean relative one", place);
                return bad(place, "path", p->path, reterr);
        }
        if (p->size == 0 || p->size > LOCK_PACKAGE_SIZE_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: %" PRIu64 " bytes cannot be its size", place,
                                 p->size);
        if (p->purpose == 0)
                return bad(place, "purpose", "", reterr);
        return 0;
}

int lock_check_suite(const LockSuite *s, const char *what, Error *reterr) {
        _cleanup_free_ char *place = NULL;

        if (!is_suite(s->suite))
                return bad(what, "name of a suite", s->suite, reterr);
        place = xasprintf("%s: suite %s", what, s->suite);
        if (!is_plain_text(s->origin, LOCK_NAME_MAX))
                return bad(place, "origin", s->origin, reterr);
        if (!is_plain_text(s->codename, LOCK_NAME_MAX))
                return bad(place, "codename", s->codename, reterr);
        if (strv_length(s->signed_by) == 0 || strv_length(s->signed_by) > LOCK_SIGNERS_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "%s: no signature, or too many", place);
        STRV_FOREACH (signer, s->signed_by)
                if (!is_made_of(*signer, DIGITS "ABCDEF", 128) || strlen(*signer) < 32)
                        return bad(place, "fingerprint", *signer, reterr);
        for (size_t i = 0; i < s->n_indexes; i++)
                if (!is_pool_path(s->indexes[i].name))
                        return bad(place, "name of an index", s->indexes[i].name, reterr);
        return 0;
}

static int compare_packages(const void *a, const void *b) {
        const LockPackage *x = a, *y = b;

        return strcmp(x->name, y->name) ?: strcmp(x->architecture, y->architecture);
}

void lock_sort(Lock *l) {
        if (l->n_packages > 0)
                qsort(l->packages, l->n_packages, sizeof(l->packages[0]), compare_packages);
}

/* By name alone: dpkg of an image with one architecture cannot hold two packages of one name, and every user of the
 * lock may rely on that. */
int lock_check_unique(const Lock *l, const char *what, Error *reterr) {
        for (size_t i = 1; i < l->n_packages; i++)
                if (streq(l->packages[i - 1].name, l->packages[i].name))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: package %s stands there twice", what,
                                         l->packages[i].name);
        for (size_t i = 0; i < l->n_suites; i++)
                for (size_t k = 0; k < i; k++)
                        if (streq(l->suites[i].suite, l->suites[k].suite))
                                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: suite %s stands there twice",
                                                 what, l->suites[i].suite);
        return 0;
}

char *lock_time_format(int64_t seconds) {
        time_t t = (time_t) seconds;
        struct tm tm;

        if (!gmtime_r(&t, &tm))
                return xstrdup("");
        return xasprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                         tm.tm_min, tm.tm_sec);
}

bool lock_time_parse(const char *text, int64_t *ret) {
        static const char shape[] = "0000-00-00T00:00:00Z";
        _cleanup_free_ char *again = NULL;
        struct tm tm = {};
        int64_t t;

        if (strlen(text) != sizeof(shape) - 1)
                return false;
        for (size_t i = 0; shape[i]; i++)
                if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
                        return false;
        if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
                   &tm.tm_sec) != 6)
                return false;
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        t = timegm(&tm);
        /* The 31st of February comes back as another day. */
        again = lock_time_format(t);
        if (t <= 0 || !streq(again, text))
                return false;
        *ret = t;
        return true;
}

/* ---- JSON ------------------------------------------------------------------------------------------------ */

static void take_digest(JsonReader *r, const char *key, Sha256 *ret) {
        _cleanup_free_ char *hex = NULL;

        json_take_string(r, key, false, &hex);
        if (hex && !sha256_from_hex(hex, ret))
                r->result = bad(r->what, "SHA-256", hex, r->reterr);
}

static void take_time(JsonReader *r, const char *key, bool optional, int64_t *ret) {
        _cleanup_free_ char *text = NULL;

        json_take_string(r, key, optional, &text);
        if (text && !lock_time_parse(text, ret))
                r->result = bad(r->what, "time", text, r->reterr);
}

static void take_purpose(JsonReader *r, LockPurpose *ret) {
        const json_t *l = NULL, *item;
        size_t i;

        json_take_array(r, "for", false, 3, &l);
        if (!l)
                return;
        json_array_foreach ((json_t *) l, i, item) {
                const char *name = json_string_value(item);
                LockPurpose purpose = name ? lock_purpose_from_name(name) : 0;

                if (purpose == 0 || (*ret & purpose)) {
                        r->result = bad(r->what, "purpose", name, r->reterr);
                        return;
                }
                *ret |= purpose;
        }
}

static int parse_package(const json_t *o, const char *what, LockPackage *p, Error *reterr) {
        JsonReader r = json_reader(o, what, reterr);
        int result;

        json_take_string(&r, "name", false, &p->name);
        json_take_string(&r, "version", false, &p->version);
        json_take_string(&r, "architecture", false, &p->architecture);
        json_take_string(&r, "source", true, &p->source);
        json_take_string(&r, "source-version", true, &p->source_version);
        json_take_string(&r, "suite", true, &p->suite);
        json_take_string(&r, "path", false, &p->path);
        json_take_u64(&r, "size", false, LOCK_PACKAGE_SIZE_MAX, &p->size);
        take_digest(&r, "sha256", &p->sha256);
        take_purpose(&r, &p->purpose);
        json_take_bool(&r, "essential", true, &p->essential);
        result = json_reader_end(&r);
        if (result < 0)
                return result;
        if (!p->source)
                p->source = xstrdup(p->name);
        if (!p->source_version)
                p->source_version = xstrdup(p->version);
        return lock_check_package(p, what, reterr);
}

static int parse_index(const json_t *o, const char *what, struct LockIndex *index, Error *reterr) {
        JsonReader r = json_reader(o, what, reterr);

        json_take_string(&r, "name", false, &index->name);
        json_take_u64(&r, "size", false, LOCK_PACKAGE_SIZE_MAX, &index->size);
        take_digest(&r, "sha256", &index->sha256);
        return json_reader_end(&r);
}

static int parse_suite(const json_t *o, const char *what, LockSuite *s, Error *reterr) {
        JsonReader r = json_reader(o, what, reterr);
        const json_t *indexes = NULL, *item;
        size_t i;
        int result;

        json_take_string(&r, "suite", false, &s->suite);
        json_take_string(&r, "origin", false, &s->origin);
        json_take_string(&r, "codename", false, &s->codename);
        take_time(&r, "date", false, &s->date);
        take_time(&r, "valid-until", true, &s->valid_until);
        take_digest(&r, "inrelease", &s->inrelease);
        json_take_strv(&r, "signed-by", false, &s->signed_by);
        json_take_array(&r, "indexes", false, LOCK_INDEXES_MAX, &indexes);
        result = json_reader_end(&r);
        if (result < 0)
                return result;
        s->indexes = xnew(struct LockIndex, json_array_size(indexes));
        json_array_foreach ((json_t *) indexes, i, item) {
                s->n_indexes++;
                result = parse_index(item, what, &s->indexes[i], reterr);
                if (result < 0)
                        return result;
        }
        return lock_check_suite(s, what, reterr);
}

static int parse_lists(const json_t *suites, const json_t *packages, const char *what, Lock *l, Error *reterr) {
        const json_t *item;
        size_t i;
        int result;

        l->suites = xnew(LockSuite, json_array_size(suites));
        json_array_foreach ((json_t *) suites, i, item) {
                l->n_suites++;
                result = parse_suite(item, what, &l->suites[i], reterr);
                if (result < 0)
                        return result;
        }
        if (l->n_suites == 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s names no suite", what);
        l->packages = xnew(LockPackage, json_array_size(packages));
        json_array_foreach ((json_t *) packages, i, item) {
                bool known = false;

                l->n_packages++;
                result = parse_package(item, what, &l->packages[i], reterr);
                if (result < 0)
                        return result;
                for (size_t k = 0; k < l->n_suites; k++)
                        known = known || streq_ptr(l->suites[k].suite, l->packages[i].suite);
                if (l->packages[i].suite && !known)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "%s: package %s comes from suite %s, which the lock does not describe", what,
                                         l->packages[i].name, l->packages[i].suite);
        }
        return 0;
}

/* Before anything else is looked at: a newer format may differ everywhere. */
static int check_format(const json_t *document, const char *what, Error *reterr) {
        const json_t *format = json_object_get(document, "format");
        json_int_t value = json_integer_value(format);

        if (!json_is_integer(format) || value < 1)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is not a lock: it says no \"format\"", what);
        if (value == LOCK_FORMAT)
                return 0;
        error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                  "%s has format %" JSON_INTEGER_FORMAT "; this sealab (%s) reads format %d", what, value,
                  SEALAB_VERSION, LOCK_FORMAT);
        return error_hint(reterr, "Use the sealab that wrote it or a newer one. Or move it away and write it anew with "
                                  "this one: \"sealab lock\" (package versions may change).");
}

int lock_parse(const char *text, size_t size, const char *what, Lock **ret, Error *reterr) {
        _cleanup_(lock_freep) Lock *l = xnew(Lock, 1);
        _cleanup_json_ json_t *document = NULL;
        const json_t *suites = NULL, *packages = NULL;
        uint64_t format = 0;
        int result;

        if (size > LOCK_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is larger than %zu bytes", what, LOCK_SIZE_MAX);
        result = json_parse(text, size, what, &document, reterr);
        if (result >= 0)
                result = check_format(document, what, reterr);
        if (result < 0)
                return result;

        JsonReader r = json_reader(document, what, reterr);
        json_take_u64(&r, "format", false, LOCK_FORMAT, &format);
        json_take_string(&r, "image-id", false, &l->image_id);
        json_take_string(&r, "architecture", false, &l->architecture);
        take_digest(&r, "request", &l->request);
        json_take_array(&r, "suites", false, LOCK_SUITES_MAX, &suites);
        json_take_array(&r, "packages", false, LOCK_PACKAGES_MAX, &packages);
        result = json_reader_end(&r);
        if (result < 0)
                return result;
        if (!is_made_of(l->image_id, LOWER UPPER DIGITS ".+~_-", LOCK_NAME_MAX))
                return bad(what, "image id", l->image_id, reterr);
        if (!is_made_of(l->architecture, LOWER DIGITS "-", LOCK_NAME_MAX))
                return bad(what, "architecture", l->architecture, reterr);
        result = parse_lists(suites, packages, what, l, reterr);
        if (result < 0)
                return result;
        lock_sort(l);
        result = lock_check_unique(l, what, reterr);
        if (result < 0)
                return result;
        *ret = TAKE_PTR(l);
        return 0;
}
