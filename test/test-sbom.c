/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "release-fixture.h"
#include "sbom.h"

static Recipe fixture_recipe = { .name = OWNED("mine") };

static char *make_sbom(const Lock *lock, const char *version) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};
        Buffer b = {};

        assert_ok(sbom_write(lock, &fixture_recipe, "mine", version, t, &b, &e), &e);
        return buffer_steal(&b);
}

static json_t *parse_sbom(void) {
        _cleanup_free_ char *text = make_sbom(&fixture_lock, "2026.11.1");
        _cleanup_error_ Error e = {};
        json_t *o = NULL;

        assert_ok(json_parse(text, strlen(text), "SBOM", &o, &e), &e);
        return o;
}

static const char *string_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));

        if (isempty(s))
                fail_msg("no \"%s\"", key);
        return s;
}

static json_t *find_package(json_t *document, const char *id_prefix) {
        size_t i;
        json_t *p;

        json_array_foreach (json_object_get(document, "packages"), i, p)
                if (startswith(string_of(p, "SPDXID"), id_prefix))
                        return p;
        fail_msg("no package %s", id_prefix);
        return NULL;
}

static bool is_spdx_id(const char *id) {
        const char *rest = startswith(id, "SPDXRef-");

        return rest && *rest &&
               strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == strlen(rest);
}

static bool is_word_of(const char *word, const char *const *words) {
        return strv_contains((char *const *) words, word);
}

/* The rules of the SPDX 2.3 schema for a document: required members, formats, enumerations. */
static void the_document_has_what_spdx_requires(void **state) {
        _cleanup_json_ json_t *o = parse_sbom();
        const json_t *creation = json_object_get(o, "creationInfo");
        const char *namespace = string_of(o, "documentNamespace");

        assert_string_equal(string_of(o, "spdxVersion"), "SPDX-2.3");
        assert_string_equal(string_of(o, "dataLicense"), "CC0-1.0");
        assert_string_equal(string_of(o, "SPDXID"), "SPDXRef-DOCUMENT");
        assert_string_equal(string_of(o, "name"), "mine_2026.11.1");
        assert_non_null(startswith(namespace, "https://"));
        assert_null(strchr(namespace, '#'));
        assert_string_equal(string_of(creation, "created"), "2025-11-01T12:26:40Z");
        assert_int_equal(json_array_size(json_object_get(creation, "creators")), 1);
        assert_non_null(
                startswith(json_string_value(json_array_get(json_object_get(creation, "creators"), 0)), "Tool: "));
}

static void every_package_has_what_spdx_requires(void **state) {
        static const char *const purposes[] = { "OPERATING-SYSTEM", "ARCHIVE", "SOURCE", NULL };
        _cleanup_strv_free_ char **ids = NULL;
        _cleanup_json_ json_t *o = parse_sbom();
        size_t i;
        json_t *p;

        json_array_foreach (json_object_get(o, "packages"), i, p) {
                const json_t *purpose = json_object_get(p, "primaryPackagePurpose");
                const json_t *supplier = json_object_get(p, "supplier");
                const char *id = string_of(p, "SPDXID");

                assert_true(is_spdx_id(id));
                assert_false(strv_contains(ids, id));
                strv_extend(&ids, id);
                string_of(p, "name");
                string_of(p, "versionInfo");
                assert_string_equal(string_of(p, "downloadLocation"), "NOASSERTION");
                assert_true(json_is_false(json_object_get(p, "filesAnalyzed")));
                assert_string_equal(string_of(p, "licenseConcluded"), "NOASSERTION");
                assert_string_equal(string_of(p, "licenseDeclared"), "NOASSERTION");
                assert_string_equal(string_of(p, "copyrightText"), "NOASSERTION");
                if (purpose)
                        assert_true(is_word_of(json_string_value(purpose), purposes));
                if (supplier)
                        assert_true(startswith(json_string_value(supplier), "Organization: ") ||
                                    streq(json_string_value(supplier), "NOASSERTION"));
        }
        /* image, initrd, 4 binary packages, 3 sources (the local package has none) */
        assert_int_equal(strv_length(ids), 9);
}

static void relationships_join_things_that_exist(void **state) {
        static const char *const types[] = { "DESCRIBES", "CONTAINS", "BUILD_TOOL_OF", "GENERATED_FROM", NULL };
        _cleanup_strv_free_ char **ids = NULL;
        _cleanup_json_ json_t *o = parse_sbom();
        size_t i;
        json_t *x;

        strv_extend(&ids, "SPDXRef-DOCUMENT");
        json_array_foreach (json_object_get(o, "packages"), i, x)
                strv_extend(&ids, string_of(x, "SPDXID"));
        json_array_foreach (json_object_get(o, "relationships"), i, x) {
                assert_true(strv_contains(ids, string_of(x, "spdxElementId")));
                assert_true(strv_contains(ids, string_of(x, "relatedSpdxElement")));
                assert_true(is_word_of(string_of(x, "relationshipType"), types));
        }
}

static bool related(json_t *o, const char *from, const char *type, const char *to) {
        size_t i;
        json_t *x;

        json_array_foreach (json_object_get(o, "relationships"), i, x)
                if (startswith(string_of(x, "spdxElementId"), from) && streq(string_of(x, "relationshipType"), type) &&
                    startswith(string_of(x, "relatedSpdxElement"), to))
                        return true;
        return false;
}

