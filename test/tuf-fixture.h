/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A repository of The Update Framework in memory, the server that hands it out, and the storage of a client: all of
 * them as honest or as bad as a test wants.
 *
 *     _cleanup_(sim_freep) Sim *s = sim_new();          root, timestamp, snapshot, targets: version 1, published
 *     json_integer_set(json_object_get(sim_signed(s, "targets"), "version"), 41);
 *     sim_publish(s, "targets snapshot timestamp");     next versions, signed, listed by each other
 *     assert_int_equal(sim_refresh(s), 0);              a new client with the storage of the one before
 *
 * Keys are numbers into a pool that is made once for each process. */

#include <openssl/evp.h>

#include "crypto-internal.h"
#include "tuf-client.h"
#include "tuf-json.h"

#define SIM_KEYS 32
#define SIM_NOW INT64_C(1800000000)
#define SIM_DAY INT64_C(86400)
/* Keys of the top-level roles at the start. */
enum { SIM_KEY_ROOT, SIM_KEY_TIMESTAMP, SIM_KEY_SNAPSHOT, SIM_KEY_TARGETS, SIM_KEY_FREE };

typedef struct SimKey {
        PrivateKey *private;
        TufKey *public;
} SimKey;

typedef struct SimFile {
        char *name;
        Buffer data;
} SimFile;

typedef struct SimFiles {
        SimFile *items;
        size_t n_items, allocated;
} SimFiles;

typedef struct SimRole {
        char *name;
        json_t *content; /* the signed part of the next version */
        unsigned *signers;
        size_t n_signers;
        bool published;
} SimRole;

typedef struct Sim {
        SimRole *roles;
        size_t n_roles, allocated_roles;
        SimFiles server;  /* "3.snapshot.json", "snapshot.json", ... */
        bool with_hashes; /* timestamp and snapshot list lengths and hashes */

        /* What was asked for: "2.root.json timestamp.json". */
        char **requests;
        const char *unreachable; /* asking for this fails */
        bool ignore_limits;      /* delivers more than is allowed */
        bool not_modified;       /* honours conditions */
        char *remembered, *fetched;

        SimFiles storage;
        unsigned n_writes;   /* saves and removals */
        unsigned fail_write; /* the one with this number (from 1) fails; 0: none */
        bool fail_after;     /* ...after it was carried out */

        int64_t now;
        TufClient *client; /* the last one */
        Error error;
        bool changed;
} Sim;

/* ---- keys ------------------------------------------------------------------------------------------------ */

static inline const SimKey *sim_key(unsigned i) {
        static SimKey pool[SIM_KEYS];

        if (i >= SIM_KEYS)
                abort();
        if (!pool[i].private) {
                pool[i].private = xnew(PrivateKey, 1);
                pool[i].private->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
                pool[i].private->name = xasprintf("key %u", i);
                if (!pool[i].private->pkey || tuf_key_from_private(pool[i].private, &pool[i].public, NULL) < 0)
                        abort();
        }
        return &pool[i];
}

static inline const char *sim_key_id(unsigned i) {
        return tuf_key_id(sim_key(i)->public);
}

/* {"keyid", "sig"} */
static inline json_t *sim_signature(const json_t *content, unsigned key) {
        _cleanup_buffer_ Buffer canonical = {};
        _cleanup_free_ char *hex = NULL;
        _cleanup_free_ void *signature = NULL;
        size_t size;

        if (tuf_canonical_encode(content, &canonical, NULL) < 0 ||
            tuf_sign(sim_key(key)->private, sim_key(key)->public, canonical.data, canonical.size, &signature, &size,
                     NULL) < 0)
                abort();
        hex = hex_encode(signature, size);
        return json_pack("{s:s, s:s}", "keyid", sim_key_id(key), "sig", hex);
}

