/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <getopt.h>
#include <time.h>

#include "conditions.h"
#include "drift-reset.h"
#include "factory-reset.h"
#include "io.h"
#include "job.h"
#include "log.h"
#include "notice.h"
#include "policy.h"
#include "settings.h"
#include "state.h"
#include "stick.h"
#include "update.h"

#define STATE_FOLDER "/var/lib/sealab"
#define TRUST_ANCHOR "/usr/lib/sealab/root.json"
#define PROGRESS_INTERVAL_MSEC 100
#define COME_BACK_WITHIN_SEC (24 * 3600)

typedef struct Job {
        JobKind kind;
        const char *version; /* or whatever else the argument is */
        bool all, by_person, cancel;
        char **repositories;
        Sha256 running;
        UpdateContext context;
        UpdaterSettings *settings;
        int64_t last_progress; /* monotonic, milliseconds */
        const char *last_step;
} Job;

static void job_done(Job *j) {
        strv_free(j->repositories);
        settings_free(j->settings);
}

/* ---- output ---- */

static void print_line(json_t *o) {
        _cleanup_free_ char *line = json_format_line(o);

        puts(line);
        fflush(stdout);
        json_decref(o);
}

static int64_t monotonic_msec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void print_progress(const char *step, uint64_t done, uint64_t total, void *userdata) {
        Job *j = userdata;
        int64_t now = monotonic_msec();

        if (j->last_step && streq(j->last_step, step) && done < total &&
            now - j->last_progress < PROGRESS_INTERVAL_MSEC)
                return;
        j->last_progress = now;
        j->last_step = step;
        print_line(json_pack("{s:s, s:I, s:I}", "step", step, "done", (json_int_t) done, "total", (json_int_t) total));
}

static int print_failure(const Error *e) {
        json_t *o = json_pack("{s:s, s:s}", "result", refusal_name(e->id), "message", e->message ?: "failed");

        if (e->hint)
                json_object_set_new(o, "hint", json_string(e->hint));
        print_line(o);
        return refusal_exit_status(e->id);
}

static void print_success(bool nothing, const char *message, json_t *data) {
        json_t *o = json_pack("{s:s}", "result", nothing ? "nothing" : "done");

        if (message)
                json_object_set_new(o, "message", json_string(message));
        if (data)
                json_object_set_new(o, "data", data);
        print_line(o);
}

/* ---- kinds ---- */

static const char *root_of(const Job *j) {
        return j->context.paths.root ?: "/";
}

static PlanRequest request(const Job *j) {
        return (PlanRequest){ .version = j->version, .by_person = j->by_person || j->version };
}

static json_t *offer_to_json(const Offer *o) {
        const ReleaseDescription *d = o->description;
        uint64_t bytes = 0;

        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                bytes += o->download[k];
        return json_pack("{s:s, s:I, s:I, s:b, s:s?, s:s?}", "version", d->version, "epoch", (json_int_t) d->epoch,
                         "downloadBytes", (json_int_t) bytes, "critical", d->critical, "notes", d->notes, "withdrawn",
                         d->withdrawn);
}

static int do_check(Job *j, Error *reterr) {
        _cleanup_(catalogue_freep) Catalogue *catalogue = NULL;
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(plan_freep) Plan *plan = NULL;
        PlanRequest q = request(j);
        json_t *data, *offers;
        int r;

        r = update_check(&j->context, &q, &catalogue, &plan, &m, reterr);
        if (r < 0)
                return r;
        if (plan->outcome == PLAN_REFUSED)
                return error_set(reterr, EPERM, plan->refusal, "%s", plan->reason);
        data = plan_to_json(plan, m);
        {
                _cleanup_free_ char *text = plan_describe(plan, m);

                json_object_set_new(data, "text", json_string(text));
        }
        offers = json_array();
        for (size_t i = 0; i < catalogue->n_offers; i++)
                json_array_append_new(offers, offer_to_json(&catalogue->offers[i]));
        json_object_set_new(data, "offers", offers);
        json_object_set_new(data, "requests", json_integer((json_int_t) catalogue->requests));
        json_object_set_new(data, "pollBytes", json_integer((json_int_t) catalogue->bytes));
        print_success(plan->outcome != PLAN_UPDATE, plan->reason, data);
        return 0;
}

/* A closed lid or a shutdown waits until the slot is written; where logind cannot be asked, they do not, and nothing is
 * lost but time. */
