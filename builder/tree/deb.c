/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Three readers of libarchive in a row: ar over the file, a decompressor over the member ("raw" in libarchive's words),
 * tar over what comes out. The seam between the last two is ours, because only there can a bomb be stopped at a number
 * of bytes that really came out, whatever sizes its headers claim. */

#include "deb.h"
#include "archive-cleanup.h"
#include "io.h"

#define READ_BUFFER_SIZE ((size_t) 256 * 1024)
#define FORMAT_VERSION_SIZE_MAX 64
#define FIELD_LENGTH_MAX 512
#define AR_MAGIC "!<arch>\n"
#define AR_HEADER_SIZE 60

typedef struct Source {
        int fd;
        uint64_t offset;
        uint8_t buffer[READ_BUFFER_SIZE];
} Source;

/* What comes out of one compressed member. */
typedef struct Stream {
        struct archive *member; /* borrowed: ar, standing at the member */
        struct archive *raw;    /* borrowed: the decompressor over it */
        uint64_t n_bytes, limit;
        bool exceeded;
} Stream;

typedef enum MemberKind { MEMBER_VERSION, MEMBER_CONTROL, MEMBER_DATA, MEMBER_IGNORED } MemberKind;

static struct archive *reader_new(void) {
        struct archive *a = archive_read_new();

        if (!a)
                abort();
        return a;
}

static int bad_package(struct archive *a, const char *what, Error *reterr) {
        const char *text = archive_error_string(a);

        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %s", what, isempty(text) ? "it is damaged" : text);
}

static la_ssize_t read_source(struct archive *a, void *userdata, const void **ret) {
        Source *s = userdata;
        ssize_t n;

        do
                n = pread(s->fd, s->buffer, sizeof(s->buffer), (off_t) s->offset);
        while (n < 0 && errno == EINTR);
        if (n < 0) {
                archive_set_error(a, errno, "cannot read the package: %s", strerror(errno));
                return -1;
        }
        s->offset += (uint64_t) n;
        *ret = s->buffer;
        return n;
}

static la_int64_t skip_source(struct archive *a, void *userdata, la_int64_t request) {
        Source *s = userdata;

        s->offset += (uint64_t) request;
        return request;
}

static int open_ar(Source *s, struct archive **ret, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *a = reader_new();

        if (archive_read_support_format_ar(a) != ARCHIVE_OK ||
            archive_read_open2(a, s, NULL, read_source, skip_source, NULL) != ARCHIVE_OK)
                return bad_package(a, "not a Debian package", reterr);
        *ret = TAKE_PTR(a);
        return 0;
}

static la_ssize_t read_member(struct archive *a, void *userdata, const void **ret) {
        struct archive *member = userdata;
        la_int64_t offset;
        size_t size;
        int r = archive_read_data_block(member, ret, &size, &offset);

        if (r == ARCHIVE_EOF)
                return 0;
        if (r != ARCHIVE_OK) {
                archive_set_error(a, EIO, "%s", archive_error_string(member) ?: "the member is damaged");
                return -1;
        }
        return (la_ssize_t) size;
}

typedef struct Compression {
        const char *suffix;
        int code;
        int (*enable)(struct archive *a);
} Compression;

static int enable_nothing(struct archive *a) {
        return ARCHIVE_OK;
}

static const Compression *find_compression(const char *suffix) {
        static const Compression known[] = {
                { "", ARCHIVE_FILTER_NONE, enable_nothing },
                { ".gz", ARCHIVE_FILTER_GZIP, archive_read_support_filter_gzip },
                { ".xz", ARCHIVE_FILTER_XZ, archive_read_support_filter_xz },
                { ".zst", ARCHIVE_FILTER_ZSTD, archive_read_support_filter_zstd },
                { ".bz2", ARCHIVE_FILTER_BZIP2, archive_read_support_filter_bzip2 },
                { ".lzma", ARCHIVE_FILTER_LZMA, archive_read_support_filter_lzma },
        };

        for (size_t k = 0; k < ELEMENTSOF(known); k++)
                if (streq(known[k].suffix, suffix))
                        return &known[k];
        return NULL;
}

/* Opens the decompressor that the member's name promises; another one, or two in a row, are refused, as by dpkg. */
static int open_raw(struct archive *member, const char *name, struct archive **ret, Error *reterr) {
        const char *suffix = startswith(name, "control.tar") ?: startswith(name, "data.tar");
        const Compression *c = suffix ? find_compression(suffix) : NULL;
        _cleanup_(archive_read_freep) struct archive *a = reader_new();
        struct archive_entry *e;

        if (!c)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "unknown compression of the member %.80s", name);
        if (c->enable(a) != ARCHIVE_OK || archive_read_support_format_raw(a) != ARCHIVE_OK ||
            archive_read_open2(a, member, NULL, read_member, NULL, NULL) != ARCHIVE_OK ||
            archive_read_next_header(a, &e) != ARCHIVE_OK)
                return bad_package(a, name, reterr);
        if (archive_filter_code(a, 0) != c->code || archive_filter_count(a) != (c->code == ARCHIVE_FILTER_NONE ? 1 : 2))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is not compressed as its name says", name);
        *ret = TAKE_PTR(a);
        return 0;
}

