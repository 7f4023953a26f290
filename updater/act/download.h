/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Bytes of files that metadata has signed, from whichever repository gives them: attempts that go on where the one
 * before ended, another repository after each, and an end to it all (patience.h). What comes is not trusted: whoever
 * asked compares digests.
 *
 * What is small beside an image (index, map, head of a delta) is kept in the state folder under the name of its digest
 * while an update is under way, so that whatever cuts the update does not make it come twice. */

#include "fetch-worker.h"
#include "patience.h"
#include "worker.h"

#define DOWNLOAD_FOLDER "cache"

/* As it lies on the server. */
typedef struct RemoteFile {
        const char *target; /* target path; borrowed */
        uint64_t size;
        Sha256 sha256;
} RemoteFile;

typedef struct Download {
        const FetchOptions *options;
        RemoteFile file;
        void (*progress)(uint64_t downloaded, uint64_t total, void *userdata); /* may be NULL */
        void *userdata;
        uint64_t downloaded, total;
        uint64_t kept;     /* bytes that need not be asked for again, whatever happens */
        uint64_t furthest; /* of what counts once it is complete: how far an attempt came */
        unsigned failures; /* in a row, without anything to show for */
        int64_t moved;     /* when one of these grew; monotonic, milliseconds */
        Patience patience;
        bool machine_failed; /* set by attempt(): it is this machine that could not go on */
        size_t repository;   /* index of the one in use */
} Download;

RemoteFile remote_artifact(const Offer *offer, ArtifactKind kind);
RemoteFile remote_delta(const Offer *offer, size_t delta);

/* REFUSAL_NOT_FOUND if no repository is configured. total: bytes that are expected to come. */
int download_new(const FetchOptions *opt, const RemoteFile *file, uint64_t total, Download *ret, Error *reterr);
/* Runs attempt() until it succeeds. Errors that no repository could mend (no room, cancelled) end it at once. */
int download_persist(Download *d, int (*attempt)(Download *d, void *userdata, Error *reterr), void *userdata,
                     Error *reterr);
/* For attempt(): a worker that gives ranges of the file, or frames of a pack. */
int download_start(Download *d, const FrameIndex *index, Worker **ret, Error *reterr);
int download_ask(Worker *w, uint64_t begin, uint64_t count, Error *reterr);
/* Monotonic, milliseconds. */
int64_t download_clock(void);
/* bytes have come. final: they need not be asked for again. REFUSAL_DOWNLOAD if the server is too slow. */
int download_count(Download *d, uint64_t bytes, bool final, Error *reterr);

/* A part of a file, and what it must be. */
typedef struct Document {
        RemoteFile file;
        uint64_t offset, size;
        Sha256 sha256;
        const char *what; /* for messages */
} Document;
/* An artifact that is stored as it is. */
Document document_of_artifact(const Offer *offer, ArtifactKind kind);
/* Into an open file from its beginning: what is there already is not asked for. The result was read back and is right.
 * *ret_downloaded (may be NULL) is set in any case. */
int download_into(const FetchOptions *opt, const Document *doc, int fd, const FetchSink *sink, uint64_t *ret_downloaded,
                  Error *reterr);
/* Into memory, by way of the cache. At most max_size bytes: REFUSAL_TOO_LARGE. */
int download_document(const FetchOptions *opt, const Document *doc, size_t max_size, Buffer *ret,
                      uint64_t *ret_downloaded, Error *reterr);

/* A file of the cache, made if it is not there; suffix may be "". */
int download_cache_open(const FetchOptions *opt, const Sha256 *name, const char *suffix, int *ret_fd, Error *reterr);
/* Removes what is not about one of these digests; none: everything. */
void download_cache_keep(const char *state_folder, const Sha256 *names, size_t n_names);
/* The digests under which an update by this offer keeps things. */
void download_cache_names(const Offer *offer, Sha256 **ret, size_t *ret_n);
