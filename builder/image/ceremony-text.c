/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* tosign.json and signed.json: formatting and strict reading. Both travel on USB sticks, so what comes back is as
 * foreign as anything from the network. */

#include "base64.h"
#include "ceremony.h"
#include "json.h"

#define REQUEST_FORMAT "sealab-tosign-1"
#define RESPONSE_FORMAT "sealab-signed-1"
#define NAME_SIZE_MAX 64
#define DESCRIPTION_SIZE_MAX 400
#define SIGNATURE_SIZE_MAX 2048 /* RSA-16384 */

static const char *const type_names[_SIGN_TYPE_MAX] = {
        [SIGN_VERITY_ROOTHASH] = "verity-roothash",
        [SIGN_AUTHENTICODE] = "authenticode",
};

typedef struct Answer {
        char *id;
        Sha256 certificate;
        void *signature;
        size_t size;
} Answer;

typedef struct Answers {
        Answer items[CEREMONY_ITEMS_MAX];
        size_t n;
} Answers;

static void answers_done(Answers *a) {
        for (size_t i = 0; i < a->n; i++) {
                free(a->items[i].id);
                free(a->items[i].signature);
        }
}

static json_t *must(json_t *value) {
        if (!value)
                abort();
        return value;
}

static json_t *hex_string(const Sha256 *h) {
        _cleanup_free_ char *hex = sha256_hex(h);

        return must(json_string(hex));
}

static json_t *base64_string(const void *data, size_t size) {
        _cleanup_free_ char *text = base64_encode(data, size);

        return must(json_string(text));
}

static json_t *image_object(const SignRequest *r) {
        return must(json_pack("{s:s, s:s, s:o}", "id", r->image_id, "version", r->version, "rootHash",
                              hex_string(&r->root_hash)));
}

/* Text that will be printed on a terminal for somebody to trust: printable ASCII, so no escapes, no line breaks, no
 * characters that turn the direction of writing. */
static bool is_plain_text(const char *s, size_t max_size) {
        size_t size = strlen(s);

        for (const char *p = s; *p; p++)
                if (*p < ' ' || *p > '~')
                        return false;
        return size > 0 && size <= max_size;
}

static int malformed(const char *what, const char *problem, Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %s", what, problem);
}

static SignType type_from_name(const char *name) {
        SignType t = 0;

        while (t < _SIGN_TYPE_MAX && !streq(type_names[t], name))
                t++;
        return t;
}

static int parse_document(const char *text, size_t size, const char *what, const char *format, const char *list_key,
                          json_t **ret, const json_t **ret_image, const json_t **ret_list, Error *reterr) {
        _cleanup_json_ json_t *document = NULL;
        _cleanup_free_ char *found = NULL;
        JsonReader reader;
        int r;

        if (size > CEREMONY_FILE_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s has more than %zu bytes", what,
                                 CEREMONY_FILE_SIZE_MAX);
        r = json_parse(text, size, what, &document, reterr);
        if (r < 0)
                return r;
        reader = json_reader(document, what, reterr);
        json_take_string(&reader, "format", false, &found);
        json_take_object(&reader, "image", false, ret_image);
        json_take_array(&reader, list_key, false, CEREMONY_ITEMS_MAX, ret_list);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (!streq(found, format)) {
                error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is not a %s document", what, format);
                return error_hint(reterr,
                                  "'sealab sign --export' writes a tosign.json, 'sealab sign --sign-file' makes a "
                                  "signed.json of it");
        }
        *ret = TAKE_PTR(document);
        return 0;
}

static int parse_image(const json_t *object, const char *what, SignRequest **ret, Error *reterr) {
        _cleanup_free_ char *id = NULL, *version = NULL, *hex = NULL;
        JsonReader reader = json_reader(object, what, reterr);
        Sha256 root_hash;
        int r;

        json_take_string(&reader, "id", false, &id);
        json_take_string(&reader, "version", false, &version);
        json_take_string(&reader, "rootHash", false, &hex);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (!is_plain_text(id, NAME_SIZE_MAX) || !is_plain_text(version, NAME_SIZE_MAX) ||
            !sha256_from_hex(hex, &root_hash))
                return malformed(what, "\"image\" is malformed", reterr);
        *ret = sign_request_new(id, version, &root_hash);
        return 0;
}

typedef struct ItemText {
        char *id, *type, *role, *description, *subject, *digest, *bytes, *certificate;
} ItemText;

static void item_text_done(ItemText *t) {
        free(t->id);
        free(t->type);
        free(t->role);
        free(t->description);
        free(t->subject);
        free(t->digest);
        free(t->bytes);
        free(t->certificate);
}

