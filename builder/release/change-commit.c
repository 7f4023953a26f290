/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Making a change public.
 *
 * ORDER: every moment between two calls is one in which clients fetch, and one in which this process may die. So a name
 * that clients can learn from anywhere appears only after everything that it leads to:
 *
 *   1. target files              named by nothing yet
 *   2. N.CHANNEL.json            named by nothing yet
 *   3. N.targets.json            delegates to channels, named by nothing yet
 *   4. N.snapshot.json           names 2 and 3, named by nothing yet
 *   5. timestamp.json            names 4: this one call switches all clients from the old state to the new one
 *   6. N.root.json               found by counting
 *
 * All names but the timestamp's carry a version, so that nothing that a client may be fetching is ever replaced. What
 * an interrupted change leaves behind under 2 to 4 has the next version and is named by nothing: the next change gives
 * that version other content.
 *
 * The root comes last because the new metadata is signed by the keys of before as well as by the new ones
 * (change_sign()): it holds under the old root, and under the new one; the metadata of before does not hold under the
 * new one. If the key that is replaced is lost, the new metadata holds under the new root only. Then the root comes
 * directly before the timestamp: clients see an error between the two calls, there is no order without that, and
 * whoever goes on after an interruption finds everything but the timestamp in place and vouched for (repository.c,
 * load_interrupted()). The other way round the keys of what is there would be unknown.
 *
 * A new repository gets its root last: where there is no root, there is no repository, and "repo init" begins again.
 */

#include "change-internal.h"

static int bring_files(const Change *c, Progress *progress, Error *reterr) {
        for (size_t i = 0; i < c->n_files; i++) {
                const ChangeFile *f = c->files + i;
                int r;

                progress_detail(progress, "%s", f->path);
                r = storage_upload(c->storage, f->path, f->fd, f->size, progress, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A release is brought over when it is published or exported; between an export and its import somebody may have tidied
 * up. Looks at the new targets only: the others were there before, and "repo verify" looks at all. */
static int check_targets(const Change *c, const ChangeRole *role, Error *reterr) {
        const TufMetadata *old = c->repository ? repository_role(c->repository, role->name) : NULL;
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        int r;

        r = change_role_parse(role, &m, reterr);
        for (size_t i = 0; r >= 0 && i < m->n_targets; i++) {
                const TufTarget *t = &m->targets[i], *before = old ? tuf_find_target(old, t->path) : NULL;
                _cleanup_free_ char *path = NULL;
                uint64_t size = 0;

                if (before && before->length == t->length && sha256_equal(&before->hashes.sha256, &t->hashes.sha256))
                        continue;
                path = repository_target_path(t->path, &t->hashes);
                r = storage_size(c->storage, path, &size, reterr);
                if (r == 0 && size == t->length)
                        continue;
                if (r >= 0) {
                        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s: %s %s", storage_name(c->storage), path,
                                  r > 0 ? "is not there" : "has another size than the metadata says");
                        r = error_hint(reterr,
                                       "Nothing was published. Publish the release again (with --export, if the "
                                       "keys are elsewhere): that brings its files over.");
                }
        }
        return r < 0 ? r : 0;
}

static int check_role(const Change *c, const ChangeRole *role, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_free_ char *text = change_role_text(role);
        int r;

        if (strlen(text) > repository_role_size_max(role->name)) {
                error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s would have %zu bytes, clients accept %zu", role->name,
                          strlen(text), repository_role_size_max(role->name));
                return error_hint(reterr, "Take old releases out: sealab repo gc REPO --keep N");
        }
        r = change_role_parse(role, &m, reterr);
        if (r < 0)
                return r;
        if (m->expires <= c->now) {
                _cleanup_free_ char *time = tuf_format_time(m->expires);

                error_set(reterr, ESTALE, REFUSAL_EXPIRED, "%s of this change is valid until %s only, which is past",
                          role->name, time);
                return error_hint(reterr, "The ceremony took too long: make the change and its export again.");
        }
        return repository_role_type(role->name) == TUF_TARGETS ? check_targets(c, role, reterr) : 0;
}

static int check_complete(const Change *c, Error *reterr) {
        _cleanup_strv_free_ char **missing = change_missing(c);
        _cleanup_free_ char *list = NULL;

        if (!missing)
                return 0;
        list = strv_join(missing, "\n  ");
        error_set(reterr, ENOKEY, REFUSAL_KEY, "signatures are missing, nothing was published:\n  %s", list);
        return error_hint(
                reterr,
                "Name the folder with these keys (--keys), or let others sign: the same command with --export "
                "FILE, on their machines \"sealab repo sign FILE --keys KEYS -o OUT\", here \"sealab repo "
                "import %s OUT...\".",
                storage_name(c->storage));
}

static int write_role(const Change *c, const ChangeRole *role, Error *reterr) {
        _cleanup_free_ char *text = NULL, *path = NULL;
        uint64_t version;

        if (!role)
                return 0;
        text = change_role_text(role);
        version = (uint64_t) json_integer_value(json_object_get(role->signed_part, "version"));
        path = repository_metadata_path(role->name, version);
        return storage_write(c->storage, path, text, strlen(text),
                             streq(role->name, "timestamp") ? STORAGE_SHORT : STORAGE_IMMUTABLE, reterr);
}

/* Whether a client that knows the old root only can follow the new metadata. */
static bool holds_before(const Change *c) {
        static const char *const names[] = { "timestamp", "snapshot", "targets" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const ChangeRole *role = change_find(c, names[i]);
                _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
                const TufKeys *keys;
                const TufRole *by;

                if (!role)
                        continue;
                if (repository_role_keys(c->repository, names[i], &keys, &by) != 0 ||
                    change_role_parse(role, &m, NULL) < 0 || tuf_verify(m, keys, by, names[i], NULL) < 0)
                        return false;
        }
        return true;
}

static int write_all(const Change *c, Error *reterr) {
        const ChangeRole *root = change_find(c, "root");
        bool root_first = root && c->repository && !holds_before(c);
        int r = 0;

        /* ORDER: see the top of this file. */
        for (size_t i = 0; r >= 0 && i < c->n_roles; i++)
                if (repository_role_type(c->roles[i]->name) == TUF_TARGETS && !streq(c->roles[i]->name, "targets"))
                        r = write_role(c, c->roles[i], reterr);
        if (r >= 0)
                r = write_role(c, change_find(c, "targets"), reterr);
        if (r >= 0)
                r = write_role(c, change_find(c, "snapshot"), reterr);
        if (r >= 0 && root_first)
                r = write_role(c, root, reterr);
        if (r >= 0)
                r = write_role(c, change_find(c, "timestamp"), reterr);
        if (r >= 0 && !root_first)
                r = write_role(c, root, reterr);
        return r;
}

int change_bring_files(const Change *c, Progress *progress, Error *reterr) {
        uint64_t total = 0;
        int r;

        if (c->n_files == 0)
                return 0;
        progress_begin(progress, "upload", "Bringing files over");
        for (size_t i = 0; i < c->n_files; i++)
                total += c->files[i].size;
        progress_total(progress, total);
        r = bring_files(c, progress, reterr);
        progress_end(progress, NULL);
        return r;
}

int change_commit(Change *c, Progress *progress, Error *reterr) {
        int r;

        r = check_complete(c, reterr);
        if (r >= 0)
                r = change_bring_files(c, progress, reterr);
        for (size_t i = 0; r >= 0 && i < c->n_roles; i++)
                r = check_role(c, c->roles[i], reterr);
        return r < 0 ? r : write_all(c, reterr);
}
