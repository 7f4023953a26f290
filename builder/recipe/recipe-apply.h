/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From the items of files to the fields of a recipe: the middle part of loading. Private to builder/recipe. */

#include "recipe-table.h"

typedef struct RecipeSource {
        const ConfFile *file; /* borrowed */
        const char *folder;   /* borrowed; absolute path of the recipe folder the file belongs to */
} RecipeSource;

/* Applies all items of one file; problems go to d. */
void recipe_apply_file(Recipe *r, const RecipeSource *source, ConfDiagnostics *d);
/* Adds a folder, unless it is in the list, as if Files= named it. where is what explain shows. */
void recipe_apply_folder(Recipe *r, const char *folder, const char *where);
/* Notes where a value came from; file NULL: a default; line 0: the file as a whole. */
void recipe_add_origin(Recipe *r, const char *section, const char *key, const char *value, const char *file,
                       unsigned line);
/* Gives a key its default: a value that is known to be good. */
void recipe_apply_default(Recipe *r, const RecipeKey *key, const char *value);
/* All defaults, then the rules that concern several values. where: what a problem without a line is shown for. */
void recipe_finish(Recipe *r, const char *where, ConfDiagnostics *d);

/* Walks over the words of a value: false at the end. *offset starts at 0. The word is owned by the caller. */
bool recipe_next_word(const char *value, size_t *offset, size_t *ret_start, char **ret_word);
