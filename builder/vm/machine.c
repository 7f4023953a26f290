/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "io.h"
#include "json.h"
#include "machine.h"
#include "process.h"
#include "tpm.h"

#define QEMU "qemu-system-x86_64"
#define QEMU_LOG "qemu.log"
/* Where QEMU finds the channel to the TPM. */
#define TPM_FD 3
#define CONTROL_LINE_MAX ((size_t) 1 << 20)
#define KVM_PROBE_USEC (UINT64_C(10) * 1000000)
#define MEBIBYTE (UINT64_C(1) << 20)

struct Machine {
        pid_t pid, tpm_pid;
        int folder_fd;
        int control_fd; /* QMP; -EBADF for an interactive one */
        int signal_fd;
        sigset_t old_mask;
        Buffer control;
        MachineState state;
};

static const char *const bus_names[_MACHINE_BUS_MAX] = {
        [MACHINE_BUS_VIRTIO] = "virtio",
        [MACHINE_BUS_USB] = "usb",
        [MACHINE_BUS_NVME] = "nvme",
        [MACHINE_BUS_AHCI] = "ahci",
};

const char *machine_bus_name(MachineBus bus) {
        return bus_names[bus];
}

bool machine_bus_from_name(const char *name, MachineBus *ret) {
        for (MachineBus bus = 0; bus < _MACHINE_BUS_MAX; bus++)
                if (streq(name, bus_names[bus])) {
                        *ret = bus;
                        return true;
                }
        return false;
}

uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

/* QEMU splits its option values at commas; a doubled one is a comma. */
static char *quote_option(const char *s) {
        Buffer b = {};

        for (; *s; s++)
                buffer_append(&b, *s == ',' ? ",," : s, *s == ',' ? 2 : 1);
        return buffer_steal(&b);
}

static void add_disk(char ***argv, const MachineOptions *o) {
        static const char *const devices[_MACHINE_BUS_MAX] = {
                [MACHINE_BUS_VIRTIO] = "virtio-blk-pci,drive=disk,bootindex=0",
                [MACHINE_BUS_USB] = "usb-storage,drive=disk,bootindex=0,removable=on",
                [MACHINE_BUS_NVME] = "nvme,drive=disk,serial=sealab,bootindex=0",
                [MACHINE_BUS_AHCI] = "ide-hd,drive=disk,bus=ide.0,bootindex=0",
        };

        strv_extend(argv, "-drive");
        strv_extendf(argv, "if=none,id=disk,format=raw,file=" MACHINE_DISK ",discard=unmap,cache=%s",
                     o->disposable ? "unsafe" : "writeback");
        if (o->bus == MACHINE_BUS_USB) {
                strv_extend(argv, "-device");
                strv_extend(argv, "qemu-xhci");
        }
        strv_extend(argv, "-device");
        strv_extend(argv, devices[o->bus]);
}

static void add_network(char ***argv, const MachineOptions *o) {
        _cleanup_free_ char *forward =
                o->ssh_port ? xasprintf(",hostfwd=tcp:127.0.0.1:%u-:22", o->ssh_port) : xstrdup("");

        strv_extend(argv, "-netdev");
        strv_extendf(argv, "user,id=net,restrict=%s%s", o->network ? "off" : "on", forward);
        strv_extend(argv, "-device");
        strv_extend(argv, "virtio-net-pci,netdev=net,romfile=");
}

static void add_tpm(char ***argv) {
        strv_extend(argv, "-chardev");
        strv_extendf(argv, "socket,id=tpm,fd=%d", TPM_FD);
        strv_extend(argv, "-tpmdev");
        strv_extend(argv, "emulator,id=tpm0,chardev=tpm");
        strv_extend(argv, "-device");
        strv_extend(argv, "tpm-crb,tpmdev=tpm0");
}

