/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <termios.h>

#include <cmocka.h>

#include "json.h"
#include "log.h"
#include "progress.h"

/* Puts one of the standard streams somewhere else and back. */
typedef struct Capture {
        int stream, saved_fd, read_fd;
        bool terminal;
} Capture;

static Capture capture_start(int stream, unsigned terminal_columns) {
        Capture c = { .stream = stream, .saved_fd = dup(stream), .terminal = terminal_columns > 0 };
        int write_fd;

        fflush(stdout);
        fflush(stderr);
        if (c.terminal) {
                struct winsize size = { .ws_row = 24, .ws_col = (unsigned short) terminal_columns };
                struct termios raw;

                assert_int_equal(openpty(&c.read_fd, &write_fd, NULL, NULL, &size), 0);
                assert_int_equal(tcgetattr(write_fd, &raw), 0);
                cfmakeraw(&raw); /* the line discipline would add carriage returns of its own */
                assert_int_equal(tcsetattr(write_fd, TCSANOW, &raw), 0);
        } else {
                c.read_fd = memfd_create("capture", 0);
                write_fd = dup(c.read_fd);
        }
        assert_true(c.saved_fd >= 0 && write_fd >= 0);
        assert_int_equal(dup2(write_fd, stream), stream);
        close(write_fd);
        return c;
}

static char *capture_end(Capture *c) {
        Buffer b = {};
        char chunk[4096];
        ssize_t n;

        fflush(stdout);
        fflush(stderr);
        if (c->terminal)
                assert_int_equal(fcntl(c->read_fd, F_SETFL, O_NONBLOCK), 0);
        else
                lseek(c->read_fd, 0, SEEK_SET);
        while ((n = read(c->read_fd, chunk, sizeof(chunk))) > 0)
                buffer_append(&b, chunk, (size_t) n);
        assert_int_equal(dup2(c->saved_fd, c->stream), c->stream);
        close(c->saved_fd);
        close(c->read_fd);
        return b.data ? buffer_steal(&b) : xstrdup("");
}

static void run_two_phases(Progress *p) {
        progress_begin(p, "fetch", "Downloading");
        progress_total(p, 1000);
        progress_detail(p, "systemd %d", 257);
        progress_advance(p, 400);
        progress_begin(p, "write", "Writing");
        progress_end(p, "%d files", 12);
}

static void plain_style_prints_a_line_when_a_phase_starts_and_ends(void **state) {
        Capture c = capture_start(STDERR_FILENO, 0);
        _cleanup_(progress_freep) Progress *p = progress_new(PROGRESS_AUTO);
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;

        run_two_phases(p);
        text = capture_end(&c);
        lines = strv_split(text, "\n");
        assert_int_equal(strv_length(lines), 4);
        assert_string_equal(lines[0], "Downloading ...");
        assert_non_null(startswith(lines[1], "Downloading: done ("));
        assert_string_equal(lines[2], "Writing ...");
        assert_non_null(startswith(lines[3], "Writing: 12 files ("));
        assert_null(strchr(text, '\r'));
        assert_null(strchr(text, '\033'));
}

static void quiet_style_prints_nothing(void **state) {
        Capture out = capture_start(STDOUT_FILENO, 0), err = capture_start(STDERR_FILENO, 0);
        Progress *p = progress_new(PROGRESS_QUIET);
        _cleanup_free_ char *out_text = NULL, *err_text = NULL;

        run_two_phases(p);
        progress_free(p);
        err_text = capture_end(&err);
        out_text = capture_end(&out);
        assert_string_equal(err_text, "");
        assert_string_equal(out_text, "");
}

static void json_style_prints_one_object_a_line(void **state) {
        static const char *const events[] = { "begin", "end", "begin", "end" };
        static const char *const phases[] = { "fetch", "fetch", "write", "write" };
        Capture c = capture_start(STDOUT_FILENO, 0);
        _cleanup_(progress_freep) Progress *p = progress_new(PROGRESS_JSON);
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;

        run_two_phases(p);
        text = capture_end(&c);
        lines = strv_split(text, "\n");
        assert_int_equal(strv_length(lines), 4);
        for (size_t i = 0; i < 4; i++) {
                _cleanup_json_ json_t *o = json_loads(lines[i], 0, NULL);

                assert_non_null(o);
                assert_string_equal(json_string_value(json_object_get(o, "event")), events[i]);
                assert_string_equal(json_string_value(json_object_get(o, "phase")), phases[i]);
                assert_int_equal(json_is_real(json_object_get(o, "seconds")), i % 2);
                if (i == 1)
                        assert_int_equal(json_integer_value(json_object_get(o, "done")), 400);
        }
}

