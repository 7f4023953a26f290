/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "folder-fixture.h"
#include "settings.h"

static void write_file(const char *root, const char *path, const char *text) {
        _cleanup_free_ char *full = path_join(root, path), *folder = path_dirname(full);

        assert_int_equal(io_mkdir_parents(AT_FDCWD, folder, 0755, NULL), 0);
        assert_int_equal(io_write_file(AT_FDCWD, full, text, strlen(text), 0644, NULL), 0);
}

static UpdaterSettings *load(const char *root, ConfDiagnostics *d) {
        UpdaterSettings *s = NULL;

        assert_int_equal(settings_load(root, d, &s, NULL), 0);
        assert_non_null(s);
        return s;
}

static const SettingsEntry *entry(const UpdaterSettings *s, const char *key) {
        for (size_t i = 0; i < s->n_entries; i++)
                if (streq(s->entries[i].key, key))
                        return &s->entries[i];
        fail_msg("no entry %s", key);
        return NULL;
}

static void nothing_written_is_the_default(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = load(*state, &d);

        assert_int_equal(d.n_items, 0);
        assert_null(s->repositories);
        assert_string_equal(s->channel, "stable");
        assert_null(s->product);
        assert_true(s->automatic);
        assert_false(s->metered);
        assert_false(s->wake);
        assert_int_equal(s->random_delay_sec, 4 * 3600);
        assert_int_equal(s->battery_min, 50);
        assert_int_equal(s->tries, 3);
        assert_int_equal(s->reboot, REBOOT_NEVER);
        assert_int_equal(s->rate_limit, 0);
        assert_int_equal(s->n_windows, 0);
        for (size_t i = 0; i < s->n_entries; i++)
                assert_string_equal(s->entries[i].source, "default");
}

/* ---- each key ---- */

static const struct {
        const char *section, *key, *good[10], *bad[14];
} keys[] = {
        { "Repository",
          "Url",
          { "https://a.example", "http://a.example/x", "file:///media/stick", "https://a https://b" },
          { "ftp://a", "a.example", "file://host/x", "https://a gopher://b", "/srv/repo", "HTTPS://a" } },
        { "Repository",
          "Channel",
          { "beta", "a-b.c", "2" },
          { "a/b", "a b", "..\\x", "\xc3\xa4", "123456789012345678901234567890123" } },
        { "Repository", "Product", { "laptop" }, { "a/b", "lap top" } },
        { "Repository", "Proxy", { "http://proxy.example:3128", "socks5://[::1]:1080" }, {} },
        { "Repository", "CACertificate", { "/etc/ssl/x.pem" }, { "x.pem", "./x.pem" } },
        { "Repository", "ClientCertificate", { "/etc/ssl/x.pem" }, { "x.pem" } },
        { "Repository", "ClientKey", { "/etc/ssl/x.key" }, { "x.key" } },
        { "Repository", "RateLimit", { "0", "500K", "2M", "1G" }, { "fast", "-1", "1.5M", "1X" } },
        { "Policy", "Automatic", { "yes", "no", "true", "off", "1" }, { "maybe", "2", "Ja" } },
        { "Policy",
          "Window",
          { "02:00-05:30", "Mon..Fri 02:00-05:30", "Sat,Sun 00:00-24:00", "Sat..Mon 23:00-01:00", "mon 9:00-10:00" },
          { "02:00", "02:00-", "-02:00", "02:00-02:00", "24:00-01:00", "25:00-26:00", "02:60-03:00", "2-3",
            "Mon.Fri 02:00-03:00", "Monday 02:00-03:00", "Mon Tue 02:00-03:00", "Mon.. 02:00-03:00", ", 02:00-03:00",
            "02:00-24:01" } },
        { "Policy",
          "TimeZone",
          { "Europe/Berlin", "UTC", "Etc/GMT+5" },
          { "../../etc/passwd", "/etc/x", "Europe//Berlin", "a b" } },
        { "Policy",
          "RandomDelay",
          { "0", "600", "90min", "30m", "4h", "7d", "10s" },
          { "8d", "soon", "4 h", "-1h", "h", "1w", "99999999999999999999d" } },
        { "Policy", "BatteryMin", { "0", "50", "100", "80%" }, { "101", "-1", "half", "%" } },
        { "Policy", "Metered", { "yes", "no" }, { "perhaps" } },
        { "Policy", "Wake", { "yes", "no" }, { "perhaps" } },
        { "Policy", "Reboot", { "never", "idle", "window" }, { "now", "Never", "always" } },
        { "Policy", "Tries", { "1", "3", "9" }, { "0", "10", "three", "-1" } },
};

