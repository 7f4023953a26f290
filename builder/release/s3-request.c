/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <time.h>

#include "io.h"
#include "log.h"
#include "s3.h"

#define CONNECT_SECONDS 15L
/* Servers think for a while about the end of a large upload. */
#define STALL_SECONDS 120L
#define STALL_BYTES 1024L
#define BACKOFF_MSEC 500
#define ERROR_DOCUMENT_MAX (64U * 1024)

/* ---- the place -----------------------------------------------------------------------------------------------------
 */

static char *from_environment(const char *name) {
        const char *value = getenv(name);

        return isempty(value) ? NULL : xstrdup(value);
}

/* Header values and options of libcurl are made of them. */
static int check_credentials(const S3 *s, Error *reterr) {
        const char *const values[] = { s->access_key, s->secret_key, s->token, s->region };
        static const char *const names[] = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                                             "AWS_REGION" };

        for (size_t i = 0; i < ELEMENTSOF(values); i++)
                for (const char *p = values[i]; p && *p; p++)
                        if ((uint8_t) *p <= 0x20 || (uint8_t) *p >= 0x7f)
                                return error_set(reterr, EINVAL, REFUSAL_KEY,
                                                 "%s holds a space or a character that is not ASCII", names[i]);
        if (!s->access_key != !s->secret_key)
                return error_set(reterr, EINVAL, REFUSAL_KEY, "%s is set but %s is not",
                                 s->access_key ? names[0] : names[1], s->access_key ? names[1] : names[0]);
        if (strchr(s->region, ':'))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "AWS_REGION is \"%s\", which is no region",
                                 s->region);
        return 0;
}

static int split_url(S3 *s, const char *url, Error *reterr) {
        _cleanup_free_ char *path = NULL;
        const char *host = strstr(url, "://") + 3;
        size_t n = strcspn(host, "/");

        if (n == 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the URL of the repository names no host");
        /* Also keeps passwords out of URLs, which are shown. */
        if (url[strcspn(url, "%?#@\\\" <>\n\r\t")])
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "the URL of the repository holds one of the characters %% ? # @ \\ \" < > or space");
        s->endpoint = xstrndup(url, (size_t) (host - url) + n);
        path = xstrdup(host + n + (host[n] == '/'));
        while (endswith(path, "/"))
                path[strlen(path) - 1] = 0;
        s->prefix = xstrdup("");
        if (!*path)
                return 0;
        if (!path_is_clean_relative(path))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: empty, \".\" or \"..\" component", url);
        n = strcspn(path, "/");
        s->bucket = xstrndup(path, n);
        if (path[n]) {
                free(s->prefix);
                s->prefix = xasprintf("%s/", path + n + 1);
        }
        return 0;
}

int s3_new(const char *url, S3 **ret, Error *reterr) {
        _cleanup_(s3_freep) S3 *s = xnew(S3, 1);
        int r;

        s->access_key = from_environment("AWS_ACCESS_KEY_ID");
        s->secret_key = from_environment("AWS_SECRET_ACCESS_KEY");
        s->token = from_environment("AWS_SESSION_TOKEN");
        s->region = from_environment("AWS_REGION") ?: from_environment("AWS_DEFAULT_REGION") ?: xstrdup("us-east-1");
        s->ca_file = from_environment("AWS_CA_BUNDLE");
        r = check_credentials(s, reterr);
        if (r >= 0)
                r = split_url(s, url, reterr);
        if (r < 0)
                return r;
        s->easy = curl_easy_init();
        if (!s->easy)
                abort(); /* out of memory */
        *ret = TAKE_PTR(s);
        return 0;
}

S3 *s3_free(S3 *s) {
        if (s) {
                if (s->easy)
                        curl_easy_cleanup(s->easy);
                if (s->secret_key)
                        explicit_bzero(s->secret_key, strlen(s->secret_key));
                free(s->endpoint);
                free(s->bucket);
                free(s->prefix);
                free(s->access_key);
                free(s->secret_key);
                free(s->token);
                free(s->region);
                free(s->ca_file);
                free(s);
        }
        return NULL;
}

int s3_require_credentials(const S3 *s, Error *reterr) {
        if (!s->bucket)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s names no bucket: %s/BUCKET/PREFIX", s->endpoint,
                                 s->endpoint);
        if (s->access_key)
                return 0;
        error_set(reterr, EACCES, REFUSAL_KEY, "%s/%s: without credentials it can only be read", s->endpoint,
                  s->bucket);
        return error_hint(reterr, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, if they are "
                                  "temporary).");
}

