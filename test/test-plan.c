/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "plan.h"

#define NOW INT64_C(1795255200)
#define MIB (UINT64_C(1) << 20)

/* ---- situations ---- */

/* The other slot of a machine that runs version 2 from its first. */
typedef enum Other { OTHER_EMPTY, OTHER_OLD, OTHER_TRIED, OTHER_FOREIGN, OTHER_RUNNING_TOO, OTHER_SMALL } Other;

typedef struct Release {
        const char *version; /* NULL: no more of them. Its content follows from that, and from content */
        const char *content;
        uint64_t epoch;
        const char *withdrawn, *minimum_updater, *product, *architecture;
        bool critical;
        uint64_t initial, per_day;
        int64_t start;
        bool staged; /* the rollout is as given; otherwise everybody */
        uint64_t usr_size, uki_size;
} Release;

typedef struct Entry {
        const char *version; /* content as that of the version */
        bool counted;
        unsigned left, done;
} Entry;

typedef struct Situation {
        const char *name;
        Release offers[5];
        Other other;
        Entry entries[4]; /* beside the blessed one of version 2 */
        bool unblessed;   /* what runs is itself on trial */
        uint64_t boot_free;
        uint64_t epoch;
        bool pinned, reverted;
        const char *pin, *trial, *bad;
        const char *version; /* of the request */
        bool by_person, revert;
        PlanOutcome outcome;
        Refusal refusal;
        const char *target; /* the version that is taken */
        const char *steps;  /* the first letters of their names, NULL: not looked at */
        bool restart_pending;
        size_t notes;
} Situation;

static Sha256 content_hash(const char *content) {
        Sha256 h;

        sha256_buffer(content, strlen(content), &h);
        return h;
}

static ReleaseDescription *make_description(const Release *r) {
        ReleaseDescription *d = xnew(ReleaseDescription, 1);

        d->product = xstrdup(r->product ?: "desk");
        d->architecture = xstrdup(r->architecture ?: "x86-64");
        d->version = xstrdup(r->version);
        d->epoch = r->epoch;
        d->root_hash = content_hash(r->content ?: r->version);
        d->verity_size = 65536;
        d->minimum_updater = xstrdup(r->minimum_updater ?: "0.1.0");
        d->withdrawn = xstrdup(r->withdrawn);
        d->critical = r->critical;
        d->rollout = r->staged ? (Rollout){ .start = r->start, .initial = r->initial, .per_day = r->per_day }
                               : ROLLOUT_EVERYBODY;
        d->artifacts[ARTIFACT_USR] = (Artifact){ .present = true, .size = r->usr_size ?: 8 * MIB };
        d->artifacts[ARTIFACT_UKI] = (Artifact){ .present = true, .size = r->uki_size ?: MIB };
        return d;
}

static void add_entry(Machine *m, const Entry *e) {
        m->entries[m->n_entries++] =
                (BootEntry){ .file = xasprintf("desk_%s%s.efi", e->version, e->counted ? "+n" : ""),
                             .version = xstrdup(e->version),
                             .counted = e->counted,
                             .left = e->left,
                             .done = e->done,
                             .size = MIB,
                             .has_root_hash = true,
                             .root_hash = content_hash(e->version) };
}

static Slot make_slot(const char *version, bool running) {
        return (Slot){ .usr = { .size = 64 * MIB },
                       .verity = { .size = MIB },
                       .sig = { .size = MIB },
                       .version = xstrdup(version),
                       .has_root_hash = true,
                       .root_hash = content_hash(version),
                       .running = running };
}

