/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io.h"
#include "options.h"

/* What a command line leaves here. */
typedef struct Parsed {
        const char *output, *store;
        uint64_t workers;
        bool release, quiet;
        char **names;
} Parsed;

typedef struct Program {
        Parsed parsed;
        OptionSpec build[3], common[3], add[1];
        VerbSpec verbs[6];
        OptionTable table;
} Program;

static int never_run(char *const *arguments, Error *reterr) {
        return -1;
}

static void make_program(Program *p) {
        *p = (Program){};
        p->build[0] = (OptionSpec){ "output", 'o', OPTION_STRING, "DIR", "where releases go", &p->parsed.output };
        p->build[1] = (OptionSpec){ "workers", 'w', OPTION_NUMBER, "N", "threads", &p->parsed.workers };
        p->build[2] =
                (OptionSpec){ "a-very-long-option-name-indeed", 0, OPTION_FLAG, NULL, "long", &p->parsed.release };
        p->common[0] = (OptionSpec){ "store", 's', OPTION_STRING, "DIR", "packages", &p->parsed.store };
        p->common[1] = (OptionSpec){ "quiet", 'q', OPTION_FLAG, NULL, "say less", &p->parsed.quiet };
        p->common[2] = (OptionSpec){ "release", 'r', OPTION_FLAG, NULL, "be strict", &p->parsed.release };
        p->verbs[0] = (VerbSpec){ "build", "RECIPE", 1, 1, "makes an image", "A paragraph.", p->build, 3, never_run };
        p->verbs[1] = (VerbSpec){ "keys generate", "FOLDER", 1, 1, "makes keys", NULL, NULL, 0, never_run };
        p->verbs[2] = (VerbSpec){ "keys show", "[FOLDER]", 0, 1, "shows keys", NULL, NULL, 0, never_run };
        p->verbs[3] = (VerbSpec){ "diff", "A B...", 2, -1, "compares", NULL, NULL, 0, never_run };
        p->verbs[4] = (VerbSpec){ "doctor", "", 0, 0, "looks at the machine", NULL, NULL, 0, never_run };
        p->add[0] = (OptionSpec){ "name", 'n', OPTION_LIST, "NAME", "a name", &p->parsed.names };
        p->verbs[5] = (VerbSpec){ "keys ring add", "KEY", 1, 1, "adds a key", NULL, p->add, 1, never_run };
        p->table = (OptionTable){ "prog", "Builds images.", "prog(1)", p->verbs, 6, p->common, 3 };
}

/* Splits at spaces; ~ is an empty word. */
static int parse(Program *p, const char *line, const VerbSpec **ret_verb, char ***ret_arguments, Error *reterr) {
        _cleanup_strv_free_ char **words = strv_split(line, " ");

        for (char **w = words; *w; w++)
                if (streq(*w, "~"))
                        **w = 0;
        make_program(p);
        /* Values are borrowed from the words: look at them before they go. */
        int r = options_parse(&p->table, (int) strv_length(words), words, ret_verb, ret_arguments, reterr);
        p->parsed.output = xstrdup(p->parsed.output);
        p->parsed.store = xstrdup(p->parsed.store);
        return r;
}

static void parsed_done(Program *p) {
        free((char *) p->parsed.output);
        free((char *) p->parsed.store);
        p->parsed.names = strv_free(p->parsed.names);
}