static void stay_awake(const Job *j, int *ret_fd) {
        _cleanup_error_ Error e = {};

        *ret_fd = -EBADF;
        if (!j->context.paths.root && conditions_inhibit("an update is being written", ret_fd, &e) < 0)
                log_warning("%s", e.message);
}

static int do_update(Job *j, Error *reterr) {
        _cleanup_free_ char *message = NULL;
        _cleanup_close_ int inhibitor = -EBADF;
        PlanRequest q = request(j);
        int r;

        stay_awake(j, &inhibitor);
        r = update_run(&j->context, &q, &message, reterr);
        if (r >= 0)
                print_success(r > 0, message, NULL);
        return r;
}

/* ---- what the timer asks for ---- */

typedef struct Situation {
        Conditions conditions;
        int32_t utc_offset;
        char machine_id[33];
} Situation;

static void situation_done(Situation *s) {
        conditions_done(&s->conditions);
}

static int read_situation(const Job *j, Situation *ret, Error *reterr) {
        const char *root = root_of(j);
        _cleanup_free_ char *path = path_join(root, "etc/machine-id"), *id = NULL;
        size_t size = 0;
        int r;

        r = conditions_read(root, &ret->conditions, reterr);
        if (r >= 0)
                r = io_read_file(AT_FDCWD, path, 4096, &id, &size, reterr);
        if (r < 0)
                return r;
        snprintf(ret->machine_id, sizeof ret->machine_id, "%.32s", id);
        ret->utc_offset = conditions_utc_offset(root, j->settings->time_zone, j->context.now);
        return 0;
}

/* The timer looks every few hours; what opens before that must not be over when it does. */
static void come_back(const Job *j, int64_t until) {
        _cleanup_error_ Error e = {};

        if (!j->context.paths.root && until > j->context.now && until - j->context.now < COME_BACK_WITHIN_SEC &&
            conditions_look_again(until - j->context.now, &e) < 0)
                log_warning("only the timer will look again: %s", e.message);
}

/* Says what policy says; false: not now. */
static bool allowed(const Job *j, PolicyDecision *d) {
        _cleanup_(policy_decision_done) PolicyDecision decision = *d;
        json_t *data;

        *d = (PolicyDecision){};
        if (decision.answer == POLICY_NOW)
                return true;
        come_back(j, decision.until);
        data = json_pack("{s:s}", "policy", decision.id);
        if (decision.until > 0)
                json_object_set_new(data, "until", json_integer(decision.until));
        print_success(true, decision.reason, data);
        return false;
}

/* When the machine is to wake for its next window, if it sleeps then. */
static void wake_for_window(const Job *j, const Situation *s) {
        _cleanup_error_ Error e = {};
        int64_t wait;

        if (!j->settings->wake || j->settings->n_windows == 0)
                return;
        wait = policy_next_window(j->settings, j->context.now, s->utc_offset);
        /* Inside of one: the next is looked for from behind it when it has passed. */
        if (wait > 0 && conditions_wake_at(j->context.paths.root ?: "/", j->context.now + wait, &e) < 0)
                log_warning("the machine will not wake for its maintenance window: %s", e.message);
}

/* 1: a restart would start something new; 0: not. What there is to say was printed. */
static int install_by_policy(Job *j, const Situation *s, bool *ret_critical, Error *reterr) {
        _cleanup_(catalogue_freep) Catalogue *catalogue = NULL;
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(plan_freep) Plan *plan = NULL;
        _cleanup_close_ int inhibitor = -EBADF;
        _cleanup_free_ char *message = NULL;
        PlanRequest q = {};
        PolicyDecision d;
        int r;

        r = update_check(&j->context, &q, &catalogue, &plan, &m, reterr);
        if (r < 0)
                return r;
        if (plan->outcome != PLAN_UPDATE) {
                print_success(true, plan->reason, plan_to_json(plan, m));
                return plan->restart_pending;
        }
        *ret_critical = plan->offer->description->critical;
        d = policy_may_download(j->settings, &s->conditions, j->context.now, s->utc_offset, s->machine_id,
                                *ret_critical);
        if (!allowed(j, &d))
                return 0;
        d = policy_may_install(j->settings, &s->conditions, j->context.now, s->utc_offset, s->machine_id,
                               *ret_critical);
        if (!allowed(j, &d))
                return 0;
        stay_awake(j, &inhibitor);
        r = update_run(&j->context, &q, &message, reterr);
        if (r < 0)
                return r;
        print_success(r > 0, message, NULL);
        return r == 0;
}

