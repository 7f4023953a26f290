/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "ids.h"
#include "tree.h"

/* Gives every user and group of /etc/passwd and /etc/group the number that ids.lock says (new names enter it, keeping
 * theirs where they can), in the account files, on every file, and in access control lists; and writes sysusers.d lines
 * that say the same, so that a machine whose /etc/passwd was changed still gets new accounts under the same numbers. */
int accounts_pin(Tree *t, Ids *ids, int64_t epoch, Error *reterr);
