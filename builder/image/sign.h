/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The keys of a release and the two signatures they make. A key set is a folder; keys/README.md says what each role is
 * for. For each role it holds ROLE.crt and the key in exactly one of these places:
 *
 *     ROLE.key        PEM, mode 0600
 *     ROLE.uri        one line: the pkcs11: URI of a token's key
 *     pkcs11.conf     [Token] Module= and PinFile= for all, [Keys] ROLE=pkcs11:... */

#include "crypto.h"
#include "hash.h"

typedef enum KeyRole {
        KEY_ROLE_VERITY,     /* "verity": root hashes */
        KEY_ROLE_SECUREBOOT, /* "secureboot": UKI and systemd-boot; firmware's db */
        KEY_ROLE_PLATFORM,   /* "PK": firmware's platform key, for enrolment only */
        KEY_ROLE_EXCHANGE,   /* "KEK": firmware's key exchange key, for enrolment only */
        _KEY_ROLE_MAX,
} KeyRole;

const char *key_role_name(KeyRole role);
/* _KEY_ROLE_MAX for an unknown name. */
KeyRole key_role_from_name(const char *name);

#define KEY_ROLES_RELEASE (1U << KEY_ROLE_VERITY | 1U << KEY_ROLE_SECUREBOOT)
#define KEY_ROLES_ENROLMENT (1U << KEY_ROLE_SECUREBOOT | 1U << KEY_ROLE_PLATFORM | 1U << KEY_ROLE_EXCHANGE)

typedef enum KeySetFlags {
        KEY_SET_RELEASE_BUILD = 1 << 0,     /* development certificates are refused */
        KEY_SET_CERTIFICATES_ONLY = 1 << 1, /* the keys are elsewhere: to check, to export, to import */
} KeySetFlags;

typedef struct KeySet {
        char *folder;
        Certificate *certificates[_KEY_ROLE_MAX]; /* NULL for roles that were not asked for */
        PrivateKey *keys[_KEY_ROLE_MAX];
} KeySet;

KeySet *key_set_free(KeySet *s);
DEFINE_CLEANUP(KeySet *, key_set_free)

/* roles: bits 1 << KeyRole; each must be there, and key and certificate must belong together. REFUSAL_KEY otherwise. */
int key_set_load(const char *folder, unsigned roles, KeySetFlags flags, KeySet **ret, Error *reterr);
bool key_set_is_development(const KeySet *s);

typedef enum KeyPlace { KEY_PLACE_NONE, KEY_PLACE_FILE, KEY_PLACE_TOKEN } KeyPlace;
/* Where a role's key is: the file's path, or the URI. Nothing is opened but the small files that name it. */
int key_set_find_key(const char *folder, KeyRole role, KeyPlace *ret_place, char **ret_path_or_uri, Error *reterr);

/* The detached PKCS#7 that goes into the signature partition. */
int sign_roothash(const KeySet *s, const Sha256 *root_hash, void **ret, size_t *ret_size, Error *reterr);
int sign_check_roothash(const KeySet *s, const Sha256 *root_hash, const void *sig, size_t sig_size, Error *reterr);
/* A UKI or systemd-boot, signed for Secure Boot; an older signature is replaced. */
int sign_efi(const KeySet *s, const void *image, size_t size, void **ret, size_t *ret_size, Error *reterr);
int sign_check_efi(const KeySet *s, const void *image, size_t size, Error *reterr);
