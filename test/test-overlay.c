/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <sys/stat.h>

#include "overlay.h"

/* A folder of the test's own in the shared one. */
static char *new_folder(void **state, const char *name) {
        char *path = path_join(*state, name);

        assert_int_equal(io_remove_tree(AT_FDCWD, path, NULL) < 0, 0);
        assert_int_equal(io_mkdir_parents(AT_FDCWD, path, 0755, NULL), 0);
        return path;
}

static void set_mode(const char *folder, const char *path, mode_t mode) {
        _cleanup_free_ char *full = path_join(folder, path);

        assert_int_equal(chmod(full, mode), 0);
}

static void modes_do_not_depend_on_umask_or_version_control(void **state) {
        static const struct {
                const char *path;
                mode_t host, image;
        } cases[] = {
                { "usr/bin/group", 0750, 0755 },   { "usr/bin/mine", 0700, 0755 }, { "usr/bin/other", 0601, 0755 },
                { "etc/plain", 0600, 0644 },       { "etc/open", 0666, 0644 },     { "etc/setuid", 04644, 0644 },
                { "usr/bin/setuid", 04755, 0755 },
        };
        _cleanup_free_ char *folder = new_folder(state, "files");
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                put_host(folder, cases[i].path, "text");
                set_mode(folder, cases[i].path, cases[i].host);
        }
        set_mode(folder, "etc", 0700);
        assert_done(overlay_import_folder(t, "", folder, FIXTURE_TIME, &e), &e);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *path = path_join("/", cases[i].path);
                const Inode *inode = tree_lookup(t, path)->inode;

                assert_int_equal(inode->mode, S_IFREG | cases[i].image);
                assert_int_equal(inode->uid, 0);
                assert_int_equal(inode->gid, 0);
                assert_int_equal(inode->mtime, FIXTURE_TIME);
                assert_content(t, path, "text");
        }
        assert_int_equal(tree_lookup(t, "/etc")->inode->mode & 07777, 0755);
        assert_int_equal(tree_lookup(t, "/usr/bin")->inode->mtime, FIXTURE_TIME);
}

static void folders_of_packages_keep_owner_and_mode(void **state) {
        _cleanup_free_ char *folder = new_folder(state, "files");
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put_folder(t, "/etc/ssl/private", 0710, 0, 12);
        put_owned(t, "/etc/ssl/private/old", 0640, 0, 12, "old");
        put_host(folder, "etc/ssl/private/new", "new");
        put_host(folder, "etc/ssl/private/old", "replaced");
        assert_done(overlay_import_folder(t, "", folder, FIXTURE_TIME, &e), &e);
        assert_int_equal(tree_lookup(t, "/etc/ssl/private")->inode->mode & 07777, 0710);
        assert_int_equal(tree_lookup(t, "/etc/ssl/private")->inode->gid, 12);
        assert_content(t, "/etc/ssl/private/old", "replaced");
        assert_int_equal(tree_lookup(t, "/etc/ssl/private/old")->inode->gid, 0);
        assert_content(t, "/etc/ssl/private/new", "new");
}

static void links_come_as_links_and_gitkeep_stays_out(void **state) {
        _cleanup_free_ char *folder = new_folder(state, "files"), *link = path_join(folder, "etc/link");
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put_host(folder, "etc/empty/.gitkeep", "");
        put_host(folder, "etc/.hidden", "x");
        assert_int_equal(symlink("/no/such/thing", link), 0);
        put(t, "/etc/link", "a file before");
        assert_done(overlay_import_folder(t, "", folder, FIXTURE_TIME, &e), &e);
        assert_link(t, "/etc/link", "/no/such/thing");
        assert_there(t, "/etc/empty");
        assert_gone(t, "/etc/empty/.gitkeep");
        assert_there(t, "/etc/.hidden");
}

static void later_folder_replaces_earlier_ones(void **state) {
        _cleanup_free_ char *one = new_folder(state, "one"), *two = new_folder(state, "two");
        char *files[] = { one, two, NULL };
        Recipe recipe = { .files = files };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put_host(one, "etc/both", "one");
        put_host(one, "etc/one", "one");
        put_host(two, "etc/both", "two");
        assert_done(overlay_apply(t, &recipe, FIXTURE_TIME, &e), &e);
        assert_content(t, "/etc/both", "two");
        assert_content(t, "/etc/one", "one");
}

