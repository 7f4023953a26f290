/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a repository says about a release: the member "sealab" of the custom object of the release's own target
 * (PRODUCT/VERSION/release.json). sealab-repository(5) is the specification. Pure. */

#include "hash.h"
#include "json.h"
#include "rollout.h"

#define DESCRIPTION_FORMAT 1
#define DESCRIPTION_NOTES_MAX 4096
#define DESCRIPTION_SUPERSEDES_MAX 256
#define DESCRIPTION_IMAGE_SIZE_MAX (UINT64_C(1) << 40)

typedef enum ArtifactKind {
        ARTIFACT_USR,        /* "usr": /usr image; pack of frames (encoding "frames") */
        ARTIFACT_USR_INDEX,  /* "usr-index": what the pack is made of (common/delta/frame-index.h) */
        ARTIFACT_UKI,        /* "uki" */
        ARTIFACT_VERITY_SIG, /* "verity-sig": content of the signature partition */
        ARTIFACT_USR_MAP,    /* "usr-map": what the image's blocks are (common/delta/block-map.h) */
        ARTIFACT_UKI_MAP,    /* "uki-map": what those of the UKI are, but for a last one that is not whole */
        _ARTIFACT_KIND_MAX,
} ArtifactKind;
const char *artifact_kind_name(ArtifactKind kind);

typedef enum ArtifactEncoding { ENCODING_NONE, ENCODING_FRAMES, _ENCODING_MAX } ArtifactEncoding; /* "none", "frames" */

typedef struct Artifact {
        bool present; /* usr and uki must be */
        char *target; /* target path; its length and hashes stand in the targets metadata */
        ArtifactEncoding encoding;
        uint64_t size; /* decoded */
        Sha256 sha256; /* of the decoded bytes */
} Artifact;

/* A delta (common/delta/delta.h) that makes an artifact out of that of an older version. */
typedef struct ArtifactDelta {
        ArtifactKind artifact; /* usr or uki */
        char *from;            /* the older version */
        Sha256 from_id;        /* of what it begins with. usr: the root hash; uki: SHA-256 of the file */
        char *target;          /* target path; length and hashes stand in the targets metadata */
        uint64_t head_size;    /* of the file's first part, which is checked by itself */
        Sha256 head_sha256;
} ArtifactDelta;
#define DESCRIPTION_DELTAS_MAX 64
/* The order in which a description has them. */
int description_delta_compare(const ArtifactDelta *a, const ArtifactDelta *b);

typedef struct ReleaseDescription {
        char *product, *architecture, *version; /* "laptop", "x86-64", "2026.11.1" */
        uint64_t epoch; /* security floor: a machine that has blessed epoch N takes nothing below */
        Sha256 root_hash;
        uint64_t verity_size; /* of the hash tree that the device rebuilds, bytes */
        Sha256 verity_salt;
        uint8_t verity_uuid[16]; /* in the hash tree's superblock; zeros: not given */
        Sha256 command_line;     /* SHA-256 of the UKI's .cmdline section */
        char *kernel_version;    /* may be NULL */
        char *minimum_updater;   /* "0.1.0" */
        Artifact artifacts[_ARTIFACT_KIND_MAX];
        ArtifactDelta *deltas; /* in the order of their versions and artifacts; no two the same */
        size_t n_deltas;
        Rollout rollout;
        bool critical;     /* installed at the next opportunity: windows and shares do not hold it back, pins do */
        char *notes;       /* one paragraph for people; may be NULL */
        char **supersedes; /* versions that this one replaces for good reasons; may be NULL */
        char *withdrawn;   /* the reason; NULL: on offer */
} ReleaseDescription;

ReleaseDescription *description_free(ReleaseDescription *d);
DEFINE_CLEANUP(ReleaseDescription *, description_free)

/* Strict: unknown members of "sealab" are refused (a newer format number tells an older updater so first:
 * REFUSAL_UPDATER). custom may hold other members than "sealab". what: for messages. */
int description_parse(const json_t *custom, const char *what, ReleaseDescription **ret, Error *reterr);
/* {"sealab": {...}} */
json_t *description_to_json(const ReleaseDescription *d);
/* NULL: there is none of this artifact from that version. */
const ArtifactDelta *description_find_delta(const ReleaseDescription *d, const char *from, ArtifactKind artifact);
/* Puts a copy in its place among the others. */
void description_add_delta(ReleaseDescription *d, const ArtifactDelta *delta);
void description_remove_delta(ReleaseDescription *d, size_t i);
/* True if this updater's version is at least minimum_updater. */
bool description_supports(const ReleaseDescription *d, const char *updater_version);
/* "laptop/2026.11.1/release.json" and the like. */
char *description_target_path(const char *product, const char *version, const char *file);
#define DESCRIPTION_TARGET_FILE "release.json"
