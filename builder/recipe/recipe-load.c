/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which files make up a recipe, and in which order they count. */

#include <dirent.h>
#include <sys/stat.h>

#include "io.h"
#include "recipe-apply.h"
#include "recipe-check.h"
#include "recipe-load.h"

/* Neighbours that are considered for a suggestion. */
#define NEIGHBOURS_MAX 1000

typedef struct Loader {
        Recipe *recipe;
        ConfDiagnostics *diagnostics;
        char **chain;       /* real paths of the recipes being loaded, outermost first */
        char **chain_names; /* the same as people know them */
        char **done;        /* real paths of those applied: a recipe that is inherited twice counts once */
} Loader;

typedef int (*NameFilter)(const char *name);

/* Where recipes live besides the neighbours of one: installed ones, and the source's own in developer builds. */
static const char *const installed_folders[] = {
#ifdef SEALAB_DATA_DIR
        SEALAB_DATA_DIR "/recipes",
#endif
#ifdef SEALAB_SOURCE_DIR
        SEALAB_SOURCE_DIR "/recipes",
#endif
};

static bool is_recipe_folder(const char *folder) {
        _cleanup_free_ char *file = path_join(folder, RECIPE_FILE_NAME);

        return io_exists(AT_FDCWD, file);
}

/* The folder that holds a recipe's neighbours. */
static char *neighbourhood(const char *folder) {
        _cleanup_free_ char *real = NULL;
        const char *name = path_basename(folder);

        if (!streq(name, ".") && !streq(name, ".."))
                return path_dirname(folder);
        real = realpath(folder, NULL);
        return path_dirname(real ?: folder);
}

static char *neighbour(const char *around, const char *name) {
        return streq(around, ".") ? xstrdup(name) : path_join(around, name);
}

/* "../x" is taken apart by names alone: it must work for a folder that sealab new is about to make, and read well. */
static char *relative_recipe(const char *from_folder, const char *name) {
        _cleanup_free_ char *base = xstrdup(from_folder);
        const char *rest;

        while ((rest = startswith(name, "../"))) {
                char *up = neighbourhood(base);

                free(base);
                base = up;
                name = rest + strspn(rest, "/");
        }
        return neighbour(base, name);
}

int recipe_find(const char *from_folder, const char *name, char **ret_folder) {
        _cleanup_free_ char *around = NULL, *folder = NULL;

        if (strchr(name, '/') || streq(name, ".") || streq(name, "..")) {
                folder = relative_recipe(from_folder, name);
                if (!is_recipe_folder(folder))
                        return 1;
                *ret_folder = TAKE_PTR(folder);
                return 0;
        }
        around = neighbourhood(from_folder);
        folder = neighbour(around, name);
        for (size_t i = 0; !is_recipe_folder(folder); i++) {
                if (i >= ELEMENTSOF(installed_folders))
                        return 1;
                free(folder);
                folder = path_join(installed_folders[i], name);
        }
        *ret_folder = TAKE_PTR(folder);
        return 0;
}

static void add_neighbours(char ***names, const char *around) {
        DIR *dir = opendir(around);
        struct dirent *e;

        if (!dir)
                return;
        while ((e = readdir(dir)) && strv_length(*names) < NEIGHBOURS_MAX) {
                _cleanup_free_ char *folder = path_join(around, e->d_name);

                if (e->d_name[0] != '.' && is_recipe_folder(folder))
                        strv_extend(names, e->d_name);
        }
        closedir(dir);
}

char *recipe_suggest_neighbour(const char *from_folder, const char *name) {
        _cleanup_free_ char *around = neighbourhood(from_folder);
        _cleanup_strv_free_ char **names = NULL;

        add_neighbours(&names, around);
        for (size_t i = 0; i < ELEMENTSOF(installed_folders); i++)
                add_neighbours(&names, installed_folders[i]);
        strv_sort_unique(names);
        return suggest_phrase(path_basename(name), (const char *const *) names);
}

/* Files that editors and people leave beside others. */
static bool is_scrap(const char *name) {
        static const char *const endings[] = { "~", ".bak", ".orig", ".rej", ".swp", ".disabled", ".md", ".dpkg-old" };

        for (size_t i = 0; i < ELEMENTSOF(endings); i++)
                if (endswith(name, endings[i]))
                        return true;
        return name[0] == '.' || startswith(name, "README");
}

/* Names in folder/sub that end as they must, sorted; others are complained about, for a file that silently does not
 * count is a trap. A missing folder is empty. */
