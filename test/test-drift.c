/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* On a real overlay, mounted with the options of the initrd, in a mount namespace of the test's own. */

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "drift-reset.h"
#include "folder-fixture.h"

typedef struct Fixture {
        char *root;
        DriftFolders folders;
        Drift *drift;
        bool mounted;
} Fixture;

static void write_at(const Fixture *f, const char *path, const char *text, mode_t mode) {
        _cleanup_free_ char *p = path_join(f->root, path), *folder = path_dirname(p);

        assert_int_equal(io_mkdir_parents(AT_FDCWD, folder, 0755, NULL), 0);
        (void) mkdir(folder, 0755);
        assert_int_equal(io_write_file(AT_FDCWD, p, text, strlen(text), mode, NULL), 0);
}

static char *read_at(const Fixture *f, const char *path) {
        _cleanup_free_ char *p = path_join(f->root, path);
        char *text = NULL;
        size_t size;

        return io_read_file(AT_FDCWD, p, 65536, &text, &size, NULL) < 0 ? NULL : text;
}

static struct stat stat_of(const Fixture *f, const char *path) {
        _cleanup_free_ char *p = path_join(f->root, path);
        struct stat st = {};

        (void) lstat(p, &st);
        return st;
}

static bool mount_overlay(Fixture *f) {
        _cleanup_free_ char *merged = path_join(f->root, "etc"),
                            *options = xasprintf("lowerdir=%s/usr/share/factory/etc,upperdir=%s/.etc/upper,workdir=%s/"
                                                 ".etc/work,index=off,metacopy=off,xino=off,redirect_dir=nofollow",
                                                 f->root, f->root, f->root);

        return mount("overlay", merged, "overlay", 0, options) == 0;
}

static int make_machine(void **state) {
        Fixture *f = xnew(Fixture, 1);
        static const char *const folders[] = { "etc", ".etc", ".etc/upper", ".etc/work" };

        f->folders = (DriftFolders){ -EBADF, -EBADF, -EBADF };
        if (make_folder((void **) &f->root) < 0)
                return -1;
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *p = path_join(f->root, folders[i]);

                (void) mkdir(p, 0755);
        }
        write_at(f, "usr/share/factory/etc/issue", "Debian\n", 0644);
        write_at(f, "usr/share/factory/etc/shadow", "root:*::\n", 0640);
        write_at(f, "usr/share/factory/etc/ssh/sshd_config", "Port 22\n", 0644);
        write_at(f, "usr/share/factory/etc/ssh/moduli", "2\n", 0644);
        write_at(f, "usr/share/factory/etc/app/one", "1\n", 0644);
        write_at(f, "usr/share/factory/etc/app/two", "2\n", 0600);
        f->mounted = mount_overlay(f);
        *state = f;
        return 0;
}

static void unmount_overlay(Fixture *f) {
        _cleanup_free_ char *merged = path_join(f->root, "etc");

        drift_folders_done(&f->folders);
        if (f->mounted)
                assert_int_equal(umount2(merged, 0), 0);
        f->mounted = false;
}

static int remove_machine(void **state) {
        Fixture *f = *state;

        drift_free(f->drift);
        unmount_overlay(f);
        (void) remove_folder((void **) &f->root);
        free(f);
        return 0;
}

static Fixture *need(void **state) {
        Fixture *f = *state;

        if (!f->mounted)
                skip();
        return f;
}

static const Drift *look(Fixture *f) {
        if (f->folders.merged < 0)
                assert_int_equal(drift_open(f->root, &f->folders, NULL), 0);
        f->drift = drift_free(f->drift);
        assert_int_equal(drift_read(&f->folders, &f->drift, NULL), 0);
        return f->drift;
}

static const DriftEntry *entry(const Drift *d, const char *path) {
        for (size_t i = 0; i < d->n_entries; i++)
                if (streq(d->entries[i].path, path))
                        return &d->entries[i];
        return NULL;
}

static void reset_ok(Fixture *f, const char *path) {
        _cleanup_free_ char *done = NULL, *expected = path_join("/etc", path);
        char id[DRIFT_ID_LENGTH + 1];

        drift_id(path, id);
        assert_int_equal(drift_reset(&f->folders, id, &done, NULL), 0);
        assert_string_equal(done, expected);
}

static Refusal reset_refused(Fixture *f, const char *id) {
        _cleanup_free_ char *done = NULL;
        _cleanup_error_ Error e = {};

        assert_true(drift_reset(&f->folders, id, &done, &e) < 0);
        assert_null(done);
        return e.id;
}

