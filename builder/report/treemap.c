/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "treemap.h"
#include "html.h"

#define PICTURE_WIDTH 1000.0
#define PICTURE_HEIGHT 560.0
#define HEADER_HEIGHT 16.0
#define GAP 2.0
/* Of the whole picture: what is smaller is not visible, let alone readable. */
#define SHARE_VISIBLE 2500
#define SIBLINGS_MAX 80
#define PALETTE 8
/* Widths of a character at the picture's font size, on the wide side. */
#define CHARACTER_WIDTH 6.8
#define BOLD_WIDTH 7.8
#define FONT_HEIGHT 13.0

TreemapItem *treemap_add(TreemapItem *parent, char *label, char *detail, uint64_t value) {
        GROW(parent->children, parent->n_children, parent->n_allocated);
        parent->children[parent->n_children] = (TreemapItem){ .label = label, .detail = detail, .value = value };
        return &parent->children[parent->n_children++];
}

void treemap_done(TreemapItem *root) {
        for (size_t i = 0; i < root->n_children; i++)
                treemap_done(&root->children[i]);
        free(root->children);
        free(root->label);
        free(root->detail);
        *root = (TreemapItem){};
}

static int item_compare(const void *a, const void *b) {
        const TreemapItem *x = a, *y = b;

        if (x->value != y->value)
                return x->value > y->value ? -1 : 1;
        return strcmp(x->label, y->label);
}

static void settle(TreemapItem *item, uint64_t smallest) {
        size_t keep = 0;
        uint64_t rest = 0;

        if (item->n_children == 0)
                return;
        qsort(item->children, item->n_children, sizeof(*item->children), item_compare);
        while (keep < item->n_children && keep < SIBLINGS_MAX && item->children[keep].value > smallest)
                keep++;
        if (keep + 1 == item->n_children && item->children[keep].value > 0)
                keep++; /* "1 more" would say less than its name */
        if (keep < item->n_children) {
                size_t folded = item->n_children - keep;
                _cleanup_free_ char *bytes = NULL;

                for (size_t i = keep; i < item->n_children; i++) {
                        rest += item->children[i].value;
                        treemap_done(&item->children[i]);
                }
                item->n_children = keep;
                bytes = format_bytes(rest);
                if (rest > 0)
                        treemap_add(item, xasprintf("%zu more", folded),
                                    xasprintf("%zu smaller ones, together %s", folded, bytes), rest);
                /* It stays last, whatever its size: a heap of small things is no large thing. */
        }
        for (size_t i = 0; i < item->n_children; i++)
                settle(&item->children[i], smallest);
}

void treemap_settle(TreemapItem *root) {
        uint64_t sum = 0;

        for (size_t i = 0; i < root->n_children; i++)
                sum += root->children[i].value;
        settle(root, sum / SHARE_VISIBLE);
}

/* --- layout --- */

/* Shape of the worst rectangle (1 is a square) if n areas of this sum are laid along a side. Areas fall, so only the
 * first and the last matter. */
static double worst_shape(double first, double last, double sum, double side) {
        double thickness = sum / side;
        double a = first / thickness / thickness, b = last / thickness / thickness;

        return MAX(MAX(a, 1 / a), MAX(b, 1 / b));
}

static void place_row(const double *areas, size_t n, double sum, TreemapBox *within, TreemapBox *ret) {
        bool vertical = within->width >= within->height;
        double thickness = sum / (vertical ? within->height : within->width), position = 0;

        for (size_t i = 0; i < n; i++) {
                double length = areas[i] / thickness;

                ret[i] = vertical ? (TreemapBox){ within->x, within->y + position, thickness, length }
                                  : (TreemapBox){ within->x + position, within->y, length, thickness };
                position += length;
        }
        if (vertical) {
                within->x += thickness;
                within->width = MAX(within->width - thickness, 0.0);
        } else {
                within->y += thickness;
                within->height = MAX(within->height - thickness, 0.0);
        }
}

