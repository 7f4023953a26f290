/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Partition tables. libfdisk makes them; this file decides where partitions lie and refuses tables that libfdisk would
 * silently repair, because a repaired table is a guess, unless the caller asks for just that.
 *
 * A table that a running machine needs is changed on a copy of it in memory: libfdisk syncs between entries and header
 * of the primary table, and a cut there would leave a disk on which the kernel finds no partitions. */

#include <ctype.h>
#include <libfdisk.h>
#include <linux/fs.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "gpt.h"
#include "io.h"

#define ALIGNMENT (UINT64_C(1) << 20)
#define PARTITIONS_MAX 128
/* Behind the last partition: 128 entries of 128 bytes and the backup header, which is less than this for either sector
 * size. */
#define BACKUP_SIZE ALIGNMENT
/* Sectors of protective MBR, header and entries; the backup has no MBR. Entries are fewer sectors where those are
 * large. */
#define PRIMARY_SECTORS 34
#define BACKUP_SECTORS 33

typedef struct fdisk_context FdiskContext;
typedef struct fdisk_partition FdiskPartition;
typedef struct fdisk_table FdiskTable;
typedef struct fdisk_parttype FdiskPartitionType;
DEFINE_CLEANUP(FdiskContext *, fdisk_unref_context)
DEFINE_CLEANUP(FdiskPartition *, fdisk_unref_partition)
DEFINE_CLEANUP(FdiskTable *, fdisk_unref_table)
DEFINE_CLEANUP(FdiskPartitionType *, fdisk_unref_parttype)

static const struct {
        const char *architecture;
        const char *uuids[_PARTITION_TYPE_MAX];
} types[] = {
        { "amd64",
          {
                  [PARTITION_ESP] = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
                  [PARTITION_USR] = "8484680c-9521-48c6-9c11-b0720656f69e",
                  [PARTITION_USR_VERITY] = "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
                  [PARTITION_USR_VERITY_SIG] = "e7bb33fb-06cf-4e81-8273-e543b413e2e2",
                  [PARTITION_ROOT] = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
          } },
        { "arm64",
          {
                  [PARTITION_ESP] = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
                  [PARTITION_USR] = "b0e01050-ee5f-4390-949a-9101b17104e9",
                  [PARTITION_USR_VERITY] = "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
                  [PARTITION_USR_VERITY_SIG] = "c23ce4ff-44bd-4b00-b2d4-b41b3419e02a",
                  [PARTITION_ROOT] = "b921b045-1df0-41c3-af44-4c6f280d3fae",
          } },
};

/* libfdisk reports what it repaired as warnings to this callback. */
static int keep_warning(FdiskContext *cxt, struct fdisk_ask *ask, void *userdata) {
        char **kept = userdata;

        if (fdisk_ask_get_type(ask) == FDISK_ASKTYPE_WARN || fdisk_ask_get_type(ask) == FDISK_ASKTYPE_WARNX) {
                free(*kept);
                *kept = xstrdup(fdisk_ask_print_get_mesg(ask));
        }
        return 0;
}

static int open_context(const char *path, bool read_only, unsigned sector_size, char **warning, FdiskContext **ret,
                        Error *reterr) {
        _cleanup_(fdisk_unref_contextp) FdiskContext *cxt = fdisk_new_context();
        int r;

        if (!cxt)
                abort();
        (void) fdisk_set_ask(cxt, keep_warning, warning);
        fdisk_disable_dialogs(cxt, 1);
        if (sector_size > 0) {
                r = fdisk_save_user_sector_size(cxt, sector_size, sector_size);
                if (r < 0)
                        return error_errno(reterr, r, "cannot use a sector size of %u", sector_size);
        }
        r = fdisk_assign_device(cxt, path, read_only);
        if (r < 0)
                return error_errno(reterr, r, "cannot open %s as a disk", path);
        *ret = TAKE_PTR(cxt);
        return 0;
}

const char *partition_type_uuid(PartitionType type, const char *architecture) {
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (streq(types[i].architecture, architecture) && type < PARTITION_OTHER)
                        return types[i].uuids[type];
        return NULL;
}

static PartitionType type_from_uuid(const char *uuid, const char *architecture) {
        for (PartitionType t = 0; t < PARTITION_OTHER; t++) {
                const char *known = partition_type_uuid(t, architecture);

                if (known && strcasecmp(known, uuid) == 0)
                        return t;
        }
        return PARTITION_OTHER;
}

