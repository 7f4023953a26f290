/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Downloads from servers that behave, and from servers that do not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "archive-fixture.h"
#include "mirror-server.h"

static char *template_folder; /* archive and lock: one for all tests */

typedef struct Web {
        ArchiveFixture *archive;
        MirrorServer *server;
        const LockPackage *big; /* 300,000 bytes that do not compress */
        FetchResult result;
} Web;

static Web web_new(void) {
        Web w = { .archive = fixture_new(template_folder, "") };
        ArchiveFixture *f = w.archive;
        _cleanup_error_ Error e = {};

        if (lock_read(template_folder, &f->lock, &e) < 0)
                fail_msg("%s", e.message);
        w.server = server_start(f->mirror, f->folder);
        w.big = lock_find(f->lock, "big");
        assert_true(w.big && w.big->size > 3 * MIRROR_CUT - 10000);
        return w;
}

static void web_done(Web *w) {
        server_stop(w->server);
        fixture_free(w->archive);
}

/* Fetches from the server in these modes, one mirror after the other. */
static int fetch(Web *w, const char *modes) {
        ArchiveFixture *f = w->archive;
        _cleanup_strv_free_ char **words = strv_split(modes, " "), **uris = NULL;
        _cleanup_free_ char *list = NULL;

        STRV_FOREACH (mode, words)
                strv_extendf(&uris, "%s/%s", w->server->uri, *mode);
        list = strv_join(uris, " ");
        fixture_write_recipe(f, list, "");
        error_done(&f->error);
        w->result = (FetchResult){};
        return fetch_missing(f->lock, f->store,
                             &(FetchOptions){ .recipe = f->recipe, .backoff_msec = 10, .stall_seconds = 1 }, &w->result,
                             &f->error);
}

static void must_fetch(Web *w, const char *modes) {
        if (fetch(w, modes) < 0)
                fail_msg("%s", w->archive->error.message);
        assert_int_equal(fetch_count_missing(w->archive->lock, w->archive->store, NULL), 0);
        for (size_t i = 0; i < w->archive->lock->n_packages; i++) {
                const LockPackage *p = &w->archive->lock->packages[i];
                int fd;

                assert_int_equal(store_open_verified(w->archive->store, &p->sha256, p->size, &fd, NULL), 0);
                safe_close(fd);
        }
}

static void must_refuse(Web *w, const char *modes, Refusal id, const char *mentions) {
        const Error *e = &w->archive->error;

        if (fetch(w, modes) >= 0)
                fail_msg("not refused");
        if (e->id != id || !strstr(e->message, mentions))
                fail_msg("%s, \"%s\" wanted: %s: %s", refusal_name(id), mentions, refusal_name(e->id), e->message);
        assert_non_null(e->hint);
}

static size_t count_requests(Web *w, const char *line) {
        _cleanup_free_ char *log = NULL;
        size_t n = 0;

        if (io_read_file(AT_FDCWD, w->server->log, 1 << 20, &log, NULL, NULL) < 0)
                return 0;
        for (const char *p = log; (p = strstr(p, line)); p++)
                n++;
        return n;
}

/* Only the big package is missing. */
static void have_the_small_ones(Web *w) {
        _cleanup_free_ char *object = NULL;

        must_fetch(w, "good");
        object = store_object_full_path(w->archive->store, &w->big->sha256);
        assert_int_equal(io_unlink(AT_FDCWD, object, NULL), 0);
        assert_int_equal(io_unlink(AT_FDCWD, w->server->log, NULL), 0);
}

/* As if a download had been interrupted after size bytes. */
static void leave_partial(Web *w, size_t size, bool damaged) {
        _cleanup_free_ char *path = path_join(w->archive->mirror, w->big->path), *data = NULL;
        _cleanup_close_ int fd = -EBADF;
        uint64_t there;

        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 24, &data, NULL, NULL), 0);
        if (damaged)
                data[10] ^= 1;
        assert_int_equal(store_partial_open(w->archive->store, &w->big->sha256, &fd, &there, NULL), 0);
        assert_int_equal(there, 0);
        while (size > 0) {
                size_t n = MIN(size, (size_t) w->big->size);

                assert_int_equal(io_write_all(fd, data, n, NULL), 0);
                size -= n;
        }
}

