/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>

#include "io.h"
#include "json.h"
#include "log.h"
#include "s3.h"

#define PART_SIZE ((uint64_t) 8 << 20)
#define PARTS_MAX 10000U /* the protocol's */
#define STATE_SIZE_MAX ((size_t) 4 << 20)
#define STALE_SECONDS (7 * 86400)

typedef struct Part {
        char *etag;
        Sha256 sha256;
} Part;

typedef struct Upload {
        S3 *s3;
        const char *name; /* borrowed */
        int fd;
        uint64_t size, part_size;
        char *folder, *file; /* of what is remembered; NULL: this user has no place for it */
        char *id;            /* NULL: not begun */
        Part *parts;         /* finished ones, from the first on */
        size_t n_parts, n_allocated;
} Upload;

static void forget_parts(Upload *u) {
        for (size_t i = 0; i < u->n_parts; i++)
                free(u->parts[i].etag);
        u->n_parts = 0;
        free(u->id);
        u->id = NULL;
}

static void upload_done(Upload *u) {
        forget_parts(u);
        free(u->parts);
        free(u->folder);
        free(u->file);
}

/* ---- what is remembered --------------------------------------------------------------------------------------------
 */

static char *state_folder(void) {
        const char *s;

        if (!isempty(s = getenv("XDG_STATE_HOME")))
                return path_join(s, "sealab/uploads");
        if (!isempty(s = getenv("HOME")))
                return path_join(s, ".local/state/sealab/uploads");
        return NULL;
}

static char *place_of(const S3 *s) {
        return xasprintf("%s/%s/%s", s->endpoint, s->bucket, s->prefix);
}

static char *state_name(const S3 *s, const char *name, uint64_t size) {
        _cleanup_free_ char *place = place_of(s), *number = xasprintf("%" PRIu64, size), *hex = NULL;
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Sha256 digest;

        hasher_update_string(h, place);
        hasher_update_string(h, name);
        hasher_update_string(h, number);
        hasher_final(h, &digest);
        hex = sha256_hex(&digest);
        return xasprintf("%s.json", hex);
}

/* Losing it costs time, not correctness: failures are worth a line for who debugs. */
static void remember(const Upload *u) {
        _cleanup_free_ char *place = place_of(u->s3), *text = NULL;
        _cleanup_json_ json_t *o = json_object(), *parts = json_array();
        _cleanup_error_ Error e = {};
        int r;

        if (!u->file)
                return;
        for (size_t i = 0; i < u->n_parts; i++) {
                _cleanup_free_ char *hex = sha256_hex(&u->parts[i].sha256);

                json_array_append_new(parts, json_pack("{ss,ss}", "etag", u->parts[i].etag, "sha256", hex));
        }
        json_object_set_new(o, "place", json_string(place));
        json_object_set_new(o, "name", json_string(u->name));
        json_object_set_new(o, "size", json_integer((json_int_t) u->size));
        json_object_set_new(o, "part-size", json_integer((json_int_t) u->part_size));
        json_object_set_new(o, "upload", json_string(u->id));
        json_object_set(o, "parts", parts);
        text = json_format(o, false);
        r = io_mkdir_parents(AT_FDCWD, u->folder, 0700, &e);
        if (r >= 0)
                r = io_replace_file(AT_FDCWD, u->file, text, strlen(text), 0600, &e);
        if (r < 0)
                log_debug("the upload of %s cannot be remembered: %s", u->name, e.message);
}

static void forget(Upload *u) {
        forget_parts(u);
        if (u->file)
                (void) io_unlink(AT_FDCWD, u->file, NULL);
}

static int take_part(const json_t *item, Part *ret, Error *reterr) {
        JsonReader r = json_reader(item, "part", reterr);
        _cleanup_free_ char *etag = NULL, *hex = NULL;
        int result;

        json_take_string(&r, "etag", false, &etag);
        json_take_string(&r, "sha256", false, &hex);
        result = json_reader_end(&r);
        if (result < 0)
                return result;
        if (!sha256_from_hex(hex, &ret->sha256))
                return error_set(reterr, EINVAL, REFUSAL_BAD_FORMAT, "no digest");
        ret->etag = TAKE_PTR(etag);
        return 0;
}

