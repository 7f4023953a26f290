/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tamper table, first part: the form of documents. Fields, the envelope, JSON and its canonical form. */

#include "tuf-tamper.h"

/* ---- every field's type and bounds --------------------------------------------------------------------------- */

enum {
        NUMBER = 1,      /* 1 or more */
        THRESHOLD = 2,   /* 1 to TUF_ROLE_KEYS_MAX */
        LENGTH = 4,      /* 0 or more */
        TEXT = 8,        /* any string */
        KNOWN_TEXT = 16, /* one of few */
        TIME = 32,
        FLAG = 64,
        DIGEST = 128,
        OBJECT = 256,
        LIST = 512,
        OPTIONAL = 1024,
        ALONE = 2048, /* in a list, which may be empty */
};
#define COUNT (NUMBER | THRESHOLD | LENGTH)
#define STRING (TEXT | KNOWN_TEXT | TIME | DIGEST)
#define ANY (COUNT | STRING | FLAG | OBJECT | LIST)

static const struct {
        Doc doc;
        const char *path;
        unsigned kind;
} fields[] = {
        { DOC_ROOT, "_type", KNOWN_TEXT },
        { DOC_ROOT, "spec_version", KNOWN_TEXT },
        { DOC_ROOT, "version", NUMBER },
        { DOC_ROOT, "expires", TIME },
        { DOC_ROOT, "consistent_snapshot", FLAG | OPTIONAL },
        { DOC_ROOT, "keys", OBJECT },
        { DOC_ROOT, "keys>{snapshot}", OBJECT | OPTIONAL },
        { DOC_ROOT, "keys>{snapshot}>keytype", TEXT },
        { DOC_ROOT, "keys>{snapshot}>scheme", TEXT },
        { DOC_ROOT, "keys>{snapshot}>keyval", OBJECT },
        { DOC_ROOT, "keys>{snapshot}>keyval>public", DIGEST },
        { DOC_ROOT, "roles", OBJECT },
        { DOC_ROOT, "roles>root", OBJECT },
        { DOC_ROOT, "roles>root>keyids", LIST },
        { DOC_ROOT, "roles>root>keyids>1", TEXT | OPTIONAL },
        { DOC_ROOT, "roles>root>threshold", THRESHOLD },
        { DOC_ROOT, "roles>timestamp", OBJECT },
        { DOC_ROOT, "roles>timestamp>keyids", LIST },
        { DOC_ROOT, "roles>timestamp>threshold", THRESHOLD },
        { DOC_ROOT, "roles>snapshot", OBJECT },
        { DOC_ROOT, "roles>snapshot>keyids", LIST },
        { DOC_ROOT, "roles>snapshot>threshold", THRESHOLD },
        { DOC_ROOT, "roles>targets", OBJECT },
        { DOC_ROOT, "roles>targets>keyids", LIST },
        { DOC_ROOT, "roles>targets>threshold", THRESHOLD },
        { DOC_TIMESTAMP, "_type", KNOWN_TEXT },
        { DOC_TIMESTAMP, "spec_version", KNOWN_TEXT },
        { DOC_TIMESTAMP, "version", NUMBER },
        { DOC_TIMESTAMP, "expires", TIME },
        { DOC_TIMESTAMP, "meta", OBJECT },
        { DOC_TIMESTAMP, "meta>snapshot.json", OBJECT },
        { DOC_TIMESTAMP, "meta>snapshot.json>version", NUMBER },
        { DOC_TIMESTAMP, "meta>snapshot.json>length", LENGTH | OPTIONAL },
        { DOC_TIMESTAMP, "meta>snapshot.json>hashes", OBJECT | OPTIONAL },
        { DOC_TIMESTAMP, "meta>snapshot.json>hashes>sha256", DIGEST },
        { DOC_TIMESTAMP, "meta>snapshot.json>hashes>sha512", DIGEST | OPTIONAL },
        { DOC_SNAPSHOT, "_type", KNOWN_TEXT },
        { DOC_SNAPSHOT, "spec_version", KNOWN_TEXT },
        { DOC_SNAPSHOT, "version", NUMBER },
        { DOC_SNAPSHOT, "expires", TIME },
        { DOC_SNAPSHOT, "meta", OBJECT },
        { DOC_SNAPSHOT, "meta>targets.json", OBJECT },
        { DOC_SNAPSHOT, "meta>targets.json>version", NUMBER },
        { DOC_SNAPSHOT, "meta>targets.json>length", LENGTH | OPTIONAL },
        { DOC_SNAPSHOT, "meta>targets.json>hashes", OBJECT | OPTIONAL },
        { DOC_SNAPSHOT, "meta>targets.json>hashes>sha256", DIGEST },
        { DOC_SNAPSHOT, "meta>stable.json", OBJECT | OPTIONAL },
        { DOC_SNAPSHOT, "meta>stable.json>version", NUMBER },
        { DOC_SNAPSHOT, "meta>stable.json>length", LENGTH | OPTIONAL },
        { DOC_SNAPSHOT, "meta>stable.json>hashes>sha512", DIGEST | OPTIONAL },
        { DOC_TARGETS, "_type", KNOWN_TEXT },
        { DOC_TARGETS, "spec_version", KNOWN_TEXT },
        { DOC_TARGETS, "version", NUMBER },
        { DOC_TARGETS, "expires", TIME },
        { DOC_TARGETS, "targets", OBJECT },
        { DOC_TARGETS, "targets>a/x", OBJECT | OPTIONAL },
        { DOC_TARGETS, "targets>a/x>length", LENGTH },
        { DOC_TARGETS, "targets>a/x>hashes", OBJECT },
        { DOC_TARGETS, "targets>a/x>hashes>sha256", DIGEST },
        { DOC_TARGETS, "targets>a/x>hashes>sha512", DIGEST | OPTIONAL },
        { DOC_TARGETS, "targets>a/x>custom", OBJECT | OPTIONAL },
        { DOC_TARGETS, "delegations", OBJECT | OPTIONAL },
        { DOC_TARGETS, "delegations>keys", OBJECT },
        { DOC_TARGETS, "delegations>keys>{stable}", OBJECT | OPTIONAL },
        { DOC_TARGETS, "delegations>keys>{stable}>keytype", TEXT },
        { DOC_TARGETS, "delegations>keys>{stable}>keyval>public", DIGEST },
        { DOC_TARGETS, "delegations>roles", LIST },
        { DOC_TARGETS, "delegations>roles>0", OBJECT | OPTIONAL | ALONE },
        { DOC_TARGETS, "delegations>roles>0>name", TEXT },
        { DOC_TARGETS, "delegations>roles>0>keyids", LIST },
        { DOC_TARGETS, "delegations>roles>0>threshold", THRESHOLD },
        { DOC_TARGETS, "delegations>roles>0>terminating", FLAG },
        { DOC_TARGETS, "delegations>roles>0>paths", LIST },
        { DOC_TARGETS, "delegations>roles>0>paths>0", TEXT | OPTIONAL | ALONE },
        { DOC_STABLE, "_type", KNOWN_TEXT },
        { DOC_STABLE, "version", NUMBER },
        { DOC_STABLE, "expires", TIME },
        { DOC_STABLE, "targets", OBJECT },
        { DOC_STABLE, "targets>stable/x>length", LENGTH },
        { DOC_STABLE, "targets>stable/x>hashes>sha256", DIGEST },
};

