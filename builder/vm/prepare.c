/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "io.h"
#include "prepare.h"
#include "process.h"

#define KEY_NAME "ssh-key"
#define PUBLIC_KEY_MAX 4096

int vm_folder_open(const VmOptions *o, VmFolder *ret, Error *reterr) {
        _cleanup_vm_folder_ VmFolder f = { .fd = -EBADF };
        int r;

        if (o->state_folder) {
                f.path = xstrdup(o->state_folder);
                r = io_mkdir_parents(AT_FDCWD, f.path, 0700, reterr);
        } else {
                r = io_temporary_folder("boot", &f.path, reterr);
                f.temporary = r >= 0;
        }
        if (r < 0)
                return r;
        f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (f.fd < 0)
                return error_errno(reterr, errno, "cannot open %s", f.path);
        *ret = f;
        f = (VmFolder){ .fd = -EBADF };
        return 0;
}

void vm_folder_done(VmFolder *f) {
        f->fd = safe_close(f->fd);
        if (f->temporary)
                (void) io_remove_tree(AT_FDCWD, f->path, NULL);
        free(f->path);
        free(f->key);
        *f = (VmFolder){ .fd = -EBADF };
}

static int copy_disk(VmFolder *f, const char *from, Error *reterr) {
        _cleanup_close_ int in = -EBADF, out = -EBADF;
        struct stat st;
        int r;

        in = open(from, O_RDONLY | O_CLOEXEC);
        if (in < 0 || fstat(in, &st) < 0)
                return error_errno(reterr, errno, "cannot open the disk image %s", from);
        if (!S_ISREG(st.st_mode) || st.st_size == 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_FORMAT, "%s is not a disk image: %s", from,
                                 S_ISREG(st.st_mode) ? "it is empty" : "no regular file");
        out = openat(f->fd, MACHINE_DISK ".new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (out < 0)
                return error_errno(reterr, errno, "cannot create a copy of the disk in %s", f->path);
        r = io_copy_range(in, 0, out, 0, (uint64_t) st.st_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "cannot copy %s", from);
        return io_rename_replace(f->fd, MACHINE_DISK ".new", MACHINE_DISK, reterr);
}

/* A byte at the new end makes the file that large and leaves a hole before it. */
static int grow_disk(VmFolder *f, uint64_t size, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        fd = openat(f->fd, MACHINE_DISK, O_RDWR | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s/" MACHINE_DISK, f->path);
        if (size == 0 || (uint64_t) st.st_size == size)
                return 0;
        if ((uint64_t) st.st_size > size || size % 4096 != 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "a disk of %" PRIu64 " bytes: the image is %" PRIu64
                                 " bytes large, and the size must be a multiple of 4096",
                                 size, (uint64_t) st.st_size);
        return io_pwrite_all(fd, "", 1, size - 1, reterr);
}

int vm_folder_fill(VmFolder *f, const VmOptions *o, const Firmware *firmware, Error *reterr) {
        _cleanup_free_ char *variables = path_join(f->path, MACHINE_VARIABLES);
        int r = 0;

        if (!io_exists(f->fd, MACHINE_DISK))
                r = copy_disk(f, o->disk, reterr);
        if (r >= 0)
                r = grow_disk(f, o->disk_size, reterr);
        if (r >= 0 && !io_exists(f->fd, MACHINE_VARIABLES))
                r = firmware_write_variables(firmware, o->keys, variables, reterr);
        return r;
}

static int make_key(VmFolder *f, char **ret_public, Error *reterr) {
        _cleanup_free_ char *path = path_join(f->path, KEY_NAME);
        char *argv[] = { (char *) "ssh-keygen", (char *) "-q", (char *) "-t", (char *) "ed25519",
                         (char *) "-N",         (char *) "",   (char *) "-C", (char *) "sealab-boot",
                         (char *) "-f",         path,          NULL };
        size_t size;
        int r;

        if (!io_exists(f->fd, KEY_NAME)) {
                r = process_run(argv, NULL, NULL, NULL, reterr);
                if (r < 0)
                        return error_hint(reterr, "apt-get install openssh-client");
        }
        r = io_read_file(f->fd, KEY_NAME ".pub", PUBLIC_KEY_MAX, ret_public, &size, reterr);
        if (r >= 0)
                f->key = TAKE_PTR(path);
        return r;
}

int vm_folder_write_smbios(VmFolder *f, const VmOptions *o, bool power_off, Error *reterr) {
        _cleanup_free_ char *public_key = NULL;
        _cleanup_strv_free_ char **strings = NULL;
        int r;

        if (o->ssh) {
                r = make_key(f, &public_key, reterr);
                if (r < 0)
                        return r;
        }
        strings = guest_smbios_strings(&(GuestOptions){
                .keep_command_line = o->keys,
                .power_off = power_off,
                .root_console = o->console,
                .authorized_key = public_key,
                .extra = o->smbios,
        });
        f->n_smbios = strv_length(strings);
        for (size_t i = 0; i < f->n_smbios; i++) {
                _cleanup_free_ char *name = xasprintf("smbios-%zu", i);

                r = io_write_file(f->fd, name, strings[i], strlen(strings[i]), 0600, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}