static char **make_command(const MachineOptions *o) {
        _cleanup_free_ char *code = quote_option(o->secure_boot ? o->firmware->secure_code : o->firmware->code);
        static const char *const fixed[] = { "-nodefaults", "-no-user-config", "-device",    "VGA",
                                             "-device",     "virtio-rng-pci",  "-no-reboot", NULL };
        /* Only code in system management mode may write to the variable store: the guest cannot switch Secure Boot off.
         */
        static const char *const protected_store[] = { "-global", "driver=cfi.pflash01,property=secure,value=on",
                                                       "-global", "ICH9-LPC.disable_s3=1", NULL };
        char **argv = NULL;

        strv_extend(&argv, QEMU);
        strv_extend(&argv, "-machine");
        strv_extend(&argv, o->secure_boot ? "q35,smm=on" : "q35");
        strv_extend(&argv, "-accel");
        strv_extend(&argv, o->kvm ? "kvm" : "tcg,thread=multi");
        strv_extend(&argv, "-cpu");
        /* QEMU 7.2 (Debian 12) leaves garbage in the flags after an emulated cmpxchg16b, which kernels from 6.5 on use
         * in their allocator: they die of double faults at random places. Without the feature they do without. */
        strv_extend(&argv, o->kvm ? "host" : "max,cx16=off");
        strv_extend(&argv, "-smp");
        strv_extendf(&argv, "%u", o->cpus);
        strv_extend(&argv, "-m");
        strv_extendf(&argv, "%" PRIu64 "M", o->memory / MEBIBYTE);
        strv_extend_strv(&argv, (char *const *) fixed);
        strv_extend(&argv, "-display");
        strv_extend(&argv, "none");
        strv_extend(&argv, "-drive");
        strv_extendf(&argv, "if=pflash,unit=0,format=raw,readonly=on,file=%s", code);
        strv_extend(&argv, "-drive");
        strv_extend(&argv, "if=pflash,unit=1,format=raw,file=" MACHINE_VARIABLES);
        strv_extend(&argv, "-serial");
        strv_extend(&argv, o->interactive ? "mon:stdio" : "file:" MACHINE_CONSOLE_LOG);
        strv_extend(&argv, "-serial");
        strv_extend(&argv, "file:" MACHINE_REPORT_LOG);
        if (!o->interactive) {
                strv_extend(&argv, "-qmp");
                strv_extend(&argv, "stdio");
        }
        if (o->secure_boot)
                strv_extend_strv(&argv, (char *const *) protected_store);
        if (o->disk)
                add_disk(&argv, o);
        add_network(&argv, o);
        if (o->tpm)
                add_tpm(&argv);
        for (size_t i = 0; i < o->n_smbios; i++) {
                strv_extend(&argv, "-smbios");
                strv_extendf(&argv, "type=11,path=smbios-%zu", i);
        }
        strv_extend(&argv, "-rtc");
        strv_extendf(&argv, "base=%s", o->rtc ?: "utc");
        return argv;
}

_noreturn_ static void run_qemu(const Machine *m, char *const *argv, int control, int log, int tpm, pid_t parent) {
        sigset_t none;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(127);
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        if (fchdir(m->folder_fd) < 0)
                _exit(127);
        if (control >= 0 && (dup2(control, STDIN_FILENO) < 0 || dup2(control, STDOUT_FILENO) < 0))
                _exit(127);
        if (log >= 0 && dup2(log, STDERR_FILENO) < 0)
                _exit(127);
        if (tpm >= 0 && tpm_pass_channel(tpm, TPM_FD) < 0)
                _exit(127);
        execvp(argv[0], argv);
        dprintf(STDERR_FILENO, "cannot run %s: %m\n", argv[0]);
        _exit(127);
}

static int catch_signals(Machine *m, Error *reterr) {
        sigset_t wanted;

        sigemptyset(&wanted);
        sigaddset(&wanted, SIGINT);
        sigaddset(&wanted, SIGTERM);
        sigaddset(&wanted, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &wanted, &m->old_mask) < 0)
                return error_errno(reterr, errno, "cannot block signals");
        m->signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
        if (m->signal_fd < 0)
                return error_errno(reterr, errno, "cannot watch for signals");
        return 0;
}

static void send_control(Machine *m, const char *command) {
        _cleanup_free_ char *line = xasprintf("{\"execute\":\"%s\"}\n", command);

        /* If QEMU is gone, the next look at the machine says so. */
        if (m->control_fd >= 0)
                (void) send(m->control_fd, line, strlen(line), MSG_NOSIGNAL);
}