static void each_key_takes_what_makes_sense(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                for (size_t k = 0; k < ELEMENTSOF(keys[i].good) && keys[i].good[k]; k++) {
                        _cleanup_free_ char *text =
                                xasprintf("# a comment\n[%s]\n%s=%s\n", keys[i].section, keys[i].key, keys[i].good[k]);
                        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
                        _cleanup_(settings_freep) UpdaterSettings *s = NULL;

                        write_file(*state, "etc/sealab/updater.conf", text);
                        s = load(*state, &d);
                        if (d.n_items > 0)
                                print_error("%s: %s\n", text, d.items[0].message);
                        assert_int_equal(d.n_items, 0);
                        assert_string_equal(entry(s, keys[i].key)->value, keys[i].good[k]);
                        assert_string_equal(entry(s, keys[i].key)->source, "/etc/sealab/updater.conf:3");
                }
}

static void what_makes_no_sense_is_named_and_the_default_holds(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                for (size_t k = 0; k < ELEMENTSOF(keys[i].bad) && keys[i].bad[k]; k++) {
                        _cleanup_free_ char *text = xasprintf("[%s]\n\n%s=%s\n[Policy]\nMetered=yes\n", keys[i].section,
                                                              keys[i].key, keys[i].bad[k]);
                        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
                        _cleanup_(settings_freep) UpdaterSettings *s = NULL;

                        write_file(*state, "etc/sealab/updater.conf", text);
                        s = load(*state, &d);
                        if (d.n_items != 1)
                                print_error("%s=%s is taken\n", keys[i].key, keys[i].bad[k]);
                        assert_int_equal(d.n_items, 1);
                        assert_string_equal(d.items[0].file, "/etc/sealab/updater.conf");
                        assert_int_equal(d.items[0].line, 3);
                        assert_non_null(strstr(d.items[0].message, keys[i].key));
                        if (!streq(keys[i].key, "Metered"))
                                assert_string_equal(entry(s, keys[i].key)->source, "default");
                        assert_true(s->metered); /* the rest of the file holds */
                }
}

static void values_mean_what_they_say(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = NULL;

        write_file(*state, "etc/sealab/updater.conf",
                   "[Repository]\nUrl=https://a https://b\nUrl=file:///c\nRateLimit=2M\n"
                   "[Policy]\nWindow=Mon..Fri 02:00-05:30\nWindow=Sat..Mon,Wed 23:15-01:00\nRandomDelay=90min\n"
                   "BatteryMin=80%\nReboot=window\nAutomatic=no\nTries=5\nTimeZone=Europe/Berlin\n");
        s = load(*state, &d);
        assert_int_equal(d.n_items, 0);
        assert_int_equal(strv_length(s->repositories), 3);
        assert_string_equal(s->repositories[2], "file:///c");
        assert_int_equal(s->rate_limit, 2 << 20);
        assert_int_equal(s->n_windows, 2);
        assert_int_equal(s->windows[0].days, 0x1f);
        assert_int_equal(s->windows[0].begin, 120);
        assert_int_equal(s->windows[0].end, 330);
        assert_int_equal(s->windows[1].days, 0x60 | 0x01 | 0x04);
        assert_int_equal(s->windows[1].begin, 23 * 60 + 15);
        assert_int_equal(s->windows[1].end, 60);
        assert_int_equal(s->random_delay_sec, 5400);
        assert_int_equal(s->battery_min, 80);
        assert_int_equal(s->reboot, REBOOT_WINDOW);
        assert_false(s->automatic);
        assert_int_equal(s->tries, 5);
        assert_string_equal(s->time_zone, "Europe/Berlin");
        assert_string_equal(entry(s, "Url")->value, "https://a https://b\nfile:///c");
        assert_string_equal(entry(s, "Url")->source, "/etc/sealab/updater.conf:2, /etc/sealab/updater.conf:3");
}

