/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "patience.h"

Patience patience_new(uint64_t size, unsigned stall_seconds, uint64_t rate_limit, size_t n_servers, int64_t now) {
        uint64_t bytes = PATIENCE_BYTES, seconds, stall = MAX(stall_seconds, 1U);

        if (rate_limit > 0) {
                uint64_t own;

                /* Who limits himself is not slowed by the server. */
                if (!__builtin_mul_overflow(rate_limit / 2, stall, &own))
                        bytes = MIN(bytes, MAX(own, 1U));
        }
        seconds = MIN(size / bytes, (uint64_t) PATIENCE_SECONDS_MAX) * stall + PATIENCE_STALLS_FILE * stall;
        return (Patience){ .stall_msec = stall * 1000,
                           .bytes = bytes,
                           .end = now + (int64_t) MIN(seconds, (uint64_t) PATIENCE_SECONDS_MAX) * 1000,
                           .began = now,
                           .others = n_servers > 0 ? n_servers - 1 : 0 };
}

void patience_attempt(Patience *p, int64_t now) {
        p->began = now;
        p->received = 0;
}

int patience_check(Patience *p, uint64_t bytes, int64_t now, Error *reterr) {
        uint64_t elapsed = now > p->began ? (uint64_t) (now - p->began) : 0;

        p->received += bytes;
        if (now >= p->end) {
                p->over = true;
                error_set(reterr, ETIMEDOUT, REFUSAL_DOWNLOAD, "the download is too slow: it was to be done long ago");
                return error_hint(reterr, "Try again where the network is better; what came until now is used then.");
        }
        /* Once for each of them: where all are slow, slow is how it goes on. */
        if (p->others == 0 || elapsed < PATIENCE_STALLS_SERVER * p->stall_msec)
                return 0;
        if (p->received / p->bytes >= elapsed / p->stall_msec)
                return 0;
        p->others--;
        return error_set(reterr, ETIMEDOUT, REFUSAL_DOWNLOAD, "the server is slow: %" PRIu64 " bytes in %" PRIu64 " s",
                         p->received, elapsed / 1000);
}
