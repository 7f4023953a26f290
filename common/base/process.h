/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Running a program and waiting for it. The child dies with this process (PR_SET_PDEATHSIG), gets closed descriptors
 * above 2, default signals and LC_ALL=C.UTF-8 unless env says otherwise. */

#include "error.h"

typedef struct ProcessOptions {
        char *const *env;  /* borrowed; complete environment; NULL: ours plus LC_ALL=C.UTF-8 */
        const char *cwd;   /* borrowed; NULL: ours */
        const void *input; /* borrowed; what the child reads on standard input (NULL: /dev/null) */
        size_t input_size;
        size_t output_max;                  /* limit of captured output, 0: 64 MiB */
        bool merge_stderr;                  /* standard error is captured together with standard output */
        int (*before_exec)(void *userdata); /* in the child, after descriptors are set up; != 0: child exits with 127 */
        void *userdata;
} ProcessOptions;

/* Runs argv (looked up in PATH). Success is exit status 0; anything else is REFUSAL_TOOL_FAILED with the command's
 * name, its status and the last lines of its standard error (or merged output). *ret_output (may be NULL: discarded) is
 * owned by the caller and NUL-terminated; with merge_stderr it is set also on failure. opt may be NULL. */
int process_run(char *const *argv, const ProcessOptions *opt, char **ret_output, size_t *ret_size, Error *reterr);

/* The last n lines of a text, without trailing newline; for error messages. */
char *last_lines(const char *text, size_t n);
