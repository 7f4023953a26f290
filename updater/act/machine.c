/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <dirent.h>
#include <libcryptsetup.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "io.h"
#include "machine.h"
#include "pe.h"
#include "version.h"

#define SMALL_FILE_MAX ((size_t) 64 << 10)
#define MOUNTINFO_MAX ((size_t) 4 << 20)
#define UKI_SIZE_MAX (INT64_C(1) << 30)
#define ENTRIES_FOLDER "EFI/Linux"
#define LABEL_EMPTY "_empty"

typedef struct crypt_device CryptDevice;
DEFINE_CLEANUP(CryptDevice *, crypt_free)

Machine *machine_free(Machine *m) {
        if (!m)
                return NULL;
        free(m->product);
        free(m->version);
        free(m->architecture);
        free(m->root);
        free(m->disk);
        free(m->boot);
        for (size_t i = 0; i < m->n_slots; i++)
                free(m->slots[i].version);
        for (size_t i = 0; i < m->n_entries; i++) {
                free(m->entries[i].file);
                free(m->entries[i].version);
        }
        free(m);
        return NULL;
}

/* ---- who it is ---- */

static char *read_small(const char *root, const char *path) {
        _cleanup_free_ char *full = path_join(root, path);
        char *text = NULL;
        size_t size;

        return io_read_file(AT_FDCWD, full, SMALL_FILE_MAX, &text, &size, NULL) < 0 ? NULL : text;
}

/* os-release(5): KEY=value, the value perhaps in quotes. */
static char *os_release_field(const char *text, const char *key) {
        size_t n = strlen(key);

        for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                size_t length;

                if (strncmp(line, key, n) != 0 || line[n] != '=')
                        continue;
                line += n + 1;
                length = strcspn(line, "\n");
                if (length >= 2 && (*line == '"' || *line == '\'') && line[length - 1] == *line)
                        return xstrndup(line + 1, length - 2);
                return xstrndup(line, length);
        }
        return NULL;
}

static int read_identity(const MachinePaths *paths, Machine *m, Error *reterr) {
        _cleanup_free_ char *os_release = read_small(paths->root, "usr/lib/os-release"),
                            *machine_id = read_small(paths->root, "etc/machine-id");

        m->product = os_release ? os_release_field(os_release, "IMAGE_ID") : NULL;
        m->version = os_release ? os_release_field(os_release, "IMAGE_VERSION") : NULL;
        if (isempty(m->product) || !m->version || !version_is_valid(m->version)) {
                error_set(reterr, ENODEV, REFUSAL_MACHINE,
                          "this is no system made by sealab: /usr/lib/os-release has no IMAGE_ID= and IMAGE_VERSION=");
                return error_hint(reterr, "Boot an image made by \"sealab build\".");
        }
        if (!machine_id || strspn(machine_id, "0123456789abcdef") < 32)
                return error_set(reterr, ENODEV, REFUSAL_MACHINE, "this machine has no id in /etc/machine-id");
        memcpy(m->machine_id, machine_id, 32);
        return 0;
}

/* Debian's word and systemd's. */
static int read_architecture(const MachinePaths *paths, Machine *m, const char **ret_debian, Error *reterr) {
        static const struct {
                const char *machine, *debian, *systemd;
        } known[] = { { "x86_64", "amd64", "x86-64" }, { "aarch64", "arm64", "arm64" } };
        struct utsname u;

        if (uname(&u) < 0)
                return error_errno(reterr, errno, "cannot ask for the architecture");
        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (paths->architecture ? streq(paths->architecture, known[i].debian)
                                        : streq(u.machine, known[i].machine)) {
                        m->architecture = xstrdup(known[i].systemd);
                        *ret_debian = known[i].debian;
                        return 0;
                }
        return error_set(reterr, ENODEV, REFUSAL_MACHINE, "the architecture %s is not known",
                         paths->architecture ?: u.machine);
}

/* ---- what runs ---- */

