/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>

#include "io.h"
#include "repo-keys.h"

#define KEY_FILES_MAX 4096
#define URI_FILE_MAX ((size_t) 4 << 10)
#define NUMBER_MAX 9999U

static const char *const top_level_roles[] = { "root", "targets", "snapshot", "timestamp" };

/* ---- names ---- */

/* Where "-12" begins at the end of a name; NULL: it does not end so. */
static const char *number_part(const char *stem) {
        const char *end = stem + strlen(stem), *p = end;

        while (p > stem && p[-1] >= '0' && p[-1] <= '9')
                p--;
        return p < end && p > stem && p[-1] == '-' ? p - 1 : NULL;
}

int repo_channel_name_check(const char *name, Error *reterr) {
        const char *problem = NULL;

        if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z')))
                problem = "it must begin with a letter";
        else if (strlen(name) > REPO_CHANNEL_NAME_MAX)
                problem = "it is longer than 32 characters";
        else if (name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")])
                problem = "it may hold letters, digits and hyphens only";
        else if (number_part(name))
                problem = "it must not end in a hyphen and a number: keys' files are numbered so";
        for (size_t i = 0; i < ELEMENTSOF(top_level_roles); i++)
                if (streq(name, top_level_roles[i]))
                        problem = "that is the name of a role that every repository has";
        if (!problem)
                return 0;
        error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" cannot be the name of a channel: %s", name, problem);
        return error_hint(reterr, "Names like stable, beta, edge or customer-a will do.");
}

/* "root-2.key" -> "root", 2, ".key"; false: not one of ours. */
static bool parse_name(const char *file, char **ret_role, unsigned *ret_number, const char **ret_kind) {
        _cleanup_free_ char *stem = NULL;
        const char *dot = strrchr(file, '.'), *digits;
        uint64_t number = 1;
        bool known = false;

        if (!dot || !(streq(dot, ".key") || streq(dot, ".uri") || streq(dot, ".pub")))
                return false;
        stem = xstrndup(file, (size_t) (dot - file));
        digits = number_part(stem);
        if (digits) {
                if (!parse_u64(digits + 1, &number) || number == 0 || number > NUMBER_MAX)
                        return false;
                stem[digits - stem] = 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(top_level_roles); i++)
                known |= streq(stem, top_level_roles[i]);
        if (!known && !streq(stem, "channel")) {
                const char *channel = startswith(stem, "channel-");

                if (!channel || repo_channel_name_check(channel, NULL) < 0)
                        return false;
        }
        *ret_role = TAKE_PTR(stem);
        *ret_number = (unsigned) number;
        *ret_kind = dot;
        return true;
}

static char *key_stem(const char *role, unsigned number) {
        return number == 1 && !streq(role, "root") ? xstrdup(role) : xasprintf("%s-%u", role, number);
}

/* ---- reading a folder ---- */

static void repo_key_done(RepoKey *k) {
        free(k->file);
        free(k->role);
        free(k->private_source);
        tuf_key_free(k->public_key);
        private_key_free(k->private_key);
}

static int read_uri(const char *path, char **ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        char *uri;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, path, URI_FILE_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        uri = strstrip(text);
        if (!startswith(uri, "pkcs11:") || strchr(uri, '\n')) {
                error_set(reterr, EINVAL, REFUSAL_KEY, "%s does not hold one line with a pkcs11: URI", path);
                return error_hint(reterr, "For example: pkcs11:token=release;object=root?module-path=/usr/lib/...");
        }
        *ret = xstrdup(uri);
        return 0;
}

static int public_part(RepoKey *k, Error *reterr) {
        int r = tuf_signer_load(k->private_source, &k->private_key, reterr);

        return r < 0 ? r : tuf_key_from_private(k->private_key, &k->public_key, reterr);
}

static int load_key(const char *folder, const char *file, const char *kind, RepoKey *k, Error *reterr) {
        _cleanup_free_ char *stem = xstrndup(file, strlen(file) - strlen(kind)), *pub_name = xasprintf("%s.pub", stem),
                            *pub = path_join(folder, pub_name);
        int r;

        k->file = path_join(folder, file);
        if (streq(kind, ".pub"))
                return tuf_key_from_pem_file(k->file, &k->public_key, reterr);
        if (streq(kind, ".key")) {
                /* A file is opened now: its mode and content are checked before anything is changed. */
                k->private_source = xstrdup(k->file);
                return public_part(k, reterr);
        }
        r = read_uri(k->file, &k->private_source, reterr);
        if (r < 0)
                return r;
        /* With the public part in a file the token may stay in its drawer until something is to be signed. */
        return io_exists(AT_FDCWD, pub) ? tuf_key_from_pem_file(pub, &k->public_key, reterr) : public_part(k, reterr);
}

