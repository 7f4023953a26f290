/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The end of loading: defaults, and the rules that no single value can break. */

#include "recipe-apply.h"
#include "recipe-check.h"

static const char *const debian_components[] = { "main", "contrib", "non-free", "non-free-firmware", NULL };

/* The origin that made a key's present value (value NULL: the last one); NULL if it is a default. */
static const struct RecipeOrigin *find_origin(const Recipe *r, const char *section, const char *key,
                                              const char *value) {
        for (size_t i = r->n_origins; i > 0; i--) {
                const struct RecipeOrigin *o = r->origins + i - 1;

                if (!o->overridden && o->file && streq(o->section, section) && streq(o->key, key) &&
                    (!value || streq(o->value, value)))
                        return o;
        }
        return NULL;
}

static bool is_mentioned(const Recipe *r, const RecipeKey *k) {
        for (size_t i = 0; i < r->n_origins; i++)
                if (!r->origins[i].overridden && streq(r->origins[i].section, k->section) &&
                    streq(r->origins[i].key, k->key))
                        return true;
        return false;
}

static void default_value(Recipe *r, const char *section, const char *key, const char *value) {
        const RecipeKey *k = recipe_key_find(section, key);

        if (!is_mentioned(r, k))
                recipe_apply_default(r, k, value);
}

static void check_id(Recipe *r, const char *where, ConfDiagnostics *d) {
        const RecipeKey *k = recipe_key_find("Image", "Id");
        _cleanup_free_ char *reason = NULL, *suggestion = NULL;

        if (is_mentioned(r, k))
                return;
        reason = check_image_id(r->name, &suggestion);
        if (reason)
                conf_diagnose(d, where, 0, 0, "set Id= in [Image]", "the folder's name '%s' %s", r->name, reason);
        else
                recipe_apply_default(r, k, r->name);
}

/* The longest version that counting by month makes. */
#define COUNTED_VERSION "2026.11.999"

static void check_label(const Recipe *r, const char *where, ConfDiagnostics *d) {
        const struct RecipeOrigin *o = find_origin(r, "Image", "Id", NULL);
        const char *version = r->version ?: COUNTED_VERSION;

        if (!r->image_id || strlen(r->image_id) + strlen(version) <= RECIPE_ID_AND_VERSION_MAX)
                return;
        conf_diagnose(d, o ? o->file : where, o ? o->line : 0, 0, "shorten Id=",
                      "Id= '%s' and the version '%s' are too long together: partition labels have room for %zu "
                      "characters of them",
                      r->image_id, version, RECIPE_ID_AND_VERSION_MAX);
}

/* With a mirror of one's own any component may exist; without, it must be one of Debian's. */
static void check_components(const Recipe *r, const char *where, ConfDiagnostics *d) {
        if (strv_length(r->mirrors) > 0)
                return;
        STRV_FOREACH (c, r->components) {
                const struct RecipeOrigin *o = find_origin(r, "Archive", "Components", *c);
                _cleanup_free_ char *suggestion = suggest_phrase(*c, debian_components);

                if (!strv_contains((char *const *) debian_components, *c))
                        conf_diagnose(d, o ? o->file : where, o ? o->line : 0, 0,
                                      suggestion ?: "Debian has main, contrib, non-free and non-free-firmware",
                                      "Components=: '%s' is not a component of Debian, and no Mirror= is named", *c);
        }
}

static void check_lists(const Recipe *r, const char *where, ConfDiagnostics *d) {
        static const char *const needed[] = { "Suites", "Components" };
        char *const *lists[] = { r->suites, r->components };

        for (size_t i = 0; i < ELEMENTSOF(needed); i++) {
                const struct RecipeOrigin *o = find_origin(r, "Archive", needed[i], NULL);

                if (strv_length(lists[i]) == 0)
                        conf_diagnose(d, o ? o->file : where, o ? o->line : 0, 0, "name at least one", "%s= is empty",
                                      needed[i]);
        }
}

static void check_command_line_size(const Recipe *r, const char *where, ConfDiagnostics *d) {
        const struct RecipeOrigin *o = find_origin(r, "Kernel", "CommandLine", NULL);

        if (strlen(r->command_line) > RECIPE_COMMAND_LINE_MAX)
                conf_diagnose(d, o ? o->file : where, o ? o->line : 0, 0, "shorten it",
                              "CommandLine= has %zu bytes; kernels read %d beside what the build adds",
                              strlen(r->command_line), RECIPE_COMMAND_LINE_MAX);
}

/* Verify=yes is what the transfer files say: without keys every update would fail, without a source no key has a use.
 */
static void check_sysupdate(const Recipe *r, const char *where, ConfDiagnostics *d) {
        const char *key = r->sysupdate_source ? "SysupdateSource" : "SysupdateKeyring",
                   *missing = r->sysupdate_source ? "SysupdateKeyring" : "SysupdateSource";
        const struct RecipeOrigin *o = find_origin(r, "Update", key, NULL);
        _cleanup_free_ char *hint = xasprintf("name %s= too", missing);

        if (!r->sysupdate_source != !r->sysupdate_keyring)
                conf_diagnose(d, o ? o->file : where, o ? o->line : 0, 0, hint, "%s= needs %s=", key, missing);
}

/* Neither the initrd's parts nor repart's were there before. */
static void check_encryption(const Recipe *r, const char *where, ConfDiagnostics *d) {
        const struct RecipeOrigin *o = find_origin(r, "Disk", "RootEncryption", NULL);
        _cleanup_free_ char *codename = recipe_codename(r);

        if (!r->root_encryption || streq(r->root_encryption, "none") || !streq(codename, "bookworm"))
                return;
        conf_diagnose(d, o ? o->file : where, o ? o->line : 0, 0, "use Suites=trixie, or RootEncryption=none",
                      "RootEncryption=%s needs systemd 257; bookworm has 252", r->root_encryption);
}

/* The id is unknown only where its own problem has been reported. */
static void apply_computed_defaults(Recipe *r) {
        _cleanup_free_ char *kernel = xasprintf("linux-image-%s", r->architecture);

        default_value(r, "Kernel", "Package", kernel);
        if (r->image_id)
                default_value(r, "Image", "Hostname", r->image_id);
        if (!r->command_line)
                r->command_line = xstrdup("");
}

void recipe_finish(Recipe *r, const char *where, ConfDiagnostics *d) {
        for (size_t i = 0; i < n_recipe_keys; i++)
                if (recipe_keys[i].fallback && !is_mentioned(r, recipe_keys + i))
                        recipe_apply_default(r, recipe_keys + i, recipe_keys[i].fallback);
        check_id(r, where, d);
        apply_computed_defaults(r);
        check_label(r, where, d);
        check_lists(r, where, d);
        check_components(r, where, d);
        check_command_line_size(r, where, d);
        check_sysupdate(r, where, d);
        check_encryption(r, where, d);
}
