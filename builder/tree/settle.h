/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Work that only the target's own programs do right, run from the locked tools tree in a sandbox, on a copy of just the
 * files they read: accounts (systemd-sysusers), units (systemctl preset-all), /etc lines of tmpfiles, hardware
 * database, module indexes (depmod). Results are kept in the store's cache under a digest of everything that went in.
 */

#include "lock.h"
#include "sandbox.h"
#include "store.h"
#include "tools.h"
#include "tree.h"

typedef struct SettleOptions {
        Store *store;
        const Lock *lock;
        SandboxMode mode;
        Tools *tools; /* only unpacked where the cache has no result */
        int64_t epoch;
        bool use_cache;
} SettleOptions;

/* Replaces the tree's /etc by what sysusers, presets and tmpfiles make of it. */
int settle_etc(const SettleOptions *opt, Tree *t, Error *reterr);
/* Writes modules.dep and its like below /usr/lib/modules/RELEASE of the tree (an image's or an initrd's). */
int settle_depmod(const SettleOptions *opt, Tree *t, const char *release, Error *reterr);
/* Compiles /usr/lib/udev/hwdb.bin anew if the tree has sources for it. */
int settle_hwdb(const SettleOptions *opt, Tree *t, Error *reterr);
