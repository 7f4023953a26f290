/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "manifest.h"
#include "io.h"
#include "json.h"

static const struct {
        LockPurpose purpose;
        const char *name;
} purposes[] = {
        { LOCK_FOR_IMAGE, "image" },
        { LOCK_FOR_INITRD, "initrd" },
};

Manifest *manifest_free(Manifest *m) {
        if (!m)
                return NULL;
        for (size_t i = 0; i < m->n_packages; i++) {
                ManifestPackage *p = &m->packages[i];

                free(p->name);
                free(p->version);
                free(p->architecture);
                free(p->source);
                free(p->source_version);
        }
        free(m->packages);
        free(m->image_id);
        free(m->version);
        free(m->architecture);
        free(m);
        return NULL;
}

static int package_compare(const void *a, const void *b) {
        const ManifestPackage *x = a, *y = b;
        int d = strcmp(x->name, y->name);

        return d != 0 ? d : strcmp(x->architecture, y->architecture);
}

static ManifestPackage *find(const Manifest *m, const char *name) {
        size_t low = 0, high = m->n_packages;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(m->packages[middle].name, name) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < m->n_packages && streq(m->packages[low].name, name) ? &m->packages[low] : NULL;
}

/* The contents name packages without architecture. Where a lock holds one name for two (a foreign library), the files
 * count for the first: the sums stay right, the split between the two is not known. */
static void count_files(Manifest *m, const Contents *contents) {
        for (size_t i = 0; i < contents->n_entries; i++) {
                const ContentsEntry *e = &contents->entries[i];
                ManifestPackage *p = e->package && !S_ISDIR(e->mode) ? find(m, e->package) : NULL;

                if (!p)
                        continue;
                p->n_files++;
                p->installed_bytes += contents_entry_bytes(e);
        }
}

Manifest *manifest_new(const Lock *lock, const Contents *contents) {
        Manifest *m = xnew(Manifest, 1);

        m->image_id = xstrdup(contents->image_id);
        m->version = xstrdup(contents->version);
        m->architecture = xstrdup(lock->architecture);
        m->packages = xnew(ManifestPackage, lock->n_packages + 1);
        for (size_t i = 0; i < lock->n_packages; i++) {
                const LockPackage *p = &lock->packages[i];
                LockPurpose purpose = (LockPurpose) (p->purpose & (LOCK_FOR_IMAGE | LOCK_FOR_INITRD));

                if (purpose == 0)
                        continue;
                m->packages[m->n_packages++] = (ManifestPackage){
                        .name = xstrdup(p->name),
                        .version = xstrdup(p->version),
                        .architecture = xstrdup(p->architecture),
                        .source = xstrdup(p->source ?: p->name),
                        .source_version = xstrdup(p->source_version ?: p->version),
                        .sha256 = p->sha256,
                        .size = p->size,
                        .purpose = purpose,
                };
        }
        if (m->n_packages > 0)
                qsort(m->packages, m->n_packages, sizeof(*m->packages), package_compare);
        count_files(m, contents);
        return m;
}

static json_t *package_to_json(const ManifestPackage *p) {
        _cleanup_free_ char *hex = sha256_hex(&p->sha256);
        json_t *o = json_object(), *purpose = json_array();

        for (size_t i = 0; i < ELEMENTSOF(purposes); i++)
                if (p->purpose & purposes[i].purpose)
                        json_array_append_new(purpose, json_string(purposes[i].name));
        json_object_set_new(o, "name", json_string(p->name));
        json_object_set_new(o, "version", json_string(p->version));
        json_object_set_new(o, "architecture", json_string(p->architecture));
        json_object_set_new(o, "source", json_string(p->source));
        json_object_set_new(o, "sourceVersion", json_string(p->source_version));
        json_object_set_new(o, "sha256", json_string(hex));
        json_object_set_new(o, "size", json_integer((json_int_t) p->size));
        json_object_set_new(o, "in", purpose);
        json_object_set_new(o, "files", json_integer((json_int_t) p->n_files));
        json_object_set_new(o, "installedBytes", json_integer((json_int_t) p->installed_bytes));
        return o;
}

