/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lock.h"
#include "io.h"
#include "json.h"

#define LOCK_FORMAT 1
#define SUITES_MAX 64
#define INDEXES_MAX 256
#define PACKAGE_SIZE_MAX (UINT64_C(16) << 30)

static const struct {
        LockPurpose purpose;
        const char *name;
} purposes[] = { { LOCK_FOR_IMAGE, "image" }, { LOCK_FOR_INITRD, "initrd" }, { LOCK_FOR_TOOLS, "tools" } };

static void package_done(LockPackage *p) {
        free(p->name);
        free(p->version);
        free(p->architecture);
        free(p->source);
        free(p->source_version);
        free(p->path);
        free(p->suite);
}

static void suite_done(LockSuite *s) {
        for (size_t i = 0; i < s->n_indexes; i++)
                free(s->indexes[i].name);
        free(s->indexes);
        strv_free(s->signed_by);
        free(s->suite);
        free(s->origin);
        free(s->codename);
}

Lock *lock_free(Lock *l) {
        if (!l)
                return NULL;
        for (size_t i = 0; i < l->n_packages; i++)
                package_done(&l->packages[i]);
        for (size_t i = 0; i < l->n_suites; i++)
                suite_done(&l->suites[i]);
        free(l->packages);
        free(l->suites);
        free(l->image_id);
        free(l->architecture);
        free(l);
        return NULL;
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------------------ */

static void take_digest(JsonReader *r, const char *key, Sha256 *ret) {
        _cleanup_free_ char *hex = NULL;

        json_take_string(r, key, false, &hex);
        if (r->result >= 0 && !sha256_from_hex(hex, ret))
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                      "%s: \"%s\" is not a SHA-256 in hexadecimal", r->what, key);
}

static void take_time(JsonReader *r, const char *key, bool optional, int64_t *ret) {
        uint64_t seconds = 0;

        /* The year 9999; more is a mistake, and would not fit a tar header either. */
        json_take_u64(r, key, optional, UINT64_C(253402300799), &seconds);
        *ret = (int64_t) seconds;
}

static int parse_index(const json_t *object, const char *what, struct LockIndex *ret, Error *reterr) {
        JsonReader r = json_reader(object, what, reterr);

        json_take_string(&r, "name", false, &ret->name);
        json_take_u64(&r, "size", false, UINT64_C(1) << 40, &ret->size);
        take_digest(&r, "sha256", &ret->sha256);
        return json_reader_end(&r);
}

static int parse_suite(const json_t *object, const char *what, LockSuite *ret, Error *reterr) {
        JsonReader r = json_reader(object, what, reterr);
        const json_t *indexes = NULL, *index;
        size_t i;
        int e;

        json_take_string(&r, "suite", false, &ret->suite);
        json_take_string(&r, "origin", true, &ret->origin);
        json_take_string(&r, "codename", true, &ret->codename);
        take_time(&r, "date", false, &ret->date);
        take_time(&r, "valid-until", true, &ret->valid_until);
        take_digest(&r, "inrelease", &ret->inrelease);
        json_take_strv(&r, "signed-by", false, &ret->signed_by);
        json_take_array(&r, "indexes", false, INDEXES_MAX, &indexes);
        e = json_reader_end(&r);
        if (e < 0)
                return e;
        ret->indexes = xnew(struct LockIndex, json_array_size(indexes));
        json_array_foreach ((json_t *) indexes, i, index) {
                e = parse_index(index, what, &ret->indexes[ret->n_indexes++], reterr);
                if (e < 0)
                        return e;
        }
        return 0;
}

static int parse_purposes(char *const *names, const char *what, LockPurpose *ret, Error *reterr) {
        STRV_FOREACH (n, names) {
                bool found = false;

                for (size_t i = 0; i < ELEMENTSOF(purposes); i++)
                        if (streq(*n, purposes[i].name)) {
                                *ret |= purposes[i].purpose;
                                found = true;
                        }
                if (!found)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: unknown purpose \"%s\"", what, *n);
        }
        if (!*ret)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: a package without a purpose", what);
        return 0;
}

