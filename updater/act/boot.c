/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "boot.h"
#include "io.h"
#include "journal.h"
#include "pe.h"
#include "process.h"
#include "secure-boot.h"
#include "state.h"

#define ENTRIES_FOLDER "EFI/Linux"
/* Clusters and folder entries beside the file's own bytes. */
#define BOOT_RESERVE (UINT64_C(1) << 20)
#define COMPARE_SIZE ((size_t) 256 << 10)

static int open_entries(const Machine *m, int *ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(m->boot, ENTRIES_FOLDER);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        *ret = fd;
        return 0;
}

/* ---- retiring ---- */

static bool is_of_running(const Machine *m, const BootEntry *e) {
        return (e->has_root_hash && sha256_equal(&e->root_hash, &m->running)) ||
               (e->version && streq(e->version, m->version));
}

static bool is_of_slot(const Slot *slot, const BootEntry *e) {
        if (slot->has_root_hash && e->has_root_hash && sha256_equal(&e->root_hash, &slot->root_hash))
                return true;
        return slot->version && streq_ptr(e->version, slot->version);
}

/* One whose /usr is in no slot could never start, and takes room. Only what is named as ours: other systems may share
 * the ESP. */
static bool is_orphan(const Machine *m, const BootEntry *e) {
        if (!e->version)
                return false;
        for (size_t i = 0; i < m->n_slots; i++)
                if (m->slots[i].has_root_hash && e->has_root_hash &&
                    sha256_equal(&e->root_hash, &m->slots[i].root_hash))
                        return false;
        return true;
}

static bool same_content(int a, int b, uint64_t size) {
        _cleanup_free_ char *x = xmalloc(COMPARE_SIZE), *y = xmalloc(COMPARE_SIZE);

        for (uint64_t at = 0; at < size;) {
                size_t n = (size_t) MIN(size - at, (uint64_t) COMPARE_SIZE);

                if (io_pread_all(a, x, n, at, NULL) < 0 || io_pread_all(b, y, n, at, NULL) < 0 || memcmp(x, y, n) != 0)
                        return false;
                at += n;
        }
        return true;
}

/* A power cut during the rename can leave both names on a FAT, for one and the same chain of clusters: removing the old
 * one would free what an entry, perhaps the running one's, consists of. It takes no room, and fsck knows what to do. */
static bool is_entry_by_another_name(int folder_fd, const char *name) {
        _cleanup_close_ int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK),
                            copy = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st, other;
        const struct dirent *e;
        bool found = false;
        DIR *d;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || !(d = fdopendir(copy)))
                return false;
        copy = -EBADF;
        while (!found && (e = readdir(d))) {
                _cleanup_close_ int entry = -EBADF;

                if (e->d_name[0] == '.' || !endswith(e->d_name, ".efi"))
                        continue;
                entry = openat(folder_fd, e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
                found = entry >= 0 && fstat(entry, &other) == 0 && S_ISREG(other.st_mode) &&
                        other.st_size == st.st_size && same_content(fd, entry, (uint64_t) st.st_size);
        }
        closedir(d);
        return found;
}

static int remove_temporaries(int folder_fd, Error *reterr) {
        int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        const struct dirent *e;

        if (!d) {
                safe_close(fd);
                return error_errno(reterr, errno, "cannot read the boot entries");
        }
        while (r >= 0 && (e = readdir(d)))
                if (startswith(e->d_name, BOOT_TEMPORARY_PREFIX) && !is_entry_by_another_name(folder_fd, e->d_name))
                        r = io_unlink(folder_fd, e->d_name, reterr);
        closedir(d);
        return r < 0 ? r : 0;
}

int boot_retire(const Machine *m, const Slot *slot, Error *reterr) {
        _cleanup_close_ int folder = -EBADF;
        int r;

        if (slot->running)
                return error_set(reterr, EBUSY, REFUSAL_BUSY, "the entry of the running version is never removed");
        r = open_entries(m, &folder, reterr);
        for (size_t i = 0; r >= 0 && i < m->n_entries; i++) {
                const BootEntry *e = &m->entries[i];

                if (is_of_running(m, e) || (!is_of_slot(slot, e) && !is_orphan(m, e)))
                        continue;
                r = io_unlink(folder, e->file, reterr);
        }
        if (r >= 0)
                r = remove_temporaries(folder, reterr);
        if (r >= 0)
                r = io_sync_folder(folder, ".", reterr);
        return r < 0 ? r : 0;
}