/* "MAJOR:MINOR" of what is mounted on a folder: the last line of mountinfo(5) that names it. */
static char *device_of_mount(const char *root, const char *mount_point) {
        _cleanup_free_ char *path = path_join(root, "proc/self/mountinfo"), *text = NULL, *found = NULL;
        char *save = NULL;
        size_t size;

        if (io_read_file(AT_FDCWD, path, MOUNTINFO_MAX, &text, &size, NULL) < 0)
                return NULL;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_strv_free_ char **fields = strv_split(line, " ");

                if (strv_length(fields) > 4 && streq(fields[4], mount_point)) {
                        free(found);
                        found = xstrdup(fields[2]);
                }
        }
        return TAKE_PTR(found);
}

static char *sysfs_text(const char *root, const char *device, const char *file) {
        _cleanup_free_ char *path = xasprintf("sys/dev/block/%s/%s", device, file);
        _cleanup_free_ char *text = read_small(root, path);

        return text ? xstrdup(strstrip(text)) : NULL;
}

/* The root hash with which device-mapper checks each block of the running /usr. */
static int read_running_hash(const MachinePaths *paths, const char *device, Sha256 *ret, Error *reterr) {
        _cleanup_(crypt_freep) CryptDevice *cd = NULL;
        _cleanup_free_ char *name = device ? sysfs_text(paths->root, device, "dm/name") : NULL;
        size_t size = SHA256_SIZE;
        int r = -ENODEV;

        if (name)
                r = crypt_init_by_name(&cd, name);
        if (r >= 0 && !streq_ptr(crypt_get_type(cd), CRYPT_VERITY))
                r = -ENODEV;
        if (r >= 0)
                r = crypt_volume_key_get(cd, CRYPT_ANY_SLOT, (char *) ret->bytes, &size, NULL, 0);
        if (r >= 0 && size == SHA256_SIZE)
                return 0;
        error_set(reterr, ENODEV, REFUSAL_MACHINE, "/usr is not on dm-verity");
        return error_hint(reterr, "Boot an image made by \"sealab build\"; only its slots can be updated.");
}

static void add_slaves(const char *root, const char *device, char ***ret) {
        _cleanup_free_ char *relative = xasprintf("sys/dev/block/%s/slaves", device), *path = path_join(root, relative);
        DIR *d = opendir(path);
        const struct dirent *e;

        if (!d)
                return;
        while ((e = readdir(d)))
                if (e->d_name[0] != '.')
                        strv_extend(ret, e->d_name);
        closedir(d);
}

/* The disk that holds the partitions under the dm-verity device: /sys/class/block/PARTITION is a link to
 * .../DISK/PARTITION. */
static int find_disk(const MachinePaths *paths, const char *device, char **ret, Error *reterr) {
        _cleanup_strv_free_ char **slaves = NULL;

        if (device)
                add_slaves(paths->root, device, &slaves);
        STRV_FOREACH (s, slaves) {
                _cleanup_free_ char *relative = xasprintf("sys/class/block/%s", *s),
                                    *path = path_join(paths->root, relative);
                _cleanup_free_ char *real = realpath(path, NULL), *parent = real ? path_dirname(real) : NULL;
                _cleanup_free_ char *partition = real ? path_join(real, "partition") : NULL;

                if (!partition || !io_exists(AT_FDCWD, partition))
                        continue;
                *ret = xasprintf("/dev/%s", path_basename(parent));
                return 0;
        }
        return error_set(reterr, ENODEV, REFUSAL_MACHINE, "the disk under /usr was not found");
}

/* ---- slots ---- */

static bool uuid_bytes(const char *uuid, uint8_t ret[static 16]) {
        char digits[33];
        size_t n = 0;

        for (const char *p = uuid; *p; p++)
                if (*p != '-' && n < 32)
                        digits[n++] = *p;
        digits[n] = 0;
        return n == 32 && hex_decode(digits, ret, 16);
}

static char *version_of_label(const Machine *m, const char *label) {
        const char *rest = startswith(label, m->product);

        if (!rest || *rest != '_' || !version_is_valid(rest + 1))
                return NULL;
        return xstrdup(rest + 1);
}

