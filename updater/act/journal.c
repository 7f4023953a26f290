/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <syslog.h>
#include <systemd/sd-journal.h>

#include "journal.h"

#define WITNESSES 3
#define MESSAGE_MAX 200
/* A journal that is larger has more between the two boots than anybody reads. */
#define ENTRIES_MAX 500000
/* The kernel says its command line among the first. */
#define KERNEL_ENTRIES_MAX 200

const char *journal_message_id(const HistoryEntry *e) {
        if (streq(e->action, "update"))
                return streq(e->result, "done") ? JOURNAL_INSTALLED : JOURNAL_FAILED;
        if (streq(e->action, "boot"))
                return streq(e->result, "blessed") ? JOURNAL_BLESSED : JOURNAL_FELL_BACK;
        if (streq(e->action, "revert"))
                return JOURNAL_REVERTED;
        if (streq(e->action, "pin") || streq(e->action, "unpin"))
                return JOURNAL_PINNED;
        return NULL;
}

char *journal_sentence(const HistoryEntry *e) {
        const char *to = e->to ?: "another version", *from = e->from ?: "the version before";

        if (streq(e->action, "update") && streq(e->result, "done"))
                return xasprintf("%s is installed beside %s and starts with the next restart", to, from);
        if (streq(e->action, "update"))
                return xasprintf("%s could not be installed: %s", to, e->message ?: e->result);
        if (streq(e->action, "boot") && streq(e->result, "blessed"))
                return xasprintf("%s came up well: the update from %s is complete", to, from);
        if (streq(e->action, "boot"))
                return xasprintf("%s did not come up well, %s runs again: %s", to, from,
                                 e->message ?: "nobody knows why");
        if (streq(e->action, "revert"))
                return xasprintf("going back from %s to %s with the next restart", from, to);
        if (streq(e->action, "pin"))
                return xasprintf("this machine stays on %s", to);
        if (streq(e->action, "unpin"))
                return xstrdup("this machine takes updates again");
        return xasprintf("%s: %s", e->action, e->result);
}

void journal_write(const HistoryEntry *e) {
        _cleanup_free_ char *sentence = journal_sentence(e);
        const char *id = journal_message_id(e);
        bool bad = id && (streq(id, JOURNAL_FAILED) || streq(id, JOURNAL_FELL_BACK));

        (void) sd_journal_send("MESSAGE=%s", sentence, "PRIORITY=%i", bad ? LOG_WARNING : LOG_NOTICE,
                               "SYSLOG_IDENTIFIER=sealabd", "SEALAB_ACTION=%s", e->action, "SEALAB_FROM=%s",
                               e->from ?: "", "SEALAB_TO=%s", e->to ?: "", "SEALAB_RESULT=%s", e->result,
                               "SEALAB_BYTES=%" PRIu64, e->bytes, "SEALAB_SECONDS=%" PRIu64, e->duration_sec,
                               id ? "MESSAGE_ID=%s" : NULL, id, NULL);
}

/* ---- reading ---- */

static void journal_closep(sd_journal **j) {
        if (*j)
                sd_journal_close(*j);
}

static bool boot_before(sd_journal *j, sd_id128_t *ret) {
        sd_id128_t current, id;
        uint64_t usec;

        if (sd_id128_get_boot(&current) < 0 || sd_journal_seek_tail(j) < 0)
                return false;
        for (size_t i = 0; i < ENTRIES_MAX && sd_journal_previous(j) > 0; i++)
                if (sd_journal_get_monotonic_usec(j, &usec, &id) >= 0 && !sd_id128_equal(id, current)) {
                        *ret = id;
                        return true;
                }
        return false;
}

static bool match(sd_journal *j, const char *field, const char *value) {
        _cleanup_free_ char *text = xasprintf("%s=%s", field, value);

        return sd_journal_add_match(j, text, 0) >= 0;
}

static bool match_boot(sd_journal *j, sd_id128_t boot) {
        char id[33];

        sd_journal_flush_matches(j);
        return match(j, "_BOOT_ID", sd_id128_to_string(boot, id));
}

/* NULL: none, or not what somebody would want to read. */
static char *message_of_entry(sd_journal *j) {
        static const char field[] = "MESSAGE=";
        const void *data;
        char *text;
        size_t n;

        if (sd_journal_get_data(j, "MESSAGE", &data, &n) < 0 || n <= strlen(field))
                return NULL;
        text = xstrndup((const char *) data + strlen(field), n - strlen(field));
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        *p = ' ';
        return text;
}

static bool boot_is_of(sd_journal *j, sd_id128_t boot, const Sha256 *root_hash) {
        _cleanup_free_ char *hex = sha256_hex(root_hash), *words = xasprintf("usrhash=%s", hex);

        if (!match_boot(j, boot) || !match(j, "_TRANSPORT", "kernel") || sd_journal_seek_head(j) < 0)
                return false;
        for (size_t i = 0; i < KERNEL_ENTRIES_MAX && sd_journal_next(j) > 0; i++) {
                _cleanup_free_ char *text = message_of_entry(j);

                if (text && strstr(text, words))
                        return true;
        }
        return false;
}

/* Not the kernel's: it complains about the firmware in every boot. */
static char *last_errors(sd_journal *j, sd_id128_t boot) {
        static const char *const priorities[] = { "0", "1", "2", "3" };
        static const char *const transports[] = { "journal", "stdout", "syslog" };
        char *all = NULL;

        if (!match_boot(j, boot))
                return NULL;
        for (size_t i = 0; i < ELEMENTSOF(priorities); i++)
                if (!match(j, "PRIORITY", priorities[i]))
                        return NULL;
        for (size_t i = 0; i < ELEMENTSOF(transports); i++)
                if (!match(j, "_TRANSPORT", transports[i]))
                        return NULL;
        if (sd_journal_seek_tail(j) < 0)
                return NULL;
        for (size_t i = 0; i < WITNESSES && sd_journal_previous(j) > 0; i++) {
                _cleanup_free_ char *text = message_of_entry(j), *later = all;

                if (!text) {
                        later = NULL;
                        continue;
                }
                all = xasprintf("%.*s%s%s", MESSAGE_MAX, text, later ? "; " : "", later ?: "");
        }
        return all;
}

char *journal_of_boot_before(const Sha256 *root_hash) {
        _cleanup_(journal_closep) sd_journal *j = NULL;
        sd_id128_t boot;

        if (sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM) < 0)
                return NULL;
        return boot_before(j, &boot) && boot_is_of(j, boot, root_hash) ? last_errors(j, boot) : NULL;
}
