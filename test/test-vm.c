/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What needs no machine: the variable store, what the guest is told, how its answers are read. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vm.h"

#define STORE_SIZE 4096
#define STORE_AT 72

static const uint8_t store_header[28] = { 0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e,
                                          0x14, 0x4e, 0xc3, 0x77, 0x92, 0xb8, 0x0f, 0x00, 0x00, 0x5a, 0xfe };

static void make_store(uint8_t store[STORE_SIZE]) {
        memset(store, 0xFF, STORE_SIZE);
        memset(store, 0, STORE_AT);
        memcpy(store + 40, "_FVH", 4);
        store[48] = STORE_AT;
        memcpy(store + STORE_AT, store_header, sizeof(store_header));
}

static const FirmwareCertificate certificates[3] = { { "platform", 8 }, { "exchange!", 9 }, { "database", 8 } };

static void keys_are_appended_as_variables(void **state) {
        static const char *const names[] = { "P\0K\0\0", "K\0E\0K\0\0", "d\0b\0\0" };
        static const size_t name_sizes[] = { 6, 8, 6 };
        _cleanup_error_ Error e = {};
        uint8_t store[STORE_SIZE];
        size_t at = STORE_AT + sizeof(store_header);

        make_store(store);
        assert_int_equal(firmware_enroll(store, sizeof(store), certificates, &e), 0);
        for (size_t i = 0; i < 3; i++) {
                size_t data_size = 44 + certificates[i].size;

                at = (at + 3) / 4 * 4;
                assert_int_equal(store[at], 0xAA);
                assert_int_equal(store[at + 1], 0x55);
                assert_int_equal(store[at + 2], 0x3F);
                assert_int_equal(store[at + 4], 0x27);
                assert_int_equal(store[at + 36], name_sizes[i]);
                assert_int_equal(store[at + 40], data_size);
                assert_memory_equal(store + at + 60, names[i], name_sizes[i]);
                assert_int_equal(store[at + 60 + name_sizes[i] + 16], data_size);
                assert_memory_equal(store + at + 60 + name_sizes[i] + 44, certificates[i].der, certificates[i].size);
                at += 60 + name_sizes[i] + data_size;
        }
        assert_int_equal(store[at], 0xFF);
}

static void stores_that_are_not_empty_stores_are_refused(void **state) {
        static const struct {
                size_t at;
                uint8_t byte;
                size_t size;
                Refusal id;
        } table[] = {
                { 40, 'x', STORE_SIZE, REFUSAL_BAD_FORMAT },             /* no volume */
                { 48, 8, STORE_SIZE, REFUSAL_BAD_FORMAT },               /* header too short */
                { 49, 0xFF, STORE_SIZE, REFUSAL_BAD_FORMAT },            /* header beyond the end */
                { STORE_AT, 0, STORE_SIZE, REFUSAL_BAD_FORMAT },         /* another kind of store */
                { STORE_AT + 20, 0, STORE_SIZE, REFUSAL_BAD_FORMAT },    /* not formatted */
                { STORE_AT + 18, 1, STORE_SIZE, REFUSAL_BAD_FORMAT },    /* larger than the file */
                { STORE_AT + 28, 0xAA, STORE_SIZE, REFUSAL_BAD_FORMAT }, /* holds something */
                { STORE_AT + 17, 0, STORE_SIZE, REFUSAL_NO_SPACE },      /* no room */
                { 0, 0, 50, REFUSAL_BAD_FORMAT },                        /* cut off */
                { 0, 0, STORE_AT + 4, REFUSAL_BAD_FORMAT },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_error_ Error e = {};
                _cleanup_free_ uint8_t *store = xmalloc(STORE_SIZE), *cut = NULL;

                make_store(store);
                store[table[i].at] = table[i].byte;
                cut = xmemdup(store, table[i].size);
                assert_true(firmware_enroll(cut, table[i].size, certificates, &e) < 0);
                assert_int_equal(e.id, table[i].id);
        }
}

static char *string_starting(char **strings, const char *prefix) {
        STRV_FOREACH (s, strings)
                if (startswith(*s, prefix))
                        return *s;
        return NULL;
}

