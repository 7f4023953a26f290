/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Locking against an archive of our own, honest and dishonest. Needs apt-ftparchive, dpkg-deb and gpg. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "archive-fixture.h"
#include "archive-index.h"
#include "archive-signature.h"
#include "archive-suite.h"

static char *template_folder; /* one for all tests */

static void must_lock(ArchiveFixture *f) {
        if (fixture_resolve(f, NULL) < 0)
                fail_msg("%s", f->error.message);
}

static void must_refuse(ArchiveFixture *f, Refusal id, const char *mentions) {
        if (fixture_resolve(f, NULL) >= 0)
                fail_msg("not refused");
        if (f->error.id != id)
                fail_msg("%s instead of %s: %s", refusal_name(f->error.id), refusal_name(id), f->error.message);
        if (!strstr(f->error.message, mentions))
                fail_msg("\"%s\" is not in: %s", mentions, f->error.message);
        assert_non_null(f->error.hint);
}

static LockPurpose purpose_of(const Lock *l, const char *name) {
        const LockPackage *p = lock_find(l, name);

        return p ? p->purpose : 0;
}

static void an_archive_is_locked_with_all_its_facts(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");
        _cleanup_free_ char *path = path_join(f->mirror, "pool/main/wanted_1.0-1+b1_all.deb"),
                            *inrelease = path_join(f->mirror, "dists/trixie/InRelease"), *text = NULL, *again = NULL,
                            *index = path_join(f->mirror, "dists/trixie/main/binary-amd64/Packages");
        _cleanup_(lock_freep) Lock *read = NULL;
        const LockPackage *p;
        uint64_t size;
        Sha256 digest;

        must_lock(f);
        p = lock_find(f->lock, "wanted");
        assert_non_null(p);
        assert_int_equal(sha256_file(AT_FDCWD, path, &digest, &size, NULL), 0);
        assert_true(sha256_equal(&p->sha256, &digest));
        assert_int_equal(p->size, size);
        assert_string_equal(p->version, "1:1.0-1+b1");
        assert_string_equal(p->source, "src");
        assert_string_equal(p->source_version, "1:1.0-1");
        assert_string_equal(p->architecture, "all");
        assert_string_equal(p->suite, "trixie");
        assert_string_equal(p->path, "pool/main/wanted_1.0-1+b1_all.deb");
        assert_false(p->essential);
        assert_true(lock_find(f->lock, "base")->essential);

        assert_int_equal(purpose_of(f->lock, "base"), LOCK_FOR_IMAGE);
        assert_int_equal(purpose_of(f->lock, "needed"), LOCK_FOR_IMAGE);
        assert_int_equal(purpose_of(f->lock, "kernel"), LOCK_FOR_IMAGE);
        assert_int_equal(purpose_of(f->lock, "dash"), LOCK_FOR_INITRD);
        assert_int_equal(purpose_of(f->lock, "libc-bin"), LOCK_FOR_TOOLS);
        assert_int_equal(purpose_of(f->lock, "systemd"), LOCK_FOR_INITRD | LOCK_FOR_TOOLS);
        assert_int_equal(purpose_of(f->lock, "other"), 0); /* only recommended */

        assert_int_equal(f->lock->n_suites, 1);
        assert_string_equal(f->lock->suites[0].origin, "Test");
        assert_string_equal(f->lock->suites[0].codename, "trixie");
        assert_int_equal(sha256_file(AT_FDCWD, inrelease, &digest, NULL, NULL), 0);
        assert_true(sha256_equal(&f->lock->suites[0].inrelease, &digest));
        assert_int_equal(sha256_file(AT_FDCWD, index, &digest, NULL, NULL), 0);
        assert_int_equal(f->lock->suites[0].n_indexes, 1);
        assert_true(sha256_equal(&f->lock->suites[0].indexes[0].sha256, &digest));
        assert_int_equal(strv_length(f->lock->suites[0].signed_by), 1);
        assert_true(lock_epoch(f->lock) > 1700000000);
        assert_int_equal(lock_check_recipe(f->lock, f->recipe, NULL), 0);

        assert_int_equal(lock_write(f->recipe_folder, f->lock, NULL), 0);
        assert_int_equal(lock_read(f->recipe_folder, &read, NULL), 0);
        text = lock_format(f->lock);
        again = lock_format(read);
        assert_string_equal(text, again);
        assert_null(strstr(text, f->folder)); /* a lock names no mirror */
}

static void recommended_packages_come_where_the_recipe_says_so(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "[Packages]\nRecommends=yes\n");

        must_lock(f);
        assert_int_equal(purpose_of(f->lock, "other"), LOCK_FOR_IMAGE);
}

