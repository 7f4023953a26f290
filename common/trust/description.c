/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "description.h"
#include "block-map.h"
#include "delta.h"
#include "frame-index.h"
#include "version.h"

#define NAME_ALPHABET "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define PRODUCT_VERSION_MAX 36 /* together with the "_" between them: a partition's label */
#define FILE_NAME_MAX 200      /* with a SHA-256 and a dot before it, still one component of a path */
#define KERNEL_VERSION_MAX 128
#define BLOCK_SIZE 4096
#define INDEX_SIZE_MAX (FRAME_INDEX_HEADER_SIZE + (uint64_t) FRAME_INDEX_FRAMES_MAX * FRAME_INDEX_ENTRY_SIZE)

static const char *const kind_names[_ARTIFACT_KIND_MAX] = {
        [ARTIFACT_USR] = "usr",         [ARTIFACT_USR_INDEX] = "usr-index",
        [ARTIFACT_UKI] = "uki",         [ARTIFACT_VERITY_SIG] = "verity-sig",
        [ARTIFACT_USR_MAP] = "usr-map", [ARTIFACT_UKI_MAP] = "uki-map",
};

static const char *const encoding_names[_ENCODING_MAX] = {
        [ENCODING_NONE] = "none",
        [ENCODING_FRAMES] = "frames",
};

const char *artifact_kind_name(ArtifactKind kind) {
        return kind < _ARTIFACT_KIND_MAX ? kind_names[kind] : "unknown";
}

int description_delta_compare(const ArtifactDelta *a, const ArtifactDelta *b) {
        int r = version_compare(a->from, b->from);

        if (r == 0)
                r = strcmp(a->from, b->from);
        return r != 0 ? r : (int) a->artifact - (int) b->artifact;
}

ReleaseDescription *description_free(ReleaseDescription *d) {
        if (!d)
                return NULL;
        free(d->product);
        free(d->architecture);
        free(d->version);
        free(d->kernel_version);
        free(d->minimum_updater);
        for (size_t i = 0; i < _ARTIFACT_KIND_MAX; i++)
                free(d->artifacts[i].target);
        while (d->n_deltas > 0)
                description_remove_delta(d, d->n_deltas - 1);
        free(d->deltas);
        free(d->notes);
        strv_free(d->supersedes);
        free(d->withdrawn);
        free(d);
        return NULL;
}

/* ---- JSON to struct ---- */

static void take_digest(JsonReader *r, const char *key, Sha256 *ret) {
        _cleanup_free_ char *hex = NULL;

        json_take_string(r, key, false, &hex);
        if (r->result >= 0 && !sha256_from_hex(hex, ret))
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                      "%s: \"%s\" is not 64 lower-case hexadecimal digits", r->what, key);
}

static void take_uuid(JsonReader *r, const char *key, uint8_t ret[static 16]) {
        _cleanup_free_ char *hex = NULL;

        json_take_string(r, key, true, &hex);
        if (r->result >= 0 && hex && !hex_decode(hex, ret, 16))
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"%s\" is not 32 hexadecimal digits",
                                      r->what, key);
}

static void take_encoding(JsonReader *r, ArtifactEncoding *ret) {
        _cleanup_free_ char *name = NULL;

        json_take_string(r, "encoding", false, &name);
        if (r->result < 0)
                return;
        for (ArtifactEncoding e = 0; e < _ENCODING_MAX; e++)
                if (streq(name, encoding_names[e])) {
                        *ret = e;
                        return;
                }
        r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: unknown encoding \"%s\"", r->what, name);
}

static int decode_artifact(const json_t *object, const char *what, Artifact *ret, Error *reterr) {
        JsonReader r = json_reader(object, what, reterr);

        json_take_string(&r, "target", false, &ret->target);
        take_encoding(&r, &ret->encoding);
        json_take_u64(&r, "size", false, DESCRIPTION_IMAGE_SIZE_MAX, &ret->size);
        take_digest(&r, "sha256", &ret->sha256);
        ret->present = true;
        return json_reader_end(&r);
}

static int decode_artifacts(const json_t *object, const char *what, ReleaseDescription *d, Error *reterr) {
        _cleanup_free_ char *inside = xasprintf("%s: artifacts", what);
        const json_t *parts[_ARTIFACT_KIND_MAX] = {};
        JsonReader r = json_reader(object, inside, reterr);
        int result;

        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                json_take_object(&r, kind_names[k], k != ARTIFACT_USR && k != ARTIFACT_UKI, &parts[k]);
        result = json_reader_end(&r);
        for (ArtifactKind k = 0; result >= 0 && k < _ARTIFACT_KIND_MAX; k++)
                if (parts[k]) {
                        _cleanup_free_ char *name = xasprintf("%s: %s", inside, kind_names[k]);

                        result = decode_artifact(parts[k], name, &d->artifacts[k], reterr);
                }
        return result;
}

