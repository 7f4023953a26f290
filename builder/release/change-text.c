/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ceremonies: a change leaves as a document, gets signatures elsewhere, and comes back. */

#include "change-text.h"
#include "io.h"

/* ---- export ---- */

int request_repository_id(Storage *s, char **ret, Error *reterr) {
        _cleanup_free_ char *path = repository_metadata_path("root", 1);
        _cleanup_buffer_ Buffer b = {};
        Sha256 hash;
        int r;

        r = storage_read(s, path, repository_role_size_max("root"), &b, reterr);
        if (r != 0)
                return r;
        sha256_buffer(b.data, b.size, &hash);
        *ret = sha256_hex(&hash);
        return 0;
}

static json_t *group_to_json(const SignerGroup *g) {
        json_t *keys = json_object();

        STRV_FOREACH (id, g->role->key_ids) {
                const TufKey *key = tuf_keys_find(g->keys, *id);

                if (key)
                        json_object_set(keys, *id, (json_t *) tuf_key_object(key));
        }
        return json_pack("{s:s, s:b, s:I, s:o}", "keysOf", g->before ? "before" : "after", "required",
                         (int) g->required, "threshold", (json_int_t) g->role->threshold, "keys", keys);
}

static json_t *document_to_json(const Change *c, const ChangeRole *role) {
        const TufMetadata *old = c->repository ? repository_role(c->repository, role->name) : NULL;
        SignerGroup groups[SIGNER_GROUPS_MAX];
        size_t n = change_signers(c, role->name, groups);
        json_t *signers = json_array(), *o;

        for (size_t i = 0; i < n; i++)
                json_array_append_new(signers, group_to_json(&groups[i]));
        o = json_pack("{s:s, s:o, s:{s:O, s:O}}", "role", role->name, "signers", signers, "metadata", "signatures",
                      role->signatures, "signed", role->signed_part);
        if (old)
                json_object_set(o, "previous", old->document);
        return o;
}

int change_export(Change *c, const char *path, Progress *progress, Error *reterr) {
        _cleanup_json_ json_t *documents = json_array(), *o = NULL;
        _cleanup_free_ char *id = NULL, *text = NULL;
        int r;

        if (!c->settled)
                return error_set(reterr, EINVAL, REFUSAL_KEY, "a change is exported after change_sign()");
        r = request_repository_id(c->storage, &id, reterr);
        if (r >= 0)
                r = change_bring_files(c, progress, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n_roles; i++) {
                const char *name = c->roles[i]->name;

                /* Made at import, by keys that are there: fresh, and not in the way of a refresh in the meantime. */
                if (c->can_finish && (streq(name, "snapshot") || streq(name, "timestamp")))
                        continue;
                json_array_append_new(documents, document_to_json(c, c->roles[i]));
        }
        o = json_pack("{s:s, s:s*, s:s, s:O}", "format", REPO_REQUEST_FORMAT, "repository", c->repository ? id : NULL,
                      "place", storage_name(c->storage), "documents", documents);
        text = json_format(o, false);
        return io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, reterr);
}

/* ---- reading ---- */

static void request_document_done(RequestDocument *d) {
        change_role_free(d->role);
        json_decref(d->before);
        for (size_t i = 0; i < SIGNER_GROUPS_MAX; i++) {
                for (size_t j = 0; d->keys[i] && j < d->keys[i]->n_items; j++)
                        tuf_key_free(d->keys[i]->items[j]);
                if (d->keys[i])
                        free(d->keys[i]->items);
                free(d->keys[i]);
                strv_free(d->roles[i].key_ids);
        }
}

Request *request_free(Request *r) {
        if (r) {
                for (size_t i = 0; i < r->n_documents; i++)
                        request_document_done(r->documents + i);
                free(r->documents);
                free(r->repository);
                free(r->place);
                json_decref(r->whole);
                free(r);
        }
        return NULL;
}

static int compare_keys(const void *a, const void *b) {
        return strcmp(tuf_key_id(*(TufKey *const *) a), tuf_key_id(*(TufKey *const *) b));
}

static int read_keys(const json_t *object, RequestDocument *d, size_t n, Error *reterr) {
        TufKeys *keys = d->keys[n] = xnew(TufKeys, 1);
        const char *id;
        json_t *o;

        keys->items = xnew(TufKey *, json_object_size(object) + 1);
        json_object_foreach ((json_t *) object, id, o) {
                int r = tuf_key_parse(id, o, &keys->items[keys->n_items], reterr);

                if (r < 0)
                        return r;
                keys->n_items++;
                strv_extend(&d->roles[n].key_ids, id);
        }
        qsort(keys->items, keys->n_items, sizeof(TufKey *), compare_keys);
        return 0;
}

