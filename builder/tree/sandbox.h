/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A place to run the target's own programs: user, mount, pid, network, ipc and uts namespaces of their own, a private
 * tmpfs as workspace, no network, nothing of the host writable. Works for an ordinary user with subordinate ids, and
 * for root. All of it is gone when the process that runs in it ends, however it ends. */

#include "error.h"

typedef enum SandboxMode {
        SANDBOX_ROOT,   /* real root: all ids are themselves */
        SANDBOX_SUBIDS, /* ordinary user, ids 0-65535 mapped through newuidmap/newgidmap */
} SandboxMode;

/* What this machine allows, best first; REFUSAL_MACHINE with the remedy in the hint where nothing works. */
int sandbox_detect(SandboxMode *ret, Error *reterr);
const char *sandbox_mode_name(SandboxMode mode);

typedef struct Sandbox {
        const char *workspace; /* inside: folder on a private tmpfs, empty at start */
        int workspace_fd;
        int output_fd; /* the child's end of the stream to the parent */
        SandboxMode mode;
} Sandbox;

/* Runs in the sandbox, as uid 0 there. Returns 0 or a negative errno with reterr filled in (carried to the parent). */
typedef int (*SandboxFunc)(Sandbox *s, void *userdata, Error *reterr);
/* Runs in the parent while the sandbox works: reads what the child writes to output_fd. */
typedef int (*SandboxReadFunc)(int fd, void *userdata, Error *reterr);

/* Starts inside(), feeds its output to reader() (NULL: none), waits, and reports whichever failed. Memory of the child
 * is a copy (fork): results come back only through the stream. SIGINT and SIGTERM end the sandbox. */
int sandbox_run(SandboxMode mode, SandboxFunc inside, SandboxReadFunc reader, void *userdata, Error *reterr);

/* For use inside: runs a program with a folder below the workspace as its root: private /proc, /dev (null zero full
 * random urandom tty pts), /sys empty, /tmp and /run tmpfs. Environment is fixed (PATH, HOME=/root, LC_ALL=C.UTF-8,
 * DEBIAN_FRONTEND=noninteractive, SOURCE_DATE_EPOCH). Output (both streams) is captured; on failure the last lines are
 * in the message. */
typedef struct SandboxCommand {
        const char *root; /* absolute path inside the sandbox */
        char *const *argv;
        const char *cwd;   /* inside root; NULL: "/" */
        const char *input; /* NULL: nothing */
        char *const *extra_env;
        int64_t epoch;
        void (*line)(const char *line, void *userdata); /* called for each line of output as it comes; may be NULL */
        void *userdata;
} SandboxCommand;
int sandbox_command(Sandbox *s, const SandboxCommand *c, char **ret_output, Error *reterr);
/* For use inside: mounts API file systems below root (once per root), and a read-only bind of a host folder. */
int sandbox_prepare_root(Sandbox *s, const char *root, Error *reterr);
int sandbox_bind_read_only(Sandbox *s, const char *host_path, const char *inside_path, Error *reterr);
