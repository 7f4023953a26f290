/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small things every module needs: cleanup attributes, ownership transfer, strings, string vectors, byte buffers.
 * No input or output happens here. Out of memory aborts: both programs are crash-only (see common/README.md). */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))
#define _warn_unused_ __attribute__((warn_unused_result))

/* Defines the function that the cleanup attribute calls for a pointer type: DEFINE_CLEANUP(Tree *, tree_free)
 * makes tree_freep(). */
#define DEFINE_CLEANUP(type, func)                                                                                     \
        static inline void func##p(type *p) {                                                                          \
                if (*p)                                                                                                \
                        func(*p);                                                                                      \
        }

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define TAKE_PTR(ptr)                                                                                                  \
        ({                                                                                                             \
                typeof(ptr) *_pptr = &(ptr);                                                                           \
                typeof(ptr) _taken = *_pptr;                                                                           \
                *_pptr = NULL;                                                                                         \
                _taken;                                                                                                \
        })

static inline int take_fd(int *fd) {
        int r = *fd;

        *fd = -EBADF;
        return r;
}
#define TAKE_FD(fd) take_fd(&(fd))

static inline void freep(void *p) {
        free(*(void **) p);
}
#define _cleanup_free_ _cleanup_(freep)

/* Closes a descriptor and keeps errno. Takes negative numbers as "none". Always returns -EBADF. */
int safe_close(int fd);
static inline void safe_closep(int *fd) {
        safe_close(*fd);
}
#define _cleanup_close_ _cleanup_(safe_closep)

static inline void safe_fclosep(FILE **f) {
        if (*f)
                fclose(*f);
}
#define _cleanup_fclose_ _cleanup_(safe_fclosep)

/* Allocation that never returns NULL. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n, size_t size);
char *xstrdup(const char *s); /* NULL stays NULL */
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t size);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);
char *xvasprintf(const char *fmt, va_list ap) _printf_(1, 0);
#define xnew(t, n) ((t *) xcalloc((n), sizeof(t)))

/* Makes room for one more element in a growing array: GROW(items, n_items, n_allocated); items[n_items++] = x; */
#define GROW(array, n, allocated)                                                                                      \
        do {                                                                                                           \
                if ((n) >= (allocated)) {                                                                              \
                        (allocated) = (allocated) ? (allocated) *2 : 16;                                               \
                        (array) = xrealloc((array), (allocated), sizeof((array)[0]));                                  \
                }                                                                                                      \
        } while (0)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}
static inline bool streq_ptr(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool isempty(const char *s) {
        return !s || !*s;
}
/* The rest of s behind the prefix (or the position of the suffix), or NULL. */
const char *startswith(const char *s, const char *prefix);
const char *endswith(const char *s, const char *suffix);
/* Cuts white space at both ends, in place; returns the first character kept. */
char *strstrip(char *s);

/* String vectors: NULL-terminated, owned; NULL is the empty vector. */
char **strv_free(char **l);
static inline void strv_freep(char ***l) {
        strv_free(*l);
}
#define _cleanup_strv_free_ _cleanup_(strv_freep)
size_t strv_length(char *const *l);
void strv_push(char ***l, char *s);         /* takes ownership of s */
void strv_extend(char ***l, const char *s); /* copies s */
void strv_extendf(char ***l, const char *fmt, ...) _printf_(2, 3);
void strv_extend_strv(char ***l, char *const *more);
bool strv_contains(char *const *l, const char *s);
void strv_remove(char ***l, const char *s);
void strv_sort(char **l); /* by byte value */
void strv_sort_unique(char **l);
char *strv_join(char *const *l, const char *separator);
char **strv_split(const char *s, const char *separators); /* empty pieces are dropped */
char **strv_copy(char *const *l);
#define STRV_FOREACH(s, l) for (char *const *s = (char *const *) (l); s && *s; s++)

/* Growing byte buffer; data is always NUL-terminated behind size. */
typedef struct Buffer {
        char *data;
        size_t size;
        size_t allocated;
} Buffer;
void buffer_done(Buffer *b);
#define _cleanup_buffer_ _cleanup_(buffer_done)
void buffer_append(Buffer *b, const void *data, size_t size);
void buffer_puts(Buffer *b, const char *s);
void buffer_printf(Buffer *b, const char *fmt, ...) _printf_(2, 3);
char *buffer_steal(Buffer *b);

/* Lower-case hexadecimal. hex_decode wants exactly 2*size digits and returns false otherwise. */
char *hex_encode(const void *data, size_t size);
bool hex_decode(const char *hex, void *ret, size_t size);

/* Decimal, no sign, no white space, whole string. */
bool parse_u64(const char *s, uint64_t *ret);
/* Bytes with an optional binary suffix K, M, G or T. */
bool parse_size(const char *s, uint64_t *ret);
/* yes/no, true/false, on/off, 1/0. */
bool parse_bool(const char *s, bool *ret);
/* "1.4 GiB", "12 KiB", "17 B". */
char *format_bytes(uint64_t bytes);
