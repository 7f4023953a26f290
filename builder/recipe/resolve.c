/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "archive-signature.h"
#include "archive-suite.h"
#include "io.h"
#include "local-packages.h"
#include "lock-internal.h"
#include "resolve.h"

typedef struct Resolver {
        const Recipe *recipe;
        Store *store;
        Progress *progress;
        LockResolveOptions opt;
        LockMirrors *mirrors;
        char *folder, *keyring, *local_uri;
        AptRoot *apt;
        ArchiveSuite *suites; /* parallel to recipe->suites */
        size_t n_suites;
        ArchiveIndex local;
        Lock *lock;
        size_t n_allocated; /* packages of the lock */
} Resolver;

static void resolver_done(Resolver *r) {
        lock_mirrors_free(r->mirrors);
        if (r->folder)
                (void) io_remove_tree(AT_FDCWD, r->folder, NULL);
        free(r->folder);
        free(r->keyring);
        free(r->local_uri);
        apt_root_free(r->apt);
        for (size_t i = 0; i < r->n_suites; i++)
                archive_suite_done(&r->suites[i]);
        free(r->suites);
        archive_index_done(&r->local);
        lock_free(r->lock);
}

/* ---- indexes --------------------------------------------------------------------------------------------- */

/* What apt says, what it means, what to do. The first that fits counts, so the order matters: a suite that is not there
 * is also reported as unsigned. */
static const struct {
        const char *says;
        Refusal id;
        const char *hint;
} explanations[] = {
        { "is expired", REFUSAL_EXPIRED,
          "The mirror no longer follows the archive: use another one, or correct this machine's clock. For a dated "
          "archive use --snapshot URI." },
        { "is not valid yet", REFUSAL_EXPIRED, "The clock of this machine, or of the archive, is wrong." },
        { "unexpected size", REFUSAL_HASH_MISMATCH,
          "The mirror is being updated or is damaged: try again in some minutes, or use another mirror." },
        { "Hash Sum mismatch", REFUSAL_HASH_MISMATCH,
          "The mirror is being updated or is damaged: try again in some minutes, or use another mirror." },
        { "does not have a Release file", REFUSAL_DOWNLOAD,
          "The mirror has no such suite, or cannot be reached: look at Suites= and Mirror= of the recipe." },
        { "no longer has a Release file", REFUSAL_DOWNLOAD,
          "The mirror has no such suite, or cannot be reached: look at Suites= and Mirror= of the recipe." },
        { "is not signed", REFUSAL_BAD_SIGNATURE,
          "If the archive is the right one, name its keys with Keyring= in the recipe (Debian's: package "
          "debian-archive-keyring)." },
        { "NO_PUBKEY", REFUSAL_BAD_SIGNATURE,
          "If the archive is the right one, name its keys with Keyring= in the recipe (Debian's: package "
          "debian-archive-keyring)." },
        { "ignature", REFUSAL_BAD_SIGNATURE,
          "If the archive is the right one, name its keys with Keyring= in the recipe (Debian's: package "
          "debian-archive-keyring)." },
        { "misspelt in sources.list", REFUSAL_BAD_VALUE, "Look at Components= of the recipe." },
        { "", REFUSAL_DOWNLOAD,
          "Is the network there? A mirror that this machine's apt uses, Mirror= of the recipe, or --snapshot URI is "
          "where packages come from." },
};

static bool mentions(const char *line, const char *suite) {
        size_t n = strlen(suite);

        for (const char *p = line; (p = strstr(p, suite)); p++)
                if (p > line && strchr(" /'", p[-1]) && (p[n] == 0 || strchr(" /'", p[n])))
                        return true;
        return false;
}

int resolve_explain_update(const char *output, char *const *suites, Error *reterr) {
        _cleanup_strv_free_ char **lines = strv_split(output, "\n");
        const char *complaint = NULL, *suite = NULL;
        size_t k = 0;

        STRV_FOREACH (line, lines)
                if (startswith(*line, "E: ") && !complaint)
                        complaint = *line + 3;
        STRV_FOREACH (line, lines)
                if (startswith(*line, "W: ") && !complaint)
                        complaint = *line + 3;
        for (int strict = 1; strict >= 0; strict--)
                STRV_FOREACH (line, lines)
                        STRV_FOREACH (s, suites)
                                if (!suite && mentions(*line, *s) &&
                                    (strict ? complaint == *line + 3 : !!startswith(*line, "Err:")))
                                        suite = *s;
        complaint = complaint ?: "apt-get update failed";
        while (!strstr(complaint, explanations[k].says))
                k++;
        error_set(reterr, EIO, explanations[k].id, "%s%s: %s", suite ? "suite " : "the archive", suite ?: "",
                  complaint);
        return error_hint(reterr, "%s", explanations[k].hint);
}