static void the_guest_is_told_what_was_asked_for(void **state) {
        static const char ssh[] = "io.systemd.credential.binary:systemd.extra-unit.sealab-ssh.service=";
        static const char shell[] = "io.systemd.credential.binary:systemd.unit-dropin.serial-getty@ttyS0.service=";
        char *extra[] = { (char *) "io.systemd.credential:x=y", NULL };
        _cleanup_strv_free_ char **plain = NULL, **all = NULL;

        plain = guest_smbios_strings(&(GuestOptions){});
        assert_null(string_starting(plain, ssh));
        assert_null(string_starting(plain, shell));
        assert_non_null(string_starting(plain, "io.systemd.stub.kernel-cmdline-extra="));
        assert_non_null(
                string_starting(plain, "io.systemd.credential.binary:systemd.extra-unit.sealab-report.service="));
        all = guest_smbios_strings(&(GuestOptions){
                .keep_command_line = true, .root_console = true, .authorized_key = "key", .extra = extra });
        assert_null(string_starting(all, "io.systemd.stub."));
        assert_non_null(string_starting(all, ssh));
        assert_non_null(string_starting(all, shell));
        assert_string_equal(string_starting(all, "io.systemd.credential.binary:sealab.authorized-key="),
                            "io.systemd.credential.binary:sealab.authorized-key=a2V5");
        assert_true(strv_contains(all, extra[0]));
        /* SMBIOS strings end at the first NUL, and lines would end a file of QEMU's. */
        STRV_FOREACH (s, all)
                assert_null(strchr(*s, '\n'));
}

static const char report[] = "hello=1\r\nstate=degraded\r\nIMAGE_ID=minimal\nIMAGE_VERSION=2026.11.1\n"
                             "mount/usr=/dev/mapper/usr erofs\nmount/etc=overlay overlay\n"
                             "device=usr CRYPT-VERITY-0123-usr\ndevice=swap CRYPT-PLAIN-swap\n"
                             "boot-complete=active\nblessed=active\nsecure-boot=1\nroot-size=1024\n"
                             "failed=a.service\nfailed=b.service\nfailed-log=a.service: no=luck\nuptime=12.5\nend=1\n";

static void a_report_is_read_whole(void **state) {
        _cleanup_guest_report_ GuestReport r = {};

        guest_report_parse(report, strlen(report), &r);
        assert_true(r.complete && r.hello && r.boot_complete && r.secure_boot && r.usr_on_verity && r.etc_overlay);
        assert_string_equal(r.state, "degraded");
        assert_string_equal(r.image_id, "minimal");
        assert_string_equal(r.image_version, "2026.11.1");
        assert_string_equal(r.usr_type, "erofs");
        assert_string_equal(r.blessed, "active");
        assert_int_equal(r.root_size, 1024);
        assert_int_equal(strv_length(r.failed_units), 2);
        assert_string_equal(r.failed_logs[0], "a.service: no=luck");
}

static void a_report_cut_anywhere_is_not_complete(void **state) {
        for (size_t size = 0; size < strlen(report); size++) {
                _cleanup_free_ char *cut = xmemdup(report, size);
                _cleanup_guest_report_ GuestReport r = {};

                guest_report_parse(cut, size, &r);
                assert_false(r.complete);
        }
}

static void usr_counts_as_verity_only_on_a_verity_device(void **state) {
        static const char *const texts[] = {
                "mount/usr=/dev/vda2 erofs\ndevice=usr CRYPT-VERITY-0-usr\n",
                "mount/usr=/dev/mapper/usr erofs\ndevice=usr CRYPT-PLAIN-0-usr\n",
                "mount/usr=/dev/mapper/usr erofs\ndevice=usr\n",
                "device=usr CRYPT-VERITY-0-usr\n",
                "mount/usr=/dev/mapper/usr erofs\ndevice=usr CRYPT-VERITY-0-usr\nmount/usr=/dev/vdb ext4\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_guest_report_ GuestReport r = {};

                guest_report_parse(texts[i], strlen(texts[i]), &r);
                assert_false(r.usr_on_verity);
        }
}

