/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <sys/stat.h>

#include "hermetic.h"
#include "steps.h"

/* Everything that goes into a build, to be changed one thing at a time. */
typedef struct World {
        char *folder;
        Recipe recipe;
        struct RecipeOrigin origins[16];
        LockPackage packages[3];
        LockSuite suite;
        Lock lock;
        Ids *ids;
        StepsContext context;
        char *lists[4][3];
} World;

enum { KERNEL_PACKAGE, INITRD_PACKAGE, TOOLS_PACKAGE };

static void add_origin(World *w, const char *section, const char *key, const char *value) {
        w->origins[w->recipe.n_origins++] = (struct RecipeOrigin){ .section = OWNED(section),
                                                                   .key = OWNED(key),
                                                                   .value = OWNED(value),
                                                                   .file = OWNED("recipe.conf"),
                                                                   .line = 7 };
}

static struct RecipeOrigin *origin(World *w, const char *key) {
        for (size_t i = 0; i < w->recipe.n_origins; i++)
                if (streq(w->origins[i].key, key))
                        return &w->origins[i];
        fail_msg("no origin %s", key);
        return NULL;
}

static void make_world(World *w, const char *folder) {
        static const char *const names[] = { "linux-image", "dmsetup", "systemd" };
        static const LockPurpose purposes[] = { LOCK_FOR_IMAGE, LOCK_FOR_INITRD, LOCK_FOR_TOOLS };
        _cleanup_error_ Error e = {};

        *w = (World){ .folder = OWNED(folder) };
        put_host(folder, "files/etc/motd", "hello\n");
        put_host(folder, "sysusers.d/a.conf", "u a\n");
        w->lists[0][0] = path_join(folder, "files");
        w->lists[1][0] = path_join(folder, "sysusers.d/a.conf");
        w->recipe = (Recipe){ .path = OWNED(folder), .image_id = OWNED("acme"), .origins = w->origins };
        w->recipe.files = w->lists[0];
        w->recipe.sysusers = w->lists[1];
        add_origin(w, "Image", "Hostname", "kiosk");
        add_origin(w, "OsRelease", "NAME", "Acme");
        add_origin(w, "Content", "Drop", "docs");
        add_origin(w, "Units", "Enable", "ssh.service");
        add_origin(w, "Gate", "Allow", "seed:/x: y");
        add_origin(w, "Update", "Url", "https://example.org/");
        add_origin(w, "Kernel", "CommandLine", "quiet");
        add_origin(w, "Initrd", "Packages", "x");
        add_origin(w, "Disk", "EspSize", "256M");
        add_origin(w, "Usr", "Level", "9");
        add_origin(w, "Sign", "Keys", "keys/dev");
        add_origin(w, "Archive", "Mirror", "https://example.org/debian");
        for (size_t i = 0; i < 3; i++)
                w->packages[i] = (LockPackage){ .name = OWNED(names[i]),
                                                .version = OWNED("1"),
                                                .architecture = OWNED("amd64"),
                                                .source = OWNED(names[i]),
                                                .source_version = OWNED("1"),
                                                .path = OWNED("pool/x.deb"),
                                                .suite = OWNED("trixie"),
                                                .size = 1,
                                                .sha256 = { { (uint8_t) i } },
                                                .purpose = purposes[i] };
        w->suite = (LockSuite){
                .suite = OWNED("trixie"), .origin = OWNED("Debian"), .codename = OWNED("trixie"), .date = FIXTURE_TIME
        };
        w->lock = (Lock){ .image_id = OWNED("acme"),
                          .architecture = OWNED("amd64"),
                          .suites = &w->suite,
                          .n_suites = 1,
                          .packages = w->packages,
                          .n_packages = 3 };
        assert_done(ids_parse("user root 0\ngroup root 0\n", "ids.lock", &w->ids, &e), &e);
        w->context = (StepsContext){ .recipe = &w->recipe,
                                     .lock = &w->lock,
                                     .ids = w->ids,
                                     .version = "1.0",
                                     .epoch = FIXTURE_TIME,
                                     .key_folder = "/keys/dev",
                                     .disk = true };
}

