/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The contents manifest as text: lines of JSON, packed with zstd. */

#include <sys/sysmacros.h>
#include <zstd.h>

#include "contents.h"
#include "io.h"
#include "json.h"

/* Enough for a text that is read once in a while; higher levels cost seconds for a few per cent. */
#define COMPRESSION_LEVEL 9

static const struct {
        mode_t type;
        const char *name;
} types[] = {
        { S_IFREG, "file" },         { S_IFDIR, "folder" }, { S_IFLNK, "symlink" }, { S_IFCHR, "character-device" },
        { S_IFBLK, "block-device" }, { S_IFIFO, "fifo" },   { S_IFSOCK, "socket" },
};

static const char *type_name(mode_t mode) {
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (types[i].type == (mode & S_IFMT))
                        return types[i].name;
        return "unknown";
}

/* File names are bytes, JSON strings are UTF-8: what is not goes under KEYHex in hexadecimal. */
static void put_bytes(json_t *object, const char *key, const char *value) {
        json_t *s = json_string(value);
        char name[32];

        if (s) {
                json_object_set_new(object, key, s);
                return;
        }
        snprintf(name, sizeof(name), "%sHex", key);
        _cleanup_free_ char *hex = hex_encode(value, strlen(value));
        json_object_set_new(object, name, json_string(hex));
}

static json_t *entry_to_json(const ContentsEntry *e) {
        json_t *o = json_object();
        char mode[16];

        put_bytes(o, "path", e->path);
        json_object_set_new(o, "type", json_string(type_name(e->mode)));
        snprintf(mode, sizeof(mode), "%04o", e->mode & 07777);
        json_object_set_new(o, "mode", json_string(mode));
        json_object_set_new(o, "uid", json_integer(e->uid));
        json_object_set_new(o, "gid", json_integer(e->gid));
        if (S_ISREG(e->mode)) {
                _cleanup_free_ char *hex = sha256_hex(&e->digest);

                json_object_set_new(o, "size", json_integer((json_int_t) e->size));
                json_object_set_new(o, "sha256", json_string(hex));
        }
        if (e->target)
                put_bytes(o, "target", e->target);
        if (e->hard_link)
                put_bytes(o, "hardLink", e->hard_link);
        if (S_ISCHR(e->mode) || S_ISBLK(e->mode))
                json_object_set_new(o, "device", json_pack("[ii]", (int) major(e->rdev), (int) minor(e->rdev)));
        if (e->n_xattrs > 0) {
                json_t *xattrs = json_object();

                for (size_t i = 0; i < e->n_xattrs; i++) {
                        _cleanup_free_ char *hex = hex_encode(e->xattrs[i].value, e->xattrs[i].size);

                        json_object_set_new(xattrs, e->xattrs[i].name, json_string(hex));
                }
                json_object_set_new(o, "xattrs", xattrs);
        }
        if (e->package)
                json_object_set_new(o, "package", json_string(e->package));
        return o;
}

static json_t *accounts_to_json(const Account *items, size_t n) {
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++) {
                const Account *a = &items[i];
                json_t *o = json_object();

                json_object_set_new(o, "name", json_string(a->name));
                json_object_set_new(o, "id", json_integer(a->id));
                if (a->home) {
                        json_object_set_new(o, "gid", json_integer(a->gid));
                        json_object_set_new(o, "home", json_string(a->home));
                        json_object_set_new(o, "shell", json_string(a->shell));
                } else
                        json_object_set_new(o, "members", json_string(a->members));
                json_array_append_new(array, o);
        }
        return array;
}

static void append_line(Buffer *b, json_t *value) {
        _cleanup_free_ char *line = json_dumps(value, JSON_COMPACT);

        if (!line)
                abort();
        buffer_puts(b, line);
        buffer_append(b, "\n", 1);
        json_decref(value);
}

