/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <glob.h>
#include <sys/stat.h>

#include "io.h"
#include "recipe-apply.h"
#include "recipe-check.h"

#define WHITESPACE " \t\r\n\v\f"
/* Values are cut to this in messages. */
#define QUOTED_MAX 80

/* The item being applied. */
typedef struct Context {
        Recipe *recipe;
        const RecipeSource *source; /* NULL: a default */
        const ConfItem *item;
        size_t index; /* of item in its file */
        const RecipeKey *key;
        ConfDiagnostics *diagnostics;
} Context;

/* Words that cannot be in two of these lists at once: the last file that names one decides. */
static const char *const rivals[][3] = {
        { "Packages", "Install", "Remove" }, { "Packages", "Remove", "Install" }, { "Units", "Enable", "Disable" },
        { "Units", "Enable", "Mask" },       { "Units", "Disable", "Enable" },    { "Units", "Disable", "Mask" },
        { "Units", "Mask", "Enable" },       { "Units", "Mask", "Disable" },
};

static char *quote(const char *value) {
        size_t n = strlen(value);

        if (n <= QUOTED_MAX)
                return xasprintf("'%s'", value);
        n = QUOTED_MAX;
        while (n > 0 && ((unsigned char) value[n] & 0xc0) == 0x80)
                n--; /* not in the middle of a letter */
        return xasprintf("'%.*s...'", (int) n, value);
}

static void diagnose_at(Context *c, size_t offset, const char *suggestion, const char *message) {
        unsigned line, column;

        conf_item_position(c->item, offset, &line, &column);
        conf_diagnose(c->diagnostics, c->source->file->path, line, column, suggestion, "%s=: %s", c->item->key,
                      message);
}

static void diagnose_value(Context *c, size_t offset, const char *value, const char *reason, const char *suggestion) {
        _cleanup_free_ char *quoted = quote(value), *message = xasprintf("%s %s", quoted, reason);

        diagnose_at(c, offset, suggestion, message);
}

void recipe_add_origin(Recipe *r, const char *section, const char *key, const char *value, const char *file,
                       unsigned line) {
        if (r->n_origins % 64 == 0)
                r->origins = xrealloc(r->origins, r->n_origins + 64, sizeof(r->origins[0]));
        r->origins[r->n_origins++] = (struct RecipeOrigin){
                .section = xstrdup(section),
                .key = xstrdup(key),
                .value = xstrdup(value),
                .file = xstrdup(file),
                .line = line,
        };
}

static void add_origin(Context *c, const char *key, const char *value, size_t offset) {
        unsigned line = 0, column;

        if (c->source)
                conf_item_position(c->item, offset, &line, &column);
        recipe_add_origin(c->recipe, c->item ? c->item->section : c->key->section, key, value,
                          c->source ? c->source->file->path : NULL, line);
}

/* value NULL: all of the key. Returns the one that was marked last. */
static const struct RecipeOrigin *override_origins(Recipe *r, const char *section, const char *key, const char *value) {
        struct RecipeOrigin *last = NULL;

        for (size_t i = 0; i < r->n_origins; i++) {
                struct RecipeOrigin *o = r->origins + i;

                if (o->overridden || !streq(o->section, section) || !streq(o->key, key) ||
                    (value && !streq(o->value, value)))
                        continue;
                o->overridden = true;
                last = o;
        }
        return last;
}

bool recipe_next_word(const char *value, size_t *offset, size_t *ret_start, char **ret_word) {
        size_t n;

        *offset += strspn(value + *offset, WHITESPACE);
        n = strcspn(value + *offset, WHITESPACE);
        if (n == 0)
                return false;
        *ret_start = *offset;
        *ret_word = xstrndup(value + *offset, n);
        *offset += n;
        return true;
}

