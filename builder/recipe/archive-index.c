/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <strings.h>
#include <time.h>

#include "archive-index.h"
#include "io.h"

#define CHUNK_SIZE ((size_t) 256 << 10)

typedef struct Reader {
        const char *what;
        ArchiveStanzaFunction function;
        void *userdata;
        uint64_t line; /* lines before the pending text */
        ArchiveStanza stanza;
} Reader;

const char *archive_stanza_get(const ArchiveStanza *s, const char *name) {
        size_t size = strlen(name);

        for (size_t i = 0; i < s->n_fields; i++)
                if (s->fields[i].name_size == size && strcasecmp(s->fields[i].name, name) == 0)
                        return s->fields[i].value;
        return NULL;
}

static int malformed(const Reader *r, uint64_t line, const char *why, Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s:%" PRIu64 ": %s", r->what, line, why);
}

static bool is_field_name(const char *name, size_t size) {
        if (size == 0 || name[0] == '-' || name[0] == '#')
                return false;
        for (size_t i = 0; i < size; i++)
                if (name[i] <= ' ' || name[i] >= 0x7f)
                        return false;
        return true;
}

/* Splits one line, which ends with a NUL, in place. */
static int add_field(Reader *r, char *line, uint64_t number, Error *reterr) {
        ArchiveStanza *s = &r->stanza;
        char *colon = strchr(line, ':');
        size_t size;

        if (!colon)
                return malformed(r, number, "a line without a colon", reterr);
        *colon = 0;
        size = (size_t) (colon - line);
        if (!is_field_name(line, size))
                return malformed(r, number, "not the name of a field", reterr);
        if (archive_stanza_get(s, line))
                return malformed(r, number, "a field stands there twice", reterr);
        if (s->n_fields >= ARCHIVE_FIELDS_MAX)
                return malformed(r, number, "too many fields", reterr);
        s->fields[s->n_fields++] = (struct ArchiveField){ .name = line, .value = colon + 1, .name_size = size };
        return 0;
}

/* The value's text lies in place, but for white space at its ends. */
static void trim_values(ArchiveStanza *s) {
        for (size_t i = 0; i < s->n_fields; i++)
                s->fields[i].value = strstrip((char *) s->fields[i].value);
}

/* text holds whole lines, ends with a newline, and is taken apart. */
static int parse_stanza(Reader *r, char *text, size_t size, Error *reterr) {
        char *p = text, *end = text + size;
        uint64_t number = r->line;

        r->stanza.n_fields = 0;
        r->stanza.line = number + 1;
        if (memchr(text, 0, size) || memchr(text, '\r', size))
                return malformed(r, number + 1, "a NUL or a carriage return", reterr);
        while (p < end) {
                char *newline = memchr(p, '\n', (size_t) (end - p));
                int result = 0;

                number++;
                if (*p == ' ' || *p == '\t') {
                        if (r->stanza.n_fields == 0)
                                return malformed(r, number, "a continuation of nothing", reterr);
                        /* Joined again to the value it belongs to. */
                        p[-1] = '\n';
                        *newline = 0;
                } else {
                        *newline = 0;
                        result = add_field(r, p, number, reterr);
                }
                if (result < 0)
                        return result;
                p = newline + 1;
        }
        r->line = number;
        trim_values(&r->stanza);
        return r->function(&r->stanza, r->userdata, reterr);
}

