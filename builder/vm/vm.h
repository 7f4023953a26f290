/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Boots a disk image the way a computer does: UEFI firmware, the image's own boot loader, kernel, initrd, system. The
 * image itself is never written: the machine gets a copy. It counts as up when boot-complete.target is reached. */

#include "accelerator.h"
#include "guest.h"
#include "machine.h"

#define VM_TIMEOUT_DEFAULT_SECONDS 300
#define VM_MEMORY_DEFAULT (UINT64_C(1) << 30)

typedef struct VmOptions {
        const char *disk;         /* raw image */
        const char *state_folder; /* keeps disk copy, firmware variables and logs here from boot to boot, and continues
                                     with what is there; NULL: a temporary folder, gone afterwards */
        uint64_t disk_size;       /* the copy is enlarged to this; 0: as it is */
        MachineBus bus;
        VmAccelerator accelerator;
        uint64_t memory;          /* 0: VM_MEMORY_DEFAULT */
        unsigned cpus;            /* 0: two at most */
        unsigned timeout_seconds; /* 0: VM_TIMEOUT_DEFAULT_SECONDS */
        const FirmwareKeys *keys; /* Secure Boot with these; NULL: off */
        bool tpm;                 /* a TPM in software; with state_folder it remembers */
        bool network;             /* may reach the world */
        bool console;             /* interactive: the console with a root shell is ours, no report */
        bool ssh;                 /* once it is up, an ssh session as root */
        char *const *ssh_command; /* runs this instead of a shell; NULL or empty: a shell */
        const char *rtc;          /* see machine.h */
        char *const *smbios;      /* further strings */
        const char *log;          /* the console is copied to this file; NULL: no */
        void (*started)(void *userdata, VmAccelerator a); /* for progress; may be NULL */
        void *userdata;
} VmOptions;

typedef struct VmResult {
        bool booted;
        double seconds; /* from power on to up, or to the failure */
        VmAccelerator accelerator;
        GuestReport report;  /* not complete for systems older than systemd 256 */
        char **failed_units; /* of the report, else of the console */
        bool clean_shutdown; /* it switched itself off afterwards */
        int ssh_status;      /* of the session */
        char *console;       /* last lines of it, cleaned; owned */
} VmResult;

void vm_result_done(VmResult *r);
#define _cleanup_vm_result_ _cleanup_(vm_result_done)

/* REFUSAL_BOOT_FAILED with the reason and the last lines of the console if it does not come up. *ret must be empty; it
 * holds what was learnt also on failure. */
int vm_boot(const VmOptions *o, VmResult *ret, Error *reterr);
json_t *vm_result_to_json(const VmResult *r);
/* "up after 24.3 s (tcg): minimal 2026.11.1, /usr on dm-verity, no failed units": for people. */
char *vm_result_describe(const VmResult *r);
