/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Messages for people, on standard error. Library code logs at debug only; programs decide the rest. */

#include "util.h"

typedef enum LogLevel { LOG_LEVEL_QUIET, LOG_LEVEL_NORMAL, LOG_LEVEL_DEBUG } LogLevel;

void log_set_level(LogLevel level);
LogLevel log_level(void);
/* Called before each line so that a progress line on the terminal can get out of the way; NULL: nothing. */
void log_set_before_line(void (*before)(void *userdata), void *userdata);

void log_debug(const char *fmt, ...) _printf_(1, 2);
void log_info(const char *fmt, ...) _printf_(1, 2);    /* not with --quiet */
void log_warning(const char *fmt, ...) _printf_(1, 2); /* always */
void log_error(const char *fmt, ...) _printf_(1, 2);   /* always */