static void plain_files_go_to_their_places(void **state) {
        _cleanup_free_ char *folder = new_folder(state, "recipe"), *sysusers = path_join(folder, "sysusers.d/a.conf"),
                            *tmpfiles = path_join(folder, "tmpfiles.d/b.conf"),
                            *preset = path_join(folder, "preset.d/c.preset"),
                            *repart = path_join(folder, "repart.d/d.conf");
        char *lists[4][2] = { { sysusers }, { tmpfiles }, { preset }, { repart } };
        Recipe recipe = { .sysusers = lists[0], .tmpfiles = lists[1], .presets = lists[2], .repart = lists[3] };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        for (size_t i = 0; i < 4; i++)
                put_host("/", lists[i][0], path_basename(lists[i][0]));
        set_mode("/", sysusers, 0755);
        assert_done(overlay_apply(t, &recipe, FIXTURE_TIME, &e), &e);
        assert_content(t, "/usr/lib/sysusers.d/a.conf", "a.conf");
        assert_content(t, "/usr/lib/tmpfiles.d/b.conf", "b.conf");
        assert_content(t, "/usr/lib/systemd/system-preset/c.preset", "c.preset");
        assert_content(t, "/usr/lib/repart.d/d.conf", "d.conf");
        assert_int_equal(tree_lookup(t, "/usr/lib/sysusers.d/a.conf")->inode->mode & 07777, 0644);
}

static void only_places_of_an_image_may_be_named(void **state) {
        static const struct {
                const char *top;
                bool good;
        } cases[] = { { "usr", true },   { "etc", true },     { "var", true },  { "root", true },  { "srv", true },
                      { "opt", true },   { "bin", false },    { "lib", false }, { "home", false }, { "run", false },
                      { "boot", false }, { "README", false }, { "user", false } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *folder = new_folder(state, "files"), *path = path_join(cases[i].top, "x");
                char *files[] = { folder, NULL };
                Recipe recipe = { .files = files };
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_error_ Error e = {};
                int r;

                put_host(folder, path, "x");
                put_host(folder, ".gitkeep", "");
                r = overlay_apply(t, &recipe, FIXTURE_TIME, &e);
                if (cases[i].good)
                        assert_done(r, &e);
                else {
                        assert_refused(r, &e, REFUSAL_BAD_VALUE);
                        assert_non_null(e.hint);
                }
        }
}

static void what_cannot_be_in_an_overlay_is_refused(void **state) {
        static const Refusal ids[] = { REFUSAL_BAD_VALUE, REFUSAL_TOO_LARGE, REFUSAL_NOT_FOUND, REFUSAL_NOT_FOUND,
                                       REFUSAL_EXISTS };

        for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
                _cleanup_free_ char *folder = new_folder(state, "files"), *odd = path_join(folder, "etc/odd");
                _cleanup_buffer_ Buffer deep = {};
                char *files[] = { folder, NULL }, *missing[] = { OWNED("/no/such/file.conf"), NULL };
                Recipe recipe = { .files = files, .sysusers = i == 3 ? missing : NULL };
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_error_ Error e = {};

                put_host(folder, "etc/x", "x");
                if (i == 0)
                        assert_int_equal(mkfifo(odd, 0644), 0);
                else if (i == 1) {
                        for (unsigned k = 0; k < 70; k++)
                                buffer_puts(&deep, "etc/");
                        buffer_puts(&deep, "x");
                        put_host(folder, deep.data, "x");
                } else if (i == 2)
                        files[0] = OWNED("/no/such/folder");
                else if (i == 4)
                        put(t, "/etc/x/a-folder-where-the-overlay-has-a-file", "x");
                assert_refused(overlay_apply(t, &recipe, FIXTURE_TIME, &e), &e, ids[i]);
                if (i == 0)
                        assert_non_null(strstr(e.message, odd));
        }
}

static void order_of_the_host_folder_does_not_show(void **state) {
        Sha256 digests[2];

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_free_ char *folder = new_folder(state, i ? "forwards" : "backwards");
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_error_ Error e = {};

                for (unsigned k = 0; k < 50; k++) {
                        char name[32];

                        snprintf(name, sizeof(name), "etc/d%u/f", i ? k : 49 - k);
                        put_host(folder, name, name);
                }
                assert_done(overlay_import_folder(t, "", folder, FIXTURE_TIME, &e), &e);
                tree_digest(t, true, &digests[i]);
        }
        assert_true(sha256_equal(&digests[0], &digests[1]));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(modes_do_not_depend_on_umask_or_version_control),
                cmocka_unit_test(folders_of_packages_keep_owner_and_mode),
                cmocka_unit_test(links_come_as_links_and_gitkeep_stays_out),
                cmocka_unit_test(later_folder_replaces_earlier_ones),
                cmocka_unit_test(plain_files_go_to_their_places),
                cmocka_unit_test(only_places_of_an_image_may_be_named),
                cmocka_unit_test(what_cannot_be_in_an_overlay_is_refused),
                cmocka_unit_test(order_of_the_host_folder_does_not_show),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