static int do_auto(Job *j, Error *reterr) {
        _cleanup_(situation_done) Situation s = {};
        bool critical = false;
        PolicyDecision d;
        int r;

        r = read_situation(j, &s, reterr);
        if (r < 0)
                return r;
        wake_for_window(j, &s);
        /* Asking costs next to nothing, and only the answer tells whether something critical waits: no window holds it
         * back. */
        d = policy_may_download(j->settings, &s.conditions, j->context.now, s.utc_offset, s.machine_id,
                                /* critical= */ true);
        if (!allowed(j, &d))
                return 0;
        r = install_by_policy(j, &s, &critical, reterr);
        if (r <= 0 || j->context.paths.root)
                return r < 0 ? r : 0;
        d = policy_may_reboot(j->settings, &s.conditions, j->context.now, s.utc_offset, critical);
        r = d.answer == POLICY_NOW ? conditions_reboot(reterr) : 0;
        policy_decision_done(&d);
        return r;
}

static int do_revert(Job *j, Error *reterr) {
        _cleanup_free_ char *version = NULL, *message = NULL;
        int r = update_revert(&j->context, &version, reterr);

        if (r < 0)
                return r;
        message = xasprintf("%s starts with the next restart, and stays until \"sealabctl unpin\"", version);
        print_success(false, message, NULL);
        return 0;
}

static int do_pin(Job *j, Error *reterr) {
        _cleanup_free_ char *called_off = NULL, *message = NULL;
        int r = j->kind == JOB_PIN ? update_pin(&j->context, j->version, &called_off, reterr)
                                   : update_unpin(&j->context, reterr);

        if (r < 0)
                return r;
        if (called_off)
                message =
                        xasprintf("%s waited for the next restart, and will not start; \"sealabctl unpin\" lets it be "
                                  "taken again",
                                  called_off);
        print_success(false, message, NULL);
        return 0;
}

static int do_verify(Job *j, Error *reterr) {
        json_t *data = NULL;
        int r = update_verify(&j->context, j->all, &data, reterr);

        if (r < 0) {
                json_decref(data);
                return r;
        }
        print_success(false, "every block is what was signed", data);
        return 0;
}

/* Defaults that were put back by hand are the image's, also where that is another one now. */
static void refresh_defaults(const Job *j) {
        _cleanup_(drift_folders_done) DriftFolders f = { -EBADF, -EBADF, -EBADF };
        _cleanup_error_ Error e = {};
        size_t n = 0;
        int r = drift_open(root_of(j), &f, &e);

        if (r >= 0)
                r = drift_refresh(&f, &n, &e);
        if (r < 0)
                log_warning("%s", e.message);
        else if (n > 0)
                log_info("%zu files of /etc follow the image's new defaults", n);
}

static int do_settle(Job *j, Error *reterr) {
        _cleanup_free_ char *message = NULL;
        int r = update_settle(&j->context, &message, reterr);

        if (r < 0)
                return r;
        refresh_defaults(j);
        print_success(!message, message, NULL);
        return r;
}

static int read_status(const Job *j, json_t **ret, Error *reterr) {
        int r = update_status(&j->context, ret, reterr);

        if (r >= 0)
                json_object_set_new(*ret, "factoryReset", json_boolean(factory_reset_is_requested(root_of(j))));
        return r;
}

static int do_status(Job *j, Error *reterr) {
        json_t *data = NULL;
        int r = read_status(j, &data, reterr);

        if (r >= 0)
                print_success(false, NULL, data);
        return r;
}

/* ---- this machine's own state ---- */

static int do_drift(Job *j, Error *reterr) {
        _cleanup_(drift_folders_done) DriftFolders f = { -EBADF, -EBADF, -EBADF };
        _cleanup_(drift_freep) Drift *d = NULL;
        int r = drift_open(root_of(j), &f, reterr);

        if (r >= 0)
                r = drift_read(&f, &d, reterr);
        if (r >= 0)
                print_success(false, NULL, drift_to_json(d));
        return r;
}

static int do_reset(Job *j, Error *reterr) {
        _cleanup_(drift_folders_done) DriftFolders f = { -EBADF, -EBADF, -EBADF };
        _cleanup_free_ char *path = NULL, *message = NULL;
        int r = drift_open(root_of(j), &f, reterr);

        if (r >= 0)
                r = drift_reset(&f, j->version ?: "", &path, reterr);
        if (r < 0)
                return r;
        message = xasprintf("%s is as the image has it", path);
        print_success(false, message, NULL);
        return 0;
}

