/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <signal.h>

#include "build.h"
#include "diff.h"
#include "doctor.h"
#include "inspect.h"
#include "io.h"
#include "keys.h"
#include "lock-verb.h"
#include "log.h"
#include "publish-verb.h"
#include "publish.h"
#include "release.h"
#include "repo-verb.h"
#include "sign-verb.h"
#include "store.h"
#include "sysupdate-verb.h"
#include "verbs.h"
#include "verify.h"
#include "vm-verb.h"

/* Parsed options: the one kind of mutable global the house rules allow, in one file. */
static struct {
        bool json, quiet, debug;
        const char *store;
        const char *output, *version, *keys, *html, *previous, *extends, *organisation;
        bool plan, release, no_disk, frozen_ids, no_cache, all, reproducible;
        uint64_t workers, keep;
        const char *recipe;
        LockVerbOptions lock;
        SignVerbOptions sign;
        VmVerbOptions vm;
        RepoVerbOptions repo;
        PublishVerbOptions publish;
        SysupdateVerbOptions sysupdate;
        bool sysupdate_layout;

} arg = { .output = "out",
          .publish = { .epoch = PUBLISH_NO_EPOCH, .deltas = PUBLISH_DELTAS_DEFAULT },
          .repo = { .deltas = REPO_NOT_GIVEN, .keep_deltas = REPO_NOT_GIVEN } };

bool verbs_want_json(void) {
        return arg.json;
}
bool verbs_want_debug(void) {
        return arg.debug;
}
bool verbs_want_quiet(void) {
        return arg.quiet;
}

static Progress *make_progress(void) {
        if (arg.json)
                return progress_new(PROGRESS_QUIET);
        return progress_new(arg.quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
}

static char *scratch_name(pid_t supervisor) {
        return xasprintf(BUILD_SCRATCH_PREFIX "%d", (int) supervisor);
}

void verbs_clean_up(void) {
        _cleanup_free_ char *name = scratch_name(getpid()), *path = path_join(arg.output, name);

        (void) io_remove_tree(AT_FDCWD, path, NULL);
}

static void print_text(const char *text) {
        fputs(text, stdout);
        if (*text && text[strlen(text) - 1] != '\n')
                putchar('\n');
}

/* ---- recipes
 * --------------------------------------------------------------------------------------------------------- */

static int load_recipe(const char *path, Recipe **ret, Error *reterr) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        int r;

        r = recipe_load(path, &d, ret, reterr);
        if (d.n_items > 0) {
                _cleanup_free_ char *text = conf_diagnostics_format(&d);

                fputs(text, stderr);
        }
        return r;
}

static int verb_new(char *const *a, Error *reterr) {
        int r;

        r = recipe_create(a[0], arg.extends, reterr);
        if (r < 0)
                return r;
        log_info("%s/recipe.conf is ready to be edited; \"sealab explain %s\" shows what it amounts to, \"sealab lock "
                 "%s\" is next.",
                 a[0], a[0], a[0]);
        return 0;
}

static int verb_explain(char *const *a, Error *reterr) {
        _cleanup_(recipe_freep) Recipe *recipe = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = load_recipe(a[0], &recipe, reterr);
        if (r < 0)
                return r;
        if (arg.json) {
                _cleanup_json_ json_t *o = recipe_to_json(recipe);

                text = json_format(o, false);
        } else
                text = recipe_explain(recipe, a[1], arg.all);
        if (!text) {
                const char *near = recipe_suggest_key(a[1]);

                error_set(reterr, ENOENT, REFUSAL_USAGE, "there is no key %s", a[1]);
                if (near)
                        return error_hint(reterr, "Did you mean %s?", near);
                return error_hint(reterr, "sealab-recipe(5) lists them all.");
        }
        print_text(text);
        return 0;
}

static int verb_lock(char *const *a, Error *reterr) {
        _cleanup_(progress_freep) Progress *progress = make_progress();
        _cleanup_(recipe_freep) Recipe *recipe = NULL;
        int r;

        r = load_recipe(a[0], &recipe, reterr);
        if (r < 0)
                return r;
        arg.lock.store = arg.store;
        arg.lock.json = arg.json;
        arg.lock.progress = progress;
        return lock_verb(recipe, &arg.lock, reterr);
}

/* ---- building
 * --------------------------------------------------------------------------------------------------------- */

