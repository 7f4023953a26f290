/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes as a lock, and as a list of numbers: what is accepted must come out of the writer as something that is
 * accepted again, with the same meaning. */

#include <stdint.h>
#include <stdlib.h>

#include "ids.h"
#include "io.h"
#include "lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(lock_freep) Lock *l = NULL, *again = NULL;
        _cleanup_(ids_freep) Ids *ids = NULL;
        _cleanup_free_ char *text = NULL, *second = NULL, *copy = xstrndup((const char *) data, size);
        _cleanup_error_ Error e = {};

        if (lock_parse((const char *) data, size, "input", &l, &e) >= 0) {
                text = lock_format(l);
                if (lock_parse(text, strlen(text), "output", &again, &e) < 0)
                        abort();
                second = lock_format(again);
                if (!streq(text, second))
                        abort();
                for (size_t i = 0; i < l->n_packages; i++)
                        if (!path_is_clean_relative(l->packages[i].path) || !lock_find(l, l->packages[i].name))
                                abort();
        } else if (e.id == REFUSAL_NONE || !e.message)
                abort();
        error_done(&e);
        if (ids_parse(copy, "input", &ids, &e) < 0 && (e.id == REFUSAL_NONE || !e.message))
                abort();
        return 0;
}