/* What no field of these kinds may hold. */
static const struct {
        unsigned kinds;
        const char *name, *value;
        Refusal expected;
} values[] = {
        { ANY, "missing", NULL, REFUSAL_BAD_FORMAT },
        { ANY, "null", "null", REFUSAL_BAD_FORMAT },
        { ANY, "nothing", " ", REFUSAL_BAD_FORMAT },
        { ANY, "1.5", "1.5", REFUSAL_BAD_FORMAT },
        { ANY & ~COUNT, "a number", "1", REFUSAL_BAD_FORMAT },
        { ANY & ~STRING, "a string", "\"1\"", REFUSAL_BAD_FORMAT },
        { ANY & ~FLAG, "true", "true", REFUSAL_BAD_FORMAT },
        { ANY & ~OBJECT, "an object", "{}", REFUSAL_BAD_FORMAT },
        { ANY & ~LIST, "a list", "[]", REFUSAL_BAD_FORMAT },
        { COUNT, "-1", "-1", REFUSAL_BAD_FORMAT },
        { NUMBER | THRESHOLD, "0", "0", REFUSAL_BAD_FORMAT },
        { NUMBER | THRESHOLD, "-0", "-0", REFUSAL_BAD_FORMAT },
        { COUNT, "1.0", "1.0", REFUSAL_BAD_FORMAT },
        { COUNT, "1e0", "1e0", REFUSAL_BAD_FORMAT },
        { COUNT, "01", "01", REFUSAL_BAD_FORMAT },
        { COUNT, "+1", "+1", REFUSAL_BAD_FORMAT },
        { COUNT, "0x1", "0x1", REFUSAL_BAD_FORMAT },
        { COUNT, "2^63", "9223372036854775808", REFUSAL_BAD_FORMAT },
        { COUNT, "2^64 + 1", "18446744073709551617", REFUSAL_BAD_FORMAT },
        { COUNT, "-2^63 - 1", "-9223372036854775809", REFUSAL_BAD_FORMAT },
        { COUNT, "1e400", "1e400", REFUSAL_BAD_FORMAT },
        { COUNT, "NaN", "NaN", REFUSAL_BAD_FORMAT },
        { COUNT, "Infinity", "Infinity", REFUSAL_BAD_FORMAT },
        { THRESHOLD, "over the limit", "257", REFUSAL_TOO_LARGE },
        { THRESHOLD, "2^63 - 1", "9223372036854775807", REFUSAL_TOO_LARGE },
        { STRING, "with NUL", "\"1\\u0000\"", REFUSAL_BAD_FORMAT },
        { STRING, "not UTF-8", "\"\xff\"", REFUSAL_BAD_FORMAT },
        { STRING, "half a pair of surrogates", "\"\\ud800\"", REFUSAL_BAD_FORMAT },
        { STRING, "unfinished", "\"1", REFUSAL_BAD_FORMAT },
        { KNOWN_TEXT | TIME | DIGEST, "empty", "\"\"", REFUSAL_BAD_FORMAT },
        { KNOWN_TEXT | TIME | DIGEST, "something else", "\"something\"", REFUSAL_BAD_FORMAT },
        { FLAG, "0", "0", REFUSAL_BAD_FORMAT },
        { FLAG, "True", "True", REFUSAL_BAD_FORMAT },
        { TIME, "a number of seconds", "\"1900000000\"", REFUSAL_BAD_FORMAT },
        { TIME, "a day", "\"2030-01-01\"", REFUSAL_BAD_FORMAT },
        { TIME, "without Z", "\"2030-01-01T00:00:00\"", REFUSAL_BAD_FORMAT },
        { TIME, "with an offset", "\"2030-01-01T00:00:00+00:00\"", REFUSAL_BAD_FORMAT },
        { TIME, "in small letters", "\"2030-01-01t00:00:00z\"", REFUSAL_BAD_FORMAT },
        { TIME, "with a fraction", "\"2030-01-01T00:00:00.5Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "30th of February", "\"2030-02-30T00:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "29th of February of no leap year", "\"2031-02-29T00:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "month 13", "\"2030-13-01T00:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "hour 24", "\"2030-01-01T24:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "second 60", "\"2030-06-30T23:59:60Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "white space behind", "\"2030-01-01T00:00:00Z \"", REFUSAL_BAD_FORMAT },
        { TIME, "white space inside", "\"2030-01-01T 0:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "a sign", "\"+030-01-01T00:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "year 0", "\"0000-01-01T00:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "year 10000", "\"10000-01-01T00:00:00Z\"", REFUSAL_BAD_FORMAT },
        { TIME, "other digits", "\"203\u0660-01-01T00:00:00Z\"", REFUSAL_BAD_FORMAT },
        { DIGEST, "63 digits", "\"d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\"",
          REFUSAL_BAD_FORMAT },
        { DIGEST, "65 digits", "\"" FORGE_DIGEST_X "0\"", REFUSAL_BAD_FORMAT },
        { DIGEST, "capital digits", "\"2D711642B726B04401627CA9FBAC32F5C8530FB1903CC4DB02258717921A4881\"",
          REFUSAL_BAD_FORMAT },
        { DIGEST, "no digits", "\"zd711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\"",
          REFUSAL_BAD_FORMAT },
        { DIGEST, "white space behind", "\"" FORGE_DIGEST_X " \"", REFUSAL_BAD_FORMAT },
        { DIGEST, "0x before", "\"0x" FORGE_DIGEST_X "\"", REFUSAL_BAD_FORMAT },
        { DIGEST, "Base64", "\"LXEWQrcmsEQBYnyp+6wvXIUw+xkDzE2wIlhxeSGkiIE=\"", REFUSAL_BAD_FORMAT },
};