static bool uuid_is_valid(const char *s) {
        if (strlen(s) != 36)
                return false;
        for (size_t i = 0; i < 36; i++)
                if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !strchr("0123456789abcdef", s[i]))
                        return false;
        return true;
}

/* Offsets for those that have none; everything must lie in order, aligned, without overlap and before the backup. */
static int place_partitions(GptPartition *partitions, size_t n, uint64_t disk_size, Error *reterr) {
        uint64_t next = ALIGNMENT;

        for (size_t i = 0; i < n; i++) {
                GptPartition *p = partitions + i;
                uint64_t end;

                if (p->offset == 0)
                        p->offset = next;
                if (p->offset % ALIGNMENT != 0 || p->offset < next || p->size == 0 || p->size % 4096 != 0)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "partition %zu (%s) cannot start at byte %" PRIu64 " with %" PRIu64 " bytes",
                                         i + 1, p->label, p->offset, p->size);
                if (__builtin_add_overflow(p->offset, p->size, &end) || disk_size < BACKUP_SIZE ||
                    end > disk_size - BACKUP_SIZE)
                        return error_set(reterr, ENOSPC, REFUSAL_NO_SPACE,
                                         "partition %zu (%s) does not fit on a disk of %" PRIu64 " bytes", i + 1,
                                         p->label, disk_size);
                next = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        return 0;
}

static int check_ids(const char *disk_uuid, const GptPartition *partitions, size_t n, Error *reterr) {
        if (n > PARTITIONS_MAX)
                return error_set(reterr, EINVAL, REFUSAL_TOO_LARGE, "%zu partitions are more than %d", n,
                                 PARTITIONS_MAX);
        if (!uuid_is_valid(disk_uuid))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the disk's id \"%s\" is not a UUID", disk_uuid);
        for (size_t i = 0; i < n; i++) {
                if (!uuid_is_valid(partitions[i].uuid))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "the id \"%s\" of partition %zu is not a UUID", partitions[i].uuid, i + 1);
                for (size_t k = 0; k < i; k++)
                        if (streq(partitions[i].uuid, partitions[k].uuid))
                                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                                 "partitions %zu and %zu have the same id %s", k + 1, i + 1,
                                                 partitions[i].uuid);
        }
        return 0;
}

static int add_partition(FdiskContext *cxt, const char *architecture, unsigned sector_size, size_t number,
                         GptPartition *p, Error *reterr) {
        _cleanup_(fdisk_unref_partitionp) FdiskPartition *pa = fdisk_new_partition();
        _cleanup_(fdisk_unref_parttypep) FdiskPartitionType *type = NULL;
        const char *type_uuid = p->type == PARTITION_OTHER ? p->type_uuid : partition_type_uuid(p->type, architecture);
        int r;

        if (!pa)
                abort();
        if (!type_uuid || !uuid_is_valid(type_uuid))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "there is no partition type for %s on the architecture %s", p->label, architecture);
        type = fdisk_label_parse_parttype(fdisk_get_label(cxt, NULL), type_uuid);
        if (!type)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the partition type %s is not known", type_uuid);
        r = fdisk_partition_set_partno(pa, number);
        if (r >= 0)
                r = fdisk_partition_set_start(pa, p->offset / sector_size);
        if (r >= 0)
                r = fdisk_partition_set_size(pa, p->size / sector_size);
        if (r >= 0)
                r = fdisk_partition_size_explicit(pa, 1);
        if (r >= 0)
                r = fdisk_partition_set_type(pa, type);
        if (r >= 0)
                r = fdisk_partition_set_name(pa, p->label);
        if (r >= 0)
                r = fdisk_partition_set_uuid(pa, p->uuid);
        if (r >= 0)
                r = fdisk_add_partition(cxt, pa, NULL);
        if (r >= 0 && p->flags)
                r = fdisk_gpt_set_partition_attrs(cxt, number, p->flags);
        if (r < 0)
                return error_errno(reterr, r, "cannot add partition %zu (%s)", number + 1, p->label);
        p->number = (unsigned) number + 1;
        if (type_uuid != p->type_uuid)
                snprintf(p->type_uuid, sizeof(p->type_uuid), "%s", type_uuid);
        return 0;
}

