/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lock.h"
#include "io.h"
#include "json.h"
#include "lock-internal.h"

#define LISTED_MAX 8 /* names in one message */

static const struct {
        const char *name;
        LockPurpose purpose;
} purposes[] = {
        { "image", LOCK_FOR_IMAGE },
        { "initrd", LOCK_FOR_INITRD },
        { "tools", LOCK_FOR_TOOLS },
};

void lock_package_done(LockPackage *p) {
        free(p->name);
        free(p->version);
        free(p->architecture);
        free(p->source);
        free(p->source_version);
        free(p->path);
        free(p->suite);
        *p = (LockPackage){};
}

void lock_suite_done(LockSuite *s) {
        free(s->suite);
        free(s->origin);
        free(s->codename);
        strv_free(s->signed_by);
        for (size_t i = 0; i < s->n_indexes; i++)
                free(s->indexes[i].name);
        free(s->indexes);
        *s = (LockSuite){};
}

Lock *lock_free(Lock *l) {
        if (!l)
                return NULL;
        free(l->image_id);
        free(l->architecture);
        for (size_t i = 0; i < l->n_suites; i++)
                lock_suite_done(&l->suites[i]);
        free(l->suites);
        for (size_t i = 0; i < l->n_packages; i++)
                lock_package_done(&l->packages[i]);
        free(l->packages);
        free(l);
        return NULL;
}

int lock_read(const char *recipe_folder, Lock **ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(recipe_folder, LOCK_FILE_NAME), *text = NULL;
        size_t size;
        int r;

        if (!io_exists(AT_FDCWD, path)) {
                error_set(reterr, ENOENT, REFUSAL_NO_LOCK, "%s has no %s", recipe_folder, LOCK_FILE_NAME);
                return error_hint(reterr, "Run \"sealab lock %s\" once with the network; then builds need none.",
                                  recipe_folder);
        }
        r = io_read_file(AT_FDCWD, path, LOCK_SIZE_MAX, &text, &size, reterr);
        return r < 0 ? r : lock_parse(text, size, path, ret, reterr);
}

int lock_write(const char *recipe_folder, const Lock *l, Error *reterr) {
        _cleanup_free_ char *path = path_join(recipe_folder, LOCK_FILE_NAME), *text = lock_format(l);

        return io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, reterr);
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static void put_string(json_t *object, const char *key, const char *value) {
        json_object_set_new(object, key, json_string(value ?: ""));
}

static void put_digest(json_t *object, const char *key, const Sha256 *digest) {
        _cleanup_free_ char *hex = sha256_hex(digest);

        put_string(object, key, hex);
}

static void put_size(json_t *object, uint64_t size) {
        json_object_set_new(object, "size", json_integer((json_int_t) size));
}

json_t *lock_purpose_to_json(LockPurpose purpose) {
        json_t *l = json_array();

        for (size_t i = 0; i < ELEMENTSOF(purposes); i++)
                if (purpose & purposes[i].purpose)
                        json_array_append_new(l, json_string(purposes[i].name));
        return l;
}

static json_t *suite_to_json(const LockSuite *s) {
        json_t *o = json_object(), *indexes = json_array();
        _cleanup_free_ char *date = lock_time_format(s->date), *until = lock_time_format(s->valid_until);

        put_string(o, "suite", s->suite);
        put_string(o, "origin", s->origin);
        put_string(o, "codename", s->codename);
        put_string(o, "date", date);
        if (s->valid_until != 0)
                put_string(o, "valid-until", until);
        put_digest(o, "inrelease", &s->inrelease);
        json_object_set_new(o, "signed-by", json_from_strv(s->signed_by));
        for (size_t i = 0; i < s->n_indexes; i++) {
                json_t *index = json_object();

                put_string(index, "name", s->indexes[i].name);
                put_size(index, s->indexes[i].size);
                put_digest(index, "sha256", &s->indexes[i].sha256);
                json_array_append_new(indexes, index);
        }
        json_object_set_new(o, "indexes", indexes);
        return o;
}

