/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sealabctl: what people say to sealabd. */

#include <time.h>

#include "client.h"
#include "local.h"
#include "log.h"
#include "options.h"
#include "show.h"

/* Parsed options: the one kind of mutable global the house rules allow. */
static struct {
        bool json, quiet, watch, now, reboot, all, dry_run, user, automatic, reset, yes, cancel;
        const char *host, *version, *from;
        char **job_options;
} arg;

static int connect_client(Client **ret, Error *reterr) {
        return client_new(arg.host, arg.user, ret, reterr);
}

/* Takes the text; JSON instead where that was asked for. */
static void print(const json_t *value, char *text) {
        _cleanup_free_ char *owned = text, *json = NULL;

        if (arg.json) {
                json = json_format(value, false);
                fputs(json, stdout);
                return;
        }
        fputs(text, stdout);
        if (*text && text[strlen(text) - 1] != '\n')
                putchar('\n');
}

/* ---- progress ---- */

typedef struct Meter {
        char *step;
        struct timespec began;
        bool shown;
} Meter;

static void meter_done(Meter *m) {
        if (m->shown)
                fputs("\r\033[K", stderr);
        free(m->step);
}

static void show_meter(const char *step, uint64_t done, uint64_t total, void *userdata) {
        _cleanup_free_ char *line = NULL;
        bool terminal = isatty(STDERR_FILENO);
        struct timespec now;
        Meter *m = userdata;

        if (arg.quiet || arg.json)
                return;
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        if (!streq_ptr(m->step, step)) {
                free(m->step);
                m->step = xstrdup(step);
                m->began = now;
                if (!terminal)
                        log_info("%s", step);
        }
        if (!terminal)
                return;
        line = show_progress(step, done, total,
                             (double) (now.tv_sec - m->began.tv_sec) + (double) (now.tv_nsec - m->began.tv_nsec) / 1e9);
        fprintf(stderr, "\r\033[K%s", line);
        m->shown = true;
}

/* ---- verbs that ask ---- */

static int show_status_once(Client *c, void *userdata, Error *reterr) {
        _cleanup_json_ json_t *status = NULL;
        int r = client_ask(c, "GetStatus", &status, reterr);

        if (r >= 0)
                print(status, show_status(status));
        return r;
}

static int verb_status(char *const *a, Error *reterr) {
        _cleanup_(client_freep) Client *c = NULL;
        int r = connect_client(&c, reterr);

        if (r < 0)
                return r;
        return arg.watch ? client_watch(c, show_status_once, NULL, reterr) : show_status_once(c, NULL, reterr);
}

static int ask_and_print(const char *method, char *(*show)(const json_t *), Error *reterr) {
        _cleanup_(client_freep) Client *c = NULL;
        _cleanup_json_ json_t *v = NULL;
        int r = connect_client(&c, reterr);

        if (r >= 0)
                r = client_ask(c, method, &v, reterr);
        if (r >= 0)
                print(v, show(v));
        return r;
}

static int verb_history(char *const *a, Error *reterr) {
        return ask_and_print("GetHistory", show_history, reterr);
}

static int verb_config(char *const *a, Error *reterr) {
        return ask_and_print("GetConfig", show_config, reterr);
}

/* ---- verbs that work ---- */

/* Of everything that works, and of every failure: one shape. policy and until say what an update waits for. */
static json_t *result_to_json(const char *result, const char *message, const char *hint, const json_t *data) {
        const json_t *until = json_object_get(data, "until");

        return json_pack("{s:s, s:o, s:o, s:s?, s:o}", "result", result, "message", json_text(message), "hint",
                         json_text(hint), "policy", json_string_value(json_object_get(data, "policy")), "until",
                         json_is_integer(until) ? json_incref((json_t *) until) : json_null());
}

static void print_result(const ClientResult *r) {
        _cleanup_json_ json_t *o = result_to_json(r->result, r->message, NULL, r->data);

        if (arg.json || (!arg.quiet && r->message))
                print(o, xstrdup(r->message ?: ""));
}

/* Through sealabd, or, from a folder that is named, without it: no method of the bus takes a path. */
static int from_folder(JobKind kind, Meter *meter, ClientResult *ret, Error *reterr) {
        _cleanup_strv_free_ char **arguments = NULL;
        _cleanup_free_ char *from = xasprintf("--from=%s", arg.from);

        if (arg.host || arg.automatic) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "--from and %s exclude each other",
                          arg.host ? "--host" : "--automatic");
                return error_hint(reterr, "A folder is one of the machine that the command runs on.");
        }
        strv_extend(&arguments, from);
        if (kind == JOB_UPDATE)
                strv_extend(&arguments, "--by-person");
        if (arg.version) {
                strv_extend(&arguments, "--");
                strv_extend(&arguments, arg.version);
        }
        return local_run(kind, arguments, arg.job_options, show_meter, meter, ret, reterr);
}