/* Names become arguments of programs and parts of paths. */
static bool word_is_safe(const char *s) {
        if (isempty(s) || strlen(s) > 255 ||
            !((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9')))
                return false;
        return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.~:_") == strlen(s);
}

static int check_package(const LockPackage *p, const char *what, Error *reterr) {
        if (!word_is_safe(p->name) || !word_is_safe(p->version) || !word_is_safe(p->architecture) ||
            !word_is_safe(p->source) || !word_is_safe(p->source_version))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: a package with an impossible name, version or architecture", what);
        if (!path_is_clean_relative(p->path))
                return error_set(reterr, EBADMSG, REFUSAL_PATH_ESCAPE, "%s: %s: \"%s\" is not a path inside an archive",
                                 what, p->name, p->path);
        if (p->size == 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %s: size 0", what, p->name);
        return 0;
}

static int parse_package(const json_t *object, const char *what, LockPackage *ret, Error *reterr) {
        JsonReader r = json_reader(object, what, reterr);
        _cleanup_strv_free_ char **names = NULL;
        int e;

        json_take_string(&r, "name", false, &ret->name);
        json_take_string(&r, "version", false, &ret->version);
        json_take_string(&r, "architecture", false, &ret->architecture);
        json_take_string(&r, "source", true, &ret->source);
        json_take_string(&r, "source-version", true, &ret->source_version);
        json_take_string(&r, "path", false, &ret->path);
        json_take_string(&r, "suite", true, &ret->suite);
        json_take_u64(&r, "size", false, PACKAGE_SIZE_MAX, &ret->size);
        take_digest(&r, "sha256", &ret->sha256);
        json_take_strv(&r, "for", false, &names);
        json_take_bool(&r, "essential", true, &ret->essential);
        e = json_reader_end(&r);
        if (e < 0)
                return e;
        if (!ret->source)
                ret->source = xstrdup(ret->name);
        if (!ret->source_version)
                ret->source_version = xstrdup(ret->version);
        e = parse_purposes(names, what, &ret->purpose, reterr);
        return e < 0 ? e : check_package(ret, what, reterr);
}

static int compare_packages(const LockPackage *a, const LockPackage *b) {
        return strcmp(a->name, b->name) ?: strcmp(a->architecture, b->architecture);
}

static int parse_lists(Lock *l, const json_t *suites, const json_t *packages, const char *what, Error *reterr) {
        const json_t *item;
        size_t i;
        int e;

        l->suites = xnew(LockSuite, json_array_size(suites));
        json_array_foreach ((json_t *) suites, i, item) {
                e = parse_suite(item, what, &l->suites[l->n_suites++], reterr);
                if (e < 0)
                        return e;
        }
        l->packages = xnew(LockPackage, json_array_size(packages));
        json_array_foreach ((json_t *) packages, i, item) {
                e = parse_package(item, what, &l->packages[l->n_packages++], reterr);
                if (e < 0)
                        return e;
                if (i > 0 && compare_packages(&l->packages[i - 1], &l->packages[i]) >= 0)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %s stands twice or out of order",
                                         what, l->packages[i].name);
        }
        return 0;
}

int lock_parse(const char *text, size_t size, const char *what, Lock **ret, Error *reterr) {
        _cleanup_(lock_freep) Lock *l = xnew(Lock, 1);
        _cleanup_json_ json_t *document = NULL;
        const json_t *suites = NULL, *packages = NULL;
        uint64_t format = 0;
        int e;

        if (size > LOCK_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: larger than %zu bytes", what, LOCK_SIZE_MAX);
        e = json_parse(text, size, what, &document, reterr);
        if (e < 0)
                return e;
        JsonReader r = json_reader(document, what, reterr);
        json_take_u64(&r, "sealab-lock", false, UINT32_MAX, &format);
        if (r.result >= 0 && format != LOCK_FORMAT) {
                strv_free(r.seen);
                error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: lock format %" PRIu64 " is not known here, only %d",
                          what, format, LOCK_FORMAT);
                return error_hint(
                        reterr,
                        "It was written by another version of sealab: use that one, or lock again with --update.");
        }
        json_take_string(&r, "image", false, &l->image_id);
        json_take_string(&r, "architecture", false, &l->architecture);
        take_digest(&r, "request", &l->request);
        json_take_array(&r, "suites", false, SUITES_MAX, &suites);
        json_take_array(&r, "packages", false, LOCK_PACKAGES_MAX, &packages);
        e = json_reader_end(&r);
        if (e >= 0)
                e = parse_lists(l, suites, packages, what, reterr);
        if (e < 0)
                return e;
        *ret = TAKE_PTR(l);
        return 0;
}

int lock_read(const char *recipe_folder, Lock **ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(recipe_folder, LOCK_FILE_NAME), *text = NULL;
        size_t size;
        int r;

        if (!io_exists(AT_FDCWD, path)) {
                error_set(reterr, ENOENT, REFUSAL_NO_LOCK, "%s does not exist", path);
                return error_hint(reterr, "Run \"sealab lock %s\" with the network, and commit the file.",
                                  recipe_folder);
        }
        r = io_read_file(AT_FDCWD, path, LOCK_SIZE_MAX, &text, &size, reterr);
        return r < 0 ? r : lock_parse(text, size, path, ret, reterr);
}

/* ---- writing
 * ------------------------------------------------------------------------------------------------------------- */

static json_t *digest_json(const Sha256 *d) {
        _cleanup_free_ char *hex = sha256_hex(d);

        return json_string(hex);
}

static json_t *suite_json(const LockSuite *s) {
        json_t *o = json_object(), *indexes = json_array();

        json_object_set_new(o, "suite", json_string(s->suite));
        if (s->origin)
                json_object_set_new(o, "origin", json_string(s->origin));
        if (s->codename)
                json_object_set_new(o, "codename", json_string(s->codename));
        json_object_set_new(o, "date", json_integer(s->date));
        if (s->valid_until > 0)
                json_object_set_new(o, "valid-until", json_integer(s->valid_until));
        json_object_set_new(o, "inrelease", digest_json(&s->inrelease));
        json_object_set_new(o, "signed-by", json_from_strv(s->signed_by));
        for (size_t i = 0; i < s->n_indexes; i++) {
                json_t *index = json_object();

                json_object_set_new(index, "name", json_string(s->indexes[i].name));
                json_object_set_new(index, "size", json_integer((json_int_t) s->indexes[i].size));
                json_object_set_new(index, "sha256", digest_json(&s->indexes[i].sha256));
                json_array_append_new(indexes, index);
        }
        json_object_set_new(o, "indexes", indexes);
        return o;
}

static json_t *package_json(const LockPackage *p) {
        json_t *o = json_object(), *names = json_array();

        json_object_set_new(o, "name", json_string(p->name));
        json_object_set_new(o, "version", json_string(p->version));
        json_object_set_new(o, "architecture", json_string(p->architecture));
        if (!streq_ptr(p->source, p->name))
                json_object_set_new(o, "source", json_string(p->source));
        if (!streq_ptr(p->source_version, p->version))
                json_object_set_new(o, "source-version", json_string(p->source_version));
        json_object_set_new(o, "size", json_integer((json_int_t) p->size));
        json_object_set_new(o, "sha256", digest_json(&p->sha256));
        json_object_set_new(o, "path", json_string(p->path));
        if (p->suite)
                json_object_set_new(o, "suite", json_string(p->suite));
        for (size_t i = 0; i < ELEMENTSOF(purposes); i++)
                if (p->purpose & purposes[i].purpose)
                        json_array_append_new(names, json_string(purposes[i].name));
        json_object_set_new(o, "for", names);
        if (p->essential)
                json_object_set_new(o, "essential", json_true());
        return o;
}

static void append_lines(Buffer *b, const char *name, json_t **items, size_t n) {
        buffer_printf(b, "  \"%s\": [", name);
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *line = json_dumps(items[i], 0);

                buffer_printf(b, "%s\n    %s", i > 0 ? "," : "", line);
                json_decref(items[i]);
        }
        buffer_puts(b, n > 0 ? "\n  ]" : "]");
}

char *lock_format(const Lock *l) {
        _cleanup_free_ json_t **suites = xnew(json_t *, l->n_suites), **packages = xnew(json_t *, l->n_packages);
        _cleanup_free_ char *request = sha256_hex(&l->request);
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i < l->n_suites; i++)
                suites[i] = suite_json(&l->suites[i]);
        for (size_t i = 0; i < l->n_packages; i++)
                packages[i] = package_json(&l->packages[i]);
        buffer_printf(&b,
                      "{\n  \"sealab-lock\": %d,\n  \"image\": \"%s\",\n  \"architecture\": \"%s\",\n  \"request\": "
                      "\"%s\",\n",
                      LOCK_FORMAT, l->image_id, l->architecture, request);
        append_lines(&b, "suites", suites, l->n_suites);
        buffer_puts(&b, ",\n");
        append_lines(&b, "packages", packages, l->n_packages);
        buffer_puts(&b, "\n}\n");
        return buffer_steal(&b);
}

int lock_write(const char *recipe_folder, const Lock *l, Error *reterr) {
        _cleanup_free_ char *path = path_join(recipe_folder, LOCK_FILE_NAME), *text = lock_format(l);

        return io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, reterr);
}

