/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tamper table, last part: lengths and hashes, names of targets, delegations. */

#include "tuf-tamper.h"

/* ---- lengths and hashes -------------------------------------------------------------------------------------- */

#define SHA512_X                                                                                                       \
        "a4abd4448c49562d828115d13a1fccea927f52b4d5459297f8b43e42da89238bc13626e43dcb38ddb082488927ec904fb42057443983" \
        "e"                                                                                                            \
        "88585179d50551afe62"
/* What is listed of a document: spoiled in the one above it, which is signed as it should be. */
#define LISTED(n, d, file, member, what, id)                                                                           \
        {                                                                                                              \
                .name = file ": " n, .doc = d, .path = "meta>" file ">" member, .value = what, .target = "stable/x",   \
                .expected = id                                                                                         \
        }
#define LISTED_ALL(d, file)                                                                                            \
        LISTED("length 0", d, file, "length", "0", REFUSAL_TOO_LARGE),                                                 \
                LISTED("length too small", d, file, "length", "10", REFUSAL_TOO_LARGE),                                \
                LISTED("length too large", d, file, "length", "5000", REFUSAL_HASH_MISMATCH),                          \
                LISTED("length over the limit", d, file, "length", "100000000", REFUSAL_TOO_LARGE),                    \
                LISTED("length of 2^63 - 1", d, file, "length", "9223372036854775807", REFUSAL_TOO_LARGE),             \
                LISTED("another hash", d, file, "hashes>sha256", "\"" FORGE_DIGEST_X "\"", REFUSAL_HASH_MISMATCH),     \
                LISTED("another hash beside the right one", d, file, "hashes>sha512", "\"" SHA512_X "\"",              \
                       REFUSAL_HASH_MISMATCH),                                                                         \
                LISTED("another hash alone", d, file, "hashes", "{\"sha512\":\"" SHA512_X "\"}",                       \
                       REFUSAL_HASH_MISMATCH),                                                                         \
                LISTED("no hash", d, file, "hashes", "{}", REFUSAL_BAD_FORMAT),                                        \
                LISTED("hashes that nobody knows", d, file, "hashes", "{\"md5\":\"00\",\"blake3\":\"00\"}",            \
                       REFUSAL_BAD_FORMAT),                                                                            \
                LISTED("a hash in other letters", d, file, "hashes", "{\"SHA256\":\"" FORGE_DIGEST_X "\"}",            \
                       REFUSAL_BAD_FORMAT),                                                                            \
                LISTED("an unknown hash beside", d, file, "hashes>md5", "\"00\"", REFUSAL_NONE),                       \
                LISTED("no hashes at all", d, file, "hashes", NULL, REFUSAL_NONE),                                     \
                LISTED("no length", d, file, "length", NULL, REFUSAL_NONE)

#define TARGET_HASHES(n, hashes, id) PUT(n, DOC_TARGETS, "targets>a/y", "{\"length\":1,\"hashes\":{" hashes "}}", id)

static void edit_careless_length(Forge *f) {
        forge_put(f, DOC_TIMESTAMP, "meta>snapshot.json>length", "10");
}

static void edit_too_many_documents(Forge *f) {
        for (size_t i = 0; i < TUF_META_COUNT_MAX; i++) {
                _cleanup_free_ char *path = xasprintf("meta>%zu.json", i);

                forge_put(f, DOC_SNAPSHOT, path, "{\"version\":1}");
        }
}

