/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <time.h>

#include "plan.h"
#include "version.h"

/* What FAT takes for a file beyond its bytes: clusters, a folder that grows. */
#define BOOT_RESERVE (UINT64_C(1) << 20)

static const char *const step_names[_STEP_KIND_MAX] = {
        [STEP_RETIRE_ENTRY] = "retire", [STEP_MARK_EMPTY] = "mark-empty", [STEP_WRITE] = "write",
        [STEP_VERIFY] = "verify",       [STEP_RETAG] = "retag",           [STEP_SWITCH] = "switch",
        [STEP_STAMPS] = "stamps",       [STEP_DEFAULT_ENTRY] = "default",
};

static const char *const step_texts[_STEP_KIND_MAX] = {
        [STEP_RETIRE_ENTRY] = "take the entry of the other slot out of the boot menu",
        [STEP_MARK_EMPTY] = "mark the other slot as empty",
        [STEP_WRITE] = "write /usr, its hash tree and its signature into the slot",
        [STEP_VERIFY] = "read the slot back from the disk and compare it with the signed root hash",
        [STEP_RETAG] = "give the slot's partitions the name and ids of the new version",
        [STEP_SWITCH] = "put the new version's kernel image into the boot menu, with its tries",
        [STEP_STAMPS] = "let systemd know that /usr will change",
        [STEP_DEFAULT_ENTRY] = "make the other version the one that starts",
};

const char *step_kind_name(StepKind k) {
        return k < _STEP_KIND_MAX ? step_names[k] : "unknown";
}

const char *way_name(UpdateWay w) {
        static const char *const names[_UPDATE_WAY_MAX] = { "full", "reuse", "delta" };

        return w < _UPDATE_WAY_MAX ? names[w] : "unknown";
}

Plan *plan_free(Plan *p) {
        if (!p)
                return NULL;
        free(p->reason);
        strv_free(p->notes);
        free(p);
        return NULL;
}

/* ---- answers ---- */

static void answer(Plan *p, PlanOutcome outcome, Refusal refusal, const char *fmt, ...) _printf_(4, 5);
static void answer(Plan *p, PlanOutcome outcome, Refusal refusal, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        free(p->reason);
        p->reason = xvasprintf(fmt, ap);
        va_end(ap);
        p->outcome = outcome;
        p->refusal = refusal;
}

static void note(Plan *p, const Offer *o, const char *why) {
        strv_extendf(&p->notes, "%s is passed over: %s", o->description->version, why);
}

static char *format_time(int64_t t) {
        time_t seconds = (time_t) t;
        struct tm tm;
        char text[32];

        if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &tm) == 0)
                return xstrdup("a time beyond the calendar");
        return xstrdup(text);
}

/* ---- rules about one release ---- */

typedef struct Judge {
        const Machine *machine;
        const UpdaterState *state;
        const PlanRequest *request;
        const char *updater_version;
        int64_t now;
        bool named;   /* a person asked for this very version, now or by a pin */
        bool insists; /* now */
} Judge;

/* REFUSAL_NONE, or why this release may not be taken; *ret_why is a clause that follows "VERSION ". */
static Refusal judge_release(const Judge *j, const ReleaseDescription *d, char **ret_why) {
        const Machine *m = j->machine;
        int order = version_compare(d->version, m->version);

        if (!streq(d->product, m->product) || !streq(d->architecture, m->architecture)) {
                *ret_why = xasprintf("is for %s on %s, this machine is %s on %s", d->product, d->architecture,
                                     m->product, m->architecture);
                return REFUSAL_BAD_VALUE;
        }
        if (d->withdrawn) {
                *ret_why = xasprintf("was withdrawn: %s", d->withdrawn);
                return REFUSAL_WITHDRAWN;
        }
        if (!description_supports(d, j->updater_version)) {
                *ret_why = xasprintf("needs an updater of version %s, this one is %s", d->minimum_updater,
                                     j->updater_version);
                return REFUSAL_UPDATER;
        }
        if (d->epoch < j->state->epoch) {
                *ret_why = xasprintf("has security epoch %" PRIu64 ", this machine has already been at %" PRIu64,
                                     d->epoch, j->state->epoch);
                return REFUSAL_ROLLBACK;
        }
        if (order == 0 && !sha256_equal(&d->root_hash, &m->running)) {
                *ret_why = xstrdup("is what runs here, but with other content under the same number");
                return REFUSAL_DIFFERENT;
        }
        if (order < 0 && !j->named) {
                *ret_why = xasprintf("is older than what runs (%s)", m->version);
                return REFUSAL_ROLLBACK;
        }
        /* A pin is not asked again after its version has failed: without this the machine would try it every night. */
        if (!j->insists && state_is_bad(j->state, &d->root_hash)) {
                *ret_why = xstrdup("failed its trial on this machine");
                return REFUSAL_KNOWN_BAD;
        }
        return REFUSAL_NONE;
}

