/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One scheme for every failure.
 *
 *     int f(..., T *ret, Error *reterr)
 *
 * returns 0 on success, a negative errno on failure with *reterr filled in, and a positive number for an outcome that
 * f's own documentation names. *ret is set only on success. An Error holds a refusal id (stable, machine-readable: exit
 * codes, JSON and tests are made from it), a sentence (what went wrong, where), and a hint (what to do next).
 * Callers add context with error_prefix() on the way up; only the verb prints. reterr may be NULL. */

#include "util.h"

typedef enum Refusal {
        REFUSAL_NONE,
        REFUSAL_SYSTEM,        /* a system call failed; see code */
        REFUSAL_USAGE,         /* the command line is wrong */
        REFUSAL_CANCELLED,     /* the user stopped it */
        REFUSAL_NOT_FOUND,     /* a file or thing that was named does not exist */
        REFUSAL_EXISTS,        /* it would overwrite something */
        REFUSAL_NO_SPACE,      /* the disk or the partition is too small */
        REFUSAL_BAD_SYNTAX,    /* a text that people write is malformed */
        REFUSAL_BAD_VALUE,     /* well-formed, but not allowed */
        REFUSAL_BAD_FORMAT,    /* a machine-made document or binary is malformed */
        REFUSAL_TOO_LARGE,     /* a limit of a reader is exceeded */
        REFUSAL_PATH_ESCAPE,   /* a path leaves the place it must stay in */
        REFUSAL_HASH_MISMATCH, /* content is not what its digest says */
        REFUSAL_BAD_SIGNATURE, /* a signature is missing or does not hold */
        REFUSAL_KEY,           /* a key is missing, unreadable, or not allowed here */
        REFUSAL_NO_LOCK,       /* there is no recipe.lock */
        REFUSAL_LOCK_STALE,    /* recipe.lock does not belong to this recipe as it is now */
        REFUSAL_NOT_LOCKED,    /* something not in the lock tried to enter */
        REFUSAL_NOT_IN_STORE,  /* a locked input is not in the store, and this step may not download */
        REFUSAL_EXPIRED,       /* signed metadata says that it is no longer (or not yet) valid */
        REFUSAL_ARCHIVE_OLDER, /* the package archive is older than the one locked last */
        REFUSAL_UNRESOLVABLE,  /* the packages wanted cannot be installed together */
        REFUSAL_DOWNLOAD,      /* a download failed */
        REFUSAL_MACHINE,       /* this machine lacks something; sealab doctor explains */
        REFUSAL_SCRIPT_FAILED, /* a maintainer script failed */
        REFUSAL_TOOL_FAILED,   /* a tool that the step runs failed */
        REFUSAL_GATE,          /* the finished tree breaks a rule of the gate */
        REFUSAL_IDS,           /* a user or group id is not what ids.lock says */
        REFUSAL_DIFFERENT,     /* two things that must be equal are not */
        REFUSAL_BOOT_FAILED,   /* the virtual machine did not come up */
        REFUSAL_ROLLBACK,      /* signed metadata or a release is older than what was known before */
        REFUSAL_MIXED,         /* documents or files of different states do not belong together */
        REFUSAL_UPDATER,       /* made for a newer updater than this one */
        REFUSAL_BUSY,          /* somebody else is at work on the same thing */
        REFUSAL_STALE,         /* the thing has changed since this was prepared */
        REFUSAL_WITHDRAWN,     /* the release was taken back by who published it */
        REFUSAL_PINNED,        /* the machine is to stay on a version */
        REFUSAL_KNOWN_BAD,     /* this very release failed its trial on this machine */
        REFUSAL_POLICY,        /* allowed, but not now; the message says when */
        REFUSAL_BUDGET,        /* more than the recipe allows */
        _REFUSAL_MAX,
} Refusal;

typedef struct Error {
        int code; /* positive errno */
        Refusal id;
        char *message; /* owned */
        char *hint;    /* owned; NULL: nothing useful to say */
} Error;

void error_done(Error *e);
#define _cleanup_error_ _cleanup_(error_done)

/* Fills in the error, replacing nothing that is there already being an error of the caller, and returns -code. */
int error_set(Error *reterr, int code, Refusal id, const char *fmt, ...) _printf_(4, 5);
/* The same for a failed system call: appends strerror(code). code may be negative. ENOSPC becomes REFUSAL_NO_SPACE,
 * ENOENT REFUSAL_NOT_FOUND. */
int error_errno(Error *reterr, int code, const char *fmt, ...) _printf_(3, 4);
/* Sets the hint; returns -code of the error, so that it can be returned in one line. */
int error_hint(Error *reterr, const char *fmt, ...) _printf_(2, 3);
/* Puts "PREFIX: " before the message; returns -code. */
int error_prefix(Error *reterr, const char *fmt, ...) _printf_(2, 3);
/* Moves the error; *from becomes empty. */
int error_move(Error *to, Error *from);

/* "hash-mismatch"; the other way round REFUSAL_NONE for an unknown name. */
const char *refusal_name(Refusal id);
Refusal refusal_from_name(const char *name);
/* The exit status that sealab(1) documents for this refusal. */
int refusal_exit_status(Refusal id);

/* One line (tab-separated, escaped), to pass an error from a child process to its parent. */
char *error_to_line(const Error *e);
int error_from_line(const char *line, Error *reterr);
