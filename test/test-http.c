/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fetching from a server that does all the wrong things, and from nginx, which does the right ones. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <time.h>

#include "http-server.h"
#include "http.h"
#include "io.h"
#include "process.h"

#define NGINX "/usr/sbin/nginx"

typedef struct Fixture {
        HttpServer server;
        HttpClient *http;
        char *folder;
        Error error;
        Buffer body;
        char *etag;
} Fixture;

static Fixture *fixture_new(void) {
        Fixture *f = xnew(Fixture, 1);

        if (io_temporary_folder("http", &f->folder, &f->error) < 0 ||
            http_client_new(&(HttpOptions){ .stall_seconds = 1 }, &f->http, &f->error) < 0)
                fail_msg("%s", f->error.message);
        http_server_start(&f->server);
        return f;
}

static Fixture *fixture_free(Fixture *f) {
        if (!f)
                return NULL;
        http_server_stop(&f->server);
        http_client_free(f->http);
        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        error_done(&f->error);
        buffer_done(&f->body);
        free(f->etag);
        free(f);
        return NULL;
}
DEFINE_CLEANUP(Fixture *, fixture_free)

static int get_url(Fixture *f, const char *url, uint64_t max_size, const char *etag) {
        error_done(&f->error);
        f->error = (Error){};
        free(TAKE_PTR(f->etag));
        return http_get(f->http, url, max_size, etag, &f->body, &f->etag, &f->error);
}

static int get(Fixture *f, const char *path, uint64_t max_size, const char *etag) {
        _cleanup_free_ char *url = xasprintf("%s/%s", f->server.url, path);

        return get_url(f, url, max_size, etag);
}

static int keep(const void *data, size_t size, void *userdata, Error *reterr) {
        buffer_append(userdata, data, size);
        return 0;
}

static int stream_url(Fixture *f, const char *url, uint64_t offset, uint64_t size, uint64_t skip_max) {
        error_done(&f->error);
        f->error = (Error){};
        buffer_done(&f->body);
        f->body = (Buffer){};
        return http_stream(f->http, url, offset, size, skip_max, keep, &f->body, &f->error);
}

static int stream(Fixture *f, const char *path, uint64_t offset, uint64_t size, uint64_t skip_max) {
        _cleanup_free_ char *url = xasprintf("%s/%s", f->server.url, path);

        return stream_url(f, url, offset, size, skip_max);
}

static void must_be_refused(Fixture *f, int r, Refusal id) {
        if (r >= 0)
                fail_msg("%d, %s expected", r, refusal_name(id));
        if (f->error.id != id)
                fail_msg("%s expected: %s: %s", refusal_name(id), refusal_name(f->error.id), f->error.message);
}

static void must_be_pattern(Fixture *f, uint64_t offset, uint64_t size) {
        assert_int_equal(f->body.size, size);
        for (size_t i = 0; i < size; i++)
                if ((uint8_t) f->body.data[i] != http_server_byte(offset + i))
                        fail_msg("wrong byte at %zu", i);
}

/* ---- documents ------------------------------------------------------------------------------------------- */

static void document_is_read_whole(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        assert_int_equal(get(f, "text", 5, NULL), HTTP_OK);
        assert_string_equal(f->body.data, "hello");
        assert_string_equal(f->etag, "\"v1\"");
        assert_int_equal(get(f, "size/100000", 100000, NULL), HTTP_OK);
        must_be_pattern(f, 0, 100000);
        assert_null(f->etag);
        assert_int_equal(get(f, "size/0", 0, NULL), HTTP_OK);
        assert_int_equal(f->body.size, 0);
}

static void condition_is_honoured(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        assert_int_equal(get(f, "text", 5, "\"v1\""), HTTP_NOT_MODIFIED);
        assert_int_equal(get(f, "text", 5, "\"v0\""), HTTP_OK);
        assert_int_equal(get(f, "text", 5, ""), HTTP_OK);
        /* Not ours to answer so. */
        must_be_refused(f, get(f, "status/304", 5, NULL), REFUSAL_DOWNLOAD);
}