/* ---- room ---- */

/* What removing the target slot's own entries will give back. */
static uint64_t retired_size(const Machine *m, const Slot *slot) {
        uint64_t size = 0;

        for (size_t i = 0; i < m->n_entries; i++) {
                const BootEntry *e = &m->entries[i];
                bool of_slot =
                        (slot->version && streq_ptr(e->version, slot->version)) ||
                        (slot->has_root_hash && e->has_root_hash && sha256_equal(&e->root_hash, &slot->root_hash));
                bool of_running = e->has_root_hash && sha256_equal(&e->root_hash, &m->running);

                if (of_slot && !of_running)
                        size += e->size;
        }
        return size;
}

static bool has_room(Plan *p, const Machine *m, const Slot *slot, const ReleaseDescription *d) {
        const Artifact *usr = &d->artifacts[ARTIFACT_USR], *uki = &d->artifacts[ARTIFACT_UKI];
        uint64_t boot_room = m->boot_free + retired_size(m, slot), boot_needed = uki->size + BOOT_RESERVE;

        if (usr->size > slot->usr.size || d->verity_size > slot->verity.size) {
                _cleanup_free_ char *needed = format_bytes(usr->size + d->verity_size),
                                    *there = format_bytes(slot->usr.size + slot->verity.size);

                answer(p, PLAN_REFUSED, REFUSAL_NO_SPACE,
                       "%s needs %s in a slot, this machine's slots have %s: the partitions were made too small",
                       d->version, needed, there);
                return false;
        }
        if (boot_needed > boot_room) {
                _cleanup_free_ char *needed = format_bytes(boot_needed), *there = format_bytes(boot_room);

                answer(p, PLAN_REFUSED, REFUSAL_NO_SPACE,
                       "%s needs %s on %s, where %s are free or will be: remove what does not belong there", d->version,
                       needed, m->boot, there);
                return false;
        }
        return true;
}

/* ---- the choice ---- */

static void add_step(Plan *p, StepKind k) {
        p->steps[p->n_steps++] = k;
}

/* The other slots that hold something: blocks of them can be used, and a delta may begin there. */
static bool slot_is_source(const Plan *p, const Machine *m, size_t i) {
        return i != p->slot && m->slots[i].has_root_hash && !m->slots[i].empty;
}

static bool usr_delta_fits(Plan *p, const Machine *m, const ArtifactDelta *d) {
        for (size_t i = 0; i < m->n_slots; i++)
                if (slot_is_source(p, m, i) && sha256_equal(&m->slots[i].root_hash, &d->from_id)) {
                        p->usr_from = i;
                        return true;
                }
        return false;
}

/* Only the entry that runs stays where it is all the time. */
static bool uki_delta_fits(Plan *p, const Machine *m, const ArtifactDelta *d) {
        for (size_t i = 0; i < m->n_entries; i++) {
                const BootEntry *e = &m->entries[i];

                if (e->has_root_hash && sha256_equal(&e->root_hash, &m->running) && e->has_sha256 &&
                    sha256_equal(&e->sha256, &d->from_id)) {
                        p->uki_from = i;
                        return true;
                }
        }
        return false;
}

/* The smallest delta that fits and is smaller than what it is compared with. */
static uint64_t choose_delta(const Offer *o, ArtifactKind artifact, uint64_t otherwise, Plan *p, const Machine *m,
                             bool (*fits)(Plan *p, const Machine *m, const ArtifactDelta *d), size_t *ret) {
        uint64_t best = otherwise;

        for (size_t i = 0; i < o->description->n_deltas; i++)
                if (o->description->deltas[i].artifact == artifact && o->delta_download[i] < best &&
                    fits(p, m, &o->description->deltas[i])) {
                        best = o->delta_download[i];
                        *ret = i;
                }
        return best;
}

