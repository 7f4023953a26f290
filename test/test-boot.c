/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "updater-fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "state.h"

#define LINE_OF(hash) xasprintf("usrhash=%s quiet", hash)

typedef struct Kernel {
        void *uki;
        size_t size;
        ReleaseDescription description;
} Kernel;

static void kernel_done(Kernel *k) {
        free(k->uki);
}

static Kernel make_kernel(const char *version) {
        Kernel k = { .description = { .product = (char *) "desk", .version = (char *) version } };
        _cleanup_free_ char *hex = NULL, *line = NULL;

        k.description.root_hash = fixture_hash(version);
        hex = sha256_hex(&k.description.root_hash);
        line = LINE_OF(hex);
        k.uki = fixture_uki(line, &k.size);
        sha256_buffer(line, strlen(line), &k.description.command_line);
        k.description.artifacts[ARTIFACT_UKI] = (Artifact){ .present = true, .size = k.size };
        return k;
}

/* Names in EFI/Linux, sorted, joined by spaces. */
static char *names(const MachineFixture *f) {
        _cleanup_free_ char *path = path_join(f->boot, "EFI/Linux");
        _cleanup_strv_free_ char **l = NULL;
        DIR *d = opendir(path);
        const struct dirent *e;

        assert_non_null(d);
        while ((e = readdir(d)))
                if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                        strv_extend(&l, e->d_name);
        closedir(d);
        if (l)
                strv_sort(l);
        return l ? strv_join(l, " ") : xstrdup("");
}

static void assert_names(const MachineFixture *f, const char *wanted) {
        _cleanup_free_ char *there = names(f);

        assert_string_equal(there, wanted);
}

static int install(const MachineFixture *f, const Machine *m, const Kernel *k, Error *e) {
        _cleanup_close_ int fd = -EBADF;

        updater_ok(boot_create_temporary(m, &k->description, &fd, e), e);
        assert_int_equal(io_pwrite_all(fd, k->uki, k->size, 0, NULL), 0);
        return boot_install(m, &k->description, fd, k->size, 3, e);
}

/* ---- installing ---- */

static void an_entry_appears_with_its_tries(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f), *after = NULL;
        _cleanup_(kernel_done) Kernel k = make_kernel("2");
        _cleanup_error_ Error e = {};
        const BootEntry *entry;

        updater_ok(install(f, m, &k, &e), &e);
        assert_names(f, "desk_1.efi desk_2+3-0.efi");
        after = machine_fixture_read(f);
        entry = machine_entry_of_root_hash(after, &k.description.root_hash);
        assert_true(entry && entry->counted && entry->left == 3 && entry->done == 0);
        assert_int_equal(entry->size, k.size);
}