static int read_item_text(const json_t *object, const char *what, ItemText *ret, Error *reterr) {
        JsonReader reader = json_reader(object, what, reterr);

        json_take_string(&reader, "id", false, &ret->id);
        json_take_string(&reader, "type", false, &ret->type);
        json_take_string(&reader, "role", false, &ret->role);
        json_take_string(&reader, "description", false, &ret->description);
        json_take_string(&reader, "subject", false, &ret->subject);
        json_take_string(&reader, "digest", false, &ret->digest);
        json_take_string(&reader, "bytes", false, &ret->bytes);
        json_take_string(&reader, "certificate", false, &ret->certificate);
        return json_reader_end(&reader);
}

static int parse_item(SignRequest *request, const json_t *object, const char *what, Error *reterr) {
        _cleanup_(item_text_done) ItemText t = {};
        _cleanup_free_ void *bytes = NULL;
        SignItem item = {};
        Sha256 digest, actual;
        int r;

        r = read_item_text(object, what, &t, reterr);
        if (r < 0)
                return r;
        item.type = type_from_name(t.type);
        if (item.type == _SIGN_TYPE_MAX)
                return malformed(what, "an item has an unknown type", reterr);
        if (!is_plain_text(t.id, NAME_SIZE_MAX) || !is_plain_text(t.description, DESCRIPTION_SIZE_MAX) ||
            !sha256_from_hex(t.subject, &item.subject) || !sha256_from_hex(t.certificate, &item.certificate) ||
            !sha256_from_hex(t.digest, &digest) || !base64_decode(t.bytes, CEREMONY_BYTES_MAX, &bytes, &item.size) ||
            !streq(t.role, item.type == SIGN_AUTHENTICODE ? "secureboot" : "verity"))
                return malformed(what, "an item is malformed", reterr);
        sha256_buffer(bytes, item.size, &actual);
        if (!sha256_equal(&digest, &actual))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s: the bytes of \"%s\" do not have their digest", what, t.id);
        if (sign_request_find(request, t.id))
                return malformed(what, "two items have the same id", reterr);
        item.id = TAKE_PTR(t.id);
        item.description = TAKE_PTR(t.description);
        item.bytes = TAKE_PTR(bytes);
        GROW(request->items, request->n_items, request->n_allocated);
        request->items[request->n_items++] = item;
        return 0;
}

static int parse_answer(Answers *answers, const json_t *object, const char *what, Error *reterr) {
        _cleanup_free_ char *id = NULL, *certificate = NULL, *text = NULL;
        JsonReader reader = json_reader(object, what, reterr);
        Answer *a = answers->items + answers->n;
        int r;

        json_take_string(&reader, "id", false, &id);
        json_take_string(&reader, "certificate", false, &certificate);
        json_take_string(&reader, "signature", false, &text);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (!is_plain_text(id, NAME_SIZE_MAX) || !sha256_from_hex(certificate, &a->certificate) ||
            !base64_decode(text, SIGNATURE_SIZE_MAX, &a->signature, &a->size))
                return malformed(what, "a signature is malformed", reterr);
        a->id = TAKE_PTR(id);
        answers->n++;
        return 0;
}

