/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "log.h"
#include "tuf-client-internal.h"

TufClient *tuf_client_new(TufTransport transport, TufStorage storage, int64_t now) {
        TufClient *c = xnew(TufClient, 1);

        c->transport = transport;
        c->storage = storage;
        c->now = now; /* 5.1 Record fixed update start time. */
        return c;
}

void tuf_client_forget_delegated(TufClient *c) {
        for (size_t i = 0; i < c->n_delegated; i++) {
                free(c->delegated[i].role);
                tuf_metadata_free(c->delegated[i].metadata);
        }
        c->n_delegated = 0;
}

static void forget(TufClient *c) {
        tuf_metadata_free(TAKE_PTR(c->timestamp));
        tuf_metadata_free(TAKE_PTR(c->snapshot));
        tuf_metadata_free(TAKE_PTR(c->targets));
        tuf_client_forget_delegated(c);
}

TufClient *tuf_client_free(TufClient *c) {
        if (!c)
                return NULL;
        forget(c);
        free(c->delegated);
        tuf_metadata_free(c->root);
        free(c);
        return NULL;
}

/* ---- 5.3 Update the root role -------------------------------------------------------------------------------------
 */

/* Whether a key that could sign for the role before no longer can. A key that is merely added takes nothing away from
 * whom a stolen one belongs to, so nothing is recovered by it. */
static bool lost_key(const TufMetadata *old, const TufMetadata *new, TufType type) {
        STRV_FOREACH (id, old->roles[type].key_ids) {
                const TufKey *was = tuf_keys_find(&old->keys, *id), *is = tuf_keys_find(&new->keys, *id);

                if (!was)
                        continue;
                if (!strv_contains(new->roles[type].key_ids, *id) || !is || !tuf_key_same(was, is))
                        return true;
        }
        return false;
}

/* 5.3.11: if the timestamp's or the snapshot's keys were rotated, both documents go, for with a stolen key their
 * versions may have been raised beyond what the repository will reach in its life.
 *
 * ORDER: before the new root is stored. The other way round a power cut between the two would leave the documents for
 * good if the role also keeps a key, and with them a machine that refuses every honest timestamp. */
static int recover_from_fast_forward(TufClient *c, const TufMetadata *new, Error *reterr) {
        static const char *const documents[] = { "timestamp.json", "snapshot.json" };

        if (!lost_key(c->root, new, TUF_TIMESTAMP) && !lost_key(c->root, new, TUF_SNAPSHOT))
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(documents); i++) {
                int r = c->storage.remove(c->storage.userdata, documents[i], reterr);

                if (r < 0)
                        return error_prefix(reterr, "cannot remove %s", documents[i]);
        }
        return 0;
}

/* 5.3.5: exactly the next version. */
static int check_next_version(const TufClient *c, const TufMetadata *m, const char *name, Error *reterr) {
        if (m->version == c->root->version + 1)
                return 0;
        return error_set(reterr, EINVAL, m->version <= c->root->version ? REFUSAL_ROLLBACK : REFUSAL_MIXED,
                         "%s has version %" PRIu64 " in it; version %" PRIu64 " is trusted", name, m->version,
                         c->root->version);
}

static int accept_root(TufClient *c, const char *name, const Buffer *data, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        TufTrust old = tuf_trust_of_root(c->root, TUF_ROOT), own;
        int r = tuf_document_open(TUF_ROOT, data, name, old, &m, reterr); /* 5.3.4, by the old root's keys */

        if (r < 0)
                return r;
        own = tuf_trust_of_root(m, TUF_ROOT); /* 5.3.4, by its own keys */
        r = tuf_verify(m, own.keys, own.role, name, reterr);
        if (r >= 0)
                r = check_next_version(c, m, name, reterr);
        if (r >= 0)
                r = recover_from_fast_forward(c, m, reterr);
        if (r >= 0) /* 5.3.8 */
                r = tuf_client_save(c, "root.json", data, reterr);
        if (r < 0)
                return r;
        tuf_metadata_free(c->root); /* 5.3.7 */
        c->root = TAKE_PTR(m);
        return 0;
}

