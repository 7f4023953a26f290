/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: the child walks the image through liberofs and sends one record for each entry, parents first, contents
 * behind their record; the parent puts them into the tree. A damaged or hostile image may crash the child, which is an
 * error here like any other, and may send nonsense, which the tree's own rules for names and the limits below refuse.
 *
 * Stricter than liberofs where that would hide damage: nothing is read from behind the end (it would pass for zeros),
 * names in a folder must rise, a folder has one parent, and link counts must be true. */

#include <search.h>

#include "erofs-source.h"
#include "erofs.h"
#include "liberofs.h"

#include "erofs/inode.h"
#include "erofs/xattr.h"

/* Compressed clusters that cross the end of a piece are unpacked twice; this makes them few. */
#define PIECE_SIZE ((size_t) 4 << 20)
#define TARGET_MAX 4095

typedef enum RecordKind { RECORD_ENTRY = 1, RECORD_LINK, RECORD_END } RecordKind;

/* Followed by path, target (or the path that a link names), and for each attribute two uint32_t sizes, name and value;
 * then by the content where contents are stored. No string is terminated. */
typedef struct Record {
        uint32_t kind;
        uint32_t mode, uid, gid;
        uint32_t path_size, target_size, n_xattrs;
        int64_t mtime;
        uint64_t rdev;
        uint64_t size;
        Sha256 digest;
} Record;

/* ---- in the child ---------------------------------------------------------------------------------------- */

typedef struct Seen {
        erofs_nid_t nid;
        char *path; /* owned; NULL for folders */
        int type;
        unsigned n_links, n_found;
} Seen;

typedef struct Walker {
        struct erofs_sb_info *super;
        const ErofsReadOptions *opt; /* borrowed */
        int fd;
        FILE *to_parent; /* borrowed */
        void *seen;      /* search tree of Seen, by nid */
        uint64_t n_entries, contents_size;
        char *piece; /* PIECE_SIZE */
        Hasher *hasher;
} Walker;

static void put(Walker *w, const void *data, size_t size) {
        if (fwrite(data, 1, size, w->to_parent) != size)
                _exit(EXIT_FAILURE);
}

static int compare_seen(const void *a, const void *b) {
        const Seen *x = a, *y = b;

        return x->nid < y->nid ? -1 : x->nid > y->nid;
}

/* The record of this inode, and whether it is new. */
static Seen *remember(Walker *w, erofs_nid_t nid, bool *ret_new) {
        Seen *seen = xnew(Seen, 1), **found;

        seen->nid = nid;
        found = tsearch(seen, &w->seen, compare_seen);
        if (!found)
                abort();
        *ret_new = *found == seen;
        if (!*ret_new)
                free(seen);
        return *found;
}

static char *read_target(struct erofs_inode *inode, const char *path) {
        struct erofs_vfile file;
        char *target;
        int r;

        if (inode->i_size == 0 || inode->i_size > TARGET_MAX)
                erofs_source_bad(path, "a symbolic link of %" PRIu64 " bytes", inode->i_size);
        target = xnew(char, inode->i_size + 1);
        r = erofs_iopen(&file, inode);
        if (r >= 0)
                r = erofs_pread(&file, target, inode->i_size, 0);
        if (r < 0)
                erofs_source_bad(path, "cannot read the symbolic link: %s", strerror(-r));
        if (strlen(target) != inode->i_size)
                erofs_source_bad(path, "a symbolic link with a NUL byte in it");
        return target;
}

/* In the order of the image; the tree sorts them. */
static Xattr *read_xattrs(struct erofs_inode *inode, const char *path, size_t *ret_n) {
        int size = erofs_listxattr(inode, NULL, 0);
        _cleanup_free_ char *names = NULL;
        size_t total, n = 0, n_allocated = 0;
        Xattr *xattrs = NULL;

        if (size < 0)
                erofs_source_bad(path, "cannot read the extended attributes: %s", strerror(-size));
        if ((size_t) size > EROFS_XATTRS_MAX)
                erofs_source_too_large(path, "too many extended attributes");
        names = xnew(char, (size_t) size + 1);
        if (size > 0 && erofs_listxattr(inode, names, (size_t) size) != size)
                erofs_source_bad(path, "cannot read the extended attributes");
        total = (size_t) size;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                Xattr x = { .name = xstrdup(name) };
                int value_size = erofs_getxattr(inode, name, NULL, 0);

                if (value_size < 0)
                        erofs_source_bad(path, "cannot read the extended attribute %s: %s", name,
                                         strerror(-value_size));
                total += x.size = (size_t) value_size;
                if (total > EROFS_XATTRS_MAX)
                        erofs_source_too_large(path, "too many extended attributes");
                x.value = xmalloc(x.size);
                if (x.size > 0 && erofs_getxattr(inode, name, x.value, x.size) != value_size)
                        erofs_source_bad(path, "cannot read the extended attribute %s", name);
                GROW(xattrs, n, n_allocated);
                xattrs[n++] = x;
        }
        *ret_n = n;
        return xattrs;
}

