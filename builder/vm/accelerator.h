/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* KVM or software emulation. A device node proves nothing (nested and filtered hypervisors have one that does not run
 * a machine), so the first boot after each start of the host tries it for real, and the answer is remembered in
 * $XDG_CACHE_HOME/sealab/accelerator. */

#include "firmware.h"

typedef enum VmAccelerator { VM_ACCELERATOR_AUTO, VM_ACCELERATOR_KVM, VM_ACCELERATOR_TCG } VmAccelerator;

const char *accelerator_name(VmAccelerator a);
bool accelerator_from_name(const char *name, VmAccelerator *ret);

/* AUTO: $SEALAB_ACCEL if set, else what is remembered, else a probe. *ret is KVM or TCG. */
int accelerator_choose(VmAccelerator wanted, const Firmware *f, VmAccelerator *ret, Error *reterr);
/* For the next time; failing to is no failure. */
void accelerator_remember(VmAccelerator a);