/* Partitions of the three types in the order of the table: the first usr belongs to the first verity, and so on. */
static int collect_slots(Machine *m, const GptPartition *p, size_t n, Error *reterr) {
        size_t n_verity = 0, n_sig = 0;

        for (size_t i = 0; i < n; i++) {
                size_t *counter = p[i].type == PARTITION_USR              ? &m->n_slots
                                  : p[i].type == PARTITION_USR_VERITY     ? &n_verity
                                  : p[i].type == PARTITION_USR_VERITY_SIG ? &n_sig
                                                                          : NULL;

                if (!counter)
                        continue;
                if (*counter == MACHINE_SLOTS_MAX)
                        return error_set(reterr, ENODEV, REFUSAL_MACHINE, "%s has more than %d slots", m->disk,
                                         MACHINE_SLOTS_MAX);
                if (p[i].type == PARTITION_USR)
                        m->slots[*counter].usr = p[i];
                else if (p[i].type == PARTITION_USR_VERITY)
                        m->slots[*counter].verity = p[i];
                else
                        m->slots[*counter].sig = p[i];
                (*counter)++;
        }
        if (n_verity != m->n_slots || (n_sig != 0 && n_sig != m->n_slots) || m->n_slots == 0)
                return error_set(
                        reterr, ENODEV, REFUSAL_MACHINE,
                        "%s has %zu /usr partitions, %zu with hash trees and %zu with signatures: that makes no "
                        "slots",
                        m->disk, m->n_slots, n_verity, n_sig);
        return 0;
}

static int read_slots(Machine *m, const char *architecture, Error *reterr) {
        _cleanup_free_ GptPartition *p = NULL;
        size_t n = 0;
        int r;

        r = gpt_read_usable(m->disk, architecture, &p, &n, &m->table_damaged, reterr);
        if (r >= 0)
                r = collect_slots(m, p, n, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < m->n_slots; i++) {
                Slot *s = &m->slots[i];

                s->empty = streq(s->usr.label, LABEL_EMPTY);
                s->version = s->empty ? NULL : version_of_label(m, s->usr.label);
                s->has_root_hash = !s->empty && uuid_bytes(s->usr.uuid, s->root_hash.bytes) &&
                                   uuid_bytes(s->verity.uuid, s->root_hash.bytes + 16);
                s->running = s->has_root_hash && sha256_equal(&s->root_hash, &m->running);
        }
        return 0;
}

/* ---- entries ---- */

static int find_boot(const MachinePaths *paths, Machine *m, Error *reterr) {
        static const char *const places[] = { "efi", "boot", "boot/efi" };

        if (paths->boot) {
                m->boot = xstrdup(paths->boot);
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                _cleanup_free_ char *place = path_join(paths->root, places[i]),
                                    *entries = path_join(place, ENTRIES_FOLDER);

                /* Opening it is what mounts it where systemd has an automount there. */
                if (io_exists(AT_FDCWD, entries)) {
                        m->boot = TAKE_PTR(place);
                        return 0;
                }
        }
        error_set(reterr, ENODEV, REFUSAL_MACHINE, "no mounted ESP with boot entries (EFI/Linux) was found");
        return error_hint(reterr, "\"systemctl status efi.automount boot.automount\" may say why.");
}

/* "NAME[+LEFT[-DONE]].efi"; the boot loader's counters as in the Boot Loader Specification. */
static bool parse_entry_name(const char *file, char **ret_name, BootEntry *e) {
        const char *end = endswith(file, ".efi"), *plus;
        unsigned left, done = 0;
        char *rest;

        if (!end)
                return false;
        plus = memrchr(file, '+', (size_t) (end - file));
        *ret_name = xstrndup(file, (size_t) (end - file));
        if (!plus || !isdigit((unsigned char) plus[1]))
                return true;
        left = (unsigned) strtoul(plus + 1, &rest, 10);
        if (*rest == '-' && isdigit((unsigned char) rest[1]))
                done = (unsigned) strtoul(rest + 1, &rest, 10);
        if (rest != end)
                return true; /* a '+' that is part of the version */
        e->counted = true;
        e->left = left;
        e->done = done;
        (*ret_name)[plus - file] = 0;
        return true;
}

