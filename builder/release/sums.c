/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "sums.h"
#include "io.h"

#define DIGITS (2 * SHA256_SIZE)

static size_t position(const Sums *s, const char *name) {
        size_t i = 0;

        while (i < s->n_lines && strcmp(s->lines[i].name, name) < 0)
                i++;
        return i;
}

static bool is_at(const Sums *s, size_t i, const char *name) {
        return i < s->n_lines && streq(s->lines[i].name, name);
}

/* sha256sum escapes names with a newline or backslash and marks the line; nothing here makes such names, and systemd
 * does not read them. */
static bool name_is_plain(const char *name) {
        for (const char *p = name; *p; p++)
                if ((uint8_t) *p < 0x20 || *p == 0x7f || *p == '\\')
                        return false;
        return path_is_clean_relative(name);
}

static const char *parse_line(Sums *s, const char *line, size_t size) {
        _cleanup_free_ char *digits = xstrndup(line, MIN(size, (size_t) DIGITS)), *name = NULL;
        Sha256 sha256;

        if (size < DIGITS + 3 || !sha256_from_hex(digits, &sha256))
                return "it does not begin with 64 lower-case digits and name a file";
        if (line[DIGITS] != ' ' || (line[DIGITS + 1] != '*' && line[DIGITS + 1] != ' '))
                return "between digest and name there is neither \" *\" nor two spaces";
        name = xstrndup(line + DIGITS + 2, size - DIGITS - 2);
        if (strlen(name) != size - DIGITS - 2 || !name_is_plain(name))
                return "it does not name a file of this folder";
        if (sums_find(s, name))
                return "it names a file for the second time";
        sums_set(s, name, &sha256);
        return NULL;
}

void sums_done(Sums *s) {
        for (size_t i = 0; i < s->n_lines; i++)
                free(s->lines[i].name);
        free(s->lines);
        *s = (Sums){};
}

int sums_parse(const char *text, size_t size, const char *what, Sums *ret, Error *reterr) {
        const char *end = text + size;
        _cleanup_sums_ Sums s = {};
        unsigned number = 0;

        for (const char *p = text; p < end;) {
                const char *newline = memchr(p, '\n', (size_t) (end - p)), *wrong;

                number++;
                wrong = newline ? parse_line(&s, p, (size_t) (newline - p)) : "it does not end";
                if (wrong)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: line %u: %s", what, number, wrong);
                p = newline + 1;
        }
        *ret = s;
        s = (Sums){};
        return 0;
}

char *sums_format(const Sums *s) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i < s->n_lines; i++) {
                _cleanup_free_ char *hex = sha256_hex(&s->lines[i].sha256);

                buffer_printf(&b, "%s *%s\n", hex, s->lines[i].name);
        }
        buffer_puts(&b, "");
        return buffer_steal(&b);
}

const SumsLine *sums_find(const Sums *s, const char *name) {
        size_t i = position(s, name);

        return is_at(s, i, name) ? s->lines + i : NULL;
}

void sums_set(Sums *s, const char *name, const Sha256 *sha256) {
        size_t i = position(s, name);

        if (!is_at(s, i, name)) {
                GROW(s->lines, s->n_lines, s->n_allocated);
                memmove(s->lines + i + 1, s->lines + i, (s->n_lines - i) * sizeof(SumsLine));
                s->lines[i] = (SumsLine){ .name = xstrdup(name) };
                s->n_lines++;
        }
        s->lines[i].sha256 = *sha256;
}

void sums_remove(Sums *s, const char *name) {
        size_t i = position(s, name);

        if (!is_at(s, i, name))
                return;
        free(s->lines[i].name);
        s->n_lines--;
        memmove(s->lines + i, s->lines + i + 1, (s->n_lines - i) * sizeof(SumsLine));
}