/* A whole document with these keys' signatures. */
static inline char *sim_document(const json_t *content, const unsigned *keys, size_t n_keys) {
        _cleanup_json_ json_t *signatures = json_array(), *document = NULL;

        for (size_t i = 0; i < n_keys; i++)
                json_array_append_new(signatures, sim_signature(content, keys[i]));
        document = json_pack("{s:O, s:O}", "signatures", signatures, "signed", content);
        return json_format(document, false);
}

/* ---- files ----------------------------------------------------------------------------------------------- */

static inline SimFile *sim_find(SimFiles *files, const char *name) {
        for (size_t i = 0; i < files->n_items; i++)
                if (streq(files->items[i].name, name))
                        return &files->items[i];
        return NULL;
}

static inline void sim_put(SimFiles *files, const char *name, const void *data, size_t size) {
        SimFile *f = sim_find(files, name);

        if (!f) {
                GROW(files->items, files->n_items, files->allocated);
                f = &files->items[files->n_items++];
                *f = (SimFile){ .name = xstrdup(name) };
        }
        buffer_done(&f->data);
        f->data = (Buffer){};
        buffer_append(&f->data, data, size);
}

static inline void sim_put_text(SimFiles *files, const char *name, const char *text) {
        sim_put(files, name, text, strlen(text));
}

static inline void sim_remove(SimFiles *files, const char *name) {
        SimFile *f = sim_find(files, name);

        if (!f)
                return;
        free(f->name);
        buffer_done(&f->data);
        *f = files->items[--files->n_items];
}

static inline void sim_files_copy(SimFiles *to, const SimFiles *from) {
        for (size_t i = 0; i < from->n_items; i++)
                sim_put(to, from->items[i].name, from->items[i].data.data, from->items[i].data.size);
}

static inline void sim_files_done(SimFiles *files) {
        for (size_t i = 0; i < files->n_items; i++) {
                free(files->items[i].name);
                buffer_done(&files->items[i].data);
        }
        free(files->items);
        *files = (SimFiles){};
}

/* ---- roles ----------------------------------------------------------------------------------------------- */

static inline SimRole *sim_role(Sim *s, const char *name) {
        for (size_t i = 0; i < s->n_roles; i++)
                if (streq(s->roles[i].name, name))
                        return &s->roles[i];
        return NULL;
}

/* Borrowed, to be edited; the next sim_publish() signs it. */
static inline json_t *sim_signed(Sim *s, const char *role) {
        SimRole *r = sim_role(s, role);

        return r ? r->content : NULL;
}

static inline void sim_expire(Sim *s, const char *role, int64_t when) {
        _cleanup_free_ char *text = tuf_format_time(when);

        json_object_set_new(sim_signed(s, role), "expires", json_string(text));
}

/* The version that the next publication has. */
static inline void sim_set_version(Sim *s, const char *role, uint64_t version) {
        json_object_set_new(sim_signed(s, role), "version", json_integer((json_int_t) version - 1));
        sim_role(s, role)->published = true;
}

static inline uint64_t sim_version(Sim *s, const char *role) {
        return (uint64_t) json_integer_value(json_object_get(sim_signed(s, role), "version"));
}

/* "4 5 6" */
static inline size_t sim_parse_keys(const char *text, unsigned *ret) {
        _cleanup_strv_free_ char **words = strv_split(text, " ");
        size_t n = 0;

        STRV_FOREACH (word, words)
                ret[n++] = (unsigned) atoi(*word);
        return n;
}

static inline void sim_sign_with(Sim *s, const char *role, const char *keys) {
        SimRole *r = sim_role(s, role);
        unsigned list[SIM_KEYS];

        r->n_signers = sim_parse_keys(keys, list);
        r->signers = xrealloc(r->signers, SIM_KEYS, sizeof(unsigned));
        memcpy(r->signers, list, r->n_signers * sizeof(unsigned));
}

