/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The four kinds of metadata of The Update Framework, specification 1.0.34, sections 4.2 to 4.7: strict readers, and
 * the rule by which signatures count. Pure: nothing is fetched, stored or compared with a clock here.
 *
 * A document is parsed in two steps, so that nothing in the signed part is believed before its signatures were: the
 * envelope (JSON syntax, signatures, the signed part as canonical bytes), then, after tuf_verify(), the content.
 * Members that we do not know are kept and ignored (section 4.1), for they are signed too. */

#include "hash.h"
#include "tuf-key.h"

/* Limits. What is larger is REFUSAL_TOO_LARGE. */
#define TUF_ROOT_MAX ((size_t) 512 << 10)
#define TUF_TIMESTAMP_MAX ((size_t) 16 << 10)
#define TUF_SNAPSHOT_MAX ((size_t) 2 << 20)
#define TUF_TARGETS_MAX ((size_t) 16 << 20)
#define TUF_SIGNATURES_MAX 256       /* in one document */
#define TUF_KEYS_MAX 1024            /* in one root or delegations object */
#define TUF_ROLE_KEYS_MAX 256        /* of one role; also the highest threshold */
#define TUF_DELEGATIONS_MAX 1024     /* roles in one delegations object */
#define TUF_PATTERNS_MAX 4096        /* paths or hash prefixes of one delegation */
#define TUF_TARGETS_COUNT_MAX 100000 /* in one targets document */
#define TUF_META_COUNT_MAX 20000     /* documents that one snapshot lists */
#define TUF_NAME_MAX 255             /* a role's file, percent-encoded, with ".json": one component of a path */
#define TUF_TARGET_PATH_MAX 1024
#define TUF_VERSION_MAX INT64_MAX

typedef enum TufType { TUF_ROOT, TUF_TIMESTAMP, TUF_SNAPSHOT, TUF_TARGETS, _TUF_TYPE_MAX } TufType;
const char *tuf_type_name(TufType type); /* "root" ... */

typedef struct TufHashes {
        bool has_sha256, has_sha512;
        Sha256 sha256;
        uint8_t sha512[64];
} TufHashes;

/* A role: whose signatures count, and how many are needed. */
typedef struct TufRole {
        char **key_ids;   /* distinct */
        size_t threshold; /* >= 1 */
} TufRole;

typedef struct TufKeys {
        TufKey **items; /* owned, sorted by id */
        size_t n_items;
} TufKeys;
const TufKey *tuf_keys_find(const TufKeys *keys, const char *id);

/* What timestamp and snapshot say about another document. */
typedef struct TufMeta {
        char *name; /* "snapshot.json", "targets.json", "stable.json" */
        uint64_t version;
        bool has_length;
        uint64_t length;
        TufHashes hashes; /* none, or at least one */
} TufMeta;

typedef struct TufTarget {
        char *path;
        uint64_t length;
        TufHashes hashes;     /* at least one that we know */
        const json_t *custom; /* borrowed from the document; NULL: none */
} TufTarget;

typedef struct TufDelegation {
        char *name;
        TufRole role;
        bool terminating;
        char **paths; /* exactly one of the two is not NULL; an empty list matches nothing */
        char **hash_prefixes;
} TufDelegation;

typedef struct TufMetadata {
        TufType type;
        json_t *document; /* the whole, as parsed */
        Buffer canonical; /* of the signed part: what signatures are about */

        /* After tuf_metadata_decode(): */
        bool decoded;
        char *spec_version;
        uint64_t version; /* >= 1 */
        int64_t expires;  /* seconds since 1970 */
        /* root */
        bool consistent_snapshot;
        TufRole roles[_TUF_TYPE_MAX];
        TufKeys keys; /* root's; also those of delegations */
        /* timestamp (exactly "snapshot.json"), snapshot: sorted by name */
        TufMeta *meta;
        size_t n_meta;
        /* targets */
        TufTarget *targets; /* sorted by path */
        size_t n_targets;
        TufDelegation *delegations; /* in the document's order, which is the order of search */
        size_t n_delegations;
} TufMetadata;

TufMetadata *tuf_metadata_free(TufMetadata *m);
DEFINE_CLEANUP(TufMetadata *, tuf_metadata_free)

size_t tuf_type_size_max(TufType type);

/* The envelope: {"signatures": [{"keyid", "sig"}], "signed": {"_type", ...}}. what names the document in messages.
 * REFUSAL_BAD_FORMAT, REFUSAL_TOO_LARGE; a _type other than type's is REFUSAL_BAD_FORMAT. Two signatures with the same
 * key id are REFUSAL_BAD_FORMAT. A signature whose hexadecimal is malformed does not count and is no error. */
int tuf_metadata_parse(TufType type, const void *data, size_t size, const char *what, TufMetadata **ret, Error *reterr);
/* The signed part. Only after tuf_verify(). REFUSAL_BAD_FORMAT, REFUSAL_TOO_LARGE; a target's path that is not valid is
 * REFUSAL_PATH_ESCAPE. Key ids are names here: nothing depends on how they were computed. */
int tuf_metadata_decode(TufMetadata *m, const char *what, Error *reterr);

/* Section 5.3.4 and its like: at least role->threshold *different keys* of the role made a signature that holds. Keys
 * with different ids but the same public part count once. REFUSAL_BAD_SIGNATURE says how many counted, how many are
 * needed. */
int tuf_verify(const TufMetadata *m, const TufKeys *keys, const TufRole *role, const char *what, Error *reterr);
/* How many keys counted; for reports. */
size_t tuf_count_signatures(const TufMetadata *m, const TufKeys *keys, const TufRole *role);

const TufMeta *tuf_find_meta(const TufMetadata *m, const char *name);
const TufTarget *tuf_find_target(const TufMetadata *m, const char *path);
const TufDelegation *tuf_find_delegation(const TufMetadata *m, const char *name);
/* Section 4.5: path patterns (shell style, "*" and "?" do not match "/", as many components on both sides) or prefixes
 * of the hexadecimal SHA-256 of the path. */
bool tuf_delegation_matches(const TufDelegation *d, const char *target_path);

/* Length (if known) and every hash that is given and known. REFUSAL_HASH_MISMATCH. */
int tuf_check_meta(const TufMeta *meta, const void *data, size_t size, Error *reterr);
int tuf_check_hashes(const TufHashes *hashes, const void *data, size_t size, const char *what, Error *reterr);

/* A target's path: 1..TUF_TARGET_PATH_MAX bytes of UTF-8 without control characters, relative, without empty, "." or
 * ".." components. */
bool tuf_target_path_is_valid(const char *path);
/* A role's name as a file name: percent-encoded except for unreserved characters, so that it cannot leave its folder.
 */
char *tuf_role_file_name(const char *role); /* "stable.json", "a%2Fb.json" */

/* "2026-11-21T10:00:00Z", exactly this shape. */
bool tuf_parse_time(const char *text, int64_t *ret);
char *tuf_format_time(int64_t seconds);
