/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* LocalDebs= of a recipe as a little archive that apt can read, so that they are chosen for image, initrd and tools
 * alike, whatever version the real archive has. */

#include "archive-index.h"
#include "store.h"

/* Puts the packages into the store and writes Packages and Release into the folder, which is created. *ret is sorted;
 * the paths in it are the files' names. */
int local_packages_publish(char *const *debs, const char *folder, const char *architecture, Store *store,
                           ArchiveIndex *ret, Error *reterr);
