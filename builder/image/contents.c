/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "contents.h"

#define PASSWD_SIZE_MAX ((size_t) 4 << 20)
/* Paths named in a refusal: enough to see what kind of thing went wrong. */
#define DIFFERENCES_NAMED 5

static void entry_done(ContentsEntry *e) {
        free(e->path);
        free(e->target);
        free(e->hard_link);
        free(e->package);
        for (size_t i = 0; i < e->n_xattrs; i++) {
                free(e->xattrs[i].name);
                free(e->xattrs[i].value);
        }
        free(e->xattrs);
        *e = (ContentsEntry){};
}

static void account_done(Account *a) {
        free(a->name);
        free(a->home);
        free(a->shell);
        free(a->members);
        *a = (Account){};
}

Contents *contents_free(Contents *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_entries; i++)
                entry_done(&c->entries[i]);
        for (size_t i = 0; i < c->n_users; i++)
                account_done(&c->users[i]);
        for (size_t i = 0; i < c->n_groups; i++)
                account_done(&c->groups[i]);
        free(c->entries);
        free(c->users);
        free(c->groups);
        free(c->image_id);
        free(c->version);
        free(c);
        return NULL;
}

int contents_path_compare(const char *a, const char *b) {
        for (;; a++, b++) {
                unsigned char x = *a, y = *b;

                if (x == y) {
                        if (x == 0)
                                return 0;
                        continue;
                }
                /* The end of a name sorts before every character: a folder's content comes before "folder-other". */
                if (x == 0 || y == 0)
                        return x == 0 ? -1 : 1;
                if (x == '/' || y == '/')
                        return x == '/' ? -1 : 1;
                return x < y ? -1 : 1;
        }
}

/* --- from a tree --- */

typedef struct Collector {
        Contents *contents;
        size_t prefix_size; /* of the path of /usr in the tree */
        /* First path of each hard-linked inode: index + 1 into entries stands in Inode.mark. */
} Collector;

static int clear_mark(Tree *t, Node *n, const char *path, void *userdata) {
        n->inode->mark = 0;
        return 0;
}

static int collect(Tree *t, Node *n, const char *path, void *userdata) {
        Collector *collector = userdata;
        Contents *c = collector->contents;
        Inode *inode = n->inode;
        ContentsEntry e = {
                .mode = inode->mode,
                .uid = inode->uid,
                .gid = inode->gid,
                .package = xstrdup(inode->package),
        };

        e.path = xasprintf("/usr%s", path + collector->prefix_size);
        if (S_ISREG(e.mode)) {
                e.size = inode->size;
                e.digest = inode->digest;
        } else if (S_ISLNK(e.mode))
                e.target = xstrdup(inode->target);
        else if (S_ISBLK(e.mode) || S_ISCHR(e.mode))
                e.rdev = inode->rdev;
        if (inode->n_xattrs > 0) {
                e.xattrs = xnew(Xattr, inode->n_xattrs);
                e.n_xattrs = inode->n_xattrs;
        }
        for (size_t i = 0; i < inode->n_xattrs; i++)
                e.xattrs[i] = (Xattr){
                        .name = xstrdup(inode->xattrs[i].name),
                        .value = xmemdup(inode->xattrs[i].value, inode->xattrs[i].size),
                        .size = inode->xattrs[i].size,
                };
        if (!S_ISDIR(e.mode)) {
                if (inode->mark > 0)
                        e.hard_link = xstrdup(c->entries[inode->mark - 1].path);
                else
                        inode->mark = c->n_entries + 1;
        }
        GROW(c->entries, c->n_entries, c->n_entries_allocated);
        c->entries[c->n_entries++] = e;
        return 0;
}

static int account_compare(const void *a, const void *b) {
        return strcmp(((const Account *) a)->name, ((const Account *) b)->name);
}

/* Splits a line of passwd(5) or group(5) in place; false unless it has n fields. */
static bool split_fields(char *line, char **fields, size_t n) {
        for (size_t i = 0; i < n; i++) {
                fields[i] = line;
                line = strchr(line, ':');
                if (!line)
                        return i == n - 1;
                *line++ = '\0';
        }
        return false;
}

static bool parse_account(char *line, bool user, Account *ret) {
        char *f[7];
        uint64_t id, gid = 0;

        if (!split_fields(line, f, user ? 7 : 4) || isempty(f[0]))
                return false;
        if (!parse_u64(f[2], &id) || id > UINT32_MAX)
                return false;
        if (user && (!parse_u64(f[3], &gid) || gid > UINT32_MAX))
                return false;
        *ret = (Account){ .name = xstrdup(f[0]), .id = (uint32_t) id, .gid = (uint32_t) gid };
        if (user) {
                ret->home = xstrdup(f[5]);
                ret->shell = xstrdup(f[6]);
        } else
                ret->members = xstrdup(f[3]);
        return true;
}

