/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "seal.h"

/* The initrd as a step of the build: from the store's cache, or unpacked, collected, indexed by the locked depmod and
 * packed. Written to out_fd, an empty file. Returns INITRD_STEP_CACHED if it came from the cache. */
#define INITRD_STEP_CACHED 1
int initrd_step(const SealContext *c, Tree *t, const char *kernel, int out_fd, Error *reterr);
