/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Finding recipes by the names that Extends= uses. Private to builder/recipe. */

#include "recipe.h"

#define RECIPE_FILE_NAME "recipe.conf"
#define RECIPE_DROPIN_FOLDER "recipe.conf.d"

/* The folder of another recipe as seen from one: a name without slash is looked for beside it, then among the installed
 * recipes; anything else is a path relative to it. Returns 1 if there is none. */
int recipe_find(const char *from_folder, const char *name, char **ret_folder);
/* "did you mean ...?" for a name that recipe_find() did not find, owned; NULL if nothing is near. */
char *recipe_suggest_neighbour(const char *from_folder, const char *name);