static Machine *make_machine(const Situation *s) {
        Machine *m = xnew(Machine, 1);

        m->product = xstrdup("desk");
        m->version = xstrdup("2");
        m->architecture = xstrdup("x86-64");
        m->root = xstrdup("/");
        m->disk = xstrdup("/dev/none");
        m->boot = xstrdup("/efi");
        strcpy(m->machine_id, "0123456789abcdef0123456789abcdef");
        m->running = content_hash("2");
        m->entry_blessed = !s->unblessed;
        m->boot_free = s->boot_free ?: 64 * MIB;
        m->n_slots = 2;
        m->slots[0] = make_slot("2", true);
        m->slots[1] = make_slot(s->other == OTHER_TRIED ? "3" : "1", s->other == OTHER_RUNNING_TOO);
        if (s->other == OTHER_EMPTY || s->other == OTHER_SMALL || s->other == OTHER_FOREIGN) {
                free(TAKE_PTR(m->slots[1].version));
                m->slots[1].empty = s->other != OTHER_FOREIGN;
                m->slots[1].has_root_hash = false;
        }
        if (s->other == OTHER_SMALL)
                m->slots[1].usr.size = MIB;
        add_entry(m, &(Entry){ .version = "2", .counted = s->unblessed, .left = 2, .done = 1 });
        for (size_t i = 0; i < ELEMENTSOF(s->entries) && s->entries[i].version; i++)
                add_entry(m, &s->entries[i]);
        return m;
}

static UpdaterState *make_state(const Situation *s) {
        UpdaterState *u = xnew(UpdaterState, 1);

        u->epoch = s->epoch;
        u->pinned = s->pinned;
        u->pin = xstrdup(s->pin);
        u->reverted = s->reverted;
        if (s->trial) {
                Trial t = { .version = (char *) s->trial,
                            .from_version = (char *) "2",
                            .root_hash = content_hash(s->trial),
                            .from_root_hash = content_hash("2") };

                state_set_trial(u, &t);
        }
        if (s->bad) {
                Sha256 h = content_hash(s->bad);

                state_add_bad(u, s->bad, &h, "did not start", NOW);
        }
        return u;
}

#define ALL_STEPS "rwvrss"
#define WITH_EMPTY "rmwvrss"

static const Release new_3 = { .version = "3" };

#define OFFER(v, ...)                                                                                                  \
        { .version = v, __VA_ARGS__ }
#define BLESSED(v)                                                                                                     \
        { .version = v }
#define COUNTED(v, l, d)                                                                                               \
        { .version = v, .counted = true, .left = l, .done = d }