/* Sends the content, or only hashes it. */
static void read_content(Walker *w, struct erofs_inode *inode, const char *path, bool send, Sha256 *ret_digest) {
        struct erofs_vfile file;
        int r;

        r = erofs_iopen(&file, inode);
        if (r < 0)
                erofs_source_bad(path, "cannot read: %s", strerror(-r));
        for (uint64_t offset = 0; offset < inode->i_size;) {
                size_t n = MIN(PIECE_SIZE, inode->i_size - offset);

                r = erofs_pread(&file, w->piece, n, offset);
                if (r < 0)
                        erofs_source_bad(path, "cannot read at %" PRIu64 ": %s", offset, strerror(-r));
                liberofs_alive();
                if (send)
                        put(w, w->piece, n);
                else
                        hasher_update(w->hasher, w->piece, n);
                offset += n;
        }
        if (!send)
                hasher_final(w->hasher, ret_digest);
}

static void send_link(Walker *w, const char *path, const char *existing) {
        Record record = {
                .kind = RECORD_LINK,
                .path_size = (uint32_t) strlen(path),
                .target_size = (uint32_t) strlen(existing),
        };

        put(w, &record, sizeof(record));
        put(w, path, record.path_size);
        put(w, existing, record.target_size);
}

static void send_entry(Walker *w, struct erofs_inode *inode, const char *path) {
        _cleanup_free_ char *target = NULL;
        size_t n_xattrs;
        Xattr *xattrs = read_xattrs(inode, path, &n_xattrs);
        Record record = {
                .kind = RECORD_ENTRY,
                .mode = inode->i_mode,
                .uid = inode->i_uid,
                .gid = inode->i_gid,
                .path_size = (uint32_t) strlen(path),
                .n_xattrs = (uint32_t) n_xattrs,
                .mtime = (int64_t) inode->i_mtime,
        };

        if (S_ISLNK(inode->i_mode)) {
                target = read_target(inode, path);
                record.target_size = (uint32_t) strlen(target);
        } else if (S_ISREG(inode->i_mode)) {
                record.size = inode->i_size;
                if (inode->i_size > w->opt->contents_max - w->contents_size)
                        erofs_source_too_large(path, "the contents are larger than an image may hold");
                w->contents_size += inode->i_size;
                if (w->opt->contents == EROFS_CONTENTS_DIGEST)
                        read_content(w, inode, path, false, &record.digest);
        } else if (S_ISCHR(inode->i_mode) || S_ISBLK(inode->i_mode))
                record.rdev = inode->u.i_rdev;

        put(w, &record, sizeof(record));
        put(w, path, record.path_size);
        put(w, target, record.target_size);
        for (size_t i = 0; i < n_xattrs; i++) {
                uint32_t sizes[2] = { (uint32_t) strlen(xattrs[i].name), (uint32_t) xattrs[i].size };

                put(w, sizes, sizeof(sizes));
                put(w, xattrs[i].name, sizes[0]);
                put(w, xattrs[i].value, sizes[1]);
                free(xattrs[i].name);
                free(xattrs[i].value);
        }
        free(xattrs);
        if (S_ISREG(inode->i_mode) && w->opt->contents == EROFS_CONTENTS_STORE)
                read_content(w, inode, path, true, NULL);
}

static void walk(Walker *w, erofs_nid_t nid, erofs_nid_t parent_nid, int type, const char *path, unsigned depth);

static void walk_folder(Walker *w, struct erofs_inode *folder, erofs_nid_t parent_nid, const char *path,
                        unsigned depth) {
        ErofsSourceListing listing;

        erofs_source_list(folder, parent_nid, path, depth, &listing);
        for (size_t i = 0; i < listing.n_entries; i++) {
                const ErofsSourceEntry *e = listing.entries + i;
                _cleanup_free_ char *child_path = xasprintf("%s/%s", path, e->name);

                walk(w, e->nid, folder->nid, (int) e->type, child_path, depth + 1);
        }
        erofs_source_listing_done(&listing);
}