static const Case listed[] = {
        LISTED_ALL(DOC_TIMESTAMP, "snapshot.json"),
        LISTED_ALL(DOC_SNAPSHOT, "targets.json"),
        LISTED_ALL(DOC_SNAPSHOT, "stable.json"),
        { .name = "snapshot.json: longer than listed, no limit kept",
          .doc = DOC_TIMESTAMP,
          .edit = edit_careless_length,
          .careless = true,
          .expected = REFUSAL_TOO_LARGE },
        PUT("no name of a document", DOC_SNAPSHOT, "meta>targets", "{\"version\":1}", REFUSAL_BAD_FORMAT),
        PUT("only a suffix", DOC_SNAPSHOT, "meta>.json", "{\"version\":1}", REFUSAL_BAD_FORMAT),
        PUT("an empty name", DOC_SNAPSHOT, "meta>", "{\"version\":1}", REFUSAL_BAD_FORMAT),
        { .name = "20001 documents and more",
          .doc = DOC_SNAPSHOT,
          .edit = edit_too_many_documents,
          .expected = REFUSAL_TOO_LARGE },
        PUT("root.json beside", DOC_SNAPSHOT, "meta>root.json", "{\"version\":1}", REFUSAL_NONE),
        PUT("another document beside", DOC_TIMESTAMP, "meta>targets.json", "{\"version\":0}", REFUSAL_NONE),
        TARGET_HASHES("target without hashes", "", REFUSAL_BAD_FORMAT),
        TARGET_HASHES("target with MD5 alone", "\"md5\":\"9dd4e461268c8034f5c8564e155c67a6\"", REFUSAL_BAD_FORMAT),
        TARGET_HASHES("target with a short SHA-512", "\"sha512\":\"" FORGE_DIGEST_X "\"", REFUSAL_BAD_FORMAT),
        TARGET_HASHES("target with a good and a bad hash", "\"sha256\":\"" FORGE_DIGEST_X "\",\"sha512\":\"00\"",
                      REFUSAL_BAD_FORMAT),
        TARGET_HASHES("target with an unknown hash that is no text", "\"sha256\":\"" FORGE_DIGEST_X "\",\"x\":1",
                      REFUSAL_BAD_FORMAT),
        TARGET_HASHES("target with SHA-512 alone", "\"sha512\":\"" SHA512_X "\"", REFUSAL_NONE),
        TARGET_HASHES("target with an unknown hash", "\"sha256\":\"" FORGE_DIGEST_X "\",\"x\":\"y\"", REFUSAL_NONE),
};

static void lengths_and_hashes_bind(void **state) {
        RUN(listed, 40);
}

/* ---- names of targets ---------------------------------------------------------------------------------------- */

static void put_long_target(Forge *f, size_t n) {
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, "targets>");
        for (size_t i = 0; i < n; i++)
                buffer_puts(&b, i % 100 == 99 && i + 1 < n ? "/" : "n");
        forge_put(f, DOC_TARGETS, b.data, FORGE_TARGET);
}

static void edit_longest_target(Forge *f) {
        put_long_target(f, TUF_TARGET_PATH_MAX);
}

static void edit_too_long_target(Forge *f) {
        put_long_target(f, TUF_TARGET_PATH_MAX + 1);
}

#define TARGET(path, id) PUT("target \"" path "\"", DOC_TARGETS, "targets>" path, FORGE_TARGET, id)
#define DELEGATED_TARGET(path, id) PUT("target \"" path "\"", DOC_STABLE, "targets>" path, FORGE_TARGET, id)
static const Case paths[] = {
        TARGET("", REFUSAL_PATH_ESCAPE),
        TARGET(".", REFUSAL_PATH_ESCAPE),
        TARGET("..", REFUSAL_PATH_ESCAPE),
        TARGET("/", REFUSAL_PATH_ESCAPE),
        TARGET("//", REFUSAL_PATH_ESCAPE),
        TARGET("../x", REFUSAL_PATH_ESCAPE),
        TARGET("../../etc/passwd", REFUSAL_PATH_ESCAPE),
        TARGET("a/../x", REFUSAL_PATH_ESCAPE),
        TARGET("a/..", REFUSAL_PATH_ESCAPE),
        TARGET("a/../../x", REFUSAL_PATH_ESCAPE),
        TARGET("./x", REFUSAL_PATH_ESCAPE),
        TARGET("a/./x", REFUSAL_PATH_ESCAPE),
        TARGET("a/.", REFUSAL_PATH_ESCAPE),
        TARGET("/x", REFUSAL_PATH_ESCAPE),
        TARGET("//server/x", REFUSAL_PATH_ESCAPE),
        TARGET("a//x", REFUSAL_PATH_ESCAPE),
        TARGET("a/", REFUSAL_PATH_ESCAPE),
        TARGET("a\nb", REFUSAL_PATH_ESCAPE),
        TARGET("a\r", REFUSAL_PATH_ESCAPE),
        TARGET("\ta", REFUSAL_PATH_ESCAPE),
        TARGET("a\x1b[31m", REFUSAL_PATH_ESCAPE),
        TARGET("\x01", REFUSAL_PATH_ESCAPE),
        TARGET("a\x7f", REFUSAL_PATH_ESCAPE),
        TARGET("a\xc2\x85", REFUSAL_PATH_ESCAPE),
        TARGET("a\xc2\x9b", REFUSAL_PATH_ESCAPE),
        DELEGATED_TARGET("../x", REFUSAL_PATH_ESCAPE),
        DELEGATED_TARGET("stable/../../x", REFUSAL_PATH_ESCAPE),
        DELEGATED_TARGET("/stable/y", REFUSAL_PATH_ESCAPE),
        DELEGATED_TARGET("stable//y", REFUSAL_PATH_ESCAPE),
        DELEGATED_TARGET("stable/\n", REFUSAL_PATH_ESCAPE),
        { .name = "target of 1025 bytes",
          .doc = DOC_TARGETS,
          .edit = edit_too_long_target,
          .expected = REFUSAL_TOO_LARGE },
        { .name = "target of 1024 bytes", .doc = DOC_TARGETS, .edit = edit_longest_target },
        TARGET("a\\..\\x", REFUSAL_NONE),
        TARGET("C:x", REFUSAL_NONE),
        TARGET("...", REFUSAL_NONE),
        TARGET("a/..b/c..", REFUSAL_NONE),
        TARGET(".hidden", REFUSAL_NONE),
        TARGET("%2e%2e/x", REFUSAL_NONE),
        TARGET("a b?c#d&e", REFUSAL_NONE),
        TARGET("~", REFUSAL_NONE),
        TARGET("-rf", REFUSAL_NONE),
        TARGET("\u00e9\u00a0", REFUSAL_NONE),
};

