/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "change-keys.h"
#include "io.h"
#include "log.h"
#include "publish.h"
#include "repo-check.h"
#include "repo-status.h"
#include "repo-verb.h"

#define DAY UINT64_C(86400)

int64_t repo_verb_now(void) {
        return (int64_t) time(NULL);
}

/* ---- what all changes share ---- */

static int open_change(const char *place, Storage **ret_storage, Change **ret, Error *reterr) {
        int r;

        r = storage_open(place, false, ret_storage, reterr);
        return r < 0 ? r : change_begin(*ret_storage, repo_verb_now(), ret, reterr);
}

static int export_change(Change *c, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_strv_free_ char **missing = change_missing(c);
        _cleanup_free_ char *list = missing ? strv_join(missing, "\n  ") : NULL;
        int r;

        r = change_export(c, opt->export_path, opt->progress, reterr);
        if (r < 0)
                return r;
        log_info("%s holds what is to be signed; nothing is public yet.", opt->export_path);
        if (list)
                log_info("Missing:\n  %s", list);
        log_info(
                "Where the keys are: sealab repo sign %s --keys KEYS -o OUT. Then here: sealab repo import REPO OUT...",
                opt->export_path);
        return 0;
}

int repo_verb_finish(Change *c, const RepoVerbOptions *opt, const char *said, Error *reterr) {
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        int r;

        r = repo_keys_load(opt->keys, &keys, reterr);
        if (r >= 0)
                r = change_sign(c, keys, reterr);
        if (r < 0)
                return r;
        if (opt->export_path)
                return export_change(c, opt, reterr);
        r = change_commit(c, opt->progress, reterr);
        if (r >= 0)
                log_info("%s", said);
        return r;
}

/* ---- init ---- */

static const char *const top_level[] = { "root", "targets", "snapshot", "timestamp" };

static int add_role_keys(Change *c, const RepoKeys *keys, const char *role, size_t threshold, Error *reterr) {
        _cleanup_free_ const RepoKey **of_role = NULL;
        size_t n = repo_keys_of_role(keys, role, &of_role);
        int r = 0;

        if (n == 0) {
                error_set(reterr, ENOKEY, REFUSAL_KEY, "%s has no key for the role %s", keys->folder, role);
                return error_hint(reterr,
                                  "Put %s.pub there if the key is elsewhere, or make the ones that are missing: sealab "
                                  "repo keys generate %s",
                                  role, keys->folder);
        }
        if (threshold > n) {
                error_set(reterr, ENOKEY, REFUSAL_KEY, "%s has %zu keys for %s, %zu signatures are to be needed",
                          keys->folder, n, role, threshold);
                return error_hint(reterr, "Collect the public keys of all holders there: %s-1.pub, %s-2.pub, ...", role,
                                  role);
        }
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = change_key_add(c, role, of_role[i]->public_key, reterr);
        return r < 0 ? r : change_key_threshold(c, role, threshold, reterr);
}

static int parse_expiry(const char *word, RepositoryExpiry *e, Error *reterr) {
        const char *equals = strchr(word, '=');
        _cleanup_free_ char *role = equals ? xstrndup(word, (size_t) (equals - word)) : NULL;
        uint64_t days = 0;
        bool known = false;

        for (size_t i = 0; role && i < ELEMENTSOF(top_level); i++)
                known |= streq(role, top_level[i]);
        known |= role && streq(role, "channel");
        if (!known || !parse_u64(equals + 1, &days) || days < 1 || days > REPOSITORY_EXPIRY_MAX / DAY) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "--expire %s: ROLE=DAYS was expected", word);
                return error_hint(reterr,
                                  "ROLE is root, targets, channel, snapshot or timestamp; DAYS is 1 to %" PRIu64
                                  ". For example: --expire timestamp=3",
                                  (uint64_t) REPOSITORY_EXPIRY_MAX / DAY);
        }
        *repository_expiry_member(e, role) = days * DAY;
        return 0;
}

