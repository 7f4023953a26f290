/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A repository in memory that can be spoiled in every place and signed again: the finer tool beside tuf-fixture.h,
 * whose server, storage and keys it uses. What is put into a document need not be JSON: the signature is made over
 * whatever will be served, so that what refuses it is never the signature unless that is what the case is about. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tuf-fixture.h"

#define FORGE_EXPIRES "2030-01-01T00:00:00Z"
#define FORGE_RAW "@raw@"
#define FORGE_DIGEST_X "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" /* of "x" */

/* DOC_ROOT is the second version; the first is what the client trusts. */
typedef enum Doc { DOC_ROOT, DOC_TIMESTAMP, DOC_SNAPSHOT, DOC_TARGETS, DOC_STABLE, _DOC_MAX } Doc;
typedef enum Signer {
        SIGNER_ROOT_A,
        SIGNER_ROOT_B,
        SIGNER_TIMESTAMP,
        SIGNER_SNAPSHOT,
        SIGNER_TARGETS_A,
        SIGNER_TARGETS_B,
        SIGNER_STABLE,
        SIGNER_STRANGER,
        _SIGNER_MAX,
} Signer;
#define BY(signer) (1U << (signer))

static const char *const forge_signer_names[_SIGNER_MAX] = { "root-a",    "root-b",    "timestamp", "snapshot",
                                                             "targets-a", "targets-b", "stable",    "stranger" };
static const char *const forge_files[_DOC_MAX] = { "root.json", "timestamp.json", "snapshot.json", "targets.json",
                                                   "stable.json" };
static const char *const forge_doc_names[_DOC_MAX] = { "root", "timestamp", "snapshot", "targets", "stable" };
static const unsigned forge_signers[_DOC_MAX] = { BY(SIGNER_ROOT_A) | BY(SIGNER_ROOT_B), BY(SIGNER_TIMESTAMP),
                                                  BY(SIGNER_SNAPSHOT), BY(SIGNER_TARGETS_A) | BY(SIGNER_TARGETS_B),
                                                  BY(SIGNER_STABLE) };

typedef struct Forge {
        Sim *sim;
        json_t *content[_DOC_MAX]; /* the signed parts */
        char *raw[_DOC_MAX];       /* stands where FORGE_RAW is */
        unsigned signers[_DOC_MAX];
        bool dirty[_DOC_MAX];
        Buffer first_root, served[_DOC_MAX];
        bool unlisted; /* nothing but versions is listed from now on */
        bool rotated;  /* the second root is there to be fetched */
        /* Changes the bytes of a document between its signature and its hash in the document above it. */
        void (*spoil)(struct Forge *f, Doc doc, Buffer *b);
        Doc spoil_doc;
        const char *find, *with; /* for it */
} Forge;

/* ---- text ---------------------------------------------------------------------------------------------------- */

/* 64 hexadecimal digits. */
static inline const char *forge_public(Signer i) {
        return json_string_value(
                json_object_get(json_object_get(tuf_key_object(sim_key(i)->public), "keyval"), "public"));
}

/* "{stable}" becomes the id of that key, "{stable.public}" its public part. */
static inline char *forge_expand(const Forge *f, const char *text) {
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, "");
        while (*text) {
                bool found = false;

                for (Signer i = 0; *text == '{' && i < _SIGNER_MAX && !found; i++) {
                        const char *rest = startswith(text + 1, forge_signer_names[i]);

                        if (!rest || (*rest != '}' && !startswith(rest, ".public}")))
                                continue;
                        buffer_puts(&b, *rest == '}' ? sim_key_id(i) : forge_public(i));
                        text = strchr(rest, '}') + 1;
                        found = true;
                }
                if (!found)
                        buffer_append(&b, text++, 1);
        }
        return buffer_steal(&b);
}

/* The first occurrence, which must be there. */
static inline void forge_replace(Buffer *b, const char *what, const char *with, size_t with_size) {
        const char *at = memmem(b->data, b->size, what, strlen(what));
        _cleanup_buffer_ Buffer old = *b;
        size_t before;

        if (!at)
                fail_msg("no %s in the document", what);
        before = (size_t) (at - old.data);
        *b = (Buffer){};
        buffer_append(b, old.data, before);
        buffer_append(b, with, with_size);
        buffer_append(b, at + strlen(what), old.size - before - strlen(what));
}

