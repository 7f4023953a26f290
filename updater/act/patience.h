/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How long a file may take. Who sends nothing has stalled, which http.h notices; this is about servers that send just
 * enough not to. All times are the caller's: monotonic, in milliseconds. */

#include "error.h"

/* What has to come while a server may be silent: with 20 s it is 6 KiB/s. A mobile plan that was used up has 64 kbit/s
 * left, and that must do. */
#define PATIENCE_BYTES (UINT64_C(120) << 10)
/* Before anybody is judged, and beside what the size allows: so many times a stall. */
#define PATIENCE_STALLS_SERVER 3
#define PATIENCE_STALLS_FILE 6
#define PATIENCE_SECONDS_MAX (7 * 86400)

typedef struct Patience {
        uint64_t stall_msec;
        uint64_t bytes; /* of an attempt, in stall_msec: less is slow */
        int64_t end;    /* of the file */
        int64_t began;  /* of the attempt */
        uint64_t received;
        size_t others; /* servers that may still be asked in place of a slow one */
        bool over;     /* the file has taken too long */
} Patience;

/* A file of size bytes, of which n_servers have a copy. rate_limit (bytes a second, 0: none) is our own. */
Patience patience_new(uint64_t size, unsigned stall_seconds, uint64_t rate_limit, size_t n_servers, int64_t now);
/* A server begins to send. */
void patience_attempt(Patience *p, int64_t now);
/* bytes more have come. REFUSAL_DOWNLOAD with ETIMEDOUT: this server is too slow and another one is to be asked, or,
 * if over is set, all of it has taken too long. */
int patience_check(Patience *p, uint64_t bytes, int64_t now, Error *reterr);