static int file_size(const char *path, uint64_t *ret, Error *reterr) {
        struct stat st;

        if (stat(path, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        *ret = (uint64_t) st.st_size;
        return 0;
}

int gpt_create(const char *path, unsigned sector_size, const char *disk_uuid, const char *architecture,
               GptPartition *partitions, size_t n, Error *reterr) {
        _cleanup_(fdisk_unref_contextp) FdiskContext *cxt = NULL;
        _cleanup_free_ char *warning = NULL;
        uint64_t size = 0;
        int r;

        if (sector_size != 512 && sector_size != 4096)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "disks have sectors of 512 or 4096 bytes, not %u",
                                 sector_size);
        r = file_size(path, &size, reterr);
        if (r >= 0)
                r = check_ids(disk_uuid, partitions, n, reterr);
        if (r >= 0)
                r = place_partitions(partitions, n, size, reterr);
        if (r >= 0)
                r = open_context(path, /* read_only= */ false, sector_size, &warning, &cxt, reterr);
        if (r < 0)
                return r;
        r = fdisk_create_disklabel(cxt, "gpt");
        if (r >= 0)
                r = fdisk_set_disklabel_id_from_string(cxt, disk_uuid);
        if (r < 0)
                return error_errno(reterr, r, "cannot make a partition table on %s", path);
        for (size_t i = 0; i < n; i++) {
                r = add_partition(cxt, architecture, sector_size, i, partitions + i, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", path);
        }
        r = fdisk_write_disklabel(cxt);
        if (r >= 0)
                r = fdisk_deassign_device(cxt, /* nosync= */ 1);
        if (r < 0)
                return error_errno(reterr, r, "cannot write the partition table of %s", path);
        return 0;
}

/* A file does not say how large its sectors are meant to be; the place of the header does. 0: a device, which says. */
static int probe_sector_size(const char *path, unsigned *ret, Error *reterr) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        static const unsigned sizes[] = { 512, 4096 };
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        if (S_ISBLK(st.st_mode)) {
                *ret = 0;
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                char signature[8];

                if (pread(fd, signature, sizeof(signature), sizes[i]) == (ssize_t) sizeof(signature) &&
                    memcmp(signature, "EFI PART", sizeof(signature)) == 0) {
                        *ret = sizes[i];
                        return 0;
                }
        }
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s has no GPT partition table", path);
}

static int read_partition(FdiskContext *cxt, FdiskPartition *pa, const char *architecture, GptPartition *ret,
                          Error *reterr) {
        uint64_t sector = fdisk_get_sector_size(cxt);
        FdiskPartitionType *type = fdisk_partition_get_type(pa);
        const char *uuid = fdisk_partition_get_uuid(pa), *label = fdisk_partition_get_name(pa);
        const char *type_uuid = type ? fdisk_parttype_get_string(type) : NULL;
        GptPartition p = { .number = (unsigned) fdisk_partition_get_partno(pa) + 1 };

        if (!uuid || strlen(uuid) != 36 || !type_uuid || strlen(type_uuid) != 36 ||
            (label && strlen(label) > GPT_LABEL_MAX) || !fdisk_partition_has_start(pa) ||
            !fdisk_partition_has_size(pa) || __builtin_mul_overflow(fdisk_partition_get_start(pa), sector, &p.offset) ||
            __builtin_mul_overflow(fdisk_partition_get_size(pa), sector, &p.size))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "partition %zu is malformed",
                                 fdisk_partition_get_partno(pa) + 1);
        for (size_t i = 0; i < 36; i++) {
                p.uuid[i] = (char) tolower((unsigned char) uuid[i]);
                p.type_uuid[i] = (char) tolower((unsigned char) type_uuid[i]);
        }
        memcpy(p.label, label ?: "", strlen(label ?: ""));
        p.type = type_from_uuid(p.type_uuid, architecture);
        if (fdisk_gpt_get_partition_attrs(cxt, fdisk_partition_get_partno(pa), &p.flags) < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "partition %zu has no flags",
                                 fdisk_partition_get_partno(pa) + 1);
        *ret = p;
        return 0;
}

