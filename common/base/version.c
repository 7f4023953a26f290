/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "version.h"

#define PARTS_MAX 4
#define CALENDAR_START 2020
#define CALENDAR_END 2999

/* Not <ctype.h>: versions are ASCII whatever the locale says. */
static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static const char *skip_separators(const char *s) {
        while (*s && !is_digit(*s) && !is_letter(*s) && !strchr("-.~^", *s))
                s++;
        return s;
}

static int compare_numbers(const char **a, const char **b) {
        const char *x = *a, *y = *b;
        size_t n, m;
        int r;

        /* Zero against no number at all: the specification calls that equal, the boot loader does not. It picks what
         * boots, so we go with it. */
        if (is_digit(*x) != is_digit(*y))
                return is_digit(*x) ? 1 : -1;
        x += strspn(x, "0");
        y += strspn(y, "0");
        n = strspn(x, "0123456789");
        m = strspn(y, "0123456789");
        if (n != m)
                return n < m ? -1 : 1;
        r = strncmp(x, y, n);
        *a = x + n;
        *b = y + m;
        return r;
}

static int compare_letters(const char **a, const char **b) {
        const char *x = *a, *y = *b;

        while (is_letter(*x) && *x == *y) {
                x++;
                y++;
        }
        *a = x;
        *b = y;
        if (!is_letter(*x) && !is_letter(*y))
                return 0;
        if (is_letter(*x) != is_letter(*y))
                return is_letter(*x) ? 1 : -1;
        return *x < *y ? -1 : 1;
}

/* 1 if only a begins with the mark, -1 if only b; steps over it where both do. */
static int compare_mark(char mark, const char **a, const char **b) {
        if (**a != **b)
                return (**a == mark) - (**b == mark);
        if (**a == mark) {
                (*a)++;
                (*b)++;
        }
        return 0;
}

int version_compare(const char *a, const char *b) {
        for (;;) {
                int r;

                a = skip_separators(a);
                b = skip_separators(b);

                /* The order of these is the specification's: '~' sorts before the end of the string, the others behind
                 * it and before anything else. */
                r = compare_mark('~', &a, &b);
                if (r != 0)
                        return -r;
                if (!*a || !*b)
                        return *a ? 1 : *b ? -1 : 0;
                for (const char *mark = "-^."; *mark; mark++) {
                        r = compare_mark(*mark, &a, &b);
                        if (r != 0)
                                return -r;
                }
                r = is_digit(*a) || is_digit(*b) ? compare_numbers(&a, &b) : compare_letters(&a, &b);
                if (r != 0)
                        return r;
        }
}

bool version_is_valid(const char *version) {
        size_t n = strlen(version);

        if (n == 0 || n > VERSION_LENGTH_MAX || (!is_digit(version[0]) && !is_letter(version[0])))
                return false;
        for (const char *s = version; *s; s++) {
                if (!is_digit(*s) && !is_letter(*s) && !strchr(".+~^-", *s))
                        return false;
                if (s[0] == '+' && is_digit(s[1]))
                        return false;
        }
        return true;
}

/* The numbers of "1.20.3": at most max, each saturating. Returns how many; *ret_end is what follows them. */
static size_t split_numbers(const char *s, uint64_t *ret, size_t max, const char **ret_end) {
        size_t n = 0;

        while (n < max && is_digit(*s)) {
                uint64_t value = 0;

                for (; is_digit(*s); s++)
                        value = value > UINT32_MAX ? value : value * 10 + (uint64_t) (*s - '0');
                ret[n++] = value;
                if (n == max || s[0] != '.' || !is_digit(s[1]))
                        break;
                s++;
        }
        *ret_end = s;
        return n;
}

static bool is_calendar_month(const uint64_t *parts) {
        return parts[0] >= CALENDAR_START && parts[0] <= CALENDAR_END && parts[1] >= 1 && parts[1] <= 12;
}

char *version_next(int64_t epoch, char *const *existing) {
        time_t t = (time_t) MAX(epoch, 0);
        uint64_t year, month, count = 0;
        struct tm tm;

        if (!gmtime_r(&t, &tm))
                tm = (struct tm){ .tm_year = 70 };
        year = (uint64_t) tm.tm_year + 1900;
        month = (uint64_t) tm.tm_mon + 1;

        STRV_FOREACH (v, existing) {
                uint64_t parts[3];
                const char *end;

                if (split_numbers(*v, parts, 3, &end) != 3 || *end == '.' || !is_calendar_month(parts))
                        continue;
                if (parts[0] > year || (parts[0] == year && parts[1] > month)) {
                        year = parts[0];
                        month = parts[1];
                        count = parts[2];
                } else if (parts[0] == year && parts[1] == month)
                        count = MAX(count, parts[2]);
        }
        return xasprintf("%" PRIu64 ".%" PRIu64 ".%" PRIu64, year, month, count + 1);
}

/* Mixes numbers with the given limits into one. One that reaches its limit takes all behind it to their limits too: so
 * the result may stop rising, but cannot fall. */
static uint64_t mix(const uint64_t *parts, const uint64_t *limits, size_t n) {
        bool full = false;
        uint64_t sum = 0;

        for (size_t i = 0; i < n; i++) {
                full = full || parts[i] >= limits[i];
                sum = sum * limits[i] + (full ? limits[i] - 1 : parts[i]);
        }
        return sum;
}

int64_t version_ordinal(const char *version) {
        static const uint64_t limits[PARTS_MAX][PARTS_MAX] = {
                { 300000000 },
                { 30000, 10000 },
                { 300, 1000, 1000 },
                { 300, 100, 100, 100 },
        };
        uint64_t parts[PARTS_MAX] = {}, year, month, day;
        const char *end;
        size_t n;

        while (is_letter(*version))
                version++;
        n = split_numbers(version, parts, PARTS_MAX, &end);
        if (n == 0)
                return 0;
        if (n == 3 && is_calendar_month(parts))
                return (int64_t) (((parts[0] - CALENDAR_START) * 12 + parts[1]) * 1000 + MIN(parts[2], 999U));

        year = parts[0] / 10000;
        month = parts[0] / 100 % 100;
        day = parts[0] % 100;
        if (n <= 2 && is_calendar_month((uint64_t[]){ year, month }) && day >= 1 && day <= 31)
                return (int64_t) ((((year - CALENDAR_START) * 12 + month) * 32 + day) * 500 + MIN(parts[1], 499U));
        return (int64_t) mix(parts, limits[n - 1], n);
}