static void keys_in_ascii_armour_do_as_well(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        free(f->keyring);
        f->keyring = path_join(f->folder, "good.asc");
        fixture_write_recipe(f, f->uri, "");
        must_lock(f);
}

static void nothing_is_left_behind(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");
        _cleanup_free_ char *tmp = path_join(f->folder, "tmp"), *old = xstrdup(getenv("TMPDIR"));

        assert_int_equal(io_mkdir_parents(AT_FDCWD, tmp, 0700, NULL), 0);
        assert_int_equal(setenv("TMPDIR", tmp, 1), 0);
        must_lock(f);
        fixture_runf(f, "printf 'junk\\n' >mirror/dists/trixie/InRelease");
        assert_true(fixture_resolve(f, NULL) < 0);
        if (old)
                (void) setenv("TMPDIR", old, 1);
        else
                (void) unsetenv("TMPDIR");
        assert_int_equal(rmdir(tmp), 0); /* it is empty */
}

static void a_changed_index_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        fixture_run(f,
                    "cd mirror/dists/trixie/main/binary-amd64; sed -i 's/^Size: ./Size: 9/' Packages; rm Packages.gz");
        must_refuse(f, REFUSAL_HASH_MISMATCH, "trixie");
}

static void an_unsigned_archive_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        fixture_run(
                f,
                "cd mirror/dists/trixie; sed -n '/^Origin/,/^-----BEGIN PGP SIG/p' InRelease | sed '$d' >Release; rm "
                "InRelease");
        must_refuse(f, REFUSAL_BAD_SIGNATURE, "trixie");
}

static void a_missing_suite_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        fixture_run(f, "rm -r mirror/dists/trixie");
        must_refuse(f, REFUSAL_DOWNLOAD, "trixie");
}

static void a_signature_by_another_key_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        fixture_sign(f, "wrong@example.org", "");
        must_refuse(f, REFUSAL_BAD_SIGNATURE, "trixie");
}

static void a_changed_release_file_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        fixture_run(f, "sed -i 's/^Origin: Test/Origin: Tost/' mirror/dists/trixie/InRelease");
        must_refuse(f, REFUSAL_BAD_SIGNATURE, "trixie");
}

/* The settings of this machine may say that age does not matter; the test wants them as they are by default. */
static void an_expired_archive_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");
        _cleanup_free_ char *config = path_join(f->folder, "machine.conf");

        fixture_sign(f, "good@example.org", "/^Date:/a Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC");
        fixture_run(f, "echo 'Dir::Etc::parts \"/nonexistent\"; Dir::Etc::main \"/nonexistent\";' >machine.conf");
        assert_int_equal(setenv("APT_CONFIG", config, 1), 0);
        must_refuse(f, REFUSAL_EXPIRED, "trixie");
        /* A dated archive is expired by nature. */
        if (fixture_resolve(f, &(LockResolveOptions){ .snapshot_uri = f->uri }) < 0)
                fail_msg("%s", f->error.message);
        assert_int_equal(unsetenv("APT_CONFIG"), 0);
        assert_int_equal(f->lock->suites[0].valid_until, 1640995200);
}

static void an_older_archive_is_refused_unless_allowed(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");
        _cleanup_(lock_freep) Lock *previous = NULL;

        must_lock(f);
        previous = TAKE_PTR(f->lock);
        if (fixture_resolve(f, &(LockResolveOptions){ .previous = previous }) < 0)
                fail_msg("the same archive again: %s", f->error.message);
        previous->suites[0].date += 1;
        assert_true(fixture_resolve(f, &(LockResolveOptions){ .previous = previous }) < 0);
        assert_int_equal(f->error.id, REFUSAL_ARCHIVE_OLDER);
        assert_non_null(strstr(f->error.message, "trixie"));
        assert_int_equal(fixture_resolve(f, &(LockResolveOptions){ .previous = previous, .allow_older = true }), 0);
}

static void a_suite_under_another_name_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        fixture_run(f, "sed -i 's/^Suites=.*/Suites=forky/' recipe/recipe.conf; mv mirror/dists/trixie "
                       "mirror/dists/forky");
        f->recipe = recipe_free(f->recipe);
        _cleanup_(conf_diagnostics_done) ConfDiagnostics d = {};
        assert_int_equal(recipe_load(f->recipe_folder, &d, &f->recipe, &f->error), 0);
        must_refuse(f, REFUSAL_DIFFERENT, "forky");
}

