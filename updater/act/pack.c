/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "pack.h"

struct Pack {
        const FetchOptions *options;
        RemoteFile file;
        FrameIndex *index;
        bool *done;
        const FetchSink *sink;
};

Pack *pack_free(Pack *p) {
        if (!p)
                return NULL;
        frame_index_free(p->index);
        free(p->done);
        free(p);
        return NULL;
}

int pack_open(const FetchOptions *opt, const Offer *offer, Pack **ret, uint64_t *downloaded, Error *reterr) {
        const Artifact *usr = &offer->description->artifacts[ARTIFACT_USR];
        _cleanup_(pack_freep) Pack *p = xnew(Pack, 1);
        _cleanup_buffer_ Buffer text = {};
        Document index;
        uint64_t n = 0;
        int r;

        if (!offer->description->artifacts[ARTIFACT_USR_INDEX].present)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s comes without an index of its pack",
                                 offer->description->version);
        index = document_of_artifact(offer, ARTIFACT_USR_INDEX);
        r = download_document(opt, &index, FRAME_INDEX_SIZE_MAX, &text, &n, reterr);
        *downloaded += n;
        if (r >= 0)
                r = frame_index_parse(text.data, text.size, "index of the pack", &p->index, reterr);
        if (r < 0)
                return r;
        p->options = opt;
        p->file = remote_artifact(offer, ARTIFACT_USR);
        if (p->index->image_size != usr->size || p->index->packed_size != p->file.size)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "pack and index do not belong together");
        p->done = xnew(bool, MAX(p->index->n_frames, 1U));
        *ret = TAKE_PTR(p);
        return 0;
}

void pack_mark(Pack *p, bool (*want)(uint64_t offset, size_t size, const Sha256 *sha256, void *userdata),
               void *userdata) {
        for (size_t i = 0; i < p->index->n_frames; i++)
                p->done[i] = p->done[i] || !want(p->index->frames[i].offset, p->index->frames[i].size,
                                                 &p->index->frames[i].sha256, userdata);
}

uint64_t pack_missing(const Pack *p) {
        uint64_t sum = 0;

        for (size_t i = 0; i < p->index->n_frames; i++)
                if (!p->done[i])
                        sum += p->index->frames[i].packed_size;
        return sum;
}

static int take_frame(Download *d, Pack *p, size_t i, const Buffer *frame, Error *reterr) {
        const Frame *f = &p->index->frames[i];
        Sha256 digest;
        int r;

        if (frame->size != f->size)
                return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker sent something else than a frame");
        sha256_buffer(frame->data, frame->size, &digest);
        if (!sha256_equal(&digest, &f->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "frame %zu is not what was signed", i);
        r = p->sink->write(f->offset, frame->data, frame->size, p->sink->userdata, reterr);
        d->machine_failed = r < 0;
        if (r < 0)
                return r;
        p->done[i] = true;
        return download_count(d, f->packed_size, true, reterr);
}

static int receive_frames(Download *d, Pack *p, Worker *w, size_t begin, size_t end, Error *reterr) {
        _cleanup_buffer_ Buffer message = {};
        char type = 0;
        int r;

        r = download_ask(w, begin, end - begin, reterr);
        for (size_t i = begin; r >= 0 && i <= end; i++) {
                r = worker_receive(w, &type, &message, reterr);
                if (r > 0)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker ended early");
                if (r < 0 || (i == end && type == 'Y'))
                        return r;
                if (i == end || type != 'B')
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker sent something else than a frame");
                r = take_frame(d, p, i, &message, reterr);
        }
        return r;
}

static int pack_attempt(Download *d, void *userdata, Error *reterr) {
        Pack *p = userdata;
        _cleanup_(worker_freep) Worker *w = NULL;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < p->index->n_frames;) {
                size_t end = i;

                while (end < p->index->n_frames && !p->done[end])
                        end++;
                if (end > i && !w)
                        r = download_start(d, p->index, &w, reterr);
                if (end > i && r >= 0)
                        r = receive_frames(d, p, w, i, end, reterr);
                i = MAX(end, i + 1);
        }
        return r;
}

int pack_fetch(Pack *p, const FetchSink *sink, uint64_t *downloaded, Error *reterr) {
        Download d;
        int r;

        r = download_new(p->options, &p->file, pack_missing(p), &d, reterr);
        if (r < 0)
                return r;
        p->sink = sink;
        d.progress = sink->progress;
        d.userdata = sink->userdata;
        r = download_persist(&d, pack_attempt, p, reterr);
        *downloaded += d.downloaded;
        return r;
}
