/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "io.h"
#include "recipe-table.h"

/* Golden recipes: test/golden/recipe/CASE holds the recipe "main" (or, in one case, another name), its neighbours, and
 * either explain.txt or errors.txt. SEALAB_TEST_UPDATE=1 writes them anew. */

static const char *source_folder(void) {
        const char *s = getenv("SEALAB_TEST_SOURCE");

        return s ? s : ".";
}

static char *read_text(const char *path) {
        char *text = NULL;

        if (io_read_file(AT_FDCWD, path, (size_t) 4 << 20, &text, NULL, NULL) < 0)
                return NULL;
        return text;
}

static void write_text(const char *path, const char *text) {
        _cleanup_error_ Error e = {};

        if (io_write_file(AT_FDCWD, path, text, strlen(text), 0644, &e) < 0)
                fail_msg("%s", e.message);
}

/* Where the sources lie must not show in expected texts. */
static char *hide_folder(const char *text, const char *folder) {
        Buffer b = {};
        const char *hit;

        while ((hit = strstr(text, folder))) {
                buffer_append(&b, text, (size_t) (hit - text));
                buffer_puts(&b, "DIR");
                text = hit + strlen(folder);
        }
        buffer_puts(&b, text);
        return buffer_steal(&b);
}

static void check_golden(const char *name) {
        _cleanup_(recipe_freep) Recipe *recipe = NULL;
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *got = NULL, *shown = NULL, *expected = NULL, *here = realpath(".", NULL);
        const char *main_folder = io_exists(AT_FDCWD, "main") ? "main" : "Main_One";
        int r = recipe_load(main_folder, &d, &recipe, &e);
        const char *file = r < 0 ? "errors.txt" : "explain.txt";

        assert_true((r < 0) == (d.n_items > 0));
        if (r < 0) {
                assert_int_equal(r, -EINVAL);
                assert_int_equal(e.id, REFUSAL_BAD_VALUE);
                assert_non_null(e.hint);
                assert_null(recipe);
                got = conf_diagnostics_format(&d);
        } else
                got = recipe_explain(recipe, NULL, true);
        shown = hide_folder(got, here);
        if (getenv("SEALAB_TEST_UPDATE"))
                write_text(file, shown);
        expected = read_text(file);
        if (!expected)
                fail_msg("%s: there is no %s", name, file);
        if (!streq(shown, expected))
                fail_msg("%s: expected\n%s\ngot\n%s", name, expected, shown);
}

static void golden_recipes_give_the_expected_values_or_the_expected_problems(void **state) {
        _cleanup_free_ char *folder = path_join(source_folder(), "test/golden/recipe"), *back = realpath(".", NULL);
        size_t n_good = 0, n_bad = 0;
        DIR *dir = opendir(folder);
        struct dirent *e;

        assert_non_null(dir);
        while ((e = readdir(dir))) {
                _cleanup_free_ char *one = path_join(folder, e->d_name);

                if (e->d_name[0] == '.')
                        continue;
                if (startswith(e->d_name, "error-"))
                        n_bad++;
                else
                        n_good++;
                assert_int_equal(chdir(one), 0);
                assert_true(io_exists(AT_FDCWD, startswith(e->d_name, "error-") ? "errors.txt" : "explain.txt") ||
                            getenv("SEALAB_TEST_UPDATE"));
                check_golden(e->d_name);
                assert_int_equal(chdir(back), 0);
        }
        closedir(dir);
        assert_true(n_good >= 4);
        assert_true(n_bad >= 25);
}

/* A recipe in a folder of its own, with text as its recipe.conf. */
typedef struct Place {
        char *folder, *recipe;
} Place;

static int make_place(void **state) {
        Place *p = xnew(Place, 1);
        _cleanup_error_ Error e = {};

        if (io_temporary_folder("test-recipe", &p->folder, &e) < 0)
                fail_msg("%s", e.message);
        p->recipe = path_join(p->folder, "it");
        *state = p;
        return mkdir(p->recipe, 0755);
}

static int remove_place(void **state) {
        Place *p = *state;

        io_remove_tree(AT_FDCWD, p->folder, NULL);
        free(p->folder);
        free(p->recipe);
        free(p);
        return 0;
}