static int do_factory_reset(Job *j, Error *reterr) {
        int r = j->cancel ? factory_reset_cancel(&j->context, reterr) : factory_reset_request(&j->context, reterr);

        if (r < 0)
                return r;
        print_success(r > 0,
                      !j->cancel ? "the next restart wipes this machine's own state"
                      : r > 0    ? "no factory reset was asked for"
                                 : "the factory reset is called off",
                      NULL);
        return 0;
}

static int do_history(Job *j, Error *reterr) {
        json_t *data = NULL;
        int r = history_load(j->context.state_folder, &data, reterr);

        if (r >= 0)
                print_success(false, NULL, data);
        return r;
}

static int do_config(Job *j, Error *reterr) {
        json_t *list = json_array();

        for (size_t i = 0; i < j->settings->n_entries; i++) {
                const SettingsEntry *e = &j->settings->entries[i];

                json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "section", e->section, "key", e->key,
                                                      "value", e->value ?: "", "source", e->source ?: ""));
        }
        print_success(false, NULL, list);
        return 0;
}

/* After a factory reset, before anything looks at the state. What stands in the way stands in the job's way too. */
static void take_floor_over(const Job *j) {
        _cleanup_error_ Error e = {};

        if ((j->kind == JOB_CHECK || j->kind == JOB_UPDATE || j->kind == JOB_AUTO || j->kind == JOB_SETTLE) &&
            factory_reset_settle(&j->context, &e) < 0)
                log_debug("%s", e.message);
}

/* The line that pam_motd shows at a login, as long as it is true. */
static void refresh_login_notice(const Job *j) {
        _cleanup_free_ char *folder = path_join(root_of(j), "run/motd.d"), *path = path_join(folder, "sealab");
        _cleanup_json_ json_t *status = NULL;
        _cleanup_notice_ Notice notice = {};
        _cleanup_error_ Error e = {};
        int r = read_status(j, &status, &e);

        if (r >= 0 && notice_from_status(status, &notice)) {
                _cleanup_free_ char *line = notice_login_line(&notice);

                r = io_mkdir_parents(AT_FDCWD, folder, 0755, &e);
                if (r >= 0)
                        r = io_write_file(AT_FDCWD, path, line, strlen(line), 0644, &e);
        } else if (r >= 0)
                r = io_unlink(AT_FDCWD, path, &e);
        if (r < 0)
                log_debug("%s", e.message);
}

static int dispatch(Job *j, Error *reterr) {
        switch (j->kind) {
        case JOB_CHECK:
        case JOB_LIST:
                return do_check(j, reterr);
        case JOB_UPDATE:
                return do_update(j, reterr);
        case JOB_AUTO:
                return do_auto(j, reterr);
        case JOB_REVERT:
                return do_revert(j, reterr);
        case JOB_PIN:
        case JOB_UNPIN:
                return do_pin(j, reterr);
        case JOB_VERIFY:
                return do_verify(j, reterr);
        case JOB_SETTLE:
                return do_settle(j, reterr);
        case JOB_STATUS:
                return do_status(j, reterr);
        case JOB_HISTORY:
                return do_history(j, reterr);
        case JOB_CONFIG:
                return do_config(j, reterr);
        case JOB_DRIFT:
                return do_drift(j, reterr);
        case JOB_RESET:
                return do_reset(j, reterr);
        case JOB_FACTORY_RESET:
                return do_factory_reset(j, reterr);
        default:
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "there is no such job");
        }
}

/* ---- arguments ---- */

enum {
        OPT_ROOT = 256,
        OPT_DISK,
        OPT_BOOT,
        OPT_RUNNING,
        OPT_STATE,
        OPT_ANCHOR,
        OPT_REPOSITORY,
        OPT_FROM,
        OPT_NOW,
        OPT_STALL,
        OPT_METERED,
        OPT_ALL,
        OPT_CANCEL,
        OPT_PERSON
};

static int add_stick(Job *j, const char *folder, Error *reterr) {
        _cleanup_free_ char *url = NULL;
        int r = stick_address(folder, &url, reterr);

        if (r >= 0)
                strv_extend(&j->repositories, url);
        return r;
}