static void all_packages_are_fetched_and_then_none(void **state) {
        _cleanup_(web_done) Web w = web_new();
        size_t n;

        must_fetch(&w, "good");
        assert_int_equal(w.result.n_missing, w.archive->lock->n_packages);
        assert_int_equal(w.result.n_downloaded, w.archive->lock->n_packages);
        n = count_requests(&w, "\n");
        assert_int_equal(n, w.archive->lock->n_packages);
        must_fetch(&w, "good");
        assert_int_equal(w.result.n_missing, 0);
        assert_int_equal(count_requests(&w, "\n"), n); /* the network was left alone */
}

static void a_mirror_in_a_folder_does_as_well(void **state) {
        _cleanup_(web_done) Web w = web_new();
        ArchiveFixture *f = w.archive;

        if (fetch_missing(f->lock, f->store, &(FetchOptions){ .recipe = f->recipe }, &w.result, &f->error) < 0)
                fail_msg("%s", f->error.message);
        assert_int_equal(w.result.n_downloaded, f->lock->n_packages);
}

static void interrupted_downloads_go_on_where_they_stopped(void **state) {
        _cleanup_(web_done) Web w = web_new();

        have_the_small_ones(&w);
        leave_partial(&w, 1234, false);
        must_fetch(&w, "good");
        assert_int_equal(count_requests(&w, "good 1234 "), 1);
        assert_int_equal(w.result.bytes, w.big->size - 1234);
}

static void finished_but_unchecked_downloads_need_no_network(void **state) {
        _cleanup_(web_done) Web w = web_new();

        have_the_small_ones(&w);
        leave_partial(&w, w.big->size, false);
        must_fetch(&w, "good");
        assert_int_equal(count_requests(&w, "\n"), 0);
}

static void damaged_parts_are_thrown_away(void **state) {
        static const size_t sizes[] = { 1234, 0, 1 };
        _cleanup_(web_done) Web w = web_new();

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                size_t size = sizes[i] > 1 ? sizes[i] : w.big->size + sizes[i]; /* part, whole, too much */

                have_the_small_ones(&w);
                leave_partial(&w, size, true);
                must_fetch(&w, "good");
                assert_int_equal(count_requests(&w, "good 0 "), 1);
                fixture_run(w.archive, "rm -rf store/sha256/* server.log");
        }
}

static void servers_without_ranges_begin_anew(void **state) {
        _cleanup_(web_done) Web w = web_new();

        have_the_small_ones(&w);
        leave_partial(&w, 1234, false);
        must_fetch(&w, "noranges");
        assert_int_equal(count_requests(&w, "noranges 1234 "), 1);
        assert_int_equal(count_requests(&w, "noranges 0 "), 1);
}

static void cut_downloads_are_resumed(void **state) {
        _cleanup_(web_done) Web w = web_new();

        must_fetch(&w, "cut");
        assert_true(count_requests(&w, "cut 100000 ") == 1 && count_requests(&w, "cut 200000 ") == 1);
}

static void a_server_that_never_gets_to_the_end_is_given_up(void **state) {
        _cleanup_(web_done) Web w = web_new();

        have_the_small_ones(&w);
        must_refuse(&w, "cutall", REFUSAL_DOWNLOAD, "big");
        assert_true(count_requests(&w, "cutall") <= 8);
        must_fetch(&w, "good"); /* what it did send was right */
        assert_int_equal(count_requests(&w, "good 100000 "), 1);
}

