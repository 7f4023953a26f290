/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <sys/stat.h>

#include "process.h"
#include "stateless.h"

#define STATE "/usr/lib/tmpfiles.d/zz-sealab-state.conf"
#define FACTORY "/usr/share/factory"

static void dpkg_knows(Tree *t, const char *package) {
        _cleanup_free_ char *list = xasprintf("/var/lib/dpkg/info/%s.list", package);

        put(t, list, "");
}

/* ---- what the recipe leaves out ---- */

static void files_of_removed_packages_go_with_links_to_them(void **state) {
        char *remove[] = { OWNED("perl"), OWNED("libfoo"), NULL };
        Recipe recipe = { .remove = remove, .architecture = OWNED("amd64") };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        dpkg_knows(t, "perl");
        dpkg_knows(t, "libfoo:amd64");
        put_package(t, "/usr/bin/perl", "perl");
        put_package(t, "/usr/share/perl/only/x", "perl");
        put_package(t, "/usr/share/mixed/a", "perl");
        put_package(t, "/usr/share/mixed/b", "bash");
        put_package(t, "/usr/lib/libfoo.so.1", "libfoo");
        put_link(t, "/usr/bin/perl5", "perl");
        put_link(t, "/usr/bin/perl-chain", "perl5");
        put_link(t, "/usr/bin/upstream-dangling", "never-there");
        put_link(t, "/usr/bin/good", "../share/mixed/b");
        put_folder(t, "/usr/share/empty", 0755, 0, 0);
        assert_done(stateless_remove_content(t, &recipe, &e), &e);
        assert_gone(t, "/usr/bin/perl");
        assert_gone(t, "/usr/bin/perl5");
        assert_gone(t, "/usr/bin/perl-chain");
        assert_gone(t, "/usr/lib/libfoo.so.1");
        assert_gone(t, "/usr/share/perl"); /* the removal emptied it */
        assert_gone(t, "/usr/share/mixed/a");
        assert_there(t, "/usr/share/mixed/b");
        assert_there(t, "/usr/bin/good");
        assert_there(t, "/usr/bin/upstream-dangling");
        assert_there(t, "/usr/share/empty"); /* it was empty before */
}

static void dropped_folder_keeps_what_must_stay(void **state) {
        char *drop[] = { OWNED("docs"), OWNED("/usr/lib/extra/**"), NULL };
        Recipe recipe = { .drop = drop };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put(t, "/usr/share/doc/bash/README", "x");
        put(t, "/usr/share/doc/bash/copyright", "licence");
        put(t, "/usr/share/doc/only-readme/README", "x");
        put(t, "/usr/lib/extra/a/b", "x");
        put(t, "/usr/lib/extras", "x");
        put_link(t, "/usr/share/link", "doc/bash/README");
        assert_done(stateless_remove_content(t, &recipe, &e), &e);
        assert_gone(t, "/usr/share/doc/bash/README");
        assert_gone(t, "/usr/share/doc/only-readme");
        assert_gone(t, "/usr/share/link");
        assert_gone(t, "/usr/lib/extra/a");
        assert_there(t, "/usr/share/doc/bash/copyright");
        assert_there(t, "/usr/lib/extras");
}

static void removing_what_is_not_installed_is_refused(void **state) {
        char *remove[] = { OWNED("perl"), NULL };
        Recipe recipe = { .remove = remove, .architecture = OWNED("amd64") };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {}, empty = {};

        put(t, "/usr/bin/x", "x");
        dpkg_knows(t, "perl-base");
        assert_refused(stateless_remove_content(t, &recipe, &e), &e, REFUSAL_BAD_VALUE);
        assert_non_null(e.hint);
        tree_remove(t, "/usr");
        assert_refused(stateless_remove_content(t, &(Recipe){}, &empty), &empty, REFUSAL_BAD_FORMAT);
}

/* ---- alternatives ---- */

