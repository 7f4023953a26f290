/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "state.h"
#include "io.h"

#define STATE_FORMAT 1
#define STATE_FILE "state.json"
#define TRIAL_FILE "trial"
#define STATE_SIZE_MAX ((size_t) 256 << 10)
#define HISTORY_FILE "history.json"
#define HISTORY_SIZE_MAX ((size_t) 1 << 20)
#define TEXT_MAX ((size_t) 1024) /* of a reason or message: all of them fit into the file */

static void trial_free(Trial *t) {
        if (!t)
                return;
        free(t->version);
        free(t->from_version);
        free(t);
}

UpdaterState *state_free(UpdaterState *s) {
        if (!s)
                return NULL;
        trial_free(s->trial);
        for (size_t i = 0; i < s->n_bad; i++) {
                free(s->bad[i].version);
                free(s->bad[i].reason);
        }
        free(s->bad);
        free(s->pin);
        free(s->last_result);
        free(s->last_message);
        free(s->available);
        free(s->timestamp_etag);
        free(s);
        return NULL;
}

void state_set_trial(UpdaterState *s, const Trial *trial) {
        Trial *copy = NULL;

        if (trial) {
                copy = xmemdup(trial, sizeof *trial);
                copy->version = xstrdup(trial->version);
                copy->from_version = xstrdup(trial->from_version);
        }
        trial_free(s->trial);
        s->trial = copy;
}

bool state_is_bad(const UpdaterState *s, const Sha256 *root_hash) {
        for (size_t i = 0; i < s->n_bad; i++)
                if (sha256_equal(&s->bad[i].root_hash, root_hash))
                        return true;
        return false;
}

/* Not in the middle of a character (UTF-8). */
static char *cut_text(const char *text) {
        size_t n = strnlen(text, TEXT_MAX + 1);

        if (n > TEXT_MAX)
                for (n = TEXT_MAX; n > 0 && ((uint8_t) text[n] & 0xc0) == 0x80;)
                        n--;
        return xstrndup(text, n);
}

void state_add_bad(UpdaterState *s, const char *version, const Sha256 *root_hash, const char *reason, int64_t when) {
        if (state_is_bad(s, root_hash))
                return;
        if (s->n_bad == STATE_BAD_VERSIONS_MAX) {
                /* The oldest is the one that is least likely to be offered again. */
                free(s->bad[0].version);
                free(s->bad[0].reason);
                memmove(s->bad, s->bad + 1, (s->n_bad - 1) * sizeof s->bad[0]);
                s->n_bad--;
        }
        s->bad = xrealloc(s->bad, s->n_bad + 1, sizeof s->bad[0]);
        s->bad[s->n_bad++] = (BadVersion){
                .version = xstrdup(version), .root_hash = *root_hash, .reason = cut_text(reason), .when = when
        };
}

/* ---- writing ---- */

static void set_string(json_t *o, const char *key, const char *value) {
        _cleanup_free_ char *text = value ? cut_text(value) : NULL;

        if (text)
                json_object_set_new(o, key, json_text(text));
}

static void set_number(json_t *o, const char *key, int64_t value) {
        if (value != 0)
                json_object_set_new(o, key, json_integer(value));
}

static void set_hash(json_t *o, const char *key, const Sha256 *h) {
        _cleanup_free_ char *hex = sha256_hex(h);

        json_object_set_new(o, key, json_string(hex));
}

static json_t *trial_to_file(const Trial *t) {
        json_t *o = json_object();

        set_string(o, "version", t->version);
        set_hash(o, "rootHash", &t->root_hash);
        set_string(o, "from", t->from_version);
        set_hash(o, "fromRootHash", &t->from_root_hash);
        set_number(o, "epoch", (int64_t) t->epoch);
        set_number(o, "when", t->when);
        return o;
}