static int set_expiry(Change *c, char *const *words, Error *reterr) {
        json_t *root = change_edit(c, "root");
        RepositoryExpiry expiry = repository_expiry_of(root);

        STRV_FOREACH (word, words) {
                int r = parse_expiry(*word, &expiry, reterr);

                if (r < 0)
                        return r;
        }
        json_object_set_new(root, "sealab-expiry", repository_expiry_to_json(&expiry));
        /* Once more: its own end depends on it. */
        (void) change_edit(c, "root");
        return 0;
}

static int add_channels(Change *c, const RepoKeys *keys, const RepoVerbOptions *opt, Error *reterr) {
        char *stable[] = { (char *) "stable", NULL };

        (void) change_edit(c, "targets");
        STRV_FOREACH (name, opt->channels ? opt->channels : stable) {
                int r = change_add_channel(c, *name, keys, 1, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int no_keys_at_all(const RepoKeys *keys, Error *reterr) {
        if (!keys->folder) {
                error_set(reterr, ENOKEY, REFUSAL_KEY, "no keys were named");
                return error_hint(reterr, "Name their folder with --keys KEYS; if there is none yet: sealab repo keys "
                                          "generate KEYS [--type ed25519|ecdsa|rsa] [--root N]");
        }
        error_set(reterr, ENOKEY, REFUSAL_KEY, "%s holds no keys of a repository", keys->folder);
        return error_hint(reterr, "Make some: sealab repo keys generate %s [--type ed25519|ecdsa|rsa] [--root N]",
                          keys->folder);
}

int repo_verb_init(const char *place, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_free_ char *said = xasprintf("%s is a repository now. Devices trust it by " REPOSITORY_METADATA
                                              "/1.root.json; keep a copy of that file. Next: sealab publish RELEASE %s",
                                              place, place);
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        int r;

        r = repo_keys_load(opt->keys, &keys, reterr);
        if (r >= 0 && keys->n_items == 0)
                r = no_keys_at_all(keys, reterr);
        if (r >= 0)
                r = storage_open(place, true, &storage, reterr);
        if (r >= 0)
                r = change_begin_new(storage, repo_verb_now(), &c, reterr);
        if (r >= 0)
                r = set_expiry(c, opt->expire, reterr);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(top_level); i++)
                r = add_role_keys(c, keys, top_level[i],
                                  streq(top_level[i], "root") && opt->root_threshold > 0 ? opt->root_threshold : 1,
                                  reterr);
        if (r >= 0)
                r = add_channels(c, keys, opt, reterr);
        return r < 0 ? r : repo_verb_finish(c, opt, said, reterr);
}

int repo_verb_channel(const char *place, const char *name, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_free_ char *said = xasprintf("%s has a channel %s now.", place, name);
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        int r;

        r = repo_keys_load(opt->keys, &keys, reterr);
        if (r >= 0 && keys->n_items == 0)
                r = no_keys_at_all(keys, reterr);
        if (r >= 0)
                r = open_change(place, &storage, &c, reterr);
        if (r >= 0)
                r = change_add_channel(c, name, keys, opt->threshold > 0 ? opt->threshold : 1, reterr);
        return r < 0 ? r : repo_verb_finish(c, opt, said, reterr);
}

/* ---- refresh ---- */

static bool half_over(const TufMetadata *m, uint64_t validity) {
        return m->expires - repo_verb_now() < (int64_t) (validity / 2);
}

int repo_verb_refresh(const char *place, char *const *roles, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        const Repository *repository;
        int r;

        r = open_change(place, &storage, &c, reterr);
        if (r >= 0 && opt->expire)
                r = set_expiry(c, opt->expire, reterr);
        if (r < 0)
                return r;
        repository = change_repository(c);
        STRV_FOREACH (role, roles) {
                if (!repository_role(repository, *role)) {
                        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no role %s", place, *role);
                        return error_hint(reterr, "\"sealab repo status %s\" names them.", place);
                }
                (void) change_edit(c, *role);
        }
        if (half_over(repository->snapshot, repository_expiry(repository).snapshot))
                (void) change_edit(c, "snapshot");
        /* A root that is signed elsewhere is no reason to wait with the timestamp, nor the other way round: whoever
         * names roles without having the online keys here wants just these. */
        if (strv_length(roles) == 0 && !opt->expire)
                (void) change_edit(c, "timestamp");
        return repo_verb_finish(c, opt, "Refreshed.", reterr);
}

/* ---- releases ---- */

static int require_channel(const RepoVerbOptions *opt, Error *reterr) {
        if (opt->channel)
                return 0;
        error_set(reterr, EINVAL, REFUSAL_USAGE, "which channel?");
        return error_hint(reterr, "Name it with --channel.");
}

/* REFUSAL_NOT_FOUND unless the channel lists this release. */
static int require_release(const Repository *r, const char *channel, const char *product, const char *version,
                           Error *reterr) {
        const TufMetadata *m = repository_role(r, channel);
        _cleanup_free_ char *path = description_target_path(product, version, DESCRIPTION_TARGET_FILE);

        if (m && m->type == TUF_TARGETS && tuf_find_target(m, path))
                return 0;
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s %s %s", product, version,
                  m ? "is not in that channel" : "cannot be there: there is no such channel");
        (void) error_prefix(reterr, "%s", channel);
        return error_hint(reterr, "\"sealab repo status %s\" lists what is where.", storage_name(r->storage));
}

/* 1 from the rules of publish.h: it is like that already. An interrupted change of keys is finished all the same. */
static int finish_unless_done(Change *c, int outcome, const RepoVerbOptions *opt, const char *said, Error *reterr) {
        if (outcome < 0)
                return outcome;
        if (outcome > 0 && !change_repository(c)->interrupted) {
                log_info("Nothing to do: that is how it is already.");
                return 0;
        }
        return repo_verb_finish(c, opt, said, reterr);
}

static PublishOptions publish_options(const RepoVerbOptions *opt) {
        return (PublishOptions){
                .channel = opt->channel, .rollout = opt->rollout, .now = repo_verb_now(), .progress = opt->progress
        };
}

int repo_verb_promote(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                      Error *reterr) {
        const PublishOptions publish = publish_options(opt);
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_free_ char *said = NULL;
        int r;

        r = require_channel(opt, reterr);
        if (r >= 0)
                r = open_change(place, &storage, &c, reterr);
        if (r >= 0 && opt->from)
                r = require_release(change_repository(c), opt->from, product, version, reterr);
        if (r >= 0)
                r = publish_promote(c, product, version, opt->channel, &publish, reterr);
        said = xasprintf("%s %s is in %s, for %s.", product, version, opt->channel ?: "", opt->rollout ?: "everybody");
        return finish_unless_done(c, r, opt, said, reterr);
}

int repo_verb_rollout(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                      Error *reterr) {
        const PublishOptions publish = publish_options(opt);
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_free_ char *said = NULL;
        int r;

        r = require_channel(opt, reterr);
        if (r >= 0 && !opt->rollout) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "which share?");
                r = error_hint(reterr, "For example: --rollout 10%%/day, --rollout 5%%+20%%/day, --rollout 100%%.");
        }
        if (r >= 0)
                r = open_change(place, &storage, &c, reterr);
        if (r >= 0)
                r = require_release(change_repository(c), opt->channel, product, version, reterr);
        if (r >= 0)
                r = publish_promote(c, product, version, opt->channel, &publish, reterr);
        said = xasprintf("%s %s in %s: %s from now on.", product, version, opt->channel ?: "", opt->rollout ?: "");
        return finish_unless_done(c, r, opt, said, reterr);
}

