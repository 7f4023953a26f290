/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <endian.h>
#include <sys/stat.h>
#include <time.h>

#include "download.h"
#include "io.h"
#include "log.h"

/* Attempts in a row that bring nothing, over all repositories. */
#define ATTEMPTS_MAX 5
/* Attempts in a row that bring nothing, before what came earlier is given up: perhaps the servers know no ranges. */
#define FRUITLESS_MAX 3
#define STALL_SECONDS 30
/* Less than this is not getting on. */
#define PROGRESS_MIN ((uint64_t) 64 << 10)
#define READ_SIZE ((size_t) 64 << 10)

RemoteFile remote_artifact(const Offer *offer, ArtifactKind kind) {
        return (RemoteFile){ .target = offer->description->artifacts[kind].target,
                             .size = offer->download[kind],
                             .sha256 = offer->target_sha256[kind] };
}

RemoteFile remote_delta(const Offer *offer, size_t delta) {
        return (RemoteFile){ .target = offer->description->deltas[delta].target,
                             .size = offer->delta_download[delta],
                             .sha256 = offer->delta_sha256[delta] };
}

Document document_of_artifact(const Offer *offer, ArtifactKind kind) {
        const Artifact *a = &offer->description->artifacts[kind];

        return (Document){ .file = remote_artifact(offer, kind),
                           .size = offer->download[kind],
                           .sha256 = a->sha256,
                           .what = a->target };
}

