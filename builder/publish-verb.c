/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>
#include <time.h>

#include "io.h"
#include "json.h"
#include "log.h"
#include "publish-internal.h"
#include "publish-verb.h"

#define NOTES_FILE_MAX ((size_t) 64 << 10)

typedef struct Publishing {
        const PublishVerbOptions *opt;
        const char *place, *channel;
        Release *release;
        Storage *storage;
        RepoKeys *keys;
        Change *change;
        char *notes, *previous;
        json_t *files;
        Downloads downloads;
} Publishing;

static void publishing_done(Publishing *p) {
        release_free(p->release);
        change_free(p->change);
        storage_free(p->storage);
        repo_keys_free(p->keys);
        free(p->notes);
        free(p->previous);
        json_decref(p->files);
        downloads_done(&p->downloads);
}

/* ---- before the work ---- */

/* TEXT or @FILE; the lines of a file become one paragraph. */
static int read_notes(const char *notes, char **ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **words = NULL;
        int r;

        if (!notes)
                return 0;
        if (notes[0] == '@') {
                r = io_read_file(AT_FDCWD, notes + 1, NOTES_FILE_MAX, &text, NULL, reterr);
                if (r < 0)
                        return error_prefix(reterr, "--notes");
        } else
                text = xstrdup(notes);
        words = strv_split(text, " \t\r\n");
        if (!words)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--notes: there is no text in \"%s\"", notes);
        *ret = strv_join(words, " ");
        if (strlen(*ret) > DESCRIPTION_NOTES_MAX)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--notes: %zu bytes are too many; at most %d",
                                 strlen(*ret), DESCRIPTION_NOTES_MAX);
        return 0;
}

static void append_missing(const Repository *r, const RepoKeys *keys, const char *role_name, char ***missing) {
        const TufKeys *role_keys;
        const TufRole *role;
        size_t n = 0;

        if (repository_role_keys(r, role_name, &role_keys, &role) != 0)
                return;
        STRV_FOREACH (id, role->key_ids) {
                const TufKey *wanted = tuf_keys_find(role_keys, *id);
                const RepoKey *key = wanted ? repo_keys_find_same(keys, wanted) : NULL;

                n += key && key->private_source;
        }
        if (n < role->threshold)
                strv_extendf(missing, "%s: %zu of %zu", role_name, n, role->threshold);
}

/* Packing takes minutes; that keys are missing is said before. */
static int check_keys(const Publishing *p, Error *reterr) {
        const Repository *r = change_repository(p->change);
        const char *const roles[] = { p->channel, "snapshot", "timestamp" };
        _cleanup_strv_free_ char **missing = NULL;
        _cleanup_free_ char *list = NULL;

        if (p->opt->export_path || p->opt->dry_run)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(roles); i++)
                append_missing(r, p->keys, roles[i], &missing);
        if (!missing)
                return 0;
        list = strv_join(missing, "\n  ");
        if (p->keys->folder)
                error_set(reterr, ENOKEY, REFUSAL_KEY, "%s does not hold the keys that are needed:\n  %s",
                          p->keys->folder, list);
        else
                error_set(reterr, ENOKEY, REFUSAL_KEY, "no keys were named (--keys DIR); needed:\n  %s", list);
        return error_hint(reterr,
                          "If they are on another machine: the same command with --export FILE; there \"sealab repo "
                          "sign FILE --keys DIR -o OUT\"; here \"sealab repo import %s OUT\".",
                          p->place);
}

static int open_all(Publishing *p, const char *release, Error *reterr) {
        const PublishVerbOptions *o = p->opt;
        _cleanup_channel_list_ ChannelList l = {};
        const PublishedRelease *previous;
        int r;

        r = read_notes(o->notes, &p->notes, reterr);
        if (r >= 0)
                r = release_open(release, &p->release, reterr);
        if (r >= 0)
                r = storage_open(p->place, false, &p->storage, reterr);
        if (r >= 0)
                r = repo_keys_load(o->keys ?: io_exists(AT_FDCWD, "keys/dev") ? "keys/dev" : NULL, &p->keys, reterr);
        if (r >= 0)
                r = change_begin(p->storage, (int64_t) time(NULL), &p->change, reterr);
        if (r >= 0)
                r = channel_list_read(change_repository(p->change), p->channel, &l, reterr);
        if (r < 0)
                return r;
        previous = channel_list_newest(&l, p->release->image_id, p->release->version);
        if (previous)
                p->previous = xstrdup(previous->description->version);
        return check_keys(p, reterr);
}

/* ---- what it amounts to ---- */

