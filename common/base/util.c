/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>

#include "util.h"

int safe_close(int fd) {
        if (fd >= 0) {
                int saved = errno;

                close(fd);
                errno = saved;
        }
        return -EBADF;
}

static void *check_oom(void *p) {
        if (!p) {
                fputs("out of memory\n", stderr);
                abort();
        }
        return p;
}

void *xmalloc(size_t size) {
        return check_oom(malloc(MAX(size, (size_t) 1)));
}

void *xcalloc(size_t n, size_t size) {
        return check_oom(calloc(MAX(n, (size_t) 1), MAX(size, (size_t) 1)));
}

void *xrealloc(void *p, size_t n, size_t size) {
        size_t total;

        if (__builtin_mul_overflow(n, size, &total))
                check_oom(NULL);
        return check_oom(realloc(p, MAX(total, (size_t) 1)));
}

char *xstrdup(const char *s) {
        return s ? check_oom(strdup(s)) : NULL;
}

char *xstrndup(const char *s, size_t n) {
        return check_oom(strndup(s, n));
}

void *xmemdup(const void *p, size_t size) {
        void *q = xmalloc(size);

        if (size > 0)
                memcpy(q, p, size);
        return q;
}

char *xvasprintf(const char *fmt, va_list ap) {
        char *s = NULL;

        if (vasprintf(&s, fmt, ap) < 0)
                check_oom(NULL);
        return s;
}

char *xasprintf(const char *fmt, ...) {
        va_list ap;
        char *s;

        va_start(ap, fmt);
        s = xvasprintf(fmt, ap);
        va_end(ap);
        return s;
}