static void options_stand_anywhere_in_every_form(void **state) {
        static const struct {
                const char *line, *verb, *arguments, *output, *store;
                uint64_t workers;
                bool release, quiet;
        } cases[] = {
                { "prog build r", "build", "r" },
                { "prog build r --output out", "build", "r", "out" },
                { "prog build --output=out r", "build", "r", "out" },
                { "prog build -o out r", "build", "r", "out" },
                { "prog build -oout r", "build", "r", "out" },
                { "prog build --output= r", "build", "r", "" },
                { "prog build -o ~ r", "build", "r", "" },
                { "prog build --output a --output b r", "build", "r", "b" },
                { "prog build --output --release r", "build", "r", "--release" }, /* a value is a value */
                { "prog --store s build r", "build", "r", .store = "s" },
                { "prog --store=s build r", "build", "r", .store = "s" },
                { "prog -s s build r", "build", "r", .store = "s" },
                { "prog -ss build r", "build", "r", .store = "s" },
                { "prog --store build build r", "build", "r", .store = "build" },
                { "prog -q build -w 4 --release r", "build", "r", .workers = 4, .release = true, .quiet = true },
                { "prog keys generate f", "keys generate", "f" },
                { "prog keys --quiet generate f", "keys generate", "f", .quiet = true },
                { "prog keys show", "keys show", "" },
                { "prog keys show ring", "keys show", "ring" },
                { "prog keys ring add k", "keys ring add", "k" },
                { "prog -q keys --store s ring add k", "keys ring add", "k", .store = "s", .quiet = true },
                { "prog diff a b c", "diff", "a b c" },
                { "prog diff a -- -b --quiet", "diff", "a -b --quiet" },
                { "prog diff - -", "diff", "- -" }, /* standard input is an argument */
                { "prog diff build keys", "diff", "build keys" },
                { "prog doctor", "doctor", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(parsed_done) Program p;
                _cleanup_strv_free_ char **arguments = NULL;
                _cleanup_free_ char *joined = NULL;
                _cleanup_error_ Error e = {};
                const VerbSpec *verb = NULL;

                if (parse(&p, cases[i].line, &verb, &arguments, &e) != 0)
                        fail_msg("%s: %s", cases[i].line, e.message);
                assert_string_equal(verb->name, cases[i].verb);
                assert_non_null(arguments);
                joined = strv_join(arguments, " ");
                assert_string_equal(joined, cases[i].arguments);
                assert_true(streq_ptr(p.parsed.output, cases[i].output));
                assert_true(streq_ptr(p.parsed.store, cases[i].store));
                assert_int_equal(p.parsed.workers, cases[i].workers);
                assert_int_equal(p.parsed.release, cases[i].release);
                assert_int_equal(p.parsed.quiet, cases[i].quiet);
        }
}

static void wrong_lines_are_refused_with_what_was_meant(void **state) {
        static const struct {
                const char *line, *message, *hint; /* parts of them; NULL: whatever */
        } cases[] = {
                { "prog", "no verb", "prog --help" },
                { "prog -q", "no verb", NULL },
                { "prog biuld r", "no verb biuld", "build" },
                { "prog docter", "no verb docter", "doctor" },
                { "prog something-else", "no verb", "prog --help" },
                { "prog keys", "another word", "keys generate, keys show, keys ring add" },
                { "prog keys destroy", "another word", "keys generate, keys show" },
                { "prog keys ring", "another word", "keys ring add" },
                { "prog keys ring add", "needs: KEY", "prog keys ring add --help" },
                { "prog build r --ouput x", "no option --ouput", "--output" },
                { "prog build r --quite", "no option --quite", "--quiet" },
                { "prog build r --ouput=x", "no option --ouput", "--output" },
                { "prog build r --zzzzzz", "no option --zzzzzz", "build --help" },
                { "prog build r -z", "no option -z", NULL },
                { "prog build r -qq", "no option -qq", NULL },
                { "prog doctor --output x", "no option --output", NULL }, /* another verb's */
                { "prog build r --outputs x", "no option --outputs", "--output" },
                { "prog build r --out x", "no option --out", NULL }, /* no guessing from beginnings */
                { "prog build r --output", "--output needs a value (DIR)", NULL },
                { "prog build r -o", "--output needs a value (DIR)", NULL },
                { "prog build r --release=yes", "takes no value", NULL },
                { "prog build r --workers many", "whole number", NULL },
                { "prog build r --workers=-1", "whole number", NULL },
                { "prog build r -w ~", "whole number", NULL },
                { "prog build", "needs: RECIPE", "prog build --help" },
                { "prog build a b", "takes only: RECIPE", "prog build --help" },
                { "prog diff a", "needs: A B...", NULL },
                { "prog doctor x", "no arguments", NULL },
                { "prog keys generate", "needs: FOLDER", "prog keys generate --help" },
                { "prog help biuld", "no verb biuld", "build" },
                { "prog biuld --help", "no verb biuld", "build" },
                { "prog keys destroy --help", "another word", "keys generate, keys show" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(parsed_done) Program p;
                _cleanup_strv_free_ char **arguments = NULL;
                _cleanup_error_ Error e = {};
                const VerbSpec *verb = NULL;

                if (parse(&p, cases[i].line, &verb, &arguments, &e) != -EINVAL)
                        fail_msg("%s was accepted", cases[i].line);
                assert_int_equal(e.id, REFUSAL_USAGE);
                if (!strstr(e.message, cases[i].message) ||
                    (cases[i].hint && (!e.hint || !strstr(e.hint, cases[i].hint))))
                        fail_msg("%s: \"%s\" (%s)", cases[i].line, e.message, e.hint);
                assert_null(verb);
                assert_null(arguments);
        }
}

static void a_list_option_keeps_every_value_in_order(void **state) {
        _cleanup_(parsed_done) Program p;
        _cleanup_strv_free_ char **arguments = NULL;
        _cleanup_free_ char *names = NULL;
        const VerbSpec *verb = NULL;

        assert_int_equal(parse(&p, "prog keys ring add --name b k -n a --name=b", &verb, &arguments, NULL), 0);
        names = strv_join(p.parsed.names, " ");
        assert_string_equal(names, "b a b");
        assert_int_equal(strv_length(arguments), 1);
}

static char *captured(Program *p, const char *line) {
        _cleanup_close_ int fd = -EBADF, out = -EBADF;
        _cleanup_strv_free_ char **arguments = NULL;
        const VerbSpec *verb = NULL;
        char *text = NULL;
        int r;

        assert_int_equal(io_tmpfile("/tmp", &fd, NULL), 0);
        fflush(stdout);
        out = dup(STDOUT_FILENO);
        assert_true(dup2(fd, STDOUT_FILENO) >= 0);
        r = parse(p, line, &verb, &arguments, NULL);
        fflush(stdout);
        assert_true(dup2(out, STDOUT_FILENO) >= 0);
        assert_int_equal(r, 1);
        assert_null(verb);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(io_read_fd(fd, 1 << 20, &text, NULL, NULL), 0);
        return text;
}

static void help_and_version_are_printed_wherever_they_are_asked_for(void **state) {
        static const struct {
                const char *line;
                int verb; /* -1: the program's own */
        } cases[] = {
                { "prog --help", -1 },
                { "prog -h", -1 },
                { "prog help", -1 },
                { "prog build --help", 0 },
                { "prog --help build", 0 },
                { "prog build -h --output x", 0 },
                { "prog help build", 0 },
                { "prog help keys show", 2 },
                { "prog keys show --help", 2 },
                { "prog build r r r --help", 0 }, /* before arguments are counted */
        };
        _cleanup_(parsed_done) Program p;
        _cleanup_free_ char *version = captured(&p, "prog --version");

        assert_string_equal(version, "prog " SEALAB_VERSION "\n");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *text = NULL, *wanted = NULL;

                parsed_done(&p);
                text = captured(&p, cases[i].line);
                wanted = options_help(&p.table, cases[i].verb < 0 ? NULL : &p.verbs[cases[i].verb]);
                assert_string_equal(text, wanted);
        }
}

static void help_lists_the_verbs_that_begin_with_a_word(void **state) {
        static const char *const lines[] = { "prog keys --help", "prog help keys", "prog -h keys" };
        static const char wanted[] = "prog keys ... [OPTIONS] [ARGUMENTS]\n\nVerbs:\n"
                                     "  keys generate FOLDER      makes keys\n"
                                     "  keys show [FOLDER]        shows keys\n"
                                     "  keys ring add KEY         adds a key\n"
                                     "\nOptions of every verb:\n";
        _cleanup_(parsed_done) Program p;

        make_program(&p);
        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                _cleanup_free_ char *text = NULL;

                parsed_done(&p);
                text = captured(&p, lines[i]);
                assert_non_null(startswith(text, wanted));
        }
        parsed_done(&p);
        _cleanup_free_ char *ring = captured(&p, "prog keys ring --help");
        assert_null(strstr(ring, "keys show"));
        assert_non_null(strstr(ring, "keys ring add KEY"));
}