static json_t *package_to_json(const LockPackage *p) {
        json_t *o = json_object();

        put_string(o, "name", p->name);
        put_string(o, "version", p->version);
        put_string(o, "architecture", p->architecture);
        if (!streq_ptr(p->source, p->name))
                put_string(o, "source", p->source);
        if (!streq_ptr(p->source_version, p->version))
                put_string(o, "source-version", p->source_version);
        if (p->suite)
                put_string(o, "suite", p->suite);
        put_string(o, "path", p->path);
        put_size(o, p->size);
        put_digest(o, "sha256", &p->sha256);
        json_object_set_new(o, "for", lock_purpose_to_json(p->purpose));
        if (p->essential)
                json_object_set_new(o, "essential", json_true());
        return o;
}

/* Takes the object; one line, members in the order they were put. */
static void append_line(Buffer *b, json_t *o, bool last) {
        _cleanup_json_ json_t *owned = o;
        _cleanup_free_ char *line = json_dumps(owned, JSON_ENSURE_ASCII);

        if (!line)
                abort(); /* out of memory, or a string that no reader let in */
        buffer_printf(b, "    %s%s\n", line, last ? "" : ",");
}

char *lock_format(const Lock *l) {
        _cleanup_free_ char *request = sha256_hex(&l->request);
        _cleanup_buffer_ Buffer b = {};

        buffer_printf(&b,
                      "{\n  \"format\": %d,\n  \"image-id\": \"%s\",\n  \"architecture\": \"%s\",\n  \"request\": "
                      "\"%s\",\n  \"suites\": [\n",
                      LOCK_FORMAT, l->image_id, l->architecture, request);
        for (size_t i = 0; i < l->n_suites; i++)
                append_line(&b, suite_to_json(&l->suites[i]), i + 1 == l->n_suites);
        buffer_puts(&b, "  ],\n  \"packages\": [\n");
        for (size_t i = 0; i < l->n_packages; i++)
                append_line(&b, package_to_json(&l->packages[i]), i + 1 == l->n_packages);
        buffer_puts(&b, "  ]\n}\n");
        return buffer_steal(&b);
}

/* ---- using ----------------------------------------------------------------------------------------------- */

const LockPackage *lock_find(const Lock *l, const char *name) {
        size_t low = 0, high = l->n_packages;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(l->packages[middle].name, name) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < l->n_packages && streq(l->packages[low].name, name) ? &l->packages[low] : NULL;
}

static bool has_suite(const Lock *l, const char *suite) {
        for (size_t i = 0; i < l->n_suites; i++)
                if (streq(l->suites[i].suite, suite))
                        return true;
        return false;
}

static bool has_local(const Lock *l, const char *file_name) {
        for (size_t i = 0; i < l->n_packages; i++)
                if (!l->packages[i].suite && streq(l->packages[i].path, file_name))
                        return true;
        return false;
}

static void note(Buffer *b, size_t *n, const char *what, const char *name) {
        if ((*n)++ < LISTED_MAX)
                buffer_printf(b, "%s%s %s", b->size > 0 ? ", " : "", what, name);
        else if (*n == LISTED_MAX + 1)
                buffer_puts(b, ", and more");
}

static void note_missing(const Lock *l, char *const *names, const char *what, Buffer *b, size_t *n) {
        STRV_FOREACH (name, names)
                if (!lock_find(l, *name))
                        note(b, n, what, *name);
}