static bool check_passes(Context *c, const char *value, size_t offset) {
        _cleanup_free_ char *suggestion = NULL, *reason = c->key->check ? c->key->check(value, &suggestion) : NULL;

        if (reason)
                diagnose_value(c, offset, value, reason, suggestion);
        return !reason;
}

/* A single value is given again in the same file: one of the two is a mistake, and we cannot know which. */
static bool is_repeated(Context *c) {
        const ConfFile *f = c->source->file;

        for (size_t i = 0; i < c->index; i++)
                if (streq(f->items[i].section, c->item->section) && streq(f->items[i].key, c->item->key)) {
                        conf_diagnose(c->diagnostics, f->path, c->item->line, c->item->column, "keep one of them",
                                      "%s= is set twice; first on line %u", c->item->key, f->items[i].line);
                        return true;
                }
        return false;
}

static void set_text(Context *c, const char *value) {
        char **field = recipe_field(c->recipe, c->key);

        free(*field);
        *field = xstrdup(value);
}

static bool set_number(Context *c, const char *value) {
        bool is_size = c->key->kind == RECIPE_SIZE;
        _cleanup_free_ char *low = NULL, *high = NULL, *reason = NULL;
        uint64_t number;

        if (c->key->check && !check_passes(c, value, 0))
                return false;
        if ((is_size ? parse_size(value, &number) : parse_u64(value, &number)) && number >= c->key->min &&
            number <= c->key->max && (!is_size || number % 4096 == 0)) {
                *(uint64_t *) recipe_field(c->recipe, c->key) = number;
                return true;
        }
        if (is_size) {
                low = format_bytes(c->key->min);
                high = format_bytes(c->key->max);
                reason = xasprintf("is not a size from %s to %s in steps of 4 KiB", low, high);
        } else
                reason = xasprintf("is not a number from %" PRIu64 " to %" PRIu64, c->key->min, c->key->max);
        diagnose_value(c, 0, value, reason, is_size ? "suffixes K, M, G, T; for example 256M" : NULL);
        return false;
}

static bool set_bool(Context *c, const char *value) {
        if (parse_bool(value, recipe_field(c->recipe, c->key)))
                return true;
        diagnose_value(c, 0, value, "is neither yes nor no", NULL);
        return false;
}

static bool set_layout(Context *c, const char *value) {
        static const char *const names[_USR_LAYOUT_MAX + 1] = {
                [USR_LAYOUT_PLAIN] = "plain", [USR_LAYOUT_LZ4HC] = "lz4hc"
        };
        _cleanup_free_ char *suggestion = suggest_phrase(value, names);

        for (UsrLayout l = 0; l < _USR_LAYOUT_MAX; l++)
                if (streq(value, names[l])) {
                        *(UsrLayout *) recipe_field(c->recipe, c->key) = l;
                        return true;
                }
        diagnose_value(c, 0, value, "is not a layout", suggestion ?: "lz4hc or plain");
        return false;
}

static bool set_file(Context *c, const char *value) {
        _cleanup_free_ char *path = c->source ? path_join(c->source->folder, value) : xstrdup(value);
        struct stat st;

        if (c->source && c->key->kind == RECIPE_FILE && (stat(path, &st) < 0 || !S_ISREG(st.st_mode))) {
                diagnose_value(c, 0, value, "is not a file", "paths are relative to the recipe's folder");
                return false;
        }
        set_text(c, path);
        return true;
}

static void reset_single(Context *c) {
        void *field = recipe_field(c->recipe, c->key);

        switch (c->key->kind) {
        case RECIPE_NUMBER:
        case RECIPE_SIZE:
                *(uint64_t *) field = 0;
                break;
        case RECIPE_BOOL:
                *(bool *) field = false;
                break;
        case RECIPE_LAYOUT:
                *(UsrLayout *) field = 0;
                break;
        default:
                free(*(char **) field);
                *(char **) field = NULL;
        }
}

