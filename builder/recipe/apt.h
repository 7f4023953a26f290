/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The machine's own apt, put to work in a private folder: with sources, keys, state and cache of its own, so that it
 * neither reads nor changes what the machine has installed. Of the machine's settings only those about reaching the
 * network and about the age of archives are taken over. */

#include "error.h"

typedef struct AptSettings {
        struct AptSetting {
                char *name, *value; /* "Acquire::http::Proxy" */
        } * items;
        size_t n_items, n_allocated;
} AptSettings;

/* The machine's settings below Acquire::. REFUSAL_MACHINE if there is no apt. */
int apt_settings_read(AptSettings **ret, Error *reterr);
AptSettings *apt_settings_free(AptSettings *s);
DEFINE_CLEANUP(AptSettings *, apt_settings_free)
/* NULL if not set. The last one counts, as with apt. */
const char *apt_settings_get(const AptSettings *s, const char *name);
bool apt_settings_get_bool(const AptSettings *s, const char *name, bool fallback);
/* What apt would use for this URI: NULL: not said (the environment decides); "": none. */
const char *apt_settings_proxy(const AptSettings *s, const char *uri);

typedef struct AptSource {
        const char *uri, *suite; /* borrowed */
        bool ignore_expiry;      /* a dated archive is always "expired" */
        bool local;              /* a folder of our own: unsigned, wins over all others */
} AptSource;

#define APT_LOCAL_ORIGIN "sealab-local" /* Origin: in the Release file of a local source */

typedef struct AptOptions {
        const char *architecture;
        char *const *components;
        const char *keyring; /* binary file */
        const AptSource *sources;
        size_t n_sources;
        const AptSettings *settings;
} AptOptions;

typedef struct AptRoot {
        char *folder;
} AptRoot;

/* Writes sources and settings into a folder that exists. */
int apt_root_new(const char *folder, const AptOptions *opt, AptRoot **ret, Error *reterr);
AptRoot *apt_root_free(AptRoot *a); /* the folder stays */
DEFINE_CLEANUP(AptRoot *, apt_root_free)

/* Runs a program of apt in the private folder. *ret_output (may be NULL) holds standard output and error, also on
 * failure. */
int apt_root_run(const AptRoot *a, const char *const *argv, char **ret_output, Error *reterr);
/* apt-get update. *ret_output is set also on failure, for apt_explain_update(). */
int apt_root_update(const AptRoot *a, char **ret_output, Error *reterr);

typedef struct AptIndex {
        char *path;  /* the file apt downloaded */
        char *suite; /* as in the source */
        char *uri;   /* base */
        char *component;
        char *name; /* "main/binary-amd64/Packages" */
        char *release_path;
} AptIndex;
typedef struct AptIndexes {
        AptIndex *items;
        size_t n_items, n_allocated;
} AptIndexes;
void apt_indexes_done(AptIndexes *l);
/* The Packages files of all sources. */
int apt_root_indexes(const AptRoot *a, AptIndexes *ret, Error *reterr);

typedef struct AptPlan {
        struct AptPlanned {
                char *name, *version, *architecture;
        } * items;
        size_t n_items, n_allocated;
} AptPlan;
void apt_plan_done(AptPlan *p);
/* What apt would install on an empty system to have these packages. REFUSAL_UNRESOLVABLE with apt's reasons. */
int apt_root_plan(const AptRoot *a, char *const *packages, bool recommends, AptPlan *ret, Error *reterr);
/* Takes "'URI' NAME_VERSION_ARCHITECTURE.deb SIZE DIGEST" lines out of apt's output. */
int apt_plan_parse(const char *output, AptPlan *ret, Error *reterr);

/* Percent-encodes what may not stand in a URI's path as it is. */
char *uri_encode_path(const char *path);
