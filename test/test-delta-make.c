/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is made makes the new image and nothing else; what did not change costs nothing, what changed little costs
 * little; what is wrong with the old image is noticed. */

#include "delta-decode.h"
#include "delta-make.h"
#include "initrd.h"
#include "pe.h"
#include "segment.h"
#include "synthetic-pe.h"

#define BUILD_TIME 1700000000
#include "erofs-fixture.h"

#define LEVEL 9
#define CLUSTER_SIZE 16384

typedef struct Made {
        char *data; /* head, then payload */
        DeltaResult result;
        Delta *delta;
} Made;

static void made_done(Made *m) {
        free(m->data);
        delta_free(m->delta);
}

static int file_of(const void *data, size_t size) {
        int fd = new_file();

        assert_int_equal(io_write_all(fd, data, size, NULL), 0);
        return fd;
}

/* --- trees: an old one and a new one ----------------------------------------------------------------------------- */

static void add_content(Tree *t, const char *path, const char *content, size_t size) {
        const NodeAttributes a = { .mode = 0644, .mtime = 1600000000 };
        _cleanup_error_ Error e = {};

        if (tree_add_file(t, path, &a, content, size, NULL, &e) < 0)
                fail_msg("%s", e.message);
}

/* Words of eight bytes, of which there are a thousand: compresses well and, unlike make_content(), quickly. */
static char *make_words(size_t size, unsigned seed) {
        char *content = xmalloc(size + 8);

        for (size_t i = 0; i < size; i += 8) {
                uint64_t word = (next_random(&seed) % 1000 + 1) * UINT64_C(0x9e3779b97f4a7c15);

                memcpy(content + i, &word, 8);
        }
        return content;
}

static void add_made(Tree *t, const char *path, size_t size, unsigned seed) {
        _cleanup_free_ char *content = make_words(size, seed);

        add_content(t, path, content, size);
}

/* The same with a few bytes changed, and some put in before everything behind the middle. */
static void add_changed(Tree *t, const char *path, size_t size, unsigned seed, size_t inserted) {
        _cleanup_free_ char *content = make_words(size, seed), *changed = xmalloc(size + inserted);
        size_t half = size / 2;

        memcpy(changed, content, half);
        memset(changed + half, 'i', inserted);
        memcpy(changed + half + inserted, content + half, size - half);
        for (size_t i = size / 3; i < half; i += 5000)
                changed[i] ^= 0x55;
        add_content(t, path, changed, size + inserted);
}