/* Handles all stanzas that are complete; returns in *ret_used how much of the text they took. */
static int parse_complete(Reader *r, char *text, size_t size, size_t *ret_used, Error *reterr) {
        char *p = text, *end = text + size;

        while (p < end) {
                char *stop;
                int result;

                if (*p == '\n') {
                        r->line++;
                        p++;
                        continue;
                }
                stop = memmem(p, (size_t) (end - p), "\n\n", 2);
                if (!stop)
                        break;
                if ((size_t) (stop - p) > ARCHIVE_STANZA_SIZE_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: a stanza is too large", r->what);
                result = parse_stanza(r, p, (size_t) (stop + 1 - p), reterr);
                if (result < 0)
                        return result;
                p = stop + 1;
        }
        *ret_used = (size_t) (p - text);
        return 0;
}

/* The last stanza may end with the file rather than with an empty line. */
static int parse_rest(Reader *r, Buffer *b, Error *reterr) {
        size_t used;
        int result;

        buffer_puts(b, b->size > 0 && b->data[b->size - 1] == '\n' ? "\n" : "\n\n");
        result = parse_complete(r, b->data, b->size, &used, reterr);
        return result;
}

int archive_read_fd(int fd, const char *what, ArchiveStanzaFunction function, void *userdata, Sha256 *ret_digest,
                    uint64_t *ret_size, Error *reterr) {
        _cleanup_free_ Reader *r = xnew(Reader, 1);
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        _cleanup_free_ char *chunk = xmalloc(CHUNK_SIZE);
        _cleanup_buffer_ Buffer b = {};
        uint64_t total = 0;
        int result;

        *r = (Reader){ .what = what, .function = function, .userdata = userdata };
        for (;;) {
                ssize_t n = read(fd, chunk, CHUNK_SIZE);
                size_t used = 0;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot read %s", what);
                if (n == 0)
                        break;
                hasher_update(h, chunk, (size_t) n);
                total += (uint64_t) n;
                buffer_append(&b, chunk, (size_t) n);
                if (total > ARCHIVE_INDEX_SIZE_MAX || b.size > 2 * ARCHIVE_STANZA_SIZE_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is too large", what);
                result = parse_complete(r, b.data, b.size, &used, reterr);
                if (result < 0)
                        return result;
                memmove(b.data, b.data + used, b.size - used + 1);
                b.size -= used;
        }
        result = parse_rest(r, &b, reterr);
        if (result < 0)
                return result;
        if (ret_digest)
                hasher_final(h, ret_digest);
        if (ret_size)
                *ret_size = total;
        return 0;
}

int archive_read_text(const char *text, size_t size, const char *what, ArchiveStanzaFunction function, void *userdata,
                      Error *reterr) {
        _cleanup_free_ Reader *r = xnew(Reader, 1);
        _cleanup_buffer_ Buffer b = {};

        *r = (Reader){ .what = what, .function = function, .userdata = userdata };
        if (size > ARCHIVE_INDEX_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s is too large", what);
        buffer_append(&b, text, size);
        return parse_rest(r, &b, reterr);
}

/* ---- Packages -------------------------------------------------------------------------------------------- */

static void package_done(ArchivePackage *p) {
        free(p->name);
        free(p->version);
        free(p->architecture);
        free(p->source);
        free(p->source_version);
        free(p->path);
}

void archive_index_done(ArchiveIndex *index) {
        for (size_t i = 0; i < index->n_packages; i++)
                package_done(&index->packages[i]);
        free(index->packages);
        *index = (ArchiveIndex){};
}

/* "Source: glibc (2.41-12)"; the version only where it differs. */
static void take_source(ArchivePackage *p, const char *source) {
        size_t n = source ? strcspn(source, " (") : 0;
        const char *open = source ? strchr(source, '(') : NULL, *close = open ? strchr(open, ')') : NULL;

        p->source = n > 0 ? xstrndup(source, n) : xstrdup(p->name);
        p->source_version = close ? xstrndup(open + 1, (size_t) (close - open - 1)) : xstrdup(p->version);
}

int archive_index_add(const ArchiveStanza *s, void *userdata, Error *reterr) {
        static const char *const needed[] = { "Package", "Version", "Architecture", "Filename", "Size", "SHA256" };
        ArchiveIndex *index = userdata;
        const char *v[ELEMENTSOF(needed)], *essential = archive_stanza_get(s, "Essential");
        ArchivePackage p = { .essential = essential && strcasecmp(essential, "yes") == 0 };

        for (size_t i = 0; i < ELEMENTSOF(needed); i++)
                if (isempty(v[i] = archive_stanza_get(s, needed[i])))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "the package at line %" PRIu64 " has no field %s", s->line, needed[i]);
        if (!parse_u64(v[4], &p.size) || !sha256_from_hex(v[5], &p.sha256))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "the package at line %" PRIu64 " has a malformed size or SHA-256", s->line);
        if (index->n_packages >= ARCHIVE_PACKAGES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more than %d packages", ARCHIVE_PACKAGES_MAX);
        p.name = xstrdup(v[0]);
        p.version = xstrdup(v[1]);
        p.architecture = xstrdup(v[2]);
        p.path = xstrdup(startswith(v[3], "./") ?: v[3]);
        take_source(&p, archive_stanza_get(s, "Source"));
        GROW(index->packages, index->n_packages, index->n_allocated);
        index->packages[index->n_packages++] = p;
        return 0;
}

static int compare_packages(const void *a, const void *b) {
        const ArchivePackage *x = a, *y = b;

        return strcmp(x->name, y->name) ?: strcmp(x->version, y->version) ?: strcmp(x->architecture, y->architecture);
}

void archive_index_sort(ArchiveIndex *index) {
        if (index->n_packages > 0)
                qsort(index->packages, index->n_packages, sizeof(index->packages[0]), compare_packages);
}

const ArchivePackage *archive_index_find(const ArchiveIndex *index, const char *name) {
        size_t low = 0, high = index->n_packages;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(index->packages[middle].name, name) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < index->n_packages && streq(index->packages[low].name, name) ? &index->packages[low] : NULL;
}

/* ---- Release --------------------------------------------------------------------------------------------- */

void archive_release_done(ArchiveRelease *release) {
        free(release->origin);
        free(release->suite);
        free(release->codename);
        for (size_t i = 0; i < release->n_files; i++)
                free(release->files[i].name);
        free(release->files);
        *release = (ArchiveRelease){};
}

bool archive_date_parse(const char *text, int64_t *ret) {
        static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
        static const char *const zones[] = { "UTC", "GMT", "Z", "+0000" };
        _cleanup_strv_free_ char **words = strv_split(text, ", \t\n");
        uint64_t day, year, hour, minute, second;
        _cleanup_strv_free_ char **clock = NULL;
        size_t month = 0, zone = 0;
        struct tm tm = {}, again;
        time_t t;

        if (strv_length(words) != 6 || strlen(words[4]) != 8)
                return false;
        clock = strv_split(words[4], ":");
        if (strv_length(clock) != 3 || !parse_u64(words[1], &day) || !parse_u64(words[3], &year) ||
            !parse_u64(clock[0], &hour) || !parse_u64(clock[1], &minute) || !parse_u64(clock[2], &second))
                return false;
        while (month < ELEMENTSOF(months) && !streq(words[2], months[month]))
                month++;
        while (zone < ELEMENTSOF(zones) && !streq(words[5], zones[zone]))
                zone++;
        if (month == ELEMENTSOF(months) || zone == ELEMENTSOF(zones) || year < 1990 || year > 9999 || day < 1 ||
            day > 31 || hour > 23 || minute > 59 || second > 60)
                return false;
        tm = (struct tm){ .tm_year = (int) year - 1900,
                          .tm_mon = (int) month,
                          .tm_mday = (int) day,
                          .tm_hour = (int) hour,
                          .tm_min = (int) minute,
                          .tm_sec = (int) second };
        t = timegm(&tm);
        /* The 31st of February comes back as another day. */
        if (!gmtime_r(&t, &again) || again.tm_mday != (int) day)
                return false;
        *ret = t;
        return true;
}

static int compare_files(const void *a, const void *b) {
        return strcmp(((const struct ArchiveReleaseFile *) a)->name, ((const struct ArchiveReleaseFile *) b)->name);
}

static int take_files(ArchiveRelease *release, const char *list, Error *reterr) {
        _cleanup_strv_free_ char **words = strv_split(list, " \t\n");
        size_t n = strv_length(words);

        if (n == 0 || n % 3 != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the list of SHA256 is malformed");
        if (n / 3 > ARCHIVE_RELEASE_FILES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more than %d files", ARCHIVE_RELEASE_FILES_MAX);
        release->files = xnew(struct ArchiveReleaseFile, n / 3);
        for (size_t i = 0; i < n; i += 3) {
                struct ArchiveReleaseFile *f = &release->files[release->n_files++];

                f->name = xstrdup(words[i + 2]);
                if (!sha256_from_hex(words[i], &f->sha256) || !parse_u64(words[i + 1], &f->size))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the SHA256 of %s is malformed", f->name);
        }
        qsort(release->files, release->n_files, sizeof(release->files[0]), compare_files);
        for (size_t i = 1; i < release->n_files; i++)
                if (streq(release->files[i - 1].name, release->files[i].name) &&
                    !sha256_equal(&release->files[i - 1].sha256, &release->files[i].sha256))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "two SHA256 for %s",
                                         release->files[i].name);
        return 0;
}

static int take_release(const ArchiveStanza *s, void *userdata, Error *reterr) {
        const char *date = archive_stanza_get(s, "Date"), *until = archive_stanza_get(s, "Valid-Until"),
                   *files = archive_stanza_get(s, "SHA256");
        ArchiveRelease *release = userdata;

        if (release->date != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "more than one stanza");
        if (!date || !archive_date_parse(date, &release->date) || release->date <= 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "no date, or a malformed one");
        if (until && (!archive_date_parse(until, &release->valid_until) || release->valid_until <= 0))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "a malformed Valid-Until");
        if (!files)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "no SHA256 of its index files");
        release->origin = xstrdup(archive_stanza_get(s, "Origin") ?: "");
        release->suite = xstrdup(archive_stanza_get(s, "Suite") ?: "");
        release->codename = xstrdup(archive_stanza_get(s, "Codename") ?: "");
        return take_files(release, files, reterr);
}

int archive_release_parse(const char *text, size_t size, const char *what, ArchiveRelease *ret, Error *reterr) {
        _cleanup_(archive_release_done) ArchiveRelease release = {};
        int r;

        r = archive_read_text(text, size, what, take_release, &release, reterr);
        if (r >= 0 && release.date == 0)
                r = error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the file is empty");
        if (r < 0)
                return error_prefix(reterr, "%s", what);
        *ret = release;
        release = (ArchiveRelease){};
        return 0;
}

const struct ArchiveReleaseFile *archive_release_find(const ArchiveRelease *release, const char *name) {
        const struct ArchiveReleaseFile key = { .name = (char *) name };

        return release->n_files == 0 ? NULL
                                     : bsearch(&key, release->files, release->n_files, sizeof(key), compare_files);
}
