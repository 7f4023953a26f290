/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "options.h"

/* Every verb of sealab with its options and help. The verbs only translate: options in, one call of the module that
 * does the work, words out. */
const OptionTable *verbs_table(void);

/* Options that every verb has, as given; set by options_parse() through the table. */
bool verbs_want_json(void);
bool verbs_want_debug(void);
bool verbs_want_quiet(void);

/* Removes what a worker that was stopped left in the output folder. Called by the supervisor after the worker is gone.
 */
void verbs_clean_up(void);
