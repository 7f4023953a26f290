/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Package scripts take the next free number, so numbers depend on the order of installation and move when a package is
 * added. Rather than steering every script, the numbers are exchanged in the finished tree, where all their uses are
 * known. */

#include "accounts.h"

#define TEXT_MAX ((size_t) 4 << 20)
#define ACCOUNTS_MAX 10000
#define USER_FIELDS 7 /* passwd(5) */
#define GROUP_FIELDS 4

typedef struct Account {
        char **fields; /* of the line */
        uint32_t old_id, new_id;
} Account;

typedef struct AccountFile {
        Node *node;
        Account *accounts;
        size_t n_accounts, n_allocated;
} AccountFile;

typedef struct Renumbering {
        AccountFile users, groups;
} Renumbering;

static void account_file_done(AccountFile *f) {
        for (size_t i = 0; i < f->n_accounts; i++)
                strv_free(f->accounts[i].fields);
        free(f->accounts);
}

static void renumbering_done(Renumbering *r) {
        account_file_done(&r->users);
        account_file_done(&r->groups);
}

/* Unlike strv_split(), keeps empty fields: an account without a comment is common. */
static char **split_fields(const char *line) {
        char **fields = NULL;

        for (;;) {
                size_t n = strcspn(line, ":");

                strv_push(&fields, xstrndup(line, n));
                if (!line[n])
                        return fields;
                line += n + 1;
        }
}

static int read_accounts(Tree *t, const char *path, size_t n_fields, AccountFile *ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        int r;

        ret->node = tree_lookup(t, path);
        if (!ret->node)
                return error_set(reterr, ENOENT, REFUSAL_BAD_FORMAT, "the tree has no %s", path);
        r = tree_read_file(t, ret->node, TEXT_MAX, &text, NULL, reterr);
        if (r < 0)
                return r;
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines) {
                Account a = { .fields = split_fields(*line) };
                uint64_t id, group = 0;

                GROW(ret->accounts, ret->n_accounts, ret->n_allocated);
                ret->accounts[ret->n_accounts++] = a;
                if (strv_length(a.fields) != n_fields || !parse_u64(a.fields[2], &id) || id >= UINT32_MAX ||
                    (n_fields == USER_FIELDS && !parse_u64(a.fields[3], &group)) || group >= UINT32_MAX ||
                    ret->n_accounts > ACCOUNTS_MAX)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s holds a malformed line: %s", path,
                                         *line);
                ret->accounts[ret->n_accounts - 1].old_id = (uint32_t) id;
        }
        return 0;
}

static int compare_by_name(const void *a, const void *b) {
        return strcmp((*(Account *const *) a)->fields[0], (*(Account *const *) b)->fields[0]);
}

