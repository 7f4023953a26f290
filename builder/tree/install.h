/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Locked packages -> the configured tree: dpkg of the target itself unpacks and configures them in the sandbox,
 * maintainer scripts included, and the whole result comes back as a stream into an in-memory tree. */

#include "lock.h"
#include "progress.h"
#include "sandbox.h"
#include "store.h"
#include "tree.h"

/* Rises when the same packages would come out as another tree; part of every cache key. */
#define INSTALL_METHOD_VERSION 3

typedef struct InstallOptions {
        Store *store;     /* borrowed; where the packages are */
        const Lock *lock; /* borrowed; packages with LOCK_FOR_IMAGE are installed */
        SandboxMode mode;
        Progress *progress; /* borrowed; may be NULL */
} InstallOptions;

/* The tree as the packages leave it: with /etc, /var, dpkg's own records; every regular file of a package knows its
 * package. Owners are as on the target, file capabilities in their un-namespaced form (VFS_CAP_REVISION_2). A script
 * that fails is REFUSAL_SCRIPT_FAILED with its package and output. */
int install_packages(const InstallOptions *opt, Tree **ret, Error *reterr);

/* Capabilities that were set inside a user namespace carry that namespace's root id (revision 3); an image wants them
 * without (revision 2). capabilities(7). Returns false if the value is neither. */
bool install_plain_capability(const void *value, size_t size, uint8_t ret[static 20]);

/* For use inside a sandbox: writes a folder with all it holds as a pax archive to fd. */
int install_stream_folder(const char *path, int fd, Error *reterr);