static void targets_stay_below_their_folder(void **state) {
        RUN(paths, 30);
}

/* ---- delegations --------------------------------------------------------------------------------------------- */

#define ROLE "delegations>roles>0>"
#define DELEGATION(n, member, what, id) PUT(n, DOC_TARGETS, ROLE member, what, id)
#define LOOKED_FOR(n, member, what, wanted, id)                                                                        \
        { .name = n, .doc = DOC_TARGETS, .path = ROLE member, .value = what, .target = wanted, .expected = id }
#define NOT_THERE(n, member, what, wanted)                                                                             \
        { .name = n, .doc = DOC_TARGETS, .path = ROLE member, .value = what, .target = wanted, .absent = true }

/* The role under another name; it is listed and served under that name as well. */
static void rename_stable(Forge *f, const char *json_name, const char *meta_name, const char *file) {
        _cleanup_free_ char *path = xasprintf("meta>%s.json", meta_name), *numbered = xasprintf("3.%s", file);

        forge_put(f, DOC_TARGETS, ROLE "name", json_name);
        forge_put(f, DOC_SNAPSHOT, path, "{\"version\":3}");
        sim_put(&f->sim->server, numbered, f->served[DOC_STABLE].data, f->served[DOC_STABLE].size);
}

static void edit_name_dots(Forge *f) {
        rename_stable(f, "\"..\"", "..", "...json");
}

static void edit_name_escape(Forge *f) {
        rename_stable(f, "\"../root\"", "../root", "..%2Froot.json");
}

static void edit_name_absolute(Forge *f) {
        rename_stable(f, "\"/etc/passwd\"", "/etc/passwd", "%2Fetc%2Fpasswd.json");
}

static void edit_name_encoded(Forge *f) {
        rename_stable(f, "\"..%2froot\"", "..%2froot", "..%252froot.json");
}

static void edit_name_newline(Forge *f) {
        rename_stable(f, "\"a\\nb\"", "a\nb", "a%0Ab.json");
}

static void put_text_of(Forge *f, const char *path, const char *before, size_t n, const char *after) {
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, before);
        for (size_t i = 0; i < n; i++)
                buffer_puts(&b, "n");
        buffer_puts(&b, after);
        forge_put(f, DOC_TARGETS, path, b.data);
}

static void edit_long_name(Forge *f) {
        put_text_of(f, ROLE "name", "\"", TUF_NAME_MAX, "\"");
}

static void edit_long_pattern(Forge *f) {
        put_text_of(f, ROLE "paths", "[\"", TUF_TARGET_PATH_MAX + 1, "\"]");
}

static void edit_4097_patterns(Forge *f) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i <= TUF_PATTERNS_MAX; i++)
                buffer_printf(&b, "%s\"%zu\"", i ? "," : "[", i);
        buffer_puts(&b, "]");
        forge_put(f, DOC_TARGETS, ROLE "paths", b.data);
}

