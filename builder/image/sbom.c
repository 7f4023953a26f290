/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <time.h>

#include "io.h"
#include "json.h"
#include "sbom.h"

#define COPYRIGHT_SIZE_MAX ((size_t) 4 << 20)
/* A desktop browser's copyright file names two hundred; more than this is no longer information. */
#define LICENCES_MAX 400

#define ID_DOCUMENT "SPDXRef-DOCUMENT"
#define ID_IMAGE "SPDXRef-Image"
#define ID_INITRD "SPDXRef-Initrd"

typedef struct Document {
        const Lock *lock;
        const Recipe *recipe;
        const char *image_id, *version;
        Tree *tree;
        json_t *packages, *relationships; /* owned by the document's object */
        char **sources;                   /* ids of the source packages that are in already */
        Error *reterr;
} Document;

static void document_done(Document *d) {
        d->sources = strv_free(d->sources);
}

/* --- package URLs --- */

/* What the package URL specification leaves unencoded in names and versions; the colon of an epoch is left as well. */
static void append_encoded(Buffer *b, const char *s, bool lower) {
        for (; *s; s++) {
                unsigned char c = lower ? (unsigned char) tolower((unsigned char) *s) : (unsigned char) *s;

                if (isalnum(c) || strchr(".-_~:", c))
                        buffer_append(b, &c, 1);
                else
                        buffer_printf(b, "%%%02X", c);
        }
}

static const LockSuite *find_suite(const Lock *lock, const char *suite) {
        for (size_t i = 0; suite && i < lock->n_suites; i++)
                if (streq(lock->suites[i].suite, suite))
                        return &lock->suites[i];
        return NULL;
}

static void append_deb_url(Buffer *b, const LockSuite *suite, const char *name, const char *version,
                           const char *architecture) {
        buffer_puts(b, "pkg:deb/");
        append_encoded(b, isempty(suite->origin) ? "debian" : suite->origin, true);
        buffer_puts(b, "/");
        append_encoded(b, name, true);
        buffer_puts(b, "@");
        append_encoded(b, version, false);
        buffer_puts(b, "?arch=");
        append_encoded(b, architecture, false);
        if (!isempty(suite->codename)) {
                buffer_puts(b, "&distro=");
                append_encoded(b, suite->codename, false);
        }
}

char *sbom_package_url(const Lock *lock, const LockPackage *p) {
        const LockSuite *suite = find_suite(lock, p->suite);
        _cleanup_buffer_ Buffer b = {};

        if (suite)
                append_deb_url(&b, suite, p->name, p->version, p->architecture);
        else {
                _cleanup_free_ char *hex = sha256_hex(&p->sha256);

                buffer_puts(&b, "pkg:generic/");
                append_encoded(&b, p->name, true);
                buffer_puts(&b, "@");
                append_encoded(&b, p->version, false);
                buffer_printf(&b, "?checksum=sha256:%s", hex);
        }
        return buffer_steal(&b);
}

/* --- licences --- */

/* The first line of a License: field is its short name; further lines are the text. Alternatives stay as written. */
static void take_licence(char ***licences, const char *value) {
        _cleanup_free_ char *copy = xstrdup(value);
        const char *name = strstrip(copy);

        if (*name && strv_length(*licences) < LICENCES_MAX)
                strv_extend(licences, name);
}

char **sbom_copyright_licences(const char *text) {
        _cleanup_strv_free_ char **lines = strv_split(text, "\n"), **licences = NULL;
        bool machine_readable = false;

        STRV_FOREACH (line, lines) {
                const char *value;

                if (strncasecmp(*line, "Format:", 7) == 0 && strstr(*line, "copyright-format/1.0"))
                        machine_readable = true;
                value = strncasecmp(*line, "License:", 8) == 0 ? *line + 8 : NULL;
                if (machine_readable && value)
                        take_licence(&licences, value);
        }
        if (licences)
                strv_sort_unique(licences);
        return TAKE_PTR(licences);
}

static int licence_comment(Document *d, const LockPackage *p, char **ret) {
        _cleanup_free_ char *path = xasprintf("/usr/share/doc/%s/copyright", p->name), *text = NULL, *list = NULL;
        _cleanup_strv_free_ char **licences = NULL;
        Node *node = tree_resolve(d->tree, path);
        size_t size;
        int r;

        if (!node || !node_is_file(node) || node->inode->size > COPYRIGHT_SIZE_MAX)
                return 0;
        r = tree_read_file(d->tree, node, COPYRIGHT_SIZE_MAX, &text, &size, d->reterr);
        if (r < 0)
                return error_prefix(d->reterr, "%s", path);
        licences = sbom_copyright_licences(text);
        list = licences ? strv_join(licences, ", ") : NULL;
        if (!list)
                return 0;
        *ret = xasprintf("License names in %s: %s", path, list);
        return 0;
}