static char **list_files(Loader *l, const char *folder, const char *sub, const char *ending) {
        _cleanup_free_ char *path = path_join(folder, sub);
        char **names = NULL;
        DIR *dir = opendir(path);
        struct dirent *e;

        if (!dir && errno != ENOENT)
                conf_diagnose(l->diagnostics, path, 0, 0, NULL, "cannot read the folder: %s", strerror(errno));
        while (dir && (e = readdir(dir)) && strv_length(names) < RECIPE_DROPINS_MAX) {
                if (is_scrap(e->d_name))
                        continue;
                if (endswith(e->d_name, ending))
                        strv_extend(&names, e->d_name);
                else
                        conf_diagnose(l->diagnostics, path, 0, 0, "rename or remove it",
                                      "'%s' does not end in %s, so it would not count", e->d_name, ending);
        }
        if (dir)
                closedir(dir);
        strv_sort(names);
        return names;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(path_basename(*(char *const *) a), path_basename(*(char *const *) b));
}

/* Adds absolute paths; one of the same name from a folder read before gives way. */
static void add_plain_files(Loader *l, char ***list, const char *display, const char *real, const char *sub,
                            const char *ending) {
        _cleanup_strv_free_ char **names = list_files(l, display, sub, ending);

        STRV_FOREACH (name, names) {
                _cleanup_free_ char *replaced = NULL;

                STRV_FOREACH (old, *list)
                        if (streq(path_basename(*old), *name))
                                replaced = replaced ?: xstrdup(*old);
                if (replaced)
                        strv_remove(list, replaced);
                strv_extendf(list, "%s/%s/%s", real, sub, *name);
        }
        if (*list)
                qsort(*list, strv_length(*list), sizeof(char *), compare_names);
}

static void add_plain_folders(Loader *l, const char *display, const char *real) {
        _cleanup_free_ char *files = path_join(real, "files"), *shown = path_join(display, "files");
        Recipe *r = l->recipe;
        struct stat st;

        if (stat(files, &st) >= 0) {
                if (S_ISDIR(st.st_mode))
                        recipe_apply_folder(r, files, shown);
                else
                        conf_diagnose(l->diagnostics, shown, 0, 0, NULL, "must be a folder: it is laid over the tree");
        }
        add_plain_files(l, &r->sysusers, display, real, "sysusers.d", ".conf");
        add_plain_files(l, &r->tmpfiles, display, real, "tmpfiles.d", ".conf");
        add_plain_files(l, &r->presets, display, real, "preset.d", ".preset");
        add_plain_files(l, &r->repart, display, real, "repart.d", ".conf");
}

static void load_folder(Loader *l, const char *display);

static void diagnose_circle(Loader *l, const char *real, const char *name, const char *file, unsigned line,
                            unsigned column) {
        _cleanup_buffer_ Buffer b = {};
        bool inside = false;

        for (size_t i = 0; l->chain[i]; i++) {
                inside = inside || streq(l->chain[i], real);
                if (inside)
                        buffer_printf(&b, "%s -> ", l->chain_names[i]);
        }
        conf_diagnose(l->diagnostics, file, line, column, "remove one of them", "Extends= goes in a circle: %s%s",
                      b.data, name);
}

static void extend_one(Loader *l, const char *display, const ConfItem *item, const char *file, const char *name,
                       size_t offset) {
        _cleanup_free_ char *folder = NULL, *real = NULL, *suggestion = NULL;
        unsigned line, column;

        conf_item_position(item, offset, &line, &column);
        if (recipe_find(display, name, &folder) > 0) {
                suggestion = recipe_suggest_neighbour(display, name);
                conf_diagnose(l->diagnostics, file, line, column,
                              suggestion ?: "a name beside this recipe's folder, or a path", "Extends=: no recipe '%s'",
                              name);
                return;
        }
        real = realpath(folder, NULL);
        if (real && strv_contains(l->chain, real))
                diagnose_circle(l, real, path_basename(real), file, line, column);
        else if (strv_length(l->chain) + strv_length(l->done) >= RECIPE_FOLDERS_MAX)
                conf_diagnose(l->diagnostics, file, line, column, NULL, "Extends=: more than %d recipes",
                              RECIPE_FOLDERS_MAX);
        else {
                load_folder(l, folder);
                recipe_add_origin(l->recipe, "Recipe", "Extends", name, file, line);
        }
}

/* Loads what the file extends, before anything of the file itself counts. */
static void load_extended(Loader *l, const char *display, const ConfFile *f, bool allowed) {
        for (size_t i = 0; i < f->n_items; i++) {
                const ConfItem *item = f->items + i;
                _cleanup_free_ char *word = NULL;
                size_t offset = 0, start;

                if (!streq(item->section, "Recipe") || !streq(item->key, "Extends"))
                        continue;
                if (!allowed) {
                        conf_diagnose(l->diagnostics, f->path, item->line, item->column, "move it to " RECIPE_FILE_NAME,
                                      "Extends= cannot stand in a drop-in");
                        continue;
                }
                while (recipe_next_word(item->value, &offset, &start, &word)) {
                        extend_one(l, display, item, f->path, word, start);
                        free(TAKE_PTR(word));
                }
        }
}

