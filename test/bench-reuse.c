/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* bench-reuse FRAMES SAMPLE NEW OLD...: what a device that has an old release downloads of /usr of a new one, from a
 * pack with frames of that size, or ("changes") with those that publish makes after the old ones, the newest of which
 * comes first. Every SAMPLE-th MiB tells how large the whole pack is; 0: nobody asks. NEW and OLD are releases' folders
 * with their name, without suffix (".usr.erofs"). Prints one line of JSON for each old release and length of the map's
 * digests. Blocks are found by the updater's own code, frames packed by that of publish. */

#include <sys/stat.h>
#include <time.h>

#include "io.h"
#include "json.h"
#include "pack-layout.h"
#include "publish.h"
#include "reuse.h"
#include "verity.h"

#define SLOT_MAX ((uint64_t) 16 << 30)

typedef struct Image {
        int fd;
        uint64_t size;
        Sha256 salt;
        BlockMap *map;     /* with whole keys */
        FrameIndex *index; /* packed_size 0: not known yet */
        uint64_t pack_size;
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

/* Packs the frames that are wanted and are not packed yet. */
static void pack_frames(Image *new, const bool *wanted) {
        _cleanup_(frame_index_freep) FrameIndex *part = frame_index_new();
        _cleanup_free_ size_t *numbers = xcalloc(new->index->n_frames, sizeof *numbers);
        _cleanup_close_ int pack = -EBADF;
        _cleanup_error_ Error e = {};
        Sha256 unused;

        for (size_t i = 0; i < new->index->n_frames; i++)
                if (wanted[i] && new->index->frames[i].packed_size == 0) {
                        numbers[part->n_frames] = i;
                        *frame_index_add(part, new->index->frames[i].size, new->index->frames[i].codec) =
                                new->index->frames[i];
                }
        check(io_tmpfile("/var/tmp", &pack, &e), &e);
        check(pack_write(new->fd, part, pack, 0, NULL, &unused, &e), &e);
        for (size_t i = 0; i < part->n_frames; i++)
                new->index->frames[numbers[i]] = part->frames[i];
}

static void read_salt(const char *name, Sha256 *ret) {
        uint64_t unused;
        _cleanup_close_ int tree = open_part(name, ".usr.verity", &unused);
        _cleanup_error_ Error e = {};
        VerityOptions options;

        check(verity_read_superblock(tree, 0, &unused, &options, &e), &e);
        memcpy(ret->bytes, options.salt, sizeof options.salt);
}

static FrameIndex *frames_of_changes(const Image *new, char *const *old) {
        _cleanup_(pack_layout_freep) PackLayout *l = pack_layout_new(new->map);

        STRV_FOREACH (name, old) {
                _cleanup_(block_map_freep) BlockMap *map = NULL, *shorter = NULL;
                uint64_t size;
                _cleanup_close_ int fd = open_part(*name, ".usr.erofs", &size);
                _cleanup_error_ Error e = {};

                check(block_map_build(fd, size, new->salt.bytes, BLOCK_MAP_DIGEST_MAX, &map, &e), &e);
                shorter = block_map_shorten(map, 2);
                pack_layout_add(l, shorter);
        }
        return pack_layout_frames(l);
}

/* In whole MiB, so that every size of frames takes the same sample. */
static void estimate_pack(Image *new, uint64_t sample) {
        _cleanup_free_ bool *wanted = xcalloc(new->index->n_frames, sizeof *wanted);
        uint64_t packed = 0, content = 0;

        if (sample == 0)
                return;
        for (size_t i = 0; i < new->index->n_frames; i++)
                wanted[i] = new->index->frames[i].offset / ((uint64_t) 1 << 20) % sample == 0;
        pack_frames(new, wanted);
        for (size_t i = 0; i < new->index->n_frames; i++)
                if (wanted[i]) {
                        packed += new->index->frames[i].packed_size;
                        content += new->index->frames[i].size;
                }
        new->pack_size = (uint64_t) ((double) new->size *(double) packed / (double) content);
}

static void read_new(const char *name, uint64_t frame_size, uint64_t sample, char *const *old, Image *ret) {
        _cleanup_error_ Error e = {};

        ret->fd = open_part(name, ".usr.erofs", &ret->size);
        read_salt(name, &ret->salt);
        check(block_map_build(ret->fd, ret->size, ret->salt.bytes, BLOCK_MAP_DIGEST_MAX, &ret->map, &e), &e);
        if (frame_size == 0)
                ret->index = frames_of_changes(ret, old);
        else {
                ret->index = frame_index_new();
                frame_index_add_even(ret->index, ret->size, (uint32_t) frame_size, FRAME_ZSTD);
        }
        for (size_t i = 0; i < ret->index->n_frames; i++)
                check(sha256_fd(ret->fd, ret->index->frames[i].offset, ret->index->frames[i].size,
                                &ret->index->frames[i].sha256, &e),
                      &e);
        estimate_pack(ret, sample);
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
        uint64_t fetched, requests;
        double seconds;
} Result;

static void measure(Image *new, Reuse *reuse, Result *ret) {
        const size_t n = new->index->n_frames;
        _cleanup_free_ bool *missing = xcalloc(n, sizeof *missing);
        double began = cpu_seconds();

        *ret = (Result){};
        for (size_t i = 0; i < n; i++) {
                const Frame *f = &new->index->frames[i];

                missing[i] = !reuse_find(reuse, f->offset, f->size, &f->sha256);
        }
        ret->seconds = cpu_seconds() - began;
        pack_frames(new, missing);
        for (size_t i = 0; i < n; i++) {
                ret->fetched += missing[i] ? new->index->frames[i].packed_size : 0;
                ret->requests += missing[i] && (i == 0 || !missing[i - 1]);
        }
}

static void print(const Image *new, const char *frames, const char *old, const BlockMap *map, const Result *result,
                  double open_seconds) {
        _cleanup_buffer_ Buffer map_text = {}, index_text = {};
        _cleanup_json_ json_t *o = NULL;
        _cleanup_free_ char *line = NULL;

        size_t index_size;

        block_map_format(map, &map_text);
        frame_index_format(new->index, &index_text);
        index_size = index_text.size;
        /* Nobody packed them: a number of one byte stands there, which would have three. */
        for (size_t i = 0; i < new->index->n_frames; i++)
                index_size += new->index->frames[i].packed_size == 0 ? 2 : 0;
        o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "old", old, "frame", frames,
                      "digest", (json_int_t) map->digest_size, "image", (json_int_t) new->size, "pack",
                      (json_int_t) new->pack_size, "frames", (json_int_t) new->index->n_frames, "index",
                      (json_int_t) index_size, "map", (json_int_t) map_text.size, "fetched",
                      (json_int_t) result->fetched, "requests", (json_int_t) result->requests, "findSeconds",
                      result->seconds, "openSeconds", open_seconds);
        line = json_format_line(o);
        puts(line);
        fflush(stdout);
}

