/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A tiny package archive that a test makes itself: packages by dpkg-deb, indexes by apt-ftparchive, signed with a key
 * made on the spot. Everything lies in one temporary folder. */

#include "fetch.h"
#include "io.h"
#include "process.h"
#include "resolve.h"

typedef struct ArchiveFixture {
        char *folder;  /* everything */
        char *mirror;  /* folder/mirror */
        char *uri;     /* file:// of it */
        char *keyring; /* exported key */
        char *recipe_folder;
        Recipe *recipe;
        Store *store;
        Lock *lock;
        LockMirrors *mirrors;
        Error error;
} ArchiveFixture;

/* Runs a shell script in the fixture's folder; a failure fails the test. */
static inline void fixture_run(ArchiveFixture *f, const char *script) {
        const char *const argv[] = { "sh", "-euc", script, NULL };
        _cleanup_error_ Error e = {};

        if (process_run((char *const *) argv, &(ProcessOptions){ .cwd = f->folder }, NULL, NULL, &e) < 0)
                fail_msg("%s\n%s", script, e.message);
}

static inline void fixture_runf(ArchiveFixture *f, const char *fmt, ...) _printf_(2, 3);
static inline void fixture_runf(ArchiveFixture *f, const char *fmt, ...) {
        _cleanup_free_ char *script = NULL;
        va_list ap;

        va_start(ap, fmt);
        script = xvasprintf(fmt, ap);
        va_end(ap);
        fixture_run(f, script);
}

/* One package of version VERSION in the pool; extra: lines of its control file, with a newline at their end. */
static inline void fixture_add_package(ArchiveFixture *f, const char *name, const char *version, const char *extra) {
        fixture_runf(f,
                     "rm -rf p; mkdir -p p/DEBIAN p/usr/share/%s mirror/pool/main; echo '%s %s' >p/usr/share/%s/data\n"
                     "printf 'Package: %%s\\nVersion: %%s\\nArchitecture: all\\nMaintainer: A <a@example.org>\\n"
                     "Description: test\\n%%s' %s %s '%s' >p/DEBIAN/control\n"
                     "dpkg-deb -b --root-owner-group p mirror/pool/main >/dev/null",
                     name, name, version, name, name, version, extra);
}

static inline void fixture_index(ArchiveFixture *f) {
        fixture_run(f, "cd mirror; d=dists/trixie/main/binary-amd64; mkdir -p $d\n"
                       "apt-ftparchive packages pool >$d/Packages 2>/dev/null; gzip -kf $d/Packages");
}

/* Writes Release, edited by a sed script, and the signature over it. */
static inline void fixture_sign(ArchiveFixture *f, const char *key, const char *edit) {
        fixture_runf(f,
                     "cd mirror/dists/trixie; rm -f Release InRelease; o=APT::FTPArchive::Release\n"
                     "apt-ftparchive -o $o::Origin=Test -o $o::Suite=stable -o $o::Codename=trixie "
                     "-o $o::Components=main -o $o::Architectures='amd64 all' release . 2>/dev/null | sed '%s' "
                     ">../Release.new; mv ../Release.new Release\n"
                     "gpg --homedir ../../../gpg -q --batch --yes -u %s --clearsign -o InRelease Release\n"
                     "rm Release",
                     edit, key);
}

static inline void fixture_publish(ArchiveFixture *f) {
        fixture_index(f);
        fixture_sign(f, "good@example.org", "");
}

static inline void fixture_write_recipe(ArchiveFixture *f, const char *uri, const char *more) {
        _cleanup_free_ char *path = path_join(f->recipe_folder, "recipe.conf"),
                            *text = xasprintf("[Image]\nId=tiny\n[Archive]\nSuites=trixie\nComponents=main\nMirror=%s\n"
                                              "Keyring=%s\n[Packages]\nInstall=wanted\n[Kernel]\nPackage=kernel\n%s",
                                              uri, f->keyring, more);
        _cleanup_(conf_diagnostics_done) ConfDiagnostics d = {};
        _cleanup_error_ Error e = {};

        f->recipe = recipe_free(f->recipe);
        if (io_write_file(AT_FDCWD, path, text, strlen(text), 0644, &e) < 0)
                fail_msg("%s", e.message);
        if (recipe_load(f->recipe_folder, &d, &f->recipe, &e) < 0) {
                _cleanup_free_ char *problems = conf_diagnostics_format(&d);

                fail_msg("%s\n%s", e.message, problems);
        }
}

