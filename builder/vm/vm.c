/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Watching is polling two files that QEMU appends to: the console, and the guest's report. A verdict of the console
 * that it is up only counts where no report comes (systemd older than 256), after a grace period. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "io.h"
#include "log.h"
#include "prepare.h"
#include "process.h"

#define SECOND UINT64_C(1000000)
#define TICK_USEC (SECOND / 4)
/* After the console says it is up, for a report to begin: slow machines need long between two units. */
#define REPORT_GRACE_USEC (20 * SECOND)
/* After a failure marker: what the console says next is usually the explanation. */
#define FAILURE_GRACE_USEC (2 * SECOND)
#define POWER_OFF_USEC (90 * SECOND)
#define SSH_TRIES 30
#define CONSOLE_LINES 15

typedef struct Watch {
        const VmOptions *options;
        VmFolder *folder;
        VmResult *result;
        Machine *machine;
        uint64_t start_usec;
        GuestVerdict verdict;
        uint64_t verdict_usec;
        char *why; /* owned */
        char *console;
        size_t console_size;
        MachineState state;
} Watch;

static void watch_done(Watch *w) {
        machine_free(w->machine);
        free(w->why);
        free(w->console);
}

void vm_result_done(VmResult *r) {
        guest_report_done(&r->report);
        strv_free(r->failed_units);
        free(r->console);
        *r = (VmResult){};
}

