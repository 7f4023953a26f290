/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ceremony.h"
#include "io.h"
#include "pe.h"

static const KeyRole type_roles[_SIGN_TYPE_MAX] = {
        [SIGN_VERITY_ROOTHASH] = KEY_ROLE_VERITY,
        [SIGN_AUTHENTICODE] = KEY_ROLE_SECUREBOOT,
};

static void sign_item_done(SignItem *i) {
        free(i->id);
        free(i->description);
        free(i->bytes);
        free(i->signature);
}

static int add_item(SignRequest *r, SignItem *item, Error *reterr) {
        if (sign_request_find(r, item->id)) {
                int e = error_set(reterr, EEXIST, REFUSAL_BAD_VALUE, "\"%s\" is to be signed twice", item->id);

                sign_item_done(item);
                return e;
        }
        GROW(r->items, r->n_items, r->n_allocated);
        r->items[r->n_items++] = *item;
        return 0;
}

/* The one definition of the bytes that each type stands for. */
static int expected_bytes(const SignItem *i, const Certificate *c, void **ret, size_t *ret_size, Error *reterr) {
        if (i->type == SIGN_AUTHENTICODE)
                return authenticode_prepare(c, &i->subject, ret, ret_size, reterr);
        *ret = sha256_hex(&i->subject);
        *ret_size = 2 * SHA256_SIZE;
        return 0;
}

static int check_item(const SignRequest *r, const SignItem *i, const KeySet *s, Error *reterr) {
        const Certificate *c = s->certificates[type_roles[i->type]];
        _cleanup_free_ void *bytes = NULL;
        Sha256 fingerprint;
        size_t size;
        int e;

        certificate_fingerprint(c, &fingerprint);
        if (!sha256_equal(&fingerprint, &i->certificate)) {
                _cleanup_free_ char *wanted = sha256_hex(&i->certificate);

                error_set(reterr, EKEYREJECTED, REFUSAL_KEY,
                          "\"%s\" wants the certificate %.16s..., %s/%s.crt is another", i->id, wanted, s->folder,
                          key_role_name(type_roles[i->type]));
                return error_hint(reterr, "use the same certificates on both machines");
        }
        e = expected_bytes(i, c, &bytes, &size, reterr);
        if (e < 0)
                return e;
        if (size != i->size || memcmp(bytes, i->bytes, size) != 0 ||
            (i->type == SIGN_VERITY_ROOTHASH && !sha256_equal(&i->subject, &r->root_hash))) {
                error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                          "the bytes of \"%s\" are not what the request says they are", i->id);
                return error_hint(reterr, "do not sign; find out where this file comes from");
        }
        return 0;
}

SignRequest *sign_request_new(const char *image_id, const char *version, const Sha256 *root_hash) {
        SignRequest *r = xnew(SignRequest, 1);

        r->image_id = xstrdup(image_id);
        r->version = xstrdup(version);
        r->root_hash = *root_hash;
        return r;
}

SignRequest *sign_request_free(SignRequest *r) {
        if (r) {
                for (size_t i = 0; i < r->n_items; i++)
                        sign_item_done(r->items + i);
                free(r->items);
                free(r->image_id);
                free(r->version);
                free(r);
        }
        return NULL;
}

int sign_request_add_roothash(SignRequest *r, const KeySet *s, Error *reterr) {
        SignItem item = {
                .id = xstrdup("usr"),
                .type = SIGN_VERITY_ROOTHASH,
                .description = xasprintf("root hash of /usr of %s %s", r->image_id, r->version),
                .subject = r->root_hash,
        };

        certificate_fingerprint(s->certificates[KEY_ROLE_VERITY], &item.certificate);
        (void) expected_bytes(&item, NULL, &item.bytes, &item.size, NULL);
        return add_item(r, &item, reterr);
}

int sign_request_add_efi(SignRequest *r, const KeySet *s, const char *id, const char *what, const void *image,
                         size_t size, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        SignItem item = { .type = SIGN_AUTHENTICODE };
        int e;

        e = pe_parse(image, size, &p, reterr);
        if (e >= 0)
                e = pe_authenticode_digest(&p, &item.subject, reterr);
        if (e >= 0)
                e = expected_bytes(&item, s->certificates[KEY_ROLE_SECUREBOOT], &item.bytes, &item.size, reterr);
        if (e < 0)
                return error_prefix(reterr, "%s", what);
        item.id = xstrdup(id);
        item.description = xasprintf("%s for %s %s", what, r->image_id, r->version);
        certificate_fingerprint(s->certificates[KEY_ROLE_SECUREBOOT], &item.certificate);
        return add_item(r, &item, reterr);
}

const SignItem *sign_request_find(const SignRequest *r, const char *id) {
        for (size_t i = 0; i < r->n_items; i++)
                if (streq(r->items[i].id, id))
                        return r->items + i;
        return NULL;
}

