/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "conf.h"
#include "io.h"
#include "sign.h"
#include "uki.h"

#define URI_FILE_SIZE_MAX 4096
#define TOKEN_FILE "pkcs11.conf"

static const char *const role_names[_KEY_ROLE_MAX] = {
        [KEY_ROLE_VERITY] = "verity",
        [KEY_ROLE_SECUREBOOT] = "secureboot",
        [KEY_ROLE_PLATFORM] = "PK",
        [KEY_ROLE_EXCHANGE] = "KEK",
};

typedef struct TokenConf {
        char *module, *pin_file;
        char *uris[_KEY_ROLE_MAX];
} TokenConf;

static void token_conf_done(TokenConf *t) {
        free(t->module);
        free(t->pin_file);
        for (size_t i = 0; i < _KEY_ROLE_MAX; i++)
                free(t->uris[i]);
}

static char **token_conf_target(TokenConf *t, const ConfItem *item) {
        KeyRole role;

        if (streq(item->section, "Token") && streq(item->key, "Module"))
                return &t->module;
        if (streq(item->section, "Token") && streq(item->key, "PinFile"))
                return &t->pin_file;
        role = streq(item->section, "Keys") ? key_role_from_name(item->key) : _KEY_ROLE_MAX;
        return role < _KEY_ROLE_MAX ? t->uris + role : NULL;
}

/* A missing file is an empty configuration. */
static int read_token_conf(const char *folder, TokenConf *ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(folder, TOKEN_FILE), *problems = NULL;
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(conf_freep) ConfFile *c = NULL;
        int r;

        if (!io_exists(AT_FDCWD, path))
                return 0;
        r = conf_read(AT_FDCWD, path, &d, &c, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n_items; i++) {
                const ConfItem *item = c->items + i;
                char **target = token_conf_target(ret, item);

                if (!target)
                        conf_diagnose(&d, path, item->line, item->column, NULL, "unknown key %s= in [%s]", item->key,
                                      item->section);
                else if (*target)
                        conf_diagnose(&d, path, item->line, item->column, NULL, "%s= is given twice", item->key);
                else
                        *target = xstrdup(item->value);
        }
        if (d.n_items > 0) {
                problems = conf_diagnostics_format(&d);
                return error_set(reterr, EINVAL, REFUSAL_BAD_SYNTAX, "%s", strstrip(problems));
        }
        return 0;
}

static char *token_uri(const TokenConf *t, KeyRole role) {
        bool has_query = strchr(t->uris[role], '?');
        _cleanup_free_ char *module =
                t->module ? xasprintf("%cmodule-path=%s", has_query ? '&' : '?', t->module) : xstrdup("");
        _cleanup_free_ char *pin =
                t->pin_file ? xasprintf("%cpin-source=%s", has_query || t->module ? '&' : '?', t->pin_file)
                            : xstrdup("");

        return xasprintf("%s%s%s", t->uris[role], module, pin);
}

static int read_uri_file(const char *path, char **ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = io_read_file(AT_FDCWD, path, URI_FILE_SIZE_MAX, &text, NULL, reterr);
        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = 0;
        if (!startswith(text, "pkcs11:"))
                return error_set(reterr, EINVAL, REFUSAL_BAD_SYNTAX, "%s does not hold a pkcs11: URI", path);
        *ret = xstrdup(strstrip(text));
        return 0;
}

static int no_key(const char *folder, KeyRole role, Error *reterr) {
        error_set(reterr, ENOENT, REFUSAL_KEY, "%s holds no key for the role %s", folder, key_role_name(role));
        return error_hint(reterr,
                          "put it there as %s.key (or %s.uri for a token), make throw-away keys with 'sealab keys "
                          "generate', or sign elsewhere with 'sealab sign --export'",
                          key_role_name(role), key_role_name(role));
}

static int load_key(KeySet *s, KeyRole role, Error *reterr) {
        _cleanup_free_ char *where = NULL;
        KeyPlace place;
        int r;

        r = key_set_find_key(s->folder, role, &place, &where, reterr);
        if (r < 0)
                return r;
        if (place == KEY_PLACE_NONE)
                return no_key(s->folder, role, reterr);
        r = private_key_load(where, s->keys + role, reterr);
        if (r < 0)
                return r;
        if (!certificate_matches_key(s->certificates[role], s->keys[role])) {
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY,
                          "%s: key and certificate of the role %s do not belong together", s->folder,
                          key_role_name(role));
                return error_hint(reterr,
                                  "compare 'openssl x509 -pubkey -noout -in %s/%s.crt' with the key's public part",
                                  s->folder, key_role_name(role));
        }
        return 0;
}

static int load_role(KeySet *s, KeyRole role, KeySetFlags flags, Error *reterr) {
        _cleanup_free_ char *path = xasprintf("%s/%s.crt", s->folder, key_role_name(role));
        int r;

        r = certificate_load(path, s->certificates + role, reterr);
        if (r < 0)
                return r;
        if (flags & KEY_SET_RELEASE_BUILD && certificate_is_development(s->certificates[role])) {
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY,
                          "%s is a development certificate; a release build refuses it", path);
                return error_hint(reterr,
                                  "name the folder with the release keys with --keys (keys/README.md), or leave "
                                  "out --release");
        }
        return flags & KEY_SET_CERTIFICATES_ONLY ? 0 : load_key(s, role, reterr);
}

