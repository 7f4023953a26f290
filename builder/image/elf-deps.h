/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an ELF program or library needs at run time: its interpreter, the libraries it is linked to, and those that it
 * opens by itself and says so in .note.dlopen (systemd does, by a convention of the UAPI group). */

#include "tree.h"

/* No program or library in Debian comes near. */
#define ELF_FILE_SIZE_MAX ((size_t) 256 * 1024 * 1024)

typedef struct ElfDeps {
        char *interpreter; /* NULL: none (libraries) */
        char **needed;     /* library names */
        char **runpath;    /* folders, $ORIGIN not expanded */
        /* Each is one wish: names separated by spaces, the first that exists serves. Only priorities "required" and
         * "recommended"; "suggested" is for the caller to want by name. */
        char **opened;
} ElfDeps;
void elf_deps_done(ElfDeps *d);
#define _cleanup_elf_deps_ _cleanup_(elf_deps_done)

/* 0; 1: the bytes are no dynamically linked ELF file, *ret is empty. Damaged files are REFUSAL_BAD_FORMAT. */
int elf_deps_read(const void *data, size_t size, ElfDeps *ret, Error *reterr);

/* Copies files out of a pool (packages unpacked side by side, merged /usr) with all that they need: links are copied
 * with what they point to, programs with their libraries. */
typedef struct ElfCopier ElfCopier;
ElfCopier *elf_copier_new(Tree *to, Tree *pool);
ElfCopier *elf_copier_free(ElfCopier *c);
DEFINE_CLEANUP(ElfCopier *, elf_copier_free)
/* 1: the pool has no such path. A library that is missing is REFUSAL_NOT_FOUND and says who needs it. Folders are
 * copied with everything below. */
int elf_copy(ElfCopier *c, const char *path, Error *reterr);
/* A library by name ("libtss2-esys.so.0"), from the system's folders. 1: the pool has none. */
int elf_copy_library(ElfCopier *c, const char *soname, Error *reterr);
