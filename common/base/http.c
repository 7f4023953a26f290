/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <curl/curl.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "http.h"
#include "log.h"

#define REDIRECTS_MAX 5L
#define CONNECT_SECONDS 15L
#define STALL_SECONDS 30
#define STALL_BYTES UINT64_C(1024)
/* A server that is just not stalled could keep a machine from learning anything for hours. */
#define DOCUMENT_SECONDS 120
#define DOCUMENT_BYTES 4096
/* Of all responses of one request, redirects included. */
#define HEADERS_MAX ((size_t) 128 << 10)
/* Bodies of refusals and redirects are read to the end so that the connection can be used again, but only short ones.
 */
#define DISCARD_MAX ((uint64_t) 32 << 10)
#define ETAG_MAX 512

DEFINE_CLEANUP(struct curl_slist *, curl_slist_free_all)

struct HttpClient {
        CURL *easy;
        char *proxy, *ca_file, *client_certificate, *client_key, *user_agent;
        uint64_t rate_limit;
        unsigned stall_seconds, document_seconds;
        HttpStatistics statistics;
};

/* One request as its callbacks see it. */
typedef struct Request {
        CURL *easy;
        const char *url;
        bool stream;

        /* http_get: all of it at most; http_stream: this range. */
        uint64_t offset, size, skip_max;
        Buffer *body;
        HttpSink sink;
        void *userdata;

        size_t headers_size;
        char *etag;
        uint64_t range_start;
        bool has_range_start;
        bool started;
        uint64_t skip;     /* bytes still to be left out */
        uint64_t received; /* bytes kept or given away */
        uint64_t discarded;
        /* Since when less than stall_bytes have come: bytes and time, monotonic, then. */
        uint64_t stall_bytes, stall_msec, mark;
        int64_t mark_msec;
        bool enough; /* the range is complete, whatever else the server has to say */
        bool failed; /* error is set */
        Error error;
        char message[CURL_ERROR_SIZE];
} Request;

static void request_done(Request *q) {
        free(q->etag);
        error_done(&q->error);
}

static long status_of(CURL *easy) {
        long status = 0;

        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        return status;
}

static int64_t monotonic_msec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what the server says -----------------------------------------------------------------------------------------
 */

static size_t refuse(Request *q, int code, Refusal id, const char *what) {
        error_set(&q->error, code, id, "%s: %s", q->url, what);
        q->failed = true;
        return CURL_WRITEFUNC_ERROR;
}

