/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/mman.h>

#include "deb.h"
#include "io.h"
#include "parallel.h"
#include "unpack.h"

typedef struct Unpacking {
        const Store *store;
        const LockPackage *const *packages;
        Tree *into;
} Unpacking;

static int memory_file(int *ret_fd, Error *reterr) {
        *ret_fd = memfd_create("package", MFD_CLOEXEC);
        return *ret_fd < 0 ? error_errno(reterr, errno, "cannot make a memory file") : 0;
}

static int decompress(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        const Unpacking *u = userdata;
        const LockPackage *p = u->packages[item];
        _cleanup_close_ int fd = -EBADF, plain = -EBADF;
        int r;

        r = store_open_verified(u->store, &p->sha256, p->size, &fd, reterr);
        if (r >= 0)
                r = memory_file(&plain, reterr);
        if (r >= 0)
                r = deb_repack_uncompressed(fd, plain, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s %s", p->name, p->version);
        ret->size = ret->allocated = (size_t) lseek(plain, 0, SEEK_END);
        ret->data = xmalloc(ret->size + 1);
        ret->data[ret->size] = 0;
        return io_pread_all(plain, ret->data, ret->size, 0, reterr);
}

static int put_into_tree(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        const Unpacking *u = userdata;
        const LockPackage *p = u->packages[item];
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = memory_file(&fd, reterr);
        if (r >= 0)
                r = io_pwrite_all(fd, data, size, 0, reterr);
        if (r >= 0)
                r = deb_read(fd, p->name, u->into, "", DEB_MERGE_USR, NULL, reterr);
        return r < 0 ? error_prefix(reterr, "%s %s", p->name, p->version) : 0;
}

int unpack_packages(const Store *store, const LockPackage *const *packages, size_t n_packages, Tree *into,
                    Error *reterr) {
        Unpacking u = { .store = store, .packages = packages, .into = into };

        return parallel_run(n_packages, decompress, put_into_tree, &u, reterr);
}

int unpack_purpose(const Store *store, const Lock *lock, LockPurpose purpose, Tree **ret, Error *reterr) {
        _cleanup_free_ const LockPackage **packages = xnew(const LockPackage *, lock->n_packages);
        _cleanup_(tree_freep) Tree *t = NULL;
        size_t n = 0;
        int r;

        for (size_t k = 0; k < lock->n_packages; k++)
                if (lock->packages[k].purpose & purpose)
                        packages[n++] = &lock->packages[k];
        r = tree_new(NULL, &t, reterr);
        if (r >= 0)
                r = unpack_packages(store, packages, n, t, reterr);
        if (r >= 0)
                r = tree_add_merged_links(t, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}
