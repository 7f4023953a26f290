/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* May the sender of a message do this? root may; for others polkit is asked, by the sender's name on the bus, never by
 * a process id. Where there is no polkit, only root may. */

#include <systemd/sd-bus.h>

#include "error.h"

/* Calls granted() once, later or at once, with the message (which is kept alive until then). allowed false: the sender
 * gets the error from here and granted() is not called. details: pairs of strings for the rule, NULL-terminated; may be
 * NULL. */
int polkit_check(sd_bus_message *message, const char *action, char *const *details,
                 int (*granted)(sd_bus_message *message, void *userdata), void *userdata);
