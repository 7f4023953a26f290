/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <sys/stat.h>

#include "process.h"
#include "settings.h"

#define DAY (FIXTURE_TIME / 86400)

/* What recipe_load() always fills in. */
static Recipe plain_recipe(void) {
        return (Recipe){ .image_id = OWNED("acme"),
                         .locale = OWNED("C.UTF-8"),
                         .timezone = OWNED("UTC"),
                         .root_password = OWNED("locked"),
                         .root_format = OWNED("ext4"),
                         .root_size_min = 512 << 20 };
}

static void apply(Tree *t, const Recipe *r) {
        _cleanup_error_ Error e = {};

        assert_done(settings_apply(t, r, "1.0", FIXTURE_TIME, &e), &e);
}

/* ---- os-release ---- */

static void os_release_values_are_replaced_and_added(void **state) {
        static const struct {
                const char *before;
                NameValue values[3];
                size_t n;
                const char *after;
        } cases[] = {
                { "ID=debian\n", { { OWNED("ID"), OWNED("acme") } }, 1, "ID=\"acme\"\n" },
                { "", { { OWNED("A"), OWNED("1") }, { OWNED("B"), OWNED("2") } }, 2, "A=\"1\"\nB=\"2\"\n" },
                { "ID=debian", {}, 0, "ID=debian\n" }, /* and ends with a newline */
                { "# text\nID_LIKE=x\nID='a'\nID=b\nVERSION_ID=1\n",
                  { { OWNED("ID"), OWNED("c") } },
                  1,
                  "# text\nID_LIKE=x\nVERSION_ID=1\nID=\"c\"\n" },
                { "",
                  { { OWNED("N"), OWNED("say \"$HOME\" `id` \\ 'x'") } },
                  1,
                  "N=\"say \\\"\\$HOME\\\" \\`id\\` \\\\ 'x'\"\n" },
                { "", { { OWNED("N"), OWNED("") } }, 1, "N=\"\"\n" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *after = settings_os_release(cases[i].before, cases[i].values, cases[i].n);

                assert_string_equal(after, cases[i].after);
        }
}

/* os-release(5) is read by shells. */
static void shell_reads_the_same_value(void **state) {
        static const char *const texts[] = {
                "a\"b", "$(id)", "`id`", "\\", "\\\\n", "a 'b' \"c\" $d `e` \\f ~ * ! # ; &", "\xc3\xa4\xc3\xb6"
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                NameValue v = { OWNED("X"), OWNED(texts[i]) };
                _cleanup_free_ char *text = settings_os_release("", &v, 1),
                                    *script = xasprintf("%sprintf %%s \"$X\"", text), *output = NULL;
                char *argv[] = { OWNED("sh"), OWNED("-c"), script, NULL };

                assert_int_equal(process_run(argv, NULL, &output, NULL, NULL), 0);
                assert_string_equal(output, texts[i]);
        }
}

static void image_and_version_enter_os_release(void **state) {
        NameValue values[] = { { OWNED("NAME"), OWNED("Acme OS") } };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        Recipe recipe = plain_recipe();

        recipe.os_release = values;
        recipe.n_os_release = 1;
        put(t, "/usr/lib/os-release", "NAME=\"Debian\"\nID=debian\n");
        put_link(t, "/etc/os-release", "../usr/lib/os-release");
        apply(t, &recipe);
        assert_content(t, "/usr/lib/os-release",
                       "ID=debian\nNAME=\"Acme OS\"\nIMAGE_ID=\"acme\"\nIMAGE_VERSION=\"1.0\"\n");
        assert_link(t, "/etc/os-release", "../usr/lib/os-release");
}

/* ---- locale and the like ---- */

static void words_of_the_recipe_become_files(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        Recipe recipe = plain_recipe();

        recipe.locale = OWNED("de_AT.UTF-8");
        recipe.keymap = OWNED("de-latin1");
        recipe.hostname = OWNED("kiosk");
        recipe.timezone = OWNED("Europe/Vienna");
        recipe.default_target = OWNED("multi-user.target");
        put(t, "/usr/share/zoneinfo/Europe/Vienna", "TZif");
        put(t, "/etc/localtime", "an old file");
        put(t, "/etc/vconsole.conf", "an old file");
        apply(t, &recipe);
        assert_content(t, "/etc/locale.conf", "LANG=de_AT.UTF-8\n");
        assert_content(t, "/etc/default/keyboard", "KEYMAP=de-latin1\nXKBLAYOUT=de\n");
        assert_link(t, "/etc/vconsole.conf", "default/keyboard");
        assert_content(t, "/etc/hostname", "kiosk\n");
        assert_link(t, "/etc/localtime", "../usr/share/zoneinfo/Europe/Vienna");
        assert_content(t, "/etc/timezone", "Europe/Vienna\n");
        assert_link(t, "/etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target");
        assert_int_equal(tree_lookup(t, "/etc/hostname")->inode->mtime, FIXTURE_TIME);
}

static void what_the_recipe_does_not_say_is_left_to_the_packages(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        Recipe recipe = plain_recipe();

        put(t, "/etc/default/keyboard", "XKBLAYOUT=fr\n");
        put(t, "/etc/hostname", "of-a-package\n");
        put_link(t, "/etc/systemd/system/default.target", "/usr/lib/systemd/system/graphical.target");
        apply(t, &recipe);
        assert_content(t, "/etc/default/keyboard", "XKBLAYOUT=fr\n");
        assert_content(t, "/etc/hostname", "of-a-package\n");
        assert_link(t, "/etc/systemd/system/default.target", "/usr/lib/systemd/system/graphical.target");
        assert_gone(t, "/etc/localtime"); /* UTC needs no data */
        assert_gone(t, "/etc/shadow");
}

static void zone_without_data_is_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};
        Recipe recipe = plain_recipe();

        recipe.timezone = OWNED("Europe/Atlantis");
        assert_refused(settings_apply(t, &recipe, "1.0", FIXTURE_TIME, &e), &e, REFUSAL_BAD_VALUE);
        assert_non_null(strstr(e.hint, "tzdata"));
}

