/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>

#include "channel.h"
#include "fetch-worker.h"
#include "frame-decode.h"
#include "worker.h"

#define SKIP_MAX (UINT64_C(4) << 20) /* of a server that knows no ranges: not worth more than another mirror */

/* ---- storage in the parent ---- */

static int ask(int fd, char type, const void *data, size_t size, char *ret_type, Buffer *ret, Error *reterr) {
        int r;

        r = message_send(fd, type, data, size, reterr);
        if (r >= 0)
                r = message_receive(fd, ret_type, ret, reterr);
        return r > 0 ? error_set(reterr, EPIPE, REFUSAL_SYSTEM, "the updater went away") : r;
}

static int remote_load(void *userdata, const char *name, size_t max_size, Buffer *ret, Error *reterr) {
        const int *fd = userdata;
        char type = 0;
        int r;

        r = ask(*fd, 'L', name, strlen(name), &type, ret, reterr);
        if (r < 0)
                return r;
        if (type == 'N')
                return 1;
        if (type != 'D' || ret->size > max_size)
                return error_set(reterr, EMSGSIZE, REFUSAL_TOO_LARGE, "%s is larger than %zu bytes", name, max_size);
        return 0;
}

static int acknowledge(int fd, char type, const void *data, size_t size, Error *reterr) {
        _cleanup_buffer_ Buffer reply = {};
        char answer = 0;
        int r;

        r = ask(fd, type, data, size, &answer, &reply, reterr);
        if (r >= 0 && answer != 'K')
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "the updater could not store metadata");
        return r;
}

static int remote_save(void *userdata, const char *name, const void *data, size_t size, Error *reterr) {
        _cleanup_buffer_ Buffer message = {};
        const int *fd = userdata;

        buffer_append(&message, name, strlen(name) + 1);
        buffer_append(&message, data, size);
        return acknowledge(*fd, 'S', message.data, message.size, reterr);
}

static int remote_remove(void *userdata, const char *name, Error *reterr) {
        const int *fd = userdata;

        return acknowledge(*fd, 'X', name, strlen(name), reterr);
}

static TufStorage remote_storage(int *fd) {
        return (TufStorage){ .load = remote_load, .save = remote_save, .remove = remote_remove, .userdata = fd };
}

/* ---- metadata from the network ---- */

typedef struct Wire {
        int fd;
        HttpClient *http;
        char *base; /* URL of the metadata folder */
        const char *etag;
        char *new_etag;
} Wire;

static void wire_done(Wire *w) {
        if (w->http)
                http_client_free(w->http);
        free(w->base);
        free(w->new_etag);
}

static int wire_fetch(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret,
                      Error *reterr) {
        Wire *w = userdata;
        _cleanup_free_ char *url = http_join(w->base, name), *etag = NULL;
        int r;

        r = http_get(w->http, url, max_size, conditional ? w->etag : NULL, ret, &etag, reterr);
        if (r < 0)
                return r;
        /* The first one is asked for without a condition, and is the one to be known by the next time. */
        if (r == HTTP_OK && streq(name, "timestamp.json")) {
                free(w->new_etag);
                w->new_etag = TAKE_PTR(etag);
        }
        return r == HTTP_NOT_FOUND ? TUF_NOT_THERE : r == HTTP_NOT_MODIFIED ? TUF_NOT_MODIFIED : TUF_FETCHED;
}

static void wire_remember(void *userdata) {
        Wire *w = userdata;

        if (w->new_etag)
                (void) message_send(w->fd, 'T', w->new_etag, strlen(w->new_etag), NULL);
}