static int ask_for_plan(ClientResult *ret, Error *reterr) {
        _cleanup_(client_freep) Client *c = NULL;
        _cleanup_(meter_done) Meter meter = {};
        int r;

        if (arg.from)
                return from_folder(JOB_CHECK, &meter, ret, reterr);
        r = connect_client(&c, reterr);
        return r < 0 ? r : client_run(c, "Check", show_meter, &meter, ret, reterr, NULL);
}

static int verb_check(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        int r = ask_for_plan(&result, reterr);

        if (r >= 0)
                print(result.data, show_check(result.data));
        return r;
}

static int verb_list(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        _cleanup_(client_freep) Client *c = NULL;
        _cleanup_json_ json_t *status = NULL;
        int r = connect_client(&c, reterr);

        if (r >= 0)
                r = client_run(c, "Check", NULL, NULL, &result, reterr, NULL);
        if (r >= 0)
                r = client_ask(c, "GetStatus", &status, reterr);
        if (r >= 0)
                print(json_object_get(result.data, "offers"), show_offers(result.data, status));
        return r;
}

static int finish(Client *c, const ClientResult *result, bool reboot, Error *reterr) {
        print_result(result);
        return reboot && streq(result->result, "done") ? client_reboot(c, reterr) : 0;
}

static int run_update(Client *c, ClientResult *ret, Error *reterr) {
        _cleanup_(meter_done) Meter meter = {};

        if (arg.from)
                return from_folder(JOB_UPDATE, &meter, ret, reterr);
        if (arg.automatic)
                return client_run(c, "UpdateAutomatically", show_meter, &meter, ret, reterr, NULL);
        return client_run(c, "Update", show_meter, &meter, ret, reterr, "s", arg.version ?: "");
}

static int verb_update(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        _cleanup_(client_freep) Client *c = NULL;
        bool reboot = arg.reboot || arg.now;
        int r = 0;

        if (arg.dry_run)
                return verb_check(a, reterr);
        /* A folder needs no bus, unless logind is to restart the machine. */
        if (!arg.from || reboot)
                r = connect_client(&c, reterr);
        if (r >= 0)
                r = run_update(c, &result, reterr);
        return r < 0 ? r : finish(c, &result, reboot, reterr);
}

static int verb_pin(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        _cleanup_(client_freep) Client *c = NULL;
        int r = connect_client(&c, reterr);

        if (r >= 0)
                r = client_run(c, "Pin", NULL, NULL, &result, reterr, "s", a[0] ?: "");
        return r < 0 ? r : finish(c, &result, false, reterr);
}

static int verb_unpin(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        _cleanup_(client_freep) Client *c = NULL;
        int r = connect_client(&c, reterr);

        if (r >= 0)
                r = client_run(c, "Unpin", NULL, NULL, &result, reterr, NULL);
        return r < 0 ? r : finish(c, &result, false, reterr);
}

static int verb_revert(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        _cleanup_(client_freep) Client *c = NULL;
        int r = connect_client(&c, reterr);

        if (r >= 0)
                r = client_run(c, "Revert", NULL, NULL, &result, reterr, NULL);
        return r < 0 ? r : finish(c, &result, arg.reboot, reterr);
}

static int verb_verify(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        _cleanup_(client_freep) Client *c = NULL;
        int r = connect_client(&c, reterr);

        if (r < 0)
                return r;
        {
                _cleanup_(meter_done) Meter meter = {};

                r = client_run(c, "Verify", show_meter, &meter, &result, reterr, "b", arg.all);
        }
        if (r >= 0)
                print(result.data, show_verify(result.data));
        return r;
}

/* ---- verbs about this machine's own state ---- */

static const char *entry_text(const json_t *e, const char *key) {
        return json_string_value(json_object_get(e, key)) ?: "";
}

/* What the list has of PATH; with JSON, as with text. */
static json_t *select_drift(const json_t *drift, const char *path) {
        const json_t *entries = json_object_get(drift, "entries"), *e;
        json_t *o = json_copy((json_t *) drift), *list = json_array();
        size_t i;

        json_array_foreach ((json_t *) entries, i, e)
                if ((!path || drift_path_matches(entry_text(e, "path"), path)) && (arg.all || !*entry_text(e, "own")))
                        json_array_append(list, (json_t *) e);
        json_object_set_new(o, "entries", list);
        return o;
}