void contents_format(const Contents *c, Buffer *ret) {
        json_t *header = json_object();

        json_object_set_new(header, "format", json_integer(CONTENTS_FORMAT));
        json_object_set_new(header, "imageId", json_string(c->image_id));
        json_object_set_new(header, "version", json_string(c->version));
        json_object_set_new(header, "entries", json_integer((json_int_t) c->n_entries));
        json_object_set_new(header, "users", accounts_to_json(c->users, c->n_users));
        json_object_set_new(header, "groups", accounts_to_json(c->groups, c->n_groups));
        append_line(ret, header);
        for (size_t i = 0; i < c->n_entries; i++)
                append_line(ret, entry_to_json(&c->entries[i]));
}

/* --- and back --- */

static int bad(Error *reterr, const char *fmt, ...) _printf_(2, 3);
static int bad(Error *reterr, const char *fmt, ...) {
        _cleanup_free_ char *message = NULL;
        va_list ap;

        va_start(ap, fmt);
        message = xvasprintf(fmt, ap);
        va_end(ap);
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s", message);
}

static void take_bytes(JsonReader *r, const char *key, bool optional, char **ret) {
        _cleanup_free_ char *hex = NULL;
        char name[32];
        size_t size;

        snprintf(name, sizeof(name), "%sHex", key);
        json_take_string(r, name, true, &hex);
        json_take_string(r, key, optional || hex, ret);
        if (!hex || r->result < 0)
                return;
        size = strlen(hex) / 2;
        free(*ret);
        *ret = xcalloc(size + 1, 1);
        if (!hex_decode(hex, *ret, size) || strlen(*ret) != size)
                r->result = bad(r->reterr, "\"%s\" is not a name in hexadecimal", name);
}

static int decode_mode(const char *type, const char *mode, mode_t *ret, Error *reterr) {
        unsigned long value;

        if (strlen(mode) != 4 || strspn(mode, "01234567") != 4)
                return bad(reterr, "\"%s\" is not a mode of four octal digits", mode);
        value = strtoul(mode, NULL, 8);
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (streq(types[i].name, type)) {
                        *ret = types[i].type | (mode_t) value;
                        return 0;
                }
        return bad(reterr, "unknown type \"%s\"", type);
}

static int decode_xattrs(const json_t *object, ContentsEntry *e, Error *reterr) {
        const char *key;
        json_t *value;

        e->xattrs = xnew(Xattr, json_object_size(object) + 1);
        json_object_foreach ((json_t *) object, key, value) {
                const char *hex = json_string_value(value);
                size_t size = hex ? strlen(hex) / 2 : 0;
                Xattr *x = &e->xattrs[e->n_xattrs];

                if (!hex || (e->n_xattrs > 0 && strcmp(e->xattrs[e->n_xattrs - 1].name, key) >= 0))
                        return bad(reterr, "bad extended attribute \"%s\"", key);
                *x = (Xattr){ .name = xstrdup(key), .value = xcalloc(size + 1, 1), .size = size };
                e->n_xattrs++;
                if (!hex_decode(hex, x->value, size))
                        return bad(reterr, "extended attribute \"%s\" is not hexadecimal", key);
        }
        return 0;
}

static int decode_device(const json_t *device, ContentsEntry *e, Error *reterr) {
        const json_t *a = json_array_get(device, 0), *b = json_array_get(device, 1);

        if (json_array_size(device) != 2 || !json_is_integer(a) || !json_is_integer(b))
                return bad(reterr, "\"device\" must be two numbers");
        e->rdev = makedev((unsigned) json_integer_value(a), (unsigned) json_integer_value(b));
        return 0;
}