static BuildOptions build_options(const char *recipe, Progress *progress) {
        return (BuildOptions){ .recipe = recipe,
                               .output = arg.output,
                               .version = arg.version,
                               .keys = arg.keys,
                               .store = arg.store,
                               .release = arg.release,
                               .frozen_ids = arg.frozen_ids,
                               .no_disk = arg.no_disk,
                               .no_cache = arg.no_cache,
                               .workers = arg.workers,
                               .progress = progress };
}

static void print_summary(const char *folder, const Progress *progress) {
        const ProgressPhase *phases;
        size_t n = progress_phases(progress, &phases);
        double seconds = 0;

        for (size_t i = 0; i < n; i++)
                seconds += phases[i].seconds;
        if (arg.json) {
                _cleanup_json_ json_t *list = json_array();

                for (size_t i = 0; i < n; i++)
                        json_array_append_new(
                                list, json_pack("{s:s, s:f}", "phase", phases[i].id, "seconds", phases[i].seconds));
                _cleanup_json_ json_t *o =
                        json_pack("{s:s, s:O, s:f}", "release", folder, "phases", list, "seconds", seconds);
                _cleanup_free_ char *line = json_format_line(o);
                puts(line);
                return;
        }
        log_info("%s is complete, after %.1f s. Next: sealab inspect %s; sealab boot %s", folder, seconds, folder,
                 folder);
        if (arg.quiet)
                puts(folder);
}

static int verb_build(char *const *a, Error *reterr) {
        _cleanup_(progress_freep) Progress *progress = make_progress();
        _cleanup_free_ char *folder = NULL, *scratch = scratch_name(getppid());
        BuildOptions o = build_options(a[0], progress);
        int r;

        o.scratch = scratch;
        if (arg.plan) {
                _cleanup_free_ char *text = NULL;

                r = build_plan(&o, arg.json, &text, reterr);
                if (r >= 0)
                        print_text(text);
                return r;
        }
        r = build_run(&o, &folder, reterr);
        if (r < 0)
                return r;
        print_summary(folder, progress);
        return 0;
}

static int verify_reproducible(const char *folder, Error *reterr) {
        _cleanup_(progress_freep) Progress *progress = make_progress();
        _cleanup_(release_freep) Release *release = NULL;
        _cleanup_free_ char *again = NULL, *temporary = NULL, *default_recipe = NULL;
        BuildOptions o;
        int r;

        r = release_open(folder, &release, reterr);
        if (r >= 0)
                r = io_temporary_folder("again", &temporary, reterr);
        if (r < 0)
                return r;
        default_recipe = xasprintf("recipes/%s", release->recipe);
        o = build_options(arg.recipe ?: default_recipe, progress);
        o.output = temporary;
        o.version = release->version;
        o.no_disk = true;
        o.no_cache = true;
        r = build_run(&o, &again, reterr);
        if (r < 0)
                return error_prefix(reterr, "building %s again", o.recipe);
        r = verify_same(folder, again, reterr);
        if (r < 0)
                return r;
        if (!arg.json)
                printf("%-12s built again from %s, bit for bit the same\n", "ok", o.recipe);
        return 0;
}

static int verb_verify(char *const *a, Error *reterr) {
        /* Its results are lines already; beside them only a line that rewrites itself is of use. */
        _cleanup_(progress_freep) Progress *progress = isatty(STDERR_FILENO) ? make_progress() : NULL;
        const VerifyOptions o = { .keys = arg.keys, .json = arg.json, .progress = progress };
        int r;

        r = verify_release(a[0], &o, reterr);
        if (r >= 0 && arg.reproducible)
                r = verify_reproducible(a[0], reterr);
        return r;
}

static int verb_inspect(char *const *a, Error *reterr) {
        const InspectOptions o = { .json = arg.json, .html_path = arg.html, .previous_folder = arg.previous };

        return inspect_release(a[0], &o, reterr);
}

static int verb_diff(char *const *a, Error *reterr) {
        const DiffOptions o = { .json = arg.json, .all = arg.all };
        int r;

        r = diff_releases(a[0], a[1], &o, reterr);
        return r > 0 ? refusal_exit_status(REFUSAL_DIFFERENT) : r;
}

