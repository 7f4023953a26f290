/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: liberofs builds an image from inodes in memory, so the tree is translated node by node; no folder, archive or
 * other program stands in between. Two places where its own way does not fit are replaced by the linker:
 *
 *   erofs_diskbuf_getfd, erofs_diskbuf_close   file contents come straight from the tree's spool, at an offset
 *   erofs_msg                                  its complaints become errors (liberofs.c)
 *
 * It drops some errors on the floor, above all failures to write the last block of a file. All its output therefore
 * passes through operations of ours, which end the child at the first failure.
 *
 * What would make one file's blocks depend on another file's content is left out on purpose (fragments, deduplication,
 * data inside inodes): it makes small images and large updates. */

#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "erofs.h"
#include "io.h"
#include "liberofs.h"

#include "erofs/compress_hints.h"
#include "erofs/config.h"
#include "erofs/diskbuf.h"
#include "erofs/importer.h"
#include "erofs/inode.h"
#include "erofs/print.h"
#include "erofs/xattr.h"
#include "liberofs_cache.h"

#include "lz4.h"

#define LEVEL_DEFAULT 9
#define LEVEL_MAX 12
#define CLUSTER_SIZE_DEFAULT (16u << 10)
#define CLUSTER_SIZE_MAX (1u << 20)
#define WORKERS_MAX 16
/* Large files are compressed in pieces of this size, whatever the number of workers: it is part of the image. */
#define SEGMENT_SIZE (16u << 20)
/* Files that may wait, compressed and in memory, for an earlier one; a power of two. */
#define QUEUE_MAX 128
#define TARGET_MAX 4095
/* Kernel modules, as a pattern of liberofs; 0 is the cluster size and means no compression. */
#define HINT_MODULES "0 [.]ko$\n"
/* Messages to the parent are rare enough to cost nothing. */
#define PROGRESS_STEPS 500

typedef struct Writer {
        const Tree *tree;        /* borrowed */
        const Node *root;        /* borrowed */
        const ErofsOptions *opt; /* borrowed */
        int fd;
        int spool_fd;    /* a file position of our own */
        FILE *to_parent; /* borrowed */
        uint64_t total, done, reported;
} Writer;

/* What the child tells: how far it is, and once, at the end, how large the image became. */
typedef struct Report {
        uint64_t done, total, image_size;
} Report;

/* The library frees it through the pointer to its first member. */
typedef struct ContentSource {
        struct erofs_diskbuf diskbuf;
        uint64_t size;
} ContentSource;

int __wrap_erofs_diskbuf_getfd(struct erofs_diskbuf *diskbuf, u64 *ret_offset);
void __wrap_erofs_diskbuf_close(struct erofs_diskbuf *diskbuf);

/* One thread of the library alone moves the position; compressing threads use pread(). */
int __wrap_erofs_diskbuf_getfd(struct erofs_diskbuf *diskbuf, u64 *ret_offset) {
        const Writer *w = diskbuf->sp;

        if (ret_offset)
                *ret_offset = diskbuf->offset;
        return w->spool_fd;
}

/* Called when a file is in the image, by the same thread. */
void __wrap_erofs_diskbuf_close(struct erofs_diskbuf *diskbuf) {
        const ContentSource *source = (const ContentSource *) diskbuf;
        Writer *w = diskbuf->sp;

        liberofs_alive();
        w->done += source->size;
        if (w->opt->progress && w->done - w->reported >= MAX(w->total / PROGRESS_STEPS, (uint64_t) 1)) {
                Report report = { .done = w->done, .total = w->total };

                w->reported = w->done;
                (void) fwrite(&report, sizeof(report), 1, w->to_parent);
                (void) fflush(w->to_parent);
        }
}

static ssize_t image_pread(struct erofs_vfile *file, void *data, size_t size, u64 offset) {
        Error e = {};

        if (io_pread_all(file->fd, data, size, offset, &e) < 0)
                liberofs_fail(&e);
        return (ssize_t) size;
}

