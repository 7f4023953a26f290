/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is wanted: a folder with one recipe.conf, drop-ins in recipe.conf.d/, Extends= for inheritance, and plain files
 * beside them. Data only; nothing is executed. sealab-recipe(5) is the contract.
 *
 * Order of reading: the recipes named by Extends= (each with its own drop-ins), then recipe.conf, then
 * recipe.conf.d/NAME.conf by name. A later single value replaces an earlier one; lists grow by repeating the key, in
 * one file or across files; an empty value empties the list. The same single-valued key twice in one file is an error.
 *
 * Globs, wherever the recipe has them: '*', '?' and [...] do not match a slash, except in a glob that holds "**"; a
 * glob that matches a folder matches all below it. recipe_glob_matches() is the one implementation. */

#include "conf.h"
#include "json.h"

/* Partition labels are at most 36 UTF-16 units: "ID_VERSION_verity_sig" must fit. */
#define RECIPE_LABEL_MAX 36
#define RECIPE_ID_AND_VERSION_MAX (RECIPE_LABEL_MAX - sizeof("__verity_sig") + 1)
/* What x86 kernels take, without what the build adds (usrhash= with 64 digits and mount.usr*=). */
#define RECIPE_COMMAND_LINE_MAX 1700
#define RECIPE_FOLDERS_MAX 64 /* recipes that one recipe may inherit from, all told */
#define RECIPE_DROPINS_MAX 256

typedef enum UsrLayout { USR_LAYOUT_PLAIN, USR_LAYOUT_LZ4HC, _USR_LAYOUT_MAX } UsrLayout;

typedef struct NameValue {
        char *name, *value;
} NameValue;

typedef struct Recipe {
        char *path;     /* folder of the recipe itself, as given */
        char *name;     /* last component of its real path */
        char **folders; /* every folder in inheritance order, the recipe's own last: where files/, sysusers.d/ ... are
                           looked for */

        /* [Image] */
        char *image_id;      /* Id=; default: the recipe's name */
        char *version;       /* Version=; NULL: from the lock's date and a counter */
        char *architecture;  /* Architecture=; Debian's word: amd64, arm64; default amd64 */
        char *hostname;      /* Hostname= */
        char *locale;        /* Locale=; default C.UTF-8 */
        char *keymap;        /* Keymap= */
        char *timezone;      /* Timezone=; default UTC */
        char *root_password; /* RootPassword=; "locked" (default) or "empty" (for test images; the gate needs a reason)
                              */

        /* [OsRelease]: any KEY=value that os-release(5) allows, written over the distribution's */
        NameValue *os_release;
        size_t n_os_release;

        /* [Archive] */
        char **suites;     /* Suites=trixie trixie-updates trixie-security */
        char **components; /* Components=main */
        char **mirrors;    /* Mirror=URI for all suites, or SUITE=URI; empty: the system's configured mirrors */
        char *keyring;     /* Keyring=; default /usr/share/keyrings/debian-archive-keyring.gpg */

        /* [Packages] */
        char **install;    /* Install= */
        char **remove;     /* Remove=: files of these packages leave the finished tree */
        char **local_debs; /* LocalDebs=: paths or globs relative to the recipe folder that names them (made absolute)
                            */
        bool recommends;   /* Recommends=; default no */

        /* [Content] */
        char **files; /* Files=: overlay folders; default "files" where it exists, in each recipe folder (absolute) */
        char **drop;  /* Drop=: docs man info locales lintian bash-completion ... or absolute globs */
        char **keep_locales; /* KeepLocales= */

        /* Plain files in the recipe folders, absolute paths sorted by name. A later folder's file replaces an earlier
         * folder's of the same name. */
        char **sysusers; /* sysusers.d/NAME.conf */
        char **tmpfiles; /* tmpfiles.d/NAME.conf */
        char **presets;  /* preset.d/NAME.preset: system units */
        char **repart;   /* repart.d/NAME.conf */

        /* [Units] */
        char **enable, **disable, **mask;
        char *default_target; /* DefaultTarget= */

        /* [Kernel] */
        char *kernel_package;  /* Package=linux-image-amd64 */
        char **modules;        /* Modules=: globs over module paths below kernel/ to keep in /usr, "!GLOB" takes out
                                  again; empty: all. recipe_module_is_kept() applies them */
        char **initrd_modules; /* InitrdModules=: module names or globs over paths, added to the built-in list */
        char *command_line;    /* CommandLine=: repeated values are joined by a space */

        /* [Initrd] */
        char **initrd_packages; /* Packages=: beyond the built-in list */

        /* [Usr] */
        UsrLayout layout; /* Layout=lz4hc */
        uint64_t level;   /* Level=9 (1-12) */
        uint64_t cluster; /* Cluster=16K (4K-1M, power of two) */

        /* [Disk] */
        uint64_t esp_size;      /* EspSize=256M */
        uint64_t usr_size;      /* UsrSize=: one slot; 0: twice the first image, rounded up to 64M */
        uint64_t root_size_min; /* RootMinSize=512M: room that the disk image reserves for the root partition */
        char *root_format;      /* RootFormat=ext4 (ext4, btrfs, xfs) */
        char *root_encryption;  /* RootEncryption=none (none, tpm2, passphrase) */

        /* [Update] */
        char *update_url;         /* Url= */
        char *update_channel;     /* Channel=stable */
        uint64_t download_budget; /* DownloadBudget=: of an update from the release before; 0: none */
        /* For devices that follow with systemd-sysupdate instead; both or none. */
        char *sysupdate_source;  /* SysupdateSource= */
        char *sysupdate_keyring; /* SysupdateKeyring= (absolute) */

        /* [Sign] */
        char *key_folder; /* Keys=: folder with the roles' keys; default: --keys, then keys/dev beside the recipes */

        /* [Gate]: exceptions: Allow=CHECK:PATH-GLOB: reason */
        struct GateException {
                char *check, *path_glob, *reason;
                char *where; /* file:line */
        } * gate_exceptions;
        size_t n_gate_exceptions;

        /* Where each effective value came from, for sealab explain: in key order. */
        struct RecipeOrigin {
                char *section, *key, *value;
                char *file; /* NULL: built-in default */
                unsigned line;
                bool overridden; /* a later file replaced or emptied it */
        } * origins;
        size_t n_origins;
} Recipe;

