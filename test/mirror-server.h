/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A web server on 127.0.0.1 that behaves as the first part of the path says, in a process of its own:
 *
 *     /good/PATH      the file; ranges as asked for
 *     /noranges/PATH  the whole file whatever was asked for
 *     /cut/PATH       at most MIRROR_CUT bytes of what its header promises, then the end
 *     /cutall/PATH    the same without ranges
 *     /wrong/PATH     as many bytes, but others
 *     /endless/PATH   data without end
 *     /absent/PATH    404
 *     /busy/PATH      503
 *     /stuck/PATH     a header, then nothing
 *     /moved/PATH     redirects to /good/PATH
 *     /loop/PATH      redirects to itself
 *
 * Each request is a line "MODE RANGE PATH" in the log. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "io.h"

#define MIRROR_CUT 100000

typedef struct MirrorServer {
        pid_t pid;
        char *uri; /* http://127.0.0.1:PORT */
        char *log; /* path */
} MirrorServer;

static inline void server_say(int fd, const char *fmt, ...) _printf_(2, 3);
static inline void server_say(int fd, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        text = xvasprintf(fmt, ap);
        va_end(ap);
        if (io_write_all(fd, text, strlen(text), NULL) < 0)
                _exit(0);
}

_noreturn_ static inline void server_endless(int fd) {
        char junk[65536];

        memset(junk, 'x', sizeof(junk));
        server_say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        for (;;)
                if (io_write_all(fd, junk, sizeof(junk), NULL) < 0)
                        _exit(0);
}

static inline void server_send(int fd, const char *mode, char *data, size_t size, size_t from) {
        bool ranges = !streq(mode, "noranges") && !streq(mode, "cutall");
        size_t sent;

        if (!ranges)
                from = 0;
        if (streq(mode, "wrong"))
                for (size_t i = 0; i < size; i++)
                        data[i] ^= 0x55;
        if (from >= size && size > 0) {
                server_say(fd, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                return;
        }
        if (from > 0)
                server_say(fd, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n", from, size - 1,
                           size);
        else
                server_say(fd, "HTTP/1.1 200 OK\r\n");
        server_say(fd, "Content-Length: %zu\r\nConnection: close\r\n\r\n", size - from);
        sent = strncmp(mode, "cut", 3) == 0 ? MIN(size - from, (size_t) MIRROR_CUT) : size - from;
        (void) io_write_all(fd, data + from, sent, NULL);
}

_noreturn_ static inline void server_answer(int fd, const char *root, const char *log_path) {
        char request[8192], mode[16], path[4096], *range;
        int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        size_t n = 0, from = 0, size;
        _cleanup_free_ char *file = NULL, *data = NULL;

        while (n < sizeof(request) - 1) {
                ssize_t k = read(fd, request + n, sizeof(request) - 1 - n);

                if (k <= 0)
                        _exit(0);
                n += (size_t) k;
                request[n] = 0;
                if (strstr(request, "\r\n\r\n"))
                        break;
        }
        range = strstr(request, "\r\nRange: bytes=");
        if (range)
                from = strtoul(range + strlen("\r\nRange: bytes="), NULL, 10);
        if (sscanf(request, "GET /%15[a-z]/%4095s", mode, path) != 2)
                _exit(0);
        for (char *p = path; (p = strstr(p, "%2B"));) /* all that the test's own names need */
                memmove(p + 1, p + 3, strlen(p + 3) + 1), *p++ = '+';
        server_say(log, "%s %zu %s\n", mode, from, path);
        file = path_join(root, path);
        if (streq(mode, "endless"))
                server_endless(fd);
        if (streq(mode, "moved") || streq(mode, "loop"))
                server_say(fd,
                           "HTTP/1.1 302 Found\r\nLocation: /%s/%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                           streq(mode, "moved") ? "good" : "loop", path);
        else if (streq(mode, "busy"))
                server_say(fd, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        else if (streq(mode, "absent") || io_read_file(AT_FDCWD, file, 1 << 24, &data, &size, NULL) < 0)
                server_say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot here\n");
        else if (streq(mode, "stuck")) {
                server_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
                sleep(30);
        } else
                server_send(fd, mode, data, size, from);
        /* Closing with unread input would reset the connection and lose what was sent. */
        (void) shutdown(fd, SHUT_WR);
        while (read(fd, request, sizeof(request)) > 0)
                ;
        _exit(0);
}

_noreturn_ static inline void server_main(int listening, const char *root, const char *log_path) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) signal(SIGCHLD, SIG_IGN);
        (void) signal(SIGPIPE, SIG_IGN);
        for (;;) {
                int fd = accept(listening, NULL, NULL);

                if (fd < 0)
                        continue;
                if (fork() == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        server_answer(fd, root, log_path);
                }
                close(fd);
        }
}

static inline MirrorServer *server_start(const char *root, const char *folder) {
        MirrorServer *s = xnew(MirrorServer, 1);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *) &address, size) < 0 || listen(fd, 32) < 0 ||
            getsockname(fd, (struct sockaddr *) &address, &size) < 0)
                fail_msg("cannot listen on 127.0.0.1: %s", strerror(errno));
        s->uri = xasprintf("http://127.0.0.1:%d", ntohs(address.sin_port));
        s->log = path_join(folder, "server.log");
        s->pid = fork();
        if (s->pid == 0)
                server_main(fd, root, s->log);
        close(fd);
        return s;
}

static inline void server_stop(MirrorServer *s) {
        (void) kill(s->pid, SIGKILL);
        (void) waitpid(s->pid, NULL, 0);
        free(s->uri);
        free(s->log);
        free(s);
}
DEFINE_CLEANUP(MirrorServer *, server_stop)
