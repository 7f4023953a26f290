/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <sys/stat.h>

#include "gate.h"

#define ETC "/usr/share/factory/etc"
#define KEY(kind) "-----BEGIN " kind "PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n"

static Ids *known_ids(void) {
        Ids *ids = NULL;
        _cleanup_error_ Error e = {};

        assert_done(
                ids_parse("user root 0\ngroup root 0\nuser man 6\ngroup man 12\ngroup tty 5\n", "ids.lock", &ids, &e),
                &e);
        return ids;
}

/* A tree with which nothing is wrong. */
static Tree *good_tree(void) {
        Tree *t = fixture_tree();

        put_package(t, "/usr/bin/su", "login")->inode->mode = S_IFREG | 04755;
        put_owned(t, "/usr/bin/wall", 02755, 0, 5, "x");
        put_link(t, "/usr/bin/sh", "su");
        put_link(t, ETC "/mtab", "../proc/self/mounts");
        put(t, ETC "/machine-id", "");
        put(t, ETC "/passwd", "root:x:0:0::/root:/bin/sh\n");
        put(t, ETC "/shadow", "root:!*:1::::::\nman:*:1::::::\n");
        return t;
}

static void report_into(Tree *t, const Recipe *r, GateReport *report, Error *e, int *ret) {
        _cleanup_(ids_freep) Ids *ids = known_ids();

        *ret = gate_check(t, r, ids, report, e);
}

/* Exactly one finding, of this check and path; NULL: none. */
static void check_finding(Tree *t, const char *what, const char *check, const char *path) {
        _cleanup_(gate_report_done) GateReport report = {};
        _cleanup_error_ Error e = {};
        int r;

        report_into(t, &(Recipe){}, &report, &e, &r);
        if (!check && r < 0)
                fail_msg("%s: %s", what, e.message);
        if (!check)
                return;
        if (r >= 0)
                fail_msg("%s: nothing was found", what);
        assert_int_equal(r, -EPERM);
        assert_int_equal(e.id, REFUSAL_GATE);
        assert_int_equal(report.n_findings, 1);
        assert_int_equal(report.n_refused, 1);
        assert_string_equal(report.findings[0].check, check);
        assert_string_equal(report.findings[0].path, path);
        assert_non_null(strstr(e.message, check));
        assert_non_null(strstr(e.message, path));
        assert_non_null(e.hint);
}

static void tree_without_faults_passes(void **state) {
        _cleanup_(tree_freep) Tree *t = good_tree();

        check_finding(t, "the good tree", NULL, NULL);
}

typedef struct Case {
        const char *check; /* NULL: allowed */
        const char *path;
        enum { A_FILE, A_FOLDER, A_LINK, A_DEVICE } type;
        const char *text; /* or the link's target */
        mode_t mode;      /* or the device's type */
        uid_t uid;
        gid_t gid;
} Case;

static void add_case(Tree *t, const Case *c) {
        NodeAttributes a = { .mode = 0600 };

        switch (c->type) {
        case A_FILE:
                put_owned(t, c->path, c->mode ?: 0644, c->uid, c->gid, c->text ?: "x");
                break;
        case A_FOLDER:
                put_folder(t, c->path, c->mode ?: 0755, c->uid, c->gid);
                break;
        case A_LINK: {
                Node *n = put_link(t, c->path, c->text);

                n->inode->uid = c->uid;
                break;
        }
        case A_DEVICE:
                assert_int_equal(tree_add_device(t, c->path, &a, c->mode, 0, NULL, NULL), 0);
                break;
        }
}

static void check_cases(const Case *cases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_(tree_freep) Tree *t = good_tree();

                add_case(t, &cases[i]);
                check_finding(t, cases[i].path, cases[i].check, cases[i].path);
        }
}