int boot_check_space(const Machine *m, uint64_t uki_size, Error *reterr) {
        uint64_t needed, room;
        struct statvfs vfs;

        /* Not what was free when the machine was looked at: an entry has gone since. */
        if (statvfs(m->boot, &vfs) < 0)
                return error_errno(reterr, errno, "cannot ask for the room on %s", m->boot);
        room = (uint64_t) vfs.f_bavail * vfs.f_frsize;
        if (__builtin_add_overflow(uki_size, BOOT_RESERVE, &needed) || needed > room) {
                _cleanup_free_ char *wanted = format_bytes(uki_size + BOOT_RESERVE), *there = format_bytes(room);

                error_set(reterr, ENOSPC, REFUSAL_NO_SPACE, "%s has %s free, the new version needs %s there", m->boot,
                          there, wanted);
                return error_hint(reterr, "Remove from %s what does not belong there.", m->boot);
        }
        return 0;
}

/* ---- installing ---- */

/* What systemd-stub does without, the machine does not: firmware that cannot start an entry need not try another. */
static int check_complete(const PeImage *image, const ReleaseDescription *d, Error *reterr) {
        static const char *const needed[] = { ".linux", ".initrd", ".osrel", ".cmdline" };

        for (size_t i = 0; i < ELEMENTSOF(needed); i++) {
                const PeSection *section = pe_find(image, needed[i]);
                size_t n = 0;

                if (!section || !pe_section_data(image, section, &n) || n == 0)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the kernel image of %s has no %s",
                                         d->version, needed[i]);
        }
        return 0;
}

static int check_uki(const ReleaseDescription *d, const void *uki, size_t size, Error *reterr) {
        _cleanup_(pe_done) PeImage image = {};
        const void *signature, *text;
        const PeSection *section;
        _cleanup_free_ char *hex = sha256_hex(&d->root_hash), *wanted = xasprintf("usrhash=%s", hex), *line = NULL;
        size_t n = 0;
        Sha256 digest;
        int r;

        r = pe_parse(uki, size, &image, reterr);
        if (r >= 0)
                r = pe_signature(&image, &signature, &n, reterr);
        if (r < 0)
                return error_prefix(reterr, "the kernel image of %s", d->version);
        r = check_complete(&image, d, reterr);
        if (r < 0)
                return r;
        section = pe_find(&image, ".cmdline");
        text = pe_section_data(&image, section, &n);
        sha256_buffer(text, n, &digest);
        line = xstrndup(text, n);
        if (!sha256_equal(&digest, &d->command_line) || !strstr(line, wanted))
                return error_set(reterr, EBADMSG, REFUSAL_MIXED,
                                 "the kernel image of %s does not belong to its /usr: its command line is another one",
                                 d->version);
        return 0;
}

static char *temporary_name(const ReleaseDescription *d) {
        return xasprintf(BOOT_TEMPORARY_PREFIX "%s_%s", d->product, d->version);
}

