/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "s3.h"

#define SCHEME "AWS4-HMAC-SHA256"

static Sha256 mac(const void *key, size_t key_size, const char *text) {
        Sha256 out = {};
        unsigned n = 0;

        if (!HMAC(EVP_sha256(), key, (int) key_size, (const uint8_t *) text, strlen(text), out.bytes, &n))
                abort(); /* out of memory */
        return out;
}

/* "name:value" with the name in small letters, as the signature wants it. */
static char *canonical_header(const char *line) {
        size_t n = strcspn(line, ":");
        _cleanup_free_ char *name = xstrndup(line, n), *value = xstrdup(line[n] ? line + n + 1 : "");

        for (char *p = name; *p; p++)
                *p = *p >= 'A' && *p <= 'Z' ? (char) (*p - 'A' + 'a') : *p;
        return xasprintf("%s:%s", name, strstrip(value));
}

char *s3_sign(const S3 *s, const char *method, const char *path, const char *query, const char *const *headers,
              const char *payload_sha256, const char *when) {
        _cleanup_free_ char *day = xstrndup(when, 8), *scope = NULL, *secret = NULL, *names = NULL, *lines = NULL;
        _cleanup_free_ char *request = NULL, *request_hex = NULL, *text = NULL, *hex = NULL;
        _cleanup_strv_free_ char **sorted = NULL, **signed_names = NULL;
        Sha256 key, digest;

        STRV_FOREACH (h, headers)
                strv_push(&sorted, canonical_header(*h));
        strv_sort(sorted);
        STRV_FOREACH (h, sorted)
                strv_push(&signed_names, xstrndup(*h, strcspn(*h, ":")));
        names = strv_join(signed_names, ";");
        lines = strv_join(sorted, "\n");
        request = xasprintf("%s\n%s\n%s\n%s\n\n%s\n%s", method, path, query, lines, names, payload_sha256);
        sha256_buffer(request, strlen(request), &digest);
        request_hex = sha256_hex(&digest);

        scope = xasprintf("%s/%s/s3/aws4_request", day, s->region);
        text = xasprintf(SCHEME "\n%s\n%s\n%s", when, scope, request_hex);
        secret = xasprintf("AWS4%s", s->secret_key);
        key = mac(secret, strlen(secret), day);
        explicit_bzero(secret, strlen(secret));
        key = mac(&key, sizeof(key), s->region);
        key = mac(&key, sizeof(key), "s3");
        key = mac(&key, sizeof(key), "aws4_request");
        digest = mac(&key, sizeof(key), text);
        explicit_bzero(&key, sizeof(key));
        hex = sha256_hex(&digest);
        return xasprintf("Authorization: " SCHEME " Credential=%s/%s, SignedHeaders=%s, Signature=%s", s->access_key,
                         scope, names, hex);
}
