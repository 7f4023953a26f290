/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <syslog.h>
#include <systemd/sd-journal.h>

#include "journal.h"

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