static json_t *state_to_file(const UpdaterState *s) {
        json_t *o = json_pack("{s:i}", "format", STATE_FORMAT), *bad = json_array();

        set_number(o, "epoch", (int64_t) s->epoch);
        if (s->pinned)
                json_object_set_new(o, "pinned", json_true());
        set_string(o, "pin", s->pin);
        if (s->reverted)
                json_object_set_new(o, "reverted", json_true());
        if (s->trial)
                json_object_set_new(o, "trial", trial_to_file(s->trial));
        for (size_t i = 0; i < s->n_bad; i++) {
                json_t *b = json_object();

                set_string(b, "version", s->bad[i].version);
                set_hash(b, "rootHash", &s->bad[i].root_hash);
                set_string(b, "reason", s->bad[i].reason);
                set_number(b, "when", s->bad[i].when);
                json_array_append_new(bad, b);
        }
        json_object_set_new(o, "bad", bad);
        set_number(o, "lastCheck", s->last_check);
        set_number(o, "lastSuccess", s->last_success);
        set_string(o, "lastResult", s->last_result);
        set_string(o, "lastMessage", s->last_message);
        set_string(o, "available", s->available);
        set_number(o, "availableBytes", (int64_t) s->available_bytes);
        if (s->available_at_most)
                json_object_set_new(o, "availableAtMost", json_true());
        set_number(o, "mirror", (int64_t) s->mirror);
        set_string(o, "timestampEtag", s->timestamp_etag);
        return o;
}

/* That there is a trial, for sealab-fall-back.service: it must work in a boot where nothing of ours does, so it only
 * looks whether there is a file. */
static int mark_trial(const char *folder, const Trial *trial, Error *reterr) {
        _cleanup_free_ char *path = path_join(folder, TRIAL_FILE), *line = NULL;

        if (!trial)
                return io_exists(AT_FDCWD, path) ? io_unlink(AT_FDCWD, path, reterr) : 0;
        line = xasprintf("%s\n", trial->version);
        return io_replace_file(AT_FDCWD, path, line, strlen(line), 0644, reterr);
}

int state_save(const char *folder, const UpdaterState *s, Error *reterr) {
        _cleanup_free_ char *path = path_join(folder, STATE_FILE), *text = NULL;
        _cleanup_json_ json_t *o = state_to_file(s);
        int r = 0;

        text = json_format(o, false);
        /* ORDER: no trial without its mark. A mark too many only restarts a boot that is counted and not good. */
        if (s->trial)
                r = mark_trial(folder, s->trial, reterr);
        if (r >= 0)
                r = io_replace_file(AT_FDCWD, path, text, strlen(text), 0600, reterr);
        if (r >= 0 && !s->trial)
                r = mark_trial(folder, NULL, reterr);
        return r;
}

/* ---- telling: every member is always there ---- */

static json_t *trial_to_json(const Trial *t) {
        _cleanup_free_ char *hash = sha256_hex(&t->root_hash), *from = sha256_hex(&t->from_root_hash);

        return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "version", t->version, "rootHash", hash, "from",
                         t->from_version, "fromRootHash", from, "epoch", (json_int_t) t->epoch, "when",
                         (json_int_t) t->when);
}

static json_t *bad_to_json(const UpdaterState *s) {
        json_t *list = json_array();

        for (size_t i = 0; i < s->n_bad; i++) {
                const BadVersion *b = &s->bad[i];
                _cleanup_free_ char *hash = sha256_hex(&b->root_hash);

                json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I}", "version", b->version, "rootHash", hash,
                                                      "reason", json_text(b->reason), "when", (json_int_t) b->when));
        }
        return list;
}

json_t *state_to_json(const UpdaterState *s) {
        return json_pack("{s:I, s:b, s:s?, s:b, s:o, s:o, s:I, s:I, s:s?, s:o, s:s?, s:I, s:b}", "epoch",
                         (json_int_t) s->epoch, "pinned", s->pinned, "pin", s->pin, "reverted", s->reverted, "trial",
                         s->trial ? trial_to_json(s->trial) : json_null(), "bad", bad_to_json(s), "lastCheck",
                         (json_int_t) s->last_check, "lastSuccess", (json_int_t) s->last_success, "lastResult",
                         s->last_result, "lastMessage", json_text(s->last_message), "available", s->available,
                         "availableBytes", (json_int_t) s->available_bytes, "availableAtMost", s->available_at_most);
}

