/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "kernel.h"
#include "io.h"
#include "module.h"
#include "parallel.h"

#define MODULES "/usr/lib/modules"

static size_t suffix_length(const char *name) {
        static const char *const suffixes[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                if (endswith(name, suffixes[i]))
                        return strlen(suffixes[i]);
        return 0;
}

/* ---- which modules stay ---------------------------------------------------------------------------------- */

typedef struct Module {
        char *path; /* below the release's folder: "kernel/fs/ext4/ext4.ko.xz" */
        char *name; /* "ext4" */
        bool kept;
} Module;

typedef struct Modules {
        Tree *t;
        const char *folder;
        Module *items; /* sorted by name */
        size_t n_items, n_allocated;
        size_t *kept; /* indexes; what those from n_read on depend on is not known yet */
        size_t n_kept, n_kept_allocated, n_read;
        bool all;
} Modules;

static void modules_done(Modules *m) {
        for (size_t i = 0; i < m->n_items; i++) {
                free(m->items[i].path);
                free(m->items[i].name);
        }
        free(m->items);
        free(m->kept);
}

static int list_module(Tree *t, Node *n, const char *path, void *userdata) {
        Modules *m = userdata;

        if (!node_is_file(n) || suffix_length(n->name) == 0)
                return 0;
        GROW(m->items, m->n_items, m->n_allocated);
        m->items[m->n_items++] =
                (Module){ .path = xstrdup(path + strlen(m->folder) + 1), .name = module_name(n->name) };
        return 0;
}

static int compare_modules(const void *a, const void *b) {
        const Module *x = a, *y = b;
        int c = strcmp(x->name, y->name);

        return c != 0 ? c : strcmp(x->path, y->path);
}

static void keep_module(Modules *m, size_t i) {
        if (m->items[i].kept)
                return;
        m->items[i].kept = true;
        GROW(m->kept, m->n_kept, m->n_kept_allocated);
        m->kept[m->n_kept++] = i;
}

static int compare_name(const void *key, const void *element) {
        return strcmp(key, ((const Module *) element)->name);
}

/* All of that name: which of them is loaded is for depmod to say. */
static int keep_name(Modules *m, const char *name, Error *reterr) {
        _cleanup_free_ char *file = xasprintf("%s.ko", name), *key = module_name(file);
        const Module *found = bsearch(key, m->items, m->n_items, sizeof(Module), compare_name);

        if (!found)
                return error_set(reterr, ENOENT, REFUSAL_BAD_FORMAT,
                                 "it needs the module %s, which the kernel package does not have", name);
        while (found > m->items && streq(found[-1].name, key))
                found--;
        for (; found < m->items + m->n_items && streq(found->name, key); found++)
                keep_module(m, (size_t) (found - m->items));
        return 0;
}

static int keep_dependencies(Modules *m, const char *data, size_t size, Error *reterr) {
        _cleanup_strv_free_ char **info = NULL;
        int r;

        r = module_info(data, size, &info, reterr);
        STRV_FOREACH (line, info) {
                const char *depends = startswith(*line, "depends=");
                _cleanup_strv_free_ char **names = strv_split(depends ?: "", ",");

                for (char **name = names; r >= 0 && name && *name; name++)
                        r = keep_name(m, *name, reterr);
        }
        return r;
}

/* ---- unpacking
 * --------------------------------------------------------------------------------------------------------- */

static int unpack_module(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        const Modules *m = userdata;
        const Module *module = &m->items[m->kept[m->n_read + item]];
        _cleanup_free_ char *path = path_join(m->folder, module->path), *data = NULL;
        size_t size;
        int r;

        r = tree_read_file(m->t, tree_lookup(m->t, path), MODULE_SIZE_MAX, &data, &size, reterr);
        if (r >= 0)
                r = module_unpack(data, size, ret, reterr);
        return r < 0 ? error_prefix(reterr, "%s", path) : 0;
}

static int take_module(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        Modules *m = userdata;
        const Module *module = &m->items[m->kept[m->n_read + item]];
        _cleanup_free_ char *packed = path_join(m->folder, module->path),
                            *plain = xstrndup(packed, strlen(packed) - suffix_length(packed) + strlen(".ko"));
        const Inode *i = tree_lookup(m->t, packed)->inode;
        const NodeAttributes a = {
                .mode = i->mode & 07777, .uid = i->uid, .gid = i->gid, .mtime = i->mtime, .package = i->package
        };
        int r = 0;

        if (!m->all)
                r = keep_dependencies(m, data, size, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", packed);
        if (streq(packed, plain))
                return 0;
        r = tree_add_file(m->t, plain, &a, data, size, NULL, reterr);
        if (r >= 0)
                tree_remove(m->t, packed);
        return r;
}

/* What the recipe names, then what that depends on, and so on; each module is unpacked once. */
static int unpack_kept(Modules *m, Error *reterr) {
        int r = 0;

        while (r >= 0 && m->n_read < m->n_kept) {
                size_t n = m->n_kept - m->n_read;

                r = parallel_run(n, unpack_module, take_module, m, reterr);
                m->n_read += n;
        }
        return r;
}

static int remove_index(Tree *t, Node *n, const char *path, void *userdata) {
        /* depmod reads modules.order and modules.builtin*, and writes all the others. */
        if (!startswith(n->name, "modules."))
                return 0;
        if (streq(n->name, "modules.order") || streq(n->name, "modules.builtin") ||
            streq(n->name, "modules.builtin.modinfo"))
                return 0;
        return TREE_WALK_REMOVE;
}

/* modules.order names files as the kernel's build knew them, so it is left as it is but for modules that went. */
static int arrange_modules(Tree *t, const char *folder, const Recipe *recipe, Error *reterr) {
        _cleanup_(modules_done) Modules m = { .t = t, .folder = folder, .all = !recipe->modules };
        Node *n = tree_lookup(t, folder);
        int r;

        tree_walk(t, n, list_module, &m);
        if (m.n_items > 0)
                qsort(m.items, m.n_items, sizeof(Module), compare_modules);
        for (size_t i = 0; i < m.n_items; i++)
                /* Of what is plain and stays in any case nothing needs to be known. */
                if (m.all ? !endswith(m.items[i].path, ".ko")
                          : recipe_module_is_kept(recipe, startswith(m.items[i].path, "kernel/") ?: m.items[i].path))
                        keep_module(&m, i);
        if (m.n_kept == 0 && !m.all) {
                error_set(reterr, ENOENT, REFUSAL_BAD_VALUE, "Modules= matches no module of this kernel");
                return error_hint(reterr,
                                  "Globs are matched against paths like fs/ext4/ext4.ko; fs/ext4 names all below it.");
        }
        r = unpack_kept(&m, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < m.n_items && !m.all; i++) {
                _cleanup_free_ char *path = path_join(folder, m.items[i].path);

                if (!m.items[i].kept)
                        tree_remove(t, path);
        }
        tree_walk(t, n, remove_index, NULL);
        return 0;
}

int kernel_arrange(Tree *t, const Recipe *recipe, char **ret_release, Error *reterr) {
        _cleanup_free_ char *release = NULL, *folder = NULL, *image = NULL, *place = NULL;
        Node *boot = tree_lookup(t, "/boot");
        int r;

        for (size_t i = 0; boot && i < boot->n_children; i++) {
                const char *name = startswith(boot->children[i]->name, "vmlinuz-");

                if (!name)
                        continue;
                if (release) {
                        error_set(reterr, EEXIST, REFUSAL_BAD_VALUE, "two kernels are installed: %s and %s", release,
                                  name);
                        return error_hint(reterr, "An image has one kernel: name it with Package= in [Kernel] only.");
                }
                release = xstrdup(name);
        }
        if (release) {
                folder = path_join(MODULES, release);
                image = xasprintf("/boot/vmlinuz-%s", release);
                place = path_join(folder, "vmlinuz");
                if (!tree_lookup(t, folder))
                        return error_set(reterr, ENOENT, REFUSAL_BAD_FORMAT, "the kernel %s has no modules in %s",
                                         release, folder);
                r = tree_move(t, image, place, reterr);
                if (r >= 0)
                        r = arrange_modules(t, folder, recipe, reterr);
                if (r < 0)
                        return error_prefix(reterr, "kernel %s", release);
        }
        tree_remove(t, "/boot");
        tree_remove(t, "/vmlinuz");
        tree_remove(t, "/vmlinuz.old");
        tree_remove(t, "/initrd.img");
        tree_remove(t, "/initrd.img.old");
        *ret_release = TAKE_PTR(release);
        return 0;
}

int kernel_leave_usr(Tree *t, const char *release, Error *reterr) {
        _cleanup_free_ char *folder = path_join(MODULES, release), *image = path_join(folder, "vmlinuz");

        return tree_move(t, image, KERNEL_IMAGE_PATH, reterr);
}
