/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes as each of the texts that an archive, or the machine's apt, hands us. */

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "apt.h"
#include "archive-index.h"
#include "archive-signature.h"
#include "io.h"
#include "mirrors.h"

static void must_say_why(int r, const Error *e) {
        if (r < 0 && (e->id == REFUSAL_NONE || !e->message))
                abort();
}

static void read_packages(const uint8_t *data, size_t size) {
        _cleanup_(archive_index_done) ArchiveIndex by_text = {}, by_fd = {};
        _cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC);
        _cleanup_error_ Error e = {}, f = {};
        Sha256 digest, expected;
        uint64_t read;
        int r, s;

        if (fd < 0 || io_write_all(fd, data, size, NULL) < 0 || lseek(fd, 0, SEEK_SET) < 0)
                abort();
        r = archive_read_text((const char *) data, size, "input", archive_index_add, &by_text, &e);
        s = archive_read_fd(fd, "input", archive_index_add, &by_fd, &digest, &read, &f);
        must_say_why(r, &e);
        must_say_why(s, &f);
        if ((r < 0) != (s < 0) || by_text.n_packages != by_fd.n_packages)
                abort();
        sha256_buffer(data, size, &expected);
        if (s >= 0 && (read != size || !sha256_equal(&digest, &expected)))
                abort();
        archive_index_sort(&by_text);
        for (size_t i = 0; i < by_text.n_packages; i++)
                if (!archive_index_find(&by_text, by_text.packages[i].name))
                        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = xstrndup((const char *) data, size), *message = NULL, *signature = NULL,
                            *main_uri = NULL, *sibling = NULL;
        _cleanup_(archive_release_done) ArchiveRelease release = {};
        _cleanup_strv_free_ char **signers = NULL;
        _cleanup_(apt_plan_done) AptPlan plan = {};
        _cleanup_error_ Error e = {};

        read_packages(data, size);
        must_say_why(archive_release_parse((const char *) data, size, "input", &release, &e), &e);
        error_done(&e);
        must_say_why(archive_signature_split((const char *) data, size, "input", &message, &signature, &e), &e);
        error_done(&e);
        must_say_why(archive_signature_read_status(text, "input", &signers, &e), &e);
        error_done(&e);
        must_say_why(apt_plan_parse(text, &plan, &e), &e);
        main_uri = mirror_from_targets(text, false);
        sibling = mirror_security_sibling(text);
        return 0;
}
