/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* mtools reads the time from SOURCE_DATE_EPOCH and the local zone from TZ; mkfs.vfat has --invariant and takes the
 * volume id. Both write straight into the disk image at the partition's offset, so nothing is copied twice. Files are
 * made in the order given: FAT's short names and cluster numbers depend on it. */

#include <strings.h>
#include <sys/stat.h>

#include "esp.h"
#include "io.h"
#include "process.h"

#define FAT32_CLUSTERS_MIN 65525
#define FAT32_CLUSTERS_MAX 268435444
#define FAT32_ENTRY_SIZE 4
#define FAT32_RESERVED_SECTORS 32
/* Clusters that rounding of the two tables may cost: one is less than a table's last sector can hold. */
#define CLUSTERS_SLACK 256
#define CLUSTER_SIZE_MAX 32768
#define LONG_NAME_ENTRY_SIZE 32
#define LONG_NAME_CHARACTERS 13
#define PATH_SIZE_MAX 200
#define EPOCH_1980 INT64_C(315532800)
#define EPOCH_2107 INT64_C(4354819199)

static const char *find_tool(const char *name, const char *const *places) {
        for (; *places; places++)
                if (io_exists(AT_FDCWD, *places))
                        return *places;
        return name;
}

/* mkfs.vfat is in sbin, which an ordinary user's PATH lacks. */
static const char *mkfs_path(void) {
        static const char *const places[] = { "/usr/sbin/mkfs.vfat", "/sbin/mkfs.vfat", NULL };

        return find_tool("mkfs.vfat", places);
}

/* Runs beside the image: mtools would read an "@@" or a drive's letter in a longer path as something else. */
static int run_tool(const EspOptions *o, char *const *argv, const char *package, Error *reterr) {
        _cleanup_strv_free_ char **env = NULL;
        _cleanup_free_ char *folder = path_dirname(o->image);
        ProcessOptions opt = { .merge_stderr = true, .cwd = folder };
        const char *path = getenv("PATH");
        int r;

        strv_extendf(&env, "PATH=%s", path ?: "/usr/bin:/bin");
        strv_extend(&env, "LC_ALL=C.UTF-8");
        strv_extend(&env, "TZ=UTC0");
        strv_extend(&env, "HOME=/nonexistent");
        strv_extend(&env, "MTOOLSRC=/dev/null");
        strv_extendf(&env, "SOURCE_DATE_EPOCH=%" PRIi64, MAX(EPOCH_1980, MIN(o->epoch, EPOCH_2107)));
        opt.env = env;
        r = process_run(argv, &opt, NULL, NULL, reterr);
        if (r < 0 && reterr && reterr->message && strstr(reterr->message, "cannot run"))
                return error_hint(reterr, "install the package %s", package);
        return r;
}

static uint64_t round_up(uint64_t v, uint64_t step) {
        return (v + step - 1) / step * step;
}

static uint64_t cluster_count(uint64_t size, unsigned sector_size, unsigned cluster_sectors) {
        uint64_t cluster = (uint64_t) sector_size * cluster_sectors;
        uint64_t reserved = (uint64_t) FAT32_RESERVED_SECTORS * sector_size;

        /* Each cluster costs its bytes and an entry in both tables. */
        return size > reserved ? (size - reserved) / (cluster + 2 * FAT32_ENTRY_SIZE) : 0;
}

unsigned esp_cluster_sectors(uint64_t size, unsigned sector_size) {
        unsigned best = 0;

        for (unsigned sectors = 1; sectors * sector_size <= CLUSTER_SIZE_MAX; sectors *= 2) {
                uint64_t n = cluster_count(size, sector_size, sectors);

                /* 4 KiB is what both flash and page cache like; larger only where the table would grow too large. */
                if (n >= FAT32_CLUSTERS_MIN + CLUSTERS_SLACK && n <= FAT32_CLUSTERS_MAX &&
                    (best == 0 || sectors * sector_size <= 4096))
                        best = sectors;
        }
        return best;
}