static void world_done(World *w) {
        free(w->lists[0][0]);
        free(w->lists[1][0]);
        ids_free(w->ids);
}

static void compute(World *w, Steps *s) {
        _cleanup_error_ Error e = {};

        assert_done(steps_compute(&w->context, s, &e), &e);
}

/* ---- one change each ---- */

#define INSTALL (1 << STEP_INSTALL)
#define BASE (1 << STEP_BASE)
#define FINISH (1 << STEP_FINISH)
#define INITRD (1 << STEP_INITRD)
#define IMAGE (1 << STEP_IMAGE)
#define UKI (1 << STEP_UKI)
#define SIGN (1 << STEP_SIGN)
#define DISK (1 << STEP_DISK)
/* What follows from a changed tree, initrd. */
#define FROM_FINISH (FINISH | IMAGE | UKI | SIGN | DISK)
#define FROM_INITRD (INITRD | UKI | SIGN | DISK)

static char *one_module[] = { (char *) "fs/ext4", NULL }, *one_package[] = { (char *) "perl", NULL };

static void image_package(World *w) {
        w->packages[KERNEL_PACKAGE].sha256.bytes[31] = 1;
}
static void initrd_package(World *w) {
        w->packages[INITRD_PACKAGE].sha256.bytes[31] = 1;
}
static void tools_package(World *w) {
        w->packages[TOOLS_PACKAGE].sha256.bytes[31] = 1;
}
static void package_for_both(World *w) {
        w->packages[TOOLS_PACKAGE].purpose |= LOCK_FOR_INITRD;
}
static void mirror(World *w) {
        origin(w, "Mirror")->value = OWNED("https://example.com/debian");
}
static void modules(World *w) {
        w->recipe.modules = one_module;
}
static void removed(World *w) {
        w->recipe.remove = one_package;
}
static void dropped(World *w) {
        w->recipe.drop = one_package;
}
static void locales(World *w) {
        w->recipe.keep_locales = one_package;
}
static void locale(World *w) {
        w->recipe.locale = OWNED("de_AT.UTF-8");
}
static void hostname(World *w) {
        origin(w, "Hostname")->value = OWNED("other");
}
static void hostname_of_nobody(World *w) {
        add_origin(w, "Image", "Hostname", "other");
        w->origins[w->recipe.n_origins - 1].overridden = true;
}
static void os_release(World *w) {
        origin(w, "NAME")->value = OWNED("Other");
}
static void unit(World *w) {
        origin(w, "Enable")->value = OWNED("cron.service");
}
static void gate(World *w) {
        origin(w, "Allow")->value = OWNED("seed:/x: z");
}
static void update(World *w) {
        origin(w, "Url")->value = OWNED("https://example.com/");
}
static void command_line(World *w) {
        origin(w, "CommandLine")->value = OWNED("debug");
}
static void initrd_setting(World *w) {
        origin(w, "Packages")->value = OWNED("y");
}
static void disk_setting(World *w) {
        origin(w, "EspSize")->value = OWNED("512M");
}
static void level(World *w) {
        origin(w, "Level")->value = OWNED("12");
}
static void other_line(World *w) {
        origin(w, "Level")->line = 8;
        origin(w, "Level")->file = OWNED("other.conf");
}
static void overlay_content(World *w) {
        put_host(w->folder, "files/etc/motd", "changed\n");
}
static void overlay_mode(World *w) {
        _cleanup_free_ char *path = path_join(w->folder, "files/etc/motd");

        assert_int_equal(chmod(path, 0755), 0);
}
static void overlay_touched(World *w) {
        put_host(w->folder, "files/etc/motd", "hello\n"); /* a new file of the same text */
}
static void overlay_file(World *w) {
        put_host(w->folder, "files/etc/new", "");
}
static void sysusers(World *w) {
        put_host(w->folder, "sysusers.d/a.conf", "u b\n");
}
static void image_version(World *w) {
        w->context.version = "1.1";
}
static void lock_time(World *w) {
        w->context.epoch++;
}
static void keys(World *w) {
        w->context.key_folder = "/keys/release";
}
static void no_keys(World *w) {
        w->context.key_folder = NULL;
}
static void account(World *w) {
        uint32_t id;

        assert_int_equal(ids_assign(w->ids, ID_USER, "a", 100, &id, NULL), 0);
}
static void nothing(World *w) {
}