static int add_row(Publishing *p, const char *path, const json_t *target, const ReleaseDescription *d, Error *reterr) {
        const char *hex = json_string_value(json_object_get(json_object_get(target, "hashes"), "sha256"));
        uint64_t length = (uint64_t) json_integer_value(json_object_get(target, "length")), size = length, there;
        TufHashes hashes = { .has_sha256 = true };
        _cleanup_free_ char *stored = NULL;
        bool for_devices = false;
        int r;

        if (!hex || !sha256_from_hex(hex, &hashes.sha256))
                return 0;
        stored = repository_target_path(path, &hashes);
        r = storage_size(p->storage, stored, &there, reterr);
        if (r < 0)
                return r;
        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                if (d->artifacts[k].present && streq(d->artifacts[k].target, path)) {
                        size = d->artifacts[k].size;
                        for_devices = true;
                }
        for (size_t i = 0; i < d->n_deltas; i++)
                for_devices |= streq(d->deltas[i].target, path);
        json_array_append_new(p->files, json_pack("{s:s, s:I, s:I, s:s, s:b, s:b}", "name", path_basename(path), "size",
                                                  (json_int_t) size, "packed", (json_int_t) length, "sha256", hex,
                                                  "new", r > 0 || there != length, "forDevices", for_devices));
        return 0;
}

static int collect_files(Publishing *p, Error *reterr) {
        json_t *targets = json_object_get(change_edit(p->change, p->channel), "targets"), *target;
        _cleanup_free_ char *folder = description_target_path(p->release->image_id, p->release->version, ""),
                            *own = path_join(folder, DESCRIPTION_TARGET_FILE);
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        const char *path;
        int r;

        r = description_parse(json_object_get(json_object_get(targets, own), "custom"), own, &d, reterr);
        if (r < 0)
                return r;
        json_object_foreach (targets, path, target)
                if (startswith(path, folder)) {
                        r = add_row(p, path, target, d, reterr);
                        if (r < 0)
                                return r;
                }
        if (p->opt->json)
                return 0;
        _cleanup_free_ char *rollout = rollout_format(&d->rollout);
        printf("%s %s for channel %s: epoch %" PRIu64 ", rollout %s%s\n", d->product, d->version, p->channel, d->epoch,
               rollout, d->critical ? ", critical" : "");
        return 0;
}

static void print_files(const Publishing *p) {
        const json_t *f;
        size_t i, width = 0;

        json_array_foreach (p->files, i, f)
                width = MAX(width, strlen(json_string_value(json_object_get(f, "name"))));
        printf("  %-*s %10s %10s\n", (int) width, "", "size", "packed");
        json_array_foreach (p->files, i, f) {
                json_int_t size = json_integer_value(json_object_get(f, "size")),
                           packed = json_integer_value(json_object_get(f, "packed"));
                _cleanup_free_ char *a = format_bytes((uint64_t) size), *b = format_bytes((uint64_t) packed);

                printf("  %-*s %10s %10s  %s\n", (int) width, json_string_value(json_object_get(f, "name")), a,
                       size == packed ? "" : b, json_is_true(json_object_get(f, "new")) ? "new" : "already there");
        }
}

static void print_downloads(const Publishing *p) {
        _cleanup_free_ char *table = downloads_format(&p->downloads);

        fputs(table, stdout);
}

static json_t *summary(const Publishing *p, const char *outcome) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "product", p->release->image_id, "version", p->release->version,
                              "channel", p->channel, "outcome", outcome);

        if (p->previous)
                json_object_set_new(o, "previous", json_string(p->previous));
        if (p->files)
                json_object_set(o, "files", p->files);
        if (download_total(&p->downloads.full) > 0) {
                json_object_set_new(o, "downloads", downloads_to_json(&p->downloads));
                if (p->release->download_budget > 0)
                        json_object_set_new(o, "budget", json_integer((json_int_t) p->release->download_budget));
        }
        return o;
}

static void print_json(json_t *o) {
        _cleanup_free_ char *line = json_format_line(o);

        puts(line);
}

/* ---- outcomes ---- */

static int nothing_to_do(const Publishing *p, Error *reterr) {
        if (p->opt->json) {
                _cleanup_json_ json_t *o = summary(p, "unchanged");

                print_json(o);
        } else
                log_info("Channel %s has %s %s already: nothing to do. To change its rollout: sealab repo rollout %s "
                         "%s %s --channel %s --rollout R",
                         p->channel, p->release->image_id, p->release->version, p->place, p->release->image_id,
                         p->release->version, p->channel);
        return 0;
}

