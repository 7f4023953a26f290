/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "erofs-source.h"
#include "io.h"
#include "tree.h"

#include "erofs/dir.h"
#include "erofs/print.h"

/* What the reading operation below knows, in the place that the library leaves to it. */
typedef struct ImageFile {
        uint64_t size;
        int fd;
} ImageFile;

/* The library hands back the first member. */
typedef struct Collector {
        struct erofs_dir_context context;
        ErofsSourceListing listing;
        size_t n_allocated;
} Collector;

static ssize_t image_pread(struct erofs_vfile *file, void *data, size_t size, u64 offset) {
        ImageFile image;
        Error e = {};

        memcpy(&image, file->payload, sizeof(image));
        if (size > image.size || offset > image.size - size)
                erofs_source_bad(NULL, "it refers to data behind its end");
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

static int image_size(int fd, uint64_t *ret, Error *reterr) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot look at the image");
        *ret = (uint64_t) st.st_size;
        if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret) < 0)
                return error_errno(reterr, errno, "cannot get the size of the partition");
        return 0;
}

static int take_entry(struct erofs_dir_context *context) {
        Collector *c = (Collector *) context;
        ErofsSourceListing *l = &c->listing;
        const ErofsSourceEntry *last = l->n_entries > 0 ? l->entries + l->n_entries - 1 : NULL;
        ErofsSourceEntry entry = { .nid = context->de_nid, .type = context->de_ftype };

        if (context->dot_dotdot)
                return 0;
        if (l->n_entries >= TREE_ENTRIES_MAX)
                erofs_source_too_large("one folder", "more entries than an image may have");
        entry.name = xstrndup(context->dname, context->de_namelen);
        if (strlen(entry.name) != context->de_namelen)
                erofs_source_bad(entry.name, "a name with a NUL byte in it");
        if (last && strcmp(last->name, entry.name) >= 0)
                erofs_source_bad(entry.name, "names are not sorted");
        GROW(l->entries, l->n_entries, c->n_allocated);
        l->entries[l->n_entries++] = entry;
        return 0;
}

void erofs_source_bad(const char *path, const char *fmt, ...) {
        _cleanup_free_ char *what = NULL;
        va_list ap;
        Error e = {};

        va_start(ap, fmt);
        what = xvasprintf(fmt, ap);
        va_end(ap);
        error_set(&e, EBADMSG, REFUSAL_BAD_FORMAT, "%s%s%s", path ?: "", path ? ": " : "", what);
        liberofs_fail(&e);
}

void erofs_source_too_large(const char *path, const char *what) {
        Error e = {};

        error_set(&e, EFBIG, REFUSAL_TOO_LARGE, "%s: %s", path, what);
        liberofs_fail(&e);
}

int erofs_source_open(int fd, struct erofs_sb_info *super, Error *reterr) {
        uint64_t size;
        int r;

        r = image_size(fd, &size, reterr);
        if (r < 0)
                return r;
        (void) liberofs_global_init();
        cfg.c_dbg_lvl = EROFS_ERR;

        set_image(&super->bdev, fd, size);
        r = erofs_read_superblock(super);
        if (r < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "no usable superblock: %s", strerror(-r));
        if (super->extra_devices > 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "it needs a second device");
        if (erofs_sb_has_sb_chksum(super) && erofs_superblock_csum_verify(super) < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the checksum of its superblock does not hold");
        if (super->primarydevice_blocks > size >> super->blkszbits)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "it has been cut short");
        set_image(&super->bdev, fd, super->primarydevice_blocks << super->blkszbits);
        return 0;
}

void erofs_source_list(struct erofs_inode *folder, erofs_nid_t parent_nid, const char *path, unsigned depth,
                       ErofsSourceListing *ret) {
        Collector c = {
                .context = {
                        .dir = folder,
                        .cb = take_entry,
                        .pnid = parent_nid,
                        .flags = EROFS_READDIR_VALID_PNID,
                },
        };
        int r;

        if (depth >= TREE_DEPTH_MAX)
                erofs_source_too_large(path, "folders too deep inside each other");
        r = erofs_iterate_dir(&c.context, true);
        if (r < 0)
                erofs_source_bad(path, "cannot read the folder: %s", strerror(-r));
        *ret = c.listing;
}

void erofs_source_listing_done(ErofsSourceListing *listing) {
        for (size_t i = 0; i < listing->n_entries; i++)
                free(listing->entries[i].name);
        free(listing->entries);
        *listing = (ErofsSourceListing){};
}