static void every_field_has_its_type_and_its_bounds(void **state) {
        size_t n = 0, n_wrong = 0;

        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                for (size_t k = 0; k < ELEMENTSOF(values); k++) {
                        _cleanup_free_ char *name = xasprintf("%s: %s", fields[i].path, values[k].name);
                        Case c = { .name = name,
                                   .doc = fields[i].doc,
                                   .path = fields[i].path,
                                   .value = values[k].value,
                                   .target = "stable/x",
                                   .expected = values[k].expected };

                        if (!(fields[i].kind & values[k].kinds) || (!values[k].value && (fields[i].kind & OPTIONAL)) ||
                            (streq_ptr(values[k].value, " ") && (fields[i].kind & ALONE)))
                                continue;
                        n_wrong += !run_case(&c);
                        n++;
                }
        print_message("           %zu cases\n", n);
        assert_int_equal(n_wrong, 0);
        assert_true(n > 1000);
}

/* ---- the envelope -------------------------------------------------------------------------------------------- */

static void spoil_nothing_left(Forge *f, Doc doc, Buffer *b) {
        b->size = 0;
}

static void spoil_last_byte(Forge *f, Doc doc, Buffer *b) {
        b->size--;
}

static void spoil_half(Forge *f, Doc doc, Buffer *b) {
        b->size /= 2;
}

static void spoil_nul_behind(Forge *f, Doc doc, Buffer *b) {
        buffer_append(b, "", 1);
}

static void spoil_text_behind(Forge *f, Doc doc, Buffer *b) {
        buffer_puts(b, "{}");
}

static void spoil_twice(Forge *f, Doc doc, Buffer *b) {
        _cleanup_free_ char *copy = xmemdup(b->data, b->size);

        buffer_append(b, copy, b->size);
}

static void spoil_newline_behind(Forge *f, Doc doc, Buffer *b) {
        buffer_puts(b, "\n");
}

static void put_before(Buffer *b, const void *data, size_t size) {
        _cleanup_buffer_ Buffer old = *b;

        *b = (Buffer){};
        buffer_append(b, data, size);
        buffer_append(b, old.data, old.size);
}

static void spoil_byte_order_mark(Forge *f, Doc doc, Buffer *b) {
        put_before(b, "\xef\xbb\xbf", 3);
}

static void spoil_nul_before(Forge *f, Doc doc, Buffer *b) {
        put_before(b, "", 1);
}

static void spoil_space_before(Forge *f, Doc doc, Buffer *b) {
        put_before(b, " \r\n\t", 4);
}

static void spoil_utf16(Forge *f, Doc doc, Buffer *b) {
        _cleanup_buffer_ Buffer old = *b;

        *b = (Buffer){};
        for (size_t i = 0; i < old.size; i++)
                buffer_append(b, (char[2]){ old.data[i], 0 }, 2);
}

static void spoil_list_around(Forge *f, Doc doc, Buffer *b) {
        put_before(b, "[", 1);
        buffer_puts(b, "]");
}

static void spoil_string_around(Forge *f, Doc doc, Buffer *b) {
        buffer_done(b);
        *b = (Buffer){};
        buffer_puts(b, "\"signed\"");
}

static void spoil_page(Forge *f, Doc doc, Buffer *b) {
        buffer_done(b);
        *b = (Buffer){};
        buffer_puts(b, "<!DOCTYPE html><title>Log in to the network</title>");
}

/* White space is no content, but it is bytes. */
static void spoil_endless(Forge *f, Doc doc, Buffer *b) {
        static const TufType types[_DOC_MAX] = { TUF_ROOT, TUF_TIMESTAMP, TUF_SNAPSHOT, TUF_TARGETS, TUF_TARGETS };
        size_t n = tuf_type_size_max(types[doc]) + 1 - b->size;
        _cleanup_free_ char *space = xmalloc(n);

        memset(space, ' ', n);
        buffer_append(b, space, n);
}

static void spoil_bracket_flood(Forge *f, Doc doc, Buffer *b) {
        b->size = 0;
        for (size_t i = 0; i < 10000; i++)
                buffer_puts(b, "[");
}

static void add_junk_signatures(Buffer *b, size_t n) {
        _cleanup_buffer_ Buffer junk = {};

        buffer_puts(&junk, "\"signatures\":[");
        for (size_t i = 0; i < n; i++)
                buffer_printf(&junk, "{\"keyid\":\"%zu\",\"sig\":\"00\"},", i);
        forge_replace(b, "\"signatures\":[", junk.data, junk.size);
}

static void spoil_257_signatures(Forge *f, Doc doc, Buffer *b) {
        add_junk_signatures(b, TUF_SIGNATURES_MAX);
}

static void spoil_256_signatures(Forge *f, Doc doc, Buffer *b) {
        add_junk_signatures(b, TUF_SIGNATURES_MAX - 1);
}

/* The digits of the first signature. */
static char *first_signature(Buffer *b) {
        return strstr(b->data, "\"sig\":\"") + strlen("\"sig\":\"");
}

static void spoil_capital_digits(Forge *f, Doc doc, Buffer *b) {
        for (char *s = first_signature(b); *s != '"'; s++)
                if (*s >= 'a' && *s <= 'f')
                        *s = (char) (*s - 'a' + 'A');
}

static void spoil_short_signature(Forge *f, Doc doc, Buffer *b) {
        char *s = first_signature(b);
        size_t n = (size_t) (strchr(s, '"') - s);

        memmove(s + n - 2, s + n, b->size - (size_t) (s + n - b->data));
        b->size -= 2;
}

