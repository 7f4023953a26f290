/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>

#include "bus.h"
#include "drift.h"
#include "polkit.h"
#include "version.h"

struct BusFace {
        sd_bus *bus;
        sd_bus_slot *slot;
        Manager *manager;
};

char *bus_error_suffix(const char *refusal) {
        char *s = xstrdup(refusal), *out = s;
        bool upper = true;

        for (const char *p = refusal; *p; p++) {
                if (*p == '-') {
                        upper = true;
                        continue;
                }
                *out++ = (char) (upper ? toupper((unsigned char) *p) : *p);
                upper = false;
        }
        *out = 0;
        return s;
}

/* ---- answers ---- */

static int reply_refusal(sd_bus_message *m, const char *refusal, const char *message, const char *hint) {
        _cleanup_free_ char *suffix = bus_error_suffix(refusal), *name = xasprintf(UPDATER_BUS_ERROR "%s", suffix);

        return sd_bus_reply_method_errorf(m, name, "%s%s%s", message ?: refusal, hint ? " " : "", hint ?: "");
}

static int reply_error(sd_bus_message *m, const Error *e) {
        return reply_refusal(m, refusal_name(e->id), e->message, e->hint);
}

/* ---- jobs that work: the answer is the job's number, the end comes as a signal ---- */

static int start_job(BusFace *f, sd_bus_message *m, JobKind kind, char *const *arguments) {
        _cleanup_error_ Error e = {};
        uint64_t id = 0;

        if (manager_start(f->manager, kind, arguments, NULL, NULL, &id, &e) < 0)
                return reply_error(m, &e);
        return sd_bus_reply_method_return(m, "t", id);
}

static int check_granted(sd_bus_message *m, void *userdata) {
        return start_job(userdata, m, JOB_CHECK, NULL);
}

static int method_check(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.check", NULL, check_granted, userdata);
}

static int read_version(sd_bus_message *m, const char **ret, int *ret_answer) {
        int r = sd_bus_message_read(m, "s", ret);

        if (r < 0)
                return r;
        if (!isempty(*ret) && !version_is_valid(*ret)) {
                *ret_answer =
                        sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INVALID_ARGS, "\"%s\" cannot be a version", *ret);
                return 1;
        }
        return 0;
}

/* Called twice with the same message: before the rights are asked and after they were granted. */
static int reread_text(sd_bus_message *m, const char **ret) {
        int r = sd_bus_message_rewind(m, true);

        return r < 0 ? r : sd_bus_message_read(m, "s", ret);
}

static int start_with_version(BusFace *f, sd_bus_message *m, JobKind kind, const char *more) {
        _cleanup_strv_free_ char **arguments = NULL;
        const char *version = NULL;
        int r = reread_text(m, &version);

        if (r < 0)
                return r;
        if (more)
                strv_extend(&arguments, more);
        if (!isempty(version)) {
                strv_extend(&arguments, "--");
                strv_extend(&arguments, version);
        }
        return start_job(f, m, kind, arguments);
}

static int update_granted(sd_bus_message *m, void *userdata) {
        return start_with_version(userdata, m, JOB_UPDATE, "--by-person");
}

static int method_update(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *version = NULL;
        int answer = 0, r = read_version(m, &version, &answer);
        char *details[] = { (char *) "version", (char *) version, NULL };

        if (r != 0)
                return r < 0 ? r : answer;
        return polkit_check(m, isempty(version) ? "io.sealab.Updater1.update" : "io.sealab.Updater1.update-to-version",
                            details, update_granted, userdata);
}

static int automatic_granted(sd_bus_message *m, void *userdata) {
        return start_job(userdata, m, JOB_AUTO, NULL);
}

static int method_automatic(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.update", NULL, automatic_granted, userdata);
}

static int pin_granted(sd_bus_message *m, void *userdata) {
        return start_with_version(userdata, m, JOB_PIN, NULL);
}

static int method_pin(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *version = NULL;
        int answer = 0, r = read_version(m, &version, &answer);

        if (r != 0)
                return r < 0 ? r : answer;
        return polkit_check(m, "io.sealab.Updater1.pin", NULL, pin_granted, userdata);
}

