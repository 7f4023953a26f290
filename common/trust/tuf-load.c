/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "log.h"
#include "tuf-client-internal.h"

TufTrust tuf_trust_of_root(const TufMetadata *root, TufType type) {
        return (TufTrust){ .keys = &root->keys, .role = &root->roles[type] };
}

int tuf_document_open(TufType type, const Buffer *data, const char *what, TufTrust trust, TufMetadata **ret,
                      Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        int r = tuf_metadata_parse(type, data->data, data->size, what, &m, reterr);

        if (r >= 0)
                r = tuf_verify(m, trust.keys, trust.role, what, reterr);
        if (r >= 0)
                r = tuf_metadata_decode(m, what, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int tuf_document_check_expiry(const TufClient *c, const TufMetadata *m, const char *what, Error *reterr) {
        _cleanup_free_ char *expires = NULL, *now = NULL;

        if (c->ignore_expiry || m->expires > c->now)
                return 0;
        expires = tuf_format_time(m->expires);
        now = tuf_format_time(c->now);
        error_set(reterr, ESTALE, REFUSAL_EXPIRED, "%s: version %" PRIu64 " was valid until %s, and it is %s", what,
                  m->version, expires, now);
        return error_hint(reterr, "If this machine's clock is right, whoever runs the repository must sign it anew "
                                  "(\"sealab repo refresh\"), or somebody keeps newer metadata from this machine.");
}

int tuf_client_fetch(TufClient *c, const char *name, size_t max_size, bool conditional, Buffer *ret, Error *reterr) {
        int r;

        if (c->offline)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is not stored here, and nothing is fetched now",
                                 name);
        r = c->transport.fetch(c->transport.userdata, name, max_size, conditional, ret, reterr);
        if (r < 0 || (r == TUF_NOT_MODIFIED && conditional))
                return r;
        if (r == TUF_NOT_THERE)
                return error_set(reterr, ENOENT, REFUSAL_DOWNLOAD, "the repository has no %s", name);
        if (r != TUF_FETCHED)
                return error_set(reterr, EPROTO, REFUSAL_DOWNLOAD, "%s: the server did not deliver it", name);
        /* The transport's own promise; a broken one must not become this machine's problem. */
        if (ret->size > max_size)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: more than the %zu bytes allowed", name,
                                 max_size);
        return TUF_FETCHED;
}

int tuf_client_save(TufClient *c, const char *name, const Buffer *data, Error *reterr) {
        int r = c->storage.save(c->storage.userdata, name, data->data, data->size, reterr);

        return r < 0 ? error_prefix(reterr, "cannot store %s", name) : 0;
}

int tuf_client_load_stored(TufClient *c, TufType type, const char *name, TufTrust trust, TufMetadata **ret,
                           Buffer *ret_data) {
        _cleanup_error_ Error e = {};
        _cleanup_buffer_ Buffer data = {};
        int r = c->storage.load(c->storage.userdata, name, tuf_type_size_max(type), &data, &e);

        if (r == 0)
                r = tuf_document_open(type, &data, name, trust, ret, &e);
        if (r < 0)
                log_debug("the stored %s is of no use: %s", name, e.message);
        if (r != 0)
                return 1;
        if (ret_data) {
                buffer_done(ret_data);
                *ret_data = data;
                data = (Buffer){};
        }
        return 0;
}

/* A root vouches for itself: parsed, then decoded for its own keys, then verified by them. Only for a root that is
 * trusted for where it comes from. */