/* Reads a remembered upload; u has what it must belong to, or, for name NULL, only its place. */
static int read_state(Upload *u, const char *path, Error *reterr) {
        _cleanup_free_ char *mine = place_of(u->s3), *place = NULL, *name = NULL, *id = NULL;
        uint64_t size = 0, part_size = 0;
        _cleanup_json_ json_t *o = NULL;
        const json_t *parts = NULL, *item;
        JsonReader reader;
        size_t i;
        int r;

        r = json_read_file(AT_FDCWD, path, STATE_SIZE_MAX, &o, reterr);
        if (r < 0)
                return r;
        reader = json_reader(o, path, reterr);
        json_take_string(&reader, "place", false, &place);
        json_take_string(&reader, "name", false, &name);
        json_take_u64(&reader, "size", false, INT64_MAX, &size);
        json_take_u64(&reader, "part-size", false, INT64_MAX, &part_size);
        json_take_string(&reader, "upload", false, &id);
        json_take_array(&reader, "parts", false, PARTS_MAX, &parts);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (!streq(place, mine) || (u->name && (!streq(name, u->name) || size != u->size || part_size != u->part_size)))
                return error_set(reterr, ESTALE, REFUSAL_STALE, "%s belongs to another upload", path);
        json_array_foreach ((json_t *) parts, i, item) {
                GROW(u->parts, u->n_parts, u->n_allocated);
                r = take_part(item, &u->parts[u->n_parts], reterr);
                if (r < 0)
                        return r;
                u->n_parts++;
        }
        u->id = TAKE_PTR(id);
        if (!u->name)
                u->name = TAKE_PTR(name);
        return 0;
}

/* ---- the protocol --------------------------------------------------------------------------------------------------
 */

static char *id_query(const Upload *u, unsigned part) {
        _cleanup_free_ char *id = s3_encode(u->id, false);

        return part > 0 ? xasprintf("partNumber=%u&uploadId=%s", part, id) : xasprintf("uploadId=%s", id);
}

/* What the server keeps of it costs money until it is told. */
static void abort_upload(Upload *u) {
        _cleanup_s3_response_ S3Response response = {};
        _cleanup_free_ char *query = id_query(u, 0);
        const S3Request q = { .method = "DELETE", .name = u->name, .query = query };
        _cleanup_error_ Error e = {};

        if (s3_request(u->s3, &q, &response, &e) < 0)
                log_debug("an unfinished upload stays at the server: %s", e.message);
}

static void on_begun(const char *path, const char *text, void *userdata) {
        char **id = userdata;

        if (!*id && streq(path, "InitiateMultipartUploadResult/UploadId"))
                *id = xstrdup(text);
}

static int begin(Upload *u, const char *const headers[2], Error *reterr) {
        const S3Request q = {
                .method = "POST", .name = u->name, .query = "uploads=", .headers = { headers[0], headers[1] }
        };
        _cleanup_s3_response_ S3Response response = {};
        int r;

        r = s3_request(u->s3, &q, &response, reterr);
        if (r != S3_OK)
                return r < 0 ? r : s3_error(u->s3, &q, &response, reterr);
        r = s3_xml_parse(response.body.data ?: "", response.body.size, on_begun, &u->id, reterr);
        if (r >= 0 && isempty(u->id))
                r = error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the server begins an upload without naming it");
        if (r < 0)
                return error_prefix(reterr, "%s", u->name);
        remember(u);
        return 0;
}

/* 1: the server no longer knows the upload. */
static int send_part(Upload *u, size_t index, uint64_t offset, uint64_t n, const Sha256 *sha256, Progress *progress,
                     Error *reterr) {
        _cleanup_free_ char *query = id_query(u, (unsigned) index + 1);
        const S3Request q = { .method = "PUT",
                              .name = u->name,
                              .query = query,
                              .fd = u->fd,
                              .offset = offset,
                              .size = n,
                              .sha256 = sha256,
                              .progress = progress };
        _cleanup_s3_response_ S3Response response = {};
        int r;

        r = s3_request(u->s3, &q, &response, reterr);
        if (r == S3_NOT_FOUND)
                return 1;
        if (r != S3_OK)
                return r < 0 ? r : s3_error(u->s3, &q, &response, reterr);
        if (isempty(response.etag))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: the server takes a part without an ETag",
                                 u->name);
        GROW(u->parts, u->n_parts, u->n_allocated);
        u->parts[u->n_parts++] = (Part){ .etag = TAKE_PTR(response.etag), .sha256 = *sha256 };
        remember(u);
        return 0;
}

