/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The effective recipe, for people and as JSON. Both are made from the origins, so that what is shown is what counted.
 */

#include <strings.h>

#include "recipe-table.h"

/* Values longer than this do not push the column of places to the right. */
#define VALUE_WIDTH_MAX 56

static bool key_is_wanted(const char *only_key, const char *section, const char *key) {
        const char *dot;

        if (!only_key)
                return true;
        dot = strchr(only_key, '.');
        if (!dot)
                return strcasecmp(only_key, key) == 0;
        return strlen(section) == (size_t) (dot - only_key) &&
               strncasecmp(only_key, section, (size_t) (dot - only_key)) == 0 && strcasecmp(dot + 1, key) == 0;
}

static bool key_exists(const Recipe *r, const char *only_key) {
        for (size_t i = 0; i < n_recipe_keys; i++)
                if (key_is_wanted(only_key, recipe_keys[i].section, recipe_keys[i].key))
                        return true;
        for (size_t i = 0; i < r->n_origins; i++)
                if (key_is_wanted(only_key, r->origins[i].section, r->origins[i].key))
                        return true;
        return false;
}

static char *assignment(const struct RecipeOrigin *o) {
        return xasprintf("%s=%s", o->key, o->value);
}

static char *place(const struct RecipeOrigin *o) {
        if (!o->file)
                return xstrdup("default");
        return o->line > 0 ? xasprintf("%s:%u", o->file, o->line) : xstrdup(o->file);
}

/* Letters, not bytes: columns must line up for every language. */
static size_t width(const char *s) {
        size_t n = 0;

        for (; *s; s++)
                n += ((unsigned char) *s & 0xc0) != 0x80;
        return n;
}

static bool is_shown(const struct RecipeOrigin *o, const char *only_key, bool all) {
        return (all || !o->overridden) && key_is_wanted(only_key, o->section, o->key);
}

static size_t column_width(const Recipe *r, const char *only_key, bool all) {
        size_t column = 0;

        for (size_t i = 0; i < r->n_origins; i++) {
                _cleanup_free_ char *text = assignment(r->origins + i);
                size_t n = width(text) + (r->origins[i].overridden ? 1 : 0);

                if (is_shown(r->origins + i, only_key, all) && n <= VALUE_WIDTH_MAX)
                        column = MAX(column, n);
        }
        return column;
}

/* Beside the keys: files that count by being there. */
static void explain_files(Buffer *b, const char *title, char *const *files) {
        if (strv_length(files) == 0)
                return;
        buffer_printf(b, "\n# %s\n", title);
        STRV_FOREACH (f, files)
                buffer_printf(b, "#   %s\n", *f);
}

static void explain_origin(Buffer *b, const struct RecipeOrigin *o, size_t column) {
        _cleanup_free_ char *text = assignment(o), *where = place(o);
        size_t n = width(text) + (o->overridden ? 1 : 0);

        buffer_printf(b, "%s%s%*s  %s%s\n", o->overridden ? "#" : "", text, (int) (n < column ? column - n : 0), "",
                      where, o->overridden ? " (replaced)" : "");
}

char *recipe_explain(const Recipe *r, const char *only_key, bool all) {
        _cleanup_buffer_ Buffer b = {};
        const char *section = "";
        size_t column;

        if (!key_exists(r, only_key))
                return NULL;
        column = column_width(r, only_key, all);
        for (size_t i = 0; i < r->n_origins; i++) {
                const struct RecipeOrigin *o = r->origins + i;

                if (!is_shown(o, only_key, all))
                        continue;
                if (!streq(o->section, section))
                        buffer_printf(&b, "%s[%s]\n", *section ? "\n" : "", o->section);
                section = o->section;
                explain_origin(&b, o, column);
        }
        if (!only_key) {
                explain_files(&b, "users and groups (sysusers.d)", r->sysusers);
                explain_files(&b, "temporary files (tmpfiles.d)", r->tmpfiles);
                explain_files(&b, "presets (preset.d)", r->presets);
                explain_files(&b, "partitions (repart.d)", r->repart);
        }
        return buffer_steal(&b);
}

static json_t *exceptions_to_json(const Recipe *r) {
        json_t *array = json_array();

        for (size_t i = 0; i < r->n_gate_exceptions; i++)
                json_array_append_new(array,
                                      json_pack("{s:s, s:s, s:s, s:s}", "check", r->gate_exceptions[i].check, "path",
                                                r->gate_exceptions[i].path_glob, "reason", r->gate_exceptions[i].reason,
                                                "where", r->gate_exceptions[i].where));
        return array;
}

/* The key's effective value in its own type; null where there is none. */
static json_t *value_to_json(const Recipe *r, const RecipeKey *k) {
        void *field = recipe_field(r, k);

        switch (k->kind) {
        case RECIPE_WORDS:
        case RECIPE_FOLDERS:
        case RECIPE_DEBS:
                return json_from_strv(*(char ***) field);
        case RECIPE_NUMBER:
        case RECIPE_SIZE:
                return json_integer((json_int_t) * (uint64_t *) field);
        case RECIPE_BOOL:
                return json_boolean(*(bool *) field);
        case RECIPE_LAYOUT:
                return json_string(*(UsrLayout *) field == USR_LAYOUT_PLAIN ? "plain" : "lz4hc");
        case RECIPE_EXCEPTIONS:
                return exceptions_to_json(r);
        case RECIPE_EXTENDS:
                return NULL;
        default:
                return *(char **) field ? json_string(*(char **) field) : json_null();
        }
}

static json_t *origins_to_json(const Recipe *r) {
        json_t *array = json_array();

        for (size_t i = 0; i < r->n_origins; i++) {
                const struct RecipeOrigin *o = r->origins + i;

                json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s?, s:o, s:b}", "section", o->section, "key",
                                                       o->key, "value", o->value, "file", o->file, "line",
                                                       o->line > 0 ? json_integer(o->line) : json_null(), "replaced",
                                                       o->overridden));
        }
        return array;
}

static json_t *section_to_json(json_t *sections, const char *name) {
        json_t *section = json_object_get(sections, name);

        if (!section) {
                section = json_object();
                json_object_set_new(sections, name, section);
        }
        return section;
}

json_t *recipe_to_json(const Recipe *r) {
        json_t *sections = json_object(), *os_release = json_object();

        for (size_t i = 0; i < r->n_os_release; i++)
                json_object_set_new(os_release, r->os_release[i].name, json_string(r->os_release[i].value));
        for (size_t i = 0; i < n_recipe_keys; i++) {
                json_t *value = value_to_json(r, recipe_keys + i);

                if (value)
                        json_object_set_new(section_to_json(sections, recipe_keys[i].section), recipe_keys[i].key,
                                            value);
        }
        json_object_set_new(sections, RECIPE_OS_RELEASE, os_release);
        return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "path", r->path, "name", r->name, "folders",
                         json_from_strv(r->folders), "settings", sections, "sysusers", json_from_strv(r->sysusers),
                         "tmpfiles", json_from_strv(r->tmpfiles), "presets", json_from_strv(r->presets), "repart",
                         json_from_strv(r->repart), "origins", origins_to_json(r));
}
