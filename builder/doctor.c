/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <openssl/crypto.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "accelerator.h"
#include "doctor.h"
#include "io.h"
#include "machine.h"
#include "process.h"
#include "sandbox.h"
#include "subids.h"

#define GIBIBYTE (UINT64_C(1) << 30)
#define PROC_FILE_MAX ((size_t) 64 << 10)
#define VERSION_OUTPUT_MAX ((size_t) 64 << 10)

/* The trees of the largest shipped recipe, its image and a copy of it; of the smallest, for "needed". */
#define STORE_NEEDED GIBIBYTE
#define STORE_COMFORTABLE (4 * GIBIBYTE)
#define OUTPUT_NEEDED GIBIBYTE
#define OUTPUT_COMFORTABLE (8 * GIBIBYTE)
#define MEMORY_NEEDED GIBIBYTE
#define MEMORY_COMFORTABLE (3 * GIBIBYTE)

typedef void (*CheckFunc)(const DoctorOptions *o, DoctorFinding *f);

static void found(DoctorFinding *f, DoctorStatus status, const char *fmt, ...) _printf_(3, 4);
static void remedy(DoctorFinding *f, const char *fmt, ...) _printf_(2, 3);

static void found(DoctorFinding *f, DoctorStatus status, const char *fmt, ...) {
        va_list ap;

        f->status = status;
        free(f->found);
        va_start(ap, fmt);
        f->found = xvasprintf(fmt, ap);
        va_end(ap);
}

static void remedy(DoctorFinding *f, const char *fmt, ...) {
        va_list ap;

        free(f->remedy);
        va_start(ap, fmt);
        f->remedy = xvasprintf(fmt, ap);
        va_end(ap);
}

/* A small file of /proc or /sys, stripped; NULL if there is none. */
static char *read_knob(const char *path) {
        char *text = NULL;

        if (io_read_file(AT_FDCWD, path, PROC_FILE_MAX, &text, NULL, NULL) < 0)
                return NULL;
        memmove(text, strstrip(text), strlen(strstrip(text)) + 1);
        return text;
}

static char *find_program(const char *name) {
        /* The tools of root's folders are used, too; an ordinary user's PATH often lacks them. */
        _cleanup_free_ char *path = xasprintf("%s:/usr/sbin:/sbin", getenv("PATH") ?: "/usr/bin:/bin");
        _cleanup_strv_free_ char **folders = strv_split(path, ":");

        STRV_FOREACH (folder, folders) {
                _cleanup_free_ char *file = path_join(*folder, name);

                if (access(file, X_OK) >= 0)
                        return TAKE_PTR(file);
        }
        return NULL;
}

/* ---- namespaces ------------------------------------------------------------------------------------------ */

typedef enum NamespaceStage {
        STAGE_FINE,
        STAGE_UNSHARE,
        STAGE_MAP,
        STAGE_PRIVATE,
        STAGE_TMPFS,
        STAGE_OVERLAY,
        _STAGE_MAX,
} NamespaceStage;

static bool write_knob(const char *path, const char *text) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && io_write_all(fd, text, strlen(text), NULL) >= 0;
}

static bool mount_overlay(void) {
        if (mkdir("/tmp/lower", 0755) < 0 || mkdir("/tmp/upper", 0755) < 0 || mkdir("/tmp/work", 0755) < 0 ||
            mkdir("/tmp/merged", 0755) < 0)
                return false;
        return mount("overlay", "/tmp/merged", "overlay", 0,
                     "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work") >= 0;
}

/* In a child: nothing of it reaches this process. errno of the failed stage goes through the pipe. */
static NamespaceStage try_namespaces(bool with_user, uid_t uid, gid_t gid) {
        _cleanup_free_ char *uids = xasprintf("0 %u 1", (unsigned) uid), *gids = xasprintf("0 %u 1", (unsigned) gid);

        if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                    (with_user ? CLONE_NEWUSER : 0)) < 0)
                return STAGE_UNSHARE;
        if (with_user && !(write_knob("/proc/self/uid_map", uids) && write_knob("/proc/self/setgroups", "deny") &&
                           write_knob("/proc/self/gid_map", gids)))
                return STAGE_MAP;
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return STAGE_PRIVATE;
        if (mount("tmpfs", "/tmp", "tmpfs", 0, "mode=755") < 0)
                return STAGE_TMPFS;
        return mount_overlay() ? STAGE_FINE : STAGE_OVERLAY;
}