const char *key_role_name(KeyRole role) {
        return role < _KEY_ROLE_MAX ? role_names[role] : NULL;
}

KeyRole key_role_from_name(const char *name) {
        KeyRole role = 0;

        while (role < _KEY_ROLE_MAX && !streq(role_names[role], name))
                role++;
        return role;
}

KeySet *key_set_free(KeySet *s) {
        if (s) {
                for (size_t i = 0; i < _KEY_ROLE_MAX; i++) {
                        certificate_free(s->certificates[i]);
                        private_key_free(s->keys[i]);
                }
                free(s->folder);
                free(s);
        }
        return NULL;
}

int key_set_load(const char *folder, unsigned roles, KeySetFlags flags, KeySet **ret, Error *reterr) {
        _cleanup_(key_set_freep) KeySet *s = xnew(KeySet, 1);
        struct stat st;

        if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
                error_set(reterr, ENOENT, REFUSAL_KEY, "there is no key folder %s", folder);
                return error_hint(reterr, "make throw-away keys: sealab keys generate %s", folder);
        }
        s->folder = xstrdup(folder);
        for (KeyRole role = 0; role < _KEY_ROLE_MAX; role++)
                if (roles & 1U << role) {
                        int r = load_role(s, role, flags, reterr);

                        if (r < 0)
                                return r;
                }
        *ret = TAKE_PTR(s);
        return 0;
}

bool key_set_is_development(const KeySet *s) {
        for (size_t i = 0; i < _KEY_ROLE_MAX; i++)
                if (s->certificates[i] && certificate_is_development(s->certificates[i]))
                        return true;
        return false;
}

int key_set_find_key(const char *folder, KeyRole role, KeyPlace *ret_place, char **ret_path_or_uri, Error *reterr) {
        _cleanup_free_ char *key_path = xasprintf("%s/%s.key", folder, key_role_name(role));
        _cleanup_free_ char *uri_path = xasprintf("%s/%s.uri", folder, key_role_name(role));
        bool has_key = io_exists(AT_FDCWD, key_path), has_uri = io_exists(AT_FDCWD, uri_path);
        _cleanup_(token_conf_done) TokenConf conf = {};
        int r;

        r = read_token_conf(folder, &conf, reterr);
        if (r < 0)
                return r;
        if (has_key + has_uri + (conf.uris[role] != NULL) > 1) {
                error_set(reterr, EINVAL, REFUSAL_KEY, "%s names more than one key for the role %s", folder,
                          key_role_name(role));
                return error_hint(reterr, "keep one of %s.key, %s.uri and the entry in " TOKEN_FILE,
                                  key_role_name(role), key_role_name(role));
        }
        *ret_place = has_key ? KEY_PLACE_FILE : has_uri || conf.uris[role] ? KEY_PLACE_TOKEN : KEY_PLACE_NONE;
        *ret_path_or_uri = NULL;
        if (has_uri)
                return read_uri_file(uri_path, ret_path_or_uri, reterr);
        if (conf.uris[role] && !startswith(conf.uris[role], "pkcs11:"))
                return error_set(reterr, EINVAL, REFUSAL_BAD_SYNTAX, "%s/" TOKEN_FILE ": %s= is not a pkcs11: URI",
                                 folder, key_role_name(role));
        if (conf.uris[role])
                *ret_path_or_uri = token_uri(&conf, role);
        else if (has_key)
                *ret_path_or_uri = TAKE_PTR(key_path);
        return 0;
}

int sign_roothash(const KeySet *s, const Sha256 *root_hash, void **ret, size_t *ret_size, Error *reterr) {
        _cleanup_free_ char *hex = sha256_hex(root_hash);

        return pkcs7_sign_detached(s->keys[KEY_ROLE_VERITY], s->certificates[KEY_ROLE_VERITY], hex, strlen(hex), ret,
                                   ret_size, reterr);
}

int sign_check_roothash(const KeySet *s, const Sha256 *root_hash, const void *sig, size_t sig_size, Error *reterr) {
        _cleanup_free_ char *hex = sha256_hex(root_hash);

        return pkcs7_verify_detached(sig, sig_size, hex, strlen(hex), s->certificates + KEY_ROLE_VERITY, 1, reterr);
}

int sign_efi(const KeySet *s, const void *image, size_t size, void **ret, size_t *ret_size, Error *reterr) {
        return uki_sign(image, size, s->keys[KEY_ROLE_SECUREBOOT], s->certificates[KEY_ROLE_SECUREBOOT], ret, ret_size,
                        reterr);
}

int sign_check_efi(const KeySet *s, const void *image, size_t size, Error *reterr) {
        return uki_verify(image, size, s->certificates + KEY_ROLE_SECUREBOOT, 1, reterr);
}
