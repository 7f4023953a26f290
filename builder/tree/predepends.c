/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "predepends.h"

static size_t find_name(const PackageRelations *packages, size_t n, const char *word, size_t length) {
        for (size_t i = 0; i < n; i++)
                if (strlen(packages[i].name) == length && strncmp(packages[i].name, word, length) == 0)
                        return i;
        return n;
}

/* The next name of a field and what is behind it; NULL at the field's end. */
static const char *next_name(const char *field, const char **ret_name, size_t *ret_length) {
        field += strspn(field, " \t\n,|");
        if (!*field)
                return NULL;
        *ret_name = field;
        *ret_length = strcspn(field, " \t\n,|(:");
        return field + strcspn(field, ",|");
}

static bool leads_to(const PackageRelations *packages, size_t n, size_t from, size_t to, bool *seen) {
        const char *name;
        size_t length;

        if (from == to)
                return true;
        if (seen[from])
                return false;
        seen[from] = true;
        for (const char *p = packages[from].pre_depends; (p = next_name(p, &name, &length));) {
                size_t i = find_name(packages, n, name, length);

                if (i < n && leads_to(packages, n, i, to, seen))
                        return true;
        }
        return false;
}

/* The round that the package's field asks for: behind what it names, but beside what needs the package itself. */
static unsigned wanted_round(const PackageRelations *packages, size_t n, size_t package, const unsigned *rounds) {
        unsigned wanted = rounds[package];
        const char *name;
        size_t length;

        for (const char *p = packages[package].pre_depends; (p = next_name(p, &name, &length));) {
                size_t i = find_name(packages, n, name, length);

                if (i < n && rounds[i] >= wanted) {
                        _cleanup_free_ bool *seen = xnew(bool, n);

                        wanted = rounds[i] + !leads_to(packages, n, i, package, seen);
                }
        }
        return wanted;
}

unsigned predepends_rounds(const PackageRelations *packages, size_t n, const bool *essential, unsigned *ret_rounds) {
        unsigned n_rounds = 1;
        bool changed = true;

        for (size_t i = 0; i < n; i++) {
                ret_rounds[i] = essential[i] ? 0 : 1;
                if (!essential[i])
                        n_rounds = 2;
        }
        /* Longest paths, found by repeating. Without cycles' own edges there are at most n. */
        while (changed) {
                changed = false;
                for (size_t i = 0; i < n; i++) {
                        unsigned wanted = essential[i] ? 0 : wanted_round(packages, n, i, ret_rounds);

                        if (wanted > ret_rounds[i]) {
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