static int read_report(Watch *w, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        if (!io_exists(w->folder->fd, MACHINE_REPORT_LOG))
                return 0;
        r = io_read_file(w->folder->fd, MACHINE_REPORT_LOG, GUEST_REPORT_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        guest_report_done(&w->result->report);
        guest_report_parse(text, size, &w->result->report);
        return 0;
}

static int read_console(Watch *w, Error *reterr) {
        _cleanup_free_ char *why = NULL;
        GuestVerdict verdict;
        char *text = NULL;
        size_t size;
        int r;

        if (!io_exists(w->folder->fd, MACHINE_CONSOLE_LOG))
                return 0;
        r = io_read_file(w->folder->fd, MACHINE_CONSOLE_LOG, GUEST_CONSOLE_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        free(w->console);
        w->console = text;
        w->console_size = size;
        verdict = guest_judge_console(text, size, &why);
        if (verdict != w->verdict) {
                w->verdict = verdict;
                w->verdict_usec = now_usec();
                free(w->why);
                w->why = TAKE_PTR(why);
        }
        return 0;
}

static bool verdict_holds_since(const Watch *w, GuestVerdict verdict, uint64_t usec) {
        return w->verdict == verdict && now_usec() - w->verdict_usec >= usec;
}

static uint64_t timeout_usec(const VmOptions *o) {
        return (o->timeout_seconds ?: VM_TIMEOUT_DEFAULT_SECONDS) * SECOND;
}

static int boot_failed(Watch *w, const char *fmt, ...) _printf_(2, 3);

/* Remembers the first reason; -EIO, because the loop below ends there. */
static int boot_failed(Watch *w, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        free(w->why);
        w->why = xvasprintf(fmt, ap);
        va_end(ap);
        return -EIO;
}

/* 1: it is up; 0: not decided; -EIO: it will not come up (w->why). */
static int decide(Watch *w) {
        const GuestReport *report = &w->result->report;

        if (report->complete && w->options->keys && !report->secure_boot)
                return boot_failed(w, "it came up, but with Secure Boot off");
        if (report->complete)
                return report->boot_complete ? 1 : boot_failed(w, "boot-complete.target was not reached");
        if (report->emergency)
                return boot_failed(w, "it fell into emergency mode");
        if (verdict_holds_since(w, GUEST_FAILED, FAILURE_GRACE_USEC))
                return -EIO;
        if (w->state == MACHINE_OFF)
                return boot_failed(w, "it switched itself off");
        if (w->state == MACHINE_RESET)
                return boot_failed(w, "it restarted by itself");
        if (!report->hello && verdict_holds_since(w, GUEST_UP, REPORT_GRACE_USEC))
                return 1;
        if (now_usec() - w->start_usec > timeout_usec(w->options)) {
                _cleanup_free_ char *jobs = report->jobs ? strv_join(report->jobs, ", ") : NULL;

                return boot_failed(w, "it was not up after %" PRIu64 " s (%s)%s%s", timeout_usec(w->options) / SECOND,
                                   accelerator_name(w->result->accelerator), jobs ? "; still waiting for: " : "",
                                   jobs ?: "");
        }
        return 0;
}

static int explain_failure(Watch *w, Error *reterr) {
        _cleanup_free_ char *failed = w->result->failed_units ? strv_join(w->result->failed_units, ", ") : NULL;

        error_set(reterr, EIO, REFUSAL_BOOT_FAILED, "%s did not boot: %s%s%s%s%s", w->options->disk, w->why,
                  failed ? "\nfailed units: " : "", failed ?: "",
                  isempty(w->result->console) ? "\n(nothing on its console)" : "\nlast lines of its console:\n",
                  w->result->console);
        if (w->options->log)
                return error_hint(reterr, "The whole console is in %s.", w->options->log);
        return error_hint(reterr, "--log FILE keeps the whole console; --console shows it live.");
}

/* What is worth keeping of the two files, whatever the end was. */
static int collect(Watch *w, Error *reterr) {
        _cleanup_free_ char *clean = guest_clean_console(w->console ?: "", w->console_size);

        strv_free(w->result->failed_units);
        w->result->failed_units = w->result->report.failed_units
                                          ? strv_copy(w->result->report.failed_units)
                                          : guest_console_failed_units(w->console ?: "", w->console_size);
        free(w->result->console);
        w->result->console = last_lines(clean, CONSOLE_LINES);
        if (w->options->log)
                return io_write_file(AT_FDCWD, w->options->log, w->console ?: "", w->console_size, 0644, reterr);
        return 0;
}

/* 1: up, 0: not up (w->why), 2: the accelerator does not work; negative: no verdict possible. */
static int watch(Watch *w, Error *reterr) {
        int r, verdict = 0;

        while (verdict == 0) {
                r = machine_wait(w->machine, TICK_USEC, &w->state, reterr);
                if (r >= 0)
                        r = read_report(w, reterr);
                if (r >= 0)
                        r = read_console(w, reterr);
                if (r < 0)
                        return r;
                verdict = decide(w);
                if (verdict == 0 && w->state == MACHINE_BROKEN)
                        return 2;
        }
        w->result->seconds = (double) (now_usec() - w->start_usec) / SECOND;
        w->result->booted = verdict > 0;
        r = collect(w, reterr);
        return r < 0 ? r : verdict > 0;
}

static int wait_until_off(Watch *w, uint64_t usec, Error *reterr) {
        uint64_t end = now_usec() + usec;

        while (w->state == MACHINE_RUNS && now_usec() < end) {
                int r = machine_wait(w->machine, TICK_USEC, &w->state, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* The guest was told to switch itself off; the power button is for one that cannot be told. */
static int end_cleanly(Watch *w, Error *reterr) {
        bool was_told = w->result->report.complete && !w->options->ssh;
        int r = 0;

        if (was_told)
                r = wait_until_off(w, POWER_OFF_USEC, reterr);
        if (r >= 0 && w->state == MACHINE_RUNS) {
                machine_press_power(w->machine);
                r = wait_until_off(w, POWER_OFF_USEC, reterr);
        }
        w->result->clean_shutdown = w->state == MACHINE_OFF;
        return r;
}

/* Somebody else could take it before QEMU does; then QEMU says so and the user tries again. */
static int find_free_port(unsigned *ret, Error *reterr) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(address);

        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            getsockname(fd, (struct sockaddr *) &address, &size) < 0)
                return error_errno(reterr, errno, "cannot find a free port for ssh");
        *ret = ntohs(address.sin_port);
        return 0;
}

static char **ssh_arguments(const Watch *w, unsigned port) {
        static const char *const options[] = { "-q",
                                               "-o",
                                               "StrictHostKeyChecking=no",
                                               "-o",
                                               "UserKnownHostsFile=/dev/null",
                                               "-o",
                                               "IdentitiesOnly=yes",
                                               "-o",
                                               "ConnectTimeout=20",
                                               "-i",
                                               NULL };
        char **argv = NULL;

        strv_extend(&argv, "ssh");
        strv_extend_strv(&argv, (char *const *) options);
        strv_extend(&argv, w->folder->key);
        strv_extend(&argv, "-p");
        strv_extendf(&argv, "%u", port);
        strv_extend(&argv, "root@127.0.0.1");
        return argv;
}

/* With our own terminal, unlike process_run(). Returns the exit status. */
static int run_in_foreground(char *const *argv) {
        pid_t pid;
        int status;

        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                sigset_t none;

                sigemptyset(&none);
                (void) sigprocmask(SIG_SETMASK, &none, NULL);
                execvp(argv[0], argv);
                _exit(127);
        }
        if (pid < 0)
                return 127;
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return 127;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int ssh_session(Watch *w, unsigned port, Error *reterr) {
        _cleanup_strv_free_ char **argv = ssh_arguments(w, port), **probe = strv_copy(argv), **off = strv_copy(argv);
        int r, tries = 0;

        if (w->result->report.complete && !w->result->report.ssh_server) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "there is no ssh server in this image");
                return error_hint(reterr, "Add openssh-server to Install= of the recipe, or use --console.");
        }
        strv_extend(&probe, "true");
        while (run_in_foreground(probe) != 0) {
                r = machine_wait(w->machine, SECOND, &w->state, reterr);
                if (r < 0)
                        return r;
                if (w->state != MACHINE_RUNS || ++tries == SSH_TRIES)
                        return error_set(reterr, ETIMEDOUT, REFUSAL_BOOT_FAILED,
                                         "the system is up, but its ssh server does not answer");
        }
        strv_extend_strv(&argv, w->options->ssh_command);
        w->result->ssh_status = run_in_foreground(argv);
        strv_extend(&off, "systemctl poweroff");
        (void) run_in_foreground(off);
        return 0;
}

static void fill_machine_options(MachineOptions *ret, const VmOptions *o, const VmFolder *f, const Firmware *firmware,
                                 VmAccelerator accelerator) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);

        *ret = (MachineOptions){
                .folder = f->path,
                .firmware = firmware,
                .secure_boot = o->keys,
                .kvm = accelerator == VM_ACCELERATOR_KVM,
                .disk = true,
                .tpm = o->tpm,
                .disposable = f->temporary,
                .bus = o->bus,
                .memory = o->memory ?: VM_MEMORY_DEFAULT,
                .cpus = o->cpus ?: (unsigned) MAX(MIN(online, 2L), 1L),
                .network = o->network,
                .rtc = o->rtc,
                .n_smbios = f->n_smbios,
                .interactive = o->console,
        };
}

