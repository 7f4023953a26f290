/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Preloaded into the builder by reproducible.sh, to give the sandbox a world that one machine alone does not have: the
 * workspace on the disk's file system instead of a tmpfs ($OTHERWORLD_FOLDER), whose folders list their entries in an
 * order of their own, and, for every program that runs inside, a clock that is $OTHERWORLD_DAYS ahead. Programs inside
 * get this library too; it travels there in memory and never becomes a file of the tree. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define INSIDE "/run/otherworld.so" /* a tmpfs of the sandbox */

static char library[1 << 18]; /* of ourselves: after the sandbox has cut off the host there is no file to read */
static size_t library_size;

static long ahead(void) {
        const char *days = getenv("OTHERWORLD_DAYS");

        return days ? atol(days) * 86400 : 0;
}

__attribute__((constructor)) static void load(void) {
        const char *path = getenv("LD_PRELOAD");
        int fd = path && strcmp(path, INSIDE) != 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        ssize_t n;

        if (fd < 0)
                return;
        n = read(fd, library, sizeof(library));
        library_size = n > 0 && (size_t) n < sizeof(library) ? (size_t) n : 0;
        close(fd);
}

int mount(const char *what, const char *where, const char *type, unsigned long flags, const void *data) {
        const char *folder = getenv("OTHERWORLD_FOLDER");

        if (folder && type && !strcmp(type, "tmpfs") && !strcmp(where, "/tmp")) {
                char template[4096];

                snprintf(template, sizeof(template), "%s/XXXXXX", folder);
                if (!mkdtemp(template) || chmod(template, 0755) < 0)
                        return -1;
                what = template, type = NULL, flags = MS_BIND, data = NULL;
                return (int) syscall(SYS_mount, what, where, type, flags, data);
        }
        return (int) syscall(SYS_mount, what, where, type, flags, data);
}

int execvpe(const char *file, char *const argv[], char *const env[]) {
        int (*next)(const char *, char *const[], char *const[]) = dlsym(RTLD_NEXT, "execvpe");
        static char preload[] = "LD_PRELOAD=" INSIDE;
        char days[64], *changed[128];
        size_t n = 0;
        int fd;

        if (ahead() == 0 || library_size == 0)
                return next(file, argv, env);
        (void) mkdir("/run", 0755);
        fd = open(INSIDE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
        if (fd < 0 || write(fd, library, library_size) != (ssize_t) library_size || close(fd) < 0)
                return -1;
        while (env[n] && n < sizeof(changed) / sizeof(changed[0]) - 3) {
                changed[n] = env[n];
                n++;
        }
        snprintf(days, sizeof(days), "OTHERWORLD_DAYS=%ld", ahead() / 86400);
        changed[n++] = preload;
        changed[n++] = days;
        changed[n] = NULL;
        return next(file, argv, changed);
}

/* The clock, for programs inside only: the builder itself must not look at it either, so it gets the same one. */
int clock_gettime(clockid_t clock, struct timespec *t) {
        int r = (int) syscall(SYS_clock_gettime, clock, t);

        if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                t->tv_sec += ahead();
        return r;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
        struct timespec now;

        if (clock_gettime(CLOCK_REALTIME, &now) < 0)
                return -1;
        t->tv_sec = now.tv_sec;
        t->tv_usec = now.tv_nsec / 1000;
        return 0;
}

time_t time(time_t *ret) {
        struct timespec now;

        if (clock_gettime(CLOCK_REALTIME, &now) < 0)
                return -1;
        if (ret)
                *ret = now.tv_sec;
        return now.tv_sec;
}
