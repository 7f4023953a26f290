/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "predepends.h"

static size_t find_name(const char *const *names, size_t n, const char *word, size_t length) {
        for (size_t i = 0; i < n; i++)
                if (strlen(names[i]) == length && strncmp(names[i], word, length) == 0)
                        return i;
        return n;
}

/* The latest round among what the field names, or 0. */
static unsigned latest_round(const char *field, const char *const *names, size_t n, const unsigned *rounds) {
        unsigned latest = 0;

        while (*field) {
                size_t length, i;

                field += strspn(field, " \t\n,|");
                length = strcspn(field, " \t\n,|(:");
                if (length > 0 && (i = find_name(names, n, field, length)) < n)
                        latest = MAX(latest, rounds[i]);
                field += strcspn(field, ",|");
        }
        return latest;
}

unsigned predepends_rounds(const char *const *names, const char *const *fields, size_t n, size_t n_essential,
                           unsigned *ret_rounds) {
        unsigned n_rounds = n > n_essential ? 2 : 1;

        for (size_t i = 0; i < n; i++)
                ret_rounds[i] = i < n_essential ? 0 : 1;
        /* Longest paths, found by repeating; a chain cannot be longer than the number of packages, so a cycle ends here
         * too. */
        for (size_t pass = 0; pass < 16; pass++) {
                bool changed = false;

                for (size_t i = n_essential; i < n; i++) {
                        unsigned wanted = 1 + latest_round(fields[i], names, n, ret_rounds);

                        if (wanted > ret_rounds[i] && wanted <= 16) {
                                ret_rounds[i] = wanted;
                                n_rounds = MAX(n_rounds, wanted + 1);
                                changed = true;
                        }
                }
                if (!changed)
                        break;
        }
        return n_rounds;
}