static void stored_etag_cannot_add_headers(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        assert_int_equal(get(f, "echo", 4096, "\"x\"\r\nX-Evil: 1"), HTTP_OK);
        assert_null(strstr(f->body.data, "Evil"));
        assert_null(strstr(f->body.data, "If-None-Match"));
        assert_int_equal(get(f, "echo", 4096, "\"x\""), HTTP_OK);
        assert_non_null(strstr(f->body.data, "If-None-Match: \"x\"\r\n"));
        assert_non_null(strstr(f->body.data, "User-Agent: sealab/"));
}

static void missing_documents_are_an_outcome(void **state) {
        static const char *const missing[] = { "status/404", "status/403", "status/410", "bigerror" };
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        for (size_t i = 0; i < ELEMENTSOF(missing); i++)
                assert_int_equal(get(f, missing[i], 10, NULL), HTTP_NOT_FOUND);
}

static void other_answers_are_refused(void **state) {
        static const char *const bad[] = { "status/201", "status/204", "status/206", "status/300",
                                           "status/400", "status/401", "status/416", "status/429",
                                           "status/500", "status/503", "garbage",    "hangup" };
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                must_be_refused(f, get(f, bad[i], 1000, NULL), REFUSAL_DOWNLOAD);
                assert_non_null(strstr(f->error.message, bad[i]));
        }
}

static void too_much_is_refused_before_it_is_read(void **state) {
        static const char *const large[] = { "size/10000000", "undeclared/10000000", "endless", "chunked/endless" };
        HttpStatistics st;

        for (size_t i = 0; i < ELEMENTSOF(large); i++) {
                _cleanup_(fixture_freep) Fixture *f = fixture_new();

                must_be_refused(f, get(f, large[i], 1000, NULL), REFUSAL_TOO_LARGE);
                http_client_statistics(f->http, &st);
                assert_true(st.bytes_received < 100000);
                /* The client is as good as before. */
                assert_int_equal(get(f, "text", 5, NULL), HTTP_OK);
        }
        {
                _cleanup_(fixture_freep) Fixture *f = fixture_new();

                must_be_refused(f, get(f, "size/1001", 1000, NULL), REFUSAL_TOO_LARGE);
                must_be_refused(f, get(f, "undeclared/1001", 1000, NULL), REFUSAL_TOO_LARGE);
                assert_int_equal(get(f, "undeclared/1000", 1000, NULL), HTTP_OK);
        }
}

static void cut_documents_are_refused(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        must_be_refused(f, get(f, "cut/1000", 1000, NULL), REFUSAL_DOWNLOAD);
        must_be_refused(f, get(f, "chunked/cut", 1000, NULL), REFUSAL_DOWNLOAD);
}

static void endless_headers_are_refused(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();
        int r = get(f, "headers", 1000, NULL);

        assert_true(r < 0);
        assert_true(f->error.id == REFUSAL_TOO_LARGE || f->error.id == REFUSAL_DOWNLOAD);
}

static void silent_servers_are_given_up(void **state) {
        static const char *const silent[] = { "stuck", "silent", "drip" };

        for (size_t i = 0; i < ELEMENTSOF(silent); i++) {
                _cleanup_(fixture_freep) Fixture *f = fixture_new();
                time_t begin = time(NULL);

                must_be_refused(f, get(f, silent[i], 1000, NULL), REFUSAL_DOWNLOAD);
                assert_int_equal(f->error.code, ETIMEDOUT);
                assert_true(time(NULL) - begin < 10);
        }
}

/* Fast enough not to be stalled, and never done. */
static void dawdling_servers_are_given_up(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();
        time_t begin = time(NULL);

        http_client_free(TAKE_PTR(f->http));
        assert_int_equal(http_client_new(&(HttpOptions){ .document_seconds = 2 }, &f->http, NULL), 0);
        must_be_refused(f, get(f, "dawdle", 4000, NULL), REFUSAL_DOWNLOAD);
        assert_int_equal(f->error.code, ETIMEDOUT);
        assert_true(time(NULL) - begin < 10);
}

