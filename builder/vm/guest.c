/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <openssl/evp.h>

#include "guest.h"

/* A port of its own: kernel and systemd write to the console whenever they like, also into the middle of a line. */
#define REPORT_PORT "/dev/ttyS1"

/* Sh, not bash: it must run in the smallest image. Nothing it calls is outside systemd, coreutils and the shell. It
 * waits by asking, because waiting inside the start transaction would wait for itself. */
static const char report_script[] =
        "exec >" REPORT_PORT " 2>/dev/null </dev/null\n"
        "echo hello=1\n"
        "say() { printf '%s=%s\\n' \"$1\" \"$2\"; }\n"
        "n=0\n"
        "while state=$(systemctl is-system-running); case $state in initializing|starting) true;; *) false;; esac; do\n"
        "  n=$((n + 1))\n"
        "  if [ $((n % 10)) = 0 ]; then\n"
        "    say jobs \"$(systemctl list-jobs --plain --no-legend | while read -r id unit rest; do printf '%s ' "
        "\"$unit\"; "
        "done)\"\n"
        "  fi\n"
        "  sleep 1\n"
        "done\n"
        "say state \"$state\"\n"
        "while read -r line; do\n"
        "  case $line in IMAGE_ID=*|IMAGE_VERSION=*|PRETTY_NAME=*)\n"
        "    value=${line#*=}; value=${value#\\\"}; say \"${line%%=*}\" \"${value%\\\"}\";;\n"
        "  esac\n"
        "done </usr/lib/os-release\n"
        "say kernel \"$(uname -r)\"\n"
        "say systemd \"$(systemctl --version | head -n 1 | cut -d ' ' -f 2)\"\n"
        "say cmdline \"$(cat /proc/cmdline)\"\n"
        "while read -r source where type rest; do\n"
        "  case $where in /usr|/etc) say \"mount${where}\" \"$source $type\";; esac\n"
        "done </proc/self/mounts\n"
        "for d in /sys/block/dm-*/dm; do\n"
        "  [ -r \"$d/name\" ] && say device \"$(cat \"$d/name\") $(cat \"$d/uuid\")\"\n"
        "done\n"
        "say boot-complete \"$(systemctl is-active boot-complete.target)\"\n"
        "say blessed \"$(systemctl is-active systemd-bless-boot.service)\"\n"
        "say secure-boot \"$(od -An -tu1 -j4 -N1 /sys/firmware/efi/efivars/"
        "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c | tr -d ' ')\"\n"
        "say root-size \"$(df -B1 --output=size / | tail -n 1 | tr -d ' ')\"\n"
        "[ -x /usr/sbin/sshd ] && say sshd 1\n"
        "systemctl list-units --state=failed --plain --no-legend --full | while read -r unit rest; do\n"
        "  say failed \"$unit\"\n"
        "  journalctl -b -q -u \"$unit\" -n 5 -o cat --no-pager | while read -r line; do say failed-log \"$unit: "
        "$line\"; "
        "done\n"
        "done\n"
        "read -r up rest </proc/uptime; say uptime \"$up\"\n"
        "echo end=1\n";

static const char report_unit[] = "[Unit]\n"
                                  "Description=Report the state of this boot to the host\n"
                                  "DefaultDependencies=no\n"
                                  "After=basic.target\n"
                                  "Wants=boot-complete.target\n"
                                  "[Service]\n"
                                  "Type=exec\n"
                                  "LoadCredential=sealab.report\n"
                                  "ExecStart=/bin/sh %d/sealab.report\n";

/* Keys under /run only: what the image is must not depend on having been looked at. */
static const char ssh_unit[] =
        "[Unit]\n"
        "Description=SSH server for the host\n"
        "After=network.target\n"
        "[Service]\n"
        "LoadCredential=sealab.authorized-key\n"
        "RuntimeDirectory=sealab-ssh sshd\n"
        "ExecStartPre=/usr/bin/ssh-keygen -q -t ed25519 -N \"\" -f /run/sealab-ssh/host_key\n"
        "ExecStartPre=/bin/sh -c 'umask 022; cat \"$CREDENTIALS_DIRECTORY/sealab.authorized-key\" "
        ">/run/sealab-ssh/authorized_keys'\n"
        "ExecStart=/usr/sbin/sshd -D -e -h /run/sealab-ssh/host_key -o PidFile=none -o StrictModes=no "
        "-o PermitRootLogin=prohibit-password -o AuthorizedKeysFile=/run/sealab-ssh/authorized_keys\n";

/* The shell itself, for neither a getty nor login need be in the image, and root's password is locked. */
static const char console_dropin[] = "[Service]\n"
                                     "Environment=HOME=/root TERM=vt220\n"
                                     "WorkingDirectory=/root\n"
                                     "ExecStart=\n"
                                     "ExecStart=-/bin/sh -c 'command -v bash >/dev/null && exec bash -l; exec sh -l'\n";

