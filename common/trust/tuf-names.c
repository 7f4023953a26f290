/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names and times as they stand in metadata. */

#include <ctype.h>
#include <time.h>

#include "tuf-metadata.h"

#define TIME_FIRST INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define TIME_LAST INT64_C(253402300799)  /* 9999-12-31T23:59:59Z */

/* Length of the well-formed UTF-8 sequence at s; 0: there is none. Neither overlong forms nor surrogates. */
static size_t utf8_length(const uint8_t *s) {
        size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
        static const struct {
                uint8_t first, low, high;
        } second[] = { { 0xe0, 0xa0, 0xbf }, { 0xed, 0x80, 0x9f }, { 0xf0, 0x90, 0xbf }, { 0xf4, 0x80, 0x8f } };

        for (size_t i = 1; i < n; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        for (size_t i = 0; n > 1 && i < ELEMENTSOF(second); i++)
                if (s[0] == second[i].first && (s[1] < second[i].low || s[1] > second[i].high))
                        return 0;
        return n;
}

/* Neither C0 nor DEL nor C1: these reach terminals and logs. */
static bool is_plain_text(const char *text) {
        for (const uint8_t *s = (const uint8_t *) text; *s;) {
                size_t n = utf8_length(s);

                if (n == 0 || *s < 0x20 || *s == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0))
                        return false;
                s += n;
        }
        return true;
}

static bool is_dots(const char *s, size_t n) {
        return n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.');
}

bool tuf_target_path_is_valid(const char *path) {
        if (strlen(path) > TUF_TARGET_PATH_MAX || !is_plain_text(path))
                return false;
        for (const char *s = path;;) {
                size_t n = strcspn(s, "/");

                if (is_dots(s, n))
                        return false;
                if (!s[n])
                        return true;
                s += n + 1;
        }
}

char *tuf_role_file_name(const char *role) {
        _cleanup_buffer_ Buffer b = {};

        for (const char *s = role; *s; s++)
                if (isascii(*s) && (isalnum((unsigned char) *s) || strchr("-._~", *s)))
                        buffer_append(&b, s, 1);
                else
                        buffer_printf(&b, "%%%02X", (unsigned) (uint8_t) *s);
        buffer_puts(&b, ".json");
        return buffer_steal(&b);
}

static bool take_number(const char *s, size_t n, int *ret) {
        int value = 0;

        for (size_t i = 0; i < n; i++) {
                if (s[i] < '0' || s[i] > '9')
                        return false;
                value = value * 10 + (s[i] - '0');
        }
        *ret = value;
        return true;
}

/* section 4.2, date-time */
bool tuf_parse_time(const char *text, int64_t *ret) {
        static const char shape[] = "....-..-..T..:..:..Z";
        struct tm tm = {}, back;
        time_t seconds;

        if (strlen(text) != strlen(shape))
                return false;
        for (size_t i = 0; shape[i]; i++)
                if (shape[i] != '.' && text[i] != shape[i])
                        return false;
        if (!take_number(text, 4, &tm.tm_year) || !take_number(text + 5, 2, &tm.tm_mon) ||
            !take_number(text + 8, 2, &tm.tm_mday) || !take_number(text + 11, 2, &tm.tm_hour) ||
            !take_number(text + 14, 2, &tm.tm_min) || !take_number(text + 17, 2, &tm.tm_sec) || tm.tm_year < 1)
                return false;
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        back = tm;
        /* timegm() carries the 30th of February over into March: what comes back changed was no time. */
        seconds = timegm(&back);
        if (back.tm_year != tm.tm_year || back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday ||
            back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec)
                return false;
        *ret = (int64_t) seconds;
        return true;
}

char *tuf_format_time(int64_t seconds) {
        time_t t = (time_t) MAX(TIME_FIRST, MIN(TIME_LAST, seconds));
        struct tm tm;

        /* The shape has four digits for the year: what lies outside is written as the first or last time that it has.
         */
        gmtime_r(&t, &tm);
        return xasprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                         tm.tm_min, tm.tm_sec);
}
