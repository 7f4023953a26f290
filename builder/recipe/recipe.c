/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "recipe.h"
#include "io.h"
#include "recipe-check.h"
#include "recipe-load.h"

/* systemd's parts for partitions and for dm-verity became packages of their own in Debian 13. */
#define INITRD_BASE "systemd", "udev", "kmod", "dmsetup", "mount", "util-linux", "coreutils", "dash", "e2fsprogs"
#define INITRD_SPLIT INITRD_BASE, "systemd-cryptsetup", "systemd-repart"
/* What systemd opens by name where a TPM keeps the key. */
#define INITRD_SEALED                                                                                                  \
        INITRD_SPLIT, "libtss2-esys-3.0.2-0t64", "libtss2-mu-4.0.1-0t64", "libtss2-rc0t64", "libtss2-tcti-device0t64"
#define TOOLS_BASE "systemd", "udev", "kmod", "libc-bin", "systemd-boot-efi"

/* Enough to refuse a package that could not be one; the resolver copies it into the store anyway. */
#define LOCAL_DEB_SIZE_MAX ((uint64_t) 8 << 30)

static const char *const tools_packages[] = { TOOLS_BASE, NULL };
static const char *const tools_packages_split[] = { TOOLS_BASE, "systemd-repart", NULL };

/* The root partition is made at the first boot: by RootFormat=, and by release (before or since the split) and
 * RootEncryption=tpm2, which no release before the split can do. */
typedef enum InitrdSet { INITRD_SET_WHOLE, INITRD_SET_SPLIT, INITRD_SET_SEALED, _INITRD_SET_MAX } InitrdSet;
static const struct {
        const char *root_format;
        const char *packages[_INITRD_SET_MAX][20];
} initrd_packages[] = {
        { "ext4", { { INITRD_BASE }, { INITRD_SPLIT }, { INITRD_SEALED } } },
        { "btrfs",
          { { INITRD_BASE, "btrfs-progs" }, { INITRD_SPLIT, "btrfs-progs" }, { INITRD_SEALED, "btrfs-progs" } } },
        { "xfs", { { INITRD_BASE, "xfsprogs" }, { INITRD_SPLIT, "xfsprogs" }, { INITRD_SEALED, "xfsprogs" } } },
};

static void name_values_free(NameValue *l, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(l[i].name);
                free(l[i].value);
        }
        free(l);
}

static void exceptions_free(struct GateException *l, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(l[i].check);
                free(l[i].path_glob);
                free(l[i].reason);
                free(l[i].where);
        }
        free(l);
}

static void origins_free(struct RecipeOrigin *l, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(l[i].section);
                free(l[i].key);
                free(l[i].value);
                free(l[i].file);
        }
        free(l);
}

Recipe *recipe_free(Recipe *r) {
        if (!r)
                return NULL;
        char *const texts[] = { r->path,           r->name,          r->image_id,         r->version,
                                r->architecture,   r->hostname,      r->locale,           r->keymap,
                                r->timezone,       r->root_password, r->keyring,          r->default_target,
                                r->kernel_package, r->command_line,  r->root_format,      r->update_url,
                                r->update_channel, r->key_folder,    r->sysupdate_source, r->sysupdate_keyring,
                                r->root_encryption };
        char **const lists[] = { r->folders,  r->suites,     r->components, r->mirrors,        r->install,
                                 r->remove,   r->local_debs, r->files,      r->drop,           r->keep_locales,
                                 r->sysusers, r->tmpfiles,   r->presets,    r->repart,         r->enable,
                                 r->disable,  r->mask,       r->modules,    r->initrd_modules, r->initrd_packages };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                free(texts[i]);
        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                strv_free(lists[i]);
        name_values_free(r->os_release, r->n_os_release);
        exceptions_free(r->gate_exceptions, r->n_gate_exceptions);
        origins_free(r->origins, r->n_origins);
        free(r);
        return NULL;
}

char *recipe_codename(const Recipe *r) {
        const char *suite = strv_length(r->suites) > 0 ? r->suites[0] : "";

        return xstrndup(suite, strcspn(suite, "-/"));
}

static bool is_split(const Recipe *r) {
        _cleanup_free_ char *codename = recipe_codename(r);

        return !streq(codename, "bookworm");
}

const char *const *recipe_tools_packages(const Recipe *r) {
        return is_split(r) ? tools_packages_split : tools_packages;
}

const char *const *recipe_initrd_packages(const Recipe *r) {
        InitrdSet set = streq_ptr(r->root_encryption, "tpm2") ? INITRD_SET_SEALED
                        : is_split(r)                         ? INITRD_SET_SPLIT
                                                              : INITRD_SET_WHOLE;

        for (size_t i = 0; i < ELEMENTSOF(initrd_packages); i++)
                if (streq_ptr(r->root_format, initrd_packages[i].root_format))
                        return initrd_packages[i].packages[set];
        return initrd_packages[0].packages[set];
}