const char *startswith(const char *s, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

const char *endswith(const char *s, const char *suffix) {
        size_t n = strlen(s), m = strlen(suffix);

        return n >= m && streq(s + n - m, suffix) ? s + n - m : NULL;
}

char *strstrip(char *s) {
        size_t n;

        while (isspace((unsigned char) *s))
                s++;
        n = strlen(s);
        while (n > 0 && isspace((unsigned char) s[n - 1]))
                s[--n] = 0;
        return s;
}

char **strv_free(char **l) {
        STRV_FOREACH (s, l)
                free(*s);
        free(l);
        return NULL;
}

size_t strv_length(char *const *l) {
        size_t n = 0;

        STRV_FOREACH (s, l)
                n++;
        return n;
}

/* The vector's capacity is not stored: it is the next power of two, so it grows only when the length reaches one. */
void strv_push(char ***l, char *s) {
        size_t n = strv_length(*l);

        if (n == 0 || (n >= 4 && (n & (n - 1)) == 0) || n < 4)
                *l = xrealloc(*l, n < 4 ? 5 : 2 * n + 1, sizeof(char *));
        (*l)[n] = s;
        (*l)[n + 1] = NULL;
}

void strv_extend(char ***l, const char *s) {
        strv_push(l, xstrdup(s));
}

void strv_extendf(char ***l, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        strv_push(l, xvasprintf(fmt, ap));
        va_end(ap);
}

void strv_extend_strv(char ***l, char *const *more) {
        STRV_FOREACH (s, more)
                strv_extend(l, *s);
}

bool strv_contains(char *const *l, const char *s) {
        STRV_FOREACH (i, l)
                if (streq(*i, s))
                        return true;
        return false;
}

void strv_remove(char ***l, const char *s) {
        char **to = *l;

        if (!*l)
                return;
        for (char **from = *l; *from; from++)
                if (streq(*from, s))
                        free(*from);
                else
                        *to++ = *from;
        *to = NULL;
        /* Re-push would trust the capacity rule above; an exact copy keeps it true. */
        char **copy = strv_copy(*l);
        strv_free(*l);
        *l = copy;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

void strv_sort(char **l) {
        if (l)
                qsort(l, strv_length(l), sizeof(char *), compare_strings);
}

void strv_sort_unique(char **l) {
        size_t n = strv_length(l), kept = 0;

        if (n == 0)
                return;
        strv_sort(l);
        for (size_t i = 0; i < n; i++)
                if (kept > 0 && streq(l[kept - 1], l[i]))
                        free(l[i]);
                else
                        l[kept++] = l[i];
        /* Shorter than its capacity suggests is harmless: strv_push then reallocates early, never late. */
        l[kept] = NULL;
}

char *strv_join(char *const *l, const char *separator) {
        _cleanup_buffer_ Buffer b = {};

        STRV_FOREACH (s, l) {
                if (s != l)
                        buffer_puts(&b, separator);
                buffer_puts(&b, *s);
        }
        return buffer_steal(&b);
}

char **strv_split(const char *s, const char *separators) {
        char **l = NULL;

        while (s && *s) {
                size_t n = strcspn(s, separators);

                if (n > 0)
                        strv_push(&l, xstrndup(s, n));
                s += n;
                s += strspn(s, separators);
        }
        return l;
}

char **strv_copy(char *const *l) {
        char **copy = NULL;

        strv_extend_strv(&copy, l);
        return copy;
}

void buffer_done(Buffer *b) {
        free(b->data);
        *b = (Buffer){};
}

void buffer_append(Buffer *b, const void *data, size_t size) {
        size_t need;

        if (__builtin_add_overflow(b->size, size, &need) || __builtin_add_overflow(need, 1, &need))
                check_oom(NULL);
        if (need > b->allocated) {
                b->allocated = MAX(need, b->allocated + b->allocated / 2);
                b->data = xrealloc(b->data, b->allocated, 1);
        }
        if (size > 0)
                memcpy(b->data + b->size, data, size);
        b->size += size;
        b->data[b->size] = 0;
}

void buffer_puts(Buffer *b, const char *s) {
        buffer_append(b, s, strlen(s));
}

void buffer_printf(Buffer *b, const char *fmt, ...) {
        _cleanup_free_ char *s = NULL;
        va_list ap;

        va_start(ap, fmt);
        s = xvasprintf(fmt, ap);
        va_end(ap);
        buffer_puts(b, s);
}

char *buffer_steal(Buffer *b) {
        char *s;

        if (!b->data)
                buffer_append(b, "", 0);
        s = b->data;
        *b = (Buffer){};
        return s;
}

char *hex_encode(const void *data, size_t size) {
        static const char digits[] = "0123456789abcdef";
        const uint8_t *p = data;
        char *s = xmalloc(2 * size + 1);

        for (size_t i = 0; i < size; i++) {
                s[2 * i] = digits[p[i] >> 4];
                s[2 * i + 1] = digits[p[i] & 15];
        }
        s[2 * size] = 0;
        return s;
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return -1;
}

bool hex_decode(const char *hex, void *ret, size_t size) {
        uint8_t *p = ret;

        if (strlen(hex) != 2 * size)
                return false;
        for (size_t i = 0; i < size; i++) {
                int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

                if (high < 0 || low < 0)
                        return false;
                p[i] = (uint8_t) (high << 4 | low);
        }
        return true;
}

bool parse_u64(const char *s, uint64_t *ret) {
        uint64_t value = 0;

        if (!*s)
                return false;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return false;
                if (__builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (*s - '0'), &value))
                        return false;
        }
        *ret = value;
        return true;
}

bool parse_size(const char *s, uint64_t *ret) {
        static const char suffixes[] = "KMGT";
        size_t n = strlen(s);
        const char *suffix = n > 0 ? memchr(suffixes, s[n - 1], 4) : NULL;
        _cleanup_free_ char *digits = xstrndup(s, suffix ? n - 1 : n);
        uint64_t value;

        if (!parse_u64(digits, &value))
                return false;
        if (suffix && __builtin_mul_overflow(value, UINT64_C(1) << 10 * (suffix - suffixes + 1), &value))
                return false;
        *ret = value;
        return true;
}

bool parse_bool(const char *s, bool *ret) {
        static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false", "off", "0" };

        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                if (streq(s, yes[i]))
                        return *ret = true, true;
                if (streq(s, no[i]))
                        return *ret = false, true;
        }
        return false;
}

char *format_bytes(uint64_t bytes) {
        static const char units[] = "KMGTPE";
        double value = (double) bytes;
        int unit = -1;

        while (value >= 1024 && unit < 5) {
                value /= 1024;
                unit++;
        }
        if (unit < 0)
                return xasprintf("%" PRIu64 " B", bytes);
        return xasprintf(value < 10 ? "%.1f %ciB" : "%.0f %ciB", value, units[unit]);
}
