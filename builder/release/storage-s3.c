/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "io.h"
#include "s3-lock.h"
#include "storage-backend.h"

/* Larger files go in parts, so that a broken line costs one part at most. */
#define SINGLE_SIZE_MAX ((uint64_t) 16 << 20)

typedef struct S3Storage {
        Storage base;
        S3 *s3;
        S3Lock *lock;
} S3Storage;

static S3Storage *of(Storage *s) {
        return (S3Storage *) s;
}

/* no-transform: a cache that compresses or rewrites a file makes its hash wrong. */
static const char *cache_control(StorageCaching caching) {
        return caching == STORAGE_SHORT ? "Cache-Control: public, max-age=60, no-transform"
                                        : "Cache-Control: public, max-age=31536000, immutable, no-transform";
}

static const char *content_type(const char *name) {
        return endswith(name, ".json") ? "Content-Type: application/json" : "Content-Type: application/octet-stream";
}

static int may_write(Storage *s, Error *reterr) {
        int r = s3_require_credentials(of(s)->s3, reterr);

        return r < 0 ? r : s3_lock_keep(of(s)->lock, reterr);
}

static int before_part(void *userdata, Error *reterr) {
        return s3_lock_keep(of(userdata)->lock, reterr);
}

/* ---- files ---------------------------------------------------------------------------------------------------------
 */

static int bucket_read(Storage *s, const char *name, size_t max_size, Buffer *ret, Error *reterr) {
        const S3Request q = { .method = "GET", .name = name, .max_size = max_size };
        _cleanup_s3_response_ S3Response response = {};
        int r;

        r = s3_request(of(s)->s3, &q, &response, reterr);
        if (r > S3_NOT_FOUND)
                return s3_error(of(s)->s3, &q, &response, reterr);
        if (r != S3_OK)
                return r;
        buffer_done(ret);
        buffer_append(ret, response.body.data ?: "", response.body.size);
        return 0;
}

static int bucket_read_at(Storage *s, const char *name, uint64_t offset, size_t size, Buffer *ret, Error *reterr) {
        _cleanup_free_ char *range = xasprintf("Range: bytes=%" PRIu64 "-%" PRIu64, offset, offset + size - 1);
        const S3Request q = { .method = "GET", .name = name, .headers = { range }, .max_size = size };
        _cleanup_s3_response_ S3Response response = {};
        int r;

        /* A large file takes its time. */
        r = of(s)->lock ? s3_lock_keep(of(s)->lock, reterr) : 0;
        if (r >= 0)
                r = s3_request(of(s)->s3, &q, &response, reterr);
        if (r > S3_NOT_FOUND)
                return s3_error(of(s)->s3, &q, &response, reterr);
        if (r != S3_OK)
                return r;
        /* Who does not know ranges sends the beginning. */
        if (response.body.size != size || (response.status != 206 && offset > 0))
                return error_set(reterr, EBADMSG, REFUSAL_DOWNLOAD,
                                 "%s: the server did not send bytes %" PRIu64 " to %" PRIu64 " of %s", s->name, offset,
                                 offset + size - 1, name);
        buffer_done(ret);
        *ret = response.body;
        response.body = (Buffer){};
        return 0;
}

static int bucket_size(Storage *s, const char *name, uint64_t *ret, Error *reterr) {
        const S3Request q = { .method = "HEAD", .name = name };
        _cleanup_s3_response_ S3Response response = {};
        int r;

        r = s3_request(of(s)->s3, &q, &response, reterr);
        if (r > S3_NOT_FOUND)
                return s3_error(of(s)->s3, &q, &response, reterr);
        if (r == S3_OK)
                *ret = response.size;
        return r;
}

static int put(Storage *s, S3Request *q, StorageCaching caching, Error *reterr) {
        _cleanup_s3_response_ S3Response response = {};
        int r;

        q->method = "PUT";
        q->headers[0] = content_type(q->name);
        q->headers[1] = cache_control(caching);
        r = s3_request(of(s)->s3, q, &response, reterr);
        return r > 0 ? s3_error(of(s)->s3, q, &response, reterr) : r;
}

static int bucket_write(Storage *s, const char *name, const void *data, size_t size, StorageCaching caching,
                        Error *reterr) {
        S3Request q = { .name = name, .data = data ?: "", .size = size };
        int r = may_write(s, reterr);

        return r < 0 ? r : put(s, &q, caching, reterr);
}

static int bucket_upload(Storage *s, const char *name, int fd, uint64_t size, Progress *progress, Error *reterr) {
        const char *const headers[2] = { content_type(name), cache_control(STORAGE_IMMUTABLE) };
        uint64_t there;
        int r;

        r = may_write(s, reterr);
        if (r >= 0)
                r = bucket_size(s, name, &there, reterr);
        if (r < 0)
                return r;
        if (r == 0 && there == size) {
                progress_advance(progress, size);
                return 1;
        }
        if (size <= SINGLE_SIZE_MAX) {
                S3Request q = { .name = name, .fd = fd, .size = size, .progress = progress };

                return put(s, &q, STORAGE_IMMUTABLE, reterr);
        }
        return s3_upload(of(s)->s3, name, fd, size, headers, before_part, s, progress, reterr);
}

static int bucket_remove(Storage *s, const char *name, Error *reterr) {
        const S3Request q = { .method = "DELETE", .name = name };
        _cleanup_s3_response_ S3Response response = {};
        uint64_t size;
        int r;

        /* The protocol says the same for what was there and what was not. */
        r = may_write(s, reterr);
        if (r >= 0)
                r = bucket_size(s, name, &size, reterr);
        if (r != 0)
                return r;
        r = s3_request(of(s)->s3, &q, &response, reterr);
        return r > S3_NOT_FOUND ? s3_error(of(s)->s3, &q, &response, reterr) : r;
}