static void spoil_other_signature(Forge *f, Doc doc, Buffer *b) {
        Doc other = doc == DOC_SNAPSHOT ? DOC_STABLE : DOC_SNAPSHOT;

        memcpy(first_signature(b), first_signature(&f->served[other]), 128);
}

static void spoil_zero_signature(Forge *f, Doc doc, Buffer *b) {
        memset(first_signature(b), '0', 128);
}

/* S + the order of the group: the same signature to who does not look. */
static void spoil_malleable_signature(Forge *f, Doc doc, Buffer *b) {
        static const uint8_t order[32] = { 0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                           0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                           0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10 };
        _cleanup_free_ char *digits = xstrndup(first_signature(b), 128), *changed = NULL;
        uint8_t signature[64];
        unsigned carry = 0;

        assert_true(hex_decode(digits, signature, sizeof(signature)));
        for (size_t i = 0; i < 32; i++) {
                carry += (unsigned) signature[32 + i] + order[i];
                signature[32 + i] = (uint8_t) carry;
                carry >>= 8;
        }
        changed = hex_encode(signature, sizeof(signature));
        memcpy(first_signature(b), changed, 128);
}

/* The two signatures under each other's names. */
static void spoil_exchange(Forge *f, Doc doc, Buffer *b) {
        char *one = first_signature(b), *two = strstr(one, "\"sig\":\"") + strlen("\"sig\":\""), kept[128];

        memcpy(kept, one, 128);
        memcpy(one, two, 128);
        memcpy(two, kept, 128);
}

static void spoil_repeated(Forge *f, Doc doc, Buffer *b) {
        char *start = strchr(b->data, '[') + 1;
        _cleanup_free_ char *one = xstrndup(start, (size_t) (strchr(start, '}') - start + 1)),
                            *two = xasprintf("[%s,", one);

        forge_replace(b, "[", two, strlen(two));
}