static int parse_answers(const json_t *list, const char *what, Answers *ret, Error *reterr) {
        const json_t *object;
        size_t i;

        json_array_foreach ((json_t *) list, i, object) {
                int r = parse_answer(ret, object, what, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* The answer to an item; an id without one, or with two, is refused. */
static int find_answer(const Answers *answers, const SignItem *item, const char *what, Answer const **ret,
                       Error *reterr) {
        const Answer *found = NULL;

        for (size_t i = 0; i < answers->n; i++)
                if (streq(answers->items[i].id, item->id)) {
                        if (found)
                                return malformed(what, "two signatures have the same id", reterr);
                        found = answers->items + i;
                }
        if (!found)
                return error_set(reterr, ENOENT, REFUSAL_BAD_SIGNATURE, "%s holds no signature for \"%s\"", what,
                                 item->id);
        *ret = found;
        return 0;
}

/* By making the container that the signature is for and checking that. */
static int check_answer(const SignItem *item, const Answer *answer, const KeySet *s, Error *reterr) {
        SignItem trial = *item;
        _cleanup_free_ void *container = NULL;
        size_t size;

        if (!sha256_equal(&answer->certificate, &item->certificate))
                return error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "\"%s\" was signed for another certificate",
                                 item->id);
        trial.signature = answer->signature;
        trial.signature_size = answer->size;
        if (item->type == SIGN_VERITY_ROOTHASH)
                return sign_item_finish_roothash(&trial, s, &container, &size, reterr);
        return authenticode_assemble(s->certificates[KEY_ROLE_SECUREBOOT], &item->subject, answer->signature,
                                     answer->size, &container, &size, reterr);
}

char *sign_request_format(const SignRequest *r) {
        _cleanup_json_ json_t *document = NULL;
        json_t *items = must(json_array());

        for (size_t i = 0; i < r->n_items; i++) {
                const SignItem *item = r->items + i;
                Sha256 digest;

                sha256_buffer(item->bytes, item->size, &digest);
                json_array_append_new(
                        items, must(json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", item->id, "type",
                                              type_names[item->type], "role",
                                              item->type == SIGN_AUTHENTICODE ? "secureboot" : "verity", "description",
                                              item->description, "subject", hex_string(&item->subject), "digest",
                                              hex_string(&digest), "bytes", base64_string(item->bytes, item->size),
                                              "certificate", hex_string(&item->certificate))));
        }
        document =
                must(json_pack("{s:s, s:o, s:o}", "format", REQUEST_FORMAT, "image", image_object(r), "items", items));
        return json_format(document, /* sorted= */ false);
}

int sign_request_parse(const char *text, size_t size, const char *what, SignRequest **ret, Error *reterr) {
        _cleanup_(sign_request_freep) SignRequest *request = NULL;
        _cleanup_json_ json_t *document = NULL;
        const json_t *image = NULL, *items = NULL, *object;
        size_t i;
        int r;

        r = parse_document(text, size, what, REQUEST_FORMAT, "items", &document, &image, &items, reterr);
        if (r >= 0)
                r = parse_image(image, what, &request, reterr);
        if (r < 0)
                return r;
        if (json_array_size(items) == 0)
                return malformed(what, "there is nothing to sign", reterr);
        json_array_foreach ((json_t *) items, i, object) {
                r = parse_item(request, object, what, reterr);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(request);
        return 0;
}

char *sign_response_format(const SignRequest *r) {
        _cleanup_json_ json_t *document = NULL;
        json_t *signatures = must(json_array());

        for (size_t i = 0; i < r->n_items; i++) {
                const SignItem *item = r->items + i;

                if (item->signature)
                        json_array_append_new(signatures,
                                              must(json_pack("{s:s, s:o, s:o}", "id", item->id, "certificate",
                                                             hex_string(&item->certificate), "signature",
                                                             base64_string(item->signature, item->signature_size))));
        }
        document = must(json_pack("{s:s, s:o, s:o}", "format", RESPONSE_FORMAT, "image", image_object(r), "signatures",
                                  signatures));
        return json_format(document, /* sorted= */ false);
}

int sign_response_apply(SignRequest *request, const char *text, size_t size, const char *what, const KeySet *s,
                        Error *reterr) {
        _cleanup_(sign_request_freep) SignRequest *image = NULL;
        const Answer *found[CEREMONY_ITEMS_MAX] = {};
        _cleanup_(answers_done) Answers answers = {};
        _cleanup_json_ json_t *document = NULL;
        const json_t *object = NULL, *list = NULL;
        int r;

        r = parse_document(text, size, what, RESPONSE_FORMAT, "signatures", &document, &object, &list, reterr);
        if (r >= 0)
                r = parse_image(object, what, &image, reterr);
        if (r >= 0)
                r = parse_answers(list, what, &answers, reterr);
        if (r < 0)
                return r;
        if (!streq(image->image_id, request->image_id) || !streq(image->version, request->version) ||
            !sha256_equal(&image->root_hash, &request->root_hash))
                return error_set(reterr, EBADMSG, REFUSAL_DIFFERENT, "%s is for %s %s, not for this release", what,
                                 image->image_id, image->version);
        if (answers.n != request->n_items || request->n_items > CEREMONY_ITEMS_MAX)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "%s holds %zu signatures, %zu are needed",
                                 what, answers.n, request->n_items);
        for (size_t i = 0; i < request->n_items; i++) {
                r = find_answer(&answers, request->items + i, what, found + i, reterr);
                if (r >= 0)
                        r = check_answer(request->items + i, found[i], s, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", what);
        }
        /* TRUST: all of them hold. */
        for (size_t i = 0; i < request->n_items; i++) {
                free(request->items[i].signature);
                request->items[i].signature = xmemdup(found[i]->signature, found[i]->size);
                request->items[i].signature_size = found[i]->size;
        }
        return 0;
}