static bool set_single(Context *c, const char *value) {
        switch (c->key->kind) {
        case RECIPE_NUMBER:
        case RECIPE_SIZE:
                return set_number(c, value);
        case RECIPE_BOOL:
                return set_bool(c, value);
        case RECIPE_LAYOUT:
                return set_layout(c, value);
        case RECIPE_FILE:
        case RECIPE_PATH:
                return set_file(c, value);
        default:
                if (!check_passes(c, value, 0))
                        return false;
                set_text(c, value);
                return true;
        }
}

static void apply_single(Context *c) {
        if (is_repeated(c))
                return;
        /* An empty value brings back the default. */
        if (isempty(c->item->value))
                reset_single(c);
        else if (!set_single(c, c->item->value))
                return;
        override_origins(c->recipe, c->key->section, c->key->key, NULL);
        if (!isempty(c->item->value))
                add_origin(c, c->key->key, c->item->value, 0);
}

static void apply_joined(Context *c) {
        char **field = recipe_field(c->recipe, c->key);
        char *joined;

        if (!check_passes(c, c->item->value, 0))
                return;
        joined = isempty(*field) ? xstrdup(c->item->value) : xasprintf("%s %s", *field, c->item->value);
        free(*field);
        *field = joined;
        add_origin(c, c->key->key, c->item->value, 0);
}

/* Takes the word out of the lists that exclude it, where an earlier file put it. */
static void settle_rivals(Context *c, const char *word, size_t offset) {
        for (size_t i = 0; i < ELEMENTSOF(rivals); i++) {
                const struct RecipeOrigin *o;
                const RecipeKey *rival;
                char ***list;

                if (!streq(rivals[i][0], c->key->section) || !streq(rivals[i][1], c->key->key))
                        continue;
                rival = recipe_key_find(rivals[i][0], rivals[i][2]);
                list = recipe_field(c->recipe, rival);
                if (!strv_contains(*list, word))
                        continue;
                strv_remove(list, word);
                o = override_origins(c->recipe, rival->section, rival->key, word);
                if (o && streq_ptr(o->file, c->source->file->path)) {
                        _cleanup_free_ char *reason = xasprintf("stands in %s= too, on line %u", rival->key, o->line);

                        diagnose_value(c, offset, word, reason, "keep one of them");
                }
        }
}

/* The folder's own name may hold what glob(3) takes for a wildcard. */
static char *glob_pattern(const char *folder, const char *pattern) {
        _cleanup_buffer_ Buffer b = {};

        if (*pattern == '/')
                return xstrdup(pattern);
        for (const char *s = folder; *s; s++)
                buffer_printf(&b, strchr("*?[]\\", *s) ? "\\%c" : "%c", *s);
        buffer_printf(&b, "/%s", pattern);
        return buffer_steal(&b);
}

static void add_debs(Context *c, const char *word, size_t offset) {
        _cleanup_free_ char *pattern = glob_pattern(c->source->folder, word);
        _cleanup_strv_free_ char **found = NULL;
        char ***list = recipe_field(c->recipe, c->key);
        glob_t g = {};

        if (!endswith(word, ".deb")) {
                diagnose_value(c, offset, word, "does not end in .deb", NULL);
                return;
        }
        if (glob(pattern, GLOB_ERR, NULL, &g) == 0)
                for (size_t i = 0; i < g.gl_pathc; i++)
                        strv_extend(&found, g.gl_pathv[i]);
        globfree(&g);
        if (!found) {
                diagnose_value(c, offset, word, strpbrk(word, "*?[") ? "matches no file" : "does not exist",
                               "paths are relative to the recipe's folder");
                return;
        }
        strv_sort(found); /* glob(3) sorts as the locale wants */
        STRV_FOREACH (f, found)
                if (!strv_contains(*list, *f))
                        strv_extend(list, *f);
        add_origin(c, c->key->key, word, offset);
}

