/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "updater-fixture.h"

#include "state.h"

static void assert_refused(const MachineFixture *f, Refusal id) {
        Machine *m = NULL;
        _cleanup_error_ Error e = {};

        assert_true(machine_read(&f->paths, &m, &e) < 0);
        assert_null(m);
        if (e.id != id)
                print_error("%s\n", e.message);
        assert_int_equal(e.id, id);
}

static void what_it_is_is_read(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *running = machine_running_slot(m);

        assert_string_equal(m->product, "desk");
        assert_string_equal(m->version, "1");
        assert_string_equal(m->architecture, "x86-64");
        assert_string_equal(m->machine_id, FIXTURE_MACHINE_ID);
        assert_int_equal(m->n_slots, 2);
        assert_true(running == &m->slots[0] && !running->empty && running->has_root_hash);
        assert_string_equal(running->version, "1");
        assert_true(m->slots[1].empty && !m->slots[1].running && !m->slots[1].version);
        assert_true(machine_target_slot(m) == &m->slots[1]);
        assert_true(m->entry_blessed);
        assert_true(m->boot_free > 0);
        assert_int_equal(m->n_entries, 1);
        assert_true(machine_entry_of_root_hash(m, &f->running) == &m->entries[0]);
        assert_true(machine_slot_of_version(m, "1") == running);
        assert_null(machine_slot_of_version(m, "2"));
}

