/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fnmatch.h>
#include <limits.h>

#include "io.h"
#include "stateless.h"

#define TEXT_MAX ((size_t) 4 << 20)
#define FACTORY "/usr/share/factory"

/* ---- what the recipe leaves out
 * --------------------------------------------------------------------------------------- */

/* Links that lead somewhere, so that those cut off by a removal can be told from those that upstream ships dangling. */
typedef struct LinkList {
        char **paths;
        size_t n, allocated;
} LinkList;

static int collect_link(Tree *t, Node *n, const char *path, void *userdata) {
        LinkList *l = userdata;

        if (node_is_symlink(n) && tree_resolve(t, path)) {
                GROW(l->paths, l->n, l->allocated);
                l->paths[l->n++] = xstrdup(path);
        }
        return 0;
}

/* Takes away the collected links that lead nowhere any more, and frees the list. */
static void remove_cut_links(Tree *t, LinkList *l) {
        for (size_t i = 0; i < l->n; i++) {
                if (tree_lookup(t, l->paths[i]) && !tree_resolve(t, l->paths[i]))
                        tree_remove(t, l->paths[i]);
                free(l->paths[i]);
        }
        free(l->paths);
        *l = (LinkList){};
}

static int drop_node(Tree *t, Node *n, const char *path, void *userdata) {
        const Recipe *r = userdata;

        if (!n->parent)
                return 0;
        if (n->inode->package && strv_contains(r->remove, n->inode->package) && !node_is_folder(n))
                return TREE_WALK_REMOVE;
        if (recipe_path_is_dropped(r, path)) {
                /* A group may name a folder of which something must stay (licence texts), so folders go by their
                 * content. */
                if (!node_is_folder(n))
                        return TREE_WALK_REMOVE;
        }
        return 0;
}

static int mark_filled(Tree *t, Node *n, const char *path, void *userdata) {
        n->inode->mark = n->n_children > 0;
        return 0;
}

/* Folders that lost all they held because of a removal (mark_filled() saw something in them); a folder that was empty
 * before is somebody's mount point or cache. */
static bool prune_empty(Tree *t, Node *n, const Recipe *r) {
        for (size_t i = n->n_children; i > 0; i--) {
                Node *child = n->children[i - 1];

                if (node_is_folder(child) && prune_empty(t, child, r))
                        node_remove(t, child);
        }
        if (n->n_children > 0 || !n->parent)
                return false;
        _cleanup_free_ char *path = node_path(n);
        return n->inode->mark || recipe_path_is_dropped(r, path);
}

int stateless_remove_content(Tree *t, const Recipe *r, Error *reterr) {
        LinkList links = {};
        Node *usr = tree_lookup(t, "/usr");

        STRV_FOREACH (name, r->remove) {
                _cleanup_free_ char *list = xasprintf("/var/lib/dpkg/info/%s.list", *name);
                _cleanup_free_ char *arch_list = xasprintf("/var/lib/dpkg/info/%s:%s.list", *name, r->architecture);

                if (!tree_lookup(t, list) && !tree_lookup(t, arch_list)) {
                        error_set(reterr, ENOENT, REFUSAL_BAD_VALUE, "Remove=%s: this package is not installed", *name);
                        return error_hint(reterr,
                                          "Take it out of Remove=; \"sealab explain\" shows which file it stands in.");
                }
        }
        if (!usr)
                return error_set(reterr, ENOENT, REFUSAL_BAD_FORMAT, "the tree has no /usr");
        tree_walk(t, t->root, collect_link, &links);
        tree_walk(t, t->root, mark_filled, NULL);
        tree_walk(t, t->root, drop_node, (void *) r);
        (void) prune_empty(t, usr, r);
        remove_cut_links(t, &links);
        (void) prune_empty(t, usr, r);
        return 0;
}

/* ---- alternatives
 * --------------------------------------------------------------------------------------------------------- */

static int flatten_link(Tree *t, Node *n, const char *path, void *userdata) {
        Node *end;

        if (!node_is_symlink(n) || !startswith(n->inode->target, "/etc/alternatives/"))
                return 0;
        end = tree_resolve(t, path);
        /* Its target went with a removed package or dropped manual page. */
        if (!end || end == n)
                return TREE_WALK_REMOVE;
        free(n->inode->target);
        n->inode->target = node_path(end);
        n->inode->size = strlen(n->inode->target);
        return 0;
}

int stateless_flatten_alternatives(Tree *t, Error *reterr) {
        static const char *const places[] = { "/usr", "/etc" };

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                Node *n = tree_lookup(t, places[i]);
                int r = n ? tree_walk(t, n, flatten_link, NULL) : 0;

                if (r < 0)
                        return error_errno(reterr, r, "cannot resolve the alternatives");
        }
        tree_remove(t, "/etc/alternatives");
        tree_remove(t, "/var/lib/dpkg/alternatives");
        return 0;
}

/* ---- traces
 * ------------------------------------------------------------------------------------------------------------------ */