static void add_folder(Context *c, const char *word, size_t offset) {
        _cleanup_free_ char *joined = path_join(c->source->folder, word), *path = realpath(joined, NULL);
        char ***list = recipe_field(c->recipe, c->key);
        struct stat st;

        if (!path || stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
                diagnose_value(c, offset, word, path ? "is not a folder" : "does not exist",
                               "paths are relative to the recipe's folder");
                return;
        }
        if (!strv_contains(*list, path)) {
                strv_extend(list, path);
                add_origin(c, c->key->key, word, offset);
        }
}

static void add_word(Context *c, const char *word, size_t offset) {
        char ***list = recipe_field(c->recipe, c->key);

        if (c->key->kind == RECIPE_DEBS)
                add_debs(c, word, offset);
        else if (c->key->kind == RECIPE_FOLDERS)
                add_folder(c, word, offset);
        else if (check_passes(c, word, offset)) {
                if (c->source)
                        settle_rivals(c, word, offset);
                if (!strv_contains(*list, word)) {
                        strv_extend(list, word);
                        add_origin(c, c->key->key, word, offset);
                }
        }
}

static void add_exception(Context *c) {
        _cleanup_free_ char *suggestion = NULL, *reason = NULL;
        struct GateException e = {};
        Recipe *r = c->recipe;

        reason = check_exception(c->item->value, &e.check, &e.path_glob, &e.reason, &suggestion);
        if (reason) {
                diagnose_value(c, 0, c->item->value, reason, suggestion);
                return;
        }
        e.where = xasprintf("%s:%u", c->source->file->path, c->item->line);
        r->gate_exceptions = xrealloc(r->gate_exceptions, r->n_gate_exceptions + 1, sizeof(e));
        r->gate_exceptions[r->n_gate_exceptions++] = e;
        add_origin(c, c->key->key, c->item->value, 0);
}

static void clear_list(Context *c) {
        Recipe *r = c->recipe;

        if (c->key->kind == RECIPE_EXCEPTIONS) {
                for (size_t i = 0; i < r->n_gate_exceptions; i++) {
                        free(r->gate_exceptions[i].check);
                        free(r->gate_exceptions[i].path_glob);
                        free(r->gate_exceptions[i].reason);
                        free(r->gate_exceptions[i].where);
                }
                r->n_gate_exceptions = 0;
        } else if (c->key->kind == RECIPE_JOINED)
                set_text(c, "");
        else {
                char ***list = recipe_field(r, c->key);

                *list = strv_free(*list);
        }
        override_origins(r, c->key->section, c->key->key, NULL);
        /* Remembered, so that the default stays away and explain can show who emptied the list. */
        add_origin(c, c->key->key, "", 0);
}

static void apply_list(Context *c) {
        _cleanup_free_ char *word = NULL;
        size_t offset = 0, start;

        if (isempty(c->item->value)) {
                clear_list(c);
                return;
        }
        override_origins(c->recipe, c->key->section, c->key->key, "");
        if (c->key->kind == RECIPE_JOINED)
                apply_joined(c);
        else if (c->key->kind == RECIPE_EXCEPTIONS)
                add_exception(c);
        else
                while (recipe_next_word(c->item->value, &offset, &start, &word)) {
                        add_word(c, word, start);
                        free(TAKE_PTR(word));
                }
}

/* People who know os-release(5) put values in quotes. */
static char *unquote(const char *value) {
        size_t n = strlen(value);

        if (n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n - 1] == value[0])
                return xstrndup(value + 1, n - 2);
        return xstrdup(value);
}

static void set_os_release(Recipe *r, const char *name, const char *value) {
        for (size_t i = 0; i < r->n_os_release; i++)
                if (streq(r->os_release[i].name, name)) {
                        free(r->os_release[i].value);
                        r->os_release[i].value = xstrdup(value);
                        return;
                }
        r->os_release = xrealloc(r->os_release, r->n_os_release + 1, sizeof(NameValue));
        r->os_release[r->n_os_release++] = (NameValue){ .name = xstrdup(name), .value = xstrdup(value) };
}