int boot_create_temporary(const Machine *m, const ReleaseDescription *d, int *ret_fd, Error *reterr) {
        _cleanup_free_ char *name = temporary_name(d);
        _cleanup_close_ int folder = -EBADF;
        int r, fd;

        r = open_entries(m, &folder, reterr);
        /* What an attempt before this one left takes the very room that is needed. */
        if (r >= 0)
                r = remove_temporaries(folder, reterr);
        if (r >= 0)
                r = boot_check_space(m, d->artifacts[ARTIFACT_UKI].size, reterr);
        if (r < 0)
                return r;
        fd = openat(folder, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot write into %s/" ENTRIES_FOLDER, m->boot);
        *ret_fd = fd;
        return 0;
}

/* Mapped, not read: a kernel image is several times what this program takes otherwise. */
static int check_file(const Machine *m, const ReleaseDescription *d, int fd, uint64_t size, Error *reterr) {
        void *data =
                size > 0 && size <= SIZE_MAX ? mmap(NULL, (size_t) size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
        int r;

        if (data == MAP_FAILED)
                return error_errno(reterr, errno, "cannot look into the new kernel image");
        r = check_uki(d, data, (size_t) size, reterr);
        if (r >= 0) {
                r = secure_boot_check(m, data, (size_t) size, reterr);
                if (r < 0)
                        error_prefix(reterr, "the kernel image of %s", d->version);
        }
        munmap(data, (size_t) size);
        return r;
}

int boot_install(const Machine *m, const ReleaseDescription *d, int fd, uint64_t size, unsigned tries, Error *reterr) {
        _cleanup_free_ char *name = xasprintf("%s_%s+%u-0.efi", d->product, d->version, tries),
                            *temporary = temporary_name(d);
        _cleanup_close_ int folder = -EBADF;
        int r;

        r = check_file(m, d, fd, size, reterr);
        if (r >= 0)
                r = open_entries(m, &folder, reterr);
        /* ORDER: all bytes are on the disk before the name by which they can start; then the name is. */
        if (r >= 0)
                r = io_sync_fd(fd, reterr);
        if (r >= 0)
                r = io_sync_folder(folder, ".", reterr);
        if (r >= 0)
                r = io_rename_replace(folder, temporary, name, reterr);
        if (r >= 0)
                r = io_sync_folder(folder, ".", reterr);
        return r < 0 ? r : 0;
}

/* ---- the boot loader's choice ---- */

#define DEFAULT_VARIABLE "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

/* As efivarfs shows it: four bytes of attributes, then UTF-16 with a zero at the end. */
static int write_variable(const char *path, const char *text, Error *reterr) {
        static const uint8_t attributes[4] = { 7 };
        _cleanup_free_ char *folder = path_dirname(path);
        _cleanup_buffer_ Buffer b = {};
        int r;

        buffer_append(&b, attributes, sizeof attributes);
        for (size_t i = 0; i <= strlen(text); i++) {
                const char unit[2] = { text[i], 0 };

                buffer_append(&b, unit, sizeof unit);
        }
        r = io_mkdir_parents(AT_FDCWD, folder, 0755, reterr);
        return r < 0 ? r : io_write_file(AT_FDCWD, path, b.data, b.size, 0644, reterr);
}

/* bootctl knows how to write EFI variables, whose files are immutable until one says otherwise. */
static int run_bootctl(const char *verb, const char *argument, char **ret_output, Error *reterr) {
        char *argv[] = { (char *) "bootctl", (char *) verb, (char *) argument, NULL };

        return process_run(argv, NULL, ret_output, NULL, reterr);
}

int boot_set_default(const Machine *m, const char *version, Error *reterr) {
        /* Counters come and go in the file's name: the pattern matches it with and without. */
        _cleanup_free_ char *pattern = version ? xasprintf("%s_%s[+.]*", m->product, version) : xstrdup("");

        if (!streq(m->root, "/")) {
                _cleanup_free_ char *path = path_join(m->root, DEFAULT_VARIABLE);
                int r = version ? write_variable(path, pattern, reterr) : io_unlink(AT_FDCWD, path, reterr);

                return r < 0 ? r : 0;
        }
        return run_bootctl("set-default", pattern, NULL, reterr);
}

int boot_get_default(const Machine *m, char **ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(m->root, DEFAULT_VARIABLE), *data = NULL;
        _cleanup_error_ Error e = {};
        size_t size;
        char *text;
        int r;

        r = io_read_file(AT_FDCWD, path, 4096, &data, &size, &e);
        if (r == -ENOENT)
                return 1;
        if (r < 0)
                return error_move(reterr, &e);
        /* Four bytes of attributes, then UTF-16; ours are all ASCII. */
        text = xcalloc(size / 2 + 1, 1);
        for (size_t i = 4; i + 1 < size && data[i]; i += 2)
                text[(i - 4) / 2] = data[i];
        *ret = text;
        return 0;
}

int boot_remove_stamps(const char *root, Error *reterr) {
        static const char *const stamps[] = { "etc/.updated", "var/.updated" };

        for (size_t i = 0; i < ELEMENTSOF(stamps); i++) {
                _cleanup_free_ char *path = path_join(root, stamps[i]);
                int r = io_unlink(AT_FDCWD, path, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- judging ---- */

TrialVerdict boot_judge(const Machine *m, const Trial *trial) {
        if (!trial)
                return TRIAL_NONE;
        if (sha256_equal(&m->running, &trial->root_hash))
                return m->entry_blessed ? TRIAL_BLESSED : TRIAL_RUNNING;
        {
                const BootEntry *e = machine_entry_of_root_hash(m, &trial->root_hash);

                /* Not tried yet: its counter is whole. A person may have chosen the old one in the menu. */
                if (e && e->counted && e->left > 0 && e->done == 0)
                        return TRIAL_NONE;
                if (e && e->counted && e->left > 0)
                        return TRIAL_RUNNING; /* tries are left; the boot loader will go on with it */
                if (e && !e->counted)
                        return TRIAL_BLESSED; /* it was good, and a person went back */
                if (!e)
                        return TRIAL_NONE;
        }
        return TRIAL_FELL_BACK;
}

char *boot_explain_failure(const Machine *m, const Trial *trial) {
        const BootEntry *e = machine_entry_of_root_hash(m, &trial->root_hash);
        _cleanup_free_ char *journal = streq(m->root, "/") ? journal_of_boot_before(&trial->root_hash) : NULL;
        _cleanup_free_ char *tries =
                e && e->counted ? xasprintf("did not come up well in %u %s", e->done, e->done == 1 ? "try" : "tries")
                                : xstrdup("did not come up well");

        return xasprintf("%s %s%s%s", trial->version, tries, journal ? "; the last messages were: " : "",
                         journal ?: "");
}
