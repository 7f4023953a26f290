/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Private keys in PKCS#11 tokens, through OpenSSL's pkcs11 engine: of the two bridges that exist it is the one that
 * both supported Debian releases have. The PIN and the module path are taken out of the URI and handed over
 * separately, so that neither can end in a message. */

/* OpenSSL 3 calls engines deprecated; the provider that shall replace this one is not in Debian 12. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/ui.h>

#include "crypto-internal.h"
#include "io.h"

#define PIN_SIZE_MAX 256
#define URI_SIZE_MAX 4096

typedef struct TokenUri {
        char *uri;    /* without PIN and module */
        char *pin;    /* NULL: none given */
        char *module; /* NULL: the engine's default */
} TokenUri;

static void token_uri_done(TokenUri *u) {
        free(u->uri);
        if (u->pin)
                OPENSSL_cleanse(u->pin, strlen(u->pin));
        free(u->pin);
        free(u->module);
}

static int percent_decode(const char *s, char **ret, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};

        for (; *s; s++) {
                uint8_t byte = (uint8_t) *s;

                if (*s == '%') {
                        char digits[3] = { s[1], s[1] ? s[2] : 0, 0 };

                        if (!hex_decode(digits, &byte, 1) || byte == 0)
                                return error_set(reterr, EINVAL, REFUSAL_BAD_SYNTAX,
                                                 "a %% in a pkcs11: URI needs two hexadecimal digits after it");
                        s += 2;
                }
                buffer_append(&b, &byte, 1);
        }
        *ret = b.data ? buffer_steal(&b) : xstrdup("");
        return 0;
}

static int read_pin_file(const char *source, char **ret, Error *reterr) {
        const char *path = startswith(source, "file://") ?: startswith(source, "file:") ?: source;
        char *text = NULL;
        int r;

        if (*path != '/')
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "pin-source must be an absolute path, not \"%s\"",
                                 source);
        r = io_read_file(AT_FDCWD, path, PIN_SIZE_MAX, &text, NULL, reterr);
        if (r < 0)
                return error_prefix(reterr, "pin-source");
        text[strcspn(text, "\r\n")] = 0;
        *ret = text;
        return 0;
}

static int take_query(TokenUri *u, const char *name, char **value, Error *reterr) {
        if (streq(name, "module-path") && !u->module)
                u->module = TAKE_PTR(*value);
        else if (streq(name, "pin-value") && !u->pin)
                u->pin = TAKE_PTR(*value);
        else if (streq(name, "pin-source") && !u->pin)
                return read_pin_file(*value, &u->pin, reterr);
        else
                return error_set(reterr, EINVAL, REFUSAL_BAD_SYNTAX,
                                 "\"%s\" in a pkcs11: URI is not known, or given twice", name);
        return 0;
}

static int parse_uri(const char *text, TokenUri *ret, Error *reterr) {
        size_t path_size = strcspn(text, "?");
        _cleanup_strv_free_ char **queries = NULL;

        if (strlen(text) > URI_SIZE_MAX)
                return error_set(reterr, EINVAL, REFUSAL_TOO_LARGE, "a pkcs11: URI is longer than %d bytes",
                                 URI_SIZE_MAX);
        ret->uri = xstrndup(text, path_size);
        if (strstr(ret->uri, "pin-value="))
                return error_set(reterr, EINVAL, REFUSAL_BAD_SYNTAX,
                                 "pin-value belongs after the ? of a pkcs11: URI (RFC 7512)");
        if (text[path_size])
                queries = strv_split(text + path_size + 1, "&");
        STRV_FOREACH (query, queries) {
                char *equals = strchr(*query, '=');
                _cleanup_free_ char *value = NULL;
                int r;

                if (!equals)
                        return error_set(reterr, EINVAL, REFUSAL_BAD_SYNTAX,
                                         "a part after the ? of a pkcs11: URI has no value");
                *equals = 0;
                r = percent_decode(equals + 1, &value, reterr);
                if (r >= 0)
                        r = take_query(ret, *query, &value, reterr);
                OPENSSL_cleanse(equals + 1, strlen(equals + 1));
                if (r < 0)
                        return r;
        }
        if (!ret->pin && !isempty(getenv("SEALAB_PIN")))
                ret->pin = xstrdup(getenv("SEALAB_PIN"));
        return 0;
}

static int open_engine(const TokenUri *u, ENGINE **ret, Error *reterr) {
        ENGINE *engine;

        ENGINE_load_builtin_engines();
        engine = ENGINE_by_id("pkcs11");
        if (!engine) {
                crypto_error(reterr, ENOENT, REFUSAL_MACHINE, "OpenSSL has no pkcs11 engine");
                return error_hint(reterr, "install the package libengine-pkcs11-openssl");
        }
        /* Its own messages on standard error would come before ours, which say the same. */
        (void) ENGINE_ctrl_cmd_string(engine, "QUIET", NULL, /* cmd_optional= */ 1);
        if ((u->module && ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", u->module, 0) != 1) ||
            (u->pin && ENGINE_ctrl_cmd_string(engine, "PIN", u->pin, 0) != 1) || ENGINE_init(engine) != 1) {
                crypto_error(reterr, EIO, REFUSAL_KEY, "cannot open the PKCS#11 module %s", u->module ?: "");
                ENGINE_free(engine);
                return error_hint(reterr, "name the token's module with ?module-path=/usr/lib/... in the URI");
        }
        *ret = engine;
        return 0;
}

void token_release(void *engine) {
        ENGINE_finish(engine);
        ENGINE_free(engine);
}

int token_load_key(const char *uri, KeyCheck check, PrivateKey **ret, Error *reterr) {
        _cleanup_(token_uri_done) TokenUri u = {};
        _cleanup_(private_key_freep) PrivateKey *k = xnew(PrivateKey, 1);
        ENGINE *engine = NULL;
        int r;

        r = parse_uri(uri, &u, reterr);
        if (r >= 0)
                r = open_engine(&u, &engine, reterr);
        if (r < 0)
                return r;
        k->engine = engine;
        k->name = xstrdup(u.uri);
        ERR_clear_error();
        /* Without a terminal nobody could answer a question for the PIN. */
        k->pkey = ENGINE_load_private_key(engine, u.uri,
                                          (UI_METHOD *) (isatty(STDIN_FILENO) ? UI_OpenSSL() : UI_null()), NULL);
        if (!k->pkey) {
                crypto_error(reterr, ENOENT, REFUSAL_KEY, "cannot use the private key %s", u.uri);
                return error_hint(reterr,
                                  "is the token plugged in, the PIN right ($SEALAB_PIN, pin-source=), the "
                                  "module named (module-path=)? pkcs11-tool --list-objects shows what is there");
        }
        r = check(k->pkey, u.uri, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(k);
        return 0;
}
