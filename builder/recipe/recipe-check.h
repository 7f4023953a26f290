/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Checks of single values, named for the table. Each returns NULL for a good value, otherwise (owned) the end of the
 * sentence "'VALUE' ..."; *ret_suggestion (owned) may be set to a phrase. Pure functions. Private to builder/recipe. */

#include "recipe.h"

char *check_image_id(const char *value, char **ret_suggestion);
char *check_version(const char *value, char **ret_suggestion);
char *check_architecture(const char *value, char **ret_suggestion);
char *check_hostname(const char *value, char **ret_suggestion);
char *check_locale(const char *value, char **ret_suggestion);
char *check_keymap(const char *value, char **ret_suggestion);
char *check_timezone(const char *value, char **ret_suggestion);
char *check_root_password(const char *value, char **ret_suggestion);
char *check_suite(const char *value, char **ret_suggestion);
char *check_component(const char *value, char **ret_suggestion);
char *check_mirror(const char *value, char **ret_suggestion);
char *check_package(const char *value, char **ret_suggestion);
char *check_drop(const char *value, char **ret_suggestion);
char *check_keep_locale(const char *value, char **ret_suggestion);
char *check_unit(const char *value, char **ret_suggestion);
char *check_unit_glob(const char *value, char **ret_suggestion);
char *check_target(const char *value, char **ret_suggestion);
char *check_module_glob(const char *value, char **ret_suggestion);
char *check_initrd_module(const char *value, char **ret_suggestion);
char *check_command_line(const char *value, char **ret_suggestion);
char *check_cluster(const char *value, char **ret_suggestion);
char *check_root_format(const char *value, char **ret_suggestion);
char *check_root_encryption(const char *value, char **ret_suggestion);
char *check_url(const char *value, char **ret_suggestion);
char *check_sysupdate_source(const char *value, char **ret_suggestion);
char *check_channel(const char *value, char **ret_suggestion);
char *check_os_release_key(const char *key, char **ret_suggestion);
char *check_os_release_value(const char *key, const char *value, char **ret_suggestion);
/* CHECK:GLOB: reason; the parts are set (owned) only where it is good. */
char *check_exception(const char *value, char **ret_check, char **ret_glob, char **ret_reason, char **ret_suggestion);

/* "did you mean 'X'?" for the nearest candidate, owned, or NULL. */
char *suggest_phrase(const char *word, const char *const *candidates);
