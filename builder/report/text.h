/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pieces of plain-text reports. */

#include "util.h"

/* Appends text that came from packages: control characters, which could steer a terminal, become \xNN. */
void text_append(Buffer *b, const char *s);
/* "\nTITLE\n" */
void text_heading(Buffer *b, const char *title);
/* "  LABEL    VALUE\n", values in one column. */
void text_field(Buffer *b, const char *label, const char *fmt, ...) _printf_(3, 4);
/* "12,900" */
char *text_number(uint64_t n);
/* Share of a whole in whole per cent; 0 of 0 is 0. */
unsigned text_percent(uint64_t part, uint64_t whole);