static int dry_run(const Publishing *p, Error *reterr) {
        _cleanup_strv_free_ char **missing = change_missing(p->change);

        if (p->opt->json) {
                _cleanup_json_ json_t *o = summary(p, "dry-run");

                json_object_set_new(o, "missing", json_from_strv(missing));
                print_json(o);
                return 0;
        }
        STRV_FOREACH (line, missing)
                printf("Missing: %s\n", *line);
        log_info("Nothing was published (--dry-run).");
        return 0;
}

static int export_change(const Publishing *p, Error *reterr) {
        int r;

        r = change_export(p->change, p->opt->export_path, p->opt->progress, reterr);
        if (r < 0)
                return r;
        if (p->opt->json) {
                _cleanup_json_ json_t *o = summary(p, "exported");

                json_object_set_new(o, "file", json_string(p->opt->export_path));
                print_json(o);
                return 0;
        }
        log_info(
                "The files are there; nothing names them yet. %s holds what is to be signed. On the machine with the "
                "keys: sealab repo sign %s --keys DIR -o signed.json; then here: sealab repo import %s signed.json%s%s",
                p->opt->export_path, path_basename(p->opt->export_path), p->place, p->keys->folder ? " --keys " : "",
                p->keys->folder ?: "");
        return 0;
}

/* What is said to be public is read back. */
static int commit(Publishing *p, Error *reterr) {
        _cleanup_(repository_freep) Repository *now = NULL;
        uint64_t channel, snapshot, timestamp;
        int r;

        r = change_commit(p->change, p->opt->progress, reterr);
        if (r >= 0)
                r = repository_open(p->storage, NULL, 0, &now, reterr);
        if (r < 0)
                return r;
        channel = repository_role(now, p->channel)->version;
        snapshot = now->snapshot->version;
        timestamp = now->timestamp->version;
        if (p->opt->json) {
                _cleanup_json_ json_t *o = summary(p, "published");

                json_object_set_new(o, "metadata",
                                    json_pack("{s:I, s:I, s:I}", p->channel, (json_int_t) channel, "snapshot",
                                              (json_int_t) snapshot, "timestamp", (json_int_t) timestamp));
                print_json(o);
                return 0;
        }
        printf("Published: %s %" PRIu64 ", snapshot %" PRIu64 ", timestamp %" PRIu64 ".\n", p->channel, channel,
               snapshot, timestamp);
        log_info("Next: sealab repo status %s", p->place);
        return 0;
}

/* The table is what the refusal is about. */
static int over_budget(const Publishing *p, int r) {
        if (p->opt->json) {
                _cleanup_json_ json_t *o = summary(p, "over-budget");

                print_json(o);
        } else
                print_downloads(p);
        return r;
}

int publish_verb(const char *release, const char *place, const PublishVerbOptions *opt, Error *reterr) {
        _cleanup_(publishing_done) Publishing p = { .opt = opt, .place = place, .channel = opt->channel ?: "stable" };
        PublishOptions o = { .channel = p.channel,
                             .rollout = opt->rollout,
                             .epoch = opt->epoch,
                             .epoch_set = opt->epoch != PUBLISH_NO_EPOCH,
                             .critical = opt->critical,
                             .supersedes = opt->supersedes,
                             .workers = (unsigned) MIN(opt->workers, (uint64_t) UINT_MAX),
                             .allow_development = opt->allow_development,
                             .allow_older = opt->allow_older,
                             .deltas = (size_t) opt->deltas,
                             .from = opt->from,
                             .allow_over_budget = opt->allow_over_budget,
                             .downloads = &p.downloads,
                             .now = (int64_t) time(NULL),
                             .progress = opt->progress };
        _cleanup_error_ Error e = {};
        int r;

        if (opt->deltas > PUBLISH_DELTAS_MAX)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--deltas %" PRIu64 ": at most %d", opt->deltas,
                                 PUBLISH_DELTAS_MAX);
        r = open_all(&p, release, reterr);
        if (r < 0)
                return r;
        o.notes = p.notes;
        r = publish_add(p.change, p.release, &o, &e);
        if (r < 0)
                return e.id == REFUSAL_BUDGET ? over_budget(&p, error_move(reterr, &e)) : error_move(reterr, &e);
        /* A change of keys that was interrupted is finished by whatever comes next. */
        if (r > 0 && !change_repository(p.change)->interrupted)
                return nothing_to_do(&p, reterr);
        p.files = json_array();
        if (r == 0)
                r = collect_files(&p, reterr);
        if (r >= 0)
                r = change_sign(p.change, p.keys, reterr);
        if (r < 0)
                return r;
        if (!opt->json && json_array_size(p.files) > 0) {
                print_files(&p);
                print_downloads(&p);
        }
        if (opt->dry_run)
                return dry_run(&p, reterr);
        return opt->export_path ? export_change(&p, reterr) : commit(&p, reterr);
}
