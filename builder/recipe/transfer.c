/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "io.h"
#include "log.h"
#include "transfer.h"

#define REDIRECTS_MAX 5L
#define CONNECT_SECONDS 15L
#define STALL_SECONDS 30
#define STALL_BYTES 1024L
/* A try that brought this much was worth it and does not count, so that a bad line gets there in the end; it is bounded
 * by the package's size. */
#define WORTH_BYTES (64U * 1024)
#define BACKOFF_MSEC 1000

int64_t monotonic_msec(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void stop(Transfer *t) {
        if (t->easy)
                curl_easy_cleanup(t->easy);
        t->easy = NULL;
        t->fd = safe_close(t->fd);
}

void transfer_done(Transfer *t) {
        stop(t);
        free(t->url);
        error_done(&t->error);
}

static size_t receive(char *data, size_t unit, size_t n, void *userdata) {
        Transfer *t = userdata;
        _cleanup_error_ Error e = {};

        n *= unit;
        if (n > t->package->size - t->size) {
                t->too_long = true;
                return CURL_WRITEFUNC_ERROR;
        }
        if (io_write_all(t->fd, data, n, &e) < 0) {
                t->write_error = e.code;
                return CURL_WRITEFUNC_ERROR;
        }
        t->size += n;
        if (t->size > t->counted) {
                progress_advance(t->progress, t->size - t->counted);
                t->counted = t->size;
        }
        return n;
}

/* Redirects from https may not lead to http: the content is checked either way, but who reads it is not. */
static void set_limits(Transfer *t, CURL *easy) {
        bool secure = startswith(t->url, "https://");

        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https,file");
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, secure ? "https" : "http,https");
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long) (t->opt->stall_seconds ?: STALL_SECONDS));
        curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
}

static void set_proxy(const Transfer *t, CURL *easy) {
        const char *proxy = apt_settings_proxy(t->settings, t->url);

        /* An empty one switches off that of the environment, NULL leaves it. */
        if (proxy)
                curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
}

static char *make_url(const Transfer *t) {
        _cleanup_free_ char *path = uri_encode_path(t->package->path);

        return xasprintf("%s/%s", t->uris[t->uri], path);
}

int transfer_start(Transfer *t, Error *reterr) {
        int r;

        stop(t);
        r = store_partial_open(t->store, &t->package->sha256, &t->fd, &t->size, reterr);
        if (r < 0)
                return r;
        /* Longer than it can be, or from a server that would begin anew: of no use. */
        if (t->size > t->package->size || (t->no_ranges && t->size < t->package->size)) {
                t->fd = safe_close(t->fd);
                r = store_partial_remove(t->store, &t->package->sha256, reterr);
                if (r >= 0)
                        r = store_partial_open(t->store, &t->package->sha256, &t->fd, &t->size, reterr);
                if (r < 0)
                        return r;
        }
        t->started_at = t->size;
        if (t->size > t->counted) {
                progress_advance(t->progress, t->size - t->counted);
                t->counted = t->size;
        }
        free(t->url);
        t->url = make_url(t);
        if (t->size == t->package->size)
                return 1;
        t->too_long = false;
        t->write_error = 0;
        t->message[0] = 0;
        t->easy = curl_easy_init();
        if (!t->easy)
                abort(); /* out of memory */
        curl_easy_setopt(t->easy, CURLOPT_URL, t->url);
        curl_easy_setopt(t->easy, CURLOPT_USERAGENT, "sealab/" SEALAB_VERSION);
        curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
        curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->message);
        curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, receive);
        curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_RESUME_FROM_LARGE, (curl_off_t) t->size);
        set_limits(t, t->easy);
        set_proxy(t, t->easy);
        t->state = TRANSFER_RUNNING;
        return 0;
}

/* ---- how it ended ---------------------------------------------------------------------------------------- */

static const char remedy[] =
        "The mirror has moved on or cannot be reached. Any of these helps: \"sealab lock --update\" (new versions), "
        "--snapshot URI (an archive of the lock's date), --store-from DIR (the store of a machine that has it), or "
        "another mirror.";

