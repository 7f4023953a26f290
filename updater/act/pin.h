/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What holds a machine at a version: the state's pin, and what the boot loader starts by itself. Each saves the state;
 * cut off anywhere, the same again brings it to its end. */

#include "machine.h"
#include "state.h"

/* Stay on version (the running one, or one to be taken yet). A trial of another version that waits for its first good
 * boot is called off: its entry goes, and it is taken anew after pin_lift(). Where the boot loader would start a newer
 * version that is known to be good, version becomes its default. *ret_called_off: the version of such a trial, owned;
 * NULL: there was none. */
int pin_set(const Machine *m, UpdaterState *s, const char *state_folder, const char *version, char **ret_called_off,
            Error *reterr);
/* Take updates again; the boot loader chooses by itself again. */
int pin_lift(const Machine *m, UpdaterState *s, const char *state_folder, Error *reterr);
/* version, which is in another slot, becomes the boot loader's default, and is pinned. */
int pin_go_back(const Machine *m, UpdaterState *s, const char *state_folder, const char *version, Error *reterr);
/* The entry of a trial that has not run out of tries and does not run; NULL: nothing waits. */
const BootEntry *pin_waiting_trial(const Machine *m, const UpdaterState *s);
