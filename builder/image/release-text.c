/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The build record as text: release.json. */

#include "json.h"
#include "release.h"

#define TOOLS_MAX 256
#define CERTIFICATES_MAX 16

static const char *const layouts[_USR_LAYOUT_MAX] = {
        [USR_LAYOUT_PLAIN] = "plain",
        [USR_LAYOUT_LZ4HC] = "lz4hc",
};

static void set_digest(json_t *o, const char *key, const Sha256 *digest) {
        _cleanup_free_ char *hex = sha256_hex(digest);

        json_object_set_new(o, key, json_string(hex));
}

static json_t *files_to_json(const Release *r) {
        json_t *files = json_object();

        for (size_t i = 0; i < _RELEASE_PART_MAX; i++) {
                _cleanup_free_ char *name = release_file_name(r, (ReleasePart) i);
                json_t *f;

                if (!r->files[i].present)
                        continue;
                f = json_object();
                json_object_set_new(f, "size", json_integer((json_int_t) r->files[i].size));
                set_digest(f, "sha256", &r->files[i].sha256);
                json_object_set_new(files, name, f);
        }
        return files;
}

static json_t *certificates_to_json(const Release *r) {
        json_t *array = json_array();

        for (size_t i = 0; i < r->n_certificates; i++) {
                const ReleaseCertificate *c = &r->certificates[i];
                json_t *o = json_object();

                json_object_set_new(o, "role", json_string(c->role));
                json_object_set_new(o, "subject", json_string(c->subject));
                set_digest(o, "fingerprint", &c->fingerprint);
                json_object_set_new(o, "notAfter", json_integer(c->not_after));
                json_object_set_new(o, "development", json_boolean(c->development));
                json_array_append_new(array, o);
        }
        return array;
}

char *release_format(const Release *r) {
        _cleanup_json_ json_t *o = json_object();
        json_t *usr = json_object(), *tools = json_object();

        json_object_set_new(o, "format", json_integer(RELEASE_FORMAT));
        json_object_set_new(o, "imageId", json_string(r->image_id));
        json_object_set_new(o, "version", json_string(r->version));
        json_object_set_new(o, "architecture", json_string(r->architecture ?: ""));
        json_object_set_new(o, "epoch", json_integer(r->epoch));
        json_object_set_new(o, "recipe", json_string(r->recipe ?: ""));
        set_digest(o, "lock", &r->lock);
        set_digest(o, "request", &r->request);
        set_digest(o, "ids", &r->ids);
        set_digest(o, "rootHash", &r->root_hash);
        json_object_set_new(o, "kernelVersion", json_string(r->kernel_version ?: ""));
        json_object_set_new(o, "commandLine", json_string(r->command_line ?: ""));
        json_object_set_new(usr, "layout", json_string(layouts[r->layout]));
        json_object_set_new(usr, "level", json_integer((json_int_t) r->level));
        json_object_set_new(usr, "cluster", json_integer((json_int_t) r->cluster));
        json_object_set_new(o, "usr", usr);
        if (r->download_budget > 0)
                json_object_set_new(o, "downloadBudget", json_integer((json_int_t) r->download_budget));
        json_object_set_new(o, "files", files_to_json(r));
        json_object_set_new(o, "certificates", certificates_to_json(r));
        json_object_set_new(o, "developmentKeys", json_boolean(r->development_keys));
        for (size_t i = 0; i < r->n_tools; i++)
                json_object_set_new(tools, r->tools[i].name, json_string(r->tools[i].value));
        json_object_set_new(o, "tools", tools);
        return json_format(o, false);
}

static void take_digest(JsonReader *r, const char *key, Sha256 *ret) {
        _cleanup_free_ char *hex = NULL;

        json_take_string(r, key, false, &hex);
        if (r->result == 0 && !sha256_from_hex(hex, ret))
                r->result =
                        error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"%s\" is not a SHA-256", r->what, key);
}

static int decode_usr(const json_t *object, Release *r, Error *reterr) {
        _cleanup_free_ char *layout = NULL;
        JsonReader reader = json_reader(object, "usr", reterr);
        int result;

        json_take_string(&reader, "layout", false, &layout);
        json_take_u64(&reader, "level", false, 12, &r->level);
        json_take_u64(&reader, "cluster", false, UINT64_C(1) << 20, &r->cluster);
        result = json_reader_end(&reader);
        if (result < 0)
                return result;
        for (size_t i = 0; i < _USR_LAYOUT_MAX; i++)
                if (streq(layouts[i], layout)) {
                        r->layout = (UsrLayout) i;
                        return 0;
                }
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "unknown layout \"%s\"", layout);
}

