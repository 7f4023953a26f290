/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For updater-faults.py, by LD_PRELOAD: the write number $SHORT_WRITE of the process (0: each of them) to a file writes
 * only half of what it was given, as write(2) may. */

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long n_writes;

static size_t shortened(int fd, size_t size) {
        const char *wanted = getenv("SHORT_WRITE");
        struct stat st;

        if (!wanted || size < 2 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return size;
        n_writes++;
        return strtoul(wanted, NULL, 10) == 0 || strtoul(wanted, NULL, 10) == n_writes ? size / 2 : size;
}

ssize_t write(int fd, const void *data, size_t size) {
        ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write");

        return real(fd, data, shortened(fd, size));
}

/* Of the large file offsets that meson asks for: the symbol is pwrite64. */
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
        ssize_t (*real)(int, const void *, size_t, off_t) =
                (ssize_t(*)(int, const void *, size_t, off_t)) dlsym(RTLD_NEXT, "pwrite64");

        return real(fd, data, shortened(fd, size), offset);
}