static char *header_value(const char *line, size_t size, const char *name) {
        _cleanup_free_ char *value = NULL;
        size_t n = strlen(name);

        if (size <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
                return NULL;
        value = xstrndup(line + n + 1, size - n - 1);
        return xstrdup(strstrip(value));
}

/* "bytes 100-199/1000" */
static void read_content_range(Request *q, const char *value) {
        const char *p = startswith(value, "bytes ");
        _cleanup_free_ char *first = p ? xstrndup(p, strcspn(p, "-")) : NULL;

        q->has_range_start = first && parse_u64(first, &q->range_start);
}

static size_t receive_header(char *data, size_t unit, size_t n, void *userdata) {
        Request *q = userdata;
        _cleanup_free_ char *etag = NULL, *range = NULL;

        n *= unit;
        if (n > HEADERS_MAX - q->headers_size)
                return refuse(q, EFBIG, REFUSAL_TOO_LARGE, "the server's headers do not end");
        q->headers_size += n;
        /* A new response, after a redirect or a proxy's: what the one before said is not about this one. */
        if (n > 5 && strncmp(data, "HTTP/", 5) == 0) {
                free(TAKE_PTR(q->etag));
                q->has_range_start = false;
        }
        etag = header_value(data, n, "ETag");
        range = header_value(data, n, "Content-Range");
        if (etag && strlen(etag) <= ETAG_MAX) {
                free(q->etag);
                q->etag = TAKE_PTR(etag);
        }
        if (range)
                read_content_range(q, range);
        return n;
}

/* Called with the first piece of a body that is to be kept: is it what was asked for? */
static size_t check_start(Request *q, long status) {
        curl_off_t length = -1;

        q->started = true;
        curl_easy_getinfo(q->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        if (!q->stream) {
                if (length > 0 && (uint64_t) length > q->size)
                        return refuse(q, EFBIG, REFUSAL_TOO_LARGE, "the document is larger than it may be");
                return 0;
        }
        if (status == 206) {
                if (!q->has_range_start || q->range_start != q->offset)
                        return refuse(q, EPROTO, REFUSAL_DOWNLOAD, "the server sends another range than was asked for");
        } else if (status == 200 && q->offset > 0) {
                if (q->offset > q->skip_max)
                        return refuse(q, EPROTO, REFUSAL_DOWNLOAD, "the server ignores ranges");
                q->skip = q->offset;
        }
        return 0;
}

static size_t keep(Request *q, const char *data, uint64_t n, long status) {
        uint64_t left = q->size - q->received;
        uint64_t taken = MIN(n, left);

        if (!q->stream && taken < n)
                return refuse(q, EFBIG, REFUSAL_TOO_LARGE, "the document is larger than it may be");
        if (!q->stream)
                buffer_append(q->body, data, (size_t) taken);
        else if (taken > 0) {
                int64_t before = monotonic_msec();

                if (q->sink(data, (size_t) taken, q->userdata, &q->error) < 0) {
                        q->failed = true;
                        return CURL_WRITEFUNC_ERROR;
                }
                /* A slow disk is not the server's fault. */
                q->mark_msec += monotonic_msec() - before;
        }
        q->received += taken;
        if (taken == n)
                return (size_t) n;
        if (status == 206)
                return refuse(q, EPROTO, REFUSAL_DOWNLOAD, "the server sends more than the range that was asked for");
        /* The whole was sent in place of a range; the rest of it is not wanted. */
        q->enough = true;
        return CURL_WRITEFUNC_ERROR;
}

static size_t receive(char *data, size_t unit, size_t n, void *userdata) {
        Request *q = userdata;
        long status = status_of(q->easy);
        uint64_t skipped, size;

        n *= unit;
        if (status != 0 && status != 200 && !(q->stream && status == 206)) {
                q->discarded += n;
                return q->discarded <= DISCARD_MAX ? n : CURL_WRITEFUNC_ERROR;
        }
        if (!q->started && check_start(q, status) != 0)
                return CURL_WRITEFUNC_ERROR;
        skipped = MIN(q->skip, (uint64_t) n);
        q->skip -= skipped;
        size = n - skipped;
        if (size > 0 && keep(q, data + skipped, size, status) != (size_t) size)
                return CURL_WRITEFUNC_ERROR;
        return n;
}

/* ---- how it gets on ---- */

/* curl calls this at least once a second. It has limits of its own for the speed, but takes an average over six seconds
 * before it begins to count; and none for a redirect's body, which it reads itself. */
static int watch(void *userdata, curl_off_t total, curl_off_t done, curl_off_t upload_total, curl_off_t uploaded) {
        Request *q = userdata;
        uint64_t received = (uint64_t) MAX(done, 0);
        int64_t now = monotonic_msec();
        long status = status_of(q->easy);

        if (status >= 300 && status < 400 && received > DISCARD_MAX) {
                refuse(q, EFBIG, REFUSAL_DOWNLOAD, "a redirect whose body does not end");
                return 1;
        }
        if (received < q->mark)
                q->mark = received; /* the next response */
        if (received - q->mark >= q->stall_bytes) {
                q->mark = received;
                q->mark_msec = now;
        } else if (now - q->mark_msec >= (int64_t) q->stall_msec) {
                refuse(q, ETIMEDOUT, REFUSAL_DOWNLOAD, "the server has stalled");
                error_hint(&q->error, "Check the network, or try again later; what came until then is used.");
                return 1;
        }
        return 0;
}

/* ---- one request --------------------------------------------------------------------------------------------------
 */

static void set_options(const HttpClient *h, CURL *easy, const char *url) {
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https,file");
        /* Whoever asked by https does not want others to read what is fetched; a local file is never the server's to
         * point at. */
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR,
                         strncasecmp(url, "https:", 6) == 0 ? "https" : "http,https");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, MIN(CONNECT_SECONDS, (long) h->stall_seconds));
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, h->user_agent);
        if (h->rate_limit > 0)
                curl_easy_setopt(easy, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t) MIN(h->rate_limit, INT64_MAX));
        if (h->proxy)
                curl_easy_setopt(easy, CURLOPT_PROXY, h->proxy);
        if (h->client_certificate)
                curl_easy_setopt(easy, CURLOPT_SSLCERT, h->client_certificate);
        if (h->client_key)
                curl_easy_setopt(easy, CURLOPT_SSLKEY, h->client_key);
        if (h->ca_file)
                curl_easy_setopt(easy, CURLOPT_CAINFO, h->ca_file);
}

static void count(HttpClient *h, CURL *easy) {
        curl_off_t body = 0;
        long headers = 0, sent = 0, redirects = 0;

        curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &body);
        curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &headers);
        curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
        curl_easy_getinfo(easy, CURLINFO_REDIRECT_COUNT, &redirects);
        h->statistics.requests += 1 + (uint64_t) redirects;
        h->statistics.bytes_received += (uint64_t) body + (uint64_t) headers;
        h->statistics.bytes_sent += (uint64_t) sent;
}