static void take_delta_artifact(JsonReader *r, ArtifactKind *ret) {
        _cleanup_free_ char *name = NULL;

        json_take_string(r, "artifact", false, &name);
        if (r->result < 0)
                return;
        if (streq(name, kind_names[ARTIFACT_USR]))
                *ret = ARTIFACT_USR;
        else if (streq(name, kind_names[ARTIFACT_UKI]))
                *ret = ARTIFACT_UKI;
        else
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                      "%s: there are no deltas of \"%s\", only of \"usr\" and \"uki\"", r->what, name);
}

static int decode_deltas(const json_t *list, const char *what, ReleaseDescription *d, Error *reterr) {
        const json_t *item;
        size_t i;

        if (json_array_size(list) > 0)
                d->deltas = xnew(ArtifactDelta, json_array_size(list));
        json_array_foreach ((json_t *) list, i, item) {
                _cleanup_free_ char *inside = xasprintf("%s: deltas: %zu", what, i + 1);
                ArtifactDelta *delta = &d->deltas[d->n_deltas++];
                JsonReader r = json_reader(item, inside, reterr);
                int result;

                json_take_string(&r, "from", false, &delta->from);
                take_delta_artifact(&r, &delta->artifact);
                take_digest(&r, "fromId", &delta->from_id);
                json_take_string(&r, "target", false, &delta->target);
                json_take_u64(&r, "headSize", false, DELTA_HEAD_MAX, &delta->head_size);
                take_digest(&r, "headSha256", &delta->head_sha256);
                result = json_reader_end(&r);
                if (result < 0)
                        return result;
        }
        return 0;
}

static int decode_supersedes(const json_t *list, const char *what, ReleaseDescription *d, Error *reterr) {
        const json_t *item;
        size_t i;

        json_array_foreach ((json_t *) list, i, item) {
                if (!json_is_string(item))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "%s: \"supersedes\" must be a list of strings", what);
                if (!version_is_valid(json_string_value(item)) || streq(json_string_value(item), d->version) ||
                    strlen(json_string_value(item)) != json_string_length(item) ||
                    strv_contains(d->supersedes, json_string_value(item)))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                         "%s: \"supersedes\" must be other versions, each once; not \"%s\"", what,
                                         json_string_value(item));
                strv_extend(&d->supersedes, json_string_value(item));
        }
        return 0;
}

/* An older updater must learn from a newer document that it is newer, whatever else is new in it. */
static int check_format(const json_t *sealab, const char *what, Error *reterr) {
        const json_t *format = json_object_get(sealab, "format");

        if (!json_is_object(sealab))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"sealab\" must be an object", what);
        if (!json_is_integer(format) || json_integer_value(format) < 1)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: \"format\" must be a whole number of 1 or more", what);
        if (json_integer_value(format) > DESCRIPTION_FORMAT) {
                error_set(reterr, EBADMSG, REFUSAL_UPDATER,
                          "%s: has format %" JSON_INTEGER_FORMAT "; this program knows up to %d", what,
                          json_integer_value(format), DESCRIPTION_FORMAT);
                return error_hint(reterr, "a newer version of this program reads it");
        }
        return 0;
}

static int decode(const json_t *sealab, const char *what, ReleaseDescription *d, Error *reterr) {
        const json_t *artifacts = NULL, *deltas = NULL, *rollout = NULL, *supersedes = NULL;
        JsonReader r = json_reader(sealab, what, reterr);
        uint64_t format;
        int result;

        json_take_u64(&r, "format", false, DESCRIPTION_FORMAT, &format);
        json_take_string(&r, "product", false, &d->product);
        json_take_string(&r, "architecture", false, &d->architecture);
        json_take_string(&r, "version", false, &d->version);
        json_take_u64(&r, "epoch", true, INT64_MAX, &d->epoch);
        take_digest(&r, "rootHash", &d->root_hash);
        json_take_u64(&r, "veritySize", false, DESCRIPTION_IMAGE_SIZE_MAX, &d->verity_size);
        take_digest(&r, "veritySalt", &d->verity_salt);
        take_uuid(&r, "verityUuid", d->verity_uuid);
        take_digest(&r, "commandLine", &d->command_line);
        json_take_string(&r, "kernelVersion", true, &d->kernel_version);
        json_take_string(&r, "minimumUpdater", false, &d->minimum_updater);
        json_take_object(&r, "artifacts", false, &artifacts);
        json_take_array(&r, "deltas", true, DESCRIPTION_DELTAS_MAX, &deltas);
        json_take_object(&r, "rollout", true, &rollout);
        json_take_bool(&r, "critical", true, &d->critical);
        json_take_string(&r, "notes", true, &d->notes);
        json_take_array(&r, "supersedes", true, DESCRIPTION_SUPERSEDES_MAX, &supersedes);
        json_take_string(&r, "withdrawn", true, &d->withdrawn);
        result = json_reader_end(&r);
        if (result >= 0)
                result = decode_artifacts(artifacts, what, d, reterr);
        if (result >= 0 && deltas)
                result = decode_deltas(deltas, what, d, reterr);
        if (result >= 0 && rollout) {
                _cleanup_free_ char *inside = xasprintf("%s: rollout", what);

                result = rollout_from_json(rollout, inside, &d->rollout, reterr);
        }
        if (result >= 0 && supersedes)
                result = decode_supersedes(supersedes, what, d, reterr);
        return result;
}

