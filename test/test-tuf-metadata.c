/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The documents of The Update Framework: what is read and what is refused. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <time.h>

#include "tuf-metadata.h"

#define SHA256_HEX "65b8c67f51c993d898250f40aa57a317d854900b3a04895464313e48785440da"
#define ED25519_HEX "72378e5bc588793e58f81c8533da64a2e8f1565c1fcc7f253496394ffc52542c"
#define COMMON(type)                                                                                                   \
        "\"_type\":\"" type "\",\"spec_version\":\"1.0.34\",\"version\":7,\"expires\":\"2030-01-01T00:00:00Z\""
#define ROLE "{\"keyids\":[\"k\"],\"threshold\":1}"

/* One good document of each kind. */
static const char *const good[_TUF_TYPE_MAX] = {
        [TUF_ROOT] = "{" COMMON("root") ",\"consistent_snapshot\":true,\"keys\":{\"k\":{\"keytype\":\"ed25519\","
                                        "\"scheme\":\"ed25519\",\"keyval\":{\"public\":\"" ED25519_HEX
                                        "\"}}},\"roles\":{\"root\":" ROLE ",\"timestamp\":" ROLE ",\"snapshot\":" ROLE
                                        ",\"targets\":" ROLE "}}",
        [TUF_TIMESTAMP] = "{" COMMON("timestamp") ",\"meta\":{\"snapshot.json\":{\"version\":3,\"length\":10,"
                                                  "\"hashes\":{\"sha256\":\"" SHA256_HEX "\"}}}}",
        [TUF_SNAPSHOT] = "{" COMMON("snapshot") ",\"meta\":{\"targets.json\":{\"version\":4},\"beta.json\":"
                                                "{\"version\":5,\"length\":0}}}",
        [TUF_TARGETS] = "{" COMMON(
                "targets") ",\"targets\":{\"b/file\":{\"length\":31,\"hashes\":{\"sha256\":\"" SHA256_HEX
                           "\"},\"custom\":{\"a\":1}},\"a\":{\"length\":0,\"hashes\":{\"sha256\":\"" SHA256_HEX
                           "\",\"md5\":\"x\"}}},\"delegations\":{\"keys\":{},\"roles\":[{\"name\":\"beta\",\"keyids\":["
                           "],"
                           "\"threshold\":2,\"terminating\":true,\"paths\":[\"b/*\"]}]}}",
};

static TufMetadata *parse(TufType type, const char *content) {
        _cleanup_free_ char *text = xasprintf("{\"signatures\":[],\"signed\":%s}", content);
        _cleanup_error_ Error e = {};
        TufMetadata *m = NULL;

        if (tuf_metadata_parse(type, text, strlen(text), "test", &m, &e) < 0)
                fail_msg("%s: %s", content, e.message);
        return m;
}

static TufMetadata *decode(TufType type, const char *content) {
        TufMetadata *m = parse(type, content);
        _cleanup_error_ Error e = {};

        if (tuf_metadata_decode(m, "test", &e) < 0)
                fail_msg("%s: %s", content, e.message);
        assert_true(m->decoded);
        return m;
}

/* The refusal of the envelope or of the content; REFUSAL_NONE if both are fine. */
static Refusal refusal_of(TufType type, const json_t *content) {
        _cleanup_json_ json_t *document = json_pack("{s:[], s:O}", "signatures", "signed", content);
        _cleanup_free_ char *text = json_dumps(document, JSON_COMPACT);
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_error_ Error e = {};
        int r;

        r = tuf_metadata_parse(type, text, strlen(text), "test", &m, &e);
        if (r >= 0)
                r = tuf_metadata_decode(m, "test", &e);
        assert_int_equal(r < 0, e.id != REFUSAL_NONE);
        assert_true(r >= 0 || !m || !m->decoded);
        return e.id;
}

/* ---- content ------------------------------------------------------------------------------------------------- */

