/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "description.h"
#include "io.h"
#include "version.h"

#define HEX8(c) c c c c c c c c
#define HEX(c) HEX8(c) HEX8(c) HEX8(c) HEX8(c) HEX8(c) HEX8(c) HEX8(c) HEX8(c)
#define SALT "00112233445566778899aabbccddeeff"

/* Every member that there is. */
/* clang-format off */
static const char full[] =
        "{\"sealab\":{\"architecture\":\"x86-64\",\"artifacts\":{\"uki\":{"
        "\"encoding\":\"none\",\"sha256\":\"" HEX("1") "\",\"size\":33554432,"
        "\"target\":\"desk/2026.11.1/desk_2026.11.1.efi\"},\"uki-map\":{"
        "\"encoding\":\"none\",\"sha256\":\"" HEX("f") "\",\"size\":32796,"
        "\"target\":\"desk/2026.11.1/desk_2026.11.1.efi.map\"},\"usr\":{"
        "\"encoding\":\"frames\",\"sha256\":\"" HEX("2") "\",\"size\":1073741824,"
        "\"target\":\"desk/2026.11.1/desk_2026.11.1.usr.zst\"},\"usr-index\":{"
        "\"encoding\":\"none\",\"sha256\":\"" HEX("7") "\",\"size\":36888,"
        "\"target\":\"desk/2026.11.1/desk_2026.11.1.usr.index\"},\"usr-map\":{"
        "\"encoding\":\"none\",\"sha256\":\"" HEX("8") "\",\"size\":786480,"
        "\"target\":\"desk/2026.11.1/desk_2026.11.1.usr.map\"},\"verity-sig\":{"
        "\"encoding\":\"none\",\"sha256\":\"" HEX("3") "\",\"size\":4096,"
        "\"target\":\"desk/2026.11.1/desk_2026.11.1.usr.verity-sig\"}},"
        "\"commandLine\":\"" HEX("4") "\",\"critical\":true,\"deltas\":["
        "{\"artifact\":\"usr\",\"from\":\"2026.9.1\",\"fromId\":\"" HEX("9") "\",\"headSha256\":\"" HEX("a") "\","
        "\"headSize\":160,\"target\":\"desk/2026.11.1/2026.9.1.usr.delta\"},"
        "{\"artifact\":\"usr\",\"from\":\"2026.10.2\",\"fromId\":\"" HEX("b") "\",\"headSha256\":\"" HEX("c") "\","
        "\"headSize\":8388608,\"target\":\"desk/2026.11.1/2026.10.2.usr.delta\"},"
        "{\"artifact\":\"uki\",\"from\":\"2026.10.2\",\"fromId\":\"" HEX("d") "\",\"headSha256\":\"" HEX("e") "\","
        "\"headSize\":400,\"target\":\"desk/2026.11.1/2026.10.2.uki.delta\"}],\"epoch\":3,"
        "\"format\":1,\"kernelVersion\":\"6.12.57+deb13-amd64\",\"minimumUpdater\":\"0.1.0\","
        "\"notes\":\"Mends the printer \\u2014 f\\u00fcr alle.\",\"product\":\"desk\","
        "\"rollout\":{\"initial\":100,\"perDay\":1000,\"salt\":\"" SALT "\","
        "\"start\":\"2026-11-21T10:00:00Z\"},\"rootHash\":\"" HEX("5") "\","
        "\"supersedes\":[\"2026.10.1\",\"2026.10.2\"],\"version\":\"2026.11.1\","
        "\"veritySalt\":\"" HEX("6") "\",\"veritySize\":8462336,\"verityUuid\":\"" SALT "\","
        "\"withdrawn\":\"eats files\"}}";
/* clang-format on */

static json_t *load(const char *text) {
        json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

        assert_non_null(value);
        return value;
}

/* "artifacts/usr/size", "deltas/0/from": there the value is replaced, added or (NULL) removed. */
static void change(json_t *document, const char *path, const char *value) {
        _cleanup_strv_free_ char **steps = strv_split(path, "/");
        size_t n = strv_length(steps);
        json_t *at = document;

        for (size_t i = 0; i + 1 < n; i++)
                at = json_is_array(at) ? json_array_get(at, (size_t) atoi(steps[i])) : json_object_get(at, steps[i]);
        assert_true(json_is_object(at));
        if (value)
                assert_int_equal(json_object_set_new(at, steps[n - 1], load(value)), 0);
        else
                assert_int_equal(json_object_del(at, steps[n - 1]), 0);
}