/* {"keyids": [...], "threshold": N}; the keys are added to the object beside it. */
static inline json_t *sim_key_list(json_t *known, const char *keys, int threshold) {
        json_t *ids = json_array();
        unsigned list[SIM_KEYS];
        size_t n = sim_parse_keys(keys, list);

        for (size_t i = 0; i < n; i++) {
                json_array_append_new(ids, json_string(sim_key_id(list[i])));
                json_object_set(known, sim_key_id(list[i]), (json_t *) tuf_key_object(sim_key(list[i])->public));
        }
        return json_pack("{s:o, s:i}", "keyids", ids, "threshold", threshold);
}

/* Whose signatures a top-level role needs, as the next root says. Keys that no role has any more stay listed. */
static inline void sim_set_keys(Sim *s, const char *role, const char *keys, int threshold) {
        json_t *root = sim_signed(s, "root");

        json_object_set_new(json_object_get(root, "roles"), role,
                            sim_key_list(json_object_get(root, "keys"), keys, threshold));
}

/* The same, and it signs with them from now on. */
static inline void sim_rotate(Sim *s, const char *role, const char *keys, int threshold) {
        sim_set_keys(s, role, keys, threshold);
        sim_sign_with(s, role, keys);
}

static inline SimRole *sim_add_role(Sim *s, const char *name, TufType type, const char *keys) {
        _cleanup_free_ char *expires = tuf_format_time(s->now + 30 * SIM_DAY);
        SimRole *r;

        GROW(s->roles, s->n_roles, s->allocated_roles);
        r = &s->roles[s->n_roles++];
        *r = (SimRole){ .name = xstrdup(name) };
        r->content = json_pack("{s:s, s:s, s:i, s:s}", "_type", tuf_type_name(type), "spec_version", "1.0.34",
                               "version", 1, "expires", expires);
        if (type == TUF_ROOT)
                json_object_update_new(r->content,
                                       json_pack("{s:b, s:{}, s:{}}", "consistent_snapshot", 1, "keys", "roles"));
        else if (type == TUF_TARGETS)
                json_object_set_new(r->content, "targets", json_object());
        else
                json_object_set_new(r->content, "meta", json_object());
        sim_sign_with(s, name, keys);
        return r;
}

static inline json_t *sim_words(const char *words) {
        _cleanup_strv_free_ char **l = strv_split(words, " ");

        return json_from_strv(l);
}

typedef struct SimDelegation {
        const char *from, *to;
        const char *keys;                  /* NULL: "4" */
        int threshold;                     /* 0: 1 */
        const char *paths, *hash_prefixes; /* words; both NULL: "*" */
        bool terminating;
} SimDelegation;

/* A role that is not there yet is made, and signs with the same keys. */
static inline void sim_delegate(Sim *s, const SimDelegation *d) {
        json_t *from = sim_signed(s, d->from), *delegations = json_object_get(from, "delegations"), *object;
        const char *keys = d->keys ?: "4";

        if (!delegations) {
                delegations = json_pack("{s:{}, s:[]}", "keys", "roles");
                json_object_set_new(from, "delegations", delegations);
        }
        object = sim_key_list(json_object_get(delegations, "keys"), keys, d->threshold ?: 1);
        json_object_set_new(object, "name", json_string(d->to));
        json_object_set_new(object, "terminating", json_boolean(d->terminating));
        if (d->hash_prefixes)
                json_object_set_new(object, "path_hash_prefixes", sim_words(d->hash_prefixes));
        else
                json_object_set_new(object, "paths", sim_words(d->paths ?: "*"));
        json_array_append_new(json_object_get(delegations, "roles"), object);
        if (!sim_role(s, d->to))
                sim_add_role(s, d->to, TUF_TARGETS, keys);
}

static inline void sim_add_target(Sim *s, const char *role, const char *path, const char *content) {
        _cleanup_free_ char *hash = NULL;
        Sha256 sha256;

        sha256_buffer(content, strlen(content), &sha256);
        hash = sha256_hex(&sha256);
        json_object_set_new(json_object_get(sim_signed(s, role), "targets"), path,
                            json_pack("{s:i, s:{s:s}}", "length", (int) strlen(content), "hashes", "sha256", hash));
}

