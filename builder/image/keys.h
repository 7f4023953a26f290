/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* sealab keys: makes the key folder of a line of images and shows what is in one. keys/README.md explains the roles.
 * A generated folder holds, beside ROLE.key and ROLE.crt of every role, what firmware needs to know the keys:
 * enroll/{PK,KEK,db}.{auth,esl}. */

#include "json.h"
#include "sign.h"

#define KEYS_ENROLMENT_FOLDER "enroll"

typedef struct KeysOptions {
        const char *folder;
        const char *organisation; /* in the certificates' names; NULL: "sealab" */
        bool production;          /* not marked as development keys; the verity key is larger then */
} KeysOptions;

/* The folder must not exist; it appears whole, by one rename, mode 0700. */
int keys_generate(const KeysOptions *opt, Error *reterr);
/* Writes enroll/ from the certificates and the keys of PK and KEK (files or token), replacing what is there. The time
 * in each is that of the certificate it is about, so that the same keys give the same files. */
int keys_write_enrolment(const char *folder, Error *reterr);

typedef struct KeysEnrolmentFile {
        char *name; /* "PK.auth" */
        void *data;
        size_t size;
} KeysEnrolmentFile;
/* The three .auth files, for loader/keys/NAME/ of a disk image, in the order PK, KEK, db; 1 and nothing if the folder
 * has none. */
int keys_read_enrolment(const char *folder, KeysEnrolmentFile **ret, size_t *ret_n, Error *reterr);
void keys_enrolment_free(KeysEnrolmentFile *files, size_t n);

/* For each role: role, place ("file", "token", "missing"), key (path or URI without PIN), subject, fingerprint,
 * notAfter (ISO 8601), development, problem (null, or what is wrong). Tokens are not opened. */
int keys_show(const char *folder, json_t **ret, Error *reterr);
/* The same as text. */
char *keys_format(const json_t *shown);
