/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Talking with the system inside the machine without changing its image: what it is told (systemd credentials, handed
 * over as SMBIOS strings; systemd(1), systemd.system-credentials(7)) and what it says (a report on a serial port of its
 * own, and whatever appears on the console). No input or output happens here.
 *
 * The report comes from a unit that systemd-debug-generator (systemd 256 and newer) takes out of a credential. Systems
 * older than that send none; then the console is all there is, and the result says so. */

#include "json.h"

#define GUEST_CONSOLE_MAX ((size_t) 16 << 20)
#define GUEST_REPORT_MAX ((size_t) 256 << 10)
#define GUEST_REPORT_LINE_MAX 1024
/* Said to the kernel beside what is signed. An emulated machine on a busy host gets its timer's interrupts too late for
 * the kernel's check that there are any ("IO-APIC + timer doesn't work!"). */
#define GUEST_COMMAND_LINE "console=ttyS0 no_timer_check"

typedef struct GuestOptions {
        bool keep_command_line;     /* adds nothing to the signed one */
        bool power_off;             /* after the report; otherwise it stays up */
        bool root_console;          /* a root shell on the console, no password asked */
        const char *authorized_key; /* starts an ssh server for root with this public key; NULL: no */
        char *const *extra;         /* borrowed; further SMBIOS strings, as they are */
} GuestOptions;

/* The strings for SMBIOS tables of type 11, owned. */
char **guest_smbios_strings(const GuestOptions *o);

/* What a boot was seen to be. */
typedef struct GuestReport {
        bool hello;    /* the unit runs: a complete report will follow */
        bool complete; /* all of it arrived */
        char *state;   /* "running", "degraded" */
        char *image_id, *image_version, *pretty_name, *systemd_version, *kernel;
        char *command_line;
        char *usr_source, *usr_type, *etc_type;
        bool usr_on_verity, etc_overlay;
        bool boot_complete; /* boot-complete.target was reached */
        char *blessed;      /* state of systemd-bless-boot.service: "active", "inactive", "failed" */
        bool secure_boot;
        bool ssh_server; /* there is one in the image */
        uint64_t root_size;
        double uptime;
        char **failed_units;
        char **failed_logs; /* "UNIT: line of its journal" */
        char **jobs;        /* of the latest look, while it is still starting */
        bool emergency;     /* it fell into emergency mode */
} GuestReport;

void guest_report_done(GuestReport *r);
#define _cleanup_guest_report_ _cleanup_(guest_report_done)

/* Reads what arrived so far; unknown lines are ignored, lines may be incomplete. */
void guest_report_parse(const char *text, size_t size, GuestReport *ret);

typedef enum GuestVerdict {
        GUEST_PENDING, /* nothing decisive yet */
        GUEST_UP,      /* boot-complete.target, or a login prompt */
        GUEST_FAILED,
} GuestVerdict;

/* Judges the console's text so far. *ret_why (owned) is the line that decided. */
GuestVerdict guest_judge_console(const char *text, size_t size, char **ret_why);
/* The text without escape sequences and carriage returns. */
char *guest_clean_console(const char *text, size_t size);
/* The units that the console calls failed. */
char **guest_console_failed_units(const char *text, size_t size);
