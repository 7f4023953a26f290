/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: as in erofs-read.c, a child walks and sends records, here one for each file and its extents behind it. The
 * child refuses what has no place in our terms (packed tails, shared pieces, other encodings); the parent checks the
 * ranges themselves, each alone and then, sorted, against each other: what they leave over is the metadata. */

#include <search.h>

#include "erofs-extents.h"
#include "erofs-source.h"
#include "tree.h"

#include "erofs/inode.h"

#define BLOCK_SIZE 4096
#define PATH_SIZE_MAX ((size_t) TREE_DEPTH_MAX * (TREE_NAME_MAX + 1))

/* The first record is the image itself, without path and extents, the last one has nothing. */
typedef struct Record {
        uint64_t size;
        uint64_t n_extents;
        uint32_t path_size;
} Record;

/* ---- in the child ---------------------------------------------------------------------------------------- */

typedef struct Seen {
        erofs_nid_t nid;
} Seen;

typedef struct Walker {
        struct erofs_sb_info *super;
        int fd;
        FILE *to_parent; /* borrowed */
        void *seen;      /* search tree of Seen, by nid */
        size_t n_entries;
        ErofsExtent *extents; /* of the present file */
        size_t n_extents, n_allocated;
} Walker;

static void put(Walker *w, const void *data, size_t size) {
        if (size > 0 && fwrite(data, 1, size, w->to_parent) != size)
                _exit(EXIT_FAILURE);
}

static int compare_seen(const void *a, const void *b) {
        const Seen *x = a, *y = b;

        return x->nid < y->nid ? -1 : x->nid > y->nid;
}

/* Whether this inode has not been met before. */
static bool remember(Walker *w, erofs_nid_t nid) {
        Seen *seen = xnew(Seen, 1), **found;

        seen->nid = nid;
        found = tsearch(seen, &w->seen, compare_seen);
        if (!found)
                abort();
        if (*found == seen)
                return true;
        free(seen);
        return false;
}