/* In the initrd, too: without it a system that cannot find its /usr only looks slow. */
static const char emergency_dropin[] = "[Service]\n"
                                       "ExecStartPre=-/bin/sh -c 'echo emergency=1 >" REPORT_PORT
                                       "; systemctl list-units --state=failed --plain --no-legend --full | while read "
                                       "-r u r; do echo failed=$$u; done >" REPORT_PORT "'\n";

static void add_credential(char ***strings, const char *name, const char *value) {
        size_t size = strlen(value);
        _cleanup_free_ char *text = xmalloc(4 * ((size + 2) / 3) + 1);

        EVP_EncodeBlock((unsigned char *) text, (const unsigned char *) value, (int) size);
        strv_extendf(strings, "io.systemd.credential.binary:%s=%s", name, text);
}

char **guest_smbios_strings(const GuestOptions *o) {
        _cleanup_free_ char *script = xasprintf("%s%s", report_script, o->power_off ? "systemctl poweroff\n" : "");
        _cleanup_free_ char *wants =
                xasprintf("[Unit]\nWants=sealab-report.service%s%s\n", o->authorized_key ? " sealab-ssh.service" : "",
                          o->root_console ? " serial-getty@ttyS0.service" : "");
        char **strings = NULL;

        /* systemd-stub appends it, and so it does with Secure Boot on (seen with 257): what must be booted as signed is
         * not to be told. */
        if (!o->keep_command_line)
                strv_extend(&strings, "io.systemd.stub.kernel-cmdline-extra=" GUEST_COMMAND_LINE);
        add_credential(&strings, "sealab.report", script);
        add_credential(&strings, "systemd.extra-unit.sealab-report.service", report_unit);
        add_credential(&strings, "systemd.unit-dropin.multi-user.target", wants);
        add_credential(&strings, "systemd.unit-dropin.emergency.service", emergency_dropin);
        if (o->root_console)
                add_credential(&strings, "systemd.unit-dropin.serial-getty@ttyS0.service", console_dropin);
        if (o->authorized_key) {
                add_credential(&strings, "sealab.authorized-key", o->authorized_key);
                add_credential(&strings, "systemd.extra-unit.sealab-ssh.service", ssh_unit);
        }
        strv_extend_strv(&strings, o->extra);
        return strings;
}

void guest_report_done(GuestReport *r) {
        free(r->state);
        free(r->image_id);
        free(r->image_version);
        free(r->pretty_name);
        free(r->systemd_version);
        free(r->kernel);
        free(r->command_line);
        free(r->usr_source);
        free(r->usr_type);
        free(r->etc_type);
        free(r->blessed);
        strv_free(r->failed_units);
        strv_free(r->failed_logs);
        strv_free(r->jobs);
        *r = (GuestReport){};
}

static void set_string(char **field, const char *value) {
        free(*field);
        *field = xstrdup(value);
}

/* "SOURCE TYPE"; a later line for the same place is the mount on top. */
static void set_mount(char **source, char **type, const char *value) {
        size_t n = strcspn(value, " ");

        if (source) {
                free(*source);
                *source = xstrndup(value, n);
        }
        set_string(type, value[n] ? value + n + 1 : "");
}

/* "NAME UUID": libcryptsetup names the target type in the id it gives a device. */
static void note_device(GuestReport *r, char ***verity_devices, const char *value) {
        size_t n = strcspn(value, " ");

        if (value[n] && startswith(value + n + 1, "CRYPT-VERITY-"))
                strv_extendf(verity_devices, "/dev/mapper/%.*s", (int) n, value);
}

static void parse_line(GuestReport *r, char ***verity_devices, const char *key, const char *value) {
        const struct {
                const char *key;
                char **field;
        } strings[] = {
                { "state", &r->state },
                { "IMAGE_ID", &r->image_id },
                { "PRETTY_NAME", &r->pretty_name },
                { "IMAGE_VERSION", &r->image_version },
                { "kernel", &r->kernel },
                { "systemd", &r->systemd_version },
                { "cmdline", &r->command_line },
                { "blessed", &r->blessed },
        };

        for (size_t i = 0; i < ELEMENTSOF(strings); i++)
                if (streq(key, strings[i].key))
                        set_string(strings[i].field, value);
        if (streq(key, "mount/usr"))
                set_mount(&r->usr_source, &r->usr_type, value);
        else if (streq(key, "mount/etc"))
                set_mount(NULL, &r->etc_type, value);
        else if (streq(key, "device"))
                note_device(r, verity_devices, value);
        else if (streq(key, "failed"))
                strv_extend(&r->failed_units, value);
        else if (streq(key, "failed-log"))
                strv_extend(&r->failed_logs, value);
        else if (streq(key, "jobs")) {
                strv_free(r->jobs);
                r->jobs = strv_split(value, " ");
        } else if (streq(key, "root-size"))
                (void) parse_u64(value, &r->root_size);
        else if (streq(key, "uptime"))
                r->uptime = strtod(value, NULL);
        else if (streq(key, "boot-complete"))
                r->boot_complete = streq(value, "active");
        else if (streq(key, "secure-boot"))
                r->secure_boot = streq(value, "1");
        else if (streq(key, "sshd"))
                r->ssh_server = true;
        else if (streq(key, "hello"))
                r->hello = true;
        else if (streq(key, "emergency"))
                r->emergency = true;
        else if (streq(key, "end"))
                r->complete = true;
}