/* No method of the bus takes a path: the list tells its id. */
static int find_drift_id(const json_t *drift, const char *wanted, const char **ret, Error *reterr) {
        const json_t *entries = json_object_get(drift, "entries"), *e;
        size_t i;

        json_array_foreach ((json_t *) entries, i, e)
                if (streq(entry_text(e, "path"), wanted) || streq(entry_text(e, "id"), wanted)) {
                        *ret = entry_text(e, "id");
                        return 0;
                }
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is as the image has it, or not in /etc", wanted);
        return error_hint(reterr, "\"sealabctl drift --all\" lists what differs.");
}

static int reset_drift(Client *c, const json_t *drift, const char *wanted, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        const char *id = NULL;
        int r = find_drift_id(drift, wanted, &id, reterr);

        if (r >= 0)
                r = client_run(c, "ResetDrift", NULL, NULL, &result, reterr, "s", id);
        if (r >= 0)
                print_result(&result);
        return r;
}

static int verb_drift(char *const *a, Error *reterr) {
        _cleanup_(client_freep) Client *c = NULL;
        _cleanup_json_ json_t *drift = NULL, *selected = NULL;
        int r;

        if (arg.reset && !a[0]) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "drift --reset: which file?");
                return error_hint(reterr, "sealabctl drift --reset /etc/ssh/sshd_config");
        }
        r = connect_client(&c, reterr);
        if (r >= 0)
                r = client_ask(c, "GetDrift", &drift, reterr);
        if (r < 0)
                return r;
        if (arg.reset)
                return reset_drift(c, drift, a[0], reterr);
        selected = select_drift(drift, a[0]);
        print(selected, show_drift(drift, a[0], arg.all));
        return 0;
}

/* Typed, not clicked away: it cannot be undone. */
static int confirm_factory_reset(Client *c, Error *reterr) {
        _cleanup_json_ json_t *status = NULL;
        char line[128];
        int r = client_ask(c, "GetStatus", &status, reterr);

        if (r < 0)
                return r;
        if (!isatty(STDIN_FILENO)) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "factory-reset asks first, and there is no terminal");
                return error_hint(reterr, "\"sealabctl factory-reset --yes\" does not ask.");
        }
        fprintf(stderr,
                "The next restart wipes all files, accounts and settings of this machine%s%s; %s %s stays.\n"
                "Type the product's name, %s, to go on: ",
                arg.host ? ", " : "", arg.host ?: "", entry_text(status, "product"), entry_text(status, "version"),
                entry_text(status, "product"));
        if (!fgets(line, sizeof line, stdin) || !streq(strstrip(line), entry_text(status, "product")))
                return error_set(reterr, ECANCELED, REFUSAL_CANCELLED, "nothing was changed");
        return 0;
}

static int verb_factory_reset(char *const *a, Error *reterr) {
        _cleanup_client_result_ ClientResult result = {};
        _cleanup_(client_freep) Client *c = NULL;
        int r;

        if (arg.cancel && arg.reboot)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--cancel and --reboot exclude each other");
        r = connect_client(&c, reterr);
        if (r >= 0 && !arg.yes && !arg.cancel)
                r = confirm_factory_reset(c, reterr);
        if (r >= 0)
                r = client_run(c, arg.cancel ? "CancelFactoryReset" : "FactoryReset", NULL, NULL, &result, reterr,
                               NULL);
        return r < 0 ? r : finish(c, &result, arg.reboot, reterr);
}

/* ---- the table ---- */

static const OptionSpec common_options[] = {
        { "json", 0, OPTION_FLAG, NULL, "answer in JSON", &arg.json },
        { "host", 'H', OPTION_STRING, "USER@HOST", "the machine to talk to, by ssh", &arg.host },
        { "quiet", 'q', OPTION_FLAG, NULL, "say only what went wrong", &arg.quiet },
        { "user", 0, OPTION_FLAG, NULL, "the user's bus (for tests)", &arg.user },
        { "job-option", 0, OPTION_LIST, "O", "one more option for the job of --from (for tests)", &arg.job_options },
};
static const OptionSpec status_options[] = {
        { "watch", 'w', OPTION_FLAG, NULL, "again after each change, until Ctrl-C", &arg.watch },
};
static const OptionSpec check_options[] = {
        { "from", 0, OPTION_STRING, "DIR", "a folder with a repository, in place of the network; only root",
          &arg.from },
};
static const OptionSpec update_options[] = {
        { "from", 0, OPTION_STRING, "DIR", "a folder with a repository, in place of the network; only root",
          &arg.from },
        { "version", 0, OPTION_STRING, "V", "this one, also an older one", &arg.version },
        { "reboot", 0, OPTION_FLAG, NULL, "restart when it is installed", &arg.reboot },
        { "now", 0, OPTION_FLAG, NULL, "the same as --reboot", &arg.now },
        { "dry-run", 'n', OPTION_FLAG, NULL, "only show the plan", &arg.dry_run },
        { "automatic", 0, OPTION_FLAG, NULL, "only if policy allows it now (what the timer does)", &arg.automatic },
};
static const OptionSpec revert_options[] = {
        { "reboot", 0, OPTION_FLAG, NULL, "restart right away", &arg.reboot },
};
static const OptionSpec verify_options[] = {
        { "all", 'a', OPTION_FLAG, NULL, "every slot, not only the running one", &arg.all },
};
static const OptionSpec drift_options[] = {
        { "all", 'a', OPTION_FLAG, NULL, "also what every machine makes for itself", &arg.all },
        { "reset", 0, OPTION_FLAG, NULL, "put the image's default back at PATH (or id)", &arg.reset },
};
static const OptionSpec factory_reset_options[] = {
        { "yes", 0, OPTION_FLAG, NULL, "do not ask", &arg.yes },
        { "reboot", 0, OPTION_FLAG, NULL, "restart right away", &arg.reboot },
        { "cancel", 0, OPTION_FLAG, NULL, "call it off", &arg.cancel },
};

