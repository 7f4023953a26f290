/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* TUF's client, with whatever its repository says. An input is lines: the signed parts of timestamp, snapshot, targets
 * and of the delegated role "stable", and the path of a target. The target signs them itself with the one key that the
 * root trusts, so that nothing stops at the signatures. What the client accepts must be consistent, must be found again
 * without the network, and must not have left its place. */

#include "tuf-fixture.h"

#define LINES 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[LINES - 1] = { "timestamp.json", "snapshot.json", "targets.json", "stable.json" };

static void must(bool ok) {
        if (!ok)
                abort();
}

/* Always the same, for inputs name it. */
static EVP_PKEY *signer(void) {
        static EVP_PKEY *pkey;
        const uint8_t seed[32] = { 1 };

        if (!pkey)
                pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
        must(pkey);
        return pkey;
}

static const char *signer_id(void) {
        static char *id;
        uint8_t raw[32];
        size_t n = sizeof(raw);

        if (!id) {
                _cleanup_free_ char *hex = NULL;
                _cleanup_json_ json_t *object = NULL;

                must(EVP_PKEY_get_raw_public_key(signer(), raw, &n) == 1);
                hex = hex_encode(raw, sizeof(raw));
                object = json_pack("{s:s, s:s, s:{s:s}}", "keytype", "ed25519", "scheme", "ed25519", "keyval", "public",
                                   hex);
                id = tuf_key_compute_id(object);
        }
        return id;
}

/* Over the canonical form, or over the bytes where there is none. */
static void seal(const char *content, size_t size, Buffer *ret) {
        _cleanup_json_ json_t *value = json_loadb(content, size, 0, NULL);
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_buffer_ Buffer canonical = {};
        _cleanup_free_ char *hex = NULL;
        uint8_t signature[64];
        size_t n = sizeof(signature);

        if (!value || tuf_canonical_encode(value, &canonical, NULL) < 0)
                buffer_append(&canonical, content, size);
        must(EVP_DigestSignInit(ctx, NULL, NULL, NULL, signer()) == 1 &&
             EVP_DigestSign(ctx, signature, &n, (const uint8_t *) canonical.data ?: signature, canonical.size) == 1);
        hex = hex_encode(signature, n);
        buffer_printf(ret, "{\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"%s\"}],\"signed\":", signer_id(), hex);
        buffer_append(ret, content, size);
        buffer_puts(ret, "}");
}

static void serve(Sim *s, const char *file, const char *content, size_t size) {
        _cleanup_buffer_ Buffer b = {};

        seal(content, size, &b);
        sim_put(&s->server, file, b.data, b.size);
}

static void make_root(Buffer *ret) {
        uint8_t raw[32];
        size_t n = sizeof(raw);
        _cleanup_free_ char *hex = NULL, *role = NULL, *text = NULL;

        must(EVP_PKEY_get_raw_public_key(signer(), raw, &n) == 1);
        hex = hex_encode(raw, sizeof(raw));
        role = xasprintf("{\"keyids\":[\"%s\"],\"threshold\":1}", signer_id());
        text = xasprintf("{\"_type\":\"root\",\"consistent_snapshot\":false,\"expires\":\"2030-01-01T00:00:00Z\","
                         "\"keys\":{\"%s\":{\"keytype\":\"ed25519\",\"keyval\":{\"public\":\"%s\"},\"scheme\":"
                         "\"ed25519\"}},\"roles\":{\"root\":%s,\"snapshot\":%s,\"targets\":%s,\"timestamp\":%s},"
                         "\"spec_version\":\"1.0.34\",\"version\":1}",
                         signer_id(), hex, role, role, role, role);
        seal(text, strlen(text), ret);
}

static const Buffer *trust_root(Sim *s) {
        static Buffer root;

        if (!root.data)
                make_root(&root);
        sim_put(&s->storage, "root.json", root.data, root.size);
        return &root;
}

