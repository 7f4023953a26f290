/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What Drop=, KeepLocales= and Modules= mean for one path. Pure functions over names: nothing looks at files. */

#include <fnmatch.h>

#include "recipe.h"

typedef struct DropGroup {
        const char *name, *help;
        const char *globs[24];
        const char *keeps[8]; /* what the globs hit and must stay */
} DropGroup;

static const DropGroup groups[] = {
        { "docs",
          "documentation; copyright files stay, licences require them",
          { "/usr/share/doc/*/*", "/usr/share/doc-base", "/usr/share/gtk-doc", "/usr/share/devhelp" },
          { "/usr/share/doc/*/copyright*" } },
        { "man", "manual pages", { "/usr/share/man", "/usr/local/share/man", "/etc/alternatives/**.[1-9]*.gz" } },
        { "info", "info pages", { "/usr/share/info" } },
        { "help", "help pages of desktop programs", { "/usr/share/help", "/usr/share/gnome/help" } },
        { "locales",
          "translations, but for KeepLocales= and the language of Locale=",
          /* What is kept inside these is decided by language, in path_is_dropped_locale(). */
          { "/usr/share/locale/*", "/usr/lib/locale/*", "/usr/share/man/??", "/usr/share/man/??_*",
            "/usr/share/man/??.*", "/usr/share/man/??@*", "/usr/share/help/*", "/usr/share/gnome/help/*/*",
            "/usr/share/locale-langpack/*" },
          { "/usr/share/help/C", "/usr/share/gnome/help/*/C", "/usr/share/locale/locale.alias",
            "/usr/lib/locale/C.utf8", "/usr/lib/locale/locale-archive" } },
        { "locale-sources", "what locale-gen compiles locales from", { "/usr/share/i18n" } },
        { "lintian", "overrides for the package checker", { "/usr/share/lintian" } },
        { "bug", "scripts for bug reports", { "/usr/share/bug", "/usr/share/reportbug", "/usr/share/apport" } },
        { "bash-completion", "completions for bash", { "/usr/share/bash-completion", "/etc/bash_completion.d" } },
        { "zsh-completion",
          "completions for zsh",
          { "/usr/share/zsh/vendor-completions", "/usr/share/zsh/site-functions" } },
        { "fish-completion", "completions for fish", { "/usr/share/fish" } },
        { "zoneinfo-right",
          "time zones with leap seconds, and the second copy of all zones",
          { "/usr/share/zoneinfo/right", "/usr/share/zoneinfo/posix" } },
        { "gconv",
          "converters for rare character sets",
          { "/usr/lib/*/gconv/*.so", "/usr/lib/*/gconv/gconv-modules.d/gconv-modules-extra.conf" },
          { "/usr/lib/*/gconv/UTF-*.so", "/usr/lib/*/gconv/UNICODE.so", "/usr/lib/*/gconv/ISO8859-1.so",
            "/usr/lib/*/gconv/ISO8859-15.so", "/usr/lib/*/gconv/CP1252.so", "/usr/lib/*/gconv/IBM850.so",
            "/usr/lib/*/gconv/IBM437.so" } },
        { "apt",
          "apt and dpkg: packages never change on the device",
          { "/usr/bin/apt",
            "/usr/bin/apt-*",
            "/usr/lib/apt",
            "/usr/lib/dpkg",
            "/usr/share/dpkg",
            "/usr/bin/dpkg",
            "/usr/bin/dpkg-*",
            "/usr/sbin/dpkg-*",
            "/usr/libexec/dpkg",
            "/usr/lib/*/libapt-*",
            "/etc/apt",
            "/etc/dpkg",
            "/var/lib/apt",
            "/var/lib/dpkg",
            "/usr/lib/systemd/system/apt-*",
            "/usr/lib/systemd/system/dpkg-*",
            "/etc/cron.daily/apt-compat",
            "/etc/cron.daily/dpkg",
            "/etc/logrotate.d/apt",
            "/etc/logrotate.d/dpkg",
            "/etc/logrotate.d/alternatives" } },
        { "debconf",
          "the questions of packages",
          { "/usr/share/debconf", "/usr/bin/debconf*", "/usr/sbin/dpkg-reconfigure", "/usr/sbin/dpkg-preconfigure",
            "/usr/share/perl5/Debconf", "/usr/share/perl5/Debian", "/var/cache/debconf", "/etc/debconf.conf" } },
        { "perl",
          "the base system's perl, where nothing needs it on the device",
          { "/usr/bin/perl", "/usr/bin/perl5*", "/usr/lib/*/perl-base", "/usr/lib/*/perl", "/usr/share/perl5",
            "/usr/share/perl", "/usr/sbin/pam-auth-update", "/usr/sbin/pam_getenv", "/usr/bin/c_rehash" } },
        { "python-cache",
          "compiled python, made again in memory",
          { "/usr/lib/**/__pycache__", "/usr/share/**/__pycache__" } },
        { "hwdb-sources", "texts that systemd-hwdb compiled to hwdb.bin", { "/usr/lib/udev/hwdb.d/*.hwdb" } },
        { "headers",
          "what only compilers read",
          { "/usr/include", "/usr/lib/*/pkgconfig", "/usr/share/pkgconfig", "/usr/lib/*/cmake", "/usr/share/cmake",
            "/usr/share/aclocal", "/usr/share/gir-1.0", "/usr/share/vala" } },
        { "static-libs", "libraries for static linking", { "/usr/lib/**.a", "/usr/lib/**.la" } },
        { "debug", "debug symbols", { "/usr/lib/debug" } },
        { "sysvinit", "init scripts of another init system", { "/etc/init.d", "/etc/rc[0-6S].d", "/usr/lib/init" } },
};