/* The next bytes out of the decompressor, counted. 0 at the end. */
static la_ssize_t read_stream(struct archive *a, void *userdata, const void **ret) {
        Stream *s = userdata;
        la_int64_t offset;
        size_t size;
        int r = archive_read_data_block(s->raw, ret, &size, &offset);

        if (r == ARCHIVE_EOF)
                return 0;
        if (r != ARCHIVE_OK) {
                if (a)
                        archive_set_error(a, EIO, "%s", archive_error_string(s->raw) ?: "it cannot be decompressed");
                return -1;
        }
        if (size > s->limit - s->n_bytes) {
                s->exceeded = true;
                if (a)
                        archive_set_error(a, EFBIG, "it unpacks to too much");
                return -1;
        }
        s->n_bytes += size;
        return (la_ssize_t) size;
}

static int too_large(const Stream *s, const char *name, Error *reterr) {
        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s unpacks to more than %" PRIu64 " bytes", name, s->limit);
}

/* The tar in a member, into the tree. */
static int import_member(struct archive *member, const char *name, uint64_t limit, Tree *into, const char *prefix,
                         TreeImportFlags flags, const char *package, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *raw = NULL, *tar = reader_new();
        Stream s = { .member = member, .limit = limit };
        int r = open_raw(member, name, &raw, reterr);

        if (r < 0)
                return r;
        s.raw = raw;
        if (archive_read_support_format_tar(tar) != ARCHIVE_OK ||
            archive_read_open2(tar, &s, NULL, read_stream, NULL, NULL) != ARCHIVE_OK)
                r = bad_package(tar, name, reterr);
        else {
                r = tree_import_archive(into, prefix, tar, flags, package, reterr);
                if (r < 0)
                        (void) error_prefix(reterr, "%s", name);
        }
        return r < 0 && s.exceeded ? too_large(&s, name, reterr) : r;
}

static MemberKind member_kind(const char *name) {
        if (streq(name, "debian-binary"))
                return MEMBER_VERSION;
        if (startswith(name, "control.tar"))
                return MEMBER_CONTROL;
        if (startswith(name, "data.tar"))
                return MEMBER_DATA;
        return MEMBER_IGNORED;
}

/* The next member that matters; its name is written to *ret_name and valid until the next call. Members are where
 * deb(5) wants them, or it is no package: a second control.tar that another reader might prefer must not exist. */
static int next_member(struct archive *ar, MemberKind wanted, const char **ret_name, Error *reterr) {
        static const char *const names[] = { "debian-binary", "control.tar", "data.tar" };

        for (;;) {
                struct archive_entry *e;
                const char *name;
                MemberKind kind;
                int r = archive_read_next_header(ar, &e);

                if (r == ARCHIVE_EOF)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "not a Debian package: no %s in its place", names[wanted]);
                if (r != ARCHIVE_OK)
                        return bad_package(ar, "not a Debian package", reterr);
                name = archive_entry_pathname(e) ?: "";
                kind = member_kind(name);
                if (kind == MEMBER_IGNORED && *name == '_' && wanted != MEMBER_VERSION)
                        continue;
                if (kind != wanted)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "not a Debian package: the member \"%.80s\" is in the place of %s", name,
                                         names[wanted]);
                *ret_name = name;
                return 0;
        }
}

