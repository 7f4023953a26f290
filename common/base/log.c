/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "log.h"

/* The log target is the one piece of global state the house rules allow besides parsed options. */
static LogLevel log_max_level = LOG_LEVEL_NORMAL;
static void (*log_before_line)(void *userdata);
static void *log_before_userdata;

void log_set_level(LogLevel level) {
        log_max_level = level;
}

LogLevel log_level(void) {
        return log_max_level;
}

void log_set_before_line(void (*before)(void *userdata), void *userdata) {
        log_before_line = before;
        log_before_userdata = userdata;
}

static void log_line(const char *prefix, const char *fmt, va_list ap) {
        _cleanup_free_ char *message = xvasprintf(fmt, ap);

        if (log_before_line)
                log_before_line(log_before_userdata);
        fprintf(stderr, "%s%s\n", prefix, message);
}

#define DEFINE_LOG(name, wanted, prefix)                                                                               \
        void name(const char *fmt, ...) {                                                                              \
                va_list ap;                                                                                            \
                                                                                                                       \
                if (!(wanted))                                                                                         \
                        return;                                                                                        \
                va_start(ap, fmt);                                                                                     \
                log_line(prefix, fmt, ap);                                                                             \
                va_end(ap);                                                                                            \
        }

DEFINE_LOG(log_debug, log_max_level >= LOG_LEVEL_DEBUG, "debug: ")
DEFINE_LOG(log_info, log_max_level >= LOG_LEVEL_NORMAL, "")
DEFINE_LOG(log_warning, true, "warning: ")
DEFINE_LOG(log_error, true, "error: ")
