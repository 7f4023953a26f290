/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/ioctl.h>
#include <time.h>

#include "json.h"
#include "log.h"
#include "progress.h"

/* A terminal is redrawn at most this often: more is flicker, and work. JSON readers get less still. */
#define REDRAW_USEC UINT64_C(100000)
#define JSON_USEC UINT64_C(500000)
/* Speed and time left are worth showing once this much time has shown a trend. */
#define TREND_USEC UINT64_C(1500000)
#define WIDTH_DEFAULT 80
#define WIDTH_MIN 20
#define BAR_WIDTH 20

struct Progress {
        ProgressStyle style; /* never PROGRESS_AUTO; PROGRESS_AUTO here means: a terminal */
        bool line_shown;
        bool running; /* a phase is under way: the last one of phases */
        ProgressPhase *phases;
        size_t n_phases, n_allocated;
        uint64_t begin_usec, drawn_usec;
        uint64_t total, done;
        char *detail;
};

static uint64_t now_usec(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static unsigned terminal_width(void) {
        struct winsize size = {};
        uint64_t columns;
        const char *e;

        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
                return size.ws_col;
        e = getenv("COLUMNS");
        return e && parse_u64(e, &columns) && columns > 0 && columns < 10000 ? (unsigned) columns : WIDTH_DEFAULT;
}

/* Cuts a text to n columns, counting each UTF-8 character as one; never in the middle of one. */
static void cut_columns(char *s, size_t n) {
        size_t columns = 0;

        for (char *p = s; *p; p++) {
                if (((unsigned char) *p & 0xC0) == 0x80)
                        continue;
                if (columns++ == n) {
                        *p = '\0';
                        return;
                }
        }
}

static char *format_seconds(double seconds) {
        unsigned s;

        if (seconds < 10)
                return xasprintf("%.1f s", seconds);
        s = (unsigned) (seconds + 0.5);
        if (s < 120)
                return xasprintf("%u s", s);
        if (s < 7200)
                return xasprintf("%u min %02u s", s / 60, s % 60);
        return xasprintf("%u h %02u min", s / 3600, s / 60 % 60);
}

static void append_bar(Buffer *b, double share) {
        unsigned full = (unsigned) (share * BAR_WIDTH + 0.5);

        buffer_puts(b, " [");
        for (unsigned i = 0; i < BAR_WIDTH; i++)
                buffer_puts(b, i < full ? "#" : ".");
        buffer_puts(b, "]");
}

static void append_amount(Buffer *b, const Progress *p, uint64_t usec) {
        _cleanup_free_ char *done = format_bytes(p->done), *total = NULL;

        if (p->total > 0) {
                total = format_bytes(p->total);
                buffer_printf(b, " %s of %s", done, total);
        } else if (p->done > 0)
                buffer_printf(b, " %s", done);
        if (p->done > 0 && usec >= TREND_USEC) {
                double speed = (double) p->done * 1e6 / (double) usec;
                _cleanup_free_ char *rate = format_bytes((uint64_t) speed);

                buffer_printf(b, ", %s/s", rate);
                if (p->total > p->done) {
                        _cleanup_free_ char *left = format_seconds((double) (p->total - p->done) / speed);

                        buffer_printf(b, ", %s left", left);
                }
        }
}

/* The parts in order of worth, so that a narrow terminal cuts the least useful end off. */
static char *compose_line(const Progress *p, unsigned width) {
        const ProgressPhase *phase = &p->phases[p->n_phases - 1];
        uint64_t usec = now_usec() - p->begin_usec;
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, phase->title);
        if (p->total > 0) {
                double share = (double) MIN(p->done, p->total) / (double) p->total;

                if (width >= 60)
                        append_bar(&b, share);
                buffer_printf(&b, " %3u%%", (unsigned) (share * 100));
        } else {
                _cleanup_free_ char *elapsed = format_seconds((double) usec / 1e6);

                buffer_printf(&b, " %s", elapsed);
        }
        append_amount(&b, p, usec);
        if (p->detail)
                buffer_printf(&b, "  %s", p->detail);
        /* One column less than the width: writing into the last one wraps on some terminals. */
        cut_columns(b.data, MAX(width, WIDTH_MIN) - 1);
        return buffer_steal(&b);
}

static void clear_line(Progress *p) {
        if (!p->line_shown)
                return;
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->line_shown = false;
}

static void clear_line_callback(void *userdata) {
        clear_line(userdata);
}

/* The cursor is neither hidden nor moved to another line, so that nothing has to be restored if we are killed. */
static void draw_line(Progress *p) {
        _cleanup_free_ char *line = compose_line(p, terminal_width());

        fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
        p->line_shown = true;
}

static void print_json(json_t *o) {
        _cleanup_free_ char *line = json_format_line(o);

        puts(line);
        fflush(stdout);
        json_decref(o);
}

static json_t *json_event(const Progress *p, const char *event) {
        json_t *o = json_object();

        json_object_set_new(o, "event", json_string(event));
        json_object_set_new(o, "phase", json_string(p->phases[p->n_phases - 1].id));
        return o;
}