/* ---- units ---- */

static void units_of_the_recipe_come_before_those_of_packages(void **state) {
        char *enable[] = { OWNED("ssh.service"), OWNED("getty@tty1.service"), OWNED("serial@a.b.service"), NULL };
        char *disable[] = { OWNED("cron.service"), NULL }, *mask[] = { OWNED("apt-daily.timer"), NULL };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        Recipe recipe = plain_recipe();

        recipe.enable = enable;
        recipe.disable = disable;
        recipe.mask = mask;
        put_link(t, "/etc/systemd/system/multi-user.target.wants/cron.service", "/usr/lib/systemd/system/cron.service");
        put_link(t, "/etc/systemd/system/dbus-org.example.service", "/usr/lib/systemd/system/example.service");
        put_link(t, "/etc/systemd/system/getty.target.wants/getty@tty2.service",
                 "/usr/lib/systemd/system/getty@.service");
        put_link(t, "/etc/systemd/system/masked.service", "/dev/null");
        put_link(t, "/etc/systemd/user/default.target.wants/music.service", "/usr/lib/systemd/user/music.service");
        apply(t, &recipe);
        assert_content(t, "/usr/lib/systemd/system-preset/00-sealab.preset",
                       "# Made from [Units] of the recipe.\nenable ssh.service\nenable getty@.service tty1\n"
                       "enable serial@.service a.b\ndisable cron.service\ndisable apt-daily.timer\n");
        assert_content(t, "/usr/lib/systemd/system-preset/98-sealab-default.preset",
                       "# What the packages enable by themselves; everything else stays off.\nenable cron.service\n"
                       "enable dbus-org.example.service\nenable example.service\nenable getty@.service tty2\n"
                       "disable *\n");
        assert_content(t, "/usr/lib/systemd/user-preset/98-sealab-default.preset",
                       "# What the packages enable by themselves; everything else stays off.\nenable music.service\n"
                       "disable *\n");
        assert_gone(t, "/usr/lib/systemd/user-preset/00-sealab.preset");
        assert_link(t, "/etc/systemd/system/apt-daily.timer", "/dev/null");
}

static void masked_unit_of_a_package_is_replaced(void **state) {
        char *mask[] = { OWNED("x.service"), NULL };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        Recipe recipe = plain_recipe();

        recipe.mask = mask;
        put(t, "/etc/systemd/system/x.service", "[Service]\n");
        apply(t, &recipe);
        assert_link(t, "/etc/systemd/system/x.service", "/dev/null");
}

/* ---- root and its partition ---- */

