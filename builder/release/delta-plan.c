/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DESIGN: the new image is a row of atoms, each either there already or new. New ones that are near each other become
 * one operation, as long as they, and the old versions of their files, fit into the device's memory: LZMA learns as it
 * goes, and begins anew with each operation. What lies between them, though it is there already, costs next to nothing
 * inside an operation. */

#include "delta-initrd.h"
#include "delta-similar.h"
#include "segment.h"

/* Between new atoms, at most so much that is there already goes along. */
#define GAP_MAX ((uint64_t) 64 << 10)
/* Old versions up to this size are looked at as a whole; of larger ones at most so much around the place in question,
 * and less for little. Metadata moves little, and is cut in many by what lies between. */
#define WHOLE_MAX ((uint64_t) 1 << 20)
#define MARGIN ((uint64_t) 1 << 20)
#define METADATA_MARGIN ((uint64_t) 64 << 10)
#define MARGIN_MIN ((uint64_t) 64 << 10)
#define SEGMENT_MARGIN ((uint64_t) 128 << 10)
/* What a device needs: what it reads, LZMA's dictionary for that and the content, and the output; where clusters are
 * made, the contents of both sides once more. Buffers only grow, so that each has its own limit. With the program
 * around it this makes less than 16 MiB. */
#define OLD_MAX ((uint64_t) 7 << 19)
#define OLD_MAX_WITH_CLUSTERS ((uint64_t) 9 << 18)
#define CONTENT_MAX_WITH_CLUSTERS ((uint64_t) 9 << 17)

/* Content of an old file that a group looks at. */
typedef struct Part {
        uint32_t file;
        uint64_t begin, end;
        uint64_t stored, content; /* what it comes to in whole blocks and clusters */
        bool packed;
} Part;

typedef struct Group {
        Part *parts;
        size_t n_parts, n_parts_allocated;
        uint64_t stored, content, old_stored, old_content;
        bool packed; /* a cluster is among all these */
} Group;

typedef struct Planner {
        DeltaPlan *plan;
        uint64_t *copies; /* of an image in blocks */
        DeltaRuns runs;   /* of another file */
        uint32_t *pairs;
        uint32_t *entries;     /* the same of the files in an initrd */
        DeltaSimilar *similar; /* of large old files */
        uint64_t margin;       /* for the group at hand */
        Group group;
} Planner;

static void planner_done(Planner *w) {
        free(w->copies);
        delta_runs_done(&w->runs);
        free(w->pairs);
        free(w->entries);
        delta_similar_free(w->similar);
        free(w->group.parts);
}

DeltaPlan *delta_plan_free(DeltaPlan *p) {
        if (!p)
                return NULL;
        free(p->atoms);
        free(p->steps);
        free(p->ranges);
        free(p->clusters);
        free(p);
        return NULL;
}

/* ---- atoms ---------------------------------------------------------------------------------------------------- */

static void add_atom(DeltaPlan *p, const DeltaExtent *x, uint64_t skip, uint64_t stored, uint64_t source) {
        GROW(p->atoms, p->n_atoms, p->n_atoms_allocated);
        p->atoms[p->n_atoms++] = (DeltaAtom){
                .physical = x->physical + skip,
                .stored = stored,
                .offset = x->offset + skip,
                .size = x->packed ? x->size : MIN(stored, x->size - skip),
                .source = source,
                .file = x->file,
                .packed = x->packed && p->cluster_size > 0,
                .place = x->place,
        };
}

static uint64_t copy_of(const Planner *w, uint64_t offset) {
        return w->copies[offset / DELTA_BLOCK_SIZE];
}

/* A cluster is there only as a whole. */
static void add_packed(Planner *w, const DeltaExtent *x) {
        uint64_t source = copy_of(w, x->physical);

        for (uint64_t at = DELTA_BLOCK_SIZE; source != DELTA_NO_COPY && at < x->stored; at += DELTA_BLOCK_SIZE)
                if (copy_of(w, x->physical + at) != source + at)
                        source = DELTA_NO_COPY;
        add_atom(w->plan, x, 0, x->stored, source);
}