/* Maps say how much less than all of it is to be fetched: what is planned is the most that it can be. */
static uint64_t choose_usr(Plan *p, const Machine *m) {
        const Offer *o = p->offer;
        uint64_t full = o->download[ARTIFACT_USR] + o->download[ARTIFACT_USR_INDEX],
                 usr = choose_delta(o, ARTIFACT_USR, full, p, m, usr_delta_fits, &p->usr_delta);

        p->usr_way = usr < full ? WAY_DELTA : WAY_FULL;
        for (size_t i = 0; p->usr_way == WAY_FULL && i < m->n_slots; i++)
                if (o->description->artifacts[ARTIFACT_USR_MAP].present && slot_is_source(p, m, i))
                        p->usr_way = WAY_REUSE;
        return p->usr_way == WAY_REUSE ? usr + o->download[ARTIFACT_USR_MAP] : usr;
}

static uint64_t choose_uki(Plan *p, const Machine *m) {
        const Offer *o = p->offer;
        uint64_t full = o->download[ARTIFACT_UKI],
                 uki = choose_delta(o, ARTIFACT_UKI, full, p, m, uki_delta_fits, &p->uki_delta);

        p->uki_way = uki < full ? WAY_DELTA : WAY_FULL;
        if (p->uki_way == WAY_FULL && o->description->artifacts[ARTIFACT_UKI_MAP].present &&
            machine_entry_of_root_hash(m, &m->running))
                p->uki_way = WAY_REUSE;
        return p->uki_way == WAY_REUSE ? uki + o->download[ARTIFACT_UKI_MAP] : uki;
}

void plan_choose_ways(Plan *p, const Machine *m) {
        if (!p->offer || p->write == 0)
                return;
        p->uki_download = choose_uki(p, m);
        p->download = choose_usr(p, m) + p->uki_download + p->offer->download[ARTIFACT_VERITY_SIG];
        p->at_most = p->usr_way == WAY_REUSE || p->uki_way == WAY_REUSE;
}

static void plan_update(Plan *p, const Machine *m, const Slot *slot, const Offer *o) {
        const ReleaseDescription *d = o->description;

        p->outcome = PLAN_UPDATE;
        p->refusal = REFUSAL_NONE;
        p->offer = o;
        p->slot = (size_t) (slot - m->slots);
        for (ArtifactKind k = 0; k < _ARTIFACT_KIND_MAX; k++)
                p->download += o->download[k];
        p->write = d->artifacts[ARTIFACT_USR].size + d->verity_size + d->artifacts[ARTIFACT_UKI].size;
        add_step(p, STEP_RETIRE_ENTRY);
        if (!slot->empty)
                add_step(p, STEP_MARK_EMPTY);
        add_step(p, STEP_WRITE);
        add_step(p, STEP_VERIFY);
        add_step(p, STEP_RETAG);
        add_step(p, STEP_SWITCH);
        /* The boot loader starts the newest one by itself. */
        if (version_compare(d->version, m->version) < 0)
                add_step(p, STEP_DEFAULT_ENTRY);
        add_step(p, STEP_STAMPS);
        plan_choose_ways(p, m);
        free(p->reason);
        p->reason = xasprintf("from %s to %s", m->version, d->version);
}

/* True if the release is in another slot as it should be, with an entry that is yet to be tried or is known to be good:
 * writing it again would only take away what the machine could fall back to. */
static bool consider_installed(Plan *p, const Judge *j, const Offer *o) {
        const ReleaseDescription *d = o->description;
        const UpdaterState *s = j->state;
        const BootEntry *e = machine_entry_of_root_hash(j->machine, &d->root_hash);
        const Slot *slot = NULL;

        for (size_t i = 0; i < j->machine->n_slots; i++)
                if (j->machine->slots[i].has_root_hash && sha256_equal(&j->machine->slots[i].root_hash, &d->root_hash))
                        slot = &j->machine->slots[i];
        if (!slot || !e || (e->counted && e->left == 0) ||
            (e->counted && !(s->trial && sha256_equal(&s->trial->root_hash, &d->root_hash))))
                return false;
        if (version_compare(d->version, j->machine->version) > 0) {
                p->restart_pending = true;
                answer(p, PLAN_NOTHING, REFUSAL_NONE, "%s is installed and starts with the next restart", d->version);
                return true;
        }
        answer(p, PLAN_UPDATE, REFUSAL_NONE, "from %s back to %s", j->machine->version, d->version);
        p->offer = o;
        p->slot = (size_t) (slot - j->machine->slots);
        add_step(p, STEP_DEFAULT_ENTRY);
        add_step(p, STEP_STAMPS);
        return true;
}

