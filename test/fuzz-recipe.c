/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes as recipe.conf of a recipe: either it loads, and then explain, JSON, digest and the path rules work, or
 * there are problems to show. */

#include "io.h"
#include "recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* In memory, so that a run costs no disk; made once per process. */
static char folder[64];

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        snprintf(folder, sizeof(folder), "/dev/shm/sealab-fuzz-recipe-%d/it", (int) getpid());
        return io_mkdir_parents(AT_FDCWD, folder, 0700, NULL);
}

static void use(const Recipe *r) {
        _cleanup_free_ char *text = recipe_explain(r, NULL, true), *one = recipe_explain(r, "Install", false),
                            *formatted = NULL;
        _cleanup_json_ json_t *j = recipe_to_json(r);
        Sha256 digest;

        formatted = json_format(j, false);
        if (!text || !one || !j || !formatted || recipe_request_digest(r, &digest, NULL) < 0)
                abort();
        recipe_path_is_dropped(r, "/usr/share/doc/x/README");
        recipe_module_is_kept(r, "drivers/nvme/host/nvme.ko.xz");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_conf_diagnostics_ ConfDiagnostics d = {};
        _cleanup_(recipe_freep) Recipe *r = NULL;
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *file = path_join(folder, "recipe.conf"), *text = NULL;

        /* Globs over the fuzzing machine's own files would make runs differ. */
        if (memmem(data, size, "LocalDebs", strlen("LocalDebs")))
                return 0;
        if (io_write_file(AT_FDCWD, file, data, size, 0600, NULL) < 0)
                return 0;
        if (recipe_load(folder, &d, &r, &e) < 0) {
                text = conf_diagnostics_format(&d);
                if (d.n_items == 0 || !e.hint || !*text)
                        abort();
        } else
                use(r);
        return 0;
}
