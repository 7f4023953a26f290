/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "boot.h"
#include "conditions.h"
#include "download.h"
#include "io.h"
#include "journal.h"
#include "listeners.h"
#include "log.h"
#include "obtain.h"
#include "pin.h"
#include "policy.h"
#include "slot.h"
#include "state.h"
#include "update.h"

#define STALL_SECONDS 20
#define COPY_PIECE ((size_t) 256 << 10)

static void report(const UpdateContext *c, const char *step, uint64_t done, uint64_t total) {
        if (c->progress)
                c->progress(step, done, total, c->userdata);
}

/* ---- one at a time ---- */

/* What io_replace_file() had begun when somebody with the lock was killed. */
static void sweep(const char *state_folder) {
        static const char *const folders[] = { ".", "metadata" };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = path_join(state_folder, folders[i]);
                DIR *d = opendir(path);
                const struct dirent *e;

                while (d && (e = readdir(d)))
                        if (e->d_name[0] == '.' && endswith(e->d_name, ".tmp"))
                                (void) io_unlink(dirfd(d), e->d_name, NULL);
                if (d)
                        closedir(d);
        }
}

int update_lock(const UpdateContext *c, int *ret_fd, Error *reterr) {
        _cleanup_free_ char *path = path_join(c->state_folder, "lock");
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = io_mkdir_parents(AT_FDCWD, c->state_folder, 0755, reterr);
        if (r < 0)
                return r;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return error_set(reterr, EBUSY, REFUSAL_BUSY, "another job of the updater is under way");
        sweep(c->state_folder);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int load_state(const UpdateContext *c, UpdaterState **ret, Error *reterr) {
        bool damaged = false;
        int r = state_load(c->state_folder, ret, &damaged, reterr);

        if (r >= 0 && damaged)
                log_warning(
                        "%s/state.json was damaged and has been set aside: pins and known bad versions are forgotten",
                        c->state_folder);
        return r;
}

/* ---- the machine, by whoever holds the lock ---- */

static const char *debian_architecture(const Machine *m) {
        return streq(m->architecture, "arm64") ? "arm64" : "amd64";
}

static int read_machine(const UpdateContext *c, Machine **ret, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = NULL;
        int r;

        r = machine_read(&c->paths, &m, reterr);
        if (r < 0)
                return r;
        if (m->table_damaged) {
                _cleanup_error_ Error e = {};

                /* Not every firmware does it, and no kernel: without the primary copy there is no next start. Who may
                 * not write the disk has other things to do all the same. */
                log_warning("%s: one of the two partition tables is damaged and is written anew", m->disk);
                if (gpt_repair(m->disk, debian_architecture(m), &e) < 0)
                        log_warning("%s", e.message);
        }
        *ret = TAKE_PTR(m);
        return 0;
}

/* ---- what is on offer ---- */

/* The system is younger than the image it runs from: a clock before that is wrong, and expiry is judged from there. */
static int64_t trusted_now(const UpdateContext *c) {
        _cleanup_free_ char *path = path_join(c->paths.root ?: "/", "usr/lib/os-release");
        struct stat st;

        if (stat(path, &st) < 0)
                return c->now;
        return MAX(c->now, (int64_t) st.st_mtim.tv_sec);
}

static FetchOptions fetch_options(const UpdateContext *c, const UpdaterState *s) {
        const UpdaterSettings *o = c->settings;

        return (FetchOptions){ .repositories = c->repositories ?: o->repositories,
                               .first = c->repositories ? 0 : s->mirror,
                               .http = { .proxy = o->proxy,
                                         .ca_file = o->ca_certificate,
                                         .client_certificate = o->client_certificate,
                                         .client_key = o->client_key,
                                         .rate_limit = o->rate_limit,
                                         .stall_seconds = c->stall_seconds ?: STALL_SECONDS },
                               .state_folder = c->state_folder,
                               .trust_anchor = c->trust_anchor,
                               .channel = o->channel,
                               .etag = c->repositories ? NULL : s->timestamp_etag,
                               .now = trusted_now(c) };
}

static void set_text(char **target, const char *value) {
        char *copy = xstrdup(value);

        free(*target);
        *target = copy;
}

static void note_result(UpdaterState *s, const UpdateContext *c, const Error *e) {
        s->last_check = c->now;
        set_text(&s->last_result, e ? refusal_name(e->id) : NULL);
        set_text(&s->last_message, e ? e->message : NULL);
        if (!e)
                s->last_success = c->now;
}

static int poll(const UpdateContext *c, UpdaterState *s, Catalogue **ret, Error *reterr) {
        FetchOptions o = fetch_options(c, s);
        _cleanup_error_ Error e = {};
        int r;

        report(c, "poll", 0, 0);
        r = fetch_catalogue(&o, ret, &e);
        note_result(s, c, r < 0 ? &e : NULL);
        if (r >= 0 && !c->repositories) {
                s->mirror = (*ret)->repository;
                if ((*ret)->etag)
                        set_text(&s->timestamp_etag, (*ret)->etag);
        }
        if (r < 0) {
                /* Not being able to note that it failed is less than that it failed. */
                (void) state_save(c->state_folder, s, NULL);
                return error_move(reterr, &e);
        }
        return 0;
}

/* entry: what is to be told; when and how long are added. */
static int record(const UpdateContext *c, HistoryEntry entry, int64_t began, Error *reterr) {
        _cleanup_free_ char *boot = machine_boot_id(c->paths.root ?: "/");

        entry.boot = boot;
        entry.when = c->now;
        entry.duration_sec = (uint64_t) MAX(time(NULL) - began, 0);
        if (!c->paths.root)
                journal_write(&entry);
        return history_append(c->state_folder, &entry, reterr);
}

/* ---- what became of the last one ---- */

static int settle(const UpdateContext *c, const Machine *m, UpdaterState *s, char **ret_message, Error *reterr) {
        _cleanup_free_ char *reason = NULL, *message = NULL;
        TrialVerdict verdict = boot_judge(m, s->trial);
        const char *result;
        int r;

        if (verdict == TRIAL_NONE || verdict == TRIAL_RUNNING)
                return 0;
        if (verdict == TRIAL_BLESSED) {
                s->epoch = MAX(s->epoch, s->trial->epoch);
                result = "blessed";
                message = xasprintf("%s was updated to %s", m->product, s->trial->version);
        } else {
                reason = boot_explain_failure(m, s->trial);
                state_add_bad(s, s->trial->version, &s->trial->root_hash, reason, c->now);
                result = "fell-back";
                message = xasprintf("the update to %s failed; this is %s again. %s", s->trial->version, m->version,
                                    reason);
        }
        /* ORDER: history first. A cut between the two writes the line twice, which is better than never. */
        r = record(c,
                   (HistoryEntry){ .action = (char *) "boot",
                                   .from = s->trial->from_version,
                                   .to = s->trial->version,
                                   .result = (char *) result,
                                   .message = reason },
                   time(NULL), reterr);
        state_set_trial(s, NULL);
        if (r >= 0)
                r = state_save(c->state_folder, s, reterr);
        if (r >= 0 && ret_message)
                *ret_message = TAKE_PTR(message);
        return r;
}

/* ---- the plan ---- */

/* Whether a delta for the kernel image fits, only the digest of a file of many MiB tells. */
static void look_at_boot_entries(Plan *plan, Machine *m) {
        const ReleaseDescription *d = plan->offer ? plan->offer->description : NULL;

        for (size_t i = 0; d && i < d->n_deltas; i++)
                if (d->deltas[i].artifact == ARTIFACT_UKI) {
                        machine_read_digests(m);
                        plan_choose_ways(plan, m);
                        return;
                }
}

/* What was begun for an update that is not wanted any more is not kept for it. */
static void keep_cache(const UpdateContext *c, const Plan *plan) {
        _cleanup_free_ Sha256 *names = NULL;
        size_t n = 0;

        if (plan->outcome == PLAN_UPDATE && plan->offer)
                download_cache_names(plan->offer, &names, &n);
        download_cache_keep(c->state_folder, names, n);
}

static int prepare(const UpdateContext *c, const PlanRequest *request, UpdaterState *s, Catalogue **ret_catalogue,
                   Plan **ret_plan, Machine **ret_machine, Error *reterr) {
        _cleanup_(catalogue_freep) Catalogue *catalogue = NULL;
        _cleanup_(machine_freep) Machine *m = NULL;
        Plan *plan;
        int r;

        r = read_machine(c, &m, reterr);
        /* What has failed must be known before anything is chosen, whether sealab-settle.service ran or not. */
        if (r >= 0)
                r = settle(c, m, s, NULL, reterr);
        if (r >= 0)
                r = poll(c, s, &catalogue, reterr);
        if (r < 0)
                return r;
        plan = plan_make(m, catalogue->offers, catalogue->n_offers, s, request, SEALAB_VERSION, trusted_now(c));
        look_at_boot_entries(plan, m);
        keep_cache(c, plan);
        set_text(&s->available, plan->outcome == PLAN_UPDATE ? plan->offer->description->version : NULL);
        s->available_bytes = plan->outcome == PLAN_UPDATE ? plan->download : 0;
        s->available_at_most = plan->outcome == PLAN_UPDATE && plan->at_most;
        r = state_save(c->state_folder, s, reterr);
        if (r < 0) {
                plan_free(plan);
                return r;
        }
        *ret_catalogue = TAKE_PTR(catalogue);
        *ret_plan = plan;
        *ret_machine = TAKE_PTR(m);
        return 0;
}

int update_check(const UpdateContext *c, const PlanRequest *request, Catalogue **ret_catalogue, Plan **ret_plan,
                 Machine **ret_machine, Error *reterr) {
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_close_ int lock = -EBADF;
        int r;

        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = load_state(c, &s, reterr);
        if (r < 0)
                return r;
        return prepare(c, request, s, ret_catalogue, ret_plan, ret_machine, reterr);
}

/* ---- doing it ---- */

typedef struct Run {
        const UpdateContext *context;
        const Plan *plan;
        const Machine *machine;
        UpdaterState *state;
        FetchOptions fetch;
        Obtain obtain;
        SlotWriter *writer;
} Run;

static void run_done(Run *r) {
        slot_writer_free(r->writer);
}

static const ReleaseDescription *description(const Run *r) {
        return r->plan->offer->description;
}

static const Slot *target(const Run *r) {
        return &r->machine->slots[r->plan->slot];
}

static void obtain_progress(const char *step, uint64_t done, uint64_t total, void *userdata) {
        const Run *r = userdata;

        report(r->context, step, done, total);
}

/* Nobody has agreed to that much on a connection that is paid for by the byte. */
static int ask_about_cost(uint64_t bytes, void *userdata, Error *reterr) {
        const Run *run = userdata;
        const UpdateContext *c = run->context;
        _cleanup_free_ char *planned = format_bytes(run->plan->download), *now = format_bytes(bytes);
        _cleanup_(conditions_done) Conditions conditions = {};
        int r;

        log_warning("%s instead of %s are to be downloaded", now, planned);
        r = conditions_read(c->paths.root ?: "/", &conditions, reterr);
        if (r < 0)
                return r;
        if (c->settings->metered || !(conditions.metered || c->metered))
                return 0;
        error_set(reterr, EPERM, REFUSAL_POLICY,
                  "%s instead of %s would have to be downloaded, and the connection is metered", now, planned);
        return error_hint(reterr, "Try again on another connection, where it goes on from here; Metered=yes in "
                                  "/etc/sealab/updater.conf allows it here.");
}

static int step_write(Run *run, Error *reterr) {
        int r = slot_writer_open(run->machine->disk, target(run), description(run), &run->writer, reterr);

        return r < 0 ? r : obtain_usr(&run->obtain, run->writer, reterr);
}

static void verify_progress(uint64_t done, uint64_t total, void *userdata) {
        Run *r = userdata;

        report(r->context, "verify", done, total);
}

static int step_verify(Run *run, Error *reterr) {
        run->writer = slot_writer_free(run->writer);
        return slot_verify(run->machine->disk, target(run), &description(run)->root_hash,
                           description(run)->artifacts[ARTIFACT_USR].size, verify_progress, run, reterr);
}

/* In plain calls: on FAT nothing could be shared, and tests of power cuts follow what is written. */
static int copy_file(int from, int to, uint64_t size, Error *reterr) {
        _cleanup_free_ char *piece = xmalloc(COPY_PIECE);
        int r = 0;

        for (uint64_t at = 0; r >= 0 && at < size; at += COPY_PIECE) {
                size_t n = (size_t) MIN(size - at, (uint64_t) COPY_PIECE);

                r = io_pread_all(from, piece, n, at, reterr);
                if (r >= 0)
                        r = io_pwrite_all(to, piece, n, at, reterr);
        }
        return r;
}

/* ORDER: the trial is on record before the entry exists, so that whatever starts next is known for what it is. */
static int step_switch(Run *run, Error *reterr) {
        const ReleaseDescription *d = description(run);
        Trial trial = { .version = d->version,
                        .from_version = run->machine->version,
                        .root_hash = d->root_hash,
                        .from_root_hash = run->machine->running,
                        .epoch = d->epoch,
                        .when = run->context->now };
        uint64_t size = d->artifacts[ARTIFACT_UKI].size;
        _cleanup_close_ int uki = -EBADF, boot = -EBADF;
        int r;

        r = obtain_uki(&run->obtain, &uki, reterr);
        if (r >= 0)
                r = boot_create_temporary(run->machine, d, &boot, reterr);
        if (r >= 0)
                r = copy_file(uki, boot, size, reterr);
        if (r < 0)
                return r;
        state_set_trial(run->state, &trial);
        r = state_save(run->context->state_folder, run->state, reterr);
        if (r < 0)
                return r;
        return boot_install(run->machine, d, boot, size, (unsigned) run->context->settings->tries, reterr);
}

static int retag(Run *run, bool empty, Error *reterr) {
        const ReleaseDescription *d = description(run);

        return slot_retag(run->machine->disk, target(run), debian_architecture(run->machine), d->product, d->version,
                          empty ? NULL : &d->root_hash, reterr);
}

static int do_stamps(const UpdateContext *c, const char *version, Error *reterr) {
        int r = boot_remove_stamps(c->paths.root ?: "/", reterr);

        if (r >= 0 && !c->paths.root)
                listeners_notify(NULL, version);
        return r;
}

static int do_step(Run *run, StepKind step, Error *reterr) {
        report(run->context, step_kind_name(step), 0, 0);
        switch (step) {
        case STEP_RETIRE_ENTRY:
                return boot_retire(run->machine, target(run), reterr);
        case STEP_MARK_EMPTY:
                return retag(run, /* empty= */ true, reterr);
        case STEP_WRITE:
                return step_write(run, reterr);
        case STEP_VERIFY:
                return step_verify(run, reterr);
        case STEP_RETAG:
                return retag(run, /* empty= */ false, reterr);
        case STEP_SWITCH:
                return step_switch(run, reterr);
        case STEP_DEFAULT_ENTRY:
                return pin_go_back(run->machine, run->state, run->context->state_folder, description(run)->version,
                                   reterr);
        case STEP_STAMPS:
                return do_stamps(run->context, description(run)->version, reterr);
        default:
                return error_set(reterr, EINVAL, REFUSAL_SYSTEM, "a plan with a step that is unknown");
        }
}

static int do_steps(Run *run, size_t repository, Error *reterr) {
        run->fetch = fetch_options(run->context, run->state);
        /* Whoever had nothing good to say a moment ago is not asked first. */
        run->fetch.first = repository;
        run->fetch.answered = &run->fetch.first;
        run->obtain = (Obtain){ .fetch = &run->fetch,
                                .machine = run->machine,
                                .plan = run->plan,
                                .progress = obtain_progress,
                                .ask = ask_about_cost,
                                .userdata = run };
        for (size_t i = 0; i < run->plan->n_steps; i++) {
                int r = do_step(run, run->plan->steps[i], reterr);

                if (r < 0) {
                        error_prefix(reterr, "%s", step_kind_name(run->plan->steps[i]));
                        return r;
                }
        }
        return 0;
}

static HistoryEntry history_of(const Run *run, const Error *e) {
        const Obtain *o = &run->obtain;

        return (HistoryEntry){ .action = (char *) "update",
                               .from = run->machine->version,
                               .to = description(run)->version,
                               .result = (char *) (e ? refusal_name(e->id) : "done"),
                               .message = e ? e->message : NULL,
                               .bytes = o->downloaded,
                               .planned_bytes = run->plan->download,
                               .usr_way = (char *) (o->usr_way[0] ? o->usr_way : NULL),
                               .uki_way = (char *) (o->uki_way[0] ? o->uki_way : NULL) };
}

static int execute(const UpdateContext *c, const Plan *plan, const Machine *m, UpdaterState *s, size_t repository,
                   Error *reterr) {
        _cleanup_(run_done) Run run = { .context = c, .plan = plan, .machine = m, .state = s };
        int64_t began = time(NULL);
        _cleanup_error_ Error e = {};
        int r;

        r = do_steps(&run, repository, &e);
        if (r < 0) {
                set_text(&s->last_result, refusal_name(e.id));
                set_text(&s->last_message, e.message);
                (void) state_save(c->state_folder, s, NULL);
                (void) record(c, history_of(&run, &e), began, NULL);
                return error_move(reterr, &e);
        }
        set_text(&s->available, NULL);
        s->available_bytes = 0;
        s->available_at_most = false;
        r = state_save(c->state_folder, s, reterr);
        if (r < 0)
                return r;
        download_cache_keep(c->state_folder, NULL, 0);
        return record(c, history_of(&run, NULL), began, reterr);
}

int update_run(const UpdateContext *c, const PlanRequest *request, char **ret_message, Error *reterr) {
        _cleanup_(catalogue_freep) Catalogue *catalogue = NULL;
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_(plan_freep) Plan *plan = NULL;
        _cleanup_close_ int lock = -EBADF;
        int r;

        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = load_state(c, &s, reterr);
        if (r >= 0)
                r = prepare(c, request, s, &catalogue, &plan, &m, reterr);
        if (r < 0)
                return r;
        if (plan->outcome == PLAN_REFUSED) {
                set_text(&s->last_result, refusal_name(plan->refusal));
                set_text(&s->last_message, plan->reason);
                (void) state_save(c->state_folder, s, NULL);
                return error_set(reterr, EPERM, plan->refusal, "%s", plan->reason);
        }
        if (plan->outcome != PLAN_UPDATE) {
                /* An update that was killed right after the switch came no further than this. */
                if (plan->restart_pending)
                        r = boot_remove_stamps(c->paths.root ?: "/", reterr);
                if (r < 0)
                        return r;
                *ret_message = xstrdup(plan->reason);
                return 1;
        }
        r = execute(c, plan, m, s, catalogue->repository, reterr);
        if (r < 0)
                return r;
        *ret_message = xasprintf("%s is installed and starts with the next restart", plan->offer->description->version);
        return 0;
}

/* ---- staying and going back ---- */

int update_revert(const UpdateContext *c, char **ret_version, Error *reterr) {
        PlanRequest request = { .revert = true, .by_person = true };
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_(plan_freep) Plan *plan = NULL;
        _cleanup_close_ int lock = -EBADF;
        const char *version;
        int r;

        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = load_state(c, &s, reterr);
        if (r >= 0)
                r = read_machine(c, &m, reterr);
        if (r < 0)
                return r;
        plan = plan_make(m, NULL, 0, s, &request, SEALAB_VERSION, c->now);
        if (plan->outcome != PLAN_UPDATE)
                return error_set(reterr, ENOENT, plan->refusal, "%s", plan->reason);
        version = m->slots[plan->slot].version;
        r = pin_go_back(m, s, c->state_folder, version, reterr);
        if (r >= 0)
                r = do_stamps(c, version, reterr);
        if (r >= 0)
                r = record(c,
                           (HistoryEntry){ .action = (char *) "revert",
                                           .from = m->version,
                                           .to = (char *) version,
                                           .result = (char *) "done" },
                           time(NULL), reterr);
        if (r < 0)
                return r;
        *ret_version = xstrdup(version);
        return 0;
}

static int change_pin(const UpdateContext *c, bool pinned, const char *version, char **ret_called_off, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_free_ char *called_off = NULL;
        _cleanup_close_ int lock = -EBADF;
        int r;

        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = load_state(c, &s, reterr);
        if (r >= 0)
                r = read_machine(c, &m, reterr);
        if (r < 0)
                return r;
        r = pinned ? pin_set(m, s, c->state_folder, version ?: m->version, &called_off, reterr)
                   : pin_lift(m, s, c->state_folder, reterr);
        if (r >= 0)
                r = record(c,
                           (HistoryEntry){ .action = (char *) (pinned ? "pin" : "unpin"),
                                           .from = m->version,
                                           .to = s->pin,
                                           .result = (char *) "done" },
                           time(NULL), reterr);
        if (r >= 0 && ret_called_off)
                *ret_called_off = TAKE_PTR(called_off);
        return r;
}

int update_pin(const UpdateContext *c, const char *version, char **ret_called_off, Error *reterr) {
        return change_pin(c, true, version, ret_called_off, reterr);
}

int update_unpin(const UpdateContext *c, Error *reterr) {
        return change_pin(c, false, NULL, NULL, reterr);
}

/* ---- looking ---- */

static void plain_progress(uint64_t done, uint64_t total, void *userdata) {
        const UpdateContext *c = userdata;

        report(c, "verify", done, total);
}

int update_verify(const UpdateContext *c, bool all, json_t **ret, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_json_ json_t *list = json_array();
        _cleanup_error_ Error first = {};
        int r;

        r = machine_read(&c->paths, &m, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < m->n_slots; i++) {
                const Slot *slot = &m->slots[i];
                _cleanup_error_ Error e = {};
                uint64_t size = 0;
                json_t *o;

                if (!slot->has_root_hash || (!all && !slot->running))
                        continue;
                r = slot_data_size(m->disk, slot, &size, &e);
                if (r >= 0)
                        r = slot_verify(m->disk, slot, &slot->root_hash, size, plain_progress, (void *) c, &e);
                o = json_pack("{s:s, s:b, s:b, s:o}", "version", slot->version ?: "", "running", slot->running, "good",
                              r >= 0, "message", json_text(r < 0 ? e.message : NULL));
                json_array_append_new(list, o);
                if (r < 0 && first.id == REFUSAL_NONE)
                        error_move(&first, &e);
        }
        *ret = TAKE_PTR(list);
        return first.id == REFUSAL_NONE ? 0 : error_move(reterr, &first);
}

int update_settle(const UpdateContext *c, char **ret_message, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_close_ int lock = -EBADF;
        int r;

        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = load_state(c, &s, reterr);
        if (r >= 0)
                r = read_machine(c, &m, reterr);
        return r < 0 ? r : settle(c, m, s, ret_message, reterr);
}

int update_status(const UpdateContext *c, json_t **ret, Error *reterr) {
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_json_ json_t *o = NULL;
        int r;

        r = machine_read(&c->paths, &m, reterr);
        if (r >= 0)
                r = load_state(c, &s, reterr);
        if (r < 0)
                return r;
        o = machine_to_json(m);
        json_object_set_new(o, "channel", json_string(c->settings->channel));
        json_object_set_new(o, "repositories", json_from_strv(c->settings->repositories));
        json_object_set_new(o, "automatic", json_boolean(c->settings->automatic));
        json_object_set_new(o, "restartNeeded",
                            json_boolean(pin_waiting_trial(m, s) || (s->reverted && !streq_ptr(s->pin, m->version))));
        json_object_set_new(o, "state", state_to_json(s));
        *ret = TAKE_PTR(o);
        return 0;
}
