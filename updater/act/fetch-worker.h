/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What runs inside the workers of fetch.c. Private to it. Messages, the parent's on the left:
 *
 *     poll, judge    <- L NAME                      the stored file, please
 *                    D BYTES | N ->                 here it is; there is none
 *     poll           <- S NAME NUL BYTES            to be stored, K -> is the answer
 *                    <- X NAME                      to be removed, K -> is the answer
 *                    <- T ETAG                      of the timestamp that was accepted
 *                    <- C STATISTICS
 *     judge          <- F JSON                      an offer: description, sizes, digests
 *     pull           R OFFSET SIZE ->               a range of the file
 *                    <- B BYTES                     a piece of it, or, of a pack, one decoded frame
 *                    <- Y                           the range is complete
 */

#include "fetch.h"
#include "frame-index.h"

#define FETCH_PIECE_MAX ((size_t) 256 << 10)

typedef struct PollJob {
        const FetchOptions *options;
        const char *repository;
        const void *anchor;
        size_t anchor_size;
} PollJob;
int fetch_poll_body(int fd, void *userdata, Error *reterr);  /* PollJob: with a network */
int fetch_judge_body(int fd, void *userdata, Error *reterr); /* PollJob: without */

/* What a worker with a network may have to read; owned. */
char **fetch_readable_folders(const FetchOptions *opt);

typedef struct PullJob {
        const FetchOptions *options;
        const char *url;
        uint64_t size;           /* of the file on the server */
        const FrameIndex *index; /* a pack: R's numbers are frames, first and count; NULL: bytes */
} PullJob;
int fetch_pull_body(int fd, void *userdata, Error *reterr);

typedef struct PullRange {
        uint64_t begin, count; /* little endian on the wire */
} PullRange;
