/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tamper table, second part: who signs what, roots, keys, versions and times. */

#include "tuf-tamper.h"

/* ---- whose signatures ---------------------------------------------------------------------------------------- */

/* Each document signed by each single key that is not enough for it, and by all the others together. */
static void the_keys_of_a_role_sign_for_no_other(void **state) {
        size_t n_wrong = 0, n = 0;

        for (Doc doc = 0; doc < _DOC_MAX; doc++) {
                for (Signer signer = 0; signer < _SIGNER_MAX; signer++) {
                        _cleanup_free_ char *name = xasprintf("signed by %s alone", forge_signer_names[signer]);
                        Case c = { .name = name,
                                   .doc = doc,
                                   .signers = BY(signer),
                                   .expected =
                                           forge_signers[doc] == BY(signer) ? REFUSAL_NONE : REFUSAL_BAD_SIGNATURE };

                        n_wrong += !run_case(&c);
                        n += c.expected != REFUSAL_NONE;
                }
                Case others = { .name = "signed by everybody else",
                                .doc = doc,
                                .signers = (BY(_SIGNER_MAX) - 1) & ~forge_signers[doc],
                                .expected = REFUSAL_BAD_SIGNATURE };
                Case nobody = {
                        .name = "signed by nobody", .doc = doc, .signers = NOBODY, .expected = REFUSAL_BAD_SIGNATURE
                };
                Case everybody = { .name = "signed by everybody", .doc = doc, .signers = BY(_SIGNER_MAX) - 1 };

                n_wrong += !run_case(&others) + !run_case(&nobody) + !run_case(&everybody);
                n += 2;
        }
        print_message("           %zu cases refused\n", n);
        assert_int_equal(n_wrong, 0);
}

static void spoil_other_document(Forge *f, Doc doc, Buffer *b) {
        Doc other = (Doc) strtoul(f->with, NULL, 10);

        buffer_done(b);
        *b = (Buffer){};
        buffer_append(b, f->served[other].data, f->served[other].size);
}

/* Each document in the place of each other one, under its length and hash; and each that only says it is another. */
static void no_document_stands_for_another(void **state) {
        size_t n_wrong = 0, n = 0;

        for (Doc doc = 0; doc < _DOC_MAX; doc++)
                for (Doc other = 0; other < _DOC_MAX; other++) {
                        /* Those two are of one type; their keys tell them apart. */
                        bool alike = doc + other == DOC_TARGETS + DOC_STABLE && doc >= DOC_TARGETS;
                        _cleanup_free_ char *number = xasprintf("%d", other),
                                            *served = xasprintf("%s in its place", forge_doc_names[other]),
                                            *called = xasprintf("called %s", forge_doc_names[other]),
                                            *type = xasprintf("\"%s\"", forge_doc_names[other]);
                        Case in_place = { .name = served,
                                          .doc = doc,
                                          .spoil = spoil_other_document,
                                          .with = number,
                                          .find = "",
                                          .expected = alike ? REFUSAL_BAD_SIGNATURE : REFUSAL_BAD_FORMAT };
                        Case by_name = { .name = called,
                                         .doc = doc,
                                         .path = "_type",
                                         .value = type,
                                         .expected =
                                                 alike && other == DOC_TARGETS ? REFUSAL_NONE : REFUSAL_BAD_FORMAT };

                        if (doc == other)
                                continue;
                        n_wrong += !run_case(&in_place) + !run_case(&by_name);
                        n += 2;
                }
        print_message("           %zu cases\n", n);
        assert_int_equal(n_wrong, 0);
}

/* ---- roots --------------------------------------------------------------------------------------------------- */

#define FIRST(n, where, what, id)                                                                                      \
        { .name = n, .doc = DOC_ROOT, .path = where, .value = what, .first = true, .expected = id }

static void edit_new_root_keys(Forge *f) {
        forge_put(f, DOC_ROOT, "keys>{stranger}",
                  "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{"
                  "\"public\":\"{stranger.public}\"}}");
        forge_put(f, DOC_ROOT, "roles>root", "{\"keyids\":[\"{stranger}\"],\"threshold\":1}");
}

/* root-b once more, as "alias". */
static void edit_alias(Forge *f) {
        forge_put(f, DOC_ROOT, "keys>alias",
                  "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{"
                  "\"public\":\"{root-b.public}\"}}");
}

