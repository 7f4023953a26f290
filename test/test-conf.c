/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf.h"
#include "io.h"

static ConfFile *parse(const char *text, ConfDiagnostics *d) {
        ConfFile *f;

        conf_parse(text, strlen(text), "t.conf", d, &f);
        return f;
}

/* "section/key=value@line:column;" for each item. */
static char *flatten(const ConfFile *f) {
        Buffer b = {};

        for (size_t i = 0; i < f->n_items; i++)
                buffer_printf(&b, "%s/%s=%s@%u:%u;", f->items[i].section, f->items[i].key, f->items[i].value,
                              f->items[i].line, f->items[i].column);
        return buffer_steal(&b);
}

static void well_formed_text_is_split(void **state) {
        static const struct {
                const char *text, *expected;
        } cases[] = {
                { "", "" },
                { "\n\n# only\n; comments\n", "" },
                { "[A]\nb=c\n", "A/b=c@2:1;" },
                { "[A]\nb=c", "A/b=c@2:1;" },
                { "[A]\n  b  =  c d  \n", "A/b=c d@2:3;" },
                { "[A]\nb=\n", "A/b=@2:1;" },
                { "[A]\nb=c=d # no comment\n", "A/b=c=d # no comment@2:1;" },
                { "[A]\nb=x \\\n  y\\\n  z\nc=1\n", "A/b=x y z@2:1;A/c=1@5:1;" },
                { "[A]\nb=x \\\n# comment in between\n  y\nc=1\n", "A/b=x y@2:1;A/c=1@5:1;" },
                { "[A]\nb=\\\n x\n", "A/b=x@2:1;" },
                { "[A]\r\nb=c\r\n", "A/b=c@2:1;" },
                { "\xef\xbb\xbf[A]\nb=\xc3\xa4\n", "A/b=\xc3\xa4@2:1;" },
                { "[A B.c]\nb=1\n[D]\nb=2\n[A B.c]\nb=3\n", "A B.c/b=1@2:1;D/b=2@4:1;A B.c/b=3@6:1;" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
                _cleanup_(conf_freep) ConfFile *f = parse(cases[i].text, &d);
                _cleanup_free_ char *flat = flatten(f);

                assert_string_equal(flat, cases[i].expected);
                assert_int_equal(d.n_items, 0);
        }
}

static void malformed_text_is_reported_with_its_place(void **state) {
        static const struct {
                const char *text;
                unsigned line, column;
                const char *items; /* what can be read all the same */
        } cases[] = {
                { "a=b\n", 1, 1, "" },
                { "[A\na=b\n", 1, 1, "" },
                { "[]\na=b\n", 1, 1, "" },
                { "[A[B]\na=b\n", 1, 1, "" },
                { "[A] x\na=b\n[B]\nc=d\n", 1, 4, "B/c=d@4:1;" },
                { "[A]\nno equals\nc=d\n", 2, 1, "A/c=d@3:1;" },
                { "[A]\n  =x\nc=d\n", 2, 3, "A/c=d@3:1;" },
                { "[A]\na=b \\\n\nc=d\n", 2, 0, "A/a=b@2:1;A/c=d@4:1;" },
                { "[A]\na=b \\", 2, 0, "A/a=b@2:1;" },
                { "[A]\na=b\x01\nc=d\n", 2, 4, "A/c=d@3:1;" },
                { "[A]\na=\xff\nc=d\n", 2, 3, "A/c=d@3:1;" },
                { "[A]\na=\xc0\xaf\n", 2, 3, "" },
                { "[A]\na=\xed\xa0\x80\n", 2, 3, "" },
                { "[A]\na=x\ry\n", 2, 4, "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
                _cleanup_(conf_freep) ConfFile *f = parse(cases[i].text, &d);
                _cleanup_free_ char *flat = flatten(f);

                assert_int_equal(d.n_items, 1);
                assert_string_equal(d.items[0].file, "t.conf");
                assert_int_equal(d.items[0].line, cases[i].line);
                assert_int_equal(d.items[0].column, cases[i].column);
                assert_string_equal(flat, cases[i].items);
        }
}

static void a_byte_of_nothing_is_no_text(void **state) {
        static const char text[] = "[A]\na=b\0c\nd=e\n";
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(conf_freep) ConfFile *f = NULL;

        conf_parse(text, sizeof(text) - 1, "t.conf", &d, &f);
        assert_int_equal(d.n_items, 1);
        assert_int_equal(f->n_items, 1);
        assert_string_equal(f->items[0].key, "d");
}

static void all_problems_come_at_once_and_in_order(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(conf_freep) _unused_ ConfFile *f = parse("x=1\n[A]\njunk\nb=2\n[\n", &d);
        _cleanup_free_ char *text = NULL;

        assert_int_equal(d.n_items, 3);
        /* Found later, but stands earlier; another file comes behind. */
        conf_diagnose(&d, "z.conf", 1, 1, NULL, "other");
        conf_diagnose(&d, "t.conf", 4, 1, "did you mean 'c'?", "late");
        conf_diagnose(&d, "t.conf", 0, 0, NULL, "whole");
        text = conf_diagnostics_format(&d);
        assert_non_null(strstr(text, "t.conf: whole\nt.conf:1:1: "));
        assert_non_null(strstr(text, "\nt.conf:4:1: late (did you mean 'c'?)\nt.conf:5:1: "));
        assert_string_equal(d.items[d.n_items - 1].file, "z.conf");
}

static void place_of_a_word_is_known_also_on_continued_lines(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(conf_freep) ConfFile *f = parse("[A]\nb = one two \\\n   three \\\n\tfour\n", &d);
        const struct {
                const char *word;
                unsigned line, column;
        } words[] = { { "one", 2, 5 }, { "two", 2, 9 }, { "three", 3, 4 }, { "four", 4, 2 } };

        assert_int_equal(f->n_items, 1);
        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                const char *value = f->items[0].value;
                unsigned line, column;

                conf_item_position(f->items, (size_t) (strstr(value, words[i].word) - value), &line, &column);
                assert_int_equal(line, words[i].line);
                assert_int_equal(column, words[i].column);
        }
}

static void sections_without_keys_are_known(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(conf_freep) ConfFile *f = parse("[A]\n [B]\nc=1\n", &d);

        assert_int_equal(f->n_sections, 2);
        assert_string_equal(f->sections[0].name, "A");
        assert_int_equal(f->sections[1].line, 2);
        assert_int_equal(f->sections[1].column, 2);
}

static void limits_are_kept(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {}, many = {};
        _cleanup_free_ char *large = xmalloc(CONF_FILE_SIZE_MAX + 2), *text = NULL;
        _cleanup_(conf_freep) ConfFile *f = NULL, *g = NULL, *h = NULL;
        _cleanup_buffer_ Buffer b = {};

        memset(large, '\n', CONF_FILE_SIZE_MAX + 1);
        conf_parse(large, CONF_FILE_SIZE_MAX + 1, "t.conf", &d, &f);
        assert_int_equal(d.n_items, 1);

        buffer_puts(&b, "[A]\nb=\\\n");
        for (size_t i = 0; i < CONF_LINE_MAX / 8; i++)
                buffer_puts(&b, "1234567 \\\n");
        buffer_puts(&b, "end\nc=d\n");
        conf_parse(b.data, b.size, "l.conf", &d, &g);
        assert_int_equal(d.n_items, 2);
        assert_int_equal(g->n_items, 2);

        b.size = 0;
        for (size_t i = 0; i < 2 * CONF_DIAGNOSTICS_MAX; i++)
                buffer_puts(&b, "x\n");
        conf_parse(b.data, b.size, "m.conf", &many, &h);
        assert_int_equal(many.n_items, CONF_DIAGNOSTICS_MAX);
        assert_true(many.truncated);
        text = conf_diagnostics_format(&many);
        assert_non_null(strstr(text, "... and more"));
}

static void nearest_word_is_suggested_and_nothing_far(void **state) {
        static const char *const candidates[] = { "Install", "Remove", "LocalDebs", "Recommends", "Id", NULL };
        static const struct {
                const char *word, *expected;
        } cases[] = {
                { "Instal", "Install" },
                { "install", "Install" },
                { "Intsall", "Install" },
                { "Removes", "Remove" },
                { "Recomends", "Recommends" },
                { "LocalDeb", "LocalDebs" },
                { "ID", "Id" },
                { "Packages", NULL },
                { "xyz", NULL },
                { "", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *near = conf_suggest(cases[i].word, candidates);

                assert_true(streq_ptr(near, cases[i].expected));
        }
        assert_null(conf_suggest("a-word-that-is-much-longer-than-any-name-in-any-table-of-ours-could-ever-be",
                                 candidates));
        assert_null(conf_suggest("Install", NULL));
}

static void missing_file_is_an_error_of_its_own(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_error_ Error e = {};
        ConfFile *f = NULL;

        assert_int_equal(conf_read(AT_FDCWD, "/nonexistent/recipe.conf", &d, &f, &e), -ENOENT);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_int_equal(d.n_items, 0);
        assert_null(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(well_formed_text_is_split),
                cmocka_unit_test(malformed_text_is_reported_with_its_place),
                cmocka_unit_test(a_byte_of_nothing_is_no_text),
                cmocka_unit_test(all_problems_come_at_once_and_in_order),
                cmocka_unit_test(place_of_a_word_is_known_also_on_continued_lines),
                cmocka_unit_test(sections_without_keys_are_known),
                cmocka_unit_test(limits_are_kept),
                cmocka_unit_test(nearest_word_is_suggested_and_nothing_far),
                cmocka_unit_test(missing_file_is_an_error_of_its_own),
        };

        return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