static long document_seconds(const HttpClient *h, uint64_t max_size) {
        uint64_t seconds = h->document_seconds + max_size / DOCUMENT_BYTES;

        if (h->rate_limit > 0)
                seconds += max_size / h->rate_limit;
        return (long) MIN(seconds, (uint64_t) INT32_MAX / 1000);
}

/* A pipe or device in the place of a file would be waited for, or read, for ever, outside of what curl watches. */
static bool is_waiting_file(const char *url) {
        _cleanup_free_ char *path = http_file_path(url);
        struct stat st;

        return path && stat(path, &st) >= 0 && !S_ISREG(st.st_mode);
}

/* The handle keeps its connections through curl_easy_reset(). */
static CURLcode perform(HttpClient *h, Request *q, struct curl_slist *headers, const char *range) {
        CURLcode code;

        curl_easy_reset(h->easy);
        q->easy = h->easy;
        /* Who limits himself is not stalled by the server. */
        q->stall_bytes = h->rate_limit > 0 ? MIN(STALL_BYTES, h->rate_limit / 2) : STALL_BYTES;
        q->stall_bytes = MAX(q->stall_bytes, 1U) * h->stall_seconds;
        q->stall_msec = (uint64_t) h->stall_seconds * 1000;
        q->mark_msec = monotonic_msec();
        set_options(h, h->easy, q->url);
        curl_easy_setopt(h->easy, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(h->easy, CURLOPT_XFERINFOFUNCTION, watch);
        curl_easy_setopt(h->easy, CURLOPT_XFERINFODATA, q);
        if (!q->stream)
                curl_easy_setopt(h->easy, CURLOPT_TIMEOUT, document_seconds(h, q->size));
        curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, q->message);
        curl_easy_setopt(h->easy, CURLOPT_HEADERFUNCTION, receive_header);
        curl_easy_setopt(h->easy, CURLOPT_HEADERDATA, q);
        curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, receive);
        curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, q);
        curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(h->easy, CURLOPT_RANGE, range);
        code = is_waiting_file(q->url) ? CURLE_FILE_COULDNT_READ_FILE : curl_easy_perform(h->easy);
        count(h, h->easy);
        log_debug("%s: HTTP status %ld, %s", q->url, status_of(h->easy), curl_easy_strerror(code));
        /* They are the caller's and end before the handle does. */
        curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, NULL);
        curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, NULL);
        return code;
}

static bool status_is_missing(long status) {
        return status == 404 || status == 403 || status == 410;
}

static int fail(Request *q, CURLcode code, long status, Error *reterr) {
        if (q->failed)
                return error_move(reterr, &q->error);
        if (status >= 300 || (status > 0 && status < 200))
                error_set(reterr, EIO, REFUSAL_DOWNLOAD, "%s: HTTP status %ld", q->url, status);
        else
                error_set(reterr, code == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : EIO, REFUSAL_DOWNLOAD, "%s: %s",
                          q->url, *q->message ? q->message : curl_easy_strerror(code));
        return error_hint(reterr, "Check the address and the network (a proxy is taken from the environment); nothing "
                                  "of it was kept.");
}

static bool etag_is_usable(const char *etag) {
        if (isempty(etag) || strlen(etag) > ETAG_MAX)
                return false;
        for (const char *p = etag; *p; p++)
                if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        return false;
        return true;
}

/* ---- public -------------------------------------------------------------------------------------------------------
 */

int http_client_new(const HttpOptions *opt, HttpClient **ret, Error *reterr) {
        static const HttpOptions none = {};
        _cleanup_(http_client_freep) HttpClient *h = xnew(HttpClient, 1);

        if (!opt)
                opt = &none;
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
                return error_set(reterr, EIO, REFUSAL_MACHINE, "libcurl cannot be set up");
        h->easy = curl_easy_init();
        if (!h->easy)
                abort(); /* out of memory */
        h->proxy = xstrdup(opt->proxy);
        h->ca_file = xstrdup(opt->ca_file);
        h->client_certificate = xstrdup(opt->client_certificate);
        h->client_key = xstrdup(opt->client_key);
        h->user_agent = xstrdup(opt->user_agent ?: "sealab/" SEALAB_VERSION);
        h->rate_limit = opt->rate_limit;
        h->stall_seconds = opt->stall_seconds ?: STALL_SECONDS;
        h->document_seconds = opt->document_seconds ?: DOCUMENT_SECONDS;
        *ret = TAKE_PTR(h);
        return 0;
}

