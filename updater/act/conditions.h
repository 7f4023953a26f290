/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the machine is doing right now: power (UPower where it runs, else sysfs), network (routes, NetworkManager's
 * opinion of metered; systemd-networkd has none), who must not be interrupted (logind). What cannot be found out counts
 * as harmless for a machine that has no such thing, and as a hindrance where a thing is there and does not answer. */

#include <systemd/sd-bus.h>

#include "policy.h"

/* root: "/" or a folder with sys/ and proc/, then the bus is not asked. */
int conditions_read(const char *root, Conditions *ret, Error *reterr);
/* Its part that asks others: UPower, NetworkManager and logind, as far as they are on the bus. */
void conditions_ask(sd_bus *bus, Conditions *c);
void conditions_done(Conditions *c);

/* A block inhibitor (logind) while a slot is written: a closed lid or a shutdown waits. *ret_fd is closed to give it
 * back; -EBADF where there is no logind. */
int conditions_inhibit(const char *why, int *ret_fd, Error *reterr);
/* Asks logind to restart the machine. */
int conditions_reboot(Error *reterr);
/* Has the timer's service started once more then: a window may be over before the timer's own next time. An earlier
 * request is replaced. */
int conditions_look_again(int64_t seconds, Error *reterr);
/* Sets the clock's alarm, which wakes a suspended machine. 1: there is no such clock. */
int conditions_wake_at(const char *root, int64_t when, Error *reterr);
/* Seconds east of UTC in the zone ("Europe/Berlin"; NULL: the machine's) at that time. */
int32_t conditions_utc_offset(const char *root, const char *time_zone, int64_t now);