int repo_verb_withdraw(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                       Error *reterr) {
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_free_ char *said = NULL;
        int r = 0;

        if (isempty(opt->reason)) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "why is it withdrawn?");
                r = error_hint(reterr, "Say it with --reason \"...\": devices show it.");
        }
        if (r >= 0)
                r = open_change(place, &storage, &c, reterr);
        if (r >= 0)
                r = publish_withdraw(c, product, version, opt->channel, opt->reason, reterr);
        said = xasprintf("%s %s is withdrawn: devices that look again do not take it.", product, version);
        return finish_unless_done(c, r, opt, said, reterr);
}

/* ---- ceremony ---- */

int repo_verb_sign(const char *request, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_free_ char *words = NULL;
        const char *out = opt->out ?: "signed.json";
        int r;

        r = repo_keys_load(opt->keys, &keys, reterr);
        if (r >= 0 && keys->n_items == 0)
                r = no_keys_at_all(keys, reterr);
        if (r >= 0)
                r = repo_sign_file(request, keys, out, &words, reterr);
        if (r < 0)
                return r;
        log_info("%s\nSigned: %s. Back there: sealab repo import REPO %s", words, out, path_basename(out));
        return 0;
}

int repo_verb_import(const char *place, char *const *files, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        int r;

        r = storage_open(place, true, &storage, reterr);
        if (r >= 0)
                r = change_import(storage, files, repo_verb_now(), &c, reterr);
        if (r < 0)
                return r;
        return finish_unless_done(c, change_is_empty(c) ? 1 : 0, opt, "It is public now.", reterr);
}

