/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Up to the variable that systemd-repart acts upon, and from the first boot with an empty state on. */

#include "updater-fixture.h"

#include "factory-reset.h"
#include "state.h"

static UpdateContext context(const MachineFixture *f) {
        return (UpdateContext){ .paths = f->paths, .state_folder = f->state, .now = 1000 };
}

static void write_definition(const MachineFixture *f, const char *marked) {
        _cleanup_free_ char *text = xasprintf("[Partition]\nType=root\nFormat=ext4\n%s", marked);

        machine_fixture_text(f->root, "usr/lib/repart.d/50-root.conf", text);
}

static void write_state(const MachineFixture *f, uint64_t epoch, bool reverted) {
        UpdaterState s = { .epoch = epoch, .pinned = reverted, .reverted = reverted };

        (void) io_mkdir_parents(AT_FDCWD, f->state, 0755, NULL);
        assert_int_equal(state_save(f->state, &s, NULL), 0);
}

static UpdaterState *load(const MachineFixture *f) {
        UpdaterState *s = NULL;

        assert_int_equal(state_load(f->state, &s, NULL, NULL), 0);
        return s;
}

static void ask(const MachineFixture *f) {
        UpdateContext c = context(f);
        _cleanup_error_ Error e = {};
        int r = factory_reset_request(&c, &e);

        updater_ok(r, &e);
}

/* What systemd-repart does: the variable goes, and so does what was on the root partition. */
static void play_repart(const MachineFixture *f) {
        _cleanup_free_ char *variable = path_join(f->root, FACTORY_RESET_VARIABLE);

        assert_int_equal(io_unlink(AT_FDCWD, variable, NULL), 0);
        assert_true(io_remove_tree(AT_FDCWD, f->state, NULL) >= 0);
}

static int settle(const MachineFixture *f) {
        UpdateContext c = context(f);
        _cleanup_error_ Error e = {};
        int r = factory_reset_settle(&c, &e);

        updater_ok(r, &e);
        return r;
}

static void the_request_is_the_variable_that_systemd_reads(void **state) {
        static const uint8_t value[] = { 7, 0, 0, 0, 'y', 0, 'e', 0, 's', 0, 0, 0 };
        const MachineFixture *f = *state;
        _cleanup_free_ char *path = path_join(f->root, FACTORY_RESET_VARIABLE), *data = NULL;
        size_t size;

        write_definition(f, "FactoryReset=yes\n");
        write_state(f, 3, false);
        assert_false(factory_reset_is_requested(f->root));
        machine_fixture_text(f->root, "sys/firmware/efi/efivars/other", "x");
        ask(f);
        ask(f); /* twice is once */
        assert_true(factory_reset_is_requested(f->root));
        assert_int_equal(io_read_file(AT_FDCWD, path, 64, &data, &size, NULL), 0);
        assert_int_equal(size, sizeof value);
        assert_memory_equal(data, value, size);
}

static void the_floor_outlives_the_reset(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_json_ json_t *history = NULL;

        write_definition(f, "FactoryReset=yes\n");
        write_state(f, 3, false);
        machine_fixture_text(f->root, "sys/firmware/efi/efivars/other", "x");
        ask(f);
        assert_int_equal(settle(f), 0); /* still to come */
        play_repart(f);
        assert_int_equal(settle(f), 1);
        s = load(f);
        assert_int_equal(s->epoch, 3);
        assert_int_equal(history_load(f->state, &history, NULL), 0);
        assert_string_equal(json_string_value(json_object_get(json_array_get(history, 0), "action")), "factory-reset");
        assert_int_equal(settle(f), 0);
}

static void the_floor_is_never_lowered(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(state_freep) UpdaterState *s = NULL;

        write_definition(f, "FactoryReset=yes\n");
        write_state(f, 3, false);
        machine_fixture_text(f->root, "sys/firmware/efi/efivars/other", "x");
        ask(f);
        play_repart(f);
        write_state(f, 5, false);
        assert_int_equal(settle(f), 0);
        s = load(f);
        assert_int_equal(s->epoch, 5);
}

