/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The program that TUF's conformance suite drives, by its command line, against files in a folder. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <time.h>

#include "http.h"
#include "io.h"
#include "tuf-expect.h"

typedef struct Fixture {
        Sim *sim;
        char *folder, *metadata, *targets, *metadata_url, *targets_url, *root;
} Fixture;

static void fixture_done(Fixture *f) {
        sim_free(f->sim);
        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f->metadata);
        free(f->targets);
        free(f->metadata_url);
        free(f->targets_url);
        free(f->root);
}

static char *make_folder(const Fixture *f, const char *name) {
        _cleanup_free_ char *path = path_join(f->folder, name);

        assert_int_equal(io_mkdir_parents(AT_FDCWD, path, 0755, NULL), 0);
        return TAKE_PTR(path);
}

static void write_file(const char *folder, const char *name, const char *text) {
        _cleanup_free_ char *path = path_join(folder, name), *above = path_dirname(path);

        assert_int_equal(io_mkdir_parents(AT_FDCWD, above, 0755, NULL), 0);
        assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

/* What the simulated server has, as files. */
static void put_out(const Fixture *f) {
        _cleanup_free_ char *folder = path_join(f->folder, "repo/metadata");

        for (size_t i = 0; i < f->sim->server.n_items; i++)
                write_file(folder, f->sim->server.items[i].name, f->sim->server.items[i].data.data);
}

/* Under the name of the right content. */
static void put_target(const Fixture *f, const char *path, const char *right, const char *content) {
        _cleanup_free_ char *folder = path_join(f->folder, "repo/targets"), *hash = NULL, *name = NULL;
        const char *base = path_basename(path);
        Sha256 sha256;

        sha256_buffer(right, strlen(right), &sha256);
        hash = sha256_hex(&sha256);
        name = xasprintf("%.*s%s.%s", (int) (base - path), path, hash, base);
        write_file(folder, name, content);
}

static void add_target(const Fixture *f, const char *role, const char *path, const char *content) {
        put_target(f, path, content, content);
        sim_add_target(f->sim, role, path, content);
}

static void publish(const Fixture *f, const char *roles) {
        sim_publish(f->sim, roles);
        put_out(f);
}

/* exit status */
static int run(const Fixture *f, const char *const *more) {
        _cleanup_strv_free_ char **argv = NULL;
        int status = -1;
        pid_t pid;

        strv_extendf(&argv, "%s/tuf-client", getenv("SEALAB_TEST_BUILD"));
        strv_extendf(&argv, "--metadata-dir=%s", f->metadata);
        STRV_FOREACH (word, more)
                strv_extend(&argv, *word);
        pid = fork();
        if (pid == 0) {
                execv(argv[0], argv);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static int refresh(const Fixture *f) {
        return run(f, (const char *[]){ "--metadata-url", f->metadata_url, "refresh", NULL });
}

/* Names end with NULL. */
static int download(const Fixture *f, const char *first, const char *second) {
        const char *args[16] = { "--metadata-url",    f->metadata_url, "--target-dir",  f->targets,
                                 "--target-base-url", f->targets_url,  "--target-name", first };
        size_t n = 8;

        if (second) {
                args[n++] = "--target-name";
                args[n++] = second;
        }
        args[n] = "download";
        return run(f, args);
}

static Fixture fixture_new(void) {
        static const char *const roles[] = { "root", "timestamp", "snapshot", "targets" };
        Fixture f = { .sim = sim_new() };
        _cleanup_free_ char *repo = NULL;

        assert_int_equal(io_temporary_folder("tuf", &f.folder, NULL), 0);
        repo = make_folder(&f, "repo");
        f.metadata = make_folder(&f, "metadata");
        f.targets = make_folder(&f, "targets");
        f.metadata_url = xasprintf("file://%s/metadata", repo);
        f.targets_url = xasprintf("file://%s/targets/", repo);
        f.sim->now = (int64_t) time(NULL); /* by which the program judges */
        for (size_t i = 0; i < ELEMENTSOF(roles); i++)
                sim_expire(f.sim, roles[i], f.sim->now + SIM_DAY);
        publish(&f, "root targets snapshot timestamp");
        f.root = xasprintf("%s/metadata/2.root.json", repo);
        return f;
}

static void init(const Fixture *f) {
        assert_int_equal(run(f, (const char *[]){ "init", f->root, NULL }), 0);
}

static void must_hold(const Fixture *f, const char *file, const char *content) {
        _cleanup_free_ char *path = path_join(f->targets, file), *data = NULL;

        if (io_read_file(AT_FDCWD, path, 1000, &data, NULL, NULL) < 0)
                fail_msg("%s is not there", file);
        assert_string_equal(data, content);
}

static void init_and_refresh(void **state) {
        _cleanup_(fixture_done) Fixture f = fixture_new();
        _cleanup_free_ char *timestamp = path_join(f.metadata, "timestamp.json");

        assert_int_equal(refresh(&f), 1); /* nothing trusted yet */
        init(&f);
        assert_int_equal(refresh(&f), 0);
        assert_true(io_exists(AT_FDCWD, timestamp));
        sim_set_version(f.sim, "timestamp", 1);
        publish(&f, "timestamp");
        assert_int_equal(refresh(&f), 1);
}

static void target_that_is_there_is_not_fetched_again(void **state) {
        _cleanup_(fixture_done) Fixture f = fixture_new();
        _cleanup_free_ char *served = path_join(f.folder, "repo/targets"), *kept = path_join(f.targets, "a%2Fb.txt");

        init(&f);
        add_target(&f, "targets", "a/b.txt", "one");
        publish(&f, "targets snapshot timestamp");
        assert_int_equal(download(&f, "a/b.txt", NULL), 0);
        must_hold(&f, "a%2Fb.txt", "one");
        assert_int_equal(io_remove_tree(AT_FDCWD, served, NULL), 0);
        assert_int_equal(download(&f, "a/b.txt", NULL), 0);
        /* ...but one that was damaged is. */
        assert_int_equal(io_write_file(AT_FDCWD, kept, "two", 3, 0644, NULL), 0);
        assert_int_equal(download(&f, "a/b.txt", NULL), 1);
        add_target(&f, "targets", "a/b.txt", "three");
        publish(&f, "targets snapshot timestamp");
        assert_int_equal(download(&f, "a/b.txt", NULL), 0);
        must_hold(&f, "a%2Fb.txt", "three");
}

static void several_targets_in_order(void **state) {
        _cleanup_(fixture_done) Fixture f = fixture_new();

        init(&f);
        add_target(&f, "targets", "a", "A");
        add_target(&f, "targets", "b c?#%41", "B");
        publish(&f, "targets snapshot timestamp");
        assert_int_equal(download(&f, "a", "b c?#%41"), 0);
        must_hold(&f, "a", "A");
        must_hold(&f, "b%20c%3F%23%2541", "B");
        assert_int_equal(download(&f, "none", "a"), 1);
        assert_int_equal(download(&f, "a", "none"), 1);
}

/* One client for both names: the role that the first one brought is not good enough for the second. */
static void role_of_another_delegation_does_not_count(void **state) {
        _cleanup_(fixture_done) Fixture f = fixture_new();

        init(&f);
        sim_delegate(f.sim, &(SimDelegation){ .from = "targets", .to = "A", .keys = "4", .paths = "a" });
        sim_delegate(f.sim, &(SimDelegation){ .from = "targets", .to = "B", .keys = "5", .paths = "b" });
        sim_delegate(f.sim, &(SimDelegation){ .from = "A", .to = "C", .keys = "6", .paths = "a" });
        sim_delegate(f.sim, &(SimDelegation){ .from = "B", .to = "C", .keys = "7", .paths = "b" });
        add_target(&f, "C", "a", "A");
        add_target(&f, "C", "b", "B");
        publish(&f, "A B C targets snapshot timestamp");
        assert_int_equal(download(&f, "a", "b"), 1);
        must_hold(&f, "a", "A");
        assert_int_equal(download(&f, "b", "a"), 1);
        sim_sign_with(f.sim, "C", "6 7");
        publish(&f, "C snapshot timestamp");
        assert_int_equal(download(&f, "a", "b"), 0);
        must_hold(&f, "b", "B");
}

static void wrong_content_is_not_kept(void **state) {
        static const char *const contents[] = { "wrong", "wrong, and longer", "w", "" };

        for (size_t i = 0; i < ELEMENTSOF(contents); i++) {
                _cleanup_(fixture_done) Fixture f = fixture_new();
                _cleanup_free_ char *kept = path_join(f.targets, "a");

                init(&f);
                add_target(&f, "targets", "a", "right");
                publish(&f, "targets snapshot timestamp");
                put_target(&f, "a", "right", contents[i]);
                assert_int_equal(download(&f, "a", NULL), 1);
                assert_false(io_exists(AT_FDCWD, kept));
        }
}

static void wrong_command_lines(void **state) {
        _cleanup_(fixture_done) Fixture f = fixture_new();
        static const char *const lines[][3] = { { NULL },
                                                { "init", NULL },
                                                { "refresh", NULL },
                                                { "download", NULL },
                                                { "--nonsense", "refresh", NULL },
                                                { "other", NULL } };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++)
                assert_int_equal(run(&f, lines[i]), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(init_and_refresh),
                cmocka_unit_test(target_that_is_there_is_not_fetched_again),
                cmocka_unit_test(several_targets_in_order),
                cmocka_unit_test(role_of_another_delegation_does_not_count),
                cmocka_unit_test(wrong_content_is_not_kept),
                cmocka_unit_test(wrong_command_lines),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
