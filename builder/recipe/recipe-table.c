/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <strings.h>

#include "recipe-check.h"
#include "recipe-table.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

#define FIELD(name) .offset = offsetof(Recipe, name)

/* In the order in which sealab explain and the manual page show them. */
const RecipeKey recipe_keys[] = {
        { "Recipe", "Extends", RECIPE_EXTENDS, .help = "recipes to inherit from: names beside this one, or paths" },

        { "Image", "Id", RECIPE_TEXT, FIELD(image_id), check_image_id,
          .help = "name of the image line; default: the folder's name" },
        { "Image", "Version", RECIPE_TEXT, FIELD(version), check_version,
          .help = "version of the image; default: year, month and a counter" },
        { "Image", "Architecture", RECIPE_TEXT, FIELD(architecture), check_architecture, .fallback = "amd64",
          .help = "Debian's name of the architecture: amd64 or arm64" },
        { "Image", "Hostname", RECIPE_TEXT, FIELD(hostname), check_hostname,
          .help = "host name of a new machine; default: the image's id" },
        { "Image", "Locale", RECIPE_TEXT, FIELD(locale), check_locale, .fallback = "C.UTF-8", .help = "system locale" },
        { "Image", "Keymap", RECIPE_TEXT, FIELD(keymap), check_keymap, .fallback = "us",
          .help = "keyboard of the console" },
        { "Image", "Timezone", RECIPE_TEXT, FIELD(timezone), check_timezone, .fallback = "UTC",
          .help = "time zone of a new machine" },
        { "Image", "RootPassword", RECIPE_TEXT, FIELD(root_password), check_root_password, .fallback = "locked",
          .help = "locked, or empty for test images" },

        { "Archive", "Suites", RECIPE_WORDS, FIELD(suites), check_suite,
          .fallback = "trixie trixie-updates trixie-security",
          .help = "suites to take packages from; the release first" },
        { "Archive", "Components", RECIPE_WORDS, FIELD(components), check_component, .fallback = "main",
          .help = "components of each suite" },
        { "Archive", "Mirror", RECIPE_WORDS, FIELD(mirrors), check_mirror,
          .help = "URI, or SUITE=URI; default: the mirrors that this machine is set up for" },
        { "Archive", "Keyring", RECIPE_FILE, FIELD(keyring),
          .fallback = "/usr/share/keyrings/debian-archive-keyring.gpg", .help = "keys that may sign the archive" },

        { "Packages", "Install", RECIPE_WORDS, FIELD(install), check_package, .help = "packages of the image" },
        { "Packages", "Remove", RECIPE_WORDS, FIELD(remove), check_package,
          .help = "packages whose files leave the finished image" },
        { "Packages", "LocalDebs", RECIPE_DEBS, FIELD(local_debs), .help = "package files, or globs of them" },
        { "Packages", "Recommends", RECIPE_BOOL, FIELD(recommends), .fallback = "no",
          .help = "install recommended packages too" },

        { "Content", "Files", RECIPE_FOLDERS, FIELD(files), .help = "folders laid over the tree, besides files/" },
        { "Content", "Drop", RECIPE_WORDS, FIELD(drop), check_drop, .help = "groups or absolute globs to leave out" },
        { "Content", "KeepLocales", RECIPE_WORDS, FIELD(keep_locales), check_keep_locale,
          .help = "languages that Drop=locales leaves in" },

        { "Units", "Enable", RECIPE_WORDS, FIELD(enable), check_unit_glob, .help = "units to start at boot" },
        { "Units", "Disable", RECIPE_WORDS, FIELD(disable), check_unit_glob, .help = "units not to start at boot" },
        { "Units", "Mask", RECIPE_WORDS, FIELD(mask), check_unit, .help = "units that can never start" },
        { "Units", "DefaultTarget", RECIPE_TEXT, FIELD(default_target), check_target, .fallback = "multi-user.target",
          .help = "what the system boots to" },

        { "Kernel", "Package", RECIPE_TEXT, FIELD(kernel_package), check_package,
          .help = "kernel package; default: linux-image-ARCHITECTURE" },
        { "Kernel", "Modules", RECIPE_WORDS, FIELD(modules), check_module_glob,
          .help = "globs of modules to keep, !GLOB takes out again; default: all" },
        { "Kernel", "InitrdModules", RECIPE_WORDS, FIELD(initrd_modules), check_initrd_module,
          .help = "modules that the initrd holds besides the built-in list" },
        { "Kernel", "CommandLine", RECIPE_JOINED, FIELD(command_line), check_command_line,
          .help = "kernel command line" },

        { "Initrd", "Packages", RECIPE_WORDS, FIELD(initrd_packages), check_package,
          .help = "packages of the initrd besides the built-in list" },

        { "Usr", "Layout", RECIPE_LAYOUT, FIELD(layout), .fallback = "lz4hc", .help = "lz4hc or plain" },
        { "Usr", "Level", RECIPE_NUMBER, FIELD(level), .min = 1, .max = 12, .fallback = "9",
          .help = "compression level, 1 to 12" },
        { "Usr", "Cluster", RECIPE_SIZE, FIELD(cluster), check_cluster, .min = 4096, .max = MIB, .fallback = "16K",
          .help = "bytes compressed together: a power of two from 4K to 1M" },

        { "Disk", "EspSize", RECIPE_SIZE, FIELD(esp_size), .min = 64 * MIB, .max = 16 * GIB, .fallback = "256M",
          .help = "EFI system partition" },
        { "Disk", "UsrSize", RECIPE_SIZE, FIELD(usr_size), .min = 0, .max = TIB, .fallback = "0",
          .help = "one slot for /usr; 0: twice the first image" },
        { "Disk", "RootMinSize", RECIPE_SIZE, FIELD(root_size_min), .min = 64 * MIB, .max = TIB, .fallback = "512M",
          .help = "room for the root partition" },
        { "Disk", "RootFormat", RECIPE_TEXT, FIELD(root_format), check_root_format, .fallback = "ext4",
          .help = "ext4, btrfs or xfs" },
        { "Disk", "RootEncryption", RECIPE_TEXT, FIELD(root_encryption), check_root_encryption, .fallback = "none",
          .help = "none; tpm2 or passphrase: what opens the root partition" },

        { "Update", "Url", RECIPE_TEXT, FIELD(update_url), check_url, .help = "where the image looks for updates" },
        { "Update", "Channel", RECIPE_TEXT, FIELD(update_channel), check_channel, .fallback = "stable",
          .help = "which releases it follows" },
        { "Update", "DownloadBudget", RECIPE_SIZE, FIELD(download_budget), .min = 0, .max = TIB, .fallback = "0",
          .help = "what an update from the release before may download; 0: whatever it takes" },
        { "Update", "SysupdateSource", RECIPE_TEXT, FIELD(sysupdate_source), check_sysupdate_source,
          .help = "where systemd-sysupdate looks for releases" },
        { "Update", "SysupdateKeyring", RECIPE_FILE, FIELD(sysupdate_keyring),
          .help = "OpenPGP keys that may sign what it finds there" },

        { "Sign", "Keys", RECIPE_PATH, FIELD(key_folder), .help = "folder with the keys of each role" },

        { "Gate", "Allow", RECIPE_EXCEPTIONS, .help = "CHECK:/PATH-GLOB: reason; an exception from the gate" },
};
const size_t n_recipe_keys = ELEMENTSOF(recipe_keys);

