/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "io.h"
#include "storage-backend.h"

/* Read at once, and asked for again as a whole if the line breaks. */
#define STREAM_PIECE ((size_t) 8 << 20)

/* ---- places -------------------------------------------------------------------------------------------------------
 */

static int decode_percent(const char *s, char **ret, Error *reterr) {
        _cleanup_free_ char *out = xmalloc(strlen(s) + 1);
        char *q = out;

        while (*s) {
                uint8_t byte = (uint8_t) *s;

                if (*s == '%') {
                        _cleanup_free_ char *digits = xstrndup(s + 1, 2);

                        for (char *d = digits; *d; d++)
                                *d = *d >= 'A' && *d <= 'F' ? (char) (*d - 'A' + 'a') : *d;
                        if (!hex_decode(digits, &byte, 1) || byte == 0)
                                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" is no escape in a URL", s);
                        s += 2;
                }
                *q++ = (char) byte;
                s++;
        }
        *q = 0;
        *ret = TAKE_PTR(out);
        return 0;
}

static int open_file_url(const char *place, const char *rest, bool create, Storage **ret, Error *reterr) {
        _cleanup_free_ char *path = NULL;
        const char *local = startswith(rest, "localhost/");
        int r;

        if (local)
                rest = local - 1;
        if (*rest != '/') {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s names another machine", place);
                return error_hint(reterr, "A folder of this machine is file:///PATH, with three slashes.");
        }
        r = decode_percent(rest, &path, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", place);
        return storage_open_folder(path, create, ret, reterr);
}

static const char *environment(const char *name, const char *otherwise) {
        const char *value = getenv(name);

        return isempty(value) ? otherwise : value;
}

/* "s3://BUCKET/PREFIX" becomes a URL with the bucket in the path, which works with every endpoint and certificate. */
static int open_bucket(const char *place, const char *rest, Storage **ret, Error *reterr) {
        _cleanup_free_ char *amazon = NULL, *url = NULL;
        const char *endpoint, *region;

        if (*rest == '/' || !*rest)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s names no bucket: s3://BUCKET/PREFIX", place);
        region = environment("AWS_REGION", environment("AWS_DEFAULT_REGION", "us-east-1"));
        amazon = xasprintf("https://s3.%s.amazonaws.com", region);
        endpoint = environment("AWS_ENDPOINT_URL_S3", environment("AWS_ENDPOINT_URL", amazon));
        if (!startswith(endpoint, "https://") && !startswith(endpoint, "http://"))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "AWS_ENDPOINT_URL is \"%s\", which is no https:// or http:// URL", endpoint);
        url = xasprintf("%s%s%s", endpoint, endswith(endpoint, "/") ? "" : "/", rest);
        return storage_open_s3(url, place, ret, reterr);
}

int storage_open(const char *place, bool create, Storage **ret, Error *reterr) {
        const char *rest, *scheme = strstr(place, "://");

        if (isempty(place))
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "no place is named for the repository");
        if ((rest = startswith(place, "file://")))
                return open_file_url(place, rest, create, ret, reterr);
        if ((rest = startswith(place, "s3://")))
                return open_bucket(place, rest, ret, reterr);
        if (startswith(place, "https://") || startswith(place, "http://"))
                return storage_open_s3(place, place, ret, reterr);
        if (scheme && (size_t) (scheme - place) == strspn(place, "abcdefghijklmnopqrstuvwxyz0123456789+.-")) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: this kind of place is not known", place);
                return error_hint(reterr, "Known are folders, file://, s3:// and https://.");
        }
        return storage_open_folder(place, create, ret, reterr);
}

Storage *storage_free(Storage *s) {
        if (s) {
                _cleanup_free_ char *name = s->name;

                s->backend->free(s);
        }
        return NULL;
}

const char *storage_name(const Storage *s) {
        return s->name;
}

/* ---- what can be done with one -------------------------------------------------------------------------------------
 */

