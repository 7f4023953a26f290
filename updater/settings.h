/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* sealab-updater.conf(5): /usr/lib/sealab/updater.conf, /etc/sealab/updater.conf and updater.conf.d/NAME.conf in both
 * folders (a file in /etc hides the one of the same name in /usr/lib; drop-ins in order of name, the later wins). A
 * setting that makes no sense is named with file and line and the safe default holds: an updater that does not start
 * because of a typing mistake would be worse. */

#include "conf.h"

typedef enum RebootPolicy { REBOOT_NEVER, REBOOT_IDLE, REBOOT_WINDOW, _REBOOT_POLICY_MAX } RebootPolicy;

/* "Mon..Fri 02:00-05:30": days as a bit set (bit 0: Monday), minutes since midnight; end below begin goes over
 * midnight. */
typedef struct MaintenanceWindow {
        uint8_t days;
        uint16_t begin, end;
} MaintenanceWindow;
#define SETTINGS_WINDOWS_MAX 32
#define SETTINGS_REPOSITORIES_MAX 16

typedef struct SettingsEntry {
        const char *section, *key; /* "Policy", "BatteryMin" */
        char *value;               /* effective, as text */
        char *source;              /* "/etc/sealab/updater.conf:4", "default" */
} SettingsEntry;

typedef struct UpdaterSettings {
        /* [Repository] */
        char **repositories; /* Url=: base URLs of repositories with the same content, in order of preference; empty:
                                updates are off */
        char *channel;       /* Channel=stable */
        char *product;       /* Product=; NULL: IMAGE_ID of os-release */
        char *proxy, *ca_certificate, *client_certificate, *client_key;
        uint64_t rate_limit; /* RateLimit= bytes a second; 0: none */
        /* [Policy] */
        bool automatic;                                  /* Automatic=yes: install by itself */
        MaintenanceWindow windows[SETTINGS_WINDOWS_MAX]; /* Window=; none: any time */
        size_t n_windows;
        char *time_zone;           /* TimeZone=; NULL: the machine's */
        uint64_t random_delay_sec; /* RandomDelay=4h: spread over machines, stable for each */
        uint64_t battery_min;      /* BatteryMin=50 percent when not on mains; 100: mains only */
        bool metered;              /* Metered=no: may use metered connections */
        bool wake;                 /* Wake=no: wake from suspend for the window */
        RebootPolicy reboot;       /* Reboot=never|idle|window */
        uint64_t tries;            /* Tries=3, 1..9 */

        SettingsEntry *entries; /* all of them, in the order of the manual page */
        size_t n_entries;
} UpdaterSettings;

/* root: "/" or a folder that stands for it. "Key=" without a value is the default again. Never fails for what a file
 * says; diagnostics hold what is wrong. */
int settings_load(const char *root, ConfDiagnostics *diagnostics, UpdaterSettings **ret, Error *reterr);
UpdaterSettings *settings_free(UpdaterSettings *s);
DEFINE_CLEANUP(UpdaterSettings *, settings_free)