static ssize_t image_pwrite(struct erofs_vfile *file, const void *data, u64 offset, size_t size) {
        Error e = {};

        if (io_pwrite_all(file->fd, data, size, offset, &e) < 0)
                liberofs_fail(&e);
        return (ssize_t) size;
}

/* Only ever less than a block: the padding behind inodes. */
static int image_zero(struct erofs_vfile *file, u64 offset, size_t size, bool zero _unused_) {
        static const uint8_t zeros[EROFS_BLOCK_BYTES];

        while (size > 0) {
                size_t n = MIN(size, sizeof(zeros));

                (void) image_pwrite(file, zeros, offset, n);
                offset += n;
                size -= n;
        }
        return 0;
}

static int image_resize(struct erofs_vfile *file, u64 size) {
        Error e = {};

        /* Blocks that a file no longer needed, because its compression did not pay, may lie behind the end. */
        if (ftruncate(file->fd, (off_t) size) < 0) {
                error_errno(&e, errno, "cannot set the size of the image");
                liberofs_fail(&e);
        }
        return 0;
}

static int image_stat(struct erofs_vfile *file, struct stat *ret) {
        return fstat(file->fd, ret) < 0 ? -errno : 0;
}

/* Appends from the current position of a file, or from a folder that the library is writing. */
static int image_copy(struct erofs_vfile *to, off_t offset, struct erofs_vfile *from, unsigned size,
                      bool no_seek _unused_) {
        _cleanup_free_ char *buffer = NULL;
        const size_t buffer_size = 256u << 10;
        Error e = {};

        /* Shares the blocks where the file system can. */
        while (size > 0 && !from->ops) {
                ssize_t n = copy_file_range(from->fd, NULL, to->fd, &offset, size, 0);

                if (n <= 0)
                        break;
                size -= (unsigned) n;
        }
        if (size > 0)
                buffer = xmalloc(buffer_size);
        while (size > 0) {
                ssize_t n = erofs_io_read(from, buffer, MIN(buffer_size, (size_t) size));

                if (n <= 0) {
                        error_errno(&e, n < 0 ? (int) -n : EIO, "cannot read the spool");
                        liberofs_fail(&e);
                }
                (void) image_pwrite(to, buffer, (u64) offset, (size_t) n);
                offset += n;
                size -= (unsigned) n;
        }
        return 0;
}

static struct erofs_vfops image_operations = {
        .pread = image_pread,
        .pwrite = image_pwrite,
        .fallocate = image_zero,
        .ftruncate = image_resize,
        .fstat = image_stat,
        .xcopy = image_copy,
};

/* The names that EROFS can express and Linux will accept. */
static bool xattr_name_is_valid(const char *name) {
        static const char *const prefixes[] = { "user.", "trusted.", "security." };

        if (streq(name, "system.posix_acl_access") || streq(name, "system.posix_acl_default"))
                return true;
        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                const char *rest = startswith(name, prefixes[i]);

                if (rest && *rest)
                        return strlen(name) <= TREE_NAME_MAX;
        }
        return false;
}

static int check_xattrs(const Inode *inode, const char *path, Error *reterr) {
        size_t total = 0;

        for (size_t i = 0; i < inode->n_xattrs; i++) {
                const Xattr *x = inode->xattrs + i;

                if (!xattr_name_is_valid(x->name))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "%s: an EROFS image cannot hold the extended attribute %s", path, x->name);
                if (x->size > UINT16_MAX || (total += strlen(x->name) + x->size + 8) > EROFS_XATTRS_MAX)
                        return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE,
                                         "%s: more than %zu bytes of extended attributes", path, EROFS_XATTRS_MAX);
        }
        return 0;
}