static const char *const group_names[] = { "docs",
                                           "man",
                                           "info",
                                           "help",
                                           "locales",
                                           "locale-sources",
                                           "lintian",
                                           "bug",
                                           "bash-completion",
                                           "zsh-completion",
                                           "fish-completion",
                                           "zoneinfo-right",
                                           "gconv",
                                           "apt",
                                           "debconf",
                                           "perl",
                                           "python-cache",
                                           "hwdb-sources",
                                           "headers",
                                           "static-libs",
                                           "debug",
                                           "sysvinit",
                                           NULL };
_Static_assert(ELEMENTSOF(group_names) == ELEMENTSOF(groups) + 1, "a group without its name in the list");

/* Kept under every circumstance. */
static const char *const always[] = { "/usr/share/doc/*/copyright*", "/usr/share/common-licenses",
                                      "/usr/share/licenses", NULL };

/* As builder/tree/gate.c has them. */
static const char *const gate_checks[] = {
        "private-key", "password-hash", "machine-id",     "seed",        "setgid-root",
        "unowned-id",  "dangling-link", "world-writable", "device-node", NULL
};

bool recipe_glob_matches(const char *glob, const char *path) {
        int flags = FNM_LEADING_DIR | (strstr(glob, "**") ? 0 : FNM_PATHNAME);

        return fnmatch(glob, path, flags) == 0;
}

static bool any_glob_matches(const char *const *globs, const char *path) {
        for (; globs && *globs; globs++)
                if (recipe_glob_matches(*globs, path))
                        return true;
        return false;
}

static const DropGroup *find_group(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(groups); i++)
                if (streq(groups[i].name, name))
                        return groups + i;
        return NULL;
}

/* The language in a path: "de_AT" in "/usr/share/locale/de_AT/LC_MESSAGES/x.mo". NULL where there is none. */
static const char *path_language(const char *path, size_t *ret_size) {
        static const char *const folders[] = { "/usr/share/locale-langpack/",
                                               "/usr/share/locale/",
                                               "/usr/lib/locale/",
                                               "/usr/share/man/",
                                               "/usr/share/help/",
                                               "/usr/share/gnome/help/" };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                const char *rest = startswith(path, folders[i]);

                if (!rest)
                        continue;
                if (i == ELEMENTSOF(folders) - 1) { /* here the program's name comes first */
                        rest = strchr(rest, '/');
                        rest = rest ? rest + 1 : "";
                }
                *ret_size = strcspn(rest, "/");
                return rest;
        }
        return NULL;
}

/* "de" covers de, de_AT and de@euro; "pt_BR" covers pt_BR and pt, which programs fall back to. */
static bool language_covers(const char *kept, const char *name, size_t size) {
        size_t n = strcspn(kept, "."), language = strcspn(kept, "_@.");

        if (size >= n && strncmp(kept, name, n) == 0 && (size == n || strchr("_@.", name[n])))
                return true;
        return size == language && strncmp(kept, name, language) == 0;
}

static bool locale_is_kept(const Recipe *r, const char *path) {
        size_t size;
        const char *name = path_language(path, &size);

        if (!name)
                return false;
        if (r->locale && !startswith(r->locale, "C.") && language_covers(r->locale, name, size))
                return true;
        STRV_FOREACH (kept, r->keep_locales)
                if (language_covers(*kept, name, size))
                        return true;
        return false;
}

bool recipe_module_is_kept(const Recipe *r, const char *path) {
        _cleanup_free_ char *plain = xstrdup(path), *name = xstrdup(path);
        char *suffix = strstr(name, ".ko");
        bool kept = false;

        if (suffix && (suffix[3] == 0 || suffix[3] == '.')) {
                plain[suffix - name + 3] = 0; /* however the release packs its modules */
                *suffix = 0;
        }
        if (strv_length(r->modules) == 0)
                return true;
        STRV_FOREACH (glob, r->modules) {
                bool out = **glob == '!';

                if (!recipe_glob_matches(*glob + out, name) && !recipe_glob_matches(*glob + out, plain) &&
                    !recipe_glob_matches(*glob + out, path))
                        continue;
                if (out)
                        return false;
                kept = true;
        }
        return kept;
}

const char *const *recipe_drop_groups(void) {
        return group_names;
}

const char *const *recipe_drop_globs(const char *group) {
        const DropGroup *g = find_group(group);

        return g ? g->globs : NULL;
}

const char *recipe_drop_help(const char *group) {
        const DropGroup *g = find_group(group);

        return g ? g->help : NULL;
}

bool recipe_path_is_dropped(const Recipe *r, const char *path) {
        /* What was /etc is the factory copy later on; the answer must not depend on when one asks. */
        const char *inside = startswith(path, "/usr/share/factory/");

        path = inside ? inside - 1 : path;
        if (any_glob_matches(always, path))
                return false;
        STRV_FOREACH (drop, r->drop) {
                const DropGroup *g = find_group(*drop);

                if (!g && recipe_glob_matches(*drop, path))
                        return true;
                if (g && any_glob_matches(g->globs, path) && !any_glob_matches(g->keeps, path) &&
                    !(streq(g->name, "locales") && locale_is_kept(r, path)))
                        return true;
        }
        return false;
}

const char *const *recipe_gate_checks(void) {
        return gate_checks;
}