const RecipeKey *recipe_key_find(const char *section, const char *key) {
        for (size_t i = 0; i < n_recipe_keys; i++)
                if (streq(recipe_keys[i].section, section) && streq(recipe_keys[i].key, key))
                        return recipe_keys + i;
        return NULL;
}

bool recipe_section_exists(const char *section) {
        if (streq(section, RECIPE_OS_RELEASE))
                return true;
        for (size_t i = 0; i < n_recipe_keys; i++)
                if (streq(recipe_keys[i].section, section))
                        return true;
        return false;
}

char *recipe_suggest_section(const char *section) {
        const char *names[ELEMENTSOF(recipe_keys) + 2] = { RECIPE_OS_RELEASE };

        for (size_t i = 0; i < n_recipe_keys; i++)
                names[i + 1] = recipe_keys[i].section;
        return suggest_phrase(section, names);
}

/* A right name in the wrong section is the commonest slip, so that is looked for first. */
char *recipe_suggest_key_phrase(const char *section, const char *key) {
        const char *names[ELEMENTSOF(recipe_keys) + 1] = {};
        const char *near;
        size_t n = 0;

        for (size_t i = 0; i < n_recipe_keys; i++)
                if (strcasecmp(recipe_keys[i].key, key) == 0 && !streq(recipe_keys[i].section, section))
                        return xasprintf("%s= belongs to [%s]", recipe_keys[i].key, recipe_keys[i].section);
        for (size_t i = 0; i < n_recipe_keys; i++)
                if (streq(recipe_keys[i].section, section))
                        names[n++] = recipe_keys[i].key;
        near = conf_suggest(key, names);
        if (near)
                return xasprintf("did you mean '%s='?", near);
        near = recipe_suggest_key(key);
        if (!near)
                return NULL;
        for (size_t i = 0; i < n_recipe_keys; i++)
                if (streq(recipe_keys[i].key, near))
                        return xasprintf("did you mean '%s=' of [%s]?", near, recipe_keys[i].section);
        return NULL;
}

const char *recipe_suggest_key(const char *key) {
        const char *names[ELEMENTSOF(recipe_keys) + 1] = {};
        const char *dot = strchr(key, '.');

        for (size_t i = 0; i < n_recipe_keys; i++)
                names[i] = recipe_keys[i].key;
        return conf_suggest(dot ? dot + 1 : key, names);
}
