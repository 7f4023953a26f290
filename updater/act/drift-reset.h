/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Puts the image's default back. Always by way of the merged /etc: what happens to an overlay whose upper folder is
 * changed behind its back is undefined. So the upper folder keeps a copy, which is marked (DRIFT_MARK), equal to the
 * default, and therefore no drift; drift_refresh() replaces it when a new image brings another default. */

#include "drift.h"

/* REFUSAL_NOT_FOUND: nothing has this id now. REFUSAL_BAD_VALUE: a file that the machine makes for itself, or one that
 * holds accounts, which one file alone cannot take back. *ret_path: "/etc/...", owned. */
int drift_reset(const DriftFolders *f, const char *id, char **ret_path, Error *reterr);
/* After a boot: copies that a reset made and nobody touched follow the image. */
int drift_refresh(const DriftFolders *f, size_t *ret_refreshed, Error *reterr);