static void edit_root_alias(Forge *f) {
        edit_alias(f);
        forge_put(f, DOC_ROOT, "roles>root", "{\"keyids\":[\"{root-a}\",\"{root-b}\",\"alias\"],\"threshold\":3}");
}

static void edit_alias_alone(Forge *f) {
        edit_alias(f);
        forge_put(f, DOC_ROOT, "roles>root", "{\"keyids\":[\"{root-b}\",\"alias\"],\"threshold\":2}");
}

static void spoil_sign_as_alias(Forge *f, Doc doc, Buffer *b) {
        char *at = strstr(b->data, sim_key_id(SIGNER_ROOT_B)), *end = strchr(at, '}');
        _cleanup_free_ char *entry = xstrndup(at + strlen(sim_key_id(SIGNER_ROOT_B)),
                                              (size_t) (end - at) - strlen(sim_key_id(SIGNER_ROOT_B))),
                            *list = xasprintf("[{\"keyid\":\"alias%s},", entry);

        forge_replace(b, "[", list, strlen(list));
}

static void edit_targets_alias(Forge *f) {
        forge_put(f, DOC_ROOT, "keys>alias",
                  "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{"
                  "\"public\":\"{targets-a.public}\"}}");
        forge_put(f, DOC_ROOT, "roles>targets>keyids", "[\"{targets-a}\",\"alias\"]");
        f->signers[DOC_TARGETS] = BY(SIGNER_TARGETS_A);
        f->dirty[DOC_TARGETS] = true;
}

static void spoil_targets_alias(Forge *f, Doc doc, Buffer *b) {
        char *start = strchr(b->data, '[') + 1, *sig = strstr(start, "\"sig\"");
        _cleanup_free_ char *entry = xstrndup(sig, (size_t) (strchr(sig, '}') - sig)),
                            *list = xasprintf("[{\"keyid\":\"alias\",%s},", entry);

        forge_replace(b, "[", list, strlen(list));
}

static void edit_lost_keys(Forge *f) {
        forge_put(f, DOC_ROOT, "keys>{root-a}", NULL);
}

static void edit_no_timestamp_key(Forge *f) {
        forge_put(f, DOC_ROOT, "keys>{timestamp}", NULL);
}

/* The timestamp's key becomes the stranger's; the timestamp itself stays as it was signed. */
static void edit_rotated_timestamp(Forge *f) {
        forge_put(f, DOC_ROOT, "keys>{stranger}",
                  "{\"keytype\":\"ed25519\",\"scheme\":\"ed25519\",\"keyval\":{"
                  "\"public\":\"{stranger.public}\"}}");
        forge_put(f, DOC_ROOT, "roles>timestamp>keyids", "[\"{stranger}\"]");
}

static void edit_rotated_and_signed(Forge *f) {
        edit_rotated_timestamp(f);
        f->signers[DOC_TIMESTAMP] = BY(SIGNER_STRANGER);
        f->dirty[DOC_TIMESTAMP] = true;
}

/* After a rotation a fast-forward is recovered from: lower versions are taken again. */
static void edit_recovered(Forge *f) {
        edit_rotated_and_signed(f);
        forge_put(f, DOC_TIMESTAMP, "version", "1");
        forge_put(f, DOC_TIMESTAMP, "meta>snapshot.json>version", "1");
        forge_put(f, DOC_SNAPSHOT, "version", "1");
        forge_put(f, DOC_SNAPSHOT, "meta>targets.json>version", "4");
}

static void edit_257_keys(Forge *f) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i <= TUF_ROLE_KEYS_MAX; i++)
                buffer_printf(&b, "%s\"%zu\"", i ? "," : "[", i);
        buffer_puts(&b, "]");
        forge_put(f, DOC_ROOT, "roles>targets>keyids", b.data);
}

static void edit_1025_keys(Forge *f) {
        for (size_t i = 0; i < TUF_KEYS_MAX; i++) {
                _cleanup_free_ char *path = xasprintf("keys>%zu", i);

                forge_put(f, DOC_ROOT, path, "{\"keytype\":\"x\",\"scheme\":\"x\",\"keyval\":{}}");
        }
}