/* ---- reading ---- */

static void take_hash(JsonReader *r, const char *key, Sha256 *ret) {
        _cleanup_free_ char *hex = NULL;

        json_take_string(r, key, false, &hex);
        if (r->result >= 0 && !sha256_from_hex(hex, ret))
                r->result = error_set(r->reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: \"%s\" is no digest", r->what, key);
}

static void take_number(JsonReader *r, const char *key, int64_t *ret) {
        uint64_t v = 0;

        json_take_u64(r, key, true, INT64_MAX, &v);
        *ret = (int64_t) v;
}

static int trial_from_json(const json_t *o, Trial **ret, Error *reterr) {
        JsonReader r = json_reader(o, "trial", reterr);
        Trial *t = xnew(Trial, 1);

        json_take_string(&r, "version", false, &t->version);
        take_hash(&r, "rootHash", &t->root_hash);
        json_take_string(&r, "from", false, &t->from_version);
        take_hash(&r, "fromRootHash", &t->from_root_hash);
        json_take_u64(&r, "epoch", true, INT64_MAX, &t->epoch);
        take_number(&r, "when", &t->when);
        if (json_reader_end(&r) < 0) {
                trial_free(t);
                return r.result < 0 ? r.result : -EBADMSG;
        }
        *ret = t;
        return 0;
}

static int bad_from_json(const json_t *list, UpdaterState *s, Error *reterr) {
        const json_t *item;
        size_t i;
        int r;

        json_array_foreach ((json_t *) list, i, item) {
                JsonReader reader = json_reader(item, "bad version", reterr);
                _cleanup_free_ char *version = NULL, *reason = NULL;
                Sha256 root_hash = {};
                int64_t when = 0;

                json_take_string(&reader, "version", false, &version);
                take_hash(&reader, "rootHash", &root_hash);
                json_take_string(&reader, "reason", false, &reason);
                take_number(&reader, "when", &when);
                r = json_reader_end(&reader);
                if (r < 0)
                        return r;
                state_add_bad(s, version, &root_hash, reason, when);
        }
        return 0;
}

static int state_from_json(const json_t *o, UpdaterState *s, Error *reterr) {
        JsonReader r = json_reader(o, STATE_FILE, reterr);
        const json_t *trial = NULL, *bad = NULL;
        uint64_t format = 0, mirror = 0;
        int q;

        json_take_u64(&r, "format", false, STATE_FORMAT, &format);
        json_take_u64(&r, "epoch", true, INT64_MAX, &s->epoch);
        json_take_bool(&r, "pinned", true, &s->pinned);
        json_take_string(&r, "pin", true, &s->pin);
        json_take_bool(&r, "reverted", true, &s->reverted);
        json_take_object(&r, "trial", true, &trial);
        json_take_array(&r, "bad", true, STATE_BAD_VERSIONS_MAX, &bad);
        take_number(&r, "lastCheck", &s->last_check);
        take_number(&r, "lastSuccess", &s->last_success);
        json_take_string(&r, "lastResult", true, &s->last_result);
        json_take_string(&r, "lastMessage", true, &s->last_message);
        json_take_string(&r, "available", true, &s->available);
        json_take_u64(&r, "availableBytes", true, INT64_MAX, &s->available_bytes);
        json_take_bool(&r, "availableAtMost", true, &s->available_at_most);
        json_take_u64(&r, "mirror", true, 1000, &mirror);
        json_take_string(&r, "timestampEtag", true, &s->timestamp_etag);
        s->mirror = (size_t) mirror;
        q = json_reader_end(&r);
        if (q >= 0 && trial)
                q = trial_from_json(trial, &s->trial, reterr);
        if (q >= 0 && bad)
                q = bad_from_json(bad, s, reterr);
        return q;
}

