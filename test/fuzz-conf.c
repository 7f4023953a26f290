/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes as a file in the INI dialect: no crash, no leak, and every place inside the file. */

#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const words[] = { "Install", "Remove", "Level", "Cluster", NULL };
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(conf_freep) ConfFile *f = NULL;
        _cleanup_free_ char *text = NULL;
        unsigned n_lines = 1;

        conf_parse((const char *) data, size, "fuzz", &d, &f);
        for (size_t i = 0; i < size; i++)
                n_lines += data[i] == '\n';
        for (size_t i = 0; i < f->n_items; i++) {
                unsigned line, column;

                conf_suggest(f->items[i].key, words);
                for (size_t o = 0; o <= strlen(f->items[i].value); o++) {
                        conf_item_position(f->items + i, o, &line, &column);
                        if (line == 0 || line > n_lines || column == 0)
                                abort();
                }
        }
        for (size_t i = 0; i < d.n_items; i++)
                if (d.items[i].line > n_lines)
                        abort();
        text = conf_diagnostics_format(&d);
        return 0;
}
