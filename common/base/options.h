/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line, as tables: every verb's name, arguments, options and one line of help stand in one place (verbs.c),
 * and parsing, --help and its tests are made from them. */

#include "error.h"

typedef enum OptionKind {
        OPTION_FLAG,   /* bool */
        OPTION_STRING, /* char *, borrowed from argv */
        OPTION_LIST,   /* char **, owned vector: the option may be given more than once */
        OPTION_NUMBER, /* uint64_t */
} OptionKind;

typedef struct OptionSpec {
        const char *name; /* "output" */
        char letter;      /* 'o', or 0 */
        OptionKind kind;
        const char *value; /* "DIR": what help calls its value; NULL for flags */
        const char *help;
        void *target; /* into the program's parsed options */
} OptionSpec;

typedef struct VerbSpec {
        const char *name;                 /* "build", or up to three words: "keys generate", "repo keys add" */
        const char *arguments;            /* "RECIPE"; for help */
        int min_arguments, max_arguments; /* max -1: any number */
        const char *help;                 /* one line */
        const char *details;              /* paragraphs for "sealab VERB --help"; may be NULL */
        const OptionSpec *options;
        size_t n_options;
        int (*run)(char *const *arguments, Error *reterr); /* NULL-terminated; returns 0 or negative */
} VerbSpec;

typedef struct OptionTable {
        const char *program, *summary;
        const char *pages; /* "sealab(1) and sealab-recipe(5)": where the whole story is */
        const VerbSpec *verbs;
        size_t n_verbs;
        const OptionSpec *common;
        size_t n_common;
} OptionTable;

/* Finds the verb and fills in the options. Returns 0 with *ret_verb and *ret_arguments (owned vector), 1 if help or the
 * version was asked for and printed to standard output, or REFUSAL_USAGE with a suggestion. */
int options_parse(const OptionTable *table, int argc, char *const *argv, const VerbSpec **ret_verb,
                  char ***ret_arguments, Error *reterr);
/* What --help prints. verb NULL: the program's own. */
char *options_help(const OptionTable *table, const VerbSpec *verb);