/* usrhash= in the command line inside the UKI. An image that cannot be read has none. */
static void read_entry_hash(int folder_fd, BootEntry *e) {
        _cleanup_close_ int fd = openat(folder_fd, e->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        PeImage image = {};
        struct stat st;
        void *data;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > UKI_SIZE_MAX)
                return;
        e->size = (uint64_t) st.st_size;
        data = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
                return;
        if (pe_parse(data, (size_t) st.st_size, &image, NULL) >= 0) {
                const PeSection *s = pe_find(&image, ".cmdline");
                size_t size = 0;
                const void *text = s ? pe_section_data(&image, s, &size) : NULL;
                _cleanup_free_ char *line = text ? xstrndup(text, size) : NULL, *hex = NULL;
                const char *at = line ? strstr(line, "usrhash=") : NULL;

                if (at && (at == line || at[-1] == ' ') && strlen(at) >= 8 + 64) {
                        hex = xstrndup(at + 8, 64);
                        e->has_root_hash = sha256_from_hex(hex, &e->root_hash);
                }
                pe_done(&image);
        }
        munmap(data, (size_t) st.st_size);
}

static int compare_entries(const void *a, const void *b) {
        return strcmp(((const BootEntry *) a)->file, ((const BootEntry *) b)->file);
}

static uint64_t file_size(int folder_fd, const char *name) {
        struct stat st;

        return fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? (uint64_t) st.st_size
                                                                                              : 0;
}

static int read_entries(Machine *m, Error *reterr) {
        _cleanup_free_ char *path = path_join(m->boot, ENTRIES_FOLDER);
        const struct dirent *e;
        uint64_t leftover = 0;
        struct statvfs vfs;
        DIR *d;

        d = opendir(path);
        if (!d)
                return error_errno(reterr, errno, "cannot open %s", path);
        while ((e = readdir(d)) && m->n_entries < MACHINE_ENTRIES_MAX) {
                BootEntry entry = {};
                _cleanup_free_ char *name = NULL;

                if (startswith(e->d_name, BOOT_TEMPORARY_PREFIX))
                        leftover += file_size(dirfd(d), e->d_name);
                if (e->d_name[0] == '.' || !parse_entry_name(e->d_name, &name, &entry))
                        continue;
                entry.file = xstrdup(e->d_name);
                entry.version = version_of_label(m, name);
                read_entry_hash(dirfd(d), &entry);
                m->entries[m->n_entries++] = entry;
        }
        closedir(d);
        qsort(m->entries, m->n_entries, sizeof m->entries[0], compare_entries);
        if (statvfs(path, &vfs) < 0)
                return error_errno(reterr, errno, "cannot ask for the room on %s", path);
        m->boot_free = (uint64_t) vfs.f_bavail * vfs.f_frsize + leftover;
        return 0;
}

/* ---- all of it ---- */

int machine_read(const MachinePaths *given, Machine **ret, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = xnew(Machine, 1);
        MachinePaths paths = given ? *given : (MachinePaths){};
        _cleanup_free_ char *device = NULL;
        const char *architecture = NULL;
        int r;

        if (!paths.root)
                paths.root = "/";
        m->root = xstrdup(paths.root);
        r = read_identity(&paths, m, reterr);
        if (r >= 0)
                r = read_architecture(&paths, m, &architecture, reterr);
        if (r < 0)
                return r;
        device = device_of_mount(paths.root, "/usr");
        if (paths.running)
                m->running = *paths.running;
        else
                r = read_running_hash(&paths, device, &m->running, reterr);
        if (r >= 0 && paths.disk)
                m->disk = xstrdup(paths.disk);
        else if (r >= 0)
                r = find_disk(&paths, device, &m->disk, reterr);
        if (r >= 0)
                r = read_slots(m, architecture, reterr);
        if (r >= 0)
                r = find_boot(&paths, m, reterr);
        if (r >= 0)
                r = read_entries(m, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < m->n_entries; i++)
                if (m->entries[i].has_root_hash && sha256_equal(&m->entries[i].root_hash, &m->running) &&
                    !m->entries[i].counted)
                        m->entry_blessed = true;
        *ret = TAKE_PTR(m);
        return 0;
}

/* ---- questions ---- */

const Slot *machine_running_slot(const Machine *m) {
        for (size_t i = 0; i < m->n_slots; i++)
                if (m->slots[i].running)
                        return &m->slots[i];
        return NULL;
}

