/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "gate.h"
#include "io.h"

#define FACTORY_ETC "/usr/share/factory/etc"
/* Private keys are small; a key inside a larger file is somebody's test data. */
#define KEY_FILE_MAX ((uint64_t) 256 << 10)
#define TEXT_MAX ((size_t) 4 << 20)
#define LINKS_MAX 40 /* as the kernel has it */

static const struct {
        const char *name, *what, *remedy;
} checks[] = {
        { "private-key", "holds a private key", "keys are made on the device, never in an image: remove the file" },
        { "password-hash", "an account can be used with a password that everybody knows",
          "lock it (RootPassword=locked), and let the device's owner set one" },
        { "machine-id", "holds a machine id", "every machine needs its own: remove the file" },
        { "seed", "holds a seed or secret", "every machine needs its own: remove the file" },
        { "setgid-root", "runs with another's rights by accident",
          "give it its right group, or clear the bit with a tmpfiles line" },
        { "unowned-id", "belongs to an id that ids.lock does not name", "add the account with a sysusers.d file" },
        { "dangling-link", "leads to nothing", "add the package it leads to, or drop the link with Drop=" },
        { "world-writable", "anybody may write it", "clear the bit" },
        { "device-node", "is not a file, folder or link", "devices are made by the kernel: remove it" },
};

void gate_report_done(GateReport *r) {
        for (size_t i = 0; i < r->n_findings; i++) {
                free(r->findings[i].path);
                free(r->findings[i].package);
                free(r->findings[i].detail);
        }
        free(r->findings);
        *r = (GateReport){};
}

typedef struct Gate {
        const Recipe *recipe;
        const Ids *ids;
        GateReport *report;
        bool *used; /* parallel to the recipe's exceptions */
        Error *reterr;
} Gate;

static void find(Gate *g, const char *check, const Node *n, const char *path, char *detail) {
        GateReport *r = g->report;
        GateFinding f = {
                .check = check, .path = xstrdup(path), .package = xstrdup(n->inode->package), .detail = detail
        };

        for (size_t i = 0; i < g->recipe->n_gate_exceptions; i++) {
                const struct GateException *e = &g->recipe->gate_exceptions[i];
                const char *etc = startswith(path, FACTORY_ETC);
                _cleanup_free_ char *running = etc ? xasprintf("/etc%s", etc) : NULL;

                if (!streq(e->check, check))
                        continue;
                if (recipe_glob_matches(e->path_glob, path) ||
                    (running && recipe_glob_matches(e->path_glob, running))) {
                        f.allowed = true;
                        f.reason = e->reason;
                        g->used[i] = true;
                }
        }
        r->n_refused += !f.allowed;
        GROW(r->findings, r->n_findings, r->n_allocated);
        r->findings[r->n_findings++] = f;
}

/* ---- single checks --------------------------------------------------------------------------------------- */

static bool holds_private_key(const char *text, size_t size) {
        static const char begin[] = "-----BEGIN ";

        if (size >= 4 && memcmp(text, "\177ELF", 4) == 0)
                return false;
        for (const char *p = text; (p = memmem(p, size - (size_t) (p - text), begin, sizeof(begin) - 1)); p++) {
                const char *end = memchr(p, '\n', size - (size_t) (p - text));
                size_t length = end ? (size_t) (end - p) : size - (size_t) (p - text);

                /* At the start of a line, and a whole line: programs hold the words without the rest. */
                if ((p == text || p[-1] == '\n') && length < 80 && memmem(p, length, "PRIVATE KEY-----", 16) &&
                    size - (size_t) (p - text) > length + 32)
                        return true;
        }
        return false;
}

static int check_content(Gate *g, Tree *t, Node *n, const char *path) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        if (n->inode->size == 0 || n->inode->size > KEY_FILE_MAX)
                return 0;
        r = tree_read_file(t, n, KEY_FILE_MAX, &text, &size, g->reterr);
        if (r < 0)
                return r;
        if (holds_private_key(text, size))
                find(g, "private-key", n, path, NULL);
        if (streq(path, FACTORY_ETC "/machine-id"))
                find(g, "machine-id", n, path, NULL);
        if (streq(n->name, "random-seed") || streq(n->name, "credential.secret"))
                find(g, "seed", n, path, NULL);
        return 0;
}

