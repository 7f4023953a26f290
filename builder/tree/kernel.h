/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "recipe.h"
#include "tree.h"

/* Moves the kernel to /usr/lib/modules/RELEASE/vmlinuz, empties /boot, keeps the modules that the recipe's globs name
 * with all modules they depend on, and unpacks them (a compressed module makes every update of it a new download). The
 * index files are removed: settle_depmod() makes them again. *ret_release is NULL if there is no kernel. More than one
 * is an error. */
int kernel_arrange(Tree *t, const Recipe *recipe, char **ret_release, Error *reterr);
/* Takes the kernel out of /usr: it is in the UKI, and a device would download and keep it twice. */
#define KERNEL_IMAGE_PATH "/vmlinuz"
int kernel_leave_usr(Tree *t, const char *release, Error *reterr);
