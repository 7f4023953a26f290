/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "recipe-check.h"
#include "version.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

#define HOSTNAME_MAX 64
#define UNIT_NAME_MAX 255

static const char *const architectures[] = { "amd64", "arm64", NULL };
static const char *const components[] = { "main", "contrib", "non-free", "non-free-firmware", NULL };
static const char *const root_passwords[] = { "locked", "empty", NULL };
static const char *const root_formats[] = { "ext4", "btrfs", "xfs", NULL };
static const char *const root_encryptions[] = { "none", "tpm2", "passphrase", NULL };
static const char *const unit_types[] = { ".service",   ".socket", ".target", ".timer",  ".path",  ".mount",
                                          ".automount", ".swap",   ".slice",  ".device", ".scope", NULL };
/* Names that move from one release to the next by themselves. */
static const char *const moving_suites[] = { "stable", "oldstable", "oldoldstable", "testing", NULL };
/* Written by the build, which alone knows the root hash. */
static const char *const build_options[] = { "usrhash=",
                                             "roothash=",
                                             "mount.usr=",
                                             "mount.usrfstype=",
                                             "mount.usrflags=",
                                             "systemd.verity_usr_data=",
                                             "systemd.verity_usr_hash=",
                                             NULL };
static const char *const module_folders[] = { "arch", "block", "certs",   "crypto",   "drivers", "fs",   "lib",
                                              "mm",   "net",   "samples", "security", "sound",   "virt", NULL };
static const char *const reserved_os_release[] = { "IMAGE_ID", "IMAGE_VERSION", NULL };

char *suggest_phrase(const char *word, const char *const *candidates) {
        const char *near = conf_suggest(word, candidates);

        return near ? xasprintf("did you mean '%s'?", near) : NULL;
}

static bool consists_of(const char *s, const char *letters) {
        return s[strspn(s, letters)] == 0;
}

static bool is_one_of(const char *value, const char *const *l) {
        for (; *l; l++)
                if (streq(value, *l))
                        return true;
        return false;
}

static char *check_choice(const char *value, const char *const *choices, const char *what, char **ret_suggestion) {
        _cleanup_free_ char *list = NULL;

        if (is_one_of(value, choices))
                return NULL;
        list = strv_join((char *const *) choices, ", ");
        *ret_suggestion = suggest_phrase(value, choices);
        if (!*ret_suggestion)
                *ret_suggestion = xasprintf("one of: %s", list);
        return xasprintf("is not %s", what);
}

char *check_image_id(const char *value, char **ret_suggestion) {
        if (!*value || !consists_of(value, LOWER DIGITS "-") || value[0] == '-' || value[strlen(value) - 1] == '-')
                return xstrdup("is not an image id: lower-case letters, digits and '-' inside");
        /* The shortest version there can be has one character. */
        if (strlen(value) >= RECIPE_ID_AND_VERSION_MAX)
                return xasprintf(
                        "is too long for an image id: with the version it may have %zu characters, for partition "
                        "labels hold no more",
                        RECIPE_ID_AND_VERSION_MAX);
        return NULL;
}

char *check_version(const char *value, char **ret_suggestion) {
        if (version_is_valid(value))
                return NULL;
        *ret_suggestion = xstrdup("for example 2026.11.3; '_' and '/' separate names, '+' and a digit is the boot "
                                  "loader's counter");
        return xasprintf("is not a version: 1 to %d letters, digits and . + ~ ^ -", VERSION_LENGTH_MAX);
}

char *check_architecture(const char *value, char **ret_suggestion) {
        static const struct {
                const char *other, *debian;
        } words[] = { { "x86_64", "amd64" }, { "x86-64", "amd64" }, { "x64", "amd64" }, { "aarch64", "arm64" } };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (streq(value, words[i].other)) {
                        *ret_suggestion = xasprintf("Debian's word for it is '%s'", words[i].debian);
                        return xstrdup("is not a supported architecture");
                }
        return check_choice(value, architectures, "a supported architecture", ret_suggestion);
}

char *check_hostname(const char *value, char **ret_suggestion) {
        size_t n = strlen(value);
        bool good = n <= HOSTNAME_MAX && value[0] != '.' && consists_of(value, LOWER UPPER DIGITS "-.") &&
                    !strstr(value, "..");

        for (const char *s = value; good && s; s = strchr(s, '.')) {
                s += *s == '.';
                good = *s && *s != '-' && *s != '.';
        }
        if (good && value[n - 1] != '-' && value[n - 1] != '.' && !strstr(value, "-."))
                return NULL;
        return xasprintf("is not a host name: at most %d letters, digits, '-' and dots inside", HOSTNAME_MAX);
}

