/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What goes into an initrd, by name: data only. */

#include "hash.h"

typedef enum InitrdWhen {
        INITRD_ALWAYS,     /* must be in the pool */
        INITRD_IF_THERE,   /* differs between releases, or belongs to a file system that the recipe may not use */
        INITRD_TPM,        /* with InitrdOptions.tpm */
        INITRD_PASSPHRASE, /* with InitrdOptions.passphrase */
        INITRD_ENCRYPTED,  /* with either */
        INITRD_EMERGENCY,  /* with InitrdOptions.emergency_shell */
        INITRD_ATTENDED,   /* somebody may be typing: with either of emergency_shell and passphrase */
} InitrdWhen;

typedef struct InitrdItem {
        const char *path;
        const char *package; /* that ships it, for the message when it is missing; NULL: systemd */
        InitrdWhen when;
} InitrdItem;

/* Paths of programs and data; ended by an item without path. */
extern const InitrdItem initrd_files[];
/* Libraries that are opened by name and that no note asks for. */
extern const InitrdItem initrd_libraries[];
/* Names in /usr/lib/systemd/system. Links between two listed units (x.target.wants/y.service) come by themselves. */
extern const InitrdItem initrd_units[];

/* Files that are written, not copied. */
typedef struct InitrdText {
        const char *path, *text;
        InitrdWhen when;
        bool unless; /* write it if "when" is not so */
} InitrdText;
extern const InitrdText initrd_texts[];

/* Links and folders of an empty root. */
typedef struct InitrdLink {
        const char *path, *target; /* target NULL: a folder */
        unsigned mode;
} InitrdLink;
extern const InitrdLink initrd_links[];

/* Of all these lists: a new sealab must not take an old one's initrd from the cache. */
void initrd_list_digest(Sha256 *ret);
