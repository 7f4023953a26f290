/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What test/bench/delta measures of others' techniques where no program of theirs does it: sizes are those of bytes
 * that were really compressed. Each run is one process that reads what it needs and no more, so that its processor time
 * and peak memory are those of the work.
 *
 *     bench-peers pack IMAGE SIZE LEVEL OUT           IMAGE in pieces of SIZE, each compressed by itself
 *     bench-peers missing NEW OLD SIZE LEVEL OUT      the blocks of 4 KiB of NEW that OLD does not have, in their
 * order, in pieces of SIZE bench-peers touched NEW OLD SIZE LEVEL OUT      all pieces of SIZE of NEW in which there is
 * such a block bench-peers patches LIST LEVEL OUT              LIST: lines "NEW<tab>OLD", OLD empty: nothing came
 * before bench-peers unpack OUT                          undoes pack, missing and touched bench-peers unpatch LIST OUT
 *
 * OUT gets for each piece the size of its packed form and of its content, 4 bytes each, and the packed form. Prints a
 * line of JSON: bytes (without those sizes), pieces, content, and runs: how often a piece does not follow on the one
 * before. */

#include <sys/stat.h>
#include <zstd.h>

#include "hash.h"
#include "io.h"
#include "json.h"

#define BLOCK ((size_t) 4096)
#define PIECE_MAX ((size_t) 1 << 28)

typedef struct Out {
        FILE *file;
        ZSTD_CCtx *zstd;
        int level;
        uint64_t bytes, pieces, content, runs, end;
        char *packed;
        size_t packed_size;
} Out;

static _noreturn_ void stop(const char *what, const char *why) {
        fprintf(stderr, "bench-peers: %s: %s\n", what, why);
        exit(1);
}

static void check(int r, const Error *e) {
        if (r < 0)
                stop("cannot go on", e->message);
}

static int open_file(const char *path, uint64_t *ret_size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                stop(path, strerror(errno));
        *ret_size = (uint64_t) st.st_size;
        return fd;
}

static void read_at(int fd, void *data, size_t size, uint64_t offset) {
        _cleanup_error_ Error e = {};

        check(io_pread_all(fd, data, size, offset, &e), &e);
}

static uint64_t number(const char *text) {
        uint64_t n = 0;

        if (!parse_size(text, &n) || n == 0 || n > PIECE_MAX)
                stop(text, "not a number that fits");
        return n;
}

static Out open_out(const char *path, const char *level) {
        Out o = {
                .file = fopen(path, "we"), .zstd = ZSTD_createCCtx(), .level = (int) number(level), .end = UINT64_MAX
        };

        if (!o.file)
                stop(path, strerror(errno));
        return o;
}

/* before: what the device is taken to have when it unpacks the piece. */
static void put(Out *o, const void *content, size_t size, const void *before, size_t before_size, uint64_t offset) {
        size_t bound = ZSTD_compressBound(size), n;
        uint32_t sizes[2];

        if (bound > o->packed_size) {
                o->packed = xrealloc(o->packed, bound, 1);
                o->packed_size = bound;
        }
        ZSTD_CCtx_reset(o->zstd, ZSTD_reset_session_and_parameters);
        ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_compressionLevel, o->level);
        if (before_size > 0) {
                int window = 10;

                while (((size_t) 1 << window) < size + before_size && window < 30)
                        window++;
                ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_windowLog, window);
                ZSTD_CCtx_refPrefix(o->zstd, before, before_size);
        }
        n = ZSTD_compress2(o->zstd, o->packed, bound, content, size);
        if (ZSTD_isError(n))
                stop("zstd", ZSTD_getErrorName(n));
        sizes[0] = (uint32_t) n;
        sizes[1] = (uint32_t) size;
        if (fwrite(sizes, sizeof sizes, 1, o->file) != 1 || fwrite(o->packed, 1, n, o->file) != n)
                stop("cannot write", strerror(errno));
        o->bytes += n;
        o->pieces++;
        o->content += size;
        o->runs += offset != o->end;
        o->end = offset + size;
}

