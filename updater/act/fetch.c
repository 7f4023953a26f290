/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>
#include <time.h>

#include "fetch-worker.h"
#include "io.h"
#include "log.h"
#include "patience.h"
#include "version.h"
#include "worker.h"

#define METADATA_FOLDER "metadata"
#define INDEX_SIZE_MAX (FRAME_INDEX_HEADER_SIZE + (uint64_t) FRAME_INDEX_FRAMES_MAX * FRAME_INDEX_ENTRY_SIZE)
#define SMALL_ARTIFACT_MAX (UINT64_C(1) << 30)
#define OFFERS_MAX 10000
/* Of one poll: the roots on the way, four roles, the delegations. */
#define STAGED_FILES_MAX 64
#define ETAG_MAX 512
/* Attempts in a row that bring nothing, over all repositories. */
#define ATTEMPTS_MAX 5
#define STALL_SECONDS 30
/* Less than this is not getting on. */
#define PROGRESS_MIN ((uint64_t) 64 << 10)

Catalogue *catalogue_free(Catalogue *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_offers; i++)
                description_free(c->offers[i].description);
        free(c->offers);
        free(c->etag);
        free(c);
        return NULL;
}

/* ---- metadata: staged until it was judged ---- */

typedef struct StagedFile {
        char *name;
        char *data; /* NULL: to be removed */
        size_t size;
} StagedFile;

typedef struct Stage {
        char *folder;
        StagedFile *files;
        size_t n_files, n_allocated;
        Catalogue *catalogue; /* what the judge says */
        bool judging;
        size_t offers_allocated;
} Stage;

static void stage_done(Stage *s) {
        for (size_t i = 0; i < s->n_files; i++) {
                free(s->files[i].name);
                free(s->files[i].data);
        }
        free(s->files);
        free(s->folder);
        catalogue_free(s->catalogue);
}

static void stage_reset(Stage *s) {
        char *folder = TAKE_PTR(s->folder);

        stage_done(s);
        *s = (Stage){ .folder = folder, .catalogue = xnew(Catalogue, 1) };
}

static StagedFile *find_staged(const Stage *s, const char *name) {
        for (size_t i = 0; i < s->n_files; i++)
                if (streq(s->files[i].name, name))
                        return &s->files[i];
        return NULL;
}

static int stage_put(Stage *s, const char *name, const void *data, size_t size, Error *reterr) {
        StagedFile *f = find_staged(s, name);

        if (size > TUF_TARGETS_MAX)
                return error_set(reterr, EMSGSIZE, REFUSAL_TOO_LARGE, "the worker stores %zu bytes as %s", size, name);
        if (!f && s->n_files >= STAGED_FILES_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "the worker stores more than %d files",
                                 STAGED_FILES_MAX);
        if (!f) {
                GROW(s->files, s->n_files, s->n_allocated);
                f = &s->files[s->n_files++];
                *f = (StagedFile){ .name = xstrdup(name) };
        }
        free(f->data);
        f->data = data ? xmemdup(data, MAX(size, 1U)) : NULL;
        f->size = size;
        return 0;
}

/* What a worker calls a file must not lead anywhere else. */
static bool name_is_valid(const char *name) {
        return path_is_clean_relative(name) && !strchr(name, '/') && name[0] != '.' && endswith(name, ".json") &&
               strlen(name) <= 255;
}

static int answer_load(Worker *w, const Stage *s, const char *name, Error *reterr) {
        const StagedFile *f = find_staged(s, name);
        _cleanup_free_ char *path = path_join(s->folder, name), *data = NULL;
        _cleanup_error_ Error e = {};
        size_t size = 0;
        int r;

        if (f)
                return f->data ? worker_send(w, 'D', f->data, f->size, reterr) : worker_send(w, 'N', NULL, 0, reterr);
        r = io_read_file(AT_FDCWD, path, TUF_TARGETS_MAX, &data, &size, &e);
        if (r < 0) {
                if (e.id != REFUSAL_NOT_FOUND)
                        log_warning("%s", e.message);
                return worker_send(w, 'N', NULL, 0, reterr);
        }
        return worker_send(w, 'D', data, size, reterr);
}