static void lists_have_an_end(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = NULL;
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, "[Repository]\n");
        for (size_t i = 0; i < SETTINGS_REPOSITORIES_MAX + 2; i++)
                buffer_printf(&b, "Url=https://%zu.example\n", i);
        buffer_puts(&b, "[Policy]\n");
        for (size_t i = 0; i < SETTINGS_WINDOWS_MAX + 3; i++)
                buffer_printf(&b, "Window=%02zu:%02zu-24:00\n", i / 60, i % 60);
        write_file(*state, "etc/sealab/updater.conf", b.data);
        s = load(*state, &d);
        assert_int_equal(d.n_items, 5);
        assert_int_equal(strv_length(s->repositories), SETTINGS_REPOSITORIES_MAX);
        assert_int_equal(s->n_windows, SETTINGS_WINDOWS_MAX);
}

static void unknown_keys_are_named_with_what_was_meant(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = NULL;

        write_file(*state, "etc/sealab/updater.conf",
                   "[Policy]\nAutomatik=no\nUrl=https://wrong.section\n[Other]\nTries=9\n");
        s = load(*state, &d);
        assert_int_equal(d.n_items, 3);
        assert_non_null(strstr(d.items[0].suggestion, "Automatic"));
        assert_true(s->automatic);
        assert_null(s->repositories);
        assert_int_equal(s->tries, 3);
}

/* ---- files ---- */

static void later_files_win(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = NULL;

        write_file(*state, "usr/lib/sealab/updater.conf", "[Policy]\nTries=1\nWake=yes\nBatteryMin=10\nMetered=yes\n");
        write_file(*state, "etc/sealab/updater.conf", "[Policy]\nTries=2\nBatteryMin=20\nMetered=no\n");
        write_file(*state, "usr/lib/sealab/updater.conf.d/20.conf", "[Policy]\nTries=4\nBatteryMin=30\n");
        write_file(*state, "etc/sealab/updater.conf.d/10.conf", "[Policy]\nTries=3\n");
        write_file(*state, "etc/sealab/updater.conf.d/30-not-ours.txt", "[Policy]\nTries=9\n");
        write_file(*state, "etc/sealab/updater.conf.d/.30.conf", "[Policy]\nTries=9\n");
        s = load(*state, &d);
        assert_int_equal(d.n_items, 0);
        assert_int_equal(s->tries, 4);
        assert_string_equal(entry(s, "Tries")->source, "/usr/lib/sealab/updater.conf.d/20.conf:2");
        assert_int_equal(s->battery_min, 30);
        assert_true(s->wake);
        assert_string_equal(entry(s, "Wake")->source, "/usr/lib/sealab/updater.conf:3");
        assert_false(s->metered);
        assert_string_equal(entry(s, "Metered")->source, "/etc/sealab/updater.conf:4");
}