static void remove_os_release(Recipe *r, const char *name) {
        for (size_t i = 0; i < r->n_os_release; i++)
                if (streq(r->os_release[i].name, name)) {
                        free(r->os_release[i].name);
                        free(r->os_release[i].value);
                        memmove(r->os_release + i, r->os_release + i + 1,
                                (r->n_os_release - i - 1) * sizeof(NameValue));
                        r->n_os_release--;
                        return;
                }
}

static void apply_os_release(Context *c) {
        _cleanup_free_ char *value = unquote(c->item->value), *suggestion = NULL, *reason = NULL;

        reason = check_os_release_key(c->item->key, &suggestion);
        if (reason) {
                conf_diagnose(c->diagnostics, c->source->file->path, c->item->line, c->item->column, suggestion,
                              "'%s=' %s", c->item->key, reason);
                return;
        }
        if (is_repeated(c))
                return;
        reason = isempty(value) ? NULL : check_os_release_value(c->item->key, value, &suggestion);
        if (reason) {
                diagnose_value(c, 0, value, reason, suggestion);
                return;
        }
        override_origins(c->recipe, RECIPE_OS_RELEASE, c->item->key, NULL);
        if (isempty(value)) /* the distribution's own value again */
                remove_os_release(c->recipe, c->item->key);
        else {
                set_os_release(c->recipe, c->item->key, value);
                add_origin(c, c->item->key, value, 0);
        }
}

static void apply_item(Context *c) {
        _cleanup_free_ char *phrase = NULL;

        if (!recipe_section_exists(c->item->section))
                return; /* its header has been complained about */
        if (streq(c->item->section, RECIPE_OS_RELEASE)) {
                apply_os_release(c);
                return;
        }
        c->key = recipe_key_find(c->item->section, c->item->key);
        if (!c->key) {
                phrase = recipe_suggest_key_phrase(c->item->section, c->item->key);
                conf_diagnose(c->diagnostics, c->source->file->path, c->item->line, c->item->column, phrase,
                              "unknown key '%s=' in [%s]", c->item->key, c->item->section);
        } else if (c->key->kind == RECIPE_EXTENDS)
                return;
        else if (recipe_kind_is_list(c->key->kind))
                apply_list(c);
        else
                apply_single(c);
}

void recipe_apply_file(Recipe *r, const RecipeSource *source, ConfDiagnostics *d) {
        const ConfFile *f = source->file;

        for (size_t i = 0; i < f->n_sections; i++) {
                _cleanup_free_ char *phrase = NULL;

                if (recipe_section_exists(f->sections[i].name))
                        continue;
                phrase = recipe_suggest_section(f->sections[i].name);
                conf_diagnose(d, f->path, f->sections[i].line, f->sections[i].column, phrase, "unknown section [%s]",
                              f->sections[i].name);
        }
        for (size_t i = 0; i < f->n_items; i++) {
                Context c = {
                        .recipe = r,
                        .source = source,
                        .item = f->items + i,
                        .index = i,
                        .diagnostics = d,
                };

                apply_item(&c);
        }
}

void recipe_apply_default(Recipe *r, const RecipeKey *key, const char *value) {
        _cleanup_free_ char *word = NULL;
        Context c = { .recipe = r, .key = key };
        size_t offset = 0, start;

        if (!recipe_kind_is_list(key->kind)) {
                if (set_single(&c, value))
                        add_origin(&c, key->key, value, 0);
                return;
        }
        while (recipe_next_word(value, &offset, &start, &word)) {
                add_word(&c, word, start);
                free(TAKE_PTR(word));
        }
}

void recipe_apply_folder(Recipe *r, const char *folder, const char *where) {
        if (strv_contains(r->files, folder))
                return;
        strv_extend(&r->files, folder);
        recipe_add_origin(r, "Content", "Files", path_basename(folder), where, 0);
}