/* All that liberofs would assert, cut short or store differently. Counts the content. */
static int check_node(Writer *w, const Node *n, const char *path, Error *reterr) {
        Inode *inode = n->inode;
        size_t name_size = strlen(n->name);
        uint64_t end;
        int r;

        if (n != w->root && (name_size == 0 || name_size > TREE_NAME_MAX || strchr(n->name, '/')))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: not a file name", path);
        /* Until now left over from somebody else's walk; from here on the library's inode, once it exists. */
        inode->mark = 0;
        switch (inode->mode & S_IFMT) {
        case S_IFREG:
                if (__builtin_add_overflow(inode->offset, inode->size, &end) || end > w->tree->spool_size)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: has no content in the tree", path);
                break;
        case S_IFLNK:
                if (isempty(inode->target) || strlen(inode->target) > TARGET_MAX)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "%s: a symbolic link must have 1 to %d bytes", path, TARGET_MAX);
                break;
        case S_IFCHR:
        case S_IFBLK:
                if (major(inode->rdev) >= 1u << 12 || minor(inode->rdev) >= 1u << 20)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: device number out of range", path);
                break;
        case S_IFDIR:
        case S_IFIFO:
        case S_IFSOCK:
                break;
        default:
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: of no known type", path);
        }
        r = check_xattrs(inode, path, reterr);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n->n_children; i++) {
                _cleanup_free_ char *child_path = path_join(path, n->children[i]->name);

                r = check_node(w, n->children[i], child_path, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

_noreturn_ static void fail(int code, const char *path, const char *what) {
        Error e = {};

        error_errno(&e, code, "%s: %s", path, what);
        liberofs_fail(&e);
}

static void fill_inode(Writer *w, struct erofs_inode *to, const Inode *from, char *path) {
        int r;

        to->i_srcpath = path;
        to->i_mode = (umode_t) from->mode;
        to->i_uid = from->uid;
        to->i_gid = from->gid;
        to->i_mtime = (u64) w->opt->build_time;
        to->i_mtime_nsec = 0;
        to->i_nlink = S_ISDIR(from->mode) ? 2 : 1;
        if (S_ISREG(from->mode) && from->size > 0) {
                ContentSource *source = xnew(ContentSource, 1);

                source->diskbuf = (struct erofs_diskbuf){ .sp = w, .offset = from->offset };
                source->size = from->size;
                to->i_size = from->size;
                to->i_diskbuf = &source->diskbuf;
                to->datasource = EROFS_INODE_DATA_SOURCE_DISKBUF;
                w->total += from->size;
        } else if (S_ISLNK(from->mode)) {
                to->i_link = xstrdup(from->target);
                to->i_size = strlen(from->target);
        } else if (S_ISCHR(from->mode) || S_ISBLK(from->mode))
                to->u.i_rdev = erofs_new_encode_dev(from->rdev);

        for (size_t i = 0; i < from->n_xattrs; i++) {
                const Xattr *x = from->xattrs + i;

                r = erofs_vfs_setxattr(to, x->name, x->value, x->size);
                if (r < 0)
                        fail(r, path, "cannot take over an extended attribute");
        }
}

static void import_children(Writer *w, const Node *folder, struct erofs_inode *to) {
        for (size_t i = 0; i < folder->n_children; i++) {
                const Node *n = folder->children[i];
                struct erofs_inode *inode = (struct erofs_inode *) (uintptr_t) n->inode->mark;
                struct erofs_dentry *entry;

                /* Only names below this root count as links. */
                if (inode) {
                        (void) erofs_igrab(inode);
                        inode->i_nlink++;
                } else {
                        inode = erofs_new_inode(to->sbi);
                        if (IS_ERR(inode))
                                fail(ENOMEM, n->name, "cannot take over");
                        inode->i_parent = to;
                        fill_inode(w, inode, n->inode, path_join(to->i_srcpath, n->name));
                        n->inode->mark = (uintptr_t) inode;
                }
                entry = erofs_d_alloc(to, n->name);
                if (IS_ERR(entry))
                        fail((int) PTR_ERR(entry), inode->i_srcpath, "cannot take over");
                entry->inode = inode;
                entry->type = erofs_mode_to_ftype(inode->i_mode);
                import_children(w, n, inode);
        }
}

/* liberofs takes rules for single files from a file only. */
static int load_hints(struct erofs_importer *importer, Error *reterr) {
        int r, fd = memfd_create("hints", 0);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot make a memory file");
        r = io_write_all(fd, HINT_MODULES, strlen(HINT_MODULES), reterr);
        if (r < 0)
                return r;
        /* Both stay until the child ends: the library only asks whether there is a name. */
        cfg.c_compress_hints_file = xasprintf("/proc/self/fd/%d", fd);
        r = erofs_load_compress_hints(importer, importer->sbi);
        if (r < 0)
                return error_errno(reterr, r, "cannot exempt kernel modules from compression");
        return 0;
}

static int make_image(Writer *w, uint64_t *ret_size, Error *reterr) {
        const ErofsOptions *opt = w->opt;
        struct erofs_sb_info *super = xnew(struct erofs_sb_info, 1);
        struct z_erofs_paramset compression[2] = {};
        struct erofs_importer_params params;
        struct erofs_importer importer = { .params = &params, .sbi = super };
        long n_processors = sysconf(_SC_NPROCESSORS_ONLN);
        const char *step;
        char *root_path;
        u32 checksum;
        int r;

        (void) liberofs_global_init();
        cfg.c_dbg_lvl = EROFS_WARN;
        cfg.c_xattr_name_filter = true;
        cfg.c_mkfs_segment_size = SEGMENT_SIZE;
        /* At least one, or files would not be cut into segments. */
        cfg.c_mt_workers = opt->n_workers ?: (unsigned) MAX(n_processors, 1L);
        cfg.c_mt_workers = MIN(cfg.c_mt_workers, (unsigned) WORKERS_MAX);

        erofs_importer_preset(&params);
        params.build_time = opt->build_time;
        params.no_datainline = true;
        params.mt_async_queue_limit = QUEUE_MAX;
        params.pclusterblks_def = params.pclusterblks_max = 1;
        params.z_paramsets = compression;
        if (opt->layout == EROFS_LAYOUT_LZ4HC) {
                static char algorithm[] = "lz4hc";

                compression[0].alg = algorithm;
                compression[0].clevel = (int) (opt->level ?: LEVEL_DEFAULT);
                params.pclusterblks_def = params.pclusterblks_max =
                        (opt->cluster_size ?: CLUSTER_SIZE_DEFAULT) / EROFS_BLOCK_BYTES;
        }

        super->bdev = (struct erofs_vfile){ .ops = &image_operations, .fd = w->fd };
        super->feature_compat = EROFS_FEATURE_COMPAT_SB_CHKSUM | EROFS_FEATURE_COMPAT_MTIME;
        memcpy(super->uuid, opt->uuid, sizeof(super->uuid));

        step = "begin the image";
        r = erofs_mkfs_format_fs(super, __builtin_ctz(EROFS_BLOCK_BYTES), 0, false);
        if (r < 0)
                goto failed;
        if (opt->layout == EROFS_LAYOUT_LZ4HC && opt->modules_plain) {
                r = load_hints(&importer, reterr);
                if (r < 0)
                        return r;
        }
        r = erofs_importer_init(&importer);
        if (r < 0)
                goto failed;

        importer.root = erofs_make_empty_root_inode(&importer, super);
        if (IS_ERR(importer.root)) {
                r = (int) PTR_ERR(importer.root);
                goto failed;
        }
        root_path = importer.root->i_srcpath;
        fill_inode(w, importer.root, w->root->inode, root_path);
        importer.root->i_mtime = (u64) opt->root_mtime;
        import_children(w, w->root, importer.root);

        step = "store the files";
        r = erofs_importer_load_tree(&importer, true, false);
        if (r < 0)
                goto failed;
        step = "store the inodes";
        r = erofs_importer_flush_all(&importer);
        if (r < 0)
                goto failed;
        step = "finish the image";
        r = erofs_writesb(super);
        if (r >= 0)
                r = erofs_dev_resize(super, super->primarydevice_blocks);
        if (r >= 0)
                r = erofs_enable_sb_chksum(super, &checksum);
        if (r < 0)
                goto failed;
        *ret_size = super->primarydevice_blocks * EROFS_BLOCK_BYTES;
        return 0;

failed:
        return error_set(reterr, -r, REFUSAL_TOOL_FAILED, "liberofs could not %s: %s", step, strerror(-r));
}

static int write_in_child(FILE *to_parent, void *userdata, Error *reterr) {
        _cleanup_free_ char *spool = NULL;
        Writer *w = userdata;
        Report report = {};
        struct stat st;
        int r;

        w->to_parent = to_parent;
        r = check_node(w, w->root, "/", reterr);
        if (r < 0)
                return r;

        /* The position of the tree's own descriptor is shared with the parent. */
        spool = xasprintf("/proc/self/fd/%d", w->tree->spool_fd);
        w->spool_fd = open(spool, O_RDONLY | O_CLOEXEC);
        if (w->spool_fd < 0)
                return error_errno(reterr, errno, "cannot open the spool again");
        /* liberofs takes a file that ends early for a shorter file. */
        if (fstat(w->spool_fd, &st) < 0 || (uint64_t) st.st_size < w->tree->spool_size)
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "the spool is shorter than it should be");

        r = make_image(w, &report.image_size, reterr);
        if (r < 0)
                return r;
        report.done = report.total = w->total;
        (void) fwrite(&report, sizeof(report), 1, to_parent);
        return 0;
}

static int check_options(const ErofsOptions *opt, int fd, Error *reterr) {
        struct stat st;

        if (opt->level > LEVEL_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "compression level %u: at most %d", opt->level,
                                 LEVEL_MAX);
        if (opt->cluster_size % EROFS_BLOCK_BYTES != 0 || opt->cluster_size > CLUSTER_SIZE_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "compressed cluster of %" PRIu32 " bytes: must be a multiple of %d up to %u",
                                 opt->cluster_size, EROFS_BLOCK_BYTES, CLUSTER_SIZE_MAX);
        if (opt->build_time < 0 || opt->root_mtime < 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "an image cannot be older than 1970");
        /* Bytes that were there before would shine through where nothing is written. */
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "an image is written to an empty regular file only");
        /* The linker may have preferred a shared LZ4 that another library brings along. */
        if (LZ4_versionNumber() != LZ4_VERSION_NUMBER)
                return error_set(reterr, ELIBBAD, REFUSAL_MACHINE,
                                 "this program was linked with LZ4 %s instead of " LZ4_VERSION_STRING,
                                 LZ4_versionString());
        return 0;
}