static NamespaceStage run_namespaces(int *ret_errno) {
        bool with_user = geteuid() != 0;
        uid_t uid = geteuid();
        gid_t gid = getegid();
        int p[2], answer[2] = { STAGE_UNSHARE, EIO };
        pid_t pid;

        *ret_errno = EIO;
        if (pipe2(p, O_CLOEXEC) < 0)
                return STAGE_UNSHARE;
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                answer[0] = (int) try_namespaces(with_user, uid, gid);
                answer[1] = errno;
                (void) io_write_all(p[1], answer, sizeof(answer), NULL);
                _exit(0);
        }
        safe_close(p[1]);
        if (pid > 0) {
                if (read(p[0], answer, sizeof(answer)) != sizeof(answer))
                        answer[0] = STAGE_UNSHARE, answer[1] = EIO;
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        safe_close(p[0]);
        *ret_errno = answer[1];
        return (NamespaceStage) answer[0];
}

static void advise_on_namespaces(DoctorFinding *f) {
        _cleanup_free_ char *apparmor = read_knob("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
        _cleanup_free_ char *clone = read_knob("/proc/sys/kernel/unprivileged_userns_clone");
        _cleanup_free_ char *most = read_knob("/proc/sys/user/max_user_namespaces");

        if (geteuid() == 0)
                remedy(f, "This is a container: start it with CAP_SYS_ADMIN and without a seccomp profile that forbids "
                          "unshare(2) and mount(2) (docker: --privileged).");
        else if (streq_ptr(apparmor, "1"))
                remedy(f, "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
        else if (streq_ptr(clone, "0"))
                remedy(f, "sudo sysctl -w kernel.unprivileged_userns_clone=1");
        else if (streq_ptr(most, "0"))
                remedy(f, "sudo sysctl -w user.max_user_namespaces=15000");
        else
                remedy(f, "Build as root, or allow user namespaces (in a container: a seccomp profile that permits "
                          "unshare(2) and mount(2)).");
}

static void check_namespaces(const DoctorOptions *o, DoctorFinding *f) {
        static const char *const stages[_STAGE_MAX] = {
                [STAGE_UNSHARE] = "making namespaces",
                [STAGE_MAP] = "mapping ids in a user namespace",
                [STAGE_PRIVATE] = "making mounts private",
                [STAGE_TMPFS] = "mounting a tmpfs in a namespace",
                [STAGE_OVERLAY] = "mounting an overlay in a namespace",
        };
        int code;
        NamespaceStage stage = run_namespaces(&code);

        if (stage == STAGE_FINE) {
                found(f, DOCTOR_OK, "namespaces, tmpfs and overlay mounts work%s", geteuid() == 0 ? " (as root)" : "");
                return;
        }
        /* Nothing of a build mounts one; a kernel without it still says something about what else it lacks. */
        found(f, stage == STAGE_OVERLAY ? DOCTOR_WARNING : DOCTOR_FAILED, "%s fails: %s", stages[stage],
              strerror(code));
        if (stage == STAGE_OVERLAY)
                remedy(f, "Only a loss if a recipe's own tools want it. sudo modprobe overlay");
        else
                advise_on_namespaces(f);
}

static void check_sandbox(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_error_ Error e = {};
        SandboxMode mode;

        if (sandbox_detect(&mode, &e) >= 0) {
                found(f, DOCTOR_OK, "builds run in mode %s", sandbox_mode_name(mode));
                return;
        }
        found(f, DOCTOR_FAILED, "%s", e.message);
        if (e.hint)
                remedy(f, "%s", e.hint);
}

/* ---- subordinate ids ------------------------------------------------------------------------------------- */

static void check_subids(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_error_ Error e = {};
        SubIds uids, gids;

        if (geteuid() == 0) {
                found(f, DOCTOR_OK, "not needed by root");
                return;
        }
        if (subids_for_user("/etc/subuid", &uids, &e) < 0 || subids_for_user("/etc/subgid", &gids, &e) < 0) {
                found(f, DOCTOR_FAILED, "%s", e.message);
                remedy(f, "%s", e.hint ?: "man 5 subuid");
                return;
        }
        found(f, DOCTOR_OK, "%" PRIu64 " users from %" PRIu64 ", %" PRIu64 " groups from %" PRIu64, uids.count,
              uids.start, gids.count, gids.start);
}

static bool may_set_ids(const char *program) {
        struct stat st;

        return (stat(program, &st) >= 0 && st.st_uid == 0 && (st.st_mode & S_ISUID)) ||
               getxattr(program, "security.capability", NULL, 0) > 0;
}

static void check_idmap_tools(const DoctorOptions *o, DoctorFinding *f) {
        static const char *const programs[] = { "newuidmap", "newgidmap" };

        if (geteuid() == 0) {
                found(f, DOCTOR_OK, "not needed by root");
                return;
        }
        for (size_t i = 0; i < ELEMENTSOF(programs); i++) {
                _cleanup_free_ char *path = find_program(programs[i]);

                if (!path) {
                        found(f, DOCTOR_FAILED, "%s is not installed", programs[i]);
                        remedy(f, "sudo apt-get install uidmap");
                        return;
                }
                if (!may_set_ids(path)) {
                        found(f, DOCTOR_FAILED, "%s has lost its setuid bit or capability", path);
                        remedy(f, "sudo apt-get install --reinstall uidmap");
                        return;
                }
        }
        found(f, DOCTOR_OK, "newuidmap and newgidmap may set ids");
}

static void check_seccomp(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_free_ char *status = read_knob("/proc/self/status");
        const char *line = status ? strstr(status, "\nSeccomp:") : NULL;

        if (line && strtol(line + strlen("\nSeccomp:"), NULL, 10) == 2)
                found(f, DOCTOR_OK, "a filter is active (a container?); the other checks say whether it matters");
        else
                found(f, DOCTOR_OK, "no filter");
}

/* ---- programs -------------------------------------------------------------------------------------------- */

/* The first line of "PROGRAM --version", NULL if it is not there or does not run. */
static char *program_version(const char *name) {
        _cleanup_free_ char *path = find_program(name), *output = NULL;
        char *argv[] = { path, (char *) "--version", NULL };
        ProcessOptions p = { .output_max = VERSION_OUTPUT_MAX, .merge_stderr = true };
        _cleanup_error_ Error e = {};

        if (!path || process_run(argv, &p, &output, NULL, &e) < 0)
                return NULL;
        output[strcspn(output, "\n")] = 0;
        return TAKE_PTR(output);
}

static void check_lock_tools(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_free_ char *apt = program_version("apt-get"), *dpkg = program_version("dpkg");
        _cleanup_free_ char *sqv = program_version("sqv"), *gpgv = program_version("gpgv");

        if (!apt || !dpkg) {
                found(f, DOCTOR_WARNING, "%s does not run: \"sealab lock\" needs it", apt ? "dpkg" : "apt-get");
                remedy(f, "apt and dpkg are Debian's own; locking works on Debian 12 and 13.");
        } else if (!sqv && !gpgv) {
                found(f, DOCTOR_WARNING, "neither sqv nor gpgv: \"sealab lock\" cannot check the archive's signatures");
                remedy(f, "sudo apt-get install gpgv (Debian 12) or sqv (Debian 13)");
        } else if (access("/usr/share/keyrings/debian-archive-keyring.gpg", R_OK) < 0) {
                found(f, DOCTOR_WARNING, "no keyring of the Debian archive: \"sealab lock\" needs one");
                remedy(f, "sudo apt-get install debian-archive-keyring (or name one: Keyring= in the recipe)");
        } else
                found(f, DOCTOR_OK, "%s; %s", apt, sqv ?: gpgv);
}

static void check_disk_tools(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_free_ char *mcopy = find_program("mcopy"), *mkfs = find_program("mkfs.vfat");

        if (mcopy && mkfs) {
                found(f, DOCTOR_OK, "%s, %s", mcopy, mkfs);
                return;
        }
        found(f, DOCTOR_FAILED, "%s is not installed: no disk image can be made", mcopy ? "mkfs.vfat" : "mcopy");
        remedy(f, "sudo apt-get install mtools dosfstools");
}

static void check_token_engine(const DoctorOptions *o, DoctorFinding *f) {
        const char *info = OPENSSL_info(OPENSSL_INFO_ENGINES_DIR);
        _cleanup_free_ char *path = path_join(info ?: "/usr/lib/engines-3", "pkcs11.so");

        if (access(path, R_OK) >= 0) {
                found(f, DOCTOR_OK, "%s", path);
                return;
        }
        found(f, DOCTOR_WARNING, "OpenSSL has no PKCS#11 engine: keys can only be files");
        remedy(f, "sudo apt-get install libengine-pkcs11-openssl (only for keys in a token)");
}

/* ---- virtual machines ------------------------------------------------------------------------------------ */

static void check_vm_tools(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_free_ char *version = program_version("qemu-system-x86_64");
        _cleanup_firmware_ Firmware firmware = {};
        _cleanup_error_ Error e = {};

        if (version && firmware_find(&firmware, &e) >= 0) {
                found(f, DOCTOR_OK, "%s; %s", version, firmware.code);
                return;
        }
        found(f, DOCTOR_WARNING, "%s: \"sealab boot\" will not work",
              version ? e.message : "qemu-system-x86_64 is not installed");
        remedy(f, "sudo apt-get install --no-install-recommends qemu-system-x86 ovmf");
}

static void check_kvm(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_firmware_ Firmware firmware = {};
        _cleanup_free_ char *why = NULL, *qemu = find_program("qemu-system-x86_64");
        _cleanup_error_ Error e = {};
        int r;

        if (access("/dev/kvm", F_OK) < 0) {
                found(f, DOCTOR_WARNING, "there is no /dev/kvm: \"sealab boot\" emulates, which is slower");
                remedy(f, "Switch on virtualization in the firmware setup, or nested virtualization for a virtual "
                          "machine.");
                return;
        }
        if (access("/dev/kvm", R_OK | W_OK) < 0) {
                found(f, DOCTOR_WARNING, "/dev/kvm: %s: \"sealab boot\" emulates, which is slower", strerror(errno));
                remedy(f, "sudo usermod --append --groups kvm \"$USER\" and log in again");
                return;
        }
        if (!qemu || firmware_find(&firmware, &e) < 0) {
                found(f, DOCTOR_OK, "/dev/kvm can be opened; not tried without QEMU and OVMF");
                return;
        }
        r = machine_probe_kvm(&firmware, &why, &e);
        if (r == 0) {
                found(f, DOCTOR_OK, "really runs a machine");
                return;
        }
        found(f, DOCTOR_WARNING,
              "/dev/kvm is there but runs no machine (%s): \"sealab boot\" emulates, which is slower",
              r > 0 ? why : e.message);
        remedy(f, "Nothing to do if this is a virtual machine whose host does not offer it; else look into dmesg.");
}

/* ---- room and time --------------------------------------------------------------------------------------- */

DoctorStatus doctor_judge_amount(uint64_t available, uint64_t needed, uint64_t comfortable) {
        return available < needed ? DOCTOR_FAILED : available < comfortable ? DOCTOR_WARNING : DOCTOR_OK;
}

/* Of the folder, or of what is there of its parents: it may not have been made yet. */
static bool free_space(const char *folder, uint64_t *ret) {
        _cleanup_free_ char *path = xstrdup(folder);
        struct statvfs st;

        while (statvfs(path, &st) < 0) {
                char *parent;

                if (errno != ENOENT || streq(path, "/") || streq(path, "."))
                        return false;
                parent = path_dirname(path);
                free(path);
                path = parent;
        }
        return !__builtin_mul_overflow((uint64_t) st.f_bavail, (uint64_t) st.f_frsize, ret);
}

static void judge_space(DoctorFinding *f, const char *folder, uint64_t needed, uint64_t comfortable,
                        const char *elsewhere) {
        _cleanup_free_ char *have = NULL, *want = format_bytes(comfortable);
        uint64_t available;

        if (!free_space(folder, &available)) {
                found(f, DOCTOR_FAILED, "%s: %s", folder, strerror(errno));
                remedy(f, "%s", elsewhere);
                return;
        }
        have = format_bytes(available);
        found(f, doctor_judge_amount(available, needed, comfortable), "%s free in %s", have, folder);
        if (f->status != DOCTOR_OK)
                remedy(f, "%s are comfortable. %s", want, elsewhere);
}

static void check_store_space(const DoctorOptions *o, DoctorFinding *f) {
        const char *store = o->store ?: getenv("SEALAB_STORE"), *cache = getenv("XDG_CACHE_HOME");
        _cleanup_free_ char *path = store             ? xstrdup(store)
                                    : !isempty(cache) ? path_join(cache, "sealab")
                                                      : path_join(getenv("HOME") ?: "/root", ".cache/sealab");

        judge_space(f, path, STORE_NEEDED, STORE_COMFORTABLE, "Another place: --store or SEALAB_STORE.");
}

static void check_temporary_space(const DoctorOptions *o, DoctorFinding *f) {
        const char *folder = getenv("TMPDIR");

        folder = isempty(folder) ? "/var/tmp" : folder;
        if (access(folder, W_OK | X_OK) < 0) {
                found(f, DOCTOR_FAILED, "%s: %s", folder, strerror(errno));
                remedy(f, "Set TMPDIR to a folder that you may write to.");
                return;
        }
        judge_space(f, folder, OUTPUT_NEEDED, OUTPUT_COMFORTABLE, "Another place: TMPDIR.");
}

static void check_output_space(const DoctorOptions *o, DoctorFinding *f) {
        judge_space(f, o->output ?: ".", OUTPUT_NEEDED, OUTPUT_COMFORTABLE, "Another place: --output.");
}

uint64_t doctor_meminfo_value(const char *text, const char *key) {
        _cleanup_strv_free_ char **lines = strv_split(text, "\n");

        STRV_FOREACH (line, lines) {
                const char *rest = startswith(*line, key);
                uint64_t kibibytes, bytes;

                if (!rest || *rest != ':')
                        continue;
                kibibytes = strtoull(rest + 1, NULL, 10);
                return __builtin_mul_overflow(kibibytes, UINT64_C(1024), &bytes) ? UINT64_MAX : bytes;
        }
        return 0;
}

static void check_memory(const DoctorOptions *o, DoctorFinding *f) {
        _cleanup_free_ char *text = read_knob("/proc/meminfo"), *limit = read_knob("/sys/fs/cgroup/memory.max");
        uint64_t available = text ? doctor_meminfo_value(text, "MemAvailable") : 0, cgroup;
        _cleanup_free_ char *have = NULL, *want = format_bytes(MEMORY_COMFORTABLE);

        if (limit && parse_u64(limit, &cgroup) && cgroup < available)
                available = cgroup;
        have = format_bytes(available);
        found(f, doctor_judge_amount(available, MEMORY_NEEDED, MEMORY_COMFORTABLE), "%s available", have);
        if (f->status != DOCTOR_OK)
                remedy(f, "Packages are unpacked in memory: %s are comfortable, swap counts.", want);
}

static void check_clock(const DoctorOptions *o, DoctorFinding *f) {
        struct timespec now;
        struct stat st;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        /* The newest thing that every Debian writes; a day for clocks that were set back a little. */
        if (stat("/var/lib/dpkg/status", &st) >= 0 && now.tv_sec + 86400 < st.st_mtim.tv_sec) {
                found(f, DOCTOR_WARNING, "the clock is behind this system's own package database");
                remedy(f, "Set the clock: signatures of the package archive are judged by it (sudo timedatectl set-ntp "
                          "true).");
                return;
        }
        found(f, DOCTOR_OK, "plausible");
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static const struct {
        const char *id, *title;
        CheckFunc check;
} checks[] = {
        { "namespaces", "namespaces", check_namespaces },
        { "subordinate-ids", "subordinate ids", check_subids },
        { "idmap-tools", "id mapping tools", check_idmap_tools },
        { "sandbox", "sandbox", check_sandbox },
        { "seccomp", "seccomp", check_seccomp },
        { "memory", "memory", check_memory },
        { "store-space", "space for the store", check_store_space },
        { "temporary-space", "space for work", check_temporary_space },
        { "output-space", "space for releases", check_output_space },
        { "disk-tools", "disk image tools", check_disk_tools },
        { "lock-tools", "apt and signatures", check_lock_tools },
        { "token", "keys in tokens", check_token_engine },
        { "vm-tools", "virtual machine", check_vm_tools },
        { "kvm", "KVM", check_kvm },
        { "clock", "clock", check_clock },
};

static const char *const status_names[] = {
        [DOCTOR_OK] = "ok",
        [DOCTOR_WARNING] = "warning",
        [DOCTOR_FAILED] = "failed",
};

void doctor_report_done(DoctorReport *r) {
        for (size_t i = 0; i < r->n_findings; i++) {
                free(r->findings[i].found);
                free(r->findings[i].remedy);
        }
        free(r->findings);
        *r = (DoctorReport){};
}

void doctor_examine(const DoctorOptions *o, DoctorReport *ret) {
        for (size_t i = 0; i < ELEMENTSOF(checks); i++) {
                DoctorFinding f = { .id = checks[i].id, .title = checks[i].title };

                checks[i].check(o, &f);
                GROW(ret->findings, ret->n_findings, ret->n_allocated);
                ret->findings[ret->n_findings++] = f;
        }
}

DoctorStatus doctor_report_worst(const DoctorReport *r) {
        DoctorStatus worst = DOCTOR_OK;

        for (size_t i = 0; i < r->n_findings; i++)
                worst = MAX(worst, r->findings[i].status);
        return worst;
}

char *doctor_report_format(const DoctorReport *r) {
        static const char *const verdicts[] = {
                [DOCTOR_OK] = "This machine can lock, build and boot.",
                [DOCTOR_WARNING] = "This machine can build; see the warnings.",
                [DOCTOR_FAILED] = "This machine cannot build yet.",
        };
        Buffer b = {};

        for (size_t i = 0; i < r->n_findings; i++) {
                const DoctorFinding *f = &r->findings[i];

                buffer_printf(&b, "%-8s%-20s%s\n", status_names[f->status], f->title, f->found);
                if (f->remedy)
                        buffer_printf(&b, "%28s-> %s\n", "", f->remedy);
        }
        buffer_printf(&b, "\n%s\n", verdicts[doctor_report_worst(r)]);
        return buffer_steal(&b);
}

json_t *doctor_report_to_json(const DoctorReport *r) {
        json_t *o = json_object(), *list = json_array();

        for (size_t i = 0; i < r->n_findings; i++) {
                const DoctorFinding *f = &r->findings[i];

                json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?}", "id", f->id, "status",
                                                      status_names[f->status], "found", f->found, "remedy", f->remedy));
        }
        json_object_set_new(o, "can_build", json_boolean(doctor_report_worst(r) != DOCTOR_FAILED));
        json_object_set_new(o, "checks", list);
        return o;
}

int doctor_run(const DoctorOptions *o, Error *reterr) {
        _cleanup_doctor_report_ DoctorReport report = {};
        _cleanup_json_ json_t *json = NULL;
        _cleanup_free_ char *text = NULL;

        doctor_examine(o, &report);
        if (o->json) {
                json = doctor_report_to_json(&report);
                text = json_format(json, false);
        } else
                text = doctor_report_format(&report);
        fputs(text, stdout);
        if (doctor_report_worst(&report) != DOCTOR_FAILED)
                return 0;
        return error_set(reterr, ENOTSUP, REFUSAL_MACHINE, "this machine cannot build: see what failed above");
}