static void nobody_there(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();
        _cleanup_free_ char *url = xasprintf("%s/text", f->server.url);

        http_server_stop(&f->server);
        must_be_refused(f, get_url(f, url, 10, NULL), REFUSAL_DOWNLOAD);
        assert_non_null(f->error.hint);
}

/* ---- where requests may lead ----------------------------------------------------------------------------- */

static void redirects_are_followed_to_web_servers_only(void **state) {
        static const char *const bad[] = { "loop", "to/file:///etc/hostname", "to/ftp://127.0.0.1/x",
                                           "to/dict://127.0.0.1/x", "to/gopher://127.0.0.1/x" };
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        assert_int_equal(get(f, "moved", 5, NULL), HTTP_OK);
        assert_string_equal(f->body.data, "hello");
        assert_string_equal(f->etag, "\"v1\""); /* not that of the redirect */
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                must_be_refused(f, get(f, bad[i], 1000, NULL), REFUSAL_DOWNLOAD);
}

/* Nobody sees the body of a redirect but curl. */
static void redirects_end(void **state) {
        static const char *const bad[] = { "moved/endless", "moved/stuck" };
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_free_ char *url = xasprintf("%s/%s", f->server.url, bad[i]);
                time_t begin = time(NULL);

                must_be_refused(f, get_url(f, url, 1000, NULL), REFUSAL_DOWNLOAD);
                must_be_refused(f, stream_url(f, url, 0, 10, 0), REFUSAL_DOWNLOAD);
                assert_true(time(NULL) - begin < 10);
        }
}

static void other_schemes_are_refused(void **state) {
        static const char *const bad[] = { "ftp://127.0.0.1/x", "dict://127.0.0.1/x", "tftp://127.0.0.1/x",
                                           "smb://127.0.0.1/x", "nonsense://x",       "" };
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                must_be_refused(f, get_url(f, bad[i], 1000, NULL), REFUSAL_DOWNLOAD);
                must_be_refused(f, stream_url(f, bad[i], 0, 10, 0), REFUSAL_DOWNLOAD);
        }
}

static void files_are_read_by_the_same_rules(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();
        _cleanup_free_ char *path = path_join(f->folder, "a b"), *base = xasprintf("file://%s", f->folder), *url = NULL,
                            *missing = NULL;

        url = http_join(base, "a b");
        missing = http_join(base, "none");
        assert_int_equal(io_write_file(AT_FDCWD, path, "0123456789", 10, 0644, NULL), 0);
        assert_int_equal(get_url(f, url, 10, NULL), HTTP_OK);
        assert_string_equal(f->body.data, "0123456789");
        must_be_refused(f, get_url(f, url, 9, NULL), REFUSAL_TOO_LARGE);
        assert_int_equal(get_url(f, missing, 9, NULL), HTTP_NOT_FOUND);
        assert_int_equal(stream_url(f, url, 3, 4, 0), 0);
        assert_string_equal(f->body.data, "3456");
        assert_int_equal(stream_url(f, url, 3, UINT64_MAX, 0), 0);
        assert_string_equal(f->body.data, "3456789");
        assert_int_equal(stream_url(f, url, 0, UINT64_MAX, 0), 0);
        assert_string_equal(f->body.data, "0123456789");
        must_be_refused(f, stream_url(f, url, 8, 4, 0), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream_url(f, url, 100, 4, 0), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream_url(f, missing, 0, 4, 0), REFUSAL_DOWNLOAD);
        assert_int_equal(f->error.code, ENOENT);
}

/* ---- streams --------------------------------------------------------------------------------------------- */

