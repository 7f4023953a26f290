/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "change-keys.h"
#include "change-internal.h"

typedef struct Place {
        json_t *keys;   /* id -> key, shared by all roles of the document */
        json_t *role;   /* "keyids", "threshold" */
        json_t *others; /* all roles that share the keys: an object or an array */
} Place;

static int find_place(Change *c, const char *name, Place *ret, Error *reterr) {
        const TufKeys *known;
        const TufRole *known_role;
        json_t *part, *item;
        size_t i;

        if (!change_find(c, "root") && !change_find(c, "targets") &&
            (!c->repository || repository_role_keys(c->repository, name, &known, &known_role) != 0)) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no role %s", storage_name(c->storage), name);
                return error_hint(reterr,
                                  "Roles are root, targets, snapshot, timestamp and the channels; \"sealab repo "
                                  "status\" names them.");
        }
        if (streq(name, tuf_type_name(repository_role_type(name)))) {
                part = change_edit(c, "root");
                *ret = (Place){ .keys = json_object_get(part, "keys"), .others = json_object_get(part, "roles") };
                ret->role = json_object_get(ret->others, name);
        } else {
                part = json_object_get(change_edit(c, "targets"), "delegations");
                *ret = (Place){ .keys = json_object_get(part, "keys"), .others = json_object_get(part, "roles") };
                json_array_foreach (ret->others, i, item)
                        if (streq_ptr(json_string_value(json_object_get(item, "name")), name))
                                ret->role = item;
        }
        if (!ret->role)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no role %s", storage_name(c->storage),
                                 name);
        return 0;
}

static ssize_t find_id(const json_t *role, const char *id) {
        const json_t *item;
        size_t i;

        json_array_foreach (json_object_get(role, "keyids"), i, item)
                if (streq_ptr(json_string_value(item), id))
                        return (ssize_t) i;
        return -1;
}

static bool is_used(const Place *p, const char *id) {
        const char *name;
        json_t *item;
        size_t i;

        json_array_foreach (p->others, i, item)
                if (find_id(item, id) >= 0)
                        return true;
        json_object_foreach (p->others, name, item)
                if (find_id(item, id) >= 0)
                        return true;
        return false;
}

/* The id under which the role has this key already, whoever computed it; NULL: it has not. */
static const char *id_of_same(const Place *p, const TufKey *key) {
        const json_t *item;
        size_t i;

        json_array_foreach (json_object_get(p->role, "keyids"), i, item) {
                const char *id = json_string_value(item);
                _cleanup_(tuf_key_freep) TufKey *known = NULL;

                if (id && tuf_key_parse(id, json_object_get(p->keys, id), &known, NULL) >= 0 &&
                    tuf_key_same(known, key))
                        return id;
        }
        return NULL;
}

static size_t n_keys(const Place *p) {
        return json_array_size(json_object_get(p->role, "keyids"));
}

static size_t threshold_of(const Place *p) {
        return (size_t) json_integer_value(json_object_get(p->role, "threshold"));
}

static void put_key(const Place *p, const TufKey *key) {
        json_object_set(p->keys, tuf_key_id(key), (json_t *) tuf_key_object(key));
        json_array_append_new(json_object_get(p->role, "keyids"), json_string(tuf_key_id(key)));
}

static void drop_key(const Place *p, ssize_t index, const char *id) {
        json_array_remove(json_object_get(p->role, "keyids"), (size_t) index);
        if (!is_used(p, id))
                json_object_del(p->keys, id);
}

int change_key_add(Change *c, const char *role, const TufKey *key, Error *reterr) {
        Place p;
        int r;

        r = find_place(c, role, &p, reterr);
        if (r < 0)
                return r;
        if (id_of_same(&p, key))
                return error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s has the key %.16s already", role, tuf_key_id(key));
        if (n_keys(&p) >= TUF_ROLE_KEYS_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "%s has %d keys, more are not possible", role,
                                 TUF_ROLE_KEYS_MAX);
        put_key(&p, key);
        return 0;
}

static int no_such_key(const char *role, const char *id, Error *reterr) {
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no key %.16s", role, id);
        return error_hint(reterr, "\"sealab repo keys show REPO\" lists who signs what.");
}

