/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The partitions are laid out first, then everything is checked against its place, and only then is the file made: a
 * refusal costs nothing and leaves nothing. */

#include <strings.h>
#include <sys/stat.h>

#include "disk.h"
#include "esp.h"
#include "io.h"
#include "verity.h"

#define USR_SIZE_STEP (UINT64_C(64) << 20)
#define ROOT_SIZE_MAX (UINT64_C(64) << 40)
#define PARTITION_ID_CONTEXT "sealab disk 1"

/* The table's order; slot B follows slot A. */
enum {
        PLACE_ESP,
        PLACE_USR,
        PLACE_VERITY,
        PLACE_SIG,
        PLACE_USR_B,
        PLACE_VERITY_B,
        PLACE_SIG_B,
        _PLACES,
};

typedef struct Plan {
        GptPartition partitions[_PLACES];
        uint64_t size; /* of the disk */
        unsigned sector_size;
        char id[37];
} Plan;

static uint64_t round_up(uint64_t v, uint64_t step) {
        return (v + step - 1) / step * step;
}

static int check_sizes(const DiskOptions *opt, Error *reterr) {
        const struct {
                const char *key;
                uint64_t value, min, max;
        } sizes[] = {
                { "EspSize=", opt->esp_size, DISK_ESP_SIZE_MIN, DISK_ESP_SIZE_MAX },
                { "UsrSize=", opt->usr_size, DISK_ALIGNMENT, ROOT_SIZE_MAX },
                { "RootMinSize=", opt->root_size, 0, ROOT_SIZE_MAX },
        };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
                if (sizes[i].value < sizes[i].min || sizes[i].value > sizes[i].max ||
                    sizes[i].value % DISK_ALIGNMENT != 0) {
                        error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s cannot be %" PRIu64 " bytes", sizes[i].key,
                                  sizes[i].value);
                        return error_hint(reterr, "[Disk] %s takes whole MiB, from %" PRIu64 "M to %" PRIu64 "M",
                                          sizes[i].key, sizes[i].min >> 20, sizes[i].max >> 20);
                }
        return 0;
}

static int measure(const char *path, uint64_t *ret, Error *reterr) {
        struct stat st;

        if (stat(path, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        *ret = (uint64_t) st.st_size;
        return 0;
}

static int check_images(const DiskOptions *opt, Error *reterr) {
        uint64_t usr = 0, verity = 0;
        int r;

        r = measure(opt->usr_path, &usr, reterr);
        if (r >= 0)
                r = measure(opt->verity_path, &verity, reterr);
        if (r < 0)
                return r;
        if (usr > opt->usr_size) {
                _cleanup_free_ char *have = format_bytes(opt->usr_size), *want = format_bytes(usr);

                error_set(reterr, ENOSPC, REFUSAL_NO_SPACE, "the /usr image of %s does not fit its partition of %s",
                          want, have);
                return error_hint(reterr,
                                  "set UsrSize=%" PRIu64
                                  "M or more in [Disk]; machines installed before keep their old "
                                  "partitions, so leave room to grow",
                                  round_up(usr, USR_SIZE_STEP) >> 20);
        }
        if (verity > disk_verity_size(opt->usr_size))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "%s is larger than the hash tree of any image that fits the partition",
                                 opt->verity_path);
        if (opt->verity_sig_size > DISK_SIG_SIZE)
                return error_set(reterr, EFBIG, REFUSAL_NO_SPACE, "a root hash signature of %zu bytes is too large",
                                 opt->verity_sig_size);
        return 0;
}

static void set_partition(GptPartition *p, PartitionType type, uint64_t size, uint64_t flags, const char *label_fmt,
                          const char *image_id, const char *version) {
        p->type = type;
        p->size = size;
        p->flags = flags;
        (void) snprintf(p->label, sizeof(p->label), label_fmt, image_id, version);
}

static void plan_slot_b(const DiskOptions *opt, GptPartition *slot_b) {
        static const struct {
                PartitionType type;
                const char *name;
        } parts[] = {
                { PARTITION_USR, "usr-b" },
                { PARTITION_USR_VERITY, "usr-verity-b" },
                { PARTITION_USR_VERITY_SIG, "usr-verity-sig-b" },
        };
        const uint64_t sizes[] = { opt->usr_size, disk_verity_size(opt->usr_size), DISK_SIG_SIZE };

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                set_partition(slot_b + i, parts[i].type, sizes[i], GPT_FLAG_NO_AUTO | GPT_FLAG_READ_ONLY,
                              DISK_LABEL_EMPTY, NULL, NULL);
                disk_partition_id(opt->image_id, opt->version, parts[i].name, slot_b[i].uuid);
        }
}

