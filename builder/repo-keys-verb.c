/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "sealab repo keys ...": who may sign what. */

#include "change-keys.h"
#include "io.h"
#include "log.h"
#include "repo-status.h"
#include "repo-verb.h"

int repo_verb_keys_show(const char *place, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_(repository_freep) Repository *repository = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_json_ json_t *roles = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = repo_keys_load(opt->keys, &keys, reterr);
        if (r >= 0)
                r = storage_open(place, false, &storage, reterr);
        if (r >= 0)
                r = repository_open(storage, NULL, 0, &repository, reterr);
        if (r < 0)
                return r;
        roles = repo_status_keys(repository, keys);
        text = opt->json ? json_format(roles, false) : repo_status_format_keys(roles);
        fputs(text, stdout);
        return 0;
}

static const char *key_type(const RepoVerbOptions *opt) {
        return opt->type ?: "ed25519";
}

static int check_type(const RepoVerbOptions *opt, Error *reterr) {
        if (streq(key_type(opt), "ed25519") || streq(key_type(opt), "ecdsa") || streq(key_type(opt), "rsa"))
                return 0;
        error_set(reterr, EINVAL, REFUSAL_USAGE, "--type %s is not known", opt->type);
        return error_hint(reterr, "There are ed25519, ecdsa (P-256) and rsa (3072 bits).");
}

int repo_verb_keys_generate(const char *folder, const RepoVerbOptions *opt, Error *reterr) {
        uint64_t n_root = opt->root_keys > 0 ? opt->root_keys : 1;
        int r;

        r = check_type(opt, reterr);
        if (r >= 0)
                r = repo_keys_generate(folder, key_type(opt), (unsigned) MIN(n_root, (uint64_t) TUF_ROLE_KEYS_MAX + 1),
                                       reterr);
        if (r < 0)
                return r;
        if (r > 0)
                log_info("Nothing to do: %s has a key for every role.", folder);
        else
                log_info("%s holds the keys of a repository now. root and targets belong elsewhere before anybody "
                         "relies "
                         "on them: keys/README.md says how. Next: sealab repo init REPO --keys %s",
                         folder, folder);
        return 0;
}

/* ---- which key is meant ---- */

static int open_change(const char *place, const char *role, Storage **ret_storage, Change **ret,
                       const TufKeys **ret_keys, const TufRole **ret_role, Error *reterr) {
        int r;

        r = storage_open(place, false, ret_storage, reterr);
        if (r >= 0)
                r = change_begin(*ret_storage, repo_verb_now(), ret, reterr);
        if (r < 0)
                return r;
        if (repository_role_keys(change_repository(*ret), role, ret_keys, ret_role) == 0)
                return 0;
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no role %s", place, role);
        return error_hint(reterr, "\"sealab repo status %s\" names them.", place);
}

static const char *id_of_same(const TufKeys *keys, const TufRole *role, const TufKey *key) {
        STRV_FOREACH (id, role->key_ids) {
                const TufKey *known = tuf_keys_find(keys, *id);

                if (known && tuf_key_same(known, key))
                        return *id;
        }
        return NULL;
}

/* The beginning of an id, or a public key's file. */
static int find_key(const TufKeys *keys, const TufRole *role, const char *name, const char *word, const char **ret,
                    Error *reterr) {
        _cleanup_(tuf_key_freep) TufKey *key = NULL;
        const char *found = NULL;
        size_t n = 0;
        int r;

        if (io_exists(AT_FDCWD, word)) {
                r = tuf_key_from_pem_file(word, &key, reterr);
                if (r < 0)
                        return r;
                found = id_of_same(keys, role, key);
                n = !!found;
        } else
                STRV_FOREACH (id, role->key_ids)
                        if (strlen(word) >= 4 && startswith(*id, word)) {
                                found = *id;
                                n++;
                        }
        if (n == 1) {
                *ret = found;
                return 0;
        }
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND,
                  n > 1 ? "%s has several keys that begin with %s" : "%s has no key %s", name, word);
        return error_hint(reterr, "Name a public key's file, or at least four digits of an id that \"sealab repo keys "
                                  "show\" lists.");
}

static bool is_known(const TufKey *key, void *data) {
        const void **known = data;

        return id_of_same(known[0], known[1], key);
}

static int new_key_for(const RepoVerbOptions *opt, const char *role, const TufKeys *keys, const TufRole *of_role,
                       TufKey **ret, Error *reterr) {
        _cleanup_free_ char *file_role = repository_role_type(role) == TUF_TARGETS && !streq(role, "targets")
                                                 ? xasprintf("channel-%s", role)
                                                 : xstrdup(role);
        const void *known[] = { keys, of_role };

        if (!opt->keys) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "which key is to be the new one?");
                return error_hint(reterr, "Name its public part (ROLE-2.pub), or with --keys the folder in which a new "
                                          "one is to be made.");
        }
        return repo_keys_next(opt->keys, file_role, key_type(opt), is_known, known, ret, reterr);
}