static const Case roots[] = {
        PUT("next version", DOC_ROOT, "x", "1", REFUSAL_NONE),
        PUT("version repeated", DOC_ROOT, "version", "1", REFUSAL_ROLLBACK),
        PUT("version skipped", DOC_ROOT, "version", "3", REFUSAL_MIXED),
        PUT("version far ahead", DOC_ROOT, "version", "9223372036854775807", REFUSAL_MIXED),
        { .name = "signed by the old threshold but not by its own",
          .doc = DOC_ROOT,
          .edit = edit_new_root_keys,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "signed by its own threshold but not by the old",
          .doc = DOC_ROOT,
          .edit = edit_new_root_keys,
          .signers = BY(SIGNER_STRANGER),
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "signed by its own and one of the old",
          .doc = DOC_ROOT,
          .edit = edit_new_root_keys,
          .signers = BY(SIGNER_STRANGER) | BY(SIGNER_ROOT_A),
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "signed by both thresholds",
          .doc = DOC_ROOT,
          .edit = edit_new_root_keys,
          .signers = BY(SIGNER_STRANGER) | BY(SIGNER_ROOT_A) | BY(SIGNER_ROOT_B) },
        { .name = "lower threshold, signed by so many",
          .doc = DOC_ROOT,
          .path = "roles>root>threshold",
          .value = "1",
          .signers = BY(SIGNER_ROOT_A),
          .expected = REFUSAL_BAD_SIGNATURE },
        PUT("threshold over the number of keys", DOC_ROOT, "roles>root>threshold", "3", REFUSAL_BAD_SIGNATURE),
        PUT("threshold at its limit", DOC_ROOT, "roles>root>threshold", "256", REFUSAL_BAD_SIGNATURE),
        PUT("no keys for itself", DOC_ROOT, "roles>root>keyids", "[]", REFUSAL_BAD_SIGNATURE),
        PUT("a key of a role twice", DOC_ROOT, "roles>root>keyids", "[\"{root-a}\",\"{root-a}\"]", REFUSAL_BAD_FORMAT),
        PUT("a timestamp's key twice", DOC_ROOT, "roles>timestamp>keyids", "[\"{timestamp}\",\"{timestamp}\"]",
            REFUSAL_BAD_FORMAT),
        { .name = "its keys not listed", .doc = DOC_ROOT, .edit = edit_lost_keys, .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "timestamp's key not listed",
          .doc = DOC_ROOT,
          .edit = edit_no_timestamp_key,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "a public key under two ids",
          .doc = DOC_ROOT,
          .edit = edit_root_alias,
          .spoil = spoil_sign_as_alias,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "a public key under two ids, no other",
          .doc = DOC_ROOT,
          .edit = edit_alias_alone,
          .spoil = spoil_sign_as_alias,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "a public key under two ids, enough others",
          .doc = DOC_ROOT,
          .edit = edit_alias,
          .spoil = spoil_sign_as_alias },
        { .name = "a public key under two ids",
          .doc = DOC_TARGETS,
          .edit = edit_targets_alias,
          .spoil = spoil_targets_alias,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "timestamp still signed by the key before",
          .doc = DOC_ROOT,
          .edit = edit_rotated_timestamp,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "timestamp still signed by the key before, known already",
          .doc = DOC_ROOT,
          .edit = edit_rotated_timestamp,
          .again = true,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "timestamp signed by its new key", .doc = DOC_ROOT, .edit = edit_rotated_and_signed },
        { .name = "lower versions after a rotation", .doc = DOC_ROOT, .edit = edit_recovered, .again = true },
        { .name = "a role with 257 keys", .doc = DOC_ROOT, .edit = edit_257_keys, .expected = REFUSAL_TOO_LARGE },
        { .name = "1025 and more keys", .doc = DOC_ROOT, .edit = edit_1025_keys, .expected = REFUSAL_TOO_LARGE },
        PUT("threshold of targets raised", DOC_ROOT, "roles>targets>threshold", "3", REFUSAL_BAD_SIGNATURE),
        PUT("threshold of timestamp raised", DOC_ROOT, "roles>timestamp>threshold", "2", REFUSAL_BAD_SIGNATURE),
        PUT("no keys for snapshot", DOC_ROOT, "roles>snapshot>keyids", "[]", REFUSAL_BAD_SIGNATURE),
        PUT("no keys for targets", DOC_ROOT, "roles>targets>keyids", "[]", REFUSAL_BAD_SIGNATURE),
        PUT("an unknown role beside", DOC_ROOT, "roles>mirrors", "{\"keyids\":[],\"threshold\":1}", REFUSAL_NONE),
        PUT("an unknown key in a role", DOC_ROOT, "roles>timestamp>keyids", "[\"x\",\"{timestamp}\"]", REFUSAL_NONE),
        PUT("no consistent snapshots", DOC_ROOT, "consistent_snapshot", "false", REFUSAL_NONE),
        PUT("nothing said about consistent snapshots", DOC_ROOT, "consistent_snapshot", NULL, REFUSAL_NONE),

        FIRST("the first", "x", "1", REFUSAL_NONE),
        FIRST("the first, expired", "expires", "\"2020-01-01T00:00:00Z\"", REFUSAL_EXPIRED),
        FIRST("the first, of another type", "_type", "\"targets\"", REFUSAL_BAD_FORMAT),
        FIRST("the first, threshold 0", "roles>root>threshold", "0", REFUSAL_BAD_FORMAT),
        FIRST("the first, threshold not reached", "roles>root>threshold", "3", REFUSAL_BAD_SIGNATURE),
        FIRST("the first, without keys", "keys", "{}", REFUSAL_BAD_SIGNATURE),
        FIRST("the first, a member twice", "version", "2,\"version\":2", REFUSAL_BAD_FORMAT),
        { .name = "the first, not signed",
          .doc = DOC_ROOT,
          .first = true,
          .signers = NOBODY,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "the first, signed by half",
          .doc = DOC_ROOT,
          .first = true,
          .signers = BY(SIGNER_ROOT_A),
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "the first, signed by another role",
          .doc = DOC_ROOT,
          .first = true,
          .signers = BY(SIGNER_ROOT_A) | BY(SIGNER_TARGETS_A),
          .expected = REFUSAL_BAD_SIGNATURE },
};

