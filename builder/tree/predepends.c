/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "predepends.h"

/* A chain longer than this does not exist in Debian; a cycle would otherwise grow without end. */
#define ROUNDS_MAX 16

static size_t find_name(const PackageRelations *packages, size_t n, const char *word, size_t length) {
        for (size_t i = 0; i < n; i++)
                if (strlen(packages[i].name) == length && strncmp(packages[i].name, word, length) == 0)
                        return i;
        return n;
}

/* The latest round among what the field names, or 0. */
static unsigned latest_round(const char *field, const PackageRelations *packages, size_t n, const unsigned *rounds) {
        unsigned latest = 0;

        while (*field) {
                size_t length, i;

                field += strspn(field, " \t\n,|");
                length = strcspn(field, " \t\n,|(:");
                if (length > 0 && (i = find_name(packages, n, field, length)) < n)
                        latest = MAX(latest, rounds[i]);
                field += strcspn(field, ",|");
        }
        return latest;
}

unsigned predepends_rounds(const PackageRelations *packages, size_t n, const bool *essential, unsigned *ret_rounds) {
        unsigned n_rounds = 1;
        bool changed = true;

        for (size_t i = 0; i < n; i++) {
                ret_rounds[i] = essential[i] ? 0 : 1;
                if (!essential[i])
                        n_rounds = 2;
        }
        /* Longest paths, found by repeating. */
        for (size_t pass = 0; changed && pass < ROUNDS_MAX; pass++) {
                changed = false;
                for (size_t i = 0; i < n; i++) {
                        unsigned wanted =
                                essential[i] ? 0 : 1 + latest_round(packages[i].pre_depends, packages, n, ret_rounds);

                        if (wanted > ret_rounds[i] && wanted <= ROUNDS_MAX) {
                                ret_rounds[i] = wanted;
                                n_rounds = MAX(n_rounds, wanted + 1);
                                changed = true;
                        }
                }
        }
        return n_rounds;
}

/* Whether a comma-separated field of plain names or "name (= version)" holds the word. */
static bool field_names(const char *field, const char *word, size_t length) {
        while (*field) {
                size_t n;

                field += strspn(field, " \t\n,");
                n = strcspn(field, " \t\n,(:");
                if (n == length && strncmp(field, word, n) == 0)
                        return true;
                field += strcspn(field, ",");
        }
        return false;
}

/* Marks who meets one alternative; false if nobody does. */
static bool mark_word(const PackageRelations *packages, size_t n, const char *word, size_t length, bool *marked,
                      bool *changed) {
        size_t found = n;

        for (size_t i = 0; i < n && found == n; i++)
                if (strlen(packages[i].name) == length && strncmp(packages[i].name, word, length) == 0)
                        found = i;
        for (size_t i = 0; i < n && found == n; i++)
                if (field_names(packages[i].provides, word, length))
                        found = i;
        if (found == n)
                return false;
        *changed = *changed || !marked[found];
        return marked[found] = true;
}

static void mark_field(const PackageRelations *packages, size_t n, const char *field, bool *marked, bool *changed) {
        bool met = false;

        while (*field) {
                size_t length;

                field += strspn(field, " \t\n");
                length = strcspn(field, " \t\n,|(:");
                if (length > 0 && !met)
                        met = mark_word(packages, n, field, length, marked, changed);
                field += strcspn(field, ",|");
                if (*field == ',')
                        met = false;
                field += *field != 0;
        }
}

void predepends_close(const PackageRelations *packages, size_t n, bool *marked) {
        bool changed;

        do {
                changed = false;
                for (size_t i = 0; i < n; i++)
                        if (marked[i]) {
                                mark_field(packages, n, packages[i].pre_depends, marked, &changed);
                                mark_field(packages, n, packages[i].depends, marked, &changed);
                        }
        } while (changed);
}
