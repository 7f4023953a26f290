/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What people should know without asking, from what GetStatus answers: at most one thing, the most urgent. Pure. */

#include "json.h"

typedef struct Notice {
        char *id; /* the same for the same event: told once */
        char *title, *text;
        bool urgent;
} Notice;
void notice_done(Notice *n);
#define _cleanup_notice_ _cleanup_(notice_done)

/* False: nothing. */
bool notice_from_status(const json_t *status, Notice *ret);
/* For /run/motd.d; owned, with its newline. */
char *notice_login_line(const Notice *n);
