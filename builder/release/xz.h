/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files as xz, for programs of others. Our own devices read packs (publish.h). */

#include "hash.h"
#include "progress.h"

/* Independent xz streams one after the other, each of 8 MiB of the input; "xz -d" reads the whole. Same input, same
 * bytes, whatever the number of workers (0: one for each processor). */
int xz_write(int fd, uint64_t size, int out_fd, unsigned workers, Progress *progress, uint64_t *ret_size,
             Sha256 *ret_sha256, Error *reterr);