/* 1: begin anew: the server does not have what it said it had. */
static int complete(Upload *u, Error *reterr) {
        _cleanup_free_ char *query = id_query(u, 0);
        _cleanup_s3_response_ S3Response response = {}, head = {};
        _cleanup_buffer_ Buffer b = {};
        S3Request q = {
                .method = "POST", .name = u->name, .query = query, .headers = { "Content-Type: application/xml" }
        };
        const S3Request look = { .method = "HEAD", .name = u->name };
        _cleanup_error_ Error e = {};
        bool lost;
        int r;

        buffer_puts(&b, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for (size_t i = 0; i < u->n_parts; i++) {
                buffer_printf(&b, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
                s3_xml_append(&b, u->parts[i].etag);
                buffer_puts(&b, "</ETag></Part>");
        }
        buffer_puts(&b, "</CompleteMultipartUpload>");
        q.data = b.data;
        q.size = b.size;
        r = s3_request(u->s3, &q, &response, &e);
        if (r == S3_OK)
                return 0;
        lost = r == S3_NOT_FOUND ||
               (response.code && (streq(response.code, "InvalidPart") || streq(response.code, "NoSuchUpload")));
        /* Was it finished by a request whose answer got lost? Servers say different things to its repetition. */
        if (s3_request(u->s3, &look, &head, NULL) == S3_OK && head.size == u->size)
                return 0;
        if (lost)
                return 1;
        if (r < 0)
                return error_move(reterr, &e);
        return s3_error(u->s3, &q, &response, reterr);
}

/* ---- all of it -----------------------------------------------------------------------------------------------------
 */

/* 1: the server has forgotten the upload. */
static int send_parts(Upload *u, S3BeforePart before_part, void *userdata, Progress *progress, Error *reterr) {
        size_t done = u->n_parts;

        for (size_t i = 0;; i++) {
                uint64_t offset = i * u->part_size, n;
                Sha256 sha256;
                int r;

                if (offset >= u->size)
                        return 0;
                n = MIN(u->size - offset, u->part_size);
                r = sha256_fd(u->fd, offset, n, &sha256, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", u->name);
                if (i < done) {
                        /* Sent by an earlier run: the same bytes? */
                        if (!sha256_equal(&sha256, &u->parts[i].sha256))
                                return 1;
                        progress_advance(progress, n);
                        continue;
                }
                if (before_part)
                        r = before_part(userdata, reterr);
                if (r >= 0)
                        r = send_part(u, i, offset, n, &sha256, progress, reterr);
                if (r != 0)
                        return r;
        }
}

static int start(Upload *u, Error *reterr) {
        _cleanup_free_ char *file = NULL;
        _cleanup_error_ Error e = {};
        uint64_t least;

        /* Whole mebibytes, so few that the protocol takes them. */
        least = (u->size / PARTS_MAX + ((uint64_t) 1 << 20)) >> 20 << 20;
        u->part_size = MAX(least, PART_SIZE);
        u->folder = state_folder();
        if (!u->folder)
                return 0;
        file = state_name(u->s3, u->name, u->size);
        u->file = path_join(u->folder, file);
        if (!io_exists(AT_FDCWD, u->file))
                return 0;
        if (read_state(u, u->file, &e) < 0) {
                log_debug("%s", e.message);
                forget(u);
        } else
                log_debug("%s: goes on behind %zu parts", u->name, u->n_parts);
        return 0;
}

int s3_upload(S3 *s, const char *name, int fd, uint64_t size, const char *const headers[2], S3BeforePart before_part,
              void *userdata, Progress *progress, Error *reterr) {
        _cleanup_(upload_done) Upload u = { .s3 = s, .name = name, .fd = fd, .size = size };
        int r;

        r = start(&u, reterr);
        for (unsigned try = 1; r >= 0; try++) {
                if (!u.id)
                        r = begin(&u, headers, reterr);
                if (r >= 0)
                        r = send_parts(&u, before_part, userdata, progress, reterr);
                if (r == 0)
                        r = complete(&u, reterr);
                if (r <= 0)
                        break;
                abort_upload(&u);
                forget(&u);
                if (try == S3_TRIES)
                        return error_set(reterr, EIO, REFUSAL_DOWNLOAD, "%s: the server loses parts of the upload",
                                         name);
        }
        if (r < 0)
                return r;
        forget(&u);
        return 0;
}

static void closedirp(DIR **d) {
        if (*d)
                closedir(*d);
}

void s3_upload_abort_stale(S3 *s) {
        _cleanup_free_ char *folder = state_folder();
        _cleanup_(closedirp) DIR *d = folder ? opendir(folder) : NULL;
        struct dirent *entry;

        while (d && (entry = readdir(d))) {
                _cleanup_(upload_done) Upload u = { .s3 = s };
                _cleanup_free_ char *name = NULL;
                struct stat st;

                if (*entry->d_name == '.' || fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    !S_ISREG(st.st_mode) || time(NULL) - st.st_mtim.tv_sec < STALE_SECONDS)
                        continue;
                u.file = path_join(folder, entry->d_name);
                /* Of another place, or unreadable: whoever publishes there clears it. */
                if (read_state(&u, u.file, NULL) < 0)
                        continue;
                name = (char *) u.name;
                abort_upload(&u);
                forget(&u);
        }
}