static void private_keys_are_found_in_every_form(void **state) {
        static const Case cases[] = {
                { "private-key", ETC "/ssl/a.key", .text = KEY("") },
                { "private-key", ETC "/ssl/b.key", .text = KEY("RSA ") },
                { "private-key", "/usr/share/c", .text = "Bag Attributes\n" KEY("ENCRYPTED ") },
                { "private-key", ETC "/ssh/ssh_host_ed25519_key", .text = KEY("OPENSSH ") },
                { NULL, ETC "/ssl/a.pem", .text = "-----BEGIN CERTIFICATE-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n" },
                { NULL, ETC "/ssl/b.pem", .text = "-----BEGIN PUBLIC KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49A\n" },
                /* Programs and documents that only speak of keys. */
                { NULL, "/usr/share/doc/x",
                  .text = "It begins with -----BEGIN PRIVATE KEY-----\nand then lines of base64 follow, at least "
                          "one.\n" },
                { NULL, "/usr/lib/x.so", .text = "\177ELF\n" KEY("") },
                { NULL, "/usr/share/y", .text = "-----BEGIN PRIVATE KEY-----\n" },
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static void passwords_are_found_in_shadow_and_passwd(void **state) {
        static const struct {
                const char *file, *text;
                bool found;
        } cases[] = {
                { "shadow", "root:$y$j9T$abc$def:1::::::\n", true },
                { "shadow", "root::1::::::\n", true },
                { "shadow", "man:x:1::::::\n", true }, /* no hash that fits, but nothing that says "locked" either */
                { "shadow", "root:!:1::::::\nman:!*:1::::::\ntty:*:1::::::\n", false },
                { "shadow", "root:!$y$j9T$abc$def:1::::::\n", false },
                { "passwd", "root::0:0::/root:/bin/sh\n", true },
                { "passwd", "root:x:0:0::/root:/bin/sh\nman:ab01FAX.bQRSU:6:12::/:/bin/sh\n", true },
                { "passwd", "root:x:0:0::/root:/bin/sh\nman:*:6:12::/:/bin/sh\n", false },
                { "passwd", "root:!:0:0::/root:/bin/sh\n", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *path = path_join(ETC, cases[i].file);
                _cleanup_(tree_freep) Tree *t = good_tree();

                put(t, path, cases[i].text);
                check_finding(t, cases[i].text, cases[i].found ? "password-hash" : NULL, path);
        }
}

static void only_an_empty_machine_id_may_be_in_an_image(void **state) {
        static const Case cases[] = {
                { "machine-id", ETC "/machine-id", .text = "0123456789abcdef0123456789abcdef\n" },
                { NULL, ETC "/machine-id", .text = "" },
                { NULL, ETC "/machine-id-like", .text = "0123456789abcdef0123456789abcdef\n" },
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static void seeds_and_secrets_are_found_by_name(void **state) {
        static const Case cases[] = {
                { "seed", "/usr/share/factory/var/lib/systemd/random-seed", .text = "seed" },
                { "seed", "/usr/share/factory/var/lib/systemd/credential.secret", .text = "secret" },
                { NULL, "/usr/lib/systemd/systemd-random-seed", .text = "a program" },
                { NULL, "/usr/share/factory/var/lib/systemd/random-seed", .text = "" },
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static void rights_of_others_by_accident_are_found(void **state) {
        static const Case cases[] = {
                { "setgid-root", "/usr/bin/x", .mode = 02755 },
                { "setgid-root", "/usr/bin/x", .mode = 04755, .uid = 6 },
                { NULL, "/usr/bin/x", .mode = 04755 },
                { NULL, "/usr/bin/x", .mode = 02755, .gid = 5 },
                { NULL, "/usr/bin/x", .mode = 02644 }, /* not executable: mandatory locking, long gone */
                { NULL, "/usr/share/x", A_FOLDER, .mode = 02755 },
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static void owners_must_be_named_in_ids_lock(void **state) {
        static const Case cases[] = {
                { "unowned-id", "/usr/x", .uid = 1000 },        { "unowned-id", "/usr/x", .gid = 999 },
                { "unowned-id", "/usr/x", .uid = 12 }, /* only a group has this number */
                { "unowned-id", "/usr/x", A_FOLDER, .gid = 6 }, { "unowned-id", "/usr/x", A_LINK, "bin", .uid = 7 },
                { NULL, "/usr/x", .uid = 6, .gid = 12 },
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static void links_are_followed_as_on_the_running_system(void **state) {
        static const Case cases[] = {
                { "dangling-link", "/usr/bin/x", A_LINK, "absent" },
                { "dangling-link", "/usr/bin/x", A_LINK, "/usr/bin/absent" },
                { "dangling-link", "/usr/bin/x", A_LINK, "/etc/absent" },
                { "dangling-link", "/usr/bin/x", A_LINK, "/absent" },
                { "dangling-link", "/usr/bin/x", A_LINK, "/lib/absent" },
                { "dangling-link", "/usr/bin/x", A_LINK, "x" }, /* round and round */
                { "dangling-link", "/usr/bin/x", A_LINK, "/devices/absent" },
                { "dangling-link", ETC "/x", A_LINK, "../usr/bin/absent" },
                /* As /usr/share/factory/etc/x it would lead somewhere, as /etc/x it does not. */
                { "dangling-link", ETC "/x", A_LINK, "../../../share/factory" },
                { NULL, "/usr/bin/x", A_LINK, "su" },
                { NULL, "/usr/bin/x", A_LINK, "sh" },
                { NULL, "/usr/bin/x", A_LINK, "../../../../usr/./bin/su" },
                { NULL, "/usr/bin/x", A_LINK, "/bin/su" },
                { NULL, "/usr/bin/x", A_LINK, "/etc/passwd" },
                { NULL, "/usr/bin/x", A_LINK, "../../etc/passwd" },
                { NULL, ETC "/x", A_LINK, "../usr/bin/su" },
                { NULL, ETC "/x", A_LINK, "passwd" },
                { NULL, ETC "/systemd/system/x.service", A_LINK, "/dev/null" },
                { NULL, "/usr/bin/x", A_LINK, "/run/anything" },
                { NULL, "/usr/bin/x", A_LINK, "/var/lib/anything" },
                { NULL, "/usr/bin/x", A_LINK, "/proc" },
                { NULL, "/usr/bin/x", A_LINK, "/srv/www" },
                { NULL, "/usr/bin/x", A_LINK, "/opt/vendor/bin/x" },
                { NULL, "/usr/bin/x", A_LINK, "/" },
                { NULL, "/usr/bin/x", A_LINK, ".." },
                { NULL, "/usr/bin/x", A_LINK, "/etc" },
                { "dangling-link", "/usr/bin/x", A_LINK, "/etcetera" },
                { "dangling-link", "/usr/bin/x", A_LINK, "su/below-a-file" },
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static void chains_of_links_keep_their_place_below_merged_usr(void **state) {
        _cleanup_(tree_freep) Tree *t = good_tree();

        /* /lib/a is /usr/lib/a, so its "../share/b" means /usr/share/b. */
        put(t, "/usr/share/b", "x");
        put_link(t, "/usr/lib/a", "../share/b");
        put_link(t, "/usr/bin/chain", "/lib/a");
        put_link(t, "/usr/share/links", "../lib");
        put_link(t, "/usr/bin/through-folder", "../share/links/a");
        check_finding(t, "chains", NULL, NULL);
        tree_remove(t, "/usr/share/b");
        put_link(t, "/usr/share/b", "/etc/passwd");
        check_finding(t, "longer chain", NULL, NULL);
}

static void what_anybody_may_write_is_found(void **state) {
        static const Case cases[] = {
                { "world-writable", "/usr/share/x", .mode = 0666 },
                { "world-writable", "/usr/share/x", A_FOLDER, .mode = 0777 },
                { NULL, "/usr/share/x", A_FOLDER, .mode = 01777 },
                { NULL, "/usr/share/x", .mode = 0664 },
                { NULL, "/usr/share/x", A_LINK, "/run" }, /* 0777 as every link */
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static void only_files_folders_and_links_are_allowed(void **state) {
        static const Case cases[] = {
                { "device-node", "/usr/lib/x", A_DEVICE, .mode = S_IFCHR },
                { "device-node", "/usr/lib/x", A_DEVICE, .mode = S_IFBLK },
                { "device-node", "/usr/lib/x", A_DEVICE, .mode = S_IFIFO },
                { "device-node", "/usr/lib/x", A_DEVICE, .mode = S_IFSOCK },
                { NULL, "/usr/lib/x", A_FILE },
        };

        check_cases(cases, ELEMENTSOF(cases));
}

static struct GateException allow(const char *check, const char *glob) {
        return (struct GateException){ .check = OWNED(check),
                                       .path_glob = OWNED(glob),
                                       .reason = OWNED("it must be so"),
                                       .where = OWNED("recipe.conf:7") };
}

static void exception_allows_its_check_at_its_path_only(void **state) {
        static const struct {
                const char *check, *glob;
                bool allowed;
        } cases[] = {
                { "world-writable", "/usr/share/open", true },
                { "world-writable", "/usr/share/*", true },
                { "world-writable", "/usr", true }, /* a folder stands for all below it */
                { "world-writable", "/usr/share/other", false },
                { "device-node", "/usr/share/open", false },
                { "world-writable", "/usr/share/op", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct GateException exception = allow(cases[i].check, cases[i].glob);
                Recipe recipe = { .gate_exceptions = &exception, .n_gate_exceptions = 1 };
                _cleanup_(gate_report_done) GateReport report = {};
                _cleanup_(tree_freep) Tree *t = good_tree();
                _cleanup_error_ Error e = {};
                int r;

                put_package(t, "/usr/share/open", "careless")->inode->mode |= 0666;
                report_into(t, &recipe, &report, &e, &r);
                assert_int_equal(r < 0, !cases[i].allowed);
                assert_int_equal(report.n_findings, 1);
                assert_int_equal(report.findings[0].allowed, cases[i].allowed);
                assert_string_equal(report.findings[0].package, "careless");
                assert_true(streq_ptr(report.findings[0].reason, cases[i].allowed ? "it must be so" : NULL));
                if (r < 0)
                        assert_non_null(strstr(e.message, "careless"));
        }
}

static void factory_file_is_allowed_by_its_path_on_the_running_system(void **state) {
        struct GateException exceptions[] = { allow("private-key", "/etc/ssl/test.key"),
                                              allow("password-hash", "/etc/shadow"),
                                              allow("world-writable", ETC "/open") };
        Recipe recipe = { .gate_exceptions = exceptions, .n_gate_exceptions = ELEMENTSOF(exceptions) };
        _cleanup_(gate_report_done) GateReport report = {};
        _cleanup_(tree_freep) Tree *t = good_tree();
        _cleanup_error_ Error e = {};
        int r;

        put(t, ETC "/ssl/test.key", KEY(""));
        put(t, ETC "/shadow", "root::1::::::\n");
        put_owned(t, ETC "/open", 0666, 0, 0, "x");
        report_into(t, &recipe, &report, &e, &r);
        assert_done(r, &e);
        assert_int_equal(report.n_findings, 3);
        assert_int_equal(report.n_refused, 0);
        for (size_t i = 0; i < 3; i++)
                assert_true(report.findings[i].allowed);
}

static void exception_that_matches_nothing_is_refused_itself(void **state) {
        struct GateException exceptions[] = { allow("world-writable", "/usr/share/gone"),
                                              allow("private-key", "/usr/**") };
        Recipe recipe = { .gate_exceptions = exceptions, .n_gate_exceptions = ELEMENTSOF(exceptions) };
        _cleanup_(gate_report_done) GateReport report = {};
        _cleanup_(tree_freep) Tree *t = good_tree();
        _cleanup_error_ Error e = {};
        int r;

        put(t, "/usr/share/test.key", KEY("EC "));
        report_into(t, &recipe, &report, &e, &r);
        assert_refused(r, &e, REFUSAL_GATE);
        assert_int_equal(report.n_refused, 0);
        assert_non_null(strstr(e.message, "recipe.conf:7"));
        assert_non_null(strstr(e.message, "/usr/share/gone"));
        assert_null(strstr(e.message, "/usr/**"));
}

static void every_finding_is_reported_at_once(void **state) {
        _cleanup_(gate_report_done) GateReport report = {};
        _cleanup_(tree_freep) Tree *t = good_tree();
        _cleanup_error_ Error e = {};
        int r;

        put_owned(t, "/usr/share/open", 0666, 0, 77, "x");
        put(t, "/usr/share/test.key", KEY("EC "));
        put_link(t, "/usr/bin/x", "absent");
        put(t, ETC "/shadow", "root::1::::::\nman:$6$x:1::::::\n");
        report_into(t, &(Recipe){}, &report, &e, &r);
        assert_refused(r, &e, REFUSAL_GATE);
        assert_int_equal(report.n_refused, 6);
        for (size_t i = 0; i < report.n_findings; i++)
                assert_non_null(strstr(e.message, report.findings[i].path));
        assert_non_null(strstr(e.message, "account root"));
        assert_non_null(strstr(e.message, "account man"));
}

/* Recipes may name exactly the checks that there are. */
static void checks_of_the_recipe_are_those_of_the_gate(void **state) {
        static const char *const known[] = { "private-key",   "password-hash",  "machine-id",
                                             "seed",          "setgid-root",    "unowned-id",
                                             "dangling-link", "world-writable", "device-node" };
        const char *const *names = recipe_gate_checks();
        size_t n = 0;

        while (names[n])
                n++;
        assert_int_equal(n, ELEMENTSOF(known));
        for (size_t i = 0; i < n; i++)
                assert_true(strv_contains((char *const *) names, known[i]));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(tree_without_faults_passes),
                cmocka_unit_test(private_keys_are_found_in_every_form),
                cmocka_unit_test(passwords_are_found_in_shadow_and_passwd),
                cmocka_unit_test(only_an_empty_machine_id_may_be_in_an_image),
                cmocka_unit_test(seeds_and_secrets_are_found_by_name),
                cmocka_unit_test(rights_of_others_by_accident_are_found),
                cmocka_unit_test(owners_must_be_named_in_ids_lock),
                cmocka_unit_test(links_are_followed_as_on_the_running_system),
                cmocka_unit_test(chains_of_links_keep_their_place_below_merged_usr),
                cmocka_unit_test(what_anybody_may_write_is_found),
                cmocka_unit_test(only_files_folders_and_links_are_allowed),
                cmocka_unit_test(exception_allows_its_check_at_its_path_only),
                cmocka_unit_test(factory_file_is_allowed_by_its_path_on_the_running_system),
                cmocka_unit_test(exception_that_matches_nothing_is_refused_itself),
                cmocka_unit_test(every_finding_is_reported_at_once),
                cmocka_unit_test(checks_of_the_recipe_are_those_of_the_gate),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