static const Situation situations[] = {
        /* Nothing special. */
        { "nothing on offer", .outcome = PLAN_NOTHING },
        { "only what runs", { OFFER("2") }, .outcome = PLAN_NOTHING },
        { "only older ones", { OFFER("1"), OFFER("0") }, .outcome = PLAN_NOTHING },
        { "a newer one into the empty slot",
          { OFFER("3") },
          .outcome = PLAN_UPDATE,
          .target = "3",
          .steps = ALL_STEPS },
        { "a newer one over the old one",
          { OFFER("3"), OFFER("2"), OFFER("1") },
          OTHER_OLD,
          { BLESSED("1") },
          .outcome = PLAN_UPDATE,
          .target = "3",
          .steps = WITH_EMPTY },
        { "the newest of several", { OFFER("5"), OFFER("4"), OFFER("3") }, .outcome = PLAN_UPDATE, .target = "5" },
        { "ten is more than nine", { OFFER("10"), OFFER("9") }, .outcome = PLAN_UPDATE, .target = "10" },
        /* Foreign ones. */
        { "another product", { OFFER("3", .product = "server") }, .outcome = PLAN_NOTHING, .notes = 1 },
        { "another architecture", { OFFER("3", .architecture = "arm64") }, .outcome = PLAN_NOTHING, .notes = 1 },
        { "another product before ours",
          { OFFER("4", .product = "server"), OFFER("3") },
          .outcome = PLAN_UPDATE,
          .target = "3",
          .notes = 1 },
        { "another product by name",
          { OFFER("3", .product = "server") },
          .version = "3",
          .by_person = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_BAD_VALUE },
        { "the running number with other content", { OFFER("2", "other") }, .outcome = PLAN_NOTHING, .notes = 1 },
        { "the running number with other content, by name",
          { OFFER("2", "other") },
          .version = "2",
          .by_person = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_DIFFERENT },
        { "the running content under another number", { OFFER("3", "2") }, .outcome = PLAN_NOTHING },
        /* Withdrawn. */
        { "withdrawn", { OFFER("3", .withdrawn = "eats files") }, .outcome = PLAN_NOTHING, .notes = 1 },
        { "withdrawn, one before it",
          { OFFER("4", .withdrawn = "eats files"), OFFER("3") },
          .outcome = PLAN_UPDATE,
          .target = "3",
          .notes = 1 },
        { "withdrawn, by name",
          { OFFER("3", .withdrawn = "eats files") },
          .version = "3",
          .by_person = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_WITHDRAWN },
        { "withdrawn and critical",
          { OFFER("3", .withdrawn = "eats files", .critical = true) },
          .outcome = PLAN_NOTHING,
          .notes = 1 },
        { "what runs was withdrawn: nothing older by itself",
          { OFFER("2", .withdrawn = "eats files"), OFFER("1") },
          .outcome = PLAN_NOTHING },
        /* The updater's own version. */
        { "for a newer updater", { OFFER("3", .minimum_updater = "99") }, .outcome = PLAN_NOTHING, .notes = 1 },
        { "for a newer updater, a step on the way",
          { OFFER("4", .minimum_updater = "99"), OFFER("3") },
          .outcome = PLAN_UPDATE,
          .target = "3",
          .notes = 1 },
        { "for a newer updater, by name",
          { OFFER("3", .minimum_updater = "99") },
          .version = "3",
          .by_person = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_UPDATER },
        /* The floor. */
        { "below the floor", { OFFER("3", .epoch = 1) }, .epoch = 2, .outcome = PLAN_NOTHING, .notes = 1 },
        { "at the floor", { OFFER("3", .epoch = 2) }, .epoch = 2, .outcome = PLAN_UPDATE, .target = "3" },
        { "above the floor", { OFFER("3", .epoch = 3) }, .epoch = 2, .outcome = PLAN_UPDATE, .target = "3" },
        { "below the floor, by name",
          { OFFER("1", .epoch = 1) },
          .epoch = 2,
          .version = "1",
          .by_person = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_ROLLBACK },
        { "below the floor, by a pin",
          { OFFER("1", .epoch = 1) },
          .epoch = 2,
          .pinned = true,
          .pin = "1",
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_ROLLBACK },
        { "below the floor and critical",
          { OFFER("3", .epoch = 1, .critical = true) },
          .epoch = 2,
          .outcome = PLAN_NOTHING,
          .notes = 1 },
        /* Older ones. */
        { "an older one by name becomes the default",
          { OFFER("2"), OFFER("1") },
          .version = "1",
          .by_person = true,
          .outcome = PLAN_UPDATE,
          .target = "1",
          .steps = "rwvrsds" },
        { "an older one by name, not by a person",
          { OFFER("2"), OFFER("1") },
          .version = "1",
          .outcome = PLAN_NOTHING,
          .notes = 1 },
        { "an older one that is there is not written again",
          { OFFER("2"), OFFER("1") },
          OTHER_OLD,
          { BLESSED("1") },
          .version = "1",
          .by_person = true,
          .outcome = PLAN_UPDATE,
          .target = "1",
          .steps = "ds" },
        { "an older one that is there without an entry is written again",
          { OFFER("2"), OFFER("1") },
          OTHER_OLD,
          .version = "1",
          .by_person = true,
          .outcome = PLAN_UPDATE,
          .target = "1",
          .steps = "rmwvrsds" },
        { "an older one that failed there is written again",
          { OFFER("2"), OFFER("1") },
          OTHER_OLD,
          { COUNTED("1", 0, 3) },
          .version = "1",
          .by_person = true,
          .outcome = PLAN_UPDATE,
          .target = "1",
          .steps = "rmwvrsds" },
        { "what is not on offer, by name",
          { OFFER("3") },
          .version = "7",
          .by_person = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NOT_FOUND },
        { "what runs, by name", { OFFER("2") }, .version = "2", .by_person = true, .outcome = PLAN_NOTHING },
        /* Known bad. */
        { "known bad", { OFFER("3") }, .bad = "3", .outcome = PLAN_NOTHING, .notes = 1 },
        { "known bad, a newer one", { OFFER("4"), OFFER("3") }, .bad = "3", .outcome = PLAN_UPDATE, .target = "4" },
        { "known bad, one before it",
          { OFFER("4"), OFFER("3") },
          .bad = "4",
          .outcome = PLAN_UPDATE,
          .target = "3",
          .notes = 1 },
        { "known bad, by a person",
          { OFFER("3") },
          .bad = "3",
          .version = "3",
          .by_person = true,
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "known bad, by a pin from earlier",
          { OFFER("3") },
          .bad = "3",
          .pinned = true,
          .pin = "3",
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_KNOWN_BAD },
        { "known bad number with other content",
          { OFFER("3", "better") },
          .bad = "3",
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "known bad and critical", { OFFER("3", .critical = true) }, .bad = "3", .outcome = PLAN_NOTHING, .notes = 1 },
        { "known bad and withdrawn",
          { OFFER("3", .withdrawn = "x") },
          .bad = "3",
          .outcome = PLAN_NOTHING,
          .notes = 1 },
        /* Rollouts. */
        { "a rollout that has not begun",
          { OFFER("3", .staged = true, .start = NOW + 100, .initial = ROLLOUT_WHOLE) },
          .outcome = PLAN_WAIT,
          .notes = 1 },
        { "a rollout that has reached nobody", { OFFER("3", .staged = true) }, .outcome = PLAN_WAIT, .notes = 1 },
        { "a rollout that is complete",
          { OFFER("3", .staged = true, .start = NOW - 100 * 86400, .per_day = 1000) },
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "a rollout, one before it is complete",
          { OFFER("4", .staged = true), OFFER("3") },
          .outcome = PLAN_UPDATE,
          .target = "3",
          .notes = 1 },
        { "a rollout, and what runs", { OFFER("4", .staged = true), OFFER("2") }, .outcome = PLAN_WAIT, .notes = 1 },
        { "two rollouts",
          { OFFER("4", .staged = true), OFFER("3", .staged = true), OFFER("2") },
          .outcome = PLAN_WAIT,
          .notes = 2 },
        { "a rollout, critical",
          { OFFER("3", .staged = true, .critical = true) },
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "a rollout, by name",
          { OFFER("3", .staged = true) },
          .version = "3",
          .by_person = true,
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "a rollout, by a pin",
          { OFFER("3", .staged = true) },
          .pinned = true,
          .pin = "3",
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "a rollout, by a person without a name",
          { OFFER("3", .staged = true) },
          .by_person = true,
          .outcome = PLAN_WAIT,
          .notes = 1 },
        { "a rollout and withdrawn",
          { OFFER("3", .staged = true, .withdrawn = "x") },
          .outcome = PLAN_NOTHING,
          .notes = 1 },
        { "a rollout and known bad", { OFFER("3", .staged = true) }, .bad = "3", .outcome = PLAN_NOTHING, .notes = 1 },
        /* Pins. */
        { "pinned to what runs", { OFFER("3") }, .pinned = true, .outcome = PLAN_NOTHING },
        { "pinned to what runs by name", { OFFER("3") }, .pinned = true, .pin = "2", .outcome = PLAN_NOTHING },
        { "pinned, and something critical", { OFFER("3", .critical = true) }, .pinned = true, .outcome = PLAN_NOTHING },
        { "pinned, another by name",
          { OFFER("3") },
          .pinned = true,
          .version = "3",
          .by_person = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_PINNED },
        { "pinned to a newer one, past the newest",
          { OFFER("4"), OFFER("3") },
          .pinned = true,
          .pin = "3",
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "pinned to what is not there",
          { OFFER("4") },
          .pinned = true,
          .pin = "3",
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NOT_FOUND },
        { "pinned to what is withdrawn",
          { OFFER("3", .withdrawn = "x") },
          .pinned = true,
          .pin = "3",
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_WITHDRAWN },
        { "pinned to an older one that is there",
          { OFFER("2"), OFFER("1") },
          OTHER_OLD,
          { BLESSED("1") },
          .pinned = true,
          .pin = "1",
          .outcome = PLAN_UPDATE,
          .target = "1",
          .steps = "ds" },
        { "gone back, before the restart, to what is not on offer any more",
          { OFFER("3"), OFFER("2") },
          OTHER_OLD,
          { BLESSED("1") },
          .pinned = true,
          .reverted = true,
          .pin = "1",
          .outcome = PLAN_NOTHING,
          .restart_pending = true },
        { "gone back to what is in no slot",
          { OFFER("3"), OFFER("2") },
          .pinned = true,
          .reverted = true,
          .pin = "1",
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NOT_FOUND },
        { "back to what was never tried",
          {},
          OTHER_TRIED,
          { COUNTED("3", 3, 0) },
          .revert = true,
          .trial = "3",
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NOT_FOUND },
        { "gone back, before the restart",
          { OFFER("2"), OFFER("1") },
          OTHER_OLD,
          { BLESSED("1") },
          .pinned = true,
          .reverted = true,
          .pin = "1",
          .outcome = PLAN_NOTHING,
          .restart_pending = true },
        /* A trial. */
        { "installed and not yet tried",
          { OFFER("3") },
          OTHER_TRIED,
          { COUNTED("3", 3, 0) },
          .trial = "3",
          .outcome = PLAN_NOTHING,
          .restart_pending = true },
        { "installed, and a newer one",
          { OFFER("4"), OFFER("3") },
          OTHER_TRIED,
          { COUNTED("3", 3, 0) },
          .trial = "3",
          .outcome = PLAN_UPDATE,
          .target = "4",
          .steps = WITH_EMPTY },
        { "installed, by name",
          { OFFER("3") },
          OTHER_TRIED,
          { COUNTED("3", 3, 0) },
          .trial = "3",
          .version = "3",
          .by_person = true,
          .outcome = PLAN_NOTHING,
          .restart_pending = true },
        { "written but without an entry",
          { OFFER("3") },
          OTHER_TRIED,
          .trial = "3",
          .outcome = PLAN_UPDATE,
          .target = "3",
          .steps = WITH_EMPTY },
        { "an entry without a slot",
          { OFFER("3") },
          OTHER_EMPTY,
          { COUNTED("3", 3, 0) },
          .trial = "3",
          .outcome = PLAN_UPDATE,
          .target = "3",
          .steps = ALL_STEPS },
        { "tried in vain and not yet judged",
          { OFFER("3") },
          OTHER_TRIED,
          { COUNTED("3", 0, 3) },
          .bad = "3",
          .outcome = PLAN_NOTHING,
          .notes = 1 },
        { "a newer one that is known to be good waits in the other slot",
          { OFFER("3") },
          OTHER_TRIED,
          { BLESSED("3") },
          .outcome = PLAN_NOTHING,
          .restart_pending = true },
        { "withdrawn while it waits",
          { OFFER("3", .withdrawn = "x") },
          OTHER_TRIED,
          { COUNTED("3", 3, 0) },
          .trial = "3",
          .outcome = PLAN_NOTHING,
          .notes = 1 },
        { "what runs is on trial: the other slot stays",
          { OFFER("3") },
          OTHER_OLD,
          { BLESSED("1") },
          .unblessed = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_MACHINE },
        { "what runs is on trial, the other slot is of no use",
          { OFFER("3") },
          OTHER_OLD,
          { COUNTED("1", 0, 3) },
          .unblessed = true,
          .outcome = PLAN_UPDATE,
          .target = "3" },
        /* Slots and room. */
        { "the other slot is another product's",
          { OFFER("3") },
          OTHER_FOREIGN,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_MACHINE },
        { "no slot but the running one",
          { OFFER("3") },
          OTHER_RUNNING_TOO,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_MACHINE },
        { "the slot is too small", { OFFER("3") }, OTHER_SMALL, .outcome = PLAN_REFUSED, .refusal = REFUSAL_NO_SPACE },
        { "the image is too large",
          { OFFER("3", .usr_size = 65 * MIB) },
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NO_SPACE },
        { "the image just fits", { OFFER("3", .usr_size = 64 * MIB) }, .outcome = PLAN_UPDATE, .target = "3" },
        { "the ESP is full", { OFFER("3") }, .boot_free = MIB, .outcome = PLAN_REFUSED, .refusal = REFUSAL_NO_SPACE },
        { "the ESP just has room", { OFFER("3") }, .boot_free = 2 * MIB, .outcome = PLAN_UPDATE, .target = "3" },
        { "the old entry makes room on the ESP",
          { OFFER("3") },
          OTHER_OLD,
          { BLESSED("1") },
          .boot_free = MIB,
          .outcome = PLAN_UPDATE,
          .target = "3" },
        { "the entry of what runs makes none",
          { OFFER("3", .uki_size = 3 * MIB) },
          OTHER_OLD,
          { BLESSED("1") },
          .boot_free = 2 * MIB,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NO_SPACE },
        { "critical makes no room",
          { OFFER("3", .critical = true) },
          .boot_free = MIB,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NO_SPACE },
        /* Going back. */
        { "back to the other one",
          {},
          OTHER_OLD,
          { BLESSED("1") },
          .revert = true,
          .by_person = true,
          .outcome = PLAN_UPDATE,
          .steps = "ds" },
        { "back while pinned",
          {},
          OTHER_OLD,
          { BLESSED("1") },
          .revert = true,
          .pinned = true,
          .outcome = PLAN_UPDATE,
          .steps = "ds" },
        { "back to nothing", {}, OTHER_EMPTY, .revert = true, .outcome = PLAN_REFUSED, .refusal = REFUSAL_NOT_FOUND },
        { "back to what has no entry",
          {},
          OTHER_OLD,
          .revert = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NOT_FOUND },
        { "back to what has no tries left",
          {},
          OTHER_OLD,
          { COUNTED("1", 0, 3) },
          .revert = true,
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NOT_FOUND },
        { "back to a version that is not there",
          {},
          OTHER_OLD,
          { BLESSED("1") },
          .revert = true,
          .version = "0",
          .outcome = PLAN_REFUSED,
          .refusal = REFUSAL_NOT_FOUND },
};