/* ---- what is in the documents -------------------------------------------------------------------------------- */

static inline json_t *forge_child(json_t *parent, const char *name) {
        return json_is_array(parent) ? json_array_get(parent, (size_t) atoi(name)) : json_object_get(parent, name);
}

/* path: names and indexes with ">" between them. value: any text; NULL takes the member away. */
static inline void forge_put(Forge *f, Doc doc, const char *path, const char *value) {
        _cleanup_free_ char *full = forge_expand(f, path), *text = value ? forge_expand(f, value) : NULL;
        json_t *parent = f->content[doc], *node = NULL;
        char *name = full, *rest;

        for (; (rest = strchr(name, '>')); name = rest + 1) {
                *rest = 0;
                parent = forge_child(parent, name);
                if (!parent)
                        fail_msg("%s has no %s", forge_doc_names[doc], name);
        }
        f->dirty[doc] = true;
        f->rotated |= doc == DOC_ROOT;
        if (!text) {
                assert_int_equal(json_is_array(parent) ? json_array_remove(parent, (size_t) atoi(name))
                                                       : json_object_del(parent, name),
                                 0);
                return;
        }
        node = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        if (!node) {
                assert_null(f->raw[doc]);
                f->raw[doc] = TAKE_PTR(text);
                node = json_string(FORGE_RAW);
        }
        assert_int_equal(json_is_array(parent) ? json_array_set_new(parent, (size_t) atoi(name), node)
                                               : json_object_set_new(parent, name, node),
                         0);
}

static inline void forge_fill(Forge *f, Doc doc, const char *text) {
        _cleanup_free_ char *full = forge_expand(f, text);
        json_error_t e;

        json_decref(f->content[doc]);
        f->content[doc] = json_loads(full, JSON_REJECT_DUPLICATES, &e);
        if (!f->content[doc])
                fail_msg("%s: %s", forge_doc_names[doc], e.text);
        f->dirty[doc] = true;
}

#define FORGE_HEAD(type, version)                                                                                      \
        "{\"_type\":\"" type "\",\"expires\":\"" FORGE_EXPIRES "\",\"spec_version\":\"1.0.34\",\"version\":" version ","
#define FORGE_KEY(name)                                                                                                \
        "\"{" name "}\":{\"keytype\":\"ed25519\",\"keyval\":{\"public\":\"{" name ".public}\"},"                       \
        "\"scheme\":\"ed25519\"}"
#define FORGE_TARGET "{\"hashes\":{\"sha256\":\"" FORGE_DIGEST_X "\"},\"length\":1}"

static const char *const forge_templates[_DOC_MAX] = {
        /* clang-format off */
        [DOC_ROOT] = FORGE_HEAD("root", "2")
                "\"consistent_snapshot\":true,\"keys\":{"
                FORGE_KEY("root-a") "," FORGE_KEY("root-b") "," FORGE_KEY("timestamp") ","
                FORGE_KEY("snapshot") "," FORGE_KEY("targets-a") "," FORGE_KEY("targets-b") "},\"roles\":{"
                "\"root\":{\"keyids\":[\"{root-a}\",\"{root-b}\"],\"threshold\":2},"
                "\"snapshot\":{\"keyids\":[\"{snapshot}\"],\"threshold\":1},"
                "\"targets\":{\"keyids\":[\"{targets-a}\",\"{targets-b}\"],\"threshold\":2},"
                "\"timestamp\":{\"keyids\":[\"{timestamp}\"],\"threshold\":1}}}",
        [DOC_TIMESTAMP] = FORGE_HEAD("timestamp", "7")
                "\"meta\":{\"snapshot.json\":{\"version\":5}}}",
        [DOC_SNAPSHOT] = FORGE_HEAD("snapshot", "5")
                "\"meta\":{\"stable.json\":{\"version\":3},\"targets.json\":{\"version\":4}}}",
        [DOC_TARGETS] = FORGE_HEAD("targets", "4")
                "\"targets\":{\"a/x\":{\"custom\":{\"n\":1},"
                "\"hashes\":{\"sha256\":\"" FORGE_DIGEST_X "\"},\"length\":1}},"
                "\"delegations\":{\"keys\":{" FORGE_KEY("stable") "},\"roles\":[{\"keyids\":[\"{stable}\"],"
                "\"name\":\"stable\",\"paths\":[\"stable/*\"],\"terminating\":false,\"threshold\":1}]}}",
        [DOC_STABLE] = FORGE_HEAD("targets", "3") "\"targets\":{\"stable/x\":" FORGE_TARGET "}}",
        /* clang-format on */
};