static const struct {
        const char *name;
        void (*change)(World *w);
        unsigned changed;
} changes[] = {
        { "nothing", nothing, 0 },
        { "a package of the image", image_package, INSTALL | BASE | INITRD | FROM_FINISH },
        { "a package of the initrd", initrd_package, FROM_INITRD },
        { "a package of the tools", tools_package, INITRD | FROM_FINISH },
        { "a package's use", package_for_both, FROM_INITRD },
        { "where packages come from", mirror, 0 },
        { "Modules=", modules, BASE | INITRD | FROM_FINISH },
        { "Remove=", removed, BASE | INITRD | FROM_FINISH },
        { "Drop=", dropped, BASE | INITRD | FROM_FINISH },
        { "KeepLocales=", locales, BASE | INITRD | FROM_FINISH },
        { "Locale=", locale, BASE | INITRD | FROM_FINISH },
        { "Hostname=", hostname, FROM_FINISH },
        { "an overridden value", hostname_of_nobody, 0 },
        { "[OsRelease]", os_release, INITRD | FROM_FINISH },
        { "[Units]", unit, FROM_FINISH },
        { "[Gate]", gate, FROM_FINISH },
        { "[Update]", update, FROM_FINISH },
        { "CommandLine=", command_line, FROM_INITRD },
        { "[Initrd]", initrd_setting, FROM_INITRD },
        { "[Disk]", disk_setting, INITRD | FROM_FINISH },
        { "[Usr]", level, IMAGE | UKI | SIGN | DISK },
        { "the line it stands in", other_line, 0 },
        { "an overlay's text", overlay_content, FROM_FINISH },
        { "an overlay's mode", overlay_mode, FROM_FINISH },
        { "an overlay's time", overlay_touched, 0 },
        { "another overlay file", overlay_file, FROM_FINISH },
        { "sysusers.d", sysusers, FROM_FINISH },
        { "the version", image_version, FROM_FINISH },
        { "the lock's time", lock_time, INITRD | FROM_FINISH },
        { "other keys", keys, SIGN | DISK },
        { "no keys", no_keys, SIGN | DISK },
        { "an account", account, FROM_FINISH },
};

static void each_input_changes_exactly_its_steps(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                _cleanup_free_ char *folder = path_join(*state, "world");
                _cleanup_(steps_done) Steps before = {}, after = {};
                _cleanup_(world_done) World w;
                unsigned changed = 0;

                assert_true(io_remove_tree(AT_FDCWD, folder, NULL) >= 0);
                make_world(&w, folder);
                compute(&w, &before);
                changes[i].change(&w);
                compute(&w, &after);
                for (unsigned k = 0; k < _STEP_MAX; k++)
                        if (!sha256_equal(&before.steps[k].key, &after.steps[k].key))
                                changed |= 1U << k;
                if (changed != changes[i].changed)
                        fail_msg("%s changes %#x, not %#x", changes[i].name, changed, changes[i].changed);
        }
}

static void place_of_the_recipe_does_not_count(void **state) {
        _cleanup_free_ char *one = path_join(*state, "one"), *two = path_join(*state, "two");
        _cleanup_(steps_done) Steps a = {}, b = {};
        _cleanup_(world_done) World w1, w2;

        make_world(&w1, one);
        make_world(&w2, two);
        compute(&w1, &a);
        compute(&w2, &b);
        for (unsigned k = 0; k < _STEP_MAX; k++)
                assert_true(sha256_equal(&a.steps[k].key, &b.steps[k].key));
}