#define SIGNATURES "\"signatures\":["
static const Case envelope[] = {
        { .name = "no bytes", .doc = DOC_ROOT, .spoil = spoil_nothing_left, .expected = REFUSAL_BAD_FORMAT },
        { .name = "no bytes", .doc = DOC_TIMESTAMP, .spoil = spoil_nothing_left, .expected = REFUSAL_BAD_FORMAT },
        { .name = "no bytes", .doc = DOC_SNAPSHOT, .spoil = spoil_nothing_left, .expected = REFUSAL_BAD_FORMAT },
        { .name = "no bytes", .doc = DOC_TARGETS, .spoil = spoil_nothing_left, .expected = REFUSAL_BAD_FORMAT },
        { .name = "no bytes", .doc = DOC_STABLE, .spoil = spoil_nothing_left, .expected = REFUSAL_BAD_FORMAT },
        { .name = "last byte gone", .doc = DOC_ROOT, .spoil = spoil_last_byte, .expected = REFUSAL_BAD_FORMAT },
        { .name = "last byte gone", .doc = DOC_TIMESTAMP, .spoil = spoil_last_byte, .expected = REFUSAL_BAD_FORMAT },
        { .name = "half gone", .doc = DOC_SNAPSHOT, .spoil = spoil_half, .expected = REFUSAL_BAD_FORMAT },
        { .name = "half gone", .doc = DOC_TARGETS, .spoil = spoil_half, .expected = REFUSAL_BAD_FORMAT },
        { .name = "NUL behind", .doc = DOC_ROOT, .spoil = spoil_nul_behind, .expected = REFUSAL_BAD_FORMAT },
        { .name = "NUL behind", .doc = DOC_TIMESTAMP, .spoil = spoil_nul_behind, .expected = REFUSAL_BAD_FORMAT },
        { .name = "NUL before", .doc = DOC_TIMESTAMP, .spoil = spoil_nul_before, .expected = REFUSAL_BAD_FORMAT },
        { .name = "an object behind", .doc = DOC_ROOT, .spoil = spoil_text_behind, .expected = REFUSAL_BAD_FORMAT },
        { .name = "an object behind", .doc = DOC_TARGETS, .spoil = spoil_text_behind, .expected = REFUSAL_BAD_FORMAT },
        { .name = "itself behind", .doc = DOC_SNAPSHOT, .spoil = spoil_twice, .expected = REFUSAL_BAD_FORMAT },
        { .name = "byte order mark", .doc = DOC_ROOT, .spoil = spoil_byte_order_mark, .expected = REFUSAL_BAD_FORMAT },
        { .name = "byte order mark",
          .doc = DOC_TARGETS,
          .spoil = spoil_byte_order_mark,
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "UTF-16", .doc = DOC_TIMESTAMP, .spoil = spoil_utf16, .expected = REFUSAL_BAD_FORMAT },
        { .name = "a list around", .doc = DOC_TIMESTAMP, .spoil = spoil_list_around, .expected = REFUSAL_BAD_FORMAT },
        { .name = "only a string", .doc = DOC_TIMESTAMP, .spoil = spoil_string_around, .expected = REFUSAL_BAD_FORMAT },
        { .name = "a web page", .doc = DOC_ROOT, .spoil = spoil_page, .expected = REFUSAL_BAD_FORMAT },
        { .name = "a web page", .doc = DOC_TIMESTAMP, .spoil = spoil_page, .expected = REFUSAL_BAD_FORMAT },
        { .name = "brackets", .doc = DOC_TIMESTAMP, .spoil = spoil_bracket_flood, .expected = REFUSAL_BAD_FORMAT },
        { .name = "endless", .doc = DOC_ROOT, .spoil = spoil_endless, .expected = REFUSAL_TOO_LARGE },
        { .name = "endless", .doc = DOC_TIMESTAMP, .spoil = spoil_endless, .expected = REFUSAL_TOO_LARGE },
        { .name = "endless", .doc = DOC_SNAPSHOT, .spoil = spoil_endless, .expected = REFUSAL_TOO_LARGE },
        { .name = "endless", .doc = DOC_TARGETS, .spoil = spoil_endless, .expected = REFUSAL_TOO_LARGE },
        { .name = "endless", .doc = DOC_STABLE, .spoil = spoil_endless, .expected = REFUSAL_TOO_LARGE },
        { .name = "endless, no limit kept",
          .doc = DOC_ROOT,
          .spoil = spoil_endless,
          .careless = true,
          .expected = REFUSAL_TOO_LARGE },
        { .name = "endless, no limit kept",
          .doc = DOC_TIMESTAMP,
          .spoil = spoil_endless,
          .careless = true,
          .expected = REFUSAL_TOO_LARGE },
        { .name = "endless, no limit kept",
          .doc = DOC_SNAPSHOT,
          .spoil = spoil_endless,
          .careless = true,
          .expected = REFUSAL_TOO_LARGE },
        { .name = "space before", .doc = DOC_TIMESTAMP, .spoil = spoil_space_before },
        { .name = "newline behind", .doc = DOC_ROOT, .spoil = spoil_newline_behind },
        { .name = "newline behind", .doc = DOC_TARGETS, .spoil = spoil_newline_behind },

#define REPLACED(n, d, what, instead, id)                                                                              \
        { .name = n, .doc = d, .find = what, .with = instead, .expected = id }
        REPLACED("no signatures", DOC_TIMESTAMP, "\"signatures\"", "\"signatares\"", REFUSAL_BAD_FORMAT),
        REPLACED("no signatures", DOC_ROOT, "\"signatures\"", "\"signatares\"", REFUSAL_BAD_FORMAT),
        REPLACED("nothing signed", DOC_TIMESTAMP, "\"signed\"", "\"Signed\"", REFUSAL_BAD_FORMAT),
        REPLACED("signed is null", DOC_TIMESTAMP, "\"signed\":", "\"signed\":null,\"x\":", REFUSAL_BAD_FORMAT),
        REPLACED("signed is a list", DOC_TIMESTAMP, "\"signed\":", "\"signed\":[],\"x\":", REFUSAL_BAD_FORMAT),
        REPLACED("signed is a string", DOC_SNAPSHOT, "\"signed\":", "\"signed\":\"\",\"x\":", REFUSAL_BAD_FORMAT),
        REPLACED("signed is empty", DOC_TARGETS, "\"signed\":", "\"signed\":{},\"x\":", REFUSAL_BAD_FORMAT),
        REPLACED("signatures null", DOC_TIMESTAMP, SIGNATURES, "\"signatures\":null,\"x\":[", REFUSAL_BAD_FORMAT),
        REPLACED("signatures an object", DOC_TIMESTAMP, SIGNATURES, "\"signatures\":{},\"x\":[", REFUSAL_BAD_FORMAT),
        REPLACED("signatures a string", DOC_TARGETS, SIGNATURES, "\"signatures\":\"\",\"x\":[", REFUSAL_BAD_FORMAT),
        REPLACED("signatures a number", DOC_ROOT, SIGNATURES, "\"signatures\":1,\"x\":[", REFUSAL_BAD_FORMAT),
        REPLACED("signatures elsewhere", DOC_TIMESTAMP, SIGNATURES, "\"signatures\":[],\"x\":[", REFUSAL_BAD_SIGNATURE),
        REPLACED("signature null", DOC_TIMESTAMP, SIGNATURES, SIGNATURES "null,", REFUSAL_BAD_FORMAT),
        REPLACED("signature a number", DOC_TIMESTAMP, SIGNATURES, SIGNATURES "1,", REFUSAL_BAD_FORMAT),
        REPLACED("signature a string", DOC_SNAPSHOT, SIGNATURES, SIGNATURES "\"00\",", REFUSAL_BAD_FORMAT),
        REPLACED("signature a list", DOC_ROOT, SIGNATURES, SIGNATURES "[],", REFUSAL_BAD_FORMAT),
        REPLACED("signature an empty object", DOC_TARGETS, SIGNATURES, SIGNATURES "{},", REFUSAL_BAD_FORMAT),
        REPLACED("no key id", DOC_TIMESTAMP, "\"keyid\"", "\"keyId\"", REFUSAL_BAD_FORMAT),
        REPLACED("key id a number", DOC_TIMESTAMP, SIGNATURES, SIGNATURES "{\"keyid\":1,\"sig\":\"\"},",
                 REFUSAL_BAD_FORMAT),
        REPLACED("key id null", DOC_ROOT, SIGNATURES, SIGNATURES "{\"keyid\":null,\"sig\":\"\"},", REFUSAL_BAD_FORMAT),
        REPLACED("key id with NUL", DOC_TIMESTAMP, "{timestamp}", "{timestamp}\\u0000", REFUSAL_BAD_FORMAT),
        REPLACED("no sig", DOC_TIMESTAMP, "\"sig\"", "\"sign\"", REFUSAL_BAD_FORMAT),
        REPLACED("sig a number", DOC_TIMESTAMP, SIGNATURES, SIGNATURES "{\"keyid\":\"x\",\"sig\":0},",
                 REFUSAL_BAD_FORMAT),
        REPLACED("sig null", DOC_TARGETS, SIGNATURES, SIGNATURES "{\"keyid\":\"x\",\"sig\":null},", REFUSAL_BAD_FORMAT),
        REPLACED("sig an object", DOC_ROOT, SIGNATURES, SIGNATURES "{\"keyid\":\"x\",\"sig\":{}},", REFUSAL_BAD_FORMAT),
        REPLACED("another key id", DOC_TIMESTAMP, "{timestamp}", "{stranger}", REFUSAL_BAD_SIGNATURE),
        REPLACED("key id with a space", DOC_TIMESTAMP, "{timestamp}", "{timestamp} ", REFUSAL_BAD_SIGNATURE),
        REPLACED("key id cut", DOC_TIMESTAMP, "\"keyid\":\"", "\"keyid\":\"0", REFUSAL_BAD_SIGNATURE),
        REPLACED("key id empty", DOC_TIMESTAMP, "{timestamp}", "", REFUSAL_BAD_SIGNATURE),
        REPLACED("sig with 0x", DOC_TIMESTAMP, "\"sig\":\"", "\"sig\":\"0x", REFUSAL_BAD_SIGNATURE),
        REPLACED("sig with a space", DOC_ROOT, "\"sig\":\"", "\"sig\":\" ", REFUSAL_BAD_SIGNATURE),
        REPLACED("sig with odd digits", DOC_SNAPSHOT, "\"sig\":\"", "\"sig\":\"0", REFUSAL_BAD_SIGNATURE),
        REPLACED("sig too long", DOC_TARGETS, "\"sig\":\"", "\"sig\":\"00", REFUSAL_BAD_SIGNATURE),
        REPLACED("sig of no digits", DOC_STABLE, "\"sig\":\"", "\"sig\":\"zz", REFUSAL_BAD_SIGNATURE),
        REPLACED("sig empty", DOC_TIMESTAMP, "\"sig\":\"", "\"sig\":\"\",\"x\":\"", REFUSAL_BAD_SIGNATURE),
        { .name = "sig cut", .doc = DOC_TIMESTAMP, .spoil = spoil_short_signature, .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "sig cut", .doc = DOC_ROOT, .spoil = spoil_short_signature, .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "sig in capitals",
          .doc = DOC_TIMESTAMP,
          .spoil = spoil_capital_digits,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "sig of another document",
          .doc = DOC_TIMESTAMP,
          .spoil = spoil_other_signature,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "sig of zeros",
          .doc = DOC_SNAPSHOT,
          .spoil = spoil_zero_signature,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "sig made anew from the old",
          .doc = DOC_TIMESTAMP,
          .spoil = spoil_malleable_signature,
          .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "sigs exchanged", .doc = DOC_ROOT, .spoil = spoil_exchange, .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "sigs exchanged", .doc = DOC_TARGETS, .spoil = spoil_exchange, .expected = REFUSAL_BAD_SIGNATURE },
        { .name = "one signature twice",
          .doc = DOC_TIMESTAMP,
          .spoil = spoil_repeated,
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "one signature twice, no other",
          .doc = DOC_TARGETS,
          .signers = BY(SIGNER_TARGETS_A),
          .spoil = spoil_repeated,
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "one signature twice, no other",
          .doc = DOC_ROOT,
          .signers = BY(SIGNER_ROOT_B),
          .spoil = spoil_repeated,
          .expected = REFUSAL_BAD_FORMAT },
        { .name = "257 signatures", .doc = DOC_SNAPSHOT, .spoil = spoil_257_signatures, .expected = REFUSAL_TOO_LARGE },
        { .name = "257 signatures", .doc = DOC_ROOT, .spoil = spoil_257_signatures, .expected = REFUSAL_TOO_LARGE },
        { .name = "256 signatures", .doc = DOC_SNAPSHOT, .spoil = spoil_256_signatures },
        REPLACED("a malformed signature beside", DOC_ROOT, SIGNATURES, SIGNATURES "{\"keyid\":\"x\",\"sig\":\"zz\"},",
                 REFUSAL_NONE),
        REPLACED("unknown members", DOC_TARGETS, "{\"signatures\":[{", "{\"x\":[null],\"signatures\":[{\"y\":{},",
                 REFUSAL_NONE),
        REPLACED("white space", DOC_TIMESTAMP, "\"signed\":{", " \"signed\" : \n{\t", REFUSAL_NONE),
};