/* ---- what a well-formed description may not say ---- */

static int check_names(const ReleaseDescription *d, const char *what, Error *reterr) {
        if (strspn(d->product, NAME_ALPHABET ".-") != strlen(d->product) || strspn(d->product, NAME_ALPHABET) == 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"%s\" cannot be a product", what,
                                 d->product);
        if (!version_is_valid(d->version) || !version_is_valid(d->minimum_updater))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"%s\" cannot be a version", what,
                                 version_is_valid(d->version) ? d->minimum_updater : d->version);
        if (strlen(d->product) + 1 + strlen(d->version) > PRODUCT_VERSION_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                 "%s: \"%s_%s\" is longer than the %d characters of a partition's label", what,
                                 d->product, d->version, PRODUCT_VERSION_MAX);
        if (!streq(d->architecture, "x86-64") && !streq(d->architecture, "arm64"))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                 "%s: architecture \"%s\" is neither x86-64 nor arm64", what, d->architecture);
        return 0;
}

static int check_text(const char *text, size_t max, const char *key, const char *what, Error *reterr) {
        if (!text)
                return 0;
        if (strlen(text) > max)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: \"%s\" is longer than %zu bytes", what, key,
                                 max);
        if (isempty(text))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"%s\" is empty", what, key);
        /* It is printed on terminals. */
        for (const char *s = text; *s; s++)
                if ((unsigned char) *s < 0x20 || *s == 0x7f ||
                    ((unsigned char) *s == 0xc2 && (unsigned char) s[1] < 0xa0))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                         "%s: \"%s\" has a line break or control character", what, key);
        return 0;
}

/* PRODUCT/VERSION/FILE and nothing else: the same three components that delegations to channels match. */
static int check_target(const ReleaseDescription *d, const char *target, const char *what, Error *reterr) {
        _cleanup_free_ char *folder = description_target_path(d->product, d->version, "");
        const char *file = startswith(target, folder);

        if (!file || strchr(file, '/') || file[0] == '.')
                return error_set(reterr, EBADMSG, REFUSAL_PATH_ESCAPE, "%s: target \"%s\" is not a file in %s", what,
                                 target, folder);
        if (isempty(file) || strlen(file) > FILE_NAME_MAX || strspn(file, NAME_ALPHABET "._+~^-") != strlen(file) ||
            streq(file, DESCRIPTION_TARGET_FILE))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"%s\" cannot be the name of a target", what,
                                 file);
        return 0;
}