/* 2: the accelerator does not work. */
static int run_watched(const VmOptions *o, VmFolder *f, MachineOptions *machine, VmResult *ret, Error *reterr) {
        _cleanup_(watch_done) Watch w = { .options = o, .folder = f, .result = ret };
        int r = 0;

        if (o->ssh)
                r = find_free_port(&machine->ssh_port, reterr);
        /* What an earlier boot left must not speak for this one. */
        if (r >= 0)
                r = io_unlink(f->fd, MACHINE_REPORT_LOG, reterr);
        if (r >= 0)
                r = io_unlink(f->fd, MACHINE_CONSOLE_LOG, reterr);
        if (r >= 0)
                r = machine_start(machine, &w.machine, reterr);
        if (r < 0)
                return r;
        w.start_usec = now_usec();
        if (o->started)
                o->started(o->userdata, ret->accelerator);
        r = watch(&w, reterr);
        if (r < 0)
                return r;
        if (r == 2) {
                _cleanup_free_ char *complaint = machine_complaint(w.machine);

                error_set(reterr, EIO, REFUSAL_TOOL_FAILED, "the virtual machine broke down: %s", complaint);
                return 2;
        }
        if (r == 0)
                return explain_failure(&w, reterr);
        if (o->ssh)
                r = ssh_session(&w, machine->ssh_port, reterr);
        return r < 0 ? r : end_cleanly(&w, reterr);
}

static int run_interactive(const MachineOptions *machine, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = NULL;
        int r;

        log_info("The machine's console, with a root shell once it is up. Ctrl-A X switches it off, Ctrl-A H helps.");
        r = machine_start(machine, &m, reterr);
        return r < 0 ? r : machine_wait_end(m, reterr);
}

static int boot_in(const VmOptions *o, VmFolder *f, VmResult *ret, Error *reterr) {
        _cleanup_firmware_ Firmware firmware = {};
        bool power_off = !o->console && !o->ssh;
        MachineOptions machine;
        int r;

        r = firmware_find(&firmware, reterr);
        if (r >= 0 && o->keys && !firmware.secure_code) {
                error_set(reterr, ENOENT, REFUSAL_MACHINE, "there is no OVMF with Secure Boot beside %s",
                          firmware.code);
                r = error_hint(reterr, "apt-get install ovmf");
        }
        if (r >= 0)
                r = accelerator_choose(o->accelerator, &firmware, &ret->accelerator, reterr);
        if (r >= 0)
                r = vm_folder_fill(f, o, &firmware, reterr);
        if (r >= 0)
                r = vm_folder_write_smbios(f, o, power_off, reterr);
        if (r < 0)
                return r;
        fill_machine_options(&machine, o, f, &firmware, ret->accelerator);
        if (o->console)
                return run_interactive(&machine, reterr);

        r = run_watched(o, f, &machine, ret, reterr);
        if (r == 2 && ret->accelerator == VM_ACCELERATOR_KVM && o->accelerator == VM_ACCELERATOR_AUTO) {
                /* The probe only started the firmware; a kernel asks for more. */
                log_info("KVM gave up on this system: once more in software emulation, which is slower");
                error_done(reterr);
                accelerator_remember(VM_ACCELERATOR_TCG);
                ret->accelerator = VM_ACCELERATOR_TCG;
                machine.kvm = false;
                r = run_watched(o, f, &machine, ret, reterr);
        }
        return r == 2 ? -EIO : r;
}