static int read_group(const json_t *object, const char *what, RequestDocument *d, Error *reterr) {
        JsonReader reader = json_reader(object, what, reterr);
        _cleanup_free_ char *keys_of = NULL;
        size_t n = d->n_groups;
        const json_t *keys = NULL;
        uint64_t threshold = 0;
        bool required = false;
        int r;

        json_take_string(&reader, "keysOf", false, &keys_of);
        json_take_bool(&reader, "required", false, &required);
        json_take_u64(&reader, "threshold", false, TUF_ROLE_KEYS_MAX, &threshold);
        json_take_object(&reader, "keys", false, &keys);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (json_object_size(keys) == 0 || json_object_size(keys) > TUF_ROLE_KEYS_MAX || threshold == 0 ||
            !(streq(keys_of, "before") || streq(keys_of, "after")))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: malformed list of signers", what);
        d->roles[n].threshold = threshold;
        r = read_keys(keys, d, n, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", what);
        d->groups[n] = (SignerGroup){
                .keys = d->keys[n], .role = &d->roles[n], .before = streq(keys_of, "before"), .required = required
        };
        d->n_groups++;
        return 0;
}

/* Names are printed for people to trust, and become file names. */
static bool is_role_name(const char *name) {
        return streq(name, tuf_type_name(repository_role_type(name))) || repo_channel_name_check(name, NULL) >= 0;
}

static int read_metadata(const json_t *metadata, const char *what, ChangeRole *role, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        const json_t *signatures = NULL, *signed_part = NULL;
        JsonReader reader = json_reader(metadata, what, reterr);
        int r;

        json_take_array(&reader, "signatures", false, TUF_SIGNATURES_MAX, &signatures);
        json_take_object(&reader, "signed", false, &signed_part);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        role->signatures = json_deep_copy(signatures);
        role->signed_part = json_deep_copy(signed_part);
        r = change_role_parse(role, &m, reterr);
        return r < 0 ? error_prefix(reterr, "%s", what) : 0;
}

static int read_request_document(const json_t *object, const char *path, RequestDocument *d, Error *reterr) {
        JsonReader reader = json_reader(object, path, reterr);
        const json_t *metadata = NULL, *signers = NULL, *previous = NULL, *item;
        _cleanup_free_ char *name = NULL, *what = NULL;
        size_t i;
        int r;

        json_take_string(&reader, "role", false, &name);
        json_take_object(&reader, "metadata", false, &metadata);
        json_take_object(&reader, "previous", true, &previous);
        json_take_array(&reader, "signers", false, SIGNER_GROUPS_MAX, &signers);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (!is_role_name(name))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: a role with an impossible name", path);
        what = xasprintf("%s: %s", path, name);
        d->role = xnew(ChangeRole, 1);
        d->role->name = TAKE_PTR(name);
        d->before = json_deep_copy(previous);
        r = read_metadata(metadata, what, d->role, reterr);
        json_array_foreach ((json_t *) signers, i, item)
                if (r >= 0)
                        r = read_group(item, what, d, reterr);
        return r < 0 ? r : 0;
}

static int read_documents(const json_t *list, const char *path, Request *request, Error *reterr) {
        const json_t *item;
        size_t i;

        request->documents = xnew(RequestDocument, json_array_size(list) + 1);
        json_array_foreach ((json_t *) list, i, item) {
                RequestDocument *d = &request->documents[request->n_documents++];
                int r = read_request_document(item, path, d, reterr);

                if (r < 0)
                        return r;
                for (size_t j = 0; j + 1 < request->n_documents; j++)
                        if (streq(request->documents[j].role->name, d->role->name))
                                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %s is there twice", path,
                                                 d->role->name);
        }
        return 0;
}

