/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "change-internal.h"
#include "channel.h"
#include "log.h"

/* ---- beginning and end ---- */

static int begin(Storage *storage, int64_t now, Change **ret, Error *reterr) {
        Change *c;
        int r;

        r = storage_lock(storage, reterr);
        if (r < 0)
                return r;
        c = xnew(Change, 1);
        c->storage = storage;
        c->now = now;
        c->key_names = json_object();
        *ret = c;
        return 0;
}

int change_begin(Storage *storage, int64_t now, Change **ret, Error *reterr) {
        _cleanup_(change_freep) Change *c = NULL;
        int r;

        r = begin(storage, now, &c, reterr);
        if (r >= 0)
                r = repository_open(storage, NULL, 0, &c->repository, reterr);
        if (r < 0)
                return r;
        if (c->repository->interrupted)
                log_warning("A change of keys was interrupted here; this change finishes it.");
        *ret = TAKE_PTR(c);
        return 0;
}

int change_begin_new(Storage *storage, int64_t now, Change **ret, Error *reterr) {
        _cleanup_free_ char *root = repository_metadata_path("root", 1);
        _cleanup_(change_freep) Change *c = NULL;
        uint64_t size;
        int r;

        r = begin(storage, now, &c, reterr);
        if (r >= 0)
                r = storage_size(storage, root, &size, reterr);
        if (r < 0)
                return r;
        /* The first root is written last: without it there is nothing that anybody could have trusted. */
        if (r == 0) {
                error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s holds a repository already", storage_name(storage));
                return error_hint(reterr, "sealab repo status %s shows it.", storage_name(storage));
        }
        *ret = TAKE_PTR(c);
        return 0;
}

ChangeRole *change_role_free(ChangeRole *role) {
        if (role) {
                free(role->name);
                json_decref(role->signed_part);
                json_decref(role->signatures);
                free(role);
        }
        return NULL;
}

Change *change_free(Change *c) {
        if (c) {
                storage_unlock(c->storage);
                for (size_t i = 0; i < c->n_roles; i++)
                        change_role_free(c->roles[i]);
                free(c->roles);
                for (size_t i = 0; i < c->n_files; i++) {
                        free(c->files[i].path);
                        safe_close(c->files[i].fd);
                }
                free(c->files);
                tuf_metadata_free(c->new_root);
                tuf_metadata_free(c->new_targets);
                json_decref(c->key_names);
                repository_free(c->repository);
                free(c);
        }
        return NULL;
}

const Repository *change_repository(const Change *c) {
        return c->repository;
}

/* ---- editing ---- */

ChangeRole *change_find(const Change *c, const char *name) {
        for (size_t i = 0; i < c->n_roles; i++)
                if (streq(c->roles[i]->name, name))
                        return c->roles[i];
        return NULL;
}

static json_t *new_root_part(void) {
        json_t *roles = json_object(), *o;

        for (TufType t = 0; t < _TUF_TYPE_MAX; t++)
                json_object_set_new(roles, tuf_type_name(t), json_pack("{s:[], s:i}", "keyids", "threshold", 1));
        o = json_pack("{s:b, s:{}, s:o}", "consistent_snapshot", 1, "keys", "roles", roles);
        json_object_set_new(o, "sealab-expiry", repository_expiry_to_json(&REPOSITORY_EXPIRY_DEFAULT));
        return o;
}

/* The first version of a role: everything that section 4 asks for, and nothing in it yet. */
static json_t *new_part(const char *name) {
        TufType type = repository_role_type(name);
        json_t *o;

        if (type == TUF_ROOT)
                o = new_root_part();
        else
                o = json_pack("{s:{}}", type == TUF_TARGETS ? "targets" : "meta");
        if (type == TUF_TARGETS && !streq(name, tuf_type_name(type)))
                json_object_set_new(o, CHANNEL_MEMBER, json_string(name));
        json_object_set_new(o, "_type", json_string(tuf_type_name(type)));
        json_object_set_new(o, "spec_version", json_string(SPEC_VERSION));
        json_object_set_new(o, "version", json_integer(0));
        return o;
}

static void set_expiry(Change *c, ChangeRole *role) {
        const ChangeRole *root = change_find(c, "root");
        RepositoryExpiry expiry = root ? repository_expiry_of(root->signed_part) : repository_expiry(c->repository);
        _cleanup_free_ char *time = tuf_format_time(c->now + (int64_t) *repository_expiry_member(&expiry, role->name));

        json_object_set_new(role->signed_part, "expires", json_string(time));
}

static ChangeRole *append_role(Change *c, const char *name, json_t *signed_part, json_t *signatures) {
        ChangeRole *role = xnew(ChangeRole, 1);

        role->name = xstrdup(name);
        role->signed_part = signed_part;
        role->signatures = signatures;
        GROW(c->roles, c->n_roles, c->n_roles_allocated);
        c->roles[c->n_roles++] = role;
        return role;
}

