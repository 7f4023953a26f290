/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The report of a release as one HTML page: no file, font or script from elsewhere, light and dark, readable without
 * scripts and by a screen reader. */

#include "changes.h"

/* changes (to f's release, from the one before) may be NULL. */
char *html_format(const Facts *f, const Changes *changes);

/* Appends text with the characters that mean something in HTML replaced; bytes that are not UTF-8 become U+FFFD. */
void html_append(Buffer *b, const char *s);
