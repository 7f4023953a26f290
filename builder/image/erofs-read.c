/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: the child walks the image through liberofs and sends one record for each entry, parents first, contents
 * behind their record; the parent puts them into the tree. A damaged or hostile image may crash the child, which is an
 * error here like any other, and may send nonsense, which the tree's own rules for names and the limits below refuse.
 *
 * Stricter than liberofs where that would hide damage: nothing is read from behind the end (it would pass for zeros),
 * names in a folder must rise, a folder has one parent, and link counts must be true. */

#include <linux/fs.h>
#include <search.h>
#include <sys/ioctl.h>

#include "erofs.h"
#include "io.h"
#include "liberofs.h"

#include "erofs/dir.h"
#include "erofs/inode.h"
#include "erofs/print.h"
#include "erofs/xattr.h"

/* Compressed clusters that cross the end of a piece are unpacked twice; this makes them few. */
#define PIECE_SIZE ((size_t) 4 << 20)
#define TARGET_MAX 4095
#define STREAM_BUFFER_SIZE ((size_t) 1 << 20)

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

typedef struct Entry {
        char *name; /* owned */
        erofs_nid_t nid;
        unsigned type;
} Entry;

/* The library hands back the first member. */
typedef struct Listing {
        struct erofs_dir_context context;
        Entry *entries;
        size_t n_entries, n_allocated;
} Listing;

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

/* What the reading operation below knows, in the place that the library leaves to it. */
typedef struct ImageFile {
        uint64_t size;
        int fd;
} ImageFile;

_noreturn_ static void bad(const char *path, const char *fmt, ...) _printf_(2, 3);
_noreturn_ static void bad(const char *path, const char *fmt, ...) {
        _cleanup_free_ char *what = NULL;
        va_list ap;
        Error e = {};

        va_start(ap, fmt);
        what = xvasprintf(fmt, ap);
        va_end(ap);
        error_set(&e, EBADMSG, REFUSAL_BAD_FORMAT, "%s%s%s", path ?: "", path ? ": " : "", what);
        liberofs_fail(&e);
}

_noreturn_ static void too_large(const char *path, const char *what) {
        Error e = {};

        error_set(&e, EFBIG, REFUSAL_TOO_LARGE, "%s: %s", path, what);
        liberofs_fail(&e);
}

static ssize_t image_pread(struct erofs_vfile *file, void *data, size_t size, u64 offset) {
        ImageFile image;
        Error e = {};

        memcpy(&image, file->payload, sizeof(image));
        if (size > image.size || offset > image.size - size)
                bad(NULL, "it refers to data behind its end");
        if (io_pread_all(image.fd, data, size, offset, &e) < 0)
                liberofs_fail(&e);
        return (ssize_t) size;
}

static struct erofs_vfops image_operations = { .pread = image_pread };

static void set_image(struct erofs_vfile *file, int fd, uint64_t size) {
        ImageFile image = { .size = size, .fd = fd };

        _Static_assert(sizeof(image) <= sizeof(file->payload), "does not fit");
        file->ops = &image_operations;
        memcpy(file->payload, &image, sizeof(image));
}

static void put(Walker *w, const void *data, size_t size) {
        if (fwrite(data, 1, size, w->to_parent) != size)
                _exit(EXIT_FAILURE);
}

static int take_entry(struct erofs_dir_context *context) {
        Listing *listing = (Listing *) context;
        const Entry *last = listing->n_entries > 0 ? listing->entries + listing->n_entries - 1 : NULL;
        Entry entry = { .nid = context->de_nid, .type = context->de_ftype };

        if (context->dot_dotdot)
                return 0;
        if (listing->n_entries >= TREE_ENTRIES_MAX)
                too_large("one folder", "more entries than an image may have");
        entry.name = xstrndup(context->dname, context->de_namelen);
        if (strlen(entry.name) != context->de_namelen)
                bad(entry.name, "a name with a NUL byte in it");
        if (last && strcmp(last->name, entry.name) >= 0)
                bad(entry.name, "names are not sorted");
        GROW(listing->entries, listing->n_entries, listing->n_allocated);
        listing->entries[listing->n_entries++] = entry;
        return 0;
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
                bad(path, "a symbolic link of %" PRIu64 " bytes", inode->i_size);
        target = xnew(char, inode->i_size + 1);
        r = erofs_iopen(&file, inode);
        if (r >= 0)
                r = erofs_pread(&file, target, inode->i_size, 0);
        if (r < 0)
                bad(path, "cannot read the symbolic link: %s", strerror(-r));
        if (strlen(target) != inode->i_size)
                bad(path, "a symbolic link with a NUL byte in it");
        return target;
}

