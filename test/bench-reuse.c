/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* bench-reuse FRAME-SIZE SAMPLE NEW OLD...: what a device that has an old release downloads of /usr of a new one, for
 * packs of such frames, of which every SAMPLE-th MiB tells how large the whole pack is. NEW and OLD are releases'
 * folders with their name, without suffix (".usr.erofs"). Prints one line of JSON for each old release and length of
 * the map's digests. Finding blocks is done by the updater's own code. */

#include <sys/stat.h>
#include <time.h>
#include <zstd.h>

#include "frame-index.h"
#include "io.h"
#include "json.h"
#include "reuse.h"
#include "verity.h"

#define LEVEL 19        /* that of pack.c */
#define GAP (32 * 1024) /* requests are merged over gaps of so many bytes */
#define SLOT_MAX ((uint64_t) 16 << 30)

typedef struct Image {
        int fd;
        uint64_t size;
        Sha256 salt;
        FrameIndex *index; /* packed_size 0: not known yet */
        uint64_t pack_size;
        ZSTD_CCtx *zstd;
        char *content, *packed;
} Image;

static void check(int r, const Error *e) {
        if (r >= 0)
                return;
        fprintf(stderr, "bench-reuse: %s\n", e->message);
        exit(1);
}

static int open_part(const char *name, const char *suffix, uint64_t *ret_size) {
        _cleanup_free_ char *path = xasprintf("%s%s", name, suffix);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                fprintf(stderr, "bench-reuse: %s: %m\n", path);
                exit(1);
        }
        *ret_size = (uint64_t) st.st_size;
        return fd;
}

