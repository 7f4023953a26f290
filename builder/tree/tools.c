/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tools.h"
#include "unpack.h"

struct Tools {
        Store *store;
        const Lock *lock;
        Tree *all; /* NULL until somebody wants it */
};

Tools *tools_new(Store *store, const Lock *lock) {
        Tools *t = xnew(Tools, 1);

        *t = (Tools){ .store = store, .lock = lock };
        return t;
}

Tools *tools_free(Tools *t) {
        if (t)
                tree_free(t->all);
        free(t);
        return NULL;
}

int tools_tree(Tools *tools, Tree **ret, Error *reterr) {
        int r = 0;

        if (!tools->all)
                r = unpack_purpose(tools->store, tools->lock, LOCK_FOR_TOOLS, &tools->all, reterr);
        if (r < 0)
                return error_prefix(reterr, "build tools");
        *ret = tools->all;
        return 0;
}

int tools_read_file(Tools *tools, const char *package, const char *path, size_t max_size, char **ret, size_t *ret_size,
                    Error *reterr) {
        const LockPackage *p = lock_find(tools->lock, package);
        _cleanup_(tree_freep) Tree *t = NULL;
        Node *n = NULL;
        int r;

        if (p && p->purpose & LOCK_FOR_TOOLS) {
                r = tree_new(NULL, &t, reterr);
                if (r >= 0)
                        r = unpack_packages(tools->store, &p, 1, t, reterr);
                if (r < 0)
                        return r;
                n = tree_lookup(t, path);
        }
        if (!n) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "the tools have no %s", path);
                return error_hint(reterr, "The lock was made without %s: run \"sealab lock --update\".", package);
        }
        return tree_read_file(t, n, max_size, ret, ret_size, reterr);
}
