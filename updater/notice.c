/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "notice.h"
#include "version.h"

static const char *text_of(const json_t *o, const char *key) {
        return json_string_value(json_object_get(o, key)) ?: "";
}

static int64_t when(const json_t *o) {
        return json_integer_value(json_object_get(o, "when"));
}

void notice_done(Notice *n) {
        free(n->id);
        free(n->title);
        free(n->text);
        *n = (Notice){};
}

/* The failure that was last, unless the machine got past it by now. */
static const json_t *last_failure(const json_t *status) {
        const json_t *bad = json_object_get(json_object_get(status, "state"), "bad"), *item, *last = NULL;
        size_t i;

        json_array_foreach ((json_t *) bad, i, item)
                if (!last || when(item) >= when(last))
                        last = item;
        if (!last || version_compare(text_of(last, "version"), text_of(status, "version")) <= 0)
                return NULL;
        return last;
}

bool notice_from_status(const json_t *status, Notice *ret) {
        const json_t *trial = json_object_get(json_object_get(status, "state"), "trial"), *bad = last_failure(status);
        const char *version = text_of(status, "version");

        if (json_is_true(json_object_get(status, "factoryReset")))
                *ret = (Notice){ .id = xstrdup("factory-reset"),
                                 .title = xstrdup("The next restart wipes this machine"),
                                 .text = xstrdup("A factory reset was asked for: all files, accounts and settings go. "
                                                 "\"sealabctl factory-reset --cancel\" calls it off."),
                                 .urgent = true };
        else if (json_is_true(json_object_get(status, "restartNeeded")))
                *ret = (Notice){ .id = xasprintf("restart %s %" PRIi64, text_of(trial, "version"), when(trial)),
                                 .title = xasprintf("Restart to finish the update to %s", text_of(trial, "version")),
                                 .text = xasprintf("It is installed beside %s, which is kept to go back to.",
                                                   version) };
        else if (bad)
                *ret = (Notice){ .id = xasprintf("failed %s %" PRIi64, text_of(bad, "version"), when(bad)),
                                 .title = xasprintf("The update to %s failed, you are back on %s",
                                                    text_of(bad, "version"), version),
                                 .text = xasprintf("It will not be tried again. What happened: %s",
                                                   text_of(bad, "reason")),
                                 .urgent = true };
        else
                return false;
        return true;
}

char *notice_login_line(const Notice *n) {
        return xasprintf("sealab: %s. %s\n", n->title, n->text);
}