/* Globs over paths; FNM_PATHNAME, so a star stays within one folder. A match takes everything below with it. */
static const char *const traces[] = {
        "/etc/machine-id",
        "/etc/ssh/ssh_host_*",
        "/etc/.pwd.lock",
        "/etc/*.lock",
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
        "/etc/subuid-",
        "/etc/subgid-",
        "/etc/.updated",
        /* A key pair made while packages were installed; a certificate is worth nothing without its key. */
        "/etc/ssl/private/ssl-cert-snakeoil.key",
        "/etc/ssl/certs/ssl-cert-snakeoil.pem",
        /* package management that a sealed image has no use for */
        "/etc/apt",
        "/etc/dpkg",
        "/etc/kernel",
        "/etc/initramfs-tools",
        "/etc/rc?.d",
        "/etc/rcS.d",
        "/etc/init.d",
        "/etc/debconf.conf",
        "/var/lib/dpkg",
        "/var/lib/apt",
        "/var/lib/ucf",
        "/var/lib/initramfs-tools",
        "/var/lib/shells.state",
        "/var/lib/pam",
        "/var/backups/*",
        "/var/cache/*/*",
        "/var/cache/debconf",
        "/var/cache/ldconfig",
        "/var/cache/apt",
        "/var/lib/systemd/deb-*",
        "/var/.updated",
        "/var/lib/dbus/machine-id",
        "/var/lib/systemd/random-seed",
        "/var/lib/systemd/credential.secret",
        "/var/lib/systemd/catalog/database",
        "/var/lib/systemd/timers/*",
        "/var/log/*.log",
        "/var/log/*.gz",
        "/var/log/apt",
        "/var/log/faillog",
        "/var/log/lastlog",
        "/var/log/*tmp",
        "/var/tmp/*",
        "/var/lib/python/*",
        "/var/run",
        "/var/lock",
        "/root/.*",
        "/home/*",
        "/lost+found",
};

static int remove_trace(Tree *t, Node *n, const char *path, void *userdata) {
        if (n->parent)
                for (size_t i = 0; i < ELEMENTSOF(traces); i++)
                        if (fnmatch(traces[i], path, FNM_PATHNAME) == 0)
                                return TREE_WALK_REMOVE;
        return 0;
}

void stateless_remove_traces(Tree *t) {
        static const char *const places[] = { "/etc", "/var", "/root", "/home", "/lost+found" };
        Node *etc = tree_lookup(t, "/etc");
        LinkList links = {};

        if (etc)
                tree_walk(t, etc, collect_link, &links);
        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                Node *n = tree_lookup(t, places[i]);

                if (n)
                        tree_walk(t, n, remove_trace, NULL);
        }
        remove_cut_links(t, &links);
}

/* ---- state ----------------------------------------------------------------------------------------------- */

typedef struct Description {
        char **described; /* sorted paths that tmpfiles.d of the packages name already */
        Buffer lines;
        char **files; /* paths to move into the factory */
        Error *reterr;
} Description;

static void description_done(Description *d) {
        strv_free(d->described);
        strv_free(d->files);
        buffer_done(&d->lines);
}

static int collect_described(Tree *t, Description *d, Error *reterr) {
        Node *folder = tree_lookup(t, "/usr/lib/tmpfiles.d");

        for (size_t i = 0; folder && i < folder->n_children; i++) {
                _cleanup_free_ char *text = NULL;
                _cleanup_strv_free_ char **lines = NULL;
                int r;

                if (!node_is_file(folder->children[i]))
                        continue;
                r = tree_read_file(t, folder->children[i], TEXT_MAX, &text, NULL, reterr);
                if (r < 0)
                        return r;
                lines = strv_split(text, "\n");
                STRV_FOREACH (line, lines) {
                        _cleanup_strv_free_ char **words = strv_split(*line, " \t");

                        /* Only types that create something at exactly this path. */
                        if (strv_length(words) >= 2 && strchr("dDvqQLCfFpcb", words[0][0]))
                                strv_extend(&d->described, words[1]);
                }
        }
        strv_sort_unique(d->described);
        return 0;
}

static int compare_string(const void *a, const void *b) {
        return strcmp(a, *(char *const *) b);
}

/* tmpfiles.d(5), the second field: quoted if it must be. Only escapes that every version understands in this place:
 * those of quote and backslash. */
static void append_path(Buffer *b, const char *path) {
        const char *quote = strpbrk(path, " \t\"'\\") ? "\"" : "";

        buffer_puts(b, quote);
        for (; *path; path++) {
                if (strchr("\"\\", *path))
                        buffer_puts(b, "\\");
                else if (*path == '%')
                        buffer_puts(b, "%");
                buffer_append(b, path, 1);
        }
        buffer_puts(b, quote);
}

/* The last field: not quoted, but C's escapes are understood; a lone "-" would mean nothing at all. */
static void append_argument(Buffer *b, const char *text) {
        bool lone_dash = streq(text, "-");

        for (; *text; text++)
                if (*text == '%')
                        buffer_puts(b, "%%");
                else if (lone_dash || *text == ' ' || *text == '\t' || strchr("\\\"'", *text))
                        buffer_printf(b, "\\x%02x", (unsigned char) *text);
                else
                        buffer_append(b, text, 1);
}

