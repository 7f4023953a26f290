/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "repo-check.h"
#include "http.h"
#include "io.h"
#include "log.h"

/* ---- what is referenced ---- */

void repo_files_done(RepoFiles *f) {
        storage_entries_free(f->entries, f->n_entries);
        free(f->referenced);
        *f = (RepoFiles){};
}

static int compare_name(const void *key, const void *entry) {
        return strcmp(key, ((const StorageEntry *) entry)->name);
}

static const StorageEntry *find_entry(const RepoFiles *f, const char *name) {
        return f->n_entries > 0 ? bsearch(name, f->entries, f->n_entries, sizeof(*f->entries), compare_name) : NULL;
}

static void reference(RepoFiles *f, const char *name) {
        const StorageEntry *e = find_entry(f, name);

        if (e)
                f->referenced[e - f->entries] = true;
}

static void reference_targets(RepoFiles *f, const TufMetadata *m) {
        for (size_t i = 0; i < m->n_targets; i++) {
                _cleanup_free_ char *path = repository_target_path(m->targets[i].path, &m->targets[i].hashes);

                reference(f, path);
        }
}

/* "metadata/12.stable.json" -> 12, "stable.json"; false: not of that shape. */
static bool parse_metadata_name(const char *name, uint64_t *ret_version, const char **ret_file) {
        const char *file = startswith(name, REPOSITORY_METADATA "/"), *dot = file ? strchr(file, '.') : NULL;
        _cleanup_free_ char *digits = dot ? xstrndup(file, (size_t) (dot - file)) : NULL;

        if (!digits || !parse_u64(digits, ret_version))
                return false;
        *ret_file = dot + 1;
        return true;
}

/* When the document was replaced by its successor; INT64_MAX: it was not. */
static int64_t superseded_at(const RepoFiles *f, const char *file, uint64_t version) {
        _cleanup_free_ char *next = xasprintf(REPOSITORY_METADATA "/%" PRIu64 ".%s", version + 1, file);
        const StorageEntry *e = find_entry(f, next);

        return e ? e->modified : INT64_MAX;
}

static const TufMetadata *current_of_file(const Repository *r, const char *file) {
        const char *const names[] = { "snapshot", "targets" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *own = tuf_role_file_name(names[i]);

                if (streq(own, file))
                        return repository_role(r, names[i]);
        }
        for (size_t i = 0; i < r->n_channels; i++) {
                _cleanup_free_ char *own = tuf_role_file_name(r->targets->delegations[i].name);

                if (streq(own, file))
                        return r->channels[i];
        }
        return NULL;
}

/* An older document's targets: not verified, for it can only keep files, never remove one. */
static void reference_old(const Repository *r, RepoFiles *f, const char *name, const char *file) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_buffer_ Buffer b = {};

        if (streq(file, "snapshot.json"))
                return;
        if (storage_read(r->storage, name, tuf_type_size_max(TUF_TARGETS), &b, NULL) == 0 &&
            tuf_metadata_parse(TUF_TARGETS, b.data, b.size, name, &m, NULL) >= 0 &&
            tuf_metadata_decode(m, name, NULL) >= 0)
                reference_targets(f, m);
}

static void reference_metadata(const Repository *r, RepoFiles *f, size_t i, int64_t now) {
        const StorageEntry *e = &f->entries[i];
        const TufMetadata *current;
        const char *file;
        uint64_t version;
        bool young;

        if (streq(e->name, REPOSITORY_METADATA "/timestamp.json"))
                f->referenced[i] = true;
        if (!parse_metadata_name(e->name, &version, &file))
                return;
        /* Clients that were away for long need every root (section 5.3). */
        if (streq(file, "root.json")) {
                f->referenced[i] = true;
                return;
        }
        current = current_of_file(r, file);
        if (!current)
                return;
        young = now != INT64_MAX && superseded_at(f, file, version) > now - REPO_GRACE_SECONDS;
        if (version == current->version)
                f->referenced[i] = true;
        else if (version < current->version) {
                f->referenced[i] = young || (now != INT64_MAX && version + REPO_KEEP_VERSIONS >= current->version);
                if (young)
                        reference_old(r, f, e->name, file);
        }
        /* What is above the current version was left by an interrupted change: the grace below is all it gets. */
}