static int verb_sign(char *const *a, Error *reterr) {
        _cleanup_(progress_freep) Progress *progress = make_progress();

        arg.sign.keys = arg.keys;
        arg.sign.release_build = arg.release;
        arg.sign.progress = progress;
        return sign_verb(a[0], &arg.sign, reterr);
}

static int verb_boot(char *const *a, Error *reterr) {
        arg.vm.keys = arg.keys;
        arg.vm.json = arg.json;
        arg.vm.quiet = arg.quiet;
        return vm_verb(a[0], a + 1, &arg.vm, reterr);
}

static int publish_sysupdate(char *const *a, Progress *progress, Error *reterr) {
        const PublishVerbOptions *p = &arg.publish;

        if (arg.keys || p->channel || p->rollout || p->notes || p->supersedes || p->critical || p->export_path ||
            p->dry_run || p->allow_older || p->epoch != PUBLISH_NO_EPOCH || p->from || p->allow_over_budget ||
            p->deltas != PUBLISH_DELTAS_DEFAULT)
                return error_set(reterr, EINVAL, REFUSAL_USAGE,
                                 "with --sysupdate-layout there are only --gpg-key, --best-before, --allow-development "
                                 "and --workers: systemd-sysupdate knows no channels, rollouts and descriptions");
        arg.sysupdate.workers = arg.workers;
        arg.sysupdate.allow_development = p->allow_development;
        arg.sysupdate.json = arg.json;
        arg.sysupdate.progress = progress;
        return sysupdate_verb(a[0], a[1], &arg.sysupdate, reterr);
}

static int verb_publish(char *const *a, Error *reterr) {
        _cleanup_(progress_freep) Progress *progress = make_progress();

        arg.publish.keys = arg.keys;
        arg.publish.workers = arg.workers;
        arg.publish.json = arg.json;
        arg.publish.progress = progress;
        if (arg.sysupdate_layout)
                return publish_sysupdate(a, progress, reterr);
        if (arg.sysupdate.gpg_key || arg.sysupdate.best_before)
                return error_set(reterr, EINVAL, REFUSAL_USAGE,
                                 "--gpg-key and --best-before are for --sysupdate-layout");
        return publish_verb(a[0], a[1], &arg.publish, reterr);
}

/* ---- keys, machine, store
 * ------------------------------------------------------------------------------------------------ */

static int verb_keys_generate(char *const *a, Error *reterr) {
        const KeysOptions o = { .folder = a[0], .production = arg.release, .organisation = arg.organisation };
        int r;

        r = keys_generate(&o, reterr);
        if (r < 0)
                return r;
        log_info("%s holds new keys%s. keys/README.md says what each is for.", a[0],
                 arg.release ? "" : ", marked as development keys: a release build refuses them");
        return 0;
}

static int verb_keys_show(char *const *a, Error *reterr) {
        _cleanup_json_ json_t *shown = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = keys_show(a[0], &shown, reterr);
        if (r < 0)
                return r;
        text = arg.json ? json_format(shown, false) : keys_format(shown);
        print_text(text);
        return 0;
}

static int verb_doctor(char *const *a, Error *reterr) {
        const DoctorOptions o = { .json = arg.json, .store = arg.store, .output = arg.output };

        return doctor_run(&o, reterr);
}

static int verb_gc(char *const *a, Error *reterr) {
        _cleanup_(store_freep) Store *store = NULL;
        _cleanup_free_ char *freed_text = NULL;
        uint64_t keep = arg.keep << 20, freed;
        int r;

        r = store_open(arg.store, &store, reterr);
        if (r >= 0)
                r = store_cache_trim(store, keep, &freed, reterr);
        if (r < 0)
                return r;
        freed_text = format_bytes(freed);
        if (arg.json)
                printf("{\"freed\":%" PRIu64 "}\n", freed);
        else
                log_info("%s of derived files removed from %s; packages are kept", freed_text, store->path);
        return 0;
}

/* ---- repositories ---------------------------------------------------------------------------------------- */

static RepoVerbOptions *repo_options(Progress *progress) {
        arg.repo.keys = arg.keys;
        arg.repo.json = arg.json;
        arg.repo.workers = arg.workers;
        arg.repo.progress = progress;
        return &arg.repo;
}

#define REPO_VERB(name, ...)                                                                                           \
        static int verb_repo_##name(char *const *a, Error *reterr) {                                                   \
                _cleanup_(progress_freep) Progress *progress = make_progress();                                        \
                                                                                                                       \
                return repo_verb_##name(__VA_ARGS__, repo_options(progress), reterr);                                  \
        }

