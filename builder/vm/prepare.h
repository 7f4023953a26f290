/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The folder a machine runs in: filled before it starts, gone afterwards unless the user named it. */

#include "vm.h"

typedef struct VmFolder {
        char *path;
        int fd;
        bool temporary;
        size_t n_smbios;
        char *key; /* private ssh key: its path; NULL: none */
} VmFolder;

int vm_folder_open(const VmOptions *o, VmFolder *ret, Error *reterr);
/* Removes a temporary one. */
void vm_folder_done(VmFolder *f);
#define _cleanup_vm_folder_ _cleanup_(vm_folder_done)

/* Disk and firmware variables: made if absent, else left as the last boot left them (the disk grows to disk_size). */
int vm_folder_fill(VmFolder *f, const VmOptions *o, const Firmware *firmware, Error *reterr);
/* What the guest is told. power_off as in GuestOptions. */
int vm_folder_write_smbios(VmFolder *f, const VmOptions *o, bool power_off, Error *reterr);