static int read_accounts(Tree *t, const char *usr_path, bool user, Account **items, size_t *n, size_t *n_allocated,
                         Error *reterr) {
        _cleanup_free_ char *path =
                xasprintf("%s/share/factory/etc/%s", streq(usr_path, "/") ? "" : usr_path, user ? "passwd" : "group");
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        Node *node = tree_lookup(t, path);
        size_t size;
        int r;

        if (!node || !node_is_file(node))
                return 0;
        r = tree_read_file(t, node, PASSWD_SIZE_MAX, &text, &size, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines) {
                GROW(*items, *n, *n_allocated);
                if (!parse_account(*line, user, &(*items)[*n]))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: not a line of %s(5): \"%s\"", path,
                                         user ? "passwd" : "group", *line);
                (*n)++;
        }
        if (*n > 0)
                qsort(*items, *n, sizeof(**items), account_compare);
        return 0;
}

int contents_from_tree(Tree *t, const char *usr_path, const char *image_id, const char *version, Contents **ret,
                       Error *reterr) {
        _cleanup_(contents_freep) Contents *c = xnew(Contents, 1);
        Node *usr = tree_lookup(t, usr_path);
        Collector collector = { .contents = c, .prefix_size = streq(usr_path, "/") ? 0 : strlen(usr_path) };
        int r;

        if (!usr || !node_is_folder(usr))
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "the tree has no folder %s", usr_path);
        c->image_id = xstrdup(image_id);
        c->version = xstrdup(version);
        tree_walk(t, usr, clear_mark, NULL);
        tree_walk(t, usr, collect, &collector);
        if (streq(usr_path, "/") && c->n_entries > 0) {
                free(c->entries[0].path); /* the walk calls its root "/" */
                c->entries[0].path = xstrdup("/usr");
        }
        r = read_accounts(t, usr_path, true, &c->users, &c->n_users, &c->n_users_allocated, reterr);
        if (r < 0)
                return r;
        r = read_accounts(t, usr_path, false, &c->groups, &c->n_groups, &c->n_groups_allocated, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

/* --- questions --- */

const ContentsEntry *contents_find(const Contents *c, const char *path) {
        size_t low = 0, high = c->n_entries;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int d = contents_path_compare(path, c->entries[middle].path);

                if (d == 0)
                        return &c->entries[middle];
                if (d < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

const Xattr *contents_xattr(const ContentsEntry *e, const char *name) {
        for (size_t i = 0; i < e->n_xattrs; i++)
                if (streq(e->xattrs[i].name, name))
                        return &e->xattrs[i];
        return NULL;
}

uint64_t contents_entry_bytes(const ContentsEntry *e) {
        return S_ISREG(e->mode) && !e->hard_link ? e->size : 0;
}

static bool xattrs_equal(const ContentsEntry *a, const ContentsEntry *b) {
        if (a->n_xattrs != b->n_xattrs)
                return false;
        for (size_t i = 0; i < a->n_xattrs; i++)
                if (!streq(a->xattrs[i].name, b->xattrs[i].name) || a->xattrs[i].size != b->xattrs[i].size ||
                    memcmp(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].size) != 0)
                        return false;
        return true;
}

static TreeDifference entry_difference(const ContentsEntry *a, const ContentsEntry *b) {
        unsigned d = 0;

        if ((a->mode & S_IFMT) != (b->mode & S_IFMT))
                return TREE_TYPE;
        if (a->mode != b->mode)
                d |= TREE_MODE;
        if (a->uid != b->uid || a->gid != b->gid)
                d |= TREE_OWNER;
        if (a->size != b->size || !sha256_equal(&a->digest, &b->digest) || !streq_ptr(a->target, b->target) ||
            a->rdev != b->rdev)
                d |= TREE_CONTENT;
        if (!xattrs_equal(a, b))
                d |= TREE_XATTRS;
        if (!streq_ptr(a->hard_link, b->hard_link))
                d |= TREE_LINKS;
        return (TreeDifference) d;
}

void contents_diff(const Contents *a, const Contents *b, ContentsDiffFunc f, void *userdata) {
        size_t i = 0, j = 0;

        while (i < a->n_entries || j < b->n_entries) {
                int order = i == a->n_entries   ? 1
                            : j == b->n_entries ? -1
                                                : contents_path_compare(a->entries[i].path, b->entries[j].path);

                if (order < 0)
                        f(&a->entries[i++], NULL, TREE_ONLY_IN_A, userdata);
                else if (order > 0)
                        f(NULL, &b->entries[j++], TREE_ONLY_IN_B, userdata);
                else {
                        TreeDifference d = entry_difference(&a->entries[i], &b->entries[j]);

                        if (d != 0)
                                f(&a->entries[i], &b->entries[j], d, userdata);
                        i++;
                        j++;
                }
        }
}

typedef struct Named {
        Buffer paths;
        size_t n;
} Named;

static void name_difference(const ContentsEntry *a, const ContentsEntry *b, TreeDifference what, void *userdata) {
        Named *named = userdata;

        if (named->n++ < DIFFERENCES_NAMED)
                buffer_printf(&named->paths, "%s%s", named->n > 1 ? ", " : "", a ? a->path : b->path);
}

int contents_check_equal(const Contents *recorded, const Contents *found, Error *reterr) {
        Named named = {};
        int r = 0;

        contents_diff(recorded, found, name_difference, &named);
        if (named.n > 0)
                r = error_set(reterr, EBADMSG, REFUSAL_DIFFERENT,
                              "the image is not what its contents manifest says in %zu paths: %s%s", named.n,
                              named.paths.data, named.n > DIFFERENCES_NAMED ? ", ..." : "");
        buffer_done(&named.paths);
        return r;
}