/* ---- lists ---------------------------------------------------------------------------------------------------------
 */

typedef struct List {
        const char *prefix; /* the storage's own */
        StorageEntry *entries, next;
        size_t n_entries, n_allocated;
        char *token;
        bool more, bad;
} List;

static void list_done(List *l) {
        storage_entries_free(l->entries, l->n_entries);
        free(l->next.name);
        free(l->token);
}

static void end_entry(List *l) {
        const char *name = l->next.name ? startswith(l->next.name, l->prefix) : NULL;

        /* Folders that other tools have made as objects, our lock, and what is not ours to name. */
        if (name && path_is_clean_relative(name) && !endswith(name, "/") && *name != '.' && !strstr(name, "/.") &&
            !streq(name, S3_LOCK_NAME)) {
                GROW(l->entries, l->n_entries, l->n_allocated);
                l->entries[l->n_entries] = l->next;
                l->entries[l->n_entries++].name = xstrdup(name);
        }
        free(l->next.name);
        l->next = (StorageEntry){};
}

static void on_element(const char *path, const char *text, void *userdata) {
        List *l = userdata;
        struct tm tm = {};

        if (streq(path, "ListBucketResult/Contents"))
                end_entry(l);
        else if (streq(path, "ListBucketResult/Contents/Key")) {
                free(l->next.name);
                l->next.name = xstrdup(text);
        } else if (streq(path, "ListBucketResult/Contents/Size"))
                l->bad = l->bad || !parse_u64(text, &l->next.size);
        else if (streq(path, "ListBucketResult/Contents/LastModified")) {
                if (strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
                        l->next.modified = timegm(&tm);
                else
                        l->bad = true;
        } else if (streq(path, "ListBucketResult/IsTruncated"))
                l->more = streq(text, "true");
        else if (streq(path, "ListBucketResult/NextContinuationToken")) {
                free(l->token);
                l->token = xstrdup(text);
        }
}

static int list_page(Storage *s, const char *prefix, List *l, Error *reterr) {
        _cleanup_free_ char *full = xasprintf("%s%s", of(s)->s3->prefix, prefix), *encoded = s3_encode(full, false);
        _cleanup_free_ char *token = l->token ? s3_encode(l->token, false) : NULL;
        _cleanup_free_ char *query = xasprintf("%s%s%slist-type=2&prefix=%s", token ? "continuation-token=" : "",
                                               token ?: "", token ? "&" : "", encoded);
        const S3Request q = { .method = "GET", .query = query };
        _cleanup_s3_response_ S3Response response = {};
        _cleanup_free_ char *before = TAKE_PTR(l->token);
        int r;

        r = s3_request(of(s)->s3, &q, &response, reterr);
        if (r != S3_OK)
                return r < 0 ? r : s3_error(of(s)->s3, &q, &response, reterr);
        l->more = false;
        r = s3_xml_parse(response.body.data ?: "", response.body.size, on_element, l, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", s->name);
        if (l->bad || (l->more && (isempty(l->token) || streq_ptr(l->token, before))))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: the server's listing makes no sense",
                                 s->name);
        if (l->n_entries > STORAGE_ENTRIES_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "%s: more than %u files", s->name,
                                 STORAGE_ENTRIES_MAX);
        return 0;
}

static int bucket_list(Storage *s, const char *prefix, StorageEntry **ret, size_t *ret_n, Error *reterr) {
        _cleanup_(list_done) List l = { .prefix = of(s)->s3->prefix };

        do {
                int r = list_page(s, prefix, &l, reterr);

                if (r < 0)
                        return r;
        } while (l.more);
        *ret = TAKE_PTR(l.entries);
        *ret_n = l.n_entries;
        l.n_entries = 0;
        return 0;
}

/* ---- the lock ------------------------------------------------------------------------------------------------------
 */

static int bucket_lock(Storage *s, Error *reterr) {
        int r;

        if (of(s)->lock)
                return 0;
        r = s3_require_credentials(of(s)->s3, reterr);
        if (r >= 0)
                r = s3_lock_take(of(s)->s3, &of(s)->lock, reterr);
        if (r < 0)
                return r;
        s3_upload_abort_stale(of(s)->s3);
        return 0;
}

static void bucket_unlock(Storage *s) {
        of(s)->lock = s3_lock_free(of(s)->lock);
}

/* ---- opening -------------------------------------------------------------------------------------------------------
 */

static void bucket_free(Storage *s) {
        bucket_unlock(s);
        s3_free(of(s)->s3);
        free(of(s));
}

static const StorageBackend bucket_backend = {
        .free = bucket_free,
        .read = bucket_read,
        .read_at = bucket_read_at,
        .size = bucket_size,
        .write = bucket_write,
        .upload = bucket_upload,
        .remove = bucket_remove,
        .list = bucket_list,
        .lock = bucket_lock,
        .unlock = bucket_unlock,
};

int storage_open_s3(const char *url, const char *name, Storage **ret, Error *reterr) {
        _cleanup_(s3_freep) S3 *s3 = NULL;
        S3Storage *s;
        int r;

        r = s3_new(url, &s3, reterr);
        if (r < 0)
                return r;
        s = xnew(S3Storage, 1);
        *s = (S3Storage){ .base = { .backend = &bucket_backend, .name = xstrdup(name) }, .s3 = TAKE_PTR(s3) };
        *ret = &s->base;
        return 0;
}
