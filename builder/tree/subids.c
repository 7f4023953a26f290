/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <pwd.h>

#include "io.h"
#include "subids.h"

#define SUBIDS_FILE_MAX ((size_t) 1 << 20)

int subids_parse(const char *text, const char *name, uid_t uid, SubIds *ret) {
        _cleanup_strv_free_ char **lines = strv_split(text, "\n");
        _cleanup_free_ char *number = xasprintf("%u", (unsigned) uid);

        STRV_FOREACH (line, lines) {
                _cleanup_strv_free_ char **fields = strv_split(*line, ":");
                SubIds ids;

                if (**line == '#' || strv_length(fields) != 3)
                        continue;
                if (!streq_ptr(fields[0], name) && !streq(fields[0], number))
                        continue;
                if (!parse_u64(fields[1], &ids.start) || !parse_u64(fields[2], &ids.count))
                        continue;
                if (ids.count >= SUBIDS_NEEDED && ids.start > 0 && ids.start <= UINT32_MAX - SUBIDS_NEEDED) {
                        *ret = ids;
                        return 0;
                }
        }
        return -ENOENT;
}

int subids_for_user(const char *path, SubIds *ret, Error *reterr) {
        const struct passwd *user = getpwuid(getuid());
        _cleanup_free_ char *text = NULL;
        const char *name = user ? user->pw_name : NULL;
        bool is_gid = endswith(path, "gid");

        if (io_read_file(AT_FDCWD, path, SUBIDS_FILE_MAX, &text, NULL, NULL) >= 0 &&
            subids_parse(text, name, getuid(), ret) >= 0)
                return 0;
        error_set(reterr, ENOENT, REFUSAL_MACHINE, "%s gives this user (%s) no range of %d subordinate ids", path,
                  name ?: "without a name", SUBIDS_NEEDED);
        return error_hint(
                reterr,
                "As root run \"usermod --add-sub%cids 100000-165535 %s\" (choose a range nobody else has), or "
                "build as root.",
                is_gid ? 'g' : 'u', name ?: "USER");
}
