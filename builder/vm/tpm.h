/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A TPM 2.0 in software beside a machine, by swtpm. */

#include <sys/types.h>

#include "error.h"

#define TPM_PROGRAM "swtpm"

/* Starts one that keeps what it knows in this folder (made if absent: then it is a new TPM) below folder_fd, and its
 * complaints in NAME.log. *ret_channel is for QEMU; when QEMU has closed it, the TPM ends. */
int tpm_start(int folder_fd, const char *name, pid_t *ret, int *ret_channel, Error *reterr);
/* In a child before exec: the channel becomes descriptor number "as". */
int tpm_pass_channel(int channel, int as);
/* Waits until everything is on the disk. */
void tpm_stop(pid_t pid);
