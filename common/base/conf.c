/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>

#include "conf.h"
#include "io.h"

/* Words longer than this are not names of anything; it also bounds the table of the distance. */
#define SUGGEST_WORD_MAX 64

typedef struct Parser {
        const char *text;
        size_t size, position; /* position: start of the next physical line */
        unsigned line;         /* number of the physical line read last */
        const char *path;
        ConfDiagnostics *diagnostics;
        ConfFile *file;
        char *section; /* owned; NULL before the first header and behind a broken one */
        bool section_broken;
} Parser;

/* A physical line: text between two newlines, without white space at its ends. */
typedef struct Line {
        const char *start;
        size_t size;
        unsigned column;
} Line;

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Length of the valid UTF-8 sequence at s, 0 if there is none (overlong forms and surrogates are refused). */
static size_t utf8_sequence(const unsigned char *s, size_t n) {
        size_t length = s[0] < 0x80                    ? 1
                        : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                        : (s[0] & 0xf0) == 0xe0        ? 3
                        : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                       : 0;

        if (length == 0 || length > n)
                return 0;
        for (size_t i = 1; i < length; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
            (s[0] == 0xf4 && s[1] > 0x8f))
                return 0;
        return length;
}

/* One complaint a line is enough: what follows a stray byte is usually more of the same. */
static bool line_bytes_are_text(Parser *p, const char *s, size_t size) {
        for (size_t i = 0; i < size;) {
                unsigned char c = (unsigned char) s[i];
                size_t n = utf8_sequence((const unsigned char *) s + i, size - i);

                if (n == 0) {
                        conf_diagnose(p->diagnostics, p->path, p->line, (unsigned) i + 1, "save the file as UTF-8",
                                      "byte 0x%02x is not UTF-8", c);
                        return false;
                }
                if ((c < 0x20 && c != '\t' && !(c == '\r' && i + 1 == size)) || c == 0x7f) {
                        conf_diagnose(p->diagnostics, p->path, p->line, (unsigned) i + 1, "remove it",
                                      "control character 0x%02x", c);
                        return false;
                }
                i += n;
        }
        return true;
}

/* false at the end of the text. A line that is not text comes back empty, so that reading goes on behind it. */
static bool next_line(Parser *p, Line *ret) {
        const char *start = p->text + p->position, *newline;
        size_t size, skip = 0;

        if (p->position >= p->size)
                return false;
        newline = memchr(start, '\n', p->size - p->position);
        size = newline ? (size_t) (newline - start) : p->size - p->position;
        p->position += size + (newline ? 1 : 0);
        p->line++;

        if (!line_bytes_are_text(p, start, size))
                size = 0;
        while (skip < size && is_space(start[skip]))
                skip++;
        while (size > skip && is_space(start[size - 1]))
                size--;
        *ret = (Line){ .start = start + skip, .size = size - skip, .column = (unsigned) skip + 1 };
        return true;
}

static bool line_is_comment(const Line *l) {
        return l->size > 0 && (l->start[0] == '#' || l->start[0] == ';');
}

static void parse_section(Parser *p, const Line *l) {
        const char *end = memchr(l->start, ']', l->size);
        size_t size = end ? (size_t) (end - l->start) - 1 : 0;
        ConfFile *f = p->file;

        free(p->section);
        p->section = NULL;
        p->section_broken = true;
        if (!end)
                conf_diagnose(p->diagnostics, p->path, p->line, l->column, "write it as [Name]",
                              "section header without a closing bracket");
        else if (end != l->start + l->size - 1)
                conf_diagnose(p->diagnostics, p->path, p->line, l->column + (unsigned) size + 2,
                              "comments have their own line", "text behind a section header");
        else if (size == 0 || memchr(l->start + 1, '[', size))
                conf_diagnose(p->diagnostics, p->path, p->line, l->column, "write it as [Name]",
                              "section header without a proper name");
        else {
                p->section = xstrndup(l->start + 1, size);
                p->section_broken = false;
                GROW(f->sections, f->n_sections, f->n_sections_allocated);
                f->sections[f->n_sections++] =
                        (ConfSection){ .name = xstrdup(p->section), .line = p->line, .column = l->column };
        }
}

static void add_piece(ConfItem *item, size_t *n_allocated, Buffer *value, const Line *piece, unsigned line) {
        if (piece->size == 0)
                return;
        if (value->size > 0)
                buffer_puts(value, " ");
        GROW(item->pieces, item->n_pieces, *n_allocated);
        item->pieces[item->n_pieces++] = (ConfPiece){ .offset = value->size, .line = line, .column = piece->column };
        buffer_append(value, piece->start, piece->size);
}

static void trim_end(Line *l) {
        while (l->size > 0 && is_space(l->start[l->size - 1]))
                l->size--;
}