static void edit_1025_delegations(Forge *f) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i <= TUF_DELEGATIONS_MAX; i++)
                buffer_printf(&b,
                              "%s{\"name\":\"%zu\",\"keyids\":[],\"threshold\":1,\"terminating\":false,\"paths\":[]}",
                              i ? "," : "[", i);
        buffer_puts(&b, "]");
        forge_put(f, DOC_TARGETS, "delegations>roles", b.data);
}

static json_t *delegations(Forge *f) {
        return json_object_get(json_object_get(f->content[DOC_TARGETS], "delegations"), "roles");
}

static void edit_same_name(Forge *f) {
        json_array_append(delegations(f), json_array_get(delegations(f), 0));
}

static void prefixes(Forge *f, const char *l) {
        forge_put(f, DOC_TARGETS, ROLE "paths", NULL);
        forge_put(f, DOC_TARGETS, ROLE "path_hash_prefixes", l);
}

static void edit_both_scopes(Forge *f) {
        forge_put(f, DOC_TARGETS, ROLE "path_hash_prefixes", "[\"00\"]");
}

static void edit_prefixes_null(Forge *f) {
        prefixes(f, "null");
}

static void edit_prefix_number(Forge *f) {
        prefixes(f, "[1]");
}

static void edit_prefix_empty(Forge *f) {
        prefixes(f, "[\"\"]");
}

static void edit_prefix_capitals(Forge *f) {
        prefixes(f, "[\"AB\"]");
}

static void edit_prefix_letters(Forge *f) {
        prefixes(f, "[\"xy\"]");
}

static void edit_prefix_long(Forge *f) {
        prefixes(f, "[\"" FORGE_DIGEST_X "0\"]");
}

static void edit_prefix_space(Forge *f) {
        prefixes(f, "[\"3 \"]");
}

/* The SHA-256 of "stable/x" begins with it. */
static void edit_prefix_right(Forge *f) {
        char list[] = "[\"..\"]";
        _cleanup_free_ char *hex = NULL;
        Sha256 digest;

        sha256_buffer("stable/x", strlen("stable/x"), &digest);
        hex = sha256_hex(&digest);
        memcpy(list + 2, hex, 2);
        prefixes(f, list);
}

static void edit_prefix_wrong(Forge *f) {
        char list[] = "[\"..\"]";
        _cleanup_free_ char *hex = NULL;
        Sha256 digest;

        sha256_buffer("stable/x", strlen("stable/x"), &digest);
        hex = sha256_hex(&digest);
        memcpy(list + 2, hex, 2);
        list[3] = list[3] == '0' ? '1' : '0';
        prefixes(f, list);
}

static void edit_prefixes_empty(Forge *f) {
        prefixes(f, "[]");
}

/* stable delegates to itself, and to a role that delegates back. */
static void edit_circle(Forge *f) {
        forge_put(f, DOC_STABLE, "delegations",
                  "{\"keys\":{" FORGE_KEY("stable") "},\"roles\":[{\"keyids\":["
                                                    "\"{stable}\"],\"name\":\"stable\",\"paths\":[\"stable/*\"],"
                                                    "\"terminating\":false,\"threshold\":1}]}");
}

/* One more role, signed by stable's key. */
static void add_role(Forge *f, const char *name, const char *targets) {
        _cleanup_free_ char *meta = xasprintf("meta>%s.json", name), *numbered = xasprintf("1.%s.json", name),
                            *text = xasprintf(FORGE_HEAD("targets", "1") "\"targets\":%s}", targets);
        _cleanup_buffer_ Buffer content = {}, canonical = {}, document = {};

        buffer_puts(&content, text);
        forge_canonical(text, strlen(text), &canonical);
        forge_seal(f, BY(SIGNER_STABLE), &content, &canonical, &document);
        sim_put(&f->sim->server, numbered, document.data, document.size);
        forge_put(f, DOC_SNAPSHOT, meta, "{\"version\":1}");
}

static void delegate_too(Forge *f, const char *name) {
        _cleanup_json_ json_t *more = json_deep_copy(json_array_get(delegations(f), 0));

        json_object_set_new(more, "name", json_string(name));
        json_array_append(delegations(f), more);
        f->dirty[DOC_TARGETS] = true;
}

/* Whoever ran in the circle would never come to what stands behind it. */
static void edit_behind_circle(Forge *f) {
        add_role(f, "later", "{\"stable/y\":" FORGE_TARGET "}");
        delegate_too(f, "later");
        edit_circle(f);
}