#define VERB(n, arguments, min, max, text, more, options, function)                                                    \
        { n, arguments, min, max, text, more, options, ELEMENTSOF(options), function }
#define PLAIN(n, arguments, min, max, text, more, function)                                                            \
        { n, arguments, min, max, text, more, NULL, 0, function }

static const VerbSpec verbs[] = {
        VERB("status", "", 0, 0, "what runs, what is in each slot, what is available", NULL, status_options,
             verb_status),
        VERB("check", "", 0, 0, "ask the repository what is new, and show the plan", NULL, check_options, verb_check),
        PLAIN("list", "", 0, 0, "versions on offer", NULL, verb_list),
        VERB("update", "", 0, 0, "install the newest version, or the one named",
             "The running system is not touched: the new version goes into the other slot and starts with the next "
             "restart, on trial. Ctrl-C stops it; the next time it goes on where it was.",
             update_options, verb_update),
        PLAIN("pin", "[VERSION]", 0, 1, "stay on the running version, or on this one", NULL, verb_pin),
        PLAIN("unpin", "", 0, 0, "take updates again", NULL, verb_unpin),
        VERB("revert", "", 0, 0, "go back to the version in the other slot, and stay there",
             "It is pinned there until \"sealabctl unpin\".", revert_options, verb_revert),
        PLAIN("history", "", 0, 0, "every attempt: when, from, to, how it ended", NULL, verb_history),
        VERB("verify", "", 0, 0, "read a slot again and compare it with its signed root hash", NULL, verify_options,
             verb_verify),
        VERB("drift", "[PATH]", 0, 1, "what this machine changed in /etc against the image's defaults",
             "Names, modes and owners; never what files hold. --reset puts one file or folder back.", drift_options,
             verb_drift),
        VERB("factory-reset", "", 0, 0, "wipe this machine's own state at the next restart, keep the system",
             "All files, accounts and settings go: whatever is not the sealed system. It asks first.",
             factory_reset_options, verb_factory_reset),
        PLAIN("config", "", 0, 0, "effective settings, each with the file it came from", NULL, verb_config),
};

static const OptionTable table = {
        .program = "sealabctl",
        .summary = "Keeps this machine's /usr up to date, pins it, and goes back.",
        .pages = "sealabctl(1), sealab-updater.conf(5) and sealabd(8)",
        .verbs = verbs,
        .n_verbs = ELEMENTSOF(verbs),
        .common = common_options,
        .n_common = ELEMENTSOF(common_options),
};

static int fail(const Error *e) {
        if (arg.json) {
                _cleanup_json_ json_t *o = result_to_json(refusal_name(e->id), e->message ?: "failed", e->hint, NULL);
                _cleanup_free_ char *text = NULL;

                text = json_format(o, false);
                fputs(text, stdout);
        } else {
                log_error("sealabctl: %s", e->message ?: "failed");
                if (e->hint)
                        log_error("%s", e->hint);
        }
        return refusal_exit_status(e->id);
}

int main(int argc, char **argv) {
        _cleanup_strv_free_ char **arguments = NULL;
        char *status[] = { argv[0], (char *) "status", NULL };
        const VerbSpec *verb = NULL;
        _cleanup_error_ Error e = {};
        int r;

        /* Alone it says how things stand. */
        r = options_parse(&table, argc == 1 ? 2 : argc, argc == 1 ? status : argv, &verb, &arguments, &e);
        if (r > 0)
                return 0;
        if (r >= 0 && arg.quiet)
                log_set_level(LOG_LEVEL_QUIET);
        if (r >= 0)
                r = verb->run(arguments ?: (char *[]){ NULL }, &e);
        strv_free(arg.job_options);
        return r < 0 ? fail(&e) : 0;
}