/* ---- the table ---- */

static char *steps_text(const Plan *p) {
        char *text = xcalloc(p->n_steps + 1, 1);

        for (size_t i = 0; i < p->n_steps; i++)
                text[i] = step_kind_name(p->steps[i])[0];
        return text;
}

static bool check_plan(const Situation *s, const Machine *m, const Plan *p) {
        _cleanup_free_ char *steps = steps_text(p);
        const char *target = p->offer ? p->offer->description->version : NULL;

        return p->outcome == s->outcome && p->refusal == s->refusal && !isempty(p->reason) &&
               (!s->target || streq_ptr(target, s->target)) && (!s->steps || streq(steps, s->steps)) &&
               p->restart_pending == s->restart_pending &&
               (s->outcome == PLAN_UPDATE ? s->notes <= strv_length(p->notes) : s->notes == strv_length(p->notes)) &&
               (s->outcome != PLAN_UPDATE || !m->slots[p->slot].running);
}

static void every_situation_has_its_plan(void **state) {
        size_t wrong = 0;

        for (size_t i = 0; i < ELEMENTSOF(situations); i++) {
                const Situation *s = &situations[i];
                _cleanup_(machine_freep) Machine *m = make_machine(s);
                _cleanup_(state_freep) UpdaterState *u = make_state(s);
                PlanRequest q = { .version = s->version, .by_person = s->by_person, .revert = s->revert };
                _cleanup_(plan_freep) Plan *p = NULL;
                _cleanup_json_ json_t *o = NULL;
                _cleanup_free_ char *text = NULL, *line = NULL;
                Offer offers[ELEMENTSOF(s->offers)] = {};
                size_t n = 0;

                for (; n < ELEMENTSOF(offers) && s->offers[n].version; n++)
                        offers[n].description = make_description(&s->offers[n]);
                p = plan_make(m, offers, n, u, &q, "0.1.0", NOW);
                text = plan_describe(p, m);
                o = plan_to_json(p, m);
                line = json_format_line(o);
                if (!check_plan(s, m, p)) {
                        print_error("%s: %s\n%s\n", s->name, line, text);
                        wrong++;
                }
                for (size_t k = 0; k < n; k++)
                        description_free(offers[k].description);
        }
        print_message("%zu situations\n", ELEMENTSOF(situations));
        assert_int_equal(wrong, 0);
        assert_true(ELEMENTSOF(situations) >= 60);
}