/* Every delegated role has the same document. */
static int fetch(void *userdata, const char *name, uint64_t max_size, bool conditional, Buffer *ret, Error *reterr) {
        int r = sim_fetch(userdata, name, max_size, conditional, ret, reterr);

        return r == TUF_NOT_THERE && !endswith(name, ".root.json")
                       ? sim_fetch(userdata, "stable.json", max_size, conditional, ret, reterr)
                       : r;
}

static TufClient *start(Sim *s) {
        tuf_client_free(s->client);
        s->client = tuf_client_new(
                (TufTransport){ .fetch = fetch, .remember = sim_remember, .userdata = s },
                (TufStorage){ .load = sim_load, .save = sim_save, .remove = sim_delete, .userdata = s }, s->now);
        return s->client;
}

static void check_accepted(const TufClient *c) {
        const TufMetadata *timestamp = tuf_client_timestamp(c), *snapshot = tuf_client_snapshot(c),
                          *targets = tuf_client_targets(c);
        const TufMeta *meta;

        must(timestamp && snapshot && targets);
        must(timestamp->expires > SIM_NOW && snapshot->expires > SIM_NOW && targets->expires > SIM_NOW);
        meta = tuf_find_meta(timestamp, "snapshot.json");
        must(meta && meta->version == snapshot->version && snapshot->version >= 1);
        meta = tuf_find_meta(snapshot, "targets.json");
        must(meta && meta->version == targets->version && targets->version >= 1);
        for (size_t i = 0; i < targets->n_targets; i++)
                must(tuf_target_path_is_valid(targets->targets[i].path));
}

/* Only what may be there, and the root as it was. */
static void check_storage(Sim *s, const Buffer *root) {
        const SimFile *f = sim_find(&s->storage, "root.json");

        must(f && f->data.size == root->size && memcmp(f->data.data, root->data, root->size) == 0);
        for (size_t i = 0; i < s->storage.n_items; i++) {
                const char *name = s->storage.items[i].name;

                must(!strchr(name, '/') && name[0] && endswith(name, ".json"));
                for (size_t k = 0; k < s->storage.n_items; k++)
                        must(i == k || !streq(name, s->storage.items[k].name));
        }
}

static int look_for(Sim *s, const char *path) {
        const TufTarget *t = NULL;
        int r = tuf_client_find_target(s->client, path, &t, &s->error);

        if (r == 0) {
                _cleanup_free_ char *location = tuf_client_target_location(s->client, t);

                must(streq(t->path, path) && tuf_target_path_is_valid(location));
                must(t->hashes.has_sha256 || t->hashes.has_sha512);
        }
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(sim_freep) Sim *s = xnew(Sim, 1);
        _cleanup_free_ char *path = NULL;
        const Buffer *root = trust_root(s);
        int found, r;

        s->now = SIM_NOW;
        for (size_t i = 0; i < LINES; i++) {
                const uint8_t *end = memchr(data, '\n', size);
                size_t n = end ? (size_t) (end - data) : size;

                if (i < LINES - 1)
                        serve(s, files[i], (const char *) data, n);
                else
                        path = xstrndup((const char *) data, n);
                data += n + !!end;
                size -= n + !!end;
        }
        r = tuf_client_refresh(start(s), &s->changed, &s->error);
        check_storage(s, root);
        if (r < 0) {
                must(s->error.id != REFUSAL_NONE && s->error.message && !tuf_client_targets(s->client));
                return 0;
        }
        must(s->changed);
        check_accepted(s->client);
        found = look_for(s, path);
        check_storage(s, root);
        /* The same again: nothing is new. Then without the network, from what was stored. */
        must(tuf_client_refresh(start(s), &s->changed, &s->error) == 0 && !s->changed);
        check_accepted(s->client);
        must((look_for(s, path) < 0) == (found < 0));
        must(tuf_client_load(start(s), false, &s->error) == 0);
        check_accepted(s->client);
        if (found >= 0)
                must(look_for(s, path) == found);
        return 0;
}