/* ---- questions
 * ------------------------------------------------------------------------------------------------------------ */

int lock_check_recipe(const Lock *l, const Recipe *r, Error *reterr) {
        Sha256 request;
        int e;

        if (!streq(l->architecture, r->architecture)) {
                error_set(reterr, ESTALE, REFUSAL_LOCK_STALE, "%s/" LOCK_FILE_NAME " is for %s, the recipe for %s",
                          r->path, l->architecture, r->architecture);
                return error_hint(reterr, "Run \"sealab lock --update %s\".", r->path);
        }
        e = recipe_request_digest(r, &request, reterr);
        if (e < 0)
                return e;
        if (sha256_equal(&request, &l->request))
                return 0;
        STRV_FOREACH (p, r->install)
                if (!lock_find(l, *p)) {
                        error_set(reterr, ESTALE, REFUSAL_LOCK_STALE,
                                  "%s wants the package %s, which " LOCK_FILE_NAME " does not have", r->path, *p);
                        return error_hint(reterr, "Run \"sealab lock --update %s\".", r->path);
                }
        error_set(reterr, ESTALE, REFUSAL_LOCK_STALE,
                  "%s/" LOCK_FILE_NAME
                  " was made for other settings (packages, suites, kernel or initrd changed since)",
                  r->path);
        return error_hint(reterr, "Run \"sealab lock --update %s\" and look at what changes.", r->path);
}