static void poisoned_packages_are_refused(void **state) {
        _cleanup_(web_done) Web w = web_new();

        must_refuse(&w, "wrong", REFUSAL_HASH_MISMATCH, "/wrong/pool/main/");
        assert_int_equal(fetch_count_missing(w.archive->lock, w.archive->store, NULL), w.archive->lock->n_packages);
        must_refuse(&w, "wrong absent", REFUSAL_HASH_MISMATCH, "/wrong/pool/main/");
        must_fetch(&w, "wrong good"); /* an honest second mirror helps */
}

static void endless_answers_are_cut_off(void **state) {
        _cleanup_(web_done) Web w = web_new();
        uint64_t total = 0;

        for (size_t i = 0; i < w.archive->lock->n_packages; i++)
                total += w.archive->lock->packages[i].size;
        must_refuse(&w, "endless", REFUSAL_DOWNLOAD, "more than the");
        must_fetch(&w, "endless good");
        fixture_runf(w.archive, "test $(du -sb store | cut -f1) -lt %" PRIu64, total + 100000);
}

static void vanished_packages_name_package_address_and_remedy(void **state) {
        _cleanup_(web_done) Web w = web_new();

        have_the_small_ones(&w);
        must_refuse(&w, "absent", REFUSAL_DOWNLOAD, "HTTP status 404");
        assert_non_null(strstr(w.archive->error.message, "big 1"));
        assert_non_null(strstr(w.archive->error.message, w.big->path));
        assert_non_null(strstr(w.archive->error.hint, "--update"));
        assert_non_null(strstr(w.archive->error.hint, "--snapshot"));
        assert_non_null(strstr(w.archive->error.hint, "--store-from"));
        assert_int_equal(count_requests(&w, "absent"), 1); /* it will not come back in a second */
        must_fetch(&w, "absent good");
}

static void busy_servers_are_asked_three_times(void **state) {
        _cleanup_(web_done) Web w = web_new();

        have_the_small_ones(&w);
        must_refuse(&w, "busy", REFUSAL_DOWNLOAD, "HTTP status 503");
        assert_int_equal(count_requests(&w, "busy"), FETCH_TRIES);
}

static void stuck_servers_are_given_up(void **state) {
        _cleanup_(web_done) Web w = web_new();

        have_the_small_ones(&w);
        must_fetch(&w, "stuck good");
}

static void redirects_are_followed_but_not_for_ever(void **state) {
        _cleanup_(web_done) Web w = web_new();

        must_refuse(&w, "loop", REFUSAL_DOWNLOAD, "redirect");
        must_fetch(&w, "moved");
}

static void unreachable_servers_are_a_clear_refusal(void **state) {
        _cleanup_(web_done) Web w = web_new();

        fixture_write_recipe(w.archive, "http://127.0.0.1:1", "");
        assert_true(fetch_missing(w.archive->lock, w.archive->store,
                                  &(FetchOptions){ .recipe = w.archive->recipe, .backoff_msec = 1 }, NULL,
                                  &w.archive->error) < 0);
        assert_int_equal(w.archive->error.id, REFUSAL_DOWNLOAD);
}

static void another_store_serves_without_a_network(void **state) {
        _cleanup_(web_done) Web w = web_new(), other = web_new();
        ArchiveFixture *f = other.archive;
        const LockPackage *p = lock_find(f->lock, "wanted");
        _cleanup_free_ char *object = NULL;

        must_fetch(&w, "good");
        fixture_write_recipe(f, "http://127.0.0.1:1", "");
        FetchOptions opt = { .recipe = f->recipe, .store_from = w.archive->store->path, .backoff_msec = 1 };
        if (fetch_missing(f->lock, f->store, &opt, &other.result, &f->error) < 0)
                fail_msg("%s", f->error.message);
        assert_int_equal(other.result.n_copied, f->lock->n_packages);
        assert_int_equal(other.result.n_downloaded, 0);

        /* Any folder laid out as a mirror does as well; a poisoned one is refused. */
        fixture_run(f, "rm -rf store/sha256/*");
        opt.store_from = f->mirror;
        assert_int_equal(fetch_missing(f->lock, f->store, &opt, &other.result, &f->error), 0);
        fixture_run(f, "rm -rf store/sha256/*");
        opt.store_from = w.archive->store->path;
        object = store_object_full_path(w.archive->store, &p->sha256);
        assert_int_equal(io_write_file(AT_FDCWD, object, "poison", 6, 0644, NULL), 0);
        assert_true(fetch_missing(f->lock, f->store, &opt, NULL, &f->error) < 0);
        assert_int_equal(f->error.id, REFUSAL_HASH_MISMATCH);
        assert_non_null(strstr(f->error.message, object));
        opt.store_from = "/nonexistent";
        assert_true(fetch_missing(f->lock, f->store, &opt, NULL, &f->error) < 0);
        assert_int_equal(f->error.id, REFUSAL_NOT_FOUND);
}