/* TMPDIR belongs to this run; the folder's name must be one that apt can take. */
static int prepare_folder(Resolver *r, Error *reterr) {
        int result;

        result = io_temporary_folder("apt", &r->folder, reterr);
        if (result < 0)
                return result;
        r->keyring = path_join(r->folder, "archive.gpg");
        result = archive_keyring_import(r->recipe->keyring, r->keyring, reterr);
        if (result >= 0 && strv_length(r->recipe->local_debs) > 0) {
                _cleanup_free_ char *local = path_join(r->folder, "local");

                r->local_uri = xasprintf("file://%s", local);
                result = local_packages_publish(r->recipe->local_debs, local, r->recipe->architecture, r->store,
                                                &r->local, reterr);
        }
        return result;
}

static int prepare_apt(Resolver *r, Error *reterr) {
        size_t n = 0;
        _cleanup_free_ AptSource *sources = xnew(AptSource, r->mirrors->n_items + 1);

        for (size_t i = 0; i < r->mirrors->n_items; i++)
                sources[n++] = (AptSource){ .uri = r->mirrors->items[i].uris[0],
                                            .suite = r->mirrors->items[i].suite,
                                            .ignore_expiry = r->mirrors->snapshot };
        if (r->local_uri)
                sources[n++] = (AptSource){ .uri = r->local_uri, .suite = "./", .local = true };
        return apt_root_new(r->folder,
                            &(AptOptions){ .architecture = r->recipe->architecture,
                                           .components = r->recipe->components,
                                           .keyring = r->keyring,
                                           .sources = sources,
                                           .n_sources = n,
                                           .settings = r->mirrors->settings },
                            &r->apt, reterr);
}

static const LockSuite *previous_suite(const Resolver *r, const char *suite) {
        if (!r->opt.previous || r->opt.allow_older)
                return NULL;
        for (size_t i = 0; i < r->opt.previous->n_suites; i++)
                if (streq(r->opt.previous->suites[i].suite, suite))
                        return &r->opt.previous->suites[i];
        return NULL;
}

static int read_suites(Resolver *r, Error *reterr) {
        bool check_expiry = !r->mirrors->snapshot &&
                            apt_settings_get_bool(r->mirrors->settings, "Acquire::Check-Valid-Until", true);
        _cleanup_(apt_indexes_done) AptIndexes indexes = {};
        int result;

        result = apt_root_indexes(r->apt, &indexes, reterr);
        if (result < 0)
                return result;
        r->suites = xnew(ArchiveSuite, strv_length(r->recipe->suites));
        STRV_FOREACH (suite, r->recipe->suites) {
                const ArchiveSuiteOptions opt = { .indexes = &indexes,
                                                  .components = r->recipe->components,
                                                  .architecture = r->recipe->architecture,
                                                  .keyring = r->keyring,
                                                  .folder = r->folder,
                                                  .now = check_expiry ? (int64_t) time(NULL) : 0,
                                                  .older = previous_suite(r, *suite) };

                progress_detail(r->progress, "%s", *suite);
                result = archive_suite_read(*suite, &opt, &r->suites[r->n_suites], reterr);
                if (result < 0)
                        return result;
                r->n_suites++;
        }
        return 0;
}

static int fetch_indexes(Resolver *r, Error *reterr) {
        _cleanup_free_ char *output = NULL;
        _cleanup_error_ Error failure = {};
        int result;

        progress_begin(r->progress, "indexes", "Fetching the archive's indexes");
        result = prepare_folder(r, reterr);
        if (result >= 0)
                result = prepare_apt(r, reterr);
        if (result < 0)
                return result;
        if (apt_root_update(r->apt, &output, &failure) < 0)
                return output ? resolve_explain_update(output, r->recipe->suites, reterr)
                              : error_move(reterr, &failure);
        result = read_suites(r, reterr);
        if (result < 0)
                return result;
        progress_end(r->progress, "%zu suites", r->n_suites);
        return 0;
}

/* ---- packages -------------------------------------------------------------------------------------------- */

static const ArchivePackage *find_exact(const ArchiveIndex *index, const struct AptPlanned *wanted) {
        const ArchivePackage *p = archive_index_find(index, wanted->name), *end = index->packages + index->n_packages;

        for (; p && p < end && streq(p->name, wanted->name); p++)
                if (streq(p->version, wanted->version) && streq(p->architecture, wanted->architecture))
                        return p;
        return NULL;
}