/* 1: there is none. */
static int next_root(TufClient *c, Error *reterr) {
        _cleanup_free_ char *name = NULL;
        _cleanup_buffer_ Buffer data = {};
        int r;

        if (c->root->version >= (uint64_t) TUF_VERSION_MAX)
                return 1;
        name = xasprintf("%" PRIu64 ".root.json", c->root->version + 1);
        r = c->transport.fetch(c->transport.userdata, name, TUF_ROOT_MAX, false, &data, reterr); /* 5.3.3 */
        if (r < 0)
                return r;
        if (r == TUF_NOT_THERE)
                return 1;
        if (r != TUF_FETCHED)
                return error_set(reterr, EPROTO, REFUSAL_DOWNLOAD, "%s: the server did not deliver it", name);
        if (data.size > TUF_ROOT_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: more than the %zu bytes allowed", name,
                                 TUF_ROOT_MAX);
        return accept_root(c, name, &data, reterr);
}

static int update_root(TufClient *c, Error *reterr) {
        int r = 0;

        /* 5.3.9. Those beyond the limit come with the next refresh; each one accepted is stored. */
        for (unsigned i = 0; i < TUF_ROOT_ROTATIONS_MAX && r == 0; i++)
                r = next_root(c, reterr);
        if (r < 0)
                return r;
        return tuf_document_check_expiry(c, c->root, "root.json", reterr); /* 5.3.10 */
}

/* ---- 5.4 Update the timestamp role --------------------------------------------------------------------------------
 */

static const TufMeta *snapshot_meta(const TufMetadata *timestamp) {
        return tuf_find_meta(timestamp, "snapshot.json");
}

static int check_timestamp_rollback(const TufMetadata *old, const TufMetadata *new, Error *reterr) {
        const TufMeta *was = snapshot_meta(old), *is = snapshot_meta(new);

        /* 5.4.3.1 */
        if (new->version < old->version)
                return error_set(reterr, ESTALE, REFUSAL_ROLLBACK,
                                 "timestamp.json has version %" PRIu64 ", but version %" PRIu64 " was seen before",
                                 new->version, old->version);
        /* 5.4.3.2 */
        if (is->version < was->version)
                return error_set(reterr, ESTALE, REFUSAL_ROLLBACK,
                                 "timestamp.json lists version %" PRIu64 " of snapshot.json, but version %" PRIu64
                                 " was listed before",
                                 is->version, was->version);
        return 0;
}

/* *old: the one trusted so far, or NULL. 1: it stays. */
static int fetch_timestamp(TufClient *c, const TufMetadata *old, TufMetadata **ret, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_buffer_ Buffer data = {};
        TufTrust trust = tuf_trust_of_root(c->root, TUF_TIMESTAMP);
        int r = tuf_client_fetch(c, "timestamp.json", TUF_TIMESTAMP_MAX, old, &data, reterr); /* 5.4.1 */

        if (r < 0)
                return r;
        if (r == TUF_NOT_MODIFIED)
                return 1;
        r = tuf_document_open(TUF_TIMESTAMP, &data, "timestamp.json", trust, &m, reterr); /* 5.4.2 */
        if (r < 0)
                return r;
        if (old && m->version == old->version) /* 5.4.3.1: nothing new, whatever else is in it */
                return 1;
        if (old)
                r = check_timestamp_rollback(old, m, reterr);
        if (r >= 0) /* 5.4.4 */
                r = tuf_document_check_expiry(c, m, "timestamp.json", reterr);
        if (r >= 0) /* 5.4.5 */
                r = tuf_client_save(c, "timestamp.json", &data, reterr);
        if (r < 0)
                return r;
        if (c->transport.remember)
                c->transport.remember(c->transport.userdata);
        *ret = TAKE_PTR(m);
        return 0;
}

static int update_timestamp(TufClient *c, bool *ret_changed, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *old = NULL;
        TufTrust trust = tuf_trust_of_root(c->root, TUF_TIMESTAMP);
        int r;

        /* An expired one still knows which versions were there. */
        (void) tuf_client_load_stored(c, TUF_TIMESTAMP, "timestamp.json", trust, &old, NULL);
        r = fetch_timestamp(c, old, &c->timestamp, reterr);
        if (r < 0)
                return r;
        *ret_changed = r == 0;
        if (r == 0)
                return 0;
        r = tuf_document_check_expiry(c, old, "timestamp.json", reterr);
        if (r < 0)
                return r;
        c->timestamp = TAKE_PTR(old);
        return 0;
}

/* ---- 5.5 Update the snapshot role, 5.6 the targets role -----------------------------------------------------------
 */

