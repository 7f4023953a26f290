/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>

#define ZSTD_STATIC_LINKING_ONLY
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include <zstd.h>

#include "delta-initrd.h"
#include "segment.h"

#define FRAME_ALIGNMENT ((size_t) 4096)
#define CONTENT_MAX ((size_t) 1 << 30)
/* Entries up to this size are looked at as a whole. */
#define WHOLE_MAX ((uint64_t) 256 << 10)
/* cpio "newc": a magic number and 13 numbers of eight digits. */
#define HEADER_SIZE ((size_t) 110)
#define HEADER_FILE_SIZE 54
#define HEADER_NAME_SIZE 94

typedef struct Reader {
        DeltaInitrd *initrd;
        ZSTD_DCtx *zstd;
        size_t n_frames_allocated, n_segments_allocated, n_entries_allocated;
} Reader;

static void reader_done(Reader *w) {
        ZSTD_freeDCtx(w->zstd);
}

DeltaInitrd *delta_initrd_free(DeltaInitrd *i) {
        if (!i)
                return NULL;
        buffer_done(&i->bytes);
        free(i->content.files);
        free(i->content.extents);
        free(i->content.places);
        free(i->frames);
        free(i->segments);
        free(i);
        return NULL;
}

/* ---- frames --------------------------------------------------------------------------------------------------- */

static void add_segment(Reader *w, size_t physical, size_t stored, size_t offset, size_t size, bool last) {
        DeltaInitrd *i = w->initrd;

        GROW(i->segments, i->n_segments, w->n_segments_allocated);
        i->segments[i->n_segments++] =
                (DeltaSegment){ .physical = physical,
                                .stored = stored,
                                .offset = offset,
                                .size = size,
                                .frame = i->n_frames,
                                .place = (uint8_t) ((offset == 0 ? SEGMENT_FIRST : 0) | (last ? SEGMENT_LAST : 0)) };
}

/* Block by block: a segment ends with the block that makes it SEGMENT_CONTENT_MAX bytes long, or is the last one.
 * Returns what the frame takes, or 0 if it is not made of segments. */
static size_t read_blocks(Reader *w, const uint8_t *data, size_t begin, size_t end, char *content, size_t size,
                          size_t *ret_size) {
        size_t at = begin, done = 0, first = begin, offset = 0, wanted, n;
        bool last = false;

        while ((wanted = ZSTD_nextSrcSizeToDecompress(w->zstd)) > 0) {
                ZSTD_nextInputType_e type = ZSTD_nextInputType(w->zstd);

                if (wanted > end - at)
                        return 0;
                if (type == ZSTDnit_blockHeader)
                        last = data[at] & 1;
                n = ZSTD_decompressContinue(w->zstd, content + done, size - done, data + at, wanted);
                if (ZSTD_isError(n))
                        return 0;
                at += wanted;
                done += n;
                if (done - offset > SEGMENT_CONTENT_MAX)
                        return 0;
                if (n > 0 && done - offset == SEGMENT_CONTENT_MAX && !last) {
                        add_segment(w, first, at - first, offset, done - offset, false);
                        first = at;
                        offset = done;
                }
        }
        if (done == offset)
                return 0;
        add_segment(w, first, at - first, offset, done - offset, true);
        *ret_size = done;
        return at - begin;
}

/* 0: no (further) frame; otherwise where the next one may begin. */
static size_t read_frame(Reader *w, const uint8_t *data, size_t begin, size_t end) {
        DeltaInitrd *i = w->initrd;
        uint32_t n_segments = i->n_segments;
        _cleanup_free_ char *content = NULL;
        unsigned long long bound;
        size_t packed, size = 0, n;

        if (end - begin < SEGMENT_HEADER_SIZE || memcmp(data + begin, SEGMENT_HEADER, SEGMENT_HEADER_SIZE) != 0)
                return 0;
        packed = ZSTD_findFrameCompressedSize(data + begin, end - begin);
        bound = ZSTD_isError(packed) ? ZSTD_CONTENTSIZE_ERROR : ZSTD_decompressBound(data + begin, packed);
        if (bound > CONTENT_MAX - i->bytes.size)
                return 0;
        content = xmalloc((size_t) bound + 1);
        ZSTD_decompressBegin(w->zstd);
        n = read_blocks(w, data, begin, begin + packed, content, (size_t) bound, &size);
        if (n == 0) {
                i->n_segments = n_segments;
                return 0;
        }
        GROW(i->frames, i->n_frames + 1, w->n_frames_allocated);
        i->frames[i->n_frames++] = i->bytes.size;
        buffer_append(&i->bytes, content, size);
        i->frames[i->n_frames] = i->bytes.size;
        for (n += begin; n < end && n % FRAME_ALIGNMENT != 0 && data[n] == 0; n++)
                i->segments[i->n_segments - 1].stored++;
        return n;
}

/* ---- entries -------------------------------------------------------------------------------------------------- */

static bool read_hex(const char *p, size_t *ret) {
        char digits[9] = {}, *end;

        memcpy(digits, p, 8);
        *ret = strtoul(digits, &end, 16);
        return *end == 0 && isxdigit((unsigned char) digits[0]);
}

