/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "reuse.h"
#include "block-finder.h"
#include "download.h"
#include "io.h"
#include "log.h"

#define TREE_PIECE ((size_t) 1 << 20)

struct Reuse {
        int fd;
        BlockFinder *finder;
};

/* ---- what the slots hold ---- */

static int read_leaves(Reuse *r, const Slot *slot, const SlotTree *tree, Error *reterr) {
        uint64_t blocks = tree->data_size / VERITY_BLOCK_SIZE;
        uint32_t *keys = block_finder_room(r->finder, blocks);
        _cleanup_free_ uint8_t *piece = xmalloc(TREE_PIECE);

        if (!keys)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "the slots have too many blocks");
        for (uint64_t done = 0; done < blocks;) {
                size_t n = (size_t) MIN(blocks - done, (uint64_t) TREE_PIECE / SHA256_SIZE);
                int result = io_pread_all(r->fd, piece, n * SHA256_SIZE, tree->leaves + done * SHA256_SIZE, reterr);

                if (result < 0)
                        return result;
                for (size_t i = 0; i < n; i++)
                        keys[done + i] = block_map_key(piece + i * SHA256_SIZE, BLOCK_MAP_DIGEST_MAX);
                done += n;
        }
        block_finder_add(r->finder, slot->usr.offset, blocks);
        return 0;
}

/* A slot that cannot be read is one that nothing is taken from. */
static void add_slot(Reuse *r, const Slot *slot, const Sha256 *salt) {
        _cleanup_error_ Error e = {};
        SlotTree tree;

        if (slot_read_tree(r->fd, slot, &tree, NULL) < 0 || memcmp(tree.salt, salt->bytes, VERITY_SALT_SIZE) != 0)
                return;
        if (read_leaves(r, slot, &tree, &e) < 0)
                log_warning("nothing is taken from %s: %s", slot->version ?: "a slot", e.message);
}

int reuse_open(const Machine *m, const Slot *target, const Sha256 *salt, Reuse **ret, Error *reterr) {
        _cleanup_(reuse_freep) Reuse *r = xnew(Reuse, 1);

        r->fd = open(m->disk, O_RDONLY | O_CLOEXEC);
        if (r->fd < 0)
                return error_errno(reterr, errno, "cannot open %s", m->disk);
        r->finder = block_finder_new(r->fd);
        /* The one that runs first: of what is in several slots, that copy is used. */
        for (int running = 1; running >= 0; running--)
                for (size_t i = 0; i < m->n_slots; i++)
                        if (m->slots[i].usr.offset != target->usr.offset && m->slots[i].has_root_hash &&
                            !m->slots[i].empty && m->slots[i].running == running)
                                add_slot(r, &m->slots[i], salt);
        *ret = NULL;
        if (block_finder_sort(r->finder))
                *ret = TAKE_PTR(r);
        return 0;
}

Reuse *reuse_free(Reuse *r) {
        if (!r)
                return NULL;
        safe_close(r->fd);
        block_finder_free(r->finder);
        free(r);
        return NULL;
}

void reuse_set_map(Reuse *r, BlockMap *map) {
        block_finder_set_map(r->finder, map);
}

const void *reuse_find(Reuse *r, uint64_t offset, size_t size, const Sha256 *sha256) {
        return block_finder_find(r->finder, offset, size, sha256);
}

/* ---- for an offer ---- */

static int fetch_map(const FetchOptions *opt, const Offer *offer, BlockMap **ret, uint64_t *ret_downloaded,
                     Error *reterr) {
        const Document map = document_of_artifact(offer, ARTIFACT_USR_MAP);
        _cleanup_buffer_ Buffer text = {};
        int r = download_document(opt, &map, BLOCK_MAP_SIZE_MAX, &text, ret_downloaded, reterr);

        return r < 0 ? r
                     : block_map_parse(text.data, text.size, offer->description->artifacts[ARTIFACT_USR].size,
                                       "map of the image", ret, reterr);
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
