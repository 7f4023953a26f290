/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's own archive format for initrds: cpio "newc", as in its buffer-format.rst. */

#include "tree.h"

/* Appends one complete archive with the nodes, in the given order (parents first), to the buffer. Every entry has the
 * same time; inode numbers count from 1, so that an archive's bytes depend on nothing but its own nodes; hard links
 * become files of their own. Names have no leading slash. Extended attributes have no place in the format:
 * REFUSAL_BAD_VALUE. */
int cpio_write(const Tree *t, const Node *const *nodes, size_t n_nodes, int64_t mtime, Buffer *ret, Error *reterr);
