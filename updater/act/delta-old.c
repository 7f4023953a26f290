/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "delta-old.h"
#include "io.h"

#define LEAVES_MAX 256

struct DeltaOld {
        int fd;
        uint64_t offset, size; /* of the image, in the file or on the disk */
        uint64_t leaves;       /* where the digests of its blocks begin; 0: there are none */
        uint8_t salt[VERITY_SALT_SIZE];
        Hasher *hasher;
        Sha256 digests[LEAVES_MAX];
};

DeltaOld *delta_old_free(DeltaOld *o) {
        if (!o)
                return NULL;
        safe_close(o->fd);
        hasher_free(o->hasher);
        free(o);
        return NULL;
}

static int open_old(const char *path, uint64_t offset, uint64_t size, DeltaOld **ret, Error *reterr) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        *ret = xnew(DeltaOld, 1);
        **ret = (DeltaOld){ .fd = TAKE_FD(fd), .offset = offset, .size = size, .hasher = hasher_new() };
        return 0;
}

int delta_old_open_slot(const char *disk, const Slot *slot, DeltaOld **ret, Error *reterr) {
        _cleanup_(delta_old_freep) DeltaOld *o = NULL;
        SlotTree tree;
        int r;

        r = open_old(disk, slot->usr.offset, 0, &o, reterr);
        if (r >= 0)
                r = slot_read_tree(o->fd, slot, &tree, reterr);
        if (r < 0)
                return r;
        o->size = tree.data_size;
        o->leaves = tree.leaves;
        memcpy(o->salt, tree.salt, sizeof o->salt);
        *ret = TAKE_PTR(o);
        return 0;
}

int delta_old_open_file(const char *path, uint64_t size, DeltaOld **ret, Error *reterr) {
        return open_old(path, 0, size, ret, reterr);
}

uint64_t delta_old_size(const DeltaOld *o) {
        return o->size;
}

static int damaged(const DeltaOld *o, uint64_t offset, Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                         "the block at byte %" PRIu64 " of the old image is damaged", offset);
}

static int check_blocks(DeltaOld *o, uint64_t offset, const uint8_t *data, size_t n, Error *reterr) {
        if (io_pread_all(o->fd, o->digests, n * SHA256_SIZE, o->leaves + offset / VERITY_BLOCK_SIZE * SHA256_SIZE,
                         NULL) < 0)
                return damaged(o, offset, reterr);
        for (size_t i = 0; i < n; i++) {
                Sha256 digest;

                verity_block_digest(o->hasher, o->salt, data + i * VERITY_BLOCK_SIZE, &digest);
                if (!sha256_equal(&digest, &o->digests[i]))
                        return damaged(o, offset + i * VERITY_BLOCK_SIZE, reterr);
        }
        return 0;
}

int delta_old_read(DeltaOld *o, uint64_t offset, void *data, size_t size, Error *reterr) {
        uint8_t *p = data;

        if (offset > o->size || size > o->size - offset ||
            (o->leaves > 0 && (offset % VERITY_BLOCK_SIZE != 0 || size % VERITY_BLOCK_SIZE != 0)))
                return error_set(reterr, ERANGE, REFUSAL_BAD_VALUE, "the old image has no such bytes");
        if (io_pread_all(o->fd, p, size, o->offset + offset, NULL) < 0)
                return damaged(o, offset, reterr);
        for (size_t at = 0; o->leaves > 0 && at < size;) {
                size_t n = MIN((size - at) / VERITY_BLOCK_SIZE, (size_t) LEAVES_MAX);
                int r = check_blocks(o, offset + at, p + at, n, reterr);

                if (r < 0)
                        return r;
                at += n * VERITY_BLOCK_SIZE;
        }
        return 0;
}