static int unpin_granted(sd_bus_message *m, void *userdata) {
        return start_job(userdata, m, JOB_UNPIN, NULL);
}

static int method_unpin(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.pin", NULL, unpin_granted, userdata);
}

static int revert_granted(sd_bus_message *m, void *userdata) {
        return start_job(userdata, m, JOB_REVERT, NULL);
}

static int method_revert(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.revert", NULL, revert_granted, userdata);
}

static int verify_granted(sd_bus_message *m, void *userdata) {
        char *arguments[] = { (char *) "--all", NULL };
        int all = 0, r = sd_bus_message_rewind(m, true);

        if (r >= 0)
                r = sd_bus_message_read(m, "b", &all);
        return r < 0 ? r : start_job(userdata, m, JOB_VERIFY, all ? arguments : NULL);
}

static int method_verify(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.verify", NULL, verify_granted, userdata);
}

static int cancel_granted(sd_bus_message *m, void *userdata) {
        const BusFace *f = userdata;
        _cleanup_error_ Error e = {};

        if (manager_cancel(f->manager, &e) < 0)
                return reply_error(m, &e);
        return sd_bus_reply_method_return(m, NULL);
}

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.cancel", NULL, cancel_granted, userdata);
}

/* ---- jobs about this machine's own state ---- */

/* Anything else could not be an id; a job is not started for it. */
static bool is_drift_id(const char *s) {
        return strlen(s) == DRIFT_ID_LENGTH && strspn(s, "0123456789abcdef") == DRIFT_ID_LENGTH;
}

static int reset_granted(sd_bus_message *m, void *userdata) {
        const char *id = NULL;
        int r = reread_text(m, &id);
        char *arguments[] = { (char *) "--", (char *) id, NULL };

        return r < 0 ? r : start_job(userdata, m, JOB_RESET, arguments);
}

static int method_reset_drift(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *id = NULL;
        int r = sd_bus_message_read(m, "s", &id);

        if (r < 0)
                return r;
        if (!is_drift_id(id))
                return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INVALID_ARGS, "\"%s\" cannot be an id of GetDrift",
                                                  id);
        return polkit_check(m, "io.sealab.Updater1.reset-drift", NULL, reset_granted, userdata);
}

static int factory_reset_granted(sd_bus_message *m, void *userdata) {
        return start_job(userdata, m, JOB_FACTORY_RESET, NULL);
}

static int method_factory_reset(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.factory-reset", NULL, factory_reset_granted, userdata);
}

static int cancel_reset_granted(sd_bus_message *m, void *userdata) {
        char *arguments[] = { (char *) "--cancel", NULL };

        return start_job(userdata, m, JOB_FACTORY_RESET, arguments);
}

static int method_cancel_reset(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.factory-reset", NULL, cancel_reset_granted, userdata);
}

/* ---- questions: the answer is the job's data ---- */

static void answer_question(const JobOutcome *outcome, void *userdata) {
        sd_bus_message *m = userdata;

        if (outcome->data) {
                _cleanup_free_ char *text = json_format_line(outcome->data);

                (void) sd_bus_reply_method_return(m, "s", text);
        } else
                (void) reply_refusal(m, outcome->result, outcome->message, outcome->hint);
        sd_bus_message_unref(m);
}

static int ask_job(BusFace *f, sd_bus_message *m, JobKind kind) {
        _cleanup_error_ Error e = {};

        if (manager_start(f->manager, kind, NULL, answer_question, sd_bus_message_ref(m), NULL, &e) < 0) {
                sd_bus_message_unref(m);
                return reply_error(m, &e);
        }
        return 1;
}

static int method_status(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return ask_job(userdata, m, JOB_STATUS);
}

static int method_history(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return ask_job(userdata, m, JOB_HISTORY);
}

static int method_config(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return ask_job(userdata, m, JOB_CONFIG);
}

static int drift_granted(sd_bus_message *m, void *userdata) {
        return ask_job(userdata, m, JOB_DRIFT);
}