/* type is what the folder says, -1 for the root. */
static void walk(Walker *w, erofs_nid_t nid, erofs_nid_t parent_nid, int type, const char *path, unsigned depth) {
        struct erofs_inode inode = { .sbi = w->super, .nid = nid };
        const char *name = *path ? path : "/";
        Seen *seen;
        bool is_new;
        int r;

        liberofs_alive();
        if (++w->n_entries > TREE_ENTRIES_MAX)
                erofs_source_too_large(name, "more entries than an image may have");
        seen = remember(w, nid, &is_new);
        if (!is_new) {
                if (!seen->path)
                        erofs_source_bad(name, "a folder that is in two places");
                if (type != seen->type)
                        erofs_source_bad(name, "its type is not what its folder says");
                seen->n_found++;
                send_link(w, path, seen->path);
                return;
        }

        r = erofs_read_inode_from_disk(&inode);
        if (r < 0)
                erofs_source_bad(name, "cannot read the inode: %s", strerror(-r));
        if (type < 0 ? !S_ISDIR(inode.i_mode) : type != erofs_mode_to_ftype(inode.i_mode))
                erofs_source_bad(name, "its type is not what its folder says");
        send_entry(w, &inode, path);
        if (S_ISDIR(inode.i_mode)) {
                walk_folder(w, &inode, parent_nid, path, depth);
                return;
        }
        seen->path = xstrdup(path);
        seen->type = type;
        seen->n_links = inode.i_nlink;
        seen->n_found = 1;
}

static void check_links(const void *item, VISIT visit, int depth _unused_) {
        const Seen *seen = *(Seen *const *) item;

        if ((visit == postorder || visit == leaf) && seen->path && seen->n_found != seen->n_links)
                erofs_source_bad(seen->path, "has %u names, but a link count of %u", seen->n_found, seen->n_links);
}

static int read_in_child(FILE *to_parent, void *userdata, Error *reterr) {
        Record end = { .kind = RECORD_END };
        Walker *w = userdata;
        struct erofs_sb_info *super = w->super;
        int r;

        r = erofs_source_open(w->fd, super, reterr);
        if (r < 0)
                return r;
        w->to_parent = to_parent;
        w->piece = xmalloc(PIECE_SIZE);
        w->hasher = hasher_new();

        walk(w, super->root_nid, super->root_nid, -1, "", 0);
        twalk(w->seen, check_links);
        put(w, &end, sizeof(end));
        return 0;
}

/* ---- in the parent --------------------------------------------------------------------------------------- */

typedef struct Receiver {
        FILE *from_child;            /* borrowed */
        Tree *tree;                  /* borrowed */
        const ErofsReadOptions *opt; /* borrowed */
} Receiver;

static int get(Receiver *v, void *ret, size_t size, Error *reterr) {
        if (fread(ret, 1, size, v->from_child) != size)
                return error_set(reterr, EPROTO, REFUSAL_BAD_FORMAT, "the image ended early");
        return 0;
}