static size_t align4(size_t n) {
        return (n + 3) & ~(size_t) 3;
}

/* The size of the entry at the start of data, with header, name and padding; 0: not an entry, or the end. */
static size_t read_entry(const char *data, size_t size) {
        size_t name_size, file_size, n;

        if (size < HEADER_SIZE || memcmp(data, "070701", 6) != 0 || !read_hex(data + HEADER_FILE_SIZE, &file_size) ||
            !read_hex(data + HEADER_NAME_SIZE, &name_size))
                return 0;
        if (name_size == 0 || name_size > size - HEADER_SIZE || data[HEADER_SIZE + name_size - 1] != 0 ||
            streq(data + HEADER_SIZE, "TRAILER!!!"))
                return 0;
        n = align4(HEADER_SIZE + name_size) + align4(file_size);
        return n <= size ? n : 0;
}

static void read_entries(Reader *w, uint64_t begin, uint64_t end) {
        DeltaImage *m = &w->initrd->content;
        size_t n;

        for (; (n = read_entry(w->initrd->bytes.data + begin, (size_t) (end - begin))) > 0; begin += n) {
                if (m->n_files == w->n_entries_allocated) {
                        w->n_entries_allocated = w->n_entries_allocated * 2 + 256;
                        m->files = xrealloc(m->files, w->n_entries_allocated, sizeof(*m->files));
                        m->extents = xrealloc(m->extents, w->n_entries_allocated, sizeof(*m->extents));
                }
                m->extents[m->n_files] = (DeltaExtent){ .physical = begin, .stored = n, .size = n, .file = m->n_files };
                m->files[m->n_files] = (DeltaFile){ .path = w->initrd->bytes.data + begin + HEADER_SIZE,
                                                    .size = n,
                                                    .first = m->n_files,
                                                    .n_extents = 1,
                                                    .area = DELTA_AREA_FILES };
                m->n_extents = ++m->n_files;
        }
}

DeltaInitrd *delta_initrd_read(const void *data, size_t size) {
        _cleanup_(delta_initrd_freep) DeltaInitrd *i = xnew(DeltaInitrd, 1);
        _cleanup_(reader_done) Reader w = { .initrd = i, .zstd = ZSTD_createDCtx() };
        size_t at;

        if (!w.zstd)
                abort();
        *i = (DeltaInitrd){};
        while (i->size < size && (at = read_frame(&w, data, (size_t) i->size, size)) > 0)
                i->size = at;
        if (i->n_frames == 0)
                return NULL;
        for (uint32_t k = 0; k < i->n_frames; k++)
                read_entries(&w, i->frames[k], i->frames[k + 1]);
        i->content.data = (const uint8_t *) i->bytes.data;
        i->content.size = i->bytes.size;
        return TAKE_PTR(i);
}

/* ---- what came before ------------------------------------------------------------------------------------------ */

/* The last one that begins at or before a place of the content. */
static uint32_t find_frame(const DeltaInitrd *i, uint64_t at) {
        uint32_t low = 0, high = i->n_frames;

        while (high - low > 1) {
                uint32_t middle = low + (high - low) / 2;

                if (i->frames[middle] <= at)
                        low = middle;
                else
                        high = middle;
        }
        return low;
}

/* The first entry that ends behind a place of the content. */
static uint32_t find_entry(const DeltaInitrd *i, uint64_t at) {
        uint32_t low = 0, high = i->content.n_files;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2;

                if (i->content.extents[middle].physical + i->content.extents[middle].size > at)
                        high = middle;
                else
                        low = middle + 1;
        }
        return low;
}

static uint64_t in_proportion(uint64_t offset, uint64_t from, uint64_t to) {
        return (uint64_t) ((double) offset / (double) from * (double) to);
}

void delta_initrd_look(const DeltaInitrd *old, const DeltaInitrd *new, const uint32_t *pairs,
                       const DeltaInitrdRange *of,
                       void (*found)(uint32_t file, uint64_t begin, uint64_t end, void *userdata), void *userdata) {
        uint64_t from = new->frames[of->file - new->first_file] + of->offset, to = from + of->size;

        for (uint32_t i = find_entry(new, from); i < new->content.n_files &&new->content.extents[i].physical < to;
             i++) {
                const DeltaExtent *x = &new->content.extents[i], *was;
                uint64_t begin = 0, end;
                uint32_t frame;

                if (pairs[i] == DELTA_NONE)
                        continue;
                was = &old->content.extents[pairs[i]];
                frame = find_frame(old, was->physical);
                end = was->size;
                if (was->size > WHOLE_MAX) {
                        begin = in_proportion(MAX(from, x->physical) - x->physical, x->size, was->size);
                        begin -= MIN(begin, of->margin);
                        end = in_proportion(MIN(to, x->physical + x->size) - x->physical, x->size, was->size);
                        end = MIN(end + of->margin, was->size);
                }
                found(old->first_file + frame, was->physical - old->frames[frame] + begin,
                      was->physical - old->frames[frame] + end, userdata);
        }
}