static int check_artifacts(const ReleaseDescription *d, const char *what, Error *reterr) {
        /* They are read into memory as a whole. */
        static const struct {
                ArtifactKind kind;
                uint64_t max;
        } whole[] = {
                { ARTIFACT_USR_INDEX, INDEX_SIZE_MAX },
                { ARTIFACT_USR_MAP, BLOCK_MAP_SIZE_MAX },
                { ARTIFACT_UKI_MAP, BLOCK_MAP_SIZE_MAX },
        };
        const Artifact *usr = &d->artifacts[ARTIFACT_USR];
        int r;

        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++) {
                const Artifact *a = &d->artifacts[k];

                if (!a->present)
                        continue;
                r = check_target(d, a->target, what, reterr);
                if (r < 0)
                        return r;
                for (ArtifactKind other = 0; other < k; other++)
                        if (d->artifacts[other].present && streq(d->artifacts[other].target, a->target))
                                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                                 "%s: \"%s\" and \"%s\" are the same target", what, kind_names[other],
                                                 kind_names[k]);
                if (a->size == 0)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"%s\" is empty", what,
                                         kind_names[k]);
        }
        if (usr->encoding != ENCODING_FRAMES || usr->size % BLOCK_SIZE != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                 "%s: \"usr\" must be a pack (encoding \"frames\") of whole blocks of %d bytes", what,
                                 BLOCK_SIZE);
        for (size_t i = 0; i < ELEMENTSOF(whole); i++) {
                const Artifact *a = &d->artifacts[whole[i].kind];

                if (a->present && a->size > whole[i].max)
                        return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: \"%s\" is over the limit of %" PRIu64,
                                         what, kind_names[whole[i].kind], whole[i].max);
                if (a->present && a->encoding != ENCODING_NONE)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                         "%s: \"%s\" must have the encoding \"none\"", what, kind_names[whole[i].kind]);
        }
        /* Nothing says what its frames would be, and ranges of the file are to be ranges of the image. */
        if (d->artifacts[ARTIFACT_UKI].encoding != ENCODING_NONE)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"uki\" must have the encoding \"none\"",
                                 what);
        return 0;
}

/* What is asked for as the one must not be the other. */
static bool target_is_taken(const ReleaseDescription *d, size_t n) {
        const char *target = d->deltas[n].target;

        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                if (d->artifacts[k].present && streq(d->artifacts[k].target, target))
                        return true;
        for (size_t i = 0; i < n; i++)
                if (streq(d->deltas[i].target, target))
                        return true;
        return false;
}

static int check_delta(const ReleaseDescription *d, size_t n, const char *what, Error *reterr) {
        const ArtifactDelta *delta = &d->deltas[n];
        int r;

        if (!version_is_valid(delta->from) || version_compare(delta->from, d->version) >= 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                 "%s: \"from\" must be an older version, not \"%s\"", what, delta->from);
        if (n > 0 && description_delta_compare(&d->deltas[n - 1], delta) >= 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE,
                                 "%s: \"%s\" from %s does not belong behind \"%s\" from %s", what,
                                 kind_names[delta->artifact], delta->from, kind_names[d->deltas[n - 1].artifact],
                                 d->deltas[n - 1].from);
        r = check_target(d, delta->target, what, reterr);
        if (r < 0)
                return r;
        if (target_is_taken(d, n))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"%s\" is the target of another file", what,
                                 delta->target);
        if (delta->head_size < DELTA_HEADER_SIZE)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"headSize\" is below %d", what,
                                 DELTA_HEADER_SIZE);
        return 0;
}