int erofs_write(const Tree *tree, const char *root_path, const ErofsOptions *opt, int fd, uint64_t *ret_size,
                Error *reterr) {
        _cleanup_(liberofs_freep) LiberofsChild *child = NULL;
        Writer w = { .tree = tree, .opt = opt, .fd = fd, .spool_fd = -EBADF };
        Report report = {};
        int r;

        w.root = tree_lookup(tree, root_path);
        if (!w.root || !node_is_folder(w.root))
                return error_set(reterr, ENOTDIR, REFUSAL_NOT_FOUND, "%s: there is no such folder in the tree",
                                 root_path);
        r = check_options(opt, fd, reterr);
        if (r < 0)
                return r;

        r = liberofs_start("cannot write the image", REFUSAL_TOOL_FAILED, write_in_child, &w, &child, reterr);
        if (r < 0)
                return r;
        while (fread(&report, sizeof(report), 1, liberofs_stream(child)) == 1)
                if (opt->progress)
                        opt->progress(report.done, report.total, opt->userdata);
        r = liberofs_finish(child, 0, reterr);
        if (r < 0)
                return r;
        if (report.image_size == 0)
                return error_set(reterr, EPROTO, REFUSAL_TOOL_FAILED, "cannot write the image: no size reported");
        *ret_size = report.image_size;
        return 0;
}
