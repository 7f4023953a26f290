/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "io.h"
#include "json.h"
#include "listeners.h"
#include "log.h"

#define FOLDER "/run/systemd/sysupdate/notify"
#define METHOD "io.systemd.SysUpdate.Notify.OnCompletedUpdate"
#define PATIENCE_SEC 30
#define REPLY_MAX ((size_t) 64 << 10)

static int connect_to(const char *path) {
        const struct timeval patience = { .tv_sec = PATIENCE_SEC };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        if (strlen(path) >= sizeof address.sun_path)
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *) &address, sizeof address) < 0) {
                int code = errno;

                safe_close(fd);
                return -code;
        }
        return fd;
}

/* Varlink messages are JSON objects with a NUL behind each. */
static bool read_reply(int fd, Buffer *ret) {
        for (;;) {
                char piece[4096];
                ssize_t n = read(fd, piece, sizeof piece);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0 || ret->size + (size_t) n > REPLY_MAX)
                        return false;
                buffer_append(ret, piece, (size_t) n);
                if (memchr(ret->data, 0, ret->size))
                        return true;
        }
}

static void notify_one(const char *path, const char *request) {
        _cleanup_close_ int fd = connect_to(path);
        _cleanup_buffer_ Buffer reply = {};

        if (fd < 0 || io_write_all(fd, request, strlen(request) + 1, NULL) < 0) {
                log_warning("%s could not be told of the update", path);
                return;
        }
        if (!read_reply(fd, &reply))
                log_warning("%s did not answer", path);
        else if (strstr(reply.data, "\"error\""))
                log_warning("%s: %s", path, reply.data);
}

void listeners_notify(const char *folder, const char *version) {
        _cleanup_json_ json_t *o = json_pack("{s:s, s:{s:s}}", "method", METHOD, "parameters", "version", version);
        _cleanup_free_ char *request = json_format_line(o);
        DIR *d = opendir(folder ?: FOLDER);
        const struct dirent *e;

        if (!d)
                return;
        while ((e = readdir(d))) {
                _cleanup_free_ char *path = path_join(folder ?: FOLDER, e->d_name);

                if (e->d_name[0] != '.')
                        notify_one(path, request);
        }
        closedir(d);
}