static void what_does_not_belong_never_becomes_an_entry(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_(kernel_done) Kernel k = make_kernel("2"), other = make_kernel("3");
        _cleanup_free_ char *hex = sha256_hex(&k.description.root_hash);
        const struct {
                const char *what;
                const void *data;
                size_t size;
                Refusal id;
        } cases[] = {
                { "no PE", "text", 4, REFUSAL_BAD_FORMAT },
                { "another release's", other.uki, other.size, REFUSAL_MIXED },
                { "cut", k.uki, k.size / 2, REFUSAL_BAD_FORMAT },
                { "nothing", "", 0, REFUSAL_SYSTEM },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_close_ int fd = -EBADF;
                _cleanup_error_ Error e = {};

                updater_ok(boot_create_temporary(m, &k.description, &fd, &e), &e);
                assert_int_equal(io_pwrite_all(fd, cases[i].data, cases[i].size, 0, NULL), 0);
                assert_true(boot_install(m, &k.description, fd, cases[i].size, 3, &e) < 0);
                print_message("%s: %s\n", cases[i].what, refusal_name(e.id));
                assert_true(e.id == cases[i].id || e.id == REFUSAL_BAD_SIGNATURE);
                assert_names(f, ".sealab-desk_2 desk_1.efi");
        }
        /* The right root hash, but other words beside it. */
        {
                _cleanup_free_ char *line = xasprintf("usrhash=%s init=/bin/sh", hex);
                Kernel changed = { .description = k.description };
                _cleanup_error_ Error e = {};

                changed.uki = fixture_uki(line, &changed.size);
                assert_true(install(f, m, &changed, &e) < 0);
                assert_int_equal(e.id, REFUSAL_MIXED);
                kernel_done(&changed);
        }
        /* One part is missing: the firmware would return from it, and need not try another entry. */
        for (const char *const *missing = (const char *const[]){ ".linux", ".initrd", ".osrel", ".cmdline", NULL };
             *missing; missing++) {
                _cleanup_free_ char *line = LINE_OF(hex);
                Kernel part = { .description = k.description };
                _cleanup_error_ Error e = {};

                part.uki = fixture_uki_without(*missing, line, &part.size);
                assert_true(install(f, m, &part, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
                kernel_done(&part);
        }
        /* Unsigned. */
        {
                size_t size;
                Kernel bare = { .description = k.description };
                _cleanup_error_ Error e = {};

                assert_int_equal(pe_strip_signature(k.uki, k.size, &bare.uki, &size, NULL), 0);
                bare.size = size;
                assert_true(install(f, m, &bare, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_SIGNATURE);
                kernel_done(&bare);
        }
        assert_names(f, ".sealab-desk_2 desk_1.efi");
}

static void an_earlier_attempt_leaves_nothing_behind(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_(kernel_done) Kernel k = make_kernel("2");
        _cleanup_error_ Error e = {};
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        machine_fixture_text(f->boot, "EFI/Linux/.sealab-desk_2", "much more than nothing");
        machine_fixture_text(f->boot, "EFI/Linux/.sealab-desk_1.9", "of another attempt");
        updater_ok(boot_create_temporary(m, &k.description, &fd, &e), &e);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, 0);
        assert_names(f, ".sealab-desk_2 desk_1.efi");
}

/* What a FAT can look like after a power cut in the rename. */
static void an_entry_s_old_name_is_left_alone(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_(kernel_done) Kernel k = make_kernel("2");
        Sha256 another = fixture_hash("another");
        _cleanup_error_ Error e = {};

        machine_fixture_entry(f, ".sealab-desk_1", &f->running);
        machine_fixture_entry(f, ".sealab-desk_0", &another); /* as large */
        machine_fixture_text(f->boot, "EFI/Linux/.sealab-desk_5", "");
        updater_ok(boot_retire(m, &m->slots[1], &e), &e);
        assert_names(f, ".sealab-desk_1 desk_1.efi");
        updater_ok(install(f, m, &k, &e), &e);
        assert_names(f, ".sealab-desk_1 desk_1.efi desk_2+3-0.efi");
}

/* A symbolic link is nothing that FAT has; who puts one there wants to be written through it. */
static void links_are_not_followed(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_(kernel_done) Kernel k = make_kernel("2");
        _cleanup_free_ char *victim = path_join(f->folder, "victim"),
                            *link = path_join(f->boot, "EFI/Linux/.sealab-desk_2"), *kept = NULL;
        _cleanup_error_ Error e = {};
        size_t size;

        machine_fixture_text(f->folder, "victim", "precious");
        assert_int_equal(symlink(victim, link), 0);
        updater_ok(install(f, m, &k, &e), &e);
        assert_int_equal(io_read_file(AT_FDCWD, victim, 4096, &kept, &size, NULL), 0);
        assert_string_equal(kept, "precious");
}

/* ---- retiring ---- */

static void the_slot_s_entries_and_orphans_go(void **state) {
        const MachineFixture *f = *state;
        GptPartition p[6] = {};
        _cleanup_(machine_freep) Machine *m = NULL;
        Sha256 old = fixture_hash("old"), lost = fixture_hash("lost"), elsewhere = fixture_hash("elsewhere");
        _cleanup_error_ Error e = {};

        fixture_slot(p, 1, "desk_1", &f->running, 2 * FIXTURE_MIB);
        fixture_slot(p + 3, 2, "desk_0", &old, 2 * FIXTURE_MIB);
        machine_fixture_disk(f, p, ELEMENTSOF(p), 16 * FIXTURE_MIB);
        machine_fixture_entry(f, "desk_0.efi", &old);
        machine_fixture_entry(f, "desk_0+0-3.efi", &old);
        machine_fixture_entry(f, "renamed.efi", &old); /* by its content */
        machine_fixture_entry(f, "desk_0.5+3-0.efi", &lost);
        machine_fixture_text(f->boot, "EFI/Linux/desk_0.7+3-0.efi", "damaged");
        machine_fixture_text(f->boot, "EFI/Linux/.sealab-desk_9", "left over");
        /* Not ours. */
        machine_fixture_entry(f, "server_7.efi", &elsewhere);
        machine_fixture_text(f->boot, "EFI/Linux/memtest.efi", "not ours");
        machine_fixture_text(f->boot, "EFI/Linux/README", "not ours");
        /* What runs, under each of its names. */
        machine_fixture_entry(f, "desk_1+2-1.efi", &f->running);
        machine_fixture_entry(f, "rescue.efi", &f->running);
        machine_fixture_text(f->boot, "EFI/Linux/desk_1+0-9.efi", "damaged, but of the version that runs");
        m = machine_fixture_read(f);
        updater_ok(boot_retire(m, &m->slots[1], &e), &e);
        assert_names(f, "README desk_1+0-9.efi desk_1+2-1.efi desk_1.efi memtest.efi rescue.efi server_7.efi");
        /* And again: nothing more to do. */
        updater_ok(boot_retire(m, &m->slots[1], &e), &e);
        assert_names(f, "README desk_1+0-9.efi desk_1+2-1.efi desk_1.efi memtest.efi rescue.efi server_7.efi");
}

static void the_running_slot_s_entry_never_goes(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_error_ Error e = {};

        assert_true(boot_retire(m, &m->slots[0], &e) < 0);
        assert_int_equal(e.id, REFUSAL_BUSY);
        assert_names(f, "desk_1.efi");
}

/* ---- room: on a file system of four MiB ---- */

static int in_a_small_esp(const MachineFixture *f) {
        const uint64_t mib = FIXTURE_MIB;
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(kernel_done) Kernel k = make_kernel("2");
        _cleanup_free_ char *much = xcalloc(3, mib);
        _cleanup_error_ Error e = {};
        int fd = -EBADF;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", f->boot, "tmpfs", 0, "size=4m") < 0)
                return 77;
        machine_fixture_entry(f, "desk_1.efi", &f->running);
        machine_fixture_write(f->boot, "EFI/Linux/desk_0.efi", much, (size_t) (3 * mib));
        m = machine_fixture_read(f);
        if (boot_check_space(m, k.size, &e) >= 0 || e.id != REFUSAL_NO_SPACE)
                return 2;
        error_done(&e);
        e = (Error){};
        if (boot_create_temporary(m, &k.description, &fd, &e) >= 0 || e.id != REFUSAL_NO_SPACE)
                return 3;
        error_done(&e);
        e = (Error){};
        /* What was looked at before is not what counts. */
        if (boot_retire(m, &m->slots[1], &e) < 0 || install(f, m, &k, &e) < 0)
                return 4;
        /* Nor does the leftover of an attempt before. */
        machine_fixture_write(f->boot, "EFI/Linux/.sealab-desk_2", much, (size_t) (3 * mib - 65536));
        machine_free(TAKE_PTR(m));
        m = machine_fixture_read(f);
        if (m->boot_free < 3 * mib)
                return 5;
        return install(f, m, &k, &e) < 0 ? 6 : 0;
}

static void room_is_what_there_is_at_that_time(void **state) {
        pid_t pid = fork();
        int status;

        if (pid == 0)
                _exit(in_a_small_esp(*state));
        assert_true(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- the default ---- */

static void the_default_is_a_pattern_and_goes_again(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_free_ char *text = NULL;
        _cleanup_error_ Error e = {};

        assert_int_equal(boot_get_default(m, &text, &e), 1);
        updater_ok(boot_set_default(m, NULL, &e), &e);
        updater_ok(boot_set_default(m, "0.9", &e), &e);
        assert_int_equal(boot_get_default(m, &text, &e), 0);
        assert_string_equal(text, "desk_0.9[+.]*");
        updater_ok(boot_set_default(m, NULL, &e), &e);
        free(TAKE_PTR(text));
        assert_int_equal(boot_get_default(m, &text, &e), 1);
}

static void stamps_go(void **state) {
        const MachineFixture *f = *state;
        _cleanup_free_ char *etc = path_join(f->root, "etc/.updated"), *var = path_join(f->root, "var/.updated");
        _cleanup_error_ Error e = {};

        updater_ok(boot_remove_stamps(f->root, &e), &e);
        machine_fixture_text(f->root, "etc/.updated", "");
        machine_fixture_text(f->root, "var/.updated", "");
        updater_ok(boot_remove_stamps(f->root, &e), &e);
        assert_false(io_exists(AT_FDCWD, etc) || io_exists(AT_FDCWD, var));
}

/* ---- judging ---- */

static void trials_are_judged(void **state) {
        static const struct {
                bool trial, runs, blessed, entry, counted;
                unsigned left, done;
                TrialVerdict verdict;
        } cases[] = {
                { .verdict = TRIAL_NONE },
                { .entry = true, .counted = true, .left = 3, .verdict = TRIAL_NONE },
                /* It runs. */
                { .trial = true,
                  .runs = true,
                  .entry = true,
                  .counted = true,
                  .left = 2,
                  .done = 1,
                  .verdict = TRIAL_RUNNING },
                { .trial = true,
                  .runs = true,
                  .entry = true,
                  .counted = true,
                  .left = 0,
                  .done = 3,
                  .verdict = TRIAL_RUNNING },
                { .trial = true, .runs = true, .blessed = true, .entry = true, .verdict = TRIAL_BLESSED },
                { .trial = true, .runs = true, .verdict = TRIAL_RUNNING },
                /* The old one runs. */
                { .trial = true, .entry = true, .counted = true, .left = 3, .done = 0, .verdict = TRIAL_NONE },
                { .trial = true,
                  .blessed = true,
                  .entry = true,
                  .counted = true,
                  .left = 3,
                  .done = 0,
                  .verdict = TRIAL_NONE },
                { .trial = true,
                  .blessed = true,
                  .entry = true,
                  .counted = true,
                  .left = 1,
                  .done = 2,
                  .verdict = TRIAL_RUNNING },
                { .trial = true,
                  .blessed = true,
                  .entry = true,
                  .counted = true,
                  .left = 0,
                  .done = 3,
                  .verdict = TRIAL_FELL_BACK },
                { .trial = true,
                  .blessed = true,
                  .entry = true,
                  .counted = true,
                  .left = 0,
                  .done = 0,
                  .verdict = TRIAL_FELL_BACK },
                { .trial = true, .blessed = true, .entry = true, .verdict = TRIAL_BLESSED },
                /* The switch never came about. */
                { .trial = true, .blessed = true, .verdict = TRIAL_NONE },
                { .trial = true, .verdict = TRIAL_NONE },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Trial t = { .version = (char *) "2",
                            .from_version = (char *) "1",
                            .root_hash = fixture_hash("2"),
                            .from_root_hash = fixture_hash("1") };
                _cleanup_(machine_freep) Machine *m = xnew(Machine, 1);

                m->root = xstrdup("/nowhere");
                m->running = fixture_hash(cases[i].runs ? "2" : "1");
                m->entry_blessed = cases[i].blessed;
                if (cases[i].entry)
                        m->entries[m->n_entries++] = (BootEntry){ .file = xstrdup("desk_2.efi"),
                                                                  .version = xstrdup("2"),
                                                                  .counted = cases[i].counted,
                                                                  .left = cases[i].left,
                                                                  .done = cases[i].done,
                                                                  .has_root_hash = true,
                                                                  .root_hash = fixture_hash("2") };
                print_message("case %zu\n", i);
                assert_int_equal(boot_judge(m, cases[i].trial ? &t : NULL), cases[i].verdict);
                if (cases[i].trial) {
                        _cleanup_free_ char *why = boot_explain_failure(m, &t);

                        assert_non_null(strstr(why, "2"));
                }
        }
}

int main(void) {
#define with_machine(f) cmocka_unit_test_setup_teardown(f, machine_fixture_setup, machine_fixture_teardown)
        const struct CMUnitTest tests[] = {
                with_machine(an_entry_appears_with_its_tries),
                with_machine(what_does_not_belong_never_becomes_an_entry),
                with_machine(an_earlier_attempt_leaves_nothing_behind),
                with_machine(an_entry_s_old_name_is_left_alone),
                with_machine(links_are_not_followed),
                with_machine(the_slot_s_entries_and_orphans_go),
                with_machine(the_running_slot_s_entry_never_goes),
                with_machine(room_is_what_there_is_at_that_time),
                with_machine(the_default_is_a_pattern_and_goes_again),
                with_machine(stamps_go),
                cmocka_unit_test(trials_are_judged),
        };

        return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
