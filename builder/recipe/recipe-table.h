/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every key that a recipe may have, in one table: where it stands, what kind of value it takes, which check a value
 * must pass, its default, and one line of help. The loader, sealab explain, suggestions and the test that compares the
 * manual page with the program all read it. Private to builder/recipe. */

#include "recipe.h"

typedef enum RecipeKind {
        RECIPE_TEXT,       /* char *: one value */
        RECIPE_JOINED,     /* char *: repeated values joined by a space */
        RECIPE_WORDS,      /* char **: white space separates, repeating adds */
        RECIPE_FOLDERS,    /* char **: existing folders, made absolute */
        RECIPE_DEBS,       /* char **: paths or globs of .deb files, made absolute */
        RECIPE_FILE,       /* char *: an existing file, made absolute */
        RECIPE_PATH,       /* char *: made absolute, need not exist */
        RECIPE_NUMBER,     /* uint64_t between min and max */
        RECIPE_SIZE,       /* uint64_t bytes between min and max, a multiple of 4 KiB */
        RECIPE_BOOL,       /* bool */
        RECIPE_LAYOUT,     /* UsrLayout */
        RECIPE_EXCEPTIONS, /* gate_exceptions */
        RECIPE_EXTENDS,    /* handled before everything else */
} RecipeKind;

/* NULL if the value is good; otherwise why not, as the end of the sentence "'VALUE' ...". *ret_suggestion (owned) may
 * be set to a phrase. */
typedef char *(*RecipeCheck)(const char *value, char **ret_suggestion);

typedef struct RecipeKey {
        const char *section, *key;
        RecipeKind kind;
        size_t offset; /* of the field in Recipe */
        RecipeCheck check;
        uint64_t min, max;
        const char *fallback; /* default; NULL: none, or computed by the loader */
        const char *help;     /* one line */
} RecipeKey;

extern const RecipeKey recipe_keys[];
extern const size_t n_recipe_keys;

/* The section whose keys are names of os-release(5) rather than rows of the table. */
#define RECIPE_OS_RELEASE "OsRelease"

/* NULL if there is none. */
const RecipeKey *recipe_key_find(const char *section, const char *key);
bool recipe_section_exists(const char *section);
/* "did you mean ...?" phrases, owned; NULL if nothing is near. */
char *recipe_suggest_section(const char *section);
char *recipe_suggest_key_phrase(const char *section, const char *key);

static inline bool recipe_kind_is_list(RecipeKind kind) {
        return kind == RECIPE_WORDS || kind == RECIPE_FOLDERS || kind == RECIPE_DEBS || kind == RECIPE_JOINED ||
               kind == RECIPE_EXCEPTIONS || kind == RECIPE_EXTENDS;
}

/* The field of a recipe that a key fills. */
static inline void *recipe_field(const Recipe *r, const RecipeKey *k) {
        return (char *) r + k->offset;
}
