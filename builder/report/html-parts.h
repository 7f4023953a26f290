/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pieces of the page that html.c puts together. */

#include "changes.h"

extern const char html_style[], html_script[];

/* <TAG>text</TAG>; tag may carry attributes ("td class=\"n\""), text is escaped. */
void html_element(Buffer *b, const char *tag, const char *fmt, ...) _printf_(3, 4);
/* A cell with a size; sorts by the number of bytes. */
void html_size_cell(Buffer *b, uint64_t bytes);
/* A folded section with a count in its title. */
void html_open_details(Buffer *b, const char *title, size_t n, bool open);
void html_close_details(Buffer *b);

/* The section "What changed". */
void html_append_changes(Buffer *b, const Changes *c);