static int take_offer(Stage *s, const char *text, size_t size, Error *reterr) {
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_json_ json_t *o = NULL;
        Catalogue *c = s->catalogue;
        Offer offer = {};
        int r;

        r = json_parse(text, size, "offer", &o, reterr);
        if (r >= 0)
                r = description_parse(o, "offer", &d, reterr);
        if (r < 0)
                return r;
        if (c->n_offers >= OFFERS_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "the channel has more than %d releases", OFFERS_MAX);
        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++) {
                const json_t *file = json_object_get(json_object_get(o, "files"), artifact_kind_name(k));
                const char *hex = json_string_value(json_object_get(file, "sha256"));

                if (!d->artifacts[k].present)
                        continue;
                if (!hex || !sha256_from_hex(hex, &offer.target_sha256[k]))
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker says nothing about %s",
                                         d->artifacts[k].target);
                offer.download[k] = (uint64_t) json_integer_value(json_object_get(file, "length"));
        }
        offer.description = TAKE_PTR(d);
        GROW(c->offers, c->n_offers, s->offers_allocated);
        c->offers[c->n_offers++] = offer;
        return 0;
}

static int serve_message(Worker *w, Stage *s, char type, const Buffer *message, Error *reterr) {
        Catalogue *c = s->catalogue;
        HttpStatistics statistics;
        size_t name_size;
        int r;

        /* Only who has no network and judges signatures says what is on offer; it has nothing to tell of the network.
         */
        if (s->judging ? strchr("TC", type) != NULL : type == 'F')
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker said what is not its to say");
        switch (type) {
        case 'L':
        case 'S':
        case 'X':
                name_size = strnlen(message->data, message->size);
                if (!name_is_valid(message->data) || (type == 'S' && name_size + 1 > message->size))
                        return error_set(reterr, EPROTO, REFUSAL_PATH_ESCAPE,
                                         "the worker named a file that cannot be one");
                if (type == 'L')
                        return answer_load(w, s, message->data, reterr);
                r = type == 'S' ? stage_put(s, message->data, message->data + name_size + 1,
                                            message->size - name_size - 1, reterr)
                                : stage_put(s, message->data, NULL, 0, reterr);
                return r < 0 ? r : worker_send(w, 'K', NULL, 0, reterr);
        case 'T':
                if (message->size > ETAG_MAX)
                        return error_set(reterr, EMSGSIZE, REFUSAL_TOO_LARGE, "the worker's ETag is too long");
                free(c->etag);
                c->etag = xstrndup(message->data, message->size);
                return 0;
        case 'C':
                if (message->size == sizeof statistics) {
                        memcpy(&statistics, message->data, sizeof statistics);
                        c->requests += statistics.requests;
                        c->bytes += statistics.bytes_received + statistics.bytes_sent;
                }
                return 0;
        case 'F':
                return take_offer(s, message->data, message->size, reterr);
        default:
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker said something unknown");
        }
}

static int run_worker(Stage *s, const WorkerOptions *options, int (*body)(int, void *, Error *), PollJob *job,
                      Error *reterr) {
        _cleanup_(worker_freep) Worker *w = NULL;
        _cleanup_buffer_ Buffer message = {};
        char type = 0;
        int r;

        r = worker_start(options, body, job, &w, reterr);
        while (r == 0) {
                r = worker_receive(w, &type, &message, reterr);
                if (r == 0)
                        r = serve_message(w, s, type, &message, reterr);
        }
        return r < 0 ? r : 0;
}

static int compare_offers(const void *a, const void *b) {
        return version_compare(((const Offer *) b)->description->version, ((const Offer *) a)->description->version);
}