/* Reads one file and applies it; what is wrong with the file itself is a problem among others. */
static void load_file(Loader *l, const char *display, const char *real, const char *name, bool may_extend) {
        _cleanup_(conf_freep) ConfFile *file = NULL;
        _cleanup_free_ char *path = path_join(display, name);
        _cleanup_error_ Error error = {};

        if (conf_read(AT_FDCWD, path, l->diagnostics, &file, &error) < 0) {
                conf_diagnose(l->diagnostics, path, 0, 0, error.hint, "%s", error.message);
                return;
        }
        load_extended(l, display, file, may_extend);
        /* Between the recipes it extends and its own settings. */
        if (may_extend)
                add_plain_folders(l, display, real);
        recipe_apply_file(l->recipe, &(RecipeSource){ .file = file, .folder = real }, l->diagnostics);
}

static void load_folder(Loader *l, const char *display) {
        _cleanup_free_ char *real = realpath(display, NULL);
        _cleanup_strv_free_ char **dropins = NULL;

        if (!real) {
                conf_diagnose(l->diagnostics, display, 0, 0, NULL, "cannot find the folder: %s", strerror(errno));
                return;
        }
        if (strv_contains(l->done, real))
                return;
        strv_extend(&l->chain, real);
        strv_extend(&l->chain_names, path_basename(real));

        load_file(l, display, real, RECIPE_FILE_NAME, true);
        dropins = list_files(l, display, RECIPE_DROPIN_FOLDER, ".conf");
        STRV_FOREACH (name, dropins) {
                _cleanup_free_ char *relative = path_join(RECIPE_DROPIN_FOLDER, *name);

                load_file(l, display, real, relative, false);
        }

        strv_extend(&l->recipe->folders, real);
        strv_extend(&l->done, real);
        strv_remove(&l->chain, real);
        free(l->chain_names[strv_length(l->chain)]);
        l->chain_names[strv_length(l->chain)] = NULL;
}

/* Origins were noted in reading order; people look for keys in the table's, with [OsRelease] behind [Image]. Stable, so
 * that each key keeps its history. */
static void sort_origins(Recipe *r) {
        struct RecipeOrigin *sorted = xnew(struct RecipeOrigin, r->n_origins + 1);
        size_t n = 0;

        for (size_t k = 0; k < n_recipe_keys; k++) {
                bool image_ends =
                        k > 0 && streq(recipe_keys[k - 1].section, "Image") && !streq(recipe_keys[k].section, "Image");

                for (size_t i = 0; image_ends && i < r->n_origins; i++)
                        if (streq(r->origins[i].section, RECIPE_OS_RELEASE))
                                sorted[n++] = r->origins[i];
                for (size_t i = 0; i < r->n_origins; i++)
                        if (streq(r->origins[i].section, recipe_keys[k].section) &&
                            streq(r->origins[i].key, recipe_keys[k].key))
                                sorted[n++] = r->origins[i];
        }
        free(r->origins);
        r->origins = sorted;
}

static int check_is_recipe(const char *path, Error *reterr) {
        struct stat st;

        if (stat(path, &st) < 0) {
                error_errno(reterr, errno, "no recipe %s", path);
                return error_hint(reterr, "Make one with: sealab new %s --extends minimal", path);
        }
        if (!S_ISDIR(st.st_mode)) {
                _cleanup_free_ char *folder = path_dirname(path);

                error_set(reterr, ENOTDIR, REFUSAL_BAD_VALUE, "%s is not a folder", path);
                return error_hint(reterr, "A recipe is the folder that holds recipe.conf: %s", folder);
        }
        if (!is_recipe_folder(path)) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no " RECIPE_FILE_NAME " in %s", path);
                return error_hint(reterr, "Make a recipe with: sealab new NAME --extends minimal");
        }
        return 0;
}

int recipe_load(const char *path, ConfDiagnostics *diagnostics, Recipe **ret, Error *reterr) {
        _cleanup_(recipe_freep) Recipe *r = xnew(Recipe, 1);
        _cleanup_free_ char *display = xstrdup(path), *real = NULL, *file = NULL;
        Loader l = { .recipe = r, .diagnostics = diagnostics };
        int result;

        for (size_t n = strlen(display); n > 1 && display[n - 1] == '/'; n--)
                display[n - 1] = 0;
        result = check_is_recipe(display, reterr);
        if (result < 0)
                return result;
        real = realpath(display, NULL);
        if (!real)
                return error_errno(reterr, errno, "cannot find %s", display);
        r->path = xstrdup(display);
        r->name = xstrdup(path_basename(real));

        load_folder(&l, display);
        strv_free(l.chain);
        strv_free(l.chain_names);
        strv_free(l.done);
        file = path_join(display, RECIPE_FILE_NAME);
        recipe_finish(r, file, diagnostics);
        sort_origins(r);

        if (diagnostics->n_items > 0) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%zu problem%s in the recipe %s", diagnostics->n_items,
                          diagnostics->n_items == 1 ? "" : "s", display);
                return error_hint(reterr,
                                  "Each is listed with its file and line; sealab-recipe(5) explains every key.");
        }
        *ret = TAKE_PTR(r);
        return 0;
}
