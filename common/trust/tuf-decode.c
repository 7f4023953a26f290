/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The signed part of each kind of document. Members that we do not know are let pass (section 4); what we know must be
 * of its type and in its bounds. */

#include <ctype.h>

#include "tuf-internal.h"

#define TUF_MAJOR "1"
/* Nothing longer can be a file, and signed numbers survive the other implementations. */
#define TUF_LENGTH_MAX ((uint64_t) INT64_MAX)

/* ---- parts that several documents have ------------------------------------------------------------------- */

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

bool tuf_has_duplicates(char *const *l, size_t n) {
        _cleanup_free_ char **sorted = xnew(char *, n + 1);

        for (size_t i = 0; i < n; i++)
                sorted[i] = l[i];
        qsort(sorted, n, sizeof(char *), compare_strings);
        for (size_t i = 1; i < n; i++)
                if (streq(sorted[i - 1], sorted[i]))
                        return true;
        return false;
}

static int decode_hash(const char *name, const json_t *value, TufHashes *ret, Error *reterr) {
        const char *hex = json_string_value(value);
        bool good = hex;

        if (streq(name, "sha256"))
                good = ret->has_sha256 = good && sha256_from_hex(hex, &ret->sha256);
        else if (streq(name, "sha512"))
                good = ret->has_sha512 = good && hex_decode(hex, ret->sha512, sizeof(ret->sha512));
        else if (hex)
                return 0;
        if (!good)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "hash \"%.40s\": not a digest in hexadecimal",
                                 name);
        return 0;
}

/* section 4.4, HASHES */
static int decode_hashes(const json_t *object, TufHashes *ret, Error *reterr) {
        const char *name;
        json_t *value;
        int r;

        json_object_foreach ((json_t *) object, name, value) {
                r = decode_hash(name, value, ret, reterr);
                if (r < 0)
                        return r;
        }
        if (!ret->has_sha256 && !ret->has_sha512)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"hashes\" has neither sha256 nor sha512");
        return 0;
}

static int compare_keys(const void *a, const void *b) {
        return strcmp((*(TufKey *const *) a)->id, (*(TufKey *const *) b)->id);
}

int tuf_decode_keys(const json_t *object, TufKeys *ret, Error *reterr) {
        size_t n = json_object_size(object);
        const char *id;
        json_t *value;
        int r;

        if (n > TUF_KEYS_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "\"keys\" has more than %d entries", TUF_KEYS_MAX);
        ret->items = xnew(TufKey *, n + 1);
        json_object_foreach ((json_t *) object, id, value) {
                r = tuf_key_parse(id, value, &ret->items[ret->n_items], reterr);
                if (r < 0)
                        return r;
                ret->n_items++;
        }
        qsort(ret->items, ret->n_items, sizeof(TufKey *), compare_keys);
        return 0;
}

/* section 4.3, ROLE: key ids that "keys" lacks are allowed; they never count */
int tuf_decode_role(const json_t *object, TufRole *ret, Error *reterr) {
        JsonReader reader = json_reader(object, "role", reterr);
        const json_t *key_ids = NULL, *id;
        uint64_t threshold = 0;
        size_t i;
        int r;

        json_take_array(&reader, "keyids", false, TUF_ROLE_KEYS_MAX, &key_ids);
        json_take_u64(&reader, "threshold", false, TUF_ROLE_KEYS_MAX, &threshold);
        r = json_reader_end_open(&reader);
        if (r < 0)
                return r;
        if (threshold < 1)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"threshold\" is 0: anybody could sign");
        ret->threshold = threshold;
        ret->key_ids = xnew(char *, json_array_size(key_ids) + 1);
        json_array_foreach ((json_t *) key_ids, i, id) {
                if (!json_is_string(id))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"keyids\" must be a list of strings");
                ret->key_ids[i] = xstrdup(json_string_value(id));
        }
        if (tuf_has_duplicates(ret->key_ids, json_array_size(key_ids)))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"keyids\" names a key twice");
        return 0;
}

/* ---- what all documents have ----------------------------------------------------------------------------- */

/* section 4.3, SPEC_VERSION: X.Y.Z, and X.Y as older repositories have it; the first number must be ours */
static bool spec_version_fits(const char *s) {
        size_t dots = 0;

        if (!startswith(s, TUF_MAJOR "."))
                return false;
        for (const char *p = s; *p; p++) {
                if (*p == '.' && (!isdigit((unsigned char) p[1]) || ++dots > 2))
                        return false;
                if (*p != '.' && !isdigit((unsigned char) *p))
                        return false;
        }
        return true;
}