static void help_names_everything_once(void **state) {
        _cleanup_free_ char *program = NULL, *verb = NULL;
        Program p;

        make_program(&p);
        program = options_help(&p.table, NULL);
        assert_non_null(startswith(program, "prog VERB [OPTIONS] [ARGUMENTS]\n\nBuilds images.\n"));
        for (size_t i = 0; i < p.table.n_verbs; i++) {
                const char *first = strstr(program, p.verbs[i].help);

                assert_non_null(first);
                assert_null(strstr(first + 1, p.verbs[i].help));
        }
        verb = options_help(&p.table, &p.verbs[0]);
        assert_string_equal(verb, "prog build [OPTIONS] RECIPE\n\nmakes an image\n\nA paragraph.\n\nOptions:\n"
                                  "  -o --output=DIR           where releases go\n"
                                  "  -w --workers=N            threads\n"
                                  "     --a-very-long-option-name-indeed\n"
                                  "                            long\n"
                                  "\nOptions of every verb:\n"
                                  "  -s --store=DIR            packages\n"
                                  "  -q --quiet                say less\n"
                                  "  -r --release              be strict\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(options_stand_anywhere_in_every_form),
                cmocka_unit_test(wrong_lines_are_refused_with_what_was_meant),
                cmocka_unit_test(a_list_option_keeps_every_value_in_order),
                cmocka_unit_test(help_and_version_are_printed_wherever_they_are_asked_for),
                cmocka_unit_test(help_lists_the_verbs_that_begin_with_a_word),
                cmocka_unit_test(help_names_everything_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