void treemap_layout(const uint64_t *values, size_t n, TreemapBox within, TreemapBox *ret) {
        double total = 0, scale;
        double *areas = xnew(double, n + 1);

        for (size_t i = 0; i < n; i++)
                total += (double) values[i];
        scale = total > 0 ? within.width * within.height / total : 0;
        for (size_t i = 0; i < n; i++)
                areas[i] = (double) values[i] * scale;
        for (size_t done = 0; done < n;) {
                double side = MIN(within.width, within.height), sum = areas[done];
                size_t row = 1;

                if (side <= 0 || sum <= 0) { /* rounding ate the last sliver */
                        ret[done++] = (TreemapBox){ within.x, within.y, 0, 0 };
                        continue;
                }
                while (done + row < n) {
                        double next = areas[done + row];

                        if (next <= 0 || worst_shape(areas[done], next, sum + next, side) >
                                                 worst_shape(areas[done], areas[done + row - 1], sum, side))
                                break;
                        sum += next;
                        row++;
                }
                place_row(areas + done, row, sum, &within, ret + done);
                done += row;
        }
        free(areas);
}

/* --- picture --- */

static void append_label(Buffer *b, const TreemapItem *item, TreemapBox box, bool bold) {
        size_t fits = box.width > 8 ? (size_t) ((box.width - 8) / (bold ? BOLD_WIDTH : CHARACTER_WIDTH)) : 0,
               size = strlen(item->label);
        _cleanup_free_ char *cut = NULL;

        if (box.height < FONT_HEIGHT + 3 || fits < 3)
                return;
        if (size > fits) {
                size_t n = fits - 1;

                if (fits < 6)
                        return;
                while (n > 0 && ((unsigned char) item->label[n] & 0xC0) == 0x80)
                        n--;
                cut = xasprintf("%.*s\xE2\x80\xA6", (int) n, item->label);
        }
        buffer_printf(b, "<text%s x=\"%.1f\" y=\"%.1f\">", bold ? " class=\"h\"" : "", box.x + 4,
                      box.y + FONT_HEIGHT - 1);
        html_append(b, cut ?: item->label);
        buffer_puts(b, "</text>");
}

static void append_item(Buffer *b, const TreemapItem *item, TreemapBox box, unsigned colour, unsigned depth);

static void append_children(Buffer *b, const TreemapItem *item, TreemapBox within, unsigned colour, unsigned depth) {
        _cleanup_free_ uint64_t *values = xnew(uint64_t, item->n_children + 1);
        _cleanup_free_ TreemapBox *boxes = xnew(TreemapBox, item->n_children + 1);

        for (size_t i = 0; i < item->n_children; i++)
                values[i] = item->children[i].value;
        treemap_layout(values, item->n_children, within, boxes);
        for (size_t i = 0; i < item->n_children; i++)
                append_item(b, &item->children[i], boxes[i], depth == 0 ? (unsigned) (i % PALETTE) : colour, depth + 1);
}

static void append_item(Buffer *b, const TreemapItem *item, TreemapBox box, unsigned colour, unsigned depth) {
        TreemapBox inner;
        bool opens;

        box.width -= MIN(GAP, box.width / 4);
        box.height -= MIN(GAP, box.height / 4);
        if (box.width < 1 || box.height < 1)
                return;
        opens = item->n_children > 1 && box.width > 40 && box.height > HEADER_HEIGHT + 14;
        buffer_printf(b, "<g><title>");
        html_append(b, item->detail);
        buffer_printf(b,
                      "</title><rect class=\"c%u d%u\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\"/>",
                      colour, opens ? MIN(depth, 2U) : 3U, box.x, box.y, box.width, box.height);
        append_label(b, item, box, opens);
        buffer_puts(b, "</g>\n");
        if (!opens)
                return;
        inner = (TreemapBox){ box.x + GAP, box.y + HEADER_HEIGHT, box.width - GAP, box.height - HEADER_HEIGHT };
        append_children(b, item, inner, colour, depth);
}

void treemap_append(Buffer *b, const TreemapItem *root, const char *title) {
        buffer_printf(b, "<svg class=\"map\" role=\"img\" viewBox=\"0 0 %.0f %.0f\" aria-label=\"", PICTURE_WIDTH,
                      PICTURE_HEIGHT);
        html_append(b, title);
        buffer_puts(b, "\">\n");
        append_children(b, root, (TreemapBox){ 0, 0, PICTURE_WIDTH, PICTURE_HEIGHT }, 0, 0);
        buffer_puts(b, "</svg>\n");
}
