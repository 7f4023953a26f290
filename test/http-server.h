/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A web server on 127.0.0.1 that misbehaves as the path says, in a process of its own, one connection for each request:
 *
 *     /text             "hello" with an ETag, 304 if asked so
 *     /echo             the request's own headers
 *     /size/N           N bytes, ranges as asked for
 *     /noranges/N       the whole whatever was asked for
 *     /otherrange/N     a range that begins one byte later
 *     /norangeheader/N  206 without Content-Range
 *     /longrange/N      the range and all that follows it
 *     /undeclared/N     without Content-Length
 *     /cut/N            half of what Content-Length promises
 *     /chunked/cut, /chunked/endless, /endless, /headers (endless ones)
 *     /status/N         that status and an empty body; /bigerror: 404 with 10 MB
 *     /moved            to /text, with an ETag of its own; /loop: to itself; /to/URL
 *     /moved/endless    the same, with a body that does not end; /moved/stuck: with one that does not come
 *     /stuck            a header and three bytes, then nothing; /silent: nothing; /drip: a byte now and then;
 *                       /dawdle: a little faster, and endless
 *     /garbage          no HTTP; /hangup: the end at once */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "util.h"

typedef struct HttpServer {
        pid_t pid;
        char *url; /* http://127.0.0.1:PORT */
} HttpServer;

typedef struct HttpRequest {
        int fd;
        const char *path, *headers, *argument;
        size_t size, from, to; /* the range: [from, to) */
        bool has_range;
} HttpRequest;

static inline uint8_t http_server_byte(uint64_t i) {
        return (uint8_t) (i % 251);
}

static inline void http_server_send(int fd, const void *data, size_t size) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t n = send(fd, p, size, MSG_NOSIGNAL);

                if (n <= 0)
                        _exit(0);
                p += n;
                size -= (size_t) n;
        }
}

static inline void http_server_say(int fd, const char *fmt, ...) _printf_(2, 3);
static inline void http_server_say(int fd, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        text = xvasprintf(fmt, ap);
        va_end(ap);
        http_server_send(fd, text, strlen(text));
}

static inline void http_server_send_pattern(int fd, size_t from, size_t to) {
        uint8_t chunk[4096];

        while (from < to) {
                size_t n = MIN(sizeof(chunk), to - from);

                for (size_t i = 0; i < n; i++)
                        chunk[i] = http_server_byte(from + i);
                http_server_send(fd, chunk, n);
                from += n;
        }
}

/* Until the client goes. */
_noreturn_ static inline void http_server_wait(int fd) {
        char c;

        while (read(fd, &c, 1) > 0)
                ;
        _exit(0);
}