static double cpu_seconds(void) {
        struct timespec t;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static uint32_t pack_frame(Image *new, size_t i) {
        Frame *f = &new->index->frames[i];
        size_t size = frame_index_size(new->index, i);
        _cleanup_error_ Error e = {};

        if (f->packed_size > 0)
                return f->packed_size;
        check(io_pread_all(new->fd, new->content, size, (uint64_t) i * new->index->frame_size, &e), &e);
        f->packed_size =
                (uint32_t) ZSTD_compress2(new->zstd, new->packed, ZSTD_compressBound(size), new->content, size);
        return f->packed_size;
}

static void read_new(const char *name, uint32_t frame_size, size_t sample, Image *ret) {
        _cleanup_close_ int tree = -EBADF;
        _cleanup_error_ Error e = {};
        VerityOptions options;
        uint64_t unused, packed = 0, content = 0;

        ret->content = xmalloc(frame_size);
        ret->packed = xmalloc(ZSTD_compressBound(frame_size));
        ret->zstd = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(ret->zstd, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(ret->zstd, ZSTD_c_checksumFlag, 1);
        ret->fd = open_part(name, ".usr.erofs", &ret->size);
        tree = open_part(name, ".usr.verity", &unused);
        check(verity_read_superblock(tree, 0, &unused, &options, &e), &e);
        memcpy(ret->salt.bytes, options.salt, sizeof options.salt);
        ret->index = frame_index_new(ret->size, frame_size);
        for (size_t i = 0; i < ret->index->n_frames; i++) {
                size_t size = frame_index_size(ret->index, i);

                check(io_pread_all(ret->fd, ret->content, size, (uint64_t) i * frame_size, &e), &e);
                sha256_buffer(ret->content, size, &ret->index->frames[i].sha256);
                /* In whole MiB, so that every size of frames takes the same sample. */
                if ((uint64_t) i * frame_size / ((uint64_t) 1 << 20) % sample == 0) {
                        packed += pack_frame(ret, i);
                        content += size;
                }
        }
        ret->pack_size = (uint64_t) ((double) ret->size * (double) packed / (double) content);
}

/* A disk with the old release in one slot, and the slot that is to be filled behind it. */
static Machine *make_machine(const char *name) {
        Machine *m = xnew(Machine, 1);
        uint64_t data_size, tree_size;
        _cleanup_close_ int data = open_part(name, ".usr.erofs", &data_size),
                            tree = open_part(name, ".usr.verity", &tree_size), disk = -EBADF;
        _cleanup_error_ Error e = {};

        check(io_tmpfile("/var/tmp", &disk, &e), &e);
        check(io_copy_range(data, 0, disk, 0, data_size, &e), &e);
        check(io_copy_range(tree, 0, disk, data_size, tree_size, &e), &e);
        m->disk = xasprintf("/proc/self/fd/%d", TAKE_FD(disk));
        m->n_slots = 2;
        m->slots[0] = (Slot){ .usr = { .size = data_size },
                              .verity = { .offset = data_size, .size = tree_size },
                              .has_root_hash = true,
                              .running = true };
        m->slots[1] = (Slot){ .usr = { .offset = SLOT_MAX }, .empty = true };
        return m;
}

typedef struct Result {
        uint64_t fetched, requests, merged_fetched, merged_requests;
        double seconds;
} Result;

/* The places of frames in the pack are taken to be those of their content. */
static void measure(Image *new, Reuse *reuse, Result *ret) {
        uint64_t gap_max = (uint64_t) ((double) GAP * (double) new->size / (double) new->pack_size);
        uint64_t end = UINT64_MAX, packed_gap;

        *ret = (Result){};
        for (size_t i = 0; i < new->index->n_frames; i++) {
                uint64_t offset = (uint64_t) i * new->index->frame_size, size = frame_index_size(new->index, i);
                double began = cpu_seconds();
                bool found = reuse_find(reuse, offset, size, &new->index->frames[i].sha256);

                ret->seconds += cpu_seconds() - began;
                if (found)
                        continue;
                ret->fetched += pack_frame(new, i);
                ret->requests += end != offset;
                if (end != UINT64_MAX && offset - end <= gap_max) {
                        packed_gap =
                                (uint64_t) ((double) (offset - end) * (double) new->pack_size / (double) new->size);
                        ret->merged_fetched += packed_gap;
                } else
                        ret->merged_requests++;
                ret->merged_fetched += pack_frame(new, i);
                end = offset + size;
        }
}

static void print(const Image *new, const char *old, const BlockMap *map, const Result *result, double open_seconds) {
        _cleanup_buffer_ Buffer map_text = {}, index_text = {};
        _cleanup_json_ json_t *o = NULL;
        _cleanup_free_ char *line = NULL;

        block_map_format(map, &map_text);
        frame_index_format(new->index, &index_text);
        o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "old", old, "frame",
                      (json_int_t) new->index->frame_size, "digest", (json_int_t) map->digest_size, "image",
                      (json_int_t) new->size, "pack", (json_int_t) new->pack_size, "index",
                      (json_int_t) index_text.size, "map", (json_int_t) map_text.size, "fetched",
                      (json_int_t) result->fetched, "requests", (json_int_t) result->requests, "mergedFetched",
                      (json_int_t) result->merged_fetched, "mergedRequests", (json_int_t) result->merged_requests,
                      "findSeconds", result->seconds, "openSeconds", open_seconds);
        line = json_format_line(o);
        puts(line);
        fflush(stdout);
}

static void measure_old(Image *new, const char *name, unsigned digest_size) {
        _cleanup_(reuse_freep) Reuse *reuse = NULL;
        _cleanup_error_ Error e = {};
        Machine *m = make_machine(name);
        BlockMap *map = NULL, *again = NULL;
        _cleanup_buffer_ Buffer text = {};
        double began = cpu_seconds(), opened;
        Result result;

        check(reuse_open(m, &m->slots[1], &new->salt, &reuse, &e), &e);
        opened = cpu_seconds() - began;
        check(block_map_build(new->fd, new->size, new->salt.bytes, digest_size, &map, &e), &e);
        block_map_format(map, &text);
        check(block_map_parse(text.data, text.size, new->size, "map", &again, &e), &e);
        if (!reuse) {
                fprintf(stderr, "bench-reuse: %s is of another line: another salt\n", name);
                exit(1);
        }
        reuse_set_map(reuse, again);
        measure(new, reuse, &result);
        print(new, name, map, &result, opened);
        block_map_free(map);
        safe_close(atoi(path_basename(m->disk)));
        machine_free(m);
}

int main(int argc, char **argv) {
        uint64_t frame_size = 0, sample = 0;
        Image new = {};

        if (argc < 5 || !parse_size(argv[1], &frame_size) || frame_size < FRAME_SIZE_MIN ||
            frame_size > FRAME_SIZE_MAX || frame_size % FRAME_SIZE_MIN != 0 || !parse_u64(argv[2], &sample) ||
            sample == 0) {
                fprintf(stderr, "usage: bench-reuse FRAME-SIZE SAMPLE NEW OLD...\n");
                return 2;
        }
        read_new(argv[3], (uint32_t) frame_size, (size_t) sample, &new);
        for (int i = 4; i < argc; i++)
                for (unsigned k = 2; k <= BLOCK_MAP_DIGEST_MAX; k++)
                        measure_old(&new, argv[i], k);
        frame_index_free(new.index);
        ZSTD_freeCCtx(new.zstd);
        free(new.content);
        free(new.packed);
        safe_close(new.fd);
        return 0;
}
