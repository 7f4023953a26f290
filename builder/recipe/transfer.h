/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One package on its way from mirrors into the store. Private to builder/recipe. */

#include <curl/curl.h>

#include "fetch.h"

typedef enum TransferState { TRANSFER_WAITING, TRANSFER_RUNNING, TRANSFER_DONE, TRANSFER_FAILED } TransferState;

typedef struct Transfer {
        const LockPackage *package;  /* borrowed */
        char *const *uris;           /* borrowed; base URIs */
        const AptSettings *settings; /* borrowed */
        const FetchOptions *opt;     /* borrowed */
        Store *store;                /* borrowed */
        Progress *progress;          /* borrowed */
        TransferState state;
        size_t uri;                /* which of uris */
        unsigned tries;            /* with this one, without progress */
        int64_t not_before;        /* monotonic milliseconds: when it may start again */
        CURL *easy;                /* owned; while running */
        char *url;                 /* owned; the one under way or the last */
        int fd;                    /* of the partial file; while running */
        uint64_t size, started_at; /* bytes there now, and when this try began */
        uint64_t best;             /* most bytes that any try ended with */
        uint64_t counted;          /* bytes that progress has seen */
        bool too_long;             /* the server sends more than the package has */
        bool no_ranges;            /* the server has ignored a range: begin anew */
        int write_error;
        char message[CURL_ERROR_SIZE];
        Error error; /* why it failed last */
} Transfer;

void transfer_done(Transfer *t);
/* Starts the next try: the handle is to be added to a multi handle. 1: the partial file was complete, nothing to do. */
int transfer_start(Transfer *t, Error *reterr);
/* After curl finished with the handle (already removed from the multi handle): DONE, WAITING for another try, or FAILED
 * with t->error. A negative result is a failure of the store, after which there is no point in going on. */
int transfer_finish(Transfer *t, CURLcode code, Error *reterr);
int64_t monotonic_msec(void);
