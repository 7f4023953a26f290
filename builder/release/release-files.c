/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "frame-decode.h"
#include "io.h"
#include "release-files.h"
#include "verity.h"

void release_files_done(ReleaseFiles *f) {
        safe_close(f->image);
        safe_close(f->uki);
        *f = RELEASE_FILES_NONE;
}

/* ---- from a folder ---- */

static int open_part(const Release *release, ReleasePart part, int *ret, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, part);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        const ReleaseFile *file = &release->files[part];
        struct stat st;
        Sha256 digest;
        int r;

        if (!file->present)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is not part of the release", path);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "%s", path);
        r = sha256_fd(fd, 0, (uint64_t) st.st_size, &digest, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        if ((uint64_t) st.st_size != file->size || !sha256_equal(&digest, &file->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not what the release's record says",
                                 path);
        *ret = TAKE_FD(fd);
        return 0;
}

static int read_salt(const Release *release, Sha256 *ret, Error *reterr) {
        _cleanup_close_ int tree = -EBADF;
        VerityOptions options;
        uint64_t size;
        int r;

        r = open_part(release, RELEASE_VERITY, &tree, reterr);
        if (r >= 0)
                r = verity_read_superblock(tree, 0, &size, &options, reterr);
        if (r < 0)
                return r;
        memcpy(ret->bytes, options.salt, sizeof options.salt);
        return 0;
}

static bool is_described(const Release *release, const ReleaseDescription *d) {
        const ReleaseFile *usr = &release->files[RELEASE_USR], *uki = &release->files[RELEASE_UKI];

        return sha256_equal(&release->root_hash, &d->root_hash) &&
               sha256_equal(&usr->sha256, &d->artifacts[ARTIFACT_USR].sha256) &&
               sha256_equal(&uki->sha256, &d->artifacts[ARTIFACT_UKI].sha256);
}

int release_files_open(const Release *release, const ReleaseDescription *described, ReleaseFiles *ret, Error *reterr) {
        _cleanup_release_files_ ReleaseFiles f = RELEASE_FILES_NONE;
        int r;

        if (!release_is_signed(release))
                return error_set(reterr, EKEYREJECTED, REFUSAL_BAD_SIGNATURE,
                                 "%s is not signed: it is not what devices have", release->folder);
        if (described && !is_described(release, described)) {
                error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s is not the %s %s that was published", release->folder,
                          release->image_id, release->version);
                return error_hint(reterr,
                                  "Built again or signed again? Name its version instead: then the repository's "
                                  "files are used.");
        }
        r = open_part(release, RELEASE_USR, &f.image, reterr);
        if (r >= 0)
                r = open_part(release, RELEASE_UKI, &f.uki, reterr);
        if (r >= 0)
                r = read_salt(release, &f.verity_salt, reterr);
        if (r < 0)
                return r;
        f.root_hash = release->root_hash;
        f.image_size = release->files[RELEASE_USR].size;
        f.uki_size = release->files[RELEASE_UKI].size;
        f.uki_sha256 = release->files[RELEASE_UKI].sha256;
        *ret = f;
        f = RELEASE_FILES_NONE;
        return 0;
}

/* ---- from the repository ---- */

const TufTarget *repository_find_target(const Repository *r, const char *path) {
        const TufTarget *t = NULL;

        for (size_t i = 0; !t && i < r->n_channels; i++)
                t = tuf_find_target(r->channels[i], path);
        return t;
}

typedef struct Sink {
        int fd;         /* or, if below zero: */
        Buffer *buffer; /* borrowed */
        Hasher *hasher;
        Progress *progress;
} Sink;

static int sink(const void *data, size_t size, void *userdata, Error *reterr) {
        Sink *s = userdata;

        hasher_update(s->hasher, data, size);
        progress_advance(s->progress, size);
        if (s->fd >= 0)
                return io_write_all(s->fd, data, size, reterr);
        buffer_append(s->buffer, data, size);
        return 0;
}

static int stream_target(const Repository *r, const char *path, uint64_t max_size, Sink *s, uint64_t *ret_size,
                         Error *reterr) {
        const TufTarget *t = repository_find_target(r, path);
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_free_ char *stored = NULL;
        Sha256 digest;
        int e;

        if (!t || !t->hashes.has_sha256)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s lists no %s", storage_name(r->storage), path);
        if (t->length > max_size)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s has %" PRIu64 " bytes", path, t->length);
        stored = repository_target_path(path, &t->hashes);
        s->hasher = hasher;
        e = storage_stream(r->storage, stored, t->length, sink, s, reterr);
        if (e > 0) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no %s", storage_name(r->storage), stored);
                return error_hint(reterr, "\"sealab repo verify\" says what else is missing.");
        }
        if (e < 0)
                return e;
        hasher_final(hasher, &digest);
        if (!sha256_equal(&digest, &t->hashes.sha256)) {
                error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s: %s is not what was signed",
                          storage_name(r->storage), stored);
                return error_hint(reterr, "\"sealab repo verify\" says what else is damaged.");
        }
        *ret_size = t->length;
        return 0;
}