static void make_plan(const DiskOptions *opt, Plan *ret) {
        Plan p = { .sector_size = opt->sector_size ?: 512 };
        GptPartition *l = p.partitions;

        set_partition(l + PLACE_ESP, PARTITION_ESP, opt->esp_size, 0, "esp", NULL, NULL);
        disk_partition_id(opt->image_id, opt->version, "esp", l[PLACE_ESP].uuid);
        set_partition(l + PLACE_USR, PARTITION_USR, opt->usr_size, GPT_FLAG_READ_ONLY, "%s_%s", opt->image_id,
                      opt->version);
        set_partition(l + PLACE_VERITY, PARTITION_USR_VERITY, disk_verity_size(opt->usr_size), GPT_FLAG_READ_ONLY,
                      "%s_%s_verity", opt->image_id, opt->version);
        verity_partition_ids(&opt->root_hash, l[PLACE_USR].uuid, l[PLACE_VERITY].uuid);
        set_partition(l + PLACE_SIG, PARTITION_USR_VERITY_SIG, DISK_SIG_SIZE, GPT_FLAG_READ_ONLY, "%s_%s_verity_sig",
                      opt->image_id, opt->version);
        disk_partition_id(opt->image_id, opt->version, "usr-verity-sig-a", l[PLACE_SIG].uuid);
        plan_slot_b(opt, l + PLACE_USR_B);
        disk_partition_id(opt->image_id, opt->version, "disk", p.id);

        p.size = 2 * DISK_ALIGNMENT + opt->root_size; /* the table, and its copy at the end */
        for (size_t i = 0; i < _PLACES; i++)
                p.size += l[i].size;
        *ret = p;
}

static int create_file(const char *path, uint64_t size, Error *reterr) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

        if (fd < 0 && errno == EEXIST)
                return error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s exists already", path);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot create %s", path);
        if (fchmod(fd, 0644) < 0 || ftruncate(fd, (off_t) size) < 0) {
                int r = error_errno(reterr, errno, "cannot make %s %" PRIu64 " bytes large", path, size);

                (void) io_unlink(AT_FDCWD, path, NULL);
                return r;
        }
        return 0;
}

static int fill_partition(int disk_fd, const GptPartition *p, const char *path, Error *reterr) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        if ((uint64_t) st.st_size > p->size)
                return error_set(reterr, EBUSY, REFUSAL_NO_SPACE, "%s grew while it was copied", path);
        r = io_copy_range(fd, 0, disk_fd, p->offset, (uint64_t) st.st_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        return 0;
}

static int fill_slot(const DiskOptions *opt, const Plan *plan, Error *reterr) {
        _cleanup_close_ int fd = open(opt->output, O_RDWR | O_CLOEXEC);
        int r;

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", opt->output);
        r = fill_partition(fd, plan->partitions + PLACE_USR, opt->usr_path, reterr);
        if (r >= 0)
                r = fill_partition(fd, plan->partitions + PLACE_VERITY, opt->verity_path, reterr);
        if (r >= 0 && opt->verity_sig)
                r = io_pwrite_all(fd, opt->verity_sig, opt->verity_sig_size, plan->partitions[PLACE_SIG].offset,
                                  reterr);
        return r;
}