static void alternatives_become_direct_links(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put_link(t, "/bin", "usr/bin");
        put(t, "/usr/bin/mawk", "x");
        put_link(t, "/usr/bin/awk", "/etc/alternatives/awk");
        put_link(t, "/etc/alternatives/awk", "/usr/bin/mawk");
        put_link(t, "/usr/bin/nawk", "/etc/alternatives/nawk");
        put_link(t, "/etc/alternatives/nawk", "/bin/mawk"); /* the real place is written */
        put_link(t, "/usr/bin/pager", "/etc/alternatives/pager");
        put_link(t, "/etc/alternatives/pager", "/usr/bin/less"); /* not there */
        put_link(t, "/usr/bin/cut", "/etc/alternatives/cut");    /* no such alternative */
        put_link(t, "/usr/bin/chain", "awk");
        put_link(t, "/etc/vtrgb", "/etc/alternatives/vtrgb");
        put_link(t, "/etc/alternatives/vtrgb", "/etc/console-setup/vtrgb");
        put(t, "/etc/console-setup/vtrgb", "x");
        put(t, "/etc/alternatives/README", "x");
        put(t, "/var/lib/dpkg/alternatives/awk", "x");
        put_link(t, "/usr/bin/other", "/etc/alternatively");
        assert_done(stateless_flatten_alternatives(t, &e), &e);
        assert_link(t, "/usr/bin/awk", "/usr/bin/mawk");
        assert_link(t, "/usr/bin/nawk", "/usr/bin/mawk");
        assert_link(t, "/usr/bin/chain", "awk");
        assert_link(t, "/etc/vtrgb", "/etc/console-setup/vtrgb");
        assert_link(t, "/usr/bin/other", "/etc/alternatively");
        assert_gone(t, "/usr/bin/pager");
        assert_gone(t, "/usr/bin/cut");
        assert_gone(t, "/etc/alternatives");
        assert_gone(t, "/var/lib/dpkg/alternatives");
}

static void alternatives_that_go_in_circles_are_removed(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put_link(t, "/usr/bin/a", "/etc/alternatives/a");
        put_link(t, "/etc/alternatives/a", "/usr/bin/a");
        assert_done(stateless_flatten_alternatives(t, &e), &e);
        assert_gone(t, "/usr/bin/a");
}

/* ---- traces ---- */

static void traces_of_one_machine_go_and_their_neighbours_stay(void **state) {
        static const char *const gone[] = {
                "/etc/machine-id",
                "/etc/ssh/ssh_host_ed25519_key",
                "/etc/ssh/ssh_host_ed25519_key.pub",
                "/etc/.pwd.lock",
                "/etc/shadow-",
                "/etc/ssl/private/ssl-cert-snakeoil.key",
                "/etc/apt/sources.list.d/x",
                "/etc/rc2.d/S01x",
                "/etc/rcS.d/S01x",
                "/var/lib/dpkg/status",
                "/var/lib/systemd/random-seed",
                "/var/lib/systemd/credential.secret",
                "/var/lib/dbus/machine-id",
                "/var/log/dpkg.log",
                "/var/log/apt/term.log",
                "/var/log/wtmp",
                "/var/cache/man/index.db",
                "/var/cache/debconf/config.dat",
                "/var/tmp/x/y",
                "/root/.bash_history",
                "/home/somebody/x",
                "/lost+found",
        };
        static const char *const kept[] = {
                "/etc/ssh/sshd_config",      "/etc/shadow",         "/etc/ssl/certs/ca.pem", "/etc/rc.local",
                "/var/lib/systemd/x",        "/var/log/journal/x",  "/var/cache/x", /* a file of the folder itself */
                "/var/log/journal/x.log",    "/etc/program/x.lock", "/root/visible",         "/usr/lib/dpkg/x",
                "/usr/share/etc/machine-id",
        };
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        for (size_t i = 0; i < ELEMENTSOF(gone); i++)
                put(t, gone[i], "x");
        for (size_t i = 0; i < ELEMENTSOF(kept); i++)
                put(t, kept[i], "x");
        stateless_remove_traces(t);
        for (size_t i = 0; i < ELEMENTSOF(gone); i++)
                assert_gone(t, gone[i]);
        for (size_t i = 0; i < ELEMENTSOF(kept); i++)
                assert_there(t, kept[i]);
}