/* Reads the value and the lines that continue it. Comment lines in between are skipped, as systemd does; an empty line
 * ends the value, for otherwise a forgotten backslash at the end of a list would swallow the next key. */
static void parse_value(Parser *p, ConfItem *item, Line piece) {
        _cleanup_buffer_ Buffer value = {};
        size_t n_allocated = 0, total = piece.size;
        bool more;

        do {
                unsigned line = p->line;

                more = piece.size > 0 && piece.start[piece.size - 1] == '\\';
                if (more) {
                        piece.size--;
                        trim_end(&piece);
                }
                if (total <= CONF_LINE_MAX)
                        add_piece(item, &n_allocated, &value, &piece, line);
                if (!more)
                        break;
                do {
                        if (!next_line(p, &piece)) {
                                conf_diagnose(p->diagnostics, p->path, line, 0, "remove the backslash",
                                              "the file ends in a line that is to be continued");
                                goto finish;
                        }
                } while (line_is_comment(&piece));
                if (piece.size == 0)
                        conf_diagnose(p->diagnostics, p->path, line, 0, "remove the backslash",
                                      "a line that is to be continued is followed by an empty one");
                total += piece.size + 1;
        } while (true);
finish:
        if (total > CONF_LINE_MAX)
                conf_diagnose(p->diagnostics, p->path, item->line, item->column,
                              "split it: lists grow by repeating the key", "value of more than %d bytes",
                              CONF_LINE_MAX);
        item->value = buffer_steal(&value);
}

static void parse_assignment(Parser *p, const Line *l) {
        const char *equals = memchr(l->start, '=', l->size);
        Line key = *l, value = *l;
        ConfItem item = { .line = p->line, .column = l->column };
        ConfFile *f = p->file;

        if (!equals || equals == l->start) {
                bool continues = l->size > 0 && l->start[l->size - 1] == '\\';

                conf_diagnose(p->diagnostics, p->path, p->line, l->column,
                              l->column > 1 ? "to continue a value, end the line before with a backslash"
                                            : "write it as Key=value",
                              equals ? "no key before the equals sign"
                                     : "neither a section, nor a comment, nor Key=value");
                while (continues && next_line(p, &value))
                        continues = line_is_comment(&value) || (value.size > 0 && value.start[value.size - 1] == '\\');
                return;
        }
        key.size = (size_t) (equals - l->start);
        trim_end(&key);
        value.start = equals + 1;
        value.size = l->size - (size_t) (equals + 1 - l->start);
        value.column = l->column + (unsigned) (equals + 1 - l->start);
        while (value.size > 0 && is_space(*value.start)) {
                value.start++;
                value.size--;
                value.column++;
        }
        parse_value(p, &item, value);

        if (!p->section) {
                if (!p->section_broken)
                        conf_diagnose(p->diagnostics, p->path, item.line, item.column, "put a [Section] line before it",
                                      "'%.*s=' stands before any section", (int) MIN(key.size, 100U), key.start);
                free(item.value);
                free(item.pieces);
                return;
        }
        item.section = xstrdup(p->section);
        item.key = xstrndup(key.start, key.size);
        GROW(f->items, f->n_items, f->n_allocated);
        f->items[f->n_items++] = item;
}