int vm_boot(const VmOptions *o, VmResult *ret, Error *reterr) {
        _cleanup_error_ Error unseen = {};
        sigset_t wanted, old;
        VmFolder f;
        int r;

        reterr = reterr ?: &unseen;
        /* Held back from here on: a copy of a disk is not to be left behind. machine_wait() looks for them. */
        sigemptyset(&wanted);
        sigaddset(&wanted, SIGINT);
        sigaddset(&wanted, SIGTERM);
        sigaddset(&wanted, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &wanted, &old) < 0)
                return error_errno(reterr, errno, "cannot block signals");
        r = vm_folder_open(o, &f, reterr);
        if (r >= 0) {
                r = boot_in(o, &f, ret, reterr);
                vm_folder_done(&f);
        }
        (void) sigprocmask(SIG_SETMASK, &old, NULL);
        return r;
}

static void set_text(json_t *o, const char *key, const char *value) {
        json_object_set_new(o, key, value ? json_string(value) : json_null());
}

json_t *vm_result_to_json(const VmResult *r) {
        const GuestReport *g = &r->report;
        json_t *o = json_object();

        json_object_set_new(o, "booted", json_boolean(r->booted));
        json_object_set_new(o, "seconds", json_real(r->seconds));
        set_text(o, "accelerator", accelerator_name(r->accelerator));
        json_object_set_new(o, "clean_shutdown", json_boolean(r->clean_shutdown));
        json_object_set_new(o, "failed_units", json_from_strv(r->failed_units));
        json_object_set_new(o, "reported", json_boolean(g->complete));
        if (g->complete) {
                json_object_set_new(o, "boot_complete", json_boolean(g->boot_complete));
                json_object_set_new(o, "usr_on_verity", json_boolean(g->usr_on_verity));
                json_object_set_new(o, "etc_overlay", json_boolean(g->etc_overlay));
                json_object_set_new(o, "secure_boot", json_boolean(g->secure_boot));
                json_object_set_new(o, "root_size", json_integer((json_int_t) g->root_size));
                json_object_set_new(o, "uptime", json_real(g->uptime));
                json_object_set_new(o, "failed_logs", json_from_strv(g->failed_logs));
                set_text(o, "state", g->state);
                set_text(o, "image_id", g->image_id);
                set_text(o, "image_version", g->image_version);
                set_text(o, "os", g->pretty_name);
                set_text(o, "kernel", g->kernel);
                set_text(o, "systemd", g->systemd_version);
                set_text(o, "command_line", g->command_line);
                set_text(o, "usr_source", g->usr_source);
                set_text(o, "usr_type", g->usr_type);
                set_text(o, "etc_type", g->etc_type);
                set_text(o, "bless_boot", g->blessed);
        }
        set_text(o, "console", r->console);
        return o;
}

char *vm_result_describe(const VmResult *r) {
        const GuestReport *g = &r->report;
        _cleanup_free_ char *failed = r->failed_units ? strv_join(r->failed_units, ", ") : NULL;
        Buffer b = {};

        buffer_printf(&b, "up after %.1f s (%s)", r->seconds, accelerator_name(r->accelerator));
        if (g->complete) {
                buffer_printf(&b, ": %s %s, kernel %s, systemd %s", g->image_id ?: g->pretty_name ?: "a system",
                              g->image_version ?: "", g->kernel ?: "?", g->systemd_version ?: "?");
                buffer_printf(&b, "; /usr %s dm-verity; /etc %s; Secure Boot %s", g->usr_on_verity ? "on" : "NOT on",
                              g->etc_overlay ? "an overlay" : "NOT an overlay", g->secure_boot ? "on" : "off");
        } else
                buffer_puts(&b, ", as far as its console tells");
        buffer_printf(&b, "; %s%s", failed ? "failed units: " : "no failed units", failed ?: "");
        return buffer_steal(&b);
}