/* Keys, and the archive that most tests begin with: once for all tests of a program. */
static inline void fixture_make_template(const char *folder) {
        static const char *const needed[] = {
                "systemd",    "udev",      "kmod",  "dmsetup",          "mount",
                "util-linux", "coreutils", "dash",  "e2fsprogs",        "systemd-cryptsetup",
                "libc-bin",   "kernel",    "other", "systemd-boot-efi", "systemd-repart"
        };
        ArchiveFixture f = { .folder = (char *) folder };

        fixture_run(&f,
                    "mkdir -m 0700 gpg; for n in good wrong; do gpg --homedir gpg -q --batch --passphrase '' "
                    "--quick-generate-key $n@example.org ed25519 sign 1d 2>/dev/null; gpg --homedir gpg -q --export "
                    "$n@example.org >$n.gpg; done; gpg --homedir gpg -q --armor --export good@example.org >good.asc");
        fixture_add_package(&f, "base", "1", "Essential: yes\n");
        fixture_add_package(&f, "wanted", "1:1.0-1+b1", "Source: src (1:1.0-1)\nDepends: needed\nRecommends: other\n");
        fixture_add_package(&f, "needed", "2~rc1", "");
        for (size_t i = 0; i < ELEMENTSOF(needed); i++)
                fixture_add_package(&f, needed[i], "1", "");
        fixture_publish(&f);
        fixture_run(&f, "gpgconf --homedir gpg --kill all");
}

static inline ArchiveFixture *fixture_new(const char *template_folder, const char *more_of_recipe) {
        ArchiveFixture *f = xnew(ArchiveFixture, 1);
        _cleanup_free_ char *store = NULL;
        _cleanup_error_ Error e = {};

        if (io_temporary_folder("test", &f->folder, &e) < 0)
                fail_msg("%s", e.message);
        f->mirror = path_join(f->folder, "mirror");
        f->uri = xasprintf("file://%s", f->mirror);
        f->keyring = path_join(f->folder, "good.gpg");
        f->recipe_folder = path_join(f->folder, "recipe");
        store = path_join(f->folder, "store");
        fixture_runf(f, "mkdir recipe; cp -a %s/gpg %s/mirror %s/*.gpg %s/*.asc .", template_folder, template_folder,
                     template_folder, template_folder);
        fixture_write_recipe(f, f->uri, more_of_recipe);
        if (store_open(store, &f->store, &e) < 0)
                fail_msg("%s", e.message);
        return f;
}

static inline void fixture_free(ArchiveFixture *f) {
        fixture_run(f, "gpgconf --homedir gpg --kill all");
        recipe_free(f->recipe);
        store_free(f->store);
        lock_free(f->lock);
        lock_mirrors_free(f->mirrors);
        error_done(&f->error);
        (void) io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f->mirror);
        free(f->uri);
        free(f->keyring);
        free(f->recipe_folder);
        free(f);
}
DEFINE_CLEANUP(ArchiveFixture *, fixture_free)

/* Resolves anew; the result replaces f->lock. */
static inline int fixture_resolve(ArchiveFixture *f, const LockResolveOptions *opt) {
        Lock *l = NULL;
        LockMirrors *m = NULL;
        int r;

        error_done(&f->error);
        r = lock_resolve(f->recipe, f->store, NULL, opt, &l, &m, &f->error);
        if (r < 0)
                return r;
        lock_free(f->lock);
        lock_mirrors_free(f->mirrors);
        f->lock = l;
        f->mirrors = m;
        return 0;
}