/* ---- verbs ---- */

static int finish_or_nothing(Change *c, bool nothing, const RepoVerbOptions *opt, const char *said, Error *reterr) {
        if (nothing && change_is_empty(c) && !change_repository(c)->interrupted) {
                log_info("Nothing to do: that is how it is already.");
                return 0;
        }
        return repo_verb_finish(c, opt, said, reterr);
}

static int old_key_of(const RepoVerbOptions *opt, const char *role, const TufKeys *keys, const TufRole *of_role,
                      const char **ret, Error *reterr) {
        if (opt->replace)
                return find_key(keys, of_role, role, opt->replace, ret, reterr);
        if (strv_length(of_role->key_ids) == 1) {
                *ret = of_role->key_ids[0];
                return 0;
        }
        error_set(reterr, EINVAL, REFUSAL_USAGE, "%s has %zu keys: which one is to be replaced?", role,
                  strv_length(of_role->key_ids));
        return error_hint(reterr, "Name it with --replace KEY, a public key's file or the beginning of an id that "
                                  "\"sealab repo keys show\" lists.");
}

int repo_verb_keys_rotate(const char *place, const char *role, const char *new_key, const RepoVerbOptions *opt,
                          Error *reterr) {
        _cleanup_free_ char *said = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_(tuf_key_freep) TufKey *key = NULL;
        const TufKeys *keys;
        const TufRole *of_role;
        const char *old = NULL;
        int r;

        r = check_type(opt, reterr);
        if (r >= 0)
                r = open_change(place, role, &storage, &c, &keys, &of_role, reterr);
        if (r >= 0 && new_key)
                r = tuf_key_from_pem_file(new_key, &key, reterr);
        if (r < 0)
                return r;
        /* The same command again after it was interrupted, or after it was not. */
        if (key && id_of_same(keys, of_role, key))
                return finish_or_nothing(c, true, opt, "Done.", reterr);
        r = old_key_of(opt, role, keys, of_role, &old, reterr);
        if (r >= 0 && !key)
                r = new_key_for(opt, role, keys, of_role, &key, reterr);
        if (r >= 0)
                r = change_key_replace(c, role, old, key, reterr);
        if (r < 0)
                return r;
        said = xasprintf("%s is signed by %.16s from now on, no longer by %.16s: the private part of that can be "
                         "destroyed.",
                         role, tuf_key_id(key), old);
        return repo_verb_finish(c, opt, said, reterr);
}

int repo_verb_keys_add(const char *place, const char *role, const char *key_file, const RepoVerbOptions *opt,
                       Error *reterr) {
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_(tuf_key_freep) TufKey *key = NULL;
        const TufKeys *keys;
        const TufRole *of_role;
        bool is_there;
        int r = 0;

        if (!key_file && opt->threshold == 0) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "which key is to be added to %s?", role);
                return error_hint(reterr, "Name its public part (PUBKEY.pub), or only a new threshold: --threshold N.");
        }
        if (key_file)
                r = tuf_key_from_pem_file(key_file, &key, reterr);
        if (r >= 0)
                r = open_change(place, role, &storage, &c, &keys, &of_role, reterr);
        if (r < 0)
                return r;
        is_there = !key || id_of_same(keys, of_role, key);
        if (!is_there)
                r = change_key_add(c, role, key, reterr);
        if (r >= 0 && opt->threshold > 0 && opt->threshold != of_role->threshold)
                r = change_key_threshold(c, role, opt->threshold, reterr);
        return r < 0 ? r : finish_or_nothing(c, true, opt, "Who signs what has changed.", reterr);
}

int repo_verb_keys_remove(const char *place, const char *role, const char *word, const RepoVerbOptions *opt,
                          Error *reterr) {
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        const TufKeys *keys;
        const TufRole *of_role;
        const char *id = NULL;
        int r;

        r = open_change(place, role, &storage, &c, &keys, &of_role, reterr);
        if (r >= 0)
                r = find_key(keys, of_role, role, word, &id, reterr);
        if (r >= 0 && opt->threshold > 0)
                r = change_key_threshold(c, role, opt->threshold, reterr);
        if (r >= 0)
                r = change_key_remove(c, role, id, reterr);
        return r < 0 ? r : repo_verb_finish(c, opt, "Who signs what has changed.", reterr);
}
