/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "reuse.h"
#include "frame-index.h"
#include "io.h"
#include "log.h"
#include "verity.h"

#define KEY_SIZE BLOCK_MAP_DIGEST_MAX
#define FRAME_BLOCKS_MAX (FRAME_SIZE_MAX / BLOCK_MAP_BLOCK_SIZE)
#define TREE_PIECE ((size_t) 1 << 20)
/* Ways to read a frame whose digests fit several blocks. Each costs reading and hashing a frame. */
#define TRIES_MAX 16
#define NONE UINT32_MAX

/* One slot: its blocks are numbered behind those of the slots before it. */
typedef struct Source {
        uint64_t data_offset; /* on the disk */
        uint32_t first, n_blocks;
} Source;

struct Reuse {
        int fd;
        Source sources[MACHINE_SLOTS_MAX];
        size_t n_sources;
        uint32_t *keys;  /* of each block: the first KEY_SIZE bytes of its digest */
        uint32_t *order; /* block numbers by key, then by number */
        uint32_t n_blocks;
        BlockMap *map;
        uint32_t next; /* the block behind the last one that was used; NONE */
        uint32_t blocks[FRAME_BLOCKS_MAX];
        char *buffer;
        size_t buffer_size;
};

/* ---- what the slots hold ---- */

static int read_leaves(Reuse *r, const Slot *slot, uint64_t data_size, Error *reterr) {
        uint64_t at = slot->verity.offset + verity_leaf_offset(data_size), blocks = data_size / VERITY_BLOCK_SIZE;
        _cleanup_free_ uint8_t *piece = xmalloc(TREE_PIECE);

        r->keys = xrealloc(r->keys, r->n_blocks + blocks, sizeof *r->keys);
        for (uint64_t done = 0; done < blocks;) {
                size_t n = (size_t) MIN(blocks - done, (uint64_t) TREE_PIECE / SHA256_SIZE);
                int result = io_pread_all(r->fd, piece, n * SHA256_SIZE, at + done * SHA256_SIZE, reterr);

                if (result < 0)
                        return result;
                for (size_t i = 0; i < n; i++)
                        r->keys[r->n_blocks + done + i] = block_map_key(piece + i * SHA256_SIZE, KEY_SIZE);
                done += n;
        }
        r->sources[r->n_sources++] =
                (Source){ .data_offset = slot->usr.offset, .first = r->n_blocks, .n_blocks = (uint32_t) blocks };
        r->n_blocks += (uint32_t) blocks;
        return 0;
}

/* A slot that cannot be read is one that nothing is taken from. */
static void add_slot(Reuse *r, const Slot *slot, const Sha256 *salt) {
        _cleanup_error_ Error e = {};
        VerityOptions options;
        uint64_t size = 0;

        if (verity_read_superblock(r->fd, slot->verity.offset, &size, &options, NULL) < 0 ||
            memcmp(options.salt, salt->bytes, VERITY_SALT_SIZE) != 0)
                return;
        /* A tree of one block has no leaves on the disk. */
        if (size <= VERITY_BLOCK_SIZE || size > slot->usr.size || verity_hash_size(size) > slot->verity.size ||
            size / VERITY_BLOCK_SIZE > REUSE_BLOCKS_MAX - r->n_blocks)
                return;
        if (read_leaves(r, slot, size, &e) < 0)
                log_warning("nothing is taken from %s: %s", slot->version ?: "a slot", e.message);
}

static int compare_blocks(const void *a, const void *b, void *userdata) {
        const uint32_t *keys = userdata, x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        if (keys[x] != keys[y])
                return keys[x] < keys[y] ? -1 : 1;
        return x < y ? -1 : x > y;
}