static int list_folder(const char *folder, char ***ret, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;
        DIR *d = opendir(folder);
        struct dirent *entry;
        size_t n = 0;

        if (!d) {
                error_set(reterr, errno, REFUSAL_KEY, "cannot read the key folder %s: %m", folder);
                return error_hint(reterr, "Name the right one with --keys, or make it: sealab repo keys generate %s",
                                  folder);
        }
        while ((entry = readdir(d)))
                if (n++ < KEY_FILES_MAX)
                        strv_extend(&names, entry->d_name);
        closedir(d);
        if (n > KEY_FILES_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "%s has more than %d files: is it a key folder?",
                                 folder, KEY_FILES_MAX);
        if (names)
                strv_sort(names);
        *ret = TAKE_PTR(names);
        return 0;
}

/* Of ROLE.key, ROLE.uri and ROLE.pub the one that says most; a private key in two places is a mistake. */
static int choose(char *const *names, const char *file, const char *kind, bool *ret, Error *reterr) {
        _cleanup_free_ char *stem = xstrndup(file, strlen(file) - strlen(kind)), *key = xasprintf("%s.key", stem),
                            *uri = xasprintf("%s.uri", stem);
        bool has_key = strv_contains(names, key), has_uri = strv_contains(names, uri);

        if (has_key && has_uri) {
                error_set(reterr, EEXIST, REFUSAL_KEY, "the key %s is there twice: %s and %s", stem, key, uri);
                return error_hint(reterr, "Remove the one that is not to be used.");
        }
        *ret = streq(kind, ".pub") ? !has_key && !has_uri : true;
        return 0;
}

int repo_keys_load(const char *folder, RepoKeys **ret, Error *reterr) {
        _cleanup_(repo_keys_freep) RepoKeys *k = xnew(RepoKeys, 1);
        _cleanup_strv_free_ char **names = NULL;
        size_t n_allocated = 0;
        int r;

        if (!folder) {
                *ret = TAKE_PTR(k);
                return 0;
        }
        k->folder = xstrdup(folder);
        r = list_folder(folder, &names, reterr);
        if (r < 0)
                return r;
        STRV_FOREACH (name, names) {
                RepoKey key = {};
                const char *kind;
                bool chosen = false;

                if (!parse_name(*name, &key.role, &key.number, &kind))
                        continue;
                r = choose(names, *name, kind, &chosen, reterr);
                if (r >= 0 && chosen)
                        r = load_key(folder, *name, kind, &key, reterr);
                if (r < 0 || !chosen) {
                        repo_key_done(&key);
                        if (r < 0)
                                return r;
                        continue;
                }
                GROW(k->items, k->n_items, n_allocated);
                k->items[k->n_items++] = key;
        }
        *ret = TAKE_PTR(k);
        return 0;
}

RepoKeys *repo_keys_free(RepoKeys *k) {
        if (k) {
                for (size_t i = 0; i < k->n_items; i++)
                        repo_key_done(k->items + i);
                free(k->items);
                free(k->folder);
                free(k);
        }
        return NULL;
}

/* ---- finding ---- */

const RepoKey *repo_keys_find(const RepoKeys *k, const char *key_id) {
        const RepoKey *found = NULL;

        for (size_t i = 0; i < k->n_items; i++)
                if (streq(tuf_key_id(k->items[i].public_key), key_id) && (!found || !found->private_source))
                        found = k->items + i;
        return found;
}

const RepoKey *repo_keys_find_same(const RepoKeys *k, const TufKey *key) {
        const RepoKey *found = repo_keys_find(k, tuf_key_id(key));

        for (size_t i = 0; i < k->n_items && (!found || !found->private_source); i++)
                if (tuf_key_same(k->items[i].public_key, key))
                        found = k->items + i;
        return found;
}