static ReleaseDescription *parse(const char *text) {
        _cleanup_json_ json_t *custom = load(text);
        ReleaseDescription *d = NULL;
        _cleanup_error_ Error e = {};

        if (description_parse(custom, "text", &d, &e) < 0)
                fail_msg("%s", e.message);
        return d;
}

static char *text_of(size_t n) {
        char *text = xmalloc(n + 3);

        memset(text, 'a', n + 2);
        text[0] = text[n + 1] = '"';
        text[n + 2] = 0;
        return text;
}

/* Two deltas from each of so many versions. */
static char *deltas_from(unsigned n) {
        _cleanup_buffer_ Buffer b = {};

        for (unsigned i = 0; i < 2 * n; i++)
                buffer_printf(&b,
                              "%s{\"from\":\"1.%u\",\"artifact\":\"%s\",\"fromId\":\"%s\",\"headSha256\":\"%s\","
                              "\"headSize\":160,\"target\":\"desk/2026.11.1/%u.delta\"}",
                              i > 0 ? "," : "[", i / 2, i % 2 == 0 ? "usr" : "uki", HEX("1"), HEX("2"), i);
        buffer_puts(&b, "]");
        return buffer_steal(&b);
}

static char *versions(unsigned n) {
        _cleanup_buffer_ Buffer b = {};

        for (unsigned i = 0; i < n; i++)
                buffer_printf(&b, "%s\"1.%u\"", i > 0 ? "," : "[", i);
        buffer_puts(&b, "]");
        return buffer_steal(&b);
}

/* ---- what is good ---- */

static void every_member_arrives_where_it_belongs(void **state) {
        _cleanup_(description_freep) ReleaseDescription *d = parse(full);
        const Artifact *usr = &d->artifacts[ARTIFACT_USR], *uki = &d->artifacts[ARTIFACT_UKI],
                       *sig = &d->artifacts[ARTIFACT_VERITY_SIG], *index = &d->artifacts[ARTIFACT_USR_INDEX],
                       *map = &d->artifacts[ARTIFACT_USR_MAP], *uki_map = &d->artifacts[ARTIFACT_UKI_MAP];

        assert_string_equal(d->product, "desk");
        assert_string_equal(d->architecture, "x86-64");
        assert_string_equal(d->version, "2026.11.1");
        assert_int_equal(d->epoch, 3);
        assert_int_equal(d->root_hash.bytes[0], 0x55);
        assert_int_equal(d->verity_size, 8462336);
        assert_int_equal(d->verity_salt.bytes[31], 0x66);
        assert_int_equal(d->verity_uuid[1], 0x11);
        assert_int_equal(d->command_line.bytes[7], 0x44);
        assert_string_equal(d->kernel_version, "6.12.57+deb13-amd64");
        assert_string_equal(d->minimum_updater, "0.1.0");
        assert_true(usr->present && uki->present && sig->present && index->present);
        assert_int_equal(index->size, 36888);
        assert_true(map->present);
        assert_int_equal(map->size, 786480);
        assert_true(uki_map->present);
        assert_int_equal(uki_map->size, 32796);
        assert_string_equal(usr->target, "desk/2026.11.1/desk_2026.11.1.usr.zst");
        assert_string_equal(uki->target, "desk/2026.11.1/desk_2026.11.1.efi");
        assert_string_equal(sig->target, "desk/2026.11.1/desk_2026.11.1.usr.verity-sig");
        assert_int_equal(usr->encoding, ENCODING_FRAMES);
        assert_int_equal(uki->encoding, ENCODING_NONE);
        assert_int_equal(usr->size, 1073741824);
        assert_int_equal(sig->sha256.bytes[0], 0x33);
        assert_int_equal(d->rollout.initial, 100);
        assert_int_equal(d->rollout.per_day, 1000);
        assert_int_equal(d->rollout.start, INT64_C(1795255200));
        assert_int_equal(d->rollout.salt[15], 0xff);
        assert_true(d->critical);
        assert_string_equal(d->notes, "Mends the printer \xe2\x80\x94 f\xc3\xbcr alle.");
        assert_int_equal(strv_length(d->supersedes), 2);
        assert_string_equal(d->supersedes[1], "2026.10.2");
        assert_string_equal(d->withdrawn, "eats files");
}

