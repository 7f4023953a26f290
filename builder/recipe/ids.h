/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ids.lock: the number of every user and group an image line ever had. A text, one account a line, sorted by kind and
 * name:
 *
 *     group messagebus 993
 *     user  messagebus 993
 *
 * A number is never given to another name, also not when its name has left the image: old files on a device may still
 * belong to it. */

#include "error.h"

#define IDS_FILE_NAME "ids.lock"
#define IDS_MAX 10000

typedef enum IdKind { ID_USER, ID_GROUP, _ID_KIND_MAX } IdKind;

typedef struct IdEntry {
        IdKind kind;
        char *name;
        uint32_t id;
        bool added; /* not in the file that was read */
} IdEntry;

typedef struct Ids {
        IdEntry *entries; /* in no order */
        size_t n_entries, n_allocated;
} Ids;

/* Beside the recipe; no file is an empty list. */
int ids_read(const char *recipe_folder, Ids **ret, Error *reterr);
int ids_parse(const char *text, const char *what, Ids **ret, Error *reterr);
Ids *ids_free(Ids *ids);
DEFINE_CLEANUP(Ids *, ids_free)
char *ids_format(const Ids *ids);
int ids_write(const Ids *ids, const char *recipe_folder, Error *reterr);

const IdEntry *ids_find(const Ids *ids, IdKind kind, const char *name);
bool ids_has_uid(const Ids *ids, uint32_t id);
bool ids_has_gid(const Ids *ids, uint32_t id);
/* The number of a name. A name that is new gets the preferred number if that is a static one (below 100) and free, else
 * the number of the other kind's account of that name, else the preferred one, if free; else, for system accounts, the
 * highest free one from 999 down. root is always 0, nobody and nogroup 65534, and nobody else is. REFUSAL_IDS if none
 * is free. */
int ids_assign(Ids *ids, IdKind kind, const char *name, uint32_t preferred, uint32_t *ret, Error *reterr);
/* What was added since reading, one line each; NULL if nothing. */
char *ids_changes(const Ids *ids);
