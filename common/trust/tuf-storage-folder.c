/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "io.h"
#include "tuf-client.h"

static int folder_load(void *userdata, const char *name, size_t max_size, Buffer *ret, Error *reterr) {
        const TufFolder *f = userdata;
        _cleanup_error_ Error e = {};
        char *data = NULL;
        size_t size;

        if (io_read_file(f->dir_fd, name, max_size, &data, &size, &e) < 0)
                return e.code == ENOENT ? 1 : error_move(reterr, &e);
        buffer_done(ret);
        *ret = (Buffer){ .data = data, .size = size, .allocated = size + 1 };
        return 0;
}

static int folder_save(void *userdata, const char *name, const void *data, size_t size, Error *reterr) {
        const TufFolder *f = userdata;

        return io_replace_file(f->dir_fd, name, data, size, 0644, reterr);
}

static int folder_remove(void *userdata, const char *name, Error *reterr) {
        const TufFolder *f = userdata;
        int r = io_unlink(f->dir_fd, name, reterr);

        /* ORDER: what is stored after this must not become durable before it. */
        if (r == 0)
                r = io_sync_folder(f->dir_fd, ".", reterr);
        return r < 0 ? r : 0;
}

TufStorage tuf_storage_folder(TufFolder *folder) {
        return (TufStorage){ .load = folder_load, .save = folder_save, .remove = folder_remove, .userdata = folder };
}