/* ---- state ---- */

static void state_is_described_and_its_files_become_factory_copies(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *text = NULL;

        put(t, "/usr/lib/tmpfiles.d/systemd.conf",
            "# d /var/lib/commented 0755 - - -\nd /var/log 0755 - - -\n\tL+ /var/known-link - - - - x\n"
            "f! /var/known-file 0644 - - -\ne /var/only-cleaned 0755 - - 1d\nr! /var/removed-at-boot\n");
        put_folder(t, "/var/log", 0755, 0, 0);
        put_folder(t, "/var/lib/commented", 0755, 0, 0);
        put_folder(t, "/var/only-cleaned", 0750, 0, 0);
        put_folder(t, "/var/lib/a", 02770, 6, 12);
        put_owned(t, "/var/lib/a/file", 0640, 6, 0, "content");
        put_link(t, "/var/lib/a/link", "../x");
        put_link(t, "/var/known-link", "x");
        put(t, "/var/known-file", "x");
        put_folder(t, "/root", 0700, 0, 0);
        put(t, "/opt/vendor/x", "x");
        assert_done(stateless_describe_state(t, FIXTURE_TIME, &e), &e);
        text = tree_text(t, STATE);
        assert_string_equal(strchr(text, '\n') + 1, "d /opt 0755 0 0 -\n"
                                                    "d /opt/vendor 0755 0 0 -\n"
                                                    "C /opt/vendor/x 0644 0 0 - /usr/share/factory/opt/vendor/x\n"
                                                    "d /var/lib 0755 0 0 -\n"
                                                    "d /var/lib/a 2770 6 12 -\n"
                                                    "C /var/lib/a/file 0640 6 0 - /usr/share/factory/var/lib/a/file\n"
                                                    "L /var/lib/a/link - - - - ../x\n"
                                                    "d /var/lib/commented 0755 0 0 -\n"
                                                    "d /var/only-cleaned 0750 0 0 -\n");
        assert_content(t, FACTORY "/var/lib/a/file", "content");
        assert_int_equal(tree_lookup(t, FACTORY "/var/lib/a/file")->inode->uid, 6);
        assert_gone(t, "/var");
        assert_gone(t, "/root");
        assert_gone(t, "/opt");
        assert_int_equal(tree_lookup(t, STATE)->inode->mtime, FIXTURE_TIME);
}

/* systemd-tmpfiles itself must make the same of the lines, whatever the names. */
static void odd_names_come_back_from_the_lines(void **state) {
        static const char *const names[] = { "a b",  "tab\there", "back\\slash", "x\\x41", "\"quoted\"",
                                             "it's", "100%",      "%m",          "-",      "#not",
                                             "\x7f", "ende ",     "\xc3\xa4\xff" };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *root = path_join(*state, "root"), *option = xasprintf("--root=%s", root), *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error e = {};
        char *argv[] = { OWNED("systemd-tmpfiles"), option, OWNED("--create"), NULL };

        if (access("/usr/bin/systemd-tmpfiles", X_OK) < 0 && access("/bin/systemd-tmpfiles", X_OK) < 0)
                skip();
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *folder = xasprintf("/var/%s", names[i]), *file = path_join(folder, names[i]),
                                    *link = path_join(folder, "link");

                put(t, file, names[i]);
                put_link(t, link, names[i]);
        }
        assert_done(stateless_describe_state(t, FIXTURE_TIME, &e), &e);
        assert_done(io_mkdir_parents(AT_FDCWD, root, 0755, &e), &e);
        fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_done(tree_materialise(t, fd, &e), &e);
        assert_done(process_run(argv, &(ProcessOptions){ .merge_stderr = true }, &text, NULL, &e), &e);
        assert_string_equal(text, "");
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *folder = xasprintf("%s/var/%s", root, names[i]),
                                    *file = path_join(folder, names[i]), *link = path_join(folder, "link");
                _cleanup_free_ char *content = NULL;
                char target[100] = "";

                assert_done(io_read_file(AT_FDCWD, file, 100, &content, NULL, &e), &e);
                assert_string_equal(content, names[i]);
                assert_true(readlink(link, target, sizeof(target) - 1) > 0);
                assert_string_equal(target, names[i]);
        }
}