/* Names of files in folders that not everybody can look into. */
static int method_drift(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return polkit_check(m, "io.sealab.Updater1.drift", NULL, drift_granted, userdata);
}

/* ---- properties ---- */

static int property_job(sd_bus *bus, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const BusFace *f = userdata;
        uint64_t id = 0, done = 0, total = 0;
        JobKind kind = _JOB_KIND_MAX;
        const char *step = "";
        bool working = manager_working(f->manager, &id, &kind, &step, &done, &total);

        return sd_bus_message_append(reply, "(tsstt)", id, working ? job_kind_name(kind) : "", step, done, total);
}

static int property_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", SEALAB_VERSION);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("DaemonVersion", "s", property_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Job", "(tsstt)", property_job, 0, 0),
        SD_BUS_METHOD_WITH_ARGS("Check", SD_BUS_NO_ARGS, SD_BUS_RESULT("t", job), method_check,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Update", SD_BUS_ARGS("s", version), SD_BUS_RESULT("t", job), method_update,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("UpdateAutomatically", SD_BUS_NO_ARGS, SD_BUS_RESULT("t", job), method_automatic,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Pin", SD_BUS_ARGS("s", version), SD_BUS_RESULT("t", job), method_pin,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unpin", SD_BUS_NO_ARGS, SD_BUS_RESULT("t", job), method_unpin,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Revert", SD_BUS_NO_ARGS, SD_BUS_RESULT("t", job), method_revert,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Verify", SD_BUS_ARGS("b", all), SD_BUS_RESULT("t", job), method_verify,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ResetDrift", SD_BUS_ARGS("s", id), SD_BUS_RESULT("t", job), method_reset_drift,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("FactoryReset", SD_BUS_NO_ARGS, SD_BUS_RESULT("t", job), method_factory_reset,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("CancelFactoryReset", SD_BUS_NO_ARGS, SD_BUS_RESULT("t", job), method_cancel_reset,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetStatus", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_status,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetHistory", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_history,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetConfig", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_config,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetDrift", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_drift,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("JobProgress", SD_BUS_ARGS("t", job, "s", kind, "s", step, "t", done, "t", total), 0),
        SD_BUS_SIGNAL_WITH_ARGS("JobFinished",
                                SD_BUS_ARGS("t", job, "s", kind, "s", result, "s", message, "s", hint, "s", data), 0),
        SD_BUS_VTABLE_END,
};

/* ---- news ---- */

void bus_face_progress(uint64_t id, JobKind kind, const char *step, uint64_t done, uint64_t total, void *face) {
        const BusFace *f = face;

        (void) sd_bus_emit_signal(f->bus, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE, "JobProgress", "tsstt", id,
                                  job_kind_name(kind), step, done, total);
}

void bus_face_finished(const JobOutcome *o, void *face) {
        const BusFace *f = face;
        _cleanup_free_ char *data = NULL;

        if (job_kind_only_reads(o->kind))
                return;
        data = o->data ? json_format_line(o->data) : xstrdup("");
        (void) sd_bus_emit_signal(f->bus, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE, "JobFinished", "tsssss", o->id,
                                  job_kind_name(o->kind), o->result, o->message ?: "", o->hint ?: "", data);
}

/* ---- life ---- */

int bus_face_new(sd_bus *bus, BusFace **ret, Error *reterr) {
        BusFace *f = xnew(BusFace, 1);
        int r;

        f->bus = sd_bus_ref(bus);
        r = sd_bus_add_object_vtable(bus, &f->slot, UPDATER_BUS_PATH, UPDATER_BUS_INTERFACE, vtable, f);
        if (r < 0) {
                bus_face_free(f);
                return error_errno(reterr, r, "cannot offer " UPDATER_BUS_INTERFACE " on the bus");
        }
        *ret = f;
        return 0;
}

BusFace *bus_face_free(BusFace *f) {
        if (!f)
                return NULL;
        sd_bus_slot_unref(f->slot);
        sd_bus_unref(f->bus);
        free(f);
        return NULL;
}

void bus_face_set_manager(BusFace *f, Manager *m) {
        f->manager = m;
}