int repo_files_list(const Repository *r, int64_t now, RepoFiles *ret, Error *reterr) {
        _cleanup_(repo_files_done) RepoFiles f = {};
        StorageEntry *targets = NULL;
        size_t n_targets = 0;
        int e;

        e = storage_list(r->storage, REPOSITORY_METADATA "/", &f.entries, &f.n_entries, reterr);
        if (e >= 0)
                e = storage_list(r->storage, REPOSITORY_TARGETS "/", &targets, &n_targets, reterr);
        if (e < 0)
                return e;
        /* Sorted as a whole: "metadata/" comes before "targets/". */
        f.entries = xrealloc(f.entries, f.n_entries + n_targets + 1, sizeof(*f.entries));
        for (size_t i = 0; i < n_targets; i++)
                f.entries[f.n_entries++] = targets[i];
        free(targets);
        f.referenced = xnew(bool, f.n_entries + 1);
        reference_targets(&f, r->targets);
        for (size_t i = 0; i < r->n_channels; i++)
                reference_targets(&f, r->channels[i]);
        for (size_t i = 0; i < f.n_entries; i++)
                reference_metadata(r, &f, i, now);
        for (size_t i = 0; now != INT64_MAX && i < f.n_entries; i++)
                f.referenced[i] |= f.entries[i].modified > now - REPO_GRACE_SECONDS;
        *ret = f;
        f = (RepoFiles){};
        return 0;
}

/* ---- verify ---- */

typedef struct Sink {
        Hasher *hasher;
        uint64_t size;
        Progress *progress;
} Sink;

static int sink(const void *data, size_t size, void *userdata, Error *reterr) {
        Sink *s = userdata;

        hasher_update(s->hasher, data, size);
        s->size += size;
        progress_advance(s->progress, size);
        return 0;
}

typedef struct Verifying {
        const Repository *repository;
        const char *place;
        HttpClient *http; /* for web servers */
        Progress *progress;
        json_t *damaged;
        json_t *seen; /* a set: channels share targets */
        uint64_t n_targets, n_bytes;
} Verifying;

static bool is_web(const char *place) {
        return startswith(place, "https://") || startswith(place, "http://");
}

static int hash_streamed(Verifying *v, const char *path, uint64_t size, Sha256 *ret_hash, uint64_t *ret_size,
                         Error *reterr) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_free_ char *url = http_join(v->place, path);
        Sink s = { .hasher = hasher, .progress = v->progress };
        int r;

        r = http_stream(v->http, url, 0, size, 0, sink, &s, reterr);
        if (r < 0)
                return r;
        hasher_final(hasher, ret_hash);
        *ret_size = s.size;
        return 0;
}

static int hash_stored(Verifying *v, const char *path, uint64_t size, Sha256 *ret_hash, uint64_t *ret_size,
                       Error *reterr) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        Sink s = { .hasher = hasher, .progress = v->progress };
        int r;

        r = storage_stream(v->repository->storage, path, size, sink, &s, reterr);
        if (r > 0)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "it is missing");
        if (r < 0)
                return r;
        hasher_final(hasher, ret_hash);
        *ret_size = s.size;
        return 0;
}

static int hash_target(Verifying *v, const char *path, uint64_t size, Sha256 *ret_hash, uint64_t *ret_size,
                       Error *reterr) {
        _cleanup_free_ char *local = NULL;
        int r;

        if (v->http)
                return hash_streamed(v, path, size, ret_hash, ret_size, reterr);
        if (startswith(v->place, "s3://") || is_web(v->place))
                return hash_stored(v, path, size, ret_hash, ret_size, reterr);
        local = path_join(storage_name(v->repository->storage), path);
        r = sha256_file(AT_FDCWD, local, ret_hash, ret_size, reterr);
        if (r >= 0)
                progress_advance(v->progress, *ret_size);
        return r;
}

static void damaged(Verifying *v, const char *path, const char *why) {
        json_array_append_new(v->damaged, json_pack("{s:s, s:s}", "file", path, "reason", why));
}