/* A name that begins with a dot is a lock or an unfinished file; servers are told to hide those. */
static int check_name(const Storage *s, const char *name, Error *reterr) {
        if (!path_is_clean_relative(name))
                return error_set(reterr, EINVAL, REFUSAL_PATH_ESCAPE, "%s: \"%s\" is no name of a file in it", s->name,
                                 name);
        if (*name == '.' || strstr(name, "/."))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "%s: \"%s\" begins with a dot, which unfinished files do", s->name, name);
        for (const char *p = name; *p; p++)
                if ((uint8_t) *p < 0x20 || *p == 0x7f)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: a name with a control character",
                                         s->name);
        return 0;
}

int storage_read(Storage *s, const char *name, size_t max_size, Buffer *ret, Error *reterr) {
        int r = check_name(s, name, reterr);

        return r < 0 ? r : s->backend->read(s, name, max_size, ret, reterr);
}

int storage_stream(Storage *s, const char *name, uint64_t size, StorageSink sink, void *userdata, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};
        uint64_t there;
        int r;

        r = storage_size(s, name, &there, reterr);
        if (r != 0)
                return r;
        if (there != size)
                return error_set(reterr, EBADMSG, there > size ? REFUSAL_TOO_LARGE : REFUSAL_BAD_FORMAT,
                                 "%s/%s has %" PRIu64 " bytes instead of %" PRIu64, s->name, name, there, size);
        for (uint64_t offset = 0; offset < size; offset += b.size) {
                r = s->backend->read_at(s, name, offset, (size_t) MIN(size - offset, (uint64_t) STREAM_PIECE), &b,
                                        reterr);
                if (r == 0)
                        r = sink(b.data, b.size, userdata, reterr);
                if (r != 0)
                        return r;
        }
        return 0;
}

int storage_size(Storage *s, const char *name, uint64_t *ret, Error *reterr) {
        int r = check_name(s, name, reterr);

        return r < 0 ? r : s->backend->size(s, name, ret, reterr);
}

int storage_write(Storage *s, const char *name, const void *data, size_t size, StorageCaching caching, Error *reterr) {
        int r = check_name(s, name, reterr);

        return r < 0 ? r : s->backend->write(s, name, data, size, caching, reterr);
}

int storage_upload(Storage *s, const char *name, int fd, uint64_t size, Progress *progress, Error *reterr) {
        int r = check_name(s, name, reterr);

        return r < 0 ? r : s->backend->upload(s, name, fd, size, progress, reterr);
}

int storage_remove(Storage *s, const char *name, Error *reterr) {
        int r = check_name(s, name, reterr);

        return r < 0 ? r : s->backend->remove(s, name, reterr);
}

static int compare_entries(const void *a, const void *b) {
        return strcmp(((const StorageEntry *) a)->name, ((const StorageEntry *) b)->name);
}

int storage_list(Storage *s, const char *prefix, StorageEntry **ret, size_t *ret_n, Error *reterr) {
        _cleanup_free_ char *folder = xstrdup(prefix);
        size_t length = strlen(prefix);
        int r = 0;

        if (length > 0 && prefix[length - 1] != '/')
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: \"%s\" does not end with a slash", s->name,
                                 prefix);
        if (length > 0) {
                folder[length - 1] = 0;
                r = check_name(s, folder, reterr);
        }
        if (r >= 0)
                r = s->backend->list(s, prefix, ret, ret_n, reterr);
        if (r < 0)
                return r;
        if (*ret_n > 0)
                qsort(*ret, *ret_n, sizeof(StorageEntry), compare_entries);
        return 0;
}

void storage_entries_free(StorageEntry *entries, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(entries[i].name);
        free(entries);
}

int storage_lock(Storage *s, Error *reterr) {
        return s->backend->lock(s, reterr);
}

void storage_unlock(Storage *s) {
        s->backend->unlock(s);
}