/* How much from here on is there in one piece, or is new. */
static uint64_t alike(const Planner *w, const DeltaExtent *x, uint64_t skip) {
        uint64_t source = copy_of(w, x->physical + skip), n = DELTA_BLOCK_SIZE;

        for (; skip + n < x->stored; n += DELTA_BLOCK_SIZE) {
                uint64_t next = copy_of(w, x->physical + skip + n);

                if (next != (source == DELTA_NO_COPY ? DELTA_NO_COPY : source + n))
                        break;
        }
        return n;
}

/* What is new in pieces that one operation can make. */
static uint64_t piece_of(uint64_t n, uint64_t unit) {
        uint64_t n_pieces = (n + DELTA_PIECE_MAX - 1) / DELTA_PIECE_MAX;

        return (n / n_pieces + unit - 1) / unit * unit;
}

static void add_plain(Planner *w, const DeltaExtent *x) {
        for (uint64_t skip = 0; skip < x->stored;) {
                uint64_t n = alike(w, x, skip), source = copy_of(w, x->physical + skip);

                if (source == DELTA_NO_COPY)
                        n = piece_of(n, DELTA_BLOCK_SIZE);
                add_atom(w->plan, x, skip, n, source);
                skip += n;
        }
}

/* The same in bytes. first: the first run that does not end before the extent. */
static void add_bytes(Planner *w, const DeltaExtent *x, size_t first) {
        for (uint64_t skip = 0; skip < x->stored;) {
                uint64_t at = x->physical + skip, left = x->stored - skip, n, source = DELTA_NO_COPY;
                const DeltaRun *run = first < w->runs.n ? &w->runs.items[first] : NULL;

                if (x->packed) {
                        /* Of a segment nothing is there but the whole. */
                        n = x->stored;
                        if (run && run->offset <= at && at + n <= run->offset + run->size)
                                source = run->source + (at - run->offset);
                } else if (run && run->offset <= at) {
                        n = MIN(left, run->offset + run->size - at);
                        source = run->source + (at - run->offset);
                        first += at + n == run->offset + run->size;
                } else
                        n = piece_of(run ? MIN(left, run->offset - at) : left, 1);
                add_atom(w->plan, x, skip, n, source);
                skip += n;
        }
}

static size_t first_run(const Planner *w, uint64_t offset) {
        size_t i = 0;

        while (i < w->runs.n && w->runs.items[i].offset + w->runs.items[i].size <= offset)
                i++;
        return i;
}

static void make_atoms(Planner *w) {
        const DeltaImage *new = w->plan->new;

        for (uint32_t i = 0; i < new->n_extents; i++) {
                const DeltaExtent *x = &new->extents[new->places[i]];

                if (!w->copies)
                        add_bytes(w, x, first_run(w, x->physical));
                else if (x->packed)
                        add_packed(w, x);
                else
                        add_plain(w, x);
        }
}

/* ---- what a group looks at ------------------------------------------------------------------------------------ */

/* The blocks of a plain extent, or the whole cluster, that hold content from begin to end. */
static bool cut_extent(const DeltaPlan *p, const DeltaExtent *x, uint64_t begin, uint64_t end, DeltaExtent *ret) {
        uint64_t skip, stop;

        *ret = *x;
        if (x->packed)
                return x->size <= DELTA_PIECE_MAX && x->stored <= p->cluster_size;
        skip = MAX(begin, x->offset) - x->offset;
        skip -= skip % DELTA_BLOCK_SIZE;
        stop = MIN(end, x->offset + x->size) - x->offset;
        ret->physical += skip;
        ret->offset += skip;
        ret->size = stop - skip;
        ret->stored = MIN((ret->size + DELTA_BLOCK_SIZE - 1) / DELTA_BLOCK_SIZE * DELTA_BLOCK_SIZE, x->stored - skip);
        return true;
}

