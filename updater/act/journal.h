/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What happens to a machine's versions, in its journal: fields SEALAB_ACTION, SEALAB_FROM, SEALAB_TO, SEALAB_RESULT,
 * SEALAB_BYTES, SEALAB_SECONDS, and a message id for each kind, which units/sealab.catalog explains ("journalctl -x").
 */

#include "state.h"

#define JOURNAL_INSTALLED "82033bd7c40c41c2b81250703467687c" /* an update waits for a restart */
#define JOURNAL_FAILED "16df2123cbbc404f897b8d5ba29340e7"    /* an update could not be installed */
#define JOURNAL_BLESSED "259a81ffef634177a5c97ed3adf5d7d1"   /* a new version was found good */
#define JOURNAL_FELL_BACK "817454d1424e49e5aa56c038b26e929d" /* a new version did not come up well */
#define JOURNAL_REVERTED "d6073160674f4adbb6ea0b289e0855b8"  /* somebody went back */
#define JOURNAL_PINNED "5aaa30eddd3c475ebcbd2c81462ccf55"    /* pinned or unpinned */

/* The id for what a line of history says; NULL: none. */
const char *journal_message_id(const HistoryEntry *e);
/* One sentence; owned. */
char *journal_sentence(const HistoryEntry *e);
/* Writes it. Without a journal nothing happens. */
void journal_write(const HistoryEntry *e);
/* What programs said of errors, at the end of the boot before this one: up to three messages, joined; owned. NULL if
 * there are none, or if that boot's journal did not survive or is that of another /usr: what starts a system from an
 * earlier version is no witness against a later one. */
char *journal_of_boot_before(const Sha256 *root_hash);