/* A name in front of each list, and its length: no two recipes may run into the same bytes. */
static void hash_list(Hasher *h, const char *name, char *const *list, bool ordered) {
        _cleanup_strv_free_ char **copy = strv_copy(list);
        _cleanup_free_ char *count = NULL;

        if (!ordered)
                strv_sort_unique(copy);
        count = xasprintf("%zu", strv_length(copy));
        hasher_update_string(h, name);
        hasher_update_string(h, count);
        STRV_FOREACH (s, copy)
                hasher_update_string(h, *s);
}

static int hash_local_debs(Hasher *h, const Recipe *r, Error *reterr) {
        _cleanup_strv_free_ char **digests = NULL;

        STRV_FOREACH (path, r->local_debs) {
                Sha256 digest;
                uint64_t size;
                int result = sha256_file(AT_FDCWD, *path, &digest, &size, reterr);

                if (result < 0)
                        return error_prefix(reterr, "LocalDebs= of the recipe %s", r->name);
                if (size > LOCAL_DEB_SIZE_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is too large for a package", *path);
                strv_push(&digests, sha256_hex(&digest));
        }
        hash_list(h, "local-debs", digests, false);
        return 0;
}

int recipe_request_digest(const Recipe *r, Sha256 *ret, Error *reterr) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        int result;

        hasher_update_string(h, "sealab-request-1");
        hasher_update_string(h, r->architecture);
        hasher_update_string(h, r->kernel_package);
        hasher_update_string(h, r->recommends ? "recommends" : "depends");
        hash_list(h, "suites", r->suites, true);
        hash_list(h, "components", r->components, false);
        hash_list(h, "install", r->install, false);
        hash_list(h, "initrd", r->initrd_packages, false);
        hash_list(h, "initrd-built-in", (char *const *) recipe_initrd_packages(r), false);
        hash_list(h, "tools", (char *const *) recipe_tools_packages(r), false);
        result = hash_local_debs(h, r, reterr);
        if (result < 0)
                return result;
        hasher_final(h, ret);
        return 0;
}

static char *example_recipe(const char *name, const char *extends) {
        _cleanup_buffer_ Buffer b = {};

        buffer_printf(&b,
                      "# The image %s. sealab-recipe(5) explains every key; see the result with:\n"
                      "#     sealab explain PATH-OF-THIS-FOLDER\n",
                      name);
        if (extends)
                buffer_printf(&b, "[Recipe]\nExtends=%s\n\n", extends);
        buffer_printf(&b, "[Image]\nId=%s\n", name);
        buffer_puts(&b, "# Without a version, one is made of the date and a counter: 2026.11.1\n"
                        "#Version=1.0\n\n"
                        "[OsRelease]\n"
                        "#PRETTY_NAME=Example OS\n"
                        "#HOME_URL=https://www.example.org/\n\n"
                        "[Packages]\n"
                        "# Names separated by spaces; repeat the key as often as you like.\n");
        buffer_puts(&b, extends ? "#Install=htop tmux\n\n" : "Install=systemd systemd-sysv udev dbus login passwd\n\n");
        buffer_puts(&b, "[Units]\n"
                        "#Enable=ssh.service\n\n"
                        "[Update]\n"
                        "# Where machines with this image look for the next one.\n"
                        "#Url=https://updates.example.org/example\n\n"
                        "# Files for the image go into the folder files/ beside this one: files/etc/motd becomes\n"
                        "# /etc/motd. sysusers.d/, tmpfiles.d/, preset.d/ and repart.d/ hold what systemd reads.\n");
        return buffer_steal(&b);
}

static int check_new(const char *path, const char *name, const char *extends, Error *reterr) {
        _cleanup_free_ char *suggestion = NULL, *reason = check_image_id(name, &suggestion), *found = NULL;

        if (reason) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "the folder's name becomes the image's id, and '%s' %s",
                          name, reason);
                return error_hint(reterr, "Choose another name, for example recipes/acme.");
        }
        if (io_exists(AT_FDCWD, path)) {
                error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s exists already", path);
                return error_hint(reterr, "Choose another name, or edit %s/" RECIPE_FILE_NAME ".", path);
        }
        if (!extends || recipe_find(path, extends, &found) == 0)
                return 0;
        suggestion = recipe_suggest_neighbour(path, extends);
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "no recipe '%s' to extend", extends);
        return error_hint(reterr, "%s", suggestion ?: "Name a recipe beside the new one, or a path relative to it.");
}

int recipe_create(const char *path, const char *extends, Error *reterr) {
        _cleanup_free_ char *folder = xstrdup(path), *file = NULL, *text = NULL;
        int r;

        for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--)
                folder[n - 1] = 0;
        r = check_new(folder, path_basename(folder), extends, reterr);
        if (r < 0)
                return r;
        r = io_mkdir_parents(AT_FDCWD, folder, 0777, reterr);
        if (r < 0)
                return r;
        file = path_join(folder, RECIPE_FILE_NAME);
        text = example_recipe(path_basename(folder), extends);
        return io_replace_file(AT_FDCWD, file, text, strlen(text), 0644, reterr);
}
