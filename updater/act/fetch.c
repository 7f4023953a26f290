/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fetch-worker.h"
#include "io.h"
#include "log.h"
#include "version.h"
#include "worker.h"

#define METADATA_FOLDER "metadata"
#define OFFERS_MAX 10000
/* Of one poll: the roots on the way, four roles, the delegations. */
#define STAGED_FILES_MAX 64
#define ETAG_MAX 512

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

/* What the targets metadata says about a file of an offer. */
static int take_file(const json_t *file, const char *target, uint64_t *ret_size, Sha256 *ret_sha256, Error *reterr) {
        const char *hex = json_string_value(json_object_get(file, "sha256"));

        if (!hex || !sha256_from_hex(hex, ret_sha256))
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker says nothing about %s", target);
        *ret_size = (uint64_t) json_integer_value(json_object_get(file, "length"));
        return 0;
}

static int take_offer(Stage *s, const char *text, size_t size, Error *reterr) {
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_json_ json_t *o = NULL;
        Catalogue *c = s->catalogue;
        const json_t *files;
        Offer offer = {};
        int r;

        r = json_parse(text, size, "offer", &o, reterr);
        if (r >= 0)
                r = description_parse(o, "offer", &d, reterr);
        if (r < 0)
                return r;
        if (c->n_offers >= OFFERS_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "the channel has more than %d releases", OFFERS_MAX);
        files = json_object_get(o, "files");
        for (ArtifactKind k = 0; r >= 0 && k < _ARTIFACT_KIND_MAX; k++)
                if (d->artifacts[k].present)
                        r = take_file(json_object_get(files, artifact_kind_name(k)), d->artifacts[k].target,
                                      &offer.download[k], &offer.target_sha256[k], reterr);
        files = json_object_get(o, "deltas");
        for (size_t i = 0; r >= 0 && i < d->n_deltas; i++)
                r = take_file(json_array_get(files, i), d->deltas[i].target, &offer.delta_download[i],
                              &offer.delta_sha256[i], reterr);
        if (r < 0)
                return r;
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
char **fetch_readable_folders(const FetchOptions *opt) {
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
        _cleanup_strv_free_ char **readable = fetch_readable_folders(opt);
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