int fetch_poll_body(int fd, void *userdata, Error *reterr) {
        const PollJob *job = userdata;
        _cleanup_(wire_done) Wire w = { .fd = fd, .etag = job->options->etag };
        _cleanup_(tuf_client_freep) TufClient *client = NULL;
        const TufMetadata *channel = NULL;
        HttpStatistics statistics;
        int r;

        w.base = xasprintf("%s/metadata", job->repository);
        r = http_client_new(&job->options->http, &w.http, reterr);
        if (r < 0)
                return r;
        client = tuf_client_new((TufTransport){ .fetch = wire_fetch, .remember = wire_remember, .userdata = &w },
                                remote_storage(&fd), job->options->now);
        r = tuf_client_init(client, job->anchor, job->anchor_size, reterr);
        if (r >= 0)
                r = tuf_client_refresh(client, NULL, reterr);
        if (r >= 0)
                r = tuf_client_role(client, job->options->channel, &channel, reterr);
        http_client_statistics(w.http, &statistics);
        (void) message_send(fd, 'C', &statistics, sizeof statistics, NULL);
        return r;
}

/* ---- metadata judged again, without a network ---- */

static int no_fetch(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret, Error *reterr) {
        return TUF_NOT_THERE;
}

/* NULL: the metadata says nothing about it that could be used. */
static json_t *describe_file(const TufMetadata *channel, const char *target) {
        const TufTarget *t = tuf_find_target(channel, target);
        _cleanup_free_ char *hex = NULL;

        if (!t || !t->hashes.has_sha256)
                return NULL;
        hex = sha256_hex(&t->hashes.sha256);
        return json_pack("{s:I, s:s}", "length", (json_int_t) t->length, "sha256", hex);
}

/* A delta whose file is not there is one that there is not: the other ways lead to the same image. */
static json_t *describe_deltas(const TufMetadata *channel, ReleaseDescription *d) {
        json_t *list = json_array();

        for (size_t i = 0; i < d->n_deltas;) {
                json_t *file = describe_file(channel, d->deltas[i].target);

                if (file && (uint64_t) json_integer_value(json_object_get(file, "length")) > d->deltas[i].head_size) {
                        json_array_append_new(list, file);
                        i++;
                } else {
                        json_decref(file);
                        description_remove_delta(d, i);
                }
        }
        return list;
}

/* Description and sizes of one release, from metadata that holds. A release that this program does not understand is
 * passed over: the others must stay usable. */
static int send_offer(int fd, const TufMetadata *channel, const TufTarget *t, Error *reterr) {
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_json_ json_t *o = NULL, *files = json_object(), *deltas = NULL;
        _cleanup_free_ char *text = NULL, *path = NULL;

        if (description_parse(t->custom, t->path, &d, NULL) < 0)
                return 0;
        path = description_target_path(d->product, d->version, DESCRIPTION_TARGET_FILE);
        if (!streq(path, t->path))
                return 0;
        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++) {
                json_t *file = d->artifacts[k].present ? describe_file(channel, d->artifacts[k].target) : NULL;

                if (d->artifacts[k].present && !file)
                        return 0;
                if (file)
                        json_object_set_new(files, artifact_kind_name(k), file);
        }
        deltas = describe_deltas(channel, d);
        o = description_to_json(d);
        json_object_set(o, "files", files);
        json_object_set(o, "deltas", deltas);
        text = json_format_line(o);
        return message_send(fd, 'F', text, strlen(text), reterr);
}

int fetch_judge_body(int fd, void *userdata, Error *reterr) {
        const PollJob *job = userdata;
        _cleanup_(tuf_client_freep) TufClient *client = NULL;
        const TufMetadata *channel = NULL;
        int r;

        client = tuf_client_new((TufTransport){ .fetch = no_fetch }, remote_storage(&fd), job->options->now);
        r = tuf_client_init(client, job->anchor, job->anchor_size, reterr);
        if (r >= 0)
                r = tuf_client_load(client, /* ignore_expiry= */ false, reterr);
        if (r >= 0)
                r = tuf_client_role(client, job->options->channel, &channel, reterr);
        if (r >= 0)
                r = channel_check(channel, job->options->channel, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; r >= 0 && i < channel->n_targets; i++)
                if (endswith(channel->targets[i].path, "/" DESCRIPTION_TARGET_FILE) && channel->targets[i].custom)
                        r = send_offer(fd, channel, &channel->targets[i], reterr);
        return r;
}

