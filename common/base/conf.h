/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Strict reader for the INI dialect of systemd: [Section], Key=value, '#' and ';' comments at the start of a line, a
 * trailing backslash continues a line. No includes, no expansion. It only splits; meaning is given by the caller's
 * table. Every problem carries file, line and column and is collected, so that all of a file's problems are shown at
 * once. */

#include "error.h"
#include "hash.h"

#define CONF_FILE_SIZE_MAX ((size_t) 1 << 20)
#define CONF_LINE_MAX 65536 /* bytes of one logical line, its continuations included */
#define CONF_DIAGNOSTICS_MAX 200

/* Where a part of a value stands in the file: continued values span lines. */
typedef struct ConfPiece {
        size_t offset; /* in value */
        unsigned line, column;
} ConfPiece;

typedef struct ConfItem {
        char *section, *key, *value; /* owned; value has no surrounding white space; continuations joined by a space */
        unsigned line, column;       /* of the key, from 1; columns count bytes */
        ConfPiece *pieces;           /* owned, by offset */
        size_t n_pieces;
} ConfItem;

typedef struct ConfSection {
        char *name;
        unsigned line, column;
} ConfSection;

typedef struct ConfFile {
        char *path;      /* as shown in messages */
        ConfItem *items; /* in file order */
        size_t n_items, n_allocated;
        ConfSection *sections; /* each header in file order, also those without items */
        size_t n_sections, n_sections_allocated;
} ConfFile;

typedef struct ConfDiagnostic {
        char *file;
        unsigned line, column; /* 0: the file as a whole */
        char *message;
        char *suggestion; /* a phrase: "did you mean 'Install'?"; NULL: none */
} ConfDiagnostic;

typedef struct ConfDiagnostics {
        ConfDiagnostic *items; /* grouped by file in order of appearance; in a file by line and column */
        size_t n_items, n_allocated;
        bool truncated; /* more than CONF_DIAGNOSTICS_MAX */
} ConfDiagnostics;
void conf_diagnostics_done(ConfDiagnostics *d);
#define _cleanup_conf_diagnostics_ _cleanup_(conf_diagnostics_done)
void conf_diagnose(ConfDiagnostics *d, const char *file, unsigned line, unsigned column, const char *suggestion,
                   const char *fmt, ...) _printf_(6, 7);
/* "recipe.conf:7:1: unknown key ... (did you mean ...?)" lines, for standard error. */
char *conf_diagnostics_format(const ConfDiagnostics *d);

/* Splits text. Syntax problems go to d; the items that could be read are returned all the same. */
void conf_parse(const char *text, size_t size, const char *path, ConfDiagnostics *d, ConfFile **ret);
/* Reads the file and splits it; an unreadable file is an error in reterr, not a diagnostic. */
int conf_read(int dir_fd, const char *path, ConfDiagnostics *d, ConfFile **ret, Error *reterr);
ConfFile *conf_free(ConfFile *c);
DEFINE_CLEANUP(ConfFile *, conf_free)

/* Line and column of a byte of the value. */
void conf_item_position(const ConfItem *item, size_t offset, unsigned *ret_line, unsigned *ret_column);

/* The candidate nearest to word (case ignored, at most a third of its letters changed), or NULL. */
const char *conf_suggest(const char *word, const char *const *candidates);
