/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Steps of a build and the keys they are cached under. A key is a digest over named inputs; the inputs of the last
 * build are remembered, so that a plan can say not only that a step will run but which input changed. Pure apart from
 * the record. */

#include "ids.h"
#include "json.h"
#include "lock.h"
#include "recipe.h"
#include "store.h"

typedef enum StepId {
        STEP_INSTALL, /* packages -> configured tree */
        STEP_BASE,    /* kernel, removals, alternatives */
        STEP_FINISH,  /* overlay, settings, accounts, state; then the gate */
        STEP_INITRD,
        STEP_IMAGE, /* EROFS and dm-verity */
        STEP_UKI,
        STEP_SIGN,
        STEP_DISK,
        _STEP_MAX,
} StepId;

typedef struct StepInput {
        char *name; /* "packages of the image" */
        Sha256 digest;
} StepInput;

typedef struct Step {
        const char *id, *title;
        StepInput *inputs;
        size_t n_inputs, n_allocated;
        Sha256 key;
        bool cacheable, cached;
        char *reason; /* why it will run, or "same inputs as before" */
} Step;

typedef struct Steps {
        Step steps[_STEP_MAX];
} Steps;
void steps_done(Steps *s);

typedef struct StepsContext {
        const Recipe *recipe;
        const Lock *lock;
        const Ids *ids;
        const char *version;
        int64_t epoch;
        const char *key_folder; /* NULL: unsigned */
        bool disk;
} StepsContext;

/* Computes all keys from what is known before anything runs. Overlays are hashed, which is the only reading. */
int steps_compute(const StepsContext *c, Steps *ret, Error *reterr);
/* Fills in cached and reason from the store and from the record of the last build of this recipe. */
int steps_judge(Steps *s, const Recipe *recipe, const Store *store, bool no_cache, Error *reterr);
int steps_remember(const Steps *s, const Recipe *recipe, Store *store, Error *reterr);
char *steps_format(const Steps *s);
json_t *steps_to_json(const Steps *s);