static int file_size(const DiskFile *f, uint64_t *ret, Error *reterr) {
        struct stat st;

        *ret = f->size;
        if (f->data || !f->source)
                return 0;
        if (stat(f->source, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", f->source);
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s is not a regular file", f->source);
        *ret = (uint64_t) st.st_size;
        return 0;
}

/* Every folder above the files, each once, parents first. */
static char **collect_folders(const EspOptions *opt) {
        char **folders = NULL;

        for (size_t i = 0; i < opt->n_files; i++) {
                const char *path = opt->files[i].path;

                for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
                        char *folder = xstrndup(path, (size_t) (slash - path));

                        if (strv_contains(folders, folder))
                                free(folder);
                        else
                                strv_push(&folders, folder);
                }
        }
        return folders;
}

static uint64_t entry_size(const char *name) {
        return LONG_NAME_ENTRY_SIZE * (2 + strlen(name) / LONG_NAME_CHARACTERS);
}

int esp_needed_size(const EspOptions *opt, uint64_t *ret, Error *reterr) {
        _cleanup_strv_free_ char **folders = collect_folders(opt);
        unsigned sectors = esp_cluster_sectors(opt->size, opt->sector_size);
        uint64_t cluster = (uint64_t) MAX(sectors, 1U) * opt->sector_size, bytes = 0, names = 0;

        for (size_t i = 0; i < opt->n_files; i++) {
                uint64_t size;
                int r = file_size(opt->files + i, &size, reterr);

                if (r < 0)
                        return r;
                if (size >= UINT32_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "FAT32 cannot hold %s of %" PRIu64 " bytes",
                                         opt->files[i].path, size);
                bytes += round_up(size, cluster);
                names += entry_size(opt->files[i].path);
        }
        STRV_FOREACH (folder, folders) {
                bytes += cluster;
                names += entry_size(*folder);
        }
        /* All names might be in one folder, and each folder rounds up; then the tables, and the root folder. */
        bytes += round_up(names, cluster) + 2 * cluster;
        bytes += round_up(bytes / cluster * 2 * FAT32_ENTRY_SIZE, opt->sector_size);
        bytes += (uint64_t) FAT32_RESERVED_SECTORS * opt->sector_size + 4 * cluster;
        *ret = bytes;
        return 0;
}

static int check_path(const char *path, Error *reterr) {
        /* What FAT or mtools would read as something else: letters of drives, wild cards, blanks at the end. */
        if (!path_is_clean_relative(path) || strpbrk(path, " \"*:<>?\\|[]") || strlen(path) > PATH_SIZE_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" cannot be a path on the ESP", path);
        for (const char *p = path; *p; p++)
                if ((unsigned char) *p < ' ' || (unsigned char) *p >= 0x7f)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                         "\"%s\" cannot be a path on the ESP: plain ASCII only", path);
        return 0;
}

/* FAT does not tell upper from lower case. */
static int check_paths(const EspOptions *opt, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;

        for (size_t i = 0; i < opt->n_files; i++) {
                int r = check_path(opt->files[i].path, reterr);

                if (r < 0)
                        return r;
        }
        names = collect_folders(opt);
        for (size_t i = 0; i < opt->n_files; i++)
                strv_extend(&names, opt->files[i].path);
        STRV_FOREACH (a, names)
                STRV_FOREACH (b, a + 1)
                        if (strcasecmp(*a, *b) == 0)
                                return error_set(reterr, EEXIST, REFUSAL_BAD_VALUE,
                                                 "\"%s\" and \"%s\" would be the same name on the ESP", *a, *b);
        return 0;
}

static int check_space(const EspOptions *opt, Error *reterr) {
        uint64_t needed;
        int r;

        r = esp_needed_size(opt, &needed, reterr);
        if (r < 0)
                return r;
        if (needed > opt->size) {
                _cleanup_free_ char *have = format_bytes(opt->size), *want = format_bytes(needed);

                error_set(reterr, ENOSPC, REFUSAL_NO_SPACE, "the ESP of %s is too small: its files need %s", have,
                          want);
                return error_hint(reterr,
                                  "set EspSize=%" PRIu64 "M or more in [Disk] (twice that leaves room for updates)",
                                  round_up(needed, DISK_ALIGNMENT) / DISK_ALIGNMENT);
        }
        return 0;
}