/* ---- signing ------------------------------------------------------------------------------------------------- */

static inline char *forge_signature(EVP_PKEY *pkey, const void *data, size_t size) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        const EVP_MD *digest = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
        uint8_t signature[1024];
        size_t n = sizeof(signature);

        assert_int_equal(EVP_DigestSignInit(ctx, NULL, digest, NULL, pkey), 1);
        assert_int_equal(EVP_DigestSign(ctx, signature, &n, data, size), 1);
        EVP_MD_CTX_free(ctx);
        return hex_encode(signature, n);
}

/* The canonical form of the text, or the text itself if it has none. */
static inline void forge_canonical(const char *text, size_t size, Buffer *ret) {
        _cleanup_json_ json_t *value = json_loadb(text, size, 0, NULL);

        if (!value || tuf_canonical_encode(value, ret, NULL) < 0)
                buffer_append(ret, text, size);
}

/* The envelope around the text of a signed part. */
static inline void forge_seal(const Forge *f, unsigned signers, const Buffer *content, const Buffer *canonical,
                              Buffer *ret) {
        const char *separator = "";

        buffer_done(ret);
        *ret = (Buffer){};
        buffer_puts(ret, "{\"signatures\":[");
        for (Signer i = 0; i < _SIGNER_MAX; i++) {
                _cleanup_free_ char *sig = NULL;

                if (!(signers & BY(i)))
                        continue;
                sig = forge_signature(sim_key(i)->private->pkey, canonical->data, canonical->size);
                buffer_printf(ret, "%s{\"keyid\":\"%s\",\"sig\":\"%s\"}", separator, sim_key_id(i), sig);
                separator = ",";
        }
        buffer_puts(ret, "],\"signed\":");
        buffer_append(ret, content->data, content->size);
        buffer_puts(ret, "}");
}

static inline void forge_text(const Forge *f, Doc doc, Buffer *ret) {
        _cleanup_free_ char *text = json_dumps(f->content[doc], JSON_COMPACT | JSON_SORT_KEYS);

        buffer_puts(ret, text);
        if (f->raw[doc] && strstr(text, "\"" FORGE_RAW "\""))
                forge_replace(ret, "\"" FORGE_RAW "\"", f->raw[doc], strlen(f->raw[doc]));
}

static inline void forge_sign(Forge *f, Doc doc) {
        _cleanup_buffer_ Buffer text = {}, canonical = {};

        forge_text(f, doc, &text);
        forge_canonical(text.data, text.size, &canonical);
        forge_seal(f, f->signers[doc], &text, &canonical, &f->served[doc]);
        if (f->spoil && f->spoil_doc == doc)
                f->spoil(f, doc, &f->served[doc]);
        f->dirty[doc] = false;
}

/* Length and hash of a document into the one above it. The version stays: whoever changes one decides about both. */
static inline void forge_list(Forge *f, Doc doc, Doc above) {
        json_t *meta = json_object_get(json_object_get(f->content[above], "meta"), forge_files[doc]);
        _cleanup_free_ char *hex = NULL;
        Sha256 digest;

        if (!json_is_object(meta) || f->unlisted)
                return;
        sha256_buffer(f->served[doc].data, f->served[doc].size, &digest);
        hex = sha256_hex(&digest);
        json_object_set_new(meta, "length", json_integer((json_int_t) f->served[doc].size));
        json_object_set_new(meta, "hashes", json_pack("{s:s}", "sha256", hex));
        f->dirty[above] = true;
}

