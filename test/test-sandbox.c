/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* In real namespaces: as whoever runs the test, and as root once more as an ordinary user with subordinate ids where
 * one can be had. The children are copies of this process (fork), so a failed assertion in them could not be reported:
 * they return errors instead. */

#include "tree-fixture.h"

#include <arpa/inet.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "process.h"
#include "sandbox.h"

typedef struct Shared {
        SandboxMode mode;
        char *folder; /* of the host */
        bool usable;
        char *why;
} Shared;

static SandboxMode mode_of(void **state) {
        const Shared *s = *state;

        if (!s->usable) {
                print_message("%s\n", s->why);
                skip();
        }
        return s->mode;
}

#define CHECK(expression)                                                                                              \
        do {                                                                                                           \
                if (!(expression))                                                                                     \
                        return error_set(reterr, EPROTO, REFUSAL_DIFFERENT, "line %d: %s", __LINE__, #expression);     \
        } while (0)

static void run(void **state, SandboxFunc inside, SandboxReadFunc reader, void *userdata) {
        _cleanup_error_ Error e = {};

        assert_done(sandbox_run(mode_of(state), inside, reader, userdata, &e), &e);
}

/* ---- what the place is like ---- */

static int look_around(Sandbox *s, void *userdata, Error *reterr) {
        static const char *const host[] = { "/host/etc/sealab-x", "/host/tmp/sealab-x", "/host/usr/sealab-x",
                                            "/host/var/tmp/sealab-x" };
        struct stat st;

        CHECK(getuid() == 0 && geteuid() == 0 && getgid() == 0);
        CHECK(getgroups(0, NULL) == 0);
        CHECK(getpid() == 1);
        CHECK(streq(s->workspace, "/work") && stat("/work", &st) == 0 && S_ISDIR(st.st_mode));
        CHECK(fstat(s->workspace_fd, &st) == 0 && S_ISDIR(st.st_mode));
        CHECK(rmdir("/work") == 0 && mkdir("/work", 0755) == 0); /* it is empty */
        for (size_t i = 0; i < ELEMENTSOF(host); i++)
                CHECK(open(host[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 && (errno == EROFS || errno == EACCES));
        CHECK(chmod("/host/etc/passwd", 0) < 0 && (errno == EROFS || errno == EPERM));
        CHECK(access("/host/etc/passwd", R_OK) == 0);
        return 0;
}

static void sandbox_is_root_in_a_place_of_its_own(void **state) {
        run(state, look_around, NULL, NULL);
}

static int use_all_ids(Sandbox *s, void *userdata, Error *reterr) {
        static const uid_t ids[] = { 0, 1, 6, 999, 65534, 65535 };
        struct stat st;

        for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
                int fd = open("/work/x", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                CHECK(fd >= 0 && fchown(fd, ids[i], ids[i]) == 0 && fchmod(fd, 06755) == 0 && fstat(fd, &st) == 0);
                CHECK(st.st_uid == ids[i] && st.st_gid == ids[i] && (st.st_mode & 07777) == 06755);
                close(fd);
        }
        return 0;
}

static void every_id_of_a_target_can_own_files(void **state) {
        run(state, use_all_ids, NULL, NULL);
}

static int find_no_network(Sandbox *s, void *userdata, Error *reterr) {
        const int *port = userdata;
        struct sockaddr_in there = { .sin_family = AF_INET,
                                     .sin_port = htons((uint16_t) *port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct if_nameindex *names = if_nameindex();
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        CHECK(names && names[0].if_index && streq(names[0].if_name, "lo") && !names[1].if_index);
        if_freenameindex(names);
        CHECK(fd >= 0 && connect(fd, (struct sockaddr *) &there, sizeof(there)) < 0);
        there.sin_addr.s_addr = htonl(0x08080808);
        CHECK(connect(fd, (struct sockaddr *) &there, sizeof(there)) < 0 && errno == ENETUNREACH);
        close(fd);
        return 0;
}

static void there_is_no_network(void **state) {
        struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_close_ int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                            client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(here);
        int port;

        assert_int_equal(bind(server, (struct sockaddr *) &here, size), 0);
        assert_int_equal(listen(server, 1), 0);
        assert_int_equal(getsockname(server, (struct sockaddr *) &here, &size), 0);
        assert_int_equal(connect(client, (struct sockaddr *) &here, size), 0); /* it can be reached from outside */
        port = ntohs(here.sin_port);
        run(state, find_no_network, NULL, &port);
}

static int write_everywhere(Sandbox *s, void *userdata, Error *reterr) {
        const Shared *shared = userdata;
        _cleanup_free_ char *host = xasprintf("/host%s/written", shared->folder);

        CHECK(open(host, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0);
        CHECK(mkdir("/work/left", 0755) == 0 && mkdir("/tmp/left", 0755) == 0);
        return 0;
}

static int find_nothing(Sandbox *s, void *userdata, Error *reterr) {
        CHECK(access("/work/left", F_OK) < 0 && access("/tmp/left", F_OK) < 0);
        return 0;
}

static void nothing_is_left_behind(void **state) {
        Shared *s = *state;
        _cleanup_free_ char *before = NULL, *after = NULL, *written = path_join(s->folder, "written");

        assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &before, NULL, NULL), 0);
        run(state, write_everywhere, NULL, s);
        run(state, find_nothing, NULL, NULL);
        assert_int_equal(io_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &after, NULL, NULL), 0);
        assert_string_equal(after, before);
        assert_false(io_exists(AT_FDCWD, written));
        assert_false(io_exists(AT_FDCWD, "/tmp/host"));
        assert_false(io_exists(AT_FDCWD, "/tmp/left"));
}

/* ---- what comes back ---- */

typedef struct Flow {
        uint64_t wanted, received;
        bool wrong;
} Flow;

static int send_much(Sandbox *s, void *userdata, Error *reterr) {
        const Flow *f = userdata;
        _cleanup_free_ uint8_t *chunk = xmalloc(1 << 20);
        int r = 0;

        for (uint64_t done = 0; r >= 0 && done < f->wanted; done += 1 << 20) {
                memset(chunk, (int) (done >> 20) & 0xff, 1 << 20);
                r = io_write_all(s->output_fd, chunk, 1 << 20, reterr);
        }
        return r;
}

static int receive_much(int fd, void *userdata, Error *reterr) {
        Flow *f = userdata;
        uint8_t chunk[65536];
        ssize_t n;

        while ((n = read(fd, chunk, sizeof(chunk))) > 0)
                for (ssize_t i = 0; i < n; i++, f->received++)
                        f->wrong = f->wrong || chunk[i] != ((f->received >> 20) & 0xff);
        return 0;
}

static void large_stream_arrives_whole(void **state) {
        Flow f = { .wanted = UINT64_C(300) << 20 };

        run(state, send_much, receive_much, &f);
        assert_int_equal(f.received, f.wanted);
        assert_false(f.wrong);
}

static void stream_without_a_reader_is_discarded(void **state) {
        Flow f = { .wanted = UINT64_C(8) << 20 };

        run(state, send_much, NULL, &f);
}

static int fail_with_text(Sandbox *s, void *userdata, Error *reterr) {
        error_set(reterr, ENOTEMPTY, REFUSAL_SCRIPT_FAILED, "first\nsecond\t%s", (const char *) userdata);
        return error_hint(reterr, "do\nthis");
}

static int give_up(int fd, void *userdata, Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the reader gave up");
}

static void error_inside_reaches_the_parent_word_for_word(void **state) {
        static const SandboxReadFunc readers[] = { NULL, give_up }; /* a reader that fails too is only a consequence */

        for (size_t i = 0; i < ELEMENTSOF(readers); i++) {
                _cleanup_error_ Error e = {};
                char end[] = "end";

                assert_int_equal(sandbox_run(mode_of(state), fail_with_text, readers[i], end, &e), -ENOTEMPTY);
                assert_int_equal(e.id, REFUSAL_SCRIPT_FAILED);
                assert_string_equal(e.message, "first\nsecond\tend");
                assert_string_equal(e.hint, "do\nthis");
        }
}

static void long_error_does_not_block_the_stream(void **state) {
        _cleanup_free_ char *text = xcalloc(200001, 1); /* more than a pipe holds */
        _cleanup_error_ Error e = {};

        memset(text, 'x', 200000);
        assert_int_equal(sandbox_run(mode_of(state), fail_with_text, receive_much, text, &e), -ENOTEMPTY);
        assert_int_equal(strlen(e.message), strlen("first\nsecond\t") + 200000);
}

static void reader_that_fails_is_reported(void **state) {
        Flow f = { .wanted = UINT64_C(8) << 20 };
        _cleanup_error_ Error e = {};

        assert_int_equal(sandbox_run(mode_of(state), send_much, give_up, &f, &e), -EBADMSG);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

static int die(Sandbox *s, void *userdata, Error *reterr) {
        __builtin_trap();
        return 0;
}

static int leave(Sandbox *s, void *userdata, Error *reterr) {
        _exit(3);
}

static void crash_inside_is_no_success(void **state) {
        static const SandboxFunc ways[] = { die, leave };

        for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
                _cleanup_error_ Error e = {};

                assert_refused(sandbox_run(mode_of(state), ways[i], NULL, NULL, &e), &e, REFUSAL_SYSTEM);
                if (i == 0)
                        assert_non_null(strstr(e.message, "signal"));
        }
}

/* ---- how it ends ---- */

static int wait_for_ever(Sandbox *s, void *userdata, Error *reterr) {
        /* A daemon, as a maintainer script may start it. It holds the pipe's end as well. */
        if (fork() == 0) {
                setsid();
                signal(SIGTERM, SIG_IGN);
                signal(SIGHUP, SIG_IGN);
                for (;;)
                        pause();
        }
        CHECK(write(*(int *) userdata, "x", 1) == 1);
        for (;;)
                pause();
}

/* Everything in the sandbox holds the write end of a pipe: it reads as closed once all are gone. */
static void assert_all_ended(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        char byte;

        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(read(fd, &byte, 1), 0);
}

static void sandbox_ends_with_whoever_started_it(void **state) {
        static const int signals[] = { SIGKILL, SIGTERM, SIGINT };
        SandboxMode mode = mode_of(state);

        for (size_t i = 0; i < ELEMENTSOF(signals); i++) {
                int p[2], status;
                char byte;
                pid_t pid;

                assert_int_equal(pipe2(p, O_CLOEXEC), 0);
                pid = fork();
                assert_true(pid >= 0);
                if (pid == 0) {
                        close(p[0]);
                        (void) sandbox_run(mode, wait_for_ever, NULL, &p[1], NULL);
                        _exit(1);
                }
                close(p[1]);
                assert_int_equal(read(p[0], &byte, 1), 1);
                assert_int_equal(kill(pid, signals[i]), 0);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
                assert_all_ended(p[0]);
                close(p[0]);
        }
}

static int leave_a_daemon(Sandbox *s, void *userdata, Error *reterr) {
        pid_t pid = fork();

        if (pid == 0) {
                setsid();
                close(s->output_fd); /* else its end would never come */
                for (;;)
                        pause();
        }
        return pid < 0 ? error_errno(reterr, errno, "fork") : 0;
}

static void daemons_end_with_the_sandbox(void **state) {
        SandboxMode mode = mode_of(state);
        _cleanup_error_ Error e = {};
        int p[2];

        assert_int_equal(pipe2(p, O_CLOEXEC), 0);
        assert_done(sandbox_run(mode, leave_a_daemon, NULL, NULL, &e), &e);
        close(p[1]);
        assert_all_ended(p[0]);
        close(p[0]);
}

/* ---- programs ---- */

typedef struct Lines {
        char **lines;
} Lines;

static void take_line(const char *line, void *userdata) {
        strv_extend(&((Lines *) userdata)->lines, line);
}

/* A root that is the host's /usr, read-only. */
static int prepare_root(Sandbox *s, Error *reterr) {
        static const char *const links[] = { "bin", "lib", "lib64", "sbin" };
        int r;

        CHECK(mkdir("/work/root", 0755) == 0);
        for (size_t i = 0; i < ELEMENTSOF(links); i++) {
                _cleanup_free_ char *path = path_join("/work/root", links[i]), *target = path_join("usr", links[i]);

                CHECK(symlink(target, path) == 0);
        }
        r = sandbox_bind_read_only(s, "/usr", "/work/root/usr", reterr);
        return r < 0 ? r : sandbox_prepare_root(s, "/work/root", reterr);
}

static int command(Sandbox *s, const char *script, const char *input, char **ret, Error *reterr) {
        char *argv[] = { OWNED("sh"), OWNED("-c"), (char *) script, NULL };
        char *env[] = { OWNED("EXTRA=yes"), NULL };

        return sandbox_command(
                s,
                &(SandboxCommand){ .root = "/work/root", .argv = argv, .input = input, .extra_env = env, .epoch = 42 },
                ret, reterr);
}

static int run_programs(Sandbox *s, void *userdata, Error *reterr) {
        static const struct {
                const char *script, *input, *output;
        } cases[] = {
                { "echo $SOURCE_DATE_EPOCH $LC_ALL $HOME $DEBIAN_FRONTEND $EXTRA; pwd; umask", NULL,
                  "42 C.UTF-8 /root noninteractive yes\n/\n0022\n" },
                { "env | cut -d= -f1 | sort | tr '\\n' ' '", NULL,
                  "DEBCONF_NONINTERACTIVE_SEEN DEBIAN_FRONTEND EXTRA HOME LC_ALL PATH PWD SOURCE_DATE_EPOCH TERM TZ " },
                { "cat", "fed", "fed" },
                { "cat", NULL, "" },
                { "echo out; echo err >&2", NULL, "out\nerr\n" },
                { "ls -d /host /work 2>/dev/null; ls /sys", NULL, "" },
                { "ls /dev | tr '\\n' ' '", NULL,
                  "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero " },
                { "head -c 3 /dev/zero | wc -c; echo x >/dev/null; [ -r /proc/self/status ] && echo proc", NULL,
                  "3\nproc\n" },
                { "touch /usr/x 2>/dev/null || echo read-only; touch /tmp/x /run/x /x && echo writable", NULL,
                  "read-only\nwritable\n" },
                { "for f in /proc/$$/fd/*; do [ ! -e $f ] || echo ${f##*/}; done", NULL, "0\n1\n2\n" },
                { "cat /proc/self/mountinfo | grep -c ' /host' ; true", NULL, "0\n" },
        };
        int r = prepare_root(s, reterr), leaked = dup(2); /* without O_CLOEXEC, as a library may leave one */

        CHECK(leaked >= 0);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *output = NULL;

                r = command(s, cases[i].script, cases[i].input, &output, reterr);
                if (r >= 0 && !streq(output, cases[i].output))
                        return error_set(reterr, EPROTO, REFUSAL_DIFFERENT, "%s printed \"%s\"", cases[i].script,
                                         output);
        }
        return r;
}

static void programs_run_in_a_root_of_their_own(void **state) {
        run(state, run_programs, NULL, NULL);
}

static int fail_programs(Sandbox *s, void *userdata, Error *reterr) {
        char *argv[] = { OWNED("sh"), OWNED("-c"), OWNED("printf 'one\\ntwo\\nlast'"), NULL };
        _cleanup_error_ Error status = {}, signalled = {}, absent = {}, root = {};
        _cleanup_free_ char *output = NULL;
        Lines l = {};
        int r = prepare_root(s, reterr);

        if (r < 0)
                return r;
        CHECK(command(s, "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; exit 7", NULL, &output,
                      &status) < 0);
        CHECK(status.id == REFUSAL_TOOL_FAILED && strstr(status.message, "status 7"));
        CHECK(strstr(status.message, "line 31\n") && !strstr(status.message, "line 30\n"));
        CHECK(output && startswith(output, "line 1\n"));
        CHECK(command(s, "kill -TERM $$", NULL, NULL, &signalled) < 0 && strstr(signalled.message, "signal 15"));
        CHECK(sandbox_command(s, &(SandboxCommand){ .root = "/work/root", .argv = (char *[]){ OWNED("absent"), NULL } },
                              NULL, &absent) < 0);
        CHECK(absent.id == REFUSAL_TOOL_FAILED && strstr(absent.message, "127"));
        CHECK(sandbox_command(s, &(SandboxCommand){ .root = "/work/nowhere", .argv = argv }, NULL, &root) < 0);
        CHECK(root.id == REFUSAL_TOOL_FAILED);
        CHECK(sandbox_command(
                      s, &(SandboxCommand){ .root = "/work/root", .argv = argv, .line = take_line, .userdata = &l },
                      NULL, reterr) >= 0);
        CHECK(strv_length(l.lines) >= 2 && streq(l.lines[0], "one") && streq(l.lines[1], "two"));
        strv_free(l.lines);
        return 0;
}

static void program_that_fails_says_why(void **state) {
        run(state, fail_programs, NULL, NULL);
}

/* ---- who runs it ---- */

static void detected_mode_is_the_one_of_the_caller(void **state) {
        _cleanup_error_ Error e = {};
        SandboxMode mode;

        (void) mode_of(state);
        assert_done(sandbox_detect(&mode, &e), &e);
        assert_int_equal(mode, geteuid() == 0 ? SANDBOX_ROOT : SANDBOX_SUBIDS);
        assert_string_not_equal(sandbox_mode_name(mode), "unknown");
}

static int setup(void **state) {
        Shared *s = xnew(Shared, 1);
        _cleanup_error_ Error e = {};

        if (io_temporary_folder("test-sandbox", &s->folder, NULL) < 0)
                return -1;
        s->usable = sandbox_detect(&s->mode, &e) >= 0;
        s->why = s->usable ? NULL : xasprintf("no sandbox here: %s", e.message);
        *state = s;
        return 0;
}

static int teardown(void **state) {
        Shared *s = *state;
        int r = io_remove_tree(AT_FDCWD, s->folder, NULL);

        free(s->folder);
        free(s->why);
        free(s);
        return r;
}

static int run_all(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(detected_mode_is_the_one_of_the_caller),
                cmocka_unit_test(sandbox_is_root_in_a_place_of_its_own),
                cmocka_unit_test(every_id_of_a_target_can_own_files),
                cmocka_unit_test(there_is_no_network),
                cmocka_unit_test(nothing_is_left_behind),
                cmocka_unit_test(large_stream_arrives_whole),
                cmocka_unit_test(stream_without_a_reader_is_discarded),
                cmocka_unit_test(error_inside_reaches_the_parent_word_for_word),
                cmocka_unit_test(long_error_does_not_block_the_stream),
                cmocka_unit_test(reader_that_fails_is_reported),
                cmocka_unit_test(crash_inside_is_no_success),
                cmocka_unit_test(sandbox_ends_with_whoever_started_it),
                cmocka_unit_test(daemons_end_with_the_sandbox),
                cmocka_unit_test(programs_run_in_a_root_of_their_own),
                cmocka_unit_test(program_that_fails_says_why),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}

/* An ordinary user who has subordinate ids, so that root tests the other mode as well. */
static bool become_user(void) {
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;

        if (io_read_file(AT_FDCWD, "/etc/subuid", 1 << 20, &text, NULL, NULL) < 0)
                return false;
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines) {
                _cleanup_free_ char *name = xstrndup(*line, strcspn(*line, ":"));
                const struct passwd *user = getpwnam(name);

                if (user && user->pw_uid != 0 && initgroups(name, user->pw_gid) == 0 &&
                    setresgid(user->pw_gid, user->pw_gid, user->pw_gid) == 0)
                        return setresuid(user->pw_uid, user->pw_uid, user->pw_uid) == 0;
        }
        return false;
}

int main(void) {
        int failed, status = 0;
        pid_t pid;

        failed = run_all();
        if (geteuid() != 0)
                return failed;
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                if (!become_user()) {
                        print_message("no user here has subordinate ids (usermod --add-subuids): root's mode only\n");
                        exit(0);
                }
                print_message("the same as user %u\n", geteuid());
                exit(run_all());
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return 1;
        return failed + (WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