/* file:// repositories must be readable for the worker, and what TLS needs. */
static char **readable_folders(const FetchOptions *opt) {
        const char *const files[] = { opt->http.ca_file, opt->http.client_certificate, opt->http.client_key };
        char **l = NULL;

        STRV_FOREACH (u, opt->repositories) {
                _cleanup_free_ char *path = http_file_path(*u);

                if (path)
                        strv_extend(&l, path);
        }
        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                if (files[i])
                        strv_extend(&l, files[i]);
        return l;
}

static int read_anchor(const FetchOptions *opt, char **ret, size_t *ret_size, Error *reterr) {
        int r = io_read_file(AT_FDCWD, opt->trust_anchor, TUF_ROOT_MAX, ret, ret_size, reterr);

        if (r < 0) {
                error_prefix(reterr, "the trust anchor");
                return error_hint(reterr, "An image that is to be updated holds the repository's root.json there.");
        }
        return 0;
}

static int judge(const FetchOptions *opt, Stage *s, const char *anchor, size_t anchor_size, Error *reterr) {
        PollJob job = { .options = opt, .anchor = anchor, .anchor_size = anchor_size };

        s->judging = true;
        return run_worker(s, &(WorkerOptions){}, fetch_judge_body, &job, reterr);
}

/* ORDER: as the client stored them, root before what it vouches for. Each is replaced as a whole; a cut between two
 * leaves metadata of which the client makes the best when it loads it. */
static int commit(Stage *s, Error *reterr) {
        int r;

        r = io_mkdir_parents(AT_FDCWD, s->folder, 0700, reterr);
        for (size_t i = 0; r >= 0 && i < s->n_files; i++) {
                const StagedFile *f = &s->files[i];
                _cleanup_free_ char *path = path_join(s->folder, f->name);

                r = f->data ? io_replace_file(AT_FDCWD, path, f->data, f->size, 0644, reterr)
                            : io_unlink(AT_FDCWD, path, reterr);
        }
        return r < 0 ? r : 0;
}

static int poll_one(const FetchOptions *opt, Stage *s, const char *repository, const char *anchor, size_t anchor_size,
                    Error *reterr) {
        _cleanup_strv_free_ char **readable = readable_folders(opt);
        WorkerOptions options = { .network = true, .readable = readable };
        PollJob job = { .options = opt, .repository = repository, .anchor = anchor, .anchor_size = anchor_size };
        int r;

        stage_reset(s);
        r = run_worker(s, &options, fetch_poll_body, &job, reterr);
        if (r >= 0)
                r = judge(opt, s, anchor, anchor_size, reterr);
        return r;
}

int fetch_catalogue(const FetchOptions *opt, Catalogue **ret, Error *reterr) {
        _cleanup_(stage_done) Stage s = { .folder = path_join(opt->state_folder, METADATA_FOLDER) };
        size_t n = strv_length(opt->repositories), anchor_size = 0;
        _cleanup_free_ char *anchor = NULL;
        _cleanup_error_ Error first = {};
        int r;

        if (n == 0) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no repository is configured");
                return error_hint(reterr, "Url= in /etc/sealab/updater.conf names it: sealab-updater.conf(5).");
        }
        r = read_anchor(opt, &anchor, &anchor_size, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                size_t which = (opt->first + i) % n;
                _cleanup_error_ Error e = {};

                r = poll_one(opt, &s, opt->repositories[which], anchor, anchor_size, &e);
                if (r < 0) {
                        log_warning("%s: %s", opt->repositories[which], e.message);
                        /* A stale or broken mirror must not keep a good one from being asked; the first complaint is
                         * the one to tell. */
                        if (first.id == REFUSAL_NONE)
                                error_move(&first, &e);
                        continue;
                }
                r = commit(&s, reterr);
                if (r < 0)
                        return r;
                s.catalogue->repository = which;
                s.catalogue->changed = s.n_files > 0;
                if (s.catalogue->n_offers > 0)
                        qsort(s.catalogue->offers, s.catalogue->n_offers, sizeof(Offer), compare_offers);
                *ret = TAKE_PTR(s.catalogue);
                return 0;
        }
        return error_move(reterr, &first);
}