static int decode_entry(const json_t *object, ContentsEntry *e, Error *reterr) {
        _cleanup_free_ char *type = NULL, *mode = NULL, *sha256 = NULL;
        const json_t *xattrs = NULL, *device = NULL;
        JsonReader r = json_reader(object, "entry", reterr);
        uint64_t uid = 0, gid = 0;
        int result;

        take_bytes(&r, "path", false, &e->path);
        json_take_string(&r, "type", false, &type);
        json_take_string(&r, "mode", false, &mode);
        json_take_u64(&r, "uid", false, UINT32_MAX, &uid);
        json_take_u64(&r, "gid", false, UINT32_MAX, &gid);
        json_take_u64(&r, "size", true, INT64_MAX, &e->size);
        json_take_string(&r, "sha256", true, &sha256);
        take_bytes(&r, "target", true, &e->target);
        take_bytes(&r, "hardLink", true, &e->hard_link);
        json_take_array(&r, "device", true, 2, &device);
        json_take_object(&r, "xattrs", true, &xattrs);
        json_take_string(&r, "package", true, &e->package);
        result = json_reader_end(&r);
        if (result < 0)
                return result;
        e->uid = (uid_t) uid;
        e->gid = (gid_t) gid;
        result = decode_mode(type, mode, &e->mode, reterr);
        if (result < 0)
                return result;
        if (S_ISREG(e->mode) != (sha256 != NULL) || (sha256 && !sha256_from_hex(sha256, &e->digest)))
                return bad(reterr, "%s: files, and only files, have a SHA-256", e->path);
        if (S_ISLNK(e->mode) != (e->target != NULL))
                return bad(reterr, "%s: symbolic links, and only they, have a target", e->path);
        if ((S_ISCHR(e->mode) || S_ISBLK(e->mode)) != (device != NULL))
                return bad(reterr, "%s: devices, and only devices, have a number", e->path);
        if (device && (result = decode_device(device, e, reterr)) < 0)
                return result;
        return xattrs ? decode_xattrs(xattrs, e, reterr) : 0;
}

static int decode_accounts(const json_t *array, bool user, Account **items, size_t *n, Error *reterr) {
        const json_t *value;
        size_t i;

        *items = xnew(Account, json_array_size(array) + 1);
        json_array_foreach ((json_t *) array, i, value) {
                JsonReader r = json_reader(value, user ? "user" : "group", reterr);
                Account *a = &(*items)[(*n)++];
                uint64_t id = 0, gid = 0;
                int result;

                json_take_string(&r, "name", false, &a->name);
                json_take_u64(&r, "id", false, UINT32_MAX, &id);
                if (user) {
                        json_take_u64(&r, "gid", false, UINT32_MAX, &gid);
                        json_take_string(&r, "home", false, &a->home);
                        json_take_string(&r, "shell", false, &a->shell);
                } else
                        json_take_string(&r, "members", false, &a->members);
                result = json_reader_end(&r);
                if (result < 0)
                        return result;
                a->id = (uint32_t) id;
                a->gid = (uint32_t) gid;
        }
        return 0;
}

static int decode_header(const json_t *object, Contents *c, uint64_t *ret_entries, Error *reterr) {
        JsonReader r = json_reader(object, "header", reterr);
        const json_t *users = NULL, *groups = NULL;
        uint64_t format = 0;
        int result;

        json_take_u64(&r, "format", false, UINT32_MAX, &format);
        if (r.result == 0 && format != CONTENTS_FORMAT)
                r.result = bad(reterr, "format %" PRIu64 " is not known to this version", format);
        json_take_string(&r, "imageId", false, &c->image_id);
        json_take_string(&r, "version", false, &c->version);
        json_take_u64(&r, "entries", false, TREE_ENTRIES_MAX, ret_entries);
        json_take_array(&r, "users", false, CONTENTS_ACCOUNTS_MAX, &users);
        json_take_array(&r, "groups", false, CONTENTS_ACCOUNTS_MAX, &groups);
        result = json_reader_end(&r);
        if (result < 0)
                return result;
        result = decode_accounts(users, true, &c->users, &c->n_users, reterr);
        if (result < 0)
                return result;
        return decode_accounts(groups, false, &c->groups, &c->n_groups, reterr);
}