int request_read(const char *path, Request **ret, Error *reterr) {
        _cleanup_(request_freep) Request *request = xnew(Request, 1);
        _cleanup_free_ char *format = NULL;
        const json_t *documents = NULL;
        JsonReader reader;
        int r;

        r = json_read_file(AT_FDCWD, path, REPO_REQUEST_SIZE_MAX, &request->whole, reterr);
        if (r < 0)
                return r;
        reader = json_reader(request->whole, path, reterr);
        json_take_string(&reader, "format", false, &format);
        json_take_string(&reader, "repository", true, &request->repository);
        json_take_string(&reader, "place", false, &request->place);
        json_take_array(&reader, "documents", false, REPO_REQUEST_DOCUMENTS_MAX, &documents);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (!streq(format, REPO_REQUEST_FORMAT)) {
                error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is not a " REPO_REQUEST_FORMAT " document", path);
                return error_hint(reterr, "\"sealab repo ... --export FILE\" writes one, \"sealab repo sign\" adds "
                                          "signatures to it.");
        }
        r = read_documents(documents, path, request, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(request);
        return 0;
}

/* ---- signing ---- */

static int none_wanted(const Request *request, const char *path, const RepoKeys *keys, Error *reterr) {
        _cleanup_(json_decrefp) json_t *names = json_object();
        _cleanup_strv_free_ char **wanted = NULL;
        _cleanup_free_ char *list = NULL;

        for (size_t i = 0; i < request->n_documents; i++)
                change_role_missing(request->documents[i].role, request->documents[i].groups,
                                    request->documents[i].n_groups, names, &wanted);
        list = wanted ? strv_join(wanted, "\n  ") : xstrdup("nothing: it is complete");
        error_set(reterr, ENOKEY, REFUSAL_KEY, "no key of %s has a say in %s; missing:\n  %s", keys->folder, path,
                  list);
        return error_hint(reterr, "Is it the right folder, and does it hold private keys or tokens' URIs?");
}

/* What is said to have been there before decides what a holder gets to see of a change: what is the same is only
 * counted. So it counts if one of the holder's own keys has signed it. */
static bool was_signed_here(const RequestDocument *d, const RepoKeys *keys) {
        const json_t *signed_part = json_object_get(d->before, "signed"),
                     *signatures = json_object_get(d->before, "signatures"), *item;
        const ChangeRole before = { .name = d->role->name,
                                    .signed_part = (json_t *) signed_part,
                                    .signatures = (json_t *) signatures };
        json_int_t version = json_integer_value(json_object_get(d->role->signed_part, "version"));
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        size_t i;

        if (!json_is_object(signed_part) || !json_is_array(signatures) || change_role_parse(&before, &m, NULL) < 0 ||
            (json_int_t) m->version != version - 1)
                return false;
        json_array_foreach ((json_t *) signatures, i, item) {
                const char *id = json_string_value(json_object_get(item, "keyid"));
                char *one[] = { (char *) id, NULL };
                const TufRole alone = { .key_ids = one, .threshold = 1 };

                for (size_t n = 0; id && n < d->n_groups; n++) {
                        const TufKey *key = tuf_keys_find(d->groups[n].keys, id);

                        if (key && repo_keys_find_same(keys, key) &&
                            tuf_count_signatures(m, d->groups[n].keys, &alone) > 0)
                                return true;
                }
        }
        return false;
}

int repo_sign_file(const char *request_path, const RepoKeys *keys, const char *response_path, char **ret_description,
                   Error *reterr) {
        _cleanup_(request_freep) Request *request = NULL;
        _cleanup_json_ json_t *names = json_object();
        _cleanup_free_ char *text = NULL;
        json_t *documents;
        size_t able = 0;
        int r;

        r = request_read(request_path, &request, reterr);
        if (r < 0)
                return r;
        documents = json_object_get(request->whole, "documents");
        for (size_t i = 0; i < request->n_documents; i++) {
                RequestDocument *d = request->documents + i;
                json_t *metadata = json_object_get(json_array_get(documents, i), "metadata");
                size_t n;

                if (was_signed_here(d, keys))
                        d->previous = json_object_get(d->before, "signed");
                r = change_role_sign(d->role, d->groups, d->n_groups, keys, names, &n, reterr);
                if (r < 0)
                        return r;
                able += n;
                json_object_set(metadata, "signatures", d->role->signatures);
        }
        if (able == 0)
                return none_wanted(request, request_path, keys, reterr);
        text = json_format(request->whole, false);
        r = io_replace_file(AT_FDCWD, response_path, text, strlen(text), 0644, reterr);
        if (r < 0)
                return r;
        *ret_description = request_describe(request);
        return 0;
}

/* ---- import ---- */

static int merge_signatures(ChangeRole *into, const ChangeRole *from) {
        const json_t *item, *own;
        size_t i, j;

        json_array_foreach (from->signatures, i, item) {
                bool there = false;

                json_array_foreach (into->signatures, j, own)
                        there |= json_equal(json_object_get(own, "keyid"), json_object_get(item, "keyid"));
                if (!there)
                        json_array_append(into->signatures, (json_t *) item);
        }
        return 0;
}

static int merge_request(Request *into, const Request *from, const char *path, const char *first, Error *reterr) {
        bool same = streq_ptr(into->repository, from->repository) && into->n_documents == from->n_documents;

        for (size_t i = 0; same && i < into->n_documents; i++)
                same = streq(into->documents[i].role->name, from->documents[i].role->name) &&
                       json_equal(into->documents[i].role->signed_part, from->documents[i].role->signed_part);
        if (!same) {
                error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s and %s do not come from the same export", first, path);
                return error_hint(reterr, "Import only what was signed of one export.");
        }
        for (size_t i = 0; i < into->n_documents; i++)
                (void) merge_signatures(into->documents[i].role, from->documents[i].role);
        return 0;
}

static bool is_current(const Repository *r, const ChangeRole *role) {
        const TufMetadata *current = r ? repository_role(r, role->name) : NULL;

        return current && json_equal(json_object_get(current->document, "signed"), role->signed_part);
}

/* Takes over what is still to be published. What is public already was imported before, perhaps by a command that did
 * not get to its end. */
static int take_document(Change *c, const ChangeRole *role, Error *reterr) {
        const TufMetadata *current = c->repository ? repository_role(c->repository, role->name) : NULL;
        json_int_t version = json_integer_value(json_object_get(role->signed_part, "version"));

        if (is_current(c->repository, role))
                return 0;
        if (version != (json_int_t) (current ? current->version : 0) + 1) {
                /* Refreshed in between; they are made anew. */
                if (streq(role->name, "snapshot") || streq(role->name, "timestamp"))
                        return 0;
                error_set(reterr, ESTALE, REFUSAL_STALE,
                          "%s has version %" PRIu64
                          " of %s by now, the document was made for version %" JSON_INTEGER_FORMAT,
                          storage_name(c->storage), current ? current->version : 0, role->name, version - 1);
                return error_hint(reterr, "Make the change and its export again, and have that signed.");
        }
        change_put(c, role->name, role->signed_part, role->signatures);
        return 0;
}

/* Every signature must be of use: a broken one that is left out would be found missing, but nobody would know why. */
static int check_signatures(const Change *c, const ChangeRole *role, Error *reterr) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        SignerGroup groups[SIGNER_GROUPS_MAX];
        size_t n = change_signers(c, role->name, groups), i;
        const json_t *item;
        int r;

        /* Not imported: it follows from what was, and is made when it is signed. */
        if (json_array_size(role->signatures) == 0)
                return 0;
        r = change_role_parse(role, &m, reterr);
        if (r < 0)
                return r;
        json_array_foreach (role->signatures, i, item) {
                const char *id = json_string_value(json_object_get(item, "keyid"));
                char *one[] = { (char *) id, NULL };
                const TufRole alone = { .key_ids = one, .threshold = 1 };
                bool counts = false;

                for (size_t j = 0; id && j < n; j++)
                        counts |= strv_contains(groups[j].role->key_ids, id) &&
                                  tuf_count_signatures(m, groups[j].keys, &alone) > 0;
                if (!counts)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                         "%s: the signature by %.16s does not hold, or that key has no say in it",
                                         role->name, id ?: "nobody");
        }
        return 0;
}