static void json_progress(const Progress *p) {
        json_t *o = json_event(p, "progress");

        json_object_set_new(o, "done", json_integer((json_int_t) p->done));
        if (p->total > 0)
                json_object_set_new(o, "total", json_integer((json_int_t) p->total));
        if (p->detail) {
                json_t *detail = json_string(p->detail);

                if (detail)
                        json_object_set_new(o, "detail", detail);
        }
        print_json(o);
}

static void update(Progress *p, bool soon) {
        uint64_t now, interval = p->style == PROGRESS_JSON ? JSON_USEC : REDRAW_USEC;

        if (!p->running || (p->style != PROGRESS_AUTO && p->style != PROGRESS_JSON))
                return;
        now = now_usec();
        if (!soon && now - p->drawn_usec < interval)
                return;
        p->drawn_usec = now;
        if (p->style == PROGRESS_AUTO)
                draw_line(p);
        else
                json_progress(p);
}

static bool terminal_can_rewrite(void) {
        const char *term = getenv("TERM");

        return isatty(STDERR_FILENO) && term && !streq(term, "dumb") && !streq(term, "");
}

Progress *progress_new(ProgressStyle style) {
        Progress *p = xnew(Progress, 1);

        if (style == PROGRESS_AUTO && !terminal_can_rewrite())
                style = PROGRESS_PLAIN;
        p->style = style;
        if (style == PROGRESS_AUTO)
                log_set_before_line(clear_line_callback, p);
        return p;
}

Progress *progress_free(Progress *p) {
        if (!p)
                return NULL;
        clear_line(p);
        if (p->style == PROGRESS_AUTO)
                log_set_before_line(NULL, NULL);
        for (size_t i = 0; i < p->n_phases; i++) {
                free(p->phases[i].id);
                free(p->phases[i].title);
                free(p->phases[i].result);
        }
        free(p->phases);
        free(p->detail);
        free(p);
        return NULL;
}

static void finish_phase(Progress *p, char *result) {
        ProgressPhase *phase;
        _cleanup_free_ char *time = NULL;

        if (!p->running) {
                free(result);
                return;
        }
        phase = &p->phases[p->n_phases - 1];
        phase->seconds = (double) (now_usec() - p->begin_usec) / 1e6;
        phase->result = result;
        p->running = false;
        time = format_seconds(phase->seconds);
        if (p->style == PROGRESS_AUTO) {
                clear_line(p);
                fprintf(stderr, "%s: %s%s%s\n", phase->title, result ?: "", result ? ", " : "", time);
        } else if (p->style == PROGRESS_PLAIN)
                fprintf(stderr, "%s: %s (%s)\n", phase->title, result ?: "done", time);
        else if (p->style == PROGRESS_JSON) {
                json_t *o = json_event(p, "end"), *text = result ? json_string(result) : NULL;

                json_object_set_new(o, "seconds", json_real(phase->seconds));
                if (p->done > 0)
                        json_object_set_new(o, "done", json_integer((json_int_t) p->done));
                if (text)
                        json_object_set_new(o, "result", text);
                print_json(o);
        }
}

void progress_begin(Progress *p, const char *id, const char *title) {
        if (!p)
                return;
        finish_phase(p, NULL);
        GROW(p->phases, p->n_phases, p->n_allocated);
        p->phases[p->n_phases++] = (ProgressPhase){ .id = xstrdup(id), .title = xstrdup(title) };
        p->running = true;
        p->begin_usec = now_usec();
        p->drawn_usec = 0;
        p->total = p->done = 0;
        free(TAKE_PTR(p->detail));
        if (p->style == PROGRESS_PLAIN)
                fprintf(stderr, "%s ...\n", title);
        else if (p->style == PROGRESS_JSON) {
                json_t *o = json_event(p, "begin");

                json_object_set_new(o, "title", json_string(title));
                print_json(o);
                p->drawn_usec = p->begin_usec;
        } else
                update(p, true);
}

void progress_total(Progress *p, uint64_t total_bytes) {
        if (!p)
                return;
        p->total = total_bytes;
        update(p, false);
}

void progress_advance(Progress *p, uint64_t bytes) {
        if (!p)
                return;
        if (__builtin_add_overflow(p->done, bytes, &p->done))
                p->done = UINT64_MAX;
        update(p, false);
}

void progress_detail(Progress *p, const char *fmt, ...) {
        va_list ap;

        if (!p)
                return;
        free(p->detail);
        va_start(ap, fmt);
        p->detail = xvasprintf(fmt, ap);
        va_end(ap);
        /* Text of packages and paths reaches the terminal here: nothing in it may steer the terminal. */
        for (char *s = p->detail; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 127)
                        *s = ' ';
        update(p, false);
}

void progress_end(Progress *p, const char *fmt, ...) {
        char *result = NULL;
        va_list ap;

        if (!p)
                return;
        if (fmt) {
                va_start(ap, fmt);
                result = xvasprintf(fmt, ap);
                va_end(ap);
        }
        finish_phase(p, result);
}

size_t progress_phases(const Progress *p, const ProgressPhase **ret) {
        *ret = p ? p->phases : NULL;
        return p ? p->n_phases : 0;
}
