/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One struct goes through the stages; each stage is a function that reads what earlier ones left there and adds its
 * own. What a stage makes on disk goes into the hidden release folder, so a stop at any moment leaves the output folder
 * as it was. */

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "build.h"
#include "contents.h"
#include "disk.h"
#include "erofs.h"
#include "gate.h"
#include "hermetic.h"
#include "install.h"
#include "io.h"
#include "log.h"
#include "manifest.h"
#include "release.h"
#include "sbom.h"
#include "seal.h"
#include "stateless.h"
#include "steps.h"
#include "verity.h"
#include "version.h"

#define SHARE "/usr/share/sealab"

typedef struct Build {
        const BuildOptions *opt;
        Recipe *recipe;
        Lock *lock;
        Store *store;
        Ids *ids;
        KeySet *keys; /* NULL: unsigned */
        SandboxMode mode;
        char *version, *key_folder;
        int64_t epoch;
        Steps steps;
        Tools *tools;
        Tree *tree;
        char *kernel;
        char *final_folder, *scratch_folder;
        Release *release;
} Build;

static void build_done(Build *b) {
        recipe_free(b->recipe);
        lock_free(b->lock);
        store_free(b->store);
        ids_free(b->ids);
        key_set_free(b->keys);
        free(b->version);
        free(b->key_folder);
        steps_done(&b->steps);
        tools_free(b->tools);
        tree_free(b->tree);
        free(b->kernel);
        free(b->final_folder);
        free(b->scratch_folder);
        release_free(b->release);
}

/* ---- what is to be built
 * -------------------------------------------------------------------------------------------------- */

static int load_recipe(Build *b, Error *reterr) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        int r;

        r = recipe_load(b->opt->recipe, &d, &b->recipe, reterr);
        if (d.n_items > 0) {
                _cleanup_free_ char *text = conf_diagnostics_format(&d);

                log_error("%s", text);
        }
        return r;
}

/* Versions of this image that exist in the output folder already, to count on from. */
static char **existing_versions(const Build *b) {
        _cleanup_free_ char *prefix = xasprintf("%s_", b->recipe->image_id);
        char **versions = NULL;
        struct dirent *entry;
        DIR *d = opendir(b->opt->output);

        while (d && (entry = readdir(d))) {
                const char *version = startswith(entry->d_name, prefix);

                if (version)
                        strv_extend(&versions, version);
        }
        if (d)
                closedir(d);
        return versions;
}

static int choose_version(Build *b, Error *reterr) {
        _cleanup_strv_free_ char **existing = existing_versions(b);
        int r;

        b->epoch = lock_epoch(b->lock);
        if (b->opt->version)
                b->version = xstrdup(b->opt->version);
        else if (b->recipe->version)
                b->version = xstrdup(b->recipe->version);
        else
                b->version = version_next(b->epoch, existing);
        r = release_check_name(b->recipe->image_id, b->version, reterr);
        return r < 0 ? r : disk_check_labels(b->recipe->image_id, b->version, reterr);
}

static int choose_keys(Build *b, Error *reterr) {
        const char *folder = b->opt->keys ?: b->recipe->key_folder;
        int r;

        if (!folder && io_exists(AT_FDCWD, "keys/dev"))
                folder = "keys/dev";
        if (!folder) {
                if (b->opt->release) {
                        error_set(reterr, ENOKEY, REFUSAL_KEY, "a release must be signed, and no keys were named");
                        return error_hint(
                                reterr,
                                "Name them with --keys DIR or Keys= in the recipe; \"sealab keys generate DIR\" "
                                "makes some.");
                }
                log_warning(
                        "no keys: the release will be unsigned (--keys DIR; \"sealab keys generate DIR\" makes some)");
                return 0;
        }
        b->key_folder = xstrdup(folder);
        r = key_set_load(folder, KEY_ROLES_RELEASE, b->opt->release ? KEY_SET_RELEASE_BUILD : 0, &b->keys, reterr);
        return r < 0 ? error_prefix(reterr, "keys in %s", folder) : 0;
}

/* Reads all that a build depends on and refuses early what cannot work. */
static int prepare(Build *b, Error *reterr) {
        int r;

        r = load_recipe(b, reterr);
        if (r >= 0)
                r = lock_read(b->recipe->path, &b->lock, reterr);
        if (r >= 0)
                r = lock_check_recipe(b->lock, b->recipe, reterr);
        if (r >= 0)
                r = store_open(b->opt->store, &b->store, reterr);
        if (r >= 0)
                r = ids_read(b->recipe->path, &b->ids, reterr);
        if (r >= 0)
                r = choose_version(b, reterr);
        if (r >= 0)
                r = choose_keys(b, reterr);
        if (r < 0)
                return r;
        const StepsContext c = { .recipe = b->recipe,
                                 .lock = b->lock,
                                 .ids = b->ids,
                                 .version = b->version,
                                 .epoch = b->epoch,
                                 .key_folder = b->key_folder,
                                 .disk = !b->opt->no_disk };
        r = steps_compute(&c, &b->steps, reterr);
        if (r >= 0)
                r = steps_judge(&b->steps, b->recipe, b->store, b->opt->no_cache, reterr);
        return r;
}

