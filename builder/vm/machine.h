/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One QEMU process: firmware, a disk, a console, a port for the guest's report, and QEMU's own control channel. It ends
 * with this process. Everything it reads and writes is in one folder:
 *
 *     disk.raw  variables.fd  smbios-N       made by the caller
 *     console.log  report.log  qemu.log      written by QEMU
 *     tpm/  tpm.log                          what the TPM keeps, its complaints
 */

#include "firmware.h"

typedef enum MachineBus {
        MACHINE_BUS_VIRTIO,
        MACHINE_BUS_USB,
        MACHINE_BUS_NVME,
        MACHINE_BUS_AHCI,
        _MACHINE_BUS_MAX
} MachineBus;
const char *machine_bus_name(MachineBus bus);
bool machine_bus_from_name(const char *name, MachineBus *ret);

#define MACHINE_DISK "disk.raw"
#define MACHINE_VARIABLES "variables.fd"
#define MACHINE_CONSOLE_LOG "console.log"
#define MACHINE_REPORT_LOG "report.log"

#define MACHINE_TPM "tpm"

typedef struct MachineOptions {
        const char *folder;
        const Firmware *firmware;
        bool secure_boot; /* firmware->secure_code, which must be there */
        bool kvm;
        bool disk;       /* false: firmware only */
        bool tpm;        /* a TPM 2.0 in software (swtpm); made if the folder has none */
        bool disposable; /* the disk is a copy that nobody needs after a crash of the host */
        MachineBus bus;
        uint64_t memory; /* bytes */
        unsigned cpus;
        bool network;      /* reaches the world; otherwise a network that leads nowhere */
        unsigned ssh_port; /* on 127.0.0.1, leads to the guest's port 22; 0: none */
        const char *rtc;   /* clock at start, "2031-01-01T00:00:00"; NULL: now */
        size_t n_smbios;   /* files smbios-0 ... */
        bool interactive;  /* the console is our standard input and output; no control channel */
} MachineOptions;

typedef struct Machine Machine;

/* REFUSAL_MACHINE with what to install if QEMU or swtpm is not there. */
int machine_start(const MachineOptions *o, Machine **ret, Error *reterr);
/* Kills it if it still runs. */
Machine *machine_free(Machine *m);
DEFINE_CLEANUP(Machine *, machine_free)

typedef enum MachineState {
        MACHINE_RUNS,
        MACHINE_OFF,    /* the guest switched it off */
        MACHINE_RESET,  /* the guest wanted to restart; it was stopped there */
        MACHINE_BROKEN, /* QEMU failed, or its accelerator did */
} MachineState;

/* Looks for news for up to timeout_usec, earlier if the control channel says something. REFUSAL_CANCELLED on SIGINT,
 * SIGHUP or SIGTERM. */
int machine_wait(Machine *m, uint64_t timeout_usec, MachineState *ret, Error *reterr);
/* Why it is MACHINE_BROKEN: QEMU's own words; owned. */
char *machine_complaint(Machine *m);
/* Presses the power button. */
void machine_press_power(Machine *m);
/* Waits for an interactive one to end. */
int machine_wait_end(Machine *m, Error *reterr);

/* Whether KVM really runs a machine here: starts the firmware and looks for its first output. 1: it does not, and
 * *ret_why (owned) says what happened. Takes up to ten seconds. */
int machine_probe_kvm(const Firmware *f, char **ret_why, Error *reterr);

uint64_t now_usec(void);