/* In the order of the image; the tree sorts them. */
static Xattr *read_xattrs(struct erofs_inode *inode, const char *path, size_t *ret_n) {
        int size = erofs_listxattr(inode, NULL, 0);
        _cleanup_free_ char *names = NULL;
        size_t total, n = 0, n_allocated = 0;
        Xattr *xattrs = NULL;

        if (size < 0)
                bad(path, "cannot read the extended attributes: %s", strerror(-size));
        if ((size_t) size > EROFS_XATTRS_MAX)
                too_large(path, "too many extended attributes");
        names = xnew(char, (size_t) size + 1);
        if (size > 0 && erofs_listxattr(inode, names, (size_t) size) != size)
                bad(path, "cannot read the extended attributes");
        total = (size_t) size;
        for (const char *name = names; name < names + size; name += strlen(name) + 1) {
                Xattr x = { .name = xstrdup(name) };
                int value_size = erofs_getxattr(inode, name, NULL, 0);

                if (value_size < 0)
                        bad(path, "cannot read the extended attribute %s: %s", name, strerror(-value_size));
                total += x.size = (size_t) value_size;
                if (total > EROFS_XATTRS_MAX)
                        too_large(path, "too many extended attributes");
                x.value = xmalloc(x.size);
                if (x.size > 0 && erofs_getxattr(inode, name, x.value, x.size) != value_size)
                        bad(path, "cannot read the extended attribute %s", name);
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
                bad(path, "cannot read: %s", strerror(-r));
        for (uint64_t offset = 0; offset < inode->i_size;) {
                size_t n = MIN(PIECE_SIZE, inode->i_size - offset);

                r = erofs_pread(&file, w->piece, n, offset);
                if (r < 0)
                        bad(path, "cannot read at %" PRIu64 ": %s", offset, strerror(-r));
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
                        too_large(path, "the contents are larger than an image may hold");
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
        Listing listing = {
                .context = {
                        .dir = folder,
                        .cb = take_entry,
                        .pnid = parent_nid,
                        .flags = EROFS_READDIR_VALID_PNID,
                },
        };
        int r;

        if (depth >= TREE_DEPTH_MAX)
                too_large(path, "folders too deep inside each other");
        r = erofs_iterate_dir(&listing.context, true);
        if (r < 0)
                bad(path, "cannot read the folder: %s", strerror(-r));
        for (size_t i = 0; i < listing.n_entries; i++) {
                Entry *e = listing.entries + i;
                _cleanup_free_ char *child_path = xasprintf("%s/%s", path, e->name);

                walk(w, e->nid, folder->nid, (int) e->type, child_path, depth + 1);
                free(e->name);
        }
        free(listing.entries);
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
                too_large(name, "more entries than an image may have");
        seen = remember(w, nid, &is_new);
        if (!is_new) {
                if (!seen->path)
                        bad(name, "a folder that is in two places");
                if (type != seen->type)
                        bad(name, "its type is not what its folder says");
                seen->n_found++;
                send_link(w, path, seen->path);
                return;
        }

        r = erofs_read_inode_from_disk(&inode);
        if (r < 0)
                bad(name, "cannot read the inode: %s", strerror(-r));
        if (type < 0 ? !S_ISDIR(inode.i_mode) : type != erofs_mode_to_ftype(inode.i_mode))
                bad(name, "its type is not what its folder says");
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
                bad(seen->path, "has %u names, but a link count of %u", seen->n_found, seen->n_links);
}

static int image_size(int fd, uint64_t *ret, Error *reterr) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot look at the image");
        *ret = (uint64_t) st.st_size;
        if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret) < 0)
                return error_errno(reterr, errno, "cannot get the size of the partition");
        return 0;
}

static int read_in_child(FILE *to_parent, void *userdata, Error *reterr) {
        Record end = { .kind = RECORD_END };
        Walker *w = userdata;
        struct erofs_sb_info *super = w->super;
        uint64_t size;
        int r;

        r = image_size(w->fd, &size, reterr);
        if (r < 0)
                return r;
        (void) liberofs_global_init();
        cfg.c_dbg_lvl = EROFS_ERR;
        (void) setvbuf(to_parent, NULL, _IOFBF, STREAM_BUFFER_SIZE);
        w->to_parent = to_parent;
        w->piece = xmalloc(PIECE_SIZE);
        w->hasher = hasher_new();

        set_image(&super->bdev, w->fd, size);
        r = erofs_read_superblock(super);
        if (r < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "no usable superblock: %s", strerror(-r));
        if (super->extra_devices > 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "it needs a second device");
        if (erofs_sb_has_sb_chksum(super) && erofs_superblock_csum_verify(super) < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the checksum of its superblock does not hold");
        if (super->primarydevice_blocks > size >> super->blkszbits)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "it has been cut short");
        set_image(&super->bdev, w->fd, super->primarydevice_blocks << super->blkszbits);

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
        (void) setvbuf(v.from_child, NULL, _IOFBF, STREAM_BUFFER_SIZE);
        r = receive(&v, reterr);
        r = liberofs_finish(child, r, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(tree);
        return 0;
}