static void a_missing_component_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "[Archive]\nComponents=contrib\n");

        must_refuse(f, REFUSAL_BAD_VALUE, "contrib");
}

static void a_misspelt_package_is_refused_with_a_suggestion(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f =
                fixture_new(template_folder, "[Packages]\nInstall=systemd-cryptsteup\n");

        must_refuse(f, REFUSAL_UNRESOLVABLE, "systemd-cryptsteup");
        assert_non_null(strstr(f->error.hint, "systemd-cryptsetup"));
        fixture_write_recipe(f, f->uri, "[Packages]\nInstall=needed-\n");
        must_refuse(f, REFUSAL_UNRESOLVABLE, "needed-");
        fixture_write_recipe(f, f->uri, "[Packages]\nInstall=syst.md\n"); /* no regular expression */
        must_refuse(f, REFUSAL_UNRESOLVABLE, "syst.md");
}

static void packages_that_exclude_each_other_are_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "[Packages]\nInstall=enemy\n");

        fixture_add_package(f, "enemy", "1", "Conflicts: needed\n");
        fixture_publish(f);
        must_refuse(f, REFUSAL_UNRESOLVABLE, "needed");
}

static void a_newer_package_does_not_enter_a_lock_that_stands(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");
        _cleanup_(lock_freep) Lock *before = NULL, *read = NULL;
        _cleanup_free_ LockChange *changes = NULL;

        must_lock(f);
        assert_int_equal(lock_write(f->recipe_folder, f->lock, NULL), 0);
        before = TAKE_PTR(f->lock);
        fixture_add_package(f, "needed", "3", "");
        fixture_publish(f);
        assert_int_equal(lock_read(f->recipe_folder, &read, NULL), 0);
        if (fetch_missing(read, f->store, &(FetchOptions){ .recipe = f->recipe }, NULL, &f->error) < 0)
                fail_msg("%s", f->error.message);
        assert_string_equal(lock_find(read, "needed")->version, "2~rc1");
        assert_true(store_has(f->store, &lock_find(read, "needed")->sha256, lock_find(read, "needed")->size));

        must_lock(f);
        assert_int_equal(lock_compare(before, f->lock, &changes), 1);
        assert_string_equal(changes[0].name, "needed");
        assert_string_equal(changes[0].to->version, "3");
        assert_false(store_has(f->store, &changes[0].to->sha256, changes[0].to->size));
}

static void local_packages_win_and_enter_the_store(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");
        const LockPackage *p;
        FetchResult result;

        fixture_add_package(f, "needed", "1.5", "");
        fixture_add_package(f, "mine", "0.1", "Depends: dash\n");
        fixture_run(f, "mkdir recipe/debs; mv mirror/pool/main/needed_1.5* mirror/pool/main/mine* recipe/debs");
        fixture_write_recipe(f, f->uri, "[Packages]\nLocalDebs=debs/*.deb\n");
        must_lock(f);
        p = lock_find(f->lock, "needed"); /* an older version than the archive's */
        assert_string_equal(p->version, "1.5");
        assert_null(p->suite);
        assert_string_equal(p->path, "needed_1.5_all.deb");
        assert_true(store_has(f->store, &p->sha256, p->size));
        assert_int_equal(purpose_of(f->lock, "mine"), LOCK_FOR_IMAGE);
        assert_int_equal(purpose_of(f->lock, "dash"), LOCK_FOR_IMAGE | LOCK_FOR_INITRD);

        /* A store that was lost gets them back from the recipe. */
        fixture_run(f, "rm -rf store/sha256/*");
        assert_int_equal(fetch_missing(f->lock, f->store, &(FetchOptions){ .recipe = f->recipe }, &result, &f->error),
                         0);
        assert_int_equal(result.n_copied, 2);
        fixture_run(f, "rm -rf store/sha256/* recipe/debs/mine*");
        assert_true(fetch_missing(f->lock, f->store, &(FetchOptions){ .recipe = f->recipe }, NULL, &f->error) < 0);
        assert_int_equal(f->error.id, REFUSAL_NOT_IN_STORE);
}

static void a_local_package_of_another_architecture_is_refused(void **state) {
        _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");

        fixture_run(
                f, "mkdir recipe/debs p2 p2/DEBIAN; printf 'Package: mine\\nVersion: 1\\nArchitecture: armhf\\n"
                   "Maintainer: A <a@example.org>\\nDescription: x\\n' >p2/DEBIAN/control; dpkg-deb -b p2 recipe/debs");
        fixture_write_recipe(f, f->uri, "[Packages]\nLocalDebs=debs/*.deb\n");
        assert_true(fixture_resolve(f, NULL) < 0);
        assert_int_equal(f->error.id, REFUSAL_BAD_VALUE);
}

