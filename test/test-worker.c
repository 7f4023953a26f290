/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "folder-fixture.h"
#include "worker.h"

static int run(const WorkerOptions *opt, int (*body)(int, void *, Error *), void *userdata, Buffer *ret, Error *e) {
        _cleanup_(worker_freep) Worker *w = NULL;
        char type = 0;
        int r;

        assert_int_equal(worker_start(opt, body, userdata, &w, NULL), 0);
        while ((r = worker_receive(w, &type, ret, e)) == 0)
                if (type == 'B')
                        break;
        return r;
}

/* ---- talking ---- */

static int echo(int fd, void *userdata, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};
        char type;
        int r;

        while ((r = message_receive(fd, &type, &b, reterr)) == 0) {
                r = message_send(fd, type, b.data, b.size, reterr);
                if (r < 0 || type == 'Q')
                        return r;
        }
        return r < 0 ? r : 0;
}

static void messages_arrive_whole(void **state) {
        static const size_t sizes[] = { 0, 1, 4096, 1 << 20, WORKER_MESSAGE_MAX };
        _cleanup_(worker_freep) Worker *w = NULL;
        _cleanup_buffer_ Buffer b = {};
        char type = 0;

        assert_int_equal(worker_start(NULL, echo, NULL, &w, NULL), 0);
        assert_true(worker_fd(w) >= 0);
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_free_ char *data = xmalloc(sizes[i] + 1);

                memset(data, (int) ('a' + i), sizes[i]);
                assert_int_equal(worker_send(w, 'M', data, sizes[i], NULL), 0);
                assert_int_equal(worker_receive(w, &type, &b, NULL), 0);
                assert_int_equal(type, 'M');
                assert_int_equal(b.size, sizes[i]);
                assert_memory_equal(b.data, data, sizes[i]);
        }
        assert_int_equal(worker_send(w, 'Q', NULL, 0, NULL), 0);
        assert_int_equal(worker_receive(w, &type, &b, NULL), 0);
        assert_int_equal(worker_receive(w, &type, &b, NULL), 1);
}

