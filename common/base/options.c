/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "options.h"
#include "conf.h"

#define HELP_COLUMN 26
#define VERB_WORDS_MAX 3

static const OptionSpec *find_in(const OptionSpec *options, size_t n, const char *name, size_t length, char letter) {
        for (size_t i = 0; i < n; i++) {
                if (letter && options[i].letter == letter)
                        return &options[i];
                if (!letter && strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
                        return &options[i];
        }
        return NULL;
}

/* ---- help
 * ------------------------------------------------------------------------------------------------------------ */

static void append_option(Buffer *b, const OptionSpec *o) {
        _cleanup_free_ char *left = NULL, *shape = NULL;

        shape = o->letter ? xasprintf("-%c --%s", o->letter, o->name) : xasprintf("   --%s", o->name);
        left = o->value ? xasprintf("%s%c%s", shape, '=', o->value) : xstrdup(shape);
        if (strlen(left) + 2 > HELP_COLUMN)
                buffer_printf(b, "  %s\n  %*s%s\n", left, HELP_COLUMN, "", o->help);
        else
                buffer_printf(b, "  %-*s%s\n", HELP_COLUMN, left, o->help);
}

/* "repo" of "repo init". */
static bool begins_with(const VerbSpec *v, const char *words) {
        const char *rest = startswith(v->name, words);

        return rest && *rest == ' ';
}

/* Of the verbs that begin with these words; NULL: of all. */
static char *program_help(const OptionTable *t, const char *words) {
        _cleanup_buffer_ Buffer b = {};

        if (words)
                buffer_printf(&b, "%s %s ... [OPTIONS] [ARGUMENTS]\n\nVerbs:\n", t->program, words);
        else
                buffer_printf(&b, "%s VERB [OPTIONS] [ARGUMENTS]\n\n%s\n\nVerbs:\n", t->program, t->summary);
        for (size_t i = 0; i < t->n_verbs; i++) {
                const VerbSpec *v = &t->verbs[i];
                _cleanup_free_ char *left = xasprintf("%s %s", v->name, v->arguments);

                if (words && !begins_with(v, words))
                        continue;
                if (strlen(left) + 2 > HELP_COLUMN)
                        buffer_printf(&b, "  %s\n  %*s%s\n", left, HELP_COLUMN, "", v->help);
                else
                        buffer_printf(&b, "  %-*s%s\n", HELP_COLUMN, left, v->help);
        }
        buffer_puts(&b, "\nOptions of every verb:\n");
        for (size_t i = 0; i < t->n_common; i++)
                append_option(&b, &t->common[i]);
        buffer_printf(&b, "\n\"%s VERB --help\" explains a verb; the whole story is in %s.\n", t->program, t->pages);
        return buffer_steal(&b);
}

char *options_help(const OptionTable *t, const VerbSpec *v) {
        _cleanup_buffer_ Buffer b = {};

        if (!v)
                return program_help(t, NULL);
        buffer_printf(&b, "%s %s [OPTIONS]%s%s\n\n%s\n", t->program, v->name, *v->arguments ? " " : "", v->arguments,
                      v->help);
        if (v->details)
                buffer_printf(&b, "\n%s\n", v->details);
        if (v->n_options > 0)
                buffer_puts(&b, "\nOptions:\n");
        for (size_t i = 0; i < v->n_options; i++)
                append_option(&b, &v->options[i]);
        buffer_puts(&b, "\nOptions of every verb:\n");
        for (size_t i = 0; i < t->n_common; i++)
                /* A verb may give a common name a meaning of its own (build --version V). */
                if (!find_in(v->options, v->n_options, t->common[i].name, strlen(t->common[i].name), 0))
                        append_option(&b, &t->common[i]);
        return buffer_steal(&b);
}

/* ---- parsing
 * --------------------------------------------------------------------------------------------------------- */

static const OptionSpec *find_option(const OptionTable *t, const VerbSpec *v, const char *name, size_t length,
                                     char letter) {
        return (v ? find_in(v->options, v->n_options, name, length, letter) : NULL)
                       ?: find_in(t->common, t->n_common, name, length, letter);
}

static int unknown_option(const OptionTable *t, const VerbSpec *v, const char *word, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;
        _cleanup_free_ char *name = xstrndup(word, strcspn(word, "="));
        const char *near;

        for (size_t i = 0; v && i < v->n_options; i++)
                strv_extendf(&names, "--%s", v->options[i].name);
        for (size_t i = 0; i < t->n_common; i++)
                strv_extendf(&names, "--%s", t->common[i].name);
        near = names ? conf_suggest(name, (const char *const *) names) : NULL;
        error_set(reterr, EINVAL, REFUSAL_USAGE, "%s%s%s has no option %s", t->program, v ? " " : "", v ? v->name : "",
                  name);
        if (near)
                return error_hint(reterr, "Did you mean %s? \"%s%s%s --help\" lists them all.", near, t->program,
                                  v ? " " : "", v ? v->name : "");
        return error_hint(reterr, "\"%s%s%s --help\" lists them all.", t->program, v ? " " : "", v ? v->name : "");
}

static int store_value(const OptionSpec *o, const char *value, Error *reterr) {
        switch (o->kind) {
        case OPTION_FLAG:
                if (value)
                        return error_set(reterr, EINVAL, REFUSAL_USAGE, "--%s takes no value", o->name);
                *(bool *) o->target = true;
                return 0;
        case OPTION_STRING:
                *(const char **) o->target = value;
                return 0;
        case OPTION_LIST:
                strv_extend((char ***) o->target, value);
                return 0;
        case OPTION_NUMBER:
                if (!parse_u64(value, o->target))
                        return error_set(reterr, EINVAL, REFUSAL_USAGE, "--%s=%s: a whole number was expected", o->name,
                                         value);
                return 0;
        }
        return 0;
}

static int parse_option(const OptionTable *t, const VerbSpec *v, int argc, char *const *argv, int *i, Error *reterr) {
        const char *word = argv[*i], *value = NULL;
        const OptionSpec *o;

        if (word[1] == '-') {
                size_t length = strcspn(word + 2, "=");

                o = find_option(t, v, word + 2, length, 0);
                value = word[2 + length] == '=' ? word + 2 + length + 1 : NULL;
        } else {
                o = find_option(t, v, NULL, 0, word[1]);
                value = word[2] ? word + 2 : NULL;
                if (o && o->kind == OPTION_FLAG && value)
                        o = NULL;
        }
        if (!o)
                return unknown_option(t, v, word, reterr);
        if (o->kind != OPTION_FLAG && !value) {
                if (*i + 1 >= argc)
                        return error_set(reterr, EINVAL, REFUSAL_USAGE, "--%s needs a value (%s)", o->name, o->value);
                value = argv[++*i];
        }
        return store_value(o, value, reterr);
}

/* Verbs of more words ("repo keys add", "keys generate") win over verbs of fewer. Returns the number of words taken, 0
 * if there is none. */
static int match_verb(const OptionTable *t, char *const *words, size_t n_words, const VerbSpec **ret) {
        for (size_t wanted = MIN(n_words, (size_t) VERB_WORDS_MAX); wanted >= 1; wanted--)
                for (size_t i = 0; i < t->n_verbs; i++) {
                        _cleanup_strv_free_ char **name = strv_split(t->verbs[i].name, " ");
                        size_t same = 0;

                        if (strv_length(name) != wanted)
                                continue;
                        while (same < wanted && streq(name[same], words[same]))
                                same++;
                        if (same == wanted) {
                                *ret = &t->verbs[i];
                                return (int) wanted;
                        }
                }
        return 0;
}

/* Verbs have more words than these: "repo". */
static bool is_beginning(const OptionTable *t, const char *words) {
        for (size_t i = 0; i < t->n_verbs; i++)
                if (begins_with(&t->verbs[i], words))
                        return true;
        return false;
}

static bool wants_help(int argc, char *const *argv) {
        for (int i = 1; i < argc && !streq(argv[i], "--"); i++)
                if (streq(argv[i], "--help") || streq(argv[i], "-h"))
                        return true;
        return false;
}

static int unknown_verb(const OptionTable *t, const char *word, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL, **second = NULL;
        _cleanup_free_ char *list = NULL;
        const char *near;

        for (size_t i = 0; i < t->n_verbs; i++) {
                const char *rest = startswith(t->verbs[i].name, word);

                if (rest && *rest == ' ')
                        strv_extend(&second, t->verbs[i].name);
                strv_push(&names, xstrndup(t->verbs[i].name, strcspn(t->verbs[i].name, " ")));
        }
        if (second) {
                list = strv_join(second, ", ");
                error_set(reterr, EINVAL, REFUSAL_USAGE, "%s %s needs another word, or a different one", t->program,
                          word);
                return error_hint(reterr, "There are: %s.", list);
        }
        near = conf_suggest(word, (const char *const *) names);
        error_set(reterr, EINVAL, REFUSAL_USAGE, "%s has no verb %s", t->program, word);
        if (near)
                return error_hint(reterr, "Did you mean %s? \"%s --help\" lists them all.", near, t->program);
        return error_hint(reterr, "\"%s --help\" lists them all.", t->program);
}

static int print(char *text) {
        fputs(text, stdout);
        free(text);
        return 1;
}

/* "help VERB"; words may be NULL or empty. */
static int print_help_about(const OptionTable *t, char *const *words, Error *reterr) {
        _cleanup_free_ char *all = words && words[0] ? strv_join(words, " ") : NULL;
        const VerbSpec *v = NULL;

        if (all && is_beginning(t, all))
                return print(program_help(t, all));
        if (all && !match_verb(t, words, strv_length(words), &v))
                return unknown_verb(t, words[0], reterr);
        return print(options_help(t, v));
}

static int check_arguments(const OptionTable *t, const VerbSpec *v, size_t n, Error *reterr) {
        if (n < (size_t) v->min_arguments)
                error_set(reterr, EINVAL, REFUSAL_USAGE, "%s %s needs: %s", t->program, v->name, v->arguments);
        else if (v->max_arguments >= 0 && n > (size_t) v->max_arguments)
                error_set(reterr, EINVAL, REFUSAL_USAGE, "%s %s takes only: %s", t->program, v->name,
                          *v->arguments ? v->arguments : "no arguments");
        else
                return 0;
        return error_hint(reterr, "\"%s %s --help\" explains it.", t->program, v->name);
}

int options_parse(const OptionTable *t, int argc, char *const *argv, const VerbSpec **ret_verb, char ***ret_arguments,
                  Error *reterr) {
        _cleanup_strv_free_ char **words = NULL, **arguments = NULL;
        const VerbSpec *v = NULL;
        bool help = false;
        int taken, r;

        /* The verb decides which options exist, and options may stand before it: find the plain words first. A word
         * behind an option that takes a value is not a verb; only common options may come before the verb, so those are
         * known. */
        for (int i = 1; i < argc; i++) {
                if (streq(argv[i], "--"))
                        break;
                if (argv[i][0] != '-' || !argv[i][1]) {
                        strv_extend(&words, argv[i]);
                        if (strv_length(words) == VERB_WORDS_MAX)
                                break;
                } else if (!strchr(argv[i], '=')) {
                        bool is_long = argv[i][1] == '-';
                        const OptionSpec *o =
                                is_long ? find_in(t->common, t->n_common, argv[i] + 2, strlen(argv[i] + 2), 0)
                                        : find_in(t->common, t->n_common, NULL, 0, argv[i][1]);

                        if (o && o->kind != OPTION_FLAG && (is_long || !argv[i][2]))
                                i++;
                }
        }
        taken = match_verb(t, words, strv_length(words), &v);
        if (!v && words && !streq(words[0], "help"))
                return wants_help(argc, argv) ? print_help_about(t, words, reterr) : unknown_verb(t, words[0], reterr);

        int skip = taken;
        bool only_arguments = false;
        for (int i = 1; i < argc; i++) {
                if (only_arguments || argv[i][0] != '-' || !argv[i][1]) {
                        if (skip > 0)
                                skip--;
                        else
                                strv_extend(&arguments, argv[i]);
                } else if (streq(argv[i], "--"))
                        only_arguments = true;
                else if (streq(argv[i], "--help") || streq(argv[i], "-h"))
                        help = true;
                else if (streq(argv[i], "--version") &&
                         !(v && find_in(v->options, v->n_options, "version", strlen("version"), 0))) {
                        printf("%s %s\n", t->program, SEALAB_VERSION);
                        return 1;
                } else {
                        r = parse_option(t, v, argc, argv, &i, reterr);
                        if (r < 0)
                                return r;
                }
        }
        if (!v && words && streq(words[0], "help"))
                return print_help_about(t, arguments ? arguments + 1 : NULL, reterr);
        if (help)
                return print(options_help(t, v));
        if (!v) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "no verb given");
                return error_hint(reterr, "\"%s --help\" lists them all.", t->program);
        }
        r = check_arguments(t, v, strv_length(arguments), reterr);
        if (r < 0)
                return r;
        *ret_verb = v;
        /* Never NULL: verbs look at the first argument without asking whether there is one. */
        *ret_arguments = arguments ? TAKE_PTR(arguments) : xnew(char *, 1);
        return 0;
}
