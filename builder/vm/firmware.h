/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The UEFI firmware of a virtual machine (OVMF), and its variable store with our Secure Boot keys already in it. The
 * store is written as a file, not by starting the machine once: no second boot, and nothing on the disk under test has
 * to co-operate. */

#include "hash.h"

/* OVMF's stores are 512 KiB; nothing near this. */
#define FIRMWARE_FILE_SIZE_MAX ((size_t) 64 << 20)

typedef struct Firmware {
        char *code;        /* read-only flash image */
        char *secure_code; /* the build that enforces Secure Boot; wants a machine with SMM. NULL: not installed */
        char *variables;   /* template of the writable one: no keys, Secure Boot off */
} Firmware;

void firmware_done(Firmware *f);
#define _cleanup_firmware_ _cleanup_(firmware_done)

/* Looks in the folder $SEALAB_OVMF if that is set, else where Debian's package ovmf installs it. REFUSAL_MACHINE if
 * there is none. */
int firmware_find(Firmware *ret, Error *reterr);

/* Certificates, PEM or DER; all three together or none. */
typedef struct FirmwareKeys {
        const char *platform; /* PK: who may change the others */
        const char *exchange; /* KEK: who may change db */
        const char *database; /* db: who may sign what starts */
} FirmwareKeys;

/* Copies the template to a new file; with keys, Secure Boot is on from the first start. */
int firmware_write_variables(const Firmware *f, const FirmwareKeys *keys_or_null, const char *path, Error *reterr);

/* The part of it that needs no files, for tests: appends the three keys to a store without keys, in place.
 * REFUSAL_BAD_FORMAT if it is not an empty authenticated variable store, REFUSAL_NO_SPACE if they do not fit. */
typedef struct FirmwareCertificate {
        const void *der;
        size_t size;
} FirmwareCertificate;
int firmware_enroll(void *store, size_t store_size, const FirmwareCertificate certificates[3], Error *reterr);