static int begin_import(Storage *storage, const Request *request, const char *path, int64_t now, Change **ret,
                        Error *reterr) {
        _cleanup_free_ char *id = NULL;
        int r;

        r = request_repository_id(storage, &id, reterr);
        if (r < 0)
                return r;
        if (!request->repository && !id)
                return change_begin_new(storage, now, ret, reterr);
        /* A repository that was to be made and is there: the same documents again, or another one. */
        if (request->repository && !streq_ptr(request->repository, id)) {
                error_set(reterr, ESTALE, REFUSAL_MIXED, "%s was made for another repository (%s) than %s", path,
                          request->place, storage_name(storage));
                return error_hint(reterr, "Is REPO the right one?");
        }
        return change_begin(storage, now, ret, reterr);
}

static int read_merged(char *const *paths, Request **ret, Error *reterr) {
        _cleanup_(request_freep) Request *request = NULL;
        int r;

        if (strv_length(paths) > REPO_REQUEST_FILES_MAX)
                return error_set(reterr, E2BIG, REFUSAL_TOO_LARGE, "more than %u files", REPO_REQUEST_FILES_MAX);
        r = request_read(paths[0], &request, reterr);
        for (char *const *path = paths + 1; r >= 0 && *path; path++) {
                _cleanup_(request_freep) Request *more = NULL;

                r = request_read(*path, &more, reterr);
                if (r >= 0)
                        r = merge_request(request, more, *path, paths[0], reterr);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(request);
        return 0;
}

int change_import(Storage *storage, char *const *paths, int64_t now, Change **ret, Error *reterr) {
        _cleanup_(request_freep) Request *request = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        int r;

        r = read_merged(paths, &request, reterr);
        if (r >= 0)
                r = begin_import(storage, request, paths[0], now, &c, reterr);
        for (size_t i = 0; r >= 0 && i < request->n_documents; i++)
                r = take_document(c, request->documents[i].role, reterr);
        if (r >= 0 && !change_is_empty(c))
                r = change_settle(c, reterr);
        for (size_t i = 0; r >= 0 && i < c->n_roles; i++)
                r = check_signatures(c, c->roles[i], reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}
