/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For test/integration/s3.sh: one operation of storage.h on a place.
 *
 *     storage-tool PLACE write NAME FILE | short NAME FILE | read NAME | size NAME | list PREFIX | remove NAME
 *     storage-tool PLACE upload NAME FILE | stream NAME SIZE | lock SECONDS
 *
 * Exit status: that of the refusal, 100 for the positive outcome; the refusal's name goes to standard error. */

#include <sys/stat.h>

#include "io.h"
#include "log.h"
#include "storage.h"

static int write_file(Storage *s, const char *name, const char *file, StorageCaching caching, Error *reterr) {
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, file, SIZE_MAX / 2, &data, &size, reterr);
        return r < 0 ? r : storage_write(s, name, data, size, caching, reterr);
}

static int upload_file(Storage *s, const char *name, const char *file, Error *reterr) {
        _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", file);
        return storage_upload(s, name, fd, (uint64_t) st.st_size, NULL, reterr);
}

static int read_file(Storage *s, const char *name, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};
        int r;

        r = storage_read(s, name, (size_t) 64 << 20, &b, reterr);
        if (r == 0)
                fwrite(b.data, 1, b.size, stdout);
        return r;
}

static int print(const void *data, size_t size, void *userdata, Error *reterr) {
        fwrite(data, 1, size, stdout);
        return 0;
}

static int list(Storage *s, const char *prefix, Error *reterr) {
        StorageEntry *entries;
        size_t n;
        int r;

        r = storage_list(s, prefix, &entries, &n, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                printf("%s %" PRIu64 " %" PRIi64 "\n", entries[i].name, entries[i].size, entries[i].modified);
        storage_entries_free(entries, n);
        return 0;
}

static int run(int argc, char **argv, Error *reterr) {
        _cleanup_(storage_freep) Storage *s = NULL;
        const char *verb, *name;
        uint64_t size = 0;
        int r;

        if (argc < 4)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "see the source");
        verb = argv[2];
        name = argv[3];
        r = storage_open(argv[1], true, &s, reterr);
        if (r < 0)
                return r;
        if (argc == 5 && (streq(verb, "write") || streq(verb, "short")))
                return write_file(s, name, argv[4], streq(verb, "short") ? STORAGE_SHORT : STORAGE_IMMUTABLE, reterr);
        if (argc == 5 && streq(verb, "upload"))
                return upload_file(s, name, argv[4], reterr);
        if (argc == 5 && streq(verb, "stream") && parse_u64(argv[4], &size))
                return storage_stream(s, name, size, print, NULL, reterr);
        if (streq(verb, "read"))
                return read_file(s, name, reterr);
        if (streq(verb, "list"))
                return list(s, name, reterr);
        if (streq(verb, "remove"))
                return storage_remove(s, name, reterr);
        if (streq(verb, "size")) {
                r = storage_size(s, name, &size, reterr);
                if (r == 0)
                        printf("%" PRIu64 "\n", size);
                return r;
        }
        if (streq(verb, "lock")) {
                r = storage_lock(s, reterr);
                if (r < 0)
                        return r;
                puts("locked");
                fflush(stdout);
                sleep((unsigned) atoi(name));
                return 0;
        }
        return error_set(reterr, EINVAL, REFUSAL_USAGE, "no such operation: %s", verb);
}

int main(int argc, char **argv) {
        _cleanup_error_ Error e = {};
        int r;

        if (getenv("STORAGE_TOOL_DEBUG"))
                log_set_level(LOG_LEVEL_DEBUG);
        r = run(argc, argv, &e);
        if (r >= 0)
                return r > 0 ? 100 : 0;
        fprintf(stderr, "%s: %s\n%s\n", refusal_name(e.id), e.message, e.hint ?: "");
        return refusal_exit_status(e.id);
}
