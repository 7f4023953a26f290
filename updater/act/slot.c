/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "io.h"
#include "slot.h"

/* An EROFS image's hash tree is labelled as "sealab build" does it (image/seal.c): its id is that of no partition. */
#define VERIFY_PIECE (UINT64_C(64) << 20)

struct SlotWriter {
        int fd;
        Slot slot; /* a copy without owned parts */
        uint64_t data_size, verity_size;
        Sha256 root_hash;
        VerityOptions options;
        char *buffer;
        size_t buffer_size;
};

static int refuse_running(const Slot *slot, Error *reterr) {
        if (slot->running)
                return error_set(reterr, EBUSY, REFUSAL_BUSY, "the slot that runs (%s) is never written",
                                 slot->version ?: "?");
        return 0;
}

static int open_disk(const char *disk, int flags, int *ret, Error *reterr) {
        int fd = open(disk, flags | O_CLOEXEC);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", disk);
        *ret = fd;
        return 0;
}

/* What has been written is to come back from the device, not from memory. */
static void drop_cache(int fd, uint64_t offset, uint64_t size) {
        struct stat st;

        /* For a device this is thorough; for a file, as in tests, advice is all there is. */
        if (fstat(fd, &st) == 0 && S_ISBLK(st.st_mode))
                (void) ioctl(fd, BLKFLSBUF, 0);
        (void) posix_fadvise(fd, (off_t) offset, (off_t) size, POSIX_FADV_DONTNEED);
}

int slot_writer_open(const char *disk, const Slot *slot, const ReleaseDescription *d, SlotWriter **ret, Error *reterr) {
        _cleanup_(slot_writer_freep) SlotWriter *w = xnew(SlotWriter, 1);
        uint64_t size = d->artifacts[ARTIFACT_USR].size;
        int r;

        w->fd = -EBADF;
        r = refuse_running(slot, reterr);
        if (r >= 0)
                r = verity_check_size(size, reterr);
        if (r < 0)
                return r;
        if (size > slot->usr.size || verity_hash_size(size) > slot->verity.size)
                return error_set(reterr, ENOSPC, REFUSAL_NO_SPACE,
                                 "%s has %" PRIu64 " bytes, the slot %" PRIu64 " and %" PRIu64 " for the hash tree",
                                 d->version, size, slot->usr.size, slot->verity.size);
        r = open_disk(disk, O_RDWR, &w->fd, reterr);
        if (r < 0)
                return r;
        w->slot = *slot;
        w->slot.version = NULL;
        w->data_size = size;
        w->verity_size = verity_hash_size(size);
        /* What is there already is asked of the disk: memory may still hold what could not be written, or what somebody
         * has written over since. */
        drop_cache(w->fd, slot->usr.offset, size);
        w->root_hash = d->root_hash;
        memcpy(w->options.salt, d->verity_salt.bytes, VERITY_SALT_SIZE);
        memcpy(w->options.uuid, d->verity_uuid, sizeof w->options.uuid);
        *ret = TAKE_PTR(w);
        return 0;
}

SlotWriter *slot_writer_free(SlotWriter *w) {
        if (!w)
                return NULL;
        safe_close(w->fd);
        free(w->buffer);
        free(w);
        return NULL;
}

static bool in_data(const SlotWriter *w, uint64_t offset, size_t size) {
        uint64_t end;

        return !__builtin_add_overflow(offset, size, &end) && end <= w->data_size;
}

bool slot_writer_has(SlotWriter *w, uint64_t offset, size_t size, const Sha256 *sha256) {
        Sha256 there;

        if (!in_data(w, offset, size))
                return false;
        if (w->buffer_size < size) {
                w->buffer = xrealloc(w->buffer, size, 1);
                w->buffer_size = size;
        }
        if (io_pread_all(w->fd, w->buffer, size, w->slot.usr.offset + offset, NULL) < 0)
                return false;
        sha256_buffer(w->buffer, size, &there);
        return sha256_equal(&there, sha256);
}

int slot_writer_read(SlotWriter *w, uint64_t offset, void *data, size_t size, Error *reterr) {
        if (!in_data(w, offset, size))
                return error_set(reterr, ERANGE, REFUSAL_TOO_LARGE, "the image has no such bytes");
        return io_pread_all(w->fd, data, size, w->slot.usr.offset + offset, reterr);
}

int slot_writer_write(SlotWriter *w, uint64_t offset, const void *data, size_t size, Error *reterr) {
        if (!in_data(w, offset, size))
                return error_set(reterr, ERANGE, REFUSAL_TOO_LARGE,
                                 "%zu bytes at %" PRIu64 " are beyond the image of %" PRIu64 " bytes", size, offset,
                                 w->data_size);
        return io_pwrite_all(w->fd, data, size, w->slot.usr.offset + offset, reterr);
}

