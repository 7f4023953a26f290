/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who has to sign what, and signing it. */

#include "change-internal.h"
#include "io.h"
#include "tuf-json.h"

size_t change_signers(const Change *c, const char *name, SignerGroup ret[static SIGNER_GROUPS_MAX]) {
        size_t n = 0;

        if (change_role_keys(c, name, &ret[n].keys, &ret[n].role) == 0) {
                ret[n].before = false;
                ret[n++].required = true;
        }
        if (c->repository && repository_role_keys(c->repository, name, &ret[n].keys, &ret[n].role) == 0) {
                ret[n].before = true;
                /* Section 5.3.4: the next root is signed by the one before it as well. */
                ret[n++].required = streq(name, "root");
        }
        return n;
}

bool change_role_complete(const Change *c, const ChangeRole *role) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        SignerGroup groups[SIGNER_GROUPS_MAX];
        size_t n = change_signers(c, role->name, groups);

        if (n == 0 || change_role_parse(role, &m, NULL) < 0)
                return false;
        for (size_t i = 0; i < n; i++)
                if (groups[i].required && tuf_verify(m, groups[i].keys, groups[i].role, role->name, NULL) < 0)
                        return false;
        return true;
}

/* ---- signing ---- */

static bool has_signature(const ChangeRole *role, const char *key_id) {
        const json_t *item;
        size_t i;

        json_array_foreach (role->signatures, i, item)
                if (streq_ptr(json_string_value(json_object_get(item, "keyid")), key_id))
                        return true;
        return false;
}

static void remember_name(json_t *names, const char *key_id, const RepoKey *key) {
        const char *file = path_basename(key->file);
        _cleanup_free_ char *stem = xstrndup(file, strcspn(file, "."));

        json_object_set_new(names, key_id, json_string(stem));
}

static int sign_with(ChangeRole *role, const RepoKeys *keys, const RepoKey *own, const TufKey *key, Error *reterr) {
        _cleanup_buffer_ Buffer canonical = {};
        _cleanup_free_ void *signature = NULL;
        _cleanup_free_ char *hex = NULL;
        const PrivateKey *private_key;
        size_t size;
        int r;

        r = tuf_canonical_encode(role->signed_part, &canonical, reterr);
        if (r >= 0)
                r = repo_key_open(keys, own, &private_key, reterr);
        if (r >= 0)
                r = tuf_sign(private_key, key, canonical.data, canonical.size, &signature, &size, reterr);
        if (r < 0)
                return error_prefix(reterr, "signing %s with %s", role->name, own->file);
        hex = hex_encode(signature, size);
        json_array_append_new(role->signatures, json_pack("{s:s, s:s}", "keyid", tuf_key_id(key), "sig", hex));
        return 0;
}

int change_role_sign(ChangeRole *role, const SignerGroup *groups, size_t n_groups, const RepoKeys *keys, json_t *names,
                     size_t *ret_able, Error *reterr) {
        size_t n_able = 0;

        for (size_t i = 0; i < n_groups; i++)
                STRV_FOREACH (id, groups[i].role->key_ids) {
                        const TufKey *key = tuf_keys_find(groups[i].keys, *id);
                        const RepoKey *own = key ? repo_keys_find_same(keys, key) : NULL;
                        int r;

                        if (!own)
                                continue;
                        remember_name(names, *id, own);
                        n_able += !!own->private_source;
                        if (!own->private_source || has_signature(role, *id))
                                continue;
                        r = sign_with(role, keys, own, key, reterr);
                        if (r < 0)
                                return r;
                }
        if (ret_able)
                *ret_able = n_able;
        return 0;
}

static int sign_role(Change *c, ChangeRole *role, const RepoKeys *keys, Error *reterr) {
        SignerGroup groups[SIGNER_GROUPS_MAX];
        size_t n = change_signers(c, role->name, groups);

        return change_role_sign(role, groups, n, keys, c->key_names, NULL, reterr);
}

/* ---- snapshot and timestamp ---- */

/* Length and hash are those of a document with all its signatures. One that is still to be signed elsewhere is named by
 * its version alone, which is enough for clients (section 4.4), and so everything can be signed at the same time. */
static json_t *meta_entry(const ChangeRole *role, bool exact) {
        _cleanup_free_ char *text = change_role_text(role), *hex = NULL;
        json_t *o = json_pack("{s:O}", "version", json_object_get(role->signed_part, "version"));
        Sha256 hash;

        if (!exact)
                return o;
        sha256_buffer(text, strlen(text), &hash);
        hex = sha256_hex(&hash);
        json_object_set_new(o, "length", json_integer((json_int_t) strlen(text)));
        json_object_set_new(o, "hashes", json_pack("{s:s}", "sha256", hex));
        return o;
}

/* Entries of documents that are not part of the change stay as they are (section 5.5.5: none may vanish). */
static void fill_snapshot(Change *c) {
        json_t *meta = json_object_get(change_edit(c, "snapshot"), "meta");

        for (size_t i = 0; i < c->n_roles; i++) {
                const ChangeRole *role = c->roles[i];
                _cleanup_free_ char *file = tuf_role_file_name(role->name);

                if (repository_role_type(role->name) == TUF_TARGETS)
                        json_object_set_new(meta, file, meta_entry(role, change_role_complete(c, role)));
        }
}

static json_t *current_snapshot_entry(const Repository *r) {
        _cleanup_free_ char *hex = sha256_hex(&r->snapshot_sha256);

        return json_pack("{s:I, s:I, s:{s:s}}", "version", (json_int_t) r->snapshot->version, "length",
                         (json_int_t) r->snapshot_size, "hashes", "sha256", hex);
}

