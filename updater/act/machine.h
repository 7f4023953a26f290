/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What this machine is and has: read, never changed. The running slot is known from the root hash of the dm-verity
 * device under /usr, never from names. */

#include "gpt.h"
#include "hash.h"
#include "json.h"

#define MACHINE_SLOTS_MAX 8
#define MACHINE_ENTRIES_MAX 64
#define BOOT_TEMPORARY_PREFIX ".sealab-" /* in EFI/Linux: to become an entry, or left by an interrupted update */

/* Where to look. NULL: the real place; tests point it at files. */
typedef struct MachinePaths {
        const char *root;      /* for etc/, usr/lib/os-release, proc/, sys/; "/" */
        const char *disk;      /* whole-disk device or image file; found from the running system otherwise */
        const char *boot;      /* the mounted ESP; found otherwise (/efi, /boot, /boot/efi by partition type, mounted by
                                  systemd's automount) */
        const Sha256 *running; /* root hash of the running /usr; asked from device-mapper otherwise */
        const char *architecture; /* Debian's word; NULL: this machine's */
} MachinePaths;

/* One A/B slot: three partitions that belong together, in the order of the table. */
typedef struct Slot {
        GptPartition usr, verity, sig; /* sig.size 0: there is none */
        char *version;                 /* from the label PRODUCT_VERSION; NULL: empty or not ours */
        bool empty;                    /* label _empty */
        bool has_root_hash;
        Sha256 root_hash; /* both halves from the partition ids; meaningless unless verified */
        bool running;     /* never written */
} Slot;

/* A UKI in EFI/Linux: PRODUCT_VERSION[+LEFT[-DONE]].efi */
typedef struct BootEntry {
        char *file; /* "laptop_2026.11.1+3-0.efi" */
        char *version;
        bool counted;
        unsigned left, done;
        uint64_t size;
        bool has_root_hash;
        Sha256 root_hash; /* usrhash= of its command line, read from the file */
        bool has_sha256;  /* only after machine_read_digests() */
        Sha256 sha256;    /* of the file */
} BootEntry;

typedef struct Machine {
        char *product, *version; /* IMAGE_ID, IMAGE_VERSION of the running system */
        char *architecture;      /* "x86-64" */
        char machine_id[33];
        char *root, *disk, *boot; /* paths in use */
        uint64_t boot_free;       /* bytes on the ESP, with what the updater's own leftovers take */
        bool table_damaged;       /* one copy of the partition table: gpt_repair() */
        Sha256 running;           /* root hash */
        bool entry_blessed;       /* the running entry has no counter */
        Slot slots[MACHINE_SLOTS_MAX];
        size_t n_slots;
        BootEntry entries[MACHINE_ENTRIES_MAX];
        size_t n_entries;
} Machine;

/* REFUSAL_MACHINE where this is no sealed system, with what is missing. */
int machine_read(const MachinePaths *paths, Machine **ret, Error *reterr);
Machine *machine_free(Machine *m);
DEFINE_CLEANUP(Machine *, machine_free)
const Slot *machine_running_slot(const Machine *m);
/* The slot an update may use: not running; empty before filled, never one with another product's label, and never one
 * whose entry is the machine's only good one. NULL: none. */
const Slot *machine_target_slot(const Machine *m);
const Slot *machine_slot_of_version(const Machine *m, const char *version);
const BootEntry *machine_entry_of_root_hash(const Machine *m, const Sha256 *root_hash);
/* Of the running version's entries; what cannot be read stays without. */
void machine_read_digests(Machine *m);
char *machine_entry_path(const Machine *m, const BootEntry *e);
json_t *machine_to_json(const Machine *m);
/* As journalctl(1) takes it; owned. NULL: the kernel does not say. */
char *machine_boot_id(const char *root);
