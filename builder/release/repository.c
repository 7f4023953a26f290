/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading a repository as its maintainers see it: like a client (specification 1.0.34, section 5), except that expired
 * metadata is read as well, and that an interrupted change of keys can be recognised and finished. */

#include "repository.h"
#include "channel.h"
#include "io.h"

/* Snapshots of changes that never got a timestamp, which an interrupted change of keys may have to look through. */
#define SNAPSHOTS_AHEAD 4
#define ROOTS_MAX 100000

typedef struct Roots {
        TufMetadata **items;
        size_t n_items, n_allocated;
} Roots;

static void roots_done(Roots *roots) {
        for (size_t i = 0; i < roots->n_items; i++)
                tuf_metadata_free(roots->items[i]);
        free(roots->items);
}

/* ---- names ---- */

TufType repository_role_type(const char *name) {
        for (TufType t = 0; t < _TUF_TYPE_MAX; t++)
                if (streq(name, tuf_type_name(t)))
                        return t;
        return TUF_TARGETS;
}

char *repository_metadata_path(const char *role, uint64_t version) {
        _cleanup_free_ char *file = tuf_role_file_name(role);

        /* Section 5.3.3 and 6.2: everything but the timestamp carries its version. */
        if (streq(role, "timestamp"))
                return xasprintf(REPOSITORY_METADATA "/%s", file);
        return xasprintf(REPOSITORY_METADATA "/%" PRIu64 ".%s", version, file);
}

size_t repository_role_size_max(const char *role) {
        return tuf_type_size_max(repository_role_type(role));
}

/* ---- one document ---- */

/* Reads and parses; nothing is verified. 1: not there. */
static int read_document(Storage *s, const char *role, uint64_t version, Buffer *ret_bytes, TufMetadata **ret,
                         Error *reterr) {
        _cleanup_free_ char *path = repository_metadata_path(role, version);
        int r;

        r = storage_read(s, path, repository_role_size_max(role), ret_bytes, reterr);
        if (r != 0)
                return r;
        return tuf_metadata_parse(repository_role_type(role), ret_bytes->data, ret_bytes->size, path, ret, reterr);
}

static int missing_document(Storage *s, const char *role, uint64_t version, Error *reterr) {
        _cleanup_free_ char *path = repository_metadata_path(role, version);

        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s/%s is missing", storage_name(s), path);
        return error_hint(reterr, "The repository is damaged: bring the file back from a copy of the folder.");
}

/* A document that another one names: its length and hashes before anything is parsed, its role's signatures before
 * anything is believed, then its version. */
static int read_named(Storage *s, const char *role, uint64_t version, const TufMeta *meta, const TufKeys *keys,
                      const TufRole *by, Buffer *ret_bytes, TufMetadata **ret, Error *reterr) {
        _cleanup_free_ char *path = repository_metadata_path(role, version);
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        int r;

        r = storage_read(s, path, repository_role_size_max(role), ret_bytes, reterr);
        if (r > 0)
                return missing_document(s, role, version, reterr);
        if (r >= 0 && meta)
                r = tuf_check_meta(meta, ret_bytes->data, ret_bytes->size, reterr);
        if (r >= 0)
                r = tuf_metadata_parse(repository_role_type(role), ret_bytes->data, ret_bytes->size, path, &m, reterr);
        if (r >= 0)
                r = tuf_verify(m, keys, by, role, reterr);
        if (r >= 0)
                r = tuf_metadata_decode(m, role, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", storage_name(s));
        if (m->version != version)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s: %s has version %" PRIu64 " inside, not %" PRIu64,
                                 storage_name(s), role, m->version, version);
        *ret = TAKE_PTR(m);
        return 0;
}

/* ---- root ---- */

