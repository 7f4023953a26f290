/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Wipes what is this machine's own, the root partition, and keeps the system. The work is systemd-repart's, in the
 * initrd of the next boot, before the partition is mounted: it removes the partitions that are marked FactoryReset=yes
 * in repart.d (of sealab's images: root) and makes them anew. It is asked for by the EFI variable that systemd defines
 * for this up to 257, which it removes when it is done; the signed kernel command line cannot be added to. (systemd 258
 * has another variable, FactoryResetRequest, and a generator for it.)
 *
 * What must not be forgotten stays on the ESP, and goes into the new state at the first boot: the security floor. */

#include "update.h"

#define FACTORY_RESET_VARIABLE "sys/firmware/efi/efivars/FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67"
#define FACTORY_RESET_NOTE "loader/sealab-reset.json" /* on the ESP */

/* REFUSAL_MACHINE: no sealed system, no EFI variables, or an image that marks no partition. */
int factory_reset_request(const UpdateContext *c, Error *reterr);
int factory_reset_cancel(const UpdateContext *c, Error *reterr); /* 1: none was asked for */
bool factory_reset_is_requested(const char *root);
/* After a boot. 1: this machine was just reset; its floor is kept and it is on record. */
int factory_reset_settle(const UpdateContext *c, Error *reterr);