static DiskFile *collect_files(const DiskOptions *opt, const char *uki_path, size_t *ret_n) {
        static const struct {
                const char *architecture, *fallback, *loader;
        } names[] = {
                { "amd64", "EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi" },
                { "arm64", "EFI/BOOT/BOOTAA64.EFI", "EFI/systemd/systemd-bootaa64.efi" },
        };
        DiskFile *files = xnew(DiskFile, 4 + opt->n_extra_files);
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(names[i].architecture, opt->architecture)) {
                        files[n] = opt->boot_loader;
                        files[n++].path = names[i].fallback;
                        files[n] = opt->boot_loader;
                        files[n++].path = names[i].loader;
                }
        files[n++] =
                (DiskFile){ .path = "loader/loader.conf", .data = opt->loader_conf, .size = strlen(opt->loader_conf) };
        files[n] = opt->uki;
        files[n++].path = uki_path;
        for (size_t i = 0; i < opt->n_extra_files; i++)
                files[n++] = opt->extra_files[i];
        *ret_n = n;
        return files;
}

static uint32_t volume_id(const char *partition_id) {
        uint32_t id = 0;

        for (int i = 0; i < 8; i++)
                id = id << 4 | (uint32_t) (partition_id[i] <= '9' ? partition_id[i] - '0' : partition_id[i] - 'a' + 10);
        return id;
}

static int check_options(const DiskOptions *opt, Error *reterr) {
        int r;

        if (!partition_type_uuid(PARTITION_USR, opt->architecture))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "disks for the architecture %s are not known",
                                 opt->architecture);
        if (opt->n_extra_files > DISK_EXTRA_FILES_MAX)
                return error_set(reterr, EINVAL, REFUSAL_TOO_LARGE, "%zu extra files are too many for the ESP",
                                 opt->n_extra_files);
        if (strchr(opt->uki.path, '/') || !endswith(opt->uki.path, ".efi"))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" cannot be the name of a UKI in EFI/Linux",
                                 opt->uki.path);
        r = disk_check_labels(opt->image_id, opt->version, reterr);
        if (r >= 0)
                r = check_sizes(opt, reterr);
        if (r >= 0)
                r = check_images(opt, reterr);
        return r;
}

static int build_into(const DiskOptions *opt, Plan *plan, const DiskFile *files, size_t n_files, Error *reterr) {
        EspOptions esp = {
                .image = opt->output,
                .size = opt->esp_size,
                .sector_size = plan->sector_size,
                .epoch = opt->epoch,
                .volume_id = volume_id(plan->partitions[PLACE_ESP].uuid),
                .files = files,
                .n_files = n_files,
        };
        int r;

        r = gpt_create(opt->output, plan->sector_size, plan->id, opt->architecture, plan->partitions, _PLACES, reterr);
        if (r < 0)
                return r;
        esp.offset = plan->partitions[PLACE_ESP].offset;
        r = esp_build(&esp, reterr);
        if (r >= 0)
                r = fill_slot(opt, plan, reterr);
        return r;
}

int disk_build(const DiskOptions *opt, Error *reterr) {
        _cleanup_free_ char *uki_path = NULL;
        _cleanup_free_ DiskFile *files = NULL;
        size_t n_files;
        Plan plan;
        int r;

        r = check_options(opt, reterr);
        if (r < 0)
                return error_prefix(reterr, "disk image");
        make_plan(opt, &plan);
        uki_path = xasprintf("EFI/Linux/%s", opt->uki.path);
        files = collect_files(opt, uki_path, &n_files);
        r = create_file(opt->output, plan.size, reterr);
        if (r < 0)
                return error_prefix(reterr, "disk image");
        r = build_into(opt, &plan, files, n_files, reterr);
        if (r < 0) {
                (void) io_unlink(AT_FDCWD, opt->output, NULL);
                return error_prefix(reterr, "disk image");
        }
        return 0;
}