static int parse_line(Contents *c, const char *line, size_t size, size_t number, uint64_t *n_expected, Error *reterr) {
        _cleanup_json_ json_t *value = NULL;
        ContentsEntry *e;
        int r;

        r = json_parse(line, size, "JSON", &value, reterr);
        if (r < 0)
                return r;
        if (number == 1)
                return decode_header(value, c, n_expected, reterr);
        if (c->n_entries >= *n_expected)
                return bad(reterr, "more entries than the header says");
        GROW(c->entries, c->n_entries, c->n_entries_allocated);
        e = &c->entries[c->n_entries++];
        *e = (ContentsEntry){};
        r = decode_entry(value, e, reterr);
        if (r < 0)
                return r;
        if (c->n_entries == 1 ? !streq(e->path, "/usr") : !startswith(e->path, "/usr/"))
                return bad(reterr, "\"%s\" is not at or below /usr", e->path);
        if (c->n_entries > 1 && contents_path_compare(c->entries[c->n_entries - 2].path, e->path) >= 0)
                return bad(reterr, "\"%s\" is out of order", e->path);
        return 0;
}

int contents_parse(const char *text, size_t size, const char *what, Contents **ret, Error *reterr) {
        _cleanup_(contents_freep) Contents *c = xnew(Contents, 1);
        const char *end = text + size;
        uint64_t n_expected = 0;
        size_t number = 0;
        int r;

        while (text < end) {
                const char *newline = memchr(text, '\n', (size_t) (end - text));

                number++;
                if (!newline)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s:%zu: the last line is cut", what,
                                         number);
                r = parse_line(c, text, (size_t) (newline - text), number, &n_expected, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s:%zu", what, number);
                text = newline + 1;
        }
        if (number == 0 || c->n_entries != n_expected)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: %" PRIu64 " entries expected, %zu found",
                                 what, n_expected, c->n_entries);
        *ret = TAKE_PTR(c);
        return 0;
}

int contents_write(const Contents *c, int dir_fd, const char *path, Error *reterr) {
        _cleanup_buffer_ Buffer text = {};
        _cleanup_free_ void *packed = NULL;
        size_t bound, n;

        contents_format(c, &text);
        bound = ZSTD_compressBound(text.size);
        packed = xmalloc(bound);
        n = ZSTD_compress(packed, bound, text.data, text.size, COMPRESSION_LEVEL);
        if (ZSTD_isError(n))
                return error_set(reterr, EIO, REFUSAL_SYSTEM, "%s: zstd: %s", path, ZSTD_getErrorName(n));
        return io_write_file(dir_fd, path, packed, n, 0644, reterr);
}

static void zstd_stream_freep(ZSTD_DStream **s) {
        ZSTD_freeDStream(*s);
}

static int decompress(const void *data, size_t size, size_t max_size, Buffer *ret, const char *what, Error *reterr) {
        _cleanup_(zstd_stream_freep) ZSTD_DStream *stream = ZSTD_createDStream();
        _cleanup_free_ void *chunk = xmalloc(ZSTD_DStreamOutSize());
        ZSTD_inBuffer in = { data, size, 0 };
        size_t n = 1;

        if (!stream)
                return error_errno(reterr, ENOMEM, "%s: zstd", what);
        while (n != 0) {
                ZSTD_outBuffer out = { chunk, ZSTD_DStreamOutSize(), 0 };

                n = ZSTD_decompressStream(stream, &out, &in);
                if (ZSTD_isError(n))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: zstd: %s", what,
                                         ZSTD_getErrorName(n));
                if (out.pos > max_size - ret->size)
                        return error_set(reterr, EBADMSG, REFUSAL_TOO_LARGE, "%s: more than %zu bytes unpacked", what,
                                         max_size);
                buffer_append(ret, chunk, out.pos);
                if (n != 0 && in.pos == in.size && out.pos < out.size)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: cut short", what);
        }
        if (in.pos != in.size)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: bytes behind the end", what);
        return 0;
}

int contents_read(int dir_fd, const char *path, Contents **ret, Error *reterr) {
        _cleanup_buffer_ Buffer text = {};
        _cleanup_free_ char *packed = NULL;
        size_t size;
        int r;

        r = io_read_file(dir_fd, path, CONTENTS_TEXT_MAX, &packed, &size, reterr);
        if (r < 0)
                return r;
        r = decompress(packed, size, CONTENTS_TEXT_MAX, &text, path, reterr);
        if (r < 0)
                return r;
        return contents_parse(text.data ?: "", text.size, path, ret, reterr);
}
