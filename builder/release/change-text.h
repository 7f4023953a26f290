/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* repo-tosign: the one document of a ceremony. It goes to those who hold keys, and comes back with their signatures in
 * it; the same shape both ways, so that several can sign one after the other or side by side. */

#include "change-internal.h"

#define REPO_REQUEST_FORMAT "sealab-repo-tosign-1"
#define REPO_REQUEST_SIZE_MAX ((size_t) 64 << 20) /* two versions of the largest targets documents */
#define REPO_REQUEST_DOCUMENTS_MAX 64U
#define REPO_REQUEST_FILES_MAX 256U

typedef struct RequestDocument {
        ChangeRole *role;
        json_t *before;         /* the version before, as the request has it; NULL: none. Nobody vouches for it. */
        const json_t *previous; /* its signed part, once a key of the one who looks was found to have signed it */
        SignerGroup groups[SIGNER_GROUPS_MAX];
        size_t n_groups;
        TufKeys *keys[SIGNER_GROUPS_MAX]; /* owned, what groups borrow */
        TufRole roles[SIGNER_GROUPS_MAX];
} RequestDocument;

typedef struct Request {
        char *repository; /* digest of its first root; NULL: one that is to be made */
        char *place;      /* where it was exported from; for people */
        json_t *whole;
        RequestDocument *documents;
        size_t n_documents;
} Request;

Request *request_free(Request *r);
DEFINE_CLEANUP(Request *, request_free)
int request_read(const char *path, Request **ret, Error *reterr);
/* What would be signed, in words. */
char *request_describe(const Request *r);
/* Digest of the first root of the repository at this storage; 1: there is none. */
int request_repository_id(Storage *s, char **ret, Error *reterr);