/* Columns of each piece that stands on one line of the terminal, escape sequences aside. */
static size_t widest_line(const char *text) {
        size_t columns = 0, widest = 0;

        for (const char *s = text; *s; s++) {
                if (*s == '\r' || *s == '\n')
                        columns = 0;
                else if (*s == '\033')
                        s += strcspn(s, "KhlmJ");
                else if (((unsigned char) *s & 0xC0) != 0x80)
                        columns++;
                widest = MAX(widest, columns);
        }
        return widest;
}

static void a_terminal_gets_one_line_no_wider_than_itself(void **state) {
        static const unsigned widths[] = { 25, 40, 80, 200 };

        for (size_t i = 0; i < ELEMENTSOF(widths); i++) {
                Capture c = capture_start(STDERR_FILENO, widths[i]);
                _cleanup_free_ char *text = NULL;
                Progress *p;

                setenv("TERM", "xterm", 1);
                p = progress_new(PROGRESS_AUTO);
                progress_begin(p, "fetch", "Downloading");
                progress_total(p, 1000);
                for (size_t k = 0; k < 4; k++) {
                        progress_detail(
                                p, "a package with quite a long name \xC3\xA4\xC3\xB6\xC3\xBC and more of it %zu", k);
                        progress_advance(p, 200);
                        usleep(110000);
                }
                progress_free(p);
                text = capture_end(&c);
                assert_null(strchr(text, '\n'));
                assert_non_null(strstr(text, "60%"));
                assert_true(widest_line(text) < widths[i]);
                assert_non_null(endswith(text, "\r\033[K")); /* nothing is left behind */
        }
}

static void a_log_line_takes_the_place_of_the_progress_line(void **state) {
        Capture c = capture_start(STDERR_FILENO, 80);
        _cleanup_free_ char *text = NULL;
        const char *log;
        Progress *p;

        setenv("TERM", "xterm", 1);
        p = progress_new(PROGRESS_AUTO);
        progress_begin(p, "fetch", "Downloading");
        log_warning("look");
        progress_free(p);
        log_warning("after"); /* the hook is gone with the progress */
        text = capture_end(&c);
        log = strstr(text, "warning: look\n");
        assert_non_null(log);
        assert_true(log - text >= 4 && strncmp(log - 4, "\r\033[K", 4) == 0);
        assert_non_null(endswith(text, "look\nwarning: after\n"));
}

static void a_dumb_terminal_gets_plain_lines(void **state) {
        Capture c = capture_start(STDERR_FILENO, 80);
        _cleanup_free_ char *text = NULL;
        Progress *p;

        setenv("TERM", "dumb", 1);
        p = progress_new(PROGRESS_AUTO);
        run_two_phases(p);
        progress_free(p);
        text = capture_end(&c);
        assert_null(strchr(text, '\r'));
        assert_non_null(strstr(text, "Downloading ...\n"));
}

static void details_cannot_steer_the_terminal(void **state) {
        Capture c = capture_start(STDERR_FILENO, 80);
        _cleanup_free_ char *text = NULL;
        Progress *p;

        setenv("TERM", "xterm", 1);
        p = progress_new(PROGRESS_AUTO);
        progress_begin(p, "x", "X");
        usleep(110000);
        progress_detail(p, "evil\033[2Jname");
        progress_free(p);
        text = capture_end(&c);
        assert_non_null(strstr(text, "evil [2Jname"));
        assert_null(strstr(text, "\033[2J"));
}

static void phases_are_remembered(void **state) {
        _cleanup_(progress_freep) Progress *p = progress_new(PROGRESS_QUIET);
        const ProgressPhase *phases;

        run_two_phases(p);
        assert_int_equal(progress_phases(p, &phases), 2);
        assert_string_equal(phases[0].id, "fetch");
        assert_null(phases[0].result);
        assert_string_equal(phases[1].result, "12 files");
        assert_true(phases[1].seconds >= 0 && phases[1].seconds < 10);
        progress_end(p, "twice"); /* nothing runs: nothing happens */
        assert_string_equal(phases[1].result, "12 files");
}

static void no_progress_is_a_progress_that_shows_nothing(void **state) {
        const ProgressPhase *phases;

        run_two_phases(NULL);
        assert_null(progress_free(NULL));
        assert_int_equal(progress_phases(NULL, &phases), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_style_prints_a_line_when_a_phase_starts_and_ends),
                cmocka_unit_test(quiet_style_prints_nothing),
                cmocka_unit_test(json_style_prints_one_object_a_line),
                cmocka_unit_test(a_terminal_gets_one_line_no_wider_than_itself),
                cmocka_unit_test(a_log_line_takes_the_place_of_the_progress_line),
                cmocka_unit_test(a_dumb_terminal_gets_plain_lines),
                cmocka_unit_test(details_cannot_steer_the_terminal),
                cmocka_unit_test(phases_are_remembered),
                cmocka_unit_test(no_progress_is_a_progress_that_shows_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