static void a_drop_in_in_etc_hides_its_namesake(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = NULL;
        _cleanup_free_ char *mask = path_join(*state, "etc/sealab/updater.conf.d/70.conf");

        write_file(*state, "usr/lib/sealab/updater.conf.d/50.conf", "[Policy]\nTries=9\nWake=yes\n");
        write_file(*state, "etc/sealab/updater.conf.d/50.conf", "[Policy]\nMetered=yes\n");
        write_file(*state, "usr/lib/sealab/updater.conf.d/60.conf", "[Policy]\nTries=8\n");
        write_file(*state, "etc/sealab/updater.conf.d/60.conf", "");
        write_file(*state, "usr/lib/sealab/updater.conf.d/70.conf", "[Policy]\nTries=7\n");
        assert_int_equal(symlink("/dev/null", mask), 0);
        s = load(*state, &d);
        assert_int_equal(d.n_items, 0);
        assert_int_equal(s->tries, 3);
        assert_false(s->wake);
        assert_true(s->metered);
}

static void an_empty_assignment_is_the_default_again(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = NULL;

        write_file(*state, "usr/lib/sealab/updater.conf",
                   "[Repository]\nUrl=https://vendor\nChannel=beta\nProduct=x\n"
                   "[Policy]\nWindow=02:00-03:00\nTries=9\nAutomatic=no\nReboot=idle\nRandomDelay=1h\nTimeZone=UTC\n");
        write_file(*state, "etc/sealab/updater.conf",
                   "[Repository]\nUrl=\nUrl=https://mine\nChannel=\nProduct=\n"
                   "[Policy]\nWindow=\nTries=\nAutomatic=\nReboot=\nRandomDelay=\nTimeZone=\n");
        s = load(*state, &d);
        assert_int_equal(d.n_items, 0);
        assert_int_equal(strv_length(s->repositories), 1);
        assert_string_equal(s->repositories[0], "https://mine");
        assert_string_equal(entry(s, "Url")->value, "https://mine");
        assert_string_equal(entry(s, "Url")->source, "/etc/sealab/updater.conf:3");
        assert_string_equal(s->channel, "stable");
        assert_null(s->product);
        assert_int_equal(s->n_windows, 0);
        assert_int_equal(s->tries, 3);
        assert_string_equal(entry(s, "Tries")->value, "3");
        assert_true(s->automatic);
        assert_int_equal(s->reboot, REBOOT_NEVER);
        assert_int_equal(s->random_delay_sec, 4 * 3600);
        assert_null(s->time_zone);
}

static void damaged_files_hold_up_nothing(void **state) {
        static const char *const texts[] = { "[Policy\nTries=9\n", "Tries=9\n", "[Policy]\nTries\n", "\xff\xfe\n",
                                             "[Policy]\nTries=\\\n" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
                _cleanup_(settings_freep) UpdaterSettings *s = NULL;

                write_file(*state, "etc/sealab/updater.conf", texts[i]);
                write_file(*state, "etc/sealab/updater.conf.d/x.conf", "[Policy]\nWake=yes\n");
                s = load(*state, &d);
                assert_int_equal(s->tries, 3);
                assert_true(s->wake);
        }
}

static void a_folder_in_place_of_a_file_is_named(void **state) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(settings_freep) UpdaterSettings *s = NULL;

        write_file(*state, "etc/sealab/updater.conf/file", "");
        s = load(*state, &d);
        assert_int_equal(d.n_items, 1);
        assert_string_equal(d.items[0].file, "/etc/sealab/updater.conf");
        assert_int_equal(s->tries, 3);
}

int main(void) {
#define in_folder(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
        const struct CMUnitTest tests[] = {
                in_folder(nothing_written_is_the_default),
                in_folder(each_key_takes_what_makes_sense),
                in_folder(what_makes_no_sense_is_named_and_the_default_holds),
                in_folder(values_mean_what_they_say),
                in_folder(lists_have_an_end),
                in_folder(unknown_keys_are_named_with_what_was_meant),
                in_folder(later_files_win),
                in_folder(a_drop_in_in_etc_hides_its_namesake),
                in_folder(an_empty_assignment_is_the_default_again),
                in_folder(damaged_files_hold_up_nothing),
                in_folder(a_folder_in_place_of_a_file_is_named),
        };

        return cmocka_run_group_tests_name("updater-settings", tests, NULL, NULL);
}