static void lists_of_the_recipe_do_not_run_into_each_other(void **state) {
        static char *remove_word[] = { (char *) "remove", NULL };
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Recipe a = { .modules = remove_word }, b = { .remove = remove_word };
        Sha256 x, y;

        hermetic_base_key(&a, h);
        hasher_final(h, &x);
        hermetic_base_key(&b, h);
        hasher_final(h, &y);
        assert_false(sha256_equal(&x, &y));
}

static void unreadable_overlay_is_an_error(void **state) {
        _cleanup_free_ char *folder = path_join(*state, "unreadable");
        _cleanup_(world_done) World w;
        _cleanup_error_ Error e = {};
        Steps s = {};

        make_world(&w, folder);
        assert_int_equal(io_remove_tree(AT_FDCWD, folder, NULL), 0);
        assert_refused(steps_compute(&w.context, &s, &e), &e, REFUSAL_NOT_FOUND);
        assert_int_equal(s.steps[0].n_inputs, 0);
}

/* ---- what will run, and why ---- */

static Store *new_store(void **state, const char *name) {
        _cleanup_free_ char *path = path_join(*state, name);
        _cleanup_error_ Error e = {};
        Store *store = NULL;

        assert_done(store_open(path, &store, &e), &e);
        return store;
}

static void keep(Store *store, const Step *step) {
        _cleanup_free_ char *temporary = NULL;
        _cleanup_close_ int fd = -EBADF;

        assert_int_equal(store_cache_begin(store, step->id, &step->key, &fd, &temporary, NULL), 0);
        assert_int_equal(store_cache_commit(store, step->id, &step->key, temporary, NULL), 0);
}

static void judge(World *w, Store *store, bool no_cache, Steps *s) {
        steps_done(s);
        compute(w, s);
        assert_int_equal(steps_judge(s, &w->recipe, store, no_cache, NULL), 0);
}

static void reasons_follow_a_recipe_through_its_builds(void **state) {
        _cleanup_free_ char *folder = path_join(*state, "reasons");
        _cleanup_(store_freep) Store *store = new_store(state, "store-reasons");
        _cleanup_(steps_done) Steps s = {};
        _cleanup_(world_done) World w;

        make_world(&w, folder);
        judge(&w, store, false, &s);
        for (unsigned i = 0; i < _STEP_MAX; i++) {
                assert_false(s.steps[i].cached);
                assert_string_equal(s.steps[i].reason, "never built here");
        }
        for (unsigned i = 0; i < _STEP_MAX; i++)
                if (s.steps[i].cacheable)
                        keep(store, &s.steps[i]);
        assert_int_equal(steps_remember(&s, &w.recipe, store, NULL), 0);

        judge(&w, store, false, &s);
        for (unsigned i = 0; i < _STEP_MAX; i++) {
                assert_int_equal(s.steps[i].cached, s.steps[i].cacheable);
                assert_string_equal(s.steps[i].reason,
                                    s.steps[i].cacheable ? "same inputs as before" : "runs each time");
        }
        judge(&w, store, true, &s);
        assert_false(s.steps[STEP_BASE].cached);
        assert_string_equal(s.steps[STEP_BASE].reason, "--no-cache");

        hostname(&w);
        w.context.version = "2";
        removed(&w);
        judge(&w, store, false, &s);
        assert_true(s.steps[STEP_INSTALL].cached);
        assert_string_equal(s.steps[STEP_BASE].reason, "changed: Remove=, Drop=, Locale=, KeepLocales=, Modules=");
        assert_string_equal(s.steps[STEP_FINISH].reason,
                            "changed: tree without what is dropped, settings of the recipe, version");
        assert_string_equal(s.steps[STEP_INITRD].reason, "changed: kernel and its modules");
}