REPO_VERB(init, a[0])
REPO_VERB(channel, a[0], a[1])
REPO_VERB(refresh, a[0], a + 1)
REPO_VERB(promote, a[0], a[1], a[2])
REPO_VERB(rollout, a[0], a[1], a[2])
REPO_VERB(withdraw, a[0], a[1], a[2])
REPO_VERB(delta, a[0], a[1], a[2])
REPO_VERB(sign, a[0])
REPO_VERB(import, a[0], a + 1)
REPO_VERB(status, a[0])
REPO_VERB(verify, a[0])
REPO_VERB(gc, a[0])
REPO_VERB(keys_show, a[0])
REPO_VERB(keys_generate, a[0])
REPO_VERB(keys_rotate, a[0], a[1], a[2])
REPO_VERB(keys_add, a[0], a[1], a[2])
REPO_VERB(keys_remove, a[0], a[1], a[2])

/* ---- the tables
 * ------------------------------------------------------------------------------------------------------------ */

#define OUTPUT                                                                                                         \
        { "output", 'o', OPTION_STRING, "DIR", "folder for releases (default: out)", &arg.output }
#define KEYS(text)                                                                                                     \
        { "keys", 'k', OPTION_STRING, "DIR", text, &arg.keys }

static const OptionSpec common_options[] = {
        { "help", 'h', OPTION_FLAG, NULL, "show this help", NULL },
        { "version", 0, OPTION_FLAG, NULL, "show the version", NULL },
        { "json", 0, OPTION_FLAG, NULL, "machine-readable output", &arg.json },
        { "quiet", 'q', OPTION_FLAG, NULL, "only results and errors", &arg.quiet },
        { "debug", 0, OPTION_FLAG, NULL, "everything that happens", &arg.debug },
        { "store", 0, OPTION_STRING, "DIR", "packages and caches (default: ~/.cache/sealab)", &arg.store },
};