/* A terminating delegation two levels down ends the whole search, not only that of its level. */
static void edit_terminated_below(Forge *f) {
        edit_behind_circle(f);
        add_role(f, "inner", "{}");
        forge_put(f, DOC_STABLE, "delegations>roles>0>name", "\"inner\"");
        forge_put(f, DOC_STABLE, "delegations>roles>0>terminating", "true");
}

static void edit_not_terminated_below(Forge *f) {
        edit_terminated_below(f);
        forge_put(f, DOC_STABLE, "delegations>roles>0>terminating", "false");
}

/* The same role again, by a delegation that trusts other keys. */
static void edit_other_keys(Forge *f) {
        forge_put(f, DOC_TARGETS, "delegations>keys>{stranger}",
                  "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{\"public\":\"{stranger.public}\"}}");
        forge_put(f, DOC_TARGETS, ROLE "keyids", "[\"{stranger}\"]");
}

static void edit_to_top_level(Forge *f) {
        forge_put(f, DOC_STABLE, "delegations",
                  "{\"keys\":{},\"roles\":[{\"keyids\":[],\"name\":\"targets\","
                  "\"paths\":[\"*\"],\"terminating\":false,\"threshold\":1}]}");
}

/* A terminating delegation in front that has not got it. */
static void edit_terminated(Forge *f) {
        _cleanup_json_ json_t *second = json_deep_copy(json_array_get(delegations(f), 0));

        json_object_set_new(second, "name", json_string("later"));
        json_array_append(delegations(f), second);
        forge_put(f, DOC_TARGETS, ROLE "terminating", "true");
        forge_put(f, DOC_STABLE, "targets", "{}");
}

