/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>

#include "initrd-list.h"

const InitrdItem initrd_files[] = {
        { "/usr/lib/systemd/systemd", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-executor", NULL, INITRD_IF_THERE }, /* since 254 */
        { "/usr/lib/systemd/systemd-journald", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-modules-load", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-shutdown", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-fsck", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-makefs", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-growfs", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-volatile-root", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-reply-password", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-sysroot-fstab-check", NULL, INITRD_IF_THERE }, /* since 253 */
        { "/usr/lib/systemd/systemd-veritysetup", "systemd-cryptsetup", INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-cryptsetup", "systemd-cryptsetup", INITRD_ALWAYS },
        { "/usr/lib/systemd/systemd-pcrextend", NULL, INITRD_TPM },
        { "/usr/lib/systemd/systemd-tpm2-setup", NULL, INITRD_TPM },
        { "/usr/lib/systemd/systemd-sulogin-shell", NULL, INITRD_EMERGENCY },
        { "/usr/lib/systemd/system-generators/systemd-debug-generator", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/system-generators/systemd-fstab-generator", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/system-generators/systemd-gpt-auto-generator", NULL, INITRD_ALWAYS },
        { "/usr/lib/systemd/system-generators/systemd-cryptsetup-generator", "systemd-cryptsetup", INITRD_ALWAYS },
        { "/usr/lib/systemd/system-generators/systemd-veritysetup-generator", "systemd-cryptsetup", INITRD_ALWAYS },
        { "/usr/lib/systemd/system-generators/systemd-tpm2-generator", NULL, INITRD_TPM },
        { "/usr/lib/systemd/systemd-udevd", "udev", INITRD_ALWAYS },
        { "/usr/bin/systemctl", NULL, INITRD_ALWAYS },
        { "/usr/bin/journalctl", NULL, INITRD_ALWAYS },
        { "/usr/bin/systemd-tmpfiles", NULL, INITRD_ALWAYS },
        { "/usr/bin/systemd-ask-password", NULL, INITRD_ALWAYS },
        { "/usr/bin/systemd-tty-ask-password-agent", NULL, INITRD_ALWAYS },
        { "/usr/bin/systemd-repart", "systemd-repart", INITRD_ALWAYS },
        { "/usr/bin/udevadm", "udev", INITRD_ALWAYS },
        /* udev: block devices, drivers, and what systemd needs to know about them */
        { "/usr/lib/udev/ata_id", "udev", INITRD_IF_THERE },
        { "/usr/lib/udev/scsi_id", "udev", INITRD_IF_THERE },
        { "/usr/lib/udev/rules.d/50-firmware.rules", "udev", INITRD_IF_THERE },
        { "/usr/lib/udev/rules.d/50-udev-default.rules", "udev", INITRD_ALWAYS },
        { "/usr/lib/udev/rules.d/55-dm.rules", "dmsetup", INITRD_ALWAYS },
        { "/usr/lib/udev/rules.d/60-block.rules", "udev", INITRD_ALWAYS },
        { "/usr/lib/udev/rules.d/60-persistent-storage.rules", "udev", INITRD_ALWAYS },
        { "/usr/lib/udev/rules.d/60-persistent-storage-dm.rules", "dmsetup", INITRD_IF_THERE },
        { "/usr/lib/udev/rules.d/64-btrfs.rules", "udev", INITRD_IF_THERE },
        { "/usr/lib/udev/rules.d/64-btrfs-dm.rules", "btrfs-progs", INITRD_IF_THERE },
        { "/usr/lib/udev/rules.d/80-drivers.rules", "udev", INITRD_ALWAYS },
        { "/usr/lib/udev/rules.d/95-dm-notify.rules", "dmsetup", INITRD_ALWAYS },
        { "/usr/lib/udev/rules.d/99-systemd.rules", NULL, INITRD_ALWAYS },
        /* The kernel asks for modules by /sbin/modprobe. */
        { "/usr/sbin/modprobe", "kmod", INITRD_ALWAYS },
        { "/usr/bin/kmod", "kmod", INITRD_ALWAYS },
        { "/usr/lib/modprobe.d/aliases.conf", "kmod", INITRD_IF_THERE },
        { "/usr/lib/modprobe.d/systemd.conf", NULL, INITRD_IF_THERE },
        { "/usr/sbin/dmsetup", "dmsetup", INITRD_ALWAYS },
        { "/usr/bin/mount", "mount", INITRD_ALWAYS },
        { "/usr/bin/umount", "mount", INITRD_ALWAYS },
        { "/usr/bin/sh", "dash", INITRD_ALWAYS },
        { "/usr/bin/sleep", "coreutils", INITRD_ALWAYS },
        /* File systems of the root partition, made at first boot and checked at each: those whose tools are locked. */
        { "/usr/sbin/fsck", "util-linux", INITRD_ALWAYS },
        { "/usr/sbin/mkswap", "util-linux", INITRD_IF_THERE },
        { "/usr/sbin/fsck.ext4", "e2fsprogs", INITRD_IF_THERE },
        { "/usr/sbin/mkfs.ext4", "e2fsprogs", INITRD_IF_THERE },
        { "/etc/mke2fs.conf", "e2fsprogs", INITRD_IF_THERE },
        { "/usr/sbin/mkfs.btrfs", "btrfs-progs", INITRD_IF_THERE },
        { "/usr/bin/mkfs.btrfs", "btrfs-progs", INITRD_IF_THERE },
        { "/usr/sbin/mkfs.xfs", "xfsprogs", INITRD_IF_THERE },
        { "/usr/sbin/xfs_repair", "xfsprogs", INITRD_IF_THERE },
        { "/usr/bin/mkdir", "coreutils", INITRD_ENCRYPTED },
        { "/usr/bin/rm", "coreutils", INITRD_ENCRYPTED },
        { "/usr/bin/sync", "coreutils", INITRD_ENCRYPTED },
        /* for whoever sits at the emergency shell */
        { "/usr/sbin/sulogin", "util-linux", INITRD_EMERGENCY },
        { "/usr/bin/cat", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/cp", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/dd", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/ln", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/ls", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/mkdir", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/mv", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/rm", "coreutils", INITRD_EMERGENCY },
        { "/usr/bin/dmesg", "util-linux", INITRD_EMERGENCY },
        { "/usr/bin/findmnt", "util-linux", INITRD_EMERGENCY },
        { "/usr/bin/lsblk", "util-linux", INITRD_EMERGENCY },
        { "/usr/sbin/blkid", "util-linux", INITRD_EMERGENCY },
        { "/usr/sbin/lsmod", "kmod", INITRD_EMERGENCY },
        {},
};

const InitrdItem initrd_libraries[] = {
        { "libkmod.so.2", "libkmod2", INITRD_ALWAYS },
        { "libcryptsetup.so.12", "libcryptsetup12", INITRD_ALWAYS },
        /* Opened by glibc when a thread ends early, as libcryptsetup's key derivation does. */
        { "libgcc_s.so.1", "libgcc-s1", INITRD_IF_THERE },
        { "libtss2-esys.so.0", "libtss2-esys-3.0.2-0t64", INITRD_TPM },
        { "libtss2-rc.so.0", "libtss2-rc0t64", INITRD_TPM },
        { "libtss2-mu.so.0", "libtss2-mu-4.0.1-0t64", INITRD_TPM },
        { "libtss2-tcti-device.so.0", "libtss2-tcti-device0t64", INITRD_TPM },
        { "cryptsetup/libcryptsetup-token-systemd-tpm2.so", "systemd-cryptsetup", INITRD_TPM },
        {},
};

const InitrdItem initrd_units[] = {
        { "basic.target", NULL, INITRD_ALWAYS },
        { "blockdev@.target", NULL, INITRD_ALWAYS },
        { "cryptsetup-pre.target", NULL, INITRD_ALWAYS },
        { "cryptsetup.target", NULL, INITRD_ALWAYS },
        { "ctrl-alt-del.target", NULL, INITRD_ALWAYS },
        { "debug-shell.service", NULL, INITRD_EMERGENCY },
        { "emergency.service", NULL, INITRD_ALWAYS },
        { "emergency.target", NULL, INITRD_ALWAYS },
        { "final.target", NULL, INITRD_ALWAYS },
        { "halt.target", NULL, INITRD_ALWAYS },
        { "initrd-cleanup.service", NULL, INITRD_ALWAYS },
        { "initrd-fs.target", NULL, INITRD_ALWAYS },
        { "initrd-parse-etc.service", NULL, INITRD_ALWAYS },
        { "initrd-root-device.target", NULL, INITRD_ALWAYS },
        { "initrd-root-fs.target", NULL, INITRD_ALWAYS },
        { "initrd-switch-root.service", NULL, INITRD_ALWAYS },
        { "initrd-switch-root.target", NULL, INITRD_ALWAYS },
        { "initrd-udevadm-cleanup-db.service", NULL, INITRD_ALWAYS },
        { "initrd-usr-fs.target", NULL, INITRD_ALWAYS },
        { "initrd.target", NULL, INITRD_ALWAYS },
        { "kexec.target", NULL, INITRD_ALWAYS },
        { "kmod-static-nodes.service", NULL, INITRD_ALWAYS },
        { "local-fs-pre.target", NULL, INITRD_ALWAYS },
        { "local-fs.target", NULL, INITRD_ALWAYS },
        { "modprobe@.service", NULL, INITRD_ALWAYS },
        { "paths.target", NULL, INITRD_ALWAYS },
        { "poweroff.target", NULL, INITRD_ALWAYS },
        { "reboot.target", NULL, INITRD_ALWAYS },
        { "rescue.service", NULL, INITRD_EMERGENCY },
        { "rescue.target", NULL, INITRD_EMERGENCY },
        { "shutdown.target", NULL, INITRD_ALWAYS },
        { "slices.target", NULL, INITRD_ALWAYS },
        { "sockets.target", NULL, INITRD_ALWAYS },
        { "swap.target", NULL, INITRD_ALWAYS },
        { "sysinit.target", NULL, INITRD_ALWAYS },
        { "system-systemd\\x2dcryptsetup.slice", NULL, INITRD_IF_THERE },
        { "system-systemd\\x2dveritysetup.slice", NULL, INITRD_IF_THERE },
        { "systemd-ask-password-console.path", NULL, INITRD_ALWAYS },
        { "systemd-ask-password-console.service", NULL, INITRD_ALWAYS },
        { "systemd-fsck-root.service", NULL, INITRD_ALWAYS },
        { "systemd-fsck@.service", NULL, INITRD_ALWAYS },
        { "systemd-growfs-root.service", NULL, INITRD_IF_THERE },
        { "systemd-growfs@.service", NULL, INITRD_IF_THERE },
        { "systemd-halt.service", NULL, INITRD_ALWAYS },
        { "systemd-journald-dev-log.socket", NULL, INITRD_ALWAYS },
        { "systemd-journald.service", NULL, INITRD_ALWAYS },
        { "systemd-journald.socket", NULL, INITRD_ALWAYS },
        { "systemd-kexec.service", NULL, INITRD_ALWAYS },
        { "systemd-makefs@.service", NULL, INITRD_IF_THERE },
        { "systemd-modules-load.service", NULL, INITRD_ALWAYS },
        { "systemd-pcrextend.socket", NULL, INITRD_TPM },
        { "systemd-pcrextend@.service", NULL, INITRD_TPM },
        { "systemd-pcrphase-initrd.service", NULL, INITRD_TPM },
        { "systemd-poweroff.service", NULL, INITRD_ALWAYS },
        { "systemd-reboot.service", NULL, INITRD_ALWAYS },
        { "systemd-repart.service", "systemd-repart", INITRD_ALWAYS },
        { "systemd-tmpfiles-setup-dev-early.service", NULL, INITRD_IF_THERE },
        { "systemd-tmpfiles-setup-dev.service", NULL, INITRD_ALWAYS },
        { "systemd-tpm2-setup-early.service", NULL, INITRD_TPM },
        { "systemd-udev-settle.service", "udev", INITRD_ALWAYS },
        { "systemd-udev-trigger.service", "udev", INITRD_ALWAYS },
        { "systemd-udevd-control.socket", "udev", INITRD_ALWAYS },
        { "systemd-udevd-kernel.socket", "udev", INITRD_ALWAYS },
        { "systemd-udevd.service", "udev", INITRD_ALWAYS },
        { "systemd-volatile-root.service", NULL, INITRD_ALWAYS },
        { "timers.target", NULL, INITRD_ALWAYS },
        { "tpm2.target", NULL, INITRD_TPM },
        { "umount.target", NULL, INITRD_ALWAYS },
        { "veritysetup-pre.target", "systemd-cryptsetup", INITRD_ALWAYS },
        { "veritysetup.target", "systemd-cryptsetup", INITRD_ALWAYS },
        {},
};

/* /etc of the real root: the sealed factory copy below, what this machine changed above. It must be complete before
 * initrd-parse-etc looks for an fstab in it.
 *
 * The lower layer changes with every new image under the same upper layer. The kernel allows that only without index,
 * metacopy, xino and directory redirects, so these are off by name, whatever the kernel's defaults are. */
static const char etc_mount[] = "[Unit]\n"
                                "Description=/etc: the image's factory copy, with this machine's changes\n"
                                "DefaultDependencies=no\n"
                                "RequiresMountsFor=/sysroot/usr/share/factory/etc\n"
                                "Requires=sealab-etc-folders.service\n"
                                "After=sealab-etc-folders.service systemd-volatile-root.service\n"
                                "After=sysroot.mount sysroot-usr.mount\n"
                                "Before=initrd-parse-etc.service initrd-fs.target\n"
                                "Conflicts=umount.target\n"
                                "OnFailure=emergency.target\n"
                                "OnFailureJobMode=replace-irreversibly\n"
                                "\n"
                                "[Mount]\n"
                                "What=overlay\n"
                                "Where=/sysroot/etc\n"
                                "Type=overlay\n"
                                "Options=lowerdir=/sysroot/usr/share/factory/etc,upperdir=/sysroot/.etc/upper,"
                                "workdir=/sysroot/.etc/work,index=off,metacopy=off,xino=off,redirect_dir=nofollow\n";

static const char etc_folders_service[] = "[Unit]\n"
                                          "Description=Folders for this machine's changes to /etc\n"
                                          "DefaultDependencies=no\n"
                                          "RequiresMountsFor=/sysroot\n"
                                          "After=sysroot.mount systemd-volatile-root.service\n"
                                          "Conflicts=shutdown.target\n"
                                          "Before=shutdown.target\n"
                                          "OnFailure=emergency.target\n"
                                          "OnFailureJobMode=replace-irreversibly\n"
                                          "\n"
                                          "[Service]\n"
                                          "Type=oneshot\n"
                                          "RemainAfterExit=yes\n"
                                          "ExecStart=systemd-tmpfiles --create /usr/lib/sealab/etc-folders.conf\n";

/* The upper folder's mode is that of the whole /etc; nobody but root has business with the layers themselves. */
static const char etc_folders[] = "d /sysroot/.etc 0700 0 0 -\n"
                                  "d /sysroot/.etc/upper 0755 0 0 -\n"
                                  "d /sysroot/.etc/work 0700 0 0 -\n"
                                  "d /sysroot/etc 0755 0 0 -\n";

/* systemd-repart may make the root partition anew (factory reset), long after the first boot: nothing may have it open
 * by then. systemd itself only orders both before initrd-root-fs.target, and would make a file system over a mounted
 * one. */
static const char after_repart[] = "[Unit]\nAfter=systemd-repart.service\n";

/* Restarting lets the boot loader count the attempt and fall back; a prompt on an unattended machine would not. */
static const char restart_instead[] =
        "[Unit]\n"
        "Description=Restart, because the system could not be started\n"
        "SuccessAction=reboot-force\n"
        "FailureAction=reboot-force\n"
        "\n"
        "[Service]\n"
        "ExecStartPre=\n"
        "ExecStart=\n"
        "ExecStart=-journalctl --no-pager --boot --priority=err --output=short-monotonic\n"
        "ExecStart=-sleep 20\n"
        "Type=oneshot\n"
        "StandardInput=null\n"
        "StandardOutput=tty\n"
        "StandardError=tty\n"
        "TTYPath=/dev/console\n";

/* ---- an encrypted root partition ---- */

/* Asked of repart itself, which knows what it would do. A factory reset it does not tell beforehand. A key is handed
 * over in any case: without one repart would take the empty key if it made a partition after all. */
#define MAKE_ROOT_BEGIN                                                                                                \
        "set -eu\n"                                                                                                    \
        "umask 077\n"                                                                                                  \
        "mkdir -p /run/sealab\n"                                                                                       \
        "read -r key </proc/sys/kernel/random/uuid\n"                                                                  \
        "plan=$(systemd-repart --dry-run=yes --json=short)\n"                                                          \
        "read -r line </proc/cmdline\n"                                                                                \
        "new=\n"                                                                                                       \
        "case $plan in *'\"activity\":\"create\"'*) new=1;; esac\n"                                                    \
        "case $line in *systemd.factory_reset*) new=1;; esac\n"                                                        \
        "[ ! -e /sys/firmware/efi/efivars/FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67 ] || new=1\n"

/* The file stays where a partition was made with it; sealab-root-key.service takes it from there. What waits for the
 * opened partition has no time limit: that there will be none has to be said here. */
#define MAKE_ROOT_END(options)                                                                                         \
        "printf %s \"$key\" >/run/sealab/root-key\n"                                                                   \
        "status=0\n"                                                                                                   \
        "systemd-repart --dry-run=no --key-file=/run/sealab/root-key" options " || status=$?\n"                        \
        "[ -n \"$new\" ] && [ $status = 0 ] || rm /run/sealab/root-key\n"                                              \
        "udevadm settle --timeout=120 || :\n"                                                                          \
        "if [ $status = 0 ] && [ ! -e /dev/gpt-auto-root-luks ]; then\n"                                               \
        "  echo '<3>There is a root partition, but it is not encrypted.' >&2\n"                                        \
        "  exit 1\n"                                                                                                   \
        "fi\n"                                                                                                         \
        "exit $status\n"

/* PCR 7 is the state of Secure Boot. PCR 15 is empty until a root partition is opened, whose key is measured into it:
 * somebody's own root partition under this system does not get at the key of the machine's. */
static const char make_root_sealed[] = MAKE_ROOT_BEGIN MAKE_ROOT_END(" --tpm2-pcrs=7+15");

static const char make_root_with_passphrase[] =
        MAKE_ROOT_BEGIN "ask() { systemd-ask-password --timeout=0 --id=sealab-root \"$@\"; }\n"
                        "given=${CREDENTIALS_DIRECTORY:-/nowhere}/cryptsetup.passphrase\n"
                        "question='Choose a passphrase for the disk of this machine:'\n"
                        "while [ -n \"$new\" ]; do\n"
                        "  key=$(ask --credential=cryptsetup.passphrase --keyname=cryptsetup \"$question\")\n"
                        "  [ ! -e \"$given\" ] || break\n"
                        "  again=$(ask 'The same passphrase again:')\n"
                        "  [ -z \"$key\" ] || [ \"$key\" != \"$again\" ] || break\n"
                        "  question='These were not the same, or empty. Choose a passphrase for the disk:'\n"
                        "done\n" MAKE_ROOT_END("");

static const char repart_dropin[] = "[Unit]\n"
                                    "OnFailure=emergency.target\n"
                                    "OnFailureJobMode=replace-irreversibly\n"
                                    "\n"
                                    "[Service]\n"
                                    "ImportCredential=cryptsetup.passphrase\n"
                                    "KeyringMode=shared\n"
                                    "ExecStart=\n"
                                    "ExecStart=sh /usr/lib/sealab/make-root\n";

/* Grown first, then opened: at its full size. What gpt-auto waits for has no time limit, so the failure itself must end
 * the boot. */
static const char cryptsetup_dropin[] = "[Unit]\n"
                                        "After=systemd-repart.service\n"
                                        "OnFailure=emergency.target\n"
                                        "OnFailureJobMode=replace-irreversibly\n";

/* Where the TPM refuses, somebody may type the recovery key. If nobody does, the boot loader is to have its chance to
 * fall back: it may be this version that the TPM does not trust. */
static const char cryptsetup_limit[] = "[Service]\n"
                                       "TimeoutStartSec=5min\n";

/* gpt-auto would mount a root partition that is not encrypted just as well. */
static const char sysroot_dropin[] = "[Mount]\n"
                                     "What=/dev/mapper/root\n";

/* Who chooses a passphrase may take the time. What fails meanwhile says so by itself. */
static const char device_dropin[] = "[Unit]\n"
                                    "JobRunningTimeoutSec=infinity\n";

static const char root_key_service[] = "[Unit]\n"
                                       "Description=Recovery key of the new root partition\n"
                                       "DefaultDependencies=no\n"
                                       "ConditionPathExists=/run/sealab/root-key\n"
                                       "RequiresMountsFor=/sysroot\n"
                                       "After=sysroot.mount systemd-volatile-root.service\n"
                                       "Before=sealab-etc-folders.service initrd-fs.target shutdown.target\n"
                                       "Conflicts=shutdown.target\n"
                                       "OnFailure=emergency.target\n"
                                       "OnFailureJobMode=replace-irreversibly\n"
                                       "\n"
                                       "[Service]\n"
                                       "Type=oneshot\n"
                                       "RemainAfterExit=yes\n"
                                       "ExecStart=systemd-tmpfiles --create /usr/lib/sealab/root-key.conf\n"
                                       "ExecStart=sync\n"
                                       "ExecStart=rm /run/sealab/root-key\n";

/* Only who is root on the running machine can read it, and may then read everything anyway. */
static const char root_key_sealed[] = "d /sysroot/var 0755 0 0 -\n"
                                      "d /sysroot/var/lib 0755 0 0 -\n"
                                      "d /sysroot/var/lib/sealab 0755 0 0 -\n"
                                      "C /sysroot/var/lib/sealab/recovery-key 0600 0 0 - /run/sealab/root-key\n";

static const char root_key_known[] = "# Its owner knows the passphrase.\n";

/* What hangs does not fail. Restarting lets the boot loader count the try; ten times what a slow machine needs. */
static const char initrd_limit[] = "[Unit]\n"
                                   "JobTimeoutSec=10min\n"
                                   "JobTimeoutAction=reboot-force\n";

#define UNITS "/usr/lib/systemd/system/"

const InitrdText initrd_texts[] = {
        { "/usr/lib/sealab/make-root", make_root_sealed, INITRD_TPM, false },
        { "/usr/lib/sealab/make-root", make_root_with_passphrase, INITRD_PASSPHRASE, false },
        { "/usr/lib/sealab/root-key.conf", root_key_sealed, INITRD_TPM, false },
        { "/usr/lib/sealab/root-key.conf", root_key_known, INITRD_PASSPHRASE, false },
        { UNITS "systemd-repart.service.d/50-sealab.conf", repart_dropin, INITRD_ENCRYPTED, false },
        { UNITS "systemd-cryptsetup@root.service.d/50-sealab.conf", cryptsetup_dropin, INITRD_ENCRYPTED, false },
        { UNITS "systemd-cryptsetup@root.service.d/60-limit.conf", cryptsetup_limit, INITRD_TPM, false },
        { UNITS "sysroot.mount.d/50-sealab.conf", sysroot_dropin, INITRD_ENCRYPTED, false },
        { UNITS "dev-gpt\\x2dauto\\x2droot.device.d/50-sealab.conf", device_dropin, INITRD_PASSPHRASE, false },
        { UNITS "dev-mapper-root.device.d/50-sealab.conf", device_dropin, INITRD_PASSPHRASE, false },
        { UNITS "sealab-root-key.service", root_key_service, INITRD_ENCRYPTED, false },
        { UNITS "initrd-fs.target.d/50-sealab.conf", "[Unit]\nRequires=sealab-root-key.service\n", INITRD_ENCRYPTED,
          false },
        { "/usr/lib/systemd/system/sysroot-etc.mount", etc_mount, INITRD_ALWAYS, false },
        { "/usr/lib/systemd/system/sealab-etc-folders.service", etc_folders_service, INITRD_ALWAYS, false },
        { "/usr/lib/sealab/etc-folders.conf", etc_folders, INITRD_ALWAYS, false },
        { "/usr/lib/systemd/system/sysroot.mount.d/50-repart.conf", after_repart, INITRD_ALWAYS, false },
        { "/usr/lib/systemd/system/systemd-fsck-root.service.d/50-repart.conf", after_repart, INITRD_ALWAYS, false },
        { UNITS "initrd.target.d/50-limit.conf", initrd_limit, INITRD_ATTENDED, true },
        { "/usr/lib/systemd/system/emergency.service.d/50-restart.conf", restart_instead, INITRD_EMERGENCY, true },
        { "/usr/lib/systemd/system/emergency.service.d/50-no-password.conf",
          "[Service]\nEnvironment=SYSTEMD_SULOGIN_FORCE=1\n", INITRD_EMERGENCY, false },
        { "/usr/lib/systemd/system/rescue.service.d/50-no-password.conf",
          "[Service]\nEnvironment=SYSTEMD_SULOGIN_FORCE=1\n", INITRD_EMERGENCY, false },
        { "/usr/lib/systemd/system/debug-shell.service.d/50-shell.conf",
          "[Service]\nExecStart=\nExecStart=/usr/bin/sh\n", INITRD_EMERGENCY, false },
        { "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
          INITRD_ALWAYS, false },
        { "/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\n", INITRD_ALWAYS, false },
        {},
};

const InitrdLink initrd_links[] = {
        { "/bin", "usr/bin", 0 },
        { "/sbin", "usr/sbin", 0 },
        { "/lib", "usr/lib", 0 },
        { "/init", "usr/lib/systemd/systemd", 0 },
        { "/usr/lib/systemd/system/default.target", "initrd.target", 0 },
        { "/usr/lib/systemd/system/initrd-fs.target.requires/sysroot-etc.mount", "../sysroot-etc.mount", 0 },
        { "/etc/os-release", "initrd-release", 0 },
        { "/usr/lib/os-release", "../../etc/initrd-release", 0 },
        { "/var/run", "../run", 0 },
        { "/dev", NULL, 0755 },
        { "/proc", NULL, 0555 },
        { "/sys", NULL, 0555 },
        { "/run", NULL, 0755 },
        { "/root", NULL, 0700 },
        { "/sysroot", NULL, 0755 },
        { "/tmp", NULL, 01777 },
        { "/var/tmp", NULL, 01777 },
        {},
};

static void hash_items(Hasher *h, const InitrdItem *items) {
        for (; items->path; items++) {
                hasher_update_string(h, items->path);
                hasher_update_string(h, items->package ?: "");
                hasher_update(h, &items->when, sizeof items->when);
        }
}

void initrd_list_digest(Sha256 *ret) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();

        hash_items(h, initrd_files);
        hash_items(h, initrd_libraries);
        hash_items(h, initrd_units);
        for (const InitrdText *t = initrd_texts; t->path; t++) {
                hasher_update_string(h, t->path);
                hasher_update_string(h, t->text);
                hasher_update(h, &t->when, sizeof t->when);
                hasher_update(h, &t->unless, sizeof t->unless);
        }
        for (const InitrdLink *l = initrd_links; l->path; l++) {
                hasher_update_string(h, l->path);
                hasher_update_string(h, l->target ?: "");
                hasher_update(h, &l->mode, sizeof l->mode);
        }
        hasher_final(h, ret);
}