/* apt refuses these first; here it is as if apt had let them pass. */
static void our_own_checks_hold_without_those_of_apt(void **state) {
        static const struct {
                const char *script;
                const char *keyring;
                Refusal id; /* NONE: must be accepted */
        } cases[] = {
                { "true", "good.gpg", REFUSAL_NONE },
                { "sed -i 's/^Size: ./Size: 9/' $p", "good.gpg", REFUSAL_HASH_MISMATCH },
                { "echo >>$p", "good.gpg", REFUSAL_HASH_MISMATCH },
                { "sed -i 's/^Suite: stable/Suite: trixie/' $r", "good.gpg", REFUSAL_BAD_SIGNATURE },
                { "true", "wrong.gpg", REFUSAL_BAD_SIGNATURE },
                { "sed -i '1,3d' $r", "good.gpg", REFUSAL_BAD_SIGNATURE },
                { "rm $r", "good.gpg", REFUSAL_DOWNLOAD },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(fixture_freep) ArchiveFixture *f = fixture_new(template_folder, "");
                _cleanup_free_ char *keyring = path_join(f->folder, cases[i].keyring);
                AptIndex index = { .path = path_join(f->mirror, "dists/trixie/main/binary-amd64/Packages"),
                                   .suite = (char *) "trixie",
                                   .component = (char *) "main",
                                   .name = (char *) "main/binary-amd64/Packages",
                                   .release_path = path_join(f->mirror, "dists/trixie/InRelease") };
                const AptIndexes indexes = { .items = &index, .n_items = 1 };
                _cleanup_(archive_suite_done) ArchiveSuite suite = {};
                int r;

                fixture_runf(f, "r=mirror/dists/trixie/InRelease; p=mirror/dists/trixie/main/binary-amd64/Packages; %s",
                             cases[i].script);
                r = archive_suite_read("trixie",
                                       &(ArchiveSuiteOptions){ .indexes = &indexes,
                                                               .components = f->recipe->components,
                                                               .architecture = "amd64",
                                                               .keyring = keyring,
                                                               .folder = f->folder },
                                       &suite, &f->error);
                if ((r >= 0) != (cases[i].id == REFUSAL_NONE) || f->error.id != cases[i].id)
                        fail_msg("%s: %s: %s", cases[i].script, refusal_name(f->error.id),
                                 f->error.message ?: "accepted");
                free(index.path);
                free(index.release_path);
        }
}

static void mirrors_are_found_in_the_settings_of_apt(void **state) {
        static const char targets[] = "http://third.example/debian/|bookworm|main|Third\n"
                                      "http://pg.example/apt/|bookworm-pgdg|main|PG\n"
                                      "http://a.example/debian/|bookworm-updates|main|Debian\n"
                                      "http://a.example/debian/|bookworm|main|Debian\n"
                                      "http://s.example/sec/|bookworm-security|main|Debian\n";
        static const char undownloaded[] = "cdrom://x/|bookworm|main|$(ORIGIN)\n"
                                           "http://pg.example/apt/|bookworm-pgdg|main|$(ORIGIN)\n"
                                           "file:/srv/debian/|bookworm|main|$(ORIGIN)\n";
        _cleanup_free_ char *a = mirror_from_targets(targets, false), *s = mirror_from_targets(targets, true),
                            *u = mirror_from_targets(undownloaded, false), *n = mirror_from_targets(undownloaded, true),
                            *sibling = mirror_security_sibling("https://h.example/archive/debian/20260101T000000Z"),
                            *end = mirror_security_sibling("http://debian.example/debian"),
                            *none = mirror_security_sibling("http://debian.example/mirror");

        assert_string_equal(a, "http://a.example/debian");
        assert_string_equal(s, "http://s.example/sec");
        assert_string_equal(u, "file:///srv/debian");
        assert_null(n);
        assert_string_equal(sibling, "https://h.example/archive/debian-security/20260101T000000Z");
        assert_string_equal(end, "http://debian.example/debian-security");
        assert_null(none);
}