/* ---- what a table does not show ---- */

static void turn_in_the_rollout_is_named(void **state) {
        static const Situation s = { .name = "one" };
        _cleanup_(machine_freep) Machine *m = make_machine(&s);
        _cleanup_(state_freep) UpdaterState *u = make_state(&s);
        Release r = { .version = "3", .staged = true, .start = NOW, .per_day = 1000 };
        Offer offer = { .description = make_description(&r) };
        _cleanup_(description_freep) ReleaseDescription *d = offer.description;
        _cleanup_(plan_freep) Plan *now = NULL, *before = NULL, *then = NULL;
        int64_t turn = rollout_turn(&d->rollout, m->machine_id);

        assert_true(turn > NOW && turn < NOW + 11 * 86400);
        now = plan_make(m, &offer, 1, u, &(PlanRequest){}, "0.1.0", NOW);
        assert_int_equal(now->outcome, PLAN_WAIT);
        assert_int_equal(now->until, turn);
        before = plan_make(m, &offer, 1, u, &(PlanRequest){}, "0.1.0", turn - 1);
        assert_int_equal(before->outcome, PLAN_WAIT);
        then = plan_make(m, &offer, 1, u, &(PlanRequest){}, "0.1.0", turn);
        assert_int_equal(then->outcome, PLAN_UPDATE);
}

