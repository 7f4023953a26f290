/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>

#include "folder-fixture.h"
#include "hash.h"
#include "io.h"
#include "json.h"
#include "process.h"

/* ---- process ---- */

#define RUN(opt, ret, size, e, ...) process_run((char *const[]){ __VA_ARGS__, NULL }, opt, ret, size, e)
#define SH(script) (char *) "sh", (char *) "-c", (char *) (script)

static void output_is_captured_and_bounded(void **state) {
        _cleanup_free_ char *out = NULL, *cut = NULL, *both = NULL, *cwd = NULL, *input = NULL;
        ProcessOptions small = { .output_max = 1000 }, merged = { .merge_stderr = true }, at_root = { .cwd = "/" },
                       fed = { .input = "fed\0x", .input_size = 5 };
        _cleanup_error_ Error e = {};
        size_t size;

        assert_int_equal(RUN(NULL, &out, &size, NULL, SH("printf 'a\\0b'; echo lost >&2")), 0);
        assert_int_equal(size, 3);
        assert_memory_equal(out, "a\0b", 4);
        assert_true(RUN(&small, &cut, NULL, &e, SH("head -c 1001 /dev/zero; sleep 60")) < 0);
        assert_int_equal(e.id, REFUSAL_TOO_LARGE);
        assert_null(cut);
        assert_int_equal(RUN(&merged, &both, NULL, NULL, SH("echo one; echo two >&2")), 0);
        assert_string_equal(both, "one\ntwo\n");
        assert_int_equal(RUN(&at_root, &cwd, NULL, NULL, SH("pwd")), 0);
        assert_string_equal(cwd, "/\n");
        assert_int_equal(RUN(&fed, &input, &size, NULL, SH("cat")), 0);
        assert_int_equal(size, 5);
        assert_memory_equal(input, "fed\0x", 5);
}

static void failure_carries_status_and_the_end_of_what_was_said(void **state) {
        _cleanup_error_ Error status = {}, signalled = {}, absent = {}, merged_error = {};
        _cleanup_free_ char *none = NULL, *merged_output = NULL;
        ProcessOptions merged = { .merge_stderr = true };

        /* More than what is kept, so that the beginning is forgotten. */
        assert_true(RUN(NULL, &none, NULL, &status,
                        SH("i=0; while [ $i -lt 30000 ]; do echo \"line $i\"; i=$((i+1)); done >&2; exit 7")) < 0);
        assert_int_equal(status.id, REFUSAL_TOOL_FAILED);
        assert_non_null(strstr(status.message, "status 7"));
        assert_non_null(strstr(status.message, "\nline 29988\n"));
        assert_non_null(endswith(status.message, "\nline 29999"));
        assert_null(strstr(status.message, "line 29987\n"));
        assert_null(none);
        assert_true(RUN(NULL, NULL, NULL, &signalled, SH("kill -SEGV $$")) < 0);
        assert_int_equal(signalled.id, REFUSAL_TOOL_FAILED);
        assert_non_null(strstr(signalled.message, "signal 11"));
        assert_true(RUN(NULL, NULL, NULL, &absent, (char *) "no-such-program-at-all") < 0);
        assert_int_equal(absent.id, REFUSAL_TOOL_FAILED);
        assert_non_null(strstr(absent.message, "127"));
        assert_true(RUN(&merged, &merged_output, NULL, &merged_error, SH("echo said; exit 1")) < 0);
        assert_string_equal(merged_output, "said\n");
}