int repo_key_open(const RepoKeys *k, const RepoKey *key, const PrivateKey **ret, Error *reterr) {
        RepoKey *own = k->items + (key - k->items);
        int r;

        if (!own->private_source)
                return error_set(reterr, ENOKEY, REFUSAL_KEY, "%s is only the public part of a key", own->file);
        if (!own->private_key) {
                r = tuf_signer_load(own->private_source, &own->private_key, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", own->file);
        }
        *ret = own->private_key;
        return 0;
}

static int compare_number(const void *a, const void *b) {
        unsigned x = (*(const RepoKey *const *) a)->number, y = (*(const RepoKey *const *) b)->number;

        return x < y ? -1 : x > y;
}

size_t repo_keys_of_role(const RepoKeys *k, const char *role, const RepoKey ***ret) {
        const RepoKey **found = xnew(const RepoKey *, k->n_items + 1);
        size_t n = 0;

        for (size_t i = 0; i < k->n_items; i++) {
                if (!streq(k->items[i].role, role))
                        continue;
                bool again = false;

                for (size_t j = 0; j < n; j++)
                        again |= tuf_key_same(found[j]->public_key, k->items[i].public_key);
                if (!again)
                        found[n++] = k->items + i;
        }
        if (n > 1)
                qsort(found, n, sizeof(*found), compare_number);
        *ret = found;
        return n;
}

/* ---- making ---- */

static bool folder_has_role(char *const *names, const char *wanted) {
        STRV_FOREACH (name, names) {
                _cleanup_free_ char *role = NULL;
                const char *kind;
                unsigned number;

                if (parse_name(*name, &role, &number, &kind) && streq(role, wanted))
                        return true;
        }
        return false;
}

static int generate_one(const char *folder, const char *role, unsigned number, const char *type, Error *reterr) {
        _cleanup_free_ char *stem = key_stem(role, number), *name = xasprintf("%s.key", stem),
                            *path = path_join(folder, name);

        return tuf_generate_key(type, path, reterr);
}

int repo_keys_generate(const char *folder, const char *type, unsigned n_root, Error *reterr) {
        static const char *const roles[] = { "root", "targets", "snapshot", "timestamp", "channel" };
        _cleanup_strv_free_ char **names = NULL;
        bool any = false;
        int r;

        if (n_root < 1 || n_root > TUF_ROLE_KEYS_MAX)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "%u root keys: 1 to %d are possible", n_root,
                                 TUF_ROLE_KEYS_MAX);
        if (!io_exists(AT_FDCWD, folder)) {
                r = io_mkdir_parents(AT_FDCWD, folder, 0700, reterr);
                if (r < 0)
                        return r;
        }
        r = list_folder(folder, &names, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
                unsigned n = streq(roles[i], "root") ? n_root : 1;

                if (folder_has_role(names, roles[i]))
                        continue;
                for (unsigned number = 1; number <= n; number++) {
                        r = generate_one(folder, roles[i], number, type, reterr);
                        if (r < 0)
                                return r;
                        any = true;
                }
        }
        return any ? 0 : 1;
}

static int highest_number(const char *folder, const char *role, unsigned *ret, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;
        unsigned highest = 0;
        int r;

        r = list_folder(folder, &names, reterr);
        if (r < 0)
                return r;
        STRV_FOREACH (name, names) {
                _cleanup_free_ char *found = NULL;
                const char *kind;
                unsigned number;

                if (parse_name(*name, &found, &number, &kind) && streq(found, role))
                        highest = MAX(highest, number);
        }
        *ret = highest;
        return 0;
}

static int copy_key(const TufKey *key, TufKey **ret, Error *reterr) {
        return tuf_key_parse(tuf_key_id(key), tuf_key_object(key), ret, reterr);
}

int repo_keys_next(const char *folder, const char *role, const char *type, bool (*used)(const TufKey *key, void *data),
                   void *data, TufKey **ret, Error *reterr) {
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_free_ const RepoKey **of_role = NULL;
        _cleanup_(private_key_freep) PrivateKey *made = NULL;
        _cleanup_free_ char *stem = NULL, *name = NULL, *path = NULL;
        const RepoKey *last;
        bool any_used = false;
        unsigned highest;
        size_t n;
        int r;

        r = repo_keys_load(folder, &keys, reterr);
        if (r < 0)
                return r;
        n = repo_keys_of_role(keys, role, &of_role);
        last = n > 0 ? of_role[n - 1] : NULL;
        for (size_t i = 0; i < keys->n_items; i++)
                any_used |= used(keys->items[i].public_key, data);
        if (any_used && last && last->private_source && !used(last->public_key, data))
                return copy_key(last->public_key, ret, reterr);
        r = highest_number(folder, role, &highest, reterr);
        if (r < 0)
                return r;
        /* A role whose keys are all elsewhere has number 1 there. */
        stem = key_stem(role, MAX(highest, 1U) + 1);
        name = xasprintf("%s.key", stem);
        path = path_join(folder, name);
        r = tuf_generate_key(type, path, reterr);
        if (r >= 0)
                r = tuf_signer_load(path, &made, reterr);
        return r < 0 ? r : tuf_key_from_private(made, ret, reterr);
}