/* Under the names by which they are asked for: with the version that is listed, and without. */
static inline void forge_serve(Forge *f) {
        for (Doc doc = 0; doc < _DOC_MAX; doc++) {
                Doc above = doc == DOC_SNAPSHOT ? DOC_TIMESTAMP : DOC_SNAPSHOT;
                json_t *meta = json_object_get(json_object_get(f->content[above], "meta"), forge_files[doc]),
                       *version = json_object_get(meta, "version");
                _cleanup_free_ char *numbered = NULL;

                if (doc == DOC_ROOT && f->rotated)
                        numbered = xstrdup("2.root.json");
                else if (json_is_integer(version))
                        numbered =
                                xasprintf("%" JSON_INTEGER_FORMAT ".%s", json_integer_value(version), forge_files[doc]);
                if (numbered)
                        sim_put(&f->sim->server, numbered, f->served[doc].data, f->served[doc].size);
                if (doc != DOC_ROOT)
                        sim_put(&f->sim->server, forge_files[doc], f->served[doc].data, f->served[doc].size);
        }
}

/* Signs what was changed, and what lists it. */
static inline void forge_publish(Forge *f) {
        static const struct {
                Doc doc, above;
        } order[] = { { DOC_STABLE, DOC_SNAPSHOT },
                      { DOC_TARGETS, DOC_SNAPSHOT },
                      { DOC_SNAPSHOT, DOC_TIMESTAMP },
                      { DOC_TIMESTAMP, _DOC_MAX },
                      { DOC_ROOT, _DOC_MAX } };

        for (size_t i = 0; i < ELEMENTSOF(order); i++) {
                if (!f->dirty[order[i].doc])
                        continue;
                forge_sign(f, order[i].doc);
                if (order[i].above != _DOC_MAX)
                        forge_list(f, order[i].doc, order[i].above);
        }
        forge_serve(f);
}

/* A new version of the document, listed as such. */
static inline void forge_bump(Forge *f, Doc doc) {
        json_int_t version = json_integer_value(json_object_get(f->content[doc], "version")) + 1;
        Doc above = doc == DOC_SNAPSHOT ? DOC_TIMESTAMP : DOC_SNAPSHOT;

        json_object_set_new(f->content[doc], "version", json_integer(version));
        f->dirty[doc] = true;
        if (doc == DOC_TIMESTAMP || doc == DOC_ROOT)
                return;
        json_object_set_new(json_object_get(json_object_get(f->content[above], "meta"), forge_files[doc]), "version",
                            json_integer(version));
        forge_bump(f, above);
}

/* What the client does, once; target (may be NULL) is looked for behind it. 1: no such target. */
static inline int forge_refresh(Forge *f, const char *target) {
        const TufTarget *found = NULL;
        int r;

        r = tuf_client_init(sim_client(f->sim), f->first_root.data, f->first_root.size, &f->sim->error);
        if (r >= 0)
                r = sim_refresh(f->sim);
        if (r >= 0 && target)
                r = tuf_client_find_target(f->sim->client, target, &found, &f->sim->error);
        return r;
}

/* The root as it is now comes with the machine. */
static inline void forge_trust(Forge *f) {
        buffer_done(&f->first_root);
        f->first_root = (Buffer){};
        buffer_append(&f->first_root, f->served[DOC_ROOT].data, f->served[DOC_ROOT].size);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static inline Forge *forge_new(void) {
        Forge *f = xnew(Forge, 1);

        f->sim = xnew(Sim, 1);
        f->sim->now = SIM_NOW;
        memcpy(f->signers, forge_signers, sizeof(forge_signers));
        for (Doc doc = 0; doc < _DOC_MAX; doc++)
                forge_fill(f, doc, forge_templates[doc]);
        json_object_set_new(f->content[DOC_ROOT], "version", json_integer(1));
        forge_publish(f);
        forge_trust(f);
        json_object_set_new(f->content[DOC_ROOT], "version", json_integer(2));
        forge_sign(f, DOC_ROOT);
        return f;
}

static inline Forge *forge_free(Forge *f) {
        if (!f)
                return NULL;
        for (Doc doc = 0; doc < _DOC_MAX; doc++) {
                json_decref(f->content[doc]);
                free(f->raw[doc]);
                buffer_done(&f->served[doc]);
        }
        sim_free(f->sim);
        buffer_done(&f->first_root);
        free(f);
        return NULL;
}
DEFINE_CLEANUP(Forge *, forge_free)