static void each_package_is_where_the_lock_puts_it(void **state) {
        _cleanup_json_ json_t *o = parse_sbom();

        assert_true(related(o, "SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"));
        assert_true(related(o, "SPDXRef-Image", "CONTAINS", "SPDXRef-Package-bash-"));
        assert_true(related(o, "SPDXRef-Initrd", "CONTAINS", "SPDXRef-Package-bash-"));
        assert_false(related(o, "SPDXRef-Initrd", "CONTAINS", "SPDXRef-Package-libstdc"));
        assert_false(related(o, "SPDXRef-Image", "CONTAINS", "SPDXRef-Package-erofs-utils-"));
        assert_true(related(o, "SPDXRef-Package-erofs-utils-", "BUILD_TOOL_OF", "SPDXRef-Image"));
        assert_true(related(o, "SPDXRef-Package-libstdc", "GENERATED_FROM", "SPDXRef-Source-gcc-14-"));
}

static void packages_carry_digest_url_and_licence_names(void **state) {
        _cleanup_json_ json_t *o = parse_sbom();
        const json_t *bash = find_package(o, "SPDXRef-Package-bash-");
        const json_t *checksum = json_array_get(json_object_get(bash, "checksums"), 0);
        const json_t *reference = json_array_get(json_object_get(bash, "externalRefs"), 0);
        _cleanup_free_ char *hex = sha256_hex(&fixture_packages[0].sha256);

        assert_string_equal(string_of(checksum, "algorithm"), "SHA256");
        assert_string_equal(string_of(checksum, "checksumValue"), hex);
        assert_string_equal(string_of(reference, "referenceCategory"), "PACKAGE-MANAGER");
        assert_string_equal(string_of(reference, "referenceType"), "purl");
        assert_non_null(strstr(string_of(bash, "licenseComments"), "GFDL-1.3-no-invariants, GPL-3+"));
        assert_string_equal(string_of(bash, "packageFileName"), "bash_5.2.15-2_amd64.deb");
        assert_null(json_object_get(find_package(o, "SPDXRef-Package-libstdc"), "licenseComments"));
}

static void package_urls_are_encoded(void **state) {
        static const char *const urls[] = {
                "pkg:deb/debian/bash@5.2.15-2?arch=amd64&distro=trixie",
                "pkg:deb/debian/erofs-utils@1.8.6-1?arch=amd64&distro=trixie",
                "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=trixie",
                "pkg:generic/local-tool@1:1.0~rc1%2Bx?checksum=sha256:"
                "0400000000000000000000000000000000000000000000000000000000000000",
        };

        for (size_t i = 0; i < ELEMENTSOF(urls); i++) {
                _cleanup_free_ char *url = sbom_package_url(&fixture_lock, &fixture_packages[i]);

                assert_string_equal(url, urls[i]);
        }
}

static void licence_names_come_from_machine_readable_files_only(void **state) {
        static const struct {
                const char *text, *names; /* NULL: none */
        } cases[] = {
                { "", NULL },
                { "License: GPL-2+\n", NULL },
                { "Format: something else\nLicense: GPL-2+\n", NULL },
                { "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n", NULL },
                { "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0\nLicense:\n text\n",
                  NULL },
                { "format: http://x/copyright-format/1.0/\nLicense: MIT\nLICENSE:  BSD-3-clause \nLicense: MIT\n",
                  "BSD-3-clause MIT" },
                { "Format: http://x/copyright-format/1.0/\nLicense: GPL-2+ or MIT\n License: not a field\n",
                  "GPL-2+ or MIT" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_strv_free_ char **l = sbom_copyright_licences(cases[i].text);
                _cleanup_free_ char *names = l ? strv_join(l, " ") : NULL;

                if (!streq_ptr(names, cases[i].names))
                        fail_msg("case %zu: %s", i, names ?: "none");
        }
}

static void the_same_lock_gives_the_same_bytes(void **state) {
        _cleanup_free_ char *a = make_sbom(&fixture_lock, "2026.11.1"), *b = make_sbom(&fixture_lock, "2026.11.1");

        assert_string_equal(a, b);
}

static void another_lock_or_version_gets_another_namespace(void **state) {
        Lock other = fixture_lock;
        _cleanup_free_ char *a = make_sbom(&fixture_lock, "1"), *b = make_sbom(&fixture_lock, "2"), *c = NULL;
        _cleanup_json_ json_t *x = json_loads(a, 0, NULL), *y = json_loads(b, 0, NULL), *z = NULL;

        other.n_packages--;
        c = make_sbom(&other, "1");
        z = json_loads(c, 0, NULL);
        assert_string_not_equal(string_of(x, "documentNamespace"), string_of(y, "documentNamespace"));
        assert_string_not_equal(string_of(x, "documentNamespace"), string_of(z, "documentNamespace"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_document_has_what_spdx_requires),
                cmocka_unit_test(every_package_has_what_spdx_requires),
                cmocka_unit_test(relationships_join_things_that_exist),
                cmocka_unit_test(each_package_is_where_the_lock_puts_it),
                cmocka_unit_test(packages_carry_digest_url_and_licence_names),
                cmocka_unit_test(package_urls_are_encoded),
                cmocka_unit_test(licence_names_come_from_machine_readable_files_only),
                cmocka_unit_test(the_same_lock_gives_the_same_bytes),
                cmocka_unit_test(another_lock_or_version_gets_another_namespace),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