static void the_envelope_is_as_it_must_be(void **state) {
        RUN(envelope, 75);
}

/* ---- JSON and what is signed of it --------------------------------------------------------------------------- */

/* Signs another text than the canonical one. */
static void sign_instead(Forge *f, Doc doc, Buffer *b, const char *text) {
        _cleanup_buffer_ Buffer content = {}, other = {};

        forge_text(f, doc, &content);
        buffer_puts(&other, text);
        forge_seal(f, f->signers[doc], &content, &other, b);
}

static void sign_dump(Forge *f, Doc doc, Buffer *b, size_t flags) {
        _cleanup_free_ char *text = json_dumps(f->content[doc], flags);

        sign_instead(f, doc, b, text);
}

static void spoil_signed_indented(Forge *f, Doc doc, Buffer *b) {
        sign_dump(f, doc, b, JSON_INDENT(1) | JSON_SORT_KEYS);
}

static void spoil_signed_spaced(Forge *f, Doc doc, Buffer *b) {
        sign_dump(f, doc, b, JSON_SORT_KEYS);
}

static void spoil_signed_unsorted(Forge *f, Doc doc, Buffer *b) {
        json_object_set(f->content[doc], "_last", json_object_get(f->content[doc], "_type"));
        sign_dump(f, doc, b, JSON_COMPACT);
}

static void spoil_signed_newline(Forge *f, Doc doc, Buffer *b) {
        _cleanup_free_ char *text = json_dumps(f->content[doc], JSON_COMPACT | JSON_SORT_KEYS),
                            *more = xasprintf("%s\n", text);

        sign_instead(f, doc, b, more);
}

/* JSON writes a newline as two characters, the canonical form as itself. */
static void spoil_signed_escaped(Forge *f, Doc doc, Buffer *b) {
        json_object_set_new(f->content[doc], "x", json_string("\n"));
        sign_dump(f, doc, b, JSON_COMPACT | JSON_SORT_KEYS);
}

static void spoil_signed_ascii(Forge *f, Doc doc, Buffer *b) {
        json_object_set_new(f->content[doc], "x", json_string("\u00e9"));
        sign_dump(f, doc, b, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
}

/* e with an accent, once as one code point and once as two: nothing is normalised. */
static void spoil_signed_normalised(Forge *f, Doc doc, Buffer *b) {
        _cleanup_json_ json_t *other = json_deep_copy(f->content[doc]);
        _cleanup_free_ char *text = NULL;

        json_object_set_new(f->content[doc], "x", json_string("\u00e9"));
        json_object_set_new(other, "x", json_string("e\u0301"));
        text = json_dumps(other, JSON_COMPACT | JSON_SORT_KEYS);
        sign_instead(f, doc, b, text);
}

static void spoil_signed_envelope(Forge *f, Doc doc, Buffer *b) {
        _cleanup_free_ char *text = xstrndup(b->data, b->size);

        sign_instead(f, doc, b, text);
}

/* The same content, laid out anew. */
static void spoil_laid_out(Forge *f, Doc doc, Buffer *b) {
        _cleanup_json_ json_t *value = json_loadb(b->data, b->size, 0, NULL);
        _cleanup_free_ char *text = json_dumps(value, JSON_INDENT(4) | JSON_ENSURE_ASCII);

        buffer_done(b);
        *b = (Buffer){};
        buffer_puts(b, text);
}

static void put_nested(Forge *f, size_t depth) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i < depth; i++)
                buffer_puts(&b, "[");
        for (size_t i = 0; i < depth; i++)
                buffer_puts(&b, "]");
        forge_put(f, DOC_TARGETS, "targets>a/x>custom>n", b.data);
}