int fetch_catalogue_stored(const FetchOptions *opt, Catalogue **ret, Error *reterr) {
        _cleanup_(stage_done) Stage s = { .folder = path_join(opt->state_folder, METADATA_FOLDER) };
        _cleanup_free_ char *anchor = NULL;
        size_t anchor_size = 0;
        int r;

        stage_reset(&s);
        r = read_anchor(opt, &anchor, &anchor_size, reterr);
        if (r >= 0)
                r = judge(opt, &s, anchor, anchor_size, reterr);
        if (r < 0)
                return r;
        if (s.catalogue->n_offers > 0)
                qsort(s.catalogue->offers, s.catalogue->n_offers, sizeof(Offer), compare_offers);
        *ret = TAKE_PTR(s.catalogue);
        return 0;
}

/* ---- files ---- */

typedef struct Download {
        const FetchOptions *options;
        const Offer *offer;
        ArtifactKind kind;
        const FetchSink *sink;
        uint64_t downloaded, total;
        uint64_t kept;     /* bytes that need not be asked for again, whatever happens */
        uint64_t furthest; /* of a file as a whole: how far an attempt came */
        int64_t moved;     /* when one of these grew; monotonic, milliseconds */
        Patience patience;
        bool sink_failed;  /* it is this machine that could not go on */
        size_t repository; /* index of the one in use */
} Download;

static int64_t monotonic_msec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* "targets/PRODUCT/VERSION/HASH.NAME": consistent snapshots, always. */
static char *target_url(const Download *d) {
        const char *repository = d->options->repositories[d->repository];
        const char *target = d->offer->description->artifacts[d->kind].target;
        _cleanup_free_ char *folder = path_dirname(target), *hex = sha256_hex(&d->offer->target_sha256[d->kind]),
                            *name = xasprintf("targets/%s/%s.%s", folder, hex, path_basename(target));

        return http_join(repository, name);
}

static int start_pull(Download *d, PullJob *job, char **url, Worker **ret, Error *reterr) {
        _cleanup_strv_free_ char **readable = readable_folders(d->options);
        WorkerOptions options = { .network = true, .readable = readable };

        *url = target_url(d);
        job->url = *url;
        job->options = d->options;
        patience_attempt(&d->patience, monotonic_msec());
        return worker_start(&options, fetch_pull_body, job, ret, reterr);
}

static int ask_range(Worker *w, uint64_t begin, uint64_t count, Error *reterr) {
        PullRange range = { .begin = htole64(begin), .count = htole64(count) };

        return worker_send(w, 'R', &range, sizeof range, reterr);
}

static unsigned stall_seconds(const Download *d) {
        return d->options->http.stall_seconds ?: STALL_SECONDS;
}

/* Before everything begins again at the first repository: longer each time, a tenth of the stall limit to begin with.
 */
static void wait_a_little(const Download *d, unsigned failures) {
        int64_t msec = (int64_t) stall_seconds(d) * 50 << MIN(failures, 4U);

        (void) nanosleep(&(struct timespec){ .tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000 }, NULL);
}

/* Runs attempt() until it succeeds, going from repository to repository; progress sets the count back. Where attempts
 * end because servers stall, two are all that there is time for, unless there are repositories still to be asked. No
 * progress is enough for a file that takes too long as a whole (patience.h). */
static int persist(Download *d, int (*attempt)(Download *d, void *userdata, Error *reterr), void *userdata,
                   Error *reterr) {
        size_t n = strv_length(d->options->repositories);
        unsigned failures = 0;

        d->moved = monotonic_msec();
        d->patience = patience_new(d->total, stall_seconds(d), d->options->http.rate_limit, n, d->moved);
        for (;;) {
                uint64_t before = d->kept;
                _cleanup_error_ Error e = {};
                int r = attempt(d, userdata, &e);

                if (r >= 0)
                        return 0;
                /* What this machine cannot do will not be better elsewhere. */
                if (d->sink_failed || e.id == REFUSAL_NO_SPACE || e.id == REFUSAL_CANCELLED ||
                    e.id == REFUSAL_PATH_ESCAPE)
                        return error_move(reterr, &e);
                failures = d->kept > before ? 1 : failures + 1;
                if (d->patience.over || failures >= ATTEMPTS_MAX ||
                    (failures >= MAX(n, 2U) && monotonic_msec() - d->moved >= (int64_t) stall_seconds(d) * 2000))
                        return error_move(reterr, &e);
                log_warning("%s; trying again", e.message);
                d->repository = (d->repository + 1) % n;
                if (d->repository == d->options->first % n)
                        wait_a_little(d, failures);
        }
}

