/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/mman.h>
#include <sys/stat.h>

#include "delta-initrd.h"

DeltaImage *delta_image_free(DeltaImage *m) {
        if (!m)
                return NULL;
        if (m->data)
                (void) munmap((void *) m->data, m->size);
        erofs_extents_free(m->erofs);
        pe_done(&m->pe);
        delta_initrd_free(m->initrd);
        free(m->files);
        free(m->extents);
        free(m->places);
        free(m);
        return NULL;
}

static int map_image(const DeltaInput *in, DeltaImage *m, Error *reterr) {
        struct stat st;
        void *p;

        if (fstat(in->fd, &st) < 0)
                return error_errno(reterr, errno, "%s", in->name);
        if (!S_ISREG(st.st_mode) || st.st_size == 0)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: not a file with content", in->name);
        p = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, in->fd, 0);
        if (p == MAP_FAILED)
                return error_errno(reterr, errno, "%s: cannot map it", in->name);
        m->data = p;
        m->size = (uint64_t) st.st_size;
        return 0;
}

static bool has_place(const ErofsExtent *x) {
        return x->kind == EROFS_EXTENT_PLAIN || x->kind == EROFS_EXTENT_LZ4;
}

static DeltaArea area_of(const char *path) {
        return strstr(path, "lib/modules/") && endswith(path, ".ko") ? DELTA_AREA_MODULES : DELTA_AREA_FILES;
}

static void add_metadata(DeltaImage *m) {
        DeltaFile *f = &m->files[m->n_files++];

        *f = (DeltaFile){ .path = "", .area = DELTA_AREA_METADATA, .n_extents = (uint32_t) m->erofs->n_metadata };
        for (size_t i = 0; i < m->erofs->n_metadata; i++) {
                const ErofsArea *a = &m->erofs->metadata[i];

                m->extents[m->n_extents++] =
                        (DeltaExtent){ .physical = a->offset, .stored = a->size, .offset = f->size, .size = a->size };
                f->size += a->size;
        }
}

static void add_file(DeltaImage *m, const ErofsFile *from) {
        DeltaFile *f = &m->files[m->n_files];

        *f = (DeltaFile){ .path = from->path, .size = from->size, .first = m->n_extents, .area = area_of(from->path) };
        for (size_t i = 0; i < from->n_extents; i++) {
                const ErofsExtent *x = &m->erofs->extents[from->first + i];

                if (!has_place(x))
                        continue;
                m->extents[m->n_extents++] = (DeltaExtent){ .physical = x->physical,
                                                            .stored = x->stored,
                                                            .offset = x->offset,
                                                            .size = x->size,
                                                            .file = m->n_files,
                                                            .packed = x->kind == EROFS_EXTENT_LZ4 };
        }
        f->n_extents = m->n_extents - f->first;
        m->n_files++;
}

static int compare_places(const void *a, const void *b, void *userdata) {
        const DeltaExtent *extents = userdata, *x = &extents[*(const uint32_t *) a],
                          *y = &extents[*(const uint32_t *) b];

        return x->physical < y->physical ? -1 : x->physical > y->physical;
}

static void sort_places(DeltaImage *m) {
        m->places = xnew(uint32_t, m->n_extents);
        for (uint32_t i = 0; i < m->n_extents; i++)
                m->places[i] = i;
        qsort_r(m->places, m->n_extents, sizeof(*m->places), compare_places, m->extents);
}

static int read_extents(const DeltaInput *in, DeltaImage *m, Error *reterr) {
        int r = erofs_extents_read(in->fd, &m->erofs, reterr);

        if (r < 0)
                return error_prefix(reterr, "%s", in->name);
        if (m->erofs->size != m->size || m->size % DELTA_BLOCK_SIZE != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "%s: %" PRIu64 " bytes, and the image has %" PRIu64, in->name, m->size,
                                 m->erofs->size);
        m->files = xnew(DeltaFile, m->erofs->n_files + 1);
        m->extents = xnew(DeltaExtent, m->erofs->n_extents + m->erofs->n_metadata);
        add_metadata(m);
        for (size_t i = 0; i < m->erofs->n_files; i++)
                add_file(m, &m->erofs->files[i]);
        sort_places(m);
        return 0;
}

static int compare_sections(const void *a, const void *b) {
        const PeSection *x = a, *y = b;

        return x->raw_offset < y->raw_offset ? -1 : x->raw_offset > y->raw_offset;
}

static void add_section(DeltaImage *m, const char *name, uint64_t offset, uint64_t size) {
        DeltaFile *f = &m->files[m->n_files];

        *f = (DeltaFile){ .path = name,
                          .size = size,
                          .first = m->n_extents,
                          .n_extents = 1,
                          .area = streq(name, ".linux") ? DELTA_AREA_MODULES : DELTA_AREA_FILES };
        m->extents[m->n_extents++] =
                (DeltaExtent){ .physical = offset, .stored = size, .size = size, .file = m->n_files++ };
}

/* What no section has: headers, what lies between, the signature. */
static void add_rest(DeltaImage *m, uint64_t offset, uint64_t size) {
        add_section(m, "", offset, size);
        m->files[m->n_files - 1].area = DELTA_AREA_METADATA;
}