/* The list stands five levels down, and an empty one counts as well. */
static void edit_nested_60(Forge *f) {
        put_nested(f, 59);
}

static void edit_nested_65(Forge *f) {
        put_nested(f, 60);
}

static void edit_nested_5000(Forge *f) {
        put_nested(f, 5000);
}

#define SIGNED_AS(n, d, function, id)                                                                                  \
        { .name = n, .doc = d, .spoil = function, .expected = id }
static const Case forms[] = {
        PUT("a member twice", DOC_TIMESTAMP, "version", "7,\"version\":8", REFUSAL_BAD_FORMAT),
        PUT("a member twice", DOC_ROOT, "version", "2,\"version\":2", REFUSAL_BAD_FORMAT),
        PUT("a member twice", DOC_SNAPSHOT, "meta>targets.json>version", "4,\"version\":4", REFUSAL_BAD_FORMAT),
        PUT("a member twice", DOC_TARGETS, "targets>a/x>length", "1,\"length\":2", REFUSAL_BAD_FORMAT),
        PUT("a member twice", DOC_STABLE, "targets>stable/x>length", "1,\"length\":1", REFUSAL_BAD_FORMAT),
        PUT("a member twice, once escaped", DOC_TIMESTAMP, "version", "7,\"versi\\u006fn\":8", REFUSAL_BAD_FORMAT),
        PUT("a key twice", DOC_ROOT, "keys>x", "{},\"x\":{}", REFUSAL_BAD_FORMAT),
        PUT("a role twice", DOC_ROOT, "roles>x", "1,\"root\":{\"keyids\":[],\"threshold\":1}", REFUSAL_BAD_FORMAT),
        PUT("a target twice", DOC_TARGETS, "targets>a/x", FORGE_TARGET ",\"a/x\":" FORGE_TARGET, REFUSAL_BAD_FORMAT),
        PUT("a document twice", DOC_SNAPSHOT, "meta>x.json", "{\"version\":1},\"x.json\":{\"version\":2}",
            REFUSAL_BAD_FORMAT),
        PUT("a hash twice", DOC_TARGETS, "targets>a/x>hashes>sha256", "\"" FORGE_DIGEST_X "\",\"sha256\":\"\"",
            REFUSAL_BAD_FORMAT),
        PUT("twice in what nobody reads", DOC_TARGETS, "targets>a/x>custom>n", "1,\"n\":1", REFUSAL_BAD_FORMAT),
        PUT("twice in an unknown member", DOC_TIMESTAMP, "x", "{\"a\":1,\"a\":2}", REFUSAL_BAD_FORMAT),
        REPLACED("signatures twice", DOC_TIMESTAMP, "{\"signatures\"", "{\"signatures\":[],\"signatures\"",
                 REFUSAL_BAD_FORMAT),
        REPLACED("signed twice", DOC_TIMESTAMP, "\"signed\"", "\"signed\":{},\"signed\"", REFUSAL_BAD_FORMAT),
        REPLACED("key id twice", DOC_TIMESTAMP, "\"keyid\"", "\"keyid\":\"x\",\"keyid\"", REFUSAL_BAD_FORMAT),
        REPLACED("sig twice", DOC_TIMESTAMP, "\"sig\"", "\"sig\":\"00\",\"sig\"", REFUSAL_BAD_FORMAT),

        PUT("fraction in an unknown member", DOC_TIMESTAMP, "x", "0.5", REFUSAL_BAD_FORMAT),
        PUT("whole fraction", DOC_TIMESTAMP, "x", "1.0", REFUSAL_BAD_FORMAT),
        PUT("exponent", DOC_SNAPSHOT, "x", "1e3", REFUSAL_BAD_FORMAT),
        PUT("negative fraction of zero", DOC_ROOT, "x", "-0.0", REFUSAL_BAD_FORMAT),
        PUT("fraction in custom", DOC_TARGETS, "targets>a/x>custom>n", "[{\"m\":0.1}]", REFUSAL_BAD_FORMAT),
        PUT("2^63 in custom", DOC_TARGETS, "targets>a/x>custom>n", "9223372036854775808", REFUSAL_BAD_FORMAT),
        PUT("NaN in an unknown member", DOC_TIMESTAMP, "x", "NaN", REFUSAL_BAD_FORMAT),
        PUT("-Infinity", DOC_TIMESTAMP, "x", "-Infinity", REFUSAL_BAD_FORMAT),
        PUT("undefined", DOC_TIMESTAMP, "x", "undefined", REFUSAL_BAD_FORMAT),
        PUT("single quotes", DOC_TIMESTAMP, "x", "'x'", REFUSAL_BAD_FORMAT),
        PUT("comment", DOC_TIMESTAMP, "x", "1/* */", REFUSAL_BAD_FORMAT),
        PUT("comment to the end of the line", DOC_TIMESTAMP, "x", "1//\n", REFUSAL_BAD_FORMAT),
        PUT("comma at the end of a list", DOC_TIMESTAMP, "x", "[1,]", REFUSAL_BAD_FORMAT),
        PUT("comma at the end of an object", DOC_TIMESTAMP, "x", "{\"a\":1,}", REFUSAL_BAD_FORMAT),
        PUT("name without quotes", DOC_TIMESTAMP, "x", "{a:1}", REFUSAL_BAD_FORMAT),
        PUT("unknown escape", DOC_TIMESTAMP, "x", "\"\\x41\"", REFUSAL_BAD_FORMAT),
        PUT("unfinished escape", DOC_TIMESTAMP, "x", "\"\\u00\"", REFUSAL_BAD_FORMAT),
        PUT("raw newline", DOC_TIMESTAMP, "x", "\"\n\"", REFUSAL_BAD_FORMAT),
        PUT("raw tab", DOC_ROOT, "x", "\"\t\"", REFUSAL_BAD_FORMAT),
        PUT("other white space", DOC_TIMESTAMP, "x", "\f1", REFUSAL_BAD_FORMAT),
        PUT("no-break space", DOC_TIMESTAMP, "x", "\u00a01", REFUSAL_BAD_FORMAT),
        PUT("overlong UTF-8", DOC_TIMESTAMP, "x", "\"\xc0\x80\"", REFUSAL_BAD_FORMAT),
        PUT("overlong slash", DOC_TARGETS, "x", "\"\xe0\x80\xaf\"", REFUSAL_BAD_FORMAT),
        PUT("surrogate in UTF-8", DOC_TIMESTAMP, "x", "\"\xed\xa0\x80\"", REFUSAL_BAD_FORMAT),
        PUT("beyond the last code point", DOC_TIMESTAMP, "x", "\"\xf4\x90\x80\x80\"", REFUSAL_BAD_FORMAT),
        PUT("cut UTF-8", DOC_SNAPSHOT, "x", "\"\xe2\x82\"", REFUSAL_BAD_FORMAT),
        PUT("a name that is not UTF-8", DOC_TIMESTAMP, "x", "1,\"\xff\":1", REFUSAL_BAD_FORMAT),
        PUT("NUL in a name", DOC_TIMESTAMP, "x", "1,\"a\\u0000b\":1", REFUSAL_BAD_FORMAT),
        PUT("NUL in a target's name", DOC_TARGETS, "targets>y", FORGE_TARGET ",\"a\\u0000/../b\":" FORGE_TARGET,
            REFUSAL_BAD_FORMAT),
        PUT("second half of a pair first", DOC_TIMESTAMP, "x", "\"\\udc00\\ud800\"", REFUSAL_BAD_FORMAT),
        { .name = "deep", .doc = DOC_TARGETS, .edit = edit_nested_65, .expected = REFUSAL_TOO_LARGE },
        { .name = "very deep", .doc = DOC_TARGETS, .edit = edit_nested_5000, .expected = REFUSAL_BAD_FORMAT },
        { .name = "deep enough", .doc = DOC_TARGETS, .edit = edit_nested_60 },

        SIGNED_AS("signed with indentation", DOC_TIMESTAMP, spoil_signed_indented, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed with indentation", DOC_ROOT, spoil_signed_indented, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed with spaces", DOC_TIMESTAMP, spoil_signed_spaced, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed with spaces", DOC_TARGETS, spoil_signed_spaced, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed out of order", DOC_SNAPSHOT, spoil_signed_unsorted, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed with a newline behind", DOC_TIMESTAMP, spoil_signed_newline, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed with JSON's escapes", DOC_TIMESTAMP, spoil_signed_escaped, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed in ASCII", DOC_ROOT, spoil_signed_ascii, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed in another normal form", DOC_TIMESTAMP, spoil_signed_normalised, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("signed with the envelope", DOC_TIMESTAMP, spoil_signed_envelope, REFUSAL_BAD_SIGNATURE),
        SIGNED_AS("laid out anew", DOC_ROOT, spoil_laid_out, REFUSAL_NONE),
        SIGNED_AS("laid out anew", DOC_TIMESTAMP, spoil_laid_out, REFUSAL_NONE),
        SIGNED_AS("laid out anew", DOC_TARGETS, spoil_laid_out, REFUSAL_NONE),

        PUT("unknown member", DOC_ROOT, "x", "{\"y\":[null,true,-1,\"\\\"\\\\\"]}", REFUSAL_NONE),
        PUT("unknown member", DOC_TIMESTAMP, "x-y", "null", REFUSAL_NONE),
        PUT("unknown member", DOC_SNAPSHOT, "meta>targets.json>x", "\"\"", REFUSAL_NONE),
        PUT("unknown member", DOC_TARGETS, "targets>a/x>x", "{}", REFUSAL_NONE),
        PUT("unknown member", DOC_STABLE, "x", "[[]]", REFUSAL_NONE),
        PUT("control characters", DOC_TIMESTAMP, "x", "\"\\n\\u0001\\u007f\"", REFUSAL_NONE),
        PUT("characters beyond the BMP", DOC_TIMESTAMP, "x", "\"\\ud83d\\ude00\u00e9\"", REFUSAL_NONE),
        PUT("escaped letters", DOC_TIMESTAMP, "_type", "\"\\u0074imestamp\"", REFUSAL_NONE),
        PUT("the smallest number", DOC_TIMESTAMP, "x", "-9223372036854775808", REFUSAL_NONE),
        PUT("the largest number", DOC_TIMESTAMP, "x", "9223372036854775807", REFUSAL_NONE),
        PUT("a later minor version", DOC_ROOT, "spec_version", "\"1.99.0\"", REFUSAL_NONE),
        PUT("another major version", DOC_ROOT, "spec_version", "\"2.0.0\"", REFUSAL_BAD_FORMAT),
        PUT("another major version", DOC_TIMESTAMP, "spec_version", "\"2.0.0\"", REFUSAL_BAD_FORMAT),
        PUT("a major version that begins alike", DOC_SNAPSHOT, "spec_version", "\"10.0\"", REFUSAL_BAD_FORMAT),
        PUT("a version without dots", DOC_TARGETS, "spec_version", "\"1\"", REFUSAL_BAD_FORMAT),
        PUT("a version of four parts", DOC_TARGETS, "spec_version", "\"1.0.0.0\"", REFUSAL_BAD_FORMAT),
        PUT("a version with a suffix", DOC_TARGETS, "spec_version", "\"1.0.0-rc1\"", REFUSAL_BAD_FORMAT),
};

static void json_and_its_canonical_form_are_strict(void **state) {
        RUN(forms, 60);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_field_has_its_type_and_its_bounds),
                cmocka_unit_test(the_envelope_is_as_it_must_be),
                cmocka_unit_test(json_and_its_canonical_form_are_strict),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