static void each_delta_arrives_with_its_numbers(void **state) {
        _cleanup_(description_freep) ReleaseDescription *d = parse(full);

        assert_int_equal(d->n_deltas, 3);
        assert_int_equal(d->deltas[0].artifact, ARTIFACT_USR);
        assert_string_equal(d->deltas[0].from, "2026.9.1");
        assert_int_equal(d->deltas[0].from_id.bytes[31], 0x99);
        assert_string_equal(d->deltas[0].target, "desk/2026.11.1/2026.9.1.usr.delta");
        assert_int_equal(d->deltas[0].head_size, 160);
        assert_int_equal(d->deltas[0].head_sha256.bytes[0], 0xaa);
        assert_string_equal(d->deltas[1].from, "2026.10.2");
        assert_int_equal(d->deltas[1].head_size, 8388608);
        assert_int_equal(d->deltas[2].artifact, ARTIFACT_UKI);
        assert_string_equal(d->deltas[2].target, "desk/2026.11.1/2026.10.2.uki.delta");
}

static void deltas_are_added_in_their_order_and_removed(void **state) {
        static const char *const versions[] = { "2026.10.1", "2026.2.1", "2026.9.7", "2026.11.1~rc1" };
        _cleanup_(description_freep) ReleaseDescription *d = parse(full);
        _cleanup_json_ json_t *custom = NULL;
        ReleaseDescription *again = NULL;
        _cleanup_error_ Error e = {};

        for (size_t i = 0; i < 2 * ELEMENTSOF(versions); i++) {
                const ArtifactKind kind = i % 2 == 0 ? ARTIFACT_UKI : ARTIFACT_USR;
                _cleanup_free_ char *from = xstrdup(versions[i / 2]),
                                    *target = xasprintf("desk/2026.11.1/%s.%d", from, (int) kind);

                assert_null(description_find_delta(d, from, kind));
                description_add_delta(
                        d, &(ArtifactDelta){ .artifact = kind, .from = from, .target = target, .head_size = 200 });
                assert_string_equal(description_find_delta(d, from, kind)->target, target);
        }
        description_remove_delta(d, 0); /* 2026.2.1, /usr */
        custom = description_to_json(d);
        if (description_parse(custom, "again", &again, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(again->n_deltas, 10);
        assert_string_equal(again->deltas[0].from, "2026.2.1");
        assert_int_equal(again->deltas[0].artifact, ARTIFACT_UKI);
        assert_string_equal(again->deltas[9].from, "2026.11.1~rc1");
        while (again->n_deltas > 0)
                description_remove_delta(again, again->n_deltas / 2);
        description_free(again);
}

static void deltas_have_one_order(void **state) {
        static const ArtifactDelta in_order[] = {
                { ARTIFACT_USR, (char *) "2026.9.1" },
                { ARTIFACT_UKI, (char *) "2026.9.1" },
                { ARTIFACT_USR, (char *) "2026.9.01" },
                { ARTIFACT_USR, (char *) "2026.10.1" },
        };

        /* As versions these two are the same; as texts they are not. */
        assert_int_equal(version_compare("2026.9.1", "2026.9.01"), 0);
        assert_true(description_delta_compare(&in_order[2], &in_order[0]) < 0);
        assert_true(description_delta_compare(&in_order[0], &in_order[1]) < 0);
        assert_true(description_delta_compare(&in_order[1], &in_order[3]) < 0);
        assert_true(description_delta_compare(&in_order[3], &in_order[2]) > 0);
        assert_int_equal(description_delta_compare(&in_order[1], &in_order[1]), 0);
}

static void what_is_written_is_what_was_read(void **state) {
        _cleanup_(description_freep) ReleaseDescription *d = parse(full);
        _cleanup_json_ json_t *before = load(full), *after = description_to_json(d);

        assert_true(json_equal(before, after));
}

static void what_is_as_usual_is_left_out(void **state) {
        static const char *const optional[] = {
                "epoch",      "kernelVersion",       "rollout",           "critical",
                "notes",      "supersedes",          "withdrawn",         "artifacts/verity-sig",
                "verityUuid", "artifacts/usr-index", "artifacts/usr-map", "artifacts/uki-map",
                "deltas"
        };
        _cleanup_json_ json_t *custom = load(full), *after = NULL;
        _cleanup_(description_freep) ReleaseDescription *d = NULL;

        for (size_t i = 0; i < ELEMENTSOF(optional); i++) {
                _cleanup_free_ char *path = xasprintf("sealab/%s", optional[i]);

                change(custom, path, NULL);
                d = description_free(d);
                assert_int_equal(description_parse(custom, "text", &d, NULL), 0);
        }
        assert_int_equal(d->rollout.initial, ROLLOUT_WHOLE);
        assert_int_equal(d->epoch, 0);
        assert_null(d->notes);
        assert_null(d->withdrawn);
        assert_null(d->supersedes);
        assert_false(d->critical || d->artifacts[ARTIFACT_VERITY_SIG].present);
        after = description_to_json(d);
        assert_true(json_equal(custom, after));
        /* Said aloud it means the same. */
        change(custom, "sealab/epoch", "0");
        change(custom, "sealab/critical", "false");
        change(custom, "sealab/supersedes", "[]");
        change(custom, "sealab/deltas", "[]");
        change(custom, "sealab/rollout", "{\"initial\":10000}");
        d = description_free(d);
        assert_int_equal(description_parse(custom, "text", &d, NULL), 0);
        json_decref(custom);
        custom = description_to_json(d);
        assert_true(json_equal(custom, after));
}

static void other_values_that_are_allowed(void **state) {
        _cleanup_free_ char *notes = text_of(DESCRIPTION_NOTES_MAX), *many = versions(DESCRIPTION_SUPERSEDES_MAX),
                            *deltas = deltas_from(DESCRIPTION_DELTAS_MAX / 2);
        const struct {
                const char *path, *value;
        } cases[] = {
                { "other", "{\"vendor\":[1,2]}" },
                { "sealab/architecture", "\"arm64\"" },
                { "sealab/epoch", "9223372036854775807" },
                { "sealab/minimumUpdater", "\"99.0~rc1\"" },
                { "sealab/artifacts/usr/size", "1099511627776" },
                { "sealab/artifacts/usr-index/size", "41943072" },
                { "sealab/artifacts/usr-map/size", "100663316" },
                { "sealab/artifacts/uki-map/size", "100663316" },
                { "sealab/artifacts/uki/target", "\"desk/2026.11.1/a+b~c^d-e_F.0\"" },
                { "sealab/notes", notes },
                { "sealab/supersedes", many },
                { "sealab/deltas", deltas },
                { "sealab/deltas/0/headSize", "8388608" },
                { "sealab/deltas/0/from", "\"2026.9.1~rc1\"" },
                { "sealab/rollout", "{\"initial\":0,\"salt\":\"" SALT "\"}" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(description_freep) ReleaseDescription *d = NULL;
                _cleanup_json_ json_t *custom = load(full);
                _cleanup_error_ Error e = {};

                change(custom, cases[i].path, cases[i].value);
                if (description_parse(custom, "text", &d, &e) < 0)
                        fail_msg("%s: %s", cases[i].path, e.message);
        }
}

/* Between the markers in the page: one target as it stands in a channel's metadata. */
static void example_of_the_manual_page_is_read(void **state) {
        static const char begin[] = ".\\\" begin example\n.Bd -literal\n", end[] = "\n.Ed\n";
        const char *source = getenv("SEALAB_TEST_SOURCE"), *from, *to;
        _cleanup_free_ char *path = xasprintf("%s/docs/sealab-repository.5", source ?: "."), *page = NULL;
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        _cleanup_json_ json_t *target = NULL, *again = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(io_read_file(AT_FDCWD, path, (size_t) 1 << 20, &page, NULL, &e), 0);
        from = strstr(page, begin);
        assert_non_null(from);
        from += strlen(begin);
        to = strstr(from, end);
        assert_non_null(to);
        if (json_parse(from, (size_t) (to - from), "example", &target, &e) < 0)
                fail_msg("%s", e.message);
        if (description_parse(json_object_get(target, "custom"), "example", &d, &e) < 0)
                fail_msg("%s", e.message);
        again = description_to_json(d);
        assert_true(json_equal(json_object_get(target, "custom"), again));
        assert_true(d->artifacts[ARTIFACT_VERITY_SIG].present && d->notes && d->supersedes && d->n_deltas > 0);
}

/* ---- what is not ---- */

typedef struct Mutation {
        const char *path, *value; /* value NULL: without that member */
        Refusal id;
} Mutation;

static const Mutation mutations[] = {
        { "sealab", NULL, REFUSAL_BAD_FORMAT },
        { "sealab", "null", REFUSAL_BAD_FORMAT },
        { "sealab", "[]", REFUSAL_BAD_FORMAT },
        { "sealab", "\"desk\"", REFUSAL_BAD_FORMAT },
        { "sealab", "{}", REFUSAL_BAD_FORMAT },
        { "sealab/format", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/format", "0", REFUSAL_BAD_FORMAT },
        { "sealab/format", "-1", REFUSAL_BAD_FORMAT },
        { "sealab/format", "\"1\"", REFUSAL_BAD_FORMAT },
        { "sealab/format", "1.0", REFUSAL_BAD_FORMAT },
        { "sealab/format", "true", REFUSAL_BAD_FORMAT },
        { "sealab/format", "2", REFUSAL_UPDATER },
        { "sealab/format", "9223372036854775807", REFUSAL_UPDATER },
        { "sealab", "{\"format\":2,\"what\":\"nobody knows yet\"}", REFUSAL_UPDATER },
        { "sealab/colour", "\"red\"", REFUSAL_BAD_FORMAT },
        { "sealab/Product", "\"desk\"", REFUSAL_BAD_FORMAT },

        { "sealab/product", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/product", "7", REFUSAL_BAD_FORMAT },
        { "sealab/product", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\".\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\"..\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\"-desk\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\"desk/x\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\"desk_x\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\"d\\u00e9sk\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\"a12345678901234567890123456\"", REFUSAL_BAD_VALUE },
        { "sealab/product", "\"other\"", REFUSAL_PATH_ESCAPE },
        { "sealab/architecture", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/architecture", "\"amd64\"", REFUSAL_BAD_VALUE },
        { "sealab/architecture", "\"x86_64\"", REFUSAL_BAD_VALUE },
        { "sealab/architecture", "\"X86-64\"", REFUSAL_BAD_VALUE },
        { "sealab/architecture", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/architecture", "[\"x86-64\"]", REFUSAL_BAD_FORMAT },
        { "sealab/version", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/version", "2026", REFUSAL_BAD_FORMAT },
        { "sealab/version", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/version", "\"..\"", REFUSAL_BAD_VALUE },
        { "sealab/version", "\"2026.11.1+3\"", REFUSAL_BAD_VALUE },
        { "sealab/version", "\"2026 11\"", REFUSAL_BAD_VALUE },
        { "sealab/version", "\"2026.11.2\"", REFUSAL_PATH_ESCAPE },
        { "sealab/epoch", "-1", REFUSAL_BAD_FORMAT },
        { "sealab/epoch", "1.5", REFUSAL_BAD_FORMAT },
        { "sealab/epoch", "\"3\"", REFUSAL_BAD_FORMAT },
        { "sealab/epoch", "null", REFUSAL_BAD_FORMAT },

        { "sealab/rootHash", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/rootHash", "\"\"", REFUSAL_BAD_FORMAT },
        { "sealab/rootHash", "\"" HEX("a") "a\"", REFUSAL_BAD_FORMAT },
        { "sealab/rootHash", "\"" HEX("A") "\"", REFUSAL_BAD_FORMAT },
        { "sealab/rootHash", "\"" HEX("g") "\"", REFUSAL_BAD_FORMAT },
        { "sealab/rootHash", "5", REFUSAL_BAD_FORMAT },
        { "sealab/veritySize", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/veritySize", "0", REFUSAL_BAD_VALUE },
        { "sealab/veritySize", "-4096", REFUSAL_BAD_FORMAT },
        { "sealab/veritySize", "1099511627777", REFUSAL_TOO_LARGE },
        { "sealab/veritySalt", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/veritySalt", "\"00\"", REFUSAL_BAD_FORMAT },
        { "sealab/verityUuid", "\"\"", REFUSAL_BAD_FORMAT },
        { "sealab/verityUuid", "\"00112233-4455-6677-8899-aabbccddeeff\"", REFUSAL_BAD_FORMAT },
        { "sealab/verityUuid", "\"00112233445566778899AABBCCDDEEFF\"", REFUSAL_BAD_FORMAT },
        { "sealab/verityUuid", "0", REFUSAL_BAD_FORMAT },
        { "sealab/commandLine", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/commandLine", "\"quiet\"", REFUSAL_BAD_FORMAT },
        { "sealab/kernelVersion", "6", REFUSAL_BAD_FORMAT },
        { "sealab/kernelVersion", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/kernelVersion", "\"6.12\\n\"", REFUSAL_BAD_VALUE },
        { "sealab/minimumUpdater", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/minimumUpdater", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/minimumUpdater", "\"0.1 or so\"", REFUSAL_BAD_VALUE },
        { "sealab/minimumUpdater", "1", REFUSAL_BAD_FORMAT },

        { "sealab/artifacts", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/artifacts", "[]", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts", "{}", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr", "\"desk/2026.11.1/usr\"", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/uki", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/disk", "{}", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/verity-sig", "null", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/target", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/target", "\"\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"usr\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"/desk/2026.11.1/usr\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.10/usr\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1//usr\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/a/b\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/..\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/../../x\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"Desk/2026.11.1/usr\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/.hidden\"", REFUSAL_PATH_ESCAPE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/a b\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/a\\\\b\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/a%2fb\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/release.json\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/target", "\"desk/2026.11.1/desk_2026.11.1.efi\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/encoding", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/encoding", "\"none\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/encoding", "\"xz\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/uki/encoding", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/uki/encoding", "0", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/size", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/size", "0", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/size", "4097", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/size", "1099511627777", REFUSAL_TOO_LARGE },
        { "sealab/artifacts/usr/size", "4096.0", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/size", "\"4096\"", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/uki/size", "0", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr-index", "[]", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr-index/size", "0", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr-index/encoding", "\"frames\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr-index/size", "41943073", REFUSAL_TOO_LARGE },
        { "sealab/artifacts/usr-index/target", "\"desk/2026.11.1/desk_2026.11.1.usr.zst\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr-map", "1", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr-map/size", "0", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr-map/encoding", "\"frames\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr-map/size", "100663317", REFUSAL_TOO_LARGE },
        { "sealab/artifacts/usr-map/target", "\"desk/2026.11.1/desk_2026.11.1.usr.index\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/uki-map", "[]", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/uki-map/size", "0", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/uki-map/encoding", "\"frames\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/uki-map/size", "100663317", REFUSAL_TOO_LARGE },
        { "sealab/artifacts/uki-map/target", "\"desk/2026.11.1/desk_2026.11.1.usr.map\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/uki/encoding", "\"frames\"", REFUSAL_BAD_VALUE },
        { "sealab/artifacts/usr/sha256", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/sha256", "\"" HEX("F") "\"", REFUSAL_BAD_FORMAT },
        { "sealab/artifacts/usr/length", "1", REFUSAL_BAD_FORMAT },

        { "sealab/deltas", "{}", REFUSAL_BAD_FORMAT },
        { "sealab/deltas", "null", REFUSAL_BAD_FORMAT },
        { "sealab/deltas", "[1]", REFUSAL_BAD_FORMAT },
        { "sealab/deltas", "[{}]", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/more", "1", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/from", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/from", "9", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/from", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/from", "\"../x\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/2/from", "\"2026.11.1\"", REFUSAL_BAD_VALUE },  /* itself */
        { "sealab/deltas/2/from", "\"2026.11.01\"", REFUSAL_BAD_VALUE }, /* of the same age */
        { "sealab/deltas/2/from", "\"2026.12.1\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/from", "\"2026.10.3\"", REFUSAL_BAD_VALUE }, /* out of order */
        { "sealab/deltas/0/from", "\"2026.10.2\"", REFUSAL_BAD_VALUE }, /* twice */
        { "sealab/deltas/2/artifact", "\"usr\"", REFUSAL_BAD_VALUE },   /* twice */
        { "sealab/deltas/1/artifact", "\"uki\"", REFUSAL_BAD_VALUE },   /* twice */
        { "sealab/deltas/0/artifact", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/artifact", "0", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/artifact", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/artifact", "\"usr-map\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/artifact", "\"uki-map\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/artifact", "\"usr-index\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/artifact", "\"verity-sig\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/fromId", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/fromId", "\"" HEX("F") "\"", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/fromId", "\"00\"", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/target", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/target", "\"desk/2026.9.1/usr.delta\"", REFUSAL_PATH_ESCAPE },
        { "sealab/deltas/0/target", "\"desk/2026.11.1/a/b\"", REFUSAL_PATH_ESCAPE },
        { "sealab/deltas/0/target", "\"desk/2026.11.1/..\"", REFUSAL_PATH_ESCAPE },
        { "sealab/deltas/0/target", "\"desk/2026.11.1/release.json\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/target", "\"desk/2026.11.1/a b\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/target", "\"desk/2026.11.1/desk_2026.11.1.efi\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/2/target", "\"desk/2026.11.1/2026.9.1.usr.delta\"", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/headSize", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/headSize", "\"160\"", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/headSize", "-160", REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/headSize", "159", REFUSAL_BAD_VALUE },
        { "sealab/deltas/0/headSize", "8388609", REFUSAL_TOO_LARGE },
        { "sealab/deltas/0/headSha256", NULL, REFUSAL_BAD_FORMAT },
        { "sealab/deltas/0/headSha256", "\"" HEX("g") "\"", REFUSAL_BAD_FORMAT },

        { "sealab/rollout", "\"10%\"", REFUSAL_BAD_FORMAT },
        { "sealab/rollout", "{}", REFUSAL_BAD_FORMAT },
        { "sealab/rollout/salt", NULL, REFUSAL_BAD_VALUE },
        { "sealab/rollout/start", NULL, REFUSAL_BAD_VALUE },
        { "sealab/rollout/initial", "10001", REFUSAL_TOO_LARGE },
        { "sealab/rollout/start", "\"tomorrow\"", REFUSAL_BAD_FORMAT },
        { "sealab/rollout/end", "\"2026-11-21T10:00:00Z\"", REFUSAL_BAD_FORMAT },
        { "sealab/critical", "1", REFUSAL_BAD_FORMAT },
        { "sealab/critical", "\"yes\"", REFUSAL_BAD_FORMAT },
        { "sealab/critical", "null", REFUSAL_BAD_FORMAT },
        { "sealab/notes", "[\"a\"]", REFUSAL_BAD_FORMAT },
        { "sealab/notes", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/notes", "\"one\\ntwo\"", REFUSAL_BAD_VALUE },
        { "sealab/notes", "\"\\u001b[2J\"", REFUSAL_BAD_VALUE },
        { "sealab/notes", "\"\\u009b2J\"", REFUSAL_BAD_VALUE },
        { "sealab/notes", "\"\\u007f\"", REFUSAL_BAD_VALUE },
        { "sealab/supersedes", "\"2026.10.1\"", REFUSAL_BAD_FORMAT },
        { "sealab/supersedes", "[1]", REFUSAL_BAD_FORMAT },
        { "sealab/supersedes", "[\"2026.10.1\",\"2026.10.1\"]", REFUSAL_BAD_VALUE },
        { "sealab/supersedes", "[\"2026.11.1\"]", REFUSAL_BAD_VALUE },
        { "sealab/supersedes", "[\"../x\"]", REFUSAL_BAD_VALUE },
        { "sealab/withdrawn", "true", REFUSAL_BAD_FORMAT },
        { "sealab/withdrawn", "\"\"", REFUSAL_BAD_VALUE },
        { "sealab/withdrawn", "\"a\\tb\"", REFUSAL_BAD_VALUE },
};

static void assert_refused(const Mutation *m) {
        _cleanup_json_ json_t *custom = load(full);
        _cleanup_error_ Error e = {};
        ReleaseDescription *d = NULL;
        int r;

        change(custom, m->path, m->value);
        r = description_parse(custom, "text", &d, &e);
        if (r != -EBADMSG || e.id != m->id || d)
                fail_msg("%s = %s: %d, \"%s\" instead of \"%s\"", m->path, m->value ?: "(removed)", r,
                         refusal_name(e.id), refusal_name(m->id));
}

static void each_mutation_is_refused_for_its_reason(void **state) {
        assert_true(ELEMENTSOF(mutations) >= 60);
        for (size_t i = 0; i < ELEMENTSOF(mutations); i++)
                assert_refused(&mutations[i]);
}

static void each_limit_is_kept(void **state) {
        _cleanup_free_ char *notes = text_of(DESCRIPTION_NOTES_MAX + 1), *name = text_of(129),
                            *many = versions(DESCRIPTION_SUPERSEDES_MAX + 1), *file = text_of(201), *target = NULL,
                            *deltas = deltas_from(DESCRIPTION_DELTAS_MAX / 2 + 1);
        const Mutation long_ones[] = {
                { "sealab/notes", notes, REFUSAL_TOO_LARGE },        { "sealab/withdrawn", notes, REFUSAL_TOO_LARGE },
                { "sealab/kernelVersion", name, REFUSAL_TOO_LARGE }, { "sealab/supersedes", many, REFUSAL_TOO_LARGE },
                { "sealab/deltas", deltas, REFUSAL_TOO_LARGE },
        };

        for (size_t i = 0; i < ELEMENTSOF(long_ones); i++)
                assert_refused(&long_ones[i]);
        target = xasprintf("\"desk/2026.11.1/%s", file + 1);
        assert_refused(&(Mutation){ "sealab/artifacts/uki/target", target, REFUSAL_BAD_VALUE });
}

static void documents_that_are_no_objects_are_refused(void **state) {
        static const char *const texts[] = { "null", "[]", "\"sealab\"", "1", "{}" };
        ReleaseDescription *d = NULL;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_json_ json_t *custom = load(texts[i]);
                _cleanup_error_ Error e = {};

                assert_int_equal(description_parse(custom, "text", &d, &e), -EBADMSG);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
        assert_int_equal(description_parse(NULL, "text", &d, NULL), -EBADMSG);
        assert_null(d);
}

static void every_required_member_is_missed(void **state) {
        _cleanup_json_ json_t *custom = load(full);
        size_t n_required = 0;
        const char *key;
        json_t *value;

        json_object_foreach (json_object_get(custom, "sealab"), key, value) {
                _cleanup_json_ json_t *copy = json_deep_copy(custom);
                _cleanup_(description_freep) ReleaseDescription *d = NULL;
                _cleanup_error_ Error e = {};

                json_object_del(json_object_get(copy, "sealab"), key);
                if (description_parse(copy, "text", &d, &e) < 0) {
                        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
                        n_required++;
                }
        }
        assert_int_equal(n_required, 10);
}

/* ---- the rest ---- */

static void updater_must_be_new_enough(void **state) {
        static const struct {
                const char *minimum, *updater;
                bool supports;
        } cases[] = {
                { "0.1.0", "0.1.0", true }, { "0.1.0", "0.1.1", true },     { "0.1.0", "1.0", true },
                { "0.10", "0.9", false },   { "0.1.0", "0.0.9", false },    { "0.1.0", "0.1.0~rc1", false },
                { "0.1.0", "", false },     { "0.1.0~rc1", "0.1.0", true }, { "2", "1.999", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                ReleaseDescription d = { .minimum_updater = (char *) cases[i].minimum };

                assert_int_equal(description_supports(&d, cases[i].updater), cases[i].supports);
        }
}

static void names_and_paths(void **state) {
        _cleanup_free_ char *path = description_target_path("laptop", "2026.11.1", DESCRIPTION_TARGET_FILE);

        assert_string_equal(path, "laptop/2026.11.1/release.json");
        assert_string_equal(artifact_kind_name(ARTIFACT_USR), "usr");
        assert_string_equal(artifact_kind_name(ARTIFACT_USR_INDEX), "usr-index");
        assert_string_equal(artifact_kind_name(ARTIFACT_USR_MAP), "usr-map");
        assert_string_equal(artifact_kind_name(ARTIFACT_UKI_MAP), "uki-map");
        assert_string_equal(artifact_kind_name(ARTIFACT_UKI), "uki");
        assert_string_equal(artifact_kind_name(ARTIFACT_VERITY_SIG), "verity-sig");
        assert_null(description_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_member_arrives_where_it_belongs),
                cmocka_unit_test(each_delta_arrives_with_its_numbers),
                cmocka_unit_test(deltas_have_one_order),
                cmocka_unit_test(deltas_are_added_in_their_order_and_removed),
                cmocka_unit_test(what_is_written_is_what_was_read),
                cmocka_unit_test(what_is_as_usual_is_left_out),
                cmocka_unit_test(other_values_that_are_allowed),
                cmocka_unit_test(example_of_the_manual_page_is_read),
                cmocka_unit_test(each_mutation_is_refused_for_its_reason),
                cmocka_unit_test(each_limit_is_kept),
                cmocka_unit_test(documents_that_are_no_objects_are_refused),
                cmocka_unit_test(every_required_member_is_missed),
                cmocka_unit_test(updater_must_be_new_enough),
                cmocka_unit_test(names_and_paths),
        };

        return cmocka_run_group_tests_name("description", tests, NULL, NULL);
}