/* The signature partition is read to its end by some: what an older, longer signature left there must go. */
static int write_signature(SlotWriter *w, const void *signature, size_t size, Error *reterr) {
        _cleanup_free_ uint8_t *block = NULL;

        if (w->slot.sig.size == 0)
                return 0;
        if (size > w->slot.sig.size)
                return error_set(reterr, ENOSPC, REFUSAL_NO_SPACE,
                                 "a signature of %zu bytes does not fit into its partition of %" PRIu64, size,
                                 w->slot.sig.size);
        block = xcalloc(1, w->slot.sig.size);
        if (size > 0)
                memcpy(block, signature, size);
        return io_pwrite_all(w->fd, block, w->slot.sig.size, w->slot.sig.offset, reterr);
}

int slot_writer_finish(SlotWriter *w, const void *verity_sig, size_t verity_sig_size, Error *reterr) {
        Sha256 root;
        int r;

        /* ORDER: data is on the disk before the tree is made from what the disk gives back. */
        r = io_sync_fd(w->fd, reterr);
        if (r < 0)
                return r;
        drop_cache(w->fd, w->slot.usr.offset, w->data_size);
        r = verity_write_tree(w->fd, w->slot.usr.offset, w->data_size, w->fd, w->slot.verity.offset, &w->options, &root,
                              reterr);
        if (r < 0)
                return r;
        if (!sha256_equal(&root, &w->root_hash)) {
                _cleanup_free_ char *is = sha256_hex(&root), *wanted = sha256_hex(&w->root_hash);

                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "what was written has the root hash %.16s..., the release %.16s...", is, wanted);
        }
        r = write_signature(w, verity_sig, verity_sig_size, reterr);
        if (r < 0)
                return r;
        return io_sync_fd(w->fd, reterr);
}

/* ---- verifying ---- */

typedef struct Verifier {
        int fd;
        const Slot *slot;
        uint64_t data_size;
        void (*progress)(uint64_t done, uint64_t total, void *userdata);
        void *userdata;
} Verifier;

/* Reads once more in pieces, only to say how far it is, and so that the tree's reader finds warm memory: the verdict is
 * the tree's. */
static int read_ahead(const Verifier *v, Error *reterr) {
        _cleanup_free_ char *buffer = xmalloc(1 << 20);

        for (uint64_t at = 0; at < v->data_size;) {
                size_t n = (size_t) MIN(v->data_size - at, UINT64_C(1) << 20);
                int r = io_pread_all(v->fd, buffer, n, v->slot->usr.offset + at, reterr);

                if (r < 0)
                        return r;
                at += n;
                if (v->progress && at % VERIFY_PIECE == 0)
                        v->progress(at, v->data_size, v->userdata);
        }
        return 0;
}

/* The tree on the disk must be, byte for byte, the one that belongs to the data: the kernel reads it, not ours. */
static int compare_tree(const Verifier *v, const VerityOptions *options, Sha256 *ret_root, Error *reterr) {
        uint64_t size = verity_hash_size(v->data_size);
        _cleanup_free_ char *made = xmalloc(1 << 20), *there = xmalloc(1 << 20);
        _cleanup_close_ int scratch = -EBADF;
        int r;

        r = io_tmpfile("/var/tmp", &scratch, reterr);
        if (r >= 0)
                r = verity_write_tree(v->fd, v->slot->usr.offset, v->data_size, scratch, 0, options, ret_root, reterr);
        if (r < 0)
                return r;
        for (uint64_t at = 0; at < size;) {
                size_t n = (size_t) MIN(size - at, UINT64_C(1) << 20);

                r = io_pread_all(scratch, made, n, at, reterr);
                if (r >= 0)
                        r = io_pread_all(v->fd, there, n, v->slot->verity.offset + at, reterr);
                if (r < 0)
                        return r;
                if (memcmp(made, there, n) != 0)
                        return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                         "the hash tree on the disk is not that of the data beside it");
                at += n;
        }
        return 0;
}

/* "/dev/sda" has /dev/sda5, "/dev/nvme0n1" has /dev/nvme0n1p5. */
static char *partition_node(const char *disk, unsigned number) {
        bool digit = isdigit((unsigned char) disk[strlen(disk) - 1]);

        return xasprintf("%s%s%u", disk, digit ? "p" : "", number);
}

/* The same question to libcryptsetup, whose code is not ours. It wants the partitions' own devices: a file that stands
 * for a disk has none. */
static int cross_check(const Verifier *v, const char *disk, const Sha256 *root_hash, Error *reterr) {
        _cleanup_free_ char *data = partition_node(disk, v->slot->usr.number),
                            *hash = partition_node(disk, v->slot->verity.number);
        struct stat st;

        if (fstat(v->fd, &st) < 0 || !S_ISBLK(st.st_mode) || !io_exists(AT_FDCWD, data) || !io_exists(AT_FDCWD, hash))
                return 0;
        return verity_verify(data, hash, root_hash, reterr);
}