static void shadow_has_the_day_of_the_image_and_the_wish_of_the_recipe(void **state) {
        static const struct { const char *wish, *root; } cases[] = { { "locked", "!*" }, { "empty", "" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_free_ char *wanted = NULL;
                Recipe recipe = plain_recipe();

                recipe.root_password = OWNED(cases[i].wish);
                put_owned(t, "/etc/shadow", 0640, 0, 42,
                          "root:*:19000:0:99999:7:::\nrooted:!:1::::::\nman:*:0:0:99999:7:::\n");
                apply(t, &recipe);
                wanted = xasprintf("root:%s:%" PRIi64 ":0:99999:7:::\nrooted:!:%" PRIi64 "::::::\nman:*:%" PRIi64
                                   ":0:99999:7:::\n",
                                   cases[i].root, DAY, DAY, DAY);
                assert_content(t, "/etc/shadow", wanted);
                assert_int_equal(tree_lookup(t, "/etc/shadow")->inode->mode & 07777, 0640);
                assert_int_equal(tree_lookup(t, "/etc/shadow")->inode->gid, 42);
        }
}

static void malformed_shadow_is_refused(void **state) {
        static const char *const texts[] = { "root\n", "root:*\n", "root:*:1\n" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_error_ Error e = {};
                Recipe recipe = plain_recipe();

                put(t, "/etc/shadow", texts[i]);
                assert_refused(settings_apply(t, &recipe, "1.0", FIXTURE_TIME, &e), &e, REFUSAL_BAD_FORMAT);
        }
}

static void root_partition_is_described_unless_the_recipe_does(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree(), *own = fixture_tree();
        _cleanup_free_ char *text = NULL;
        Recipe recipe = plain_recipe();

        put(t, "/usr/lib/repart.d/README", "x");
        apply(t, &recipe);
        text = tree_text(t, "/usr/lib/repart.d/50-root.conf");
        assert_non_null(strstr(text, "\nType=root\n"));
        assert_non_null(strstr(text, "\nFormat=ext4\n"));
        assert_non_null(strstr(text, "\nSizeMinBytes=536870912\n"));
        put(own, "/usr/lib/repart.d/10-mine.conf", "[Partition]\n");
        apply(own, &recipe);
        assert_gone(own, "/usr/lib/repart.d/50-root.conf");
}

static void encryption_of_the_root_partition_is_described(void **state) {
        static const struct {
                const char *word, *line;
        } cases[] = { { "none", NULL }, { "tpm2", "key-file+tpm2\n" }, { "passphrase", "key-file\n" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                Recipe recipe = plain_recipe();
                _cleanup_free_ char *text = NULL;
                const char *at;

                recipe.root_encryption = OWNED(cases[i].word);
                apply(t, &recipe);
                text = tree_text(t, "/usr/lib/repart.d/50-root.conf");
                at = strstr(text, "\nEncrypt=");
                assert_int_equal(at != NULL, cases[i].line != NULL);
                if (at)
                        assert_true(startswith(at + strlen("\nEncrypt="), cases[i].line));
        }
}

/* Otherwise an image would go out whose machines look for an encrypted partition that nobody makes. */
static void encryption_and_partitions_of_ones_own_are_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_error_ Error e = {};
        Recipe recipe = plain_recipe();

        recipe.root_encryption = OWNED("tpm2");
        put(t, "/usr/lib/repart.d/10-mine.conf", "[Partition]\n");
        assert_refused(settings_apply(t, &recipe, "1.0", FIXTURE_TIME, &e), &e, REFUSAL_BAD_VALUE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(os_release_values_are_replaced_and_added),
                cmocka_unit_test(shell_reads_the_same_value),
                cmocka_unit_test(image_and_version_enter_os_release),
                cmocka_unit_test(words_of_the_recipe_become_files),
                cmocka_unit_test(what_the_recipe_does_not_say_is_left_to_the_packages),
                cmocka_unit_test(zone_without_data_is_refused),
                cmocka_unit_test(units_of_the_recipe_come_before_those_of_packages),
                cmocka_unit_test(masked_unit_of_a_package_is_replaced),
                cmocka_unit_test(shadow_has_the_day_of_the_image_and_the_wish_of_the_recipe),
                cmocka_unit_test(malformed_shadow_is_refused),
                cmocka_unit_test(root_partition_is_described_unless_the_recipe_does),
                cmocka_unit_test(encryption_of_the_root_partition_is_described),
                cmocka_unit_test(encryption_and_partitions_of_ones_own_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