char *s3_encode(const char *text, bool keep_slashes) {
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, "");
        for (; *text; text++)
                if (((uint8_t) *text < 0x80 && isalnum((uint8_t) *text)) || strchr("-._~", *text) ||
                    (keep_slashes && *text == '/'))
                        buffer_append(&b, text, 1);
                else
                        buffer_printf(&b, "%%%02X", (uint8_t) *text);
        return buffer_steal(&b);
}

/* ---- one try --------------------------------------------------------------------------------------------------------
 */

typedef struct Exchange {
        S3 *s3;
        const S3Request *request;
        S3Response *response;
        struct curl_slist *headers;
        uint64_t position, counted;
        bool too_large;
        Error error; /* from reading our own file */
        char message[CURL_ERROR_SIZE];
} Exchange;

static void exchange_done(Exchange *x) {
        curl_slist_free_all(x->headers);
        error_done(&x->error);
}

void s3_response_done(S3Response *r) {
        free(r->code);
        free(r->message);
        free(r->bucket_region);
        free(r->etag);
        buffer_done(&r->body);
        *r = (S3Response){};
}

static size_t on_send(char *to, size_t unit, size_t n, void *userdata) {
        Exchange *x = userdata;

        n = (size_t) MIN((uint64_t) (unit * n), x->request->size - x->position);
        if (x->request->data)
                memcpy(to, (const char *) x->request->data + x->position, n);
        else if (io_pread_all(x->request->fd, to, n, x->request->offset + x->position, &x->error) < 0)
                return CURL_READFUNC_ABORT;
        x->position += n;
        /* What is sent again does not count again. */
        if (x->position > x->counted) {
                progress_advance(x->request->progress, x->position - x->counted);
                x->counted = x->position;
        }
        return n;
}

static int on_seek(void *userdata, curl_off_t offset, int origin) {
        Exchange *x = userdata;

        if (origin != SEEK_SET || offset < 0 || (uint64_t) offset > x->request->size)
                return CURL_SEEKFUNC_FAIL;
        x->position = (uint64_t) offset;
        return CURL_SEEKFUNC_OK;
}

static size_t on_receive(char *data, size_t unit, size_t n, void *userdata) {
        Exchange *x = userdata;
        size_t limit = x->request->max_size ?: S3_DOCUMENT_MAX;
        long status = 0;

        n *= unit;
        curl_easy_getinfo(x->s3->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 300)
                limit = ERROR_DOCUMENT_MAX;
        if (n > limit - x->response->body.size) {
                x->too_large = true;
                return CURL_WRITEFUNC_ERROR;
        }
        buffer_append(&x->response->body, data, n);
        return n;
}

