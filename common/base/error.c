/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "error.h"

/* Name and exit status stand together so that neither can be forgotten for a new id. */
static const struct {
        const char *name;
        int exit_status;
} refusals[_REFUSAL_MAX] = {
        [REFUSAL_NONE] = { "none", 0 },
        [REFUSAL_SYSTEM] = { "system", 1 },
        [REFUSAL_USAGE] = { "usage", 2 },
        [REFUSAL_CANCELLED] = { "cancelled", 130 },
        [REFUSAL_NOT_FOUND] = { "not-found", 3 },
        [REFUSAL_EXISTS] = { "exists", 3 },
        [REFUSAL_NO_SPACE] = { "no-space", 7 },
        [REFUSAL_BAD_SYNTAX] = { "bad-syntax", 3 },
        [REFUSAL_BAD_VALUE] = { "bad-value", 3 },
        [REFUSAL_BAD_FORMAT] = { "bad-format", 3 },
        [REFUSAL_TOO_LARGE] = { "too-large", 3 },
        [REFUSAL_PATH_ESCAPE] = { "path-escape", 3 },
        [REFUSAL_HASH_MISMATCH] = { "hash-mismatch", 5 },
        [REFUSAL_BAD_SIGNATURE] = { "bad-signature", 5 },
        [REFUSAL_KEY] = { "key", 5 },
        [REFUSAL_NO_LOCK] = { "no-lock", 4 },
        [REFUSAL_LOCK_STALE] = { "lock-stale", 4 },
        [REFUSAL_NOT_LOCKED] = { "not-locked", 4 },
        [REFUSAL_NOT_IN_STORE] = { "not-in-store", 4 },
        [REFUSAL_EXPIRED] = { "expired", 4 },
        [REFUSAL_ARCHIVE_OLDER] = { "archive-older", 4 },
        [REFUSAL_UNRESOLVABLE] = { "unresolvable", 4 },
        [REFUSAL_DOWNLOAD] = { "download", 4 },
        [REFUSAL_MACHINE] = { "machine", 7 },
        [REFUSAL_SCRIPT_FAILED] = { "script-failed", 1 },
        [REFUSAL_TOOL_FAILED] = { "tool-failed", 1 },
        [REFUSAL_GATE] = { "gate", 6 },
        [REFUSAL_IDS] = { "ids", 6 },
        [REFUSAL_DIFFERENT] = { "different", 8 },
        [REFUSAL_BOOT_FAILED] = { "boot-failed", 9 },
        [REFUSAL_ROLLBACK] = { "rollback", 5 },
        [REFUSAL_MIXED] = { "mixed", 5 },
        [REFUSAL_UPDATER] = { "updater-too-old", 7 },
        [REFUSAL_BUSY] = { "busy", 7 },
        [REFUSAL_STALE] = { "stale", 4 },
        [REFUSAL_WITHDRAWN] = { "withdrawn", 4 },
        [REFUSAL_PINNED] = { "pinned", 4 },
        [REFUSAL_KNOWN_BAD] = { "known-bad", 4 },
        [REFUSAL_POLICY] = { "policy", 4 },
        [REFUSAL_BUDGET] = { "over-budget", 6 },
};

void error_done(Error *e) {
        free(e->message);
        free(e->hint);
        *e = (Error){};
}

static int error_setv(Error *reterr, int code, Refusal id, char *message) {
        if (!reterr) {
                free(message);
                return -code;
        }
        error_done(reterr);
        *reterr = (Error){ .code = code, .id = id, .message = message };
        return -code;
}

int error_set(Error *reterr, int code, Refusal id, const char *fmt, ...) {
        va_list ap;
        char *message;

        va_start(ap, fmt);
        message = xvasprintf(fmt, ap);
        va_end(ap);
        return error_setv(reterr, code, id, message);
}