/* True if the search ends with this release, well or badly. */
static bool consider(Plan *p, const Judge *j, const Offer *o) {
        const ReleaseDescription *d = o->description;
        _cleanup_free_ char *why = NULL;
        const Slot *slot;
        Refusal refusal;

        if (sha256_equal(&d->root_hash, &j->machine->running)) {
                if (p->outcome != PLAN_WAIT)
                        answer(p, PLAN_NOTHING, REFUSAL_NONE, "%s is up to date with %s", j->machine->product,
                               d->version);
                return true;
        }
        refusal = judge_release(j, d, &why);
        if (refusal != REFUSAL_NONE) {
                if (j->named) {
                        answer(p, PLAN_REFUSED, refusal, "%s %s", d->version, why);
                        return true;
                }
                /* What is older than the running version was not expected to be taken; a line for each would hide the
                 * others. */
                if (version_compare(d->version, j->machine->version) >= 0 || j->request->version)
                        note(p, o, why);
                return false;
        }
        if (consider_installed(p, j, o))
                return true;
        if (!j->named && !d->critical && !rollout_includes(&d->rollout, j->machine->machine_id, j->now)) {
                int64_t turn = rollout_turn(&d->rollout, j->machine->machine_id);

                note(p, o, "its rollout has not reached this machine yet");
                if (p->outcome != PLAN_WAIT) {
                        _cleanup_free_ char *when = turn == INT64_MAX ? NULL : format_time(turn);

                        answer(p, PLAN_WAIT, REFUSAL_NONE, "%s is being rolled out; this machine's turn %s%s",
                               d->version, when ? "is on " : "has not been set", when ?: "");
                        p->until = turn;
                }
                return false;
        }
        slot = machine_target_slot(j->machine);
        if (!slot) {
                answer(p, PLAN_REFUSED, REFUSAL_MACHINE,
                       "no slot can be written: the one that does not run holds the only version known to start");
                return true;
        }
        if (has_room(p, j->machine, slot, d))
                plan_update(p, j->machine, slot, o);
        return true;
}

static bool pin_allows(Plan *p, const Machine *m, const UpdaterState *s, const PlanRequest *request,
                       const char **ret_version) {
        const char *pin = s->pin ?: m->version;

        *ret_version = request->version;
        if (!s->pinned)
                return true;
        if (request->version && !streq(request->version, pin)) {
                answer(p, PLAN_REFUSED, REFUSAL_PINNED, "this machine is pinned to %s; \"sealabctl unpin\" lifts that",
                       pin);
                return false;
        }
        if (s->reverted && !streq(pin, m->version) && machine_slot_of_version(m, pin)) {
                p->restart_pending = true;
                answer(p, PLAN_NOTHING, REFUSAL_NONE, "%s is in the other slot and starts with the next restart", pin);
                return false;
        }
        if (streq(pin, m->version)) {
                answer(p, PLAN_NOTHING, REFUSAL_NONE, "this machine is pinned to %s, which runs", pin);
                return false;
        }
        *ret_version = pin;
        return true;
}

static void plan_revert(Plan *p, const Machine *m, const UpdaterState *s, const PlanRequest *request) {
        for (size_t i = 0; i < m->n_slots; i++) {
                const Slot *slot = &m->slots[i];
                const BootEntry *e = slot->has_root_hash ? machine_entry_of_root_hash(m, &slot->root_hash) : NULL;

                if (slot->running || slot->empty || !e || e->counted ||
                    (request->version && !streq_ptr(slot->version, request->version)))
                        continue;
                p->outcome = PLAN_UPDATE;
                p->slot = i;
                add_step(p, STEP_DEFAULT_ENTRY);
                add_step(p, STEP_STAMPS);
                free(p->reason);
                p->reason = xasprintf("from %s back to %s", m->version, slot->version);
                return;
        }
        answer(p, PLAN_REFUSED, REFUSAL_NOT_FOUND, "%s%s is in no other slot with an entry that is known to start",
               request->version ? "" : "another version", request->version ?: "");
}