static void consoles_are_judged(void **state) {
        static const struct {
                const char *text;
                GuestVerdict verdict;
        } table[] = {
                { "", GUEST_PENDING },
                { "[  OK  ] Reached target multi-user.target - Multi-User System.\n", GUEST_PENDING },
                { "[    1.0] device-mapper: verity: sha256 using implementation \"sha256-generic\"\n", GUEST_PENDING },
                { "[\033[0;32m  OK  \033[0m] Reached target \033[0;1;39mboot-complete.target\033[0m - Boot "
                  "Completion Check.\r\n",
                  GUEST_UP },
                { "[  OK  ] Reached target Boot Completion Check.\n", GUEST_UP },
                { "\r\nDebian GNU/Linux 13 minimal ttyS0\r\n\r\nminimal login: ", GUEST_UP },
                { "[    9.1] Kernel panic - not syncing: Attempted to kill init!\n", GUEST_FAILED },
                { "[    9.1] device-mapper: verity: 254:2: data block 0 is corrupted\n", GUEST_FAILED },
                { "x login: \nKernel panic - not syncing: late\n", GUEST_FAILED },
                { "../src/boot/boot.c:2576@image_start: Error loading \\EFI\\Linux\\a.efi: Access denied\r\n",
                  GUEST_FAILED },
                { "BdsDxe: failed to start Boot0001 \"UEFI Misc Device\": Access Denied\n", GUEST_FAILED },
                { "\033[2J\033[01;01HUEFI Interactive Shell v2.2\r\n", GUEST_FAILED },
                { "You are in emergency mode. After logging in, type\n", GUEST_FAILED },
                { "kernel: Error loading module foo\n", GUEST_PENDING },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *why = NULL;

                assert_int_equal(guest_judge_console(table[i].text, strlen(table[i].text), &why), table[i].verdict);
                assert_int_equal(why != NULL, table[i].verdict != GUEST_PENDING);
        }
}

static void escape_sequences_are_cut_out_also_at_the_end(void **state) {
        static const struct {
                const char *text, *clean;
        } table[] = {
                { "a\033[1;31mb\033[0mc\r\n", "abc\n" },
                { "a\033", "a" },
                { "a\033[", "a" },
                { "a\033[12", "a" },
                { "x\033[01;01Hy", "x\ny" },
                { "\033Mq\001\t", "q\t" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *copy = xmemdup(table[i].text, strlen(table[i].text));
                _cleanup_free_ char *clean = guest_clean_console(copy, strlen(table[i].text));

                assert_string_equal(clean, table[i].clean);
        }
}

static void failed_units_are_taken_from_the_console(void **state) {
        static const char text[] =
                "[FAILED] Failed to start b.service - Bee.\r\n[\033[0;31mFAILED\033[0m] Failed to start "
                "a.service - A.\n[FAILED] Failed to start b.service - Bee.\n";
        _cleanup_strv_free_ char **units = guest_console_failed_units(text, strlen(text));

        assert_int_equal(strv_length(units), 2);
        assert_string_equal(units[0], "a.service");
        assert_string_equal(units[1], "b.service");
}

static void a_missing_disk_is_named(void **state) {
        _cleanup_vm_result_ VmResult r = {};
        _cleanup_firmware_ Firmware f = {};
        _cleanup_error_ Error e = {};

        if (firmware_find(&f, NULL) < 0)
                skip(); /* no OVMF on this machine: doctor says so */
        assert_true(vm_boot(&(VmOptions){ .disk = "/nonexistent/disk.raw", .accelerator = VM_ACCELERATOR_TCG }, &r,
                            &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_non_null(strstr(e.message, "/nonexistent/disk.raw"));
        assert_false(r.booted);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(keys_are_appended_as_variables),
                cmocka_unit_test(stores_that_are_not_empty_stores_are_refused),
                cmocka_unit_test(the_guest_is_told_what_was_asked_for),
                cmocka_unit_test(a_report_is_read_whole),
                cmocka_unit_test(a_report_cut_anywhere_is_not_complete),
                cmocka_unit_test(usr_counts_as_verity_only_on_a_verity_device),
                cmocka_unit_test(consoles_are_judged),
                cmocka_unit_test(escape_sequences_are_cut_out_also_at_the_end),
                cmocka_unit_test(failed_units_are_taken_from_the_console),
                cmocka_unit_test(a_missing_disk_is_named),
        };

        return cmocka_run_group_tests_name("vm", tests, NULL, NULL);
}
