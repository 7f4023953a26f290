/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The envelope, the rule by which signatures count, and what callers look up. */

#include "tuf-internal.h"
#include "tuf-json.h"

static const struct {
        const char *name;
        size_t size_max;
} types[_TUF_TYPE_MAX] = {
        [TUF_ROOT] = { "root", TUF_ROOT_MAX },
        [TUF_TIMESTAMP] = { "timestamp", TUF_TIMESTAMP_MAX },
        [TUF_SNAPSHOT] = { "snapshot", TUF_SNAPSHOT_MAX },
        [TUF_TARGETS] = { "targets", TUF_TARGETS_MAX },
};

/* ---- the envelope ---------------------------------------------------------------------------------------- */

static int check_signature(const json_t *object, char **ret_key_id, Error *reterr) {
        JsonReader reader = json_reader(object, "signature", reterr);
        _cleanup_free_ char *key_id = NULL, *hex = NULL;
        int r;

        json_take_string(&reader, "keyid", false, &key_id);
        json_take_string(&reader, "sig", false, &hex);
        r = json_reader_end_open(&reader);
        if (r < 0)
                return r;
        *ret_key_id = TAKE_PTR(key_id);
        return 0;
}

/* section 4.2: a key id must not stand twice in "signatures" */
static int check_signatures(const json_t *signatures, Error *reterr) {
        _cleanup_strv_free_ char **key_ids = xnew(char *, json_array_size(signatures) + 1);
        const json_t *signature;
        size_t i;
        int r;

        json_array_foreach ((json_t *) signatures, i, signature) {
                r = check_signature(signature, &key_ids[i], reterr);
                if (r < 0)
                        return r;
        }
        if (tuf_has_duplicates(key_ids, json_array_size(signatures)))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "two signatures have the same key id");
        return 0;
}

static int check_envelope(const TufMetadata *m, const json_t **ret_signed, Error *reterr) {
        JsonReader reader = json_reader(m->document, "document", reterr), signed_reader;
        const json_t *signatures = NULL, *content = NULL;
        _cleanup_free_ char *type = NULL;
        int r;

        json_take_array(&reader, "signatures", false, TUF_SIGNATURES_MAX, &signatures);
        json_take_object(&reader, "signed", false, &content);
        r = json_reader_end_open(&reader);
        if (r < 0)
                return r;
        signed_reader = json_reader(content, "signed", reterr);
        json_take_string(&signed_reader, "_type", false, &type);
        r = json_reader_end_open(&signed_reader);
        if (r < 0)
                return r;
        if (!streq(type, types[m->type].name))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"_type\" is \"%.40s\", not \"%s\"", type,
                                 types[m->type].name);
        *ret_signed = content;
        return check_signatures(signatures, reterr);
}

/* ---- hashes ---------------------------------------------------------------------------------------------- */

static bool hashes_hold(const TufHashes *h, const void *data, size_t size) {
        uint8_t sha512[64];
        Sha256 sha256;

        if (h->has_sha256) {
                sha256_buffer(data, size, &sha256);
                if (!sha256_equal(&sha256, &h->sha256))
                        return false;
        }
        if (h->has_sha512) {
                crypto_must(EVP_Digest(data, size, sha512, NULL, EVP_sha512(), NULL) == 1);
                if (memcmp(sha512, h->sha512, sizeof(sha512)) != 0)
                        return false;
        }
        return true;
}

/* ---- signatures ------------------------------------------------------------------------------------------ */

static bool signature_holds(const TufMetadata *m, const TufKey *key, const char *hex) {
        uint8_t signature[TUF_SIGNATURE_MAX];
        size_t n = strlen(hex) / 2;

        /* hex_decode() takes no capitals: with two spellings, some bits of a document could change unnoticed. */
        return n <= sizeof(signature) && hex_decode(hex, signature, n) &&
               tuf_key_verify(key, m->canonical.data, m->canonical.size, signature, n);
}

static const char *find_signature(const TufMetadata *m, const char *key_id) {
        json_t *signature;
        size_t i;

        json_array_foreach (json_object_get(m->document, "signatures"), i, signature)
                if (streq(json_string_value(json_object_get(signature, "keyid")), key_id))
                        return json_string_value(json_object_get(signature, "sig"));
        return NULL;
}

static bool counted_already(const TufKey *const *counted, size_t n, const TufKey *key) {
        for (size_t i = 0; i < n; i++)
                if (tuf_key_same(counted[i], key))
                        return true;
        return false;
}

