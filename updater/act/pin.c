/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "pin.h"
#include "boot.h"
#include "version.h"

static void set_pin(UpdaterState *s, const char *version) {
        char *copy = xstrdup(version);

        free(s->pin);
        s->pin = copy;
        s->pinned = version;
}

const BootEntry *pin_waiting_trial(const Machine *m, const UpdaterState *s) {
        const BootEntry *e = s->trial ? machine_entry_of_root_hash(m, &s->trial->root_hash) : NULL;

        return e && !sha256_equal(&s->trial->root_hash, &m->running) && e->counted && e->left > 0 ? e : NULL;
}

/* Only what is known to start, and is the boot loader's first choice because of its version. */
static bool is_outranked(const Machine *m, const char *version) {
        bool startable = false, outranked = false;

        for (size_t i = 0; i < m->n_entries; i++) {
                const BootEntry *e = &m->entries[i];

                if (!e->version || e->counted)
                        continue;
                startable = startable || streq(e->version, version);
                outranked = outranked || version_compare(e->version, version) > 0;
        }
        return startable && outranked;
}

static bool is_startable(const Machine *m, const char *version) {
        for (size_t i = 0; i < m->n_entries; i++)
                if (streq_ptr(m->entries[i].version, version) && !m->entries[i].counted)
                        return true;
        return false;
}

static const Slot *slot_of_trial(const Machine *m, const Trial *t) {
        for (size_t i = 0; i < m->n_slots; i++)
                if (m->slots[i].has_root_hash && sha256_equal(&m->slots[i].root_hash, &t->root_hash))
                        return &m->slots[i];
        return NULL;
}

static int call_trial_off(const Machine *m, UpdaterState *s, const char *version, char **ret_called_off,
                          Error *reterr) {
        const Slot *slot = s->trial ? slot_of_trial(m, s->trial) : NULL;
        int r;

        *ret_called_off = NULL;
        if (!slot || slot->running || streq(s->trial->version, version))
                return 0;
        if (pin_waiting_trial(m, s)) {
                r = boot_retire(m, slot, reterr);
                if (r < 0)
                        return r;
                *ret_called_off = xstrdup(s->trial->version);
        } else if (machine_entry_of_root_hash(m, &s->trial->root_hash))
                return 0; /* it has been tried, and is for settling */
        state_set_trial(s, NULL);
        return 0;
}

/* ORDER: pinned first. Going back without staying there would be undone by the next night. */
int pin_go_back(const Machine *m, UpdaterState *s, const char *state_folder, const char *version, Error *reterr) {
        int r;

        set_pin(s, version);
        s->reverted = true;
        r = state_save(state_folder, s, reterr);
        return r < 0 ? r : boot_set_default(m, version, reterr);
}

/* ORDER: the boot loader first. Once nothing is known of having gone back, nobody would do it any more. */
static int free_boot_loader(const Machine *m, UpdaterState *s, Error *reterr) {
        int r = s->reverted ? boot_set_default(m, NULL, reterr) : 0;

        if (r >= 0)
                s->reverted = false;
        return r;
}

/* ORDER: the waiting entry goes before the pin is on record. Cut off between the two, the machine stays where it is and
 * takes the update again; the other way round it would start what it is not to start. */
int pin_set(const Machine *m, UpdaterState *s, const char *state_folder, const char *version, char **ret_called_off,
            Error *reterr) {
        _cleanup_free_ char *wanted = xstrdup(version); /* may be the state's own */
        int r;

        r = call_trial_off(m, s, wanted, ret_called_off, reterr);
        if (r < 0)
                return r;
        if (s->reverted ? is_startable(m, wanted) : is_outranked(m, wanted))
                return pin_go_back(m, s, state_folder, wanted, reterr);
        r = free_boot_loader(m, s, reterr);
        if (r < 0)
                return r;
        set_pin(s, wanted);
        return state_save(state_folder, s, reterr);
}

int pin_lift(const Machine *m, UpdaterState *s, const char *state_folder, Error *reterr) {
        int r = free_boot_loader(m, s, reterr);

        if (r < 0)
                return r;
        set_pin(s, NULL);
        return state_save(state_folder, s, reterr);
}