/* ---- publishing ------------------------------------------------------------------------------------------ */

/* Lists a document in the one above it. */
static inline void sim_list(Sim *s, const char *role, const char *document) {
        _cleanup_free_ char *name = xasprintf("%s.json", role), *hash = NULL;
        json_t *meta = json_pack("{s:I}", "version", (json_int_t) sim_version(s, role));
        const char *above = streq(role, "snapshot") ? "timestamp" : "snapshot";
        Sha256 sha256;

        if (s->with_hashes) {
                sha256_buffer(document, strlen(document), &sha256);
                hash = sha256_hex(&sha256);
                json_object_update_new(meta, json_pack("{s:I, s:{s:s}}", "length", (json_int_t) strlen(document),
                                                       "hashes", "sha256", hash));
        }
        json_object_set_new(json_object_get(sim_signed(s, above), "meta"), name, meta);
}

/* Puts a document in place as the server has it. */
static inline void sim_serve(Sim *s, const char *role, uint64_t version, const char *document) {
        _cleanup_free_ char *file = tuf_role_file_name(role), *numbered = xasprintf("%" PRIu64 ".%s", version, file);

        sim_put_text(&s->server, numbered, document);
        sim_put_text(&s->server, file, document);
}

/* Words, in this order; each gets the next version. */
static inline void sim_publish(Sim *s, const char *roles) {
        _cleanup_strv_free_ char **words = strv_split(roles, " ");

        STRV_FOREACH (word, words) {
                SimRole *r = sim_role(s, *word);
                _cleanup_free_ char *document = NULL;

                if (r->published)
                        json_object_set_new(r->content, "version",
                                            json_integer((json_int_t) sim_version(s, *word) + 1));
                r->published = true;
                document = sim_document(r->content, r->signers, r->n_signers);
                sim_serve(s, *word, sim_version(s, *word), document);
                if (!streq(*word, "root") && !streq(*word, "timestamp"))
                        sim_list(s, *word, document);
        }
}

/* ---- the server and the storage -------------------------------------------------------------------------- */

static inline int sim_fetch(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret,
                            Error *reterr) {
        Sim *s = userdata;
        const SimFile *f = sim_find(&s->server, name);

        strv_extend(&s->requests, name);
        if (streq_ptr(s->unreachable, name))
                return error_set(reterr, EIO, REFUSAL_DOWNLOAD, "%s cannot be reached", name);
        if (!f)
                return TUF_NOT_THERE;
        if (f->data.size > max_size && !s->ignore_limits)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is larger than it may be", name);
        if (streq(name, "timestamp.json")) {
                if (conditional && s->not_modified && streq_ptr(s->remembered, f->data.data))
                        return TUF_NOT_MODIFIED;
                free(s->fetched);
                s->fetched = xstrdup(f->data.data);
        }
        buffer_append(ret, f->data.data, f->data.size);
        return TUF_FETCHED;
}

static inline void sim_remember(void *userdata) {
        Sim *s = userdata;

        free(s->remembered);
        s->remembered = xstrdup(s->fetched);
}

static inline int sim_load(void *userdata, const char *name, size_t max_size, Buffer *ret, Error *reterr) {
        Sim *s = userdata;
        const SimFile *f = sim_find(&s->storage, name);

        if (!f)
                return 1;
        if (f->data.size > max_size)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is too large", name);
        buffer_append(ret, f->data.data, f->data.size);
        return 0;
}

static inline bool sim_write_fails(Sim *s, bool after) {
        return s->n_writes == s->fail_write && s->fail_after == after;
}

