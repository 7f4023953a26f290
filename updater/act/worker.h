/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A child process for foreign bytes: forked, with its own unprivileged user, no new privileges, no capabilities, a
 * seccomp filter, Landlock rules that let it read /etc, /usr and /run/systemd/resolve and write nothing, limits on
 * memory and descriptors. It talks to its parent over one socket in length-prefixed messages of at most
 * WORKER_MESSAGE_MAX bytes. */

#include "error.h"

#define WORKER_MESSAGE_MAX ((size_t) 17 << 20)

typedef struct WorkerOptions {
        const char *user; /* NULL: "sealab-fetch" if it exists, else nobody; without root: ourselves */
        bool network;
        char *const *readable; /* folders it may read beside /etc, /usr and /run/systemd/resolve; NULL: none */
        uint64_t memory_max;   /* of address space; 0: 512 MiB */
} WorkerOptions;

typedef struct Worker Worker;
/* body runs in the child with its end of the socket; its return value is passed to the parent with its error. */
int worker_start(const WorkerOptions *opt, int (*body)(int socket_fd, void *userdata, Error *reterr), void *userdata,
                 Worker **ret, Error *reterr);
int worker_fd(const Worker *w);
/* Reads one message; 1: the worker has ended well. A worker that died is REFUSAL_SYSTEM; one that failed gives its own
 * error. */
int worker_receive(Worker *w, char *ret_type, Buffer *ret, Error *reterr);
int worker_send(Worker *w, char type, const void *data, size_t size, Error *reterr);
Worker *worker_free(Worker *w); /* kills it if it still runs */
DEFINE_CLEANUP(Worker *, worker_free)
/* The child's side. */
int message_send(int fd, char type, const void *data, size_t size, Error *reterr);
int message_receive(int fd, char *ret_type, Buffer *ret, Error *reterr); /* 1: end */