char *check_locale(const char *value, char **ret_suggestion) {
        size_t language = strspn(value, LOWER);
        const char *s = value + language;

        if (streq(value, "C.UTF-8"))
                return NULL;
        if (s[0] == '_') {
                if (strspn(s + 1, UPPER) != 2)
                        goto bad;
                s += 3;
        }
        if (language < 2 || language > 3)
                goto bad;
        if (!startswith(s, ".UTF-8")) {
                *ret_suggestion = xasprintf("did you mean '%.*s.UTF-8'?", (int) (s - value), value);
                return xstrdup("is not a UTF-8 locale");
        }
        s += strlen(".UTF-8");
        if (*s == 0 || (*s == '@' && s[1] && consists_of(s + 1, LOWER)))
                return NULL;
bad:
        *ret_suggestion = xstrdup("for example C.UTF-8 or de_DE.UTF-8");
        return xstrdup("is not a locale");
}

char *check_keymap(const char *value, char **ret_suggestion) {
        if (consists_of(value, LOWER UPPER DIGITS "-_.") && value[0] != '.' && value[0] != '-')
                return NULL;
        *ret_suggestion = xstrdup("for example us or de-latin1");
        return xstrdup("is not a keymap");
}

char *check_timezone(const char *value, char **ret_suggestion) {
        if (consists_of(value, LOWER UPPER DIGITS "-_+/") && value[0] >= 'A' && value[0] <= 'Z' &&
            !strstr(value, "//") && value[strlen(value) - 1] != '/')
                return NULL;
        *ret_suggestion = xstrdup("for example UTC or Europe/Berlin");
        return xstrdup("is not a time zone");
}

char *check_root_password(const char *value, char **ret_suggestion) {
        return check_choice(value, root_passwords, "what the root password can be", ret_suggestion);
}

char *check_suite(const char *value, char **ret_suggestion) {
        _cleanup_free_ char *first = xstrndup(value, strcspn(value, "-/"));

        if (!consists_of(value, LOWER DIGITS "-+./") || value[0] < 'a' || value[0] > 'z' || strstr(value, "//") ||
            strstr(value, "..") || value[strlen(value) - 1] == '/') {
                *ret_suggestion = xstrdup("for example trixie or trixie-security");
                return xstrdup("is not a suite");
        }
        if (!is_one_of(first, moving_suites))
                return NULL;
        *ret_suggestion = xasprintf("for example trixie%s", value + strlen(first));
        return xstrdup("moves to another release by itself; name the release");
}

char *check_component(const char *value, char **ret_suggestion) {
        if (consists_of(value, LOWER DIGITS "-/") && value[0] >= 'a' && value[0] <= 'z' && !strstr(value, "//"))
                return NULL;
        return check_choice(value, components, "a component", ret_suggestion);
}

static bool is_url(const char *value, const char *const *schemes) {
        const char *rest = NULL;

        for (; !rest && *schemes; schemes++)
                rest = startswith(value, *schemes);
        /* No user@: a recipe is public, and so is the lock made of it. */
        return rest && *rest && !strpbrk(rest, " \"'\\<>@|^`{}") && (rest[0] != '/' || startswith(value, "file:"));
}

char *check_mirror(const char *value, char **ret_suggestion) {
        static const char *const schemes[] = { "https://", "http://", "file://", NULL };
        const char *equals = strchr(value, '='), *uri = equals && equals < strstr(value, "://") ? equals + 1 : value;

        if (uri > value) {
                _cleanup_free_ char *suite = xstrndup(value, (size_t) (uri - value - 1));

                _cleanup_free_ char *reason = isempty(suite) ? xstrdup("") : check_suite(suite, ret_suggestion);

                if (reason)
                        return xstrdup("does not name a suite before '='");
        }
        if (is_url(uri, schemes))
                return NULL;
        *ret_suggestion = xstrdup("URI for all suites or SUITE=URI, with https, http or file, and without a password");
        return xstrdup("is not a mirror");
}

char *check_package(const char *value, char **ret_suggestion) {
        static const char letters[] = LOWER DIGITS "+-.";
        size_t good = strspn(value, letters);

        if (value[good] == 0 && good >= 2 && !strchr("+-.", value[0]))
                return NULL;
        if (value[good] == ',')
                *ret_suggestion = xstrdup("separate names by spaces");
        else if (value[good] == ':')
                *ret_suggestion = xstrdup("packages come in the image's own architecture; write the name alone");
        else if (value[good] == '=')
                *ret_suggestion = xstrdup("versions are pinned by recipe.lock; write the name alone");
        else if (value[good] == '/' && endswith(value, ".deb"))
                *ret_suggestion = xstrdup("package files go into LocalDebs=");
        return xstrdup("is not a package name: lower-case letters, digits and + - . inside");
}

