/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which old file a new one was: the one of the same name; else, of those that are gone, the one whose name differs in
 * numbers only (kernel modules, libraries); else the one whose content is most like it. */

#include <ctype.h>

#include "delta-similar.h"

typedef struct Name {
        char *key;
        uint32_t file;
} Name;

typedef struct Names {
        Name *items;
        size_t n;
} Names;

static void names_done(Names *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->items[i].key);
        free(l->items);
}

/* "lib/modules/6.1.0-37-amd64/x.ko" and "lib/libfoo.so.1.2": numbers, and what joins them, as one "#". */
static char *without_numbers(const char *path) {
        char *key = xmalloc(strlen(path) + 1), *p = key;

        while (*path)
                if (isdigit((unsigned char) *path)) {
                        *p++ = '#';
                        while (isdigit((unsigned char) *path) ||
                               (*path && strchr(".-+~", *path) && isdigit((unsigned char) path[1])))
                                path++;
                } else
                        *p++ = *path++;
        *p = 0;
        return key;
}

static int compare_names(const void *a, const void *b) {
        const Name *x = a, *y = b;
        int r = strcmp(x->key, y->key);

        return r != 0 ? r : x->file < y->file ? -1 : x->file > y->file;
}

/* Files that have a place in the image, under their own names or under those without numbers. */
static Names list_names(const DeltaImage *m, bool numbers) {
        Names l = { .items = xnew(Name, m->n_files) };

        for (uint32_t i = 0; i < m->n_files; i++)
                if (m->files[i].n_extents > 0)
                        l.items[l.n++] =
                                (Name){ .key = numbers ? xstrdup(m->files[i].path) : without_numbers(m->files[i].path),
                                        .file = i };
        qsort(l.items, l.n, sizeof(*l.items), compare_names);
        return l;
}

static uint64_t distance(const DeltaFile *a, const DeltaFile *b) {
        return a->size > b->size ? a->size - b->size : b->size - a->size;
}

/* Of those with that key the one nearest in size that nobody has yet, or if all are had, the nearest one. */
static uint32_t nearest(const DeltaImage *old, const Names *l, const char *key, const DeltaFile *f, const bool *taken) {
        size_t low = 0, high = l->n;
        uint32_t best = DELTA_NONE;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(l->items[middle].key, key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        for (; low < l->n && streq(l->items[low].key, key); low++) {
                uint32_t i = l->items[low].file;

                if (best == DELTA_NONE || taken[i] < taken[best] ||
                    (taken[i] == taken[best] && distance(&old->files[i], f) < distance(&old->files[best], f)))
                        best = i;
        }
        return best;
}

/* Of files that are nothing but new names the old ones are still there (two packages became one, a file was split), so
 * that all are looked at and not only those that are gone. */
static void pair_by_content(const DeltaImage *old, const DeltaImage *new, uint32_t *pairs) {
        _cleanup_(delta_similar_freep) DeltaSimilar *s = NULL;
        uint64_t middle;

        for (uint32_t i = 0; i < new->n_files; i++) {
                const DeltaFile *f = &new->files[i];

                if (pairs[i] != DELTA_NONE || f->n_extents == 0)
                        continue;
                if (!s) {
                        _cleanup_free_ bool *wanted = xnew(bool, old->n_files);

                        for (uint32_t k = 0; k < old->n_files; k++)
                                wanted[k] = old->files[k].n_extents > 0;
                        s = delta_similar_new(old, wanted);
                }
                pairs[i] = delta_similar_find(s, new, i, 0, f->size, DELTA_NONE, &middle);
        }
}

uint32_t *delta_pair_files(const DeltaImage *old, const DeltaImage *new) {
        uint32_t *pairs = xnew(uint32_t, new->n_files);
        _cleanup_free_ bool *taken = xnew(bool, old->n_files);
        _cleanup_(names_done) Names names = list_names(old, true), masked = list_names(old, false);

        for (uint32_t i = 0; i < new->n_files; i++) {
                pairs[i] = nearest(old, &names, new->files[i].path, &new->files[i], taken);
                if (pairs[i] != DELTA_NONE)
                        taken[pairs[i]] = true;
        }
        for (uint32_t i = 0; i < new->n_files; i++) {
                _cleanup_free_ char *key = NULL;

                if (pairs[i] != DELTA_NONE || new->files[i].n_extents == 0)
                        continue;
                key = without_numbers(new->files[i].path);
                pairs[i] = nearest(old, &masked, key, &new->files[i], taken);
                if (pairs[i] != DELTA_NONE)
                        taken[pairs[i]] = true;
        }
        pair_by_content(old, new, pairs);
        return pairs;
}