static inline int sim_save(void *userdata, const char *name, const void *data, size_t size, Error *reterr) {
        Sim *s = userdata;

        s->n_writes++;
        if (!sim_write_fails(s, false))
                sim_put(&s->storage, name, data, size);
        if (sim_write_fails(s, false) || sim_write_fails(s, true))
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "the power failed while %s was written", name);
        return 0;
}

static inline int sim_delete(void *userdata, const char *name, Error *reterr) {
        Sim *s = userdata;

        s->n_writes++;
        if (!sim_write_fails(s, false))
                sim_remove(&s->storage, name);
        if (sim_write_fails(s, false) || sim_write_fails(s, true))
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "the power failed while %s was removed", name);
        return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static inline TufClient *sim_client(Sim *s) {
        tuf_client_free(s->client);
        s->client = tuf_client_new(
                (TufTransport){ .fetch = sim_fetch, .remember = sim_remember, .userdata = s },
                (TufStorage){ .load = sim_load, .save = sim_save, .remove = sim_delete, .userdata = s }, s->now);
        strv_free(TAKE_PTR(s->requests));
        error_done(&s->error);
        s->error = (Error){};
        s->n_writes = 0;
        return s->client;
}

/* Trusts the root that the server has under this version, in a storage that is empty. */
static inline int sim_init(Sim *s, uint64_t version) {
        _cleanup_free_ char *name = xasprintf("%" PRIu64 ".root.json", version);
        const SimFile *f = sim_find(&s->server, name);

        sim_files_done(&s->storage);
        free(TAKE_PTR(s->remembered));
        return tuf_client_init(sim_client(s), f->data.data, f->data.size, &s->error);
}

/* A program that starts, refreshes, and keeps its client for more questions. */
static inline int sim_refresh(Sim *s) {
        sim_client(s);
        return tuf_client_refresh(s->client, &s->changed, &s->error);
}

/* What is stored: "root 2, snapshot 1, ...", sorted; the version is what the document says. */
static inline char *sim_stored(Sim *s) {
        _cleanup_strv_free_ char **l = NULL;

        for (size_t i = 0; i < s->storage.n_items; i++) {
                _cleanup_json_ json_t *document = NULL;
                const SimFile *f = &s->storage.items[i];

                if (json_parse(f->data.data, f->data.size, f->name, &document, NULL) < 0)
                        strv_extendf(&l, "%s ?", f->name);
                else
                        strv_extendf(
                                &l, "%.*s %" JSON_INTEGER_FORMAT, (int) (strlen(f->name) - strlen(".json")), f->name,
                                json_integer_value(json_object_get(json_object_get(document, "signed"), "version")));
        }
        strv_sort(l);
        return strv_join(l, ", ");
}

static inline Sim *sim_free(Sim *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_roles; i++) {
                free(s->roles[i].name);
                free(s->roles[i].signers);
                json_decref(s->roles[i].content);
        }
        free(s->roles);
        sim_files_done(&s->server);
        sim_files_done(&s->storage);
        strv_free(s->requests);
        free(s->remembered);
        free(s->fetched);
        tuf_client_free(s->client);
        error_done(&s->error);
        free(s);
        return NULL;
}
DEFINE_CLEANUP(Sim *, sim_free)

static inline Sim *sim_new(void) {
        Sim *s = xnew(Sim, 1);

        s->now = SIM_NOW;
        sim_add_role(s, "root", TUF_ROOT, "0");
        sim_add_role(s, "timestamp", TUF_TIMESTAMP, "1");
        sim_add_role(s, "snapshot", TUF_SNAPSHOT, "2");
        sim_add_role(s, "targets", TUF_TARGETS, "3");
        sim_set_keys(s, "root", "0", 1);
        sim_set_keys(s, "timestamp", "1", 1);
        sim_set_keys(s, "snapshot", "2", 1);
        sim_set_keys(s, "targets", "3", 1);
        sim_publish(s, "root targets snapshot timestamp");
        if (sim_init(s, 1) < 0)
                abort();
        return s;
}
