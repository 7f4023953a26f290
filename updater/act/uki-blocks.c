/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "block-finder.h"
#include "io.h"
#include "uki-blocks.h"
#include "verity.h"

#define BLOCK ((size_t) BLOCK_MAP_BLOCK_SIZE)

struct UkiBlocks {
        const FetchOptions *options;
        RemoteFile file;
        Sha256 salt;
        int old_fd, fd; /* fd is the caller's */
        BlockFinder *finder;
        const BlockMap *map; /* the finder's */
        Hasher *hasher;
        bool *done;      /* of each block, and of the rest behind the last one */
        size_t n_pieces; /* how many these are */
        uint64_t found;
        const FetchSink *sink;
        /* What is coming in; another attempt goes on there. */
        size_t at, have; /* which piece, and bytes of it */
        char piece[BLOCK];
};

UkiBlocks *uki_blocks_free(UkiBlocks *u) {
        if (!u)
                return NULL;
        safe_close(u->old_fd);
        block_finder_free(u->finder);
        hasher_free(u->hasher);
        free(u->done);
        free(u);
        return NULL;
}

static size_t piece_size(const UkiBlocks *u, size_t i) {
        return (size_t) MIN(u->file.size - (uint64_t) i * BLOCK, (uint64_t) BLOCK);
}

/* The rest behind the last block has no digest: any will do until the whole is compared. */
static bool is_right(UkiBlocks *u, size_t i, const void *block) {
        Sha256 digest;

        if (i >= u->map->n_blocks)
                return true;
        verity_block_digest(u->hasher, u->salt.bytes, block, &digest);
        return block_map_key(digest.bytes, u->map->digest_size) == block_map_key_at(u->map, i);
}

static int load_map(UkiBlocks *u, const Offer *offer, uint64_t *downloaded, Error *reterr) {
        const Document document = document_of_artifact(offer, ARTIFACT_UKI_MAP);
        _cleanup_buffer_ Buffer text = {};
        BlockMap *map = NULL;
        uint64_t n = 0;
        int r;

        r = download_document(u->options, &document, BLOCK_MAP_SIZE_MAX, &text, &n, reterr);
        *downloaded += n;
        if (r >= 0)
                r = block_map_parse(text.data, text.size, u->file.size - u->file.size % BLOCK,
                                    "map of the kernel image", &map, reterr);
        if (r < 0)
                return r;
        block_finder_set_map(u->finder, map);
        u->map = map;
        return 0;
}

