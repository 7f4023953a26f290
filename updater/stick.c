/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>
#include <sys/stat.h>

#include "http.h"
#include "io.h"
#include "stick.h"

/* By its mode bits: whoever reads it owns nothing and is in no group. */
static bool is_for_everybody(const char *path, mode_t bits) {
        struct stat st;

        return stat(path, &st) >= 0 && (st.st_mode & bits) == bits;
}

/* Every folder on the way can be passed, and what a repository begins with be read. */
static bool is_readable(const char *folder, const char *metadata) {
        _cleanup_free_ char *first = path_join(metadata, "timestamp.json"), *way = xstrdup(folder);

        if (geteuid() != 0)
                return access(first, R_OK) >= 0;
        for (char *p = way + strlen(way); p > way; p--) {
                if (*p == '/')
                        *p = 0;
                if (*p == 0 && !is_for_everybody(way, S_IXOTH))
                        return false;
        }
        return is_for_everybody(metadata, S_IXOTH) && is_for_everybody(first, S_IROTH);
}

int stick_address(const char *folder, char **ret_url, Error *reterr) {
        _cleanup_free_ char *real = realpath(folder, NULL), *metadata = NULL, *path = NULL;

        if (!real)
                return error_errno(reterr, errno, "cannot find %s", folder);
        metadata = path_join(real, "metadata");
        if (!io_exists(AT_FDCWD, metadata)) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s holds no repository", folder);
                return error_hint(reterr,
                                  "It is the folder that \"sealab publish\" fills: with metadata and targets in "
                                  "it.");
        }
        if (!is_readable(real, metadata)) {
                error_set(reterr, EACCES, REFUSAL_KEY,
                          "%s is not readable for everybody, and what reads it has no rights of its own", folder);
                return error_hint(reterr,
                                  "Mount the stick yourself: mount -o ro /dev/sdX1 /mnt, and then --from /mnt.");
        }
        path = http_join("", real);
        *ret_url = xasprintf("file://%s", path);
        return 0;
}