/* Frame by frame; they begin at that offset. */
static void add_frames(DeltaImage *m, uint64_t offset) {
        const DeltaInitrd *i = m->initrd;

        for (uint32_t k = 0; k < i->n_segments; k++) {
                const DeltaSegment *s = &i->segments[k];
                DeltaFile *f = &m->files[i->first_file + s->frame];

                if (s->offset == 0)
                        *f = (DeltaFile){ .path = ".initrd",
                                          .size = i->frames[s->frame + 1] - i->frames[s->frame],
                                          .first = m->n_extents,
                                          .area = DELTA_AREA_FILES };
                f->n_extents++;
                m->extents[m->n_extents++] = (DeltaExtent){ .physical = offset + s->physical,
                                                            .stored = s->stored,
                                                            .offset = s->offset,
                                                            .size = s->size,
                                                            .file = i->first_file + s->frame,
                                                            .packed = true,
                                                            .place = s->place };
        }
        m->n_files += i->n_frames;
}

/* A section of the image, as far as it is there and not part of the one before. */
static bool is_usable(const DeltaImage *m, const PeSection *s, uint64_t end) {
        return s->raw_size > 0 && s->raw_offset >= end && (uint64_t) s->raw_offset + s->raw_size <= m->size;
}

static void add_initrd(DeltaImage *m, const PeSection *s) {
        m->initrd->first_file = m->n_files;
        add_frames(m, s->raw_offset);
        if (m->initrd->size < s->raw_size)
                add_section(m, s->name, s->raw_offset + m->initrd->size, s->raw_size - m->initrd->size);
}

/* A kernel image by its sections; any other file is one. */
static void read_sections(DeltaImage *m) {
        bool pe = pe_parse(m->data, m->size, &m->pe, NULL) >= 0;
        const PeSection *initrd = pe ? pe_find(&m->pe, ".initrd") : NULL;
        size_t n = m->pe.n_sections * 2 + 1;
        uint64_t end = 0;

        if (initrd && is_usable(m, initrd, 0))
                m->initrd = delta_initrd_read(m->data + initrd->raw_offset, initrd->raw_size);
        m->files = xnew(DeltaFile, n + (m->initrd ? m->initrd->n_frames : 0));
        m->extents = xnew(DeltaExtent, n + (m->initrd ? m->initrd->n_segments : 0));
        if (pe)
                qsort(m->pe.sections, m->pe.n_sections, sizeof(*m->pe.sections), compare_sections);
        for (size_t i = 0; i < m->pe.n_sections; i++) {
                const PeSection *s = &m->pe.sections[i];

                if (!is_usable(m, s, end))
                        continue;
                if (s->raw_offset > end)
                        add_rest(m, end, s->raw_offset - end);
                if (m->initrd && m->initrd->first_file == 0 && streq(s->name, ".initrd"))
                        add_initrd(m, s);
                else
                        add_section(m, s->name, s->raw_offset, s->raw_size);
                end = (uint64_t) s->raw_offset + s->raw_size;
        }
        if (end < m->size)
                add_rest(m, end, m->size - end);
        sort_places(m);
}

int delta_image_open(const DeltaInput *in, bool usr, DeltaImage **ret, Error *reterr) {
        _cleanup_(delta_image_freep) DeltaImage *m = xnew(DeltaImage, 1);
        int r;

        r = map_image(in, m, reterr);
        if (r >= 0 && usr)
                r = read_extents(in, m, reterr);
        if (r < 0)
                return r;
        if (!usr)
                read_sections(m);
        *ret = TAKE_PTR(m);
        return 0;
}

uint32_t delta_image_find(const DeltaImage *m, uint32_t file, uint64_t offset) {
        const DeltaFile *f = &m->files[file];
        uint32_t low = f->first, high = f->first + f->n_extents;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2;

                if (m->extents[middle].offset + m->extents[middle].size > offset)
                        high = middle;
                else
                        low = middle + 1;
        }
        return low;
}

/* The part of an extent's content from skip on. */
static int read_extent(const DeltaImage *m, const DeltaExtent *x, uint64_t skip, size_t size, void *ret,
                       Error *reterr) {
        _cleanup_free_ char *content = NULL;
        int r;

        if (!x->packed) {
                memcpy(ret, m->data + x->physical + skip, size);
                return 0;
        }
        if (m->initrd) {
                uint64_t frame = m->initrd->frames[x->file - m->initrd->first_file];

                memcpy(ret, m->initrd->bytes.data + frame + x->offset + skip, size);
                return 0;
        }
        if (skip == 0 && size == x->size)
                return recompress_unpack(m->data + x->physical, x->stored, ret, size, reterr);
        content = xmalloc(x->size);
        r = recompress_unpack(m->data + x->physical, x->stored, content, x->size, reterr);
        if (r >= 0)
                memcpy(ret, content + skip, size);
        return r;
}

int delta_image_read(const DeltaImage *m, uint32_t file, uint64_t offset, size_t size, void *ret, Error *reterr) {
        const DeltaFile *f = &m->files[file];
        uint64_t end = offset + size;
        char *p = ret;

        for (uint32_t i = delta_image_find(m, file, offset); offset < end; i++) {
                const DeltaExtent *x = i < f->first + f->n_extents ? &m->extents[i] : NULL;
                uint64_t begin = x ? MIN(MAX(x->offset, offset), end) : end;
                size_t n;
                int r;

                memset(p, 0, begin - offset);
                p += begin - offset;
                offset = begin;
                if (offset == end)
                        break;
                n = (size_t) (MIN(x->offset + x->size, end) - offset);
                r = read_extent(m, x, offset - x->offset, n, p, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", f->path);
                p += n;
                offset += n;
        }
        return 0;
}
