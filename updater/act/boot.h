/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Entries of the boot loader on the ESP, and systemd-boot's variables. The entry of the running system is never
 * written, renamed or removed. */

#include "description.h"
#include "machine.h"

/* Removes every entry of that version or root hash, and abandoned temporaries; syncs. */
int boot_retire(const Machine *m, const Slot *slot, Error *reterr);
/* REFUSAL_NO_SPACE before the first byte; asks the file system as it is now. */
int boot_check_space(const Machine *m, uint64_t uki_size, Error *reterr);
/* A file on the ESP that no boot loader looks at, for the UKI to be written into; earlier ones go. */
int boot_create_temporary(const Machine *m, const ReleaseDescription *d, int *ret_fd, Error *reterr);
/* Checks what was written (PE, .cmdline's digest and usrhash= against the description, signature present), syncs,
 * renames to PRODUCT_VERSION+TRIES-0.efi, syncs. ORDER: the rename is the switch. */
int boot_install(const Machine *m, const ReleaseDescription *d, int fd, uint64_t size, unsigned tries, Error *reterr);
/* The entry that the boot loader starts by itself, for "revert": EFI variable LoaderEntryDefault, as a pattern that
 * counters do not change. NULL: its own choice again. Where the machine's root is a folder, the variable is a file in
 * that. */
int boot_set_default(const Machine *m, const char *version, Error *reterr);
int boot_get_default(const Machine *m, char **ret, Error *reterr); /* 1: none */
/* /etc/.updated and /var/.updated, below root. */
int boot_remove_stamps(const char *root, Error *reterr);

typedef enum TrialVerdict { TRIAL_NONE, TRIAL_RUNNING, TRIAL_BLESSED, TRIAL_FELL_BACK } TrialVerdict;
/* Pure: what became of the trial, from what runs and what entries there are. No boot loader removes entries: where the
 * trial has none, the switch never came about, and nothing is known against the version. */
struct Trial;
TrialVerdict boot_judge(const Machine *m, const struct Trial *trial);
/* Why the trial boot failed, from its journal if there is one; owned, a sentence; never NULL. */
char *boot_explain_failure(const Machine *m, const struct Trial *trial);