static void sizes_are_added_up(void **state) {
        static const Situation s = { .name = "one" };
        _cleanup_(machine_freep) Machine *m = make_machine(&s);
        _cleanup_(state_freep) UpdaterState *u = make_state(&s);
        _cleanup_(description_freep) ReleaseDescription *d = make_description(&new_3);
        Offer offer = { .description = d, .download = { 1000, 200, 30, 4 } };
        _cleanup_(plan_freep) Plan *p = plan_make(m, &offer, 1, u, &(PlanRequest){}, "0.1.0", NOW);

        assert_int_equal(p->download, 1234);
        assert_int_equal(p->write, 8 * MIB + 65536 + MIB);
        assert_int_equal(p->slot, 1);
}

/* The running slot is known by content, not by its place: without one there is nothing to go by. */
static void unknown_running_slot_is_refused(void **state) {
        static const Situation s = { .name = "one" };
        _cleanup_(machine_freep) Machine *m = make_machine(&s);
        _cleanup_(state_freep) UpdaterState *u = make_state(&s);
        _cleanup_(description_freep) ReleaseDescription *d = make_description(&new_3);
        Offer offer = { .description = d };
        _cleanup_(plan_freep) Plan *p = NULL;

        m->slots[0].running = false;
        p = plan_make(m, &offer, 1, u, &(PlanRequest){}, "0.1.0", NOW);
        assert_int_equal(p->outcome, PLAN_REFUSED);
        assert_int_equal(p->refusal, REFUSAL_MACHINE);
}

static void every_step_has_a_name(void **state) {
        for (StepKind k = 0; k < _STEP_KIND_MAX; k++)
                assert_string_not_equal(step_kind_name(k), "unknown");
        assert_string_equal(step_kind_name(_STEP_KIND_MAX), "unknown");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_situation_has_its_plan), cmocka_unit_test(turn_in_the_rollout_is_named),
                cmocka_unit_test(sizes_are_added_up),           cmocka_unit_test(unknown_running_slot_is_refused),
                cmocka_unit_test(every_step_has_a_name),
        };

        return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