/* The second field of passwd(5) and shadow(5). passwd's "x" leaves the decision to shadow; a hash there counts as well.
 */
static int check_passwords(Gate *g, Tree *t, const char *path, const char *elsewhere) {
        Node *n = tree_lookup(t, path);
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        int r;

        if (!n)
                return 0;
        r = tree_read_file(t, n, TEXT_MAX, &text, NULL, g->reterr);
        if (r < 0)
                return r;
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines) {
                const char *hash = strchr(*line, ':');

                if (!hash || hash[1] == '!' || hash[1] == '*' || (elsewhere && startswith(hash + 1, elsewhere)))
                        continue;
                find(g, "password-hash", n, path,
                     xasprintf("account %.*s %s", (int) (hash - *line), *line,
                               hash[1] == ':' ? "has an empty password" : "has a password hash"));
        }
        return 0;
}

static void check_mode(Gate *g, Node *n, const char *path) {
        const Inode *i = n->inode;

        if (node_is_symlink(n))
                return;
        if (!node_is_file(n) && !node_is_folder(n)) {
                find(g, "device-node", n, path, NULL);
                return;
        }
        if (node_is_file(n) && (i->mode & S_ISGID) && (i->mode & S_IXGRP) && i->gid == 0)
                find(g, "setgid-root", n, path, xstrdup("is setgid with group root"));
        if (node_is_file(n) && (i->mode & S_ISUID) && i->uid != 0)
                find(g, "setgid-root", n, path, xasprintf("is setuid for user id %u", i->uid));
        if ((i->mode & S_IWOTH) && !(node_is_folder(n) && (i->mode & S_ISVTX)))
                find(g, "world-writable", n, path, NULL);
}

static void check_owner(Gate *g, Node *n, const char *path) {
        const Inode *i = n->inode;

        if (!ids_has_uid(g->ids, i->uid))
                find(g, "unowned-id", n, path, xasprintf("user id %u", i->uid));
        if (!ids_has_gid(g->ids, i->gid))
                find(g, "unowned-id", n, path, xasprintf("group id %u", i->gid));
}

/* What lies on state or API file systems cannot be known. */
static bool is_unknown(const char *path) {
        static const char *const unknown[] = { "/proc", "/run",  "/dev", "/sys", "/var", "/tmp",
                                               "/home", "/root", "/srv", "/opt", "/mnt", "/media" };

        for (size_t i = 0; i < ELEMENTSOF(unknown); i++)
                if (streq(path, unknown[i]))
                        return true;
        return false;
}

/* One step down on the running system, where /bin and the like are links into /usr. Takes over folder. */
static char *step_down(char *folder, const char *word, size_t length) {
        static const char *const merged[] = { "bin", "sbin", "lib", "lib64" };
        bool in_usr = false;
        char *path;

        for (size_t i = 0; !*folder && i < ELEMENTSOF(merged); i++)
                in_usr = in_usr || (strlen(merged[i]) == length && strncmp(word, merged[i], length) == 0);
        path = xasprintf("%s%s/%.*s", folder, in_usr ? "/usr" : "", (int) length, word);
        free(folder);
        return path;
}

/* Where a link leads on the running system, word by word, for any folder on the way may be a link as well. Returns
 * false only for what is certainly absent. */
