/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* libarchive's objects under _cleanup_(): its own functions take the pointer, not its address. All of them accept NULL
 * but one. */

#include <archive.h>
#include <archive_entry.h>

#include "util.h"

static inline void archive_read_freep(struct archive **a) {
        archive_read_free(*a);
}

static inline void archive_write_freep(struct archive **a) {
        archive_write_free(*a);
}

static inline void archive_entry_freep(struct archive_entry **e) {
        archive_entry_free(*e);
}

static inline void archive_entry_linkresolver_freep(struct archive_entry_linkresolver **l) {
        if (*l)
                archive_entry_linkresolver_free(*l);
}