void conf_parse(const char *text, size_t size, const char *path, ConfDiagnostics *d, ConfFile **ret) {
        Parser p = { .text = text, .size = size, .path = path, .diagnostics = d, .file = xnew(ConfFile, 1) };
        Line l;

        p.file->path = xstrdup(path);
        if (size > CONF_FILE_SIZE_MAX) {
                conf_diagnose(d, path, 0, 0, "move parts of it to drop-ins", "file of more than %zu bytes",
                              CONF_FILE_SIZE_MAX);
                p.size = 0;
        }
        if (p.size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
                p.position = 3; /* some editors put a byte order mark before UTF-8 */
        while (next_line(&p, &l)) {
                if (l.size == 0 || line_is_comment(&l))
                        continue;
                if (l.start[0] == '[')
                        parse_section(&p, &l);
                else
                        parse_assignment(&p, &l);
        }
        free(p.section);
        *ret = p.file;
}

int conf_read(int dir_fd, const char *path, ConfDiagnostics *d, ConfFile **ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = io_read_file(dir_fd, path, CONF_FILE_SIZE_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        conf_parse(text, size, path, d, ret);
        return 0;
}

ConfFile *conf_free(ConfFile *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_items; i++) {
                free(c->items[i].section);
                free(c->items[i].key);
                free(c->items[i].value);
                free(c->items[i].pieces);
        }
        for (size_t i = 0; i < c->n_sections; i++)
                free(c->sections[i].name);
        free(c->items);
        free(c->sections);
        free(c->path);
        free(c);
        return NULL;
}

void conf_item_position(const ConfItem *item, size_t offset, unsigned *ret_line, unsigned *ret_column) {
        const ConfPiece *piece = NULL;

        for (size_t i = 0; i < item->n_pieces && item->pieces[i].offset <= offset; i++)
                piece = item->pieces + i;
        *ret_line = piece ? piece->line : item->line;
        *ret_column = piece ? piece->column + (unsigned) (offset - piece->offset) : item->column;
}

void conf_diagnostics_done(ConfDiagnostics *d) {
        for (size_t i = 0; i < d->n_items; i++) {
                free(d->items[i].file);
                free(d->items[i].message);
                free(d->items[i].suggestion);
        }
        free(d->items);
        *d = (ConfDiagnostics){};
}

/* Behind the last one of the same file that does not stand later in it. */
static size_t diagnostic_place(const ConfDiagnostics *d, const char *file, unsigned line, unsigned column) {
        size_t place = d->n_items;

        for (size_t i = d->n_items; i > 0; i--) {
                const ConfDiagnostic *o = d->items + i - 1;

                if (!streq(o->file, file)) {
                        if (place < d->n_items)
                                break;
                        continue;
                }
                if (o->line < line || (o->line == line && o->column <= column))
                        return i;
                place = i - 1;
        }
        return place;
}

void conf_diagnose(ConfDiagnostics *d, const char *file, unsigned line, unsigned column, const char *suggestion,
                   const char *fmt, ...) {
        size_t place;
        va_list ap;

        if (d->n_items >= CONF_DIAGNOSTICS_MAX) {
                d->truncated = true;
                return;
        }
        GROW(d->items, d->n_items, d->n_allocated);
        place = diagnostic_place(d, file, line, column);
        memmove(d->items + place + 1, d->items + place, (d->n_items - place) * sizeof(d->items[0]));
        d->n_items++;
        d->items[place] = (ConfDiagnostic){
                .file = xstrdup(file),
                .line = line,
                .column = column,
                .suggestion = xstrdup(suggestion),
        };
        va_start(ap, fmt);
        d->items[place].message = xvasprintf(fmt, ap);
        va_end(ap);
}

char *conf_diagnostics_format(const ConfDiagnostics *d) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i < d->n_items; i++) {
                const ConfDiagnostic *o = d->items + i;

                buffer_puts(&b, o->file);
                if (o->line > 0)
                        buffer_printf(&b, ":%u", o->line);
                if (o->line > 0 && o->column > 0)
                        buffer_printf(&b, ":%u", o->column);
                buffer_printf(&b, ": %s", o->message);
                if (o->suggestion)
                        buffer_printf(&b, " (%s)", o->suggestion);
                buffer_puts(&b, "\n");
        }
        if (d->truncated)
                buffer_printf(&b, "... and more; the first %d are shown\n", CONF_DIAGNOSTICS_MAX);
        return buffer_steal(&b);
}

/* Letters to insert, remove, replace or swap with their neighbour to get from a to b. */
static unsigned edit_distance(const char *a, size_t n, const char *b, size_t m) {
        unsigned table[3][SUGGEST_WORD_MAX + 1]; /* the row being filled and the two before it */

        for (size_t j = 0; j <= m; j++)
                table[0][j] = (unsigned) j;
        for (size_t i = 1; i <= n; i++) {
                unsigned *row = table[i % 3];
                const unsigned *above = table[(i + 2) % 3], *above2 = table[(i + 1) % 3];

                row[0] = (unsigned) i;
                for (size_t j = 1; j <= m; j++) {
                        int x = tolower((unsigned char) a[i - 1]), y = tolower((unsigned char) b[j - 1]);

                        row[j] = MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
                        if (i > 1 && j > 1 && x == tolower((unsigned char) b[j - 2]) &&
                            y == tolower((unsigned char) a[i - 2]))
                                row[j] = MIN(row[j], above2[j - 2] + 1);
                }
        }
        return table[n % 3][m];
}

const char *conf_suggest(const char *word, const char *const *candidates) {
        size_t n = strlen(word);
        unsigned best_distance = (unsigned) (n + 2) / 3 + 1;
        const char *best = NULL;

        if (n == 0 || n > SUGGEST_WORD_MAX)
                return NULL;
        for (; candidates && *candidates; candidates++) {
                size_t m = strlen(*candidates);
                unsigned distance;

                if (m > SUGGEST_WORD_MAX)
                        continue;
                distance = edit_distance(word, n, *candidates, m);
                if (distance < best_distance) {
                        best_distance = distance;
                        best = *candidates;
                }
        }
        return best;
}