/* --- elements --- */

static json_t *new_package(const char *id, const char *name, const char *version) {
        json_t *o = json_object();

        json_object_set_new(o, "SPDXID", json_string(id));
        json_object_set_new(o, "name", json_string(name));
        json_object_set_new(o, "versionInfo", json_string(version));
        json_object_set_new(o, "downloadLocation", json_string("NOASSERTION"));
        json_object_set_new(o, "filesAnalyzed", json_false());
        json_object_set_new(o, "licenseConcluded", json_string("NOASSERTION"));
        json_object_set_new(o, "licenseDeclared", json_string("NOASSERTION"));
        json_object_set_new(o, "copyrightText", json_string("NOASSERTION"));
        return o;
}

static void set_url(json_t *package, const char *url) {
        json_object_set_new(package, "externalRefs",
                            json_pack("[{ssssss}]", "referenceCategory", "PACKAGE-MANAGER", "referenceType", "purl",
                                      "referenceLocator", url));
}

static void relate(Document *d, const char *from, const char *type, const char *to) {
        json_array_append_new(d->relationships, json_pack("{ssssss}", "spdxElementId", from, "relationshipType", type,
                                                          "relatedSpdxElement", to));
}

/* Ids may hold letters, digits, "." and "-"; "_", which no part contains, separates the parts before it is encoded. */
static char *make_id(const char *kind, const char *name, const char *version, const char *architecture) {
        _cleanup_free_ char *full = xasprintf("%s_%s%s%s", name, version, architecture ? "_" : "", architecture ?: "");
        _cleanup_buffer_ Buffer b = {};

        buffer_printf(&b, "SPDXRef-%s-", kind);
        for (const char *s = full; *s; s++) {
                if (isalnum((unsigned char) *s) || *s == '.' || *s == '-')
                        buffer_append(&b, s, 1);
                else if (*s == '_')
                        buffer_puts(&b, "--");
                else
                        buffer_printf(&b, "-%02x-", (unsigned char) *s);
        }
        return buffer_steal(&b);
}

static char *supplier_of(const LockSuite *suite) {
        return suite && !isempty(suite->origin) ? xasprintf("Organization: %s", suite->origin) : xstrdup("NOASSERTION");
}

static void add_source(Document *d, const LockPackage *p, const LockSuite *suite, const char *package_id) {
        const char *name = p->source ?: p->name, *version = p->source_version ?: p->version;
        _cleanup_free_ char *id = make_id("Source", name, version, NULL), *supplier = supplier_of(suite);
        _cleanup_buffer_ Buffer url = {};
        json_t *o;

        if (!suite) /* a local package: where it came from is not recorded anywhere */
                return;
        relate(d, package_id, "GENERATED_FROM", id);
        if (strv_contains(d->sources, id))
                return;
        o = new_package(id, name, version);
        json_object_set_new(o, "primaryPackagePurpose", json_string("SOURCE"));
        json_object_set_new(o, "supplier", json_string(supplier));
        append_deb_url(&url, suite, name, version, "source");
        set_url(o, url.data);
        json_array_append_new(d->packages, o);
        strv_push(&d->sources, TAKE_PTR(id));
}

static int add_package(Document *d, const LockPackage *p) {
        _cleanup_free_ char *id = make_id("Package", p->name, p->version, p->architecture), *url = NULL;
        _cleanup_free_ char *hex = sha256_hex(&p->sha256), *supplier = NULL, *comment = NULL;
        const LockSuite *suite = find_suite(d->lock, p->suite);
        json_t *o = new_package(id, p->name, p->version);
        int r;

        supplier = supplier_of(suite);
        json_object_set_new(o, "supplier", json_string(supplier));
        json_object_set_new(o, "packageFileName", json_string(path_basename(p->path)));
        json_object_set_new(o, "checksums", json_pack("[{ssss}]", "algorithm", "SHA256", "checksumValue", hex));
        url = sbom_package_url(d->lock, p);
        set_url(o, url);
        json_array_append_new(d->packages, o);
        if (p->purpose & LOCK_FOR_IMAGE) {
                r = licence_comment(d, p, &comment);
                if (r < 0)
                        return r;
                relate(d, ID_IMAGE, "CONTAINS", id);
        }
        if (comment)
                json_object_set_new(o, "licenseComments", json_string(comment));
        if (p->purpose & LOCK_FOR_INITRD)
                relate(d, ID_INITRD, "CONTAINS", id);
        if (p->purpose & LOCK_FOR_TOOLS)
                relate(d, id, "BUILD_TOOL_OF", ID_IMAGE);
        add_source(d, p, suite, id);
        return 0;
}