static void too_much_is_never_sent(void **state) {
        _cleanup_(worker_freep) Worker *w = NULL;
        _cleanup_free_ char *data = xcalloc(1, WORKER_MESSAGE_MAX + 1);
        _cleanup_error_ Error e = {};

        assert_int_equal(worker_start(NULL, echo, NULL, &w, NULL), 0);
        assert_true(worker_send(w, 'M', data, WORKER_MESSAGE_MAX + 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_TOO_LARGE);
}

/* ---- ends ---- */

static int fails(int fd, void *userdata, Error *reterr) {
        error_set(reterr, ENOSPC, REFUSAL_EXPIRED, "it is \"over\"\nfor good");
        return error_hint(reterr, "Try later.");
}

static void its_error_is_ours(void **state) {
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error e = {};

        assert_int_equal(run(NULL, fails, NULL, &b, &e), -ENOSPC);
        assert_int_equal(e.id, REFUSAL_EXPIRED);
        assert_non_null(strstr(e.message, "over"));
        assert_string_equal(e.hint, "Try later.");
}

static int dies(int fd, void *userdata, Error *reterr) {
        const int *how = userdata;
        static const uint8_t half[] = { 200, 0, 0, 0, 'B', 'x' }, too_long[] = { 0xff, 0xff, 0xff, 0xff, 'B' };

        if (*how == 1)
                _exit(0);
        if (*how == 2)
                (void) !write(fd, half, sizeof half);
        if (*how == 3)
                (void) !write(fd, half, 3);
        if (*how == 4)
                (void) !write(fd, too_long, sizeof too_long);
        if (*how == 5)
                (void) message_send(fd, 'E', "no line of an error", 19, NULL);
        if (*how == 6)
                (void) message_send(fd, 'E', NULL, 0, NULL);
        signal(SIGKILL, SIG_DFL);
        kill(getpid(), SIGKILL);
        return 0;
}

static void dying_is_an_error_of_the_system(void **state) {
        static const Refusal ids[] = { REFUSAL_SYSTEM, REFUSAL_SYSTEM, REFUSAL_SYSTEM, REFUSAL_SYSTEM,
                                       REFUSAL_TOO_LARGE };

        for (int how = 0; how <= 6; how++) {
                _cleanup_buffer_ Buffer b = {};
                _cleanup_error_ Error e = {};

                assert_true(run(NULL, dies, &how, &b, &e) < 0);
                assert_true(e.id != REFUSAL_NONE && !isempty(e.message));
                if ((size_t) how < ELEMENTSOF(ids))
                        assert_int_equal(e.id, ids[how]);
        }
}

/* An error, where a signal would end the whole program. */
static void writing_to_the_dead_is_an_error(void **state) {
        _cleanup_(worker_freep) Worker *w = NULL;
        _cleanup_error_ Error e = {};
        char byte;
        int how = 1, r = 0;

        assert_int_equal(worker_start(NULL, dies, &how, &w, NULL), 0);
        while (read(worker_fd(w), &byte, 1) > 0)
                ;
        for (unsigned i = 0; r >= 0 && i < 100; i++)
                r = worker_send(w, 'M', "x", 1, &e);
        assert_true(r < 0);
        assert_int_equal(e.id, REFUSAL_SYSTEM);
}

static int sleeps(int fd, void *userdata, Error *reterr) {
        while (pause() < 0)
                ;
        return 0;
}

static void a_worker_that_is_not_wanted_any_more_is_ended(void **state) {
        _cleanup_(worker_freep) Worker *w = NULL;

        assert_int_equal(worker_start(NULL, sleeps, NULL, &w, NULL), 0);
        w = worker_free(w);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
}

/* ---- walls ---- */

typedef struct Trial {
        const char *folder; /* 0755, everybody's to read */
        const char *what;
} Trial;

/* "B" with the errno, 0 where it worked. */
static int tries(int fd, void *userdata, Error *reterr) {
        const Trial *t = userdata;
        _cleanup_free_ char *file = path_join(t->folder, "file"), *own = path_join(t->folder, "new");
        char *argv[] = { (char *) "/bin/true", NULL };
        uint32_t code;
        int r = 0;

        errno = 0;
        if (streq(t->what, "socket"))
                r = socket(AF_INET, SOCK_STREAM, 0);
        else if (streq(t->what, "unix-socket"))
                r = socket(AF_UNIX, SOCK_STREAM, 0);
        else if (streq(t->what, "execve"))
                r = execv("/bin/true", argv);
        else if (streq(t->what, "fork"))
                r = (int) syscall(SYS_fork);
        else if (streq(t->what, "ptrace"))
                r = (int) syscall(SYS_ptrace, 16, getppid(), 0, 0);
        else if (streq(t->what, "unshare"))
                r = (int) syscall(SYS_unshare, 0x10000000);
        else if (streq(t->what, "setuid"))
                r = setuid(0);
        else if (streq(t->what, "write"))
                r = open(file, O_WRONLY);
        else if (streq(t->what, "create"))
                r = open(own, O_WRONLY | O_CREAT, 0644);
        else if (streq(t->what, "create-tmp"))
                r = (r = open("/tmp/sealab-test-worker", O_WRONLY | O_CREAT, 0644)) < 0 ? r : (int) write(r, "x", 1);
        else if (streq(t->what, "shadow"))
                r = open("/etc/shadow", O_RDONLY);
        else if (streq(t->what, "read"))
                r = open(file, O_RDONLY);
        else if (streq(t->what, "os-release"))
                r = open("/etc/os-release", O_RDONLY);
        else if (streq(t->what, "files")) {
                for (unsigned i = 0; r >= 0 && i < 1000; i++)
                        r = dup(fd);
        } else if (streq(t->what, "inherited"))
                r = fcntl(40, F_GETFD);
        code = r < 0 ? (uint32_t) errno : 0;
        return message_send(fd, 'B', &code, sizeof code, reterr);
}

static uint32_t attempt(void **state, const char *what, bool network, bool readable) {
        char *folders[] = { *state, NULL };
        WorkerOptions o = { .network = network, .readable = readable ? folders : NULL };
        Trial t = { .folder = *state, .what = what };
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error e = {};
        uint32_t code;

        signal(SIGXFSZ, SIG_IGN);
        if (run(&o, tries, &t, &b, &e) != 0)
                return UINT32_MAX; /* ended by a signal: that holds, too */
        assert_int_equal(b.size, sizeof code);
        memcpy(&code, b.data, sizeof code);
        return code;
}

static int make_readable_folder(void **state) {
        _cleanup_free_ char *file = NULL;
        int r = make_folder(state);

        if (r < 0)
                return r;
        file = path_join(*state, "file");
        r = io_write_file(AT_FDCWD, file, "x", 1, 0666, NULL);
        return r < 0 || chmod(file, 0666) < 0 || chmod(*state, 0777) < 0 ? -1 : 0;
}

static void without_a_network_there_are_no_sockets(void **state) {
        assert_int_equal(attempt(state, "socket", false, false), EACCES);
        assert_int_equal(attempt(state, "unix-socket", false, false), EACCES);
        assert_int_equal(attempt(state, "socket", true, false), 0);
}

static void nothing_can_be_started(void **state) {
        static const char *const calls[] = { "execve", "fork", "ptrace", "unshare" };

        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                for (int network = 0; network < 2; network++)
                        assert_int_not_equal(attempt(state, calls[i], network, true), 0);
}

static bool has_landlock(void) {
        return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

/* Also what everybody may write. Without Landlock the size limit is left: a file can be made, but nothing put into it.
 */
static void nothing_can_be_written(void **state) {
        if (has_landlock()) {
                assert_int_not_equal(attempt(state, "write", true, true), 0);
                assert_int_not_equal(attempt(state, "create", true, true), 0);
        }
        assert_int_not_equal(attempt(state, "create-tmp", true, true), 0);
        (void) unlink("/tmp/sealab-test-worker");
}

static void what_is_read_is_what_is_allowed(void **state) {
        if (!has_landlock())
                skip();
        assert_int_equal(attempt(state, "read", false, true), 0);
        assert_int_equal(attempt(state, "read", false, false), EACCES);
        assert_int_equal(attempt(state, "os-release", false, false), 0);
}

static void it_is_not_root_any_more(void **state) {
        if (geteuid() != 0)
                skip();
        assert_int_not_equal(attempt(state, "shadow", true, true), 0);
        assert_int_not_equal(attempt(state, "setuid", true, true), 0);
}

static int says_who(int fd, void *userdata, Error *reterr) {
        uint32_t ids[4] = { getuid(), geteuid(), getgid(), (uint32_t) getgroups(0, NULL) };

        return message_send(fd, 'B', ids, sizeof ids, reterr);
}

static void no_id_is_left(void **state) {
        _cleanup_buffer_ Buffer b = {};
        uint32_t ids[4];

        if (geteuid() != 0)
                skip();
        assert_int_equal(run(NULL, says_who, NULL, &b, NULL), 0);
        memcpy(ids, b.data, sizeof ids);
        assert_true(ids[0] != 0 && ids[1] != 0 && ids[2] != 0 && ids[3] == 0);
}

static void an_unknown_user_is_refused(void **state) {
        WorkerOptions o = { .user = "no-such-user-here" };
        _cleanup_buffer_ Buffer b = {};
        _cleanup_error_ Error e = {};

        if (geteuid() != 0)
                skip();
        assert_true(run(&o, says_who, NULL, &b, &e) < 0);
        assert_int_equal(e.id, REFUSAL_MACHINE);
}

static void descriptors_are_few_and_its_own(void **state) {
        int fd = open("/etc/passwd", O_RDONLY); /* not close-on-exec */

        assert_true(fd >= 0 && dup2(fd, 40) == 40);
        assert_int_equal(attempt(state, "inherited", true, true), EBADF);
        assert_int_equal(attempt(state, "files", true, true), EMFILE);
        close(40);
        close(fd);
}

int main(void) {
#define in_folder(f) cmocka_unit_test_setup_teardown(f, make_readable_folder, remove_folder)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(messages_arrive_whole),
                cmocka_unit_test(too_much_is_never_sent),
                cmocka_unit_test(its_error_is_ours),
                cmocka_unit_test(dying_is_an_error_of_the_system),
                cmocka_unit_test(writing_to_the_dead_is_an_error),
                cmocka_unit_test(a_worker_that_is_not_wanted_any_more_is_ended),
                in_folder(without_a_network_there_are_no_sockets),
                in_folder(nothing_can_be_started),
                in_folder(nothing_can_be_written),
                in_folder(what_is_read_is_what_is_allowed),
                in_folder(it_is_not_root_any_more),
                cmocka_unit_test(no_id_is_left),
                cmocka_unit_test(an_unknown_user_is_refused),
                in_folder(descriptors_are_few_and_its_own),
        };

        return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