static void roots_follow_each_other(void **state) {
        RUN(roots, 30);
}

/* ---- keys ---------------------------------------------------------------------------------------------------- */

#define P256                                                                                                           \
        "-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERyr8rL0GYT8LEHyavYtZC83ipiDK\\n"             \
        "2jwkkpib/g+qOlY6SLpBo31JxCstpg2JznEBnFBLX0csIFAa4tSB83Zv4g==\\n-----END PUBLIC KEY-----\\n"
#define P384                                                                                                           \
        "-----BEGIN PUBLIC KEY-----\\n"                                                                                \
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEZwO4Dz5/YhEGBbB+a2tzAvu42REWaUy1\\n"                                          \
        "HkFtdwm0Nl7wWDhRCMWfhc7mA/N3yK+wkHJwHdafVOyxgZg56mgZwePFJRWLS3z6\\n"                                          \
        "qCvHlN13DiWwxgjpXZ+0FQmryMB19c6c\\n"                                                                          \
        "-----END PUBLIC KEY-----\\n"
#define K256                                                                                                           \
        "-----BEGIN PUBLIC KEY-----\\n"                                                                                \
        "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEgeOtrt7ntUuAF/Fxk23g4YVjzbNrBQvc\\n"                                          \
        "5P6uNCMUmI5NbEFSDG97gRnADikWTkQqhSrzHXSv4HcahpiP01DTqA==\\n"                                                  \
        "-----END PUBLIC KEY-----\\n"
#define EXPLICIT                                                                                                       \
        "-----BEGIN PUBLIC KEY-----\\n"                                                                                \
        "MIIBSzCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAA\\n"                                          \
        "AAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA////\\n"                                          \
        "///////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSd\\n"                                          \
        "NgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5\\n"                                          \
        "RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA\\n"                                          \
        "//////////+85vqtpxeehPO5ysL8YyVRAgEBA0IABNRsXIgwKvkNd2hN2NBVIHcO\\n"                                          \
        "ZAd0yroYPlIHoOW+kXE3u5fzqsx3ILJs1VPw1Mi8WKpGv9aApbaVLWnvhySyVJU=\\n"                                          \
        "-----END PUBLIC KEY-----\\n"
#define RSA1024                                                                                                        \
        "-----BEGIN PUBLIC KEY-----\\n"                                                                                \
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBtyGnkQBKf2uadioM91BRzENb\\n"                                          \
        "IZD0Xw+WNUos3RpNvHmUNsknTm+SWBSCOy9Ihx7AMfNA7dXFOxQmUHlaMK2VsC5p\\n"                                          \
        "XnbRqkFkDq8GfMKNRz3pvPXE6Jv4C4LG1r4BqOYS4Uq/6GgPNYa/0DJSr61Dct1B\\n"                                          \
        "8UH6Ttz7phB1M4+AoQIDAQAB\\n"                                                                                  \
        "-----END PUBLIC KEY-----\\n"
