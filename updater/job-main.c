/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sealabd-job: one piece of work. A program of its own, because all that work needs (network, TLS, partition tables,
 * hash trees) would otherwise be part of a daemon that only waits. */

#include "job.h"
#include "log.h"
#include "util.h"

int main(int argc, char **argv) {
        if (argc > 1)
                return job_main(argc - 1, argv + 1);
        log_error("sealabd-job: which job? sealabd(8) lists them");
        return refusal_exit_status(REFUSAL_USAGE);
}
