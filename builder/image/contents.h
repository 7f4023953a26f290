/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The contents manifest of a release: every entry of /usr with type, mode, owner, size, digest, target, extended
 * attributes and the package that shipped it, and the accounts that the image defines. What inspect and diff read, so
 * that neither has to open the image; `sealab verify` compares it with the image itself.
 *
 * On disk: zstd over lines of JSON. The first line is the header (format, image, version, accounts), each further line
 * one entry, in the order of contents_path_compare(). `zstdcat FILE | grep` works on it. */

#include "tree.h"

#define CONTENTS_FORMAT 1
#define CONTENTS_TEXT_MAX ((size_t) 1 << 30) /* 4 million entries of 256 bytes */
#define CONTENTS_ACCOUNTS_MAX 65536

typedef struct ContentsEntry {
        char *path; /* "/usr/bin/sh"; "/usr" itself is the first entry */
        mode_t mode;
        uid_t uid;
        gid_t gid;
        uint64_t size;   /* regular files */
        Sha256 digest;   /* regular files */
        dev_t rdev;      /* devices */
        char *target;    /* symbolic links */
        char *hard_link; /* the first path of the same inode; NULL: this is the first */
        char *package;   /* NULL: made by the build */
        Xattr *xattrs;   /* sorted by name */
        size_t n_xattrs;
} ContentsEntry;

typedef struct Account {
        char *name;
        uint32_t id;   /* user id or group id */
        uint32_t gid;  /* users: primary group */
        char *home;    /* users */
        char *shell;   /* users */
        char *members; /* groups: as in group(5) */
} Account;

typedef struct Contents {
        char *image_id, *version;
        ContentsEntry *entries;
        size_t n_entries, n_entries_allocated;
        Account *users, *groups; /* sorted by name */
        size_t n_users, n_groups, n_users_allocated, n_groups_allocated;
} Contents;

Contents *contents_free(Contents *c);
DEFINE_CLEANUP(Contents *, contents_free)

/* Everything at and below usr_path (always recorded as /usr), and the accounts in its factory copy of /etc. */
int contents_from_tree(Tree *t, const char *usr_path, const char *image_id, const char *version, Contents **ret,
                       Error *reterr);

void contents_format(const Contents *c, Buffer *ret); /* the text, before compression */
int contents_parse(const char *text, size_t size, const char *what, Contents **ret, Error *reterr);
int contents_write(const Contents *c, int dir_fd, const char *path, Error *reterr);
int contents_read(int dir_fd, const char *path, Contents **ret, Error *reterr);

/* Order of paths: as a walk of the tree, children by byte order. */
int contents_path_compare(const char *a, const char *b);
const ContentsEntry *contents_find(const Contents *c, const char *path); /* NULL: none */
const Xattr *contents_xattr(const ContentsEntry *e, const char *name);

/* Bytes that an entry adds to a sum of sizes: content of regular files, hard links counted once. */
uint64_t contents_entry_bytes(const ContentsEntry *e);

/* Differences, one callback per path, in order. TREE_MTIME never comes: images carry one time for everything. Packages
 * are not compared. */
typedef void (*ContentsDiffFunc)(const ContentsEntry *a, const ContentsEntry *b, TreeDifference what, void *userdata);
void contents_diff(const Contents *a, const Contents *b, ContentsDiffFunc f, void *userdata);
/* REFUSAL_DIFFERENT, naming the first paths, unless both say the same (packages aside). */
int contents_check_equal(const Contents *recorded, const Contents *found, Error *reterr);
