/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files of kernel modules: their names, what is in them, what they need. */

#include "error.h"

/* The largest modules of Debian's kernels are 15 MB unpacked. */
#define MODULE_SIZE_MAX ((size_t) 256 << 20)

/* "dm-verity.ko.xz" -> "dm_verity", as other modules call it; NULL if it is no module. */
char *module_name(const char *file);
/* Decompresses a module as its own bytes say: xz, gzip, zstd; a plain one stays as it is. */
int module_unpack(const char *data, size_t size, Buffer *ret, Error *reterr);
/* The strings "key=value" in the section .modinfo of a plain module. */
int module_info(const char *data, size_t size, char ***ret, Error *reterr);