static void put(const char *folder, const char *name, const char *text) {
        _cleanup_free_ char *path = path_join(folder, name), *parent = path_dirname(path);

        assert_int_equal(io_mkdir_parents(AT_FDCWD, parent, 0755, NULL), 0);
        write_text(path, text);
}

static Recipe *load(const char *path) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_error_ Error e = {};
        Recipe *r = NULL;

        if (recipe_load(path, &d, &r, &e) < 0) {
                _cleanup_free_ char *text = conf_diagnostics_format(&d);

                fail_msg("%s\n%s", e.message, text);
        }
        return r;
}

static Recipe *load_text(Place *p, const char *text) {
        put(p->recipe, "recipe.conf", text);
        return load(p->recipe);
}

static Sha256 digest_of(Place *p, const char *text) {
        _cleanup_(recipe_freep) Recipe *r = load_text(p, text);
        _cleanup_error_ Error e = {};
        Sha256 digest;

        if (recipe_request_digest(r, &digest, &e) < 0)
                fail_msg("%s", e.message);
        return digest;
}

static void request_digest_depends_on_what_is_asked_for_only(void **state) {
        static const char base[] = "[Packages]\nInstall=one two\n";
        static const struct {
                const char *text;
                bool equal;
        } cases[] = {
                { "[Packages]\nInstall=two\nInstall=one one\n", true },
                { "[Packages]\nInstall=one two\n[Image]\nKeymap=de\nVersion=1\n[Usr]\nLevel=1\n", true },
                { "[Packages]\nInstall=one two\nRemove=three\n[Content]\nDrop=docs\n", true },
                { "[Packages]\nInstall=one two\n[Archive]\nMirror=https://deb.example.org/debian\n", true },
                { "[Packages]\nInstall=one two\n[Archive]\nComponents=main\n", true },
                { "[Packages]\nInstall=one two three\n", false },
                { "[Packages]\nInstall=one\n", false },
                { "[Packages]\nInstall=one two\nRecommends=yes\n", false },
                { "[Packages]\nInstall=one two\n[Archive]\nSuites=trixie\n", false },
                { "[Packages]\nInstall=one two\n[Archive]\nSuites=trixie-updates trixie trixie-security\n", false },
                { "[Packages]\nInstall=one two\n[Archive]\nComponents=main contrib\n", false },
                { "[Packages]\nInstall=one two\n[Image]\nArchitecture=arm64\n", false },
                { "[Packages]\nInstall=one two\n[Kernel]\nPackage=linux-image-cloud-amd64\n", false },
                { "[Packages]\nInstall=one two\n[Initrd]\nPackages=three\n", false },
                { "[Packages]\nInstall=one two\n[Disk]\nRootFormat=btrfs\n", false },
                { "[Packages]\nInstall=one two\n[Disk]\nRootEncryption=tpm2\n", false },
                { "[Packages]\nInstall=one two\n[Disk]\nRootEncryption=passphrase\n", true },
        };
        Sha256 first = digest_of(*state, base);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Sha256 other = digest_of(*state, cases[i].text);

                if (sha256_equal(&first, &other) != cases[i].equal)
                        fail_msg("digest should be %s for:\n%s", cases[i].equal ? "equal" : "different", cases[i].text);
        }
}

static void request_digest_takes_local_packages_by_content_wherever_they_lie(void **state) {
        Place *p = *state;
        Sha256 a, b, c;

        put(p->recipe, "debs/x_1_all.deb", "content");
        a = digest_of(p, "[Packages]\nLocalDebs=debs/*.deb\n");
        put(p->recipe, "elsewhere/y.deb", "content");
        b = digest_of(p, "[Packages]\nLocalDebs=elsewhere/y.deb\n");
        put(p->recipe, "debs/x_1_all.deb", "other content");
        c = digest_of(p, "[Packages]\nLocalDebs=debs/*.deb\n");
        assert_true(sha256_equal(&a, &b));
        assert_false(sha256_equal(&a, &c));
}

static bool list_has(const char *const *l, const char *name) {
        return strv_contains((char *const *) l, name);
}