static int first_root(Storage *s, const char *trusted, size_t trusted_size, TufMetadata **ret, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_buffer_ Buffer b = {};
        int r;

        if (trusted)
                r = tuf_metadata_parse(TUF_ROOT, trusted, trusted_size, "the trusted root", &m, reterr);
        else
                r = read_document(s, "root", 1, &b, &m, reterr);
        if (r > 0) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND,
                          "%s holds no repository (no " REPOSITORY_METADATA "/1.root.json)", storage_name(s));
                return error_hint(reterr, "Is the place right? A new one is made by: sealab repo init %s --keys KEYS",
                                  storage_name(s));
        }
        /* A first root vouches for itself: its keys have to be read before its signatures can be. */
        if (r >= 0)
                r = tuf_metadata_decode(m, "root", reterr);
        if (r >= 0)
                r = tuf_verify(m, &m->keys, &m->roles[TUF_ROOT], "root", reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", storage_name(s));
        *ret = TAKE_PTR(m);
        return 0;
}

/* Section 5.3: each root is signed by the one before and by itself. 1: there is no further one. */
static int next_root(Storage *s, const TufMetadata *current, TufMetadata **ret, Error *reterr) {
        _cleanup_free_ char *what = xasprintf("root %" PRIu64, current->version + 1);
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_buffer_ Buffer b = {};
        int r;

        r = read_document(s, "root", current->version + 1, &b, &m, reterr);
        if (r > 0)
                return 1;
        if (r >= 0)
                r = tuf_verify(m, &current->keys, &current->roles[TUF_ROOT], what, reterr);
        if (r >= 0)
                r = tuf_metadata_decode(m, what, reterr);
        if (r >= 0 && m->version != current->version + 1)
                r = error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s has version %" PRIu64 " inside", what, m->version);
        if (r >= 0)
                r = tuf_verify(m, &m->keys, &m->roles[TUF_ROOT], what, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", storage_name(s));
        *ret = TAKE_PTR(m);
        return 0;
}

static int load_roots(Storage *s, const char *trusted, size_t trusted_size, Roots *roots, Error *reterr) {
        TufMetadata *m = NULL;
        int r;

        r = first_root(s, trusted, trusted_size, &m, reterr);
        while (r == 0) {
                GROW(roots->items, roots->n_items, roots->n_allocated);
                roots->items[roots->n_items++] = m;
                if (roots->n_items > ROOTS_MAX)
                        return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "%s has more than %d roots", storage_name(s),
                                         ROOTS_MAX);
                r = next_root(s, m, &m, reterr);
        }
        return r < 0 ? r : 0;
}

/* ---- the rest ---- */

static void forget_documents(Repository *r) {
        for (size_t i = 0; i < r->n_channels; i++)
                tuf_metadata_free(r->channels[i]);
        free(r->channels);
        r->channels = NULL;
        r->n_channels = 0;
        r->targets = tuf_metadata_free(r->targets);
        r->snapshot = tuf_metadata_free(r->snapshot);
}

static int load_timestamp(Repository *r, const Roots *roots, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error refused = {};
        int e;

        e = read_document(r->storage, "timestamp", 0, &b, &m, reterr);
        if (e > 0)
                return missing_document(r->storage, "timestamp", 0, reterr);
        if (e < 0)
                return error_prefix(reterr, "%s", storage_name(r->storage));
        e = tuf_verify(m, &r->root->keys, &r->root->roles[TUF_TIMESTAMP], "timestamp", &refused);
        /* What an earlier root vouches for is only believed as far as version numbers go (load_interrupted()). */
        for (size_t i = roots->n_items - 1; e < 0 && i > 0; i--) {
                const TufMetadata *root = roots->items[i - 1];

                if (tuf_verify(m, &root->keys, &root->roles[TUF_TIMESTAMP], "timestamp", NULL) < 0)
                        continue;
                r->interrupted = true;
                e = 0;
        }
        if (e < 0)
                (void) error_move(reterr, &refused);
        else
                e = tuf_metadata_decode(m, "timestamp", reterr);
        if (e < 0)
                return error_prefix(reterr, "%s", storage_name(r->storage));
        r->timestamp = TAKE_PTR(m);
        return 0;
}

