/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Secure Boot variables as files (UEFI 2.10, sections 8.2.2 and 32.4): what systemd-boot writes into a firmware in
 * setup mode from loader/keys/NAME/{PK,KEK,db}.auth, what a firmware's own menu takes (.esl, .auth, .crt). */

#include "crypto.h"

typedef enum EfiVariable { EFI_VARIABLE_PK, EFI_VARIABLE_KEK, EFI_VARIABLE_DB, _EFI_VARIABLE_MAX } EfiVariable;

/* "PK", "KEK", "db" */
const char *efi_variable_name(EfiVariable v);

/* EFI_SIGNATURE_LIST with one X.509 certificate; the owner is sealab's fixed GUID. */
int efi_signature_list(const Certificate *c, void **ret, size_t *ret_size, Error *reterr);
/* EFI_VARIABLE_AUTHENTICATION_2 with its signature, followed by content. timestamp: seconds since 1970; firmware takes
 * a change only if it is later than the last one. */
int efi_authenticated_variable(EfiVariable v, const void *content, size_t size, int64_t timestamp,
                               const PrivateKey *key, const Certificate *certificate, void **ret, size_t *ret_size,
                               Error *reterr);