void change_put(Change *c, const char *name, json_t *signed_part, json_t *signatures) {
        (void) append_role(c, name, json_incref(signed_part), json_incref(signatures));
        c->settled = false;
}

static ChangeRole *add_role(Change *c, const char *name) {
        const TufMetadata *old = c->repository ? repository_role(c->repository, name) : NULL;
        json_t *part = old ? json_deep_copy(json_object_get(old->document, "signed")) : new_part(name);
        json_int_t version = json_integer_value(json_object_get(part, "version"));

        json_object_set_new(part, "version", json_integer(version + 1));
        return append_role(c, name, part, json_array());
}

json_t *change_edit(Change *c, const char *name) {
        ChangeRole *role = change_find(c, name) ?: add_role(c, name);

        /* Whatever was signed is about to become something else. */
        json_array_clear(role->signatures);
        c->settled = false;
        if (c->repository || change_find(c, "root"))
                set_expiry(c, role);
        return role->signed_part;
}

bool change_is_empty(const Change *c) {
        return c->n_roles == 0;
}

void change_add_file(Change *c, const char *target_path, const Sha256 *sha256, int fd, uint64_t size) {
        const TufHashes hashes = { .has_sha256 = true, .sha256 = *sha256 };

        GROW(c->files, c->n_files, c->n_files_allocated);
        c->files[c->n_files++] =
                (ChangeFile){ .path = repository_target_path(target_path, &hashes), .fd = fd, .size = size };
}

/* ---- documents ---- */

char *change_role_text(const ChangeRole *role) {
        _cleanup_json_ json_t *o = json_pack("{s:O, s:O}", "signatures", role->signatures, "signed", role->signed_part);

        return json_format_line(o);
}

int change_role_parse(const ChangeRole *role, TufMetadata **ret, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_free_ char *text = change_role_text(role);
        int r;

        r = tuf_metadata_parse(repository_role_type(role->name), text, strlen(text), role->name, &m, reterr);
        if (r >= 0)
                r = tuf_metadata_decode(m, role->name, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

const TufMetadata *change_root(const Change *c) {
        return c->new_root ?: c->repository->root;
}

const TufMetadata *change_targets(const Change *c) {
        return c->new_targets ?: c->repository->targets;
}

int change_role_keys(const Change *c, const char *name, const TufKeys **ret_keys, const TufRole **ret_role) {
        const Repository after = { .root = (TufMetadata *) change_root(c),
                                   .targets = (TufMetadata *) change_targets(c) };

        return repository_role_keys(&after, name, ret_keys, ret_role);
}

/* ---- what follows from what ---- */

static bool holds(const TufMetadata *m, const Change *c, const char *name) {
        const TufKeys *keys;
        const TufRole *role;

        return change_role_keys(c, name, &keys, &role) == 0 && tuf_verify(m, keys, role, name, NULL) >= 0;
}

static int refresh_view(const Change *c, const char *name, TufMetadata **view, Error *reterr) {
        const ChangeRole *role = change_find(c, name);

        *view = tuf_metadata_free(*view);
        return role ? change_role_parse(role, view, reterr) : 0;
}

/* Metadata that its role's keys no longer vouch for is signed again, under its next version. */
static void settle_channels(Change *c) {
        const TufMetadata *targets = change_targets(c);

        for (size_t i = 0; i < targets->n_delegations; i++) {
                const char *name = targets->delegations[i].name;
                const TufMetadata *old = c->repository ? repository_role(c->repository, name) : NULL;

                if (!change_find(c, name) && !(old && holds(old, c, name)))
                        (void) change_edit(c, name);
        }
}

static bool changes_content(const Change *c) {
        for (size_t i = 0; i < c->n_roles; i++)
                if (repository_role_type(c->roles[i]->name) == TUF_TARGETS)
                        return true;
        return false;
}

int change_settle(Change *c, Error *reterr) {
        const Repository *old = c->repository;
        int r;

        if (!old && !change_find(c, "root"))
                return error_set(reterr, EINVAL, REFUSAL_BAD_FORMAT, "a new repository without a root");
        r = refresh_view(c, "root", &c->new_root, reterr);
        if (r < 0)
                return r;
        if (!change_find(c, "targets") && !(old && holds(old->targets, c, "targets")))
                (void) change_edit(c, "targets");
        r = refresh_view(c, "targets", &c->new_targets, reterr);
        if (r < 0)
                return r;
        settle_channels(c);
        if (!change_find(c, "snapshot") && (changes_content(c) || !holds(old->snapshot, c, "snapshot")))
                (void) change_edit(c, "snapshot");
        if (!change_find(c, "timestamp") &&
            (change_find(c, "snapshot") || old->interrupted || !holds(old->timestamp, c, "timestamp")))
                (void) change_edit(c, "timestamp");
        c->settled = true;
        return 0;
}