static const OptionSpec new_options[] = {
        { "extends", 'e', OPTION_STRING, "RECIPE", "the recipe to start from", &arg.extends },
};
static const OptionSpec explain_options[] = {
        { "all", 'a', OPTION_FLAG, NULL, "also what a later file replaced", &arg.all },
};
static const OptionSpec lock_options[] = {
        { "update", 'u', OPTION_FLAG, NULL, "resolve again and show what changes", &arg.lock.update },
        { "snapshot", 0, OPTION_STRING, "URI", "take packages from this (dated) archive", &arg.lock.snapshot },
        { "store-from", 0, OPTION_STRING, "DIR", "take packages from another machine's store", &arg.lock.store_from },
        { "allow-older-archive", 0, OPTION_FLAG, NULL, "accept an archive older than the last lock's",
          &arg.lock.allow_older },
};
static const OptionSpec build_verb_options[] = {
        OUTPUT,
        { "version", 0, OPTION_STRING, "V", "version of the image (default: the recipe's, or year.month.counter)",
          &arg.version },
        { "plan", 0, OPTION_FLAG, NULL, "show steps, cache keys and why each will run", &arg.plan },
        KEYS("keys to sign with (default: keys/dev if it exists)"),
        { "release", 0, OPTION_FLAG, NULL, "refuse development keys, unsigned results and new ids", &arg.release },
        { "frozen-ids", 0, OPTION_FLAG, NULL, "refuse to extend ids.lock", &arg.frozen_ids },
        { "no-disk", 0, OPTION_FLAG, NULL, "leave out the disk image", &arg.no_disk },
        { "no-cache", 0, OPTION_FLAG, NULL, "do every step anew", &arg.no_cache },
        { "workers", 'j', OPTION_NUMBER, "N", "compressing threads (default: one for each processor)", &arg.workers },
};
static const OptionSpec inspect_options[] = {
        { "html", 0, OPTION_STRING, "FILE", "write a self-contained page", &arg.html },
        { "previous", 0, OPTION_STRING, "RELEASE", "compare with this release (default: the one before, beside it)",
          &arg.previous },
};
static const OptionSpec diff_options[] = {
        { "all", 'a', OPTION_FLAG, NULL, "every file, not only the first of each package", &arg.all },
};
static const OptionSpec verify_options[] = {
        KEYS("folder with the certificates to trust (default: keys/dev if it exists)"),
        { "reproducible", 0, OPTION_FLAG, NULL, "build it again without caches and compare bit for bit",
          &arg.reproducible },
        { "recipe", 0, OPTION_STRING, "DIR", "the recipe to build from (default: recipes/NAME)", &arg.recipe },
};
static const OptionSpec sign_options[] = {
        KEYS("keys to sign with (default: keys/dev if it exists)"),
        { "export", 0, OPTION_STRING, "FILE", "write what must be signed, and stop", &arg.sign.export_path },
        { "sign-file", 0, OPTION_STRING, "FILE", "on the key's machine: sign what --export wrote",
          &arg.sign.sign_path },
        { "out", 0, OPTION_STRING, "FILE", "where --sign-file writes (default: signed.json)", &arg.sign.out_path },
        { "import", 0, OPTION_STRING, "FILE", "check and attach what came back", &arg.sign.import_path },
        { "release", 0, OPTION_FLAG, NULL, "refuse development keys", &arg.release },
};
static const OptionSpec boot_options[] = {
        { "console", 'c', OPTION_FLAG, NULL, "the machine's console is this terminal", &arg.vm.console },
        { "ssh", 0, OPTION_FLAG, NULL, "log in as root by ssh once it is up; further words are the command",
          &arg.vm.ssh },
        { "secure-boot", 0, OPTION_FLAG, NULL, "firmware accepts only what our keys signed", &arg.vm.secure_boot },
        KEYS("keys to enrol for --secure-boot (default: keys/dev)"),
        { "tpm", 0, OPTION_FLAG, NULL, "with a TPM in software; --state keeps what it knows", &arg.vm.tpm },
        { "bus", 0, OPTION_STRING, "BUS", "how the disk is attached: virtio, usb, nvme, ahci", &arg.vm.bus },
        { "disk-size", 0, OPTION_STRING, "SIZE", "enlarge the machine's copy of the disk (8G)", &arg.vm.disk_size },
        { "state", 0, OPTION_STRING, "DIR", "keep the machine here from boot to boot", &arg.vm.state },
        { "memory", 'm', OPTION_STRING, "SIZE", "of the machine (default: 1G)", &arg.vm.memory },
        { "timeout", 't', OPTION_NUMBER, "SECONDS", "give up after this (default: 300)", &arg.vm.timeout },
        { "log", 0, OPTION_STRING, "FILE", "copy the console there", &arg.vm.log },
        { "network", 0, OPTION_FLAG, NULL, "the machine may reach the world", &arg.vm.network },
};
static const OptionSpec publish_options[] = {
        KEYS("keys of channel, snapshot and timestamp (default: keys/dev if it exists)"),
        { "channel", 0, OPTION_STRING, "C", "offer it there (default: stable)", &arg.publish.channel },
        { "rollout", 0, OPTION_STRING, "R", "share of machines: 10%, 10%/day, 1%+10%/day (default: all at once)",
          &arg.publish.rollout },
        { "notes", 0, OPTION_STRING, "TEXT", "one paragraph for people; @FILE: what is in there", &arg.publish.notes },
        { "epoch", 0, OPTION_NUMBER, "N", "security epoch (default: the channel's)", &arg.publish.epoch },
        { "critical", 0, OPTION_FLAG, NULL, "rollout and maintenance windows do not hold it back",
          &arg.publish.critical },
        { "supersedes", 0, OPTION_LIST, "V", "a version that this one replaces for good reasons",
          &arg.publish.supersedes },
        { "export", 0, OPTION_STRING, "FILE", "write what must be signed elsewhere, and stop",
          &arg.publish.export_path },
        { "dry-run", 0, OPTION_FLAG, NULL, "check and pack, and publish nothing", &arg.publish.dry_run },
        { "allow-development", 0, OPTION_FLAG, NULL, "take a release signed with development keys",
          &arg.publish.allow_development },
        { "allow-older", 0, OPTION_FLAG, NULL, "take a version or epoch below the channel's newest",
          &arg.publish.allow_older },
        { "deltas", 0, OPTION_NUMBER, "N", "make deltas from the channel's newest N releases (default: 3)",
          &arg.publish.deltas },
        { "from", 0, OPTION_LIST, "OLD", "and from this one: its version, or a release's folder (repeatable)",
          &arg.publish.from },
        { "allow-over-budget", 0, OPTION_FLAG, NULL, "publish whatever devices have to download",
          &arg.publish.allow_over_budget },
        { "sysupdate-layout", 0, OPTION_FLAG, NULL, "write what systemd-sysupdate follows instead",
          &arg.sysupdate_layout },
        { "gpg-key", 0, OPTION_STRING, "KEY", "with --sysupdate-layout: who signs, a file or a key of gpg",
          &arg.sysupdate.gpg_key },
        { "best-before", 0, OPTION_NUMBER, "DAYS", "with --sysupdate-layout: until when devices believe it",
          &arg.sysupdate.best_before },
        { "workers", 'j', OPTION_NUMBER, "N", "packing processes (default: one for each processor)", &arg.workers },
};
static const OptionSpec keys_generate_options[] = {
        { "release", 0, OPTION_FLAG, NULL, "real keys, not marked as development keys", &arg.release },
        { "organisation", 0, OPTION_STRING, "NAME", "for the certificates' names", &arg.organisation },
};
static const OptionSpec doctor_options[] = { OUTPUT };
static const OptionSpec gc_options[] = {
        { "keep", 0, OPTION_NUMBER, "MIB", "leave this much of derived files (default: 0)", &arg.keep },
};