/* ---- files ---- */

typedef struct Pull {
        int fd;
        const PullJob *job;
        FrameDecoder *decoder;
        char *packed; /* of the frame that is coming in */
        size_t packed_size;
        char *decoded;
        uint64_t frame, end; /* next one to be complete, and behind the last of the range */
} Pull;

static void pull_done(Pull *p) {
        frame_decoder_free(p->decoder);
        free(p->packed);
        free(p->decoded);
}

static int send_piece(const void *data, size_t size, void *userdata, Error *reterr) {
        const Pull *p = userdata;
        const char *bytes = data;
        int r = 0;

        for (size_t at = 0; r >= 0 && at < size;) {
                size_t n = MIN(size - at, FETCH_PIECE_MAX);

                r = message_send(p->fd, 'B', bytes + at, n, reterr);
                at += n;
        }
        return r;
}

static int send_frame(Pull *p, Error *reterr) {
        const Frame *f = &p->job->index->frames[p->frame];
        _cleanup_error_ Error e = {};

        if (frame_decode(p->decoder, f, p->packed, p->decoded, &e) < 0)
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s: %s", p->job->url, e.message);
        p->packed_size = 0;
        p->frame++;
        return message_send(p->fd, 'B', p->decoded, f->size, reterr);
}

static int collect_frames(const void *data, size_t size, void *userdata, Error *reterr) {
        Pull *p = userdata;
        const char *bytes = data;
        int r;

        while (size > 0) {
                size_t wanted, n;

                if (p->frame >= p->end)
                        return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s sends more than was asked for",
                                         p->job->url);
                wanted = p->job->index->frames[p->frame].packed_size;
                n = MIN(size, wanted - p->packed_size);
                memcpy(p->packed + p->packed_size, bytes, n);
                p->packed_size += n;
                bytes += n;
                size -= n;
                if (p->packed_size < wanted)
                        continue;
                r = send_frame(p, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int pull_range(Pull *p, HttpClient *http, const PullRange *range, Error *reterr) {
        const PullJob *job = p->job;
        uint64_t begin = le64toh(range->begin), count = le64toh(range->count), offset, end;

        if (!job->index)
                return http_stream(http, job->url, begin, count, SKIP_MAX, send_piece, p, reterr);
        if (count == 0 || begin >= job->index->n_frames || count > job->index->n_frames - begin)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "there are no such frames");
        p->frame = begin;
        p->end = begin + count;
        p->packed_size = 0;
        offset = job->index->frames[begin].packed_offset;
        end = job->index->frames[p->end - 1].packed_offset + job->index->frames[p->end - 1].packed_size;
        return http_stream(http, job->url, offset, end - offset, SKIP_MAX, collect_frames, p, reterr);
}

static void make_room(Pull *p) {
        size_t size, packed_size;

        frame_index_largest(p->job->index, &size, &packed_size);
        p->packed = xmalloc(packed_size);
        p->decoded = xmalloc(size);
        p->decoder = frame_decoder_new();
}

int fetch_pull_body(int fd, void *userdata, Error *reterr) {
        _cleanup_(http_client_freep) HttpClient *http = NULL;
        _cleanup_(pull_done) Pull p = { .fd = fd, .job = userdata };
        _cleanup_buffer_ Buffer message = {};
        char type = 0;
        int r;

        r = http_client_new(&p.job->options->http, &http, reterr);
        if (r < 0)
                return r;
        if (p.job->index)
                make_room(&p);
        while ((r = message_receive(fd, &type, &message, reterr)) == 0) {
                PullRange range;

                if (type != 'R' || message.size != sizeof range)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM,
                                         "the updater asks for what a worker cannot do");
                memcpy(&range, message.data, sizeof range);
                r = pull_range(&p, http, &range, reterr);
                if (r >= 0)
                        r = message_send(fd, 'Y', NULL, 0, reterr);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : 0;
}
