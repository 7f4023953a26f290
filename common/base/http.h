/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Fetching small documents and streaming large ones over libcurl, blocking. Schemes: https, http and file, nothing
 * else, also after a redirect; from https never down to http. What comes is foreign: it is counted against max_size
 * before it is kept. Servers that stop (no connection within 15 s, below 1 KiB/s for 30 s) end the transfer. */

#include "error.h"

typedef struct HttpOptions {
        const char *proxy;              /* borrowed; NULL: the environment's */
        const char *ca_file;            /* borrowed; extra CA certificates, NULL: the system's */
        const char *client_certificate; /* borrowed; NULL: none */
        const char *client_key;
        uint64_t rate_limit;    /* bytes a second, 0: none */
        const char *user_agent; /* NULL: "sealab/VERSION" */
        /* How long a transfer may stay below 1 KiB/s; 0: 30. */
        unsigned stall_seconds;
        /* A whole document: these seconds (0: 120), and a second more for each 4 KiB that it may have. */
        unsigned document_seconds;
} HttpOptions;

/* One connection pool; requests to the same host share a connection. */
typedef struct HttpClient HttpClient;
int http_client_new(const HttpOptions *opt, HttpClient **ret, Error *reterr); /* opt is copied; may be NULL */
HttpClient *http_client_free(HttpClient *h);
DEFINE_CLEANUP(HttpClient *, http_client_free)

typedef enum HttpOutcome {
        HTTP_OK = 0,
        HTTP_NOT_FOUND = 1,    /* 404, 403 (what object stores say for a missing key), 410; a missing file */
        HTTP_NOT_MODIFIED = 2, /* 304 to a request with an etag */
} HttpOutcome;

typedef struct HttpStatistics {
        uint64_t requests, bytes_received, bytes_sent; /* with headers */
} HttpStatistics;
void http_client_statistics(const HttpClient *h, HttpStatistics *ret);

/* Reads a whole document of at most max_size bytes: more is REFUSAL_TOO_LARGE, and no more than that is read. etag (may
 * be NULL: unconditional) is what *ret_etag was when it was read last; *ret_etag (may be NULL) is owned, NULL if the
 * server gave none. An HttpOutcome, or negative with REFUSAL_DOWNLOAD (message: URL and reason). */
int http_get(HttpClient *h, const char *url, uint64_t max_size, const char *etag, Buffer *ret, char **ret_etag,
             Error *reterr);

/* Streams [offset, offset+size) of a resource to sink, which gets each piece once and in order. Bytes behind the range
 * are refused if the server said that it sends the range. One that ignores ranges is read from the start: the bytes
 * before offset are skipped when offset is at most skip_max, else REFUSAL_DOWNLOAD; those behind the range are not
 * read. sink returns 0, or a negative errno with its own error set, which ends the transfer. size UINT64_MAX: to the
 * end. A resource that does not exist is REFUSAL_DOWNLOAD with ENOENT. */
typedef int (*HttpSink)(const void *data, size_t size, void *userdata, Error *reterr);
int http_stream(HttpClient *h, const char *url, uint64_t offset, uint64_t size, uint64_t skip_max, HttpSink sink,
                void *userdata, Error *reterr);

/* BASE/PATH with each component of path percent-encoded (RFC 3986 unreserved characters stay), one slash between. */
char *http_join(const char *base, const char *path);
/* The path that a file:// address means, owned; NULL for others. */
char *http_file_path(const char *url);