int change_key_remove(Change *c, const char *role, const char *key_id, Error *reterr) {
        ssize_t index;
        Place p;
        int r;

        r = find_place(c, role, &p, reterr);
        if (r < 0)
                return r;
        index = find_id(p.role, key_id);
        if (index < 0)
                return no_such_key(role, key_id, reterr);
        if (n_keys(&p) - 1 < MAX(threshold_of(&p), (size_t) 1)) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                          "without the key %.16s, %s has %zu keys left and needs %zu signatures", key_id, role,
                          n_keys(&p) - 1, threshold_of(&p));
                return error_hint(reterr, "Add another key first, rotate this one, or lower the threshold with "
                                          "--threshold.");
        }
        drop_key(&p, index, key_id);
        return 0;
}

int change_key_replace(Change *c, const char *role, const char *old_id, const TufKey *key, Error *reterr) {
        ssize_t index;
        Place p;
        int r;

        r = find_place(c, role, &p, reterr);
        if (r < 0)
                return r;
        index = find_id(p.role, old_id);
        if (index < 0)
                return no_such_key(role, old_id, reterr);
        if (id_of_same(&p, key))
                return error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s has the key %.16s already", role, tuf_key_id(key));
        drop_key(&p, index, old_id);
        put_key(&p, key);
        return 0;
}

int change_key_threshold(Change *c, const char *role, size_t threshold, Error *reterr) {
        Place p;
        int r;

        r = find_place(c, role, &p, reterr);
        if (r < 0)
                return r;
        if (threshold < 1 || threshold > n_keys(&p)) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s has %zu keys: a threshold of %zu is not possible",
                          role, n_keys(&p), threshold);
                return error_hint(reterr, "Keys are added with: sealab repo keys add REPO %s PUBKEY.pub", role);
        }
        json_object_set_new(p.role, "threshold", json_integer((json_int_t) threshold));
        return 0;
}

/* ---- channels ---- */

static int channel_keys(const RepoKeys *keys, const char *name, const RepoKey ***ret, size_t *ret_n, Error *reterr) {
        _cleanup_free_ char *own = xasprintf("channel-%s", name);

        *ret_n = repo_keys_of_role(keys, own, ret);
        if (*ret_n == 0) {
                free(*ret);
                *ret_n = repo_keys_of_role(keys, "channel", ret);
        }
        if (*ret_n > 0)
                return 0;
        free(*ret);
        error_set(reterr, ENOKEY, REFUSAL_KEY, "%s has no key for the channel %s", keys->folder ?: "no key folder",
                  name);
        return error_hint(reterr,
                          "Put %s.pub or channel.pub there (the public part is enough), or make keys: sealab repo keys "
                          "generate %s",
                          own, keys->folder ?: "KEYS");
}

int change_add_channel(Change *c, const char *name, const RepoKeys *keys, size_t threshold, Error *reterr) {
        _cleanup_free_ const RepoKey **of_channel = NULL;
        json_t *targets, *delegations, *role;
        Place p;
        size_t n, i;
        int r;

        r = repo_channel_name_check(name, reterr);
        if (r >= 0)
                r = channel_keys(keys, name, &of_channel, &n, reterr);
        if (r < 0)
                return r;
        if (threshold < 1 || threshold > n)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "the channel %s would have %zu keys: a threshold of %zu is not possible", name, n,
                                 threshold);
        targets = change_edit(c, "targets");
        delegations = json_object_get(targets, "delegations");
        if (!delegations) {
                delegations = json_pack("{s:{}, s:[]}", "keys", "roles");
                json_object_set_new(targets, "delegations", delegations);
        }
        p = (Place){ .keys = json_object_get(delegations, "keys"), .others = json_object_get(delegations, "roles") };
        json_array_foreach (p.others, i, role)
                if (streq_ptr(json_string_value(json_object_get(role, "name")), name))
                        return error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s has a channel %s already",
                                         storage_name(c->storage), name);
        p.role = json_pack("{s:s, s:[], s:I, s:[s], s:b}", "name", name, "keyids", "threshold", (json_int_t) threshold,
                           "paths", "*/*/*", "terminating", 0);
        json_array_append_new(p.others, p.role);
        for (i = 0; i < n; i++)
                put_key(&p, of_channel[i]->public_key);
        (void) change_edit(c, name);
        return 0;
}