static int load_channels(Repository *r, Error *reterr) {
        r->channels = xnew(TufMetadata *, r->targets->n_delegations + 1);
        for (size_t i = 0; i < r->targets->n_delegations; i++) {
                const TufDelegation *d = &r->targets->delegations[i];
                _cleanup_free_ char *file = tuf_role_file_name(d->name);
                const TufMeta *meta = tuf_find_meta(r->snapshot, file);
                _cleanup_buffer_ Buffer b = {};
                int e;

                if (!meta)
                        return error_set(reterr, EBADMSG, REFUSAL_MIXED,
                                         "%s: the snapshot does not name %s, to which targets delegates",
                                         storage_name(r->storage), file);
                e = read_named(r->storage, d->name, meta->version, meta, &r->targets->keys, &d->role, &b,
                               &r->channels[r->n_channels], reterr);
                if (e < 0)
                        return e;
                e = channel_check(r->channels[r->n_channels++], d->name, reterr);
                if (e < 0)
                        return error_prefix(reterr, "%s", storage_name(r->storage));
        }
        return 0;
}

static int load_documents(Repository *r, uint64_t version, const TufMeta *meta, Error *reterr) {
        _cleanup_buffer_ Buffer snapshot = {}, targets = {};
        const TufMeta *of_targets;
        int e;

        forget_documents(r);
        e = read_named(r->storage, "snapshot", version, meta, &r->root->keys, &r->root->roles[TUF_SNAPSHOT], &snapshot,
                       &r->snapshot, reterr);
        if (e < 0)
                return e;
        r->snapshot_size = snapshot.size;
        sha256_buffer(snapshot.data, snapshot.size, &r->snapshot_sha256);
        of_targets = tuf_find_meta(r->snapshot, "targets.json");
        if (!of_targets)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s: the snapshot does not name targets.json",
                                 storage_name(r->storage));
        e = read_named(r->storage, "targets", of_targets->version, of_targets, &r->root->keys,
                       &r->root->roles[TUF_TARGETS], &targets, &r->targets, reterr);
        return e < 0 ? e : load_channels(r, reterr);
}

/* A change of keys whose old keys are lost publishes its root first (change-commit.c, ORDER). Where it stopped then,
 * everything but the timestamp is there and signed by the new keys: as the current snapshot if only the timestamp's key
 * changed, else as the next one. */
static int load_interrupted(Repository *r, Error *reterr) {
        uint64_t version = r->timestamp->meta[0].version;
        int e = 0;

        for (unsigned ahead = 0; ahead < SNAPSHOTS_AHEAD; ahead++) {
                _cleanup_error_ Error tried = {};

                if (load_documents(r, version + ahead, NULL, &tried) >= 0)
                        return 0;
                if (ahead == 0)
                        e = error_move(reterr, &tried);
        }
        return e;
}

static int load_below_timestamp(Repository *r, Error *reterr) {
        const TufMeta *meta = &r->timestamp->meta[0];
        _cleanup_error_ Error refused = {};

        if (!r->interrupted && load_documents(r, meta->version, meta, &refused) >= 0)
                return 0;
        /* Anything but signatures that are no longer those of the role is damage. */
        if (!r->interrupted && (refused.id != REFUSAL_BAD_SIGNATURE || r->root->version == 1))
                return error_move(reterr, &refused);
        r->interrupted = true;
        return load_interrupted(r, reterr);
}

int repository_open(Storage *storage, const char *trusted_root, size_t trusted_root_size, Repository **ret,
                    Error *reterr) {
        _cleanup_(repository_freep) Repository *r = xnew(Repository, 1);
        _cleanup_(roots_done) Roots roots = {};
        int e;

        r->storage = storage;
        e = load_roots(storage, trusted_root, trusted_root_size, &roots, reterr);
        if (e < 0)
                return e;
        r->root = roots.items[roots.n_items - 1];
        if (!r->root->consistent_snapshot)
                e = error_set(reterr, ENOTSUP, REFUSAL_BAD_VALUE,
                              "%s has no consistent snapshots (root says so); sealab keeps only repositories that have",
                              storage_name(storage));
        if (e >= 0)
                e = load_timestamp(r, &roots, reterr);
        /* Not earlier: the timestamp may need the roots before the last. */
        roots.n_items--;
        if (e >= 0)
                e = load_below_timestamp(r, reterr);
        if (e < 0)
                return e;
        *ret = TAKE_PTR(r);
        return 0;
}