int repository_fetch_target(const Repository *r, const char *path, const char *folder, Progress *progress, int *ret_fd,
                            uint64_t *ret_size, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        Sink s = { .progress = progress };
        int e;

        e = io_tmpfile(folder, &fd, reterr);
        if (e < 0)
                return e;
        s.fd = fd;
        e = stream_target(r, path, UINT64_MAX, &s, ret_size, reterr);
        if (e < 0)
                return e;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int repository_read_target(const Repository *r, const char *path, size_t max_size, Buffer *ret, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};
        Sink s = { .fd = -EBADF, .buffer = &b };
        uint64_t size;
        int e;

        e = stream_target(r, path, max_size, &s, &size, reterr);
        if (e < 0)
                return e;
        buffer_done(ret);
        *ret = b;
        b = (Buffer){};
        return 0;
}

/* ---- the pack ---- */

typedef struct Decoding {
        FrameDecoder *decoder;
        char *in, *out;
        Hasher *hasher;
} Decoding;

static void decoding_done(Decoding *d) {
        frame_decoder_free(d->decoder);
        free(d->in);
        free(d->out);
        hasher_free(d->hasher);
}

static int decode_pack(int pack, const FrameIndex *index, const Artifact *usr, int fd, Error *reterr) {
        _cleanup_(decoding_done) Decoding d = { .decoder = frame_decoder_new(), .hasher = hasher_new() };
        size_t size, packed_size;
        Sha256 digest;

        frame_index_largest(index, &size, &packed_size);
        d.in = xmalloc(packed_size);
        d.out = xmalloc(size);
        for (size_t i = 0; i < index->n_frames; i++) {
                const Frame *f = &index->frames[i];
                int r = io_pread_all(pack, d.in, f->packed_size, f->packed_offset, reterr);

                if (r >= 0)
                        r = frame_decode(d.decoder, f, d.in, d.out, reterr);
                if (r >= 0)
                        r = io_write_all(fd, d.out, f->size, reterr);
                if (r < 0)
                        return r;
                hasher_update(d.hasher, d.out, f->size);
        }
        hasher_final(d.hasher, &digest);
        if (index->image_size != usr->size || !sha256_equal(&digest, &usr->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "what it holds is not the image");
        return 0;
}

static int read_index(const Repository *r, const ReleaseDescription *d, uint64_t pack_size, FrameIndex **ret,
                      Error *reterr) {
        const Artifact *a = &d->artifacts[ARTIFACT_USR_INDEX];
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        _cleanup_buffer_ Buffer b = {};
        int e;

        if (!a->present)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s %s has no index of its pack", d->product,
                                 d->version);
        e = repository_read_target(r, a->target, FRAME_INDEX_SIZE_MAX, &b, reterr);
        if (e >= 0)
                e = frame_index_parse(b.data, b.size, "index of the pack", &index, reterr);
        if (e < 0)
                return e;
        if (index->packed_size != pack_size)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "pack and index do not belong together");
        *ret = TAKE_PTR(index);
        return 0;
}

static int fetch_image(const Repository *r, const ReleaseDescription *d, const char *folder, Progress *progress,
                       ReleaseFiles *f, Error *reterr) {
        const Artifact *usr = &d->artifacts[ARTIFACT_USR];
        _cleanup_(frame_index_freep) FrameIndex *index = NULL;
        _cleanup_close_ int pack = -EBADF;
        uint64_t pack_size;
        int e;

        e = repository_fetch_target(r, usr->target, folder, progress, &pack, &pack_size, reterr);
        if (e >= 0)
                e = read_index(r, d, pack_size, &index, reterr);
        if (e >= 0)
                e = io_tmpfile(folder, &f->image, reterr);
        if (e < 0)
                return e;
        e = decode_pack(pack, index, usr, f->image, reterr);
        if (e < 0)
                return error_prefix(reterr, "%s", usr->target);
        f->image_size = usr->size;
        return 0;
}

int release_files_fetch(const Repository *r, const ReleaseDescription *d, const char *folder, Progress *progress,
                        ReleaseFiles *ret, Error *reterr) {
        _cleanup_release_files_ ReleaseFiles f = RELEASE_FILES_NONE;
        const Artifact *uki = &d->artifacts[ARTIFACT_UKI];
        Sha256 digest;
        int e;

        if (uki->encoding != ENCODING_NONE)
                return error_set(reterr, ENOTSUP, REFUSAL_BAD_VALUE, "%s is compressed, which this program does not do",
                                 uki->target);
        e = fetch_image(r, d, folder, progress, &f, reterr);
        if (e >= 0)
                e = repository_fetch_target(r, uki->target, folder, progress, &f.uki, &f.uki_size, reterr);
        if (e >= 0)
                e = sha256_fd(f.uki, 0, f.uki_size, &digest, reterr);
        if (e < 0)
                return e;
        if (!sha256_equal(&digest, &uki->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not what its description says",
                                 uki->target);
        f.root_hash = d->root_hash;
        f.verity_salt = d->verity_salt;
        f.uki_sha256 = uki->sha256;
        *ret = f;
        f = RELEASE_FILES_NONE;
        return 0;
}