char *sign_request_describe(const SignRequest *r) {
        _cleanup_free_ char *root_hex = sha256_hex(&r->root_hash);
        _cleanup_buffer_ Buffer b = {};

        buffer_printf(&b, "image      %s\nversion    %s\nroot hash  %s\n", r->image_id, r->version, root_hex);
        for (size_t i = 0; i < r->n_items; i++) {
                const SignItem *item = r->items + i;
                _cleanup_free_ char *subject = sha256_hex(&item->subject), *digest = NULL;
                Sha256 hash;

                sha256_buffer(item->bytes, item->size, &hash);
                digest = sha256_hex(&hash);
                buffer_printf(&b, "\n%s: %s\n  %s  %s\n  key        %s\n  to sign    %zu bytes, SHA-256 %s\n", item->id,
                              item->description, item->type == SIGN_AUTHENTICODE ? "PE digest" : "root hash", subject,
                              key_role_name(type_roles[item->type]), item->size, digest);
        }
        return buffer_steal(&b);
}

int sign_request_sign(SignRequest *r, const KeySet *s, Error *reterr) {
        /* Look at all of it before signing any of it. */
        for (size_t i = 0; i < r->n_items; i++) {
                int e = check_item(r, r->items + i, s, reterr);

                if (e < 0)
                        return e;
        }
        for (size_t i = 0; i < r->n_items; i++) {
                SignItem *item = r->items + i;
                void *sig;
                size_t size;
                int e;

                e = crypto_sign_raw(s->keys[type_roles[item->type]], item->bytes, item->size, &sig, &size, reterr);
                if (e < 0)
                        return error_prefix(reterr, "\"%s\"", item->id);
                free(item->signature);
                item->signature = sig;
                item->signature_size = size;
        }
        return 0;
}

int sign_item_finish_roothash(const SignItem *i, const KeySet *s, void **ret, size_t *ret_size, Error *reterr) {
        _cleanup_free_ void *sig = NULL;
        size_t size;
        int e;

        if (i->type != SIGN_VERITY_ROOTHASH || !i->signature)
                return error_set(reterr, EINVAL, REFUSAL_BAD_SIGNATURE, "\"%s\" is not a signed root hash", i->id);
        e = pkcs7_assemble_detached(s->certificates[KEY_ROLE_VERITY], i->signature, i->signature_size, &sig, &size,
                                    reterr);
        if (e >= 0)
                e = sign_check_roothash(s, &i->subject, sig, size, reterr);
        if (e < 0)
                return e;
        *ret = TAKE_PTR(sig);
        *ret_size = size;
        return 0;
}

int sign_item_finish_efi(const SignItem *i, const KeySet *s, const void *image, size_t size, void **ret,
                         size_t *ret_size, Error *reterr) {
        _cleanup_(pe_done) PeImage p = {};
        _cleanup_free_ void *sig = NULL;
        Sha256 digest;
        size_t sig_size;
        int e;

        if (i->type != SIGN_AUTHENTICODE || !i->signature)
                return error_set(reterr, EINVAL, REFUSAL_BAD_SIGNATURE, "\"%s\" is not a signed PE image", i->id);
        e = pe_parse(image, size, &p, reterr);
        if (e >= 0)
                e = pe_authenticode_digest(&p, &digest, reterr);
        if (e < 0)
                return e;
        if (!sha256_equal(&digest, &i->subject))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "this is not the image that \"%s\" was signed for", i->id);
        e = authenticode_assemble(s->certificates[KEY_ROLE_SECUREBOOT], &digest, i->signature, i->signature_size, &sig,
                                  &sig_size, reterr);
        if (e < 0)
                return e;
        return pe_attach_signature(image, size, sig, sig_size, ret, ret_size, reterr);
}

int ceremony_sign_file(const char *request_path, const char *key_folder, const char *response_path,
                       char **ret_description, Error *reterr) {
        _cleanup_(sign_request_freep) SignRequest *request = NULL;
        _cleanup_(key_set_freep) KeySet *keys = NULL;
        _cleanup_free_ char *text = NULL, *response = NULL;
        unsigned roles = 0;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, request_path, CEREMONY_FILE_SIZE_MAX, &text, &size, reterr);
        if (r >= 0)
                r = sign_request_parse(text, size, request_path, &request, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < request->n_items; i++)
                roles |= 1U << type_roles[request->items[i].type];
        r = key_set_load(key_folder, roles, 0, &keys, reterr);
        if (r >= 0)
                r = sign_request_sign(request, keys, reterr);
        if (r < 0)
                return r;
        response = sign_response_format(request);
        r = io_replace_file(AT_FDCWD, response_path, response, strlen(response), 0644, reterr);
        if (r < 0)
                return r;
        if (ret_description)
                *ret_description = sign_request_describe(request);
        return 0;
}