#define RSA2048                                                                                                        \
        "-----BEGIN PUBLIC KEY-----\\n"                                                                                \
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAnj16zU7ZKqKB5ePpHJ/i\\n"                                          \
        "DU2AldN9WOQd9JMfF2T05KJNT+uxZ7wNV+3Q+CHYOfjOV48y7pHBabKI7dby0gjk\\n"                                          \
        "EM+ZynIFBFH808JOYxImNw008mIMpEntG0CNBlk8oH8f437oBMN5UHNwRrPgKT4g\\n"                                          \
        "D1nsYDmsfiZOTVRsk6HKG1h8tSmaIGYeeRQLTxyGe5TdxWiNDgq6rI6nt5zxLe8V\\n"                                          \
        "fXr9VJVeyWMgEuhVyxDxl7P5QyrzH/sf38x49iRaaeNwitmTMOFIGUSAMF1AIV+K\\n"                                          \
        "DJCrZ+HJpohscZJv9fLxFmtTCtGj+UF0EQOF4prG7RTHyZuk26KNWDNi7LVhAwDt\\n"                                          \
        "SQIDAQAB\\n"                                                                                                  \
        "-----END PUBLIC KEY-----\\n"
#define ED25519                                                                                                        \
        "-----BEGIN PUBLIC KEY-----\\n"                                                                                \
        "MCowBQYDK2VwAyEAiw60CZnz1ujAdPLrVUO/VTzwZFURrNw39DDSLYMQBic=\\n"                                              \
        "-----END PUBLIC KEY-----\\n"
#define PRIVATE "-----BEGIN PRIVATE KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERyr8\\n-----END PRIVATE KEY-----\\n"
#define KEY(type, scheme, public)                                                                                      \
        "{\"keytype\":\"" type "\",\"scheme\":\"" scheme "\",\"keyval\":{\"public\":\"" public "\"}}"
#define ROOT_KEY(n, text, id)                                                                                          \
        { .name = n, .doc = DOC_ROOT, .path = "keys>other", .value = text, .expected = id }

static void edit_long_key(Forge *f) {
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, "{\"keytype\":\"rsa\",\"scheme\":\"rsassa-pss-sha256\",\"keyval\":{\"public\":\"");
        for (size_t i = 0; i <= TUF_KEY_PUBLIC_MAX; i++)
                buffer_puts(&b, "A");
        buffer_puts(&b, "\"}}");
        forge_put(f, DOC_ROOT, "keys>other", b.data);
}

