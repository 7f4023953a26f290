/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "archive-suite.h"
#include "archive-signature.h"
#include "io.h"
#include "lock-internal.h"

void archive_suite_done(ArchiveSuite *s) {
        lock_suite_done(&s->lock);
        archive_index_done(&s->index);
}

/* The signature covers what the suite calls itself: without this, a mirror could serve one suite in another's place. */
static int check_name(const char *suite, const ArchiveRelease *release, Error *reterr) {
        if (streq(suite, release->suite) || streq(suite, release->codename))
                return 0;
        error_set(reterr, EBADMSG, REFUSAL_DIFFERENT, "the mirror serves suite \"%s\" (%s) as %s", release->codename,
                  release->suite, suite);
        return error_hint(reterr, "Use another mirror, or write the suite's own name in Suites=.");
}

static int check_age(const ArchiveRelease *release, const ArchiveSuiteOptions *opt, Error *reterr) {
        _cleanup_free_ char *date = lock_time_format(release->date), *until = lock_time_format(release->valid_until);

        if (opt->now > 0 && release->valid_until > 0 && release->valid_until < opt->now) {
                error_set(reterr, ESTALE, REFUSAL_EXPIRED, "its Release file of %s was valid until %s", date, until);
                return error_hint(reterr, "The mirror no longer follows the archive: use another one, or correct this "
                                          "machine's clock. For a dated archive use --snapshot URI.");
        }
        if (opt->older && release->date < opt->older->date) {
                _cleanup_free_ char *before = lock_time_format(opt->older->date);

                error_set(reterr, ESTALE, REFUSAL_ARCHIVE_OLDER, "the archive is of %s; the last lock's was of %s",
                          date, before);
                return error_hint(reterr, "The mirror lags behind, or somebody plays back old packages: use another "
                                          "mirror or wait. To go back on purpose: --allow-older-archive.");
        }
        return 0;
}

static int read_release(const char *suite, const char *path, const ArchiveSuiteOptions *opt, LockSuite *lock,
                        ArchiveRelease *release, Error *reterr) {
        _cleanup_free_ char *text = NULL, *message = NULL;
        size_t size;
        int r;

        if (!io_exists(AT_FDCWD, path)) {
                error_set(reterr, ENOENT, REFUSAL_DOWNLOAD, "the mirror has no InRelease file for it");
                return error_hint(reterr, "Archives that only have Release and Release.gpg are not supported.");
        }
        r = io_read_file(AT_FDCWD, path, ARCHIVE_RELEASE_SIZE_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        sha256_buffer(text, size, &lock->inrelease);
        r = archive_signature_verify(text, size, "InRelease", opt->keyring, opt->folder, &message, &lock->signed_by,
                                     reterr);
        if (r < 0) {
                if (reterr && reterr->id == REFUSAL_BAD_SIGNATURE)
                        error_hint(reterr, "If the archive is the right one, name its keys with Keyring= in the recipe "
                                           "(Debian's: package debian-archive-keyring).");
                return r;
        }
        r = archive_release_parse(message, strlen(message), "InRelease", release, reterr);
        if (r >= 0)
                r = check_name(suite, release, reterr);
        if (r >= 0)
                r = check_age(release, opt, reterr);
        if (r < 0)
                return r;
        lock->origin = xstrdup(release->origin);
        lock->codename = xstrdup(release->codename);
        lock->date = release->date;
        lock->valid_until = release->valid_until;
        return 0;
}

static int read_index(const AptIndex *i, const ArchiveRelease *release, ArchiveSuite *s, Error *reterr) {
        const struct ArchiveReleaseFile *wanted = archive_release_find(release, i->name);
        _cleanup_close_ int fd = open(i->path, O_RDONLY | O_CLOEXEC);
        uint64_t size;
        Sha256 digest;
        int r;

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", i->path);
        if (!wanted)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "InRelease has no SHA-256 of the uncompressed %s, so it cannot be checked", i->name);
        r = archive_read_fd(fd, i->name, archive_index_add, &s->index, &digest, &size, reterr);
        if (r < 0)
                return r;
        /* TRUST: from here on what was read is what the archive's key signed. */
        if (size != wanted->size || !sha256_equal(&digest, &wanted->sha256)) {
                error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not what InRelease says", i->name);
                return error_hint(reterr, "Try again; if it stays so, use another mirror.");
        }
        s->lock.indexes = xrealloc(s->lock.indexes, s->lock.n_indexes + 1, sizeof(s->lock.indexes[0]));
        s->lock.indexes[s->lock.n_indexes++] = (struct LockIndex){ xstrdup(i->name), digest, size };
        return 0;
}

static int compare_indexes(const void *a, const void *b) {
        return strcmp(((const struct LockIndex *) a)->name, ((const struct LockIndex *) b)->name);
}

/* apt keeps no file for an empty index, such as that of "updates" right after a release. */
static bool is_empty_index(const ArchiveRelease *release, const char *component, const char *architecture) {
        _cleanup_free_ char *name = xasprintf("%s/binary-%s/Packages", component, architecture);
        const struct ArchiveReleaseFile *f = archive_release_find(release, name);

        return f && f->size == 0;
}

static int read_component(const char *suite, const char *component, const ArchiveSuiteOptions *opt,
                          const ArchiveRelease *release, ArchiveSuite *s, Error *reterr) {
        size_t n = 0;
        int r;

        for (size_t i = 0; i < opt->indexes->n_items; i++) {
                const AptIndex *index = &opt->indexes->items[i];

                if (!streq(index->suite, suite) || !streq(index->component, component))
                        continue;
                n++;
                r = read_index(index, release, s, reterr);
                if (r < 0)
                        return r;
        }
        if (n > 0 || is_empty_index(release, component, opt->architecture))
                return 0;
        error_set(reterr, ENOENT, REFUSAL_BAD_VALUE, "it has no component \"%s\" for %s", component, opt->architecture);
        return error_hint(reterr, "Look at Components= and Architecture= of the recipe.");
}

static const char *find_release(const char *suite, const AptIndexes *l) {
        for (size_t i = 0; i < l->n_items; i++)
                if (streq(l->items[i].suite, suite))
                        return l->items[i].release_path;
        return NULL;
}

int archive_suite_read(const char *suite, const ArchiveSuiteOptions *opt, ArchiveSuite *ret, Error *reterr) {
        _cleanup_(archive_suite_done) ArchiveSuite s = { .lock.suite = xstrdup(suite) };
        _cleanup_(archive_release_done) ArchiveRelease release = {};
        const char *path = find_release(suite, opt->indexes);
        int r;

        if (!path) {
                error_set(reterr, ENOENT, REFUSAL_BAD_VALUE, "suite %s has none of the components asked for, for %s",
                          suite, opt->architecture);
                return error_hint(reterr, "Look at Components= and Architecture= of the recipe.");
        }
        r = read_release(suite, path, opt, &s.lock, &release, reterr);
        STRV_FOREACH (component, opt->components)
                if (r >= 0)
                        r = read_component(suite, *component, opt, &release, &s, reterr);
        if (r < 0)
                return error_prefix(reterr, "suite %s", suite);
        if (s.lock.n_indexes > 0)
                qsort(s.lock.indexes, s.lock.n_indexes, sizeof(s.lock.indexes[0]), compare_indexes);
        archive_index_sort(&s.index);
        *ret = s;
        s = (ArchiveSuite){};
        return 0;
}