static void ranges_are_streamed(void **state) {
        static const struct {
                uint64_t offset, size;
        } cases[] = { { 0, 1 }, { 0, 100000 }, { 1, 99999 }, { 99999, 1 }, { 500, 70000 } };
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(stream(f, "size/100000", cases[i].offset, cases[i].size, 0), 0);
                must_be_pattern(f, cases[i].offset, cases[i].size);
        }
        assert_int_equal(stream(f, "size/100000", 40000, UINT64_MAX, 0), 0);
        must_be_pattern(f, 40000, 60000);
        assert_int_equal(stream(f, "size/100000", 0, UINT64_MAX, 0), 0);
        must_be_pattern(f, 0, 100000);
        assert_int_equal(stream(f, "size/100000", 7, 0, 0), 0);
        must_be_pattern(f, 7, 0);
        must_be_refused(f, stream(f, "size/100000", UINT64_MAX - 1, 10, 0), REFUSAL_BAD_VALUE);
}

static void server_without_ranges_is_read_from_the_start(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        assert_int_equal(stream(f, "noranges/100000", 50000, 10, 50000), 0);
        must_be_pattern(f, 50000, 10);
        assert_int_equal(stream(f, "noranges/100000", 50000, UINT64_MAX, 50000), 0);
        must_be_pattern(f, 50000, 50000);
        assert_int_equal(stream(f, "noranges/100000", 0, 10, 0), 0);
        must_be_pattern(f, 0, 10);
        must_be_refused(f, stream(f, "noranges/100000", 50001, 10, 50000), REFUSAL_DOWNLOAD);
        assert_int_equal(f->body.size, 0);
        must_be_refused(f, stream(f, "noranges/100", 50, 100, 50), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream(f, "noranges/100", 200, 100, 500), REFUSAL_DOWNLOAD);
        assert_int_equal(f->body.size, 0);
}

static void wrong_ranges_are_refused(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();

        must_be_refused(f, stream(f, "otherrange/1000", 100, 10, 1000), REFUSAL_DOWNLOAD);
        assert_int_equal(f->body.size, 0);
        must_be_refused(f, stream(f, "norangeheader/1000", 100, 10, 1000), REFUSAL_DOWNLOAD);
        assert_int_equal(f->body.size, 0);
        must_be_refused(f, stream(f, "longrange/1000", 100, 10, 1000), REFUSAL_DOWNLOAD);
        must_be_pattern(f, 100, 10); /* each byte that was given away is one that was asked for */
        must_be_refused(f, stream(f, "size/1000", 995, 10, 1000), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream(f, "size/1000", 1000, 10, 0), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream(f, "cut/1000", 0, UINT64_MAX, 0), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream(f, "cut/1000", 0, 1000, 0), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream(f, "status/500", 0, 10, 0), REFUSAL_DOWNLOAD);
        must_be_refused(f, stream(f, "status/404", 0, 10, 0), REFUSAL_DOWNLOAD);
        assert_int_equal(f->error.code, ENOENT);
        must_be_refused(f, stream(f, "stuck", 0, 10, 0), REFUSAL_DOWNLOAD);
        assert_int_equal(stream(f, "endless", 0, 100, 0), 0);
        assert_int_equal(f->body.size, 100);
}

static int refuse_second(const void *data, size_t size, void *userdata, Error *reterr) {
        unsigned *n = userdata;

        if (++*n == 2)
                return error_set(reterr, ENOSPC, REFUSAL_NO_SPACE, "full");
        return 0;
}

static void error_of_the_sink_comes_back(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();
        _cleanup_free_ char *url = xasprintf("%s/size/10000000", f->server.url);
        unsigned n = 0;

        must_be_refused(f, http_stream(f->http, url, 0, UINT64_MAX, 0, refuse_second, &n, &f->error), REFUSAL_NO_SPACE);
        assert_int_equal(f->error.code, ENOSPC);
        assert_int_equal(n, 2);
}