static const Case keys[] = {
        ROOT_KEY("good P-256", KEY("ecdsa", "ecdsa-sha2-nistp256", P256), REFUSAL_NONE),
        ROOT_KEY("good P-256 of the older type", KEY("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", P256), REFUSAL_NONE),
        ROOT_KEY("good RSA-2048", KEY("rsa", "rsassa-pss-sha256", RSA2048), REFUSAL_NONE),
        ROOT_KEY("unknown type", KEY("ml-dsa", "ml-dsa-65", "?"), REFUSAL_NONE),
        ROOT_KEY("unknown scheme", KEY("rsa", "rsassa-pss-sha512", RSA2048), REFUSAL_NONE),
        ROOT_KEY("P-384", KEY("ecdsa", "ecdsa-sha2-nistp256", P384), REFUSAL_BAD_FORMAT),
        ROOT_KEY("secp256k1", KEY("ecdsa", "ecdsa-sha2-nistp256", K256), REFUSAL_BAD_FORMAT),
        ROOT_KEY("P-256 spelled out", KEY("ecdsa", "ecdsa-sha2-nistp256", EXPLICIT), REFUSAL_BAD_FORMAT),
        ROOT_KEY("RSA-1024", KEY("rsa", "rsassa-pss-sha256", RSA1024), REFUSAL_BAD_FORMAT),
        ROOT_KEY("RSA-1024 for PKCS#1", KEY("rsa", "rsa-pkcs1v15-sha256", RSA1024), REFUSAL_BAD_FORMAT),
        ROOT_KEY("Ed25519 in PEM", KEY("ed25519", "ed25519", ED25519), REFUSAL_BAD_FORMAT),
        ROOT_KEY("Ed25519 as P-256", KEY("ecdsa", "ecdsa-sha2-nistp256", ED25519), REFUSAL_BAD_FORMAT),
        ROOT_KEY("P-256 as RSA", KEY("rsa", "rsassa-pss-sha256", P256), REFUSAL_BAD_FORMAT),
        ROOT_KEY("RSA as P-256", KEY("ecdsa", "ecdsa-sha2-nistp256", RSA2048), REFUSAL_BAD_FORMAT),
        ROOT_KEY("two in one text", KEY("ecdsa", "ecdsa-sha2-nistp256", P256 P256), REFUSAL_BAD_FORMAT),
        ROOT_KEY("text before", KEY("ecdsa", "ecdsa-sha2-nistp256", "x\\n" P256), REFUSAL_BAD_FORMAT),
        ROOT_KEY("text behind", KEY("ecdsa", "ecdsa-sha2-nistp256", P256 "x"), REFUSAL_BAD_FORMAT),
        ROOT_KEY("a private key", KEY("ecdsa", "ecdsa-sha2-nistp256", PRIVATE), REFUSAL_BAD_FORMAT),
        ROOT_KEY("PEM cut", KEY("ecdsa", "ecdsa-sha2-nistp256", "-----BEGIN PUBLIC KEY-----\\nMFkw\\n"),
                 REFUSAL_BAD_FORMAT),
        ROOT_KEY("PEM empty",
                 KEY("ecdsa", "ecdsa-sha2-nistp256", "-----BEGIN PUBLIC KEY-----\\n-----END PUBLIC KEY-----\\n"),
                 REFUSAL_BAD_FORMAT),
        ROOT_KEY("62 digits",
                 KEY("ed25519", "ed25519", "711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
                 REFUSAL_BAD_FORMAT),
        ROOT_KEY("66 digits", KEY("ed25519", "ed25519", FORGE_DIGEST_X "00"), REFUSAL_BAD_FORMAT),
        ROOT_KEY("empty", KEY("ed25519", "ed25519", ""), REFUSAL_BAD_FORMAT),
        ROOT_KEY("empty P-256", KEY("ecdsa", "ecdsa-sha2-nistp256", ""), REFUSAL_BAD_FORMAT),
        PUT("with an empty id", DOC_ROOT, "keys>", KEY("ed25519", "ed25519", FORGE_DIGEST_X), REFUSAL_BAD_FORMAT),
        { .name = "larger than any", .doc = DOC_ROOT, .edit = edit_long_key, .expected = REFUSAL_TOO_LARGE },
        PUT("needed, of an unknown type", DOC_ROOT, "keys>{timestamp}>keytype", "\"unknown\"", REFUSAL_BAD_SIGNATURE),
        PUT("needed, of an unknown scheme", DOC_ROOT, "keys>{snapshot}>scheme", "\"unknown\"", REFUSAL_BAD_SIGNATURE),
        PUT("needed, of another's scheme", DOC_ROOT, "keys>{targets-a}>scheme", "\"ecdsa-sha2-nistp256\"",
            REFUSAL_BAD_SIGNATURE),
        PUT("needed, of another public part", DOC_ROOT, "keys>{timestamp}>keyval>public", "\"{stranger.public}\"",
            REFUSAL_BAD_SIGNATURE),
        PUT("of the delegation, unknown, not needed", DOC_TARGETS, "delegations>keys>{stable}>scheme", "\"x\"",
            REFUSAL_NONE),
        { .name = "of the delegation, unknown",
          .doc = DOC_TARGETS,
          .path = "delegations>keys>{stable}>scheme",
          .value = "\"x\"",
          .target = "stable/x",
          .expected = REFUSAL_BAD_SIGNATURE },
};

static void weak_and_malformed_keys_are_refused(void **state) {
        RUN(keys, 24);
}

/* ---- versions and times -------------------------------------------------------------------------------------- */

/* The document and those above it get new versions, so that the client looks at it again. */
static void edit_next_targets(Forge *f) {
        forge_bump(f, DOC_TARGETS);
}

static void edit_next_timestamp(Forge *f) {
        forge_bump(f, DOC_TIMESTAMP);
}

static void edit_next_snapshot(Forge *f) {
        forge_bump(f, DOC_SNAPSHOT);
}

static void edit_older_targets(Forge *f) {
        forge_bump(f, DOC_SNAPSHOT);
        forge_put(f, DOC_TARGETS, "version", "3");
        forge_put(f, DOC_SNAPSHOT, "meta>targets.json>version", "3");
}

static void edit_older_stable(Forge *f) {
        forge_bump(f, DOC_SNAPSHOT);
        forge_put(f, DOC_STABLE, "version", "2");
        forge_put(f, DOC_SNAPSHOT, "meta>stable.json>version", "2");
}

static void edit_dropped_stable(Forge *f) {
        forge_bump(f, DOC_SNAPSHOT);
        forge_put(f, DOC_SNAPSHOT, "meta>stable.json", NULL);
}

static void edit_renamed_stable(Forge *f) {
        edit_dropped_stable(f);
        forge_put(f, DOC_SNAPSHOT, "meta>Stable.json", "{\"version\":9}");
}

static void edit_older_snapshot(Forge *f) {
        forge_bump(f, DOC_TIMESTAMP);
        forge_put(f, DOC_SNAPSHOT, "version", "4");
        forge_put(f, DOC_TIMESTAMP, "meta>snapshot.json>version", "4");
}

/* The same to a client that has only one of the two documents which know better. */
static void edit_older_snapshot_lost(Forge *f) {
        sim_remove(&f->sim->storage, "snapshot.json");
        edit_older_snapshot(f);
}

static void edit_older_timestamp_lost(Forge *f) {
        sim_remove(&f->sim->storage, "timestamp.json");
        edit_older_snapshot(f);
}

/* Another snapshot under the number of the one that is known. */
static void edit_other_snapshot(Forge *f) {
        forge_bump(f, DOC_TIMESTAMP);
        forge_put(f, DOC_SNAPSHOT, "meta>targets.json>version", "3");
        forge_put(f, DOC_TARGETS, "version", "3");
}

/* A new timestamp in front of a snapshot of before: its hash is the old one's. */
static void edit_new_front(Forge *f) {
        forge_put(f, DOC_TIMESTAMP, "version", "8");
        forge_put(f, DOC_TIMESTAMP, "meta>snapshot.json>version", "6");
}

/* SIM_NOW and the second behind it. */
#define NOW "\"2027-01-15T08:00:00Z\""
#define SOON "\"2027-01-15T08:00:01Z\""
#define AGAIN(n, d, where, what, id)                                                                                   \
        { .name = n, .doc = d, .path = where, .value = what, .again = true, .expected = id }
#define AGAIN_EDIT(n, d, function, id)                                                                                 \
        { .name = n, .doc = d, .edit = function, .again = true, .expected = id }
static const Case times[] = {
        PUT("expired a second ago", DOC_ROOT, "expires", "\"2027-01-15T07:59:59Z\"", REFUSAL_EXPIRED),
        PUT("expires now", DOC_ROOT, "expires", NOW, REFUSAL_EXPIRED),
        PUT("expires now", DOC_TIMESTAMP, "expires", NOW, REFUSAL_EXPIRED),
        PUT("expires now", DOC_SNAPSHOT, "expires", NOW, REFUSAL_EXPIRED),
        PUT("expires now", DOC_TARGETS, "expires", NOW, REFUSAL_EXPIRED),
        PUT("expires now", DOC_STABLE, "expires", NOW, REFUSAL_EXPIRED),
        PUT("expires in a second", DOC_ROOT, "expires", SOON, REFUSAL_NONE),
        PUT("expires in a second", DOC_TIMESTAMP, "expires", SOON, REFUSAL_NONE),
        PUT("expires in a second", DOC_SNAPSHOT, "expires", SOON, REFUSAL_NONE),
        PUT("expires in a second", DOC_TARGETS, "expires", SOON, REFUSAL_NONE),
        PUT("expires in a second", DOC_STABLE, "expires", SOON, REFUSAL_NONE),
        PUT("of 1970", DOC_TIMESTAMP, "expires", "\"1970-01-01T00:00:00Z\"", REFUSAL_EXPIRED),
        PUT("of year 1", DOC_SNAPSHOT, "expires", "\"0001-01-01T00:00:00Z\"", REFUSAL_EXPIRED),
        PUT("before 1970", DOC_TARGETS, "expires", "\"1901-12-13T20:45:52Z\"", REFUSAL_EXPIRED),
        PUT("the last time there is", DOC_TARGETS, "expires", "\"9999-12-31T23:59:59Z\"", REFUSAL_NONE),

        PUT("newer than listed", DOC_SNAPSHOT, "version", "6", REFUSAL_MIXED),
        PUT("older than listed", DOC_SNAPSHOT, "version", "4", REFUSAL_MIXED),
        PUT("far newer than listed", DOC_SNAPSHOT, "version", "9223372036854775807", REFUSAL_MIXED),
        PUT("newer than listed", DOC_TARGETS, "version", "5", REFUSAL_MIXED),
        PUT("older than listed", DOC_TARGETS, "version", "1", REFUSAL_MIXED),
        PUT("newer than listed", DOC_STABLE, "version", "4", REFUSAL_MIXED),
        PUT("older than listed", DOC_STABLE, "version", "2", REFUSAL_MIXED),
        PUT("listed newer", DOC_TIMESTAMP, "meta>snapshot.json>version", "6", REFUSAL_MIXED),
        PUT("listed newer", DOC_SNAPSHOT, "meta>targets.json>version", "5", REFUSAL_MIXED),
        { .name = "delegated role not listed",
          .doc = DOC_SNAPSHOT,
          .path = "meta>stable.json",
          .target = "stable/x",
          .expected = REFUSAL_MIXED },
        { .name = "delegated role listed in other letters",
          .doc = DOC_SNAPSHOT,
          .edit = edit_renamed_stable,
          .target = "stable/x",
          .expected = REFUSAL_MIXED },

        AGAIN("older than before", DOC_TIMESTAMP, "version", "6", REFUSAL_ROLLBACK),
        AGAIN("version 1 again", DOC_TIMESTAMP, "version", "1", REFUSAL_ROLLBACK),
        AGAIN("other content, same version", DOC_TIMESTAMP, "x", "1", REFUSAL_NONE),
        AGAIN_EDIT("snapshot older than before", DOC_TIMESTAMP, edit_older_snapshot, REFUSAL_ROLLBACK),
        AGAIN_EDIT("snapshot older than before, which is lost", DOC_TIMESTAMP, edit_older_snapshot_lost,
                   REFUSAL_ROLLBACK),
        AGAIN_EDIT("snapshot older than before, the timestamp is lost", DOC_TIMESTAMP, edit_older_timestamp_lost,
                   REFUSAL_ROLLBACK),
        AGAIN_EDIT("targets listed older than before", DOC_SNAPSHOT, edit_older_targets, REFUSAL_ROLLBACK),
        AGAIN_EDIT("stable listed older than before", DOC_SNAPSHOT, edit_older_stable, REFUSAL_ROLLBACK),
        AGAIN_EDIT("stable dropped", DOC_SNAPSHOT, edit_dropped_stable, REFUSAL_ROLLBACK),
        AGAIN_EDIT("stable renamed", DOC_SNAPSHOT, edit_renamed_stable, REFUSAL_ROLLBACK),
        AGAIN_EDIT("targets older under the same version", DOC_SNAPSHOT, edit_other_snapshot, REFUSAL_ROLLBACK),
        AGAIN_EDIT("old snapshot behind a new timestamp", DOC_TIMESTAMP, edit_new_front, REFUSAL_MIXED),
        AGAIN_EDIT("next timestamp", DOC_TIMESTAMP, edit_next_timestamp, REFUSAL_NONE),
        AGAIN_EDIT("next snapshot", DOC_SNAPSHOT, edit_next_snapshot, REFUSAL_NONE),
        AGAIN_EDIT("next targets", DOC_TARGETS, edit_next_targets, REFUSAL_NONE),
        { .name = "next targets, expired",
          .doc = DOC_TARGETS,
          .edit = edit_next_targets,
          .path = "expires",
          .value = NOW,
          .again = true,
          .expected = REFUSAL_EXPIRED },
        { .name = "next timestamp, expired",
          .doc = DOC_TIMESTAMP,
          .edit = edit_next_timestamp,
          .path = "expires",
          .value = NOW,
          .again = true,
          .expected = REFUSAL_EXPIRED },
        { .name = "next timestamp, not signed",
          .doc = DOC_TIMESTAMP,
          .edit = edit_next_timestamp,
          .signers = NOBODY,
          .again = true,
          .expected = REFUSAL_BAD_SIGNATURE },
};

static void versions_and_times_are_kept(void **state) {
        RUN(times, 30);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_keys_of_a_role_sign_for_no_other),
                cmocka_unit_test(no_document_stands_for_another),
                cmocka_unit_test(roots_follow_each_other),
                cmocka_unit_test(weak_and_malformed_keys_are_refused),
                cmocka_unit_test(versions_and_times_are_kept),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
