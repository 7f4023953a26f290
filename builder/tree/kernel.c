/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "kernel.h"
#include "archive-cleanup.h"
#include "io.h"

/* The largest modules of Debian's kernels are 15 MB unpacked. */
#define MODULE_SIZE_MAX ((size_t) 256 << 20)
#define MODULES_DEP_MAX ((size_t) 16 << 20)
#define MODULES "/usr/lib/modules"

static size_t suffix_length(const char *name) {
        static const char *const suffixes[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                if (endswith(name, suffixes[i]))
                        return strlen(suffixes[i]);
        return 0;
}

/* ---- which modules stay ---------------------------------------------------------------------------------------------
 */

/* modules.dep: "kernel/a.ko.xz: kernel/b.ko.xz kernel/c.ko.xz", the dependencies complete. */
static int collect_kept(Tree *t, const char *folder, const Recipe *recipe, char ***ret_kept, Error *reterr) {
        _cleanup_free_ char *path = path_join(folder, "modules.dep"), *text = NULL;
        _cleanup_strv_free_ char **lines = NULL, **kept = NULL;
        Node *dep = tree_lookup(t, path);
        int r;

        if (!dep)
                return error_set(reterr, ENOENT, REFUSAL_BAD_FORMAT,
                                 "%s is missing: depmod did not run for this kernel", path);
        r = tree_read_file(t, dep, MODULES_DEP_MAX, &text, NULL, reterr);
        if (r < 0)
                return r;
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines) {
                _cleanup_strv_free_ char **words = NULL;
                char *colon = strchr(*line, ':');

                if (!colon)
                        continue;
                *colon = ' ';
                words = strv_split(*line, " ");
                if (words && recipe_module_is_kept(recipe, startswith(words[0], "kernel/") ?: words[0]))
                        strv_extend_strv(&kept, words);
        }
        strv_sort_unique(kept);
        *ret_kept = TAKE_PTR(kept);
        return 0;
}

typedef struct Pruning {
        char **kept; /* sorted; NULL: all */
        size_t prefix;
} Pruning;

static int compare_string(const void *a, const void *b) {
        return strcmp(a, *(char *const *) b);
}

static int prune_node(Tree *t, Node *n, const char *path, void *userdata) {
        const Pruning *p = userdata;

        if (!node_is_file(n) || suffix_length(n->name) == 0)
                return 0;
        return bsearch(path + p->prefix, p->kept, strv_length(p->kept), sizeof(char *), compare_string)
                       ? 0
                       : TREE_WALK_REMOVE;
}

/* ---- unpacking
 * --------------------------------------------------------------------------------------------------------- */

static int unpack_bytes(const void *packed, size_t size, Buffer *out, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *a = archive_read_new();
        _cleanup_free_ char *chunk = xmalloc(1 << 16);
        struct archive_entry *entry;
        ssize_t n;

        archive_read_support_format_raw(a);
        archive_read_support_filter_xz(a);
        archive_read_support_filter_zstd(a);
        archive_read_support_filter_gzip(a);
        if (archive_read_open_memory(a, packed, size) != ARCHIVE_OK ||
            archive_read_next_header(a, &entry) != ARCHIVE_OK)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "not a compressed module: %s",
                                 archive_error_string(a));
        /* The raw format takes anything; without a filter nobody looked at what it is. */
        if (archive_filter_code(a, 0) == ARCHIVE_FILTER_NONE)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "not a compressed module");
        while ((n = archive_read_data(a, chunk, 1 << 16)) > 0) {
                if (out->size + (size_t) n > MODULE_SIZE_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "larger than %zu bytes", MODULE_SIZE_MAX);
                buffer_append(out, chunk, (size_t) n);
        }
        if (n < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "damaged: %s", archive_error_string(a));
        return 0;
}

static int unpack_module(Tree *t, const char *path, Error *reterr) {
        _cleanup_free_ char *packed = NULL, *plain_path = NULL;
        _cleanup_buffer_ Buffer plain = {};
        Node *n = tree_lookup(t, path);
        const Inode *i = n->inode;
        size_t size;
        int r;

        r = tree_read_file(t, n, MODULE_SIZE_MAX, &packed, &size, reterr);
        if (r >= 0)
                r = unpack_bytes(packed, size, &plain, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        plain_path = xstrndup(path, strlen(path) - suffix_length(path));
        _cleanup_free_ char *ko = xasprintf("%s.ko", plain_path);
        NodeAttributes a = {
                .mode = i->mode & 07777, .uid = i->uid, .gid = i->gid, .mtime = i->mtime, .package = i->package
        };
        r = tree_add_file(t, ko, &a, plain.data ?: "", plain.size, NULL, reterr);
        if (r >= 0)
                tree_remove(t, path);
        return r;
}

static int list_packed(Tree *t, Node *n, const char *path, void *userdata) {
        if (node_is_file(n) && suffix_length(n->name) > strlen(".ko"))
                strv_extend(userdata, path);
        return 0;
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
        _cleanup_strv_free_ char **packed = NULL;
        Node *n = tree_lookup(t, folder);
        int r;

        if (recipe->modules) {
                Pruning p = { .prefix = strlen(folder) + 1 };

                r = collect_kept(t, folder, recipe, &p.kept, reterr);
                if (r < 0)
                        return r;
                if (!p.kept) {
                        error_set(reterr, ENOENT, REFUSAL_BAD_VALUE, "Modules= matches no module of this kernel");
                        return error_hint(
                                reterr,
                                "Globs are matched against paths like fs/ext4/ext4.ko; fs/ext4 names all below it.");
                }
                tree_walk(t, n, prune_node, &p);
                strv_free(p.kept);
        }
        tree_walk(t, n, list_packed, &packed);
        STRV_FOREACH (path, packed) {
                r = unpack_module(t, *path, reterr);
                if (r < 0)
                        return r;
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