static void add_products(Document *d) {
        _cleanup_free_ char *initrd_name = xasprintf("%s-initrd", d->image_id);
        json_t *image = new_package(ID_IMAGE, d->image_id, d->version);
        json_t *initrd = new_package(ID_INITRD, initrd_name, d->version);

        json_object_set_new(image, "primaryPackagePurpose", json_string("OPERATING-SYSTEM"));
        json_object_set_new(image, "summary", json_string("The sealed /usr of this image"));
        json_object_set_new(initrd, "primaryPackagePurpose", json_string("ARCHIVE"));
        json_object_set_new(initrd, "summary", json_string("The initrd that mounts the sealed /usr"));
        json_array_append_new(d->packages, image);
        json_array_append_new(d->packages, initrd);
        relate(d, ID_DOCUMENT, "DESCRIBES", ID_IMAGE);
        relate(d, ID_DOCUMENT, "DESCRIBES", ID_INITRD);
}

static char *format_time(int64_t epoch) {
        time_t t = (time_t) epoch;
        struct tm tm;
        char s[32];

        if (!gmtime_r(&t, &tm) || strftime(s, sizeof(s), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
                return NULL;
        return xstrdup(s);
}

static char *make_namespace(Document *d) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_free_ char *hex = NULL;
        _cleanup_buffer_ Buffer b = {};
        Sha256 digest;

        lock_digest(d->lock, &digest);
        hasher_update(hasher, &digest, sizeof(digest));
        hasher_update_string(hasher, d->image_id);
        hasher_update_string(hasher, d->version);
        hasher_update_string(hasher, SEALAB_VERSION);
        hasher_final(hasher, &digest);
        hex = sha256_hex(&digest);
        buffer_puts(&b, "https://spdx.org/spdxdocs/");
        append_encoded(&b, d->image_id, false);
        buffer_puts(&b, "-");
        append_encoded(&b, d->version, false);
        buffer_printf(&b, "-%s", hex);
        return buffer_steal(&b);
}

static json_t *new_document(Document *d, const char *created) {
        _cleanup_free_ char *name = xasprintf("%s_%s", d->image_id, d->version), *namespace = make_namespace(d);
        _cleanup_free_ char *comment = NULL, *hex = NULL;
        json_t *o = json_object();
        Sha256 digest;

        lock_digest(d->lock, &digest);
        hex = sha256_hex(&digest);
        comment = xasprintf("Made from recipe %s, recipe.lock SHA-256 %s. Checksums are those of the .deb files, from "
                            "the archive's signed index. The image holds the files of its packages without what the "
                            "recipe leaves out.",
                            d->recipe->name, hex);
        json_object_set_new(o, "spdxVersion", json_string("SPDX-2.3"));
        json_object_set_new(o, "dataLicense", json_string("CC0-1.0"));
        json_object_set_new(o, "SPDXID", json_string(ID_DOCUMENT));
        json_object_set_new(o, "name", json_string(name));
        json_object_set_new(o, "documentNamespace", json_string(namespace));
        json_object_set_new(o, "comment", json_string(comment));
        json_object_set_new(o, "creationInfo",
                            json_pack("{sss[s]}", "created", created, "creators", "Tool: sealab-" SEALAB_VERSION));
        d->packages = json_array();
        d->relationships = json_array();
        json_object_set_new(o, "packages", d->packages);
        json_object_set_new(o, "relationships", d->relationships);
        return o;
}

int sbom_write(const Lock *lock, const Recipe *recipe, const char *image_id, const char *version, Tree *usr_tree,
               Buffer *ret, Error *reterr) {
        _cleanup_(document_done) Document d = {
                .lock = lock,
                .recipe = recipe,
                .image_id = image_id,
                .version = version,
                .tree = usr_tree,
                .reterr = reterr,
        };
        _cleanup_free_ char *created = format_time(lock_epoch(lock)), *text = NULL;
        _cleanup_json_ json_t *document = NULL;

        if (!created)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the lock's time %" PRId64 " is no date",
                                 lock_epoch(lock));
        document = new_document(&d, created);
        add_products(&d);
        for (size_t i = 0; i < lock->n_packages; i++) {
                int r = add_package(&d, &lock->packages[i]);

                if (r < 0)
                        return r;
        }
        text = json_format(document, false);
        buffer_puts(ret, text);
        return 0;
}