int64_t download_clock(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* "targets/PRODUCT/VERSION/HASH.NAME": consistent snapshots, always. */
static char *target_url(const Download *d) {
        _cleanup_free_ char *folder = path_dirname(d->file.target), *hex = sha256_hex(&d->file.sha256),
                            *name = xasprintf("targets/%s/%s.%s", folder, hex, path_basename(d->file.target));

        return http_join(d->options->repositories[d->repository], name);
}

int download_new(const FetchOptions *opt, const RemoteFile *file, uint64_t total, Download *ret, Error *reterr) {
        size_t n = strv_length(opt->repositories);

        if (n == 0)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no repository is configured");
        *ret = (Download){ .options = opt, .file = *file, .total = total, .repository = opt->first % n };
        return 0;
}

int download_start(Download *d, const FrameIndex *index, Worker **ret, Error *reterr) {
        _cleanup_strv_free_ char **readable = fetch_readable_folders(d->options);
        _cleanup_free_ char *url = target_url(d);
        WorkerOptions options = { .network = true, .readable = readable };
        PullJob job = { .options = d->options, .url = url, .size = d->file.size, .index = index };

        patience_attempt(&d->patience, download_clock());
        return worker_start(&options, fetch_pull_body, &job, ret, reterr);
}

int download_ask(Worker *w, uint64_t begin, uint64_t count, Error *reterr) {
        PullRange range = { .begin = htole64(begin), .count = htole64(count) };

        return worker_send(w, 'R', &range, sizeof range, reterr);
}

int download_count(Download *d, uint64_t bytes, bool final, Error *reterr) {
        d->downloaded += bytes;
        if (final) {
                d->kept += bytes;
                d->moved = download_clock();
        }
        if (d->progress)
                d->progress(d->downloaded, d->total, d->userdata);
        return patience_check(&d->patience, bytes, download_clock(), reterr);
}

static unsigned stall_seconds(const Download *d) {
        return d->options->http.stall_seconds ?: STALL_SECONDS;
}

/* Before everything begins again at the first repository: longer each time, a tenth of the stall limit to begin with.
 */
static void wait_a_little(const Download *d) {
        int64_t msec = (int64_t) stall_seconds(d) * 50 << MIN(d->failures, 4U);

        (void) nanosleep(&(struct timespec){ .tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000 }, NULL);
}

/* Where attempts end because servers stall, two are all that there is time for, unless there are repositories still to
 * be asked. No progress is enough for a file that takes too long as a whole (patience.h). */
int download_persist(Download *d, int (*attempt)(Download *d, void *userdata, Error *reterr), void *userdata,
                     Error *reterr) {
        size_t n = strv_length(d->options->repositories);

        d->moved = download_clock();
        d->patience = patience_new(d->total, stall_seconds(d), d->options->http.rate_limit, n, d->moved);
        d->failures = 0;
        for (;;) {
                uint64_t before = d->kept;
                _cleanup_error_ Error e = {};
                int r = attempt(d, userdata, &e);

                if (r >= 0) {
                        /* Whoever gave the last file is asked first. */
                        if (d->options->answered)
                                *d->options->answered = d->repository;
                        return 0;
                }
                /* What this machine cannot do will not be better elsewhere. */
                if (d->machine_failed || e.id == REFUSAL_NO_SPACE || e.id == REFUSAL_CANCELLED ||
                    e.id == REFUSAL_PATH_ESCAPE)
                        return error_move(reterr, &e);
                d->failures = d->kept > before ? 1 : d->failures + 1;
                if (d->patience.over || d->failures >= ATTEMPTS_MAX ||
                    (d->failures >= MAX(n, 2U) && download_clock() - d->moved >= (int64_t) stall_seconds(d) * 2000))
                        return error_move(reterr, &e);
                log_warning("%s; trying again", e.message);
                d->repository = (d->repository + 1) % n;
                if (d->repository == d->options->first % n)
                        wait_a_little(d);
        }
}

/* ---- into a file ---- */

typedef struct Into {
        const Document *doc;
        const FetchSink *sink; /* for progress; may be NULL */
        int fd;
        uint64_t at; /* bytes that are there */
} Into;

static int receive_rest(Download *d, Into *into, Worker *w, Error *reterr) {
        _cleanup_buffer_ Buffer message = {};
        char type = 0;
        int r;

        r = download_ask(w, into->doc->offset + into->at, into->doc->size - into->at, reterr);
        while (r >= 0) {
                r = worker_receive(w, &type, &message, reterr);
                if (r > 0)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker ended early");
                if (r < 0 || type == 'Y')
                        return r;
                if (type != 'B' || message.size > into->doc->size - into->at)
                        return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s is longer than its %" PRIu64 " bytes",
                                         into->doc->what, into->doc->size);
                r = io_pwrite_all(into->fd, message.data, message.size, into->at, reterr);
                d->machine_failed = r < 0;
                if (r < 0)
                        return r;
                into->at += message.size;
                /* What turns out to be wrong in the end and comes once more is no progress. */
                if (into->at >= d->furthest + PROGRESS_MIN) {
                        d->kept += into->at - d->furthest;
                        d->furthest = into->at;
                        d->moved = download_clock();
                }
                r = download_count(d, message.size, false, reterr);
        }
        return r;
}

static int into_attempt(Download *d, void *userdata, Error *reterr) {
        Into *into = userdata;
        _cleanup_(worker_freep) Worker *w = NULL;
        Sha256 digest;
        int r = 0;

        if (d->failures >= FRUITLESS_MAX)
                into->at = 0;
        if (into->at < into->doc->size) {
                r = download_start(d, NULL, &w, reterr);
                if (r >= 0)
                        r = receive_rest(d, into, w, reterr);
        }
        if (r < 0)
                return r;
        if (into->at == into->doc->size)
                r = sha256_fd(into->fd, 0, into->doc->size, &digest, reterr);
        d->machine_failed = r < 0;
        if (r < 0)
                return r;
        if (into->at != into->doc->size || !sha256_equal(&digest, &into->doc->sha256)) {
                into->at = 0;
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not what was signed", into->doc->what);
        }
        return 0;
}