static inline void http_server_sized(const HttpRequest *q, const char *mode) {
        size_t from = q->from;

        if (streq(mode, "noranges") || !q->has_range) {
                size_t sent = streq(mode, "cut") ? q->size / 2 : q->size;

                http_server_say(q->fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n");
                if (!streq(mode, "undeclared"))
                        http_server_say(q->fd, "Content-Length: %zu\r\n", q->size);
                http_server_say(q->fd, "\r\n");
                http_server_send_pattern(q->fd, 0, sent);
                return;
        }
        if (from >= q->size) {
                http_server_say(q->fd, "HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                return;
        }
        if (streq(mode, "otherrange"))
                from++;
        http_server_say(q->fd, "HTTP/1.1 206 Partial\r\nConnection: close\r\n");
        if (!streq(mode, "norangeheader"))
                http_server_say(q->fd, "Content-Range: bytes %zu-%zu/%zu\r\n", from, q->to - 1, q->size);
        if (streq(mode, "cut"))
                http_server_say(q->fd, "Content-Length: %zu\r\n", q->to - from);
        http_server_say(q->fd, "\r\n");
        http_server_send_pattern(q->fd, from,
                                 streq(mode, "longrange") ? q->size
                                 : streq(mode, "cut")     ? (from + q->to) / 2
                                                          : q->to);
}

static inline void http_server_endless(const HttpRequest *q, const char *mode) {
        http_server_say(q->fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n");
        for (unsigned i = 0; streq(mode, "headers"); i++)
                http_server_say(q->fd, "X-Header-%u: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", i);
        if (!streq(mode, "chunked")) {
                http_server_say(q->fd, "\r\n");
                for (;;)
                        http_server_send_pattern(q->fd, 0, 1 << 20);
        }
        http_server_say(q->fd, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        if (streq(q->argument, "cut"))
                return;
        for (;;) {
                http_server_say(q->fd, "1000\r\n");
                http_server_send_pattern(q->fd, 0, 0x1000);
                http_server_say(q->fd, "\r\n");
        }
}

static inline void http_server_be_slow(const HttpRequest *q, const char *mode) {
        if (streq(mode, "dawdle"))
                http_server_say(q->fd, "HTTP/1.1 200 OK\r\n\r\n");
        else if (!streq(mode, "silent"))
                http_server_say(q->fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
        while (streq(mode, "drip")) {
                http_server_say(q->fd, "x");
                usleep(200000);
        }
        while (streq(mode, "dawdle")) {
                http_server_send_pattern(q->fd, 0, 300);
                usleep(200000);
        }
        http_server_wait(q->fd);
}

static inline void http_server_redirect(const HttpRequest *q, const char *mode) {
        const char *to = streq(mode, "moved") ? "/text" : streq(mode, "loop") ? "/loop" : q->argument;

        if (streq(mode, "moved") && *q->argument) {
                http_server_say(q->fd,
                                "HTTP/1.1 302 Found\r\nLocation: /text\r\nContent-Length: 1000000000000\r\n\r\n");
                while (streq(q->argument, "endless"))
                        http_server_send_pattern(q->fd, 0, 1 << 16);
                http_server_wait(q->fd);
        }
        http_server_say(q->fd,
                        "HTTP/1.1 302 Found\r\nLocation: %s\r\nETag: \"redirect\"\r\nContent-Length: 4\r\n"
                        "Connection: close\r\n\r\ngone",
                        to);
}

static inline void http_server_document(const HttpRequest *q, const char *mode) {
        if (streq(mode, "echo"))
                http_server_say(q->fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                                strlen(q->headers), q->headers);
        else if (strstr(q->headers, "If-None-Match: \"v1\"\r\n"))
                http_server_say(q->fd, "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nConnection: close\r\n\r\n");
        else
                http_server_say(q->fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\netag:  \"v1\" \r\n"
                                       "Connection: close\r\n\r\nhello");
}

static inline void http_server_answer(HttpRequest *q, const char *mode) {
        static const char *const sized[] = { "size",      "noranges",   "otherrange", "norangeheader",
                                             "longrange", "undeclared", "cut" };

        for (size_t i = 0; i < ELEMENTSOF(sized); i++)
                if (streq(mode, sized[i])) {
                        http_server_sized(q, mode);
                        return;
                }
        if (streq(mode, "text") || streq(mode, "echo"))
                http_server_document(q, mode);
        else if (streq(mode, "chunked") || streq(mode, "endless") || streq(mode, "headers"))
                http_server_endless(q, mode);
        else if (streq(mode, "moved") || streq(mode, "loop") || streq(mode, "to"))
                http_server_redirect(q, mode);
        else if (streq(mode, "stuck") || streq(mode, "silent") || streq(mode, "drip") || streq(mode, "dawdle"))
                http_server_be_slow(q, mode);
        else if (streq(mode, "bigerror")) {
                http_server_say(q->fd, "HTTP/1.1 404 No\r\nContent-Length: 10000000\r\nConnection: close\r\n\r\n");
                http_server_send_pattern(q->fd, 0, 10000000);
        } else if (streq(mode, "status"))
                http_server_say(q->fd, "HTTP/1.1 %s X\r\nConnection: close\r\n%s\r\n", q->argument,
                                streq(q->argument, "204") || streq(q->argument, "304") ? "" : "Content-Length: 0\r\n");
        else if (streq(mode, "garbage"))
                http_server_say(q->fd, "this is no answer\r\n\r\n");
}

/* "GET /MODE/ARGUMENT HTTP/1.1", headers, an empty line. */
static inline void http_server_serve(int fd) {
        _cleanup_free_ char *text = xcalloc(1, 16384), *mode = NULL, *path = NULL;
        HttpRequest q = { .fd = fd };
        const char *range;
        size_t n = 0;

        while (!strstr(text, "\r\n\r\n")) {
                ssize_t k = read(fd, text + n, 16383 - n);

                if (k <= 0)
                        return;
                n += (size_t) k;
        }
        path = xstrndup(text + 5, strcspn(text + 5, " "));
        mode = xstrndup(path, strcspn(path, "/"));
        q.path = path;
        q.argument = path + MIN(strlen(mode) + 1, strlen(path));
        q.headers = strstr(text, "\r\n") + 2;
        q.size = strtoul(q.argument, NULL, 10);
        q.to = q.size;
        range = strstr(q.headers, "Range: bytes=");
        if (range) {
                char *end;

                q.has_range = true;
                q.from = strtoul(range + strlen("Range: bytes="), &end, 10);
                if (end[1] >= '0' && end[1] <= '9')
                        q.to = MIN(q.size, strtoul(end + 1, NULL, 10) + 1);
        }
        http_server_answer(&q, mode);
}

static inline int http_server_listen(unsigned *ret_port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *) &a, size) < 0 || listen(fd, 64) < 0 ||
            getsockname(fd, (struct sockaddr *) &a, &size) < 0)
                abort();
        *ret_port = ntohs(a.sin_port);
        return fd;
}

/* One that nobody had a moment ago. */
static inline unsigned http_server_free_port(void) {
        unsigned port;

        safe_close(http_server_listen(&port));
        return port;
}

static inline void http_server_start(HttpServer *s) {
        unsigned port;
        int fd = http_server_listen(&port);

        s->url = xasprintf("http://127.0.0.1:%u", port);
        s->pid = fork();
        if (s->pid < 0)
                abort();
        if (s->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                signal(SIGCHLD, SIG_IGN);
                for (;;) {
                        int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

                        if (c >= 0 && fork() == 0) {
                                prctl(PR_SET_PDEATHSIG, SIGKILL);
                                http_server_serve(c);
                                shutdown(c, SHUT_WR);
                                http_server_wait(c);
                        }
                        safe_close(c);
                }
        }
        safe_close(fd);
}

static inline void http_server_stop(HttpServer *s) {
        if (s->pid > 0) {
                kill(s->pid, SIGKILL);
                waitpid(s->pid, NULL, 0);
        }
        s->pid = 0;
        free(TAKE_PTR(s->url));
}