/* Not being there is an empty document. *ret stays NULL then. A damaged file is set aside: 1. */
static int read_document(const char *folder, const char *name, size_t size_max, json_t **ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(folder, name);
        _cleanup_error_ Error e = {};
        int r;

        r = json_read_file(AT_FDCWD, path, size_max, ret, &e);
        if (r >= 0 || e.id == REFUSAL_NOT_FOUND)
                return 0;
        if (e.id == REFUSAL_BAD_FORMAT || e.id == REFUSAL_TOO_LARGE)
                return 1;
        return error_move(reterr, &e);
}

static int set_aside(const char *folder, const char *name, Error *reterr) {
        _cleanup_free_ char *path = path_join(folder, name), *aside = xasprintf("%s.damaged", path);

        return io_rename_replace(AT_FDCWD, path, aside, reterr);
}

int state_load(const char *folder, UpdaterState **ret, bool *ret_damaged, Error *reterr) {
        _cleanup_(state_freep) UpdaterState *s = xnew(UpdaterState, 1);
        _cleanup_json_ json_t *o = NULL;
        bool damaged;
        int r;

        r = read_document(folder, STATE_FILE, STATE_SIZE_MAX, &o, reterr);
        if (r < 0)
                return r;
        damaged = r > 0;
        if (o && state_from_json(o, s, NULL) < 0) {
                damaged = true;
                state_free(s);
                s = xnew(UpdaterState, 1);
        }
        if (damaged) {
                r = set_aside(folder, STATE_FILE, reterr);
                if (r < 0)
                        return r;
        }
        if (ret_damaged)
                *ret_damaged = damaged;
        *ret = TAKE_PTR(s);
        return 0;
}

/* ---- history ---- */

void history_entry_done(HistoryEntry *e) {
        free(e->action);
        free(e->from);
        free(e->to);
        free(e->result);
        free(e->message);
        free(e->boot);
        free(e->usr_way);
        free(e->uki_way);
        *e = (HistoryEntry){};
}

int history_load(const char *folder, json_t **ret, Error *reterr) {
        _cleanup_json_ json_t *list = NULL;
        int r;

        r = read_document(folder, HISTORY_FILE, HISTORY_SIZE_MAX, &list, reterr);
        if (r < 0)
                return r;
        if (r > 0 || (list && !json_is_array(list))) {
                r = set_aside(folder, HISTORY_FILE, reterr);
                if (r < 0)
                        return r;
                json_decref(list);
                list = NULL;
        }
        *ret = list ? TAKE_PTR(list) : json_array();
        return 0;
}

int history_append(const char *folder, const HistoryEntry *e, Error *reterr) {
        _cleanup_free_ char *path = path_join(folder, HISTORY_FILE), *text = NULL, *message = NULL;
        _cleanup_json_ json_t *list = NULL;
        json_t *o;
        int r;

        r = history_load(folder, &list, reterr);
        if (r < 0)
                return r;
        while (json_array_size(list) >= STATE_HISTORY_MAX)
                json_array_remove(list, 0);
        message = e->message ? cut_text(e->message) : NULL;
        o = json_pack("{s:I, s:s?, s:s?, s:s?, s:s?, s:o, s:s?, s:I, s:I, s:I, s:s?, s:s?}", "when",
                      (json_int_t) e->when, "action", e->action, "from", e->from, "to", e->to, "result", e->result,
                      "message", json_text(message), "boot", e->boot, "durationSeconds", (json_int_t) e->duration_sec,
                      "bytes", (json_int_t) e->bytes, "plannedBytes", (json_int_t) e->planned_bytes, "usrWay",
                      e->usr_way, "ukiWay", e->uki_way);
        json_array_append_new(list, o);
        text = json_format(list, false);
        return io_replace_file(AT_FDCWD, path, text, strlen(text), 0600, reterr);
}