static int collect_partitions(FdiskContext *cxt, const char *architecture, GptPartition **ret, size_t *ret_n,
                              Error *reterr) {
        _cleanup_(fdisk_unref_tablep) FdiskTable *table = NULL;
        _cleanup_free_ GptPartition *l = NULL;
        size_t n;
        int r;

        r = fdisk_get_partitions(cxt, &table);
        if (r < 0)
                return error_errno(reterr, r, "cannot read the partition table");
        n = fdisk_table_get_nents(table);
        l = xnew(GptPartition, n + 1);
        for (size_t i = 0; i < n; i++) {
                r = read_partition(cxt, fdisk_table_get_partition(table, i), architecture, l + i, reterr);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(l);
        *ret_n = n;
        return 0;
}

/* Opens a table that is whole; sector_size as probed. ret_damaged (may be NULL): one of its two copies may be damaged.
 */
static int open_table(const char *path, char **warning, FdiskContext **ret, bool *ret_damaged, Error *reterr) {
        _cleanup_(fdisk_unref_contextp) FdiskContext *cxt = NULL;
        unsigned sector_size = 0;
        int r;

        r = probe_sector_size(path, &sector_size, reterr);
        if (r >= 0)
                r = open_context(path, /* read_only= */ true, sector_size, warning, &cxt, reterr);
        if (r < 0)
                return r;
        if (!fdisk_is_labeltype(cxt, FDISK_DISKLABEL_GPT))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s has no usable GPT partition table%s%s", path,
                                 *warning ? ": " : "", *warning ?: "");
        /* libfdisk has taken the good copy for the other one by now. */
        if ((*warning && !ret_damaged) || fdisk_verify_disklabel(cxt) != 0) {
                error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the partition table of %s is damaged: %s", path,
                          *warning ?: "its parts contradict each other");
                return error_hint(reterr, "sgdisk --verify %s says more", path);
        }
        if (ret_damaged)
                *ret_damaged = *warning;
        *ret = TAKE_PTR(cxt);
        return 0;
}

