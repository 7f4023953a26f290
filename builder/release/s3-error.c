/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "s3.h"

/* ---- what the server says ------------------------------------------------------------------------------------------
 */

static void on_element(const char *path, const char *text, void *userdata) {
        S3Response *r = userdata;
        char **to = streq(path, "Error/Code")      ? &r->code
                    : streq(path, "Error/Message") ? &r->message
                    : streq(path, "Error/Region")  ? &r->bucket_region
                                                   : NULL;

        if (!to || *to)
                return;
        /* It goes to the terminal. */
        *to = xstrndup(text, 200);
        for (char *p = *to; *p; p++)
                if ((uint8_t) *p < 0x20 || *p == 0x7f)
                        *p = ' ';
}

bool s3_error_parse(S3Response *response) {
        if (response->body.size == 0)
                return false;
        (void) s3_xml_parse(response->body.data, response->body.size, on_element, response, NULL);
        return response->code;
}

/* ---- what that means -----------------------------------------------------------------------------------------------
 */

static bool is_code(const S3Response *r, const char *const *codes) {
        for (; r->code && *codes; codes++)
                if (streq(r->code, *codes))
                        return true;
        return false;
}

static int wrong_clock(const char *what, const S3Response *r, Error *reterr) {
        int64_t difference = r->date < 0 ? 0 : (int64_t) time(NULL) - r->date;

        error_set(reterr, EACCES, REFUSAL_MACHINE, "%s: the server refuses requests with this machine's time", what);
        if (difference == 0)
                return error_hint(reterr, "Set this machine's clock (timedatectl).");
        return error_hint(reterr, "Set this machine's clock (timedatectl): it is %" PRIi64 " seconds %s the server's.",
                          difference > 0 ? difference : -difference, difference > 0 ? "ahead of" : "behind");
}

static int forbidden(const S3 *s, const char *what, const S3Response *r, Error *reterr) {
        if (!s->access_key) {
                error_set(reterr, EACCES, REFUSAL_KEY, "%s: not without credentials (%s)", what, r->code ?: "403");
                return error_hint(reterr, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.");
        }
        if (is_code(r, (const char *const[]){ "InvalidAccessKeyId", NULL })) {
                error_set(reterr, EACCES, REFUSAL_KEY, "%s: the server does not know the access key", what);
                return error_hint(reterr, "Check AWS_ACCESS_KEY_ID (and AWS_ENDPOINT_URL: is it the right server?).");
        }
        if (is_code(r, (const char *const[]){ "SignatureDoesNotMatch", NULL })) {
                error_set(reterr, EACCES, REFUSAL_KEY, "%s: the secret key does not belong to the access key", what);
                return error_hint(reterr, "Check AWS_SECRET_ACCESS_KEY.");
        }
        if (is_code(r, (const char *const[]){ "ExpiredToken", "InvalidToken", "TokenRefreshRequired", NULL })) {
                error_set(reterr, EACCES, REFUSAL_KEY, "%s: the session token is not valid, or no longer", what);
                return error_hint(reterr, "Get new credentials; AWS_SESSION_TOKEN belongs to them.");
        }
        error_set(reterr, EACCES, REFUSAL_KEY, "%s: access is denied (%s)", what, r->code ?: "403");
        return error_hint(reterr,
                          "The owner of AWS_ACCESS_KEY_ID needs GetObject, PutObject, DeleteObject, ListBucket and "
                          "AbortMultipartUpload for this bucket; AWS_SECRET_ACCESS_KEY must belong to it.");
}

static int wrong_region(const S3 *s, const char *what, const S3Response *r, Error *reterr) {
        error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: the bucket is not in region %s", what, s->region);
        if (r->bucket_region)
                return error_hint(reterr, "Set AWS_REGION=%s.", r->bucket_region);
        return error_hint(reterr, "Set AWS_REGION to the bucket's.");
}

int s3_error(const S3 *s, const S3Request *q, const S3Response *r, Error *reterr) {
        _cleanup_free_ char *what = xasprintf("%s %s/%s/%s%s", q->method, s->endpoint, s->bucket ?: "",
                                              q->name ? s->prefix : "", q->name ?: "");

        if (is_code(r, (const char *const[]){ "RequestTimeTooSkewed", "RequestExpired", NULL }))
                return wrong_clock(what, r, reterr);
        /* The answer to HEAD has no document: there the header alone says it. */
        if (r->status == 301 || r->status == 307 ||
            (r->status == 400 && !r->code && r->bucket_region && !streq(r->bucket_region, s->region)) ||
            is_code(r, (const char *const[]){ "AuthorizationHeaderMalformed", "IllegalLocationConstraint", NULL }))
                return wrong_region(s, what, r, reterr);
        if (r->status == 401 || r->status == 403)
                return forbidden(s, what, r, reterr);
        if (is_code(r, (const char *const[]){ "NoSuchBucket", NULL })) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s: there is no bucket \"%s\"", what, s->bucket ?: "");
                return error_hint(reterr, "Make the bucket first, or check its name, AWS_REGION and AWS_ENDPOINT_URL.");
        }
        if (is_code(r, (const char *const[]){ "XAmzContentSHA256Mismatch", "BadDigest", NULL }))
                return error_set(reterr, EIO, REFUSAL_HASH_MISMATCH, "%s: what arrived is not what was sent", what);
        error_set(reterr, EIO, REFUSAL_DOWNLOAD, "%s: HTTP status %ld%s%s%s%s", what, r->status, r->code ? ", " : "",
                  r->code ?: "", r->message ? ": " : "", r->message ?: "");
        if (r->status >= 500)
                return error_hint(reterr,
                                  "The server has failed %u times; run the command again later, it goes on "
                                  "where it was.",
                                  S3_TRIES);
        return -EIO;
}