uint64_t disk_verity_size(uint64_t usr_size) {
        return round_up(verity_hash_size(usr_size), DISK_ALIGNMENT);
}

uint64_t disk_default_usr_size(uint64_t image_size) {
        return round_up(MAX(2 * image_size, UINT64_C(1)), USR_SIZE_STEP);
}

int disk_check_labels(const char *image_id, const char *version, Error *reterr) {
        size_t size = strlen(image_id) + 1 + strlen(version) + strlen("_verity_sig");

        if (size > GPT_LABEL_MAX) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                          "the partition label \"%s_%s_verity_sig\" has %zu characters, a partition table holds %d",
                          image_id, version, size, GPT_LABEL_MAX);
                return error_hint(reterr, "shorten Id= or Version= in [Image]: together at most %zu characters",
                                  GPT_LABEL_MAX - 1 - strlen("_verity_sig"));
        }
        if (isempty(image_id) || isempty(version) || strchr(image_id, '_'))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "\"%s\" and \"%s\" cannot name a partition: the id must not hold a \"_\"", image_id,
                                 version);
        return 0;
}

void disk_partition_id(const char *image_id, const char *version, const char *name, char ret[static 37]) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        char second[37];
        Sha256 hash;

        hasher_update_string(h, PARTITION_ID_CONTEXT);
        hasher_update_string(h, image_id);
        hasher_update_string(h, version);
        hasher_update_string(h, name);
        hasher_final(h, &hash);
        hash.bytes[6] = (uint8_t) ((hash.bytes[6] & 0x0f) | 0x80);
        hash.bytes[8] = (uint8_t) ((hash.bytes[8] & 0x3f) | 0x80);
        verity_partition_ids(&hash, ret, second);
}

/* The next partition of the type behind *position; *position moves there. */
static const GptPartition *next_of_type(const DiskLayout *l, PartitionType type, size_t *position) {
        while (*position < l->n_partitions) {
                const GptPartition *p = l->partitions + (*position)++;

                if (p->type == type)
                        return p;
        }
        return NULL;
}

static int read_slot(DiskSlot *slot, const char *path, Error *reterr) {
        const char *version = strchr(slot->usr->label, '_');

        slot->is_empty = streq(slot->usr->label, DISK_LABEL_EMPTY);
        if (slot->is_empty)
                return 0;
        if (!version || version == slot->usr->label || !version[1])
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: the label \"%s\" of a usr partition is not ID_VERSION", path, slot->usr->label);
        slot->version = xstrdup(version + 1);
        return 0;
}

void disk_layout_done(DiskLayout *l) {
        for (size_t i = 0; i < ELEMENTSOF(l->slots); i++)
                free(l->slots[i].version);
        free(l->partitions);
        *l = (DiskLayout){};
}

int disk_read_slots(const char *path, const char *architecture, DiskLayout *ret, Error *reterr) {
        size_t esp = 0, usr = 0, verity = 0, sig = 0;
        _cleanup_disk_layout_ DiskLayout l = {};
        int r;

        r = gpt_read(path, architecture, &l.partitions, &l.n_partitions, reterr);
        if (r < 0)
                return r;
        l.esp = next_of_type(&l, PARTITION_ESP, &esp);
        for (size_t i = 0; i < ELEMENTSOF(l.slots); i++) {
                DiskSlot *slot = l.slots + i;

                slot->usr = next_of_type(&l, PARTITION_USR, &usr);
                slot->verity = next_of_type(&l, PARTITION_USR_VERITY, &verity);
                slot->sig = next_of_type(&l, PARTITION_USR_VERITY_SIG, &sig);
                if (!l.esp || !slot->usr || !slot->verity || !slot->sig)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "%s does not have an ESP and two slots for %s", path, architecture);
                r = read_slot(slot, path, reterr);
                if (r < 0)
                        return r;
        }
        *ret = l;
        l = (DiskLayout){};
        return 0;
}