#define REPO_KEYS KEYS("folder with the repository's keys, as many of them as are here")
#define REPO_EXPORT                                                                                                    \
        { "export", 0, OPTION_STRING, "FILE", "write what others must sign, publish nothing", &arg.repo.export_path }
#define REPO_CHANNEL(text)                                                                                             \
        { "channel", 'c', OPTION_STRING, "NAME", text, &arg.repo.channel }
#define REPO_ROLLOUT                                                                                                   \
        {                                                                                                              \
                "rollout", 0, OPTION_STRING, "SHARE", "machines that may take it: 10%, 10%/day, 5%+20%/day",           \
                        &arg.repo.rollout                                                                              \
        }
#define REPO_TYPE                                                                                                      \
        { "type", 0, OPTION_STRING, "TYPE", "ed25519 (default), ecdsa or rsa", &arg.repo.type }
#define REPO_EXPIRE                                                                                                    \
        { "expire", 0, OPTION_LIST, "ROLE=DAYS", "how long a role's metadata is valid (repeatable)", &arg.repo.expire }
#define REPO_THRESHOLD                                                                                                 \
        { "threshold", 0, OPTION_NUMBER, "N", "signatures that are needed", &arg.repo.threshold }

static const OptionSpec repo_init_options[] = {
        REPO_KEYS,
        { "root-threshold", 0, OPTION_NUMBER, "N", "signatures that a root needs (default: 1)",
          &arg.repo.root_threshold },
        { "channel", 'c', OPTION_LIST, "NAME", "a channel (repeatable; default: stable)", &arg.repo.channels },
        REPO_EXPIRE,
        REPO_EXPORT,
};
static const OptionSpec repo_channel_options[] = { REPO_KEYS, REPO_THRESHOLD, REPO_EXPORT };
static const OptionSpec repo_refresh_options[] = { REPO_KEYS, REPO_EXPIRE, REPO_EXPORT };
static const OptionSpec repo_promote_options[] = {
        REPO_CHANNEL("where it goes"),
        { "from", 0, OPTION_STRING, "NAME", "only if this channel has it", &arg.repo.from },
        REPO_ROLLOUT,
        REPO_KEYS,
        REPO_EXPORT,
};
static const OptionSpec repo_rollout_options[] = { REPO_CHANNEL("where it is"), REPO_ROLLOUT, REPO_KEYS, REPO_EXPORT };
static const OptionSpec repo_withdraw_options[] = {
        { "reason", 0, OPTION_STRING, "TEXT", "what devices show", &arg.repo.reason },
        REPO_CHANNEL("only there (default: everywhere)"),
        REPO_KEYS,
        REPO_EXPORT,
};
static const OptionSpec repo_delta_options[] = {
        REPO_CHANNEL("where it is (default: stable)"),
        { "deltas", 0, OPTION_NUMBER, "N", "from the channel's newest N older releases (default: 3; with --from: 0)",
          &arg.repo.deltas },
        { "from", 0, OPTION_LIST, "OLD", "from this one: its version, or a release's folder (repeatable)",
          &arg.repo.olders },
        { "dry-run", 'n', OPTION_FLAG, NULL, "make them, say what they save, and publish nothing", &arg.repo.dry_run },
        { "workers", 'j', OPTION_NUMBER, "N", "processes (default: one for each processor)", &arg.workers },
        REPO_KEYS,
        REPO_EXPORT,
};
static const OptionSpec repo_sign_options[] = {
        REPO_KEYS,
        { "out", 'o', OPTION_STRING, "FILE", "where it goes with the signatures (default: signed.json)",
          &arg.repo.out },
};
static const OptionSpec repo_import_options[] = { REPO_KEYS, REPO_EXPORT };
static const OptionSpec repo_look_options[] = { REPO_KEYS };
static const OptionSpec repo_gc_options[] = {
        { "keep", 0, OPTION_NUMBER, "N", "take all but the newest N releases of each product out of each channel",
          &arg.repo.keep },
        { "keep-deltas", 0, OPTION_NUMBER, "N", "take the deltas of all but the newest N releases out of each channel",
          &arg.repo.keep_deltas },
        { "dry-run", 'n', OPTION_FLAG, NULL, "only say what would go", &arg.repo.dry_run },
        { "now", 0, OPTION_FLAG, NULL, "also what clients may be reading right now", &arg.repo.at_once },
        REPO_KEYS,
        REPO_EXPORT,
};
static const OptionSpec repo_keys_generate_options[] = {
        REPO_TYPE,
        { "root", 0, OPTION_NUMBER, "N", "so many root keys (default: 1)", &arg.repo.root_keys },
};
static const OptionSpec repo_keys_rotate_options[] = {
        { "replace", 0, OPTION_STRING, "KEY", "which of several keys goes: a .pub file, or how its id begins",
          &arg.repo.replace },
        REPO_TYPE,
        REPO_KEYS,
        REPO_EXPORT,
};
static const OptionSpec repo_keys_change_options[] = { REPO_THRESHOLD, REPO_KEYS, REPO_EXPORT };

