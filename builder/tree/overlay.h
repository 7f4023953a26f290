/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "recipe.h"
#include "tree.h"

/* The recipe's plain files enter the tree: files/ folders as they are, sysusers.d/, tmpfiles.d/, preset.d/ and
 * repart.d/ into their places below /usr/lib. Everything belongs to root; files are 0755 if executable for anybody,
 * else 0644, folders 0755, so that the result does not depend on umask or version control. Only usr, etc, var, root,
 * srv and opt may be named. */
int overlay_apply(Tree *t, const Recipe *r, int64_t epoch, Error *reterr);

/* One host folder into a place of the tree; for the above and for tests. */
int overlay_import_folder(Tree *t, const char *prefix, const char *folder, int64_t epoch, Error *reterr);