Plan *plan_make(const Machine *m, const Offer *offers, size_t n_offers, const UpdaterState *s,
                const PlanRequest *request, const char *updater_version, int64_t now) {
        Judge j = { .machine = m, .state = s, .request = request, .updater_version = updater_version, .now = now };
        Plan *p = xnew(Plan, 1);
        const char *version;

        answer(p, PLAN_NOTHING, REFUSAL_NONE, "nothing newer than %s is on offer", m->version);
        if (!machine_running_slot(m)) {
                answer(p, PLAN_REFUSED, REFUSAL_MACHINE, "the running /usr is in none of this disk's slots");
                return p;
        }
        if (request->revert) {
                plan_revert(p, m, s, request);
                return p;
        }
        if (!pin_allows(p, m, s, request, &version))
                return p;
        j.named = version && (request->by_person || s->pinned);
        j.insists = request->version && request->by_person;
        for (size_t i = 0; i < n_offers; i++) {
                if (version && !streq(offers[i].description->version, version))
                        continue;
                if (consider(p, &j, &offers[i]))
                        return p;
        }
        if (version && p->outcome == PLAN_NOTHING && strv_length(p->notes) == 0)
                answer(p, PLAN_REFUSED, REFUSAL_NOT_FOUND, "%s %s is not on offer in this channel", m->product,
                       version);
        return p;
}

/* ---- for people ---- */

static const char *outcome_name(PlanOutcome o) {
        static const char *const names[] = {
                [PLAN_UPDATE] = "update", [PLAN_NOTHING] = "nothing", [PLAN_WAIT] = "wait", [PLAN_REFUSED] = "refused"
        };

        return names[o];
}

json_t *plan_to_json(const Plan *p, const Machine *m) {
        bool update = p->outcome == PLAN_UPDATE, writes = update && p->write > 0;
        const char slot[] = { (char) ('A' + p->slot), 0 };
        const char *to = !update ? NULL : p->offer ? p->offer->description->version : m->slots[p->slot].version;
        json_t *steps = json_array();

        for (size_t i = 0; i < p->n_steps; i++)
                json_array_append_new(steps, json_string(step_kind_name(p->steps[i])));
        return json_pack("{s:s, s:o, s:s?, s:o, s:s?, s:s?, s:s?, s:I, s:b, s:s?, s:s?, s:I, s:o, s:o}", "outcome",
                         outcome_name(p->outcome), "reason", json_text(p->reason ?: ""), "refusal",
                         p->outcome == PLAN_REFUSED ? refusal_name(p->refusal) : NULL, "until",
                         p->outcome == PLAN_WAIT && p->until != INT64_MAX ? json_integer(p->until) : json_null(),
                         "from", update ? m->version : NULL, "to", to, "slot", update ? slot : NULL, "downloadBytes",
                         (json_int_t) p->download, "atMost", p->at_most, "usrWay", writes ? way_name(p->usr_way) : NULL,
                         "ukiWay", writes ? way_name(p->uki_way) : NULL, "writeBytes", (json_int_t) p->write, "steps",
                         steps, "notes", json_from_strv(p->notes));
}

static const char *way_text(const Plan *p) {
        static const char *const with_delta[_UPDATE_WAY_MAX] = {
                [WAY_FULL] = " (delta, whole kernel image)",
                [WAY_REUSE] = " (delta; less what is here already of the kernel image)",
                [WAY_DELTA] = " (deltas)",
        };

        if (p->usr_way == WAY_DELTA)
                return with_delta[p->uki_way];
        return p->at_most ? " (less what is here already)" : "";
}

char *plan_describe(const Plan *p, const Machine *m) {
        _cleanup_buffer_ Buffer b = {};

        buffer_printf(&b, "%s: %s\n", outcome_name(p->outcome), p->reason ?: "");
        if (p->outcome == PLAN_UPDATE && p->offer) {
                _cleanup_free_ char *download = format_bytes(p->download), *written = format_bytes(p->write);

                buffer_printf(&b, "  %s%s to download%s, %s to write into slot %c\n", p->at_most ? "at most " : "",
                              download, way_text(p), written, (char) ('A' + p->slot));
        }
        for (size_t i = 0; i < p->n_steps; i++)
                buffer_printf(&b, "  %zu. %s\n", i + 1, step_texts[p->steps[i]]);
        STRV_FOREACH (s, p->notes)
                buffer_printf(&b, "  %s\n", *s);
        return buffer_steal(&b);
}