static const Case delegated[] = {
        DELEGATION("empty name", "name", "\"\"", REFUSAL_BAD_FORMAT),
        DELEGATION("named root", "name", "\"root\"", REFUSAL_BAD_FORMAT),
        DELEGATION("named timestamp", "name", "\"timestamp\"", REFUSAL_BAD_FORMAT),
        DELEGATION("named snapshot", "name", "\"snapshot\"", REFUSAL_BAD_FORMAT),
        DELEGATION("named targets", "name", "\"targets\"", REFUSAL_BAD_FORMAT),
        { .name = "named ..", .doc = DOC_TARGETS, .edit = edit_name_dots, .target = "stable/x" },
        { .name = "named ../root", .doc = DOC_TARGETS, .edit = edit_name_escape, .target = "stable/x" },
        { .name = "named /etc/passwd", .doc = DOC_TARGETS, .edit = edit_name_absolute, .target = "stable/x" },
        { .name = "named ..%2froot", .doc = DOC_TARGETS, .edit = edit_name_encoded, .target = "stable/x" },
        { .name = "named with a newline", .doc = DOC_TARGETS, .edit = edit_name_newline, .target = "stable/x" },
        LOOKED_FOR("named after nothing", "name", "\"Stable\"", "stable/x", REFUSAL_MIXED),
        LOOKED_FOR("named with a slash", "name", "\"stable/\"", "stable/x", REFUSAL_MIXED),
        { .name = "name too long", .doc = DOC_TARGETS, .edit = edit_long_name, .expected = REFUSAL_TOO_LARGE },
        { .name = "two of one name", .doc = DOC_TARGETS, .edit = edit_same_name, .expected = REFUSAL_BAD_FORMAT },
        { .name = "1025", .doc = DOC_TARGETS, .edit = edit_1025_delegations, .expected = REFUSAL_TOO_LARGE },
        DELEGATION("no paths", "paths", NULL, REFUSAL_BAD_FORMAT),
        DELEGATION("an empty pattern", "paths", "[\"\"]", REFUSAL_BAD_FORMAT),
        DELEGATION("a pattern that is null", "paths", "[\"stable/*\",null]", REFUSAL_BAD_FORMAT),
        DELEGATION("a list in a list", "paths", "[[\"stable/*\"]]", REFUSAL_BAD_FORMAT),
        { .name = "long pattern", .doc = DOC_TARGETS, .edit = edit_long_pattern, .expected = REFUSAL_TOO_LARGE },
        { .name = "4097 patterns", .doc = DOC_TARGETS, .edit = edit_4097_patterns, .expected = REFUSAL_TOO_LARGE },
        { .name = "paths and prefixes", .doc = DOC_TARGETS, .edit = edit_both_scopes, .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefixes null", .doc = DOC_TARGETS, .edit = edit_prefixes_null, .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefix a number", .doc = DOC_TARGETS, .edit = edit_prefix_number, .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefix empty", .doc = DOC_TARGETS, .edit = edit_prefix_empty, .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefix in capitals",
          .doc = DOC_TARGETS,
          .edit = edit_prefix_capitals,
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefix of letters",
          .doc = DOC_TARGETS,
          .edit = edit_prefix_letters,
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefix of 65 digits", .doc = DOC_TARGETS, .edit = edit_prefix_long, .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefix with a space",
          .doc = DOC_TARGETS,
          .edit = edit_prefix_space,
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "prefix that fits", .doc = DOC_TARGETS, .edit = edit_prefix_right, .target = "stable/x" },
        { .name = "prefix that does not fit",
          .doc = DOC_TARGETS,
          .edit = edit_prefix_wrong,
          .target = "stable/x",
          .absent = true },
        { .name = "no prefixes",
          .doc = DOC_TARGETS,
          .edit = edit_prefixes_empty,
          .target = "stable/x",
          .absent = true },
        PUT("succinct roles", DOC_TARGETS, "delegations>succinct_roles", "{}", REFUSAL_BAD_FORMAT),
        DELEGATION("a key twice", "keyids", "[\"{stable}\",\"{stable}\"]", REFUSAL_BAD_FORMAT),
        LOOKED_FOR("no keys", "keyids", "[]", "stable/x", REFUSAL_BAD_SIGNATURE),
        LOOKED_FOR("an unknown key", "keyids", "[\"{targets-a}\"]", "stable/x", REFUSAL_BAD_SIGNATURE),
        LOOKED_FOR("threshold over the number of keys", "threshold", "2", "stable/x", REFUSAL_BAD_SIGNATURE),
        { .name = "other keys",
          .doc = DOC_TARGETS,
          .edit = edit_other_keys,
          .target = "stable/x",
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "key not listed",
          .doc = DOC_TARGETS,
          .path = "delegations>keys",
          .value = "{}",
          .target = "stable/x",
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "delegates to a top-level role",
          .doc = DOC_STABLE,
          .edit = edit_to_top_level,
          .target = "stable/x",
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "in a circle", .doc = DOC_STABLE, .edit = edit_circle, .target = "stable/none", .absent = true },
        { .name = "in a circle, found", .doc = DOC_STABLE, .edit = edit_circle },
        { .name = "in a circle, found behind it", .doc = DOC_STABLE, .edit = edit_behind_circle, .target = "stable/y" },
        { .name = "terminating, two levels down",
          .doc = DOC_STABLE,
          .edit = edit_terminated_below,
          .target = "stable/y",
          .absent = true },
        { .name = "not terminating, two levels down",
          .doc = DOC_STABLE,
          .edit = edit_not_terminated_below,
          .target = "stable/y" },
        { .name = "terminating, in front of another",
          .doc = DOC_TARGETS,
          .edit = edit_terminated,
          .target = "stable/x",
          .absent = true },
        NOT_THERE("a path that is not covered", "paths", "[\"other/*\"]", "stable/x"),
        NOT_THERE("a star that would cross a slash", "paths", "[\"*\"]", "stable/x"),
        NOT_THERE("a question mark that would cross a slash", "paths", "[\"stable?x\"]", "stable/x"),
        NOT_THERE("other letters", "paths", "[\"Stable/*\"]", "stable/x"),
        NOT_THERE("a path that leaves", "paths", "[\"*/*/*\"]", "stable/../x"),
        NOT_THERE("an absolute path", "paths", "[\"*/*/*\"]", "/stable/x"),
        NOT_THERE("no patterns", "paths", "[]", "stable/x"),
        LOOKED_FOR("a pattern that fits", "paths", "[\"st[a-c]ble/?\"]", "stable/x", REFUSAL_NONE),
        { .name = "without delegations",
          .doc = DOC_TARGETS,
          .path = "delegations",
          .target = "stable/x",
          .absent = true },
};

static void delegations_give_away_no_more_than_they_say(void **state) {
        RUN(delegated, 30);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lengths_and_hashes_bind),
                cmocka_unit_test(targets_stay_below_their_folder),
                cmocka_unit_test(delegations_give_away_no_more_than_they_say),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