static int get_string(Receiver *v, size_t size, size_t max_size, char **ret, Error *reterr) {
        _cleanup_free_ char *s = NULL;
        int r;

        if (size > max_size)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "a name or attribute is too long");
        s = xnew(char, size + 1);
        r = get(v, s, size, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

static ssize_t get_content(void *userdata, void *buffer, size_t size) {
        Receiver *v = userdata;
        size_t n = fread(buffer, 1, size, v->from_child);

        return n > 0 ? (ssize_t) n : -EPROTO;
}

static int add_entry(Receiver *v, const Record *record, const char *path, const char *target, Node **ret,
                     Error *reterr) {
        const NodeAttributes a = {
                .mode = record->mode & 07777,
                .uid = record->uid,
                .gid = record->gid,
                .mtime = record->mtime,
        };
        int r;

        switch (record->mode & S_IFMT) {
        case S_IFDIR:
                return tree_add_folder(v->tree, path, &a, ret, reterr);
        case S_IFLNK:
                return tree_add_symlink(v->tree, path, &a, target, ret, reterr);
        case S_IFREG:
                if (v->opt->contents == EROFS_CONTENTS_STORE)
                        return tree_add_file_stream(v->tree, path, &a, record->size, get_content, v, ret, reterr);
                r = tree_add_file(v->tree, path, &a, NULL, 0, ret, reterr);
                if (r < 0)
                        return r;
                (*ret)->inode->size = record->size;
                (*ret)->inode->digest = record->digest;
                /* Behind the end of every spool: whoever tries to read it gets an error. */
                if (record->size > 0)
                        (*ret)->inode->offset = UINT64_MAX - record->size;
                return 0;
        default:
                return tree_add_device(v->tree, path, &a, record->mode & S_IFMT, (dev_t) record->rdev, ret, reterr);
        }
}

static int receive_entry(Receiver *v, const Record *record, const char *path, const char *target, Error *reterr) {
        struct {
                char *name, *value;
                uint32_t sizes[2];
        } *xattrs = NULL;
        size_t n = 0;
        Node *node;
        int r = 0;

        if (record->n_xattrs > EROFS_XATTRS_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: too many extended attributes", path);
        /* They come before the content, but the tree wants the content first. */
        xattrs = xcalloc(record->n_xattrs, sizeof(*xattrs));
        for (; r >= 0 && n < record->n_xattrs; n++) {
                r = get(v, xattrs[n].sizes, sizeof(xattrs[n].sizes), reterr);
                if (r >= 0)
                        r = get_string(v, xattrs[n].sizes[0], TREE_NAME_MAX, &xattrs[n].name, reterr);
                if (r >= 0)
                        r = get_string(v, xattrs[n].sizes[1], EROFS_XATTRS_MAX, &xattrs[n].value, reterr);
        }
        if (r >= 0)
                r = add_entry(v, record, path, target, &node, reterr);
        for (size_t i = 0; i < n; i++) {
                if (r >= 0 && tree_set_xattr(node->inode, xattrs[i].name, xattrs[i].value, xattrs[i].sizes[1]) < 0)
                        r = error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: extended attribute too large", path);
                free(xattrs[i].name);
                free(xattrs[i].value);
        }
        free(xattrs);
        return r;
}

static int receive(Receiver *v, Error *reterr) {
        const char *root_path = v->opt->root_path ?: "";

        for (;;) {
                _cleanup_free_ char *relative = NULL, *target = NULL, *path = NULL;
                Record record;
                int r;

                r = get(v, &record, sizeof(record), reterr);
                if (r < 0)
                        return r;
                if (record.kind == RECORD_END)
                        return 0;
                r = get_string(v, record.path_size, (size_t) TREE_DEPTH_MAX * (TREE_NAME_MAX + 1), &relative, reterr);
                if (r >= 0)
                        r = get_string(v, record.target_size, (size_t) TREE_DEPTH_MAX * (TREE_NAME_MAX + 1), &target,
                                       reterr);
                if (r < 0)
                        return r;
                path = xasprintf("%s%s", root_path, relative);
                if (record.kind == RECORD_LINK) {
                        _cleanup_free_ char *existing = xasprintf("%s%s", root_path, target);

                        r = tree_add_hardlink(v->tree, path, existing, NULL, reterr);
                } else if (record.kind == RECORD_ENTRY)
                        r = receive_entry(v, &record, path, target, reterr);
                else
                        r = error_set(reterr, EPROTO, REFUSAL_BAD_FORMAT, "the image makes no sense");
                if (r < 0)
                        return r;
        }
}

int erofs_read(int fd, const ErofsReadOptions *opt, Tree **ret, Error *reterr) {
        _cleanup_(liberofs_freep) LiberofsChild *child = NULL;
        _cleanup_(tree_freep) Tree *tree = NULL;
        _cleanup_free_ char *root_path = NULL;
        _cleanup_free_ struct erofs_sb_info *super = xnew(struct erofs_sb_info, 1);
        ErofsReadOptions options = opt ? *opt : (ErofsReadOptions){};
        Walker w = { .super = super, .opt = &options, .fd = fd };
        Receiver v = { .opt = &options };
        int r;

        if (options.contents_max == 0)
                options.contents_max = TREE_BYTES_MAX;
        root_path = xstrdup(options.root_path ?: "");
        for (size_t n = strlen(root_path); n > 0 && root_path[n - 1] == '/'; n--)
                root_path[n - 1] = 0;
        options.root_path = root_path;

        r = tree_new(NULL, &tree, reterr);
        if (r < 0)
                return r;
        v.tree = tree;
        r = liberofs_start("cannot read the image", REFUSAL_BAD_FORMAT, read_in_child, &w, &child, reterr);
        if (r < 0)
                return r;
        v.from_child = liberofs_stream(child);
        r = receive(&v, reterr);
        r = liberofs_finish(child, r, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(tree);
        return 0;
}