/* 5.5.5: what was listed stays listed, and no version falls. */
static int check_snapshot_rollback(TufClient *c, const TufMetadata *m, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *old = NULL;
        TufTrust trust = tuf_trust_of_root(c->root, TUF_SNAPSHOT);

        /* Its hash and its expiry do not matter here: it was trusted once, by the keys that are trusted now. */
        if (tuf_client_load_stored(c, TUF_SNAPSHOT, "snapshot.json", trust, &old, NULL) != 0)
                return 0;
        if (m->version < old->version)
                return error_set(reterr, ESTALE, REFUSAL_ROLLBACK,
                                 "snapshot.json has version %" PRIu64 ", but version %" PRIu64 " was seen before",
                                 m->version, old->version);
        for (size_t i = 0; i < old->n_meta; i++) {
                const TufMeta *is = tuf_find_meta(m, old->meta[i].name);

                if (!is)
                        return error_set(reterr, ESTALE, REFUSAL_ROLLBACK,
                                         "snapshot.json no longer lists %s, which it did before", old->meta[i].name);
                if (is->version < old->meta[i].version)
                        return error_set(reterr, ESTALE, REFUSAL_ROLLBACK,
                                         "snapshot.json lists version %" PRIu64 " of %s, but version %" PRIu64
                                         " was listed before",
                                         is->version, is->name, old->meta[i].version);
        }
        return 0;
}

static int update_snapshot(TufClient *c, Error *reterr) {
        TufWanted w = { .type = TUF_SNAPSHOT,
                        .file = "snapshot.json",
                        .meta = snapshot_meta(c->timestamp),
                        .trust = tuf_trust_of_root(c->root, TUF_SNAPSHOT),
                        .check = check_snapshot_rollback };

        return tuf_client_obtain(c, &w, &c->snapshot, reterr);
}

static int update_targets(TufClient *c, Error *reterr) {
        TufWanted w = { .type = TUF_TARGETS,
                        .file = "targets.json",
                        .meta = tuf_find_meta(c->snapshot, "targets.json"),
                        .trust = tuf_trust_of_root(c->root, TUF_TARGETS) };

        if (!w.meta)
                return error_set(reterr, EINVAL, REFUSAL_MIXED, "snapshot.json does not list targets.json");
        return tuf_client_obtain(c, &w, &c->targets, reterr);
}

int tuf_client_refresh(TufClient *c, bool *ret_changed, Error *reterr) {
        bool changed = false;
        int r;

        forget(c);
        c->offline = false;
        c->ignore_expiry = false;
        r = tuf_client_load_root(c, reterr); /* 5.2 */
        if (r >= 0)
                r = update_root(c, reterr); /* 5.3 */
        if (r >= 0)
                r = update_timestamp(c, &changed, reterr); /* 5.4 */
        if (r >= 0)
                r = update_snapshot(c, reterr); /* 5.5 */
        if (r >= 0)
                r = update_targets(c, reterr); /* 5.6 */
        if (r < 0) {
                forget(c); /* half a state is none */
                return r;
        }
        if (ret_changed)
                *ret_changed = changed;
        return 0;
}

static int load_timestamp(TufClient *c, Error *reterr) {
        TufTrust trust = tuf_trust_of_root(c->root, TUF_TIMESTAMP);
        int r = tuf_client_load_stored(c, TUF_TIMESTAMP, "timestamp.json", trust, &c->timestamp, NULL);

        if (r != 0) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no timestamp.json that can be trusted is stored here");
                return error_hint(reterr, "The repository must be reached once before.");
        }
        return tuf_document_check_expiry(c, c->timestamp, "timestamp.json", reterr);
}

int tuf_client_load(TufClient *c, bool ignore_expiry, Error *reterr) {
        int r;

        forget(c);
        c->offline = true;
        c->ignore_expiry = ignore_expiry;
        r = tuf_client_load_root(c, reterr);
        if (r >= 0)
                r = tuf_document_check_expiry(c, c->root, "root.json", reterr);
        if (r >= 0)
                r = load_timestamp(c, reterr);
        if (r >= 0)
                r = update_snapshot(c, reterr);
        if (r >= 0)
                r = update_targets(c, reterr);
        if (r < 0)
                forget(c);
        return r < 0 ? r : 0;
}

const TufMetadata *tuf_client_root(const TufClient *c) {
        return c->root;
}

const TufMetadata *tuf_client_timestamp(const TufClient *c) {
        return c->timestamp;
}

const TufMetadata *tuf_client_snapshot(const TufClient *c) {
        return c->snapshot;
}

const TufMetadata *tuf_client_targets(const TufClient *c) {
        return c->targets;
}