static int open_own_root(const Buffer *data, const char *what, TufMetadata **ret, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        int r = tuf_metadata_parse(TUF_ROOT, data->data, data->size, what, &m, reterr);

        if (r >= 0)
                r = tuf_metadata_decode(m, what, reterr);
        if (r >= 0)
                r = tuf_verify(m, &m->keys, &m->roles[TUF_ROOT], what, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

/* 5.2 Load the trusted root metadata file. */
int tuf_client_load_root(TufClient *c, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *root = NULL;
        _cleanup_buffer_ Buffer data = {};
        int r = c->storage.load(c->storage.userdata, "root.json", TUF_ROOT_MAX, &data, reterr);

        if (r > 0) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no root metadata is trusted here yet");
                return error_hint(reterr,
                                  "The first one comes with the image, or from whoever runs the repository by a "
                                  "way that can be trusted.");
        }
        if (r >= 0)
                r = open_own_root(&data, "the trusted root.json", &root, reterr);
        if (r < 0)
                return r;
        tuf_metadata_free(c->root);
        c->root = TAKE_PTR(root);
        return 0;
}

int tuf_client_init(TufClient *c, const void *root, size_t size, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_buffer_ Buffer data = {}, stored = {};
        int r;

        if (size > TUF_ROOT_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "root: more than the %zu bytes allowed",
                                 TUF_ROOT_MAX);
        r = c->storage.load(c->storage.userdata, "root.json", TUF_ROOT_MAX, &stored, reterr);
        if (r < 0)
                return r;
        if (r == 0)
                return tuf_client_load_root(c, reterr);
        buffer_append(&data, root, size);
        r = open_own_root(&data, "root", &m, reterr);
        if (r >= 0)
                r = tuf_client_save(c, "root.json", &data, reterr);
        if (r < 0)
                return r;
        tuf_metadata_free(c->root);
        c->root = TAKE_PTR(m);
        return 0;
}

/* ---- a document that another one describes ------------------------------------------------------------------------
 */

/* 5.5.1, 5.6.1: with consistent snapshots every state of a document keeps its own name. */
static char *remote_name(const TufClient *c, const TufWanted *w) {
        if (c->root->consistent_snapshot)
                return xasprintf("%" PRIu64 ".%s", w->meta->version, w->file);
        return xstrdup(w->file);
}

/* 5.5.4, 5.6.4 */
static int check_version(const TufWanted *w, const TufMetadata *m, Error *reterr) {
        if (m->version == w->meta->version)
                return 0;
        return error_set(reterr, EINVAL, REFUSAL_MIXED, "%s has version %" PRIu64 ", version %" PRIu64 " is listed",
                         w->file, m->version, w->meta->version);
}

/* 1: it cannot be used; *reterr says why if there is anything at all. */
static int use_stored(TufClient *c, const TufWanted *w, TufMetadata **ret, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_buffer_ Buffer data = {};
        int r = tuf_client_load_stored(c, w->type, w->file, w->trust, &m, &data);

        if (r != 0)
                return r;
        r = tuf_check_meta(w->meta, data.data, data.size, reterr);
        if (r >= 0)
                r = check_version(w, m, reterr);
        if (r >= 0)
                r = tuf_document_check_expiry(c, m, w->file, reterr);
        if (r < 0)
                return 1;
        *ret = TAKE_PTR(m);
        return 0;
}

static int open_fetched(TufClient *c, const TufWanted *w, const char *name, const Buffer *data, TufMetadata **ret,
                        Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        int r = tuf_check_meta(w->meta, data->data, data->size, reterr); /* 5.5.2, 5.6.2 */

        if (r >= 0) /* 5.5.3, 5.6.3 */
                r = tuf_document_open(w->type, data, name, w->trust, &m, reterr);
        if (r >= 0)
                r = check_version(w, m, reterr);
        if (r >= 0 && w->check) /* 5.5.5 */
                r = w->check(c, m, reterr);
        if (r >= 0) /* 5.5.6, 5.6.5 */
                r = tuf_document_check_expiry(c, m, name, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int tuf_client_obtain(TufClient *c, const TufWanted *w, TufMetadata **ret, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_free_ char *name = remote_name(c, w);
        _cleanup_buffer_ Buffer data = {};
        _cleanup_error_ Error stored = {};
        size_t max_size = tuf_type_size_max(w->type);
        int r;

        if (use_stored(c, w, ret, &stored) == 0)
                return 0;
        if (stored.id != REFUSAL_NONE && c->offline)
                return error_move(reterr, &stored);
        if (stored.id != REFUSAL_NONE)
                log_debug("the stored %s is not the one wanted: %s", w->file, stored.message);
        if (w->meta->has_length && w->meta->length > max_size)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: listed with %" PRIu64 " bytes, %zu are allowed",
                                 name, w->meta->length, max_size);
        if (w->meta->has_length)
                max_size = (size_t) w->meta->length;
        r = tuf_client_fetch(c, name, max_size, false, &data, reterr);
        if (r >= 0)
                r = open_fetched(c, w, name, &data, &m, reterr);
        if (r >= 0) /* 5.5.7, 5.6.6 */
                r = tuf_client_save(c, w->file, &data, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}
