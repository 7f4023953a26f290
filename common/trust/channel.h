/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* TUF's documents do not say of which role they are, so that a document of one channel would pass for one of another
 * where both are signed with the same key. Ours say it, in a signed member (sealab-repository(5)). */

#include "tuf-metadata.h"

#define CHANNEL_MEMBER "sealab-channel"

/* REFUSAL_MIXED unless the document is that channel's. */
int channel_check(const TufMetadata *m, const char *name, Error *reterr);