static int decode_common(const json_t *content, TufMetadata *m, Error *reterr) {
        JsonReader reader = json_reader(content, "signed", reterr);
        _cleanup_free_ char *expires = NULL;
        int r;

        json_take_string(&reader, "spec_version", false, &m->spec_version);
        json_take_u64(&reader, "version", false, TUF_VERSION_MAX, &m->version);
        json_take_string(&reader, "expires", false, &expires);
        r = json_reader_end_open(&reader);
        if (r < 0)
                return r;
        if (!spec_version_fits(m->spec_version))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "\"spec_version\" is \"%.40s\", and only " TUF_MAJOR ".x is known", m->spec_version);
        if (m->version < 1)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"version\" must be at least 1");
        if (!tuf_parse_time(expires, &m->expires))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "\"expires\" is \"%.40s\", not a time like 2026-11-21T10:00:00Z", expires);
        return 0;
}

/* ---- root ------------------------------------------------------------------------------------------------ */

/* section 4.3 */
static int decode_root(const json_t *content, TufMetadata *m, Error *reterr) {
        JsonReader reader = json_reader(content, "signed", reterr);
        const json_t *keys = NULL, *roles = NULL;
        int r;

        json_take_bool(&reader, "consistent_snapshot", true, &m->consistent_snapshot);
        json_take_object(&reader, "keys", false, &keys);
        json_take_object(&reader, "roles", false, &roles);
        r = json_reader_end_open(&reader);
        if (r >= 0)
                r = tuf_decode_keys(keys, &m->keys, reterr);
        if (r < 0)
                return r;
        for (TufType type = 0; type < _TUF_TYPE_MAX; type++) {
                const json_t *role = json_object_get(roles, tuf_type_name(type));

                if (!role)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"roles\" has no \"%s\"",
                                         tuf_type_name(type));
                r = tuf_decode_role(role, &m->roles[type], reterr);
                if (r < 0)
                        return error_prefix(reterr, "role %s", tuf_type_name(type));
        }
        return 0;
}

/* ---- timestamp and snapshot ------------------------------------------------------------------------------ */

/* section 4.4, METAFILES */
static int decode_meta(const char *name, const json_t *object, TufMeta *ret, Error *reterr) {
        JsonReader reader = json_reader(object, name, reterr);
        const json_t *hashes = NULL;
        int r;

        ret->name = xstrdup(name);
        ret->has_length = json_object_get(object, "length");
        json_take_u64(&reader, "version", false, TUF_VERSION_MAX, &ret->version);
        json_take_u64(&reader, "length", true, TUF_LENGTH_MAX, &ret->length);
        json_take_object(&reader, "hashes", true, &hashes);
        r = json_reader_end_open(&reader);
        if (r < 0)
                return r;
        if (ret->version < 1)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%.300s: \"version\" must be at least 1", name);
        r = hashes ? decode_hashes(hashes, &ret->hashes, reterr) : 0;
        return r < 0 ? error_prefix(reterr, "%.300s", name) : 0;
}

static int take_meta(const json_t *content, const json_t **ret, Error *reterr) {
        JsonReader reader = json_reader(content, "signed", reterr);

        json_take_object(&reader, "meta", false, ret);
        return json_reader_end_open(&reader);
}

/* section 4.6: nothing but the snapshot may be described; what else stands there is for nobody */
static int decode_timestamp(const json_t *content, TufMetadata *m, Error *reterr) {
        const json_t *files = NULL, *snapshot;
        int r;

        r = take_meta(content, &files, reterr);
        if (r < 0)
                return r;
        snapshot = json_object_get(files, "snapshot.json");
        if (!snapshot)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"meta\" has no \"snapshot.json\"");
        m->meta = xnew(TufMeta, 1);
        m->n_meta = 1;
        return decode_meta("snapshot.json", snapshot, m->meta, reterr);
}

static int compare_meta(const void *a, const void *b) {
        return strcmp(((const TufMeta *) a)->name, ((const TufMeta *) b)->name);
}

static int check_meta_name(const char *name, Error *reterr) {
        const char *suffix = endswith(name, ".json");

        if (!suffix || suffix == name)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"meta\": \"%.80s\" is no name of a document",
                                 name);
        if ((size_t) (suffix - name) > TUF_NAME_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "\"meta\": the name \"%.80s...\" is too long", name);
        return 0;
}

/* section 4.4 */
static int decode_snapshot(const json_t *content, TufMetadata *m, Error *reterr) {
        const json_t *files = NULL;
        const char *name;
        json_t *value;
        int r;

        r = take_meta(content, &files, reterr);
        if (r < 0)
                return r;
        if (json_object_size(files) > TUF_META_COUNT_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "\"meta\" has more than %d entries",
                                 TUF_META_COUNT_MAX);
        if (!json_object_get(files, "targets.json"))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "\"meta\" has no \"targets.json\"");
        m->meta = xnew(TufMeta, json_object_size(files));
        json_object_foreach ((json_t *) files, name, value) {
                r = check_meta_name(name, reterr);
                if (r >= 0)
                        r = decode_meta(name, value, &m->meta[m->n_meta++], reterr);
                if (r < 0)
                        return r;
        }
        qsort(m->meta, m->n_meta, sizeof(TufMeta), compare_meta);
        return 0;
}