static void measure_old(Image *new, const char *frames, const char *name, unsigned digest_size) {
        _cleanup_(reuse_freep) Reuse *reuse = NULL;
        _cleanup_error_ Error e = {};
        Machine *m = make_machine(name);
        _cleanup_(block_map_freep) BlockMap *map = block_map_shorten(new->map, digest_size);
        BlockMap *again = NULL;
        _cleanup_buffer_ Buffer text = {};
        double began = cpu_seconds(), opened;
        Result result;

        check(reuse_open(m, &m->slots[1], &new->salt, &reuse, &e), &e);
        opened = cpu_seconds() - began;
        block_map_format(map, &text);
        check(block_map_parse(text.data, text.size, new->size, "map", &again, &e), &e);
        if (!reuse) {
                fprintf(stderr, "bench-reuse: %s is of another line: another salt\n", name);
                exit(1);
        }
        reuse_set_map(reuse, again);
        measure(new, reuse, &result);
        print(new, frames, name, map, &result, opened);
        safe_close(atoi(path_basename(m->disk)));
        machine_free(m);
}

int main(int argc, char **argv) {
        uint64_t frame_size = 0, sample = 0;
        Image new = {};

        if (argc < 5 ||
            (!streq(argv[1], "changes") && (!parse_size(argv[1], &frame_size) || frame_size < FRAME_BLOCK_SIZE ||
                                            frame_size > FRAME_SIZE_MAX || frame_size % FRAME_BLOCK_SIZE != 0)) ||
            !parse_u64(argv[2], &sample)) {
                fprintf(stderr, "usage: bench-reuse FRAME-SIZE|changes SAMPLE NEW OLD...\n");
                return 2;
        }
        read_new(argv[3], frame_size, sample, argv + 4, &new);
        for (int i = 4; i < argc; i++)
                for (unsigned k = 2; k <= BLOCK_MAP_DIGEST_MAX; k++)
                        measure_old(&new, argv[1], argv[i], k);
        frame_index_free(new.index);
        block_map_free(new.map);
        safe_close(new.fd);
        return 0;
}