/* ---- looking ---- */

int repo_verb_status(const char *place, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_(repository_freep) Repository *repository = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(repo_keys_freep) RepoKeys *keys = NULL;
        _cleanup_json_ json_t *status = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = repo_keys_load(opt->keys, &keys, reterr);
        if (r >= 0)
                r = storage_open(place, false, &storage, reterr);
        if (r >= 0)
                r = repository_open(storage, NULL, 0, &repository, reterr);
        if (r >= 0)
                r = repo_status(repository, keys, repo_verb_now(), &status, reterr);
        if (r < 0)
                return r;
        text = opt->json ? json_format(status, false) : repo_status_format(status);
        fputs(text, stdout);
        return 0;
}

static void print_verified(const json_t *o) {
        _cleanup_free_ char *bytes = format_bytes((uint64_t) json_integer_value(json_object_get(o, "bytes")));
        const json_t *damaged = json_object_get(o, "damaged"), *rest = json_object_get(o, "unreferenced"), *item;
        size_t i;

        printf("%-12s signatures, versions and hashes of all metadata\n", "ok");
        json_array_foreach ((json_t *) damaged, i, item)
                printf("%-12s %s: %s\n", "DAMAGED", json_string_value(json_object_get(item, "file")),
                       json_string_value(json_object_get(item, "reason")));
        printf("%-12s %" JSON_INTEGER_FORMAT " target files, %s%s\n", json_array_size(damaged) > 0 ? "DAMAGED" : "ok",
               json_integer_value(json_object_get(o, "targets")), bytes,
               json_array_size(damaged) > 0 ? ", not all of them as they should be" : "");
        json_array_foreach ((json_t *) rest, i, item)
                printf("%-12s %s\n", "unreferenced", json_string_value(item));
        if (json_array_size(rest) > 0)
                printf("Unreferenced files do no harm: of interrupted or pending changes, or old; \"sealab repo gc\" "
                       "removes "
                       "those that nobody needs.\n");
}

static int print_expired(const Repository *r) {
        const json_t *o;
        size_t i;
        _cleanup_(repo_keys_freep) RepoKeys *none = NULL;
        _cleanup_json_ json_t *status = NULL;

        if (repo_keys_load(NULL, &none, NULL) < 0 || repo_status(r, none, repo_verb_now(), &status, NULL) < 0)
                return 0;
        json_array_foreach (json_object_get(status, "next"), i, o)
                log_warning("%s", json_string_value(o));
        return 0;
}

/* There is a repository, but it cannot be read: that is what was asked for, not a failure to find out. */
static bool is_damage(Storage *s, const Error *e) {
        uint64_t size;

        return e->id != REFUSAL_SYSTEM && e->id != REFUSAL_DOWNLOAD &&
               storage_size(s, REPOSITORY_METADATA "/1.root.json", &size, NULL) == 0;
}