/* ---- targets --------------------------------------------------------------------------------------------- */

static int check_target_path(const char *path, Error *reterr) {
        if (strlen(path) > TUF_TARGET_PATH_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "a target's path is longer than %d bytes",
                                 TUF_TARGET_PATH_MAX);
        if (!tuf_target_path_is_valid(path)) {
                error_set(reterr, EBADMSG, REFUSAL_PATH_ESCAPE, "\"%.80s\" is not allowed as the path of a target",
                          path);
                return error_hint(reterr,
                                  "paths are relative, without empty parts, \".\", \"..\" or control characters");
        }
        return 0;
}

/* section 4.5, TARGETS */
static int decode_target(const char *path, const json_t *object, TufTarget *ret, Error *reterr) {
        JsonReader reader = json_reader(object, path, reterr);
        const json_t *hashes = NULL;
        int r;

        ret->path = xstrdup(path);
        json_take_u64(&reader, "length", false, TUF_LENGTH_MAX, &ret->length);
        json_take_object(&reader, "hashes", false, &hashes);
        json_take_object(&reader, "custom", true, &ret->custom);
        r = json_reader_end_open(&reader);
        if (r >= 0)
                r = decode_hashes(hashes, &ret->hashes, reterr);
        return r < 0 ? error_prefix(reterr, "target %.80s", path) : 0;
}

static int compare_targets(const void *a, const void *b) {
        return strcmp(((const TufTarget *) a)->path, ((const TufTarget *) b)->path);
}

/* section 4.5 */
static int decode_targets(const json_t *content, TufMetadata *m, Error *reterr) {
        JsonReader reader = json_reader(content, "signed", reterr);
        const json_t *targets = NULL, *delegations = NULL;
        const char *path;
        json_t *value;
        int r;

        json_take_object(&reader, "targets", false, &targets);
        json_take_object(&reader, "delegations", true, &delegations);
        r = json_reader_end_open(&reader);
        if (r < 0)
                return r;
        if (json_object_size(targets) > TUF_TARGETS_COUNT_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "\"targets\" has more than %d entries",
                                 TUF_TARGETS_COUNT_MAX);
        m->targets = xnew(TufTarget, json_object_size(targets) + 1);
        json_object_foreach ((json_t *) targets, path, value) {
                r = check_target_path(path, reterr);
                if (r >= 0)
                        r = decode_target(path, value, &m->targets[m->n_targets++], reterr);
                if (r < 0)
                        return r;
        }
        qsort(m->targets, m->n_targets, sizeof(TufTarget), compare_targets);
        return delegations ? tuf_decode_delegations(delegations, m, reterr) : 0;
}

/* ---- public ---------------------------------------------------------------------------------------------- */

void tuf_metadata_forget(TufMetadata *m) {
        for (size_t i = 0; i < _TUF_TYPE_MAX; i++)
                strv_free(m->roles[i].key_ids);
        for (size_t i = 0; i < m->keys.n_items; i++)
                tuf_key_free(m->keys.items[i]);
        free(m->keys.items);
        for (size_t i = 0; i < m->n_meta; i++)
                free(m->meta[i].name);
        free(m->meta);
        for (size_t i = 0; i < m->n_targets; i++)
                free(m->targets[i].path);
        free(m->targets);
        for (size_t i = 0; i < m->n_delegations; i++)
                tuf_delegation_done(&m->delegations[i]);
        free(m->delegations);
        free(m->spec_version);
        *m = (TufMetadata){ .type = m->type, .document = m->document, .canonical = m->canonical };
}

int tuf_metadata_decode(TufMetadata *m, const char *what, Error *reterr) {
        static int (*const decoders[_TUF_TYPE_MAX])(const json_t *, TufMetadata *, Error *) = {
                [TUF_ROOT] = decode_root,
                [TUF_TIMESTAMP] = decode_timestamp,
                [TUF_SNAPSHOT] = decode_snapshot,
                [TUF_TARGETS] = decode_targets,
        };
        const json_t *content = json_object_get(m->document, "signed");
        int r;

        if (m->decoded)
                return 0;
        r = decode_common(content, m, reterr);
        if (r >= 0)
                r = decoders[m->type](content, m, reterr);
        if (r < 0) {
                tuf_metadata_forget(m);
                return error_prefix(reterr, "%s", what);
        }
        m->decoded = true;
        return 0;
}