#define FOREACH_CUT(x, p, part)                                                                                        \
        for (uint32_t _i = delta_image_find((p)->old, (part)->file, (part)->begin),                                    \
                      _n = (p)->old->files[(part)->file].first + (p)->old->files[(part)->file].n_extents;              \
             _i < _n && (p)->old->extents[_i].offset < (part)->end; _i++)                                              \
                if (cut_extent(p, &(p)->old->extents[_i], (part)->begin, (part)->end, x))

static void measure_part(const DeltaPlan *plan, Part *p) {
        DeltaExtent x;

        p->stored = p->content = 0;
        FOREACH_CUT(&x, plan, p) {
                p->stored += x.stored;
                p->content += MAX(x.size, x.packed ? 0 : x.stored);
                p->packed |= x.packed;
        }
}

static Part *find_part(Group *g, uint32_t file) {
        for (size_t i = g->n_parts; i > 0; i--)
                if (g->parts[i - 1].file == file)
                        return &g->parts[i - 1];
        GROW(g->parts, g->n_parts, g->n_parts_allocated);
        g->parts[g->n_parts] = (Part){ .file = file, .begin = UINT64_MAX };
        return &g->parts[g->n_parts++];
}

static uint64_t in_proportion(uint64_t offset, const DeltaFile *from, const DeltaFile *to) {
        return from->size == 0 ? 0 : (uint64_t) ((double) offset / (double) from->size * (double) to->size);
}

static bool is_large(const DeltaFile *f) {
        return f->size > WHOLE_MAX && f->area != DELTA_AREA_METADATA;
}

/* Where in the old file the middle of an atom was: at the same part of the way, unless its content says that this would
 * miss it. */
static uint64_t old_middle(const Planner *w, const DeltaAtom *a, uint32_t pair, uint64_t margin) {
        const DeltaFile *was = &w->plan->old->files[pair];
        uint64_t middle = in_proportion(a->offset + a->size / 2, &w->plan->new->files[a->file], was), found;

        if (is_large(was) &&
            delta_similar_find(w->similar, w->plan->new, a->file, a->offset, a->size, pair, &found) != DELTA_NONE &&
            found < was->size && (found > middle ? found - middle : middle - found) > margin / 2)
                return found;
        return middle;
}

static void look_at(const Planner *w, Group *g, uint32_t file, uint64_t begin, uint64_t end) {
        Part *p = find_part(g, file);

        g->old_stored -= p->stored;
        g->old_content -= p->content;
        p->begin = MIN(p->begin, begin);
        p->end = MIN(MAX(p->end, end), w->plan->old->files[file].size);
        measure_part(w->plan, p);
        g->old_stored += p->stored;
        g->old_content += p->content;
        g->packed |= p->packed;
}

typedef struct Look {
        const Planner *planner;
        Group *group;
} Look;

static void look_at_frame(uint32_t file, uint64_t begin, uint64_t end, void *userdata) {
        Look *l = userdata;

        look_at(l->planner, l->group, file, begin, end);
}

static void look_at_frames(const Planner *w, Group *g, const DeltaAtom *a) {
        const DeltaInitrdRange range = {
                .file = a->file, .offset = a->offset, .size = a->size, .margin = MIN(w->margin, SEGMENT_MARGIN)
        };
        Look l = { .planner = w, .group = g };

        delta_initrd_look(w->plan->old->initrd, w->plan->new->initrd, w->entries, &range, look_at_frame, &l);
}

static void look_at_old(const Planner *w, Group *g, const DeltaAtom *a) {
        const DeltaFile *f = &w->plan->new->files[a->file], *was;
        uint32_t pair = w->pairs[a->file];
        uint64_t begin, end, margin;

        if (a->packed && w->entries) {
                look_at_frames(w, g, a);
                return;
        }
        if (pair == DELTA_NONE)
                return;
        was = &w->plan->old->files[pair];
        margin = a->size / 2 +
                 (f->area == DELTA_AREA_METADATA ? METADATA_MARGIN : MIN(w->margin, MARGIN / 4 + a->size * 16));
        begin = old_middle(w, a, pair, margin);
        end = begin + margin;
        begin -= MIN(begin, margin);
        if (was->size <= WHOLE_MAX && f->area != DELTA_AREA_METADATA) {
                begin = 0;
                end = was->size;
        }
        look_at(w, g, pair, begin, end);
}