static uint64_t whole_blocks(uint64_t size) {
        return (size + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

static void fill_encoded(const struct erofs_map_blocks *map, const char *path, ErofsExtent *x) {
        if (map->m_flags & (EROFS_MAP_META | __EROFS_MAP_FRAGMENT))
                erofs_source_bad(path, "its end is packed together with other things, which is not supported here");
        if (map->m_flags & EROFS_MAP_PARTIAL_REF)
                erofs_source_bad(path, "it shares pieces with other files, which is not supported here");
        x->stored = map->m_plen;
        switch (map->m_algorithmformat) {
        case Z_EROFS_COMPRESSION_LZ4:
                x->kind = EROFS_EXTENT_LZ4;
                return;
        case Z_EROFS_COMPRESSION_INTERLACED:
                /* The same thing where the content begins at the beginning of a block. */
                if (map->m_la % BLOCK_SIZE != 0)
                        break;
                /* fallthrough */
        case Z_EROFS_COMPRESSION_SHIFTED:
                x->kind = EROFS_EXTENT_PLAIN;
                return;
        }
        erofs_source_bad(path, "it is compressed in another way than LZ4");
}

static void fill_extent(const struct erofs_inode *inode, const struct erofs_map_blocks *map, const char *path,
                        ErofsExtent *x) {
        *x = (ErofsExtent){
                .offset = map->m_la,
                .size = MIN(map->m_llen, inode->i_size - map->m_la),
                .physical = map->m_pa,
        };
        if (!(map->m_flags & (EROFS_MAP_MAPPED | __EROFS_MAP_FRAGMENT))) {
                x->kind = EROFS_EXTENT_HOLE;
                x->physical = 0;
        } else if (is_inode_layout_compression((struct erofs_inode *) inode))
                fill_encoded(map, path, x);
        else if (map->m_flags & EROFS_MAP_META) {
                x->kind = EROFS_EXTENT_INLINE;
                x->stored = x->size;
        } else {
                x->kind = EROFS_EXTENT_PLAIN;
                x->stored = whole_blocks(x->size);
        }
}

static bool continues(const ErofsExtent *last, const ErofsExtent *x) {
        return last->kind == x->kind &&
               (x->kind == EROFS_EXTENT_HOLE || (x->kind == EROFS_EXTENT_PLAIN && last->size == last->stored &&
                                                 last->physical + last->stored == x->physical));
}

static void map_file(Walker *w, struct erofs_inode *inode, const char *path) {
        struct erofs_map_blocks map = { .buf = __EROFS_BUF_INITIALIZER };

        w->n_extents = 0;
        for (uint64_t offset = 0; offset < inode->i_size;) {
                ErofsExtent x, *last = w->n_extents > 0 ? w->extents + w->n_extents - 1 : NULL;
                int r;

                map.m_la = offset;
                r = erofs_map_blocks(inode, &map, EROFS_GET_BLOCKS_FIEMAP);
                if (r < 0)
                        erofs_source_bad(path, "no place for what is at %" PRIu64 ": %s", offset, strerror(-r));
                if (map.m_la != offset || map.m_llen == 0)
                        erofs_source_bad(path, "its pieces do not fit together at %" PRIu64, offset);
                fill_extent(inode, &map, path, &x);
                offset += x.size;
                if (last && continues(last, &x)) {
                        last->size += x.size;
                        last->stored += x.stored;
                        continue;
                }
                if (w->n_extents >= EROFS_EXTENTS_MAX)
                        erofs_source_too_large(path, "more pieces than an image may have");
                GROW(w->extents, w->n_extents, w->n_allocated);
                w->extents[w->n_extents++] = x;
        }
}

static void send_file(Walker *w, struct erofs_inode *inode, const char *path) {
        Record record = { .size = inode->i_size, .path_size = (uint32_t) strlen(path) };

        map_file(w, inode, path);
        record.n_extents = w->n_extents;
        put(w, &record, sizeof(record));
        put(w, path, record.path_size);
        put(w, w->extents, w->n_extents * sizeof(*w->extents));
}

static void walk(Walker *w, erofs_nid_t nid, erofs_nid_t parent_nid, const char *path, unsigned depth) {
        struct erofs_inode inode = { .sbi = w->super, .nid = nid };
        const char *name = *path ? path : "/";
        ErofsSourceListing listing;
        int r;

        liberofs_alive();
        if (++w->n_entries > TREE_ENTRIES_MAX)
                erofs_source_too_large(name, "more entries than an image may have");
        r = erofs_read_inode_from_disk(&inode);
        if (r < 0)
                erofs_source_bad(name, "cannot read the inode: %s", strerror(-r));
        if (!remember(w, nid)) {
                if (S_ISDIR(inode.i_mode))
                        erofs_source_bad(name, "a folder that is in two places");
                return;
        }
        if (depth == 0 && !S_ISDIR(inode.i_mode))
                erofs_source_bad(name, "its type is not what its folder says");
        if (S_ISREG(inode.i_mode))
                send_file(w, &inode, path);
        if (!S_ISDIR(inode.i_mode))
                return;

        erofs_source_list(&inode, parent_nid, path, depth, &listing);
        for (size_t i = 0; i < listing.n_entries; i++) {
                _cleanup_free_ char *child_path = xasprintf("%s/%s", path, listing.entries[i].name);

                walk(w, listing.entries[i].nid, nid, child_path, depth + 1);
        }
        erofs_source_listing_done(&listing);
}

static int walk_in_child(FILE *to_parent, void *userdata, Error *reterr) {
        Record record = {};
        Walker *w = userdata;
        int r;

        r = erofs_source_open(w->fd, w->super, reterr);
        if (r < 0)
                return r;
        if (erofs_blksiz(w->super) != BLOCK_SIZE)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "blocks of %u bytes, not %d",
                                 erofs_blksiz(w->super), BLOCK_SIZE);
        w->to_parent = to_parent;

        record.size = w->super->primarydevice_blocks * BLOCK_SIZE;
        put(w, &record, sizeof(record));
        walk(w, w->super->root_nid, w->super->root_nid, "", 0);
        put(w, &(Record){}, sizeof(Record));
        return 0;
}

/* ---- in the parent --------------------------------------------------------------------------------------- */

typedef struct Receiver {
        FILE *from_child; /* borrowed */
        ErofsExtents *extents;
        size_t n_files_allocated, n_extents_allocated;
} Receiver;

static bool takes_blocks(const ErofsExtent *x) {
        return x->kind == EROFS_EXTENT_PLAIN || x->kind == EROFS_EXTENT_LZ4;
}

static int get(Receiver *v, void *ret, size_t size, Error *reterr) {
        if (fread(ret, 1, size, v->from_child) != size)
                return error_set(reterr, EPROTO, REFUSAL_BAD_FORMAT, "the image ended early");
        return 0;
}

static int check_extent(const ErofsExtent *x, uint64_t offset, uint64_t file_size, uint64_t image_size,
                        const char *path, Error *reterr) {
        bool possible = x->offset == offset && x->size > 0 && x->size <= file_size - offset &&
                        x->physical <= image_size && x->stored <= image_size - x->physical;

        switch (x->kind) {
        case EROFS_EXTENT_PLAIN:
                possible = possible && x->stored == whole_blocks(x->size) && x->physical % BLOCK_SIZE == 0;
                break;
        case EROFS_EXTENT_LZ4:
                possible = possible && x->stored > 0 && (x->physical | x->stored) % BLOCK_SIZE == 0;
                break;
        case EROFS_EXTENT_INLINE:
                possible = possible && x->stored == x->size;
                break;
        case EROFS_EXTENT_HOLE:
                possible = possible && x->stored == 0 && x->physical == 0;
                break;
        default:
                possible = false;
        }
        if (possible)
                return 0;
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: what is at %" PRIu64 " cannot be where it is said",
                         path, offset);
}