static void fill_timestamp(Change *c) {
        json_t *meta = json_object_get(change_edit(c, "timestamp"), "meta");
        const ChangeRole *snapshot = change_find(c, "snapshot");

        json_object_set_new(meta, "snapshot.json",
                            snapshot ? meta_entry(snapshot, change_role_complete(c, snapshot))
                                     : current_snapshot_entry(c->repository));
}

static bool keys_reach(const Change *c, const RepoKeys *keys, const char *name) {
        const TufKeys *known;
        const TufRole *role;
        size_t n = 0;

        if (change_role_keys(c, name, &known, &role) != 0)
                return false;
        STRV_FOREACH (id, role->key_ids) {
                const TufKey *key = tuf_keys_find(known, *id);
                const RepoKey *own = key ? repo_keys_find_same(keys, key) : NULL;

                n += own && own->private_source;
        }
        return n >= role->threshold;
}

static bool content_complete(const Change *c) {
        for (size_t i = 0; i < c->n_roles; i++)
                if (repository_role_type(c->roles[i]->name) == TUF_TARGETS && !change_role_complete(c, c->roles[i]))
                        return false;
        return true;
}

/* When the keys of snapshot and timestamp are here, these two are made at the very end, when everything below them is
 * complete (at import, if that was signed elsewhere): with hashes, and fresh. Signatures that came by import are kept.
 */
static int sign_above(Change *c, const RepoKeys *keys, Error *reterr) {
        ChangeRole *snapshot = change_find(c, "snapshot"), *timestamp = change_find(c, "timestamp");
        int r = 0;

        if (snapshot && json_array_size(snapshot->signatures) == 0) {
                if (!content_complete(c) && c->can_finish)
                        return 0;
                fill_snapshot(c);
        }
        if (snapshot)
                r = sign_role(c, snapshot, keys, reterr);
        if (r < 0)
                return r;
        if (timestamp && json_array_size(timestamp->signatures) == 0)
                fill_timestamp(c);
        return timestamp ? sign_role(c, timestamp, keys, reterr) : 0;
}

int change_sign(Change *c, const RepoKeys *keys, Error *reterr) {
        int r;

        r = change_settle(c, reterr);
        if (r < 0)
                return r;
        c->can_finish = keys_reach(c, keys, "snapshot") && keys_reach(c, keys, "timestamp");
        for (size_t i = 0; i < c->n_roles; i++) {
                ChangeRole *role = c->roles[i];

                if (streq(role->name, "snapshot") || streq(role->name, "timestamp"))
                        continue;
                r = sign_role(c, role, keys, reterr);
                if (r < 0)
                        return r;
        }
        r = sign_above(c, keys, reterr);
        if (r < 0)
                return r;
        c->settled = true;
        return 0;
}

/* ---- what is missing ---- */

static char *wanted_keys(const TufMetadata *m, const SignerGroup *g, const json_t *names) {
        _cleanup_strv_free_ char **wanted = NULL;

        STRV_FOREACH (id, g->role->key_ids) {
                char *one[] = { *id, NULL };
                const TufRole alone = { .key_ids = one, .threshold = 1 };
                const char *name = json_string_value(json_object_get(names, *id));

                if (tuf_count_signatures(m, g->keys, &alone) > 0)
                        continue;
                if (name)
                        strv_extendf(&wanted, "%.16s (%s)", *id, name);
                else
                        strv_extendf(&wanted, "%.16s", *id);
        }
        return wanted ? strv_join(wanted, ", ") : xstrdup("none");
}

static bool same_group(const SignerGroup *a, const SignerGroup *b) {
        bool same = a->role->threshold == b->role->threshold &&
                    strv_length(a->role->key_ids) == strv_length(b->role->key_ids);

        STRV_FOREACH (id, a->role->key_ids)
                same = same && strv_contains(b->role->key_ids, *id);
        return same;
}

void change_role_missing(const ChangeRole *role, const SignerGroup *groups, size_t n_groups, const json_t *names,
                         char ***missing) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_error_ Error e = {};

        if (change_role_parse(role, &m, &e) < 0) {
                strv_extendf(missing, "%s: %s", role->name, e.message);
                return;
        }
        for (size_t i = 0; i < n_groups; i++) {
                const SignerGroup *g = &groups[i];
                _cleanup_free_ char *wanted = NULL;
                size_t count;

                if (!g->required || (i > 0 && same_group(g, &groups[0])))
                        continue;
                count = tuf_count_signatures(m, g->keys, g->role);
                if (count >= g->role->threshold)
                        continue;
                wanted = wanted_keys(m, g, names);
                strv_extendf(missing, "%s: %zu of %zu signatures%s, wanted: %s", role->name, count, g->role->threshold,
                             g->before ? " by the keys that it had until now" : "", wanted);
        }
        if (n_groups == 0)
                strv_extendf(missing, "%s: no keys are known for it", role->name);
}

static void missing_of_role(const Change *c, const ChangeRole *role, char ***missing) {
        SignerGroup groups[SIGNER_GROUPS_MAX];
        size_t n = change_signers(c, role->name, groups);

        change_role_missing(role, groups, n, c->key_names, missing);
}

char **change_missing(const Change *c) {
        char **missing = NULL;

        if (!c->settled) {
                strv_extend(&missing, "nothing was signed yet");
                return missing;
        }
        for (size_t i = 0; i < c->n_roles; i++) {
                const char *name = c->roles[i]->name;

                /* These follow by themselves as soon as the rest is complete. */
                if (c->can_finish && !content_complete(c) && (streq(name, "snapshot") || streq(name, "timestamp")))
                        continue;
                missing_of_role(c, c->roles[i], &missing);
        }
        return missing;
}