#define VERB(name, arguments, min, max, help, details, options, run)                                                   \
        { name, arguments, min, max, help, details, options, ELEMENTSOF(options), run }

static const VerbSpec verbs[] = {
        VERB("keys generate", "DIR", 1, 1, "make keys for signing",
             "Makes one pair for the root hash and one for Secure Boot, and what firmware needs to enrol the latter. "
             "Nothing is\n"
             "overwritten. Keep real keys on a token or an offline machine: keys/README.md.",
             keys_generate_options, verb_keys_generate),
        { "keys show", "DIR", 1, 1, "what is in a folder of keys", NULL, NULL, 0, verb_keys_show },
        VERB("new", "DIR", 1, 1, "write a recipe to start from", NULL, new_options, verb_new),
        VERB("explain", "RECIPE [KEY]", 1, 2, "the effective recipe, each value with its origin", NULL, explain_options,
             verb_explain),
        VERB("lock", "RECIPE", 1, 1, "pin and fetch every package (needs the network)",
             "Without a lock: resolves, writes RECIPE/recipe.lock and fetches all packages into the store. With one: "
             "fetches what is\n"
             "missing, and changes nothing. With --update: resolves again and shows the difference. Afterwards "
             "everything works\n"
             "with the network unplugged.",
             lock_options, verb_lock),
        VERB("build", "RECIPE", 1, 1, "make a release: image, hash tree, UKI, disk (offline)",
             "The release appears in DIR/ID_VERSION when it is complete, never before. Interrupt it at any time.",
             build_verb_options, verb_build),
        VERB("inspect", "RELEASE", 1, 1, "what is in a release", NULL, inspect_options, verb_inspect),
        VERB("diff", "RELEASE RELEASE", 2, 2, "what changed between two releases",
             "Exit status 0: the same for a device; 8: different.", diff_options, verb_diff),
        VERB("verify", "RELEASE", 1, 1, "recompute every hash, check every signature", NULL, verify_options,
             verb_verify),
        VERB("sign", "RELEASE", 0, 1, "sign a release, here or on another machine",
             "Offline: \"sign RELEASE --export tosign.json\"; carry the file to the key's machine; there \"sign "
             "--sign-file tosign.json\n"
             "--keys DIR --out signed.json\"; carry that back; \"sign RELEASE --import signed.json\".",
             sign_options, verb_sign),
        VERB("publish", "RELEASE REPOSITORY", 2, 2, "offer a release to devices",
             "REPOSITORY is a folder, s3://BUCKET/PREFIX or https://ENDPOINT/BUCKET/PREFIX, made by \"repo init\".\n"
             "What an interruption leaves undone the same command does: sealab-publish(1).",
             publish_options, verb_publish),
        VERB("boot", "RELEASE [COMMAND...]", 1, -1, "boot the disk image in QEMU", NULL, boot_options, verb_boot),
        VERB("doctor", "", 0, 0, "can this machine build? what to do if not", NULL, doctor_options, verb_doctor),
        VERB("repo init", "REPO", 1, 1, "make a repository for releases", NULL, repo_init_options, verb_repo_init),
        VERB("repo channel", "REPO NAME", 2, 2, "add a channel", NULL, repo_channel_options, verb_repo_channel),
        VERB("repo refresh", "REPO [ROLE...]", 1, -1, "sign again before it expires",
             "Without ROLE: a new timestamp, and a new snapshot when half of its time is over; for a cron job that has "
             "these two\nkeys only. With ROLE: new versions of these (root, targets, a channel).",
             repo_refresh_options, verb_repo_refresh),
        VERB("repo promote", "REPO PRODUCT VERSION", 3, 3, "bring a release into another channel", NULL,
             repo_promote_options, verb_repo_promote),
        VERB("repo rollout", "REPO PRODUCT VERSION", 3, 3, "change the share of machines that may take a release", NULL,
             repo_rollout_options, verb_repo_rollout),
        VERB("repo withdraw", "REPO PRODUCT VERSION", 3, 3, "take a release back: devices stop taking it", NULL,
             repo_withdraw_options, verb_repo_withdraw),
        VERB("repo delta", "REPO PRODUCT VERSION", 3, 3, "make deltas for a release that is there", NULL,
             repo_delta_options, verb_repo_delta),
        VERB("repo sign", "REQUEST", 1, 1, "on a key's machine: sign what --export wrote",
             "Shows in words what it signs. Several holders can sign one after the other, or each a copy: import takes "
             "all of them.",
             repo_sign_options, verb_repo_sign),
        VERB("repo import", "REPO FILE...", 2, -1, "publish what came back with signatures", NULL, repo_import_options,
             verb_repo_import),
        VERB("repo status", "REPO", 1, 1, "roles, keys, what expires when, channels, what to do next", NULL,
             repo_look_options, verb_repo_status),
        { "repo verify", "REPO", 1, 1, "check every signature, hash and file",
          "Exit status 0: all is well; 5: something is damaged.", NULL, 0, verb_repo_verify },
        VERB("repo gc", "REPO", 1, 1, "remove files that no client needs any more", NULL, repo_gc_options,
             verb_repo_gc),
        VERB("repo keys show", "REPO", 1, 1, "who signs what", NULL, repo_look_options, verb_repo_keys_show),
        VERB("repo keys generate", "KEYS", 1, 1, "make the keys of a repository", NULL, repo_keys_generate_options,
             verb_repo_keys_generate),
        VERB("repo keys rotate", "REPO ROLE [PUBKEY.pub]", 2, 3, "replace a key", NULL, repo_keys_rotate_options,
             verb_repo_keys_rotate),
        VERB("repo keys add", "REPO ROLE [PUBKEY.pub]", 2, 3, "give a role another key, or another threshold", NULL,
             repo_keys_change_options, verb_repo_keys_add),
        VERB("repo keys remove", "REPO ROLE KEY", 3, 3, "take a key from a role", NULL, repo_keys_change_options,
             verb_repo_keys_remove),
        VERB("gc", "", 0, 0, "remove derived files from the store", NULL, gc_options, verb_gc),
};

const OptionTable *verbs_table(void) {
        static const OptionTable table = {
                .program = "sealab",
                .pages = "sealab(1) and sealab-recipe(5)",
                .summary = "Builds image-based Linux systems: signed, dm-verity-protected EROFS images "
                           "of /usr from locked Debian packages.",
                .verbs = verbs,
                .n_verbs = ELEMENTSOF(verbs),
                .common = common_options,
                .n_common = ELEMENTSOF(common_options)
        };

        return &table;
}