static void built_in_packages_follow_the_release_and_the_root_format(void **state) {
        _cleanup_(recipe_freep) Recipe *trixie = load_text(*state, "[Disk]\nRootFormat=btrfs\n"),
                                       *bookworm = load_text(*state, "[Archive]\nSuites=bookworm bookworm-security\n");
        _cleanup_free_ char *a = recipe_codename(trixie), *b = recipe_codename(bookworm);

        assert_string_equal(a, "trixie");
        assert_string_equal(b, "bookworm");
        assert_true(list_has(recipe_initrd_packages(trixie), "systemd-cryptsetup"));
        assert_true(list_has(recipe_initrd_packages(trixie), "systemd-repart"));
        assert_true(list_has(recipe_initrd_packages(trixie), "btrfs-progs"));
        assert_true(list_has(recipe_tools_packages(trixie), "systemd-boot-efi"));
        assert_false(list_has(recipe_initrd_packages(bookworm), "systemd-cryptsetup"));
        assert_false(list_has(recipe_initrd_packages(bookworm), "btrfs-progs"));
        assert_true(list_has(recipe_initrd_packages(bookworm), "systemd"));
}

static void a_sealed_root_partition_needs_the_tpm_libraries(void **state) {
        _cleanup_(recipe_freep) Recipe *plain = load_text(*state, "[Disk]\nRootFormat=xfs\n"),
                                       *typed = load_text(*state, "[Disk]\nRootEncryption=passphrase\n"),
                                       *sealed = load_text(*state, "[Disk]\nRootFormat=xfs\nRootEncryption=tpm2\n");

        assert_string_equal(plain->root_encryption, "none");
        assert_false(list_has(recipe_initrd_packages(plain), "libtss2-esys-3.0.2-0t64"));
        assert_false(list_has(recipe_initrd_packages(typed), "libtss2-esys-3.0.2-0t64"));
        assert_true(list_has(recipe_initrd_packages(sealed), "libtss2-esys-3.0.2-0t64"));
        assert_true(list_has(recipe_initrd_packages(sealed), "systemd-repart"));
        assert_true(list_has(recipe_initrd_packages(sealed), "xfsprogs"));
}