static bool is_describable(const char *text) {
        for (; *text; text++)
                if ((unsigned char) *text < ' ' && *text != '\t')
                        return false;
        return true;
}

static int describe(Tree *t, Node *n, const char *path, void *userdata) {
        static const char *const made_by_systemd[] = { "/var", "/root", "/srv", "/home", "/mnt", "/media", "/opt" };
        Description *d = userdata;
        const Inode *i = n->inode;

        if (d->described && bsearch(path, d->described, strv_length(d->described), sizeof(char *), compare_string))
                return 0;
        for (size_t k = 0; k < ELEMENTSOF(made_by_systemd) - 3; k++)
                if (streq(path, made_by_systemd[k]))
                        return 0;
        if (!is_describable(path) || (node_is_symlink(n) && !is_describable(i->target)))
                return error_set(d->reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "%s: tmpfiles.d has no way to name a file with control characters", path);
        if (node_is_folder(n)) {
                buffer_puts(&d->lines, "d ");
                append_path(&d->lines, path);
                buffer_printf(&d->lines, " %04o %u %u -\n", i->mode & 07777, i->uid, i->gid);
        } else if (node_is_symlink(n)) {
                buffer_puts(&d->lines, "L ");
                append_path(&d->lines, path);
                buffer_puts(&d->lines, " - - - - ");
                append_argument(&d->lines, i->target);
                buffer_puts(&d->lines, "\n");
        } else if (node_is_file(n)) {
                buffer_puts(&d->lines, "C ");
                append_path(&d->lines, path);
                buffer_printf(&d->lines, " %04o %u %u - " FACTORY, i->mode & 07777, i->uid, i->gid);
                append_argument(&d->lines, path);
                buffer_puts(&d->lines, "\n");
                strv_extend(&d->files, path);
        }
        return 0;
}

int stateless_describe_state(Tree *t, int64_t epoch, Error *reterr) {
        static const char *const places[] = { "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var" };
        _cleanup_(description_done) Description d = { .reterr = reterr };
        int r;

        r = collect_described(t, &d, reterr);
        if (r < 0)
                return r;
        buffer_puts(&d.lines, "# Made from what the packages left outside /usr and /etc.\n");
        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                Node *n = tree_lookup(t, places[i]);

                r = n ? tree_walk(t, n, describe, &d) : 0;
                if (r < 0)
                        return r;
        }
        STRV_FOREACH (path, d.files) {
                _cleanup_free_ char *factory = xasprintf(FACTORY "%s", *path);

                r = tree_move(t, *path, factory, reterr);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                tree_remove(t, places[i]);
        return tree_add_file(t, "/usr/lib/tmpfiles.d/zz-sealab-state.conf",
                             &(NodeAttributes){ .mode = 0644, .mtime = epoch }, d.lines.data, d.lines.size, NULL,
                             reterr);
}

/* ---- only /usr is left
 * ------------------------------------------------------------------------------------------------------- */

static int list_leftover(Tree *t, Node *n, const char *path, void *userdata) {
        _cleanup_free_ char *why = NULL;

        if (node_is_folder(n))
                return 0;
        if (n->inode->package)
                why = xasprintf("%s (package %s)", path, n->inode->package);
        strv_extend(userdata, why ?: path);
        return 0;
}

int stateless_move_etc(Tree *t, Error *reterr) {
        _cleanup_strv_free_ char **leftover = NULL;
        int r;

        if (tree_lookup(t, "/etc")) {
                Node *etc = tree_lookup(t, "/etc");

                r = tree_copy(t, FACTORY "/etc", t, etc, reterr);
                if (r < 0)
                        return r;
                tree_remove(t, "/etc");
        }
        for (size_t i = t->root->n_children; i > 0; i--) {
                Node *n = t->root->children[i - 1];

                if (streq(n->name, "usr"))
                        continue;
                /* Links such as /bin -> usr/bin are made anew at boot on an empty root. */
                if (node_is_folder(n))
                        tree_walk(t, n, list_leftover, &leftover);
                else if (!node_is_symlink(n))
                        strv_extend(&leftover, n->name);
                node_remove(t, n);
        }
        if (leftover) {
                _cleanup_free_ char *list = NULL;

                strv_sort(leftover);
                list = strv_join(leftover, "\n  ");
                error_set(reterr, EINVAL, REFUSAL_GATE, "outside-usr: files lie outside /usr, /etc and /var:\n  %s",
                          list);
                return error_hint(
                        reterr,
                        "An image carries only /usr. Leave the package out, or move the files with an overlay.");
        }
        return 0;
}

static int set_time(Tree *t, Node *n, const char *path, void *userdata) {
        n->inode->mtime = *(int64_t *) userdata;
        return 0;
}

void stateless_set_times(Tree *t, int64_t epoch, int64_t usr_epoch) {
        Node *usr = tree_lookup(t, "/usr");

        tree_walk(t, t->root, set_time, &epoch);
        if (usr)
                usr->inode->mtime = usr_epoch;
}