/* ---- files as a whole ---- */

static int pull_whole(Download *d, void *userdata, Error *reterr) {
        const Artifact *a = &d->offer->description->artifacts[d->kind];
        uint64_t size = d->offer->download[d->kind], at = 0;
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_(worker_freep) Worker *w = NULL;
        _cleanup_buffer_ Buffer message = {};
        _cleanup_free_ char *url = NULL;
        PullJob job = { .size = size };
        char type = 0;
        Sha256 digest;
        int r;

        if (d->sink->restart) {
                r = d->sink->restart(d->sink->userdata, reterr);
                d->sink_failed = r < 0;
                if (r < 0)
                        return r;
        }
        r = start_pull(d, &job, &url, &w, reterr);
        if (r >= 0)
                r = ask_range(w, 0, size, reterr);
        while (r >= 0) {
                r = worker_receive(w, &type, &message, reterr);
                if (r != 0 || type == 'Y')
                        break;
                if (type != 'B' || message.size > size - at)
                        return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s is longer than its %" PRIu64 " bytes",
                                         url, size);
                hasher_update(hasher, message.data, message.size);
                r = d->sink->write(at, message.data, message.size, d->sink->userdata, reterr);
                d->sink_failed = r < 0;
                if (r < 0)
                        return r;
                at += message.size;
                d->downloaded += message.size;
                if (at >= d->furthest + PROGRESS_MIN) {
                        d->furthest = at;
                        d->moved = monotonic_msec();
                }
                if (d->sink->progress)
                        d->sink->progress(d->downloaded, d->total, d->sink->userdata);
                r = patience_check(&d->patience, message.size, monotonic_msec(), reterr);
        }
        if (r < 0)
                return r;
        hasher_final(hasher, &digest);
        if (at != size || !sha256_equal(&digest, &d->offer->target_sha256[d->kind]) ||
            !sha256_equal(&digest, &a->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not what was signed", url);
        return 0;
}

static int collect(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr) {
        buffer_append(userdata, data, size);
        return 0;
}

static int collect_anew(void *userdata, Error *reterr) {
        ((Buffer *) userdata)->size = 0;
        return 0;
}

/* ---- the pack ---- */

typedef struct Pack {
        FrameIndex *index;
        bool *done;
} Pack;

static void pack_done(Pack *p) {
        frame_index_free(p->index);
        free(p->done);
}

static int fetch_index(Download *d, Pack *p, Error *reterr) {
        const Artifact *usr = &d->offer->description->artifacts[ARTIFACT_USR];
        _cleanup_buffer_ Buffer text = {};
        FetchSink sink = { .write = collect, .restart = collect_anew, .userdata = &text };
        Download small = *d;
        int r;

        if (!d->offer->description->artifacts[ARTIFACT_USR_INDEX].present)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s comes without an index of its pack",
                                 d->offer->description->version);
        small.kind = ARTIFACT_USR_INDEX;
        small.sink = &sink;
        small.total = d->offer->download[ARTIFACT_USR_INDEX];
        if (d->offer->download[ARTIFACT_USR_INDEX] > INDEX_SIZE_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "the index of the pack is too large");
        r = persist(&small, pull_whole, NULL, reterr);
        if (r < 0)
                return r;
        d->downloaded = small.downloaded;
        d->repository = small.repository;
        r = frame_index_parse(text.data, text.size, "index of the pack", &p->index, reterr);
        if (r < 0)
                return r;
        if (p->index->image_size != usr->size || p->index->packed_size != d->offer->download[ARTIFACT_USR])
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "pack and index do not belong together");
        p->done = xnew(bool, MAX(p->index->n_frames, 1U));
        return 0;
}

