/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/random.h>
#include <time.h>

#include "log.h"
#include "s3-lock.h"

#define LOCK_SIZE_MAX 4096
#define TOKEN_SIZE 16
#define STALE_SECONDS 3600
#define RENEW_SECONDS 600
/* Longer than the time between another publisher's look and its own writing, where the server knows no conditions. */
#define SETTLE_SECONDS 2

struct S3Lock {
        S3 *s3;
        char *token;
        int64_t renewed; /* monotonic */
};

/* With the time that this machine slept: others have broken the lock meanwhile. */
static int64_t monotonic_seconds(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return t.tv_sec;
}

/* ---- the object ----------------------------------------------------------------------------------------------------
 */

typedef struct Holder {
        char *text; /* NULL: nobody */
        int64_t age;
} Holder;

static void holder_done(Holder *h) {
        free(h->text);
}

/* "TOKEN process 17 on host since 2026-11-21T12:00:00Z" */
static char *make_text(const char *token) {
        char host[256] = "", when[64] = "";
        time_t now = time(NULL);
        struct tm tm;

        (void) gethostname(host, sizeof(host) - 1);
        if (gmtime_r(&now, &tm))
                strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
        return xasprintf("%s process %d on %s since %s\n", token, (int) getpid(), host, when);
}

static const char *holder_name(const Holder *h) {
        const char *space = h->text ? strchr(h->text, ' ') : NULL;

        return space ? space + 1 : "another publisher";
}

static bool is_ours(const S3Lock *l, const Holder *h) {
        return h->text && startswith(h->text, l->token);
}

/* The age is by the server's own clock at both ends. */
static int look(S3 *s, Holder *ret, Error *reterr) {
        const S3Request q = { .method = "GET", .name = S3_LOCK_NAME, .max_size = LOCK_SIZE_MAX };
        _cleanup_s3_response_ S3Response response = {};
        int r;

        r = s3_request(s, &q, &response, reterr);
        if (r < 0)
                return r;
        holder_done(ret);
        *ret = (Holder){};
        if (r == S3_NOT_FOUND)
                return 0;
        if (r != S3_OK)
                return s3_error(s, &q, &response, reterr);
        ret->text = response.body.data ? xstrdup(response.body.data) : xstrdup("");
        ret->text[strcspn(ret->text, "\n")] = 0;
        for (char *p = ret->text; *p; p++)
                if ((uint8_t) *p < 0x20 || *p == 0x7f)
                        *p = '?';
        if (response.date >= 0 && response.modified >= 0)
                ret->age = response.date - response.modified;
        return 0;
}

/* An S3Outcome. */
static int put(S3Lock *l, bool only_if_new, Error *reterr) {
        _cleanup_free_ char *text = make_text(l->token);
        const S3Request q = { .method = "PUT",
                              .name = S3_LOCK_NAME,
                              .data = text,
                              .size = strlen(text),
                              .headers = { "Content-Type: text/plain", "Cache-Control: no-store",
                                           only_if_new ? "If-None-Match: *" : NULL } };
        _cleanup_s3_response_ S3Response response = {};
        int r;

        r = s3_request(l->s3, &q, &response, reterr);
        if (r == S3_NOT_FOUND || (r > 0 && !only_if_new))
                return s3_error(l->s3, &q, &response, reterr);
        return r;
}

static int delete_object(S3 *s, Error *reterr) {
        const S3Request q = { .method = "DELETE", .name = S3_LOCK_NAME };
        _cleanup_s3_response_ S3Response response = {};
        int r = s3_request(s, &q, &response, reterr);

        return r > S3_NOT_FOUND ? s3_error(s, &q, &response, reterr) : r;
}

/* ---- taking and keeping --------------------------------------------------------------------------------------------
 */

static int busy(const S3 *s, const Holder *h, Error *reterr) {
        error_set(reterr, EBUSY, REFUSAL_BUSY, "%s/%s/%s is being changed by %s", s->endpoint, s->bucket, s->prefix,
                  holder_name(h));
        return error_hint(reterr,
                          "Wait until it is done, then run the command again. If that process is gone: the object "
                          "\"%s" S3_LOCK_NAME "\" may be deleted, and is passed over after an hour.",
                          s->prefix);
}

/* Either the server refuses a second object of the name, or the last writer of all who saw none wins and the others see
 * that. broken: there was an old one; another publisher who saw it, too, may be about to remove ours for it. */
static int make(S3Lock *l, bool broken, Error *reterr) {
        _cleanup_(holder_done) Holder h = {};
        int r, again;

        r = put(l, true, reterr);
        if (r == S3_UNSUPPORTED)
                r = put(l, false, reterr);
        if (r < 0)
                return r;
        /* A server that refuses it now refuses it always; one that does not does not know the condition. */
        again = put(l, true, reterr);
        if (again < 0)
                return again;
        if (again != S3_CONDITION || broken) {
                const struct timespec settle = { .tv_sec = SETTLE_SECONDS };

                log_debug("%s: waits for others to see the lock", l->s3->endpoint);
                (void) nanosleep(&settle, NULL);
        }
        r = look(l->s3, &h, reterr);
        if (r < 0)
                return r;
        return is_ours(l, &h) ? 0 : busy(l->s3, &h, reterr);
}

int s3_lock_take(S3 *s, S3Lock **ret, Error *reterr) {
        _cleanup_(holder_done) Holder h = {};
        uint8_t random[TOKEN_SIZE];
        S3Lock *l;
        int r;

        if (getrandom(random, sizeof(random), 0) != sizeof(random))
                return error_errno(reterr, errno, "no random numbers");
        r = look(s, &h, reterr);
        if (r < 0)
                return r;
        if (h.text && h.age < STALE_SECONDS)
                return busy(s, &h, reterr);
        if (h.text) {
                log_warning("%s/%s: the lock of %s is %" PRIi64 " minutes old and is broken", s->endpoint, s->bucket,
                            holder_name(&h), h.age / 60);
                r = delete_object(s, reterr);
                if (r < 0)
                        return r;
        }
        l = xnew(S3Lock, 1);
        *l = (S3Lock){ .s3 = s, .token = hex_encode(random, sizeof(random)), .renewed = monotonic_seconds() };
        r = make(l, h.text, reterr);
        if (r < 0) {
                free(l->token);
                free(l);
                return r;
        }
        *ret = l;
        return 0;
}

S3Lock *s3_lock_free(S3Lock *l) {
        if (l) {
                _cleanup_(holder_done) Holder h = {};
                _cleanup_error_ Error e = {};

                if (look(l->s3, &h, &e) < 0 || (is_ours(l, &h) && delete_object(l->s3, &e) < 0))
                        log_warning("the lock could not be removed and stays for an hour: %s", e.message);
                free(l->token);
                free(l);
        }
        return NULL;
}

int s3_lock_keep(S3Lock *l, Error *reterr) {
        _cleanup_(holder_done) Holder h = {};
        int64_t now = monotonic_seconds();
        int r;

        if (!l || now - l->renewed < RENEW_SECONDS)
                return 0;
        r = look(l->s3, &h, reterr);
        if (r < 0)
                return r;
        if (!is_ours(l, &h))
                return busy(l->s3, &h, reterr);
        r = put(l, false, reterr);
        if (r < 0)
                return r;
        l->renewed = now;
        return 0;
}