/* Names in alphabetic order: the numbers of new ones must not depend on the order in which packages made them. */
static int assign(AccountFile *f, Ids *ids, IdKind kind, Error *reterr) {
        _cleanup_free_ Account **sorted = xnew(Account *, f->n_accounts);

        for (size_t i = 0; i < f->n_accounts; i++)
                sorted[i] = &f->accounts[i];
        qsort(sorted, f->n_accounts, sizeof(sorted[0]), compare_by_name);
        for (size_t i = 0; i < f->n_accounts; i++) {
                int r = ids_assign(ids, kind, sorted[i]->fields[0], sorted[i]->old_id, &sorted[i]->new_id, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

static uint32_t renumber(const AccountFile *f, uint32_t id) {
        for (size_t i = 0; i < f->n_accounts; i++)
                if (f->accounts[i].old_id == id)
                        return f->accounts[i].new_id;
        return id; /* nobody's: the gate finds it */
}

/* struct posix_acl_xattr_entry of linux/posix_acl_xattr.h: le16 tag, le16 permissions, le32 id; after a le32 version.
 */
static void renumber_acl(const Renumbering *r, Inode *inode, const char *name) {
        const Xattr *x = inode_xattr(inode, name);
        _cleanup_free_ uint8_t *copy = NULL;

        if (!x || x->size < 4 || (x->size - 4) % 8 != 0)
                return;
        copy = xmemdup(x->value, x->size);
        for (size_t i = 4; i < x->size; i += 8) {
                uint8_t *e = copy + i;
                unsigned tag = e[0] | (unsigned) e[1] << 8;
                uint32_t id = e[4] | (uint32_t) e[5] << 8 | (uint32_t) e[6] << 16 | (uint32_t) e[7] << 24;

                if (tag == 0x02) /* ACL_USER */
                        id = renumber(&r->users, id);
                else if (tag == 0x08) /* ACL_GROUP */
                        id = renumber(&r->groups, id);
                else
                        continue;
                for (int k = 0; k < 4; k++)
                        e[4 + k] = (uint8_t) (id >> 8 * k);
        }
        tree_set_xattr(inode, name, copy, x->size);
}

/* Hard links reach the same inode by several names; it must be renumbered once. */
static int clear_mark(Tree *t, Node *n, const char *path, void *userdata) {
        n->inode->mark = 0;
        return 0;
}

static int renumber_node(Tree *t, Node *n, const char *path, void *userdata) {
        const Renumbering *r = userdata;
        Inode *i = n->inode;

        if (i->mark)
                return 0;
        i->mark = 1;
        i->uid = renumber(&r->users, i->uid);
        i->gid = renumber(&r->groups, i->gid);
        renumber_acl(r, i, "system.posix_acl_access");
        renumber_acl(r, i, "system.posix_acl_default");
        return 0;
}

static int write_accounts(Tree *t, const AccountFile *f, const AccountFile *groups_of_users, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i < f->n_accounts; i++) {
                const Account *a = &f->accounts[i];

                for (size_t k = 0; a->fields[k]; k++) {
                        uint64_t gid;

                        if (k > 0)
                                buffer_puts(&b, ":");
                        if (k == 2)
                                buffer_printf(&b, "%u", a->new_id);
                        else if (k == 3 && groups_of_users && parse_u64(a->fields[3], &gid))
                                buffer_printf(&b, "%u", renumber(groups_of_users, (uint32_t) gid));
                        else
                                buffer_puts(&b, a->fields[k]);
                }
                buffer_puts(&b, "\n");
        }
        return tree_replace_content(t, f->node, b.data ?: "", b.size, reterr);
}

/* sysusers.d(5): a quoted field, in which a percent sign begins a specifier. */
static void append_quoted(Buffer *b, const char *text) {
        buffer_puts(b, "\"");
        for (; *text; text++) {
                if (strchr("\"\\", *text))
                        buffer_puts(b, "\\");
                else if (*text == '%')
                        buffer_puts(b, "%");
                buffer_append(b, text, 1);
        }
        buffer_puts(b, "\"");
}

/* sysusers.d(5). Accounts of people (from 1000 on) are not the vendor's to make. */
static int write_sysusers(Tree *t, const Renumbering *r, int64_t epoch, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, "# The numbers of ids.lock: the same on every machine, in every version.\n");
        for (size_t i = 0; i < r->groups.n_accounts; i++)
                if (r->groups.accounts[i].new_id < 1000)
                        buffer_printf(&b, "g %s %u\n", r->groups.accounts[i].fields[0], r->groups.accounts[i].new_id);
        for (size_t i = 0; i < r->users.n_accounts; i++) {
                const Account *a = &r->users.accounts[i];
                uint64_t gid = 0;

                if (a->new_id >= 1000 || a->new_id == 0 || !parse_u64(a->fields[3], &gid))
                        continue;
                buffer_printf(&b, "u %s %u:%u ", a->fields[0], a->new_id, renumber(&r->groups, (uint32_t) gid));
                append_quoted(&b, a->fields[4]);
                buffer_printf(&b, " %s %s\n", *a->fields[5] ? a->fields[5] : "-", *a->fields[6] ? a->fields[6] : "-");
        }
        return tree_add_file(t, "/usr/lib/sysusers.d/00-sealab-ids.conf",
                             &(NodeAttributes){ .mode = 0644, .mtime = epoch }, b.data, b.size, NULL, reterr);
}

int accounts_pin(Tree *t, Ids *ids, int64_t epoch, Error *reterr) {
        _cleanup_(renumbering_done) Renumbering n = {};
        int r;

        r = read_accounts(t, "/etc/passwd", USER_FIELDS, &n.users, reterr);
        if (r >= 0)
                r = read_accounts(t, "/etc/group", GROUP_FIELDS, &n.groups, reterr);
        if (r >= 0)
                r = assign(&n.groups, ids, ID_GROUP, reterr);
        if (r >= 0)
                r = assign(&n.users, ids, ID_USER, reterr);
        if (r < 0)
                return error_prefix(reterr, "accounts");
        tree_walk(t, t->root, clear_mark, NULL);
        tree_walk(t, t->root, renumber_node, &n);
        r = write_accounts(t, &n.users, &n.groups, reterr);
        if (r >= 0)
                r = write_accounts(t, &n.groups, NULL, reterr);
        if (r >= 0)
                r = write_sysusers(t, &n, epoch, reterr);
        return r;
}
