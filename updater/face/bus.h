/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* io.sealab.Updater1 on the bus, documented in sealabd(8). Names, arguments and rights live here; what happens is the
 * manager's. No method takes a path or a URL. */

#include <systemd/sd-bus.h>

#include "manager.h"

#define UPDATER_BUS_NAME "io.sealab.Updater1"
#define UPDATER_BUS_PATH "/io/sealab/Updater1"
#define UPDATER_BUS_INTERFACE "io.sealab.Updater1"
/* A refusal's name follows: io.sealab.Updater1.Error.NoSpace */
#define UPDATER_BUS_ERROR "io.sealab.Updater1.Error."

typedef struct BusFace BusFace;
/* Registers the object; the name is requested by the caller, once everything stands. The observer's functions are to be
 * called with the face as userdata. */
int bus_face_new(sd_bus *bus, BusFace **ret, Error *reterr);
BusFace *bus_face_free(BusFace *f);
DEFINE_CLEANUP(BusFace *, bus_face_free)
void bus_face_set_manager(BusFace *f, Manager *m);
void bus_face_progress(uint64_t id, JobKind kind, const char *step, uint64_t done, uint64_t total, void *face);
void bus_face_finished(const JobOutcome *outcome, void *face);
/* "NoSpace" for "no-space". */
char *bus_error_suffix(const char *refusal);