static int make_file_system(const EspOptions *opt, Error *reterr) {
        _cleanup_strv_free_ char **argv = NULL;
        unsigned cluster = esp_cluster_sectors(opt->size, opt->sector_size);

        if (cluster == 0) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "an ESP of %" PRIu64 " bytes cannot be FAT32", opt->size);
                return error_hint(reterr, "set EspSize= between 36M (288M for 4096-byte sectors) and 64G in [Disk]");
        }
        strv_extend(&argv, mkfs_path());
        strv_extend(&argv, "--invariant");
        strv_extendf(&argv, "--offset=%" PRIu64, opt->offset / opt->sector_size);
        strv_extend(&argv, "-F32");
        strv_extendf(&argv, "-S%u", opt->sector_size);
        strv_extendf(&argv, "-s%u", cluster);
        strv_extend(&argv, "-f2");
        strv_extendf(&argv, "-R%d", FAT32_RESERVED_SECTORS);
        strv_extendf(&argv, "-h%" PRIu64, opt->offset / opt->sector_size);
        strv_extendf(&argv, "-i%08" PRIx32, opt->volume_id);
        strv_extend(&argv, "-g255/63");
        strv_extend(&argv, "-nESP");
        strv_extendf(&argv, "./%s", path_basename(opt->image));
        strv_extendf(&argv, "%" PRIu64, opt->size / 1024); /* in KiB whatever the sector size */
        return run_tool(opt, argv, "dosfstools", reterr);
}

static int make_folders(const EspOptions *opt, const char *drive, Error *reterr) {
        _cleanup_strv_free_ char **folders = collect_folders(opt), **argv = NULL;

        if (strv_length(folders) == 0)
                return 0;
        strv_extend(&argv, "mmd");
        strv_extend(&argv, "-i");
        strv_extend(&argv, drive);
        STRV_FOREACH (folder, folders)
                strv_extendf(&argv, "::/%s", *folder);
        return run_tool(opt, argv, "mtools", reterr);
}

static int copy_file(const EspOptions *opt, const char *drive, const char *scratch, const DiskFile *f, Error *reterr) {
        _cleanup_free_ char *temporary = path_join(scratch, "file"), *target = xasprintf("::/%s", f->path);
        _cleanup_free_ char *source = NULL;
        _cleanup_strv_free_ char **argv = NULL;
        int r;

        if (f->data || !f->source) {
                r = io_write_file(AT_FDCWD, temporary, f->data, f->size, 0600, reterr);
                if (r < 0)
                        return r;
        }
        source = realpath(f->data || !f->source ? temporary : f->source, NULL);
        if (!source)
                return error_errno(reterr, errno, "cannot open %s", f->source ?: temporary);
        strv_extend(&argv, "mcopy");
        strv_extend(&argv, "-i");
        strv_extend(&argv, drive);
        strv_extend(&argv, source);
        strv_extend(&argv, target);
        r = run_tool(opt, argv, "mtools", reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", f->path);
        return 0;
}

static void remove_scratch(char **path) {
        if (*path)
                (void) io_remove_tree(AT_FDCWD, *path, NULL);
        free(*path);
}

int esp_build(const EspOptions *opt, Error *reterr) {
        _cleanup_(remove_scratch) char *scratch = NULL;
        _cleanup_free_ char *drive = xasprintf("%s@@%" PRIu64, path_basename(opt->image), opt->offset);
        int r;

        r = check_paths(opt, reterr);
        if (r >= 0)
                r = check_space(opt, reterr);
        if (r >= 0)
                r = make_file_system(opt, reterr);
        if (r >= 0)
                r = make_folders(opt, drive, reterr);
        if (r >= 0)
                r = io_temporary_folder("esp", &scratch, reterr);
        for (size_t i = 0; i < opt->n_files && r >= 0; i++)
                r = copy_file(opt, drive, scratch, opt->files + i, reterr);
        if (r < 0)
                return error_prefix(reterr, "ESP");
        return 0;
}