char *check_drop(const char *value, char **ret_suggestion) {
        if (value[0] == '/') {
                if (!strstr(value, "//") && !strstr(value, "/../") && value[1])
                        return NULL;
                return xstrdup("is not a glob over absolute paths");
        }
        if (is_one_of(value, recipe_drop_groups()))
                return NULL;
        *ret_suggestion = suggest_phrase(value, recipe_drop_groups());
        if (!*ret_suggestion) {
                _cleanup_free_ char *list = strv_join((char *const *) recipe_drop_groups(), " ");

                *ret_suggestion = xasprintf("groups: %s; globs begin with '/'", list);
        }
        return xstrdup("is neither a group nor a glob");
}

char *check_keep_locale(const char *value, char **ret_suggestion) {
        size_t language = strspn(value, LOWER);
        const char *s = value + language;

        if (language >= 2 && language <= 3 && *s == '_' && strspn(s + 1, UPPER) == 2)
                s += 3;
        if (language >= 2 && language <= 3 && (*s == 0 || (*s == '@' && s[1] && consists_of(s + 1, LOWER))))
                return NULL;
        *ret_suggestion = xstrdup("for example de, pt_BR or sr@latin");
        return xstrdup("is not a language");
}

static char *check_unit_name(const char *value, const char *letters, char **ret_suggestion) {
        const char *type = strrchr(value, '.');

        if (strlen(value) > UNIT_NAME_MAX || !consists_of(value, letters) || type == value || value[0] == '@') {
                *ret_suggestion = xstrdup("for example ssh.service");
                return xstrdup("is not a unit");
        }
        if (type && is_one_of(type, unit_types))
                return NULL;
        if (type && conf_suggest(type, unit_types) && !streq(type, conf_suggest(type, unit_types)))
                *ret_suggestion = xasprintf("did you mean '%.*s%s'?", (int) (type - value), value,
                                            conf_suggest(type, unit_types));
        else
                *ret_suggestion = xasprintf("did you mean '%s.service'?", value);
        return xstrdup("is not a unit: its type is missing");
}

char *check_unit(const char *value, char **ret_suggestion) {
        return check_unit_name(value, LOWER UPPER DIGITS ":-_.\\@", ret_suggestion);
}

char *check_unit_glob(const char *value, char **ret_suggestion) {
        if (streq(value, "*"))
                return NULL;
        return check_unit_name(value, LOWER UPPER DIGITS ":-_.\\@*?[]", ret_suggestion);
}

char *check_target(const char *value, char **ret_suggestion) {
        if (!endswith(value, ".target")) {
                *ret_suggestion = xstrdup("for example multi-user.target or graphical.target");
                return xstrdup("is not a target");
        }
        return check_unit(value, ret_suggestion);
}

char *check_module_glob(const char *value, char **ret_suggestion) {
        const char *glob = value + (value[0] == '!');
        _cleanup_free_ char *first = xstrndup(glob, strcspn(glob, "/"));

        if (!strpbrk(first, "*?[") && !is_one_of(first, module_folders) && *first) {
                *ret_suggestion = suggest_phrase(first, module_folders);
                if (!*ret_suggestion)
                        *ret_suggestion =
                                xstrdup("a glob below kernel/, for example drivers/nvme or !drivers/net/wireless");
                return xstrdup("does not begin with a folder of kernel modules");
        }
        if (*glob && *glob != '/' && consists_of(glob, LOWER UPPER DIGITS "-_.,*?[]!/") && !strstr(glob, "//") &&
            !strstr(glob, "..") && !startswith(glob, "kernel/"))
                return NULL;
        *ret_suggestion = xstrdup("a glob below kernel/, for example drivers/nvme or !drivers/net/wireless");
        return xstrdup("is not a glob over modules");
}

char *check_initrd_module(const char *value, char **ret_suggestion) {
        if (strchr(value, '/') && value[0] != '!')
                return check_module_glob(value, ret_suggestion);
        if (consists_of(value, LOWER UPPER DIGITS "-_"))
                return NULL;
        *ret_suggestion = xstrdup("a module's name (nvme) or a glob below kernel/ (drivers/nvme)");
        return xstrdup("is not a module");
}

char *check_command_line(const char *value, char **ret_suggestion) {
        _cleanup_strv_free_ char **words = strv_split(value, " ");

        for (const char *s = value; *s; s++)
                if (*s < 0x20 || *s > 0x7e)
                        return xstrdup("holds characters that the kernel's command line cannot");
        STRV_FOREACH (w, words)
                for (const char *const *o = build_options; *o; o++)
                        if (startswith(*w, *o)) {
                                *ret_suggestion = xstrdup("leave it out");
                                return xasprintf("sets %s, which the build writes itself", *o);
                        }
        return NULL;
}

