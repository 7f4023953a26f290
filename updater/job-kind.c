/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>

#include "io.h"
#include "job.h"

#define JOB_PROGRAM "sealabd-job"
#define INSTALLED "/usr/lib/sealab/" JOB_PROGRAM

static const char *const kind_names[_JOB_KIND_MAX] = {
        [JOB_CHECK] = "check",     [JOB_UPDATE] = "update",     [JOB_AUTO] = "auto",
        [JOB_REVERT] = "revert",   [JOB_PIN] = "pin",           [JOB_UNPIN] = "unpin",
        [JOB_VERIFY] = "verify",   [JOB_SETTLE] = "settle",     [JOB_STATUS] = "status",
        [JOB_HISTORY] = "history", [JOB_LIST] = "list",         [JOB_CONFIG] = "config",
        [JOB_DRIFT] = "drift",     [JOB_RESET] = "reset-drift", [JOB_FACTORY_RESET] = "factory-reset",
};

const char *job_kind_name(JobKind kind) {
        return kind < _JOB_KIND_MAX ? kind_names[kind] : "unknown";
}

JobKind job_kind_from_name(const char *name) {
        for (JobKind k = 0; k < _JOB_KIND_MAX; k++)
                if (streq(kind_names[k], name))
                        return k;
        return _JOB_KIND_MAX;
}

bool job_kind_only_reads(JobKind kind) {
        return kind == JOB_STATUS || kind == JOB_HISTORY || kind == JOB_CONFIG || kind == JOB_DRIFT;
}

char *job_program(void) {
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

        if (n > 0) {
                _cleanup_free_ char *folder = NULL, *beside = NULL;

                self[n] = 0;
                folder = path_dirname(self);
                beside = path_join(folder, JOB_PROGRAM);
                if (io_exists(AT_FDCWD, beside))
                        return TAKE_PTR(beside);
        }
        return xstrdup(INSTALLED);
}