static int check_deltas(const ReleaseDescription *d, const char *what, Error *reterr) {
        for (size_t i = 0; i < d->n_deltas; i++) {
                _cleanup_free_ char *inside = xasprintf("%s: deltas: %zu", what, i + 1);
                int r = check_delta(d, i, inside, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int check(const ReleaseDescription *d, const char *what, Error *reterr) {
        int r;

        r = check_names(d, what, reterr);
        if (r < 0)
                return r;
        r = check_artifacts(d, what, reterr);
        if (r < 0)
                return r;
        r = check_deltas(d, what, reterr);
        if (r < 0)
                return r;
        if (d->verity_size == 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"veritySize\" is 0", what);
        r = check_text(d->kernel_version, KERNEL_VERSION_MAX, "kernelVersion", what, reterr);
        if (r < 0)
                return r;
        r = check_text(d->notes, DESCRIPTION_NOTES_MAX, "notes", what, reterr);
        if (r < 0)
                return r;
        return check_text(d->withdrawn, DESCRIPTION_NOTES_MAX, "withdrawn", what, reterr);
}

int description_parse(const json_t *custom, const char *what, ReleaseDescription **ret, Error *reterr) {
        _cleanup_(description_freep) ReleaseDescription *d = NULL;
        const json_t *sealab = json_object_get(custom, "sealab");
        int r;

        if (!sealab)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: has no description of a release (\"sealab\")", what);
        r = check_format(sealab, what, reterr);
        if (r < 0)
                return r;
        d = xnew(ReleaseDescription, 1);
        d->rollout = ROLLOUT_EVERYBODY;
        r = decode(sealab, what, d, reterr);
        if (r < 0)
                return r;
        r = check(d, what, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

/* ---- struct to JSON ---- */

static void set_string(json_t *object, const char *key, const char *value) {
        if (value)
                json_object_set_new(object, key, json_string(value));
}

static void set_u64(json_t *object, const char *key, uint64_t value) {
        json_object_set_new(object, key, json_integer((json_int_t) value));
}

static void set_digest(json_t *object, const char *key, const Sha256 *value) {
        _cleanup_free_ char *hex = sha256_hex(value);

        set_string(object, key, hex);
}

static json_t *artifacts_to_json(const ReleaseDescription *d) {
        json_t *artifacts = json_object();

        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++) {
                const Artifact *a = &d->artifacts[k];
                json_t *object;

                if (!a->present)
                        continue;
                object = json_object();
                set_string(object, "target", a->target);
                set_string(object, "encoding", encoding_names[a->encoding]);
                set_u64(object, "size", a->size);
                set_digest(object, "sha256", &a->sha256);
                json_object_set_new(artifacts, kind_names[k], object);
        }
        return artifacts;
}

static json_t *deltas_to_json(const ReleaseDescription *d) {
        json_t *list = json_array();

        for (size_t i = 0; i < d->n_deltas; i++) {
                const ArtifactDelta *delta = &d->deltas[i];
                json_t *object = json_object();

                set_string(object, "from", delta->from);
                set_string(object, "artifact", kind_names[delta->artifact]);
                set_digest(object, "fromId", &delta->from_id);
                set_string(object, "target", delta->target);
                set_u64(object, "headSize", delta->head_size);
                set_digest(object, "headSha256", &delta->head_sha256);
                json_array_append_new(list, object);
        }
        return list;
}

/* Each release's description is in metadata that every device reads: what is as usual is left out. */
json_t *description_to_json(const ReleaseDescription *d) {
        json_t *custom = json_object(), *o = json_object();

        set_u64(o, "format", DESCRIPTION_FORMAT);
        set_string(o, "product", d->product);
        set_string(o, "architecture", d->architecture);
        set_string(o, "version", d->version);
        if (d->epoch > 0)
                set_u64(o, "epoch", d->epoch);
        set_digest(o, "rootHash", &d->root_hash);
        set_u64(o, "veritySize", d->verity_size);
        set_digest(o, "veritySalt", &d->verity_salt);
        if (memcmp(d->verity_uuid, (const uint8_t[16]){}, 16) != 0) {
                _cleanup_free_ char *uuid = hex_encode(d->verity_uuid, sizeof d->verity_uuid);

                set_string(o, "verityUuid", uuid);
        }
        set_digest(o, "commandLine", &d->command_line);
        set_string(o, "kernelVersion", d->kernel_version);
        set_string(o, "minimumUpdater", d->minimum_updater);
        json_object_set_new(o, "artifacts", artifacts_to_json(d));
        if (d->n_deltas > 0)
                json_object_set_new(o, "deltas", deltas_to_json(d));
        if (d->rollout.start != 0 || d->rollout.initial < ROLLOUT_WHOLE)
                json_object_set_new(o, "rollout", rollout_to_json(&d->rollout));
        if (d->critical)
                json_object_set_new(o, "critical", json_true());
        set_string(o, "notes", d->notes);
        if (strv_length(d->supersedes) > 0)
                json_object_set_new(o, "supersedes", json_from_strv(d->supersedes));
        set_string(o, "withdrawn", d->withdrawn);
        json_object_set_new(custom, "sealab", o);
        return custom;
}

const ArtifactDelta *description_find_delta(const ReleaseDescription *d, const char *from, ArtifactKind artifact) {
        for (size_t i = 0; i < d->n_deltas; i++)
                if (streq(d->deltas[i].from, from) && d->deltas[i].artifact == artifact)
                        return &d->deltas[i];
        return NULL;
}

void description_add_delta(ReleaseDescription *d, const ArtifactDelta *delta) {
        size_t at = d->n_deltas;

        d->deltas = xrealloc(d->deltas, d->n_deltas + 1, sizeof *d->deltas);
        for (; at > 0 && description_delta_compare(delta, &d->deltas[at - 1]) < 0; at--)
                d->deltas[at] = d->deltas[at - 1];
        d->deltas[at] = *delta;
        d->deltas[at].from = xstrdup(delta->from);
        d->deltas[at].target = xstrdup(delta->target);
        d->n_deltas++;
}

void description_remove_delta(ReleaseDescription *d, size_t i) {
        free(d->deltas[i].from);
        free(d->deltas[i].target);
        d->n_deltas--;
        memmove(&d->deltas[i], &d->deltas[i + 1], (d->n_deltas - i) * sizeof *d->deltas);
}

bool description_supports(const ReleaseDescription *d, const char *updater_version) {
        return version_compare(updater_version, d->minimum_updater) >= 0;
}

char *description_target_path(const char *product, const char *version, const char *file) {
        return xasprintf("%s/%s/%s", product, version, file);
}