char *manifest_format(const Manifest *m) {
        _cleanup_json_ json_t *o = json_object();
        json_t *packages = json_array();

        for (size_t i = 0; i < m->n_packages; i++)
                json_array_append_new(packages, package_to_json(&m->packages[i]));
        json_object_set_new(o, "format", json_integer(MANIFEST_FORMAT));
        json_object_set_new(o, "imageId", json_string(m->image_id));
        json_object_set_new(o, "version", json_string(m->version));
        json_object_set_new(o, "architecture", json_string(m->architecture));
        json_object_set_new(o, "packages", packages);
        return json_format(o, false);
}

static int decode_purpose(char *const *names, LockPurpose *ret, Error *reterr) {
        unsigned result = 0;

        STRV_FOREACH (name, names) {
                unsigned known = 0;

                for (size_t i = 0; i < ELEMENTSOF(purposes); i++)
                        if (streq(purposes[i].name, *name))
                                known = purposes[i].purpose;
                if (known == 0)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"in\" has an unknown word \"%s\"",
                                         *name);
                result |= known;
        }
        *ret = (LockPurpose) result;
        return 0;
}

static int decode_package(const json_t *object, ManifestPackage *p, Error *reterr) {
        _cleanup_strv_free_ char **in = NULL;
        _cleanup_free_ char *sha256 = NULL;
        JsonReader r = json_reader(object, "package", reterr);
        int result;

        json_take_string(&r, "name", false, &p->name);
        json_take_string(&r, "version", false, &p->version);
        json_take_string(&r, "architecture", false, &p->architecture);
        json_take_string(&r, "source", false, &p->source);
        json_take_string(&r, "sourceVersion", false, &p->source_version);
        json_take_string(&r, "sha256", false, &sha256);
        json_take_u64(&r, "size", false, INT64_MAX, &p->size);
        json_take_strv(&r, "in", false, &in);
        json_take_u64(&r, "files", false, TREE_ENTRIES_MAX, &p->n_files);
        json_take_u64(&r, "installedBytes", false, INT64_MAX, &p->installed_bytes);
        result = json_reader_end(&r);
        if (result < 0)
                return result;
        if (!sha256_from_hex(sha256, &p->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"sha256\" is not a SHA-256", p->name);
        return decode_purpose(in, &p->purpose, reterr);
}

static int decode_packages(const json_t *array, Manifest *m, Error *reterr) {
        const json_t *value;
        size_t i;

        m->packages = xnew(ManifestPackage, json_array_size(array) + 1);
        json_array_foreach ((json_t *) array, i, value) {
                int r = decode_package(value, &m->packages[m->n_packages++], reterr);

                if (r < 0)
                        return r;
                if (i > 0 && package_compare(&m->packages[i - 1], &m->packages[i]) >= 0)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "package %s is out of order",
                                         m->packages[i].name);
        }
        return 0;
}

int manifest_parse(const char *text, size_t size, const char *what, Manifest **ret, Error *reterr) {
        _cleanup_(manifest_freep) Manifest *m = xnew(Manifest, 1);
        _cleanup_json_ json_t *object = NULL;
        const json_t *packages = NULL;
        uint64_t format = 0;
        JsonReader reader;
        int r;

        r = json_parse(text, size, what, &object, reterr);
        if (r < 0)
                return r;
        reader = json_reader(object, what, reterr);
        json_take_u64(&reader, "format", false, UINT32_MAX, &format);
        if (reader.result == 0 && format != MANIFEST_FORMAT)
                reader.result = error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                          "%s: format %" PRIu64 " is not known to this version", what, format);
        json_take_string(&reader, "imageId", false, &m->image_id);
        json_take_string(&reader, "version", false, &m->version);
        json_take_string(&reader, "architecture", false, &m->architecture);
        json_take_array(&reader, "packages", false, LOCK_PACKAGES_MAX, &packages);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        r = decode_packages(packages, m, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", what);
        *ret = TAKE_PTR(m);
        return 0;
}

int manifest_write(const Manifest *m, int dir_fd, const char *path, Error *reterr) {
        _cleanup_free_ char *text = manifest_format(m);

        return io_write_file(dir_fd, path, text, strlen(text), 0644, reterr);
}

int manifest_read(int dir_fd, const char *path, Manifest **ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = io_read_file(dir_fd, path, MANIFEST_SIZE_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        return manifest_parse(text, size, path, ret, reterr);
}

const ManifestPackage *manifest_find(const Manifest *m, const char *name) {
        return find(m, name);
}
