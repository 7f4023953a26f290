/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes as a Debian package: read, imported, and what came out exported and compared. */

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "deb.h"
#include "io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC), out = memfd_create("output", MFD_CLOEXEC);
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_deb_control_ DebControl c = {};
        _cleanup_error_ Error e = {};

        if (fd < 0 || out < 0 || setenv("TMPDIR", "/dev/shm", 1) < 0 || tree_new("/dev/shm", &t, NULL) < 0 ||
            io_write_all(fd, data, size, NULL) < 0)
                abort();
        if (deb_read(fd, NULL, t, "/sub", DEB_MERGE_USR, &c, &e) < 0) {
                if (e.id == REFUSAL_NONE || !e.message)
                        abort();
        } else if (!c.package || !deb_control_file(&c, "control"))
                abort();
        /* Whatever was refused half-way: nothing may stand outside the prefix. */
        for (size_t k = 0; k < t->root->n_children; k++)
                if (!streq(t->root->children[k]->name, "sub"))
                        abort();
        (void) deb_repack_uncompressed(fd, out, NULL);
        return 0;
}
