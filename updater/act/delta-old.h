/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a delta begins with: the image in another slot, or an older file. Each block of a slot is compared with its
 * digest in the slot's own hash tree when it is read, so that a disk that rots is noticed where it costs a block, not
 * the update. The tree is not trusted: the new image has a digest of its own. */

#include "hash.h"
#include "slot.h"

typedef struct DeltaOld DeltaOld;

/* REFUSAL_NOT_FOUND if the slot does not have the hash tree of an image. */
int delta_old_open_slot(const char *disk, const Slot *slot, DeltaOld **ret, Error *reterr);
/* A file whose digest was compared already. */
int delta_old_open_file(const char *path, uint64_t size, DeltaOld **ret, Error *reterr);
DeltaOld *delta_old_free(DeltaOld *o);
DEFINE_CLEANUP(DeltaOld *, delta_old_free)
uint64_t delta_old_size(const DeltaOld *o);
/* REFUSAL_HASH_MISMATCH: something of it has changed since it was written, or cannot be read. Of a slot: offset and
 * size are multiples of its blocks. */
int delta_old_read(DeltaOld *o, uint64_t offset, void *data, size_t size, Error *reterr);