int download_into(const FetchOptions *opt, const Document *doc, int fd, const FetchSink *sink, uint64_t *ret_downloaded,
                  Error *reterr) {
        Into into = { .doc = doc, .sink = sink, .fd = fd };
        struct stat st;
        Download d;
        int r;

        if (ret_downloaded)
                *ret_downloaded = 0;
        if (doc->size == doc->file.size && !sha256_equal(&doc->sha256, &doc->file.sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s was signed with two digests", doc->what);
        if (fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot look at %s", doc->what);
        /* A longer one is not the beginning of this. */
        into.at = (uint64_t) st.st_size <= doc->size ? (uint64_t) st.st_size : 0;
        r = download_new(opt, &doc->file, doc->size - into.at, &d, reterr);
        if (r < 0)
                return r;
        if (sink) {
                d.progress = sink->progress;
                d.userdata = sink->userdata;
        }
        d.furthest = into.at;
        r = download_persist(&d, into_attempt, &into, reterr);
        if (ret_downloaded)
                *ret_downloaded = d.downloaded;
        return r;
}

/* ---- the cache ---- */

int download_cache_open(const FetchOptions *opt, const Sha256 *name, const char *suffix, int *ret_fd, Error *reterr) {
        _cleanup_free_ char *hex = sha256_hex(name), *folder = path_join(opt->state_folder, DOWNLOAD_FOLDER),
                            *file = xasprintf("%s%s", hex, suffix), *path = path_join(folder, file);
        int r, fd;

        r = io_mkdir_parents(AT_FDCWD, folder, 0700, reterr);
        if (r < 0)
                return r;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        *ret_fd = fd;
        return 0;
}

void download_cache_keep(const char *state_folder, const Sha256 *names, size_t n_names) {
        _cleanup_free_ char *path = path_join(state_folder, DOWNLOAD_FOLDER);
        DIR *folder = opendir(path);
        const struct dirent *e;

        while (folder && (e = readdir(folder))) {
                bool keep = false;

                for (size_t i = 0; i < n_names && !keep; i++) {
                        _cleanup_free_ char *hex = sha256_hex(&names[i]);

                        keep = startswith(e->d_name, hex) != NULL;
                }
                if (!keep && e->d_name[0] != '.')
                        (void) io_unlink(dirfd(folder), e->d_name, NULL);
        }
        if (folder)
                closedir(folder);
}

void download_cache_names(const Offer *offer, Sha256 **ret, size_t *ret_n) {
        const ReleaseDescription *d = offer->description;
        Sha256 *names = xnew(Sha256, _ARTIFACT_KIND_MAX + 2 * d->n_deltas);
        size_t n = 0;

        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                if (d->artifacts[k].present)
                        names[n++] = offer->target_sha256[k];
        for (size_t i = 0; i < d->n_deltas; i++) {
                names[n++] = d->deltas[i].head_sha256;
                names[n++] = offer->delta_sha256[i];
        }
        *ret = names;
        *ret_n = n;
}

int download_document(const FetchOptions *opt, const Document *doc, size_t max_size, Buffer *ret,
                      uint64_t *ret_downloaded, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        Sha256 digest;
        int r;

        if (ret_downloaded)
                *ret_downloaded = 0;
        if (doc->size > max_size)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s of %" PRIu64 " bytes is too large", doc->what,
                                 doc->size);
        r = download_cache_open(opt, &doc->sha256, "", &fd, reterr);
        if (r >= 0)
                r = download_into(opt, doc, fd, NULL, ret_downloaded, reterr);
        if (r < 0)
                return r;
        ret->size = 0;
        for (uint64_t at = 0; at < doc->size;) {
                char piece[READ_SIZE];
                size_t n = (size_t) MIN(doc->size - at, (uint64_t) sizeof piece);

                r = io_pread_all(fd, piece, n, at, reterr);
                if (r < 0)
                        return r;
                buffer_append(ret, piece, n);
                at += n;
        }
        sha256_buffer(ret->data, ret->size, &digest);
        if (!sha256_equal(&digest, &doc->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s changes while it is read", doc->what);
        return 0;
}