static void good_documents_are_read(void **state) {
        _cleanup_(tuf_metadata_freep) TufMetadata *root = decode(TUF_ROOT, good[TUF_ROOT]),
                                                  *timestamp = decode(TUF_TIMESTAMP, good[TUF_TIMESTAMP]),
                                                  *snapshot = decode(TUF_SNAPSHOT, good[TUF_SNAPSHOT]),
                                                  *targets = decode(TUF_TARGETS, good[TUF_TARGETS]);
        const TufDelegation *d = tuf_find_delegation(targets, "beta");
        const TufTarget *t = tuf_find_target(targets, "b/file");

        assert_int_equal(root->version, 7);
        assert_int_equal(root->expires, 1893456000);
        assert_string_equal(root->spec_version, "1.0.34");
        assert_true(root->consistent_snapshot);
        assert_int_equal(root->keys.n_items, 1);
        assert_non_null(tuf_keys_find(&root->keys, "k"));
        assert_null(tuf_keys_find(&root->keys, "j"));
        for (TufType type = 0; type < _TUF_TYPE_MAX; type++) {
                assert_int_equal(root->roles[type].threshold, 1);
                assert_string_equal(root->roles[type].key_ids[0], "k");
        }
        assert_int_equal(timestamp->n_meta, 1);
        assert_int_equal(tuf_find_meta(timestamp, "snapshot.json")->version, 3);
        assert_true(timestamp->meta[0].has_length && timestamp->meta[0].hashes.has_sha256);
        assert_int_equal(tuf_find_meta(snapshot, "targets.json")->version, 4);
        assert_false(tuf_find_meta(snapshot, "targets.json")->has_length);
        assert_true(tuf_find_meta(snapshot, "beta.json")->has_length);
        assert_null(tuf_find_meta(snapshot, "gamma.json"));
        assert_int_equal(t->length, 31);
        assert_int_equal(json_integer_value(json_object_get(t->custom, "a")), 1);
        assert_null(tuf_find_target(targets, "a")->custom);
        assert_null(tuf_find_target(targets, "b"));
        assert_string_equal(targets->targets[0].path, "a");
        assert_true(d->terminating && d->paths && !d->hash_prefixes);
        assert_int_equal(d->role.threshold, 2);
        assert_int_equal(strv_length(d->role.key_ids), 0);
        assert_null(tuf_find_delegation(targets, "gamma"));
        assert_int_equal(tuf_metadata_decode(targets, "again", NULL), 0);
}

/* What stands where in a good document is replaced; value NULL: removed. */
typedef struct Change {
        TufType type;
        const char *where; /* keys separated by spaces, numbers into arrays; "" is the content itself */
        const char *value;
        Refusal refusal;
} Change;

static void apply_change(json_t *content, const Change *c) {
        _cleanup_strv_free_ char **keys = strv_split(c->where, " ");
        json_t *value = c->value ? json_loads(c->value, JSON_DECODE_ANY, NULL) : NULL, *at = content;
        size_t n = strv_length(keys);

        assert_true(!c->value || value);
        for (size_t i = 0; i + 1 < n; i++) {
                at = json_is_array(at) ? json_array_get(at, (size_t) atoi(keys[i])) : json_object_get(at, keys[i]);
                assert_non_null(at);
        }
        if (json_is_array(at))
                assert_int_equal(json_array_set_new(at, (size_t) atoi(keys[n - 1]), value), 0);
        else if (value)
                assert_int_equal(json_object_set_new(at, keys[n - 1], value), 0);
        else
                assert_int_equal(json_object_del(at, keys[n - 1]), 0);
}

#define FORMAT REFUSAL_BAD_FORMAT
#define LARGE REFUSAL_TOO_LARGE
#define FINE REFUSAL_NONE
#define TARGET "{\"length\":1,\"hashes\":{\"sha256\":\"" SHA256_HEX "\"}}"