const LockPackage *lock_find(const Lock *l, const char *name) {
        for (size_t i = 0; i < l->n_packages; i++)
                if (streq(l->packages[i].name, name))
                        return &l->packages[i];
        return NULL;
}

int64_t lock_epoch(const Lock *l) {
        int64_t newest = 0;

        for (size_t i = 0; i < l->n_suites; i++)
                newest = MAX(newest, l->suites[i].date);
        return newest;
}

void lock_digest(const Lock *l, Sha256 *ret) {
        _cleanup_free_ char *text = lock_format(l);

        sha256_buffer(text, strlen(text), ret);
}

void lock_digest_purpose(const Lock *l, LockPurpose purpose, Sha256 *ret) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();

        for (size_t i = 0; i < l->n_packages; i++) {
                const LockPackage *p = &l->packages[i];

                if (!(p->purpose & purpose))
                        continue;
                hasher_update_string(h, p->name);
                hasher_update_string(h, p->architecture);
                hasher_update_string(h, p->essential ? "essential" : "");
                hasher_update(h, p->sha256.bytes, SHA256_SIZE);
        }
        hasher_final(h, ret);
}

size_t lock_compare(const Lock *from, const Lock *to, LockChange **ret) {
        LockChange *changes = NULL;
        size_t n = 0, allocated = 0, i = 0, k = 0;

        while (i < from->n_packages || k < to->n_packages) {
                const LockPackage *a = i < from->n_packages ? &from->packages[i] : NULL;
                const LockPackage *b = k < to->n_packages ? &to->packages[k] : NULL;
                int order = !a ? 1 : !b ? -1 : compare_packages(a, b);

                if (order <= 0)
                        i++;
                if (order >= 0)
                        k++;
                if (order == 0 && streq(a->version, b->version) && sha256_equal(&a->sha256, &b->sha256) &&
                    a->purpose == b->purpose)
                        continue;
                GROW(changes, n, allocated);
                changes[n++] = (LockChange){ .name = order <= 0 ? a->name : b->name,
                                             .from = order <= 0 ? a : NULL,
                                             .to = order >= 0 ? b : NULL };
        }
        *ret = changes;
        return n;
}