static int make_image(bool changed, ErofsLayout layout) {
        static const char *const folders[] = { "/usr", "/usr/bin", "/usr/lib", "/usr/share" };
        const NodeAttributes attributes = { .mode = 0755, .mtime = 1600000000 };
        Tree *t = NULL;
        int fd;

        assert_int_equal(tree_new(NULL, &t, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                assert_int_equal(tree_add_folder(t, folders[i], &attributes, NULL, NULL), 0);
        for (unsigned i = 0; i < 40; i++) {
                _cleanup_free_ char *path = xasprintf("/usr/share/file-%c%c", 'a' + i / 26, 'a' + i % 26);

                add_made(t, path, 1 + i * i * 97, i);
        }
        add_made(t, "/usr/bin/same", 200000, 1001);
        if (changed) {
                add_changed(t, "/usr/bin/large", 1500000, 1002, 777);
                add_changed(t, "/usr/bin/same-size", 100000, 1003, 0);
                add_changed(t, "/usr/lib/libnumber.so.1.2.11", 150000, 1004, 100);
                add_made(t, "/usr/lib/new", 50000, 1005);
        } else {
                add_made(t, "/usr/bin/large", 1500000, 1002);
                add_made(t, "/usr/bin/same-size", 100000, 1003);
                add_made(t, "/usr/lib/libnumber.so.1.2.9", 150000, 1004);
                add_made(t, "/usr/lib/gone", 60000, 1006);
        }
        fd = write_layout(t, layout);
        tree_free(t);
        return fd;
}

/* --- deltas ------------------------------------------------------------------------------------------------------ */

static void make_delta(int old_fd, int new_fd, const DeltaOptions *opt, Made *ret) {
        _cleanup_close_ int fd = new_file();
        DeltaInput old = { .fd = old_fd, .name = "old" }, new = { .fd = new_fd, .name = "new" };
        _cleanup_error_ Error e = {};
        size_t size;

        memset(&old.id, 1, sizeof(old.id));
        memset(&new.id, 2, sizeof(new.id));
        *ret = (Made){};
        if (delta_make(&old, &new, opt, fd, &ret->result, &e) < 0)
                fail_msg("%s", e.message);
        ret->data = read_file(fd, &size);
        assert_int_equal(size, ret->result.head_size + ret->result.payload_size);
        assert_int_equal(delta_parse(ret->data, ret->result.head_size, "delta", &ret->delta, &e), 0);
        assert_memory_equal(&ret->delta->old_id, &old.id, sizeof(old.id));
        assert_memory_equal(&ret->delta->new_id, &new.id, sizeof(new.id));
}

/* How many operations fail with this old image. */
static size_t apply(const Made *m, const char *old, char *ret_new) {
        _cleanup_(delta_decoder_freep) DeltaDecoder *decoder = NULL;
        const Delta *d = m->delta;
        size_t failures = 0;

        assert_int_equal(delta_decoder_new(d, &decoder, NULL), 0);
        for (size_t i = 0; i < d->n_ops; i++) {
                const DeltaOp *op = &d->ops[i];
                _cleanup_free_ char *window = NULL;
                size_t at = 0;

                if (op->kind == DELTA_COPY) {
                        memcpy(ret_new + op->offset, old + op->source, op->size);
                        continue;
                }
                window = xmalloc(delta_op_old_size(d, op) + 1);
                for (size_t k = op->first_range; k < (size_t) op->first_range + op->n_ranges; k++) {
                        memcpy(window + at, old + d->ranges[k].offset, d->ranges[k].size);
                        at += d->ranges[k].size;
                }
                failures += delta_decode(decoder, op, window, m->data + m->result.head_size + op->payload_offset,
                                         ret_new + op->offset, NULL) < 0 ||
                            !delta_op_digest_is(op, ret_new + op->offset);
        }
        return failures;
}

static void check_result(const Made *m, int old_fd, int new_fd) {
        size_t old_size, new_size;
        _cleanup_free_ char *old = read_file(old_fd, &old_size), *new = read_file(new_fd, &new_size),
                            *made = xmalloc(new_size);

        assert_int_equal(m->delta->old_size, old_size);
        assert_int_equal(m->delta->new_size, new_size);
        assert_int_equal(apply(m, old, made), 0);
        assert_memory_equal(made, new, new_size);
}

static DeltaOptions options_of(ErofsLayout layout) {
        return layout == EROFS_LAYOUT_PLAIN
                       ? (DeltaOptions){ .usr = true }
                       : (DeltaOptions){ .usr = true, .level = LEVEL, .cluster_size = CLUSTER_SIZE };
}

static void check_layout(ErofsLayout layout) {
        _cleanup_close_ int old = make_image(false, layout), new = make_image(true, layout);
        const DeltaOptions o = options_of(layout);
        _cleanup_(made_done) Made m = {};
        uint64_t sum = 0;

        make_delta(old, new, &o, &m);
        check_result(&m, old, new);
        for (DeltaKind k = 0; k < _DELTA_KIND_MAX; k++)
                sum += m.result.kinds[k].size;
        assert_int_equal(sum, m.delta->new_size);
        assert_true((m.result.kinds[DELTA_RECOMPRESS].n_ops > 0) == (layout != EROFS_LAYOUT_PLAIN));
        /* The new file has nothing before it, the others have all but some thousand bytes. */
        assert_true(m.result.payload_size < 50000);
}

static void a_delta_makes_the_new_image_of_plain_ones(void **state) {
        check_layout(EROFS_LAYOUT_PLAIN);
}

static void a_delta_makes_the_new_image_of_lz4hc_ones(void **state) {
        check_layout(EROFS_LAYOUT_LZ4HC);
}

/* All that an image can hold, without what only takes long. */
static int set_up_small(void **state) {
        State *s;

        set_up(state);
        s = *state;
        for (size_t i = 0; i < s->items.n; i++)
                s->items.items[i].size = MIN(s->items.items[i].size, (uint64_t) 50000);
        tree_free(s->tree);
        s->tree = make_tree(&s->items);
        return 0;
}

static void every_kind_of_entry_comes_out(void **state) {
        State *s = *state;
        _cleanup_close_ int small = make_image(false, EROFS_LAYOUT_PLAIN),
                            large = write_layout(s->tree, EROFS_LAYOUT_LZ4HC);
        const DeltaOptions o = options_of(EROFS_LAYOUT_LZ4HC);
        _cleanup_(made_done) Made more = {}, less = {};

        make_delta(small, large, &o, &more);
        check_result(&more, small, large);
        make_delta(large, small, &(DeltaOptions){ .usr = true }, &less);
        check_result(&less, large, small);
}

static void layouts_may_differ(void **state) {
        for (int i = 0; i < 2; i++) {
                ErofsLayout from = i ? EROFS_LAYOUT_LZ4HC : EROFS_LAYOUT_PLAIN,
                            to = i ? EROFS_LAYOUT_PLAIN : EROFS_LAYOUT_LZ4HC;
                _cleanup_close_ int old = make_image(false, from), new = make_image(true, to);
                const DeltaOptions o = { .usr = true, .level = LEVEL, .cluster_size = CLUSTER_SIZE };
                _cleanup_(made_done) Made m = {};

                make_delta(old, new, &o, &m);
                check_result(&m, old, new);
                assert_true(m.result.payload_size < m.delta->new_size / 10);
        }
}

static void the_bytes_do_not_depend_on_the_number_of_workers(void **state) {
        _cleanup_close_ int old = make_image(false, EROFS_LAYOUT_LZ4HC), new = make_image(true, EROFS_LAYOUT_LZ4HC);
        DeltaOptions o = options_of(EROFS_LAYOUT_LZ4HC);
        _cleanup_(made_done) Made first = {};

        o.n_workers = 1;
        make_delta(old, new, &o, &first);
        for (size_t n = 2; n < 4; n++) {
                _cleanup_(made_done) Made m = {};

                o.n_workers = n;
                make_delta(old, new, &o, &m);
                assert_int_equal(m.result.head_size, first.result.head_size);
                assert_int_equal(m.result.payload_size, first.result.payload_size);
                assert_memory_equal(m.data, first.data, m.result.head_size + m.result.payload_size);
        }
}

static void the_same_image_is_one_copy(void **state) {
        _cleanup_close_ int old = make_image(false, EROFS_LAYOUT_LZ4HC), new = make_image(false, EROFS_LAYOUT_LZ4HC);
        const DeltaOptions o = options_of(EROFS_LAYOUT_LZ4HC);
        _cleanup_(made_done) Made m = {};

        make_delta(old, new, &o, &m);
        assert_int_equal(m.delta->n_ops, 1);
        assert_int_equal(m.delta->ops[0].kind, DELTA_COPY);
        assert_int_equal(m.result.payload_size, 0);
}

static void what_is_damaged_in_the_old_image_is_noticed(void **state) {
        _cleanup_close_ int old_fd = make_image(false, EROFS_LAYOUT_LZ4HC),
                            new_fd = make_image(true, EROFS_LAYOUT_LZ4HC);
        const DeltaOptions o = options_of(EROFS_LAYOUT_LZ4HC);
        _cleanup_(made_done) Made m = {};
        size_t old_size, new_size, noticed = 0;
        _cleanup_free_ char *old = read_file(old_fd, &old_size), *new = read_file(new_fd, &new_size),
                            *made = xmalloc(new_size);

        make_delta(old_fd, new_fd, &o, &m);
        for (size_t i = 0; i < m.delta->n_ops; i++) {
                const DeltaOp *op = &m.delta->ops[i];
                const DeltaRange *range = &m.delta->ranges[op->first_range];

                if (op->kind == DELTA_COPY || op->n_ranges == 0)
                        continue;
                /* Any byte of it may be one that nothing is made of, but not all of them. */
                for (size_t k = 0; k < range->size; k++)
                        old[range->offset + k] ^= (char) 0xff;
                noticed += apply(&m, old, made) > 0;
                for (size_t k = 0; k < range->size; k++)
                        old[range->offset + k] ^= (char) 0xff;
        }
        assert_true(noticed > 0);
        assert_int_equal(apply(&m, old, made), 0);
        assert_memory_equal(made, new, new_size);
}

static void operations_keep_within_a_devices_memory(void **state) {
        _cleanup_close_ int old = make_image(false, EROFS_LAYOUT_LZ4HC), new = make_image(true, EROFS_LAYOUT_LZ4HC);
        const DeltaOptions o = options_of(EROFS_LAYOUT_LZ4HC);
        _cleanup_(made_done) Made m = {};

        make_delta(old, new, &o, &m);
        for (size_t i = 0; i < m.delta->n_ops; i++) {
                const DeltaOp *op = &m.delta->ops[i];

                if (op->kind != DELTA_COPY)
                        assert_true(delta_op_old_size(m.delta, op) + 2 * op->window + 2 * op->content + op->size <
                                    (size_t) 11 << 20);
        }
}

static void what_is_no_image_is_refused(void **state) {
        _cleanup_free_ char *noise = make_words(1 << 20, 5);
        _cleanup_close_ int image = make_image(false, EROFS_LAYOUT_PLAIN), other = file_of(noise, 1 << 20),
                            fd = new_file(), empty = new_file();
        const DeltaOptions o = { .usr = true };
        DeltaInput a = { .fd = image, .name = "image" }, b = { .fd = other, .name = "noise" };
        DeltaResult result;
        _cleanup_error_ Error e = {}, e2 = {}, e3 = {};

        assert_true(delta_make(&a, &b, &o, fd, &result, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_true(delta_make(&b, &a, &o, fd, &result, &e2) < 0);
        assert_int_equal(e2.id, REFUSAL_BAD_FORMAT);
        b.fd = empty;
        assert_true(delta_make(&a, &b, &o, fd, &result, &e3) < 0);
        assert_int_equal(e3.id, REFUSAL_BAD_VALUE);
}

/* --- other files ------------------------------------------------------------------------------------------------- */

static void check_file(const char *old, size_t old_size, const char *new, size_t new_size, uint64_t max) {
        _cleanup_close_ int old_fd = file_of(old, old_size), new_fd = file_of(new, new_size);
        const DeltaOptions o = {};
        _cleanup_(made_done) Made m = {};

        make_delta(old_fd, new_fd, &o, &m);
        assert_int_equal(m.delta->unit, 1);
        check_result(&m, old_fd, new_fd);
        assert_true(m.result.payload_size <= max);
}

static void a_file_may_move_by_any_number_of_bytes(void **state) {
        size_t size = 1 << 20;
        _cleanup_free_ char *old = make_words(size, 7), *new = xmalloc(size + 1000);

        for (size_t by = 0; by < 1000; by += 333) {
                memset(new, 'n', by);
                memcpy(new + by, old, size);
                check_file(old, size, new, size + by, 200);
                /* Something is lost, and something is put in. */
                memmove(new + 300000, new + 300000 + by, size - 300000);
                new[600000] ^= 1;
                check_file(old, size, new, size, 500);
        }
}

static void files_of_every_size_come_out(void **state) {
        static const size_t sizes[] = { 1, 511, 512, 513, 4096, 4097, 20000, (1 << 20) + 1 };
        _cleanup_free_ char *a = make_words(1200000, 8), *b = make_words(1200000, 9);

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                check_file(a, 10000, b, sizes[i], sizes[i] + 1000);
                check_file(a, sizes[i], a, 30000, 40000);
                check_file(a, sizes[i], b, 4097, 6000);
        }
}

/* --- kernel images ----------------------------------------------------------------------------------------------- */

static void *make_uki(const char *kernel, size_t kernel_size, const char *initrd, size_t initrd_size,
                      const char *command_line, char signer, size_t *ret) {
        size_t stub_size, unsigned_size;
        _cleanup_free_ void *stub = synthetic_pe(&stub_size), *unsigned_uki = NULL;
        const PeAddition additions[] = {
                { .name = ".cmdline", .data = command_line, .size = strlen(command_line) },
                { .name = ".initrd", .data = initrd, .size = initrd_size },
                { .name = ".linux", .data = kernel, .size = kernel_size, .executable = true },
        };
        _cleanup_error_ Error e = {};
        uint8_t signature[1400];
        void *uki = NULL;

        memset(signature, signer, sizeof(signature));
        if (pe_add_sections(stub, stub_size, additions, ELEMENTSOF(additions), &unsigned_uki, &unsigned_size, &e) < 0 ||
            pe_attach_signature(unsigned_uki, unsigned_size, signature, sizeof(signature), &uki, ret, &e) < 0)
                fail_msg("%s", e.message);
        return uki;
}

/* With an initrd that is no initrd. */
static void *make_plain_uki(size_t kernel_size, bool changed, const char *command_line, size_t *ret) {
        size_t initrd_size = 900000;
        _cleanup_free_ char *kernel = make_words(kernel_size, 31), *initrd = make_words(initrd_size, 21);

        for (size_t i = 10000; changed && i < initrd_size; i += 100000)
                initrd[i] ^= 1;
        return make_uki(kernel, kernel_size, initrd, initrd_size, command_line, changed ? 's' : 'S', ret);
}

static void a_kernel_image_costs_what_changed_in_its_sections(void **state) {
        size_t old_size, line_size, initrd_size, kernel_size;
        _cleanup_free_ char *old = make_plain_uki(1500000, false, "quiet", &old_size),
                            *line = make_plain_uki(1500000, false, "quiet splash", &line_size),
                            *initrd = make_plain_uki(1500000, true, "quiet", &initrd_size),
                            *kernel = make_plain_uki(1600000, true, "quiet splash", &kernel_size);

        check_file(old, old_size, line, line_size, 500);
        check_file(old, old_size, initrd, initrd_size, 1000);
        check_file(old, old_size, kernel, kernel_size, 100000 / 4);
        check_file(kernel, kernel_size, old, old_size, 1000);
}

/* --- initrds ----------------------------------------------------------------------------------------------------- */

/* Small files that share frames, one that has several segments of its own, one that will not be small any more. */
static char *make_initrd(bool changed, unsigned level, size_t *ret_size) {
        const NodeAttributes folder = { .mode = 0755 };
        const char *library = changed ? "/usr/lib/libx.so.1.3" : "/usr/lib/libx.so.1.2";
        const InitrdPackOptions o = { .level = level, .epoch = 1 };
        _cleanup_free_ char *large = make_words(1200000, 50), *grows = make_words(300000, 51);
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_close_ int fd = new_file();
        _cleanup_error_ Error e = {};

        assert_int_equal(tree_new(NULL, &t, &e), 0);
        assert_int_equal(tree_add_folder(t, "/usr", &folder, NULL, &e), 0);
        assert_int_equal(tree_add_folder(t, "/usr/lib", &folder, NULL, &e), 0);
        if (changed) {
                /* Something is put in, so that what follows is elsewhere in each segment. */
                memmove(large + 500100, large + 500000, 1200000 - 500100);
                large[1000] ^= 1;
        }
        add_content(t, "/usr/lib/large", large, 1200000);
        add_content(t, "/usr/lib/grows", grows, changed ? 300000 : 200000);
        add_made(t, library, 70000, 52);
        for (unsigned i = 0; i < 60; i++) {
                _cleanup_free_ char *path = xasprintf("/usr/lib/small-%u", i);

                if (!changed || i != 7)
                        add_made(t, path, 3000, 100 + i + (changed && i == 40));
        }
        if (initrd_pack(t, &o, fd, NULL, &e) < 0)
                fail_msg("%s", e.message);
        return read_file(fd, ret_size);
}

static void *make_initrd_uki(bool changed, unsigned level, size_t *ret) {
        size_t initrd_size;
        _cleanup_free_ char *kernel = make_words(100000, 31), *initrd = make_initrd(changed, level, &initrd_size);

        return make_uki(kernel, 100000, initrd, initrd_size, "quiet", changed ? 's' : 'S', ret);
}

static void check_segments(const char *old, size_t old_size, const char *new, size_t new_size, bool segments,
                           uint64_t max) {
        _cleanup_close_ int old_fd = file_of(old, old_size), new_fd = file_of(new, new_size);
        const DeltaOptions o = {};
        _cleanup_(made_done) Made m = {};

        make_delta(old_fd, new_fd, &o, &m);
        check_result(&m, old_fd, new_fd);
        assert_true((m.result.kinds[DELTA_RECOMPRESS].n_ops > 0) == segments);
        assert_string_equal(m.delta->encoder, segments ? SEGMENT_ENCODER : "");
        if (m.result.payload_size > max)
                fail_msg("%" PRIu64 " bytes", m.result.payload_size);
        for (size_t i = 0; i < m.delta->n_ops; i++) {
                const DeltaOp *op = &m.delta->ops[i];

                if (op->kind == DELTA_RECOMPRESS)
                        assert_true(delta_op_old_size(m.delta, op) + 2 * op->window + 2 * op->content + op->size <
                                    (size_t) 10 << 20);
        }
}

/* The words that are new in what grows cost 20,000 bytes; nearly all that there is was there before. */
static void an_initrd_costs_what_changed_in_its_files(void **state) {
        size_t old_size, new_size;
        _cleanup_free_ char *old = make_initrd_uki(false, SEGMENT_LEVEL, &old_size),
                            *new = make_initrd_uki(true, SEGMENT_LEVEL, &new_size);

        check_segments(old, old_size, new, new_size, true, 30000);
        check_segments(new, new_size, old, old_size, true, 4000);
        check_segments(old, old_size, old, old_size, false, 0);
}

/* What this encoder does not make again goes as it is stored. */
static void an_initrd_may_be_made_of_anything(void **state) {
        static const struct {
                unsigned old_level, new_level;
                bool segments;
        } cases[] = { { SEGMENT_LEVEL, 13, true },
                      { 13, SEGMENT_LEVEL, true },
                      { 0, SEGMENT_LEVEL, true },
                      { SEGMENT_LEVEL, 0, false },
                      { 0, 0, false } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                size_t old_size, new_size;
                _cleanup_free_ char *old = make_initrd_uki(false, cases[i].old_level, &old_size),
                                    *new = make_initrd_uki(true, cases[i].new_level, &new_size);

                check_segments(old, old_size, new, new_size, cases[i].segments, new_size);
        }
}

/* Frames, archives or the kernel: what cannot be understood is taken as bytes. */
static void a_damaged_initrd_comes_out(void **state) {
        size_t old_size, new_size, n;
        _cleanup_free_ char *old = make_initrd_uki(false, SEGMENT_LEVEL, &old_size),
                            *new = make_initrd_uki(true, SEGMENT_LEVEL, &new_size);
        unsigned seed = 7;

        for (n = 0; n < 4; n++) {
                size_t a = next_random(&seed) % (old_size - 100000), b = next_random(&seed) % (new_size - 100000);

                old[a] ^= 0x10;
                new[b] ^= 0x10;
                check_file(old, old_size, new, new_size, new_size);
                old[a] ^= 0x10;
                new[b] ^= 0x10;
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_delta_makes_the_new_image_of_plain_ones),
                cmocka_unit_test(a_delta_makes_the_new_image_of_lz4hc_ones),
                cmocka_unit_test_setup_teardown(every_kind_of_entry_comes_out, set_up_small, tear_down),
                cmocka_unit_test(layouts_may_differ),
                cmocka_unit_test(the_bytes_do_not_depend_on_the_number_of_workers),
                cmocka_unit_test(the_same_image_is_one_copy),
                cmocka_unit_test(what_is_damaged_in_the_old_image_is_noticed),
                cmocka_unit_test(operations_keep_within_a_devices_memory),
                cmocka_unit_test(what_is_no_image_is_refused),
                cmocka_unit_test(a_file_may_move_by_any_number_of_bytes),
                cmocka_unit_test(files_of_every_size_come_out),
                cmocka_unit_test(a_kernel_image_costs_what_changed_in_its_sections),
                cmocka_unit_test(an_initrd_costs_what_changed_in_its_files),
                cmocka_unit_test(an_initrd_may_be_made_of_anything),
                cmocka_unit_test(a_damaged_initrd_comes_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