static int look_through(UkiBlocks *u, const char *path, Error *reterr) {
        struct stat st;
        int r;

        u->old_fd = open(path, O_RDONLY | O_CLOEXEC);
        if (u->old_fd < 0 || fstat(u->old_fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        if ((uint64_t) st.st_size < BLOCK)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is hardly a kernel image", path);
        u->finder = block_finder_new(u->old_fd);
        r = block_finder_add_image(u->finder, u->old_fd, (uint64_t) st.st_size - (uint64_t) st.st_size % BLOCK,
                                   &u->salt, reterr);
        (void) block_finder_sort(u->finder);
        return r;
}

/* What an attempt before this one has put into the file is right where it stands. */
static int take_known(UkiBlocks *u, Error *reterr) {
        for (size_t i = 0; i < u->map->n_blocks; i++) {
                uint64_t source = 0, at = (uint64_t) i * BLOCK;
                bool known = block_finder_seek(u->finder, i, &source);
                int r;

                u->done[i] = io_pread_all(u->fd, u->piece, BLOCK, at, NULL) >= 0 && is_right(u, i, u->piece);
                if (u->done[i] || !known || io_pread_all(u->old_fd, u->piece, BLOCK, source, NULL) < 0 ||
                    !is_right(u, i, u->piece))
                        continue;
                r = io_pwrite_all(u->fd, u->piece, BLOCK, at, reterr);
                if (r < 0)
                        return r;
                u->done[i] = true;
                u->found += BLOCK;
        }
        return 0;
}

int uki_blocks_open(const FetchOptions *opt, const Offer *offer, const char *old_path, int fd, UkiBlocks **ret,
                    uint64_t *downloaded, Error *reterr) {
        _cleanup_(uki_blocks_freep) UkiBlocks *u = xnew(UkiBlocks, 1);
        int r;

        *u = (UkiBlocks){ .options = opt,
                          .file = remote_artifact(offer, ARTIFACT_UKI),
                          .salt = offer->description->verity_salt,
                          .old_fd = -EBADF,
                          .fd = fd,
                          .hasher = hasher_new() };
        if (!offer->description->artifacts[ARTIFACT_UKI_MAP].present)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "there is no map of the kernel image");
        r = look_through(u, old_path, reterr);
        if (r >= 0)
                r = load_map(u, offer, downloaded, reterr);
        if (r < 0)
                return r;
        u->n_pieces = u->map->n_blocks + (u->file.size % BLOCK > 0);
        u->done = xnew(bool, MAX(u->n_pieces, (size_t) 1));
        r = take_known(u, reterr);
        if (r >= 0)
                *ret = TAKE_PTR(u);
        return r;
}

uint64_t uki_blocks_missing(const UkiBlocks *u) {
        uint64_t sum = 0;

        for (size_t i = 0; i < u->n_pieces; i++)
                if (!u->done[i])
                        sum += piece_size(u, i);
        return sum;
}

uint64_t uki_blocks_found(const UkiBlocks *u) {
        return u->found;
}

/* ---- fetching ---- */

static int take_bytes(UkiBlocks *u, size_t end, const Buffer *message, Error *reterr) {
        const char *bytes = message->data;

        for (size_t left = message->size; left > 0;) {
                size_t size = u->at < end ? piece_size(u, u->at) : 0, n = MIN(size - u->have, left);
                int r;

                if (size == 0)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker sends more than was asked for");
                memcpy(u->piece + u->have, bytes, n);
                u->have += n;
                bytes += n;
                left -= n;
                if (u->have < size)
                        break;
                u->have = 0;
                if (!is_right(u, u->at, u->piece))
                        return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                         "block %zu of %s is not what was signed", u->at, u->file.target);
                r = io_pwrite_all(u->fd, u->piece, size, (uint64_t) u->at * BLOCK, reterr);
                if (r < 0)
                        return r;
                u->done[u->at++] = true;
        }
        return 0;
}

static int receive_range(Download *d, UkiBlocks *u, Worker *w, size_t begin, size_t end, Error *reterr) {
        _cleanup_buffer_ Buffer message = {};
        uint64_t offset;
        char type = 0;
        int r;

        if (u->at != begin)
                u->have = 0;
        u->at = begin;
        offset = (uint64_t) begin * BLOCK + u->have;
        r = download_ask(w, offset, MIN((uint64_t) end * BLOCK, u->file.size) - offset, reterr);
        while (r >= 0) {
                size_t before = u->at;

                r = worker_receive(w, &type, &message, reterr);
                if (r > 0 || (r == 0 && type == 'Y' && u->at < end))
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker ended early");
                if (r < 0 || type == 'Y')
                        return r;
                if (type != 'B')
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "the worker sent something else than bytes");
                r = take_bytes(u, end, &message, reterr);
                /* Less than a block is not getting on. */
                if (r >= 0)
                        r = download_count(d, message.size, u->at > before, reterr);
                else
                        d->downloaded += message.size;
        }
        return r;
}

static int attempt(Download *d, void *userdata, Error *reterr) {
        UkiBlocks *u = userdata;
        _cleanup_(worker_freep) Worker *w = NULL;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < u->n_pieces;) {
                size_t end = i;

                while (end < u->n_pieces && !u->done[end])
                        end++;
                if (end > i && !w)
                        r = download_start(d, NULL, &w, reterr);
                if (end > i && r >= 0)
                        r = receive_range(d, u, w, i, end, reterr);
                i = MAX(end, i + 1);
        }
        return r;
}

int uki_blocks_fetch(UkiBlocks *u, const FetchSink *sink, uint64_t *downloaded, Error *reterr) {
        Download d;
        int r;

        if (uki_blocks_missing(u) == 0)
                return 0;
        r = download_new(u->options, &u->file, uki_blocks_missing(u), &d, reterr);
        if (r < 0)
                return r;
        d.progress = sink->progress;
        d.userdata = sink->userdata;
        r = download_persist(&d, attempt, u, reterr);
        *downloaded += d.downloaded;
        return r;
}