static int receive_file(Receiver *v, const Record *record, Error *reterr) {
        ErofsExtents *x = v->extents;
        ErofsFile *f;
        uint64_t offset = 0;
        int r;

        if (record->path_size > PATH_SIZE_MAX || record->n_extents > EROFS_EXTENTS_MAX - x->n_extents ||
            x->n_files >= TREE_ENTRIES_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more pieces of files than an image may have");
        GROW(x->files, x->n_files, v->n_files_allocated);
        f = x->files + x->n_files++;
        *f = (ErofsFile){
                .path = xnew(char, record->path_size + 1),
                .size = record->size,
                .first = x->n_extents,
                .n_extents = record->n_extents,
        };
        r = get(v, f->path, record->path_size, reterr);
        for (size_t i = 0; r >= 0 && i < record->n_extents; i++) {
                ErofsExtent *new;

                GROW(x->extents, x->n_extents, v->n_extents_allocated);
                new = x->extents + x->n_extents++;
                r = get(v, new, sizeof(*new), reterr);
                if (r >= 0)
                        r = check_extent(new, offset, f->size, x->size, f->path, reterr);
                offset += new->size;
        }
        if (r >= 0 && offset != f->size)
                r = error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: not all of it has a place", f->path);
        return r;
}

static int receive(Receiver *v, Error *reterr) {
        Record record;
        int r;

        r = get(v, &record, sizeof(record), reterr);
        if (r < 0)
                return r;
        v->extents->size = record.size;
        for (;;) {
                r = get(v, &record, sizeof(record), reterr);
                if (r < 0 || record.path_size == 0)
                        return r;
                r = receive_file(v, &record, reterr);
                if (r < 0)
                        return r;
        }
}

/* ---- afterwards ------------------------------------------------------------------------------------------ */

typedef struct Place {
        uint64_t physical; /* of the first extent with blocks; UINT64_MAX without one */
        size_t file;
} Place;

static int compare_places(const void *a, const void *b) {
        const Place *x = a, *y = b;

        if (x->physical != y->physical)
                return x->physical < y->physical ? -1 : 1;
        return x->file < y->file ? -1 : x->file > y->file;
}

/* Files and extents, both into the order of the image. */
static void sort_files(ErofsExtents *x) {
        _cleanup_free_ Place *places = xnew(Place, x->n_files);
        ErofsExtent *extents = xnew(ErofsExtent, x->n_extents);
        ErofsFile *files = xnew(ErofsFile, x->n_files);
        size_t n = 0;

        for (size_t i = 0; i < x->n_files; i++) {
                const ErofsFile *f = x->files + i;

                places[i] = (Place){ .physical = UINT64_MAX, .file = i };
                for (size_t k = f->first; k < f->first + f->n_extents && places[i].physical == UINT64_MAX; k++)
                        if (takes_blocks(x->extents + k))
                                places[i].physical = x->extents[k].physical;
        }
        if (x->n_files > 0)
                qsort(places, x->n_files, sizeof(*places), compare_places);
        for (size_t i = 0; i < x->n_files; i++) {
                files[i] = x->files[places[i].file];
                if (files[i].n_extents > 0)
                        memcpy(extents + n, x->extents + files[i].first, files[i].n_extents * sizeof(*extents));
                files[i].first = n;
                n += files[i].n_extents;
        }
        free(x->files);
        free(x->extents);
        x->files = files;
        x->extents = extents;
}

static int compare_areas(const void *a, const void *b) {
        const ErofsArea *x = a, *y = b;

        return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* What lies between the extents; they may not overlap. */
static int find_metadata(ErofsExtents *x, Error *reterr) {
        _cleanup_free_ ErofsArea *taken = xnew(ErofsArea, x->n_extents + 1);
        uint64_t end = 0;
        size_t n = 0, n_allocated = 0;

        for (size_t i = 0; i < x->n_extents; i++)
                if (takes_blocks(x->extents + i))
                        taken[n++] = (ErofsArea){ .offset = x->extents[i].physical, .size = x->extents[i].stored };
        qsort(taken, n, sizeof(*taken), compare_areas);
        taken[n++] = (ErofsArea){ .offset = x->size };
        for (size_t i = 0; i < n; i++) {
                if (taken[i].offset < end)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                         "two files share the block at %" PRIu64 ", which is not supported here",
                                         taken[i].offset);
                if (taken[i].offset > end) {
                        GROW(x->metadata, x->n_metadata, n_allocated);
                        x->metadata[x->n_metadata++] = (ErofsArea){ .offset = end, .size = taken[i].offset - end };
                }
                end = taken[i].offset + taken[i].size;
        }
        return 0;
}

ErofsExtents *erofs_extents_free(ErofsExtents *x) {
        if (!x)
                return NULL;
        for (size_t i = 0; i < x->n_files; i++)
                free(x->files[i].path);
        free(x->files);
        free(x->extents);
        free(x->metadata);
        free(x);
        return NULL;
}

int erofs_extents_read(int fd, ErofsExtents **ret, Error *reterr) {
        _cleanup_(liberofs_freep) LiberofsChild *child = NULL;
        _cleanup_(erofs_extents_freep) ErofsExtents *extents = xnew(ErofsExtents, 1);
        _cleanup_free_ struct erofs_sb_info *super = xnew(struct erofs_sb_info, 1);
        Walker w = { .super = super, .fd = fd };
        Receiver v = { .extents = extents };
        int r;

        r = liberofs_start("cannot find the pieces of the image", REFUSAL_BAD_FORMAT, walk_in_child, &w, &child,
                           reterr);
        if (r < 0)
                return r;
        v.from_child = liberofs_stream(child);
        r = receive(&v, reterr);
        r = liberofs_finish(child, r, reterr);
        if (r < 0)
                return r;
        sort_files(extents);
        r = find_metadata(extents, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(extents);
        return 0;
}
