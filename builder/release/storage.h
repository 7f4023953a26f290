/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where a repository's files are: a folder, or a bucket of an S3-compatible store. Names are clean relative paths
 * ("metadata/3.snapshot.json", "targets/laptop/2026.11.1/HASH.name"). Writing one file is atomic for readers. */

#include "error.h"
#include "progress.h"

/* How long caches may keep a file. Object stores get it as Cache-Control; for folders the server's configuration has it
 * (sealab-publish(1) shows nginx's). */
typedef enum StorageCaching {
        STORAGE_IMMUTABLE, /* a name that never gets other content */
        STORAGE_SHORT,     /* timestamp.json: at most a minute */
} StorageCaching;

typedef struct Storage Storage;

/* place: a folder's path or file:// URL; "s3://BUCKET/PREFIX" (endpoint from $AWS_ENDPOINT_URL or AWS's for
 * $AWS_REGION), or "https://ENDPOINT/BUCKET/PREFIX" (path style). Credentials: $AWS_ACCESS_KEY_ID,
 * $AWS_SECRET_ACCESS_KEY, $AWS_SESSION_TOKEN; without them a remote place can only be read. create: a folder that is
 * not there is made. */
int storage_open(const char *place, bool create, Storage **ret, Error *reterr);
Storage *storage_free(Storage *s);
DEFINE_CLEANUP(Storage *, storage_free)
const char *storage_name(const Storage *s); /* for messages */

/* 1: there is no such file. */
int storage_read(Storage *s, const char *name, size_t max_size, Buffer *ret, Error *reterr);
/* Called with one piece after the other; a negative result ends it. */
typedef int (*StorageSink)(const void *data, size_t size, void *userdata, Error *reterr);
/* A large file, which has this size, without ever holding all of it in memory. 1: there is no such file;
 * REFUSAL_TOO_LARGE or REFUSAL_BAD_FORMAT if it has another size. */
int storage_stream(Storage *s, const char *name, uint64_t size, StorageSink sink, void *userdata, Error *reterr);
/* 0 and its size, or 1: not there. */
int storage_size(Storage *s, const char *name, uint64_t *ret, Error *reterr);
/* Small files, durable when it returns. Existing files are replaced. */
int storage_write(Storage *s, const char *name, const void *data, size_t size, StorageCaching caching, Error *reterr);
/* A large file from fd, from its start. What a broken earlier attempt has already brought over is not sent again where
 * the place allows it. A file of that name and size that is there already is left (names hold their content's hash): 1.
 */
int storage_upload(Storage *s, const char *name, int fd, uint64_t size, Progress *progress, Error *reterr);
int storage_remove(Storage *s, const char *name, Error *reterr); /* 1: was not there */
/* All names below prefix ("targets/"), sorted, with sizes. */
typedef struct StorageEntry {
        char *name;
        uint64_t size;
        int64_t modified; /* seconds since 1970 */
} StorageEntry;
int storage_list(Storage *s, const char *prefix, StorageEntry **ret, size_t *ret_n, Error *reterr);
void storage_entries_free(StorageEntry *entries, size_t n);

/* One publisher at a time. Folders: flock on ".lock". Object stores: an object "lock" made with If-None-Match, holding
 * who and when; a lock older than an hour is broken with a warning. REFUSAL_BUSY names the holder. Released by
 * storage_unlock() or storage_free(). */
int storage_lock(Storage *s, Error *reterr);
void storage_unlock(Storage *s);