int reuse_open(const Machine *m, const Slot *target, const Sha256 *salt, Reuse **ret, Error *reterr) {
        _cleanup_(reuse_freep) Reuse *r = xnew(Reuse, 1);

        r->next = NONE;
        r->fd = open(m->disk, O_RDONLY | O_CLOEXEC);
        if (r->fd < 0)
                return error_errno(reterr, errno, "cannot open %s", m->disk);
        /* The one that runs first: of what is in several slots, that copy is used. */
        for (int running = 1; running >= 0; running--)
                for (size_t i = 0; i < m->n_slots; i++)
                        if (m->slots[i].usr.offset != target->usr.offset && m->slots[i].has_root_hash &&
                            !m->slots[i].empty && m->slots[i].running == running)
                                add_slot(r, &m->slots[i], salt);
        *ret = NULL;
        if (r->n_blocks == 0)
                return 0;
        r->order = xcalloc(r->n_blocks, sizeof *r->order);
        for (uint32_t i = 0; i < r->n_blocks; i++)
                r->order[i] = i;
        qsort_r(r->order, r->n_blocks, sizeof *r->order, compare_blocks, r->keys);
        *ret = TAKE_PTR(r);
        return 0;
}

Reuse *reuse_free(Reuse *r) {
        if (!r)
                return NULL;
        safe_close(r->fd);
        free(r->keys);
        free(r->order);
        block_map_free(r->map);
        free(r->buffer);
        free(r);
        return NULL;
}

void reuse_set_map(Reuse *r, BlockMap *map) {
        block_map_free(r->map);
        r->map = map;
}

/* ---- finding blocks ---- */

/* The wanted digest, in as many bytes as the map has of it. */
static uint32_t shorten(const Reuse *r, uint32_t key) {
        return key >> 8 * (KEY_SIZE - r->map->digest_size);
}

