/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The three documents of a release folder, told apart by the first byte. What is accepted must come back the same from
 * what is written of it, and must not upset the reports. */

#include "inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_release(const char *text, size_t size) {
        _cleanup_(release_freep) Release *a = NULL, *b = NULL;
        _cleanup_free_ char *first = NULL, *second = NULL;

        if (release_parse(text, size, "input", &a, NULL) < 0)
                return;
        first = release_format(a);
        if (release_parse(first, strlen(first), "again", &b, NULL) < 0)
                abort();
        second = release_format(b);
        if (!streq(first, second))
                abort();
}

static void try_manifest(const char *text, size_t size) {
        _cleanup_(manifest_freep) Manifest *a = NULL, *b = NULL;
        _cleanup_free_ char *first = NULL, *second = NULL;

        if (manifest_parse(text, size, "input", &a, NULL) < 0)
                return;
        first = manifest_format(a);
        if (manifest_parse(first, strlen(first), "again", &b, NULL) < 0)
                abort();
        second = manifest_format(b);
        if (!streq(first, second))
                abort();
}

static void try_contents(const char *text, size_t size) {
        _cleanup_(contents_freep) Contents *a = NULL, *b = NULL;
        _cleanup_(facts_freep) Facts *facts = NULL;
        _cleanup_buffer_ Buffer first = {}, second = {};
        _cleanup_free_ char *report = NULL;
        Release *release;

        if (contents_parse(text, size, "input", &a, NULL) < 0)
                return;
        contents_format(a, &first);
        if (contents_parse(first.data, first.size, "again", &b, NULL) < 0)
                abort();
        contents_format(b, &second);
        if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0)
                abort();
        release = release_new(".", "id", "1");
        release->recipe = xstrdup("r");
        release->architecture = xstrdup("amd64");
        release->kernel_version = xstrdup("6");
        release->command_line = xstrdup("");
        facts = facts_new(release, xnew(Manifest, 1), TAKE_PTR(b));
        report = inspect_format_text(facts);
        if (strchr(report, '\033'))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data + 1;

        if (size < 1)
                return 0;
        if (data[0] == 'r')
                try_release(text, size - 1);
        else if (data[0] == 'p')
                try_manifest(text, size - 1);
        else
                try_contents(text, size - 1);
        return 0;
}
