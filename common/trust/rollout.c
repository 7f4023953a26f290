/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "hash.h"
#include "rollout.h"
#include "tuf-metadata.h"

#define ROLLOUT_DOMAIN "sealab-rollout"
#define DAY INT64_C(86400)
#define MACHINE_ID_DIGITS 32

/* ---- the queue ---- */

/* Seconds after the start at which a growing share has reached whole, however slowly it grows. */
#define GROWN (ROLLOUT_WHOLE * DAY)

uint64_t rollout_share(const Rollout *r, int64_t now) {
        uint64_t elapsed, share = MIN(r->initial, (uint64_t) ROLLOUT_WHOLE);

        if (now < r->start)
                return 0;
        elapsed = (uint64_t) now - (uint64_t) r->start;
        if (r->per_day > 0 && elapsed >= (uint64_t) GROWN)
                return ROLLOUT_WHOLE;
        if (r->per_day > 0)
                share += MIN(r->per_day, (uint64_t) ROLLOUT_WHOLE) * elapsed / (uint64_t) DAY;
        return MIN(share, (uint64_t) ROLLOUT_WHOLE);
}

uint64_t rollout_place(const Rollout *r, const char *machine_id) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        char id[MACHINE_ID_DIGITS + 1] = {};
        uint64_t high = 0, low = 0;
        Sha256 digest;

        /* Written in capitals it is the same machine. */
        for (size_t i = 0; i < MACHINE_ID_DIGITS && machine_id[i]; i++)
                id[i] = machine_id[i] >= 'A' && machine_id[i] <= 'F' ? (char) (machine_id[i] | 0x20) : machine_id[i];
        hasher_update_string(h, ROLLOUT_DOMAIN);
        hasher_update_string(h, id);
        hasher_update(h, r->salt, sizeof r->salt);
        hasher_final(h, &digest);
        for (size_t i = 0; i < 4; i++) {
                high = high << 8 | digest.bytes[i];
                low = low << 8 | digest.bytes[i + 4];
        }
        /* The upper half of the 128-bit product of the 64-bit number with ROLLOUT_WHOLE. A remainder would favour the
         * first places; this does so by less than one part in 2^50. */
        return (high * ROLLOUT_WHOLE + (low * ROLLOUT_WHOLE >> 32)) >> 32;
}

bool rollout_includes(const Rollout *r, const char *machine_id, int64_t now) {
        return rollout_place(r, machine_id) < rollout_share(r, now);
}

int64_t rollout_turn(const Rollout *r, const char *machine_id) {
        uint64_t place = rollout_place(r, machine_id), per_day = MIN(r->per_day, (uint64_t) ROLLOUT_WHOLE), missing;
        int64_t turn;

        if (place < r->initial)
                return r->start;
        if (per_day == 0)
                return INT64_MAX;
        missing = place + 1 - r->initial;
        if (__builtin_add_overflow(r->start, (int64_t) ((missing * (uint64_t) DAY + per_day - 1) / per_day), &turn))
                return INT64_MAX;
        return turn;
}

/* ---- text ---- */

/* "12.5%", at most two decimals; moves *text behind it. */
static bool take_percent(const char **text, uint64_t *ret) {
        const char *s = *text;
        uint64_t value = 0, unit = 100;

        if (*s < '0' || *s > '9')
                return false;
        for (; *s >= '0' && *s <= '9'; s++) {
                value = value * 10 + (uint64_t) (*s - '0');
                if (value > 100)
                        return false;
        }
        value *= 100;
        if (*s == '.') {
                s++;
                if (*s < '0' || *s > '9')
                        return false;
                for (; *s >= '0' && *s <= '9'; s++) {
                        unit /= 10;
                        if (unit == 0)
                                return false;
                        value += (uint64_t) (*s - '0') * unit;
                }
        }
        if (*s != '%' || value > ROLLOUT_WHOLE)
                return false;
        *text = s + 1;
        *ret = value;
        return true;
}