static char *header_value(const char *line, size_t size, const char *name) {
        size_t n = strlen(name);
        char *value;

        if (size <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
                return NULL;
        value = xstrndup(line + n + 1, MIN(size - n - 1, (size_t) 1024));
        memmove(value, strstrip(value), strlen(strstrip(value)) + 1);
        return value;
}

static size_t on_header(char *line, size_t unit, size_t n, void *userdata) {
        S3Response *r = ((Exchange *) userdata)->response;
        _cleanup_free_ char *date = header_value(line, n, "Date"), *modified = header_value(line, n, "Last-Modified");
        char *etag = header_value(line, n, "ETag"), *region = header_value(line, n, "x-amz-bucket-region");

        if (date)
                r->date = curl_getdate(date, NULL);
        if (modified)
                r->modified = curl_getdate(modified, NULL);
        if (etag) {
                free(r->etag);
                r->etag = etag;
        }
        if (region) {
                free(r->bucket_region);
                r->bucket_region = region;
        }
        return n;
}

static void add_header(Exchange *x, const char *header) {
        struct curl_slist *more = curl_slist_append(x->headers, header);

        if (!more)
                abort(); /* out of memory */
        x->headers = more;
}

/* Libcurl 8.14 to 8.18 signs a plus sign in a query as if it were a space. Most servers' continuation tokens have some.
 */
static void sign_ourselves(Exchange *x, const char *url, const char *payload) {
        const S3Request *q = x->request;
        const char *host = strstr(url, "://") + 3, *slash = strchr(host, '/');
        _cleanup_free_ char *name = xstrndup(host, slash ? (size_t) (slash - host) : strlen(host)), *line = NULL;
        _cleanup_free_ char *path = slash ? xstrndup(slash, strcspn(slash, "?")) : xstrdup("/");
        _cleanup_strv_free_ char **headers = NULL;
        char when[32] = "";
        time_t now = time(NULL);
        const char *port;
        struct tm tm;

        /* The port of the scheme is not in the Host header. */
        port = endswith(name, startswith(url, "https://") ? ":443" : ":80");
        if (gmtime_r(&now, &tm))
                strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
        line = xasprintf("x-amz-date: %s", when);
        add_header(x, line);
        for (struct curl_slist *h = x->headers; h; h = h->next)
                strv_extend(&headers, h->data);
        strv_extendf(&headers, "host: %.*s", (int) (port ? port - name : (ptrdiff_t) strlen(name)), name);
        free(line);
        line = s3_sign(x->s3, q->method, path, q->query, (const char *const *) headers, payload, when);
        add_header(x, line);
}

/* Libcurl's signer has known weaknesses, and what avoids them is done here: up to 8.13 it signs paths and queries as
 * they stand (so they are made canonical: s3_encode(), queries sorted, "=" behind each name); from 8.14 on it refuses
 * CURLOPT_PATH_AS_IS; it signs the payload only if it is in memory (so its hash is given in x-amz-content-sha256, which
 * it then uses); it signs the headers that it is given and no others, in the order of their whole lines (none of ours
 * begins like another). */
static int sign(Exchange *x, const char *url, Error *reterr) {
        const S3Request *q = x->request;
        _cleanup_free_ char *hex = NULL, *header = NULL, *scope = NULL, *token = NULL;
        CURL *easy = x->s3->easy;
        Sha256 sha256;
        int r = 0;

        if (!x->s3->access_key)
                return 0;
        if (q->sha256)
                sha256 = *q->sha256;
        else if (q->data || q->size == 0)
                sha256_buffer(q->data ?: "", (size_t) q->size, &sha256);
        else
                r = sha256_fd(q->fd, q->offset, q->size, &sha256, reterr);
        if (r < 0)
                return r;
        hex = sha256_hex(&sha256);
        header = xasprintf("x-amz-content-sha256: %s", hex);
        add_header(x, header);
        if (x->s3->token) {
                token = xasprintf("x-amz-security-token: %s", x->s3->token);
                add_header(x, token);
        }
        if (q->query && strstr(q->query, "%2B")) {
                sign_ourselves(x, url, hex);
                return 0;
        }
        scope = xasprintf("aws:amz:%s:s3", x->s3->region);
        curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, scope);
        curl_easy_setopt(easy, CURLOPT_USERNAME, x->s3->access_key);
        curl_easy_setopt(easy, CURLOPT_PASSWORD, x->s3->secret_key);
        return 0;
}

static void set_method(Exchange *x) {
        const S3Request *q = x->request;
        CURL *easy = x->s3->easy;

        if (streq(q->method, "HEAD"))
                curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        else if (streq(q->method, "DELETE"))
                curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
        else if (streq(q->method, "POST")) {
                curl_easy_setopt(easy, CURLOPT_POST, 1L);
                curl_easy_setopt(easy, CURLOPT_POSTFIELDS, q->data ?: "");
                curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) q->size);
        } else if (streq(q->method, "PUT")) {
                curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
                curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) q->size);
                curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
                curl_easy_setopt(easy, CURLOPT_READDATA, x);
                curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
                curl_easy_setopt(easy, CURLOPT_SEEKDATA, x);
        }
}

static char *make_url(const S3 *s, const S3Request *q) {
        _cleanup_free_ char *key = xasprintf("%s%s", q->name ? s->prefix : "", q->name ?: "");
        _cleanup_free_ char *path = s3_encode(key, true), *bucket = s3_encode(s->bucket ?: "", false);

        return xasprintf("%s%s%s%s%s%s%s", s->endpoint, *bucket ? "/" : "", bucket, q->name ? "/" : "", path,
                         q->query ? "?" : "", q->query ?: "");
}

