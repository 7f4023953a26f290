/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel modules of an initrd: a list of names and all that they depend on, read from the modules themselves
 * (.modinfo), so that a kernel package will do on which depmod never ran. Modules are stored decompressed: the initrd
 * as a whole is compressed better, and a delta between two of them is smaller. */

#include "tree.h"

typedef struct InitrdModules InitrdModules;

/* Lists the modules below /usr/lib/modules/RELEASE of kernel; both trees are borrowed until initrd_modules_free(). */
int initrd_modules_new(Tree *to, Tree *kernel, const char *release, InitrdModules **ret, Error *reterr);
InitrdModules *initrd_modules_free(InitrdModules *m);
DEFINE_CLEANUP(InitrdModules *, initrd_modules_free)

/* Adds a module by name ("nvme"; '-' and '_' are the same) or, if it holds a '/', all that a glob below kernel/ matches
 * ("drivers/nvme", see recipe.h). 1: there is none, nor is it built into the kernel. */
int initrd_modules_add(InitrdModules *m, const char *name_or_glob, Error *reterr);
/* Adds the built-in list: what laptops, virtual machines and servers need to find and mount the slots. Only the few
 * without which no image of ours can start must be there. */
int initrd_modules_add_defaults(InitrdModules *m, Error *reterr);
/* Copies the lists of the kernel package that depmod reads (modules.order, modules.builtin, modules.builtin.modinfo).
 */
int initrd_modules_add_lists(InitrdModules *m, Error *reterr);