static int check_version(struct archive *ar, Error *reterr) {
        char text[FORMAT_VERSION_SIZE_MAX + 1] = "";
        const char *name;
        la_ssize_t n;
        int r = next_member(ar, MEMBER_VERSION, &name, reterr);

        if (r < 0)
                return r;
        n = archive_read_data(ar, text, FORMAT_VERSION_SIZE_MAX);
        if (n < 0)
                return bad_package(ar, "debian-binary", reterr);
        if (!startswith(text, "2.") || !memchr(text, '\n', (size_t) n))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "a Debian package of an unknown version");
        return 0;
}

char *deb_field(const char *control_text, const char *name) {
        size_t length = strlen(name);
        const char *p = control_text, *end;

        while (*p) {
                if (strncasecmp(p, name, length) == 0 && p[length] == ':') {
                        p += length + 1;
                        end = p;
                        do
                                end += strcspn(end, "\n");
                        while (*end && (end[1] == ' ' || end[1] == '\t') && end++);
                        p += strspn(p, " \t");
                        while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
                                end--;
                        return xstrndup(p, end > p ? (size_t) (end - p) : 0);
                }
                p += strcspn(p, "\n");
                p += *p == '\n';
        }
        return NULL;
}

/* Only letters, digits and the given others. */
static bool is_word(const char *s, const char *others) {
        if (isempty(s) || strlen(s) > FIELD_LENGTH_MAX)
                return false;
        for (; *s; s++)
                if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
                      strchr(others, *s)))
                        return false;
        return true;
}

static int parse_control(DebControl *c, const char *expected, Error *reterr) {
        const DebFile *f = deb_control_file(c, "control");
        _cleanup_free_ char *essential = NULL;

        if (!f || memchr(f->data, 0, f->size))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the package has no usable control file");
        c->package = deb_field(f->data, "Package");
        c->version = deb_field(f->data, "Version");
        c->architecture = deb_field(f->data, "Architecture");
        essential = deb_field(f->data, "Essential");
        c->essential = essential && strcasecmp(essential, "yes") == 0;
        if (!is_word(c->package, "+.-") || !is_word(c->version, "+.-:~") || !is_word(c->architecture, "-"))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "the package's name, version or architecture is missing or malformed");
        if (expected && !streq(c->package, expected))
                return error_set(reterr, EINVAL, REFUSAL_DIFFERENT, "the file holds the package %s, not %s", c->package,
                                 expected);
        return 0;
}

static int read_control(struct archive *ar, const char *expected, DebControl *c, Error *reterr) {
        _cleanup_(tree_freep) Tree *t = NULL;
        const char *name;
        int r = next_member(ar, MEMBER_CONTROL, &name, reterr);

        if (r >= 0)
                r = tree_new(NULL, &t, reterr);
        if (r >= 0)
                r = import_member(ar, name, DEB_CONTROL_SIZE_MAX, t, "", 0, NULL, reterr);
        if (r < 0)
                return r;
        if (t->root->n_children > DEB_CONTROL_FILES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more than %d control files", DEB_CONTROL_FILES_MAX);
        c->files = xnew(DebFile, t->root->n_children + 1);
        for (size_t k = 0; k < t->root->n_children; k++) {
                Node *n = t->root->children[k];
                DebFile *f = c->files + c->n_files;

                if (!node_is_file(n))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "the control file %.80s is not a regular file", n->name);
                r = tree_read_file(t, n, DEB_CONTROL_SIZE_MAX, &f->data, &f->size, reterr);
                if (r < 0)
                        return r;
                f->name = xstrdup(n->name);
                f->mode = n->inode->mode & 07777;
                c->n_files++;
        }
        return parse_control(c, expected, reterr);
}

void deb_control_done(DebControl *c) {
        for (size_t k = 0; k < c->n_files; k++) {
                free(c->files[k].name);
                free(c->files[k].data);
        }
        free(c->files);
        free(c->package);
        free(c->version);
        free(c->architecture);
        *c = (DebControl){};
}

const DebFile *deb_control_file(const DebControl *c, const char *name) {
        for (size_t k = 0; k < c->n_files; k++)
                if (streq(c->files[k].name, name))
                        return &c->files[k];
        return NULL;
}