static void names_that_no_line_can_hold_are_refused(void **state) {
        for (unsigned i = 0; i < 3; i++) {
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_error_ Error e = {};

                if (i == 0)
                        put(t, "/var/new\nd\x20/line", "x");
                else if (i == 1)
                        put_folder(t, "/var/\x01", 0755, 0, 0);
                else
                        put_link(t, "/var/link", "x\nd /y");
                assert_refused(stateless_describe_state(t, FIXTURE_TIME, &e), &e, REFUSAL_BAD_VALUE);
        }
}

/* ---- only /usr is left ---- */

static void etc_becomes_the_factory_copy(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put_owned(t, "/etc/ssl/private/x", 0640, 0, 12, "x");
        put(t, "/etc/both", "of /etc");
        put(t, FACTORY "/etc/both", "of a package");
        put(t, FACTORY "/etc/only-package", "x");
        put_link(t, "/bin", "usr/bin");
        put_folder(t, "/mnt/empty", 0755, 0, 0);
        assert_done(stateless_move_etc(t, &e), &e);
        assert_content(t, FACTORY "/etc/both", "of /etc");
        assert_there(t, FACTORY "/etc/only-package");
        assert_int_equal(tree_lookup(t, FACTORY "/etc/ssl/private/x")->inode->gid, 12);
        assert_int_equal(t->root->n_children, 1);
        assert_string_equal(t->root->children[0]->name, "usr");
}

static void files_left_outside_usr_are_all_named(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};

        put(t, "/usr/bin/x", "x");
        put_package(t, "/srv/www/index.html", "apache2");
        put(t, "/data", "x");
        put_link(t, "/boot/link", "x");
        assert_refused(stateless_move_etc(t, &e), &e, REFUSAL_GATE);
        assert_non_null(strstr(e.message, "/srv/www/index.html (package apache2)"));
        assert_non_null(strstr(e.message, "data"));
        assert_non_null(strstr(e.message, "/boot/link"));
        assert_null(strstr(e.message, "/usr/bin/x"));
}

static void everything_has_one_time_but_usr_its_own(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        put(t, "/usr/bin/x", "x");
        put_link(t, "/usr/bin/y", "x");
        stateless_set_times(t, 1000, 2000);
        assert_int_equal(tree_lookup(t, "/usr")->inode->mtime, 2000);
        assert_int_equal(tree_lookup(t, "/usr/bin")->inode->mtime, 1000);
        assert_int_equal(tree_lookup(t, "/usr/bin/x")->inode->mtime, 1000);
        assert_int_equal(tree_lookup(t, "/usr/bin/y")->inode->mtime, 1000);
        assert_int_equal(t->root->inode->mtime, 1000);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(files_of_removed_packages_go_with_links_to_them),
                cmocka_unit_test(dropped_folder_keeps_what_must_stay),
                cmocka_unit_test(removing_what_is_not_installed_is_refused),
                cmocka_unit_test(alternatives_become_direct_links),
                cmocka_unit_test(alternatives_that_go_in_circles_are_removed),
                cmocka_unit_test(traces_of_one_machine_go_and_their_neighbours_stay),
                cmocka_unit_test(state_is_described_and_its_files_become_factory_copies),
                cmocka_unit_test(odd_names_come_back_from_the_lines),
                cmocka_unit_test(names_that_no_line_can_hold_are_refused),
                cmocka_unit_test(etc_becomes_the_factory_copy),
                cmocka_unit_test(files_left_outside_usr_are_all_named),
                cmocka_unit_test(everything_has_one_time_but_usr_its_own),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
