/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "io.h"
#include "openpgp.h"
#include "process.h"

/* With a key in a file: the folder that gpg is given as its home. */
typedef struct Home {
        char *path;
} Home;

/* gpg leaves an agent behind that would hold the key until it finds its folder gone. */
static void home_done(Home *h) {
        const char *const argv[] = { "gpgconf", "--homedir", h->path, "--kill", "all", NULL };

        if (!h->path)
                return;
        (void) process_run((char *const *) argv, NULL, NULL, NULL, NULL);
        (void) io_remove_tree(AT_FDCWD, h->path, NULL);
        free(h->path);
}

static int check_gpg(Error *reterr) {
        const char *const argv[] = { "gpg", "--version", NULL };

        if (process_run((char *const *) argv, NULL, NULL, NULL, NULL) >= 0)
                return 0;
        error_set(reterr, ENOENT, REFUSAL_MACHINE, "gpg, which makes OpenPGP signatures, cannot be run");
        return error_hint(reterr, "sudo apt-get install gnupg");
}

static int import_key(const char *file, Home *ret, Error *reterr) {
        int r = io_temporary_folder("openpgp", &ret->path, reterr);

        if (r < 0)
                return r;
        const char *const argv[] = { "gpg",     "--batch",  "--quiet", "--no-tty", "--homedir",
                                     ret->path, "--import", "--",      file,       NULL };

        r = process_run((char *const *) argv, NULL, NULL, NULL, reterr);
        return r < 0 ? error_prefix(reterr, "%s", file) : 0;
}

static int run_gpg(const char *key, const char *home, const void *text, size_t size, Buffer *ret, Error *reterr) {
        const ProcessOptions opt = { .input = text, .input_size = size, .output_max = OPENPGP_SIGNATURE_SIZE_MAX };
        _cleanup_strv_free_ char **argv =
                strv_split("gpg --batch --quiet --no-tty --no-armor --digest-algo SHA256", " ");
        _cleanup_free_ char *data = NULL;
        size_t n;
        int r;

        if (home) {
                strv_extend(&argv, "--homedir");
                strv_extend(&argv, home);
                /* A key that wants a passphrase is refused at once: nobody can be asked. */
                strv_extend(&argv, "--pinentry-mode");
                strv_extend(&argv, "error");
        } else {
                strv_extend(&argv, "--local-user");
                strv_extend(&argv, key);
        }
        strv_extend(&argv, "--output");
        strv_extend(&argv, "-");
        strv_extend(&argv, "--detach-sign");
        r = process_run(argv, &opt, &data, &n, reterr);
        if (r < 0)
                return r;
        if (n == 0)
                return error_set(reterr, EIO, REFUSAL_TOOL_FAILED, "gpg made no signature");
        *ret = (Buffer){ .data = TAKE_PTR(data), .size = n, .allocated = n + 1 };
        return 0;
}

static bool is_file(const char *key) {
        return strchr(key, '/') || access(key, F_OK) >= 0;
}

static int cannot_sign(const char *key, const Error *e, Error *reterr) {
        error_set(reterr, ENOKEY, REFUSAL_KEY, "no signature by %s: %s", key, e->message);
        return error_hint(reterr, is_file(key)
                                          ? "The file must hold one secret key without a passphrase; \"gpg "
                                            "--export-secret-keys ID\" writes one. A key of your keyring is named by "
                                            "its fingerprint instead."
                                          : "\"gpg --list-secret-keys\" shows the keys there are; a file is named by "
                                            "its path.");
}

int openpgp_sign(const char *key, const void *text, size_t size, Buffer *ret, Error *reterr) {
        _cleanup_(home_done) Home home = {};
        _cleanup_error_ Error e = {};
        int r = check_gpg(reterr);

        if (r < 0)
                return r;
        if (is_file(key))
                r = import_key(key, &home, &e);
        if (r >= 0)
                r = run_gpg(key, home.path, text, size, ret, &e);
        return r < 0 ? cannot_sign(key, &e, reterr) : 0;
}

int openpgp_check(const char *key, Error *reterr) {
        const char *const argv[] = { "gpg", "--batch", "--quiet", "--no-tty", "--list-secret-keys", "--", key, NULL };
        _cleanup_buffer_ Buffer unused = {};
        _cleanup_error_ Error e = {};
        int r;

        if (is_file(key))
                return openpgp_sign(key, "", 0, &unused, reterr);
        r = check_gpg(reterr);
        if (r < 0)
                return r;
        r = process_run((char *const *) argv, NULL, NULL, NULL, &e);
        return r < 0 ? cannot_sign(key, &e, reterr) : 0;
}