static int receive_frames(Download *d, Pack *p, Worker *w, size_t begin, size_t end, Error *reterr) {
        _cleanup_buffer_ Buffer message = {};
        char type = 0;
        int r;

        r = ask_range(w, begin, end - begin, reterr);
        for (size_t i = begin; r >= 0 && i <= end; i++) {
                Sha256 digest;

                r = worker_receive(w, &type, &message, reterr);
                if (r > 0)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker ended early");
                if (r < 0 || (i == end && type == 'Y'))
                        return r;
                if (i == end || type != 'B' || message.size != frame_index_size(p->index, i))
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker sent something else than a frame");
                sha256_buffer(message.data, message.size, &digest);
                if (!sha256_equal(&digest, &p->index->frames[i].sha256))
                        return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "frame %zu is not what was signed", i);
                r = d->sink->write((uint64_t) i * p->index->frame_size, message.data, message.size, d->sink->userdata,
                                   reterr);
                d->sink_failed = r < 0;
                if (r < 0)
                        return r;
                p->done[i] = true;
                d->downloaded += p->index->frames[i].packed_size;
                d->kept += p->index->frames[i].packed_size;
                d->moved = monotonic_msec();
                if (d->sink->progress)
                        d->sink->progress(d->downloaded, d->total, d->sink->userdata);
                r = patience_check(&d->patience, p->index->frames[i].packed_size, d->moved, reterr);
        }
        return r;
}

static int pull_frames(Download *d, void *userdata, Error *reterr) {
        Pack *p = userdata;
        _cleanup_(worker_freep) Worker *w = NULL;
        _cleanup_free_ char *url = NULL;
        PullJob job = { .size = d->offer->download[ARTIFACT_USR], .index = p->index };
        int r;

        r = start_pull(d, &job, &url, &w, reterr);
        for (size_t i = 0; r >= 0 && i < p->index->n_frames;) {
                size_t end = i;

                while (end < p->index->n_frames && !p->done[end])
                        end++;
                if (end > i)
                        r = receive_frames(d, p, w, i, end, reterr);
                i = MAX(end, i + 1);
        }
        return r;
}

static int fetch_pack(Download *d, Error *reterr) {
        _cleanup_(pack_done) Pack p = {};
        int r;

        r = fetch_index(d, &p, reterr);
        if (r < 0)
                return r;
        d->total = d->downloaded;
        for (size_t i = 0; i < p.index->n_frames; i++) {
                p.done[i] = d->sink->want &&
                            !d->sink->want((uint64_t) i * p.index->frame_size, frame_index_size(p.index, i),
                                           &p.index->frames[i].sha256, d->sink->userdata);
                if (!p.done[i])
                        d->total += p.index->frames[i].packed_size;
        }
        return persist(d, pull_frames, &p, reterr);
}

int fetch_artifact(const FetchOptions *opt, const Offer *offer, ArtifactKind kind, const FetchSink *sink,
                   uint64_t *ret_downloaded, Error *reterr) {
        Download d = { .options = opt, .offer = offer, .kind = kind, .sink = sink, .total = offer->download[kind] };
        int r;

        if (strv_length(opt->repositories) == 0)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no repository is configured");
        d.repository = opt->first % strv_length(opt->repositories);
        if (kind == ARTIFACT_USR)
                r = fetch_pack(&d, reterr);
        else if (offer->download[kind] > SMALL_ARTIFACT_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s is too large",
                                 offer->description->artifacts[kind].target);
        else
                r = persist(&d, pull_whole, NULL, reterr);
        if (r < 0)
                return r;
        if (opt->answered)
                *opt->answered = d.repository;
        if (ret_downloaded)
                *ret_downloaded = d.downloaded;
        return 0;
}