char *check_cluster(const char *value, char **ret_suggestion) {
        uint64_t size;

        if (parse_size(value, &size) && size >= 4096 && size <= 1 << 20 && (size & (size - 1)) == 0)
                return NULL;
        *ret_suggestion = xstrdup("4K, 8K, 16K ... 1M");
        return xstrdup("is not a cluster size: a power of two from 4K to 1M");
}

char *check_root_format(const char *value, char **ret_suggestion) {
        return check_choice(value, root_formats, "a format for the root partition", ret_suggestion);
}

char *check_root_encryption(const char *value, char **ret_suggestion) {
        return check_choice(value, root_encryptions, "a way to encrypt the root partition", ret_suggestion);
}

char *check_url(const char *value, char **ret_suggestion) {
        static const char *const schemes[] = { "https://", "http://", NULL };

        if (is_url(value, schemes))
                return NULL;
        *ret_suggestion = xstrdup("for example https://updates.example.org/acme");
        return xstrdup("is not a web address without a password");
}

/* systemd opens nothing else, and takes a question mark or hash sign for a part of the folder's name. */
char *check_sysupdate_source(const char *value, char **ret_suggestion) {
        static const char *const schemes[] = { "https://", "http://", "file:///", NULL };

        for (const char *p = value; *p; p++)
                if ((uint8_t) *p <= 0x20 || (uint8_t) *p >= 0x7f || strchr("?#", *p)) {
                        *ret_suggestion = xstrdup("for example https://updates.example.org/acme");
                        return xstrdup("holds characters that have no place in a folder's address");
                }
        if (is_url(value, schemes))
                return NULL;
        *ret_suggestion = xstrdup("for example https://updates.example.org/acme, or file:///srv/acme");
        return xstrdup("is not an https, http or file address without a password");
}

char *check_channel(const char *value, char **ret_suggestion) {
        if (consists_of(value, LOWER DIGITS "-") && value[0] != '-' && strlen(value) <= 32)
                return NULL;
        *ret_suggestion = xstrdup("for example stable");
        return xstrdup("is not a channel: at most 32 lower-case letters, digits and '-'");
}

char *check_os_release_key(const char *key, char **ret_suggestion) {
        if (!consists_of(key, UPPER DIGITS "_") || (key[0] >= '0' && key[0] <= '9') || key[0] == '_') {
                *ret_suggestion = xstrdup("upper-case letters, digits and '_', as in PRETTY_NAME=");
                return xstrdup("is not a name for os-release");
        }
        if (!is_one_of(key, reserved_os_release))
                return NULL;
        *ret_suggestion = xasprintf("set %s= in [Image]", streq(key, "IMAGE_ID") ? "Id" : "Version");
        return xstrdup("is written by the build");
}

char *check_os_release_value(const char *key, const char *value, char **ret_suggestion) {
        static const char *const words[] = { "ID", "VERSION_ID", "VERSION_CODENAME", "VARIANT_ID", NULL };

        if (is_one_of(key, words) && !consists_of(value, LOWER DIGITS "._-")) {
                *ret_suggestion = xstrdup("programs compare it: lower-case letters, digits and . _ -");
                return xasprintf("is not a value for %s=", key);
        }
        if (endswith(key, "_URL") && !strstr(value, ":")) {
                *ret_suggestion = xstrdup("begin it with https://");
                return xstrdup("is not a URL");
        }
        return NULL;
}

char *check_exception(const char *value, char **ret_check, char **ret_glob, char **ret_reason, char **ret_suggestion) {
        _cleanup_free_ char *check = xstrndup(value, strcspn(value, ":")), *glob = NULL;
        const char *rest = value + strlen(check), *reason;
        size_t n;

        if (!is_one_of(check, recipe_gate_checks())) {
                _cleanup_free_ char *list = strv_join((char *const *) recipe_gate_checks(), " ");

                *ret_suggestion = suggest_phrase(check, recipe_gate_checks());
                if (!*ret_suggestion)
                        *ret_suggestion = xasprintf("checks: %s", list);
                return xstrdup("does not begin with a check of the gate");
        }
        *ret_suggestion = xstrdup("Allow=CHECK:/PATH-GLOB: reason");
        rest += *rest == ':';
        n = strcspn(rest, " \t");
        if (n < 2 || rest[0] != '/' || rest[n - 1] != ':')
                return xstrdup("names no absolute path followed by a colon and a space");
        glob = xstrndup(rest, n - 1);
        reason = rest + n + strspn(rest + n, " \t");
        if (!*reason)
                return xstrdup("gives no reason");
        if (streq(glob, "/") || streq(glob, "/*") || streq(glob, "/**") || streq(glob, "/usr"))
                return xstrdup("would allow everything");
        free(TAKE_PTR(*ret_suggestion));
        *ret_check = TAKE_PTR(check);
        *ret_glob = TAKE_PTR(glob);
        *ret_reason = xstrdup(reason);
        return NULL;
}