int rollout_parse(const char *text, Rollout *ret, Error *reterr) {
        uint64_t first, second = 0;
        Rollout r = {};
        const char *s = text;
        bool good;

        good = take_percent(&s, &first);
        if (good && streq(s, ""))
                r.initial = first;
        else if (good && streq(s, "/day") && first > 0)
                r.per_day = first;
        else if (good && *s == '+') {
                s++;
                good = take_percent(&s, &second) && streq(s, "/day") && second > 0;
                r.initial = first;
                r.per_day = second;
        } else
                good = false;
        if (!good) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "\"%s\" is not a rollout", text);
                return error_hint(reterr, "use a share (10%%), a growth (10%%/day) or both (1%%+10%%/day); shares are "
                                          "0%% to 100%% with at most two decimals");
        }
        *ret = r;
        return 0;
}

static void append_percent(Buffer *b, uint64_t share) {
        if (share % 100 == 0)
                buffer_printf(b, "%" PRIu64 "%%", share / 100);
        else if (share % 10 == 0)
                buffer_printf(b, "%" PRIu64 ".%" PRIu64 "%%", share / 100, share % 100 / 10);
        else
                buffer_printf(b, "%" PRIu64 ".%02" PRIu64 "%%", share / 100, share % 100);
}

char *rollout_format(const Rollout *r) {
        _cleanup_buffer_ Buffer b = {};
        time_t start = (time_t) r->start;
        char text[64];
        struct tm tm;

        if (r->initial > 0 || r->per_day == 0)
                append_percent(&b, r->initial);
        if (r->per_day > 0) {
                buffer_puts(&b, r->initial > 0 ? "+" : "");
                append_percent(&b, r->per_day);
                buffer_puts(&b, "/day");
        }
        if (r->start != 0 && gmtime_r(&start, &tm) && strftime(text, sizeof text, "%Y-%m-%d %H:%M", &tm) > 0)
                buffer_printf(&b, " since %s UTC", text);
        return buffer_steal(&b);
}

/* ---- JSON ---- */

static int check(const Rollout *r, const char *start, const char *salt, const char *what, Error *reterr) {
        if (start && r->start <= 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: a start at or before 1970", what);
        if (r->per_day > 0 && !start)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: \"perDay\" without \"start\"", what);
        if (r->initial < ROLLOUT_WHOLE && !salt)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_VALUE, "%s: a part of the machines, but no \"salt\"",
                                 what);
        return 0;
}

int rollout_from_json(const json_t *object, const char *what, Rollout *ret, Error *reterr) {
        _cleanup_free_ char *start = NULL, *salt = NULL;
        JsonReader reader = json_reader(object, what, reterr);
        Rollout r = {};
        int result;

        json_take_string(&reader, "start", true, &start);
        json_take_u64(&reader, "initial", false, ROLLOUT_WHOLE, &r.initial);
        json_take_u64(&reader, "perDay", true, ROLLOUT_WHOLE, &r.per_day);
        json_take_string(&reader, "salt", true, &salt);
        result = json_reader_end(&reader);
        if (result < 0)
                return result;
        if (start && !tuf_parse_time(start, &r.start))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: \"start\" is not a time like 2026-11-21T10:00:00Z", what);
        if (salt && !hex_decode(salt, r.salt, sizeof r.salt))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: \"salt\" is not %zu lower-case hexadecimal digits", what, 2 * sizeof r.salt);
        result = check(&r, start, salt, what, reterr);
        if (result < 0)
                return result;
        *ret = r;
        return 0;
}

json_t *rollout_to_json(const Rollout *r) {
        static const uint8_t none[sizeof r->salt] = {};
        json_t *object = json_object();

        if (r->start > 0) {
                _cleanup_free_ char *start = tuf_format_time(r->start);

                json_object_set_new(object, "start", json_string(start));
        }
        json_object_set_new(object, "initial", json_integer((json_int_t) r->initial));
        if (r->per_day > 0)
                json_object_set_new(object, "perDay", json_integer((json_int_t) r->per_day));
        if (r->initial < ROLLOUT_WHOLE || memcmp(r->salt, none, sizeof none) != 0) {
                _cleanup_free_ char *salt = hex_encode(r->salt, sizeof r->salt);

                json_object_set_new(object, "salt", json_string(salt));
        }
        return object;
}