int deb_read(int fd, const char *package, Tree *into, const char *prefix, DebFlags flags, DebControl *ret_control,
             Error *reterr) {
        _cleanup_free_ Source *source = xnew(Source, 1);
        _cleanup_deb_control_ DebControl control = {};
        _cleanup_(archive_read_freep) struct archive *ar = NULL;
        const char *name;
        int r;

        source->fd = fd;
        r = open_ar(source, &ar, reterr);
        if (r >= 0)
                r = check_version(ar, reterr);
        if (r >= 0)
                r = read_control(ar, package, &control, reterr);
        if (r >= 0 && into) {
                r = next_member(ar, MEMBER_DATA, &name, reterr);
                if (r >= 0)
                        r = import_member(ar, name, DEB_DATA_SIZE_MAX, into, prefix,
                                          flags & DEB_MERGE_USR ? TREE_IMPORT_MERGE_USR : 0, control.package, reterr);
        }
        if (r < 0)
                return package ? error_prefix(reterr, "package %s", package) : r;
        if (ret_control) {
                *ret_control = control;
                control = (DebControl){};
        }
        return 0;
}

static int write_ar_header(int fd, uint64_t offset, const char *name, uint64_t size, Error *reterr) {
        char header[AR_HEADER_SIZE + 1];

        /* Times and owners of members mean nothing to dpkg; fixed ones keep the result a function of the contents. */
        snprintf(header, sizeof(header), "%-16s%-12u%-6u%-6u%-8s%-10" PRIu64 "`\n", name, 0u, 0u, 0u, "100644", size);
        return io_pwrite_all(fd, header, AR_HEADER_SIZE, offset, reterr);
}

/* Appends the member, decompressed, under the given name. The size is known only afterwards. */
static int repack_member(struct archive *ar, const char *name, const char *new_name, int out_fd, uint64_t *offset,
                         uint64_t limit, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *raw = NULL;
        Stream s = { .member = ar, .limit = limit };
        uint64_t data = *offset + AR_HEADER_SIZE;
        int r = open_raw(ar, name, &raw, reterr);

        if (r < 0)
                return r;
        s.raw = raw;
        for (;;) {
                uint64_t before = s.n_bytes;
                const void *block;
                la_ssize_t n = read_stream(NULL, &s, &block);

                if (n < 0)
                        return s.exceeded ? too_large(&s, name, reterr) : bad_package(raw, name, reterr);
                if (n == 0)
                        break;
                r = io_pwrite_all(out_fd, block, (size_t) n, data + before, reterr);
                if (r < 0)
                        return r;
        }
        r = write_ar_header(out_fd, *offset, new_name, s.n_bytes, reterr);
        if (r >= 0 && s.n_bytes % 2 != 0)
                r = io_pwrite_all(out_fd, "\n", 1, data + s.n_bytes, reterr);
        *offset = data + s.n_bytes + s.n_bytes % 2;
        return r;
}

int deb_repack_uncompressed(int fd, int out_fd, Error *reterr) {
        static const char version[] = "2.0\n";
        _cleanup_free_ Source *source = xnew(Source, 1);
        _cleanup_(archive_read_freep) struct archive *ar = NULL;
        uint64_t offset = strlen(AR_MAGIC);
        const char *name;
        int r;

        source->fd = fd;
        r = open_ar(source, &ar, reterr);
        if (r >= 0)
                r = check_version(ar, reterr);
        if (r >= 0)
                r = io_pwrite_all(out_fd, AR_MAGIC, strlen(AR_MAGIC), 0, reterr);
        if (r >= 0)
                r = write_ar_header(out_fd, offset, "debian-binary", strlen(version), reterr);
        if (r >= 0)
                r = io_pwrite_all(out_fd, version, strlen(version), offset + AR_HEADER_SIZE, reterr);
        offset += AR_HEADER_SIZE + strlen(version);
        if (r >= 0)
                r = next_member(ar, MEMBER_CONTROL, &name, reterr);
        if (r >= 0)
                r = repack_member(ar, name, "control.tar", out_fd, &offset, DEB_CONTROL_SIZE_MAX, reterr);
        if (r >= 0)
                r = next_member(ar, MEMBER_DATA, &name, reterr);
        if (r >= 0)
                r = repack_member(ar, name, "data.tar", out_fd, &offset, DEB_DATA_SIZE_MAX, reterr);
        return r < 0 ? r : 0;
}