static int read_table(const char *path, const char *architecture, GptPartition **ret, size_t *ret_n, bool *ret_damaged,
                      Error *reterr) {
        _cleanup_(fdisk_unref_contextp) FdiskContext *cxt = NULL;
        _cleanup_free_ char *warning = NULL;
        int r;

        r = open_table(path, &warning, &cxt, ret_damaged, reterr);
        if (r < 0)
                return r;
        r = collect_partitions(cxt, architecture, ret, ret_n, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        return 0;
}

int gpt_read(const char *path, const char *architecture, GptPartition **ret, size_t *ret_n, Error *reterr) {
        return read_table(path, architecture, ret, ret_n, NULL, reterr);
}

int gpt_read_usable(const char *path, const char *architecture, GptPartition **ret, size_t *ret_n, bool *ret_damaged,
                    Error *reterr) {
        return read_table(path, architecture, ret, ret_n, ret_damaged, reterr);
}

/* ---- changing a table in use ---- */

typedef struct TableCopy {
        int disk_fd, copy_fd;
        char path[32]; /* of the copy */
        unsigned sector_size;
        uint64_t primary_size, backup_offset, backup_size;
} TableCopy;

static void table_copy_done(TableCopy *t) {
        safe_close(t->disk_fd);
        safe_close(t->copy_fd);
}

static int copy_part(int from_fd, int to_fd, uint64_t offset, uint64_t size, Error *reterr) {
        _cleanup_free_ char *data = xmalloc(size);
        int r;

        r = io_pread_all(from_fd, data, size, offset, reterr);
        return r < 0 ? r : io_pwrite_all(to_fd, data, size, offset, reterr);
}

/* As large as the disk, but only the tables take room in it. */
static int table_copy_open(const char *path, TableCopy *t, Error *reterr) {
        off_t size;
        int r;

        r = probe_sector_size(path, &t->sector_size, reterr);
        if (r < 0)
                return r;
        t->disk_fd = open(path, O_RDWR | O_CLOEXEC);
        t->copy_fd = memfd_create("partition-table", MFD_CLOEXEC);
        if (t->disk_fd < 0 || t->copy_fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        if (t->sector_size == 0) {
                int sector_size = 0;

                if (ioctl(t->disk_fd, BLKSSZGET, &sector_size) < 0)
                        return error_errno(reterr, errno, "cannot ask %s for its sectors", path);
                t->sector_size = (unsigned) sector_size;
        }
        size = lseek(t->disk_fd, 0, SEEK_END);
        t->primary_size = (uint64_t) PRIMARY_SECTORS * t->sector_size;
        t->backup_size = (uint64_t) BACKUP_SECTORS * t->sector_size;
        if (size < 0 || (uint64_t) size < t->primary_size + t->backup_size)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is too small for a partition table", path);
        t->backup_offset = (uint64_t) size - t->backup_size;
        if (ftruncate(t->copy_fd, size) < 0)
                return error_errno(reterr, errno, "cannot copy the partition table of %s", path);
        snprintf(t->path, sizeof t->path, "/proc/self/fd/%d", t->copy_fd);
        r = copy_part(t->disk_fd, t->copy_fd, 0, t->primary_size, reterr);
        if (r >= 0)
                r = copy_part(t->disk_fd, t->copy_fd, t->backup_offset, t->backup_size, reterr);
        return r;
}

/* ORDER: the backup is whole before the primary is touched. The primary is one write, and where the first entries
 * change they are in one page with their header. */
static int table_copy_commit(const TableCopy *t, Error *reterr) {
        int r;

        r = copy_part(t->copy_fd, t->disk_fd, t->backup_offset, t->backup_size, reterr);
        if (r >= 0)
                r = io_sync_fd(t->disk_fd, reterr);
        if (r >= 0)
                r = copy_part(t->copy_fd, t->disk_fd, 0, t->primary_size, reterr);
        if (r >= 0)
                r = io_sync_fd(t->disk_fd, reterr);
        return r;
}

static int retag_partition(FdiskContext *cxt, const GptPartition *p, Error *reterr) {
        _cleanup_(fdisk_unref_partitionp) FdiskPartition *pa = fdisk_new_partition();
        int r;

        if (!pa)
                abort();
        if (!uuid_is_valid(p->uuid))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the id \"%s\" is not a UUID", p->uuid);
        r = fdisk_partition_set_name(pa, p->label);
        if (r >= 0)
                r = fdisk_partition_set_uuid(pa, p->uuid);
        if (r >= 0)
                r = fdisk_set_partition(cxt, p->number - 1, pa);
        if (r >= 0)
                r = fdisk_gpt_set_partition_attrs(cxt, p->number - 1, p->flags);
        if (r < 0)
                return error_errno(reterr, r, "cannot rename partition %u to %s", p->number, p->label);
        return 0;
}

static const GptPartition *find_number(const GptPartition *l, size_t n, unsigned number) {
        for (size_t i = 0; i < n; i++)
                if (l[i].number == number)
                        return l + i;
        return NULL;
}

/* The table with those partitions changed, onto the disk. */
static int rewrite(const char *path, const GptPartition *partitions, size_t n, Error *reterr) {
        _cleanup_(table_copy_done) TableCopy t = { .disk_fd = -EBADF, .copy_fd = -EBADF };
        _cleanup_(fdisk_unref_contextp) FdiskContext *cxt = NULL;
        _cleanup_free_ char *warning = NULL;
        int r;

        r = table_copy_open(path, &t, reterr);
        if (r >= 0)
                r = open_context(t.path, /* read_only= */ false, t.sector_size, &warning, &cxt, reterr);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = retag_partition(cxt, partitions + i, reterr);
        if (r < 0)
                return r;
        r = fdisk_write_disklabel(cxt);
        if (r >= 0)
                r = fdisk_deassign_device(cxt, /* nosync= */ 1);
        if (r < 0)
                return error_errno(reterr, r, "cannot make the new partition table of %s", path);
        r = table_copy_commit(&t, reterr);
        return r < 0 ? error_prefix(reterr, "the partition table of %s", path) : 0;
}

int gpt_retag(const char *path, const char *architecture, const GptPartition *partitions, size_t n, Error *reterr) {
        _cleanup_free_ GptPartition *there = NULL;
        size_t n_there = 0;
        bool damaged;
        int r;

        r = gpt_read_usable(path, architecture, &there, &n_there, &damaged, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                const GptPartition *p = find_number(there, n_there, partitions[i].number);

                if (!p || !streq(p->type_uuid, partitions[i].type_uuid) || p->offset != partitions[i].offset ||
                    p->size != partitions[i].size)
                        return error_set(reterr, ESTALE, REFUSAL_STALE, "partition %u of %s is not what it was",
                                         partitions[i].number, path);
        }
        return rewrite(path, partitions, n, reterr);
}

int gpt_repair(const char *path, const char *architecture, Error *reterr) {
        _cleanup_free_ GptPartition *there = NULL;
        size_t n_there = 0;
        bool damaged = false;
        int r;

        r = gpt_read_usable(path, architecture, &there, &n_there, &damaged, reterr);
        if (r >= 0 && damaged)
                r = rewrite(path, NULL, 0, reterr);
        return r < 0 ? r : damaged;
}