/* Reads and checks a recipe folder. All problems of all files are collected in diagnostics (borrowed, may not be NULL);
 * then the result is -EINVAL with a summary in reterr. */
int recipe_load(const char *path, ConfDiagnostics *diagnostics, Recipe **ret, Error *reterr);
Recipe *recipe_free(Recipe *r);
DEFINE_CLEANUP(Recipe *, recipe_free)

/* Text for people: sections and keys, each value with "file:line" (or "default"); overridden ones only if all.
 * only_key: "Install" or "Packages.Install"; NULL: all keys. NULL comes back if there is no such key: then
 * recipe_suggest_key() has the nearest one, or NULL. */
const char *recipe_suggest_key(const char *key);
char *recipe_explain(const Recipe *r, const char *only_key, bool all);

json_t *recipe_to_json(const Recipe *r);

/* The settings that decide which packages are needed (suites, components, architecture, install, local debs by digest,
 * kernel, initrd and tools packages, root format): the lock remembers this digest. Mirrors, keyring, paths and the
 * order in which packages are named are not part of it. */
int recipe_request_digest(const Recipe *r, Sha256 *ret, Error *reterr);

/* Packages that every recipe needs beyond its own list, per purpose; NULL-terminated, static. They depend on the
 * release (systemd is split differently in Debian 12) and on RootFormat=. */
const char *const *recipe_tools_packages(const Recipe *r);
const char *const *recipe_initrd_packages(const Recipe *r);
/* The release's code name: the first suite without "-updates" and the like; owned. */
char *recipe_codename(const Recipe *r);

/* Glob as described above; path and glob both absolute or both relative. */
bool recipe_glob_matches(const char *glob, const char *path);
/* Modules=: path is relative to kernel/, with or without .ko, .ko.xz ...: "drivers/nvme/host/nvme.ko". What kept
 * modules depend on is the caller's business. */
bool recipe_module_is_kept(const Recipe *r, const char *path);

/* Drop=: the named groups (NULL-terminated, static), what each takes out, and one line about it; NULL for an unknown
 * group. */
const char *const *recipe_drop_groups(void);
const char *const *recipe_drop_globs(const char *group);
const char *recipe_drop_help(const char *group);
/* Whether Drop= and KeepLocales= leave this absolute path out of the image. Copyright files always stay: licences
 * require them. */
bool recipe_path_is_dropped(const Recipe *r, const char *path);

/* The checks of the gate that Allow= may name, NULL-terminated, static. */
const char *const *recipe_gate_checks(void);

/* sealab new: writes a small commented recipe that extends another (NULL: none). Refuses to overwrite
 * (REFUSAL_EXISTS). */
int recipe_create(const char *path, const char *extends, Error *reterr);