static void verify_target(Verifying *v, const TufTarget *t) {
        _cleanup_free_ char *path = repository_target_path(t->path, &t->hashes), *why = NULL;
        _cleanup_error_ Error e = {};
        uint64_t size = 0;
        Sha256 hash = {};

        if (json_object_get(v->seen, path))
                return;
        json_object_set_new(v->seen, path, json_true());
        v->n_targets++;
        v->n_bytes += t->length;
        progress_detail(v->progress, "%s", t->path);
        if (hash_target(v, path, t->length, &hash, &size, &e) < 0)
                damaged(v, path, e.message);
        else if (size != t->length) {
                why = xasprintf("%" PRIu64 " bytes, the metadata says %" PRIu64, size, t->length);
                damaged(v, path, why);
        } else if (!t->hashes.has_sha256 || !sha256_equal(&hash, &t->hashes.sha256))
                damaged(v, path, "its content is not what the metadata says");
}

static json_t *unreferenced(const Repository *r, const char *place) {
        _cleanup_(repo_files_done) RepoFiles f = {};
        _cleanup_error_ Error e = {};
        json_t *list;

        if (repo_files_list(r, INT64_MAX, &f, &e) < 0) {
                log_debug("%s: %s", place, e.message);
                return json_null();
        }
        list = json_array();
        for (size_t i = 0; i < f.n_entries; i++)
                if (!f.referenced[i])
                        json_array_append_new(list, json_string(f.entries[i].name));
        return list;
}

int repo_verify(const Repository *r, const char *place, int64_t now, Progress *progress, json_t **ret, Error *reterr) {
        _cleanup_(http_client_freep) HttpClient *http = NULL;
        _cleanup_json_ json_t *list = json_array(), *seen = json_object();
        Verifying v = { .repository = r, .place = place, .progress = progress, .damaged = list, .seen = seen };
        uint64_t total = 0;
        int e = 0;

        /* With credentials it is a bucket, whose files others perhaps cannot read. */
        if (is_web(place) && isempty(getenv("AWS_ACCESS_KEY_ID")))
                e = http_client_new(NULL, &http, reterr);
        if (e < 0)
                return e;
        v.http = http;
        progress_begin(progress, "verify", "Verifying targets");
        for (size_t i = 0; i < r->n_channels; i++)
                for (size_t j = 0; j < r->channels[i]->n_targets; j++)
                        total += r->channels[i]->targets[j].length;
        progress_total(progress, total);
        for (size_t j = 0; j < r->targets->n_targets; j++)
                verify_target(&v, &r->targets->targets[j]);
        for (size_t i = 0; i < r->n_channels; i++)
                for (size_t j = 0; j < r->channels[i]->n_targets; j++)
                        verify_target(&v, &r->channels[i]->targets[j]);
        progress_end(progress, NULL);
        if (r->interrupted)
                damaged(&v, REPOSITORY_METADATA "/timestamp.json",
                        "a change of keys was interrupted before it was "
                        "written; any change, or a refresh, finishes it");
        *ret = json_pack("{s:s, s:I, s:I, s:O, s:o}", "repository", storage_name(r->storage), "targets",
                         (json_int_t) v.n_targets, "bytes", (json_int_t) v.n_bytes, "damaged", list, "unreferenced",
                         unreferenced(r, place));
        return json_array_size(list) > 0 ? 1 : 0;
}

/* ---- gc ---- */

int repo_gc(const Repository *r, int64_t now, bool dry_run, json_t **ret, Error *reterr) {
        _cleanup_(repo_files_done) RepoFiles f = {};
        _cleanup_json_ json_t *removed = json_array();
        uint64_t bytes = 0;
        int e;

        e = repo_files_list(r, now, &f, reterr);
        if (e < 0)
                return e;
        for (size_t i = 0; i < f.n_entries; i++) {
                if (f.referenced[i])
                        continue;
                if (!dry_run)
                        e = storage_remove(r->storage, f.entries[i].name, reterr);
                if (e < 0)
                        return e;
                json_array_append_new(removed, json_string(f.entries[i].name));
                bytes += f.entries[i].size;
        }
        *ret = json_pack("{s:O, s:I}", "removed", removed, "bytes", (json_int_t) bytes);
        return 0;
}
