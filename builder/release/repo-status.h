/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The state of a repository in words: roles, keys, what ends when, channels with their releases, what to do next. */

#include "repository.h"

/* keys: which private keys are here; may be empty. */
int repo_status(const Repository *r, const RepoKeys *keys, int64_t now, json_t **ret, Error *reterr);
char *repo_status_format(const json_t *status);
/* Only who signs what. */
json_t *repo_status_keys(const Repository *r, const RepoKeys *keys);
char *repo_status_format_keys(const json_t *roles);
