/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A private temporary folder as the state of a test or of a whole group. */

#include <fcntl.h>

#include "io.h"

static inline int make_folder(void **state) {
        char *path = NULL;

        if (io_temporary_folder("test", &path, NULL) < 0)
                return -1;
        *state = path;
        return 0;
}

static inline int remove_folder(void **state) {
        int r = io_remove_tree(AT_FDCWD, *state, NULL);

        free(*state);
        return r;
}
