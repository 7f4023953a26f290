/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A repository in a folder, such as on a stick, that somebody names on the command line. */

#include "error.h"

/* The folder's address for FetchOptions.repositories; owned. REFUSAL_NOT_FOUND if it holds no repository, REFUSAL_KEY
 * if the worker, who has no rights of its own, could not read it. */
int stick_address(const char *folder, char **ret_url, Error *reterr);