/* The first place in the order that is not below the wanted digest. */
static uint32_t lower_bound(const Reuse *r, uint32_t wanted) {
        uint32_t low = 0, high = r->n_blocks;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2;

                if (shorten(r, r->keys[r->order[middle]]) < wanted)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* Of the blocks that fit, the one that has choice others of other content before it; NONE: there is none. */
static uint32_t candidate(const Reuse *r, uint32_t wanted, unsigned choice) {
        uint32_t at = lower_bound(r, wanted);

        for (;; at++) {
                if (at >= r->n_blocks || shorten(r, r->keys[r->order[at]]) != wanted)
                        return NONE;
                if (choice == 0)
                        return r->order[at];
                while (at + 1 < r->n_blocks && r->keys[r->order[at + 1]] == r->keys[r->order[at]])
                        at++;
                choice--;
        }
}

/* Images that are alike have long rows in common: what follows on what was used last is preferred. Elsewhere there may
 * be several blocks that fit. choice says which one of them is taken, in mixed radix: its digits, one for each such
 * place. False: a block is not there at all, or no such combination is left. */
static bool choose(Reuse *r, size_t first, size_t count, unsigned choice) {
        uint32_t next = r->next;

        for (size_t i = 0; i < count; i++) {
                uint32_t wanted = block_map_key_at(r->map, first + i);

                if (next < r->n_blocks && shorten(r, r->keys[next]) == wanted) {
                        r->blocks[i] = next++;
                        continue;
                }
                r->blocks[i] = candidate(r, wanted, 0);
                if (r->blocks[i] == NONE)
                        return false;
                if (choice > 0) {
                        unsigned n = 1;

                        while (n <= choice && candidate(r, wanted, n) != NONE)
                                n++;
                        r->blocks[i] = candidate(r, wanted, choice % n);
                        choice /= n;
                }
                next = r->blocks[i] + 1;
        }
        return choice == 0;
}

static const Source *source_of(const Reuse *r, uint32_t block) {
        size_t i = 0;

        while (block - r->sources[i].first >= r->sources[i].n_blocks)
                i++;
        return &r->sources[i];
}

static bool read_blocks(Reuse *r, size_t count) {
        for (size_t i = 0, n; i < count; i += n) {
                const Source *s = source_of(r, r->blocks[i]);
                uint64_t offset = s->data_offset + (uint64_t) (r->blocks[i] - s->first) * BLOCK_MAP_BLOCK_SIZE;

                for (n = 1;
                     i + n < count && r->blocks[i + n] == r->blocks[i] + n && source_of(r, r->blocks[i + n]) == s;)
                        n++;
                if (io_pread_all(r->fd, r->buffer + i * BLOCK_MAP_BLOCK_SIZE, n * BLOCK_MAP_BLOCK_SIZE, offset, NULL) <
                    0)
                        return false;
        }
        return true;
}

const void *reuse_find(Reuse *r, uint64_t offset, size_t size, const Sha256 *sha256) {
        size_t first = (size_t) (offset / BLOCK_MAP_BLOCK_SIZE), count = size / BLOCK_MAP_BLOCK_SIZE;
        uint64_t end;

        if (!r->map || offset % BLOCK_MAP_BLOCK_SIZE != 0 || size % BLOCK_MAP_BLOCK_SIZE != 0 || count == 0 ||
            count > FRAME_BLOCKS_MAX || __builtin_add_overflow(offset, size, &end) || end > r->map->image_size)
                return NULL;
        if (r->buffer_size < size) {
                r->buffer = xrealloc(r->buffer, size, 1);
                r->buffer_size = size;
        }
        for (unsigned choice = 0; choice < TRIES_MAX && choose(r, first, count, choice); choice++) {
                Sha256 digest;

                if (!read_blocks(r, count))
                        break;
                sha256_buffer(r->buffer, size, &digest);
                if (sha256_equal(&digest, sha256)) {
                        r->next = r->blocks[count - 1] + 1;
                        return r->buffer;
                }
        }
        /* The new image goes on beside what it was before: behind as much as is new. */
        r->next = r->next < r->n_blocks - MIN(count, r->n_blocks) ? r->next + (uint32_t) count : NONE;
        return NULL;
}

/* ---- for an offer ---- */

typedef struct MapText {
        Buffer text;
        uint64_t size; /* that it may have */
} MapText;

static int collect(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr) {
        MapText *t = userdata;

        if (size > t->size - MIN(t->text.size, t->size))
                return error_set(reterr, EMSGSIZE, REFUSAL_TOO_LARGE, "the map of the image is larger than it says");
        buffer_append(&t->text, data, size);
        return 0;
}

static int collect_anew(void *userdata, Error *reterr) {
        ((MapText *) userdata)->text.size = 0;
        return 0;
}

static void map_text_done(MapText *t) {
        buffer_done(&t->text);
}

static int fetch_map(const FetchOptions *opt, const Offer *offer, BlockMap **ret, uint64_t *ret_downloaded,
                     Error *reterr) {
        const Artifact *a = offer->description->artifacts;
        _cleanup_(map_text_done) MapText text = { .size = a[ARTIFACT_USR_MAP].size };
        FetchSink sink = { .write = collect, .restart = collect_anew, .userdata = &text };
        int r = fetch_artifact(opt, offer, ARTIFACT_USR_MAP, &sink, ret_downloaded, reterr);

        return r < 0 ? r
                     : block_map_parse(text.text.data, text.text.size, a[ARTIFACT_USR].size, "map of the image", ret,
                                       reterr);
}

int reuse_prepare(const FetchOptions *opt, const Offer *offer, const Machine *m, const Slot *target, Reuse **ret,
                  uint64_t *ret_downloaded, Error *reterr) {
        _cleanup_(reuse_freep) Reuse *reuse = NULL;
        _cleanup_error_ Error e = {};
        BlockMap *map = NULL;
        int r = 0;

        *ret = NULL;
        *ret_downloaded = 0;
        if (!offer->description->artifacts[ARTIFACT_USR_MAP].present)
                return 0;
        r = reuse_open(m, target, &offer->description->verity_salt, &reuse, &e);
        if (r >= 0 && reuse)
                r = fetch_map(opt, offer, &map, ret_downloaded, &e);
        if (r < 0 && e.id == REFUSAL_CANCELLED)
                return error_move(reterr, &e);
        if (r < 0)
                log_warning("everything is downloaded: %s", e.message);
        if (r < 0 || !reuse)
                return 0;
        reuse_set_map(reuse, map);
        *ret = TAKE_PTR(reuse);
        return 0;
}