static void anothers_note_and_a_damaged_one_change_nothing(void **state) {
        const MachineFixture *f = *state;
        UpdateContext c = context(f);
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_error_ Error e = {};

        write_state(f, 3, false);
        machine_fixture_text(f->boot, FACTORY_RESET_NOTE, "{\"format\": 1, \"product\": \"other\", \"epoch\": 9}");
        assert_int_equal(settle(f), 0);
        machine_fixture_text(f->boot, FACTORY_RESET_NOTE, "{\"format\": 1, \"product\": \"desk\", \"epoch\": -1}");
        assert_true(factory_reset_settle(&c, &e) < 0);
        s = load(f);
        assert_int_equal(s->epoch, 3);
}

static void a_note_alone_is_no_reset(void **state) {
        const MachineFixture *f = *state;
        _cleanup_json_ json_t *history = NULL;
        _cleanup_free_ char *note = path_join(f->boot, FACTORY_RESET_NOTE);

        write_state(f, 3, false);
        machine_fixture_text(f->boot, FACTORY_RESET_NOTE, "{\"format\": 1, \"product\": \"desk\", \"epoch\": 3}");
        assert_int_equal(settle(f), 0);
        assert_int_equal(history_load(f->state, &history, NULL), 0);
        assert_int_equal(json_array_size(history), 0);
        assert_false(io_exists(AT_FDCWD, note));
}

static void it_can_be_called_off(void **state) {
        const MachineFixture *f = *state;
        UpdateContext c = context(f);
        _cleanup_free_ char *note = path_join(f->boot, FACTORY_RESET_NOTE);
        _cleanup_error_ Error e = {};
        int r;

        write_definition(f, "FactoryReset=yes\n");
        write_state(f, 3, false);
        machine_fixture_text(f->root, "sys/firmware/efi/efivars/other", "x");
        ask(f);
        r = factory_reset_cancel(&c, &e);
        updater_ok(r, &e);
        assert_false(factory_reset_is_requested(f->root));
        assert_false(io_exists(AT_FDCWD, note));
        assert_int_equal(factory_reset_cancel(&c, &e), 1);
}

static void a_choice_of_the_boot_loader_goes_with_the_pin(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_free_ char *chosen = NULL;

        write_definition(f, "FactoryReset=yes\n");
        write_state(f, 3, true);
        assert_int_equal(boot_set_default(m, "1", NULL), 0);
        ask(f);
        /* It may still be called off. */
        assert_int_equal(boot_get_default(m, &chosen, NULL), 0);
        play_repart(f);
        assert_int_equal(settle(f), 1);
        free(TAKE_PTR(chosen));
        assert_int_equal(boot_get_default(m, &chosen, NULL), 1);
}

static void what_nobody_would_carry_out_is_refused(void **state) {
        const MachineFixture *f = *state;
        UpdateContext c = context(f);
        _cleanup_error_ Error none = {}, unmarked = {}, no_firmware = {};

        write_state(f, 3, false);
        assert_true(factory_reset_request(&c, &none) < 0);
        assert_int_equal(none.id, REFUSAL_MACHINE);
        write_definition(f, "FactoryReset=no\n");
        assert_true(factory_reset_request(&c, &unmarked) < 0);
        assert_int_equal(unmarked.id, REFUSAL_MACHINE);
        write_definition(f, "FactoryReset=yes\n");
        assert_true(factory_reset_request(&c, &no_firmware) < 0);
        assert_int_equal(no_firmware.id, REFUSAL_MACHINE);
        assert_false(factory_reset_is_requested(f->root));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, machine_fixture_setup, machine_fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(the_request_is_the_variable_that_systemd_reads),
                TEST(the_floor_outlives_the_reset),
                TEST(the_floor_is_never_lowered),
                TEST(anothers_note_and_a_damaged_one_change_nothing),
                TEST(a_note_alone_is_no_reset),
                TEST(it_can_be_called_off),
                TEST(a_choice_of_the_boot_loader_goes_with_the_pin),
                TEST(what_nobody_would_carry_out_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