static int check_inputs(Build *b, Error *reterr) {
        size_t missing = 0;
        const LockPackage *first = NULL;

        for (size_t i = 0; i < b->lock->n_packages; i++)
                if (!store_has(b->store, &b->lock->packages[i].sha256, b->lock->packages[i].size)) {
                        first = first ?: &b->lock->packages[i];
                        missing++;
                }
        if (missing == 0)
                return 0;
        error_set(reterr, ENOENT, REFUSAL_NOT_IN_STORE, "%zu locked package%s not in the store %s (first: %s %s)",
                  missing, missing == 1 ? " is" : "s are", b->store->path, first->name, first->version);
        return error_hint(reterr,
                          "Run \"sealab lock %s\" once with the network: it fetches exactly what the lock names.",
                          b->opt->recipe);
}

/* ---- the tree
 * ---------------------------------------------------------------------------------------------------------------- */

static int load_cached_tree(Build *b, StepId step, Tree **ret, Error *reterr) {
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = store_cache_get(b->store, b->steps.steps[step].id, &b->steps.steps[step].key, &fd, reterr);
        if (r != 0)
                return r;
        r = tree_new(NULL, &t, reterr);
        if (r >= 0)
                r = tree_import_stream(t, fd, TREE_IMPORT_DEVICES, reterr);
        if (r < 0 && reterr && reterr->id == REFUSAL_BAD_FORMAT)
                return error_hint(reterr, "A tree in the store's cache is damaged; --no-cache makes it anew.");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

static int keep_tree(Build *b, StepId step, Tree *t, Error *reterr) {
        const Step *s = &b->steps.steps[step];
        _cleanup_store_temporary_ char *temporary = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = store_cache_begin(b->store, s->id, &s->key, &fd, &temporary, reterr);
        if (r >= 0)
                r = tree_export_archive(t, fd, reterr);
        if (r >= 0)
                r = store_cache_commit(b->store, s->id, &s->key, temporary, reterr);
        return r;
}

static int make_installed(Build *b, Error *reterr) {
        const InstallOptions o = { .store = b->store, .lock = b->lock, .mode = b->mode, .progress = b->opt->progress };
        int r;

        if (b->steps.steps[STEP_INSTALL].cached) {
                r = load_cached_tree(b, STEP_INSTALL, &b->tree, reterr);
                if (r <= 0)
                        return r;
        }
        r = install_packages(&o, &b->tree, reterr);
        if (r >= 0)
                r = keep_tree(b, STEP_INSTALL, b->tree, reterr);
        return r;
}

static int make_base(Build *b, Error *reterr) {
        int r;

        if (b->steps.steps[STEP_BASE].cached) {
                progress_begin(b->opt->progress, "base", "Reading the installed tree");
                r = load_cached_tree(b, STEP_BASE, &b->tree, reterr);
                if (r < 0)
                        return r;
                if (r == 0) {
                        b->kernel = hermetic_kernel_release(b->tree);
                        progress_end(b->opt->progress, "cached");
                        return 0;
                }
        }
        r = make_installed(b, reterr);
        if (r < 0)
                return r;
        progress_begin(b->opt->progress, "base", "Leaving out what the recipe drops");
        r = hermetic_base(b->tree, b->recipe, &b->kernel, reterr);
        if (r >= 0)
                r = keep_tree(b, STEP_BASE, b->tree, reterr);
        if (r < 0)
                return r;
        progress_end(b->opt->progress, "%" PRIu64 " files", b->tree->n_nodes);
        return 0;
}

/* The effective recipe as one file, without the paths of the build machine. */
static char *effective_recipe(const Recipe *r) {
        _cleanup_buffer_ Buffer b = {};
        const char *section = "";

        for (size_t i = 0; i < r->n_origins; i++) {
                const struct RecipeOrigin *o = &r->origins[i];

                if (o->overridden || isempty(o->value))
                        continue;
                if (!streq(section, o->section))
                        buffer_printf(&b, "%s[%s]\n", b.size > 0 ? "\n" : "", o->section);
                section = o->section;
                buffer_printf(&b, "%s=%s\n", o->key, o->value);
        }
        return buffer_steal(&b);
}

/* recipe, lock and ids travel in the image, so that a machine can say offline what it is made of. */
static int embed_provenance(Build *b, Error *reterr) {
        _cleanup_free_ char *recipe = effective_recipe(b->recipe), *lock = lock_format(b->lock),
                            *ids = ids_format(b->ids);
        const NodeAttributes a = { .mode = 0644, .mtime = b->epoch };
        _cleanup_buffer_ Buffer sbom = {};
        const struct {
                const char *path, *text;
        } files[] = {
                { SHARE "/recipe.conf", recipe },
                { SHARE "/" LOCK_FILE_NAME, lock },
                { SHARE "/ids.lock", ids },
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                r = tree_add_file(b->tree, files[i].path, &a, files[i].text, strlen(files[i].text), NULL, reterr);
                if (r < 0)
                        return r;
        }
        r = sbom_write(b->lock, b->recipe, b->recipe->image_id, b->version, b->tree, &sbom, reterr);
        if (r >= 0)
                r = tree_add_file(b->tree, SHARE "/sbom.spdx.json", &a, sbom.data, sbom.size, NULL, reterr);
        if (r < 0)
                return r;
        _cleanup_free_ char *path = release_file_path(b->release, RELEASE_SBOM);
        r = io_write_file(AT_FDCWD, path, sbom.data, sbom.size, 0644, reterr);
        return r < 0 ? r : release_add_file(b->release, RELEASE_SBOM, reterr);
}

static int save_ids(Build *b, Error *reterr) {
        _cleanup_free_ char *changes = ids_changes(b->ids);

        if (!changes)
                return 0;
        if (b->opt->frozen_ids || b->opt->release) {
                error_set(reterr, EPERM, REFUSAL_IDS, "the image has accounts that ids.lock does not name:\n%s",
                          changes);
                return error_hint(
                        reterr,
                        "Build once without --release and --frozen-ids, look at the change of ids.lock, and commit "
                        "it.");
        }
        log_info("ids.lock: new numbers, to be committed with the recipe:\n%s", changes);
        return ids_write(b->ids, b->recipe->path, reterr);
}

static int make_finished(Build *b, Error *reterr) {
        _cleanup_(gate_report_done) GateReport report = {};
        const HermeticOptions o = { .recipe = b->recipe,
                                    .lock = b->lock,
                                    .store = b->store,
                                    .mode = b->mode,
                                    .tools = b->tools,
                                    .ids = b->ids,
                                    .version = b->version,
                                    .kernel = b->kernel,
                                    .epoch = b->epoch,
                                    .usr_epoch = b->epoch + version_ordinal(b->version),
                                    .use_cache = !b->opt->no_cache };
        int r;

        progress_begin(b->opt->progress, "finish", "Making the tree hermetic");
        r = hermetic_finish(&o, b->tree, reterr);
        if (r >= 0)
                r = save_ids(b, reterr);
        if (r >= 0)
                r = embed_provenance(b, reterr);
        if (r >= 0)
                r = gate_check(b->tree, b->recipe, b->ids, &report, reterr);
        if (r < 0)
                return r;
        stateless_set_times(b->tree, o.epoch, o.usr_epoch);
        progress_end(b->opt->progress, "%" PRIu64 " files, gate passed (%zu exceptions)", b->tree->n_nodes,
                     report.n_findings);
        return 0;
}

/* ---- the release folder
 * --------------------------------------------------------------------------------------------------------- */

/* Builds that were killed together with their supervisor left their hidden folder; its name says whose it was. */
static void remove_abandoned(const char *output) {
        DIR *d = opendir(output);
        struct dirent *entry;

        while (d && (entry = readdir(d))) {
                const char *number = startswith(entry->d_name, BUILD_SCRATCH_PREFIX);
                uint64_t pid;

                if (number && parse_u64(number, &pid) && pid <= INT32_MAX && kill((pid_t) pid, 0) < 0 && errno == ESRCH)
                        (void) io_remove_tree(dirfd(d), entry->d_name, NULL);
        }
        if (d)
                closedir(d);
}

static int begin_release(Build *b, Error *reterr) {
        _cleanup_free_ char *name = release_name(b->recipe->image_id, b->version), *hidden = NULL;
        int r;

        r = io_mkdir_parents(AT_FDCWD, b->opt->output, 0755, reterr);
        if (r < 0)
                return r;
        remove_abandoned(b->opt->output);
        b->final_folder = path_join(b->opt->output, name);
        if (io_exists(AT_FDCWD, b->final_folder)) {
                error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s exists already", b->final_folder);
                return error_hint(reterr,
                                  "Releases are never overwritten: choose another --version, or remove the folder.");
        }
        hidden = xasprintf(BUILD_SCRATCH_PREFIX "%d", (int) getpid());
        b->scratch_folder = path_join(b->opt->output, b->opt->scratch ?: hidden);
        r = io_remove_tree(AT_FDCWD, b->scratch_folder, reterr);
        if (r < 0)
                return r;
        if (mkdir(b->scratch_folder, 0755) < 0)
                return error_errno(reterr, errno, "cannot create %s", b->scratch_folder);
        b->release = release_new(b->scratch_folder, b->recipe->image_id, b->version);
        b->release->architecture = xstrdup(b->lock->architecture);
        b->release->epoch = b->epoch;
        b->release->recipe = xstrdup(b->recipe->name);
        lock_digest(b->lock, &b->release->lock);
        b->release->request = b->lock->request;
        return 0;
}

static int write_manifests(Build *b, Error *reterr) {
        _cleanup_(contents_freep) Contents *contents = NULL;
        _cleanup_(manifest_freep) Manifest *manifest = NULL;
        _cleanup_free_ char *contents_path = release_file_path(b->release, RELEASE_CONTENTS),
                            *packages_path = release_file_path(b->release, RELEASE_PACKAGES), *ids = ids_format(b->ids);
        int r;

        sha256_buffer(ids, strlen(ids), &b->release->ids);
        r = contents_from_tree(b->tree, "/usr", b->recipe->image_id, b->version, &contents, reterr);
        if (r >= 0)
                r = contents_write(contents, AT_FDCWD, contents_path, reterr);
        if (r >= 0)
                r = release_add_file(b->release, RELEASE_CONTENTS, reterr);
        if (r < 0)
                return r;
        manifest = manifest_new(b->lock, contents);
        r = manifest_write(manifest, AT_FDCWD, packages_path, reterr);
        return r < 0 ? r : release_add_file(b->release, RELEASE_PACKAGES, reterr);
}

static int seal(Build *b, Error *reterr) {
        const SealContext c = { .recipe = b->recipe,
                                .lock = b->lock,
                                .store = b->store,
                                .mode = b->mode,
                                .tools = b->tools,
                                .keys = b->keys,
                                .version = b->version,
                                .epoch = b->epoch,
                                .usr_epoch = b->epoch + version_ordinal(b->version),
                                .workers = (unsigned) b->opt->workers,
                                .initrd_key = &b->steps.steps[STEP_INITRD].key,
                                .initrd_cached = b->steps.steps[STEP_INITRD].cached,
                                .use_cache = !b->opt->no_cache,
                                .disk = !b->opt->no_disk,
                                .progress = b->opt->progress };

        return seal_tree(&c, b->tree, b->kernel, b->release, reterr);
}

static int run_stages(Build *b, Error *reterr) {
        int r;

        b->tools = tools_new(b->store, b->lock);
        r = make_base(b, reterr);
        if (r >= 0)
                r = make_finished(b, reterr);
        if (r >= 0)
                r = write_manifests(b, reterr);
        if (r >= 0)
                r = seal(b, reterr);
        if (r >= 0)
                r = release_write(b->release, reterr);
        return r;
}

int build_run(const BuildOptions *opt, char **ret_folder, Error *reterr) {
        _cleanup_(build_done) Build b = { .opt = opt };
        uint64_t freed;
        int r;

        r = prepare(&b, reterr);
        if (r >= 0)
                r = check_inputs(&b, reterr);
        if (r >= 0)
                r = sandbox_detect(&b.mode, reterr);
        if (r >= 0)
                r = begin_release(&b, reterr);
        if (r < 0)
                return r;
        r = run_stages(&b, reterr);
        if (r < 0) {
                (void) io_remove_tree(AT_FDCWD, b.scratch_folder, NULL);
                return r;
        }
        r = steps_remember(&b.steps, b.recipe, b.store, reterr);
        if (r >= 0)
                r = io_rename_new(AT_FDCWD, b.scratch_folder, b.final_folder, reterr);
        if (r < 0)
                return r;
        /* What was just made is used last and stays. A cache that cannot be trimmed is no reason to fail. */
        (void) store_cache_trim(b.store, BUILD_CACHE_MAX, &freed, NULL);
        *ret_folder = TAKE_PTR(b.final_folder);
        return 0;
}

int build_plan(const BuildOptions *opt, bool json, char **ret_text, Error *reterr) {
        _cleanup_(build_done) Build b = { .opt = opt };
        int r;

        r = prepare(&b, reterr);
        if (r < 0)
                return r;
        if (!json) {
                *ret_text = steps_format(&b.steps);
                return 0;
        }
        _cleanup_json_ json_t *plan = json_pack("{s:s, s:s, s:o}", "image", b.recipe->image_id, "version", b.version,
                                                "steps", steps_to_json(&b.steps));
        *ret_text = json_format(plan, false);
        return 0;
}