HttpClient *http_client_free(HttpClient *h) {
        if (!h)
                return NULL;
        if (h->easy)
                curl_easy_cleanup(h->easy);
        free(h->proxy);
        free(h->ca_file);
        free(h->client_certificate);
        free(h->client_key);
        free(h->user_agent);
        free(h);
        return NULL;
}

void http_client_statistics(const HttpClient *h, HttpStatistics *ret) {
        *ret = h->statistics;
}

int http_get(HttpClient *h, const char *url, uint64_t max_size, const char *etag, Buffer *ret, char **ret_etag,
             Error *reterr) {
        _cleanup_buffer_ Buffer body = {};
        _cleanup_(request_done) Request q = { .url = url, .size = max_size, .body = &body };
        _cleanup_(curl_slist_free_allp) struct curl_slist *headers = NULL;
        bool conditional = etag_is_usable(etag);
        CURLcode code;
        long status;

        if (conditional) {
                _cleanup_free_ char *line = xasprintf("If-None-Match: %s", etag);

                headers = curl_slist_append(NULL, line);
                if (!headers)
                        abort(); /* out of memory */
        }
        code = perform(h, &q, headers, NULL);
        status = status_of(h->easy);
        if (q.failed)
                return fail(&q, code, status, reterr);
        if (status_is_missing(status) || code == CURLE_FILE_COULDNT_READ_FILE)
                return HTTP_NOT_FOUND;
        if (code == CURLE_OK && status == 304 && conditional)
                return HTTP_NOT_MODIFIED;
        if (code != CURLE_OK || (status != 200 && status != 0))
                return fail(&q, code, status, reterr);
        buffer_done(ret);
        *ret = body;
        body = (Buffer){};
        if (ret_etag)
                *ret_etag = TAKE_PTR(q.etag);
        return HTTP_OK;
}

int http_stream(HttpClient *h, const char *url, uint64_t offset, uint64_t size, uint64_t skip_max, HttpSink sink,
                void *userdata, Error *reterr) {
        _cleanup_(request_done) Request q = { .url = url,
                                              .stream = true,
                                              .offset = offset,
                                              .size = size,
                                              .skip_max = skip_max,
                                              .sink = sink,
                                              .userdata = userdata };
        _cleanup_free_ char *range = NULL;
        uint64_t end;
        CURLcode code;
        long status;

        if (size == 0)
                return 0;
        if (size == UINT64_MAX)
                range = offset > 0 ? xasprintf("%" PRIu64 "-", offset) : NULL;
        else if (__builtin_add_overflow(offset, size - 1, &end))
                return error_set(reterr, EOVERFLOW, REFUSAL_BAD_VALUE, "%s: no file has such a range", url);
        else
                range = xasprintf("%" PRIu64 "-%" PRIu64, offset, end);
        code = perform(h, &q, NULL, range);
        status = status_of(h->easy);
        if (q.enough)
                return 0;
        if (q.failed)
                return fail(&q, code, status, reterr);
        if (status_is_missing(status) || code == CURLE_FILE_COULDNT_READ_FILE)
                return error_set(reterr, ENOENT, REFUSAL_DOWNLOAD, "%s: there is no such file", url);
        if (code != CURLE_OK || (status != 200 && status != 206 && status != 0))
                return fail(&q, code, status, reterr);
        if (size != UINT64_MAX && q.received < size)
                return error_set(reterr, EIO, REFUSAL_DOWNLOAD, "%s: it ended after %" PRIu64 " of %" PRIu64 " bytes",
                                 url, q.received, size);
        return 0;
}

char *http_join(const char *base, const char *path) {
        static const char hex[] = "0123456789ABCDEF";
        _cleanup_buffer_ Buffer b = {};
        size_t n = strlen(base);

        while (n > 0 && base[n - 1] == '/')
                n--;
        buffer_append(&b, base, n);
        buffer_puts(&b, "/");
        while (*path == '/')
                path++;
        for (; *path; path++) {
                unsigned char c = (unsigned char) *path;

                if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~/", c))
                        buffer_append(&b, &c, 1);
                else
                        buffer_append(&b, (char[]){ '%', hex[c >> 4], hex[c & 15] }, 3);
        }
        return buffer_steal(&b);
}

char *http_file_path(const char *url) {
        const char *p = startswith(url, "file://");
        char *path = p ? xstrdup(p) : NULL, *out = path;

        for (; p && *p; p++) {
                unsigned c;

                if (*p == '%' && sscanf(p + 1, "%2x", &c) == 1 && c != 0 &&
                    strspn(p + 1, "0123456789abcdefABCDEF") >= 2) {
                        *out++ = (char) c;
                        p += 2;
                } else
                        *out++ = *p;
        }
        if (path)
                *out = 0;
        return path;
}
