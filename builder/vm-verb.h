/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "error.h"

typedef struct VmVerbOptions {
        bool console, ssh, secure_boot, tpm, network, json, quiet;
        const char *keys, *bus, *disk_size, *state, *memory, *log;
        uint64_t timeout;
} VmVerbOptions;

/* sealab boot: the release's disk image in a virtual machine. command is what ssh runs; NULL-terminated, may be empty.
 */
int vm_verb(const char *release, char *const *command, const VmVerbOptions *opt, Error *reterr);