int slot_verify(const char *disk, const Slot *slot, const Sha256 *root_hash, uint64_t data_size,
                void (*progress)(uint64_t done, uint64_t total, void *userdata), void *userdata, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        Verifier v = { .slot = slot, .data_size = data_size, .progress = progress, .userdata = userdata };
        VerityOptions options;
        uint64_t size = 0;
        Sha256 root;
        int r;

        r = open_disk(disk, O_RDONLY, &fd, reterr);
        if (r < 0)
                return r;
        v.fd = fd;
        drop_cache(fd, slot->usr.offset, slot->usr.size);
        drop_cache(fd, slot->verity.offset, slot->verity.size);
        r = verity_read_superblock(fd, slot->verity.offset, &size, &options, reterr);
        if (r < 0)
                return r;
        if (size != data_size || data_size > slot->usr.size || verity_hash_size(data_size) > slot->verity.size)
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "the hash tree is about %" PRIu64 " bytes, the image has %" PRIu64, size, data_size);
        r = read_ahead(&v, reterr);
        if (r >= 0)
                r = compare_tree(&v, &options, &root, reterr);
        if (r < 0)
                return r;
        if (!sha256_equal(&root, root_hash)) {
                _cleanup_free_ char *is = sha256_hex(&root), *wanted = sha256_hex(root_hash);

                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "what the disk holds has the root hash %.16s..., not %.16s...", is, wanted);
        }
        r = cross_check(&v, disk, root_hash, reterr);
        if (r < 0)
                return r;
        if (progress)
                progress(data_size, data_size, userdata);
        return 0;
}

int slot_data_size(const char *disk, const Slot *slot, uint64_t *ret, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        VerityOptions options;
        int r;

        r = open_disk(disk, O_RDONLY, &fd, reterr);
        if (r < 0)
                return r;
        return verity_read_superblock(fd, slot->verity.offset, ret, &options, reterr);
}

int slot_read_tree(int disk_fd, const Slot *slot, SlotTree *ret, Error *reterr) {
        VerityOptions options;
        uint64_t size = 0;

        /* A tree of one block has no leaves on the disk. */
        if (verity_read_superblock(disk_fd, slot->verity.offset, &size, &options, NULL) < 0 ||
            size <= VERITY_BLOCK_SIZE || size > slot->usr.size || verity_hash_size(size) > slot->verity.size)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "the slot of %s does not hold an image",
                                 slot->version ?: "?");
        *ret = (SlotTree){ .data_size = size, .leaves = slot->verity.offset + verity_leaf_offset(size) };
        memcpy(ret->salt, options.salt, sizeof ret->salt);
        return 0;
}

/* ---- names ---- */

static void tag(GptPartition *p, const char *label, const char *uuid, uint64_t flags) {
        snprintf(p->label, sizeof p->label, "%s", label);
        snprintf(p->uuid, sizeof p->uuid, "%s", uuid);
        p->flags = flags;
}

/* Ids for partitions that hold nothing: of version 8 (RFC 9562), from the disk's place and the old id, so that no two
 * are alike. */
static void empty_id(const GptPartition *p, char ret[static 37]) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Sha256 d, unused;

        hasher_update_string(h, "sealab empty slot 1");
        hasher_update_string(h, p->uuid);
        hasher_update(h, &p->offset, sizeof p->offset);
        hasher_final(h, &d);
        d.bytes[6] = (uint8_t) ((d.bytes[6] & 0x0f) | 0x80);
        d.bytes[8] = (uint8_t) ((d.bytes[8] & 0x3f) | 0x80);
        unused = d;
        {
                char second[37];

                verity_partition_ids(&unused, ret, second);
        }
}

static void signature_id(const Sha256 *root_hash, char ret[static 37]) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        char second[37];
        Sha256 d;

        hasher_update_string(h, "sealab signature partition 1");
        hasher_update(h, root_hash->bytes, SHA256_SIZE);
        hasher_final(h, &d);
        d.bytes[6] = (uint8_t) ((d.bytes[6] & 0x0f) | 0x80);
        d.bytes[8] = (uint8_t) ((d.bytes[8] & 0x3f) | 0x80);
        verity_partition_ids(&d, ret, second);
}

int slot_retag(const char *disk, const Slot *slot, const char *architecture, const char *product, const char *version,
               const Sha256 *root_hash, Error *reterr) {
        GptPartition p[3] = { slot->usr, slot->verity, slot->sig };
        size_t n = slot->sig.size > 0 ? 3 : 2;
        int r;

        r = refuse_running(slot, reterr);
        if (r < 0)
                return r;
        if (!root_hash) {
                for (size_t i = 0; i < n; i++) {
                        char id[37];

                        empty_id(&p[i], id);
                        tag(&p[i], "_empty", id, GPT_FLAG_NO_AUTO | GPT_FLAG_READ_ONLY);
                }
        } else {
                _cleanup_free_ char *name = xasprintf("%s_%s", product, version),
                                    *verity = xasprintf("%s_verity", name), *sig = xasprintf("%s_verity_sig", name);
                char data_id[37], hash_id[37], sig_id[37];

                verity_partition_ids(root_hash, data_id, hash_id);
                signature_id(root_hash, sig_id);
                if (strlen(sig) > GPT_LABEL_MAX)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "the name %s is too long for a partition label", sig);
                tag(&p[0], name, data_id, GPT_FLAG_READ_ONLY);
                tag(&p[1], verity, hash_id, GPT_FLAG_READ_ONLY);
                tag(&p[2], sig, sig_id, GPT_FLAG_READ_ONLY);
        }
        return gpt_retag(disk, architecture, p, n, reterr);
}