static void rate_is_limited(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();
        struct timespec begin, end;

        http_client_free(TAKE_PTR(f->http));
        assert_int_equal(http_client_new(&(HttpOptions){ .rate_limit = 2000000, .stall_seconds = 1 }, &f->http, NULL),
                         0);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        assert_int_equal(stream(f, "size/6000000", 0, 6000000, 0), 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        must_be_pattern(f, 0, 6000000);
        assert_true((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 > 1500);
}

static void statistics_count_what_went_over_the_line(void **state) {
        _cleanup_(fixture_freep) Fixture *f = fixture_new();
        HttpStatistics st;

        http_client_statistics(f->http, &st);
        assert_int_equal(st.requests, 0);
        assert_int_equal(get(f, "size/1000", 1000, NULL), HTTP_OK);
        assert_int_equal(get(f, "moved", 1000, NULL), HTTP_OK);
        http_client_statistics(f->http, &st);
        assert_int_equal(st.requests, 3);
        assert_true(st.bytes_received > 1005 && st.bytes_received < 2000);
        assert_true(st.bytes_sent > 100 && st.bytes_sent < 1000);
}

static void addresses_are_joined_and_encoded(void **state) {
        static const struct {
                const char *base, *path, *url;
        } cases[] = {
                { "http://h", "a", "http://h/a" },
                { "http://h/b/", "a/c.json", "http://h/b/a/c.json" },
                { "http://h//", "/a", "http://h/a" },
                { "http://h", "a b/c?d#e", "http://h/a%20b/c%3Fd%23e" },
                { "http://h", "%2F", "http://h/%252F" },
                { "http://h", "A-z_0.9~", "http://h/A-z_0.9~" },
                { "http://h", "\xc3\xa4+&=:@", "http://h/%C3%A4%2B%26%3D%3A%40" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *url = http_join(cases[i].base, cases[i].path);

                assert_string_equal(url, cases[i].url);
        }
}

static void a_pipe_is_no_file(void **state) {
        _cleanup_free_ char *folder = NULL, *pipe = NULL, *url = NULL;
        _cleanup_(http_client_freep) HttpClient *h = NULL;
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error e = {};

        assert_true(io_temporary_folder("test", &folder, NULL) >= 0);
        pipe = path_join(folder, "timestamp.json");
        url = xasprintf("file://%s", pipe);
        assert_int_equal(mkfifo(pipe, 0644), 0);
        assert_int_equal(http_client_new(&(HttpOptions){ .stall_seconds = 1 }, &h, NULL), 0);
        /* Nobody writes into it: this would not end. */
        if (http_get(h, url, 100, NULL, &b, NULL, &e) < 0)
                assert_int_equal(e.id, REFUSAL_DOWNLOAD);
        assert_int_equal(b.size, 0);
        assert_true(io_remove_tree(AT_FDCWD, folder, NULL) >= 0);
}

static void a_file_address_is_a_path(void **state) {
        static const struct {
                const char *url, *path;
        } cases[] = {
                { "file:///mnt", "/mnt" },        { "file:///run/media/my%20stick/%e4", "/run/media/my stick/\xe4" },
                { "file:///a%2", "/a%2" },        { "file:///a%zz%00", "/a%zz%00" },
                { "https://example.org/", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *path = http_file_path(cases[i].url);

                assert_true(streq_ptr(path, cases[i].path));
        }
}

/* ---- nginx ----------------------------------------------------------------------------------------------- */

typedef struct Nginx {
        Fixture *f;
        char *plain, *secure, *certificate;
        pid_t pid;
} Nginx;

static void nginx_stop(Nginx *n) {
        if (n->pid > 0) {
                kill(n->pid, SIGTERM);
                waitpid(n->pid, NULL, 0);
        }
        free(n->plain);
        free(n->secure);
        free(n->certificate);
        fixture_free(n->f);
}

static void write_in(const Fixture *f, const char *name, const char *text) {
        _cleanup_free_ char *path = path_join(f->folder, name);

        assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
}

static char *nginx_configuration(const Nginx *n, unsigned plain, unsigned secure) {
        const char *d = n->f->folder;

        return xasprintf("daemon off; master_process off; pid %s/pid; error_log %s/error.log;\n"
                         "events {}\n"
                         "http { access_log off; client_body_temp_path %s/t1; proxy_temp_path %s/t2;\n"
                         "fastcgi_temp_path %s/t3; uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
                         "server { listen 127.0.0.1:%u; listen 127.0.0.1:%u ssl; root %s/www;\n"
                         "ssl_certificate %s/key.crt; ssl_certificate_key %s/key.key;\n"
                         "location = /count { return 200 \"$connection_requests\"; }\n"
                         "location = /down { return 302 http://127.0.0.1:%u/file; }\n"
                         "location = /up { return 302 https://127.0.0.1:%u/file; }\n"
                         "location = /same { return 302 /file; } } }\n",
                         d, d, d, d, d, d, d, plain, secure, d, d, d, plain, secure);
}

static void make_certificate(const Nginx *n) {
        _cleanup_free_ char *key = path_join(n->f->folder, "key.key");
        _cleanup_error_ Error e = {};
        const char *const argv[] = { "openssl",
                                     "req",
                                     "-x509",
                                     "-newkey",
                                     "ec",
                                     "-pkeyopt",
                                     "ec_paramgen_curve:P-256",
                                     "-nodes",
                                     "-subj",
                                     "/CN=test",
                                     "-addext",
                                     "subjectAltName=IP:127.0.0.1",
                                     "-keyout",
                                     key,
                                     "-out",
                                     n->certificate,
                                     NULL };
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                int null = open("/dev/null", O_RDWR | O_CLOEXEC);

                dup2(null, STDERR_FILENO);
                execvp(argv[0], (char *const *) argv);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

static bool answers(Fixture *f, const char *url) {
        for (int i = 0; i < 100; i++) {
                if (get_url(f, url, 100, NULL) >= 0)
                        return true;
                usleep(50000);
        }
        return false;
}

static void nginx_start(Nginx *n) {
        _cleanup_free_ char *configuration = NULL, *path = NULL, *www = NULL, *probe = NULL;
        unsigned plain = http_server_free_port(), secure = http_server_free_port();

        n->f = fixture_new();
        n->certificate = path_join(n->f->folder, "key.crt");
        make_certificate(n);
        www = path_join(n->f->folder, "www");
        assert_int_equal(io_mkdir_parents(AT_FDCWD, www, 0755, NULL), 0);
        write_in(n->f, "www/file", "0123456789");
        configuration = nginx_configuration(n, plain, secure);
        write_in(n->f, "nginx.conf", configuration);
        path = path_join(n->f->folder, "nginx.conf");
        n->pid = fork();
        if (n->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                execl(NGINX, "nginx", "-c", path, "-e", "/dev/null", NULL);
                _exit(127);
        }
        n->plain = xasprintf("http://127.0.0.1:%u", plain);
        n->secure = xasprintf("https://127.0.0.1:%u", secure);
        probe = http_join(n->plain, "count");
        if (!answers(n->f, probe))
                fail_msg("nginx does not answer: %s", n->f->error.message);
}

static void need_nginx(void) {
        if (access(NGINX, X_OK) < 0)
                skip();
}

static int nginx_get(Nginx *n, const char *base, const char *path, const char *etag) {
        _cleanup_free_ char *url = http_join(base, path);

        return get_url(n->f, url, 100, etag);
}

static void real_server_answers_conditions_and_ranges(void **state) {
        _cleanup_(nginx_stop) Nginx n = {};
        _cleanup_free_ char *etag = NULL, *url = NULL;

        need_nginx();
        nginx_start(&n);
        assert_int_equal(nginx_get(&n, n.plain, "file", NULL), HTTP_OK);
        assert_string_equal(n.f->body.data, "0123456789");
        etag = TAKE_PTR(n.f->etag);
        assert_non_null(etag);
        assert_int_equal(nginx_get(&n, n.plain, "file", etag), HTTP_NOT_MODIFIED);
        write_in(n.f, "www/file", "0123456789ABCDEF");
        assert_int_equal(nginx_get(&n, n.plain, "file", etag), HTTP_OK);
        assert_int_equal(nginx_get(&n, n.plain, "none", NULL), HTTP_NOT_FOUND);
        url = http_join(n.plain, "file");
        assert_int_equal(stream_url(n.f, url, 10, 4, 0), 0);
        assert_string_equal(n.f->body.data, "ABCD");
        must_be_refused(n.f, stream_url(n.f, url, 100, 4, 0), REFUSAL_DOWNLOAD);
}

static void requests_share_a_connection(void **state) {
        _cleanup_(nginx_stop) Nginx n = {};
        uint64_t before, after;

        need_nginx();
        nginx_start(&n);
        assert_int_equal(nginx_get(&n, n.plain, "count", NULL), HTTP_OK);
        assert_true(parse_u64(n.f->body.data, &before));
        assert_int_equal(nginx_get(&n, n.plain, "none", NULL), HTTP_NOT_FOUND); /* this one must not end it */
        assert_int_equal(nginx_get(&n, n.plain, "count", NULL), HTTP_OK);
        assert_true(parse_u64(n.f->body.data, &after));
        assert_int_equal(after, before + 2);
}

static void secure_server_needs_a_known_certificate(void **state) {
        _cleanup_(nginx_stop) Nginx n = {};

        need_nginx();
        nginx_start(&n);
        must_be_refused(n.f, nginx_get(&n, n.secure, "file", NULL), REFUSAL_DOWNLOAD);
        http_client_free(TAKE_PTR(n.f->http));
        assert_int_equal(http_client_new(&(HttpOptions){ .ca_file = n.certificate }, &n.f->http, NULL), 0);
        assert_int_equal(nginx_get(&n, n.secure, "file", NULL), HTTP_OK);
        assert_int_equal(nginx_get(&n, n.secure, "same", NULL), HTTP_OK);
        assert_int_equal(nginx_get(&n, n.plain, "up", NULL), HTTP_OK);
        assert_int_equal(nginx_get(&n, n.plain, "down", NULL), HTTP_OK);
        must_be_refused(n.f, nginx_get(&n, n.secure, "down", NULL), REFUSAL_DOWNLOAD);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_file_address_is_a_path),
                cmocka_unit_test(a_pipe_is_no_file),
                cmocka_unit_test(document_is_read_whole),
                cmocka_unit_test(condition_is_honoured),
                cmocka_unit_test(stored_etag_cannot_add_headers),
                cmocka_unit_test(missing_documents_are_an_outcome),
                cmocka_unit_test(other_answers_are_refused),
                cmocka_unit_test(too_much_is_refused_before_it_is_read),
                cmocka_unit_test(cut_documents_are_refused),
                cmocka_unit_test(endless_headers_are_refused),
                cmocka_unit_test(silent_servers_are_given_up),
                cmocka_unit_test(dawdling_servers_are_given_up),
                cmocka_unit_test(nobody_there),
                cmocka_unit_test(redirects_are_followed_to_web_servers_only),
                cmocka_unit_test(redirects_end),
                cmocka_unit_test(other_schemes_are_refused),
                cmocka_unit_test(files_are_read_by_the_same_rules),
                cmocka_unit_test(ranges_are_streamed),
                cmocka_unit_test(server_without_ranges_is_read_from_the_start),
                cmocka_unit_test(wrong_ranges_are_refused),
                cmocka_unit_test(error_of_the_sink_comes_back),
                cmocka_unit_test(rate_is_limited),
                cmocka_unit_test(statistics_count_what_went_over_the_line),
                cmocka_unit_test(addresses_are_joined_and_encoded),
                cmocka_unit_test(real_server_answers_conditions_and_ranges),
                cmocka_unit_test(requests_share_a_connection),
                cmocka_unit_test(secure_server_needs_a_known_certificate),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