int error_errno(Error *reterr, int code, const char *fmt, ...) {
        _cleanup_free_ char *what = NULL;
        Refusal id = REFUSAL_SYSTEM;
        va_list ap;

        code = code < 0 ? -code : code;
        if (code == 0)
                code = EIO; /* a caller that passes 0 must still get a failure */
        if (code == ENOSPC || code == EDQUOT)
                id = REFUSAL_NO_SPACE;
        else if (code == ENOENT)
                id = REFUSAL_NOT_FOUND;

        va_start(ap, fmt);
        what = xvasprintf(fmt, ap);
        va_end(ap);
        error_setv(reterr, code, id, xasprintf("%s: %s", what, strerror(code)));
        if (id == REFUSAL_NO_SPACE)
                error_hint(reterr, "Free some space there, or name another place (--store, --output, TMPDIR).");
        return -code;
}

int error_hint(Error *reterr, const char *fmt, ...) {
        va_list ap;

        if (!reterr)
                return -EINVAL;
        free(reterr->hint);
        va_start(ap, fmt);
        reterr->hint = xvasprintf(fmt, ap);
        va_end(ap);
        return -reterr->code;
}

int error_prefix(Error *reterr, const char *fmt, ...) {
        _cleanup_free_ char *prefix = NULL, *old = NULL;
        va_list ap;

        if (!reterr)
                return -EINVAL;
        va_start(ap, fmt);
        prefix = xvasprintf(fmt, ap);
        va_end(ap);
        old = reterr->message;
        reterr->message = xasprintf("%s: %s", prefix, old ?: "failed");
        return -reterr->code;
}

int error_move(Error *to, Error *from) {
        int code = from->code;

        if (to) {
                error_done(to);
                *to = *from;
                *from = (Error){};
        } else
                error_done(from);
        return -code;
}

const char *refusal_name(Refusal id) {
        return id < _REFUSAL_MAX ? refusals[id].name : "unknown";
}

Refusal refusal_from_name(const char *name) {
        for (Refusal id = 0; id < _REFUSAL_MAX; id++)
                if (streq(refusals[id].name, name))
                        return id;
        return REFUSAL_NONE;
}

int refusal_exit_status(Refusal id) {
        return id < _REFUSAL_MAX ? refusals[id].exit_status : 1;
}

static void append_escaped(Buffer *b, const char *s) {
        for (; s && *s; s++)
                if (*s == '\n')
                        buffer_puts(b, "\\n");
                else if (*s == '\t')
                        buffer_puts(b, "\\t");
                else if (*s == '\\')
                        buffer_puts(b, "\\\\");
                else
                        buffer_append(b, s, 1);
}

static char *unescape(const char *s, size_t n) {
        char *out = xmalloc(n + 1), *q = out;

        for (size_t i = 0; i < n; i++)
                if (s[i] == '\\' && i + 1 < n) {
                        i++;
                        *q++ = s[i] == 'n' ? '\n' : s[i] == 't' ? '\t' : s[i];
                } else
                        *q++ = s[i];
        *q = 0;
        return out;
}

char *error_to_line(const Error *e) {
        _cleanup_buffer_ Buffer b = {};

        buffer_printf(&b, "%d\t%s\t", e->code, refusal_name(e->id));
        append_escaped(&b, e->message);
        buffer_puts(&b, "\t");
        append_escaped(&b, e->hint);
        return buffer_steal(&b);
}

int error_from_line(const char *line, Error *reterr) {
        _cleanup_free_ char *name = NULL, *message = NULL, *hint = NULL;
        const char *fields[4] = { line };
        int code;

        for (int i = 1; i < 4; i++) {
                const char *tab = strchr(fields[i - 1], '\t');

                if (!tab)
                        return error_set(reterr, EPROTO, REFUSAL_SYSTEM, "a child process failed without saying why");
                fields[i] = tab + 1;
        }
        code = atoi(fields[0]);
        name = xstrndup(fields[1], (size_t) (fields[2] - fields[1] - 1));
        message = unescape(fields[2], (size_t) (fields[3] - fields[2] - 1));
        hint = unescape(fields[3], strcspn(fields[3], "\n"));
        error_set(reterr, code > 0 ? code : EIO, refusal_from_name(name), "%s", message);
        if (!isempty(hint))
                error_hint(reterr, "%s", hint);
        return -(code > 0 ? code : EIO);
}
