/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Nested rectangles whose areas are sizes, as an SVG picture made of plain elements: no script, no outside font. */

#include "util.h"

typedef struct TreemapItem TreemapItem;
struct TreemapItem {
        char *label;  /* owned; short, drawn if it fits */
        char *detail; /* owned; shown when the pointer rests on it */
        uint64_t value;
        TreemapItem *children; /* owned; largest first. Their values need not add up to this value */
        size_t n_children, n_allocated;
};

/* Adds a child; borrowed until the next addition. */
TreemapItem *treemap_add(TreemapItem *parent, char *label, char *detail, uint64_t value);
/* Sorts children and folds those too small to see into one "N more", at every level. */
void treemap_settle(TreemapItem *root);
void treemap_done(TreemapItem *root);
#define _cleanup_treemap_ _cleanup_(treemap_done)

/* The picture of root's children. title is what a screen reader says of it. */
void treemap_append(Buffer *b, const TreemapItem *root, const char *title);

/* The squarified layout by itself: places values (largest first, none zero) in a rectangle, so that areas are in
 * proportion and shapes near squares. */
typedef struct TreemapBox {
        double x, y, width, height;
} TreemapBox;
void treemap_layout(const uint64_t *values, size_t n, TreemapBox within, TreemapBox *ret);