static int exchange(Exchange *x, CURLcode *ret_code, Error *reterr) {
        _cleanup_free_ char *url = make_url(x->s3, x->request);
        CURL *easy = x->s3->easy;
        curl_off_t length = 0;
        int r;

        curl_easy_reset(easy); /* connections stay */
        curl_slist_free_all(x->headers);
        x->headers = NULL;
        x->position = 0;
        x->message[0] = 0;
        s3_response_done(x->response);
        x->response->date = x->response->modified = -1;
        for (size_t i = 0; i < ELEMENTSOF(x->request->headers); i++)
                if (x->request->headers[i])
                        add_header(x, x->request->headers[i]);
        r = sign(x, url, reterr);
        if (r < 0)
                return r;
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, x->headers);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "sealab/" SEALAB_VERSION);
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* a signature is for one host */
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->message);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_receive);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
        if (x->s3->ca_file)
                curl_easy_setopt(easy, CURLOPT_CAINFO, x->s3->ca_file);
        set_method(x);
        *ret_code = curl_easy_perform(easy);
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &x->response->status);
        curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        x->response->size = length > 0 ? (uint64_t) length : 0;
        return 0;
}

/* ---- until it is done
 * ------------------------------------------------------------------------------------------------ */

static bool is_temporary(const S3Response *r) {
        return r->status == 408 || r->status == 429 || (r->status >= 500 && r->status != 501) ||
               (r->code &&
                (streq(r->code, "RequestTimeout") || streq(r->code, "InternalError") || streq(r->code, "SlowDown")));
}

static bool line_is_at_fault(CURLcode code) {
        switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_PARTIAL_FILE:
        case CURLE_OPERATION_TIMEDOUT:
        case CURLE_GOT_NOTHING:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
        case CURLE_UPLOAD_FAILED:
                return true;
        default:
                return false;
        }
}

static void back_off(unsigned try) {
        int64_t msec = BACKOFF_MSEC;
        struct timespec t;

        for (unsigned i = 1; i < try; i++)
                msec *= 4;
        t = (struct timespec){ .tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000 };
        (void) nanosleep(&t, NULL);
}

static int no_answer(const Exchange *x, CURLcode code, Error *reterr) {
        _cleanup_free_ char *url = make_url(x->s3, x->request);

        if (x->too_large)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is larger than the %zu bytes allowed", url,
                                 x->request->max_size ?: S3_DOCUMENT_MAX);
        error_set(reterr, EIO, REFUSAL_DOWNLOAD, "%s %s: %s", x->request->method, url,
                  *x->message ? x->message : curl_easy_strerror(code));
        return error_hint(reterr,
                          "Is the server right (AWS_ENDPOINT_URL, AWS_REGION) and reachable? The command can be "
                          "run again; it goes on where it was.");
}

static int judge(Exchange *x, Error *reterr) {
        S3Response *r = x->response;

        if (r->status >= 200 && r->status < 300)
                return S3_OK;
        if (r->status == 404 && !(r->code && streq(r->code, "NoSuchBucket")))
                return S3_NOT_FOUND;
        /* Who may not list is told nothing else about what is not there. */
        if (r->status == 403 && !x->s3->access_key &&
            (streq(x->request->method, "GET") || streq(x->request->method, "HEAD")) && x->request->name)
                return S3_NOT_FOUND;
        if (r->status == 409 || r->status == 412)
                return S3_CONDITION;
        if (r->status == 501)
                return S3_UNSUPPORTED;
        return s3_error(x->s3, x->request, r, reterr);
}

int s3_request(S3 *s, const S3Request *q, S3Response *ret, Error *reterr) {
        _cleanup_(exchange_done) Exchange x = { .s3 = s, .request = q, .response = ret };

        for (unsigned try = 1;; try++) {
                CURLcode code;
                bool again;
                int r;

                r = exchange(&x, &code, reterr);
                if (r < 0)
                        return r;
                if (x.error.id != REFUSAL_NONE)
                        return error_move(reterr, &x.error);
                /* The end of a multipart upload can fail after it was begun to be answered with 200. */
                if (code == CURLE_OK && (ret->status >= 300 || streq(q->method, "POST")) && s3_error_parse(ret) &&
                    ret->status < 300)
                        ret->status = streq(ret->code, "InternalError") ? 500 : 400;
                again = code == CURLE_OK ? is_temporary(ret) : line_is_at_fault(code) && !x.too_large;
                if (again && try < S3_TRIES) {
                        log_debug("%s: try %u of %s %s: %s", s->endpoint, try, q->method, q->name ?: "",
                                  code == CURLE_OK ? (ret->code ?: "server error") : curl_easy_strerror(code));
                        back_off(try);
                        continue;
                }
                if (code != CURLE_OK)
                        return no_answer(&x, code, reterr);
                return judge(&x, reterr);
        }
}