static void remember(Transfer *t, Refusal id, const char *what) {
        /* What a poisoned mirror did is worth more than that the next one could not be reached. */
        if (t->error.id == REFUSAL_HASH_MISMATCH)
                return;
        error_set(&t->error, EIO, id, "%s %s: %s: %s", t->package->name, t->package->version, t->url, what);
        error_hint(&t->error, "%s", remedy);
}

static void next_mirror(Transfer *t) {
        t->tries = 0;
        t->no_ranges = false;
        t->uri++;
        t->not_before = 0;
        t->state = t->uris[t->uri] ? TRANSFER_WAITING : TRANSFER_FAILED;
}

static void try_again(Transfer *t, bool worth) {
        unsigned wait = t->opt->backoff_msec ?: BACKOFF_MSEC;

        if (!worth && ++t->tries >= FETCH_TRIES) {
                next_mirror(t);
                return;
        }
        t->not_before = monotonic_msec() + (int64_t) wait * (1 << MIN(t->tries, 4U)) / 2;
        t->state = TRANSFER_WAITING;
}

static bool is_final(long status) {
        return status >= 400 && status < 500 && status != 408 && status != 416 && status != 429;
}

/* All bytes are there: are they the right ones? */
static int commit(Transfer *t, Error *reterr) {
        _cleanup_error_ Error e = {};

        if (store_partial_commit(t->store, &t->package->sha256, t->package->size, &e) >= 0) {
                t->state = TRANSFER_DONE;
                return 0;
        }
        if (e.id != REFUSAL_HASH_MISMATCH)
                return error_move(reterr, &e);
        log_debug("%s: %s", t->url, e.message);
        remember(t, REFUSAL_HASH_MISMATCH, e.message);
        error_hint(&t->error, "The mirror serves other bytes under this name than the archive's key has signed. Use "
                              "another mirror; nothing of it was kept.");
        /* A part from an earlier, honest or dishonest, server may have been the wrong one: once more, from the start.
         */
        if (t->started_at > 0)
                try_again(t, false);
        else
                next_mirror(t);
        return 0;
}

/* Curl says 33 if a server answers a range with the whole; 416 if there is no such range. */
static bool range_was_refused(const Transfer *t, CURLcode code, long status) {
        return t->started_at > 0 && (code == CURLE_RANGE_ERROR || status == 416);
}

int transfer_finish(Transfer *t, CURLcode code, Error *reterr) {
        _cleanup_free_ char *what = NULL;
        long status = 0;
        bool worth;

        if (t->easy)
                curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        stop(t);
        /* Compared with the best of all tries: a server that always begins anew gets nowhere. */
        worth = t->size >= t->best + WORTH_BYTES;
        t->best = MAX(t->best, t->size);
        if (t->write_error != 0)
                return error_errno(reterr, t->write_error, "cannot write into the store %s", t->store->path);
        if (t->size == t->package->size && !t->too_long)
                return commit(t, reterr);
        if (range_was_refused(t, code, status) && !t->no_ranges) {
                t->no_ranges = true;
                t->not_before = 0;
                t->state = TRANSFER_WAITING;
                return 0;
        }
        if (t->too_long) {
                /* Not the package, whatever it is; what came so far is not to be trusted either. */
                (void) store_partial_remove(t->store, &t->package->sha256, NULL);
                what = xasprintf("the server sends more than the %" PRIu64 " bytes of the package", t->package->size);
                remember(t, REFUSAL_DOWNLOAD, what);
                next_mirror(t);
                return 0;
        }
        if (code == CURLE_OK)
                what = xasprintf("it ended after %" PRIu64 " of %" PRIu64 " bytes", t->size, t->package->size);
        else if (status >= 400)
                what = xasprintf("HTTP status %ld", status);
        else
                what = xstrdup(*t->message ? t->message : curl_easy_strerror(code));
        remember(t, REFUSAL_DOWNLOAD, what);
        log_debug("%s: %s", t->url, what);
        if (is_final(status) || code == CURLE_FILE_COULDNT_READ_FILE || code == CURLE_UNSUPPORTED_PROTOCOL ||
            code == CURLE_TOO_MANY_REDIRECTS)
                next_mirror(t);
        else
                try_again(t, worth);
        return 0;
}
