/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Editing who may sign what: keys and thresholds of top-level roles stand in root, those of channels in targets. */

#include "repository.h"

/* REFUSAL_NOT_FOUND for a role that the repository does not have. */
int change_key_add(Change *c, const char *role, const TufKey *key, Error *reterr); /* REFUSAL_EXISTS */
/* REFUSAL_BAD_VALUE if fewer keys than the threshold would be left. */
int change_key_remove(Change *c, const char *role, const char *key_id, Error *reterr);
int change_key_replace(Change *c, const char *role, const char *old_id, const TufKey *key, Error *reterr);
int change_key_threshold(Change *c, const char *role, size_t threshold, Error *reterr);