static void installed_tree_is_not_needed_behind_a_cached_base(void **state) {
        _cleanup_free_ char *folder = path_join(*state, "behind");
        _cleanup_(store_freep) Store *store = new_store(state, "store-behind");
        _cleanup_(steps_done) Steps s = {};
        _cleanup_(world_done) World w;

        make_world(&w, folder);
        judge(&w, store, false, &s);
        keep(store, &s.steps[STEP_BASE]);
        assert_int_equal(steps_remember(&s, &w.recipe, store, NULL), 0);
        judge(&w, store, false, &s);
        assert_true(s.steps[STEP_INSTALL].cached);
        assert_string_equal(s.steps[STEP_INSTALL].reason, "not needed: the next step is cached");
        assert_false(s.steps[STEP_INITRD].cached);
        assert_string_equal(s.steps[STEP_INITRD].reason, "the store's cache no longer holds it");
}

static void damaged_record_only_costs_the_reasons(void **state) {
        static const char *const texts[] = { "", "[]", "{", "{\"base\":7}", "{\"base\":{\"installed packages\":7}}" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_free_ char *folder = path_join(*state, "damaged"), *path = NULL, *real = NULL;
                _cleanup_(store_freep) Store *store = new_store(state, "store-damaged");
                _cleanup_(steps_done) Steps s = {};
                _cleanup_(world_done) World w;
                Sha256 key;

                make_world(&w, folder);
                judge(&w, store, false, &s);
                assert_int_equal(steps_remember(&s, &w.recipe, store, NULL), 0);
                real = realpath(folder, NULL);
                sha256_buffer(real, strlen(real), &key);
                path = store_cache_path(store, "plan", &key);
                assert_true(io_exists(AT_FDCWD, path));
                assert_int_equal(io_replace_file(AT_FDCWD, path, texts[i], strlen(texts[i]), 0644, NULL), 0);
                judge(&w, store, false, &s);
                assert_false(s.steps[STEP_BASE].cached);
                assert_false(isempty(s.steps[STEP_BASE].reason));
                assert_string_not_equal(s.steps[STEP_BASE].reason, "same inputs as before");
        }
}

static void plan_names_every_step_for_people_and_machines(void **state) {
        _cleanup_free_ char *folder = path_join(*state, "plan"), *text = NULL;
        _cleanup_(store_freep) Store *store = new_store(state, "store-plan");
        _cleanup_(steps_done) Steps s = {};
        _cleanup_json_ json_t *list = NULL;
        _cleanup_(world_done) World w;
        json_t *step;
        size_t i;

        make_world(&w, folder);
        judge(&w, store, false, &s);
        text = steps_format(&s);
        list = steps_to_json(&s);
        assert_int_equal(json_array_size(list), _STEP_MAX);
        json_array_foreach (list, i, step) {
                _cleanup_free_ char *hex = sha256_hex(&s.steps[i].key);

                assert_string_equal(json_string_value(json_object_get(step, "step")), s.steps[i].id);
                assert_string_equal(json_string_value(json_object_get(step, "key")), hex);
                assert_true(json_is_false(json_object_get(step, "cached")));
                assert_int_equal(json_object_size(json_object_get(step, "inputs")), s.steps[i].n_inputs);
                hex[12] = 0;
                assert_non_null(strstr(text, hex));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_input_changes_exactly_its_steps),
                cmocka_unit_test(place_of_the_recipe_does_not_count),
                cmocka_unit_test(lists_of_the_recipe_do_not_run_into_each_other),
                cmocka_unit_test(unreadable_overlay_is_an_error),
                cmocka_unit_test(reasons_follow_a_recipe_through_its_builds),
                cmocka_unit_test(installed_tree_is_not_needed_behind_a_cached_base),
                cmocka_unit_test(damaged_record_only_costs_the_reasons),
                cmocka_unit_test(plan_names_every_step_for_people_and_machines),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