static void add_to_group(const Planner *w, Group *g, const DeltaAtom *a) {
        g->stored += a->stored;
        g->content += a->packed && a->size <= DELTA_PIECE_MAX ? a->size : a->stored;
        g->packed |= a->packed;
        look_at_old(w, g, a);
}

static void group_copy(const Group *from, Group *to) {
        Part *parts = to->parts;
        size_t n = to->n_parts_allocated;

        if (n < from->n_parts) {
                n = from->n_parts + 16;
                parts = xrealloc(parts, n, sizeof(*parts));
        }
        if (from->n_parts > 0)
                memcpy(parts, from->parts, from->n_parts * sizeof(*parts));
        *to = *from;
        to->parts = parts;
        to->n_parts_allocated = n;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

static DeltaStep *add_step(DeltaPlan *p, const DeltaStep *s) {
        GROW(p->steps, p->n_steps, p->n_steps_allocated);
        p->steps[p->n_steps] = *s;
        return &p->steps[p->n_steps++];
}

static void add_copy(DeltaPlan *p, const DeltaAtom *a) {
        DeltaStep *last = p->n_steps > 0 ? &p->steps[p->n_steps - 1] : NULL;

        if (last && last->kind == DELTA_COPY && last->source + last->size == a->source)
                last->size += a->stored;
        else
                add_step(p,
                         &(DeltaStep){
                                 .kind = DELTA_COPY, .offset = a->physical, .size = a->stored, .source = a->source });
}

static void add_range(DeltaPlan *p, DeltaStep *s, uint64_t offset, uint64_t size) {
        DeltaRange *last = s->n_ranges > 0 ? &p->ranges[p->n_ranges - 1] : NULL;

        if (last && last->offset + last->size == offset) {
                last->size += size;
                return;
        }
        GROW(p->ranges, p->n_ranges, p->n_ranges_allocated);
        p->ranges[p->n_ranges++] = (DeltaRange){ .offset = offset, .size = size };
        s->n_ranges++;
}

static void add_cluster(DeltaPlan *p, DeltaStep *s, const DeltaExtent *x) {
        GROW(p->clusters, p->n_clusters, p->n_clusters_allocated);
        p->clusters[p->n_clusters++] =
                (DeltaCluster){ .stored = (uint32_t) x->stored, .content = (uint32_t) x->size, .plain = !x->packed };
        s->n_old++;
}

/* The bytes of a group, by area: that of most of it. */
static DeltaArea area_of(const DeltaPlan *p, uint32_t first, uint32_t n) {
        uint64_t sums[_DELTA_AREA_MAX] = {};
        DeltaArea best = 0;

        for (uint32_t i = first; i < first + n; i++)
                sums[p->new->files[p->atoms[i].file].area] += p->atoms[i].stored;
        for (DeltaArea k = 0; k < _DELTA_AREA_MAX; k++)
                if (sums[k] > sums[best])
                        best = k;
        return best;
}

static void finish_group(Planner *w, uint32_t first, uint32_t n) {
        DeltaPlan *p = w->plan;
        DeltaStep s = {
                .kind = w->group.packed ? DELTA_RECOMPRESS : DELTA_PATCH,
                .offset = p->atoms[first].physical,
                .size = w->group.stored,
                .first_atom = first,
                .n_atoms = n,
                .first_range = (uint32_t) p->n_ranges,
                .first_old = (uint32_t) p->n_clusters,
                .area = area_of(p, first, n),
        };
        DeltaExtent x;

        for (size_t i = 0; i < w->group.n_parts; i++)
                FOREACH_CUT(&x, p, &w->group.parts[i]) {
                        add_range(p, &s, x.physical, x.stored);
                        add_cluster(p, &s, &x);
                }
        if (s.kind == DELTA_PATCH) {
                p->n_clusters -= s.n_old;
                s.n_old = 0;
        }
        add_step(p, &s);
}

static bool fits(const Planner *w, const Group *g) {
        bool clusters = w->plan->cluster_size > 0;
        uint64_t old_max = clusters ? OLD_MAX_WITH_CLUSTERS : OLD_MAX;

        return g->stored <= DELTA_PIECE_MAX && g->old_stored <= old_max && g->old_content <= old_max &&
               (!clusters || g->content <= CONTENT_MAX_WITH_CLUSTERS);
}

/* One atom always fits: what is looked at for it becomes less until it does. */
static void start_group(Planner *w, const DeltaAtom *a) {
        Group *g = &w->group;

        for (w->margin = MARGIN;; w->margin /= 2) {
                *g = (Group){ .parts = g->parts, .n_parts_allocated = g->n_parts_allocated };
                add_to_group(w, g, a);
                if (fits(w, g) || w->margin < MARGIN_MIN)
                        break;
        }
        if (!fits(w, g))
                g->n_parts = 0, g->old_stored = g->old_content = 0;
}

/* The next new atom behind i that is near enough; n_atoms if there is none. */
static size_t next_near(const DeltaPlan *p, size_t i) {
        uint64_t gap = 0;

        for (i++; i < p->n_atoms && gap <= GAP_MAX; i++) {
                if (p->atoms[i].source == DELTA_NO_COPY)
                        return i;
                gap += p->atoms[i].stored;
        }
        return p->n_atoms;
}

/* As many atoms from the first one on as fit (that one always does, if need be with nothing before it); the last one is
 * new. Returns the one behind it. */
static size_t make_group(Planner *w, size_t first) {
        DeltaPlan *p = w->plan;
        Group *g = &w->group, larger = {};
        size_t last = first;

        start_group(w, &p->atoms[first]);
        for (;;) {
                size_t next = next_near(p, last);

                if (next == p->n_atoms)
                        break;
                group_copy(g, &larger);
                for (size_t i = last + 1; i <= next; i++)
                        add_to_group(w, &larger, &p->atoms[i]);
                if (!fits(w, &larger))
                        break;
                group_copy(&larger, g);
                last = next;
        }
        free(larger.parts);
        finish_group(w, (uint32_t) first, (uint32_t) (last + 1 - first));
        return last + 1;
}

/* The old versions of files with something new that are too large to be looked at as a whole. */
static DeltaSimilar *read_large_files(const Planner *w) {
        const DeltaPlan *p = w->plan;
        _cleanup_free_ bool *wanted = xnew(bool, p->old->n_files);

        for (size_t i = 0; i < p->n_atoms; i++) {
                uint32_t pair = p->atoms[i].source == DELTA_NO_COPY ? w->pairs[p->atoms[i].file] : DELTA_NONE;

                if (pair != DELTA_NONE && is_large(&p->old->files[pair]))
                        wanted[pair] = true;
        }
        return delta_similar_new(p->old, wanted);
}

DeltaPlan *delta_plan_make(const DeltaImage *old, const DeltaImage *new, const DeltaOptions *opt) {
        DeltaPlan *p = xnew(DeltaPlan, 1);
        _cleanup_(planner_done) Planner w = { .plan = p };

        *p = (DeltaPlan){
                .old = old,
                .new = new,
                .unit = opt->usr ? DELTA_BLOCK_SIZE : 1,
                .cluster_size = new->initrd      ? SEGMENT_CONTENT_MAX
                                : opt->level > 0 ? opt->cluster_size
                                                 : 0,
        };
        if (opt->usr)
                w.copies = delta_find_copies(old, new);
        else
                delta_find_runs(old, new, &w.runs);
        w.pairs = delta_pair_files(old, new);
        if (old->initrd && new->initrd)
                w.entries = delta_pair_files(&old->initrd->content, &new->initrd->content);
        make_atoms(&w);
        w.similar = read_large_files(&w);
        for (size_t i = 0; i < p->n_atoms;)
                if (p->atoms[i].source == DELTA_NO_COPY)
                        i = make_group(&w, i);
                else
                        add_copy(p, &p->atoms[i++]);
        return p;
}