static const Change changes[] = {
        /* what all documents have */
        { TUF_ROOT, "_type", "\"targets\"", FORMAT },
        { TUF_ROOT, "_type", "\"Root\"", FORMAT },
        { TUF_ROOT, "_type", NULL, FORMAT },
        { TUF_ROOT, "_type", "0", FORMAT },
        { TUF_ROOT, "spec_version", NULL, FORMAT },
        { TUF_ROOT, "spec_version", "\"1.0\"", FINE },
        { TUF_ROOT, "spec_version", "\"1.99.0\"", FINE },
        { TUF_ROOT, "spec_version", "\"1\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"1.\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"1..0\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"1.0.\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"1.0.0.0\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"1.0.x\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"01.0.0\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"10.0.0\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"2.0.0\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"0.9.0\"", FORMAT },
        { TUF_ROOT, "spec_version", "\"\"", FORMAT },
        { TUF_ROOT, "spec_version", "1", FORMAT },
        { TUF_ROOT, "version", NULL, FORMAT },
        { TUF_ROOT, "version", "0", FORMAT },
        { TUF_ROOT, "version", "-1", FORMAT },
        { TUF_ROOT, "version", "1.0", FORMAT },
        { TUF_ROOT, "version", "\"1\"", FORMAT },
        { TUF_ROOT, "version", "true", FORMAT },
        { TUF_ROOT, "version", "1", FINE },
        { TUF_ROOT, "version", "9223372036854775807", FINE },
        { TUF_ROOT, "expires", NULL, FORMAT },
        { TUF_ROOT, "expires", "1893456000", FORMAT },
        { TUF_ROOT, "expires", "\"2030-01-01\"", FORMAT },
        { TUF_ROOT, "unknown", "{\"a\":[1]}", FINE },
        { TUF_ROOT, "unknown", "0.5", FORMAT },
        /* root */
        { TUF_ROOT, "consistent_snapshot", NULL, FINE },
        { TUF_ROOT, "consistent_snapshot", "\"true\"", FORMAT },
        { TUF_ROOT, "consistent_snapshot", "1", FORMAT },
        { TUF_ROOT, "keys", NULL, FORMAT },
        { TUF_ROOT, "keys", "[]", FORMAT },
        { TUF_ROOT, "keys", "{}", FINE },
        { TUF_ROOT, "keys k keyval public", "\"00\"", FORMAT },
        { TUF_ROOT, "keys k scheme", "\"new\"", FINE },
        { TUF_ROOT, "keys k unknown", "1", FINE },
        { TUF_ROOT, "roles", NULL, FORMAT },
        { TUF_ROOT, "roles", "[]", FORMAT },
        { TUF_ROOT, "roles root", NULL, FORMAT },
        { TUF_ROOT, "roles timestamp", NULL, FORMAT },
        { TUF_ROOT, "roles snapshot", NULL, FORMAT },
        { TUF_ROOT, "roles targets", NULL, FORMAT },
        { TUF_ROOT, "roles mirrors", ROLE, FINE },
        { TUF_ROOT, "roles root", "[]", FORMAT },
        { TUF_ROOT, "roles root unknown", "1", FINE },
        { TUF_ROOT, "roles root keyids", NULL, FORMAT },
        { TUF_ROOT, "roles root keyids", "{}", FORMAT },
        { TUF_ROOT, "roles root keyids", "[]", FINE },
        { TUF_ROOT, "roles root keyids", "[\"not in keys\"]", FINE },
        { TUF_ROOT, "roles root keyids", "[\"k\",\"j\",\"k\"]", FORMAT },
        { TUF_ROOT, "roles root keyids", "[1]", FORMAT },
        { TUF_ROOT, "roles root threshold", NULL, FORMAT },
        { TUF_ROOT, "roles root threshold", "0", FORMAT },
        { TUF_ROOT, "roles root threshold", "-1", FORMAT },
        { TUF_ROOT, "roles root threshold", "\"1\"", FORMAT },
        { TUF_ROOT, "roles root threshold", "256", FINE },
        { TUF_ROOT, "roles root threshold", "257", LARGE },
        /* timestamp, snapshot */
        { TUF_TIMESTAMP, "meta", NULL, FORMAT },
        { TUF_TIMESTAMP, "meta", "[]", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json", NULL, FORMAT },
        { TUF_TIMESTAMP, "meta other.json", "{\"version\":1}", FINE },
        { TUF_TIMESTAMP, "meta snapshot.json", "7", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json version", NULL, FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json version", "0", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json length", NULL, FINE },
        { TUF_TIMESTAMP, "meta snapshot.json length", "-1", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json length", "\"1\"", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json length", "null", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes", NULL, FINE },
        { TUF_TIMESTAMP, "meta snapshot.json hashes", "{}", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes", "[]", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes", "{\"md5\":\"00\"}", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes md5", "7", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes sha256", "\"00\"", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes sha256", "7", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes sha512", "\"" SHA256_HEX SHA256_HEX "\"", FINE },
        { TUF_TIMESTAMP, "meta snapshot.json hashes sha512", "\"" SHA256_HEX "\"", FORMAT },
        { TUF_TIMESTAMP, "meta snapshot.json hashes sha256",
          "\"65B8C67F51C993D898250F40AA57A317D854900B3A04895464313E48785440DA\"", FORMAT },
        { TUF_SNAPSHOT, "meta targets.json", NULL, FORMAT },
        { TUF_SNAPSHOT, "meta beta.json", NULL, FINE },
        { TUF_SNAPSHOT, "meta beta", "{\"version\":1}", FORMAT },
        { TUF_SNAPSHOT, "meta .json", "{\"version\":1}", FORMAT },
        { TUF_SNAPSHOT, "meta a/../b.json", "{\"version\":1}", FINE },
        { TUF_SNAPSHOT, "meta beta.json version", "0", FORMAT },
        /* targets */
        { TUF_TARGETS, "targets", NULL, FORMAT },
        { TUF_TARGETS, "targets", "[]", FORMAT },
        { TUF_TARGETS, "targets", "{}", FINE },
        { TUF_TARGETS, "targets a", "[]", FORMAT },
        { TUF_TARGETS, "targets a unknown", "[]", FINE },
        { TUF_TARGETS, "targets a length", NULL, FORMAT },
        { TUF_TARGETS, "targets a length", "-1", FORMAT },
        { TUF_TARGETS, "targets a length", "9223372036854775807", FINE },
        { TUF_TARGETS, "targets a hashes", NULL, FORMAT },
        { TUF_TARGETS, "targets a hashes", "{\"md5\":\"00\"}", FORMAT },
        { TUF_TARGETS, "targets a custom", "{}", FINE },
        { TUF_TARGETS, "targets a custom", "[]", FORMAT },
        { TUF_TARGETS, "targets a custom", "null", FORMAT },
        { TUF_TARGETS, "targets ../a", TARGET, REFUSAL_PATH_ESCAPE },
        { TUF_TARGETS, "targets /a", TARGET, REFUSAL_PATH_ESCAPE },
        { TUF_TARGETS, "targets a//b", TARGET, REFUSAL_PATH_ESCAPE },
        { TUF_TARGETS, "targets a\nb", TARGET, REFUSAL_PATH_ESCAPE },
        { TUF_TARGETS, "delegations", NULL, FINE },
        { TUF_TARGETS, "delegations", "[]", FORMAT },
        { TUF_TARGETS, "delegations", "null", FORMAT },
        { TUF_TARGETS, "delegations unknown", "1", FINE },
        { TUF_TARGETS, "delegations keys", NULL, FORMAT },
        { TUF_TARGETS, "delegations keys", "[]", FORMAT },
        { TUF_TARGETS, "delegations roles", NULL, FORMAT },
        { TUF_TARGETS, "delegations roles", "{}", FORMAT },
        { TUF_TARGETS, "delegations roles", "[]", FINE },
        { TUF_TARGETS, "delegations succinct_roles", "{}", FORMAT },
        { TUF_TARGETS, "delegations roles 0", "7", FORMAT },
        { TUF_TARGETS, "delegations roles 0 name", NULL, FORMAT },
        { TUF_TARGETS, "delegations roles 0 name", "\"\"", FORMAT },
        { TUF_TARGETS, "delegations roles 0 name", "\"root\"", FORMAT },
        { TUF_TARGETS, "delegations roles 0 name", "\"targets\"", FORMAT },
        { TUF_TARGETS, "delegations roles 0 name", "\"../snapshot\"", FINE },
        { TUF_TARGETS, "delegations roles 0 keyids", NULL, FORMAT },
        { TUF_TARGETS, "delegations roles 0 keyids", "[\"a\",\"a\"]", FORMAT },
        { TUF_TARGETS, "delegations roles 0 threshold", "0", FORMAT },
        { TUF_TARGETS, "delegations roles 0 threshold", "257", LARGE },
        { TUF_TARGETS, "delegations roles 0 terminating", NULL, FORMAT },
        { TUF_TARGETS, "delegations roles 0 terminating", "0", FORMAT },
        { TUF_TARGETS, "delegations roles 0 unknown", "0", FINE },
        { TUF_TARGETS, "delegations roles 0 paths", NULL, FORMAT },
        { TUF_TARGETS, "delegations roles 0 paths", "\"*\"", FORMAT },
        { TUF_TARGETS, "delegations roles 0 paths", "[]", FINE },
        { TUF_TARGETS, "delegations roles 0 paths", "[\"\"]", FORMAT },
        { TUF_TARGETS, "delegations roles 0 paths", "[1]", FORMAT },
        { TUF_TARGETS, "delegations roles 0 path_hash_prefixes", "[\"ab\"]", FORMAT },
};

static void every_field_has_its_type_and_bounds(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_json_ json_t *content = json_loads(good[changes[i].type], 0, NULL);
                Refusal refusal;

                apply_change(content, &changes[i]);
                refusal = refusal_of(changes[i].type, content);
                if (refusal != changes[i].refusal)
                        fail_msg("%s %s = %s: %s", tuf_type_name(changes[i].type), changes[i].where,
                                 changes[i].value ?: "removed", refusal_name(refusal) ?: "accepted");
        }
}

static void hash_prefixes_are_beginnings_of_digests(void **state) {
        static const struct {
                const char *value;
                Refusal refusal;
        } cases[] = {
                { "[]", FINE },
                { "[\"0\",\"abcdef\"]", FINE },
                { "[\"" SHA256_HEX "\"]", FINE },
                { "[\"\"]", FORMAT },
                { "[\"" SHA256_HEX "0\"]", FORMAT },
                { "[\"AB\"]", FORMAT },
                { "[\"0g\"]", FORMAT },
                { "[7]", FORMAT },
                { "\"ab\"", FORMAT },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *content = json_loads(good[TUF_TARGETS], 0, NULL);
                const Change remove = { TUF_TARGETS, "delegations roles 0 paths", NULL },
                             add = { TUF_TARGETS, "delegations roles 0 path_hash_prefixes", cases[i].value };

                apply_change(content, &remove);
                apply_change(content, &add);
                assert_int_equal(refusal_of(TUF_TARGETS, content), cases[i].refusal);
        }
}

static void delegations_of_the_same_name_are_refused(void **state) {
        _cleanup_json_ json_t *content = json_loads(good[TUF_TARGETS], 0, NULL);
        json_t *roles = json_object_get(json_object_get(content, "delegations"), "roles");

        json_array_append_new(roles, json_deep_copy(json_array_get(roles, 0)));
        assert_int_equal(refusal_of(TUF_TARGETS, content), FORMAT);
        json_object_set_new(json_array_get(roles, 1), "name", json_string("Beta"));
        assert_int_equal(refusal_of(TUF_TARGETS, content), FINE);
}

/* ---- limits -------------------------------------------------------------------------------------------------- */

static json_t *in_content(json_t *content, const char *where) {
        _cleanup_strv_free_ char **keys = strv_split(where, " ");

        STRV_FOREACH (key, keys)
                content = json_is_array(content) ? json_array_get(content, (size_t) atoi(*key))
                                                 : json_object_get(content, *key);
        assert_non_null(content);
        return content;
}

/* Makes the object or array at a place have exactly n entries, by copies of a sample under new names. */
static void fill(json_t *at, const char *sample, const char *name, size_t n) {
        for (size_t i = 0; json_is_array(at) ? json_array_size(at) < n : json_object_size(at) < n; i++) {
                _cleanup_free_ char *text = xasprintf(sample, i), *key = xasprintf(name, i);
                json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

                assert_non_null(value);
                if (json_is_array(at))
                        json_array_append_new(at, value);
                else
                        json_object_set_new(at, key, value);
        }
}

static void counts_have_limits(void **state) {
        static const struct {
                TufType type;
                const char *where, *sample, *name;
                size_t max;
        } cases[] = {
                { TUF_ROOT, "keys", "{\"keytype\":\"\",\"scheme\":\"\",\"keyval\":{}}", "%zu", TUF_KEYS_MAX },
                { TUF_ROOT, "roles root keyids", "\"%zu\"", "%zu", TUF_ROLE_KEYS_MAX },
                { TUF_SNAPSHOT, "meta", "{\"version\":1}", "%zu.json", TUF_META_COUNT_MAX },
                { TUF_TARGETS, "targets", TARGET, "%zu", TUF_TARGETS_COUNT_MAX },
                { TUF_TARGETS, "delegations keys", "{\"keytype\":\"\",\"scheme\":\"\",\"keyval\":{}}", "%zu",
                  TUF_KEYS_MAX },
                { TUF_TARGETS, "delegations roles",
                  "{\"name\":\"%zu\",\"keyids\":[],\"threshold\":1,\"terminating\":false,\"paths\":[]}", "",
                  TUF_DELEGATIONS_MAX },
                { TUF_TARGETS, "delegations roles 0 paths", "\"%zu\"", "", TUF_PATTERNS_MAX },
                { TUF_TARGETS, "delegations roles 0 keyids", "\"%zu\"", "", TUF_ROLE_KEYS_MAX },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                for (int more = -1; more <= 1; more++) {
                        _cleanup_json_ json_t *content = json_loads(good[cases[i].type], 0, NULL);

                        fill(in_content(content, cases[i].where), cases[i].sample, cases[i].name,
                             cases[i].max + (size_t) more);
                        assert_int_equal(refusal_of(cases[i].type, content), more > 0 ? LARGE : FINE);
                }
}

static char *repeat(char c, size_t n) {
        char *s = xcalloc(1, n + 1);

        memset(s, c, n);
        return s;
}

static void names_have_limits(void **state) {
        for (int more = -1; more <= 1; more++) {
                _cleanup_json_ json_t *targets = json_loads(good[TUF_TARGETS], 0, NULL),
                                      *patterns = json_deep_copy(targets), *names = json_deep_copy(targets),
                                      *encoded = json_deep_copy(targets),
                                      *meta = json_loads(good[TUF_SNAPSHOT], 0, NULL);
                const Refusal expected = more > 0 ? LARGE : FINE;
                _cleanup_free_ char *path = repeat('p', TUF_TARGET_PATH_MAX + (size_t) more),
                                    *name = repeat('n', TUF_NAME_MAX - 5 + (size_t) more),
                                    *slashes = repeat('/', 83 + (size_t) more),
                                    *file = xasprintf("%.*s.json", TUF_NAME_MAX + more, path);

                json_object_set_new(in_content(targets, "targets"), path, json_loads(TARGET, 0, NULL));
                assert_int_equal(refusal_of(TUF_TARGETS, targets), expected);
                json_array_append_new(in_content(patterns, "delegations roles 0 paths"), json_string(path));
                assert_int_equal(refusal_of(TUF_TARGETS, patterns), expected);
                json_object_set_new(in_content(names, "delegations roles 0"), "name", json_string(name));
                assert_int_equal(refusal_of(TUF_TARGETS, names), expected);
                /* 83 times "%2F" and ".json" are 254 bytes, once more is too long for a file. */
                json_object_set_new(in_content(encoded, "delegations roles 0"), "name", json_string(slashes));
                assert_int_equal(refusal_of(TUF_TARGETS, encoded), expected);
                json_object_set_new(in_content(meta, "meta"), file, json_loads("{\"version\":1}", 0, NULL));
                assert_int_equal(refusal_of(TUF_SNAPSHOT, meta), expected);
        }
}

static void documents_have_a_size_limit(void **state) {
        for (TufType type = 0; type < _TUF_TYPE_MAX; type++)
                for (int more = -1; more <= 1; more++) {
                        _cleanup_free_ char *text = xasprintf("{\"signatures\":[],\"signed\":%s}", good[type]);
                        size_t size = tuf_type_size_max(type) + (size_t) more;
                        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
                        _cleanup_free_ char *padded = repeat(' ', size);
                        _cleanup_error_ Error e = {};

                        memcpy(padded, text, strlen(text));
                        assert_int_equal(tuf_metadata_parse(type, padded, size, "test", &m, &e) < 0, more > 0);
                        assert_int_equal(e.id, more > 0 ? LARGE : FINE);
                }
}

static void a_hundred_thousand_targets_are_read_in_a_moment(void **state) {
        _cleanup_json_ json_t *content = json_loads(good[TUF_TARGETS], 0, NULL),
                              *document = json_pack("{s:[], s:O}", "signatures", "signed", content);
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_free_ char *text = NULL;
        struct timespec before, after;

        fill(in_content(content, "targets"), TARGET, "%zu.file", TUF_TARGETS_COUNT_MAX);
        text = json_dumps(document, JSON_COMPACT);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
        assert_int_equal(tuf_metadata_parse(TUF_TARGETS, text, strlen(text), "test", &m, NULL), 0);
        assert_int_equal(tuf_metadata_decode(m, "test", NULL), 0);
        assert_int_equal(m->n_targets, TUF_TARGETS_COUNT_MAX);
        for (size_t i = 0; i < TUF_TARGETS_COUNT_MAX - 2; i++) {
                char name[32];

                snprintf(name, sizeof(name), "%zu.file", i);
                assert_non_null(tuf_find_target(m, name));
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
        print_message("%.3f s\n",
                      (double) (after.tv_sec - before.tv_sec) + (double) (after.tv_nsec - before.tv_nsec) / 1e9);
        /* Many times what it takes: sanitizers and busy machines pass, anything quadratic does not. */
        assert_true(after.tv_sec - before.tv_sec < 10);
}

/* ---- the envelope -------------------------------------------------------------------------------------------- */

static void envelopes_of_another_shape_are_refused(void **state) {
        static const struct {
                const char *text;
                Refusal refusal;
        } cases[] = {
                { "", FORMAT },
                { "[]", FORMAT },
                { "{}", FORMAT },
                { "{\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[]}", FORMAT },
                { "{\"signatures\":{},\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[],\"signed\":[]}", FORMAT },
                { "{\"signatures\":[],\"signed\":{}}", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\"}", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\"}}x", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\"},\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\",\"a\":1,\"a\":1}}", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\",\"a\":\"\\u0000\"}}", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\",\"a\":\"\xff\"}}", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\",\"a\":9223372036854775808}}", FORMAT },
                { "{\"signatures\":[],\"signed\":{\"_type\":\"root\",\"a\":1e2}}", FORMAT },
                { "{\"signatures\":[7],\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[{}],\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[{\"keyid\":\"a\"}],\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[{\"sig\":\"a\"}],\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[{\"keyid\":\"a\",\"sig\":7}],\"signed\":{\"_type\":\"root\"}}", FORMAT },
                { "{\"signatures\":[{\"keyid\":\"a\",\"sig\":\"\"},{\"keyid\":\"a\",\"sig\":\"\"}],"
                  "\"signed\":{\"_type\":\"root\"}}",
                  FORMAT },
                { "{\"signatures\":[{\"keyid\":\"a\",\"sig\":\"not hex\",\"method\":\"x\"},"
                  "{\"keyid\":\"b\",\"sig\":\"\"}],\"signed\":{\"_type\":\"root\"},\"note\":1}",
                  FINE },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
                _cleanup_error_ Error e = {};
                int r = tuf_metadata_parse(TUF_ROOT, cases[i].text, strlen(cases[i].text), "test", &m, &e);

                if (e.id != cases[i].refusal)
                        fail_msg("%s: %s", cases[i].text, e.message ?: "accepted");
                assert_int_equal(r < 0, cases[i].refusal != FINE);
        }
}

static void signatures_have_a_limit(void **state) {
        for (int more = -1; more <= 1; more++) {
                _cleanup_json_ json_t *document = json_pack("{s:[], s:{s:s}}", "signatures", "signed", "_type", "root");
                _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
                _cleanup_free_ char *text = NULL;
                _cleanup_error_ Error e = {};

                fill(json_object_get(document, "signatures"), "{\"keyid\":\"%zu\",\"sig\":\"\"}", "",
                     TUF_SIGNATURES_MAX + (size_t) more);
                text = json_dumps(document, 0);
                assert_int_equal(tuf_metadata_parse(TUF_ROOT, text, strlen(text), "test", &m, &e) < 0, more > 0);
                assert_int_equal(e.id, more > 0 ? LARGE : FINE);
        }
}

static void the_canonical_form_is_of_the_signed_part_with_all_its_members(void **state) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m =
                parse(TUF_ROOT, "{ \"b\" : [ 1, \"\\u00e9\" ], \"_type\": \"root\", \"B\": {} }");

        assert_string_equal(m->canonical.data, "{\"B\":{},\"_type\":\"root\",\"b\":[1,\"\303\251\"]}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(good_documents_are_read),
                cmocka_unit_test(every_field_has_its_type_and_bounds),
                cmocka_unit_test(hash_prefixes_are_beginnings_of_digests),
                cmocka_unit_test(delegations_of_the_same_name_are_refused),
                cmocka_unit_test(counts_have_limits),
                cmocka_unit_test(names_have_limits),
                cmocka_unit_test(documents_have_a_size_limit),
                cmocka_unit_test(a_hundred_thousand_targets_are_read_in_a_moment),
                cmocka_unit_test(envelopes_of_another_shape_are_refused),
                cmocka_unit_test(signatures_have_a_limit),
                cmocka_unit_test(the_canonical_form_is_of_the_signed_part_with_all_its_members),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