void guest_report_parse(const char *text, size_t size, GuestReport *ret) {
        _cleanup_strv_free_ char **verity_devices = NULL;
        _cleanup_guest_report_ GuestReport r = {};
        const char *end = text + size;

        for (const char *p = text, *newline; p < end && (newline = memchr(p, '\n', (size_t) (end - p)));
             p = newline + 1) {
                _cleanup_free_ char *line = NULL;
                char *equals;

                if (newline - p > GUEST_REPORT_LINE_MAX)
                        continue;
                line = xstrndup(p, (size_t) (newline - p));
                equals = strchr(strstrip(line), '=');
                if (!equals)
                        continue;
                *equals = 0;
                parse_line(&r, &verity_devices, strstrip(line), equals + 1);
        }
        r.usr_on_verity = r.usr_source && strv_contains(verity_devices, r.usr_source);
        r.etc_overlay = streq_ptr(r.etc_type, "overlay");
        *ret = r;
        r = (GuestReport){};
}

/* Escape sequences of terminals: CSI ... letter, or ESC and one character. */
static size_t escape_length(const char *p, const char *end) {
        const char *q = p + 1;

        if (q < end && *q == '[') {
                for (q++; q < end && !(*q >= 0x40 && *q <= 0x7e); q++)
                        ;
        }
        return (size_t) (MIN(q + 1, end) - p);
}

char *guest_clean_console(const char *text, size_t size) {
        const char *end = text + size;
        Buffer b = {};

        for (const char *p = text; p < end;) {
                if (*p == '\033') {
                        size_t n = escape_length(p, end);

                        /* Firmware draws its screens by moving the cursor: what comes next is another line. */
                        if (p[n - 1] == 'H' && b.size > 0 && b.data[b.size - 1] != '\n')
                                buffer_append(&b, "\n", 1);
                        p += n;
                } else {
                        if (*p == '\n' || *p == '\t' || (unsigned char) *p >= ' ')
                                buffer_append(&b, p, 1);
                        p++;
                }
        }
        return b.data ? buffer_steal(&b) : xstrdup("");
}

static char *line_around(const char *text, const char *at) {
        const char *from = at;

        while (from > text && from[-1] != '\n')
                from--;
        return xstrndup(from, MIN(strcspn(from, "\n"), (size_t) 300));
}

GuestVerdict guest_judge_console(const char *text, size_t size, char **ret_why) {
        static const struct {
                const char *needle;
                GuestVerdict verdict;
        } markers[] = {
                { "Kernel panic - not syncing", GUEST_FAILED },
                { "You are in emergency mode", GUEST_FAILED },
                { "Entering emergency mode", GUEST_FAILED },
                { "Press Enter for maintenance", GUEST_FAILED },
                { "Reached target emergency.target", GUEST_FAILED },
                { "Reached target Emergency Mode", GUEST_FAILED },
                /* dm-verity: whatever runs on would do so on what it could not read. */
                { "is corrupted", GUEST_FAILED },
                { "UEFI Interactive Shell", GUEST_FAILED },
                { "BdsDxe: No bootable option", GUEST_FAILED },
                { "Security Violation", GUEST_FAILED },
                { "Access Denied", GUEST_FAILED },
                { "Error loading \\", GUEST_FAILED },
                { "Reached target boot-complete.target", GUEST_UP },
                { "Reached target Boot Completion Check", GUEST_UP },
                { " login: ", GUEST_UP },
        };
        _cleanup_free_ char *clean = guest_clean_console(text, size);

        for (size_t i = 0; i < ELEMENTSOF(markers); i++) {
                const char *at = strstr(clean, markers[i].needle);

                if (!at)
                        continue;
                *ret_why = line_around(clean, at);
                return markers[i].verdict;
        }
        return GUEST_PENDING;
}

char **guest_console_failed_units(const char *text, size_t size) {
        static const char marker[] = "[FAILED] Failed to start ";
        _cleanup_free_ char *clean = guest_clean_console(text, size);
        char **units = NULL;

        for (const char *p = clean; (p = strstr(p, marker)); p++) {
                const char *name = p + strlen(marker);
                size_t n = strcspn(name, " \n");

                strv_push(&units, xstrndup(name, n));
        }
        strv_sort_unique(units);
        return units;
}