static void run(const Fixture *f, const char *command) {
        _cleanup_free_ char *line = xasprintf("cd '%s/etc' && %s", f->root, command);
        char *argv[] = { (char *) "sh", (char *) "-ec", line, NULL };
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                execvp("sh", argv);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

/* ---- reading ---- */

static void an_untouched_machine_has_no_drift(void **state) {
        Fixture *f = need(state);

        assert_int_equal(look(f)->n_entries, 0);
}

static void what_is_no_overlay_is_refused(void **state) {
        _cleanup_error_ Error e = {};
        DriftFolders folders;

        assert_true(drift_open("/nonexistent", &folders, &e) < 0);
        assert_int_equal(e.id, REFUSAL_MACHINE);
}

static void every_kind_of_change_is_seen(void **state) {
        Fixture *f = need(state);
        const Drift *d;

        run(f, "echo mine >issue; rm ssh/moduli; chmod 0600 ssh/sshd_config; mkdir new; echo x >new/file; ln -s a "
               "new/link");
        d = look(f);
        assert_int_equal(d->n_entries, 6);
        assert_int_equal(entry(d, "issue")->kind, DRIFT_CHANGED);
        assert_int_equal(entry(d, "ssh/moduli")->kind, DRIFT_REMOVED);
        assert_int_equal(entry(d, "ssh/sshd_config")->kind, DRIFT_ATTRIBUTES);
        assert_int_equal(entry(d, "ssh/sshd_config")->mode & 07777, 0600);
        assert_int_equal(entry(d, "ssh/sshd_config")->mode_default & 07777, 0644);
        assert_int_equal(entry(d, "new")->kind, DRIFT_ADDED);
        assert_true(entry(d, "new")->folder);
        assert_int_equal(entry(d, "new/file")->kind, DRIFT_ADDED);
        assert_int_equal(entry(d, "new/link")->kind, DRIFT_ADDED);
}

static void a_change_taken_back_by_hand_is_none(void **state) {
        Fixture *f = need(state);

        run(f, "echo mine >issue; echo Debian >issue; touch ssh/moduli");
        assert_int_equal(look(f)->n_entries, 0);
}

static void a_folder_made_anew_hides_what_was_in_it(void **state) {
        Fixture *f = need(state);
        const Drift *d;

        run(f, "rm -r app; mkdir app; echo 1 >app/one; echo 3 >app/three");
        d = look(f);
        assert_int_equal(d->n_entries, 2);
        assert_int_equal(entry(d, "app/two")->kind, DRIFT_REMOVED);
        assert_int_equal(entry(d, "app/three")->kind, DRIFT_ADDED);
}

static void a_file_for_a_folder_is_one_change(void **state) {
        Fixture *f = need(state);
        const Drift *d;

        run(f, "rm -r app; echo x >app; rm issue; mkdir issue; echo x >issue/x");
        d = look(f);
        assert_int_equal(d->n_entries, 2);
        assert_int_equal(entry(d, "app")->kind, DRIFT_CHANGED);
        assert_int_equal(entry(d, "issue")->kind, DRIFT_CHANGED);
}

static void what_every_machine_makes_is_its_own(void **state) {
        Fixture *f = need(state);
        const Drift *d;

        run(f, "echo 1 >machine-id; echo k >ssh/ssh_host_ed25519_key; echo k >ssh/other_key");
        d = look(f);
        assert_non_null(entry(d, "machine-id")->own);
        assert_non_null(entry(d, "ssh/ssh_host_ed25519_key")->own);
        assert_null(entry(d, "ssh/other_key")->own);
        assert_int_equal(reset_refused(f, entry(d, "machine-id")->id), REFUSAL_BAD_VALUE);
}

static void json_tells_names_and_never_contents(void **state) {
        Fixture *f = need(state);
        _cleanup_json_ json_t *o = NULL;
        _cleanup_free_ char *text = NULL;

        run(f, "echo 'root:secret::' >shadow; printf x >\"$(printf 'a\\033b\\377')\"");
        o = drift_to_json(look(f));
        text = json_format(o, true);
        assert_null(strstr(text, "secret"));
        assert_non_null(strstr(text, "/etc/shadow"));
        assert_non_null(strstr(text, "/etc/a\\\\x1bb\\\\xff"));
}

/* ---- putting back ---- */

static void each_kind_of_change_is_put_back(void **state) {
        Fixture *f = need(state);
        _cleanup_free_ char *issue = NULL, *two = NULL;

        run(f, "echo mine >issue; rm ssh/moduli; chmod 0600 ssh/sshd_config; mkdir new; echo x >new/file; rm -r app");
        look(f);
        reset_ok(f, "issue");
        reset_ok(f, "ssh/moduli");
        reset_ok(f, "ssh/sshd_config");
        reset_ok(f, "new");
        reset_ok(f, "app");
        assert_int_equal(look(f)->n_entries, 0);
        issue = read_at(f, "etc/issue");
        assert_string_equal(issue, "Debian\n");
        two = read_at(f, "etc/app/two");
        assert_string_equal(two, "2\n");
        assert_int_equal(stat_of(f, "etc/app/two").st_mode & 07777, 0600);
        assert_int_equal(stat_of(f, "etc/ssh/sshd_config").st_mode & 07777, 0644);
        assert_int_equal(stat_of(f, "etc/new").st_mode, 0);
}

static void a_folder_and_a_file_change_places_again(void **state) {
        Fixture *f = need(state);

        run(f, "rm -r app; echo x >app; rm issue; mkdir issue; echo x >issue/x");
        look(f);
        reset_ok(f, "app");
        reset_ok(f, "issue");
        assert_int_equal(look(f)->n_entries, 0);
}

static void a_folders_mode_is_put_back_without_its_files(void **state) {
        Fixture *f = need(state);
        const Drift *d;

        run(f, "chmod 0700 ssh; echo mine >ssh/sshd_config");
        look(f);
        reset_ok(f, "ssh");
        d = look(f);
        assert_int_equal(d->n_entries, 1);
        assert_string_equal(d->entries[0].path, "ssh/sshd_config");
}

static void accounts_and_unknown_ids_are_refused(void **state) {
        Fixture *f = need(state);
        char id[DRIFT_ID_LENGTH + 1];

        run(f, "echo 'root:x::' >shadow");
        look(f);
        drift_id("shadow", id);
        assert_int_equal(reset_refused(f, id), REFUSAL_BAD_VALUE);
        assert_int_equal(reset_refused(f, "0123456789ab"), REFUSAL_NOT_FOUND);
        assert_int_equal(reset_refused(f, "../../etc"), REFUSAL_NOT_FOUND);
        assert_int_equal(reset_refused(f, ""), REFUSAL_NOT_FOUND);
}

static void what_a_cut_reset_left_is_cleared_by_the_next(void **state) {
        Fixture *f = need(state);
        const Drift *d;

        run(f, "echo mine >issue; echo half >" DRIFT_TEMPORARY);
        d = look(f);
        assert_non_null(entry(d, DRIFT_TEMPORARY)->own);
        reset_ok(f, "issue");
        assert_int_equal(look(f)->n_entries, 0);
}

/* ---- the next image ---- */

static void next_image(Fixture *f, const char *issue) {
        unmount_overlay(f);
        if (issue)
                write_at(f, "usr/share/factory/etc/issue", issue, 0644);
        else {
                _cleanup_free_ char *p = path_join(f->root, "usr/share/factory/etc/issue");

                assert_int_equal(io_unlink(AT_FDCWD, p, NULL), 0);
        }
        f->mounted = mount_overlay(f);
        assert_true(f->mounted);
}

static void a_default_that_was_put_back_follows_the_image(void **state) {
        Fixture *f = need(state);
        _cleanup_free_ char *text = NULL;
        size_t n = 0;

        run(f, "echo mine >issue");
        look(f);
        reset_ok(f, "issue");
        next_image(f, "Debian 14\n");
        assert_true(entry(look(f), "issue")->earlier_default);
        assert_int_equal(drift_refresh(&f->folders, &n, NULL), 0);
        assert_int_equal(n, 1);
        text = read_at(f, "etc/issue");
        assert_string_equal(text, "Debian 14\n");
        assert_int_equal(look(f)->n_entries, 0);
        next_image(f, NULL);
        look(f);
        assert_int_equal(drift_refresh(&f->folders, &n, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(stat_of(f, "etc/issue").st_mode, 0);
}

static void an_edited_default_does_not_follow(void **state) {
        Fixture *f = need(state);
        _cleanup_free_ char *text = NULL;
        size_t n = 7;

        run(f, "echo mine >issue");
        look(f);
        reset_ok(f, "issue");
        run(f, "echo again >>issue");
        next_image(f, "Debian 14\n");
        assert_false(entry(look(f), "issue")->earlier_default);
        assert_int_equal(drift_refresh(&f->folders, &n, NULL), 0);
        assert_int_equal(n, 0);
        text = read_at(f, "etc/issue");
        assert_string_equal(text, "Debian\nagain\n");
}

static int own_namespace(void **state) {
        /* Where this is not allowed, mounting will not be either, and the tests say so. */
        if (unshare(CLONE_NEWNS) == 0)
                (void) mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
        return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_machine, remove_machine)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(an_untouched_machine_has_no_drift),
                cmocka_unit_test(what_is_no_overlay_is_refused),
                TEST(every_kind_of_change_is_seen),
                TEST(a_change_taken_back_by_hand_is_none),
                TEST(a_folder_made_anew_hides_what_was_in_it),
                TEST(a_file_for_a_folder_is_one_change),
                TEST(what_every_machine_makes_is_its_own),
                TEST(json_tells_names_and_never_contents),
                TEST(each_kind_of_change_is_put_back),
                TEST(a_folder_and_a_file_change_places_again),
                TEST(a_folders_mode_is_put_back_without_its_files),
                TEST(accounts_and_unknown_ids_are_refused),
                TEST(what_a_cut_reset_left_is_cleared_by_the_next),
                TEST(a_default_that_was_put_back_follows_the_image),
                TEST(an_edited_default_does_not_follow),
        };

        return cmocka_run_group_tests(tests, own_namespace, NULL);
}
