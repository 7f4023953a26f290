/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "recipe.h"
#include "tree.h"

/* What the recipe says about the system in words of its own (locale, keymap, host name, time zone, root's password,
 * os-release, units) becomes the files that the system's programs read. */
int settings_apply(Tree *t, const Recipe *r, const char *version, int64_t epoch, Error *reterr);

/* After presets were applied: warns of units that are on although the recipe wants them off. */
void settings_check_units(Tree *t, const Recipe *r);

/* os-release(5) text with values replaced or added. Exposed for tests. */
char *settings_os_release(const char *text, const NameValue *values, size_t n_values);