static int report_damage(const char *place, const Error *e, bool as_json) {
        if (as_json) {
                _cleanup_json_ json_t *o = json_pack("{s:s, s:[{s:s, s:s}], s:n}", "repository", place, "damaged",
                                                     "file", REPOSITORY_METADATA, "reason", e->message, "unreferenced");
                _cleanup_free_ char *text = json_format(o, false);

                fputs(text, stdout);
        } else
                printf("%-12s %s\n", "DAMAGED", e->message);
        return refusal_exit_status(REFUSAL_HASH_MISMATCH);
}

int repo_verb_verify(const char *place, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_(repository_freep) Repository *repository = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_json_ json_t *found = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_error_ Error e = {};
        int r, bad;

        r = storage_open(place, false, &storage, reterr);
        if (r < 0)
                return r;
        r = repository_open(storage, NULL, 0, &repository, &e);
        if (r < 0)
                return is_damage(storage, &e) ? report_damage(place, &e, opt->json) : error_move(reterr, &e);
        bad = repo_verify(repository, place, repo_verb_now(), opt->progress, &found, reterr);
        if (bad < 0)
                return bad;
        if (opt->json) {
                text = json_format(found, false);
                fputs(text, stdout);
        } else {
                print_verified(found);
                (void) print_expired(repository);
        }
        return bad > 0 ? refusal_exit_status(REFUSAL_HASH_MISMATCH) : 0;
}

/* ---- gc ---- */

static int expire(const char *place, const RepoVerbOptions *opt, char ***ret_removed, Error *reterr) {
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_strv_free_ char **deltas = NULL;
        int r;

        r = open_change(place, &storage, &c, reterr);
        if (r >= 0 && opt->keep > 0)
                r = publish_expire(c, opt->keep, ret_removed, reterr);
        if (r >= 0 && opt->keep_deltas != REPO_NOT_GIVEN)
                r = publish_expire_deltas(c, (size_t) opt->keep_deltas, &deltas, reterr);
        if (r < 0)
                return r;
        strv_extend_strv(ret_removed, deltas);
        if (!*ret_removed || opt->dry_run)
                return 0;
        return repo_verb_finish(c, opt, "They are out of the metadata.", reterr);
}

static void print_removed(char *const *releases, const json_t *o, const RepoVerbOptions *opt) {
        const json_t *removed = json_object_get(o, "removed"), *item;
        _cleanup_free_ char *bytes = format_bytes((uint64_t) json_integer_value(json_object_get(o, "bytes")));
        const char *word = opt->dry_run ? "would go" : "removed";
        size_t i;

        if (opt->json) {
                _cleanup_json_ json_t *all = json_deep_copy(o);
                _cleanup_free_ char *text = NULL;

                json_object_set_new(all, "releases", json_from_strv(releases));
                text = json_format(all, false);
                fputs(text, stdout);
                return;
        }
        STRV_FOREACH (release, releases)
                printf("%-12s %s\n", word, *release);
        json_array_foreach ((json_t *) removed, i, item)
                printf("%-12s %s\n", word, json_string_value(item));
        log_info("%zu files, %s.%s", json_array_size(removed), bytes,
                 releases && !opt->at_once ? " What belongs to the above goes when no client can be reading them any "
                                             "more: run it again in a day."
                                           : "");
}

int repo_verb_gc(const char *place, const RepoVerbOptions *opt, Error *reterr) {
        _cleanup_strv_free_ char **releases = NULL;
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        _cleanup_json_ json_t *removed = NULL;
        int r = 0;

        if (opt->keep > 0 || opt->keep_deltas != REPO_NOT_GIVEN)
                r = expire(place, opt, &releases, reterr);
        if (r >= 0 && opt->export_path)
                return 0;
        /* Under the lock: nobody brings files over while this looks for files that nobody names. */
        if (r >= 0)
                r = open_change(place, &storage, &c, reterr);
        if (r >= 0)
                r = repo_gc(change_repository(c), opt->at_once ? INT64_MAX : repo_verb_now(), opt->dry_run, &removed,
                            reterr);
        if (r < 0)
                return r;
        print_removed(releases, removed, opt);
        return 0;
}