static void what_is_missing_is_named(void **state) {
        static const struct {
                const char *folder, *file, *text; /* text NULL: removed */
        } cases[] = {
                { "root", "usr/lib/os-release", NULL },
                { "root", "usr/lib/os-release", "ID=debian\n" },
                { "root", "usr/lib/os-release", "IMAGE_ID=desk\n" },
                { "root", "usr/lib/os-release", "IMAGE_VERSION=1\n" },
                { "root", "usr/lib/os-release", "IMAGE_ID=\nIMAGE_VERSION=\n" },
                { "root", "etc/machine-id", NULL },
                { "root", "etc/machine-id", "uninitialized\n" },
                { "root", "etc/machine-id", "0123\n" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                MachineFixture *f;
                void *mine = NULL;
                _cleanup_free_ char *folder = NULL, *path = NULL;

                machine_fixture_setup(&mine);
                f = mine;
                folder = path_join(f->folder, cases[i].folder);
                path = path_join(folder, cases[i].file);
                if (cases[i].text)
                        machine_fixture_text(folder, cases[i].file, cases[i].text);
                else
                        assert_int_equal(unlink(path), 0);
                print_message("case %zu\n", i);
                assert_refused(f, REFUSAL_MACHINE);
                machine_fixture_teardown(&mine);
        }
}

static void quotes_in_os_release_are_no_part_of_the_name(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = NULL;

        machine_fixture_text(f->root, "usr/lib/os-release", "XIMAGE_ID=no\nIMAGE_ID='desk'\nIMAGE_VERSION=1");
        m = machine_fixture_read(f);
        assert_string_equal(m->product, "desk");
        assert_string_equal(m->version, "1");
}

/* ---- slots ---- */

static void set_disk(const MachineFixture *f, const char *types) {
        GptPartition p[40] = {};
        size_t n = strlen(types);

        for (size_t i = 0; i < n; i++) {
                p[i].type = types[i] == 'u'   ? PARTITION_USR
                            : types[i] == 'v' ? PARTITION_USR_VERITY
                            : types[i] == 's' ? PARTITION_USR_VERITY_SIG
                                              : PARTITION_ROOT;
                p[i].size = FIXTURE_MIB;
                snprintf(p[i].uuid, sizeof p[i].uuid, "%08x-0000-4000-8000-000000000000", (unsigned) i + 1);
                strcpy(p[i].label, "_empty");
        }
        machine_fixture_disk(f, p, n, 64 * FIXTURE_MIB);
}

static void partitions_that_make_no_slots_are_refused(void **state) {
        static const char *const tables[] = { "r",
                                              "u",
                                              "v",
                                              "uu",
                                              "uvuvv",
                                              "uuv",
                                              "uvsuv",
                                              "s",
                                              "uvs"
                                              "u",
                                              "uvuvuvuvuvuvuvuvuv" };

        for (size_t i = 0; i < ELEMENTSOF(tables); i++) {
                set_disk(*state, tables[i]);
                assert_refused(*state, REFUSAL_MACHINE);
        }
}

static void order_and_signatures_may_differ(void **state) {
        static const struct {
                const char *table;
                size_t n;
        } tables[] = { { "uv", 1 },     { "uvuv", 2 },   { "ruvsruvs", 2 },
                       { "uuvvss", 2 }, { "vusvus", 2 }, { "uvuvuvuvuvuvuvuv", 8 } };

        for (size_t i = 0; i < ELEMENTSOF(tables); i++) {
                _cleanup_(machine_freep) Machine *m = NULL;

                set_disk(*state, tables[i].table);
                m = machine_fixture_read(*state);
                assert_int_equal(m->n_slots, tables[i].n);
                assert_null(machine_running_slot(m));
                for (size_t k = 0; k < m->n_slots; k++)
                        assert_true(m->slots[k].usr.type == PARTITION_USR &&
                                    m->slots[k].verity.type == PARTITION_USR_VERITY && m->slots[k].empty);
        }
}

static void no_disk_no_table(void **state) {
        const MachineFixture *f = *state;
        Machine *m = NULL;

        machine_fixture_text(f->folder, "disk", "no partition table");
        assert_true(machine_read(&f->paths, &m, NULL) < 0);
        assert_int_equal(unlink(f->disk), 0);
        assert_true(machine_read(&f->paths, &m, NULL) < 0);
        assert_null(m);
}

/* The slot that runs is known by its content. */
static void names_do_not_make_a_slot_the_running_one(void **state) {
        MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = NULL;

        f->running = fixture_hash("something else");
        m = machine_fixture_read(f);
        assert_null(machine_running_slot(m));
        assert_false(m->slots[0].running);
        assert_false(m->entry_blessed);
}

static void another_product_s_slot_is_no_target(void **state) {
        static const char *const labels[] = { "server_3", "desk", "desk_", "deskX_3", "data", "desk_not/aversion" };

        for (size_t i = 0; i < ELEMENTSOF(labels); i++) {
                const MachineFixture *f = *state;
                GptPartition p[6] = {};
                _cleanup_(machine_freep) Machine *m = NULL;
                Sha256 other = fixture_hash("other");

                fixture_slot(p, 1, "desk_1", &f->running, 2 * FIXTURE_MIB);
                fixture_slot(p + 3, 2, labels[i], &other, 2 * FIXTURE_MIB);
                machine_fixture_disk(f, p, ELEMENTSOF(p), 16 * FIXTURE_MIB);
                m = machine_fixture_read(f);
                assert_null(m->slots[1].version);
                assert_null(machine_target_slot(m));
        }
}

static void the_target_is_empty_before_old_before_newer(void **state) {
        static const struct {
                const char *labels[3]; /* beside the running one */
                size_t target;
        } cases[] = {
                { { "desk_0", "_empty" }, 2 },     { { "_empty", "desk_0" }, 1 },
                { { "desk_0.9", "desk_0.8" }, 2 }, { { "desk_0.8", "desk_0.9", "_empty" }, 3 },
                { { "desk_10", "desk_9" }, 2 },    { { "server_1", "desk_9" }, 2 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const MachineFixture *f = *state;
                GptPartition p[12] = {};
                _cleanup_(machine_freep) Machine *m = NULL;
                size_t n = 1;

                fixture_slot(p, 1, "desk_1", &f->running, 2 * FIXTURE_MIB);
                for (; n <= 3 && cases[i].labels[n - 1]; n++) {
                        Sha256 h = fixture_hash(cases[i].labels[n - 1]);

                        fixture_slot(p + 3 * n, (unsigned) n + 1, cases[i].labels[n - 1],
                                     streq(cases[i].labels[n - 1], "_empty") ? NULL : &h, 2 * FIXTURE_MIB);
                }
                machine_fixture_disk(f, p, 3 * n, 64 * FIXTURE_MIB);
                m = machine_fixture_read(f);
                assert_true(machine_target_slot(m) == &m->slots[cases[i].target]);
        }
}

/* ---- entries ---- */

static void counters_are_read_from_names(void **state) {
        static const struct {
                const char *file, *version;
                bool there, counted;
                unsigned left, done;
        } cases[] = {
                { "desk_2.efi", "2", true },
                { "desk_2+3.efi", "2", true, true, 3 },
                { "desk_2+3-0.efi", "2", true, true, 3, 0 },
                { "desk_2+0-3.efi", "2", true, true, 0, 3 },
                { "desk_2+12-34.efi", "2", true, true, 12, 34 },
                { "desk_2026.11.1+1-2.efi", "2026.11.1", true, true, 1, 2 },
                { "desk_2+b1.efi", "2+b1", true },
                { "desk_2+3-.efi", NULL, true },
                { "desk_2+3-x.efi", NULL, true },
                { "desk_2+-3.efi", NULL, true },
                { "desk_2-3.efi", NULL, true },
                { "server_2+3-0.efi", NULL, true, true, 3, 0 },
                { "desk.efi", NULL, true },
                { "other.efi", NULL, true },
                { "desk_2.EFI", NULL, false },
                { "desk_2.efi.bak", NULL, false },
                { ".sealab-desk_2", NULL, false },
                { ".hidden.efi", NULL, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const MachineFixture *f = *state;
                _cleanup_free_ char *name = xasprintf("EFI/Linux/%s", cases[i].file), *path = path_join(f->boot, name);
                _cleanup_(machine_freep) Machine *m = NULL;
                const BootEntry *e = NULL;

                machine_fixture_text(f->boot, name, "no PE");
                m = machine_fixture_read(f);
                for (size_t k = 0; k < m->n_entries; k++)
                        if (streq(m->entries[k].file, cases[i].file))
                                e = &m->entries[k];
                print_message("%s\n", cases[i].file);
                assert_int_equal(e != NULL, cases[i].there);
                if (e) {
                        assert_int_equal(e->counted, cases[i].counted);
                        assert_int_equal(e->left, cases[i].left);
                        assert_int_equal(e->done, cases[i].done);
                        assert_false(e->has_root_hash);
                        if (cases[i].version)
                                assert_string_equal(e->version, cases[i].version);
                }
                assert_int_equal(unlink(path), 0);
        }
}

static void the_root_hash_of_an_entry_is_that_of_its_command_line(void **state) {
        _cleanup_free_ char *hex = NULL, *upper = NULL;
        Sha256 h = fixture_hash("two");
        struct {
                char *line;
                bool good;
        } cases[8] = {};

        hex = sha256_hex(&h);
        upper = xasprintf("%.63s", hex);
        cases[0].line = xasprintf("usrhash=%s", hex);
        cases[0].good = true;
        cases[1].line = xasprintf("quiet usrhash=%s rw", hex);
        cases[1].good = true;
        cases[2].line = xasprintf("xusrhash=%s", hex);
        cases[3].line = xasprintf("usrhash=%s", upper);
        cases[4].line = xstrdup("usrhash=");
        cases[5].line = xstrdup("quiet");
        cases[6].line = xasprintf("usrhash=zz%.62s", hex);
        cases[7].line = xstrdup(" ");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const MachineFixture *f = *state;
                _cleanup_(machine_freep) Machine *m = NULL;
                size_t size;
                _cleanup_free_ void *uki = fixture_uki(cases[i].line, &size);

                machine_fixture_write(f->boot, "EFI/Linux/desk_2+3-0.efi", uki, size);
                m = machine_fixture_read(f);
                assert_int_equal(m->n_entries, 2);
                assert_int_equal(m->entries[1].size, size);
                assert_int_equal(m->entries[1].has_root_hash, cases[i].good);
                if (cases[i].good)
                        assert_true(machine_entry_of_root_hash(m, &h) == &m->entries[1]);
                free(cases[i].line);
        }
}

static void of_two_entries_the_good_one_counts(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = NULL;
        const BootEntry *e;
        Sha256 h = fixture_hash("two");

        machine_fixture_entry(f, "desk_2+0-3.efi", &h);
        machine_fixture_entry(f, "desk_2.efi", &h);
        machine_fixture_entry(f, "desk_2+3-0.efi", &h);
        m = machine_fixture_read(f);
        e = machine_entry_of_root_hash(m, &h);
        assert_string_equal(e->file, "desk_2.efi");
}

static void a_machine_on_trial_keeps_its_fall_back(void **state) {
        const MachineFixture *f = *state;
        GptPartition p[6] = {};
        _cleanup_(machine_freep) Machine *trial = NULL, *blessed = NULL;
        _cleanup_free_ char *good = path_join(f->boot, "EFI/Linux/desk_1.efi"),
                            *counted = path_join(f->boot, "EFI/Linux/desk_1+2-1.efi");
        Sha256 old = fixture_hash("old");

        fixture_slot(p, 1, "desk_1", &f->running, 2 * FIXTURE_MIB);
        fixture_slot(p + 3, 2, "desk_0", &old, 2 * FIXTURE_MIB);
        machine_fixture_disk(f, p, ELEMENTSOF(p), 16 * FIXTURE_MIB);
        machine_fixture_entry(f, "desk_0.efi", &old);
        assert_int_equal(rename(good, counted), 0);
        trial = machine_fixture_read(f);
        assert_false(trial->entry_blessed);
        assert_null(machine_target_slot(trial));
        assert_int_equal(rename(counted, good), 0);
        blessed = machine_fixture_read(f);
        assert_true(machine_target_slot(blessed) == &blessed->slots[1]);
}

static void leftovers_count_as_room(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *before = NULL, *after = NULL;
        _cleanup_free_ char *megabytes = xcalloc(32, FIXTURE_MIB);
        uint64_t room;

        memset(megabytes, 'x', 32 * FIXTURE_MIB);
        before = machine_fixture_read(f);
        machine_fixture_write(f->boot, "EFI/Linux/.sealab-desk_2", megabytes, 32 * FIXTURE_MIB);
        after = machine_fixture_read(f);
        room = after->boot_free;
        /* Others use this file system, too. */
        assert_true(room + 16 * FIXTURE_MIB > before->boot_free);
        assert_int_equal(after->n_entries, 1);
}

static void an_esp_that_is_not_there_is_named(void **state) {
        const MachineFixture *f = *state;
        _cleanup_free_ char *elsewhere = path_join(f->boot, "EFI"), *gone = path_join(f->folder, "gone");
        Machine *m = NULL;

        assert_int_equal(rename(elsewhere, gone), 0);
        assert_true(machine_read(&f->paths, &m, NULL) < 0);
        assert_null(m);
}

int main(void) {
#define with_machine(f) cmocka_unit_test_setup_teardown(f, machine_fixture_setup, machine_fixture_teardown)
        const struct CMUnitTest tests[] = {
                with_machine(what_it_is_is_read),
                with_machine(what_is_missing_is_named),
                with_machine(quotes_in_os_release_are_no_part_of_the_name),
                with_machine(partitions_that_make_no_slots_are_refused),
                with_machine(order_and_signatures_may_differ),
                with_machine(no_disk_no_table),
                with_machine(names_do_not_make_a_slot_the_running_one),
                with_machine(another_product_s_slot_is_no_target),
                with_machine(the_target_is_empty_before_old_before_newer),
                with_machine(counters_are_read_from_names),
                with_machine(the_root_hash_of_an_entry_is_that_of_its_command_line),
                with_machine(of_two_entries_the_good_one_counts),
                with_machine(a_machine_on_trial_keeps_its_fall_back),
                with_machine(leftovers_count_as_room),
                with_machine(an_esp_that_is_not_there_is_named),
        };

        return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