static int look_for(const char *program, const char *hint, Error *reterr) {
        _cleanup_strv_free_ char **folders = strv_split(getenv("PATH") ?: "", ":");

        STRV_FOREACH (folder, folders) {
                _cleanup_free_ char *path = path_join(*folder, program);

                if (access(path, X_OK) >= 0)
                        return 0;
        }
        error_set(reterr, ENOENT, REFUSAL_MACHINE, "%s is not installed", program);
        return error_hint(reterr, "%s", hint);
}

static int start_process(Machine *m, const MachineOptions *o, Error *reterr) {
        _cleanup_strv_free_ char **argv = make_command(o);
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF, log = -EBADF, tpm = -EBADF;
        pid_t parent = getpid();
        int pair[2], r;

        if (!o->interactive) {
                if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                        return error_errno(reterr, errno, "cannot make a channel to " QEMU);
                ours = pair[0], theirs = pair[1];
                log = openat(m->folder_fd, QEMU_LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                if (log < 0)
                        return error_errno(reterr, errno, "cannot create %s/" QEMU_LOG, o->folder);
        }
        if (o->tpm) {
                r = tpm_start(m->folder_fd, MACHINE_TPM, &m->tpm_pid, &tpm, reterr);
                if (r < 0)
                        return r;
        }
        fflush(NULL);
        m->pid = fork();
        if (m->pid < 0) {
                m->pid = 0;
                return error_errno(reterr, errno, "cannot start " QEMU);
        }
        if (m->pid == 0)
                run_qemu(m, argv, theirs, log, tpm, parent);
        m->control_fd = TAKE_FD(ours);
        send_control(m, "qmp_capabilities");
        return 0;
}

int machine_start(const MachineOptions *o, Machine **ret, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = xnew(Machine, 1);
        int r;

        m->control_fd = m->signal_fd = m->folder_fd = -EBADF;
        r = look_for(QEMU, "apt-get install qemu-system-x86 ovmf", reterr);
        if (r >= 0 && o->tpm)
                r = look_for(TPM_PROGRAM, "apt-get install " TPM_PROGRAM, reterr);
        if (r < 0)
                return r;
        m->folder_fd = open(o->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (m->folder_fd < 0)
                return error_errno(reterr, errno, "cannot open %s", o->folder);
        r = catch_signals(m, reterr);
        if (r >= 0)
                r = start_process(m, o, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

Machine *machine_free(Machine *m) {
        if (!m)
                return NULL;
        if (m->pid > 0) {
                (void) kill(m->pid, SIGKILL);
                while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        if (m->tpm_pid > 0)
                tpm_stop(m->tpm_pid);
        if (m->signal_fd >= 0)
                (void) sigprocmask(SIG_SETMASK, &m->old_mask, NULL);
        safe_close(m->signal_fd);
        safe_close(m->control_fd);
        safe_close(m->folder_fd);
        buffer_done(&m->control);
        free(m);
        return NULL;
}

static void handle_event(Machine *m, const char *line, size_t size) {
        _cleanup_json_ json_t *message = NULL;
        const char *event, *reason;

        if (json_parse(line, size, "QEMU's message", &message, NULL) < 0)
                return;
        event = json_string_value(json_object_get(message, "event"));
        reason = json_string_value(json_object_get(json_object_get(message, "data"), "reason"));
        if (streq_ptr(event, "SHUTDOWN"))
                m->state = streq_ptr(reason, "guest-shutdown") ? MACHINE_OFF
                           : streq_ptr(reason, "guest-reset")  ? MACHINE_RESET
                                                               : MACHINE_BROKEN;
        else if (streq_ptr(event, "STOP") && m->state == MACHINE_RUNS)
                m->state = MACHINE_BROKEN; /* nobody asked: the accelerator gave up on an instruction */
}

static void read_control(Machine *m) {
        char chunk[4096];
        char *newline;
        ssize_t n;

        n = recv(m->control_fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (n <= 0 || m->control.size > CONTROL_LINE_MAX) {
                if (n != 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                m->control_fd = safe_close(m->control_fd);
                return;
        }
        buffer_append(&m->control, chunk, (size_t) n);
        while ((newline = memchr(m->control.data, '\n', m->control.size))) {
                size_t used = (size_t) (newline - m->control.data) + 1;

                handle_event(m, m->control.data, used);
                memmove(m->control.data, newline + 1, m->control.size - used + 1);
                m->control.size -= used;
        }
}

static void reap(Machine *m) {
        int status;

        if (m->pid <= 0 || waitpid(m->pid, &status, WNOHANG) != m->pid)
                return;
        m->pid = 0;
        while (m->control_fd >= 0)
                read_control(m);
        /* A message about the end may have been lost with the process; its exit status was not. */
        if (m->state == MACHINE_RUNS)
                m->state = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? MACHINE_OFF : MACHINE_BROKEN;
}

int machine_wait(Machine *m, uint64_t timeout_usec, MachineState *ret, Error *reterr) {
        struct pollfd fds[] = { { .fd = m->signal_fd, .events = POLLIN }, { .fd = m->control_fd, .events = POLLIN } };
        struct signalfd_siginfo signal;

        if (poll(fds, ELEMENTSOF(fds), (int) (timeout_usec / 1000)) < 0 && errno != EINTR)
                return error_errno(reterr, errno, "cannot wait for " QEMU);
        /* Taken, not only seen: it must not strike again once nobody blocks it any more. */
        if (fds[0].revents && read(m->signal_fd, &signal, sizeof(signal)) > 0)
                return error_set(reterr, EINTR, REFUSAL_CANCELLED, "stopped on request");
        if (fds[1].revents)
                read_control(m);
        reap(m);
        /* An ended guest counts once its process is gone: only then are all its bytes on the disk. */
        *ret = m->pid > 0 && m->state != MACHINE_BROKEN ? MACHINE_RUNS : m->state;
        return 0;
}

char *machine_complaint(Machine *m) {
        _cleanup_free_ char *log = NULL;
        size_t size;

        if (io_read_file(m->folder_fd, QEMU_LOG, CONTROL_LINE_MAX, &log, &size, NULL) < 0 || size == 0)
                return xstrdup(QEMU " stopped without a word");
        log[strcspn(log, "\n")] = 0; /* what follows the first line is its consequence */
        return TAKE_PTR(log);
}

void machine_press_power(Machine *m) {
        send_control(m, "system_powerdown");
}

int machine_wait_end(Machine *m, Error *reterr) {
        int status;

        while (waitpid(m->pid, &status, 0) < 0)
                if (errno != EINTR)
                        return error_errno(reterr, errno, "cannot wait for " QEMU);
        m->pid = 0;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return error_set(reterr, EIO, REFUSAL_TOOL_FAILED, QEMU " ended with status %d",
                                 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        return 0;
}

static bool has_output(Machine *m) {
        struct stat st;

        return fstatat(m->folder_fd, MACHINE_CONSOLE_LOG, &st, 0) >= 0 && st.st_size > 0;
}

static int probe_in(const Firmware *f, const char *folder, char **ret_why, Error *reterr) {
        _cleanup_free_ char *variables = path_join(folder, MACHINE_VARIABLES);
        _cleanup_(machine_freep) Machine *m = NULL;
        MachineOptions o = {
                .folder = folder,
                .firmware = f,
                .kvm = true,
                .memory = 256 * MEBIBYTE,
                .cpus = 1,
        };
        MachineState state = MACHINE_RUNS;
        int r;

        r = firmware_write_variables(f, NULL, variables, reterr);
        if (r >= 0)
                r = machine_start(&o, &m, reterr);
        if (r < 0)
                return r;
        for (uint64_t end = now_usec() + KVM_PROBE_USEC; now_usec() < end && state == MACHINE_RUNS;) {
                if (has_output(m))
                        return 0;
                r = machine_wait(m, 100000, &state, reterr);
                if (r < 0)
                        return r;
        }
        *ret_why = state == MACHINE_RUNS ? xstrdup("the firmware says nothing for ten seconds") : machine_complaint(m);
        return 1;
}

int machine_probe_kvm(const Firmware *f, char **ret_why, Error *reterr) {
        _cleanup_free_ char *folder = NULL;
        int r;

        if (access("/dev/kvm", R_OK | W_OK) < 0) {
                *ret_why = xasprintf("/dev/kvm: %s", strerror(errno));
                return 1;
        }
        r = io_temporary_folder("probe", &folder, reterr);
        if (r < 0)
                return r;
        r = probe_in(f, folder, ret_why, reterr);
        (void) io_remove_tree(AT_FDCWD, folder, NULL);
        return r;
}