static void child_starts_from_a_known_state(void **state) {
        _cleanup_free_ char *fds = NULL, *locale = NULL, *env = NULL, *signals = NULL;
        char *const only[] = { (char *) "PATH=/usr/bin:/bin", (char *) "A=b", NULL };
        ProcessOptions given = { .env = only };
        sigset_t blocked, before;
        int leaked = dup(2); /* without O_CLOEXEC */

        sigemptyset(&blocked);
        sigaddset(&blocked, SIGTERM);
        sigprocmask(SIG_BLOCK, &blocked, &before);
        signal(SIGINT, SIG_IGN);
        assert_int_equal(
                RUN(NULL, &fds, NULL, NULL, SH("for f in /proc/$$/fd/*; do [ ! -e $f ] || echo ${f##*/}; done")), 0);
        assert_int_equal(RUN(NULL, &signals, NULL, NULL, SH("grep -E '^Sig(Blk|Ign)' /proc/self/status")), 0);
        signal(SIGINT, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        safe_close(leaked);
        assert_string_equal(fds, "0\n1\n2\n");
        assert_string_equal(signals, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
        assert_int_equal(RUN(NULL, &locale, NULL, NULL, SH("echo $LC_ALL")), 0);
        assert_string_equal(locale, "C.UTF-8\n");
        assert_int_equal(RUN(&given, &env, NULL, NULL, (char *) "env"), 0);
        assert_string_equal(env, "PATH=/usr/bin:/bin\nA=b\n");
}

static void last_lines_are_taken_from_the_end(void **state) {
        static const struct {
                const char *text;
                size_t n;
                const char *tail;
        } cases[] = { { "a\nb\nc\n", 2, "b\nc" }, { "a\nb\nc", 1, "c" }, { "a\nb", 5, "a\nb" }, { "a\n\n\n", 1, "a" },
                      { "a\n\nb\n", 2, "\nb" },   { "", 3, "" },         { "\n\n", 3, "" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *tail = last_lines(cases[i].text, cases[i].n);

                assert_string_equal(tail, cases[i].tail);
        }
}

/* ---- json ---- */

static void documents_that_are_not_strict_json_are_refused(void **state) {
        static const struct {
                const char *text;
                Refusal id;
        } cases[] = {
                { "", REFUSAL_BAD_FORMAT },           { "{", REFUSAL_BAD_FORMAT },
                { "{} x", REFUSAL_BAD_FORMAT },       { "{\"a\":1,\"a\":2}", REFUSAL_BAD_FORMAT },
                { "{'a':1}", REFUSAL_BAD_FORMAT },    { "[1,]", REFUSAL_BAD_FORMAT },
                { "1", REFUSAL_BAD_FORMAT },          { "[\"\\u0000\"]", REFUSAL_BAD_FORMAT },
                { "[\"\xff\"]", REFUSAL_BAD_FORMAT }, { "[1e999]", REFUSAL_BAD_FORMAT },
        };
        _cleanup_buffer_ Buffer deep = {};
        _cleanup_error_ Error e = {};
        json_t *value = NULL;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error each = {};

                assert_true(json_parse(cases[i].text, strlen(cases[i].text), "doc", &value, &each) < 0);
                assert_int_equal(each.id, cases[i].id);
                assert_non_null(startswith(each.message, "doc:"));
        }
        for (unsigned i = 0; i < 65; i++)
                buffer_puts(&deep, "[");
        for (unsigned i = 0; i < 65; i++)
                buffer_puts(&deep, "]");
        assert_true(json_parse(deep.data, deep.size, "doc", &value, &e) < 0);
        assert_int_equal(e.id, REFUSAL_TOO_LARGE);
        assert_int_equal(json_parse(deep.data + 1, deep.size - 2, "doc", &value, NULL), 0);
        json_decref(value);
}

typedef struct Decoded {
        char *name;
        uint64_t number;
        bool flag;
        char **list;
        const json_t *array, *object;
} Decoded;

static int decode(const char *text, bool optional, Decoded *d, Error *reterr) {
        json_t *value = NULL;
        JsonReader r;
        int result;

        assert_int_equal(json_parse(text, strlen(text), "doc", &value, NULL), 0);
        r = json_reader(value, "doc", reterr);
        json_take_string(&r, "name", optional, &d->name);
        json_take_u64(&r, "number", optional, 100, &d->number);
        json_take_bool(&r, "flag", optional, &d->flag);
        json_take_strv(&r, "list", optional, &d->list);
        json_take_array(&r, "array", optional, 2, &d->array);
        json_take_object(&r, "object", optional, &d->object);
        result = json_reader_end(&r);
        json_decref(value);
        return result;
}

#define GOOD "\"name\":\"x\",\"number\":100,\"flag\":true,\"list\":[\"a\",\"b\"],\"array\":[1,2],\"object\":{}"

static void reader_takes_what_it_knows_and_refuses_the_rest(void **state) {
        static const struct {
                const char *text;
                bool optional;
                Refusal id; /* REFUSAL_NONE: accepted */
        } cases[] = {
                { "{" GOOD "}", false, REFUSAL_NONE },
                { "{}", true, REFUSAL_NONE },
                { "{" GOOD ",\"more\":1}", false, REFUSAL_BAD_FORMAT },
                { "{\"more\":1}", true, REFUSAL_BAD_FORMAT },
                { "{}", false, REFUSAL_BAD_FORMAT },
                { "[]", true, REFUSAL_BAD_FORMAT },
                { "{\"name\":1}", true, REFUSAL_BAD_FORMAT },
                { "{\"name\":null}", true, REFUSAL_BAD_FORMAT },
                { "{\"number\":\"1\"}", true, REFUSAL_BAD_FORMAT },
                { "{\"number\":-1}", true, REFUSAL_BAD_FORMAT },
                { "{\"number\":1.0}", true, REFUSAL_BAD_FORMAT },
                { "{\"number\":101}", true, REFUSAL_TOO_LARGE },
                { "{\"flag\":1}", true, REFUSAL_BAD_FORMAT },
                { "{\"list\":\"a\"}", true, REFUSAL_BAD_FORMAT },
                { "{\"list\":[\"a\",1]}", true, REFUSAL_BAD_FORMAT },
                { "{\"array\":{}}", true, REFUSAL_BAD_FORMAT },
                { "{\"array\":[1,2,3]}", true, REFUSAL_TOO_LARGE },
                { "{\"object\":[]}", true, REFUSAL_BAD_FORMAT },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};
                Decoded d = { .number = 7 };
                int r = decode(cases[i].text, cases[i].optional, &d, &e);

                assert_int_equal(e.id, cases[i].id);
                assert_int_equal(r < 0, cases[i].id != REFUSAL_NONE);
                if (r >= 0 && !cases[i].optional) {
                        assert_string_equal(d.name, "x");
                        assert_int_equal(d.number, 100);
                        assert_true(d.flag);
                        assert_int_equal(strv_length(d.list), 2);
                } else if (r >= 0) {
                        assert_null(d.name);
                        assert_int_equal(d.number, 7); /* what is missing is left alone */
                }
                free(d.name);
                strv_free(d.list);
        }
}

static void first_failure_of_a_reader_is_kept(void **state) {
        _cleanup_error_ Error e = {};
        Decoded d = {};

        assert_true(decode("{\"name\":1,\"number\":1000}", true, &d, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT); /* not the number's REFUSAL_TOO_LARGE */
        assert_int_equal(d.number, 0);
}

static void json_text_is_stable(void **state) {
        static const char *const words[] = { "z", "a", NULL };
        _cleanup_json_ json_t *o = json_object();
        _cleanup_free_ char *plain = NULL, *sorted = NULL, *line = NULL;

        json_object_set_new(o, "b", json_integer(1));
        json_object_set_new(o, "a", json_from_strv((char *const *) words));
        plain = json_format(o, false);
        sorted = json_format(o, true);
        line = json_format_line(o);
        assert_string_equal(plain, "{\n  \"b\": 1,\n  \"a\": [\n    \"z\",\n    \"a\"\n  ]\n}\n");
        assert_string_equal(sorted, "{\n  \"a\": [\n    \"z\",\n    \"a\"\n  ],\n  \"b\": 1\n}\n");
        assert_string_equal(line, "{\"a\":[\"z\",\"a\"],\"b\":1}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(output_is_captured_and_bounded),
                cmocka_unit_test(failure_carries_status_and_the_end_of_what_was_said),
                cmocka_unit_test(child_starts_from_a_known_state),
                cmocka_unit_test(last_lines_are_taken_from_the_end),
                cmocka_unit_test(documents_that_are_not_strict_json_are_refused),
                cmocka_unit_test(reader_takes_what_it_knows_and_refuses_the_rest),
                cmocka_unit_test(first_failure_of_a_reader_is_kept),
                cmocka_unit_test(json_text_is_stable),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