Repository *repository_free(Repository *r) {
        if (r) {
                forget_documents(r);
                tuf_metadata_free(r->root);
                tuf_metadata_free(r->timestamp);
                free(r);
        }
        return NULL;
}

/* ---- looking into it ---- */

const TufMetadata *repository_role(const Repository *r, const char *name) {
        if (streq(name, "root"))
                return r->root;
        if (streq(name, "timestamp"))
                return r->timestamp;
        if (streq(name, "snapshot"))
                return r->snapshot;
        if (streq(name, "targets"))
                return r->targets;
        for (size_t i = 0; i < r->n_channels; i++)
                if (streq(r->targets->delegations[i].name, name))
                        return r->channels[i];
        return NULL;
}

int repository_role_keys(const Repository *r, const char *name, const TufKeys **ret_keys, const TufRole **ret_role) {
        for (TufType t = 0; t < _TUF_TYPE_MAX; t++)
                if (streq(name, tuf_type_name(t))) {
                        *ret_keys = &r->root->keys;
                        *ret_role = &r->root->roles[t];
                        return 0;
                }
        for (size_t i = 0; i < r->targets->n_delegations; i++)
                if (streq(r->targets->delegations[i].name, name)) {
                        *ret_keys = &r->targets->keys;
                        *ret_role = &r->targets->delegations[i].role;
                        return 0;
                }
        return 1;
}

uint64_t *repository_expiry_member(RepositoryExpiry *e, const char *role) {
        if (streq(role, "root"))
                return &e->root;
        if (streq(role, "targets"))
                return &e->targets;
        if (streq(role, "snapshot"))
                return &e->snapshot;
        if (streq(role, "timestamp"))
                return &e->timestamp;
        return &e->channel;
}

static const char *const expiry_names[] = { "root", "targets", "channel", "snapshot", "timestamp" };

RepositoryExpiry repository_expiry_of(const json_t *signed_root) {
        RepositoryExpiry expiry = REPOSITORY_EXPIRY_DEFAULT;
        const json_t *o = json_object_get(signed_root, "sealab-expiry");

        for (size_t i = 0; i < ELEMENTSOF(expiry_names); i++) {
                json_int_t seconds = json_integer_value(json_object_get(o, expiry_names[i]));

                if (seconds > 0 && seconds <= REPOSITORY_EXPIRY_MAX)
                        *repository_expiry_member(&expiry, expiry_names[i]) = (uint64_t) seconds;
        }
        return expiry;
}

RepositoryExpiry repository_expiry(const Repository *r) {
        return repository_expiry_of(json_object_get(r->root->document, "signed"));
}

json_t *repository_expiry_to_json(const RepositoryExpiry *e) {
        RepositoryExpiry copy = *e;
        json_t *o = json_object();

        for (size_t i = 0; i < ELEMENTSOF(expiry_names); i++)
                json_object_set_new(o, expiry_names[i],
                                    json_integer((json_int_t) *repository_expiry_member(&copy, expiry_names[i])));
        return o;
}

char *repository_target_path(const char *target_path, const TufHashes *hashes) {
        _cleanup_free_ char *hash =
                hashes->has_sha256 ? sha256_hex(&hashes->sha256) : hex_encode(hashes->sha512, sizeof(hashes->sha512));
        const char *name = path_basename(target_path);

        return xasprintf(REPOSITORY_TARGETS "/%.*s%s.%s", (int) (name - target_path), target_path, hash, name);
}
