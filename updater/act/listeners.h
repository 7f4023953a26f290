/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "error.h"

/* Tells everybody who listens in /run/systemd/sysupdate/notify/ that an update was installed (Varlink method
 * io.systemd.SysUpdate.Notify.OnCompletedUpdate): TPM policies and system extensions follow by themselves. Each has 30
 * seconds; what one of them fails at is logged and holds up nothing. folder NULL: the real one. */
void listeners_notify(const char *folder, const char *version);