/* The digest says that something differs; what exactly, only where the lock shows it. */
static char *describe_difference(const Lock *l, const Recipe *r) {
        _cleanup_buffer_ Buffer b = {};
        size_t n = 0;

        if (!streq(l->architecture, r->architecture))
                note(&b, &n, "the architecture is now", r->architecture);
        STRV_FOREACH (suite, r->suites)
                if (!has_suite(l, *suite))
                        note(&b, &n, "new suite", *suite);
        for (size_t i = 0; i < l->n_suites; i++)
                if (!strv_contains(r->suites, l->suites[i].suite))
                        note(&b, &n, "no longer suite", l->suites[i].suite);
        note_missing(l, r->install, "new package", &b, &n);
        note_missing(l, r->initrd_packages, "new initrd package", &b, &n);
        if (!isempty(r->kernel_package) && !lock_find(l, r->kernel_package))
                note(&b, &n, "new kernel package", r->kernel_package);
        STRV_FOREACH (path, r->local_debs)
                if (!has_local(l, path_basename(*path)))
                        note(&b, &n, "new local package", path_basename(*path));
        if (n == 0)
                buffer_puts(&b, "the packages, suites or components that it asks for were changed");
        return buffer_steal(&b);
}

int lock_check_recipe(const Lock *l, const Recipe *r, Error *reterr) {
        _cleanup_free_ char *difference = NULL;
        Sha256 request;
        int result;

        result = recipe_request_digest(r, &request, reterr);
        if (result < 0)
                return result;
        if (sha256_equal(&request, &l->request))
                return 0;
        difference = describe_difference(l, r);
        error_set(reterr, ESTALE, REFUSAL_LOCK_STALE, "%s of %s was made for the recipe as it was before: %s",
                  LOCK_FILE_NAME, r->path, difference);
        return error_hint(reterr, "Run \"sealab lock --update %s\" with the network and commit the new %s.", r->path,
                          LOCK_FILE_NAME);
}

int64_t lock_epoch(const Lock *l) {
        int64_t epoch = 0;

        for (size_t i = 0; i < l->n_suites; i++)
                epoch = MAX(epoch, l->suites[i].date);
        return epoch;
}

void lock_digest(const Lock *l, Sha256 *ret) {
        _cleanup_free_ char *text = lock_format(l);

        sha256_buffer(text, strlen(text), ret);
}

void lock_digest_purpose(const Lock *l, LockPurpose purpose, Sha256 *ret) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();

        hasher_update_string(h, "sealab-lock-purpose-1");
        hasher_update_string(h, l->architecture);
        for (size_t i = 0; i < l->n_packages; i++) {
                const LockPackage *p = &l->packages[i];

                if (!(p->purpose & purpose))
                        continue;
                hasher_update_string(h, p->name);
                hasher_update_string(h, p->version);
                hasher_update_string(h, p->architecture);
                hasher_update_string(h, p->essential ? "essential" : "");
                hasher_update(h, p->sha256.bytes, SHA256_SIZE);
        }
        hasher_final(h, ret);
}

static bool same_package(const LockPackage *a, const LockPackage *b) {
        return streq(a->version, b->version) && sha256_equal(&a->sha256, &b->sha256) && a->purpose == b->purpose;
}

size_t lock_compare(const Lock *from, const Lock *to, LockChange **ret) {
        size_t i = 0, k = 0, n = 0, n_from = from ? from->n_packages : 0;
        LockChange *changes = xnew(LockChange, n_from + to->n_packages + 1);

        while (i < n_from || k < to->n_packages) {
                const LockPackage *a = i < n_from ? &from->packages[i] : NULL,
                                  *b = k < to->n_packages ? &to->packages[k] : NULL;
                int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);

                i += order <= 0;
                k += order >= 0;
                if (order == 0 && same_package(a, b))
                        continue;
                changes[n++] = (LockChange){ .name = order <= 0 ? a->name : b->name,
                                             .from = order <= 0 ? a : NULL,
                                             .to = order >= 0 ? b : NULL };
        }
        *ret = changes;
        return n;
}

LockPurpose lock_purpose_from_name(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(purposes); i++)
                if (streq(purposes[i].name, name))
                        return purposes[i].purpose;
        return 0;
}
