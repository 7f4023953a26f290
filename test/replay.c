/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a fuzz target over files and folders of inputs: replay PATH... Fails if there is not one input, because then
 * nothing was tested. */

#include <dirent.h>

#include "io.h"

#define INPUT_SIZE_MAX ((size_t) 64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path, size_t *n, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        _cleanup_free_ void *exact = NULL;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, path, INPUT_SIZE_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        /* Without the terminator that the reader adds, so that a sanitizer sees reads behind the end. */
        exact = xmemdup(text, size);
        fprintf(stderr, "%s\n", path);
        LLVMFuzzerTestOneInput(exact, size);
        (*n)++;
        return 0;
}

static int run_path(const char *path, size_t *n, Error *reterr) {
        DIR *folder = opendir(path);
        struct dirent *entry;
        int r = 0;

        if (!folder)
                return errno == ENOTDIR ? run_file(path, n, reterr)
                                        : error_errno(reterr, errno, "cannot open %s", path);
        while (r >= 0 && (entry = readdir(folder))) {
                _cleanup_free_ char *file = path_join(path, entry->d_name);

                if (entry->d_name[0] != '.')
                        r = run_file(file, n, reterr);
        }
        closedir(folder);
        return r;
}

int main(int argc, char **argv) {
        _cleanup_error_ Error e = {};
        size_t n = 0;

        for (int i = 1; i < argc; i++)
                if (run_path(argv[i], &n, &e) < 0) {
                        fprintf(stderr, "replay: %s\n", e.message);
                        return 1;
                }
        printf("%zu inputs\n", n);
        return n > 0 ? 0 : 1;
}