/* The package in the first suite that has it. Another suite may have it too, but then the very same. */
static int find_planned(const Resolver *r, const struct AptPlanned *wanted, const ArchivePackage **ret,
                        const char **ret_suite, Error *reterr) {
        const ArchivePackage *found = find_exact(&r->local, wanted);
        const char *suite = NULL;

        for (size_t i = 0; i < r->n_suites && (!found || suite); i++) {
                const ArchivePackage *p = find_exact(&r->suites[i].index, wanted);

                if (p && found && !sha256_equal(&p->sha256, &found->sha256))
                        return error_set(reterr, EBADMSG, REFUSAL_DIFFERENT,
                                         "suites %s and %s have different packages %s %s", suite,
                                         r->suites[i].lock.suite, p->name, p->version);
                if (p && !found) {
                        found = p;
                        suite = r->suites[i].lock.suite;
                }
        }
        if (!found)
                return error_set(reterr, EBADMSG, REFUSAL_NOT_LOCKED,
                                 "apt wants %s %s (%s), which no index that we checked has", wanted->name,
                                 wanted->version, wanted->architecture);
        *ret = found;
        *ret_suite = suite;
        return 0;
}

static int lock_planned(Resolver *r, const struct AptPlanned *wanted, LockPurpose purpose, Error *reterr) {
        const ArchivePackage *p = NULL;
        const char *suite;
        int result;

        result = find_planned(r, wanted, &p, &suite, reterr);
        if (result < 0)
                return result;
        for (size_t i = 0; i < r->lock->n_packages; i++) {
                LockPackage *known = &r->lock->packages[i];

                if (!streq(known->name, p->name))
                        continue;
                if (!sha256_equal(&known->sha256, &p->sha256))
                        return error_set(reterr, EBADMSG, REFUSAL_UNRESOLVABLE,
                                         "%s is wanted in two versions: %s and %s", p->name, known->version,
                                         p->version);
                known->purpose |= purpose;
                return 0;
        }
        GROW(r->lock->packages, r->lock->n_packages, r->n_allocated);
        r->lock->packages[r->lock->n_packages++] = (LockPackage){ .name = xstrdup(p->name),
                                                                  .version = xstrdup(p->version),
                                                                  .architecture = xstrdup(p->architecture),
                                                                  .source = xstrdup(p->source),
                                                                  .source_version = xstrdup(p->source_version),
                                                                  .path = xstrdup(p->path),
                                                                  .suite = xstrdup(suite),
                                                                  .size = p->size,
                                                                  .sha256 = p->sha256,
                                                                  .purpose = purpose,
                                                                  .essential = p->essential };
        return 0;
}

static bool is_known(const Resolver *r, const char *name) {
        for (size_t i = 0; i < r->n_suites; i++)
                if (archive_index_find(&r->suites[i].index, name))
                        return true;
        return archive_index_find(&r->local, name);
}

static const char *suggest(const Resolver *r, const char *name) {
        const char *found;
        size_t n = 0;

        for (size_t i = 0; i < r->n_suites; i++)
                n += r->suites[i].index.n_packages;

        _cleanup_free_ const char **names = xnew(const char *, n + 1);
        n = 0;
        for (size_t i = 0; i < r->n_suites; i++)
                for (size_t k = 0; k < r->suites[i].index.n_packages; k++)
                        names[n++] = r->suites[i].index.packages[k].name;
        found = conf_suggest(name, names);
        return found;
}

/* apt reads "NAME-" as "not NAME" and "NAME+" as NAME where there is no package of the whole name. */
static int check_names(const Resolver *r, char *const *names, Error *reterr) {
        STRV_FOREACH (name, names)
                if ((endswith(*name, "+") || endswith(*name, "-")) && !is_known(r, *name))
                        return error_set(reterr, ENOENT, REFUSAL_UNRESOLVABLE, "there is no package %s", *name);
        return 0;
}

/* A name that no index has may be a virtual one, so apt has the word first. */
static void hint_unknown(const Resolver *r, char *const *names, Error *reterr) {
        STRV_FOREACH (name, names) {
                const char *near = is_known(r, *name) ? NULL : suggest(r, *name);

                if (near) {
                        error_hint(reterr, "There is no package %s; did you mean %s?", *name, near);
                        return;
                }
        }
        error_hint(reterr, "Look at [Packages] and [Archive] of the recipe (\"sealab explain\" shows them).");
}

static int plan(Resolver *r, LockPurpose purpose, const char *what, char **names, Error *reterr) {
        _cleanup_(apt_plan_done) AptPlan p = {};
        int result;

        progress_detail(r->progress, "%s", what);
        strv_sort_unique(names);
        result = check_names(r, names, reterr);
        if (result >= 0)
                result = apt_root_plan(r->apt, names, purpose == LOCK_FOR_IMAGE && r->recipe->recommends, &p, reterr);
        if (result < 0) {
                if (reterr && reterr->id == REFUSAL_UNRESOLVABLE)
                        hint_unknown(r, names, reterr);
                return error_prefix(reterr, "packages for the %s", what);
        }
        for (size_t i = 0; i < p.n_items; i++) {
                result = lock_planned(r, &p.items[i], purpose, reterr);
                if (result < 0)
                        return result;
        }
        return 0;
}