static void clear_signed_texts_are_split_strictly(void **state) {
#define HEAD "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n"
#define SIG "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
        static const char *const bad[] = {
                "",
                "Origin: x\n",
                "x\n" HEAD "a\n" SIG,
                HEAD "a\n" SIG "more\n",
                HEAD "a\n" SIG "\n",
                HEAD SIG,
                HEAD "a\n-----BEGIN PGP SIGNATURE-----\nabc\n",
                HEAD "-a\n" SIG,
                "-----BEGIN PGP SIGNED MESSAGE-----\nOrigin: x\n\na\n" SIG,
        };
        _cleanup_free_ char *message = NULL, *signature = NULL;
        static const char good[] = HEAD "a  \n- -b\n\nc\n" SIG;

        assert_int_equal(archive_signature_split(good, strlen(good), "x", &message, &signature, NULL), 0);
        assert_string_equal(message, "a\n-b\n\nc");
        assert_string_equal(signature, SIG);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                _cleanup_error_ Error e = {};
                char *m, *s;

                assert_true(archive_signature_split(bad[i], strlen(bad[i]), "x", &m, &s, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        }
}

static void only_good_signatures_count(void **state) {
#define VALID "[GNUPG:] VALIDSIG AA 2026-01-01 1 0 4 0 22 "
        static const struct {
                const char *status;
                bool good;
        } cases[] = {
                { "[GNUPG:] GOODSIG A x\n" VALID "10 01 BB\n", true },
                { "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG C 1 8 01 1 9 -\n[GNUPG:] NO_PUBKEY C\n[GNUPG:] NEWSIG\n"
                  "[GNUPG:] GOODSIG A x\n" VALID "8 01 BB\n",
                  true },
                { "[GNUPG:] GOODSIG A x\n" VALID "2 01 BB\n", false }, /* SHA-1 */
                { "[GNUPG:] EXPKEYSIG A x\n" VALID "8 01 BB\n", false },
                { "[GNUPG:] REVKEYSIG A x\n" VALID "8 01 BB\n", false },
                { "[GNUPG:] EXPSIG A x\n" VALID "8 01 BB\n", false },
                { "[GNUPG:] GOODSIG A x\n[GNUPG:] NEWSIG\n" VALID "8 01 BB\n", false },
                { "[GNUPG:] GOODSIG A x\n" VALID "8 01 BB\n[GNUPG:] NEWSIG\n[GNUPG:] BADSIG C y\n", false },
                { "[GNUPG:] NO_PUBKEY C\n", false },
                { "GOODSIG A x\nVALIDSIG AA 2026-01-01 1 0 4 0 22 8 01 BB\n", false },
                { "", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_strv_free_ char **signers = NULL;
                _cleanup_error_ Error e = {};
                int r = archive_signature_read_status(cases[i].status, "x", &signers, &e);

                assert_int_equal(r == 0, cases[i].good);
                if (r == 0)
                        assert_string_equal(signers[0], "BB");
                else
                        assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
        }
}

static int set_up_keys(void **state) {
        _cleanup_error_ Error e = {};

        if (io_temporary_folder("keys", &template_folder, &e) < 0)
                return -1;
        fixture_make_template(template_folder);
        return 0;
}

static int remove_keys(void **state) {
        (void) io_remove_tree(AT_FDCWD, template_folder, NULL);
        free(template_folder);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_archive_is_locked_with_all_its_facts),
                cmocka_unit_test(recommended_packages_come_where_the_recipe_says_so),
                cmocka_unit_test(keys_in_ascii_armour_do_as_well),
                cmocka_unit_test(nothing_is_left_behind),
                cmocka_unit_test(a_changed_index_is_refused),
                cmocka_unit_test(an_unsigned_archive_is_refused),
                cmocka_unit_test(a_missing_suite_is_refused),
                cmocka_unit_test(a_signature_by_another_key_is_refused),
                cmocka_unit_test(a_changed_release_file_is_refused),
                cmocka_unit_test(an_expired_archive_is_refused),
                cmocka_unit_test(an_older_archive_is_refused_unless_allowed),
                cmocka_unit_test(a_suite_under_another_name_is_refused),
                cmocka_unit_test(a_missing_component_is_refused),
                cmocka_unit_test(a_misspelt_package_is_refused_with_a_suggestion),
                cmocka_unit_test(packages_that_exclude_each_other_are_refused),
                cmocka_unit_test(a_newer_package_does_not_enter_a_lock_that_stands),
                cmocka_unit_test(local_packages_win_and_enter_the_store),
                cmocka_unit_test(a_local_package_of_another_architecture_is_refused),
                cmocka_unit_test(our_own_checks_hold_without_those_of_apt),
                cmocka_unit_test(mirrors_are_found_in_the_settings_of_apt),
                cmocka_unit_test(clear_signed_texts_are_split_strictly),
                cmocka_unit_test(only_good_signatures_count),
        };

        return cmocka_run_group_tests(tests, set_up_keys, remove_keys);
}