static int decode_files(const json_t *object, Release *r, Error *reterr) {
        JsonReader files = json_reader(object, "files", reterr);

        for (size_t i = 0; i < _RELEASE_PART_MAX; i++) {
                _cleanup_free_ char *name = release_file_name(r, (ReleasePart) i);
                const json_t *value = NULL;
                JsonReader reader;
                int result;

                json_take_object(&files, name, true, &value);
                if (!value)
                        continue;
                reader = json_reader(value, name, reterr);
                json_take_u64(&reader, "size", false, INT64_MAX, &r->files[i].size);
                take_digest(&reader, "sha256", &r->files[i].sha256);
                result = json_reader_end(&reader);
                if (result < 0)
                        files.result = result;
                r->files[i].present = true;
        }
        return json_reader_end(&files);
}

static int decode_certificates(const json_t *array, Release *r, Error *reterr) {
        const json_t *value;
        size_t i;

        json_array_foreach ((json_t *) array, i, value) {
                JsonReader reader = json_reader(value, "certificate", reterr);
                _cleanup_free_ char *role = NULL, *subject = NULL;
                uint64_t not_after = 0;
                bool development = false;
                Sha256 fingerprint;
                int result;

                json_take_string(&reader, "role", false, &role);
                json_take_string(&reader, "subject", false, &subject);
                take_digest(&reader, "fingerprint", &fingerprint);
                json_take_u64(&reader, "notAfter", false, INT64_MAX, &not_after);
                json_take_bool(&reader, "development", false, &development);
                result = json_reader_end(&reader);
                if (result < 0)
                        return result;
                if (release_certificate(r, role))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "two certificates for \"%s\"", role);
                release_set_certificate(r, role, subject, &fingerprint, (int64_t) not_after, development);
        }
        return 0;
}

static int decode_tools(const json_t *object, Release *r, Error *reterr) {
        const char *key;
        json_t *value;

        if (json_object_size(object) > TOOLS_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "more than %d tools", TOOLS_MAX);
        json_object_foreach ((json_t *) object, key, value) {
                if (!json_is_string(value))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the version of tool \"%s\" is no text",
                                         key);
                release_set_tool(r, key, json_string_value(value));
        }
        return 0;
}

static int decode_nested(const json_t *usr, const json_t *files, const json_t *certificates, const json_t *tools,
                         Release *r, Error *reterr) {
        bool development = r->development_keys;
        int result;

        result = decode_usr(usr, r, reterr);
        if (result >= 0)
                result = decode_files(files, r, reterr);
        if (result >= 0)
                result = decode_certificates(certificates, r, reterr);
        if (result >= 0)
                result = decode_tools(tools, r, reterr);
        if (result >= 0 && r->development_keys != development)
                result = error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                   "\"developmentKeys\" contradicts \"certificates\"");
        return result;
}

int release_parse(const char *text, size_t size, const char *what, Release **ret, Error *reterr) {
        _cleanup_(release_freep) Release *r = release_new(NULL, NULL, NULL);
        const json_t *usr = NULL, *files = NULL, *certificates = NULL, *tools = NULL;
        _cleanup_json_ json_t *object = NULL;
        uint64_t format = 0, epoch = 0;
        JsonReader reader;
        int result;

        result = json_parse(text, size, what, &object, reterr);
        if (result < 0)
                return result;
        reader = json_reader(object, what, reterr);
        json_take_u64(&reader, "format", false, UINT32_MAX, &format);
        if (reader.result == 0 && format != RELEASE_FORMAT)
                reader.result =
                        error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                  "%s: format %" PRIu64 " is not known to this version of sealab", what, format);
        json_take_string(&reader, "imageId", false, &r->image_id);
        json_take_string(&reader, "version", false, &r->version);
        json_take_string(&reader, "architecture", false, &r->architecture);
        json_take_u64(&reader, "epoch", false, INT64_MAX, &epoch);
        json_take_string(&reader, "recipe", false, &r->recipe);
        take_digest(&reader, "lock", &r->lock);
        take_digest(&reader, "request", &r->request);
        take_digest(&reader, "ids", &r->ids);
        take_digest(&reader, "rootHash", &r->root_hash);
        json_take_string(&reader, "kernelVersion", false, &r->kernel_version);
        json_take_string(&reader, "commandLine", false, &r->command_line);
        json_take_object(&reader, "usr", false, &usr);
        json_take_u64(&reader, "downloadBudget", true, INT64_MAX, &r->download_budget);
        json_take_object(&reader, "files", false, &files);
        json_take_array(&reader, "certificates", false, CERTIFICATES_MAX, &certificates);
        json_take_bool(&reader, "developmentKeys", false, &r->development_keys);
        json_take_object(&reader, "tools", false, &tools);
        result = json_reader_end(&reader);
        if (result < 0)
                return result;
        r->epoch = (int64_t) epoch;
        /* Before the files: their names are made of these. */
        result = release_check_name(r->image_id, r->version, reterr);
        if (result >= 0)
                result = decode_nested(usr, files, certificates, tools, r, reterr);
        if (result < 0)
                return error_prefix(reterr, "%s", what);
        *ret = TAKE_PTR(r);
        return 0;
}