const BootEntry *machine_entry_of_root_hash(const Machine *m, const Sha256 *root_hash) {
        const BootEntry *best = NULL;

        for (size_t i = 0; i < m->n_entries; i++) {
                const BootEntry *e = &m->entries[i];

                if (e->has_root_hash && sha256_equal(&e->root_hash, root_hash) && (!best || !e->counted))
                        best = e;
        }
        return best;
}

const Slot *machine_slot_of_version(const Machine *m, const char *version) {
        for (size_t i = 0; i < m->n_slots; i++)
                if (streq_ptr(m->slots[i].version, version))
                        return &m->slots[i];
        return NULL;
}

static bool has_blessed_entry(const Machine *m, const Slot *s) {
        const BootEntry *e = s->has_root_hash ? machine_entry_of_root_hash(m, &s->root_hash) : NULL;

        return e && !e->counted;
}

/* While the running version is itself on trial, the other slot is what the machine falls back to. */
const Slot *machine_target_slot(const Machine *m) {
        const Slot *best = NULL;

        for (size_t i = 0; i < m->n_slots; i++) {
                const Slot *s = &m->slots[i];

                if (s->running || (!s->empty && !s->version) || (!m->entry_blessed && has_blessed_entry(m, s)))
                        continue;
                if (!best || (s->empty && !best->empty) ||
                    (!s->empty && !best->empty && s->version && best->version &&
                     version_compare(s->version, best->version) < 0))
                        best = s;
        }
        return best;
}

/* ---- JSON ---- */

char *machine_entry_path(const Machine *m, const BootEntry *e) {
        return xasprintf("%s/" ENTRIES_FOLDER "/%s", m->boot, e->file);
}

void machine_read_digests(Machine *m) {
        for (size_t i = 0; i < m->n_entries; i++) {
                BootEntry *e = &m->entries[i];
                _cleanup_free_ char *path = machine_entry_path(m, e);

                if (e->has_root_hash && sha256_equal(&e->root_hash, &m->running))
                        e->has_sha256 = sha256_file(AT_FDCWD, path, &e->sha256, NULL, NULL) >= 0;
        }
}

static json_t *slot_to_json(const Machine *m, const Slot *s, size_t i) {
        const char name[] = { (char) ('A' + i), 0 };
        const BootEntry *e = s->has_root_hash ? machine_entry_of_root_hash(m, &s->root_hash) : NULL;
        _cleanup_free_ char *hash = s->has_root_hash ? sha256_hex(&s->root_hash) : NULL;

        return json_pack("{s:s, s:b, s:b, s:s?, s:s?, s:o, s:I, s:o, s:o, s:b}", "slot", name, "running", s->running,
                         "empty", s->empty, "version", s->version, "rootHash", hash, "label", json_text(s->usr.label),
                         "size", (json_int_t) s->usr.size, "entry", json_text(e ? e->file : NULL), "triesLeft",
                         e && e->counted ? json_integer(e->left) : json_null(), "blessed", e && !e->counted);
}

json_t *machine_to_json(const Machine *m) {
        _cleanup_free_ char *running = sha256_hex(&m->running);
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "product", m->product, "version", m->version,
                              "architecture", m->architecture, "rootHash", running, "blessed", m->entry_blessed, "disk",
                              m->disk);
        json_t *slots = json_array();

        for (size_t i = 0; i < m->n_slots; i++)
                json_array_append_new(slots, slot_to_json(m, &m->slots[i], i));
        json_object_set_new(o, "slots", slots);
        return o;
}

char *machine_boot_id(const char *root) {
        _cleanup_free_ char *path = path_join(root, "proc/sys/kernel/random/boot_id"), *text = NULL;
        char id[33] = {};
        size_t size, n = 0;

        if (io_read_file(AT_FDCWD, path, 128, &text, &size, NULL) < 0)
                return NULL;
        for (const char *p = text; *p && n < sizeof id - 1; p++)
                if (strchr("0123456789abcdef", *p))
                        id[n++] = *p;
        return n == sizeof id - 1 ? xstrdup(id) : NULL;
}