static void finish(Out *o) {
        printf("{\"bytes\": %" PRIu64 ", \"pieces\": %" PRIu64 ", \"content\": %" PRIu64 ", \"runs\": %" PRIu64 "}\n",
               o->bytes, o->pieces, o->content, o->runs);
        if (fclose(o->file) != 0)
                stop("cannot write", strerror(errno));
        ZSTD_freeCCtx(o->zstd);
        free(o->packed);
}

/* ---- images ---- */

static int compare_keys(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

/* The first 8 bytes of each block's SHA-256: a million blocks have the same ones by chance once in 30 million images.
 */
static uint64_t *read_keys(int fd, uint64_t size) {
        uint64_t *keys = xcalloc(size / BLOCK + 1, sizeof *keys);
        char block[BLOCK];

        for (uint64_t i = 0; i < size / BLOCK; i++) {
                Sha256 digest;

                read_at(fd, block, BLOCK, i * BLOCK);
                sha256_buffer(block, BLOCK, &digest);
                memcpy(keys + i, digest.bytes, sizeof *keys);
        }
        return keys;
}

/* Which blocks of the new image the old one does not have. */
static bool *find_missing(const char *old, int fd, uint64_t size) {
        uint64_t old_size, *old_keys, *keys = read_keys(fd, size);
        int old_fd = open_file(old, &old_size);
        bool *missing = xcalloc(size / BLOCK + 1, sizeof *missing);

        old_keys = read_keys(old_fd, old_size);
        qsort(old_keys, old_size / BLOCK, sizeof *old_keys, compare_keys);
        for (uint64_t i = 0; i < size / BLOCK; i++)
                missing[i] = !bsearch(keys + i, old_keys, old_size / BLOCK, sizeof *old_keys, compare_keys);
        /* What remains of an image that is not whole blocks is new. */
        missing[size / BLOCK] = size % BLOCK != 0;
        free(old_keys);
        free(keys);
        close(old_fd);
        return missing;
}

static bool any(const bool *missing, uint64_t offset, size_t size) {
        for (uint64_t i = offset / BLOCK; i <= (offset + size - 1) / BLOCK; i++)
                if (missing[i])
                        return true;
        return false;
}

static void pack_pieces(const char *image, const char *old, size_t piece, const char *level, const char *path) {
        Out o = open_out(path, level);
        uint64_t size;
        int fd = open_file(image, &size);
        bool *missing = old ? find_missing(old, fd, size) : NULL;
        char *content = xmalloc(piece);

        for (uint64_t at = 0; at < size; at += piece) {
                size_t n = (size_t) MIN(size - at, (uint64_t) piece);

                if (missing && !any(missing, at, n))
                        continue;
                read_at(fd, content, n, at);
                put(&o, content, n, NULL, 0, at);
        }
        free(content);
        free(missing);
        close(fd);
        finish(&o);
}

static void pack_missing(const char *image, const char *old, size_t piece, const char *level, const char *path) {
        Out o = open_out(path, level);
        uint64_t size, runs = 0;
        int fd = open_file(image, &size);
        bool *missing = find_missing(old, fd, size);
        char *content = xmalloc(piece + BLOCK);
        size_t filled = 0;

        for (uint64_t i = 0; i * BLOCK < size; i++) {
                size_t n = (size_t) MIN(size - i * BLOCK, (uint64_t) BLOCK);

                if (!missing[i])
                        continue;
                runs += i == 0 || !missing[i - 1];
                read_at(fd, content + filled, n, i * BLOCK);
                filled += n;
                if (filled >= piece) {
                        put(&o, content, filled, NULL, 0, 0);
                        filled = 0;
                }
        }
        if (filled > 0)
                put(&o, content, filled, NULL, 0, 0);
        o.runs = runs;
        free(content);
        free(missing);
        close(fd);
        finish(&o);
}

static void unpack(const char *path) {
        FILE *f = fopen(path, "re");
        ZSTD_DCtx *zstd = ZSTD_createDCtx();
        uint32_t sizes[2];
        uint64_t content = 0;
        char *packed = NULL, *piece = NULL;

        if (!f)
                stop(path, strerror(errno));
        while (fread(sizes, sizeof sizes, 1, f) == 1) {
                packed = xrealloc(packed, MAX(sizes[0], 1U), 1);
                piece = xrealloc(piece, MAX(sizes[1], 1U), 1);
                if (fread(packed, 1, sizes[0], f) != sizes[0] ||
                    ZSTD_decompressDCtx(zstd, piece, sizes[1], packed, sizes[0]) != sizes[1])
                        stop(path, "damaged");
                content += sizes[1];
        }
        printf("{\"content\": %" PRIu64 "}\n", content);
        free(packed);
        free(piece);
        ZSTD_freeDCtx(zstd);
        fclose(f);
}

/* ---- files ---- */

typedef struct Content {
        char *data;
        size_t size;
} Content;

static Content read_content(const char *path) {
        Content c = {};
        uint64_t size;
        int fd;

        if (!*path)
                return c;
        fd = open_file(path, &size);
        c = (Content){ .data = xmalloc(MAX(size, 1U)), .size = (size_t) size };
        read_at(fd, c.data, c.size, 0);
        close(fd);
        return c;
}

static FILE *open_list(const char *path) {
        FILE *f = fopen(path, "re");

        if (!f)
                stop(path, strerror(errno));
        return f;
}

/* A line's two paths. */
static bool next_pair(FILE *list, char **line, size_t *allocated, char **ret_old) {
        ssize_t n = getline(line, allocated, list);

        if (n <= 0)
                return false;
        (*line)[strcspn(*line, "\n")] = 0;
        *ret_old = strchr(*line, '\t');
        if (!*ret_old)
                stop(*line, "not two paths");
        *(*ret_old)++ = 0;
        return true;
}

static void make_patches(const char *list, const char *level, const char *path) {
        Out o = open_out(path, level);
        FILE *f = open_list(list);
        char *line = NULL, *old = NULL;
        size_t allocated = 0;

        while (next_pair(f, &line, &allocated, &old)) {
                Content new = read_content(line), before = read_content(old);

                put(&o, new.data, new.size, before.data, before.size, 0);
                free(new.data);
                free(before.data);
        }
        free(line);
        fclose(f);
        finish(&o);
}

static void apply_patches(const char *list, const char *path) {
        FILE *f = open_list(list), *patches = open_list(path);
        ZSTD_DCtx *zstd = ZSTD_createDCtx();
        char *line = NULL, *old = NULL;
        size_t allocated = 0;
        uint64_t content = 0;

        ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, 31);
        while (next_pair(f, &line, &allocated, &old)) {
                Content before = read_content(old);
                uint32_t sizes[2];
                char *packed, *new;

                if (fread(sizes, sizeof sizes, 1, patches) != 1)
                        stop(path, "too short");
                packed = xmalloc(MAX(sizes[0], 1U));
                new = xmalloc(MAX(sizes[1], 1U));
                if (before.size > 0)
                        ZSTD_DCtx_refPrefix(zstd, before.data, before.size);
                if (fread(packed, 1, sizes[0], patches) != sizes[0] ||
                    ZSTD_decompressDCtx(zstd, new, sizes[1], packed, sizes[0]) != sizes[1])
                        stop(line, "cannot be made from its patch");
                content += sizes[1];
                free(packed);
                free(new);
                free(before.data);
        }
        printf("{\"content\": %" PRIu64 "}\n", content);
        free(line);
        ZSTD_freeDCtx(zstd);
        fclose(patches);
        fclose(f);
}

int main(int argc, char **argv) {
        const char *verb = argc > 1 ? argv[1] : "";

        if (streq(verb, "pack") && argc == 6)
                pack_pieces(argv[2], NULL, (size_t) number(argv[3]), argv[4], argv[5]);
        else if (streq(verb, "touched") && argc == 7)
                pack_pieces(argv[2], argv[3], (size_t) number(argv[4]), argv[5], argv[6]);
        else if (streq(verb, "missing") && argc == 7)
                pack_missing(argv[2], argv[3], (size_t) number(argv[4]), argv[5], argv[6]);
        else if (streq(verb, "patches") && argc == 5)
                make_patches(argv[2], argv[3], argv[4]);
        else if (streq(verb, "unpack") && argc == 3)
                unpack(argv[2]);
        else if (streq(verb, "unpatch") && argc == 4)
                apply_patches(argv[2], argv[3]);
        else {
                fprintf(stderr, "usage: at the top of test/bench-peers.c\n");
                return 2;
        }
        return 0;
}
