/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a kind of place does. storage.c has checked the names: clean, relative, no component begins with a dot. */

#include "storage.h"

typedef struct StorageBackend {
        void (*free)(Storage *s); /* releases the lock, too */
        int (*read)(Storage *s, const char *name, size_t max_size, Buffer *ret, Error *reterr);
        /* Exactly so many bytes, 1 or more; 1: no such file. */
        int (*read_at)(Storage *s, const char *name, uint64_t offset, size_t size, Buffer *ret, Error *reterr);
        int (*size)(Storage *s, const char *name, uint64_t *ret, Error *reterr);
        int (*write)(Storage *s, const char *name, const void *data, size_t size, StorageCaching caching,
                     Error *reterr);
        int (*upload)(Storage *s, const char *name, int fd, uint64_t size, Progress *progress, Error *reterr);
        int (*remove)(Storage *s, const char *name, Error *reterr);
        /* Unsorted; prefix is "" or ends with a slash. */
        int (*list)(Storage *s, const char *prefix, StorageEntry **ret, size_t *ret_n, Error *reterr);
        int (*lock)(Storage *s, Error *reterr);
        void (*unlock)(Storage *s);
} StorageBackend;

/* The first member of every kind's own structure. */
struct Storage {
        const StorageBackend *backend;
        char *name;
};

int storage_open_folder(const char *path, bool create, Storage **ret, Error *reterr);
/* url: http or https, with the bucket as first component of the path. */
int storage_open_s3(const char *url, const char *name, Storage **ret, Error *reterr);

/* Listings of more files than this are refused: a repository has some thousands. */
#define STORAGE_ENTRIES_MAX 1000000U