static bool leads_somewhere(Tree *t, const char *folder, const char *target) {
        _cleanup_free_ char *here = xstrdup(*target == '/' ? "" : folder), *rest = xstrdup(target);
        size_t done = 0, length;
        unsigned links = LINKS_MAX;

        for (;; done += length) {
                const char *word = rest + (done += strspn(rest + done, "/")), *etc;
                _cleanup_free_ char *in_tree = NULL, *more = NULL;
                Node *n;

                length = strcspn(word, "/");
                if (length == 0)
                        return true;
                if (length <= 2 && strncmp(word, "..", length) == 0) {
                        if (length == 2 && *here)
                                *strrchr(here, '/') = 0;
                        continue;
                }
                here = step_down(here, word, length);
                if (is_unknown(here))
                        return true;
                etc = startswith(here, "/etc");
                in_tree = etc && (!*etc || *etc == '/') ? xasprintf(FACTORY_ETC "%s", etc) : xstrdup(here);
                n = tree_lookup(t, in_tree);
                if (!n || (node_is_symlink(n) && links-- == 0))
                        return false;
                if (node_is_symlink(n)) {
                        more = xasprintf("%s/%s", n->inode->target, word + length);
                        *(*more == '/' ? here : strrchr(here, '/')) = 0;
                        free(rest);
                        rest = TAKE_PTR(more);
                        done = length = 0;
                }
        }
}

static int check_node(Tree *t, Node *n, const char *path, void *userdata) {
        Gate *g = userdata;

        check_mode(g, n, path);
        check_owner(g, n, path);
        if (node_is_symlink(n)) {
                _cleanup_free_ char *folder = path_dirname(path);
                const char *etc = startswith(folder, FACTORY_ETC);
                _cleanup_free_ char *running = etc ? xasprintf("/etc%s", etc) : xstrdup(folder);

                if (!leads_somewhere(t, running, n->inode->target))
                        find(g, "dangling-link", n, path,
                             xasprintf("leads to %s, which is not there", n->inode->target));
        }
        return node_is_file(n) ? check_content(g, t, n, path) : 0;
}

/* ---- the verdict
 * ---------------------------------------------------------------------------------------------------------- */

static int verdict(Gate *g) {
        _cleanup_buffer_ Buffer b = {};
        size_t shown = 0;

        for (size_t c = 0; c < ELEMENTSOF(checks); c++) {
                bool first = true;

                for (size_t i = 0; i < g->report->n_findings; i++) {
                        const GateFinding *f = &g->report->findings[i];

                        if (f->allowed || !streq(f->check, checks[c].name))
                                continue;
                        if (first)
                                buffer_printf(&b, "\n%s: %s", checks[c].name, checks[c].remedy);
                        first = false;
                        buffer_printf(&b, "\n  %s %s%s%s%s", f->path, f->detail ?: checks[c].what,
                                      f->package ? " (package " : "", f->package ?: "", f->package ? ")" : "");
                        shown++;
                }
        }
        for (size_t i = 0; i < g->recipe->n_gate_exceptions; i++)
                if (!g->used[i]) {
                        const struct GateException *e = &g->recipe->gate_exceptions[i];

                        buffer_printf(&b, "\n%s: the exception %s:%s matches nothing any more: remove it", e->where,
                                      e->check, e->path_glob);
                        shown++;
                }
        if (shown == 0)
                return 0;
        error_set(g->reterr, EPERM, REFUSAL_GATE, "the finished tree breaks %zu rule%s:%s", shown,
                  shown == 1 ? "" : "s", b.data);
        return error_hint(g->reterr,
                          "What is right as it is can be allowed in the recipe: [Gate] Allow=CHECK:PATH: reason");
}

int gate_check(Tree *t, const Recipe *recipe, const Ids *ids, GateReport *ret, Error *reterr) {
        _cleanup_free_ bool *used = xnew(bool, recipe->n_gate_exceptions);
        Gate g = { .recipe = recipe, .ids = ids, .report = ret, .used = used, .reterr = reterr };
        int r;

        r = tree_walk(t, t->root, check_node, &g);
        if (r >= 0)
                r = check_passwords(&g, t, FACTORY_ETC "/passwd", "x:");
        if (r >= 0)
                r = check_passwords(&g, t, FACTORY_ETC "/shadow", NULL);
        if (r < 0)
                return r;
        return verdict(&g);
}
