/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "hermetic.h"
#include "accounts.h"
#include "documents.h"
#include "kernel.h"
#include "overlay.h"
#include "settings.h"
#include "settle.h"
#include "stateless.h"

int hermetic_base(Tree *t, const Recipe *recipe, char **ret_kernel, Error *reterr) {
        _cleanup_free_ char *kernel = NULL;
        int r;

        r = kernel_arrange(t, recipe, &kernel, reterr);
        if (r >= 0)
                r = stateless_remove_content(t, recipe, reterr);
        if (r >= 0)
                r = stateless_flatten_alternatives(t, reterr);
        if (r >= 0)
                r = documents_unpack(t, reterr);
        if (r < 0)
                return r;
        *ret_kernel = TAKE_PTR(kernel);
        return 0;
}

/* With its length: an element may read like the next list's name. */
static void hash_list(Hasher *h, const char *name, char *const *l) {
        hasher_update_string(h, name);
        hasher_update(h, &(size_t){ strv_length(l) }, sizeof(size_t));
        STRV_FOREACH (s, l)
                hasher_update_string(h, *s);
}

void hermetic_base_key(const Recipe *recipe, Hasher *h) {
        hasher_update(h, &(int){ HERMETIC_METHOD_VERSION }, sizeof(int));
        hash_list(h, "modules", recipe->modules);
        hash_list(h, "remove", recipe->remove);
        hash_list(h, "drop", recipe->drop);
        hash_list(h, "keep-locales", recipe->keep_locales);
        /* Its translations stay without being named in KeepLocales=. */
        hasher_update_string(h, recipe->locale ?: "");
}

char *hermetic_kernel_release(const Tree *t) {
        const Node *modules = tree_lookup(t, "/usr/lib/modules");

        for (size_t i = 0; modules && i < modules->n_children; i++)
                if (node_is_folder(modules->children[i]) && node_child(modules->children[i], "vmlinuz"))
                        return xstrdup(modules->children[i]->name);
        return NULL;
}

static int settle(const HermeticOptions *opt, Tree *t, Error *reterr) {
        const SettleOptions s = { .store = opt->store,
                                  .lock = opt->lock,
                                  .mode = opt->mode,
                                  .tools = opt->tools,
                                  .epoch = opt->epoch,
                                  .use_cache = opt->use_cache };
        int r;

        r = settle_etc(&s, t, reterr);
        if (r >= 0 && opt->kernel)
                r = settle_depmod(&s, t, opt->kernel, reterr);
        if (r >= 0 && !tree_lookup(t, "/usr/lib/udev/hwdb.bin"))
                r = settle_hwdb(&s, t, reterr);
        return r;
}

int hermetic_finish(const HermeticOptions *opt, Tree *t, Error *reterr) {
        Node *hwdb = tree_lookup(t, "/usr/lib/udev/hwdb.d");
        uint64_t before, after, bytes;
        int r;

        if (hwdb)
                tree_count(t, hwdb, &before, &bytes);
        r = overlay_apply(t, opt->recipe, opt->epoch, reterr);
        if (r < 0)
                return r;
        /* An overlay that brings hardware data makes the packages' compiled database stale. */
        if (hwdb) {
                tree_count(t, hwdb, &after, &bytes);
                if (after != before)
                        tree_remove(t, "/usr/lib/udev/hwdb.bin");
        }
        r = settings_apply(t, opt->recipe, opt->version, opt->epoch, reterr);
        if (r >= 0)
                r = settle(opt, t, reterr);
        if (r >= 0)
                settings_check_units(t, opt->recipe);
        if (r >= 0)
                r = accounts_pin(t, opt->ids, opt->epoch, reterr);
        if (r < 0)
                return r;
        stateless_remove_traces(t);
        r = stateless_describe_state(t, opt->epoch, reterr);
        if (r >= 0)
                r = stateless_move_etc(t, reterr);
        if (r >= 0 && opt->kernel)
                r = kernel_leave_usr(t, opt->kernel, reterr);
        if (r < 0)
                return r;
        stateless_set_times(t, opt->epoch, opt->usr_epoch);
        return 0;
}