static int image_names(const Resolver *r, char ***ret, Error *reterr) {
        _cleanup_strv_free_ char **names = NULL;

        for (size_t i = 0; i < r->n_suites; i++)
                for (size_t k = 0; k < r->suites[i].index.n_packages; k++)
                        if (r->suites[i].index.packages[k].essential)
                                strv_extend(&names, r->suites[i].index.packages[k].name);
        if (!names) {
                error_set(reterr, ENOENT, REFUSAL_UNRESOLVABLE, "the suites have no essential packages for %s",
                          r->recipe->architecture);
                return error_hint(reterr, "Suites= must name a release itself, not only its updates, and Components= "
                                          "its main component.");
        }
        strv_extend_strv(&names, r->recipe->install);
        if (!isempty(r->recipe->kernel_package))
                strv_extend(&names, r->recipe->kernel_package);
        for (size_t i = 0; i < r->local.n_packages; i++)
                strv_extend(&names, r->local.packages[i].name);
        *ret = TAKE_PTR(names);
        return 0;
}

static int plan_all(Resolver *r, Error *reterr) {
        _cleanup_strv_free_ char **image = NULL, **initrd = NULL, **tools = NULL;
        int result;

        progress_begin(r->progress, "resolve", "Choosing packages");
        result = image_names(r, &image, reterr);
        if (result < 0)
                return result;
        strv_extend_strv(&initrd, (char *const *) recipe_initrd_packages(r->recipe));
        strv_extend_strv(&initrd, r->recipe->initrd_packages);
        strv_extend_strv(&tools, (char *const *) recipe_tools_packages(r->recipe));
        result = plan(r, LOCK_FOR_IMAGE, "image", image, reterr);
        if (result >= 0)
                result = plan(r, LOCK_FOR_INITRD, "initrd", initrd, reterr);
        if (result >= 0)
                result = plan(r, LOCK_FOR_TOOLS, "build tools", tools, reterr);
        if (result < 0)
                return result;
        progress_end(r->progress, "%zu packages", r->lock->n_packages);
        return 0;
}

/* ---- the lock -------------------------------------------------------------------------------------------- */

/* Held to the reader's rules, so that what is written can be read. */
static int finish(Resolver *r, Error *reterr) {
        Lock *l = r->lock;
        int result = 0;

        l->suites = xnew(LockSuite, r->n_suites);
        for (size_t i = 0; i < r->n_suites; i++) {
                l->suites[l->n_suites++] = r->suites[i].lock;
                r->suites[i].lock = (LockSuite){};
                result = lock_check_suite(&l->suites[i], "the archive", reterr);
                if (result < 0)
                        return result;
        }
        if (l->n_packages > LOCK_PACKAGES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more than %d packages", LOCK_PACKAGES_MAX);
        for (size_t i = 0; i < l->n_packages && result >= 0; i++)
                result = lock_check_package(&l->packages[i], "the archive", reterr);
        if (result < 0)
                return result;
        lock_sort(l);
        return lock_check_unique(l, "the archive", reterr);
}

int lock_resolve(const Recipe *recipe, Store *store, Progress *progress, const LockResolveOptions *opt, Lock **ret,
                 LockMirrors **ret_mirrors, Error *reterr) {
        _cleanup_(resolver_done) Resolver r = { .recipe = recipe, .store = store, .progress = progress };
        _cleanup_(apt_settings_freep) AptSettings *settings = NULL;
        int result;

        if (opt)
                r.opt = *opt;
        r.lock = xnew(Lock, 1);
        r.lock->image_id = xstrdup(recipe->image_id);
        r.lock->architecture = xstrdup(recipe->architecture);
        result = recipe_request_digest(recipe, &r.lock->request, reterr);
        if (result >= 0)
                result = apt_settings_read(&settings, reterr);
        if (result >= 0)
                result = lock_mirrors_find(recipe, r.opt.snapshot_uri, &r.mirrors, reterr);
        if (result >= 0)
                result = fetch_indexes(&r, reterr);
        if (result >= 0)
                result = plan_all(&r, reterr);
        if (result >= 0)
                result = finish(&r, reterr);
        if (result < 0)
                return result;
        *ret = TAKE_PTR(r.lock);
        if (ret_mirrors)
                *ret_mirrors = TAKE_PTR(r.mirrors);
        return 0;
}
