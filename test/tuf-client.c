/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* common/trust/tuf-client.h with the command line that TUF's conformance suite expects of a client under test:
 *
 *     tuf-client --metadata-dir DIR init ROOT
 *     tuf-client --metadata-dir DIR --metadata-url URL refresh
 *     tuf-client --metadata-dir DIR --metadata-url URL --target-name NAME --target-base-url URL --target-dir DIR
 * download
 *
 * --target-name may be repeated; one client handles them in order. Exit status 0 or 1. */

#include <getopt.h>
#include <time.h>

#include "http.h"
#include "io.h"
#include "log.h"
#include "tuf-client.h"

/* What the program's memory has to hold; the suite's files are small. */
#define TARGET_MAX (UINT64_C(64) << 20)
/* Names of files may be shorter than paths of targets. */
#define FILE_NAME_MAX 200

typedef struct Options {
        const char *metadata_dir, *metadata_url, *target_base_url, *target_dir;
        char **target_names;
        const char *verb, *root;
} Options;

static void options_done(Options *o) {
        strv_free(o->target_names);
}

typedef struct Server {
        HttpClient *http;
        const char *url;
} Server;

static int fetch(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret, Error *reterr) {
        const Server *s = userdata;
        size_t n = strlen(s->url);
        /* Names are encoded already; each percent sign stays what it is. */
        _cleanup_free_ char *url = xasprintf("%s%s%s", s->url, n > 0 && s->url[n - 1] == '/' ? "" : "/", name);
        int r = http_get(s->http, url, max_size, NULL, ret, NULL, reterr);

        return r == HTTP_NOT_FOUND ? TUF_NOT_THERE : r;
}

static char *file_name_of(const char *target) {
        _cleanup_free_ char *encoded = tuf_role_file_name(target);
        Sha256 hash;

        encoded[strlen(encoded) - strlen(".json")] = 0;
        if (strlen(encoded) <= FILE_NAME_MAX)
                return TAKE_PTR(encoded);
        sha256_buffer(target, strlen(target), &hash);
        return sha256_hex(&hash);
}

static bool is_there_already(int dir_fd, const char *file, const TufTarget *t) {
        _cleanup_free_ char *data = NULL;
        size_t size;

        if (io_read_file(dir_fd, file, TARGET_MAX, &data, &size, NULL) < 0)
                return false;
        return size == t->length && tuf_check_hashes(&t->hashes, data, size, t->path, NULL) >= 0;
}

/* 5.7 Fetch target. */
static int download_one(const Options *o, TufClient *c, HttpClient *http, int dir_fd, const char *name, Error *reterr) {
        _cleanup_free_ char *location = NULL, *url = NULL, *file = file_name_of(name);
        _cleanup_buffer_ Buffer data = {};
        const TufTarget *t;
        int r = tuf_client_find_target(c, name, &t, reterr);

        if (r < 0)
                return r;
        if (r > 0)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "the repository has no target \"%s\"", name);
        if (is_there_already(dir_fd, file, t))
                return 0;
        if (t->length > TARGET_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: %" PRIu64 " bytes", name, t->length);
        location = tuf_client_target_location(c, t);
        url = http_join(o->target_base_url, location);
        r = http_get(http, url, t->length, NULL, &data, NULL, reterr);
        if (r < 0)
                return r;
        if (r != HTTP_OK)
                return error_set(reterr, ENOENT, REFUSAL_DOWNLOAD, "%s is not there", url);
        if (data.size != t->length)
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s has %zu bytes, not %" PRIu64, url,
                                 data.size, t->length);
        r = tuf_check_hashes(&t->hashes, data.data, data.size, name, reterr);
        if (r >= 0)
                r = io_replace_file(dir_fd, file, data.data, data.size, 0644, reterr);
        return r;
}

static int open_folder(const char *path, int *ret, Error *reterr) {
        int fd;

        if (!path)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "a folder is not given on the command line");
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        *ret = fd;
        return 0;
}

static int do_init(const Options *o, TufClient *c, Error *reterr) {
        _cleanup_free_ char *root = NULL;
        size_t size;
        int r;

        if (!o->root)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "init: the trusted root is missing");
        r = io_read_file(AT_FDCWD, o->root, TUF_ROOT_MAX, &root, &size, reterr);
        if (r < 0)
                return r;
        return tuf_client_init(c, root, size, reterr);
}

static int do_download(const Options *o, TufClient *c, HttpClient *http, Error *reterr) {
        _cleanup_close_ int dir_fd = -EBADF;
        int r;

        if (!o->target_names || !o->target_base_url)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "download: --target-name and --target-base-url");
        r = open_folder(o->target_dir, &dir_fd, reterr);
        if (r >= 0)
                r = tuf_client_refresh(c, NULL, reterr);
        STRV_FOREACH (name, o->target_names)
                if (r >= 0)
                        r = download_one(o, c, http, dir_fd, *name, reterr);
        return r;
}

static int run(const Options *o, Error *reterr) {
        _cleanup_(http_client_freep) HttpClient *http = NULL;
        _cleanup_(tuf_client_freep) TufClient *c = NULL;
        _cleanup_close_ int dir_fd = -EBADF;
        TufFolder folder;
        Server server;
        int r = open_folder(o->metadata_dir, &dir_fd, reterr);

        if (r >= 0)
                r = http_client_new(NULL, &http, reterr);
        if (r < 0)
                return r;
        folder = (TufFolder){ .dir_fd = dir_fd };
        server = (Server){ .http = http, .url = o->metadata_url };
        c = tuf_client_new((TufTransport){ .fetch = fetch, .userdata = &server }, tuf_storage_folder(&folder),
                           (int64_t) time(NULL));
        if (streq(o->verb, "init"))
                return do_init(o, c, reterr);
        if (!o->metadata_url)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--metadata-url is missing");
        if (streq(o->verb, "refresh"))
                return tuf_client_refresh(c, NULL, reterr);
        if (streq(o->verb, "download"))
                return do_download(o, c, http, reterr);
        return error_set(reterr, EINVAL, REFUSAL_USAGE, "no such command: %s", o->verb);
}

int main(int argc, char **argv) {
        static const struct option known[] = {
                { "metadata-dir", required_argument, NULL, 'm' },
                { "metadata-url", required_argument, NULL, 'u' },
                { "target-name", required_argument, NULL, 'n' },
                { "target-base-url", required_argument, NULL, 'b' },
                { "target-dir", required_argument, NULL, 't' },
                { "debug", no_argument, NULL, 'd' },
                {},
        };
        _cleanup_(options_done) Options o = {};
        _cleanup_error_ Error e = {};
        int option;

        while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
                switch (option) {
                case 'm':
                        o.metadata_dir = optarg;
                        break;
                case 'u':
                        o.metadata_url = optarg;
                        break;
                case 'n':
                        strv_extend(&o.target_names, optarg);
                        break;
                case 'b':
                        o.target_base_url = optarg;
                        break;
                case 't':
                        o.target_dir = optarg;
                        break;
                case 'd':
                        log_set_level(LOG_LEVEL_DEBUG);
                        break;
                default:
                        return 1;
                }
        }
        o.verb = optind < argc ? argv[optind] : "";
        o.root = optind + 1 < argc ? argv[optind + 1] : NULL;
        if (run(&o, &e) < 0) {
                fprintf(stderr, "tuf-client: %s (%s)\n", e.message, refusal_name(e.id));
                return 1;
        }
        return 0;
}
