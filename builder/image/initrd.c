/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "initrd.h"
#include "elf-deps.h"
#include "initrd-list.h"
#include "initrd-modules.h"
#include "io.h"

#define UNIT_FOLDER "/usr/lib/systemd/system"

typedef struct Collector {
        const InitrdOptions *o;
        Tree *pool, *t;
        ElfCopier *copier;
        Error *reterr;
} Collector;

static const char *const merged_folders[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };

/* Numbers that Debian's base-passwd fixes for ever; udev gives device nodes to these. */
static const char default_group[] = "root:x:0:\ntty:x:5:\ndisk:x:6:\nlp:x:7:\nkmem:x:15:\ndialout:x:20:\ncdrom:x:24:\n"
                                    "tape:x:26:\naudio:x:29:\nvideo:x:44:\nnogroup:x:65534:\n";

/* The links that paths inside packages go through, where the pool has none of its own. */
static int add_merge_links(Tree *t, Error *reterr) {
        const NodeAttributes a = { .mode = 0777 };

        for (size_t k = 0; k < ELEMENTSOF(merged_folders); k++) {
                _cleanup_free_ char *target = xasprintf("usr/%s", merged_folders[k]);
                int r;

                if (tree_lookup(t, merged_folders[k]) || !tree_lookup(t, target))
                        continue;
                r = tree_add_symlink(t, merged_folders[k], &a, target, NULL, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool is_wanted(const Collector *c, InitrdWhen when) {
        switch (when) {
        case INITRD_TPM:
                return c->o->tpm;
        case INITRD_PASSPHRASE:
                return c->o->passphrase;
        case INITRD_ENCRYPTED:
                return c->o->tpm || c->o->passphrase;
        case INITRD_EMERGENCY:
                return c->o->emergency_shell;
        case INITRD_ATTENDED:
                return c->o->emergency_shell || c->o->passphrase;
        default:
                return true;
        }
}

static int missing(Collector *c, const InitrdItem *i) {
        (void) error_set(c->reterr, ENOENT, REFUSAL_NOT_FOUND,
                         "the initrd needs %s, which no package locked for it has", i->path);
        return error_hint(c->reterr,
                          "It comes with the package %s: add that to [Initrd] Packages= and run 'sealab lock'.",
                          i->package ?: "systemd");
}

static int copy_files(Collector *c) {
        for (const InitrdItem *i = initrd_files; i->path; i++) {
                int r = is_wanted(c, i->when) ? elf_copy(c->copier, i->path, c->reterr) : 0;

                if (r > 0 && i->when != INITRD_IF_THERE)
                        return missing(c, i);
                if (r < 0)
                        return r;
        }
        for (const InitrdItem *i = initrd_libraries; i->path; i++) {
                int r = is_wanted(c, i->when) ? elf_copy_library(c->copier, i->path, c->reterr) : 0;

                if (r > 0 && i->when != INITRD_IF_THERE)
                        return missing(c, i);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int copy_units(Collector *c) {
        for (const InitrdItem *i = initrd_units; i->path; i++) {
                _cleanup_free_ char *path = path_join(UNIT_FOLDER, i->path), *drop_ins = xasprintf("%s.d", path);
                int r = is_wanted(c, i->when) ? elf_copy(c->copier, path, c->reterr) : 0;

                if (r > 0 && i->when != INITRD_IF_THERE)
                        return missing(c, i);
                if (r >= 0 && is_wanted(c, i->when))
                        r = elf_copy(c->copier, drop_ins, c->reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* "a@b.service" -> "a@.service" */
static char *template_name(const char *unit) {
        const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.');

        return at && dot && dot > at ? xasprintf("%.*s%s", (int) (at - unit + 1), unit, dot) : xstrdup(unit);
}

static bool has_unit(const Collector *c, const char *name) {
        _cleanup_free_ char *template = template_name(name), *path = path_join(UNIT_FOLDER, template);

        return tree_lookup(c->t, path) != NULL;
}

/* The links in x.wants and x.requires from one unit that is there to another. */
static int copy_unit_links(Collector *c) {
        Node *folder = tree_lookup(c->pool, UNIT_FOLDER);

        for (size_t k = 0; folder && k < folder->n_children; k++) {
                Node *links = folder->children[k];
                const char *end = endswith(links->name, ".wants") ?: endswith(links->name, ".requires");
                _cleanup_free_ char *unit = NULL;

                if (!end || !node_is_folder(links))
                        continue;
                unit = xstrndup(links->name, (size_t) (end - links->name));
                for (size_t i = 0; i < links->n_children && has_unit(c, unit); i++) {
                        _cleanup_free_ char *path = NULL;
                        int r;

                        if (!has_unit(c, links->children[i]->name))
                                continue;
                        path = node_path(links->children[i]);
                        r = tree_copy(c->t, path, c->pool, links->children[i], c->reterr);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static bool is_documentation(const char *path) {
        static const char *const folders[] = { "/usr/share/doc/",      "/usr/share/man/",
                                               "/usr/share/locale/",   "/usr/share/info/",
                                               "/usr/share/lintian/",  "/usr/share/bug/",
                                               "/usr/share/doc-base/", "/usr/share/bash-completion/" };

        for (size_t k = 0; k < ELEMENTSOF(folders); k++)
                if (startswith(path, folders[k]))
                        return true;
        return false;
}

static int copy_packaged(Tree *t, Node *n, const char *path, void *userdata) {
        Collector *c = userdata;
        int r;

        if (node_is_folder(n) || !n->inode->package || !strv_contains(c->o->packages, n->inode->package) ||
            is_documentation(path))
                return 0;
        r = elf_copy(c->copier, path, c->reterr);
        return r < 0 ? r : 0;
}

static int add_text(Collector *c, const char *path, const char *text) {
        const NodeAttributes a = { .mode = 0644 };

        return tree_add_file(c->t, path, &a, text, strlen(text), NULL, c->reterr);
}

static int add_texts(Collector *c) {
        int r = 0;

        for (const InitrdText *i = initrd_texts; r >= 0 && i->path; i++)
                if (is_wanted(c, i->when) != i->unless)
                        r = add_text(c, i->path, i->text);
        if (r >= 0)
                r = add_text(c, "/etc/group", c->o->group ?: default_group);
        if (r >= 0)
                r = add_text(c, "/etc/initrd-release", c->o->os_release);
        return r;
}

static int add_links(Collector *c) {
        int r = add_merge_links(c->t, c->reterr);

        for (const InitrdLink *i = initrd_links; r >= 0 && i->path; i++) {
                const NodeAttributes a = { .mode = i->mode };

                if (i->target)
                        r = tree_lookup(c->t, i->path) && !startswith(i->path, UNIT_FOLDER)
                                    ? 0
                                    : tree_add_symlink(c->t, i->path, &a, i->target, NULL, c->reterr);
                else
                        r = tree_add_folder(c->t, i->path, &a, NULL, c->reterr);
        }
        return r;
}

static int add_module(Collector *c, InitrdModules *m, const char *name, const char *key) {
        int r = initrd_modules_add(m, name, c->reterr);

        if (r <= 0)
                return r;
        (void) error_set(c->reterr, ENOENT, REFUSAL_NOT_FOUND, "%s names %s, which the kernel %s does not have", key,
                         name, c->o->kernel_release);
        return error_hint(c->reterr, "Correct %s in the recipe, or choose another kernel.", key);
}

static int add_modules(Collector *c) {
        _cleanup_(initrd_modules_freep) InitrdModules *m = NULL;
        int r = initrd_modules_new(c->t, c->o->kernel, c->o->kernel_release, &m, c->reterr);

        if (r >= 0)
                r = initrd_modules_add_defaults(m, c->reterr);
        if (r >= 0 && c->o->root_format)
                r = add_module(c, m, c->o->root_format, "RootFormat=");
        STRV_FOREACH (name, c->o->modules) {
                if (r < 0)
                        break;
                r = add_module(c, m, *name, "InitrdModules=");
        }
        return r < 0 ? r : initrd_modules_add_lists(m, c->reterr);
}

int initrd_collect(const InitrdOptions *o, Tree *pool, Tree **ret, Error *reterr) {
        _cleanup_(elf_copier_freep) ElfCopier *copier = NULL;
        _cleanup_(tree_freep) Tree *t = NULL;
        Collector c = { .o = o, .pool = pool, .reterr = reterr };
        int r = tree_new(o->spool_folder, &t, reterr);

        if (r < 0)
                return r;
        c.t = t;
        c.copier = copier = elf_copier_new(t, pool);
        r = copy_files(&c);
        if (r >= 0)
                r = copy_units(&c);
        if (r >= 0)
                r = copy_unit_links(&c);
        if (r >= 0 && o->packages)
                r = tree_walk(pool, pool->root, copy_packaged, &c);
        if (r >= 0)
                r = add_texts(&c);
        if (r >= 0)
                r = add_links(&c);
        if (r >= 0)
                r = add_modules(&c);
        if (r < 0)
                return error_prefix(reterr, "initrd");
        *ret = TAKE_PTR(t);
        return 0;
}
