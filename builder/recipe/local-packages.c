/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "local-packages.h"
#include "apt.h"
#include "io.h"
#include "process.h"

#define CONTROL_MAX ((size_t) 1 << 20)

/* One stanza of Packages: the package's own control fields and where to find it. */
static int append_stanza(const char *path, Store *store, Buffer *packages, Error *reterr) {
        const char *const argv[] = { "dpkg-deb", "-f", path, NULL };
        _cleanup_free_ char *control = NULL, *hex = NULL;
        size_t control_size;
        uint64_t size;
        Sha256 digest;
        int r;

        r = process_run((char *const *) argv, &(ProcessOptions){ .output_max = CONTROL_MAX }, &control, &control_size,
                        reterr);
        if (r < 0)
                return r;
        if (strlen(control) != control_size || strstr(control, "\n\n"))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "its control file is not one stanza of text");
        r = store_add_file(store, path, &digest, &size, reterr);
        if (r < 0)
                return r;
        hex = sha256_hex(&digest);
        buffer_puts(packages, control);
        buffer_printf(packages, "%sFilename: %s\nSize: %" PRIu64 "\nSHA256: %s\n\n",
                      endswith(control, "\n") ? "" : "\n", path_basename(path), size, hex);
        return 0;
}

static int write_release(const char *folder, const Buffer *packages, Error *reterr) {
        _cleanup_free_ char *packages_path = path_join(folder, "Packages"),
                            *release_path = path_join(folder, "Release"), *hex = NULL, *text = NULL;
        Sha256 digest;
        int r;

        sha256_buffer(packages->data, packages->size, &digest);
        hex = sha256_hex(&digest);
        text = xasprintf("Origin: " APT_LOCAL_ORIGIN "\nLabel: " APT_LOCAL_ORIGIN "\n"
                         "Date: Thu, 01 Jan 2015 00:00:00 UTC\nSHA256:\n %s %zu Packages\n",
                         hex, packages->size);
        r = io_write_file(AT_FDCWD, packages_path, packages->data, packages->size, 0644, reterr);
        return r < 0 ? r : io_write_file(AT_FDCWD, release_path, text, strlen(text), 0644, reterr);
}

static int check(const ArchiveIndex *index, const char *architecture, Error *reterr) {
        for (size_t i = 0; i < index->n_packages; i++) {
                const ArchivePackage *p = &index->packages[i];

                if (!streq(p->architecture, "all") && !streq(p->architecture, architecture))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s is for %s, the image for %s", p->path,
                                         p->architecture, architecture);
                if (i > 0 && streq(p->name, index->packages[i - 1].name))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s and %s are both package %s",
                                         index->packages[i - 1].path, p->path, p->name);
        }
        return 0;
}

int local_packages_publish(char *const *debs, const char *folder, const char *architecture, Store *store,
                           ArchiveIndex *ret, Error *reterr) {
        _cleanup_(archive_index_done) ArchiveIndex index = {};
        _cleanup_buffer_ Buffer packages = {};
        int r;

        r = io_mkdir_parents(AT_FDCWD, folder, 0755, reterr);
        STRV_FOREACH (path, debs) {
                if (r >= 0)
                        r = append_stanza(*path, store, &packages, reterr);
                if (r < 0)
                        return error_prefix(reterr, "LocalDebs=: %s", *path);
        }
        if (r >= 0)
                r = archive_read_text(packages.data, packages.size, "LocalDebs=", archive_index_add, &index, reterr);
        if (r >= 0) {
                archive_index_sort(&index);
                r = check(&index, architecture, reterr);
                if (r < 0)
                        error_prefix(reterr, "LocalDebs=");
        }
        if (r >= 0)
                r = write_release(folder, &packages, reterr);
        if (r < 0)
                return r;
        *ret = index;
        index = (ArchiveIndex){};
        return 0;
}