/* ---- lookup ---------------------------------------------------------------------------------------------- */

static int compare_key(const void *id, const void *key) {
        return strcmp(id, tuf_key_id(*(TufKey *const *) key));
}

static int compare_meta(const void *name, const void *meta) {
        return strcmp(name, ((const TufMeta *) meta)->name);
}

static int compare_target(const void *path, const void *target) {
        return strcmp(path, ((const TufTarget *) target)->path);
}

/* bsearch() may not be given NULL, not even with nothing in it. */
static const void *find(const char *what, const void *items, size_t n, size_t size,
                        int (*compare)(const void *, const void *)) {
        return n > 0 ? bsearch(what, items, n, size, compare) : NULL;
}

/* ---- public ---------------------------------------------------------------------------------------------- */

const char *tuf_type_name(TufType type) {
        return types[type].name;
}

size_t tuf_type_size_max(TufType type) {
        return types[type].size_max;
}

TufMetadata *tuf_metadata_free(TufMetadata *m) {
        if (m) {
                tuf_metadata_forget(m);
                buffer_done(&m->canonical);
                json_decref(m->document);
                free(m);
        }
        return NULL;
}

/* section 4.2 */
int tuf_metadata_parse(TufType type, const void *data, size_t size, const char *what, TufMetadata **ret,
                       Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = xnew(TufMetadata, 1);
        const json_t *content = NULL;
        int r;

        if (size > types[type].size_max)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: %zu bytes are more than the limit of %zu", what,
                                 size, types[type].size_max);
        m->type = type;
        r = json_parse(data, size, what, &m->document, reterr);
        if (r < 0)
                return r;
        r = check_envelope(m, &content, reterr);
        if (r >= 0)
                r = tuf_canonical_encode(content, &m->canonical, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", what);
        *ret = TAKE_PTR(m);
        return 0;
}

const TufKey *tuf_keys_find(const TufKeys *keys, const char *id) {
        TufKey *const *found = find(id, keys->items, keys->n_items, sizeof(TufKey *), compare_key);

        return found ? *found : NULL;
}

/* sections 5.3.4, 5.4.2, 5.5.3, 5.6.3 */
size_t tuf_count_signatures(const TufMetadata *m, const TufKeys *keys, const TufRole *role) {
        _cleanup_free_ const TufKey **counted = xnew(const TufKey *, strv_length(role->key_ids) + 1);
        size_t n = 0;

        STRV_FOREACH (id, role->key_ids) {
                const TufKey *key = tuf_keys_find(keys, *id);
                const char *hex = key ? find_signature(m, *id) : NULL;

                if (hex && !counted_already(counted, n, key) && signature_holds(m, key, hex))
                        counted[n++] = key;
        }
        return n;
}

int tuf_verify(const TufMetadata *m, const TufKeys *keys, const TufRole *role, const char *what, Error *reterr) {
        size_t n = tuf_count_signatures(m, keys, role);

        if (role->threshold > 0 && n >= role->threshold)
                return 0;
        error_set(reterr, EKEYREJECTED, REFUSAL_BAD_SIGNATURE,
                  "%s: signatures by %zu of its keys hold, and %zu are needed", what, n, role->threshold);
        return error_hint(reterr, "it was changed on the way, or signed with keys that are not trusted for it");
}

const TufMeta *tuf_find_meta(const TufMetadata *m, const char *name) {
        return find(name, m->meta, m->n_meta, sizeof(TufMeta), compare_meta);
}

const TufTarget *tuf_find_target(const TufMetadata *m, const char *path) {
        return find(path, m->targets, m->n_targets, sizeof(TufTarget), compare_target);
}

const TufDelegation *tuf_find_delegation(const TufMetadata *m, const char *name) {
        for (size_t i = 0; i < m->n_delegations; i++)
                if (streq(m->delegations[i].name, name))
                        return &m->delegations[i];
        return NULL;
}

int tuf_check_meta(const TufMeta *meta, const void *data, size_t size, Error *reterr) {
        if (meta->has_length && meta->length != size)
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s: %zu bytes long, but %" PRIu64 " were announced", meta->name, size, meta->length);
        return tuf_check_hashes(&meta->hashes, data, size, meta->name, reterr);
}

int tuf_check_hashes(const TufHashes *hashes, const void *data, size_t size, const char *what, Error *reterr) {
        if (!hashes_hold(hashes, data, size))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s: not the content that was announced",
                                 what);
        return 0;
}