static void dropped_paths_leave_and_copyright_files_stay(void **state) {
        _cleanup_(recipe_freep) Recipe *r = load_text(
                *state, "[Image]\nLocale=nl_NL.UTF-8\n[Content]\nDrop=docs man info locales help gconv apt "
                        "python-cache static-libs headers sysvinit /opt/*/x /srv/**.tmp\nKeepLocales=de pt_BR\n");
        static const struct {
                const char *path;
                bool dropped;
        } cases[] = {
                { "/usr/share/doc/bash", false },
                { "/usr/share/doc/bash/README.gz", true },
                { "/usr/share/doc/bash/examples/x/y", true },
                { "/usr/share/doc/bash/copyright", false },
                { "/usr/share/doc/libgcc-s1", false },
                { "/usr/share/common-licenses/GPL-3", false },
                { "/usr/share/man/man1/ls.1.gz", true },
                { "/usr/share/info/dir", true },
                { "/etc/alternatives/awk.1.gz", true },
                { "/etc/alternatives/awk", false },
                { "/usr/share/factory/etc/alternatives/awk.1.gz", true },
                { "/usr/share/locale/fr/LC_MESSAGES/x.mo", true },
                { "/usr/share/locale/de/LC_MESSAGES/x.mo", false },
                { "/usr/share/locale/de_AT/LC_MESSAGES/x.mo", false },
                { "/usr/share/locale/de@hebrew/LC_MESSAGES/x.mo", false },
                { "/usr/share/locale/den/LC_MESSAGES/x.mo", true },
                { "/usr/share/locale/pt/LC_MESSAGES/x.mo", false },
                { "/usr/share/locale/pt_BR/LC_MESSAGES/x.mo", false },
                { "/usr/share/locale/pt_PT/LC_MESSAGES/x.mo", true },
                { "/usr/share/locale/nl/LC_MESSAGES/x.mo", false },
                { "/usr/share/locale/locale.alias", false },
                { "/usr/share/locale", false },
                { "/usr/lib/locale/C.utf8/LC_CTYPE", false },
                { "/usr/lib/locale/de_DE.utf8/LC_CTYPE", false },
                { "/usr/lib/locale/fr_FR.utf8/LC_CTYPE", true },
                { "/usr/share/help/de/x/index.page", true }, /* the group help takes all of it */
                { "/usr/lib/x86_64-linux-gnu/gconv/IBM037.so", true },
                { "/usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", false },
                { "/usr/bin/apt-get", true },
                { "/usr/bin/apt", true },
                { "/usr/bin/aptitude", false },
                { "/var/lib/dpkg/status", true },
                { "/usr/lib/python3/dist-packages/__pycache__/a.pyc", true },
                { "/usr/lib/python3/dist-packages/a.py", false },
                { "/usr/lib/x86_64-linux-gnu/libc.a", true },
                { "/usr/lib/x86_64-linux-gnu/libc.so.6", false },
                { "/usr/include/stdio.h", true },
                { "/etc/init.d/ssh", true },
                { "/etc/rc3.d/S01ssh", true },
                { "/opt/a/x", true },
                { "/opt/a/x/y", true },
                { "/opt/a/b/x", false },
                { "/srv/a/b/c.tmp", true },
                { "/srv/a/b/c.tmpl", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (recipe_path_is_dropped(r, cases[i].path) != cases[i].dropped)
                        fail_msg("%s should %s", cases[i].path, cases[i].dropped ? "leave" : "stay");
}

static void nothing_is_dropped_where_nothing_is_asked_for(void **state) {
        _cleanup_(recipe_freep) Recipe *r = load_text(*state, "[Content]\nKeepLocales=de\n");

        assert_false(recipe_path_is_dropped(r, "/usr/share/doc/bash/README.gz"));
        assert_false(recipe_path_is_dropped(r, "/usr/share/locale/fr/LC_MESSAGES/x.mo"));
}

static void every_drop_group_has_globs_and_a_line_of_help(void **state) {
        for (const char *const *g = recipe_drop_groups(); *g; g++) {
                assert_non_null(recipe_drop_globs(*g));
                assert_non_null(recipe_drop_globs(*g)[0]);
                assert_non_null(recipe_drop_help(*g));
                for (const char *const *glob = recipe_drop_globs(*g); *glob; glob++)
                        assert_int_equal((*glob)[0], '/');
        }
        assert_null(recipe_drop_globs("no-such-group"));
}

static void modules_are_kept_by_glob_and_taken_out_by_negation(void **state) {
        _cleanup_(recipe_freep) Recipe *r =
                load_text(*state, "[Kernel]\nModules=drivers/nvme fs/ext4/ext4 fs/xfs/xfs.ko drivers/scsi/[sc]d_mod "
                                  "!drivers/nvme/target\n");
        _cleanup_(recipe_freep) Recipe *all = load_text(*state, "[Image]\nKeymap=us\n");
        static const struct {
                const char *path;
                bool kept;
        } cases[] = {
                { "drivers/nvme/host/nvme.ko", true },
                { "drivers/nvme/host/nvme.ko.xz", true },
                { "drivers/nvme/host/nvme-core", true },
                { "drivers/nvme/target/nvmet.ko.zst", false },
                { "drivers/nvmem/nvmem_core.ko", false },
                { "fs/ext4/ext4.ko.xz", true },
                { "fs/ext4/ext4-inode-test.ko.xz", false },
                { "fs/xfs/xfs.ko.xz", true },
                { "drivers/scsi/sd_mod.ko.xz", true },
                { "drivers/scsi/sr_mod.ko.xz", false },
                { "fs/btrfs/btrfs.ko", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                if (recipe_module_is_kept(r, cases[i].path) != cases[i].kept)
                        fail_msg("%s should %s", cases[i].path, cases[i].kept ? "stay" : "leave");
                assert_true(recipe_module_is_kept(all, cases[i].path));
        }
}

static void explain_shows_one_key_alone_and_knows_near_names(void **state) {
        _cleanup_(recipe_freep) Recipe *r = load_text(*state, "[Packages]\nInstall=one\n[Initrd]\nPackages=two\n");
        _cleanup_free_ char *install = recipe_explain(r, "install", false),
                            *with_section = recipe_explain(r, "Packages.Install", false),
                            *none = recipe_explain(r, "Instal", false), *unset = recipe_explain(r, "LocalDebs", false);

        assert_non_null(strstr(install, "[Packages]\nInstall=one  "));
        assert_null(strstr(install, "[Initrd]"));
        assert_string_equal(install, with_section);
        assert_null(none);
        assert_string_equal(recipe_suggest_key("Instal"), "Install");
        assert_string_equal(unset, "");
}

static void json_has_every_key_in_its_own_type(void **state) {
        _cleanup_(recipe_freep) Recipe *r =
                load_text(*state, "[Packages]\nInstall=one\nRecommends=yes\n[OsRelease]\n"
                                  "NAME=\"A B\"\n[Gate]\nAllow=setgid-root:/usr/bin/su: why\n");
        _cleanup_json_ json_t *j = recipe_to_json(r);
        json_t *settings = json_object_get(j, "settings");

        assert_non_null(settings);
        for (size_t i = 0; i < n_recipe_keys; i++)
                if (recipe_keys[i].kind != RECIPE_EXTENDS)
                        assert_non_null(
                                json_object_get(json_object_get(settings, recipe_keys[i].section), recipe_keys[i].key));
        assert_true(json_is_true(json_object_get(json_object_get(settings, "Packages"), "Recommends")));
        assert_int_equal(json_integer_value(json_object_get(json_object_get(settings, "Usr"), "Cluster")), 16384);
        assert_string_equal(json_string_value(json_object_get(json_object_get(settings, "OsRelease"), "NAME")), "A B");
        assert_int_equal(json_array_size(json_object_get(json_object_get(settings, "Gate"), "Allow")), 1);
        assert_true(json_array_size(json_object_get(j, "origins")) > 10);
}

static void plain_folders_give_absolute_paths_and_later_ones_win(void **state) {
        Place *p = *state;
        _cleanup_(recipe_freep) Recipe *r = NULL;
        _cleanup_free_ char *base = path_join(p->folder, "base"), *real = realpath(p->recipe, NULL),
                            *expected = path_join(real, "tmpfiles.d/a.conf");

        put(base, "recipe.conf", "");
        put(base, "files/etc/motd", "base");
        put(base, "tmpfiles.d/a.conf", "");
        put(base, "tmpfiles.d/b.conf", "");
        put(p->recipe, "tmpfiles.d/a.conf", "");
        put(p->recipe, "files/etc/motd", "it");
        r = load_text(p, "[Recipe]\nExtends=base\n");
        assert_int_equal(strv_length(r->tmpfiles), 2);
        assert_string_equal(r->tmpfiles[0], expected);
        assert_int_equal(strv_length(r->files), 2);
        assert_non_null(endswith(r->files[0], "/base/files"));
        assert_non_null(endswith(r->files[1], "/it/files"));
        assert_int_equal(strv_length(r->folders), 2);
        assert_string_equal(r->folders[1], real);
}

static void a_recipe_is_the_same_by_any_path_to_it(void **state) {
        Place *p = *state;
        _cleanup_(recipe_freep) Recipe *a = NULL, *b = NULL;
        _cleanup_free_ char *base = path_join(p->folder, "base"), *slashes = xasprintf("%s///", p->recipe),
                            *back = realpath(".", NULL);

        put(base, "recipe.conf", "[Image]\nKeymap=fr\n");
        a = load_text(p, "[Recipe]\nExtends=base\n");
        assert_string_equal(a->keymap, "fr");
        recipe_free(TAKE_PTR(a));
        a = load(slashes);
        assert_string_equal(a->path, p->recipe);
        assert_int_equal(chdir(p->recipe), 0);
        b = load(".");
        assert_int_equal(chdir(back), 0);
        assert_string_equal(b->name, "it");
        assert_string_equal(b->keymap, "fr");
}

static void what_is_not_a_recipe_is_refused_with_a_hint(void **state) {
        Place *p = *state;
        _cleanup_free_ char *file = path_join(p->recipe, "recipe.conf"), *missing = path_join(p->folder, "missing"),
                            *empty = path_join(p->folder, "empty");
        const struct {
                const char *path;
                Refusal id;
        } cases[] = { { missing, REFUSAL_NOT_FOUND }, { file, REFUSAL_BAD_VALUE }, { empty, REFUSAL_NOT_FOUND } };

        put(p->recipe, "recipe.conf", "");
        assert_int_equal(mkdir(empty, 0755), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
                _cleanup_error_ Error e = {};
                Recipe *r = NULL;

                assert_true(recipe_load(cases[i].path, &d, &r, &e) < 0);
                assert_int_equal(e.id, cases[i].id);
                assert_non_null(e.hint);
                assert_int_equal(d.n_items, 0);
                assert_null(r);
        }
}

static void new_recipe_loads_and_is_never_overwritten(void **state) {
        Place *p = *state;
        _cleanup_free_ char *base = path_join(p->folder, "base"), *path = path_join(p->folder, "deep/acme"),
                            *beside = path_join(p->folder, "acme"), *alone = path_join(p->folder, "alone"),
                            *bad = path_join(p->folder, "Bad Name"), *orphan = path_join(p->folder, "orphan");
        _cleanup_(recipe_freep) Recipe *r = NULL, *s = NULL, *t = NULL;
        _cleanup_error_ Error e = {};

        put(base, "recipe.conf", "[Image]\nKeymap=fr\n");
        assert_int_equal(recipe_create(beside, "base", &e), 0);
        r = load(beside);
        assert_string_equal(r->image_id, "acme");
        assert_string_equal(r->keymap, "fr");
        assert_int_equal(recipe_create(path, "../../base", &e), 0);
        s = load(path);
        assert_string_equal(s->keymap, "fr");
        assert_int_equal(recipe_create(alone, NULL, &e), 0);
        t = load(alone);
        assert_true(strv_contains(t->install, "systemd"));

        assert_true(recipe_create(beside, "base", &e) < 0);
        assert_int_equal(e.id, REFUSAL_EXISTS);
        assert_true(recipe_create(bad, "base", &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        assert_true(recipe_create(orphan, "bse", &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_non_null(strstr(e.hint, "base"));
        assert_false(io_exists(AT_FDCWD, orphan));
}

static void shipped_recipes_load_and_build_on_minimal(void **state) {
        static const char *const names[] = { "minimal", "server", "laptop" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *relative = path_join("recipes", names[i]),
                                    *path = path_join(source_folder(), relative);
                _cleanup_(recipe_freep) Recipe *r = load(path);

                assert_string_equal(r->image_id, names[i]);
                assert_true(strv_contains(r->install, "systemd"));
                assert_int_equal(strv_length(r->folders), i == 0 ? 1 : 2);
                assert_true(streq(r->root_password, "locked"));
                assert_true(strv_contains(r->drop, "docs"));
                assert_true(strv_contains(r->enable, "ssh.service") == streq(names[i], "server"));
                assert_true(recipe_module_is_kept(r, "drivers/nvme/host/nvme.ko.xz"));
                assert_true(recipe_module_is_kept(r, "drivers/block/virtio_blk.ko.xz"));
                assert_true(recipe_module_is_kept(r, "fs/erofs/erofs.ko.xz"));
        }
}

static void fallbacks_in_the_table_pass_their_own_checks(void **state) {
        for (size_t i = 0; i < n_recipe_keys; i++) {
                const RecipeKey *k = recipe_keys + i;
                _cleanup_strv_free_ char **words = strv_split(k->fallback, " ");

                assert_non_null(k->help);
                assert_true(recipe_key_find(k->section, k->key) == k); /* no row twice */
                STRV_FOREACH (w, words) {
                        _cleanup_free_ char *suggestion = NULL, *reason = k->check ? k->check(*w, &suggestion) : NULL;

                        if (reason)
                                fail_msg("%s: %s %s", k->key, *w, reason);
                }
        }
}

/* The manual page against the tables. Its form: ".Ss [Section]", ".It Cm Key= ...", then ".Ql DEFAULT ." behind a line
 * "Default:"; ".It Li NAME" in the sections of drop groups and gate checks. */
static void manual_page_and_tables_hold_the_same(void **state) {
        _cleanup_free_ char *path = path_join(source_folder(), "docs/sealab-recipe.5"), *text = read_text(path),
                            *section = NULL, *part = xstrdup("");
        _cleanup_strv_free_ char **lines = NULL, **names = NULL, **defaults = NULL, **wanted = NULL,
                                 **wanted_defaults = NULL;
        const RecipeKey *key = NULL;

        assert_non_null(text);
        lines = strv_split(text, "\n");
        STRV_FOREACH (l, lines) {
                const char *rest;

                if ((rest = startswith(*l, ".Sh "))) {
                        free(part);
                        part = xstrdup(rest);
                        key = NULL;
                } else if ((rest = startswith(*l, ".Ss ["))) {
                        free(section);
                        section = xstrndup(rest, strcspn(rest, "]"));
                } else if ((rest = startswith(*l, ".It Cm "))) {
                        _cleanup_free_ char *name = xstrndup(rest, strcspn(rest, "="));

                        assert_non_null(section);
                        strv_extendf(&names, "%s.%s", section, name);
                        key = recipe_key_find(section, name);
                } else if ((rest = startswith(*l, ".It Li ")))
                        strv_extendf(&names, "%s:%s", part, rest);
                else if ((rest = startswith(*l, ".Ql ")) && l > lines && streq(l[-1], "Default:") && key) {
                        _cleanup_free_ char *value = xstrndup(rest, strlen(rest) - strlen(" ."));

                        strv_extendf(&defaults, "%s.%s %s", key->section, key->key, value);
                }
        }
        for (size_t i = 0; i < n_recipe_keys; i++) {
                strv_extendf(&wanted, "%s.%s", recipe_keys[i].section, recipe_keys[i].key);
                if (recipe_keys[i].fallback)
                        strv_extendf(&wanted_defaults, "%s.%s %s", recipe_keys[i].section, recipe_keys[i].key,
                                     recipe_keys[i].fallback);
        }
        for (const char *const *g = recipe_drop_groups(); *g; g++)
                strv_extendf(&wanted, "WHAT CAN BE DROPPED:%s", *g);
        for (const char *const *c = recipe_gate_checks(); *c; c++)
                strv_extendf(&wanted, "THE GATE:%s", *c);

        STRV_FOREACH (w, wanted)
                if (!strv_contains(names, *w))
                        fail_msg("the manual page lacks %s", *w);
        STRV_FOREACH (n, names)
                if (!strv_contains(wanted, *n))
                        fail_msg("the manual page has %s, the program does not", *n);
        assert_int_equal(strv_length(names), strv_length(wanted));
        STRV_FOREACH (w, wanted_defaults)
                if (!strv_contains(defaults, *w))
                        fail_msg("the manual page does not give the default: %s", *w);
        assert_int_equal(strv_length(defaults), strv_length(wanted_defaults));
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(golden_recipes_give_the_expected_values_or_the_expected_problems),
                IN_PLACE(request_digest_depends_on_what_is_asked_for_only),
                IN_PLACE(request_digest_takes_local_packages_by_content_wherever_they_lie),
                IN_PLACE(built_in_packages_follow_the_release_and_the_root_format),
                IN_PLACE(a_sealed_root_partition_needs_the_tpm_libraries),
                IN_PLACE(dropped_paths_leave_and_copyright_files_stay),
                IN_PLACE(nothing_is_dropped_where_nothing_is_asked_for),
                cmocka_unit_test(every_drop_group_has_globs_and_a_line_of_help),
                IN_PLACE(modules_are_kept_by_glob_and_taken_out_by_negation),
                IN_PLACE(explain_shows_one_key_alone_and_knows_near_names),
                IN_PLACE(json_has_every_key_in_its_own_type),
                IN_PLACE(plain_folders_give_absolute_paths_and_later_ones_win),
                IN_PLACE(a_recipe_is_the_same_by_any_path_to_it),
                IN_PLACE(what_is_not_a_recipe_is_refused_with_a_hint),
                IN_PLACE(new_recipe_loads_and_is_never_overwritten),
                cmocka_unit_test(shipped_recipes_load_and_build_on_minimal),
                cmocka_unit_test(fallbacks_in_the_table_pass_their_own_checks),
                cmocka_unit_test(manual_page_and_tables_hold_the_same),
        };

        return cmocka_run_group_tests_name("recipe", tests, NULL, NULL);
}
