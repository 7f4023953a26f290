/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "text.h"

#define LABEL_WIDTH 14

void text_append(Buffer *b, const char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 127)
                        buffer_printf(b, "\\x%02x", (unsigned char) *s);
                else
                        buffer_append(b, s, 1);
}

void text_heading(Buffer *b, const char *title) {
        buffer_printf(b, "\n%s\n", title);
}

void text_field(Buffer *b, const char *label, const char *fmt, ...) {
        _cleanup_free_ char *value = NULL;
        va_list ap;

        va_start(ap, fmt);
        value = xvasprintf(fmt, ap);
        va_end(ap);
        buffer_printf(b, "  %-*s  ", LABEL_WIDTH, label);
        text_append(b, value);
        buffer_puts(b, "\n");
}

char *text_number(uint64_t n) {
        _cleanup_free_ char *digits = xasprintf("%" PRIu64, n);
        size_t size = strlen(digits);
        Buffer b = {};

        for (size_t i = 0; i < size; i++) {
                if (i > 0 && (size - i) % 3 == 0)
                        buffer_append(&b, ",", 1);
                buffer_append(&b, &digits[i], 1);
        }
        return buffer_steal(&b);
}

unsigned text_percent(uint64_t part, uint64_t whole) {
        return whole == 0 ? 0 : (unsigned) ((double) part * 100 / (double) whole + 0.5);
}