static void a_lock_of_suites_without_mirror_is_refused(void **state) {
        _cleanup_(web_done) Web w = web_new();

        free(w.archive->lock->packages[0].suite);
        w.archive->lock->packages[0].suite = xstrdup("sid");
        must_refuse(&w, "good", REFUSAL_LOCK_STALE, "sid");
}

/* The machine's own proxies and the like have no say here. */
static int set_up(void **state) {
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *config = NULL;
        ArchiveFixture *f;

        (void) unsetenv("http_proxy");
        (void) unsetenv("all_proxy");
        (void) unsetenv("ALL_PROXY");
        if (io_temporary_folder("template", &template_folder, &e) < 0)
                return -1;
        config = path_join(template_folder, "machine.conf");
        f = &(ArchiveFixture){ .folder = template_folder };
        fixture_run(f, "echo 'Dir::Etc::parts \"/nonexistent\"; Dir::Etc::main \"/nonexistent\";' >machine.conf");
        if (setenv("APT_CONFIG", config, 1) < 0)
                return -1;
        fixture_make_template(template_folder);
        fixture_run(
                f,
                "mkdir -p b/DEBIAN b/usr; head -c 300000 /dev/urandom >b/usr/data; printf 'Package: big\\nVersion: 1\\n"
                "Architecture: all\\nMaintainer: A <a@example.org>\\nDescription: x\\n' >b/DEBIAN/control\n"
                "dpkg-deb -Znone -b --root-owner-group b mirror/pool/main >/dev/null");
        fixture_publish(f);
        f = fixture_new(template_folder, "[Packages]\nInstall=big\n");
        if (fixture_resolve(f, NULL) < 0)
                fail_msg("%s", f->error.message);
        if (lock_write(template_folder, f->lock, &e) < 0)
                fail_msg("%s", e.message);
        fixture_free(f);
        return 0;
}

static int tear_down(void **state) {
        (void) io_remove_tree(AT_FDCWD, template_folder, NULL);
        free(template_folder);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(all_packages_are_fetched_and_then_none),
                cmocka_unit_test(a_mirror_in_a_folder_does_as_well),
                cmocka_unit_test(interrupted_downloads_go_on_where_they_stopped),
                cmocka_unit_test(finished_but_unchecked_downloads_need_no_network),
                cmocka_unit_test(damaged_parts_are_thrown_away),
                cmocka_unit_test(servers_without_ranges_begin_anew),
                cmocka_unit_test(cut_downloads_are_resumed),
                cmocka_unit_test(a_server_that_never_gets_to_the_end_is_given_up),
                cmocka_unit_test(poisoned_packages_are_refused),
                cmocka_unit_test(endless_answers_are_cut_off),
                cmocka_unit_test(vanished_packages_name_package_address_and_remedy),
                cmocka_unit_test(busy_servers_are_asked_three_times),
                cmocka_unit_test(stuck_servers_are_given_up),
                cmocka_unit_test(redirects_are_followed_but_not_for_ever),
                cmocka_unit_test(unreachable_servers_are_a_clear_refusal),
                cmocka_unit_test(another_store_serves_without_a_network),
                cmocka_unit_test(a_lock_of_suites_without_mirror_is_refused),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