static int parse_options(Job *j, int argc, char **argv, Error *reterr) {
        static const struct option options[] = {
                { "root", required_argument, NULL, OPT_ROOT },
                { "disk", required_argument, NULL, OPT_DISK },
                { "boot", required_argument, NULL, OPT_BOOT },
                { "running", required_argument, NULL, OPT_RUNNING },
                { "state", required_argument, NULL, OPT_STATE },
                { "anchor", required_argument, NULL, OPT_ANCHOR },
                { "repository", required_argument, NULL, OPT_REPOSITORY },
                { "from", required_argument, NULL, OPT_FROM },
                { "now", required_argument, NULL, OPT_NOW },
                { "stall", required_argument, NULL, OPT_STALL }, /* seconds; for tests: all waiting shrinks with it */
                { "metered", no_argument, NULL, OPT_METERED },   /* for tests: the connection is paid for by the byte */
                { "all", no_argument, NULL, OPT_ALL },
                { "cancel", no_argument, NULL, OPT_CANCEL },
                { "by-person", no_argument, NULL, OPT_PERSON },
                {},
        };
        uint64_t now, stall;
        int o, r;

        optind = 1;
        while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (o) {
                case OPT_ROOT:
                        j->context.paths.root = optarg;
                        break;
                case OPT_DISK:
                        j->context.paths.disk = optarg;
                        break;
                case OPT_BOOT:
                        j->context.paths.boot = optarg;
                        break;
                case OPT_RUNNING:
                        if (!sha256_from_hex(optarg, &j->running))
                                return error_set(reterr, EINVAL, REFUSAL_USAGE, "%s is no root hash", optarg);
                        j->context.paths.running = &j->running;
                        break;
                case OPT_STATE:
                        j->context.state_folder = optarg;
                        break;
                case OPT_ANCHOR:
                        j->context.trust_anchor = optarg;
                        break;
                case OPT_REPOSITORY:
                        strv_extend(&j->repositories, optarg);
                        break;
                case OPT_FROM:
                        r = add_stick(j, optarg, reterr);
                        if (r < 0)
                                return r;
                        break;
                case OPT_NOW:
                        if (!parse_u64(optarg, &now) || now > INT64_MAX)
                                return error_set(reterr, EINVAL, REFUSAL_USAGE, "%s is no time in seconds", optarg);
                        j->context.now = (int64_t) now;
                        break;
                case OPT_STALL:
                        if (!parse_u64(optarg, &stall) || stall < 1 || stall > 3600)
                                return error_set(reterr, EINVAL, REFUSAL_USAGE, "%s is no number of seconds", optarg);
                        j->context.stall_seconds = (unsigned) stall;
                        break;
                case OPT_METERED:
                        j->context.metered = true;
                        break;
                case OPT_ALL:
                        j->all = true;
                        break;
                case OPT_CANCEL:
                        j->cancel = true;
                        break;
                case OPT_PERSON:
                        j->by_person = true;
                        break;
                default:
                        return error_set(reterr, EINVAL, REFUSAL_USAGE, "job: an option that is not known");
                }
        if (optind < argc)
                j->version = argv[optind++];
        if (optind < argc)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "job %s: too many arguments", job_kind_name(j->kind));
        return 0;
}

static int set_up(Job *j, int argc, char **argv, Error *reterr) {
        _cleanup_conf_diagnostics_ ConfDiagnostics diagnostics = {};
        int r;

        j->context = (UpdateContext){ .state_folder = STATE_FOLDER,
                                      .trust_anchor = TRUST_ANCHOR,
                                      .now = time(NULL),
                                      .progress = print_progress,
                                      .userdata = j };
        j->kind = job_kind_from_name(argv[0]);
        if (j->kind == _JOB_KIND_MAX)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "there is no job %s", argv[0]);
        r = parse_options(j, argc, argv, reterr);
        if (r >= 0)
                r = settings_load(j->context.paths.root ?: "/", &diagnostics, &j->settings, reterr);
        if (r < 0)
                return r;
        if (diagnostics.n_items > 0) {
                _cleanup_free_ char *text = conf_diagnostics_format(&diagnostics);

                fputs(text, stderr);
        }
        j->context.settings = j->settings;
        j->context.repositories = j->repositories;
        return 0;
}

int job_main(int argc, char **argv) {
        _cleanup_(job_done) Job j = {};
        _cleanup_error_ Error e = {};
        int r;

        r = set_up(&j, argc, argv, &e);
        if (r >= 0) {
                take_floor_over(&j);
                r = dispatch(&j, &e);
                if (!job_kind_only_reads(j.kind))
                        refresh_login_notice(&j);
        }
        return r < 0 ? print_failure(&e) : 0;
}
