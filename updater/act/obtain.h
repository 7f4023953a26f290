/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A release's image and kernel image, by the way that was planned; where that does not lead to the end, by the next
 * one: delta, blocks that are here already, frames of the pack. What one way has written and is right stays where it
 * is. */

#include "fetch.h"
#include "plan.h"
#include "slot.h"

typedef struct Obtain {
        const FetchOptions *fetch;
        const Machine *machine;
        const Plan *plan;
        void (*progress)(const char *step, uint64_t done, uint64_t total, void *userdata);
        /* Whether an update may go on that will cost much more than was planned; an error ends it. */
        int (*ask)(uint64_t bytes, void *userdata, Error *reterr);
        void *userdata;
        uint64_t downloaded; /* until now, by all of it */
        char usr_way[32];    /* what it has become: "delta", "reuse", "full", or several of them with "+" */
        char uki_way[32];
} Obtain;

/* More than a plan may say too little before somebody is asked. */
#define OBTAIN_SLACK (UINT64_C(4) << 20)

/* Fills the slot, with its hash tree and signature. */
int obtain_usr(Obtain *o, SlotWriter *writer, Error *reterr);
/* The kernel image as a file of the cache; it is right. */
int obtain_uki(Obtain *o, int *ret_fd, Error *reterr);
